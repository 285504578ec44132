/* SPDX-License-Identifier: MIT
 *
 * Reading a chain as the disk it is: which layer holds a sector, and its
 * bytes.  Writes nothing.
 */
#ifndef LV_IMAGE_DISK_H
#define LV_IMAGE_DISK_H

#include "image/chain.h"

struct lv_disk;

/* Takes the chain, on failure too. */
int lv_disk_new(struct lv_disk **out, struct lv_env *env,
                struct lv_chain *chain, struct lvhd_error *err);
const struct lv_chain *lv_disk_chain_of(const struct lv_disk *disk);
uint64_t lv_disk_bytes(const struct lv_disk *disk);
int lv_disk_read(struct lv_disk *disk, void *buf, size_t n, uint64_t offset,
                 size_t *got, struct lvhd_error *err);
int lv_disk_extent(struct lv_disk *disk, uint64_t offset, uint64_t end,
                   struct lvhd_extent *out, struct lvhd_error *err);
void lv_disk_free(struct lv_disk *disk);

#endif
