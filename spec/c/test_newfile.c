/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/io/newfile: each call that fails, what it is told as and
 * what it leaves, and what others do to the name meanwhile.  In a folder of
 * its own below TMPDIR.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "folder.h"
#include "io/drives.h"
#include "io/newfile.h"
#include "poor.h"
#include "trouble.h"

#define MIB (UINT64_C(1) << 20)

/* ---- calls that fail --------------------------------------------------- */

static long magic; /* of the file system */

static void has_magic(void *answer) {
  struct statfs *st = answer;
  st->f_type = magic;
}

static int close_open(const struct lv_sys *sys, int fd) {
  CHECK(fd >= 0);
  return trouble_close(sys, fd);
}

static int64_t sent_from, sent;

static int note_send(const struct lv_sys *sys, int fd, off_t at, off_t n) {
  (void)fd;
  sent_from = at;
  sent = n;
  return trouble_has(sys, "send") ? -1 : 0;
}

/* The only rule. */
static void break_call(struct trouble *f, const char *call, int errnum,
                       unsigned from, unsigned times) {
  trouble_begin(f);
  f->sys.close = close_open;
  f->sys.send = note_send;
  trouble_fail(f, call, errnum, from, times);
}

/* ---- a file under way -------------------------------------------------- */

struct job {
  struct lv_env env;
  struct lv_folder folder;
  struct lv_newfile file;
  struct lvhd_error err;
  char path[2 * PATH_MAX];
  unsigned descriptors, entries;
};

static uint64_t known_volume; /* what the engine has learned */

/* In the folder base/below, which need not be there. */
static int begin(struct job *j, struct trouble *f, const char *below,
                 bool named) {
  memset(j, 0, sizeof *j);
  j->descriptors = descriptors();
  j->entries = entries(base);
  j->err = (struct lvhd_error)LVHD_ERROR_INIT;
  j->file = (struct lv_newfile)LV_NEWFILE_INIT;
  snprintf(j->path, sizeof j->path, "%s%s", base, below);
  lv_env_init(&j->env, &lv_sys_real);
  atomic_store(&j->env.no_tmpfile, known_volume);
  CHECK_INT(lv_folder_open(&j->folder, &j->env, j->path, &j->err), 0);
  j->env.sys = &f->sys;
  return lv_newfile_begin(&j->file, &j->env, &j->folder, j->path, "new.vhd",
                          0600, named, &j->err);
}

/* Nothing stays, but what is told. */
static void over(struct job *j, unsigned stays) {
  struct stat st;
  lv_newfile_abandon(&j->file);
  CHECK_INT(fstat(j->folder.fd, &st), 0); /* it was lent */
  j->env.sys = &lv_sys_real;
  lv_folder_close(&j->folder, &j->env);
  lvhd_error_clear(&j->err);
  CHECK_INT(descriptors(), j->descriptors);
  CHECK_INT(entries(base), j->entries + stays);
}

static void told(struct job *j, int code, int errnum, const char *call) {
  CHECK(code != 0);
  CHECK_INT(j->err.code, code);
  CHECK_INT(j->err.errnum, errnum);
  CHECK_STR(j->err.syscall, call);
}

/* ---- beginning --------------------------------------------------------- */

static void test_begin(void) {
  static const int none[] = {EOPNOTSUPP, EISDIR, EINVAL, ENOSYS, ENOENT};
  struct trouble f;
  struct job j;
  for (size_t i = 0; i < COUNT(none); i++) {
    break_call(&f, "O_TMPFILE", none[i], 1, 1);
    CHECK_INT(begin(&j, &f, "", false), 0);
    CHECK(j.file.temp[0] != '\0');
    CHECK(exists(j.file.temp));
    over(&j, 0);
  }
  break_call(&f, "O_TMPFILE", EACCES, 1, 1);
  told(&j, begin(&j, &f, "", false), EACCES, "openat");
  CHECK_INT(j.file.fd, -1);
  over(&j, 0);
  break_call(&f, "getrandom", ENOSYS, 1, 1);
  told(&j, begin(&j, &f, "", true), ENOSYS, "getrandom");
  over(&j, 0);
  break_call(&f, "openat", ENOSPC, 1, 1);
  told(&j, begin(&j, &f, "", true), ENOSPC, "openat");
  CHECK_STR(j.file.temp, "");
  over(&j, 0);
  break_call(&f, "openat", EEXIST, 1, 2); /* another has that name: again */
  CHECK_INT(begin(&j, &f, "", true), 0);
  over(&j, 0);
}

static unsigned random_calls;

static ssize_t random_given;

/* errno, of another call, does not count where the call went well. */
static ssize_t random_once(const struct lv_sys *sys, void *buf, size_t n,
                           unsigned flags) {
  (void)sys, (void)flags;
  memset(buf, 7, n);
  errno = random_calls++ == 0 ? EINTR : EPERM;
  return random_given;
}

/* A volume where unnamed files could not be linked is remembered. */
static void test_begin_named(void) {
  struct trouble f;
  struct job j;
  struct stat st;
  CHECK_INT(stat(base, &st), 0);
  for (int way = 0; way < 3; way++) {
    break_call(&f, "fstat", EIO, way == 2 ? 1 : 0, way == 2 ? 1 : 0);
    known_volume = (uint64_t)st.st_dev + 1 + (way == 1);
    CHECK_INT(begin(&j, &f, "", false), 0);
    CHECK_INT(j.file.temp[0] != '\0', way == 0);
    over(&j, 0);
    known_volume = 0;
  }
  for (random_given = 0; random_given <= 8; random_given += 4) {
    break_call(&f, NULL, 0, 0, 0);
    f.sys.getrandom = random_once;
    random_calls = 0;
    if (random_given == 8)
      CHECK_INT(begin(&j, &f, "", true), 0);
    else
      told(&j, begin(&j, &f, "", true), EIO, "getrandom");
    CHECK_INT(random_calls, 1);
    over(&j, 0);
  }
}

/* ---- writing ----------------------------------------------------------- */

static int put(struct job *j, size_t n, uint64_t at) {
  static char bytes[70000];
  struct iovec iov[2] = {{bytes, n / 2}, {bytes, n - n / 2}};
  return lv_newfile_write(&j->file, iov, 2, at, &j->err);
}

static unsigned short_writes;

/* A signal, then a byte at a time, then nothing. */
static ssize_t trickle(const struct lv_sys *sys, int fd,
                       const struct iovec *iov, int n, off_t at) {
  struct iovec one = {iov->iov_base, 1};
  (void)n;
  if (short_writes == 0) {
    errno = ENOSPC; /* of another call */
    return 0;
  }
  if (short_writes-- % 2 == 0) {
    errno = EINTR;
    return -1;
  }
  return lv_sys_real.pwritev(sys, fd, &one, 1, at);
}

static unsigned full_writes;

static ssize_t no_space(const struct lv_sys *sys, int fd,
                        const struct iovec *iov, int n, off_t at) {
  errno = ENOSPC;
  return full_writes++ < 2 ? -1 : lv_sys_real.pwritev(sys, fd, iov, n, at);
}

static int shared;

static int share(const struct lv_sys *sys, int from, off_t from_at, size_t n,
                 int to, off_t to_at) {
  (void)sys, (void)to;
  CHECK_INT(from, 5);
  CHECK_INT(from_at, 0);
  CHECK_INT(n, 4096);
  CHECK_INT(to_at, 0);
  return shared;
}

/* A write that fails is not tried again. */
static void test_full(void) {
  struct trouble f;
  struct job j;
  break_call(&f, NULL, 0, 0, 0);
  f.sys.pwritev = no_space;
  f.sys.clone = share;
  CHECK_INT(begin(&j, &f, "", false), 0);
  told(&j, put(&j, 4, 0), ENOSPC, "pwritev");
  CHECK_INT(full_writes, 1);
  CHECK(lv_newfile_clone(&j.file, 5, 4096));
  shared = -1;
  CHECK(!lv_newfile_clone(&j.file, 5, 4096));
  over(&j, 0);
}

static void test_short_writes(void) {
  struct trouble f;
  struct job j;
  struct stat st;
  break_call(&f, NULL, 0, 0, 0);
  f.sys.pwritev = trickle;
  CHECK_INT(begin(&j, &f, "", false), 0);
  short_writes = 8;
  CHECK_INT(put(&j, 4, 0), 0);
  CHECK_INT(short_writes, 0);
  CHECK_INT(fstat(j.file.fd, &st), 0);
  CHECK_INT(st.st_size, 4);
  told(&j, put(&j, 4, 4), EIO, "pwritev");
  over(&j, 0);
}

/* Long writes are reserved where that helps; what fails there is no matter. */
static void test_reserve_ahead(void) {
  struct trouble f;
  struct job j;
  break_call(&f, "fallocate", EIO, 0, 0);
  magic = EXT4_SUPER_MAGIC;
  trouble_forge(&f, "fstatfs", has_magic);
  CHECK_INT(begin(&j, &f, "", false), 0);
  lv_newfile_much(&j.file, false);
  CHECK(j.file.reserves);
  CHECK_INT(put(&j, 65535, 0), 0);
  CHECK_INT(f.rules[0].calls, 0);
  CHECK_INT(put(&j, 65536, 65535), 0);
  CHECK_INT(f.rules[0].calls, 1);
  CHECK(j.file.reserves);
  f.rules[0].from = 2;
  f.rules[0].times = 1;
  CHECK_INT(put(&j, 65536, 0), 0);
  CHECK(!j.file.reserves);
  CHECK_INT(put(&j, 65536, 0), 0);
  CHECK_INT(f.rules[0].calls, 2);
  over(&j, 0);
  break_call(&f, "fstatfs", EIO, 1, 1);
  magic = EXT4_SUPER_MAGIC;
  trouble_forge(&f, "fstatfs", has_magic);
  CHECK_INT(begin(&j, &f, "", false), 0);
  lv_newfile_much(&j.file, false);
  CHECK(!j.file.reserves);
  magic = TMPFS_MAGIC;
  lv_newfile_much(&j.file, true);
  CHECK(!j.file.reserves);
  CHECK(j.file.sends);
  over(&j, 0);
}

static void test_send_behind(void) {
  struct trouble f;
  struct job j;
  break_call(&f, "send", EIO, 3, 1);
  CHECK_INT(begin(&j, &f, "", false), 0);
  lv_newfile_much(&j.file, true);
  CHECK_INT(put(&j, 2, 16 * MIB - 3), 0);
  CHECK_INT(f.rules[0].calls, 0);
  CHECK_INT(put(&j, 2, 16 * MIB - 2), 0);
  CHECK_INT(f.rules[0].calls, 1);
  CHECK_INT(sent_from, 0);
  CHECK_INT(sent, 8 * MIB);
  CHECK_INT(put(&j, 2, 24 * MIB - 3), 0);
  CHECK_INT(f.rules[0].calls, 1);
  CHECK_INT(put(&j, 2, 40 * MIB), 0);
  CHECK_INT(f.rules[0].calls, 2);
  CHECK_INT(sent_from, 8 * MIB);
  CHECK_INT(sent, 24 * MIB);
  CHECK_INT(put(&j, 2, 80 * MIB), 0);
  CHECK(!j.file.sends); /* the third failed: no more are tried */
  CHECK_INT(put(&j, 2, 120 * MIB), 0);
  CHECK_INT(f.rules[0].calls, 3);
  over(&j, 0);
}

static void test_attributes(void) {
  struct trouble f;
  struct job j;
  break_call(&f, "fchmod", EPERM, 1, 1);
  CHECK_INT(begin(&j, &f, "", false), 0);
  told(&j, lv_newfile_chmod(&j.file, 0640, &j.err), EPERM, "fchmod");
  over(&j, 0);
  break_call(&f, "futimens", EPERM, 1, 1);
  CHECK_INT(begin(&j, &f, "", false), 0);
  told(&j, lv_newfile_touch(&j.file, 1, &j.err), EPERM, "futimens");
  over(&j, 0);
  break_call(&f, "fsync", EIO, 1, 1);
  CHECK_INT(begin(&j, &f, "", false), 0);
  told(&j, lv_newfile_flush(&j.file, &j.err), EIO, "fsync");
  CHECK_INT(lv_folder_flush(&j.env, j.folder.fd, false, j.file.fd, NULL), 0);
  over(&j, 0);
  break_call(&f, "syncfs", EIO, 1, 1);
  CHECK_INT(begin(&j, &f, "", false), 0);
  told(&j, lv_folder_flush(&j.env, -1, true, j.file.fd, &j.err), EIO,
       "syncfs");
  over(&j, 0);
  for (int errnum = 0; errnum < 2; errnum++) {
    break_call(&f, "fallocate", errnum ? ENOSYS : EOPNOTSUPP, 1, 1);
    CHECK_INT(begin(&j, &f, "", false), 0);
    told(&j, lv_newfile_reserve(&j.file, 4096, &j.err), f.rules[0].errnum,
         "fallocate");
    CHECK_INT(j.err.reason, LV_R_NO_RESERVE);
    CHECK_INT(j.err.code, LVHD_E_NOTIMPL);
    over(&j, 0);
  }
  break_call(&f, "fallocate", EINTR, 1, 2);
  CHECK_INT(begin(&j, &f, "", false), 0);
  CHECK_INT(lv_newfile_reserve(&j.file, 4096, &j.err), 0);
  over(&j, 0);
  break_call(&f, "ftruncate", EINTR, 1, 2);
  CHECK_INT(begin(&j, &f, "", false), 0);
  CHECK_INT(lv_newfile_extend(&j.file, 4096, &j.err), 0);
  f.rules[0].errnum = EFBIG;
  f.rules[0].calls = 0;
  told(&j, lv_newfile_extend(&j.file, 4096, &j.err), EFBIG, "ftruncate");
  over(&j, 0);
}

/* ---- the name ---------------------------------------------------------- */

/* Linking and settling, while a call fails. */
static int publish(struct job *j, bool full) {
  int code = lv_newfile_link(&j->file, full, &j->err);
  return code == 0 ? lv_newfile_settle(&j->file, &j->err) : code;
}

static void test_link_unnamed(void) {
  static const int through_proc[] = {ENOENT, EPERM, EINVAL};
  static const int never[] = {EPERM, EOPNOTSUPP, ENOSYS, EINVAL, EXDEV,
                              EMLINK};
  struct trouble f;
  struct job j;
  for (size_t i = 0; i < COUNT(through_proc); i++) {
    break_call(&f, "linkat", through_proc[i], 1, 1);
    CHECK_INT(begin(&j, &f, "", false), 0);
    CHECK_INT(publish(&j, true), 0);
    CHECK_INT(f.rules[0].calls, 2);
    CHECK(atomic_load(&j.env.no_empty_path));
    over(&j, 1);
    CHECK_INT(unlink(in("new.vhd")), 0);
  }
  break_call(&f, "linkat", ENOSPC, 1, 1);
  CHECK_INT(begin(&j, &f, "", false), 0);
  told(&j, publish(&j, true), ENOSPC, "linkat");
  CHECK_INT(f.rules[0].calls, 1);
  over(&j, 0);
  for (size_t i = 0; i < COUNT(never); i++) {
    break_call(&f, "linkat", never[i], 1, 2);
    CHECK_INT(begin(&j, &f, "", false), 0);
    CHECK_INT(publish(&j, true), LV_AGAIN_NAMED);
    CHECK(atomic_load(&j.env.no_tmpfile) != 0);
    over(&j, 0);
  }
  break_call(&f, "linkat", ENOENT, 1, 2);
  CHECK_INT(begin(&j, &f, "", false), 0);
  CHECK_INT(publish(&j, true), LV_AGAIN_NAMED);
  CHECK(atomic_load(&j.env.no_tmpfile) == 0); /* of this file alone */
  over(&j, 0);
  put_text("new.vhd", "other");
  break_call(&f, NULL, 0, 0, 0);
  CHECK_INT(begin(&j, &f, "", false), 0);
  told(&j, publish(&j, true), EEXIST, "linkat");
  CHECK_INT(j.err.code, LVHD_E_ALREADY_EXISTS);
  over(&j, 0);
  CHECK(exists("new.vhd"));
  unlink(in("new.vhd"));
}

static void test_link_named(void) {
  static const int instead[] = {EPERM, EOPNOTSUPP, ENOSYS, EINVAL, EXDEV,
                                EMLINK};
  struct trouble f;
  struct job j;
  for (size_t i = 0; i < COUNT(instead); i++) {
    break_call(&f, "renameat2", instead[i], 1, 1);
    CHECK_INT(begin(&j, &f, "", true), 0);
    CHECK_INT(publish(&j, false), 0);
    over(&j, 1);
    CHECK_INT(unlink(in("new.vhd")), 0);
  }
  break_call(&f, "renameat2", EIO, 1, 1);
  CHECK_INT(begin(&j, &f, "", true), 0);
  told(&j, publish(&j, false), EIO, "renameat2");
  CHECK_INT(j.err.reason, LV_R_NONE);
  over(&j, 0);
  /* Neither is to be had. */
  break_call(&f, "renameat2", EINVAL, 1, 1);
  CHECK_INT(begin(&j, &f, "", true), 0);
  f.sys.linkat = lv_sys_real.linkat;
  CHECK_INT(unlink(in(j.file.temp)), 0);
  CHECK(publish(&j, false) != 0);
  CHECK_STR(j.err.syscall, "linkat");
  over(&j, 0);
}

static int no_linkat(const struct lv_sys *sys, int from, const char *a,
                     int to, const char *b, int flags) {
  (void)sys, (void)from, (void)a, (void)to, (void)b, (void)flags;
  errno = EPERM;
  return -1;
}

static void test_no_publish(void) {
  struct trouble f;
  struct job j;
  break_call(&f, "renameat2", EINVAL, 1, 1);
  f.sys.linkat = no_linkat;
  CHECK_INT(begin(&j, &f, "", true), 0);
  told(&j, publish(&j, false), EPERM, "linkat");
  CHECK_INT(j.err.code, LVHD_DISP_E_EXCEPTION);
  CHECK_INT(j.err.reason, LV_R_NO_PUBLISH);
  over(&j, 0);
}

/* ---- the end ----------------------------------------------------------- */

static void replace(void) {
  CHECK_INT(unlink(in("new.vhd")), 0);
  put_text("new.vhd", "other");
}

/* Only what names our file is taken away. */
static void test_take_away(void) {
  struct trouble f;
  struct job j;
  break_call(&f, NULL, 0, 0, 0);
  CHECK_INT(begin(&j, &f, "", false), 0);
  CHECK_INT(lv_newfile_link(&j.file, true, &j.err), 0);
  CHECK(exists("new.vhd"));
  over(&j, 0);
  CHECK_INT(begin(&j, &f, "", false), 0);
  CHECK_INT(lv_newfile_link(&j.file, true, &j.err), 0);
  replace();
  over(&j, 1);
  CHECK_INT(unlink(in("new.vhd")), 0);
  CHECK_INT(begin(&j, &f, "", false), 0);
  CHECK_INT(lv_newfile_link(&j.file, true, &j.err), 0);
  CHECK_INT(unlink(in("new.vhd")), 0);
  over(&j, 0);
  /* What was never linked has no name; another's is not touched. */
  CHECK_INT(begin(&j, &f, "", false), 0);
  put_text("new.vhd", "other");
  over(&j, 1);
  CHECK_INT(unlink(in("new.vhd")), 0);
  /* A failed fstat: whose name it is is not known. */
  break_call(&f, "fstat", EIO, 0, 0);
  CHECK_INT(begin(&j, &f, "", false), 0);
  CHECK_INT(lv_newfile_link(&j.file, false, &j.err), 0);
  f.rules[0].calls = 0;
  f.rules[0].from = 1;
  f.rules[0].times = 2;
  told(&j, lv_newfile_settle(&j.file, &j.err), EIO, "fstat");
  over(&j, 1);
  CHECK_INT(unlink(in("new.vhd")), 0);
}

/* What cannot be looked at, or is on another volume, may be somebody's. */
static void test_not_ours(void) {
  for (int way = 0; way < 3; way++) {
    struct trouble f;
    struct job j;
    break_call(&f, way == 0 ? "fstatat" : "fstat", EIO, 0, 0);
    CHECK_INT(begin(&j, &f, "", false), 0);
    CHECK_INT(lv_newfile_link(&j.file, false, &j.err), 0);
    if (way == 2)
      trouble_forge(&f, "fstatat", other_volume);
    f.rules[0].calls = 0;
    f.rules[0].from = 1;
    f.rules[0].times = way < 2;
    over(&j, 1);
    CHECK_INT(unlink(in("new.vhd")), 0);
  }
}

/* A close that tells of lost bytes takes the name back; a signal does not. */
static void test_settle(void) {
  struct trouble f;
  struct job j;
  for (int round = 0; round < 3; round++) {
    break_call(&f, "close", round == 2 ? EINTR : EIO, 0, 0);
    CHECK_INT(begin(&j, &f, "", false), 0);
    CHECK_INT(lv_newfile_link(&j.file, false, &j.err), 0);
    if (round == 1)
      replace();
    f.rules[0].calls = 0;
    f.rules[0].from = 1;
    f.rules[0].times = 1;
    if (round == 2)
      CHECK_INT(lv_newfile_settle(&j.file, &j.err), 0);
    else
      told(&j, lv_newfile_settle(&j.file, &j.err), EIO, "close");
    CHECK_INT(j.file.fd, -1);
    over(&j, round != 0);
    if (round != 0)
      CHECK_INT(unlink(in("new.vhd")), 0);
  }
  break_call(&f, "fsync", EIO, 1, 1);
  CHECK_INT(begin(&j, &f, "", false), 0);
  CHECK_INT(lv_newfile_link(&j.file, true, &j.err), 0);
  told(&j, lv_newfile_settle(&j.file, &j.err), EIO, "fsync");
  over(&j, 0);
}

/* A folder that goes away is made anew; not flushed where that is not asked. */
static void test_gone(void) {
  struct trouble f;
  struct job j;
  for (int named = 0; named < 2; named++) {
    CHECK_INT(mkdir(in("x"), 0700), 0);
    break_call(&f, "fsync", EIO, 0, 0);
    CHECK_INT(begin(&j, &f, "/x", false), 0);
    CHECK_INT(rmdir(in("x")), 0);
    CHECK_INT(publish(&j, named != 0), 0);
    CHECK_INT(f.rules[0].calls != 0, named != 0);
    over(&j, 0);
    CHECK_INT(unlink(in("x/new.vhd")), 0);
    CHECK_INT(rmdir(in("x")), 0);
  }
}

/* A folder that went away is no answer to another question. */
static void test_gone_and_full(void) {
  struct trouble f;
  struct job j;
  CHECK_INT(mkdir(in("x"), 0700), 0);
  break_call(&f, "linkat", EIO, 1, 1);
  CHECK_INT(begin(&j, &f, "/x", false), 0);
  CHECK_INT(rmdir(in("x")), 0);
  told(&j, publish(&j, false), EIO, "linkat");
  over(&j, (unsigned)-1);
}

/* A folder that goes away while it is made is made again. */
static void test_gone_under_way(void) {
  static const char *const calls[] = {"mkdirat", "openat"};
  struct trouble f;
  struct job j;
  for (size_t i = 0; i < 4; i++) {
    break_call(&f, calls[i % 2], i < 2 ? ENOENT : EACCES, 2, 1);
    CHECK_INT(begin(&j, &f, "/x/y", false), 0);
    if (i < 2)
      CHECK_INT(lv_newfile_link(&j.file, false, &j.err), 0);
    else
      told(&j, publish(&j, false), EACCES, calls[i % 2]);
    over(&j, 0);
  }
  break_call(&f, "mkdirat", ENOENT, 1, 100); /* but not for ever */
  CHECK_INT(begin(&j, &f, "/x/y", false), 0);
  told(&j, publish(&j, false), ENOENT, "linkat");
  CHECK_INT(f.rules[0].calls, 4);
  over(&j, 0);
  break_call(&f, "openat2", EACCES, 1, 2); /* by path only neither */
  CHECK_INT(begin(&j, &f, "/x/y", false), 0);
  told(&j, publish(&j, false), EACCES, "openat2");
  over(&j, 0);
}

/* ---- below a root ------------------------------------------------------ */

/* As begin(), by a path of Windows, whose drive is the folder base/root. */
static int begin_below(struct job *j, struct trouble *f, const char *below) {
  struct lvhd_drive drive = {"C", in("root")};
  struct lv_drives *drives = NULL;
  char path[PATH_MAX + 10];
  CHECK_INT(lv_drives_new(&drives, &drive, 1, NULL), 0);
  CHECK_INT(begin(j, f, "/root", false), 0);
  lv_newfile_abandon(&j->file);
  lv_folder_close(&j->folder, &j->env);
  snprintf(path, sizeof path, "C:%s", below);
  snprintf(j->path, sizeof j->path, "%s/root%s", base, below);
  for (char *at = path; *at; at++)
    *at = *at == '/' ? '\\' : *at;
  j->env.drives = drives;
  CHECK_INT(lv_folder_open(&j->folder, &j->env, path, &j->err), 0);
  j->env.drives = NULL;
  lv_drives_free(drives);
  return lv_newfile_begin(&j->file, &j->env, &j->folder, j->path, "new.vhd",
                          0600, false, &j->err);
}

/* x leads out of the root by now, to a folder that has all that x had. */
static void lead_out(void) {
  CHECK_INT(symlink("../out", in("root/x")), 0);
}

/* Nothing is made where a link leads out of the root. */
static void test_root_made(void) {
  struct trouble f;
  struct job j;
  break_call(&f, NULL, 0, 0, 0);
  CHECK_INT(begin_below(&j, &f, "/x/y"), 0);
  CHECK_INT(lv_newfile_link(&j.file, true, &j.err), 0);
  CHECK(exists("root/x/y/new.vhd"));
  over(&j, 0);
  CHECK(!exists("root/x"));
  CHECK_INT(begin_below(&j, &f, "/x/y"), 0);
  lead_out();
  CHECK_INT(lv_newfile_link(&j.file, false, &j.err), LVHD_E_ACCESSDENIED);
  CHECK_INT(j.err.reason, LV_R_OUTSIDE_DRIVE);
  over(&j, 0);
  CHECK(!exists("out/y"));
  CHECK_INT(unlink(in("root/x")), 0);
}

/* Nor is anything taken away there. */
static void test_root_removed(void) {
  struct trouble f;
  struct job j;
  break_call(&f, NULL, 0, 0, 0);
  CHECK_INT(mkdir(in("out/y"), 0700), 0);
  CHECK_INT(begin_below(&j, &f, "/x/y"), 0);
  CHECK_INT(lv_newfile_link(&j.file, true, &j.err), 0);
  CHECK_INT(rename(in("root/x"), in("root/z")), 0);
  lead_out();
  over(&j, 0);
  CHECK(exists("out/y"));
  CHECK_INT(unlink(in("root/x")), 0);
  CHECK_INT(rmdir(in("out/y")), 0);
  CHECK_INT(rmdir(in("root/z/y")), 0);
  CHECK_INT(rmdir(in("root/z")), 0);
  /* Only x is gone: a folder elsewhere that has the name of the last one. */
  CHECK_INT(begin_below(&j, &f, "/x/y"), 0);
  CHECK_INT(lv_newfile_link(&j.file, true, &j.err), 0);
  CHECK_INT(rename(in("root/x"), in("root/z")), 0);
  CHECK_INT(mkdir(in("root/y"), 0700), 0);
  over(&j, 0);
  CHECK(exists("root/y"));
  CHECK_INT(rmdir(in("root/y")), 0);
  CHECK_INT(rmdir(in("root/z/y")), 0);
  CHECK_INT(rmdir(in("root/z")), 0);
}

/* What others took away is no reason to leave the rest. */
static void test_removed_already(void) {
  for (int root = 0; root < 2; root++) {
    struct trouble f;
    struct job j;
    break_call(&f, NULL, 0, 0, 0);
    CHECK_INT(root ? begin_below(&j, &f, "/x/y/z")
                   : begin(&j, &f, "/root/x/y/z", false), 0);
    CHECK_INT(lv_newfile_link(&j.file, true, &j.err), 0);
    CHECK_INT(unlink(in("root/x/y/z/new.vhd")), 0);
    CHECK_INT(rmdir(in("root/x/y/z")), 0);
    over(&j, 0);
    CHECK(!exists("root/x"));
  }
}

/* The whole path is longer than a path may be; what lies below the root is
 * not. */
static void test_root_long(void) {
  struct trouble f;
  struct job j;
  char below[PATH_MAX] = "";
  for (int i = 0; i < 17; i++) {
    size_t at = strlen(below), n = i < 16 ? 249 : 80;
    below[at] = '/';
    memset(below + at + 1, 'x', n);
    below[at + 1 + n] = '\0';
  }
  break_call(&f, NULL, 0, 0, 0);
  CHECK_INT(begin_below(&j, &f, below), 0);
  CHECK(strlen(j.path) > PATH_MAX);
  CHECK_INT(lv_newfile_link(&j.file, true, &j.err), 0);
  CHECK_INT(entries(in("root")), 3);
  over(&j, 0);
  CHECK_INT(entries(in("root")), 2);
}

/* Without memory folders cannot be found again. */
static void test_root_poor(void) {
  struct trouble f;
  struct job j;
  break_call(&f, NULL, 0, 0, 0);
  CHECK_INT(begin_below(&j, &f, "/x/y"), 0);
  CHECK_INT(lv_newfile_link(&j.file, true, &j.err), 0);
  poor_begin(1, true, POOR_ANY);
  lv_newfile_abandon(&j.file);
  CHECK(poor_end() > 0);
  over(&j, 0);
  CHECK(!exists("root/x/y/new.vhd"));
  CHECK_INT(rmdir(in("root/x/y")), 0);
  CHECK_INT(rmdir(in("root/x")), 0);
}

static void test_root(void) {
  CHECK_INT(mkdir(in("root"), 0700), 0);
  CHECK_INT(mkdir(in("out"), 0700), 0);
  test_root_made();
  test_root_removed();
  test_removed_already();
  test_root_long();
  test_root_poor();
  CHECK_INT(rmdir(in("out")), 0);
  CHECK_INT(rmdir(in("root")), 0);
}

/* Folders that were made go again, as far as nobody else uses them. */
static void test_folders(void) {
  struct trouble f;
  struct job j;
  break_call(&f, NULL, 0, 0, 0);
  CHECK_INT(begin(&j, &f, "/x/y/z", false), 0);
  CHECK_INT(lv_newfile_link(&j.file, true, &j.err), 0);
  CHECK(exists("x/y/z/new.vhd"));
  over(&j, 0);
  CHECK_INT(begin(&j, &f, "/x/y/z", false), 0);
  CHECK_INT(lv_newfile_link(&j.file, true, &j.err), 0);
  put_text("x/other", "other");
  over(&j, 1);
  CHECK(!exists("x/y"));
  CHECK_INT(begin(&j, &f, "/x/y/z", false), 0);
  CHECK_INT(publish(&j, true), 0);
  over(&j, 0);
  CHECK(exists("x/y/z/new.vhd"));
  CHECK_INT(unlink(in("x/y/z/new.vhd")), 0);
  CHECK_INT(rmdir(in("x/y/z")), 0);
  CHECK_INT(rmdir(in("x/y")), 0);
  CHECK_INT(unlink(in("x/other")), 0);
  CHECK_INT(rmdir(in("x")), 0);
  for (unsigned at = 1; at <= 3; at++) {
    break_call(&f, "mkdirat", EROFS, at, 1);
    CHECK_INT(begin(&j, &f, "/x/y/z", false), 0);
    told(&j, publish(&j, true), EROFS, "mkdirat");
    over(&j, 0);
    break_call(&f, "fsync", EIO, at, 1); /* of the folder above */
    CHECK_INT(begin(&j, &f, "/x/y/z", false), 0);
    told(&j, publish(&j, true), EIO, "fsync");
    over(&j, 0);
  }
}

int main(void) {
  base_make("newfile");
  test_begin();
  test_begin_named();
  test_full();
  test_short_writes();
  test_reserve_ahead();
  test_send_behind();
  test_attributes();
  test_link_unnamed();
  test_link_named();
  test_no_publish();
  test_take_away();
  test_not_ours();
  test_settle();
  test_gone();
  test_gone_and_full();
  test_gone_under_way();
  test_root();
  test_folders();
  CHECK_INT(rmdir(base), 0);
  return check_done();
}
