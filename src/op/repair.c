/* SPDX-License-Identifier: MIT
 *
 * The verb repair: the footer and its copy from one another, the geometry
 * from the size, the padding of the BAT.  Nothing that guesses about data: a
 * file whose blocks or header are not sound is refused as it is.
 *
 * One footer that is whole stands at every moment, by the order of writing;
 * only a fixed disk, which has but one, needs the note for that, and so does
 * the sector that the end of the BAT shares with its padding.
 *
 *   1 what is wrong   2 making it right   3 the verb
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/locators.h"
#include "image/table.h"
#include "io/edit.h"
#include "op/change.h"
#include "op/inplace.h"

struct repair {
  struct lv_inplace in; /* first */
  uint8_t old[LV_FOOTER_SIZE];    /* the footer that counts, as it was */
  uint8_t footer[LV_FOOTER_SIZE]; /* and as it is going to stand twice */
  uint64_t end_at;                /* where, at the end */
  uint64_t pad_at;                /* what of the BAT's padding is not FF */
  uint32_t pad_size;
  bool end, copy, geometry; /* to be written */
  bool end_wrong, copy_wrong; /* not for the geometry alone */
  bool time_lost;
};

static void free_args(void *args) {
  struct repair *r = args;
  lv_inplace_clear(&r->in);
  free(r);
}

int lv_repair_args(void **out, struct lv_env *env, const char *path,
                   const struct lvhd_open_options *opts,
                   struct lvhd_error *err) {
  struct repair *r = calloc(1, sizeof *r);
  int code = r ? 0 : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  if (code == 0)
    code = lv_inplace_init(&r->in, env, path, opts, err);
  if (code != 0 && r)
    free_args(r);
  else
    *out = r;
  return code;
}

/* ---- 1 what is wrong ------------------------------------------------- */

static uint64_t length_of(const struct lv_image *image) {
  return (uint64_t)image->file.st.st_size;
}

static int refuse(struct lvhd_error *err, enum lv_reason reason,
                  uint64_t expected, uint64_t actual, uint64_t offset) {
  int code = lv_fail_range(err, LVHD_VM_E_INVALID_HD_FILE, reason, expected,
                           actual);
  err->has |= LVHD_HAS_OFFSET;
  err->offset = offset;
  return code;
}

/* The structures stand where they leave room for one another: what is written
 * here must not be another one's. */
static int check_places(const struct lv_image *image,
                        struct lvhd_error *err) {
  const struct lv_header *h = &image->header;
  uint64_t at = image->footer.data_offset;
  uint64_t table = h->table_offset;
  uint64_t table_end = table + (uint64_t)h->entries * 4;
  if (at < LV_FOOTER_SIZE)
    return refuse(err, LV_R_DATA_OFFSET, LV_FOOTER_SIZE, at, 16);
  if (at + LV_HEADER_SIZE > image->data_end)
    return refuse(err, LV_R_DATA_OFFSET, image->data_end - LV_HEADER_SIZE, at,
                  16);
  if (table_end > image->data_end ||
      (table < at + LV_HEADER_SIZE && at < table_end))
    return refuse(err, LV_R_BAT_OVERLAP, at + LV_HEADER_SIZE, table,
                  at + LV_HEADER_TABLE_AT);
  for (unsigned i = 0; i < LV_LOCATORS; i++) {
    const struct lv_locator_entry *e = &h->locators[i];
    if (lv_get_be32(e->code) != 0 && e->length != 0 &&
        e->offset < LV_FOOTER_SIZE)
      return refuse(err, LV_R_LOCATOR_OVERLAP, LV_FOOTER_SIZE, e->offset,
                    e->offset);
  }
  return 0;
}

static bool is(struct lv_geometry a, struct lv_geometry b) {
  return a.cylinders == b.cylinders && a.heads == b.heads &&
         a.sectors == b.sectors;
}

static void look_geometry(struct repair *r, const struct lv_image *image) {
  static const struct lv_geometry most = {65535, 16, 255};
  const struct lv_footer *f = &image->footer;
  struct lv_geometry right = lv_geometry(f->current_size / LV_SECTOR);
  if (is(f->geometry, right) ||
      (is(f->geometry, most) && !lv_footer_size_counts(f)))
    return; /* the largest there is: so QEMU says that the size counts */
  r->geometry = true;
  lv_footer_set_geometry(r->footer, right);
}

static int read_footer(struct repair *r, const struct lv_image *image,
                       struct lvhd_error *err) {
  bool is_short = image->where == LVHD_FOOTER_SHORT;
  size_t n = is_short ? LV_FOOTER_SIZE - 1 : LV_FOOTER_SIZE;
  uint64_t at =
    image->where == LVHD_FOOTER_COPY ? 0 : length_of(image) - n;
  int code = lv_file_read(&image->file, r->in.env, r->old, n, at, err);
  memcpy(r->footer, r->old, sizeof r->footer);
  return code;
}

/* Where the footer is to stand at the end: where it is, or at the next sector
 * where it begins none; for one that is missing the last sector of the file,
 * if it is nobody's, and else behind what is someone's. */
static int place_end(struct repair *r, const struct lv_image *image,
                     struct lvhd_error *err) {
  uint64_t length = length_of(image), end = 0;
  int code = 0;
  r->end_at = length % LV_SECTOR == 0 ? length - LV_FOOTER_SIZE
                                      : length - length % LV_SECTOR;
  if (image->where != LVHD_FOOTER_COPY)
    return 0;
  code = lv_table_end(&end, image, r->in.env, err);
  if (code != 0)
    return code;
  /* The blocks of the disk are inside: it is an entry behind its end. */
  if (end > lv_round_up(length, LV_SECTOR))
    return lv_fail_range(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_BLOCK_OUTSIDE,
                         length, end);
  end = lv_round_up(end, LV_SECTOR);
  if (r->end_at < end)
    r->end_at = end;
  return 0;
}

static int look_footers(struct repair *r, const struct lv_image *image,
                        struct lvhd_error *err) {
  uint8_t copy[LV_FOOTER_SIZE];
  int code = place_end(r, image, err);
  r->end_wrong = image->where != LVHD_FOOTER_END ||
                 length_of(image) % LV_SECTOR != 0;
  r->end = r->end_wrong || r->geometry;
  if (code != 0 || !lv_image_has_table(image))
    return code;
  code = lv_file_read(&image->file, r->in.env, copy, sizeof copy, 0, err);
  if (code != 0)
    return code;
  r->copy_wrong = memcmp(copy, r->old, sizeof copy) != 0;
  r->copy = r->copy_wrong || r->geometry;
  return 0;
}

/* Where a locator has its text there, it is left alone. */
static int look_padding(struct repair *r, const struct lv_image *image,
                        struct lvhd_error *err) {
  const struct lv_header *h = &image->header;
  uint64_t from = h->table_offset + (uint64_t)h->entries * 4;
  uint64_t to = lv_round_up(from, LV_SECTOR);
  uint8_t bytes[LV_SECTOR];
  size_t n = (size_t)(to - from), odd = 0;
  int code;
  if (to > image->data_end)
    return 0;
  for (unsigned i = 0; i < LV_LOCATORS; i++)
    if (lv_get_be32(h->locators[i].code) != 0 &&
        h->locators[i].offset < to &&
        (h->locators[i].offset >= from ||
         h->locators[i].length > from - h->locators[i].offset))
      return 0;
  code = lv_file_read(&image->file, r->in.env, bytes, n, from, err);
  if (code != 0)
    return code;
  while (odd < n && bytes[odd] == 0xFF)
    odd++;
  r->pad_at = from;
  r->pad_size = odd < n ? (uint32_t)n : 0;
  return 0;
}

/* A fixed disk with its only footer across two sectors cannot be given another
 * without a moment in which it has none. */
static int look_fixed(const struct lv_image *image, struct lvhd_error *err) {
  uint64_t length = length_of(image);
  if (image->where == LVHD_FOOTER_SHORT || length % LV_SECTOR == 0)
    return 0;
  return lv_fail_range(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_FILE_UNALIGNED,
                       lv_round_up(length, LV_SECTOR), length);
}

static int look(struct repair *r, const struct lv_image *image,
                struct lvhd_error *err) {
  struct lv_table table;
  int code = 0;
  if (!lv_image_has_table(image)) {
    code = look_fixed(image, err);
  } else {
    code = check_places(image, err);
    if (code == 0)
      code = lv_table_sound(&table, image, r->in.env, err);
    if (code == 0)
      code = look_padding(r, image, err);
  }
  if (code == 0)
    code = read_footer(r, image, err);
  if (code == 0) {
    look_geometry(r, image);
    code = look_footers(r, image, err);
  }
  return code;
}

/* ---- 2 making it right ----------------------------------------------- */

/* The old bytes go into the note as a sector: that is how disks write. */
static int save_padding(const struct repair *r, struct lv_change *change,
                        struct lvhd_error *err) {
  uint64_t at = r->pad_at - r->pad_at % LV_SECTOR;
  uint8_t *old = NULL;
  int code = 0;
  if (r->pad_size == 0)
    return 0;
  code = lv_overlay_put(&change->journal.old, at, NULL, LV_SECTOR, &old, err);
  return code == 0 ? lv_file_read(&change->image->file, change->env, old,
                                  LV_SECTOR, at, err)
                   : code;
}

static int save(const struct repair *r, struct lv_change *change,
                struct lvhd_error *err) {
  struct lv_journal *journal = &change->journal;
  journal->verb = LV_JOURNAL_REPAIR;
  /* What a failure leaves is no longer than that, and need not be cut. */
  journal->length = r->end ? r->end_at + LV_FOOTER_SIZE
                           : length_of(change->image);
  if (r->end && !lv_image_has_table(change->image))
    return lv_overlay_put(&journal->old, r->end_at, r->old, LV_FOOTER_SIZE,
                          NULL, err);
  return save_padding(r, change, err);
}

static int write_end(const struct repair *r, const struct lv_change *change,
                     struct lvhd_error *err) {
  return r->end ? lv_edit_write(&change->image->file, change->env, r->footer,
                                sizeof r->footer, r->end_at, err)
                : 0;
}

static int write_copy(const struct repair *r, const struct lv_change *change,
                      struct lvhd_error *err) {
  return r->copy ? lv_edit_write(&change->image->file, change->env, r->footer,
                                 sizeof r->footer, 0, err)
                 : 0;
}

static int write_padding(const struct repair *r,
                         const struct lv_change *change,
                         struct lvhd_error *err) {
  uint8_t ones[LV_SECTOR];
  memset(ones, 0xFF, sizeof ones);
  return r->pad_size == 0 ? 0
                          : lv_edit_write(&change->image->file, change->env,
                                          ones, r->pad_size, r->pad_at, err);
}

/* First the footer that is not the one that counts. */
static int write_all(const struct repair *r, const struct lv_change *change,
                     struct lvhd_error *err) {
  bool end_first = change->image->where == LVHD_FOOTER_COPY;
  int code = write_padding(r, change, err);
  if (code == 0)
    code = end_first ? write_end(r, change, err)
                     : write_copy(r, change, err);
  if (code == 0 && r->end && r->copy)
    code = lv_change_barrier(change, err);
  if (code == 0)
    code = end_first ? write_copy(r, change, err)
                     : write_end(r, change, err);
  return code;
}

static int make_right(struct repair *r, struct lv_image *image,
                      struct lv_job *job, struct lvhd_error *err) {
  struct lv_change change = {.env = r->in.env,
                             .image = image,
                             .sync = r->in.opts.sync,
                             .keeps_time = true,
                             .force = r->in.opts.force};
  int code = save(r, &change, err);
  if (code == 0 && !lv_job_commit(job))
    code = lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
  if (code != 0) {
    lv_overlay_clear(&change.journal.old);
    return code;
  }
  code = lv_change_begin(&change, err);
  if (code == 0)
    code = write_all(r, &change, err);
  if (code == 0)
    code = lv_change_end(&change, err);
  if (code != 0)
    lv_change_abandon(&change);
  r->time_lost = change.time_lost;
  return code;
}

/* ---- 3 the verb ------------------------------------------------------ */

static void tell_one(struct lv_facts *facts, bool done, enum lv_reason what,
                     uint64_t offset) {
  if (done)
    lv_finding(&facts->findings, LVHD_NOTE, what, LVHD_HAS_OFFSET, 0, 0,
               offset);
}

static int tell(struct repair *r, const char *path, struct lvhd_error *err) {
  struct lv_facts *facts = NULL;
  int code = lv_inplace_tell(&r->in, path, err);
  if (code != 0)
    return code;
  facts = r->in.facts;
  tell_one(facts, r->end_wrong, LV_R_REPAIRED_FOOTER, r->end_at);
  tell_one(facts, r->copy_wrong, LV_R_REPAIRED_COPY, 0);
  tell_one(facts, r->geometry, LV_R_REPAIRED_GEOMETRY,
           r->end_at + LV_FOOTER_GEOMETRY_AT);
  tell_one(facts, r->pad_size != 0, LV_R_REPAIRED_PADDING, r->pad_at);
  if (r->time_lost)
    lv_finding(&facts->findings, LVHD_WARNING, LV_R_TIME_LOST, 0, 0, 0, 0);
  lv_facts_done(facts);
  return 0;
}

static int run(void *args, struct lv_job *job, struct lvhd_error *err) {
  struct repair *r = args;
  struct lv_image image = LV_IMAGE_INIT;
  int code = lv_image_open(&image, r->in.env, r->in.path, err);
  if (code == 0)
    code = lv_change_take(&image, r->in.env, LV_LOCK_ALONE, NULL,
                          r->in.opts.force, err);
  if (code == 0)
    code = look(r, &image, err);
  if (code == 0 && (r->end || r->copy || r->pad_size != 0))
    code = make_right(r, &image, job, err);
  if (code == 0)
    code = tell(r, image.path, err);
  if (code != 0 && err->path == NULL)
    lv_error_path(err, image.path ? image.path : r->in.path);
  lv_image_close(&image, r->in.env);
  return code;
}

const struct lv_verb lv_repair = {
  .name = "repair",
  .prepare = lv_inplace_prepare,
  .run = run,
  .free = free_args,
  .kind = lv_inplace_kind,
  .info = lv_inplace_info,
  .path = lv_inplace_path,
};
