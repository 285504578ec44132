/* SPDX-License-Identifier: MIT
 *
 * QEMU's locks on image files (vhd-format 12): bytes from 100 on, each locked
 * shared by open file description, a conflict found by asking for its
 * opposite.  lvhd takes the same, so that QEMU and lvhd respect each other,
 * and two programs with lvhd too.  They end with the descriptor.
 */
#ifndef LV_IO_LOCK_H
#define LV_IO_LOCK_H

#include "io/file.h"

enum lv_lock {
  LV_LOCK_LOOK,  /* a leaf that is read: nobody shall move its blocks */
  LV_LOCK_READ,  /* a parent: nobody shall write it */
  LV_LOCK_WRITE, /* nor count on its content */
  LV_LOCK_ALONE  /* nor read it at all */
};

/* E_SHARING_VIOLATION/IN_USE when someone holds what does not go with it; then
 * nothing is held.  A volume without such locks: success. */
int lv_lock(const struct lv_file *file, const struct lv_env *env,
            enum lv_lock how, struct lvhd_error *err);

/* E_SHARING_VIOLATION when another process has the file open for writing,
 * by QEMU's locks: byte 101 (writes) or 103 (resizes) is locked.  Takes
 * none. */
int lv_lock_quiet(const struct lv_file *file, const struct lv_env *env,
                  struct lvhd_error *err);

#endif
