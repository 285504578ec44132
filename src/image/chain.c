/* SPDX-License-Identifier: MIT
 *
 * Opening chains and telling of them.  How a parent is found is the business
 * of parent.c.
 */
#include "image/chain.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* Takes the image. */
static int push(struct lv_chain *chain, struct lv_image *image,
                struct lv_env *env, struct lvhd_error *err) {
  if (chain->count == chain->room) {
    size_t room = chain->room ? 2 * chain->room : 4;
    struct lv_image *images = realloc(chain->images, room * sizeof *images);
    struct lv_found *found = NULL;
    if (images)
      chain->images = images;
    found = realloc(chain->found, room * sizeof *found);
    if (found)
      chain->found = found;
    if (images == NULL || found == NULL) {
      lv_image_close(image, env);
      return no_memory(err);
    }
    chain->room = room;
  }
  chain->found[chain->count] = (struct lv_found){0};
  chain->images[chain->count++] = *image;
  return 0;
}

/* The error of the hop from `child` to its parent, whichever way it went. */
static int fail_hop(struct lvhd_error *err, int code,
                    const struct lv_chain *chain, const char *parent) {
  if (err) {
    err->layer = (unsigned)chain->count + 1;
    err->has |= LVHD_AT_PARENT;
    lv_error_path(err, chain->images[chain->count - 1].path);
    if (err->parent == NULL)
      lv_error_parent(err, parent);
  }
  return code;
}

/* The same file, or another one that says to be the same disk. */
static int check_cycle(const struct lv_chain *chain,
                       const struct lv_image *image, struct lvhd_error *err) {
  for (size_t i = 0; i < chain->count; i++) {
    const struct lv_image *other = &chain->images[i];
    if ((other->file.st.st_dev == image->file.st.st_dev &&
         other->file.st.st_ino == image->file.st.st_ino) ||
        memcmp(other->footer.uuid, image->footer.uuid, 16) == 0)
      return lv_fail(err, LVHD_VM_E_HD_IMAGE_OPEN_FAIL, LV_R_CHAIN_CYCLE);
  }
  return 0;
}

static int check_depth(const struct lv_chain *chain, unsigned max_depth,
                       struct lvhd_error *err) {
  if (chain->count < max_depth)
    return 0;
  return lv_fail_range(err, LVHD_VM_E_HD_IMAGE_OPEN_FAIL,
                       LV_R_CHAIN_TOO_DEEP, max_depth, chain->count + 1);
}

static const struct lv_image *last_of(const struct lv_chain *chain) {
  return &chain->images[chain->count - 1];
}

/* Opens the parent of the last image. */
static int follow(struct lv_chain *chain, struct lv_env *env,
                  const struct lv_policy *policy, struct lvhd_error *err) {
  struct lv_image parent = LV_IMAGE_INIT;
  struct lv_found found = {0};
  int code = check_depth(chain, policy->max_depth, err);
  if (code == 0)
    code = lv_parent_open(&parent, last_of(chain), env, policy, &found, err);
  if (code == 0) {
    code = check_cycle(chain, &parent, err);
    if (code != 0) {
      fail_hop(err, code, chain, parent.path);
      lv_image_close(&parent, env);
      return code;
    }
  }
  if (code != 0)
    return fail_hop(err, code, chain, NULL);
  chain->found[chain->count - 1] = found;
  return push(chain, &parent, env, err);
}

/* Not about the chain: the caller could not go on either. */
static bool is_grave(int code) {
  return code == LVHD_E_OUTOFMEMORY || code == LVHD_VM_E_OUT_OF_RESOURCE;
}

static int open_leaf(struct lv_chain *chain, struct lv_env *env,
                     const char *path, struct lvhd_error *err) {
  struct lv_image leaf = LV_IMAGE_INIT;
  int code = lv_image_open(&leaf, env, path, err);
  return code == 0 ? push(chain, &leaf, env, err) : code;
}

int lv_chain_open(struct lv_chain *chain, struct lv_env *env,
                  const char *path, const char *const *parents, size_t count,
                  unsigned max_depth, struct lvhd_error *broken,
                  struct lvhd_error *err) {
  struct lv_policy policy = {0};
  int code = 0;
  *chain = (struct lv_chain){0};
  code = open_leaf(chain, env, path, err);
  if (code == 0 && lv_image_has_parent(last_of(chain)))
    code = lv_policy_init(&policy, env, &chain->images[0], parents, count,
                          max_depth, err);
  while (code == 0 && lv_image_has_parent(last_of(chain))) {
    code = follow(chain, env, &policy, broken ? broken : err);
    if (code != 0 && broken && !is_grave(code)) {
      code = 0;
      break;
    }
    if (code != 0 && broken && err) {
      *err = *broken;
      *broken = (struct lvhd_error)LVHD_ERROR_INIT;
    }
  }
  lv_policy_free(&policy, env);
  if (code != 0)
    lv_chain_close(chain, env);
  return code;
}

/* ---- a chain in the caller's hand ------------------------------------ */

static int take_given(struct lv_chain *chain, struct lv_env *env,
                      const char *path, struct lvhd_error *err) {
  struct lv_image image = LV_IMAGE_INIT;
  int code = 0;
  if (!lv_image_has_parent(last_of(chain)))
    return fail_hop(err,
                    lv_fail(err, LVHD_VM_E_WRONG_HD_IMAGE_TYPE,
                            LV_R_CHAIN_GOES_ON),
                    chain, path);
  code = lv_image_open(&image, env, path, err);
  if (code == LVHD_E_PATH_NOT_FOUND)
    code = lv_fail(err, LVHD_VM_E_PARENT_PATH_NOT_FOUND, LV_R_FILE_MISSING);
  if (code == 0) {
    code = check_cycle(chain, &image, err);
    if (code == 0)
      code = lv_parent_check(&image, last_of(chain), err);
    if (code != 0)
      lv_image_close(&image, env);
  }
  if (code != 0)
    return fail_hop(err, code, chain, path);
  chain->found[chain->count - 1].how = LVHD_FOUND_GIVEN;
  return push(chain, &image, env, err);
}

int lv_chain_given(struct lv_chain *chain, struct lv_env *env,
                   const char *const *paths, size_t count, unsigned max_depth,
                   struct lvhd_error *err) {
  int code = 0;
  *chain = (struct lv_chain){0};
  code = open_leaf(chain, env, paths[0], err);
  for (size_t i = 1; code == 0 && i < count; i++) {
    code = check_depth(chain, max_depth, err);
    if (code == 0)
      code = take_given(chain, env, paths[i], err);
    else
      fail_hop(err, code, chain, paths[i]);
  }
  if (code == 0 && lv_image_has_parent(last_of(chain)))
    code = fail_hop(err,
                    lv_fail(err, LVHD_VM_E_PARENT_PATH_NOT_FOUND,
                            LV_R_CHAIN_ENDS),
                    chain, NULL);
  if (code != 0)
    lv_chain_close(chain, env);
  return code;
}

void lv_chain_close(struct lv_chain *chain, const struct lv_env *env) {
  for (size_t i = 0; i < chain->count; i++)
    lv_image_close(&chain->images[i], env);
  free(chain->images);
  free(chain->found);
  *chain = (struct lv_chain){0};
}

/* ---- infos ----------------------------------------------------------- */

/* What the info of a child says of the parent that was found. */
static int tell_parent(struct lv_facts *facts, const struct lv_chain *chain,
                       size_t i, struct lvhd_error *err) {
  const struct lv_image *parent = &chain->images[i + 1];
  const struct lv_found *found = &chain->found[i];
  facts->parent_path = strdup(parent->path);
  if (facts->parent_path == NULL)
    return no_memory(err);
  facts->info.parent_path = facts->parent_path;
  facts->info.parent_found = found->how;
  for (size_t k = 0; k < facts->info.locator_count; k++)
    if (found->how == LVHD_FOUND_LOCATOR && facts->info.found_by == NULL &&
        memcmp(facts->locators[k].code, found->code, 4) == 0)
      facts->info.found_by = facts->locators[k].code;
  lv_parent_time(parent, &chain->images[i], &facts->findings);
  return facts->findings.no_memory ? no_memory(err) : 0;
}

static bool fits(const struct lv_chain *chain, size_t i,
                 struct lvhd_error *why) {
  const struct lv_image *child = &chain->images[i];
  const struct lv_image *parent = &chain->images[i + 1];
  if (parent->footer.current_size == child->footer.current_size)
    return true;
  lv_fail_range(why, LVHD_VM_E_HD_IMAGE_OPEN_FAIL, LV_R_PARENT_SIZE,
                child->footer.current_size, parent->footer.current_size);
  why->layer = (unsigned)i + 2;
  why->has |= LVHD_AT_PARENT;
  lv_error_path(why, child->path);
  lv_error_parent(why, parent->path);
  return false;
}

/* *ends: the chain breaks behind this one. */
static int add_info(struct lvhd_infos *infos, const struct lv_chain *chain,
                    size_t i, struct lv_env *env, struct lvhd_error *broken,
                    bool strict, lv_stop_fn stop, void *stop_arg, bool *ends,
                    struct lvhd_error *err) {
  struct lv_facts *facts = NULL;
  bool is_last = i + 1 == chain->count;
  int code = lv_facts_new(&facts, &chain->images[i], env, stop, stop_arg,
                          err);
  if (code == 0 && !is_last)
    code = tell_parent(facts, chain, i, err);
  if (code != 0) {
    lv_facts_free(facts);
    return code;
  }
  *ends = is_last;
  if (is_last && broken && broken->code != 0) {
    facts->error = *broken;
    facts->has_error = true;
    *broken = (struct lvhd_error)LVHD_ERROR_INIT;
  } else if (!is_last && strict && !fits(chain, i, &facts->error)) {
    facts->error.op = "chain";
    facts->has_error = true;
    *ends = true;
  }
  lv_facts_done(facts);
  return lv_infos_add(infos, facts, err);
}

int lv_chain_infos(struct lvhd_infos **out, const struct lv_chain *chain,
                   struct lv_env *env, struct lvhd_error *broken, bool strict,
                   lv_stop_fn stop, void *stop_arg, struct lvhd_error *err) {
  struct lvhd_infos *infos = calloc(1, sizeof *infos);
  bool ends = false;
  int code = infos ? 0 : no_memory(err);
  for (size_t i = 0; code == 0 && !ends && i < chain->count; i++)
    code = add_info(infos, chain, i, env, broken, strict, stop, stop_arg,
                    &ends, err);
  if (code != 0) {
    lv_infos_free(infos);
    return code;
  }
  *out = infos;
  return 0;
}

/* ---- looking --------------------------------------------------------- */

int lv_chain_moved(const struct lv_chain *chain, const struct lv_env *env,
                   bool *moved, struct lvhd_error *err) {
  int code = 0;
  *moved = false;
  for (size_t i = 0; code == 0 && !*moved && i < chain->count; i++)
    code = lv_image_moved(&chain->images[i], env, moved, err);
  return code;
}

static int look(struct lvhd_infos **out, struct lv_env *env,
                const char *path, const struct lvhd_open_options *opts,
                bool *torn, struct lvhd_error *err) {
  struct lv_chain chain = {0};
  struct lvhd_error broken = LVHD_ERROR_INIT;
  bool cut = false;
  int code = lv_chain_open(&chain, env, path, opts->parents,
                           opts->parent_count, opts->max_depth, &broken, err);
  if (code == 0) {
    broken.op = "chain";
    cut = broken.reason == LV_R_FILE_CUT;
    code = lv_chain_infos(out, &chain, env, &broken, true, NULL, NULL, err);
  }
  *torn = code == 0 ? cut : err->reason == LV_R_FILE_CUT;
  if (code == 0 && !cut && lv_infos_wrong(*out))
    code = lv_chain_moved(&chain, env, torn, err);
  lv_chain_close(&chain, env);
  lvhd_error_clear(&broken);
  return code;
}

int lv_chain_look(struct lvhd_infos **out, struct lv_env *env,
                  const char *path, const struct lvhd_open_options *opts,
                  struct lvhd_error *err) {
  struct lvhd_error why = LVHD_ERROR_INIT;
  bool torn = true;
  *out = NULL;
  for (int i = 0; torn && i < LV_IMAGE_LOOKS; i++) {
    lv_infos_free(*out);
    *out = NULL;
    lvhd_error_clear(&why);
    look(out, env, path, opts, &torn, &why);
  }
  if (why.code != 0) {
    lv_infos_free(*out);
    *out = NULL;
  }
  return lv_error_give(err, &why);
}
