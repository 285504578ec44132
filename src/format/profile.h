/* SPDX-License-Identifier: MIT
 *
 * What one reader is known to refuse, though the specification allows it.
 * Bytes only; what concerns blocks and parents is told by image and op.
 */
#ifndef LV_FORMAT_PROFILE_H
#define LV_FORMAT_PROFILE_H

#include "format/audit.h"

/* path: of the file, for its extension. */
void lv_profile_disk(const struct lv_audit *a, enum lvhd_profile profile,
                     const char *path);

/* What is odd for all is an error for a reader that refuses it. */
void lv_profile_raise(struct lv_findings *list, enum lvhd_profile profile);

/* The locators of a child, decoded (path NULL: not inside the file), and the
 * name field. */
void lv_profile_child(const struct lv_audit *a, enum lvhd_profile profile,
                      const struct lvhd_locator *locators, size_t count,
                      const char *name);

#endif
