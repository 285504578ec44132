/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/image/parent on files in memory: which names a child's
 * texts make, in what order they are tried, where they may lead, and which
 * failure is told.
 */
#include <limits.h>

#include "base/bytes.h"
#include "base/findings.h"
#include "faulty.h"
#include "image/parent.h"
#include "io/drives.h"

#define LEAF "/d/leaf.vhd"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXTS 1536u

enum {
  MISSING = LVHD_VM_E_PARENT_PATH_NOT_FOUND,
  DENIED = LVHD_E_ACCESSDENIED,
  DEVICE = LVHD_DISP_E_EXCEPTION
};

static struct mem_changes changes;

/* ---- a child ----------------------------------------------------------- */

struct hop {
  struct faulty f;
  struct lv_image child, parent;
  struct lv_policy policy;
  struct lv_drives *drives;
  struct lv_found found;
  struct lvhd_error err;
  int code;
};

/* A child of /d/base.vhd that says nothing of it yet. */
static void begin(struct hop *h) {
  memset(h, 0, sizeof *h);
  h->parent = (struct lv_image)LV_IMAGE_INIT;
  h->err = (struct lvhd_error)LVHD_ERROR_INIT;
  forge_seed(&h->f.mem, 3);
  faulty_begin(&h->f);
  CHECK_INT(lv_image_open(&h->child, &h->f.env, LEAF, NULL), 0);
  memset(h->child.header.locators, 0, sizeof h->child.header.locators);
  memset(h->child.header.parent_name, 0, LV_NAME_FIELD);
}

static void map(struct hop *h, const struct lvhd_drive *list, size_t n) {
  CHECK_INT(lv_drives_new(&h->drives, list, n, NULL), 0);
  h->f.env.drives = h->drives;
}

static void allow(struct hop *h, const char *const *parents, size_t n) {
  CHECK_INT(lv_policy_init(&h->policy, &h->f.env, &h->child, parents, n, 8,
                           NULL), 0);
}

static void end(struct hop *h) {
  lvhd_error_clear(&h->err);
  lv_image_close(&h->parent, &h->f.env);
  lv_image_close(&h->child, &h->f.env);
  lv_policy_free(&h->policy, &h->f.env);
  lv_drives_free(h->drives);
  faulty_end(&h->f);
}

/* One of the three slots of texts: UTF-16 for W2ru and W2ku. */
static void text(struct hop *h, unsigned i, const char *code,
                 const char *what) {
  struct lv_locator_entry *e = &h->child.header.locators[i];
  uint8_t bytes[512] = {0};
  size_t n = strlen(what), wide = code[1] == '2' ? 2 : 1;
  memcpy(e->code, code, 4);
  for (size_t k = 0; k < n; k++)
    bytes[k * wide] = (uint8_t)what[k];
  e->space = 512;
  e->length = (uint32_t)(n * wide);
  e->offset = TEXTS + 512 * i;
  mem_poke(&h->f.mem.files[0], e->offset, bytes, sizeof bytes);
}

static void field(struct hop *h, const char *name, bool big) {
  for (size_t i = 0; name[i]; i++)
    h->child.header.parent_name[2 * i + (big ? 1 : 0)] = (uint8_t)name[i];
}

/* With an error to fill and without one: the same. */
static void go(struct hop *h) {
  int code = 0;
  trouble_again(&h->f.t);
  code = lv_parent_open(&h->parent, &h->child, &h->f.env, &h->policy,
                        &h->found, NULL);
  lv_image_close(&h->parent, &h->f.env);
  lvhd_error_clear(&h->err);
  h->f.opened[0] = '\0';
  trouble_again(&h->f.t);
  memset(&h->found, 0, sizeof h->found);
  h->code = lv_parent_open(&h->parent, &h->child, &h->f.env, &h->policy,
                           &h->found, &h->err);
  CHECK_INT(code, h->code);
  CHECK_INT(h->err.code, h->code);
  CHECK((h->parent.path != NULL) == (h->code == 0));
  CHECK_INT(h->err.has & LVHD_AT_PARENT, h->code ? LVHD_AT_PARENT : 0);
  CHECK_STR(h->err.path, h->code ? LEAF : NULL);
}

/* One text, in a world without drives: the names that are asked for. */
static void asks(const char *code, const char *what, const char *names) {
  struct hop h;
  begin(&h);
  text(&h, 0, code, what);
  allow(&h, NULL, 0);
  go(&h);
  CHECK_INT(h.code, MISSING);
  CHECK_INT(h.err.reason, LV_R_PARENT_MISSING);
  CHECK_STR(h.f.opened, names);
  end(&h);
}

/* One text that leads to the parent. */
static void finds(const char *code, const char *what) {
  struct hop h;
  begin(&h);
  text(&h, 0, code, what);
  allow(&h, NULL, 0);
  go(&h);
  CHECK_INT(h.code, 0);
  CHECK_STR(h.parent.path, "/d/base.vhd");
  CHECK(h.found.how == LVHD_FOUND_LOCATOR);
  CHECK_STR(h.found.code, code);
  end(&h);
}

/* ---- names ------------------------------------------------------------- */

static void test_texts(void) {
  finds("W2ru", ".\\base.vhd");
  finds("W2ru", "base.vhd");
  finds("W2ru", "sub\\..\\base.vhd");
  finds("W2ku", "\\d\\base.vhd");
  finds("Wi2r", ".\\base.vhd");
  finds("Wi2k", "/d/base.vhd");
  finds("MacX", "file://./base.vhd");
  finds("MacX", "file://base.vhd");
  finds("MacX", "file:///d/base.vhd");
  finds("MacX", "file://localhost/d/base.vhd");
  finds("MacX", "file://./b%61s%65.vhd");
  asks("Wi2x", "base.vhd", "");
  asks("Mac ", "file://./base.vhd", "");
  asks("MacX", "./base.vhd", "");
  asks("MacX", "http://./base.vhd", "");
  asks("MacX", "file://localhost", " localhost");
  asks("MacX", "file://localhost.vhd", " localhost.vhd");
  /* what can be no file */
  asks("W2ru", "", "");
  asks("Wi2r", "", "");
  asks("MacX", "", "");
  asks("W2ru", ".", "");
  asks("W2ru", "..", "");
  asks("W2ru", "sub\\.", "");
  asks("W2ru", "sub\\..", "");
  asks("W2ru", "base.vhd\\", "");
  asks("W2ru", "..x", " ..x");
  asks("W2ru", ".x", " .x");
  /* a drive or a share: a place that nobody maps */
  asks("W2ku", "C:\\base.vhd", "");
  asks("W2ru", "a:base.vhd", "");
  asks("W2ru", "Z:base.vhd", "");
  asks("W2ru", "A:base.vhd", "");
  asks("W2ru", "z:base.vhd", "");
  asks("W2ku", "\\\\nas\\golden\\base.vhd", "");
  asks("W2ku", "//nas/golden/base.vhd", "");
  asks("W2ru", "1:x.vhd", " 1:x.vhd");
  asks("W2ru", "@:x.vhd", " @:x.vhd");
  asks("W2ru", "[:x.vhd", " [:x.vhd");
  asks("W2ru", "ab:x.vhd", " ab:x.vhd");
  asks("W2ru", "x.vhd", " x.vhd");
  asks("W2ru", ":x.vhd", " :x.vhd");
}

static void test_percent(void) {
  asks("MacX", "file://./%30%39%61%66%41%46.x",
       " %30%39%61%66%41%46.x 09afAF.x");
  asks("MacX", "file://./%2e%2F%4a", " %2e%2F%4a J");
  /* nothing is encoded */
  asks("MacX", "file://./a%", " a%");
  asks("MacX", "file://./a%3", " a%3");
  asks("MacX", "file://./a%/0%:0%g0%@0%`0%G0", " a%/0%:0%g0%@0%`0%G0");
  asks("MacX", "file://./a%0/%0:%0g%0@%0`%0G", " a%0/%0:%0g%0@%0`%0G");
  asks("MacX", "file://./a%41%", " a%41% aA%");
  asks("MacX", "file://./a%41%4", " a%41%4 aA%4");
  /* nor a NUL */
  asks("MacX", "file://./base.vhd%00.x", " base.vhd%00.x");
  asks("MacX", "file://./b%61%00.x", " b%61%00.x");
}

static void test_field(void) {
  static const char *const names[] = {"base.vhd", "C:\\x\\base.vhd",
                                      "/x/base.vhd", "x/y\\base.vhd",
                                      "x\\y/base.vhd"};
  for (size_t i = 0; i < COUNT(names); i++)
    for (unsigned big = 0; big < 2; big++) {
      struct hop h;
      begin(&h);
      field(&h, names[i], big);
      allow(&h, NULL, 0);
      go(&h);
      CHECK_INT(h.code, 0);
      CHECK_STR(h.parent.path, "/d/base.vhd");
      CHECK(h.found.how == LVHD_FOUND_NAME);
      CHECK_STR(h.found.code, "");
      end(&h);
    }
}

/* Relative ones, absolute ones, MacX, the field: whatever their slots. */
static void test_order(void) {
  struct hop h;
  begin(&h);
  text(&h, 0, "MacX", "file://./m.vhd");
  text(&h, 1, "W2ku", "/d/k.vhd");
  text(&h, 2, "W2ru", ".\\r.vhd");
  h.child.header.locators[7] = h.child.header.locators[2];
  field(&h, "nn", true);
  allow(&h, NULL, 0);
  go(&h);
  CHECK_INT(h.code, MISSING);
  CHECK_STR(h.f.opened,
            " r.vhd r.vhd k.vhd m.vhd nn \xE6\xB8\x80\xE6\xB8\x80");
  CHECK_STR(h.err.parent, "/d/r.vhd"); /* the first of those that say as much */
  end(&h);
  /* nothing at all */
  begin(&h);
  allow(&h, NULL, 0);
  go(&h);
  CHECK_INT(h.code, MISSING);
  CHECK_INT(h.err.reason, LV_R_PARENT_MISSING);
  CHECK_STR(h.err.parent, NULL);
  CHECK_STR(h.f.opened, "");
  end(&h);
  /* the texts of a file that cannot be read */
  begin(&h);
  text(&h, 0, "W2ru", "base.vhd");
  field(&h, "base.vhd", true);
  allow(&h, NULL, 0);
  faulty_break(&h.f, "pread", EIO, 1, 1);
  go(&h);
  CHECK_INT(h.code, DEVICE);
  CHECK_INT(h.err.errnum, EIO);
  CHECK_STR(h.f.opened, "");
  end(&h);
}

/* ---- where they may lead ----------------------------------------------- */

/* By the given text and places: the code, and what is told. */
static struct hop leads(const char *what, const char *const *parents, size_t n,
                        int code, int reason, const char *path) {
  struct hop h;
  begin(&h);
  h.f.mem.outside = n > 0;
  text(&h, 0, "MacX", what);
  allow(&h, parents, n);
  go(&h);
  CHECK_INT(h.code, code);
  CHECK_INT(h.err.reason, reason);
  CHECK_STR(code ? h.err.parent : h.parent.path, path);
  end(&h);
  return h;
}

static void test_roots(void) {
  static const char *const x[] = {"/x"};
  static const char *const away[] = {"/none", "/d/sub", "/x"};
  static const char *const file[] = {"/d/base.vhd"};
  leads("file:///secret.vhd", NULL, 0, DENIED, LV_R_PARENT_OUTSIDE,
        "/secret.vhd");
  leads("file://../secret.vhd", NULL, 0, DENIED, LV_R_PARENT_OUTSIDE,
        "/secret.vhd");
  leads("file:///x/root.vhd", NULL, 0, DENIED, LV_R_PARENT_OUTSIDE,
        "/x/root.vhd");
  leads("file://./out.vhd", NULL, 0, DENIED, LV_R_PARENT_OUTSIDE,
        "/d/out.vhd");
  leads("file://./away/secret.vhd", NULL, 0, DENIED, LV_R_PARENT_OUTSIDE,
        "/d/away/secret.vhd");
  leads("file://./fifo", NULL, 0, LVHD_VM_E_INVALID_HD_FILE,
        LV_R_NOT_REGULAR, "/d/fifo");
  leads("file:///x/none.vhd", x, 1, MISSING, LV_R_PARENT_MISSING,
        "/x/none.vhd");
  leads("file:///x/none.vhd", away, 3, MISSING, LV_R_PARENT_MISSING,
        "/x/none.vhd");
  leads("file:///d/base.vhd", away, 3, 0, 0, "/d/base.vhd");
  leads("file://./base.vhd", file, 1, 0, 0, "/d/base.vhd");
  leads("file://./sub/mid.vhd", away, 3, LVHD_VM_E_PARENT_CHILD_ID_MISMATCH,
        LV_R_PARENT_ID, "/d/sub/mid.vhd");
}

/* What is too long for the host, or not to be had on a volume, is missing. */
static void test_odd_names(void) {
  static const int errnums[] = {EINVAL, EILSEQ, ENOENT, ENAMETOOLONG};
  struct hop h;
  char longest[300] = "file://./", want[300] = "/d/";
  memset(longest + 9, 'n', 256);
  memset(want + 3, 'n', 256);
  leads(longest, NULL, 0, MISSING, LV_R_PARENT_MISSING, want);
  for (size_t i = 0; i < COUNT(errnums); i++) {
    begin(&h);
    text(&h, 0, "W2ru", "base.vhd");
    allow(&h, NULL, 0);
    h.f.mem.no_openat2 = true;
    faulty_break(&h.f, "openat", errnums[i], 1, 99);
    go(&h);
    CHECK_INT(h.code, MISSING);
    CHECK_STR(h.err.parent, "/d/base.vhd");
    end(&h);
  }
}

/* ---- drives ------------------------------------------------------------ */

static const struct lvhd_drive two[] = {{"C", "/d/sub"},
                                        {"\\\\nas\\golden", "/d"}};

/* By a text of that code, with drives. */
static void on_drive(const char *code, const char *what, const char *names,
                     const char *path) {
  struct hop h;
  begin(&h);
  map(&h, two, 2);
  text(&h, 0, code, what);
  allow(&h, NULL, 0);
  go(&h);
  CHECK_STR(h.code ? what : h.parent.path, path ? path : what);
  if (names)
    CHECK_STR(h.f.opened, names);
  end(&h);
}

static void test_drives(void) {
  const char *const base = "/d/base.vhd";
  on_drive("W2ku", "\\\\nas\\golden\\base.vhd", NULL, base);
  on_drive("W2ku", "\\\\NAS\\Golden\\sub\\..\\BASE.vhd", NULL, base);
  on_drive("W2ku", "//nas/golden/base.vhd", "", NULL);
  on_drive("Wi2k", "\\\\nas\\golden\\Base.VHD", NULL, base);
  on_drive("W2ru", "BASE.VHD", NULL, base);
  on_drive("W2ru", "sub\\..\\bAse.vhd", NULL, base);
  /* as it stands alone: the host's own names, and the URL */
  on_drive("W2ku", "/d/BASE.VHD", NULL, NULL);
  on_drive("MacX", "file://./BASE.VHD", NULL, NULL);
  on_drive("W2ku", "/d/base.vhd", NULL, base);
  /* what Windows would not take, and what leads to no file of a drive */
  on_drive("W2ku", "\\\\nas\\golden", "", NULL);
  on_drive("W2ku", "\\\\nas\\golden\\", "", NULL);
  on_drive("W2ku", "\\\\nas\\gold\\base.vhd", "", NULL);
  on_drive("W2ku", "\\\\nas\\golden\\a?b.vhd", "", NULL);
  on_drive("W2ku", "D:\\base.vhd", "", NULL);
  on_drive("W2ku", "C:base.vhd", "", NULL);
  on_drive("W2ku", "C:\\", "", NULL);
  on_drive("W2ku", "C:\\..\\base.vhd", NULL, NULL);
}

/* Names that differ in case lie on drives alone, and each of them is asked. */
static void test_any_case(void) {
  static const struct lvhd_drive sub[] = {{"C", "/d/sub"}};
  static const struct lvhd_drive same[] = {{"C", "/d"}, {"D", "/d"}};
  static const char *const d[] = {"/d"};
  struct hop h;
  begin(&h);
  map(&h, sub, 1);
  text(&h, 0, "W2ru", "BASE.VHD");
  allow(&h, d, 1);
  go(&h);
  CHECK_INT(h.code, MISSING);
  end(&h);
  begin(&h);
  text(&h, 0, "W2ru", "BASE.VHD");
  allow(&h, d, 1);
  go(&h);
  CHECK_INT(h.code, MISSING);
  end(&h);
  begin(&h);
  map(&h, same, 2);
  text(&h, 0, "W2ru", "BASE.VHD");
  allow(&h, NULL, 0);
  go(&h);
  CHECK_INT(h.code, 0);
  end(&h); /* and was opened once */
  begin(&h);
  map(&h, two, 2);
  field(&h, "BASE.VHD", true);
  allow(&h, NULL, 0);
  go(&h);
  CHECK_INT(h.code, 0);
  CHECK(h.found.how == LVHD_FOUND_NAME);
  end(&h);
}

static void make(struct hop *h, const char *path) {
  const struct lv_sys *sys = &h->f.mem.sys;
  int fd = sys->openat(sys, AT_FDCWD, path, O_CREAT | O_EXCL | O_WRONLY,
                            0);
  CHECK(fd >= 0);
  sys->close(sys, fd);
}

/* ---- which failure is told --------------------------------------------- */

/* The higher, the more it says; the first of equal ones. */
static const struct {
  const char *text; /* of a relative locator */
  int code, worth;
} candidates[] = {
  {"none.vhd", LVHD_E_PATH_NOT_FOUND, 1},
  {"out.vhd", LVHD_E_ACCESSDENIED, 2},
  {"TWICE.vhd", LVHD_E_INVALID_NAME, 3},
  {"fifo", LVHD_VM_E_INVALID_HD_FILE, 4},
  {"sub\\mid.vhd", LVHD_VM_E_PARENT_CHILD_ID_MISMATCH, 5},
  {"less.vhd", LVHD_E_PATH_NOT_FOUND, 1},
};

static void test_best(void) {
  for (size_t i = 0; i < COUNT(candidates); i++)
    for (size_t k = 0; k < COUNT(candidates); k++) {
      size_t best = candidates[k].worth > candidates[i].worth ? k : i;
      char parent[80] = "/d/";
      struct hop h;
      begin(&h);
      map(&h, two, 2);
      mem_writable(&h.f.mem, &changes, 0);
      make(&h, "/d/twice.vhd");
      make(&h, "/d/Twice.vhd");
      text(&h, 0, "W2ru", candidates[i].text);
      text(&h, 1, "W2ru", candidates[k].text);
      allow(&h, NULL, 0);
      go(&h);
      CHECK_INT(h.code, candidates[best].worth == 1 ? MISSING
                                                    : candidates[best].code);
      strcat(parent, candidates[best].text);
      for (char *at = parent; *at; at++)
        *at = *at == '\\' ? '/' : *at;
      CHECK_STR(h.err.parent, parent);
      end(&h);
    }
}

/* What is not about a name ends the search, and is told. */
static void test_grave(void) {
  static const struct {
    int errnum, code;
  } cases[] = {{EIO, DEVICE}, {EMFILE, LVHD_VM_E_OUT_OF_RESOURCE}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    struct hop h;
    begin(&h);
    text(&h, 0, "W2ru", "sub\\mid.vhd");
    text(&h, 1, "W2ru", "none.vhd");
    text(&h, 2, "W2ru", "base.vhd");
    allow(&h, NULL, 0);
    go(&h);
    CHECK_INT(h.code, 0);
    lv_image_close(&h.parent, &h.f.env);
    h.f.opened[0] = '\0';
    faulty_break(&h.f, "openat2", cases[i].errnum, 1, 99);
    go(&h);
    CHECK_INT(h.code, cases[i].code);
    CHECK_INT(h.err.errnum, cases[i].errnum);
    CHECK_STR(h.err.parent, "/d/sub/mid.vhd");
    CHECK_STR(h.f.opened, " sub/mid.vhd");
    end(&h);
  }
}

static void test_check(void) {
  struct lv_image parent = LV_IMAGE_INIT, child = LV_IMAGE_INIT;
  struct lvhd_error err = LVHD_ERROR_INIT;
  for (unsigned i = 0; i < 16; i++)
    parent.footer.uuid[i] = child.header.parent_uuid[i] = (uint8_t)i;
  CHECK_INT(lv_parent_check(&parent, &child, &err), 0);
  child.header.parent_uuid[15]++;
  CHECK_INT(lv_parent_check(&parent, &child, &err),
            LVHD_VM_E_PARENT_CHILD_ID_MISMATCH);
  CHECK_INT(err.reason, LV_R_PARENT_ID);
  CHECK_INT(err.has, LVHD_HAS_UUIDS);
  CHECK_INT(err.expected_uuid[15], 16);
  CHECK_INT(err.actual_uuid[15], 15);
  CHECK_INT(lv_parent_check(&parent, &child, NULL),
            LVHD_VM_E_PARENT_CHILD_ID_MISMATCH);
}

static void test_time(void) {
  struct lv_image parent = LV_IMAGE_INIT, child = LV_IMAGE_INIT;
  struct lv_findings list = {0};
  parent.file.st.st_mtim.tv_sec = FORGE_EPOCH + 1000;
  child.header.parent_timestamp = 1000;
  lv_parent_time(&parent, &child, &list);
  CHECK_INT(list.count, 0);
  child.header.parent_timestamp = 1001;
  lv_parent_time(&parent, &child, &list);
  if (CHECK(list.count == 1)) {
    CHECK(list.items[0].severity == LVHD_WARNING);
    CHECK_INT(list.items[0].reason, LV_R_PARENT_TIME);
    CHECK_INT(list.items[0].expected, FORGE_EPOCH + 1001);
    CHECK_INT(list.items[0].actual, FORGE_EPOCH + 1000);
  }
  lv_findings_free(&list);
}

/* ---- the policy -------------------------------------------------------- */

/* How many places are left, and what it says, when a call fails. */
static void places(const char *call, int errnum, unsigned from, size_t count,
                   int code) {
  static const char *const parents[] = {"/x"};
  struct hop h;
  begin(&h);
  map(&h, two, 2);
  h.f.mem.outside = true;
  faulty_break(&h.f, call, errnum, from, 1);
  CHECK_INT(lv_policy_init(&h.policy, &h.f.env, &h.child, parents, 1, 8, NULL),
            code);
  lv_policy_free(&h.policy, &h.f.env);
  trouble_again(&h.f.t);
  h.code = lv_policy_init(&h.policy, &h.f.env, &h.child, parents, 1, 8,
                          &h.err);
  CHECK_INT(h.code, code);
  CHECK_INT(h.err.code, code);
  CHECK_INT(h.err.errnum, code ? errnum : 0);
  CHECK_INT(h.policy.count, count);
  end(&h);
}

static void test_policy(void) {
  static const char *const parents[] = {"/none", "/x", "/d/none.vhd"};
  static const struct lvhd_drive map_of[] = {
    {"C", "/none"}, {"D", "/d"}, {"E", "/d/base.vhd/x"}};
  struct hop h;
  begin(&h);
  map(&h, map_of, 3);
  allow(&h, parents, 3);
  if (CHECK(h.policy.count == 3)) {
    CHECK_STR(h.policy.roots[0].real, "/d");
    CHECK_STR(h.policy.roots[1].real, "/d");
    CHECK_STR(h.policy.roots[2].real, "/x");
    CHECK_STR(h.policy.drives[0], NULL);
    CHECK_STR(h.policy.drives[1], "D:");
    CHECK_STR(h.policy.drives[2], NULL);
  }
  CHECK_INT(h.policy.max_depth, 8);
  end(&h);
  /* the leaf is no longer where it was: its folder does not count */
  begin(&h);
  h.child.file.st.st_ino++;
  allow(&h, NULL, 0);
  CHECK_INT(h.policy.count, 0);
  end(&h);
  places(NULL, 0, 0, 4, 0);
  places("folder", EACCES, 1, 3, 0); /* the leaf's */
  places("folder", EIO, 1, 0, DEVICE);
  for (unsigned from = 1; from <= 3; from++) { /* drives, and what is allowed */
    places("openat2", EACCES, from, 3, 0);
    places("openat2", EIO, from, 0, DEVICE);
  }
}

int main(void) {
  test_texts();
  test_percent();
  test_field();
  test_order();
  test_roots();
  test_odd_names();
  test_drives();
  test_any_case();
  test_best();
  test_grave();
  test_check();
  test_time();
  test_policy();
  return check_done();
}
