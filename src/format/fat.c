/* SPDX-License-Identifier: MIT
 *
 * Laying out a FAT volume and making its bytes.  Opens nothing, and knows
 * nothing of the file that will hold the disk.
 *
 *   1 labels   2 the layout   3 what must differ   4 the plan   5 sectors
 *   6 reading
 */
#include "format/fat.h"

#include <string.h>

#define SECTOR 512u

/* ---- 1 labels -------------------------------------------------------- */

/* The first character may not be a space: a name that begins so is none. */
bool lv_fat_label(const char *text, uint8_t out[LV_FAT_LABEL]) {
  size_t n = strlen(text);
  if (n == 0 || n > LV_FAT_LABEL || text[0] == ' ')
    return false;
  memset(out, ' ', LV_FAT_LABEL);
  for (size_t i = 0; i < n; i++) {
    char c = text[i];
    if (c < ' ' || c > '~' || strchr("\"*+,./:;<=>?[\\]|", c))
      return false;
    out[i] = (uint8_t)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  return true;
}

/* ---- 2 the layout ---------------------------------------------------- */

#define START_LARGE 2048u /* sectors: 1 MiB */
#define START_SMALL 128u  /* a disk of 3 MiB would not be FAT16 behind 1 MiB */
#define LARGE 65536u      /* sectors of a disk with the larger start */

/* What can be told by cylinder, head and sector. */
#define HEADS 255u
#define TRACK 63u
#define REACH (UINT64_C(1024) * HEADS * TRACK)

#define ROOT_ENTRIES 512u
#define ENTRY 32u /* bytes of an entry of a folder */
#define RESERVED16 1u
#define RESERVED32 32u

/* The number of clusters alone makes a volume FAT16 or FAT32; 16 away from
 * the ends, since not all programs count alike. */
#define LEAST16 (4085u + 16)
#define MOST16 (65524u - 16)
#define LEAST32 (65525u + 16)
#define MOST32 268435444u

_Static_assert(LV_FAT16_MAX / SECTOR < REACH, "FAT16 needs no LBA type");
_Static_assert(LV_FAT32_MAX / SECTOR <= UINT32_MAX, "sectors fit 32 bits");

/* Microsoft's sizes of clusters by the sectors of the volume; but up to 8,400
 * theirs is FAT12. */
struct step {
  uint32_t most, per_cluster;
};
static const struct step steps16[] = {
  {8400, 1},     {32680, 2},    {262144, 4},        {524288, 8},
  {1048576, 16}, {2097152, 32}, {UINT32_MAX, 64},
};
static const struct step steps32[] = {
  {16777216, 8}, {33554432, 16}, {67108864, 32}, {UINT32_MAX, 64},
};

static uint32_t step_of(const struct step *steps, uint32_t sectors) {
  while (sectors > steps->most)
    steps++;
  return steps->per_cluster;
}

/* FAT and clusters share what is left; this length always suffices and is at
 * most one sector too long (Microsoft's formula can be one too short). */
static void share(struct lv_fat *fat) {
  uint32_t entry = fat->kind == LVHD_FAT16 ? 2 : 4;
  uint32_t left = fat->sectors - fat->reserved - fat->root;
  uint64_t per_sector = (uint64_t)fat->per_cluster * (SECTOR / entry) + 2;
  uint64_t needed = (uint64_t)left + UINT64_C(2) * fat->per_cluster;
  fat->table = (uint32_t)((needed + per_sector - 1) / per_sector);
  fat->clusters = (left - 2 * fat->table) / fat->per_cluster;
}

static uint8_t partition_type(const struct lv_fat *fat) {
  if (fat->kind == LVHD_FAT16)
    return fat->sectors < 65536 ? 0x04 : 0x06;
  return fat->disk > REACH ? 0x0C : 0x0B;
}

static bool lay_out(struct lv_fat *fat) {
  bool is16 = fat->kind == LVHD_FAT16;
  fat->start = fat->disk < LARGE ? START_SMALL : START_LARGE;
  fat->sectors = (uint32_t)(fat->disk - fat->start);
  fat->type = partition_type(fat);
  fat->reserved = is16 ? RESERVED16 : RESERVED32;
  fat->root = is16 ? ROOT_ENTRIES * ENTRY / SECTOR : 0;
  fat->per_cluster = step_of(is16 ? steps16 : steps32, fat->sectors);
  share(fat);
  /* around 1,024 MiB Microsoft's clusters are too many by a few */
  if (is16 && fat->clusters > MOST16) {
    fat->per_cluster *= 2;
    share(fat);
  }
  return fat->clusters >= (is16 ? LEAST16 : LEAST32) &&
         fat->clusters <= (is16 ? MOST16 : MOST32);
}

/* ---- 3 what must differ ---------------------------------------------- */

/* Two numbers of the identifier's bytes (FNV-1a), so that the same options
 * make the same file.  Windows writes into a disk whose signature is 0. */
static uint32_t derive(const uint8_t uuid[16], uint8_t which) {
  uint32_t h = (2166136261u ^ which) * 16777619u;
  for (unsigned i = 0; i < 16; i++)
    h = (h ^ uuid[i]) * 16777619u;
  return h != 0 ? h : 1;
}

static bool is_leap(unsigned year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

#define DAY 86400u
#define DAYS_MAX 39446u /* from 2000 to the end of 2107: the last year here */

/* In UTC: the library asks for no time zone. */
static void stamp(struct lv_fat *fat, uint32_t timestamp) {
  static const uint8_t months[12] = {31, 28, 31, 30, 31, 30,
                                     31, 31, 30, 31, 30, 31};
  uint32_t last = DAYS_MAX * DAY - 2;
  uint32_t t = timestamp < last ? timestamp : last;
  unsigned days = t / DAY, year = 2000, month = 0;
  for (; days >= (is_leap(year) ? 366u : 365u); year++)
    days -= is_leap(year) ? 366u : 365u;
  for (;; month++) {
    unsigned n = months[month] + (month == 1 && is_leap(year) ? 1u : 0u);
    if (days < n)
      break;
    days -= n;
  }
  t %= DAY;
  fat->date = (uint16_t)((year - 1980) << 9 | (month + 1) << 5 | (days + 1));
  fat->time = (uint16_t)(t / 3600 << 11 | t / 60 % 60 << 5 | t % 60 / 2);
}

/* ---- 4 the plan ------------------------------------------------------ */

static void use(struct lv_fat *fat, uint64_t sector, enum lv_fat_role role) {
  fat->used[fat->used_count].sector = sector;
  fat->used[fat->used_count].role = role;
  fat->used_count++;
}

static void use_all(struct lv_fat *fat) {
  uint64_t start = fat->start;
  uint64_t table = start + fat->reserved;
  use(fat, 0, LV_FAT_PARTITIONS);
  use(fat, start, LV_FAT_BOOT);
  if (fat->kind == LVHD_FAT32) {
    use(fat, start + 1, LV_FAT_INFO);
    use(fat, start + 2, LV_FAT_THIRD);
    use(fat, start + 6, LV_FAT_BOOT);
    use(fat, start + 7, LV_FAT_INFO);
    use(fat, start + 8, LV_FAT_THIRD);
  }
  use(fat, table, LV_FAT_TABLE);
  use(fat, table + fat->table, LV_FAT_TABLE);
  if (fat->labelled)
    use(fat, table + UINT64_C(2) * fat->table, LV_FAT_ROOT);
}

bool lv_fat_plan(struct lv_fat *fat, const struct lv_fat_in *in) {
  bool is16 = in->kind == LVHD_FAT16;
  int64_t min = is16 ? LV_FAT16_MIN : LV_FAT32_MIN;
  int64_t max = is16 ? LV_FAT16_MAX : LV_FAT32_MAX;
  memset(fat, 0, sizeof *fat);
  if (in->size < (uint64_t)min || in->size >= (uint64_t)max)
    return false;
  fat->kind = in->kind;
  fat->disk = in->size / SECTOR;
  if (!lay_out(fat))
    return false;
  fat->signature = derive(in->uuid, 'D');
  fat->serial = derive(in->uuid, 'V');
  fat->labelled = in->label && lv_fat_label(in->label, fat->label);
  if (!fat->labelled)
    memcpy(fat->label, "NO NAME    ", LV_FAT_LABEL);
  stamp(fat, in->timestamp);
  use_all(fat);
  return true;
}

/* ---- 5 sectors ------------------------------------------------------- */

static void put16(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v) {
  put16(p, v & 0xFFFF);
  put16(p + 2, v >> 16);
}

/* Both boot sectors: "this disk does not boot", for the BIOS to say. */
static void put_code(uint8_t *p) {
  p[0] = 0xCD; /* int 18h */
  p[1] = 0x18;
}

/* Head, sector, cylinder; what is too far is the last there is. */
static void put_chs(uint8_t p[3], uint64_t sector) {
  uint32_t cylinder = 0, head = HEADS - 1, in_track = TRACK;
  if (sector < REACH) {
    cylinder = (uint32_t)(sector / TRACK / HEADS);
    head = (uint32_t)(sector / TRACK % HEADS);
    in_track = (uint32_t)(sector % TRACK) + 1;
  } else {
    cylinder = 1023;
  }
  p[0] = (uint8_t)head;
  p[1] = (uint8_t)(in_track | (cylinder >> 8) << 6);
  p[2] = (uint8_t)cylinder;
}

static void put_partitions(const struct lv_fat *fat, uint8_t *s) {
  uint8_t *entry = s + 446;
  put_code(s);
  put32(s + 440, fat->signature);
  entry[0] = 0x80;
  put_chs(entry + 1, fat->start);
  entry[4] = fat->type;
  put_chs(entry + 5, fat->disk - 1);
  put32(entry + 8, fat->start);
  put32(entry + 12, fat->sectors);
  put16(s + 510, 0xAA55);
}

/* What FAT16 has at 36 and FAT32 at 64. */
static void put_volume(const struct lv_fat *fat, uint8_t *p,
                       const char *name) {
  p[0] = 0x80; /* the first hard disk */
  p[2] = 0x29; /* the rest is there */
  put32(p + 3, fat->serial);
  memcpy(p + 7, fat->label, LV_FAT_LABEL);
  memcpy(p + 18, name, 8);
  put_code(p + 26);
}

static void put_boot32(const struct lv_fat *fat, uint8_t *s) {
  memcpy(s, "\xEB\x58\x90MSWIN4.1", 11);
  put32(s + 32, fat->sectors);
  put32(s + 36, fat->table);
  put32(s + 44, 2); /* the root's cluster */
  put16(s + 48, 1); /* the sector of FSInfo */
  put16(s + 50, 6); /* that of the copies */
  put_volume(fat, s + 64, "FAT32   ");
}

static void put_boot16(const struct lv_fat *fat, uint8_t *s) {
  bool is_short = fat->sectors < 65536;
  memcpy(s, "\xEB\x3C\x90MSDOS5.0", 11);
  put16(s + 17, ROOT_ENTRIES);
  put16(s + 19, is_short ? fat->sectors : 0);
  put16(s + 22, fat->table);
  put32(s + 32, is_short ? 0 : fat->sectors);
  put_volume(fat, s + 36, "FAT16   ");
}

static void put_boot(const struct lv_fat *fat, uint8_t *s) {
  if (fat->kind == LVHD_FAT16)
    put_boot16(fat, s);
  else
    put_boot32(fat, s);
  put16(s + 11, SECTOR);
  s[13] = (uint8_t)fat->per_cluster;
  put16(s + 14, fat->reserved);
  s[16] = 2; /* FATs */
  s[21] = 0xF8;
  put16(s + 24, TRACK);
  put16(s + 26, HEADS);
  put32(s + 28, fat->start);
  put16(s + 510, 0xAA55);
}

static void put_info(const struct lv_fat *fat, uint8_t *s) {
  put32(s, 0x41615252);
  put32(s + 484, 0x61417272);
  put32(s + 488, fat->clusters - 1); /* free: all but the root's */
  put32(s + 492, 3);                 /* the next that is */
  put16(s + 510, 0xAA55);
}

static void put_table(const struct lv_fat *fat, uint8_t *s) {
  if (fat->kind == LVHD_FAT16) {
    put32(s, 0xFFFFFFF8);
    return;
  }
  put32(s, 0x0FFFFFF8);
  put32(s + 4, 0x0FFFFFFF);
  put32(s + 8, 0x0FFFFFFF); /* the root ends in its cluster */
}

/* One entry: the label, and when it was given. */
static void put_root(const struct lv_fat *fat, uint8_t *s) {
  memcpy(s, fat->label, LV_FAT_LABEL);
  s[11] = 0x08;
  put16(s + 22, fat->time);
  put16(s + 24, fat->date);
}

static void put_sector(const struct lv_fat *fat, enum lv_fat_role role,
                       uint8_t *s) {
  switch (role) {
  case LV_FAT_PARTITIONS:
    put_partitions(fat, s);
    break;
  case LV_FAT_BOOT:
    put_boot(fat, s);
    break;
  case LV_FAT_INFO:
    put_info(fat, s);
    break;
  case LV_FAT_THIRD:
    put16(s + 510, 0xAA55);
    break;
  case LV_FAT_TABLE:
    put_table(fat, s);
    break;
  case LV_FAT_ROOT:
    put_root(fat, s);
    break;
  }
}

/* ---- 6 reading ------------------------------------------------------- */

/* The first used sector from this one on. */
static unsigned find(const struct lv_fat *fat, uint64_t sector) {
  unsigned i = 0;
  while (i < fat->used_count && fat->used[i].sector < sector)
    i++;
  return i;
}

uint64_t lv_fat_run(const struct lv_fat *fat, uint64_t at, bool *used) {
  uint64_t first = at / SECTOR, end = first;
  unsigned i = find(fat, first);
  for (; i < fat->used_count && fat->used[i].sector == end; i++)
    end++;
  *used = end > first;
  if (!*used)
    end = i < fat->used_count ? fat->used[i].sector : fat->disk;
  return (end - first) * SECTOR;
}

void lv_fat_read(const struct lv_fat *fat, uint8_t *buf, size_t n,
                 uint64_t at) {
  uint64_t first = at / SECTOR, end = first + n / SECTOR;
  memset(buf, 0, n);
  for (unsigned i = find(fat, first);
       i < fat->used_count && fat->used[i].sector < end; i++)
    put_sector(fat, fat->used[i].role,
               buf + (size_t)(fat->used[i].sector - first) * SECTOR);
}
