/* SPDX-License-Identifier: MIT
 *
 * The rules of vhd-util check, 7-Zip, DiscUtils and others, one by one, each
 * with what it costs to break it.  Knows no file.
 */
#include "format/audit.h"

#include <string.h>

#include "base/bytes.h"
#include "base/utf.h"
#include "base/uuid.h"
#include "format/plan.h"

enum {
  HAS_OFFSET = LVHD_HAS_OFFSET,
  HAS_ACTUAL = LVHD_HAS_OFFSET | LVHD_HAS_ACTUAL,
  HAS_BOTH = LVHD_HAS_OFFSET | LVHD_HAS_ACTUAL | LVHD_HAS_EXPECTED
};

static void found(const struct lv_audit *a, enum lvhd_severity severity,
                  enum lv_reason reason, unsigned has, uint64_t expected,
                  uint64_t actual, uint64_t offset) {
  lv_finding(a->list, severity, reason, has, expected, actual, offset);
}

/* The first byte that is not `fill`, or n. */
static size_t unlike(const uint8_t *bytes, size_t n, uint8_t fill) {
  size_t i = 0;
  while (i < n && bytes[i] == fill)
    i++;
  return i;
}

/* ---- the footer ------------------------------------------------------ */

enum {
  AT_FEATURES = 8,
  AT_DATA_OFFSET = 16,
  AT_TIMESTAMP = 24,
  AT_CREATOR = 28,
  AT_CREATOR_VERSION = 32,
  AT_CURRENT_SIZE = 48,
  AT_GEOMETRY = 56,
  AT_UUID = 68,
  AT_SAVED_STATE = 84,
  AT_HIDDEN = 85,
  AT_RESERVED = 86
};

#define CLOCKS_DIFFER 1800 /* seconds, as vhd-util check has it */

static void audit_time(const struct lv_audit *a, uint32_t time, uint64_t at) {
  int64_t when = (int64_t)time + LV_EPOCH;
  if (when > a->now + CLOCKS_DIFFER)
    found(a, LVHD_WARNING, LV_R_TIME_FUTURE, HAS_BOTH, (uint64_t)a->now,
          (uint64_t)when, at);
}

static uint32_t packed(struct lv_geometry g) {
  return (uint32_t)g.cylinders << 16 | (uint32_t)g.heads << 8 | g.sectors;
}

/* Creators whose size every QEMU takes from the geometry (vhd-format 2.2). */
static bool size_by_geometry(const struct lv_footer *f) {
  return memcmp(f->creator, "vpc ", 4) == 0 ||
         memcmp(f->creator, "qemu", 4) == 0;
}

static void audit_geometry(const struct lv_audit *a) {
  const struct lv_footer *f = a->footer;
  const uint64_t most = UINT64_C(65535) * 16 * 255;
  uint32_t right = packed(lv_geometry(f->current_size / LV_SECTOR));
  uint64_t product = (uint64_t)f->geometry.cylinders * f->geometry.heads *
                     f->geometry.sectors;
  uint64_t at = a->footer_at + AT_GEOMETRY;
  if (packed(f->geometry) > right)
    /* the largest there is: how QEMU says that the size counts */
    found(a, product == most ? LVHD_NOTE : LVHD_WARNING, LV_R_GEOMETRY_LARGE, HAS_BOTH, right,
          packed(f->geometry), at);
  if (size_by_geometry(f) && product != most &&
      product * LV_SECTOR != f->current_size)
    found(a, LVHD_WARNING, LV_R_GEOMETRY_SIZE, HAS_BOTH, f->current_size,
          product * LV_SECTOR, at);
}

/* Version 0.1 has its bitmaps the other way round. */
static void audit_creator(const struct lv_audit *a) {
  const struct lv_footer *f = a->footer;
  uint64_t at = a->footer_at + AT_CREATOR_VERSION;
  if (memcmp(f->creator, "tap", 3) != 0)
    return;
  if (f->creator_version > 0x00010003)
    found(a, LVHD_WARNING, LV_R_TAP_VERSION, HAS_BOTH, 0x00010003,
          f->creator_version, at);
  else if (f->creator_version < 0x00010000)
    found(a, LVHD_ERROR, LV_R_TAP_VERSION, HAS_BOTH, 0x00010003,
          f->creator_version, at);
}

static void audit_marks(const struct lv_audit *a, const uint8_t *bytes) {
  const struct lv_footer *f = a->footer;
  size_t n = LV_FOOTER_SIZE - AT_RESERVED;
  size_t odd = unlike(bytes + AT_RESERVED, n, 0);
  if (f->saved_state != 0)
    found(a, f->saved_state == 1 ? LVHD_NOTE : LVHD_WARNING, LV_R_SAVED_STATE,
          HAS_ACTUAL, 0, f->saved_state, a->footer_at + AT_SAVED_STATE);
  if (f->hidden != 0)
    found(a, LVHD_WARNING, LV_R_HIDDEN, HAS_ACTUAL, 0, f->hidden,
          a->footer_at + AT_HIDDEN);
  if (odd < n)
    found(a, LVHD_WARNING, LV_R_FOOTER_RESERVED, HAS_BOTH, 0,
          bytes[AT_RESERVED + odd], a->footer_at + AT_RESERVED + odd);
}

/* A fixed disk has no header: all ones.  Others have it at 512. */
static void audit_data_offset(const struct lv_audit *a) {
  uint64_t right =
    a->footer->type == LVHD_FIXED ? UINT64_MAX : LV_FOOTER_SIZE;
  if (a->footer->data_offset != right)
    found(a, LVHD_WARNING, LV_R_DATA_OFFSET, HAS_BOTH, right,
          a->footer->data_offset, a->footer_at + AT_DATA_OFFSET);
}

void lv_audit_footer(const struct lv_audit *a,
                     const uint8_t bytes[LV_FOOTER_SIZE]) {
  const struct lv_footer *f = a->footer;
  if ((f->features & ~1u) != 2)
    found(a, LVHD_WARNING, LV_R_FEATURES, HAS_BOTH, 2, f->features,
          a->footer_at + AT_FEATURES);
  audit_data_offset(a);
  audit_time(a, f->timestamp, a->footer_at + AT_TIMESTAMP);
  audit_creator(a);
  if (f->current_size > (uint64_t)LV_SIZE_MAX)
    found(a, LVHD_WARNING, LV_R_SIZE_LIMIT, HAS_BOTH, (uint64_t)LV_SIZE_MAX,
          f->current_size, a->footer_at + AT_CURRENT_SIZE);
  audit_geometry(a);
  if (lv_uuid_is_nil(f->uuid))
    found(a, LVHD_WARNING, LV_R_UUID_NIL, HAS_OFFSET, 0, 0,
          a->footer_at + AT_UUID);
  audit_marks(a, bytes);
}

/* QEMU, 7-Zip and ocaml-vhd take the copy, others the end: where the two say
 * another disk, two readers see two disks. */
void lv_audit_copy(const struct lv_audit *a,
                   const uint8_t bytes[LV_FOOTER_SIZE],
                   const uint8_t copy[LV_FOOTER_SIZE]) {
  struct lv_footer other;
  const struct lv_footer *f = a->footer;
  enum lv_reason reason = lv_footer_decode(&other, copy, NULL);
  size_t at = 0;
  bool same = false;
  if (reason != LV_R_NONE) {
    found(a, LVHD_ERROR,
          reason == LV_R_FOOTER_MISSING ? LV_R_COPY_MISSING
                                        : LV_R_COPY_DAMAGED,
          HAS_OFFSET, 0, 0, 0);
    return;
  }
  while (at < LV_FOOTER_SIZE && bytes[at] == copy[at])
    at++;
  if (at == LV_FOOTER_SIZE)
    return;
  same = other.type == f->type && other.current_size == f->current_size &&
         other.data_offset == f->data_offset &&
         memcmp(other.uuid, f->uuid, sizeof other.uuid) == 0;
  found(a, same ? LVHD_WARNING : LVHD_ERROR, LV_R_FOOTERS_DIFFER, HAS_BOTH,
        bytes[at], copy[at], at);
}

/* ---- the header ------------------------------------------------------ */

enum {
  AT_NEXT = 8,
  AT_TABLE = 16,
  AT_ENTRIES = 28,
  AT_BLOCK_SIZE = 32,
  AT_PARENT_UUID = 40,
  AT_PARENT_TIME = 56,
  AT_RESERVED1 = 60,
  AT_LOCATORS = 576,
  LOCATOR_SIZE = 24,
  IN_LENGTH = 8, /* within an entry */
  IN_RESERVED = 12,
  IN_OFFSET = 16,
  AT_RESERVED2 = 768
};

static uint64_t header_at(const struct lv_audit *a, size_t field) {
  return a->footer->data_offset + field;
}

static void audit_reserved(const struct lv_audit *a, const uint8_t *bytes,
                           size_t from, size_t n) {
  size_t odd = unlike(bytes + from, n, 0);
  if (odd < n)
    found(a, LVHD_WARNING, LV_R_HEADER_RESERVED, HAS_BOTH, 0,
          bytes[from + odd], header_at(a, from + odd));
}

static void audit_table(const struct lv_audit *a) {
  const struct lv_header *h = a->header;
  uint64_t needed = lv_block_count(a->footer->current_size, h->block_size);
  uint64_t head = a->footer->data_offset;
  uint64_t end = h->table_offset + (uint64_t)h->entries * 4;
  if (h->block_size != LV_BLOCK_SIZE && h->block_size != LV_BLOCK_SMALL)
    found(a, LVHD_NOTE, LV_R_BLOCK_SIZE_RARE, HAS_BOTH, LV_BLOCK_SIZE,
          h->block_size, header_at(a, AT_BLOCK_SIZE));
  if (h->entries > needed)
    found(a, LVHD_WARNING, LV_R_ENTRIES_NOT_EXACT, HAS_BOTH, needed,
          h->entries, header_at(a, AT_ENTRIES));
  if (h->table_offset > a->length || end > a->length)
    return; /* which ends the opening */
  if (h->table_offset < LV_FOOTER_SIZE || end > a->data_end ||
      (h->table_offset < head + LV_HEADER_SIZE && head < end))
    found(a, LVHD_ERROR, LV_R_BAT_OVERLAP, HAS_BOTH, head + LV_HEADER_SIZE,
          h->table_offset, header_at(a, AT_TABLE));
}

/* ---- the parent's fields --------------------------------------------- */

static void audit_orphan(const struct lv_audit *a, const uint8_t *bytes) {
  size_t n = AT_RESERVED1 - AT_PARENT_UUID;
  size_t m = AT_RESERVED2 - LV_HEADER_NAME_AT;
  size_t odd = unlike(bytes + AT_PARENT_UUID, n, 0);
  if (odd < n) {
    odd += AT_PARENT_UUID;
  } else {
    odd = unlike(bytes + LV_HEADER_NAME_AT, m, 0);
    if (odd == m)
      return;
    odd += LV_HEADER_NAME_AT;
  }
  found(a, LVHD_WARNING, LV_R_PARENT_FIELDS, HAS_OFFSET, 0, 0,
        header_at(a, odd));
}

/* The units of the name before the first NUL, in bytes. */
static size_t name_size(const uint8_t *name) {
  size_t n = 0;
  while (n < LV_NAME_FIELD && (name[n] != 0 || name[n + 1] != 0))
    n += 2;
  return n;
}

static void audit_name(const struct lv_audit *a) {
  const uint8_t *name = a->header->parent_name;
  char text[LV_NAME_TEXT];
  bool little = lv_header_name(name, text);
  size_t n = name_size(name);
  size_t bad = lv_utf16_check(name, n, !little);
  if (n == 0)
    found(a, LVHD_WARNING, LV_R_NAME_EMPTY, HAS_OFFSET, 0, 0,
          header_at(a, LV_HEADER_NAME_AT));
  if (bad < n)
    found(a, LVHD_WARNING, LV_R_NAME_UNDECODABLE, HAS_OFFSET, 0, 0,
          header_at(a, LV_HEADER_NAME_AT + bad));
  if (strpbrk(text, "/\\") != NULL)
    found(a, LVHD_WARNING, LV_R_NAME_NOT_BARE, HAS_OFFSET, 0, 0,
          header_at(a, LV_HEADER_NAME_AT));
}

static void audit_child(const struct lv_audit *a) {
  const struct lv_header *h = a->header;
  bool named = name_size(h->parent_name) > 0;
  for (unsigned i = 0; i < LV_LOCATORS; i++)
    named |= lv_get_be32(h->locators[i].code) != 0;
  audit_time(a, h->parent_timestamp, header_at(a, AT_PARENT_TIME));
  if (lv_uuid_is_nil(h->parent_uuid))
    found(a, LVHD_WARNING, LV_R_PARENT_UUID_NIL, HAS_OFFSET, 0, 0,
          header_at(a, AT_PARENT_UUID));
  if (named)
    audit_name(a);
  else
    found(a, LVHD_ERROR, LV_R_PARENT_UNNAMED, HAS_OFFSET, 0, 0,
          header_at(a, LV_HEADER_NAME_AT));
}

/* ---- locators -------------------------------------------------------- */

static uint64_t entry_at(const struct lv_audit *a, unsigned i, size_t field) {
  return header_at(a, AT_LOCATORS + i * LOCATOR_SIZE + field);
}

static bool is_wide(const struct lv_locator_entry *e) {
  return memcmp(e->code, "W2ru", 4) == 0 || memcmp(e->code, "W2ku", 4) == 0;
}

static bool is_known(const struct lv_locator_entry *e) {
  return is_wide(e) || memcmp(e->code, "Wi2r", 4) == 0 ||
         memcmp(e->code, "Wi2k", 4) == 0 || memcmp(e->code, "Mac ", 4) == 0 ||
         memcmp(e->code, "MacX", 4) == 0;
}

static void audit_code(const struct lv_audit *a, unsigned i) {
  const struct lv_locator_entry *e = &a->header->locators[i];
  uint32_t code = lv_get_be32(e->code);
  if (!is_known(e))
    found(a, LVHD_WARNING, LV_R_LOCATOR_CODE, HAS_ACTUAL, 0, code,
          entry_at(a, i, 0));
  for (unsigned k = 0; k < i; k++) {
    if (lv_get_be32(a->header->locators[k].code) != code)
      continue;
    found(a, LVHD_WARNING, LV_R_LOCATOR_TWICE, HAS_ACTUAL, 0, code,
          entry_at(a, i, 0));
    break;
  }
}

/* Less than 512 is taken as sectors, which is what the specification says;
 * all but a few write bytes. */
static void audit_extent(const struct lv_audit *a, unsigned i) {
  const struct lv_locator_entry *e = &a->header->locators[i];
  uint64_t space =
    e->space < LV_SECTOR ? (uint64_t)e->space * LV_SECTOR : e->space;
  if (space == 0 || space % LV_SECTOR != 0 || space < e->length)
    found(a, LVHD_WARNING, LV_R_LOCATOR_SPACE, HAS_BOTH,
          lv_round_up(e->length, LV_SECTOR), e->space, entry_at(a, i, 4));
  if (e->length == 0 || e->length > LV_LOCATOR_READ ||
      (is_wide(e) && e->length % 2 != 0))
    found(a, LVHD_WARNING, LV_R_LOCATOR_LENGTH, HAS_ACTUAL, 0, e->length,
          entry_at(a, i, IN_LENGTH));
}

static bool is_inside(const struct lv_audit *a,
                      const struct lv_locator_entry *e) {
  return e->offset <= a->length && e->length <= a->length - e->offset;
}

static bool meets(const struct lv_locator_entry *e, uint64_t from,
                  uint64_t length) {
  return length != 0 && e->length != 0 && e->offset < from + length &&
         from < e->offset + e->length;
}

/* Called for texts inside the file, and so is the BAT. */
static void audit_place(const struct lv_audit *a, unsigned i) {
  const struct lv_header *h = a->header;
  const struct lv_locator_entry *e = &h->locators[i];
  bool bad = meets(e, 0, LV_FOOTER_SIZE) ||
             meets(e, a->footer->data_offset, LV_HEADER_SIZE) ||
             meets(e, h->table_offset, (uint64_t)h->entries * 4) ||
             meets(e, a->data_end, a->length - a->data_end);
  for (unsigned k = 0; k < i; k++) {
    const struct lv_locator_entry *other = &h->locators[k];
    if (lv_get_be32(other->code) != 0 && is_inside(a, other))
      bad |= meets(e, other->offset, other->length);
  }
  if (bad)
    found(a, LVHD_ERROR, LV_R_LOCATOR_OVERLAP, HAS_ACTUAL, 0, e->offset,
          entry_at(a, i, IN_OFFSET));
}

static void audit_entry(const struct lv_audit *a, const uint8_t *bytes,
                        unsigned i) {
  const struct lv_locator_entry *e = &a->header->locators[i];
  size_t from = AT_LOCATORS + i * LOCATOR_SIZE;
  if (lv_get_be32(e->code) == 0) {
    if (unlike(bytes + from, LOCATOR_SIZE, 0) < LOCATOR_SIZE)
      found(a, LVHD_WARNING, LV_R_LOCATOR_UNUSED, HAS_OFFSET, 0, 0,
            entry_at(a, i, 0));
    return;
  }
  audit_reserved(a, bytes, from + IN_RESERVED, 4);
  audit_code(a, i);
  audit_extent(a, i);
  if (!is_inside(a, e))
    found(a, LVHD_ERROR, LV_R_LOCATOR_OUTSIDE, HAS_BOTH, a->length, e->offset,
          entry_at(a, i, IN_OFFSET));
  else
    audit_place(a, i);
}

void lv_audit_header(const struct lv_audit *a,
                     const uint8_t bytes[LV_HEADER_SIZE]) {
  uint64_t next = lv_get_be64(bytes + AT_NEXT);
  if (next != UINT64_MAX)
    found(a, LVHD_WARNING, LV_R_HEADER_DATA_OFFSET, HAS_BOTH, UINT64_MAX,
          next, header_at(a, AT_NEXT));
  audit_reserved(a, bytes, AT_RESERVED1, 4);
  audit_reserved(a, bytes, AT_RESERVED2, LV_HEADER_SIZE - AT_RESERVED2);
  audit_table(a);
  if (a->footer->type != LVHD_DIFFERENCING) {
    audit_orphan(a, bytes);
    return;
  }
  audit_child(a);
  for (unsigned i = 0; i < LV_LOCATORS; i++)
    audit_entry(a, bytes, i);
}

/* ---- texts ----------------------------------------------------------- */

/* What stands behind the last separator. */
static const char *last_name(const char *text) {
  const char *name = text;
  for (; *text != '\0'; text++)
    if (*text == '/' || *text == '\\')
      name = text + 1;
  return name;
}

static void audit_wide(const struct lv_audit *a, uint64_t at,
                       const uint8_t *text, size_t n, const char *name) {
  char decoded[LV_LOCATOR_READ / 2 * 3 + 1];
  size_t bad = lv_utf16_check(text, n, false);
  if (bad < n)
    found(a, LVHD_WARNING, LV_R_LOCATOR_TEXT, HAS_OFFSET, 0, 0, at + bad);
  n -= n % 2;
  if (n >= 2 && text[n - 1] == 0 && text[n - 2] == 0)
    found(a, LVHD_WARNING, LV_R_LOCATOR_TERMINATED, HAS_OFFSET, 0, 0,
          at + n - 2);
  lv_utf16_decode(text, n, false, decoded);
  if (name[0] != '\0' && strcmp(last_name(decoded), last_name(name)) != 0)
    found(a, LVHD_WARNING, LV_R_NAME_DIFFERS, HAS_OFFSET, 0, 0, at);
}

/* "file:" and UTF-8; a text with percent signs may be one or the other. */
static void audit_url(const struct lv_audit *a, uint64_t at,
                      const uint8_t *text, size_t n, const char *name) {
  const char *url = (const char *)text;
  size_t length = strnlen(url, n);
  size_t m = strlen(name);
  if (n < 5 || memcmp(url, "file:", 5) != 0 || lv_utf8_check(url, n) < n)
    found(a, LVHD_WARNING, LV_R_LOCATOR_TEXT, HAS_OFFSET, 0, 0, at);
  else if (m != 0 && strpbrk(name, "/\\") == NULL &&
           memchr(url, '%', n) == NULL &&
           (length <= m || url[length - m - 1] != '/' ||
            memcmp(url + length - m, name, m) != 0))
    found(a, LVHD_WARNING, LV_R_NAME_DIFFERS, HAS_OFFSET, 0, 0, at);
}

void lv_audit_locator(const struct lv_audit *a, unsigned i,
                      const uint8_t *text, size_t n, const char *name) {
  const struct lv_locator_entry *e = &a->header->locators[i];
  if (is_wide(e)) {
    audit_wide(a, e->offset, text, n, name);
    return;
  }
  if (n > 0 && text[n - 1] == 0 && memcmp(e->code, "Mac ", 4) != 0)
    found(a, LVHD_WARNING, LV_R_LOCATOR_TERMINATED, HAS_OFFSET, 0, 0,
          e->offset + n - 1);
  if (memcmp(e->code, "MacX", 4) == 0)
    audit_url(a, e->offset, text, n, name);
}

/* ---- behind the BAT -------------------------------------------------- */

void lv_audit_padding(const struct lv_audit *a, const uint8_t *bytes,
                      size_t n) {
  size_t odd = unlike(bytes, n, 0xFF);
  if (odd < n)
    found(a, LVHD_NOTE, LV_R_BAT_PADDING, HAS_BOTH, 0xFF, bytes[odd],
          a->header->table_offset + (uint64_t)a->header->entries * 4 + odd);
}

uint64_t lv_batmap_at(const struct lv_footer *footer,
                      const struct lv_header *header) {
  if (memcmp(footer->creator, "tap", 3) != 0 ||
      footer->creator_version < 0x00010002)
    return 0;
  return lv_round_up(header->table_offset + (uint64_t)header->entries * 4,
                     LV_SECTOR);
}

bool lv_batmap_decode(struct lv_batmap *map,
                      const uint8_t bytes[LV_BATMAP_SIZE]) {
  map->map_at = lv_get_be64(bytes + 8);
  map->map_size = (uint64_t)lv_get_be32(bytes + 16) * LV_SECTOR;
  map->version = lv_get_be32(bytes + 20);
  map->checksum = lv_get_be32(bytes + 24);
  return memcmp(bytes, "tdbatmap", 8) == 0;
}
