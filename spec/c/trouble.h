/* SPDX-License-Identifier: MIT
 *
 * A table of system calls that lies over another one, the real one or a
 * folder in memory, and in which some calls fail, somebody meddles just
 * before them, or what they say is forged.  What else a call should do, a
 * test puts into the table itself.  Knows src/io/sys.h and nothing else of
 * lvhd, nor what a test asks, nor where it has its files.  Its rules are for
 * calls that come one after the other; due may be asked by all threads.
 *
 *   struct trouble t;
 *   trouble_begin(&t);
 *   trouble_fail(&t, "fsync", EIO, 2, 1);   the second one, once
 *   trouble_meddle(&t, "openat", swap, 1);  before the first one
 *   trouble_fail(&t, "linkat", EPERM, 1, ALWAYS)->name = "/a";
 */
#ifndef LVHD_SPEC_TROUBLE_H
#define LVHD_SPEC_TROUBLE_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/sys.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- rules -------------------------------------------------------------- */

#define ALWAYS UINT_MAX
#define ANY ""
#define SKIPPED (-1)
#define RULES 4

/* The from-th call of that name (1 on), and those behind it: `times` in all.
 * An openat of what has no name is "O_TMPFILE". */
struct trouble_rule {
  const char *call; /* NULL: no rule; ANY */
  const char *name; /* of files whose path ends so; NULL: of all */
  int errnum;       /* 0: the call is made; SKIPPED: it is not, and says 0 */
  unsigned from, times;
  unsigned every;   /* of these each second, third ...; 0: all */
  unsigned calls;   /* so many yet */
  void (*meddle)(void);        /* comes before */
  void (*forge)(void *answer); /* the stat, flock ... that the call tells */
};

struct trouble {
  struct lv_sys sys; /* first: its functions get it */
  const struct lv_sys *under;
  struct trouble_rule rules[RULES];
  int (*due)(const char *call); /* asked of every call: 0 or errno; or NULL */
  /* Is told of every call, afterwards; or NULL. */
  void (*saw)(struct trouble *t, const char *call, int fd, const char *path,
              bool well);
  bool folders;    /* what opens a folder is another call, "folder" */
  const char *hit; /* the last call that the first rule befell */
  int fd;          /* and of which descriptor, or in which folder */
  void (*forge)(void *answer); /* of the call that is being made */
  unsigned wrong;  /* closes of what was not open */
};

static inline struct trouble *trouble_of(const struct lv_sys *sys) {
  return (struct trouble *)(uintptr_t)sys;
}

static inline bool ends_with(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && strcmp(text + n - m, end) == 0;
}

/* Of a real one. */
static inline const char *path_of(int fd) {
  static char path[PATH_MAX];
  char link[64];
  ssize_t n = 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  n = readlink(link, path, sizeof path - 1);
  path[n < 0 ? 0 : n] = '\0';
  return path;
}

/* What has no path goes by its descriptor, what has no name by its folder. */
static inline bool trouble_meant(const struct trouble_rule *rule,
                                 const char *call, int fd, const char *path) {
  if (rule->call == NULL ||
      (rule->call[0] != '\0' && strcmp(rule->call, call) != 0))
    return false;
  if (rule->name == NULL)
    return true;
  return ends_with(path && strcmp(call, "O_TMPFILE") != 0 ? path : path_of(fd),
                   rule->name);
}

static inline bool trouble_befalls(struct trouble_rule *rule) {
  unsigned n = ++rule->calls;
  return n >= rule->from && n - rule->from < rule->times &&
         (rule->every == 0 || (n - rule->from) % rule->every == 0);
}

/* What becomes of a call, as a rule's errnum. */
static int trouble_asks(struct trouble *t, const char *call, int fd,
                        const char *path) {
  int errnum = t->due ? t->due(call) : 0;
  if (t->forge)
    t->forge = NULL;
  for (size_t i = 0; i < RULES; i++) {
    struct trouble_rule *rule = &t->rules[i];
    if (!trouble_meant(rule, call, fd, path) || !trouble_befalls(rule))
      continue;
    if (i == 0) {
      t->hit = call;
      t->fd = fd;
    }
    if (rule->meddle)
      rule->meddle();
    if (rule->forge)
      t->forge = rule->forge;
    if (rule->errnum != 0)
      errnum = rule->errnum;
  }
  return errnum;
}

/* True: the call fails, and errno is set.  For a test's own entries. */
static inline bool trouble_has(const struct lv_sys *sys, const char *call) {
  int errnum = trouble_asks(trouble_of(sys), call, -1, NULL);
  if (errnum != 0)
    errno = errnum;
  return errnum != 0;
}

/* What it returns, where errnum is what becomes of it. */
static inline int64_t trouble_tells(struct trouble *t, const char *call,
                                    int fd, const char *path, int errnum,
                                    void *answer, int64_t got) {
  int saved = errnum > 0 ? errnum : errno;
  int64_t says = errnum == 0 ? got : errnum == SKIPPED ? 0 : -1;
  if (got >= 0 && t->forge && answer)
    t->forge(answer);
  if (t->saw)
    t->saw(t, call, fd, path, says >= 0);
  errno = saved;
  return says;
}

/* ---- the table ---------------------------------------------------------- */

/* Parameters, of which the first names the folder or the file; the path; and
 * where the answer goes.  What has one is made, and forged, even where it
 * fails: what is there then must not count. */
#define TROUBLE_CALLS(X)                                                     \
  X(int, dupfd, (int a, int b), (a, b), NULL, NULL)                          \
  X(int, fstat, (int a, struct stat *b), (a, b), NULL, b)                    \
  X(int, fstatat, (int a, const char *b, struct stat *c, int d),             \
    (a, b, c, d), b, c)                                                      \
  X(int, fstatfs, (int a, struct statfs *b), (a, b), NULL, b)                \
  X(ssize_t, readlinkat, (int a, const char *b, char *c, size_t d),          \
    (a, b, c, d), b, NULL)                                                   \
  X(ssize_t, pread, (int a, void *b, size_t c, off_t d),                     \
    (a, b, c, d), NULL, b)                                                   \
  X(ssize_t, pwritev, (int a, const struct iovec *b, int c, off_t d),        \
    (a, b, c, d), NULL, NULL)                                                \
  X(ssize_t, copy, (int a, off_t b, int c, off_t d, size_t e),               \
    (a, b, c, d, e), NULL, NULL)                                             \
  X(int, clone, (int a, off_t b, size_t c, int d, off_t e),                  \
    (a, b, c, d, e), NULL, NULL)                                             \
  X(ssize_t, getdents, (int a, void *b, size_t c), (a, b, c), NULL, NULL)    \
  X(off_t, lseek, (int a, off_t b, int c), (a, b, c), NULL, NULL)            \
  X(int, ftruncate, (int a, off_t b), (a, b), NULL, NULL)                    \
  X(int, fallocate, (int a, int b, off_t c, off_t d),                        \
    (a, b, c, d), NULL, NULL)                                                \
  X(int, send, (int a, off_t b, off_t c), (a, b, c), NULL, NULL)             \
  X(int, fsync, (int a), (a), NULL, NULL)                                    \
  X(int, syncfs, (int a), (a), NULL, NULL)                                   \
  X(int, fdatasync, (int a), (a), NULL, NULL)                                \
  X(int, sync_file_range, (int a, off_t b, off_t c, unsigned d),             \
    (a, b, c, d), NULL, NULL)                                                \
  X(int, getlk, (int a, struct flock *b), (a, b), NULL, b)                   \
  X(int, setlk, (int a, struct flock *b), (a, b), NULL, NULL)                \
  X(int, futimens, (int a, const struct timespec *b), (a, b), NULL, NULL)    \
  X(int, fchmod, (int a, mode_t b), (a, b), NULL, NULL)                      \
  X(int, linkat, (int a, const char *b, int c, const char *d, int e),        \
    (a, b, c, d, e), d, NULL)                                                \
  X(int, renameat2,                                                          \
    (int a, const char *b, int c, const char *d, unsigned e),                \
    (a, b, c, d, e), d, NULL)                                                \
  X(int, unlinkat, (int a, const char *b, int c), (a, b, c), b, NULL)        \
  X(int, mkdirat, (int a, const char *b, mode_t c), (a, b, c), b, NULL)      \
  X(int, getrlimit, (int a, struct rlimit *b), (a, b), "", b)

#define TROUBLE_BARE(...) __VA_ARGS__
#define TROUBLE_CALL(type, name, params, args, path, answer)                 \
  static type trouble_##name(const struct lv_sys *sys,                       \
                             TROUBLE_BARE params) {                          \
    struct trouble *t = trouble_of(sys);                                     \
    int errnum = trouble_asks(t, #name, a, path);                            \
    int64_t got = -1;                                                        \
    if (errnum == 0 || (answer) != NULL)                                     \
      got = t->under->name(t->under, TROUBLE_BARE args);                     \
    return (type)trouble_tells(t, #name, a, path, errnum, answer, got);      \
  }
TROUBLE_CALLS(TROUBLE_CALL)
#undef TROUBLE_CALL

/* A close that fails has closed all the same. */
static int trouble_close(const struct lv_sys *sys, int fd) {
  struct trouble *t = trouble_of(sys);
  int errnum = trouble_asks(t, "close", fd, NULL);
  int code = t->under->close(t->under, fd);
  if (fd >= 0 && code != 0)
    t->wrong++;
  return (int)trouble_tells(t, "close", -1, NULL, errnum, NULL, code);
}

static ssize_t trouble_getrandom(const struct lv_sys *sys, void *buf,
                                 size_t n, unsigned flags) {
  struct trouble *t = trouble_of(sys);
  int errnum = trouble_asks(t, "getrandom", -1, "");
  int64_t got =
    errnum == 0 ? t->under->getrandom(t->under, buf, n, flags) : -1;
  return (ssize_t)trouble_tells(t, "getrandom", -1, "", errnum, NULL, got);
}

static inline const char *trouble_opening(const struct trouble *t, int flags,
                                          const char *call) {
  return (flags & O_TMPFILE) == O_TMPFILE            ? "O_TMPFILE"
         : t->folders && (flags & O_DIRECTORY) != 0 ? "folder"
                                                     : call;
}

static int trouble_openat(const struct lv_sys *sys, int dir, const char *path,
                          int flags, mode_t mode) {
  struct trouble *t = trouble_of(sys);
  const char *call = trouble_opening(t, flags, "openat");
  int errnum = trouble_asks(t, call, dir, path), fd = -1;
  if (errnum == 0)
    fd = t->under->openat(t->under, dir, path, flags, mode);
  return (int)trouble_tells(t, call, dir, path, errnum, NULL, fd);
}

static int trouble_openat2(const struct lv_sys *sys, int dir,
                           const char *path, int flags, uint64_t resolve) {
  struct trouble *t = trouble_of(sys);
  const char *call = trouble_opening(t, flags, "openat2");
  int errnum = trouble_asks(t, call, dir, path), fd = -1;
  if (errnum == 0)
    fd = t->under->openat2(t->under, dir, path, flags, resolve);
  return (int)trouble_tells(t, call, dir, path, errnum, NULL, fd);
}

static char *trouble_realpath(const struct lv_sys *sys, const char *path,
                              char *buf) {
  struct trouble *t = trouble_of(sys);
  int errnum = trouble_asks(t, "realpath", -1, path);
  char *real =
    errnum == 0 ? t->under->realpath(t->under, path, buf) : NULL;
  trouble_tells(t, "realpath", -1, path, errnum, NULL, real ? 0 : -1);
  return real;
}

static int64_t trouble_monotonic(const struct lv_sys *sys) {
  return trouble_of(sys)->under->monotonic(trouble_of(sys)->under);
}

static int64_t trouble_now(const struct lv_sys *sys) {
  return trouble_of(sys)->under->now(trouble_of(sys)->under);
}

/* Over a table that must stay. */
static inline void trouble_upon(struct trouble *t,
                                const struct lv_sys *under) {
  *t = (struct trouble){
#define TROUBLE_ENTRY(type, name, params, args, path, answer)                \
  .sys.name = trouble_##name,
    TROUBLE_CALLS(TROUBLE_ENTRY)
#undef TROUBLE_ENTRY
      .sys.close = trouble_close, .sys.getrandom = trouble_getrandom,
    .sys.openat = trouble_openat, .sys.openat2 = trouble_openat2,
    .sys.realpath = trouble_realpath, .sys.monotonic = trouble_monotonic,
    .sys.now = trouble_now, .under = under};
}

static inline void trouble_begin(struct trouble *t) {
  trouble_upon(t, &lv_sys_real);
}

/* ---- making it ---------------------------------------------------------- */

/* A rule of its own; call NULL: none. */
static inline struct trouble_rule *trouble_fail(struct trouble *t,
                                                const char *call, int errnum,
                                                unsigned from,
                                                unsigned times) {
  size_t i = 0;
  while (i < RULES && t->rules[i].call)
    i++;
  if (i == RULES)
    abort();
  t->rules[i] = (struct trouble_rule){
    .call = call, .errnum = errnum, .from = from, .times = times};
  return &t->rules[i];
}

static inline void trouble_meddle(struct trouble *t, const char *call,
                                  void (*meddle)(void), unsigned at) {
  trouble_fail(t, call, 0, at, 1)->meddle = meddle;
}

/* Of every such call. */
static inline void trouble_forge(struct trouble *t, const char *call,
                                 void (*how)(void *answer)) {
  trouble_fail(t, call, 0, 1, ALWAYS)->forge = how;
}

/* Of a stat: another volume's file, of the same number. */
static inline void other_volume(void *answer) {
  ((struct stat *)answer)->st_dev++;
}

/* Of a stat: it has no name any more. */
static inline void no_links(void *answer) {
  ((struct stat *)answer)->st_nlink = 0;
}

/* The rules' calls are counted from here on. */
static inline void trouble_again(struct trouble *t) {
  for (size_t i = 0; i < RULES; i++)
    t->rules[i].calls = 0;
}

static inline void trouble_over(struct trouble *t) {
  memset(t->rules, 0, sizeof t->rules);
}

#endif
