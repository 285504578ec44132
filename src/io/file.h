/* SPDX-License-Identifier: MIT
 *
 * One existing file, opened for reading: regular files only, never waiting,
 * never following what it says.  Knows nothing of what is in it.  Changes are
 * edit.c's.
 */
#ifndef LV_IO_FILE_H
#define LV_IO_FILE_H

#include "base/error.h"
#include "io/env.h"
#include "io/overlay.h"

struct lv_file {
  int fd; /* -1: closed */
  bool real; /* the path it was opened by is its real one: no link in it */
  struct stat st;
  struct lv_overlay *overlay; /* what reading shows instead; owned; or NULL */
};
#define LV_FILE_INIT {.fd = -1}

/* Opens path, of the host or (with drives) of Windows, for reading and looks
 * at it (file->st).  A folder, FIFO, socket
 * or device is VM_E_INVALID_HD_FILE; a missing last component is
 * E_PATH_NOT_FOUND/FILE_MISSING, a missing folder FOLDER_MISSING. */
int lv_file_open(struct lv_file *file, struct lv_env *env,
                 const char *path, struct lvhd_error *err);

/* The same of a file by its real path; see lv_open_real() in root.h. */
int lv_file_again(struct lv_file *file, struct lv_env *env,
                  const char *real, struct lvhd_error *err);

/* Reads exactly n bytes at offset.  The caller has compared with the length
 * of the file: one that ends earlier now was cut by someone else, which is
 * DISP_E_EXCEPTION with EIO. */
int lv_file_read(const struct lv_file *file, const struct lv_env *env,
                 void *buf, size_t n, uint64_t offset,
                 struct lvhd_error *err);

/* Opens what exists at path; *real tells that the path holds no link, "."
 * or "..", so that it is the real one already.  -1, errno, and in *call the
 * name of the call that failed. */
int lv_open_existing(struct lv_env *env, const char *path, int flags,
                     bool *real, const char **call);

/* The path as it really is, without links, of an open descriptor that was
 * reached by `path` (absolute): itself if that is `real`, or from /proc, or
 * by a walk where that is not to be had.  malloc'ed in *out. */
int lv_real_path(char **out, struct lv_env *env, int fd,
                 const char *path, bool real, enum lv_step step,
                 struct lvhd_error *err);

/* The path from the root on, as text; one of Windows stays as it is.  A
 * relative one starts at the working folder of now, whenever it is opened.
 * malloc'ed in *out. */
int lv_absolute_path(char **out, const struct lv_env *env, const char *path,
                     struct lvhd_error *err);

/* ENOENT of opening `path` with `call`: which is missing, file or folder. */
int lv_fail_missing(const struct lv_env *env, const char *path,
                    const char *call, struct lvhd_error *err);

/* Which file a path of either kind leads to, links followed; it may be a
 * folder.  Opens it not, but on the way. */
int lv_file_stat(struct stat *st, struct lv_env *env, const char *path,
                 struct lvhd_error *err);

/* Accepts a closed file. */
void lv_file_close(struct lv_file *file, const struct lv_env *env);

#endif
