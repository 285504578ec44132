/* SPDX-License-Identifier: MIT
 *
 * Writing sectors into one image, so that a crash at any point leaves a valid
 * file: new blocks beyond the BAT's reach first, behind a footer that is
 * durable before the old one goes; the BAT, and the bits of sectors of
 * differencing disks, only after the data they name is durable.  What waits
 * for that is held as an overlay of the file, so that all reading sees it.
 *
 * Knows no parent: what a partial sector held is for the caller to read.
 */
#ifndef LV_IMAGE_WRITER_H
#define LV_IMAGE_WRITER_H

#include "image/image.h"

struct lv_writer;

/* The image is writable (lv_change_take), and outlives the writer.  Scans the
 * BAT: VM_E_INVALID_HD_FILE (BLOCK_OUTSIDE, BLOCK_OVERLAP,
 * BLOCK_ON_METADATA) where a write could ruin what is there. */
int lv_writer_new(struct lv_writer **out, struct lv_image *image,
                  struct lv_env *env, enum lvhd_sync sync,
                  struct lvhd_error *err);

/* So many blocks more will be needed: the file grows once. */
void lv_writer_expect(struct lv_writer *writer, uint64_t blocks);

/* Whole sectors, inside the disk: data and bits.  The failure of a flush is
 * for ever: every later call fails as that one. */
int lv_writer_write(struct lv_writer *writer, const void *data, size_t n,
                    uint64_t offset, struct lvhd_error *err);

/* Sets the bits of sectors that lv_writer_write is going to fill, where that
 * must be durable before the data: in blocks that a disk without parent has
 * already.  A caller with much to write claims all of it, flushes once, and
 * then writes; otherwise each write that needs it waits for the disk. */
int lv_writer_claim(struct lv_writer *writer, uint64_t offset, uint64_t n,
                    struct lvhd_error *err);

/* The block of `offset` has a place in the file, or will have one. */
int lv_writer_has_block(struct lv_writer *writer, uint64_t offset, bool *has,
                        struct lvhd_error *err);

/* All that was written is reachable and durable, and the file's time is in
 * another second than before. */
int lv_writer_flush(struct lv_writer *writer, struct lvhd_error *err);

/* Flushes, and gives back what was reserved and not needed: the footer
 * follows the last block.  Nothing can be written any more. */
int lv_writer_finish(struct lv_writer *writer, struct lvhd_error *err);

/* Writes nothing.  Accepts NULL. */
void lv_writer_free(struct lv_writer *writer);

#endif
