/* SPDX-License-Identifier: MIT
 *
 * crashtest: the test-only Lua module that remembers every call which changes
 * a disk, with its bytes, so that spec/support/powerloss.lua can build what a
 * loss of power would have left.  A recorder is a table of system calls
 * (src/io/sys.h) laid over another one: each entry makes the other's call and
 * writes down what it changed.  It must not know the engine: only the header
 * of the table.  What may be lost is not known here either.
 *
 *   local rec = crashtest.recorder(system:pointer())
 *   local engine = lvhd.engine{ system = rec:pointer() }
 *   rec:record(true)      ...      rec:record(false)
 *   for i, event in ipairs(rec:events()) do ... end
 *   rec:apply(path, { 3, 0, -1, 5, 512, 1024 })
 *
 * Contents: events / files / the calls that change / the others / Lua
 */
#include <dirent.h>
#include <errno.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#include "io/sys.h"
#include "proc.h"

/* ---- events ----------------------------------------------------------- */

enum op {
  OP_WRITE,    /* file, offset, length, data, mtime */
  OP_ZERO,     /* file, offset, length, mtime; the file becomes no longer */
  OP_TRUNCATE, /* file, length, mtime */
  OP_TOUCH,    /* file, mtime */
  OP_MODE,     /* file, length: the permissions */
  OP_NAME,     /* file, path: it has that name now */
  OP_RENAME,   /* file, path, to */
  OP_UNNAME,   /* path */
  OP_MKDIR,    /* path */
  OP_RMDIR,    /* path */
  OP_SYNC,     /* file: all of it is durable */
  OP_DATASYNC, /* file: its bytes and length are, not its times */
  OP_FOLDER,   /* path: the names in that folder are durable */
  OP_SYNCFS,   /* everything is durable */
  OP_MARK,     /* path: what the test said */
  OP_OTHER     /* path: a call that the model does not have */
};

static const char *const op_names[] = {
    "write",  "zero",  "truncate", "touch", "mode",     "name",   "rename",
    "unname", "mkdir", "rmdir",    "sync",  "datasync", "folder", "syncfs",
    "mark",   "other"};

struct event {
  enum op op;
  int file; /* number; 0: none */
  int64_t offset, length;
  int64_t mtime; /* of the file afterwards, in nanoseconds */
  char path[512], to[512];
  unsigned char *data; /* owned */
};

/* A file is what had this inode when it was first seen; an inode that comes
 * back is another file. */
struct file {
  dev_t dev;
  ino_t ino;
  char path[512]; /* when it was first seen; "": it had no name */
};
#define FILES 256

struct recorder {
  struct lv_sys sys; /* first: an entry finds the rest behind it */
  const struct lv_sys *inner;
  pthread_mutex_t lock; /* recursive: held over a call and what it writes down */
  bool on;
  bool lost; /* out of memory or room: the record is worth nothing */
  bool pretends; /* an idle machine's ext4 that shares bytes of files */
  uint64_t changes, die_at;
  struct event *events;
  size_t used, room;
  struct file files[FILES];
  int file_count;
  struct recorder *next;
};

/* Recorders live as long as the process, as the tables of lvhdtest do. */
static struct recorder *all_recorders;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

static struct recorder *recorder_of(const struct lv_sys *sys) {
  union {
    const struct lv_sys *in;
    struct recorder *out;
  } cast = {sys};
  return cast.out;
}

/* A new event, or NULL while nothing is recorded. */
static struct event *note(struct recorder *r, enum op op, int file) {
  struct event *e;
  if (!r->on)
    return NULL;
  if (r->used == r->room) {
    size_t room = r->room == 0 ? 64 : r->room * 2;
    struct event *more = realloc(r->events, room * sizeof *more);
    if (more == NULL) {
      r->lost = true;
      return NULL;
    }
    r->events = more;
    r->room = room;
  }
  e = &r->events[r->used++];
  memset(e, 0, sizeof *e);
  e->op = op;
  e->file = file;
  return e;
}

static void note_path(struct recorder *r, enum op op, int file,
                      const char *path, const char *to) {
  struct event *e = note(r, op, file);
  if (e == NULL)
    return;
  snprintf(e->path, sizeof e->path, "%s", path);
  snprintf(e->to, sizeof e->to, "%s", to);
}

/* Before a call that changes something: the moment to die, if it is. */
static void about_to_change(struct recorder *r) {
  r->changes++;
  if (r->changes == r->die_at)
    kill(getpid(), SIGKILL);
}

/* ---- files ------------------------------------------------------------ */

static void fd_path(char *out, size_t size, int fd) {
  char name[32], link[160];
  ssize_t n;
  snprintf(name, sizeof name, "self/fd/%d", fd);
  n = readlink(proc_path(link, name), out, size - 1);
  out[n < 0 ? 0 : n] = '\0';
}

/* The whole path of a name in a folder. */
static void full_path(char *out, size_t size, int dir, const char *name) {
  char folder[256];
  if (name[0] == '/') {
    snprintf(out, size, "%s", name);
    return;
  }
  if (dir == AT_FDCWD) {
    if (getcwd(folder, sizeof folder) == NULL)
      folder[0] = '\0';
  } else {
    fd_path(folder, sizeof folder, dir);
  }
  snprintf(out, size, "%s/%s", folder, name);
}

static int add_file(struct recorder *r, const struct stat *st,
                    const char *path) {
  struct file *f;
  if (r->file_count == FILES) {
    r->lost = true;
    return 0;
  }
  f = &r->files[r->file_count++];
  f->dev = st->st_dev;
  f->ino = st->st_ino;
  snprintf(f->path, sizeof f->path, "%s", path);
  return r->file_count;
}

static int file_by_stat(struct recorder *r, const struct stat *st,
                        const char *path) {
  for (int i = r->file_count; i > 0; i--)
    if (r->files[i - 1].dev == st->st_dev && r->files[i - 1].ino == st->st_ino)
      return i;
  return add_file(r, st, path);
}

static int file_of(struct recorder *r, int fd) {
  struct stat st;
  char path[512];
  if (!r->on || fstat(fd, &st) != 0)
    return 0;
  fd_path(path, sizeof path, fd);
  return file_by_stat(r, &st, path);
}

static int file_at(struct recorder *r, const char *path) {
  struct stat st;
  return r->on && lstat(path, &st) == 0 ? file_by_stat(r, &st, path) : 0;
}

/* The event is a change of the file behind fd. */
static struct event *note_change(struct recorder *r, enum op op, int fd,
                                 int64_t offset, int64_t length) {
  struct event *e = note(r, op, file_of(r, fd));
  struct stat st;
  if (e == NULL)
    return NULL;
  e->offset = offset;
  e->length = length;
  if (fstat(fd, &st) == 0)
    e->mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
  return e;
}

/* ---- the calls that change -------------------------------------------- */

#define BEGIN                                                                 \
  struct recorder *r = recorder_of(sys);                                      \
  int saved;                                                                  \
  pthread_mutex_lock(&r->lock)
#define END                                                                   \
  errno = saved;                                                              \
  pthread_mutex_unlock(&r->lock)

/* A file that the call made is a new one, whatever inode it got. */
static void note_opened(struct recorder *r, int fd, int dir, const char *path,
                        int flags, bool existed) {
  struct stat st;
  char full[512];
  if (!r->on || existed || fstat(fd, &st) != 0)
    return;
  if ((flags & O_TMPFILE) == O_TMPFILE) {
    add_file(r, &st, "");
  } else if ((flags & O_CREAT) != 0) {
    full_path(full, sizeof full, dir, path);
    note_path(r, OP_NAME, add_file(r, &st, ""), full, "");
  }
}

/* What /proc/meminfo is on a machine where nothing waits to be written. */
static int open_idle(void) {
  static const char text[] = "\nDirty: 0 kB\nWriteback: 0 kB\n";
  int fd = memfd_create("idle", MFD_CLOEXEC);
  if (fd >= 0 && write(fd, text, sizeof text - 1) < 0) {
    close(fd);
    fd = -1;
  }
  return fd;
}

static int r_openat(const struct lv_sys *sys, int dir, const char *path,
                    int flags, mode_t mode) {
  struct stat st;
  bool existed, makes = (flags & O_CREAT) != 0;
  int fd;
  BEGIN;
  if (r->pretends && strcmp(path, "/proc/meminfo") == 0) {
    fd = open_idle();
    saved = errno;
    END;
    return fd;
  }
  if (makes)
    about_to_change(r);
  existed = makes && fstatat(dir, path, &st, 0) == 0;
  fd = r->inner->openat(r->inner, dir, path, flags, mode);
  saved = errno;
  if (fd >= 0)
    note_opened(r, fd, dir, path, flags, existed);
  if (fd >= 0 && (flags & O_TRUNC) != 0)
    note_path(r, OP_OTHER, 0, "openat with O_TRUNC", "");
  END;
  return fd;
}

/* The bytes as they came in, or as they stand in the file now (iov NULL). */
static void note_data(struct recorder *r, int fd, const struct iovec *iov,
                      off_t offset, size_t n) {
  struct event *e = note_change(r, OP_WRITE, fd, offset, (int64_t)n);
  size_t at = 0;
  if (e == NULL)
    return;
  e->data = malloc(n + 1);
  if (e->data == NULL) {
    r->lost = true;
    return;
  }
  for (; iov != NULL && at < n; iov++) {
    size_t piece = iov->iov_len < n - at ? iov->iov_len : n - at;
    memcpy(e->data + at, iov->iov_base, piece);
    at += piece;
  }
  if (iov == NULL && pread(fd, e->data, n, offset) != (ssize_t)n)
    r->lost = true;
}

static ssize_t r_pwritev(const struct lv_sys *sys, int fd,
                         const struct iovec *iov, int count, off_t offset) {
  ssize_t n;
  BEGIN;
  about_to_change(r);
  n = r->inner->pwritev(r->inner, fd, iov, count, offset);
  saved = errno;
  if (n > 0)
    note_data(r, fd, iov, offset, (size_t)n);
  END;
  return n;
}

static ssize_t r_copy(const struct lv_sys *sys, int from, off_t from_at,
                      int to, off_t to_at, size_t n) {
  ssize_t got;
  BEGIN;
  about_to_change(r);
  got = r->inner->copy(r->inner, from, from_at, to, to_at, n);
  saved = errno;
  if (got > 0)
    note_data(r, to, NULL, to_at, (size_t)got);
  END;
  return got;
}

/* Bytes that are copied stand for those that would be shared. */
static int copy_all(struct recorder *r, int from, off_t from_at, size_t n,
                    int to, off_t to_at) {
  while (n > 0) {
    ssize_t got = r->inner->copy(r->inner, from, from_at, to, to_at, n);
    if (got <= 0)
      return -1;
    from_at += got;
    to_at += got;
    n -= (size_t)got;
  }
  return 0;
}

static int r_clone(const struct lv_sys *sys, int from, off_t from_at,
                   size_t n, int to, off_t to_at) {
  int rc;
  BEGIN;
  about_to_change(r);
  rc = r->pretends
         ? copy_all(r, from, from_at, n, to, to_at)
         : r->inner->clone(r->inner, from, from_at, n, to, to_at);
  saved = errno;
  if (rc == 0)
    note_data(r, to, NULL, to_at, n);
  END;
  return rc;
}

static int r_ftruncate(const struct lv_sys *sys, int fd, off_t length) {
  int rc;
  BEGIN;
  about_to_change(r);
  rc = r->inner->ftruncate(r->inner, fd, length);
  saved = errno;
  if (rc == 0)
    note_change(r, OP_TRUNCATE, fd, 0, length);
  END;
  return rc;
}

static void note_allocated(struct recorder *r, int fd, int mode, off_t offset,
                           off_t length) {
  struct stat st;
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0)
    note_change(r, OP_ZERO, fd, offset, length);
  else if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0)
    note_path(r, OP_OTHER, 0, "fallocate of another mode", "");
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && fstat(fd, &st) == 0)
    note_change(r, OP_TRUNCATE, fd, 0, st.st_size);
}

static int r_fallocate(const struct lv_sys *sys, int fd, int mode,
                       off_t offset, off_t length) {
  int rc;
  BEGIN;
  about_to_change(r);
  rc = r->inner->fallocate(r->inner, fd, mode, offset, length);
  saved = errno;
  if (rc == 0)
    note_allocated(r, fd, mode, offset, length);
  END;
  return rc;
}

static void note_flushed(struct recorder *r, enum op op, int fd) {
  struct stat st;
  char path[512];
  if (fstat(fd, &st) != 0)
    return;
  fd_path(path, sizeof path, fd);
  if (S_ISDIR(st.st_mode))
    note_path(r, OP_FOLDER, 0, path, "");
  else
    note(r, op, file_of(r, fd));
}

static int r_fsync(const struct lv_sys *sys, int fd) {
  int rc;
  BEGIN;
  about_to_change(r);
  rc = r->inner->fsync(r->inner, fd);
  saved = errno;
  if (rc == 0)
    note_flushed(r, OP_SYNC, fd);
  END;
  return rc;
}

static int r_fdatasync(const struct lv_sys *sys, int fd) {
  int rc;
  BEGIN;
  about_to_change(r);
  rc = r->inner->fdatasync(r->inner, fd);
  saved = errno;
  if (rc == 0)
    note_flushed(r, OP_DATASYNC, fd);
  END;
  return rc;
}

static int r_syncfs(const struct lv_sys *sys, int fd) {
  int rc;
  BEGIN;
  about_to_change(r);
  rc = r->inner->syncfs(r->inner, fd);
  saved = errno;
  if (rc == 0)
    note(r, OP_SYNCFS, 0);
  END;
  return rc;
}

static int r_futimens(const struct lv_sys *sys, int fd,
                      const struct timespec ts[2]) {
  int rc;
  BEGIN;
  about_to_change(r);
  rc = r->inner->futimens(r->inner, fd, ts);
  saved = errno;
  if (rc == 0)
    note_change(r, OP_TOUCH, fd, 0, 0);
  END;
  return rc;
}

static int r_fchmod(const struct lv_sys *sys, int fd, mode_t mode) {
  int rc;
  BEGIN;
  about_to_change(r);
  rc = r->inner->fchmod(r->inner, fd, mode);
  saved = errno;
  if (rc == 0)
    note_change(r, OP_MODE, fd, 0, (int64_t)mode);
  END;
  return rc;
}

static int r_linkat(const struct lv_sys *sys, int from_dir, const char *from,
                    int to_dir, const char *to, int flags) {
  char full[512];
  int rc;
  BEGIN;
  about_to_change(r);
  rc = r->inner->linkat(r->inner, from_dir, from, to_dir, to, flags);
  saved = errno;
  if (rc == 0) {
    full_path(full, sizeof full, to_dir, to);
    note_path(r, OP_NAME, file_at(r, full), full, "");
  }
  END;
  return rc;
}

static int r_renameat2(const struct lv_sys *sys, int from_dir,
                       const char *from, int to_dir, const char *to,
                       unsigned flags) {
  char old[512], new[512];
  int rc;
  BEGIN;
  about_to_change(r);
  rc = r->inner->renameat2(r->inner, from_dir, from, to_dir, to, flags);
  saved = errno;
  if (rc == 0) {
    full_path(old, sizeof old, from_dir, from);
    full_path(new, sizeof new, to_dir, to);
    note_path(r, OP_RENAME, file_at(r, new), old, new);
  }
  END;
  return rc;
}

static int r_unlinkat(const struct lv_sys *sys, int dir, const char *path,
                      int flags) {
  char full[512];
  int rc;
  BEGIN;
  about_to_change(r);
  full_path(full, sizeof full, dir, path);
  rc = r->inner->unlinkat(r->inner, dir, path, flags);
  saved = errno;
  if (rc == 0)
    note_path(r, (flags & AT_REMOVEDIR) != 0 ? OP_RMDIR : OP_UNNAME, 0, full,
              "");
  END;
  return rc;
}

static int r_mkdirat(const struct lv_sys *sys, int dir, const char *path,
                     mode_t mode) {
  char full[512];
  int rc;
  BEGIN;
  about_to_change(r);
  full_path(full, sizeof full, dir, path);
  rc = r->inner->mkdirat(r->inner, dir, path, mode);
  saved = errno;
  if (rc == 0)
    note_path(r, OP_MKDIR, 0, full, "");
  END;
  return rc;
}

/* ---- the others ------------------------------------------------------- */

#define INNER recorder_of(sys)->inner
#define PASS(type, name, params, ...)                                         \
  static type r_##name params {                                               \
    return INNER->name(INNER, __VA_ARGS__);                                   \
  }

PASS(int, openat2, (const struct lv_sys *sys, int dir, const char *path,
                    int flags, uint64_t resolve), dir, path, flags, resolve)
PASS(int, sync_file_range,
     (const struct lv_sys *sys, int fd, off_t offset, off_t n,
      unsigned flags), fd, offset, n, flags)
PASS(int, dupfd, (const struct lv_sys *sys, int fd, int least), fd, least)
PASS(int, close, (const struct lv_sys *sys, int fd), fd)
PASS(int, fstat, (const struct lv_sys *sys, int fd, struct stat *st), fd, st)
PASS(int, fstatat, (const struct lv_sys *sys, int dir, const char *path,
                    struct stat *st, int flags), dir, path, st, flags)
PASS(ssize_t, readlinkat, (const struct lv_sys *sys, int dir,
                           const char *path, char *buf, size_t n), dir, path,
     buf, n)
PASS(char *, realpath, (const struct lv_sys *sys, const char *path,
                        char *buf), path, buf)
PASS(ssize_t, pread, (const struct lv_sys *sys, int fd, void *buf, size_t n,
                      off_t offset), fd, buf, n, offset)
PASS(ssize_t, getdents, (const struct lv_sys *sys, int fd, void *buf,
                         size_t n), fd, buf, n)
PASS(off_t, lseek, (const struct lv_sys *sys, int fd, off_t offset,
                    int whence), fd, offset, whence)
PASS(int, getlk, (const struct lv_sys *sys, int fd, struct flock *lock), fd,
     lock)
PASS(int, setlk, (const struct lv_sys *sys, int fd, struct flock *lock), fd,
     lock)
PASS(int, send, (const struct lv_sys *sys, int fd, off_t offset,
                 off_t length), fd, offset, length)
PASS(int, getrlimit, (const struct lv_sys *sys, int what,
                      struct rlimit *limit), what, limit)
PASS(ssize_t, getrandom, (const struct lv_sys *sys, void *buf, size_t n,
                          unsigned flags), buf, n, flags)

static int r_fstatfs(const struct lv_sys *sys, int fd, struct statfs *st) {
  int rc = INNER->fstatfs(INNER, fd, st);
  if (rc == 0 && recorder_of(sys)->pretends)
    st->f_type = EXT4_SUPER_MAGIC;
  return rc;
}

static int64_t r_monotonic(const struct lv_sys *sys) {
  return INNER->monotonic(INNER);
}

static int64_t r_now(const struct lv_sys *sys) {
  return INNER->now(INNER);
}

#define ENTRY(name) .name = r_##name
static const struct lv_sys all_calls = {
    ENTRY(openat),    ENTRY(openat2),   ENTRY(dupfd),     ENTRY(close),
    ENTRY(fstat),     ENTRY(fstatat),   ENTRY(fstatfs),   ENTRY(readlinkat),
    ENTRY(realpath),  ENTRY(pread),     ENTRY(pwritev),   ENTRY(copy),
    ENTRY(clone),     ENTRY(getdents),  ENTRY(lseek),     ENTRY(ftruncate),
    ENTRY(fallocate), ENTRY(send),      ENTRY(fsync),     ENTRY(syncfs),
    ENTRY(fdatasync), ENTRY(sync_file_range),
    ENTRY(getlk),     ENTRY(setlk),     ENTRY(futimens),  ENTRY(fchmod),
    ENTRY(linkat),    ENTRY(renameat2), ENTRY(unlinkat),  ENTRY(mkdirat),
    ENTRY(getrlimit), ENTRY(getrandom), ENTRY(monotonic), ENTRY(now)};

/* ---- Lua -------------------------------------------------------------- */

#define RECORDER "crashtest.recorder"

static struct recorder *check(lua_State *L) {
  struct recorder **box = luaL_checkudata(L, 1, RECORDER);
  return *box;
}

static void init_lock(pthread_mutex_t *lock) {
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(lock, &attr);
  pthread_mutexattr_destroy(&attr);
}

/* recorder([pointer of another table]) -> a recorder over it. */
static int l_recorder(lua_State *L) {
  struct recorder **box = lua_newuserdatauv(L, sizeof *box, 0);
  struct recorder *r = calloc(1, sizeof *r);
  if (r == NULL)
    return luaL_error(L, "no memory");
  memcpy(&r->sys, &all_calls, sizeof r->sys);
  r->inner = lua_islightuserdata(L, 1) ? lua_touserdata(L, 1) : &lv_sys_real;
  init_lock(&r->lock);
  pthread_mutex_lock(&all_lock);
  r->next = all_recorders;
  all_recorders = r;
  pthread_mutex_unlock(&all_lock);
  *box = r;
  luaL_setmetatable(L, RECORDER);
  return 1;
}

/* rec:pointer() -> light userdata for lvhd.engine{ system = }. */
static int l_pointer(lua_State *L) {
  lua_pushlightuserdata(L, &check(L)->sys);
  return 1;
}

/* rec:record(boolean) */
static int l_record(lua_State *L) {
  struct recorder *r = check(L);
  pthread_mutex_lock(&r->lock);
  r->on = lua_toboolean(L, 2);
  pthread_mutex_unlock(&r->lock);
  return 0;
}

/* rec:pretend(): from now on the volume says that it is ext4, shares bytes
 * between files, and nobody else writes; see io/flush.c. */
static int l_pretend(lua_State *L) {
  check(L)->pretends = true;
  return 0;
}

/* rec:die(n): the process kills itself (SIGKILL) just before the n-th call
 * from now on that changes something. */
static int l_die(lua_State *L) {
  struct recorder *r = check(L);
  uint64_t n = (uint64_t)luaL_checkinteger(L, 2);
  pthread_mutex_lock(&r->lock);
  r->changes = 0;
  r->die_at = n;
  pthread_mutex_unlock(&r->lock);
  return 0;
}

/* rec:changes() -> calls that change something, made since the last die. */
static int l_changes(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check(L)->changes);
  return 1;
}

/* rec:mark(text): an event of the test's own. */
static int l_mark(lua_State *L) {
  struct recorder *r = check(L);
  const char *text = luaL_checkstring(L, 2);
  pthread_mutex_lock(&r->lock);
  note_path(r, OP_MARK, 0, text, "");
  pthread_mutex_unlock(&r->lock);
  return 0;
}

static void forget(struct recorder *r) {
  for (size_t i = 0; i < r->used; i++)
    free(r->events[i].data);
  free(r->events);
  r->events = NULL;
  r->used = r->room = 0;
  r->file_count = 0;
  r->lost = false;
}

/* rec:forget(): what was recorded is gone. */
static int l_forget(lua_State *L) {
  struct recorder *r = check(L);
  pthread_mutex_lock(&r->lock);
  forget(r);
  pthread_mutex_unlock(&r->lock);
  return 0;
}

static void set_number(lua_State *L, const char *key, int64_t n) {
  lua_pushinteger(L, n);
  lua_setfield(L, -2, key);
}

static void set_text(lua_State *L, const char *key, const char *text) {
  if (text[0] == '\0')
    return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, key);
}

static void push_event(lua_State *L, const struct event *e) {
  lua_createtable(L, 0, 8);
  set_text(L, "op", op_names[e->op]);
  set_number(L, "file", e->file);
  set_number(L, "offset", e->offset);
  set_number(L, "length", e->length);
  set_number(L, "mtime", e->mtime);
  set_text(L, "path", e->path);
  set_text(L, "to", e->to);
}

/* rec:events() -> list of { op, file, offset, length, mtime, path, to }, and a list of the paths that the files had when they were first
 * seen ("" for those that were made).  Only while nothing is recorded. */
static int l_events(lua_State *L) {
  struct recorder *r = check(L);
  if (r->on || r->lost)
    return luaL_error(L, r->on ? "still recording" : "the record is not whole");
  lua_createtable(L, (int)r->used, 0);
  for (size_t i = 0; i < r->used; i++) {
    push_event(L, &r->events[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_createtable(L, r->file_count, 0);
  for (int i = 0; i < r->file_count; i++) {
    lua_pushstring(L, r->files[i].path);
    lua_rawseti(L, -2, i + 1);
  }
  return 2;
}

static bool put(int fd, const unsigned char *data, int64_t n, int64_t offset) {
  static const unsigned char zeros[1 << 16];
  while (n > 0) {
    size_t piece = data == NULL && n > (int64_t)sizeof zeros ? sizeof zeros
                                                             : (size_t)n;
    ssize_t got = pwrite(fd, data == NULL ? zeros : data, piece, offset);
    if (got <= 0)
      return false;
    data = data == NULL ? NULL : data + got;
    n -= got;
    offset += got;
  }
  return true;
}

/* A hole of the record never makes a file longer. */
static bool put_zeros(int fd, const struct event *e) {
  struct stat st;
  int64_t end = e->offset + e->length;
  if (fstat(fd, &st) != 0)
    return false;
  end = end > st.st_size ? st.st_size : end;
  return end <= e->offset || put(fd, NULL, end - e->offset, e->offset);
}

/* The part [skip, skip + take) of one event; take < 0: all of it. */
static bool apply(int fd, const struct event *e, int64_t skip, int64_t take) {
  if (e->op == OP_TRUNCATE)
    return ftruncate(fd, e->length) == 0;
  if (e->op == OP_ZERO)
    return put_zeros(fd, e);
  if (e->op != OP_WRITE || skip > e->length)
    return false;
  if (take < 0 || take > e->length - skip)
    take = e->length - skip;
  return put(fd, e->data + skip, take, e->offset + skip);
}

static lua_Integer item(lua_State *L, lua_Integer i) {
  lua_Integer n;
  lua_rawgeti(L, 3, i);
  n = luaL_checkinteger(L, -1);
  lua_pop(L, 1);
  return n;
}

/* rec:apply(path, { event, skip, take, ... }): makes those parts of the
 * events happen to the file at path, in that order. */
static int l_apply(lua_State *L) {
  struct recorder *r = check(L);
  const char *path = luaL_checkstring(L, 2);
  lua_Integer n;
  bool ok = true;
  int fd;
  luaL_checktype(L, 3, LUA_TTABLE);
  n = (lua_Integer)lua_rawlen(L, 3);
  fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0)
    return luaL_error(L, "%s: %s", path, strerror(errno));
  for (lua_Integer i = 1; i + 2 <= n && ok; i += 3) {
    lua_Integer which = item(L, i);
    ok = which >= 1 && (size_t)which <= r->used &&
         apply(fd, &r->events[which - 1], item(L, i + 1), item(L, i + 2));
  }
  close(fd);
  return ok ? 0 : luaL_error(L, "%s: an event cannot be applied", path);
}

static const luaL_Reg methods[] = {
    {"pointer", l_pointer}, {"record", l_record}, {"die", l_die},
    {"changes", l_changes}, {"mark", l_mark},     {"forget", l_forget},
    {"events", l_events},   {"apply", l_apply},   {"pretend", l_pretend},
    {NULL, NULL}};

/* list(folder) -> the names in it, hidden ones too, in no order. */
static int l_list(lua_State *L) {
  DIR *dir = opendir(luaL_checkstring(L, 1));
  struct dirent *entry;
  lua_Integer n = 0;
  if (dir == NULL)
    return luaL_error(L, "%s: %s", lua_tostring(L, 1), strerror(errno));
  lua_newtable(L);
  while ((entry = readdir(dir)) != NULL)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
      lua_pushstring(L, entry->d_name);
      lua_rawseti(L, -2, ++n);
    }
  closedir(dir);
  return 1;
}

static const luaL_Reg functions[] = {
    {"recorder", l_recorder}, {"list", l_list}, {NULL, NULL}};

__attribute__((visibility("default"))) int luaopen_crashtest(lua_State *L);

int luaopen_crashtest(lua_State *L) {
  luaL_newmetatable(L, RECORDER);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
