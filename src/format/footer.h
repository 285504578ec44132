/* SPDX-License-Identifier: MIT
 *
 * The hard disk footer: 512 bytes at the end of every VHD and, but for
 * fixed disks, at its start (specification, "Hard Disk Footer Format").
 * Bytes only; no file.
 */
#ifndef LV_FORMAT_FOOTER_H
#define LV_FORMAT_FOOTER_H

#include <stdbool.h>

#include "base/error.h"
#include "format/geometry.h"

#define LV_FOOTER_SIZE 512
#define LV_FOOTER_GEOMETRY_AT 56 /* where it stands in the footer */
#define LV_SECTOR 512u
/* Seconds from 1970 to 2000-01-01 00:00:00 UTC, where the format begins. */
#define LV_EPOCH INT64_C(946684800)

struct lv_footer {
  uint32_t features;
  uint32_t version;
  uint64_t data_offset; /* bytes; all ones: fixed */
  uint32_t timestamp;   /* seconds since 2000 */
  uint8_t creator[4];
  uint32_t creator_version;
  uint8_t creator_os[4];
  uint64_t original_size; /* bytes */
  uint64_t current_size;  /* bytes */
  struct lv_geometry geometry;
  uint32_t type; /* enum lvhd_type once decoded */
  uint32_t checksum;
  uint8_t uuid[16];
  uint8_t saved_state;
  uint8_t hidden; /* byte 85: XenServer's flag */
};

/* What lvhd writes: features 2, version 1.0, "win " 10.0 "Wi2k", geometry of
 * size, data offset 512 or all ones.  The caller sets uuid and timestamp. */
void lv_footer_init(struct lv_footer *footer, enum lvhd_type type,
                    uint64_t size);

/* The creator is one whose size every QEMU takes as it is: from those of all
 * others one or the other version computes it of cylinders, heads, sectors. */
bool lv_footer_size_counts(const struct lv_footer *footer);

/* Makes us the creator. */
void lv_footer_set_creator(struct lv_footer *footer);

/* Fills out, checksum included; footer->checksum is not read. */
void lv_footer_encode(const struct lv_footer *footer,
                      uint8_t out[LV_FOOTER_SIZE]);

/* Sets the geometry in a footer that was read, and its checksum; all other
 * bytes stay as their writer left them. */
void lv_footer_set_geometry(uint8_t bytes[LV_FOOTER_SIZE],
                            struct lv_geometry geometry);

/* Reads and checks: cookie (FOOTER_MISSING), checksum (FOOTER_CHECKSUM, with
 * the hidden byte taken as 0 at a second try: blktap before 1.2 did not
 * count it), version (FORMAT_VERSION), type (DISK_TYPE), size a positive
 * multiple of 512 below 2^63 (FOOTER_CORRUPT, offset 48).
 * Returns LV_R_NONE, or the reason, with `bad` (may be NULL) filled with
 * expected, actual and offset within the footer. */
enum lv_reason lv_footer_decode(struct lv_footer *footer,
                                const uint8_t in[LV_FOOTER_SIZE],
                                struct lvhd_finding *bad);

/* Seconds since 1970 to the format's, clamped to what it can hold. */
uint32_t lv_timestamp(int64_t seconds);

/* The one's complement of the byte sum, with the 4 bytes at `skip` as 0
 * (specification, "Checksum"). */
uint32_t lv_checksum(const uint8_t *bytes, size_t n, size_t skip);

#endif
