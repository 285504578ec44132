/* SPDX-License-Identifier: MIT
 *
 * Opening, reading and asking about one existing file.  Knows nothing of
 * disks; writes nothing.
 */
#include "io/file.h"

#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"

/* QEMU's permissions (vhd-format 12): byte 100 + n is locked by who uses
 * permission n; 1 is writing, 2 writing what is there already, 3 resizing. */
#define QEMU_FIRST 100
#define QEMU_WRITE 101
#define QEMU_RESIZE 103

/* ENOENT does not say what is missing: the file or its folder. */
static int fail_missing(const struct lv_env *env, const char *path,
                        const char *call, struct lvhd_error *err) {
  char folder[PATH_MAX];
  struct stat st;
  const char *slash = strrchr(path, '/');
  size_t n = slash ? (size_t)(slash - path) : 0;
  int code = lv_fail_errno(err, LV_STEP_FILE, ENOENT, call);
  if (err == NULL || n == 0 || n >= sizeof folder)
    return code;
  memcpy(folder, path, n);
  folder[n] = '\0';
  if (env->sys->fstatat(env->sys, AT_FDCWD, folder, &st, 0) != 0)
    err->reason = LV_R_FOLDER_MISSING;
  return code;
}

/* Without openat2, or with a link in the path, the kernel has to be asked for
 * the real path afterwards, which costs more than opening. */
int lv_open_existing(struct lv_env *env, const char *path, int flags,
                     bool *real, const char **call) {
  *real = false;
  *call = "openat2";
  if (lv_path_is_plain(path) && !atomic_load(&env->no_openat2)) {
    int fd = lv_openat2(env->sys, AT_FDCWD, path, flags, RESOLVE_NO_SYMLINKS);
    *real = fd >= 0;
    if (errno == ENOSYS && fd < 0)
      atomic_store(&env->no_openat2, true);
    if (fd >= 0 || (errno != ELOOP && errno != ENOSYS && errno != EPERM &&
                    errno != EINVAL && errno != EAGAIN))
      return fd;
  }
  *call = "openat";
  return lv_openat(env->sys, AT_FDCWD, path, flags, 0);
}

int lv_file_open(struct lv_file *file, struct lv_env *env,
                 const char *path, struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  const char *call = NULL;
  int saved = 0;
  file->fd = lv_open_existing(
    env, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, &file->real,
    &call);
  saved = errno;
  if (file->fd < 0)
    return saved == ENOENT ? fail_missing(env, path, call, err)
                           : lv_fail_errno(err, LV_STEP_FILE, saved, call);
  if (sys->fstat(sys, file->fd, &file->st) != 0) {
    saved = errno;
    lv_file_close(file, env);
    return lv_fail_errno(err, LV_STEP_FILE, saved, "fstat");
  }
  if (!S_ISREG(file->st.st_mode)) {
    lv_file_close(file, env);
    return lv_fail(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_NOT_REGULAR);
  }
  return 0;
}

int lv_file_read(const struct lv_file *file, const struct lv_env *env,
                 void *buf, size_t n, uint64_t offset,
                 struct lvhd_error *err) {
  uint8_t *to = buf;
  while (n > 0) {
    ssize_t got = env->sys->pread(env->sys, file->fd, to, n, (off_t)offset);
    int saved = got < 0 ? errno : EIO;
    if (got < 0 && saved == EINTR)
      continue;
    if (got <= 0) {
      int code = lv_fail_errno(err, LV_STEP_OTHER, saved, "pread");
      if (err) {
        err->reason = got == 0 ? LV_R_FILE_CUT : err->reason;
        err->has |= LVHD_HAS_OFFSET;
        err->offset = offset;
      }
      return code;
    }
    to += got;
    n -= (size_t)got;
    offset += (uint64_t)got;
  }
  return 0;
}

/* /proc adds this to a name that was removed; a file may also be called so,
 * and then only a walk can tell. */
static bool says_deleted(const char *text, size_t n) {
  static const char mark[] = " (deleted)";
  const size_t m = sizeof mark - 1;
  return n >= m && memcmp(text + n - m, mark, m) == 0;
}

int lv_real_path(char **out, const struct lv_env *env, int fd,
                 const char *path, bool real, enum lv_step step,
                 struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  char proc[32];
  char buf[PATH_MAX];
  ssize_t n = 0;
  if (real) {
    *out = strdup(path);
    return *out ? 0 : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  n = sys->readlink(sys, proc, buf, sizeof buf - 1);
  if (n > 0 && n < (ssize_t)sizeof buf - 1 && buf[0] == '/' &&
      !says_deleted(buf, (size_t)n)) {
    buf[n] = '\0';
  } else if (sys->realpath(sys, path, buf) == NULL) {
    return lv_fail_errno(err, step, errno, "realpath");
  }
  *out = strdup(buf);
  if (*out == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  return 0;
}

int lv_absolute_path(char **out, const struct lv_env *env, const char *path,
                     struct lvhd_error *err) {
  char folder[PATH_MAX];
  const char *start = "";
  if (path[0] != '/' && path[0] != '\0') {
    start = env->sys->realpath(env->sys, ".", folder);
    if (start == NULL)
      return lv_fail_errno(err, LV_STEP_FILE, errno, "realpath");
  }
  *out = lv_path_join(start, path);
  return *out ? 0 : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* Whether someone holds a lock of QEMU's on [at, at + n).  Whoever locks the
 * file as a whole for reading writes nothing; for writing, he does. */
static int asks(const struct lv_file *file, const struct lv_env *env,
                off_t at, off_t n, bool *held) {
  struct flock lock = {.l_type = F_WRLCK,
                       .l_whence = SEEK_SET,
                       .l_start = at,
                       .l_len = n};
  *held = false;
  if (env->sys->getlk(env->sys, file->fd, &lock) != 0)
    return -1;
  *held = lock.l_type != F_UNLCK &&
          (lock.l_type == F_WRLCK || lock.l_start >= QEMU_FIRST);
  return 0;
}

int lv_file_quiet(const struct lv_file *file, const struct lv_env *env,
                  bool *lockable, struct lvhd_error *err) {
  bool held = false;
  int failed =
    asks(file, env, QEMU_WRITE, QEMU_RESIZE + 1 - QEMU_WRITE, &held);
  if (lockable)
    *lockable = failed == 0;
  if (failed != 0 || !held)
    return 0; /* a volume without locks: nobody can be asked */
  /* One question in the usual case.  The answer is any one of the locks, and
   * 102, "writes what is there already", is no writer's: byte by byte now. */
  failed = asks(file, env, QEMU_WRITE, 1, &held);
  if (failed == 0 && !held)
    failed = asks(file, env, QEMU_RESIZE, 1, &held);
  if (failed != 0 || !held)
    return 0;
  return lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_IN_USE);
}

void lv_file_close(struct lv_file *file, const struct lv_env *env) {
  if (file->fd >= 0)
    env->sys->close(env->sys, file->fd);
  file->fd = -1;
}
