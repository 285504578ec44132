/* SPDX-License-Identifier: MIT
 *
 * From a checked request to a file with a name, in the worker.  The checks
 * are in look.c, the result in outcome.c, the steps in io/newfile.c.
 */
#include "op/publish.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/uuid.h"

/* What the options ask of the file itself. */
static int dress(const struct lv_create *c, struct lv_newfile *file,
                 struct lvhd_error *err) {
  int code = 0;
  if (c->opts.has_mode)
    code = lv_newfile_chmod(file, c->opts.mode, err);
  if (code == 0 && c->opts.has_timestamp)
    code = lv_newfile_touch(file, c->opts.timestamp, err);
  return code;
}

int lv_publish_write(struct lv_create *c, struct lv_look *look, bool named,
                     lv_fill_fn fill, struct lv_job *job,
                     struct lv_newfile *file, struct lvhd_error *err) {
  mode_t mode = c->opts.has_mode ? 0600 : 0666;
  int code = lv_newfile_begin(file, c->env, &look->folder, c->real_folder,
                              lv_create_name(c), mode, named, err);
  if (code == 0)
    code = lv_look_room(c, look, file->fd, err);
  if (code == 0)
    code = fill(c, look, file, job, err);
  return code == 0 ? dress(c, file, err) : code;
}

/* One try to make the file: LV_AGAIN_NAMED asks for another. */
static int make_file(struct lv_create *c, struct lv_look *look, bool named,
                     lv_fill_fn fill, struct lv_job *job,
                     struct lvhd_error *err) {
  struct lv_newfile file = LV_NEWFILE_INIT;
  int code = lv_publish_write(c, look, named, fill, job, &file, err);
  if (code == 0 && c->opts.sync != LVHD_SYNC_NONE)
    code = lv_newfile_flush(&file, err);
  if (code == 0)
    code = lv_outcome_new(c, look, err);
  if (code == 0 && !lv_job_commit(job))
    code = lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
  if (code == 0)
    code = lv_newfile_link(&file, c->opts.sync == LVHD_SYNC_FULL, err);
  if (code == 0)
    code = lv_newfile_settle(&file, err);
  if (code == 0)
    lv_outcome_published(c, file.mtime);
  lv_newfile_abandon(&file);
  return code;
}

int lv_publish_uuid(const struct lv_create *c, uint8_t uuid[16],
                    struct lvhd_error *err) {
  const struct lv_sys *sys = c->env->sys;
  ssize_t got = 0;
  if (c->opts.has_uuid) {
    memcpy(uuid, c->opts.uuid, 16);
    return 0;
  }
  do {
    got = sys->getrandom(sys, uuid, 16, 0);
  } while (got < 0 && errno == EINTR);
  if (got != 16)
    return lv_fail_errno(err, LV_STEP_OTHER, got < 0 ? errno : EIO,
                         "getrandom");
  lv_uuid_v4(uuid);
  return 0;
}

/* What failed comes behind the question that was left to linkat; and what that
 * call says is told in the words of the question. */
static int ask_late(struct lv_create *c, struct lv_look *look, int code,
                    struct lvhd_error *err) {
  struct lvhd_error other = LVHD_ERROR_INIT;
  int asked = lv_create_image(c, look, &other);
  if (asked != LVHD_E_ALREADY_EXISTS) {
    lvhd_error_clear(&other);
    return code;
  }
  lvhd_error_clear(err);
  *err = other;
  return asked;
}

/* One look, and what follows from it. */
static int publish_once(struct lv_create *c, const uint8_t uuid[16],
                        lv_fill_fn fill, struct lv_job *job, bool *gone,
                        struct lvhd_error *err) {
  struct lv_look look;
  int code = lv_create_look(c, &look, uuid, false, err);
  *gone = false;
  if (code != 0)
    return code;
  if (!look.exists) {
    code = make_file(c, &look, false, fill, job, err);
    if (code == LV_AGAIN_NAMED)
      code = make_file(c, &look, true, fill, job, err);
    if (code != 0 && !look.asked)
      code = ask_late(c, &look, code, err);
    look.exists = code == LVHD_E_ALREADY_EXISTS && c->opts.keep;
  }
  if (look.exists)
    code = lv_outcome_kept(c, job, err);
  *gone = (code == LVHD_E_ACCESSDENIED || code == LVHD_E_PATH_NOT_FOUND) &&
          lv_folder_gone(&look.folder, c->env);
  lv_look_close(&look, c->env);
  return code;
}

int lv_publish(struct lv_create *c, lv_fill_fn fill, struct lv_job *job,
               struct lvhd_error *err) {
  uint8_t uuid[16];
  bool gone = true;
  int code = lv_publish_uuid(c, uuid, err);
  if (code != 0)
    return code;
  for (int i = 0; gone && i < LV_LOOKS; i++) {
    lv_look_rest(i);
    code = publish_once(c, uuid, fill, job, &gone, err);
  }
  return code;
}
