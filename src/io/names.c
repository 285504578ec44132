/* SPDX-License-Identifier: MIT
 *
 * Names of folders, in hash tables by what they are but for case.  Knows
 * folders by inode, and nothing of paths.
 */
#include "io/names.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/upcase.h"

#define NAMES_PIECE 32768

struct name {
  struct name *next; /* in the same row */
  char text[];
};

struct listed {
  struct listed *next;
  dev_t dev;
  ino_t ino;
  size_t count, rows; /* rows: a power of two, or 0 */
  struct name **table;
  bool broken; /* memory ran out */
};

struct lv_names {
  struct listed *folders;
};

/* ---- listing --------------------------------------------------------- */

static ssize_t list(const struct lv_sys *sys, int fd, char *buf) {
  ssize_t n = 0;
  do {
    n = sys->getdents(sys, fd, buf, NAMES_PIECE);
  } while (n < 0 && errno == EINTR);
  return n;
}

static int read_names(const struct lv_env *env, int fd,
                      void (*fn)(void *arg, const char *name), void *arg) {
  char *buf = malloc(NAMES_PIECE);
  ssize_t n = 0;
  int saved = 0;
  if (buf == NULL)
    return ENOMEM;
  while ((n = list(env->sys, fd, buf)) > 0) {
    for (ssize_t at = 0; at < n;) {
      const struct dirent64 *entry = (const void *)(buf + at);
      fn(arg, entry->d_name);
      at += entry->d_reclen;
    }
  }
  saved = n < 0 && errno != ENOENT ? errno : 0; /* ENOENT: it was removed */
  free(buf);
  return saved;
}

int lv_names_list(const struct lv_env *env, int dir,
                  void (*fn)(void *arg, const char *name), void *arg,
                  struct lvhd_error *err) {
  int fd =
    lv_openat(env->sys, dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  int saved = 0;
  if (fd < 0) {
    saved = errno;
    return saved == EACCES || saved == ENOENT
             ? 0
             : lv_fail_errno(err, LV_STEP_FILE, saved, "openat");
  }
  saved = read_names(env, fd, fn, arg);
  env->sys->close(env->sys, fd);
  return saved == 0 ? 0
                    : lv_fail_errno(err, LV_STEP_FILE, saved, "getdents64");
}

/* ---- keeping --------------------------------------------------------- */

static void free_listed(struct listed *listed) {
  for (size_t i = 0; i < listed->rows; i++) {
    struct name *next = NULL;
    for (struct name *name = listed->table[i]; name; name = next) {
      next = name->next;
      free(name);
    }
  }
  free(listed->table);
  free(listed);
}

struct lv_names *lv_names_new(void) {
  return calloc(1, sizeof(struct lv_names));
}

void lv_names_forget(struct lv_names *names) {
  struct listed *next = NULL;
  for (struct listed *listed = names->folders; listed; listed = next) {
    next = listed->next;
    free_listed(listed);
  }
  names->folders = NULL;
}

void lv_names_free(struct lv_names *names) {
  if (names)
    lv_names_forget(names);
  free(names);
}

static struct name **row_of(const struct listed *listed, const char *name) {
  return &listed->table[lv_name_hash(name, strlen(name)) &
                        (listed->rows - 1)];
}

static bool grow(struct listed *listed) {
  struct listed grown = *listed;
  grown.rows = listed->rows ? listed->rows * 2 : 64;
  grown.table = calloc(grown.rows, sizeof(struct name *));
  if (grown.table == NULL)
    return false;
  for (size_t i = 0; i < listed->rows; i++) {
    struct name *next = NULL;
    for (struct name *name = listed->table[i]; name; name = next) {
      struct name **row = row_of(&grown, name->text);
      next = name->next;
      name->next = *row;
      *row = name;
    }
  }
  free(listed->table);
  *listed = grown;
  return true;
}

static void put_name(void *arg, const char *text) {
  struct listed *listed = arg;
  size_t n = strlen(text) + 1;
  struct name *name = NULL;
  struct name **row = NULL;
  if (listed->count >= listed->rows && !grow(listed)) {
    listed->broken = true;
    return;
  }
  name = malloc(sizeof *name + n);
  if (name == NULL) {
    listed->broken = true;
    return;
  }
  memcpy(name->text, text, n);
  row = row_of(listed, text);
  name->next = *row;
  *row = name;
  listed->count++;
}

static struct listed *find_listed(const struct lv_names *names,
                                  const struct stat *st) {
  struct listed *listed = names->folders;
  while (listed && (listed->ino != st->st_ino || listed->dev != st->st_dev))
    listed = listed->next;
  return listed;
}

/* Reads a folder that is not known yet. */
static int take_folder(struct listed **out, const struct lv_env *env, int dir,
                       const struct stat *st, struct lvhd_error *err) {
  struct listed *listed = calloc(1, sizeof *listed);
  int code = 0;
  if (listed == NULL || !grow(listed)) {
    free(listed);
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  listed->dev = st->st_dev;
  listed->ino = st->st_ino;
  code = lv_names_list(env, dir, put_name, listed, err);
  if (code == 0 && listed->broken)
    code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  if (code != 0) {
    free_listed(listed);
    return code;
  }
  listed->next = env->names->folders;
  env->names->folders = listed;
  *out = listed;
  return 0;
}

int lv_names_twins(struct lv_twins *twins, const struct lv_env *env, int dir,
                   const char *name, struct lvhd_error *err) {
  struct listed *listed = NULL;
  struct stat st;
  int code = 0;
  if (env->sys->fstat(env->sys, dir, &st) != 0)
    return lv_fail_errno(err, LV_STEP_FILE, errno, "fstat");
  listed = find_listed(env->names, &st);
  if (listed == NULL)
    code = take_folder(&listed, env, dir, &st, err);
  if (code != 0 || listed == NULL)
    return code;
  for (struct name *at = *row_of(listed, name); at; at = at->next)
    lv_twins_take(twins, name, at->text);
  return 0;
}

void lv_names_add(const struct lv_env *env, int dir, const char *name) {
  struct listed *listed = NULL;
  struct stat st;
  if (env->names == NULL || env->sys->fstat(env->sys, dir, &st) != 0)
    return;
  listed = find_listed(env->names, &st);
  if (listed)
    put_name(listed, name);
  if (listed && listed->broken)
    lv_names_forget(env->names);
}
