/* SPDX-License-Identifier: MIT
 *
 * Unit tests of lv_job_spread: a verb whose items are counted here, on pools
 * of one thread and of many.  Makes no file.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "check.h"
#include "task/task.h"

#define ITEMS 500

/* What a test wants of the items, and what became of them. */
struct plan {
  size_t n;
  unsigned busy_us;      /* how long an item takes */
  size_t fails_at;       /* an item from which on all fail; n: none */
  bool nested;           /* an item spreads, too */
  bool together;         /* items wait until two were inside at once */
  atomic_uint gate;      /* 1: items wait until it is 0 */
  atomic_uint calls[ITEMS];
  atomic_uint inside, most, sum;
  atomic_int after_end;  /* items under way when it returned */
  int code;
  struct lvhd_error err;
};

static void pause_us(unsigned us) {
  struct timespec ts = {.tv_sec = us / 1000000,
                        .tv_nsec = (long)(us % 1000000) * 1000};
  nanosleep(&ts, NULL);
}

static int64_t now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t clock_ns(const void *of) {
  (void)of;
  return now_ns();
}

struct inner {
  struct plan *plan;
  struct lv_job *job;
};

static int inner_item(void *arg, size_t i, struct lvhd_error *err) {
  (void)i;
  (void)err;
  atomic_fetch_add(&((struct inner *)arg)->plan->sum, 1);
  return 0;
}

static int item(void *arg, size_t i, struct lvhd_error *err) {
  struct inner *inner = arg;
  struct plan *plan = inner->plan;
  unsigned inside = atomic_fetch_add(&plan->inside, 1) + 1;
  unsigned most = atomic_load(&plan->most);
  int code = 0;
  while (inside > most &&
         !atomic_compare_exchange_weak(&plan->most, &most, inside))
    ;
  atomic_fetch_add(&plan->calls[i], 1);
  while (atomic_load(&plan->gate))
    sched_yield();
  for (int64_t end = now_ns() + 5000000000;
       plan->together && atomic_load(&plan->most) < 2 && now_ns() < end;)
    sched_yield();
  if (plan->busy_us)
    pause_us(plan->busy_us);
  if (plan->nested)
    code = lv_job_spread(inner->job, 10, inner_item, inner, err);
  if (i >= plan->fails_at) {
    code = lv_fail(err, LVHD_E_DISK_FULL, LV_R_NONE);
    lv_error_path(err, "/an/item");
  }
  atomic_fetch_sub(&plan->inside, 1);
  return code;
}

/* ---- the verb -------------------------------------------------------- */

static int prepare(void *args, struct lvhd_error *err) {
  (void)args;
  (void)err;
  return 0;
}

static int run(void *args, struct lv_job *job, struct lvhd_error *err) {
  struct plan *plan = args;
  struct inner inner = {plan, job};
  plan->code = lv_job_spread(job, plan->n, item, &inner, err);
  atomic_store(&plan->after_end, (int)atomic_load(&plan->inside));
  return plan->code;
}

static int run_short(void *args, struct lv_job *job, struct lvhd_error *err) {
  (void)job;
  (void)err;
  atomic_fetch_add((atomic_uint *)args, 1);
  return 0;
}

static void release(void *args) {
  (void)args;
}

static unsigned kind(const void *args) {
  (void)args;
  return 0;
}

static unsigned kind_long(const void *args) {
  (void)args;
  return LV_LONG;
}

static unsigned kind_many(const void *args) {
  (void)args;
  return LV_MANY;
}

static const char *path(const void *args) {
  (void)args;
  return "/a/path";
}

static const struct lv_verb spreads = {.name = "spreads", .prepare = prepare,
                                       .run = run, .free = release,
                                       .kind = kind, .path = path};
static const struct lv_verb long_spreads = {
  .name = "long_spreads", .prepare = prepare, .run = run, .free = release,
  .kind = kind_long, .path = path};
static const struct lv_verb many_spreads = {
  .name = "many_spreads", .prepare = prepare, .run = run, .free = release,
  .kind = kind_many, .path = path};
static const struct lv_verb shorts = {.name = "shorts", .prepare = prepare,
                                       .run = run_short, .free = release,
                                       .kind = kind, .path = path};

/* ---- pools ----------------------------------------------------------- */

static void destroy(struct lv_pool *pool) {
  lv_pool_free(pool);
}

static void open_pool(struct lv_pool *pool, unsigned threads) {
  memset(pool, 0, sizeof *pool);
  CHECK_INT(lv_pool_init(pool, threads, clock_ns, NULL, destroy, NULL), 0);
}

static void close_pool(struct lv_pool *pool) {
  lv_pool_join(pool);
  lv_pool_unref(pool);
}

static struct plan *plan_of(size_t n) {
  struct plan *plan = calloc(1, sizeof *plan);
  if (plan == NULL)
    exit(1);
  plan->n = n;
  plan->fails_at = n;
  return plan;
}

static lvhd_task *start(struct lv_pool *pool, const struct lv_verb *verb,
                        void *args) {
  lvhd_task *task = NULL;
  CHECK_INT(lv_pool_start(pool, verb, args, &task, NULL), 0);
  return task;
}

/* For at most 10 seconds. */
static bool await(lvhd_task *task) {
  for (int i = 0; i < 40; i++)
    if (lvhd_task_step(task, 250, NULL))
      return true;
  return false;
}

static bool reaches(atomic_uint *word, unsigned value) {
  for (int i = 0; i < 10000; i++) {
    if (atomic_load(word) >= value)
      return true;
    pause_us(1000);
  }
  return false;
}

static size_t calls_of(const struct plan *plan, unsigned times) {
  size_t n = 0;
  for (size_t i = 0; i < ITEMS; i++)
    n += atomic_load(&plan->calls[i]) == times;
  return n;
}

static void each_item_once(const struct plan *plan) {
  CHECK_INT(calls_of(plan, 1), plan->n);
  CHECK_INT(calls_of(plan, 0), ITEMS - plan->n);
  CHECK_INT(plan->code, 0);
  CHECK_INT(atomic_load(&plan->after_end), 0);
}

/* ---- the tests ------------------------------------------------------- */

static void test_one_by_one(unsigned threads, size_t n) {
  struct lv_pool pool;
  struct plan *plan = plan_of(n);
  lvhd_task *task = NULL;
  open_pool(&pool, threads);
  plan->busy_us = threads > 1 ? 100 : 0;
  plan->together = threads > 1 && n > 1;
  task = start(&pool, &spreads, plan);
  CHECK(await(task));
  each_item_once(plan);
  CHECK(atomic_load(&plan->most) <= threads);
  if (threads > 1 && n > 1)
    CHECK(atomic_load(&plan->most) >= 2);
  lvhd_task_free(task);
  close_pool(&pool);
  free(plan);
}

/* The first failure is told, and no item is begun behind it. */
static void test_failure(unsigned threads) {
  struct lv_pool pool;
  struct plan *plan = plan_of(ITEMS);
  lvhd_task *task = NULL;
  open_pool(&pool, threads);
  plan->busy_us = 200;
  plan->fails_at = 20;
  task = start(&pool, &spreads, plan);
  CHECK(await(task));
  CHECK_INT(plan->code, LVHD_E_DISK_FULL);
  CHECK_INT(lvhd_task_error(task)->code, LVHD_E_DISK_FULL);
  CHECK_STR(lvhd_task_error(task)->path, "/an/item");
  CHECK_INT(atomic_load(&plan->after_end), 0);
  CHECK(calls_of(plan, 1) >= 21 && calls_of(plan, 1) < 21 + threads);
  lvhd_task_free(task);
  close_pool(&pool);
  free(plan);
}

static void test_cancel(unsigned threads, bool stop) {
  struct lv_pool pool;
  struct plan *plan = plan_of(ITEMS);
  lvhd_task *task = NULL;
  open_pool(&pool, threads);
  atomic_store(&plan->gate, 1);
  task = start(&pool, &spreads, plan);
  CHECK(reaches(&plan->most, threads));
  if (stop)
    lv_pool_stop(&pool, LVHD_STOP_CANCEL);
  else
    CHECK(lvhd_task_cancel(task));
  atomic_store(&plan->gate, 0);
  CHECK(await(task));
  CHECK_INT(plan->code, LVHD_E_ABORT);
  CHECK_INT(lvhd_task_status(task), LVHD_CANCELLED);
  CHECK_INT(calls_of(plan, 1), threads);
  CHECK_INT(atomic_load(&plan->after_end), 0);
  lvhd_task_free(task);
  close_pool(&pool);
  free(plan);
}

/* Helpers leave for tasks that come meanwhile, after the item at hand; the
 * owners stay.  Of long spreads there is one less than threads at a time. */
static void test_queued_meanwhile(unsigned threads, unsigned count,
                                  const struct lv_verb *verb) {
  struct lv_pool pool;
  struct plan *plans[8];
  atomic_uint done = 0;
  lvhd_task *tasks[8], *others[20];
  open_pool(&pool, threads);
  for (unsigned i = 0; i < count; i++) {
    plans[i] = plan_of(ITEMS);
    plans[i]->busy_us = 2000;
    tasks[i] = start(&pool, verb, plans[i]);
  }
  CHECK(reaches(&plans[0]->most, count < threads ? 2 : 1));
  for (int i = 0; i < 20; i++)
    others[i] = start(&pool, &shorts, &done);
  CHECK(reaches(&done, 20));
  CHECK(calls_of(plans[0], 1) < ITEMS / 2); /* more than half a second left */
  for (unsigned i = threads - 1; i < count; i++) {
    CHECK_INT(lvhd_task_status(tasks[i]), LVHD_QUEUED);
    CHECK_INT(calls_of(plans[i], 1), 0);
  }
  for (unsigned i = 0; i < count; i++) {
    CHECK(await(tasks[i]));
    each_item_once(plans[i]);
    lvhd_task_free(tasks[i]);
    free(plans[i]);
  }
  for (int i = 0; i < 20; i++)
    lvhd_task_free(others[i]);
  close_pool(&pool);
}

/* Nothing refuses new tasks' items: what runs when the pool is stopped goes
 * on to its end, with the workers that there are. */
static void test_stopped_meanwhile(void) {
  struct lv_pool pool;
  struct plan *plan = plan_of(ITEMS);
  lvhd_task *task = NULL;
  open_pool(&pool, 4);
  plan->busy_us = 200;
  task = start(&pool, &spreads, plan);
  CHECK(reaches(&plan->most, 2));
  lv_pool_stop(&pool, LVHD_STOP_FINISH);
  lv_pool_join(&pool);
  CHECK_INT(lvhd_task_status(task), LVHD_SUCCEEDED);
  each_item_once(plan);
  lvhd_task_free(task);
  close_pool(&pool);
  free(plan);
}

static void test_two_at_once(unsigned threads) {
  struct lv_pool pool;
  struct plan *plans[2] = {plan_of(ITEMS), plan_of(ITEMS)};
  lvhd_task *tasks[2];
  open_pool(&pool, threads);
  for (int i = 0; i < 2; i++) {
    plans[i]->busy_us = 100;
    tasks[i] = start(&pool, &spreads, plans[i]);
  }
  for (int i = 0; i < 2; i++) {
    CHECK(await(tasks[i]));
    each_item_once(plans[i]);
    lvhd_task_free(tasks[i]);
    free(plans[i]);
  }
  close_pool(&pool);
}

static void test_nested(unsigned threads) {
  struct lv_pool pool;
  struct plan *plan = plan_of(100);
  lvhd_task *task = NULL;
  open_pool(&pool, threads);
  plan->nested = true;
  task = start(&pool, &spreads, plan);
  CHECK(await(task));
  each_item_once(plan);
  CHECK_INT(atomic_load(&plan->sum), 1000);
  lvhd_task_free(task);
  close_pool(&pool);
  free(plan);
}

/* The error may be NULL. */
static int run_blind(void *args, struct lv_job *job, struct lvhd_error *err) {
  struct plan *plan = args;
  struct inner inner = {plan, job};
  (void)err;
  plan->code = lv_job_spread(job, plan->n, item, &inner, NULL);
  return 0;
}

static void test_no_error_wanted(void) {
  static const struct lv_verb blind = {.name = "blind", .prepare = prepare,
                                       .run = run_blind, .free = release,
                                       .kind = kind, .path = path};
  struct lv_pool pool;
  struct plan *plan = plan_of(ITEMS);
  lvhd_task *task = NULL;
  open_pool(&pool, 3);
  plan->fails_at = 3;
  task = start(&pool, &blind, plan);
  CHECK(await(task));
  CHECK_INT(plan->code, LVHD_E_DISK_FULL);
  lvhd_task_free(task);
  close_pool(&pool);
  free(plan);
}

int main(void) {
  const unsigned threads[] = {1, 2, 4, 8};
  for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
    test_one_by_one(threads[i], 0);
    test_one_by_one(threads[i], 1);
    test_one_by_one(threads[i], 2);
    test_one_by_one(threads[i], ITEMS);
    test_failure(threads[i]);
    test_cancel(threads[i], false);
    test_cancel(threads[i], true);
    test_two_at_once(threads[i]);
    test_nested(threads[i]);
  }
  test_queued_meanwhile(2, 1, &spreads);
  test_queued_meanwhile(4, 2, &spreads);
  test_queued_meanwhile(2, 1, &long_spreads);
  test_queued_meanwhile(2, 2, &long_spreads);
  test_queued_meanwhile(4, 4, &long_spreads);
  test_queued_meanwhile(4, 4, &many_spreads);
  test_stopped_meanwhile();
  test_no_error_wanted();
  return check_done();
}
