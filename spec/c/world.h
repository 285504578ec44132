/* SPDX-License-Identifier: MIT
 *
 * A folder of files that is kept in memory: put back as it was before each
 * try, compared afterwards.  Its files are known by bytes, times and names;
 * what they hold is no matter here.  Allocates only while it is taken.
 */
#ifndef LVHD_SPEC_WORLD_H
#define LVHD_SPEC_WORLD_H

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WORLD_FILES 48
#define WORLD_PATH 512

struct world_file {
  char name[64]; /* below the folder */
  bool folder;
  uint8_t *bytes;
  size_t n;
  struct timespec mtime, ctime;
  bool settled; /* a change from now on would show in ctime */
};

static struct {
  char root[128];
  struct world_file files[WORLD_FILES];
  size_t count;
  uint8_t *buf; /* as long as the longest file, and a byte */
  size_t room;
} world;

static inline void world_join(char path[WORLD_PATH], const char *folder,
                              const char *name) {
  size_t f = strlen(folder), n = strlen(name);
  if (f + n + 2 > WORLD_PATH)
    abort();
  memcpy(path, folder, f);
  path[f] = '/';
  memcpy(path + f + (f > 0), name, n + 1);
}

/* Four at a time. */
static inline const char *at(const char *name) {
  static char paths[4][WORLD_PATH];
  static unsigned turn;
  char *path = paths[turn++ % 4];
  world_join(path, world.root, name);
  return path;
}

static inline struct world_file *world_find(const char *name) {
  for (size_t i = 0; i < world.count; i++)
    if (strcmp(world.files[i].name, name) == 0)
      return &world.files[i];
  return NULL;
}

/* Calls fn for all below the folder, what is in a folder before the folder. */
typedef void world_fn(const char *name, const struct stat *st, void *arg);

static inline void world_walk(const char *below, world_fn *fn, void *arg) {
  DIR *dir = opendir(at(below));
  const struct dirent *entry = NULL;
  while (dir != NULL && (entry = readdir(dir)) != NULL) {
    char name[WORLD_PATH];
    struct stat st;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    world_join(name, below, entry->d_name);
    if (lstat(at(name), &st) != 0)
      continue;
    if (S_ISDIR(st.st_mode))
      world_walk(name, fn, arg);
    fn(name, &st, arg);
  }
  if (dir != NULL)
    closedir(dir);
}

/* ---- taking it -------------------------------------------------------- */

/* The whole file into buf, which is long enough; its length. */
static inline size_t world_read(const char *name, uint8_t *buf, size_t room) {
  int fd = open(at(name), O_RDONLY | O_CLOEXEC);
  size_t n = 0;
  ssize_t got = 0;
  while (fd >= 0 && n < room && (got = read(fd, buf + n, room - n)) > 0)
    n += (size_t)got;
  if (fd >= 0)
    close(fd);
  return n;
}

static inline void world_take_one(const char *name, const struct stat *st,
                                  void *arg) {
  struct world_file *file = &world.files[world.count];
  (void)arg;
  if (world.count == WORLD_FILES)
    abort();
  world.count++;
  snprintf(file->name, sizeof file->name, "%.63s", name);
  file->folder = S_ISDIR(st->st_mode);
  file->mtime = st->st_mtim;
  if (file->folder)
    return;
  file->n = (size_t)st->st_size;
  file->bytes = malloc(file->n + 1);
  if (file->bytes == NULL ||
      world_read(name, file->bytes, file->n) != file->n)
    abort();
  if (file->n + 1 > world.room)
    world.room = file->n + 1;
}

/* What there is now is what is put back. */
static inline void world_take(void) {
  world_walk("", world_take_one, NULL);
  world.buf = malloc(world.room);
  if (world.buf == NULL)
    abort();
}

/* ---- putting it back -------------------------------------------------- */

static inline bool world_same_time(const struct timespec *a,
                                   const struct timespec *b) {
  return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Bytes and time are those of then.  What was not touched is not read. */
static inline bool world_same(const struct world_file *file) {
  struct stat st;
  if (stat(at(file->name), &st) != 0)
    return false;
  if (file->folder ||
      (file->settled && world_same_time(&st.st_ctim, &file->ctime)))
    return true;
  return world_same_time(&st.st_mtim, &file->mtime) &&
         (size_t)st.st_size == file->n &&
         world_read(file->name, world.buf, world.room) == file->n &&
         memcmp(world.buf, file->bytes, file->n) == 0;
}

/* The kernel's clock for files goes in steps of some milliseconds. */
#define WORLD_STEP_NS 20000000

static inline void world_settle(struct world_file *file) {
  struct timespec now;
  struct stat st;
  clock_gettime(CLOCK_REALTIME, &now);
  if (stat(at(file->name), &st) != 0)
    return;
  file->ctime = st.st_ctim;
  file->settled = (now.tv_sec - st.st_ctim.tv_sec) * INT64_C(1000000000) +
                    now.tv_nsec - st.st_ctim.tv_nsec >
                  WORLD_STEP_NS;
}

#define WORLD_PAGE 4096u

/* Only what differs is written. */
static inline void world_write(const struct world_file *file) {
  const struct timespec times[2] = {file->mtime, file->mtime};
  int fd = open(at(file->name), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  bool good = fd >= 0 && ftruncate(fd, (off_t)file->n) == 0;
  for (size_t off = 0; good && off < file->n; off += WORLD_PAGE) {
    size_t n = file->n - off < WORLD_PAGE ? file->n - off : WORLD_PAGE;
    uint8_t page[WORLD_PAGE];
    good = pread(fd, page, n, (off_t)off) == (ssize_t)n;
    if (good && memcmp(page, file->bytes + off, n) != 0)
      good = pwrite(fd, file->bytes + off, n, (off_t)off) == (ssize_t)n;
  }
  if (!good || futimens(fd, times) != 0 || close(fd) != 0)
    abort();
}

static inline void world_drop_one(const char *name, const struct stat *st,
                                  void *arg) {
  (void)arg;
  if (world_find(name) == NULL)
    (void)(S_ISDIR(st->st_mode) ? rmdir(at(name)) : unlink(at(name)));
}

static inline void world_reset(void) {
  world_walk("", world_drop_one, NULL);
  for (size_t i = 0; i < world.count; i++) {
    struct world_file *file = &world.files[i];
    if (!file->folder && !world_same(file))
      world_write(file);
    world_settle(file);
  }
}

static inline void world_remove_one(const char *name, const struct stat *st,
                                    void *arg) {
  (void)arg;
  (void)(S_ISDIR(st->st_mode) ? rmdir(at(name)) : unlink(at(name)));
}

/* True: nothing is left. */
static inline bool world_end(void) {
  world_walk("", world_remove_one, NULL);
  for (size_t i = 0; i < world.count; i++)
    free(world.files[i].bytes);
  free(world.buf);
  return rmdir(world.root) == 0;
}

#endif
