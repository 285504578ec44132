/* SPDX-License-Identifier: MIT
 *
 * A folder in memory (spec/fuzz/memory.h) one of whose system calls fails, and
 * which tells what was asked of it.  Knows the calls that reading an image and
 * writing its note make, and not what an image is.
 */
#ifndef LVHD_SPEC_FAULTY_H
#define LVHD_SPEC_FAULTY_H

#include <errno.h>
#include <stdlib.h>

#include "../fuzz/forge.h"
#include "check.h"
#include "io/env.h"

struct faulty {
  struct mem mem; /* first: its table of calls is what the engine gets */
  struct lv_env env;
  struct lv_sys real;
  const char *call; /* fails from its `from`-th time on, `times` times */
  int errnum;
  unsigned from, times, calls;
  char log[400]; /* a letter for each call that makes something durable */
  char opened[8192]; /* names of what was opened, each behind a space */
  void (*see)(const struct faulty *f, int fd, struct stat *st);
};

static inline struct faulty *faulty_of(const struct lv_sys *sys) {
  return (struct faulty *)(uintptr_t)sys;
}

static inline bool faulty_fails(const struct lv_sys *sys, const char *call) {
  struct faulty *f = faulty_of(sys);
  if (f->call == NULL || strcmp(f->call, call) != 0)
    return false;
  f->calls++;
  if (f->calls < f->from || f->calls >= f->from + f->times)
    return false;
  errno = f->errnum;
  return true;
}

static inline void faulty_note(const struct lv_sys *sys, const char *what) {
  char *log = faulty_of(sys)->log;
  if (strlen(log) + strlen(what) + 1 < sizeof faulty_of(sys)->log)
    strcat(log, what);
}

static inline void faulty_open(const struct lv_sys *sys, const char *path) {
  char *opened = faulty_of(sys)->opened;
  if (strlen(opened) + strlen(path) + 2 >= sizeof faulty_of(sys)->opened)
    abort();
  strcat(strcat(opened, " "), path);
}

static int faulty_openat(const struct lv_sys *sys, int dir, const char *path,
                         int flags, mode_t mode) {
  const char *call = (flags & O_TMPFILE) == O_TMPFILE ? "O_TMPFILE"
                     : (flags & O_DIRECTORY) != 0     ? "folder"
                                                      : "openat";
  faulty_open(sys, path);
  return faulty_fails(sys, call)
           ? -1
           : faulty_of(sys)->real.openat(sys, dir, path, flags, mode);
}

static int faulty_openat2(const struct lv_sys *sys, int dir, const char *path,
                          int flags, uint64_t resolve) {
  faulty_open(sys, path);
  return faulty_fails(sys, (flags & O_DIRECTORY) != 0 ? "folder" : "openat2")
           ? -1
           : faulty_of(sys)->real.openat2(sys, dir, path, flags, resolve);
}

static int faulty_fstat(const struct lv_sys *sys, int fd, struct stat *st) {
  if (faulty_fails(sys, "fstat") ||
      faulty_of(sys)->real.fstat(sys, fd, st) != 0)
    return -1;
  if (faulty_of(sys)->see)
    faulty_of(sys)->see(faulty_of(sys), fd, st);
  return 0;
}

static int faulty_fstatat(const struct lv_sys *sys, int dir, const char *path,
                          struct stat *st, int flags) {
  return faulty_fails(sys, "fstatat")
           ? -1
           : faulty_of(sys)->real.fstatat(sys, dir, path, st, flags);
}

/* All bytes are there, and then it says that it failed: "cut" is a file that
 * ends. */
static ssize_t faulty_pread(const struct lv_sys *sys, int fd, void *buf,
                            size_t n, off_t at) {
  ssize_t got = faulty_of(sys)->real.pread(sys, fd, buf, n, at);
  if (faulty_fails(sys, "cut"))
    return 0;
  return faulty_fails(sys, "pread") ? -1 : got;
}

static ssize_t faulty_pwritev(const struct lv_sys *sys, int fd,
                              const struct iovec *iov, int count, off_t at) {
  faulty_note(sys, "w");
  return faulty_fails(sys, "pwritev")
           ? -1
           : faulty_of(sys)->real.pwritev(sys, fd, iov, count, at);
}

static int faulty_fsync(const struct lv_sys *sys, int fd) {
  faulty_note(sys, "f");
  return faulty_fails(sys, "fsync") ? -1 : faulty_of(sys)->real.fsync(sys, fd);
}

static int faulty_syncfs(const struct lv_sys *sys, int fd) {
  faulty_note(sys, "v");
  return faulty_fails(sys, "syncfs") ? -1
                                     : faulty_of(sys)->real.syncfs(sys, fd);
}

static int faulty_linkat(const struct lv_sys *sys, int from, const char *a,
                         int to, const char *b, int flags) {
  faulty_note(sys, "l");
  return faulty_fails(sys, "linkat")
           ? -1
           : faulty_of(sys)->real.linkat(sys, from, a, to, b, flags);
}

static int faulty_renameat2(const struct lv_sys *sys, int from, const char *a,
                            int to, const char *b, unsigned flags) {
  faulty_note(sys, "r");
  return faulty_fails(sys, "renameat2")
           ? -1
           : faulty_of(sys)->real.renameat2(sys, from, a, to, b, flags);
}

static int faulty_unlinkat(const struct lv_sys *sys, int dir,
                           const char *path, int flags) {
  faulty_note(sys, "u");
  return faulty_fails(sys, "unlinkat")
           ? -1
           : faulty_of(sys)->real.unlinkat(sys, dir, path, flags);
}

/* Someone else writes to the file. */
static int faulty_getlk(const struct lv_sys *sys, int fd, struct flock *lock) {
  int code = faulty_of(sys)->real.getlk(sys, fd, lock);
  if (faulty_fails(sys, "getlk"))
    lock->l_type = F_WRLCK;
  return code;
}

/* Takes over f->mem, which mem_init or forge_seed has made. */
static inline void faulty_begin(struct faulty *f) {
  struct lv_sys *sys = &f->mem.sys;
  f->real = *sys;
  f->call = NULL;
  f->see = NULL;
  f->log[0] = f->opened[0] = '\0';
  sys->openat = faulty_openat;
  sys->openat2 = faulty_openat2;
  sys->fstat = faulty_fstat;
  sys->fstatat = faulty_fstatat;
  sys->pread = faulty_pread;
  sys->pwritev = faulty_pwritev;
  sys->fsync = faulty_fsync;
  sys->syncfs = faulty_syncfs;
  sys->linkat = faulty_linkat;
  sys->renameat2 = faulty_renameat2;
  sys->unlinkat = faulty_unlinkat;
  sys->getlk = faulty_getlk;
  lv_env_init(&f->env, sys);
}

/* From now on; NULL: none fails. */
static inline void faulty_break(struct faulty *f, const char *call, int errnum,
                                unsigned from, unsigned times) {
  f->call = call;
  f->errnum = errnum;
  f->from = from;
  f->times = times;
  f->calls = 0;
  f->log[0] = f->opened[0] = '\0';
}

/* A chain of new files, /d/0 the leaf and /d/1 its parent; their identifiers
 * are 10, 11 and so on.  Of a folder that can be written. */
static inline void faulty_chain(struct faulty *f, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    const struct lv_sys *sys = &f->mem.sys;
    char path[] = "/d/0", parent[] = "1";
    struct forge disk = {.type = i + 1 < count ? 4 : 3, .size = 4096,
                         .id = (uint8_t)(10 + i),
                         .parent_id = (uint8_t)(11 + i), .parent = parent};
    struct iovec iov = {0};
    int fd = -1;
    path[3] = (char)('0' + (int)i);
    parent[0] = (char)('1' + (int)i);
    iov.iov_base = forge(&disk, &iov.iov_len);
    fd = f->real.openat(sys, AT_FDCWD, path, O_CREAT | O_EXCL | O_RDWR, 0);
    CHECK_INT(f->real.pwritev(sys, fd, &iov, 1, 0), iov.iov_len);
    sys->close(sys, fd);
    free(iov.iov_base);
  }
}

/* Nothing is open, and nothing was touched that must not be. */
static inline void faulty_end(struct faulty *f) {
  CHECK_INT(mem_open(&f->mem), 0);
  CHECK_STR(f->mem.trapped, NULL);
  mem_forget(&f->mem);
  forge_free(&f->mem);
}

#endif
