/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/io/root and src/io/folder: what lies beneath a folder and
 * what does not, with openat2 and without; what others do meanwhile; each call
 * and each allocation that fails.
 */
#include "ask.h"
#include "io/drives.h"
#include "io/folder.h"
#include "io/root.h"

/* ---- the question -------------------------------------------------------- */

static struct lv_env env;
static struct lv_drives *map; /* C: is ~/in */

/* What is asked: a root, and something below it. */
static struct {
  const char *root, *rest;
  bool maps, walks;
} q;

static void begin(void) {
  lv_env_init(&env, &calls.sys);
  env.drives = q.maps ? map : NULL;
  atomic_store(&env.no_openat2, q.walks);
  errno = EACCES; /* of before: it says nothing */
}

/* The folder that is held is the one of that path. */
static bool is_folder_of(int fd, const char *path) {
  struct stat a, b;
  return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
         a.st_dev == b.st_dev;
}

static int ask_init(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_root root;
  int code = 0;
  begin();
  code = lv_root_init(&root, &env, whole(q.root), err);
  if (code != 0) {
    CHECK(root.fd == -1 && root.given == NULL && root.real == NULL);
    return code;
  }
  snprintf(answer, ANSWER, "%.400s %.400s %s", brief(root.given),
           brief(root.real),
           root.is_file ? "file" : "folder");
  if (root.is_file)
    CHECK(is_folder_of(root.fd, whole("~/in")));
  else
    CHECK(is_folder_of(root.fd, root.real));
  lv_root_free(&root, &env);
  CHECK(root.fd == -1 && root.given == NULL);
  return 0;
}

static int ask_around(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_file file = LV_FILE_INIT;
  struct lv_root root;
  int code = 0;
  CHECK_INT(stat(whole("~/in/a.vhd"), &file.st), 0);
  begin();
  code = lv_root_around(&root, &env, &file, whole(q.root), err);
  if (code != 0) {
    CHECK(root.fd == -1 && root.given == NULL && root.real == NULL);
    return code;
  }
  snprintf(answer, ANSWER, "%.400s %.400s", brief(root.given),
           brief(root.real));
  CHECK(is_folder_of(root.fd, root.real) && !root.is_file);
  lv_root_free(&root, &env);
  return 0;
}

static int ask_open(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_file file;
  struct lv_root root;
  int code = 0;
  begin();
  code = lv_root_init(&root, &env, whole(q.root), err);
  if (code != 0)
    return code;
  code = lv_root_open(&file, &env, &root, q.rest, err);
  CHECK((code == 0) == (file.fd >= 0));
  if (code == 0) {
    CHECK(file.real && S_ISREG(file.st.st_mode));
    snprintf(answer, ANSWER, "%s", name_in(file.fd));
  }
  lv_file_close(&file, &env);
  lv_root_free(&root, &env);
  return code;
}

/* Of whatever kind: its inode's path. */
static void say_open(char answer[ANSWER], int fd) {
  char proc[40], path[PATH_MAX];
  ssize_t n = 0;
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  n = readlink(proc, path, sizeof path - 1);
  path[n < 0 ? 0 : n] = '\0';
  snprintf(answer, ANSWER, "%.900s", brief(path));
}

static int ask_fd(char answer[ANSWER], struct lvhd_error *err) {
  const char *call = NULL;
  struct lv_root root;
  int code = 0, fd = -1;
  begin();
  code = lv_root_init(&root, &env, whole(q.root), err);
  if (code != 0)
    return code;
  fd = lv_root_fd(&env, &root, q.rest, O_PATH | O_CLOEXEC, &call);
  if (fd < 0) {
    code = lv_fail_errno(err, LV_STEP_FILE, errno, call);
  } else {
    say_open(answer, fd);
    close(fd);
  }
  lv_root_free(&root, &env);
  return code;
}

static int ask_real(char answer[ANSWER], struct lvhd_error *err) {
  const char *call = NULL;
  int fd = -1;
  begin();
  fd = lv_open_real(&env, whole(q.root), O_PATH | O_CLOEXEC, &call);
  if (fd < 0)
    return lv_fail_errno(err, LV_STEP_FILE, errno, call);
  say_open(answer, fd);
  close(fd);
  return 0;
}

/* ---- roots --------------------------------------------------------------- */

#define MISSING "E_PATH_NOT_FOUND/FILE_MISSING ENOENT "
#define NO_FOLDER "E_PATH_NOT_FOUND/NOT_A_FOLDER ENOTDIR "
#define OUTSIDE "E_ACCESSDENIED/PARENT_OUTSIDE"
#define NOT_REGULAR "VM_E_INVALID_HD_FILE/NOT_REGULAR"

struct row {
  const char *root, *rest, *want;
};

static void init_roots(void) {
  static const struct row rows[] = {
    {"~/in", 0, "~/in ~/in folder"},
    {"~/in/", 0, "~/in ~/in folder"},
    {"~/in//", 0, "~/in ~/in folder"},
    {"~/lin", 0, "~/lin ~/in folder"},
    {"~/lin/", 0, "~/lin ~/in folder"},
    {"~/in/../in", 0, "~/in ~/in folder"},
    {"~/lin/.", 0, "~/in ~/in folder"},
    {"/", 0, "/ / folder"},
    {"///", 0, "/ / folder"},
    {"~/in/a.vhd", 0, "~/in/a.vhd ~/in/a.vhd file"},
    {"~/in/own", 0, "~/in/own ~/in/a.vhd file"},
    {"~/in/missing", 0, MISSING "openat2"},
    {"~/in/a.vhd/x", 0, NO_FOLDER "openat2"},
    {"~/in/nowhere", 0, MISSING "openat"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    q.root = rows[i].root;
    q.maps = false;
    expect(ask_init, q.root, rows[i].want);
    q.maps = true;
    expect(ask_init, q.root, rows[i].want);
  }
  calls_unheard = "openat2"; /* the short way, before name by name */
  q.root = "C:\\Sub";
  expect(ask_init, q.root, "~/in/sub ~/in/sub folder");
  q.root = "C:\\A.vhd";
  expect(ask_init, q.root, "~/in/a.vhd ~/in/a.vhd file");
  q.root = "C:\\none";
  expect(ask_init, q.root, "E_PATH_NOT_FOUND/FILE_MISSING");
  calls_unheard = "";
  q.maps = false;
}

static void link_folder(void) {
  move("~/in", "~/was");
  put_link("~/was", "~/in");
}

static void unlink_folder(void) {
  drop("~/in");
  move("~/was", "~/in");
}

static void other_file(void) {
  move("~/in/a.vhd", "~/in/kept");
  put_file("~/in/a.vhd");
}

static void no_file(void) { move("~/in/a.vhd", "~/in/kept"); }
static void file_back(void) { move("~/in/kept", "~/in/a.vhd"); }

static void other_inode(void *st) { ((struct stat *)st)->st_ino++; }

/* Between the look at a file and the hold of its folder. */
static void change_roots(void) {
  q.root = "~/in/a.vhd";
  for (int maps = 0; maps < 2; maps++) {
    q.maps = maps != 0;
    calls_break("fstat", 0, 1, 1)->meddle = link_folder;
    expect_once(ask_init, "a link", OUTSIDE);
    unlink_folder();
  }
  calls_break("fstat", 0, 1, 1)->meddle = other_file;
  expect_once(ask_init, "another file", OUTSIDE);
  file_back();
  calls_break("fstat", 0, 1, 1)->meddle = no_file;
  expect_once(ask_init, "no file", OUTSIDE);
  file_back();
  calls_break("fstat", 0, 1, 1)->forge = other_volume;
  expect_once(ask_init, "another volume", OUTSIDE);
  calls_break("fstat", 0, 1, 1)->forge = other_inode;
  expect_once(ask_init, "another number", OUTSIDE);
}

static void hold_around(void) {
  q.root = "~/in/a.vhd";
  expect(ask_around, q.root, "~/in ~/in");
  q.maps = true;
  expect(ask_around, q.root, "~/in ~/in");
  q.root = "~/lin/a.vhd";
  calls_unheard = "openat2 fstat"; /* whether it is a link */
  expect(ask_around, q.root, OUTSIDE);
  calls_unheard = "";
  q.maps = false;
  q.root = "~/in/sub/b.vhd";
  expect(ask_around, q.root, OUTSIDE);
  q.root = "~/in/missing";
  expect(ask_around, q.root, OUTSIDE);
  q.root = "~/none/a.vhd";
  expect(ask_around, q.root, MISSING "openat");
}

/* What lies behind a root, as text. */
static void rest_of_roots(void) {
  char given[] = "/a/l", real[] = "/a/b", all[] = "/";
  const struct lv_root folder = {.given = given, .real = real};
  const struct lv_root file = {.given = given, .real = real, .is_file = true};
  const struct lv_root whole_tree = {.given = all, .real = all};
  static const struct {
    const char *path, *folder, *file, *all;
  } rows[] = {
    {"/a/l/x", "x", NULL, "a/l/x"},
    {"/a/b/x/y", "x/y", NULL, "a/b/x/y"},
    {"/a/b", NULL, "", "a/b"},
    {"/a/l", NULL, "", "a/l"},
    {"/a/b/", NULL, NULL, "a/b/"},
    {"/a/bc", NULL, NULL, "a/bc"},
    {"/a/bcx", NULL, NULL, "a/bcx"},
    {"/a/c/x", NULL, NULL, "a/c/x"},
    {"/", NULL, NULL, NULL},
    {"/a", NULL, NULL, "a"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    CHECK_STR(lv_root_rest(&folder, rows[i].path), rows[i].folder);
    CHECK_STR(lv_root_rest(&file, rows[i].path), rows[i].file);
    CHECK_STR(lv_root_rest(&whole_tree, rows[i].path), rows[i].all);
  }
}

static void path_of_roots(void) {
  char real[] = "/a/b";
  struct lv_root root = {.real = real};
  char *path = lv_root_path(&root, "x");
  CHECK_STR(path, "/a/b/x");
  free(path);
  root.is_file = true;
  path = lv_root_path(&root, "");
  CHECK_STR(path, "/a/b");
  free(path);
}

/* ---- opening ------------------------------------------------------------- */

#define N50 "12345678901234567890123456789012345678901234567890"
#define N255 N50 N50 N50 N50 N50 "12345"

/* The same answers with openat2 and by the walk. */
static void open_below(void) {
  static const struct row rows[] = {
    {"~/in", "a.vhd", "~/in/a.vhd"},
    {"~/in", "sub/b.vhd", "~/in/sub/b.vhd"},
    {"~/in", "sub/deep/c.vhd", "~/in/sub/deep/c.vhd"},
    {"~/in", "sub/.d", "~/in/sub/.d"},
    {"~/in", "sub/d.", "~/in/sub/d."},
    {"~/in", "sub/..d", "~/in/sub/..d"},
    {"~/in", "x/b.vhd", "~/in/x/b.vhd"},
    {"~/lin", "xy/b.vhd", "~/in/xy/b.vhd"},
    {"~/in/a.vhd", "", "~/in/a.vhd"},
    {"~/in/own", "", "~/in/a.vhd"},
    {"~/in", "own", OUTSIDE " ELOOP "},
    {"~/in", "nowhere", OUTSIDE " ELOOP "},
    {"~/in", "lsub/b.vhd", OUTSIDE " ELOOP "},
    {"~/in", "sub/up/a.vhd", OUTSIDE " ELOOP "},
    {"~/in", "..", OUTSIDE " EXDEV "},
    {"~/in", "../out.vhd", OUTSIDE " EXDEV "},
    {"~/in", "a.vhd/x", NO_FOLDER},
    {"~/in", "sub/b.vhd/x/y", NO_FOLDER},
    {"~/in", "missing", MISSING},
    {"~/in", "missing/x", MISSING},
    {"~/in", N255, MISSING},
    {"~/in", N255 "x", "E_BUFFER_OVERFLOW ENAMETOOLONG "},
    {"~/in", "sub", NOT_REGULAR},
    {"~/in", "fifo", NOT_REGULAR},
    {"~/in/fifo", "", NOT_REGULAR},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    for (int walks = 0; walks < 2; walks++) {
      char want[ANSWER];
      size_t n = strlen(rows[i].want);
      q.root = rows[i].root;
      q.rest = rows[i].rest;
      q.walks = walks != 0;
      snprintf(want, sizeof want, "%s%s", rows[i].want,
               rows[i].want[n - 1] != ' ' ? "" : walks ? "openat"
                                                       : "openat2");
      calls_also = NO_FOLDER "openat"; /* nobody knows if it is a link */
      expect(ask_open, q.rest, want);
      calls_also = NULL;
    }
  q.root = "~/in";
  q.rest = "sub/../../out.vhd"; /* openat2 knows that ".." comes back */
  expect(ask_open, q.rest, OUTSIDE " EXDEV openat");
  q.rest = "./a.vhd";
  expect(ask_open, q.rest, MISSING "openat");
  q.rest = "sub/";
  q.walks = false;
}

/* A FIFO is looked at and not opened: who waits at its other end sleeps on. */
static void let_sleep(void) {
  q.root = "~/in";
  q.rest = "fifo";
  calls_break("openat2", EIO, 3, 1);
  CHECK_STR(answer_of(ask_open, q.rest), NOT_REGULAR);
  CHECK(calls.hit == NULL);
}

static void fifo_now(void) {
  no_file();
  CHECK_INT(mkfifo(whole("~/in/a.vhd"), 0600), 0);
}

static void link_now(void) {
  no_file();
  put_link("kept", "~/in/a.vhd");
}

static void none_now(void) {
  drop("~/in/a.vhd");
  file_back();
}

/* Between the look at a name and the opening: openat2 is asked for both. */
static void change_files(void) {
  q.root = "~/in";
  q.rest = "a.vhd";
  calls_break("openat2", 0, 3, 1)->meddle = fifo_now;
  expect_once(ask_open, "a fifo", NOT_REGULAR);
  none_now();
  calls_break("openat2", 0, 3, 1)->meddle = link_now;
  expect_once(ask_open, "a link", OUTSIDE " ELOOP openat2");
  none_now();
  calls_break("openat2", 0, 3, 1)->meddle = no_file;
  expect_once(ask_open, "nothing", MISSING "openat2");
  file_back();
  q.root = "~/in/a.vhd";
  q.rest = "";
  calls_break("close", 0, 2, 1)->meddle = other_file;
  expect_once(ask_open, "another file", OUTSIDE);
  none_now();
  calls_break("fstat", 0, 3, 1)->forge = other_volume;
  expect_once(ask_open, "another volume", OUTSIDE);
  calls_break("fstat", 0, 3, 1)->forge = other_inode;
  expect_once(ask_open, "another number", OUTSIDE);
}

/* What keeps openat2 from answering; then the walk answers. */
static void without_openat2(void) {
  static const struct {
    int errnum;
    bool for_good;
  } rows[] = {{ENOSYS, true}, {EPERM, false}, {EINVAL, false},
              {EAGAIN, false}};
  q.root = "~/in";
  q.rest = "sub/b.vhd";
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    calls_break("openat2", rows[i].errnum, 1, ALWAYS);
    expect_once(ask_open, "walked", "~/in/sub/b.vhd");
    CHECK(atomic_load(&env.no_openat2) == rows[i].for_good);
  }
  calls_break("openat2", ENOSYS, 2, ALWAYS);
  expect_once(ask_open, "walked", "~/in/sub/b.vhd");
  CHECK(atomic_load(&env.no_openat2));
  calls_break("openat2", EACCES, 2, 1);
  expect_once(ask_open, "refused",
              "E_ACCESSDENIED EACCES openat2");
}

static void file_for_link(void) {
  move("~/in/lsub", "~/in/kept");
  put_file("~/in/lsub");
}

/* What is no folder is looked at, and may be another thing by then. */
static void walk_past(void) {
  q.root = "~/in";
  q.rest = "lsub/b.vhd";
  q.walks = true;
  calls_break("fstatat", 0, 1, 1)->meddle = file_for_link;
  expect_once(ask_open, "no link", NO_FOLDER "openat");
  drop("~/in/lsub");
  move("~/in/kept", "~/in/lsub");
  q.walks = false;
}

static void open_itself(void) {
  static const struct row rows[] = {
    {"~/in", "", "~/in"},         {"~/in", "sub", "~/in/sub"},
    {"~/in", "own", "~/in/own"},  {"~/in", "fifo", "~/in/fifo"},
    {"~/in", "sub/up", "~/in/sub/up"}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    for (int walks = 0; walks < 2; walks++) {
      q.root = rows[i].root;
      q.rest = rows[i].rest;
      q.walks = walks != 0;
      expect(ask_fd, q.rest, rows[i].want);
    }
  q.walks = false;
  q.rest = "";
  calls_break("openat", EACCES, 1, 1);
  expect_once(ask_fd, "itself",
              "E_ACCESSDENIED EACCES openat");
}

/* An errno of before says nothing about a call that went well. */
static void open_well(void) {
  struct lv_root root;
  const char *call = NULL;
  int fd = -1;
  calls_whole();
  begin();
  CHECK_INT(lv_root_init(&root, &env, whole("~/in"), NULL), 0);
  errno = ENOTDIR;
  fd = lv_root_fd(&env, &root, "sub", O_PATH | O_DIRECTORY | O_CLOEXEC, &call);
  CHECK(fd >= 0);
  close(fd);
  lv_root_free(&root, &env);
}

static void open_real(void) {
  q.root = "~/lin/a.vhd";
  expect(ask_real, q.root, "~/in/a.vhd");
  q.maps = true;
  expect(ask_real, q.root, "E_PATH_NOT_FOUND/NOT_A_FOLDER ELOOP openat2");
  q.root = "~/in/a.vhd";
  expect(ask_real, q.root, "~/in/a.vhd");
  q.root = "/";
  expect(ask_real, q.root, "/");
  q.root = "~/in/missing";
  expect(ask_real, q.root, MISSING "openat2");
  calls_break("close", EIO, 1, 1); /* which is not the reason */
  expect_once(ask_real, "a close", MISSING "openat2");
  q.maps = false;
}

/* ---- folders ------------------------------------------------------------- */

static struct lv_root within; /* ~/in */

static int end_folder(char answer[ANSWER], struct lv_folder *folder, int code,
                      const char *path, struct lvhd_error *err) {
  char *real = NULL;
  char at[PATH_MAX];
  CHECK((code == 0) == (folder->fd >= 0));
  CHECK(code == 0 || (folder->root.fd == -1 && folder->where == NULL));
  if (code == 0)
    code = lv_folder_real(&real, folder, &env, path, err);
  if (code == 0) {
    snprintf(at, sizeof at, "%.*s", (int)folder->exists,
             folder->where ? folder->where : path);
    snprintf(answer, ANSWER, "%.400s %.400s%s%s", brief(at), brief(real),
             folder->missing ? " missing" : "",
             folder->path_only ? " path_only" : "");
    CHECK(is_folder_of(folder->fd, at));
  }
  free(real);
  lv_folder_close(folder, &env);
  CHECK(folder->fd == -1 && folder->where == NULL && folder->root.fd == -1);
  return code;
}

static int ask_folder(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_folder folder;
  int code = 0;
  begin();
  code = lv_folder_open(&folder, &env, whole(q.root), err);
  return end_folder(answer, &folder, code, whole(q.root), err);
}

static int ask_of(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_folder folder;
  int code = 0;
  begin();
  code = lv_folder_of(&folder, &env, whole(q.root), err);
  return end_folder(answer, &folder, code, whole(q.root), err);
}

/* Below ~/in. */
static int ask_under(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_folder folder = LV_FOLDER_INIT;
  const char *path = whole(q.root);
  char at[PATH_MAX];
  int code = 0;
  begin();
  code = lv_folder_under(&folder, &env, &within, path, err);
  CHECK((code == 0) == (folder.fd >= 0));
  if (code == 0) {
    snprintf(at, sizeof at, "%.*s", (int)folder.exists, path);
    snprintf(answer, ANSWER, "%.500s%s%s", brief(at),
             folder.missing ? " missing" : "",
             folder.path_only ? " path_only" : "");
    CHECK(folder.real && is_folder_of(folder.fd, at));
  }
  lv_folder_close(&folder, &env);
  return code;
}

#define NO_FOLDERS "E_PATH_NOT_FOUND/FOLDER_MISSING ENOENT "
#define OUT_OF_DRIVE "E_ACCESSDENIED/OUTSIDE_DRIVE"
#define TOO_LONG "E_BUFFER_OVERFLOW ENAMETOOLONG openat"
#define REFUSED "E_ACCESSDENIED EACCES openat2"

static void ask_rows(ask_fn *ask, const struct row *rows, size_t n) {
  calls_also = NO_FOLDER "openat2"; /* nobody knows if it is a link */
  for (size_t i = 0; i < n; i++) {
    q.root = rows[i].root;
    expect(ask, q.root, rows[i].want);
  }
  calls_also = NULL;
}

static void folders_of_host(void) {
  static const struct row rows[] = {
    {"~/in", 0, "~/in ~/in"},
    {"~/in/", 0, "~/in/ ~/in"},
    {"~/lin", 0, "~/lin ~/in"},
    {"/", 0, "/ /"},
    {"~/in/new", 0, "~/in ~/in/new missing"},
    {"~/lin/new", 0, "~/lin ~/in/new missing"},
    {"~/in//new//x/", 0, "~/in ~/in/new/x missing"},
    {"~/in/new/./x/.", 0, "~/in ~/in/new/x missing"},
    {"~/in/new/.x/..y", 0, "~/in ~/in/new/.x/..y missing"},
    {"~/in/n/xy", 0, "~/in ~/in/n/xy missing"},
    {"~/in/new/nowhere/own", 0, "~/in ~/in/new/nowhere/own missing"},
    {"~/in/new/" N255, 0, "~/in ~/in/new/" N255 " missing"},
    {"/lvhd-none/x", 0, "/ /lvhd-none/x missing"},
    {"//lvhd-none//x", 0, "/ /lvhd-none/x missing"},
    {"~/in/new/" N255 "x", 0, TOO_LONG},
    {"~/in/new/../x", 0, NO_FOLDERS "openat"},
    {"~/in/new/..", 0, NO_FOLDERS "openat"},
    {"~/in/a.vhd", 0, NO_FOLDER "openat2"},
    {"~/in/a.vhd/x", 0, NO_FOLDER "openat2"},
    {"~/in/own/x", 0, NO_FOLDER "openat"},
  };
  calls_unheard = "fstatat"; /* no link, as far as anybody knows */
  ask_rows(ask_folder, rows, sizeof rows / sizeof rows[0]);
  ask_rows(ask_of, rows, sizeof rows / sizeof rows[0]);
  calls_unheard = "";
}

/* Paths as long as the kernel takes them, and longer. */
static void long_folders(ask_fn *ask, size_t most, const char *want) {
  char path[PATH_MAX + 10];
  size_t n = strlen(base) + 8;
  snprintf(path, sizeof path, "%s/in/new/", base);
  while (n < PATH_MAX + 5) {
    path[n++] = 'x';
    if (n % 100 == 0)
      path[n++] = '/';
  }
  memcpy(path + PATH_MAX - 4, "xyyyyyy", 7);
  q.root = path;
  for (n = most + 3; n > most; n--) {
    path[n] = '\0';
    calls_whole();
    CHECK(strncmp(answer_of(ask, "a long path"), want, 8) == 0);
  }
  path[n] = '\0';
  calls_whole();
  CHECK(strncmp(answer_of(ask, "a long path"), "~/in ~/in/new/x", 15) == 0);
}

/* As if it were no link: to make the folder will fail. */
static void nowhere_folders(void) {
  calls_also = "~/in ~/in/nowhere missing";
  q.root = "~/in/nowhere";
  expect(ask_folder, q.root, NO_FOLDERS "openat");
  calls_also = "~/in ~/in/nowhere/x missing";
  q.root = "~/in/nowhere/x";
  expect(ask_folder, q.root, NO_FOLDERS "openat");
  calls_also = NULL;
}

static void make_new(void) { put_folder("~/in/new"); }

static void refused_folders(ask_fn *ask, const char *want) {
  char path_only[80];
  q.root = "~/in/sub";
  snprintf(path_only, sizeof path_only, "%s path_only", want);
  calls_break("openat2", EACCES, 1, 1);
  expect_once(ask, "not to be read", path_only);
  calls_break("openat2", EACCES, 1, 2);
  expect_once(ask, "not to be entered", REFUSED);
  calls_break("openat2", EPERM, 1, ALWAYS);
  expect_once(ask, "by other calls", want);
}

static void change_folders(void) {
  q.root = "~/in/new/x";
  calls_break("fstatat", 0, 1, 1)->meddle = make_new;
  expect_once(ask_folder, "a folder by now", "~/in ~/in/new/x missing");
  drop("~/in/new");
  calls_break("openat2", ENOENT, 1, ALWAYS);
  expect_once(ask_folder, "no root", NO_FOLDERS "openat2");
  calls_break(ANY, ENOENT, 3, ALWAYS); /* it was opened and asked */
  q.maps = true;
  expect_once(ask_of, "no root", NO_FOLDERS "openat");
  q.maps = false;
  refused_folders(ask_folder, "~/in/sub ~/in/sub");
}

static void folders_under(void) {
  static const struct row rows[] = {
    {"~/in", 0, "~/in"},
    {"~/in/sub", 0, "~/in/sub"},
    {"~/in/sub/deep", 0, "~/in/sub/deep"},
    {"~/in/new", 0, "~/in/ missing"},
    {"~/in/sub/new/x/y", 0, "~/in/sub missing"},
    {"~", 0, OUT_OF_DRIVE},
    {"~/inner", 0, OUT_OF_DRIVE},
    {"~/out/x", 0, OUT_OF_DRIVE},
    {"~/in/lsub", 0, OUT_OF_DRIVE},
    {"~/in/lsub/x", 0, OUT_OF_DRIVE},
    {"~/in/nowhere/x", 0, OUT_OF_DRIVE},
    {"~/in/../out", 0, OUT_OF_DRIVE},
    {"~/in/a.vhd", 0, NO_FOLDER "openat2"},
    {"~/in/a.vhd/x", 0, NO_FOLDER "openat2"},
  };
  calls_whole();
  begin();
  CHECK_INT(lv_root_init(&within, &env, whole("~/in"), NULL), 0);
  ask_rows(ask_under, rows, sizeof rows / sizeof rows[0]);
  refused_folders(ask_under, "~/in/sub");
  q.root = "~/in/sub";
  calls_break("openat2", EXDEV, 1, 1);
  expect_once(ask_under, "led out", OUT_OF_DRIVE);
  calls_break("openat2", ELOOP, 1, 1);
  expect_once(ask_under, "led on", OUT_OF_DRIVE);
  calls_whole();
  lv_root_free(&within, &env);
}

/* Real paths, on an engine that maps drives. */
static void folders_of_map(void) {
  static const struct row rows[] = {
    {"~/in", 0, "~/in ~/in"},
    {"/", 0, "/ /"},
    {"~/in/new/x", 0, "~/in ~/in/new/x missing"},
    {"/lvhd-none/x", 0, "/ /lvhd-none/x missing"},
    {"~/lin", 0, OUT_OF_DRIVE},
    {"~/lin/new", 0, OUT_OF_DRIVE},
    {"~/in/a.vhd/x", 0, NO_FOLDER "openat2"},
  };
  q.maps = true;
  ask_rows(ask_of, rows, sizeof rows / sizeof rows[0]);
  long_folders(ask_of, PATH_MAX, OUT_OF_DRIVE);
  q.maps = false;
}

static void folders_of_windows(void) {
  static const struct row rows[] = {
    {"C:\\", 0, "~/in ~/in"},
    {"c:\\SUB", 0, "~/in/sub ~/in/sub"},
    {"C:\\sub\\Deep\\New", 0,
     "~/in/sub/deep ~/in/sub/deep/New missing"},
    {"C:\\New\\x", 0, "~/in/ ~/in/New/x missing"},
    {"C:\\LSUB\\new", 0, "~/in/sub ~/in/sub/new missing"},
    {"C:\\nowhere", 0, NO_FOLDERS "fstatat"},
    {"C:\\nowhere\\x", 0, NO_FOLDERS "fstatat"},
    {"C:\\esc\\x", 0, OUT_OF_DRIVE},
    {"C:\\a.vhd", 0, NO_FOLDER "openat2"},
    {"C:\\a.vhd\\x", 0, "E_PATH_NOT_FOUND/NOT_A_FOLDER"},
    {"D:\\x", 0, "E_PATH_NOT_FOUND/NO_SUCH_DRIVE"},
  };
  q.maps = true;
  calls_unheard = "openat openat2 fstat"; /* the short way */
  ask_rows(ask_folder, rows, sizeof rows / sizeof rows[0]);
  calls_unheard = "";
  q.maps = false;
}

static void sub_leads_in(void) {
  move("~/in/sub", "~/in/was");
  put_link("was", "~/in/sub");
}

static void sub_leads_out(void) {
  move("~/in/sub", "~/in/was");
  put_link("~/out", "~/in/sub");
}

static void sub_again(void) {
  drop("~/in/sub");
  move("~/in/was", "~/in/sub");
}

/* Found, and a link when it is opened: the third time that openat2 is asked,
 * behind the mapped folder and the look. */
static void change_drives(void) {
  q.maps = true;
  q.root = "C:\\sub\\new";
  calls_break("openat2", 0, 4, 1)->meddle = sub_leads_in;
  expect_once(ask_folder, "leads on", "~/in/was ~/in/was/new missing");
  sub_again();
  calls_break("openat2", 0, 4, 1)->meddle = sub_leads_out;
  expect_once(ask_folder, "leads out", OUT_OF_DRIVE);
  sub_again();
  calls_break("openat2", ELOOP, 2, ALWAYS);
  expect_once(ask_folder, "leads round", OUT_OF_DRIVE);
  calls_break("openat2", EIO, 4, 1);
  expect_once(ask_folder, "once", "DISP_E_EXCEPTION EIO openat2");
  q.root = "C:\\sub"; /* the mapped folder, the look, the folder */
  calls_break("openat2", EXDEV, 3, ALWAYS)->every = 3;
  expect_once(ask_folder, "leads out for good", OUT_OF_DRIVE);
  q.maps = false;
}

static void gone_folders(void) {
  struct lv_folder folder;
  calls_whole();
  begin();
  CHECK_INT(lv_folder_open(&folder, &env, whole("~/in"), NULL), 0);
  CHECK(!lv_folder_gone(&folder, &env));
  calls_break("fstat", 0, 1, 1)->forge = no_links;
  CHECK(lv_folder_gone(&folder, &env));
  calls_break("fstat", EIO, 1, 1);
  CHECK(!lv_folder_gone(&folder, &env));
  calls_whole();
  lv_folder_close(&folder, &env);
  CHECK(!lv_folder_gone(&folder, &env));
}

/* ---- all of it ----------------------------------------------------------- */

static void furnish(void) {
  static const char *const folders[] = {
    "~/in", "~/in/sub", "~/in/sub/deep", "~/in/x", "~/in/xy", "~/out"};
  static const char *const files[] = {
    "~/in/a.vhd", "~/in/sub/b.vhd", "~/in/sub/deep/c.vhd", "~/in/sub/.d",
    "~/in/sub/d.", "~/in/sub/..d", "~/in/x/b.vhd", "~/in/xy/b.vhd", "~/out.vhd",
    "~/out/a.vhd"};
  struct lvhd_drive drive = {.name = "C"};
  for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
    put_folder(folders[i]);
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
    put_file(files[i]);
  put_link("in", "~/lin");
  put_link("a.vhd", "~/in/own");
  put_link("sub", "~/in/lsub");
  put_link("..", "~/in/sub/up");
  put_link("none", "~/in/nowhere");
  put_link("~/out", "~/in/esc");
  CHECK_INT(mkfifo(whole("~/in/fifo"), 0600), 0);
  drive.folder = whole("~/in");
  CHECK_INT(lv_drives_new(&map, &drive, 1, NULL), 0);
}

int main(void) {
  base_make("ask");
  furnish();
  init_roots();
  change_roots();
  hold_around();
  rest_of_roots();
  path_of_roots();
  open_below();
  let_sleep();
  change_files();
  without_openat2();
  walk_past();
  open_itself();
  open_well();
  open_real();
  folders_of_host();
  nowhere_folders();
  long_folders(ask_folder, PATH_MAX - 1, TOO_LONG);
  change_folders();
  folders_under();
  folders_of_map();
  folders_of_windows();
  change_drives();
  gone_folders();
  lv_drives_free(map);
  scene_end();
  return check_done();
}
