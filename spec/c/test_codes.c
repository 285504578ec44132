/* SPDX-License-Identifier: MIT
 *
 * "err may be NULL where the code is enough" (lvhd.h): every call that works
 * in the caller's thread, with the k-th system call of that thread failing in
 * several ways, and on files that are broken in several ways, once with an
 * error and once without: the code is the same, and what the error says is
 * the code.  What the codes must be is the specs' affair.  And a signal changes
 * nothing, in whatever thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "lvhd.h"
#include "trouble.h"

#define MIB (INT64_C(1) << 20)

/* ---- a table whose k-th call fails ------------------------------------- */

/* Of this thread alone: what workers do meanwhile is not counted. */
static _Thread_local struct {
  unsigned seen, at; /* at 0: none fails */
  int errnum;
} turn;

/* The same of all threads. */
static atomic_uint all_seen;
static unsigned all_at;
static int all_errnum;

static int turn_of(void) {
  if (all_at != 0 && atomic_fetch_add(&all_seen, 1) + 1 == all_at)
    return all_errnum;
  return turn.at != 0 && ++turn.seen == turn.at ? turn.errnum : 0;
}

/* Those that a signal can end early, of all threads: the k-th is. */
static atomic_uint signals_seen;
static unsigned signal_at; /* 0: none */

static bool interrupted(const char *call) {
  static const char *const some[] = {
    "openat",   "O_TMPFILE", "openat2",   "pread",    "pwritev",
    "getdents", "ftruncate", "fallocate", "getrandom"};
  for (size_t i = 0; i < COUNT(some); i++)
    if (signal_at != 0 && strcmp(call, some[i]) == 0)
      return atomic_fetch_add(&signals_seen, 1) + 1 == signal_at;
  return false;
}

/* So many of the next locks come too late: before each somebody has changed
 * the file. */
static _Thread_local unsigned meddle;
static char meddled[300];

static int due(const char *call) {
  if (meddle > 0 && strcmp(call, "setlk") == 0) {
    meddle--;
    usleep(10000); /* a tick of the clock that files have */
    (void)chmod(meddled, meddle % 2 == 0 ? 0600 : 0644);
  }
  return interrupted(call) ? EINTR : turn_of();
}

/* ---- the files ---------------------------------------------------------- */

static char folder[256];
static const char *const names[] = {"base.vhd", "mid.vhd", "leaf.vhd"};
#define FILES 3
static char paths[FILES][300], fresh[300];
static struct {
  char *bytes;
  size_t n;
  struct timespec times[2]; /* what hangs on it has recorded the second */
} kept[FILES];

static bool write_file(const char *path, const char *bytes, size_t n) {
  FILE *file = fopen(path, "wb");
  bool good = false;
  if (file == NULL)
    return false;
  good = fwrite(bytes, 1, n, file) == n;
  return fclose(file) == 0 && good;
}

static bool keep(size_t i) {
  FILE *file = NULL;
  struct stat st;
  kept[i].bytes = malloc(4 * MIB);
  if (kept[i].bytes == NULL || stat(paths[i], &st) != 0)
    return false;
  kept[i].times[0] = kept[i].times[1] = st.st_mtim;
  file = fopen(paths[i], "rb");
  if (file == NULL)
    return false;
  kept[i].n = fread(kept[i].bytes, 1, 4 * MIB, file);
  return fclose(file) == 0;
}

static bool restore(void) {
  bool good = true;
  unlink(fresh);
  for (size_t i = 0; i < FILES; i++)
    good &= (unlink(paths[i]) == 0 || errno == ENOENT) &&
            write_file(paths[i], kept[i].bytes, kept[i].n) &&
            utimensat(AT_FDCWD, paths[i], kept[i].times, 0) == 0;
  return good;
}

/* One byte of a file: at from its start, or before its end. */
static void spoil(size_t i, long at) {
  FILE *file = fopen(paths[i], "r+b");
  int c = 0;
  CHECK(file != NULL);
  if (file == NULL)
    return;
  fseek(file, at, at < 0 ? SEEK_END : SEEK_SET);
  c = fgetc(file);
  fseek(file, at, at < 0 ? SEEK_END : SEEK_SET);
  fputc(c ^ 1, file);
  fclose(file);
}

static int task_code; /* of the last task */

static void wait_for(lvhd_task *task) {
  while (!lvhd_task_step(task, 250, NULL))
    ;
  task_code = lvhd_task_error(task) ? lvhd_task_error(task)->code : 0;
  lvhd_task_free(task);
}

static bool make_files(lvhd_engine *engine) {
  lvhd_task *task = NULL;
  if (lvhd_create_dynamic(engine, paths[0], 3 * MIB, NULL, &task, NULL) != 0)
    return false;
  wait_for(task);
  for (size_t i = 1; i < FILES; i++) {
    if (lvhd_create_differencing(engine, paths[i], paths[i - 1], NULL, &task,
                                 NULL) != 0)
      return false;
    wait_for(task);
  }
  return keep(0) && keep(1) && keep(2);
}

/* ---- the calls ---------------------------------------------------------- */

struct world {
  lvhd_engine *engine;
  const char *leaf, *fresh, *base; /* as the host, or as Windows calls them */
};

typedef int (*call_fn)(const struct world *, struct lvhd_error *);

static int started(int code, lvhd_task *const *task) {
  if (code == 0)
    wait_for(*task);
  return code;
}

static int c_info(const struct world *w, struct lvhd_error *err) {
  lvhd_infos *infos = NULL;
  int code = lvhd_read_info(w->engine, w->leaf, &infos, err);
  lvhd_infos_free(infos);
  return code;
}
static int c_chain(const struct world *w, struct lvhd_error *err) {
  lvhd_infos *infos = NULL;
  int code = lvhd_read_chain(w->engine, w->leaf, NULL, &infos, err);
  const struct lvhd_info *last = NULL;
  if (code == 0) {
    last = lvhd_infos_at(infos, lvhd_infos_count(infos) - 1);
    code = last->error ? -last->error->code : 0; /* one that ends early */
  }
  lvhd_infos_free(infos);
  return code;
}
static int c_read(const struct world *w, struct lvhd_error *err) {
  struct lvhd_extent extent;
  lvhd_infos *infos = NULL;
  lvhd_disk *disk = NULL;
  char bytes[4096];
  size_t got = 0;
  int code = lvhd_disk_open(w->engine, &w->leaf, 1, NULL, &disk, err);
  if (code == 0)
    code = lvhd_disk_read(disk, bytes, sizeof bytes, 0, &got, err);
  if (code == 0)
    code = lvhd_disk_extent(disk, 0, 3 * MIB, &extent, err);
  if (code == 0)
    code = lvhd_disk_chain(disk, &infos, err);
  lvhd_infos_free(infos);
  lvhd_disk_close(disk);
  return code;
}
static int c_given(const struct world *w, struct lvhd_error *err) {
  const char *all[] = {paths[2], paths[1], paths[0]};
  lvhd_disk *disk = NULL;
  int code = lvhd_disk_open(w->engine, all, 3, NULL, &disk, err);
  lvhd_disk_close(disk);
  return code;
}
static int c_write(const struct world *w, struct lvhd_error *err) {
  const struct lvhd_open_options rw = {.write = true};
  lvhd_disk *disk = NULL;
  int code = lvhd_disk_open(w->engine, &w->leaf, 1, &rw, &disk, err);
  if (code == 0)
    code = lvhd_disk_write(disk, "abc", 3, 70000, err);
  if (code == 0)
    code = lvhd_disk_flush(disk, err);
  if (code == 0)
    code = lvhd_disk_write(disk, "abc", 3, 4096, err);
  if (code == 0)
    code = lvhd_disk_finish(disk, err);
  else if (disk) /* it stays so, or comes to be well again */
    (void)(lvhd_disk_write(disk, "abc", 3, 4096, NULL) +
           lvhd_disk_flush(disk, NULL));
  turn.at = 0;
  lvhd_disk_close(disk);
  return code;
}
static int c_dynamic(const struct world *w, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  return started(lvhd_create_dynamic(w->engine, w->fresh, 3 * MIB, NULL,
                                     &task, err),
                 &task);
}
static int c_reserve(const struct world *w, struct lvhd_error *err) {
  const struct lvhd_create_options o = {
    .allocate = LVHD_RESERVE, .has_mode = true, .mode = 0640,
    .has_timestamp = true, .timestamp = 1700000000, .sync = LVHD_SYNC_FULL};
  lvhd_task *task = NULL;
  return started(lvhd_create_fixed(w->engine, w->fresh, 3 * MIB, &o, &task,
                                   err),
                 &task);
}
static int c_zero(const struct world *w, struct lvhd_error *err) {
  const struct lvhd_create_options o = {.allocate = LVHD_ZERO,
                                        .filesystem = LVHD_FAT16};
  lvhd_task *task = NULL;
  return started(lvhd_create_fixed(w->engine, w->fresh, 3 * MIB, &o, &task,
                                   err),
                 &task);
}
static int c_raw(const struct world *w, struct lvhd_error *err) {
  const struct lvhd_convert_options raw = {.to = LVHD_RAW};
  lvhd_task *task = NULL;
  return started(lvhd_convert(w->engine, w->leaf, w->fresh, &raw, &task, err),
                 &task);
}
static int c_from_raw(const struct world *w, struct lvhd_error *err) {
  const struct lvhd_convert_options raw = {.from_raw = true,
                                           .round = 1 << 20};
  lvhd_task *task = NULL;
  if (truncate(paths[1], 3 * MIB + 512) != 0)
    return -1;
  return started(lvhd_convert(w->engine, paths[1], w->fresh, &raw, &task,
                              err),
                 &task);
}
static int c_diff(const struct world *w, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  return started(lvhd_create_differencing(w->engine, w->fresh, w->leaf, NULL,
                                          &task, err),
                 &task);
}
static int c_keep(const struct world *w, struct lvhd_error *err) {
  const struct lvhd_create_options keep_it = {.keep = true};
  lvhd_task *task = NULL;
  return started(lvhd_create_differencing(w->engine, w->leaf, paths[1],
                                          &keep_it, &task, err),
                 &task);
}
static int c_many(const struct world *w, struct lvhd_error *err) {
  const struct lvhd_child one = {.image = w->fresh};
  lvhd_task *task = NULL;
  return started(lvhd_create_children(w->engine, &one, 1, w->leaf, NULL,
                                      &task, err),
                 &task);
}
static int c_check(const struct world *w, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  return started(lvhd_check(w->engine, w->leaf, NULL, &task, err), &task);
}
static int c_find(const struct world *w, struct lvhd_error *err) {
  const char *one = folder;
  lvhd_task *task = NULL;
  return started(lvhd_children(w->engine, w->base, &one, 1, &task, err),
                 &task);
}
static int c_convert(const struct world *w, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  return started(lvhd_convert(w->engine, w->leaf, w->fresh, NULL, &task, err),
                 &task);
}
static int c_convert_child(const struct world *w, struct lvhd_error *err) {
  const struct lvhd_convert_options child = {.to = LVHD_DIFFERENCING,
                                             .parent = w->base};
  lvhd_task *task = NULL;
  return started(
    lvhd_convert(w->engine, w->leaf, w->fresh, &child, &task, err), &task);
}
static int c_merge(const struct world *w, struct lvhd_error *err) {
  const struct lvhd_merge_options into = {.into = w->base};
  lvhd_task *task = NULL;
  return started(lvhd_merge(w->engine, w->leaf, &into, &task, err), &task);
}
static int c_compact(const struct world *w, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  return started(lvhd_compact(w->engine, w->leaf, NULL, &task, err), &task);
}
static int c_resize(const struct world *w, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  return started(lvhd_resize(w->engine, w->leaf, 4 * MIB, NULL, &task, err),
                 &task);
}
static int c_relink(const struct world *w, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  return started(lvhd_relink(w->engine, w->leaf, paths[1], NULL, &task, err),
                 &task);
}
static int c_repair(const struct world *w, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  return started(lvhd_repair(w->engine, w->leaf, NULL, &task, err), &task);
}
static int c_windows(const struct world *w, struct lvhd_error *err) {
  char *text = NULL;
  int code = lvhd_windows_path(w->engine, paths[2], &text, err);
  lvhd_string_free(text);
  return code;
}
static int c_host(const struct world *w, struct lvhd_error *err) {
  char *text = NULL;
  int code = lvhd_host_path(w->engine, w->leaf, &text, err);
  lvhd_string_free(text);
  return code;
}
static int c_path(const struct world *w, struct lvhd_error *err) {
  return lvhd_check_path(w->engine, w->leaf, 0, err);
}

static const struct {
  const char *name;
  call_fn fn;
} calls[] = {
  {"info", c_info},         {"chain", c_chain},
  {"read", c_read},         {"given", c_given},
  {"write", c_write},       {"create_dynamic", c_dynamic},
  {"keep", c_keep},         {"create_differencing", c_diff},
  {"check", c_check},       {"create_children", c_many},
  {"children", c_find},     {"convert", c_convert},
  {"merge", c_merge},       {"convert to a child", c_convert_child},
  {"compact", c_compact},   {"resize", c_resize},
  {"relink", c_relink},     {"repair", c_repair},
  {"host_path", c_host},    {"windows_path", c_windows},
  {"check_path", c_path},   {"create, reserved", c_reserve},
  {"to raw", c_raw},        {"create, zeros", c_zero},
  {"from raw", c_from_raw},
};
#define CALLS (sizeof calls / sizeof calls[0])

/* ---- with an error, and without ------------------------------------------ */

/* The same from the same files, with the k-th call failing. */
static int run(const struct world *w, size_t call, unsigned k, int errnum,
               struct lvhd_error *err, void (*broken)(void)) {
  int code = 0;
  CHECK(restore());
  if (broken)
    broken();
  turn.seen = 0;
  turn.errnum = errnum;
  turn.at = k;
  code = calls[call].fn(w, err);
  turn.at = 0;
  return code;
}

/* True: the k-th call was there to fail.  The engine believes for a moment
 * what a volume has told it, so that the k-th call may be another one the
 * next time: a difference that stays is none of that. */
static bool both(const struct world *w, size_t call, unsigned k, int errnum,
                 void (*broken)(void)) {
  bool there = false;
  int code = 0, bare = 1;
  for (int i = 0; i < 5 && code != bare; i++) {
    struct lvhd_error err = LVHD_ERROR_INIT;
    code = run(w, call, k, errnum, &err, broken);
    there = turn.seen >= k;
    CHECK(code <= 0 || err.code == code);
    lvhd_error_clear(&err);
    bare = run(w, call, k, errnum, NULL, broken);
  }
  if (!CHECK(code == bare))
    fprintf(stderr, "  %s of %s, call %u, errno %d: %d with, %d without\n",
            calls[call].name, w->leaf, k, errnum, code, bare);
  return there;
}

static void test_faults(const struct world *w, size_t kinds) {
  static const int errnos[] = {EIO, ENOENT, EACCES, EMFILE, EINVAL};
  for (size_t call = 0; call < CALLS; call++)
    for (size_t e = 0; e < kinds; e++)
      for (unsigned k = 1; both(w, call, k, errnos[e], NULL); k++)
        ;
}

static void leaf_copy(void) { spoil(2, 40); }
static void leaf_footer(void) { spoil(2, -400); }
static void leaf_both(void) {
  spoil(2, 40);
  spoil(2, -400);
}
static void leaf_header(void) { spoil(2, 512 + 40); }
static void leaf_table(void) { spoil(2, 6 * 512); }
static void mid_header(void) { spoil(1, 512 + 40); }
static void mid_footer(void) { spoil(1, -400); }
static void mid_short(void) { CHECK(truncate(paths[1], 700) == 0); }
static void leaf_short(void) { CHECK(truncate(paths[2], 700) == 0); }
static void leaf_empty(void) { CHECK(truncate(paths[2], 0) == 0); }
static void mid_gone(void) { unlink(paths[1]); }
static void leaf_gone(void) { unlink(paths[2]); }
static void base_gone(void) { unlink(paths[0]); }
static void base_other(void) {
  CHECK(write_file(paths[0], kept[1].bytes, kept[1].n));
}
static void mid_other(void) {
  CHECK(write_file(paths[1], kept[0].bytes, kept[0].n));
}
static void leaf_folder(void) {
  unlink(paths[2]);
  CHECK(symlink(".", paths[2]) == 0);
}

static void test_broken(const struct world *w) {
  static void (*const broken[])(void) = {
    leaf_copy, leaf_footer, leaf_both, leaf_header, leaf_table, mid_header,
    mid_footer, mid_short, leaf_short, leaf_empty, mid_gone, leaf_gone,
    base_gone, base_other, mid_other, leaf_folder};
  for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
    for (size_t call = 0; call < CALLS; call++)
      both(w, call, 0, 0, broken[i]);
}

static bool exists(const char *path) {
  return access(path, F_OK) == 0;
}

/* Whichever call of whichever thread fails: a new file is there, or the call
 * or its task has failed. */
static void test_everywhere(const struct world *w, int errnum) {
  for (size_t call = 0; call < CALLS; call++) {
    if (strstr(calls[call].name, "c") == calls[call].name ||
        strstr(calls[call].name, "raw") != NULL)
      do {
        int code = 0;
        CHECK(restore());
        task_code = 0;
        all_errnum = errnum;
        atomic_store(&all_seen, 0);
        all_at++;
        code = calls[call].fn(w, NULL);
        if (exists(fresh) && !CHECK(code == 0 && task_code == 0))
          fprintf(stderr, "  %s, call %u, errno %d: %d, %d\n",
                  calls[call].name, all_at, errnum, code, task_code);
      } while (atomic_load(&all_seen) >= all_at);
    all_at = 0;
  }
}

/* ---- again and again ---------------------------------------------------- */

static int sound(const struct world *w, const char *path) {
  const struct lvhd_check_options all = {.chain = true, .data = true};
  const lvhd_infos *infos = NULL;
  lvhd_task *task = NULL;
  int errors = 0;
  if (lvhd_check(w->engine, path, &all, &task, NULL) != 0)
    return -1;
  while (!lvhd_task_step(task, 250, NULL))
    ;
  infos = lvhd_task_infos(task);
  errors = infos ? 0 : -1;
  for (size_t i = 0; infos && i < lvhd_infos_count(infos); i++) {
    const struct lvhd_info *info = lvhd_infos_at(infos, i);
    for (size_t k = 0; k < info->finding_count; k++)
      errors += info->findings[k].severity == LVHD_ERROR;
  }
  lvhd_task_free(task);
  return errors;
}

static int with_fault(const struct world *w, call_fn fn, unsigned at) {
  int code = 0;
  task_code = 0;
  all_errnum = EIO;
  atomic_store(&all_seen, 0);
  all_at = at;
  code = fn(w, NULL);
  all_at = 0;
  return code != 0 ? code : task_code;
}

static int c_shrink(const struct world *w, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  return started(lvhd_resize(w->engine, w->base, 5 * MIB, NULL, &task, err),
                 &task);
}
static int c_damaged(const struct world *w, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  return started(lvhd_repair(w->engine, w->base, NULL, &task, err), &task);
}

/* A verb that fails, and fails once more when it is run again, for which it
 * undoes or goes on with what it finds: the third time it does its work. */
static void test_again(const struct world *w) {
  static const struct {
    call_fn fn;
    size_t file; /* that is looked at */
    bool alone, damaged;
  } rows[] = {{c_compact, 2, false, false},
              {c_relink, 2, false, false},
              {c_shrink, 0, true, false},
              {c_damaged, 0, true, true}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    unsigned first = 0, calls_of_it = 0;
    do {
      first += 2;
      for (unsigned second = first % 5 + 1; second < 70; second += 5) {
        int code = 0;
        CHECK(restore());
        if (rows[i].alone)
          CHECK(unlink(paths[1]) == 0 && unlink(paths[2]) == 0);
        if (rows[i].damaged)
          spoil(0, 40);
        (void)with_fault(w, rows[i].fn, first);
        calls_of_it = atomic_load(&all_seen);
        (void)with_fault(w, rows[i].fn, second);
        code = with_fault(w, rows[i].fn, 0);
        if (!CHECK(code == 0) || !CHECK(sound(w, paths[rows[i].file]) == 0))
          fprintf(stderr, "  row %zu, calls %u and %u: %d\n", i, first,
                  second, code);
      }
    } while (calls_of_it >= first);
  }
}

/* ---- wrong from the start ----------------------------------------------- */

struct wrong {
  const char *image, *parent;
  int64_t size;
  struct lvhd_create_options o;
};

/* What a creation says to it: of a fixed disk, or of a child and of many. */
static void test_wrong_creations(const struct world *w) {
  static char deep[5000];
  const struct wrong rows[] = {
    {fresh, NULL, 0, {0}},
    {fresh, NULL, -1, {0}},
    {fresh, NULL, 3 * MIB + 1, {0}},
    {fresh, NULL, 512, {0}},
    {fresh, NULL, INT64_C(1) << 50, {0}},
    {fresh, NULL, 3 * MIB, {.has_timestamp = true, .timestamp = -1}},
    {fresh, NULL, 3 * MIB, {.has_timestamp = true, .timestamp = INT64_MAX}},
    {fresh, NULL, 3 * MIB, {.has_uuid = true}},
    {fresh, NULL, 3 * MIB, {.has_mode = true, .mode = 0100000}},
    {fresh, NULL, 3 * MIB, {.has_block_size = true, .block_size = 4096}},
    {fresh, NULL, 3 * MIB, {.label = "A"}},
    {fresh, NULL, 3 * MIB, {.filesystem = LVHD_FAT16, .label = "a/b"}},
    {fresh, NULL, 3 * MIB, {.filesystem = LVHD_FAT32}},
    {fresh, paths[0], 0, {.filesystem = LVHD_FAT16}},
    {"", NULL, 3 * MIB, {0}},
    {"relative.vhd", NULL, 3 * MIB, {0}},
    {"relative.vhd", NULL, 3 * MIB, {.base = "base"}},
    {"/nowhere/.", NULL, 3 * MIB, {0}},
    {"/nowhere/..", NULL, 3 * MIB, {0}},
    {"/nowhere/", NULL, 3 * MIB, {0}},
    {"/nowhere/a?b", NULL, 3 * MIB, {0}},
    {"/nowhere/a\0b", NULL, 3 * MIB, {.image_length = 12}},
    {deep, NULL, 3 * MIB, {0}},
    {deep, NULL, 3 * MIB, {.long_paths = LVHD_YES}},
    {fresh, "", 0, {0}},
    {fresh, "relative.vhd", 0, {.base = "base"}},
    {fresh, "/nowhere/a?b", 0, {0}},
    {fresh, "/nowhere/base.vhd", 0, {0}},
    {fresh, deep, 0, {0}},
    {fresh, "/nowhere/a\0b", 0, {.parent_length = 12}},
    {fresh, paths[0], 0, {.windows_parent = "base.vhd"}},
    {fresh, paths[0], 0, {.windows_parent = "C:\\a?b"}},
    {fresh, paths[0], 0, {.has_block_size = true, .block_size = 4096}},
    {paths[2], paths[0], 0, {0}},
    {folder, paths[0], 0, {0}},
    {fresh, folder, 0, {0}},
  };
  memset(deep, 'a', sizeof deep - 1);
  for (size_t i = 0; i < sizeof deep - 1; i += 100)
    deep[i] = '/';
  CHECK(restore());
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const struct wrong *r = &rows[i];
    struct lvhd_error err = LVHD_ERROR_INIT;
    lvhd_task *task = NULL;
    int code = 0, bare = 0;
    code = r->parent ? lvhd_create_differencing(w->engine, r->image,
                                                r->parent, &r->o, &task, &err)
                     : lvhd_create_fixed(w->engine, r->image, r->size, &r->o,
                                         &task, &err);
    bare = r->parent ? lvhd_create_differencing(w->engine, r->image,
                                                r->parent, &r->o, &task, NULL)
                     : lvhd_create_fixed(w->engine, r->image, r->size, &r->o,
                                         &task, NULL);
    if (!CHECK(code != 0 && code == bare && code == err.code))
      fprintf(stderr, "  row %zu: %d with, %d without\n", i, code, bare);
    CHECK(task == NULL && err.op != NULL);
    lvhd_error_clear(&err);
    if (r->parent && r->image == fresh) {
      const struct lvhd_child one = {.image = r->image};
      code = lvhd_create_children(w->engine, &one, 1, r->parent, &r->o, &task,
                                  &err);
      bare = lvhd_create_children(w->engine, &one, 1, r->parent, &r->o, &task,
                                  NULL);
      if (!CHECK(code != 0 && code == bare && code == err.code))
        fprintf(stderr, "  row %zu of many: %d, %d\n", i, code, bare);
      CHECK(task == NULL);
      lvhd_error_clear(&err);
    }
  }
}

static int convert_so(const struct world *w, size_t i, struct lvhd_error *err) {
  const struct lvhd_convert_options rows[] = {
    {.round = 3},
    {.round = -512},
    {.to = LVHD_DIFFERENCING},
    {.parent = paths[0]},
    {.to = LVHD_DIFFERENCING, .parent = "relative.vhd"},
    {.create = {.filesystem = LVHD_FAT16}},
    {.from_raw = true}, /* of no whole sectors, see below */
  };
  const char *source = rows[i].from_raw ? paths[1] : paths[2];
  lvhd_task *task = NULL;
  int code = 0;
  if (rows[i].from_raw)
    CHECK(truncate(paths[1], 1000) == 0);
  code = lvhd_convert(w->engine, source, fresh, &rows[i], &task, err);
  if (code != 0)
    return code;
  wait_for(task);
  return -task_code;
}

static void test_wrong_changes(const struct world *w) {
  const int64_t sizes[] = {0, -512, 513, 512, INT64_C(1) << 50};
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_task *task = NULL;
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    int code = lvhd_resize(w->engine, paths[0], sizes[i], NULL, &task, &err);
    CHECK_INT(lvhd_resize(w->engine, paths[0], sizes[i], NULL, &task, NULL),
              code);
    CHECK(code != 0 && code == err.code);
    lvhd_error_clear(&err);
  }
  for (size_t i = 0; i < 7; i++) {
    int code = 0, bare = 0;
    CHECK(restore());
    code = convert_so(w, i, &err);
    CHECK(restore());
    bare = convert_so(w, i, NULL);
    if (!CHECK(code == bare && code != 0))
      fprintf(stderr, "  row %zu: %d with, %d without\n", i, code, bare);
    lvhd_error_clear(&err);
  }
}

static void test_wrong_paths(const struct world *w) {
  static const char *const rows[] = {
    "", "x", "/", "/a?b", "C:", "C:x", "C:\\a?b", "C:\\a\\", "X:\\a",
    "C:\\nowhere\\a", "\\\\srv\\share\\x", "C:\\leaf.vhd\\x", "C:\\leaf.vhd"};
  CHECK(restore());
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lvhd_error err = LVHD_ERROR_INIT;
    char *one = NULL, *two = NULL;
    CHECK_INT(lvhd_check_path(w->engine, rows[i], 0, NULL),
              lvhd_check_path(w->engine, rows[i], 0, &err));
    lvhd_error_clear(&err);
    CHECK_INT(lvhd_host_path(w->engine, rows[i], &one, NULL),
              lvhd_host_path(w->engine, rows[i], &two, &err));
    CHECK_STR(one, two);
    lvhd_error_clear(&err);
    lvhd_string_free(one);
    lvhd_string_free(two);
    CHECK_INT(lvhd_windows_path(w->engine, rows[i], &one, NULL),
              lvhd_windows_path(w->engine, rows[i], &two, &err));
    CHECK_STR(one, two);
    lvhd_error_clear(&err);
    lvhd_string_free(one);
    lvhd_string_free(two);
  }
}

/* Behind lvhd_disk_finish there is nothing to be had. */
static void test_finished(const struct world *w) {
  const struct lvhd_open_options rw = {.write = true};
  lvhd_disk *disk = NULL;
  CHECK(restore());
  if (!CHECK(lvhd_disk_open(w->engine, &w->leaf, 1, &rw, &disk, NULL) == 0))
    return;
  CHECK_INT(lvhd_disk_write(disk, "abc", 3, 3 * MIB - 2, NULL),
            LVHD_E_INVALIDARG);
  CHECK_INT(lvhd_disk_write(disk, "abc", 0, 3 * MIB, NULL), 0);
  CHECK_INT(lvhd_disk_write(disk, "abc", 3, 1000, NULL), 0);
  CHECK_INT(lvhd_disk_finish(disk, NULL), 0);
  CHECK(lvhd_disk_write(disk, "abc", 3, 1000, NULL) != 0);
  CHECK_INT(lvhd_disk_finish(disk, NULL), 0);
  lvhd_disk_close(disk);
}

/* Beyond the end of a disk, and backwards, there is nothing. */
static void test_extents(const struct world *w) {
  const struct {
    uint64_t from, to, length;
  } rows[] = {
    {0, 512, 512},           {1 << 20, UINT64_MAX, 2 << 20},
    {512, 512, 0},
    {1024, 512, 0},          {3 << 20, UINT64_MAX, 0}, {4 << 20, 5 << 20, 0},
    {UINT64_MAX - 511, UINT64_MAX, 0}};
  lvhd_disk *disk = NULL;
  CHECK(restore());
  if (!CHECK(lvhd_disk_open(w->engine, &w->leaf, 1, NULL, &disk, NULL) == 0))
    return;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lvhd_extent e = {1, 1, 1};
    CHECK_INT(lvhd_disk_extent(disk, rows[i].from, rows[i].to, &e, NULL), 0);
    CHECK_INT(e.length, rows[i].length);
    CHECK_INT(e.layer, 0);
  }
  lvhd_disk_close(disk);
}

/* A signal that ends a system call early, in whatever thread, changes nothing:
 * the k-th for every k. */
static void test_signals(const struct world *w) {
  for (size_t call = 0; call < CALLS; call++) {
    int code = 0, wanted = 0;
    CHECK(restore());
    task_code = 0;
    code = calls[call].fn(w, NULL);
    wanted = task_code;
    do {
      CHECK(restore());
      task_code = 0;
      signal_at++;
      atomic_store(&signals_seen, 0);
      if (!CHECK(calls[call].fn(w, NULL) == code) ||
          !CHECK(task_code == wanted))
        fprintf(stderr, "  %s of %s, call %u: %d, wanted %d\n",
                calls[call].name, w->leaf, signal_at, task_code, wanted);
    } while (atomic_load(&signals_seen) >= signal_at);
    signal_at = 0;
  }
}

/* A chain that is changed between the look and the lock is opened again, twice;
 * then the call gives up. */
static void test_changed_meanwhile(const struct world *w) {
  const struct lvhd_open_options options[] = {{0}, {.write = true}};
  for (unsigned i = 0; i < 2 * 2 * 2; i++) {
    const struct lvhd_open_options *opts = &options[i & 1];
    struct lvhd_error err = LVHD_ERROR_INIT;
    lvhd_disk *disk = NULL;
    size_t which = (i & 2) != 0 ? 1 : 2; /* the parent, or the leaf */
    struct lvhd_error *where = (i & 4) != 0 ? &err : NULL;
    int code = 0;
    CHECK(restore());
    snprintf(meddled, sizeof meddled, "%s", paths[which]);
    meddle = 1;
    CHECK_INT(lvhd_disk_open(w->engine, &w->leaf, 1, opts, &disk, where), 0);
    CHECK(disk != NULL);
    lvhd_disk_close(disk);
    disk = NULL;
    meddle = 1000;
    code = lvhd_disk_open(w->engine, &w->leaf, 1, opts, &disk, where);
    CHECK(meddle < 1000);
    /* The file to be written is looked at once more behind its lock. */
    CHECK_INT(code, opts->write && which == 2 ? 0 : LVHD_E_SHARING_VIOLATION);
    if (where && code != 0) {
      CHECK_STR(lvhd_reason_name(err.reason), "SOURCE_CHANGED");
      CHECK_STR(err.op, "open");
    }
    lvhd_disk_close(disk);
    meddle = 0;
    lvhd_error_clear(&err);
  }
}

int main(void) {
  const char *tmp = getenv("TMPDIR");
  struct trouble t;
  struct lvhd_drive drive = {"C", folder};
  struct lvhd_engine_options opts = {.sync = LVHD_SYNC_NONE, .threads = 1,
                                     .system = &t.sys};
  struct world host = {NULL, paths[2], fresh, paths[0]};
  struct world windows = {NULL, "C:\\leaf.vhd", "C:\\Fresh.vhd",
                          "C:\\BASE.VHD"};
  trouble_begin(&t);
  t.due = due;
  snprintf(folder, sizeof folder, "%.200s/lvhd-XXXXXX", tmp ? tmp : "/tmp");
  if (mkdtemp(folder) == NULL ||
      lvhd_engine_new(&host.engine, &opts, NULL) != 0)
    return 1;
  opts.drives = &drive;
  opts.drive_count = 1;
  if (lvhd_engine_new(&windows.engine, &opts, NULL) != 0)
    return 1;
  for (size_t i = 0; i < FILES; i++)
    snprintf(paths[i], sizeof paths[i], "%s/%s", folder, names[i]);
  snprintf(fresh, sizeof fresh, "%s/Fresh.vhd", folder);
  if (CHECK(make_files(host.engine))) {
    test_faults(&host, 5);
    test_broken(&host);
    test_signals(&host);
    test_everywhere(&host, EIO);
    test_everywhere(&host, EOPNOTSUPP);
    test_wrong_creations(&host);
    test_wrong_creations(&windows);
    test_wrong_changes(&host);
    test_wrong_paths(&host);
    test_wrong_paths(&windows);
    test_extents(&host);
    test_finished(&host);
    test_again(&host);
    test_changed_meanwhile(&host);
    test_faults(&windows, 2);
    test_broken(&windows);
    test_signals(&windows);
  }
  lvhd_engine_free(host.engine, false);
  lvhd_engine_free(windows.engine, false);
  unlink(fresh);
  for (size_t i = 0; i < FILES; i++) {
    unlink(paths[i]);
    free(kept[i].bytes);
  }
  CHECK(rmdir(folder) == 0);
  return check_done();
}
