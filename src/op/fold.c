/* SPDX-License-Identifier: MIT
 *
 * Folding layers into an image below them.  Runs of sectors that the layers
 * hold are read in pieces and written; zeros are left out where the target
 * reads as zeros already.  In a disk without parent, data must never stand
 * under a clear bit: the bits of blocks that it has already are claimed for a
 * batch at a time, flushed once, and then the data is written.
 */
#include "op/fold.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

#define PIECE (UINT64_C(256) << 10)
/* What is claimed before one flush: so much of the disk at the most, and so
 * many blocks, since their bitmaps are kept until then. */
#define BATCH (UINT64_C(8) << 30)
#define BATCH_BLOCKS 4096u

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

static uint64_t least(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static bool is_zero(const uint8_t *bytes, size_t n) {
  return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

/* The part of [from, to) that one block of the target holds, or all of it
 * where the target has no blocks. */
static uint64_t block_end(const struct lv_fold *fold, uint64_t from,
                          uint64_t to) {
  uint64_t block = fold->target->header.block_size;
  if (!lv_image_has_table(fold->target))
    return to;
  return least(to, (from / block + 1) * block);
}

/* ---- runs ------------------------------------------------------------ */

struct run {
  uint64_t from, to; /* equal: there is none */
};

/* The first run of sectors in [from, end) that the layers hold. */
static int next_run(struct lv_fold *fold, uint64_t from, uint64_t end,
                    struct run *run, struct lvhd_error *err) {
  struct lvhd_extent extent;
  *run = (struct run){end, end};
  while (from < end) {
    int code = lv_job_cancelled(fold->job)
                 ? lv_fail(err, LVHD_E_ABORT, LV_R_NONE)
                 : lv_disk_extent(fold->upper, from, end, &extent, err);
    if (code != 0)
      return code;
    if (extent.layer == 0 && run->from < end)
      return 0;
    from = extent.offset + extent.length;
    if (extent.layer == 0)
      continue;
    run->from = least(run->from, extent.offset);
    run->to = from;
  }
  return 0;
}

typedef int (*run_fn)(struct lv_fold *fold, struct run run, void *arg,
                      struct lvhd_error *err);

static int each_run(struct lv_fold *fold, uint64_t from, uint64_t end,
                    run_fn visit, void *arg, struct lvhd_error *err) {
  struct run run = {from, from};
  int code = 0;
  do {
    code = next_run(fold, run.to, end, &run, err);
    if (code == 0 && run.from < run.to)
      code = visit(fold, run, arg, err);
  } while (code == 0 && run.to < end);
  return code;
}

/* ---- measuring ------------------------------------------------------- */

struct measure {
  uint64_t bytes, blocks;
  uint64_t counted; /* up to here blocks have been looked at */
};

static int measure_run(struct lv_fold *fold, struct run run, void *arg,
                       struct lvhd_error *err) {
  struct measure *m = arg;
  uint64_t block = fold->target->header.block_size;
  uint64_t at = run.from > m->counted ? run.from : m->counted;
  m->bytes += run.to - run.from;
  for (; lv_image_has_table(fold->target) && at < run.to;
       at = (at / block + 1) * block) {
    bool has = false;
    int code = lv_writer_has_block(fold->writer, at, &has, err);
    if (code != 0)
      return code;
    m->blocks += !has;
    m->counted = (at / block + 1) * block;
  }
  return 0;
}

int lv_fold_measure(struct lv_fold *fold, struct lvhd_error *err) {
  struct measure m = {0};
  int code = each_run(fold, 0, lv_disk_bytes(fold->upper), measure_run, &m,
                      err);
  if (code != 0)
    return code;
  lv_writer_expect(fold->writer, m.blocks);
  lv_job_total(fold->job, m.bytes, 0);
  return 0;
}

/* ---- comparing ------------------------------------------------------- */

#define DIFFERS (-1) /* no code: one difference is enough */

struct compare {
  struct lv_disk *other;
  uint8_t *bytes, *others; /* PIECE each */
};

static int compare_run(struct lv_fold *fold, struct run run, void *arg,
                       struct lvhd_error *err) {
  struct compare *c = arg;
  for (uint64_t at = run.from; at < run.to; at += PIECE) {
    size_t n = (size_t)least(PIECE, run.to - at), got = 0, got_other = 0;
    int code = lv_disk_read(fold->upper, c->bytes, n, at, &got, err);
    if (code == 0)
      code = lv_disk_read(c->other, c->others, n, at, &got_other, err);
    if (code != 0)
      return code;
    if (got != got_other || memcmp(c->bytes, c->others, got) != 0)
      return DIFFERS;
    if (lv_job_cancelled(fold->job))
      return lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
  }
  return 0;
}

int lv_fold_same(struct lv_fold *fold, struct lv_disk *other, bool *same,
                 struct lvhd_error *err) {
  struct compare c = {.other = other,
                      .bytes = lv_buffer(PIECE),
                      .others = lv_buffer(PIECE)};
  int code = c.bytes && c.others
               ? each_run(fold, 0, lv_disk_bytes(fold->upper), compare_run,
                          &c, err)
               : no_memory(err);
  free(c.bytes);
  free(c.others);
  *same = code == 0;
  return code == DIFFERS ? 0 : code;
}

/* ---- copying --------------------------------------------------------- */

static int claim_run(struct lv_fold *fold, struct run run, void *arg,
                     struct lvhd_error *err) {
  bool *claimed = arg;
  for (uint64_t at = run.from; at < run.to;) {
    uint64_t end = block_end(fold, at, run.to);
    bool has = false;
    int code = lv_writer_has_block(fold->writer, at, &has, err);
    if (code == 0 && has)
      code = lv_writer_claim(fold->writer, at, end - at, err);
    if (code != 0)
      return code;
    *claimed |= has;
    at = end;
  }
  return 0;
}

/* Zeros need not be written where the target reads as zeros: where it has no
 * block and no parent, and in the holes of a fixed disk. */
static int is_there(struct lv_fold *fold, const uint8_t *bytes, size_t n,
                    uint64_t at, uint8_t *spare, bool *there,
                    struct lvhd_error *err) {
  const struct lv_image *target = fold->target;
  bool has = false;
  int code = 0;
  *there = false;
  if (lv_image_has_parent(target) || !is_zero(bytes, n))
    return 0;
  code = lv_image_has_table(target)
           ? lv_writer_has_block(fold->writer, at, &has, err)
           : lv_file_read(&target->file, fold->env, spare, n, at, err);
  *there = code == 0 && !has &&
           (lv_image_has_table(target) || is_zero(spare, n));
  return code;
}

struct copy {
  uint8_t *bytes, *spare; /* PIECE each */
};

static int copy_run(struct lv_fold *fold, struct run run, void *arg,
                    struct lvhd_error *err) {
  struct copy *c = arg;
  for (uint64_t at = run.from; at < run.to;) {
    uint64_t end = block_end(fold, at, least(run.to, at + PIECE));
    size_t n = (size_t)(end - at), got = 0;
    bool there = false;
    int code = lv_disk_read(fold->upper, c->bytes, n, at, &got, err);
    if (code == 0)
      code = is_there(fold, c->bytes, n, at, c->spare, &there, err);
    if (code == 0 && !there)
      code = lv_writer_write(fold->writer, c->bytes, n, at, err);
    if (code != 0)
      return code;
    lv_job_step(fold->job, n, 0);
    if (lv_job_cancelled(fold->job))
      return lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
    at = end;
  }
  return 0;
}

static int copy_batch(struct lv_fold *fold, uint64_t from, uint64_t end,
                      struct copy *c, struct lvhd_error *err) {
  const struct lv_image *target = fold->target;
  bool claimed = false;
  int code = 0;
  if (lv_image_has_table(target) && !lv_image_has_parent(target))
    code = each_run(fold, from, end, claim_run, &claimed, err);
  if (code == 0 && claimed)
    code = lv_writer_flush(fold->writer, err);
  return code == 0 ? each_run(fold, from, end, copy_run, c, err) : code;
}

int lv_fold_copy(struct lv_fold *fold, struct lvhd_error *err) {
  struct copy c = {.bytes = lv_buffer(PIECE), .spare = lv_buffer(PIECE)};
  uint64_t size = lv_disk_bytes(fold->upper), batch = BATCH;
  int code = c.bytes && c.spare ? 0 : no_memory(err);
  if (lv_image_has_table(fold->target))
    batch = least(batch, (uint64_t)BATCH_BLOCKS *
                           fold->target->header.block_size);
  for (uint64_t at = 0; code == 0 && at < size; at += batch)
    code = copy_batch(fold, at, least(size, at + batch), &c, err);
  free(c.bytes);
  free(c.spare);
  return code;
}
