/* SPDX-License-Identifier: MIT
 *
 * Gathering what lies where.  The table is trusted only after a scan that
 * found nothing wrong with it.
 */
#include "image/space.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/sort.h"
#include "format/bitmap.h"

/* ---- the table as a whole -------------------------------------------- */

static int refuse(const struct lv_image *image, enum lv_reason reason,
                  uint64_t expected, uint64_t actual, uint64_t offset,
                  struct lvhd_error *err) {
  int code = lv_fail_range(err, LVHD_VM_E_INVALID_HD_FILE, reason, expected,
                           actual);
  if (err) {
    err->has |= LVHD_HAS_OFFSET;
    err->offset = offset;
    lv_error_path(err, image->path);
  }
  return code;
}

static int check_table(struct lv_space *s, const struct lv_env *env,
                       struct lvhd_error *err) {
  const struct lv_image *image = s->image;
  struct lv_table table;
  int code = 0;
  if (image->header.entries > LV_TABLE_MOST)
    return refuse(image, LV_R_BAT_NOT_SCANNED, LV_TABLE_MOST,
                  image->header.entries, image->header.table_offset, err);
  code = lv_table_sound(&table, image, env, err);
  s->align = table.alignment < LV_SECTOR ? LV_SECTOR : table.alignment;
  return code;
}

/* ---- metadata -------------------------------------------------------- */

static void take(struct lv_space *s, uint64_t from, uint64_t to) {
  struct lv_span *span = &s->taken[s->taken_count++];
  span->from = from - from % LV_SECTOR;
  span->to = lv_round_up(to, LV_SECTOR);
  if (span->to > s->head_end)
    s->head_end = span->to;
}

static bool meets(const struct lv_span *span, uint64_t from, uint64_t to) {
  return from < span->to && span->from < to;
}

/* Inside the file, and on no other metadata. */
static bool is_free(const struct lv_space *s, uint64_t at, uint64_t n) {
  uint64_t end = s->image->data_end;
  if (at % LV_SECTOR != 0 || n == 0 || at > end || n > end - at)
    return false;
  for (size_t i = 0; i < s->taken_count; i++)
    if (meets(&s->taken[i], at, at + n))
      return false;
  return true;
}

/* The batmap counts where it is whole. */
static int take_batmap(struct lv_space *s, const struct lv_env *env,
                       struct lvhd_error *err) {
  const struct lv_image *image = s->image;
  uint64_t at = lv_batmap_at(&image->footer, &image->header);
  uint8_t bytes[LV_BATMAP_SIZE];
  struct lv_batmap map;
  int code = 0;
  if (at == 0 || !is_free(s, at, LV_BATMAP_SIZE))
    return 0;
  code = lv_file_read(&image->file, env, bytes, sizeof bytes, at, err);
  if (code != 0 || !lv_batmap_decode(&map, bytes) ||
      map.map_at < at + LV_BATMAP_SIZE ||
      !is_free(s, map.map_at, map.map_size))
    return code;
  s->batmap_at = at;
  s->batmap = map;
  take(s, at, at + LV_BATMAP_SIZE);
  take(s, map.map_at, map.map_at + map.map_size);
  return 0;
}

/* What a locator calls its own, too, as far as the file reaches. */
static void take_locator(struct lv_space *s,
                         const struct lv_locator_entry *e) {
  uint64_t end = s->image->data_end;
  uint64_t space = e->space < LV_SECTOR ? (uint64_t)e->space * LV_SECTOR
                                        : e->space;
  if (lv_get_be32(e->code) == 0 || e->offset >= end)
    return;
  if (space < e->length)
    space = e->length;
  take(s, e->offset, space > end - e->offset ? end : e->offset + space);
}

static int take_metadata(struct lv_space *s, const struct lv_env *env,
                         struct lvhd_error *err) {
  const struct lv_header *header = &s->image->header;
  uint64_t header_at = s->image->footer.data_offset;
  take(s, 0, LV_FOOTER_SIZE);
  take(s, header_at, header_at + LV_HEADER_SIZE);
  take(s, header->table_offset,
       header->table_offset + (uint64_t)header->entries * 4);
  for (unsigned i = 0; i < LV_LOCATORS; i++)
    take_locator(s, &header->locators[i]);
  return take_batmap(s, env, err);
}

/* ---- blocks ---------------------------------------------------------- */

struct gather {
  struct lv_space *space;
  const uint8_t *but;
  size_t room;
};

/* The scan knows no batmap. */
static int check_batmap(const struct lv_space *s, uint64_t index,
                        uint64_t at, struct lvhd_error *err) {
  for (size_t i = s->taken_count - 2;
       s->batmap_at != 0 && i < s->taken_count; i++)
    if (meets(&s->taken[i], at, at + s->pitch))
      return refuse(s->image, LV_R_BLOCK_ON_METADATA, s->taken[i].to, at,
                    s->image->header.table_offset + 4 * index, err);
  return 0;
}

static int add(void *arg, uint64_t index, uint32_t entry,
               struct lvhd_error *err) {
  struct gather *g = arg;
  struct lv_space *s = g->space;
  uint64_t at = (uint64_t)entry * LV_SECTOR;
  int code = check_batmap(s, index, at, err);
  if (code != 0)
    return code;
  if (at < s->lowest)
    s->lowest = at;
  if (g->but && lv_bit(g->but, (uint32_t)index))
    return 0;
  if (s->count == g->room) {
    size_t room = g->room ? g->room + g->room / 2 : 64;
    uint32_t *blocks = realloc(s->blocks, room * sizeof *blocks);
    if (blocks == NULL)
      return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
    s->blocks = blocks;
    g->room = room;
  }
  s->blocks[s->count++] = entry;
  return 0;
}

int lv_space_new(struct lv_space *space, const struct lv_image *image,
                 const struct lv_env *env, const uint8_t *but,
                 lv_stop_fn stop, void *stop_arg, struct lvhd_error *err) {
  struct gather g = {.space = space, .but = but};
  int code = 0;
  *space = (struct lv_space){.image = image};
  space->pitch = (uint64_t)image->bitmap_size + image->header.block_size;
  code = check_table(space, env, err);
  if (code == 0)
    code = take_metadata(space, env, err);
  space->lowest = space->head_end;
  if (code == 0)
    code = lv_table_walk(image, env, 0, image->blocks, add, &g, stop,
                         stop_arg, err);
  if (code != 0)
    return code;
  lv_sort_u32(space->blocks, space->count);
  space->end = space->head_end;
  if (space->count > 0) {
    uint64_t last = (uint64_t)space->blocks[space->count - 1] * LV_SECTOR;
    if (last + space->pitch > space->end)
      space->end = last + space->pitch;
  }
  return 0;
}

void lv_space_free(struct lv_space *space) {
  free(space->blocks);
  *space = (struct lv_space){0};
}

/* ---- room ------------------------------------------------------------ */

uint64_t lv_space_aligned(const struct lv_space *space, uint64_t at) {
  uint32_t bitmap = space->image->bitmap_size;
  return lv_round_up(at + bitmap, space->align) - bitmap;
}

struct lv_slots lv_space_first(const struct lv_space *space) {
  return (struct lv_slots){.space = space, .at = space->lowest};
}

/* Where what is in the way of [at, to) ends; 0: nothing is. */
static uint64_t in_the_way(struct lv_slots *slots, uint64_t at,
                           uint64_t to) {
  const struct lv_space *s = slots->space;
  for (size_t i = 0; i < s->taken_count; i++)
    if (meets(&s->taken[i], at, to))
      return s->taken[i].to;
  while (slots->next < s->count &&
         (uint64_t)s->blocks[slots->next] * LV_SECTOR + s->pitch <= at)
    slots->next++;
  if (slots->next < s->count &&
      (uint64_t)s->blocks[slots->next] * LV_SECTOR < to)
    return (uint64_t)s->blocks[slots->next] * LV_SECTOR + s->pitch;
  return 0;
}

bool lv_space_slot(struct lv_slots *slots, uint64_t end, uint32_t *sector) {
  for (;;) {
    uint64_t at = lv_space_aligned(slots->space, slots->at);
    uint64_t behind = 0;
    if (at + slots->space->pitch > end)
      return false;
    behind = in_the_way(slots, at, at + slots->space->pitch);
    if (behind == 0) {
      *sector = (uint32_t)(at / LV_SECTOR);
      slots->at = at + slots->space->pitch;
      return true;
    }
    slots->at = behind;
  }
}

uint64_t lv_space_footer(const struct lv_image *image, uint64_t end) {
  uint64_t length = (uint64_t)image->file.st.st_size;
  bool stands = image->where != LVHD_FOOTER_COPY;
  if (stands && end != image->data_end && end < length &&
      end + LV_FOOTER_SIZE > image->data_end)
    return lv_round_up(length, LV_SECTOR);
  return end;
}
