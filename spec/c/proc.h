/* SPDX-License-Identifier: MIT
 *
 * Where tests look at their own process: in /proc, or in LVHD_PROC, where
 * spec/c/without.c has hidden /proc from the engine.
 */
#ifndef LV_SPEC_PROC_H
#define LV_SPEC_PROC_H

#include <stdio.h>
#include <stdlib.h>

/* /proc/NAME; 160 bytes hold all that is asked for. */
static inline const char *proc_path(char out[160], const char *name) {
  const char *root = getenv("LVHD_PROC");
  snprintf(out, 160, "%s/%s", root ? root : "/proc", name);
  return out;
}

#endif
