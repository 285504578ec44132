/* SPDX-License-Identifier: MIT
 *
 * Sleeping on a word until another thread changes it, and sleeping through
 * the ends of several tasks.  Knows no task, and not what is waited for.
 *
 * A sleep and the wake that ends it cost some ten microseconds of CPU, as much
 * as a short task needs outside of the kernel.  Who waits while many
 * tasks are under way has little to do for each: it is woken once for several
 * of them, as network cards interrupt once for several packets.  What it waits
 * for may end sooner, so such a sleep is short, and where the several did not
 * come in it, the next sleeps are plain ones, which the awaited end itself ends.
 */
#include "task/sleep.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "task/pool.h"

/* Of the live tasks, one in so many, and no more than these: the workers must
 * not run out of work meanwhile. */
#define SHARE 2
#define MOST 16
/* So many plain sleeps after a patient one that was in vain: tasks that take
 * longer than a millisecond are told of a millisecond late once in so many. */
#define PLAIN 16

int lv_futex_wait(atomic_uint *word, unsigned value, unsigned ms) {
  struct timespec ts = {.tv_sec = ms / 1000,
                        .tv_nsec = (long)(ms % 1000) * 1000000};
  if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &ts, NULL, 0) == 0)
    return 0;
  return errno;
}

void lv_futex_wake(atomic_uint *word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static unsigned several_of(struct lv_pool *pool) {
  unsigned n = atomic_load(&pool->live_count) / SHARE;
  unsigned plain = atomic_load(&pool->plain_sleeps);
  if (n < 2)
    return 0;
  if (plain > 0) {
    atomic_store(&pool->plain_sleeps, plain - 1);
    return 0;
  }
  return n < MOST ? n : MOST;
}

/* Who sets the count while another sleeps takes it over: that one is woken
 * with it, or by the time. */
int lv_sleep_through(struct lv_pool *pool, unsigned ms) {
  unsigned left = several_of(pool);
  int failed = 0;
  if (left == 0)
    return 0;
  atomic_store(&pool->several, left);
  do {
    failed = lv_futex_wait(&pool->several, left, ms);
    left = atomic_load(&pool->several);
  } while (failed == EAGAIN && left > 0);
  if (failed == ETIMEDOUT)
    atomic_store(&pool->plain_sleeps, PLAIN);
  if (left > 0)
    atomic_store(&pool->several, 0);
  return failed == EINTR ? EINTR : 0;
}

void lv_sleep_ended(struct lv_pool *pool) {
  unsigned left = atomic_load(&pool->several);
  while (left > 0)
    if (atomic_compare_exchange_weak(&pool->several, &left, left - 1)) {
      if (left == 1)
        lv_futex_wake(&pool->several);
      return;
    }
}
