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
#include "format/bitmap.h"
#include "io/root.h"

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

static char base[] = "/tmp/lvhd-root.XXXXXX";

static const char *in(const char *name) {
  static char path[4][256];
  static int turn;
  turn = (turn + 1) % 4;
  snprintf(path[turn], sizeof path[turn], "%s/%s", base, name);
  return path[turn];
}

static void touch(const char *name) {
  FILE *f = fopen(in(name), "w");
  CHECK(f != NULL);
  if (f) {
    fputs("x", f);
    fclose(f);
  }
}

static void make_tree(void) {
  CHECK(mkdtemp(base) != NULL);
  CHECK(mkdir(in("in"), 0700) == 0);
  CHECK(mkdir(in("in/sub"), 0700) == 0);
  CHECK(mkdir(in("indeed"), 0700) == 0);
  touch("in/a.vhd");
  touch("in/sub/b.vhd");
  touch("out.vhd");
  touch("indeed/x.vhd");
  CHECK(symlink("../out.vhd", in("in/leads-out.vhd")) == 0);
  CHECK(symlink("a.vhd", in("in/stays.vhd")) == 0);
  CHECK(symlink("..", in("in/up")) == 0);
  CHECK(symlink("in", in("to-in")) == 0);
  CHECK(mkfifo(in("in/fifo"), 0600) == 0);
}

static int no_openat2(const struct lv_sys *sys, int dir, const char *path,
                      int flags, uint64_t resolve) {
  (void)sys, (void)dir, (void)path, (void)flags, (void)resolve;
  errno = ENOSYS;
  return -1;
}

/* What opening `path` (below base) beneath `root` says. */
static void opens(struct lv_env *env, const char *root, const char *path,
                  int code, int reason) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lv_file file = LV_FILE_INIT;
  struct lv_root r;
  const char *rest = NULL;
  char full[300];
  snprintf(full, sizeof full, "%s/%s", base, path);
  CHECK_INT(lv_root_init(&r, env, in(root), NULL), 0);
  rest = lv_root_rest(&r, full);
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

int main(void) {
  struct lv_sys walking = lv_sys_real;
  char command[64];
  walking.openat2 = no_openat2;
  test_bits();
  test_paths();
  make_tree();
  test_roots(NULL);
  test_roots(&walking);
  snprintf(command, sizeof command, "rm -r %s", base);
  CHECK_INT(system(command), 0);
  return check_done();
}
