/* SPDX-License-Identifier: MIT
 *
 * The dynamic disk header as bytes (specification, "Dynamic Disk Header
 * Format").  Knows no file: whether a table or a locator lies inside one is
 * the business of image.
 */
#include "format/header.h"

#include <string.h>

#include "base/bytes.h"
#include "base/utf.h"
#include "format/footer.h"

static const uint8_t cookie[8] = {'c', 'x', 's', 'p', 'a', 'r', 's', 'e'};

enum {
  AT_DATA_OFFSET = 8, /* of a next structure, which there never is */
  AT_TABLE_OFFSET = 16,
  AT_VERSION = 24,
  AT_ENTRIES = 28,
  AT_BLOCK_SIZE = 32,
  AT_CHECKSUM = 36,
  AT_PARENT_UUID = 40,
  AT_PARENT_TIMESTAMP = 56,
  AT_PARENT_NAME = 64,
  AT_LOCATORS = 576,
  USED = 768 /* what follows is reserved: zeros */
};

/* Within a locator entry. */
enum {
  AT_CODE = 0,
  AT_SPACE = 4,
  AT_LENGTH = 8,
  AT_SPARE = 12,
  AT_OFFSET = 16,
  LOCATOR_SIZE = 24
};

#define VERSION 0x00010000u

_Static_assert(AT_LOCATORS + LV_LOCATORS * LOCATOR_SIZE == USED,
               "the locator entries end where the reserved bytes begin");

static void put_fields(const struct lv_header *header, uint8_t *out) {
  size_t i;

  lv_put_be64(out + AT_TABLE_OFFSET, header->table_offset);
  lv_put_be32(out + AT_ENTRIES, header->entries);
  lv_put_be32(out + AT_BLOCK_SIZE, header->block_size);
  memcpy(out + AT_PARENT_UUID, header->parent_uuid,
         sizeof header->parent_uuid);
  lv_put_be32(out + AT_PARENT_TIMESTAMP, header->parent_timestamp);
  memcpy(out + AT_PARENT_NAME, header->parent_name,
         sizeof header->parent_name);
  for (i = 0; i < LV_LOCATORS; i++) {
    const struct lv_locator_entry *entry = &header->locators[i];
    uint8_t *at = out + AT_LOCATORS + i * LOCATOR_SIZE;
    memcpy(at + AT_CODE, entry->code, sizeof entry->code);
    lv_put_be32(at + AT_SPACE, entry->space);
    lv_put_be32(at + AT_LENGTH, entry->length);
    lv_put_be32(at + AT_SPARE, 0);
    lv_put_be64(at + AT_OFFSET, entry->offset);
  }
}

void lv_header_encode(const struct lv_header *header,
                      uint8_t out[LV_HEADER_SIZE]) {
  memset(out, 0, LV_HEADER_SIZE);
  memcpy(out, cookie, sizeof cookie);
  lv_put_be64(out + AT_DATA_OFFSET, UINT64_MAX);
  lv_put_be32(out + AT_VERSION, VERSION);
  put_fields(header, out);
  /* The reserved zeros add nothing to the sum. */
  lv_put_be32(out + AT_CHECKSUM, lv_checksum(out, USED, AT_CHECKSUM));
}

void lv_header_update(const struct lv_header *header,
                      uint8_t bytes[LV_HEADER_SIZE]) {
  put_fields(header, bytes);
  lv_put_be32(bytes + AT_CHECKSUM,
              lv_checksum(bytes, LV_HEADER_SIZE, AT_CHECKSUM));
}

static void read_fields(struct lv_header *header, const uint8_t *in) {
  size_t i;

  header->table_offset = lv_get_be64(in + AT_TABLE_OFFSET);
  header->entries = lv_get_be32(in + AT_ENTRIES);
  header->block_size = lv_get_be32(in + AT_BLOCK_SIZE);
  header->checksum = lv_get_be32(in + AT_CHECKSUM);
  memcpy(header->parent_uuid, in + AT_PARENT_UUID,
         sizeof header->parent_uuid);
  header->parent_timestamp = lv_get_be32(in + AT_PARENT_TIMESTAMP);
  memcpy(header->parent_name, in + AT_PARENT_NAME,
         sizeof header->parent_name);
  for (i = 0; i < LV_LOCATORS; i++) {
    struct lv_locator_entry *entry = &header->locators[i];
    const uint8_t *at = in + AT_LOCATORS + i * LOCATOR_SIZE;
    memcpy(entry->code, at + AT_CODE, sizeof entry->code);
    entry->space = lv_get_be32(at + AT_SPACE);
    entry->length = lv_get_be32(at + AT_LENGTH);
    entry->offset = lv_get_be64(at + AT_OFFSET);
  }
}

enum lv_reason lv_header_decode(struct lv_header *header,
                                const uint8_t in[LV_HEADER_SIZE],
                                struct lvhd_finding *bad) {
  const unsigned both = LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL;
  uint32_t sum, version;

  if (memcmp(in, cookie, sizeof cookie) != 0)
    return lv_refuse(bad, LV_R_HEADER_MISSING, 0, 0, 0, 0);
  read_fields(header, in);
  sum = lv_checksum(in, LV_HEADER_SIZE, AT_CHECKSUM);
  if (header->checksum != sum)
    return lv_refuse(bad, LV_R_HEADER_CHECKSUM, both, sum, header->checksum,
                  AT_CHECKSUM);
  version = lv_get_be32(in + AT_VERSION);
  if (version != VERSION)
    return lv_refuse(bad, LV_R_HEADER_VERSION, both, VERSION, version,
                  AT_VERSION);
  if (header->block_size < LV_SECTOR ||
      (header->block_size & (header->block_size - 1)) != 0)
    return lv_refuse(bad, LV_R_BLOCK_SIZE, LVHD_HAS_ACTUAL, 0,
                  header->block_size, AT_BLOCK_SIZE);
  if (header->table_offset == 0 || header->table_offset % LV_SECTOR != 0)
    return lv_refuse(bad, LV_R_HEADER_CORRUPT, LVHD_HAS_ACTUAL, 0,
                  header->table_offset, AT_TABLE_OFFSET);
  return LV_R_NONE;
}

bool lv_header_name(const uint8_t field[LV_NAME_FIELD],
                    char out[LV_NAME_TEXT]) {
  bool big = false, little = false;
  for (size_t i = 0; i < LV_NAME_FIELD; i += 2) {
    if (field[i] == 0 && field[i + 1] == 0)
      break;
    big |= field[i] == 0 && field[i + 1] < 0x80;
    little |= field[i + 1] == 0 && field[i] < 0x80;
  }
  little = little && !big;
  lv_utf16_decode(field, LV_NAME_FIELD, !little, out);
  return little;
}
