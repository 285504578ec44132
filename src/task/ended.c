/* SPDX-License-Identifier: MIT
 *
 * Handing out ended tasks: once a program has asked for it, the pool holds a
 * reference of each live and later task, and lists it when it has ended,
 * until the program takes it.
 *
 * Three ways to wait for that list: a futex word that counts the ends, a
 * descriptor that is readable exactly while the list has a task, and waiters
 * (waiter.c).
 */
#include <errno.h>
#include <unistd.h>

#include "task/sleep.h"
#include "task/task.h"

/* ---- for task.c and pool.c ------------------------------------------- */

void lv_ended_keep(struct lv_pool *pool, lvhd_task *task) {
  if (!pool->collects)
    return;
  task->kept = true;
  atomic_fetch_add(&task->refs, 1);
}

void lv_ended_put(struct lv_pool *pool, lvhd_task *task) {
  if (!task->kept)
    return;
  task->next = NULL;
  if (pool->ended_last)
    pool->ended_last->next = task;
  else
    pool->ended_first = task;
  pool->ended_last = task;
  if (atomic_fetch_add(&pool->ended_count, 1) == 0 && pool->ended_fd >= 0)
    lv_notify_fd(pool->ended_fd);
  lv_waiters_notify(pool->ended_waiters);
  atomic_fetch_add(&pool->ends, 1);
}

void lv_ended_wake(struct lv_pool *pool) {
  if (atomic_load(&pool->ended_sleepers) > 0)
    lv_futex_wake(&pool->ends);
}

/* ---- lvhd.h ---------------------------------------------------------- */

void lvhd_engine_collect(lvhd_engine *engine) {
  struct lv_pool *pool = (struct lv_pool *)engine; /* its first member */
  if (lv_pool_forked(pool))
    return;
  pthread_mutex_lock(&pool->lock);
  if (!pool->collects) {
    pool->collects = true;
    for (lvhd_task *task = pool->live; task; task = task->live_next)
      lv_ended_keep(pool, task);
  }
  pthread_mutex_unlock(&pool->lock);
}

/* With the lock held: the list's reference becomes a handle's. */
static lvhd_task *take(struct lv_pool *pool) {
  lvhd_task *task = pool->ended_first;
  uint64_t count = 0;
  if (task == NULL)
    return NULL;
  pool->ended_first = task->next;
  task->next = NULL;
  task->kept = false;
  task->handles++;
  task->handle_gone = false;
  if (pool->ended_first == NULL)
    pool->ended_last = NULL;
  if (atomic_fetch_sub(&pool->ended_count, 1) == 1 && pool->ended_fd >= 0)
    while (read(pool->ended_fd, &count, sizeof count) < 0 && errno == EINTR)
      ;
  return task;
}

lvhd_task *lvhd_engine_ended(lvhd_engine *engine) {
  struct lv_pool *pool = (struct lv_pool *)engine;
  lvhd_task *task = NULL;
  if (lv_pool_forked(pool) || atomic_load(&pool->ended_count) == 0)
    return NULL;
  pthread_mutex_lock(&pool->lock);
  task = take(pool);
  pthread_mutex_unlock(&pool->lock);
  return task;
}

size_t lvhd_engine_ended_count(lvhd_engine *engine) {
  struct lv_pool *pool = (struct lv_pool *)engine;
  return lv_pool_forked(pool) ? 0 : atomic_load(&pool->ended_count);
}

/* live_count first: when it has become 0, what ended is in the list. */
static bool over(struct lv_pool *pool) {
  return atomic_load(&pool->live_count) == 0 ||
         atomic_load(&pool->ended_count) > 0;
}

/* Until the next end wakes. */
static void sleep_for(struct lv_pool *pool, unsigned ms) {
  unsigned ends = atomic_load(&pool->ends);
  if (over(pool))
    return;
  atomic_fetch_add(&pool->ended_sleepers, 1);
  (void)lv_futex_wait(&pool->ends, ends, ms);
  atomic_fetch_sub(&pool->ended_sleepers, 1);
}

bool lvhd_engine_ended_step(lvhd_engine *engine, unsigned ms) {
  struct lv_pool *pool = (struct lv_pool *)engine;
  int failed = 0;
  if (lv_pool_forked(pool) || over(pool))
    return true;
  if (ms > LV_PATIENCE_MS) {
    failed = lv_sleep_through(pool, LV_PATIENCE_MS);
    ms -= LV_PATIENCE_MS;
  }
  if (ms > 0 && failed == 0)
    sleep_for(pool, ms);
  return over(pool);
}

int lvhd_engine_fd(lvhd_engine *engine, struct lvhd_error *err) {
  struct lv_pool *pool = (struct lv_pool *)engine;
  int fd = -1;
  if (lv_pool_forked(pool)) {
    lv_fail(err, LVHD_E_HANDLE, LV_R_FORKED);
    return -1;
  }
  lvhd_engine_collect(engine);
  pthread_mutex_lock(&pool->lock);
  if (pool->ended_fd < 0) {
    pool->ended_fd = lv_event_fd();
    if (pool->ended_fd < 0)
      lv_fail_errno(err, LV_STEP_OTHER, errno, "eventfd");
    else if (pool->ended_first)
      lv_notify_fd(pool->ended_fd);
  }
  fd = pool->ended_fd;
  pthread_mutex_unlock(&pool->lock);
  return fd;
}

bool lvhd_task_kept(lvhd_task *task) {
  struct lv_pool *pool = task->pool;
  bool kept = false;
  if (lv_pool_forked(pool))
    return false;
  pthread_mutex_lock(&pool->lock);
  kept = task->kept;
  pthread_mutex_unlock(&pool->lock);
  return kept;
}

void lvhd_task_set_user(lvhd_task *task, void *user) {
  task->user = user;
}

void *lvhd_task_user(const lvhd_task *task) {
  return task->user;
}
