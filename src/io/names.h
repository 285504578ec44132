/* SPDX-License-Identifier: MIT
 *
 * The names in a folder: listed, or read once and kept for as long as one
 * create_children lasts (lv_env.names), so that to ask of a thousand images
 * whether a name differs in case only does not list their folder a thousand
 * times.  Used by one thread at a time.
 */
#ifndef LV_IO_NAMES_H
#define LV_IO_NAMES_H

#include "io/drives.h"

/* Calls fn with each name in the folder that `dir` is a descriptor of.  One
 * that may not be listed has none. */
int lv_names_list(const struct lv_env *env, int dir,
                  void (*fn)(void *arg, const char *name), void *arg,
                  struct lvhd_error *err);

/* What is kept; nothing at first.  NULL: no memory. */
struct lv_names *lv_names_new(void);
void lv_names_free(struct lv_names *names); /* accepts NULL */

/* As lv_twins_find(), which asks it where env->names is there. */
int lv_names_twins(struct lv_twins *twins, const struct lv_env *env, int dir,
                   const char *name, struct lvhd_error *err);

/* The folder has this name now, too.  Accepts an env without names. */
void lv_names_add(const struct lv_env *env, int dir, const char *name);

/* All is to be read again. */
void lv_names_forget(struct lv_names *names);

#endif
