/* SPDX-License-Identifier: MIT
 *
 * Cylinders, heads and sectors, as the specification computes them ("CHS
 * Calculation").  Readers compare, so the numbers must be exactly these.
 */
#include "format/geometry.h"

#define CYLINDERS_MAX 65535u

struct lv_geometry lv_geometry(uint64_t sectors) {
  const uint64_t most = (uint64_t)CYLINDERS_MAX * 16 * 255;
  uint32_t total = (uint32_t)(sectors < most ? sectors : most);
  uint32_t track, heads, rest; /* rest: cylinders times heads */

  if (total >= CYLINDERS_MAX * 16 * 63) {
    track = 255;
    heads = 16;
    rest = total / track;
  } else {
    track = 17;
    rest = total / track;
    heads = (rest + 1023) / 1024;
    if (heads < 4)
      heads = 4;
    if (rest >= heads * 1024 || heads > 16) {
      track = 31;
      heads = 16;
      rest = total / track;
    }
    if (rest >= heads * 1024) {
      track = 63;
      heads = 16;
      rest = total / track;
    }
  }
  return (struct lv_geometry){(uint16_t)(rest / heads), (uint8_t)heads,
                              (uint8_t)track};
}
