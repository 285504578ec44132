/* SPDX-License-Identifier: MIT
 *
 * A chain as the disk it is: which layer holds a sector, its bytes, and bytes
 * written into the leaf.
 */
#ifndef LV_IMAGE_DISK_H
#define LV_IMAGE_DISK_H

#include "image/chain.h"

struct lv_disk;

/* Takes the chain, on failure too. */
int lv_disk_new(struct lv_disk **out, struct lv_env *env,
                struct lv_chain *chain, struct lvhd_error *err);

/* The images [first, first + count) of a chain as a disk of their own, with
 * nothing below; the chain is not taken and outlives it. */
int lv_disk_part(struct lv_disk **out, struct lv_env *env,
                 const struct lv_chain *chain, size_t first, size_t count,
                 struct lvhd_error *err);

const struct lv_chain *lv_disk_chain_of(const struct lv_disk *disk);
/* Of the leaf, which our own writing changes. */
int lv_disk_mtime(const struct lv_disk *disk, int64_t *mtime,
                  struct lvhd_error *err);
uint64_t lv_disk_bytes(const struct lv_disk *disk);
int lv_disk_read(struct lv_disk *disk, void *buf, size_t n, uint64_t offset,
                 size_t *got, struct lvhd_error *err);

/* Where some bytes of the disk are read from in one call. */
struct lv_stretch {
  uint32_t layer; /* 1 is the leaf; 0: nobody has them, they are zeros */
  uint64_t at;    /* in the file of that layer */
  uint64_t length;
};

/* A read in two halves.  locate: where n bytes inside the disk are, in order;
 * *covered of them, which is less where that takes more than `room` stretches.
 * fetch: their bytes; it changes nothing, so that threads can do it at once. */
int lv_disk_locate(struct lv_disk *disk, uint64_t offset, uint64_t n,
                   struct lv_stretch *out, size_t room, size_t *count,
                   uint64_t *covered, struct lvhd_error *err);
int lv_disk_fetch(const struct lv_disk *disk, const struct lv_stretch *from,
                  size_t count, void *buf, struct lvhd_error *err);

int lv_disk_extent(struct lv_disk *disk, uint64_t offset, uint64_t end,
                   struct lvhd_extent *out, struct lvhd_error *err);

/* Someone else may write into the leaf, which is not locked against it: what he
 * has flushed is to be seen. */
void lv_disk_watch(struct lv_disk *disk);

/* Makes the leaf writable; the image was taken by lv_change_take. */
int lv_disk_make_writable(struct lv_disk *disk, enum lvhd_sync sync,
                          struct lvhd_error *err);

/* Any offset and length inside the disk. */
int lv_disk_write(struct lv_disk *disk, const void *data, size_t n,
                  uint64_t offset, struct lvhd_error *err);
int lv_disk_flush(struct lv_disk *disk, struct lvhd_error *err);
/* Flushes, trims, and closes the files: nothing works after it. */
int lv_disk_finish(struct lv_disk *disk, struct lvhd_error *err);
void lv_disk_free(struct lv_disk *disk);

#endif
