/* SPDX-License-Identifier: MIT
 *
 * Arguments and results of the verbs that change files in place.
 */
#include "op/inplace.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

static void free_list(const char *const *list, size_t count) {
  for (size_t i = 0; list && i < count; i++)
    free((void *)(uintptr_t)list[i]);
  free((void *)(uintptr_t)list);
}

void lv_inplace_clear(struct lv_inplace *args) {
  free_list(args->opts.parents, args->opts.parent_count);
  free_list(args->opts.children_in, args->opts.children_in_count);
  free(args->path);
  lv_facts_free(args->facts);
  *args = (struct lv_inplace){0};
}

/* A copy of *list, absolute: relative paths are meant from where the call is
 * made.  *list is the copy from then on, as far as it came. */
static int copy_list(const char *const **list, size_t *count,
                     const struct lv_env *env, struct lvhd_error *err) {
  const char *const *from = *list;
  const char **copy = calloc(*count + 1, sizeof *copy);
  size_t n = *count;
  int code = copy ? 0 : no_memory(err);
  *list = copy;
  *count = 0;
  for (size_t i = 0; code == 0 && i < n; i++) {
    char *path = NULL;
    code = lv_absolute_path(&path, env, from[i], err);
    if (code == 0)
      copy[(*count)++] = path;
  }
  return code;
}

int lv_inplace_init(struct lv_inplace *args, struct lv_env *env,
                    const char *path, const struct lvhd_open_options *opts,
                    struct lvhd_error *err) {
  int code = 0;
  args->env = env;
  args->opts = *opts;
  args->opts.windows_parent = NULL; /* relink's own */
  args->opts.children_in = NULL;
  args->opts.children_in_count = 0;
  code = copy_list(&args->opts.parents, &args->opts.parent_count, env, err);
  if (code == 0) {
    args->opts.children_in = opts->children_in;
    args->opts.children_in_count = opts->children_in_count;
    code = copy_list(&args->opts.children_in, &args->opts.children_in_count,
                     env, err);
  }
  return code == 0 ? lv_absolute_path(&args->path, env, path, err) : code;
}

int lv_inplace_prepare(void *args, struct lvhd_error *err) {
  (void)args;
  (void)err;
  return 0;
}

unsigned lv_inplace_kind(const void *args) {
  (void)args;
  return LV_LONG;
}

const struct lvhd_info *lv_inplace_info(const void *args) {
  const struct lv_inplace *a = args;
  return a->facts ? &a->facts->info : NULL;
}

const char *lv_inplace_path(const void *args) {
  return ((const struct lv_inplace *)args)->path;
}

/* A verb tells so many findings of its own at the most. */
#define OWN_FINDINGS 8

int lv_inplace_tell(struct lv_inplace *args, const char *path,
                    struct lvhd_error *err) {
  struct lv_image image = LV_IMAGE_INIT;
  struct lv_facts *facts = NULL;
  int code = lv_image_again(&image, args->env, path, err);
  if (code == 0)
    code = lv_facts_new(&facts, &image, args->env, NULL, NULL, err);
  if (code == 0 && !lv_findings_reserve(&facts->findings, OWN_FINDINGS))
    code = no_memory(err);
  lv_image_close(&image, args->env);
  if (code != 0) {
    lv_facts_free(facts);
    return code;
  }
  lv_facts_free(args->facts);
  args->facts = facts;
  return 0;
}

int lv_refuse_saved(const struct lv_image *image, struct lvhd_error *err) {
  if (image->footer.saved_state == 0)
    return 0;
  lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_SAVED_STATE);
  lv_error_path(err, image->path);
  return LVHD_E_SHARING_VIOLATION;
}

bool lv_inplace_step(struct lv_job *job, uint64_t bytes) {
  lv_job_step(job, bytes, 0);
  return lv_job_cancelled(job);
}

int lv_ready_to_open(struct lv_chain *chain, struct lv_env *env,
                     const struct lvhd_open_options *opts, uint64_t *skipped,
                     struct lvhd_error *err) {
  int code = 0;
  *skipped = 0;
  if (!opts->write && opts->force)
    return 0;
  if (!opts->force)
    code = lv_change_settled(&chain->images[0], env, err);
  if (code != 0)
    return code;
  if (!opts->write) {
    code = lv_change_lock(chain, 0, LV_LOCK_LOOK, env, err);
    return code == 0 ? lv_change_lock_parents(chain, 1, env, err) : code;
  }
  code = lv_change_take(&chain->images[0], env, LV_LOCK_WRITE, NULL,
                        opts->force, err);
  if (code == 0)
    code = lv_change_lock_parents(chain, 1, env, err);
  if (code == 0)
    code = lv_change_same_parent(chain, 0, err);
  if (code == 0 && !opts->force)
    code = lv_change_unmodified(chain, 0, chain->count, err);
  if (code == 0)
    code = lv_refuse_children(&chain->images[0], chain, env, opts, NULL, 0,
                              skipped, err);
  return code;
}
