/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/io on its rare ways: opening, reading and changing what
 * exists, while calls fail, the system is an older one, or somebody changes
 * what was looked at a moment ago.  Roots and walks are test_io_roots's, new
 * files test_io_new's, Windows paths test_io_drives's.
 */
#include <fcntl.h>

#include "io/drives.h"
#include "io/edit.h"
#include "io/folder.h"
#include "io/lock.h"
#include "io/root.h"
#include "poor.h"
#include "told.h"
#include "trouble.h"

static struct trouble t;
static struct lv_env env;
static struct lv_root root;
static struct lvhd_error err = LVHD_ERROR_INIT;

/* All is well, and nothing is known of the host. */
static void anew(void) {
  trouble_begin(&t);
  lv_env_init(&env, &t.sys);
}

/* ---- file: opening ------------------------------------------------------ */

static void test_missing(void) {
  char *path = lengthy("/", PATH_MAX + 10);
  anew();
  REASON(&err, lv_fail_missing(&env, in("none/x"), "openat", &err),
         E_PATH_NOT_FOUND, FOLDER_MISSING);
  REASON(&err, lv_fail_missing(&env, in("x"), "openat", &err),
         E_PATH_NOT_FOUND, FILE_MISSING);
  REASON(&err, lv_fail_missing(&env, "/x", "openat", &err), E_PATH_NOT_FOUND,
         FILE_MISSING);
  REASON(&err, lv_fail_missing(&env, "x", "openat", &err), E_PATH_NOT_FOUND,
         FILE_MISSING);
  /* A folder that the kernel could not be asked for is not asked for. */
  path[PATH_MAX] = '/';
  REASON(&err, lv_fail_missing(&env, path, "openat", &err), E_PATH_NOT_FOUND,
         FILE_MISSING);
  CHECK_INT(lv_fail_missing(&env, in("none/x"), "openat", NULL),
            LVHD_E_PATH_NOT_FOUND);
}

/* What says that this kernel has no openat2, or that it will not do. */
static void test_no_openat2(void) {
  static const int refusals[] = {ENOSYS, EPERM, EINVAL, EAGAIN, ELOOP};
  put_text("file", "bytes");
  for (size_t i = 0; i < COUNT(refusals); i++) {
    struct lv_file file = LV_FILE_INIT;
    anew();
    trouble_fail(&t, "openat2", refusals[i], 1, ALWAYS);
    CHECK_INT(lv_file_open(&file, &env, in("file"), &err), 0);
    CHECK(!file.real);
    CHECK_INT(env.no_openat2, refusals[i] == ENOSYS);
    lv_file_close(&file, &env);
  }
  anew();
  trouble_fail(&t, "openat2", EIO, 1, ALWAYS);
  {
    struct lv_file file = LV_FILE_INIT;
    TOLD(&err, lv_file_open(&file, &env, in("file"), &err),
         DISP_E_EXCEPTION, EIO, "openat2");
    CHECK_INT(file.fd, -1);
  }
  CHECK_INT(unlink(in("file")), 0);
}

static void test_open_fails(void) {
  struct lv_file file = LV_FILE_INIT;
  unsigned open = descriptors();
  put_text("file", "bytes");
  anew();
  trouble_fail(&t, "fstat", EIO, 1, 1);
  TOLD(&err, lv_file_open(&file, &env, in("file"), &err), DISP_E_EXCEPTION,
       EIO, "fstat");
  CHECK_INT(file.fd, -1);
  REASON(&err, lv_file_open(&file, &env, in(""), &err), VM_E_INVALID_HD_FILE,
         NOT_REGULAR);
  CHECK_INT(file.fd, -1);
  CHECK_INT(descriptors(), open);
  CHECK_INT(unlink(in("file")), 0);
}

static void test_stat(void) {
  struct stat st;
  anew();
  CHECK_INT(lv_file_stat(&st, &env, in(""), &err), 0);
  CHECK(S_ISDIR(st.st_mode));
  REASON(&err, lv_file_stat(&st, &env, in("none/x"), &err), E_PATH_NOT_FOUND,
         FOLDER_MISSING);
  trouble_fail(&t, "fstatat", EACCES, 1, 1);
  TOLD(&err, lv_file_stat(&st, &env, in(""), &err), E_ACCESSDENIED, EACCES,
       "fstatat");
}

/* ---- file: reading ------------------------------------------------------ */

static unsigned pieces;

/* A signal, then a byte, in turns; then the end. */
static ssize_t trickle(const struct lv_sys *sys, int fd, void *buf, size_t n,
                       off_t at) {
  (void)n;
  if (pieces == 0)
    return 0;
  if (pieces-- % 2 == 0) {
    errno = EINTR;
    return -1;
  }
  return lv_sys_real.pread(sys, fd, buf, 1, at);
}

static void test_read(void) {
  struct lv_file file = LV_FILE_INIT;
  char got[8] = "";
  put_text("file", "bytes");
  anew();
  CHECK_INT(lv_file_open(&file, &env, in("file"), &err), 0);
  t.sys.pread = trickle;
  pieces = 6;
  CHECK_INT(lv_file_read(&file, &env, got, 3, 1, &err), 0);
  CHECK_STR(got, "yte");
  CHECK_INT(pieces, 0);
  pieces = 2;
  CHECK_INT(lv_file_read(&file, &env, got, 3, 1, &err),
            LVHD_DISP_E_EXCEPTION);
  CHECK_INT(err.has & LVHD_HAS_OFFSET, LVHD_HAS_OFFSET);
  CHECK_INT(err.offset, 2); /* where it ends now */
  REASON(&err, err.code, DISP_E_EXCEPTION, FILE_CUT);
  CHECK_INT(lv_file_read(&file, &env, got, 3, 1, NULL),
            LVHD_DISP_E_EXCEPTION);
  anew();
  trouble_fail(&t, "pread", EIO, 1, 1);
  CHECK_INT(lv_file_read(&file, &env, got, 3, 1, &err),
            LVHD_DISP_E_EXCEPTION);
  CHECK_INT(err.offset, 1);
  TOLD(&err, err.code, DISP_E_EXCEPTION, EIO, "pread");
  lv_file_close(&file, &env);
  CHECK_INT(unlink(in("file")), 0);
}

/* ---- file: where it really is ------------------------------------------- */

static const char *answer;
static ssize_t answer_length;

/* What /proc says. */
static ssize_t say(const struct lv_sys *sys, int dir, const char *path,
                   char *buf, size_t n) {
  size_t m = strlen(answer);
  (void)sys, (void)dir, (void)path;
  memcpy(buf, answer, m < n ? m : n);
  return answer_length;
}

static int real_fd;

static int ask_real(void) {
  char *out = NULL;
  int code = lv_real_path(&out, &env, real_fd, in("link/file"), false,
                          LV_STEP_FILE, NULL);
  if (code == 0)
    CHECK_STR(out, in("there/file"));
  free(out);
  return code;
}

static int ask_real_of_real(void) {
  char *out = NULL;
  int code = lv_real_path(&out, &env, real_fd, "/a/b", true, LV_STEP_FILE,
                          NULL);
  if (code == 0)
    CHECK_STR(out, "/a/b");
  free(out);
  return code;
}

/* What no path can be, or may be none any more, is not believed: the way is
 * gone once more. */
static void test_real_path(void) {
  char *out = NULL;
  CHECK_INT(mkdir(in("there"), 0700), 0);
  CHECK_INT(symlink("there", in("link")), 0);
  put_text("there/file", "");
  real_fd = open(in("there/file"), O_RDONLY | O_CLOEXEC);
  anew();
  poorly("a real path", ask_real);
  poorly("a real path known", ask_real_of_real);
  t.sys.readlinkat = say;
  for (int i = 0; i < 5; i++) {
    const char *const said[] = {"pipe:[17]", "/other (deleted)", "/x",
                                lengthy("/", PATH_MAX), "/x"};
    answer = said[i];
    answer_length = i == 2 ? 0 : i == 4 ? -1 : (ssize_t)strlen(answer);
    if (i == 3)
      answer_length = PATH_MAX - 1; /* cut off */
    poorly("a real path walked", ask_real);
  }
  /* The mark may be the name's own: the walk tells. */
  put_text("a (deleted)", "");
  answer = in("a (deleted)");
  answer_length = (ssize_t)strlen(answer);
  CHECK_INT(lv_real_path(&out, &env, real_fd, in("a (deleted)"), false,
                         LV_STEP_FILE, &err), 0);
  CHECK_STR(out, in("a (deleted)"));
  free(out);
  CHECK_INT(unlink(in("a (deleted)")), 0);
  TOLD(&err, lv_real_path(&out, &env, real_fd, in("a (deleted)"), false,
                          LV_STEP_FILE, &err),
       E_PATH_NOT_FOUND, ENOENT, "realpath");
  close(real_fd);
  CHECK_INT(unlink(in("there/file")), 0);
  CHECK_INT(unlink(in("link")), 0);
  CHECK_INT(rmdir(in("there")), 0);
}

static int ask_absolute(void) {
  char *out = NULL;
  int code = lv_absolute_path(&out, &env, "a/b", NULL);
  if (code == 0)
    CHECK_STR(out, in("a/b"));
  free(out);
  return code;
}

static void absolute(const char *path, const char *want) {
  char *out = NULL;
  CHECK_INT(lv_absolute_path(&out, &env, path, &err), 0);
  CHECK_STR(out, want);
  free(out);
}

static void test_absolute(void) {
  char *out = NULL;
  char before[PATH_MAX];
  anew();
  CHECK(getcwd(before, sizeof before) != NULL);
  CHECK_INT(chdir(in("")), 0);
  poorly("an absolute path", ask_absolute);
  CHECK_INT(mkdir(in("gone"), 0700), 0);
  CHECK_INT(chdir(in("gone")), 0);
  CHECK_INT(rmdir(in("gone")), 0);
  TOLD(&err, lv_absolute_path(&out, &env, "a", &err), E_PATH_NOT_FOUND,
       ENOENT, "realpath");
  absolute("/a", "/a");
  absolute("", "");
  CHECK_INT(chdir(before), 0);
}

/* ---- folders ------------------------------------------------------------ */

static int open_folder(struct lv_folder *folder, const char *path) {
  unsigned open = descriptors();
  int code = lv_folder_open(folder, &env, path, &err);
  CHECK_INT(descriptors(), open + (code == 0));
  return code;
}

static void test_folder(void) {
  struct lv_folder folder;
  char *real = NULL;
  anew();
  CHECK_INT(open_folder(&folder, in("none//")), 0);
  CHECK_INT(folder.exists, strlen(base));
  CHECK(folder.missing);
  CHECK_INT(lv_folder_real(&real, &folder, &env, in("none//"),
                           &err), 0);
  CHECK_STR(real, in("none"));
  free(real);
  lv_folder_close(&folder, &env);
  TOLD(&err, open_folder(&folder, lengthy(in("none/"), NAME_MAX + 1)),
       E_BUFFER_OVERFLOW, ENAMETOOLONG, "openat");
  TOLD(&err, open_folder(&folder, in("none/../x")), E_PATH_NOT_FOUND, ENOENT,
       "openat");
  TOLD(&err, open_folder(&folder, lengthy(in(""), PATH_MAX)),
       E_BUFFER_OVERFLOW, ENAMETOOLONG, "openat");
  CHECK_INT(symlink("nowhere", in("dangling")), 0);
  TOLD(&err, open_folder(&folder, in("dangling/x")), E_PATH_NOT_FOUND,
       ENOENT, "openat");
  CHECK_INT(unlink(in("dangling")), 0);
  put_text("file", "");
  REASON(&err, open_folder(&folder, in("file/x")), E_PATH_NOT_FOUND,
         NOT_A_FOLDER);
  CHECK_INT(unlink(in("file")), 0);
  /* Not even the root is there. */
  trouble_fail(&t, "openat2", ENOENT, 1, ALWAYS);
  TOLD(&err, open_folder(&folder, "//x/y"), E_PATH_NOT_FOUND, ENOENT,
       "openat2");
  TOLD(&err, open_folder(&folder, "/"), E_PATH_NOT_FOUND, ENOENT, "openat2");
}

/* One that may be written, but not listed, opens by its path alone. */
static void test_folder_unlisted(void) {
  struct lv_folder folder;
  anew();
  trouble_fail(&t, "openat2", EACCES, 1, 1);
  CHECK_INT(open_folder(&folder, base), 0);
  CHECK(folder.path_only);
  lv_folder_close(&folder, &env);
  anew();
  trouble_fail(&t, "openat2", EACCES, 1, 2);
  TOLD(&err, open_folder(&folder, base), E_ACCESSDENIED, EACCES,
       "openat2");
  CHECK(!folder.path_only);
}

static int under(struct lv_folder *folder, const struct lv_root *in_root,
                 const char *path) {
  unsigned open = descriptors();
  int code = 0;
  *folder = (struct lv_folder)LV_FOLDER_INIT;
  code = lv_folder_under(folder, &env, in_root, path, &err);
  CHECK_INT(descriptors(), open + (code == 0));
  return code;
}

static void test_folder_under(void) {
  struct lv_folder folder;
  anew();
  CHECK_INT(mkdir(in("root"), 0700), 0);
  CHECK_INT(symlink("..", in("root/out")), 0);
  CHECK_INT(lv_root_init(&root, &env, in("root"), &err), 0);
  CHECK_INT(under(&folder, &root, in("root")), 0);
  CHECK(!folder.missing);
  lv_folder_close(&folder, &env);
  CHECK_INT(under(&folder, &root, in("root/a/b")), 0);
  CHECK(folder.missing);
  CHECK_INT(folder.exists, strlen(in("root/"))); /* a root has no name */
  lv_folder_close(&folder, &env);
  REASON(&err, under(&folder, &root, in("rooted")), E_ACCESSDENIED,
         OUTSIDE_DRIVE);
  REASON(&err, under(&folder, &root, in("root/out/x")), E_ACCESSDENIED,
         OUTSIDE_DRIVE);
  REASON(&err, under(&folder, &root, lengthy(in("root/"), PATH_MAX)),
         E_ACCESSDENIED, OUTSIDE_DRIVE);
  trouble_fail(&t, "openat2", EXDEV, 1, 1);
  REASON(&err, under(&folder, &root, in("root/a")), E_ACCESSDENIED,
         OUTSIDE_DRIVE);
  trouble_over(&t);
  CHECK_INT(mkdir(in("root/a"), 0700), 0);
  trouble_fail(&t, "openat2", EACCES, 1, 1);
  CHECK_INT(under(&folder, &root, in("root/a")), 0);
  CHECK(folder.path_only);
  lv_folder_close(&folder, &env);
  trouble_over(&t);
  trouble_fail(&t, "openat2", EACCES, 1, 2);
  TOLD(&err, under(&folder, &root, in("root/a")), E_ACCESSDENIED, EACCES,
       "openat2");
  lv_root_free(&root, &env);
  CHECK_INT(rmdir(in("root/a")), 0);
  CHECK_INT(unlink(in("root/out")), 0);
  CHECK_INT(rmdir(in("root")), 0);
}

/* ---- changing ----------------------------------------------------------- */

static struct lv_file edited;

static void begin_edit(void) {
  anew();
  put_text("file", "bytes");
  CHECK_INT(lv_file_open(&edited, &env, in("file"), &err), 0);
}

static void end_edit(void) {
  lv_file_close(&edited, &env);
  CHECK_INT(remove(in("file")), 0);
}

static int reopen(void) {
  unsigned open = descriptors();
  int fd = edited.fd;
  int code = lv_edit_reopen(&edited, &env, in("file"), &err);
  CHECK_INT(descriptors(), open);
  CHECK(code == 0 || edited.fd == fd); /* what was open stays */
  return code;
}

static void test_reopen(void) {
  begin_edit();
  trouble_forge(&t, "fstat", other_volume);
  REASON(&err, reopen(), E_SHARING_VIOLATION, FILE_REPLACED);
  anew();
  trouble_fail(&t, "fstat", EIO, 1, 1);
  TOLD(&err, reopen(), DISP_E_EXCEPTION, EIO, "fstat");
  CHECK_INT(reopen(), 0);
  CHECK_INT(rename(in("file"), in("old")), 0);
  TOLD(&err, reopen(), E_PATH_NOT_FOUND, ENOENT, "openat");
  put_text("file", "bytes");
  REASON(&err, reopen(), E_SHARING_VIOLATION, FILE_REPLACED);
  CHECK_INT(unlink(in("file")), 0);
  CHECK_INT(mkfifo(in("file"), 0600), 0);
  REASON(&err, reopen(), VM_E_INVALID_HD_FILE, NOT_REGULAR);
  CHECK_INT(unlink(in("file")), 0);
  CHECK_INT(rename(in("old"), in("file")), 0);
  CHECK_INT(chmod(in("file"), 0444), 0);
  trouble_fail(&t, "openat", EACCES, 1, ALWAYS);
  REASON(&err, reopen(), VM_E_FILE_READ_ONLY, NO_WRITE_BIT);
  CHECK_INT(lv_edit_reopen(&edited, &env, in("file"), NULL),
            LVHD_VM_E_FILE_READ_ONLY);
  CHECK_INT(chmod(in("file"), 0644), 0);
  REASON(&err, reopen(), VM_E_FILE_READ_ONLY, NONE);
  trouble_fail(&t, "fstatat", EIO, 1, 1);
  TOLD(&err, reopen(), VM_E_FILE_READ_ONLY, EACCES, "openat");
  end_edit();
  /* Refused, and a folder without a bit to write when it is looked at. */
  begin_edit();
  CHECK_INT(unlink(in("file")), 0);
  CHECK_INT(mkdir(in("file"), 0555), 0);
  trouble_fail(&t, "openat", EACCES, 1, 1);
  REASON(&err, reopen(), VM_E_FILE_READ_ONLY, NONE);
  REASON(&err, reopen(), VM_E_INVALID_HD_FILE, NOT_REGULAR); /* EISDIR */
  end_edit();
}

static rlim_t the_limit;

static int limit(const struct lv_sys *sys, int what, struct rlimit *out) {
  (void)sys, (void)what;
  out->rlim_cur = out->rlim_max = the_limit;
  return 0;
}

static int too_long(struct lvhd_error *to) {
  return lv_edit_truncate(&edited, &env, 100, to);
}

/* EFBIG is the process's limit only where that is below what was asked. */
static void test_limit(void) {
  begin_edit();
  trouble_fail(&t, "ftruncate", EFBIG, 1, ALWAYS);
  trouble_fail(&t, "getrlimit", EIO, 1, ALWAYS);
  REASON(&err, too_long(&err), VM_E_FILE_TOO_LARGE_FOR_VOLUME, NONE);
  CHECK_INT(too_long(NULL), LVHD_VM_E_FILE_TOO_LARGE_FOR_VOLUME);
  t.sys.getrlimit = limit;
  the_limit = RLIM_INFINITY;
  REASON(&err, too_long(&err), VM_E_FILE_TOO_LARGE_FOR_VOLUME, NONE);
  the_limit = 100;
  REASON(&err, too_long(&err), VM_E_FILE_TOO_LARGE_FOR_VOLUME, NONE);
  the_limit = 99;
  CHECK_INT(too_long(&err), LVHD_VM_E_FILE_TOO_LARGE_FOR_VOLUME);
  CHECK_INT(err.has, LVHD_HAS_OFFSET | LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL);
  CHECK_INT(err.expected, 99);
  CHECK_INT(err.actual, 100);
  REASON(&err, err.code, VM_E_FILE_TOO_LARGE_FOR_VOLUME, PROCESS_FILE_LIMIT);
  end_edit();
}

static void test_interrupted(void) {
  static char bytes[100000];
  char got[4] = "";
  struct stat st;
  begin_edit();
  CHECK_INT(reopen(), 0);
  trouble_fail(&t, "ftruncate", EINTR, 1, 2);
  CHECK_INT(lv_edit_truncate(&edited, &env, 3, &err), 0);
  CHECK(stat(in("file"), &st) == 0 && st.st_size == 3);
  CHECK_INT(t.rules[0].calls, 3);
  anew();
  memset(bytes, 'x', sizeof bytes);
  trouble_fail(&t, "pwritev", EINTR, 1, 2);
  CHECK_INT(lv_edit_write(&edited, &env, bytes, sizeof bytes, 0, &err), 0);
  CHECK(stat(in("file"), &st) == 0 && st.st_size == sizeof bytes);
  trouble_fail(&t, "fallocate", EINTR, 1, 2);
  CHECK_INT(lv_edit_zero(&edited, &env, 1, 1, &err), 0);
  CHECK_INT(lv_edit_zero(&edited, &env, 1, 90000, &err), 0);
  CHECK_INT(t.rules[1].calls, 3);
  CHECK_INT(lv_file_read(&edited, &env, got, 3, 0, &err), 0);
  CHECK(got[0] == 'x' && got[1] == '\0' && got[2] == '\0');
  CHECK_INT(lv_file_read(&edited, &env, got, 3, 89998, &err), 0);
  CHECK(got[0] == '\0' && got[1] == '\0' && got[2] == 'x');
  end_edit();
}

/* Where no hole is to be had, zeros are written. */
static void test_zeros(void) {
  static char bytes[100000], got[100000];
  begin_edit();
  CHECK_INT(reopen(), 0);
  memset(bytes, 'x', sizeof bytes);
  CHECK_INT(lv_edit_write(&edited, &env, bytes, sizeof bytes, 0, &err), 0);
  trouble_fail(&t, "fallocate", EOPNOTSUPP, 1, ALWAYS);
  CHECK_INT(lv_edit_zero(&edited, &env, 5, 90000, &err), 0);
  CHECK_INT(t.rules[0].calls, 1);
  memset(bytes + 5, 0, 90000 - 5);
  CHECK_INT(lv_file_read(&edited, &env, got, sizeof got, 0, &err), 0);
  CHECK_MEM(got, bytes, sizeof got);
  CHECK_INT(lv_edit_zero(&edited, &env, 0, 5, &err), 0);
  CHECK_INT(t.rules[0].calls, 1); /* a few are not worth a hole */
  trouble_fail(&t, "pwritev", ENOSPC, 2, 1);
  CHECK_INT(lv_edit_zero(&edited, &env, 5, 90000, &err), LVHD_E_DISK_FULL);
  CHECK_INT(err.offset, 5 + 65536);
  TOLD(&err, err.code, E_DISK_FULL, ENOSPC, "pwritev");
  end_edit();
}

static ssize_t nothing(const struct lv_sys *sys, int fd,
                       const struct iovec *iov, int n, off_t at) {
  (void)sys, (void)fd, (void)iov, (void)n, (void)at;
  return 0;
}

static void test_edit_fails(void) {
  struct timespec now = {.tv_sec = 1};
  begin_edit();
  trouble_fail(&t, "fdatasync", EINTR, 1, 1);
  TOLD(&err, lv_edit_flush(&edited, &env, &err), DISP_E_EXCEPTION, EINTR,
       "fdatasync"); /* may have lost something: never tried again */
  trouble_fail(&t, "futimens", EPERM, 1, 1);
  TOLD(&err, lv_edit_touch(&edited, &env, &now, &err), E_ACCESSDENIED, EPERM,
       "futimens");
  t.sys.pwritev = nothing;
  TOLD(&err, lv_edit_write(&edited, &env, "x", 1, 0, &err),
       DISP_E_EXCEPTION, EIO, "pwritev");
  end_edit();
}

/* ---- locks -------------------------------------------------------------- */

/* What the system answers to each question in turn. */
static struct {
  int errnum;
  short type;
  off_t start;
} replies[4];
static unsigned asked;

static int reply(const struct lv_sys *sys, int fd, struct flock *lock) {
  unsigned i = asked++;
  (void)sys, (void)fd;
  if (i >= COUNT(replies) || replies[i].errnum != 0) {
    errno = i < COUNT(replies) ? replies[i].errnum : EINVAL;
    return -1;
  }
  lock->l_type = replies[i].type;
  lock->l_start = replies[i].start;
  return 0;
}

static int quiet(int questions) {
  int code = 0;
  asked = 0;
  code = lv_lock_quiet(&edited, &env, &err);
  CHECK_INT(asked, questions);
  return code;
}

/* 101 or 103 is somebody's who writes; 102 is nobody's who bars. */
static void test_quiet(void) {
  begin_edit();
  t.sys.getlk = reply;
  memset(replies, 0, sizeof replies);
  for (size_t i = 0; i < COUNT(replies); i++)
    replies[i].type = F_UNLCK;
  CHECK_INT(quiet(1), 0);
  replies[0].type = F_RDLCK;
  replies[0].start = 0; /* the whole file, for reading */
  CHECK_INT(quiet(1), 0);
  replies[0].start = 102;
  CHECK_INT(quiet(3), 0);
  replies[2].type = F_RDLCK;
  replies[2].start = 103;
  REASON(&err, quiet(3), E_SHARING_VIOLATION, IN_USE);
  replies[1].type = F_WRLCK; /* the whole file, for writing */
  REASON(&err, quiet(2), E_SHARING_VIOLATION, IN_USE);
  /* Who cannot be asked holds nothing. */
  replies[1].errnum = EIO;
  CHECK_INT(quiet(2), 0);
  replies[1].errnum = 0;
  replies[1].type = F_UNLCK;
  replies[2].errnum = EIO;
  CHECK_INT(quiet(3), 0);
  replies[0].errnum = EINVAL;
  CHECK_INT(quiet(1), 0);
  end_edit();
}

/* Taken again by another open of the file. */
static bool is_free(int byte) {
  struct flock lock = {.l_type = F_WRLCK, .l_start = byte, .l_len = 1};
  int fd = open(in("file"), O_RDWR | O_CLOEXEC);
  bool result = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
  close(fd);
  return result;
}

static void test_lock(void) {
  static const int refused[] = {EAGAIN, EACCES};
  static const int none[] = {EINVAL, ENOLCK, EIO};
  begin_edit();
  for (size_t i = 0; i < COUNT(refused); i++) {
    trouble_fail(&t, "setlk", refused[i], 2, 1);
    REASON(&err, lv_lock(&edited, &env, LV_LOCK_READ, &err),
           E_SHARING_VIOLATION, IN_USE);
    CHECK_INT(t.rules[0].calls, 3); /* the third gives them back */
    CHECK(is_free(100));
    trouble_over(&t);
  }
  for (size_t i = 0; i < COUNT(none); i++) {
    trouble_fail(&t, "setlk", none[i], 1, 1);
    CHECK_INT(lv_lock(&edited, &env, LV_LOCK_READ, &err), 0);
    CHECK_INT(t.rules[0].calls, 1);
    trouble_over(&t);
  }
  trouble_fail(&t, "getlk", EINVAL, 2, 1);
  CHECK_INT(lv_lock(&edited, &env, LV_LOCK_READ, &err), 0);
  CHECK_INT(t.rules[0].calls, 2);
  CHECK(!is_free(100));
  end_edit();
}

int main(void) {
  unsigned open = descriptors();
  base_make("io-paths");
  test_missing();
  test_no_openat2();
  test_open_fails();
  test_stat();
  test_read();
  test_real_path();
  test_absolute();
  test_folder();
  test_folder_unlisted();
  test_folder_under();
  test_reopen();
  test_limit();
  test_interrupted();
  test_zeros();
  test_edit_fails();
  test_quiet();
  test_lock();
  CHECK_INT(descriptors(), open);
  CHECK_INT(rmdir(base), 0);
  return check_done();
}
