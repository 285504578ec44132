/* SPDX-License-Identifier: MIT
 *
 * What a volume can hold.  lseek past the largest file is EINVAL on an open
 * regular file, and answers nothing on a folder: hence the unnamed file.
 */
#include "io/volume.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "io/newfile.h"

#define BELIEVED INT64_C(1000000000) /* ns */

/* Two volumes must not share an id; 0 is "cannot tell them apart". */
static uint64_t volume_id(const struct statfs *st) {
  uint64_t id = 0;
  _Static_assert(sizeof st->f_fsid == sizeof id, "f_fsid is 64 bits");
  memcpy(&id, &st->f_fsid, sizeof id);
  return id == 0 ? 0 : id ^ ((uint64_t)st->f_type << 32);
}

static uint64_t free_of(const struct statfs *st) {
  return (uint64_t)st->f_bavail *
         (uint64_t)(st->f_frsize ? st->f_frsize : st->f_bsize);
}

/* A volume of no blocks (ramfs) does not count: nothing is known. */
static int check_free(const struct statfs *st, struct lvhd_error *err) {
  if (st->f_blocks == 0 || free_of(st) >= LV_VOLUME_FREE)
    return 0;
  return lv_fail_range(err, LVHD_E_DISK_FULL, LV_R_VOLUME_FULL,
                       LV_VOLUME_FREE, free_of(st));
}

static bool hint_get(struct lv_env *env, uint64_t id, uint64_t length,
                     bool *lockable) {
  struct lv_volume_hint *hint = &env->volume;
  int64_t now = env->sys->monotonic(env->sys);
  bool known = false;
  if (id == 0 || atomic_flag_test_and_set(&hint->busy))
    return false;
  known = hint->when != 0 && hint->id == id && length <= hint->length &&
          now - hint->when >= 0 && now - hint->when < BELIEVED;
  if (known)
    *lockable = hint->lockable;
  atomic_flag_clear(&hint->busy);
  return known;
}

static void hint_put(struct lv_env *env, uint64_t id, uint64_t length,
                     bool lockable) {
  struct lv_volume_hint *hint = &env->volume;
  if (id == 0 || atomic_flag_test_and_set(&hint->busy))
    return;
  hint->id = id;
  hint->length = length;
  hint->lockable = lockable;
  hint->when = env->sys->monotonic(env->sys);
  atomic_flag_clear(&hint->busy);
}

static int too_large(struct lvhd_error *err, enum lv_reason reason,
                     uint64_t limit, uint64_t length, const char *syscall) {
  int code = lv_fail_range(err, LVHD_VM_E_FILE_TOO_LARGE_FOR_VOLUME, reason,
                           limit, length);
  if (err && reason == LV_R_VOLUME_FILE_LIMIT)
    err->has &= ~(unsigned)LVHD_HAS_EXPECTED; /* lseek does not tell it */
  if (err)
    err->syscall = syscall;
  return code;
}

static int ask_limits(struct lv_env *env, int fd, uint64_t length,
                      bool *lockable, struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  struct rlimit limit;
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
  if (sys->getrlimit(sys, RLIMIT_FSIZE, &limit) != 0)
    return lv_fail_errno(err, LV_STEP_CREATE, errno, "getrlimit");
  if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < length)
    return too_large(err, LV_R_PROCESS_FILE_LIMIT, limit.rlim_cur, length,
                     "getrlimit");
  if (sys->lseek(sys, fd, (off_t)length, SEEK_SET) < 0) {
    int saved = errno;
    if (saved == EINVAL || saved == EOVERFLOW || saved == EFBIG)
      return too_large(err, LV_R_VOLUME_FILE_LIMIT, 0, length, "lseek");
    return lv_fail_errno(err, LV_STEP_CREATE, saved, "lseek");
  }
  *lockable = sys->getlk(sys, fd, &lock) == 0;
  return 0;
}

int lv_volume_check(struct lv_volume *volume, struct lv_env *env,
                    const struct lv_folder *folder, int fd, uint64_t length,
                    struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  struct statfs st;
  uint64_t id = 0;
  int code = 0;
  if (sys->fstatfs(sys, folder->fd, &st) != 0)
    return lv_fail_errno(err, LV_STEP_CREATE, errno, "fstatfs");
  id = volume_id(&st);
  volume->free = free_of(&st);
  volume->counted = st.f_blocks != 0;
  volume->lockable = false;
  if (!hint_get(env, id, length, &volume->lockable)) {
    int own = -1;
    if (fd < 0) {
      code = lv_unnamed_open(&own, env, folder, 0600, err);
      if (code != 0)
        return code;
    }
    if (fd >= 0 || own >= 0) {
      code = ask_limits(env, fd >= 0 ? fd : own, length, &volume->lockable,
                        err);
      if (code == 0)
        hint_put(env, id, length, volume->lockable);
    }
    if (own >= 0)
      sys->close(sys, own);
    if (code != 0)
      return code;
  }
  return check_free(&st, err);
}

int lv_volume_holds(struct lv_env *env, int fd, uint64_t length,
                    struct lvhd_error *err) {
  struct statfs st;
  bool lockable = false;
  int code = ask_limits(env, fd, length, &lockable, err);
  if (code != 0)
    return code;
  if (env->sys->fstatfs(env->sys, fd, &st) != 0)
    return lv_fail_errno(err, LV_STEP_INPLACE, errno, "fstatfs");
  return check_free(&st, err);
}

void lv_volume_of(struct lv_volume *volume, const struct lv_env *env,
                  int fd) {
  struct statfs st;
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
  volume->free = env->sys->fstatfs(env->sys, fd, &st) == 0 ? free_of(&st) : 0;
  volume->lockable = env->sys->getlk(env->sys, fd, &lock) == 0;
}
