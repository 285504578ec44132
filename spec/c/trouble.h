/* SPDX-License-Identifier: MIT
 *
 * A table of system calls in which some fail, or somebody meddles just before
 * them; and a folder of one's own, the same before and after each test.  What
 * a call should say instead, a test puts into the table itself.  Knows
 * src/io/sys.h and the errors, nothing else of lvhd.
 *
 *   struct trouble t;
 *   trouble_begin(&t);
 *   trouble_fail(&t, "fsync", EIO, 2, 1);   the second one, once
 *   trouble_meddle(&t, "openat", swap, 1);  before the first one
 */
#ifndef LVHD_SPEC_TROUBLE_H
#define LVHD_SPEC_TROUBLE_H

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "check.h"
#include "io/sys.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- calls -------------------------------------------------------------- */

#define ALWAYS UINT_MAX
#define RULES 4

struct trouble {
  struct lv_sys sys; /* first: its functions get it */
  struct {
    const char *call; /* NULL: no rule */
    int errnum;       /* 0: the call is made */
    unsigned from, times, calls;
    void (*meddle)(void);
  } rules[RULES];
  int (*due)(const char *call); /* asked of every call: 0 or errno; or NULL */
};

/* True: the call fails, and errno is set. */
static bool trouble_has(const struct lv_sys *sys, const char *call) {
  struct trouble *t = (struct trouble *)(uintptr_t)sys;
  int errnum = t->due ? t->due(call) : 0;
  for (size_t i = 0; i < RULES; i++) {
    unsigned n = 0;
    if (t->rules[i].call == NULL || strcmp(t->rules[i].call, call) != 0)
      continue;
    n = ++t->rules[i].calls;
    if (n < t->rules[i].from || n - t->rules[i].from >= t->rules[i].times)
      continue;
    if (t->rules[i].meddle)
      t->rules[i].meddle();
    if (t->rules[i].errnum != 0)
      errnum = t->rules[i].errnum;
  }
  if (errnum != 0)
    errno = errnum;
  return errnum != 0;
}

#define TROUBLE_CALLS(X)                                                     \
  X(int, openat2, (const struct lv_sys *s, int a, const char *b, int c,      \
                   uint64_t d), (s, a, b, c, d))                             \
  X(int, dupfd, (const struct lv_sys *s, int a, int b), (s, a, b))           \
  X(int, fstat, (const struct lv_sys *s, int a, struct stat *b), (s, a, b))  \
  X(int, fstatat, (const struct lv_sys *s, int a, const char *b,             \
                   struct stat *c, int d), (s, a, b, c, d))                  \
  X(int, fstatfs, (const struct lv_sys *s, int a, struct statfs *b),         \
    (s, a, b))                                                               \
  X(ssize_t, readlinkat, (const struct lv_sys *s, int a, const char *b,      \
                          char *c, size_t d), (s, a, b, c, d))               \
  X(ssize_t, pread, (const struct lv_sys *s, int a, void *b, size_t c,       \
                     off_t d), (s, a, b, c, d))                              \
  X(ssize_t, pwritev, (const struct lv_sys *s, int a, const struct iovec *b, \
                       int c, off_t d), (s, a, b, c, d))                     \
  X(ssize_t, copy, (const struct lv_sys *s, int a, off_t b, int c, off_t d,  \
                    size_t e), (s, a, b, c, d, e))                           \
  X(int, clone, (const struct lv_sys *s, int a, off_t b, size_t c, int d,    \
                 off_t e), (s, a, b, c, d, e))                               \
  X(ssize_t, getdents, (const struct lv_sys *s, int a, void *b, size_t c),   \
    (s, a, b, c))                                                            \
  X(off_t, lseek, (const struct lv_sys *s, int a, off_t b, int c),           \
    (s, a, b, c))                                                            \
  X(int, ftruncate, (const struct lv_sys *s, int a, off_t b), (s, a, b))     \
  X(int, fallocate, (const struct lv_sys *s, int a, int b, off_t c,          \
                     off_t d), (s, a, b, c, d))                              \
  X(int, fsync, (const struct lv_sys *s, int a), (s, a))                     \
  X(int, syncfs, (const struct lv_sys *s, int a), (s, a))                    \
  X(int, fdatasync, (const struct lv_sys *s, int a), (s, a))                 \
  X(int, getlk, (const struct lv_sys *s, int a, struct flock *b), (s, a, b)) \
  X(int, setlk, (const struct lv_sys *s, int a, struct flock *b), (s, a, b)) \
  X(int, futimens, (const struct lv_sys *s, int a,                           \
                    const struct timespec *b), (s, a, b))                    \
  X(int, fchmod, (const struct lv_sys *s, int a, mode_t b), (s, a, b))       \
  X(int, linkat, (const struct lv_sys *s, int a, const char *b, int c,       \
                  const char *d, int e), (s, a, b, c, d, e))                 \
  X(int, renameat2, (const struct lv_sys *s, int a, const char *b, int c,    \
                     const char *d, unsigned e), (s, a, b, c, d, e))         \
  X(int, unlinkat, (const struct lv_sys *s, int a, const char *b, int c),    \
    (s, a, b, c))                                                            \
  X(int, mkdirat, (const struct lv_sys *s, int a, const char *b, mode_t c),  \
    (s, a, b, c))                                                            \
  X(int, getrlimit, (const struct lv_sys *s, int a, struct rlimit *b),       \
    (s, a, b))                                                               \
  X(ssize_t, getrandom, (const struct lv_sys *s, void *a, size_t b,          \
                         unsigned c), (s, a, b, c))

#define TROUBLE_CALL(type, name, params, args)                               \
  static type trouble_##name params {                                        \
    return trouble_has(s, #name) ? (type)-1 : lv_sys_real.name args;         \
  }
TROUBLE_CALLS(TROUBLE_CALL)
#undef TROUBLE_CALL

static char *trouble_realpath(const struct lv_sys *sys, const char *path,
                              char *buf) {
  return trouble_has(sys, "realpath") ? NULL
                                      : lv_sys_real.realpath(sys, path, buf);
}

static int trouble_openat(const struct lv_sys *sys, int dir, const char *path,
                          int flags, mode_t mode) {
  const char *call =
    (flags & O_TMPFILE) == O_TMPFILE ? "O_TMPFILE" : "openat";
  return trouble_has(sys, call)
           ? -1
           : lv_sys_real.openat(sys, dir, path, flags, mode);
}

/* A close that fails has closed all the same. */
static int trouble_close(const struct lv_sys *sys, int fd) {
  bool fails = trouble_has(sys, "close");
  int saved = errno;
  int code = lv_sys_real.close(sys, fd);
  if (fails)
    errno = saved;
  return fails ? -1 : code;
}

static void trouble_begin(struct trouble *t) {
  *t = (struct trouble){.sys = lv_sys_real};
#define TROUBLE_ENTRY(type, name, params, args) t->sys.name = trouble_##name;
  TROUBLE_CALLS(TROUBLE_ENTRY)
#undef TROUBLE_ENTRY
  t->sys.realpath = trouble_realpath;
  t->sys.openat = trouble_openat;
  t->sys.close = trouble_close;
}

/* The index of a rule of its own. */
static size_t trouble_rule(struct trouble *t, const char *call, int errnum,
                           unsigned from, unsigned times) {
  size_t i = 0;
  while (i < RULES && t->rules[i].call)
    i++;
  if (i == RULES)
    abort();
  t->rules[i].call = call;
  t->rules[i].errnum = errnum;
  t->rules[i].from = from;
  t->rules[i].times = times;
  return i;
}

static inline void trouble_fail(struct trouble *t, const char *call,
                                int errnum, unsigned from, unsigned times) {
  trouble_rule(t, call, errnum, from, times);
}

static inline void trouble_meddle(struct trouble *t, const char *call,
                                  void (*meddle)(void), unsigned at) {
  t->rules[trouble_rule(t, call, 0, at, 1)].meddle = meddle;
}

static inline void trouble_over(struct trouble *t) {
  memset(t->rules, 0, sizeof t->rules);
}

/* ---- a folder of one's own ---------------------------------------------- */

static char trouble_base[PATH_MAX / 4];

/* A path below it; four at a time. */
static inline const char *in(const char *name) {
  static char path[4][PATH_MAX];
  static unsigned turn;
  char *at = path[turn++ % 4];
  snprintf(at, PATH_MAX, "%s/%s", trouble_base, name);
  return at;
}

/* The text, and n letters behind it. */
static inline char *lengthy(const char *text, size_t n) {
  static char path[4 * PATH_MAX];
  size_t m = strlen(text);
  memcpy(path, text, m);
  memset(path + m, 'x', n);
  path[m + n] = '\0';
  return path;
}

static inline void trouble_folder(const char *name) {
  const char *tmp = getenv("TMPDIR");
  char given[PATH_MAX / 4 - 64];
  char real[PATH_MAX];
  snprintf(given, sizeof given, "%s/lvhd-%s.XXXXXX", tmp ? tmp : "/tmp",
           name);
  if (mkdtemp(given) == NULL || realpath(given, real) == NULL ||
      strlen(real) >= sizeof trouble_base)
    abort();
  memcpy(trouble_base, real, strlen(real) + 1);
}

static inline void put_text(const char *name, const char *text) {
  FILE *f = fopen(in(name), "w");
  CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static inline bool exists(const char *name) {
  struct stat st;
  return lstat(in(name), &st) == 0;
}

static inline unsigned entries(const char *folder) {
  DIR *dir = opendir(folder);
  unsigned n = 0;
  while (dir && readdir(dir))
    n++;
  if (dir)
    closedir(dir);
  return n;
}

static inline unsigned descriptors(void) {
  return entries("/proc/self/fd");
}

/* ---- what is told ------------------------------------------------------- */

/* A failure by this call, and nothing is told twice; err is cleared. */
static inline void check_told(struct lvhd_error *err, int code, int want,
                              int errnum, const char *call,
                              const char *file, int line) {
  if (!check_is(code == want && err->code == want && err->errnum == errnum &&
                  (err->syscall == NULL ? call == NULL
                                        : call && strcmp(err->syscall,
                                                         call) == 0),
                file, line, "told"))
    fprintf(stderr, "  got  %s %s of %s\n  want %s %s of %s\n",
            lvhd_code_name(code), strerrorname_np(err->errnum),
            err->syscall ? err->syscall : "none", lvhd_code_name(want),
            strerrorname_np(errnum), call ? call : "none");
  lvhd_error_clear(err);
}

static inline void check_reason(struct lvhd_error *err, int code, int want,
                                int reason, const char *file, int line) {
  if (!check_is(code == want && err->code == want && err->reason == reason,
                file, line, "reason"))
    fprintf(stderr, "  got  %s/%s\n  want %s/%s\n", lvhd_code_name(code),
            lvhd_reason_name(err->reason), lvhd_code_name(want),
            lvhd_reason_name(reason));
  lvhd_error_clear(err);
}

/* The code, with the errno of a call; the code, with a reason. */
#define TOLD(err, code, want, errnum, call)                                  \
  check_told(err, code, LVHD_##want, errnum, call, __FILE__, __LINE__)
#define REASON(err, code, want, reason)                                      \
  check_reason(err, code, LVHD_##want, LV_R_##reason, __FILE__, __LINE__)

#ifdef LVHD_SPEC_POOR_H /* included before */
/* ---- memory ------------------------------------------------------------- */

/* Each allocation fails in turn, and all from there on: the answer is right
 * or E_OUTOFMEMORY, and nothing is held or open. */
static inline void poorly(const char *name, int (*ask)(void)) {
  for (int on = 0; on < 2; on++)
    for (unsigned k = 1, hits = 1; hits > 0; k++) {
      long held = atomic_load(&poor.held);
      unsigned open = descriptors();
      int code = 0;
      poor_begin(k, on != 0, POOR_ANY);
      code = ask();
      hits = poor_end();
      if (!CHECK(code == (hits > 0 ? LVHD_E_OUTOFMEMORY : 0)) ||
          !CHECK(atomic_load(&poor.held) == held) ||
          !CHECK(descriptors() == open))
        fprintf(stderr, "  %s, allocation %u: %s\n", name, k,
                lvhd_code_name(code));
    }
}

#endif
#endif
