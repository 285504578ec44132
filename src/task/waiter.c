/* SPDX-License-Identifier: MIT
 *
 * Waiters: descriptors of a small set, lent to whoever waits in an event
 * loop, drained and used again, and closed with the engine.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "task/task.h"

/* With the lock held: a descriptor that nobody uses, or one more. */
static int lend_fd(struct lv_pool *pool, int *out, struct lvhd_error *err) {
  size_t n = pool->fd_count;
  int *fds = NULL;
  bool *used = NULL;
  for (size_t i = 0; i < n; i++)
    if (!pool->fd_used[i]) {
      pool->fd_used[i] = true;
      *out = pool->fds[i];
      return 0;
    }
  fds = realloc(pool->fds, (n + 1) * sizeof *fds);
  if (fds)
    pool->fds = fds;
  used = realloc(pool->fd_used, (n + 1) * sizeof *used);
  if (used)
    pool->fd_used = used;
  if (fds == NULL || used == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  fds[n] = lv_event_fd();
  if (fds[n] < 0)
    return lv_fail_errno(err, LV_STEP_OTHER, errno, "eventfd");
  used[n] = true;
  pool->fd_count = n + 1;
  *out = fds[n];
  return 0;
}

int lvhd_waiter_new(lvhd_engine *engine, lvhd_waiter **out,
                    struct lvhd_error *err) {
  struct lv_pool *pool = (struct lv_pool *)engine; /* its first member */
  lvhd_waiter *waiter = NULL;
  int code = 0;
  if (lv_pool_forked(pool))
    return lv_fail(err, LVHD_E_HANDLE, LV_R_FORKED);
  waiter = calloc(1, sizeof *waiter);
  if (waiter == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  pthread_mutex_lock(&pool->lock);
  code = lend_fd(pool, &waiter->fd, err);
  pthread_mutex_unlock(&pool->lock);
  if (code != 0) {
    free(waiter);
    return code;
  }
  waiter->pool = pool;
  atomic_fetch_add(&pool->refs, 1);
  *out = waiter;
  return 0;
}

int lvhd_waiter_fd(const lvhd_waiter *waiter) {
  return waiter->fd;
}

void lv_waiters_notify(lvhd_waiter *list) {
  for (; list; list = list->next)
    lv_notify_fd(list->fd);
}

/* With the lock held. */
static void insert(lvhd_waiter *waiter, lvhd_waiter **list) {
  waiter->next = *list;
  waiter->prev = list;
  if (*list)
    (*list)->prev = &waiter->next;
  *list = waiter;
  waiter->attached = true;
}

bool lvhd_waiter_attach(lvhd_waiter *waiter, lvhd_task *task) {
  struct lv_pool *pool = waiter->pool;
  bool happened = false;
  if (lv_pool_forked(pool))
    return true;
  lvhd_waiter_detach(waiter);
  pthread_mutex_lock(&pool->lock);
  if (task) {
    happened = atomic_load(&task->job.phase) >= LV_SUCCEEDED;
    if (!happened) {
      atomic_fetch_add(&task->refs, 1);
      waiter->task = task;
      insert(waiter, &task->waiters);
    }
  } else {
    happened = atomic_load(&pool->live_count) == 0;
    if (!happened)
      insert(waiter, &pool->waiters);
  }
  pthread_mutex_unlock(&pool->lock);
  return happened;
}

bool lvhd_waiter_attach_ended(lvhd_waiter *waiter) {
  struct lv_pool *pool = waiter->pool;
  bool happened = false;
  if (lv_pool_forked(pool))
    return true;
  lvhd_waiter_detach(waiter);
  pthread_mutex_lock(&pool->lock);
  happened = pool->ended_first != NULL || atomic_load(&pool->live_count) == 0;
  if (!happened)
    insert(waiter, &pool->ended_waiters);
  pthread_mutex_unlock(&pool->lock);
  return happened;
}

void lvhd_waiter_detach(lvhd_waiter *waiter) {
  struct lv_pool *pool = waiter->pool;
  lvhd_task *task = NULL;
  uint64_t count = 0;
  if (lv_pool_forked(pool))
    return;
  pthread_mutex_lock(&pool->lock);
  if (waiter->attached) {
    *waiter->prev = waiter->next;
    if (waiter->next)
      waiter->next->prev = waiter->prev;
    waiter->attached = false;
    task = waiter->task;
    waiter->task = NULL;
  }
  pthread_mutex_unlock(&pool->lock);
  while (read(waiter->fd, &count, sizeof count) < 0 && errno == EINTR)
    ;
  if (task)
    lv_task_unref(task);
}

void lvhd_waiter_free(lvhd_waiter *waiter) {
  struct lv_pool *pool = NULL;
  if (waiter == NULL)
    return;
  pool = waiter->pool;
  lvhd_waiter_detach(waiter);
  if (!lv_pool_forked(pool)) {
    pthread_mutex_lock(&pool->lock);
    for (size_t i = 0; i < pool->fd_count; i++)
      if (pool->fds[i] == waiter->fd)
        pool->fd_used[i] = false;
    pthread_mutex_unlock(&pool->lock);
  }
  free(waiter);
  lv_pool_unref(pool);
}

int lvhd_engine_fd_at(lvhd_engine *engine, size_t i) {
  struct lv_pool *pool = (struct lv_pool *)engine;
  int fd = -1;
  if (lv_pool_forked(pool))
    return -1;
  pthread_mutex_lock(&pool->lock);
  if (i < pool->fd_count)
    fd = pool->fds[i];
  else if (i == pool->fd_count)
    fd = pool->ended_fd;
  pthread_mutex_unlock(&pool->lock);
  return fd;
}
