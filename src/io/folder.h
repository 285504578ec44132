/* SPDX-License-Identifier: MIT
 *
 * The folder of a new file: the nearest one that exists, open, and what is
 * missing below it.  Makes nothing; newfile.c does, at the end.
 */
#ifndef LV_IO_FOLDER_H
#define LV_IO_FOLDER_H

#include "base/error.h"
#include "io/root.h"

struct lv_folder {
  int fd;         /* of the nearest folder that exists; -1: closed */
  bool path_only; /* we may enter it but not read it: fsync cannot */
  bool real;      /* what exists of the path is its real path */
  bool missing;   /* folders of the path are missing below it */
  size_t exists;  /* bytes of the path that exist */
  /* of a Windows path: */
  struct lv_root root; /* the mapped folder (of a real path, the folder of
                          all), which nothing leads out of */
  char *where;         /* the host's path, which then counts; else NULL */
};
#define LV_FOLDER_INIT {.fd = -1, .root = {.fd = -1}}

/* Opens the nearest existing folder of an absolute path, of the host or (with
 * drives) of Windows.  Something that is
 * no folder on the way, a dangling link, or ".." below what exists is
 * E_PATH_NOT_FOUND. */
int lv_folder_open(struct lv_folder *folder, struct lv_env *env,
                   const char *path, struct lvhd_error *err);

/* The same of a real path of the host that lies under root, never through a
 * link and never out of the root. */
int lv_folder_under(struct lv_folder *folder, struct lv_env *env,
                    const struct lv_root *root, const char *path,
                    struct lvhd_error *err);

/* The same of a real path, which is found again as lv_open_real() does:
 * E_ACCESSDENIED/OUTSIDE_DRIVE where a link has come into it. */
int lv_folder_of(struct lv_folder *folder, struct lv_env *env,
                 const char *real, struct lvhd_error *err);

/* The path as it really is: of what exists without links, with what is
 * missing added.  malloc'ed in *out. */
int lv_folder_real(char **out, const struct lv_folder *folder,
                   struct lv_env *env, const char *path,
                   struct lvhd_error *err);

/* The folder was removed after it was opened: what failed in it proves
 * nothing, look again. */
bool lv_folder_gone(const struct lv_folder *folder, const struct lv_env *env);

/* Accepts a closed folder. */
void lv_folder_close(struct lv_folder *folder, const struct lv_env *env);

#endif
