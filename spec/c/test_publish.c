/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/op/publish and src/op/outcome: the steps to a new file and
 * what is left when one fails, what is told of it, and which existing file is
 * taken for the disk that was asked for.
 */
#include <fcntl.h>
#include <time.h>

#include "format/locators.h"
#include "image/image.h"
#include "io/drives.h"
#include "op/change.h"
#include "op/create.h"
#include "op/create_args.h"
#include "poor.h"
#include "watch.h"

#define MIB (INT64_C(1) << 20)

/* ---- a creation -------------------------------------------------------- */

static struct lv_env env;
static struct lvhd_create_options opts;
static struct lvhd_error err;
static const struct lv_verb *verb;
static void *args;
static unsigned before; /* descriptors */

static void begin(void) {
  clear_all();
  watch_begin();
  lv_env_init(&env, &watch.t.sys);
  memset(&job, 0, sizeof job);
  err = (struct lvhd_error)LVHD_ERROR_INIT;
  opts = (struct lvhd_create_options){.sync = LVHD_SYNC_FULL,
                                      .long_paths = LVHD_YES,
                                      .host_names = LVHD_YES,
                                      .preflight = LVHD_NO};
}

static int run(void) {
  int code = verb->prepare(args, &err);
  return code == 0 ? verb->run(args, &job, &err) : code;
}

static int create(enum lvhd_type type, const char *name, const char *parent) {
  int code = 0;
  before = descriptors();
  verb = type == LVHD_FIXED     ? &lv_create_fixed
         : type == LVHD_DYNAMIC ? &lv_create_dynamic
                                : &lv_create_differencing;
  code = lv_create_args(&args, &env, type, name, parent, 4 * MIB, &opts, &err);
  return code == 0 ? run() : code;
}

static int dynamic(const char *name) {
  return create(LVHD_DYNAMIC, in(name), NULL);
}

static int child(const char *name) {
  return create(LVHD_DIFFERENCING, in(name), in("parent.vhd"));
}

static const struct lvhd_info *info(void) {
  return verb->info(args);
}

static void end(void) {
  verb->free(args);
  args = NULL;
  lvhd_error_clear(&err);
  CHECK_INT(descriptors(), before);
}

/* What is there afterwards, and in what order it came. */
#define JUDGE(files, order)                                                  \
  do {                                                                       \
    CHECK_STR(there(), files);                                               \
    CHECK_STR(watch.log, order);                                             \
    end();                                                                   \
  } while (0)

/* ---- what is told ------------------------------------------------------ */

static void same_locators(const struct lvhd_info *a,
                          const struct lvhd_info *b) {
  CHECK_INT(a->locator_count, b->locator_count);
  for (size_t i = 0; i < a->locator_count && i < b->locator_count; i++) {
    const struct lvhd_locator *x = &a->locators[i], *y = &b->locators[i];
    CHECK_STR(x->code, y->code);
    CHECK_STR(x->path, y->path);
    CHECK_INT(x->offset, y->offset);
    CHECK_INT(x->space, y->space);
    CHECK_INT(x->length, y->length);
    CHECK_INT(x->raw_length, y->raw_length);
    if (x->raw_length == y->raw_length)
      CHECK_MEM(x->raw, y->raw, x->raw_length);
  }
}

static void same_numbers(const struct lvhd_info *a,
                         const struct lvhd_info *b) {
  CHECK_INT(a->type, b->type);
  CHECK_INT(a->size, b->size);
  CHECK_INT(a->original_size, b->original_size);
  CHECK_INT(a->file_size, b->file_size);
  CHECK_INT(a->block_size, b->block_size);
  CHECK_INT(a->blocks, b->blocks);
  CHECK_INT(a->blocks_used, b->blocks_used);
  CHECK_INT(a->alignment, b->alignment);
  CHECK_MEM(a->uuid, b->uuid, 16);
  CHECK_INT(a->timestamp, b->timestamp);
  CHECK_INT(a->mtime, b->mtime);
  CHECK_STR(a->creator, b->creator);
  CHECK_STR(a->creator_os, b->creator_os);
  CHECK_INT(a->creator_version, b->creator_version);
  CHECK_INT(a->cylinders, b->cylinders);
  CHECK_INT(a->heads, b->heads);
  CHECK_INT(a->sectors, b->sectors);
  CHECK_INT(a->footer, b->footer);
  CHECK_INT(a->has_parent, b->has_parent);
  CHECK_MEM(a->parent_uuid, b->parent_uuid, 16);
  CHECK_INT(a->parent_timestamp, b->parent_timestamp);
  CHECK_INT(a->lockable, b->lockable);
}

/* What is told of the new file is what the file says. */
static int64_t started;

static void judge_info(const char *name, const char *parent) {
  const struct lvhd_info *a = info(), *b = NULL;
  struct lv_image image = LV_IMAGE_INIT;
  struct lv_facts *facts = NULL;
  if (!CHECK(a != NULL))
    return;
  if (CHECK(lv_image_open(&image, &env, name, NULL) == 0 &&
            lv_facts_new(&facts, &image, &env, NULL, NULL, NULL) == 0)) {
    b = &facts->info;
    same_numbers(a, b);
    same_locators(a, b);
    CHECK_STR(a->path, b->path);
    CHECK_STR(a->parent_name, parent ? b->parent_name : NULL);
    CHECK(a->free > 0);
    CHECK(a->mtime >= started); /* nobody asked for another time */
  }
  CHECK(a->created);
  CHECK_STR(a->parent_path, parent);
  lv_image_close(&image, &env);
  lv_facts_free(facts);
}

static void test_told(void) {
  begin();
  CHECK_INT(create(LVHD_FIXED, in("a"), NULL), 0);
  judge_info(in("a"), NULL);
  CHECK_INT(info()->finding_count, 0);
  end();
  begin();
  CHECK_INT(dynamic("a"), 0);
  judge_info(in("a"), NULL);
  CHECK_INT(info()->finding_count, 0);
  CHECK_INT(info()->uuid[6] >> 4, 4); /* a random one */
  CHECK_INT(info()->uuid[8] >> 6, 2);
  end();
  begin();
  opts.windows_parent = "D:\\g\\\xC3\xA4.vhd";
  CHECK_INT(child("n/a"), 0);
  judge_info(in("n/a"), in("parent.vhd"));
  CHECK_INT(info()->locator_count, 3);
  CHECK_INT(info()->finding_count, 0);
  end();
}

/* What cannot be recorded is told. */
static void test_left_out(void) {
  char windows[700] = "D:\\", name[100];
  char deep[2000] = "";
  memset(name, 'x', 99);
  name[99] = '\0';
  for (int i = 0; i < 6; i++) {
    strcat(windows, name);
    strcat(windows, i < 5 ? "\\" : "");
  }
  begin();
  opts.windows_parent = windows;
  CHECK_INT(child("a"), 0);
  judge_info(in("a"), in("parent.vhd"));
  CHECK_INT(info()->finding_count, 1);
  CHECK_INT(info()->findings[0].reason, LV_R_LOCATOR_LEFT_OUT);
  CHECK_INT(info()->findings[0].severity, LVHD_NOTE);
  CHECK_INT(info()->findings[0].expected, LV_LOCATOR_MAX);
  CHECK_INT(info()->findings[0].actual, 2 * strlen(windows));
  end();
  /* 420 characters of three bytes each. */
  begin();
  for (int i = 0; i < 7; i++) {
    strcat(deep, "/");
    for (int k = 0; k < 60; k++)
      strcat(deep, "\xE2\x82\xAC");
  }
  strcat(deep, "/p.vhd");
  CHECK_INT(dynamic(deep + 1), 0);
  end();
  CHECK_INT(create(LVHD_DIFFERENCING, in("a"), in(deep + 1)), 0);
  judge_info(in("a"), in(deep + 1));
  CHECK_INT(info()->finding_count, 1);
  CHECK_INT(info()->findings[0].reason, LV_R_LOCATOR_LEFT_OUT);
  CHECK_INT(info()->findings[0].expected, LV_MACX_MAX);
  CHECK(info()->findings[0].actual > LV_MACX_MAX);
  end();
}

/* The parent has a name that Windows has not. */
static void test_unnamable(void) {
  struct lvhd_drive list = {"C", base};
  struct lv_drives *drives = NULL;
  CHECK_INT(lv_drives_new(&drives, &list, 1, NULL), 0);
  begin();
  env.drives = drives;
  CHECK_INT(dynamic("p:.vhd"), 0);
  end();
  CHECK_INT(create(LVHD_DIFFERENCING, in("a"), in("p:.vhd")), 0);
  CHECK_INT(info()->finding_count, 1);
  CHECK_INT(info()->findings[0].reason, LV_R_LOCATOR_UNNAMABLE);
  CHECK_INT(info()->findings[0].severity, LVHD_NOTE);
  end();
  lv_drives_free(drives);
}

/* The folder of all has its slash already. */
static void test_root(void) {
  struct lv_create c = {.env = &env, .type = LVHD_RAW, .size = 512};
  struct lv_findings noted = {0};
  struct lv_look look;
  char image[] = "/a", root[] = "/", folder[] = "/b";
  begin();
  memset(&look, 0, sizeof look);
  c.image = image;
  c.real_folder = root;
  CHECK_INT(lv_outcome_new(&c, &look, NULL), 0);
  CHECK_STR(lv_outcome_info(&c)->path, "/a");
  CHECK_INT(lv_outcome_info(&c)->type, LVHD_RAW);
  CHECK_INT(lv_outcome_info(&c)->size, 512);
  c.real_folder = folder;
  CHECK_INT(lv_outcome_new(&c, &look, NULL), 0); /* instead of the first */
  CHECK_STR(lv_outcome_info(&c)->path, "/b/a");
  CHECK_INT(lv_outcome_info(&c)->finding_count, 0);
  for (uint64_t i = 0; i < 50; i++) /* of what was converted */
    lv_finding(&noted, LVHD_WARNING, LV_R_TIME_LOST, LVHD_HAS_ACTUAL, 0, i, 0);
  c.noted = &noted;
  CHECK_INT(lv_outcome_new(&c, &look, NULL), 0);
  CHECK_INT(lv_outcome_info(&c)->finding_count, 50);
  CHECK_INT(lv_outcome_info(&c)->findings[49].reason, LV_R_TIME_LOST);
  CHECK_INT(lv_outcome_info(&c)->findings[49].actual, 49);
  CHECK_STR(lv_outcome_info(&c)->path, "/b/a");
  lv_findings_free(&noted);
  free(c.outcome);
}

/* ---- the steps --------------------------------------------------------- */

static mode_t mode_then;

static void look_at_mode(void) {
  struct stat st;
  CHECK_INT(fstat(watch.t.fd, &st), 0);
  mode_then = st.st_mode & 07777;
}

static void test_order(void) {
  struct stat st;
  begin();
  CHECK_INT(dynamic("n/o/a"), 0);
  CHECK_INT(job.bytes, job.total_bytes);
  JUDGE("n n/o n/o/a parent.vhd", "f commit M:n D:. M:o D:n L:a D:o");
  begin();
  opts.sync = LVHD_SYNC_DATA;
  CHECK_INT(dynamic("n/a"), 0);
  JUDGE("n n/a parent.vhd", "f commit M:n L:a");
  begin();
  opts.sync = LVHD_SYNC_NONE;
  CHECK_INT(dynamic("n/a"), 0);
  JUDGE("n n/a parent.vhd", "commit M:n L:a");
  begin();
  meddle(0, "pwritev", NULL, look_at_mode);
  CHECK_INT(dynamic("a"), 0);
  CHECK_INT(mode_then, 0644);
  CHECK_INT(stat(in("a"), &st), 0);
  CHECK_INT(st.st_mode & 07777, 0644);
  end();
  begin(); /* the bytes are nobody else's before the mode is there */
  opts.has_mode = opts.has_timestamp = true;
  opts.mode = 0666;
  opts.timestamp = 1700000000;
  meddle(0, "pwritev", NULL, look_at_mode);
  CHECK_INT(dynamic("a"), 0);
  CHECK_INT(mode_then, 0600);
  CHECK_INT(stat(in("a"), &st), 0);
  CHECK_INT(st.st_mode & 07777, 0666);
  CHECK_INT(st.st_mtim.tv_sec, 1700000000);
  CHECK_INT(info()->mtime, 1700000000);
  CHECK_INT(info()->timestamp, 1700000000);
  end();
}

static void fails(const char *call, const char *name, int errnum, int code) {
  begin();
  opts.has_mode = opts.has_timestamp = true;
  opts.mode = 0640;
  opts.timestamp = 1700000000;
  rule(0, call, name, errnum, 1, 1);
  CHECK_INT(dynamic("n/a"), code);
  CHECK_INT(err.errnum, errnum);
  CHECK_STR(err.syscall, strcmp(call, "O_TMPFILE") == 0 ? "openat" : call);
  CHECK_STR(there(), "parent.vhd");
  end();
}

static void test_failures(void) {
  fails("O_TMPFILE", NULL, EACCES, LVHD_E_ACCESSDENIED);
  fails("fstatfs", NULL, EIO, LVHD_DISP_E_EXCEPTION);
  fails("pwritev", NULL, ENOSPC, LVHD_E_DISK_FULL);
  fails("fchmod", NULL, EPERM, LVHD_E_ACCESSDENIED);
  fails("futimens", NULL, EROFS, LVHD_E_ACCESSDENIED);
  fails("fsync", "(deleted)", EIO, LVHD_DISP_E_EXCEPTION);
  fails("mkdirat", NULL, ENOSPC, LVHD_E_DISK_FULL);
  fails("linkat", NULL, ENOSPC, LVHD_E_DISK_FULL);
  fails("fsync", "/n", EIO, LVHD_DISP_E_EXCEPTION);
  fails("close", "(deleted)", EIO, LVHD_DISP_E_EXCEPTION);
  fails("getrandom", NULL, ENOSYS, LVHD_DISP_E_EXCEPTION);
}

static unsigned asked;
static ssize_t given;

/* Fewer random bytes than were asked for are no identifier; and errno, of
 * another call, does not count. */
static ssize_t few_random(const struct lv_sys *sys, void *buf, size_t n,
                          unsigned flags) {
  (void)sys, (void)flags;
  errno = asked++ == 0 ? EINTR : EPERM;
  memset(buf, 7, n);
  return given;
}

static void test_uuid(void) {
  uint8_t first[16];
  begin();
  rule(0, "getrandom", NULL, EINTR, 1, 2);
  CHECK_INT(dynamic("a"), 0);
  memcpy(first, info()->uuid, 16);
  end();
  CHECK_INT(dynamic("b"), 0);
  CHECK(memcmp(first, info()->uuid, 16) != 0);
  end();
  begin();
  opts.has_uuid = true;
  memset(opts.uuid, 7, 16);
  watch.t.sys.getrandom = few_random;
  CHECK_INT(dynamic("a"), 0);
  CHECK_MEM(info()->uuid, opts.uuid, 16);
  end();
  for (given = 0; given < 16; given += 15) {
    asked = 0;
    begin();
    watch.t.sys.getrandom = few_random;
    CHECK_INT(dynamic("a"), LVHD_DISP_E_EXCEPTION);
    CHECK_INT(err.errnum, EIO);
    CHECK_STR(err.syscall, "getrandom");
    CHECK_INT(asked, 1);
    JUDGE("parent.vhd", "");
  }
}

static void cancel(void) {
  job.cancel = true;
}

static void test_cancel(void) {
  begin();
  meddle(0, "fsync", NULL, cancel);
  CHECK_INT(dynamic("n/a"), LVHD_E_ABORT);
  JUDGE("parent.vhd", "f");
  begin();
  meddle(0, "linkat", NULL, cancel); /* too late */
  CHECK_INT(dynamic("n/a"), 0);
  JUDGE("n n/a parent.vhd", "f commit M:n D:. L:a D:n");
}

static void test_named(void) {
  begin();
  rule(0, "linkat", NULL, EPERM, 1, ALWAYS);
  CHECK_INT(dynamic("a"), 0);
  judge_info(in("a"), NULL);
  JUDGE("a parent.vhd", "f commit f commit R:a D:.");
  begin();
  rule(0, "linkat", NULL, EPERM, 1, ALWAYS);
  rule(1, "renameat2", NULL, EINVAL, 1, ALWAYS);
  CHECK_INT(dynamic("n/a"), LVHD_DISP_E_EXCEPTION);
  CHECK_INT(err.reason, LV_R_NO_PUBLISH);
  CHECK_STR(there(), "parent.vhd");
  end();
}

/* ---- who else is there ------------------------------------------------- */

static void take_name(void) {
  put_text("a", "theirs");
}

static void take_disk(void) {
  CHECK_INT(link(in("ours"), in("a")), 0);
}

static void test_taken(void) {
  begin();
  put_text("a", "theirs");
  CHECK_INT(dynamic("a"), LVHD_E_ALREADY_EXISTS);
  JUDGE("a parent.vhd", "");
  begin();
  meddle(0, "linkat", NULL, take_name);
  CHECK_INT(dynamic("a"), LVHD_E_ALREADY_EXISTS);
  CHECK_INT(err.reason, LV_R_NONE);
  JUDGE("a parent.vhd", "f commit");
  begin();
  opts.keep = true;
  meddle(0, "linkat", NULL, take_name);
  CHECK_INT(dynamic("a"), LVHD_E_ALREADY_EXISTS);
  CHECK_INT(err.reason, LV_R_OTHER_DISK);
  end();
  begin();
  opts.keep = true;
  CHECK_INT(dynamic("ours"), 0);
  CHECK(info()->created);
  end();
  rule(0, "linkat", NULL, ENOSPC, 1, 1);
  CHECK_INT(dynamic("b"), LVHD_E_DISK_FULL); /* nothing is there to keep */
  end();
  meddle(0, "linkat", NULL, take_disk);
  CHECK_INT(dynamic("a"), 0);
  CHECK(!info()->created);
  CHECK_STR(info()->path, in("a"));
  end();
  CHECK_INT(dynamic("a"), 0); /* found at once */
  CHECK(!info()->created);
  end();
  opts.keep = false;
  meddle(0, "linkat", NULL, NULL);
  CHECK_INT(dynamic("a"), LVHD_E_ALREADY_EXISTS);
  end();
}

static void remove_d0(void) {
  (void)rmdir(in("d0"));
}

static void make_d0(void) {
  (void)mkdir(in("d0"), 0700);
}

/* A folder that goes away is looked for again, but not for ever. */
static void test_gone(void) {
  int code = 0;
  begin();
  make_d0();
  meddle(0, "O_TMPFILE", NULL, remove_d0);
  CHECK_INT(dynamic("d0/a"), 0);
  JUDGE("d0 d0/a parent.vhd", "f commit M:d0 D:. L:a D:d0");
  begin();
  make_d0();
  rule(0, "O_TMPFILE", NULL, 0, 1, ALWAYS)->meddle = remove_d0;
  rule(1, "openat2", "/d0", 0, 1, ALWAYS)->meddle = make_d0;
  code = dynamic("d0/a");
  CHECK(code == LVHD_E_PATH_NOT_FOUND || code == LVHD_E_ACCESSDENIED);
  CHECK_INT(watch.t.rules[0].calls, 100);
  end();
  for (int i = 0; i < 3; i++) { /* only then, and only for that */
    static const int errnums[] = {EACCES, ENOENT, ENOSPC};
    begin();
    make_d0();
    rule(0, "O_TMPFILE", "d0", errnums[i], 1, 1)->meddle = remove_d0;
    CHECK_INT(dynamic("d0/a"), i == 2 ? LVHD_E_DISK_FULL : 0);
    end();
  }
  begin(); /* it is there, and refuses */
  make_d0();
  rule(0, "O_TMPFILE", NULL, EACCES, 1, ALWAYS);
  CHECK_INT(dynamic("d0/a"), LVHD_E_ACCESSDENIED);
  CHECK_INT(watch.t.rules[0].calls, 1);
  end();
}

/* ---- what is kept ------------------------------------------------------ */

static uint8_t parent_uuid[16];

/* What lv_outcome_kept says of the file `a`; with a job it is told, too. */
static int kept(struct lv_create *c, bool tells) {
  char image[PATH_MAX];
  int code = 0;
  snprintf(image, sizeof image, "%s", in("a"));
  c->env = &env;
  c->image = image;
  c->real_folder = base;
  lvhd_error_clear(&err);
  before = descriptors();
  code = lv_outcome_kept(c, tells ? &job : NULL, &err);
  CHECK_INT(descriptors(), before);
  return code;
}

static void drop(struct lv_create *c) {
  free(c->outcome);
  c->outcome = NULL;
  lv_facts_free(c->kept);
  c->kept = NULL;
}

static bool is_kept(struct lv_create *c) {
  int code = kept(c, false);
  CHECK(lv_outcome_info(c) == NULL);
  CHECK_INT(kept(c, true), code);
  CHECK_INT(lv_outcome_info(c) != NULL, code == 0);
  if (code == 0)
    CHECK(!lv_outcome_info(c)->created);
  drop(c);
  if (code != 0) {
    CHECK_INT(code, LVHD_E_ALREADY_EXISTS);
    CHECK_INT(err.reason, LV_R_OTHER_DISK);
  }
  return code == 0;
}

static void test_kept(void) {
  struct lv_create c = {.type = LVHD_DYNAMIC, .size = 4 * MIB};
  char elsewhere[] = "/nowhere/a";
  begin();
  CHECK_INT(dynamic("a"), 0);
  end();
  CHECK(is_kept(&c));
  c.size = 5 * MIB;
  CHECK(!is_kept(&c));
  c.type = LVHD_FIXED;
  c.size = 4 * MIB;
  CHECK(!is_kept(&c));
  c.type = LVHD_DYNAMIC;
  memset(c.seen.uuid, 7, 16); /* it has no parent */
  CHECK(is_kept(&c));
  job.committed = false;
  job.cancel = true;
  CHECK_INT(kept(&c, true), LVHD_E_ABORT);
  job.cancel = false;
  lvhd_error_clear(&err);
  c.image = elsewhere; /* its folder is the one that was looked at */
  CHECK_INT(lv_outcome_kept(&c, NULL, &err), 0);
  CHECK_INT(truncate(in("a"), 4096), 0); /* its end is gone */
  CHECK(!is_kept(&c));
  put_text("a", "text");
  CHECK(!is_kept(&c));
  CHECK_INT(unlink(in("a")), 0);
  CHECK(!is_kept(&c));
  CHECK_INT(symlink("nowhere", in("a")), 0);
  CHECK(!is_kept(&c));
  CHECK_INT(unlink(in("a")), 0);
  CHECK_INT(mkdir(in("a"), 0700), 0);
  CHECK(!is_kept(&c));
}

static void test_kept_child(void) {
  struct lv_create c = {.type = LVHD_DIFFERENCING, .size = 4 * MIB};
  char parent[PATH_MAX];
  begin();
  CHECK_INT(child("a"), 0);
  end();
  snprintf(parent, sizeof parent, "%s", in("parent.vhd"));
  CHECK(!is_kept(&c)); /* a child of another disk */
  memcpy(c.seen.uuid, parent_uuid, 16);
  CHECK(is_kept(&c));
  c.size = 0; /* its parent's */
  CHECK(is_kept(&c));
  c.converts = true;
  CHECK(!is_kept(&c));
  c.size = 4 * MIB;
  CHECK(is_kept(&c));
  c.type = LVHD_DYNAMIC;
  CHECK(!is_kept(&c));
  c.type = LVHD_DIFFERENCING;
  c.real_parent = parent;
  CHECK_INT(kept(&c, true), 0);
  CHECK_STR(lv_outcome_info(&c)->parent_path, parent);
  CHECK_INT(kept(&c, true), 0); /* instead of the first */
  drop(&c);
  job.committed = false;
  job.cancel = true;
  CHECK_INT(kept(&c, true), LVHD_E_ABORT);
  CHECK(lv_outcome_info(&c) == NULL);
}

/* What a link out of the drive leads to is not kept. */
static void test_kept_outside(void) {
  struct lvhd_drive list = {"C", in("drive")};
  struct lv_create c = {.type = LVHD_RAW, .size = 6};
  char image[] = "C:\\x\\a", folder[PATH_MAX];
  begin();
  CHECK_INT(mkdir(in("drive"), 0700), 0);
  CHECK_INT(mkdir(in("drive/x"), 0700), 0);
  put_text("drive/x/a", "theirs");
  CHECK_INT(lv_drives_new((struct lv_drives **)(uintptr_t)&env.drives, &list,
                          1, NULL), 0);
  snprintf(folder, sizeof folder, "%s", in("drive/x"));
  c.env = &env;
  c.image = image;
  c.real_folder = folder;
  CHECK_INT(lv_outcome_kept(&c, &job, &err), 0);
  drop(&c);
  CHECK_INT(rename(in("drive/x"), in("out")), 0);
  CHECK_INT(symlink("../out", in("drive/x")), 0);
  CHECK_INT(lv_outcome_kept(&c, &job, &err), LVHD_E_ACCESSDENIED);
  CHECK_INT(err.reason, LV_R_OUTSIDE_DRIVE);
  drop(&c);
  lvhd_error_clear(&err);
  lv_drives_free((struct lv_drives *)(uintptr_t)env.drives);
}

/* Of a raw disk there is nothing to see but the length. */
static void test_kept_raw(void) {
  struct lv_create c = {.type = LVHD_RAW, .size = 6};
  const struct lvhd_info *told = NULL;
  struct stat st;
  begin();
  put_text("a", "theirs");
  CHECK(is_kept(&c));
  CHECK_INT(kept(&c, true), 0);
  CHECK_INT(kept(&c, true), 0); /* instead of the first */
  told = lv_outcome_info(&c);
  CHECK_INT(stat(in("a"), &st), 0);
  CHECK_STR(told->path, in("a"));
  CHECK_INT(told->type, LVHD_RAW);
  CHECK_INT(told->size, 6);
  CHECK_INT(told->file_size, 6);
  CHECK_INT(told->mtime, st.st_mtim.tv_sec);
  CHECK(told->free > 0);
  drop(&c);
  c.size = 7;
  CHECK(!is_kept(&c));
  c.size = 5;
  CHECK(!is_kept(&c));
  CHECK_INT(unlink(in("a")), 0);
  CHECK(!is_kept(&c));
}

/* What cannot be looked at is not known to be another disk. */
static void test_kept_unknown(void) {
  static const enum lvhd_type types[] = {LVHD_DYNAMIC, LVHD_RAW};
  for (size_t i = 0; i < 2; i++) {
    struct lv_create c = {.type = types[i], .size = 4 * MIB};
    begin();
    CHECK_INT(dynamic("a"), 0);
    end();
    rule(0, "openat2", "/a", EACCES, 1, 1);
    CHECK_INT(kept(&c, true), LVHD_E_ACCESSDENIED);
    drop(&c);
    rule(0, "fstat", "/a", EIO, 1, 1);
    CHECK_INT(kept(&c, true), LVHD_DISP_E_EXCEPTION);
    drop(&c);
  }
}

/* ---- memory that runs out ---------------------------------------------- */

/* A child as it is made or kept, with the k-th allocation failing. */
static void test_poor(bool keeps, struct lv_drives *drives) {
  unsigned hits = 1;
  for (unsigned k = 1; hits > 0; k++) {
    long held = 0;
    int code = 0;
    begin();
    opts.keep = keeps;
    opts.windows_parent = drives ? NULL : "D:\\g\\p.vhd";
    if (keeps) {
      CHECK_INT(child("n/a"), 0);
      end();
    }
    env.drives = drives;
    held = atomic_load(&poor.held);
    before = descriptors();
    verb = &lv_create_differencing;
    poor_begin(k, false, POOR_ANY);
    code = drives ? create(LVHD_DIFFERENCING, "C:\\n\\a", "C:\\parent.vhd")
                  : child("n/a");
    hits = poor_end();
    CHECK(code == 0 || code == LVHD_E_OUTOFMEMORY);
    CHECK_INT(code, err.code);
    if (code == 0)
      CHECK_STR(info()->parent_path, in("parent.vhd"));
    CHECK_STR(there(), code == 0 || keeps ? "n n/a parent.vhd" : "parent.vhd");
    if (args)
      end();
    CHECK_INT(atomic_load(&poor.held), held);
  }
}

/* The same of a raw file that is kept. */
static void test_poor_raw(void) {
  unsigned hits = 1;
  begin();
  put_text("a", "theirs");
  for (unsigned k = 1; hits > 0; k++) {
    struct lv_create c = {.type = LVHD_RAW, .size = 6};
    long held = atomic_load(&poor.held);
    int code = 0;
    poor_begin(k, false, POOR_ANY);
    code = kept(&c, true);
    hits = poor_end();
    CHECK_INT(code, hits > 0 ? LVHD_E_OUTOFMEMORY : 0);
    drop(&c);
    CHECK_INT(atomic_load(&poor.held), held);
  }
}

static void test_memory(void) {
  struct lvhd_drive list = {"C", base};
  struct lv_drives *drives = NULL;
  CHECK_INT(lv_drives_new(&drives, &list, 1, NULL), 0);
  test_poor(false, NULL);
  test_poor(true, NULL);
  test_poor(false, drives);
  test_poor(true, drives);
  test_poor_raw();
  lv_drives_free(drives);
}

int main(void) {
  umask(022);
  started = (int64_t)time(NULL) - 1;
  watch_folder("publish");
  begin();
  if (!CHECK(dynamic("parent.vhd") == 0))
    return 1;
  memcpy(parent_uuid, info()->uuid, 16);
  end();
  test_told();
  test_left_out();
  test_unnamable();
  test_root();
  test_order();
  test_failures();
  test_uuid();
  test_cancel();
  test_named();
  test_taken();
  test_gone();
  test_kept();
  test_kept_child();
  test_kept_raw();
  test_kept_outside();
  test_kept_unknown();
  test_memory();
  watch_end();
  return check_done();
}
