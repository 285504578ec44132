/* SPDX-License-Identifier: MIT
 *
 * Unit tests of what reading stands on: bitmaps, paths as text, and opening
 * beneath a folder, by openat2 and by the walk alike.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "check.h"
#include "format/bitmap.h"
#include "io/drives.h"
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

/* ---- others work there as well ------------------------------------------ */

static unsigned descriptors(void) {
  DIR *dir = opendir("/proc/self/fd");
  unsigned n = 0;
  while (dir && readdir(dir))
    n++;
  if (dir)
    closedir(dir);
  return n;
}

static void (*meanwhile)(void); /* before the second openat2 */
static unsigned calls;
static int refusal; /* errno of openat2; 0: as it is */
static int broken;  /* the fstat that fails; 0: none does */

static int watched(const struct lv_sys *sys, int dir, const char *path,
                   int flags, uint64_t resolve) {
  if (++calls == 2 && meanwhile)
    meanwhile();
  if (refusal != 0) {
    errno = refusal;
    return -1;
  }
  return lv_sys_real.openat2(sys, dir, path, flags, resolve);
}

static int failing_fstat(const struct lv_sys *sys, int fd, struct stat *st) {
  if (--broken == 0) {
    errno = EIO;
    return -1;
  }
  return lv_sys_real.fstat(sys, fd, st);
}

static void replace_by_fifo(void) {
  CHECK(mkfifo(in("in/new"), 0600) == 0);
  CHECK(rename(in("in/new"), in("in/c.vhd")) == 0);
}

static void replace_by_file(void) {
  touch("in/new");
  CHECK(rename(in("in/new"), in("in/c.vhd")) == 0);
}

/* Opening in/c.vhd beneath `root`, a fresh file each time. */
static void opens_c(const char *root, const struct lv_sys *sys, int code,
                    int reason) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lv_file file = LV_FILE_INIT;
  struct lv_env env;
  struct lv_root r;
  unsigned before = descriptors();
  lv_env_init(&env, sys);
  unlink(in("in/c.vhd"));
  touch("in/c.vhd");
  CHECK_INT(lv_root_init(&r, &env, in(root), NULL), 0);
  calls = 0;
  CHECK_INT(lv_root_open(&file, &env, &r, "c.vhd", &err), code);
  CHECK_INT(err.reason, reason);
  CHECK((file.fd >= 0) == (code == 0));
  lv_file_close(&file, &env);
  lv_root_free(&r, &env);
  lvhd_error_clear(&err);
  CHECK_INT(descriptors(), before);
}

/* What was looked at is not what is opened. */
static void test_replaced(void) {
  struct lv_sys sys = lv_sys_real;
  sys.openat2 = watched;
  sys.fstat = failing_fstat;
  opens_c("in", &sys, 0, 0);
  meanwhile = replace_by_fifo;
  opens_c("in", &sys, LVHD_VM_E_INVALID_HD_FILE, LV_R_NOT_REGULAR);
  opens_c("in/c.vhd", &sys, LVHD_VM_E_INVALID_HD_FILE, LV_R_NOT_REGULAR);
  meanwhile = replace_by_file;
  opens_c("in", &sys, 0, 0);
  opens_c("in/c.vhd", &sys, LVHD_E_ACCESSDENIED, LV_R_PARENT_OUTSIDE);
  meanwhile = NULL;
  /* fstat: of the folder that is the root, of the look, of the file */
  broken = 2;
  opens_c("in", &sys, LVHD_DISP_E_EXCEPTION, 0);
  broken = 3;
  opens_c("in", &sys, LVHD_DISP_E_EXCEPTION, 0);
  broken = 0;
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
  struct lv_sys sys = lv_sys_real;
  const char *call = NULL;
  struct lv_root r;
  struct lv_env env;
  int fd = -1;
  sys.openat2 = watched;
  for (size_t i = 0; i < sizeof walked / sizeof walked[0]; i++) {
    lv_env_init(&env, &sys);
    CHECK_INT(lv_root_init(&r, &env, in("in"), NULL), 0);
    refusal = walked[i];
    calls = 0;
    for (int n = 0; n < 3; n++) {
      fd = lv_root_fd(&env, &r, "sub/b.vhd", O_RDONLY, &call);
      CHECK(fd >= 0);
      CHECK_STR(call, "openat");
      close(fd);
    }
    /* EAGAIN is tried again before */
    CHECK(calls == (refusal == ENOSYS   ? 1u
                    : refusal == EAGAIN ? 12u
                                        : 3u));
    refusal = 0;
    lv_root_free(&r, &env);
  }
  lv_env_init(&env, &sys);
  CHECK_INT(lv_root_init(&r, &env, in("in"), NULL), 0);
  refusal = EACCES;
  CHECK(lv_root_fd(&env, &r, "a.vhd", O_RDONLY, &call) < 0);
  CHECK_INT(errno, EACCES);
  CHECK_STR(call, "openat2");
  refusal = 0;
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
  struct lv_sys walking = lv_sys_real;
  char command[64];
  walking.openat2 = no_openat2;
  test_bits();
  test_paths();
  make_tree();
  test_roots(NULL);
  test_roots(&walking);
  test_replaced();
  test_around();
  test_refusals();
  test_walk(&walking);
  test_rests();
  snprintf(command, sizeof command, "rm -r %s", base);
  CHECK_INT(system(command), 0);
  return check_done();
}
