/* SPDX-License-Identifier: MIT
 *
 * What the verbs that change files in place share: their arguments, their
 * result, and the search for other children.  Private to op.
 */
#ifndef LV_OP_INPLACE_H
#define LV_OP_INPLACE_H

#include "base/verb.h"
#include "image/chain.h"
#include "image/change.h"

/* First in the arguments of each such verb, so that lv_inplace_path and
 * lv_inplace_info serve them all. */
struct lv_inplace {
  struct lv_env *env;
  char *path;                    /* absolute, as given */
  struct lvhd_open_options opts; /* its lists are owned, and absolute */
  struct lv_facts *facts;        /* the result; NULL until success */
};

int lv_inplace_init(struct lv_inplace *args, struct lv_env *env,
                    const char *path, const struct lvhd_open_options *opts,
                    struct lvhd_error *err);
/* Frees what the struct owns, not itself. */
void lv_inplace_clear(struct lv_inplace *args);

/* For struct lv_verb. */
int lv_inplace_prepare(void *args, struct lvhd_error *err); /* 0 */
unsigned lv_inplace_kind(const void *args);                 /* LV_LONG */
const struct lvhd_info *lv_inplace_info(const void *args);
const char *lv_inplace_path(const void *args);

/* The result: what the file says at the end, as if opened anew. */
int lv_inplace_tell(struct lv_inplace *args, const char *path,
                    struct lvhd_error *err);

/* A saved state refers to the disk: E_SHARING_VIOLATION/SAVED_STATE. */
int lv_refuse_saved(const struct lv_image *image, struct lvhd_error *err);

/* Progress while bytes are looked at or written; true: cancelled. */
bool lv_inplace_step(struct lv_job *job, uint64_t bytes);

/* The locks of an open disk, and with opts->write what must hold before it may
 * be written: the leaf taken, parents unmodified, no other children; *skipped:
 * what the search for those could not look at. */
int lv_ready_to_open(struct lv_chain *chain, struct lv_env *env,
                     const struct lvhd_open_options *opts, uint64_t *skipped,
                     struct lvhd_error *err);

/* The search for other children (others.c). */
struct lv_search {
  struct lv_env *env;
  const struct lv_image *const *disks; /* whose children are looked for */
  size_t disk_count;
  const struct lv_chain *chain; /* in the folders of its files; may be NULL */
  const struct lvhd_open_options *opts; /* force, no_search, children_in */
  const char *const *but; /* absolute paths of those that do not count */
  size_t but_count;
  lv_stop_fn stop; /* may be NULL */
  void *stop_arg;
  uint64_t skipped; /* out: files and folders that could not be read */
};

/* E_SHARING_VIOLATION/OTHER_CHILDREN, with err.others (by path), where there
 * are files whose recorded parent is one of the disks, by identifier: in the
 * folders of the disks and of the chain's images, and in and below
 * opts->children_in.  Not with force or no_search.  Files of the chain do not
 * count, nor those of the list `but`.  A folder of children_in that cannot be
 * read is an error that names it, others are skipped.  E_ABORT: stopped. */
int lv_refuse_others(struct lv_search *search, struct lvhd_error *err);

/* The same for one disk.  *skipped may be NULL. */
int lv_refuse_children(const struct lv_image *disk,
                       const struct lv_chain *chain, struct lv_env *env,
                       const struct lvhd_open_options *opts,
                       const char *const *but, size_t but_count,
                       uint64_t *skipped, struct lvhd_error *err);

#endif
