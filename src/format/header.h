/* SPDX-License-Identifier: MIT
 *
 * The dynamic disk header: 1024 bytes (specification, "Dynamic Disk Header
 * Format"), with its parent locator entries.  Bytes only; no file.
 */
#ifndef LV_FORMAT_HEADER_H
#define LV_FORMAT_HEADER_H

#include <stdbool.h>

#include "base/error.h"

#define LV_HEADER_SIZE 1024
#define LV_LOCATORS 8
#define LV_LOCATOR_READ 4096 /* bytes; a longer text is no file name */
#define LV_NAME_FIELD 512 /* bytes of the parent name, UTF-16 big-endian */
#define LV_HEADER_NAME_AT 64  /* where it stands in the header */
#define LV_HEADER_TABLE_AT 16 /* the place of the BAT, in the header */

struct lv_locator_entry {
  uint8_t code[4]; /* zeros: unused */
  uint32_t space;  /* bytes (practice) or sectors (specification) */
  uint32_t length; /* bytes of the text */
  uint64_t offset; /* of the text in the file */
};

struct lv_header {
  uint64_t table_offset; /* bytes */
  uint32_t entries;      /* of the BAT */
  uint32_t block_size;   /* bytes of data in a block */
  uint32_t checksum;
  uint8_t parent_uuid[16];
  uint32_t parent_timestamp; /* seconds since 2000 */
  uint8_t parent_name[LV_NAME_FIELD];
  struct lv_locator_entry locators[LV_LOCATORS];
};

/* Fills out, checksum included; header->checksum is not read. */
void lv_header_encode(const struct lv_header *header,
                      uint8_t out[LV_HEADER_SIZE]);

/* Writes the fields into a header that was read, checksum included; what is in
 * none of them, as reserved bytes, stays as its writer left it. */
void lv_header_update(const struct lv_header *header,
                      uint8_t bytes[LV_HEADER_SIZE]);

/* Reads and checks what the header alone can tell: cookie (HEADER_MISSING),
 * checksum (HEADER_CHECKSUM), version (HEADER_VERSION), block size a power
 * of two of at least 512 (BLOCK_SIZE), table offset a positive multiple of
 * 512 (HEADER_CORRUPT, offset 16).  Returns LV_R_NONE or the reason, with
 * `bad` (may be NULL) filled with expected, actual and the offset within the
 * header. */
enum lv_reason lv_header_decode(struct lv_header *header,
                                const uint8_t in[LV_HEADER_SIZE],
                                struct lvhd_finding *bad);

/* The parent's name as UTF-8, up to the first NUL.  It is big-endian; some
 * writers have put it little-endian, which shows where only so it has any
 * ASCII in it, as ".vhd" is: true then. */
#define LV_NAME_TEXT (LV_NAME_FIELD / 2 * 3 + 1)
bool lv_header_name(const uint8_t field[LV_NAME_FIELD],
                    char out[LV_NAME_TEXT]);

#endif
