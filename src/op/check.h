/* SPDX-License-Identifier: MIT
 *
 * The verbs that look and change nothing: check, find, children.
 */
#ifndef LV_OP_CHECK_H
#define LV_OP_CHECK_H

#include "base/verb.h"
#include "io/env.h"

extern const struct lv_verb lv_check;
extern const struct lv_verb lv_find;
extern const struct lv_verb lv_children;

/* Everything is copied.  opts: all open choices are made. */
int lv_check_args(void **out, struct lv_env *env, const char *path,
                  const struct lvhd_check_options *opts,
                  struct lvhd_error *err);

/* parent NULL: lv_find. */
int lv_find_args(void **out, struct lv_env *env, const char *parent,
                 const char *const *folders, size_t count,
                 struct lvhd_error *err);

#endif
