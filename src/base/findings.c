/* SPDX-License-Identifier: MIT
 *
 * The list of findings.
 */
#include "base/findings.h"

#include <stdlib.h>

void lv_finding(struct lv_findings *list, enum lvhd_severity severity,
                enum lv_reason reason, unsigned has, uint64_t expected,
                uint64_t actual, uint64_t offset) {
  if (list->each[reason] == LV_FINDINGS_EACH)
    return;
  if (list->count == list->room) {
    size_t room = list->room ? 2 * list->room : 8;
    struct lvhd_finding *items =
      realloc(list->items, room * sizeof *list->items);
    if (items == NULL) {
      list->no_memory = true;
      return;
    }
    list->items = items;
    list->room = room;
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
