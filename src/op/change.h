/* SPDX-License-Identifier: MIT
 *
 * The verbs that make one disk of another, or change one in place.
 */
#ifndef LV_OP_CHANGE_H
#define LV_OP_CHANGE_H

#include "base/verb.h"
#include "io/env.h"

extern const struct lv_verb lv_convert;
extern const struct lv_verb lv_merge;
extern const struct lv_verb lv_compact;
extern const struct lv_verb lv_resize;
extern const struct lv_verb lv_relink;
extern const struct lv_verb lv_repair;

/* Everything is copied; all open choices of the options are made.  Paths are
 * meant from where the call is made. */
int lv_convert_args(void **out, struct lv_env *env, const char *source,
                    const char *dest,
                    const struct lvhd_convert_options *opts,
                    struct lvhd_error *err);
int lv_merge_args(void **out, struct lv_env *env, const char *child,
                  const struct lvhd_merge_options *opts,
                  struct lvhd_error *err);
int lv_compact_args(void **out, struct lv_env *env, const char *path,
                    const struct lvhd_open_options *opts,
                    struct lvhd_error *err);
int lv_resize_args(void **out, struct lv_env *env, const char *path,
                   int64_t size, const struct lvhd_open_options *opts,
                   struct lvhd_error *err);
int lv_relink_args(void **out, struct lv_env *env, const char *child,
                   const char *parent, const struct lvhd_open_options *opts,
                   struct lvhd_error *err);
int lv_repair_args(void **out, struct lv_env *env, const char *path,
                   const struct lvhd_open_options *opts,
                   struct lvhd_error *err);

#endif
