/* SPDX-License-Identifier: MIT
 *
 * The worker pool of an engine.  Knows tasks, and no verb.
 *
 * Properties.  One lock, in the pool, guards the queue, the lists of tasks
 * and waiters, and the threads.  A task's phase is an atomic word that
 * waiters sleep on (a futex: it returns on a signal and needs no
 * descriptor); it changes to an end only under the lock.
 *
 * Operation.  Threads start when there is work and none is idle, up to
 * `max`; they block all signals.  The queue is first in, first out, but that
 * long tasks never take the last worker when there is more than one.  A
 * worker without a task helps one that has spread its items (spread.c).
 *
 * Safety.  A worker never frees a pool: the engine holds its reference until
 * the workers are joined.  In a forked child no lock is taken and nothing is
 * joined: lv_pool_forked() is asked first, everywhere.
 */
#ifndef LV_TASK_POOL_H
#define LV_TASK_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/verb.h"

struct lv_spread; /* see spread.c */

struct lv_pool {
  pthread_mutex_t lock;
  pthread_cond_t work; /* the queue has a task, a task has items for others,
                          or the workers may leave */
  lvhd_task *first, *last; /* the queue */
  size_t queued;
  struct lv_spread *spreads; /* those that have items left */
  lvhd_task *live; /* queued or running */
  lvhd_task *lost; /* failed, their handle gone before */
  lvhd_waiter *waiters; /* for the end of the last live task */
  bool collects; /* holds each task until it is handed out (ended.c) */
  lvhd_task *ended_first, *ended_last; /* those to be handed out */
  atomic_uint ended_count;
  atomic_uint ends; /* how many were listed so far; a futex word */
  atomic_uint ended_sleepers;
  int ended_fd; /* readable while ended_count > 0; -1: none yet */
  lvhd_waiter *ended_waiters;
  int *fds;     /* every descriptor of the small set */
  bool *fd_used;
  size_t fd_count;
  pthread_t *threads;
  unsigned count, max, idle;
  unsigned running_long; /* workers busy with long tasks */
  atomic_bool refuse; /* no new tasks */
  bool cancels_long; /* stopped with LVHD_STOP_CANCEL_LONG */
  bool leave;  /* workers leave when the queue is empty */
  atomic_uint live_count; /* a futex word */
  atomic_uint sleepers;
  atomic_uint several; /* so many ends until a patient sleeper is woken; a
                          futex word, of sleep.c as the next */
  atomic_uint plain_sleeps; /* so many are left before a patient one */
  atomic_bool has_lost;
  atomic_size_t refs;  /* the engine, its tasks and its waiters */
  atomic_size_t tasks; /* in existence */
  volatile unsigned char *alive; /* a page that a fork wipes; may be NULL */
  pid_t pid;
  int64_t (*clock)(const void *); /* monotonic ns */
  const void *clock_of;
  void (*destroy)(struct lv_pool *); /* at the last reference */
};

/* Fills a zeroed pool.  Starts no thread. */
int lv_pool_init(struct lv_pool *pool, unsigned max,
                 int64_t (*clock)(const void *), const void *clock_of,
                 void (*destroy)(struct lv_pool *), struct lvhd_error *err);

bool lv_pool_forked(const struct lv_pool *pool);

/* VM_E_APP_SHUTTING_DOWN once lv_pool_stop() was called; E_HANDLE after a
 * fork. */
int lv_pool_check(struct lv_pool *pool, struct lvhd_error *err);

/* Runs verb->prepare on this thread, then queues the task.  Takes args, on
 * failure too.  The task comes with the handle's reference. */
int lv_pool_start(struct lv_pool *pool, const struct lv_verb *verb,
                  void *args, lvhd_task **out, struct lvhd_error *err);

void lv_pool_stop(struct lv_pool *pool, enum lvhd_stop how);

/* Waits at most ms for the last live task; true: there is none. */
bool lv_pool_idle(struct lv_pool *pool, unsigned ms);

/* Stops, waits, joins.  Does nothing in a forked child. */
void lv_pool_join(struct lv_pool *pool);

/* Zeros in a forked child. */
void lv_pool_counts(struct lv_pool *pool, struct lvhd_engine_counts *out);

lvhd_task *lv_pool_lost(struct lv_pool *pool);

void lv_pool_unref(struct lv_pool *pool);

/* Frees what lv_pool_init() made; from `destroy`. */
void lv_pool_free(struct lv_pool *pool);

#endif
