/* SPDX-License-Identifier: MIT
 *
 * What lvhd.h promises of all its functions at once: options and errors may be
 * NULL, a value that no enum has is refused, so is a call after the end and in
 * a forked child, and what the system refuses (threads, descriptors, pages) is
 * an error, or no harm.  What the calls do with disks is the specs' affair.
 *
 * The linker leads the calls named in the Makefile (WRAP) through here.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "lvhd.h"

#define MIB (INT64_C(1) << 20)

/* ---- a system that says no -------------------------------------------- */

/* Of each: how many of the next calls fail; of processors, how many there
 * are (0: as it is). */
static struct {
  atomic_int thread, cond, mutex, attr, madvise, mmap, read, write, realloc;
  atomic_long processors;
} no;

static bool refused(atomic_int *left) {
  int n = atomic_load(left);
  while (n > 0 && !atomic_compare_exchange_weak(left, &n, n - 1))
    ;
  return n > 0;
}

int __real_pthread_create(pthread_t *, const pthread_attr_t *,
                          void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *,
                          void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attr,
                          void *(*fn)(void *), void *arg) {
  return refused(&no.thread) ? EAGAIN
                             : __real_pthread_create(out, attr, fn, arg);
}

int __real_pthread_cond_init(pthread_cond_t *, const pthread_condattr_t *);
int __wrap_pthread_cond_init(pthread_cond_t *, const pthread_condattr_t *);
int __wrap_pthread_cond_init(pthread_cond_t *c, const pthread_condattr_t *a) {
  return refused(&no.cond) ? EAGAIN : __real_pthread_cond_init(c, a);
}

int __real_pthread_mutex_init(pthread_mutex_t *, const pthread_mutexattr_t *);
int __wrap_pthread_mutex_init(pthread_mutex_t *, const pthread_mutexattr_t *);
int __wrap_pthread_mutex_init(pthread_mutex_t *m,
                              const pthread_mutexattr_t *a) {
  return refused(&no.mutex) ? EAGAIN : __real_pthread_mutex_init(m, a);
}

int __real_pthread_mutexattr_init(pthread_mutexattr_t *);
int __wrap_pthread_mutexattr_init(pthread_mutexattr_t *);
int __wrap_pthread_mutexattr_init(pthread_mutexattr_t *a) {
  return refused(&no.attr) ? ENOMEM : __real_pthread_mutexattr_init(a);
}

int __real_madvise(void *, size_t, int);
int __wrap_madvise(void *, size_t, int);
int __wrap_madvise(void *page, size_t n, int advice) {
  if (refused(&no.madvise)) {
    errno = EINVAL; /* a kernel before 4.14 */
    return -1;
  }
  return __real_madvise(page, n, advice);
}

void *__real_mmap(void *, size_t, int, int, int, off_t);
void *__wrap_mmap(void *, size_t, int, int, int, off_t);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t off) {
  if (refused(&no.mmap)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return __real_mmap(at, n, prot, flags, fd, off);
}

ssize_t __real_read(int, void *, size_t);
ssize_t __wrap_read(int, void *, size_t);
ssize_t __wrap_read(int fd, void *buf, size_t n) {
  if (refused(&no.read)) {
    errno = EINTR;
    return -1;
  }
  return __real_read(fd, buf, n);
}

ssize_t __real_write(int, const void *, size_t);
ssize_t __wrap_write(int, const void *, size_t);
ssize_t __wrap_write(int fd, const void *buf, size_t n) {
  if (refused(&no.write)) {
    errno = EINTR;
    return -1;
  }
  return __real_write(fd, buf, n);
}

void *__real_realloc(void *, size_t);
void *__wrap_realloc(void *, size_t);
void *__wrap_realloc(void *old, size_t n) {
  return refused(&no.realloc) ? NULL : __real_realloc(old, n);
}

long __real_sysconf(int);
long __wrap_sysconf(int);
long __wrap_sysconf(int name) {
  return name == _SC_NPROCESSORS_ONLN && no.processors != 0
           ? no.processors
           : __real_sysconf(name);
}

/* ---- the calls -------------------------------------------------------- */

static char folder[256];
static char base[300], child[300], alone[300], none[300], fresh[300];

/* NULL for options means defaults: a call without them, and the error given
 * or not.  A task that begins is freed at once. */
typedef int (*call_fn)(lvhd_engine *, lvhd_task **, struct lvhd_error *);

static int c_fixed(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  return lvhd_create_fixed(e, none, 3 * MIB, NULL, t, err);
}
static int c_dynamic(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  return lvhd_create_dynamic(e, none, 3 * MIB, NULL, t, err);
}
static int c_diff(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  return lvhd_create_differencing(e, none, base, NULL, t, err);
}
static int c_many(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  struct lvhd_child one = {.image = none};
  return lvhd_create_children(e, &one, 1, base, NULL, t, err);
}
static int c_check(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  return lvhd_check(e, child, NULL, t, err);
}
static int c_find(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  const char *one = folder;
  return lvhd_find(e, &one, 1, t, err);
}
static int c_children(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  const char *one = folder;
  return lvhd_children(e, base, &one, 1, t, err);
}
static int c_convert(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  return lvhd_convert(e, child, none, NULL, t, err);
}
static int c_merge(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  return lvhd_merge(e, child, NULL, t, err);
}
static int c_compact(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  return lvhd_compact(e, child, NULL, t, err);
}
static int c_resize(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  return lvhd_resize(e, alone, 4 * MIB, NULL, t, err);
}
static int c_relink(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  return lvhd_relink(e, child, base, NULL, t, err);
}
static int c_repair(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  return lvhd_repair(e, alone, NULL, t, err);
}

static int c_info(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  lvhd_infos *infos = NULL;
  int code = lvhd_read_info(e, child, &infos, err);
  (void)t;
  lvhd_infos_free(infos);
  return code;
}
static int c_chain(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  lvhd_infos *infos = NULL;
  int code = lvhd_read_chain(e, child, NULL, &infos, err);
  (void)t;
  if (code == 0) {
    CHECK_INT(lvhd_infos_count(infos), 2);
    CHECK(lvhd_infos_at(infos, 1) != NULL);
    CHECK(lvhd_infos_at(infos, 2) == NULL);
  }
  lvhd_infos_free(infos);
  return code;
}
static int c_open(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  const char *one = child;
  lvhd_disk *disk = NULL;
  int code = lvhd_disk_open(e, &one, 1, NULL, &disk, err);
  (void)t;
  lvhd_disk_close(disk);
  return code;
}
static int c_path(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  (void)t;
  return lvhd_check_path(e, base, 0, err);
}
static int c_windows(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  char *text = NULL;
  int code = lvhd_windows_path(e, base, &text, err);
  (void)t;
  CHECK(text == NULL); /* no drive is mapped */
  lvhd_string_free(text);
  return code;
}
static int c_waiter(lvhd_engine *e, lvhd_task **t, struct lvhd_error *err) {
  lvhd_waiter *waiter = NULL;
  int code = lvhd_waiter_new(e, &waiter, err);
  (void)t;
  lvhd_waiter_free(waiter);
  return code;
}

/* In this order each can do its work on the files of the one before.  op: of
 * the error; stops: not after the end of the engine. */
static const struct {
  const char *op;
  call_fn fn;
  bool stops;
  bool makes; /* the file `none` */
} calls[] = {
  {"info", c_info, true, false},
  {"chain", c_chain, true, false},
  {"open", c_open, true, false},
  {"check_path", c_path, true, false},
  {"windows_path", c_windows, true, false},
  {NULL, c_waiter, false, false},
  {"check", c_check, true, false},
  {"find", c_find, true, false},
  {"children", c_children, true, false},
  {"create_fixed", c_fixed, true, true},
  {"create_dynamic", c_dynamic, true, true},
  {"create_differencing", c_diff, true, true},
  {"create_children", c_many, true, true},
  {"convert", c_convert, true, true},
  {"relink", c_relink, true, false},
  {"compact", c_compact, true, false},
  {"repair", c_repair, true, false},
  {"merge", c_merge, true, false},
  {"resize", c_resize, true, false},
};
#define CALLS (sizeof calls / sizeof calls[0])

static enum lvhd_status wait_for(lvhd_task *task) {
  enum lvhd_status status = LVHD_QUEUED;
  while (!lvhd_task_step(task, 250, NULL))
    ;
  status = lvhd_task_status(task);
  if (status == LVHD_FAILED) {
    char text[200];
    lvhd_error_text(lvhd_task_error(task), text, sizeof text);
    fprintf(stderr, "%s: %s\n", lvhd_task_verb(task), text);
  }
  lvhd_task_free(task);
  return status;
}

static bool make_disks(lvhd_engine *engine) {
  lvhd_task *task = NULL;
  unlink(base);
  unlink(child);
  unlink(alone);
  return lvhd_create_dynamic(engine, base, 3 * MIB, NULL, &task, NULL) == 0 &&
         wait_for(task) == LVHD_SUCCEEDED &&
         lvhd_create_dynamic(engine, alone, 3 * MIB, NULL, &task, NULL) ==
           0 &&
         wait_for(task) == LVHD_SUCCEEDED &&
         lvhd_create_differencing(engine, child, base, NULL, &task, NULL) ==
           0 &&
         wait_for(task) == LVHD_SUCCEEDED;
}

/* ---- what may be NULL ------------------------------------------------- */

static void test_no_options(lvhd_engine *engine) {
  if (!CHECK(make_disks(engine)))
    return;
  for (size_t i = 0; i < CALLS; i++) {
    lvhd_task *task = NULL;
    if (!CHECK(calls[i].fn(engine, &task, NULL) == 0))
      fprintf(stderr, "  %s\n", calls[i].op);
    if (task)
      CHECK_INT(wait_for(task), LVHD_SUCCEEDED);
    if (calls[i].makes)
      CHECK_INT(unlink(none), 0);
  }
}

static void test_free_nothing(void) {
  lvhd_engine_free(NULL, true);
  lvhd_task_free(NULL);
  lvhd_disk_close(NULL);
  lvhd_infos_free(NULL);
  lvhd_waiter_free(NULL);
  lvhd_string_free(NULL);
  CHECK(true); /* it came here */
}

/* Each path that a call has, as NULL: the code, and *out as NULL, with an
 * error and without. */
static void test_no_path(lvhd_engine *e, struct lvhd_error *err) {
  const char *nothing = NULL;
  const char *half[2] = {folder, NULL};
  lvhd_task *task = (lvhd_task *)(void *)folder;
  lvhd_infos *infos = (lvhd_infos *)(void *)folder;
  lvhd_disk *disk = (lvhd_disk *)(void *)folder;
  char *text = folder;
#define REFUSED(call, out)                                                   \
  do {                                                                       \
    CHECK_INT((call), LVHD_E_POINTER);                                       \
    CHECK((out) == NULL);                                                    \
    (out) = (void *)folder;                                                  \
  } while (0)
  REFUSED(lvhd_create_fixed(e, NULL, 3 * MIB, NULL, &task, err), task);
  REFUSED(lvhd_create_dynamic(e, NULL, 3 * MIB, NULL, &task, err), task);
  REFUSED(lvhd_create_differencing(e, NULL, base, NULL, &task, err), task);
  REFUSED(lvhd_create_differencing(e, none, NULL, NULL, &task, err), task);
  REFUSED(lvhd_create_children(e, NULL, 0, NULL, NULL, &task, err), task);
  REFUSED(lvhd_check(e, NULL, NULL, &task, err), task);
  REFUSED(lvhd_find(e, &nothing, 1, &task, err), task);
  REFUSED(lvhd_find(e, half, 2, &task, err), task);
  REFUSED(lvhd_children(e, NULL, half, 1, &task, err), task);
  REFUSED(lvhd_convert(e, NULL, none, NULL, &task, err), task);
  REFUSED(lvhd_convert(e, base, NULL, NULL, &task, err), task);
  REFUSED(lvhd_merge(e, NULL, NULL, &task, err), task);
  REFUSED(lvhd_compact(e, NULL, NULL, &task, err), task);
  REFUSED(lvhd_resize(e, NULL, 4 * MIB, NULL, &task, err), task);
  REFUSED(lvhd_relink(e, NULL, base, NULL, &task, err), task);
  REFUSED(lvhd_relink(e, child, NULL, NULL, &task, err), task);
  REFUSED(lvhd_repair(e, NULL, NULL, &task, err), task);
  REFUSED(lvhd_read_info(e, NULL, &infos, err), infos);
  REFUSED(lvhd_read_chain(e, NULL, NULL, &infos, err), infos);
  REFUSED(lvhd_disk_open(e, &nothing, 1, NULL, &disk, err), disk);
  REFUSED(lvhd_disk_open(e, &nothing, 0, NULL, &disk, err), disk);
  REFUSED(lvhd_windows_path(e, NULL, &text, err), text);
  REFUSED(lvhd_host_path(e, NULL, &text, err), text);
#undef REFUSED
  CHECK_INT(lvhd_check_path(e, NULL, 0, err), LVHD_E_POINTER);
}

/* ---- values that no enum has ------------------------------------------ */

static void test_engine_values(void) {
  const struct lvhd_engine_options bad[] = {
    {.sync = (enum lvhd_sync)(LVHD_SYNC_NONE + 1)},
    {.long_paths = (enum lvhd_choice)(LVHD_NO + 1)},
    {.host_names = (enum lvhd_choice)(LVHD_NO + 1)},
    {.preflight = (enum lvhd_choice)(LVHD_NO + 1)},
    {.max_depth = 1025},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct lvhd_error err = LVHD_ERROR_INIT;
    lvhd_engine *engine = NULL;
    CHECK_INT(lvhd_engine_new(&engine, &bad[i], &err), LVHD_E_INVALIDARG);
    CHECK_INT(lvhd_engine_new(&engine, &bad[i], NULL), LVHD_E_INVALIDARG);
    CHECK_STR(lvhd_reason_name(err.reason),
              i < 4 ? "OPTION_UNKNOWN" : "DEPTH_LIMIT");
    CHECK(engine == NULL);
    lvhd_error_clear(&err);
  }
}

/* The base is looked at when the drives are known; nothing of the engine is
 * left. */
static void test_engine_base(void) {
  const struct lvhd_engine_options bad = {.base = "vms"};
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_engine *engine = NULL;
  CHECK_INT(lvhd_engine_new(&engine, &bad, NULL), LVHD_E_BAD_PATHNAME);
  CHECK_INT(lvhd_engine_new(&engine, &bad, &err), LVHD_E_BAD_PATHNAME);
  CHECK_STR(err.op, "engine");
  CHECK_STR(err.path, "vms");
  CHECK(engine == NULL);
  lvhd_error_clear(&err);
}

static void test_create_values(lvhd_engine *e, struct lvhd_error *err) {
  const struct lvhd_create_options bad[] = {
    {.sync = (enum lvhd_sync)(LVHD_SYNC_NONE + 1)},
    {.long_paths = (enum lvhd_choice)(LVHD_NO + 1)},
    {.host_names = (enum lvhd_choice)(LVHD_NO + 1)},
    {.preflight = (enum lvhd_choice)(LVHD_NO + 1)},
    {.allocate = (enum lvhd_allocate)(LVHD_ZERO + 1)},
    {.filesystem = (enum lvhd_filesystem)(LVHD_FAT32 + 1)},
  };
  const struct lvhd_child one = {.image = none};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    const struct lvhd_convert_options both = {.create = bad[i]};
    lvhd_task *task = NULL;
    CHECK_INT(lvhd_create_fixed(e, none, 3 * MIB, &bad[i], &task, err),
              LVHD_E_INVALIDARG);
    CHECK_INT(lvhd_create_children(e, &one, 1, base, &bad[i], &task, err),
              LVHD_E_INVALIDARG);
    CHECK_INT(lvhd_convert(e, base, none, &both, &task, err),
              LVHD_E_INVALIDARG);
    CHECK(task == NULL);
  }
  CHECK(access(none, F_OK) != 0);
}

static void test_open_values(lvhd_engine *e, struct lvhd_error *err) {
  const struct lvhd_open_options bad[] = {
    {.sync = (enum lvhd_sync)(LVHD_SYNC_NONE + 1)}, {.max_depth = 1025}};
  const struct lvhd_check_options profile = {
    .profile = (enum lvhd_profile)(LVHD_PROFILE_7ZIP + 1)};
  const struct lvhd_convert_options type = {
    .to = (enum lvhd_type)(LVHD_DIFFERENCING + 1)};
  const char *one = base;
  lvhd_task *task = NULL;
  lvhd_infos *infos = NULL;
  lvhd_disk *disk = NULL;
  for (size_t i = 0; i < 2; i++) {
    const struct lvhd_open_options *o = &bad[i];
    const struct lvhd_check_options check = {.open = *o};
    const struct lvhd_convert_options convert = {.open = *o};
    const struct lvhd_merge_options merge = {.open = *o};
    const int codes[] = {
      lvhd_read_chain(e, base, o, &infos, err),
      lvhd_disk_open(e, &one, 1, o, &disk, err),
      lvhd_check(e, base, &check, &task, err),
      lvhd_convert(e, base, none, &convert, &task, err),
      lvhd_merge(e, child, &merge, &task, err),
      lvhd_compact(e, base, o, &task, err),
      lvhd_resize(e, base, 4 * MIB, o, &task, err),
      lvhd_relink(e, child, base, o, &task, err),
      lvhd_repair(e, base, o, &task, err),
    };
    for (size_t k = 0; k < sizeof codes / sizeof codes[0]; k++)
      CHECK_INT(codes[k], LVHD_E_INVALIDARG);
  }
  CHECK_INT(lvhd_check(e, base, &profile, &task, err), LVHD_E_INVALIDARG);
  CHECK_INT(lvhd_convert(e, base, none, &type, &task, err),
            LVHD_E_INVALIDARG);
  CHECK(task == NULL && infos == NULL && disk == NULL);
}

/* ---- after the end ---------------------------------------------------- */

static void test_stopped(void) {
  lvhd_engine *engine = NULL;
  lvhd_task *task = NULL;
  if (!CHECK(lvhd_engine_new(&engine, NULL, NULL) == 0) ||
      !CHECK(make_disks(engine)))
    return;
  lvhd_engine_stop(engine, LVHD_STOP_FINISH);
  for (size_t i = 0; i < CALLS; i++) {
    struct lvhd_error err = LVHD_ERROR_INIT;
    int want = calls[i].stops ? LVHD_VM_E_APP_SHUTTING_DOWN : 0;
    CHECK_INT(calls[i].fn(engine, &task, &err), want);
    CHECK_INT(calls[i].fn(engine, &task, NULL), want);
    CHECK_INT(err.code, want);
    CHECK_STR(err.op, want != 0 ? calls[i].op : NULL);
    CHECK(task == NULL);
    lvhd_error_clear(&err);
  }
  lvhd_engine_free(engine, false);
}

/* ---- in a forked child ------------------------------------------------ */

/* What the child gets to see of its parent. */
struct inherited {
  lvhd_engine *engine;
  lvhd_task *done, *running;
  lvhd_waiter *waiter;
  lvhd_disk *disk;
};

static void calls_in_child(struct inherited *in) {
  lvhd_task *task = NULL;
  for (size_t i = 0; i < CALLS; i++) {
    struct lvhd_error err = LVHD_ERROR_INIT;
    CHECK_INT(calls[i].fn(in->engine, &task, &err), LVHD_E_HANDLE);
    CHECK_INT(calls[i].fn(in->engine, &task, NULL), LVHD_E_HANDLE);
    CHECK_INT(err.code, LVHD_E_HANDLE);
    CHECK(task == NULL);
    lvhd_error_clear(&err);
  }
  CHECK_INT(lvhd_engine_fd(in->engine, NULL), -1);
  CHECK_INT(lvhd_task_fd(in->done, NULL), -1);
  CHECK_INT(lvhd_engine_fd_at(in->engine, 0), -1);
}

static void engine_in_child(lvhd_engine *engine) {
  struct lvhd_engine_counts counts = {1, 1, 1};
  CHECK(lvhd_engine_forked(engine));
  CHECK(lvhd_engine_idle(engine, 10000));
  CHECK(lvhd_engine_ended_step(engine, 10000));
  lvhd_engine_collect(engine);
  CHECK(lvhd_engine_ended(engine) == NULL);
  CHECK_INT(lvhd_engine_ended_count(engine), 0);
  CHECK(lvhd_engine_lost(engine) == NULL);
  lvhd_engine_counts(engine, &counts);
  CHECK_INT(counts.live + counts.tasks + counts.threads, 0);
  lvhd_engine_stop(engine, LVHD_STOP_CANCEL);
}

static void tasks_in_child(struct inherited *in) {
  struct lvhd_extent extent;
  lvhd_infos *infos = NULL;
  char byte = 0;
  size_t got = 0;
  CHECK(lvhd_task_forked(in->running));
  CHECK(lvhd_task_step(in->running, 10000, NULL));
  CHECK(!lvhd_task_cancel(in->running));
  CHECK(!lvhd_task_leave(in->running));
  CHECK(!lvhd_task_kept(in->running));
  CHECK_INT(lvhd_task_error(in->running)->code, LVHD_E_HANDLE);
  CHECK(lvhd_task_error(in->done) == NULL);
  CHECK(lvhd_task_info(in->done) != NULL);
  CHECK(lvhd_waiter_attach(in->waiter, in->running));
  CHECK(lvhd_waiter_attach_ended(in->waiter));
  lvhd_waiter_detach(in->waiter);
  CHECK_INT(lvhd_disk_write(in->disk, "x", 1, 0, NULL), LVHD_E_HANDLE);
  CHECK_INT(lvhd_disk_flush(in->disk, NULL), LVHD_E_HANDLE);
  CHECK_INT(lvhd_disk_chain(in->disk, &infos, NULL), LVHD_E_HANDLE);
  CHECK_INT(lvhd_disk_read(in->disk, &byte, 1, 0, &got, NULL), 0);
  CHECK_INT(lvhd_disk_extent(in->disk, 0, 512, &extent, NULL), 0);
  CHECK_INT(lvhd_disk_finish(in->disk, NULL), 0); /* it is the parent's */
}

static int in_child(struct inherited *in) {
  alarm(30);
  check_passed = check_failed = 0;
  calls_in_child(in);
  engine_in_child(in->engine);
  tasks_in_child(in);
  lvhd_waiter_free(in->waiter);
  lvhd_task_free(in->done);
  lvhd_task_free(in->running);
  lvhd_disk_close(in->disk);
  lvhd_engine_free(in->engine, false);
  return check_failed == 0 && check_passed > 0 ? 0 : 1;
}

static void test_fork(lvhd_engine *engine) {
  struct lvhd_open_options rw = {.write = true};
  struct inherited in = {.engine = engine};
  const char *one = alone;
  int status = -1;
  pid_t pid = -1;
  if (!CHECK(make_disks(engine)))
    return;
  CHECK_INT(lvhd_repair(engine, alone, NULL, &in.done, NULL), 0);
  while (!lvhd_task_step(in.done, 250, NULL))
    ;
  CHECK_INT(lvhd_create_fixed(engine, none, 64 * MIB,
                              &(struct lvhd_create_options){
                                .allocate = LVHD_ZERO},
                              &in.running, NULL),
            0);
  CHECK_INT(lvhd_waiter_new(engine, &in.waiter, NULL), 0);
  CHECK_INT(lvhd_disk_open(engine, &one, 1, &rw, &in.disk, NULL), 0);
  fflush(NULL);
  pid = fork();
  if (pid == 0)
    _exit(in_child(&in));
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
  CHECK_INT(status, 0);
  CHECK(!lvhd_engine_forked(engine));
  CHECK_INT(lvhd_disk_write(in.disk, "x", 1, 0, NULL), 0);
  lvhd_disk_close(in.disk);
  lvhd_waiter_free(in.waiter);
  lvhd_task_free(in.done);
  CHECK_INT(wait_for(in.running), LVHD_SUCCEEDED);
  CHECK_INT(unlink(none), 0);
}

/* ---- what the system refuses ------------------------------------------ */

/* A task that fails at once, and makes nothing. */
static int doomed(lvhd_engine *engine, lvhd_task **task,
                  struct lvhd_error *err) {
  const struct lvhd_create_options opts = {.preflight = LVHD_NO};
  return lvhd_create_differencing(engine, fresh, none, &opts, task, err);
}

static void test_no_thread(void) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_engine *engine = NULL;
  lvhd_task *task = NULL;
  if (!CHECK(lvhd_engine_new(&engine, NULL, NULL) == 0))
    return;
  no.thread = 2;
  CHECK_INT(doomed(engine, &task, &err), LVHD_VM_E_OUT_OF_RESOURCE);
  CHECK_INT(doomed(engine, &task, NULL), LVHD_VM_E_OUT_OF_RESOURCE);
  CHECK(task == NULL);
  CHECK_INT(err.errnum, EAGAIN);
  CHECK_STR(err.syscall, "pthread_create");
  CHECK_STR(err.op, "create_differencing");
  CHECK_STR(err.path, fresh);
  lvhd_error_clear(&err);
  /* The next one gets it, and is then enough for many. */
  for (int i = 0; i < 20; i++) {
    CHECK_INT(doomed(engine, &task, NULL), 0);
    no.thread = 1000;
    lvhd_task_free(task);
  }
  while (!lvhd_engine_idle(engine, 250))
    ;
  memset(&no, 0, sizeof no);
  lvhd_engine_free(engine, false);
}

/* Two parts of one engine that cannot be had. */
static void test_no_locks(void) {
  atomic_int *which[] = {&no.attr, &no.mutex, &no.cond};
  for (size_t i = 0; i < 3; i++) {
    struct lvhd_error err = LVHD_ERROR_INIT;
    lvhd_engine *engine = NULL;
    *which[i] = 2;
    CHECK_INT(lvhd_engine_new(&engine, NULL, &err),
              LVHD_VM_E_OUT_OF_RESOURCE);
    CHECK_INT(lvhd_engine_new(&engine, NULL, NULL),
              LVHD_VM_E_OUT_OF_RESOURCE);
    CHECK_INT(*which[i], 0);
    CHECK(engine == NULL);
    CHECK_STR(err.op, "engine");
    lvhd_error_clear(&err);
  }
}

/* A task of many images that cannot share them out fails as a whole, and has
 * no item before it has ended. */
static void test_no_spread(lvhd_engine *engine) {
  const struct lvhd_child two[] = {{.image = none}, {.image = fresh}};
  lvhd_task *task = NULL;
  no.cond = 1;
  CHECK_INT(lvhd_create_children(engine, two, 2, base, NULL, &task, NULL), 0);
  while (!lvhd_task_step(task, 250, NULL))
    ;
  CHECK_INT(no.cond, 0);
  CHECK(lvhd_task_status(task) == LVHD_FAILED);
  CHECK_INT(lvhd_task_peek(task)->code, LVHD_VM_E_OUT_OF_RESOURCE);
  lvhd_task_free(task);
  CHECK(access(none, F_OK) != 0 && access(fresh, F_OK) != 0);
}

/* Nor does a conversion whose pieces cannot have an order. */
static void test_no_turns(lvhd_engine *engine) {
  atomic_int *which[] = {&no.mutex, &no.cond};
  for (size_t i = 0; i < 2; i++) {
    lvhd_task *task = NULL;
    *which[i] = 1;
    CHECK_INT(lvhd_convert(engine, base, none, NULL, &task, NULL), 0);
    while (!lvhd_task_step(task, 250, NULL))
      ;
    CHECK_INT(*which[i], 0);
    CHECK(lvhd_task_status(task) == LVHD_FAILED);
    CHECK_INT(lvhd_task_peek(task)->code, LVHD_VM_E_OUT_OF_RESOURCE);
    lvhd_task_free(task);
    CHECK(access(none, F_OK) != 0);
  }
}

static void test_items_before_the_end(void) {
  const struct lvhd_engine_options one = {.threads = 1};
  const struct lvhd_create_options zero = {.allocate = LVHD_ZERO};
  const struct lvhd_child child_of = {.image = fresh};
  lvhd_engine *engine = NULL;
  lvhd_task *first = NULL, *second = NULL;
  lvhd_waiter *waiter = NULL;
  if (!CHECK(lvhd_engine_new(&engine, &one, NULL) == 0))
    return;
  CHECK_INT(lvhd_waiter_new(engine, &waiter, NULL), 0);
  CHECK(lvhd_waiter_attach(waiter, NULL)); /* it is idle */
  lvhd_engine_collect(engine);
  CHECK_INT(lvhd_create_fixed(engine, none, 256 * MIB, &zero, &first, NULL),
            0);
  CHECK_INT(lvhd_create_children(engine, &child_of, 1, base, NULL, &second,
                                 NULL),
            0);
  CHECK(!lvhd_engine_ended_step(engine, 0));
  CHECK(!lvhd_engine_ended_step(engine, 1));
  CHECK(!lvhd_waiter_attach(waiter, NULL));
  CHECK(lvhd_task_has_items(second));
  CHECK_INT(lvhd_task_item_count(second), 0);
  CHECK(lvhd_task_item_info(second, 0) == NULL);
  CHECK(lvhd_task_item_error(second, 0) == NULL);
  CHECK(lvhd_task_cancel(first));
  while (!lvhd_task_step(second, 250, NULL))
    ;
  CHECK_INT(lvhd_task_item_count(second), 1);
  lvhd_task_free(first);
  lvhd_task_free(second);
  lvhd_waiter_free(waiter);
  lvhd_engine_free(engine, false);
  unlink(none);
  CHECK_INT(unlink(fresh), 0);
}

/* Of no folders nothing is found. */
static void test_find_nothing(lvhd_engine *engine) {
  lvhd_task *task = NULL;
  CHECK_INT(lvhd_find(engine, NULL, 0, &task, NULL), 0);
  while (!lvhd_task_step(task, 250, NULL))
    ;
  CHECK_STR(lvhd_task_path(task), "");
  CHECK(lvhd_task_status(task) == LVHD_SUCCEEDED);
  if (CHECK(lvhd_task_infos(task) != NULL))
    CHECK_INT(lvhd_infos_count(lvhd_task_infos(task)), 0);
  lvhd_task_free(task);
}

/* Where the kernel cannot clear a page in a child, the process is asked for:
 * the promise is the same. */
static void test_no_page(atomic_int *which) {
  lvhd_engine *engine = NULL;
  *which = 1;
  if (!CHECK(lvhd_engine_new(&engine, NULL, NULL) == 0))
    return;
  CHECK_INT(*which, 0);
  test_fork(engine);
  lvhd_engine_free(engine, false);
}

/* As many threads as there are processors, at most four. */
static void test_processors(void) {
  const struct {
    long processors;
    size_t threads;
  } rows[] = {{-1, 1}, {1, 1}, {3, 3}, {64, 4}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lvhd_engine_counts counts;
    lvhd_engine *engine = NULL;
    lvhd_task *task = NULL;
    no.processors = rows[i].processors;
    if (!CHECK(lvhd_engine_new(&engine, NULL, NULL) == 0))
      return;
    no.processors = 0;
    for (int k = 0; k < 200; k++) {
      CHECK_INT(doomed(engine, &task, NULL), 0);
      lvhd_task_free(task);
    }
    lvhd_engine_counts(engine, &counts);
    CHECK(counts.threads >= 1 && counts.threads <= rows[i].threads);
    lvhd_engine_free(engine, false);
  }
}

/* Descriptors run out: each call that makes one says so, and those that have
 * theirs go on. */
static void test_no_descriptor(lvhd_engine *engine) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct rlimit limit, none_left;
  lvhd_waiter *waiter = NULL, *second = NULL;
  lvhd_task *task = NULL;
  int fd = dup(0);
  CHECK_INT(doomed(engine, &task, NULL), 0);
  while (!lvhd_task_step(task, 250, NULL))
    ;
  CHECK_INT(lvhd_waiter_new(engine, &waiter, NULL), 0);
  lvhd_waiter_free(waiter);
  close(fd);
  getrlimit(RLIMIT_NOFILE, &limit);
  none_left = limit;
  none_left.rlim_cur = 0;
  setrlimit(RLIMIT_NOFILE, &none_left);
  CHECK_INT(lvhd_waiter_new(engine, &waiter, &err), 0); /* the one of before */
  CHECK_INT(lvhd_waiter_new(engine, &second, &err),
            LVHD_VM_E_OUT_OF_RESOURCE);
  CHECK_INT(lvhd_waiter_new(engine, &second, NULL),
            LVHD_VM_E_OUT_OF_RESOURCE);
  CHECK_INT(err.errnum, EMFILE);
  lvhd_error_clear(&err);
  CHECK_INT(lvhd_task_fd(task, &err), -1);
  CHECK_INT(err.code, LVHD_VM_E_OUT_OF_RESOURCE);
  CHECK_INT(lvhd_task_has_fd(task), -1);
  lvhd_error_clear(&err);
  CHECK_INT(lvhd_engine_fd(engine, &err), -1);
  CHECK_INT(err.code, LVHD_VM_E_OUT_OF_RESOURCE);
  CHECK_INT(lvhd_engine_fd(engine, NULL), -1);
  setrlimit(RLIMIT_NOFILE, &limit);
  CHECK(lvhd_task_fd(task, NULL) > 2);
  CHECK(lvhd_engine_fd(engine, NULL) > 2);
  lvhd_error_clear(&err);
  lvhd_waiter_free(waiter);
  lvhd_task_free(task);
}

/* The code tells memory from descriptors, without an error too. */
static void test_no_memory(void) {
  lvhd_engine *engine = NULL;
  lvhd_waiter *waiter = NULL;
  if (!CHECK(lvhd_engine_new(&engine, NULL, NULL) == 0))
    return;
  no.realloc = 1;
  CHECK_INT(lvhd_waiter_new(engine, &waiter, NULL), LVHD_E_OUTOFMEMORY);
  CHECK_INT(no.realloc, 0);
  CHECK(waiter == NULL);
  CHECK_INT(lvhd_waiter_new(engine, &waiter, NULL), 0);
  lvhd_waiter_free(waiter);
  lvhd_engine_free(engine, false);
}

/* A program that has closed 0, 1 and 2: its prints must not end its waits. */
static void test_low_descriptors(lvhd_engine *engine) {
  int kept = fcntl(0, F_DUPFD_CLOEXEC, 10);
  lvhd_waiter *waiter = NULL, *second = NULL;
  lvhd_task *task = NULL;
  CHECK_INT(doomed(engine, &task, NULL), 0);
  close(0);
  CHECK(lvhd_task_fd(task, NULL) > 2);
  CHECK_INT(lvhd_waiter_new(engine, &waiter, NULL), 0);
  CHECK_INT(lvhd_waiter_new(engine, &second, NULL), 0);
  CHECK(lvhd_waiter_fd(waiter) > 2 && lvhd_waiter_fd(second) > 2);
  CHECK_INT(fcntl(0, F_GETFD), -1);
  CHECK_INT(dup2(kept, 0), 0);
  close(kept);
  lvhd_waiter_free(waiter);
  lvhd_waiter_free(second);
  lvhd_task_free(task);
}

/* ---- signals ---------------------------------------------------------- */

static bool readable(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, 0) == 1;
}

/* A signal that comes while a descriptor is written or drained changes
 * nothing. */
static void test_interrupted_descriptors(void) {
  lvhd_engine *engine = NULL;
  lvhd_waiter *waiter = NULL;
  lvhd_task *task = NULL, *again = NULL;
  int fd = -1;
  if (!CHECK(lvhd_engine_new(&engine, NULL, NULL) == 0))
    return;
  fd = lvhd_engine_fd(engine, NULL);
  no.write = 1;
  CHECK_INT(doomed(engine, &task, NULL), 0);
  while (!lvhd_engine_ended_step(engine, 250))
    ;
  CHECK_INT(no.write, 0);
  CHECK(readable(fd));
  no.read = 1;
  again = lvhd_engine_ended(engine);
  CHECK(again == task);
  CHECK_INT(no.read, 0);
  CHECK(!readable(fd));
  lvhd_task_free(again);
  lvhd_task_free(task);
  CHECK_INT(lvhd_waiter_new(engine, &waiter, NULL), 0);
  no.read = 1;
  lvhd_waiter_detach(waiter);
  CHECK_INT(no.read, 0);
  lvhd_waiter_free(waiter);
  lvhd_engine_free(engine, false);
}

static void on_alarm(int signal) {
  (void)signal;
}

/* A signal ends a wait early, and who asks is told. */
static void test_interrupted_wait(lvhd_engine *engine) {
  const struct sigaction act = {.sa_handler = on_alarm};
  const struct itimerspec soon = {.it_value = {.tv_nsec = 30000000},
                                  .it_interval = {.tv_nsec = 30000000}};
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL,
                           .sigev_signo = SIGALRM};
  const struct lvhd_create_options zero = {.allocate = LVHD_ZERO};
  struct sigaction before;
  timer_t timer;
  lvhd_task *task = NULL;
  bool interrupted = false;
  sigaction(SIGALRM, &act, &before);
  CHECK_INT(lvhd_create_fixed(engine, none, 256 * MIB, &zero, &task, NULL),
            0);
  CHECK_INT(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
  timer_settime(timer, 0, &soon, NULL);
  while (!lvhd_task_step(task, 10000, &interrupted))
    CHECK(interrupted);
  timer_delete(timer);
  sigaction(SIGALRM, &before, NULL);
  lvhd_task_step(task, 1, &interrupted);
  CHECK(!interrupted);
  CHECK_INT(wait_for(task), LVHD_SUCCEEDED);
  CHECK_INT(unlink(none), 0);
}

/* A write beyond the limit of the process is an error and no signal, whether
 * the program holds that signal back itself or not. */
static void test_file_limit(lvhd_engine *engine, bool held) {
  struct lvhd_open_options rw = {.write = true};
  struct rlimit limit, little;
  const char *one = alone;
  lvhd_disk *disk = NULL;
  sigset_t only, before, now;
  if (!CHECK(make_disks(engine)))
    return;
  sigemptyset(&only);
  sigaddset(&only, SIGXFSZ);
  if (held)
    pthread_sigmask(SIG_BLOCK, &only, &before);
  getrlimit(RLIMIT_FSIZE, &limit);
  little = limit;
  little.rlim_cur = 8192;
  CHECK_INT(lvhd_disk_open(engine, &one, 1, &rw, &disk, NULL), 0);
  setrlimit(RLIMIT_FSIZE, &little);
  CHECK_INT(lvhd_disk_write(disk, "x", 1, 0, NULL),
            LVHD_VM_E_FILE_TOO_LARGE_FOR_VOLUME);
  setrlimit(RLIMIT_FSIZE, &limit);
  pthread_sigmask(SIG_BLOCK, NULL, &now);
  CHECK_INT(sigismember(&now, SIGXFSZ), held);
  sigpending(&now);
  CHECK_INT(sigismember(&now, SIGXFSZ), held); /* his own is his */
  if (held) {
    const struct timespec zero = {0, 0};
    sigtimedwait(&only, NULL, &zero);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
  }
  lvhd_disk_close(disk);
}

int main(void) {
  const char *tmp = getenv("TMPDIR");
  const struct lvhd_engine_options quick = {.sync = LVHD_SYNC_NONE};
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_engine *engine = NULL;
  snprintf(folder, sizeof folder, "%.200s/lvhd-XXXXXX", tmp ? tmp : "/tmp");
  if (mkdtemp(folder) == NULL || lvhd_engine_new(&engine, &quick, NULL) != 0)
    return 1;
  snprintf(base, sizeof base, "%s/base.vhd", folder);
  snprintf(child, sizeof child, "%s/child.vhd", folder);
  snprintf(alone, sizeof alone, "%s/alone.vhd", folder);
  snprintf(none, sizeof none, "%s/none.vhd", folder);
  snprintf(fresh, sizeof fresh, "%s/fresh.vhd", folder);
  test_free_nothing();
  test_no_options(engine);
  if (CHECK(make_disks(engine))) {
    test_no_path(engine, NULL);
    test_no_path(engine, &err);
    test_create_values(engine, NULL);
    test_create_values(engine, &err);
    test_open_values(engine, NULL);
    test_open_values(engine, &err);
    lvhd_error_clear(&err);
  }
  test_engine_values();
  test_engine_base();
  test_stopped();
  test_fork(engine);
  test_no_thread();
  test_no_locks();
  test_find_nothing(engine);
  test_no_spread(engine);
  test_no_turns(engine);
  test_items_before_the_end();
  test_no_page(&no.madvise);
  test_no_page(&no.mmap);
  test_processors();
  test_no_descriptor(engine);
  test_no_memory();
  test_low_descriptors(engine);
  test_interrupted_descriptors();
  test_interrupted_wait(engine);
  test_file_limit(engine, false);
  test_file_limit(engine, true);
  lvhd_engine_free(engine, false);
  unlink(base);
  unlink(child);
  unlink(alone);
  CHECK_INT(rmdir(folder), 0);
  return check_done();
}
