/* SPDX-License-Identifier: MIT
 *
 * Windows paths as text: "C:\vms\a.vhd", "\\nas\golden\b.vhd", "sub\a.vhd".
 * The documented rules to the letter.  Opens nothing; which folder a drive is,
 * is the business of io/drives.c.
 */
#ifndef LV_BASE_WINPATH_H
#define LV_BASE_WINPATH_H

#include <stdbool.h>

#include "base/error.h"

/* It begins with a drive (a letter and a colon) or with two backslashes.
 * Whether it is a good one lv_winpath_check() tells. */
bool lv_winpath_is(const char *text, size_t n);

/* The characters and names of a Windows path of n bytes, an absolute one (as
 * lv_winpath_is) or a relative one; an empty one is good.  E_INVALID_NAME:
 *   CHARACTER_FORBIDDEN  * ? : < > | " / and U+0000-1F, 7F; ':' only behind
 *                        the drive letter (actual: the code point)
 *   NOT_UTF8
 *   WINDOWS_FORM         C:x and C: (relative to a drive), \x (to the drive of
 *                        now), \\?\ \\.\ and a share without server or name
 *   NAME_ENDING          a name that ends in a dot or a space ("." and ".."
 *                        as whole names are none)
 *   NAME_RESERVED        CON PRN AUX NUL CONIN$ CONOUT$ COM0-9 LPT0-9 (with
 *                        superscript 1, 2, 3 as well), whatever the extension
 * each with the byte offset in `offset`: of a form 0, of an ending that of the
 * dot or space, of a reserved name where the name begins.  What comes first in
 * the text counts, but characters and UTF-8 come before forms and names; \\?\
 * is a form in spite of its '?', and the first to be looked for.  A server and
 * a share are no files: reserved names are none to them. */
int lv_winpath_check(const char *text, size_t n, struct lvhd_error *err);

/* path, absolute, or relative to the absolute folder; both have passed the
 * check.  Absolute and plain: "C:\vms\a.vhd", the drive letter in upper case;
 * no empty name, no "." and ".."; ".." at the root stays there.  The root
 * itself is "C:\" or "\\nas\golden\".  folder may be NULL where path is
 * absolute.  malloc'ed; NULL: no memory. */
char *lv_winpath_join(const char *folder, const char *path);

/* Of a plain absolute path: bytes of its root without the backslash behind,
 * "C:" or "\\nas\golden". */
size_t lv_winpath_root(const char *plain);

/* Whether a path that passed the check can name a folder only: it ends in a
 * backslash, or its last name is "." or "..". */
bool lv_winpath_is_folder(const char *path);

/* What is behind the root with '/' between the names: "vms/a.vhd"; "" for the
 * root.  malloc'ed; NULL: no memory. */
char *lv_winpath_rest(const char *plain);

/* The folder of a plain absolute path, plain too: "C:\vms", of "C:\a.vhd"
 * "C:\".  malloc'ed; NULL: no memory. */
char *lv_winpath_folder(const char *plain);

/* The name behind the last backslash; "" for a root.  Points into plain. */
const char *lv_winpath_name(const char *plain);

/* How Windows names root/rest, where root is "C:" or "\\nas\golden" and rest
 * is "" or names with '/' between: "C:\vms\a.vhd".  NULL in *out, and 0, where
 * a name could not stand in a Windows path (lv_winpath_check, or a backslash).
 * malloc'ed in *out; E_OUTOFMEMORY. */
int lv_winpath_from(char **out, const char *root, const char *rest,
                    struct lvhd_error *err);

/* A key of the drive map: "C", "c:", "C:\" become "C:"; "\\nas\golden" and
 * the same with one backslash behind become "\\nas\golden".  malloc'ed in
 * *out.  E_INVALIDARG/DRIVE_MALFORMED: neither; E_OUTOFMEMORY. */
int lv_winpath_drive(char **out, const char *key, struct lvhd_error *err);

#endif
