/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/op/inplace: the arguments of the verbs that change files,
 * and what is locked and looked at before a disk is opened, to be read or to
 * be written.
 */
#include <fcntl.h>

#include "op/create.h"
#include "op/inplace.h"
#include "poor.h"
#include "watch.h"

static struct lv_env env;
static struct lvhd_error err;

static void begin(void) {
  watch_begin();
  lv_env_init(&env, &watch.t.sys);
  memset(&job, 0, sizeof job);
  lvhd_error_clear(&err);
}

/* ---- arguments --------------------------------------------------------- */

static void test_arguments(void) {
  const char *parents[] = {"p", "/q"}, *children[] = {"/c", "d", "e"};
  struct lvhd_open_options opts = {.parents = parents, .parent_count = 2,
                                   .children_in = children,
                                   .children_in_count = 3, .force = true,
                                   .windows_parent = "C:\\x"};
  struct lv_inplace a = {0};
  begin();
  CHECK_INT(chdir(base), 0);
  CHECK_INT(lv_inplace_init(&a, &env, "f.vhd", &opts, &err), 0);
  CHECK_STR(lv_inplace_path(&a), in("f.vhd"));
  CHECK(a.opts.force);
  CHECK(a.opts.windows_parent == NULL);
  CHECK_INT(a.opts.parent_count, 2);
  CHECK_STR(a.opts.parents[0], in("p"));
  CHECK_STR(a.opts.parents[1], "/q");
  CHECK_INT(a.opts.children_in_count, 3);
  CHECK_STR(a.opts.children_in[0], "/c");
  CHECK_STR(a.opts.children_in[1], in("d"));
  CHECK_STR(a.opts.children_in[2], in("e"));
  CHECK(lv_inplace_info(&a) == NULL);
  CHECK_INT(lv_inplace_prepare(&a, NULL), 0);
  CHECK_INT(lv_inplace_kind(&a), LV_LONG);
  lv_inplace_clear(&a);
  CHECK(a.path == NULL);
  CHECK_INT(chdir("/"), 0);
}

/* Where nobody knows what a relative path starts from. */
static void test_nowhere(void) {
  const char *list[] = {"/a", "b", "/c"};
  struct lvhd_open_options none = {0}, parents = none, children = none;
  parents.parents = children.children_in = list;
  parents.parent_count = children.children_in_count = 3;
  begin();
  CHECK_INT(mkdir(in("gone"), 0700), 0);
  CHECK_INT(chdir(in("gone")), 0);
  CHECK_INT(rmdir(in("gone")), 0);
  for (int i = 0; i < 3; i++) {
    struct lv_inplace a = {0};
    const struct lvhd_open_options *opts =
      i == 0 ? &none : i == 1 ? &parents : &children;
    CHECK(lv_inplace_init(&a, &env, i == 0 ? "f" : "/f", opts, &err) != 0);
    CHECK(a.path == NULL);
    CHECK_INT(a.opts.parent_count, i == 1); /* as far as it came */
    CHECK_INT(a.opts.children_in_count, i == 2);
    lv_inplace_clear(&a);
    lvhd_error_clear(&err);
  }
  CHECK_INT(chdir("/"), 0);
}

static void test_tell(void) {
  struct lv_inplace a = {.env = &env};
  const struct lvhd_info *first = NULL;
  unsigned before = 0;
  begin();
  before = descriptors();
  CHECK_INT(lv_inplace_tell(&a, in("leaf.vhd"), &err), 0);
  first = lv_inplace_info(&a);
  CHECK(first != NULL);
  CHECK_STR(first->path, in("leaf.vhd"));
  CHECK(lv_findings_reserve(&a.facts->findings, 8)); /* no memory is wanted */
  CHECK(lv_inplace_tell(&a, in("none.vhd"), &err) != 0);
  CHECK(lv_inplace_info(&a) == first); /* as it was */
  lvhd_error_clear(&err);
  CHECK_INT(lv_inplace_tell(&a, in("child.vhd"), &err), 0);
  CHECK_STR(lv_inplace_info(&a)->path, in("child.vhd"));
  lv_inplace_clear(&a);
  CHECK_INT(descriptors(), before);
}

static void test_small(void) {
  char path[] = "/x/y.vhd";
  struct lv_image image = {.path = path};
  begin();
  CHECK_INT(lv_refuse_saved(&image, &err), 0);
  image.footer.saved_state = 1;
  CHECK_INT(lv_refuse_saved(&image, &err), LVHD_E_SHARING_VIOLATION);
  CHECK_INT(err.code, LVHD_E_SHARING_VIOLATION);
  CHECK_INT(err.reason, LV_R_SAVED_STATE);
  CHECK_STR(err.path, path);
  lvhd_error_clear(&err);
  CHECK(!lv_inplace_step(&job, 7));
  CHECK(!lv_inplace_step(&job, 5));
  CHECK_INT(job.bytes, 12);
  job.cancel = true;
  CHECK(lv_inplace_step(&job, 0));
}

/* ---- opening ----------------------------------------------------------- */

static struct lv_chain chain;
static uint64_t skipped;
static const struct lvhd_open_options read_only = {0};
static const struct lvhd_open_options to_write = {.write = true};
static const struct lvhd_open_options forced = {.write = true, .force = true};
static const struct lvhd_open_options forced_read = {.force = true};

static void look(void) {
  begin();
  memset(&chain, 0, sizeof chain);
  skipped = 99;
  CHECK_INT(lv_chain_open(&chain, &env, in("leaf.vhd"), NULL, 0, 64, NULL,
                          &err), 0);
  CHECK_INT(chain.count, 3);
}

static int ready(const struct lvhd_open_options *opts) {
  int code = lv_ready_to_open(&chain, &env, opts, &skipped, &err);
  CHECK_INT(code, err.code);
  return code;
}

static void leave(void) {
  lv_chain_close(&chain, &env);
  lvhd_error_clear(&err);
}

/* Whether another program may have the file like this. */
static bool may(const char *name, enum lv_lock how) {
  struct lv_file file = LV_FILE_INIT;
  int code = lv_file_open(&file, &env, in(name), NULL);
  if (code == 0)
    code = lv_lock(&file, &env, how, NULL);
  lv_file_close(&file, &env);
  return code == 0;
}

/* What the others may do: to look, to read as a parent, to write, to have
 * alone. */
static const char *others_may(const char *name) {
  static char text[2][5];
  static int turn;
  turn ^= 1;
  snprintf(text[turn], sizeof text[turn], "%c%c%c%c",
           may(name, LV_LOCK_LOOK) ? 'l' : '-',
           may(name, LV_LOCK_READ) ? 'r' : '-',
           may(name, LV_LOCK_WRITE) ? 'w' : '-',
           may(name, LV_LOCK_ALONE) ? 'a' : '-');
  return text[turn];
}

static void test_locks(void) {
  look();
  CHECK_INT(ready(&read_only), 0);
  CHECK_STR(others_may("leaf.vhd"), "lrw-");
  CHECK_STR(others_may("child.vhd"), "lr--");
  CHECK_STR(others_may("parent.vhd"), "lr--");
  leave();
  look();
  CHECK_INT(ready(&to_write), 0);
  CHECK_INT(skipped, 0);
  CHECK_STR(others_may("leaf.vhd"), "l---");
  CHECK_STR(others_may("child.vhd"), "lr--");
  CHECK_STR(others_may("parent.vhd"), "lr--");
  CHECK_INT(fcntl(chain.images[0].file.fd, F_GETFL) & O_ACCMODE, O_RDWR);
  leave();
  look();
  CHECK_INT(ready(&forced), 0);
  CHECK_STR(others_may("leaf.vhd"), "l---");
  CHECK_STR(others_may("child.vhd"), "lr--");
  leave();
  look();
  CHECK_INT(ready(&forced_read), 0);
  CHECK_INT(skipped, 0);
  CHECK_STR(others_may("leaf.vhd"), "lrwa");
  CHECK_STR(others_may("child.vhd"), "lrwa");
  leave();
}

/* Whoever has a file already. */
static void test_held(void) {
  static const char *const names[] = {"leaf.vhd", "child.vhd", "parent.vhd"};
  for (size_t i = 0; i < 3; i++) {
    struct lv_file file = LV_FILE_INIT;
    begin();
    CHECK_INT(lv_file_open(&file, &env, in(names[i]), NULL), 0);
    CHECK_INT(lv_lock(&file, &env, LV_LOCK_ALONE, NULL), 0);
    for (int way = 0; way < 4; way++) {
      look();
      if (way == 3) {
        CHECK_INT(ready(&forced_read), 0);
      } else {
        CHECK_INT(ready(way == 0   ? &read_only
                        : way == 1 ? &to_write
                                   : &forced), LVHD_E_SHARING_VIOLATION);
        CHECK_INT(err.reason, LV_R_IN_USE);
        CHECK_STR(i == 0 ? err.path : err.parent, in(names[i]));
      }
      leave();
    }
    lv_file_close(&file, &env);
  }
}

/* A merge into the leaf that was interrupted. */
static void test_pending(void) {
  struct lv_journal note = {.verb = LV_JOURNAL_MERGE};
  struct lv_folder beside = LV_FOLDER_INIT;
  look();
  memcpy(note.uuid, chain.images[0].footer.uuid, 16);
  note.length = (uint64_t)chain.images[0].file.st.st_size;
  note.mtime = chain.images[0].file.st.st_mtim;
  CHECK_INT(lv_journal_write(&note, &env, &chain.images[0].file,
                             chain.images[0].path, false, &beside, NULL), 0);
  lv_folder_close(&beside, &env);
  leave();
  for (int way = 0; way < 2; way++) {
    look();
    CHECK_INT(ready(way == 0 ? &read_only : &to_write),
              LVHD_E_SHARING_VIOLATION);
    CHECK_INT(err.reason, LV_R_JOURNAL_PENDING);
    leave();
  }
  look();
  CHECK_INT(ready(&forced_read), 0);
  CHECK_INT(chain.images[0].journal, LV_JOURNAL_GOOD);
  leave();
  look();
  CHECK_INT(ready(&forced), 0); /* the note goes with it */
  leave();
  look();
  CHECK_INT(ready(&to_write), 0);
  leave();
}

/* Another parent than the one that was opened: the leaf says so by the time
 * that it is ours. */
static void test_other_parent(void) {
  for (int way = 0; way < 2; way++) {
    look();
    chain.images[1].footer.uuid[0] ^= 1;
    CHECK_INT(ready(way == 0 ? &to_write : &forced),
              LVHD_E_SHARING_VIOLATION);
    CHECK_INT(err.reason, LV_R_SOURCE_CHANGED);
    leave();
  }
}

static void set_time(const char *name, int64_t seconds) {
  struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds}};
  CHECK_INT(utimensat(AT_FDCWD, in(name), ts, 0), 0);
}

/* Parents that were written since: the nearest and the one above it. */
static void test_modified(void) {
  static const char *const names[] = {"child.vhd", "parent.vhd"};
  for (unsigned i = 0; i < 2; i++) {
    struct stat st;
    CHECK_INT(stat(in(names[i]), &st), 0);
    set_time(names[i], st.st_mtim.tv_sec - 100);
    look();
    CHECK_INT(ready(&read_only), 0);
    leave();
    look();
    CHECK_INT(ready(&to_write), LVHD_VM_E_PARENT_MODIFIED);
    CHECK_INT(err.layer, i + 2);
    leave();
    look();
    CHECK_INT(ready(&forced), 0);
    leave();
    set_time(names[i], st.st_mtim.tv_sec);
  }
}

static bool make(const char *name, const char *parent) {
  const struct lvhd_create_options opts = {.sync = LVHD_SYNC_NONE,
                                           .long_paths = LVHD_NO,
                                           .host_names = LVHD_NO,
                                           .preflight = LVHD_NO};
  const struct lv_verb *verb =
    parent ? &lv_create_differencing : &lv_create_dynamic;
  void *args = NULL;
  int code = 0;
  begin();
  code = lv_create_args(&args, &env,
                        parent ? LVHD_DIFFERENCING : LVHD_DYNAMIC, in(name),
                        parent ? in(parent) : NULL, 4 << 20, &opts, &err);
  if (code == 0)
    code = verb->prepare(args, &err);
  if (code == 0)
    code = verb->run(args, &job, &err);
  if (args)
    verb->free(args);
  return CHECK(code == 0);
}

/* A child of the leaf, which would be lost. */
static void test_children(void) {
  struct lvhd_open_options blind = to_write;
  blind.no_search = true;
  make("other.vhd", "leaf.vhd");
  look();
  CHECK_INT(ready(&read_only), 0);
  leave();
  look();
  CHECK_INT(ready(&to_write), LVHD_E_SHARING_VIOLATION);
  CHECK_INT(err.reason, LV_R_OTHER_CHILDREN);
  CHECK_STR(err.others, in("other.vhd"));
  leave();
  look();
  CHECK_INT(ready(&forced), 0);
  leave();
  look();
  CHECK_INT(ready(&blind), 0);
  leave();
  /* What the search could not look at is counted. */
  CHECK_INT(unlink(in("other.vhd")), 0);
  put_text("closed.vhd", "text");
  look();
  rule(0, "openat", "closed.vhd", EACCES, 1, ALWAYS);
  rule(1, "openat2", "closed.vhd", EACCES, 1, ALWAYS);
  CHECK_INT(ready(&to_write), 0);
  CHECK_INT(skipped, 1);
  leave();
  CHECK_INT(unlink(in("closed.vhd")), 0);
}

/* ---- memory that runs out ---------------------------------------------- */

static void test_memory(void) {
  const char *list[] = {"/a", "/b"};
  const struct lvhd_open_options opts = {
    .parents = list, .parent_count = 2, .children_in = list,
    .children_in_count = 2};
  unsigned hits = 1;
  for (unsigned k = 1; hits > 0; k++) {
    long held = atomic_load(&poor.held);
    struct lv_inplace a = {0};
    int code = 0;
    begin();
    poor_begin(k, false, POOR_ANY);
    code = lv_inplace_init(&a, &env, in("leaf.vhd"), &opts, &err);
    if (code == 0)
      code = lv_inplace_tell(&a, in("leaf.vhd"), &err);
    hits = poor_end();
    CHECK_INT(code, hits > 0 ? LVHD_E_OUTOFMEMORY : 0);
    CHECK_INT(lv_inplace_info(&a) != NULL, code == 0);
    lv_inplace_clear(&a);
    lvhd_error_clear(&err);
    CHECK_INT(atomic_load(&poor.held), held);
  }
}

int main(void) {
  unsigned before = 0;
  watch_folder("inplace");
  if (!make("parent.vhd", NULL) || !make("child.vhd", "parent.vhd") ||
      !make("leaf.vhd", "child.vhd"))
    return 1;
  before = descriptors();
  test_arguments();
  test_nowhere();
  test_tell();
  test_small();
  test_locks();
  test_held();
  test_pending();
  test_other_parent();
  test_modified();
  test_children();
  test_memory();
  CHECK_INT(descriptors(), before);
  watch_end();
  return check_done();
}
