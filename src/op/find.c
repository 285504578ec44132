/* SPDX-License-Identifier: MIT
 *
 * The verbs that find disks in folders: all of them, or those that hang on
 * one parent.  What a file is, its footer and header decide, never its name;
 * what is no VHD, or cannot be read, is left out.  Follows no chain.
 */
#include <stdlib.h>
#include <string.h>

#include "image/facts.h"
#include "io/walk.h"
#include "op/check.h"

struct find {
  struct lv_env *env;
  char *parent;   /* NULL: all disks */
  char **folders; /* absolute, once prepared */
  size_t count;
  uint8_t uuid[16]; /* of the parent */
  struct lvhd_infos *infos;
};

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* ---- arguments ------------------------------------------------------- */

static void free_args(void *args) {
  struct find *f = args;
  if (f == NULL)
    return;
  for (size_t i = 0; i < f->count; i++)
    free(f->folders[i]);
  free(f->folders);
  free(f->parent);
  lv_infos_free(f->infos);
  free(f);
}

static bool copy_args(struct find *f, const char *parent,
                      const char *const *folders, size_t count) {
  f->infos = calloc(1, sizeof *f->infos);
  f->folders = calloc(count + 1, sizeof *f->folders);
  if (f->infos == NULL || f->folders == NULL)
    return false;
  f->parent = parent ? strdup(parent) : NULL;
  if (parent && f->parent == NULL)
    return false;
  for (size_t i = 0; i < count; i++) {
    f->folders[i] = strdup(folders[i]);
    if (f->folders[i] == NULL)
      return false;
    f->count++;
  }
  return true;
}

int lv_find_args(void **out, struct lv_env *env, const char *parent,
                 const char *const *folders, size_t count,
                 struct lvhd_error *err) {
  struct find *f = calloc(1, sizeof *f);
  *out = NULL;
  if (f == NULL || !copy_args(f, parent, folders, count)) {
    free_args(f);
    return no_memory(err);
  }
  f->env = env;
  *out = f;
  return 0;
}

static int make_absolute(char **path, const struct lv_env *env,
                         struct lvhd_error *err) {
  char *absolute = NULL;
  int code = lv_absolute_path(&absolute, env, *path, err);
  if (code != 0)
    return code;
  free(*path);
  *path = absolute;
  return 0;
}

/* The program may change its working folder before a worker comes to it. */
static int prepare(void *args, struct lvhd_error *err) {
  struct find *f = args;
  int code = f->parent ? make_absolute(&f->parent, f->env, err) : 0;
  for (size_t i = 0; code == 0 && i < f->count; i++)
    code = make_absolute(&f->folders[i], f->env, err);
  return code;
}

/* ---- one file -------------------------------------------------------- */

/* Not about the file: the list would silently lack what is there. */
static bool is_grave(int code) {
  return code == LVHD_E_OUTOFMEMORY || code == LVHD_VM_E_OUT_OF_RESOURCE ||
         code == LVHD_E_ABORT;
}

static bool is_wanted(const struct find *f, const struct lv_image *image) {
  return f->parent == NULL ||
         (lv_image_has_parent(image) &&
          memcmp(image->header.parent_uuid, f->uuid, 16) == 0);
}

static bool stopped(void *job) {
  return lv_job_cancelled(job);
}

/* Takes the file. */
static int look_at(struct find *f, struct lv_file *file, const char *path,
                   struct lv_job *job, struct lvhd_error *err) {
  struct lv_image image = LV_IMAGE_INIT;
  struct lv_facts *facts = NULL;
  int code = lv_image_adopt(&image, f->env, file, path, err);
  if (code == 0 && is_wanted(f, &image))
    code = lv_facts_look(&facts, &image, f->env, stopped, job, err);
  lv_image_close(&image, f->env);
  if (code == 0 && facts)
    code = lv_infos_add(f->infos, facts, err);
  if (code == 0 || is_grave(code))
    return code;
  lvhd_error_clear(err);
  return 0;
}

/* ---- all of them ----------------------------------------------------- */

static int read_parent(struct find *f, struct lvhd_error *err) {
  struct lv_image image = LV_IMAGE_INIT;
  int code = lv_image_open(&image, f->env, f->parent, err);
  if (code == 0)
    memcpy(f->uuid, image.footer.uuid, sizeof f->uuid);
  lv_image_close(&image, f->env);
  if (code != 0)
    lv_error_path(err, f->parent);
  return code;
}

static int search(struct find *f, struct lv_walk *walk, const char *folder,
                  struct lv_job *job, struct lvhd_error *err) {
  enum lv_walked what = LV_WALK_OTHER;
  struct lv_file file = LV_FILE_INIT;
  const char *path = NULL;
  int code = lv_walk_begin(walk, folder, err);
  while (code == 0 && what != LV_WALK_END) {
    if (lv_job_cancelled(job))
      return lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
    code = lv_walk_step(walk, &what, &file, &path, err);
    if (code == 0 && what == LV_WALK_FILE) {
      code = look_at(f, &file, path, job, err);
      lv_job_step(job, 0, 1);
    }
  }
  if (code != 0)
    lv_error_path(err, folder);
  return code;
}

static int by_path(const void *a, const void *b) {
  const struct lv_facts *const *x = a, *const *y = b;
  return strcmp((*x)->path, (*y)->path);
}

static int run(void *args, struct lv_job *job, struct lvhd_error *err) {
  struct find *f = args;
  struct lv_walk *walk = NULL;
  int code = f->parent ? read_parent(f, err) : 0;
  if (code == 0)
    code = lv_walk_new(&walk, f->env, err);
  for (size_t i = 0; code == 0 && i < f->count; i++)
    code = search(f, walk, f->folders[i], job, err);
  lv_walk_free(walk);
  if (code == 0 && f->infos->count > 1)
    qsort(f->infos->items, f->infos->count, sizeof *f->infos->items, by_path);
  return code;
}

/* ---- the verbs ------------------------------------------------------- */

static unsigned kind(const void *args) {
  (void)args;
  return LV_LONG;
}

static const lvhd_infos *infos(const void *args) {
  return ((const struct find *)args)->infos;
}

static const char *path(const void *args) {
  const struct find *f = args;
  return f->parent ? f->parent : f->count > 0 ? f->folders[0] : "";
}

const struct lv_verb lv_find = {
  .name = "find",
  .prepare = prepare,
  .run = run,
  .free = free_args,
  .kind = kind,
  .infos = infos,
  .path = path,
};

const struct lv_verb lv_children = {
  .name = "children",
  .prepare = prepare,
  .run = run,
  .free = free_args,
  .kind = kind,
  .infos = infos,
  .path = path,
};
