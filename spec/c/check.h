/* SPDX-License-Identifier: MIT
 *
 * What the unit tests in C share: checks that count and go on, and the last
 * line that tells the sum.  Knows nothing of lvhd.
 *
 *   int main(void) {
 *     CHECK(1 + 1 == 2);
 *     CHECK_STR(name, "E_FAIL");
 *     return check_done();
 *   }
 */
#ifndef LVHD_SPEC_CHECK_H
#define LVHD_SPEC_CHECK_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Also from threads of the engine, in calls that a test has replaced. */
static _Atomic unsigned check_passed, check_failed;

/* Counts; says where on failure.  Returns ok. */
static inline bool check_is(bool ok, const char *file, int line,
                            const char *what) {
  if (ok) {
    check_passed++;
  } else {
    check_failed++;
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
  }
  return ok;
}

static inline void check_int(uint64_t got, uint64_t want, const char *file,
                             int line, const char *what) {
  if (!check_is(got == want, file, line, what))
    fprintf(stderr, "  got  %" PRIu64 " (0x%" PRIX64 ")\n"
                    "  want %" PRIu64 " (0x%" PRIX64 ")\n",
            got, got, want, want);
}

/* NULL equals NULL only. */
static inline void check_str(const char *got, const char *want,
                             const char *file, int line, const char *what) {
  bool same = got == NULL || want == NULL ? got == want
                                          : strcmp(got, want) == 0;
  if (!check_is(same, file, line, what))
    fprintf(stderr, "  got  \"%s\"\n  want \"%s\"\n",
            got != NULL ? got : "(null)", want != NULL ? want : "(null)");
}

#define CHECK(what) check_is((what), __FILE__, __LINE__, #what)
#define CHECK_INT(got, want)                                                 \
  check_int((uint64_t)(got), (uint64_t)(want), __FILE__, __LINE__,           \
            #got " == " #want)
#define CHECK_STR(got, want)                                                 \
  check_str((got), (want), __FILE__, __LINE__, #got " is " #want)
#define CHECK_MEM(got, want, n)                                              \
  check_is(memcmp((got), (want), (n)) == 0, __FILE__, __LINE__,              \
           #got " holds " #want)

/* The last line; the value for main. */
static inline int check_done(void) {
  printf("%u passed, %u failed\n", check_passed, check_failed);
  return check_failed == 0 && check_passed > 0 ? 0 : 1;
}

#endif
