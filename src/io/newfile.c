/* SPDX-License-Identifier: MIT
 *
 * Publishing a new file.  The states, and what exists in each:
 *
 *   begun     an unnamed inode, or one named .<hex>.lvhd-tmp
 *   linking   the same, and folders that we made
 *   linked    the final name; a temporary name is gone
 *   settled   the final name; nothing open
 *
 * abandon() leads from the first three back to nothing.  A crash leaves
 * nothing in `begun` (unnamed), the temporary (named), or empty folders.
 *
 *   1 beginning   2 writing   3 folders   4 the name   5 many at once
 *   6 the end
 */
#include "io/newfile.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"

#define LINK_TRIES 4 /* the first, and three after a folder went away */
#define LONG_WRITE (64u << 10) /* bytes; shorter ones reserve nothing */
#define SEND (UINT64_C(8) << 20) /* bytes on their way to the disk at once */
#define GONE (-1)    /* a folder went away: make the folders again */

/* ---- 1 beginning ----------------------------------------------------- */

/* How a volume or a kernel says that it has no unnamed files. */
static bool no_unnamed(int errnum) {
  return errnum == EOPNOTSUPP || errnum == EISDIR || errnum == EINVAL ||
         errnum == ENOSYS || errnum == ENOENT;
}

int lv_unnamed_open(int *fd, const struct lv_env *env,
                    const struct lv_folder *folder, mode_t mode,
                    struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  int saved = 0;
  *fd = lv_openat(sys, folder->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC,
                  mode);
  saved = errno;
  if (*fd >= 0 || no_unnamed(saved))
    return 0;
  return lv_fail_errno(err, LV_STEP_CREATE, saved, "openat");
}

static int temp_name(struct lv_newfile *file, struct lvhd_error *err) {
  const struct lv_sys *sys = file->env->sys;
  uint64_t id = 0;
  ssize_t got = 0;
  do {
    got = sys->getrandom(sys, &id, sizeof id, 0);
  } while (got < 0 && errno == EINTR);
  if (got != (ssize_t)sizeof id)
    return lv_fail_errno(err, LV_STEP_OTHER, got < 0 ? errno : EIO,
                         "getrandom");
  snprintf(file->temp, sizeof file->temp, ".%016llx.lvhd-tmp",
           (unsigned long long)id);
  return 0;
}

static int begin_named(struct lv_newfile *file, mode_t mode,
                       struct lvhd_error *err) {
  const struct lv_sys *sys = file->env->sys;
  int saved = 0;
  do {
    int code = temp_name(file, err);
    if (code != 0)
      return code;
    file->fd = lv_openat(sys, file->nearest, file->temp,
                         O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                         mode);
    saved = errno;
  } while (file->fd < 0 && saved == EEXIST);
  if (file->fd >= 0)
    return 0;
  file->temp[0] = '\0';
  return lv_fail_errno(err, LV_STEP_CREATE, saved, "openat");
}

/* Whether unnamed files could not be linked on this volume before.  Asked
 * only once that has happened somewhere; the volume of the last time is
 * remembered. */
static bool needs_name(struct lv_env *env, int folder) {
  uint64_t known = atomic_load(&env->no_tmpfile);
  struct stat st;
  return known != 0 && env->sys->fstat(env->sys, folder, &st) == 0 &&
         (uint64_t)st.st_dev + 1 == known;
}

static void remember_name(struct lv_newfile *file) {
  const struct lv_sys *sys = file->env->sys;
  struct stat st;
  if (sys->fstat(sys, file->fd, &st) == 0)
    atomic_store(&file->env->no_tmpfile, (uint64_t)st.st_dev + 1);
}

static void set_place(struct lv_newfile *file, struct lv_env *env,
                      const struct lv_folder *nearest, const char *folder) {
  *file = (struct lv_newfile)LV_NEWFILE_INIT;
  file->env = env;
  file->nearest = nearest->fd;
  file->root = nearest->root.fd >= 0 ? &nearest->root : NULL;
  file->folder = folder;
  file->missing = nearest->missing;
  file->path_only = nearest->path_only;
  file->made_from = SIZE_MAX;
}

int lv_newfile_begin(struct lv_newfile *file, struct lv_env *env,
                     const struct lv_folder *nearest, const char *folder,
                     const char *name, mode_t mode, bool named,
                     struct lvhd_error *err) {
  set_place(file, env, nearest, folder);
  file->name = name;
  if (!named && !needs_name(env, nearest->fd)) {
    int code = lv_unnamed_open(&file->fd, env, nearest, mode, err);
    if (code != 0 || file->fd >= 0)
      return code;
  }
  return begin_named(file, mode, err);
}

/* ---- 2 writing ------------------------------------------------------- */

/* ext4 looks for the place of each page as the page is written: to reserve a
 * whole piece before it is written takes a quarter off the time of both.
 * Only there: btrfs would not compress, NFS would ask its server. */
void lv_newfile_much(struct lv_newfile *file, bool flushed) {
  const struct lv_sys *sys = file->env->sys;
  struct statfs st;
  file->reserves = sys->fstatfs(sys, file->fd, &st) == 0 &&
                   st.f_type == EXT4_SUPER_MAGIC;
  file->sends = flushed;
}

/* What is to be written now, exactly: no hole is filled. */
static void reserve_ahead(struct lv_newfile *file, const struct iovec *iov,
                          int count, uint64_t offset) {
  const struct lv_sys *sys = file->env->sys;
  size_t n = 0;
  for (int i = 0; i < count; i++)
    n += iov[i].iov_len;
  if (n >= LONG_WRITE &&
      sys->fallocate(sys, file->fd, FALLOC_FL_KEEP_SIZE, (off_t)offset,
                     (off_t)n) != 0)
    file->reserves = false; /* the write tells whether anything is wrong */
}

/* The disk works meanwhile; what fails there fails the flush.  A little is
 * kept back, since what was written last may be written once more, and what
 * lies before it be under way. */
static void send_behind(struct lv_newfile *file, uint64_t end) {
  const struct lv_sys *sys = file->env->sys;
  uint64_t to = end - end % SEND;
  uint_fast64_t from = file->sent;
  if (to < from + 2 * SEND)
    return;
  to -= SEND;
  if (atomic_compare_exchange_strong(&file->sent, &from, to) &&
      sys->send(sys, file->fd, (off_t)from, (off_t)(to - from)) != 0)
    file->sends = false;
}

int lv_newfile_write(struct lv_newfile *file, struct iovec *iov, int count,
                     uint64_t offset, struct lvhd_error *err) {
  const struct lv_sys *sys = file->env->sys;
  if (file->reserves)
    reserve_ahead(file, iov, count, offset);
  while (count > 0) {
    ssize_t n = sys->pwritev(sys, file->fd, iov, count, (off_t)offset);
    int saved = n < 0 ? errno : EIO;
    if (n < 0 && saved == EINTR)
      continue;
    if (n <= 0)
      return lv_fail_errno(err, LV_STEP_CREATE, saved, "pwritev");
    offset += (uint64_t)n;
    while (count > 0 && (size_t)n >= iov->iov_len) {
      n -= (ssize_t)iov->iov_len;
      iov++;
      count--;
    }
    if (count > 0) {
      iov->iov_base = (char *)iov->iov_base + n;
      iov->iov_len -= (size_t)n;
    }
  }
  if (file->sends)
    send_behind(file, offset);
  return 0;
}

int lv_newfile_reserve(struct lv_newfile *file, uint64_t length,
                       struct lvhd_error *err) {
  const struct lv_sys *sys = file->env->sys;
  int saved = 0;
  do {
    if (sys->fallocate(sys, file->fd, 0, 0, (off_t)length) == 0)
      return 0;
    saved = errno;
  } while (saved == EINTR);
  if (saved == EOPNOTSUPP || saved == ENOSYS) {
    lv_fail(err, LVHD_E_NOTIMPL, LV_R_NO_RESERVE);
    if (err) {
      err->errnum = saved;
      err->syscall = "fallocate";
    }
    return LVHD_E_NOTIMPL;
  }
  return lv_fail_errno(err, LV_STEP_CREATE, saved, "fallocate");
}

int lv_newfile_extend(struct lv_newfile *file, uint64_t length,
                      struct lvhd_error *err) {
  const struct lv_sys *sys = file->env->sys;
  int saved = 0;
  do {
    if (sys->ftruncate(sys, file->fd, (off_t)length) == 0)
      return 0;
    saved = errno;
  } while (saved == EINTR);
  return lv_fail_errno(err, LV_STEP_CREATE, saved, "ftruncate");
}

bool lv_newfile_clone(struct lv_newfile *file, int from, uint64_t n) {
  const struct lv_sys *sys = file->env->sys;
  return sys->clone(sys, from, 0, (size_t)n, file->fd, 0) == 0;
}

int lv_newfile_chmod(struct lv_newfile *file, mode_t mode,
                     struct lvhd_error *err) {
  const struct lv_sys *sys = file->env->sys;
  if (sys->fchmod(sys, file->fd, mode) != 0)
    return lv_fail_errno(err, LV_STEP_CREATE, errno, "fchmod");
  return 0;
}

int lv_newfile_touch(struct lv_newfile *file, int64_t seconds,
                     struct lvhd_error *err) {
  const struct lv_sys *sys = file->env->sys;
  struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds}};
  if (sys->futimens(sys, file->fd, ts) != 0)
    return lv_fail_errno(err, LV_STEP_CREATE, errno, "futimens");
  return 0;
}

static int flush_fd(const struct lv_env *env, int fd,
                    struct lvhd_error *err) {
  /* EINTR may follow a flush that lost data: it is a failure like another. */
  if (env->sys->fsync(env->sys, fd) != 0)
    return lv_fail_errno(err, LV_STEP_CREATE, errno, "fsync");
  return 0;
}

int lv_newfile_flush(struct lv_newfile *file, struct lvhd_error *err) {
  return flush_fd(file->env, file->fd, err);
}

/* ---- 3 folders ------------------------------------------------------- */

/* What target holds; one that cannot be opened for flushing goes with its
 * whole volume. */
int lv_folder_flush(const struct lv_env *env, int folder, bool path_only,
                    int fd, struct lvhd_error *err) {
  if (!path_only)
    return flush_fd(env, folder, err);
  if (env->sys->syncfs(env->sys, fd) != 0)
    return lv_fail_errno(err, LV_STEP_CREATE, errno, "syncfs");
  return 0;
}

static int flush_folder(struct lv_newfile *file, struct lvhd_error *err) {
  return lv_folder_flush(file->env, file->target, file->path_only, file->fd,
                         err);
}

static void close_target(struct lv_newfile *file) {
  if (file->target >= 0 && !file->borrowed)
    file->env->sys->close(file->env->sys, file->target);
  file->target = -1;
  file->borrowed = false;
}

/* Opens, making it if it is missing, the component of the path that ends at
 * `end` and begins at `start`, in file->target; target becomes it.  GONE: it
 * went away again. */
static int step_down(struct lv_newfile *file, size_t start, size_t end,
                     struct lvhd_error *err) {
  const struct lv_sys *sys = file->env->sys;
  char name[NAME_MAX + 1];
  int next = -1;
  int code = 0;
  memcpy(name, file->folder + start, end - start);
  name[end - start] = '\0';
  if (sys->mkdirat(sys, file->target, name, 0777) == 0) {
    if (start < file->made_from)
      file->made_from = start;
    file->made_to = end;
  } else if (errno != EEXIST) {
    int saved = errno;
    return saved == ENOENT ? GONE
                           : lv_fail_errno(err, LV_STEP_CREATE, saved,
                                           "mkdirat");
  }
  if (file->full)
    code = flush_folder(file, err);
  if (code != 0)
    return code;
  next = lv_openat(sys, file->target, name,
                   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (next < 0) {
    int saved = errno;
    return saved == ENOENT ? GONE
                           : lv_fail_errno(err, LV_STEP_CREATE, saved,
                                           "openat");
  }
  close_target(file);
  file->target = next;
  file->path_only = false;
  return 0;
}

/* Opens file->folder as target, making what is missing; the folder it was
 * begun in where that is it.  GONE: a folder went away meanwhile. */
static int make_folders(struct lv_newfile *file, bool again,
                        struct lvhd_error *err) {
  struct lv_folder folder = LV_FOLDER_INIT;
  size_t at = 0;
  int code = 0;
  close_target(file);
  if (!file->missing && !again) {
    file->target = file->nearest;
    file->borrowed = true;
    return 0;
  }
  code = file->root ? lv_folder_under(&folder, file->env, file->root,
                                      file->folder, err)
                    : lv_folder_open(&folder, file->env, file->folder, err);
  if (code != 0)
    return code;
  file->target = folder.fd;
  file->path_only = folder.path_only;
  at = folder.exists;
  while (code == 0 && file->folder[at] != '\0') {
    size_t start = at + strspn(file->folder + at, "/");
    at = start + strcspn(file->folder + start, "/");
    if (at > start)
      code = step_down(file, start, at, err);
  }
  return code;
}

static bool remove_at(const struct lv_newfile *file, int dir,
                      const char *name) {
  const struct lv_sys *sys = file->env->sys;
  return sys->unlinkat(sys, dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

/* The same below a root, which no link may lead out of by now. */
static bool remove_below(const struct lv_newfile *file, const char *path) {
  struct lv_folder above = LV_FOLDER_INIT;
  char *folder = lv_path_folder(path);
  bool gone = folder && lv_folder_under(&above, file->env, file->root, folder,
                                        NULL) == 0;
  if (gone && !above.missing)
    gone = remove_at(file, above.fd, lv_path_name(path));
  lv_folder_close(&above, file->env);
  free(folder);
  return gone;
}

/* Removes the folders that we made, deepest first, as far as empty.  A root and
 * what lies below it may each be as long as a path. */
static void remove_folders(struct lv_newfile *file) {
  char path[2 * PATH_MAX];
  size_t n = file->made_to;
  if (file->made_from == SIZE_MAX || n >= sizeof path)
    return;
  memcpy(path, file->folder, n);
  path[n] = '\0';
  while (n > file->made_from &&
         (file->root ? remove_below(file, path)
                     : remove_at(file, AT_FDCWD, path))) {
    while (n > 0 && path[n - 1] != '/')
      n--;
    while (n > 1 && path[n - 1] == '/')
      n--;
    path[n] = '\0';
  }
  file->made_from = SIZE_MAX;
}

/* ---- 4 the name ------------------------------------------------------ */

/* Hard links or this flag are not to be had on this volume or kernel. */
static bool not_to_be_had(int errnum) {
  return errnum == EPERM || errnum == EOPNOTSUPP || errnum == ENOSYS ||
         errnum == EINVAL || errnum == EXDEV || errnum == EMLINK;
}

/* 0, or errno, of giving an unnamed file its name: by the descriptor alone,
 * which older kernels allow to few and then call ENOENT; else through /proc,
 * which costs more and need not be there. */
static int link_unnamed(struct lv_newfile *file) {
  const struct lv_sys *sys = file->env->sys;
  char proc[32];
  if (!atomic_load(&file->env->no_empty_path)) {
    if (sys->linkat(sys, file->fd, "", file->target, file->name,
                    AT_EMPTY_PATH) == 0)
      return 0;
    if (errno != ENOENT && errno != EPERM && errno != EINVAL)
      return errno;
  }
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", file->fd);
  if (sys->linkat(sys, AT_FDCWD, proc, file->target, file->name,
                  AT_SYMLINK_FOLLOW) != 0)
    return errno;
  atomic_store(&file->env->no_empty_path, true);
  return 0;
}

/* 0, or errno, of moving a temporary to its name without replacing; *call is
 * the one that failed. */
static int link_named(struct lv_newfile *file, const char **call) {
  const struct lv_sys *sys = file->env->sys;
  *call = "renameat2";
  if (sys->renameat2(sys, file->nearest, file->temp, file->target,
                     file->name, RENAME_NOREPLACE) == 0) {
    file->temp[0] = '\0';
    return 0;
  }
  if (!not_to_be_had(errno))
    return errno;
  *call = "linkat";
  if (sys->linkat(sys, file->nearest, file->temp, file->target, file->name,
                  0) != 0)
    return errno;
  /* Two names now; one of them hidden. A failure leaves it to abandon. */
  if (sys->unlinkat(sys, file->nearest, file->temp, 0) == 0)
    file->temp[0] = '\0';
  return 0;
}

/* What a failed naming means: an error, GONE or LV_AGAIN_NAMED. */
static int link_failed(struct lv_newfile *file, int errnum,
                       const char *syscall, struct lvhd_error *err) {
  const struct lv_folder target = {.fd = file->target};
  bool named = file->temp[0] != '\0';
  if (errnum == ENOENT && lv_folder_gone(&target, file->env))
    return GONE;
  if (!named && (errnum == ENOENT || not_to_be_had(errnum))) {
    if (errnum != ENOENT)
      remember_name(file);
    return LV_AGAIN_NAMED;
  }
  if (named && not_to_be_had(errnum)) {
    lv_fail(err, LVHD_DISP_E_EXCEPTION, LV_R_NO_PUBLISH);
    if (err) {
      err->errnum = errnum;
      err->syscall = syscall;
    }
    return LVHD_DISP_E_EXCEPTION;
  }
  return lv_fail_errno(err, LV_STEP_CREATE, errnum, syscall);
}

int lv_newfile_link(struct lv_newfile *file, bool full,
                    struct lvhd_error *err) {
  int code = 0;
  file->full = full;
  for (int i = 0; i < LINK_TRIES; i++) {
    code = make_folders(file, i > 0, err);
    if (code == 0) {
      const char *call = "linkat";
      int errnum =
        file->temp[0] ? link_named(file, &call) : link_unnamed(file);
      if (errnum == 0) {
        file->linked = true;
        return 0;
      }
      code = link_failed(file, errnum, call, err);
    }
    if (code != GONE)
      return code;
  }
  return lv_fail_errno(err, LV_STEP_CREATE, ENOENT, "linkat");
}

/* ---- 5 many at once -------------------------------------------------- */

int lv_newfile_folders(struct lv_newfile *folders, struct lv_env *env,
                       const struct lv_folder *nearest, const char *folder,
                       struct lvhd_error *err) {
  int code = 0;
  set_place(folders, env, nearest, folder);
  for (int i = 0; i < LINK_TRIES; i++) {
    code = make_folders(folders, i > 0, err);
    if (code != GONE)
      return code;
  }
  return LV_AGAIN_GONE;
}

void lv_newfile_keep_folders(struct lv_newfile *folders) {
  folders->made_from = SIZE_MAX;
}

int lv_newfile_link_in(struct lv_newfile *file, int target,
                       struct lvhd_error *err) {
  const char *call = "linkat";
  int errnum = 0, code = 0;
  file->target = target;
  file->borrowed = true;
  errnum = file->temp[0] ? link_named(file, &call) : link_unnamed(file);
  if (errnum == 0) {
    file->linked = true;
    return 0;
  }
  code = link_failed(file, errnum, call, err);
  return code == GONE ? LV_AGAIN_GONE : code;
}

void lv_newfile_start(const struct lv_newfile *file) {
  (void)file->env->sys->sync_file_range(file->env->sys, file->fd, 0, 0,
                                        SYNC_FILE_RANGE_WRITE);
}

/* ---- 6 the end ------------------------------------------------------- */

/* Takes the final name away, if it still names our inode. */
static void unlink_ours(struct lv_newfile *file, const struct stat *ours) {
  const struct lv_sys *sys = file->env->sys;
  struct stat st;
  if (file->linked &&
      sys->fstatat(sys, file->target, file->name, &st,
                   AT_SYMLINK_NOFOLLOW) == 0 &&
      st.st_dev == ours->st_dev && st.st_ino == ours->st_ino)
    sys->unlinkat(sys, file->target, file->name, 0);
  file->linked = false;
}

int lv_newfile_settle(struct lv_newfile *file, struct lvhd_error *err) {
  const struct lv_sys *sys = file->env->sys;
  struct stat ours;
  int code = file->full ? flush_folder(file, err) : 0;
  if (code != 0)
    return code;
  /* Known before the close, which may tell of writes that failed late. */
  if (sys->fstat(sys, file->fd, &ours) != 0)
    return lv_fail_errno(err, LV_STEP_CREATE, errno, "fstat");
  file->mtime = (int64_t)ours.st_mtim.tv_sec;
  if (sys->close(sys, file->fd) != 0 && errno != EINTR) {
    code = lv_fail_errno(err, LV_STEP_CREATE, errno, "close");
    file->fd = -1;
    unlink_ours(file, &ours);
    return code;
  }
  file->fd = -1;
  file->linked = false; /* no longer ours to take away */
  file->made_from = SIZE_MAX;
  close_target(file);
  return 0;
}

void lv_newfile_abandon(struct lv_newfile *file) {
  const struct lv_sys *sys = NULL;
  struct stat ours;
  if (file->env == NULL)
    return;
  sys = file->env->sys;
  if (file->linked && file->fd >= 0 &&
      sys->fstat(sys, file->fd, &ours) == 0)
    unlink_ours(file, &ours);
  if (file->temp[0] != '\0')
    sys->unlinkat(sys, file->nearest, file->temp, 0);
  file->temp[0] = '\0';
  if (file->fd >= 0)
    sys->close(sys, file->fd);
  file->fd = -1;
  remove_folders(file);
  close_target(file);
}
