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
  test_sort();
  return check_done();
}
