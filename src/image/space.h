/* SPDX-License-Identifier: MIT
 *
 * What lies where in the file of a disk with a BAT: its metadata, its blocks,
 * and the room between them.  Changes nothing; moving.h does.
 */
#ifndef LV_IMAGE_SPACE_H
#define LV_IMAGE_SPACE_H

#include "format/audit.h"
#include "image/table.h"

/* Bytes [from, to) of the file. */
struct lv_span {
  uint64_t from, to;
};

/* Copy of the footer, header, BAT, batmap, its map, locators. */
#define LV_SPANS (5 + LV_LOCATORS)

struct lv_space {
  const struct lv_image *image; /* not owned */
  uint64_t pitch;               /* bytes of a block with its bitmap */
  uint32_t align;               /* the data of every block lies on it */
  struct lv_span taken[LV_SPANS]; /* metadata, in whole sectors */
  size_t taken_count;
  uint64_t head_end; /* where the last of that ends */
  uint64_t lowest;   /* where the first block begins; head_end: none does */
  uint64_t end;      /* where the last block or metadata ends */
  uint64_t batmap_at; /* XenServer's batmap; 0: none, or not whole */
  struct lv_batmap batmap;
  uint32_t *blocks; /* owned: where the blocks begin, in sectors, ascending */
  size_t count;
};

/* The metadata, and the blocks of the disk that are not marked in `but` (a bit
 * a block; NULL: none is).  VM_E_INVALID_HD_FILE (BLOCK_OVERLAP,
 * BLOCK_OUTSIDE, BLOCK_ON_METADATA, with the numbers of the finding, and
 * BAT_NOT_SCANNED) where the BAT is not one that can be worked with.  stop may
 * be NULL.  To be freed after a failure, too. */
int lv_space_new(struct lv_space *space, const struct lv_image *image,
                 const struct lv_env *env, const uint8_t *but,
                 lv_stop_fn stop, void *stop_arg, struct lvhd_error *err);
void lv_space_free(struct lv_space *space);

/* The first place from *at on where a block fits whole, as aligned as the
 * others, and ends no later than `end`; *at is its end then.  Begin with
 * lv_space_first. */
struct lv_slots {
  const struct lv_space *space;
  uint64_t at;
  size_t next; /* in space->blocks */
};
bool lv_space_slot(struct lv_slots *slots, uint64_t end, uint32_t *sector);

/* Blocks go behind the metadata, or where a block was already: XenServer's
 * tools refuse those before it. */
struct lv_slots lv_space_first(const struct lv_space *space);

/* Where a block at `at` or later would go. */
uint64_t lv_space_aligned(const struct lv_space *space, uint64_t at);

/* Where a footer goes that is to follow `end`, so that it is not written over
 * a part of the one that counts. */
uint64_t lv_space_footer(const struct lv_image *image, uint64_t end);

#endif
