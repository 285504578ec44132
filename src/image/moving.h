/* SPDX-License-Identifier: MIT
 *
 * Changing where blocks lie: blocks copied to other places of their file, and
 * the entries of the BAT that name them.  In which order, and what must be
 * durable in between, is the verb's to know.
 */
#ifndef LV_IMAGE_MOVING_H
#define LV_IMAGE_MOVING_H

#include "image/space.h"

/* Bytes looked at or moved between two looks for a cancel. */
#define LV_PIECE (UINT32_C(1) << 20)

/* Told how many bytes were done; true: stop, with E_ABORT.  NULL: nobody is. */
typedef bool (*lv_done_fn)(void *, uint64_t bytes);

/* The first byte of [at, end) that is not in a hole; `end`: none. */
uint64_t lv_file_data(const struct lv_file *file, const struct lv_env *env,
                      uint64_t at, uint64_t end);

/* Whether all n (> 0) bytes are zero. */
bool lv_zeros(const uint8_t *bytes, size_t n);

/* Where the last byte of [from, to) that is not zero ends; `from`: all are.
 * buf: LV_PIECE bytes. */
int lv_file_last(const struct lv_file *file, const struct lv_env *env,
                 uint64_t from, uint64_t to, uint8_t *buf, lv_done_fn done,
                 void *arg, uint64_t *end, struct lvhd_error *err);

/* Copies n bytes (of whole sectors) within the file; the two places do not
 * overlap.  What is zero becomes a hole, where it can. */
int lv_move(const struct lv_file *file, const struct lv_env *env,
            uint64_t from, uint64_t to, uint64_t n, uint8_t *buf,
            lv_done_fn done, void *arg, struct lvhd_error *err);

/* Another entry in place of this one. */
typedef uint32_t (*lv_entry_map)(const void *arg, uint64_t index,
                                 uint32_t entry);

/* Maps all entries that the header tells of; writes the sectors of the BAT
 * where one changed. */
int lv_table_map(const struct lv_image *image, const struct lv_env *env,
                 lv_entry_map map, const void *arg, struct lvhd_error *err);

/* Clears XenServer's batmap for a BAT of so many entries, at `at`: no block
 * is known to be full, which is always right. */
uint64_t lv_batmap_length(uint64_t entries); /* bytes, with its header */
int lv_batmap_clear(const struct lv_image *image, const struct lv_env *env,
                    uint64_t at, uint64_t map_at, uint64_t map_size,
                    struct lvhd_error *err);

#endif
