/* SPDX-License-Identifier: MIT
 *
 * The volume of a new file: how much is free, and whether it can hold a file
 * of some length.  Extends no file.
 */
#ifndef LV_IO_VOLUME_H
#define LV_IO_VOLUME_H

#include "base/error.h"
#include "io/folder.h"

/* The documented minimum that must be free on the host volume. */
#define LV_VOLUME_FREE (UINT64_C(8) << 20)

struct lv_volume {
  uint64_t free; /* bytes, for an unprivileged process */
  bool counted;  /* false: the volume does not say, and free is 0 */
  bool lockable;
};

/* VM_E_FILE_TOO_LARGE_FOR_VOLUME when the volume or RLIMIT_FSIZE cannot hold
 * `length` bytes in one file; E_DISK_FULL when less than 8 MiB are free.
 * fd: an open file of ours on that volume; or -1: an unnamed one is made for
 * the question, and where the volume has none the question waits for the
 * worker.  An answer is believed for a second (env->volume). */
int lv_volume_check(struct lv_volume *volume, struct lv_env *env,
                    const struct lv_folder *folder, int fd, uint64_t length,
                    struct lvhd_error *err);

/* The same of an existing file, open for writing, that is to become so long.
 * Nothing is believed from before. */
int lv_volume_holds(struct lv_env *env, int fd, uint64_t length,
                    struct lvhd_error *err);

/* What the volume of an open file says; nothing known is 0 and false. */
void lv_volume_of(struct lv_volume *volume, const struct lv_env *env, int fd);

#endif
