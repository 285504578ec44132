/* SPDX-License-Identifier: MIT
 *
 * A sorted list of patches.
 */
#include "io/overlay.h"

#include <stdlib.h>
#include <string.h>

/* The first patch that ends behind `at`. */
static size_t find(const struct lv_overlay *o, uint64_t at) {
  size_t low = 0, high = o->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (o->items[middle].at + o->items[middle].length <= at)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static int make_room(struct lv_overlay *o, struct lvhd_error *err) {
  size_t room = o->room ? 2 * o->room : 16;
  struct lv_patch *items = NULL;
  if (o->count < o->room)
    return 0;
  items = realloc(o->items, room * sizeof *items);
  if (items == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  o->items = items;
  o->room = room;
  return 0;
}

int lv_overlay_put(struct lv_overlay *overlay, uint64_t at,
                   const uint8_t *bytes, uint32_t n, uint8_t **out,
                   struct lvhd_error *err) {
  size_t i = find(overlay, at);
  struct lv_patch *patch = NULL;
  if (i == overlay->count || overlay->items[i].at != at) {
    uint8_t *copy = calloc(1, n);
    int code = copy ? make_room(overlay, err)
                    : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
    if (code != 0) {
      free(copy);
      return code;
    }
    memmove(overlay->items + i + 1, overlay->items + i,
            (overlay->count - i) * sizeof *overlay->items);
    overlay->items[i] =
      (struct lv_patch){.at = at, .length = n, .bytes = copy};
    overlay->count++;
    overlay->bytes += n;
  }
  patch = &overlay->items[i];
  if (bytes)
    memcpy(patch->bytes, bytes, n);
  if (out)
    *out = patch->bytes;
  return 0;
}

uint8_t *lv_overlay_find(const struct lv_overlay *overlay, uint64_t at) {
  size_t i = find(overlay, at);
  return i < overlay->count && overlay->items[i].at == at
           ? overlay->items[i].bytes
           : NULL;
}

void lv_overlay_apply(const struct lv_overlay *overlay, uint8_t *buf,
                      size_t n, uint64_t offset) {
  for (size_t i = find(overlay, offset); i < overlay->count; i++) {
    const struct lv_patch *patch = &overlay->items[i];
    uint64_t from = patch->at > offset ? patch->at : offset;
    uint64_t to = patch->at + patch->length;
    if (patch->at >= offset + n)
      break;
    if (to > offset + n)
      to = offset + n;
    memcpy(buf + (from - offset), patch->bytes + (from - patch->at),
           (size_t)(to - from));
  }
}

void lv_overlay_clear(struct lv_overlay *overlay) {
  for (size_t i = 0; i < overlay->count; i++)
    free(overlay->items[i].bytes);
  free(overlay->items);
  *overlay = (struct lv_overlay){0};
}
