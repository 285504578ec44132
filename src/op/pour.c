/* SPDX-License-Identifier: MIT
 *
 * From start to end through the source, in pieces that stay in the cache of
 * a processor.  The new file is written from start to end as well: what comes
 * back is the bitmap of a block, when all its sectors are known, and at the
 * end the head.
 *
 *   1 the file   2 the BAT   3 blocks   4 bytes as they are   5 the way
 *   through   6 all of it
 */
#include "op/pour.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "format/bitmap.h"
#include "format/sectors.h"

#define PIECE (1u << 20)  /* read and written at a time: stays in the cache,
                             and is less than a cancel waits for */
#define LEAST (32u << 10) /* as quickly read as found to be a hole */
#define PAGE 4096u        /* a hole of raw and fixed files is of these */
#define GAP 64u           /* sectors of zeros in a block that are written, too:
                             a hole would cost more than it spares */
#define TABLE_WINDOW (1u << 20) /* bytes of the BAT at a time */
#define UNUSED UINT32_MAX

struct work {
  struct lv_pour *pour;
  const struct lv_create *c;
  const struct lv_plan *plan;
  struct lv_newfile *file;
  struct lv_job *job;
  uint64_t size;
  uint32_t unit;   /* what may be left out: a sector, or a page */
  unsigned shared; /* layers behind this one are the parent's, too */
  uint8_t *bytes;  /* of the piece */
  uint8_t *others; /* of the same piece of the parent; behind bytes */
  uint8_t *bits;   /* of the block, or of the pages of the piece */
  /* blocks */
  uint32_t block_size, bitmap_size;
  uint64_t block;      /* the one that is being written */
  uint64_t block_at;   /* where, with its bitmap; 0: nowhere yet */
  uint64_t next_at;    /* of the next block */
  uint32_t blocks_used;
  uint64_t places;     /* of data, or'ed */
  /* the BAT: entries from `first` on */
  uint8_t *table;
  uint64_t first, room;
};

/* ---- 1 the file ------------------------------------------------------ */

static int put(struct work *w, const void *bytes, size_t n, uint64_t at,
               struct lvhd_error *err) {
  struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
  int code = lv_newfile_write(w->file, &iov, 1, at, err);
  if (code != 0 && err) {
    err->has |= LVHD_HAS_OFFSET;
    err->offset = at;
  }
  return code;
}

static int check_cancel(const struct work *w, struct lvhd_error *err) {
  return lv_job_cancelled(w->job) ? lv_fail(err, LVHD_E_ABORT, LV_R_NONE) : 0;
}

/* ---- 2 the BAT ------------------------------------------------------- */

/* Blocks come in the order of the disk, so the BAT is written as they come. */
static int flush_table(struct work *w, struct lvhd_error *err) {
  uint64_t begins = w->first * 4;
  uint64_t left = w->plan->table_size - begins;
  size_t n = left < w->room * 4 ? (size_t)left : (size_t)w->room * 4;
  int code = check_cancel(w, err);
  if (code == 0)
    code = put(w, w->table, n, w->plan->head_size + begins, err);
  memset(w->table, 0xFF, (size_t)w->room * 4);
  w->first += w->room;
  return code;
}

static int put_entry(struct work *w, uint64_t block, uint64_t at,
                     struct lvhd_error *err) {
  int code = 0;
  while (code == 0 && block >= w->first + w->room)
    code = flush_table(w, err);
  if (code == 0)
    lv_put_be32(w->table + (block - w->first) * 4,
                (uint32_t)(at / LV_SECTOR));
  return code;
}

/* ---- 3 blocks -------------------------------------------------------- */

/* The block has all its data: its bitmap, and it is over. */
static int end_block(struct work *w, struct lvhd_error *err) {
  int code = 0;
  if (w->block_at == 0)
    return 0;
  code = put(w, w->bits, w->bitmap_size, w->block_at, err);
  memset(w->bits, 0, w->bitmap_size);
  w->block_at = 0;
  return code;
}

static int begin_block(struct work *w, struct lvhd_error *err) {
  w->block_at = w->next_at;
  w->next_at += (uint64_t)w->bitmap_size + w->block_size;
  w->blocks_used++;
  w->places |= w->block_at + w->bitmap_size;
  return put_entry(w, w->block, w->block_at, err);
}

/* Sectors [from, to) of the block, of which the first is at `bytes`. */
static int put_runs(struct work *w, uint32_t from, uint32_t to,
                    const uint8_t *bytes, struct lvhd_error *err) {
  uint64_t data = w->block_at + w->bitmap_size;
  uint32_t i = lv_bits_find(w->bits, from, to, true);
  int code = 0;
  while (code == 0 && i < to) {
    uint32_t end = lv_bits_find(w->bits, i, to, false);
    uint32_t next = lv_bits_find(w->bits, end, to, true);
    while (next < to && next - end < GAP) {
      end = lv_bits_find(w->bits, next, to, false);
      next = lv_bits_find(w->bits, end, to, true);
    }
    code = put(w, bytes + (size_t)(i - from) * LV_SECTOR,
               (size_t)(end - i) * LV_SECTOR,
               data + (uint64_t)i * LV_SECTOR, err);
    i = next;
  }
  return code;
}

/* A piece that lies in one block. */
static int put_sectors(struct work *w, uint64_t at, size_t n,
                       struct lvhd_error *err) {
  uint64_t block = at / w->block_size;
  uint32_t from = (uint32_t)(at % w->block_size / LV_SECTOR);
  uint32_t used = 0;
  int code = 0;
  if (block != w->block)
    code = end_block(w, err);
  w->block = block;
  if (code != 0)
    return code;
  used = w->pour->against
           ? lv_sectors_differ(w->bytes, w->others, n, w->bits, from)
           : lv_units_used(w->bytes, n, LV_SECTOR, w->bits, from);
  if (used == 0)
    return 0;
  if (w->block_at == 0)
    code = begin_block(w, err);
  return code == 0 ? put_runs(w, from, from + (uint32_t)(n / LV_SECTOR),
                              w->bytes, err)
                   : code;
}

/* ---- 4 bytes as they are --------------------------------------------- */

static bool is_plain(const struct work *w) {
  return w->plan->head_size == 0;
}

static bool writes_zeros(const struct work *w) {
  return is_plain(w) && w->c->opts.allocate == LVHD_ZERO;
}

static int put_pages(struct work *w, uint64_t at, size_t n,
                     struct lvhd_error *err) {
  uint32_t pages = (uint32_t)((n + PAGE - 1) / PAGE);
  uint32_t end = 0;
  int code = 0;
  if (writes_zeros(w))
    return put(w, w->bytes, n, at, err);
  memset(w->bits, 0, (pages + 7) / 8);
  lv_units_used(w->bytes, n, PAGE, w->bits, 0);
  for (uint32_t i = lv_bits_find(w->bits, 0, pages, true);
       code == 0 && i < pages; i = lv_bits_find(w->bits, end, pages, true)) {
    size_t begins = (size_t)i * PAGE, ends = 0;
    end = lv_bits_find(w->bits, i, pages, false);
    ends = (size_t)end * PAGE < n ? (size_t)end * PAGE : n;
    code = put(w, w->bytes + begins, ends - begins, at + begins, err);
  }
  return code;
}

/* The whole of it in one call, where the volume can let two files share it;
 * zeros in it stay what they are. */
static bool share(struct work *w) {
  const struct lv_file *plain = lv_source_plain(w->pour->from);
  bool sparse = w->c->opts.allocate == LVHD_ALLOCATE_DEFAULT ||
                w->c->opts.allocate == LVHD_SPARSE;
  return is_plain(w) && plain && sparse && w->pour->from->size > 0 &&
         lv_newfile_clone(w->file, plain->fd, w->pour->from->size);
}

/* ---- 5 the way through ----------------------------------------------- */

static void tell(struct work *w, uint64_t at) {
  if (at <= w->pour->told)
    return;
  lv_job_step(w->job, at - w->pour->told, 0);
  w->pour->told = at;
}

/* How far it goes on from `at` as it begins there: with what need not be
 * looked at, or with the rest. */
static int next_run(struct work *w, uint64_t at, uint64_t *length, bool *skip,
                    struct lvhd_error *err) {
  unsigned layer = 0;
  int code = lv_source_run(w->pour->from, at, w->size, length, &layer, err);
  *skip = layer == 0;
  if (code != 0 || w->pour->against == NULL)
    return code;
  *skip = layer > w->shared;
  if (layer != 0)
    return 0;
  code = lv_source_run(w->pour->against, at, at + *length, length, &layer,
                       err);
  *skip = layer == 0;
  return code;
}

static uint64_t least(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

/* The most that is read at once: of one block, so that it is written at once.
 */
static uint64_t most(const struct work *w, uint64_t at) {
  uint64_t n = is_plain(w) ? PIECE
                           : least(PIECE, w->block_size - at % w->block_size);
  return least(n, w->size - at);
}

/* What is to be looked at goes on with what follows and is, too: layers that
 * alternate are read and written at once. */
static int lengthen(struct work *w, uint64_t at, uint64_t *length,
                    struct lvhd_error *err) {
  uint64_t more = 0;
  bool skip = false;
  int code = 0;
  while (code == 0 && *length < most(w, at)) {
    code = next_run(w, at + *length, &more, &skip, err);
    if (skip)
      break;
    *length += more;
  }
  return code;
}

static size_t piece(const struct work *w, uint64_t at, uint64_t length) {
  return (size_t)least(lv_round_up(length < LEAST ? LEAST : length, w->unit),
                       most(w, at));
}

static int put_piece(struct work *w, uint64_t at, size_t n,
                     struct lvhd_error *err) {
  int code = lv_source_read(w->pour->from, w->bytes, n, at, err);
  if (code == 0 && w->pour->against)
    code = lv_source_read(w->pour->against, w->others, n, at, err);
  if (code != 0)
    return code;
  return is_plain(w) ? put_pages(w, at, n, err) : put_sectors(w, at, n, err);
}

static int go_through(struct work *w, struct lvhd_error *err) {
  uint64_t at = 0;
  int code = 0;
  while (code == 0 && at < w->size) {
    uint64_t length = 0;
    bool skip = false;
    code = check_cancel(w, err);
    if (code == 0)
      code = next_run(w, at, &length, &skip, err);
    if (code == 0 && !skip)
      code = lengthen(w, at, &length, err);
    if (code != 0)
      break;
    if (skip && at + length < w->size)
      length -= length % w->unit; /* at is a multiple of it */
    if (!skip || length == 0 || writes_zeros(w)) {
      length = piece(w, at, length);
      code = put_piece(w, at, (size_t)length, err);
    }
    at += length;
    tell(w, at);
  }
  return code;
}

/* ---- 6 all of it ----------------------------------------------------- */

static int pour_plain(struct work *w, struct lvhd_error *err) {
  const struct lv_plan *plan = w->plan;
  int code = 0;
  if (w->c->opts.allocate == LVHD_RESERVE)
    code = lv_newfile_reserve(w->file, plan->file_size, err);
  if (code == 0 && share(w))
    tell(w, w->size);
  else if (code == 0)
    code = go_through(w, err);
  if (code != 0)
    return code;
  return w->c->type == LVHD_RAW
           ? lv_newfile_extend(w->file, plan->file_size, err)
           : put(w, plan->footer, LV_FOOTER_SIZE, plan->footer_offset, err);
}

static uint32_t alignment(const struct work *w) {
  uint64_t bits = w->places | 4096;
  return w->blocks_used == 0 ? 0 : (uint32_t)(bits & (~bits + 1));
}

static int pour_blocks(struct work *w, struct lv_written *written,
                       struct lvhd_error *err) {
  const struct lv_plan *plan = w->plan;
  uint64_t footer_at = plan->footer_offset;
  int code = go_through(w, err);
  if (code == 0)
    code = end_block(w, err);
  while (code == 0 && w->first * 4 < plan->table_size)
    code = flush_table(w, err);
  if (w->blocks_used > 0)
    footer_at = w->next_at;
  if (code == 0)
    code = put(w, plan->footer, LV_FOOTER_SIZE, footer_at, err);
  if (code == 0)
    code = put(w, plan->head, plan->head_size, 0, err);
  written->file_size = footer_at + LV_FOOTER_SIZE;
  written->blocks_used = w->blocks_used;
  written->alignment = alignment(w);
  return code;
}

/* Two pieces on one page of the processor's large ones, where it has any:
 * copies from and to it take a tenth less. */
static uint8_t *big_memory(void) {
  uint8_t *bytes = aligned_alloc(2 * PIECE, 2 * PIECE);
  if (bytes)
    (void)madvise(bytes, 2 * PIECE, MADV_HUGEPAGE);
  return bytes;
}

/* Of blocks only. */
static bool get_block_memory(struct work *w) {
  uint64_t entries = w->plan->table_size / 4;
  w->block_size = w->plan->header.block_size;
  w->bitmap_size = lv_bitmap_size(w->block_size);
  w->next_at = w->plan->first_block;
  w->room = least(entries, TABLE_WINDOW / 4);
  w->bits = calloc(1, w->bitmap_size);
  w->table = malloc((size_t)w->room * 4 + 1);
  if (w->bits == NULL || w->table == NULL)
    return false;
  memset(w->table, 0xFF, (size_t)w->room * 4);
  return true;
}

static bool get_memory(struct work *w) {
  w->unit = is_plain(w) ? PAGE : LV_SECTOR;
  w->bytes = big_memory();
  if (w->bytes == NULL)
    return false;
  w->others = w->bytes + PIECE;
  if (!is_plain(w))
    return get_block_memory(w);
  w->bits = malloc(PIECE / PAGE / 8 + 1);
  return w->bits != NULL;
}

static void free_memory(struct work *w) {
  free(w->bytes);
  free(w->bits);
  free(w->table);
}

int lv_pour(struct lv_pour *pour, const struct lv_create *c,
            struct lv_look *look, struct lv_newfile *file,
            struct lv_job *job, struct lvhd_error *err) {
  struct work w = {.pour = pour,
                   .c = c,
                   .plan = &look->plan,
                   .file = file,
                   .job = job,
                   .size = look->plan.fields.current_size};
  int code = 0;
  look->written = (struct lv_written){.file_size = look->plan.file_size};
  if (pour->against)
    w.shared = lv_source_shared(pour->from, pour->against);
  lv_newfile_much(file, c->opts.sync != LVHD_SYNC_NONE);
  if (!get_memory(&w))
    code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  else
    code = is_plain(&w) ? pour_plain(&w, err)
                        : pour_blocks(&w, &look->written, err);
  free_memory(&w);
  if (code == 0) {
    lv_volume_of(&look->volume, c->env, file->fd);
    look->written.free = look->volume.free;
  }
  return code;
}
