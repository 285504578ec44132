/* SPDX-License-Identifier: MIT
 *
 * Looking for bits, eight bytes at a time where they are alike.
 */
#include "format/bitmap.h"

#include <string.h>

uint32_t lv_bits_find(const uint8_t *bits, uint32_t from, uint32_t end,
                      bool value) {
  const uint8_t dull = value ? 0x00 : 0xFF; /* a byte without such a bit */
  const uint64_t dull8 = value ? 0 : UINT64_MAX;
  while (from < end) {
    if (from % 8 == 0) {
      uint64_t eight = 0;
      while (end - from >= 64) {
        memcpy(&eight, bits + from / 8, sizeof eight);
        if (eight != dull8)
          break;
        from += 64;
      }
      while (end - from >= 8 && bits[from / 8] == dull)
        from += 8;
      if (from >= end)
        break;
    }
    if (lv_bit(bits, from) == value)
      return from;
    from++;
  }
  return end;
}
