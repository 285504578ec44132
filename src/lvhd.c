/* SPDX-License-Identifier: MIT
 *
 * The engine's face: options, and which verb a call becomes.  What a task is
 * stands in task/, what a verb does in op/.
 */
#include "lvhd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "base/uuid.h"
#include "io/env.h"
#include "op/create.h"
#include "task/pool.h"

struct lvhd_engine {
  struct lv_pool pool; /* first: a pool is its engine (waiter.c) */
  struct lv_env env;
  char *base;
  struct lvhd_engine_options opts;
};

/* ---- engines --------------------------------------------------------- */

#define THREADS_DEFAULT 4
#define THREADS_MAX 256

static int64_t engine_clock(const void *env) {
  const struct lv_sys *sys = ((const struct lv_env *)env)->sys;
  return sys->monotonic(sys);
}

static void engine_destroy(struct lv_pool *pool) {
  lvhd_engine *engine = (lvhd_engine *)pool;
  lv_pool_free(pool);
  free(engine->base);
  free(engine);
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
}

static int check_options(const struct lvhd_engine_options *opts,
                         struct lvhd_error *err) {
  if (opts == NULL)
    return 0;
  if (opts->sync > LVHD_SYNC_NONE || opts->long_paths > LVHD_NO ||
      opts->host_names > LVHD_NO || opts->preflight > LVHD_NO)
    return lv_fail(err, LVHD_E_INVALIDARG, LV_R_OPTION_UNKNOWN);
  if (opts->base == NULL)
    return 0;
  if (opts->base[0] != '/')
    return lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_BASE_RELATIVE);
  return lv_path_check(opts->base, strlen(opts->base),
                       opts->host_names == LVHD_YES, err);
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
  if (engine->opts.base) {
    engine->base = strdup(engine->opts.base);
    engine->opts.base = engine->base;
    if (engine->base == NULL)
      code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  lv_env_init(&engine->env, engine->opts.system);
  if (code == 0)
    code = lv_pool_init(&engine->pool, thread_count(engine->opts.threads),
                        engine_clock, &engine->env, engine_destroy, err);
  if (code != 0) {
    free(engine->base);
    free(engine);
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
         r->allocate <= LVHD_ZERO;
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

void lvhd_uuid_text(const uint8_t uuid[16], char out[37]) {
  lv_uuid_format(uuid, out);
}

bool lvhd_uuid_parse(const char *text, uint8_t uuid[16]) {
  return lv_uuid_parse(text, strlen(text), uuid);
}

const char *lvhd_version(void) {
  return "0.1.0";
}
