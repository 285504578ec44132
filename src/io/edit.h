/* SPDX-License-Identifier: MIT
 *
 * One existing file, opened for changes in place: written, extended, cut,
 * flushed, and given its time back.  What is written, and in what order, is
 * the caller's to know.
 */
#ifndef LV_IO_EDIT_H
#define LV_IO_EDIT_H

#include "io/file.h"

/* Opens an open file once more, for reading and writing, by its real path:
 * file->fd is replaced.  E_SHARING_VIOLATION/FILE_REPLACED when another file
 * is there by now; VM_E_FILE_READ_ONLY for one without any write permission
 * bit, for root too, or that the host does not let us write. */
int lv_edit_reopen(struct lv_file *file, struct lv_env *env,
                   const char *path, struct lvhd_error *err);

/* Writes all n bytes. */
int lv_edit_write(const struct lv_file *file, const struct lv_env *env,
                  const void *buf, size_t n, uint64_t offset,
                  struct lvhd_error *err);

/* Makes [from, to) read as zeros; the file becomes no longer. */
int lv_edit_zero(const struct lv_file *file, const struct lv_env *env,
                 uint64_t from, uint64_t to, struct lvhd_error *err);

int lv_edit_truncate(const struct lv_file *file, const struct lv_env *env,
                     uint64_t length, struct lvhd_error *err);

/* What was written and the length are durable (fdatasync). */
int lv_edit_flush(const struct lv_file *file, const struct lv_env *env,
                  struct lvhd_error *err);

/* Gives the file this time of modification.  E_ACCESSDENIED where that is not
 * ours to do. */
int lv_edit_touch(const struct lv_file *file, const struct lv_env *env,
                  const struct timespec *mtime, struct lvhd_error *err);

/* Makes the time of modification later than the second `before`, if it is not:
 * who hangs on the disk compares whole seconds, and a change in the second that
 * he recorded, or in an earlier one, would not show.  Where the times are not
 * ours to set it stays. */
int lv_edit_move_on(const struct lv_file *file, const struct lv_env *env,
                    time_t before, struct lvhd_error *err);

#endif
