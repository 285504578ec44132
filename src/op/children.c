/* SPDX-License-Identifier: MIT
 *
 * The creation of many children of one parent: read children_run() first.  How
 * a batch of them is made is in batch.c, one child's bytes and checks are where
 * those of a single creation are.
 *
 *   1 arguments   2 results   3 the verb
 */
#include "op/children.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "io/names.h"
#include "op/create.h"

/* ---- 1 arguments ----------------------------------------------------- */

static void free_error(struct lvhd_error *err) {
  lvhd_error_clear(err);
  free(err);
}

static void children_free(void *args) {
  struct lv_many *m = args;
  for (size_t i = 0; m && i < m->count; i++) {
    free(m->kids[i].image);
    free(m->kids[i].outcome);
    lv_facts_free(m->kids[i].kept);
    free_error(m->kids[i].err);
  }
  if (m) {
    free(m->kids);
    lv_create_clear(&m->common);
  }
  free(m);
}

static bool copy_kid(struct lv_kid *kid, const struct lvhd_child *from) {
  kid->length = from->image_length;
  if (kid->length == 0)
    kid->length = strlen(from->image);
  kid->image = malloc(kid->length + 1);
  if (kid->image == NULL)
    return false;
  memcpy(kid->image, from->image, kid->length);
  kid->image[kid->length] = '\0';
  kid->has_uuid = from->has_uuid;
  memcpy(kid->uuid, from->uuid, sizeof kid->uuid);
  return true;
}

int lv_children_args(void **out, struct lv_env *env,
                     const struct lvhd_child *list, size_t count,
                     const char *parent,
                     const struct lvhd_create_options *opts,
                     struct lvhd_error *err) {
  struct lv_many *m = calloc(1, sizeof *m);
  bool whole = m != NULL;
  if (m)
    m->kids = calloc(count + 1, sizeof *m->kids);
  whole = m && m->kids &&
          lv_create_init(&m->common, env, LVHD_DIFFERENCING, "", parent, opts,
                         err) == 0;
  for (size_t i = 0; whole && i < count; i++) {
    whole = copy_kid(&m->kids[i], &list[i]);
    m->count += whole;
  }
  if (!whole) {
    children_free(m);
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  *out = m;
  return 0;
}

/* ---- 2 results ------------------------------------------------------- */

void lv_kid_failed(struct lv_many *m, struct lv_kid *kid, const char *path,
                   struct lvhd_error *err) {
  err->op = lv_create_children.name;
  lv_error_path(err, path);
  if (err->parent == NULL) /* else a windows_parent is at fault */
    lv_error_parent(err, m->common.parent);
  kid->err = malloc(sizeof *kid->err);
  if (kid->err)
    *kid->err = *err;
  else
    lvhd_error_clear(err);
  *err = (struct lvhd_error)LVHD_ERROR_INIT;
}

/* What err owns is copied, as far as memory reaches. */
static void copy_error(struct lvhd_error *to, const struct lvhd_error *from) {
  const char *at = from->others;
  *to = *from;
  to->path = NULL;
  to->parent = NULL;
  to->others = NULL;
  lv_error_path(to, from->path);
  lv_error_parent(to, from->parent);
  for (; at && *at; at += strlen(at) + 1)
    lv_error_other(to, at);
}

void lv_kid_shares(struct lv_many *m, struct lv_kid *kid, const char *path,
                   const struct lvhd_error *err) {
  struct lvhd_error copy;
  copy_error(&copy, err);
  lv_kid_failed(m, kid, path, &copy);
}

static bool is_made(const struct lv_kid *kid) {
  return kid->outcome || kid->kept;
}

/* No memory for the error, or the task ended before it began. */
static const struct lvhd_error no_error = {.code = LVHD_E_OUTOFMEMORY,
                                           .op = "create_children"};
static const struct lvhd_error not_begun = {.code = LVHD_E_ABORT,
                                            .op = "create_children"};

static const struct lvhd_error *error_of(const struct lv_many *m, size_t i) {
  const struct lv_kid *kid = &m->kids[i];
  if (is_made(kid))
    return NULL;
  if (kid->err)
    return kid->err;
  return m->lost ? &no_error : &not_begun;
}

/* Whatever has no result yet ends like this. */
static void end_others(struct lv_many *m, const struct lvhd_error *why) {
  for (size_t i = 0; i < m->count; i++)
    if (!is_made(&m->kids[i]) && m->kids[i].err == NULL)
      lv_kid_shares(m, &m->kids[i], m->kids[i].image, why);
}

/* 0, or the error of the first that failed, which tells how many did. */
static int sum_up(struct lv_many *m, struct lvhd_error *err) {
  size_t failed = 0, first = 0;
  m->lost = true; /* an error that is missing by now was lost */
  for (size_t i = m->count; i > 0; i--) {
    if (is_made(&m->kids[i - 1]))
      continue;
    failed++;
    first = i - 1;
  }
  if (failed == 0)
    return 0;
  lvhd_error_clear(err);
  copy_error(err, error_of(m, first));
  err->failed = failed;
  err->of = m->count;
  return err->code;
}

static size_t children_count(const void *args) {
  const struct lv_many *m = args;
  return m->count;
}

static const struct lvhd_info *children_item(const void *args, size_t i,
                                             const struct lvhd_error **err) {
  const struct lv_many *m = args;
  const struct lv_kid *kid = &m->kids[i];
  *err = error_of(m, i);
  if (kid->kept)
    return &kid->kept->info;
  return kid->outcome ? lv_outcome_shown(kid->outcome) : NULL;
}

/* ---- 3 the verb ------------------------------------------------------ */

/* The parent, and the plan of a child beside it: what every child needs. */
static int look_common(struct lv_many *m, struct lvhd_error *err) {
  static const uint8_t none[16] = {0};
  struct lv_create *c = &m->common;
  struct lv_look look;
  int code = 0;
  look.parent = (struct lv_file)LV_FILE_INIT;
  look.folder = (struct lv_folder)LV_FOLDER_INIT;
  code = lv_create_parent(c, &look, err);
  if (code == 0) {
    c->real_folder = lv_path_folder(c->real_parent);
    code = c->real_folder ? lv_create_plan(c, &look, none, err)
                          : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
    free(c->real_folder);
    c->real_folder = NULL;
  }
  if (code == 0)
    m->file_size = look.plan.file_size;
  lv_look_close(&look, c->env);
  return code;
}

static int tell_parent(const struct lv_many *m, int code,
                       struct lvhd_error *err) {
  if (code != 0 && err) {
    lv_error_path(err, m->common.parent);
    if (err->parent == NULL) /* else a windows_parent is at fault */
      lv_error_parent(err, m->common.parent);
  }
  return code;
}

static int children_prepare(void *args, struct lvhd_error *err) {
  struct lv_many *m = args;
  int code = lv_create_parent_words(&m->common, err);
  if (code == 0 && m->common.opts.preflight == LVHD_YES)
    code = look_common(m, err);
  return tell_parent(m, code, err);
}

#define WIDTH 512                     /* images of a batch */
#define FDS_LEAST 8 /* descriptors, with which it goes on file by file */
#define BATCH_BYTES (UINT64_C(64) << 20) /* of them */

/* Half of the descriptors that the process may have, less where the files are
 * large: what is written and not flushed lies in memory. */
static void set_width(struct lv_many *m) {
  const struct lv_sys *sys = m->env.sys;
  struct rlimit limit = {.rlim_cur = 64};
  uint64_t width = BATCH_BYTES / m->file_size;
  if (sys->getrlimit(sys, RLIMIT_NOFILE, &limit) != 0)
    limit.rlim_cur = 64;
  m->most = limit.rlim_cur < 4 * WIDTH ? (size_t)limit.rlim_cur / 2 : 2 * WIDTH;
  width = width < 1 ? 1 : width > WIDTH ? WIDTH : width;
  m->flushing.credit = m->count * LV_FLUSH_WORTH;
  m->width = width > m->count ? m->count : (size_t)width;
}

/* All that the engine has under way share what one may take.  Asked for each
 * batch: others come and go. */
static void take_share(struct lv_many *m) {
  size_t running = atomic_load(&m->engine->batches);
  size_t share = m->most / (running > 0 ? running : 1);
  m->fds = share > FDS_LEAST ? share : FDS_LEAST;
}

/* One batch after the other, in the order of the list. */
static int go_through(struct lv_many *m, struct lv_job *job,
                      struct lvhd_error *err) {
  struct lv_todo todo = {.count = m->count};
  int code = 0;
  todo.list = malloc(m->count * sizeof *todo.list + 1);
  if (todo.list == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  for (size_t i = 0; i < m->count; i++)
    todo.list[i] = i;
  while (code == 0 && todo.next < todo.count) {
    take_share(m);
    code = lv_batch_run(m, &todo, job, err);
  }
  free(todo.list);
  return code;
}

static int run(struct lv_many *m, struct lv_job *job,
               struct lvhd_error *err) {
  int code = look_common(m, err);
  if (code != 0)
    return code;
  lv_job_total(job, m->file_size * m->count, m->count);
  set_width(m);
  return go_through(m, job, err);
}

static int children_run(void *args, struct lv_job *job,
                        struct lvhd_error *err) {
  struct lv_many *m = args;
  struct lv_env *engine = m->common.env;
  int code = 0;
  lv_job_total(job, 0, m->count);
  lv_env_init(&m->env, engine->sys);
  m->env.drives = engine->drives;
  if (engine->drives) {
    m->env.names = lv_names_new();
    if (m->env.names == NULL)
      code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  m->common.env = &m->env;
  m->engine = engine;
  atomic_fetch_add(&engine->batches, 1);
  if (code == 0)
    code = run(m, job, err);
  atomic_fetch_sub(&engine->batches, 1);
  lv_names_free(m->env.names);
  m->env.names = NULL;
  if (code != 0 && m->count == 0)
    return tell_parent(m, code, err);
  if (code != 0)
    end_others(m, err);
  return sum_up(m, err);
}

static unsigned children_kind(const void *args) {
  (void)args;
  return LV_MANY;
}

static const char *children_path(const void *args) {
  const struct lv_many *m = args;
  return m->common.parent;
}

const struct lv_verb lv_create_children = {
  .name = "create_children",
  .prepare = children_prepare,
  .run = children_run,
  .free = children_free,
  .kind = children_kind,
  .item_count = children_count,
  .item = children_item,
  .path = children_path,
};
