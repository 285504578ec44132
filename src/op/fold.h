/* SPDX-License-Identifier: MIT
 *
 * The work of a merge: the sectors that some layers of a chain hold, written
 * into one image.  Knows nothing of notes, times and names.  Private to op.
 */
#ifndef LV_OP_FOLD_H
#define LV_OP_FOLD_H

#include "base/verb.h"
#include "image/disk.h"
#include "image/writer.h"

struct lv_fold {
  struct lv_env *env;
  struct lv_disk *upper;         /* the layers, with nothing below */
  const struct lv_image *target; /* as large as they are */
  struct lv_writer *writer;      /* of the target */
  struct lv_job *job;
};

/* Looks at what there is to do: says it to the job, and how many blocks will
 * be needed to the writer.  E_ABORT: cancelled. */
int lv_fold_measure(struct lv_fold *fold, struct lvhd_error *err);

/* Whether the disk `other` reads the same wherever the layers hold a
 * sector. */
int lv_fold_same(struct lv_fold *fold, struct lv_disk *other, bool *same,
                 struct lvhd_error *err);

/* Writes it all; the writer still has to be finished.  A run after one that
 * came not to its end writes the same bytes to the same places.  E_ABORT:
 * cancelled; it is looked for every piece of at most 1 MiB. */
int lv_fold_copy(struct lv_fold *fold, struct lvhd_error *err);

#endif
