/* SPDX-License-Identifier: MIT
 *
 * Every verb of lvhd.h while a system call fails: each call, by where in lvhd
 * it comes from, the first time and the last.  A verb that succeeds all the
 * same gives what it gives without; one that fails has left no new file, a
 * disk that was to be changed reads as before, nothing else was touched, and
 * the same call succeeds.  Who wants no error gets the same code.  No
 * descriptor is open in the end.
 *
 *   test_faults         each place
 *   test_faults long    each call
 *   test_faults short "merge"     that verb
 */
#include <execinfo.h>
#include <pthread.h>

#include "folder.h"
#include "judge.h"
#include "trouble.h"

#define TOLD_MAX 200

/* ---- places ------------------------------------------------------------- */

#define FRAMES 8
#define PLACES 2000

/* Calls that come from the same functions. */
struct place {
  uint64_t way; /* what the return addresses are mixed to */
  unsigned first, last;
  const char *call;
};

static struct {
  pthread_mutex_t lock;
  struct trouble t;
  struct place places[PLACES];
  unsigned count, calls;
  unsigned at; /* this one fails; 0: none, and places are learned */
  bool learning;
  int errnum;
  const char *failed; /* what failed */
} now_failing = {.lock = PTHREAD_MUTEX_INITIALIZER};
#define F now_failing

static void learn_place(const char *call) {
  void *frames[FRAMES];
  int n = backtrace(frames, FRAMES);
  uint64_t way = hash(0, call, strlen(call));
  unsigned i = 0;
  for (int k = 4; k < n; k++) /* not the ways here */
    way = hash(way, &frames[k], sizeof frames[k]);
  while (i < F.count && F.places[i].way != way)
    i++;
  if (i == PLACES)
    abort();
  if (i == F.count)
    F.places[F.count++] =
      (struct place){.way = way, .first = F.calls, .call = call};
  F.places[i].last = F.calls;
}

static int due(const char *call) {
  int errnum = 0;
  pthread_mutex_lock(&F.lock);
  F.calls++;
  if (F.learning)
    learn_place(call);
  if (F.calls == F.at) {
    errnum = F.errnum;
    F.failed = call;
  }
  pthread_mutex_unlock(&F.lock);
  return errnum;
}

static lvhd_engine *engine_for(const struct verb *v, unsigned threads) {
  struct lvhd_engine_options opts = {.threads = threads,
                                     .system = &F.t.sys};
  lvhd_engine *engine = NULL;
  if ((v->flags & DRIVES) != 0) {
    opts.drives = drives;
    opts.drive_count = 2;
  }
  trouble_begin(&F.t);
  F.t.due = due;
  F.calls = 0;
  CHECK_INT(lvhd_engine_new(&engine, &opts, NULL), 0);
  return engine;
}

/* ---- trying ------------------------------------------------------------- */

static unsigned complaints, tries, refused;

/* After a failure.  When all is done but for the last flush, there is nothing
 * left to be tried again: what hung on the deleted image reads as before. */
static void judge(const struct verb *v, lvhd_engine *engine,
                  struct lvhd_error *err, int errnum) {
  CHECK_INT(err->errnum, errnum);
  lvhd_error_clear(err);
  judge_failure(v);
  if ((v->flags & MERGES) != 0 && is_gone("chain/leaf.vhd")) {
    CHECK_STR(F.failed, "fsync");
    return;
  }
  CHECK_INT(ask(v, engine, err), 0);
  lvhd_error_clear(err);
  CHECK(is_as_wanted(v));
}

/* What is no task takes NULL for an error. */
static int ask_for_code(const struct verb *v, unsigned k) {
  lvhd_engine *engine = NULL;
  int code = 0;
  world_reset();
  engine = engine_for(v, 1);
  F.at = k;
  code = ask(v, engine, NULL);
  F.at = 0;
  lvhd_engine_free(engine, false);
  return code;
}

static void try_one(const struct verb *v, unsigned k, int errnum) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  unsigned failed = check_failed;
  long open = descriptors();
  lvhd_engine *engine = NULL;
  int code = 0;
  world_reset();
  engine = engine_for(v, 1);
  F.failed = NULL;
  F.errnum = errnum;
  F.at = k;
  loosely = true; /* what could not be looked at is a finding */
  code = ask(v, engine, &err);
  F.at = 0;
  tries++;
  refused += code != 0;
  if (code != 0)
    judge(v, engine, &err, errnum);
  else if (!CHECK(is_as_wanted(v) || (v->flags & TELLS) != 0) &&
           complaints < TOLD_MAX)
    fprintf(stderr, "told:\n%s\nwanted:\n%s\n", told,
            roughly);
  lvhd_error_clear(&err); /* what was to be refused was */
  loosely = false;
  lvhd_engine_free(engine, false);
  if ((v->flags & NO_TASK) != 0 && v->ask != ask_refused)
    CHECK_INT(ask_for_code(v, k), code);
  CHECK_INT(descriptors(), open);
  if (failed != check_failed && complaints++ < TOLD_MAX)
    fprintf(stderr, "  %s, call %u, %s %s: %s\n", v->name, k,
            F.failed ? F.failed : "none", strerrorname_np(errnum),
            lvhd_code_name(code));
}

static void look(const struct verb *v, bool all) {
  unsigned n = 0;
  F.count = 0;
  prepare(v, 1);
  F.learning = true;
  learn(v, 1);
  F.learning = false;
  n = F.calls;
  refused = tries = 0;
  for (unsigned k = 1; all && k <= n; k++)
    try_one(v, k, EIO);
  for (unsigned i = 0; !all && i < F.count; i++) {
    try_one(v, F.places[i].first, EIO);
    if (F.places[i].last != F.places[i].first)
      try_one(v, F.places[i].last, EIO);
  }
  fprintf(stderr, "%s: %u calls, %u places, %u tries, %u refused\n", v->name,
          n, F.count, tries, refused);
}

int main(int argc, char **argv) {
  bool all = argc > 1 && strcmp(argv[1], "long") == 0;
  const char *only = argc > 2 ? argv[2] : NULL;
  const char *tmp = getenv("TMPDIR");
  snprintf(world.root, sizeof world.root, "%.100s/lvhd-faults.XXXXXX",
           tmp != NULL ? tmp : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
                                                             : "/tmp");
  if (mkdtemp(world.root) == NULL)
    return 1;
  build();
  world_take();
  sync_as = LVHD_SYNC_FULL;
  anything = true;
  for (size_t i = 0; i < VERBS; i++)
    if ((verbs[i].flags & (POOR_SYS | THREADS)) == 0 &&
        (only == NULL || strcmp(only, verbs[i].name) == 0))
      look(&verbs[i], all);
  CHECK(world_end());
  return check_done();
}
