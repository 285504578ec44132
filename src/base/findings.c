/* SPDX-License-Identifier: MIT
 *
 * The list of findings.
 */
#include "base/findings.h"

#include <stdlib.h>

bool lv_findings_reserve(struct lv_findings *list, size_t more) {
  size_t room = list->room ? list->room : 8;
  struct lvhd_finding *items = NULL;
  if (list->room - list->count >= more)
    return true;
  while (room - list->count < more)
    room *= 2;
  items = realloc(list->items, room * sizeof *list->items);
  if (items == NULL)
    return false;
  list->items = items;
  list->room = room;
  return true;
}

void lv_finding(struct lv_findings *list, enum lvhd_severity severity,
                enum lv_reason reason, unsigned has, uint64_t expected,
                uint64_t actual, uint64_t offset) {
  if (list->each[reason] == LV_FINDINGS_EACH)
    return;
  if (!lv_findings_reserve(list, 1)) {
    list->no_memory = true;
    return;
  }
  list->each[reason]++;
  list->items[list->count++] = (struct lvhd_finding){.reason = (int)reason,
                                                     .severity = severity,
                                                     .has = has,
                                                     .expected = expected,
                                                     .actual = actual,
                                                     .offset = offset};
}

void lv_findings_free(struct lv_findings *list) {
  free(list->items);
  *list = (struct lv_findings){0};
}
