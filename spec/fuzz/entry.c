/* SPDX-License-Identifier: MIT
 *
 * What libFuzzer calls.  The name of the program tells the target.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mutate.h"
#include "targets.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t n, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t room,
                               unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t an,
                                 const uint8_t *b, size_t bn, uint8_t *out,
                                 size_t room, unsigned seed);

static const struct target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  const char *slash = strrchr((*argv)[0], '/');
  (void)argc;
  target = target_named(slash ? slash + 1 : (*argv)[0]);
  if (target == NULL) {
    fprintf(stderr, "no such target: %s\n", (*argv)[0]);
    exit(2);
  }
  atexit(target_end);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  const char *wrong = target_run(target, bytes, n);
  if (wrong != NULL) {
    fprintf(stderr, "wrong: %s\n", wrong);
    abort();
  }
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t room,
                               unsigned seed) {
  if (!target->is_image)
    return LLVMFuzzerMutate(bytes, n, room);
  return mutate_image(bytes, n, room, seed, LLVMFuzzerMutate);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t an,
                                 const uint8_t *b, size_t bn, uint8_t *out,
                                 size_t room, unsigned seed) {
  if (!target->is_image) {
    size_t n = an < room ? an : room;
    memcpy(out, a, n);
    if (bn > 1 && n > 1)
      memcpy(out + n / 2, b + 1, bn - 1 < n - n / 2 ? bn - 1 : n - n / 2);
    return n;
  }
  return mutate_cross(a, an, b, bn, out, room, seed);
}
