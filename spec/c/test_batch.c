/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/op/batch: what becomes of each image when a call fails,
 * when others come between or when somebody cancels, in what order bytes,
 * names and folders become durable, and that nothing is left of what failed.
 */
#include <fcntl.h>
#include <sys/utsname.h>

#include "io/drives.h"
#include "op/children.h"
#include "op/create.h"
#include "poor.h"
#include "watch.h"

/* One that tells which flushes failed (io/flush.c). */
int __wrap_uname(struct utsname *name);
int __wrap_uname(struct utsname *name) {
  memset(name, 0, sizeof *name);
  strcpy(name->release, "6.1.0");
  return 0;
}

/* ---- a list of children ------------------------------------------------ */

static struct lv_env env;
static struct lvhd_create_options opts;
static struct lvhd_error err;
static void *args;
static size_t asked;
static unsigned before; /* descriptors */

/* The next call is another one. */
static void begin(void) {
  clear_all();
  watch_begin();
  lv_env_init(&env, &watch.t.sys);
  memset(&job, 0, sizeof job);
  opts = (struct lvhd_create_options){.sync = LVHD_SYNC_FULL,
                                      .long_paths = LVHD_NO,
                                      .host_names = LVHD_NO,
                                      .preflight = LVHD_NO};
}

#define MOST 100

/* The names are parted by blanks. */
static int make(const char *names) {
  struct lvhd_child list[MOST] = {{.image = NULL}};
  char text[2000];
  int code = 0;
  asked = 0;
  snprintf(text, sizeof text, "%s", names);
  for (char *at = strtok(text, " "); at && asked < MOST;
       at = strtok(NULL, " "))
    list[asked++].image = at;
  before = descriptors();
  err = (struct lvhd_error)LVHD_ERROR_INIT;
  code = lv_children_args(&args, &env, list, asked, in("parent.vhd"), &opts,
                          &err);
  if (code == 0)
    code = lv_create_children.prepare(args, &err);
  return code == 0 ? lv_create_children.run(args, &job, &err) : code;
}

static const struct lvhd_info *info_of(size_t i) {
  static const struct lvhd_error *why;
  return lv_create_children.item(args, i, &why);
}

static const struct lvhd_error *error_of(size_t i) {
  const struct lvhd_error *why = NULL;
  lv_create_children.item(args, i, &why);
  return why;
}

/* What is told of an image that was made is what is there. */
static void judge_made(const struct lvhd_info *info) {
  struct stat st;
  if (!CHECK(stat(info->path, &st) == 0))
    return;
  CHECK_INT(info->file_size, st.st_size);
  CHECK_INT(info->mtime, st.st_mtim.tv_sec);
  CHECK_INT(info->type, LVHD_DIFFERENCING);
  CHECK_STR(info->parent_path, in("parent.vhd"));
}

/* What became of them, one after the other. */
static const char *told(void) {
  static char text[4000];
  text[0] = '\0';
  for (size_t i = 0; i < asked; i++) {
    const struct lvhd_info *info = info_of(i);
    const struct lvhd_error *why = error_of(i);
    size_t at = strlen(text);
    const char *word = info == NULL    ? "nothing"
                       : info->created ? "made"
                                       : "kept";
    CHECK((info == NULL) != (why == NULL));
    if (info)
      judge_made(info);
    if (why)
      word = lvhd_code_name(why->code);
    snprintf(text + at, sizeof text - at, "%s%s", at > 0 ? " " : "", word);
  }
  return text;
}

static void end(void) {
  if (args)
    lv_create_children.free(args);
  args = NULL;
  lvhd_error_clear(&err);
  CHECK_INT(descriptors(), before);
}

#define ORDER(want) CHECK_STR(watch.log, want)

/* How each ended, and what is there. */
#define JUDGE(how, files)                                                    \
  do {                                                                       \
    CHECK_STR(told(), how);                                                  \
    CHECK_STR(there(), files);                                               \
    CHECK_INT(job.items, asked);                                             \
    end();                                                                   \
  } while (0)

/* ---- in what order ----------------------------------------------------- */

static void test_order(void) {
  begin();
  CHECK_INT(make("a.vhd b.vhd c.vhd"), 0);
  ORDER("s s s f f f commit L:a.vhd L:b.vhd L:c.vhd D:.");
  CHECK_INT(job.total_items, 3);
  CHECK(job.bytes > 0 && job.bytes == job.total_bytes);
  JUDGE("made made made", "a.vhd b.vhd c.vhd parent.vhd");
  begin();
  CHECK_INT(make("a.vhd"), 0);
  ORDER("f commit L:a.vhd D:.");
  JUDGE("made", "a.vhd parent.vhd");
  begin();
  opts.sync = LVHD_SYNC_DATA;
  CHECK_INT(make("a.vhd"), 0);
  ORDER("f commit L:a.vhd");
  JUDGE("made", "a.vhd parent.vhd");
  begin();
  opts.sync = LVHD_SYNC_NONE;
  CHECK_INT(make("n/a.vhd"), 0);
  ORDER("commit M:n L:a.vhd");
  JUDGE("made", "n n/a.vhd parent.vhd");
  begin();
  CHECK_INT(make(""), 0);
  ORDER("");
  JUDGE("", "parent.vhd");
}

/* One flush for many, where that is to be had. */
static void test_many(void) {
  begin();
  CHECK_INT(make("a b c d"), 0);
  ORDER("S commit L:a L:b L:c L:d D:.");
  JUDGE("made made made made", "a b c d parent.vhd");
  begin();
  watch.poor = true;
  CHECK_INT(make("a b c d"), 0);
  ORDER("s s s s f f f f commit L:a L:b L:c L:d D:.");
  JUDGE("made made made made", "a b c d parent.vhd");
}

static void make_folders(unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    char name[8];
    snprintf(name, sizeof name, "d%u", i);
    CHECK_INT(mkdir(in(name), 0700), 0);
  }
}

/* Each folder once, and those above that were made. */
static void test_folders(void) {
  begin();
  make_folders(5);
  CHECK_INT(make("d0/k d1/k d2/k d3/k d4/k"), 0);
  ORDER("S commit L:k L:k L:k L:k L:k S");
  JUDGE("made made made made made",
        "d0 d0/k d1 d1/k d2 d2/k d3 d3/k d4 d4/k parent.vhd");
  begin();
  make_folders(5);
  watch.poor = true;
  CHECK_INT(make("d0/k d1/k d2/k d3/k d4/k d0/l"), 0);
  ORDER("s s s s s s f f f f f f commit L:k L:k L:k L:k L:k L:l "
        "D:d0 D:d1 D:d2 D:d3 D:d4");
  CHECK_INT(job.spreads, 4);
  JUDGE("made made made made made made",
        "d0 d0/k d0/l d1 d1/k d2 d2/k d3 d3/k d4 d4/k parent.vhd");
  begin();
  CHECK_INT(make("n/a/k n/a/l n/b/k"), 0);
  ORDER("s s s f f f commit M:n M:a L:k L:l M:b L:k D:n D:. D:a D:b");
  CHECK_INT(job.spreads, 3);
  JUDGE("made made made", "n n/a n/a/k n/a/l n/b n/b/k parent.vhd");
}

/* More than a batch usually has. */
static void test_many_folders(void) {
  char names[1000] = "";
  const char *at = watch.log;
  unsigned flushed = 0;
  begin();
  make_folders(70);
  watch.poor = true;
  for (unsigned i = 0; i < 70; i++)
    snprintf(names + strlen(names), 10, "d%u/k ", i);
  CHECK_INT(make(names), 0);
  while ((at = strstr(at, "D:d")) != NULL)
    at += 3, flushed++;
  CHECK_INT(flushed, 70);
  end();
}

/* A folder that may be entered and not read goes with its volume. */
static void test_unreadable(void) {
  begin();
  make_folders(5);
  rule(0, "openat2", "/d4", EACCES, 1, 1);
  CHECK_INT(make("d0/k d1/k d2/k d3/k d4/k"), 0);
  ORDER("S commit L:k L:k L:k L:k L:k D:d0 D:d1 D:d2 D:d3 S");
  JUDGE("made made made made made",
        "d0 d0/k d1 d1/k d2 d2/k d3 d3/k d4 d4/k parent.vhd");
  begin();
  make_folders(1);
  rule(0, "openat2", "/d0", EACCES, 1, 1);
  CHECK_INT(make("d0/n/k"), 0); /* above the new one */
  ORDER("f commit M:n L:k D:d0 D:n");
  JUDGE("made", "d0 d0/n d0/n/k parent.vhd");
}

/* ---- what fails -------------------------------------------------------- */

static void check_shared(size_t i, int errnum, const char *path) {
  const struct lvhd_error *why = error_of(i);
  if (!CHECK(why != NULL))
    return;
  CHECK_INT(why->errnum, errnum);
  CHECK_STR(why->path, path);
  CHECK_STR(why->parent, in("parent.vhd"));
  CHECK_STR(why->op, "create_children");
}

static void test_bytes_fail(void) {
  begin();
  rule(0, "pwritev", NULL, ENOSPC, 2, 1);
  CHECK_INT(make("a b c"), LVHD_E_DISK_FULL);
  CHECK_INT(err.failed, 1);
  CHECK_INT(err.of, 3);
  check_shared(1, ENOSPC, in("b"));
  JUDGE("made E_DISK_FULL made", "a c parent.vhd");
  begin();
  rule(0, "fsync", "(deleted)", EIO, 2, 1);
  CHECK_INT(make("a b n/c"), LVHD_DISP_E_EXCEPTION);
  check_shared(1, EIO, in("b"));
  JUDGE("made DISP_E_EXCEPTION made", "a n n/c parent.vhd");
  begin();
  opts.has_mode = opts.has_timestamp = true;
  opts.mode = 0640;
  opts.timestamp = 1700000000;
  rule(0, "fchmod", NULL, EPERM, 1, 1);
  rule(1, "futimens", NULL, EPERM, 1, 1);
  CHECK(make("a b c") != 0);
  if (CHECK(info_of(2) != NULL)) {
    struct stat st;
    CHECK_INT(stat(in("c"), &st), 0);
    CHECK_INT(st.st_mode & 07777, 0640);
    CHECK_INT(st.st_mtim.tv_sec, 1700000000);
  }
  JUDGE("E_ACCESSDENIED E_ACCESSDENIED made", "c parent.vhd");
  begin();
  rule(0, "getrandom", NULL, ENOSYS, 1, 1);
  CHECK(make("a b") != 0);
  JUDGE("DISP_E_EXCEPTION made", "b parent.vhd");
}

static void test_folders_fail(void) {
  begin();
  rule(0, "mkdirat", "a", ENOSPC, 1, 1);
  CHECK_INT(make("n/a/k n/a/l n/b/k"), LVHD_E_DISK_FULL);
  check_shared(0, ENOSPC, in("n/a/k"));
  check_shared(1, ENOSPC, in("n/a/l"));
  JUDGE("E_DISK_FULL E_DISK_FULL made", "n n/b n/b/k parent.vhd");
  begin();
  rule(0, "mkdirat", "a", ENOSPC, 1, 1);
  CHECK_INT(make("n/a/k n/a/l"), LVHD_E_DISK_FULL);
  JUDGE("E_DISK_FULL E_DISK_FULL", "parent.vhd");
  /* Its flush takes the names of the folder back, and only those. */
  begin();
  rule(0, "fsync", "/a", EIO, 1, 1);
  CHECK_INT(make("n/a/k n/a/l n/b/k"), LVHD_DISP_E_EXCEPTION);
  check_shared(0, EIO, in("n/a/k"));
  check_shared(1, EIO, in("n/a/l"));
  JUDGE("DISP_E_EXCEPTION DISP_E_EXCEPTION made", "n n/b n/b/k parent.vhd");
  begin();
  rule(0, "fsync", "/n", EIO, 1, 1);
  CHECK_INT(make("n/a/k n/b/k"), LVHD_DISP_E_EXCEPTION);
  JUDGE("DISP_E_EXCEPTION made", "n n/b n/b/k parent.vhd");
  begin();
  rule(0, "fsync", "/n", EIO, 1, ALWAYS);
  CHECK_INT(make("n/a/k n/b/k"), LVHD_DISP_E_EXCEPTION);
  JUDGE("DISP_E_EXCEPTION DISP_E_EXCEPTION", "parent.vhd");
  begin(); /* the first that failed counts */
  rule(0, "fsync", "/n", EIO, 1, 1);
  rule(1, "fsync", "/a", ENOSPC, 1, 1);
  CHECK_INT(make("n/a/k"), LVHD_DISP_E_EXCEPTION);
  check_shared(0, EIO, in("n/a/k"));
  JUDGE("DISP_E_EXCEPTION", "parent.vhd");
  begin(); /* n was made on the way to b, which is reached first */
  rule(0, "fsync", "/n", EIO, 1, ALWAYS);
  rule(1, "pwritev", NULL, ENOSPC, 1, 1);
  CHECK_INT(make("n/a/k n/b/k n/a/l"), LVHD_E_DISK_FULL);
  JUDGE("E_DISK_FULL DISP_E_EXCEPTION DISP_E_EXCEPTION", "parent.vhd");
  begin();
  make_folders(1);
  rule(0, "fsync", "/d0", EIO, 1, 1);
  CHECK_INT(make("d0/k l"), LVHD_DISP_E_EXCEPTION);
  JUDGE("DISP_E_EXCEPTION made", "d0 l parent.vhd");
}

static void test_names_fail(void) {
  begin();
  rule(0, "linkat", "b", ENOSPC, 1, 1);
  CHECK_INT(make("a n/b c"), LVHD_E_DISK_FULL);
  check_shared(1, ENOSPC, in("n/b"));
  JUDGE("made E_DISK_FULL made", "a c parent.vhd");
  /* A close that tells of lost bytes. */
  begin();
  rule(0, "close", "(deleted)", EIO, 1, 1);
  CHECK_INT(make("n/a b"), LVHD_DISP_E_EXCEPTION);
  check_shared(0, EIO, in("n/a"));
  JUDGE("DISP_E_EXCEPTION made", "b parent.vhd");
  /* Unnamed files that cannot be linked: under hidden names, then. */
  begin();
  rule(0, "linkat", NULL, EPERM, 1, ALWAYS);
  CHECK_INT(make("a n/b"), 0);
  CHECK(strstr(watch.log, "L:") == NULL);
  JUDGE("made made", "a n n/b parent.vhd");
  begin();
  rule(0, "linkat", NULL, EPERM, 1, ALWAYS);
  rule(1, "renameat2", NULL, EINVAL, 1, ALWAYS);
  CHECK_INT(make("a n/b"), LVHD_DISP_E_EXCEPTION);
  CHECK_INT(error_of(1)->reason, LV_R_NO_PUBLISH);
  JUDGE("DISP_E_EXCEPTION DISP_E_EXCEPTION", "parent.vhd");
}

/* ---- who else is there ------------------------------------------------- */

static void take_name(void) {
  put_text("a", "theirs");
}

static void take_disk(void) {
  CHECK_INT(link(in("ours"), in("a")), 0);
}

static void test_names_taken(void) {
  struct stat st;
  begin();
  put_text("a", "theirs");
  CHECK_INT(make("b a c"), LVHD_E_ALREADY_EXISTS);
  ORDER("s s f f commit L:b L:c D:."); /* one batch */
  check_shared(1, 0, in("a"));
  JUDGE("made E_ALREADY_EXISTS made", "a b c parent.vhd");
  begin(); /* nobody knows */
  rule(0, "fstatat", "a", EACCES, 1, 1);
  CHECK_INT(make("b a"), LVHD_E_ACCESSDENIED);
  check_shared(1, EACCES, in("a"));
  JUDGE("made E_ACCESSDENIED", "b parent.vhd");
  begin();
  meddle(0, "linkat", "a", take_name);
  CHECK_INT(make("a b"), LVHD_E_ALREADY_EXISTS);
  CHECK_INT(error_of(0)->reason, LV_R_NONE);
  JUDGE("E_ALREADY_EXISTS made", "a b parent.vhd");
  begin();
  opts.keep = true;
  meddle(0, "linkat", "a", take_name);
  CHECK_INT(make("a b"), LVHD_E_ALREADY_EXISTS);
  CHECK_INT(error_of(0)->reason, LV_R_OTHER_DISK);
  CHECK_INT(stat(in("a"), &st), 0);
  CHECK_INT(st.st_size, 6);
  JUDGE("E_ALREADY_EXISTS made", "a b parent.vhd");
  begin();
  opts.keep = true;
  CHECK_INT(make("ours"), 0);
  end();
  memset(&job, 0, sizeof job);
  meddle(0, "linkat", "a", take_disk);
  CHECK_INT(make("ours a b"), 0);
  CHECK_STR(info_of(1)->path, in("a"));
  JUDGE("kept kept made", "a b ours parent.vhd");
}

/* How the first of a name ends decides. */
static void test_twice(void) {
  begin();
  CHECK_INT(make("a a"), LVHD_E_ALREADY_EXISTS);
  ORDER("f L:a D:.");
  JUDGE("made E_ALREADY_EXISTS", "a parent.vhd");
  begin();
  opts.keep = true;
  CHECK_INT(make("a a"), 0);
  JUDGE("made kept", "a parent.vhd");
  begin();
  rule(0, "linkat", "a", ENOSPC, 1, 1);
  CHECK_INT(make("a a ./a"), LVHD_E_DISK_FULL);
  ORDER("f f L:a D:.");
  JUDGE("E_DISK_FULL made E_ALREADY_EXISTS", "a parent.vhd");
}

static void remove_d0(void) {
  (void)rmdir(in("d0"));
}

static void make_d0(void) {
  (void)mkdir(in("d0"), 0700);
}

/* A folder that goes away is made anew, but not for ever. */
static void test_gone(void) {
  static const char *const when[] = {"O_TMPFILE", "fsync", "linkat"};
  int code = 0;
  for (size_t i = 0; i < 3; i++) {
    begin();
    make_folders(1);
    meddle(0, when[i], NULL, remove_d0);
    CHECK_INT(make("d0/k l"), 0);
    JUDGE("made made", "d0 d0/k l parent.vhd");
    begin();
    rule(0, i == 0 ? "O_TMPFILE" : "linkat", NULL, 0, 1, ALWAYS)->meddle =
      remove_d0;
    rule(1, "openat2", "/d0", 0, 1, ALWAYS)->meddle = make_d0;
    make_d0();
    code = make("d0/k");
    CHECK(code == LVHD_E_PATH_NOT_FOUND ||
          (i == 0 && code == LVHD_E_ACCESSDENIED)); /* so says ext4 */
    CHECK_INT(watch.t.rules[0].calls, i == 0 ? 101 : 202); /* by two ways */
    JUDGE(lvhd_code_name(code), "parent.vhd");
  }
  for (int i = 0; i < 3; i++) { /* only then, and only for that */
    static const int errnums[] = {EACCES, ENOENT, ENOSPC};
    begin();
    make_folders(1);
    rule(0, "O_TMPFILE", "d0", errnums[i], 1, 1)->meddle = remove_d0;
    CHECK_INT(make("d0/k"), i == 2 ? LVHD_E_DISK_FULL : 0);
    end();
  }
  begin(); /* while it is made */
  rule(0, "mkdirat", "n", ENOENT, 1, 6);
  CHECK_INT(make("n/a b n/c"), 0);
  CHECK_INT(watch.t.rules[0].calls, 7);
  JUDGE("made made made", "b n n/a n/c parent.vhd");
  begin();
  rule(0, "mkdirat", "n", ENOENT, 1, ALWAYS);
  CHECK_INT(make("n/a b"), LVHD_E_PATH_NOT_FOUND);
  CHECK_INT(watch.t.rules[0].calls, 404);
  check_shared(0, ENOENT, in("n/a"));
  JUDGE("E_PATH_NOT_FOUND made", "b parent.vhd");
  begin(); /* it is there, and refuses */
  make_folders(1);
  rule(0, "O_TMPFILE", NULL, EACCES, 1, ALWAYS);
  CHECK_INT(make("d0/k"), LVHD_E_ACCESSDENIED);
  CHECK_INT(watch.t.rules[0].calls, 1);
  JUDGE("E_ACCESSDENIED", "d0 parent.vhd");
}

/* ---- few descriptors --------------------------------------------------- */

static size_t width(void) {
  return ((struct lv_many *)args)->width;
}

static void test_descriptors(void) {
  begin();
  rule(0, "O_TMPFILE", NULL, EMFILE, 2, 2);
  CHECK_INT(make("a b c d e"), 0);
  CHECK_INT(width(), 3);
  JUDGE("made made made made made", "a b c d e parent.vhd");
  begin();
  rule(0, "O_TMPFILE", NULL, ENFILE, 1, ALWAYS);
  CHECK_INT(make("a b c"), LVHD_VM_E_OUT_OF_RESOURCE);
  CHECK_INT(width(), 1);
  JUDGE("VM_E_OUT_OF_RESOURCE VM_E_OUT_OF_RESOURCE VM_E_OUT_OF_RESOURCE",
        "parent.vhd");
  begin();
  rule(0, "O_TMPFILE", NULL, EMFILE, 1, 1);
  CHECK_INT(make("a"), LVHD_VM_E_OUT_OF_RESOURCE);
  JUDGE("VM_E_OUT_OF_RESOURCE", "parent.vhd");
  begin();
  make_folders(2); /* of the batch's first, and of a later one */
  rule(0, "openat2", "/d0", EMFILE, 1, 1);
  rule(1, "openat2", "/d1", EMFILE, 1, 1);
  CHECK_INT(make("d0/k l d1/k"), LVHD_VM_E_OUT_OF_RESOURCE);
  ORDER("f L:l D:. f commit L:k D:d1");
  JUDGE("VM_E_OUT_OF_RESOURCE made made", "d0 d1 d1/k l parent.vhd");
  begin();
  rule(0, "mkdirat", "n", EMFILE, 1, 1);
  CHECK_INT(make("n/a n/b c d"), 0);
  CHECK_INT(width(), 2);
  JUDGE("made made made made", "c d n n/a n/b parent.vhd");
  begin();
  rule(0, "mkdirat", "n", EMFILE, 1, ALWAYS);
  CHECK_INT(make("n/a"), LVHD_VM_E_OUT_OF_RESOURCE);
  CHECK_INT(watch.t.rules[0].calls, 101);
  JUDGE("VM_E_OUT_OF_RESOURCE", "parent.vhd");
}

/* What a batch may have in all. */
static void test_width(void) {
  begin();
  rule(0, "getrlimit", NULL, EPERM, 1, 1); /* 64 is believed: half of it */
  CHECK_INT(make("0 1 2 3 4 5 6 7 8 9 a b c d e f g h i j k l m n o p q r s t "
                 "u v w x y z"), 0);
  CHECK(strstr(watch.log, " L:r D:. S commit L:s ") != NULL);
  end();
}

/* ---- the parent -------------------------------------------------------- */

static void touch_parent(void) {
  struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1234567890}};
  CHECK_INT(utimensat(AT_FDCWD, in("parent.vhd"), ts, 0), 0);
}

static int writer = -1;

/* Somebody writes it, as QEMU says so. */
static void write_parent(void) {
  struct flock lock = {
    .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
  writer = open(in("parent.vhd"), O_RDWR | O_CLOEXEC);
  CHECK_INT(fcntl(writer, F_OFD_SETLK, &lock), 0);
}

static void check_parent(enum lv_reason reason) {
  for (size_t i = 0; i < asked; i++) {
    const struct lvhd_error *why = error_of(i);
    if (!CHECK(why != NULL))
      continue;
    CHECK_INT(why->reason, reason);
    CHECK(why->has & LVHD_AT_PARENT);
  }
}

static void test_parent(void) {
  begin();
  meddle(0, "fsync", NULL, touch_parent);
  CHECK_INT(make("a n/b"), LVHD_E_SHARING_VIOLATION);
  check_parent(LV_R_SOURCE_CHANGED);
  JUDGE("E_SHARING_VIOLATION E_SHARING_VIOLATION", "parent.vhd");
  begin();
  meddle(0, "fsync", NULL, write_parent);
  before = descriptors();
  CHECK_INT(make("a n/b"), LVHD_E_SHARING_VIOLATION);
  check_parent(LV_R_IN_USE);
  CHECK_INT(close(writer), 0);
  JUDGE("E_SHARING_VIOLATION E_SHARING_VIOLATION", "parent.vhd");
  begin();
  rule(0, "fstat", "parent.vhd", EIO, 3, 1);
  CHECK_INT(make("a n/b"), LVHD_DISP_E_EXCEPTION);
  check_parent(LV_R_NONE);
  JUDGE("DISP_E_EXCEPTION DISP_E_EXCEPTION", "parent.vhd");
}

/* ---- a cancel ---------------------------------------------------------- */

static void cancel(void) {
  job.cancel = true;
}

static void touch_and_cancel(void) {
  touch_parent();
  cancel();
}

static void test_cancel(void) {
  begin();
  cancel();
  CHECK_INT(make("a b"), LVHD_E_ABORT);
  ORDER("");
  CHECK_STR(told(), "E_ABORT E_ABORT");
  end();
  begin();
  meddle(0, "fstatat", "a", cancel);
  rule(1, "fstatat", "b", 0, 1, 1);
  CHECK_INT(make("a b"), LVHD_E_ABORT);
  CHECK_INT(watch.t.rules[1].calls, 0); /* no more are taken */
  ORDER("");
  CHECK_STR(told(), "E_ABORT E_ABORT");
  CHECK_STR(there(), "parent.vhd");
  end();
  begin();
  meddle(0, "fsync", NULL, cancel);
  CHECK_INT(make("n/a"), LVHD_E_ABORT);
  ORDER("f");
  JUDGE("E_ABORT", "parent.vhd");
  begin();
  meddle(0, "linkat", NULL, cancel); /* too late */
  CHECK_INT(make("a b"), 0);
  JUDGE("made made", "a b parent.vhd");
  begin(); /* before the last batch it is not */
  meddle(0, "linkat", NULL, cancel);
  CHECK_INT(make("a b a"), LVHD_E_ABORT);
  ORDER("s s f f L:a L:b D:.");
  CHECK_STR(told(), "made made E_ABORT");
  end();
  begin();
  meddle(0, "fsync", NULL, cancel);
  CHECK_INT(make("a a"), LVHD_E_ABORT);
  ORDER("f");
  CHECK_STR(told(), "E_ABORT E_ABORT");
  CHECK_STR(there(), "parent.vhd");
  end();
  begin(); /* and whoever cancels is told of nothing else */
  meddle(0, "fsync", NULL, touch_and_cancel);
  CHECK_INT(make("a b"), LVHD_E_ABORT);
  JUDGE("E_ABORT E_ABORT", "parent.vhd");
  begin(); /* names that are there become durable all the same */
  make_folders(5);
  watch.poor = true;
  meddle(0, "linkat", NULL, cancel);
  CHECK_INT(make("d0/k d1/k d2/k d3/k d4/k d0/k"), LVHD_E_ABORT);
  CHECK(ends_with(watch.log, " D:d0 D:d1 D:d2 D:d3 D:d4"));
  CHECK_STR(told(), "made made made made made E_ABORT");
  end();
}

/* No worker, nor a thread of its own. */
static void test_spread(void) {
  for (unsigned at = 1; at <= 3; at++) {
    begin();
    job.fails_at = at;
    CHECK_INT(make("a n/b"), LVHD_VM_E_OUT_OF_RESOURCE);
    JUDGE("VM_E_OUT_OF_RESOURCE VM_E_OUT_OF_RESOURCE", "parent.vhd");
  }
}

/* ---- Windows paths ----------------------------------------------------- */

/* A folder that was made is somewhere else by now, and a link in its place. */
static void lead_out(void) {
  CHECK_INT(rename(in("n"), in("out")), 0);
  CHECK_INT(symlink("/", in("n")), 0);
}

static void test_windows(void) {
  struct lvhd_drive list = {"C", base};
  struct lv_drives *drives = NULL;
  CHECK_INT(lv_drives_new(&drives, &list, 1, NULL), 0);
  begin();
  env.drives = drives;
  CHECK_INT(make("C:\\a C:\\A C:\\b"), LVHD_E_ALREADY_EXISTS);
  CHECK_INT(error_of(1)->reason, LV_R_CASE_TWIN);
  JUDGE("made E_ALREADY_EXISTS made", "a b parent.vhd");
  begin();
  env.drives = drives;
  CHECK_INT(make("C:\\n\\a C:\\N\\b C:\\n\\o\\c"), 0);
  JUDGE("made made made", "n n/a n/b n/o n/o/c parent.vhd");
  begin();
  env.drives = drives;
  CHECK_INT(make("C:\\b C:\\n\\a C:\\N\\c"), 0);
  JUDGE("made made made", "b n n/a n/c parent.vhd");
  begin();
  env.drives = drives;
  rule(0, "fsync", "/n", EIO, 1, 1);
  CHECK(make("C:\\n\\o\\a C:\\b") != 0);
  JUDGE("DISP_E_EXCEPTION made", "b parent.vhd");
  begin();
  env.drives = drives;
  meddle(0, "linkat", NULL, lead_out);
  CHECK_INT(make("C:\\n\\o\\p\\a"), LVHD_E_ACCESSDENIED);
  CHECK_INT(error_of(0)->reason, LV_R_OUTSIDE_DRIVE);
  JUDGE("E_ACCESSDENIED", "n out out/o out/o/p parent.vhd");
  lv_drives_free(drives);
}

/* ---- memory that runs out ------------------------------------------------ */

/* Each image is made, or there was no memory for it, or somebody has its name;
 * and nothing is left of those that were not made. */
static void judge_poor(int code) {
  unsigned made = 0;
  for (size_t i = 0; i < asked; i++) {
    const struct lvhd_info *info = info_of(i);
    const struct lvhd_error *why = error_of(i);
    if (info)
      judge_made(info);
    else if (CHECK(why != NULL))
      CHECK(why->code == LVHD_E_OUTOFMEMORY ||
            why->code == LVHD_E_ALREADY_EXISTS);
    made += info && info->created;
  }
  CHECK_INT(code == 0, err.failed == 0);
  CHECK(strstr(there(), "lvhd-tmp") == NULL);
  if (made == 0)
    CHECK_STR(there(), "parent.vhd taken");
  else /* no name is told of that a crash could take */
    CHECK(ends_with(watch.log, " D:. D:n"));
}

/* With the k-th allocation failing, for every k; flushes are asked for, which
 * test_alloc spares itself. */
static void test_memory(void) {
  unsigned hits = 1, rounds = 0;
  for (unsigned k = 1; hits > 0; k++) {
    long held = 0;
    int code = 0;
    begin();
    CHECK_INT(link(in("parent.vhd"), in("taken")), 0);
    held = atomic_load(&poor.held);
    poor_begin(k, false, POOR_ANY);
    code = make("n/a taken n/a");
    hits = poor_end();
    if (args)
      judge_poor(code);
    else
      CHECK_INT(code, LVHD_E_OUTOFMEMORY);
    end();
    CHECK_INT(atomic_load(&poor.held), held);
    rounds += hits;
  }
  CHECK(rounds > 30);
}

static bool make_parent(void) {
  void *parent = NULL;
  int code = 0;
  begin();
  code = lv_create_args(&parent, &env, LVHD_DYNAMIC, in("parent.vhd"), NULL,
                        64 << 20, &opts, NULL);
  if (code == 0)
    code = lv_create_dynamic.run(parent, &job, NULL);
  lv_create_dynamic.free(parent);
  return CHECK(code == 0);
}

int main(void) {
  watch_folder("batch");
  if (!make_parent())
    return 1;
  test_order();
  test_many();
  test_folders();
  test_many_folders();
  test_unreadable();
  test_bytes_fail();
  test_folders_fail();
  test_names_fail();
  test_names_taken();
  test_twice();
  test_gone();
  test_descriptors();
  test_width();
  test_parent();
  test_cancel();
  test_spread();
  test_windows();
  test_memory();
  watch_end();
  return check_done();
}
