/* SPDX-License-Identifier: MIT
 *
 * Another size for a dynamic disk: a BAT of another length, and what is in
 * its way moved to the end of the file.  Until the switch the old header,
 * with its shorter count, is the one that counts:
 *
 *   1 the old footer where the file will end | blocks in the way copied
 *   2 their entries | nobody reads what they were
 *   3 shrinking: entries behind the new end -> FFFFFFFF (they read as zeros)
 *   4 the new part of the BAT -> FF, zeros behind the old end of the disk
 *   5 header, copy and footer: the switch, which the note can undo
 *   6 shrinking: the file is cut, which ends it
 *
 * Where the BAT's place is closed in by other metadata, it goes behind all of
 * it, and there the same happens.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "io/edit.h"
#include "op/resize.h"

#define TABLE_PIECE 65536u
#define LAST_START UINT64_C(0xFFFFFFFE) /* sector: all ones is no block */

/* A block that is in the way. */
struct mover {
  uint64_t from, to;
  uint32_t block;
};

struct layout {
  struct lv_resizing *r;
  struct lv_space space;
  uint64_t old_blocks, blocks;
  uint64_t table_at, table_end; /* of the new BAT */
  bool map_moves;               /* XenServer's batmap is written anew, */
  uint64_t map_at, map_end;     /* header and map, behind the BAT */
  uint64_t head_end;            /* of the metadata, then */
  struct mover *movers;
  size_t mover_count, room;
  uint64_t dropped;   /* blocks behind the new end */
  uint64_t kept_end;  /* where the last of the others ends */
  uint64_t footer_at; /* where the old footer is at the switch */
  uint64_t final_at;  /* where the new one ends up */
};

static uint64_t block_size(const struct layout *l) {
  return l->r->image.header.block_size;
}

/* ---- what is cut off ------------------------------------------------- */


static int count(void *arg, uint64_t index, uint32_t entry,
                 struct lvhd_error *err) {
  struct layout *l = arg;
  (void)entry;
  (void)err;
  if (index >= l->blocks)
    l->dropped++;
  return 0;
}

/* The part of a block that lies behind the new end of the disk. */
static int look_beyond(const struct layout *l, uint64_t index,
                       uint32_t entry, struct lvhd_error *err) {
  struct lv_resizing *r = l->r;
  uint64_t data = (uint64_t)entry * LV_SECTOR + r->image.bitmap_size;
  uint64_t disk = index * block_size(l), end = 0;
  uint64_t from = r->size > disk ? r->size - disk : 0;
  uint64_t to = r->old_size - disk;
  int code = 0;
  if (to > block_size(l))
    to = block_size(l);
  code = lv_file_last(&r->image.file, r->env, data + from, data + to, r->buf,
                      lv_resize_done, r, &end, err);
  if (code == 0 && end > data + from)
    code = lv_resize_beyond(r, disk + (end - data), err);
  return code;
}

/* From the last block backwards: the first that is not zero is the last. */
static int check_beyond(const struct layout *l, struct lvhd_error *err) {
  const struct lv_image *image = &l->r->image;
  uint64_t first = l->r->size / block_size(l), end = l->old_blocks;
  uint8_t *piece = lv_buffer(TABLE_PIECE);
  int code = piece ? 0 : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  while (code == 0 && end > first) {
    size_t n = end - first < TABLE_PIECE / 4 ? (size_t)(end - first)
                                             : TABLE_PIECE / 4;
    code = lv_image_table(image, l->r->env, end - n, n, piece, err);
    for (size_t i = n; code == 0 && i-- > 0;) {
      uint32_t entry = lv_get_be32(piece + 4 * i);
      if (entry != UINT32_MAX)
        code = look_beyond(l, end - n + i, entry, err);
    }
    end -= n;
  }
  free(piece);
  return code;
}

/* ---- where the BAT goes ---------------------------------------------- */

/* The spans of the BAT itself and of its batmap, which move with it. */
static bool is_own(const struct lv_space *s, size_t i) {
  return i == 2 || (s->batmap_at != 0 && i + 2 >= s->taken_count);
}

static bool is_closed_in(const struct layout *l, uint64_t from,
                         uint64_t to) {
  const struct lv_space *s = &l->space;
  for (size_t i = 0; i < s->taken_count; i++)
    if (!is_own(s, i) && from < s->taken[i].to && s->taken[i].from < to)
      return true;
  return false;
}

static void place_table(struct layout *l, uint64_t at) {
  const struct lv_space *s = &l->space;
  l->table_at = at;
  l->table_end = at + lv_round_up(l->blocks * 4, LV_SECTOR);
  l->map_at = l->table_end;
  l->map_end = l->table_end;
  if (s->batmap_at != 0)
    l->map_end += lv_batmap_length(l->blocks);
  l->head_end = l->map_end;
  for (size_t i = 0; i < s->taken_count; i++)
    if (!is_own(s, i) && s->taken[i].to > l->head_end)
      l->head_end = s->taken[i].to;
}

/* A batmap that stays where it is keeps what it says, as long as no block
 * goes. */
static void choose_place(struct layout *l) {
  const struct lv_space *s = &l->space;
  uint64_t old_at = l->r->image.header.table_offset;
  place_table(l, old_at);
  if (is_closed_in(l, old_at, l->map_end))
    place_table(l, s->head_end);
  l->map_moves =
    s->batmap_at != 0 && (l->map_at != s->batmap_at || l->dropped > 0);
  if (s->batmap_at != 0 && !l->map_moves) {
    uint64_t end = s->batmap.map_at + s->batmap.map_size;
    l->map_end = end > l->map_end ? end : l->map_end;
    l->head_end = end > l->head_end ? end : l->head_end;
  }
}

/* ---- blocks in the way ----------------------------------------------- */

static int add_mover(struct layout *l, uint64_t from, uint32_t block,
                     struct lvhd_error *err) {
  if (l->mover_count == l->room) {
    size_t room = l->room ? 2 * l->room : 16;
    struct mover *movers = realloc(l->movers, room * sizeof *movers);
    if (movers == NULL)
      return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
    l->movers = movers;
    l->room = room;
  }
  l->movers[l->mover_count++] = (struct mover){.from = from, .block = block};
  return 0;
}

static int look(void *arg, uint64_t index, uint32_t entry,
                struct lvhd_error *err) {
  struct layout *l = arg;
  uint64_t at = (uint64_t)entry * LV_SECTOR;
  if (index >= l->blocks)
    return 0;
  if (at < l->map_end && l->table_at < at + l->space.pitch)
    return add_mover(l, at, (uint32_t)index, err);
  if (at + l->space.pitch > l->kept_end)
    l->kept_end = at + l->space.pitch;
  return 0;
}

/* Behind all that is there, and as aligned as the others. */
static void place_movers(struct layout *l) {
  uint64_t at = l->space.end > l->head_end ? l->space.end : l->head_end;
  for (size_t i = 0; i < l->mover_count; i++) {
    l->movers[i].to = lv_space_aligned(&l->space, at);
    at = l->movers[i].to + l->space.pitch;
    l->kept_end = at;
  }
  if (l->kept_end < l->head_end)
    l->kept_end = l->head_end;
}

/* ---- the footers ----------------------------------------------------- */

/* Where the old footer is when the switch comes: where it was, if nothing
 * needs its place. */
static uint64_t settled_footer(const struct layout *l) {
  const struct lv_image *image = &l->r->image;
  uint64_t length = (uint64_t)image->file.st.st_size;
  uint64_t end = l->kept_end > l->space.end ? l->kept_end : l->space.end;
  if (image->where == LVHD_FOOTER_COPY)
    return end + LV_FOOTER_SIZE >= length ? end
                                          : lv_round_up(length, LV_SECTOR);
  if (image->data_end % LV_SECTOR != 0)
    return end > length ? end : lv_round_up(length, LV_SECTOR);
  return end > image->data_end ? end : image->data_end;
}

static int refuse_reach(const struct layout *l, uint64_t most,
                        struct lvhd_error *err) {
  return lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_LARGE, LV_R_BAT_REACH,
                       most * block_size(l), l->r->size);
}

/* With all its blocks the file must fit the BAT and the volume. */
static int check_full(const struct layout *l, struct lvhd_error *err) {
  uint64_t used = l->space.count, pitch = l->space.pitch;
  uint64_t room = LAST_START * LV_SECTOR;
  uint64_t most = LV_TABLE_MOST;
  if (l->r->size < l->r->old_size)
    return 0;
  if (l->kept_end <= room && used + (room - l->kept_end) / pitch + 1 < most)
    most = used + (room - l->kept_end) / pitch + 1;
  if (l->kept_end > room || l->blocks > most)
    return refuse_reach(l, most, err);
  return lv_resize_room(
    l->r, l->kept_end + (l->blocks - used) * pitch + LV_FOOTER_SIZE, err);
}

static int lay_out(struct layout *l, struct lvhd_error *err) {
  const struct lv_resizing *r = l->r;
  const struct lv_image *image = &r->image;
  int code = lv_space_new(&l->space, image, r->env, NULL, NULL, NULL, err);
  l->old_blocks = image->blocks;
  l->blocks = lv_block_count(r->size, image->header.block_size);
  if (code == 0 && l->blocks > LV_TABLE_MOST)
    code = refuse_reach(l, LV_TABLE_MOST, err);
  if (code == 0 && image->footer.data_offset % LV_SECTOR != 0)
    code = lv_fail(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_DATA_OFFSET);
  if (code == 0)
    code = lv_table_walk(image, r->env, 0, l->old_blocks, count, l, NULL,
                         NULL, err);
  if (code != 0)
    return code;
  choose_place(l);
  code = lv_table_walk(image, r->env, 0, l->old_blocks, look, l, NULL, NULL,
                       err);
  if (code != 0)
    return code;
  place_movers(l);
  l->footer_at = settled_footer(l);
  l->final_at = r->size < r->old_size && l->kept_end < l->footer_at
                  ? l->kept_end
                  : l->footer_at;
  return check_full(l, err);
}

/* ---- the note -------------------------------------------------------- */

static int keep(struct layout *l, uint64_t at, uint32_t n,
                struct lvhd_error *err) {
  struct lv_resizing *r = l->r;
  int code = lv_file_read(&r->image.file, r->env, r->buf, n, at, err);
  return code == 0 ? lv_resize_keep(r, at, r->buf, n, err) : code;
}

/* Sectors of the old BAT that something else is written over: by then no
 * block is named in them. */
static int keep_table(struct layout *l, uint64_t from, uint64_t to,
                      struct lvhd_error *err) {
  const struct lv_header *old = &l->r->image.header;
  uint64_t end =
    old->table_offset + lv_round_up((uint64_t)old->entries * 4, LV_SECTOR);
  int code = 0;
  if (l->table_at != old->table_offset)
    return 0;
  if (to > end)
    to = end;
  while (code == 0 && from < to) {
    uint32_t n = to - from < LV_JOURNAL_PATCH ? (uint32_t)(to - from)
                                              : LV_JOURNAL_PATCH;
    code = lv_resize_keep(l->r, from, NULL, n, err);
    from += n;
  }
  return code;
}

static int note(struct layout *l, struct lvhd_error *err) {
  struct lv_resizing *r = l->r;
  uint64_t header_at = r->image.footer.data_offset;
  bool joined = header_at == LV_FOOTER_SIZE;
  int code = keep(l, 0, LV_FOOTER_SIZE + (joined ? LV_HEADER_SIZE : 0), err);
  if (code == 0 && !joined)
    code = keep(l, header_at, LV_HEADER_SIZE, err);
  if (code == 0)
    code = lv_resize_keep(r, l->footer_at, r->old_footer, LV_FOOTER_SIZE,
                          err);
  if (code == 0 && l->map_moves)
    code = keep_table(l, l->map_at, l->map_end, err);
  if (code == 0 && l->final_at < l->footer_at)
    code = keep_table(l, l->final_at, l->final_at + LV_FOOTER_SIZE, err);
  if (code == 0)
    code = lv_resize_begin(r, l->footer_at + LV_FOOTER_SIZE,
                           l->final_at + LV_FOOTER_SIZE, err);
  return code;
}

/* ---- making room ----------------------------------------------------- */

static int put_old_footer(const struct layout *l, struct lvhd_error *err) {
  const struct lv_resizing *r = l->r;
  if (r->image.where == LVHD_FOOTER_END && l->footer_at == r->image.data_end)
    return 0;
  return lv_resize_put(r, r->old_footer, LV_FOOTER_SIZE, l->footer_at, err);
}

static uint32_t moved(const void *arg, uint64_t index, uint32_t entry) {
  const struct layout *l = arg;
  size_t low = 0, high = l->mover_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (l->movers[middle].block < index)
      low = middle + 1;
    else
      high = middle;
  }
  return low < l->mover_count && l->movers[low].block == index
           ? (uint32_t)(l->movers[low].to / LV_SECTOR)
           : entry;
}

static int move_blocks(struct layout *l, struct lvhd_error *err) {
  struct lv_resizing *r = l->r;
  int code = 0;
  for (size_t i = 0; code == 0 && i < l->mover_count; i++)
    code = lv_move(&r->image.file, r->env, l->movers[i].from,
                   l->movers[i].to, l->space.pitch, r->buf, lv_resize_done,
                   r, err);
  if (code != 0 || l->mover_count == 0)
    return code;
  code = lv_change_barrier(&r->change, err);
  if (code == 0)
    code = lv_table_map(&r->image, r->env, moved, l, err);
  return code == 0 ? lv_change_barrier(&r->change, err) : code;
}

static uint32_t cut_off(const void *arg, uint64_t index, uint32_t entry) {
  const struct layout *l = arg;
  return index < l->blocks ? entry : UINT32_MAX;
}

static int drop(const struct layout *l, struct lvhd_error *err) {
  const struct lv_resizing *r = l->r;
  int code = 0;
  if (r->size > r->old_size)
    return 0;
  code = lv_table_map(&r->image, r->env, cut_off, l, err);
  return code == 0 ? lv_change_barrier(&r->change, err) : code;
}

/* ---- the new BAT ----------------------------------------------------- */

/* Entries that stay, where the BAT goes elsewhere. */
static int copy_table(const struct layout *l, uint64_t entries,
                      struct lvhd_error *err) {
  const struct lv_resizing *r = l->r;
  uint64_t first = 0;
  int code = 0;
  while (code == 0 && l->table_at != r->image.header.table_offset &&
         first < entries) {
    size_t n = entries - first < TABLE_PIECE / 4 ? (size_t)(entries - first)
                                                 : TABLE_PIECE / 4;
    code = lv_image_table(&r->image, r->env, first, n, r->buf, err);
    if (code == 0)
      code = lv_edit_write(&r->image.file, r->env, r->buf, 4 * n,
                           l->table_at + 4 * first, err);
    first += n;
  }
  return code;
}

static int fill_table(const struct layout *l, struct lvhd_error *err) {
  const struct lv_resizing *r = l->r;
  uint64_t entries =
    l->old_blocks < l->blocks ? l->old_blocks : l->blocks;
  uint64_t at = l->table_at + 4 * entries;
  int code = copy_table(l, entries, err);
  memset(r->buf, 0xFF, TABLE_PIECE);
  while (code == 0 && at < l->table_end) {
    size_t n = l->table_end - at < TABLE_PIECE ? (size_t)(l->table_end - at)
                                               : TABLE_PIECE;
    code = lv_edit_write(&r->image.file, r->env, r->buf, n, at, err);
    at += n;
  }
  return code;
}

/* What the last block held behind the end of the disk nobody could see, and
 * nobody shall. */
static int clear_tail(const struct layout *l, struct lvhd_error *err) {
  const struct lv_resizing *r = l->r;
  uint64_t used = r->old_size % block_size(l), at = 0;
  uint8_t bytes[4];
  uint32_t entry = UINT32_MAX;
  int code = 0;
  if (r->size < r->old_size || used == 0)
    return 0;
  code = lv_image_table(&r->image, r->env, l->old_blocks - 1, 1, bytes, err);
  if (code == 0)
    entry = lv_get_be32(bytes);
  if (code != 0 || entry == UINT32_MAX)
    return code;
  at = (uint64_t)entry * LV_SECTOR + r->image.bitmap_size;
  return lv_edit_zero(&r->image.file, r->env, at + used, at + block_size(l),
                      err);
}

static int prepare_new(struct layout *l, struct lvhd_error *err) {
  struct lv_resizing *r = l->r;
  int code = fill_table(l, err);
  if (code == 0 && l->map_moves) {
    code = lv_batmap_clear(&r->image, r->env, l->map_at,
                           l->map_at + LV_BATMAP_SIZE,
                           l->map_end - l->map_at - LV_BATMAP_SIZE, err);
    r->batmap_cleared = l->map_at;
  }
  if (code == 0)
    code = clear_tail(l, err);
  return code == 0 ? lv_change_barrier(&r->change, err) : code;
}

/* ---- the switch ------------------------------------------------------ */

static int put_heads(const struct layout *l, struct lvhd_error *err) {
  const struct lv_resizing *r = l->r;
  struct lv_header header = r->image.header;
  uint64_t header_at = r->image.footer.data_offset;
  uint8_t bytes[LV_FOOTER_SIZE + LV_HEADER_SIZE];
  bool joined = header_at == LV_FOOTER_SIZE;
  int code = 0;
  header.table_offset = l->table_at;
  header.entries = (uint32_t)l->blocks;
  memcpy(bytes, r->new_footer, LV_FOOTER_SIZE);
  lv_header_encode(&header, bytes + LV_FOOTER_SIZE);
  code = lv_edit_write(&r->image.file, r->env, bytes,
                       joined ? sizeof bytes : LV_FOOTER_SIZE, 0, err);
  if (code == 0 && !joined)
    code = lv_edit_write(&r->image.file, r->env, bytes + LV_FOOTER_SIZE,
                         LV_HEADER_SIZE, header_at, err);
  return code;
}

static int switch_over(const struct layout *l, struct lvhd_error *err) {
  const struct lv_resizing *r = l->r;
  int code = put_heads(l, err);
  if (code == 0 && l->final_at < l->footer_at)
    code = lv_edit_write(&r->image.file, r->env, r->new_footer,
                         LV_FOOTER_SIZE, l->final_at, err);
  if (code == 0)
    code = lv_resize_put(r, r->new_footer, LV_FOOTER_SIZE, l->footer_at,
                         err);
  if (code == 0 && l->final_at < l->footer_at)
    code = lv_resize_cut(r, l->final_at + LV_FOOTER_SIZE, err);
  return code;
}

/* ---- all of it ------------------------------------------------------- */

static int look_first(struct layout *l, struct lvhd_error *err) {
  int code = lay_out(l, err);
  if (code != 0)
    return code;
  lv_job_total(l->r->job,
               l->dropped * block_size(l) + l->mover_count * l->space.pitch,
               0);
  return l->r->size < l->r->old_size ? check_beyond(l, err) : 0;
}

static int change(struct layout *l, struct lvhd_error *err) {
  struct lv_resizing *r = l->r;
  int code = note(l, err);
  if (code == 0)
    code = put_old_footer(l, err);
  if (code == 0)
    code = move_blocks(l, err);
  if (code == 0 && !lv_job_commit(r->job))
    code = lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
  if (code == 0)
    code = drop(l, err);
  if (code == 0)
    code = prepare_new(l, err);
  return code == 0 ? switch_over(l, err) : code;
}

int lv_resize_dynamic(struct lv_resizing *r, struct lvhd_error *err) {
  struct layout l = {.r = r};
  int code = look_first(&l, err);
  if (code == 0)
    code = change(&l, err);
  lv_space_free(&l.space);
  free(l.movers);
  return code;
}
