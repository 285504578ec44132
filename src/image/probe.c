/* SPDX-License-Identifier: MIT
 *
 * Reading footer and header of an untrusted file.  Every number is checked
 * before it is multiplied or seeked with; nothing is allocated by size.
 */
#include "image/probe.h"

#include <string.h>

#include "format/plan.h"

static int invalid(struct lvhd_error *err, enum lv_reason reason,
                   const struct lvhd_finding *bad, uint64_t base) {
  int code = lv_fail(err, LVHD_VM_E_INVALID_HD_FILE, reason);
  if (err && bad) {
    err->has = bad->has;
    err->expected = bad->expected;
    err->actual = bad->actual;
    err->offset = base + bad->offset;
  }
  return code;
}

/* The footer stands in the last 512 bytes, or, in files of before Virtual PC
 * 2004, in the last 511 with its final reserved byte missing. */
static int read_footer(struct lv_probe *probe, enum lvhd_footer *where,
                       const struct lv_file *file, const struct lv_env *env,
                       struct lvhd_error *err) {
  uint8_t bytes[LV_FOOTER_SIZE] = {0};
  struct lvhd_finding bad = {0};
  uint64_t length = (uint64_t)file->st.st_size;
  bool is_short = length % LV_SECTOR == LV_FOOTER_SIZE - 1;
  size_t n = is_short ? LV_FOOTER_SIZE - 1 : LV_FOOTER_SIZE;
  enum lv_reason reason = LV_R_FOOTER_MISSING;
  *where = is_short ? LVHD_FOOTER_SHORT : LVHD_FOOTER_END;
  int code = 0;
  if (length < n)
    return invalid(err, reason, NULL, 0);
  code = lv_file_read(file, env, bytes, n, length - n, err);
  if (code != 0)
    return code;
  reason = lv_footer_decode(&probe->footer, bytes, &bad);
  if (reason != LV_R_NONE)
    return invalid(err, reason, &bad, length - n);
  if (probe->footer.type == LVHD_FIXED &&
      probe->footer.current_size > length - n)
    return lv_fail_range(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_FIXED_LENGTH,
                         probe->footer.current_size + n, length);
  return 0;
}

static int check_table(const struct lv_probe *probe, uint64_t length,
                       struct lvhd_error *err) {
  const struct lv_header *header = &probe->header;
  uint64_t size = probe->footer.current_size;
  uint64_t table = (uint64_t)header->entries * 4;
  uint64_t needed = lv_block_count(size, header->block_size);
  if (header->entries < needed)
    return lv_fail_range(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_BAT_TOO_SMALL,
                         needed, header->entries);
  if (header->table_offset > length || table > length - header->table_offset)
    return lv_fail_range(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_BAT_OUTSIDE,
                         length, header->table_offset);
  return 0;
}

static int read_header(struct lv_probe *probe, const struct lv_file *file,
                       const struct lv_env *env, struct lvhd_error *err) {
  uint8_t bytes[LV_HEADER_SIZE];
  struct lvhd_finding bad = {0};
  uint64_t length = (uint64_t)file->st.st_size;
  uint64_t at = probe->footer.data_offset;
  enum lv_reason reason = LV_R_HEADER_MISSING;
  int code = 0;
  if (length < LV_HEADER_SIZE || at > length - LV_HEADER_SIZE)
    return invalid(err, reason, NULL, 0);
  code = lv_file_read(file, env, bytes, sizeof bytes, at, err);
  if (code != 0)
    return code;
  reason = lv_header_decode(&probe->header, bytes, &bad);
  if (reason != LV_R_NONE)
    return invalid(err, reason, &bad, at);
  return check_table(probe, length, err);
}

int lv_probe(struct lv_probe *probe, const struct lv_file *file,
             const struct lv_env *env, struct lvhd_error *err) {
  enum lvhd_footer where;
  int code = read_footer(probe, &where, file, env, err);
  if (code == 0 && probe->footer.type != LVHD_FIXED)
    code = read_header(probe, file, env, err);
  return code;
}

/* A fixed disk has no copy: what looks like one is data of the guest. */
static int read_copy(struct lv_probe *probe, bool *good,
                     const struct lv_file *file, const struct lv_env *env,
                     struct lvhd_error *err) {
  uint8_t bytes[LV_FOOTER_SIZE];
  int code = 0;
  *good = false;
  if (file->st.st_size < LV_FOOTER_SIZE)
    return 0;
  code = lv_file_read(file, env, bytes, sizeof bytes, 0, err);
  *good = code == 0 &&
          lv_footer_decode(&probe->footer, bytes, NULL) == LV_R_NONE &&
          probe->footer.type != LVHD_FIXED;
  return code;
}

int lv_probe_any(struct lv_probe *probe, enum lvhd_footer *where,
                 const struct lv_file *file, const struct lv_env *env,
                 struct lvhd_error *err) {
  struct lvhd_error at_end = LVHD_ERROR_INIT;
  bool good = false;
  int code = 0, copy = 0;
  memset(probe, 0, sizeof *probe);
  code = read_footer(probe, where, file, env, &at_end);
  if (at_end.reason == LV_R_FOOTER_MISSING ||
      at_end.reason == LV_R_FOOTER_CHECKSUM)
    copy = read_copy(probe, &good, file, env, err);
  if (copy != 0) { /* what is there may be good */
    lvhd_error_clear(&at_end);
    return copy;
  }
  if (good) {
    *where = LVHD_FOOTER_COPY;
    code = 0;
  }
  if (code != 0 && err) {
    lvhd_error_clear(err);
    *err = at_end;
  }
  if (code == 0 && probe->footer.type != LVHD_FIXED)
    code = read_header(probe, file, env, err);
  return code;
}
