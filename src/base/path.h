/* SPDX-License-Identifier: MIT
 *
 * Paths as text: the documented rules on characters and length, joining,
 * and the relative way from a folder to a file.  Opens nothing; what is a
 * link and what exists is the business of io.
 */
#ifndef LV_BASE_PATH_H
#define LV_BASE_PATH_H

#include "base/error.h"

/* The documented limit: fewer than this many UTF-16 units. */
#define LV_PATH_UNITS 260

/* The characters of one path (design 1.5, step 3, first half): without
 * host_names a drive letter with colon is E_PATH_NOT_FOUND/NO_SUCH_DRIVE and
 * a backslash E_INVALID_NAME/BACKSLASH, before all else; then U+0000-1F, 7F
 * and invalid UTF-8, always, and without host_names any of * ? : < > | ",
 * are E_INVALID_NAME (CHARACTER_FORBIDDEN with the code point as `actual`
 * and the byte offset as `offset`; NOT_UTF8 with the offset). */
int lv_path_check(const char *text, size_t n, bool host_names,
                  struct lvhd_error *err);

/* E_BUFFER_OVERFLOW/PATH_TOO_LONG (expected 259) when valid UTF-8 text has
 * 260 or more UTF-16 units; with long_paths, when it has PATH_MAX or more
 * bytes (expected PATH_MAX - 1). */
int lv_path_length(const char *text, bool long_paths, struct lvhd_error *err);

/* Absolute, and of names alone: no "." or "..", no empty component. */
bool lv_path_is_plain(const char *path);

/* What `path` means from an absolute plain folder, as text: absolute and
 * plain, ".." at the root stays there.  malloc'ed; NULL: no memory. */
char *lv_path_resolve(const char *folder, const char *path);

/* folder + "/" + name, or name alone when it is absolute or folder is "";
 * exactly one slash between.  malloc'ed; NULL: no memory. */
char *lv_path_join(const char *folder, const char *name);

/* The folder part of a path: "/a/b.vhd" -> "/a", "/b.vhd" -> "/",
 * "b.vhd" -> "".  Repeated slashes before the name go.  malloc'ed; NULL: no
 * memory. */
char *lv_path_folder(const char *path);

/* What follows the last slash; points into path.  May be "". */
const char *lv_path_name(const char *path);

/* The way from an absolute folder to an absolute file, both without links,
 * "." and "..": "base.vhd", "sub/base.vhd", "../x/base.vhd".  malloc'ed;
 * NULL: no memory. */
char *lv_path_relative(const char *folder, const char *file);

#endif
