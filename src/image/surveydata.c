/* SPDX-License-Identifier: MIT
 *
 * Looking into the blocks of an image.  Holes are skipped, since they hold
 * zeros only.  Blocks that overlap could name one place millions of times, and
 * are not looked into; those that do not are never larger than the file.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "format/bitmap.h"
#include "image/survey.h"

#define PIECE (UINT32_C(1) << 20) /* bytes between two looks for a cancel */

struct pass {
  struct lv_facts *facts;
  const struct lv_image *image;
  struct lv_env *env;
  lv_progress_fn progress;
  void *arg;
  uint64_t pitch; /* bytes of a block with its bitmap */
  uint64_t hole_from, hole_to; /* the last hole that was met */
  uint8_t *bitmap, *piece;
};

static int step(const struct pass *p, uint64_t bytes,
                struct lvhd_error *err) {
  return p->progress(p->arg, bytes) ? lv_fail(err, LVHD_E_ABORT, LV_R_NONE)
                                    : 0;
}

/* Nothing but a hole. */
static bool is_hole(struct pass *p, uint64_t at) {
  const struct lv_sys *sys = p->env->sys;
  off_t data = 0;
  if (at < p->hole_from || at >= p->hole_to) {
    data = sys->lseek(sys, p->image->file.fd, (off_t)at, SEEK_DATA);
    p->hole_from = at;
    p->hole_to = data < 0 ? at : (uint64_t)data;
  }
  return at + p->pitch <= p->hole_to;
}

static bool is_zero(const uint8_t *bytes, size_t n) {
  return bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0;
}

/* Sectors [from, to) of the block at `at` were never written. */
static int look_clear(struct pass *p, uint64_t at, uint32_t from, uint32_t to,
                      bool *clean, struct lvhd_error *err) {
  uint64_t base = at + p->image->bitmap_size;
  while (from < to && *clean) {
    uint32_t n = to - from < PIECE / LV_SECTOR ? to - from
                                               : PIECE / LV_SECTOR;
    uint64_t place = base + (uint64_t)from * LV_SECTOR;
    int code = step(p, 0, err);
    if (code == 0)
      code = lv_file_read(&p->image->file, p->env, p->piece,
                          (size_t)n * LV_SECTOR, place, err);
    if (code != 0)
      return code;
    for (uint32_t i = 0; i < n && *clean; i++) {
      if (is_zero(p->piece + (size_t)i * LV_SECTOR, LV_SECTOR))
        continue;
      *clean = false; /* one a block */
      lv_finding(&p->facts->findings, LVHD_ERROR, LV_R_DATA_UNDER_CLEAR_BIT,
                 LVHD_HAS_OFFSET, 0, 0, place + (uint64_t)i * LV_SECTOR);
    }
    from += n;
  }
  return 0;
}

static void look_padding(struct pass *p, uint64_t at) {
  uint32_t used = p->image->header.block_size / LV_SECTOR;
  uint32_t bits = p->image->bitmap_size * 8;
  uint32_t set = lv_bits_find(p->bitmap, used, bits, true);
  if (set < bits)
    lv_finding(&p->facts->findings, LVHD_NOTE, LV_R_BITMAP_PADDING,
               LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL | LVHD_HAS_OFFSET, 0,
               p->bitmap[set / 8], at + set / 8);
}

static int look_block(struct pass *p, uint64_t at, struct lvhd_error *err) {
  uint32_t end = p->image->header.block_size / LV_SECTOR;
  uint32_t from = 0, to = 0;
  bool clean = true;
  int code = lv_file_read(&p->image->file, p->env, p->bitmap,
                          p->image->bitmap_size, at, err);
  if (code != 0)
    return code;
  look_padding(p, at);
  if (lv_image_has_parent(p->image))
    return 0;
  while (code == 0 && clean && to < end) {
    from = lv_bits_find(p->bitmap, to, end, false);
    to = lv_bits_find(p->bitmap, from, end, true);
    if (from < to)
      code = look_clear(p, at, from, to, &clean, err);
  }
  return code;
}

static int each(void *arg, uint64_t index, uint32_t entry,
                struct lvhd_error *err) {
  struct pass *p = arg;
  uint64_t at = (uint64_t)entry * LV_SECTOR;
  int code = 0;
  (void)index;
  if (!lv_image_holds(p->image, entry))
    return 0;
  if (!is_hole(p, at))
    code = look_block(p, at, err);
  return code == 0 ? step(p, p->pitch, err) : code;
}

static bool stop(void *arg) {
  const struct pass *p = arg;
  return p->progress(p->arg, 0);
}

int lv_survey_data(struct lv_facts *facts, const struct lv_image *image,
                   struct lv_env *env, lv_progress_fn progress, void *arg,
                   struct lvhd_error *err) {
  struct pass p = {.facts = facts,
                   .image = image,
                   .env = env,
                   .progress = progress,
                   .arg = arg};
  uint64_t n =
    image->blocks < LV_TABLE_MOST ? image->blocks : LV_TABLE_MOST;
  int code = 0;
  if (!lv_image_has_table(image))
    return 0;
  if (facts->findings.each[LV_R_BLOCK_OVERLAP] > 0) {
    lv_finding(&facts->findings, LVHD_NOTE, LV_R_DATA_NOT_CHECKED, 0, 0, 0,
               0);
    return 0;
  }
  p.pitch = (uint64_t)image->bitmap_size + image->header.block_size;
  p.bitmap = malloc(image->bitmap_size);
  p.piece = lv_buffer(PIECE);
  if (p.bitmap == NULL || p.piece == NULL)
    code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  if (code == 0)
    code = lv_table_walk(image, env, 0, n, each, &p, stop, &p, err);
  free(p.bitmap);
  free(p.piece);
  if (code == 0 && facts->findings.no_memory)
    code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  return code;
}
