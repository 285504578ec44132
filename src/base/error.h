/* SPDX-License-Identifier: MIT
 *
 * How the rooms fill a struct lvhd_error.  The error is a value: code,
 * reason and numbers; its text is made on demand from codes.def and
 * fault.def.  Every function accepts err == NULL.
 */
#ifndef LV_BASE_ERROR_H
#define LV_BASE_ERROR_H

#include "lvhd.h"

#define LV_FAULT(name, windows, kind, text) LV_R_##name,
enum lv_reason {
#include "base/fault.def"
  LV_REASONS
};
#undef LV_FAULT

/* Fills *err and returns code.  Whatever *err held is cleared first. */
int lv_fail(struct lvhd_error *err, enum lvhd_code code,
            enum lv_reason reason);

/* The same with a limit and a value, in the unit of the reason. */
int lv_fail_range(struct lvhd_error *err, enum lvhd_code code,
                  enum lv_reason reason, uint64_t expected, uint64_t actual);

/* The same with the byte offset of what is wrong in a text. */
int lv_fail_at(struct lvhd_error *err, enum lvhd_code code,
               enum lv_reason reason, uint64_t offset);

/* What is wrong with bytes at `offset`, into *bad (may be NULL); has tells
 * which of expected and actual say something.  Returns the reason. */
enum lv_reason lv_refuse(struct lvhd_finding *bad, enum lv_reason reason,
                         unsigned has, uint64_t expected, uint64_t actual,
                         uint64_t offset);

/* The step that failed: the errno x step table of design 1.5. */
enum lv_step {
  LV_STEP_FOLDER, /* reaching the folder of a new file */
  LV_STEP_FILE,   /* opening an existing file */
  LV_STEP_CREATE, /* making, writing and publishing a new file */
  LV_STEP_INPLACE, /* opening for changes, and changing, an existing file */
  LV_STEP_OTHER
};

/* The errno of a table of system calls that changes nothing (io/dry.c); a number
 * that no kernel gives. */
#define LV_EDRY 4096

/* A system call failed with errnum: the code comes from the one table.
 * syscall is a static string.  Returns the code. */
int lv_fail_errno(struct lvhd_error *err, enum lv_step step, int errnum,
                  const char *syscall);

/* Hands *why on to err (may be NULL): its code.  Where that is 0, err stays as
 * it is; *why is LVHD_ERROR_INIT afterwards. */
int lv_error_give(struct lvhd_error *err, struct lvhd_error *why);

/* Records which file is at fault (copied; replaces).  Keeps the code. */
void lv_error_path(struct lvhd_error *err, const char *path);
void lv_error_parent(struct lvhd_error *err, const char *parent);

/* Adds one to err->others. */
void lv_error_other(struct lvhd_error *err, const char *path);

#endif
