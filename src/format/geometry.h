/* SPDX-License-Identifier: MIT
 *
 * Cylinders, heads and sectors: a hint that is never read back as a size
 * (specification, "CHS Calculation"; the comparison at 66,059,280 sectors
 * is >=, as in vhd-format 2.1).
 */
#ifndef LV_FORMAT_GEOMETRY_H
#define LV_FORMAT_GEOMETRY_H

#include <stdint.h>

struct lv_geometry {
  uint16_t cylinders;
  uint8_t heads;
  uint8_t sectors; /* per track */
};

struct lv_geometry lv_geometry(uint64_t sectors);

#endif
