/* SPDX-License-Identifier: MIT
 *
 * Preloaded behind a sanitizer's runtime: takes LD_PRELOAD out of the
 * environment, so that what Lua starts (sh, qemu-img, 7zz) runs without the
 * sanitizer.  Knows nothing of lvhd.
 */
#include <stdlib.h>

__attribute__((constructor)) static void alone(void) {
  unsetenv("LD_PRELOAD");
}
