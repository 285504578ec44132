/* SPDX-License-Identifier: MIT
 *
 * The drive map: folders of the host that Windows paths lead into, and never
 * out of.  Names are matched exactly first, then without regard to case; a
 * link that stays inside the mapped folder is followed, one that leads out of
 * it is E_ACCESSDENIED/OUTSIDE_DRIVE.  A mapped folder is opened anew for each
 * question: it may be a volume that comes and goes.
 */
#ifndef LV_IO_DRIVES_H
#define LV_IO_DRIVES_H

#include <limits.h>

#include "io/root.h"

struct lv_drive {
  char *name;   /* "C:" or "\\nas\golden" */
  char *folder; /* of the host, absolute */
};

/* Never changed once it is made. */
struct lv_drives {
  size_t count;
  struct lv_drive items[];
};

/* Copies the list.  E_INVALIDARG/DRIVE_MALFORMED (a name that is none),
 * DRIVE_TWICE; E_BAD_PATHNAME/BASE_RELATIVE (a folder that is not absolute);
 * E_OUTOFMEMORY. */
int lv_drives_new(struct lv_drives **out, const struct lvhd_drive *list,
                  size_t count, struct lvhd_error *err);
void lv_drives_free(struct lv_drives *drives); /* accepts NULL */

/* The engine maps drives, and this text begins as one of their paths. */
bool lv_is_windows(const struct lv_env *env, const char *path);

/* Where a Windows path leads. */
struct lv_place {
  struct lv_root root; /* the mapped folder, open */
  char *rest;          /* names as they really are, '/' between; "": the root */
  size_t exists;       /* bytes of rest that exist */
  bool is_link;        /* the last name is a link (with LV_LAST_AS_IT_IS) */
};
#define LV_PLACE_INIT {.root = {.fd = -1}}

/* What becomes of a last name that is a link. */
enum lv_last { LV_LAST_FOLLOWED, LV_LAST_AS_IT_IS };

/* path is absolute and has passed lv_winpath_check().  What is missing is no
 * failure (exists).  E_PATH_NOT_FOUND (NO_SUCH_DRIVE; FOLDER_MISSING: the
 * mapped folder itself, or a name that is no folder), E_ACCESSDENIED/
 * OUTSIDE_DRIVE, E_INVALID_NAME/CASE_AMBIGUOUS (err->others has two of the
 * names), and what the host says. */
int lv_drives_find(struct lv_place *place, struct lv_env *env,
                   const char *path, enum lv_last last,
                   struct lvhd_error *err);
void lv_place_free(struct lv_place *place, const struct lv_env *env);

/* The host's path of a place.  malloc'ed; NULL: no memory. */
char *lv_place_path(const struct lv_place *place);

/* Opens what exists at a Windows path, as openat(2) with flags would; checks
 * the path first.  *fd is -1 after a failure. */
int lv_drives_open(int *fd, struct lv_env *env, const char *path, int flags,
                   struct lvhd_error *err);

/* Where a Windows path leads, as it really is; what is missing as it would be.
 * malloc'ed in *out. */
int lv_drives_real(char **out, struct lv_env *env, const char *path,
                   struct lvhd_error *err);

/* ---- the map itself -------------------------------------------------- */

/* 0 for an engine without drives. */
size_t lv_drives_count(const struct lv_env *env);

/* Opens the i-th mapped folder; its name is env->drives->items[i].name. */
int lv_drives_root(struct lv_root *root, struct lv_env *env, size_t i,
                   struct lvhd_error *err);

/* How Windows calls the file or folder that has this real path on the host:
 * by the mapped folder that lies nearest above it.  NULL in *out, and 0: none
 * does, or a name on the way is none in Windows (*unnamable, may be NULL).
 * malloc'ed. */
int lv_drives_call(char **out, struct lv_env *env, const char *real,
                   bool *unnamable, struct lvhd_error *err);

/* The same of any absolute path of the host, which need not exist. */
int lv_drives_call_path(char **out, struct lv_env *env, const char *path,
                        struct lvhd_error *err);

/* Of two real paths: whether Windows knows both, and by one root. */
enum lv_relation {
  LV_NOT_BOTH,   /* one of them, or both, lie under no mapped folder */
  LV_ONE_ROOT,   /* a mapped folder holds both */
  LV_TWO_ROOTS
};
int lv_drives_relation(enum lv_relation *out, struct lv_env *env,
                       const char *a, const char *b, struct lvhd_error *err);

/* ---- names below a root ---------------------------------------------- */

/* The names in a folder that are the same as one but for case. */
struct lv_twins {
  size_t count;
  bool exact; /* that name itself is among them */
  char names[2][NAME_MAX + 1]; /* the first two */
};

/* dir: a descriptor of the folder.  One that may not be listed has none. */
int lv_twins_find(struct lv_twins *twins, const struct lv_env *env, int dir,
                  const char *name, struct lvhd_error *err);

/* Counts one name that was found, if it is a twin. */
void lv_twins_take(struct lv_twins *twins, const char *name,
                   const char *found);

/* Adds their paths, in the folder root/rest, to err->others. */
void lv_twins_tell(const struct lv_twins *twins, const char *root,
                   const char *rest, struct lvhd_error *err);

/* The names of rest ('/' between) as they are below root: exactly, or but for
 * case; no link is followed.  For names that are not the caller's own, as in
 * locators.  E_PATH_NOT_FOUND, E_INVALID_NAME/CASE_AMBIGUOUS; malloc'ed in
 * *out. */
int lv_root_match(char **out, struct lv_env *env, const struct lv_root *root,
                  const char *rest, struct lvhd_error *err);

#endif
