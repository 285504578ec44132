/* SPDX-License-Identifier: MIT
 *
 * A folder in memory (spec/fuzz/memory.h) under a table of calls that trouble
 * can befall, and which tells what was asked of it.  Knows the calls that
 * reading an image and writing its note make, and not what an image is.
 */
#ifndef LVHD_SPEC_FAULTY_H
#define LVHD_SPEC_FAULTY_H

#include <stdlib.h>

#include "../fuzz/forge.h"
#include "check.h"
#include "io/env.h"
#include "trouble.h"

struct faulty {
  struct trouble t; /* first: its table of calls is what the engine gets */
  struct mem mem;
  struct lv_env env;
  char log[400]; /* a letter for each call that makes something durable */
  char opened[8192]; /* names of what was opened, each behind a space */
};

/* What is refused was asked as well. */
static inline void faulty_saw(struct trouble *t, const char *call, int fd,
                              const char *path, bool well) {
  static const char *const letters[][2] = {
    {"pwritev", "w"}, {"fsync", "f"},     {"syncfs", "v"},
    {"linkat", "l"},  {"renameat2", "r"}, {"unlinkat", "u"}};
  struct faulty *f = (struct faulty *)t;
  (void)fd, (void)well;
  for (size_t i = 0; i < COUNT(letters); i++)
    if (strcmp(call, letters[i][0]) == 0 && strlen(f->log) < sizeof f->log - 1)
      strcat(f->log, letters[i][1]);
  if (strncmp(call, "openat", 6) != 0 && strcmp(call, "folder") != 0 &&
      strcmp(call, "O_TMPFILE") != 0)
    return;
  if (strlen(f->opened) + strlen(path) + 2 >= sizeof f->opened)
    abort();
  strcat(strcat(f->opened, " "), path);
}

/* Takes over f->mem, which mem_init or forge_seed has made. */
static inline void faulty_begin(struct faulty *f) {
  trouble_upon(&f->t, &f->mem.sys);
  f->t.folders = true;
  f->t.saw = faulty_saw;
  f->log[0] = f->opened[0] = '\0';
  lv_env_init(&f->env, &f->t.sys);
}

/* From now on, and nothing else; NULL: none fails. */
static inline struct trouble_rule *faulty_break(struct faulty *f,
                                                const char *call, int errnum,
                                                unsigned from,
                                                unsigned times) {
  f->log[0] = f->opened[0] = '\0';
  trouble_over(&f->t);
  return trouble_fail(&f->t, call, errnum, from, times);
}

/* A chain of new files, /d/0 the leaf and /d/1 its parent; their identifiers
 * are 10, 11 and so on.  Of a folder that can be written. */
static inline void faulty_chain(struct faulty *f, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    const struct lv_sys *sys = &f->mem.sys;
    char path[] = "/d/0", parent[] = "1";
    struct forge disk = {.type = i + 1 < count ? 4 : 3, .size = 4096,
                         .id = (uint8_t)(10 + i),
                         .parent_id = (uint8_t)(11 + i), .parent = parent};
    struct iovec iov = {0};
    int fd = -1;
    path[3] = (char)('0' + (int)i);
    parent[0] = (char)('1' + (int)i);
    iov.iov_base = forge(&disk, &iov.iov_len);
    fd = sys->openat(sys, AT_FDCWD, path, O_CREAT | O_EXCL | O_RDWR, 0);
    CHECK_INT(sys->pwritev(sys, fd, &iov, 1, 0), iov.iov_len);
    sys->close(sys, fd);
    free(iov.iov_base);
  }
}

/* Nothing is open, and nothing was touched that must not be. */
static inline void faulty_end(struct faulty *f) {
  CHECK_INT(mem_open(&f->mem), 0);
  CHECK_STR(f->mem.trapped, NULL);
  mem_forget(&f->mem);
  forge_free(&f->mem);
}

#endif
