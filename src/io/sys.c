/* SPDX-License-Identifier: MIT
 *
 * The real system calls behind struct lv_sys, which decide nothing, and the
 * one way to open.  Every other file of the engine goes through the table.
 */
#include "io/sys.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SYS const struct lv_sys *sys

static int real_openat(SYS, int dir, const char *path, int flags,
                       mode_t mode) {
  (void)sys;
  return openat(dir, path, flags, mode);
}

static int real_openat2(SYS, int dir, const char *path, int flags,
                        uint64_t resolve) {
  struct open_how how = {.flags = (unsigned)flags, .resolve = resolve};
  (void)sys;
  return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

static int real_dupfd(SYS, int fd, int least) {
  (void)sys;
  return fcntl(fd, F_DUPFD_CLOEXEC, least);
}

static int real_close(SYS, int fd) {
  (void)sys;
  return close(fd);
}

static int real_fstat(SYS, int fd, struct stat *st) {
  (void)sys;
  return fstat(fd, st);
}

static int real_fstatat(SYS, int dir, const char *path, struct stat *st,
                        int flags) {
  (void)sys;
  return fstatat(dir, path, st, flags);
}

static int real_fstatfs(SYS, int fd, struct statfs *st) {
  (void)sys;
  return fstatfs(fd, st);
}

static ssize_t real_readlinkat(SYS, int dir, const char *path, char *buf,
                               size_t size) {
  (void)sys;
  return readlinkat(dir, path, buf, size);
}

static char *real_realpath(SYS, const char *path, char *buf) {
  (void)sys;
  return realpath(path, buf);
}

static ssize_t real_pread(SYS, int fd, void *buf, size_t n, off_t offset) {
  (void)sys;
  return pread(fd, buf, n, offset);
}

static ssize_t real_pwritev(SYS, int fd, const struct iovec *iov, int count,
                            off_t offset) {
  (void)sys;
  return pwritev(fd, iov, count, offset);
}

static ssize_t real_getdents(SYS, int fd, void *buf, size_t n) {
  (void)sys;
  return getdents64(fd, buf, n);
}

static off_t real_lseek(SYS, int fd, off_t offset, int whence) {
  (void)sys;
  return lseek(fd, offset, whence);
}

static int real_ftruncate(SYS, int fd, off_t length) {
  (void)sys;
  return ftruncate(fd, length);
}

static int real_fallocate(SYS, int fd, int mode, off_t offset,
                          off_t length) {
  (void)sys;
  return fallocate(fd, mode, offset, length);
}

static int real_send(SYS, int fd, off_t offset, off_t length) {
  (void)sys;
  return sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE);
}

static int real_fsync(SYS, int fd) {
  (void)sys;
  return fsync(fd);
}

static int real_syncfs(SYS, int fd) {
  (void)sys;
  return syncfs(fd);
}

static int real_fdatasync(SYS, int fd) {
  (void)sys;
  return fdatasync(fd);
}

static int real_sync_file_range(SYS, int fd, off_t offset, off_t n,
                                unsigned flags) {
  (void)sys;
  return sync_file_range(fd, offset, n, flags);
}

static int real_setlk(SYS, int fd, struct flock *lock) {
  (void)sys;
  return fcntl(fd, F_OFD_SETLK, lock);
}

static ssize_t real_copy(SYS, int from, off_t from_at, int to, off_t to_at,
                         size_t n) {
  (void)sys;
  return copy_file_range(from, &from_at, to, &to_at, n, 0);
}

static int real_clone(SYS, int from, off_t from_at, size_t n, int to,
                      off_t to_at) {
  struct file_clone_range range = {.src_fd = from,
                                   .src_offset = (uint64_t)from_at,
                                   .src_length = n,
                                   .dest_offset = (uint64_t)to_at};
  (void)sys;
  return ioctl(to, FICLONERANGE, &range);
}

static int real_getlk(SYS, int fd, struct flock *lock) {
  (void)sys;
  return fcntl(fd, F_OFD_GETLK, lock);
}

static int real_futimens(SYS, int fd, const struct timespec ts[2]) {
  (void)sys;
  return futimens(fd, ts);
}

static int real_fchmod(SYS, int fd, mode_t mode) {
  (void)sys;
  return fchmod(fd, mode);
}

static int real_linkat(SYS, int from_dir, const char *from, int to_dir,
                       const char *to, int flags) {
  (void)sys;
  return linkat(from_dir, from, to_dir, to, flags);
}

static int real_renameat2(SYS, int from_dir, const char *from, int to_dir,
                          const char *to, unsigned flags) {
  (void)sys;
  return renameat2(from_dir, from, to_dir, to, flags);
}

static int real_unlinkat(SYS, int dir, const char *path, int flags) {
  (void)sys;
  return unlinkat(dir, path, flags);
}

static int real_mkdirat(SYS, int dir, const char *path, mode_t mode) {
  (void)sys;
  return mkdirat(dir, path, mode);
}

static int real_getrlimit(SYS, int what, struct rlimit *limit) {
  (void)sys;
  return getrlimit((__rlimit_resource_t)what, limit);
}

static ssize_t real_getrandom(SYS, void *buf, size_t n, unsigned flags) {
  (void)sys;
  return getrandom(buf, n, flags);
}

static int64_t real_monotonic(SYS) {
  struct timespec ts = {0, 0};
  (void)sys;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t real_now(SYS) {
  struct timespec ts = {0, 0};
  (void)sys;
  clock_gettime(CLOCK_REALTIME, &ts);
  return (int64_t)ts.tv_sec;
}

const struct lv_sys lv_sys_real = {
  .openat = real_openat,
  .openat2 = real_openat2,
  .dupfd = real_dupfd,
  .close = real_close,
  .fstat = real_fstat,
  .fstatat = real_fstatat,
  .fstatfs = real_fstatfs,
  .readlinkat = real_readlinkat,
  .realpath = real_realpath,
  .pread = real_pread,
  .pwritev = real_pwritev,
  .copy = real_copy,
  .clone = real_clone,
  .getdents = real_getdents,
  .lseek = real_lseek,
  .ftruncate = real_ftruncate,
  .fallocate = real_fallocate,
  .send = real_send,
  .fsync = real_fsync,
  .syncfs = real_syncfs,
  .fdatasync = real_fdatasync,
  .sync_file_range = real_sync_file_range,
  .getlk = real_getlk,
  .setlk = real_setlk,
  .futimens = real_futimens,
  .fchmod = real_fchmod,
  .linkat = real_linkat,
  .renameat2 = real_renameat2,
  .unlinkat = real_unlinkat,
  .mkdirat = real_mkdirat,
  .getrlimit = real_getrlimit,
  .getrandom = real_getrandom,
  .monotonic = real_monotonic,
  .now = real_now,
};

/* Is it a file that this call has made? */
static bool is_new(int flags) {
  return (flags & O_TMPFILE) == O_TMPFILE ||
         (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
}

/* What was printed meanwhile is in a file that we made: cut it off.  Never off
 * one that was there. */
static int lift(const struct lv_sys *sys, int low, int flags) {
  int fd = sys->dupfd(sys, low, STDERR_FILENO + 1);
  int saved = errno;
  sys->close(sys, low);
  if (fd >= 0 && is_new(flags) && sys->ftruncate(sys, fd, 0) != 0) {
    saved = errno;
    sys->close(sys, fd);
    fd = -1;
  }
  errno = saved;
  return fd;
}

int lv_openat(const struct lv_sys *sys, int dir, const char *path, int flags,
              mode_t mode) {
  int fd = -1;
  do {
    fd = sys->openat(sys, dir, path, flags, mode);
  } while (fd < 0 && errno == EINTR);
  return fd < 0 || fd > STDERR_FILENO ? fd : lift(sys, fd, flags);
}

int lv_openat2(const struct lv_sys *sys, int dir, const char *path, int flags,
               uint64_t resolve) {
  int fd = -1;
  int again = 3;
  do {
    fd = sys->openat2(sys, dir, path, flags, resolve);
  } while (fd < 0 && (errno == EINTR || (errno == EAGAIN && again-- > 0)));
  return fd < 0 || fd > STDERR_FILENO ? fd : lift(sys, fd, flags);
}
