/* SPDX-License-Identifier: MIT
 *
 * Spreading: one task's items, worked through by its own worker and by those
 * that have nothing else to do.  Knows no verb.
 *
 * A spread lies on the stack of its owner, the worker that runs the task, and
 * in the pool's list for as long as it has items that nobody has begun.  The
 * lock guards all of it; an item is claimed under the lock and worked on
 * without.  The owner waits for none but those who have begun an item, so
 * that a spread gets done with one worker as with many.
 */
#include "task/task.h"

struct lv_spread {
  struct lv_pool *pool;
  struct lv_job *job;
  size_t n, next; /* how many items there are, and how many are begun */
  int (*fn)(void *arg, size_t i, struct lvhd_error *err);
  void *arg;
  int code;               /* of the first failure */
  struct lvhd_error *err; /* the owner's, or NULL */
  unsigned helpers;       /* workers that are in here, the owner aside */
  pthread_cond_t left;    /* the last of them has left */
  bool listed;
  struct lv_spread *list_next, **list_prev;
};

/* With the lock held. */
static void enlist(struct lv_spread *spread) {
  struct lv_pool *pool = spread->pool;
  spread->list_next = pool->spreads;
  spread->list_prev = &pool->spreads;
  if (pool->spreads)
    pool->spreads->list_prev = &spread->list_next;
  pool->spreads = spread;
  spread->listed = true;
}

/* With the lock held: nobody joins any more. */
static void delist(struct lv_spread *spread) {
  if (!spread->listed)
    return;
  *spread->list_prev = spread->list_next;
  if (spread->list_next)
    spread->list_next->list_prev = spread->list_prev;
  spread->listed = false;
}

/* With the lock held: the first failure stays, and ends the spread.  Takes
 * what err owns. */
static void fail(struct lv_spread *spread, int code, struct lvhd_error *err) {
  if (spread->code == 0) {
    spread->code = code;
    if (spread->err) {
      lvhd_error_clear(spread->err);
      *spread->err = *err;
      *err = (struct lvhd_error)LVHD_ERROR_INIT;
    }
  }
  lvhd_error_clear(err);
  delist(spread);
}

/* With the lock held: the next item, if there is one to begin. */
static bool claim(struct lv_spread *spread, size_t *i) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  if (spread->code != 0 || spread->next >= spread->n)
    return false;
  if (lv_job_cancelled(spread->job)) {
    fail(spread, lv_fail(&err, LVHD_E_ABORT, LV_R_NONE), &err);
    return false;
  }
  *i = spread->next++;
  if (spread->next == spread->n)
    delist(spread);
  return true;
}

/* With the lock held, which is let go meanwhile. */
static void work_on(struct lv_spread *spread, size_t i) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  int code = 0;
  pthread_mutex_unlock(&spread->pool->lock);
  code = spread->fn(spread->arg, i, &err);
  pthread_mutex_lock(&spread->pool->lock);
  if (code != 0)
    fail(spread, code, &err);
  else
    lvhd_error_clear(&err);
}

/* With the lock held: an item of the spread that has the fewest helpers. */
static struct lv_spread *join(struct lv_pool *pool, size_t *i) {
  struct lv_spread *least = NULL;
  do {
    least = pool->spreads;
    for (struct lv_spread *s = least; s; s = s->list_next)
      if (s->helpers < least->helpers)
        least = s;
  } while (least && !claim(least, i)); /* it is cancelled, and off the list */
  return least;
}

bool lv_spread_help(struct lv_pool *pool) {
  size_t i = 0;
  struct lv_spread *spread = join(pool, &i);
  if (spread == NULL)
    return false;
  spread->helpers++;
  do {
    work_on(spread, i);
  } while (lv_pool_pick(pool) == NULL && claim(spread, &i));
  /* Signalled under the lock: behind it the spread may be gone. */
  if (--spread->helpers == 0)
    pthread_cond_signal(&spread->left);
  return true;
}

/* The owner's way through it. */
static void own(struct lv_spread *spread) {
  struct lv_pool *pool = spread->pool;
  size_t i = 0;
  pthread_mutex_lock(&pool->lock);
  if (spread->n > 1) {
    enlist(spread);
    lv_pool_invite(pool, spread->n - 1);
  }
  while (claim(spread, &i))
    work_on(spread, i);
  delist(spread);
  while (spread->helpers > 0)
    pthread_cond_wait(&spread->left, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}

unsigned lv_job_width(const struct lv_job *job) {
  return ((const lvhd_task *)(const void *)job)->pool->max;
}

int lv_job_spread(struct lv_job *job, size_t n,
                  int (*fn)(void *arg, size_t i, struct lvhd_error *err),
                  void *arg, struct lvhd_error *err) {
  lvhd_task *task = (lvhd_task *)(void *)job; /* its first member */
  struct lv_spread spread = {.pool = task->pool, .job = job, .n = n,
                             .fn = fn, .arg = arg, .err = err};
  if (pthread_cond_init(&spread.left, NULL) != 0)
    return lv_fail(err, LVHD_VM_E_OUT_OF_RESOURCE, LV_R_NONE);
  own(&spread);
  pthread_cond_destroy(&spread.left);
  return spread.code;
}
