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
#include "io/drives.h"

#define RESOLVE \
  (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
#define READING (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC)
#define LOOKING (O_PATH | O_NOFOLLOW | O_CLOEXEC)

/* ---- roots ----------------------------------------------------------- */

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* What is no absolute path of names alone is known by its real path only. */
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
  char *folder = lv_path_folder(root->real);
  if (folder == NULL)
    return no_memory(err);
  root->fd = lv_open_real(env, folder, LOOKING | O_DIRECTORY, &call);
  free(folder);
  /* A link where a folder must be answers ENOTDIR. */
  if (root->fd < 0 && (errno == ELOOP || errno == ENOTDIR))
    return outside(err);
  if (root->fd < 0)
    return lv_fail_errno(err, LV_STEP_FILE, errno, call);
  if (sys->fstatat(sys, root->fd, lv_path_name(root->real), &there,
                   AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT
             ? outside(err)
             : lv_fail_errno(err, LV_STEP_FILE, errno, "fstatat");
  if (there.st_dev != st->st_dev || there.st_ino != st->st_ino)
    return outside(err);
  root->dev = st->st_dev;
  root->ino = st->st_ino;
  return 0;
}

/* Whatever is at the path, of the host or of Windows. */
static int open_path(struct lv_root *root, struct lv_env *env,
                     const char *path, bool *real, struct lvhd_error *err) {
  const char *call = NULL;
  *real = false;
  if (lv_is_windows(env, path))
    return lv_drives_open(&root->fd, env, path, O_PATH | O_CLOEXEC, err);
  root->fd = lv_open_existing(env, path, O_PATH | O_CLOEXEC, real, &call);
  return root->fd < 0 ? lv_fail_errno(err, LV_STEP_FILE, errno, call) : 0;
}

static int init(struct lv_root *root, struct lv_env *env, const char *path,
                struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  struct stat st;
  bool real = false;
  int code = open_path(root, env, path, &real, err);
  if (code != 0)
    return code;
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

static bool is_link(const struct lv_env *env, int dir, const char *name) {
  struct stat st;
  return env->sys->fstatat(env->sys, dir, name, &st, AT_SYMLINK_NOFOLLOW) ==
           0 &&
         S_ISLNK(st.st_mode);
}

/* The first name of *rest, which moves behind it; 0 or errno. */
static int next_name(const char **rest, char name[NAME_MAX + 1]) {
  size_t n = strcspn(*rest, "/");
  if (n == 0 || (n == 1 && (*rest)[0] == '.'))
    return ENOENT;
  if (n == 2 && (*rest)[0] == '.' && (*rest)[1] == '.')
    return EXDEV;
  if (n > NAME_MAX)
    return ENAMETOOLONG;
  memcpy(name, *rest, n);
  name[n] = '\0';
  *rest += n + ((*rest)[n] == '/');
  return 0;
}

/* One name of the walk.  A link where a folder must be answers ENOTDIR, as a
 * file does. */
static int step(struct lv_env *env, int dir, const char *name, int flags) {
  int fd = lv_openat(env->sys, dir, name, flags | O_NOFOLLOW, 0);
  if (fd < 0 && errno == ENOTDIR) {
    bool link = is_link(env, dir, name);
    errno = link ? ELOOP : ENOTDIR;
  }
  return fd;
}

/* The same as openat2, without it: through the names, one by one. */
static int walk(struct lv_env *env, int start, const char *rest, int flags) {
  const struct lv_sys *sys = env->sys;
  char name[NAME_MAX + 1];
  int dir = start;
  int fd = -1;
  int failed = 0;
  do {
    failed = next_name(&rest, name);
    if (failed != 0)
      break;
    fd = step(env, dir, name, *rest ? LOOKING | O_DIRECTORY : flags);
    failed = fd < 0 ? errno : 0;
    if (dir != start)
      sys->close(sys, dir);
    dir = failed == 0 ? fd : start;
  } while (failed == 0 && *rest != '\0');
  if (failed == 0)
    return fd;
  if (dir != start)
    sys->close(sys, dir);
  errno = failed;
  return -1;
}

/* Its last name is a link; none on the way is. */
static bool ends_in_link(const struct lv_env *env, const struct lv_root *root,
                         const char *rest) {
  const struct lv_sys *sys = env->sys;
  struct stat st;
  int fd = lv_openat2(sys, root->fd, rest, LOOKING, RESOLVE);
  bool link = fd >= 0 && sys->fstat(sys, fd, &st) == 0 && S_ISLNK(st.st_mode);
  if (fd >= 0)
    sys->close(sys, fd);
  return link;
}

int lv_root_fd(struct lv_env *env, const struct lv_root *root,
               const char *rest, int flags, const char **call) {
  int fd = -1;
  *call = "openat2";
  if (rest[0] == '\0') { /* the folder itself, which is open */
    *call = "openat";
    return lv_openat(env->sys, root->fd, ".", flags, 0);
  }
  if (!atomic_load(&env->no_openat2)) {
    fd = lv_openat2(env->sys, root->fd, rest, flags | O_NOFOLLOW, RESOLVE);
    if (fd < 0 && errno == ENOTDIR && (flags & O_DIRECTORY) != 0)
      errno = ends_in_link(env, root, rest) ? ELOOP : ENOTDIR;
    /* EAGAIN: someone keeps renaming; the walk does not mind */
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != EINVAL &&
                    errno != EAGAIN))
      return fd;
    if (errno == ENOSYS)
      atomic_store(&env->no_openat2, true);
  }
  *call = "openat";
  return walk(env, root->fd, rest, flags);
}

int lv_open_real(struct lv_env *env, const char *path, int flags,
                 const char **call) {
  struct lv_root all = {.fd = -1};
  int fd = -1, saved = 0;
  *call = "openat";
  if (env->drives == NULL)
    return lv_openat(env->sys, AT_FDCWD, path, flags, 0);
  all.fd = lv_openat(env->sys, AT_FDCWD, "/", LOOKING | O_DIRECTORY, 0);
  if (all.fd < 0)
    return -1;
  fd = lv_root_fd(env, &all, path + 1, flags, call);
  saved = errno;
  env->sys->close(env->sys, all.fd);
  errno = saved;
  return fd;
}

/* Looked at before it is opened: to open a FIFO would already wake whoever
 * waits at its other end. */
static int look(struct lv_env *env, const struct lv_root *root,
                const char *rest, struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  const char *call = NULL;
  struct stat st;
  int fd = lv_root_fd(env, root, rest, LOOKING, &call);
  int failed = fd < 0 ? errno : 0;
  if (fd >= 0) {
    if (sys->fstat(sys, fd, &st) != 0) {
      failed = errno;
      call = "fstat";
    } else if (S_ISLNK(st.st_mode)) {
      failed = ELOOP;
    }
    sys->close(sys, fd);
  }
  if (failed != 0)
    return fail_open(err, failed, call);
  return S_ISREG(st.st_mode) ? 0 : not_regular(err);
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
  const char *call = NULL;
  int code = 0;
  *file = (struct lv_file)LV_FILE_INIT;
  if (root->is_file)
    rest = lv_path_name(root->real);
  code = look(env, root, rest, err);
  if (code != 0)
    return code;
  file->fd = lv_root_fd(env, root, rest, READING, &call);
  if (file->fd < 0)
    return fail_open(err, errno, call);
  code = settle(file, env, err);
  if (code == 0 && root->is_file &&
      (file->st.st_dev != root->dev || file->st.st_ino != root->ino)) {
    lv_file_close(file, env); /* another file has its name by now */
    return outside(err);
  }
  return code;
}
