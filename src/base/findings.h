/* SPDX-License-Identifier: MIT
 *
 * A growing list of findings: what is odd about bytes, without stopping at
 * the first.  Knows only the one vocabulary (fault.def).
 */
#ifndef LV_BASE_FINDINGS_H
#define LV_BASE_FINDINGS_H

#include "base/error.h"

/* Of one reason so many are kept: a BAT may hold millions of bad entries. */
#define LV_FINDINGS_EACH 100

/* Zero-initialise. */
struct lv_findings {
  struct lvhd_finding *items;
  size_t count, room;
  uint8_t each[LV_REASONS]; /* how many of a reason were added */
  bool no_memory; /* one could not be added */
};

/* has: which of expected, actual and offset say something. */
void lv_finding(struct lv_findings *list, enum lvhd_severity severity,
                enum lv_reason reason, unsigned has, uint64_t expected,
                uint64_t actual, uint64_t offset);

/* Room for so many more, which are added without memory then. */
bool lv_findings_reserve(struct lv_findings *list, size_t more);

void lv_findings_free(struct lv_findings *list);

#endif
