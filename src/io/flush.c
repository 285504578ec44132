/* SPDX-License-Identifier: MIT
 *
 * One flush for many new files (lv_newfile_flush_many): whether that is to be
 * had, and wise.  What was measured stands in src/README.md.
 */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "io/newfile.h"

#define FEW 4 /* so many are flushed one by one */

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

/* Where a flush of the volume was seen to be the faster one, and to make an
 * unnamed file durable.  A volume of the network or of a program need not even
 * be told of it. */
static bool is_measured(const struct statfs *st) {
  return (uint64_t)st->f_type == EXT4_SUPER_MAGIC ||
         (uint64_t)st->f_type == XFS_SUPER_MAGIC;
}

/* Before 5.8 syncfs did not tell of bytes that could not be written. */
static bool tells_failures(void) {
  struct utsname name;
  unsigned major = 0, minor = 0;
  return uname(&name) == 0 &&
         sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
         (major > 5 || (major == 5 && minor >= 8));
}

/* The number behind "\nword:", in KiB, as bytes. */
static bool take_number(const char *text, const char *word, uint64_t *sum) {
  const char *at = strstr(text, word);
  if (at == NULL)
    return false;
  *sum += strtoull(at + strlen(word), NULL, 10) * 1024;
  return true;
}

/* What waits to be written in the whole system, of whatever volume: the kernel
 * tells no less. */
static bool dirty_bytes(const struct lv_env *env, uint64_t *bytes) {
  const struct lv_sys *sys = env->sys;
  char text[4096];
  int fd = lv_openat(sys, AT_FDCWD, "/proc/meminfo", O_RDONLY | O_CLOEXEC, 0);
  ssize_t n = fd < 0 ? -1 : sys->pread(sys, fd, text, sizeof text - 1, 0);
  if (fd >= 0)
    sys->close(sys, fd);
  if (n <= 0)
    return false;
  text[n] = '\0';
  *bytes = 0;
  return take_number(text, "\nDirty:", bytes) &&
         take_number(text, "\nWriteback:", bytes);
}

/* One volume, and how many bytes of it are ours. */
static bool same_volume(const struct lv_env *env, const int *fds, size_t n,
                        uint64_t *bytes) {
  dev_t volume = 0;
  *bytes = 0;
  for (size_t i = 0; i < n; i++) {
    struct stat st;
    if (env->sys->fstat(env->sys, fds[i], &st) != 0 ||
        (i > 0 && st.st_dev != volume))
      return false;
    volume = st.st_dev;
    *bytes += (uint64_t)st.st_size;
  }
  return true;
}

static uint64_t less(uint64_t a, uint64_t b) {
  return a > b ? a - b : 0;
}

/* What others have there that it would wait for: what is dirty, less what is
 * ours and what no flush of this volume has taken away. */
static bool is_wise(const struct lv_env *env, const struct lv_flushing *state,
                    const int *fds, size_t n, uint64_t *others) {
  uint64_t dirty = 0, ours = 0;
  if (!same_volume(env, fds, n, &ours) || !dirty_bytes(env, &dirty))
    return false;
  *others = less(dirty, ours);
  return less(*others, state->elsewhere) <= state->credit;
}

bool lv_newfile_flush_many(struct lv_env *env, struct lv_flushing *state,
                           const int *fds, size_t n) {
  uint64_t others = 0, left = 0;
  struct statfs st;
  if (n <= FEW || !tells_failures() ||
      env->sys->fstatfs(env->sys, fds[0], &st) != 0 || !is_measured(&st) ||
      !is_wise(env, state, fds, n, &others))
    return false;
  /* By the one that was opened first: it is told of every failure since. */
  if (env->sys->syncfs(env->sys, fds[0]) != 0)
    return false;
  if (!dirty_bytes(env, &left))
    left = 0;
  state->credit = less(state->credit, less(others, left));
  state->elsewhere = left;
  return true;
}
