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
#define HUGE (2u << 20)

/* On the processor's large pages, where it has any: copies from and to them
 * take a tenth less. */
static uint8_t *big_memory(size_t n) {
  uint8_t *bytes = aligned_alloc(HUGE, n);
  if (bytes)
    (void)madvise(bytes, n, MADV_HUGEPAGE);
  return bytes;
}

int lv_gather_begin(struct lv_gather *g, struct lvhd_error *err) {
  g->at = 0;
  g->others = NULL;
  if (g->against == NULL)
    return 0;
  g->shared = lv_source_shared(g->from, g->against);
  g->others = big_memory(HUGE);
  return g->others ? 0 : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

void lv_gather_end(struct lv_gather *g) {
  free(g->others);
  g->others = NULL;
}

bool lv_load_room(const struct lv_gather *g, struct lv_load *load) {
  if (load->bytes == NULL)
    load->bytes = big_memory(
      (size_t)lv_round_up((uint64_t)g->pieces * LV_PIECE, HUGE));
  return load->bytes != NULL;
}

void lv_load_free(struct lv_load *load) {
  free(load->bytes);
  load->bytes = NULL;
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

/* Units of the piece that are to be written. */
static uint32_t look_at(const struct lv_gather *g, struct lv_piece *p) {
  memset(p->bits, 0, sizeof p->bits);
  p->first = g->block == 0 ? 0
                           : (uint32_t)(p->at % g->block / g->unit) % 8;
  return g->against ? lv_sectors_differ(p->bytes, g->others, p->n, p->bits,
                                        p->first)
                    : lv_units_used(p->bytes, p->n, g->unit, p->bits,
                                    p->first);
}

/* Reads n bytes as the next piece, which stays if it has something. */
static int take(struct lv_gather *g, struct lv_load *load, uint8_t *room,
                size_t n, struct lvhd_error *err) {
  struct lv_piece *p = &load->pieces[load->count];
  int code = lv_source_read(g->from, room, n, g->at, err);
  if (code == 0 && g->against)
    code = lv_source_read(g->against, g->others, n, g->at, err);
  if (code != 0)
    return code;
  p->at = g->at;
  p->n = n;
  p->bytes = room;
  if (g->zeros || look_at(g, p) > 0)
    load->count++;
  return 0;
}

/* One step on the way: reads a piece, or passes over a run. */
static int step(struct lv_gather *g, struct lv_load *load, bool *read,
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
  *read = !skip || length == 0 || g->zeros;
  if (*read) {
    length = piece_length(g, length);
    code = take(g, load, load->bytes + load->count * LV_PIECE,
                (size_t)length, err);
  }
  g->at += length;
  return code;
}

int lv_gather(struct lv_gather *g, struct lv_load *load,
              struct lvhd_error *err) {
  uint64_t began = g->at;
  size_t pieces = 0;
  int code = 0;
  load->count = 0;
  while (code == 0 && g->at < g->size && pieces < g->pieces &&
         g->at - began < FAR) {
    bool read = false;
    code = step(g, load, &read, err);
    pieces += read;
  }
  load->to = g->at;
  return code;
}
