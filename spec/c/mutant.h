/* SPDX-License-Identifier: MIT
 *
 * What the rewritten sources of `make mutants` say (spec/support/mutate.lua):
 * each place that can be broken asks here whether it is the broken one.  One
 * build so holds all mutants; LVHD_MUTANT is the number of the one that lives,
 * or a list of several.
 * With LVHD_MUTANTS_SEEN, a file of a byte a mutant, each place also notes
 * that its mutant would have made a difference: a test that leaves no note
 * cannot find that mutant.
 */
#ifndef LVHD_SPEC_MUTANT_H
#define LVHD_SPEC_MUTANT_H

#define LV_MUTANTS 16384
extern unsigned char lv_mutant_alive[LV_MUTANTS];
extern volatile unsigned char *lv_mutant_seen;

static inline int lv_mutant_note(int n, int differs) {
  if (lv_mutant_seen && differs)
    lv_mutant_seen[n] = 1;
  return lv_mutant_alive[n];
}

/* A condition, and the mutants that make it false and true; 0: there is none. */
static inline int lv_mutant_cond(int no, int yes, int value) {
  if (no && lv_mutant_note(no, value))
    return 0;
  if (yes && lv_mutant_note(yes, !value))
    return 1;
  return value;
}

/* A place that would be left out. */
#define LV_MUTANT_SKIP(n) lv_mutant_note(n, 1)

/* a OP b, where OP and WITH differ for equal ones alone. */
#define LV_MUTANT_EDGE(n, a, OP, WITH, b)                                    \
  ({                                                                         \
    __auto_type lv_mutant_a = a;                                             \
    __auto_type lv_mutant_b = b;                                             \
    lv_mutant_note(n, lv_mutant_a == lv_mutant_b)                            \
      ? lv_mutant_a WITH lv_mutant_b                                         \
      : lv_mutant_a OP lv_mutant_b;                                          \
  })

/* a && b, which may be ||.  Where a decides, b is not known. */
#define LV_MUTANT_AND(n, a, b)                                               \
  ({                                                                         \
    int lv_mutant_r = !!(a);                                                 \
    lv_mutant_r = lv_mutant_r != lv_mutant_alive[n] ? !!(b) : lv_mutant_r;   \
    lv_mutant_note(n, !lv_mutant_r);                                         \
    lv_mutant_r;                                                             \
  })
#define LV_MUTANT_OR(n, a, b)                                                \
  ({                                                                         \
    int lv_mutant_r = !!(a);                                                 \
    lv_mutant_r = lv_mutant_r == lv_mutant_alive[n] ? !!(b) : lv_mutant_r;   \
    lv_mutant_note(n, lv_mutant_r);                                          \
    lv_mutant_r;                                                             \
  })

#endif
