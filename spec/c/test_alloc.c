/* SPDX-License-Identifier: MIT
 *
 * Every verb of lvhd.h while memory runs out: the k-th allocation fails, and
 * the k-th with all behind it, for every k, on the caller's thread and on the
 * worker's.  The answer is what it is with memory enough, or E_OUTOFMEMORY;
 * then no file is new, a disk that was to be changed reads as before, nothing
 * else was touched, and the same call succeeds.  Nothing is held and no
 * descriptor is open in the end.  pthread_create fails in the same way.
 *
 *   test_alloc          each k alone, each third or sixth with all behind
 *   test_alloc long     each k in six ways, then in two ways with files that
 *                       are durable; tells where allocations failed
 *   test_alloc long "create_fixed"     that verb
 */
#include <errno.h>

#include "folder.h"
#include "judge.h"
#include "poor.h"
#include "trouble.h"

#define TOLD_MAX 20

/* ---- engines ----------------------------------------------------------- */

static struct trouble poor_sys;

/* Of any thread. */
static int due(const char *call) {
  return strcmp(call, "readlinkat") == 0  ? ENOENT
         : strcmp(call, "openat2") == 0   ? ENOSYS
         : strcmp(call, "fdatasync") == 0 ? EIO
                                          : 0;
}

static lvhd_engine *engine_for(const struct verb *v, unsigned threads) {
  struct lvhd_engine_options opts = {
    .threads = (v->flags & THREADS) != 0 ? 3 : threads};
  lvhd_engine *engine = NULL;
  if ((v->flags & DRIVES) != 0) {
    opts.drives = drives;
    opts.drive_count = 2;
  }
  if ((v->flags & POOR_SYS) != 0)
    opts.system = &poor_sys.sys;
  CHECK_INT(lvhd_engine_new(&engine, &opts, NULL), 0);
  return engine;
}

/* ---- trying ------------------------------------------------------------ */

static unsigned complaints;

/* One k; true: it was reached. */
static bool try_one(const struct verb *v, unsigned k, bool on,
                    enum poor_who who, unsigned threads, unsigned *refused) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  unsigned failed = check_failed;
  long held = 0, open = descriptors();
  lvhd_engine *engine = NULL;
  bool reached = false;
  int code = 0;
  world_reset();
  held = atomic_load(&poor.held);
  engine = engine_for(v, threads);
  poor_begin(k, on, who);
  code = ask(v, engine, &err);
  reached = poor_end() > 0;
  *refused += code != 0;
  CHECK(code == 0 || code == LVHD_E_OUTOFMEMORY);
  lvhd_error_clear(&err);
  if (code != 0) {
    judge_failure(v);
    loosely = v->subject != NULL;
    CHECK_INT(ask(v, engine, &err), 0);
    lvhd_error_clear(&err);
  }
  if (!CHECK(is_as_wanted(v)) && complaints < TOLD_MAX)
    fprintf(stderr, "told:\n%s\nwanted:\n%s\n", told,
            loosely ? roughly : wanted);
  loosely = false;
  lvhd_engine_free(engine, false);
  CHECK_INT(descriptors(), open);
  CHECK_INT(atomic_load(&poor.held), held);
  if (failed != check_failed && complaints++ < TOLD_MAX)
    fprintf(stderr, "  %s, allocation %u%s, by %u: %s\n", v->name, k,
            on ? " and on" : "", (unsigned)who, lvhd_code_name(code));
  return reached;
}

static unsigned tries;

static unsigned sweep(const struct verb *v, bool on, enum poor_who who,
                      unsigned step, unsigned *refused) {
  unsigned k = 1;
  for (; try_one(v, k, on, who, 1, refused); k += step)
    tries++;
  return k - step;
}

static void look(const struct verb *v, bool all) {
  unsigned n = 0, refused = 0;
  bool threads = all && sync_as == LVHD_SYNC_NONE;
  prepare(v, 1);
  n = sweep(v, false, POOR_ANY, 1, &refused);
  (void)sweep(v, true, POOR_ANY, all ? 1 : v->subject ? 3 : 6, &refused);
  for (unsigned who = POOR_WORKER; threads && who <= POOR_CALLER; who++)
    for (unsigned on = 0; on < 2; on++)
      (void)sweep(v, on != 0, (enum poor_who)who, 1, &refused);
  CHECK(refused > 0);
  fprintf(stderr, "%s: %u allocations, %u refused\n", v->name, n, refused);
}

/* ---- no threads -------------------------------------------------------- */

/* The k-th thread cannot be had, or none from there on. */
static void no_thread(const struct verb *v, unsigned k, bool on,
                      unsigned threads) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  long held = 0, open = descriptors();
  lvhd_engine *engine = NULL;
  int code = 0;
  world_reset();
  held = atomic_load(&poor.held);
  engine = engine_for(v, threads);
  poor_begin(0, on, POOR_ANY);
  atomic_store(&poor.threads_at, k);
  code = ask(v, engine, &err);
  (void)poor_end();
  if (k == 1) { /* none: who has one is content */
    CHECK_INT(code, LVHD_VM_E_OUT_OF_RESOURCE);
    CHECK_INT(err.errnum, EAGAIN);
    CHECK_STR(err.syscall, "pthread_create");
    lvhd_error_clear(&err);
    judge_failure(v);
    loosely = v->subject != NULL;
    CHECK_INT(ask(v, engine, &err), 0);
  }
  lvhd_error_clear(&err);
  CHECK(is_as_wanted(v));
  lvhd_engine_free(engine, false);
  CHECK_INT(descriptors(), open);
  CHECK_INT(atomic_load(&poor.held), held);
  tries++;
}

static void look_without_threads(const struct verb *v) {
  if ((v->flags & NO_TASK) != 0)
    return;
  prepare(v, 3);
  for (unsigned k = 1; k < 4; k++) {
    no_thread(v, k, false, 3);
    no_thread(v, k, true, 3);
  }
}

static void look_at(const struct verb *v, const char *only, bool all) {
  if (only != NULL && strcmp(only, v->name) != 0)
    return;
  look(v, all);
  look_without_threads(v);
}

int main(int argc, char **argv) {
  bool all = argc > 1 && strcmp(argv[1], "long") == 0;
  const char *only = argc > 2 ? argv[2] : NULL;
  const char *tmp = getenv("TMPDIR");
  snprintf(world.root, sizeof world.root, "%.100s/lvhd-alloc.XXXXXX",
           tmp != NULL ? tmp : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
                                                             : "/tmp");
  if (mkdtemp(world.root) == NULL)
    return 1;
  trouble_begin(&poor_sys);
  poor_sys.due = due;
  build();
  world_take();
  for (unsigned sync = LVHD_SYNC_NONE; sync >= LVHD_SYNC_FULL; sync--) {
    sync_as = (enum lvhd_sync)sync;
    for (size_t i = 0; i < VERBS && (all || sync == LVHD_SYNC_NONE); i++)
      look_at(&verbs[i], only, all);
  }
  fprintf(stderr, "%u tries\n", tries);
  CHECK(world_end());
  if (all)
    poor_tell_sites();
  return check_done();
}
