/* SPDX-License-Identifier: MIT
 *
 * Many children of one parent: the verb (children.c), and the batches that it
 * works in (batch.c).  What is behind the verb is private to op.
 */
#ifndef LV_OP_CHILDREN_H
#define LV_OP_CHILDREN_H

#include "base/verb.h"
#include "io/env.h"
#include "io/newfile.h"
#include "op/create_args.h"

extern const struct lv_verb lv_create_children;

/* The arguments, everything copied.  opts: nothing in it is "as the engine" any
 * more, and it has no uuid.  E_OUTOFMEMORY. */
int lv_children_args(void **out, struct lv_env *env,
                     const struct lvhd_child *list, size_t count,
                     const char *parent,
                     const struct lvhd_create_options *opts,
                     struct lvhd_error *err);

/* One image of the list, and what became of it: at the end one of the three is
 * there. */
struct lv_kid {
  char *image;   /* as given, length bytes */
  size_t length;
  uint8_t uuid[16];
  bool has_uuid;
  bool named;    /* its volume has no unnamed files */
  uint8_t looks; /* how often its folder went away */
  struct lv_outcome *outcome;
  struct lv_facts *kept;
  struct lvhd_error *err;
};

struct lv_many {
  struct lv_create common; /* parent and options; of no image */
  struct lv_env env;       /* of this call: the engine's, and names */
  struct lv_env *engine;   /* while it runs */
  struct lv_kid *kids;
  size_t count;
  uint64_t file_size; /* of one child */
  size_t width;       /* most images of a batch */
  size_t most;        /* descriptors, of all batches of the engine */
  size_t fds;         /* most descriptors of a batch */
  struct lv_flushing flushing;
  bool lost;          /* memory ran out for an error */
};

/* The image has failed; takes what err owns. */
void lv_kid_failed(struct lv_many *m, struct lv_kid *kid, const char *path,
                   struct lvhd_error *err);

/* The same error for another image. */
void lv_kid_shares(struct lv_many *m, struct lv_kid *kid, const char *path,
                   const struct lvhd_error *err);

/* Which images are to be made yet. */
struct lv_todo {
  size_t *list; /* of indices, ascending */
  size_t next, count; /* those from next on are to be taken */
  size_t put_off;     /* of the batch: so many at the start of the list are to
                         be taken again */
};

/* Takes images from the list, and makes them in one batch.  Fails only where
 * nothing goes on: cancelled, or no memory; what was taken has its result or is
 * put off, and will be taken before the rest. */
int lv_batch_run(struct lv_many *m, struct lv_todo *todo, struct lv_job *job,
                 struct lvhd_error *err);

#endif
