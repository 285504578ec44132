/* SPDX-License-Identifier: MIT
 *
 * Unit tests of Windows paths as text, and of names but for case.  Touches no
 * disk.
 */
#include <stdlib.h>

#include "base/upcase.h"
#include "base/utf.h"
#include "base/winpath.h"
#include "check.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define R(reason) LV_R_##reason
#define HAS_A LVHD_HAS_ACTUAL
#define HAS_O LVHD_HAS_OFFSET

static void check_made(char *made, const char *want) {
  CHECK_STR(made, want);
  free(made);
}

/* Names that are a folder's by their look. */
static void test_is_folder(void) {
  static const char *const yes[] = {"", ".", "..", "C:\\", "C:\\a\\",
                                    "C:\\a\\.", "C:\\a\\..", "a\\..",
                                    "\\\\nas\\golden\\"};
  static const char *const no[] = {"a", "...", ".a", "..a", "C:\\a", "C:\\.a",
                                   "C:\\..\\a", "C:\\a\\...", "a\\b"};
  size_t i;

  for (i = 0; i < sizeof yes / sizeof yes[0]; i++)
    CHECK(lv_winpath_is_folder(yes[i]));
  for (i = 0; i < sizeof no / sizeof no[0]; i++)
    CHECK(!lv_winpath_is_folder(no[i]));
}

/* ---- what is a Windows path -------------------------------------------- */

static void test_is(void) {
  static const char *const yes[] = {"C:", "c:x", "Z:\\", "z:/", "\\\\",
                                    "\\\\nas", "\\\\?\\C:\\x"};
  static const char *const no[] = {"", "C", "\\", "\\x", "/", "//nas/x",
                                   "1:\\x", "[:\\", "`:", "ab:", "a.vhd",
                                   "a\\b"};
  size_t i;

  for (i = 0; i < COUNT(yes); i++)
    CHECK(lv_winpath_is(yes[i], strlen(yes[i])));
  for (i = 0; i < COUNT(no); i++)
    CHECK(!lv_winpath_is(no[i], strlen(no[i])));
  /* What is behind n does not count. */
  CHECK(!lv_winpath_is("{:", 2));
  CHECK(!lv_winpath_is("C:", 1));
  CHECK(!lv_winpath_is("\\\\", 1));
}

static void check_path(const char *text, size_t n, int reason, size_t offset,
                       uint64_t actual) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  int code = reason != 0 ? LVHD_E_INVALID_NAME : 0;
  unsigned failed = check_failed;
  /* Of just this size, for those who watch the memory. */
  char *copy = malloc(n > 0 ? n : 1);

  if (copy == NULL)
    abort();
  memcpy(copy, text, n);
  CHECK_INT(lv_winpath_check(copy, n, &err), code);
  CHECK_INT(lv_winpath_check(copy, n, NULL), code);
  CHECK_INT(err.code, code);
  CHECK_INT(err.reason, reason);
  CHECK_INT(err.has, (reason != 0 ? HAS_O : 0) |
                         (reason == R(CHARACTER_FORBIDDEN) ? HAS_A : 0));
  CHECK_INT(err.offset, offset);
  CHECK_INT(err.actual, actual);
  if (check_failed != failed)
    fprintf(stderr, "  path '%s'\n", text);
  lvhd_error_clear(&err);
  free(copy);
}

#define GOOD(text) check_path(text, sizeof text - 1, 0, 0, 0)
#define BAD(text, reason, offset)                                            \
  check_path(text, sizeof text - 1, R(reason), offset, 0)
#define CHARACTER(text, offset, actual)                                      \
  check_path(text, sizeof text - 1, R(CHARACTER_FORBIDDEN), offset, actual)

static void test_good(void) {
  GOOD("");
  GOOD("C:\\");
  GOOD("c:\\vms\\a.vhd");
  GOOD("C:\\vms\\\\a.vhd\\");
  GOOD("C:\\..\\.\\a.vhd");
  GOOD("\\\\nas\\golden");
  GOOD("\\\\nas\\golden\\");
  GOOD("\\\\nas\\golden\\b.vhd");
  GOOD("\\\\nas\\golden$\\..\\b.vhd");
  GOOD("a.vhd");
  GOOD("sub\\a.vhd");
  GOOD("a\\b\\c.vhd");
  GOOD("..\\a.vhd");
  GOOD(".");
  GOOD("..");
  GOOD(" a. b");
  GOOD(".a");
  GOOD("..a");
  GOOD("\xC3\xA9\xF0\x9F\x92\xBE ~!#$%&'()+,;=@[]^`{}.vhd");
  check_path("a:", 1, 0, 0, 0);
  CHECK_INT(lv_winpath_check("\\", 0, NULL), 0); /* what is behind n */
}

static void test_characters(void) {
  static const char marks[] = "*?:<>|\"/";
  char text[] = "C:\\aa_b";
  size_t i;
  int c;

  for (i = 0; i < sizeof marks - 1; i++) {
    text[5] = marks[i];
    check_path(text, 7, R(CHARACTER_FORBIDDEN), 5, (uint8_t)marks[i]);
    check_path(text + 3, 4, R(CHARACTER_FORBIDDEN), 2, (uint8_t)marks[i]);
  }
  for (c = 0; c <= 0x7F; c++) {
    text[5] = (char)c;
    if (c < 0x20 || c == 0x7F)
      check_path(text, 7, R(CHARACTER_FORBIDDEN), 5, (uint64_t)c);
    else if (memchr(marks, c, sizeof marks - 1) == NULL)
      check_path(text, 7, 0, 0, 0);
  }
  CHARACTER("1:\\x", 1, ':');
  CHARACTER("ab:\\x", 2, ':');
  CHARACTER("C::\\x", 2, ':');
  CHARACTER("\\\\nas:\\x", 5, ':');
  CHARACTER("//nas/x", 0, '/');
  CHARACTER("C:/x", 2, '/');
  BAD("C:\\a\xC3(", NOT_UTF8, 4);
  BAD("a\xED\xA0\x80", NOT_UTF8, 1);
  /* The first fault counts, and characters before forms and names. */
  CHARACTER("a\n\xFF", 1, '\n');
  BAD("a\xFF\n", NOT_UTF8, 1);
  CHARACTER("C:x?", 3, '?');
  CHARACTER("con\\a.\\b*", 8, '*');
  BAD("\\con\xFF", NOT_UTF8, 4);
}

static void test_forms(void) {
  static const char *const forms[] = {
    "C:", "c:x", "C:..\\x", "C: \\x", "\\", "\\x", "\\x.\\con",
    "\\\\?\\C:\\x", "\\\\?\\UNC\\nas\\golden\\x", "\\\\?\\", "\\\\.\\C:",
    "\\\\.\\PhysicalDrive0", "\\\\.", "\\\\..\\golden", "\\\\", "\\\\\\",
    "\\\\\\nas\\golden", "\\\\nas", "\\\\nas\\", "\\\\nas\\\\golden",
    "\\\\nas\\.", "\\\\nas\\..\\x", "\\\\nas.", "C:con.\\x."};
  size_t i;

  for (i = 0; i < COUNT(forms); i++)
    check_path(forms[i], strlen(forms[i]), R(WINDOWS_FORM), 0, 0);
  /* These are no devices, and '?' is what it is elsewhere. */
  CHARACTER("\\\\?", 2, '?');
  CHARACTER("\\\\?x\\C:\\x", 2, '?');
  CHARACTER("\\??\\C:\\x", 1, '?');
  CHARACTER("x\\\\?\\", 3, '?');
}

static void test_endings(void) {
  BAD("a.", NAME_ENDING, 1);
  BAD("a.vhd ", NAME_ENDING, 5);
  BAD("...", NAME_ENDING, 2);
  BAD(" ", NAME_ENDING, 0);
  BAD(". ", NAME_ENDING, 1);
  BAD(".. ", NAME_ENDING, 2);
  BAD(" .", NAME_ENDING, 1);
  BAD("C:\\vms.\\a.vhd", NAME_ENDING, 6);
  BAD("C:\\vms\\a.vhd.", NAME_ENDING, 12);
  BAD("C:\\vms \\a.vhd.", NAME_ENDING, 6);
  BAD("\\\\nas.\\golden\\x", NAME_ENDING, 5);
  BAD("\\\\nas\\golden \\x", NAME_ENDING, 12);
  BAD("..\\x \\..", NAME_ENDING, 4);
}

static void test_reserved(void) {
  static const char *const reserved[] = {
    "CON", "con", "Prn", "AUX", "nul", "NUL.vhd", "nul.a.b", "CONIN$",
    "conout$", "CONIN$.txt", "COM0", "com1", "COM9.vhd", "lpt0", "LPT9",
    "COM\xC2\xB9", "com\xC2\xB2.x", "LPT\xC2\xB3", "NUL .vhd", "nul  .",
    "con.", "aux "};
  static const char *const free_names[] = {
    "CO", "CONX", "xCON", "CONIN", "CONOUT", "NULL", "COM", "LPT", "COM10",
    "COMx", "COM-", "abc1", "vm01.vhd", "COM\xC2\xB4", "COM\xC2\xB0", "COM\xC3\xB9",
    "LPT\xC2\xB9x", "x.con", ".con", " con", "NU", "lp1",
    "CON\xC4\xB1N$"};
  char text[64];
  size_t i;

  for (i = 0; i < COUNT(reserved); i++) {
    check_path(reserved[i], strlen(reserved[i]), R(NAME_RESERVED), 0, 0);
    snprintf(text, sizeof text, "C:\\vms\\%s\\a.", reserved[i]);
    check_path(text, strlen(text), R(NAME_RESERVED), 7, 0);
    snprintf(text, sizeof text, "\\\\nas\\x\\%s", reserved[i]);
    check_path(text, strlen(text), R(NAME_RESERVED), 8, 0);
  }
  for (i = 0; i < COUNT(free_names); i++)
    check_path(free_names[i], strlen(free_names[i]), 0, 0, 0);
  /* What comes first counts; a server and a share are no files. */
  BAD("a.\\con", NAME_ENDING, 1);
  BAD("con\\a.", NAME_RESERVED, 0);
  GOOD("\\\\con.example\\nul\\x");
  GOOD("COM!");
  BAD("\\\\con.example\\nul\\nul", NAME_RESERVED, 18);
  BAD("\\\\con.\\nul\\x", NAME_ENDING, 5);
}

/* ---- joining and taking apart ------------------------------------------ */

static void test_join(void) {
  static const char *const rows[][3] = {
    {NULL, "c:\\vms\\a.vhd", "C:\\vms\\a.vhd"},
    {NULL, "C:\\", "C:\\"},
    {NULL, "C:\\\\vms\\\\\\a.vhd\\", "C:\\vms\\a.vhd"},
    {NULL, "C:\\vms\\.\\x\\..\\a.vhd", "C:\\vms\\a.vhd"},
    {NULL, "C:\\..\\..\\a.vhd", "C:\\a.vhd"},
    {NULL, "C:\\vms\\..", "C:\\"},
    {NULL, "C:\\vms\\..\\..", "C:\\"},
    {NULL, "C:\\...a\\.b", "C:\\...a\\.b"},
    {NULL, "\\\\nas\\golden", "\\\\nas\\golden\\"},
    {NULL, "\\\\nas\\golden\\", "\\\\nas\\golden\\"},
    {NULL, "\\\\Nas\\golden\\\\b.vhd", "\\\\Nas\\golden\\b.vhd"},
    {NULL, "\\\\nas\\golden\\..\\..\\x\\b.vhd", "\\\\nas\\golden\\x\\b.vhd"},
    {"C:\\vms", "a.vhd", "C:\\vms\\a.vhd"},
    {"c:\\vms\\", "sub\\a.vhd", "C:\\vms\\sub\\a.vhd"},
    {"C:\\", "a", "C:\\a"},
    {"C:\\vms", "", "C:\\vms"},
    {"C:\\", "", "C:\\"},
    {"C:\\vms\\..\\x", ".", "C:\\x"},
    {"C:\\vms\\x", "..\\a.vhd", "C:\\vms\\a.vhd"},
    {"C:\\vms", "..\\..\\a.vhd", "C:\\a.vhd"},
    {"C:\\vms", "..", "C:\\"},
    {"C:\\vms", "d:\\x", "D:\\x"},
    {"C:\\vms", "\\\\nas\\golden\\x", "\\\\nas\\golden\\x"},
    {"\\\\nas\\golden", "a.vhd", "\\\\nas\\golden\\a.vhd"},
    {"\\\\nas\\golden", "..\\..\\..", "\\\\nas\\golden\\"},
    {"\\\\nas\\golden\\sub", "..\\a.vhd", "\\\\nas\\golden\\a.vhd"},
    {"\\\\nas\\golden", "C:\\x", "C:\\x"},
  };
  size_t i;

  for (i = 0; i < COUNT(rows); i++)
    check_made(lv_winpath_join(rows[i][0], rows[i][1]), rows[i][2]);
}

static void test_parts(void) {
  /* plain, root, rest, folder, name */
  static const char *const rows[][5] = {
    {"C:\\", "C:", "", "C:\\", ""},
    {"C:\\a.vhd", "C:", "a.vhd", "C:\\", "a.vhd"},
    {"C:\\vms\\a.vhd", "C:", "vms/a.vhd", "C:\\vms", "a.vhd"},
    {"C:\\x\\y\\z", "C:", "x/y/z", "C:\\x\\y", "z"},
    {"\\\\nas\\golden\\", "\\\\nas\\golden", "", "\\\\nas\\golden\\", ""},
    {"\\\\nas\\golden\\b", "\\\\nas\\golden", "b", "\\\\nas\\golden\\", "b"},
    {"\\\\n\\g\\x\\b", "\\\\n\\g", "x/b", "\\\\n\\g\\x", "b"},
  };
  size_t i;

  for (i = 0; i < COUNT(rows); i++) {
    const char *plain = rows[i][0];
    struct lvhd_error err = LVHD_ERROR_INIT;
    char *back;
    CHECK_INT(lv_winpath_root(plain), strlen(rows[i][1]));
    CHECK_STR(lv_winpath_name(plain), rows[i][4]);
    check_made(lv_winpath_rest(plain), rows[i][2]);
    check_made(lv_winpath_folder(plain), rows[i][3]);
    check_made(lv_winpath_join(NULL, plain), plain);
    check_made(lv_winpath_join(rows[i][3], rows[i][4]), plain);
    CHECK_INT(lv_winpath_from(&back, rows[i][1], rows[i][2], &err), 0);
    check_made(back, plain);
  }
}

static void test_from(void) {
  static const char *const none[] = {
    "a:b", "a?", "x\\y", "x/a.", "x /a", "vms/nul.vhd", "con", "a\nb",
    "x/\xFF", "a\\", "..."};
  struct lvhd_error err = LVHD_ERROR_INIT;
  char here, *out;
  size_t i;

  for (i = 0; i < COUNT(none); i++) {
    out = &here;
    CHECK_INT(lv_winpath_from(&out, "C:", none[i], &err), 0);
    check_made(out, NULL);
    out = &here;
    CHECK_INT(lv_winpath_from(&out, "\\\\nas\\golden", none[i], &err), 0);
    check_made(out, NULL);
  }
  CHECK_INT(err.code, 0);
  CHECK_INT(err.has, 0);
}

static void test_drive(void) {
  static const char *const rows[][2] = {
    {"C", "C:"}, {"c", "C:"}, {"z:", "Z:"}, {"Z:", "Z:"}, {"a:\\", "A:"},
    {"\\\\nas\\golden", "\\\\nas\\golden"},
    {"\\\\Nas\\Golden$\\", "\\\\Nas\\Golden$"},
    {"", NULL}, {"1", NULL}, {"@", NULL}, {"[", NULL}, {"CC", NULL},
    {"C:x", NULL}, {"C:\\x", NULL}, {"C:\\\\", NULL}, {"C\\", NULL},
    {"C:/", NULL}, {"C::", NULL}, {"\\", NULL}, {"\\\\", NULL},
    {"\\\\nas", NULL}, {"\\\\nas\\", NULL}, {"\\\\nas\\golden\\x", NULL},
    {"\\\\nas\\golden\\\\", NULL}, {"\\\\nas\\gol?den", NULL},
    {"\\\\nas\\golden.", NULL}, {"\\\\?\\C:", NULL}, {"\\\\.\\C:", NULL},
    {"\\\\nas\\g\xFF", NULL}, {"//nas/golden", NULL}, {"\xC3\xA9", NULL},
  };
  struct lvhd_error err = LVHD_ERROR_INIT;
  char here, *out;
  size_t i;

  for (i = 0; i < COUNT(rows); i++) {
    int code = rows[i][1] != NULL ? 0 : LVHD_E_INVALIDARG;
    out = &here;
    CHECK_INT(lv_winpath_drive(&out, rows[i][0], &err), code);
    CHECK_INT(err.code, code);
    CHECK_INT(err.reason, code != 0 ? R(DRIVE_MALFORMED) : 0);
    check_made(out, rows[i][1]);
    lvhd_error_clear(&err);
  }
}

/* ---- upper case -------------------------------------------------------- */

static void test_upcase(void) {
  static const uint32_t rows[][2] = {
    {'a', 'A'}, {'z', 'Z'}, {'A', 'A'}, {'`', '`'}, {'{', '{'}, {0, 0},
    {0xB5, 0x39C}, {0xDF, 0xDF}, {0xE0, 0xC0}, {0xF7, 0xF7}, {0xFF, 0x178},
    {0x101, 0x100}, {0x12F, 0x12E}, {0x12E, 0x12E}, {0x131, 'I'},
    {0x17F, 'S'}, {0x1C4, 0x1C4}, {0x1C5, 0x1C4}, {0x1C6, 0x1C4},
    {0x345, 0x399}, {0x3C2, 0x3A3}, {0x3C3, 0x3A3}, {0x430, 0x410},
    {0x45F, 0x40F}, {0x587, 0x587}, {0x10D0, 0x1C90}, {0x1E9E, 0x1E9E},
    {0x1F80, 0x1F88}, {0x2C65, 0x23A}, {0x24D0, 0x24B6}, {0xAB70, 0x13A0},
    {0xFB00, 0xFB00}, {0xFF41, 0xFF21}, {0xFF5A, 0xFF3A}, {0xFFFF, 0xFFFF},
    /* No longer the plane: U+10428 has an upper case. */
    {0x10000, 0x10000}, {0x10061, 0x10061}, {0x10428, 0x10428},
    {0xFFFFFFFF, 0xFFFFFFFF},
  };
  uint64_t sum = 0xCBF29CE484222325;
  unsigned changed = 0, again = 0;
  uint32_t c;
  size_t i;

  for (i = 0; i < COUNT(rows); i++)
    CHECK_INT(lv_upcase(rows[i][0]), rows[i][1]);
  /* FNV-1a over both bytes of all 65,536, taken from the list of pairs that
   * the table was made of. */
  for (c = 0; c <= 0xFFFF; c++) {
    uint32_t upper = lv_upcase(c);
    sum = (sum ^ (upper >> 8)) * 0x100000001B3;
    sum = (sum ^ (upper & 0xFF)) * 0x100000001B3;
    changed += upper != c;
    again += lv_upcase(upper) != upper;
  }
  CHECK_INT(changed, 1190);
  CHECK_INT(again, 0);
  CHECK_INT(sum, 0x4C88066D4E11FE10);
}

static void check_same(const char *a, const char *b, bool want) {
  unsigned failed = check_failed;

  CHECK_INT(lv_same_name(a, strlen(a), b, strlen(b)), want);
  CHECK_INT(lv_same_name(b, strlen(b), a, strlen(a)), want);
  if (check_failed != failed)
    fprintf(stderr, "  '%s' and '%s'\n", a, b);
}

static void test_same_name(void) {
  check_same("", "", true);
  check_same("a", "", false);
  check_same("Base.VHD", "bASE.vhd", true);
  check_same("base.vhd", "base.vhdx", false);
  check_same("base", "bass", false);
  check_same("\xC3\xA9t\xC3\xA9", "\xC3\x89T\xC3\x89", true);
  check_same("\xD0\xB6", "\xD0\x96", true);
  check_same("\xC3\xA9", "e", false);
  /* One letter for one letter, whatever their lengths in bytes. */
  check_same("stra\xC3\x9F" "e", "STRASSE", false);
  check_same("\xC4\xB1x", "IX", true);
  check_same("\xE2\xB1\xA5", "\xC8\xBA", true);
  /* Composed and not is not the same; beyond the plane there is no case. */
  check_same("\xC3\xA9", "e\xCC\x81", false);
  check_same("\xF0\x90\x90\xA8", "\xF0\x90\x90\x80", false);
  check_same("\xF0\x90\x90\xA8" "a", "\xF0\x90\x90\xA8" "A", true);
  /* What is no UTF-8 is only what it is. */
  check_same("a\xFF", "a\xFF", true);
  check_same("a\xFF", "A\xFF", false);
  check_same("\xFF" "a", "\xFF" "A", false);
  check_same("\xFF", "\xFE", false);
  check_same("a\xC3", "A\xC3\xA9", false);
  check_same("\xED\xA0\x80" "a", "\xED\xA0\x80" "A", false);
  CHECK(lv_same_name("a\0b", 3, "A\0B", 3));
  CHECK(!lv_same_name("a\0b", 3, "A\0C", 3));
  CHECK(lv_same_name("ab", 1, "AC", 1));
  /* A character that is cut off is not read on. */
  CHECK(!lv_same_name("A\xC3\xA9", 2, "a\xC3\xA9", 3));
  CHECK(lv_same_name(NULL, 0, NULL, 0));
}

/* What is the same name has the same hash, whatever bytes it is of. */
static void test_hash(void) {
  static const char *const rows[][2] = {
    {"Base.VHD", "bASE.vhd"}, {"\xC3\xA9", "\xC3\x89"}, {"a\xFF", "a\xFF"}};
  for (size_t i = 0; i < COUNT(rows); i++)
    CHECK_INT(lv_name_hash(rows[i][0], strlen(rows[i][0])),
              lv_name_hash(rows[i][1], strlen(rows[i][1])));
  CHECK(lv_name_hash("\xFF", 1) != lv_name_hash("\xFE", 1));
  CHECK(lv_name_hash("a", 1) != lv_name_hash("b", 1));
}

static void test_utf8_take(void) {
  uint32_t c = 0;

  CHECK_INT(lv_utf8_take("A\xC3\xA9", 3, &c), 1);
  CHECK_INT(c, 'A');
  CHECK_INT(lv_utf8_take("\xC3\xA9", 2, &c), 2);
  CHECK_INT(c, 0xE9);
  CHECK_INT(lv_utf8_take("\xF0\x9F\x92\xBE", 4, &c), 4);
  CHECK_INT(c, 0x1F4BE);
  CHECK_INT(lv_utf8_take("\xF0\x9F\x92\xBE", 3, &c), 0);
  CHECK_INT(lv_utf8_take("\xC0\x80", 2, &c), 0);
}

int main(void) {
  test_is();
  test_is_folder();
  test_good();
  test_characters();
  test_forms();
  test_endings();
  test_reserved();
  test_join();
  test_parts();
  test_from();
  test_drive();
  test_upcase();
  test_same_name();
  test_hash();
  test_utf8_take();
  return check_done();
}
