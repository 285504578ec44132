/* SPDX-License-Identifier: MIT
 *
 * The verb compact: blocks that say nothing are taken out of the BAT, blocks
 * from the end of the file go into the room they leave, and the file is cut.
 * What the disk reads is the same after each single write, so nothing needs to
 * be undone; in which order the disk keeps them is what the barriers are for:
 *
 *   entries of empty blocks -> FFFFFFFF  | their room is nobody's now
 *   copies of blocks from the end        | nobody reads them yet
 *   entries of the moved blocks          | the end of the file is nobody's
 *   a footer behind the last block       | two footers, the same bytes
 *   the file is cut
 *
 * Not knowing file formats of anything inside the disk, it looks for zeros.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "format/bitmap.h"
#include "image/disk.h"
#include "image/moving.h"
#include "io/edit.h"
#include "op/change.h"
#include "op/inplace.h"

struct compact {
  struct lv_inplace in; /* first */
};

struct work {
  struct compact *c;
  struct lv_env *env;
  struct lv_job *job;
  struct lv_chain chain;
  struct lv_image *image; /* the leaf */
  struct lv_disk *parent; /* the chain below it; NULL: none */
  uint8_t *ours, *theirs, *bitmap;
  uint8_t *empty;         /* a bit a block: to be dropped */
  uint64_t dropped;       /* how many are, and entries behind the disk's */
  struct lv_space space;  /* of the blocks that stay */
  uint32_t *slots;        /* where the last of them go, ascending */
  size_t moves;
  uint64_t footer_at;     /* the new one */
  struct lv_change change;
  bool batmap_cleared;
};

/* ---- arguments ------------------------------------------------------- */

static void free_args(void *args) {
  struct compact *c = args;
  if (c)
    lv_inplace_clear(&c->in);
  free(c);
}

int lv_compact_args(void **out, struct lv_env *env, const char *path,
                    const struct lvhd_open_options *opts,
                    struct lvhd_error *err) {
  struct compact *c = calloc(1, sizeof *c);
  int code = 0;
  *out = NULL;
  if (c == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  code = lv_inplace_init(&c->in, env, path, opts, err);
  if (code != 0) {
    free_args(c);
    return code;
  }
  *out = c;
  return 0;
}

/* ---- opening --------------------------------------------------------- */

static bool done(void *arg, uint64_t bytes) {
  const struct work *w = arg;
  return lv_inplace_step(w->job, bytes);
}

static bool cancelled(void *arg) {
  const struct work *w = arg;
  return lv_job_cancelled(w->job);
}

static int check_type(const struct lv_image *image, struct lvhd_error *err) {
  if (lv_image_has_table(image))
    return 0;
  lv_fail(err, LVHD_VM_E_WRONG_HD_IMAGE_TYPE, LV_R_TYPE_UNFIT);
  lv_error_path(err, image->path);
  return LVHD_VM_E_WRONG_HD_IMAGE_TYPE;
}

/* What a parent holds that a merge was writing into is not to be relied upon: it
 * may be given up, and the parent come back from a backup. */
static int refuse_pending(struct work *w, struct lvhd_error *err) {
  for (size_t i = 1; i < w->chain.count; i++) {
    const struct lv_image *parent = &w->chain.images[i];
    if (parent->journal != LV_JOURNAL_GOOD ||
        parent->note.verb != LV_JOURNAL_MERGE)
      continue;
    lv_journal_pending(&parent->note, err);
    err->has |= LVHD_AT_PARENT;
    err->layer = (unsigned)i + 1;
    lv_error_path(err, w->image->path);
    lv_error_parent(err, parent->path);
    return LVHD_E_SHARING_VIOLATION;
  }
  return 0;
}

/* The parents of a differencing disk are what it is compared with. */
static int open_parents(struct work *w, struct lvhd_error *err) {
  int code = 0;
  if (w->chain.count < 2)
    return 0;
  code = lv_change_same_parent(&w->chain, 0, err);
  if (code == 0)
    code = lv_change_lock_parents(&w->chain, 1, w->env, err);
  if (code == 0 && !w->c->in.opts.force)
    code = refuse_pending(w, err);
  if (code == 0 && !w->c->in.opts.force)
    code = lv_change_unmodified(&w->chain, 0, w->chain.count - 2, err);
  if (code == 0)
    code = lv_disk_part(&w->parent, w->env, &w->chain, 1,
                        w->chain.count - 1, err);
  return code;
}

static int open_all(struct work *w, struct lvhd_error *err) {
  const struct lvhd_open_options *opts = &w->c->in.opts;
  int code = lv_chain_open(&w->chain, w->env, w->c->in.path, opts->parents,
                           opts->parent_count, opts->max_depth, NULL, err);
  if (code != 0)
    return code;
  w->image = &w->chain.images[0];
  code = check_type(w->image, err);
  if (code == 0)
    code = lv_change_take(w->image, w->env, LV_LOCK_ALONE, NULL, opts->force,
                          err);
  if (code == 0)
    code = check_type(w->image, err);
  if (code == 0)
    code = lv_refuse_saved(w->image, err);
  if (code == 0)
    code = open_parents(w, err);
  if (code != 0)
    return code;
  w->ours = lv_buffer(LV_PIECE);
  w->theirs = lv_buffer(LV_PIECE);
  w->bitmap = malloc(w->image->bitmap_size);
  w->empty = calloc(w->image->header.entries / 8 + 1, 1);
  if (w->ours == NULL || w->theirs == NULL || w->bitmap == NULL ||
      w->empty == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  return 0;
}

/* ---- looking for empty blocks ---------------------------------------- */

static int step(struct work *w, uint64_t bytes, struct lvhd_error *err) {
  return done(w, bytes) ? lv_fail(err, LVHD_E_ABORT, LV_R_NONE) : 0;
}

/* Without a parent: all bytes are zero, those under clear bits, too, which
 * other programs do not always ignore. */
static int look_for_zeros(struct work *w, uint64_t at, uint64_t n,
                          bool *empty, struct lvhd_error *err) {
  const struct lv_file *file = &w->image->file;
  uint64_t end = at + n;
  int code = 0;
  *empty = true;
  while (code == 0 && *empty) {
    size_t piece = 0;
    at = lv_file_data(file, w->env, at, end);
    if (at == end)
      break;
    piece = end - at < LV_PIECE ? (size_t)(end - at) : LV_PIECE;
    code = lv_file_read(file, w->env, w->ours, piece, at, err);
    if (code == 0)
      code = step(w, 0, err);
    *empty = code == 0 && lv_zeros(w->ours, piece);
    at += piece;
  }
  return code;
}

/* What the chain below has at a place of the disk; zeros behind its end. */
static int read_below(struct work *w, size_t n, uint64_t offset,
                      struct lvhd_error *err) {
  size_t got = 0;
  int code = lv_disk_read(w->parent, w->theirs, n, offset, &got, err);
  if (code != 0 && err->layer > 0)
    err->layer++;
  if (code == 0)
    memset(w->theirs + got, 0, n - got);
  return code;
}

/* Sectors [from, to) of the block at `at`, which begins at `disk`. */
static int compare(struct work *w, uint64_t at, uint64_t disk, uint32_t from,
                   uint32_t to, bool *empty, struct lvhd_error *err) {
  uint64_t data = at + w->image->bitmap_size;
  int code = 0;
  while (code == 0 && *empty && from < to) {
    uint32_t n = to - from < LV_PIECE / LV_SECTOR ? to - from
                                                  : LV_PIECE / LV_SECTOR;
    size_t bytes = (size_t)n * LV_SECTOR;
    uint64_t skip = (uint64_t)from * LV_SECTOR;
    code = lv_file_read(&w->image->file, w->env, w->ours, bytes, data + skip,
                        err);
    if (code == 0)
      code = read_below(w, bytes, disk + skip, err);
    if (code == 0)
      code = step(w, 0, err);
    *empty = code == 0 && memcmp(w->ours, w->theirs, bytes) == 0;
    from += n;
  }
  return code;
}

/* With a parent: each sector that the block has reads as below. */
static int look_for_same(struct work *w, uint64_t at, uint64_t disk,
                         uint64_t n, bool *empty, struct lvhd_error *err) {
  uint32_t end = (uint32_t)(n / LV_SECTOR), from = 0, to = 0;
  int code = lv_file_read(&w->image->file, w->env, w->bitmap,
                          w->image->bitmap_size, at, err);
  *empty = true;
  while (code == 0 && *empty && to < end) {
    from = lv_bits_find(w->bitmap, to, end, true);
    to = lv_bits_find(w->bitmap, from, end, false);
    if (from < to)
      code = compare(w, at, disk, from, to, empty, err);
  }
  return code;
}

/* Sectors behind the end of the disk are nobody's. */
static int look(void *arg, uint64_t index, uint32_t entry,
                struct lvhd_error *err) {
  struct work *w = arg;
  const struct lv_image *image = w->image;
  uint64_t at = (uint64_t)entry * LV_SECTOR;
  uint64_t disk = index * image->header.block_size;
  uint64_t n = image->footer.current_size - disk;
  bool empty = false;
  int code = 0;
  if (n > image->header.block_size)
    n = image->header.block_size;
  code = w->parent ? look_for_same(w, at, disk, n, &empty, err)
                   : look_for_zeros(w, at + image->bitmap_size, n, &empty,
                                    err);
  if (code != 0)
    return code;
  if (empty) {
    lv_bit_set(w->empty, (uint32_t)index);
    w->dropped++;
  }
  return step(w, w->space.pitch, err);
}

/* ---- the plan -------------------------------------------------------- */

static int count_beyond(void *arg, uint64_t index, uint32_t entry,
                        struct lvhd_error *err) {
  struct work *w = arg;
  (void)index;
  (void)entry;
  (void)err;
  w->dropped++;
  return 0;
}

static uint64_t block_at(const struct work *w, size_t i) {
  return (uint64_t)w->space.blocks[i] * LV_SECTOR;
}

/* The last blocks go into the first gaps that hold them. */
static int plan_moves(struct work *w, struct lvhd_error *err) {
  const struct lv_space *s = &w->space;
  struct lv_slots slots = lv_space_first(s);
  uint64_t end = s->head_end;
  w->slots = malloc((s->count + 1) * sizeof *w->slots);
  if (w->slots == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  while (w->moves < s->count &&
         lv_space_slot(&slots, block_at(w, s->count - 1 - w->moves),
                       &w->slots[w->moves]))
    w->moves++;
  if (w->moves < s->count &&
      block_at(w, s->count - 1 - w->moves) + s->pitch > end)
    end = block_at(w, s->count - 1 - w->moves) + s->pitch;
  if (w->moves > 0) {
    uint64_t last = (uint64_t)w->slots[w->moves - 1] * LV_SECTOR + s->pitch;
    end = last > end ? last : end;
  }
  w->footer_at = lv_space_footer(w->image, end);
  return 0;
}

/* Reads the disk once, and writes nothing. */
static int plan(struct work *w, struct lvhd_error *err) {
  const struct lv_image *image = w->image;
  uint64_t bytes = 0;
  int code = lv_space_new(&w->space, image, w->env, NULL, cancelled, w, err);
  if (code != 0)
    return code;
  bytes = w->space.count * w->space.pitch;
  lv_job_total(w->job, bytes + bytes / 2, 0); /* how much will move? */
  code = lv_table_walk(image, w->env, 0, image->blocks, look, w, cancelled,
                       w, err);
  if (code == 0)
    code = lv_table_walk(image, w->env, image->blocks,
                         image->header.entries - image->blocks, count_beyond,
                         w, cancelled, w, err);
  lv_space_free(&w->space);
  if (code == 0)
    code = lv_space_new(&w->space, image, w->env, w->empty, cancelled, w,
                        err);
  if (code == 0)
    code = plan_moves(w, err);
  if (code == 0)
    lv_job_total(w->job, bytes + w->moves * w->space.pitch, 0);
  return code;
}

static bool nothing_to_do(const struct work *w) {
  return w->dropped == 0 && w->moves == 0 &&
         w->image->where == LVHD_FOOTER_END &&
         w->footer_at == w->image->data_end;
}

/* ---- writing --------------------------------------------------------- */

static int begin(struct work *w, struct lvhd_error *err) {
  uint64_t now = (uint64_t)w->image->file.st.st_size;
  uint64_t then = w->footer_at + LV_FOOTER_SIZE;
  w->change.env = w->env;
  w->change.image = w->image;
  w->change.journal.verb = LV_JOURNAL_COMPACT;
  w->change.journal.length = then > now ? then : now;
  w->change.journal.done = then < now ? then : 0;
  w->change.sync = w->c->in.opts.sync;
  w->change.keeps_time = true;
  w->change.force = w->c->in.opts.force;
  return lv_change_begin(&w->change, err);
}

static uint32_t without_empty(const void *arg, uint64_t index,
                              uint32_t entry) {
  const struct work *w = arg;
  return index >= w->image->blocks || lv_bit(w->empty, (uint32_t)index)
           ? UINT32_MAX
           : entry;
}

/* What was found in the parents may not be on their disks yet: whoever wrote
 * it was killed, say. */
static int flush_parents(const struct work *w, struct lvhd_error *err) {
  int code = 0;
  for (size_t i = 1; code == 0 && i < w->chain.count; i++) {
    const struct lv_image *parent = &w->chain.images[i];
    if (w->change.sync == LVHD_SYNC_NONE)
      break;
    code = lv_edit_flush(&parent->file, w->env, err);
    if (code != 0) {
      err->layer = (unsigned)i + 1;
      err->has |= LVHD_AT_PARENT;
      lv_error_parent(err, parent->path);
    }
  }
  return code;
}

/* A batmap that says "full" of a block that is gone would be believed. */
static int drop(struct work *w, struct lvhd_error *err) {
  const struct lv_space *s = &w->space;
  int code = 0;
  if (w->dropped == 0)
    return 0;
  code = flush_parents(w, err);
  if (code == 0 && s->batmap_at != 0) {
    w->batmap_cleared = true;
    code = lv_batmap_clear(w->image, w->env, s->batmap_at, s->batmap.map_at,
                           s->batmap.map_size, err);
    if (code == 0)
      code = lv_change_barrier(&w->change, err);
  }
  if (code == 0)
    code = lv_table_map(w->image, w->env, without_empty, w, err);
  return code == 0 ? lv_change_barrier(&w->change, err) : code;
}

/* The order of the blocks stays. */
static int copy(struct work *w, struct lvhd_error *err) {
  size_t first = w->space.count - w->moves;
  int code = 0;
  for (size_t i = 0; code == 0 && i < w->moves; i++)
    code = lv_move(&w->image->file, w->env, block_at(w, first + i),
                   (uint64_t)w->slots[i] * LV_SECTOR, w->space.pitch,
                   w->ours, done, w, err);
  if (code == 0 && w->moves > 0)
    code = lv_change_barrier(&w->change, err);
  return code;
}

static uint32_t moved(const void *arg, uint64_t index, uint32_t entry) {
  const struct work *w = arg;
  size_t first = w->space.count - w->moves;
  size_t low = first, high = w->space.count;
  (void)index;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (w->space.blocks[middle] < entry)
      low = middle + 1;
    else
      high = middle;
  }
  return low < w->space.count && w->space.blocks[low] == entry
           ? w->slots[low - first]
           : entry;
}

/* The footer that counts, as it is, with the last byte of a short one. */
static int put_footer(struct work *w, struct lvhd_error *err) {
  const struct lv_image *image = w->image;
  uint8_t bytes[LV_FOOTER_SIZE] = {0};
  bool copy_counts = image->where == LVHD_FOOTER_COPY;
  size_t n = image->where == LVHD_FOOTER_SHORT ? LV_FOOTER_SIZE - 1
                                               : LV_FOOTER_SIZE;
  int code = lv_file_read(&image->file, w->env, bytes, n,
                          copy_counts ? 0 : image->data_end, err);
  if (code == 0)
    code = lv_edit_write(&image->file, w->env, bytes, sizeof bytes,
                         w->footer_at, err);
  return code == 0 ? lv_change_barrier(&w->change, err) : code;
}

/* Room that no block fits into, but which the volume may have back.  What it
 * cannot give back stays. */
static void punch(const struct work *w, uint64_t from, uint64_t to) {
  const struct lv_sys *sys = w->env->sys;
  if (from < to &&
      sys->fallocate(sys, w->image->file.fd,
                     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
                     (off_t)(to - from)) != 0)
    return;
}

/* What lies behind the last block, and before metadata that ends the file. */
static void punch_end(const struct work *w) {
  const struct lv_space *s = &w->space;
  uint64_t from = 0, to = w->footer_at;
  size_t stay = s->count - w->moves;
  if (stay > 0)
    from = block_at(w, stay - 1) + s->pitch;
  if (w->moves > 0 &&
      (uint64_t)w->slots[w->moves - 1] * LV_SECTOR + s->pitch > from)
    from = (uint64_t)w->slots[w->moves - 1] * LV_SECTOR + s->pitch;
  if (from < s->lowest)
    from = s->lowest;
  for (size_t i = 0; i < s->taken_count; i++) {
    if (s->taken[i].from >= from && s->taken[i].from < to)
      to = s->taken[i].from;
    else if (s->taken[i].to > from && s->taken[i].from < from)
      return;
  }
  punch(w, from, to);
}

static int shorten(struct work *w, struct lvhd_error *err) {
  const struct lv_image *image = w->image;
  uint64_t then = w->footer_at + LV_FOOTER_SIZE;
  int code = 0;
  punch_end(w);
  if (image->where != LVHD_FOOTER_END || w->footer_at != image->data_end)
    code = put_footer(w, err);
  if (code == 0 && then < (uint64_t)image->file.st.st_size)
    code = lv_edit_truncate(&image->file, w->env, then, err);
  return code == 0 ? lv_change_barrier(&w->change, err) : code;
}

static int work(struct work *w, struct lvhd_error *err) {
  int code = begin(w, err);
  if (code == 0)
    code = drop(w, err);
  if (code == 0)
    code = copy(w, err);
  if (code == 0 && !lv_job_commit(w->job))
    code = lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
  if (code == 0 && w->moves > 0) {
    code = lv_table_map(w->image, w->env, moved, w, err);
    if (code == 0)
      code = lv_change_barrier(&w->change, err);
  }
  if (code == 0)
    code = shorten(w, err);
  return code == 0 ? lv_change_end(&w->change, err) : code;
}

/* ---- the verb -------------------------------------------------------- */

static void close_all(struct work *w) {
  lv_disk_free(w->parent);
  lv_space_free(&w->space);
  lv_chain_close(&w->chain, w->env);
  free(w->slots);
  free(w->empty);
  free(w->bitmap);
  free(w->theirs);
  free(w->ours);
}

static int tell(struct work *w, struct lvhd_error *err) {
  struct lv_inplace *in = &w->c->in;
  int code = lv_inplace_tell(in, w->image->path, err);
  if (code != 0)
    return code;
  if (w->batmap_cleared)
    lv_finding(&in->facts->findings, LVHD_NOTE, LV_R_BATMAP_CLEARED,
               LVHD_HAS_OFFSET, 0, 0, w->space.batmap_at);
  if (w->change.time_lost)
    lv_finding(&in->facts->findings, LVHD_WARNING, LV_R_TIME_LOST, 0, 0, 0,
               0);
  lv_facts_done(in->facts);
  return 0;
}

static int run(void *args, struct lv_job *job, struct lvhd_error *err) {
  struct compact *c = args;
  struct work w = {.c = c, .env = c->in.env, .job = job};
  int code = open_all(&w, err);
  if (code == 0)
    code = plan(&w, err);
  if (code == 0 && !nothing_to_do(&w))
    code = work(&w, err);
  if (code == 0)
    code = tell(&w, err);
  else if (w.change.env)
    lv_change_abandon(&w.change);
  if (code != 0 && err->path == NULL)
    lv_error_path(err, c->in.path);
  close_all(&w);
  return code;
}

const struct lv_verb lv_compact = {
  .name = "compact",
  .prepare = lv_inplace_prepare,
  .run = run,
  .free = free_args,
  .kind = lv_inplace_kind,
  .info = lv_inplace_info,
  .path = lv_inplace_path,
};
