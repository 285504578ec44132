/* SPDX-License-Identifier: MIT
 *
 * lvhdtest: the test-only Lua module behind the specs of trouble.  It builds
 * tables of system calls (src/io/sys.h) whose entries are the real calls,
 * except where a rule makes one fail, fall short or wait, and offers the few
 * calls that Lua lacks: fork, kill, stat, locks, limits.  It must not know
 * the engine: only the header of the table.
 *
 * A table is used as
 *
 *   local system = lvhdtest.system()
 *   local engine = lvhd.engine{ system = system:pointer() }
 *   system:fail{ call = "fsync", errno = "EIO" }
 *
 * Contents: state of a table / rules / the log / the calls / Lua: tables /
 * Lua: processes / Lua: files
 */
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <linux/fs.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#include "io/sys.h"
#include "proc.h"

/* ---- state of a table ------------------------------------------------- */

/* The names of the entries, in the order of struct lv_sys. */
#define CALLS(X)                                                              \
  X(openat) X(openat2) X(dupfd) X(close) X(fstat) X(fstatat) X(fstatfs)       \
  X(readlinkat) X(realpath)                                                     \
  X(pread) X(pwritev) X(copy) X(clone) X(getdents) X(lseek) X(ftruncate)      \
  X(fallocate) X(send) X(fsync) X(syncfs) X(fdatasync) X(sync_file_range)     \
  X(getlk) X(setlk) X(futimens) X(fchmod) X(linkat) X(renameat2) X(unlinkat)  \
  X(mkdirat) X(getrlimit) X(getrandom) X(monotonic) X(now)

#define CALL_ENUM(name) CALL_##name,
enum which { CALLS(CALL_ENUM) CALL_COUNT };
#define CALL_ANY CALL_COUNT /* in a rule: every entry that can fail */

#define CALL_NAME(name) #name,
static const char *const call_names[] = {CALLS(CALL_NAME) "any", NULL};

/* One call as it came in; -1, 0 or NULL where it has no such argument. */
struct call {
  enum which which;
  int fd;           /* the descriptor, or the folder of a path */
  const char *path; /* the name given */
  const char *to;   /* the second name (linkat, renameat2) */
  int64_t offset, length;
  unsigned flags;
};

enum action {
  ACT_FAIL,
  ACT_SHORT,
  ACT_HOLD,
  ACT_RMDIR,
  ACT_SWAP,
  ACT_FILL
};
enum kind { KIND_ANY, KIND_FILE, KIND_FOLDER };

/* A rule applies to the calls number skip+1 ... skip+times that match. */
struct rule {
  int id; /* 0: unused */
  enum action action;
  enum which which;
  enum kind kind;  /* what the descriptor is */
  unsigned flags;  /* bits that must all be set */
  char path[128];  /* must occur in one of the names; "": any */
  char at[128];    /* must occur in what the descriptor is; "": any */
  uint64_t skip, times, seen;
  int errnum;      /* ACT_FAIL */
  bool done;       /* ACT_FAIL: the call is made, and its success hidden */
  int64_t bytes;   /* ACT_SHORT: the most it moves; below 0: so much less */
  unsigned held;   /* ACT_HOLD: callers waiting */
  char folder[192]; /* ACT_RMDIR: goes away just before the call; ACT_FILL: the
                     * tmpfs in which `bytes` are free from then on */
  char other[192];  /* ACT_SWAP: just before the call changes places with it */
};
#define RULES 16

struct entry {
  enum which which;
  int fd, errnum;
  unsigned flags;
  int64_t offset, length, result;
  char path[192], to[192], at[192], opened[192];
};
#define LOG_MAX 100000

struct table {
  struct lv_sys sys; /* first: an entry finds the rest behind it */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct rule rules[RULES];
  int last_id;
  uint64_t counts[CALL_COUNT];
  struct entry *log;
  size_t log_used, log_room;
  bool has_now, has_monotonic, has_seed, untyped;
  int64_t now, monotonic;
  uint64_t seed;
  struct table *next;
};

/* Tables live as long as the process: a worker may call through one after
 * its userdata is gone.  The list keeps them reachable for leak checkers. */
static struct table *all_tables;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

static struct table *table_of(const struct lv_sys *sys) {
  union {
    const struct lv_sys *in;
    struct table *out;
  } cast = {sys};
  return cast.out;
}

/* ---- rules ------------------------------------------------------------ */

static bool can_fail(enum which which) {
  return which != CALL_monotonic && which != CALL_now;
}

static bool kind_fits(enum kind kind, int fd) {
  struct stat st;
  if (kind == KIND_ANY)
    return true;
  if (fd < 0 || fstat(fd, &st) != 0)
    return false;
  return S_ISDIR(st.st_mode) == (kind == KIND_FOLDER);
}

/* What a descriptor is: the kernel's own answer, "" where there is none. */
static void fd_text(char *out, size_t size, int fd) {
  ssize_t n = -1;
  if (fd >= 0) {
    char name[32], link[160];
    snprintf(name, sizeof name, "self/fd/%d", fd);
    n = readlink(proc_path(link, name), out, size - 1);
  }
  out[n < 0 ? 0 : n] = '\0';
}

static bool at_fits(const char *wanted, int fd) {
  char at[512];
  if (wanted[0] == '\0')
    return true;
  fd_text(at, sizeof at, fd);
  return strstr(at, wanted) != NULL;
}

static bool path_fits(const char *wanted, const struct call *c) {
  return wanted[0] == '\0' || (c->path != NULL && strstr(c->path, wanted)) ||
         (c->to != NULL && strstr(c->to, wanted));
}

/* Counts the call against the rule; true when it is the rule's turn. */
static bool rule_applies(struct rule *r, const struct call *c) {
  if (r->id == 0 || (r->which == CALL_ANY ? !can_fail(c->which)
                                          : r->which != c->which))
    return false;
  if ((c->flags & r->flags) != r->flags || !path_fits(r->path, c) ||
      !kind_fits(r->kind, c->fd) || !at_fits(r->at, c->fd))
    return false;
  r->seen++;
  return r->seen > r->skip && (r->times == 0 || r->seen - r->skip <= r->times);
}

/* Waits until the rule is dropped; the lock is given up meanwhile. */
static void hold(struct table *t, struct rule *r, int id) {
  r->held++;
  pthread_cond_broadcast(&t->changed);
  while (r->id == id)
    pthread_cond_wait(&t->changed, &t->lock);
}

/* A tmpfs has so many bytes free from now on.  0, or -1 and errno. */
static int fill(const char *folder, int64_t left) {
  char options[64];
  struct statfs st;
  if (statfs(folder, &st) != 0)
    return -1;
  snprintf(options, sizeof options, "size=%lld",
           (long long)((int64_t)(st.f_blocks - st.f_bfree) * st.f_bsize +
                       left));
  return mount("tmpfs", folder, "tmpfs", MS_REMOUNT, options);
}

/* What the rules say to a call. */
struct verdict {
  int errnum; /* 0: make the call */
  bool done;  /* make the call, then report errnum */
  int64_t bytes;
};

static struct verdict enter(struct table *t, const struct call *c) {
  struct verdict v = {0, false, INT64_MAX};
  int newest;
  pthread_mutex_lock(&t->lock);
  t->counts[c->which]++;
  newest = t->last_id; /* rules made while it is held are not for this call */
  for (size_t i = 0; i < RULES; i++) {
    struct rule *r = &t->rules[i];
    if (r->id > newest || !rule_applies(r, c))
      continue;
    if (r->action == ACT_HOLD) {
      hold(t, r, r->id);
    } else if (r->action == ACT_SHORT) {
      v.bytes = r->bytes;
    } else if (r->action == ACT_RMDIR) {
      rmdir(r->folder);
    } else if (r->action == ACT_FILL) {
      if (fill(r->folder, r->bytes) != 0)
        v.errnum = errno; /* which no test expects */
    } else if (r->action == ACT_SWAP) {
      renameat2(AT_FDCWD, r->folder, AT_FDCWD, r->other, RENAME_EXCHANGE);
    } else if (v.errnum == 0) {
      v.errnum = r->errnum;
      v.done = r->done || c->which == CALL_close;
    }
  }
  pthread_mutex_unlock(&t->lock);
  return v;
}

/* ---- the log ---------------------------------------------------------- */

static void copy_text(char *out, size_t size, const char *text) {
  snprintf(out, size, "%s", text == NULL ? "" : text);
}

static struct entry *log_slot(struct table *t) {
  if (t->log_used == t->log_room && t->log_room < LOG_MAX) {
    size_t room = t->log_room == 0 ? 64 : t->log_room * 2;
    struct entry *log = realloc(t->log, room * sizeof *log);
    if (log == NULL)
      return NULL;
    t->log = log;
    t->log_room = room;
  }
  return t->log_used < t->log_room ? &t->log[t->log_used++] : NULL;
}

static void log_call(struct table *t, const struct call *c, const char *at,
                     int64_t result, int errnum) {
  bool opens = c->which == CALL_openat || c->which == CALL_openat2;
  struct entry *e;
  pthread_mutex_lock(&t->lock);
  e = log_slot(t);
  if (e != NULL) {
    e->which = c->which;
    e->fd = c->fd;
    e->flags = c->flags;
    e->offset = c->offset;
    e->length = c->length;
    e->result = result;
    e->errnum = result < 0 ? errnum : 0;
    copy_text(e->path, sizeof e->path, c->path);
    copy_text(e->to, sizeof e->to, c->to);
    copy_text(e->at, sizeof e->at, at);
    fd_text(e->opened, sizeof e->opened, opens ? (int)result : -1);
  }
  pthread_mutex_unlock(&t->lock);
}

/* ---- the calls -------------------------------------------------------- */

/* Runs one call: asks the rules, makes the real call (`real` is an
 * expression that yields its result, -1 for failure), logs it. */
#define RUN(type, call_, real)                                                \
  do {                                                                        \
    struct table *t_ = table_of(sys);                                         \
    struct call c_ = call_;                                                   \
    struct verdict v = enter(t_, &c_);                                        \
    char at_[192];                                                            \
    type result = (type)-1;                                                   \
    int errnum = v.errnum;                                                    \
    fd_text(at_, sizeof at_, c_.fd);                                          \
    if (v.errnum == 0 || v.done) {                                            \
      result = (real);                                                        \
      if (v.errnum == 0)                                                      \
        errnum = errno;                                                       \
      else                                                                    \
        result = (type)-1;                                                    \
    }                                                                         \
    log_call(t_, &c_, at_, (int64_t)result, errnum);                          \
    errno = errnum;                                                           \
    return result;                                                            \
  } while (0)

/* The arguments of a call, in the order of struct call. */
#define CALL(name, ...)                                                       \
  ((struct call){.which = CALL_##name, __VA_ARGS__})

static int t_openat(const struct lv_sys *sys, int dir, const char *path,
                    int flags, mode_t mode) {
  RUN(int, CALL(openat, .fd = dir, .path = path, .flags = (unsigned)flags),
      openat(dir, path, flags, mode));
}

static int t_openat2(const struct lv_sys *sys, int dir, const char *path,
                     int flags, uint64_t resolve) {
  RUN(int, CALL(openat2, .fd = dir, .path = path, .flags = (unsigned)flags),
      lv_sys_real.openat2(&lv_sys_real, dir, path, flags, resolve));
}

static int t_dupfd(const struct lv_sys *sys, int fd, int least) {
  RUN(int, CALL(dupfd, .fd = fd), fcntl(fd, F_DUPFD_CLOEXEC, least));
}

static int t_close(const struct lv_sys *sys, int fd) {
  RUN(int, CALL(close, .fd = fd), close(fd));
}

static int t_fstat(const struct lv_sys *sys, int fd, struct stat *st) {
  RUN(int, CALL(fstat, .fd = fd), fstat(fd, st));
}

static int t_fstatat(const struct lv_sys *sys, int dir, const char *path,
                     struct stat *st, int flags) {
  RUN(int, CALL(fstatat, .fd = dir, .path = path, .flags = (unsigned)flags),
      fstatat(dir, path, st, flags));
}

static int t_fstatfs(const struct lv_sys *sys, int fd, struct statfs *st) {
  RUN(int, CALL(fstatfs, .fd = fd), fstatfs(fd, st));
}

static ssize_t t_readlinkat(const struct lv_sys *sys, int dir,
                            const char *path, char *buf, size_t size) {
  RUN(ssize_t, CALL(readlinkat, .fd = -1, .path = path),
      readlinkat(dir, path, buf, size));
}

static char *t_realpath(const struct lv_sys *sys, const char *path,
                        char *buf) {
  struct table *t = table_of(sys);
  struct call c = CALL(realpath, .fd = -1, .path = path);
  struct verdict v = enter(t, &c);
  char *result = v.errnum == 0 ? realpath(path, buf) : NULL;
  int errnum = v.errnum == 0 ? errno : v.errnum;
  log_call(t, &c, "", result == NULL ? -1 : 0, errnum);
  errno = errnum;
  return result;
}

/* A limit below 0 is so much less than was asked for, a byte at the least. */
static size_t at_most(size_t n, int64_t limit) {
  size_t less = (size_t)-limit;
  if (limit < 0)
    return n > less ? n - less : n > 0;
  return n > (size_t)limit ? (size_t)limit : n;
}

static ssize_t t_pread(const struct lv_sys *sys, int fd, void *buf, size_t n,
                       off_t offset) {
  RUN(ssize_t,
      CALL(pread, .fd = fd, .offset = offset, .length = (int64_t)n),
      pread(fd, buf, at_most(n, v.bytes), offset));
}

static size_t iov_length(const struct iovec *iov, int count) {
  size_t n = 0;
  for (int i = 0; i < count; i++)
    n += iov[i].iov_len;
  return n;
}

/* pwritev of at most `limit` bytes, so that the rest is torn off. */
static ssize_t write_some(int fd, const struct iovec *iov, int count,
                          off_t offset, int64_t most) {
  size_t limit = at_most(iov_length(iov, count), most);
  ssize_t total = 0;
  if (limit == iov_length(iov, count))
    return pwritev(fd, iov, count, offset);
  for (int i = 0; i < count && limit > 0; i++) {
    size_t n = at_most(iov[i].iov_len, (int64_t)limit);
    ssize_t got = pwrite(fd, iov[i].iov_base, n, offset + total);
    if (got < 0)
      return total > 0 ? total : -1;
    total += got;
    limit -= (size_t)got;
    if ((size_t)got < n)
      break;
  }
  return total;
}

static ssize_t t_pwritev(const struct lv_sys *sys, int fd,
                         const struct iovec *iov, int count, off_t offset) {
  RUN(ssize_t,
      CALL(pwritev, .fd = fd, .offset = offset,
           .length = (int64_t)iov_length(iov, count)),
      write_some(fd, iov, count, offset, v.bytes));
}

/* As on a volume that does not tell types with the names, if `untyped`. */
static ssize_t list_folder(int fd, void *buf, size_t n, bool untyped) {
  ssize_t got = getdents64(fd, buf, n);
  for (ssize_t at = 0; untyped && at < got;) {
    struct dirent64 *entry = (void *)((char *)buf + at);
    entry->d_type = DT_UNKNOWN;
    at += entry->d_reclen;
  }
  return got;
}

static ssize_t t_getdents(const struct lv_sys *sys, int fd, void *buf,
                          size_t n) {
  RUN(ssize_t, CALL(getdents, .fd = fd, .length = (int64_t)n),
      list_folder(fd, buf, n, t_->untyped));
}

static off_t t_lseek(const struct lv_sys *sys, int fd, off_t offset,
                     int whence) {
  RUN(off_t, CALL(lseek, .fd = fd, .offset = offset),
      lseek(fd, offset, whence));
}

static int t_ftruncate(const struct lv_sys *sys, int fd, off_t length) {
  RUN(int, CALL(ftruncate, .fd = fd, .length = length),
      ftruncate(fd, length));
}

static int t_fallocate(const struct lv_sys *sys, int fd, int mode,
                       off_t offset, off_t length) {
  RUN(int,
      CALL(fallocate, .fd = fd, .offset = offset, .length = length,
           .flags = (unsigned)mode),
      fallocate(fd, mode, offset, length));
}

static int t_send(const struct lv_sys *sys, int fd, off_t offset,
                  off_t length) {
  RUN(int, CALL(send, .fd = fd, .offset = offset, .length = length),
      sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE));
}

static int t_fsync(const struct lv_sys *sys, int fd) {
  RUN(int, CALL(fsync, .fd = fd), fsync(fd));
}

static int t_syncfs(const struct lv_sys *sys, int fd) {
  RUN(int, CALL(syncfs, .fd = fd), syncfs(fd));
}

static int t_fdatasync(const struct lv_sys *sys, int fd) {
  RUN(int, CALL(fdatasync, .fd = fd), fdatasync(fd));
}

static int t_sync_file_range(const struct lv_sys *sys, int fd, off_t offset,
                             off_t n, unsigned flags) {
  RUN(int,
      CALL(sync_file_range, .fd = fd, .offset = offset, .length = n,
           .flags = flags),
      sync_file_range(fd, offset, n, flags));
}

static int t_setlk(const struct lv_sys *sys, int fd, struct flock *lock) {
  RUN(int,
      CALL(setlk, .fd = fd, .offset = lock->l_start, .length = lock->l_len),
      fcntl(fd, F_OFD_SETLK, lock));
}

static ssize_t t_copy(const struct lv_sys *sys, int from, off_t from_at,
                      int to, off_t to_at, size_t n) {
  RUN(ssize_t,
      CALL(copy, .fd = to, .offset = to_at, .length = (int64_t)n),
      copy_file_range(from, &from_at, to, &to_at, at_most(n, v.bytes), 0));
}

static int t_clone(const struct lv_sys *sys, int from, off_t from_at,
                   size_t n, int to, off_t to_at) {
  struct file_clone_range range = {.src_fd = from,
                                   .src_offset = (uint64_t)from_at,
                                   .src_length = n,
                                   .dest_offset = (uint64_t)to_at};
  RUN(int, CALL(clone, .fd = to, .offset = to_at, .length = (int64_t)n),
      ioctl(to, FICLONERANGE, &range));
}

static int t_getlk(const struct lv_sys *sys, int fd, struct flock *lock) {
  RUN(int,
      CALL(getlk, .fd = fd, .offset = lock->l_start, .length = lock->l_len),
      fcntl(fd, F_OFD_GETLK, lock));
}

static int t_futimens(const struct lv_sys *sys, int fd,
                      const struct timespec ts[2]) {
  RUN(int, CALL(futimens, .fd = fd), futimens(fd, ts));
}

static int t_fchmod(const struct lv_sys *sys, int fd, mode_t mode) {
  RUN(int, CALL(fchmod, .fd = fd, .flags = mode), fchmod(fd, mode));
}

static int t_linkat(const struct lv_sys *sys, int from_dir, const char *from,
                    int to_dir, const char *to, int flags) {
  RUN(int,
      CALL(linkat, .fd = to_dir, .path = from, .to = to,
           .flags = (unsigned)flags),
      linkat(from_dir, from, to_dir, to, flags));
}

static int t_renameat2(const struct lv_sys *sys, int from_dir,
                       const char *from, int to_dir, const char *to,
                       unsigned flags) {
  RUN(int,
      CALL(renameat2, .fd = to_dir, .path = from, .to = to, .flags = flags),
      renameat2(from_dir, from, to_dir, to, flags));
}

static int t_unlinkat(const struct lv_sys *sys, int dir, const char *path,
                      int flags) {
  RUN(int, CALL(unlinkat, .fd = dir, .path = path, .flags = (unsigned)flags),
      unlinkat(dir, path, flags));
}

static int t_mkdirat(const struct lv_sys *sys, int dir, const char *path,
                     mode_t mode) {
  RUN(int, CALL(mkdirat, .fd = dir, .path = path), mkdirat(dir, path, mode));
}

static int t_getrlimit(const struct lv_sys *sys, int what,
                       struct rlimit *limit) {
  RUN(int, CALL(getrlimit, .fd = -1),
      getrlimit((__rlimit_resource_t)what, limit));
}

/* Splitmix64: a seed gives the same bytes in every run. */
static ssize_t seeded(struct table *t, void *buf, size_t n) {
  unsigned char *out = buf;
  pthread_mutex_lock(&t->lock);
  for (size_t i = 0; i < n; i++) {
    uint64_t z = (t->seed += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    out[i] = (unsigned char)(z >> 40);
  }
  pthread_mutex_unlock(&t->lock);
  return (ssize_t)n;
}

static ssize_t t_getrandom(const struct lv_sys *sys, void *buf, size_t n,
                           unsigned flags) {
  RUN(ssize_t,
      CALL(getrandom, .fd = -1, .length = (int64_t)n, .flags = flags),
      t_->has_seed ? seeded(t_, buf, n) : getrandom(buf, n, flags));
}

static int64_t t_monotonic(const struct lv_sys *sys) {
  struct table *t = table_of(sys);
  struct call c = CALL(monotonic, .fd = -1);
  struct timespec ts;
  enter(t, &c);
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return t->has_monotonic
             ? t->monotonic
             : (int64_t)ts.tv_sec * 1000000000 + (int64_t)ts.tv_nsec;
}

static int64_t t_now(const struct lv_sys *sys) {
  struct table *t = table_of(sys);
  struct call c = CALL(now, .fd = -1);
  enter(t, &c);
  return t->has_now ? t->now : (int64_t)time(NULL);
}

#define CALL_ENTRY(name) .name = t_##name,
static const struct lv_sys all_calls = {CALLS(CALL_ENTRY)};

/* ---- Lua: tables ------------------------------------------------------ */

#define SYSTEM "lvhdtest.system"

static struct table *check_table(lua_State *L) {
  struct table **box = luaL_checkudata(L, 1, SYSTEM);
  return *box;
}

/* lvhdtest.system() -> a new table of calls. */
static int l_system(lua_State *L) {
  struct table **box = lua_newuserdatauv(L, sizeof *box, 0);
  struct table *t = calloc(1, sizeof *t);
  if (t == NULL)
    return luaL_error(L, "no memory");
  memcpy(&t->sys, &all_calls, sizeof t->sys);
  pthread_mutex_init(&t->lock, NULL);
  pthread_cond_init(&t->changed, NULL);
  pthread_mutex_lock(&all_lock);
  t->next = all_tables;
  all_tables = t;
  pthread_mutex_unlock(&all_lock);
  *box = t;
  luaL_setmetatable(L, SYSTEM);
  return 1;
}

/* system:pointer() -> light userdata for lvhd.engine{ system = }. */
static int l_pointer(lua_State *L) {
  lua_pushlightuserdata(L, &check_table(L)->sys);
  return 1;
}

static int errno_of(lua_State *L, const char *name) {
  for (int i = 1; i < 200; i++) {
    const char *known = strerrorname_np(i);
    if (known != NULL && strcmp(known, name) == 0)
      return i;
  }
  return luaL_error(L, "unknown errno '%s'", name);
}

/* The field of a rule's table as a string; fallback when absent. */
static const char *opt_text(lua_State *L, const char *key,
                            const char *fallback) {
  const char *text;
  lua_getfield(L, 2, key);
  text = luaL_optstring(L, -1, fallback);
  lua_pop(L, 1); /* the table keeps it alive */
  return text;
}

static lua_Integer opt_number(lua_State *L, const char *key,
                              lua_Integer fallback) {
  lua_Integer n;
  lua_getfield(L, 2, key);
  n = luaL_optinteger(L, -1, fallback);
  lua_pop(L, 1);
  return n;
}

static bool opt_bool(lua_State *L, const char *key) {
  bool b;
  lua_getfield(L, 2, key);
  b = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return b;
}

static enum which which_of(lua_State *L, const char *name) {
  for (int i = 0; i <= CALL_COUNT; i++)
    if (strcmp(call_names[i], name) == 0)
      return (enum which)i;
  luaL_error(L, "unknown call '%s'", name);
  return CALL_ANY;
}

/* A misspelt key would make a rule that never fires, and a test that cannot
 * fail. */
static void check_keys(lua_State *L) {
  static const char *const known[] = {"call",  "nth",   "times", "errno",
                                      "bytes", "path",  "flags", "kind",
                                      "done",  "at",    "folder", "other",
                                      NULL};
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, 2) != 0) {
    const char *key = luaL_checkstring(L, -2);
    int i = 0;
    while (known[i] != NULL && strcmp(known[i], key) != 0)
      i++;
    if (known[i] == NULL)
      luaL_error(L, "unknown key '%s' in a rule", key);
    lua_pop(L, 1);
  }
}

/* { call =, nth = 1, times = (0: for ever), path =, at =, flags =, kind =
 * "file" | "folder", errno =, done =, bytes = } */
static struct rule read_rule(lua_State *L, enum action action,
                             lua_Integer times) {
  struct rule r = {.action = action};
  const char *kind;
  check_keys(L);
  r.which = which_of(L, opt_text(L, "call", "any"));
  r.skip = (uint64_t)opt_number(L, "nth", 1) - 1;
  r.times = (uint64_t)opt_number(L, "times", times);
  r.flags = (unsigned)opt_number(L, "flags", 0);
  copy_text(r.path, sizeof r.path, opt_text(L, "path", ""));
  copy_text(r.at, sizeof r.at, opt_text(L, "at", ""));
  kind = opt_text(L, "kind", "any");
  r.kind = strcmp(kind, "file") == 0     ? KIND_FILE
           : strcmp(kind, "folder") == 0 ? KIND_FOLDER
                                         : KIND_ANY;
  copy_text(r.folder, sizeof r.folder, opt_text(L, "folder", ""));
  copy_text(r.other, sizeof r.other, opt_text(L, "other", ""));
  r.done = opt_bool(L, "done");
  r.bytes = opt_number(L, "bytes", 0);
  if (action == ACT_FAIL)
    r.errnum = errno_of(L, opt_text(L, "errno", "EIO"));
  return r;
}

static int add_rule(lua_State *L, enum action action, lua_Integer times) {
  struct table *t = check_table(L);
  struct rule r = read_rule(L, action, times);
  size_t i = 0;
  pthread_mutex_lock(&t->lock);
  while (i < RULES && t->rules[i].id != 0)
    i++;
  if (i < RULES) {
    r.id = ++t->last_id;
    t->rules[i] = r;
  }
  pthread_mutex_unlock(&t->lock);
  if (i == RULES)
    return luaL_error(L, "too many rules");
  lua_pushinteger(L, r.id);
  return 1;
}

/* system:fail{ call, nth, times, errno, ... } -> rule; fails once unless
 * times says otherwise.  call "any" counts every call that can fail. */
static int l_fail(lua_State *L) {
  return add_rule(L, ACT_FAIL, 1);
}

/* system:short{ call, bytes, ... } -> rule; pread and pwritev move at most
 * that much, below 0 so much less than asked, once unless times says
 * otherwise. */
static int l_short(lua_State *L) {
  return add_rule(L, ACT_SHORT, 1);
}

/* system:hold{ call, ... } -> rule; callers wait until it is dropped. */
static int l_hold(lua_State *L) {
  return add_rule(L, ACT_HOLD, 0);
}

/* system:rmdir{ call, folder, ... } -> rule; just before the call somebody
 * removes that (empty) folder, once unless times says otherwise. */
static int l_rmdir(lua_State *L) {
  return add_rule(L, ACT_RMDIR, 1);
}

/* system:fill{ call, folder, bytes, ... } -> rule; just before the call
 * somebody fills that tmpfs, and leaves so many bytes. */
static int l_fill(lua_State *L) {
  return add_rule(L, ACT_FILL, 1);
}

/* system:swap{ call, folder, other, ... } -> rule; just before the call
 * somebody exchanges these two names, once unless times says otherwise. */
static int l_swap(lua_State *L) {
  return add_rule(L, ACT_SWAP, 1);
}

/* system:drop([rule]): the rule, or all rules, are gone; who was held goes
 * on. */
static int l_drop(lua_State *L) {
  struct table *t = check_table(L);
  lua_Integer id = luaL_optinteger(L, 2, 0);
  pthread_mutex_lock(&t->lock);
  for (size_t i = 0; i < RULES; i++)
    if (id == 0 || t->rules[i].id == id)
      t->rules[i].id = 0;
  pthread_cond_broadcast(&t->changed);
  pthread_mutex_unlock(&t->lock);
  return 0;
}

static struct timespec deadline(double seconds) {
  struct timespec ts;
  int64_t ns;
  clock_gettime(CLOCK_REALTIME, &ts);
  ns = (int64_t)(seconds * 1e9) + ts.tv_nsec;
  ts.tv_sec += ns / 1000000000;
  ts.tv_nsec = ns % 1000000000;
  return ts;
}

static lua_Integer held(const struct table *t) {
  lua_Integer n = 0;
  for (size_t i = 0; i < RULES; i++)
    if (t->rules[i].id != 0)
      n += t->rules[i].held;
  return n;
}

/* system:await(n [, seconds]) -> boolean: n callers are being held. */
static int l_await(lua_State *L) {
  struct table *t = check_table(L);
  lua_Integer n = luaL_checkinteger(L, 2);
  struct timespec end = deadline(luaL_optnumber(L, 3, 5));
  int rc = 0;
  bool ok;
  pthread_mutex_lock(&t->lock);
  while (held(t) < n && rc == 0)
    rc = pthread_cond_timedwait(&t->changed, &t->lock, &end);
  ok = held(t) >= n;
  pthread_mutex_unlock(&t->lock);
  lua_pushboolean(L, ok);
  return 1;
}

/* system:count([name]) -> calls of that name, or of all that can fail. */
static int l_count(lua_State *L) {
  struct table *t = check_table(L);
  enum which which = which_of(L, luaL_optstring(L, 2, "any"));
  uint64_t n = 0;
  pthread_mutex_lock(&t->lock);
  for (int i = 0; i < CALL_COUNT; i++)
    if (which == CALL_ANY ? can_fail((enum which)i) : i == (int)which)
      n += t->counts[i];
  pthread_mutex_unlock(&t->lock);
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

static void set_text(lua_State *L, const char *key, const char *text) {
  if (text[0] == '\0')
    return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, int64_t n) {
  lua_pushinteger(L, n);
  lua_setfield(L, -2, key);
}

static void push_entry(lua_State *L, const struct entry *e) {
  lua_createtable(L, 0, 11);
  set_text(L, "call", call_names[e->which]);
  set_text(L, "path", e->path);
  set_text(L, "to", e->to);
  set_text(L, "at", e->at);
  set_text(L, "opened", e->opened);
  set_number(L, "fd", e->fd);
  set_number(L, "flags", e->flags);
  set_number(L, "offset", e->offset);
  set_number(L, "length", e->length);
  set_number(L, "result", e->result);
  if (e->errnum != 0) {
    const char *name = strerrorname_np(e->errnum);
    set_text(L, "errno", name == NULL ? "?" : name);
  }
}

/* system:log([errno]) -> those that failed with it, or all: list of { call,
 * path, to, at, fd, flags, offset, length, result, errno }, of those that
 * failed index too, in the order in which the calls ended; `at` is what the
 * descriptor (or the folder of a path, of `to`) was, `opened` what one that a
 * call has opened is. */
static int l_log(lua_State *L) {
  struct table *t = check_table(L);
  int errnum = lua_isnoneornil(L, 2) ? 0 : errno_of(L, luaL_checkstring(L, 2));
  struct entry *copy;
  size_t n;
  lua_Integer count = 0;
  pthread_mutex_lock(&t->lock);
  n = t->log_used;
  pthread_mutex_unlock(&t->lock);
  copy = lua_newuserdatauv(L, (n + 1) * sizeof *copy, 0);
  pthread_mutex_lock(&t->lock);
  if (n > t->log_used)
    n = t->log_used;
  if (n > 0)
    memcpy(copy, t->log, n * sizeof *copy);
  pthread_mutex_unlock(&t->lock);
  lua_createtable(L, errnum == 0 ? (int)n : 0, 0);
  for (size_t i = 0; i < n; i++) {
    if (errnum != 0 && copy[i].errnum != errnum)
      continue;
    push_entry(L, &copy[i]);
    set_number(L, "index", (int64_t)i + 1);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

/* system:forget(): log and counts start anew; rules stay. */
static int l_forget(lua_State *L) {
  struct table *t = check_table(L);
  pthread_mutex_lock(&t->lock);
  free(t->log);
  t->log = NULL;
  t->log_used = t->log_room = 0;
  memset(t->counts, 0, sizeof t->counts);
  pthread_mutex_unlock(&t->lock);
  return 0;
}

/* system:set("now" | "monotonic" | "seed" | "untyped", integer or nil): stops
 * a clock (seconds since 1970, nanoseconds), seeds getrandom, makes getdents
 * tell no types; nil: real again. */
static int l_set(lua_State *L) {
  static const char *const names[] = {"now", "monotonic", "seed", "untyped",
                                      NULL};
  struct table *t = check_table(L);
  int what = luaL_checkoption(L, 2, NULL, names);
  bool has = !lua_isnoneornil(L, 3);
  lua_Integer n = luaL_optinteger(L, 3, 0);
  pthread_mutex_lock(&t->lock);
  if (what == 0) {
    t->has_now = has;
    t->now = n;
  } else if (what == 1) {
    t->has_monotonic = has;
    t->monotonic = n;
  } else if (what == 3) {
    t->untyped = has;
  } else {
    t->has_seed = has;
    t->seed = (uint64_t)n;
  }
  pthread_mutex_unlock(&t->lock);
  return 0;
}

static const luaL_Reg system_methods[] = {
    {"pointer", l_pointer}, {"fail", l_fail},     {"short", l_short},
    {"hold", l_hold},       {"rmdir", l_rmdir},   {"swap", l_swap},
    {"fill", l_fill},       {"drop", l_drop},
    {"await", l_await},     {"count", l_count},   {"log", l_log},
    {"forget", l_forget},   {"set", l_set},       {NULL, NULL}};

/* ---- Lua: processes --------------------------------------------------- */

/* Returns true, or nil, text, errno name. */
static int answer(lua_State *L, bool ok) {
  int saved = errno;
  if (ok) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, strerror(saved));
  lua_pushstring(L, strerrorname_np(saved));
  return 3;
}

/* pid() -> this process. */
static int l_pid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

/* Entries of a folder of /proc. */
static lua_Integer count_self(const char *folder) {
  lua_Integer n = -2; /* "." and ".." */
  char path[160];
  DIR *dir = opendir(proc_path(path, folder));
  while (dir != NULL && readdir(dir) != NULL)
    n++;
  if (dir != NULL)
    closedir(dir);
  return n;
}

/* fds() -> open descriptors of this process. */
static int l_fds(lua_State *L) {
  lua_pushinteger(L, count_self("self/fd") - 1); /* our own look */
  return 1;
}

/* A thread that was joined may show in /proc for a moment more; the kernel
 * flags it as exiting (PF_EXITING) before it lets the join go on. */
static bool is_exiting(const char *tid) {
  unsigned flags = 0;
  char name[64], path[160], text[512], *at = NULL;
  int fd;
  ssize_t n;
  snprintf(name, sizeof name, "self/task/%.20s/stat", tid);
  fd = open(proc_path(path, name), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return true;
  n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0)
    return true;
  text[n] = '\0';
  at = strrchr(text, ')'); /* the name before it may hold anything */
  if (at == NULL ||
      sscanf(at, ") %*c %*d %*d %*d %*d %*d %u", &flags) != 1)
    return false;
  return (flags & 4u) != 0;
}

/* threads() -> threads of this process. */
static int l_threads(lua_State *L) {
  char path[160];
  DIR *dir = opendir(proc_path(path, "self/task"));
  struct dirent *entry = NULL;
  int n = 0;
  if (dir == NULL)
    return luaL_error(L, "%s: %s", path, strerror(errno));
  while ((entry = readdir(dir)) != NULL)
    if (entry->d_name[0] != '.' && !is_exiting(entry->d_name))
      n++;
  closedir(dir);
  lua_pushinteger(L, n);
  return 1;
}

/* kill(pid, signal) -> true. */
static int l_kill(lua_State *L) {
  return answer(L, kill((pid_t)luaL_checkinteger(L, 1),
                        (int)luaL_checkinteger(L, 2)) == 0);
}

static void write_all(int fd, const char *text, size_t n) {
  while (n > 0) {
    ssize_t got = write(fd, text, n);
    if (got <= 0)
      return;
    text += got;
    n -= (size_t)got;
  }
}

/* In the child: runs the function on top of the stack and exits without
 * closing the state.  0, or the integer it returns; 99 for an error.  What
 * else it returns, or the error's text, goes into the pipe. */
static void run_child(lua_State *L, int out) {
  int status = 0;
  size_t length;
  const char *text;
  if (lua_pcall(L, 0, 1, 0) != LUA_OK)
    status = 99;
  if (status == 0 && lua_isinteger(L, -1)) {
    status = (int)lua_tointeger(L, -1);
  } else if (out >= 0 && !lua_isnil(L, -1)) {
    text = luaL_tolstring(L, -1, &length);
    write_all(out, text, length);
  }
  _exit(status);
}

static pid_t start(lua_State *L, int out) {
  pid_t pid;
  fflush(NULL); /* or the child's copy would be written too */
  pid = fork();
  if (pid == 0)
    run_child(L, out);
  return pid;
}

/* spawn(function) -> pid: the function runs in a copy of the process. */
static int l_spawn(lua_State *L) {
  pid_t pid;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  pid = start(L, -1);
  if (pid < 0)
    return luaL_error(L, "fork: %s", strerror(errno));
  lua_pushinteger(L, pid);
  return 1;
}

/* Pushes the exit status; for a signal nil and its number.  The count. */
static int push_status(lua_State *L, int status) {
  if (WIFEXITED(status)) {
    lua_pushinteger(L, WEXITSTATUS(status));
    return 1;
  }
  lua_pushnil(L);
  lua_pushinteger(L, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  return 2;
}

static int reap(pid_t pid, int *status) {
  int rc;
  do
    rc = waitpid(pid, status, 0);
  while (rc < 0 && errno == EINTR);
  return rc;
}

/* wait(pid) -> exit status; or nil, signal. */
static int l_wait(lua_State *L) {
  int status = 0;
  if (reap((pid_t)luaL_checkinteger(L, 1), &status) < 0)
    return luaL_error(L, "waitpid: %s", strerror(errno));
  return push_status(L, status);
}

/* fork(function) -> exit status, text: spawn and wait, with what the
 * function returned (or the text of its error); nil, signal when killed. */
static int l_fork(lua_State *L) {
  int ends[2], status = 0;
  char buf[4096];
  ssize_t n;
  pid_t pid;
  luaL_Buffer b;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  if (pipe2(ends, O_CLOEXEC) != 0)
    return luaL_error(L, "pipe: %s", strerror(errno));
  pid = start(L, ends[1]);
  close(ends[1]);
  luaL_buffinit(L, &b);
  while (pid > 0 && ((n = read(ends[0], buf, sizeof buf)) > 0 ||
                     (n < 0 && errno == EINTR)))
    luaL_addlstring(&b, buf, n > 0 ? (size_t)n : 0);
  close(ends[0]);
  luaL_pushresult(&b);
  if (pid < 0 || reap(pid, &status) < 0)
    return luaL_error(L, "fork: %s", strerror(errno));
  if (push_status(L, status) == 2)
    return 2;
  lua_insert(L, -2);
  return 2;
}

/* exit(status): leaves at once, the state is not closed. */
static int l_exit(lua_State *L) {
  _exit((int)luaL_optinteger(L, 1, 0));
}

/* user(id): gives up root for that user and group. */
static int l_user(lua_State *L) {
  uid_t id = (uid_t)luaL_checkinteger(L, 1);
  return answer(L, setgroups(0, NULL) == 0 && setgid(id) == 0 &&
                       setuid(id) == 0);
}

/* alarm(seconds): SIGALRM then, which ends a process that hangs. */
static int l_alarm(lua_State *L) {
  alarm((unsigned)luaL_checkinteger(L, 1));
  return 0;
}

/* limit("fsize" | "nofile", n) -> the limit before: the soft limit. */
static int l_limit(lua_State *L) {
  static const char *const names[] = {"fsize", "nofile", NULL};
  static const int whats[] = {RLIMIT_FSIZE, RLIMIT_NOFILE};
  int what = whats[luaL_checkoption(L, 1, NULL, names)];
  struct rlimit limit, old;
  if (getrlimit((__rlimit_resource_t)what, &old) != 0)
    return answer(L, false);
  limit = old;
  limit.rlim_cur = (rlim_t)luaL_checkinteger(L, 2);
  if (setrlimit((__rlimit_resource_t)what, &limit) != 0)
    return answer(L, false);
  lua_pushinteger(L, (lua_Integer)old.rlim_cur);
  return 1;
}

/* memory() -> bytes in use by malloc, small and mapped. */
static int l_memory(lua_State *L) {
  struct mallinfo2 m = mallinfo2();
  lua_pushinteger(L, (lua_Integer)(m.uordblks + m.hblkhd));
  return 1;
}

/* umask(n) -> the one before. */
static int l_umask(lua_State *L) {
  lua_pushinteger(L, umask((mode_t)luaL_checkinteger(L, 1)));
  return 1;
}

/* sleep(seconds): a signal ends it early. */
static int l_sleep(lua_State *L) {
  double seconds = luaL_checknumber(L, 1);
  struct timespec ts;
  ts.tv_sec = (time_t)seconds;
  ts.tv_nsec = (long)((seconds - (double)ts.tv_sec) * 1e9);
  nanosleep(&ts, NULL);
  return 0;
}

/* clock() -> seconds of the monotonic clock. */
static int l_clock(lua_State *L) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  lua_pushnumber(L, (double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
  return 1;
}

/* ---- Lua: files ------------------------------------------------------- */

static int64_t nanoseconds(struct timespec ts) {
  return (int64_t)ts.tv_sec * 1000000000 + (int64_t)ts.tv_nsec;
}

static const char *type_name(mode_t mode) {
  return S_ISREG(mode)    ? "file"
         : S_ISDIR(mode)  ? "folder"
         : S_ISLNK(mode)  ? "link"
         : S_ISFIFO(mode) ? "fifo"
                          : "other";
}

/* stat(path) -> { type, mode, size, mtime, ctime (ns), ino, nlink, blocks
 * (512 bytes each), uid }; links are not followed.  nil, text, errno. */
static int l_stat(lua_State *L) {
  struct stat st;
  if (lstat(luaL_checkstring(L, 1), &st) != 0)
    return answer(L, false);
  lua_createtable(L, 0, 9);
  set_text(L, "type", type_name(st.st_mode));
  set_number(L, "mode", st.st_mode & 07777);
  set_number(L, "size", st.st_size);
  set_number(L, "mtime", nanoseconds(st.st_mtim));
  set_number(L, "ctime", nanoseconds(st.st_ctim));
  set_number(L, "ino", (int64_t)st.st_ino);
  set_number(L, "nlink", (int64_t)st.st_nlink);
  set_number(L, "blocks", st.st_blocks);
  set_number(L, "uid", st.st_uid);
  return 1;
}

/* statfs(path) -> { free, size } in bytes, free for unprivileged users. */
static int l_statfs(lua_State *L) {
  struct statfs st;
  if (statfs(luaL_checkstring(L, 1), &st) != 0)
    return answer(L, false);
  lua_createtable(L, 0, 2);
  set_number(L, "free", (int64_t)st.f_bavail * (int64_t)st.f_bsize);
  set_number(L, "size", (int64_t)st.f_blocks * (int64_t)st.f_bsize);
  return 1;
}

/* mkfifo(path) -> true. */
static int l_mkfifo(lua_State *L) {
  return answer(L, mkfifo(luaL_checkstring(L, 1), 0644) == 0);
}

/* mksocket(path) -> true: a socket that nobody listens to. */
static int l_mksocket(lua_State *L) {
  return answer(L, mknod(luaL_checkstring(L, 1), S_IFSOCK | 0644, 0) == 0);
}

/* mkdir(path [, mode]) -> true. */
static int l_mkdir(lua_State *L) {
  return answer(L, mkdir(luaL_checkstring(L, 1),
                         (mode_t)luaL_optinteger(L, 2, 0777)) == 0);
}

/* chmod(path, mode) -> true. */
static int l_chmod(lua_State *L) {
  return answer(L, chmod(luaL_checkstring(L, 1),
                         (mode_t)luaL_checkinteger(L, 2)) == 0);
}

/* symlink(target, path) -> true. */
static int l_symlink(lua_State *L) {
  return answer(L, symlink(luaL_checkstring(L, 1),
                           luaL_checkstring(L, 2)) == 0);
}

/* chdir(path) -> true. */
static int l_chdir(lua_State *L) {
  return answer(L, chdir(luaL_checkstring(L, 1)) == 0);
}

/* cwd() -> the current folder. */
static int l_cwd(lua_State *L) {
  char path[4096];
  if (getcwd(path, sizeof path) == NULL)
    return answer(L, false);
  lua_pushstring(L, path);
  return 1;
}

/* utime(path, seconds [, nanoseconds]) -> true: access and change time. */
static int l_utime(lua_State *L) {
  struct timespec ts[2];
  ts[0].tv_sec = (time_t)luaL_checkinteger(L, 2);
  ts[0].tv_nsec = (long)luaL_optinteger(L, 3, 0);
  ts[1] = ts[0];
  return answer(L, utimensat(AT_FDCWD, luaL_checkstring(L, 1), ts, 0) == 0);
}

/* lock(path, "read" | "write", start, length [, "ofd" | "posix"]) ->
 * descriptor that holds the lock (length 0: to the end); close(fd) gives it
 * up. */
static int l_lock(lua_State *L) {
  static const char *const kinds[] = {"read", "write", NULL};
  static const char *const owners[] = {"ofd", "posix", NULL};
  const char *path = luaL_checkstring(L, 1);
  bool writes = luaL_checkoption(L, 2, NULL, kinds) == 1;
  struct flock lock = {.l_type = writes ? F_WRLCK : F_RDLCK,
                       .l_whence = SEEK_SET,
                       .l_start = luaL_checkinteger(L, 3),
                       .l_len = luaL_checkinteger(L, 4)};
  int cmd = luaL_checkoption(L, 5, "ofd", owners) == 0 ? F_OFD_SETLK : F_SETLK;
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0)
    return answer(L, false);
  if (fcntl(fd, cmd, &lock) != 0) {
    int n = answer(L, false);
    close(fd);
    return n;
  }
  lua_pushinteger(L, fd);
  return 1;
}

/* close(fd) -> true. */
static int l_close(lua_State *L) {
  return answer(L, close((int)luaL_checkinteger(L, 1)) == 0);
}

/* Of all bytes but zeros, and where they are. */
static uint64_t sum_piece(uint64_t sum, const uint64_t *words, size_t n,
                          uint64_t at) {
  for (size_t i = 0; i < n; i++)
    if (words[i] != 0)
      sum = (sum ^ words[i] ^ (at + i)) * UINT64_C(0x9E3779B97F4A7C15) +
            (sum >> 29);
  return sum;
}

/* sum(path) -> an integer for the bytes of a file: holes are zeros, and cost
 * no time. */
static int l_sum(lua_State *L) {
  static const size_t piece = 65536;
  uint64_t words[65536 / 8], sum = 0;
  int fd = open(luaL_checkstring(L, 1), O_RDONLY | O_CLOEXEC);
  off_t at = 0, end = 0;
  ssize_t got = 0;
  if (fd < 0)
    return answer(L, false);
  end = lseek(fd, 0, SEEK_END);
  while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
    at -= at % (off_t)piece;
    memset(words, 0, sizeof words);
    got = pread(fd, words, piece, at);
    if (got <= 0)
      break;
    sum = sum_piece(sum, words, ((size_t)got + 7) / 8, (uint64_t)at / 8);
    at += got;
  }
  close(fd);
  if (got < 0)
    return answer(L, false);
  lua_pushinteger(L, (lua_Integer)(sum ^ (uint64_t)end));
  return 1;
}

/* tmpfs(folder) -> true: mounts one of 64 MiB there.  tmpfs(folder, bytes): so
 * many are free in it from now on. */
static int l_tmpfs(lua_State *L) {
  const char *folder = luaL_checkstring(L, 1);
  if (lua_isinteger(L, 2))
    return answer(L, fill(folder, lua_tointeger(L, 2)) == 0);
  return answer(L, mount("tmpfs", folder, "tmpfs", 0, "size=64m") == 0);
}

static const luaL_Reg functions[] = {
    {"system", l_system},   {"pid", l_pid},         {"fds", l_fds},
    {"threads", l_threads}, {"alarm", l_alarm},     {"kill", l_kill},
    {"spawn", l_spawn},     {"wait", l_wait},       {"fork", l_fork},
    {"exit", l_exit},       {"user", l_user},       {"limit", l_limit},
    {"memory", l_memory},   {"umask", l_umask},     {"sleep", l_sleep},
    {"clock", l_clock},     {"stat", l_stat},       {"statfs", l_statfs},
    {"mkfifo", l_mkfifo},   {"mkdir", l_mkdir},     {"symlink", l_symlink},
    {"chdir", l_chdir},     {"cwd", l_cwd},         {"utime", l_utime},
    {"mksocket", l_mksocket},
    {"lock", l_lock},       {"close", l_close},     {"sum", l_sum},
    {"tmpfs", l_tmpfs},     {"chmod", l_chmod},
    {NULL, NULL}};

static const struct {
  const char *name;
  unsigned value;
} constants[] = {
    {"O_DIRECTORY", O_DIRECTORY},   {"O_TMPFILE", O_TMPFILE},
         {"O_CREAT", O_CREAT},
    {"O_CLOEXEC", O_CLOEXEC},         {"O_NONBLOCK", O_NONBLOCK},
    {"AT_EMPTY_PATH", AT_EMPTY_PATH}, {"AT_REMOVEDIR", AT_REMOVEDIR},
    {"SIGINT", SIGINT},               {"SIGKILL", SIGKILL},
    {"SIGXFSZ", SIGXFSZ},             {"SIGTERM", SIGTERM}};

/* lvhdtest.calls: the names of the entries of a table. */
static void push_calls(lua_State *L) {
  lua_createtable(L, CALL_COUNT, 0);
  for (int i = 0; i < CALL_COUNT; i++) {
    lua_pushstring(L, call_names[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

__attribute__((visibility("default"))) int luaopen_lvhdtest(lua_State *L);

int luaopen_lvhdtest(lua_State *L) {
  luaL_newmetatable(L, SYSTEM);
  luaL_newlib(L, system_methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
    set_number(L, constants[i].name, constants[i].value);
  push_calls(L);
  lua_setfield(L, -2, "calls");
  return 1;
}
