/* SPDX-License-Identifier: MIT
 *
 * Big-endian numbers in byte buffers: the only way on-disk bytes are
 * touched.
 */
#ifndef LV_BASE_BYTES_H
#define LV_BASE_BYTES_H

#include <stdint.h>

static inline uint16_t lv_get_be16(const uint8_t *p) {
  return (uint16_t)((p[0] << 8) | p[1]);
}

static inline uint32_t lv_get_be32(const uint8_t *p) {
  return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) |
         ((uint32_t)p[2] << 8) | (uint32_t)p[3];
}

static inline uint64_t lv_get_be64(const uint8_t *p) {
  return ((uint64_t)lv_get_be32(p) << 32) | lv_get_be32(p + 4);
}

static inline void lv_put_be16(uint8_t *p, uint16_t v) {
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

static inline void lv_put_be32(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)(v >> 24);
  p[1] = (uint8_t)(v >> 16);
  p[2] = (uint8_t)(v >> 8);
  p[3] = (uint8_t)v;
}

static inline void lv_put_be64(uint8_t *p, uint64_t v) {
  lv_put_be32(p, (uint32_t)(v >> 32));
  lv_put_be32(p + 4, (uint32_t)v);
}

/* Rounds up to a multiple of a power of two; the caller knows it fits. */
static inline uint64_t lv_round_up(uint64_t n, uint64_t to) {
  return (n + to - 1) & ~(to - 1);
}

#endif
