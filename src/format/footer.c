/* SPDX-License-Identifier: MIT
 *
 * The hard disk footer as bytes (specification, "Hard Disk Footer Format").
 * Knows no file: where a footer stands, and which of two counts, is the
 * business of image.
 */
#include "format/footer.h"

#include <string.h>

#include "base/bytes.h"

static const uint8_t cookie[8] = {'c', 'o', 'n', 'e', 'c', 't', 'i', 'x'};

enum {
  AT_FEATURES = 8,
  AT_VERSION = 12,
  AT_DATA_OFFSET = 16,
  AT_TIMESTAMP = 24,
  AT_CREATOR = 28,
  AT_CREATOR_VERSION = 32,
  AT_CREATOR_OS = 36,
  AT_ORIGINAL_SIZE = 40,
  AT_CURRENT_SIZE = 48,
  AT_CYLINDERS = 56,
  AT_HEADS = 58,
  AT_TRACK = 59,
  AT_TYPE = 60,
  AT_CHECKSUM = 64,
  AT_UUID = 68,
  AT_SAVED_STATE = 84,
  AT_HIDDEN = 85, /* of blktap; reserved in the specification */
  USED = 86       /* what follows is reserved: zeros */
};

#define FEATURES 2u /* "Reserved", which must be set */
#define VERSION 0x00010000u
/* Windows 10's: the only creator whose size every QEMU takes as it is. */
#define CREATOR_VERSION 0x000A0000u

/* Eight bytes at a time, in four lanes of 16 bits: the sum of at most 128
 * pairs of bytes fits a lane. */
static uint32_t sum_lanes(const uint8_t *bytes, size_t n) {
  const uint64_t even = UINT64_C(0x00FF00FF00FF00FF);
  uint64_t lanes = 0;
  for (size_t i = 0; i < n; i += 8) {
    uint64_t eight;
    memcpy(&eight, bytes + i, sizeof eight);
    lanes += (eight & even) + ((eight >> 8) & even);
  }
  return (uint32_t)((lanes & 0xFFFF) + ((lanes >> 16) & 0xFFFF) +
                    ((lanes >> 32) & 0xFFFF) + (lanes >> 48));
}

uint32_t lv_checksum(const uint8_t *bytes, size_t n, size_t skip) {
  const size_t most = 128 * 8;
  size_t whole = n - n % 8;
  uint32_t sum = 0;
  size_t i;

  for (i = 0; i < whole; i += most)
    sum += sum_lanes(bytes + i, whole - i < most ? whole - i : most);
  for (i = whole; i < n; i++)
    sum += bytes[i];
  for (i = skip; i < skip + 4; i++)
    sum -= bytes[i];
  return ~sum;
}

uint32_t lv_timestamp(int64_t seconds) {
  if (seconds <= LV_EPOCH)
    return 0;
  seconds -= LV_EPOCH;
  return seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX;
}

void lv_footer_set_creator(struct lv_footer *footer) {
  static const uint8_t creator[4] = {'w', 'i', 'n', ' '};
  static const uint8_t os[4] = {'W', 'i', '2', 'k'};
  memcpy(footer->creator, creator, sizeof creator);
  memcpy(footer->creator_os, os, sizeof os);
  footer->creator_version = CREATOR_VERSION;
}

void lv_footer_init(struct lv_footer *footer, enum lvhd_type type,
                    uint64_t size) {
  *footer = (struct lv_footer){
    .features = FEATURES,
    .version = VERSION,
    .data_offset = type == LVHD_FIXED ? UINT64_MAX : LV_FOOTER_SIZE,
    .original_size = size,
    .current_size = size,
    .geometry = lv_geometry(size / LV_SECTOR),
    .type = (uint32_t)type,
  };
  lv_footer_set_creator(footer);
}

static void put_geometry(uint8_t *out, struct lv_geometry geometry) {
  lv_put_be16(out + AT_CYLINDERS, geometry.cylinders);
  out[AT_HEADS] = geometry.heads;
  out[AT_TRACK] = geometry.sectors;
}

void lv_footer_set_geometry(uint8_t bytes[LV_FOOTER_SIZE],
                            struct lv_geometry geometry) {
  put_geometry(bytes, geometry);
  lv_put_be32(bytes + AT_CHECKSUM,
              lv_checksum(bytes, LV_FOOTER_SIZE, AT_CHECKSUM));
}

bool lv_footer_size_counts(const struct lv_footer *footer) {
  static const char known[][5] = {"win ", "tap", "d2v ", "CTXS"};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (memcmp(footer->creator, known[i], 4) == 0)
      return true;
  return false;
}

void lv_footer_encode(const struct lv_footer *footer,
                      uint8_t out[LV_FOOTER_SIZE]) {
  memset(out, 0, LV_FOOTER_SIZE);
  memcpy(out, cookie, sizeof cookie);
  lv_put_be32(out + AT_FEATURES, footer->features);
  lv_put_be32(out + AT_VERSION, footer->version);
  lv_put_be64(out + AT_DATA_OFFSET, footer->data_offset);
  lv_put_be32(out + AT_TIMESTAMP, footer->timestamp);
  memcpy(out + AT_CREATOR, footer->creator, sizeof footer->creator);
  lv_put_be32(out + AT_CREATOR_VERSION, footer->creator_version);
  memcpy(out + AT_CREATOR_OS, footer->creator_os, sizeof footer->creator_os);
  lv_put_be64(out + AT_ORIGINAL_SIZE, footer->original_size);
  lv_put_be64(out + AT_CURRENT_SIZE, footer->current_size);
  put_geometry(out, footer->geometry);
  lv_put_be32(out + AT_TYPE, footer->type);
  memcpy(out + AT_UUID, footer->uuid, sizeof footer->uuid);
  out[AT_SAVED_STATE] = footer->saved_state;
  out[AT_HIDDEN] = footer->hidden;
  /* The reserved zeros add nothing to the sum. */
  lv_put_be32(out + AT_CHECKSUM, lv_checksum(out, USED, AT_CHECKSUM));
}

static void read_fields(struct lv_footer *footer, const uint8_t *in) {
  footer->features = lv_get_be32(in + AT_FEATURES);
  footer->version = lv_get_be32(in + AT_VERSION);
  footer->data_offset = lv_get_be64(in + AT_DATA_OFFSET);
  footer->timestamp = lv_get_be32(in + AT_TIMESTAMP);
  memcpy(footer->creator, in + AT_CREATOR, sizeof footer->creator);
  footer->creator_version = lv_get_be32(in + AT_CREATOR_VERSION);
  memcpy(footer->creator_os, in + AT_CREATOR_OS, sizeof footer->creator_os);
  footer->original_size = lv_get_be64(in + AT_ORIGINAL_SIZE);
  footer->current_size = lv_get_be64(in + AT_CURRENT_SIZE);
  footer->geometry.cylinders = lv_get_be16(in + AT_CYLINDERS);
  footer->geometry.heads = in[AT_HEADS];
  footer->geometry.sectors = in[AT_TRACK];
  footer->type = lv_get_be32(in + AT_TYPE);
  footer->checksum = lv_get_be32(in + AT_CHECKSUM);
  memcpy(footer->uuid, in + AT_UUID, sizeof footer->uuid);
  footer->saved_state = in[AT_SAVED_STATE];
  footer->hidden = in[AT_HIDDEN];
}

enum lv_reason lv_footer_decode(struct lv_footer *footer,
                                const uint8_t in[LV_FOOTER_SIZE],
                                struct lvhd_finding *bad) {
  const unsigned both = LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL;
  uint32_t sum;

  if (memcmp(in, cookie, sizeof cookie) != 0)
    return lv_refuse(bad, LV_R_FOOTER_MISSING, 0, 0, 0, 0);
  read_fields(footer, in);
  sum = lv_checksum(in, LV_FOOTER_SIZE, AT_CHECKSUM);
  /* The second try takes the hidden byte as 0: the complement is larger by
   * what the sum is smaller. */
  if (footer->checksum != sum && footer->checksum != sum + footer->hidden)
    return lv_refuse(bad, LV_R_FOOTER_CHECKSUM, both, sum, footer->checksum,
                  AT_CHECKSUM);
  if (footer->version != VERSION)
    return lv_refuse(bad, LV_R_FORMAT_VERSION, both, VERSION, footer->version,
                  AT_VERSION);
  if (footer->type < LVHD_FIXED || footer->type > LVHD_DIFFERENCING)
    return lv_refuse(bad, LV_R_DISK_TYPE, LVHD_HAS_ACTUAL, 0, footer->type,
                  AT_TYPE);
  if (footer->current_size == 0 || footer->current_size % LV_SECTOR != 0 ||
      footer->current_size > INT64_MAX)
    return lv_refuse(bad, LV_R_FOOTER_CORRUPT, LVHD_HAS_ACTUAL, 0,
                  footer->current_size, AT_CURRENT_SIZE);
  return LV_R_NONE;
}
