/* SPDX-License-Identifier: MIT
 *
 * For unit tests of op: a table of calls that can be made to fail, or to be
 * preceded by what somebody else does, and that tells in which order files got
 * their bytes, their names and their flushes; and a job without a pool, whose
 * items run one after the other.  Flushes are only told, not made.  Below
 * `base`, a folder of the test's own.
 *
 *   1 rules   2 the table   3 the job   4 what is there
 */
#ifndef LVHD_SPEC_WATCH_H
#define LVHD_SPEC_WATCH_H

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/verb.h"
#include "check.h"
#include "io/env.h"

static char base[1000];

/* ---- 1 rules ----------------------------------------------------------- */

/* From the from-th call (1 on) of that name, on a path that ends so, `times`
 * times. */
struct rule {
  const char *call;
  const char *name;  /* NULL: any path; of descriptors theirs */
  int errnum;        /* 0: it goes well */
  unsigned from, times;
  void (*act)(void); /* comes before it */
  unsigned calls;
};

#define ALWAYS 1, UINT_MAX
#define RULES 3

static struct watch {
  struct lv_sys sys;
  struct rule rules[RULES];
  char log[4096];
  long magic; /* of the file system; 0: what it is */
  bool poor;  /* no flush of the volume */
  int fd;     /* of the last pwritev */
} watch;

static inline void rule(size_t i, const char *call, const char *name,
                        int errnum, unsigned from, unsigned times) {
  watch.rules[i] = (struct rule){.call = call, .name = name, .errnum = errnum,
                                 .from = from, .times = times};
}

static inline void meddle(size_t i, const char *call, const char *name,
                          void (*act)(void)) {
  rule(i, call, name, 0, 1, 1);
  watch.rules[i].act = act;
}

static inline bool ends_with(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && strcmp(text + n - m, end) == 0;
}

/* -1: the call fails, errno tells why. */
static int ask(const char *call, const char *name) {
  for (size_t i = 0; i < RULES; i++) {
    struct rule *rule = &watch.rules[i];
    if (rule->call == NULL || strcmp(rule->call, call) != 0 ||
        (rule->name && !ends_with(name, rule->name)))
      continue;
    rule->calls++;
    if (rule->calls < rule->from || rule->calls - rule->from >= rule->times)
      continue;
    if (rule->act)
      rule->act();
    if (rule->errnum == 0)
      continue;
    errno = rule->errnum;
    return -1;
  }
  return 0;
}

static const char *path_of(int fd) {
  static char path[PATH_MAX];
  char link[64];
  ssize_t n = 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  n = readlink(link, path, sizeof path - 1);
  path[n < 0 ? 0 : n] = '\0';
  return path;
}

static void note(const char *what, const char *path) {
  size_t at = strlen(watch.log);
  const char *slash = strrchr(path, '/');
  snprintf(watch.log + at, sizeof watch.log - at, "%s%s%s",
           at > 0 ? " " : "", what, slash ? slash + 1 : path);
}

/* ---- 2 the table ------------------------------------------------------- */

#define REAL lv_sys_real
#define SYS const struct lv_sys *sys

static int w_openat(SYS, int dir, const char *path, int flags, mode_t mode) {
  char info[PATH_MAX];
  bool unnamed = (flags & O_TMPFILE) == O_TMPFILE;
  if (strcmp(path, "/proc/meminfo") == 0) {
    snprintf(info, sizeof info, "%s/.meminfo", base);
    path = info;
  }
  if (ask(unnamed ? "O_TMPFILE" : "openat", unnamed ? path_of(dir) : path) < 0)
    return -1;
  return REAL.openat(sys, dir, path, flags, mode);
}

static int w_openat2(SYS, int dir, const char *path, int flags,
                     uint64_t resolve) {
  return ask("openat2", path) < 0
           ? -1
           : REAL.openat2(sys, dir, path, flags, resolve);
}

/* A close that fails has closed all the same. */
static int w_close(SYS, int fd) {
  int failed = ask("close", path_of(fd)), saved = errno;
  int code = REAL.close(sys, fd);
  errno = saved;
  return failed != 0 ? failed : code;
}

static int w_fstat(SYS, int fd, struct stat *st) {
  return ask("fstat", path_of(fd)) < 0 ? -1 : REAL.fstat(sys, fd, st);
}

static int w_fstatat(SYS, int dir, const char *path, struct stat *st,
                     int flags) {
  return ask("fstatat", path) < 0 ? -1
                                  : REAL.fstatat(sys, dir, path, st, flags);
}

static int w_fstatfs(SYS, int fd, struct statfs *st) {
  int code = ask("fstatfs", path_of(fd)) < 0 ? -1 : REAL.fstatfs(sys, fd, st);
  if (watch.magic != 0)
    st->f_type = watch.magic;
  return code;
}

static ssize_t w_pwritev(SYS, int fd, const struct iovec *iov, int count,
                         off_t at) {
  watch.fd = fd;
  return ask("pwritev", path_of(fd)) < 0
           ? -1
           : REAL.pwritev(sys, fd, iov, count, at);
}

static int w_fsync(SYS, int fd) {
  struct stat st;
  (void)sys;
  if (!CHECK(fstat(fd, &st) == 0) || ask("fsync", path_of(fd)) < 0)
    return -1;
  if (S_ISDIR(st.st_mode))
    note("D:", strcmp(path_of(fd), base) == 0 ? "." : path_of(fd));
  else
    note("f", "");
  return 0;
}

static int w_syncfs(SYS, int fd) {
  struct stat st;
  (void)sys;
  if (!CHECK(fstat(fd, &st) == 0) || ask("syncfs", path_of(fd)) < 0)
    return -1;
  if (watch.poor) {
    errno = EIO;
    return -1;
  }
  note("S", "");
  return 0;
}

static int w_sync_file_range(SYS, int fd, off_t at, off_t n, unsigned flags) {
  (void)sys, (void)fd, (void)at, (void)n, (void)flags;
  note("s", "");
  return 0;
}

static int w_getlk(SYS, int fd, struct flock *lock) {
  return ask("getlk", path_of(fd)) < 0 ? -1 : REAL.getlk(sys, fd, lock);
}

static int w_futimens(SYS, int fd, const struct timespec ts[2]) {
  return ask("futimens", path_of(fd)) < 0 ? -1 : REAL.futimens(sys, fd, ts);
}

static int w_fchmod(SYS, int fd, mode_t mode) {
  return ask("fchmod", path_of(fd)) < 0 ? -1 : REAL.fchmod(sys, fd, mode);
}

static int w_linkat(SYS, int from_dir, const char *from, int to_dir,
                    const char *to, int flags) {
  int code = ask("linkat", to) < 0
               ? -1
               : REAL.linkat(sys, from_dir, from, to_dir, to, flags);
  if (code == 0)
    note("L:", to);
  return code;
}

static int w_renameat2(SYS, int from_dir, const char *from, int to_dir,
                       const char *to, unsigned flags) {
  int code = ask("renameat2", to) < 0
               ? -1
               : REAL.renameat2(sys, from_dir, from, to_dir, to, flags);
  if (code == 0)
    note("R:", to);
  return code;
}

static int w_unlinkat(SYS, int dir, const char *path, int flags) {
  int code = ask("unlinkat", path) < 0 ? -1
                                       : REAL.unlinkat(sys, dir, path, flags);
  if (code == 0)
    note("U:", path);
  return code;
}

static int w_mkdirat(SYS, int dir, const char *path, mode_t mode) {
  int code =
    ask("mkdirat", path) < 0 ? -1 : REAL.mkdirat(sys, dir, path, mode);
  if (code == 0)
    note("M:", path);
  return code;
}

static ssize_t w_getrandom(SYS, void *buf, size_t n, unsigned flags) {
  return ask("getrandom", "") < 0 ? -1 : REAL.getrandom(sys, buf, n, flags);
}

static int w_getrlimit(SYS, int what, struct rlimit *limit) {
  return ask("getrlimit", "") < 0 ? -1 : REAL.getrlimit(sys, what, limit);
}

/* Nothing fails, nothing was told. */
static void watch_begin(void) {
  memset(&watch, 0, sizeof watch);
  watch.sys = REAL;
  watch.magic = EXT4_SUPER_MAGIC;
  watch.sys.openat = w_openat;
  watch.sys.openat2 = w_openat2;
  watch.sys.close = w_close;
  watch.sys.fstat = w_fstat;
  watch.sys.fstatat = w_fstatat;
  watch.sys.fstatfs = w_fstatfs;
  watch.sys.pwritev = w_pwritev;
  watch.sys.fsync = w_fsync;
  watch.sys.syncfs = w_syncfs;
  watch.sys.sync_file_range = w_sync_file_range;
  watch.sys.getlk = w_getlk;
  watch.sys.futimens = w_futimens;
  watch.sys.fchmod = w_fchmod;
  watch.sys.linkat = w_linkat;
  watch.sys.renameat2 = w_renameat2;
  watch.sys.unlinkat = w_unlinkat;
  watch.sys.mkdirat = w_mkdirat;
  watch.sys.getrandom = w_getrandom;
  watch.sys.getrlimit = w_getrlimit;
}

/* ---- 3 the job --------------------------------------------------------- */

struct lv_job {
  bool cancel;            /* somebody wants it to end */
  bool committed;         /* that comes too late */
  uint64_t bytes, items, total_bytes, total_items;
  unsigned spreads, fails_at; /* this spread fails; 0: none */
};

static struct lv_job job;

void lv_job_total(struct lv_job *j, uint64_t bytes, uint64_t items) {
  j->total_bytes = bytes;
  j->total_items = items;
}

void lv_job_step(struct lv_job *j, uint64_t bytes, uint64_t items) {
  j->bytes += bytes;
  j->items += items;
}

bool lv_job_cancelled(const struct lv_job *j) {
  return j->cancel && !j->committed;
}

bool lv_job_commit(struct lv_job *j) {
  j->committed = j->committed || !j->cancel;
  if (j->committed)
    note("commit", "");
  return j->committed;
}

unsigned lv_job_width(const struct lv_job *j) {
  (void)j;
  return 1;
}

int lv_job_spread(struct lv_job *j, size_t n,
                  int (*fn)(void *arg, size_t i, struct lvhd_error *err),
                  void *arg, struct lvhd_error *err) {
  struct lvhd_error own = LVHD_ERROR_INIT;
  int code = 0;
  if (++j->spreads == j->fails_at)
    return lv_fail(err, LVHD_VM_E_OUT_OF_RESOURCE, LV_R_NONE);
  for (size_t i = 0; i < n && code == 0; i++) {
    if (lv_job_cancelled(j))
      return lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
    code = fn(arg, i, err ? err : &own);
  }
  lvhd_error_clear(&own);
  return code;
}

/* ---- 4 what is there --------------------------------------------------- */

static const char *in(const char *name) {
  static char path[4][PATH_MAX];
  static int turn;
  turn = (turn + 1) % 4;
  snprintf(path[turn], sizeof path[turn], "%.900s/%.3000s", base, name);
  return path[turn];
}

static void write_text(const char *name, const char *text) {
  FILE *f = fopen(in(name), "w");
  CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* What the library itself has allocated was not counted. */
#ifdef LVHD_SPEC_POOR_H
#define FREE __real_free
#else
#define FREE free
#endif

static int visible(const struct dirent *e) {
  return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
         strcmp(e->d_name, ".meminfo") != 0;
}

static void list_below(char *text, size_t room, const char *below) {
  struct dirent **found = NULL;
  int n = scandir(in(below), &found, visible, alphasort);
  for (int i = 0; i < n; i++) {
    char name[2000];
    size_t at = strlen(text);
    struct stat st;
    snprintf(name, sizeof name, "%.1700s%s", below, found[i]->d_name);
    FREE(found[i]);
    CHECK_INT(lstat(in(name), &st), 0);
    snprintf(text + at, room - at, "%s%s", at > 0 ? " " : "", name);
    if (S_ISDIR(st.st_mode)) {
      strcat(name, "/");
      list_below(text, room, name);
    }
  }
  FREE(found);
}

/* All files and folders, by name, but for those of the test itself. */
static inline const char *there(void) {
  static char text[8192];
  text[0] = '\0';
  list_below(text, sizeof text, "");
  return text;
}

static int drop_one(const char *path, const struct stat *st, int type,
                    struct FTW *where) {
  (void)st, (void)type;
  if (where->level > 0 && !ends_with(path, "/parent.vhd") &&
      !ends_with(path, "/.meminfo"))
    CHECK_INT(remove(path), 0);
  return 0;
}

/* All but parent.vhd is removed. */
static void clear_all(void) {
  nftw(base, drop_one, 16, FTW_DEPTH | FTW_PHYS);
}

static unsigned descriptors(void) {
  DIR *dir = opendir("/proc/self/fd");
  unsigned n = 0;
  while (dir && readdir(dir))
    n++;
  if (dir)
    closedir(dir);
  return n;
}

static bool base_make(const char *name) {
  const char *tmp = getenv("TMPDIR");
  char path[sizeof base], real[PATH_MAX];
  snprintf(path, sizeof path, "%.200s/lvhd-%s.XXXXXX", tmp ? tmp : "/tmp",
           name);
  if (mkdtemp(path) == NULL || realpath(path, real) == NULL)
    return false;
  snprintf(base, sizeof base, "%.900s", real);
  write_text(".meminfo", "MemTotal: 1 kB\nDirty: 0 kB\nWriteback: 0 kB\n");
  return true;
}

static void base_remove(void) {
  clear_all();
  unlink(in("parent.vhd"));
  unlink(in(".meminfo"));
  CHECK_INT(rmdir(base), 0);
}

#endif
