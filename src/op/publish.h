/* SPDX-License-Identifier: MIT
 *
 * The one way to a new file: look, begin, write, flush, commit, link,
 * settle; again where a folder went away or the volume wants another way of
 * naming.  What is written is the verb's business.  Private to op.
 */
#ifndef LV_OP_PUBLISH_H
#define LV_OP_PUBLISH_H

#include "io/newfile.h"
#include "op/create_args.h"

/* Writes all bytes of the file, and fills look->written.  May be called again,
 * with another file, after it has succeeded. */
typedef int (*lv_fill_fn)(struct lv_create *c, struct lv_look *look,
                          struct lv_newfile *file, struct lv_job *job,
                          struct lvhd_error *err);

/* The first steps, for many files that share the others: the file has all of
 * its bytes, mode and time, and no name.  file->root and file->nearest are
 * look->folder's. */
int lv_publish_write(struct lv_create *c, struct lv_look *look, bool named,
                     lv_fill_fn fill, struct lv_job *job,
                     struct lv_newfile *file, struct lvhd_error *err);

/* The identifier that was asked for, or a new one. */
int lv_publish_uuid(const struct lv_create *c, uint8_t uuid[16],
                    struct lvhd_error *err);

/* The bytes of a fixed, dynamic or differencing disk that holds nothing; what
 * is to be written in all is told by the caller (create.c). */
int lv_create_fill(struct lv_create *c, struct lv_look *look,
                   struct lv_newfile *file, struct lv_job *job,
                   struct lvhd_error *err);

/* Makes the file, or finds one that is kept; then the outcome is there. */
int lv_publish(struct lv_create *c, lv_fill_fn fill, struct lv_job *job,
               struct lvhd_error *err);

#endif
