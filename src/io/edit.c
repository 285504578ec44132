/* SPDX-License-Identifier: MIT
 *
 * Changing one existing file.  Every call goes on after a signal; a failed
 * flush is never tried again.
 */
#include "io/edit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "io/root.h"

#define ZEROS 65536u

static int fail(struct lvhd_error *err, int errnum, const char *call,
                uint64_t offset) {
  int code = lv_fail_errno(err, LV_STEP_INPLACE, errnum, call);
  if (err) {
    err->has |= LVHD_HAS_OFFSET;
    err->offset = offset;
  }
  return code;
}

/* EFBIG does not tell whose limit it was; the process's can be asked for. */
static int fail_length(const struct lv_env *env, int errnum, const char *call,
                       uint64_t offset, uint64_t end,
                       struct lvhd_error *err) {
  int code = fail(err, errnum, call, offset);
  struct rlimit limit;
  if (err == NULL || errnum != EFBIG ||
      env->sys->getrlimit(env->sys, RLIMIT_FSIZE, &limit) != 0 ||
      limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= end)
    return code;
  err->reason = LV_R_PROCESS_FILE_LIMIT;
  err->has |= LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL;
  err->expected = limit.rlim_cur;
  err->actual = end;
  return code;
}

#define EDIT_FLAGS (O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* An open file that we shall write: a regular one, and not protected. */
static int check(struct lv_file *file, const struct lv_env *env,
                 struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  if (sys->fstat(sys, file->fd, &file->st) != 0)
    return lv_fail_errno(err, LV_STEP_INPLACE, errno, "fstat");
  if (!S_ISREG(file->st.st_mode))
    return lv_fail(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_NOT_REGULAR);
  if ((file->st.st_mode & (S_IWUSR | S_IWGRP | S_IWOTH)) == 0)
    return lv_fail(err, LVHD_VM_E_FILE_READ_ONLY, LV_R_NO_WRITE_BIT);
  return 0;
}

/* Who is not root hears of it from the kernel: the reason is the same. */
static int fail_open(struct lv_env *env, const char *path, int errnum,
                     const char *call, struct lvhd_error *err) {
  struct stat st;
  int code = errnum == ENOENT
               ? lv_fail_missing(env, path, call, err)
               : lv_fail_errno(err, LV_STEP_INPLACE, errnum, call);
  if (err && errnum == EACCES &&
      env->sys->fstatat(env->sys, AT_FDCWD, path, &st, 0) == 0 &&
      S_ISREG(st.st_mode) &&
      (st.st_mode & (S_IWUSR | S_IWGRP | S_IWOTH)) == 0)
    err->reason = LV_R_NO_WRITE_BIT;
  return code;
}

/* Takes the outcome of opening it with `call`. */
static int opened(struct lv_file *file, struct lv_env *env, const char *path,
                  const char *call, struct lvhd_error *err) {
  int code = file->fd < 0 ? fail_open(env, path, errno, call, err)
                          : check(file, env, err);
  if (code != 0)
    lv_file_close(file, env);
  return code;
}

int lv_edit_reopen(struct lv_file *file, struct lv_env *env,
                   const char *path, struct lvhd_error *err) {
  struct lv_file again = LV_FILE_INIT;
  const char *call = NULL;
  int code = 0;
  again.fd = lv_open_real(env, path, EDIT_FLAGS, &call);
  if (again.fd < 0 && errno == ELOOP) /* a link has come into the path */
    return lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_FILE_REPLACED);
  code = opened(&again, env, path, call, err);
  if (code == 0 && (again.st.st_dev != file->st.st_dev ||
                    again.st.st_ino != file->st.st_ino))
    code = lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_FILE_REPLACED);
  if (code != 0) {
    lv_file_close(&again, env);
    return code;
  }
  env->sys->close(env->sys, file->fd);
  file->fd = again.fd;
  file->st = again.st;
  return 0;
}

int lv_edit_write(const struct lv_file *file, const struct lv_env *env,
                  const void *buf, size_t n, uint64_t offset,
                  struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = n};
  while (iov.iov_len > 0) {
    ssize_t got = sys->pwritev(sys, file->fd, &iov, 1, (off_t)offset);
    int saved = got < 0 ? errno : EIO;
    if (got < 0 && saved == EINTR)
      continue;
    if (got <= 0)
      return fail_length(env, saved, "pwritev", offset,
                         offset + iov.iov_len, err);
    iov.iov_base = (char *)iov.iov_base + got;
    iov.iov_len -= (size_t)got;
    offset += (uint64_t)got;
  }
  return 0;
}

static int write_zeros(const struct lv_file *file, const struct lv_env *env,
                       uint64_t from, uint64_t to, struct lvhd_error *err) {
  static const uint8_t zeros[ZEROS];
  int code = 0;
  while (code == 0 && from < to) {
    size_t n = to - from < ZEROS ? (size_t)(to - from) : ZEROS;
    code = lv_edit_write(file, env, zeros, n, from, err);
    from += n;
  }
  return code;
}

/* A hole is had for one call; what is short is written. */
int lv_edit_zero(const struct lv_file *file, const struct lv_env *env,
                 uint64_t from, uint64_t to, struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  int done = -1;
  if (to <= from)
    return 0;
  if (to - from > ZEROS)
    do {
      done = sys->fallocate(sys, file->fd,
                            FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            (off_t)from, (off_t)(to - from));
    } while (done != 0 && errno == EINTR);
  return done == 0 ? 0 : write_zeros(file, env, from, to, err);
}

int lv_edit_truncate(const struct lv_file *file, const struct lv_env *env,
                     uint64_t length, struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  int done = 0;
  do {
    done = sys->ftruncate(sys, file->fd, (off_t)length);
  } while (done != 0 && errno == EINTR);
  return done == 0 ? 0
                   : fail_length(env, errno, "ftruncate", length, length, err);
}

int lv_edit_flush(const struct lv_file *file, const struct lv_env *env,
                  struct lvhd_error *err) {
  /* EINTR may follow a flush that lost data: it is a failure like another. */
  if (env->sys->fdatasync(env->sys, file->fd) != 0)
    return lv_fail_errno(err, LV_STEP_INPLACE, errno, "fdatasync");
  return 0;
}

int lv_edit_touch(const struct lv_file *file, const struct lv_env *env,
                  const struct timespec *mtime, struct lvhd_error *err) {
  struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, *mtime};
  if (env->sys->futimens(env->sys, file->fd, ts) != 0)
    return lv_fail_errno(err, LV_STEP_CREATE, errno, "futimens");
  return 0;
}

int lv_edit_move_on(const struct lv_file *file, const struct lv_env *env,
                    time_t before, struct lvhd_error *err) {
  const struct timespec next = {.tv_sec = before + 1};
  struct stat st;
  int code = 0;
  if (env->sys->fstat(env->sys, file->fd, &st) != 0)
    return lv_fail_errno(err, LV_STEP_INPLACE, errno, "fstat");
  if (st.st_mtim.tv_sec <= before) /* less: it was moved on before */
    code = lv_edit_touch(file, env, &next, err);
  if (code != LVHD_E_ACCESSDENIED)
    return code;
  lvhd_error_clear(err);
  return 0;
}
