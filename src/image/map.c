/* SPDX-License-Identifier: MIT
 *
 * Resolving windows.  Reads BATs and sector bitmaps, never data.
 *
 *   1 the BATs, in pages   2 one layer of a window   3 windows   4 skipping
 */
#include "image/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "format/bitmap.h"

#define PAGE_ENTRIES 1024u /* 4 KiB of a BAT */
#define PAGES 32u          /* of each layer that are kept */
#define UNUSED UINT32_MAX

#define SLOTS 4096u /* windows that are kept, if their runs are few */
#define RUNS_KEPT (UINT64_C(1) << 19)

struct page {
  uint64_t number; /* + 1; 0: empty */
  uint8_t *bytes;
};

struct layer {
  const struct lv_image *image;
  struct page pages[PAGES];
};

struct lv_map {
  struct lv_env *env;
  struct layer *layers;
  size_t count;
  struct lv_window *slots;
  uint64_t runs_kept;
  /* of the window that is being resolved */
  uint8_t todo[LV_WINDOW_SECTORS / 8]; /* sectors that no layer had yet */
  uint8_t bits[LV_WINDOW_SECTORS / 8];
  struct lv_run runs[LV_WINDOW_SECTORS];
  uint32_t run_count;
};

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* Which layer it was. */
static int at_layer(const struct lv_map *map, const struct layer *layer,
                    int code, struct lvhd_error *err) {
  if (code != 0 && err) {
    err->layer = (unsigned)(layer - map->layers) + 1;
    lv_error_path(err, layer->image->path);
  }
  return code;
}

/* ---- 1 the BATs, in pages -------------------------------------------- */

static int load_page(struct lv_map *map, struct layer *layer,
                     uint64_t number, struct page *page,
                     struct lvhd_error *err) {
  uint64_t first = number * PAGE_ENTRIES;
  uint64_t left = layer->image->blocks - first;
  size_t n = left < PAGE_ENTRIES ? (size_t)left : PAGE_ENTRIES;
  int code = 0;
  page->number = 0;
  if (page->bytes == NULL)
    page->bytes = malloc(PAGE_ENTRIES * 4);
  if (page->bytes == NULL)
    return no_memory(err);
  code = lv_image_table(layer->image, map->env, first, n, page->bytes, err);
  if (code != 0)
    return at_layer(map, layer, code, err);
  page->number = number + 1;
  return 0;
}

/* *entry: what the BAT says of the block. */
static int look_up(struct lv_map *map, struct layer *layer, uint64_t block,
                   uint32_t *entry, struct lvhd_error *err) {
  uint64_t number = block / PAGE_ENTRIES;
  struct page *page = &layer->pages[number % PAGES];
  int code =
    page->number == number + 1 ? 0 : load_page(map, layer, number, page, err);
  if (code != 0)
    return code;
  *entry = lv_get_be32(page->bytes + block % PAGE_ENTRIES * 4);
  return 0;
}

/* ---- 2 one layer of a window ----------------------------------------- */

static void add_run(struct lv_map *map, uint32_t start, uint32_t layer,
                    uint64_t at) {
  map->runs[map->run_count++] =
    (struct lv_run){.start = start, .layer = layer, .at = at};
}

/* The sectors [from, to) that are still open and set in `bits` (NULL: all)
 * belong to the layer; `at` is where sector `from` is. */
static void claim(struct lv_map *map, uint32_t from, uint32_t to,
                  const uint8_t *bits, uint32_t layer, uint64_t at) {
  uint8_t *mine = map->bits;
  uint32_t first = from / 8, last = (to + 7) / 8;
  uint32_t end = 0;
  for (uint32_t i = first; i < last; i++)
    mine[i] = (uint8_t)(map->todo[i] & (bits ? bits[i] : 0xFF));
  for (uint32_t i = lv_bits_find(mine, from, to, true); i < to;
       i = lv_bits_find(mine, end, to, true)) {
    end = lv_bits_find(mine, i, to, false);
    add_run(map, i, layer,
            layer == 0 || at == LV_RUN_BAD
              ? at
              : at + (uint64_t)(i - from) * LV_SECTOR);
  }
  if (from % 8 == 0 && to % 8 == 0) {
    for (uint32_t i = first; i < last; i++)
      map->todo[i] = (uint8_t)(map->todo[i] & ~mine[i]);
    return;
  }
  for (uint32_t i = from; i < to; i++)
    if (lv_bit(mine, i))
      map->todo[i / 8] = (uint8_t)(map->todo[i / 8] & ~(0x80u >> i % 8));
}

/* The part of one block that lies in the window: sectors [from, to) of the
 * window, which begin at sector `skip` of the block. */
static int claim_block(struct lv_map *map, struct layer *layer,
                       uint32_t entry, uint32_t from, uint32_t to,
                       uint64_t skip, struct lvhd_error *err) {
  const struct lv_image *image = layer->image;
  uint8_t window[LV_WINDOW_SECTORS / 8];
  uint8_t small = 0;
  uint64_t start = (uint64_t)entry * LV_SECTOR;
  size_t n = (to - from + 7) / 8;
  bool aligned = from % 8 == 0;
  int code = lv_file_read(&image->file, map->env,
                          aligned ? window + from / 8 : &small, n,
                          start + skip / 8, err);
  if (code != 0)
    return at_layer(map, layer, code, err);
  if (!aligned) { /* blocks of less than 8 sectors: their bits in place */
    window[from / 8] = 0;
    for (uint32_t i = from; i < to; i++)
      if (lv_bit(&small, i - from))
        lv_bit_set(window, i);
  }
  claim(map, from, to, window, (uint32_t)(layer - map->layers) + 1,
        start + image->bitmap_size + skip * LV_SECTOR);
  return 0;
}

static bool is_open(const struct lv_map *map, uint32_t from, uint32_t to) {
  return lv_bits_find(map->todo, from, to, true) < to;
}

static int claim_blocks(struct lv_map *map, struct layer *layer,
                        uint64_t first, uint32_t n, struct lvhd_error *err) {
  uint64_t per_block = layer->image->header.block_size / LV_SECTOR;
  uint32_t from = 0;
  while (from < n) {
    uint64_t sector = first + from;
    uint64_t skip = sector % per_block;
    uint64_t whole = per_block - skip;
    uint32_t to = whole < n - from ? from + (uint32_t)whole : n;
    uint32_t entry = UNUSED;
    int code = 0;
    if (is_open(map, from, to))
      code = look_up(map, layer, sector / per_block, &entry, err);
    if (code == 0 && entry != UNUSED) {
      if (lv_image_holds(layer->image, entry))
        code = claim_block(map, layer, entry, from, to, skip, err);
      else /* whoever wants these sectors hears of it, nobody else */
        claim(map, from, to, NULL, (uint32_t)(layer - map->layers) + 1,
              LV_RUN_BAD);
    }
    if (code != 0)
      return code;
    from = to;
  }
  return 0;
}

/* What a layer does not reach reads as zeros, whatever lies below. */
static int claim_layer(struct lv_map *map, struct layer *layer,
                       uint64_t number, struct lvhd_error *err) {
  const struct lv_image *image = layer->image;
  uint64_t sectors = image->footer.current_size / LV_SECTOR;
  uint64_t first = number * LV_WINDOW_SECTORS;
  uint64_t left = sectors > first ? sectors - first : 0;
  uint32_t n = left < LV_WINDOW_SECTORS ? (uint32_t)left : LV_WINDOW_SECTORS;
  int code = 0;
  if (n < LV_WINDOW_SECTORS)
    claim(map, n, LV_WINDOW_SECTORS, NULL, 0, 0);
  if (n == 0)
    return 0;
  if (lv_image_has_table(image))
    code = claim_blocks(map, layer, first, n, err);
  else
    claim(map, 0, n, NULL, (uint32_t)(layer - map->layers) + 1,
          first * LV_SECTOR);
  return code;
}

/* ---- 3 windows ------------------------------------------------------- */

static int by_start(const void *a, const void *b) {
  const struct lv_run *x = a, *y = b;
  return (x->start > y->start) - (x->start < y->start);
}

/* What follows the run before it in the same file is one with it. */
static void join_runs(struct lv_map *map) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < map->run_count; i++) {
    const struct lv_run *run = &map->runs[i];
    const struct lv_run *before = n > 0 ? &map->runs[n - 1] : NULL;
    if (before && before->layer == run->layer &&
        (run->layer == 0 ||
         before->at + (uint64_t)(run->start - before->start) * LV_SECTOR ==
           run->at))
      continue;
    map->runs[n++] = *run;
  }
  map->run_count = n;
}

static int resolve(struct lv_map *map, uint64_t number,
                   struct lvhd_error *err) {
  memset(map->todo, 0xFF, sizeof map->todo);
  map->run_count = 0;
  for (size_t i = 0; i < map->count; i++) {
    int code = 0;
    if (!is_open(map, 0, LV_WINDOW_SECTORS))
      break;
    code = claim_layer(map, &map->layers[i], number, err);
    if (code != 0)
      return code;
  }
  claim(map, 0, LV_WINDOW_SECTORS, NULL, 0, 0);
  qsort(map->runs, map->run_count, sizeof *map->runs, by_start);
  join_runs(map);
  return 0;
}

static void forget(struct lv_map *map) {
  for (uint32_t i = 0; i < SLOTS; i++) {
    free(map->slots[i].runs);
    map->slots[i] = (struct lv_window){0};
  }
  map->runs_kept = 0;
}

void lv_map_forget(struct lv_map *map, uint64_t offset, uint64_t n) {
  const struct lv_image *leaf = map->layers[0].image;
  uint64_t last = (offset + n - 1) / LV_WINDOW;
  for (uint64_t i = offset / LV_WINDOW; i <= last; i++) {
    struct lv_window *slot = &map->slots[i % SLOTS];
    if (slot->runs == NULL || slot->number != i)
      continue;
    map->runs_kept -= slot->count;
    free(slot->runs);
    *slot = (struct lv_window){0};
  }
  if (!lv_image_has_table(leaf))
    return;
  last = (offset + n - 1) / leaf->header.block_size / PAGE_ENTRIES;
  for (uint64_t i = offset / leaf->header.block_size / PAGE_ENTRIES;
       i <= last; i++)
    if (map->layers[0].pages[i % PAGES].number == i + 1)
      map->layers[0].pages[i % PAGES].number = 0;
}

void lv_map_renew(struct lv_map *map) {
  forget(map);
  for (unsigned i = 0; i < PAGES; i++)
    map->layers[0].pages[i].number = 0;
}

static int keep(struct lv_map *map, struct lv_window *slot, uint64_t number,
                struct lvhd_error *err) {
  size_t bytes = map->run_count * sizeof *map->runs;
  struct lv_run *runs = NULL;
  if (map->runs_kept + map->run_count > RUNS_KEPT)
    forget(map);
  runs = malloc(bytes);
  if (runs == NULL)
    return no_memory(err);
  memcpy(runs, map->runs, bytes);
  map->runs_kept += map->run_count;
  map->runs_kept -= slot->count;
  free(slot->runs);
  *slot = (struct lv_window){
    .number = number, .runs = runs, .count = map->run_count};
  return 0;
}

int lv_map_window(struct lv_map *map, uint64_t number,
                  const struct lv_window **out, struct lvhd_error *err) {
  struct lv_window *slot = &map->slots[number % SLOTS];
  if (slot->runs == NULL || slot->number != number) {
    int code = resolve(map, number, err);
    if (code == 0)
      code = keep(map, slot, number, err);
    if (code != 0)
      return code;
  }
  *out = slot;
  return 0;
}

static int fail_outside(const struct lv_map *map, const struct layer *layer,
                        uint64_t block, uint32_t entry,
                        struct lvhd_error *err) {
  int code = lv_fail_range(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_BLOCK_OUTSIDE,
                           layer->image->data_end,
                           (uint64_t)entry * LV_SECTOR);
  if (err) {
    err->has |= LVHD_HAS_OFFSET;
    err->offset = layer->image->header.table_offset + block * 4;
  }
  return at_layer(map, layer, code, err);
}

int lv_map_bad(struct lv_map *map, uint32_t layer, uint64_t offset,
               struct lvhd_error *err) {
  struct layer *bad = &map->layers[layer - 1];
  uint64_t block = offset / bad->image->header.block_size;
  uint32_t entry = UNUSED;
  int code = look_up(map, bad, block, &entry, err);
  return code == 0 ? fail_outside(map, bad, block, entry, err) : code;
}

int lv_map_new(struct lv_map **out, struct lv_env *env,
               const struct lv_chain *chain, struct lvhd_error *err) {
  struct lv_map *map = calloc(1, sizeof *map);
  if (map) {
    map->layers = calloc(chain->count, sizeof *map->layers);
    map->slots = calloc(SLOTS, sizeof *map->slots);
  }
  if (map == NULL || map->layers == NULL || map->slots == NULL) {
    lv_map_free(map);
    return no_memory(err);
  }
  map->env = env;
  map->count = chain->count;
  for (size_t i = 0; i < chain->count; i++)
    map->layers[i].image = &chain->images[i];
  *out = map;
  return 0;
}

void lv_map_free(struct lv_map *map) {
  if (map == NULL)
    return;
  if (map->slots)
    forget(map);
  for (size_t i = 0; map->layers && i < map->count; i++)
    for (unsigned k = 0; k < PAGES; k++)
      free(map->layers[i].pages[k].bytes);
  free(map->layers);
  free(map->slots);
  free(map);
}

/* ---- 4 skipping ------------------------------------------------------ */

#define SKIP_ENTRIES (UINT64_C(1) << 18) /* of a BAT, in one call */
#define SKIP_PIECE 16384u /* entries read at a time */

/* The first used entry of [first, end); end when there is none. */
static int find_used(struct lv_map *map, struct layer *layer, uint64_t first,
                     uint64_t end, uint8_t *buf, uint64_t *used,
                     struct lvhd_error *err) {
  while (first < end) {
    size_t n = end - first < SKIP_PIECE ? (size_t)(end - first) : SKIP_PIECE;
    int code = lv_image_table(layer->image, map->env, first, n, buf, err);
    uint32_t bit = 0;
    if (code != 0)
      return at_layer(map, layer, code, err);
    bit = lv_bits_find(buf, 0, (uint32_t)n * 32, false);
    if (bit < n * 32) {
      *used = first + bit / 32;
      return 0;
    }
    first += n;
  }
  *used = end;
  return 0;
}

/* Lowers *first to where the layer has something before it. */
static int skip_layer(struct lv_map *map, struct layer *layer, uint64_t from,
                      uint64_t *first, uint8_t *buf, struct lvhd_error *err) {
  const struct lv_image *image = layer->image;
  uint64_t size = image->footer.current_size;
  uint64_t to = *first < size ? *first : size;
  uint64_t block = image->header.block_size;
  uint64_t used = 0;
  int code = 0;
  if (from >= to)
    return 0;
  if (!lv_image_has_table(image)) {
    *first = from;
    return 0;
  }
  code = find_used(map, layer, from / block,
                   lv_block_count(to, (uint32_t)block), buf, &used, err);
  if (code == 0 && used * block < *first)
    *first = used * block < from ? from : used * block;
  return code;
}

int lv_map_skip(struct lv_map *map, uint64_t from, uint64_t *end,
                uint64_t *first, struct lvhd_error *err) {
  uint8_t *buf = lv_buffer(SKIP_PIECE * 4);
  uint64_t reach = UINT64_MAX / 2;
  int code = buf ? 0 : no_memory(err);
  for (size_t i = 0; i < map->count; i++) {
    const struct lv_image *image = map->layers[i].image;
    if (lv_image_has_table(image) &&
        image->header.block_size < reach / SKIP_ENTRIES)
      reach = image->header.block_size * SKIP_ENTRIES;
  }
  reach = lv_round_up(reach, LV_WINDOW);
  if (*end - from > reach)
    *end = from + reach;
  *first = *end;
  for (size_t i = 0; code == 0 && i < map->count && *first > from; i++)
    code = skip_layer(map, &map->layers[i], from, first, buf, err);
  *first -= *first % LV_WINDOW;
  if (*first < from)
    *first = from;
  free(buf);
  return code;
}
