/* SPDX-License-Identifier: MIT
 *
 * UTF-8 and UTF-16.  Knows nothing of paths or disks.
 */
#ifndef LV_BASE_UTF_H
#define LV_BASE_UTF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
 * NUL is allowed.  Returns the offset of the first bad byte, or n. */
size_t lv_utf8_check(const char *text, size_t n);

/* One character of at most n > 0 bytes, into *out.  Returns its length, or 0
 * where the bytes are no UTF-8. */
size_t lv_utf8_take(const char *text, size_t n, uint32_t *out);

/* UTF-16 units of valid UTF-8. */
size_t lv_utf16_units(const char *text, size_t n);

/* Valid UTF-8 to UTF-16, no terminator, no byte order mark.  Writes at most
 * cap bytes, whole units only, and returns the bytes the whole text needs. */
size_t lv_utf16_encode(const char *text, size_t n, bool big_endian,
                       uint8_t *out, size_t cap);

/* UTF-16 of n bytes (an odd last byte is ignored), up to the first NUL unit,
 * to NUL-terminated UTF-8; a lone surrogate becomes U+FFFD.  out holds at
 * least n / 2 * 3 + 1 bytes.  Returns the length without the NUL. */
size_t lv_utf16_decode(const uint8_t *in, size_t n, bool big_endian,
                       char *out);

/* The offset of the first lone surrogate in UTF-16 of n bytes, or n. */
size_t lv_utf16_check(const uint8_t *in, size_t n, bool big_endian);

/* Bytes that should be UTF-8, up to the first NUL, to NUL-terminated UTF-8: a
 * byte that is none becomes U+FFFD.  out holds at least n * 3 + 1 bytes.
 * Returns the length without the NUL. */
size_t lv_utf8_repair(const char *text, size_t n, char *out);

#endif
