/* SPDX-License-Identifier: MIT
 *
 * The verb resize: what is asked and may be done, and fixed disks.  Disks
 * with a BAT are resize_table.c's.
 *
 * A fixed disk has one footer, at its end.  The note keeps its bytes (and,
 * where the disk becomes shorter, the zeros in whose place the new one
 * comes), so that until it is gone the file is read as it was:
 *
 *   growing    new footer behind a hole | old footer -> zeros
 *   shrinking  new footer in the zeros | the file is cut, which ends it
 */
#include "op/resize.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "io/edit.h"
#include "io/volume.h"
#include "op/change.h"

/* ---- arguments ------------------------------------------------------- */

static void free_args(void *args) {
  struct lv_resize *a = args;
  if (a)
    lv_inplace_clear(&a->in);
  free(a);
}

int lv_resize_args(void **out, struct lv_env *env, const char *path,
                   int64_t size, const struct lvhd_open_options *opts,
                   struct lvhd_error *err) {
  struct lv_resize *a = calloc(1, sizeof *a);
  int code = 0;
  *out = NULL;
  if (a == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  a->size = size;
  code = lv_inplace_init(&a->in, env, path, opts, err);
  if (code != 0) {
    free_args(a);
    return code;
  }
  *out = a;
  return 0;
}

static int invalid(struct lvhd_error *err, enum lv_reason reason,
                   int64_t size) {
  lv_fail(err, LVHD_E_INVALIDARG, reason);
  if (err && size >= 0) {
    err->has |= LVHD_HAS_ACTUAL;
    err->actual = (uint64_t)size;
  }
  return LVHD_E_INVALIDARG;
}

/* The limits of creation. */
static int prepare(void *args, struct lvhd_error *err) {
  int64_t size = ((const struct lv_resize *)args)->size;
  if (size <= 0)
    return invalid(err, LV_R_SIZE_NOT_POSITIVE, size);
  if (size % LV_SECTOR != 0)
    return invalid(err, LV_R_SIZE_UNALIGNED, size);
  if (size < LV_SIZE_MIN)
    return lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_SMALL,
                         LV_R_SIZE_LIMIT, (uint64_t)LV_SIZE_MIN,
                         (uint64_t)size);
  if (size >= LV_SIZE_MAX)
    return lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_LARGE,
                         LV_R_SIZE_LIMIT, (uint64_t)LV_SIZE_MAX - LV_SECTOR,
                         (uint64_t)size);
  return 0;
}

/* ---- what both halves need ------------------------------------------- */

bool lv_resize_done(void *resizing, uint64_t bytes) {
  const struct lv_resizing *r = resizing;
  return lv_inplace_step(r->job, bytes);
}

int lv_resize_beyond(const struct lv_resizing *r, uint64_t end,
                     struct lvhd_error *err) {
  uint64_t least = lv_round_up(end, LV_SECTOR);
  int code = lv_fail_range(
    err, LVHD_VM_E_IMAGE_SIZE_TOO_SMALL, LV_R_DATA_BEYOND,
    least < (uint64_t)LV_SIZE_MIN ? (uint64_t)LV_SIZE_MIN : least, r->size);
  err->has |= LVHD_HAS_OFFSET;
  err->offset = end - 1;
  return code;
}

int lv_resize_room(const struct lv_resizing *r, uint64_t length,
                   struct lvhd_error *err) {
  return lv_volume_holds(r->env, r->image.file.fd, length, err);
}

int lv_resize_keep(struct lv_resizing *r, uint64_t at, const uint8_t *bytes,
                   uint32_t n, struct lvhd_error *err) {
  uint8_t *out = NULL;
  int code =
    lv_overlay_put(&r->change.journal.old, at, bytes, n, &out, err);
  if (code == 0 && bytes == NULL)
    memset(out, 0xFF, n);
  return code;
}

int lv_resize_begin(struct lv_resizing *r, uint64_t length, uint64_t done,
                    struct lvhd_error *err) {
  r->change.journal.verb = LV_JOURNAL_RESIZE;
  r->change.journal.length = length;
  r->change.journal.done = done < length ? done : 0;
  r->change.journal.longest = done > length ? done : length;
  return lv_change_begin(&r->change, err);
}

int lv_resize_put(const struct lv_resizing *r, const void *bytes, size_t n,
                  uint64_t at, struct lvhd_error *err) {
  int code = lv_edit_write(&r->image.file, r->env, bytes, n, at, err);
  return code == 0 ? lv_change_barrier(&r->change, err) : code;
}

int lv_resize_cut(const struct lv_resizing *r, uint64_t length,
                  struct lvhd_error *err) {
  int code = lv_edit_truncate(&r->image.file, r->env, length, err);
  return code == 0 ? lv_change_barrier(&r->change, err) : code;
}

/* ---- fixed disks ----------------------------------------------------- */

static int check_fixed(struct lv_resizing *r, struct lvhd_error *err) {
  uint64_t end = 0;
  int code = 0;
  if (r->size > r->old_size)
    return lv_resize_room(r, r->size + LV_FOOTER_SIZE, err);
  lv_job_total(r->job, r->old_size - r->size, 0);
  code = lv_file_last(&r->image.file, r->env, r->size, r->old_size, r->buf,
                      lv_resize_done, r, &end, err);
  if (code == 0 && end > r->size)
    code = lv_resize_beyond(r, end, err);
  return code;
}

static int note_fixed(struct lv_resizing *r, uint64_t footer_at,
                      struct lvhd_error *err) {
  static const uint8_t zeros[LV_FOOTER_SIZE];
  int code =
    lv_resize_keep(r, footer_at, r->old_footer, LV_FOOTER_SIZE, err);
  if (code == 0 && r->size < r->old_size)
    code = lv_resize_keep(r, r->size, zeros, sizeof zeros, err);
  if (code == 0)
    code = lv_resize_begin(r, footer_at + LV_FOOTER_SIZE,
                           r->size + LV_FOOTER_SIZE, err);
  return code;
}

/* A footer of 511 bytes, or at an odd place, becomes one of 512 where it can
 * be journaled, and there it is the footer of the old disk. */
static int settle_footer(const struct lv_resizing *r, uint64_t footer_at,
                         struct lvhd_error *err) {
  if (r->image.where == LVHD_FOOTER_END && footer_at == r->image.data_end)
    return 0;
  return lv_resize_put(r, r->old_footer, sizeof r->old_footer, footer_at,
                       err);
}

/* What some writers leave between a disk and its footer is nobody's. */
static int clear_gap(const struct lv_resizing *r, uint64_t footer_at,
                     struct lvhd_error *err) {
  uint64_t end = r->size < footer_at ? r->size : footer_at;
  return lv_edit_zero(&r->image.file, r->env, r->old_size, end, err);
}

static int clear_footer(const struct lv_resizing *r, uint64_t footer_at,
                        struct lvhd_error *err) {
  int code = lv_edit_zero(&r->image.file, r->env, footer_at,
                          footer_at + LV_FOOTER_SIZE, err);
  return code == 0 ? lv_change_barrier(&r->change, err) : code;
}

int lv_resize_fixed(struct lv_resizing *r, struct lvhd_error *err) {
  uint64_t length = (uint64_t)r->image.file.st.st_size;
  uint64_t at = r->image.data_end; /* of the old footer */
  int code = check_fixed(r, err);
  if (at % LV_SECTOR != 0)
    at = lv_round_up(length, LV_SECTOR);
  if (code == 0 && !lv_job_commit(r->job))
    code = lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
  if (code == 0)
    code = note_fixed(r, at, err);
  if (code == 0)
    code = settle_footer(r, at, err);
  if (code == 0)
    code = clear_gap(r, at, err);
  if (code == 0)
    code = lv_resize_put(r, r->new_footer, sizeof r->new_footer, r->size,
                         err);
  if (code == 0 && r->size > at)
    code = clear_footer(r, at, err);
  if (code == 0 && r->size < at)
    code = lv_resize_cut(r, r->size + LV_FOOTER_SIZE, err);
  return code;
}

/* ---- the verb -------------------------------------------------------- */

static int check_type(const struct lv_image *image, struct lvhd_error *err) {
  if (!lv_image_has_parent(image))
    return 0;
  lv_fail(err, LVHD_VM_E_WRONG_HD_IMAGE_TYPE, LV_R_TYPE_UNFIT);
  lv_error_path(err, image->path);
  return LVHD_VM_E_WRONG_HD_IMAGE_TYPE;
}

static int open_image(struct lv_resizing *r, struct lvhd_error *err) {
  const struct lvhd_open_options *opts = &r->args->in.opts;
  struct lv_image *image = &r->image;
  int code = lv_image_open(image, r->env, r->args->in.path, err);
  if (code == 0)
    code = check_type(image, err);
  if (code == 0)
    code = lv_change_take(image, r->env, LV_LOCK_ALONE, NULL, opts->force,
                          err);
  if (code == 0)
    code = check_type(image, err);
  r->old_size = image->footer.current_size;
  r->size = (uint64_t)r->args->size;
  return code;
}

/* What stands in the file, and what shall. */
static int read_footer(struct lv_resizing *r, struct lvhd_error *err) {
  const struct lv_image *image = &r->image;
  struct lv_footer footer = image->footer;
  size_t n = image->where == LVHD_FOOTER_SHORT ? LV_FOOTER_SIZE - 1
                                               : LV_FOOTER_SIZE;
  footer.current_size = r->size;
  footer.original_size = r->size; /* which libvhdi takes for the size */
  footer.geometry = lv_geometry(r->size / LV_SECTOR);
  if (!lv_footer_size_counts(&footer) &&
      memcmp(footer.creator, "qem2", 4) != 0)
    lv_footer_set_creator(&footer); /* or QEMU would round the size */
  lv_footer_encode(&footer, r->new_footer);
  r->buf = lv_buffer(LV_PIECE);
  if (r->buf == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  return lv_file_read(&image->file, r->env, r->old_footer, n,
                      image->where == LVHD_FOOTER_COPY ? 0 : image->data_end,
                      err);
}

static bool cancelled(void *resizing) {
  const struct lv_resizing *r = resizing;
  return lv_job_cancelled(r->job);
}

static int look_around(struct lv_resizing *r, struct lvhd_error *err) {
  const struct lv_image *disk = &r->image;
  struct lv_search search = {.env = r->env,
                             .disks = &disk,
                             .disk_count = 1,
                             .opts = &r->args->in.opts,
                             .stop = cancelled,
                             .stop_arg = r};
  int code = lv_refuse_others(&search, err);
  r->skipped = search.skipped;
  return code;
}

static int resize(struct lv_resizing *r, struct lvhd_error *err) {
  const struct lvhd_open_options *opts = &r->args->in.opts;
  int code = lv_refuse_saved(&r->image, err);
  if (code == 0)
    code = look_around(r, err);
  if (code == 0)
    code = read_footer(r, err);
  if (code != 0)
    return code;
  r->change.env = r->env;
  r->change.image = &r->image;
  r->change.sync = opts->sync;
  r->change.force = opts->force;
  r->change.moves_time = true;
  code = lv_image_has_table(&r->image) ? lv_resize_dynamic(r, err)
                                       : lv_resize_fixed(r, err);
  if (code == 0)
    code = lv_change_end(&r->change, err);
  if (code != 0)
    lv_change_abandon(&r->change);
  return code;
}

static int tell(struct lv_resize *a, const struct lv_resizing *r,
                struct lvhd_error *err) {
  int code = lv_inplace_tell(&a->in, r->image.path, err);
  if (code != 0)
    return code;
  if (r->batmap_cleared != 0)
    lv_finding(&a->in.facts->findings, LVHD_NOTE, LV_R_BATMAP_CLEARED,
               LVHD_HAS_OFFSET, 0, 0, r->batmap_cleared);
  if (r->skipped != 0)
    lv_finding(&a->in.facts->findings, LVHD_WARNING, LV_R_SEARCH_SKIPPED,
               LVHD_HAS_ACTUAL, 0, r->skipped, 0);
  lv_facts_done(a->in.facts);
  return 0;
}

static int run(void *args, struct lv_job *job, struct lvhd_error *err) {
  struct lv_resize *a = args;
  struct lv_resizing r = {
    .args = a, .env = a->in.env, .job = job, .image = LV_IMAGE_INIT};
  int code = open_image(&r, err);
  if (code == 0 && r.size != r.old_size)
    code = resize(&r, err);
  if (code == 0)
    code = tell(a, &r, err);
  if (code != 0 && err->path == NULL)
    lv_error_path(err, a->in.path);
  lv_image_close(&r.image, r.env);
  free(r.buf);
  return code;
}

const struct lv_verb lv_resize = {
  .name = "resize",
  .prepare = prepare,
  .run = run,
  .free = free_args,
  .kind = lv_inplace_kind,
  .info = lv_inplace_info,
  .path = lv_inplace_path,
};
