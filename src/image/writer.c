/* SPDX-License-Identifier: MIT
 *
 * Writing sectors in an order that a crash cannot spoil.
 *
 * The file of a disk with a BAT, while it is written:
 *
 *   metadata | blocks that the BAT reaches | fresh | room | footer
 *                                          ^fresh  ^end   ^room
 *
 * Fresh blocks are named by BAT entries that are held back.  Room is reserved
 * in front of a footer that is durable already.  Held back, in the overlay of
 * the file: bitmaps of fresh blocks, which go first at a flush; then, after a
 * barrier, BAT sectors and the bitmaps of reachable blocks.
 *
 *   1 beginning   2 room   3 blocks   4 bits   5 sectors   6 flushing
 */
#include "image/writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/bitmap.h"
#include "image/table.h"
#include "io/edit.h"

#define UNUSED UINT32_MAX
#define ENTRY_LAST UINT32_C(0xFFFFFFFE)
#define ENTRIES (LV_SECTOR / 4)   /* of the BAT in a sector */
#define SECTORS (LV_SECTOR * 8u)  /* of the disk in a sector of bits */
#define HELD_MOST (4u << 20)      /* bytes that are held back */
#define GROW_MOST (32u << 20)     /* bytes reserved at once, unless expected */
#define ALIGNMENT 4096u

struct lv_writer {
  struct lv_image *image;
  struct lv_env *env;
  bool durable;
  struct lv_overlay *held;
  uint8_t footer[LV_FOOTER_SIZE]; /* as it stands in the file */
  uint64_t pitch;     /* bytes of a block with its bitmap */
  uint64_t alignment; /* of the data of new blocks */
  uint64_t fresh;     /* where the blocks begin that nothing reaches */
  uint64_t end;       /* where the next block may go */
  uint64_t room;      /* where the footer is; end: none that counts */
  uint64_t dirty_from, dirty_to; /* to be zeroed before it is used */
  uint64_t expected;  /* blocks */
  uint64_t grown;     /* bytes reserved the last time */
  bool grew;          /* the footer was moved */
  bool normal;        /* the footer at the end has 512 bytes */
  bool touched;       /* something was written since the last barrier */
  bool claimed;       /* bits were, which must be durable before data */
  bool over;          /* finished */
  bool wrote;         /* ever */
  time_t opened;      /* the second of the file's time before it was written */
  struct lvhd_error failed; /* code 0: none */
};

/* ---- 1 beginning ----------------------------------------------------- */

static int read_footer(struct lv_writer *w, struct lvhd_error *err) {
  const struct lv_image *image = w->image;
  uint64_t at = 0;
  size_t n = LV_FOOTER_SIZE;
  if (image->where != LVHD_FOOTER_COPY)
    at = image->data_end;
  if (image->where == LVHD_FOOTER_SHORT)
    n--;
  return lv_file_read(&image->file, w->env, w->footer, n, at, err);
}

/* New blocks follow packed; the data of the first one is aligned, and that of
 * all where the writer before us has done so. */
static int find_end(struct lv_writer *w, struct lvhd_error *err) {
  const struct lv_image *image = w->image;
  struct lv_table table;
  int code = lv_table_sound(&table, image, w->env, err);
  if (code == 0)
    code = lv_table_end(&w->end, image, w->env, err);
  if (code != 0)
    return code;
  w->pitch = (uint64_t)image->bitmap_size + image->header.block_size;
  w->alignment = table.used == 0 ||
                     (table.used > 1 && table.alignment == ALIGNMENT)
                   ? ALIGNMENT
                   : LV_SECTOR;
  w->dirty_from = w->end;
  w->dirty_to = (uint64_t)image->file.st.st_size;
  w->room = w->end;
  w->fresh = w->end;
  return 0;
}

int lv_writer_new(struct lv_writer **out, struct lv_image *image,
                  struct lv_env *env, enum lvhd_sync sync,
                  struct lvhd_error *err) {
  struct lv_writer *w = calloc(1, sizeof *w);
  int code = 0;
  *out = NULL;
  if (w == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  w->image = image;
  w->env = env;
  w->durable = sync != LVHD_SYNC_NONE;
  w->normal = image->where == LVHD_FOOTER_END;
  w->opened = image->file.st.st_mtim.tv_sec;
  w->held = calloc(1, sizeof *w->held);
  if (w->held == NULL)
    code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  if (code == 0)
    code = read_footer(w, err);
  if (code == 0 && lv_image_has_table(image))
    code = find_end(w, err);
  if (code != 0) {
    free(w->held);
    free(w);
    return code;
  }
  image->file.overlay = w->held;
  *out = w;
  return 0;
}

void lv_writer_free(struct lv_writer *writer) {
  if (writer == NULL)
    return;
  lv_overlay_clear(writer->held); /* the file's, and freed with it */
  lvhd_error_clear(&writer->failed);
  free(writer);
}

void lv_writer_expect(struct lv_writer *writer, uint64_t blocks) {
  writer->expected = blocks;
}

/* A copy of the first failure, for every call that follows. */
static int fail_again(const struct lv_writer *w, struct lvhd_error *err) {
  if (err) {
    char *path = w->failed.path ? strdup(w->failed.path) : NULL;
    lvhd_error_clear(err);
    *err = w->failed;
    err->path = path;
    err->parent = err->others = NULL;
  }
  return w->failed.code;
}

/* What was to become durable may be lost: nothing is sure any more. */
static int fail_for_ever(struct lv_writer *w, int code,
                         struct lvhd_error *why, struct lvhd_error *err) {
  w->failed = *why;
  w->failed.code = code;
  *why = (struct lvhd_error)LVHD_ERROR_INIT;
  lv_error_path(&w->failed, w->image->path);
  return fail_again(w, err);
}

static int barrier(struct lv_writer *w, struct lvhd_error *err) {
  struct lvhd_error why = LVHD_ERROR_INIT;
  int code = 0;
  if (w->touched && w->durable)
    code = lv_edit_flush(&w->image->file, w->env, &why);
  if (code != 0)
    return fail_for_ever(w, code, &why, err);
  w->touched = false;
  w->claimed = false;
  return 0;
}

static int put(struct lv_writer *w, const void *bytes, size_t n, uint64_t at,
               struct lvhd_error *err) {
  int code = lv_edit_write(&w->image->file, w->env, bytes, n, at, err);
  w->touched = true;
  w->wrote = true;
  return code;
}

/* ---- 2 room ---------------------------------------------------------- */

/* The file ends behind the footer at `at`. */
static void set_end(struct lv_writer *w, uint64_t at) {
  w->room = at;
  w->image->data_end = at;
  w->image->file.st.st_size = (off_t)(at + LV_FOOTER_SIZE);
  w->image->where = LVHD_FOOTER_END;
  w->normal = true;
}

/* A footer of 511 bytes, or none at all, becomes one of 512. */
static int normalise(struct lv_writer *w, struct lvhd_error *err) {
  uint64_t length = (uint64_t)w->image->file.st.st_size;
  uint64_t last = lv_round_up(length, LV_SECTOR);
  uint64_t at = last >= w->end + LV_FOOTER_SIZE ? last - LV_FOOTER_SIZE
                                                : w->end;
  int code = 0;
  if (w->normal)
    return 0;
  if (w->image->where == LVHD_FOOTER_SHORT)
    at = w->image->data_end;
  code = put(w, w->footer, LV_FOOTER_SIZE, at, err);
  if (code == 0)
    code = barrier(w, err);
  if (code != 0)
    return code;
  w->image->data_end = at;
  w->image->file.st.st_size = (off_t)(at + LV_FOOTER_SIZE);
  w->image->where = LVHD_FOOTER_END;
  w->dirty_to = at + LV_FOOTER_SIZE;
  w->normal = true;
  return 0;
}

/* Moves the footer so that `length` bytes follow the end.  Only when the new
 * one is durable the old one may go. */
static int move_footer(struct lv_writer *w, uint64_t length,
                       struct lvhd_error *err) {
  uint64_t at = w->end + length;
  uint64_t was = (uint64_t)w->image->file.st.st_size;
  int code = 0;
  if (at + LV_FOOTER_SIZE < was)
    at = lv_round_up(was, LV_SECTOR) - LV_FOOTER_SIZE; /* slack is enough */
  code = put(w, w->footer, LV_FOOTER_SIZE, at, err);
  if (code == 0)
    code = barrier(w, err);
  if (code != 0)
    return code;
  if (w->grew) {
    if (w->dirty_from >= w->dirty_to)
      w->dirty_from = w->room;
    w->dirty_to = w->room + LV_FOOTER_SIZE;
  }
  if (w->dirty_to > at)
    w->dirty_to = at;
  w->grew = true;
  set_end(w, at);
  return 0;
}

static uint64_t next_start(const struct lv_writer *w) {
  uint64_t bitmap = w->image->bitmap_size;
  return lv_round_up(w->end + bitmap, w->alignment) - bitmap;
}

/* Less may still be had. */
static bool is_room(int code) {
  return code == LVHD_E_DISK_FULL ||
         code == LVHD_VM_E_FILE_TOO_LARGE_FOR_VOLUME;
}

static int grow(struct lv_writer *w, struct lvhd_error *err) {
  uint64_t gap = next_start(w) - w->end;
  uint64_t each = w->pitch + (w->alignment > LV_SECTOR ? ALIGNMENT : 0);
  uint64_t want = w->grown ? 2 * w->grown : each;
  int code = 0;
  if (want > GROW_MOST)
    want = GROW_MOST;
  if (w->expected > want / each)
    want = w->expected * each;
  if (want > each) {
    code = move_footer(w, gap + want - want % each, err);
    if (code == 0) {
      w->grown = want;
      return 0;
    }
    if (w->failed.code != 0 || !is_room(code))
      return code;
  }
  w->grown = each;
  return move_footer(w, gap + w->pitch, err); /* as little as will do */
}

/* ---- 3 blocks -------------------------------------------------------- */

static uint64_t sector_of_table(const struct lv_writer *w, uint64_t block) {
  return w->image->header.table_offset + block / ENTRIES * LV_SECTOR;
}

static int look_up(const struct lv_writer *w, uint64_t block,
                   uint32_t *entry, struct lvhd_error *err) {
  uint8_t bytes[4];
  int code = lv_image_table(w->image, w->env, block, 1, bytes, err);
  *entry = lv_get_be32(bytes);
  return code;
}

/* The BAT's sector, held back with the entry changed. */
static int set_entry(struct lv_writer *w, uint64_t block, uint32_t entry,
                     struct lvhd_error *err) {
  uint64_t at = sector_of_table(w, block);
  uint8_t *held = lv_overlay_find(w->held, at);
  int code = 0;
  if (held == NULL) {
    uint8_t bytes[LV_SECTOR];
    code = lv_file_read(&w->image->file, w->env, bytes, sizeof bytes, at,
                        err);
    if (code == 0)
      code = lv_overlay_put(w->held, at, bytes, LV_SECTOR, &held, err);
    if (code != 0)
      return code;
  }
  lv_put_be32(held + block % ENTRIES * 4, entry);
  return 0;
}

static int write_zeros(struct lv_writer *w, uint64_t at, size_t n,
                       struct lvhd_error *err) {
  static const uint8_t zeros[4096];
  int code = 0;
  while (code == 0 && n > 0) {
    size_t part = n < sizeof zeros ? n : sizeof zeros;
    code = put(w, zeros, part, at, err);
    at += part;
    n -= part;
  }
  return code;
}

static int too_far(struct lv_writer *w, uint64_t at, struct lvhd_error *err) {
  lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_LARGE, LV_R_BAT_REACH,
                (uint64_t)ENTRY_LAST * LV_SECTOR, at);
  lv_error_path(err, w->image->path);
  return LVHD_VM_E_IMAGE_SIZE_TOO_LARGE;
}

/* A place for the block, zeroed, and its entry. */
static int add_block(struct lv_writer *w, uint64_t block, uint32_t *entry,
                     struct lvhd_error *err) {
  uint64_t at = next_start(w);
  int code = 0;
  if (at / LV_SECTOR > ENTRY_LAST)
    return too_far(w, at, err);
  if (!w->grew || at + w->pitch > w->room)
    code = grow(w, err);
  if (code == 0 && w->dirty_from < w->dirty_to) {
    code = lv_edit_zero(&w->image->file, w->env, w->dirty_from, w->dirty_to,
                        err);
    w->touched = true;
    if (code == 0)
      w->dirty_to = w->dirty_from;
  }
  if (code == 0) /* room for its bits now, not when they are to be flushed */
    code = write_zeros(w, at, w->image->bitmap_size, err);
  if (code == 0)
    code = set_entry(w, block, (uint32_t)(at / LV_SECTOR), err);
  if (code != 0)
    return code;
  *entry = (uint32_t)(at / LV_SECTOR);
  w->end = at + w->pitch;
  if (w->expected > 0)
    w->expected--;
  return 0;
}

int lv_writer_has_block(struct lv_writer *writer, uint64_t offset, bool *has,
                        struct lvhd_error *err) {
  uint32_t entry = UNUSED;
  int code = 0;
  *has = true;
  if (!lv_image_has_table(writer->image))
    return 0;
  code = look_up(writer, offset / writer->image->header.block_size, &entry,
                 err);
  *has = entry != UNUSED;
  return code;
}

/* ---- 4 bits ---------------------------------------------------------- */

/* Sectors [from, to) of the block whose bitmap begins at byte `at`. */
struct range {
  uint64_t at;
  uint32_t from, to;
};

/* One sector of bits, as far as the range reaches into it. */
struct bits {
  uint64_t at;       /* in the file */
  uint32_t from, to; /* within it */
  uint8_t bytes[LV_SECTOR];
};

static bool is_fresh(const struct lv_writer *w, uint64_t at) {
  return at >= w->fresh;
}

static int load_bits(const struct lv_writer *w, const struct range *r,
                     uint32_t sector, struct bits *b,
                     struct lvhd_error *err) {
  uint32_t first = sector * SECTORS;
  b->at = r->at + (uint64_t)sector * LV_SECTOR;
  b->from = r->from > first ? r->from - first : 0;
  b->to = r->to - first < SECTORS ? r->to - first : SECTORS;
  if (is_fresh(w, b->at)) { /* zeros, but for what is held back */
    const uint8_t *held = lv_overlay_find(w->held, b->at);
    if (held)
      memcpy(b->bytes, held, LV_SECTOR);
    else
      memset(b->bytes, 0, LV_SECTOR);
    return 0;
  }
  return lv_file_read(&w->image->file, w->env, b->bytes, LV_SECTOR, b->at,
                      err);
}

static bool all_set(const struct bits *b) {
  return lv_bits_find(b->bytes, b->from, b->to, false) >= b->to;
}

static void set_all(struct bits *b) {
  for (uint32_t i = b->from; i < b->to; i++)
    lv_bit_set(b->bytes, i);
}

/* Sets the bits of the range.  now: in the file, else held back. */
static int set_bits(struct lv_writer *w, const struct range *r, bool now,
                    bool *changed, struct lvhd_error *err) {
  int code = 0;
  *changed = false;
  for (uint32_t i = r->from / SECTORS; code == 0 && i * SECTORS < r->to;
       i++) {
    struct bits b;
    code = load_bits(w, r, i, &b, err);
    if (code != 0 || all_set(&b))
      continue;
    set_all(&b);
    *changed = true;
    code = now ? put(w, b.bytes, LV_SECTOR, b.at, err)
               : lv_overlay_put(w->held, b.at, b.bytes, LV_SECTOR, NULL, err);
  }
  return code;
}

/* ---- 5 sectors ------------------------------------------------------- */

/* In a disk without parent a sector under a clear bit must be zero, so bits
 * come before data, and are durable before where something reaches the block;
 * in others a sector must not show before it is whole, so data come before
 * bits.  A failure in between leaves what may be published. */
static int write_block(struct lv_writer *w, uint64_t block, uint32_t skip,
                       const uint8_t *data, size_t n,
                       struct lvhd_error *err) {
  bool alone = !lv_image_has_parent(w->image);
  bool changed = false, reached = false;
  uint32_t entry = UNUSED;
  struct range r = {.from = skip / LV_SECTOR,
                    .to = skip / LV_SECTOR + (uint32_t)(n / LV_SECTOR)};
  int code = look_up(w, block, &entry, err);
  if (code == 0 && entry == UNUSED)
    code = add_block(w, block, &entry, err);
  if (code != 0)
    return code;
  r.at = (uint64_t)entry * LV_SECTOR;
  reached = !is_fresh(w, r.at);
  if (alone)
    code = set_bits(w, &r, reached, &changed, err);
  if (code == 0 && alone && reached && (changed || w->claimed))
    code = barrier(w, err);
  if (code == 0)
    code = put(w, data, n, r.at + w->image->bitmap_size + skip, err);
  return code == 0 && !alone ? set_bits(w, &r, false, &changed, err) : code;
}

static int ready(struct lv_writer *w, struct lvhd_error *err) {
  if (w->failed.code != 0)
    return fail_again(w, err);
  if (w->over) {
    lv_fail(err, LVHD_E_HANDLE, LV_R_NONE);
    return LVHD_E_HANDLE;
  }
  return normalise(w, err);
}

static int named(const struct lv_writer *w, int code,
                 struct lvhd_error *err) {
  if (code != 0 && err && err->path == NULL)
    lv_error_path(err, w->image->path);
  return code;
}

static int write_blocks(struct lv_writer *w, const uint8_t *from, size_t n,
                        uint64_t offset, struct lvhd_error *err) {
  int code = 0;
  while (code == 0 && n > 0) {
    uint32_t size = w->image->header.block_size;
    uint32_t skip = (uint32_t)(offset % size);
    size_t part = n < size - skip ? n : size - skip;
    code = write_block(w, offset / size, skip, from, part, err);
    from += part;
    offset += part;
    n -= part;
    if (code == 0 && w->held->bytes > HELD_MOST)
      code = lv_writer_flush(w, err);
  }
  return code;
}

int lv_writer_write(struct lv_writer *writer, const void *data, size_t n,
                    uint64_t offset, struct lvhd_error *err) {
  int code = ready(writer, err);
  if (code == 0 && lv_image_has_table(writer->image))
    code = write_blocks(writer, data, n, offset, err);
  else if (code == 0)
    code = put(writer, data, n, offset, err);
  return named(writer, code, err);
}

static int claim_block(struct lv_writer *w, uint64_t block, uint32_t skip,
                       uint64_t n, struct lvhd_error *err) {
  uint32_t entry = UNUSED;
  bool changed = false;
  struct range r = {.from = skip / LV_SECTOR,
                    .to = skip / LV_SECTOR + (uint32_t)(n / LV_SECTOR)};
  int code = look_up(w, block, &entry, err);
  r.at = (uint64_t)entry * LV_SECTOR;
  if (code != 0 || entry == UNUSED || is_fresh(w, r.at))
    return code;
  code = set_bits(w, &r, true, &changed, err);
  w->claimed = w->claimed || changed;
  return code;
}

int lv_writer_claim(struct lv_writer *writer, uint64_t offset, uint64_t n,
                    struct lvhd_error *err) {
  int code = ready(writer, err);
  if (!lv_image_has_table(writer->image) ||
      lv_image_has_parent(writer->image))
    return code;
  while (code == 0 && n > 0) {
    uint32_t size = writer->image->header.block_size;
    uint32_t skip = (uint32_t)(offset % size);
    uint64_t part = n < size - skip ? n : size - skip;
    code = claim_block(writer, offset / size, skip, part, err);
    offset += part;
    n -= part;
  }
  return named(writer, code, err);
}

/* ---- 6 flushing ------------------------------------------------------ */

/* Writes what is held of fresh blocks, or of all others. */
static int write_held(struct lv_writer *w, bool fresh,
                      struct lvhd_error *err) {
  int code = 0;
  for (size_t i = 0; code == 0 && i < w->held->count; i++) {
    const struct lv_patch *held = &w->held->items[i];
    if (is_fresh(w, held->at) == fresh)
      code = put(w, held->bytes, held->length, held->at, err);
  }
  return code;
}

/* A write that fails, for want of room, may be tried again: all that is held
 * stays, and what went already goes once more.  A barrier that fails may not. */
static int flush(struct lv_writer *w, struct lvhd_error *err) {
  int code = write_held(w, true, err);
  if (code == 0)
    code = barrier(w, err);
  if (code == 0 && w->held->count > 0) {
    code = write_held(w, false, err);
    if (code == 0)
      code = barrier(w, err);
  }
  if (code != 0)
    return code;
  lv_overlay_clear(w->held);
  w->fresh = w->end;
  return 0;
}

static int move_time(const struct lv_writer *w, struct lvhd_error *err) {
  return w->wrote ? lv_edit_move_on(&w->image->file, w->env, w->opened, err)
                  : 0;
}

int lv_writer_flush(struct lv_writer *writer, struct lvhd_error *err) {
  int code = 0;
  if (writer->failed.code != 0)
    return fail_again(writer, err);
  code = flush(writer, err);
  if (code == 0)
    code = named(writer, move_time(writer, err), err);
  return code;
}

/* The footer follows the last block: written there first, then the file is
 * cut behind it. */
static int trim(struct lv_writer *w, struct lvhd_error *err) {
  uint64_t at = w->end;
  int code = 0;
  if (!w->grew || at == w->room)
    return 0;
  if (at + LV_FOOTER_SIZE > w->room) /* would tear the one that counts */
    return 0;
  code = put(w, w->footer, LV_FOOTER_SIZE, at, err);
  if (code == LVHD_E_DISK_FULL) {
    lvhd_error_clear(err); /* what was reserved stays: no harm is done */
    return 0;
  }
  if (code == 0)
    code = barrier(w, err);
  if (code == 0)
    code = lv_edit_truncate(&w->image->file, w->env, at + LV_FOOTER_SIZE,
                            err);
  if (code != 0)
    return code;
  w->touched = true;
  set_end(w, at);
  return barrier(w, err);
}

int lv_writer_finish(struct lv_writer *writer, struct lvhd_error *err) {
  int code = 0;
  if (writer->over)
    return 0;
  code = writer->failed.code != 0 ? fail_again(writer, err)
                                  : flush(writer, err);
  if (code == 0)
    code = trim(writer, err);
  if (code == 0)
    code = move_time(writer, err);
  writer->over = true;
  return named(writer, code, err);
}
