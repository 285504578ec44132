/* SPDX-License-Identifier: MIT
 *
 * Taking, beginning, ending and undoing a change in place.
 */
#include "image/change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "image/moving.h"
#include "io/edit.h"

/* ---- undoing --------------------------------------------------------- */

static bool is_neutral(enum lv_journal_verb verb) {
  return verb != LV_JOURNAL_MERGE;
}

/* The old bytes as far as the file reaches, and the old length; nothing where
 * the verb had come to its end. */
static int lay_back(const struct lv_file *file, const struct lv_env *env,
                    const struct lv_overlay *old, uint64_t length,
                    uint64_t done, struct lvhd_error *err) {
  struct stat st;
  int code = 0;
  if (env->sys->fstat(env->sys, file->fd, &st) != 0)
    return lv_fail_errno(err, LV_STEP_INPLACE, errno, "fstat");
  if (done != 0 && (uint64_t)st.st_size == done)
    return 0;
  for (size_t i = 0; code == 0 && i < old->count; i++) {
    const struct lv_patch *piece = &old->items[i];
    if (piece->at + piece->length <= (uint64_t)st.st_size)
      code = lv_edit_write(file, env, piece->bytes, piece->length, piece->at,
                           err);
  }
  if (code == 0 && old->count > 0 && (uint64_t)st.st_size > length) {
    code = lv_edit_flush(file, env, err); /* the footer of that length first */
    if (code == 0)
      code = lv_edit_truncate(file, env, length, err);
  }
  return code;
}

/* Data, length and time, all durable. */
static int flush_all(const struct lv_file *file, const struct lv_env *env,
                     struct lvhd_error *err) {
  if (env->sys->fsync(env->sys, file->fd) != 0)
    return lv_fail_errno(err, LV_STEP_INPLACE, errno, "fsync");
  return 0;
}

/* ---- taking ---------------------------------------------------------- */

static int name_path(int code, const struct lv_image *image,
                     struct lvhd_error *err) {
  if (code != 0 && image->path)
    lv_error_path(err, image->path);
  return code;
}

/* Whose file it is not hears why that matters. */
static int give_time(const struct lv_file *file, const struct lv_env *env,
                     const struct timespec *mtime, struct lvhd_error *err) {
  int code = lv_edit_touch(file, env, mtime, err);
  if (code == LVHD_E_ACCESSDENIED && err)
    err->reason = LV_R_TIME_LOST;
  return code;
}

/* Undoes what the note tells of; a failure leaves it for another time. */
static int recover(struct lv_image *image, struct lv_env *env, bool force,
                   struct lvhd_error *err) {
  static const struct lv_overlay none = {0};
  const struct lv_journal *note = &image->note;
  const struct lv_overlay *old =
    image->file.overlay ? image->file.overlay : &none;
  /* nothing is undone; what is read changed with a resize, and so did the
   * file's time */
  bool finished =
    note->done != 0 && (uint64_t)image->file.st.st_size == note->done;
  int code = lay_back(&image->file, env, old, note->length, note->done,
                      err);
  if (code == 0 && is_neutral(note->verb) &&
      !(finished && note->verb == LV_JOURNAL_RESIZE)) {
    code = give_time(&image->file, env, &note->mtime, err);
    /* who resizes goes on to change the time for all to see */
    if (code == LVHD_E_ACCESSDENIED &&
        (force || note->verb == LV_JOURNAL_RESIZE))
      code = 0;
  }
  if (code == 0)
    code = flush_all(&image->file, env, err);
  if (code == 0)
    code = lv_journal_remove(note, env, &image->file, image->path, true, NULL,
                             err);
  return code;
}

/* Of a fixed disk that was growing: what it gained must be zeros still, but for
 * the old footer, which is data by then, and the new one. */
static int check_new_end(const struct lv_image *image,
                         const struct lv_env *env, struct lvhd_error *err) {
  uint64_t from = image->note.length, last = from;
  uint8_t *buf = NULL;
  struct stat st;
  int code = 0;
  if (env->sys->fstat(env->sys, image->file.fd, &st) != 0)
    return lv_fail_errno(err, LV_STEP_INPLACE, errno, "fstat");
  if ((uint64_t)st.st_size <= from + LV_FOOTER_SIZE)
    return 0;
  buf = lv_buffer(LV_PIECE);
  code = buf ? lv_file_last(&image->file, env, from,
                            (uint64_t)st.st_size - LV_FOOTER_SIZE, buf, NULL,
                            NULL, &last, err)
             : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  free(buf);
  if (code == 0 && last > from)
    code = lv_fail(err, LVHD_VM_E_HD_IMAGE_ACCESS, LV_R_JOURNAL_FOREIGN);
  return code;
}

/* Nothing is cut or laid back where the disk as it was is not sound: somebody
 * has written to it since. */
static int check_old(const struct lv_image *image, const struct lv_env *env,
                     struct lvhd_error *err) {
  struct lv_table table;
  int code = 0;
  if (image->file.overlay == NULL)
    return 0;
  if (!lv_image_has_table(image))
    return check_new_end(image, env, err);
  code = lv_table_sound(&table, image, env, err);
  return code == LVHD_VM_E_INVALID_HD_FILE
           ? lv_fail(err, LVHD_VM_E_HD_IMAGE_ACCESS, LV_R_JOURNAL_FOREIGN)
           : code;
}

static int settle_note(struct lv_image *image, struct lv_env *env,
                       const uint8_t *merging, bool force, bool *again,
                       struct lvhd_error *err) {
  const struct lv_journal *note = &image->note;
  *again = false;
  if (image->journal == LV_JOURNAL_NONE)
    return 0;
  if (image->journal == LV_JOURNAL_FOREIGN)
    return lv_fail(err, LVHD_VM_E_HD_IMAGE_ACCESS, LV_R_JOURNAL_FOREIGN);
  if (note->verb == LV_JOURNAL_MERGE) {
    if (merging && memcmp(merging, note->other, 16) == 0)
      return 0;
    if (!force)
      return lv_journal_pending(note, err);
  }
  *again = true;
  int code = check_old(image, env, err);
  return code == 0 ? recover(image, env, force, err) : code;
}

/* What the file says now that it is ours: the lock came after the look. */
static int probe_again(struct lv_image *image, struct lv_env *env,
                       struct lvhd_error *err) {
  struct lv_file file = image->file;
  char *path = image->path;
  int code = 0;
  if (env->sys->fstat(env->sys, file.fd, &file.st) != 0)
    return lv_fail_errno(err, LV_STEP_INPLACE, errno, "fstat");
  if (file.overlay)
    lv_overlay_clear(file.overlay);
  free(file.overlay);
  file.overlay = NULL;
  image->file = (struct lv_file)LV_FILE_INIT;
  lv_journal_free(&image->note);
  code = lv_image_adopt(image, env, &file, path, err);
  if (code != 0)
    lv_error_path(err, path);
  free(path);
  return code;
}

int lv_change_take(struct lv_image *image, struct lv_env *env,
                   enum lv_lock how, const uint8_t *merging, bool force,
                   struct lvhd_error *err) {
  uint8_t uuid[16];
  bool again = false;
  int code = lv_edit_reopen(&image->file, env, image->path, err);
  memcpy(uuid, image->footer.uuid, sizeof uuid);
  if (code == 0)
    code = lv_lock(&image->file, env, how, err);
  if (code == 0)
    code = probe_again(image, env, err);
  if (code == 0 && memcmp(uuid, image->footer.uuid, sizeof uuid) != 0)
    code = lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_FILE_REPLACED);
  if (code == 0)
    code = settle_note(image, env, merging, force, &again, err);
  if (code == 0 && again)
    code = probe_again(image, env, err);
  if (code != 0) {
    name_path(code, image, err);
    lv_image_close(image, env);
  }
  return code;
}

/* The file is still as it was looked at: its change time, which nobody can
 * set back. */
static int is_same(const struct lv_file *file, const struct lv_env *env,
                   struct lvhd_error *err) {
  struct stat st;
  if (env->sys->fstat(env->sys, file->fd, &st) != 0)
    return lv_fail_errno(err, LV_STEP_FILE, errno, "fstat");
  if (st.st_ctim.tv_sec == file->st.st_ctim.tv_sec &&
      st.st_ctim.tv_nsec == file->st.st_ctim.tv_nsec)
    return 0;
  return lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_SOURCE_CHANGED);
}

/* Which file of the chain it is: the leaf is err->path, always. */
static void name_image(const struct lv_chain *chain, size_t i,
                       struct lvhd_error *err) {
  if (err == NULL)
    return;
  lv_error_path(err, chain->images[0].path);
  if (i > 0) {
    err->layer = (unsigned)i + 1;
    err->has |= LVHD_AT_PARENT;
    lv_error_parent(err, chain->images[i].path);
  }
}

int lv_change_settled(const struct lv_image *leaf, const struct lv_env *env,
                      struct lvhd_error *err) {
  int code = 0;
  if (leaf->journal != LV_JOURNAL_GOOD ||
      leaf->note.verb != LV_JOURNAL_MERGE)
    return 0;
  code = lv_lock_quiet(&leaf->file, env, err);
  if (code == 0)
    code = lv_journal_pending(&leaf->note, err);
  lv_error_path(err, leaf->path);
  return code;
}

int lv_change_lock(const struct lv_chain *chain, size_t i, enum lv_lock how,
                   const struct lv_env *env, struct lvhd_error *err) {
  const struct lv_file *file = &chain->images[i].file;
  int code = lv_lock(file, env, how, err);
  if (code == 0)
    code = is_same(file, env, err);
  if (code != 0)
    name_image(chain, i, err);
  return code;
}

int lv_change_lock_parents(const struct lv_chain *chain, size_t first,
                           const struct lv_env *env, struct lvhd_error *err) {
  int code = 0;
  for (size_t i = first; code == 0 && i < chain->count; i++)
    code = lv_change_lock(chain, i, LV_LOCK_READ, env, err);
  return code;
}

int lv_change_same_parent(const struct lv_chain *chain, size_t i,
                          struct lvhd_error *err) {
  const struct lv_image *image = &chain->images[i];
  bool child = lv_image_has_parent(image);
  if (child == (i + 1 < chain->count) &&
      (!child || lv_parent_check(image + 1, image, NULL) == 0))
    return 0;
  lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_SOURCE_CHANGED);
  lv_error_path(err, image->path);
  return LVHD_E_SHARING_VIOLATION;
}

int lv_change_unmodified(const struct lv_chain *chain, size_t first,
                         size_t last, struct lvhd_error *err) {
  for (size_t i = first; i <= last && i + 1 < chain->count; i++) {
    const struct lv_image *child = &chain->images[i];
    const struct lv_image *parent = &chain->images[i + 1];
    uint32_t then = child->header.parent_timestamp;
    uint32_t now = 0;
    bool same = false;
    /* the child of a merge may be any of those above */
    for (size_t k = 0; k <= i && !same; k++) {
      now = lv_image_time(parent, chain->images[i - k].footer.uuid, then);
      same = now == then;
    }
    if (same)
      continue;
    lv_fail_range(err, LVHD_VM_E_PARENT_MODIFIED, LV_R_PARENT_TIME,
                  (uint64_t)((int64_t)then + LV_EPOCH),
                  (uint64_t)((int64_t)now + LV_EPOCH));
    if (err) {
      err->layer = (unsigned)i + 2;
      err->has |= LVHD_AT_PARENT;
      lv_error_path(err, child->path);
      lv_error_parent(err, parent->path);
    }
    return LVHD_VM_E_PARENT_MODIFIED;
  }
  return 0;
}

/* ---- the frame ------------------------------------------------------- */

static bool durable(const struct lv_change *change) {
  return change->sync != LVHD_SYNC_NONE;
}

static int write_note(struct lv_change *change, struct lvhd_error *err) {
  const struct lv_image *image = change->image;
  int code = lv_journal_write(&change->journal, change->env, &image->file,
                              image->path, durable(change), &change->beside,
                              err);
  if (code != 0 && err && err->reason == LV_R_NONE)
    err->reason = LV_R_JOURNAL_FAILED;
  change->has_beside = code == 0;
  return code;
}

static int remove_note(const struct lv_change *change,
                       struct lvhd_error *err) {
  return lv_journal_remove(&change->journal, change->env,
                           &change->image->file, change->image->path,
                           durable(change),
                           change->has_beside ? &change->beside : NULL, err);
}

static void leave(struct lv_change *change) {
  if (change->has_beside)
    lv_folder_close(&change->beside, change->env);
  change->has_beside = false;
  change->noted = false;
  lv_journal_free(&change->journal);
}

int lv_change_begin(struct lv_change *change, struct lvhd_error *err) {
  struct lv_image *image = change->image;
  struct lv_journal *j = &change->journal;
  int code = 0;
  change->time_lost = false;
  change->noted = false;
  change->has_beside = false;
  memcpy(j->uuid, image->footer.uuid, sizeof j->uuid);
  j->mtime = image->file.st.st_mtim;
  if (j->length == 0)
    j->length = (uint64_t)image->file.st.st_size;
  if (image->journal == LV_JOURNAL_GOOD) { /* of a merge that goes on */
    change->noted = true;
    return 0;
  }
  if (change->keeps_time) {
    code = give_time(&image->file, change->env, &j->mtime, err);
    if (code == LVHD_E_ACCESSDENIED && change->force) {
      lvhd_error_clear(err);
      change->time_lost = true;
      code = 0;
    }
  }
  if (code == 0)
    code = write_note(change, err);
  change->noted = code == 0;
  return name_path(code, image, err);
}

int lv_change_barrier(const struct lv_change *change,
                      struct lvhd_error *err) {
  if (!durable(change))
    return 0;
  return name_path(lv_edit_flush(&change->image->file, change->env, err),
                   change->image, err);
}

int lv_change_end(struct lv_change *change, struct lvhd_error *err) {
  const struct lv_file *file = &change->image->file;
  int code = 0;
  if (change->keeps_time && !change->time_lost)
    code = lv_edit_touch(file, change->env, &change->journal.mtime, err);
  else if (change->moves_time)
    code = lv_edit_move_on(file, change->env, change->journal.mtime.tv_sec,
                           err);
  if (code == 0 && durable(change))
    code = flush_all(file, change->env, err);
  if (code == 0)
    code = remove_note(change, err);
  if (code != 0)
    return name_path(code, change->image, err);
  leave(change);
  return 0;
}

void lv_change_abandon(struct lv_change *change) {
  const struct lv_journal *j = &change->journal;
  const struct lv_file *file = NULL;
  int code = 0;
  if (change->noted && change->image && is_neutral(j->verb)) {
    file = &change->image->file;
    code = lay_back(file, change->env, &j->old, j->length, j->done, NULL);
    if (code == 0 && !change->time_lost)
      code = lv_edit_touch(file, change->env, &j->mtime, NULL);
    if (code == 0 && durable(change))
      code = flush_all(file, change->env, NULL);
    if (code == 0)
      (void)remove_note(change, NULL);
  }
  leave(change);
}
