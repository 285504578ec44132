/* SPDX-License-Identifier: MIT
 *
 * lvhd_create_children on its rare ways: descriptors that run short, folders
 * that go away, names that others take, flushes that fail, a parent that is
 * changed, and cancels, each at its moment.  What is put off is made all the
 * same; what fails says so, and leaves nothing.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>

#include "lvhd.h"
#include "folder.h"
#include "trouble.h"

#define KIDS 6

static struct trouble t;
static struct lvhd_error err = LVHD_ERROR_INIT;
static struct lvhd_create_options options;

/* ---- making them -------------------------------------------------------- */

static _Atomic(lvhd_task *) task;

/* For what the worker calls: the handle comes a moment after the start. */
static void cancel(void) {
  while (atomic_load(&task) == NULL)
    ;
  (void)lvhd_task_cancel(atomic_load(&task));
}

static const char *kids[KIDS];
static size_t count;
static int codes[KIDS]; /* what became of each */

static void children(const char *const *names, size_t n) {
  count = n;
  for (size_t i = 0; i < n && i < KIDS; i++)
    kids[i] = names[i];
}

static void take_codes(lvhd_task *ended) {
  for (size_t i = 0; i < count; i++) {
    const struct lvhd_error *why = lvhd_task_item_error(ended, i);
    codes[i] = why ? why->code : 0;
    CHECK((lvhd_task_item_info(ended, i) != NULL) == (why == NULL));
    CHECK(exists(kids[i]) == (why == NULL));
  }
}

/* The code of the task; afterwards nothing is open. */
static int make(void) {
  struct lvhd_engine_options with = {.threads = 1, .system = &t.sys};
  struct lvhd_child list[KIDS] = {{0}};
  static char paths[KIDS][PATH_MAX];
  unsigned open = descriptors();
  lvhd_engine *engine = NULL;
  lvhd_task *started = NULL;
  int code = 0;
  for (size_t i = 0; i < count; i++) {
    snprintf(paths[i], PATH_MAX, "%s", in(kids[i]));
    list[i].image = paths[i];
  }
  options.preflight = LVHD_NO;
  atomic_store(&task, NULL);
  CHECK_INT(lvhd_engine_new(&engine, &with, NULL), 0);
  code = lvhd_create_children(engine, list, count, in("parent.vhd"), &options,
                              &started, &err);
  if (!CHECK(code == 0))
    return code;
  atomic_store(&task, started);
  while (!lvhd_task_step(started, 250, NULL))
    ;
  take_codes(started);
  code = lvhd_task_error(started) ? lvhd_task_error(started)->code : 0;
  CHECK_INT(lvhd_task_status(started) == LVHD_SUCCEEDED, code == 0);
  lvhd_task_free(started);
  lvhd_engine_free(engine, false);
  CHECK_INT(descriptors(), open);
  return code;
}

static void remove_all(void) {
  static const char *const folders[] = {"a/b", "a", "x"};
  for (size_t i = 0; i < count; i++)
    (void)unlink(in(kids[i]));
  for (size_t i = 0; i < COUNT(folders); i++)
    (void)rmdir(in(folders[i]));
  CHECK_INT(entries(base), 3); /* and the parent */
}

/* All of them are there. */
static void whole(void) {
  int code = make();
  if (!CHECK(code == 0))
    fprintf(stderr, "  %s\n", lvhd_code_name(code));
  remove_all();
}

static unsigned failed(int want) {
  unsigned n = 0;
  for (size_t i = 0; i < count; i++) {
    n += codes[i] != 0;
    if (codes[i] != 0 && !CHECK(codes[i] == want))
      fprintf(stderr, "  %s\n", lvhd_code_name(codes[i]));
  }
  return n;
}

static void begin(void) {
  static const char *const names[] = {"1.vhd", "2.vhd", "x/3.vhd",
                                      "a/b/4.vhd", "a/b/5.vhd", "a/6.vhd"};
  children(names, COUNT(names));
  memset(&options, 0, sizeof options);
  options.sync = LVHD_SYNC_NONE;
  trouble_begin(&t);
}

/* ---- scarce descriptors ------------------------------------------------- */

/* Whatever is opened, the k-th time there is no descriptor for it: the batches
 * become smaller, or the first step says so. */
static void test_scarce(void) {
  static const char *const calls[] = {"openat2", "openat", "O_TMPFILE"};
  static const int scarce[] = {EMFILE, ENFILE};
  for (size_t c = 0; c < COUNT(calls); c++)
    for (unsigned k = 1; k <= 12; k++) {
      int code = 0;
      begin();
      trouble_fail(&t, calls[c], scarce[k % 2], k, 1);
      code = make();
      CHECK(code == 0 || code == LVHD_VM_E_OUT_OF_RESOURCE);
      /* one at the most: the one that was alone, or the parent's */
      CHECK(failed(LVHD_VM_E_OUT_OF_RESOURCE) <= 1 ||
            failed(LVHD_VM_E_OUT_OF_RESOURCE) == count);
      if (strcmp(calls[c], "O_TMPFILE") == 0)
        CHECK_INT(code, 0);
      remove_all();
    }
}

/* None from then on: what has none says so in the end. */
static void test_none(void) {
  begin();
  trouble_fail(&t, "O_TMPFILE", EMFILE, 3, ALWAYS);
  CHECK_INT(make(), LVHD_VM_E_OUT_OF_RESOURCE);
  CHECK_INT(failed(LVHD_VM_E_OUT_OF_RESOURCE), count - 2);
  remove_all();
}

/* To make the folders there is none, for a while or for good. */
static void test_scarce_folders(void) {
  static const char *const names[] = {"1.vhd", "x/2.vhd", "x/3.vhd"};
  begin();
  children(names, COUNT(names));
  trouble_fail(&t, "mkdirat", EMFILE, 1, 3);
  whole();
  begin();
  children(names, COUNT(names));
  trouble_fail(&t, "mkdirat", EMFILE, 1, ALWAYS);
  CHECK_INT(make(), LVHD_VM_E_OUT_OF_RESOURCE);
  CHECK_INT(failed(LVHD_VM_E_OUT_OF_RESOURCE), 2);
  CHECK_INT(codes[0], 0);
  remove_all();
}

/* Made, and gone again before they are entered: another batch. */
static void test_folders_gone(void) {
  begin();
  trouble_fail(&t, "mkdirat", ENOENT, 1, 4);
  whole();
}

/* ---- folders that go away ----------------------------------------------- */

static void remove_x(void) {
  (void)rmdir(in("x"));
}

static void make_x(void) {
  (void)mkdir(in("x"), 0700);
}

/* It was there; then it is gone, before the bytes or before the name. */
static void test_gone(void) {
  static const char *const names[] = {"x/1.vhd"};
  static const char *const calls[] = {"O_TMPFILE", "linkat"};
  for (size_t i = 0; i < COUNT(calls); i++) {
    begin();
    children(names, COUNT(names));
    make_x();
    trouble_meddle(&t, calls[i], remove_x, 1);
    whole();
  }
  /* Each time: it says so in the end. */
  begin();
  children(names, COUNT(names));
  make_x();
  t.rules[0].call = "openat2";
  t.rules[0].times = ALWAYS;
  t.rules[0].meddle = make_x;
  t.rules[1].call = "linkat";
  t.rules[1].times = ALWAYS;
  t.rules[1].meddle = remove_x;
  CHECK_INT(make(), LVHD_E_PATH_NOT_FOUND);
  CHECK(t.rules[1].calls > 100);
  remove_all();
}

/* Refused in a folder that is no more: when its volume is asked, or when the
 * file is begun. */
static void test_gone_refused(void) {
  static const char *const names[] = {"x/1.vhd"};
  for (unsigned k = 1; k < 3; k++) {
    begin();
    children(names, COUNT(names));
    make_x();
    trouble_meddle(&t, "O_TMPFILE", remove_x, k);
    trouble_fail(&t, "O_TMPFILE", EACCES, k, 1);
    whole();
  }
  begin();
  children(names, COUNT(names));
  make_x();
  trouble_fail(&t, "O_TMPFILE", EACCES, 1, 1);
  CHECK_INT(make(), LVHD_E_ACCESSDENIED);
  remove_all();
}

/* ---- names -------------------------------------------------------------- */

/* Unnamed files cannot be linked here; nor anything else. */
static void test_named(void) {
  begin();
  trouble_fail(&t, "linkat", EPERM, 1, 2);
  whole();
  begin();
  trouble_fail(&t, "linkat", EPERM, 1, ALWAYS);
  whole();
  begin();
  trouble_fail(&t, "linkat", EPERM, 1, ALWAYS);
  trouble_fail(&t, "renameat2", EINVAL, 1, ALWAYS);
  CHECK_INT(make(), LVHD_DISP_E_EXCEPTION);
  CHECK_INT(failed(LVHD_DISP_E_EXCEPTION), count);
  remove_all();
}

static void take_name(void) {
  CHECK_INT(rename(in("spare"), in("1.vhd")), 0);
}

/* Somebody makes the image meanwhile: it is kept where that is asked for and
 * it is a child of the same parent. */
static void test_kept(void) {
  static const char *const name[] = {"1.vhd"};
  begin();
  children(name, 1);
  CHECK_INT(make(), 0);
  CHECK_INT(rename(in("1.vhd"), in("spare")), 0);
  options.keep = true;
  trouble_meddle(&t, "linkat", take_name, 1);
  whole();
  put_text("spare", "nothing of the kind");
  begin();
  children(name, 1);
  options.keep = true;
  trouble_meddle(&t, "linkat", take_name, 1);
  {
    lvhd_engine *engine = NULL;
    struct lvhd_engine_options with = {.threads = 1, .system = &t.sys};
    struct lvhd_child list = {.image = in("1.vhd")};
    lvhd_task *started = NULL;
    CHECK_INT(lvhd_engine_new(&engine, &with, NULL), 0);
    CHECK_INT(lvhd_create_children(engine, &list, 1, in("parent.vhd"),
                                   &options, &started, &err), 0);
    while (!lvhd_task_step(started, 250, NULL))
      ;
    CHECK(lvhd_task_error(started) != NULL);
    CHECK_INT(lvhd_task_item_error(started, 0)->code,
              LVHD_E_ALREADY_EXISTS);
    lvhd_task_free(started);
    lvhd_engine_free(engine, false);
  }
  CHECK(exists("1.vhd")); /* his */
  remove_all();
}

/* ---- the parent --------------------------------------------------------- */

static void touch_parent(void) {
  int fd = open(in("parent.vhd"), O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0 && futimens(fd, NULL) == 0);
  close(fd);
}

/* Changed, or not to be asked, before the names are given. */
static void test_parent(void) {
  begin();
  trouble_meddle(&t, "O_TMPFILE", touch_parent, 6);
  CHECK_INT(make(), LVHD_E_SHARING_VIOLATION);
  CHECK_INT(failed(LVHD_E_SHARING_VIOLATION), count);
  remove_all();
}

/* ---- flushes ------------------------------------------------------------ */

/* No flush for all at once. */
static void tmpfs(void *answer) {
  ((struct statfs *)answer)->f_type = TMPFS_MAGIC;
}

/* The k-th flush fails, or all from there on: who shares it says so, and has
 * no file. */
static void test_flushes(void) {
  unsigned all = 0;
  for (unsigned on = 0; on < 2; on++)
    for (unsigned k = 1; k < 20; k++) {
      int code = 0;
      unsigned n = 0;
      begin();
      options.sync = LVHD_SYNC_FULL;
      trouble_fail(&t, "fsync", EIO, k, on ? ALWAYS : 1);
      trouble_forge(&t, "fstatfs", tmpfs);
      code = make();
      n = failed(LVHD_DISP_E_EXCEPTION);
      CHECK_INT(n > 0, t.rules[0].calls >= k);
      CHECK_INT(code, n > 0 ? LVHD_DISP_E_EXCEPTION : 0);
      all += n == count;
      remove_all();
    }
  CHECK(all > 0);
}

/* One flush for all files and one for all folders; where that fails, each. */
static void ext4(void *answer) {
  ((struct statfs *)answer)->f_type = EXT4_SUPER_MAGIC;
}

static ssize_t nothing_dirty(const struct lv_sys *sys, int fd, void *buf,
                             size_t n, off_t at) {
  static const char text[] = "M: 1\nDirty: 0 kB\nWriteback: 0 kB\n";
  if (at == 0 && n == 4095) {
    memcpy(buf, text, sizeof text);
    return sizeof text - 1;
  }
  return lv_sys_real.pread(sys, fd, buf, n, at);
}

static void test_flushed_at_once(void) {
  for (unsigned k = 0; k < 3; k++) {
    begin();
    options.sync = LVHD_SYNC_FULL;
    t.sys.pread = nothing_dirty;
    trouble_fail(&t, "syncfs", EIO, k, 1);
    trouble_fail(&t, "fsync", 0, 1, 0); /* counts */
    trouble_forge(&t, "fstatfs", ext4);
    whole();
    CHECK(t.rules[0].calls > 0);
    if (k == 1)
      CHECK(t.rules[1].calls >= count);
  }
}

/* Folders that can be entered and written, but not read, go with their volume;
 * that may fail. */
static int unlisted(const struct lv_sys *sys, int dir, const char *path,
                    int flags, uint64_t resolve) {
  if ((flags & (O_DIRECTORY | O_PATH)) == O_DIRECTORY) {
    errno = EACCES;
    return -1;
  }
  return lv_sys_real.openat2(sys, dir, path, flags, resolve);
}

static void test_unlisted(void) {
  static const char *const names[] = {"1.vhd", "x/2.vhd"};
  for (unsigned fails = 0; fails < 2; fails++) {
    begin();
    make_x();
    children(names, COUNT(names));
    options.sync = LVHD_SYNC_FULL;
    t.sys.openat2 = unlisted;
    trouble_fail(&t, "syncfs", EIO, 1, fails ? ALWAYS : 0);
    CHECK_INT(make(), fails ? LVHD_DISP_E_EXCEPTION : 0);
    CHECK_INT(failed(LVHD_DISP_E_EXCEPTION), fails ? 2 : 0);
    CHECK(t.rules[0].calls > 0);
    remove_all();
  }
}

/* ---- cancels ------------------------------------------------------------ */

/* At each call of some kinds: all is there, or nothing is. */
static void test_cancel(void) {
  static const char *const calls[] = {"fstat",  "openat2", "O_TMPFILE",
                                      "fsync",  "pwritev", "getlk",
                                      "linkat", "mkdirat"};
  unsigned cancelled = 0;
  for (size_t c = 0; c < COUNT(calls); c++)
    for (unsigned k = 1; k < 12; k++) {
      int code = 0;
      begin();
      options.sync = LVHD_SYNC_FULL;
      trouble_meddle(&t, calls[c], cancel, k);
      code = make();
      CHECK(code == 0 || code == LVHD_E_ABORT);
      CHECK_INT(failed(LVHD_E_ABORT), code == 0 ? 0 : count);
      cancelled += code != 0;
      remove_all();
    }
  CHECK(cancelled > 20);
}

static int few_descriptors(const struct lv_sys *sys, int what,
                           struct rlimit *limit) {
  int code = lv_sys_real.getrlimit(sys, what, limit);
  if (what == RLIMIT_NOFILE)
    limit->rlim_cur = 16;
  return code;
}

/* Of two batches the first is made; a cancel then ends the second. */
static void test_cancel_later(void) {
  for (unsigned k = 1; k < 4; k++) {
    unsigned made = 0;
    begin();
    t.sys.getrlimit = few_descriptors;
    trouble_meddle(&t, "linkat", cancel, k);
    CHECK_INT(make(), LVHD_E_ABORT);
    made = (unsigned)count - failed(LVHD_E_ABORT);
    CHECK(made >= k && made < count);
    for (size_t i = 0; i < count; i++)
      CHECK_INT(codes[i] == 0, i < made);
    remove_all();
  }
  begin();
  t.sys.getrlimit = few_descriptors;
  whole();
}

static bool make_parent(void) {
  lvhd_engine *engine = NULL;
  lvhd_task *made = NULL;
  bool good = false;
  if (lvhd_engine_new(&engine, NULL, NULL) != 0)
    return false;
  if (lvhd_create_dynamic(engine, in("parent.vhd"), 4 << 20, NULL, &made,
                          NULL) == 0) {
    while (!lvhd_task_step(made, 250, NULL))
      ;
    good = lvhd_task_status(made) == LVHD_SUCCEEDED;
    lvhd_task_free(made);
  }
  lvhd_engine_free(engine, false);
  return good;
}

int main(void) {
  base_make("op-batch");
  if (!CHECK(make_parent()))
    return check_done();
  begin();
  whole();
  test_scarce();
  test_none();
  test_scarce_folders();
  test_folders_gone();
  test_gone();
  test_gone_refused();
  test_named();
  test_kept();
  test_parent();
  test_flushes();
  test_flushed_at_once();
  test_unlisted();
  test_cancel();
  test_cancel_later();
  CHECK_INT(unlink(in("parent.vhd")), 0);
  CHECK_INT(rmdir(base), 0);
  return check_done();
}
