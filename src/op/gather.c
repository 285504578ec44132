/* SPDX-License-Identifier: MIT
 *
 * The way through a source.  What the sources say is nothing is passed over
 * unread; pieces stay in the cache of a processor.
 */
#include "op/gather.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "format/sectors.h"

#define LEAST (32u << 10) /* as quickly read as found to be a hole */
#define FAR (UINT64_C(1) << 30) /* progress is told at least so often */

/* On one of the processor's large pages, where it has any: copies from and to
 * them take a tenth less. */
static uint8_t *big_memory(void) {
  uint8_t *bytes = aligned_alloc(LV_PIECE, LV_PIECE);
  if (bytes)
    (void)madvise(bytes, LV_PIECE, MADV_HUGEPAGE);
  return bytes;
}

void lv_gather_begin(struct lv_gather *g) {
  g->at = 0;
  g->shared = g->against ? lv_source_shared(g->from, g->against) : 0;
}

static bool stretch_room(const struct lv_source *source,
                         struct lv_where *where) {
  if (source && source->disk)
    where->stretches = malloc(LV_PIECE / LV_SECTOR * sizeof *where->stretches);
  return source == NULL || source->disk == NULL || where->stretches != NULL;
}

bool lv_piece_room(const struct lv_gather *g, struct lv_piece *p) {
  if (p->bytes)
    return true;
  p->bytes = big_memory();
  p->others = g->against ? big_memory() : NULL;
  if (p->bytes && (p->others || g->against == NULL) &&
      stretch_room(g->from, &p->where) &&
      stretch_room(g->against, &p->others_where))
    return true;
  lv_piece_free(p);
  return false;
}

void lv_piece_free(struct lv_piece *p) {
  free(p->bytes);
  free(p->others);
  free(p->where.stretches);
  free(p->others_where.stretches);
  *p = (struct lv_piece){0};
}

/* How far it goes on from `at` as it begins there: with what need not be
 * looked at, or with the rest. */
static int next_run(struct lv_gather *g, uint64_t at, uint64_t *length,
                    bool *skip, struct lvhd_error *err) {
  unsigned layer = 0;
  int code = lv_source_run(g->from, at, g->size, length, &layer, err);
  *skip = layer == 0;
  if (code != 0 || g->against == NULL)
    return code;
  *skip = layer > g->shared;
  if (layer != 0)
    return 0;
  code = lv_source_run(g->against, at, at + *length, length, &layer, err);
  *skip = layer == 0;
  return code;
}

static uint64_t least(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

/* The most that is read at once: of one block, so that it is written at once.
 */
static uint64_t most(const struct lv_gather *g, uint64_t at) {
  uint64_t n = g->block == 0 ? LV_PIECE
                             : least(LV_PIECE, g->block - at % g->block);
  return least(n, g->size - at);
}

/* What is to be looked at goes on with what follows and is, too: layers that
 * alternate are read and written at once. */
static int lengthen(struct lv_gather *g, uint64_t *length,
                    struct lvhd_error *err) {
  uint64_t more = 0;
  bool skip = false;
  int code = 0;
  while (code == 0 && *length < most(g, g->at)) {
    code = next_run(g, g->at + *length, &more, &skip, err);
    if (skip)
      break;
    *length += more;
  }
  return code;
}

static size_t piece_length(const struct lv_gather *g, uint64_t length) {
  return (size_t)least(lv_round_up(length < LEAST ? LEAST : length, g->unit),
                       most(g, g->at));
}

/* One step on the way: finds a piece, or passes over a run. */
static int step(struct lv_gather *g, struct lv_piece *p,
                struct lvhd_error *err) {
  uint64_t length = 0;
  bool skip = false;
  int code = 0;
  if (lv_job_cancelled(g->job))
    return lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
  code = next_run(g, g->at, &length, &skip, err);
  if (code == 0 && !skip)
    code = lengthen(g, &length, err);
  if (code != 0)
    return code;
  if (skip && g->at + length < g->size)
    length -= length % g->unit; /* at is a multiple of it */
  if (!skip || length == 0 || g->zeros) {
    length = piece_length(g, length);
    p->at = g->at;
    p->n = (size_t)length;
  }
  g->at += length;
  return 0;
}

int lv_gather_next(struct lv_gather *g, struct lv_piece *p,
                   struct lvhd_error *err) {
  int code = 0;
  p->from = g->at;
  p->n = 0;
  while (code == 0 && g->at < g->size && p->n == 0 && g->at - p->from < FAR)
    code = step(g, p, err);
  p->to = g->at;
  if (code == 0 && p->n > 0)
    code = lv_source_locate(g->from, p->at, p->n, &p->where, err);
  if (code == 0 && p->n > 0 && g->against)
    code = lv_source_locate(g->against, p->at, p->n, &p->others_where, err);
  return code;
}

/* Units of the piece that are to be written. */
static uint32_t look_at(const struct lv_gather *g, struct lv_piece *p) {
  memset(p->bits, 0, sizeof p->bits);
  p->first = g->block == 0 ? 0
                           : (uint32_t)(p->at % g->block / g->unit) % 8;
  return g->against ? lv_sectors_differ(p->bytes, p->others, p->n, p->bits,
                                        p->first)
                    : lv_units_used(p->bytes, p->n, g->unit, p->bits,
                                    p->first);
}

int lv_gather_fill(const struct lv_gather *g, struct lv_piece *p, bool *used,
                   struct lvhd_error *err) {
  int code = 0;
  *used = false;
  if (p->n == 0)
    return 0;
  code = lv_source_fetch(g->from, &p->where, p->bytes, err);
  if (code == 0 && g->against)
    code = lv_source_fetch(g->against, &p->others_where, p->others, err);
  if (code == 0)
    *used = g->zeros || look_at(g, p) > 0;
  return code;
}
