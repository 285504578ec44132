/* SPDX-License-Identifier: MIT
 *
 * The engine's face: options, and which verb a call becomes.  What a task is
 * stands in task/, what a verb does in op/, an open disk in lvhd_disk.c.
 */
#include "lvhd_face.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "base/uuid.h"
#include "base/winpath.h"
#include "image/disk.h"
#include "io/dry.h"
#include "op/change.h"
#include "op/check.h"
#include "op/children.h"
#include "op/create.h"
#include "op/inplace.h"

/* ---- engines --------------------------------------------------------- */

#define THREADS_DEFAULT 4
#define THREADS_MAX 256
#define DEPTH_DEFAULT 64
#define DEPTH_MAX 1024

static int64_t engine_clock(const void *env) {
  const struct lv_sys *sys = ((const struct lv_env *)env)->sys;
  return sys->monotonic(sys);
}

static void free_strings(char **list, size_t count) {
  for (size_t i = 0; list && i < count; i++)
    free(list[i]);
  free(list);
}

static void free_engine(lvhd_engine *engine) {
  free_strings(engine->parents, engine->opts.parent_count);
  free_strings(engine->children_in, engine->opts.children_in_count);
  lv_drives_free(engine->drives);
  free(engine->base);
  free(engine);
}

static void engine_destroy(struct lv_pool *pool) {
  lv_pool_free(pool);
  free_engine((lvhd_engine *)pool);
}

static unsigned thread_count(unsigned asked) {
  long processors = 0;
  if (asked > 0)
    return asked < THREADS_MAX ? asked : THREADS_MAX;
  processors = sysconf(_SC_NPROCESSORS_ONLN);
  if (processors < 1)
    return 1;
  return processors < THREADS_DEFAULT ? (unsigned)processors
                                      : THREADS_DEFAULT;
}

static void set_defaults(struct lvhd_engine_options *opts) {
  if (opts->sync == LVHD_SYNC_DEFAULT)
    opts->sync = LVHD_SYNC_FULL;
  if (opts->long_paths == LVHD_DEFAULT)
    opts->long_paths = LVHD_NO;
  if (opts->host_names == LVHD_DEFAULT)
    opts->host_names = LVHD_NO;
  if (opts->preflight == LVHD_DEFAULT)
    opts->preflight = LVHD_YES;
  if (opts->max_depth == 0)
    opts->max_depth = DEPTH_DEFAULT;
}

static int check_options(const struct lvhd_engine_options *opts,
                         struct lvhd_error *err) {
  if (opts == NULL)
    return 0;
  if (opts->sync > LVHD_SYNC_NONE || opts->long_paths > LVHD_NO ||
      opts->host_names > LVHD_NO || opts->preflight > LVHD_NO)
    return lv_fail(err, LVHD_E_INVALIDARG, LV_R_OPTION_UNKNOWN);
  if (opts->max_depth > DEPTH_MAX)
    return lv_fail_range(err, LVHD_E_INVALIDARG, LV_R_DEPTH_LIMIT, DEPTH_MAX,
                         opts->max_depth);
  return 0;
}

/* Once the drives are known. */
static int check_base(const lvhd_engine *engine, struct lvhd_error *err) {
  const char *base = engine->base;
  int code = 0;
  if (base == NULL)
    return 0;
  if (lv_is_windows(&engine->env, base))
    code = lv_winpath_check(base, strlen(base), err);
  else if (base[0] != '/')
    code = lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_BASE_RELATIVE);
  else
    code = lv_path_check(base, strlen(base),
                         engine->opts.host_names == LVHD_YES, err);
  if (code != 0)
    lv_error_path(err, base);
  return code;
}

static bool copy_strings(char ***out, const char *const **list,
                         size_t count) {
  char **copy = NULL;
  if (count == 0)
    return true;
  copy = calloc(count, sizeof *copy);
  *out = copy;
  for (size_t i = 0; copy && i < count; i++) {
    copy[i] = strdup((*list)[i]);
    if (copy[i] == NULL)
      return false;
  }
  *list = (const char *const *)copy;
  return copy != NULL;
}

/* The strings of the options. */
static int copy_options(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_engine_options *opts = &engine->opts;
  bool good = true;
  if (opts->base) {
    engine->base = strdup(opts->base);
    good = engine->base != NULL;
    opts->base = engine->base;
  }
  good = copy_strings(&engine->parents, &opts->parents, opts->parent_count) &&
         copy_strings(&engine->children_in, &opts->children_in,
                      opts->children_in_count) &&
         good;
  return good ? 0 : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

static int map_drives(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_engine_options *opts = &engine->opts;
  int code = 0;
  if (opts->drive_count > 0)
    code = lv_drives_new(&engine->drives, opts->drives, opts->drive_count,
                         err);
  engine->env.drives = engine->drives;
  opts->drives = NULL; /* the caller's */
  return code;
}

int lvhd_engine_new(lvhd_engine **out, const struct lvhd_engine_options *opts,
                    struct lvhd_error *err) {
  lvhd_engine *engine = NULL;
  int code = 0;
  code = check_options(opts, err);
  if (code != 0)
    return code;
  engine = calloc(1, sizeof *engine);
  if (engine == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  if (opts)
    engine->opts = *opts;
  set_defaults(&engine->opts);
  code = copy_options(engine, err);
  lv_sys_dry(&engine->dry);
  lv_env_init(&engine->env,
              engine->opts.dry_run ? &engine->dry : engine->opts.system);
  if (code == 0)
    code = map_drives(engine, err);
  if (code == 0)
    code = check_base(engine, err);
  if (code == 0)
    code = lv_pool_init(&engine->pool, thread_count(engine->opts.threads),
                        engine_clock, &engine->env, engine_destroy, err);
  if (code != 0) {
    if (err)
      err->op = "engine";
    free_engine(engine);
    return code;
  }
  *out = engine;
  return 0;
}

void lvhd_engine_stop(lvhd_engine *engine, enum lvhd_stop how) {
  lv_pool_stop(&engine->pool, how);
}

bool lvhd_engine_idle(lvhd_engine *engine, unsigned ms) {
  return lv_pool_idle(&engine->pool, ms);
}

void lvhd_engine_close(lvhd_engine *engine, bool cancel) {
  lv_pool_stop(&engine->pool,
               cancel ? LVHD_STOP_CANCEL : LVHD_STOP_FINISH);
  lv_pool_join(&engine->pool);
}

void lvhd_engine_free(lvhd_engine *engine, bool cancel) {
  lvhd_task *task = NULL;
  if (engine == NULL)
    return;
  lvhd_engine_close(engine, cancel);
  while ((task = lvhd_engine_ended(engine)) != NULL)
    lvhd_task_free(task);
  while ((task = lv_pool_lost(&engine->pool)) != NULL)
    lvhd_task_free(task);
  lv_pool_unref(&engine->pool);
}

void lvhd_engine_counts(lvhd_engine *engine,
                        struct lvhd_engine_counts *out) {
  lv_pool_counts(&engine->pool, out);
}

lvhd_task *lvhd_engine_lost(lvhd_engine *engine) {
  return lv_pool_lost(&engine->pool);
}

bool lvhd_engine_forked(const lvhd_engine *engine) {
  return lv_pool_forked(&engine->pool);
}

/* ---- Windows paths --------------------------------------------------- */

/* What the calls about a path begin with. */
static int take_path(lvhd_engine *engine, const char *path,
                     struct lvhd_error *err) {
  int code = lv_pool_check(&engine->pool, err);
  if (code == 0 && path == NULL)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_PATH_NIL);
  if (code == 0 && path[0] == '\0')
    code = lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_EMPTY);
  return code;
}

static int finish_path(struct lvhd_error *err, int code, const char *op,
                       const char *path) {
  if (code != 0 && err) {
    err->op = op;
    lv_error_path(err, path);
  }
  return code;
}

int lvhd_windows_path(lvhd_engine *engine, const char *host, char **out,
                      struct lvhd_error *err) {
  int code = take_path(engine, host, err);
  *out = NULL;
  if (code == 0 && host[0] != '/')
    code = lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_RELATIVE);
  if (code == 0)
    code = lv_drives_call_path(out, &engine->env, host, err);
  return finish_path(err, code, "windows_path", host);
}

int lvhd_host_path(lvhd_engine *engine, const char *windows, char **out,
                   struct lvhd_error *err) {
  int code = take_path(engine, windows, err);
  *out = NULL;
  if (code == 0 && !lv_is_windows(&engine->env, windows))
    code = lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_RELATIVE);
  if (code == 0)
    code = lv_drives_real(out, &engine->env, windows, err);
  return finish_path(err, code, "host_path", windows);
}

static int check_windows(const char *path, size_t n, bool long_paths,
                         struct lvhd_error *err) {
  char *plain = NULL;
  int code = lv_winpath_check(path, n, err);
  if (code != 0)
    return code;
  plain = lv_winpath_join(NULL, path);
  code = plain ? lv_path_length(plain, long_paths, err)
               : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  free(plain);
  return code;
}

int lvhd_check_path(lvhd_engine *engine, const char *path, size_t length,
                    struct lvhd_error *err) {
  const struct lvhd_engine_options *opts = &engine->opts;
  bool long_paths = opts->long_paths == LVHD_YES;
  int code = take_path(engine, path, err);
  size_t n = code == 0 && length == 0 ? strlen(path) : length;
  if (code == 0 && lv_is_windows(&engine->env, path)) {
    code = check_windows(path, n, long_paths, err);
  } else if (code == 0) {
    code = lv_path_check(path, n, opts->host_names == LVHD_YES, err);
    if (code == 0 && path[0] != '/')
      code = lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_RELATIVE);
    if (code == 0)
      code = lv_path_length(path, long_paths, err);
  }
  return finish_path(err, code, "check_path", path);
}

void lvhd_string_free(char *text) {
  free(text);
}

/* ---- creating -------------------------------------------------------- */

/* What a call leaves open is as the engine. */
static struct lvhd_create_options
resolve(const lvhd_engine *engine, const struct lvhd_create_options *opts) {
  struct lvhd_create_options r = {0};
  if (opts)
    r = *opts;
  if (r.sync == LVHD_SYNC_DEFAULT)
    r.sync = engine->opts.sync;
  if (r.base == NULL)
    r.base = engine->opts.base;
  if (r.long_paths == LVHD_DEFAULT)
    r.long_paths = engine->opts.long_paths;
  if (r.host_names == LVHD_DEFAULT)
    r.host_names = engine->opts.host_names;
  if (r.preflight == LVHD_DEFAULT)
    r.preflight = engine->opts.preflight;
  return r;
}

/* A C program may put any number into an enum. */
static bool known_values(const struct lvhd_create_options *r) {
  return r->sync <= LVHD_SYNC_NONE && r->long_paths <= LVHD_NO &&
         r->host_names <= LVHD_NO && r->preflight <= LVHD_NO &&
         r->allocate <= LVHD_ZERO && r->filesystem <= LVHD_FAT32;
}

static int create(lvhd_engine *engine, const struct lv_verb *verb,
                  enum lvhd_type type, const char *image, const char *parent,
                  int64_t size, const struct lvhd_create_options *opts,
                  lvhd_task **out, struct lvhd_error *err) {
  struct lvhd_create_options resolved = resolve(engine, opts);
  void *args = NULL;
  int code = 0;
  *out = NULL;
  if (image == NULL)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_IMAGE_NIL);
  else if (type == LVHD_DIFFERENCING && parent == NULL)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_PARENT_NIL);
  else if (!known_values(&resolved))
    code = lv_fail(err, LVHD_E_INVALIDARG, LV_R_OPTION_UNKNOWN);
  if (code == 0)
    code = lv_pool_check(&engine->pool, err);
  if (code == 0)
    code = lv_create_args(&args, &engine->env, type, image, parent, size,
                          &resolved, err);
  if (code == 0)
    return lv_pool_start(&engine->pool, verb, args, out, err);
  if (err) {
    err->op = verb->name;
    lv_error_path(err, image);
    lv_error_parent(err, parent);
  }
  return code;
}

int lvhd_create_fixed(lvhd_engine *engine, const char *image, int64_t size,
                      const struct lvhd_create_options *opts,
                      lvhd_task **out, struct lvhd_error *err) {
  return create(engine, &lv_create_fixed, LVHD_FIXED, image, NULL, size, opts,
                out, err);
}

int lvhd_create_dynamic(lvhd_engine *engine, const char *image, int64_t size,
                        const struct lvhd_create_options *opts,
                        lvhd_task **out, struct lvhd_error *err) {
  return create(engine, &lv_create_dynamic, LVHD_DYNAMIC, image, NULL, size,
                opts, out, err);
}

int lvhd_create_differencing(lvhd_engine *engine, const char *image,
                             const char *parent,
                             const struct lvhd_create_options *opts,
                             lvhd_task **out, struct lvhd_error *err) {
  return create(engine, &lv_create_differencing, LVHD_DIFFERENCING, image,
                parent, 0, opts, out, err);
}

int lvhd_create_children(lvhd_engine *engine, const struct lvhd_child *list,
                         size_t count, const char *parent,
                         const struct lvhd_create_options *opts,
                         lvhd_task **out, struct lvhd_error *err) {
  struct lvhd_create_options resolved = resolve(engine, opts);
  void *args = NULL;
  int code = 0;
  *out = NULL;
  if (list == NULL && count > 0)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_IMAGE_NIL);
  else if (parent == NULL)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_PARENT_NIL);
  else if (!known_values(&resolved) || resolved.has_uuid)
    code = lv_fail(err, LVHD_E_INVALIDARG, LV_R_OPTION_UNKNOWN);
  for (size_t i = 0; code == 0 && i < count; i++)
    if (list[i].image == NULL)
      code = lv_fail(err, LVHD_E_POINTER, LV_R_IMAGE_NIL);
  if (code == 0)
    code = lv_pool_check(&engine->pool, err);
  if (code == 0)
    code = lv_children_args(&args, &engine->env, list, count, parent,
                            &resolved, err);
  if (code == 0)
    return lv_pool_start(&engine->pool, &lv_create_children, args, out, err);
  if (err) {
    err->op = lv_create_children.name;
    lv_error_path(err, parent);
    lv_error_parent(err, parent);
  }
  return code;
}

/* ---- asking ---------------------------------------------------------- */

int lv_finish(struct lvhd_error *err, int code, const char *op,
              const char *path) {
  if (code == 0 || err == NULL)
    return code;
  err->op = op;
  if (err->path == NULL)
    lv_error_path(err, path);
  return code;
}

size_t lvhd_infos_count(const lvhd_infos *infos) {
  return infos->count;
}

const struct lvhd_info *lvhd_infos_at(const lvhd_infos *infos, size_t i) {
  return i < infos->count ? &infos->items[i]->info : NULL;
}

void lvhd_infos_free(lvhd_infos *infos) {
  lv_infos_free(infos);
}

int lv_resolve_open(const lvhd_engine *engine,
                    const struct lvhd_open_options *opts,
                    struct lvhd_open_options *r, struct lvhd_error *err) {
  *r = opts ? *opts : (struct lvhd_open_options){0};
  if (!r->has_parents) {
    r->parents = engine->opts.parents;
    r->parent_count = engine->opts.parent_count;
  }
  if (!r->has_children_in) {
    r->children_in = engine->opts.children_in;
    r->children_in_count = engine->opts.children_in_count;
    r->no_search = r->no_search || engine->opts.no_search;
  }
  if (r->sync == LVHD_SYNC_DEFAULT)
    r->sync = engine->opts.sync;
  if (r->sync > LVHD_SYNC_NONE)
    return lv_fail(err, LVHD_E_INVALIDARG, LV_R_OPTION_UNKNOWN);
  if (r->max_depth == 0)
    r->max_depth = engine->opts.max_depth;
  if (r->max_depth > DEPTH_MAX)
    return lv_fail_range(err, LVHD_E_INVALIDARG, LV_R_DEPTH_LIMIT, DEPTH_MAX,
                         r->max_depth);
  return 0;
}

int lvhd_read_info(lvhd_engine *engine, const char *path, lvhd_infos **out,
                   struct lvhd_error *err) {
  struct lv_image image = LV_IMAGE_INIT;
  int code = lv_pool_check(&engine->pool, err);
  *out = NULL;
  if (code == 0 && path == NULL)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_PATH_NIL);
  if (code == 0)
    code = lv_image_open(&image, &engine->env, path, err);
  if (code == 0)
    code = lv_infos_of(out, &image, &engine->env, err);
  lv_image_close(&image, &engine->env);
  return lv_finish(err, code, "info", path);
}

int lvhd_read_chain(lvhd_engine *engine, const char *path,
                    const struct lvhd_open_options *opts, lvhd_infos **out,
                    struct lvhd_error *err) {
  struct lvhd_open_options r;
  int code = lv_pool_check(&engine->pool, err);
  *out = NULL;
  if (code == 0 && path == NULL)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_PATH_NIL);
  if (code == 0)
    code = lv_resolve_open(engine, opts, &r, err);
  if (code == 0)
    code = lv_chain_look(out, &engine->env, path, &r, err);
  return lv_finish(err, code, "chain", path);
}

/* ---- checking and finding -------------------------------------------- */

int lvhd_check(lvhd_engine *engine, const char *path,
               const struct lvhd_check_options *opts, lvhd_task **out,
               struct lvhd_error *err) {
  struct lvhd_check_options r = {0};
  void *args = NULL;
  int code = 0;
  *out = NULL;
  if (opts)
    r = *opts;
  if (path == NULL)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_PATH_NIL);
  else if (r.profile > LVHD_PROFILE_7ZIP)
    code = lv_fail(err, LVHD_E_INVALIDARG, LV_R_OPTION_UNKNOWN);
  if (code == 0)
    code = lv_resolve_open(engine, opts ? &opts->open : NULL, &r.open, err);
  if (code == 0)
    code = lv_pool_check(&engine->pool, err);
  if (code == 0)
    code = lv_check_args(&args, &engine->env, path, &r, err);
  if (code == 0)
    return lv_pool_start(&engine->pool, &lv_check, args, out, err);
  return lv_finish(err, code, lv_check.name, path);
}

static int find(lvhd_engine *engine, const struct lv_verb *verb,
                const char *parent, const char *const *folders, size_t count,
                lvhd_task **out, struct lvhd_error *err) {
  void *args = NULL;
  int code = 0;
  *out = NULL;
  if (verb == &lv_children && parent == NULL)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_PARENT_NIL);
  for (size_t i = 0; code == 0 && i < count; i++)
    if (folders[i] == NULL)
      code = lv_fail(err, LVHD_E_POINTER, LV_R_PATH_NIL);
  if (code == 0)
    code = lv_pool_check(&engine->pool, err);
  if (code == 0)
    code = lv_find_args(&args, &engine->env, parent, folders, count, err);
  if (code == 0)
    return lv_pool_start(&engine->pool, verb, args, out, err);
  return lv_finish(err, code, verb->name, parent);
}

int lvhd_find(lvhd_engine *engine, const char *const *folders, size_t count,
              lvhd_task **out, struct lvhd_error *err) {
  return find(engine, &lv_find, NULL, folders, count, out, err);
}

int lvhd_children(lvhd_engine *engine, const char *parent,
                  const char *const *folders, size_t count, lvhd_task **out,
                  struct lvhd_error *err) {
  return find(engine, &lv_children, parent, folders, count, out, err);
}

/* ---- changing -------------------------------------------------------- */

/* What every such call checks first. */
static int begin_change(lvhd_engine *engine, const char *path,
                        const struct lvhd_open_options *opts,
                        struct lvhd_open_options *r, struct lvhd_error *err) {
  int code =
    path ? 0 : lv_fail(err, LVHD_E_POINTER, LV_R_PATH_NIL);
  if (code == 0)
    code = lv_resolve_open(engine, opts, r, err);
  return code == 0 ? lv_pool_check(&engine->pool, err) : code;
}

static int start_change(lvhd_engine *engine, int code,
                        const struct lv_verb *verb, void *args,
                        const char *path, lvhd_task **out,
                        struct lvhd_error *err) {
  if (code == 0)
    return lv_pool_start(&engine->pool, verb, args, out, err);
  return lv_finish(err, code, verb->name, path);
}

int lvhd_convert(lvhd_engine *engine, const char *source, const char *dest,
                 const struct lvhd_convert_options *opts, lvhd_task **out,
                 struct lvhd_error *err) {
  struct lvhd_convert_options r = {0};
  void *args = NULL;
  int code = 0;
  *out = NULL;
  if (opts)
    r = *opts;
  r.create = resolve(engine, opts ? &opts->create : NULL);
  if (r.to == 0)
    r.to = LVHD_DYNAMIC;
  if (source == NULL)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_PATH_NIL);
  else if (dest == NULL)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_IMAGE_NIL);
  else if (!known_values(&r.create) || r.to > LVHD_DIFFERENCING)
    code = lv_fail(err, LVHD_E_INVALIDARG, LV_R_OPTION_UNKNOWN);
  if (code == 0)
    code = begin_change(engine, source, opts ? &opts->open : NULL, &r.open,
                        err);
  if (code == 0)
    code = lv_convert_args(&args, &engine->env, source, dest, &r, err);
  return start_change(engine, code, &lv_convert, args, dest, out, err);
}

int lvhd_merge(lvhd_engine *engine, const char *child,
               const struct lvhd_merge_options *opts, lvhd_task **out,
               struct lvhd_error *err) {
  struct lvhd_merge_options r = {0};
  void *args = NULL;
  int code = 0;
  *out = NULL;
  if (opts)
    r = *opts;
  code =
    begin_change(engine, child, opts ? &opts->open : NULL, &r.open, err);
  if (code == 0)
    code = lv_merge_args(&args, &engine->env, child, &r, err);
  return start_change(engine, code, &lv_merge, args, child, out, err);
}

typedef int (*args_fn)(void **, struct lv_env *, const char *,
                       const struct lvhd_open_options *, struct lvhd_error *);

/* A verb with a path and options and no more. */
static int change_one(lvhd_engine *engine, const struct lv_verb *verb,
                      args_fn make, const char *path,
                      const struct lvhd_open_options *opts, lvhd_task **out,
                      struct lvhd_error *err) {
  struct lvhd_open_options r;
  void *args = NULL;
  int code = begin_change(engine, path, opts, &r, err);
  *out = NULL;
  if (code == 0)
    code = make(&args, &engine->env, path, &r, err);
  return start_change(engine, code, verb, args, path, out, err);
}

int lvhd_compact(lvhd_engine *engine, const char *path,
                 const struct lvhd_open_options *opts, lvhd_task **out,
                 struct lvhd_error *err) {
  return change_one(engine, &lv_compact, lv_compact_args, path, opts, out,
                    err);
}

int lvhd_resize(lvhd_engine *engine, const char *path, int64_t size,
                const struct lvhd_open_options *opts, lvhd_task **out,
                struct lvhd_error *err) {
  struct lvhd_open_options r;
  void *args = NULL;
  int code = begin_change(engine, path, opts, &r, err);
  *out = NULL;
  if (code == 0)
    code = lv_resize_args(&args, &engine->env, path, size, &r, err);
  return start_change(engine, code, &lv_resize, args, path, out, err);
}

int lvhd_relink(lvhd_engine *engine, const char *child, const char *parent,
                const struct lvhd_open_options *opts, lvhd_task **out,
                struct lvhd_error *err) {
  struct lvhd_open_options r;
  void *args = NULL;
  int code = begin_change(engine, child, opts, &r, err);
  *out = NULL;
  if (code == 0 && parent == NULL)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_PARENT_NIL);
  if (code == 0)
    code = lv_relink_args(&args, &engine->env, child, parent, &r, err);
  return start_change(engine, code, &lv_relink, args, child, out, err);
}

int lvhd_repair(lvhd_engine *engine, const char *path,
                const struct lvhd_open_options *opts, lvhd_task **out,
                struct lvhd_error *err) {
  return change_one(engine, &lv_repair, lv_repair_args, path, opts, out, err);
}

void lvhd_uuid_text(const uint8_t uuid[16], char out[37]) {
  lv_uuid_format(uuid, out);
}

bool lvhd_uuid_parse(const char *text, uint8_t uuid[16]) {
  return lv_uuid_parse(text, strlen(text), uuid);
}

const char *lvhd_version(void) {
  return LVHD_VERSION;
}
