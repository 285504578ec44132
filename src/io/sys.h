/* SPDX-License-Identifier: MIT
 *
 * The table of system calls: every call that touches a disk, the clock or
 * the random numbers goes through it, so that a test can fail the Nth call,
 * tear a write or stop the clock.  Each entry behaves as the call of its
 * name (-1 and errno), retries nothing, and gets the table as first
 * argument, so that a test can put its own state behind the table.
 */
#ifndef LV_IO_SYS_H
#define LV_IO_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>
#include <sys/uio.h>

struct lv_sys {
  int (*openat)(const struct lv_sys *, int dir, const char *path, int flags,
                mode_t mode);
  int (*openat2)(const struct lv_sys *, int dir, const char *path,
                 int flags, uint64_t resolve);
  int (*dupfd)(const struct lv_sys *, int fd, int least);
  int (*close)(const struct lv_sys *, int fd);
  int (*fstat)(const struct lv_sys *, int fd, struct stat *st);
  int (*fstatat)(const struct lv_sys *, int dir, const char *path,
                 struct stat *st, int flags);
  int (*fstatfs)(const struct lv_sys *, int fd, struct statfs *st);
  ssize_t (*readlinkat)(const struct lv_sys *, int dir, const char *path,
                        char *buf, size_t size);
  char *(*realpath)(const struct lv_sys *, const char *path, char *buf);
  ssize_t (*pread)(const struct lv_sys *, int fd, void *buf, size_t n,
                   off_t offset);
  ssize_t (*pwritev)(const struct lv_sys *, int fd, const struct iovec *iov,
                     int count, off_t offset);
  ssize_t (*copy)(const struct lv_sys *, int from, off_t from_at, int to,
                  off_t to_at, size_t n); /* copy_file_range */
  int (*clone)(const struct lv_sys *, int from, off_t from_at, size_t n,
               int to, off_t to_at); /* FICLONERANGE */
  ssize_t (*getdents)(const struct lv_sys *, int fd, void *buf,
                      size_t n); /* struct dirent64, one behind the other */
  off_t (*lseek)(const struct lv_sys *, int fd, off_t offset, int whence);
  int (*ftruncate)(const struct lv_sys *, int fd, off_t length);
  int (*fallocate)(const struct lv_sys *, int fd, int mode, off_t offset,
                   off_t length);
  int (*send)(const struct lv_sys *, int fd, off_t offset,
              off_t length); /* sync_file_range: begun, not waited for */
  int (*fsync)(const struct lv_sys *, int fd);
  int (*syncfs)(const struct lv_sys *, int fd);
  int (*fdatasync)(const struct lv_sys *, int fd);
  int (*sync_file_range)(const struct lv_sys *, int fd, off_t offset,
                         off_t n, unsigned flags);
  int (*getlk)(const struct lv_sys *, int fd, struct flock *lock);
  int (*setlk)(const struct lv_sys *, int fd, struct flock *lock);
  int (*futimens)(const struct lv_sys *, int fd, const struct timespec ts[2]);
  int (*fchmod)(const struct lv_sys *, int fd, mode_t mode);
  int (*linkat)(const struct lv_sys *, int from_dir, const char *from,
                int to_dir, const char *to, int flags);
  int (*renameat2)(const struct lv_sys *, int from_dir, const char *from,
                   int to_dir, const char *to, unsigned flags);
  int (*unlinkat)(const struct lv_sys *, int dir, const char *path,
                  int flags);
  int (*mkdirat)(const struct lv_sys *, int dir, const char *path,
                 mode_t mode);
  int (*getrlimit)(const struct lv_sys *, int what, struct rlimit *limit);
  ssize_t (*getrandom)(const struct lv_sys *, void *buf, size_t n,
                       unsigned flags);
  int64_t (*monotonic)(const struct lv_sys *); /* nanoseconds */
  int64_t (*now)(const struct lv_sys *);       /* seconds since 1970 */
};

/* The real calls. */
extern const struct lv_sys lv_sys_real;

/* openat that goes on after a signal, and never answers 0, 1 or 2: where a
 * program has closed those, whatever it or a library prints would go into
 * the file. */
int lv_openat(const struct lv_sys *sys, int dir, const char *path, int flags,
              mode_t mode);

/* openat2 in the same way, for what exists; EAGAIN (someone renamed on the
 * way) is tried three times more. */
int lv_openat2(const struct lv_sys *sys, int dir, const char *path, int flags,
               uint64_t resolve);

#endif
