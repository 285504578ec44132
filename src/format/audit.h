/* SPDX-License-Identifier: MIT
 *
 * What is odd about footers, header and locators though they can be read:
 * bytes in, findings out, none of which ends the looking.  Bytes only; who
 * read them, and what the blocks hold, is the business of image.
 *
 * An error: a reader would take other data, or refuse the file, and the
 * specification forbids what was found.  A warning: suspicious, or known to
 * be refused by someone.  A note: rare, and right.
 */
#ifndef LV_FORMAT_AUDIT_H
#define LV_FORMAT_AUDIT_H

#include "base/findings.h"
#include "format/footer.h"
#include "format/header.h"

/* What is known of the file. */
struct lv_audit {
  struct lv_findings *list;
  const struct lv_footer *footer; /* the one that counts */
  uint64_t footer_at;
  const struct lv_header *header; /* NULL: fixed, or not readable */
  uint64_t length;                /* of the file */
  uint64_t data_end;              /* see struct lv_image */
  int64_t now;                    /* seconds since 1970 */
};

/* The footer that counts; a short one ends in a zero. */
void lv_audit_footer(const struct lv_audit *a,
                     const uint8_t bytes[LV_FOOTER_SIZE]);

/* The footer at the end against its copy at 0. */
void lv_audit_copy(const struct lv_audit *a,
                   const uint8_t bytes[LV_FOOTER_SIZE],
                   const uint8_t copy[LV_FOOTER_SIZE]);

/* The header, its locator entries, and the places that they name. */
void lv_audit_header(const struct lv_audit *a,
                     const uint8_t bytes[LV_HEADER_SIZE]);

/* The text of locator i; name: the decoded name field. */
void lv_audit_locator(const struct lv_audit *a, unsigned i,
                      const uint8_t *text, size_t n, const char *name);

/* What follows the last entry of the BAT to the end of its sector. */
void lv_audit_padding(const struct lv_audit *a, const uint8_t *bytes,
                      size_t n);

/* XenServer's map of full blocks: where its header stands, or 0: the creator
 * has none; its 512 bytes; and its map, with the checksum of a sound one. */
#define LV_BATMAP_SIZE 512
uint64_t lv_batmap_at(const struct lv_footer *footer,
                      const struct lv_header *header);
struct lv_batmap {
  uint64_t map_at; /* bytes */
  uint64_t map_size;
  uint32_t version, checksum;
};
bool lv_batmap_decode(struct lv_batmap *map,
                      const uint8_t bytes[LV_BATMAP_SIZE]);

#endif
