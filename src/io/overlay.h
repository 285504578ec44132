/* SPDX-License-Identifier: MIT
 *
 * Bytes that a file is to have at some places instead of what stands there:
 * what a journal gives back, or what a writer has not written yet.  Every
 * read through the file sees them.  Knows no file.
 */
#ifndef LV_IO_OVERLAY_H
#define LV_IO_OVERLAY_H

#include "base/error.h"

struct lv_patch {
  uint64_t at; /* byte in the file */
  uint32_t length;
  uint8_t *bytes; /* owned */
};

/* Zero-initialise.  Sorted by place; no two touch the same byte. */
struct lv_overlay {
  struct lv_patch *items;
  size_t count, room;
  uint64_t bytes; /* of all of them */
};

/* The n bytes at `at`: a patch of that place and length is overwritten.  The
 * caller sees to it that patches of other lengths do not overlap.  bytes may
 * be NULL: zeros, to be filled by the caller through *out (may be NULL),
 * which stands until the next put. */
int lv_overlay_put(struct lv_overlay *overlay, uint64_t at,
                   const uint8_t *bytes, uint32_t n, uint8_t **out,
                   struct lvhd_error *err);

/* The bytes of the patch that begins at `at`; NULL: there is none. */
uint8_t *lv_overlay_find(const struct lv_overlay *overlay, uint64_t at);

/* buf holds n bytes of the file from `offset`: lays over them. */
void lv_overlay_apply(const struct lv_overlay *overlay, uint8_t *buf,
                      size_t n, uint64_t offset);

/* Forgets all; what is empty takes no memory. */
void lv_overlay_clear(struct lv_overlay *overlay);

#endif
