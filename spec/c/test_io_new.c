/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/io on its rare ways: new files and their folders, names
 * that are kept, what a volume can hold, and one flush for many, while calls
 * fail or somebody changes what was looked at a moment ago.  test_newfile has
 * the ways that are taken more often.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/utsname.h>

#include "io/drives.h"
#include "io/names.h"
#include "io/newfile.h"
#include "io/volume.h"
#include "poor.h"
#include "told.h"
#include "trouble.h"

#define MIB (UINT64_C(1) << 20)

int __real_uname(struct utsname *name);
int __wrap_uname(struct utsname *name);

static struct trouble t;
static struct lv_env env;
static struct lvhd_error err = LVHD_ERROR_INIT;

/* All is well, and nothing is known of the host. */
static void anew(void) {
  trouble_begin(&t);
  lv_env_init(&env, &t.sys);
}

/* ---- a new file --------------------------------------------------------- */

static struct lv_folder folder;
static struct lv_newfile file;

/* In base/below, which need not be there. */
static int begin(const char *below, bool named) {
  static char path[PATH_MAX];
  snprintf(path, sizeof path, "%s%s", base, below);
  file = (struct lv_newfile)LV_NEWFILE_INIT;
  if (!CHECK(lv_folder_open(&folder, &env, path, &err) == 0))
    return -1;
  return lv_newfile_begin(&file, &env, &folder, path, "new.vhd", 0600, named,
                          &err);
}

static void over(void) {
  lv_newfile_abandon(&file);
  lv_folder_close(&folder, &env);
}

static ssize_t four_bytes(const struct lv_sys *sys, void *buf, size_t n,
                          unsigned flags) {
  return lv_sys_real.getrandom(sys, buf, n < 4 ? n : 4, flags);
}

static void test_temp_name(void) {
  anew();
  t.sys.getrandom = four_bytes;
  TOLD(&err, begin("", true), DISP_E_EXCEPTION, EIO, "getrandom");
  CHECK_INT(file.fd, -1);
  over();
  anew();
  trouble_fail(&t, "getrandom", EINTR, 1, 2);
  CHECK_INT(begin("", true), 0);
  CHECK_INT(t.rules[0].calls, 3);
  over();
}

/* What callers who want no error get: the same codes. */
static void test_no_error(void) {
  anew();
  trouble_fail(&t, "fallocate", EOPNOTSUPP, 1, 1);
  trouble_fail(&t, "renameat2", EPERM, 1, 1);
  trouble_fail(&t, "linkat", EPERM, 1, 1);
  CHECK_INT(begin("", true), 0);
  CHECK_INT(lv_newfile_reserve(&file, 4096, NULL), LVHD_E_NOTIMPL);
  CHECK_INT(lv_newfile_link(&file, false, NULL), LVHD_DISP_E_EXCEPTION);
  over();
}

static void test_reserve(void) {
  anew();
  trouble_fail(&t, "fallocate", EIO, 1, 1);
  CHECK_INT(begin("", false), 0);
  TOLD(&err, lv_newfile_reserve(&file, 4096, &err), DISP_E_EXCEPTION, EIO,
       "fallocate");
  over();
}

/* Where unnamed files cannot be linked is remembered, as far as it is known
 * where that was. */
static void test_remembered(void) {
  struct stat st;
  for (int known = 0; known < 2; known++) {
    anew();
    trouble_fail(&t, "linkat", EPERM, 1, 2);
    trouble_fail(&t, "fstat", EIO, 1, known == 0);
    CHECK_INT(begin("", false), 0);
    CHECK_INT(lv_newfile_link(&file, false, &err), LV_AGAIN_NAMED);
    CHECK(stat(base, &st) == 0);
    CHECK_INT(env.no_tmpfile, known ? (uint64_t)st.st_dev + 1 : 0);
    over();
    CHECK_INT(begin("", false), 0);
    CHECK_INT(file.temp[0] != '\0', known);
    over();
  }
  CHECK_INT(entries(base), 2);
}

/* The first way of linking is not to be had; or fails for another reason. */
static void test_link_errors(void) {
  static const int final[] = {EROFS, ENOSPC, EEXIST};
  for (size_t i = 0; i < COUNT(final); i++) {
    anew();
    trouble_fail(&t, "linkat", final[i], 1, 1);
    CHECK_INT(begin("", false), 0);
    CHECK(lv_newfile_link(&file, false, &err) > 0);
    CHECK_INT(err.errnum, final[i]);
    lvhd_error_clear(&err);
    CHECK_INT(t.rules[0].calls, 1);
    over();
  }
  anew();
  trouble_fail(&t, "linkat", EINVAL, 1, 1);
  CHECK_INT(begin("", false), 0);
  CHECK_INT(lv_newfile_link(&file, false, &err), 0);
  CHECK(env.no_empty_path);
  over();
  CHECK(!exists("new.vhd"));
}

/* Two names for a moment, and the hidden one cannot be taken away: abandon
 * tries again. */
static void test_hidden_name(void) {
  anew();
  trouble_fail(&t, "renameat2", EINVAL, 1, 1);
  trouble_fail(&t, "unlinkat", EIO, 1, 1);
  CHECK_INT(begin("", true), 0);
  CHECK_INT(lv_newfile_link(&file, false, &err), 0);
  CHECK(exists("new.vhd"));
  CHECK(file.temp[0] != '\0' && exists(file.temp));
  over();
  CHECK_INT(entries(base), 2);
}

/* ---- folders that come and go ------------------------------------------- */

static void test_folder_gone(void) {
  struct lv_newfile folders = LV_NEWFILE_INIT;
  anew();
  trouble_fail(&t, "mkdirat", ENOENT, 1, ALWAYS);
  CHECK_INT(begin("/x", false), 0);
  CHECK_INT(lv_newfile_folders(&folders, &env, &folder, in("x"), &err),
            LV_AGAIN_GONE);
  CHECK_INT(t.rules[0].calls, 4);
  lv_newfile_abandon(&folders);
  TOLD(&err, lv_newfile_link(&file, false, &err), E_PATH_NOT_FOUND, ENOENT,
       "linkat");
  CHECK_INT(t.rules[0].calls, 8);
  over();
  anew();
  trouble_fail(&t, "mkdirat", ENOENT, 1, 2);
  CHECK_INT(begin("/x/", false), 0); /* a slash that names no folder */
  CHECK_INT(lv_newfile_folders(&folders, &env, &folder, in("x/"), &err), 0);
  CHECK(exists("x"));
  lv_newfile_abandon(&folders);
  CHECK(!exists("x"));
  trouble_over(&t);
  trouble_fail(&t, "mkdirat", EROFS, 1, 1);
  TOLD(&err, lv_newfile_folders(&folders, &env, &folder, in("x"), &err),
       E_ACCESSDENIED, EROFS, "mkdirat");
  lv_newfile_abandon(&folders);
  over();
}

static void test_link_in(void) {
  int target = -1;
  CHECK_INT(mkdir(in("x"), 0700), 0);
  target = open(in("x"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int named = 0; named < 2; named++) {
    anew();
    CHECK_INT(begin("", named != 0), 0);
    CHECK_INT(lv_newfile_link_in(&file, target, &err), 0);
    CHECK(exists("x/new.vhd"));
    over();
    CHECK(!exists("x/new.vhd"));
  }
  put_text("x/new.vhd", "other");
  CHECK_INT(begin("", false), 0);
  TOLD(&err, lv_newfile_link_in(&file, target, &err), E_ALREADY_EXISTS,
       EEXIST, "linkat");
  over();
  CHECK_INT(unlink(in("x/new.vhd")), 0);
  CHECK_INT(rmdir(in("x")), 0);
  CHECK_INT(begin("", false), 0);
  CHECK_INT(lv_newfile_link_in(&file, target, &err), LV_AGAIN_GONE);
  over();
  close(target);
}

/* The folder that was made is a link by now, which leads out of the drive:
 * what it leads to is not taken away. */
static void become_link(void) {
  CHECK_INT(rename(in("x/y"), in("x/z")), 0);
  CHECK_INT(symlink(in("else"), in("x/y")), 0);
}

static struct lv_drives *drives;

static void begin_drive(void) {
  const struct lvhd_drive drive = {.name = "C", .folder = base};
  anew();
  CHECK_INT(lv_drives_new(&drives, &drive, 1, &err), 0);
  env.drives = drives;
}

static int begin_windows(const char *path, const char *real) {
  file = (struct lv_newfile)LV_NEWFILE_INIT;
  if (!CHECK(lv_folder_open(&folder, &env, path, &err) == 0))
    return -1;
  return lv_newfile_begin(&file, &env, &folder, real, "new.vhd", 0600, false,
                          &err);
}

static void test_drive_folders(void) {
  begin_drive();
  CHECK_INT(begin_windows("C:\\x\\y\\w", in("x/y/w")), 0);
  CHECK_INT(lv_newfile_link(&file, true, &err), 0);
  CHECK(exists("x/y/w/new.vhd"));
  over();
  CHECK(!exists("x"));
  /* Gone above it; then a link. */
  CHECK_INT(begin_windows("C:\\x\\y\\w", in("x/y/w")), 0);
  CHECK_INT(lv_newfile_link(&file, true, &err), 0);
  CHECK_INT(unlink(in("x/y/w/new.vhd")), 0);
  CHECK_INT(rmdir(in("x/y/w")), 0);
  CHECK_INT(rmdir(in("x/y")), 0);
  over();
  CHECK(!exists("x"));
  CHECK_INT(mkdir(in("else"), 0700), 0);
  CHECK_INT(mkdir(in("else/w"), 0700), 0);
  CHECK_INT(begin_windows("C:\\x\\y\\w", in("x/y/w")), 0);
  CHECK_INT(lv_newfile_link(&file, true, &err), 0);
  become_link();
  over();
  CHECK(!exists("x/z/w/new.vhd"));
  CHECK(exists("else/w"));
  CHECK_INT(rmdir(in("else/w")), 0);
  CHECK_INT(rmdir(in("else")), 0);
  CHECK_INT(unlink(in("x/y")), 0);
  CHECK_INT(rmdir(in("x/z/w")), 0);
  CHECK_INT(rmdir(in("x/z")), 0);
  CHECK_INT(rmdir(in("x")), 0);
  lv_drives_free(drives);
}

/* No memory for the name of a folder that is to be taken away: it stays. */
static void test_poor_abandon(void) {
  begin_drive();
  CHECK_INT(begin_windows("C:\\x", in("x")), 0);
  CHECK_INT(lv_newfile_link(&file, true, &err), 0);
  poor_begin(1, true, POOR_ANY);
  lv_newfile_abandon(&file);
  CHECK(poor_end() > 0);
  lv_folder_close(&folder, &env);
  CHECK(!exists("x/new.vhd"));
  CHECK_INT(rmdir(in("x")), 0);
  lv_drives_free(drives);
}

/* ---- whose name it is --------------------------------------------------- */

/* A failed settling takes the name away if it is ours beyond doubt. */
static void test_settle(void) {
  for (int round = 0; round < 3; round++) {
    anew();
    CHECK_INT(begin("", false), 0);
    CHECK_INT(lv_newfile_link(&file, false, &err), 0);
    trouble_fail(&t, "close", EDQUOT, 1, 1);
    if (round == 1)
      trouble_fail(&t, "fstatat", EIO, 1, 1);
    if (round == 2)
      trouble_forge(&t, "fstatat", other_volume);
    TOLD(&err, lv_newfile_settle(&file, &err), E_DISK_FULL, EDQUOT, "close");
    over();
    CHECK_INT(exists("new.vhd"), round != 0);
    if (round != 0)
      CHECK_INT(unlink(in("new.vhd")), 0);
  }
  /* Without a name there is none to take away. */
  anew();
  CHECK_INT(begin("", false), 0);
  put_text("new.vhd", "other");
  trouble_fail(&t, "close", EDQUOT, 1, 1);
  TOLD(&err, lv_newfile_settle(&file, &err), E_DISK_FULL, EDQUOT, "close");
  over();
  CHECK_INT(unlink(in("new.vhd")), 0);
}

/* ---- names -------------------------------------------------------------- */

static int names_dir;

static void begin_names(void) {
  anew();
  names_dir = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  env.names = lv_names_new();
  CHECK(env.names != NULL);
}

static void end_names(void) {
  lv_names_free(env.names);
  close(names_dir);
}

static struct lv_twins twins;

static int ask_twins(void) {
  int code = 0;
  lv_names_forget(env.names);
  code = lv_twins_find(&twins, &env, names_dir, "TWIN", NULL);
  lv_names_forget(env.names);
  return code;
}

static int count_twins(size_t want) {
  int code = lv_twins_find(&twins, &env, names_dir, "twin", &err);
  CHECK_INT(code == 0 ? twins.count : 0, code == 0 ? want : 0);
  return code;
}

static unsigned opens(void) {
  return t.rules[0].calls;
}

static int other_folder(const struct lv_sys *sys, int fd, struct stat *st) {
  int code = lv_sys_real.fstat(sys, fd, st);
  st->st_dev++;
  return code;
}

static void test_names(void) {
  char name[16];
  put_text("Twin", "");
  begin_names();
  poorly("names", ask_twins);
  trouble_fail(&t, "openat", 0, 1, 0); /* counts */
  CHECK_INT(count_twins(1), 0);
  CHECK_INT(count_twins(1), 0);
  CHECK_INT(opens(), 1);
  CHECK(!twins.exact);
  for (int i = 0; i < 300; i++) { /* the table grows */
    snprintf(name, sizeof name, "n%d", i);
    lv_names_add(&env, names_dir, name);
  }
  lv_names_add(&env, names_dir, "TWIN");
  lv_names_add(&env, names_dir, "twin");
  CHECK_INT(count_twins(3), 0);
  CHECK(twins.exact);
  t.sys.fstat = other_folder; /* another volume's, of the same number */
  CHECK_INT(count_twins(1), 0);
  CHECK_INT(opens(), 2);
  end_names();
  CHECK_INT(unlink(in("Twin")), 0);
}

/* What is not to be had is told, or read again the next time. */
static void test_names_fail(void) {
  put_text("Twin", "");
  begin_names();
  trouble_fail(&t, "fstat", EIO, 1, 1);
  TOLD(&err, count_twins(0), DISP_E_EXCEPTION, EIO, "fstat");
  trouble_fail(&t, "getdents", EIO, 2, 1);
  TOLD(&err, count_twins(0), DISP_E_EXCEPTION, EIO, "getdents64");
  trouble_over(&t);
  trouble_fail(&t, "getdents", EINTR, 1, 2);
  CHECK_INT(count_twins(1), 0);
  lv_names_forget(env.names);
  trouble_over(&t);
  trouble_fail(&t, "getdents", ENOENT, 1, 1); /* the folder was removed */
  CHECK_INT(count_twins(0), 0);
  lv_names_forget(env.names);
  trouble_over(&t);
  trouble_fail(&t, "openat", EMFILE, 1, 1);
  TOLD(&err, count_twins(0), VM_E_OUT_OF_RESOURCE, EMFILE, "openat");
  trouble_over(&t);
  trouble_fail(&t, "openat", EACCES, 1, 1); /* not to be listed: no names */
  CHECK_INT(count_twins(0), 0);
  trouble_over(&t);
  trouble_fail(&t, "fstat", EIO, 1, 1); /* which folder has it is not known */
  lv_names_add(&env, names_dir, "twin");
  CHECK_INT(count_twins(0), 0);
  lv_names_add(&env, names_dir, "twin");
  CHECK_INT(count_twins(1), 0);
  /* No memory for the name: all is forgotten, not half known. */
  poor_begin(1, false, POOR_ANY);
  lv_names_add(&env, names_dir, "tWIN");
  CHECK_INT(poor_end(), 1);
  CHECK_INT(count_twins(1), 0);
  CHECK(!twins.exact);
  CHECK_STR(twins.names[0], "Twin");
  lv_names_add(&env, AT_FDCWD, "twin"); /* of a folder that is not known */
  CHECK_INT(count_twins(1), 0);
  end_names();
  env.names = NULL;
  lv_names_add(&env, -1, "twin");
  lv_names_free(NULL);
  CHECK_INT(unlink(in("Twin")), 0);
}

/* ---- volumes ------------------------------------------------------------ */

static struct statfs said;
static int64_t clock_says;

static int say_statfs(const struct lv_sys *sys, int fd, struct statfs *st) {
  if (trouble_has(sys, "fstatfs"))
    return -1;
  (void)fd;
  *st = said;
  return 0;
}

static int64_t say_clock(const struct lv_sys *sys) {
  (void)sys;
  return clock_says;
}

/* An hour after the start of a system with 100 MiB free in blocks of 4 KiB. */
static void begin_volume(void) {
  anew();
  memset(&said, 0, sizeof said);
  said.f_type = TMPFS_MAGIC;
  said.f_blocks = 1 << 20;
  said.f_bsize = said.f_frsize = 4096;
  said.f_bavail = 100 * MIB / 4096;
  memcpy(&said.f_fsid, "volume", 6);
  clock_says = INT64_C(3600000000000);
  t.sys.fstatfs = say_statfs;
  t.sys.monotonic = say_clock;
  CHECK_INT(lv_folder_open(&folder, &env, base, &err), 0);
  trouble_fail(&t, "lseek", 0, 1, 0); /* counts */
}

static void end_volume(void) {
  lv_folder_close(&folder, &env);
}

static struct lv_volume volume;

static int hold(uint64_t length) {
  unsigned open = descriptors();
  int code = lv_volume_check(&volume, &env, &folder, -1, length, &err);
  CHECK_INT(descriptors(), open);
  return code;
}

static unsigned questions(void) {
  return t.rules[0].calls;
}

/* An answer is believed for a second, of the same volume, for no longer
 * file; and never when the clock has gone back. */
static void test_hint(void) {
  begin_volume();
  CHECK_INT(hold(5 * MIB), 0);
  CHECK_INT(volume.free, 100 * MIB);
  CHECK(volume.lockable && volume.counted);
  CHECK_INT(questions(), 1);
  clock_says += 999999999;
  CHECK_INT(hold(5 * MIB), 0);
  CHECK_INT(questions(), 1);
  CHECK(volume.lockable);
  CHECK_INT(hold(5 * MIB + 1), 0);
  CHECK_INT(questions(), 2);
  clock_says += 1000000000;
  CHECK_INT(hold(5 * MIB), 0);
  CHECK_INT(questions(), 3);
  clock_says -= 1;
  CHECK_INT(hold(5 * MIB), 0);
  CHECK_INT(questions(), 4);
  said.f_type++;
  CHECK_INT(hold(5 * MIB), 0);
  CHECK_INT(questions(), 5);
  atomic_flag_test_and_set(&env.volume.busy); /* another thread is at it */
  CHECK_INT(hold(5 * MIB), 0);
  CHECK_INT(questions(), 6);
  atomic_flag_clear(&env.volume.busy);
  memset(&said.f_fsid, 0, sizeof said.f_fsid); /* which one it is: unknown */
  CHECK_INT(hold(5 * MIB), 0);
  CHECK_INT(hold(5 * MIB), 0);
  CHECK_INT(questions(), 8);
  end_volume();
}

static void test_free(void) {
  begin_volume();
  said.f_frsize = 0; /* one that calls its block size differently */
  said.f_bsize = 8192;
  CHECK_INT(hold(MIB), 0);
  CHECK_INT(volume.free, 200 * MIB);
  said.f_bavail = 8 * MIB / 8192 - 1;
  CHECK_INT(hold(MIB), LVHD_E_DISK_FULL);
  CHECK_INT(err.expected, 8 * MIB);
  CHECK_INT(err.actual, 8 * MIB - 8192);
  REASON(&err, err.code, E_DISK_FULL, VOLUME_FULL);
  said.f_bavail++;
  CHECK_INT(hold(MIB), 0);
  said.f_bavail = said.f_blocks = 0; /* one that does not count */
  CHECK_INT(hold(MIB), 0);
  CHECK(!volume.counted);
  trouble_fail(&t, "fstatfs", EIO, 1, 2);
  TOLD(&err, hold(MIB), DISP_E_EXCEPTION, EIO, "fstatfs");
  lv_volume_of(&volume, &env, folder.fd);
  CHECK_INT(volume.free, 0);
  end_volume();
}

static rlim_t the_limit;

static int say_limit(const struct lv_sys *sys, int what, struct rlimit *out) {
  (void)sys, (void)what;
  out->rlim_cur = out->rlim_max = the_limit;
  return 0;
}

static void test_limits(void) {
  static const int too_long[] = {EINVAL, EOVERFLOW, EFBIG};
  for (size_t i = 0; i < COUNT(too_long); i++) {
    begin_volume();
    trouble_fail(&t, "lseek", too_long[i], 1, ALWAYS);
    CHECK_INT(hold(MIB), LVHD_VM_E_FILE_TOO_LARGE_FOR_VOLUME);
    CHECK_INT(err.has, LVHD_HAS_ACTUAL); /* the limit is not told */
    CHECK_STR(err.syscall, "lseek");
    REASON(&err, err.code, VM_E_FILE_TOO_LARGE_FOR_VOLUME,
           VOLUME_FILE_LIMIT);
    CHECK_INT(lv_volume_check(&volume, &env, &folder, -1, MIB, NULL),
              LVHD_VM_E_FILE_TOO_LARGE_FOR_VOLUME);
    end_volume();
  }
  begin_volume();
  trouble_fail(&t, "lseek", EIO, 1, 1);
  TOLD(&err, hold(MIB), DISP_E_EXCEPTION, EIO, "lseek");
  trouble_fail(&t, "getrlimit", EPERM, 1, 1);
  TOLD(&err, hold(MIB), E_ACCESSDENIED, EPERM, "getrlimit");
  t.sys.getrlimit = say_limit;
  the_limit = MIB - 1;
  CHECK_INT(hold(MIB), LVHD_VM_E_FILE_TOO_LARGE_FOR_VOLUME);
  CHECK_INT(err.expected, MIB - 1);
  REASON(&err, err.code, VM_E_FILE_TOO_LARGE_FOR_VOLUME, PROCESS_FILE_LIMIT);
  CHECK_INT(lv_volume_check(&volume, &env, &folder, -1, MIB, NULL),
            LVHD_VM_E_FILE_TOO_LARGE_FOR_VOLUME);
  the_limit = MIB;
  trouble_fail(&t, "getlk", EINVAL, 1, ALWAYS);
  CHECK_INT(hold(MIB), 0);
  CHECK(!volume.lockable);
  end_volume();
}

/* Without an unnamed file there is nothing to ask, and nothing is learned. */
static void test_unasked(void) {
  begin_volume();
  trouble_fail(&t, "O_TMPFILE", EOPNOTSUPP, 1, 1);
  CHECK_INT(hold(MIB), 0);
  CHECK_INT(questions(), 0);
  CHECK(!volume.lockable);
  trouble_over(&t);
  trouble_fail(&t, "O_TMPFILE", EACCES, 1, 1);
  TOLD(&err, hold(MIB), E_ACCESSDENIED, EACCES, "openat");
  end_volume();
}

/* An existing file is asked every time. */
static void test_holds(void) {
  int fd = -1;
  begin_volume();
  put_text("file", "");
  fd = open(in("file"), O_RDWR | O_CLOEXEC);
  CHECK_INT(lv_volume_holds(&env, fd, MIB, &err), 0);
  CHECK_INT(lv_volume_holds(&env, fd, MIB, &err), 0);
  CHECK_INT(questions(), 2);
  trouble_fail(&t, "fstatfs", EIO, 1, 1);
  TOLD(&err, lv_volume_holds(&env, fd, MIB, &err), DISP_E_EXCEPTION, EIO,
       "fstatfs");
  said.f_bavail = 1;
  REASON(&err, lv_volume_holds(&env, fd, MIB, &err), E_DISK_FULL,
         VOLUME_FULL);
  trouble_over(&t);
  trouble_fail(&t, "lseek", EFBIG, 1, 1);
  REASON(&err, lv_volume_holds(&env, fd, MIB, &err),
         VM_E_FILE_TOO_LARGE_FOR_VOLUME, VOLUME_FILE_LIMIT);
  close(fd);
  end_volume();
  CHECK_INT(unlink(in("file")), 0);
}

/* ---- one flush for many ------------------------------------------------- */

static const char *release;

int __wrap_uname(struct utsname *name) {
  int code = __real_uname(name);
  if (release == NULL)
    return -1;
  snprintf(name->release, sizeof name->release, "%s", release);
  return code;
}

/* What /proc/meminfo says, one answer after the other. */
static const char *meminfo[2];
static unsigned meminfo_read;

static ssize_t say_meminfo(const struct lv_sys *sys, int fd, void *buf,
                           size_t n, off_t at) {
  const char *text = meminfo[meminfo_read++ % 2];
  (void)sys, (void)fd, (void)at;
  snprintf(buf, n, "%s", text);
  return (ssize_t)strlen(text);
}

#define NOTHING "MemTotal: 1 kB\nDirty: 0 kB\nWriteback: 0 kB\n"

static struct lv_flushing flushing;
static int fds[5];

static void begin_flush(void) {
  begin_volume();
  said.f_type = EXT4_SUPER_MAGIC;
  t.sys.pread = say_meminfo;
  meminfo[0] = meminfo[1] = NOTHING;
  meminfo_read = 0;
  flushing = (struct lv_flushing){0};
  release = "5.8.0-1";
  for (size_t i = 0; i < COUNT(fds); i++)
    fds[i] = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  trouble_over(&t);
  trouble_fail(&t, "syncfs", 0, 1, 0); /* counts */
}

static void end_flush(void) {
  for (size_t i = 0; i < COUNT(fds); i++)
    close(fds[i]);
  end_volume();
}

/* Whether the volume was flushed for them all, and it was if that is told. */
static bool flush(void) {
  unsigned before = t.rules[0].calls, open = descriptors();
  bool done = lv_newfile_flush_many(&env, &flushing, fds, COUNT(fds));
  CHECK_INT(descriptors(), open);
  CHECK_INT(t.rules[0].calls - before, done);
  return done;
}

/* Only on a kernel that tells of bytes that were lost. */
static void test_kernels(void) {
  static const struct {
    const char *release;
    bool good;
  } kernels[] = {{"5.8.0", true},  {"5.7.19", false}, {"4.19.0", false},
                 {"6.0", true},    {"10.1-x", true},  {"odd", false},
                 {"5", false},     {"5.10", true},    {NULL, false}};
  begin_flush();
  for (size_t i = 0; i < COUNT(kernels); i++) {
    release = kernels[i].release;
    CHECK_INT(flush(), kernels[i].good);
  }
  end_flush();
}

static void test_which_volumes(void) {
  begin_flush();
  CHECK(flush());
  said.f_type = 0x58465342; /* XFS */
  CHECK(flush());
  said.f_type = TMPFS_MAGIC;
  CHECK(!flush());
  said.f_type = NFS_SUPER_MAGIC;
  CHECK(!flush());
  said.f_type = EXT4_SUPER_MAGIC;
  trouble_fail(&t, "fstatfs", EIO, 1, 1);
  CHECK(!flush());
  CHECK(!lv_newfile_flush_many(&env, &flushing, fds, 4)); /* too few */
  trouble_fail(&t, "fstat", EIO, 1, 1);
  CHECK(!flush());
  CHECK(flush());
  close(fds[3]);
  fds[3] = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* another */
  CHECK(!flush());
  end_flush();
  /* It fails: each one's own flush will tell of which. */
  begin_flush();
  trouble_over(&t);
  trouble_fail(&t, "syncfs", EIO, 1, 1);
  CHECK(!lv_newfile_flush_many(&env, &flushing, fds, COUNT(fds)));
  end_flush();
}

/* What others have there is waited for as far as the credit goes. */
static void test_dirty(void) {
  static const char *const unknown[] = {
    "", "Dirty: 1 kB\nWriteback: 1 kB\n", "MemTotal: 1 kB\n",
    "MemTotal: 1 kB\nDirty: 0 kB\n", "MemTotal: 1 kB\nWriteback: 0 kB\n"};
  begin_flush();
  for (size_t i = 0; i < COUNT(unknown); i++) {
    meminfo[0] = meminfo[1] = unknown[i];
    CHECK(!flush());
  }
  meminfo[0] = "M\nDirty: 700 kB\nWriteback: 300 kB\n";
  CHECK(!flush());
  meminfo[1] = "M\nDirty: 600 kB\nWriteback: 0 kB\n";
  meminfo_read = 0;
  flushing.credit = 1000 * 1024;
  CHECK(flush()); /* 400 KiB of others have gone with it */
  CHECK(flushing.credit > 0 && flushing.credit <= 640 * 1024);
  CHECK_INT(flushing.elsewhere, 600 * 1024);
  meminfo[1] = ""; /* afterwards nothing is told: all may have been waited */
  meminfo_read = 0;
  CHECK(flush());
  CHECK_INT(flushing.elsewhere, 0);
  CHECK_INT(flushing.credit, 0);
  trouble_fail(&t, "openat", ENOENT, 1, 1); /* no /proc */
  CHECK(!flush());
  end_flush();
}

int main(void) {
  unsigned open = descriptors();
  base_make("io-new");
  test_temp_name();
  test_no_error();
  test_reserve();
  test_remembered();
  test_link_errors();
  test_hidden_name();
  test_folder_gone();
  test_link_in();
  test_drive_folders();
  test_poor_abandon();
  test_settle();
  test_names();
  test_names_fail();
  test_hint();
  test_free();
  test_limits();
  test_unasked();
  test_holds();
  test_kernels();
  test_which_volumes();
  test_dirty();
  CHECK_INT(descriptors(), open);
  CHECK_INT(rmdir(base), 0);
  return check_done();
}
