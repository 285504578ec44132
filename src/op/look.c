/* SPDX-License-Identifier: MIT
 *
 * What is checked before a new file is made, in the documented order (design
 * 1.5): the words of the call, then the parent, the image and the volume.  The same look is
 * taken by the call (preflight) and by the worker.  Changes nothing.
 *
 *   1 words   2 the parent   3 the image   4 all of it
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/path.h"
#include "base/uuid.h"
#include "image/journal.h"
#include "io/lock.h"
#include "op/create_args.h"

/* ---- 1 words --------------------------------------------------------- */

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

static int fail_parent(struct lvhd_error *err, int code) {
  if (code != 0 && err)
    err->has |= LVHD_AT_PARENT;
  return code;
}

static int check_characters(const struct lv_create *c,
                            struct lvhd_error *err) {
  bool host = c->opts.host_names == LVHD_YES;
  int code = lv_path_check(c->image, c->opts.image_length, host, err);
  if (code == 0 && c->opts.base)
    code = lv_path_check(c->opts.base, strlen(c->opts.base), host, err);
  if (code == 0 && c->parent)
    code = fail_parent(
      err, lv_path_check(c->parent, c->opts.parent_length, host, err));
  return code;
}

/* Replaces *path by folder/path. */
static int join(char **path, const char *folder, struct lvhd_error *err) {
  char *joined = lv_path_join(folder, *path);
  if (joined == NULL)
    return no_memory(err);
  free(*path);
  *path = joined;
  return 0;
}

static int join_to_folder_of(char **path, const char *other,
                             struct lvhd_error *err) {
  char *folder = lv_path_folder(other);
  int code = folder ? join(path, folder, err) : no_memory(err);
  free(folder);
  return code;
}

static int join_paths(struct lv_create *c, struct lvhd_error *err) {
  bool parent_absolute = c->parent && c->parent[0] == '/';
  const char *other = c->converts      ? c->source
                      : parent_absolute ? c->parent
                                        : NULL;
  int code = 0;
  if (c->opts.base && c->opts.base[0] != '/')
    return lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_BASE_RELATIVE);
  if (c->image[0] == '\0')
    return lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_EMPTY);
  if (c->parent && c->parent[0] == '\0')
    return fail_parent(
      err, lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_EMPTY));
  if (c->image[0] != '/') {
    if (other)
      code = join_to_folder_of(&c->image, other, err);
    else if (c->opts.base)
      code = join(&c->image, c->opts.base, err);
    else
      return lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_RELATIVE);
  }
  if (code == 0 && c->parent && !parent_absolute) {
    size_t given = strlen(c->parent);
    code = join_to_folder_of(&c->parent, c->image, err);
    if (code == 0)
      c->relative_at = strlen(c->parent) - given;
  }
  return code;
}

static int check_lengths(const struct lv_create *c, struct lvhd_error *err) {
  bool long_paths = c->opts.long_paths == LVHD_YES;
  int code = lv_path_length(c->image, long_paths, err);
  if (code == 0 && c->parent)
    code = fail_parent(err, lv_path_length(c->parent, long_paths, err));
  return code;
}

static int check_name(const struct lv_create *c, struct lvhd_error *err) {
  const char *name = lv_path_name(c->image);
  if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return lv_fail(err, LVHD_E_INVALID_NAME, LV_R_NAME_IS_FOLDER);
  return 0;
}

static int check_values(const struct lv_create *c, struct lvhd_error *err) {
  const struct lvhd_create_options *opts = &c->opts;
  if (opts->has_timestamp &&
      (opts->timestamp < LV_EPOCH ||
       opts->timestamp > LV_EPOCH + (int64_t)UINT32_MAX))
    return lv_fail_range(err, LVHD_E_INVALIDARG, LV_R_TIMESTAMP_RANGE,
                         opts->timestamp < LV_EPOCH
                           ? (uint64_t)LV_EPOCH
                           : (uint64_t)(LV_EPOCH + UINT32_MAX),
                         (uint64_t)opts->timestamp);
  if (opts->has_uuid && lv_uuid_is_nil(opts->uuid))
    return lv_fail(err, LVHD_E_INVALIDARG, LV_R_UUID_MALFORMED);
  if (opts->has_mode && opts->mode > 07777)
    return lv_fail(err, LVHD_E_INVALIDARG, LV_R_MODE_MALFORMED);
  if (opts->has_block_size && c->type != LVHD_DIFFERENCING &&
      opts->block_size != LV_BLOCK_SIZE && opts->block_size != LV_BLOCK_SMALL)
    return lv_fail_range(err, LVHD_E_INVALIDARG, LV_R_BLOCK_SIZE,
                         LV_BLOCK_SIZE, (uint64_t)opts->block_size);
  return 0;
}

/* A value that breaks a rule which the reason's text states. */
static int fail_value(struct lvhd_error *err, enum lv_reason reason,
                      uint64_t actual) {
  int code = lv_fail(err, LVHD_E_INVALIDARG, reason);
  if (err) {
    err->has = LVHD_HAS_ACTUAL;
    err->actual = actual;
  }
  return code;
}

static int check_size(const struct lv_create *c, struct lvhd_error *err) {
  uint64_t size = (uint64_t)c->size;
  if (c->type == LVHD_DIFFERENCING)
    return 0;
  if (c->size <= 0)
    return fail_value(err, LV_R_SIZE_NOT_POSITIVE, size);
  if (size % LV_SECTOR != 0)
    return fail_value(err, LV_R_SIZE_UNALIGNED, size);
  if (c->size < LV_SIZE_MIN)
    return lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_SMALL,
                         LV_R_SIZE_LIMIT, (uint64_t)LV_SIZE_MIN, size);
  if (c->size >= LV_SIZE_MAX)
    return lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_LARGE,
                         LV_R_SIZE_LIMIT, (uint64_t)LV_SIZE_MAX - LV_SECTOR,
                         size);
  return 0;
}

int lv_create_words(struct lv_create *c, struct lvhd_error *err) {
  int code = check_characters(c, err);
  if (code == 0)
    code = join_paths(c, err);
  if (code == 0)
    code = check_lengths(c, err);
  if (code == 0)
    code = check_name(c, err);
  if (code == 0 && !c->converts)
    code = check_size(c, err);
  if (code == 0)
    code = check_values(c, err);
  return code;
}

/* ---- 2 the parent ---------------------------------------------------- */

/* What exists may have 2040 GiB exactly: the limit of the format. */
static int check_limits(uint64_t size, struct lvhd_error *err) {
  if (size < (uint64_t)LV_SIZE_MIN)
    return lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_SMALL,
                         LV_R_SIZE_LIMIT, (uint64_t)LV_SIZE_MIN, size);
  if (size > (uint64_t)LV_SIZE_MAX)
    return lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_LARGE,
                         LV_R_SIZE_LIMIT, (uint64_t)LV_SIZE_MAX, size);
  return 0;
}

/* A relative parent starts from the image's folder, which need not exist
 * yet: leading "." and ".." are taken from its real path, as text. */
static char *relative_parent(const struct lv_create *c) {
  const char *rest = c->parent + c->relative_at;
  char *folder = strdup(c->real_folder);
  char *path = NULL;
  while (folder) {
    size_t n = strcspn(rest, "/");
    if (n == 2 && memcmp(rest, "..", 2) == 0) {
      char *up = lv_path_folder(folder);
      free(folder);
      folder = up;
    } else if (n != 0 && !(n == 1 && rest[0] == '.')) {
      break;
    }
    rest += n;
    if (*rest == '\0')
      break;
    rest++;
  }
  path = folder ? lv_path_join(folder, rest) : NULL;
  free(folder);
  return path;
}

int lv_create_size(const struct lv_create *c, struct lvhd_error *err) {
  if (c->size % LV_SECTOR != 0)
    return fail_value(err, LV_R_SIZE_UNALIGNED, (uint64_t)c->size);
  return c->type == LVHD_RAW ? 0
                             : check_limits((uint64_t)c->size, err);
}

static int open_parent(struct lv_create *c, struct lv_look *look,
                       struct lvhd_error *err) {
  char *path = NULL;
  int code = 0;
  if (c->real_parent)
    return lv_file_open(&look->parent, c->env, c->real_parent, err);
  path = c->relative_at != 0 ? relative_parent(c) : strdup(c->parent);
  if (path == NULL)
    return no_memory(err);
  code = lv_file_open(&look->parent, c->env, path, err);
  if (code == 0)
    code = lv_real_path(&c->real_parent, c->env, look->parent.fd, path,
                        look->parent.real, LV_STEP_FILE, err);
  free(path);
  return code;
}

/* Nobody has touched the file since it was seen. */
static bool same_state(const struct stat *a, const struct stat *b) {
  return a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
         a->st_size == b->st_size &&
         a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
         a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
         a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
         a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int read_parent(struct lv_create *c, const struct lv_look *look,
                       struct lvhd_error *err) {
  struct lv_parent *seen = &c->seen;
  struct lv_probe probe;
  int code = 0;
  code = lv_probe(&probe, &look->parent, c->env, err);
  if (code != 0)
    return code;
  /* XenServer's tools take a nil identifier in a child for "the parent is a
   * raw image", and nobody could tell whether it is the right one. */
  if (lv_uuid_is_nil(probe.footer.uuid))
    return lv_fail(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_UUID_MALFORMED);
  memcpy(seen->uuid, probe.footer.uuid, sizeof seen->uuid);
  seen->size = probe.footer.current_size;
  seen->block_size =
    probe.footer.type == LVHD_FIXED ? 0 : probe.header.block_size;
  seen->st = look->parent.st;
  return 0;
}

/* A verb that was interrupted: when it is run again, the parent has another
 * time, or another content. */
static int check_note(const struct lv_create *c, const struct lv_look *look,
                      struct lvhd_error *err) {
  struct lv_journal note;
  enum lv_journal_state state = LV_JOURNAL_NONE;
  int code = lv_journal_look(&note, &state, c->env, &look->parent,
                             c->real_parent, NULL, err);
  if (code == 0 && state == LV_JOURNAL_GOOD)
    code = lv_lock_quiet(&look->parent, c->env, err); /* it goes on */
  if (code == 0 && state == LV_JOURNAL_GOOD)
    code = lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_JOURNAL_PENDING);
  lv_journal_free(&note);
  return code;
}

static int look_parent(struct lv_create *c, struct lv_look *look,
                       struct lvhd_error *err) {
  bool known = false;
  int code = open_parent(c, look, err);
  if (code == 0)
    known = c->seen.st.st_ino != 0 &&
            same_state(&c->seen.st, &look->parent.st);
  if (code == 0 && !known)
    code = check_note(c, look, err);
  if (code == 0 && !known)
    code = read_parent(c, look, err);
  if (code == 0)
    code = lv_lock_quiet(&look->parent, c->env, err);
  if (code == 0)
    code = check_limits(c->seen.size, err);
  return fail_parent(err, code);
}

/* A child takes its parent's block size. */
static int block_size(const struct lv_create *c, uint32_t *size,
                      struct lvhd_error *err) {
  bool given = c->opts.has_block_size;
  int64_t asked = given ? c->opts.block_size : LV_BLOCK_SIZE;
  bool fits = asked == LV_BLOCK_SIZE || asked == LV_BLOCK_SMALL;
  *size = (uint32_t)asked;
  if (c->type == LVHD_DIFFERENCING && c->seen.block_size != 0) {
    *size = c->seen.block_size;
    fits = !given || asked == *size;
  }
  if (!fits)
    return lv_fail_range(err, LVHD_E_INVALIDARG, LV_R_BLOCK_SIZE,
                         c->seen.block_size ? *size : LV_BLOCK_SIZE,
                         (uint64_t)asked);
  return 0;
}

/* ---- 3 the image ----------------------------------------------------- */

static int look_folder(struct lv_create *c, struct lv_look *look,
                       struct lvhd_error *err) {
  char *folder = NULL;
  int code = 0;
  if (c->real_folder)
    return lv_folder_open(&look->folder, c->env, c->real_folder, err);
  folder = lv_path_folder(c->image);
  if (folder == NULL)
    return no_memory(err);
  code = lv_folder_open(&look->folder, c->env, folder, err);
  if (code == 0)
    code = lv_folder_real(&c->real_folder, &look->folder, c->env, folder,
                          err);
  free(folder);
  return code;
}

static int look_plan(struct lv_create *c, struct lv_look *look,
                     const uint8_t uuid[16], struct lvhd_error *err) {
  struct lv_plan_in in = {.type = c->type, .size = (uint64_t)c->size};
  char *relative = NULL;
  int code = block_size(c, &in.block_size, err);
  if (code != 0)
    return code;
  memcpy(in.uuid, uuid, sizeof in.uuid);
  in.timestamp = lv_timestamp(c->opts.has_timestamp
                                ? c->opts.timestamp
                                : c->env->sys->now(c->env->sys));
  if (c->type == LVHD_DIFFERENCING) {
    relative = lv_path_relative(c->real_folder, c->real_parent);
    if (relative == NULL)
      return no_memory(err);
    in.relative = relative;
    in.size = c->seen.size;
    memcpy(in.parent_uuid, c->seen.uuid, sizeof in.parent_uuid);
    in.parent_timestamp = lv_timestamp(look->parent.st.st_mtim.tv_sec);
  }
  code = lv_plan(&look->plan, &in, err);
  free(relative);
  return c->type == LVHD_DIFFERENCING ? fail_parent(err, code) : code;
}

/* The worker leaves the question to linkat where the call has just asked it,
 * unless much would be written for nothing. */
static bool ask_image(const struct lv_create *c, bool preflight) {
  return preflight || c->opts.preflight != LVHD_YES || c->opts.keep ||
         c->converts || c->opts.allocate == LVHD_ZERO;
}

static int look_image(const struct lv_create *c, struct lv_look *look,
                      struct lvhd_error *err) {
  const struct lv_sys *sys = c->env->sys;
  struct stat st;
  if (look->folder.missing)
    return 0;
  if (sys->fstatat(sys, look->folder.fd, lv_path_name(c->image), &st,
                   AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT
             ? 0
             : lv_fail_errno(err, LV_STEP_CREATE, errno, "fstatat");
  look->exists = true;
  if (c->opts.keep)
    return 0;
  return lv_fail(err, LVHD_E_ALREADY_EXISTS, LV_R_NONE);
}

/* The image's side, from the folder on. */
static int look_place(struct lv_create *c, struct lv_look *look,
                      const uint8_t uuid[16], bool volume,
                      struct lvhd_error *err) {
  int code = look->folder.fd < 0 ? look_folder(c, look, err) : 0;
  if (code == 0)
    code = look_plan(c, look, uuid, err);
  if (code == 0 && ask_image(c, volume))
    code = look_image(c, look, err);
  if (code == 0 && volume && !look->exists)
    code = lv_volume_check(&look->volume, c->env, &look->folder, -1,
                           look->plan.full_size, err);
  return code;
}

/* ---- 4 all of it ----------------------------------------------------- */

/* *final: the parent was refused, whatever became of the folder. */
static int look_once(struct lv_create *c, struct lv_look *look,
                     const uint8_t uuid[16], bool volume, bool *final,
                     struct lvhd_error *err) {
  int code = 0;
  look->parent = (struct lv_file)LV_FILE_INIT;
  look->folder = (struct lv_folder)LV_FOLDER_INIT;
  look->exists = false;
  if (c->relative_at != 0 && c->real_parent == NULL)
    code = look_folder(c, look, err);
  if (code == 0 && c->type == LVHD_DIFFERENCING) {
    code = look_parent(c, look, err);
    *final = code != 0;
  }
  return code == 0 ? look_place(c, look, uuid, volume, err) : code;
}

int lv_create_look(struct lv_create *c, struct lv_look *look,
                   const uint8_t uuid[16], bool volume,
                   struct lvhd_error *err) {
  for (int i = 0;; i++) {
    bool final = false;
    int code = look_once(c, look, uuid, volume, &final, err);
    if (code == 0)
      return 0;
    final = final || i + 1 == LV_LOOKS ||
            !lv_folder_gone(&look->folder, c->env);
    lv_look_close(look, c->env);
    if (final)
      return code;
    lv_look_rest(i + 1);
  }
}

void lv_look_rest(int i) {
  const struct timespec moment = {.tv_nsec = 1000000};
  if (i > 1)
    nanosleep(&moment, NULL);
}

void lv_look_close(struct lv_look *look, const struct lv_env *env) {
  lv_file_close(&look->parent, env);
  lv_folder_close(&look->folder, env);
}
