/* SPDX-License-Identifier: MIT
 *
 * The folder tree in memory: what makes, changes and takes away.  Bytes are
 * written into pages over a file's segments, so that a file of 2^60 bytes
 * costs what was written; when all pages are used the volume is full.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>

#include "memnodes.h"

#define PUNCH_MAX (UINT64_C(1) << 20) /* more is written by who wants it */

/* ---- pages ----------------------------------------------------------- */

/* The first page at or behind `at`. */
static size_t page_from(const struct mem_written *w, uint64_t at) {
  size_t low = 0;
  size_t high = w->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (w->pages[middle].at < at)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

void mem_written_out(const struct mem_file *file, uint64_t offset,
                     uint8_t *buf, size_t n) {
  const struct mem_written *w = file->written;
  if (offset + n > w->whole) {
    size_t from = offset < w->whole ? (size_t)(w->whole - offset) : 0;
    memset(buf + from, 0, n - from);
  }
  for (size_t i = page_from(w, offset / MEM_PAGE); i < w->count; i++) {
    uint64_t at = w->pages[i].at * MEM_PAGE;
    uint64_t from = at > offset ? at : offset;
    uint64_t to = at + MEM_PAGE < offset + n ? at + MEM_PAGE : offset + n;
    if (from >= to)
      return;
    memcpy(buf + (from - offset), w->pages[i].bytes + (from - at),
           (size_t)(to - from));
  }
}

/* Which of the changes' it is: the files of the input, then those made. */
static size_t slot_of(const struct mem *mem, const struct mem_file *file) {
  size_t i = 0;
  while (i < MEM_FILES && file != &mem->files[i])
    i++;
  while (i >= MEM_FILES && file != &mem->changes->added[i - MEM_FILES].file)
    i++;
  return i;
}

static struct mem_written *begin_written(struct mem *mem,
                                         struct mem_file *file) {
  if (file->written == NULL) {
    file->written = &mem->changes->written[slot_of(mem, file)];
    file->written->count = 0;
    file->written->whole = file->length;
  }
  return file->written;
}

/* The page of these bytes, made where there is none; NULL: full. */
static uint8_t *page_of(struct mem *mem, struct mem_file *file, uint64_t at) {
  struct mem_written *w = begin_written(mem, file);
  size_t i = page_from(w, at);
  uint8_t *bytes = NULL;
  if (i < w->count && w->pages[i].at == at)
    return w->pages[i].bytes;
  if (mem->changes->pool_used == MEM_PAGES ||
      (mem->room != 0 && mem->changes->pool_used == 4 * mem->room)) {
    mem->changes->full = true;
    return NULL;
  }
  bytes = mem->changes->pool[mem->changes->pool_used++];
  memset(bytes, 0, MEM_PAGE);
  if (at * MEM_PAGE < file->length) {
    uint64_t n = file->length - at * MEM_PAGE;
    mem_peek(file, at * MEM_PAGE, bytes, n < MEM_PAGE ? (size_t)n : MEM_PAGE);
  }
  memmove(&w->pages[i + 1], &w->pages[i], (w->count - i) * sizeof w->pages[0]);
  w->pages[i] = (struct mem_page){.at = at, .bytes = bytes};
  w->count++;
  return bytes;
}

/* Bytes written; fewer than n: full. */
static size_t put(struct mem *mem, struct mem_file *file, uint64_t offset,
                  const uint8_t *from, size_t n) {
  size_t done = 0;
  while (done < n) {
    uint64_t at = offset + done;
    size_t in = (size_t)(at % MEM_PAGE);
    size_t piece = MEM_PAGE - in < n - done ? MEM_PAGE - in : n - done;
    uint8_t *page = page_of(mem, file, at / MEM_PAGE);
    if (page == NULL)
      break;
    if (from != NULL)
      memcpy(page + in, from + done, piece);
    else
      memset(page + in, 0, piece);
    done += piece;
    if (at + piece > file->length)
      file->length = at + piece;
  }
  return done;
}

/* ---- files ----------------------------------------------------------- */

static void touched(struct mem *mem, int node, bool content) {
  struct mem_changes *c = mem->changes;
  c->changed[node] = MEM_MTIME + 1000 + ++c->clock;
  if (content)
    c->mtimes[node] = (struct timespec){
        .tv_sec = MEM_MTIME + 1000, .tv_nsec = (long)(c->clock % 1000000000)};
}

/* A file that may be written, behind a descriptor; NULL and errno. */
static struct mem_file *to_write(struct mem *mem, int fd, int *node) {
  struct mem_file *file = NULL;
  *node = mem_node_of(mem, fd);
  if (*node < 0)
    return NULL;
  file = mem_file_of(mem, *node);
  if (mem->changes == NULL || file == NULL) {
    mem->trapped = "a write";
    mem_fails(EROFS);
    return NULL;
  }
  if (*node < MEM_FILES && (mem->may_write >> *node & 1) == 0)
    mem->trapped = "a write into what must not change";
  return file;
}

/* What is there already can be written, however far it is. */
static uint64_t limit_of(const struct mem_file *file) {
  return file->length > MEM_LENGTH_MAX ? file->length : MEM_LENGTH_MAX;
}

static ssize_t call_pwritev(const struct lv_sys *sys, int fd,
                            const struct iovec *iov, int count, off_t offset) {
  struct mem *mem = mem_of(sys);
  int node = -1;
  struct mem_file *file = to_write(mem, fd, &node);
  uint64_t at = (uint64_t)offset;
  size_t done = 0;
  if (file == NULL)
    return -1;
  if (offset < 0)
    return mem_fails(EINVAL);
  for (int i = 0; i < count; i++) {
    size_t n = iov[i].iov_len;
    size_t got = 0;
    if (at > limit_of(file) || n > limit_of(file) - at)
      return done > 0 ? (ssize_t)done : mem_fails(EFBIG);
    got = put(mem, file, at, iov[i].iov_base, n);
    at += got;
    done += got;
    if (got < n)
      break;
  }
  touched(mem, node, true);
  return done > 0 ? (ssize_t)done : mem_fails(ENOSPC);
}

static ssize_t call_copy(const struct lv_sys *sys, int from, off_t from_at,
                         int to, off_t to_at, size_t n) {
  uint8_t buf[MEM_PAGE];
  struct iovec iov = {.iov_base = buf};
  ssize_t got =
      sys->pread(sys, from, buf, n < sizeof buf ? n : sizeof buf, from_at);
  if (got <= 0)
    return got;
  iov.iov_len = (size_t)got;
  return call_pwritev(sys, to, &iov, 1, to_at);
}

static int call_clone(const struct lv_sys *sys, int from, off_t from_at,
                      size_t n, int to, off_t to_at) {
  (void)sys, (void)from, (void)from_at, (void)n, (void)to, (void)to_at;
  return mem_fails(EOPNOTSUPP);
}

/* What is beyond a new end is gone for good. */
static void cut(struct mem_file *file, struct mem_written *w,
                uint64_t length) {
  size_t keep = page_from(w, (length + MEM_PAGE - 1) / MEM_PAGE);
  w->count = keep;
  if (keep > 0 && (w->pages[keep - 1].at + 1) * MEM_PAGE > length)
    memset(w->pages[keep - 1].bytes + length % MEM_PAGE, 0,
           (size_t)(MEM_PAGE - length % MEM_PAGE));
  if (length < w->whole)
    w->whole = length;
  file->length = length;
}

static int call_ftruncate(const struct lv_sys *sys, int fd, off_t length) {
  struct mem *mem = mem_of(sys);
  int node = -1;
  struct mem_file *file = to_write(mem, fd, &node);
  if (file == NULL)
    return -1;
  if (length < 0 || (uint64_t)length > limit_of(file))
    return mem_fails(length < 0 ? EINVAL : EFBIG);
  cut(file, begin_written(mem, file), (uint64_t)length);
  touched(mem, node, true);
  return 0;
}

static int call_fallocate(const struct lv_sys *sys, int fd, int mode,
                          off_t offset, off_t length) {
  struct mem *mem = mem_of(sys);
  int node = -1;
  struct mem_file *file = to_write(mem, fd, &node);
  uint64_t end = (uint64_t)offset + (uint64_t)length;
  if (file == NULL)
    return -1;
  if (offset < 0 || length <= 0)
    return mem_fails(EINVAL);
  if (end > limit_of(file))
    return mem_fails(EFBIG);
  begin_written(mem, file);
  if ((mode & FALLOC_FL_PUNCH_HOLE) != 0) {
    end = end < file->length ? end : file->length;
    if ((uint64_t)length > PUNCH_MAX)
      return mem_fails(EOPNOTSUPP);
    if ((uint64_t)offset < end &&
        put(mem, file, (uint64_t)offset, NULL,
            (size_t)(end - (uint64_t)offset)) < end - (uint64_t)offset)
      return mem_fails(ENOSPC);
  } else if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && end > file->length) {
    file->length = end;
  }
  touched(mem, node, true);
  return 0;
}

static int call_futimens(const struct lv_sys *sys, int fd,
                         const struct timespec ts[2]) {
  struct mem *mem = mem_of(sys);
  int node = -1;
  if (to_write(mem, fd, &node) == NULL)
    return -1;
  touched(mem, node, false);
  mem->changes->mtimes[node] = ts[1];
  return 0;
}

static int call_fchmod(const struct lv_sys *sys, int fd, mode_t mode) {
  (void)mode;
  return mem_node_of(mem_of(sys), fd) < 0 ? -1 : 0;
}

/* ---- flushing -------------------------------------------------------- */

static int call_fsync(const struct lv_sys *sys, int fd) {
  return mem_node_of(mem_of(sys), fd) < 0 ? -1 : 0;
}

static int call_send(const struct lv_sys *sys, int fd, off_t offset,
                     off_t length) {
  (void)offset, (void)length;
  return call_fsync(sys, fd);
}

static int call_range(const struct lv_sys *sys, int fd, off_t offset, off_t n,
                      unsigned flags) {
  (void)flags;
  return call_send(sys, fd, offset, n);
}

/* ---- names ----------------------------------------------------------- */

static int add(struct mem *mem, const char *path, bool folder) {
  struct mem_changes *c = mem->changes;
  for (size_t i = 0; i < MEM_ADDED; i++) {
    if (c->added[i].used)
      continue;
    c->added[i] = (struct mem_added){.used = true, .folder = folder};
    strcpy(c->added[i].path, path);
    touched(mem, mem_added_node(i), true);
    return mem_added_node(i);
  }
  c->full = true;
  return mem_fails(ENOSPC);
}

/* Where something new may be made; -1 and errno. */
static int place_new(struct mem *mem, int dir, const char *path,
                     char out[MEM_PATH]) {
  if (mem->changes == NULL) {
    mem->trapped = "something was to be made";
    return mem_fails(EROFS);
  }
  if (mem_place(mem, dir, path, out) != 0)
    return -1;
  return mem_lookup(mem, out) >= 0 ? mem_fails(EEXIST) : 0;
}

int mem_make(struct mem *mem, int dir, const char *path, int flags) {
  char place[MEM_PATH];
  int node = 0;
  if ((flags & O_TMPFILE) == O_TMPFILE) {
    place[0] = '\0';
    if (mem->changes == NULL)
      mem->trapped = "an unnamed file";
    if (mem->changes == NULL || mem->no_openat2) /* the older way */
      return mem_fails(EOPNOTSUPP);
  } else if (place_new(mem, dir, path, place) != 0) {
    if ((flags & O_EXCL) == 0)
      mem->trapped = "made without O_EXCL";
    return -1;
  }
  node = add(mem, place, false);
  return node < 0 ? -1 : mem_give(mem, node, 0);
}

static struct mem_added *added_at(struct mem *mem, int node) {
  int first = mem_added_node(0);
  return node < first ? NULL : &mem->changes->added[node - first];
}

static int call_linkat(const struct lv_sys *sys, int from_dir,
                       const char *from, int to_dir, const char *to,
                       int flags) {
  struct mem *mem = mem_of(sys);
  char place[MEM_PATH];
  struct mem_added *a = NULL;
  int fd = from_dir;
  if (place_new(mem, to_dir, to, place) != 0)
    return -1;
  if (((flags & AT_EMPTY_PATH) == 0 || *from != '\0') &&
      sscanf(from, "/proc/self/fd/%d", &fd) != 1)
    return mem_fails(EPERM); /* no second names here */
  a = mem_node_of(mem, fd) < 0 ? NULL : added_at(mem, mem_node_of(mem, fd));
  if (a == NULL || a->path[0] != '\0')
    return mem_fails(EPERM);
  strcpy(a->path, place);
  return 0;
}

static int call_renameat2(const struct lv_sys *sys, int from_dir,
                          const char *from, int to_dir, const char *to,
                          unsigned flags) {
  struct mem *mem = mem_of(sys);
  char old[MEM_PATH];
  char place[MEM_PATH];
  struct mem_added *a = NULL;
  if ((flags & RENAME_NOREPLACE) == 0)
    mem->trapped = "a rename that replaces";
  if (mem_place(mem, from_dir, from, old) != 0 ||
      place_new(mem, to_dir, to, place) != 0)
    return -1;
  a = added_at(mem, mem_lookup(mem, old));
  if (a == NULL)
    return mem_fails(ENOENT);
  strcpy(a->path, place);
  return 0;
}

static int call_unlinkat(const struct lv_sys *sys, int dir, const char *path,
                         int flags) {
  struct mem *mem = mem_of(sys);
  char place[MEM_PATH];
  int node = -1;
  struct mem_added *a = NULL;
  if (mem->changes == NULL) {
    mem->trapped = "something was to be taken away";
    return mem_fails(EROFS);
  }
  if (mem_place(mem, dir, path, place) != 0)
    return -1;
  node = mem_lookup(mem, place);
  if (node < 0)
    return mem_fails(ENOENT);
  a = added_at(mem, node);
  if ((flags & AT_REMOVEDIR) != 0 && (a == NULL || !a->folder))
    return mem_fails(a == NULL ? ENOTEMPTY : ENOTDIR);
  if ((flags & AT_REMOVEDIR) == 0 && mem_file_of(mem, node) == NULL)
    return mem_fails(EISDIR);
  if (a != NULL) {
    a->path[0] = '\0';
    return 0;
  }
  if (node >= MEM_FILES || (mem->may_write >> node & 1) == 0)
    mem->trapped = "a file that is not ours was taken away";
  else
    mem->changes->gone[node] = true;
  return 0;
}

static int call_mkdirat(const struct lv_sys *sys, int dir, const char *path,
                        mode_t mode) {
  char place[MEM_PATH];
  (void)mode;
  if (place_new(mem_of(sys), dir, path, place) != 0)
    return -1;
  return add(mem_of(sys), place, true) < 0 ? -1 : 0;
}

/* The same in each run. */
static ssize_t call_getrandom(const struct lv_sys *sys, void *buf, size_t n,
                              unsigned flags) {
  struct mem *mem = mem_of(sys);
  uint8_t *to = buf;
  (void)flags;
  for (size_t i = 0; i < n; i++)
    to[i] = (uint8_t)(mem->changes == NULL ? i + 1
                                           : 7 * i + ++mem->changes->clock);
  return (ssize_t)n;
}

void mem_calls(struct lv_sys *sys) {
  sys->pwritev = call_pwritev;
  sys->copy = call_copy;
  sys->clone = call_clone;
  sys->ftruncate = call_ftruncate;
  sys->fallocate = call_fallocate;
  sys->send = call_send;
  sys->fsync = sys->syncfs = sys->fdatasync = call_fsync;
  sys->sync_file_range = call_range;
  sys->futimens = call_futimens;
  sys->fchmod = call_fchmod;
  sys->linkat = call_linkat;
  sys->renameat2 = call_renameat2;
  sys->unlinkat = call_unlinkat;
  sys->mkdirat = call_mkdirat;
  sys->getrandom = call_getrandom;
}

/* ---- the whole ------------------------------------------------------- */

void mem_writable(struct mem *mem, struct mem_changes *changes,
                  unsigned may_write) {
  changes->pool_used = 0;
  changes->clock = 0;
  changes->full = false;
  memset(changes->gone, 0, sizeof changes->gone);
  memset(changes->mtimes, 0, sizeof changes->mtimes);
  memset(changes->changed, 0, sizeof changes->changed);
  for (size_t i = 0; i < MEM_ADDED; i++)
    changes->added[i].used = false;
  for (size_t i = 0; i < MEM_FILES; i++)
    changes->lengths[i] = mem->files[i].length;
  mem->changes = changes;
  mem->may_write = may_write;
}

void mem_forget(struct mem *mem) {
  for (size_t i = 0; i < MEM_FILES && mem->changes != NULL; i++) {
    mem->files[i].written = NULL;
    mem->files[i].length = mem->changes->lengths[i];
  }
  mem->changes = NULL;
}

bool mem_unchanged(const struct mem *mem, unsigned file) {
  const struct mem_changes *c = mem->changes;
  return mem->files[file].written == NULL && !c->gone[file] &&
         c->changed[file] == 0 && mem->files[file].length == c->lengths[file];
}

const char *mem_made(const struct mem *mem, size_t i) {
  const struct mem_added *a = &mem->changes->added[i];
  return a->used && a->path[0] != '\0' ? a->path : NULL;
}
