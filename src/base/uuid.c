/* SPDX-License-Identifier: MIT
 *
 * Identifiers as bytes and as text.  Draws no random numbers: those come
 * from io.
 */
#include "base/uuid.h"

#include <string.h>

static bool is_dash(size_t i) {
  return i == 8 || i == 13 || i == 18 || i == 23;
}

static int nibble(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

void lv_uuid_v4(uint8_t uuid[16]) {
  uuid[6] = (uint8_t)((uuid[6] & 0x0F) | 0x40);
  uuid[8] = (uint8_t)((uuid[8] & 0x3F) | 0x80);
}

bool lv_uuid_parse(const char *text, size_t n, uint8_t uuid[16]) {
  uint8_t bytes[16];
  size_t i, at = 0;

  if (n != LV_UUID_TEXT - 1)
    return false;
  for (i = 0; i < n; i++) {
    int high, low;
    if (is_dash(i)) {
      if (text[i] != '-')
        return false;
      continue;
    }
    /* Dashes stand at even places of the digits: a byte is never split. */
    high = nibble(text[i]);
    low = nibble(text[++i]);
    if (high < 0 || low < 0)
      return false;
    bytes[at++] = (uint8_t)(high << 4 | low);
  }
  memcpy(uuid, bytes, sizeof bytes);
  return true;
}

void lv_uuid_format(const uint8_t uuid[16], char out[LV_UUID_TEXT]) {
  static const char digits[] = "0123456789abcdef";
  size_t i, at = 0;

  for (i = 0; i < 16; i++) {
    if (is_dash(at))
      out[at++] = '-';
    out[at++] = digits[uuid[i] >> 4];
    out[at++] = digits[uuid[i] & 0x0F];
  }
  out[at] = '\0';
}

bool lv_uuid_is_nil(const uint8_t uuid[16]) {
  static const uint8_t nil[16];
  return memcmp(uuid, nil, sizeof nil) == 0;
}
