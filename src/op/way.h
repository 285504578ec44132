/* SPDX-License-Identifier: MIT
 *
 * The way from a child to its parent, as the texts that the child records:
 * for creations, relink, and the children that merge hangs on.  Private to op.
 */
#ifndef LV_OP_WAY_H
#define LV_OP_WAY_H

#include "io/env.h"
#include "lvhd.h"

struct lv_way {
  char *relative;   /* on the host: "base.vhd", "../base.vhd" */
  char *windows;    /* how Windows calls the parent; NULL: none is known */
  bool no_relative; /* the relative one is none in Windows */
  bool unnamable;   /* finding LOCATOR_UNNAMABLE */
};

/* The windows_parent of a caller, owned: replaced by the plain form of the
 * same.  NULL is good.  E_INVALID_NAME (what lv_winpath_check says;
 * NAME_IS_FOLDER for a root), E_BAD_PATHNAME (PATH_EMPTY, PATH_RELATIVE): the
 * text is err->parent then. */
int lv_way_words(char **windows, struct lvhd_error *err);

/* The way from the real path of a folder to that of a parent.  windows: from
 * lv_way_words, and wins over the drive map.  Opens nothing on an engine
 * without drives.  *way begins zeroed; on failure it is cleared. */
int lv_way_find(struct lv_way *way, struct lv_env *env, const char *folder,
                const char *parent, const char *windows,
                struct lvhd_error *err);
void lv_way_clear(struct lv_way *way);

#endif
