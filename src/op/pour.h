/* SPDX-License-Identifier: MIT
 *
 * The content of a source into a new file of any type: zeros become holes,
 * blocks and sectors that need not be there are left out.  Bounded in memory
 * whatever the size.  Private to op.
 */
#ifndef LV_OP_POUR_H
#define LV_OP_POUR_H

#include "op/publish.h"
#include "op/source.h"

struct lv_pour {
  struct lv_source *from;
  struct lv_source *against; /* of a differencing disk: its parent; or NULL */
  uint64_t told; /* bytes that progress has heard of, in all tries */
};

/* Writes the file that look->plan plans and fills look->written.  E_ABORT when
 * it is cancelled; the error of a write has the offset, that of a read the
 * path too. */
int lv_pour(struct lv_pour *pour, const struct lv_create *c,
            struct lv_look *look, struct lv_newfile *file,
            struct lv_job *job, struct lvhd_error *err);

#endif
