/* SPDX-License-Identifier: MIT
 *
 * What is fuzzed: a target takes any bytes.  The fuzzers and the replay of
 * the corpus run the same ones.
 */
#ifndef LVHD_SPEC_TARGETS_H
#define LVHD_SPEC_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INPUT_MAX (64u << 10)

struct target {
  const char *name; /* of its folder in the corpus too */
  bool is_image;    /* an input of memory.h; else plain bytes */
  unsigned what;    /* EXAM_... */
};
extern const struct target targets[];
extern const size_t target_count;

const struct target *target_named(const char *name);

/* The targets that take plain bytes. */
struct exam;
const char *fuzz_paths(struct exam *exam, const uint8_t *bytes, size_t n);
const char *fuzz_fat(const uint8_t *bytes, size_t n);

/* NULL: all held; else what did not, valid until the next call. */
const char *target_run(const struct target *target, const uint8_t *bytes,
                       size_t n);
void target_end(void);

#endif
