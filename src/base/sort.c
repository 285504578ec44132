/* SPDX-License-Identifier: MIT
 *
 * Sorting by bytes, the highest first, in place.  Four levels at the most,
 * whatever the numbers are: a quicksort would have a worst case, and qsort
 * may take as much memory again.
 */
#include "base/sort.h"

#include <stdbool.h>

#define FEW 32

static void insert(uint32_t *items, size_t n) {
  for (size_t i = 1; i < n; i++) {
    uint32_t item = items[i];
    size_t at = i;
    for (; at > 0 && items[at - 1] > item; at--)
      items[at] = items[at - 1];
    items[at] = item;
  }
}

static unsigned digit(uint32_t item, unsigned shift) {
  return (item >> shift) & 0xFF;
}

/* Moves every item into the part of its digit: each swap puts one home. */
static void part(uint32_t *items, size_t *next, const size_t *end,
                 unsigned shift) {
  for (unsigned d = 0; d < 256; d++) {
    while (next[d] < end[d]) {
      unsigned home = digit(items[next[d]], shift);
      uint32_t item = items[next[d]];
      if (home == d) {
        next[d]++;
        continue;
      }
      items[next[d]] = items[next[home]];
      items[next[home]++] = item;
    }
  }
}

static void sort(uint32_t *items, size_t n, unsigned shift) {
  size_t next[256], end[256] = {0};
  size_t at = 0;
  if (n <= FEW) {
    insert(items, n);
    return;
  }
  for (size_t i = 0; i < n; i++)
    end[digit(items[i], shift)]++;
  for (unsigned d = 0; d < 256; d++) {
    next[d] = at;
    at += end[d];
    end[d] = at;
  }
  part(items, next, end, shift);
  if (shift == 0)
    return;
  at = 0;
  for (unsigned d = 0; d < 256; d++) {
    sort(items + at, end[d] - at, shift - 8);
    at = end[d];
  }
}

static bool is_sorted(const uint32_t *items, size_t n) {
  size_t i = 1;
  while (i < n && items[i - 1] <= items[i])
    i++;
  return i >= n;
}

/* A disk that was written from its start to its end has its blocks so. */
void lv_sort_u32(uint32_t *items, size_t n) {
  if (!is_sorted(items, n))
    sort(items, n, 24);
}
