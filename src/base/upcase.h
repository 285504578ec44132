/* SPDX-License-Identifier: MIT
 *
 * Names but for case, as Windows compares them: one upper case letter for one
 * letter, of the Basic Multilingual Plane, whatever the locale.
 */
#ifndef LV_BASE_UPCASE_H
#define LV_BASE_UPCASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The simple upper case of a code point; itself where it has none, or lies
 * behind U+FFFF. */
uint32_t lv_upcase(uint32_t c);

/* The same name but for case.  What is no valid UTF-8 equals only itself. */
bool lv_same_name(const char *a, size_t a_length, const char *b,
                  size_t b_length);

/* The same number for names that are the same but for case; what is no valid
 * UTF-8 counts byte by byte. */
uint64_t lv_name_hash(const char *name, size_t length);

#endif
