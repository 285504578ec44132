/* SPDX-License-Identifier: MIT
 *
 * Which layer of a chain holds a sector, and where in its file.  The disk is
 * looked at in windows of 2 MiB: one window is resolved through all layers at
 * once, each BAT entry and each sector bitmap read once, and the runs are kept.
 * Private to image.
 */
#ifndef LV_IMAGE_MAP_H
#define LV_IMAGE_MAP_H

#include "image/chain.h"

#define LV_WINDOW_SECTORS 4096u
#define LV_WINDOW ((uint64_t)LV_WINDOW_SECTORS * LV_SECTOR)

/* It reaches to the start of the next run, or to the end of the window. */
struct lv_run {
  uint32_t start; /* sector within the window */
  uint32_t layer; /* 1 is the leaf; 0: nobody */
  uint64_t at;    /* byte in the file of that layer; or LV_RUN_BAD */
};

/* The layer's BAT names a block for these sectors that it does not have:
 * lv_map_bad() tells. */
#define LV_RUN_BAD UINT64_MAX

/* NULL runs: not resolved. */
struct lv_window {
  uint64_t number; /* offset / LV_WINDOW */
  struct lv_run *runs;
  uint32_t count;
};

struct lv_map;

/* Keeps the chain, which must outlive the map. */
int lv_map_new(struct lv_map **out, struct lv_env *env,
               const struct lv_chain *chain, struct lvhd_error *err);
void lv_map_free(struct lv_map *map);

/* Valid until the next call. */
int lv_map_window(struct lv_map *map, uint64_t number,
                  const struct lv_window **out, struct lvhd_error *err);

/* The error of a bad run of `layer` at a byte of the disk. */
int lv_map_bad(struct lv_map *map, uint32_t layer, uint64_t offset,
               struct lvhd_error *err);

/* What is kept of the bytes [offset, offset + n) of the disk: the leaf was
 * written there. */
void lv_map_forget(struct lv_map *map, uint64_t offset, uint64_t n);

/* All that is kept: someone else wrote into the leaf. */
void lv_map_renew(struct lv_map *map);

/* The first byte from `from` on (both multiples of the window) where some
 * layer has a block; `end` when none has.  Looks at the BATs alone, and at no
 * more than a bounded part: *end may come out smaller. */
int lv_map_skip(struct lv_map *map, uint64_t from, uint64_t *end,
                uint64_t *first, struct lvhd_error *err);

#endif
