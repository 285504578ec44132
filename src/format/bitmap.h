/* SPDX-License-Identifier: MIT
 *
 * Bitmaps of sectors, as blocks have them: the most significant bit of a
 * byte is the first sector.  Bytes only.
 */
#ifndef LV_FORMAT_BITMAP_H
#define LV_FORMAT_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool lv_bit(const uint8_t *bits, uint32_t i) {
  return (bits[i / 8] >> (7 - i % 8) & 1) != 0;
}

static inline void lv_bit_set(uint8_t *bits, uint32_t i) {
  bits[i / 8] = (uint8_t)(bits[i / 8] | 0x80u >> i % 8);
}

/* The first bit from `from` on that is `value`; `end` when none is. */
uint32_t lv_bits_find(const uint8_t *bits, uint32_t from, uint32_t end,
                      bool value);

#endif
