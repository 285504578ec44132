/* SPDX-License-Identifier: MIT
 *
 * Copying blocks and rewriting entries.  Decides nothing.
 */
#include "image/moving.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "io/edit.h"

#define TABLE_PIECE 65536u
#define UNIT 65536u /* what is zero in units of so many bytes is a hole */

/* ---- holes and zeros ------------------------------------------------- */

uint64_t lv_file_data(const struct lv_file *file, const struct lv_env *env,
                      uint64_t at, uint64_t end) {
  const struct lv_sys *sys = env->sys;
  off_t data = 0;
  if (at >= end)
    return end;
  data = sys->lseek(sys, file->fd, (off_t)at, SEEK_DATA);
  if (data < 0)
    return errno == ENXIO ? end : at; /* a volume that cannot tell */
  return (uint64_t)data > end ? end : (uint64_t)data;
}

bool lv_zeros(const uint8_t *bytes, size_t n) {
  return bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0;
}

static int tell(lv_done_fn done, void *arg, uint64_t bytes,
                struct lvhd_error *err) {
  return done && done(arg, bytes) ? lv_fail(err, LVHD_E_ABORT, LV_R_NONE) : 0;
}

static int last_in_piece(const struct lv_file *file, const struct lv_env *env,
                         uint64_t from, uint64_t to, uint8_t *buf,
                         uint64_t *end, struct lvhd_error *err) {
  size_t n = (size_t)(to - from);
  int code = lv_file_read(file, env, buf, n, from, err);
  if (code != 0)
    return code;
  if (lv_zeros(buf, n))
    n = 0;
  while (n > 0 && buf[n - 1] == 0)
    n--;
  *end = from + n;
  return 0;
}

/* By halves, the upper one first, so that neither holes nor what lies before
 * the last byte is read. */
int lv_file_last(const struct lv_file *file, const struct lv_env *env,
                 uint64_t from, uint64_t to, uint8_t *buf, lv_done_fn done,
                 void *arg, uint64_t *end, struct lvhd_error *err) {
  uint64_t data = lv_file_data(file, env, from, to);
  uint64_t middle = 0;
  int code = 0;
  *end = from;
  if (data == to)
    return tell(done, arg, to - from, err);
  if (to - from <= LV_PIECE) {
    code = last_in_piece(file, env, from, to, buf, end, err);
    return code == 0 ? tell(done, arg, to - from, err) : code;
  }
  middle = from + lv_round_up((to - from) / 2, LV_SECTOR);
  code = lv_file_last(file, env, middle, to, buf, done, arg, end, err);
  if (code != 0 || *end > middle)
    return code;
  code = lv_file_last(file, env, from, middle, buf, done, arg, end, err);
  return code;
}

/* ---- blocks ---------------------------------------------------------- */

/* Writes n bytes; runs of units of zeros are made, not written. */
static int put(const struct lv_file *file, const struct lv_env *env,
               const uint8_t *buf, size_t n, uint64_t to,
               struct lvhd_error *err) {
  size_t at = 0;
  int code = 0;
  while (code == 0 && at < n) {
    size_t end = at;
    bool zeros = false;
    do {
      size_t unit = n - end < UNIT ? n - end : UNIT;
      bool now = lv_zeros(buf + end, unit);
      if (end > at && now != zeros)
        break;
      zeros = now;
      end += unit;
    } while (end < n);
    code = zeros ? lv_edit_zero(file, env, to + at, to + end, err)
                 : lv_edit_write(file, env, buf + at, end - at, to + at, err);
    at = end;
  }
  return code;
}

int lv_move(const struct lv_file *file, const struct lv_env *env,
            uint64_t from, uint64_t to, uint64_t n, uint8_t *buf,
            lv_done_fn done, void *arg, struct lvhd_error *err) {
  uint64_t at = 0;
  int code = 0;
  while (code == 0 && at < n) {
    size_t piece = n - at < LV_PIECE ? (size_t)(n - at) : LV_PIECE;
    if (lv_file_data(file, env, from + at, from + at + piece) ==
        from + at + piece) {
      code = lv_edit_zero(file, env, to + at, to + at + piece, err);
    } else {
      code = lv_file_read(file, env, buf, piece, from + at, err);
      if (code == 0)
        code = put(file, env, buf, piece, to + at, err);
    }
    if (code == 0)
      code = tell(done, arg, piece, err);
    at += piece;
  }
  return code;
}

/* ---- the BAT --------------------------------------------------------- */

/* Writes the sectors of the piece where an entry changed, run by run. */
static int map_piece(const struct lv_image *image, const struct lv_env *env,
                     uint64_t first, size_t n, uint8_t *piece,
                     lv_entry_map map, const void *arg,
                     struct lvhd_error *err) {
  uint64_t base = image->header.table_offset + first * 4;
  size_t from = 0, per = LV_SECTOR / 4;
  bool open = false;
  int code = 0;
  for (size_t i = 0; code == 0 && i < n; i += per) {
    size_t end = i + per < n ? i + per : n;
    bool changed = false;
    for (size_t k = i; k < end; k++) {
      uint32_t entry = lv_get_be32(piece + 4 * k);
      uint32_t now =
        entry == UINT32_MAX ? entry : map(arg, first + k, entry);
      changed |= now != entry;
      lv_put_be32(piece + 4 * k, now);
    }
    if (open && !changed)
      code = lv_edit_write(&image->file, env, piece + 4 * from,
                           4 * (i - from), base + 4 * from, err);
    if (changed && !open)
      from = i;
    open = changed;
  }
  if (code == 0 && open)
    code = lv_edit_write(&image->file, env, piece + 4 * from, 4 * (n - from),
                         base + 4 * from, err);
  return code;
}

int lv_table_map(const struct lv_image *image, const struct lv_env *env,
                 lv_entry_map map, const void *arg, struct lvhd_error *err) {
  uint64_t count = image->header.entries, first = 0;
  uint8_t *piece = lv_buffer(TABLE_PIECE);
  int code =
    piece ? 0 : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  while (code == 0 && first < count) {
    size_t n = count - first < TABLE_PIECE / 4 ? (size_t)(count - first)
                                               : TABLE_PIECE / 4;
    code = lv_image_table(image, env, first, n, piece, err);
    if (code == 0)
      code = map_piece(image, env, first, n, piece, map, arg, err);
    first += n;
  }
  free(piece);
  return code;
}

/* ---- the batmap ------------------------------------------------------ */

enum { AT_MAP = 8, AT_SECTORS = 16, AT_VERSION = 20, AT_CHECKSUM = 24 };
#define BATMAP_VERSION 0x00010002u

uint64_t lv_batmap_length(uint64_t entries) {
  return LV_BATMAP_SIZE + lv_round_up((entries + 7) / 8, LV_SECTOR);
}

/* The sum of zeros is 0, whatever part of the map it counts. */
int lv_batmap_clear(const struct lv_image *image, const struct lv_env *env,
                    uint64_t at, uint64_t map_at, uint64_t map_size,
                    struct lvhd_error *err) {
  uint8_t head[LV_BATMAP_SIZE] = "tdbatmap";
  int code = lv_edit_zero(&image->file, env, map_at, map_at + map_size, err);
  lv_put_be64(head + AT_MAP, map_at);
  lv_put_be32(head + AT_SECTORS, (uint32_t)(map_size / LV_SECTOR));
  lv_put_be32(head + AT_VERSION, BATMAP_VERSION);
  lv_put_be32(head + AT_CHECKSUM, UINT32_MAX);
  if (code == 0)
    code = lv_edit_write(&image->file, env, head, sizeof head, at, err);
  return code;
}
