/* SPDX-License-Identifier: MIT
 *
 * Sorting many numbers in place, in time that no input can stretch.
 */
#ifndef LV_BASE_SORT_H
#define LV_BASE_SORT_H

#include <stddef.h>
#include <stdint.h>

/* Ascending.  Takes no memory but some stack. */
void lv_sort_u32(uint32_t *items, size_t n);

#endif
