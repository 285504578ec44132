/* SPDX-License-Identifier: MIT
 *
 * A folder of a test's own, `base`, below TMPDIR and by its real path; what
 * is in it; and the descriptors of the process.  Knows nothing of lvhd, and
 * only the real system's calls.
 */
#ifndef LVHD_SPEC_FOLDER_H
#define LVHD_SPEC_FOLDER_H

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static char base[PATH_MAX / 4];

/* A path below it; four at a time. */
static inline const char *in(const char *name) {
  static char path[4][PATH_MAX];
  static unsigned turn;
  char *at = path[turn++ % 4];
  snprintf(at, PATH_MAX, "%s/%s", base, name);
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

static inline void base_make(const char *name) {
  const char *tmp = getenv("TMPDIR");
  char given[PATH_MAX / 4 - 64];
  char real[PATH_MAX];
  snprintf(given, sizeof given, "%s/lvhd-%s.XXXXXX", tmp ? tmp : "/tmp",
           name);
  if (mkdtemp(given) == NULL || realpath(given, real) == NULL ||
      strlen(real) >= sizeof base)
    abort();
  memcpy(base, real, strlen(real) + 1);
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

#endif
