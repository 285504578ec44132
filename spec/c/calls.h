/* SPDX-License-Identifier: MIT
 *
 * One question put to the rooms below the verbs, again and again: with one
 * system call that fails, with one allocation that fails, with something that
 * happens in between.  Each answer is a line of text; descriptors and memory
 * are counted.  For programs that are linked with POOR (see poor.h).
 */
#ifndef LVHD_SPEC_CALLS_H
#define LVHD_SPEC_CALLS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "io/env.h"
#include "lvhd.h"
#include "poor.h"

/* ---- the calls ----------------------------------------------------------- */

/* From the `from`-th call of this name on (NULL: of any), `times` times: act
 * is done first, the call fails with errnum (0: it does not), forge changes
 * what a stat says; of all that do not fail with `forges`. */
static struct calls {
  struct lv_sys sys; /* first: its functions get it */
  const char *call;
  int errnum;
  unsigned from, times, every, seen; /* every: not all of them; 0: all */
  void (*act)(void);
  void (*forge)(struct stat *st);
  void (*forge_fs)(struct statfs *st); /* of every fstatfs */
  bool forges;
  const char *hit; /* the last one that it befell */
  unsigned wrong;  /* closes of what was not open */
} calls;

static inline bool calls_due(const char *call) {
  if (calls.from == 0 || (calls.call && strcmp(calls.call, call) != 0))
    return false;
  calls.seen++;
  if (calls.seen < calls.from || calls.seen - calls.from >= calls.times)
    return false;
  if (calls.every && (calls.seen - calls.from) % calls.every != 0)
    return false;
  calls.hit = call;
  if (calls.act)
    calls.act();
  return true;
}

static inline bool calls_fail(bool due) {
  if (due && calls.errnum != 0)
    errno = calls.errnum;
  return due && calls.errnum != 0;
}

#define CALLS_REAL lv_sys_real
#define CALLS(type, name, params, args)                                      \
  static inline type calls_##name params {                                   \
    (void)sys;                                                               \
    return calls_fail(calls_due(#name)) ? (type)-1 : CALLS_REAL.name args;   \
  }

CALLS(int, openat,
      (const struct lv_sys *sys, int dir, const char *path, int flags,
       mode_t mode),
      (sys, dir, path, flags, mode))
CALLS(int, openat2,
      (const struct lv_sys *sys, int dir, const char *path, int flags,
       uint64_t resolve),
      (sys, dir, path, flags, resolve))
CALLS(ssize_t, readlinkat,
      (const struct lv_sys *sys, int dir, const char *path, char *buf,
       size_t n),
      (sys, dir, path, buf, n))
CALLS(ssize_t, getdents,
      (const struct lv_sys *sys, int fd, void *buf, size_t n),
      (sys, fd, buf, n))
CALLS(ssize_t, pread,
      (const struct lv_sys *sys, int fd, void *buf, size_t n, off_t at),
      (sys, fd, buf, n, at))

static inline int calls_fstatfs(const struct lv_sys *sys, int fd,
                                struct statfs *st) {
  int code =
    calls_fail(calls_due("fstatfs")) ? -1 : CALLS_REAL.fstatfs(sys, fd, st);
  if (code == 0 && calls.forge_fs)
    calls.forge_fs(st);
  return code;
}

static inline char *calls_realpath(const struct lv_sys *sys,
                                   const char *path, char *buf) {
  return calls_fail(calls_due("realpath"))
           ? NULL
           : CALLS_REAL.realpath(sys, path, buf);
}

/* What a stat that fails leaves looks like a link. */
static inline int calls_no_stat(struct stat *st) {
  memset(st, 0xAA, sizeof *st);
  return -1;
}

static inline int calls_stat(bool due, int code, struct stat *st) {
  if ((due || calls.forges) && calls.forge && code == 0)
    calls.forge(st);
  return code;
}

static inline int calls_fstat(const struct lv_sys *sys, int fd,
                              struct stat *st) {
  bool due = calls_due("fstat");
  return calls_fail(due)
           ? calls_no_stat(st)
           : calls_stat(due, CALLS_REAL.fstat(sys, fd, st), st);
}

static inline int calls_fstatat(const struct lv_sys *sys, int dir,
                                const char *path, struct stat *st,
                                int flags) {
  bool due = calls_due("fstatat");
  return calls_fail(due)
           ? calls_no_stat(st)
           : calls_stat(due, CALLS_REAL.fstatat(sys, dir, path, st, flags),
                        st);
}

/* A close that fails has closed all the same. */
static inline int calls_close(const struct lv_sys *sys, int fd) {
  bool fails = calls_fail(calls_due("close"));
  int code = CALLS_REAL.close(sys, fd);
  calls.wrong += fd >= 0 && code != 0;
  if (fails)
    errno = calls.errnum;
  return fails ? -1 : code;
}

static inline void calls_break(const char *call, int errnum, unsigned from,
                               unsigned times) {
  calls = (struct calls){.sys = lv_sys_real, .call = call, .errnum = errnum,
                         .from = from, .times = times};
  calls.sys.openat = calls_openat;
  calls.sys.openat2 = calls_openat2;
  calls.sys.close = calls_close;
  calls.sys.fstat = calls_fstat;
  calls.sys.fstatat = calls_fstatat;
  calls.sys.fstatfs = calls_fstatfs;
  calls.sys.readlinkat = calls_readlinkat;
  calls.sys.realpath = calls_realpath;
  calls.sys.getdents = calls_getdents;
  calls.sys.pread = calls_pread;
}

static inline void calls_whole(void) { calls_break(NULL, 0, 0, 0); }

/* ---- the scene ----------------------------------------------------------- */

/* A folder of the test's own; "~" in what is asked and answered. */
static char scene[PATH_MAX];

static inline void scene_begin(void) {
  char name[] = "/tmp/lvhd-calls.XXXXXX";
  if (!mkdtemp(name) || !realpath(name, scene))
    abort();
}

/* "~/a" is told by its whole path; sixteen at a time. */
static inline const char *whole(const char *text) {
  static char paths[16][PATH_MAX * 2];
  static unsigned turn;
  char *path = paths[turn++ % 16];
  if (text == NULL || text[0] != '~')
    return text;
  snprintf(path, sizeof paths[0], "%s%s", scene, text + 1);
  return path;
}

/* The other way round. */
static inline const char *brief(const char *path) {
  static char texts[8][PATH_MAX];
  static unsigned turn;
  char *text = texts[turn++ % 8];
  size_t n = strlen(scene);
  if (path == NULL || strncmp(path, scene, n) != 0)
    return path ? path : "none";
  snprintf(text, sizeof texts[0], "~%.*s", PATH_MAX - 2, path + n);
  return text;
}

/* Each file holds its own name. */
static inline void put_file(const char *name) {
  FILE *file = fopen(whole(name), "w");
  if (!file || fputs(name, file) < 0 || fclose(file) != 0)
    abort();
}

static inline void put_folder(const char *name) {
  if (mkdir(whole(name), 0777) != 0)
    abort();
}

static inline void put_link(const char *text, const char *name) {
  if (symlink(whole(text), whole(name)) != 0)
    abort();
}

static inline void move(const char *from, const char *to) {
  if (rename(whole(from), whole(to)) != 0)
    abort();
}

static inline void drop(const char *name) {
  if (remove(whole(name)) != 0)
    abort();
}

static inline const char *name_in(int fd) {
  static char name[300];
  ssize_t n = pread(fd, name, sizeof name - 1, 0);
  name[n < 0 ? 0 : n] = '\0';
  return name;
}

/* Of any depth. */
static inline void scene_clear(int folder, const char *name) {
  int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
  const struct dirent *entry = NULL;
  while (dir && (entry = readdir(dir)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    if (unlinkat(fd, entry->d_name, 0) != 0)
      scene_clear(fd, entry->d_name);
  }
  if (dir)
    closedir(dir);
  unlinkat(folder, name, AT_REMOVEDIR);
}

static inline void scene_end(void) {
  scene_clear(AT_FDCWD, scene);
  CHECK(access(scene, F_OK) != 0);
}

/* ---- asking -------------------------------------------------------------- */

#define ANSWER 1000

/* Asks, and writes what it was told where that was good. */
typedef int ask_fn(char answer[ANSWER], struct lvhd_error *err);

static inline long descriptors(void) {
  long n = 0;
  DIR *dir = opendir("/proc/self/fd");
  while (dir && readdir(dir))
    n++;
  if (dir)
    closedir(dir);
  return n;
}

/* "E_PATH_NOT_FOUND/FILE_MISSING ENOENT openat2" */
static inline void say_error(char answer[ANSWER],
                             const struct lvhd_error *err) {
  const char *reason = lvhd_reason_name(err->reason);
  const char *name = err->errnum ? lvhd_errno_name(err->errnum) : NULL;
  snprintf(answer, ANSWER, "%s%s%s%s%s%s%s", lvhd_code_name(err->code),
           reason ? "/" : "", reason ? reason : "", name ? " " : "",
           name ? name : "", err->syscall ? " " : "",
           err->syscall ? err->syscall : "");
}

/* The answer; nothing is held, none but the right ones are closed. */
static inline const char *answer_of(ask_fn *ask, const char *what) {
  static char answers[4][ANSWER];
  static unsigned turn;
  char *answer = answers[turn++ % 4];
  struct lvhd_error err = LVHD_ERROR_INIT;
  long open = descriptors();
  long held = atomic_load(&poor.held);
  int code = 0;
  strcpy(answer, "good");
  code = ask(answer, &err);
  poor_end();
  calls.from = 0;
  if (code != 0)
    say_error(answer, &err);
  if (!CHECK(code == err.code) ||
      !CHECK(code != 0 || (err.reason == 0 && err.has == 0)))
    fprintf(stderr, "  %s: %s, but %d\n", what, answer, code);
  lvhd_error_clear(&err);
  if (!CHECK(descriptors() == open) || !CHECK(calls.wrong == 0) ||
      !CHECK(atomic_load(&poor.held) == held))
    fprintf(stderr, "  %s: %s\n", what, answer);
  return answer;
}

/* The same without anything to write an error to. */
static inline void ask_mutely(ask_fn *ask, const char *want) {
  char answer[ANSWER];
  long open = descriptors();
  int code = ask(answer, NULL);
  CHECK((code == 0) == (strncmp(want, "E_", 2) != 0 &&
                        strncmp(want, "VM_", 3) != 0 &&
                        strncmp(want, "DISP_", 5) != 0));
  CHECK(descriptors() == open);
}

/* Each allocation fails, alone and with all behind it. */
static inline void ask_poorly(ask_fn *ask, const char *what,
                              const char *want) {
  for (unsigned on = 0; on < 2; on++) {
    unsigned hits = 0;
    for (unsigned k = 1; k == 1 || hits > 0; k++) {
      const char *got = NULL;
      calls_whole();
      poor_begin(k, on != 0, POOR_ANY);
      got = answer_of(ask, what);
      hits = atomic_load(&poor.hits);
      if (!CHECK(strcmp(got, want) == 0 ||
                 strncmp(got, "E_OUTOFMEMORY", 13) == 0))
        fprintf(stderr, "  %s, allocation %u: %s\n", what, k, got);
    }
  }
}

/* Names of calls that may fail unheard here, and another answer that is as
 * good when one fails. */
static const char *calls_unheard = "", *calls_also;

static inline bool has_word(const char *words, const char *word) {
  size_t n = strlen(word);
  for (const char *at = words; (at = strstr(at, word)) != NULL; at += n)
    if ((at == words || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
      return true;
  return false;
}

/* It was the faster of two ways, or what it would tell is no longer asked. */
static inline bool may_fail(const char *call, const char *got,
                            const char *want) {
  return (calls_also && strcmp(got, calls_also) == 0) ||
         ((has_word("close readlinkat", call) ||
           has_word(calls_unheard, call)) && strcmp(got, want) == 0);
}

/* Each system call fails in turn: that is told, with its name. */
static inline void ask_vainly(ask_fn *ask, const char *what,
                              const char *want) {
  for (unsigned k = 1;; k++) {
    const char *got = NULL, *hit = NULL;
    char told[80];
    calls_break(NULL, EIO, k, 1);
    got = answer_of(ask, what);
    hit = calls.hit;
    if (hit == NULL)
      break;
    snprintf(told, sizeof told, " EIO %s",
             strcmp(hit, "getdents") == 0 ? "getdents64" : hit);
    if (!CHECK(strstr(got, told) != NULL || may_fail(hit, got, want)))
      fprintf(stderr, "  %s, call %u, %s: %s\n", what, k, hit, got);
  }
  calls_whole();
}

/* All of it. */
static inline void expect(ask_fn *ask, const char *what, const char *want) {
  const char *got = NULL;
  calls_whole();
  got = answer_of(ask, what);
  if (!CHECK(strcmp(got, want) == 0)) {
    fprintf(stderr, "  %s:\n  got  %s\n  want %s\n", what, got, want);
    return;
  }
  ask_mutely(ask, want);
  ask_poorly(ask, what, want);
  ask_vainly(ask, what, want);
}

/* After calls_break(), once. */
static inline void expect_once(ask_fn *ask, const char *what,
                               const char *want) {
  const char *got = answer_of(ask, what);
  if (!CHECK(strcmp(got, want) == 0) || !CHECK(calls.hit != NULL))
    fprintf(stderr, "  %s:\n  got  %s\n  want %s\n", what, got, want);
  calls_whole();
}

#endif
