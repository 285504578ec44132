/* SPDX-License-Identifier: MIT
 *
 * The bytes of a chain, and who holds them.  Which layer that is, map.c says;
 * in what order bytes reach the leaf's file, writer.c.
 */
#include "image/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/map.h"
#include "image/writer.h"

struct lv_disk {
  struct lv_env *env;
  struct lv_chain chain;
  bool borrowed; /* the chain is a part of someone else's */
  bool watches;  /* someone may write into the leaf */
  struct lv_map *map;
  struct lv_writer *writer; /* NULL: for reading */
  uint64_t size;
};

int lv_disk_new(struct lv_disk **out, struct lv_env *env,
                struct lv_chain *chain, struct lvhd_error *err) {
  struct lv_disk *disk = calloc(1, sizeof *disk);
  int code = 0;
  if (disk == NULL) {
    lv_chain_close(chain, env);
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  disk->env = env;
  disk->chain = *chain;
  *chain = (struct lv_chain){0};
  disk->size = disk->chain.images[0].footer.current_size;
  code = lv_map_new(&disk->map, env, &disk->chain, err);
  if (code != 0) {
    lv_disk_free(disk);
    return code;
  }
  *out = disk;
  return 0;
}

int lv_disk_part(struct lv_disk **out, struct lv_env *env,
                 const struct lv_chain *chain, size_t first, size_t count,
                 struct lvhd_error *err) {
  struct lv_chain part = {.images = chain->images + first,
                          .found = chain->found + first,
                          .count = count};
  struct lv_disk *disk = calloc(1, sizeof *disk);
  int code = 0;
  if (disk == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  disk->borrowed = true;
  disk->env = env;
  disk->chain = part;
  disk->size = part.images[0].footer.current_size;
  code = lv_map_new(&disk->map, env, &disk->chain, err);
  if (code != 0) {
    lv_disk_free(disk);
    return code;
  }
  *out = disk;
  return 0;
}

void lv_disk_watch(struct lv_disk *disk) {
  disk->watches = true;
}

void lv_disk_free(struct lv_disk *disk) {
  if (disk == NULL)
    return;
  lv_writer_free(disk->writer);
  lv_map_free(disk->map);
  if (!disk->borrowed)
    lv_chain_close(&disk->chain, disk->env);
  free(disk);
}

const struct lv_chain *lv_disk_chain_of(const struct lv_disk *disk) {
  return &disk->chain;
}

int lv_disk_mtime(const struct lv_disk *disk, int64_t *mtime,
                  struct lvhd_error *err) {
  const struct lv_file *leaf = &disk->chain.images[0].file;
  struct stat st;
  *mtime = leaf->st.st_mtim.tv_sec;
  if (disk->writer == NULL)
    return 0;
  if (disk->env->sys->fstat(disk->env->sys, leaf->fd, &st) != 0)
    return lv_fail_errno(err, LV_STEP_OTHER, errno, "fstat");
  *mtime = st.st_mtim.tv_sec;
  return 0;
}

uint64_t lv_disk_bytes(const struct lv_disk *disk) {
  return disk->size;
}

/* The run that holds a sector of the window. */
static uint32_t find_run(const struct lv_window *window, uint32_t sector) {
  uint32_t low = 0, high = window->count;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (window->runs[middle].start <= sector)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static uint32_t run_end(const struct lv_window *window, uint32_t i) {
  return i + 1 < window->count ? window->runs[i + 1].start
                               : LV_WINDOW_SECTORS;
}

/* ---- reading --------------------------------------------------------- */

#define STRETCHES 64u /* looked up at once */

/* Another program may write into a leaf that we only read (its parents are
 * locked): what was kept of its table holds as long as the file stands still.
 * Only blocks are added meanwhile; nobody may move them. */
static int look_again(struct lv_disk *disk, struct lvhd_error *err) {
  struct lv_image *leaf = &disk->chain.images[0];
  struct stat *st = &leaf->file.st, now;
  if (!disk->watches || !lv_image_has_table(leaf) || leaf->file.overlay)
    return 0;
  if (disk->env->sys->fstat(disk->env->sys, leaf->file.fd, &now) != 0) {
    int code = lv_fail_errno(err, LV_STEP_OTHER, errno, "fstat");
    lv_error_path(err, leaf->path);
    return code;
  }
  if (now.st_ctim.tv_sec == st->st_ctim.tv_sec &&
      now.st_ctim.tv_nsec == st->st_ctim.tv_nsec)
    return 0;
  lv_map_renew(disk->map);
  if (now.st_size > st->st_size)
    leaf->data_end += (uint64_t)(now.st_size - st->st_size);
  *st = now;
  return 0;
}

static int read_stretch(const struct lv_disk *disk,
                        const struct lv_stretch *s, uint8_t *to, struct lvhd_error *err) {
  int code = 0;
  if (s->layer == 0) {
    memset(to, 0, (size_t)s->length);
    return 0;
  }
  code = lv_file_read(&disk->chain.images[s->layer - 1].file, disk->env, to,
                      (size_t)s->length, s->at, err);
  if (code != 0 && err) {
    err->layer = s->layer;
    lv_error_path(err, disk->chain.images[s->layer - 1].path);
  }
  return code;
}

/* The part of the disk from `offset` on that one run covers. */
static int next_stretch(struct lv_disk *disk, uint64_t offset, uint64_t most,
                        struct lv_stretch *out, struct lvhd_error *err) {
  const struct lv_window *window = NULL;
  uint64_t within = offset % LV_WINDOW;
  uint32_t i = 0;
  int code = lv_map_window(disk->map, offset / LV_WINDOW, &window, err);
  if (code != 0)
    return code;
  i = find_run(window, (uint32_t)(within / LV_SECTOR));
  if (window->runs[i].at == LV_RUN_BAD)
    return lv_map_bad(disk->map, window->runs[i].layer, offset, err);
  out->layer = window->runs[i].layer;
  out->at = window->runs[i].at + within -
            (uint64_t)window->runs[i].start * LV_SECTOR;
  out->length = (uint64_t)run_end(window, i) * LV_SECTOR - within;
  if (out->length > most)
    out->length = most;
  return 0;
}

static bool follows(const struct lv_stretch *a, const struct lv_stretch *b) {
  return a->layer == b->layer &&
         (a->layer == 0 || a->at + a->length == b->at);
}

int lv_disk_locate(struct lv_disk *disk, uint64_t offset, uint64_t n,
                   struct lv_stretch *out, size_t room, size_t *count,
                   uint64_t *covered, struct lvhd_error *err) {
  struct lv_stretch next;
  *count = 0;
  for (*covered = 0; *covered < n; *covered += next.length) {
    int code =
      next_stretch(disk, offset + *covered, n - *covered, &next, err);
    if (code != 0)
      return code;
    if (*count > 0 && follows(&out[*count - 1], &next))
      out[*count - 1].length += next.length;
    else if (*count < room)
      out[(*count)++] = next;
    else
      break;
  }
  return 0;
}

int lv_disk_fetch(const struct lv_disk *disk, const struct lv_stretch *from,
                  size_t count, void *buf, struct lvhd_error *err) {
  uint8_t *to = buf;
  int code = 0;
  for (size_t i = 0; code == 0 && i < count; i++) {
    code = read_stretch(disk, &from[i], to, err);
    to += from[i].length;
  }
  return code;
}

int lv_disk_read(struct lv_disk *disk, void *buf, size_t n, uint64_t offset,
                 size_t *got, struct lvhd_error *err) {
  struct lv_stretch from[STRETCHES];
  uint8_t *to = buf;
  uint64_t left = 0, covered = 0;
  size_t count = 0;
  int code = 0;
  *got = 0;
  if (offset >= disk->size)
    return 0;
  code = look_again(disk, err);
  left = disk->size - offset < n ? disk->size - offset : n;
  for (uint64_t rest = left; code == 0 && rest > 0; rest -= covered) {
    code = lv_disk_locate(disk, offset, rest, from, STRETCHES, &count,
                          &covered, err);
    if (code == 0)
      code = lv_disk_fetch(disk, from, count, to, err);
    offset += covered;
    to += covered;
  }
  if (code == 0)
    *got = (size_t)left;
  return code;
}

/* ---- extents --------------------------------------------------------- */

#define EXTENT_WINDOWS 256u /* looked at in one call */

/* How far nothing is in any layer, from a window's start on. */
static int skip_empty(struct lv_disk *disk, uint64_t *at, uint64_t end,
                      struct lvhd_error *err) {
  uint64_t first = 0;
  int code = lv_map_skip(disk->map, *at, &end, &first, err);
  *at = first;
  return code;
}

int lv_disk_extent(struct lv_disk *disk, uint64_t offset, uint64_t end,
                   struct lvhd_extent *out, struct lvhd_error *err) {
  uint64_t at = offset;
  struct lv_stretch next;
  int seen = look_again(disk, err);
  *out = (struct lvhd_extent){.offset = offset};
  if (seen != 0)
    return seen;
  if (end > disk->size)
    end = disk->size;
  for (unsigned i = 0; i < EXTENT_WINDOWS && at < end; i++) {
    int code = 0;
    if (at % LV_WINDOW == 0 && (at == offset || out->layer == 0)) {
      code = skip_empty(disk, &at, end, err);
      if (code != 0)
        return code;
      if (at > end)
        at = end;
      if (at > offset && i == 0)
        break; /* a bounded amount of work */
    }
    if (at >= end)
      break;
    code = next_stretch(disk, at, end - at, &next, err);
    if (code != 0 && at == offset)
      return code;
    if (code != 0) { /* what is known first; the next call will tell */
      lvhd_error_clear(err);
      break;
    }
    if (at > offset && next.layer != out->layer)
      break;
    out->layer = next.layer;
    at += next.length;
  }
  out->length = at - offset;
  return 0;
}

/* ---- writing --------------------------------------------------------- */

int lv_disk_make_writable(struct lv_disk *disk, enum lvhd_sync sync,
                          struct lvhd_error *err) {
  return lv_writer_new(&disk->writer, &disk->chain.images[0], disk->env, sync,
                       err);
}

/* Part of one sector: what the chain has there, with the new bytes in it. */
static int write_part(struct lv_disk *disk, const uint8_t *data, size_t n,
                      uint64_t offset, struct lvhd_error *err) {
  uint8_t sector[LV_SECTOR];
  uint64_t start = offset - offset % LV_SECTOR;
  size_t got = 0;
  int code = lv_disk_read(disk, sector, sizeof sector, start, &got, err);
  if (code != 0)
    return code;
  memcpy(sector + (offset - start), data, n);
  return lv_writer_write(disk->writer, sector, sizeof sector, start, err);
}

/* A part of a sector, whole ones, a part. */
static int write_pieces(struct lv_disk *disk, const uint8_t *data, size_t n,
                        uint64_t offset, struct lvhd_error *err) {
  int code = 0;
  while (code == 0 && n > 0) {
    size_t skip = (size_t)(offset % LV_SECTOR);
    size_t part = LV_SECTOR - skip < n ? LV_SECTOR - skip : n;
    if (skip == 0 && n >= LV_SECTOR) {
      part = n - n % LV_SECTOR;
      code = lv_writer_write(disk->writer, data, part, offset, err);
    } else {
      code = write_part(disk, data, part, offset, err);
    }
    data += part;
    offset += part;
    n -= part;
  }
  return code;
}

int lv_disk_write(struct lv_disk *disk, const void *data, size_t n,
                  uint64_t offset, struct lvhd_error *err) {
  uint64_t first = offset - offset % LV_SECTOR;
  int code = 0;
  if (disk->writer == NULL)
    return lv_fail(err, LVHD_E_ACCESSDENIED, LV_R_NOT_WRITABLE);
  if (offset > disk->size || n > disk->size - offset)
    return lv_fail_range(err, LVHD_E_INVALIDARG, LV_R_WRITE_PAST_END,
                         disk->size, offset + n);
  if (n == 0)
    return 0;
  code = lv_writer_claim(disk->writer, first,
                         lv_round_up(offset + n, LV_SECTOR) - first, err);
  if (code == 0)
    code = write_pieces(disk, data, n, offset, err);
  lv_map_forget(disk->map, offset, n);
  return code;
}

int lv_disk_flush(struct lv_disk *disk, struct lvhd_error *err) {
  return disk->writer ? lv_writer_flush(disk->writer, err) : 0;
}

int lv_disk_finish(struct lv_disk *disk, struct lvhd_error *err) {
  int code = disk->writer ? lv_writer_finish(disk->writer, err) : 0;
  lv_writer_free(disk->writer);
  disk->writer = NULL;
  for (size_t i = 0; i < disk->chain.count; i++)
    lv_file_close(&disk->chain.images[i].file, disk->env);
  return code;
}
