/* SPDX-License-Identifier: MIT
 *
 * Any size, identifier, time and label as a formatted disk: what is refused
 * is refused by the documented limits, and of what is planned the bytes say
 * what the plan says.
 */
#include <string.h>

#include "format/fat.h"
#include "targets.h"

#define SECTOR 512u

static uint64_t take(const uint8_t *bytes, size_t n, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; i++)
    value = value << 8 | (at + i < n ? bytes[at + i] : 0u);
  return value;
}

static uint32_t le(const uint8_t *from, size_t n) {
  uint32_t value = 0;
  for (size_t i = n; i > 0; i--)
    value = value << 8 | from[i - 1];
  return value;
}

/* The first sector, and the first of the partition. */
static const char *look_at_head(const struct lv_fat *fat) {
  uint8_t first[SECTOR];
  uint8_t boot[SECTOR];
  const uint8_t *entry = first + 446;
  bool is16 = fat->kind == LVHD_FAT16;
  uint32_t sectors = 0;
  lv_fat_read(fat, first, sizeof first, 0);
  lv_fat_read(fat, boot, sizeof boot, (uint64_t)fat->start * SECTOR);
  if (le(first + 510, 2) != 0xAA55 || le(boot + 510, 2) != 0xAA55)
    return "fat: no signature";
  if (le(entry + 8, 4) != fat->start || le(entry + 12, 4) != fat->sectors ||
      entry[4] != fat->type ||
      (uint64_t)fat->start + fat->sectors != fat->disk)
    return "fat: the partition";
  sectors = le(boot + 19, 2) != 0 ? le(boot + 19, 2) : le(boot + 32, 4);
  if (le(boot + 11, 2) != SECTOR || boot[13] != fat->per_cluster ||
      le(boot + 14, 2) != fat->reserved || boot[16] != 2 ||
      sectors != fat->sectors ||
      (is16 ? le(boot + 22, 2) : le(boot + 36, 4)) != fat->table)
    return "fat: the boot sector";
  return NULL;
}

/* FATs, root and clusters lie inside, and the FAT has a place for each. */
static const char *look_at_plan(const struct lv_fat *fat) {
  uint64_t entry = fat->kind == LVHD_FAT16 ? 2 : 4;
  uint64_t before = fat->reserved + fat->root + (uint64_t)2 * fat->table;
  if (before + (uint64_t)fat->clusters * fat->per_cluster > fat->sectors)
    return "fat: more than the partition";
  if ((uint64_t)fat->table * SECTOR < (fat->clusters + 2) * entry)
    return "fat: the table is short";
  if (fat->signature == 0 || fat->serial == 0)
    return "fat: a number is 0";
  for (unsigned i = 0; i < fat->used_count; i++)
    if (fat->used[i].sector >= fat->disk ||
        (i > 0 && fat->used[i].sector <= fat->used[i - 1].sector))
      return "fat: the order of sectors";
  return NULL;
}

/* Runs cover the disk, what they call zeros is zeros, and sectors are the
 * same whichever way they are cut. */
static const char *look_at_runs(const struct lv_fat *fat) {
  uint64_t end = fat->disk * SECTOR;
  unsigned runs = 0;
  for (uint64_t at = 0; at < end; runs++) {
    uint8_t two[2 * SECTOR];
    uint8_t one[SECTOR];
    bool used = false;
    uint64_t n = lv_fat_run(fat, at, &used);
    if (n == 0 || n % SECTOR != 0 || n > end - at || runs > 2 * LV_FAT_USED)
      return "fat: a run";
    lv_fat_read(fat, one, sizeof one, at);
    if (!used && (one[0] != 0 || memcmp(one, one + 1, SECTOR - 1) != 0))
      return "fat: a run of zeros is none";
    if (at + sizeof two <= end) {
      lv_fat_read(fat, two, sizeof two, at);
      if (memcmp(one, two, SECTOR) != 0)
        return "fat: another sector in two";
    }
    at += n;
  }
  return NULL;
}

const char *fuzz_fat(const uint8_t *bytes, size_t n) {
  struct lv_fat fat;
  struct lv_fat_in in = {.kind = LVHD_FAT16};
  uint8_t label[LV_FAT_LABEL];
  char text[16] = {0};
  const char *wrong = NULL;
  bool is16 = take(bytes, n, 0, 1) % 2 == 0;
  int64_t min = is16 ? LV_FAT16_MIN : LV_FAT32_MIN;
  int64_t max = is16 ? LV_FAT16_MAX : LV_FAT32_MAX;
  in.kind = is16 ? LVHD_FAT16 : LVHD_FAT32;
  in.size = take(bytes, n, 1, 6) / SECTOR * SECTOR;
  in.timestamp = (uint32_t)take(bytes, n, 7, 4);
  for (size_t i = 0; i < sizeof in.uuid; i++)
    in.uuid[i] = (uint8_t)take(bytes, n, 11 + i % 5, 1);
  for (size_t i = 0; i + 1 < sizeof text && 16 + i < n; i++)
    text[i] = (char)bytes[16 + i];
  if (lv_fat_label(text, label))
    in.label = text;
  if (!lv_fat_plan(&fat, &in))
    return in.size >= (uint64_t)min && in.size < (uint64_t)max ? "fat: refused"
                                                               : NULL;
  if (in.size < (uint64_t)min || in.size >= (uint64_t)max)
    return "fat: accepted";
  wrong = look_at_plan(&fat);
  if (wrong == NULL)
    wrong = look_at_head(&fat);
  return wrong != NULL ? wrong : look_at_runs(&fat);
}
