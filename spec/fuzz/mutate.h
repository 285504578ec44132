/* SPDX-License-Identifier: MIT
 *
 * A mutator that knows the format: fields at their boundary values, BAT
 * entries, locators and their texts, lengths, parts of another image, and
 * checksums made right again half of the time.
 */
#ifndef LVHD_SPEC_MUTATE_H
#define LVHD_SPEC_MUTATE_H

#include <stddef.h>
#include <stdint.h>

/* How plain bytes are changed: the fuzzer's own way. */
typedef size_t (*mutate_fn)(uint8_t *bytes, size_t n, size_t room);

size_t mutate_image(uint8_t *bytes, size_t n, size_t room, uint32_t seed,
                    mutate_fn plain);
/* Files of one folder among those of another. */
size_t mutate_cross(const uint8_t *a, size_t an, const uint8_t *b, size_t bn,
                    uint8_t *out, size_t room, uint32_t seed);

#endif
