/* SPDX-License-Identifier: MIT
 *
 * Reading a source: what the layers say of it first, then, where a layer is
 * bytes and no more, what the file system says of its holes.
 */
#include "op/source.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/change.h"
#include "io/lock.h"

/* ---- opening --------------------------------------------------------- */

static int open_raw(struct lv_source *s, const char *path,
                    struct lvhd_error *err) {
  int code = lv_file_open(&s->raw, s->env, path, err);
  if (code == 0)
    code = lv_real_path(&s->path, s->env, s->raw.fd, path, s->raw.real,
                        LV_STEP_FILE, err);
  if (code == 0)
    code = lv_lock(&s->raw, s->env, LV_LOCK_READ, err);
  if (code != 0)
    lv_error_path(err, s->path ? s->path : path);
  else
    s->size = (uint64_t)s->raw.st.st_size;
  return code;
}

static int lock_all(const struct lv_source *s, struct lvhd_error *err) {
  const struct lv_chain *chain = lv_disk_chain_of(s->disk);
  for (size_t i = 0; i < chain->count; i++) {
    int code = lv_lock(&chain->images[i].file, s->env, LV_LOCK_READ, err);
    if (code == 0)
      continue;
    if (chain->count > 1)
      err->layer = (unsigned)i + 1;
    lv_error_path(err, chain->images[i].path);
    return code;
  }
  return 0;
}

static int open_once(struct lv_source *s, const char *path,
                     const struct lvhd_open_options *opts,
                     struct lvhd_error *err) {
  struct lv_chain chain = {0};
  int code = lv_chain_open(&chain, s->env, path, opts->parents,
                           opts->parent_count, opts->max_depth, NULL, err);
  if (code == 0)
    code = lv_change_settled(&chain.images[0], s->env, err);
  if (code == 0)
    code = lv_disk_new(&s->disk, s->env, &chain, err);
  else
    lv_chain_close(&chain, s->env);
  if (code == 0) {
    s->size = lv_disk_bytes(s->disk);
    code = lock_all(s, err);
  }
  if (code == 0)
    code = lv_source_same(s, err);
  if (code != 0) {
    lv_disk_free(s->disk);
    s->disk = NULL;
  }
  if (code != 0 && err->path == NULL)
    lv_error_path(err, path);
  return code;
}

/* What was changed between the look and the lock is looked at again. */
#define OPENINGS 3

static int open_disk(struct lv_source *s, const char *path,
                     const struct lvhd_open_options *opts,
                     struct lvhd_error *err) {
  struct lvhd_error why = LVHD_ERROR_INIT;
  for (int i = 0; i < OPENINGS; i++) {
    lvhd_error_clear(&why);
    if (open_once(s, path, opts, &why) == 0 ||
        why.reason != LV_R_SOURCE_CHANGED)
      break;
  }
  return lv_error_give(err, &why);
}

int lv_source_open(struct lv_source *source, struct lv_env *env,
                   const char *path, bool from_raw,
                   const struct lvhd_open_options *opts,
                   struct lvhd_error *err) {
  int code = 0;
  *source = (struct lv_source)LV_SOURCE_INIT;
  source->env = env;
  code = from_raw ? open_raw(source, path, err)
                  : open_disk(source, path, opts, err);
  if (code != 0)
    lv_source_close(source);
  return code;
}

void lv_source_made(struct lv_source *source, const struct lv_fat *fat) {
  *source = (struct lv_source)LV_SOURCE_INIT;
  source->fat = fat;
  source->size = fat->disk * LV_SECTOR;
}

void lv_source_close(struct lv_source *source) {
  if (source->env == NULL)
    return;
  lv_file_close(&source->raw, source->env);
  lv_disk_free(source->disk);
  source->disk = NULL;
  free(source->path);
  source->path = NULL;
}

/* ---- runs ------------------------------------------------------------ */

/* Of bytes of a file that lie where the disk has them: the run from s->from
 * on ends where a hole begins, or is one itself.  A volume that cannot tell
 * has data everywhere. */
static void look_for_hole(struct lv_source *s, const struct lv_file *file) {
  const struct lv_sys *sys = s->env->sys;
  off_t data = 0, hole = 0;
  if (file->overlay)
    return;
  data = sys->lseek(sys, file->fd, (off_t)s->from, SEEK_DATA);
  if (data < 0 && errno != ENXIO)
    return;
  if (data < 0 || (uint64_t)data >= s->to) {
    s->layer = 0;
    return;
  }
  data -= data % LV_SECTOR;
  if ((uint64_t)data > s->from) {
    s->layer = 0;
    s->to = (uint64_t)data;
    return;
  }
  hole = sys->lseek(sys, file->fd, (off_t)s->from, SEEK_HOLE);
  if (hole > 0)
    hole = (off_t)(((uint64_t)hole + LV_SECTOR - 1) & ~(uint64_t)(LV_SECTOR - 1));
  if (hole > 0 && (uint64_t)hole > s->from && (uint64_t)hole < s->to)
    s->to = (uint64_t)hole;
}

static void look_up_made(struct lv_source *s) {
  bool used = false;
  s->to = s->from + lv_fat_run(s->fat, s->from, &used);
  s->layer = used ? 1 : 0;
}

static int look_up(struct lv_source *s, uint64_t at, struct lvhd_error *err) {
  struct lvhd_extent extent;
  const struct lv_image *image = NULL;
  int code = 0;
  s->from = at;
  s->to = s->size;
  s->layer = 1;
  if (s->fat) {
    look_up_made(s);
    return 0;
  }
  if (s->disk == NULL) {
    look_for_hole(s, &s->raw);
    return 0;
  }
  code = lv_disk_extent(s->disk, at, s->size, &extent, err);
  if (code != 0) {
    s->to = at;
    return code;
  }
  s->to = at + extent.length;
  s->layer = extent.layer;
  if (s->layer == 0)
    return 0;
  image = &lv_disk_chain_of(s->disk)->images[s->layer - 1];
  if (!lv_image_has_table(image))
    look_for_hole(s, &image->file);
  return 0;
}

int lv_source_run(struct lv_source *source, uint64_t at, uint64_t end,
                  uint64_t *length, unsigned *layer, struct lvhd_error *err) {
  int code = 0;
  *layer = 0;
  *length = end - at;
  if (at >= source->size)
    return 0;
  if (at < source->from || at >= source->to)
    code = look_up(source, at, err);
  if (code != 0)
    return code;
  *layer = source->layer;
  if (source->to < end)
    *length = source->to - at;
  return 0;
}

/* ---- reading --------------------------------------------------------- */

static int name_file(const struct lv_source *s, int code,
                     struct lvhd_error *err) {
  if (code != 0 && err->path == NULL)
    lv_error_path(err, s->disk ? lv_disk_chain_of(s->disk)->images[0].path
                               : s->path);
  return code;
}

/* What of n bytes is not behind the end. */
static size_t inside(const struct lv_source *s, uint64_t at, size_t n) {
  uint64_t left = at < s->size ? s->size - at : 0;
  return left < n ? (size_t)left : n;
}

int lv_source_locate(struct lv_source *source, uint64_t at, size_t n,
                     struct lv_where *where, struct lvhd_error *err) {
  size_t got = inside(source, at, n);
  uint64_t covered = 0;
  where->at = at;
  where->n = n;
  if (source->disk == NULL)
    return 0;
  return name_file(source,
                   lv_disk_locate(source->disk, at, got, where->stretches,
                                  n / LV_SECTOR, &where->count, &covered,
                                  err),
                   err);
}

int lv_source_fetch(const struct lv_source *source,
                    const struct lv_where *where, uint8_t *buf,
                    struct lvhd_error *err) {
  size_t got = inside(source, where->at, where->n);
  int code = 0;
  if (source->disk)
    code = lv_disk_fetch(source->disk, where->stretches, where->count, buf,
                         err);
  else if (source->fat)
    lv_fat_read(source->fat, buf, got, where->at);
  else
    code = lv_file_read(&source->raw, source->env, buf, got, where->at, err);
  if (code != 0)
    return name_file(source, code, err);
  memset(buf + got, 0, where->n - got);
  return 0;
}

/* ---- what a caller may count on --------------------------------------- */

static bool same_time(const struct timespec *a, const struct timespec *b) {
  return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* laid: length and time of file->st are those that a note tells. */
static int same(const struct lv_source *s, const struct lv_file *file,
                bool laid, const char *path, struct lvhd_error *err) {
  const struct stat *was = &file->st;
  struct stat st;
  int code = 0;
  if (s->env->sys->fstat(s->env->sys, file->fd, &st) != 0)
    code = lv_fail_errno(err, LV_STEP_OTHER, errno, "fstat");
  else if (laid && !same_time(&st.st_ctim, &was->st_ctim))
    code = lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_SOURCE_CHANGED);
  else if (!laid && st.st_size != was->st_size)
    code = lv_fail_range(err, LVHD_E_SHARING_VIOLATION, LV_R_SOURCE_CHANGED,
                         (uint64_t)was->st_size, (uint64_t)st.st_size);
  else if (!laid && !same_time(&st.st_mtim, &was->st_mtim))
    code = lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_SOURCE_CHANGED);
  if (code != 0)
    lv_error_path(err, path);
  return code;
}

int lv_source_same(const struct lv_source *source, struct lvhd_error *err) {
  const struct lv_chain *chain = NULL;
  int code = 0;
  if (source->fat)
    return 0;
  if (source->disk == NULL)
    return same(source, &source->raw, false, source->path, err);
  chain = lv_disk_chain_of(source->disk);
  for (size_t i = 0; code == 0 && i < chain->count; i++)
    code = same(source, &chain->images[i].file,
                chain->images[i].journal == LV_JOURNAL_GOOD,
                chain->images[i].path, err);
  return code;
}

const struct lv_file *lv_source_plain(const struct lv_source *source) {
  const struct lv_image *image = NULL;
  if (source->fat)
    return NULL;
  if (source->disk == NULL)
    return &source->raw;
  image = &lv_disk_chain_of(source->disk)->images[0];
  return lv_image_has_table(image) || image->file.overlay ? NULL
                                                          : &image->file;
}

unsigned lv_source_shared(const struct lv_source *source,
                          const struct lv_source *other) {
  const struct lv_chain *a = NULL, *b = NULL;
  size_t first = 0;
  if (source->disk == NULL || other->disk == NULL)
    return UINT_MAX;
  a = lv_disk_chain_of(source->disk);
  b = lv_disk_chain_of(other->disk);
  if (a->count < b->count)
    return UINT_MAX;
  first = a->count - b->count;
  for (size_t i = 0; i < b->count; i++) {
    const struct stat *x = &a->images[first + i].file.st;
    const struct stat *y = &b->images[i].file.st;
    if (x->st_dev != y->st_dev || x->st_ino != y->st_ino)
      return UINT_MAX;
  }
  return (unsigned)first;
}
