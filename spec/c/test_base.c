/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/base: errors and their texts, the errno table, UTF,
 * paths as text, identifiers.  Touches no disk.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/path.h"
#include "base/utf.h"
#include "base/uuid.h"
#include "check.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- errors ---------------------------------------------------------- */

static void test_codes(void) {
  int i, j;

  CHECK_STR(lvhd_code_name(LVHD_S_OK), "S_OK");
  CHECK_STR(lvhd_code_name(LVHD_E_ALREADY_EXISTS), "E_ALREADY_EXISTS");
  CHECK_INT(lvhd_code_hresult(LVHD_E_ALREADY_EXISTS), 0x800700B7u);
  CHECK_STR(lvhd_code_text(LVHD_E_ALREADY_EXISTS), "the file exists");
  CHECK_STR(lvhd_code_name(LVHD_VM_E_OTHER_VIRTUALIZATION_SOFTWARE),
            "VM_E_OTHER_VIRTUALIZATION_SOFTWARE");
  CHECK_STR(lvhd_code_name(-1), NULL);
  CHECK_STR(lvhd_code_name(LVHD_CODES), NULL);
  CHECK_STR(lvhd_code_text(LVHD_CODES), NULL);
  CHECK_INT(lvhd_code_hresult(-1), 0);
  CHECK_INT(lvhd_code_hresult(LVHD_CODES), 0);
  for (i = 0; i < LVHD_CODES; i++)
    for (j = 0; j < i; j++) {
      CHECK(lvhd_code_hresult(i) != lvhd_code_hresult(j));
      CHECK(strcmp(lvhd_code_name(i), lvhd_code_name(j)) != 0);
    }
}

static void test_reasons(void) {
  int i;

  CHECK_STR(lvhd_reason_name(LV_R_FOLDER_MISSING), "FOLDER_MISSING");
  CHECK_STR(lvhd_reason_windows(LV_R_FOLDER_MISSING), "ERROR_PATH_NOT_FOUND");
  CHECK_STR(lvhd_reason_text(LV_R_FOLDER_MISSING),
            "a folder of the path does not exist");
  CHECK_STR(lvhd_reason_windows(LV_R_LOCATOR_LEFT_OUT), "");
  CHECK_STR(lvhd_reason_name(LV_R_FORKED), "FORKED");
  CHECK_STR(lvhd_reason_name(LV_R_NONE), NULL);
  CHECK_STR(lvhd_reason_windows(LV_R_NONE), NULL);
  CHECK_STR(lvhd_reason_text(LV_R_NONE), NULL);
  CHECK_STR(lvhd_reason_name(-1), NULL);
  CHECK_STR(lvhd_reason_name(LV_REASONS), NULL);
  for (i = LV_R_NONE + 1; i < LV_REASONS; i++)
    CHECK(lvhd_reason_name(i) != NULL && lvhd_reason_text(i)[0] != '\0');
  CHECK_STR(lvhd_errno_name(EACCES), "EACCES");
  CHECK_STR(lvhd_errno_name(EAGAIN), "EAGAIN");
  CHECK_STR(lvhd_errno_name(4095), NULL);
}

static void test_error_fills(void) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  char path[] = "/a/b.vhd";

  lvhd_error_clear(NULL);
  CHECK_INT(lv_fail(NULL, LVHD_E_FAIL, LV_R_NONE), LVHD_E_FAIL);
  CHECK_INT(lv_fail_range(NULL, LVHD_E_FAIL, LV_R_NONE, 1, 2), LVHD_E_FAIL);
  CHECK_INT(lv_fail_errno(NULL, LV_STEP_FILE, EIO, "pread"),
            LVHD_DISP_E_EXCEPTION);
  lv_error_path(NULL, "x");
  lv_error_parent(NULL, "x");
  lv_error_other(NULL, "x");

  CHECK_INT(lv_fail_range(&err, LVHD_E_DISK_FULL, LV_R_VOLUME_FULL, 7, 8),
            LVHD_E_DISK_FULL);
  lv_error_path(&err, path);
  lv_error_parent(&err, "/p.vhd");
  path[1] = 'x';
  CHECK_STR(err.path, "/a/b.vhd");
  CHECK_STR(err.parent, "/p.vhd");
  CHECK_INT(err.code, LVHD_E_DISK_FULL);
  CHECK_INT(err.reason, LV_R_VOLUME_FULL);
  CHECK_INT(err.has, LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL);
  CHECK_INT(err.expected, 7);
  CHECK_INT(err.actual, 8);
  lv_error_path(&err, err.path);
  CHECK_STR(err.path, "/a/b.vhd");
  lv_error_path(&err, NULL);
  CHECK_STR(err.path, NULL);
  lv_error_path(&err, "/again");

  CHECK_INT(lv_fail_errno(&err, LV_STEP_OTHER, EIO, "fsync"),
            LVHD_DISP_E_EXCEPTION);
  CHECK_STR(err.path, NULL);
  CHECK_STR(err.parent, NULL);
  CHECK_INT(err.has, 0);
  CHECK_INT(err.reason, 0);
  CHECK_INT(err.errnum, EIO);
  CHECK_STR(err.syscall, "fsync");
  err.op = "create_fixed";
  lv_error_path(&err, "/leaks/unless/cleared");
  lvhd_error_clear(&err);
  CHECK_INT(err.code, 0);
  CHECK_STR(err.op, NULL);
  CHECK_STR(err.syscall, NULL);
  CHECK_STR(err.path, NULL);
}

/* ---- errno x step ---------------------------------------------------- */

#define E(code) LVHD_##code
#define R(reason) LV_R_##reason

/* Every errno of the table, and some that are not in it, with what each of
 * the steps folder, file, create and other makes of it. */
static const struct {
  int errnum;
  struct {
    int code, reason;
  } want[4];
} errno_rows[] = {
#define SAME(errnum, code, reason)                                           \
  {errnum, {{code, reason}, {code, reason}, {code, reason},                  \
            {E(DISP_E_EXCEPTION), R(NONE)}}}
#define FILE_ONLY(errnum, code, reason)                                      \
  {errnum, {{E(DISP_E_EXCEPTION), R(NONE)}, {code, reason},                  \
            {E(DISP_E_EXCEPTION), R(NONE)}, {E(DISP_E_EXCEPTION), R(NONE)}}}
#define ANYWHERE(errnum, code)                                               \
  {errnum, {{code, R(NONE)}, {code, R(NONE)}, {code, R(NONE)},               \
            {code, R(NONE)}}}
  SAME(EACCES, E(E_ACCESSDENIED), R(NONE)),
  SAME(EPERM, E(E_ACCESSDENIED), R(NONE)),
  SAME(EROFS, E(E_ACCESSDENIED), R(NONE)),
  {ENOENT, {{E(E_PATH_NOT_FOUND), R(FOLDER_MISSING)},
            {E(E_PATH_NOT_FOUND), R(FILE_MISSING)},
            {E(E_PATH_NOT_FOUND), R(FOLDER_MISSING)},
            {E(DISP_E_EXCEPTION), R(NONE)}}},
  SAME(ENOTDIR, E(E_PATH_NOT_FOUND), R(NOT_A_FOLDER)),
  SAME(ELOOP, E(E_PATH_NOT_FOUND), R(NOT_A_FOLDER)),
  SAME(ENAMETOOLONG, E(E_BUFFER_OVERFLOW), R(NONE)),
  SAME(EEXIST, E(E_ALREADY_EXISTS), R(NONE)),
  SAME(ENOSPC, E(E_DISK_FULL), R(NONE)),
  SAME(EDQUOT, E(E_DISK_FULL), R(NONE)),
  SAME(EFBIG, E(VM_E_FILE_TOO_LARGE_FOR_VOLUME), R(NONE)),
  FILE_ONLY(EISDIR, E(VM_E_INVALID_HD_FILE), R(NOT_REGULAR)),
  FILE_ONLY(ENXIO, E(VM_E_INVALID_HD_FILE), R(NOT_REGULAR)),
  SAME(EBUSY, E(E_SHARING_VIOLATION), R(NONE)),
  SAME(ETXTBSY, E(E_SHARING_VIOLATION), R(NONE)),
  FILE_ONLY(EAGAIN, E(E_SHARING_VIOLATION), R(IN_USE)),
  ANYWHERE(EMFILE, E(VM_E_OUT_OF_RESOURCE)),
  ANYWHERE(ENFILE, E(VM_E_OUT_OF_RESOURCE)),
  ANYWHERE(ENOMEM, E(E_OUTOFMEMORY)),
  ANYWHERE(EIO, E(DISP_E_EXCEPTION)),
  ANYWHERE(EINVAL, E(DISP_E_EXCEPTION)),
  ANYWHERE(EBADF, E(DISP_E_EXCEPTION)),
  ANYWHERE(ENODEV, E(DISP_E_EXCEPTION)),
  ANYWHERE(4095, E(DISP_E_EXCEPTION)),
};

static void test_errno_table(void) {
  static const enum lv_step steps[] = {LV_STEP_FOLDER, LV_STEP_FILE,
                                       LV_STEP_CREATE, LV_STEP_OTHER};
  struct lvhd_error err = LVHD_ERROR_INIT;
  size_t i, j;

  for (i = 0; i < COUNT(errno_rows); i++)
    for (j = 0; j < COUNT(steps); j++) {
      int code = lv_fail_errno(&err, steps[j], errno_rows[i].errnum, "call");
      unsigned failed = check_failed;
      CHECK_INT(code, errno_rows[i].want[j].code);
      CHECK_INT(err.code, errno_rows[i].want[j].code);
      CHECK_INT(err.reason, errno_rows[i].want[j].reason);
      CHECK_INT(err.errnum, errno_rows[i].errnum);
      CHECK_STR(err.syscall, "call");
      if (check_failed != failed)
        fprintf(stderr, "  errno %d, step %zu\n", errno_rows[i].errnum, j);
    }
}

/* ---- texts ----------------------------------------------------------- */

static const struct {
  struct lvhd_error err;
  const char *text;
} texts[] = {
#define HAS_E LVHD_HAS_EXPECTED
#define HAS_A LVHD_HAS_ACTUAL
#define HAS_O LVHD_HAS_OFFSET
  {{.code = E(E_ALREADY_EXISTS)}, "the file exists"},
  {{.code = E(E_PATH_NOT_FOUND), .reason = R(FILE_MISSING)},
   "the file does not exist"},
  {{.code = E(E_INVALIDARG), .reason = R(SIZE_UNALIGNED), .has = HAS_A,
    .actual = 1000},
   "the size is not a multiple of 512 bytes: 1000"},
  {{.code = E(E_DISK_FULL), .reason = R(VOLUME_FULL), .has = HAS_E | HAS_A,
    .expected = 8388608, .actual = 4096},
   "too few bytes are free on the volume: at least 8388608 needed, "
   "4096 found"},
  {{.code = E(E_BUFFER_OVERFLOW), .reason = R(LOCATOR_TOO_LONG),
    .has = HAS_E | HAS_A, .expected = 1022, .actual = 1024},
   "the relative path to the parent does not fit its locator: "
   "at most 1022 allowed, 1024 found"},
  {{.code = E(VM_E_IMAGE_SIZE_TOO_LARGE), .reason = R(SIZE_LIMIT),
    .has = HAS_E | HAS_A, .expected = 5, .actual = 5},
   "the size is beyond the limit: less than 5 allowed, 5 found"},
  {{.code = E(E_INVALIDARG), .reason = R(SIZE_NOT_POSITIVE), .has = HAS_A,
    .actual = (uint64_t)-5},
   "the size is not positive: -5"},
  {{.code = E(E_INVALIDARG), .reason = R(TIMESTAMP_RANGE),
    .has = HAS_E | HAS_A, .expected = 946684800, .actual = (uint64_t)-1},
   "the format cannot hold the timestamp: at least 946684800 needed, "
   "-1 found"},
  {{.code = E(E_INVALIDARG), .reason = R(BLOCK_SIZE), .has = HAS_E | HAS_A,
    .expected = 2097152, .actual = 524288},
   "the block size is neither 2 MiB, 512 KiB nor the parent's: "
   "2097152 expected, 524288 found"},
  {{.code = E(VM_E_INVALID_HD_FILE), .reason = R(FOOTER_CHECKSUM),
    .has = HAS_E | HAS_A | HAS_O, .expected = 0xFFFFF071u, .actual = 0,
    .offset = 64},
   "the checksum of the footer is wrong: 0xFFFFF071 expected, 0x00 found, "
   "at byte 64"},
  {{.code = E(E_INVALID_NAME), .reason = R(CHARACTER_FORBIDDEN),
    .has = HAS_A | HAS_O, .actual = '?', .offset = 3},
   "the path contains a forbidden character: 0x3F, at byte 3"},
  {{.code = E(E_INVALID_NAME), .reason = R(NOT_UTF8), .has = HAS_O},
   "the path is not valid UTF-8: at byte 0"},
  {{.code = E(VM_E_IMAGE_SIZE_TOO_SMALL), .has = HAS_E, .expected = 3},
   "the virtual hard disk would be too small: 3 expected"},
  {{.code = E(VM_E_IMAGE_SIZE_TOO_SMALL), .has = HAS_E | HAS_A,
    .expected = 3, .actual = 1},
   "the virtual hard disk would be too small: at least 3 needed, 1 found"},
  {{.code = E(E_ACCESSDENIED), .errnum = EACCES, .syscall = "mkdirat"},
   "access is denied: mkdirat: Permission denied (EACCES)"},
  {{.code = E(DISP_E_EXCEPTION), .errnum = 4095, .syscall = "pread"},
   "an unexpected error occurred: pread: unknown error 4095"},
  {{.code = E(DISP_E_EXCEPTION), .errnum = EIO},
   "an unexpected error occurred: Input/output error (EIO)"},
  {{.code = E(E_DISK_FULL), .reason = R(VOLUME_FULL), .has = HAS_A,
    .actual = 1, .errnum = ENOSPC, .syscall = "pwritev"},
   "too few bytes are free on the volume: 1"},
  {{.code = E(E_ALREADY_EXISTS), .errnum = EEXIST, .syscall = "linkat"},
   "the file exists"},
  {{.code = E(DISP_E_EXCEPTION), .reason = R(NO_PUBLISH), .errnum = EPERM,
    .syscall = "renameat2"},
   "the volume can neither link a file nor rename it without replacing: "
   "renameat2: Operation not permitted (EPERM)"},
  {{.code = E(E_PATH_NOT_FOUND), .reason = R(FILE_MISSING),
    .has = LVHD_AT_PARENT, .parent = (char[]){"/p"}},
   "the parent '/p': the file does not exist"},
  {{.code = -1}, "unknown error"},
  {{.code = E(E_FAIL), .op = "resize", .path = NULL},
   "the task cannot be cancelled"},
};

static void test_texts(void) {
  char buf[256], small[8];
  size_t i;

  for (i = 0; i < COUNT(texts); i++) {
    size_t n = strlen(texts[i].text);
    CHECK_INT(lvhd_error_text(&texts[i].err, buf, sizeof buf), n);
    CHECK_STR(buf, texts[i].text);
    CHECK_INT(lvhd_error_text(&texts[i].err, NULL, 0), n);
    memset(small, 'x', sizeof small);
    CHECK_INT(lvhd_error_text(&texts[i].err, small, sizeof small), n);
    CHECK(strlen(small) == 7 && memcmp(small, texts[i].text, 7) == 0);
  }
  CHECK_INT(lvhd_error_text(&texts[0].err, small, 1), 15);
  CHECK_STR(small, "");
}

/* Of these the expected value is the only right one, of others a limit. */
static void test_exact(void) {
  static const int exact[] = {
    R(BLOCK_SIZE),  R(FIXED_LENGTH), R(FOOTER_CORRUPT), R(HEADER_CORRUPT),
    R(DISK_TYPE),   R(PARENT_SIZE),  R(PARENT_TIME),    R(SOURCE_CHANGED)};
  struct lvhd_error err = {.code = E(VM_E_INVALID_HD_FILE),
                           .has = HAS_E | HAS_A, .expected = 2, .actual = 1};
  char buf[256];
  for (size_t i = 0; i < COUNT(exact); i++) {
    err.reason = exact[i];
    lvhd_error_text(&err, buf, sizeof buf);
    CHECK(strstr(buf, ": 2 expected, 1 found") != NULL);
  }
  err.reason = R(BAT_OVERLAP);
  lvhd_error_text(&err, buf, sizeof buf);
  CHECK(strstr(buf, ": at least 2 needed, 1 found") != NULL);
}

/* ---- UTF ------------------------------------------------------------- */

static void test_utf8(void) {
  static const struct {
    const char *text;
    size_t n, bad;
  } rows[] = {
    {"", 0, 0},
    {"abc", 3, 3},
    {"a\0b", 3, 3},                      /* NUL is a character */
    {"\xC3\xA9", 2, 2},                  /* U+00E9 */
    {"\xE2\x82\xAC", 3, 3},              /* U+20AC */
    {"\xF0\x9F\x92\xBE", 4, 4},          /* U+1F4BE */
    {"\xED\x9F\xBF\xEE\x80\x80", 6, 6},  /* beside the surrogates */
    {"\xF4\x8F\xBF\xBF", 4, 4},          /* U+10FFFF */
    {"\xEF\xBF\xBF", 3, 3},              /* U+FFFF */
    {"a\x80", 2, 1},                     /* continuation alone */
    {"\xBF", 1, 0},
    {"ab\xC0\x80", 4, 2},                /* overlong NUL */
    {"\xC1\xBF", 2, 0},                  /* overlong U+007F */
    {"\xE0\x9F\xBF", 3, 0},              /* overlong U+07FF */
    {"\xF0\x8F\xBF\xBF", 4, 0},          /* overlong U+FFFF */
    {"\xED\xA0\x80", 3, 0},              /* U+D800 */
    {"\xED\xBF\xBF", 3, 0},              /* U+DFFF */
    {"\xF4\x90\x80\x80", 4, 0},          /* U+110000 */
    {"\xF5\x80\x80\x80", 4, 0},
    {"\xFF", 1, 0},
    {"a\xC3", 2, 1},                     /* cut short */
    {"\xE2\x82", 2, 0},
    {"\xF0\x9F\x92", 3, 0},
    {"\xC3(", 2, 0},
    {"\xE2\x82(", 3, 0},
    {"\xF0\x9F\x92(", 4, 0},
    {"\xDF\xBF", 2, 2},                  /* U+07FF, the last of two bytes */
    {"\xE0\xA0\x80", 3, 3},              /* U+0800, the first of three */
    /* What would be a character, if these began one of so many bytes. */
    {"\xA3\x80", 2, 0},
    {"\xA8\x80\x80", 3, 0},
    {"\x84\x80\x80\x80", 4, 0},
    {"\xF8\x90\x80\x80", 4, 0},
  };
  size_t i;

  for (i = 0; i < COUNT(rows); i++) {
    unsigned failed = check_failed;
    /* A copy of exactly n bytes, so that a sanitizer sees a read past it. */
    char *copy = malloc(rows[i].n > 0 ? rows[i].n : 1);
    if (!CHECK(copy != NULL))
      return;
    memcpy(copy, rows[i].text, rows[i].n);
    CHECK_INT(lv_utf8_check(copy, rows[i].n), rows[i].bad);
    if (check_failed != failed)
      fprintf(stderr, "  row %zu\n", i);
    free(copy);
  }
}

static void test_utf16(void) {
  static const char text[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x92\xBE!";
  static const uint8_t little[] = {'a', 0, 0xE9, 0, 0xAC, 0x20, 0x3D, 0xD8,
                                   0xBE, 0xDC, '!', 0};
  static const uint8_t big[] = {0, 'a', 0, 0xE9, 0x20, 0xAC, 0xD8, 0x3D,
                                0xDC, 0xBE, 0, '!'};
  uint8_t out[16];
  char back[32];
  size_t n = sizeof text - 1;

  CHECK_INT(lv_utf16_units(text, n), 6);
  CHECK_INT(lv_utf16_units("", 0), 0);
  CHECK_INT(lv_utf16_encode(text, n, false, out, sizeof out), 12);
  CHECK_MEM(out, little, sizeof little);
  CHECK_INT(lv_utf16_encode(text, n, true, out, sizeof out), 12);
  CHECK_MEM(out, big, sizeof big);
  CHECK_INT(lv_utf16_decode(little, sizeof little, false, back), n);
  CHECK_STR(back, text);
  CHECK_INT(lv_utf16_decode(big, sizeof big, true, back), n);
  CHECK_STR(back, text);
  /* The extremes of the pairs. */
  CHECK_INT(lv_utf16_encode("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 8, true, out,
                            sizeof out), 8);
  CHECK_MEM(out, "\xD8\x00\xDC\x00\xDB\xFF\xDF\xFF", 8);
  CHECK_INT(lv_utf16_decode(out, 8, true, back), 8);
  CHECK_STR(back, "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF");
  /* Too little room: what fits is written, all of it is counted. */
  memset(out, 0x55, sizeof out);
  CHECK_INT(lv_utf16_encode(text, n, false, out, 5), 12);
  CHECK_MEM(out, little, 4);
  CHECK_INT(out[4], 0x55);
  CHECK_INT(lv_utf16_encode(text, n, false, NULL, 0), 12);
  /* bytes that are no UTF-8, one by one */
  CHECK_INT(lv_utf16_encode("a\xFF\xC3", 3, true, out, sizeof out), 6);
  CHECK_MEM(out, "\0a\xFF\xFD\xFF\xFD", 6);
}

static void test_utf16_sloppy(void) {
  char back[32];

#define DECODE(bytes, want)                                                  \
  do {                                                                       \
    static const uint8_t in[] = bytes;                                       \
    CHECK_INT(lv_utf16_decode(in, sizeof in - 1, true, back),                \
              strlen(want));                                                 \
    CHECK_STR(back, want);                                                   \
  } while (0)
  DECODE("\xD8\x3D", "\xEF\xBF\xBD");              /* high one at the end */
  DECODE("\xD8\x3D\0a", "\xEF\xBF\xBD" "a");       /* high one alone */
  DECODE("\xD8\x3D\xE0\0", "\xEF\xBF\xBD\xEE\x80\x80"); /* no low one */
  DECODE("\xDC\xBE\0a", "\xEF\xBF\xBD" "a");       /* low one alone */
  DECODE("\xDC\xBE\xDC\xBE", "\xEF\xBF\xBD\xEF\xBF\xBD");
  DECODE("\xDC\xBE\xD8\x3D", "\xEF\xBF\xBD\xEF\xBF\xBD");
  DECODE("\xD8\x3D\xD8\x3D\xDC\xBE", "\xEF\xBF\xBD\xF0\x9F\x92\xBE");
  DECODE("\xD8\x3D\xDC", "\xEF\xBF\xBD");          /* half a pair */
  DECODE("\0a\0\0\0b", "a");                       /* up to NUL */
  DECODE("\0a\0", "a");                            /* odd length */
  DECODE("", "");
  DECODE("\xFF\xFF\xFF\xFE", "\xEF\xBF\xBF\xEF\xBF\xBE");
  DECODE("\xDF\xFF\0a", "\xEF\xBF\xBD" "a");       /* the last low one */
  DECODE("\xD7\xFF\xE0\0", "\xED\x9F\xBF\xEE\x80\x80");
  DECODE("\0\x7F\0\x80", "\x7F\xC2\x80");         /* where a byte is added */
  DECODE("\x07\xFF\x08\0", "\xDF\xBF\xE0\xA0\x80");
#undef DECODE
}

/* Where the first bad unit stands. */
static void test_utf16_check(void) {
  static const struct {
    const char *in;
    size_t n, bad;
  } rows[] = {
    {"", 0, 0},
    {"\0a\0b", 4, 4},
    {"\0a\0", 3, 3},                        /* the half one is not looked at */
    {"\xD7\xFF\xE0\0\xFF\xFF", 6, 6},      /* around the surrogates */
    {"\xD8\0\xDC\0\xDB\xFF\xDF\xFF", 8, 8}, /* the extremes of the pairs */
    {"\0a\xD8\x3D", 4, 2},
    {"\xD8\x3D\0a", 4, 0},
    {"\xD8\x3D\xDB\xFF", 4, 0},
    {"\xD8\x3D\xE0\0", 4, 0},
    {"\xDC\0\xDC\0", 4, 0},
    {"\xDF\xFF\xDC\0", 4, 0},
    {"\xD8\x3D\xDC", 3, 0},                /* half a pair */
  };
  size_t i;

  for (i = 0; i < COUNT(rows); i++) {
    uint8_t *copy = malloc(rows[i].n > 0 ? rows[i].n : 1);
    if (!CHECK(copy != NULL))
      return;
    memcpy(copy, rows[i].in, rows[i].n);
    CHECK_INT(lv_utf16_check(copy, rows[i].n, true), rows[i].bad);
    free(copy);
  }
}

static void test_utf8_repair(void) {
  char out[32];

  CHECK_INT(lv_utf8_repair("a\xFF\xC3\xA9", 4, out), 6);
  CHECK_STR(out, "a\xEF\xBF\xBD\xC3\xA9");
  CHECK_INT(lv_utf8_repair("a\0b", 3, out), 1); /* up to NUL */
  CHECK_STR(out, "a");
  CHECK_INT(lv_utf8_repair("ab", 1, out), 1);
  CHECK_STR(out, "a");
  CHECK_INT(lv_utf8_repair("", 0, out), 0);
}

/* ---- paths ----------------------------------------------------------- */

static void check_path(const char *text, size_t n, bool host, int code,
                       int reason, unsigned has, uint64_t actual,
                       uint64_t offset) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  unsigned failed = check_failed;

  CHECK_INT(lv_path_check(text, n, host, &err), code);
  CHECK_INT(lv_path_check(text, n, host, NULL), code);
  CHECK_INT(err.code, code);
  CHECK_INT(err.reason, reason);
  CHECK_INT(err.has, has);
  CHECK_INT(err.actual, actual);
  CHECK_INT(err.offset, offset);
  if (check_failed != failed)
    fprintf(stderr, "  path '%s'%s\n", text, host ? ", host names" : "");
  lvhd_error_clear(&err);
}

static void test_path_check(void) {
  static const char eight[] = "*?:<>|\"";
  char text[] = "/a_b";
  size_t i;
  int c;

#define NAME E(E_INVALID_NAME)
#define PATH(text, host, code, reason, has, actual, offset)                  \
  check_path(text, sizeof text - 1, host, code, reason, has, actual, offset)
  for (i = 0; i < 2; i++) {
    bool host = i == 1;
    PATH("/a/b.vhd", host, 0, 0, 0, 0, 0);
    PATH("", host, 0, 0, 0, 0, 0);
    PATH("/\xC3\xA9\xF0\x9F\x92\xBE ~!#.vhd", host, 0, 0, 0, 0, 0);
    PATH("a\0b", host, NAME, R(CHARACTER_FORBIDDEN), HAS_A | HAS_O, 0, 1);
    PATH("/a\x7F", host, NAME, R(CHARACTER_FORBIDDEN), HAS_A | HAS_O, 0x7F,
         2);
    PATH("/a\xC3(", host, NAME, R(NOT_UTF8), HAS_O, 0, 2);
    /* The first fault counts. */
    PATH("/\n\xFF", host, NAME, R(CHARACTER_FORBIDDEN), HAS_A | HAS_O, '\n',
         1);
    PATH("/\xFF\n", host, NAME, R(NOT_UTF8), HAS_O, 0, 1);
    for (c = 1; c < 0x20; c++) {
      text[2] = (char)c;
      check_path(text, 4, host, NAME, R(CHARACTER_FORBIDDEN), HAS_A | HAS_O,
                 (uint64_t)c, 2);
    }
  }
  for (i = 0; i < sizeof eight - 1; i++) {
    text[2] = eight[i];
    check_path(text, 4, false, NAME, R(CHARACTER_FORBIDDEN), HAS_A | HAS_O,
               (uint8_t)eight[i], 2);
    check_path(text, 4, true, 0, 0, 0, 0, 0);
  }
  PATH("C:\\a.vhd", false, E(E_PATH_NOT_FOUND), R(NO_SUCH_DRIVE), 0, 0, 0);
  PATH("z:", false, E(E_PATH_NOT_FOUND), R(NO_SUCH_DRIVE), 0, 0, 0);
  PATH("C:/\xFF", false, E(E_PATH_NOT_FOUND), R(NO_SUCH_DRIVE), 0, 0, 0);
  PATH("Z:", false, E(E_PATH_NOT_FOUND), R(NO_SUCH_DRIVE), 0, 0, 0);
  PATH("A:", false, E(E_PATH_NOT_FOUND), R(NO_SUCH_DRIVE), 0, 0, 0);
  PATH("a:", false, E(E_PATH_NOT_FOUND), R(NO_SUCH_DRIVE), 0, 0, 0);
  check_path("C:", 1, false, 0, 0, 0, 0, 0);
  PATH("@:", false, NAME, R(CHARACTER_FORBIDDEN), HAS_A | HAS_O, ':', 1);
  PATH("[:", false, NAME, R(CHARACTER_FORBIDDEN), HAS_A | HAS_O, ':', 1);
  PATH("`:", false, NAME, R(CHARACTER_FORBIDDEN), HAS_A | HAS_O, ':', 1);
  PATH("{:", false, NAME, R(CHARACTER_FORBIDDEN), HAS_A | HAS_O, ':', 1);
  PATH("C:\\a.vhd", true, 0, 0, 0, 0, 0);
  PATH("1:", false, NAME, R(CHARACTER_FORBIDDEN), HAS_A | HAS_O, ':', 1);
  PATH("{:", false, NAME, R(CHARACTER_FORBIDDEN), HAS_A | HAS_O, ':', 1);
  PATH("C", false, 0, 0, 0, 0, 0);
  PATH("\\\\nas\\b", false, NAME, R(BACKSLASH), HAS_O, 0, 0);
  /* The backslash comes before what stands left of it. */
  PATH("/?\xFF\\b", false, NAME, R(BACKSLASH), HAS_O, 0, 3);
  PATH("/a\\b", true, 0, 0, 0, 0, 0);
}

static void test_path_length(void) {
  static char text[PATH_MAX + 8];
  struct lvhd_error err = LVHD_ERROR_INIT;
  size_t i;

  memset(text, 'a', 259);
  CHECK_INT(lv_path_length(text, false, &err), 0);
  text[259] = 'a';
  CHECK_INT(lv_path_length(text, false, &err), E(E_BUFFER_OVERFLOW));
  CHECK_INT(err.reason, R(PATH_TOO_LONG));
  CHECK_INT(err.expected, 259);
  CHECK_INT(err.actual, 260);
  CHECK_INT(lv_path_length(text, true, NULL), 0);
  /* 259 units in 777 bytes; one more with a character of two units. */
  for (i = 0; i < 259; i++)
    memcpy(text + i * 3, "\xE2\x82\xAC", 3);
  text[777] = '\0';
  CHECK_INT(lv_path_length(text, false, NULL), 0);
  memcpy(text + 258 * 3, "\xF0\x9F\x92\xBE", 5);
  CHECK_INT(lv_path_length(text, false, &err), E(E_BUFFER_OVERFLOW));
  CHECK_INT(err.actual, 260);
  memset(text, 'a', sizeof text);
  text[PATH_MAX - 1] = '\0';
  CHECK_INT(lv_path_length(text, true, NULL), 0);
  text[PATH_MAX - 1] = 'a';
  text[PATH_MAX] = '\0';
  CHECK_INT(lv_path_length(text, true, &err), E(E_BUFFER_OVERFLOW));
  CHECK_INT(err.expected, PATH_MAX - 1);
  CHECK_INT(err.actual, PATH_MAX);
  /* The host counts bytes. */
  memcpy(text + PATH_MAX - 3, "\xE2\x82\xAC", 3);
  CHECK_INT(lv_path_length(text, true, &err), E(E_BUFFER_OVERFLOW));
  CHECK_INT(err.actual, PATH_MAX);
  CHECK_INT(lv_path_length("", false, NULL), 0);
  lvhd_error_clear(&err);
}

static void check_made(char *made, const char *want) {
  CHECK_STR(made, want);
  free(made);
}

static void test_path_parts(void) {
  check_made(lv_path_join("/a", "b.vhd"), "/a/b.vhd");
  check_made(lv_path_join("/a/", "b.vhd"), "/a/b.vhd");
  check_made(lv_path_join("/a//", "b/c"), "/a/b/c");
  check_made(lv_path_join("/", "b"), "/b");
  check_made(lv_path_join("", "b"), "b");
  check_made(lv_path_join("/a", "/b"), "/b");
  check_made(lv_path_join("a", ""), "a/");
  check_made(lv_path_folder("/a/b.vhd"), "/a");
  check_made(lv_path_folder("/b.vhd"), "/");
  check_made(lv_path_folder("b.vhd"), "");
  check_made(lv_path_folder("/a//b.vhd"), "/a");
  check_made(lv_path_folder("//b.vhd"), "/");
  check_made(lv_path_folder("/a/b/"), "/a/b");
  check_made(lv_path_folder("a/b"), "a");
  check_made(lv_path_folder(""), "");
  CHECK_STR(lv_path_name("/a/b.vhd"), "b.vhd");
  CHECK_STR(lv_path_name("b.vhd"), "b.vhd");
  CHECK_STR(lv_path_name("/a/"), "");
  CHECK_STR(lv_path_name(""), "");
}

static void test_path_relative(void) {
  static const char *const rows[][3] = {
    {"/a", "/a/base.vhd", "base.vhd"},
    {"/a", "/a/sub/base.vhd", "sub/base.vhd"},
    {"/a/b", "/a/base.vhd", "../base.vhd"},
    {"/a/b", "/a/x/base.vhd", "../x/base.vhd"},
    {"/a/b/c", "/x/base.vhd", "../../../x/base.vhd"},
    {"/", "/base.vhd", "base.vhd"},
    {"/", "/a/base.vhd", "a/base.vhd"},
    {"/a", "/base.vhd", "../base.vhd"},
    {"/a/b", "/base.vhd", "../../base.vhd"},
    /* Names that begin alike are not the same. */
    {"/a/b", "/a/bc/base.vhd", "../bc/base.vhd"},
    {"/a/bc", "/a/b/base.vhd", "../b/base.vhd"},
    {"/ab", "/a/base.vhd", "../a/base.vhd"},
    /* The file is named like a folder beside it. */
    {"/a/b", "/a/b", "../b"},
    {"/a/b/c", "/a/b", "../../b"},
    {"/a/", "/a/base.vhd", "base.vhd"},
    {"/a/b/", "/a/base.vhd", "../base.vhd"},
  };
  size_t i;

  for (i = 0; i < COUNT(rows); i++)
    check_made(lv_path_relative(rows[i][0], rows[i][1]), rows[i][2]);
}

static void test_path_resolve(void) {
  static const char *const rows[][3] = {
    {"/a/b", "c.vhd", "/a/b/c.vhd"},
    {"/a/b", "../c.vhd", "/a/c.vhd"},
    {"/a/b", "./c.vhd", "/a/b/c.vhd"},
    {"/a/b", "../../../c.vhd", "/c.vhd"},
    {"/a/b", "/x//y/", "/x/y"},
    {"/", "a", "/a"},
    {"/", "..", "/"},
    {"/a", "..", "/"},
    /* Names with dots are names. */
    {"/a", ".b/c", "/a/.b/c"},
    {"/a", "b./c", "/a/b./c"},
    {"/a", "..b/c", "/a/..b/c"},
    {"/a", ".../c", "/a/.../c"},
    {"/a", "bc/d", "/a/bc/d"},
  };
  for (size_t i = 0; i < COUNT(rows); i++)
    check_made(lv_path_resolve(rows[i][0], rows[i][1]), rows[i][2]);
}

static void test_path_is_plain(void) {
  static const char *const yes[] = {"/", "/a", "/a/b", "/.a/a./..a/...",
                                    "/ab/a.b"};
  static const char *const no[] = {"", "a", "//", "/a/", "/a//b", "/.",
                                   "/a/./b", "/a/..", "/../a"};
  for (size_t i = 0; i < COUNT(yes); i++)
    CHECK(lv_path_is_plain(yes[i]));
  for (size_t i = 0; i < COUNT(no); i++)
    CHECK(!lv_path_is_plain(no[i]));
}

/* ---- identifiers ----------------------------------------------------- */

static void test_uuid(void) {
  static const uint8_t bytes[16] = {0x3f, 0x6c, 0x1e, 0x2a, 0x00, 0x01,
                                    0x4a, 0xbc, 0x9d, 0xef, 0xff, 0x80,
                                    0x7f, 0x10, 0x09, 0x90};
  static const char text[] = "3f6c1e2a-0001-4abc-9def-ff807f100990";
  static const char *const wrong[] = {
    "", "3f6c1e2a", "3f6c1e2a00014abc9defff807f100990",
    "3f6c1e2a-0001-4abc-9def-ff807f10099",
    "3f6c1e2a-0001-4abc-9def-ff807f1009900",
    "3f6c1e2a-0001-4abc-9def-ff807f10099000",
    "{f6c1e2a-0001-4abc-9def-ff807f10099}",
    "3f6c1e2a-0001-4abc-9def-ff807f10099g",
    "3f6c1e2a-0001-4abc-9def+ff807f100990",
    "3f6c1e2a00-01-4abc-9def-ff807f100990",
    " f6c1e2a-0001-4abc-9def-ff807f100990",
    ":f6c1e2a-0001-4abc-9def-ff807f100990",
    "3@6c1e2a-0001-4abc-9def-ff807f100990",
    "3`6c1e2a-0001-4abc-9def-ff807f100990",
    "3G6c1e2a-0001-4abc-9def-ff807f100990",
  };
  uint8_t uuid[16], same[16];
  char out[LV_UUID_TEXT];
  size_t i;

  CHECK(lv_uuid_parse(text, 36, uuid));
  CHECK_MEM(uuid, bytes, 16);
  memset(uuid, 0, sizeof uuid);
  CHECK(lv_uuid_parse("3F6C1E2A-0001-4ABC-9DEF-FF807F100990", 36, uuid));
  CHECK_MEM(uuid, bytes, 16);
  lv_uuid_format(bytes, out);
  CHECK_STR(out, text);
  memset(same, 0x11, sizeof same);
  memset(uuid, 0x11, sizeof uuid);
  for (i = 0; i < COUNT(wrong); i++)
    CHECK(!lv_uuid_parse(wrong[i], strlen(wrong[i]), uuid));
  CHECK(!lv_uuid_parse("3f6c1e2a-0001-4abc-9def-ff807f10099\0", 36, uuid));
  CHECK_MEM(uuid, same, 16);
  memset(uuid, 0xFF, sizeof uuid);
  lv_uuid_v4(uuid);
  lv_uuid_format(uuid, out);
  CHECK_STR(out, "ffffffff-ffff-4fff-bfff-ffffffffffff");
  CHECK(!lv_uuid_is_nil(uuid));
  memset(uuid, 0, sizeof uuid);
  CHECK(lv_uuid_is_nil(uuid));
  lv_uuid_v4(uuid);
  lv_uuid_format(uuid, out);
  CHECK_STR(out, "00000000-0000-4000-8000-000000000000");
  memset(uuid, 0, sizeof uuid);
  uuid[15] = 1;
  CHECK(!lv_uuid_is_nil(uuid));
}

/* ---- bytes ----------------------------------------------------------- */

static void test_bytes(void) {
  uint8_t b[8];

  lv_put_be64(b, UINT64_C(0x8123456789ABCDEF));
  CHECK_MEM(b, "\x81\x23\x45\x67\x89\xAB\xCD\xEF", 8);
  CHECK_INT(lv_get_be64(b), UINT64_C(0x8123456789ABCDEF));
  CHECK_INT(lv_get_be32(b), 0x81234567u);
  CHECK_INT(lv_get_be16(b), 0x8123);
  lv_put_be32(b, 0xFEDCBA98u);
  CHECK_MEM(b, "\xFE\xDC\xBA\x98", 4);
  lv_put_be16(b, 0xABCD);
  CHECK_MEM(b, "\xAB\xCD", 2);
  CHECK_INT(lv_round_up(0, 512), 0);
  CHECK_INT(lv_round_up(1, 512), 512);
  CHECK_INT(lv_round_up(512, 512), 512);
  CHECK_INT(lv_round_up(513, 4096), 4096);
}

int main(void) {
  test_codes();
  test_reasons();
  test_error_fills();
  test_errno_table();
  test_texts();
  test_exact();
  test_utf8();
  test_utf16();
  test_utf16_sloppy();
  test_utf16_check();
  test_utf8_repair();
  test_path_check();
  test_path_length();
  test_path_parts();
  test_path_relative();
  test_path_resolve();
  test_path_is_plain();
  test_uuid();
  test_bytes();
  return check_done();
}
