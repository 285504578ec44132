/* SPDX-License-Identifier: MIT
 *
 * Unit tests of handing out ended tasks, through lvhd.h alone: handles are
 * counted, each task comes once, in the order of ending, to whichever thread
 * asks, and the descriptor tells the truth.  Makes no file.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "check.h"
#include "lvhd.h"

/* Fails as soon as a worker looks for the parent. */
static lvhd_task *doomed(lvhd_engine *engine) {
  const struct lvhd_create_options opts = {.preflight = LVHD_NO};
  lvhd_task *task = NULL;
  CHECK_INT(lvhd_create_differencing(engine, "/nowhere/a.vhd",
                                     "/nowhere/missing.vhd", &opts, &task,
                                     NULL),
            LVHD_S_OK);
  return task;
}

static bool readable(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, 0) == 1 && p.revents == POLLIN;
}

static lvhd_engine *open_engine(unsigned threads) {
  const struct lvhd_engine_options opts = {.threads = threads};
  lvhd_engine *engine = NULL;
  if (!CHECK(lvhd_engine_new(&engine, &opts, NULL) == LVHD_S_OK))
    exit(check_done());
  return engine;
}

static size_t tasks_of(lvhd_engine *engine) {
  struct lvhd_engine_counts counts;
  lvhd_engine_counts(engine, &counts);
  return counts.tasks;
}

static void close_engine(lvhd_engine *engine) {
  lvhd_engine_close(engine, false);
  CHECK_INT(tasks_of(engine), 0);
  lvhd_engine_free(engine, false);
}

static void wait_for(lvhd_task *task) {
  while (!lvhd_task_step(task, 250, NULL))
    ;
}

/* Takes one, waiting for it; NULL: none is live. */
static lvhd_task *take(lvhd_engine *engine) {
  for (;;) {
    lvhd_task *task = lvhd_engine_ended(engine);
    bool idle = false;
    if (task)
      return task;
    idle = lvhd_engine_idle(engine, 0);
    if (idle)
      return lvhd_engine_ended(engine);
    lvhd_engine_ended_step(engine, 250);
  }
}

static void test_before(void) {
  lvhd_engine *engine = open_engine(1);
  lvhd_task *task = doomed(engine);
  wait_for(task);
  CHECK(!lvhd_task_kept(task));
  lvhd_engine_collect(engine);
  CHECK(!lvhd_task_kept(task));
  CHECK(lvhd_engine_ended(engine) == NULL);
  CHECK_INT(lvhd_engine_ended_count(engine), 0);
  CHECK(lvhd_engine_ended_step(engine, 100));
  lvhd_task_error(task);
  lvhd_task_free(task);
  close_engine(engine);
}

/* In order, each once, with what the program has noted. */
static void test_order(void) {
  lvhd_engine *engine = open_engine(1);
  lvhd_task *tasks[50];
  int notes[50];
  lvhd_engine_collect(engine);
  lvhd_engine_collect(engine);
  for (int i = 0; i < 50; i++) {
    tasks[i] = doomed(engine);
    CHECK(lvhd_task_user(tasks[i]) == NULL);
    lvhd_task_set_user(tasks[i], &notes[i]);
  }
  for (int i = 0; i < 50; i++) {
    lvhd_task *task = take(engine);
    CHECK(task == tasks[i]);
    CHECK(lvhd_task_user(task) == &notes[i]);
    CHECK(!lvhd_task_kept(task));
    lvhd_task_free(task);
    /* the first handle is as good as before */
    CHECK_INT(lvhd_task_error(tasks[i])->code, LVHD_E_PATH_NOT_FOUND);
    CHECK(lvhd_task_fd(tasks[i], NULL) > 2);
    lvhd_task_free(tasks[i]);
  }
  CHECK(take(engine) == NULL);
  close_engine(engine);
}

/* The first handle goes early: the task is not lost, but handed out. */
static void test_handle_gone(void) {
  lvhd_engine *engine = open_engine(2);
  lvhd_task *task = NULL;
  int n = 0;
  lvhd_engine_collect(engine);
  for (int i = 0; i < 200; i++) {
    task = doomed(engine);
    if (i % 3 == 0)
      CHECK(lvhd_task_fd(task, NULL) > 2);
    for (int spin = 0; spin < i % 20; spin++)
      sched_yield();
    lvhd_task_leave(task);
    lvhd_task_free(task);
  }
  while ((task = take(engine)) != NULL) {
    CHECK_INT(lvhd_task_peek(task)->code, LVHD_E_PATH_NOT_FOUND);
    CHECK_INT(lvhd_task_has_fd(task), -1);
    lvhd_task_free(task);
    n++;
  }
  CHECK_INT(n, 200);
  CHECK(lvhd_engine_lost(engine) == NULL);
  close_engine(engine);
}

/* An unread error is told when the last handle goes, once. */
static void test_two_handles(void) {
  lvhd_engine *engine = open_engine(1);
  lvhd_task *first = NULL, *second = NULL;
  int fd = -1;
  lvhd_engine_collect(engine);
  first = doomed(engine);
  fd = lvhd_task_fd(first, NULL);
  second = take(engine);
  CHECK(first == second);
  CHECK(!lvhd_task_leave(first));
  lvhd_task_free(first);
  CHECK(readable(fd)); /* it lives with the last handle */
  CHECK_INT(lvhd_task_fd(second, NULL), fd);
  CHECK(lvhd_task_leave(second));
  CHECK(!lvhd_task_leave(second));
  lvhd_task_free(second);
  close_engine(engine);
}

static void test_fd(void) {
  lvhd_engine *engine = open_engine(1);
  lvhd_task *task = NULL;
  int fd = lvhd_engine_fd(engine, NULL);
  CHECK(fd > 2);
  CHECK_INT(lvhd_engine_fd(engine, NULL), fd);
  CHECK_INT(lvhd_engine_fd_at(engine, 0), fd); /* no waiter was made */
  CHECK_INT(lvhd_engine_fd_at(engine, 1), -1);
  CHECK(!readable(fd));
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < 5; i++)
      lvhd_task_free(doomed(engine));
    while (!lvhd_engine_idle(engine, 250))
      ;
    for (int i = 5; i > 0; i--) {
      CHECK(readable(fd));
      CHECK_INT(lvhd_engine_ended_count(engine), i);
      lvhd_task_free(lvhd_engine_ended(engine));
    }
    CHECK(!readable(fd));
  }
  /* after the end, too */
  lvhd_task_free(doomed(engine));
  lvhd_engine_close(engine, false);
  CHECK(readable(fd));
  task = lvhd_engine_ended(engine);
  CHECK(task != NULL && !readable(fd));
  lvhd_task_free(task);
  close_engine(engine);
}

static void test_waiter(void) {
  lvhd_engine *engine = open_engine(1);
  lvhd_waiter *waiter = NULL;
  lvhd_engine_collect(engine);
  CHECK_INT(lvhd_waiter_new(engine, &waiter, NULL), LVHD_S_OK);
  CHECK(lvhd_waiter_attach_ended(waiter)); /* none is live */
  for (int i = 0; i < 50; i++) {
    struct pollfd p = {.fd = lvhd_waiter_fd(waiter), .events = POLLIN};
    lvhd_task_free(doomed(engine));
    if (!lvhd_waiter_attach_ended(waiter))
      CHECK_INT(poll(&p, 1, 10000), 1);
    CHECK_INT(lvhd_engine_ended_count(engine), 1);
    lvhd_task_free(lvhd_engine_ended(engine));
    lvhd_waiter_detach(waiter);
    CHECK(!readable(lvhd_waiter_fd(waiter)));
  }
  lvhd_waiter_free(waiter);
  close_engine(engine);
}

/* What nobody takes goes with the engine. */
static void test_left_there(void) {
  lvhd_engine *engine = open_engine(2);
  lvhd_task *mine = NULL;
  lvhd_engine_collect(engine);
  for (int i = 0; i < 20; i++)
    lvhd_task_free(doomed(engine));
  mine = doomed(engine);
  lvhd_engine_free(engine, false);
  CHECK_INT(lvhd_task_status(mine), LVHD_FAILED);
  lvhd_task_free(mine);
}

/* ---- many threads ---------------------------------------------------- */

struct taker {
  lvhd_engine *engine;
  pthread_t thread;
  size_t n;
};

static atomic_uint making;

static void *take_all(void *arg) {
  struct taker *taker = arg;
  lvhd_task *task = NULL;
  for (;;) {
    unsigned busy = atomic_load(&making); /* asked before it was empty */
    task = take(taker->engine);
    if (task == NULL && busy == 0)
      return NULL;
    if (task)
      taker->n++;
    lvhd_task_free(task);
  }
}

static void test_threads(void) {
  lvhd_engine *engine = open_engine(4);
  struct taker takers[4];
  size_t n = 0;
  lvhd_engine_collect(engine);
  atomic_store(&making, 1);
  for (int i = 0; i < 4; i++) {
    takers[i] = (struct taker){.engine = engine};
    pthread_create(&takers[i].thread, NULL, take_all, &takers[i]);
  }
  for (int i = 0; i < 3000; i++) {
    lvhd_task *task = doomed(engine);
    if (i % 7 == 0)
      lvhd_task_cancel(task);
    lvhd_task_free(task);
  }
  atomic_store(&making, 0);
  for (int i = 0; i < 4; i++) {
    pthread_join(takers[i].thread, NULL);
    n += takers[i].n;
  }
  CHECK_INT(n, 3000);
  close_engine(engine);
}

int main(void) {
  test_before();
  test_order();
  test_handle_gone();
  test_two_handles();
  test_fd();
  test_waiter();
  test_left_there();
  test_threads();
  return check_done();
}
