/* SPDX-License-Identifier: MIT
 *
 * An open chain: images leaf to root.  Bounded in depth, never a cycle.
 */
#ifndef LV_IMAGE_CHAIN_H
#define LV_IMAGE_CHAIN_H

#include "image/facts.h"
#include "image/parent.h"

struct lv_chain {
  struct lv_image *images; /* leaf first */
  struct lv_found *found;  /* found[i]: how the parent of images[i] was */
  size_t count, room;
};

/* Opens leaf and parents.  Where the chain breaks behind the leaf: with
 * `broken` NULL that is the failure; otherwise the good part stays open, the
 * reason is in *broken (LVHD_ERROR_INIT before) and 0 is returned. */
int lv_chain_open(struct lv_chain *chain, struct lv_env *env,
                  const char *path, const char *const *parents, size_t count,
                  unsigned max_depth, struct lvhd_error *broken,
                  struct lvhd_error *err);

/* Exactly these files. */
int lv_chain_given(struct lv_chain *chain, struct lv_env *env,
                   const char *const *paths, size_t count, unsigned max_depth,
                   struct lvhd_error *err);

void lv_chain_close(struct lv_chain *chain, const struct lv_env *env);

/* The infos of the chain.  `broken` (may be NULL, is taken) becomes the error
 * of the last one.  With strict, a parent of another size breaks the chain
 * (VM_E_HD_IMAGE_OPEN_FAIL/PARENT_SIZE). */
int lv_chain_infos(struct lvhd_infos **out, const struct lv_chain *chain,
                   struct lv_env *env, struct lvhd_error *broken, bool strict,
                   lv_stop_fn stop, void *stop_arg, struct lvhd_error *err);

/* Whether one of the files has been changed since it was looked at. */
int lv_chain_moved(const struct lv_chain *chain, const struct lv_env *env,
                   bool *moved, struct lvhd_error *err);

/* The infos of the chain behind `path`: nothing stays open.  What is wrong with
 * files that were changed meanwhile is looked at again. */
int lv_chain_look(struct lvhd_infos **out, struct lv_env *env,
                  const char *path, const struct lvhd_open_options *opts,
                  struct lvhd_error *err);

#endif
