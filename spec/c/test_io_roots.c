/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/io on its rare ways: folders and files that nothing leads
 * out of, descriptors below 3, and the walk, while calls fail or somebody
 * changes what was looked at a moment ago.
 */
#include <fcntl.h>

#include "io/root.h"
#include "io/walk.h"
#include "poor.h"
#include "told.h"
#include "trouble.h"

static struct trouble t;
static struct lv_env env;
static struct lv_root root;
static struct lv_file opened;
static struct lvhd_error err = LVHD_ERROR_INIT;

/* All is well, and nothing is known of the host. */
static void anew(void) {
  trouble_begin(&t);
  lv_env_init(&env, &t.sys);
}

static void begin_file(void) {
  anew();
  put_text("file", "bytes");
  CHECK_INT(lv_file_open(&opened, &env, in("file"), &err), 0);
}

static void end_file(void) {
  lv_file_close(&opened, &env);
  CHECK_INT(remove(in("file")), 0);
}

/* ---- roots -------------------------------------------------------------- */

static void begin_root(const char *name) {
  anew();
  CHECK_INT(lv_root_init(&root, &env, in(name), &err), 0);
}

static int root_open(const char *rest) {
  struct lv_file file;
  unsigned open = descriptors();
  int code = lv_root_open(&file, &env, &root, rest, &err);
  if (code == 0)
    lv_file_close(&file, &env);
  CHECK_INT(descriptors(), open);
  CHECK_INT(file.fd, -1);
  return code;
}

static void test_root_rest(void) {
  anew();
  CHECK_INT(lv_root_init(&root, &env, "/", &err), 0);
  CHECK_STR(lv_root_rest(&root, "/x/y"), "x/y");
  CHECK_STR(lv_root_rest(&root, "/"), NULL);
  lv_root_free(&root, &env);
  CHECK_INT(mkdir(in("a"), 0700), 0);
  begin_root("a///");
  CHECK_STR(root.given, in("a"));
  CHECK_STR(lv_root_rest(&root, in("a/y")), "y");
  CHECK_STR(lv_root_rest(&root, in("a/")), NULL);
  CHECK_STR(lv_root_rest(&root, in("a")), NULL);
  CHECK_STR(lv_root_rest(&root, in("ab")), NULL);
  CHECK_STR(lv_root_rest(&root, in("b/y")), NULL);
  lv_root_free(&root, &env);
  begin_root("./a");
  CHECK_STR(root.given, in("a"));
  lv_root_free(&root, &env);
  CHECK_INT(rmdir(in("a")), 0);
}

static int ask_root(void) {
  int code = lv_root_init(&root, &env, in("file"), NULL);
  lv_root_free(&root, &env);
  return code;
}

static int ask_folder_root(void) {
  int code = lv_root_init(&root, &env, in("./."), NULL);
  lv_root_free(&root, &env);
  return code;
}

static int ask_around(void) {
  int code = lv_root_around(&root, &env, &opened, in("file"), NULL);
  if (code == 0)
    CHECK_STR(root.real, base);
  lv_root_free(&root, &env);
  return code;
}

static void become_link(void) {
  (void)unlink(in("file"));
  CHECK_INT(symlink("/etc/passwd", in("file")), 0);
}

static void become_other(void) {
  put_text("other", "other");
  CHECK_INT(rename(in("other"), in("file")), 0);
}

static void become_none(void) {
  CHECK_INT(unlink(in("file")), 0);
}

static void become_folder(void) {
  become_none();
  CHECK_INT(mkdir(in("file"), 0700), 0);
}

/* A file as root: known by its inode, in the folder that it was in. */
static void test_file_root(void) {
  unsigned open = descriptors();
  begin_file();
  poorly("a root", ask_root);
  poorly("a folder as root", ask_folder_root);
  poorly("the folder of a file", ask_around);
  trouble_meddle(&t, "fstatat", become_other, 1);
  REASON(&err, lv_root_init(&root, &env, in("file"), &err), E_ACCESSDENIED,
         PARENT_OUTSIDE);
  trouble_over(&t);
  trouble_meddle(&t, "fstatat", become_none, 1);
  REASON(&err, lv_root_init(&root, &env, in("file"), &err), E_ACCESSDENIED,
         PARENT_OUTSIDE);
  put_text("file", "bytes");
  trouble_over(&t);
  trouble_fail(&t, "fstatat", EIO, 1, 1);
  TOLD(&err, lv_root_init(&root, &env, in("file"), &err), DISP_E_EXCEPTION,
       EIO, "fstatat");
  trouble_fail(&t, "fstat", EIO, 1, 1);
  TOLD(&err, lv_root_init(&root, &env, in("file"), &err), DISP_E_EXCEPTION,
       EIO, "fstat");
  trouble_fail(&t, "openat", ELOOP, 1, 1); /* the folder is a link by now */
  REASON(&err, lv_root_init(&root, &env, in("file"), &err), E_ACCESSDENIED,
         PARENT_OUTSIDE);
  trouble_over(&t);
  trouble_fail(&t, "openat", EMFILE, 1, 1);
  TOLD(&err, lv_root_init(&root, &env, in("file"), &err),
       VM_E_OUT_OF_RESOURCE, EMFILE, "openat");
  trouble_over(&t);
  trouble_fail(&t, "openat2", EMFILE, 1, 1);
  TOLD(&err, lv_root_init(&root, &env, in("file"), &err),
       VM_E_OUT_OF_RESOURCE, EMFILE, "openat2");
  CHECK_INT(descriptors(), open + 1);
  end_file();
}

static void move_folder(void) {
  CHECK_INT(rename(in("a"), in("b")), 0);
  CHECK_INT(symlink("b", in("a")), 0);
}

/* Its folder has moved, and a link is there: not the file's folder. */
static void test_folder_moved(void) {
  CHECK_INT(mkdir(in("a"), 0700), 0);
  put_text("a/file", "");
  anew();
  trouble_meddle(&t, "openat", move_folder, 1);
  REASON(&err, lv_root_init(&root, &env, in("a/file"), &err), E_ACCESSDENIED,
         PARENT_OUTSIDE);
  CHECK_INT(unlink(in("a")), 0);
  CHECK_INT(unlink(in("b/file")), 0);
  CHECK_INT(rmdir(in("b")), 0);
}

/* Another file has its name when it is opened. */
static void test_file_root_open(void) {
  begin_file();
  trouble_forge(&t, "fstatat", other_volume);
  REASON(&err, lv_root_init(&root, &env, in("file"), &err), E_ACCESSDENIED,
         PARENT_OUTSIDE);
  begin_root("file");
  CHECK_INT(root_open("file"), 0);
  trouble_forge(&t, "fstat", other_volume);
  REASON(&err, root_open("file"), E_ACCESSDENIED, PARENT_OUTSIDE);
  anew();
  become_other();
  REASON(&err, root_open("file"), E_ACCESSDENIED, PARENT_OUTSIDE);
  lv_root_free(&root, &env);
  end_file();
}

/* Between the look and the opening, and at each. */
static void test_root_open(void) {
  put_text("file", "bytes");
  begin_root("");
  trouble_meddle(&t, "openat2", become_link, 2);
  REASON(&err, root_open("file"), E_ACCESSDENIED, PARENT_OUTSIDE);
  REASON(&err, root_open("file"), E_ACCESSDENIED, PARENT_OUTSIDE);
  become_none();
  put_text("file", "bytes");
  trouble_over(&t);
  trouble_meddle(&t, "openat2", become_none, 2);
  TOLD(&err, root_open("file"), E_PATH_NOT_FOUND, ENOENT, "openat2");
  put_text("file", "bytes");
  trouble_over(&t);
  trouble_meddle(&t, "openat2", become_folder, 2);
  REASON(&err, root_open("file"), VM_E_INVALID_HD_FILE, NOT_REGULAR);
  REASON(&err, root_open("file"), VM_E_INVALID_HD_FILE, NOT_REGULAR);
  CHECK_INT(rmdir(in("file")), 0);
  put_text("file", "bytes");
  for (unsigned at = 1; at <= 2; at++) {
    trouble_over(&t);
    trouble_fail(&t, "fstat", EIO, at, 1);
    TOLD(&err, root_open("file"), DISP_E_EXCEPTION, EIO, "fstat");
  }
  trouble_over(&t);
  trouble_fail(&t, "openat2", EXDEV, 1, 1);
  CHECK_INT(lv_root_open(&opened, &env, &root, "file", NULL),
            LVHD_E_ACCESSDENIED);
  lv_root_free(&root, &env);
  CHECK_INT(unlink(in("file")), 0);
}

static int walk_as(const char *rest, int flags) {
  const char *call = NULL;
  unsigned open = descriptors();
  int fd = lv_root_fd(&env, &root, rest, O_PATH | O_CLOEXEC | flags, &call);
  int errnum = fd < 0 ? errno : 0;
  if (fd >= 0)
    close(fd);
  CHECK_INT(descriptors(), open);
  return errnum;
}

static int walk_to(const char *rest) {
  return walk_as(rest, 0);
}

/* A link where a folder must be is told from a file, by either way. */
static void test_root_folder(void) {
  CHECK_INT(mkdir(in("a"), 0700), 0);
  CHECK_INT(symlink("a", in("link")), 0);
  CHECK_INT(symlink(".", in("a/link")), 0);
  put_text("a/file", "");
  begin_root("");
  for (int old = 0; old < 2; old++) {
    atomic_store(&env.no_openat2, old != 0);
    CHECK_INT(walk_as("a", O_DIRECTORY), 0);
    CHECK_INT(walk_as("link", O_DIRECTORY), ELOOP);
    CHECK_INT(walk_as("a/link", O_DIRECTORY), ELOOP);
    CHECK_INT(walk_as("a/file", O_DIRECTORY), ENOTDIR);
    CHECK_INT(walk_as("a/file/x", O_DIRECTORY), ENOTDIR);
    CHECK_INT(walk_as("link/x", O_DIRECTORY), ELOOP);
    CHECK_INT(walk_as("link", 0), 0);
  }
  atomic_store(&env.no_openat2, false);
  trouble_fail(&t, "fstat", EIO, 1, 1);
  CHECK_INT(walk_as("link", O_DIRECTORY), ENOTDIR); /* it cannot be told */
  trouble_fail(&t, "openat2", EMFILE, 2, 1);
  CHECK_INT(walk_as("link", O_DIRECTORY), ENOTDIR);
  lv_root_free(&root, &env);
  CHECK_INT(unlink(in("a/file")), 0);
  CHECK_INT(unlink(in("a/link")), 0);
  CHECK_INT(unlink(in("link")), 0);
  CHECK_INT(rmdir(in("a")), 0);
}

/* Without openat2 the names are gone through: the same answers. */
static void test_root_walk(void) {
  CHECK_INT(mkdir(in("a"), 0700), 0);
  CHECK_INT(mkdir(in("a/b"), 0700), 0);
  CHECK_INT(symlink("a", in("link")), 0);
  put_text("a/file", "");
  begin_root("");
  atomic_store(&env.no_openat2, true);
  CHECK_INT(walk_to("a/b"), 0);
  CHECK_INT(walk_to("a/file"), 0);
  CHECK_INT(walk_to(""), 0);
  CHECK_INT(walk_to("a/"), 0);
  CHECK_INT(walk_to("a//b"), ENOENT);
  CHECK_INT(walk_to("/a"), ENOENT);
  CHECK_INT(walk_to("./a"), ENOENT);
  CHECK_INT(walk_to("a/."), ENOENT);
  CHECK_INT(walk_to("a/.."), EXDEV);
  CHECK_INT(walk_to(".x"), ENOENT);
  CHECK_INT(walk_to(".xy"), ENOENT);
  CHECK_INT(walk_to("..x"), ENOENT);
  CHECK_INT(walk_to("link/b"), ELOOP);
  CHECK_INT(walk_to("a/file/b"), ENOTDIR);
  CHECK_INT(walk_to("a/none/b"), ENOENT);
  CHECK_INT(walk_to("none/b"), ENOENT);
  CHECK_INT(walk_to(lengthy("a/", NAME_MAX + 1)), ENAMETOOLONG);
  trouble_fail(&t, "fstatat", EIO, 1, 1);
  CHECK_INT(walk_to("a/file/b"), ENOTDIR); /* it cannot be told */
  lv_root_free(&root, &env);
  CHECK_INT(unlink(in("a/file")), 0);
  CHECK_INT(unlink(in("link")), 0);
  CHECK_INT(rmdir(in("a/b")), 0);
  CHECK_INT(rmdir(in("a")), 0);
}

/* What each refusal of openat2 leads to. */
static void test_root_refused(void) {
  static const int refusals[] = {ENOSYS, EPERM, EINVAL, EAGAIN};
  put_text("file", "");
  begin_root("");
  for (size_t i = 0; i < COUNT(refusals); i++) {
    const char *call = NULL;
    int fd = -1;
    trouble_over(&t);
    atomic_store(&env.no_openat2, false);
    trouble_fail(&t, "openat2", refusals[i], 1, ALWAYS);
    fd = lv_root_fd(&env, &root, "file", O_RDONLY | O_CLOEXEC, &call);
    CHECK(fd >= 0);
    close(fd);
    CHECK_STR(call, "openat");
    CHECK_INT(env.no_openat2, refusals[i] == ENOSYS);
    CHECK_INT(t.rules[0].calls, refusals[i] == EAGAIN ? 4 : 1);
  }
  lv_root_free(&root, &env);
  CHECK_INT(unlink(in("file")), 0);
}

/* ---- descriptors below 3 ------------------------------------------------ */

static int lent; /* a real file, which the system calls 0 */

static int open_low(const struct lv_sys *sys, int dir, const char *path,
                    int flags, mode_t mode) {
  (void)sys, (void)dir, (void)path, (void)flags, (void)mode;
  return 0;
}

static int open_low2(const struct lv_sys *sys, int dir, const char *path,
                     int flags, uint64_t resolve) {
  (void)sys, (void)dir, (void)path, (void)flags, (void)resolve;
  return 2;
}

static int dup_lent(const struct lv_sys *sys, int fd, int least) {
  (void)sys;
  CHECK(fd < 3);
  CHECK_INT(least, 3);
  return dup(lent);
}

static unsigned closed_low;

static int close_high(const struct lv_sys *sys, int fd) {
  closed_low += fd < 3;
  return fd < 3 ? 0 : lv_sys_real.close(sys, fd);
}

/* Lifted, and emptied if it was made by this very call. */
static void lifted(int flags, off_t left) {
  struct stat st;
  int fd = -1;
  CHECK(ftruncate(lent, 0) == 0 && pwrite(lent, "printed", 7, 0) == 7);
  closed_low = 0;
  fd = lv_openat(&t.sys, AT_FDCWD, "x", flags, 0600);
  CHECK(fd >= 3);
  CHECK_INT(closed_low, 1);
  CHECK(fstat(lent, &st) == 0 && st.st_size == left);
  close(fd);
}

static void test_lift(void) {
  int fd = -1;
  anew();
  put_text("file", "");
  lent = open(in("file"), O_RDWR | O_CLOEXEC);
  t.sys.openat = open_low;
  t.sys.openat2 = open_low2;
  t.sys.dupfd = dup_lent;
  t.sys.close = close_high;
  lifted(O_RDWR | O_TMPFILE, 0);
  lifted(O_RDWR | O_CREAT | O_EXCL, 0);
  lifted(O_RDWR, 7);
  lifted(O_RDWR | O_CREAT, 7);
  lifted(O_RDWR | O_EXCL, 7);
  lifted(O_RDONLY | O_DIRECTORY, 7);
  trouble_fail(&t, "ftruncate", EIO, 1, 1);
  closed_low = 0;
  CHECK_INT(lv_openat(&t.sys, AT_FDCWD, "x", O_RDWR | O_TMPFILE, 0), -1);
  CHECK_INT(errno, EIO);
  CHECK_INT(closed_low, 1);
  fd = lv_openat2(&t.sys, AT_FDCWD, "x", O_RDONLY, 0);
  CHECK(fd >= 3);
  close(fd);
  CHECK_INT(closed_low, 2);
  t.sys.dupfd = trouble_dupfd;
  trouble_fail(&t, "dupfd", EMFILE, 1, 1);
  CHECK_INT(lv_openat(&t.sys, AT_FDCWD, "x", O_RDWR, 0), -1);
  CHECK_INT(errno, EMFILE);
  CHECK_INT(closed_low, 3);
  close(lent);
  CHECK_INT(unlink(in("file")), 0);
}

static void test_open_interrupted(void) {
  int fd = -1;
  anew();
  trouble_fail(&t, "openat", EINTR, 1, 2);
  trouble_fail(&t, "openat2", EINTR, 1, 9);
  fd = lv_openat(&t.sys, AT_FDCWD, "/", O_PATH, 0);
  CHECK(fd >= 0);
  close(fd);
  fd = lv_openat2(&t.sys, AT_FDCWD, "/", O_PATH, 0);
  CHECK(fd >= 0);
  close(fd);
  CHECK_INT(t.rules[0].calls, 3);
  CHECK_INT(t.rules[1].calls, 10);
}

/* ---- the walk ----------------------------------------------------------- */

/* What a whole walk came upon. */
static struct {
  unsigned files, skipped;
} found;

static const char *walk_from = base;

static int walk_all(bool shallow, struct lvhd_error *to) {
  struct lv_walk *walk = NULL;
  enum lv_walked what = LV_WALK_OTHER;
  int code = lv_walk_new(&walk, &env, to);
  memset(&found, 0, sizeof found);
  if (code == 0)
    code = shallow ? lv_walk_begin_shallow(walk, base, to)
                   : lv_walk_begin(walk, walk_from, to);
  while (code == 0 && what != LV_WALK_END) {
    struct lv_file file = LV_FILE_INIT;
    const char *path = NULL;
    code = lv_walk_step(walk, &what, &file, &path, to);
    found.files += what == LV_WALK_FILE;
    found.skipped += what == LV_WALK_SKIPPED;
    if (what == LV_WALK_FILE)
      CHECK(strncmp(path, in(""), strlen(base) + 1) == 0);
    lv_file_close(&file, &env);
  }
  lv_walk_free(walk);
  return code;
}

static int ask_walk(void) {
  return walk_all(false, NULL);
}

static int walked(unsigned files, unsigned skipped) {
  unsigned open = descriptors();
  int code = walk_all(false, &err);
  CHECK_INT(descriptors(), open);
  CHECK_INT(found.files, files);
  CHECK_INT(found.skipped, skipped);
  return code;
}

/* A volume that does not say with a name what it is. */
static ssize_t untyped(const struct lv_sys *sys, int fd, void *buf,
                       size_t n) {
  ssize_t got =
    trouble_has(sys, "getdents") ? -1 : lv_sys_real.getdents(sys, fd, buf, n);
  for (ssize_t i = 0; i < got;) {
    struct dirent64 *entry = (void *)((char *)buf + i);
    entry->d_type = DT_UNKNOWN;
    i += entry->d_reclen;
  }
  return got;
}

/* Every folder is another volume's. */
static void many_volumes(void *answer) {
  static dev_t volume;
  struct stat *st = answer;
  if (S_ISDIR(st->st_mode)) {
    st->st_ino = 7;
    st->st_dev = ++volume;
  }
}

static void test_walk(void) {
  static const char *const folders[] = {"a", "a/b", "a/b/c", "d"};
  char name[16];
  for (size_t i = 0; i < COUNT(folders); i++)
    CHECK_INT(mkdir(in(folders[i]), 0700), 0);
  put_text("a/b/file", "");
  put_text("file", "");
  CHECK_INT(symlink("file", in("link")), 0);
  anew();
  CHECK_INT(walked(2, 0), 0);
  poorly("a walk", ask_walk);
  CHECK_INT(walk_all(true, &err), 0);
  CHECK_INT(found.files, 1);
  t.sys.getdents = untyped;
  CHECK_INT(walked(2, 0), 0);
  trouble_fail(&t, "fstatat", ENOENT, 1, 100); /* removed since */
  CHECK_INT(walked(0, 0), 0);
  trouble_over(&t);
  trouble_fail(&t, "fstatat", EIO, 1, 100);
  CHECK_INT(walked(0, 4), 0);
  trouble_over(&t);
  trouble_fail(&t, "fstatat", ENOMEM, 1, 1);
  TOLD(&err, walked(0, 0), E_OUTOFMEMORY, ENOMEM, "fstatat");
  trouble_over(&t);
  trouble_fail(&t, "getdents", EINTR, 1, 3);
  CHECK_INT(walked(2, 0), 0);
  trouble_over(&t);
  trouble_fail(&t, "getdents", EIO, 1, 1);
  TOLD(&err, walked(0, 0), DISP_E_EXCEPTION, EIO, "getdents64");
  anew();
  trouble_fail(&t, "getdents", EIO, 2, ALWAYS); /* below; and at its end */
  TOLD(&err, walk_all(false, &err), DISP_E_EXCEPTION, EIO, "getdents64");
  CHECK(found.skipped > 0);
  trouble_over(&t);
  trouble_fail(&t, "getdents", EMFILE, 2, 1);
  TOLD(&err, walk_all(false, &err), VM_E_OUT_OF_RESOURCE, EMFILE,
       "getdents64");
  trouble_over(&t);
  trouble_fail(&t, "fstat", EIO, 1, 1);
  TOLD(&err, walked(0, 0), DISP_E_EXCEPTION, EIO, "fstat");
  trouble_over(&t);
  trouble_fail(&t, "openat2", EACCES, 1, 1);
  TOLD(&err, walked(0, 0), E_ACCESSDENIED, EACCES, "openat2");
  trouble_over(&t);
  trouble_fail(&t, "openat", EACCES, 1, ALWAYS);
  CHECK_INT(walked(0, 3), 0);
  TOLD(&err, walk_all(true, &err), E_ACCESSDENIED, EACCES, "openat");
  /* Folders that only their volume tells apart are all gone through. */
  anew();
  for (int i = 0; i < 100; i++) {
    snprintf(name, sizeof name, "d/%d", i);
    CHECK_INT(mkdir(in(name), 0700), 0);
  }
  trouble_forge(&t, "fstat", many_volumes);
  CHECK_INT(walked(2, 0), 0);
  for (int i = 0; i < 100; i++) {
    snprintf(name, sizeof name, "d/%d", i);
    CHECK_INT(rmdir(in(name)), 0);
  }
  CHECK_INT(unlink(in("link")), 0);
  CHECK_INT(unlink(in("file")), 0);
  CHECK_INT(unlink(in("a/b/file")), 0);
  for (size_t i = COUNT(folders); i > 0; i--)
    CHECK_INT(rmdir(in(folders[i - 1])), 0);
}

/* A walk of the folder of all; not to its end. */
static void test_walk_root(void) {
  struct lv_walk *walk = NULL;
  struct lv_file file = LV_FILE_INIT;
  const char *path = NULL;
  enum lv_walked what = LV_WALK_OTHER;
  anew();
  CHECK_INT(lv_walk_new(&walk, &env, &err), 0);
  CHECK_INT(lv_walk_begin(walk, "/", &err), 0);
  for (int i = 0; i < 4; i++) {
    CHECK_INT(lv_walk_step(walk, &what, &file, &path, &err), 0);
    CHECK(path[0] == '/' && path[1] != '/');
    lv_file_close(&file, &env);
  }
  CHECK_INT(lv_walk_begin(walk, in(""), &err), 0); /* the other is given up */
  CHECK_INT(lv_walk_step(walk, &what, &file, &path, &err), 0);
  lv_file_close(&file, &env);
  lv_walk_free(walk);
  lv_walk_free(NULL);
}

static void become_file(void) {
  CHECK_INT(rmdir(in("file")), 0);
  put_text("file", "bytes");
}

/* Taken for a file, and it is none any more; or gone, or not for us. */
static void test_walk_races(void) {
  static void (*const changes[])(void) = {become_link, become_none,
                                          become_folder};
  for (size_t i = 0; i < COUNT(changes); i++) {
    put_text("file", "bytes");
    anew();
    trouble_meddle(&t, "openat", changes[i], 1);
    CHECK_INT(walked(0, 0), 0);
    if (exists("file"))
      CHECK_INT(remove(in("file")), 0);
  }
  CHECK_INT(mkdir(in("file"), 0700), 0); /* and a folder that was one */
  anew();
  trouble_meddle(&t, "openat", become_file, 1);
  CHECK_INT(walked(0, 0), 0);
  CHECK_INT(unlink(in("file")), 0);
  put_text("file", "bytes");
  anew();
  trouble_fail(&t, "openat", ENFILE, 1, 1);
  TOLD(&err, walked(0, 0), VM_E_OUT_OF_RESOURCE, ENFILE, "openat");
  trouble_over(&t);
  trouble_fail(&t, "fstat", EIO, 2, 1);
  CHECK_INT(walked(0, 1), 0);
  CHECK_INT(unlink(in("file")), 0);
}

int main(void) {
  unsigned open = descriptors();
  base_make("io-roots");
  test_root_rest();
  test_file_root();
  test_folder_moved();
  test_file_root_open();
  test_root_open();
  test_root_folder();
  test_root_walk();
  test_root_refused();
  test_lift();
  test_open_interrupted();
  test_walk();
  test_walk_root();
  test_walk_races();
  CHECK_INT(descriptors(), open);
  CHECK_INT(rmdir(base), 0);
  return check_done();
}
