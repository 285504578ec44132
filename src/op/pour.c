/* SPDX-License-Identifier: MIT
 *
 * What gather.c brings, into the new file.  Several hands, of idle workers and
 * of the task's own, take one piece after another, read it and write it while
 * it is in the processor's cache.  Places are given in turns, in the order of
 * the disk, so that a file is the same however many hands there were; what
 * comes late is the bitmap of a block, when all its sectors are known, and at
 * the end the head.
 *
 *   1 the file   2 the BAT   3 blocks, by turns   4 bytes as they are
 *   5 hands   6 all of it
 */
#include "op/pour.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/bitmap.h"
#include "op/gather.h"

#define PAGE 4096u        /* a hole of raw and fixed files is of these */
#define GAP 64u           /* sectors of zeros in a block that are written, too:
                             a hole would cost more than it spares */
#define TABLE_WINDOW (1u << 20) /* bytes of the BAT at a time */
#define HANDS 4u /* at the most: the volume takes one's bytes at a time */
#define QUOTA 8u /* pieces, behind which a worker may go to other tasks */
#define TURNS (HANDS * QUOTA) /* no more are under way */

struct hand {
  struct lv_piece piece;
  uint64_t turn;
  uint64_t at; /* in the new file, of the piece's first byte */
  bool whole;  /* the piece is all of its block: its bits are the bitmap */
};

struct work {
  struct lv_pour *pour;
  const struct lv_create *c;
  const struct lv_plan *plan;
  struct lv_newfile *file;
  struct lv_job *job;
  struct hand hands[HANDS];
  size_t hand_count;
  /* under the lock, from here */
  struct lv_turns *turns; /* over: someone has failed */
  struct lv_gather gather;
  uint64_t done;          /* bytes of the disk */
  /* to here.  Of blocks, of the hand whose turn it is: */
  uint8_t *bits; /* of the block */
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

static int put_two(const struct work *w, const void *head, size_t head_size,
                   const void *bytes, size_t n, uint64_t at,
                   struct lvhd_error *err) {
  struct iovec iov[] = {
    {.iov_base = (void *)(uintptr_t)head, .iov_len = head_size},
    {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n}};
  int code = head_size > 0 ? lv_newfile_write(w->file, iov, 2, at, err)
                           : lv_newfile_write(w->file, iov + 1, 1, at, err);
  if (code != 0) {
    err->has |= LVHD_HAS_OFFSET;
    err->offset = at;
  }
  return code;
}

static int put(const struct work *w, const void *bytes, size_t n, uint64_t at,
               struct lvhd_error *err) {
  return put_two(w, NULL, 0, bytes, n, at, err);
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

/* Its bits into those of its block, in which it begins with sector `from`. */
static void add_bits(struct work *w, const struct lv_piece *p, uint32_t from) {
  size_t n = (p->first + p->n / LV_SECTOR + 7) / 8;
  for (size_t i = 0; i < n; i++)
    w->bits[from / 8 + i] |= p->bits[i];
}

/* The place of a piece, which lies in one block. */
static int give_place(struct work *w, struct hand *hand,
                      struct lvhd_error *err) {
  const struct lv_piece *p = &hand->piece;
  uint64_t block = p->at / w->block_size;
  uint32_t from = (uint32_t)(p->at % w->block_size / LV_SECTOR);
  int code = 0;
  if (block != w->block)
    code = end_block(w, err);
  w->block = block;
  if (code == 0 && w->block_at == 0)
    code = begin_block(w, err);
  if (code != 0)
    return code;
  hand->at = w->block_at + w->bitmap_size + (uint64_t)from * LV_SECTOR;
  hand->whole = p->n == w->block_size;
  if (hand->whole)
    w->block_at = 0;
  else
    add_bits(w, p, from);
  return 0;
}

/* A bitmap goes with what follows it. */
static int put_sectors(const struct work *w, const struct hand *hand,
                       struct lvhd_error *err) {
  const struct lv_piece *p = &hand->piece;
  size_t head = hand->whole ? w->bitmap_size : 0;
  uint32_t to = p->first + (uint32_t)(p->n / LV_SECTOR);
  uint32_t i = lv_bits_find(p->bits, p->first, to, true);
  int code = 0;
  if (i > 0 && head > 0) {
    code = put(w, p->bits, head, hand->at - head, err);
    head = 0;
  }
  while (code == 0 && i < to) {
    uint32_t end = lv_bits_find(p->bits, i, to, false);
    uint32_t next = lv_bits_find(p->bits, end, to, true);
    size_t begins = (size_t)(i - p->first) * LV_SECTOR;
    while (next < to && next - end < GAP) {
      end = lv_bits_find(p->bits, next, to, false);
      next = lv_bits_find(p->bits, end, to, true);
    }
    code = put_two(w, p->bits, head, p->bytes + begins,
                   (size_t)(end - i) * LV_SECTOR, hand->at + begins - head,
                   err);
    head = 0;
    i = next;
  }
  return code;
}

/* ---- 4 bytes as they are --------------------------------------------- */

static bool is_plain(const struct work *w) {
  return w->plan->head_size == 0;
}

static bool writes_zeros(const struct work *w) {
  return is_plain(w) && w->c->opts.allocate == LVHD_ZERO;
}

static int put_pages(const struct work *w, const struct lv_piece *p,
                     struct lvhd_error *err) {
  uint32_t pages = (uint32_t)((p->n + PAGE - 1) / PAGE);
  uint32_t end = 0;
  int code = 0;
  if (writes_zeros(w))
    return put(w, p->bytes, p->n, p->at, err);
  for (uint32_t i = lv_bits_find(p->bits, 0, pages, true);
       code == 0 && i < pages; i = lv_bits_find(p->bits, end, pages, true)) {
    size_t begins = (size_t)i * PAGE, ends = 0;
    end = lv_bits_find(p->bits, i, pages, false);
    ends = (size_t)end * PAGE < p->n ? (size_t)end * PAGE : p->n;
    code = put(w, p->bytes + begins, ends - begins, p->at + begins, err);
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

/* ---- 5 hands --------------------------------------------------------- */

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* The next piece and its turn; *over: there is none. */
static int take(struct work *w, struct hand *hand, bool *over,
                struct lvhd_error *err) {
  int code = 0;
  lv_turns_lock(w->turns);
  *over = lv_turns_over(w->turns) || w->gather.at >= w->gather.size;
  if (!*over) {
    hand->turn = lv_turns_take(w->turns);
    code = lv_gather_next(&w->gather, &hand->piece, err);
  }
  lv_turns_unlock(w->turns);
  return code;
}

static int put_piece(struct work *w, struct hand *hand, bool used,
                     struct lvhd_error *err) {
  int code = 0;
  if (is_plain(w))
    return used ? put_pages(w, &hand->piece, err) : 0;
  if (used && !lv_turns_await(w->turns, hand->turn))
    return 0;
  if (used)
    code = give_place(w, hand, err);
  if (code != 0)
    return code;
  lv_turns_pass(w->turns, hand->turn);
  return used ? put_sectors(w, hand, err) : 0;
}

static void tell(struct work *w, uint64_t bytes) {
  w->done += bytes;
  if (w->done <= w->pour->told)
    return;
  lv_job_step(w->job, w->done - w->pour->told, 0);
  w->pour->told = w->done;
}

/* The end of a piece, good or bad. */
static void end_piece(struct work *w, const struct hand *hand, bool failed) {
  lv_turns_lock(w->turns);
  if (failed)
    lv_turns_end(w->turns);
  else if (!lv_turns_over(w->turns))
    tell(w, hand->piece.to - hand->piece.from);
  lv_turns_unlock(w->turns);
}

/* Some pieces, one after another. */
static int do_hand(void *arg, size_t i, struct lvhd_error *err) {
  struct work *w = arg;
  struct hand *hand = &w->hands[i];
  bool over = false, used = false;
  int code = 0;
  if (!lv_piece_room(&w->gather, &hand->piece))
    return no_memory(err);
  for (unsigned n = 0; code == 0 && n < QUOTA; n++) {
    code = take(w, hand, &over, err);
    if (over)
      break;
    if (code == 0)
      code = lv_gather_fill(&w->gather, &hand->piece, &used, err);
    if (code == 0)
      code = put_piece(w, hand, used, err);
    end_piece(w, hand, code != 0);
  }
  return code;
}

/* What is small wakes nobody. */
static int go_through(struct work *w, struct lvhd_error *err) {
  int code = 0;
  lv_gather_begin(&w->gather);
  if (w->gather.size > 0)
    code = do_hand(w, 0, err);
  while (code == 0 && w->gather.at < w->gather.size)
    code = lv_job_spread(w->job, w->hand_count, do_hand, w, err);
  return code;
}

/* ---- 6 all of it ----------------------------------------------------- */

/* The length comes before what is written: behind the end of a file XFS
 * reserves more than was asked for, and fills holes so. */
static int pour_plain(struct work *w, struct lvhd_error *err) {
  const struct lv_plan *plan = w->plan;
  bool shared = false;
  int code = 0;
  if (w->c->opts.allocate == LVHD_RESERVE)
    code = lv_newfile_reserve(w->file, plan->file_size, err);
  shared = code == 0 && share(w);
  if (code == 0 && (!shared || w->c->type == LVHD_RAW))
    code = lv_newfile_extend(w->file, plan->file_size, err);
  if (shared && code == 0)
    tell(w, w->gather.size);
  else if (code == 0)
    code = go_through(w, err);
  return code != 0 || w->c->type == LVHD_RAW
           ? code
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

/* Of blocks only. */
static bool get_memory(struct work *w) {
  uint64_t entries = w->plan->table_size / 4;
  if (is_plain(w))
    return true;
  w->block_size = w->plan->header.block_size;
  w->bitmap_size = lv_bitmap_size(w->block_size);
  w->next_at = w->plan->first_block;
  w->room = entries < TABLE_WINDOW / 4 ? entries : TABLE_WINDOW / 4;
  w->bits = calloc(1, w->bitmap_size);
  w->table = malloc((size_t)w->room * 4 + 1);
  if (w->bits == NULL || w->table == NULL)
    return false;
  memset(w->table, 0xFF, (size_t)w->room * 4);
  return true;
}

static void free_memory(struct work *w) {
  lv_turns_free(w->turns);
  for (size_t i = 0; i < HANDS; i++)
    lv_piece_free(&w->hands[i].piece);
  free(w->bits);
  free(w->table);
}

static struct lv_gather gather(const struct work *w) {
  return (struct lv_gather){
    .from = w->pour->from,
    .against = w->pour->against,
    .job = w->job,
    .size = w->plan->fields.current_size,
    .unit = is_plain(w) ? PAGE : LV_SECTOR,
    .block = is_plain(w) ? 0 : w->plan->header.block_size,
    .zeros = writes_zeros(w)};
}

int lv_pour(struct lv_pour *pour, const struct lv_create *c,
            struct lv_look *look, struct lv_newfile *file,
            struct lv_job *job, struct lvhd_error *err) {
  struct work w = {.pour = pour,
                   .c = c,
                   .plan = &look->plan,
                   .file = file,
                   .job = job};
  int code = 0;
  look->written = (struct lv_written){.file_size = look->plan.file_size};
  w.gather = gather(&w);
  w.hand_count = lv_job_width(job) < HANDS ? lv_job_width(job) : HANDS;
  lv_newfile_much(file, c->opts.sync != LVHD_SYNC_NONE);
  code = lv_turns_new(&w.turns, TURNS, err);
  if (code == 0 && !get_memory(&w))
    code = no_memory(err);
  if (code == 0)
    code = is_plain(&w) ? pour_plain(&w, err)
                        : pour_blocks(&w, &look->written, err);
  free_memory(&w);
  if (code == 0) {
    lv_volume_of(&look->volume, c->env, file->fd);
    look->written.free = look->volume.free;
  }
  return code;
}
