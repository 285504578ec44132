/* SPDX-License-Identifier: MIT
 *
 * Walking through folders and all below them, and opening the regular files
 * there.  No link is followed but one that the caller names; no folder is
 * looked through twice, so that no loop of mounts holds it.  Knows nothing of
 * what is in the files.
 */
#ifndef LV_IO_WALK_H
#define LV_IO_WALK_H

#include "io/file.h"

/* So many folders inside each other; what lies deeper is left out.  Each
 * takes a descriptor while the walk is below it. */
#define LV_WALK_DEPTH 128

struct lv_walk;

int lv_walk_new(struct lv_walk **out, struct lv_env *env,
                struct lvhd_error *err);

/* Begins with a folder; a walk that has not ended is given up.  What cannot be
 * opened and read as a folder is an error.  A folder that this walk has come
 * through before is not looked at again, shallow or not: begin with the deep
 * ones. */
int lv_walk_begin(struct lv_walk *walk, const char *folder,
                  struct lvhd_error *err);

/* The same of a folder by its real path (lv_open_real), and the folders in it
 * are passed over. */
int lv_walk_begin_shallow(struct lv_walk *walk, const char *folder,
                          struct lvhd_error *err);

/* What one step came upon. */
enum lv_walked {
  LV_WALK_FILE,  /* a regular file: *file is open, *path is its real path,
                    which stands until the next step */
  LV_WALK_OTHER, /* nothing to open */
  LV_WALK_SKIPPED, /* a file or folder that cannot be read */
  LV_WALK_END
};

/* One entry further.  Fails only for want of memory or descriptors, and where
 * the folder that was begun with cannot be read. */
int lv_walk_step(struct lv_walk *walk, enum lv_walked *what,
                 struct lv_file *file, const char **path,
                 struct lvhd_error *err);

/* Accepts NULL. */
void lv_walk_free(struct lv_walk *walk);

#endif
