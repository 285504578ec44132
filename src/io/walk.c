/* SPDX-License-Identifier: MIT
 *
 * The walk: a stack of open folders, each read in pieces.  Opens every entry
 * from the folder that it is in, so that nobody can put a link in between.
 *
 *   1 folders seen   2 levels   3 entries   4 the walk
 */
#include "io/walk.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/drives.h"

#define FOLDER_FLAGS \
  (O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#define FILE_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC)
#define PIECE 32768 /* bytes of a folder that are read at once */

struct seen {
  uint64_t dev, ino;
  bool used;
};

struct level {
  int fd;
  uint8_t *entries; /* PIECE bytes, kept for the next folder of this depth */
  size_t at, end;   /* what of it has not been looked at */
  size_t length;    /* of the folder's path; 0: the root of all */
};

struct lv_walk {
  struct lv_env *env;
  struct level levels[LV_WALK_DEPTH];
  size_t depth;
  bool shallow; /* folders are passed over */
  bool skipped; /* the entry of this step cannot be read */
  char *path; /* of the entry that was looked at last */
  size_t room;
  struct seen *seen;
  size_t seen_count, seen_room; /* room: a power of two, or 0 */
};

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* Not about the entry: all others would fail as well. */
static bool is_grave(int errnum) {
  return errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM;
}

/* ---- 1 folders seen -------------------------------------------------- */

static struct seen *slot_of(struct seen *slots, size_t room, uint64_t dev,
                            uint64_t ino) {
  uint64_t hash = (ino ^ (dev << 32)) * UINT64_C(0x9E3779B97F4A7C15);
  size_t i = (size_t)(hash >> 32) & (room - 1);
  while (slots[i].used && (slots[i].dev != dev || slots[i].ino != ino))
    i = (i + 1) & (room - 1);
  return &slots[i];
}

static bool grow_seen(struct lv_walk *walk) {
  size_t room = walk->seen_room ? 2 * walk->seen_room : 64;
  struct seen *slots = calloc(room, sizeof *slots);
  if (slots == NULL)
    return false;
  for (size_t i = 0; i < walk->seen_room; i++) {
    const struct seen *old = &walk->seen[i];
    if (old->used)
      *slot_of(slots, room, old->dev, old->ino) = *old;
  }
  free(walk->seen);
  walk->seen = slots;
  walk->seen_room = room;
  return true;
}

/* *first: the folder was not seen before. */
static int see(struct lv_walk *walk, const struct stat *st, bool *first,
               struct lvhd_error *err) {
  struct seen *slot = NULL;
  if (2 * (walk->seen_count + 1) > walk->seen_room && !grow_seen(walk))
    return no_memory(err);
  slot = slot_of(walk->seen, walk->seen_room, (uint64_t)st->st_dev,
                 (uint64_t)st->st_ino);
  *first = !slot->used;
  if (slot->used)
    return 0;
  *slot = (struct seen){.dev = (uint64_t)st->st_dev,
                        .ino = (uint64_t)st->st_ino,
                        .used = true};
  walk->seen_count++;
  return 0;
}

/* ---- 2 levels -------------------------------------------------------- */

static void leave(struct lv_walk *walk) {
  struct level *level = &walk->levels[--walk->depth];
  walk->env->sys->close(walk->env->sys, level->fd);
  level->fd = -1;
}

/* Takes an open folder, on failure too, whose path is `length` bytes of
 * walk->path.  One that was seen before is closed again. */
static int enter(struct lv_walk *walk, int fd, size_t length,
                 struct lvhd_error *err) {
  const struct lv_sys *sys = walk->env->sys;
  struct level *level = &walk->levels[walk->depth];
  struct stat st;
  bool first = false;
  int code = sys->fstat(sys, fd, &st) != 0
               ? lv_fail_errno(err, LV_STEP_FOLDER, errno, "fstat")
               : see(walk, &st, &first, err);
  if (code == 0 && first && level->entries == NULL) {
    level->entries = malloc(PIECE);
    code = level->entries ? 0 : no_memory(err);
  }
  if (code != 0 || !first) {
    sys->close(sys, fd);
    return code;
  }
  level->fd = fd;
  level->at = level->end = 0;
  level->length = length == 1 ? 0 : length; /* "/" */
  walk->depth++;
  return 0;
}

/* folder's path + "/" + name in walk->path. */
static bool set_path(struct lv_walk *walk, size_t length, const char *name) {
  size_t n = strlen(name);
  size_t needed = length + 1 + n + 1;
  if (needed > walk->room) {
    size_t room = 2 * needed;
    char *path = realloc(walk->path, room);
    if (path == NULL)
      return false;
    walk->path = path;
    walk->room = room;
  }
  walk->path[length] = '/';
  memcpy(walk->path + length + 1, name, n + 1);
  return true;
}

/* ---- 3 entries ------------------------------------------------------- */

/* An entry that `call` refused with errnum.  One that was removed, or became a
 * link, since it was listed is none any more. */
static int skip(struct lv_walk *walk, enum lv_step step, int errnum,
                const char *call, struct lvhd_error *err) {
  if (is_grave(errnum))
    return lv_fail_errno(err, step, errnum, call);
  walk->skipped = errnum != ENOENT && errnum != ENOTDIR && errnum != ELOOP;
  return 0;
}

/* Where the volume does not say it with the name, it is asked. */
static int type_of(struct lv_walk *walk, int dir,
                   const struct dirent64 *entry, unsigned char *type,
                   struct lvhd_error *err) {
  const struct lv_sys *sys = walk->env->sys;
  struct stat st;
  *type = entry->d_type;
  if (*type != DT_UNKNOWN)
    return 0;
  if (sys->fstatat(sys, dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return skip(walk, LV_STEP_FILE, errno, "fstatat", err);
  *type = S_ISREG(st.st_mode)   ? DT_REG
          : S_ISDIR(st.st_mode) ? DT_DIR
                                : DT_UNKNOWN;
  return 0;
}

static int open_folder(struct lv_walk *walk, int dir, const char *name,
                       struct lvhd_error *err) {
  int fd = -1;
  walk->skipped = walk->depth == LV_WALK_DEPTH;
  if (walk->skipped)
    return 0;
  fd = lv_openat(walk->env->sys, dir, name, FOLDER_FLAGS | O_NOFOLLOW, 0);
  if (fd < 0)
    return skip(walk, LV_STEP_FOLDER, errno, "openat", err);
  return enter(walk, fd, strlen(walk->path), err);
}

/* It may have become something else since it was listed. */
static int open_file(struct lv_walk *walk, int dir, const char *name,
                     struct lv_file *file, struct lvhd_error *err) {
  const struct lv_sys *sys = walk->env->sys;
  int code = 0;
  file->fd = lv_openat(sys, dir, name, FILE_FLAGS, 0);
  if (file->fd < 0)
    return skip(walk, LV_STEP_FILE, errno, "openat", err);
  file->real = true;
  if (sys->fstat(sys, file->fd, &file->st) != 0)
    code = skip(walk, LV_STEP_FILE, errno, "fstat", err);
  else if (S_ISREG(file->st.st_mode))
    return 0;
  lv_file_close(file, walk->env);
  return code;
}

/* The next entry of a folder; NULL: there is none, or it cannot be read. */
static int next_entry(struct lv_walk *walk, struct level *level,
                      const struct dirent64 **out, struct lvhd_error *err) {
  const struct lv_sys *sys = walk->env->sys;
  *out = NULL;
  if (level->at == level->end) {
    ssize_t n = 0;
    do {
      n = sys->getdents(sys, level->fd, level->entries, PIECE);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (walk->depth == 1 || is_grave(errno)))
      return lv_fail_errno(err, LV_STEP_FOLDER, errno, "getdents64");
    walk->skipped = n < 0;
    if (n <= 0)
      return 0;
    level->at = 0;
    level->end = (size_t)n;
  }
  *out = (const void *)(level->entries + level->at);
  level->at += (*out)->d_reclen;
  return 0;
}

/* ---- 4 the walk ------------------------------------------------------ */

int lv_walk_new(struct lv_walk **out, struct lv_env *env,
                struct lvhd_error *err) {
  struct lv_walk *walk = calloc(1, sizeof *walk);
  if (walk == NULL)
    return no_memory(err);
  walk->env = env;
  *out = walk;
  return 0;
}

static int open_start(struct lv_walk *walk, const char *folder, int *fd,
                      bool *real, struct lvhd_error *err) {
  const char *call = NULL;
  if (*real) {
    *fd = lv_open_real(walk->env, folder, FOLDER_FLAGS, &call);
    *real = walk->env->drives != NULL;
    return *fd < 0 ? lv_fail_errno(err, LV_STEP_FOLDER, errno, call) : 0;
  }
  if (lv_is_windows(walk->env, folder))
    return lv_drives_open(fd, walk->env, folder, FOLDER_FLAGS, err);
  *fd = lv_open_existing(walk->env, folder, FOLDER_FLAGS, real, &call);
  return *fd < 0 ? lv_fail_errno(err, LV_STEP_FOLDER, errno, call) : 0;
}

static int begin(struct lv_walk *walk, const char *folder, bool real,
                 struct lvhd_error *err) {
  int code = 0;
  int fd = -1;
  while (walk->depth > 0)
    leave(walk);
  code = open_start(walk, folder, &fd, &real, err);
  if (code != 0)
    return code;
  free(walk->path);
  walk->path = NULL;
  code = lv_real_path(&walk->path, walk->env, fd, folder, real,
                      LV_STEP_FOLDER, err);
  if (code != 0) {
    walk->room = 0;
    walk->env->sys->close(walk->env->sys, fd);
    return code;
  }
  walk->room = strlen(walk->path) + 1;
  while (walk->room > 2 && walk->path[walk->room - 2] == '/')
    walk->path[--walk->room - 1] = '\0';
  return enter(walk, fd, walk->room - 1, err);
}

int lv_walk_begin(struct lv_walk *walk, const char *folder,
                  struct lvhd_error *err) {
  walk->shallow = false;
  return begin(walk, folder, false, err);
}

int lv_walk_begin_shallow(struct lv_walk *walk, const char *folder,
                          struct lvhd_error *err) {
  walk->shallow = true;
  return begin(walk, folder, true, err);
}

/* What the next entry of the innermost folder is. */
static int step(struct lv_walk *walk, enum lv_walked *what,
                struct lv_file *file, struct lvhd_error *err) {
  struct level *level = &walk->levels[walk->depth - 1];
  const struct dirent64 *entry = NULL;
  unsigned char type = DT_UNKNOWN;
  int code = next_entry(walk, level, &entry, err);
  if (code != 0)
    return code;
  if (entry == NULL) {
    leave(walk);
    return 0;
  }
  if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
    return 0;
  code = type_of(walk, level->fd, entry, &type, err);
  if (code != 0)
    return code;
  if (type != DT_REG && (type != DT_DIR || walk->shallow))
    return 0;
  if (!set_path(walk, level->length, entry->d_name))
    return no_memory(err);
  if (type == DT_DIR)
    return open_folder(walk, level->fd, entry->d_name, err);
  code = open_file(walk, level->fd, entry->d_name, file, err);
  if (code == 0 && file->fd >= 0)
    *what = LV_WALK_FILE;
  return code;
}

int lv_walk_step(struct lv_walk *walk, enum lv_walked *what,
                 struct lv_file *file, const char **path,
                 struct lvhd_error *err) {
  int code = 0;
  *file = (struct lv_file)LV_FILE_INIT;
  *what = walk->depth > 0 ? LV_WALK_OTHER : LV_WALK_END;
  walk->skipped = false;
  if (walk->depth == 0)
    return 0;
  code = step(walk, what, file, err);
  if (walk->skipped)
    *what = LV_WALK_SKIPPED;
  *path = walk->path;
  return code;
}

void lv_walk_free(struct lv_walk *walk) {
  if (walk == NULL)
    return;
  while (walk->depth > 0)
    leave(walk);
  for (size_t i = 0; i < LV_WALK_DEPTH; i++)
    free(walk->levels[i].entries);
  free(walk->path);
  free(walk->seen);
  free(walk);
}
