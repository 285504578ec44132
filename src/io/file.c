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
#include "io/drives.h"
#include "io/root.h"

/* ENOENT does not say what is missing: the file or its folder. */
int lv_fail_missing(const struct lv_env *env, const char *path,
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

#define FILE_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

static int open_path(struct lv_file *file, struct lv_env *env,
                     const char *path, struct lvhd_error *err) {
  const int flags = FILE_FLAGS;
  const char *call = NULL;
  if (lv_is_windows(env, path)) {
    file->real = false;
    return lv_drives_open(&file->fd, env, path, flags, err);
  }
  file->fd = lv_open_existing(env, path, flags, &file->real, &call);
  if (file->fd >= 0)
    return 0;
  return errno == ENOENT ? lv_fail_missing(env, path, call, err)
                         : lv_fail_errno(err, LV_STEP_FILE, errno, call);
}

/* Looks at what was opened. */
static int look(struct lv_file *file, struct lv_env *env,
                struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  int saved = 0;
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

int lv_file_open(struct lv_file *file, struct lv_env *env,
                 const char *path, struct lvhd_error *err) {
  int code = 0;
  file->overlay = NULL;
  code = open_path(file, env, path, err);
  return code == 0 ? look(file, env, err) : code;
}

int lv_file_again(struct lv_file *file, struct lv_env *env,
                  const char *real, struct lvhd_error *err) {
  const char *call = NULL;
  if (env->drives == NULL)
    return lv_file_open(file, env, real, err);
  *file = (struct lv_file){.real = true};
  file->fd = lv_open_real(env, real, FILE_FLAGS, &call);
  return file->fd < 0 ? lv_fail_errno(err, LV_STEP_FILE, errno, call)
                      : look(file, env, err);
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
    if (file->overlay)
      lv_overlay_apply(file->overlay, to, (size_t)got, offset);
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

/* Where no /proc is to be had: the way to it once more. */
static int walk_real(char **out, struct lv_env *env, const char *path,
                     enum lv_step step, struct lvhd_error *err) {
  char buf[PATH_MAX];
  if (lv_is_windows(env, path))
    return lv_drives_real(out, env, path, err);
  if (env->sys->realpath(env->sys, path, buf) == NULL)
    return lv_fail_errno(err, step, errno, "realpath");
  *out = strdup(buf);
  return *out ? 0 : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

int lv_real_path(char **out, struct lv_env *env, int fd,
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
  n = sys->readlinkat(sys, AT_FDCWD, proc, buf, sizeof buf - 1);
  if (n <= 0 || n >= (ssize_t)sizeof buf - 1 || buf[0] != '/' ||
      says_deleted(buf, (size_t)n))
    return walk_real(out, env, path, step, err);
  buf[n] = '\0';
  *out = strdup(buf);
  if (*out == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  return 0;
}

int lv_absolute_path(char **out, const struct lv_env *env, const char *path,
                     struct lvhd_error *err) {
  char folder[PATH_MAX];
  const char *start = "";
  if (path[0] != '/' && path[0] != '\0' && !lv_is_windows(env, path)) {
    start = env->sys->realpath(env->sys, ".", folder);
    if (start == NULL)
      return lv_fail_errno(err, LV_STEP_FILE, errno, "realpath");
  }
  *out = lv_path_join(start, path);
  return *out ? 0 : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

static int stat_windows(struct stat *st, struct lv_env *env,
                        const char *path, struct lvhd_error *err) {
  int fd = -1;
  int code = lv_drives_open(&fd, env, path, O_PATH | O_CLOEXEC, err);
  if (code != 0)
    return code;
  if (env->sys->fstat(env->sys, fd, st) != 0)
    code = lv_fail_errno(err, LV_STEP_FILE, errno, "fstat");
  env->sys->close(env->sys, fd);
  return code;
}

int lv_file_stat(struct stat *st, struct lv_env *env, const char *path,
                 struct lvhd_error *err) {
  if (lv_is_windows(env, path))
    return stat_windows(st, env, path, err);
  if (env->sys->fstatat(env->sys, AT_FDCWD, path, st, 0) == 0)
    return 0;
  return errno == ENOENT ? lv_fail_missing(env, path, "fstatat", err)
                         : lv_fail_errno(err, LV_STEP_FILE, errno, "fstatat");
}

void lv_file_close(struct lv_file *file, const struct lv_env *env) {
  if (file->fd >= 0)
    env->sys->close(env->sys, file->fd);
  file->fd = -1;
  if (file->overlay)
    lv_overlay_clear(file->overlay);
  free(file->overlay);
  file->overlay = NULL;
}
