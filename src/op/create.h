/* SPDX-License-Identifier: MIT
 *
 * The verbs that create one disk.
 */
#ifndef LV_OP_CREATE_H
#define LV_OP_CREATE_H

#include "base/verb.h"
#include "io/env.h"

extern const struct lv_verb lv_create_fixed;
extern const struct lv_verb lv_create_dynamic;
extern const struct lv_verb lv_create_differencing;

/* The arguments of a creation, everything copied.  opts: nothing in it is
 * "as the engine" any more.  size is not read for differencing disks, parent
 * only for them.  E_OUTOFMEMORY. */
int lv_create_args(void **out, struct lv_env *env, enum lvhd_type type,
                   const char *image, const char *parent, int64_t size,
                   const struct lvhd_create_options *opts,
                   struct lvhd_error *err);

#endif
