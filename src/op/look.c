/* SPDX-License-Identifier: MIT
 *
 * What is checked before a new file is made, in the documented order (design
 * 1.5): the words of the call, then the parent, the image and the volume.  The
 * same look is taken by the call (preflight) and by the worker.  Changes
 * nothing.
 *
 *   1 words   2 the parent   3 the image   4 all of it
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/path.h"
#include "base/uuid.h"
#include "base/winpath.h"
#include "format/fat.h"
#include "image/journal.h"
#include "io/drives.h"
#include "io/lock.h"
#include "op/create_args.h"
#include "op/way.h"

/* ---- 1 words --------------------------------------------------------- */

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

static int fail_parent(struct lvhd_error *err, int code) {
  if (code != 0 && err)
    err->has |= LVHD_AT_PARENT;
  return code;
}

/* What a path is told to be.  Relative ones take the kind of the other path
 * of the call, or of base. */
enum kind { UNKNOWN, HOST, WINDOWS };

static enum kind kind_of(const struct lv_create *c, const char *path) {
  if (path == NULL)
    return UNKNOWN;
  if (lv_is_windows(c->env, path))
    return WINDOWS;
  return path[0] == '/' ? HOST : UNKNOWN;
}

/* The other path of the call, which a relative image starts from. */
static const char *other_of(const struct lv_create *c) {
  if (c->from_base)
    return NULL;
  return c->converts ? c->source : c->parent;
}

static void take_kinds(const struct lv_create *c, enum kind *image,
                       enum kind *parent) {
  *image = kind_of(c, c->image);
  *parent = kind_of(c, c->parent);
  if (*image == UNKNOWN)
    *image = kind_of(c, other_of(c));
  if (*image == UNKNOWN)
    *image = kind_of(c, c->opts.base);
  if (*parent == UNKNOWN)
    *parent = *image;
}

static int check_text(const struct lv_create *c, const char *path, size_t n,
                      enum kind kind, struct lvhd_error *err) {
  if (kind == UNKNOWN && c->env->drives) /* it is going to be refused */
    kind = memchr(path, '\\', n) ? WINDOWS : HOST;
  return kind == WINDOWS
           ? lv_winpath_check(path, n, err)
           : lv_path_check(path, n, c->opts.host_names == LVHD_YES, err);
}

static int check_characters(const struct lv_create *c,
                            struct lvhd_error *err) {
  enum kind image = UNKNOWN, parent = UNKNOWN;
  const char *base = c->opts.base;
  int code = 0;
  take_kinds(c, &image, &parent);
  code = check_text(c, c->image, c->opts.image_length, image, err);
  if (code == 0 && base)
    code = check_text(c, base, strlen(base), kind_of(c, base), err);
  if (code == 0 && c->parent)
    code = fail_parent(err, check_text(c, c->parent, c->opts.parent_length,
                                       parent, err));
  return code;
}

/* Replaces *path by what `joined` is, NULL: no memory. */
static int replace(char **path, char *joined, struct lvhd_error *err) {
  if (joined == NULL)
    return no_memory(err);
  free(*path);
  *path = joined;
  return 0;
}

/* *path as it stands behind folder, which is of the same kind; NULL where
 * *path is absolute. */
static int join(const struct lv_create *c, char **path, const char *folder,
                struct lvhd_error *err) {
  if (!lv_is_windows(c->env, folder ? folder : *path))
    return folder ? replace(path, lv_path_join(folder, *path), err) : 0;
  if (lv_winpath_is_folder(*path))
    return lv_fail(err, LVHD_E_INVALID_NAME, LV_R_NAME_IS_FOLDER);
  return replace(path, lv_winpath_join(folder, *path), err);
}

static int join_to_folder_of(const struct lv_create *c, char **path,
                             const char *other, struct lvhd_error *err) {
  char *plain = NULL;
  char *folder = NULL;
  int code = 0;
  if (lv_is_windows(c->env, other)) {
    plain = lv_winpath_join(NULL, other);
    folder = plain ? lv_winpath_folder(plain) : NULL;
  } else {
    folder = lv_path_folder(other);
  }
  code = folder ? join(c, path, folder, err) : no_memory(err);
  free(folder);
  free(plain);
  return code;
}

static int join_image(struct lv_create *c, struct lvhd_error *err) {
  const char *other = other_of(c);
  if (kind_of(c, c->image) != UNKNOWN)
    return join(c, &c->image, NULL, err);
  if (kind_of(c, other) != UNKNOWN)
    return join_to_folder_of(c, &c->image, other, err);
  if (c->opts.base)
    return join(c, &c->image, c->opts.base, err);
  return lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_RELATIVE);
}

static int join_parent(struct lv_create *c, struct lvhd_error *err) {
  size_t given = strlen(c->parent);
  bool relative = kind_of(c, c->parent) == UNKNOWN;
  int code = relative ? join_to_folder_of(c, &c->parent, c->image, err)
                      : join(c, &c->parent, NULL, err);
  if (code == 0 && relative && !lv_is_windows(c->env, c->parent))
    c->relative_at = strlen(c->parent) - given;
  return fail_parent(err, code);
}

static int join_paths(struct lv_create *c, struct lvhd_error *err) {
  int code = 0;
  if (c->opts.base && kind_of(c, c->opts.base) == UNKNOWN)
    return lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_BASE_RELATIVE);
  if (c->image[0] == '\0')
    return lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_EMPTY);
  if (c->parent && c->parent[0] == '\0')
    return fail_parent(
      err, lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_EMPTY));
  code = join_image(c, err);
  return code == 0 && c->parent ? join_parent(c, err) : code;
}

/* The parent of many: it has no image whose folder it could start from. */
static int join_common_parent(struct lv_create *c, struct lvhd_error *err) {
  const char *base = c->opts.base;
  bool relative = kind_of(c, c->parent) == UNKNOWN;
  if (base && kind_of(c, base) == UNKNOWN)
    return lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_BASE_RELATIVE);
  if (c->parent[0] == '\0')
    return lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_EMPTY);
  if (relative && base == NULL)
    return lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_RELATIVE);
  c->from_base = relative;
  return join(c, &c->parent, relative ? base : NULL, err);
}

static int check_lengths(const struct lv_create *c, struct lvhd_error *err) {
  bool long_paths = c->opts.long_paths == LVHD_YES;
  int code = lv_path_length(c->image, long_paths, err);
  if (code == 0 && c->parent)
    code = fail_parent(err, lv_path_length(c->parent, long_paths, err));
  return code;
}

static int check_name(const struct lv_create *c, struct lvhd_error *err) {
  const char *name = lv_create_name(c);
  if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return lv_fail(err, LVHD_E_INVALID_NAME, LV_R_NAME_IS_FOLDER);
  return 0;
}

static int check_label(const struct lv_create *c, struct lvhd_error *err) {
  const struct lvhd_create_options *opts = &c->opts;
  bool formats = opts->filesystem != LVHD_UNFORMATTED;
  uint8_t label[LV_FAT_LABEL];
  if ((formats || opts->label) &&
      (c->type == LVHD_DIFFERENCING || c->converts))
    return lv_fail(err, LVHD_E_INVALIDARG, LV_R_OPTION_UNKNOWN);
  if (opts->label && !formats)
    return lv_fail(err, LVHD_E_INVALIDARG, LV_R_LABEL_ALONE);
  if (opts->label && !lv_fat_label(opts->label, label))
    return lv_fail(err, LVHD_E_INVALIDARG, LV_R_LABEL_MALFORMED);
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
  return check_label(c, err);
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

/* The documented sizes: from min, to less than max; and whose limit that is,
 * the disk's or its file system's. */
static const struct limits {
  int64_t min, max;
  enum lv_reason small, large;
} limits[] = {
  [LVHD_UNFORMATTED] = {LV_SIZE_MIN, LV_SIZE_MAX, LV_R_SIZE_LIMIT,
                        LV_R_SIZE_LIMIT},
  [LVHD_FAT16] = {LV_FAT16_MIN, LV_FAT16_MAX, LV_R_SIZE_LIMIT,
                  LV_R_FILESYSTEM_SIZE},
  [LVHD_FAT32] = {LV_FAT32_MIN, LV_FAT32_MAX, LV_R_FILESYSTEM_SIZE,
                  LV_R_SIZE_LIMIT},
};

static int check_size(const struct lv_create *c, struct lvhd_error *err) {
  const struct limits *l = &limits[c->opts.filesystem];
  uint64_t size = (uint64_t)c->size;
  if (c->type == LVHD_DIFFERENCING)
    return 0;
  if (c->size <= 0)
    return fail_value(err, LV_R_SIZE_NOT_POSITIVE, size);
  if (size % LV_SECTOR != 0)
    return fail_value(err, LV_R_SIZE_UNALIGNED, size);
  if (c->size < l->min)
    return lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_SMALL, l->small,
                         (uint64_t)l->min, size);
  if (c->size >= l->max)
    return lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_LARGE, l->large,
                         (uint64_t)l->max - LV_SECTOR, size);
  return 0;
}

const char *lv_create_name(const struct lv_create *c) {
  if (c->twin)
    return c->twin;
  return lv_is_windows(c->env, c->image) ? lv_winpath_name(c->image)
                                         : lv_path_name(c->image);
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
  if (code == 0)
    code = lv_way_words(&c->windows, err);
  return code;
}

int lv_create_parent_words(struct lv_create *c, struct lvhd_error *err) {
  const char *base = c->opts.base;
  enum kind kind = kind_of(c, c->parent);
  int code = 0;
  if (kind == UNKNOWN)
    kind = kind_of(c, base);
  if (base)
    code = check_text(c, base, strlen(base), kind_of(c, base), err);
  if (code == 0)
    code = fail_parent(
      err, check_text(c, c->parent, c->opts.parent_length, kind, err));
  if (code == 0)
    code = fail_parent(err, join_common_parent(c, err));
  if (code == 0)
    code = fail_parent(err, lv_path_length(c->parent,
                                           c->opts.long_paths == LVHD_YES,
                                           err));
  if (code == 0)
    code = check_values(c, err);
  return code == 0 ? lv_way_words(&c->windows, err) : code;
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
  char *path = NULL, *real = NULL;
  int code = 0;
  /* A Windows path is looked for anew each time: by its real path it could
   * be led out of its drive meanwhile. */
  if (c->real_parent && !lv_is_windows(c->env, c->parent))
    return lv_file_open(&look->parent, c->env, c->real_parent, err);
  path = c->relative_at != 0 ? relative_parent(c) : strdup(c->parent);
  if (path == NULL)
    return no_memory(err);
  code = lv_file_open(&look->parent, c->env, path, err);
  if (code == 0)
    code = lv_real_path(&real, c->env, look->parent.fd, path,
                        look->parent.real, LV_STEP_FILE, err);
  if (code == 0)
    code = replace(&c->real_parent, real, err);
  free(path);
  return code;
}

bool lv_same_state(const struct stat *a, const struct stat *b) {
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

/* *ours: unless the parent has a footer, and not that of the disk that the note
 * tells of. */
static int note_is_ours(const struct lv_create *c, const struct lv_look *look,
                        const struct lv_journal *note, bool *ours,
                        struct lvhd_error *err) {
  struct lvhd_error why = LVHD_ERROR_INIT;
  struct lv_probe probe;
  int code = lv_probe(&probe, &look->parent, c->env, &why);
  *ours = true;
  if (code == 0)
    *ours = memcmp(probe.footer.uuid, note->uuid, sizeof note->uuid) == 0;
  else if (code != LVHD_VM_E_INVALID_HD_FILE)
    return lv_error_give(err, &why);
  lvhd_error_clear(&why); /* what is damaged the note may mend */
  return 0;
}

/* A verb that was interrupted: when it is run again, the parent has another
 * time, or another content. */
static int check_note(const struct lv_create *c, const struct lv_look *look,
                      struct lvhd_error *err) {
  struct lv_journal note;
  enum lv_journal_state state = LV_JOURNAL_NONE;
  bool ours = false;
  int code = lv_journal_look(&note, &state, c->env, &look->parent,
                             c->real_parent, NULL, err);
  if (code == 0 && state == LV_JOURNAL_GOOD)
    code = note_is_ours(c, look, &note, &ours, err);
  if (code == 0 && ours)
    code = lv_lock_quiet(&look->parent, c->env, err); /* it goes on */
  if (code == 0 && ours)
    code = lv_journal_pending(&note, err);
  lv_journal_free(&note);
  return code;
}

int lv_create_parent(struct lv_create *c, struct lv_look *look,
                     struct lvhd_error *err) {
  bool known = false;
  int code = open_parent(c, look, err);
  if (code == 0)
    known = c->seen.st.st_ino != 0 &&
            lv_same_state(&c->seen.st, &look->parent.st);
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

char *lv_create_folder(const struct lv_create *c) {
  return lv_is_windows(c->env, c->image) ? lv_winpath_folder(c->image)
                                         : lv_path_folder(c->image);
}

static int look_folder(struct lv_create *c, struct lv_look *look,
                       struct lvhd_error *err) {
  bool windows = lv_is_windows(c->env, c->image);
  char *folder = NULL, *real = NULL;
  int code = 0;
  if (c->real_folder && !windows)
    return lv_folder_open(&look->folder, c->env, c->real_folder, err);
  folder = lv_create_folder(c);
  if (folder == NULL)
    return no_memory(err);
  code = lv_folder_open(&look->folder, c->env, folder, err);
  if (code == 0)
    code = lv_folder_real(&real, &look->folder, c->env, folder, err);
  if (code == 0)
    code = replace(&c->real_folder, real, err);
  free(folder);
  return code;
}

/* What the child records of the way to its parent; found belongs to who
 * calls. */
static int take_way(const struct lv_create *c, struct lv_look *look,
                    struct lv_plan_in *in, struct lv_way *found,
                    struct lvhd_error *err) {
  const struct lv_way *way = c->way ? c->way : found;
  int code = 0;
  if (c->way == NULL)
    code = lv_way_find(found, c->env, c->real_folder, c->real_parent,
                       c->windows, err);
  if (code != 0)
    return code;
  in->relative = way->relative;
  in->no_relative = way->no_relative;
  in->windows = way->windows;
  look->unnamable = way->unnamable;
  in->size = c->seen.size;
  memcpy(in->parent_uuid, c->seen.uuid, sizeof in->parent_uuid);
  in->parent_timestamp = lv_timestamp(look->parent.st.st_mtim.tv_sec);
  return 0;
}

/* A child with its parent's identifier is a chain that comes back to itself. */
static int check_uuid(const struct lv_create *c, struct lvhd_error *err) {
  if (c->type == LVHD_DIFFERENCING && c->opts.has_uuid &&
      memcmp(c->opts.uuid, c->seen.uuid, 16) == 0)
    return lv_fail(err, LVHD_E_INVALIDARG, LV_R_UUID_OF_PARENT);
  return 0;
}

int lv_create_plan(struct lv_create *c, struct lv_look *look,
                   const uint8_t uuid[16], struct lvhd_error *err) {
  struct lv_plan_in in = {.type = c->type, .size = (uint64_t)c->size};
  struct lv_way way = {0};
  int code = block_size(c, &in.block_size, err);
  if (code == 0)
    code = check_uuid(c, err);
  if (code != 0)
    return code;
  memcpy(in.uuid, uuid, sizeof in.uuid);
  in.timestamp = lv_timestamp(c->opts.has_timestamp
                                ? c->opts.timestamp
                                : c->env->sys->now(c->env->sys));
  if (c->type == LVHD_DIFFERENCING)
    code = take_way(c, look, &in, &way, err);
  if (code != 0)
    return code;
  code = lv_plan(&look->plan, &in, err);
  lv_way_clear(&way);
  return c->type == LVHD_DIFFERENCING ? fail_parent(err, code) : code;
}

/* The worker leaves the question to linkat where the call has just asked it, or
 * nothing is flushed, unless much would be written for nothing: looking for a
 * name waits for whoever puts another one into the folder. */
static bool ask_image(const struct lv_create *c, bool preflight) {
  bool cheap = c->opts.preflight == LVHD_YES ||
               c->opts.sync == LVHD_SYNC_NONE;
  return preflight || !cheap || c->opts.keep || c->converts ||
         c->opts.allocate == LVHD_ZERO ||
         lv_is_windows(c->env, c->image); /* linkat knows no twins */
}

/* Nothing has the name: in Windows' eyes something may have it all the same,
 * and is the image then. */
static int look_twin(struct lv_create *c, struct lv_look *look,
                     struct lvhd_error *err) {
  struct lv_twins twins = {0};
  int code = lv_twins_find(&twins, c->env, look->folder.fd,
                           lv_winpath_name(c->image), err);
  if (code != 0 || twins.count == 0)
    return code;
  look->exists = true;
  if (c->opts.keep && twins.count == 1)
    return replace(&c->twin, strdup(twins.names[0]), err);
  code = lv_fail(err, LVHD_E_ALREADY_EXISTS,
                 twins.exact ? LV_R_NONE : LV_R_CASE_TWIN);
  if (!twins.exact)
    lv_twins_tell(&twins, c->real_folder, "", err);
  return code;
}

int lv_create_image(struct lv_create *c, struct lv_look *look,
                    struct lvhd_error *err) {
  const struct lv_sys *sys = c->env->sys;
  struct stat st;
  if (look->folder.missing)
    return 0;
  free(c->twin);
  c->twin = NULL;
  if (sys->fstatat(sys, look->folder.fd, lv_create_name(c), &st,
                   AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT)
      return lv_fail_errno(err, LV_STEP_CREATE, errno, "fstatat");
    return lv_is_windows(c->env, c->image) ? look_twin(c, look, err) : 0;
  }
  look->exists = true;
  if (c->opts.keep)
    return 0;
  return lv_fail(err, LVHD_E_ALREADY_EXISTS, LV_R_NONE);
}

/* What is to be reserved, or written as zeros, must be free: to find out by
 * trying would fill the volume for everyone else meanwhile. */
int lv_look_room(const struct lv_create *c, struct lv_look *look, int fd,
                 struct lvhd_error *err) {
  bool whole =
    c->opts.allocate == LVHD_RESERVE || c->opts.allocate == LVHD_ZERO;
  int code = lv_volume_check(&look->volume, c->env, &look->folder, fd,
                             look->plan.full_size, err);
  if (code == 0 && whole && look->plan.head_size == 0 &&
      look->volume.counted && look->volume.free < look->plan.file_size)
    code = lv_fail_range(err, LVHD_E_DISK_FULL, LV_R_VOLUME_FULL,
                         look->plan.file_size, look->volume.free);
  return code;
}

/* The image's side, from the folder on. */
static int look_place(struct lv_create *c, struct lv_look *look,
                      const uint8_t uuid[16], bool volume,
                      struct lvhd_error *err) {
  int code = look->folder.fd < 0 ? look_folder(c, look, err) : 0;
  if (code == 0)
    code = lv_create_plan(c, look, uuid, err);
  look->asked = ask_image(c, volume);
  if (code == 0 && look->asked)
    code = lv_create_image(c, look, err);
  if (code == 0 && volume && !look->exists)
    code = lv_look_room(c, look, -1, err);
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
  look->unnamable = false;
  look->exists = false;
  if (c->relative_at != 0 && c->real_parent == NULL)
    code = look_folder(c, look, err);
  if (code == 0 && c->type == LVHD_DIFFERENCING) {
    code = lv_create_parent(c, look, err);
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
    lvhd_error_clear(err);
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
