/* SPDX-License-Identifier: MIT
 *
 * Sleeping of those who wait for tasks.
 */
#ifndef LV_TASK_SLEEP_H
#define LV_TASK_SLEEP_H

#include <stdatomic.h>

struct lv_pool;

/* The longest patient sleep. */
#define LV_PATIENCE_MS 1

/* One bounded sleep while *word is `value`: 0, or an errno, of which EINTR
 * tells of a signal. */
int lv_futex_wait(atomic_uint *word, unsigned value, unsigned ms);
void lv_futex_wake(atomic_uint *word);

/* Where many tasks are live: sleeps until several have ended, at most `ms`.
 * Else, and where that was in vain lately, returns at once.  EINTR tells of a
 * signal; 0: look. */
int lv_sleep_through(struct lv_pool *pool, unsigned ms);

/* A live task has ended.  Better not under the lock: who is woken may want it. */
void lv_sleep_ended(struct lv_pool *pool);

#endif
