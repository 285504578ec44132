/* SPDX-License-Identifier: MIT
 *
 * What of a source is to be written: the way through it, in loads of some
 * pieces, read and looked at for zeros, or for what its parent has already.
 * It must not write, nor know where in the new file a piece goes; a load is
 * made while the one before it is written.  Private to op.
 */
#ifndef LV_OP_GATHER_H
#define LV_OP_GATHER_H

#include "base/verb.h"
#include "op/source.h"

#define LV_PIECE (1u << 20) /* read at a time */
#define LV_PIECES 4u        /* of a load at the most: less than a cancel waits */

/* Bytes of the disk of which something is to be written. */
struct lv_piece {
  uint64_t at;
  size_t n;
  const uint8_t *bytes;
  /* Bit `first` + i: unit i is to be written; of none otherwise. */
  uint32_t first;
  uint8_t bits[LV_PIECE / 512 / 8 + 1];
};

struct lv_load {
  uint8_t *bytes; /* of all pieces */
  struct lv_piece pieces[LV_PIECES];
  size_t count;
  uint64_t to; /* up to here the disk has been looked at */
};

struct lv_gather {
  struct lv_source *from;
  struct lv_source *against; /* or NULL: zeros are left out */
  struct lv_job *job;
  uint64_t size;
  uint32_t unit;  /* what may be left out: a sector, or a page */
  uint64_t block; /* no piece lies in two of them; 0: there are none */
  bool zeros;     /* nothing is left out */
  size_t pieces;  /* of a load */
  /* lv_gather_begin's */
  unsigned shared; /* layers behind this one are the parent's, too */
  uint8_t *others; /* a piece of the parent */
  uint64_t at;
};

/* Fill in what is above.  E_OUTOFMEMORY. */
int lv_gather_begin(struct lv_gather *g, struct lvhd_error *err);
void lv_gather_end(struct lv_gather *g);

/* Memory for a load; false: there is none.  Accepts one that has some. */
bool lv_load_room(const struct lv_gather *g, struct lv_load *load);
void lv_load_free(struct lv_load *load);

/* The next load; over when load->to is the size.  E_ABORT, or the error of a
 * read. */
int lv_gather(struct lv_gather *g, struct lv_load *load,
              struct lvhd_error *err);

#endif
