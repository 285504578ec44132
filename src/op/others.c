/* SPDX-License-Identifier: MIT
 *
 * The search for other children: the disks that read from one whose content
 * is about to change, and would be ruined.  Looks into the folders of the
 * chain's files, and in and below those of children_in.  Of a file it reads
 * footer and header at its start; only where these name the disk, are none, or
 * may be taken back by a journal, the file is opened as an image.  Changes
 * nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "io/walk.h"
#include "op/inplace.h"

#define HEAD (LV_FOOTER_SIZE + LV_HEADER_SIZE)

struct child {
  char *path; /* real */
  dev_t dev;
  ino_t ino;
  const struct lv_image *of;
};

struct named {
  dev_t dev;
  ino_t ino;
};

struct found {
  struct lv_search *search;
  struct named *but; /* what the caller names */
  size_t but_count;
  struct child *children;
  size_t count, room;
};

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

static bool is_grave(int code) {
  return code == LVHD_E_OUTOFMEMORY || code == LVHD_VM_E_OUT_OF_RESOURCE ||
         code == LVHD_E_ABORT;
}

static bool same(const struct stat *st, dev_t dev, ino_t ino) {
  return st->st_dev == dev && st->st_ino == ino;
}

/* ---- who does not count ---------------------------------------------- */

/* One of the chain, one that the caller names, or one that was found under
 * another name already. */
static bool is_known(const struct found *found, const struct stat *st) {
  const struct lv_search *search = found->search;
  for (size_t i = 0; search->chain && i < search->chain->count; i++) {
    const struct stat *own = &search->chain->images[i].file.st;
    if (same(st, own->st_dev, own->st_ino))
      return true;
  }
  for (size_t i = 0; i < found->count; i++)
    if (same(st, found->children[i].dev, found->children[i].ino))
      return true;
  for (size_t i = 0; i < found->but_count; i++)
    if (same(st, found->but[i].dev, found->but[i].ino))
      return true;
  return false;
}

/* Which files the caller names.  One that is not there is for others to tell;
 * any other failure would make the search refuse for the sake of a file that
 * was named. */
static int take_named(struct found *found, struct lvhd_error *err) {
  const struct lv_search *search = found->search;
  int code = 0;
  found->but = calloc(search->but_count + 1, sizeof *found->but);
  if (found->but == NULL)
    return no_memory(err);
  for (size_t i = 0; code == 0 && i < search->but_count; i++) {
    struct stat st;
    code = lv_file_stat(&st, search->env, search->but[i], err);
    if (code == 0) {
      found->but[found->but_count++] =
        (struct named){.dev = st.st_dev, .ino = st.st_ino};
    } else if (code == LVHD_E_PATH_NOT_FOUND) {
      lvhd_error_clear(err);
      code = 0;
    } else {
      lv_error_path(err, search->but[i]);
    }
  }
  return code;
}

/* ---- one file -------------------------------------------------------- */

static const struct lv_image *parent_of(const struct lv_search *search,
                                        const uint8_t uuid[16]) {
  for (size_t i = 0; i < search->disk_count; i++)
    if (memcmp(search->disks[i]->footer.uuid, uuid, 16) == 0)
      return search->disks[i];
  return NULL;
}

enum glance {
  NOTHING, /* a dynamic disk, or too short for a child */
  UNKNOWN, /* no copy of a footer there: the end of the file has to tell */
  CHILD,   /* *uuid is its parent's */
  UNREADABLE
};

/* What the first sectors say: enough for all but damaged files and fixed
 * disks. */
static enum glance glance(const struct lv_file *file,
                          const struct lv_env *env, uint8_t uuid[16]) {
  uint8_t head[HEAD];
  struct lv_footer footer;
  struct lv_header header;
  if (file->st.st_size < HEAD)
    return NOTHING;
  if (lv_file_read(file, env, head, sizeof head, 0, NULL) != 0)
    return UNREADABLE;
  if (lv_footer_decode(&footer, head, NULL) != LV_R_NONE ||
      footer.data_offset != LV_FOOTER_SIZE)
    return UNKNOWN;
  if (footer.type != LVHD_DIFFERENCING)
    return NOTHING;
  if (lv_header_decode(&header, head + LV_FOOTER_SIZE, NULL) != LV_R_NONE)
    return UNKNOWN;
  memcpy(uuid, header.parent_uuid, 16);
  return CHILD;
}

/* Whether work on the file was interrupted, which may be taken back. */
static int has_note(const struct lv_file *file, const char *path,
                    struct lv_env *env, bool *has, struct lvhd_error *err) {
  struct lv_journal note;
  enum lv_journal_state state = LV_JOURNAL_NONE;
  int code = lv_journal_look(&note, &state, env, file, path, NULL, err);
  *has = state == LV_JOURNAL_GOOD;
  if (code == 0)
    lv_journal_free(&note);
  return code;
}

/* *of: the disk whose child this is, or NULL.  Takes the file. */
static int judge(const struct lv_search *search, struct lv_file *file,
                 const char *path, const struct lv_image **of,
                 bool *unreadable, struct lvhd_error *err) {
  uint8_t uuid[16];
  struct lv_image image = LV_IMAGE_INIT;
  enum glance first = glance(file, search->env, uuid);
  bool clear = first == NOTHING || first == UNREADABLE;
  int code = 0;
  *of = first == CHILD ? parent_of(search, uuid) : NULL;
  *unreadable = first == UNREADABLE;
  if (first == CHILD && *of == NULL) {
    code = has_note(file, path, search->env, &clear, err);
    clear = !clear;
  }
  if (code != 0 || clear) {
    lv_file_close(file, search->env);
    return code;
  }
  code = lv_image_adopt(&image, search->env, file, path, err);
  if (code == 0)
    *of = lv_image_has_parent(&image)
            ? parent_of(search, image.header.parent_uuid)
            : NULL;
  /* what is damaged and names the disk is a child that may be mended. */
  *unreadable = code != 0 && code != LVHD_VM_E_INVALID_HD_FILE && *of == NULL;
  lv_image_close(&image, search->env);
  if (code == 0 || is_grave(code))
    return code;
  lvhd_error_clear(err);
  return 0;
}

static int add(struct found *found, const struct stat *st, const char *path,
               const struct lv_image *of, struct lvhd_error *err) {
  char *copy = NULL;
  if (found->count == found->room) {
    size_t room = found->room ? 2 * found->room : 16;
    struct child *grown =
      realloc(found->children, room * sizeof *found->children);
    if (grown == NULL)
      return no_memory(err);
    found->children = grown;
    found->room = room;
  }
  copy = strdup(path);
  if (copy == NULL)
    return no_memory(err);
  found->children[found->count++] = (struct child){
    .path = copy, .dev = st->st_dev, .ino = st->st_ino, .of = of};
  return 0;
}

/* Takes the file. */
static int look_at(struct found *found, struct lv_file *file,
                   const char *path, struct lvhd_error *err) {
  const struct lv_image *of = NULL;
  struct stat st = file->st;
  bool unreadable = false;
  int code = judge(found->search, file, path, &of, &unreadable, err);
  found->search->skipped += unreadable;
  if (code == 0 && of && !is_known(found, &st))
    code = add(found, &st, path, of, err);
  return code;
}

/* ---- the folders ----------------------------------------------------- */

static int go_through(struct found *found, struct lv_walk *walk,
                      struct lvhd_error *err) {
  struct lv_search *search = found->search;
  enum lv_walked what = LV_WALK_OTHER;
  struct lv_file file = LV_FILE_INIT;
  const char *path = NULL;
  int code = 0;
  while (code == 0 && what != LV_WALK_END) {
    if (search->stop && search->stop(search->stop_arg))
      return lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
    code = lv_walk_step(walk, &what, &file, &path, err);
    search->skipped += what == LV_WALK_SKIPPED;
    if (code == 0 && what == LV_WALK_FILE)
      code = look_at(found, &file, path, err);
  }
  return code;
}

/* What the caller names must be there: a typo would mean no search. */
static int look_below(struct found *found, struct lv_walk *walk,
                      const char *folder, struct lvhd_error *err) {
  int code = lv_walk_begin(walk, folder, err);
  if (code == 0)
    code = go_through(found, walk, err);
  if (code != 0)
    lv_error_path(err, folder);
  return code;
}

/* The folder of one of the chain's files, which may be hidden from us. */
static int look_beside(struct found *found, struct lv_walk *walk,
                       const struct lv_image *image, struct lvhd_error *err) {
  const char *slash = strrchr(image->path, '/');
  size_t n = slash && slash > image->path ? (size_t)(slash - image->path) : 1;
  char *folder = strndup(image->path, n);
  int code = folder ? lv_walk_begin_shallow(walk, folder, err)
                    : no_memory(err);
  if (code == 0)
    code = go_through(found, walk, err);
  free(folder);
  if (code == 0 || is_grave(code))
    return code;
  found->search->skipped++;
  lvhd_error_clear(err);
  return 0;
}

/* The deep ones first: a folder is not walked through twice. */
static int look_around(struct found *found, struct lv_walk *walk,
                       struct lvhd_error *err) {
  const struct lv_search *search = found->search;
  const struct lvhd_open_options *opts = search->opts;
  int code = 0;
  for (size_t i = 0; code == 0 && i < opts->children_in_count; i++)
    code = look_below(found, walk, opts->children_in[i], err);
  for (size_t i = 0; code == 0 && i < search->disk_count; i++)
    code = look_beside(found, walk, search->disks[i], err);
  for (size_t i = 0; code == 0 && search->chain && i < search->chain->count;
       i++)
    code = look_beside(found, walk, &search->chain->images[i], err);
  return code;
}

/* ---- what it came to ------------------------------------------------- */

static int by_path(const void *a, const void *b) {
  return strcmp(((const struct child *)a)->path,
                ((const struct child *)b)->path);
}

/* All of them in one piece, as err->others wants them; NULL: no memory, and
 * the error stands without. */
static char *names_of(const struct found *found) {
  size_t n = 1;
  char *names = NULL, *at = NULL;
  for (size_t i = 0; i < found->count; i++)
    n += strlen(found->children[i].path) + 1;
  names = at = malloc(n);
  for (size_t i = 0; names && i < found->count; i++)
    at = stpcpy(at, found->children[i].path) + 1;
  if (names)
    *at = '\0';
  return names;
}

static int refuse(struct found *found, struct lvhd_error *err) {
  int code = lv_fail_range(err, LVHD_E_SHARING_VIOLATION,
                           LV_R_OTHER_CHILDREN, 0, found->count);
  err->has = LVHD_HAS_ACTUAL;
  qsort(found->children, found->count, sizeof *found->children, by_path);
  err->others = names_of(found);
  lv_error_path(err, found->children[0].of->path);
  return code;
}

int lv_refuse_others(struct lv_search *search, struct lvhd_error *err) {
  struct found found = {.search = search};
  struct lv_walk *walk = NULL;
  int code = 0;
  search->skipped = 0;
  if (search->opts->force || search->opts->no_search)
    return 0;
  code = take_named(&found, err);
  if (code == 0)
    code = lv_walk_new(&walk, search->env, err);
  if (code == 0)
    code = look_around(&found, walk, err);
  lv_walk_free(walk);
  if (code == 0 && found.count > 0)
    code = refuse(&found, err);
  for (size_t i = 0; i < found.count; i++)
    free(found.children[i].path);
  free(found.children);
  free(found.but);
  return code;
}

int lv_refuse_children(const struct lv_image *disk,
                       const struct lv_chain *chain, struct lv_env *env,
                       const struct lvhd_open_options *opts,
                       const char *const *but, size_t but_count,
                       uint64_t *skipped, struct lvhd_error *err) {
  struct lv_search search = {.env = env,
                             .chain = chain,
                             .disks = &disk,
                             .disk_count = 1,
                             .opts = opts,
                             .but = but,
                             .but_count = but_count};
  int code = lv_refuse_others(&search, err);
  *skipped = search.skipped;
  return code;
}
