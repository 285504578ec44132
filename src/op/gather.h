/* SPDX-License-Identifier: MIT
 *
 * What of a source is to be written: the way through it, in pieces, read and
 * looked at for zeros, or for what its parent has already.  It must not write,
 * nor know where in the new file a piece goes.  The way is gone by one thread
 * at a time; pieces are read by any number at once.  Private to op.
 */
#ifndef LV_OP_GATHER_H
#define LV_OP_GATHER_H

#include "base/verb.h"
#include "op/source.h"

/* Read at a time: a block of the usual size, and less than a cancel waits. */
#define LV_PIECE (2u << 20)

/* Bytes of the disk of which something is to be written. */
struct lv_piece {
  uint64_t from, to; /* the part of the way that it ends */
  uint64_t at;
  size_t n; /* 0: that part has nothing to be read */
  uint8_t *bytes;
  uint8_t *others; /* the parent's */
  struct lv_where where, others_where;
  /* Bit `first` + i: unit i is to be written; none behind them. */
  uint32_t first;
  uint8_t bits[LV_PIECE / 512 / 8 + 1];
};

struct lv_gather {
  struct lv_source *from;
  struct lv_source *against; /* or NULL: zeros are left out */
  struct lv_job *job;
  uint64_t size;
  uint32_t unit;  /* what may be left out: a sector, or a page */
  uint64_t block; /* no piece lies in two of them; 0: there are none */
  bool zeros;     /* nothing is left out */
  /* lv_gather_begin's */
  unsigned shared; /* layers behind this one are the parent's, too */
  uint64_t at;
};

/* Fill in what is above. */
void lv_gather_begin(struct lv_gather *g);

/* Memory for a piece; false: there is none.  Accepts one that has some. */
bool lv_piece_room(const struct lv_gather *g, struct lv_piece *p);
void lv_piece_free(struct lv_piece *p);

/* The next piece, before g->at is the size.  E_ABORT, or the error of a read. */
int lv_gather_next(struct lv_gather *g, struct lv_piece *p,
                   struct lvhd_error *err);

/* Its bytes, if it has any, and its bits; *used: something is to be written. */
int lv_gather_fill(const struct lv_gather *g, struct lv_piece *p, bool *used,
                   struct lvhd_error *err);

#endif
