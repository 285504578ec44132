/* SPDX-License-Identifier: MIT
 *
 * For unit tests of op: what tells in which order files got their bytes,
 * their names and their flushes, over a table of calls that trouble can
 * befall; and a job without a pool, whose items run one after the other.
 * Flushes are only told, not made.  Below `base`, a folder of the test's own.
 * Knows what a verb asks of the system and of its job, not what it writes.
 */
#ifndef LVHD_SPEC_WATCH_H
#define LVHD_SPEC_WATCH_H

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/verb.h"
#include "check.h"
#include "folder.h"
#include "io/env.h"
#include "trouble.h"

/* ---- the calls --------------------------------------------------------- */

static struct watch {
  struct trouble t;
  struct lv_sys quiet; /* what it lies over */
  char log[4096];
  bool poor; /* no flush of the volume */
} watch;

/* In the place of what was there; name: see trouble.h. */
static inline struct trouble_rule *rule(size_t i, const char *call,
                                        const char *name, int errnum,
                                        unsigned from, unsigned times) {
  watch.t.rules[i] =
    (struct trouble_rule){.call = call, .name = name, .errnum = errnum,
                          .from = from, .times = times};
  return &watch.t.rules[i];
}

static inline void meddle(size_t i, const char *call, const char *name,
                          void (*act)(void)) {
  rule(i, call, name, 0, 1, 1)->meddle = act;
}

static void note(const char *what, const char *path) {
  size_t at = strlen(watch.log);
  const char *slash = strrchr(path, '/');
  snprintf(watch.log + at, sizeof watch.log - at, "%s%s%s",
           at > 0 ? " " : "", what, slash ? slash + 1 : path);
}

static void note_flush(int fd, bool well) {
  struct stat st;
  if (!CHECK(fstat(fd, &st) == 0) || !well)
    return;
  if (S_ISDIR(st.st_mode))
    note("D:", strcmp(path_of(fd), base) == 0 ? "." : path_of(fd));
  else
    note("f", "");
}

static void watch_saw(struct trouble *t, const char *call, int fd,
                      const char *path, bool well) {
  static const char *const notes[][2] = {
    {"syncfs", "S"},     {"sync_file_range", "s"}, {"linkat", "L:"},
    {"renameat2", "R:"}, {"unlinkat", "U:"},       {"mkdirat", "M:"}};
  (void)t;
  if (strcmp(call, "fsync") == 0)
    note_flush(fd, well);
  for (size_t i = 0; i < COUNT(notes); i++)
    if (well && strcmp(call, notes[i][0]) == 0)
      note(notes[i][1], path ? path : "");
}

static int quiet_openat(const struct lv_sys *sys, int dir, const char *path,
                        int flags, mode_t mode) {
  if (strcmp(path, "/proc/meminfo") == 0)
    path = in(".meminfo");
  return lv_sys_real.openat(sys, dir, path, flags, mode);
}

static int quiet_fstatfs(const struct lv_sys *sys, int fd,
                         struct statfs *st) {
  int code = lv_sys_real.fstatfs(sys, fd, st);
  st->f_type = EXT4_SUPER_MAGIC;
  return code;
}

static int quiet_fsync(const struct lv_sys *sys, int fd) {
  (void)sys, (void)fd;
  return 0;
}

static int quiet_syncfs(const struct lv_sys *sys, int fd) {
  struct stat st;
  (void)sys;
  errno = EIO;
  return CHECK(fstat(fd, &st) == 0) && !watch.poor ? 0 : -1;
}

static int quiet_range(const struct lv_sys *sys, int fd, off_t at, off_t n,
                       unsigned flags) {
  (void)sys, (void)fd, (void)at, (void)n, (void)flags;
  return 0;
}

/* Nothing fails, nothing was told. */
static void watch_begin(void) {
  watch.quiet = lv_sys_real;
  watch.quiet.openat = quiet_openat;
  watch.quiet.fstatfs = quiet_fstatfs;
  watch.quiet.fsync = quiet_fsync;
  watch.quiet.syncfs = quiet_syncfs;
  watch.quiet.sync_file_range = quiet_range;
  trouble_upon(&watch.t, &watch.quiet);
  watch.t.saw = watch_saw;
  watch.log[0] = '\0';
  watch.poor = false;
}

/* ---- the job ----------------------------------------------------------- */

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

/* ---- what is there ----------------------------------------------------- */

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

/* With what the engine reads of memory: nothing is to be written. */
static void watch_folder(const char *name) {
  base_make(name);
  put_text(".meminfo", "MemTotal: 1 kB\nDirty: 0 kB\nWriteback: 0 kB\n");
}

static void watch_end(void) {
  clear_all();
  unlink(in("parent.vhd"));
  unlink(in(".meminfo"));
  CHECK_INT(rmdir(base), 0);
}

#endif
