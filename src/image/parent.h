/* SPDX-License-Identifier: MIT
 *
 * From a child to its parent: which of the names that the child records is
 * tried, in what order, and under which policy.  A locator is a file name
 * that someone else wrote into a file: nothing is opened by it but beneath
 * the allowed roots.
 */
#ifndef LV_IMAGE_PARENT_H
#define LV_IMAGE_PARENT_H

#include "image/image.h"
#include "io/root.h"

/* Where parents may lie: the leaf's folder, the mapped drives, then what the
 * caller allows. */
struct lv_policy {
  struct lv_root *roots;
  const char **drives; /* of each root: how the map calls it, or NULL */
  size_t count;
  unsigned max_depth;
};

/* Drives and parents that do not exist are left out: nothing can lie there.
 * So is the leaf's folder when the leaf is no longer in it. */
int lv_policy_init(struct lv_policy *policy, struct lv_env *env,
                   const struct lv_image *leaf, const char *const *parents,
                   size_t count, unsigned max_depth, struct lvhd_error *err);
void lv_policy_free(struct lv_policy *policy, const struct lv_env *env);

/* How a parent was found. */
struct lv_found {
  enum lvhd_found how;
  char code[5]; /* of the locator */
};

/* Opens the parent of child: relative locators, absolute ones, MacX (as it
 * stands, then percent-decoded), the name field beside the child (big-, then
 * little-endian); each accepted only when the identifier matches.  Drives and
 * shares are found by the map.  Names of Windows and the name field, where
 * nothing has them and they lie on a drive, may differ in case.  Failure: what
 * the best candidate failed with. */
int lv_parent_open(struct lv_image *parent, const struct lv_image *child,
                   struct lv_env *env, const struct lv_policy *policy,
                   struct lv_found *found, struct lvhd_error *err);

/* 0, or VM_E_PARENT_CHILD_ID_MISMATCH with both identifiers. */
int lv_parent_check(const struct lv_image *parent,
                    const struct lv_image *child, struct lvhd_error *err);

/* The parent's mtime is not the one that the child recorded: adds
 * PARENT_TIME to the child's findings. */
struct lv_findings;
void lv_parent_time(const struct lv_image *parent,
                    const struct lv_image *child, struct lv_findings *list);

#endif
