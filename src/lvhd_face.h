/* SPDX-License-Identifier: MIT
 *
 * What the files of the engine's face (lvhd.c, lvhd_disk.c) share.  No room
 * below includes it.
 */
#ifndef LVHD_FACE_H
#define LVHD_FACE_H

#include "base/error.h"
#include "io/drives.h"
#include "lvhd.h"
#include "task/pool.h"

struct lvhd_engine {
  struct lv_pool pool; /* first: a pool is its engine (waiter.c) */
  struct lv_env env;
  char *base;
  char **parents;     /* parent_count of them */
  char **children_in; /* children_in_count of them */
  struct lv_drives *drives;
  struct lvhd_engine_options opts;
};

/* Ends a call: gives back code, and an error its verb and its path. */
int lv_finish(struct lvhd_error *err, int code, const char *op,
              const char *path);

/* What a call leaves open is as the engine. */
int lv_resolve_open(const lvhd_engine *engine,
                    const struct lvhd_open_options *opts,
                    struct lvhd_open_options *r, struct lvhd_error *err);

#endif
