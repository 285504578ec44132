/* SPDX-License-Identifier: MIT
 *
 * One task: the inside that pool.c, task.c and waiter.c share.
 *
 * Life.  Two references, the handle's and the queue's; whoever drops the
 * last frees.  A waiter attached to a task holds one more, and so does a pool
 * that hands out ended tasks: this one becomes another handle's.
 *
 *   QUEUED -> RUNNING -> COMMITTED -> SUCCEEDED or FAILED
 *      |         |  \----------------^    (a verb that made nothing)
 *      |         v
 *      |     CANCELLING --+
 *      v                  v
 *   CANCELLED <-----------+
 */
#ifndef LV_TASK_TASK_H
#define LV_TASK_TASK_H

#include "task/pool.h"

enum lv_phase {
  LV_QUEUED,
  LV_RUNNING,
  LV_CANCELLING,
  LV_COMMITTED,
  LV_SUCCEEDED, /* this and all after are ends */
  LV_FAILED,
  LV_CANCELLED
};

/* What a verb may touch of its task. */
struct lv_job {
  atomic_uint phase; /* enum lv_phase; a futex word */
  atomic_uint_fast64_t bytes, bytes_total, items, items_total;
};

struct lvhd_task {
  struct lv_job job;
  struct lv_pool *pool;
  const struct lv_verb *verb;
  void *args;
  atomic_uint refs;
  atomic_uint sleepers;
  unsigned kind;
  unsigned percent; /* the most that was told; the handle's thread only */
  int fd;           /* guarded by the lock; -1: none */
  unsigned handles; /* under the lock, as the next three */
  bool handle_gone; /* the last handle is being let go of, or gone */
  bool kept;        /* the pool holds it until it is handed out (ended.c) */
  bool by_owner;    /* its owner has cancelled it */
  atomic_bool read; /* the error was asked for */
  int64_t began, ended; /* ended: valid after the end */
  void *user; /* of the program */
  lvhd_task *next, *prev; /* in the queue; next: among the lost, or the ended */
  lvhd_task *live_next, **live_prev;
  lvhd_waiter *waiters;
  struct lvhd_error err; /* valid after the end */
};

struct lvhd_waiter {
  struct lv_pool *pool;
  lvhd_task *task;     /* attached to; NULL: not, or to a list of the pool */
  bool attached;
  lvhd_waiter *next, **prev;
  int fd;
};

/* Runs a task that was taken from the queue, on a worker. */
void lv_task_run(lvhd_task *task);

/* With the lock held: true, it will end as cancelled. */
bool lv_task_cancel_locked(lvhd_task *task);

void lv_task_unref(lvhd_task *task);

/* With the lock held: makes the descriptors of a list readable. */
void lv_waiters_notify(lvhd_waiter *list);
void lv_notify_fd(int fd);
int lv_event_fd(void); /* -1 and errno */

/* With the lock held: a queued task leaves the queue. */
void lv_pool_unqueue(struct lv_pool *pool, lvhd_task *task);

/* With the lock held: the task to run next, or NULL. */
lvhd_task *lv_pool_pick(const struct lv_pool *pool);

/* With the lock held: wakes or starts up to n workers. */
void lv_pool_invite(struct lv_pool *pool, size_t n);

/* With the lock held, which is let go meanwhile: works on items of some
 * spread until there is a task to run or no item left.  False: none was. */
bool lv_spread_help(struct lv_pool *pool);

/* With the lock held: the pool holds a live task, if it collects; a held one
 * has ended.  lv_ended_wake: then wake those who sleep for it. */
void lv_ended_keep(struct lv_pool *pool, lvhd_task *task);
void lv_ended_put(struct lv_pool *pool, lvhd_task *task);
void lv_ended_wake(struct lv_pool *pool);

/* With the lock held: a live task has ended. */
void lv_pool_ended(struct lv_pool *pool, lvhd_task *task);

#endif
