/* SPDX-License-Identifier: MIT
 *
 * A new disk with one partition, formatted as FAT16 or FAT32 and empty: where
 * everything lies, and the few sectors that are not zero.  Bytes only; knows
 * nothing of VHDs and opens nothing.
 *
 *   partition table | zeros | boot sector(s) | FAT | FAT | root folder | data
 *
 * The partition begins at 1 MiB, or at 64 KiB on disks of less than 32 MiB,
 * and ends with the disk.
 */
#ifndef LV_FORMAT_FAT_H
#define LV_FORMAT_FAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lvhd.h"

/* The documented limits of the disk, in bytes. */
#define LV_FAT16_MIN (INT64_C(3) << 20)    /* inclusive */
#define LV_FAT16_MAX (INT64_C(2000) << 20) /* exclusive */
#define LV_FAT32_MIN (INT64_C(514) << 20)  /* inclusive */
#define LV_FAT32_MAX (INT64_C(2088960) << 20) /* exclusive, as of any disk */

#define LV_FAT_LABEL 11 /* characters of a label, padded with spaces */

struct lv_fat_in {
  enum lvhd_filesystem kind; /* not LVHD_UNFORMATTED */
  uint64_t size;             /* bytes of the disk, a multiple of 512 */
  uint8_t uuid[16];          /* what must differ between disks comes from it */
  uint32_t timestamp;        /* seconds since 2000 */
  const char *label;         /* one that lv_fat_label() takes; NULL: none */
};

/* What a sector holds that is not all zero. */
enum lv_fat_role {
  LV_FAT_PARTITIONS,
  LV_FAT_BOOT,
  LV_FAT_INFO, /* these two of FAT32 alone */
  LV_FAT_THIRD,
  LV_FAT_TABLE,
  LV_FAT_ROOT
};

/* The partition table, six sectors of boot code, two FATs, the root. */
#define LV_FAT_USED 10

struct lv_fat {
  enum lvhd_filesystem kind;
  uint64_t disk;        /* sectors of the disk */
  uint32_t start;       /* the partition's first sector */
  uint32_t sectors;     /* of the partition */
  uint8_t type;         /* of the partition */
  uint32_t per_cluster; /* sectors */
  uint32_t reserved;    /* sectors before the first FAT */
  uint32_t root;        /* sectors of the root folder; FAT32: 0, a cluster */
  uint32_t table;       /* sectors of one FAT */
  uint32_t clusters;
  uint32_t signature;   /* of the disk */
  uint32_t serial;      /* of the volume; neither is ever 0 */
  bool labelled;
  uint8_t label[LV_FAT_LABEL]; /* "NO NAME    " where there is none */
  uint16_t date, time;  /* of the label, in UTC */
  /* the sectors of the disk that are not all zero, in their order */
  struct {
    uint64_t sector;
    enum lv_fat_role role;
  } used[LV_FAT_USED];
  unsigned used_count;
};

/* A label as it stands on the disk, upper case and padded.  False: it has
 * not 1 to 11 characters, or one that no label may have. */
bool lv_fat_label(const char *text, uint8_t out[LV_FAT_LABEL]);

/* False: size is outside of the limits. */
bool lv_fat_plan(struct lv_fat *fat, const struct lv_fat_in *in);

/* How many bytes from `at` on are of one kind: *used tells of sectors that
 * are not all zero, or else of zeros.  at is a multiple of 512 inside the
 * disk. */
uint64_t lv_fat_run(const struct lv_fat *fat, uint64_t at, bool *used);

/* n bytes of the disk from `at` on, both multiples of 512. */
void lv_fat_read(const struct lv_fat *fat, uint8_t *buf, size_t n,
                 uint64_t at);

#endif
