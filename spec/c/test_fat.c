/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/format/fat: the reference layouts, every size there is of
 * FAT16, the boundaries of FAT32, and the bytes, read back as a driver reads
 * them.  That other programs agree is shown by spec/filesystem_spec.lua.
 *
 *   1 layouts   2 every size   3 bytes   4 what must differ   5 labels
 *   6 what lvhd.h refuses
 */
#include <stdlib.h>
#include <time.h>

#include "check.h"
#include "format/fat.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MIB (UINT64_C(1) << 20)
#define SECTOR 512u

static const uint8_t uuid[16] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xBA,
                                 0x4C, 0xDE, 0x8F, 0x01, 0x23, 0x45,
                                 0x67, 0x89, 0xAB, 0xCD};

static bool plan(struct lv_fat *fat, enum lvhd_filesystem kind, uint64_t size,
                 const char *label) {
  struct lv_fat_in in = {.kind = kind, .size = size, .label = label};
  memcpy(in.uuid, uuid, sizeof in.uuid);
  return lv_fat_plan(fat, &in);
}

/* ---- 1 layouts ------------------------------------------------------- */

static void test_reference(void) {
  static const struct {
    uint64_t size;
    enum lvhd_filesystem kind;
    uint32_t start, sectors, per_cluster, clusters, table;
    uint8_t type;
  } rows[] = {
    {3, LVHD_FAT16, 128, 6016, 1, 5935, 24, 0x04},
    {4, LVHD_FAT16, 128, 8064, 1, 7967, 32, 0x04},
    {5, LVHD_FAT16, 128, 10112, 2, 5019, 20, 0x04},
    {16, LVHD_FAT16, 128, 32640, 2, 16239, 64, 0x04},
    {17, LVHD_FAT16, 128, 34688, 4, 8646, 34, 0x04},
    {33, LVHD_FAT16, 2048, 65536, 4, 16343, 64, 0x06},
    {129, LVHD_FAT16, 2048, 262144, 4, 65399, 256, 0x06},
    {513, LVHD_FAT16, 2048, 1048576, 16, 65501, 256, 0x06},
    {1025, LVHD_FAT16, 2048, 2097152, 64, 32763, 128, 0x06},
    {1999, LVHD_FAT16, 2048, 4091904, 64, 63927, 250, 0x06},
    {514, LVHD_FAT32, 2048, 1050624, 8, 131068, 1024, 0x0B},
    {2048, LVHD_FAT32, 2048, 4192256, 8, 523006, 4087, 0x0B},
    {8300, LVHD_FAT32, 2048, 16996352, 16, 1061233, 8291, 0x0C},
    {40000, LVHD_FAT32, 2048, 81917952, 64, 1279655, 9998, 0x0C},
    {130000, LVHD_FAT32, 2048, 266237952, 64, 4158952, 32492, 0x0C},
    {2088959, LVHD_FAT32, 2048, 4278185984u, 64, 66830339, 522113, 0x0C},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    struct lv_fat fat;
    unsigned failed = check_failed;
    CHECK(plan(&fat, rows[i].kind, rows[i].size * MIB, NULL));
    CHECK_INT(fat.start, rows[i].start);
    CHECK_INT(fat.sectors, rows[i].sectors);
    CHECK_INT(fat.per_cluster, rows[i].per_cluster);
    CHECK_INT(fat.clusters, rows[i].clusters);
    CHECK_INT(fat.table, rows[i].table);
    CHECK_INT(fat.type, rows[i].type);
    if (check_failed != failed)
      fprintf(stderr, "  %" PRIu64 " MiB\n", rows[i].size);
  }
}

/* Sectors a cluster, on both sides of each step. */
static void test_steps(void) {
  static const struct {
    enum lvhd_filesystem kind;
    uint64_t sectors; /* of the partition */
    uint32_t at, above;
  } rows[] = {
    {LVHD_FAT16, 8400, 1, 2},        {LVHD_FAT16, 32680, 2, 4},
    {LVHD_FAT16, 262144, 4, 8},      {LVHD_FAT16, 524288, 8, 16},
    {LVHD_FAT16, 1048576, 16, 32},   {LVHD_FAT16, 2097152, 64, 64},
    {LVHD_FAT32, 16777216, 8, 16},   {LVHD_FAT32, 33554432, 16, 32},
    {LVHD_FAT32, 67108864, 32, 64},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    uint64_t disk = rows[i].sectors;
    struct lv_fat fat;
    disk += disk < 65536 - 128 ? 128 : 2048;
    CHECK(plan(&fat, rows[i].kind, disk * SECTOR, NULL));
    CHECK_INT(fat.per_cluster, rows[i].at);
    CHECK(plan(&fat, rows[i].kind, (disk + 1) * SECTOR, NULL));
    CHECK_INT(fat.per_cluster, rows[i].above);
  }
}

/* The most clusters of FAT16: one more, and each is twice as large. */
static void test_most_clusters(void) {
  struct lv_fat fat;
  CHECK(plan(&fat, LVHD_FAT16, UINT64_C(2098880) * SECTOR, NULL));
  CHECK_INT(fat.clusters, 65508);
  CHECK_INT(fat.per_cluster, 32);
  CHECK(plan(&fat, LVHD_FAT16, UINT64_C(2098881) * SECTOR, NULL));
  CHECK_INT(fat.clusters, 32758);
  CHECK_INT(fat.per_cluster, 64);
}

static void test_limits(void) {
  struct lv_fat fat;
  CHECK(plan(&fat, LVHD_FAT16, 3 * MIB, NULL));
  CHECK(!plan(&fat, LVHD_FAT16, 3 * MIB - 512, NULL));
  CHECK(plan(&fat, LVHD_FAT16, 2000 * MIB - 512, NULL));
  CHECK(!plan(&fat, LVHD_FAT16, 2000 * MIB, NULL));
  CHECK(plan(&fat, LVHD_FAT32, 514 * MIB, NULL));
  CHECK(!plan(&fat, LVHD_FAT32, 514 * MIB - 512, NULL));
  CHECK(plan(&fat, LVHD_FAT32, 2088960 * MIB - 512, NULL));
  CHECK(!plan(&fat, LVHD_FAT32, 2088960 * MIB, NULL));
}

/* ---- 2 every size ---------------------------------------------------- */

/* What a table of so many sectors leaves, and whether it has a place for each
 * of these clusters and the two that are none. */
static bool holds(const struct lv_fat *fat, uint64_t table) {
  uint64_t entry = fat->kind == LVHD_FAT16 ? 2 : 4;
  uint64_t before = fat->reserved + fat->root + 2 * table;
  uint64_t clusters = (fat->sectors - before) / fat->per_cluster;
  return table * SECTOR >= (clusters + 2) * entry;
}

/* By the rules of vhd-format.md 7, not by the code's way to them. */
static bool sound(const struct lv_fat *fat, uint64_t disk) {
  bool is16 = fat->kind == LVHD_FAT16;
  uint64_t before = (uint64_t)fat->reserved + fat->root + 2ull * fat->table;
  uint64_t data = (uint64_t)fat->clusters * fat->per_cluster;
  uint32_t spc = fat->per_cluster;
  bool good = fat->start == (disk < 65536 ? 128 : 2048) &&
              (uint64_t)fat->start + fat->sectors == disk &&
              spc >= 1 && spc <= 64 && (spc & (spc - 1)) == 0;
  /* no cluster beyond the partition, none left out */
  good = good && before + data <= fat->sectors &&
         before + data + spc > fat->sectors;
  good = good && holds(fat, fat->table) && !holds(fat, fat->table - 2);
  good = good && (is16 ? fat->clusters >= 4101 && fat->clusters <= 65508
                       : fat->clusters >= 65541 &&
                           fat->clusters <= 268435444);
  for (unsigned i = 0; i < fat->used_count; i++)
    good = good && fat->used[i].sector < disk &&
           (i == 0 || fat->used[i - 1].sector < fat->used[i].sector);
  return good && fat->used_count == (is16 ? 5u : 10u);
}

/* Sectors from..to, both included; says where the first bad one is. */
static void check_sizes(enum lvhd_filesystem kind, uint64_t from,
                        uint64_t to) {
  uint64_t bad = 0, count = 0;
  for (uint64_t disk = from; disk <= to; disk++) {
    struct lv_fat fat;
    if (plan(&fat, kind, disk * SECTOR, "LABEL") && sound(&fat, disk))
      continue;
    bad = count++ == 0 ? disk : bad;
  }
  if (!CHECK(count == 0))
    fprintf(stderr, "  the first: FAT%d, %" PRIu64 " sectors\n",
            kind == LVHD_FAT16 ? 16 : 32, bad);
}

static void test_every_fat16(void) {
  check_sizes(LVHD_FAT16, 3 * 2048, 2000 * 2048 - 1);
}

/* Around each place where something changes: the limits, the size of the
 * clusters, what cylinders reach. */
static void test_boundaries_fat32(void) {
  static const uint64_t edges[] = {
    2048 + 16777216ull, 2048 + 33554432ull, 2048 + 67108864ull,
    1024ull * 255 * 63, 2048 + (1ull << 31), 1ull << 31,
  };
  const uint64_t first = 514 * 2048, last = 2088960ull * 2048 - 1;
  const uint64_t around = 20000;
  check_sizes(LVHD_FAT32, first, first + 2 * around);
  check_sizes(LVHD_FAT32, last - 2 * around, last);
  for (size_t i = 0; i < COUNT(edges); i++)
    check_sizes(LVHD_FAT32, edges[i] - around, edges[i] + around);
  for (uint64_t mb = 514; mb < 2088960; mb += 7)
    check_sizes(LVHD_FAT32, mb * 2048, mb * 2048);
}

static uint64_t next(uint64_t *state) {
  *state = *state * UINT64_C(6364136223846793005) +
           UINT64_C(1442695040888963407);
  return *state >> 16;
}

static void test_random_fat32(void) {
  const uint64_t first = 514 * 2048, last = 2088960ull * 2048 - 1;
  const char *given = getenv("LVHD_SEED");
  uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
  uint64_t state = seed;
  unsigned failed = check_failed;
  for (unsigned i = 0; i < 100000; i++) {
    uint64_t disk = first + next(&state) % (last - first + 1);
    check_sizes(LVHD_FAT32, disk, disk);
  }
  if (check_failed != failed)
    fprintf(stderr, "  LVHD_SEED=%" PRIu64 "\n", seed);
}

/* ---- 3 bytes --------------------------------------------------------- */

static uint32_t get16(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t get32(const uint8_t *p) {
  return get16(p) | get16(p + 2) << 16;
}

static void sector(const struct lv_fat *fat, uint64_t index, uint8_t out[512]) {
  lv_fat_read(fat, out, SECTOR, index * SECTOR);
}

/* All bytes from..to are zero. */
static bool empty(const uint8_t *s, unsigned from, unsigned to) {
  for (unsigned i = from; i < to; i++)
    if (s[i] != 0)
      return false;
  return true;
}

static void test_partitions(void) {
  static const struct {
    uint64_t size; /* sectors */
    enum lvhd_filesystem kind;
    uint8_t entry[8]; /* status, first, type, last */
  } rows[] = {
    /* 127 sectors are two heads and one: head 2, sector 3 */
    {6144, LVHD_FAT16, {0x80, 2, 3, 0, 0x04, 97, 33, 0}},
    {65536, LVHD_FAT16, {0x80, 32, 33, 0, 0x04, 20, 16, 4}},
    {67584, LVHD_FAT16, {0x80, 32, 33, 0, 0x06, 52, 48, 4}},
    {4095999, LVHD_FAT16, {0x80, 32, 33, 0, 0x06, 245, 54, 254}},
    {1024 * 255 * 63, LVHD_FAT32, {0x80, 32, 33, 0, 0x0B, 254, 0xFF, 0xFF}},
    {1024 * 255 * 63 - 1, LVHD_FAT32, {0x80, 32, 33, 0, 0x0B, 254, 0xFE, 0xFF}},
    /* the cylinder's high bits stand with the sector */
    {300 * 255 * 63, LVHD_FAT32, {0x80, 32, 33, 0, 0x0B, 254, 0x7F, 0x2B}},
    {1024 * 255 * 63 + 1, LVHD_FAT32, {0x80, 32, 33, 0, 0x0C, 254, 0xFF, 0xFF}},
    {UINT64_C(4278190079), LVHD_FAT32,
     {0x80, 32, 33, 0, 0x0C, 254, 0xFF, 0xFF}},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    struct lv_fat fat;
    uint8_t s[SECTOR];
    uint32_t start = rows[i].size < 65536 ? 128 : 2048;
    unsigned failed = check_failed;
    CHECK(plan(&fat, rows[i].kind, rows[i].size * SECTOR, NULL));
    sector(&fat, 0, s);
    CHECK_MEM(s, "\xCD\x18", 2);
    CHECK(empty(s, 2, 440) && empty(s, 444, 446) && empty(s, 462, 510));
    CHECK(get32(s + 440) != 0);
    CHECK_MEM(s + 446, rows[i].entry, 8);
    CHECK_INT(get32(s + 454), start);
    CHECK_INT(get32(s + 458), rows[i].size - start);
    CHECK_MEM(s + 510, "\x55\xAA", 2);
    if (check_failed != failed)
      fprintf(stderr, "  %" PRIu64 " sectors\n", rows[i].size);
  }
}

/* A head of a boot sector, what both kinds share, and where the rest is. */
static void check_boot(const struct lv_fat *fat, const uint8_t *s,
                       unsigned tail, const char *label) {
  CHECK_INT(s[0], 0xEB);
  CHECK_INT(s[1], tail + 26 - 2);
  CHECK_INT(s[2], 0x90);
  CHECK_INT(get16(s + 11), 512);
  CHECK_INT(s[13], fat->per_cluster);
  CHECK_INT(s[16], 2);
  CHECK_INT(s[21], 0xF8);
  CHECK_INT(get16(s + 24), 63);
  CHECK_INT(get16(s + 26), 255);
  CHECK_INT(get32(s + 28), fat->start);
  CHECK_INT(s[tail], 0x80);
  CHECK_INT(s[tail + 1], 0);
  CHECK_INT(s[tail + 2], 0x29);
  CHECK_INT(get32(s + tail + 3), fat->serial);
  CHECK_MEM(s + tail + 7, label, 11);
  CHECK_MEM(s + tail + 26, "\xCD\x18", 2);
  CHECK(empty(s, tail + 28, 510));
  CHECK_MEM(s + 510, "\x55\xAA", 2);
}

static void test_fat16_bytes(void) {
  struct lv_fat fat;
  uint8_t s[SECTOR];
  CHECK(plan(&fat, LVHD_FAT16, 3 * MIB, NULL));
  sector(&fat, 128, s);
  check_boot(&fat, s, 36, "NO NAME    ");
  CHECK_MEM(s + 3, "MSDOS5.0", 8);
  CHECK_INT(get16(s + 14), 1);
  CHECK_INT(get16(s + 17), 512);
  CHECK_INT(get16(s + 19), 6016);
  CHECK_INT(get16(s + 22), 24);
  CHECK_INT(get32(s + 32), 0);
  CHECK_MEM(s + 54, "FAT16   ", 8);
  for (unsigned copy = 0; copy < 2; copy++) {
    sector(&fat, 129 + 24 * copy, s);
    CHECK_MEM(s, "\xF8\xFF\xFF\xFF", 4);
    CHECK(empty(s, 4, SECTOR));
  }
  sector(&fat, 129 + 48, s);
  CHECK(empty(s, 0, SECTOR)); /* no label, no entry */
  CHECK_INT(fat.used_count, 4);
  /* from 65,536 sectors on the 32 bits count */
  CHECK(plan(&fat, LVHD_FAT16, 33 * MIB, NULL));
  sector(&fat, 2048, s);
  CHECK_INT(get16(s + 19), 0);
  CHECK_INT(get32(s + 32), 65536);
  CHECK(plan(&fat, LVHD_FAT16, 34 * MIB, NULL));
  sector(&fat, 2048, s);
  CHECK_INT(get16(s + 19), 0);
  CHECK_INT(get32(s + 32), 67584);
  CHECK(plan(&fat, LVHD_FAT16, 33 * MIB - 512, NULL));
  sector(&fat, 2048, s);
  CHECK_INT(get16(s + 19), 65535);
  CHECK_INT(get32(s + 32), 0);
}

static void test_fat32_bytes(void) {
  struct lv_fat fat;
  uint8_t s[SECTOR], copy[SECTOR];
  CHECK(plan(&fat, LVHD_FAT32, 514 * MIB, NULL));
  sector(&fat, 2048, s);
  check_boot(&fat, s, 64, "NO NAME    ");
  CHECK_MEM(s + 3, "MSWIN4.1", 8);
  CHECK_INT(get16(s + 14), 32);
  CHECK(empty(s, 17, 21) && empty(s, 22, 24) && empty(s, 40, 44));
  CHECK_INT(get32(s + 32), 1050624);
  CHECK_INT(get32(s + 36), 1024);
  CHECK_INT(get32(s + 44), 2);
  CHECK_INT(get16(s + 48), 1);
  CHECK_INT(get16(s + 50), 6);
  CHECK(empty(s, 52, 64));
  CHECK_MEM(s + 82, "FAT32   ", 8);
  sector(&fat, 2049, s);
  CHECK_MEM(s, "RRaA", 4);
  CHECK(empty(s, 4, 484));
  CHECK_MEM(s + 484, "rrAa", 4);
  CHECK_INT(get32(s + 488), 131067);
  CHECK_INT(get32(s + 492), 3);
  CHECK(empty(s, 496, 510));
  CHECK_MEM(s + 508, "\x00\x00\x55\xAA", 4);
  sector(&fat, 2050, s);
  CHECK(empty(s, 0, 510) && get16(s + 510) == 0xAA55);
  for (unsigned i = 0; i < 3; i++) {
    sector(&fat, 2048 + i, s);
    sector(&fat, 2048 + 6 + i, copy);
    CHECK_MEM(s, copy, SECTOR);
  }
  for (unsigned i = 0; i < 2; i++) {
    sector(&fat, 2048 + 32 + 1024 * i, s);
    CHECK_MEM(s, "\xF8\xFF\xFF\x0F\xFF\xFF\xFF\x0F\xFF\xFF\xFF\x0F", 12);
    CHECK(empty(s, 12, SECTOR));
  }
  sector(&fat, 2048 + 32 + 2048, s);
  CHECK(empty(s, 0, SECTOR));
  CHECK_INT(fat.used_count, 9);
}

/* The runs are in order, without a gap, and what they say of zeros is so;
 * pieces of any length and place are the same bytes. */
static void test_runs(void) {
  const size_t whole = 3 * MIB;
  uint8_t *disk = malloc(whole), *piece = malloc(whole);
  struct lv_fat fat;
  uint64_t at = 0, sectors = 0, state = 1;
  bool used = false, was = true;
  if (!CHECK(disk && piece && plan(&fat, LVHD_FAT16, whole, "DATA")))
    goto end;
  memset(disk, 0xEE, whole);
  lv_fat_read(&fat, disk, whole, 0);
  while (at < whole) {
    uint64_t n = lv_fat_run(&fat, at, &used);
    CHECK(n > 0 && n % SECTOR == 0 && n <= whole - at);
    CHECK(at == 0 || used != was);
    for (uint64_t i = at; i < at + n && i < whole; i += SECTOR)
      CHECK(empty(disk + i, 0, SECTOR) == !used);
    sectors += used ? n / SECTOR : 0;
    was = used;
    at += n;
  }
  CHECK_INT(at, whole);
  CHECK_INT(sectors, fat.used_count);
  for (unsigned i = 0; i < 500; i++) {
    uint64_t from = next(&state) % 200, n = 1 + next(&state) % 200;
    lv_fat_read(&fat, piece, n * SECTOR, from * SECTOR);
    CHECK_MEM(piece, disk + from * SECTOR, n * SECTOR);
  }
  /* in the middle of a run, too */
  CHECK_INT(lv_fat_run(&fat, 3 * SECTOR, &used), 125 * SECTOR);
  CHECK(!used);
end:
  free(disk);
  free(piece);
}

/* At 8.3 GB and more: nothing is cut to 32 bits. */
static void test_far(void) {
  struct lv_fat fat;
  uint8_t s[SECTOR];
  uint64_t table = 2048 + 32, size = 2088960 * MIB - 512, n = 0;
  bool used = true;
  CHECK(plan(&fat, LVHD_FAT32, size, "FAR"));
  sector(&fat, table + fat.table, s);
  CHECK_INT(get32(s), 0x0FFFFFF8);
  sector(&fat, table + 2 * fat.table, s);
  CHECK_MEM(s, "FAR        \x08", 12);
  n = lv_fat_run(&fat, (table + 2 * fat.table + 1) * SECTOR, &used);
  CHECK(!used);
  CHECK_INT((table + 2 * fat.table + 1) * SECTOR + n, size);
}

/* ---- 4 what must differ ---------------------------------------------- */

static void test_identity(void) {
  /* Identifiers whose hash would be 0, of the disk and of the volume. */
  static const uint8_t zero[2][16] = {
    {0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 1, 0x92, 0xDB, 0x17, 0xB0},
    {0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 1, 0xA2, 0xEF, 0xC1, 0xE8},
  };
  struct lv_fat_in in = {.kind = LVHD_FAT16, .size = 3 * MIB};
  struct lv_fat a, b;
  memcpy(in.uuid, uuid, 16);
  CHECK(lv_fat_plan(&a, &in));
  CHECK(lv_fat_plan(&b, &in));
  CHECK_MEM(&a, &b, sizeof a);
  CHECK_INT(a.signature, 0x1E8C3853); /* FNV-1a of 'D', or 'V', and it */
  CHECK_INT(a.serial, 0x2B0D0269);
  for (unsigned i = 0; i < 16; i++) { /* every byte counts */
    in.uuid[i] ^= 1;
    CHECK(lv_fat_plan(&b, &in));
    CHECK(a.signature != b.signature && a.serial != b.serial);
    in.uuid[i] ^= 1;
  }
  memcpy(in.uuid, zero[0], 16);
  CHECK(lv_fat_plan(&a, &in));
  CHECK_INT(a.signature, 1);
  memcpy(in.uuid, zero[1], 16);
  CHECK(lv_fat_plan(&a, &in));
  CHECK_INT(a.serial, 1);
}

static void test_times(void) {
  static const struct {
    int64_t t; /* seconds since 1970 */
    unsigned year, month, day, hour, minute, second;
  } rows[] = {
    {946684800, 2000, 1, 1, 0, 0, 0},
    {946684800 + 59 * 86400, 2000, 2, 29, 0, 0, 0},
    {946684800 + 60 * 86400, 2000, 3, 1, 0, 0, 0},
    {1111111111, 2005, 3, 18, 1, 58, 30},
    {1735689598, 2024, 12, 31, 23, 59, 58}, /* the 366th day */
    {1767225599, 2025, 12, 31, 23, 59, 58},
    {1767225600, 2026, 1, 1, 0, 0, 0},
    {1709164800, 2024, 2, 29, 0, 0, 0},
    {INT64_C(4107542399), 2100, 2, 28, 23, 59, 58},
    {INT64_C(4107542400), 2100, 3, 1, 0, 0, 0}, /* no leap year */
    {INT64_C(4354819198), 2107, 12, 31, 23, 59, 58},
    {INT64_C(4354819200), 2107, 12, 31, 23, 59, 58}, /* FAT ends there */
    {INT64_C(946684800) + UINT32_MAX, 2107, 12, 31, 23, 59, 58},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    struct lv_fat_in in = {.kind = LVHD_FAT16,
                           .size = 3 * MIB,
                           .label = "T",
                           .timestamp = (uint32_t)(rows[i].t - 946684800)};
    struct lv_fat fat;
    uint8_t s[SECTOR];
    unsigned failed = check_failed, date = 0, time = 0;
    CHECK(lv_fat_plan(&fat, &in));
    sector(&fat, 129 + 48, s);
    time = get16(s + 22);
    date = get16(s + 24);
    CHECK_INT((date >> 9) + 1980, rows[i].year);
    CHECK_INT(date >> 5 & 15, rows[i].month);
    CHECK_INT(date & 31, rows[i].day);
    CHECK_INT(time >> 11, rows[i].hour);
    CHECK_INT(time >> 5 & 63, rows[i].minute);
    CHECK_INT((time & 31) * 2, rows[i].second);
    if (check_failed != failed)
      fprintf(stderr, "  %" PRId64 "\n", rows[i].t);
  }
}

/* ---- 5 labels -------------------------------------------------------- */

static void test_labels(void) {
  static const struct {
    const char *text, *stands; /* NULL: refused */
  } rows[] = {
    {"A", "A          "},
    {"data", "DATA       "},
    {"Ab Cd-9_", "AB CD-9_   "},
    {"ABCDEFGHIJK", "ABCDEFGHIJK"},
    {"ABCDEFGHIJKL", NULL},
    {"", NULL},
    {" A", NULL},
    {"           ", NULL},
    {"A ", "A          "},
    {"!#$%&'()-@^", "!#$%&'()-@^"},
    {"_`{}~", "_`{}~      "},
    {"az`{", "AZ`{       "},
    {"A\x7F", NULL},
    {"A\x1F", NULL},
    {"A\n", NULL},
    {"\x80", NULL},
    {"\xC3\x84", NULL},
    {"\xE5", NULL},
  };
  const char *forbidden = "\"*+,./:;<=>?[\\]|";
  uint8_t out[LV_FAT_LABEL];
  for (size_t i = 0; i < COUNT(rows); i++) {
    unsigned failed = check_failed;
    CHECK(lv_fat_label(rows[i].text, out) == (rows[i].stands != NULL));
    if (rows[i].stands)
      CHECK_MEM(out, rows[i].stands, LV_FAT_LABEL);
    if (check_failed != failed)
      fprintf(stderr, "  \"%s\"\n", rows[i].text);
  }
  for (const char *c = forbidden; *c; c++) {
    char text[] = {'A', *c, '\0'};
    CHECK(!lv_fat_label(text, out));
  }
}

/* A label that is refused is not written in part: the disk has none. */
static void test_bad_label(void) {
  const struct lv_fat_in in = {
    .kind = LVHD_FAT16, .size = UINT64_C(64) << 20, .label = "A/B"};
  struct lv_fat fat;
  CHECK(lv_fat_plan(&fat, &in));
  CHECK(!fat.labelled);
  CHECK_MEM(fat.label, "NO NAME    ", LV_FAT_LABEL);
}

/* In both boot sectors and as the first entry of the root. */
static void test_label_places(void) {
  static const enum lvhd_filesystem kinds[] = {LVHD_FAT16, LVHD_FAT32};
  for (unsigned i = 0; i < 2; i++) {
    struct lv_fat fat;
    uint8_t s[SECTOR];
    CHECK(plan(&fat, kinds[i], 600 * MIB, "disk one"));
    sector(&fat, 2048, s);
    check_boot(&fat, s, i == 0 ? 36 : 64, "DISK ONE   ");
    sector(&fat, 2048 + fat.reserved + 2 * fat.table, s);
    CHECK_MEM(s, "DISK ONE   \x08", 12);
    CHECK(empty(s, 12, 22) && empty(s, 26, SECTOR));
  }
}

/* ---- 6 what lvhd.h refuses ------------------------------------------- */

static void check_refused(int code, int want, const lvhd_task *task,
                          struct lvhd_error *err, const char *reason) {
  CHECK_INT(code, want);
  CHECK(task == NULL);
  CHECK_STR(lvhd_reason_name(err->reason), reason);
  lvhd_error_clear(err);
}

static void test_options(void) {
  struct lvhd_create_options opts = {.preflight = LVHD_NO};
  struct lvhd_convert_options how = {.create = {.preflight = LVHD_NO}};
  const char *image = "/nowhere/a.vhd", *parent = "/nowhere/b.vhd";
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_engine *engine = NULL;
  lvhd_task *task = NULL;
  int code = lvhd_engine_new(&engine, NULL, &err);
  if (!CHECK(code == 0))
    return;
  opts.filesystem = (enum lvhd_filesystem)3;
  code = lvhd_create_fixed(engine, image, 3 << 20, &opts, &task, &err);
  check_refused(code, LVHD_E_INVALIDARG, task, &err, "OPTION_UNKNOWN");
  opts.filesystem = LVHD_FAT16;
  code = lvhd_create_differencing(engine, image, parent, &opts, &task, &err);
  check_refused(code, LVHD_E_INVALIDARG, task, &err, "OPTION_UNKNOWN");
  opts.filesystem = LVHD_UNFORMATTED;
  opts.label = "A";
  code = lvhd_create_differencing(engine, image, parent, &opts, &task, &err);
  check_refused(code, LVHD_E_INVALIDARG, task, &err, "OPTION_UNKNOWN");
  code = lvhd_create_dynamic(engine, image, 3 << 20, &opts, &task, &err);
  check_refused(code, LVHD_E_INVALIDARG, task, &err, "LABEL_ALONE");
  opts.filesystem = LVHD_FAT32;
  code = lvhd_create_dynamic(engine, image, 3 << 20, &opts, &task, &err);
  check_refused(code, LVHD_VM_E_IMAGE_SIZE_TOO_SMALL, task, &err,
                "FILESYSTEM_SIZE");
  how.create.filesystem = LVHD_FAT16;
  code = lvhd_convert(engine, parent, image, &how, &task, &err);
  check_refused(code, LVHD_E_INVALIDARG, task, &err, "OPTION_UNKNOWN");
  how.create.filesystem = (enum lvhd_filesystem)3;
  code = lvhd_convert(engine, parent, image, &how, &task, &err);
  check_refused(code, LVHD_E_INVALIDARG, task, &err, "OPTION_UNKNOWN");
  lvhd_engine_free(engine, true);
}

int main(void) {
  test_reference();
  test_steps();
  test_most_clusters();
  test_limits();
  test_every_fat16();
  test_boundaries_fat32();
  test_random_fat32();
  test_partitions();
  test_fat16_bytes();
  test_fat32_bytes();
  test_runs();
  test_far();
  test_identity();
  test_times();
  test_labels();
  test_bad_label();
  test_label_places();
  test_options();
  return check_done();
}
