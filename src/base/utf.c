/* SPDX-License-Identifier: MIT
 *
 * UTF-8 and UTF-16.  Knows nothing of paths or disks.
 */
#include "base/utf.h"

#define REPLACEMENT 0xFFFDu

size_t lv_utf8_take(const char *text, size_t n, uint32_t *out) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const uint8_t *p = (const uint8_t *)text;
  uint32_t c = p[0];
  size_t length, i;

  if (c < 0x80) {
    *out = c;
    return 1;
  }
  if (c >= 0xC2 && c <= 0xDF)
    length = 2;
  else if (c >= 0xE0 && c <= 0xEF)
    length = 3;
  else if (c >= 0xF0 && c <= 0xF4)
    length = 4;
  else
    return 0;
  if (length > n)
    return 0;
  c &= 0x7Fu >> length;
  for (i = 1; i < length; i++) {
    if ((p[i] & 0xC0) != 0x80)
      return 0;
    c = (c << 6) | (p[i] & 0x3Fu);
  }
  if (c < least[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
    return 0;
  *out = c;
  return length;
}

size_t lv_utf8_check(const char *text, size_t n) {
  size_t at = 0;
  uint32_t c;

  while (at < n) {
    size_t length = lv_utf8_take(text + at, n - at, &c);
    if (length == 0)
      return at;
    at += length;
  }
  return n;
}

size_t lv_utf16_units(const char *text, size_t n) {
  size_t units = 0, i;

  for (i = 0; i < n; i++) {
    uint8_t c = (uint8_t)text[i];
    /* Each character counts at its first byte; four bytes make a pair. */
    if ((c & 0xC0) != 0x80)
      units += c >= 0xF0 ? 2u : 1u;
  }
  return units;
}

static void put_unit(uint8_t *out, uint32_t unit, bool big_endian) {
  out[big_endian ? 0 : 1] = (uint8_t)(unit >> 8);
  out[big_endian ? 1 : 0] = (uint8_t)unit;
}

size_t lv_utf16_encode(const char *text, size_t n, bool big_endian,
                       uint8_t *out, size_t cap) {
  size_t at = 0, need = 0;

  while (at < n) {
    uint32_t c, units[2];
    size_t length = lv_utf8_take(text + at, n - at, &c), count = 1, i;
    if (length == 0) {
      /* Not what the contract allows; still no reason to run wild. */
      c = REPLACEMENT;
      length = 1;
    }
    at += length;
    units[0] = c;
    units[1] = 0;
    if (c >= 0x10000) {
      units[0] = 0xD800 + ((c - 0x10000) >> 10);
      units[1] = 0xDC00 + ((c - 0x10000) & 0x3FF);
      count = 2;
    }
    for (i = 0; i < count; i++, need += 2)
      if (need + 2 <= cap)
        put_unit(out + need, units[i], big_endian);
  }
  return need;
}

static uint32_t get_unit(const uint8_t *in, bool big_endian) {
  return ((uint32_t)in[big_endian ? 0 : 1] << 8) | in[big_endian ? 1 : 0];
}

static size_t put_utf8(char *out, uint32_t c) {
  uint8_t *p = (uint8_t *)out;

  if (c < 0x80) {
    p[0] = (uint8_t)c;
    return 1;
  }
  if (c < 0x800) {
    p[0] = (uint8_t)(0xC0 | (c >> 6));
    p[1] = (uint8_t)(0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    p[0] = (uint8_t)(0xE0 | (c >> 12));
    p[1] = (uint8_t)(0x80 | ((c >> 6) & 0x3F));
    p[2] = (uint8_t)(0x80 | (c & 0x3F));
    return 3;
  }
  p[0] = (uint8_t)(0xF0 | (c >> 18));
  p[1] = (uint8_t)(0x80 | ((c >> 12) & 0x3F));
  p[2] = (uint8_t)(0x80 | ((c >> 6) & 0x3F));
  p[3] = (uint8_t)(0x80 | (c & 0x3F));
  return 4;
}

size_t lv_utf16_decode(const uint8_t *in, size_t n, bool big_endian,
                       char *out) {
  size_t at, length = 0;

  for (at = 0; at + 2 <= n; at += 2) {
    uint32_t c = get_unit(in + at, big_endian);
    if (c == 0)
      break;
    if (c >= 0xD800 && c <= 0xDFFF) {
      uint32_t low = 0;
      if (c <= 0xDBFF && at + 4 <= n)
        low = get_unit(in + at + 2, big_endian);
      if (low >= 0xDC00 && low <= 0xDFFF) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        at += 2;
      } else {
        c = REPLACEMENT;
      }
    }
    length += put_utf8(out + length, c);
  }
  out[length] = '\0';
  return length;
}

size_t lv_utf16_check(const uint8_t *in, size_t n, bool big_endian) {
  for (size_t at = 0; at + 2 <= n; at += 2) {
    uint32_t c = get_unit(in + at, big_endian), low = 0;
    if (c < 0xD800 || c > 0xDFFF)
      continue;
    if (at + 4 <= n)
      low = get_unit(in + at + 2, big_endian);
    if (c > 0xDBFF || low < 0xDC00 || low > 0xDFFF)
      return at;
    at += 2;
  }
  return n;
}

size_t lv_utf8_repair(const char *text, size_t n, char *out) {
  size_t at = 0, length = 0;

  while (at < n && text[at] != '\0') {
    uint32_t c = REPLACEMENT;
    size_t taken = lv_utf8_take(text + at, n - at, &c);
    at += taken > 0 ? taken : 1;
    length += put_utf8(out + length, taken > 0 ? c : REPLACEMENT);
  }
  out[length] = '\0';
  return length;
}
