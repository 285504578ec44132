/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/format/audit and profile on bytes that no file here
 * holds, of sorting, and of the name field.  Touches no disk; whole files are
 * judged by check_spec.lua.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/sort.h"
#include "base/utf.h"
#include "check.h"
#include "format/audit.h"
#include "format/plan.h"
#include "format/profile.h"

#define NOW 1800000000
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A good child, as lvhd writes it, to be made odd. */
struct disk {
  struct lv_plan plan;
  struct lv_findings list;
  struct lv_audit a;
};

static void good(struct disk *d) {
  struct lv_plan_in in = {.type = LVHD_DIFFERENCING,
                          .size = UINT64_C(64) << 20,
                          .block_size = LV_BLOCK_SIZE,
                          .relative = "../base.vhd",
                          .timestamp = 1000,
                          .parent_timestamp = 999};
  memset(d, 0, sizeof *d);
  memset(in.uuid, 7, sizeof in.uuid);
  memset(in.parent_uuid, 8, sizeof in.parent_uuid);
  CHECK(lv_plan(&d->plan, &in, NULL) == 0);
  d->a = (struct lv_audit){.list = &d->list,
                           .footer = &d->plan.fields,
                           .footer_at = d->plan.footer_offset,
                           .header = &d->plan.header,
                           .length = d->plan.file_size,
                           .data_end = d->plan.footer_offset,
                           .now = NOW};
}

/* Audits all, from the fields as they are now. */
static void audit(struct disk *d) {
  uint8_t footer[LV_FOOTER_SIZE], header[LV_HEADER_SIZE];
  lv_findings_free(&d->list);
  lv_footer_encode(&d->plan.fields, footer);
  lv_header_encode(&d->plan.header, header);
  lv_audit_footer(&d->a, footer);
  lv_audit_header(&d->a, header);
}

static bool only(const struct disk *d, enum lv_reason reason,
                 enum lvhd_severity severity, uint64_t offset) {
  return d->list.count == 1 && d->list.items[0].reason == (int)reason &&
         d->list.items[0].severity == severity &&
         d->list.items[0].offset == offset;
}

static void test_good(void) {
  struct disk d;
  good(&d);
  audit(&d);
  CHECK_INT(d.list.count, 0);
}

/* Half an hour is what clocks may differ. */
static void test_time(void) {
  struct disk d;
  good(&d);
  d.plan.fields.timestamp = (uint32_t)(NOW - LV_EPOCH + 1800);
  audit(&d);
  CHECK_INT(d.list.count, 0);
  d.plan.fields.timestamp++;
  audit(&d);
  CHECK(only(&d, LV_R_TIME_FUTURE, LVHD_WARNING, d.a.footer_at + 24));
  CHECK_INT(d.list.items[0].expected, NOW);
  CHECK_INT(d.list.items[0].actual, NOW + 1801);
  d.plan.fields.timestamp = 0;
  d.plan.header.parent_timestamp = UINT32_MAX;
  audit(&d);
  CHECK(only(&d, LV_R_TIME_FUTURE, LVHD_WARNING, 512 + 56));
  lv_findings_free(&d.list);
}

static void test_geometry(void) {
  static const struct {
    uint16_t c;
    uint8_t h, s;
    bool odd;
  } rows[] = {{963, 8, 17, false},      {963, 8, 16, false},
              {963, 8, 18, true},       {963, 9, 1, true},
              {964, 1, 1, true},        {0, 0, 0, false},
              {65535, 16, 255, true}};
  struct disk d;
  good(&d);
  for (size_t i = 0; i < COUNT(rows); i++) {
    d.plan.fields.geometry =
      (struct lv_geometry){rows[i].c, rows[i].h, rows[i].s};
    audit(&d);
    CHECK_INT(d.list.count, rows[i].odd);
    if (rows[i].odd)
      CHECK(only(&d, LV_R_GEOMETRY_LARGE,
                 rows[i].s == 255 ? LVHD_NOTE : LVHD_WARNING,
                 d.a.footer_at + 56));
  }
  /* Who takes the size from it sees another disk, but for the largest. */
  memcpy(d.plan.fields.creator, "vpc ", 4);
  d.plan.fields.geometry = (struct lv_geometry){963, 8, 17};
  audit(&d);
  CHECK(only(&d, LV_R_GEOMETRY_SIZE, LVHD_WARNING, d.a.footer_at + 56));
  CHECK_INT(d.list.items[0].actual, UINT64_C(130968) * 512);
  d.plan.fields.geometry = (struct lv_geometry){65535, 16, 255};
  audit(&d);
  CHECK(only(&d, LV_R_GEOMETRY_LARGE, LVHD_NOTE, d.a.footer_at + 56));
  lv_findings_free(&d.list);
}

/* Sectors as the specification has it, bytes as all write it. */
static void test_space(void) {
  static const struct {
    uint32_t space, length;
    bool odd;
  } rows[] = {{1, 26, false},    {2, 1022, false}, {1, 514, true},
              {0, 26, true},     {511, 26, false}, {512, 26, false},
              {513, 26, true},   {512, 514, true}, {1024, 1022, false},
              {UINT32_MAX, 26, true}};
  struct disk d;
  good(&d);
  for (size_t i = 0; i < COUNT(rows); i++) {
    d.plan.header.locators[0].space = rows[i].space;
    d.plan.header.locators[0].length = rows[i].length;
    audit(&d);
    CHECK_INT(d.list.count, rows[i].odd);
    if (rows[i].odd)
      CHECK(only(&d, LV_R_LOCATOR_SPACE, LVHD_WARNING, 512 + 576 + 4));
  }
  lv_findings_free(&d.list);
}

/* The first byte that is not free, and the last that is. */
static void test_places(void) {
  struct disk d;
  struct lv_locator_entry *e = NULL;
  static const uint64_t taken[] = {0,      511,    1535,   0x1000,
                                   0x2000, 0x207F, 0x2200};
  static const uint64_t is_free[] = {1536, 0x1400, 0x1FFF, 0x2080, 0x21FF};
  good(&d);
  e = &d.plan.header.locators[1];
  e->length = 1;
  for (size_t i = 0; i < COUNT(is_free); i++) {
    e->offset = is_free[i];
    audit(&d);
    CHECK_INT(d.list.count, 0);
  }
  for (size_t i = 0; i < COUNT(taken); i++) {
    e->offset = taken[i];
    audit(&d);
    CHECK(only(&d, LV_R_LOCATOR_OVERLAP, LVHD_ERROR, 512 + 576 + 24 + 16));
  }
  e->offset = d.a.length;
  audit(&d);
  CHECK(only(&d, LV_R_LOCATOR_OUTSIDE, LVHD_ERROR, 512 + 576 + 24 + 16));
  e->offset = UINT64_MAX;
  audit(&d);
  CHECK(only(&d, LV_R_LOCATOR_OUTSIDE, LVHD_ERROR, 512 + 576 + 24 + 16));
  lv_findings_free(&d.list);
}

static void test_table(void) {
  struct disk d;
  good(&d);
  d.plan.header.table_offset = d.a.data_end - 128;
  audit(&d);
  CHECK_INT(d.list.count, 0);
  d.plan.header.table_offset = d.a.data_end - 127;
  audit(&d);
  CHECK(only(&d, LV_R_BAT_OVERLAP, LVHD_ERROR, 512 + 16));
  d.plan.header.table_offset = 0; /* over the footer's copy */
  audit(&d);
  CHECK(only(&d, LV_R_BAT_OVERLAP, LVHD_ERROR, 512 + 16));
  d.plan.header.table_offset = UINT64_MAX - 511; /* refused elsewhere */
  audit(&d);
  CHECK_INT(d.list.count, 0);
  lv_findings_free(&d.list);
}

static void put_name(struct disk *d, const char *name, bool big) {
  uint8_t *field = d->plan.header.parent_name;
  memset(field, 0, LV_NAME_FIELD);
  lv_utf16_encode(name, strlen(name), big, field, LV_NAME_FIELD);
}

static void test_names(void) {
  static const struct {
    const char *name;
    bool big, little;
  } rows[] = {
    {"base.vhd", true, false},     {"base.vhd", false, true},
    {"größe.vhd", false, true},    {"\xE6\x84\x80.vhd", true, false},
    {"\xE6\x84\x80", true, false}, {"", true, false},
  };
  struct disk d;
  char out[LV_NAME_TEXT];
  good(&d);
  for (size_t i = 0; i < COUNT(rows); i++) {
    put_name(&d, rows[i].name, rows[i].big);
    /* U+6100 alone may be either: big-endian is the rule. */
    if (strcmp(rows[i].name, "\xE6\x84\x80") == 0)
      put_name(&d, "\xE6\x84\x81", true);
    CHECK(lv_header_name(d.plan.header.parent_name, out) == rows[i].little);
    if (rows[i].little)
      CHECK_STR(out, rows[i].name);
  }
  memset(d.plan.header.parent_name, 'x', LV_NAME_FIELD);
  CHECK(!lv_header_name(d.plan.header.parent_name, out));
  CHECK_INT(strlen(out), LV_NAME_FIELD / 2 * 3); /* U+7878, no NUL */
  audit(&d);
  CHECK_INT(d.list.count, 0);
  d.plan.header.parent_name[LV_NAME_FIELD - 2] = 0xD8; /* half a pair */
  audit(&d);
  CHECK(only(&d, LV_R_NAME_UNDECODABLE, LVHD_WARNING,
             512 + LV_HEADER_NAME_AT + LV_NAME_FIELD - 2));
  lv_findings_free(&d.list);
}

static void test_texts(void) {
  static const struct {
    unsigned locator;
    const char *text;
    size_t n;
    int reason;
    uint64_t offset;
  } rows[] = {
    {0, ".\0\\\0x\0", 6, 0, 0},
    {0, "x\0\0\0", 4, LV_R_LOCATOR_TERMINATED, 0x1002},
    {0, "x\0\0\0y", 5, LV_R_LOCATOR_TERMINATED, 0x1002},
    {0, "x\0\0\xDC", 4, LV_R_LOCATOR_TEXT, 0x1002},
    {0, "x\0\0\xD8\0\xDC", 6, 0, 0},
    {0, "x\0\0\xD8y\0", 6, LV_R_LOCATOR_TEXT, 0x1002},
    {0, "", 0, 0, 0},
    {1, "file:x", 6, 0, 0},
    {1, "file", 4, LV_R_LOCATOR_TEXT, 0x1800},
    {1, "file:\xFF", 6, LV_R_LOCATOR_TEXT, 0x1800},
    {1, "", 0, LV_R_LOCATOR_TEXT, 0x1800},
  };
  struct disk d;
  good(&d);
  for (size_t i = 0; i < COUNT(rows); i++) {
    lv_findings_free(&d.list);
    lv_audit_locator(&d.a, rows[i].locator, (const uint8_t *)rows[i].text,
                     rows[i].n, "");
    CHECK_INT(d.list.count, rows[i].reason != 0);
    if (rows[i].reason != 0)
      CHECK(only(&d, (enum lv_reason)rows[i].reason, LVHD_WARNING,
                 rows[i].offset));
  }
  lv_findings_free(&d.list);
}

static void test_url_names(void) {
  static const struct {
    const char *url;
    bool differs;
  } rows[] = {
    {"file://./base.vhd", false}, {"file:///a/base.vhd", false},
    {"file://./abase.vhd", true}, {"base.vhd", true},
    {"file:base.vhd", true},      {"file://./b%61se.vhd", false},
    {"file://./base.vhd2", true}, {"file:/base.vhd", false},
  };
  struct disk d;
  good(&d);
  for (size_t i = 0; i < COUNT(rows); i++) {
    lv_findings_free(&d.list);
    lv_audit_locator(&d.a, 1, (const uint8_t *)rows[i].url,
                     strlen(rows[i].url), "base.vhd");
    CHECK_INT(d.list.count, rows[i].differs);
  }
  lv_findings_free(&d.list);
}

/* ---- where a rule begins ------------------------------------------------- */

static void again(struct disk *d) {
  lv_findings_free(&d->list);
  good(d);
}

static const struct lvhd_finding *find(const struct disk *d, int reason) {
  for (size_t i = 0; i < d->list.count; i++)
    if (d->list.items[i].reason == reason)
      return &d->list.items[i];
  return NULL;
}

static void test_footer_limits(void) {
  struct disk d;
  good(&d);
  memcpy(d.plan.fields.creator, "tap", 4);
  for (uint32_t version = 0xFFFF; version <= 0x10004; version++) {
    const struct lvhd_finding *f = NULL;
    d.plan.fields.creator_version = version;
    audit(&d);
    f = find(&d, LV_R_TAP_VERSION);
    CHECK((f != NULL) == (version < 0x10000 || version > 0x10003));
    if (f)
      CHECK_INT(f->severity,
                version < 0x10000 ? LVHD_ERROR : LVHD_WARNING);
    CHECK_INT(lv_batmap_at(&d.plan.fields, &d.plan.header),
              version >= 0x10002 ? 0x2200 : 0);
  }
  again(&d);
  lv_footer_init(&d.plan.fields, LVHD_DIFFERENCING, LV_SIZE_MAX);
  memset(d.plan.fields.uuid, 7, 16);
  d.plan.header.entries = 0; /* too few, which others tell */
  audit(&d);
  CHECK_INT(d.list.count, 0);
  lv_footer_init(&d.plan.fields, LVHD_DIFFERENCING, LV_SIZE_MAX + 512);
  memset(d.plan.fields.uuid, 7, 16);
  audit(&d);
  CHECK(only(&d, LV_R_SIZE_LIMIT, LVHD_WARNING, d.a.footer_at + 48));
  lv_findings_free(&d.list);
}

/* Those whose size all take from the geometry. */
static void test_size_by_geometry(void) {
  struct disk d;
  good(&d);
  d.plan.fields.geometry = (struct lv_geometry){963, 8, 17};
  memcpy(d.plan.fields.creator, "qemu", 4);
  audit(&d);
  CHECK(only(&d, LV_R_GEOMETRY_SIZE, LVHD_WARNING, d.a.footer_at + 56));
  d.plan.fields.current_size = UINT64_C(963) * 8 * 17 * 512;
  audit(&d);
  CHECK_INT(d.list.count, 0);
  d.plan.fields.current_size = UINT64_C(64) << 20;
  d.plan.fields.geometry = (struct lv_geometry){65535, 16, 255};
  audit(&d);
  CHECK(only(&d, LV_R_GEOMETRY_LARGE, LVHD_NOTE, d.a.footer_at + 56));
  lv_findings_free(&d.list);
}

/* A copy that says something else is worse than one that differs. */
static void test_copy(void) {
  static const struct {
    size_t at;
    bool worse;
  } rows[] = {{16 + 7, true}, {24, false}, {28, false}, {40 + 6, false},
              {48 + 6, true}, {56, false}, {60 + 3, true}, {68, true},
              {68 + 15, true}, {84, false}, {300, false}, {511, false}};
  struct disk d;
  uint8_t bytes[LV_FOOTER_SIZE], copy[LV_FOOTER_SIZE];
  good(&d);
  lv_footer_encode(&d.plan.fields, bytes);
  for (size_t i = 0; i < COUNT(rows); i++) {
    memcpy(copy, bytes, sizeof copy);
    copy[rows[i].at] ^= 2;
    if (rows[i].at == 63)
      copy[63] = LVHD_DYNAMIC;
    lv_put_be32(copy + 64, lv_checksum(copy, sizeof copy, 64));
    lv_findings_free(&d.list);
    lv_audit_copy(&d.a, bytes, copy);
    CHECK_INT(d.list.count, 1);
    CHECK(find(&d, LV_R_FOOTERS_DIFFER) != NULL);
    CHECK_INT(d.list.items[0].severity,
              rows[i].worse ? LVHD_ERROR : LVHD_WARNING);
  }
  lv_findings_free(&d.list);
  lv_audit_copy(&d.a, bytes, bytes);
  CHECK_INT(d.list.count, 0);
}

/* The BAT against the header and the ends of the file. */
static void test_table_limits(void) {
  struct disk d;
  good(&d);
  d.plan.header.table_offset = 0;
  audit(&d);
  CHECK(only(&d, LV_R_BAT_OVERLAP, LVHD_ERROR, 512 + 16));
  /* To the end of the file, which is behind the data; and farther. */
  d.plan.header.table_offset = d.a.length - 128;
  audit(&d);
  CHECK(only(&d, LV_R_BAT_OVERLAP, LVHD_ERROR, 512 + 16));
  d.plan.header.table_offset++;
  audit(&d);
  CHECK_INT(d.list.count, 0);
  /* So far that its end is inside again. */
  d.plan.header.table_offset = UINT64_MAX - 511;
  d.plan.header.entries = (uint32_t)((d.a.length + 512) / 4);
  audit(&d);
  CHECK(only(&d, LV_R_ENTRIES_NOT_EXACT, LVHD_WARNING, 512 + 28));
  /* One of no length, at the end of the file. */
  d.plan.header.table_offset = d.a.length;
  d.plan.header.entries = 0;
  audit(&d);
  CHECK(only(&d, LV_R_BAT_OVERLAP, LVHD_ERROR, 512 + 16));
  /* Before the header, and up to it. */
  again(&d);
  d.plan.header.table_offset = 512;
  d.plan.fields.data_offset = 512 + 128;
  audit(&d);
  CHECK(only(&d, LV_R_DATA_OFFSET, LVHD_WARNING, d.a.footer_at + 16));
  d.plan.fields.data_offset--;
  audit(&d);
  CHECK(find(&d, LV_R_BAT_OVERLAP) != NULL);
  lv_findings_free(&d.list);
}

static void test_locator_limits(void) {
  static const char known[][5] = {"W2ru", "W2ku", "Wi2r", "Wi2k", "MacX",
                                  "Mac "};
  struct disk d;
  struct lv_locator_entry *e = NULL, *other = NULL;
  const uint64_t at = 512 + 576;
  good(&d);
  other = &d.plan.header.locators[0];
  e = &d.plan.header.locators[1];
  for (size_t i = 1; i < COUNT(known); i++) {
    memcpy(e->code, known[i], 4);
    e->length = 4;
    audit(&d);
    CHECK_INT(d.list.count, 0);
  }
  memcpy(e->code, "mac ", 4);
  audit(&d);
  CHECK(only(&d, LV_R_LOCATOR_CODE, LVHD_WARNING, at + 24));
  /* As long as it is read, and longer. */
  again(&d);
  d.a.length += 8192;
  d.a.data_end += 8192;
  e->offset = 0x2200;
  e->space = 8192;
  e->length = LV_LOCATOR_READ;
  audit(&d);
  CHECK_INT(d.list.count, 0);
  e->length++;
  audit(&d);
  CHECK(only(&d, LV_R_LOCATOR_LENGTH, LVHD_WARNING, at + 24 + 8));
  /* Up to the end of the file it is inside; farther it is not. */
  again(&d);
  e->offset = d.a.length - 4;
  e->length = 4;
  audit(&d);
  CHECK(only(&d, LV_R_LOCATOR_OVERLAP, LVHD_ERROR, at + 24 + 16));
  e->length = 5;
  audit(&d);
  CHECK(only(&d, LV_R_LOCATOR_OUTSIDE, LVHD_ERROR, at + 24 + 16));
  /* What has no bytes has no place, nor is there one in it. */
  e->length = 0;
  e->offset = d.a.length;
  audit(&d);
  CHECK(only(&d, LV_R_LOCATOR_LENGTH, LVHD_WARNING, at + 24 + 8));
  e->offset = 600;
  audit(&d);
  CHECK(only(&d, LV_R_LOCATOR_LENGTH, LVHD_WARNING, at + 24 + 8));
  e->space = 0;
  audit(&d);
  CHECK_INT(d.list.count, 2);
  CHECK(find(&d, LV_R_LOCATOR_SPACE) != NULL);
  again(&d);
  e->offset = other->offset - 2;
  e->length = 4;
  other->length = 0;
  audit(&d);
  CHECK(only(&d, LV_R_LOCATOR_LENGTH, LVHD_WARNING, at + 8));
  /* What has no code has no place either. */
  again(&d);
  e->offset = other->offset;
  memset(other->code, 0, 4);
  audit(&d);
  CHECK(only(&d, LV_R_LOCATOR_UNUSED, LVHD_WARNING, at));
  lv_findings_free(&d.list);
}

/* A child is named by its field, or by a locator. */
static void test_child_names(void) {
  struct disk d;
  uint8_t *field = NULL;
  good(&d);
  field = d.plan.header.parent_name;
  memset(d.plan.header.locators, 0, sizeof d.plan.header.locators);
  audit(&d);
  CHECK_INT(d.list.count, 0);
  memset(field, 0, LV_NAME_FIELD);
  audit(&d);
  CHECK(only(&d, LV_R_PARENT_UNNAMED, LVHD_ERROR, 512 + 64));
  /* Half of a pair, in either order of bytes. */
  memcpy(field, "\0a\xD8\x3D", 4);
  audit(&d);
  CHECK(only(&d, LV_R_NAME_UNDECODABLE, LVHD_WARNING, 512 + 64 + 2));
  memcpy(field, "a\0\x3D\xD8", 4);
  audit(&d);
  CHECK(only(&d, LV_R_NAME_UNDECODABLE, LVHD_WARNING, 512 + 64 + 2));
  /* A full field: what lies behind it is not its. */
  for (size_t i = 0; i < LV_NAME_FIELD; i += 2)
    memcpy(field + i, "\0a", 2);
  d.plan.header.locators[0] = (struct lv_locator_entry){
    .code = {0xDC, 0, 'a', 'b'}, .space = 512, .length = 2, .offset = 0x1000};
  audit(&d);
  CHECK(only(&d, LV_R_LOCATOR_CODE, LVHD_WARNING, 512 + 576));
  lv_findings_free(&d.list);
}

static void test_text_limits(void) {
  struct disk d;
  good(&d);
  lv_audit_locator(&d.a, 0, (const uint8_t *)"\0", 2, "");
  CHECK(only(&d, LV_R_LOCATOR_TERMINATED, LVHD_WARNING, 0x1000));
  lv_findings_free(&d.list);
  lv_audit_locator(&d.a, 1, (const uint8_t *)"file:", 5, "");
  CHECK_INT(d.list.count, 0);
  /* As long as the name, with a slash before it that is not its. */
  lv_audit_locator(&d.a, 1, (const uint8_t *)"/file:x" + 1, 6, "file:x");
  CHECK(only(&d, LV_R_NAME_DIFFERS, LVHD_WARNING, 0x1800));
  lv_findings_free(&d.list);
  lv_audit_locator(&d.a, 1, (const uint8_t *)"file:\0", 6, "");
  CHECK(find(&d, LV_R_LOCATOR_TERMINATED) != NULL);
  lv_findings_free(&d.list);
  /* An alias of the Macintosh is no text. */
  memcpy(d.plan.header.locators[1].code, "Mac ", 4);
  lv_audit_locator(&d.a, 1, (const uint8_t *)"alias\0", 6, "");
  CHECK_INT(d.list.count, 0);
}

/* Azure wants a name before ".vhd". */
static void test_extension(void) {
  static const struct {
    const char *path;
    bool good;
  } rows[] = {{"a.vhd", true},  {"/x/B.VHD", true}, {".vhd", false},
              {"vhd", false},   {"", false},        {"a.vhdx", false},
              {"a.vh", false},  {"/x/y.vhd/z", false}};
  struct disk d;
  good(&d);
  d.plan.fields.type = LVHD_FIXED;
  for (size_t i = 0; i < COUNT(rows); i++) {
    lv_findings_free(&d.list);
    lv_profile_disk(&d.a, LVHD_PROFILE_AZURE, rows[i].path);
    CHECK_INT(d.list.count, !rows[i].good);
    if (!rows[i].good)
      CHECK(only(&d, LV_R_PROFILE_EXTENSION, LVHD_ERROR, 0));
  }
  lv_findings_free(&d.list);
}

static void test_sort(void) {
  enum { N = 100000 };
  static const uint32_t masks[] = {UINT32_MAX, 0xFF, 0xFF000000, 0, 3};
  uint32_t *items = malloc(N * sizeof *items);
  for (size_t m = 0; items && m < COUNT(masks); m++) {
    uint32_t seed = 1, sum = 0;
    for (size_t i = 0; i < N; i++) {
      seed = seed * 1664525 + 1013904223;
      items[i] = (seed ^ seed >> 16) & masks[m];
      sum += items[i];
    }
    lv_sort_u32(items, N);
    for (size_t i = 0; i < N; i++)
      sum -= items[i];
    CHECK_INT(sum, 0);
    bool sorted = true;
    for (size_t i = 1; i < N; i++)
      sorted &= items[i - 1] <= items[i];
    CHECK(sorted);
  }
  lv_sort_u32(items, 0);
  lv_sort_u32(items, 1);
  free(items);
}

/* What is sorted is left alone: but for one at either end it is not. */
static void test_sort_nearly(void) {
  uint32_t one[] = {0, 1, 2, 3}, two[] = {7, 7}, low[100];
  for (size_t i = 0; i < COUNT(low); i++)
    low[i] = i + 1 < COUNT(low) ? (uint32_t)i + 1 : 0;
  one[3] = 1;
  lv_sort_u32(one, COUNT(one));
  CHECK(one[1] == 1 && one[2] == 1 && one[3] == 2);
  one[0] = 9;
  lv_sort_u32(one, COUNT(one));
  CHECK(one[0] == 1 && one[3] == 9);
  lv_sort_u32(two, COUNT(two));
  CHECK(two[0] == 7 && two[1] == 7);
  lv_sort_u32(low, COUNT(low));
  CHECK(low[0] == 0 && low[99] == 99);
}

int main(void) {
  test_good();
  test_time();
  test_geometry();
  test_space();
  test_places();
  test_table();
  test_names();
  test_texts();
  test_url_names();
  test_footer_limits();
  test_size_by_geometry();
  test_copy();
  test_table_limits();
  test_locator_limits();
  test_child_names();
  test_text_limits();
  test_extension();
  test_sort();
  test_sort_nearly();
  return check_done();
}
