/* SPDX-License-Identifier: MIT
 *
 * Errors as values: filling them, the one table that turns errno into a
 * code, and the sentence made on demand.  Knows no verb and no file; what a
 * step means is said by the caller.
 */
#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"

/* ---- the tables ------------------------------------------------------ */

struct code {
  const char *name;
  uint32_t hresult;
  const char *text;
};

#define LV_CODE(name, hresult, text, when, cure) {#name, hresult, text},
static const struct code codes[] = {
#include "base/codes.def"
};
#undef LV_CODE

/* The enum of lvhd.h is written by hand, so that the header stands alone:
 * it must name the rows of codes.def in their order. */
#define LV_CODE(name, hresult, text, when, cure) ROW_##name,
enum {
#include "base/codes.def"
  ROWS
};
#undef LV_CODE
#define LV_CODE(name, hresult, text, when, cure)                             \
  _Static_assert((int)LVHD_##name == (int)ROW_##name,                        \
                 "lvhd.h and codes.def differ at " #name);
#include "base/codes.def"
#undef LV_CODE
_Static_assert((int)LVHD_CODES == (int)ROWS, "lvhd.h and codes.def differ");

/* How the numbers of a reason print (the third column of fault.def). */
enum kind { KIND_NONE, KIND_BYTES, KIND_COUNT, KIND_HEX };

struct fault {
  const char *name;
  const char *windows;
  enum kind kind;
  const char *text;
};

#define LV_FAULT(name, windows, kind, text)                                  \
  {#name, windows, KIND_##kind, text},
static const struct fault faults[] = {
#include "base/fault.def"
};
#undef LV_FAULT

static const struct code *code_at(int code) {
  return code >= 0 && code < LVHD_CODES ? &codes[code] : NULL;
}

/* NULL for LV_R_NONE too: it is no reason. */
static const struct fault *fault_at(int reason) {
  return reason > LV_R_NONE && reason < LV_REASONS ? &faults[reason] : NULL;
}

const char *lvhd_code_name(int code) {
  const struct code *row = code_at(code);
  return row != NULL ? row->name : NULL;
}

uint32_t lvhd_code_hresult(int code) {
  const struct code *row = code_at(code);
  return row != NULL ? row->hresult : 0;
}

const char *lvhd_code_text(int code) {
  const struct code *row = code_at(code);
  return row != NULL ? row->text : NULL;
}

const char *lvhd_reason_name(int reason) {
  const struct fault *row = fault_at(reason);
  return row != NULL ? row->name : NULL;
}

const char *lvhd_reason_windows(int reason) {
  const struct fault *row = fault_at(reason);
  return row != NULL ? row->windows : NULL;
}

const char *lvhd_reason_text(int reason) {
  const struct fault *row = fault_at(reason);
  return row != NULL ? row->text : NULL;
}

const char *lvhd_errno_name(int errnum) {
  return strerrorname_np(errnum);
}

/* ---- filling --------------------------------------------------------- */

void lvhd_error_clear(struct lvhd_error *err) {
  if (err == NULL)
    return;
  free(err->path);
  free(err->parent);
  free(err->others);
  *err = (struct lvhd_error)LVHD_ERROR_INIT;
}

int lv_error_give(struct lvhd_error *err, struct lvhd_error *why) {
  int code = why->code;
  if (code != 0 && err) {
    lvhd_error_clear(err);
    *err = *why;
    *why = (struct lvhd_error)LVHD_ERROR_INIT;
  }
  lvhd_error_clear(why);
  return code;
}

int lv_fail(struct lvhd_error *err, enum lvhd_code code,
            enum lv_reason reason) {
  if (err != NULL) {
    lvhd_error_clear(err);
    err->code = (int)code;
    err->reason = (int)reason;
  }
  return (int)code;
}

int lv_fail_range(struct lvhd_error *err, enum lvhd_code code,
                  enum lv_reason reason, uint64_t expected,
                  uint64_t actual) {
  lv_fail(err, code, reason);
  if (err != NULL) {
    err->has = LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL;
    err->expected = expected;
    err->actual = actual;
  }
  return (int)code;
}

int lv_fail_at(struct lvhd_error *err, enum lvhd_code code,
               enum lv_reason reason, uint64_t offset) {
  lv_fail(err, code, reason);
  if (err != NULL) {
    err->has = LVHD_HAS_OFFSET;
    err->offset = offset;
  }
  return (int)code;
}

static void set_text(char **field, const char *text) {
  /* Copied before the old one goes: text may be the old one. */
  char *copy = text != NULL ? strdup(text) : NULL;
  free(*field);
  *field = copy;
}

void lv_error_path(struct lvhd_error *err, const char *path) {
  if (err != NULL)
    set_text(&err->path, path);
}

void lv_error_parent(struct lvhd_error *err, const char *parent) {
  if (err != NULL)
    set_text(&err->parent, parent);
}

void lv_error_other(struct lvhd_error *err, const char *path) {
  size_t had = 0, n = strlen(path) + 1;
  char *grown = NULL;
  if (err == NULL)
    return;
  while (err->others != NULL && err->others[had] != '\0')
    had += strlen(err->others + had) + 1;
  grown = realloc(err->others, had + n + 1);
  if (grown == NULL)
    return; /* the error stands without it */
  memcpy(grown + had, path, n);
  grown[had + n] = '\0';
  err->others = grown;
}

/* ---- errno x step -> code -------------------------------------------- */

enum {
  FOLDER = 1u << LV_STEP_FOLDER,
  FILE_ = 1u << LV_STEP_FILE,
  CREATE = 1u << LV_STEP_CREATE,
  PLACE = 1u << LV_STEP_INPLACE,
  OTHER = 1u << LV_STEP_OTHER,
  EXIST = FILE_ | PLACE,
  NEW = FOLDER | CREATE,       /* the way to a new file */
  PATH = FOLDER | FILE_ | CREATE | PLACE,
  ANY = PATH | OTHER
};

/* The table of design 1.5.  The first row that fits counts; what has no row
 * is unforeseen. */
static const struct errno_row {
  int errnum;
  unsigned steps;
  enum lvhd_code code;
  enum lv_reason reason;
} errno_rows[] = {
  {EACCES,       PLACE, LVHD_VM_E_FILE_READ_ONLY,  LV_R_NONE},
  {EPERM,        PLACE, LVHD_VM_E_FILE_READ_ONLY,  LV_R_NONE},
  {EROFS,        PLACE, LVHD_VM_E_FILE_READ_ONLY,  LV_R_NONE},
  {EACCES,       PATH,  LVHD_E_ACCESSDENIED,       LV_R_NONE},
  {EPERM,        PATH,  LVHD_E_ACCESSDENIED,       LV_R_NONE},
  {EROFS,        PATH,  LVHD_E_ACCESSDENIED,       LV_R_NONE},
  {ENOENT,       FILE_, LVHD_E_PATH_NOT_FOUND,     LV_R_FILE_MISSING},
  {ENOENT,       NEW,   LVHD_E_PATH_NOT_FOUND,     LV_R_FOLDER_MISSING},
  {ENOENT,       PLACE, LVHD_E_PATH_NOT_FOUND,     LV_R_FILE_MISSING},
  {ENOTDIR,      PATH,  LVHD_E_PATH_NOT_FOUND,     LV_R_NOT_A_FOLDER},
  {ELOOP,        PATH,  LVHD_E_PATH_NOT_FOUND,     LV_R_NOT_A_FOLDER},
  {ENAMETOOLONG, PATH,  LVHD_E_BUFFER_OVERFLOW,    LV_R_NONE},
  {EEXIST,       PATH,  LVHD_E_ALREADY_EXISTS,     LV_R_NONE},
  {ENOSPC,       PATH,  LVHD_E_DISK_FULL,          LV_R_NONE},
  {EDQUOT,       PATH,  LVHD_E_DISK_FULL,          LV_R_NONE},
  {EFBIG,        PATH,  LVHD_VM_E_FILE_TOO_LARGE_FOR_VOLUME, LV_R_NONE},
  {EISDIR,       EXIST, LVHD_VM_E_INVALID_HD_FILE, LV_R_NOT_REGULAR},
  {ENXIO,        EXIST, LVHD_VM_E_INVALID_HD_FILE, LV_R_NOT_REGULAR},
  {EBUSY,        PATH,  LVHD_E_SHARING_VIOLATION,  LV_R_NONE},
  {ETXTBSY,      PATH,  LVHD_E_SHARING_VIOLATION,  LV_R_NONE},
  /* a lease that its holder has to give back first */
  {EAGAIN,       EXIST, LVHD_E_SHARING_VIOLATION,  LV_R_IN_USE},
  {EMFILE,       ANY,   LVHD_VM_E_OUT_OF_RESOURCE, LV_R_NONE},
  {ENFILE,       ANY,   LVHD_VM_E_OUT_OF_RESOURCE, LV_R_NONE},
  {ENOMEM,       ANY,   LVHD_E_OUTOFMEMORY,        LV_R_NONE},
  {LV_EDRY,      ANY,   LVHD_E_ABORT,              LV_R_DRY_RUN},
};

enum lv_reason lv_refuse(struct lvhd_finding *bad, enum lv_reason reason,
                         unsigned has, uint64_t expected, uint64_t actual,
                         uint64_t offset) {
  if (bad != NULL)
    *bad = (struct lvhd_finding){
      .reason = (int)reason,
      .severity = LVHD_ERROR,
      .has = has | LVHD_HAS_OFFSET,
      .expected = expected,
      .actual = actual,
      .offset = offset,
    };
  return reason;
}

int lv_fail_errno(struct lvhd_error *err, enum lv_step step, int errnum,
                  const char *syscall) {
  enum lvhd_code code = LVHD_DISP_E_EXCEPTION;
  enum lv_reason reason = LV_R_NONE;
  size_t i;

  for (i = 0; i < sizeof errno_rows / sizeof errno_rows[0]; i++) {
    const struct errno_row *row = &errno_rows[i];
    if (row->errnum == errnum && (row->steps & (1u << step)) != 0) {
      code = row->code;
      reason = row->reason;
      break;
    }
  }
  lv_fail(err, code, reason);
  if (err != NULL && errnum != LV_EDRY) {
    err->errnum = errnum;
    err->syscall = syscall;
  }
  return (int)code;
}

/* ---- the sentence ---------------------------------------------------- */

struct text {
  char *buf;
  size_t size;
  size_t length; /* what it would need */
  const char *joint; /* goes before the next number */
};

__attribute__((format(printf, 2, 3)))
static void add(struct text *t, const char *format, ...) {
  size_t at = t->length < t->size ? t->length : t->size;
  va_list args;
  int n;

  va_start(args, format);
  n = vsnprintf(at < t->size ? t->buf + at : NULL, t->size - at, format,
                args);
  va_end(args);
  if (n > 0)
    t->length += (size_t)n;
}

/* The reasons whose expected value is the only right one; that of all
 * others is a limit. */
static bool is_exact(int reason) {
  return reason == LV_R_BLOCK_SIZE || reason == LV_R_FIXED_LENGTH ||
         reason == LV_R_FOOTER_CORRUPT || reason == LV_R_HEADER_CORRUPT ||
         reason == LV_R_DISK_TYPE || reason == LV_R_PARENT_SIZE ||
         reason == LV_R_PARENT_TIME || reason == LV_R_SOURCE_CHANGED;
}

/* The reasons whose numbers a caller may give below zero. */
static bool is_signed(int reason) {
  return reason == LV_R_SIZE_NOT_POSITIVE || reason == LV_R_TIMESTAMP_RANGE;
}

static void add_number(struct text *t, const struct lvhd_error *err,
                       const char *before, uint64_t number,
                       const char *after) {
  const struct fault *fault = fault_at(err->reason);

  add(t, "%s%s", t->joint, before);
  if (fault != NULL && fault->kind == KIND_HEX)
    add(t, "0x%02" PRIX64, number);
  else if (is_signed(err->reason))
    add(t, "%" PRId64, (int64_t)number);
  else
    add(t, "%" PRIu64, number);
  add(t, "%s", after);
  t->joint = ", ";
}

#define OTHERS_TOLD 3 /* paths in one sentence */

/* ": at least 8388608 needed, 4096 found, at byte 48" */
static void add_numbers(struct text *t, const struct lvhd_error *err) {
  const struct fault *fault = fault_at(err->reason);
  bool both = (err->has & LVHD_HAS_EXPECTED) != 0 &&
              (err->has & LVHD_HAS_ACTUAL) != 0;
  bool below = is_signed(err->reason)
                 ? (int64_t)err->actual < (int64_t)err->expected
                 : err->actual < err->expected;

  if ((err->has & LVHD_HAS_EXPECTED) != 0) {
    if (!both || is_exact(err->reason) ||
        (fault != NULL && fault->kind == KIND_HEX))
      add_number(t, err, "", err->expected, " expected");
    else if (below)
      add_number(t, err, "at least ", err->expected, " needed");
    else if (err->actual == err->expected)
      add_number(t, err, "less than ", err->expected, " allowed");
    else
      add_number(t, err, "at most ", err->expected, " allowed");
  }
  if ((err->has & LVHD_HAS_ACTUAL) != 0)
    add_number(t, err, "", err->actual, both ? " found" : "");
  if ((err->has & LVHD_HAS_OFFSET) != 0) {
    add(t, "%sat byte %" PRIu64, t->joint, err->offset);
    t->joint = ", ";
  }
}

/* ": 3f6c... expected, 77aa... found" */
static void add_uuids(struct text *t, const struct lvhd_error *err) {
  char expected[LV_UUID_TEXT], actual[LV_UUID_TEXT];
  if ((err->has & LVHD_HAS_UUIDS) == 0)
    return;
  lv_uuid_format(err->expected_uuid, expected);
  lv_uuid_format(err->actual_uuid, actual);
  add(t, "%s%s expected, %s found", t->joint, expected, actual);
  t->joint = ", ";
}

/* ": the merge of the child 3f6c..." */
static void add_child(struct text *t, const struct lvhd_error *err) {
  char child[LV_UUID_TEXT];
  if ((err->has & LVHD_HAS_CHILD) == 0)
    return;
  lv_uuid_format(err->expected_uuid, child);
  add(t, "%sthe merge of the child %s", t->joint, child);
  t->joint = ", ";
}

/* ": '/vms/a.vhd', '/vms/b.vhd' and 3 more"; instead of their number. */
static void add_others(struct text *t, struct lvhd_error const *err) {
  const char *at = err->others;
  size_t told = 0, more = 0;

  for (; at != NULL && *at != '\0'; at += strlen(at) + 1) {
    if (told == OTHERS_TOLD) {
      more++;
      continue;
    }
    add(t, "%s'%s'", t->joint, at);
    t->joint = ", ";
    told++;
  }
  if (more > 0)
    add(t, " and %zu more", more);
}

/* ": mkdirat: Permission denied (EACCES)" */
static void add_errno(struct text *t, const struct lvhd_error *err) {
  const char *name = strerrorname_np(err->errnum);

  if (err->syscall != NULL)
    add(t, ": %s", err->syscall);
  if (name != NULL)
    add(t, ": %s (%s)", strerrordesc_np(err->errnum), name);
  else
    add(t, ": unknown error %d", err->errnum);
}

/* The sentence tells as much as the errno would. */
static bool says_it_all(const struct lvhd_error *err) {
  return err->code != LVHD_DISP_E_EXCEPTION &&
         (err->reason != LV_R_NONE || err->code == LVHD_E_ALREADY_EXISTS);
}

int lvhd_error_text(const struct lvhd_error *err, char *buf, size_t size) {
  struct text t = {buf, size, 0, ": "};
  const char *text = lvhd_reason_text(err->reason);

  if (text == NULL)
    text = lvhd_code_text(err->code);
  if (size > 0)
    buf[0] = '\0';
  if ((err->has & LVHD_AT_PARENT) != 0 && err->parent != NULL)
    add(&t, "the parent '%s': ", err->parent);
  add(&t, "%s", text != NULL ? text : "unknown error");
  add_others(&t, err);
  if (err->others == NULL) /* their number shows */
    add_numbers(&t, err);
  add_uuids(&t, err);
  add_child(&t, err);
  if (err->layer != 0)
    add(&t, "%slayer %u", t.joint, err->layer);
  if (err->errnum != 0 && !says_it_all(err))
    add_errno(&t, err);
  if (err->of != 0)
    add(&t, "; %zu of %zu images failed", err->failed, err->of);
  return (int)t.length;
}
