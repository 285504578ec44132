/* SPDX-License-Identifier: MIT
 *
 * Finding the nearest existing folder of a path.  Makes and removes nothing.
 */
#include "io/folder.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "io/drives.h"
#include "io/file.h"

/* A folder that we may enter and write, but not list, opens by path only. */
static int open_folder(struct lv_folder *folder, struct lv_env *env,
                       const char *path, const char **call) {
  const int flags = O_DIRECTORY | O_CLOEXEC;
  folder->path_only = false;
  folder->fd =
    lv_open_existing(env, path, flags | O_RDONLY, &folder->real, call);
  if (folder->fd < 0 && errno == EACCES) {
    folder->fd =
      lv_open_existing(env, path, flags | O_PATH, &folder->real, call);
    folder->path_only = folder->fd >= 0;
  }
  return folder->fd < 0 ? errno : 0;
}

/* Bytes of `path` without its last component and the slashes before it; at
 * least 1, the root. */
static size_t cut_component(const char *path, size_t n) {
  while (n > 1 && path[n - 1] == '/')
    n--;
  while (n > 1 && path[n - 1] != '/')
    n--;
  while (n > 1 && path[n - 1] == '/')
    n--;
  return n;
}

/* What is missing must be makeable: names only, and the first one must not
 * be a link that leads nowhere. */
static int check_missing(const struct lv_folder *folder,
                         const struct lv_env *env, const char *path,
                         struct lvhd_error *err) {
  const char *at = path + folder->exists;
  bool first = true;
  while (*(at += strspn(at, "/")) != '\0') {
    size_t n = strcspn(at, "/");
    char name[NAME_MAX + 1];
    struct stat st;
    if (n > NAME_MAX)
      return lv_fail_errno(err, LV_STEP_FOLDER, ENAMETOOLONG, "openat");
    if (n == 2 && memcmp(at, "..", 2) == 0)
      return lv_fail_errno(err, LV_STEP_FOLDER, ENOENT, "openat");
    memcpy(name, at, n);
    name[n] = '\0';
    if (first && env->sys->fstatat(env->sys, folder->fd, name, &st,
                                   AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISLNK(st.st_mode))
      return lv_fail_errno(err, LV_STEP_FOLDER, ENOENT, "openat");
    first = false;
    at += n;
  }
  return 0;
}

static int open_host(struct lv_folder *folder, struct lv_env *env,
                     const char *path, struct lvhd_error *err) {
  char buf[PATH_MAX];
  const char *call = NULL;
  size_t n = strlen(path);
  int failed = 0;
  if (n >= sizeof buf)
    return lv_fail_errno(err, LV_STEP_FOLDER, ENAMETOOLONG, "openat");
  memcpy(buf, path, n + 1);
  for (;;) {
    buf[n] = '\0';
    failed = open_folder(folder, env, buf, &call);
    if (failed != ENOENT || n <= 1)
      break;
    n = cut_component(buf, n);
  }
  if (failed != 0)
    return lv_fail_errno(err, LV_STEP_FOLDER, failed, call);
  folder->exists = n;
  folder->missing = path[n] != '\0';
  failed = check_missing(folder, env, path, err);
  if (failed != 0)
    lv_folder_close(folder, env);
  return failed;
}

static int open_below(struct lv_folder *folder, struct lv_env *env,
                      const struct lv_root *root, const char *rest,
                      const char **call) {
  const int flags = O_DIRECTORY | O_CLOEXEC;
  folder->path_only = false;
  folder->fd = lv_root_fd(env, root, rest, flags | O_RDONLY, call);
  if (folder->fd < 0 && errno == EACCES) {
    folder->fd = lv_root_fd(env, root, rest, flags | O_PATH, call);
    folder->path_only = folder->fd >= 0;
  }
  return folder->fd < 0 ? errno : 0;
}

int lv_folder_under(struct lv_folder *folder, struct lv_env *env,
                    const struct lv_root *root, const char *path,
                    struct lvhd_error *err) {
  char rest[PATH_MAX];
  const char *behind =
    strcmp(path, root->real) == 0 ? "" : lv_root_rest(root, path);
  const char *call = NULL;
  size_t n = 0;
  int failed = 0;
  if (behind == NULL || strlen(behind) >= sizeof rest)
    return lv_fail(err, LVHD_E_ACCESSDENIED, LV_R_OUTSIDE_DRIVE);
  strcpy(rest, behind);
  n = strlen(rest);
  for (;;) {
    failed = open_below(folder, env, root, rest, &call);
    if (failed != ENOENT || n == 0)
      break;
    while (n > 0 && rest[n - 1] != '/')
      n--;
    n -= n > 0;
    rest[n] = '\0';
  }
  if (failed == ELOOP || failed == EXDEV)
    return lv_fail(err, LVHD_E_ACCESSDENIED, LV_R_OUTSIDE_DRIVE);
  if (failed != 0)
    return lv_fail_errno(err, LV_STEP_FOLDER, failed, call);
  folder->real = true;
  folder->exists = (size_t)(behind - path) + n;
  if (behind[0] == '\0') /* the root itself */
    folder->exists = strlen(path);
  folder->missing = path[folder->exists] != '\0';
  return 0;
}

/* What was found may be a link by now, and is looked for again then. */
#define LOOKS 3

static int open_windows(struct lv_folder *folder, struct lv_env *env,
                        const char *path, struct lvhd_error *err) {
  struct lv_place place = LV_PLACE_INIT;
  int code = 0;
  for (int i = 0;; i++) {
    code = lv_drives_find(&place, env, path, LV_LAST_FOLLOWED, err);
    if (code == LVHD_E_PATH_NOT_FOUND && err &&
        err->reason == LV_R_FILE_MISSING)
      err->reason = LV_R_FOLDER_MISSING;
    if (code != 0)
      return code;
    folder->where = lv_place_path(&place);
    code = folder->where
             ? lv_folder_under(folder, env, &place.root, folder->where, err)
             : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
    if (code == 0)
      break;
    lv_place_free(&place, env);
    lv_folder_close(folder, env);
    if (code != LVHD_E_ACCESSDENIED || i + 1 == LOOKS)
      break;
    lvhd_error_clear(err);
  }
  if (code != 0)
    return code;
  folder->root = place.root; /* ours now */
  place.root = (struct lv_root){.fd = -1};
  lv_place_free(&place, env);
  return 0;
}

int lv_folder_open(struct lv_folder *folder, struct lv_env *env,
                   const char *path, struct lvhd_error *err) {
  *folder = (struct lv_folder)LV_FOLDER_INIT;
  return lv_is_windows(env, path) ? open_windows(folder, env, path, err)
                                  : open_host(folder, env, path, err);
}

int lv_folder_of(struct lv_folder *folder, struct lv_env *env,
                 const char *real, struct lvhd_error *err) {
  int code = 0;
  *folder = (struct lv_folder)LV_FOLDER_INIT;
  if (env->drives == NULL)
    return open_host(folder, env, real, err);
  code = lv_root_init(&folder->root, env, "/", err);
  if (code == 0)
    code = lv_folder_under(folder, env, &folder->root, real, err);
  if (code != 0)
    lv_folder_close(folder, env);
  return code;
}

/* Appends the missing components, without "." and doubled slashes. */
static void append_missing(char *to, const char *missing) {
  size_t n = strlen(to);
  while (*(missing += strspn(missing, "/")) != '\0') {
    size_t m = strcspn(missing, "/");
    if (!(m == 1 && missing[0] == '.')) {
      if (n > 1)
        to[n++] = '/';
      memcpy(to + n, missing, m);
      n += m;
    }
    missing += m;
  }
  to[n] = '\0';
}

int lv_folder_real(char **out, const struct lv_folder *folder,
                   struct lv_env *env, const char *path,
                   struct lvhd_error *err) {
  char prefix[PATH_MAX];
  char *real = NULL;
  char *whole = NULL;
  int code = 0;
  if (folder->where) {
    *out = strdup(folder->where);
    return *out ? 0 : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  memcpy(prefix, path, folder->exists);
  prefix[folder->exists] = '\0';
  code = lv_real_path(&real, env, folder->fd, prefix, folder->real,
                      LV_STEP_FOLDER, err);
  if (code != 0)
    return code;
  whole = realloc(real, strlen(real) + strlen(path + folder->exists) + 2);
  if (whole == NULL) {
    free(real);
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  append_missing(whole, path + folder->exists);
  *out = whole;
  return 0;
}

bool lv_folder_gone(const struct lv_folder *folder,
                    const struct lv_env *env) {
  struct stat st;
  return folder->fd >= 0 &&
         env->sys->fstat(env->sys, folder->fd, &st) == 0 && st.st_nlink == 0;
}

void lv_folder_close(struct lv_folder *folder, const struct lv_env *env) {
  if (folder->fd >= 0)
    env->sys->close(env->sys, folder->fd);
  lv_root_free(&folder->root, env);
  free(folder->where);
  *folder = (struct lv_folder)LV_FOLDER_INIT;
}
