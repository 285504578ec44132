/* SPDX-License-Identifier: MIT
 *
 * The environment of an engine: its table of system calls, and what it has
 * learned of the host.  One per engine, shared by its threads; the fields
 * beside sys are hints, written with atomics, right to lose.
 */
#ifndef LV_IO_ENV_H
#define LV_IO_ENV_H

#include <stdatomic.h>

#include <stdbool.h>

#include "io/sys.h"

/* What a volume was last seen to hold; see io/volume.c. */
struct lv_volume_hint {
  atomic_flag busy; /* a reader that finds it set asks the volume instead */
  uint64_t id;
  uint64_t length; /* a file of this many bytes fits the volume's limit */
  int64_t when;    /* monotonic ns; 0: nothing known */
  bool lockable;
};

struct lv_drives;
struct lv_names;

struct lv_env {
  const struct lv_sys *sys;
  const struct lv_drives *drives; /* io/drives.h; NULL: none; not owned */
  struct lv_names *names; /* io/names.h, of one create_children; else NULL; not
                             owned */
  /* the volume (st_dev + 1) where an unnamed file could not be linked; 0 */
  atomic_uint_fast64_t no_tmpfile;
  atomic_bool no_openat2;    /* an old kernel, or a filter of system calls */
  atomic_bool no_empty_path; /* linkat wants the way through /proc */
  atomic_uint batches;       /* create_children under way */
  struct lv_volume_hint volume;
};

static inline void lv_env_init(struct lv_env *env, const struct lv_sys *sys) {
  env->sys = sys ? sys : &lv_sys_real;
  env->drives = NULL;
  env->names = NULL;
  atomic_init(&env->no_tmpfile, 0);
  atomic_init(&env->no_openat2, false);
  atomic_init(&env->no_empty_path, false);
  atomic_init(&env->batches, 0);
  env->volume = (struct lv_volume_hint){.busy = ATOMIC_FLAG_INIT};
}

#endif
