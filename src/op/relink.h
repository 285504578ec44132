/* SPDX-License-Identifier: MIT
 *
 * What a child records of its parent, written anew in one existing file: for
 * relink, and for merge, which reattaches children.  Private to op.
 */
#ifndef LV_OP_RELINK_H
#define LV_OP_RELINK_H

#include "base/verb.h"
#include "image/change.h"

/* What became of it: for the findings of one file, or the sum of some. */
struct lv_relinked {
  bool time_lost;         /* finding TIME_LOST */
  bool unnamable;         /* finding LOCATOR_UNNAMABLE */
  uint64_t w2ku_left_out; /* bytes of a text that found no place, or fits */
  uint64_t macx_left_out; /* none: finding LOCATOR_LEFT_OUT; else 0 */
};

/* The child is a differencing disk from lv_change_take.  All three write in a
 * frame of their own (lv_change_begin to lv_change_end, verb RELINK): the
 * child's own time is given back, and until its header is switched, with one
 * write, every reader sees the old parent whole.  After a failure the child
 * is as before, as far as it can be undone, and else noted.  Nothing here
 * compares parent and child: who is fit to be the parent is the caller's to
 * know. */
struct lv_relink {
  struct lv_env *env;
  const char *windows;    /* for W2ku, from lv_way_words; NULL: the map's */
  enum lvhd_sync sync;
  bool force;             /* go on where the child's time cannot be set */
  struct lv_job *job;     /* asked about a cancel while the child is looked
                             at, and committed before the first write; NULL:
                             neither */
  struct lv_relinked told; /* out */
};

/* The greater of two texts is told. */
void lv_relinked_add(struct lv_relinked *sum, const struct lv_relinked *one);
void lv_relinked_tell(const struct lv_relinked *told,
                      struct lv_findings *findings);

/* E_INVALID_NAME/NAME_UNFINDABLE, E_BUFFER_OVERFLOW/LOCATOR_TOO_LONG when the
 * way from child to parent, two absolute real paths, cannot be recorded at
 * all, whatever the child's file is like.  Opens neither: for checks ahead of
 * the first write. */
int lv_relink_words(struct lv_env *env, const char *child, const char *parent,
                    struct lvhd_error *err);

/* Identifier, time (seconds since 1970), name and locators of `parent`.
 * Errors: those of lv_relink_words, VM_E_INVALID_HD_FILE/UUID_MALFORMED (the
 * parent's identifier is nil), and of the frame. */
int lv_relink_image(struct lv_relink *relink, struct lv_image *child,
                    const struct lv_image *parent, int64_t mtime,
                    struct lvhd_error *err);

/* The recorded time alone (seconds since 1970); nothing is written where it
 * is that already. */
int lv_relink_time(struct lv_relink *relink, struct lv_image *child,
                   int64_t mtime, struct lvhd_error *err);

#endif
