/* SPDX-License-Identifier: MIT
 *
 * Unit tests of patient sleeps (task/sleep.h), on pools whose tasks end when a
 * test lets them: who is woken by how many ends, and by what else.  Makes no
 * file.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "task/sleep.h"
#include "task/task.h"

#define TASKS 40
#define SEVERAL 16  /* at most, half of those that are live */
#define LONG 20000u /* ms; what takes half of it was not woken */

static atomic_uint permits; /* so many tasks may end */

static int64_t now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t clock_ns(const void *of) {
  (void)of;
  return now_ns();
}

/* ---- the verb -------------------------------------------------------- */

static int prepare(void *args, struct lvhd_error *err) {
  (void)args;
  (void)err;
  return 0;
}

static int run(void *args, struct lv_job *job, struct lvhd_error *err) {
  const struct timespec ms = {.tv_nsec = 1000000};
  unsigned n = 0;
  (void)args;
  (void)job;
  (void)err;
  for (;;) {
    n = atomic_load(&permits);
    if (n > 0 && atomic_compare_exchange_weak(&permits, &n, n - 1))
      return 0;
    nanosleep(&ms, NULL);
  }
}

static void release(void *args) {
  (void)args;
}

static unsigned kind(const void *args) {
  (void)args;
  return 0;
}

static const char *path(const void *args) {
  (void)args;
  return "/a/path";
}

static const struct lv_verb gated = {.name = "gated", .prepare = prepare,
                                     .run = run, .free = release,
                                     .kind = kind, .path = path};

/* ---- pools ----------------------------------------------------------- */

struct world {
  struct lv_pool pool; /* first: an engine begins with it */
  lvhd_task *tasks[TASKS];
  size_t count;
};

static void destroy(struct lv_pool *pool) {
  lv_pool_free(pool);
}

/* One worker and `count` tasks, of which none may end. */
static void begin(struct world *w, size_t count) {
  memset(w, 0, sizeof *w);
  atomic_store(&permits, 0);
  CHECK_INT(lv_pool_init(&w->pool, 1, clock_ns, NULL, destroy, NULL), 0);
  for (w->count = 0; w->count < count; w->count++)
    CHECK_INT(lv_pool_start(&w->pool, &gated, NULL, &w->tasks[w->count], NULL),
              0);
}

static void end(struct world *w) {
  atomic_store(&permits, TASKS);
  lv_pool_join(&w->pool);
  for (size_t i = 0; i < w->count; i++)
    lvhd_task_free(w->tasks[i]);
  lv_pool_unref(&w->pool);
}

/* ---- beside a sleeper ------------------------------------------------ */

struct beside {
  struct world *w;
  pthread_t sleeper, thread;
  atomic_bool woke;
};

static bool becomes(atomic_uint *word, unsigned value) {
  for (int64_t until = now_ns() + LONG * 500000LL; now_ns() < until;
       sched_yield())
    if (atomic_load(word) == value)
      return true;
  return false;
}

/* All ends but one do not wake; the last does. */
static void *let_end(void *arg) {
  struct beside *b = arg;
  CHECK(becomes(&b->w->pool.several, SEVERAL));
  atomic_store(&permits, SEVERAL - 1);
  CHECK(becomes(&b->w->pool.several, 1));
  CHECK(!atomic_load(&b->woke));
  atomic_store(&permits, 1);
  return NULL;
}

static void *cancel_some(void *arg) {
  struct beside *b = arg;
  CHECK(becomes(&b->w->pool.several, SEVERAL));
  for (size_t i = TASKS - SEVERAL; i < TASKS; i++)
    CHECK(lvhd_task_cancel(b->w->tasks[i]));
  return NULL;
}

static void *send_signal(void *arg) {
  struct beside *b = arg;
  CHECK(becomes(&b->w->pool.several, SEVERAL));
  while (!atomic_load(&b->woke)) { /* before it sleeps it is no use */
    pthread_kill(b->sleeper, SIGUSR1);
    sched_yield();
  }
  return NULL;
}

/* Sleeps while `other` goes on; true: it was woken. */
static bool sleeps(struct world *w, void *(*other)(void *), int expected) {
  struct beside b = {.w = w, .sleeper = pthread_self()};
  int64_t start = now_ns();
  int got = 0;
  CHECK_INT(pthread_create(&b.thread, NULL, other, &b), 0);
  got = lv_sleep_through(&w->pool, LONG);
  atomic_store(&b.woke, true);
  CHECK_INT(pthread_join(b.thread, NULL), 0);
  CHECK_INT(got, expected);
  CHECK_INT(atomic_load(&w->pool.several), 0);
  CHECK_INT(atomic_load(&w->pool.plain_sleeps), 0);
  return now_ns() - start < LONG * 500000LL;
}

static bool at_once(struct world *w) {
  int64_t start = now_ns();
  CHECK_INT(lv_sleep_through(&w->pool, LONG), 0);
  return now_ns() - start < LONG * 500000LL;
}

/* ---- the tests ------------------------------------------------------- */

static void on_signal(int number) {
  (void)number;
}

static void test_woken(void *(*other)(void *), int expected) {
  struct world w;
  begin(&w, TASKS);
  CHECK(sleeps(&w, other, expected));
  end(&w);
}

static void test_few(void) {
  struct world w;
  begin(&w, 3);
  CHECK(at_once(&w));
  CHECK_INT(atomic_load(&w.pool.several), 0);
  end(&w);
}

/* After one that was in vain the next are none; then there is another. */
static void test_in_vain(void) {
  struct world w;
  begin(&w, TASKS);
  CHECK_INT(lv_sleep_through(&w.pool, 1), 0);
  CHECK_INT(atomic_load(&w.pool.several), 0);
  CHECK_INT(atomic_load(&w.pool.plain_sleeps), 16);
  for (int i = 0; i < 16; i++)
    CHECK(at_once(&w));
  CHECK(sleeps(&w, let_end, 0));
  end(&w);
}

/* The awaited one ends alone: the wait does not go on for the others. */
static void test_step(void) {
  struct world w;
  int64_t start = now_ns();
  begin(&w, TASKS);
  CHECK(!lvhd_task_step(w.tasks[0], 5, NULL));
  atomic_store(&w.pool.plain_sleeps, 0);
  atomic_store(&permits, 1);
  CHECK(lvhd_task_step(w.tasks[0], LONG, NULL));
  CHECK(!lvhd_task_step(w.tasks[1], 1, NULL));
  CHECK(now_ns() - start < LONG * 500000LL);
  end(&w);
}

static void test_ended_step(void) {
  struct world w;
  lvhd_engine *engine = (lvhd_engine *)&w;
  int64_t start = now_ns();
  begin(&w, TASKS);
  lvhd_engine_collect(engine);
  CHECK(!lvhd_engine_ended_step(engine, 5));
  atomic_store(&w.pool.plain_sleeps, 0);
  atomic_store(&permits, 1);
  CHECK(lvhd_engine_ended_step(engine, LONG));
  CHECK(now_ns() - start < LONG * 500000LL);
  atomic_store(&permits, TASKS); /* the list has a reference of each */
  while (!lvhd_engine_idle(engine, 250))
    ;
  for (lvhd_task *task = NULL; (task = lvhd_engine_ended(engine)) != NULL;)
    lvhd_task_free(task);
  end(&w);
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  test_few();
  test_woken(let_end, 0);
  test_woken(cancel_some, 0);
  test_woken(send_signal, EINTR);
  test_in_vain();
  test_step();
  test_ended_step();
  return check_done();
}
