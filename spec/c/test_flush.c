/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/io/flush: on which volumes and kernels one flush is made
 * for many files, what it may cost, and what is remembered of it.  Nothing is
 * read but what a table of calls makes up; the kernel's release too (--wrap in
 * the Makefile).
 */
#include <errno.h>
#include <linux/magic.h>
#include <sys/utsname.h>

#include "check.h"
#include "io/newfile.h"

#define KIB UINT64_C(1024)
#define MOST 8
#define FIRST 100 /* the descriptors' numbers */
#define INFO 77   /* that of /proc/meminfo */
#define XFS 0x58465342

static const char *release;

int __wrap_uname(struct utsname *name);
int __wrap_uname(struct utsname *name) {
  memset(name, 0, sizeof *name);
  if (release == NULL) {
    strcpy(name->release, "6.1.0"); /* of a call that failed */
    return -1;
  }
  strcpy(name->release, release);
  return 0;
}

/* What the system has, and what was asked of it. */
struct scene {
  struct lv_sys sys; /* first: its functions get it */
  long type;
  const char *before, *after; /* the texts of meminfo; NULL: none */
  int info_errno, read_errno; /* of the first time */
  int fails_at;               /* the fstat of this descriptor; 0: of none */
  uint64_t size[MOST];
  dev_t volume[MOST];
  bool no_statfs, no_sync;
  int flushed, flushes, opened;
  int asked; /* the descriptor whose volume was asked for */
};

static struct scene *scene_of(const struct lv_sys *sys) {
  return (struct scene *)(uintptr_t)sys;
}

static int s_openat(const struct lv_sys *sys, int dir, const char *path,
                    int flags, mode_t mode) {
  struct scene *s = scene_of(sys);
  const char *text = s->flushes ? s->after : s->before;
  (void)dir, (void)flags, (void)mode;
  CHECK_STR(path, "/proc/meminfo");
  if (text == NULL) {
    errno = ENOENT;
    return -1;
  }
  s->opened++;
  return INFO;
}

static ssize_t s_pread(const struct lv_sys *sys, int fd, void *buf, size_t n,
                       off_t at) {
  struct scene *s = scene_of(sys);
  const char *text = s->flushes ? s->after : s->before;
  CHECK_INT(fd, INFO);
  CHECK_INT(at, 0);
  if (s->read_errno != 0) {
    strcpy(buf, "\nDirty: 0 kB\nWriteback: 0 kB\n");
    errno = s->read_errno;
    return -1;
  }
  if (n > strlen(text))
    n = strlen(text);
  memcpy(buf, text, n);
  return (ssize_t)n;
}

static int s_close(const struct lv_sys *sys, int fd) {
  CHECK_INT(fd, INFO);
  scene_of(sys)->opened--;
  return 0;
}

static int s_fstat(const struct lv_sys *sys, int fd, struct stat *st) {
  const struct scene *s = scene_of(sys);
  memset(st, 0, sizeof *st);
  if (!CHECK(fd >= FIRST && fd < FIRST + MOST))
    return -1;
  st->st_dev = s->volume[fd - FIRST];
  st->st_size = (off_t)s->size[fd - FIRST];
  errno = EIO;
  return fd == s->fails_at ? -1 : 0;
}

static int s_fstatfs(const struct lv_sys *sys, int fd, struct statfs *st) {
  struct scene *s = scene_of(sys);
  memset(st, 0, sizeof *st);
  st->f_type = s->type;
  s->asked = fd;
  errno = EIO;
  return s->no_statfs ? -1 : 0;
}

static int s_syncfs(const struct lv_sys *sys, int fd) {
  struct scene *s = scene_of(sys);
  s->flushes++;
  s->flushed = fd;
  errno = EIO;
  return s->no_sync ? -1 : 0;
}

#define QUIET "MemTotal: 1 kB\nDirty: 0 kB\nWriteback: 0 kB\n"

/* Where one flush is to be had, for files of 4 KiB. */
static struct scene good(void) {
  struct scene s = {.sys = lv_sys_real, .type = EXT4_SUPER_MAGIC,
                    .before = QUIET, .after = QUIET};
  s.sys.openat = s_openat;
  s.sys.pread = s_pread;
  s.sys.close = s_close;
  s.sys.fstat = s_fstat;
  s.sys.fstatfs = s_fstatfs;
  s.sys.syncfs = s_syncfs;
  for (size_t i = 0; i < MOST; i++) {
    s.size[i] = 4 * KIB;
    s.volume[i] = 9;
  }
  release = "6.1.0-13-amd64";
  return s;
}

static bool flush(struct scene *s, struct lv_flushing *state, size_t n) {
  struct lv_env env;
  int fds[MOST];
  bool done = false;
  for (int i = 0; i < MOST; i++)
    fds[i] = FIRST + i;
  lv_env_init(&env, &s->sys);
  done = lv_newfile_flush_many(&env, state, fds, n);
  CHECK_INT(s->opened, 0);
  CHECK_INT(s->flushes, done || s->no_sync);
  if (s->flushes != 0)
    CHECK_INT(s->flushed, FIRST); /* the one that was opened first */
  return done;
}

static bool can(struct scene *s) {
  struct lv_flushing state = {0};
  return flush(s, &state, 5);
}

static void test_where(void) {
  static const struct {
    long type;
    bool can;
  } types[] = {{EXT4_SUPER_MAGIC, true}, {XFS, true},
               {BTRFS_SUPER_MAGIC, false}, {TMPFS_MAGIC, false},
               {NFS_SUPER_MAGIC, false}, {FUSE_SUPER_MAGIC, false},
               {OVERLAYFS_SUPER_MAGIC, false}};
  struct scene s = good();
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    s = good();
    s.type = types[i].type;
    CHECK_INT(can(&s), types[i].can);
    CHECK_INT(s.asked, FIRST);
  }
  s = good();
  s.no_statfs = true;
  CHECK(!can(&s));
  for (size_t n = 0; n <= MOST; n++) {
    struct lv_flushing state = {0};
    s = good();
    CHECK_INT(flush(&s, &state, n), n > 4); /* few are quicker by themselves */
  }
}

/* Before 5.8 a flush of the volume did not tell of what was lost. */
static void test_kernels(void) {
  static const struct {
    const char *release;
    bool can;
  } kernels[] = {{"5.8.0", true},  {"5.7.19", false}, {"5.10.0-8", true},
                 {"6.0.1", true},  {"6.12.9", true},  {"4.19.0", false},
                 {"4.9", false},   {"10.0", true},    {"6", false},
                 {"", false},      {"next", false},   {NULL, false}};
  for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
    struct scene s = good();
    release = kernels[i].release;
    CHECK_INT(can(&s), kernels[i].can);
  }
}

/* Files of two volumes have no flush in common. */
static void test_volumes(void) {
  for (int i = 0; i < 5; i++) {
    struct scene s = good();
    s.volume[i] = 10;
    CHECK(!can(&s));
    s = good();
    s.fails_at = FIRST + i;
    CHECK(!can(&s));
  }
  for (dev_t volume = 0; volume < 2; volume++) {
    struct scene s = good();
    for (int i = 0; i < 5; i++)
      s.volume[i] = volume;
    CHECK(can(&s));
  }
}

/* What cannot be read is not known. */
static void test_unknown(void) {
  static const char *const texts[] = {
    NULL, "", "MemTotal: 1 kB\n", "MemTotal: 1 kB\nDirty: 0 kB\n",
    "MemTotal: 1 kB\nWriteback: 0 kB\n",
    "MemTotal: 1 kB\nDirty: 0 kB\nWritebackTmp: 0 kB\n",
    "MemTotal: 1 kB\nNotDirty: 0 kB\nWriteback: 0 kB\n"};
  struct scene s = good();
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    s = good();
    s.before = texts[i];
    CHECK(!can(&s));
  }
  s = good();
  s.read_errno = EIO;
  CHECK(!can(&s));
}

#define DIRTY(n, m)                                                          \
  "MemTotal: 1 kB\nDirty: " #n " kB\nWriteback: " #m " kB\n"

/* Others' bytes, so far as they are new, are worth the credit and no more. */
static void test_credit(void) {
  struct scene s = good(); /* 20 KiB of it are ours */
  struct lv_flushing state = {.credit = 30 * KIB, .elsewhere = 50 * KIB};
  s.before = DIRTY(40, 61);
  CHECK(!flush(&s, &state, 5));
  CHECK_INT(state.credit, 30 * KIB);
  CHECK_INT(state.elsewhere, 50 * KIB);
  s.before = DIRTY(40, 60); /* 80 are others', 50 are never flushed here */
  s.after = DIRTY(55, 5);
  CHECK(flush(&s, &state, 5));
  CHECK_INT(state.credit, 10 * KIB); /* 20 were waited for */
  CHECK_INT(state.elsewhere, 60 * KIB);
  s.flushes = 0;
  s.before = DIRTY(70, 20);
  s.after = DIRTY(0, 40);
  CHECK(flush(&s, &state, 5));
  CHECK_INT(state.credit, 0); /* 30 were waited for: never below nothing */
  CHECK_INT(state.elsewhere, 40 * KIB);
  s.flushes = 0;
  s.before = DIRTY(61, 0);
  CHECK(!flush(&s, &state, 5));
  s.before = DIRTY(60, 0);
  s.after = DIRTY(90, 0); /* others went on writing */
  CHECK(flush(&s, &state, 5));
  CHECK_INT(state.credit, 0);
  CHECK_INT(state.elsewhere, 90 * KIB);
  s.flushes = 0;
  s.before = DIRTY(19, 0); /* less than ours: some of it is written */
  s.after = NULL;
  CHECK(flush(&s, &state, 5));
  CHECK_INT(state.elsewhere, 0); /* not known */
  s.flushes = 0;
  s.after = "MemTotal: 1 kB\nDirty: 50 kB\n"; /* half of it */
  CHECK(flush(&s, &state, 5));
  CHECK_INT(state.elsewhere, 0);
}

/* A flush that fails costs nothing, and is no flush. */
static void test_failed(void) {
  struct scene s = good();
  struct lv_flushing state = {.credit = 30 * KIB, .elsewhere = 50 * KIB};
  s.no_sync = true;
  s.before = DIRTY(40, 60);
  CHECK(!flush(&s, &state, 5));
  CHECK_INT(state.credit, 30 * KIB);
  CHECK_INT(state.elsewhere, 50 * KIB);
}

int main(void) {
  test_where();
  test_kernels();
  test_volumes();
  test_unknown();
  test_credit();
  test_failed();
  return check_done();
}
