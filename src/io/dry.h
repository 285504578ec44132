/* SPDX-License-Identifier: MIT
 *
 * A table of system calls that looks and changes nothing: with it a verb runs
 * as ever, refuses what it would refuse, and ends where it would begin to
 * change something.  Must not know any verb.
 */
#ifndef LV_IO_DRY_H
#define LV_IO_DRY_H

#include "io/sys.h"

/* Fills *sys with the real calls, but that each one that makes, changes,
 * names or removes something fails: with LV_EDRY (the reason DRY_RUN), or,
 * where a file would be made in a folder that may not be written, as that
 * would.  Unnamed files are made, and stay empty. */
void lv_sys_dry(struct lv_sys *sys);

#endif
