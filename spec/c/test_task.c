/* SPDX-License-Identifier: MIT
 *
 * Unit tests of task life through lvhd.h alone: an error that nobody read is
 * told exactly once, wherever its end falls.  Makes no file.
 */
#include <sched.h>

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

static size_t take_lost(lvhd_engine *engine) {
  size_t n = 0;
  lvhd_task *task = NULL;
  while ((task = lvhd_engine_lost(engine)) != NULL) {
    CHECK_INT(lvhd_task_peek(task)->code, LVHD_E_PATH_NOT_FOUND);
    lvhd_task_free(task);
    n++;
  }
  return n;
}

/* The handle is left, the task fails, the handle is freed. */
static void test_left_then_failed(lvhd_engine *engine) {
  size_t told = 0;
  for (int i = 0; i < 200; i++) {
    lvhd_task *task = doomed(engine);
    for (int spin = 0; spin < i % 20; spin++)
      sched_yield();
    told += lvhd_task_leave(task);
    for (int spin = 0; spin < i / 20; spin++)
      sched_yield();
    lvhd_task_free(task);
  }
  while (!lvhd_engine_idle(engine, 250))
    ;
  told += take_lost(engine);
  CHECK_INT(told, 200);
}

static void test_read_is_not_told(lvhd_engine *engine) {
  lvhd_task *task = doomed(engine);
  while (!lvhd_task_step(task, 250, NULL))
    ;
  CHECK(lvhd_task_error(task) != NULL);
  CHECK(!lvhd_task_leave(task));
  lvhd_task_free(task);
  CHECK_INT(take_lost(engine), 0);
}

static void test_unread_is_told(lvhd_engine *engine) {
  lvhd_task *task = doomed(engine);
  while (!lvhd_task_step(task, 250, NULL))
    ;
  CHECK(lvhd_task_leave(task));
  lvhd_task_free(task);
  CHECK_INT(take_lost(engine), 0);
}

int main(void) {
  const struct lvhd_engine_options opts = {.threads = 2};
  lvhd_engine *engine = NULL;
  struct lvhd_engine_counts counts;
  if (!CHECK(lvhd_engine_new(&engine, &opts, NULL) == LVHD_S_OK))
    return check_done();
  test_left_then_failed(engine);
  test_read_is_not_told(engine);
  test_unread_is_told(engine);
  lvhd_engine_close(engine, false); /* a worker may still let go of one */
  lvhd_engine_counts(engine, &counts);
  CHECK_INT(counts.tasks, 0);
  lvhd_engine_free(engine, false);
  return check_done();
}
