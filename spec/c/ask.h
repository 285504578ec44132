/* SPDX-License-Identifier: MIT
 *
 * One question put to the rooms below the verbs, again and again: with one
 * system call that fails, with one allocation that fails, with something that
 * happens in between.  Each answer is a line of text; descriptors and memory
 * are counted.  For programs that are linked with POOR (see poor.h).  Knows
 * nothing of what is asked.
 */
#ifndef LVHD_SPEC_ASK_H
#define LVHD_SPEC_ASK_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "folder.h"
#include "io/env.h"
#include "lvhd.h"
#include "poor.h"
#include "trouble.h"

/* ---- the calls ----------------------------------------------------------- */

static struct trouble calls;

/* What a stat that fails leaves looks like a link. */
static inline int calls_fstat(const struct lv_sys *sys, int fd,
                              struct stat *st) {
  int code = trouble_fstat(sys, fd, st);
  if (code != 0)
    memset(st, 0xAA, sizeof *st);
  return code;
}

static inline int calls_fstatat(const struct lv_sys *sys, int dir,
                                const char *path, struct stat *st,
                                int flags) {
  int code = trouble_fstatat(sys, dir, path, st, flags);
  if (code != 0)
    memset(st, 0xAA, sizeof *st);
  return code;
}

static inline void calls_whole(void) {
  trouble_begin(&calls);
  calls.sys.fstat = calls_fstat;
  calls.sys.fstatat = calls_fstatat;
}

/* The only rule. */
static inline struct trouble_rule *calls_break(const char *call, int errnum,
                                               unsigned from,
                                               unsigned times) {
  calls_whole();
  return trouble_fail(&calls, call, errnum, from, times);
}

/* ---- the scene ----------------------------------------------------------- */

/* The folder is "~" in what is asked and answered. */

/* "~/a" is told by its whole path; sixteen at a time. */
static inline const char *whole(const char *text) {
  static char paths[16][PATH_MAX * 2];
  static unsigned turn;
  char *path = paths[turn++ % 16];
  if (text == NULL || text[0] != '~')
    return text;
  snprintf(path, sizeof paths[0], "%s%s", base, text + 1);
  return path;
}

/* The other way round. */
static inline const char *brief(const char *path) {
  static char texts[8][PATH_MAX];
  static unsigned turn;
  char *text = texts[turn++ % 8];
  size_t n = strlen(base);
  if (path == NULL || strncmp(path, base, n) != 0)
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
  scene_clear(AT_FDCWD, base);
  CHECK(access(base, F_OK) != 0);
}

/* ---- asking -------------------------------------------------------------- */

#define ANSWER 1000

/* Asks, and writes what it was told where that was good. */
typedef int ask_fn(char answer[ANSWER], struct lvhd_error *err);

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
  trouble_over(&calls);
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

/* The answer where nobody can be asked for locks; NULL: the same. */
static const char *calls_unlocked;

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
  if (strcmp(call, "getlk") == 0)
    return strcmp(got, calls_unlocked ? calls_unlocked : want) == 0;
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
    calls_break(ANY, EIO, k, 1);
    got = answer_of(ask, what);
    hit = calls.hit;
    if (hit == NULL)
      break;
    snprintf(told, sizeof told, " EIO %s",
             strcmp(hit, "getdents") == 0    ? "getdents64"
             : strcmp(hit, "O_TMPFILE") == 0 ? "openat"
                                             : hit);
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
