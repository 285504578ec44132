/* SPDX-License-Identifier: MIT
 *
 * The plan of a new file: where everything goes (design 3), and the bytes of
 * its head.  Bytes only; no file.
 *
 *   raw           data
 *   fixed         data (zeros) | footer
 *   dynamic       footer copy | header 512 | BAT 1536 | footer
 *   differencing  footer copy | header 512 | W2ru 0x1000 | W2ku 0x1400 |
 *                 MacX 0x1800 | BAT 0x2000 | footer
 *
 * The BAT is padded to whole sectors; all of it is 0xFF.  The footer follows
 * at once: QEMU computes the place of its first block from the BAT alone and
 * does not clear it, so a footer behind a gap would become data of the guest.
 * The data of the first block is to start on a 4 KiB boundary, its bitmap
 * just before; full_size counts that gap.
 */
#ifndef LV_FORMAT_PLAN_H
#define LV_FORMAT_PLAN_H

#include "format/footer.h"
#include "format/header.h"

#define LV_PLAN_HEAD 0x2000       /* the most that stands before the BAT */
#define LV_SLOT 1024              /* bytes of a locator slot */
#define LV_BLOCK_SIZE 0x200000u   /* 2 MiB */
#define LV_BLOCK_SMALL 0x80000u   /* 512 KiB, on request */
#define LV_SIZE_MIN (INT64_C(3) << 20)         /* inclusive */
#define LV_SIZE_MAX (INT64_C(2088960) << 20)   /* 2040 GiB */

/* What the disk shall be.  But for differencing disks the parent fields are
 * zero or NULL.  A raw disk is given by its size alone. */
struct lv_plan_in {
  enum lvhd_type type;
  uint64_t size;       /* bytes */
  uint32_t block_size; /* bytes */
  uint8_t uuid[16];
  uint32_t timestamp;  /* seconds since 2000 */
  const char *relative; /* the way to the parent: "base.vhd", "../base.vhd" */
  bool no_relative;     /* it leads there on the host alone: no W2ru */
  const char *windows;  /* how Windows calls the parent, for W2ku; NULL: none */
  uint8_t parent_uuid[16];
  uint32_t parent_timestamp; /* seconds since 2000 */
};

/* A locator as it stands in the file, for the info of the new disk. */
struct lv_plan_locator {
  uint8_t code[4];
  uint32_t offset; /* in the file, and so in head */
  uint32_t length;
};

struct lv_plan {
  uint8_t head[LV_PLAN_HEAD]; /* the first head_size bytes of the file */
  uint8_t footer[LV_FOOTER_SIZE];
  struct lv_footer fields; /* what these bytes say; checksums not filled */
  struct lv_header header; /* not for fixed disks */
  uint32_t head_size;    /* 0 for raw and fixed disks */
  uint32_t entries;      /* of the BAT */
  uint64_t table_size;   /* bytes of the BAT with padding */
  uint64_t first_block;  /* where its bitmap would stand; not for fixed disks */
  uint64_t footer_offset;
  uint64_t file_size;    /* footer_offset + 512; of a raw disk its size */
  uint64_t full_size;    /* the file with every block allocated */
  struct lv_plan_locator locators[3];
  unsigned locator_count;
  uint64_t w2ku_left_out; /* bytes of a text that did not fit; else 0 */
  uint64_t macx_left_out;
};

/* E_BUFFER_OVERFLOW (LOCATOR_TOO_LONG: W2ru text over 1022 bytes, a parent
 * name over 255 units, or no W2ru is wanted and nothing else fits: expected
 * and actual in bytes),
 * E_INVALID_NAME (NAME_UNFINDABLE: a `\` in relative, or no UTF-8),
 * VM_E_IMAGE_SIZE_TOO_LARGE (BAT_REACH: a block would lie beyond what 32
 * bits of sectors reach). */
int lv_plan(struct lv_plan *plan, const struct lv_plan_in *in,
            struct lvhd_error *err);

/* Full size of a file with `entries` blocks after `data_start`, footer
 * included. */
uint64_t lv_full_size(uint64_t data_start, uint32_t entries,
                      uint32_t block_size);

/* Bytes of the sector bitmap of a block. */
uint32_t lv_bitmap_size(uint32_t block_size);

/* ceil(size / block_size), the exact number of BAT entries. */
uint64_t lv_block_count(uint64_t size, uint32_t block_size);

#endif
