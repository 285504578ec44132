/* SPDX-License-Identifier: MIT
 *
 * Opening beneath a folder.  Knows nothing of disks; who may open what is
 * decided by who makes the roots.
 */
#include "io/root.h"

#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"

#define RESOLVE \
  (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
#define READING (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC)
#define LOOKING (O_PATH | O_NOFOLLOW | O_CLOEXEC)

/* ---- roots ----------------------------------------------------------- */

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* What is no path of names alone is known by its real path only. */
static char *as_given(const char *path, const char *real) {
  size_t n = strlen(path);
  char *text = NULL;
  while (n > 1 && path[n - 1] == '/')
    n--;
  text = strndup(path, n);
  if (text == NULL || lv_path_is_plain(text))
    return text;
  free(text);
  return strdup(real);
}

static int outside(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_ACCESSDENIED, LV_R_PARENT_OUTSIDE);
}

/* Holds the folder of root->real, in which the file is known by its inode. */
static int hold_folder(struct lv_root *root, struct lv_env *env,
                       const struct stat *st, struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  const char *call = NULL;
  struct stat there;
  bool real = false;
  char *folder = lv_path_folder(root->real);
  if (folder == NULL)
    return no_memory(err);
  root->fd =
    lv_open_existing(env, folder, LOOKING | O_DIRECTORY, &real, &call);
  free(folder);
  if (root->fd < 0)
    return lv_fail_errno(err, LV_STEP_FILE, errno, call);
  if (sys->fstatat(sys, root->fd, lv_path_name(root->real), &there,
                   AT_SYMLINK_NOFOLLOW) != 0 ||
      there.st_dev != st->st_dev || there.st_ino != st->st_ino)
    return outside(err);
  root->dev = st->st_dev;
  root->ino = st->st_ino;
  return 0;
}

static int init(struct lv_root *root, struct lv_env *env, const char *path,
                struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  const char *call = NULL;
  struct stat st;
  bool real = false;
  int code = 0;
  root->fd = lv_open_existing(env, path, O_PATH | O_CLOEXEC, &real, &call);
  if (root->fd < 0)
    return lv_fail_errno(err, LV_STEP_FILE, errno, call);
  if (sys->fstat(sys, root->fd, &st) != 0)
    return lv_fail_errno(err, LV_STEP_FILE, errno, "fstat");
  code = lv_real_path(&root->real, env, root->fd, path, real, LV_STEP_FILE,
                      err);
  if (code != 0)
    return code;
  root->given = as_given(path, root->real);
  if (root->given == NULL)
    return no_memory(err);
  root->is_file = !S_ISDIR(st.st_mode);
  if (!root->is_file)
    return 0;
  sys->close(sys, root->fd);
  root->fd = -1;
  return hold_folder(root, env, &st, err);
}

int lv_root_init(struct lv_root *root, struct lv_env *env, const char *path,
                 struct lvhd_error *err) {
  int code = 0;
  *root = (struct lv_root){.fd = -1};
  code = init(root, env, path, err);
  if (code != 0)
    lv_root_free(root, env);
  return code;
}

int lv_root_around(struct lv_root *root, struct lv_env *env,
                   const struct lv_file *file, const char *path,
                   struct lvhd_error *err) {
  int code = 0;
  *root = (struct lv_root){.fd = -1};
  root->real = strdup(path);
  code = root->real ? hold_folder(root, env, &file->st, err) : no_memory(err);
  free(root->real);
  root->real = lv_path_folder(path);
  root->given = lv_path_folder(path);
  if (code == 0 && (root->real == NULL || root->given == NULL))
    code = no_memory(err);
  if (code != 0)
    lv_root_free(root, env);
  return code;
}

void lv_root_free(struct lv_root *root, const struct lv_env *env) {
  if (root->fd >= 0)
    env->sys->close(env->sys, root->fd);
  free(root->given);
  free(root->real);
  *root = (struct lv_root){.fd = -1};
}

static const char *rest_behind(const char *root, bool is_file,
                               const char *path) {
  size_t n = strlen(root);
  if (is_file)
    return strcmp(root, path) == 0 ? path + n : NULL;
  if (n == 1) /* the folder of all */
    return path[1] != '\0' ? path + 1 : NULL;
  return strncmp(root, path, n) == 0 && path[n] == '/' && path[n + 1] != '\0'
           ? path + n + 1
           : NULL;
}

const char *lv_root_rest(const struct lv_root *root, const char *path) {
  const char *rest = rest_behind(root->given, root->is_file, path);
  return rest ? rest : rest_behind(root->real, root->is_file, path);
}

char *lv_root_path(const struct lv_root *root, const char *rest) {
  return root->is_file ? strdup(root->real)
                       : lv_path_join(root->real, rest);
}

/* ---- opening --------------------------------------------------------- */

static int not_regular(struct lvhd_error *err) {
  return lv_fail(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_NOT_REGULAR);
}

static int fail_open(struct lvhd_error *err, int errnum, const char *call) {
  if (errnum == EXDEV || errnum == ELOOP) {
    int code = outside(err);
    if (err) { /* a link on the way: no folder to allow will help */
      err->errnum = errnum;
      err->syscall = call;
    }
    return code;
  }
  return lv_fail_errno(err, LV_STEP_FILE, errnum, call);
}

/* Looked at before it is opened: to open a FIFO would already wake whoever
 * waits at its other end. */
static int open_beneath(struct lv_file *file, struct lv_env *env, int dir,
                        const char *rest, struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  int fd = lv_openat2(sys, dir, rest, LOOKING, RESOLVE);
  int failed = fd < 0 ? errno : 0;
  if (failed != 0)
    return failed;
  if (sys->fstat(sys, fd, &file->st) != 0)
    failed = errno;
  sys->close(sys, fd);
  if (failed != 0)
    return failed;
  if (S_ISLNK(file->st.st_mode))
    return ELOOP;
  if (!S_ISREG(file->st.st_mode)) {
    not_regular(err);
    return 0;
  }
  file->fd = lv_openat2(sys, dir, rest, READING, RESOLVE);
  return file->fd < 0 ? errno : 0;
}

/* One name of the walk: *dir becomes the folder below; `start` is not ours to
 * close.  A link answers ENOTDIR here, as a file does. */
static int enter(struct lv_env *env, int start, int *dir, const char *name) {
  const struct lv_sys *sys = env->sys;
  struct stat st;
  int fd = lv_openat(sys, *dir, name, LOOKING | O_DIRECTORY, 0);
  int failed = fd < 0 ? errno : 0;
  if (failed == ENOTDIR &&
      sys->fstatat(sys, *dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISLNK(st.st_mode))
    failed = ELOOP;
  if (failed == 0) {
    if (*dir != start)
      sys->close(sys, *dir);
    *dir = fd;
  }
  return failed;
}

static int open_last(struct lv_file *file, struct lv_env *env, int dir,
                     const char *name, struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  if (sys->fstatat(sys, dir, name, &file->st, AT_SYMLINK_NOFOLLOW) != 0)
    return errno;
  if (S_ISLNK(file->st.st_mode))
    return ELOOP;
  if (!S_ISREG(file->st.st_mode)) {
    not_regular(err);
    return 0;
  }
  file->fd = lv_openat(sys, dir, name, READING, 0);
  return file->fd < 0 ? errno : 0;
}

/* One step: to the folder below, or, at the last name, to the file. */
static int step(struct lv_file *file, struct lv_env *env, int start, int *dir,
                const char **rest, struct lvhd_error *err) {
  char name[NAME_MAX + 1];
  size_t n = strcspn(*rest, "/");
  bool is_last = (*rest)[n] == '\0';
  if (n == 0 || (n == 1 && (*rest)[0] == '.'))
    return ENOENT;
  if (n == 2 && (*rest)[0] == '.' && (*rest)[1] == '.')
    return EXDEV;
  if (n > NAME_MAX)
    return ENAMETOOLONG;
  memcpy(name, *rest, n);
  name[n] = '\0';
  *rest += n + !is_last;
  return is_last ? open_last(file, env, *dir, name, err)
                 : enter(env, start, dir, name);
}

/* The same without openat2. */
static int walk(struct lv_file *file, struct lv_env *env, int start,
                const char *rest, struct lvhd_error *err) {
  int dir = start;
  int failed = 0;
  do {
    failed = step(file, env, start, &dir, &rest, err);
  } while (failed == 0 && *rest != '\0');
  if (dir != start)
    env->sys->close(env->sys, dir);
  return failed;
}

/* What was looked at may be another file by now. */
static int settle(struct lv_file *file, struct lv_env *env,
                  struct lvhd_error *err) {
  if (env->sys->fstat(env->sys, file->fd, &file->st) != 0) {
    int saved = errno;
    lv_file_close(file, env);
    return lv_fail_errno(err, LV_STEP_FILE, saved, "fstat");
  }
  file->real = true;
  if (S_ISREG(file->st.st_mode))
    return 0;
  lv_file_close(file, env);
  return not_regular(err);
}

int lv_root_open(struct lv_file *file, struct lv_env *env,
                 const struct lv_root *root, const char *rest,
                 struct lvhd_error *err) {
  struct lvhd_error refused = LVHD_ERROR_INIT;
  const char *call = "openat2";
  int failed = ENOSYS;
  int code = 0;
  *file = (struct lv_file)LV_FILE_INIT;
  if (root->is_file)
    rest = lv_path_name(root->real);
  if (!atomic_load(&env->no_openat2))
    failed = open_beneath(file, env, root->fd, rest, &refused);
  if (failed == ENOSYS)
    atomic_store(&env->no_openat2, true);
  if (failed == ENOSYS || failed == EPERM || failed == EINVAL) {
    call = "openat";
    failed = walk(file, env, root->fd, rest, &refused);
  }
  if (failed != 0)
    return fail_open(err, failed, call);
  if (refused.code != 0)
    return lv_fail(err, (enum lvhd_code)refused.code,
                   (enum lv_reason)refused.reason);
  code = settle(file, env, err);
  if (code == 0 && root->is_file &&
      (file->st.st_dev != root->dev || file->st.st_ino != root->ino)) {
    lv_file_close(file, env); /* another file has its name by now */
    return outside(err);
  }
  return code;
}
