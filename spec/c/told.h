/* SPDX-License-Identifier: MIT
 *
 * What a room below the verbs has answered: the call that failed, the reason;
 * and, of programs that are linked with POOR and include poor.h before, that
 * an allocation which fails is told and nothing else.  Knows the errors, not
 * how a call comes to fail.
 */
#ifndef LVHD_SPEC_TOLD_H
#define LVHD_SPEC_TOLD_H

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "check.h"
#include "folder.h"

/* A failure by this call, and nothing is told twice; err is cleared. */
static inline void check_told(struct lvhd_error *err, int code, int want,
                              int errnum, const char *call,
                              const char *file, int line) {
  if (!check_is(code == want && err->code == want && err->errnum == errnum &&
                  (err->syscall == NULL ? call == NULL
                                        : call && strcmp(err->syscall,
                                                         call) == 0),
                file, line, "told"))
    fprintf(stderr, "  got  %s %s of %s\n  want %s %s of %s\n",
            lvhd_code_name(code), strerrorname_np(err->errnum),
            err->syscall ? err->syscall : "none", lvhd_code_name(want),
            strerrorname_np(errnum), call ? call : "none");
  lvhd_error_clear(err);
}

static inline void check_reason(struct lvhd_error *err, int code, int want,
                                int reason, const char *file, int line) {
  if (!check_is(code == want && err->code == want && err->reason == reason,
                file, line, "reason"))
    fprintf(stderr, "  got  %s/%s\n  want %s/%s\n", lvhd_code_name(code),
            lvhd_reason_name(err->reason), lvhd_code_name(want),
            lvhd_reason_name(reason));
  lvhd_error_clear(err);
}

/* The code, with the errno of a call; the code, with a reason. */
#define TOLD(err, code, want, errnum, call)                                  \
  check_told(err, code, LVHD_##want, errnum, call, __FILE__, __LINE__)
#define REASON(err, code, want, reason)                                      \
  check_reason(err, code, LVHD_##want, LV_R_##reason, __FILE__, __LINE__)

#ifdef LVHD_SPEC_POOR_H

/* Each allocation fails in turn, and all from there on: the answer is right
 * or E_OUTOFMEMORY, and nothing is held or open. */
static inline void poorly(const char *name, int (*ask)(void)) {
  for (int on = 0; on < 2; on++)
    for (unsigned k = 1, hits = 1; hits > 0; k++) {
      long held = atomic_load(&poor.held);
      unsigned open = descriptors();
      int code = 0;
      poor_begin(k, on != 0, POOR_ANY);
      code = ask();
      hits = poor_end();
      if (!CHECK(code == (hits > 0 ? LVHD_E_OUTOFMEMORY : 0)) ||
          !CHECK(atomic_load(&poor.held) == held) ||
          !CHECK(descriptors() == open))
        fprintf(stderr, "  %s, allocation %u: %s\n", name, k,
                lvhd_code_name(code));
    }
}

#endif /* of poor.h */

#endif
