/* SPDX-License-Identifier: MIT
 *
 * Unit tests of what reading stands on: bitmaps, paths as text, and opening
 * beneath a folder, by openat2 and by the walk alike.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "check.h"
#include "folder.h"
#include "format/bitmap.h"
#include "io/drives.h"
#include "io/root.h"
#include "trouble.h"

/* ---- bitmaps --------------------------------------------------------- */

static uint32_t slow_find(const uint8_t *bits, uint32_t from, uint32_t end,
                          bool value) {
  while (from < end && lv_bit(bits, from) != value)
    from++;
  return from < end ? from : end;
}

static void test_bits(void) {
  uint8_t bits[64];
  unsigned seed = 7;
  CHECK(lv_bit((const uint8_t *)"\x80", 0));
  CHECK(!lv_bit((const uint8_t *)"\x80", 7));
  for (int round = 0; round < 200; round++) {
    memset(bits, round % 2 ? 0xFF : 0, sizeof bits);
    for (int i = 0; i < round % 7; i++) {
      seed = seed * 1103515245u + 12345u;
      bits[seed / 65536 % sizeof bits] ^= (uint8_t)(1u << seed / 7 % 8);
    }
    bool same = true;
    for (uint32_t from = 0; from <= 512; from++)
      same = same &&
             lv_bits_find(bits, from, 512, true) ==
               slow_find(bits, from, 512, true) &&
             lv_bits_find(bits, from, 509, false) ==
               slow_find(bits, from, 509, false);
    CHECK(same);
  }
  /* No byte behind the end is looked at: for those who watch the memory. */
  for (uint32_t end = 0; end <= 200; end += 8) {
    uint8_t *exact = malloc(end ? end / 8 : 1);
    if (!CHECK(exact != NULL))
      return;
    memset(exact, 0, end / 8);
    CHECK_INT(lv_bits_find(exact, 0, end, true), end);
    CHECK_INT(lv_bits_find(exact, end / 2, end, true), end);
    CHECK_INT(lv_bits_find(exact, end, end, false), end);
    free(exact);
  }
  memset(bits, 0, sizeof bits);
  lv_bit_set(bits, 9);
  CHECK_INT(bits[1], 0x40);
}

/* ---- paths as text --------------------------------------------------- */

static void resolves(const char *folder, const char *path, const char *want) {
  char *got = lv_path_resolve(folder, path);
  CHECK_STR(got, want);
  if (got)
    CHECK(lv_path_is_plain(got));
  free(got);
}

static void test_paths(void) {
  static const char *const plain[] = {"/", "/a", "/a/b.vhd", "/..a/b..",
                                      "/.a"};
  static const char *const other[] = {"", "a", "//", "/a/", "/a//b", "/.",
                                      "/..", "/a/./b", "/a/../b", "/a/.."};
  for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
    CHECK(lv_path_is_plain(plain[i]));
  for (size_t i = 0; i < sizeof other / sizeof *other; i++)
    CHECK(!lv_path_is_plain(other[i]));
  resolves("/a/b", "c.vhd", "/a/b/c.vhd");
  resolves("/a/b", "./c.vhd", "/a/b/c.vhd");
  resolves("/a/b", "../c.vhd", "/a/c.vhd");
  resolves("/a/b", "../../../c", "/c");
  resolves("/a/b", "x/../../y//z", "/a/y/z");
  resolves("/a/b", "/etc/../x", "/x");
  resolves("/", "c", "/c");
  resolves("/", "..", "/");
  resolves("/a", "..", "/");
  resolves("/a", "", "/a");
}

/* ---- roots ----------------------------------------------------------- */

static void make_tree(void) {
  base_make("read");
  CHECK(mkdir(in("in"), 0700) == 0);
  CHECK(mkdir(in("in/sub"), 0700) == 0);
  CHECK(mkdir(in("indeed"), 0700) == 0);
  put_text("in/a.vhd", "x");
  put_text("in/sub/b.vhd", "x");
  put_text("out.vhd", "x");
  put_text("indeed/x.vhd", "x");
  CHECK(symlink("../out.vhd", in("in/leads-out.vhd")) == 0);
  CHECK(symlink("a.vhd", in("in/stays.vhd")) == 0);
  CHECK(symlink("..", in("in/up")) == 0);
  CHECK(symlink("in", in("to-in")) == 0);
  CHECK(mkfifo(in("in/fifo"), 0600) == 0);
}

/* What opening `path` (below base) beneath `root` says. */
static void opens(struct lv_env *env, const char *root, const char *path,
                  int code, int reason) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lv_file file = LV_FILE_INIT;
  struct lv_root r;
  const char *rest = NULL;
  CHECK_INT(lv_root_init(&r, env, in(root), NULL), 0);
  rest = lv_root_rest(&r, in(path));
  if (reason < 0) {
    CHECK(rest == NULL);
  } else if (CHECK(rest != NULL)) {
    CHECK_INT(lv_root_open(&file, env, &r, rest, &err), code);
    CHECK_INT(err.reason, reason);
    CHECK((file.fd >= 0) == (code == 0));
    lv_file_close(&file, env);
  }
  lvhd_error_clear(&err);
  lv_root_free(&r, env);
}

static void test_roots(const struct lv_sys *sys) {
  struct lv_env env;
  lv_env_init(&env, sys);
  opens(&env, "in", "in/a.vhd", 0, 0);
  opens(&env, "in", "in/sub/b.vhd", 0, 0);
  opens(&env, "to-in", "to-in/a.vhd", 0, 0);
  opens(&env, "to-in", "in/sub/b.vhd", 0, 0);
  opens(&env, "in", "out.vhd", 0, -1);
  opens(&env, "in", "indeed/x.vhd", 0, -1);
  opens(&env, "in", "in", 0, -1);
  opens(&env, "in/a.vhd", "in/a.vhd", 0, 0);
  opens(&env, "in/a.vhd", "in/sub/b.vhd", 0, -1);
  opens(&env, "in", "in/leads-out.vhd", LVHD_E_ACCESSDENIED,
        LV_R_PARENT_OUTSIDE);
  opens(&env, "in", "in/stays.vhd", LVHD_E_ACCESSDENIED, LV_R_PARENT_OUTSIDE);
  opens(&env, "in", "in/up/out.vhd", LVHD_E_ACCESSDENIED,
        LV_R_PARENT_OUTSIDE);
  opens(&env, "in", "in/../out.vhd", LVHD_E_ACCESSDENIED,
        LV_R_PARENT_OUTSIDE);
  opens(&env, "in", "in/gone.vhd", LVHD_E_PATH_NOT_FOUND, LV_R_FILE_MISSING);
  opens(&env, "in", "in/gone/b.vhd", LVHD_E_PATH_NOT_FOUND,
        LV_R_FILE_MISSING);
  opens(&env, "in", "in/a.vhd/b.vhd", LVHD_E_PATH_NOT_FOUND,
        LV_R_NOT_A_FOLDER);
  opens(&env, "in", "in/sub", LVHD_VM_E_INVALID_HD_FILE, LV_R_NOT_REGULAR);
  opens(&env, "in", "in/fifo", LVHD_VM_E_INVALID_HD_FILE, LV_R_NOT_REGULAR);
}

/* ---- others work there as well ------------------------------------------ */

static struct trouble t;

static void replace_by_fifo(void) {
  CHECK(mkfifo(in("in/new"), 0600) == 0);
  CHECK(rename(in("in/new"), in("in/c.vhd")) == 0);
}

static void replace_by_file(void) {
  put_text("in/new", "x");
  CHECK(rename(in("in/new"), in("in/c.vhd")) == 0);
}

/* Opening in/c.vhd beneath `root`, a fresh file each time. */
static void opens_c(const char *root, int code, int reason) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lv_file file = LV_FILE_INIT;
  struct lv_env env;
  struct lv_root r;
  unsigned before = descriptors();
  lv_env_init(&env, &lv_sys_real);
  unlink(in("in/c.vhd"));
  put_text("in/c.vhd", "x");
  CHECK_INT(lv_root_init(&r, &env, in(root), NULL), 0);
  env.sys = &t.sys;
  trouble_again(&t);
  CHECK_INT(lv_root_open(&file, &env, &r, "c.vhd", &err), code);
  CHECK_INT(err.reason, reason);
  CHECK((file.fd >= 0) == (code == 0));
  lv_file_close(&file, &env);
  lv_root_free(&r, &env);
  lvhd_error_clear(&err);
  CHECK_INT(t.wrong, 0);
  CHECK_INT(descriptors(), before);
}

/* What was looked at is not what is opened. */
static void test_replaced(void) {
  trouble_begin(&t);
  opens_c("in", 0, 0);
  trouble_meddle(&t, "openat2", replace_by_fifo, 2);
  opens_c("in", LVHD_VM_E_INVALID_HD_FILE, LV_R_NOT_REGULAR);
  opens_c("in/c.vhd", LVHD_VM_E_INVALID_HD_FILE, LV_R_NOT_REGULAR);
  trouble_over(&t);
  trouble_meddle(&t, "openat2", replace_by_file, 2);
  opens_c("in", 0, 0);
  opens_c("in/c.vhd", LVHD_E_ACCESSDENIED, LV_R_PARENT_OUTSIDE);
  /* fstat: of the look, of the file */
  for (unsigned from = 1; from <= 2; from++) {
    trouble_over(&t);
    trouble_fail(&t, "fstat", EIO, from, 1);
    opens_c("in", LVHD_DISP_E_EXCEPTION, 0);
  }
  unlink(in("in/c.vhd"));
}

/* An image is found in its folder by its inode. */
static void around(struct lv_env *env, const char *path, int code,
                   int reason) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lv_file file = LV_FILE_INIT;
  struct lv_root r;
  unsigned before = descriptors();
  CHECK_INT(lv_file_open(&file, env, in("in/a.vhd"), NULL), 0);
  CHECK_INT(lv_root_around(&r, env, &file, in(path), &err), code);
  CHECK_INT(err.reason, reason);
  CHECK((r.fd >= 0) == (code == 0));
  if (err.reason != reason)
    fprintf(stderr, "  around %s\n", path);
  lv_root_free(&r, env);
  lv_file_close(&file, env);
  lvhd_error_clear(&err);
  CHECK_INT(descriptors(), before);
}

static void test_around(void) {
  struct lv_drives none = {0};
  struct lv_env env;
  lv_env_init(&env, NULL);
  around(&env, "in/a.vhd", 0, 0);
  around(&env, "in/gone.vhd", LVHD_E_ACCESSDENIED, LV_R_PARENT_OUTSIDE);
  around(&env, "in/sub/b.vhd", LVHD_E_ACCESSDENIED, LV_R_PARENT_OUTSIDE);
  around(&env, "in/stays.vhd", LVHD_E_ACCESSDENIED, LV_R_PARENT_OUTSIDE);
  around(&env, "gone/a.vhd", LVHD_E_PATH_NOT_FOUND, LV_R_FILE_MISSING);
  /* With drives no link leads there. */
  env.drives = &none;
  around(&env, "in/a.vhd", 0, 0);
  around(&env, "to-in/a.vhd", LVHD_E_ACCESSDENIED, LV_R_PARENT_OUTSIDE);
  around(&env, "to-in/sub/b.vhd", LVHD_E_ACCESSDENIED, LV_R_PARENT_OUTSIDE);
  around(&env, "gone/a.vhd", LVHD_E_PATH_NOT_FOUND, LV_R_FILE_MISSING);
}

/* ---- openat2 and the walk ------------------------------------------------- */

/* Who refuses openat2 is walked around; once there is none, none is asked. */
static void test_refusals(void) {
  static const int walked[] = {ENOSYS, EPERM, EINVAL, EAGAIN};
  const char *call = NULL;
  struct lv_root r;
  struct lv_env env;
  int fd = -1;
  for (size_t i = 0; i < sizeof walked / sizeof walked[0]; i++) {
    trouble_begin(&t);
    lv_env_init(&env, &t.sys);
    CHECK_INT(lv_root_init(&r, &env, in("in"), NULL), 0);
    trouble_fail(&t, "openat2", walked[i], 1, ALWAYS);
    for (int n = 0; n < 3; n++) {
      fd = lv_root_fd(&env, &r, "sub/b.vhd", O_RDONLY, &call);
      CHECK(fd >= 0);
      CHECK_STR(call, "openat");
      close(fd);
    }
    /* EAGAIN is tried again before */
    CHECK(t.rules[0].calls == (walked[i] == ENOSYS   ? 1u
                               : walked[i] == EAGAIN ? 12u
                                                     : 3u));
    lv_root_free(&r, &env);
  }
  trouble_begin(&t);
  lv_env_init(&env, &t.sys);
  CHECK_INT(lv_root_init(&r, &env, in("in"), NULL), 0);
  trouble_fail(&t, "openat2", EACCES, 1, ALWAYS);
  CHECK(lv_root_fd(&env, &r, "a.vhd", O_RDONLY, &call) < 0);
  CHECK_INT(errno, EACCES);
  CHECK_STR(call, "openat2");
  lv_root_free(&r, &env);
}

/* Names that are none end the walk, and nothing stays open. */
static void test_walk(const struct lv_sys *walking) {
  static const struct {
    const char *rest;
    int errnum;
  } rows[] = {{"./a.vhd", ENOENT},      {"sub//b.vhd", ENOENT},
              {"sub/./b.vhd", ENOENT},  {"sub/../a.vhd", EXDEV},
              {"..", EXDEV},            {"sub/..", EXDEV},
              {".x", ENOENT},           {"x.", ENOENT},
              {"..x", ENOENT},          {"...", ENOENT},
              {"sub/gone", ENOENT},     {"a.vhd/b", ENOTDIR},
              {"stays.vhd/b", ELOOP},   {"sub/b.vhd/c", ENOTDIR}};
  char longest[NAME_MAX + 2];
  const char *call = NULL;
  struct lv_root r;
  struct lv_env env;
  unsigned before = descriptors();
  lv_env_init(&env, walking);
  CHECK_INT(lv_root_init(&r, &env, in("in"), NULL), 0);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    CHECK(lv_root_fd(&env, &r, rows[i].rest, O_RDONLY, &call) < 0);
    if (!CHECK(errno == rows[i].errnum))
      fprintf(stderr, "  '%s': %d\n", rows[i].rest, errno);
  }
  memset(longest, 'x', sizeof longest);
  longest[NAME_MAX + 1] = '\0';
  CHECK(lv_root_fd(&env, &r, longest, O_RDONLY, &call) < 0);
  CHECK_INT(errno, ENAMETOOLONG);
  longest[NAME_MAX] = '\0';
  CHECK(lv_root_fd(&env, &r, longest, O_RDONLY, &call) < 0);
  CHECK_INT(errno, ENOENT);
  lv_root_free(&r, &env);
  CHECK_INT(descriptors(), before);
}

/* What lies behind a root is something. */
static void test_rests(void) {
  struct lv_root all = {.fd = -1, .given = (char[]){"/"},
                        .real = (char[]){"/"}};
  struct lv_root a = {.fd = -1, .given = (char[]){"/a"},
                      .real = (char[]){"/b"}};
  CHECK(lv_root_rest(&all, "/") == NULL);
  CHECK_STR(lv_root_rest(&all, "/x"), "x");
  CHECK(lv_root_rest(&a, "/a") == NULL);
  CHECK(lv_root_rest(&a, "/a/") == NULL);
  CHECK(lv_root_rest(&a, "/ab") == NULL);
  CHECK(lv_root_rest(&a, "/c/x") == NULL);
  CHECK_STR(lv_root_rest(&a, "/a/x"), "x");
  CHECK_STR(lv_root_rest(&a, "/b/x/y"), "x/y");
  CHECK(lv_root_rest(&a, "/b/") == NULL);
}

int main(void) {
  struct trouble walking;
  char command[sizeof base + 10];
  trouble_begin(&walking);
  trouble_fail(&walking, "openat2", ENOSYS, 1, ALWAYS);
  test_bits();
  test_paths();
  make_tree();
  test_roots(NULL);
  test_roots(&walking.sys);
  test_replaced();
  test_around();
  test_refusals();
  test_walk(&walking.sys);
  test_rests();
  snprintf(command, sizeof command, "rm -r %s", base);
  CHECK_INT(system(command), 0);
  return check_done();
}
