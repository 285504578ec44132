/* SPDX-License-Identifier: MIT
 *
 * Looking for bytes that are not zero.
 */
#include "format/sectors.h"

#include <string.h>

#include "format/bitmap.h"
#include "format/footer.h"

#define STRIDE 64u

bool lv_all_zero(const uint8_t *bytes, size_t n) {
  for (size_t i = 0; i < n; i += STRIDE) {
    uint64_t w[STRIDE / 8];
    memcpy(w, bytes + i, sizeof w);
    if ((w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) != 0)
      return false;
  }
  return true;
}

uint32_t lv_units_used(const uint8_t *bytes, size_t n, size_t unit,
                       uint8_t *bits, uint32_t first) {
  uint32_t used = 0, i = first;
  for (size_t at = 0; at < n; at += unit, i++) {
    if (lv_all_zero(bytes + at, n - at < unit ? n - at : unit))
      continue;
    lv_bit_set(bits, i);
    used++;
  }
  return used;
}

uint32_t lv_sectors_differ(const uint8_t *bytes, const uint8_t *other,
                           size_t n, uint8_t *bits, uint32_t first) {
  uint32_t used = 0, i = first;
  for (size_t at = 0; at < n; at += LV_SECTOR, i++) {
    if (memcmp(bytes + at, other + at, LV_SECTOR) == 0)
      continue;
    lv_bit_set(bits, i);
    used++;
  }
  return used;
}
