/* SPDX-License-Identifier: MIT
 *
 * The verb that checks a file, or a chain, and changes nothing.
 */
#include "op/check.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "image/chain.h"
#include "image/survey.h"

struct check {
  struct lv_env *env;
  char *path;
  struct lvhd_check_options opts; /* open.parents is owned */
  struct lvhd_infos *infos;
  size_t before; /* files that have been looked at in vain */
};

static void free_args(void *args) {
  struct check *c = args;
  if (c == NULL)
    return;
  for (size_t i = 0; i < c->opts.open.parent_count; i++)
    free((void *)(uintptr_t)c->opts.open.parents[i]);
  free((void *)(uintptr_t)c->opts.open.parents);
  free(c->path);
  lv_infos_free(c->infos);
  free(c);
}

/* Relative paths are meant from where the call is made. */
static int copy_paths(struct check *c, const char *path,
                      const struct lvhd_open_options *from,
                      struct lvhd_error *err) {
  const char **copy = calloc(from->parent_count + 1, sizeof *copy);
  int code = 0;
  c->opts.open.parents = copy;
  c->opts.open.parent_count = 0;
  if (copy == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  for (size_t i = 0; code == 0 && i < from->parent_count; i++) {
    char *parent = NULL;
    code = lv_absolute_path(&parent, c->env, from->parents[i], err);
    copy[i] = parent;
    c->opts.open.parent_count += code == 0;
  }
  return code == 0 ? lv_absolute_path(&c->path, c->env, path, err) : code;
}

int lv_check_args(void **out, struct lv_env *env, const char *path,
                  const struct lvhd_check_options *opts,
                  struct lvhd_error *err) {
  struct check *c = calloc(1, sizeof *c);
  int code = 0;
  *out = NULL;
  if (c == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  c->env = env;
  c->opts = *opts;
  code = copy_paths(c, path, &opts->open, err);
  if (code != 0) {
    free_args(c);
    return code;
  }
  *out = c;
  return 0;
}

static int prepare(void *args, struct lvhd_error *err) {
  (void)args;
  (void)err;
  return 0;
}

/* ---- parents --------------------------------------------------------- */

static bool in_vocabulary(int reason) {
  return (reason >= LV_R_PARENT_OUTSIDE && reason <= LV_R_CHAIN_TOO_DEEP &&
          reason != LV_R_PARENT_TIME);
}

/* Why the chain ends behind this file, as a finding of it. */
static void tell_broken(struct lv_facts *facts) {
  const struct lvhd_error *why = &facts->error;
  bool known = in_vocabulary(why->reason);
  lv_finding(&facts->findings, LVHD_ERROR,
             known ? (enum lv_reason)why->reason : LV_R_PARENT_DAMAGED,
             known ? why->has & (LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL) : 0,
             why->expected, why->actual, 0);
  facts->error.op = "check";
}

static bool same_folder(const char *a, const char *b) {
  size_t n = (size_t)(lv_path_name(a) - a);
  return n == (size_t)(lv_path_name(b) - b) && memcmp(a, b, n) == 0;
}

/* What the child of an open parent has to say. */
static void tell_parent(const struct check *c, struct lv_facts *facts,
                        const struct lv_chain *chain, size_t i) {
  const unsigned both = LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL;
  const struct lv_image *child = &chain->images[i];
  const struct lv_image *parent = &chain->images[i + 1];
  if (child->footer.current_size != parent->footer.current_size)
    lv_finding(&facts->findings, LVHD_ERROR, LV_R_PARENT_SIZE, both,
               child->footer.current_size, parent->footer.current_size, 0);
  if (c->opts.profile == LVHD_PROFILE_7ZIP &&
      !same_folder(chain->images[0].path, parent->path))
    lv_finding(&facts->findings, LVHD_ERROR, LV_R_PROFILE_FOLDER, 0, 0, 0,
               0);
  if (c->opts.profile == LVHD_PROFILE_XENSERVER &&
      parent->footer.type == LVHD_FIXED)
    lv_finding(&facts->findings, LVHD_ERROR, LV_R_PROFILE_PARENT, both,
               LVHD_DYNAMIC, LVHD_FIXED, 0);
}

/* ---- files ----------------------------------------------------------- */

static bool stop(void *job) {
  return lv_job_cancelled(job);
}

static bool progress(void *job, uint64_t bytes) {
  lv_job_step(job, bytes, 0);
  return lv_job_cancelled(job);
}

/* What lv_survey_data will look at. */
static uint64_t data_bytes(const struct lv_facts *facts,
                           const struct lv_image *image) {
  uint64_t pitch = (uint64_t)image->bitmap_size + facts->info.block_size;
  uint64_t bytes = pitch * facts->info.blocks_used;
  if (facts->findings.each[LV_R_BLOCK_OVERLAP] > 0)
    return 0;
  return bytes < image->data_end ? bytes : image->data_end;
}

static int check_one(struct check *c, const struct lv_chain *chain, size_t i,
                     struct lv_job *job, struct lvhd_error *err) {
  struct lv_facts *facts = c->infos->items[i];
  const struct lv_image *image = &chain->images[i];
  int code =
    lv_survey(facts, image, c->env, c->opts.profile, stop, job, err);
  if (code == 0 && facts->has_error)
    tell_broken(facts);
  else if (code == 0 && i + 1 < chain->count)
    tell_parent(c, facts, chain, i);
  if (code == 0 && c->opts.data)
    code = lv_survey_data(facts, image, c->env, progress, job, err);
  if (code == 0 && facts->findings.no_memory)
    code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  lv_facts_done(facts);
  lv_job_step(job, 0, 1);
  return code;
}

static int check_chain(struct check *c, const struct lv_chain *chain,
                       struct lvhd_error *broken, struct lv_job *job,
                       struct lvhd_error *err) {
  uint64_t bytes = 0;
  int code = lv_chain_infos(&c->infos, chain, c->env, broken, false, stop,
                            job, err);
  for (size_t i = 0; code == 0 && c->opts.data && i < chain->count; i++)
    bytes += data_bytes(c->infos->items[i], &chain->images[i]);
  lv_job_total(job, bytes, c->before + chain->count);
  for (size_t i = 0; code == 0 && i < chain->count; i++)
    code = check_one(c, chain, i, job, err);
  return code;
}

/* The leaf alone, as a chain of one. */
static int open_leaf(struct check *c, struct lv_chain *chain,
                     struct lvhd_error *err) {
  int code = 0;
  chain->images = calloc(1, sizeof *chain->images);
  chain->found = calloc(1, sizeof *chain->found);
  if (chain->images == NULL || chain->found == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  chain->room = 1;
  code = lv_image_open(&chain->images[0], c->env, c->path, err);
  chain->count = code == 0;
  return code;
}

static int add(struct check *c, struct lv_facts *facts,
               struct lvhd_error *err) {
  lv_facts_done(facts);
  c->infos = calloc(1, sizeof *c->infos);
  if (c->infos != NULL)
    return lv_infos_add(c->infos, facts, err);
  lv_facts_free(facts);
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* A file that cannot be opened as a disk: what its footer says, if it has
 * one; else *why is the failure. */
static int check_refused(struct check *c, struct lvhd_error *why,
                         struct lvhd_error *err) {
  struct lv_file file = LV_FILE_INIT;
  struct lv_facts *facts = NULL;
  char *real = NULL;
  int code = lv_file_open(&file, c->env, c->path, err);
  if (code == 0)
    code = lv_real_path(&real, c->env, file.fd, c->path, file.real,
                        LV_STEP_FILE, err);
  if (code == 0)
    code = lv_survey_refused(&facts, &file, real, c->env, c->opts.profile,
                             why, err);
  if (code == 0)
    code = facts ? add(c, facts, err) : lv_error_give(err, why);
  lv_file_close(&file, c->env);
  free(real);
  return code;
}

/* What is wrong may be so because a file was changed meanwhile.  Reading all
 * data again and again would take too long. */
static int find_torn(const struct check *c, const struct lv_chain *chain,
                     int code, bool *torn, struct lvhd_error *err) {
  bool cut = code != 0 && err->reason == LV_R_FILE_CUT;
  *torn = cut && !c->opts.data;
  if (code != 0 || c->opts.data || !lv_infos_wrong(c->infos))
    return code;
  return lv_chain_moved(chain, c->env, torn, err);
}

static int look(struct check *c, struct lv_job *job, bool *torn,
                struct lvhd_error *err) {
  struct lv_chain chain = {0};
  struct lvhd_error broken = LVHD_ERROR_INIT, why = LVHD_ERROR_INIT;
  const struct lvhd_open_options *open = &c->opts.open;
  int code = c->opts.chain
               ? lv_chain_open(&chain, c->env, c->path, open->parents,
                               open->parent_count, open->max_depth, &broken,
                               &why)
               : open_leaf(c, &chain, &why);
  if (code == 0 && broken.code == LVHD_E_SHARING_VIOLATION)
    code = lv_error_give(err, &broken); /* a busy parent is no damaged one */
  else if (code == 0)
    code = check_chain(c, &chain, &broken, job, err);
  else if (code == LVHD_VM_E_INVALID_HD_FILE &&
           why.reason != LV_R_NOT_REGULAR)
    code = check_refused(c, &why, err);
  else
    code = lv_error_give(err, &why);
  code = find_torn(c, &chain, code, torn, err);
  if (code != 0 && err->path == NULL)
    lv_error_path(err, c->path);
  c->before += chain.count;
  lvhd_error_clear(&why);
  lvhd_error_clear(&broken);
  lv_chain_close(&chain, c->env);
  return code;
}

static int run(void *args, struct lv_job *job, struct lvhd_error *err) {
  struct check *c = args;
  bool torn = false;
  int code = look(c, job, &torn, err);
  for (int i = 1; torn && i < LV_IMAGE_LOOKS; i++) {
    lv_infos_free(c->infos);
    c->infos = NULL;
    lvhd_error_clear(err);
    code = look(c, job, &torn, err);
  }
  return code;
}

static unsigned kind(const void *args) {
  return ((const struct check *)args)->opts.data ? LV_LONG : 0;
}

static const lvhd_infos *infos(const void *args) {
  return ((const struct check *)args)->infos;
}

static const char *path(const void *args) {
  return ((const struct check *)args)->path;
}

const struct lv_verb lv_check = {
  .name = "check",
  .prepare = prepare,
  .run = run,
  .free = free_args,
  .kind = kind,
  .infos = infos,
  .path = path,
};
