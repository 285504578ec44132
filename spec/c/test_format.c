/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/format: checksum and geometry vectors, footer and header
 * both ways with every refusal, and the plan of new files.  Touches no disk;
 * that other programs agree is shown by the Lua specs.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "check.h"
#include "format/footer.h"
#include "format/geometry.h"
#include "format/header.h"
#include "format/locators.h"
#include "format/plan.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* first, first + 1, ... */
static void count_up(uint8_t *bytes, size_t n, uint8_t first) {
  size_t i;
  for (i = 0; i < n; i++)
    bytes[i] = (uint8_t)(first + i);
}

/* ---- vectors --------------------------------------------------------- */

static void test_geometry(void) {
  static const struct {
    uint64_t sectors;
    unsigned c, h, s;
    uint64_t product;
  } rows[] = {
    {6144, 90, 4, 17, 6120},                    /* 3 MiB */
    {8192, 120, 4, 17, 8160},                   /* 4 MiB */
    {40960, 602, 4, 17, 40936},                 /* 20 MiB: not 3 heads */
    {87039, 1023, 5, 17, 86955},
    {87040, 175, 16, 31, 86800},                /* exactly 5 * 1024 */
    {131072, 963, 8, 17, 130968},               /* 64 MiB */
    {204800, 1003, 12, 17, 204612},             /* 100 MiB */
    {272000, 1000, 16, 17, 272000},             /* 16 heads of 17, just so */
    {278528, 561, 16, 31, 278256},              /* 136 MiB */
    {507903, 1023, 16, 31, 507408},
    {507904, 503, 16, 63, 507024},              /* exactly 16 * 1024 */
    {1048576, 1040, 16, 63, 1048320},           /* 512 MiB */
    {2097152, 2080, 16, 63, 2096640},           /* 1 GiB */
    {4194304, 4161, 16, 63, 4194288},           /* 2 GiB */
    {16777216, 16644, 16, 63, 16777152},        /* 8 GiB */
    {66059279, 65534, 16, 63, 66058272},
    {66059280, 16191, 16, 255, 66059280},       /* >=, not > */
    {83886080, 20560, 16, 255, 83884800},       /* 40 GiB */
    {266338304, 65278, 16, 255, 266334240},     /* 127 GiB */
    {267382800, 65535, 16, 255, 267382800},
    {UINT64_C(4278190080), 65535, 16, 255, 267382800}, /* 2040 GiB */
    {267382801, 65535, 16, 255, 267382800},
    {UINT64_MAX, 65535, 16, 255, 267382800},
    {0, 0, 4, 17, 0},
    {1, 0, 4, 17, 0},
  };
  size_t i;

  for (i = 0; i < COUNT(rows); i++) {
    struct lv_geometry g = lv_geometry(rows[i].sectors);
    unsigned failed = check_failed;
    CHECK_INT(g.cylinders, rows[i].c);
    CHECK_INT(g.heads, rows[i].h);
    CHECK_INT(g.sectors, rows[i].s);
    CHECK_INT((uint64_t)g.cylinders * g.heads * g.sectors, rows[i].product);
    if (check_failed != failed)
      fprintf(stderr, "  %" PRIu64 " sectors\n", rows[i].sectors);
  }
}

/* Computed once from the specification, not with this code. */
static void test_checksums(void) {
  static uint8_t many[5003]; /* every byte counts, at any length */
  static const struct {
    enum lvhd_type type;
    uint8_t first;
    uint32_t checksum;
  } rows[] = {
    {LVHD_FIXED, 0x00, 0xFFFFF071u},
    {LVHD_DYNAMIC, 0x00, 0xFFFFF866u},
    {LVHD_DIFFERENCING, 0x10, 0xFFFFF765u},
  };
  struct lv_footer footer;
  struct lv_header header;
  uint8_t out[LV_HEADER_SIZE];
  size_t i;

  for (i = 0; i < COUNT(rows); i++) {
    lv_footer_init(&footer, rows[i].type, 64 * MIB);
    count_up(footer.uuid, 16, rows[i].first);
    lv_footer_encode(&footer, out);
    CHECK_INT(lv_get_be32(out + 64), rows[i].checksum);
    CHECK_INT(lv_checksum(out, LV_FOOTER_SIZE, 64), rows[i].checksum);
  }
  memset(&header, 0, sizeof header);
  header.table_offset = 1536;
  header.entries = 32;
  header.block_size = 0x200000;
  lv_header_encode(&header, out);
  CHECK_INT(lv_get_be32(out + 36), 0xFFFFF457u);
  CHECK_INT(lv_checksum(out, LV_HEADER_SIZE, 36), 0xFFFFF457u);
  memset(out, 0xFF, 8);
  CHECK_INT(lv_checksum(out, 8, 0), ~(4u * 255));
  CHECK_INT(lv_checksum(out, 8, 4), ~(4u * 255));
  for (i = 4; i <= sizeof many; i += i % 7 + 1) {
    uint32_t sum = 0;
    size_t k;
    for (k = 0; k < i; k++)
      many[k] = i % 2 ? 0xFF : (uint8_t)(k * 37 + i);
    for (k = 4; k < i; k++)
      sum += many[k];
    CHECK_INT(lv_checksum(many, i, 0), ~sum);
  }
}

static void test_timestamp(void) {
  CHECK_INT(lv_timestamp(LV_EPOCH), 0);
  CHECK_INT(lv_timestamp(LV_EPOCH + 1), 1);
  CHECK_INT(lv_timestamp(LV_EPOCH - 1), 0);
  CHECK_INT(lv_timestamp(0), 0);
  CHECK_INT(lv_timestamp(INT64_MIN), 0);
  CHECK_INT(lv_timestamp(INT64_MAX), UINT32_MAX);
  CHECK_INT(lv_timestamp(LV_EPOCH + UINT32_MAX), UINT32_MAX);
  CHECK_INT(lv_timestamp(LV_EPOCH + UINT32_MAX - 1), UINT32_MAX - 1);
  CHECK_INT(lv_timestamp(LV_EPOCH + UINT32_MAX + 1), UINT32_MAX);
}

/* ---- footer ---------------------------------------------------------- */

static void test_footer_bytes(void) {
  struct lv_footer footer;
  uint8_t out[LV_FOOTER_SIZE];
  size_t i, set = 0;

  memset(out, 0x55, sizeof out);
  lv_footer_init(&footer, LVHD_FIXED, 64 * MIB);
  footer.timestamp = 0x01020304;
  count_up(footer.uuid, 16, 0xA0);
  lv_footer_encode(&footer, out);
  CHECK_MEM(out, "conectix\0\0\0\2\0\1\0\0", 16);
  CHECK_MEM(out + 16, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8);
  CHECK_MEM(out + 24, "\1\2\3\4win \0\x0A\0\0Wi2k", 16);
  CHECK_MEM(out + 40, "\0\0\0\0\4\0\0\0\0\0\0\0\4\0\0\0", 16);
  CHECK_MEM(out + 56, "\x03\xC3\x08\x11\0\0\0\2", 8);
  CHECK_MEM(out + 68, footer.uuid, 16);
  for (i = 84; i < sizeof out; i++)
    set += out[i] != 0;
  CHECK_INT(set, 0);
  lv_footer_init(&footer, LVHD_DYNAMIC, 64 * MIB);
  CHECK_INT(footer.data_offset, 512);
  CHECK_INT(footer.type, 3);
  CHECK_INT(footer.saved_state, 0);
  lv_footer_init(&footer, LVHD_DIFFERENCING, 64 * MIB);
  CHECK_INT(footer.data_offset, 512);
  CHECK_INT(footer.type, 4);
}

static void test_footer_round(void) {
  struct lv_footer in, out;
  uint8_t bytes[LV_FOOTER_SIZE], again[LV_FOOTER_SIZE];

  /* No two fields alike, so that none can stand in for another. */
  memset(&in, 0, sizeof in);
  in.features = 3;
  in.version = 0x00010000;
  in.data_offset = UINT64_C(0x1122334455667788);
  in.timestamp = 0x99AABBCC;
  memcpy(in.creator, "tap\0", 4);
  in.creator_version = 0x00010003;
  memcpy(in.creator_os, "Mac ", 4);
  in.original_size = UINT64_C(0x0102030405060708);
  in.current_size = UINT64_C(0x1112131415161600);
  in.geometry = (struct lv_geometry){0x1234, 0x56, 0x78};
  in.type = LVHD_DIFFERENCING;
  count_up(in.uuid, 16, 0xC0);
  in.saved_state = 1;
  in.hidden = 1;
  lv_footer_encode(&in, bytes);
  CHECK_INT(bytes[84], 1);
  CHECK_INT(bytes[85], 1);
  CHECK_INT(lv_footer_decode(&out, bytes, NULL), LV_R_NONE);
  CHECK_INT(out.features, in.features);
  CHECK_INT(out.version, in.version);
  CHECK_INT(out.data_offset, in.data_offset);
  CHECK_INT(out.timestamp, in.timestamp);
  CHECK_MEM(out.creator, in.creator, 4);
  CHECK_INT(out.creator_version, in.creator_version);
  CHECK_MEM(out.creator_os, in.creator_os, 4);
  CHECK_INT(out.original_size, in.original_size);
  CHECK_INT(out.current_size, in.current_size);
  CHECK_INT(out.geometry.cylinders, in.geometry.cylinders);
  CHECK_INT(out.geometry.heads, in.geometry.heads);
  CHECK_INT(out.geometry.sectors, in.geometry.sectors);
  CHECK_INT(out.type, in.type);
  CHECK_INT(out.checksum, lv_get_be32(bytes + 64));
  CHECK_MEM(out.uuid, in.uuid, 16);
  CHECK_INT(out.saved_state, 1);
  CHECK_INT(out.hidden, 1);
  lv_footer_encode(&out, again);
  CHECK_MEM(again, bytes, sizeof bytes);
}

static void good_footer(uint8_t bytes[LV_FOOTER_SIZE]) {
  struct lv_footer footer;
  lv_footer_init(&footer, LVHD_DYNAMIC, 64 * MIB);
  count_up(footer.uuid, 16, 1);
  lv_footer_encode(&footer, bytes);
}

static void sign_footer(uint8_t *bytes) {
  lv_put_be32(bytes + 64, lv_checksum(bytes, LV_FOOTER_SIZE, 64));
}

static void refuse_footer(const uint8_t *bytes, enum lv_reason reason,
                          unsigned has, uint64_t expected, uint64_t actual,
                          uint64_t offset) {
  struct lvhd_finding bad = {.severity = LVHD_NOTE};
  struct lv_footer footer;

  CHECK_INT(lv_footer_decode(&footer, bytes, &bad), reason);
  CHECK_INT(lv_footer_decode(&footer, bytes, NULL), reason);
  CHECK_INT(bad.reason, reason);
  CHECK_INT(bad.severity, LVHD_ERROR);
  CHECK_INT(bad.has, has | LVHD_HAS_OFFSET);
  CHECK_INT(bad.expected, expected);
  CHECK_INT(bad.actual, actual);
  CHECK_INT(bad.offset, offset);
}

#define BOTH (LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL)

static void test_footer_refusals(void) {
  static const uint64_t sizes[] = {0, 511, 1000, 512 * 3 + 1,
                                   UINT64_C(1) << 63, UINT64_MAX - 511};
  struct lv_footer footer;
  uint8_t b[LV_FOOTER_SIZE];
  uint32_t sum;
  size_t i;

  for (i = 0; i < 8; i++) {
    good_footer(b);
    b[i] ^= 0x20;
    sign_footer(b);
    refuse_footer(b, LV_R_FOOTER_MISSING, 0, 0, 0, 0);
  }
  /* Any single byte: none goes unnoticed. */
  for (i = 0; i < LV_FOOTER_SIZE; i++) {
    good_footer(b);
    b[i] ^= 0x01;
    CHECK_INT(lv_footer_decode(&footer, b, NULL),
              i < 8 ? LV_R_FOOTER_MISSING
                    : i == 85 ? LV_R_NONE : LV_R_FOOTER_CHECKSUM);
  }
  good_footer(b);
  sum = lv_get_be32(b + 64);
  lv_put_be32(b + 64, 0x12345678);
  refuse_footer(b, LV_R_FOOTER_CHECKSUM, BOTH, sum, 0x12345678, 64);
  good_footer(b);
  lv_put_be32(b + 12, 0x00020000);
  sign_footer(b);
  refuse_footer(b, LV_R_FORMAT_VERSION, BOTH, 0x00010000, 0x00020000, 12);
  for (i = 0; i < 8; i++) {
    good_footer(b);
    lv_put_be32(b + 60, (uint32_t)i);
    sign_footer(b);
    if (i >= 2 && i <= 4)
      CHECK_INT(lv_footer_decode(&footer, b, NULL), LV_R_NONE);
    else
      refuse_footer(b, LV_R_DISK_TYPE, LVHD_HAS_ACTUAL, 0, i, 60);
  }
  for (i = 0; i < COUNT(sizes); i++) {
    good_footer(b);
    lv_put_be64(b + 48, sizes[i]);
    sign_footer(b);
    refuse_footer(b, LV_R_FOOTER_CORRUPT, LVHD_HAS_ACTUAL, 0, sizes[i], 48);
  }
  good_footer(b);
  lv_put_be64(b + 48, (UINT64_C(1) << 63) - 512);
  sign_footer(b);
  CHECK_INT(lv_footer_decode(&footer, b, NULL), LV_R_NONE);
  lv_put_be64(b + 48, 512);
  sign_footer(b);
  CHECK_INT(lv_footer_decode(&footer, b, NULL), LV_R_NONE);
}

static void test_footer_hidden(void) {
  struct lv_footer footer;
  uint8_t b[LV_FOOTER_SIZE];

  /* Set and counted; set and not counted, as by old blktap. */
  good_footer(b);
  b[85] = 1;
  sign_footer(b);
  CHECK_INT(lv_footer_decode(&footer, b, NULL), LV_R_NONE);
  CHECK_INT(footer.hidden, 1);
  good_footer(b);
  b[85] = 0xFF;
  CHECK_INT(lv_footer_decode(&footer, b, NULL), LV_R_NONE);
  CHECK_INT(footer.hidden, 0xFF);
  /* No licence for any other byte. */
  b[84] = 1;
  CHECK_INT(lv_footer_decode(&footer, b, NULL), LV_R_FOOTER_CHECKSUM);
}

/* Whose size every program takes as it is. */
static void test_footer_creators(void) {
  static const char known[][5] = {"win ", "tap", "d2v ", "CTXS"};
  static const char others[][5] = {"vpc ", "vs  ", "qemu", "win", "WIN ",
                                   "tap ", "", "\xFF\xFF\xFF\xFF"};
  struct lv_footer footer;
  size_t i;

  lv_footer_init(&footer, LVHD_FIXED, 64 * MIB);
  CHECK(lv_footer_size_counts(&footer));
  for (i = 0; i < COUNT(known); i++) {
    memcpy(footer.creator, known[i], 4);
    CHECK(lv_footer_size_counts(&footer));
  }
  for (i = 0; i < COUNT(others); i++) {
    memcpy(footer.creator, others[i], 4);
    CHECK(!lv_footer_size_counts(&footer));
  }
}

/* Another geometry, the sum that goes with it, and nothing else. */
static void test_footer_geometry(void) {
  struct lv_geometry other = {0x1234, 0x56, 0x78};
  struct lv_footer footer;
  uint8_t before[LV_FOOTER_SIZE], after[LV_FOOTER_SIZE];

  good_footer(before);
  before[300] = 9; /* reserved: it counts as well */
  sign_footer(before);
  memcpy(after, before, sizeof after);
  lv_footer_set_geometry(after, other);
  CHECK_MEM(after + 56, "\x12\x34\x56\x78", 4);
  CHECK_INT(lv_footer_decode(&footer, after, NULL), LV_R_NONE);
  memcpy(before + 56, after + 56, 4);
  sign_footer(before);
  CHECK_MEM(after, before, sizeof after);
}

/* ---- header ---------------------------------------------------------- */

static void test_header_round(void) {
  struct lv_header in, out;
  uint8_t bytes[LV_HEADER_SIZE], again[LV_HEADER_SIZE];
  size_t i;

  memset(&in, 0, sizeof in);
  in.table_offset = UINT64_C(0x1122334455667600);
  in.entries = 0x01020304;
  in.block_size = 0x00080000;
  count_up(in.parent_uuid, 16, 0x30);
  in.parent_timestamp = 0x51525354;
  count_up(in.parent_name, LV_NAME_FIELD, 7);
  for (i = 0; i < LV_LOCATORS; i++) {
    count_up(in.locators[i].code, 4, (uint8_t)(0x80 + 4 * i));
    in.locators[i].space = (uint32_t)(0x10000 + i);
    in.locators[i].length = (uint32_t)(0x20000 + i);
    in.locators[i].offset = UINT64_C(0x3000000000) + i;
  }
  memset(bytes, 0x55, sizeof bytes);
  lv_header_encode(&in, bytes);
  CHECK_MEM(bytes, "cxsparse\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 16);
  CHECK_MEM(bytes + 16, "\x11\x22\x33\x44\x55\x66\x76\0\0\1\0\0\1\2\3\4", 16);
  CHECK_MEM(bytes + 32, "\0\x08\0\0", 4);
  CHECK_MEM(bytes + 40, in.parent_uuid, 16);
  CHECK_MEM(bytes + 56, "\x51\x52\x53\x54\0\0\0\0", 8);
  CHECK_MEM(bytes + 64, in.parent_name, LV_NAME_FIELD);
  CHECK_MEM(bytes + 576 + 24,
            "\x84\x85\x86\x87\0\1\0\1\0\2\0\1\0\0\0\0\0\0\0\x30\0\0\0\1", 24);
  for (i = 768; i < LV_HEADER_SIZE; i++)
    CHECK_INT(bytes[i], 0);
  memset(&out, 0xEE, sizeof out);
  CHECK_INT(lv_header_decode(&out, bytes, NULL), LV_R_NONE);
  CHECK_INT(out.table_offset, in.table_offset);
  CHECK_INT(out.entries, in.entries);
  CHECK_INT(out.block_size, in.block_size);
  CHECK_INT(out.checksum, lv_get_be32(bytes + 36));
  CHECK_MEM(out.parent_uuid, in.parent_uuid, 16);
  CHECK_INT(out.parent_timestamp, in.parent_timestamp);
  CHECK_MEM(out.parent_name, in.parent_name, LV_NAME_FIELD);
  for (i = 0; i < LV_LOCATORS; i++) {
    CHECK_MEM(out.locators[i].code, in.locators[i].code, 4);
    CHECK_INT(out.locators[i].space, in.locators[i].space);
    CHECK_INT(out.locators[i].length, in.locators[i].length);
    CHECK_INT(out.locators[i].offset, in.locators[i].offset);
  }
  lv_header_encode(&out, again);
  CHECK_MEM(again, bytes, sizeof bytes);
}

static void good_header(uint8_t bytes[LV_HEADER_SIZE]) {
  struct lv_header header;
  memset(&header, 0, sizeof header);
  header.table_offset = 1536;
  header.entries = 32;
  header.block_size = LV_BLOCK_SIZE;
  lv_header_encode(&header, bytes);
}

static void sign_header(uint8_t *bytes) {
  lv_put_be32(bytes + 36, lv_checksum(bytes, LV_HEADER_SIZE, 36));
}

static void refuse_header(const uint8_t *bytes, enum lv_reason reason,
                          unsigned has, uint64_t expected, uint64_t actual,
                          uint64_t offset) {
  struct lvhd_finding bad = {.severity = LVHD_NOTE};
  struct lv_header header;

  CHECK_INT(lv_header_decode(&header, bytes, &bad), reason);
  CHECK_INT(lv_header_decode(&header, bytes, NULL), reason);
  CHECK_INT(bad.reason, reason);
  CHECK_INT(bad.severity, LVHD_ERROR);
  CHECK_INT(bad.has, has | LVHD_HAS_OFFSET);
  CHECK_INT(bad.expected, expected);
  CHECK_INT(bad.actual, actual);
  CHECK_INT(bad.offset, offset);
}

/* The fields and the sum; what nobody knows stays as it is. */
static void test_header_update(void) {
  struct lv_header header;
  uint8_t bytes[LV_HEADER_SIZE], want[LV_HEADER_SIZE];

  good_header(bytes);
  CHECK_INT(lv_header_decode(&header, bytes, NULL), LV_R_NONE);
  memcpy(header.locators[1].code, "W2ru", 4);
  header.locators[1].offset = 2048;
  header.entries = 33;
  lv_header_encode(&header, want);
  bytes[588 + 24] = 7; /* the spare number of that locator entry */
  bytes[1000] = want[1000] = 8;
  sign_header(want);
  lv_header_update(&header, bytes);
  CHECK_MEM(bytes, want, sizeof bytes);
}

/* Decodes a name field that ends with these units, zeros behind them. */
static bool name_is_little(const char *units, size_t n, const char *want) {
  uint8_t field[LV_NAME_FIELD] = {0};
  char name[LV_NAME_TEXT];
  memcpy(field, units, n);
  bool little = lv_header_name(field, name);
  CHECK_STR(name, want);
  return little;
}

static void test_header_name(void) {
  uint8_t field[LV_NAME_FIELD + 2];
  char name[LV_NAME_TEXT];

#define NAME(units, want) name_is_little(units, sizeof units - 1, want)
  CHECK(!NAME("", ""));
  CHECK(!NAME("\0a\0b", "ab"));
  CHECK(NAME("a\0b\0", "ab"));
  CHECK(!NAME("\0a\x4E\0", "a\xE4\xB8\x80"));
  CHECK(!NAME("a\0\0b", "\xE6\x84\x80" "b"));
  /* ASCII alone tells the order: the rest may be either. */
  CHECK(!NAME("\0\xE9", "\xC3\xA9"));
  CHECK(!NAME("\xE9\0", "\xEE\xA4\x80"));
  CHECK(!NAME("\x80\0", "\xE8\x80\x80"));
  CHECK(!NAME("\x4E\x2D", "\xE4\xB8\xAD"));
  CHECK(NAME("\0\xE9" "a\0", "\xEE\xA4\x80" "a"));
  CHECK(NAME("\0\x80" "a\0", "\xE8\x80\x80" "a"));
  CHECK(!NAME("\x7F\0" "\0\x7F", "\xE7\xBC\x80\x7F"));
  CHECK(NAME("\x7F\0", "\x7F"));
  CHECK(!NAME("\0\x7F", "\x7F"));
#undef NAME
  /* A full field ends without a zero; what lies behind is not its. */
  for (size_t i = 0; i < LV_NAME_FIELD; i += 2)
    memcpy(field + i, "\x4E\x2D", 2);
  memcpy(field + LV_NAME_FIELD, "a\0", 2);
  CHECK(!lv_header_name(field, name));
  CHECK_INT(strlen(name), LV_NAME_FIELD / 2 * 3);
  CHECK_MEM(name, "\xE4\xB8\xAD\xE4\xB8\xAD", 6);
}

static void test_header_refusals(void) {
  static const uint32_t blocks[] = {0, 1, 256, 511, 513, 0x200001, 0x300000,
                                    0xFFFFFFFF};
  static const uint64_t tables[] = {0, 1, 511, 1537, UINT64_MAX};
  struct lv_header header;
  uint8_t b[LV_HEADER_SIZE];
  uint32_t sum;
  size_t i;

  for (i = 0; i < LV_HEADER_SIZE; i++) {
    good_header(b);
    b[i] ^= 0x01;
    CHECK_INT(lv_header_decode(&header, b, NULL),
              i < 8 ? LV_R_HEADER_MISSING : LV_R_HEADER_CHECKSUM);
  }
  good_header(b);
  b[0] = 'C';
  sign_header(b);
  refuse_header(b, LV_R_HEADER_MISSING, 0, 0, 0, 0);
  good_header(b);
  sum = lv_get_be32(b + 36);
  lv_put_be32(b + 36, 7);
  refuse_header(b, LV_R_HEADER_CHECKSUM, BOTH, sum, 7, 36);
  good_header(b);
  lv_put_be32(b + 24, 0x00010001);
  sign_header(b);
  refuse_header(b, LV_R_HEADER_VERSION, BOTH, 0x00010000, 0x00010001, 24);
  for (i = 0; i < COUNT(blocks); i++) {
    good_header(b);
    lv_put_be32(b + 32, blocks[i]);
    sign_header(b);
    refuse_header(b, LV_R_BLOCK_SIZE, LVHD_HAS_ACTUAL, 0, blocks[i], 32);
  }
  for (i = 9; i < 32; i++) {
    good_header(b);
    lv_put_be32(b + 32, UINT32_C(1) << i);
    sign_header(b);
    CHECK_INT(lv_header_decode(&header, b, NULL), LV_R_NONE);
    CHECK_INT(header.block_size, UINT32_C(1) << i);
  }
  for (i = 0; i < COUNT(tables); i++) {
    good_header(b);
    lv_put_be64(b + 16, tables[i]);
    sign_header(b);
    refuse_header(b, LV_R_HEADER_CORRUPT, LVHD_HAS_ACTUAL, 0, tables[i], 16);
  }
}

/* ---- sizes ----------------------------------------------------------- */

static void test_sizes(void) {
  CHECK_INT(lv_bitmap_size(LV_BLOCK_SIZE), 512);
  CHECK_INT(lv_bitmap_size(LV_BLOCK_SMALL), 512);
  CHECK_INT(lv_bitmap_size(512), 512);
  CHECK_INT(lv_bitmap_size(4 * LV_BLOCK_SIZE), 2048);
  CHECK_INT(lv_bitmap_size(UINT32_C(1) << 31), 524288);
  CHECK_INT(lv_block_count(0, LV_BLOCK_SIZE), 0);
  CHECK_INT(lv_block_count(512, LV_BLOCK_SIZE), 1);
  CHECK_INT(lv_block_count(2 * MIB, LV_BLOCK_SIZE), 1);
  CHECK_INT(lv_block_count(2 * MIB + 512, LV_BLOCK_SIZE), 2);
  CHECK_INT(lv_block_count(2040 * GIB, LV_BLOCK_SIZE), 1044480);
  CHECK_INT(lv_block_count(UINT64_MAX, 512), UINT64_C(1) << 55);
  CHECK_INT(lv_full_size(3584, 32, LV_BLOCK_SIZE),
            3584 + 32 * (UINT64_C(2097152) + 512) + 512);
  CHECK_INT(lv_full_size(0, UINT32_MAX, UINT32_C(1) << 31),
            UINT64_C(0xFFFFFFFF) * ((UINT64_C(1) << 31) + 524288) + 512);
}

/* ---- plan ------------------------------------------------------------ */

static struct lv_plan_in wanted(enum lvhd_type type, uint64_t size,
                                uint32_t block_size) {
  struct lv_plan_in in;

  memset(&in, 0, sizeof in);
  in.type = type;
  in.size = size;
  in.block_size = block_size;
  in.timestamp = 0x01020304;
  count_up(in.uuid, 16, 0xA0);
  if (type == LVHD_DIFFERENCING) {
    in.relative = "base.vhd";
    count_up(in.parent_uuid, 16, 0xB0);
    in.parent_timestamp = 0x05060708;
  }
  return in;
}

static bool all(const uint8_t *bytes, size_t n, uint8_t value) {
  size_t i;
  for (i = 0; i < n; i++)
    if (bytes[i] != value)
      return false;
  return true;
}

/* Plans into memory full of rubbish: what is not written must not count. */
static int plan_it(struct lv_plan *plan, const struct lv_plan_in *in,
                   struct lvhd_error *err) {
  memset(plan, 0x5A, sizeof *plan);
  return lv_plan(plan, in, err);
}

static void check_footer(const struct lv_plan *plan,
                         const struct lv_plan_in *in) {
  struct lv_footer footer;

  CHECK_INT(lv_footer_decode(&footer, plan->footer, NULL), LV_R_NONE);
  CHECK_INT(footer.type, in->type);
  CHECK_INT(footer.current_size, in->size);
  CHECK_INT(footer.original_size, in->size);
  CHECK_INT(footer.timestamp, in->timestamp);
  CHECK_MEM(footer.uuid, in->uuid, 16);
}

static void test_plan_layout(void) {
  static const struct {
    enum lvhd_type type;
    uint32_t block_size;
    uint64_t size;
    uint32_t head, entries;
    uint64_t table, full;
  } rows[] = {
    /* 3 MiB: 2 blocks; BAT of one sector; first block at 3584. */
    {LVHD_DYNAMIC, LV_BLOCK_SIZE, 3 * MIB, 1536, 2, 512,
     3584 + 2 * 2097664 + 512},
    {LVHD_DYNAMIC, LV_BLOCK_SMALL, 3 * MIB, 1536, 6, 512,
     3584 + 6 * 524800 + 512},
    {LVHD_DYNAMIC, LV_BLOCK_SIZE, 64 * MIB, 1536, 32, 512,
     3584 + 32 * 2097664 + 512},
    /* 1536 + 2048 + 512 is 4096 already: the block follows the BAT. */
    {LVHD_DYNAMIC, LV_BLOCK_SIZE, 1 * GIB, 1536, 512, 2048,
     3584 + UINT64_C(512) * 2097664 + 512},
    /* One sector more needs a BAT of one more sector, and a new page. */
    {LVHD_DYNAMIC, LV_BLOCK_SIZE, 1 * GIB + 512, 1536, 513, 2560,
     7680 + UINT64_C(513) * 2097664 + 512},
    {LVHD_DYNAMIC, LV_BLOCK_SIZE, 127 * GIB, 1536, 65024, 260096,
     261632 + UINT64_C(65024) * 2097664 + 512},
    {LVHD_DYNAMIC, LV_BLOCK_SIZE, 127 * GIB + 512, 1536, 65025, 260608,
     265728 + UINT64_C(65025) * 2097664 + 512},
    {LVHD_DYNAMIC, LV_BLOCK_SIZE, 2040 * GIB, 1536, 1044480, 4177920,
     4181504 + UINT64_C(1044480) * 2097664 + 512},
    {LVHD_DYNAMIC, LV_BLOCK_SMALL, 2040 * GIB, 1536, 4177920, 16711680,
     16715264 + UINT64_C(4177920) * 524800 + 512},
    {LVHD_DIFFERENCING, LV_BLOCK_SIZE, 3 * MIB, 8192, 2, 512,
     11776 + 2 * 2097664 + 512},
    {LVHD_DIFFERENCING, LV_BLOCK_SIZE, 127 * GIB + 512, 8192, 65025, 260608,
     269824 + UINT64_C(65025) * 2097664 + 512},
    {LVHD_DIFFERENCING, LV_BLOCK_SIZE, 2040 * GIB, 8192, 1044480, 4177920,
     4189696 + UINT64_C(1044480) * 2097664 + 512},
    {LVHD_DIFFERENCING, LV_BLOCK_SMALL, 2040 * GIB, 8192, 4177920, 16711680,
     16723456 + UINT64_C(4177920) * 524800 + 512},
  };
  static struct lv_plan plan;
  struct lv_header header;
  size_t i;

  for (i = 0; i < COUNT(rows); i++) {
    struct lv_plan_in in =
      wanted(rows[i].type, rows[i].size, rows[i].block_size);
    unsigned failed = check_failed;
    CHECK_INT(plan_it(&plan, &in, NULL), LVHD_S_OK);
    CHECK_INT(plan.head_size, rows[i].head);
    CHECK_INT(plan.entries, rows[i].entries);
    CHECK_INT(plan.table_size, rows[i].table);
    CHECK_INT(plan.footer_offset, plan.head_size + plan.table_size);
    CHECK_INT(plan.file_size, plan.footer_offset + 512);
    CHECK_INT(plan.full_size, rows[i].full);
    check_footer(&plan, &in);
    CHECK_MEM(plan.head, plan.footer, LV_FOOTER_SIZE);
    CHECK_INT(lv_header_decode(&header, plan.head + 512, NULL), LV_R_NONE);
    CHECK_INT(header.table_offset, rows[i].head);
    CHECK_INT(header.entries, rows[i].entries);
    CHECK_INT(header.block_size, rows[i].block_size);
    CHECK_INT(plan.macx_left_out, 0);
    if (check_failed != failed)
      fprintf(stderr, "  row %zu\n", i);
  }
}

static void test_plan_fixed(void) {
  static const uint64_t sizes[] = {3 * MIB, 127 * GIB + 512, 2040 * GIB};
  static struct lv_plan plan;
  size_t i;

  for (i = 0; i < COUNT(sizes); i++) {
    struct lv_plan_in in = wanted(LVHD_FIXED, sizes[i], LV_BLOCK_SIZE);
    CHECK_INT(plan_it(&plan, &in, NULL), LVHD_S_OK);
    CHECK_INT(plan.head_size, 0);
    CHECK_INT(plan.entries, 0);
    CHECK_INT(plan.table_size, 0);
    CHECK_INT(plan.footer_offset, sizes[i]);
    CHECK_INT(plan.file_size, sizes[i] + 512);
    CHECK_INT(plan.full_size, sizes[i] + 512);
    CHECK_INT(plan.locator_count, 0);
    CHECK_INT(plan.macx_left_out, 0);
    check_footer(&plan, &in);
    CHECK(all(plan.footer + 16, 8, 0xFF));
  }
}

static void test_plan_dynamic(void) {
  static struct lv_plan plan;
  struct lv_plan_in in = wanted(LVHD_DYNAMIC, 64 * MIB, LV_BLOCK_SIZE);

  CHECK_INT(plan_it(&plan, &in, NULL), LVHD_S_OK);
  CHECK_INT(plan.locator_count, 0);
  /* No parent: all its fields and the locators are zeros. */
  CHECK(all(plan.head + 512 + 40, 1024 - 40, 0));
  /* Of a disk of nothing no block is out of reach. */
  in.size = 0;
  CHECK_INT(plan_it(&plan, &in, NULL), LVHD_S_OK);
  CHECK_INT(plan.entries, 0);
}

static void test_plan_child(void) {
  /* Names as UTF-16 without terminators. */
  static const uint8_t w2ru[] = {'.', 0, '\\', 0, 'b', 0, 'a', 0, 's', 0,
                                 'e', 0, '.', 0, 'v', 0, 'h', 0, 'd', 0};
  static const uint8_t name[] = {0, 'b', 0, 'a', 0, 's', 0, 'e',
                                 0, '.', 0, 'v', 0, 'h', 0, 'd'};
  static struct lv_plan plan;
  struct lv_plan_in in = wanted(LVHD_DIFFERENCING, 64 * MIB, LV_BLOCK_SIZE);
  struct lv_header header;

  CHECK_INT(plan_it(&plan, &in, NULL), LVHD_S_OK);
  CHECK_INT(lv_header_decode(&header, plan.head + 512, NULL), LV_R_NONE);
  CHECK_MEM(header.parent_uuid, in.parent_uuid, 16);
  CHECK_INT(header.parent_timestamp, in.parent_timestamp);
  CHECK_MEM(header.parent_name, name, sizeof name);
  CHECK(all(header.parent_name + sizeof name, LV_NAME_FIELD - sizeof name,
            0));
  CHECK_MEM(header.locators[0].code, "W2ru", 4);
  CHECK_INT(header.locators[0].space, 1024);
  CHECK_INT(header.locators[0].length, sizeof w2ru);
  CHECK_INT(header.locators[0].offset, 0x1000);
  CHECK_MEM(header.locators[1].code, "MacX", 4);
  CHECK_INT(header.locators[1].space, 1024);
  CHECK_INT(header.locators[1].length, 17);
  CHECK_INT(header.locators[1].offset, 0x1800);
  CHECK(all(plan.head + 512 + 576 + 48, 6 * 24, 0));
  /* The whole head is accounted for. */
  CHECK(all(plan.head + 1536, 0x1000 - 1536, 0));
  CHECK_MEM(plan.head + 0x1000, w2ru, sizeof w2ru);
  CHECK(all(plan.head + 0x1000 + sizeof w2ru, 0x800 - sizeof w2ru, 0));
  CHECK_MEM(plan.head + 0x1800, "file://./base.vhd", 17);
  CHECK(all(plan.head + 0x1800 + 17, 0x800 - 17, 0));
  CHECK_INT(plan.locator_count, 2);
  CHECK_MEM(plan.locators[0].code, "W2ru", 4);
  CHECK_INT(plan.locators[0].offset, 0x1000);
  CHECK_INT(plan.locators[0].length, sizeof w2ru);
  CHECK_MEM(plan.locators[1].code, "MacX", 4);
  CHECK_INT(plan.locators[1].offset, 0x1800);
  CHECK_INT(plan.locators[1].length, 17);
}

/* The text of a locator, back as UTF-8 (ASCII only). */
static void check_w2ru(const struct lv_plan *plan, const char *want) {
  size_t n = strlen(want), i;

  CHECK_INT(plan->locators[0].length, n * 2);
  for (i = 0; i < n; i++) {
    CHECK_INT(plan->head[0x1000 + 2 * i], (uint8_t)want[i]);
    CHECK_INT(plan->head[0x1000 + 2 * i + 1], 0);
  }
}

static void test_plan_ways(void) {
  static struct lv_plan plan;
  struct lv_plan_in in = wanted(LVHD_DIFFERENCING, 64 * MIB, LV_BLOCK_SIZE);
  /* U+5C5C and U+2F2F hold the bytes of \ and /; U+1F4BE is a pair. */
  static const char odd[] = "\xE5\xB1\x9C/\xE2\xBC\xAF\xF0\x9F\x92\xBE.vhd";
  static const uint8_t odd_w2ru[] = {
    '.', 0, '\\', 0, 0x5C, 0x5C, '\\', 0, 0x2F, 0x2F, 0x3D, 0xD8,
    0xBE, 0xDC, '.', 0, 'v', 0, 'h', 0, 'd', 0};
  static const uint8_t odd_name[] = {0x2F, 0x2F, 0xD8, 0x3D, 0xDC, 0xBE,
                                     0, '.', 0, 'v', 0, 'h', 0, 'd', 0, 0};

  in.relative = "../../x y/b.vhd";
  CHECK_INT(plan_it(&plan, &in, NULL), LVHD_S_OK);
  check_w2ru(&plan, ".\\..\\..\\x y\\b.vhd");
  CHECK_MEM(plan.head + 0x1800, "file://./../../x y/b.vhd\0", 25);
  CHECK_INT(plan.locators[1].length, 24);
  CHECK_MEM(plan.head + 512 + 64, "\0b\0.\0v\0h\0d\0", 12);
  in.relative = odd;
  CHECK_INT(plan_it(&plan, &in, NULL), LVHD_S_OK);
  CHECK_INT(plan.locators[0].length, sizeof odd_w2ru);
  CHECK_MEM(plan.head + 0x1000, odd_w2ru, sizeof odd_w2ru);
  CHECK_MEM(plan.head + 512 + 64, odd_name, sizeof odd_name);
  CHECK_INT(plan.locators[1].length, 9 + sizeof odd - 1);
  CHECK_MEM(plan.head + 0x1800 + 9, odd, sizeof odd);
}

/* A relative way of n bytes: folders of nine letters, then a name. */
static void long_way(char *way, size_t n) {
  size_t i;
  for (i = 0; i < n; i++)
    way[i] = i % 10 == 9 && i + 1 < n ? '/' : 'a';
  way[n] = '\0';
}

static void test_plan_limits(void) {
  static struct lv_plan plan;
  static char way[5000];
  struct lv_plan_in in = wanted(LVHD_DIFFERENCING, 64 * MIB, LV_BLOCK_SIZE);
  struct lvhd_error err = LVHD_ERROR_INIT;
  size_t i;

  in.relative = way;
  /* 2 + 509 units are 1022 bytes. */
  long_way(way, 509);
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  CHECK_INT(plan.locators[0].length, 1022);
  CHECK(all(plan.head + 0x1000 + 1022, 0x800 - 1022, 0));
  CHECK_INT(plan.locators[1].length, 518);
  long_way(way, 510);
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_E_BUFFER_OVERFLOW);
  CHECK_INT(plan_it(&plan, &in, NULL), LVHD_E_BUFFER_OVERFLOW);
  CHECK_INT(err.reason, LV_R_LOCATOR_TOO_LONG);
  CHECK_INT(err.expected, 1022);
  CHECK_INT(err.actual, 1024);
  long_way(way, 4990);
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_E_BUFFER_OVERFLOW);
  CHECK_INT(err.actual, (4990 + 2) * 2);
  /* MacX counts bytes: 338 letters of three bytes are 1014 + 9 = 1023. */
  for (i = 0; i < 339; i++)
    memcpy(way + 3 * i, "\xE2\x82\xAC", 3);
  way[1014] = '\0';
  memcpy(way + 1014 / 2, "///", 3); /* names stay short */
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  CHECK_INT(plan.locator_count, 2);
  CHECK_INT(plan.locators[1].length, 1023);
  CHECK_INT(plan.macx_left_out, 0);
  CHECK(all(plan.head + 0x1800 + 1023, 0x800 - 1023, 0));
  memcpy(way + 1014, "a", 2);
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  CHECK_INT(plan.locator_count, 1);
  CHECK_INT(plan.macx_left_out, 1024);
  CHECK(all(plan.head + 0x1800, 0x800, 0));
  CHECK(all(plan.head + 512 + 576 + 24, 7 * 24, 0));
  lvhd_error_clear(&err);
}

/* The codes of the locators, in the order of the header: "W2ku MacX ". */
static void check_codes(const struct lv_plan *plan, const char *want) {
  struct lv_header header;
  char got[3 * 5 + 1] = "";
  unsigned i;

  CHECK_INT(lv_header_decode(&header, plan->head + 512, NULL), LV_R_NONE);
  for (i = 0; i < 3 && header.locators[i].code[0] != 0; i++) {
    memcpy(got + 5 * i, header.locators[i].code, 4);
    memcpy(got + 5 * i + 4, " ", 2);
    CHECK_MEM(plan->locators[i].code, header.locators[i].code, 4);
    CHECK_INT(plan->locators[i].offset, header.locators[i].offset);
    CHECK_INT(plan->locators[i].length, header.locators[i].length);
    CHECK_INT(header.locators[i].space, 1024);
  }
  CHECK_INT(plan->locator_count, i);
  CHECK_STR(got, want);
  CHECK(all(plan->head + 512 + 576 + 24 * i, (8 - i) * 24, 0));
}

static void test_plan_windows(void) {
  static const uint8_t odd[] = {'C', 0, ':', 0, '\\', 0, 0x3D, 0xD8,
                                0xBE, 0xDC, '.', 0, 'v', 0};
  static struct lv_plan plan;
  static char windows[600], way[1100];
  struct lv_plan_in in = wanted(LVHD_DIFFERENCING, 64 * MIB, LV_BLOCK_SIZE);
  struct lvhd_error err = LVHD_ERROR_INIT;

  in.windows = "C:\\\xF0\x9F\x92\xBE.v";
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  check_codes(&plan, "W2ru W2ku MacX ");
  CHECK_INT(plan.locators[1].offset, 0x1400);
  CHECK_INT(plan.locators[1].length, sizeof odd);
  CHECK_MEM(plan.head + 0x1400, odd, sizeof odd);
  CHECK(all(plan.head + 0x1400 + sizeof odd, 0x400 - sizeof odd, 0));
  check_w2ru(&plan, ".\\base.vhd");
  CHECK_MEM(plan.head + 0x1800, "file://./base.vhd\0", 18);
  CHECK_INT(plan.w2ku_left_out, 0);
  in.no_relative = true;
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  check_codes(&plan, "W2ku MacX ");
  CHECK(all(plan.head + 0x1000, 0x400, 0));
  CHECK_MEM(plan.head + 0x1400, odd, sizeof odd);
  in.windows = NULL;
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  check_codes(&plan, "MacX ");
  CHECK(all(plan.head + 0x1000, 0x800, 0));
  /* 511 units are 1022 bytes. */
  in.windows = windows;
  memset(windows, 'w', 511);
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  check_codes(&plan, "W2ku MacX ");
  CHECK_INT(plan.locators[0].length, 1022);
  CHECK(all(plan.head + 0x1400 + 1022, 2, 0));
  windows[511] = 'w';
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  check_codes(&plan, "MacX ");
  CHECK_INT(plan.w2ku_left_out, 1024);
  CHECK(all(plan.head + 0x1000, 0x800, 0));
  /* Nothing fits: a way that W2ru need not hold, and MacX cannot. */
  in.relative = way;
  long_way(way, 1015);
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_E_BUFFER_OVERFLOW);
  CHECK_INT(err.reason, LV_R_LOCATOR_TOO_LONG);
  CHECK_INT(err.expected, 1023);
  CHECK_INT(err.actual, 1024);
  windows[511] = '\0';
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  check_codes(&plan, "W2ku ");
  CHECK_INT(plan.macx_left_out, 1024);
  lvhd_error_clear(&err);
}

static void test_plan_names(void) {
  static struct lv_plan plan;
  static char way[600];
  static const char *const bad[] = {"a\\b.vhd", "sub\\x/b.vhd", "\xFF.vhd",
                                    "\xC3/b.vhd", "\xED\xA0\x80.vhd"};
  struct lv_plan_in in = wanted(LVHD_DIFFERENCING, 64 * MIB, LV_BLOCK_SIZE);
  struct lvhd_error err = LVHD_ERROR_INIT;
  size_t i;

  for (i = 0; i < COUNT(bad); i++) {
    in.relative = bad[i];
    CHECK_INT(plan_it(&plan, &in, &err), LVHD_E_INVALID_NAME);
    CHECK_INT(err.reason, LV_R_NAME_UNFINDABLE);
  }
  in.relative = way;
  memset(way, 'n', 255);
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  CHECK(all(plan.head + 512 + 64 + 510, 2, 0));
  CHECK_INT(plan.head[512 + 64 + 509], 'n');
  way[255] = 'n';
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_E_BUFFER_OVERFLOW);
  CHECK_INT(err.reason, LV_R_LOCATOR_TOO_LONG);
  CHECK_INT(err.expected, 510);
  CHECK_INT(err.actual, 512);
  lvhd_error_clear(&err);
}

static void test_plan_reach(void) {
  static struct lv_plan plan;
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lv_plan_in in = wanted(LVHD_DYNAMIC, 0, 4096);
  const uint64_t reach = UINT64_C(0xFFFFFFFE) * 512;
  uint64_t entries, start;

  /* Blocks of 4 KiB have a pitch of nine sectors: find the last entry that
   * still begins within reach, then one more. */
  for (entries = reach / 4608; ; entries--) {
    start = ((1536 + ((entries * 4 + 511) & ~UINT64_C(511)) + 512 + 4095) &
             ~UINT64_C(4095)) - 512;
    if (start + (entries - 1) * 4608 <= reach)
      break;
  }
  in.size = entries * 4096;
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  CHECK_INT(plan.entries, entries);
  in.size += 512;
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_VM_E_IMAGE_SIZE_TOO_LARGE);
  CHECK_INT(err.reason, LV_R_BAT_REACH);
  CHECK_INT(err.expected, reach);
  CHECK(err.actual > reach && err.actual <= reach + 4608 + 4096);
  in.block_size = 512;
  in.size = 2040 * GIB;
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_VM_E_IMAGE_SIZE_TOO_LARGE);
  /* More entries than 32 bits count. */
  in.size = INT64_MAX - 511;
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_VM_E_IMAGE_SIZE_TOO_LARGE);
  CHECK_INT(err.reason, LV_R_BAT_REACH);
  CHECK_INT(err.actual, in.size);
  /* As many as they count: what is told is the last block's place. */
  in.size = UINT64_C(0xFFFFFFFF) * 512;
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_VM_E_IMAGE_SIZE_TOO_LARGE);
  CHECK_INT(err.actual, 1024 * UINT64_C(0xFFFFFFFE) + plan.first_block);
  /* So many blocks of 16 KiB that the last begins just there. */
  in.block_size = 16384;
  in.size = UINT64_C(130119720) * 16384;
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  in.size += 512;
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_VM_E_IMAGE_SIZE_TOO_LARGE);
  CHECK_INT(err.actual, reach + 16384 + 512);
  /* None has no last one. */
  in.size = 0;
  CHECK_INT(plan_it(&plan, &in, &err), LVHD_S_OK);
  CHECK_INT(plan.entries, 0);
  lvhd_error_clear(&err);
}

/* Bytes and nothing else, with a footer behind them and without. */
static void test_plan_raw(void) {
  static struct lv_plan plan;
  struct lv_plan_in in = wanted(LVHD_RAW, 24 * MIB, 0);
  CHECK_INT(plan_it(&plan, &in, NULL), LVHD_S_OK);
  CHECK_INT(plan.file_size, 24 * MIB);
  CHECK_INT(plan.full_size, 24 * MIB);
  CHECK_INT(plan.footer_offset, 24 * MIB);
  CHECK_INT(plan.head_size, 0);
  in.type = LVHD_FIXED;
  CHECK_INT(plan_it(&plan, &in, NULL), LVHD_S_OK);
  CHECK_INT(plan.file_size, 24 * MIB + 512);
}

/* ---- the head of a file ------------------------------------------------ */

static void test_head(void) {
  struct lv_head head = {.end = 4096};
  uint64_t at = 0;
  lv_head_take(&head, 100, 0);
  CHECK_INT(head.count, 0);
  lv_head_take(&head, 0, 512);
  lv_head_take(&head, 1000, 100);
  CHECK(lv_head_is_free(&head, 512, 488));
  CHECK(!lv_head_is_free(&head, 512, 489));
  CHECK(!lv_head_is_free(&head, 1099, 1));
  CHECK(lv_head_is_free(&head, 1100, 4096 - 1100));
  CHECK(!lv_head_is_free(&head, 1100, 4096 - 1100 + 1));
  CHECK(lv_head_is_free(&head, 4096, 0));
  CHECK(!lv_head_is_free(&head, 4097, 0));
  CHECK(!lv_head_is_free(&head, UINT64_MAX, 1));
  /* Whole sectors, behind what is taken. */
  CHECK(lv_head_place(&head, 1, &at));
  CHECK_INT(at, 1536);
  CHECK(lv_head_place(&head, 513, &at));
  CHECK_INT(at, 2048);
  CHECK(!lv_head_place(&head, 1025, &at));
  CHECK(lv_head_place(&head, 1024, &at));
  CHECK_INT(at, 3072);
  CHECK(!lv_head_place(&head, 1, &at));
  /* What reaches beyond all numbers ends the search. */
  head = (struct lv_head){.end = 4096};
  lv_head_take(&head, 512, UINT64_MAX);
  CHECK_INT(head.taken[0].to, UINT64_MAX);
  CHECK(lv_head_place(&head, 512, &at));
  CHECK_INT(at, 0);
  CHECK(!lv_head_place(&head, 512, &at));
  /* It ends inside of a sector: the next one would begin behind it. */
  head = (struct lv_head){.end = 1000};
  lv_head_take(&head, 0, 700);
  CHECK(!lv_head_place(&head, 1, &at));
  head = (struct lv_head){.end = 400};
  CHECK(!lv_head_place(&head, 1, &at));
}

int main(void) {
  test_geometry();
  test_checksums();
  test_timestamp();
  test_footer_bytes();
  test_footer_round();
  test_footer_refusals();
  test_footer_hidden();
  test_footer_creators();
  test_footer_geometry();
  test_header_round();
  test_header_refusals();
  test_header_update();
  test_header_name();
  test_sizes();
  test_plan_layout();
  test_plan_fixed();
  test_plan_dynamic();
  test_plan_child();
  test_plan_ways();
  test_plan_limits();
  test_plan_windows();
  test_plan_names();
  test_plan_reach();
  test_plan_raw();
  test_head();
  return check_done();
}
