/* SPDX-License-Identifier: MIT
 *
 * The table of a dry run.
 */
#include "io/dry.h"

#include <errno.h>
#include <unistd.h>

#include "base/error.h"

#define SYS const struct lv_sys *sys

static int refuse(void) {
  errno = LV_EDRY;
  return -1;
}

/* A file without a name is gone with its descriptor: it is how the volume is
 * asked what it can hold.  Who may not write the folder is told that. */
static int dry_openat(SYS, int dir, const char *path, int flags,
                      mode_t mode) {
  if ((flags & O_CREAT) == 0)
    return lv_sys_real.openat(sys, dir, path, flags, mode);
  return faccessat(dir, ".", W_OK | X_OK, AT_EACCESS) != 0 ? -1 : refuse();
}

static ssize_t dry_pwritev(SYS, int fd, const struct iovec *iov, int count,
                           off_t offset) {
  (void)sys, (void)fd, (void)iov, (void)count, (void)offset;
  return refuse();
}

static ssize_t dry_copy(SYS, int from, off_t from_at, int to, off_t to_at,
                        size_t n) {
  (void)sys, (void)from, (void)from_at, (void)to, (void)to_at, (void)n;
  return refuse();
}

static int dry_clone(SYS, int from, off_t from_at, size_t n, int to,
                     off_t to_at) {
  (void)sys, (void)from, (void)from_at, (void)n, (void)to, (void)to_at;
  return refuse();
}

static int dry_ftruncate(SYS, int fd, off_t length) {
  (void)sys, (void)fd, (void)length;
  return refuse();
}

static int dry_fallocate(SYS, int fd, int mode, off_t offset, off_t length) {
  (void)sys, (void)fd, (void)mode, (void)offset, (void)length;
  return refuse();
}

static int dry_futimens(SYS, int fd, const struct timespec ts[2]) {
  (void)sys, (void)fd, (void)ts;
  return refuse();
}

static int dry_fchmod(SYS, int fd, mode_t mode) {
  (void)sys, (void)fd, (void)mode;
  return refuse();
}

static int dry_linkat(SYS, int from_dir, const char *from, int to_dir,
                      const char *to, int flags) {
  (void)sys, (void)from_dir, (void)from, (void)to_dir, (void)to, (void)flags;
  return refuse();
}

static int dry_renameat2(SYS, int from_dir, const char *from, int to_dir,
                         const char *to, unsigned flags) {
  (void)sys, (void)from_dir, (void)from, (void)to_dir, (void)to, (void)flags;
  return refuse();
}

static int dry_unlinkat(SYS, int dir, const char *path, int flags) {
  (void)sys, (void)dir, (void)path, (void)flags;
  return refuse();
}

static int dry_mkdirat(SYS, int dir, const char *path, mode_t mode) {
  (void)sys, (void)dir, (void)path, (void)mode;
  return refuse();
}

void lv_sys_dry(struct lv_sys *sys) {
  *sys = lv_sys_real;
  sys->openat = dry_openat;
  sys->pwritev = dry_pwritev;
  sys->copy = dry_copy;
  sys->clone = dry_clone;
  sys->ftruncate = dry_ftruncate;
  sys->fallocate = dry_fallocate;
  sys->futimens = dry_futimens;
  sys->fchmod = dry_fchmod;
  sys->linkat = dry_linkat;
  sys->renameat2 = dry_renameat2;
  sys->unlinkat = dry_unlinkat;
  sys->mkdirat = dry_mkdirat;
}
