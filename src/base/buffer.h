/* SPDX-License-Identifier: MIT
 *
 * Memory that file contents are read into.
 */
#ifndef LV_BASE_BUFFER_H
#define LV_BASE_BUFFER_H

#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"

/* A line of the processor's cache.  What begins within one, as all that malloc
 * gives does, is read into at a fifth of the speed on AMD's processors: the
 * kernel's string copy is slow where the target lies some bytes further within
 * its page than the source. */
#define LV_LINE 64u

/* n bytes for free(), or NULL. */
static inline uint8_t *lv_buffer(size_t n) {
  return aligned_alloc(LV_LINE, (size_t)lv_round_up(n, LV_LINE));
}

#endif
