/* SPDX-License-Identifier: MIT
 *
 * Scanning a BAT.  A hostile one may have 2^32 entries in a file of holes:
 * so many are looked at as a real disk could have, twice, and sorted in
 * place.  Opens nothing.
 */
#include "image/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/sort.h"
#include "format/audit.h"
#include "format/locators.h"

#define PIECE 65536u

static const unsigned all = LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL |
                            LVHD_HAS_OFFSET;

int lv_table_walk(const struct lv_image *image, const struct lv_env *env,
                  uint64_t first, uint64_t count, lv_entry_fn each, void *arg,
                  lv_stop_fn stop, void *stop_arg, struct lvhd_error *err) {
  uint8_t *piece = lv_buffer(PIECE);
  int code = 0;
  if (piece == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  while (code == 0 && count > 0) {
    size_t n = count < PIECE / 4 ? (size_t)count : PIECE / 4;
    code = stop && stop(stop_arg)
             ? lv_fail(err, LVHD_E_ABORT, LV_R_NONE)
             : lv_image_table(image, env, first, n, piece, err);
    for (size_t i = 0; code == 0 && i < n; i++) {
      uint32_t entry = lv_get_be32(piece + 4 * i);
      if (entry != UINT32_MAX)
        code = each(arg, first + i, entry, err);
    }
    first += n;
    count -= n;
  }
  free(piece);
  return code;
}

/* ---- what a scan gathers --------------------------------------------- */

/* A place in the file that no block may touch; or, where nothing is but
 * what a locator calls its own, should not. */
struct taken {
  uint64_t from, to;
  bool spare;
};

/* A sector that is named by a block that overlaps. */
struct crossed {
  uint32_t entry;
  bool first_too; /* the first block there overlaps the one before, */
  uint64_t free_at; /* which ends here */
  bool seen;
};

struct scan {
  const struct lv_image *image;
  struct lv_findings *list;
  struct lv_table *table;
  uint64_t pitch; /* bytes of a block with its bitmap */
  uint64_t fit;   /* so many bytes from the start a block may begin */
  uint64_t bits;  /* all places of data, or'ed */
  struct taken taken[2 * LV_LOCATORS + 3];
  size_t taken_count;
  uint32_t *entries; /* the ones inside the file */
  size_t inside, room;
  struct crossed crossed[LV_FINDINGS_EACH];
  size_t crossed_count;
};

static void take(struct scan *s, uint64_t from, uint64_t length, bool spare) {
  s->taken[s->taken_count].from = from;
  s->taken[s->taken_count].to = from + length;
  s->taken[s->taken_count].spare = spare;
  s->taken_count++;
}

/* A locator counts by its text, if it is one: in a disk without parent nobody
 * reads it.  XenServer's tools refuse blocks in the rest of its space, too. */
static void take_metadata(struct scan *s) {
  const struct lv_header *h = &s->image->header;
  bool child = lv_image_has_parent(s->image);
  uint64_t length = (uint64_t)s->image->file.st.st_size;
  take(s, 0, LV_FOOTER_SIZE, false);
  take(s, s->image->footer.data_offset, LV_HEADER_SIZE, false);
  take(s, h->table_offset, (uint64_t)h->entries * 4, false);
  for (unsigned i = 0; i < LV_LOCATORS; i++) {
    const struct lv_locator_entry *e = &h->locators[i];
    if (lv_get_be32(e->code) != 0 && e->length != 0 && e->offset <= length &&
        e->length <= length - e->offset)
      take(s, e->offset, e->length, !child);
  }
  for (unsigned i = 0; i < LV_LOCATORS; i++) {
    const struct lv_locator_entry *e = &h->locators[i];
    if (lv_get_be32(e->code) != 0 && e->offset <= length)
      take(s, e->offset, lv_locator_space(e), true);
  }
}

/* As lv_image_holds(), for millions. */
static bool holds(const struct scan *s, uint32_t entry) {
  return (uint64_t)entry * LV_SECTOR < s->fit;
}

static void found(struct scan *s, enum lv_reason reason, uint64_t expected,
                  uint64_t index, uint32_t entry) {
  if (s->list->each[reason] == LV_FINDINGS_EACH)
    return; /* at once: there may be millions */
  lv_finding(s->list,
             reason == LV_R_BLOCK_IN_LOCATOR ? LVHD_WARNING : LVHD_ERROR,
             reason, all, expected,
             (uint64_t)entry * LV_SECTOR,
             s->image->header.table_offset + 4 * index);
}

static int look(void *arg, uint64_t index, uint32_t entry,
                struct lvhd_error *err) {
  struct scan *s = arg;
  uint64_t at = (uint64_t)entry * LV_SECTOR;
  (void)err;
  s->table->used++;
  if (!holds(s, entry)) {
    uint64_t end = s->image->data_end;
    found(s, LV_R_BLOCK_OUTSIDE, end > s->pitch ? end - s->pitch : 0, index,
          entry);
    return 0;
  }
  s->inside++;
  s->bits |= at + s->image->bitmap_size;
  for (size_t i = 0; i < s->taken_count; i++) {
    if (at < s->taken[i].to && s->taken[i].from < at + s->pitch) {
      found(s,
            s->taken[i].spare ? LV_R_BLOCK_IN_LOCATOR
                              : LV_R_BLOCK_ON_METADATA,
            s->taken[i].to, index, entry);
      break;
    }
  }
  return 0;
}

/* ---- overlaps -------------------------------------------------------- */

static int gather(void *arg, uint64_t index, uint32_t entry,
                  struct lvhd_error *err) {
  struct scan *s = arg;
  (void)index;
  (void)err;
  if (s->inside < s->room && holds(s, entry))
    s->entries[s->inside++] = entry;
  return 0;
}

/* The sectors where a block begins before the one in front of it ends. */
static void cross(struct scan *s) {
  for (size_t i = 1; i < s->inside; i++) {
    uint64_t end = (uint64_t)s->entries[i - 1] * LV_SECTOR + s->pitch;
    struct crossed *last = &s->crossed[s->crossed_count];
    bool same = s->entries[i] == s->entries[i - 1];
    if ((uint64_t)s->entries[i] * LV_SECTOR >= end ||
        (s->crossed_count > 0 && last[-1].entry == s->entries[i]))
      continue;
    if (s->crossed_count == LV_FINDINGS_EACH)
      return;
    *last = (struct crossed){.entry = s->entries[i],
                             .first_too = !same,
                             .free_at = end};
    s->crossed_count++;
  }
}

static int tell(void *arg, uint64_t index, uint32_t entry,
                struct lvhd_error *err) {
  struct scan *s = arg;
  size_t low = 0, high = s->crossed_count;
  struct crossed *hit = NULL;
  (void)err;
  if (s->list->each[LV_R_BLOCK_OVERLAP] == LV_FINDINGS_EACH)
    return 0;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (s->crossed[middle].entry < entry)
      low = middle + 1;
    else
      high = middle;
  }
  hit = &s->crossed[low];
  if (low == s->crossed_count || hit->entry != entry)
    return 0;
  if (hit->seen)
    found(s, LV_R_BLOCK_OVERLAP, (uint64_t)entry * LV_SECTOR + s->pitch,
          index, entry);
  else if (hit->first_too)
    found(s, LV_R_BLOCK_OVERLAP, hit->free_at, index, entry);
  hit->seen = true;
  return 0;
}

static int find_overlaps(struct scan *s, const struct lv_env *env,
                         uint64_t count, lv_stop_fn stop, void *stop_arg,
                         struct lvhd_error *err) {
  int code = 0;
  s->room = s->inside;
  s->inside = 0;
  s->entries = malloc(s->room * sizeof *s->entries);
  if (s->entries == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  code = lv_table_walk(s->image, env, 0, count, gather, s, stop, stop_arg,
                       err);
  if (code == 0) {
    lv_sort_u32(s->entries, s->inside);
    cross(s);
  }
  free(s->entries);
  if (code == 0 && s->crossed_count > 0)
    code = lv_table_walk(s->image, env, 0, count, tell, s, stop, stop_arg,
                         err);
  return code;
}

static uint32_t alignment(const struct scan *s) {
  uint64_t bits = s->bits | 4096;
  return s->inside == 0 ? 0 : (uint32_t)(bits & (~bits + 1));
}

int lv_table_scan(struct lv_table *table, const struct lv_image *image,
                  const struct lv_env *env, struct lv_findings *list,
                  lv_stop_fn stop, void *stop_arg, struct lvhd_error *err) {
  struct scan s = {.image = image, .list = list, .table = table};
  uint64_t count = image->blocks < LV_TABLE_MOST ? image->blocks
                                                 : LV_TABLE_MOST;
  int code = 0;
  *table = (struct lv_table){0};
  s.pitch = (uint64_t)image->bitmap_size + image->header.block_size;
  s.fit = image->data_end >= s.pitch ? image->data_end - s.pitch + 1 : 0;
  if (count < image->blocks)
    lv_finding(list, LVHD_NOTE, LV_R_BAT_NOT_SCANNED, all, count,
               image->blocks, image->header.table_offset);
  take_metadata(&s);
  code = lv_table_walk(image, env, 0, count, look, &s, stop, stop_arg, err);
  if (code == 0) {
    table->alignment = alignment(&s);
    if (s.inside > 1)
      code = find_overlaps(&s, env, count, stop, stop_arg, err);
  }
  return code;
}

/* ---- before a change ------------------------------------------------- */

int lv_table_sound(struct lv_table *table, const struct lv_image *image,
                   const struct lv_env *env, struct lvhd_error *err) {
  struct lv_findings list = {0};
  int code = lv_table_scan(table, image, env, &list, NULL, NULL, err);
  if (code == 0 && list.no_memory)
    code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  for (size_t i = 0; code == 0 && i < list.count; i++) {
    const struct lvhd_finding *bad = &list.items[i];
    if (bad->severity != LVHD_ERROR && bad->reason != LV_R_BAT_NOT_SCANNED)
      continue;
    code = lv_fail_range(err, LVHD_VM_E_INVALID_HD_FILE,
                         (enum lv_reason)bad->reason, bad->expected,
                         bad->actual);
    if (err) {
      err->has = bad->has;
      err->offset = bad->offset;
    }
  }
  lv_findings_free(&list);
  if (code != 0)
    lv_error_path(err, image->path);
  return code;
}

static void reach(uint64_t *end, uint64_t from, uint64_t length,
                  uint64_t limit) {
  if (from <= limit && length <= limit - from && from + length > *end)
    *end = from + length;
}

/* Header sector and map of a batmap that is one. */
static int reach_batmap(uint64_t *end, const struct lv_image *image,
                        const struct lv_env *env, uint64_t limit,
                        struct lvhd_error *err) {
  uint64_t at = lv_batmap_at(&image->footer, &image->header);
  uint8_t bytes[LV_BATMAP_SIZE];
  struct lv_batmap map;
  int code = 0;
  if (at == 0 || at > limit || limit - at < sizeof bytes)
    return 0;
  code = lv_file_read(&image->file, env, bytes, sizeof bytes, at, err);
  if (code != 0 || !lv_batmap_decode(&map, bytes))
    return code;
  reach(end, at, sizeof bytes, limit);
  reach(end, map.map_at, map.map_size, limit);
  return 0;
}

/* The end of all metadata inside the file. */
static int metadata_end(uint64_t *out, const struct lv_image *image,
                        const struct lv_env *env, struct lvhd_error *err) {
  const struct lv_header *h = &image->header;
  uint64_t limit = image->data_end;
  uint64_t end = LV_FOOTER_SIZE;
  int code = 0;
  reach(&end, image->footer.data_offset, LV_HEADER_SIZE, limit);
  reach(&end, h->table_offset,
        lv_round_up((uint64_t)h->entries * 4, LV_SECTOR), limit);
  reach(&end, h->table_offset, (uint64_t)h->entries * 4, limit);
  for (unsigned i = 0; i < LV_LOCATORS; i++) {
    const struct lv_locator_entry *e = &h->locators[i];
    if (lv_get_be32(e->code) == 0)
      continue;
    reach(&end, e->offset, e->length, limit);
    reach(&end, e->offset, lv_locator_space(e), limit);
  }
  code = reach_batmap(&end, image, env, limit, err);
  *out = lv_round_up(end, LV_SECTOR);
  return code;
}

struct last {
  uint64_t entry;
  bool any;
};

static int keep_last(void *arg, uint64_t index, uint32_t entry,
                     struct lvhd_error *err) {
  struct last *last = arg;
  (void)index;
  (void)err;
  if (entry > last->entry)
    last->entry = entry;
  last->any = true;
  return 0;
}

int lv_table_end(uint64_t *end, const struct lv_image *image,
                 const struct lv_env *env, struct lvhd_error *err) {
  uint64_t pitch = (uint64_t)image->bitmap_size + image->header.block_size;
  struct last last = {0};
  int code = 0;
  *end = image->footer.current_size;
  if (!lv_image_has_table(image))
    return 0;
  code = metadata_end(end, image, env, err);
  if (code == 0)
    code = lv_table_walk(image, env, 0, image->header.entries, keep_last,
                         &last, NULL, NULL, err);
  if (code == 0 && last.any && last.entry * LV_SECTOR + pitch > *end)
    *end = last.entry * LV_SECTOR + pitch;
  return code;
}
