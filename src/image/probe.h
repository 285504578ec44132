/* SPDX-License-Identifier: MIT
 *
 * What an image file says of itself: its footer and, but for fixed disks,
 * its dynamic header, every number checked.  Opens nothing, follows nothing.
 */
#ifndef LV_IMAGE_PROBE_H
#define LV_IMAGE_PROBE_H

#include "format/footer.h"
#include "format/header.h"
#include "io/file.h"

struct lv_probe {
  struct lv_footer footer;
  struct lv_header header; /* not for fixed disks */
};

/* Reads an open regular file.  VM_E_INVALID_HD_FILE with the reason when it
 * is no VHD, or one whose footer at the end (512 or 511 bytes) or header is
 * not whole: the copy of the footer at 0 is not taken instead. */
int lv_probe(struct lv_probe *probe, const struct lv_file *file,
             const struct lv_env *env, struct lvhd_error *err);

/* The same, and where the end of the file holds no good footer, the copy at 0
 * is taken.  A file that has neither fails with what is wrong at its end. */
int lv_probe_any(struct lv_probe *probe, enum lvhd_footer *where,
                 const struct lv_file *file, const struct lv_env *env,
                 struct lvhd_error *err);

#endif
