/* SPDX-License-Identifier: MIT
 *
 * Identifiers: 16 bytes in text order (RFC 4122), never swapped.
 */
#ifndef LV_BASE_UUID_H
#define LV_BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LV_UUID_TEXT 37 /* 36 characters and NUL */

/* Makes 16 random bytes a version 4 identifier. */
void lv_uuid_v4(uint8_t uuid[16]);

/* "3f6c1e2a-..." of exactly 36 characters, either case.  False: malformed. */
bool lv_uuid_parse(const char *text, size_t n, uint8_t uuid[16]);

/* Lower case. */
void lv_uuid_format(const uint8_t uuid[16], char out[LV_UUID_TEXT]);

bool lv_uuid_is_nil(const uint8_t uuid[16]);

#endif
