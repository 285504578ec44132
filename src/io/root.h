/* SPDX-License-Identifier: MIT
 *
 * Opening beneath a folder: never out of it, not by "..", by a link or by a
 * race, and regular files only.  With openat2, or by a walk through the
 * components where that is missing.
 */
#ifndef LV_IO_ROOT_H
#define LV_IO_ROOT_H

#include "io/file.h"

/* A place that files may be opened in: a folder and all below it, or one
 * file.  The folder is held open: whatever is renamed meanwhile, it stays the
 * one that was looked at. */
struct lv_root {
  char *given; /* absolute, as text without "." and ".."; malloc'ed */
  char *real;  /* without links; malloc'ed */
  int fd;      /* the folder; of a file: the one it is in */
  bool is_file;
  dev_t dev;   /* of the file */
  ino_t ino;
};

/* Resolves an existing folder or file.  A relative path starts at the
 * working folder.  Nothing is held after a failure. */
int lv_root_init(struct lv_root *root, struct lv_env *env, const char *path,
                 struct lvhd_error *err);

/* The folder of an open file whose real path is `path`.  E_ACCESSDENIED/
 * PARENT_OUTSIDE when what is there by now is not the file's folder. */
int lv_root_around(struct lv_root *root, struct lv_env *env,
                   const struct lv_file *file, const char *path,
                   struct lvhd_error *err);
void lv_root_free(struct lv_root *root, const struct lv_env *env);

/* The part of an absolute path (names only) behind the root; NULL: it does
 * not lie there.  "" for the file that is the root itself. */
const char *lv_root_rest(const struct lv_root *root, const char *path);

/* The real path of root/rest.  malloc'ed; NULL: no memory. */
char *lv_root_path(const struct lv_root *root, const char *rest);

/* Opens root/rest (a folder as root; "" is itself), of whatever kind, as
 * openat(2) with flags would, but never through a link and never out of the
 * root: a file descriptor, or -1, errno (ELOOP, EXDEV: that was the way) and in
 * *call the name of the call that failed.  The last name is not followed: with
 * O_PATH a link opens as itself. */
int lv_root_fd(struct lv_env *env, const struct lv_root *root,
               const char *rest, int flags, const char **call);

/* Opens what has this real path, of whatever kind, as openat(2) with flags
 * would.  A real path has no link in it: on an engine that maps drives one that
 * somebody has put there since is not followed, so that what was found by a
 * Windows path is found in its drive again, or not at all (ELOOP). */
int lv_open_real(struct lv_env *env, const char *path, int flags,
                 const char **call);

/* Opens root/rest for reading: `rest` from lv_root_rest.  E_ACCESSDENIED/
 * PARENT_OUTSIDE for a link or ".." on the way; E_PATH_NOT_FOUND where it is
 * missing; VM_E_INVALID_HD_FILE/NOT_REGULAR for what is no regular file.  A
 * FIFO or device is never waited for. */
int lv_root_open(struct lv_file *file, struct lv_env *env,
                 const struct lv_root *root, const char *rest,
                 struct lvhd_error *err);

#endif
