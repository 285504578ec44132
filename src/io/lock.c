/* SPDX-License-Identifier: MIT
 *
 * Taking and asking.  Byte 100 + n: "I use permission n"; 200 + n: "nobody
 * else shall".
 */
#include "io/lock.h"

#include <errno.h>

#define QEMU_FIRST 100
#define USES_READ 100
#define USES_WRITE 101
#define USES_RESIZE 103
#define BARS_READ 200
#define BARS_WRITE 201
#define BARS_RESIZE 203

/* Whether someone else holds a lock of QEMU's on [at, at + n).  Whoever locks
 * the file as a whole for reading writes nothing; for writing, he does. */
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

/* Whether one of the two bytes is locked.  One question in the usual case.
 * The answer is any one of the locks between them, and that of permission 2,
 * "writes what is there already", bars nobody: then byte by byte. */
static bool either(const struct lv_file *file, const struct lv_env *env,
                   off_t first, off_t last) {
  bool held = false;
  int failed = asks(file, env, first, last + 1 - first, &held);
  if (failed != 0 || !held)
    return false; /* a volume without locks: nobody can be asked */
  failed = asks(file, env, first, 1, &held);
  if (failed == 0 && !held)
    failed = asks(file, env, last, 1, &held);
  return failed == 0 && held;
}

int lv_lock_quiet(const struct lv_file *file, const struct lv_env *env,
                  struct lvhd_error *err) {
  if (either(file, env, USES_WRITE, USES_RESIZE))
    return lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_IN_USE);
  return 0;
}

/* 0 or errno. */
static int set(const struct lv_file *file, const struct lv_env *env,
               short type, off_t at, off_t n) {
  struct flock lock = {
    .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = n};
  return env->sys->setlk(env->sys, file->fd, &lock) == 0 ? 0 : errno;
}

/* What each kind takes, and what of others it does not go with.  A writer who
 * only appends does not disturb one who looks. */
static const struct kind {
  off_t takes[6];
  off_t asks[5];
} kinds[] = {
  [LV_LOCK_LOOK] = {{USES_READ, BARS_RESIZE}, {BARS_READ}},
  [LV_LOCK_READ] = {{USES_READ, BARS_WRITE, BARS_RESIZE},
                    {USES_WRITE, USES_RESIZE, BARS_READ}},
  [LV_LOCK_WRITE] = {{USES_READ, USES_WRITE, USES_RESIZE, BARS_WRITE,
                      BARS_RESIZE},
                     {USES_WRITE, BARS_READ, BARS_WRITE}},
  [LV_LOCK_ALONE] = {{USES_READ, USES_WRITE, USES_RESIZE, BARS_READ,
                      BARS_WRITE, BARS_RESIZE},
                     {USES_WRITE, USES_RESIZE, BARS_READ, BARS_WRITE,
                      BARS_RESIZE}},
};

int lv_lock(const struct lv_file *file, const struct lv_env *env,
            enum lv_lock how, struct lvhd_error *err) {
  const struct kind *kind = &kinds[how];
  bool held = false;
  int errnum = 0;
  for (size_t i = 0; i < 6 && kind->takes[i] != 0 && errnum == 0; i++)
    errnum = set(file, env, F_RDLCK, kind->takes[i], 1);
  if (errnum != 0 && errnum != EAGAIN && errnum != EACCES)
    return 0; /* no such locks here */
  held = errnum != 0;
  for (size_t i = 0; i < 5 && kind->asks[i] != 0 && !held; i++)
    if (asks(file, env, kind->asks[i], 1, &held) != 0)
      return 0;
  if (!held)
    return 0;
  set(file, env, F_UNLCK, USES_READ, BARS_RESIZE + 1 - USES_READ);
  return lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_IN_USE);
}
