/* SPDX-License-Identifier: MIT
 *
 * The BAT as a stream: which blocks are there, and whether they can be where
 * it says.  Bounded in memory and time whatever the file holds; looks into no
 * block.
 */
#ifndef LV_IMAGE_TABLE_H
#define LV_IMAGE_TABLE_H

#include "base/findings.h"
#include "image/image.h"

/* How a job that reads much is stopped: true ends the reading with E_ABORT. */
typedef bool (*lv_stop_fn)(void *);

/* No disk that someone uses has more blocks: 512 KiB blocks to 2040 GiB are
 * half as many. */
#define LV_TABLE_MOST (UINT64_C(8) << 20)

/* What the entries of the disk's blocks say. */
struct lv_table {
  uint32_t used;      /* entries that name a block */
  uint32_t alignment; /* see struct lvhd_info */
};

/* Scans the table.  Adds BLOCK_OUTSIDE, BLOCK_ON_METADATA and BLOCK_OVERLAP
 * (errors; offset: the entry in the file; actual: the byte that it names;
 * expected: the least, or for BLOCK_OUTSIDE the most, it could be) and
 * BAT_NOT_SCANNED, where there are more than LV_TABLE_MOST entries: then only
 * the first are counted.  stop may be NULL. */
int lv_table_scan(struct lv_table *table, const struct lv_image *image,
                  const struct lv_env *env, struct lv_findings *list,
                  lv_stop_fn stop, void *stop_arg, struct lvhd_error *err);

/* Refuses with the first of BLOCK_OUTSIDE, BLOCK_ON_METADATA, BLOCK_OVERLAP
 * and BAT_NOT_SCANNED (VM_E_INVALID_HD_FILE): a disk that is to be changed
 * must have none. */
int lv_table_sound(struct lv_table *table, const struct lv_image *image,
                   const struct lv_env *env, struct lvhd_error *err);

/* The end of what stands before the blocks (header, BAT, locators with their
 * space, XenServer's batmap) as far as the file reaches, and of every block
 * that the BAT names, spare entries too: what comes behind it belongs to
 * nobody. */
int lv_table_end(uint64_t *end, const struct lv_image *image,
                 const struct lv_env *env, struct lvhd_error *err);

/* Called for each entry that names a block, in order; other than 0 ends. */
typedef int (*lv_entry_fn)(void *arg, uint64_t index, uint32_t entry,
                           struct lvhd_error *err);

/* Entries [first, first + count), 64 KiB at a time. */
int lv_table_walk(const struct lv_image *image, const struct lv_env *env,
                  uint64_t first, uint64_t count, lv_entry_fn each, void *arg,
                  lv_stop_fn stop, void *stop_arg, struct lvhd_error *err);

#endif
