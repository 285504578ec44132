/* SPDX-License-Identifier: MIT
 *
 * A file looked at closely: its bytes handed to the audit, and what only the
 * whole file can tell.  Follows nothing; whether the parents fit is the
 * business of op.
 */
#ifndef LV_IMAGE_SURVEY_H
#define LV_IMAGE_SURVEY_H

#include "image/facts.h"

/* Adds to the findings of an open image (facts: from lv_facts_new).  The
 * caller ends with lv_facts_done. */
int lv_survey(struct lv_facts *facts, const struct lv_image *image,
              struct lv_env *env, enum lvhd_profile profile, lv_stop_fn stop,
              void *stop_arg, struct lvhd_error *err);

/* The facts of a file that lv_image_open refused with `why`: 0 and what its
 * footer says, with findings, where it has a good one (or the copy); *out
 * NULL where it has none. */
int lv_survey_refused(struct lv_facts **out, const struct lv_file *file,
                      const char *path, struct lv_env *env,
                      enum lvhd_profile profile, const struct lvhd_error *why,
                      struct lvhd_error *err);

/* Told how many bytes of blocks were looked at; true: stop, with E_ABORT. */
typedef bool (*lv_progress_fn)(void *, uint64_t bytes);

/* Looks into every block: BITMAP_PADDING, and for disks without parent
 * DATA_UNDER_CLEAR_BIT.  After a BLOCK_OVERLAP it looks into none, and says so
 * (DATA_NOT_CHECKED). */
int lv_survey_data(struct lv_facts *facts, const struct lv_image *image,
                   struct lv_env *env, lv_progress_fn progress, void *arg,
                   struct lvhd_error *err);

#endif
