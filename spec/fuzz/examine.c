/* SPDX-License-Identifier: MIT
 *
 * The calls, and what must hold.
 */
#include "examine.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf.h"

#define MIB EXAM_PIECE
#define EXTENTS_MAX 4096      /* calls; a huge disk is looked at in part: */
#define TABLE_MAX (32u << 20) /* so many bytes of its BAT */
#define COMPARE_MAX 256       /* sectors held against the plain reader */
#define PIECE_MAX (64u << 10) /* of each extent */
#define READ_MAX (8u << 20)   /* bytes read of one disk, in all */




void exam_wrong(struct exam *exam, const char *format, ...) {
  va_list args;
  if (exam->wrong[0] != '\0')
    return;
  va_start(args, format);
  vsnprintf(exam->wrong, sizeof exam->wrong, format, args);
  va_end(args);
}

/* Drives inside the leaf's own folder: they allow nothing that is not allowed
 * without them, and names on them are looked for but for case. */
bool exam_init(struct exam *exam) {
  static const struct lvhd_drive drives[] = {
    {"C", "/d"}, {"D", "/d/sub"}, {"\\\\srv\\share", "/d"}};
  struct lvhd_engine_options opts = {
    .threads = 1, .drives = drives, .drive_count = 3};
  memset(exam, 0, sizeof *exam);
  mem_init(&exam->mem);
  opts.system = &exam->mem.sys;
  exam->work = change_work_new();
  return exam->work != NULL &&
         lvhd_engine_new(&exam->engines[0], &opts, NULL) == 0 &&
         lvhd_engine_new(&exam->engines[1], &opts, NULL) == 0;
}

void exam_free(struct exam *exam) {
  lvhd_engine_free(exam->engines[0], true);
  lvhd_engine_free(exam->engines[1], true);
  change_work_free(exam->work);
}

/* ---- errors ---------------------------------------------------------- */

/* What bytes may lead to; not what the host may. */
static bool is_expected(const struct exam *exam, int code, unsigned what) {
  switch (code) {
  case LVHD_E_SHARING_VIOLATION: /* an operation that was interrupted */
  case LVHD_VM_E_HD_IMAGE_ACCESS:
    return exam->mem.count > MEM_NOTE || (what & EXAM_CHANGE) != 0;
  case LVHD_VM_E_WRONG_HD_IMAGE_TYPE:
  case LVHD_VM_E_PARENT_MODIFIED:
  case LVHD_VM_E_IMAGE_SIZE_TOO_SMALL:
  case LVHD_VM_E_IMAGE_SIZE_TOO_LARGE:
  case LVHD_VM_E_FILE_TOO_LARGE_FOR_VOLUME:
  case LVHD_E_DISK_FULL:
  case LVHD_E_BUFFER_OVERFLOW:
  case LVHD_E_INVALID_NAME:
    return (what & EXAM_CHANGE) != 0;
  case LVHD_E_PATH_NOT_FOUND:
  case LVHD_E_ACCESSDENIED:
  case LVHD_VM_E_INVALID_HD_FILE:
  case LVHD_VM_E_PARENT_PATH_NOT_FOUND:
  case LVHD_VM_E_PARENT_CHILD_ID_MISMATCH:
  case LVHD_VM_E_HD_IMAGE_OPEN_FAIL:
    return true;
  case LVHD_DISP_E_EXCEPTION:
    return (what & EXAM_CUT) != 0;
  case LVHD_E_OUTOFMEMORY:
    return (what & EXAM_POOR) != 0;
  default:
    return false;
  }
}

void exam_error(struct exam *exam, const char *of, int code,
                const struct lvhd_error *err, unsigned what) {
  char text[600];
  if (err->code != code)
    exam_wrong(exam, "%s: code %d, but the error says %d", of, code,
               err->code);
  if (!is_expected(exam, code, what))
    exam_wrong(exam, "%s: %s (%s) is not what bytes may lead to", of,
               lvhd_code_name(code),
               err->reason ? lvhd_reason_name(err->reason) : "no reason");
  if (err->reason != 0 && lvhd_reason_name(err->reason) == NULL)
    exam_wrong(exam, "%s: reason %d has no name", of, err->reason);
  if (lvhd_error_text(err, text, sizeof text) <= 0)
    exam_wrong(exam, "%s: no text", of);
  if (code == LVHD_VM_E_INVALID_HD_FILE && err->reason == 0)
    exam_wrong(exam, "%s: VM_E_INVALID_HD_FILE without a reason", of);
}

/* ---- infos ----------------------------------------------------------- */

static void look_at_text(struct exam *exam, const char *text,
                         const char *what) {
  if (text != NULL && lv_utf8_check(text, strlen(text)) != strlen(text))
    exam_wrong(exam, "info: %s is no UTF-8", what);
}

static void look_at_locators(struct exam *exam,
                             const struct lvhd_info *info) {
  unsigned bytes = 0;
  if (info->locator_count > 8)
    exam_wrong(exam, "info: %zu locators", info->locator_count);
  for (size_t i = 0; i < info->locator_count; i++) {
    const struct lvhd_locator *l = &info->locators[i];
    look_at_text(exam, l->path, "a locator");
    if (memchr(l->code, '\0', sizeof l->code) == NULL)
      exam_wrong(exam, "info: a code without an end");
    for (size_t k = 0; l->raw != NULL && k < l->raw_length; k++)
      bytes += l->raw[k]; /* a sanitizer sees what is not there */
  }
  if (bytes > 8u * 4096 * 255) /* so that the sum is used */
    exam_wrong(exam, "info: locators of %u", bytes);
}

/* What open leaves to the check: what no read needs, and blocks that cannot be
 * what they are said to be, which fail when they are read. */
static bool is_bearable(int reason) {
  switch (reason) {
  case LV_R_COPY_MISSING:
  case LV_R_COPY_DAMAGED:
  case LV_R_FOOTERS_DIFFER:
  case LV_R_LOCATOR_OUTSIDE:
  case LV_R_LOCATOR_OVERLAP:
  case LV_R_BAT_OVERLAP:
  case LV_R_BLOCK_OUTSIDE:
  case LV_R_BLOCK_OVERLAP:
  case LV_R_BLOCK_ON_METADATA:
  case LV_R_DATA_UNDER_CLEAR_BIT:
  case LV_R_FIXED_LENGTH: /* longer than it should be */
  case LV_R_PARENT_SIZE:
  case LV_R_TAP_VERSION: /* XenServer's own */
    return true;
  default:
    return false;
  }
}

static unsigned look_at_info(struct exam *exam,
                             const struct lvhd_info *info, unsigned what) {
  unsigned errors = 0;
  if (info->type < LVHD_FIXED || info->type > LVHD_DIFFERENCING)
    exam_wrong(exam, "info: type %d", (int)info->type);
  if (info->size == 0 || info->size % 512 != 0)
    exam_wrong(exam, "info: size %" PRIu64, info->size);
  if ((info->type == LVHD_DIFFERENCING) != info->has_parent)
    exam_wrong(exam, "info: has_parent");
  if (info->blocks_used > info->blocks)
    exam_wrong(exam, "info: %" PRIu32 " of %" PRIu32 " blocks",
               info->blocks_used, info->blocks);
  if (info->path == NULL)
    exam_wrong(exam, "info: no path");
  look_at_text(exam, info->path, "the path");
  look_at_text(exam, info->parent_name, "the parent's name");
  look_at_locators(exam, info);
  for (size_t i = 0; i < info->finding_count; i++) {
    const struct lvhd_finding *f = &info->findings[i];
    if (f->reason == 0 || lvhd_reason_name(f->reason) == NULL)
      exam_wrong(exam, "a finding without a name: %d", f->reason);
    if (f->severity == LVHD_ERROR && errors++ == 0 && exam->errors == 0)
      exam->first_error = f->reason;
    if (f->severity == LVHD_ERROR &&
        (f->reason == LV_R_BLOCK_OUTSIDE || f->reason == LV_R_BLOCK_OVERLAP ||
         f->reason == LV_R_BLOCK_ON_METADATA || f->reason == LV_R_BAT_OVERLAP))
      exam->unsound = true;
    if (f->severity == LVHD_ERROR && !is_bearable(f->reason))
      exam->unbearable = f->reason;
    if (f->reason == LV_R_FOOTER_COPY_USED || f->reason == LV_R_FOOTER_SHORT)
      exam->recovered = true;
  }
  /* check tells of a file without a good header what the footer says. */
  if (info->type == LVHD_FIXED ? info->block_size != 0
                               : info->block_size == 0 && errors == 0)
    exam_wrong(exam, "info: block size %" PRIu32, info->block_size);
  if (info->error != NULL)
    exam_error(exam, "info->error", info->error->code, info->error, what);
  return errors + (info->error != NULL);
}

static void exam_info(struct exam *exam, lvhd_engine *engine,
                      unsigned what) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_infos *infos = NULL;
  exam->info = lvhd_read_info(engine, mem_paths[0], &infos, &err);
  if (exam->info != 0) {
    exam_error(exam, "info", exam->info, &err, what);
  } else if (lvhd_infos_count(infos) != 1) {
    exam_wrong(exam, "info: %zu infos", lvhd_infos_count(infos));
  } else {
    look_at_info(exam, lvhd_infos_at(infos, 0), what);
    exam->info_findings =
      (unsigned)lvhd_infos_at(infos, 0)->finding_count;
  }
  lvhd_infos_free(infos);
  lvhd_error_clear(&err);
}

static void exam_chain(struct exam *exam, lvhd_engine *engine,
                       const struct lvhd_open_options *opts, unsigned what) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_infos *infos = NULL;
  size_t n = 0;
  exam->chain = lvhd_read_chain(engine, mem_paths[0], opts, &infos, &err);
  if (exam->chain != 0)
    exam_error(exam, "chain", exam->chain, &err, what);
  else
    n = lvhd_infos_count(infos);
  if (exam->chain == 0 && (n == 0 || n > MEM_DISKS))
    exam_wrong(exam, "chain: %zu infos", n);
  for (size_t i = 0; i < n; i++) {
    const struct lvhd_info *info = lvhd_infos_at(infos, i);
    look_at_info(exam, info, what);
    if (i + 1 < n && (!info->has_parent || info->error != NULL))
      exam_wrong(exam, "chain: it goes on behind layer %zu", i + 1);
    if (i + 1 == n && info->has_parent && info->error == NULL)
      exam_wrong(exam, "chain: it ends without a word");
    if (info->error != NULL && exam->chain == 0)
      exam->chain = info->error->code;
  }
  lvhd_infos_free(infos);
  lvhd_error_clear(&err);
}

/* ---- reading --------------------------------------------------------- */

struct reading {
  struct exam *exam;
  lvhd_disk *disk;
  unsigned what;
  struct plain plain;
  uint8_t *buf; /* MIB: the exam's */
  size_t left;  /* bytes that may still be read */
  unsigned compared;
};

static bool read_at(struct reading *r, uint8_t *buf, size_t n,
                    uint64_t offset) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  uint64_t size = lvhd_disk_size(r->disk);
  uint64_t want = offset >= size ? 0 : size - offset < n ? size - offset : n;
  size_t got = SIZE_MAX;
  int code = lvhd_disk_read(r->disk, buf, n, offset, &got, &err);
  if (code == 0 && got != want)
    exam_wrong(r->exam, "read: %zu bytes at %" PRIu64 " gave %zu", n, offset,
               got);
  if (code != 0) {
    exam_error(r->exam, "read", code, &err, r->what);
    if (r->exam->read == 0)
      r->exam->read = code;
  }
  lvhd_error_clear(&err);
  return code == 0;
}

static void compare(struct reading *r, const uint8_t *buf, size_t n,
                    uint64_t offset) {
  uint8_t sector[512];
  if ((r->what & (EXAM_CUT | EXAM_POOR)) != 0 ||
      r->exam->mem.count > MEM_NOTE) /* whose bytes plain does not know */
    return;
  for (size_t i = 0; i + 512 <= n && r->compared < COMPARE_MAX; i += 512) {
    r->compared++;
    if (!plain_sector(&r->plain, (offset + i) / 512, sector))
      exam_wrong(r->exam, "read: sector %" PRIu64 " cannot be there",
                 (offset + i) / 512);
    else if (memcmp(buf + i, sector, 512) != 0)
      exam_wrong(r->exam, "read: sector %" PRIu64 " differs",
                 (offset + i) / 512);
  }
}

static void read_extent(struct reading *r, const struct lvhd_extent *e) {
  size_t n = e->length < PIECE_MAX ? (size_t)e->length : PIECE_MAX;
  if (r->left < n)
    return;
  r->left -= n;
  if (!read_at(r, r->buf, n, e->offset))
    return;
  compare(r, r->buf, n, e->offset);
  if (e->layer == 0 &&
      (r->buf[0] != 0 || memcmp(r->buf, r->buf + 1, n - 1) != 0))
    exam_wrong(r->exam, "extents: layer 0 is not zero at %" PRIu64, e->offset);
}

static void read_extents(struct reading *r) {
  uint64_t size = lvhd_disk_size(r->disk);
  uint64_t at = 0;
  uint64_t stop = r->exam->mem.bytes_read + TABLE_MAX;
  for (unsigned calls = 0; at < size && calls < EXTENTS_MAX &&
                           r->exam->mem.bytes_read < stop;
       calls++) {
    struct lvhd_error err = LVHD_ERROR_INIT;
    struct lvhd_extent e = {0};
    int code = lvhd_disk_extent(r->disk, at, size, &e, &err);
    if (code != 0) {
      exam_error(r->exam, "extent", code, &err, r->what);
      lvhd_error_clear(&err);
      if (r->exam->read == 0)
        r->exam->read = code;
      return;
    }
    if (e.offset != at || e.length == 0 || e.length > size - at ||
        e.length % 512 != 0 || e.layer > r->plain.count) {
      exam_wrong(r->exam,
                 "extents: %" PRIu64 "+%" PRIu64 " layer %u at %" PRIu64,
                 e.offset, e.length, e.layer, at);
      return;
    }
    read_extent(r, &e);
    at += e.length;
  }
}

/* The same bytes, whichever way they are cut. */
static void read_ends(struct reading *r) {
  uint64_t size = lvhd_disk_size(r->disk);
  uint64_t last = size > MIB ? size - MIB : 0;
  uint8_t odd[1000];
  if (read_at(r, r->buf, MIB, last)) {
    compare(r, r->buf, size < MIB ? (size_t)size : MIB, last);
  }
  if (read_at(r, r->buf, MIB, 0)) {
    size_t n = size < 1003 ? (size_t)size - 3 : sizeof odd;
    compare(r, r->buf, size < MIB ? (size_t)size : MIB, 0);
    if (read_at(r, odd, sizeof odd, 3) && (r->what & EXAM_CUT) == 0 &&
        memcmp(odd, r->buf + 3, n) != 0)
      exam_wrong(r->exam, "read: odd pieces differ");
  }
  read_at(r, odd, sizeof odd, size - 1);
  read_at(r, odd, sizeof odd, size);
  read_at(r, odd, 1, UINT64_MAX);
  read_at(r, odd, 0, 0);
}

static void read_files(struct reading *r) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_infos *infos = NULL;
  int code = lvhd_disk_chain(r->disk, &infos, &err);
  if (code != 0) {
    exam_error(r->exam, "disk chain", code, &err, r->what);
    lvhd_error_clear(&err);
    return;
  }
  for (size_t i = 0; i < lvhd_infos_count(infos); i++) {
    const struct lvhd_info *info = lvhd_infos_at(infos, i);
    const struct mem_file *file = mem_at(&r->exam->mem, info->path);
    look_at_info(r->exam, info, r->what);
    if (file == NULL || r->plain.count == MEM_DISKS)
      exam_wrong(r->exam, "disk chain: %s, %zu files", info->path,
                 r->plain.count);
    else
      plain_add(&r->plain, file);
  }
  lvhd_infos_free(infos);
}

static void exam_read(struct exam *exam, lvhd_engine *engine,
                      const struct lvhd_open_options *opts, unsigned what) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct reading r = {.exam = exam, .what = what, .left = READ_MAX};
  r.buf = exam->buf;
  exam->open =
    lvhd_disk_open(engine, &mem_paths[0], 1, opts, &r.disk, &err);
  exam->reason = err.reason;
  if (exam->open != 0) {
    exam_error(exam, "open", exam->open, &err, what);
    lvhd_error_clear(&err);
    return;
  }
  if ((what & EXAM_OPEN) != 0) {
    lvhd_disk_close(r.disk);
    return;
  }
  read_files(&r);
  if ((what & EXAM_POOR) != 0)
    r.plain.count = MEM_DISKS;
  read_extents(&r);
  read_ends(&r);
  lvhd_disk_close(r.disk);
}

/* ---- checking -------------------------------------------------------- */

static void look_at_checked(struct exam *exam, lvhd_task *task,
                            unsigned what) {
  const struct lvhd_error *err = NULL;
  const lvhd_infos *infos = NULL;
  while (!lvhd_task_step(task, 1000, NULL))
    ;
  err = lvhd_task_error(task);
  if (err != NULL) {
    exam->check = err->code;
    exam_error(exam, "check", err->code, err, what);
    return;
  }
  infos = lvhd_task_infos(task);
  if (infos == NULL || lvhd_infos_count(infos) == 0)
    exam_wrong(exam, "check: no result");
  for (size_t i = 0; infos != NULL && i < lvhd_infos_count(infos); i++) {
    const struct lvhd_info *info = lvhd_infos_at(infos, i);
    exam->errors += look_at_info(exam, info, what);
    exam->findings += (unsigned)info->finding_count;
  }
}

static void check_one(struct exam *exam, lvhd_engine *engine,
                      const char *path,
                      const struct lvhd_check_options *check,
                      unsigned what) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_task *task = NULL;
  exam->check = lvhd_check(engine, path, check, &task, &err);
  if (exam->check == 0)
    look_at_checked(exam, task, what);
  else
    exam_error(exam, "check", exam->check, &err, what);
  lvhd_error_clear(&err);
  lvhd_task_free(task);
}

static void exam_check(struct exam *exam, lvhd_engine *engine,
                       const struct lvhd_open_options *opts, unsigned what,
                       uint8_t flags) {
  struct lvhd_check_options check = {.open = *opts,
                                     .chain = (flags & MEM_CHAIN) != 0,
                                     .data = (flags & MEM_DATA) != 0};
  check.profile =
    (enum lvhd_profile)(flags / MEM_PROFILE % (LVHD_PROFILE_7ZIP + 1));
  check_one(exam, engine, mem_paths[0], &check, what);
}

int exam_check_errors(struct exam *exam, lvhd_engine *engine,
                      const char *path, const struct lvhd_open_options *opts,
                      bool chain) {
  struct lvhd_check_options check = {
    .open = *opts, .chain = chain, .data = true};
  exam->errors = exam->findings = 0;
  exam->first_error = 0;
  exam->unsound = false;
  check_one(exam, engine, path, &check, EXAM_CHANGE);
  return exam->check != 0 ? -1 : (int)exam->errors;
}

/* A check of the whole chain that finds nothing wrong promises reading. */
static void hold_together(struct exam *exam, unsigned what, uint8_t flags) {
  const unsigned both = EXAM_READ | EXAM_CHECK;
  if ((what & both) != both || (what & (EXAM_CUT | EXAM_POOR)) != 0)
    return;
  if (exam->mem.count > MEM_NOTE && exam->open == LVHD_E_SHARING_VIOLATION)
    return; /* a merge that is under way: reading waits for its end */
  if (exam->open != 0 && exam->check == 0 && exam->errors == 0 &&
      (flags & MEM_CHAIN) != 0)
    exam_wrong(exam, "check finds no error, but open says %s",
               lvhd_code_name(exam->open));
  if (exam->open == 0 && exam->read != 0 && exam->check == 0 &&
      exam->errors == 0 && (flags & MEM_CHAIN) != 0)
    exam_wrong(exam, "check finds no error, but reading says %s",
               lvhd_code_name(exam->read));
  if (exam->open == 0 && exam->check != 0)
    exam_wrong(exam, "it opens, but check fails with %s",
               lvhd_code_name(exam->check));
  if (exam->open == 0 && exam->unbearable != 0 && /* of no profile */
      flags / MEM_PROFILE % (LVHD_PROFILE_7ZIP + 1) == 0)
    exam_wrong(exam, "it opens, and check finds %s",
               lvhd_reason_name(exam->unbearable));
  if ((what & EXAM_INFO) != 0 && exam->open == 0 && exam->info != 0)
    exam_wrong(exam, "it opens, but info fails with %s",
               lvhd_code_name(exam->info));
}

void examine(struct exam *exam, unsigned what, uint8_t flags) {
  static const char *const parents[] = {"/x"};
  struct lvhd_open_options opts = {.has_parents = true};
  lvhd_engine *engine = exam->engines[exam->mem.no_openat2];
  if (exam->mem.outside) {
    opts.parents = parents;
    opts.parent_count = 1;
  }
  exam->info = exam->chain = exam->open = exam->read = exam->check = 0;
  exam->reason = exam->first_error = 0;
  exam->info_findings = exam->findings = exam->errors = 0;
  exam->unbearable = 0;
  exam->recovered = false;
  exam->wrong[0] = '\0';
  exam->mem.trapped = NULL;
  exam->mem.preads = 0;
  if ((what & EXAM_INFO) != 0)
    exam_info(exam, engine, what);
  if ((what & EXAM_CHAIN) != 0)
    exam_chain(exam, engine, &opts, what);
  if ((what & EXAM_READ) != 0)
    exam_read(exam, engine, &opts, what);
  if ((what & EXAM_CHECK) != 0)
    exam_check(exam, engine, &opts, what, flags);
  hold_together(exam, what, flags);
  if (exam->mem.trapped != NULL)
    exam_wrong(exam, "%s was opened", exam->mem.trapped);
  if (mem_open(&exam->mem) != 0)
    exam_wrong(exam, "%u descriptors left", mem_open(&exam->mem));
}
