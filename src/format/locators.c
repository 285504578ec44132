/* SPDX-License-Identifier: MIT
 *
 * The way to a parent as texts, and their places.  Knows no file: which parts
 * of one are taken is said by the caller.
 */
#include "format/locators.h"

#include <string.h>

#include "base/bytes.h"
#include "base/path.h"
#include "base/utf.h"
#include "format/footer.h"

#define NAME_UNITS 255 /* of the parent's name, so that a NUL follows */

const uint8_t lv_w2ru[4] = {'W', '2', 'r', 'u'};
const uint8_t lv_w2ku[4] = {'W', '2', 'k', 'u'};
const uint8_t lv_macx[4] = {'M', 'a', 'c', 'X'};

/* ---- texts ----------------------------------------------------------- */

int lv_locator_name(const char *relative, uint8_t field[LV_NAME_FIELD],
                    struct lvhd_error *err) {
  const char *name = lv_path_name(relative);
  size_t n = strlen(relative), length;

  if (memchr(relative, '\\', n) != NULL || lv_utf8_check(relative, n) < n)
    return lv_fail(err, LVHD_E_INVALID_NAME, LV_R_NAME_UNFINDABLE);
  length = lv_utf16_encode(name, strlen(name), true, field, NAME_UNITS * 2);
  if (length > NAME_UNITS * 2)
    return lv_fail_range(err, LVHD_E_BUFFER_OVERFLOW, LV_R_LOCATOR_TOO_LONG,
                         NAME_UNITS * 2, length);
  return LVHD_S_OK;
}

int lv_locator_w2ru(const char *relative, uint8_t out[LV_LOCATOR_MAX],
                    uint32_t *length, struct lvhd_error *err) {
  static const uint8_t here[] = {'.', 0, '\\', 0};
  size_t room = LV_LOCATOR_MAX - sizeof here;
  size_t n = sizeof here + lv_utf16_encode(relative, strlen(relative), false,
                                           out + sizeof here, room);
  size_t i;

  if (n > LV_LOCATOR_MAX)
    return lv_fail_range(err, LVHD_E_BUFFER_OVERFLOW, LV_R_LOCATOR_TOO_LONG,
                         LV_LOCATOR_MAX, n);
  memcpy(out, here, sizeof here);
  for (i = sizeof here; i < n; i += 2)
    if (out[i] == '/' && out[i + 1] == 0)
      out[i] = '\\';
  *length = (uint32_t)n;
  return LVHD_S_OK;
}

size_t lv_locator_w2ku(const char *windows, uint8_t out[LV_LOCATOR_MAX]) {
  size_t n = strlen(windows);
  size_t length = lv_utf16_units(windows, n) * 2;

  if (length <= LV_LOCATOR_MAX)
    lv_utf16_encode(windows, n, false, out, LV_LOCATOR_MAX);
  return length;
}

size_t lv_locator_macx(const char *relative, uint8_t out[LV_MACX_MAX]) {
  static const char here[] = "file://./";
  size_t n = strlen(relative);

  if (sizeof here - 1 + n <= LV_MACX_MAX) {
    memcpy(out, here, sizeof here - 1);
    memcpy(out + sizeof here - 1, relative, n);
  }
  return sizeof here - 1 + n;
}

/* ---- places ---------------------------------------------------------- */

uint64_t lv_locator_space(const struct lv_locator_entry *entry) {
  return entry->space < LV_SECTOR ? (uint64_t)entry->space * LV_SECTOR
                                  : entry->space;
}

void lv_head_take(struct lv_head *head, uint64_t from, uint64_t length) {
  if (length == 0)
    return;
  head->taken[head->count].from = from;
  head->taken[head->count].to =
    length > UINT64_MAX - from ? UINT64_MAX : from + length;
  head->count++;
}

/* The end of something taken that meets [from, from + length); 0: nothing. */
static uint64_t meets(const struct lv_head *head, uint64_t from,
                      uint64_t length) {
  for (size_t i = 0; i < head->count; i++)
    if (head->taken[i].from < from + length && from < head->taken[i].to)
      return head->taken[i].to;
  return 0;
}

bool lv_head_is_free(const struct lv_head *head, uint64_t from,
                     uint64_t length) {
  return from <= head->end && length <= head->end - from &&
         meets(head, from, length) == 0;
}

bool lv_head_place(struct lv_head *head, uint64_t n, uint64_t *at) {
  uint64_t length = lv_round_up(n, LV_SECTOR);
  uint64_t from = 0;
  while (from <= head->end && length <= head->end - from) {
    uint64_t to = meets(head, from, length);
    if (to == 0) {
      lv_head_take(head, from, length);
      *at = from;
      return true;
    }
    if (to > head->end)
      break;
    from = lv_round_up(to, LV_SECTOR);
  }
  return false;
}
