/* SPDX-License-Identifier: MIT
 *
 * Which sectors hold something: all of a disk's data goes through these, so
 * they look at 64 bytes at a time.  Bytes only.
 */
#ifndef LV_FORMAT_SECTORS_H
#define LV_FORMAT_SECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* n is a multiple of 64. */
bool lv_all_zero(const uint8_t *bytes, size_t n);

/* Sets bit `first` + i for each unit i of the n bytes that is not all zero.
 * unit and n are multiples of 512; the last unit may be shorter.  Returns how
 * many units are not. */
uint32_t lv_units_used(const uint8_t *bytes, size_t n, size_t unit,
                       uint8_t *bits, uint32_t first);

/* The same for sectors in which the two differ. */
uint32_t lv_sectors_differ(const uint8_t *bytes, const uint8_t *other,
                           size_t n, uint8_t *bits, uint32_t first);

#endif
