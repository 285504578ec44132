/* SPDX-License-Identifier: MIT
 *
 * The worker pool.  See pool.h for what holds when.
 *
 *   1 fork   2 workers   3 the queue   4 the end
 */
#include "task/pool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "task/sleep.h"
#include "task/task.h"

/* ---- 1 fork ---------------------------------------------------------- */

/* A page that the kernel clears in a child: asking it costs no call, where
 * getpid() would cost one each time. */
static volatile unsigned char *alive_page(void) {
  long size = sysconf(_SC_PAGESIZE);
  void *page = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED)
    return NULL;
  if (madvise(page, (size_t)size, MADV_WIPEONFORK) != 0) {
    munmap(page, (size_t)size);
    return NULL;
  }
  *(unsigned char *)page = 1;
  return page;
}

bool lv_pool_forked(const struct lv_pool *pool) {
  return pool->alive ? *pool->alive == 0 : getpid() != pool->pid;
}

/* The lock is held for a moment only: who meets it taken looks again before
 * he sleeps, which would cost two system calls. */
static int lock_init(pthread_mutex_t *lock) {
  pthread_mutexattr_t attr;
  int failed = pthread_mutexattr_init(&attr);
  if (failed != 0)
    return failed;
  pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
  failed = pthread_mutex_init(lock, &attr);
  pthread_mutexattr_destroy(&attr);
  return failed;
}

int lv_pool_init(struct lv_pool *pool, unsigned max,
                 int64_t (*clock)(const void *), const void *clock_of,
                 void (*destroy)(struct lv_pool *), struct lvhd_error *err) {
  pool->threads = calloc(max, sizeof *pool->threads);
  if (pool->threads == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  if (lock_init(&pool->lock) != 0) {
    free(pool->threads);
    return lv_fail(err, LVHD_VM_E_OUT_OF_RESOURCE, LV_R_NONE);
  }
  if (pthread_cond_init(&pool->work, NULL) != 0) {
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    return lv_fail(err, LVHD_VM_E_OUT_OF_RESOURCE, LV_R_NONE);
  }
  pool->max = max;
  pool->clock = clock;
  pool->clock_of = clock_of;
  pool->destroy = destroy;
  pool->pid = getpid();
  pool->alive = alive_page();
  pool->ended_fd = -1;
  atomic_init(&pool->refs, 1);
  return 0;
}

/* ---- 2 workers ------------------------------------------------------- */

static bool is_long(const lvhd_task *task) {
  return (task->kind & (LV_LONG | LV_MANY)) != 0;
}

/* Long ones leave a worker to the others, where there is more than one. */
lvhd_task *lv_pool_pick(const struct lv_pool *pool) {
  lvhd_task *task = pool->first;
  if (pool->max > 1 && pool->running_long + 1 >= pool->max)
    while (task && is_long(task))
      task = task->next;
  return task;
}

static void *worker_main(void *arg) {
  struct lv_pool *pool = arg;
  pthread_mutex_lock(&pool->lock);
  for (;;) {
    lvhd_task *task = lv_pool_pick(pool);
    bool one_long = false;
    if (task == NULL) {
      if (lv_spread_help(pool))
        continue;
      if (pool->leave)
        break;
      pool->idle++;
      pthread_cond_wait(&pool->work, &pool->lock);
      pool->idle--;
      continue;
    }
    lv_pool_unqueue(pool, task);
    one_long = is_long(task); /* it may be gone after it ran */
    pool->running_long += one_long;
    atomic_store(&task->job.phase, LV_RUNNING);
    pthread_mutex_unlock(&pool->lock);
    lv_task_run(task);
    pthread_mutex_lock(&pool->lock);
    pool->running_long -= one_long;
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

/* With the lock held.  Workers never run the program's signal handlers. */
static int start_worker(struct lv_pool *pool) {
  sigset_t all, old;
  char name[16];
  int failed = 0;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  failed = pthread_create(&pool->threads[pool->count], NULL, worker_main,
                          pool);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (failed != 0)
    return failed;
  snprintf(name, sizeof name, "lvhd-%u", (pool->count + 1) % 1000);
  pthread_setname_np(pool->threads[pool->count], name);
  pool->count++;
  return 0;
}

/* Those that are woken for nothing sleep again; a thread that cannot be had
 * is no harm. */
void lv_pool_invite(struct lv_pool *pool, size_t n) {
  size_t ready = pool->idle > pool->queued ? pool->idle - pool->queued : 0;
  for (size_t i = 0; i < n && i < pool->idle; i++)
    pthread_cond_signal(&pool->work);
  for (; ready < n && pool->count < pool->max && !pool->leave; ready++)
    if (start_worker(pool) != 0)
      return;
}

/* ---- 3 the queue ----------------------------------------------------- */

int lv_pool_check(struct lv_pool *pool, struct lvhd_error *err) {
  if (lv_pool_forked(pool))
    return lv_fail(err, LVHD_E_HANDLE, LV_R_FORKED);
  if (atomic_load(&pool->refuse)) /* put() asks again, under the lock */
    return lv_fail(err, LVHD_VM_E_APP_SHUTTING_DOWN, LV_R_NONE);
  return 0;
}

static void append(struct lv_pool *pool, lvhd_task *task) {
  task->next = NULL;
  task->prev = pool->last;
  if (pool->last)
    pool->last->next = task;
  else
    pool->first = task;
  pool->last = task;
  pool->queued++;
  task->live_next = pool->live;
  task->live_prev = &pool->live;
  if (pool->live)
    pool->live->live_prev = &task->live_next;
  pool->live = task;
  atomic_fetch_add(&pool->live_count, 1);
  lv_ended_keep(pool, task);
}

void lv_pool_unqueue(struct lv_pool *pool, lvhd_task *task) {
  if (task->prev)
    task->prev->next = task->next;
  else
    pool->first = task->next;
  if (task->next)
    task->next->prev = task->prev;
  else
    pool->last = task->prev;
  task->next = NULL;
  task->prev = NULL;
  pool->queued--;
}

/* Whatever the errno (EAGAIN: too many threads), no thread is to be had. */
static int fail_thread(struct lvhd_error *err, int errnum) {
  int code = lv_fail(err, LVHD_VM_E_OUT_OF_RESOURCE, LV_R_NONE);
  if (err) {
    err->errnum = errnum;
    err->syscall = "pthread_create";
  }
  return code;
}

static int put(struct lv_pool *pool, lvhd_task *task,
               struct lvhd_error *err) {
  bool wake = false;
  int code = 0;
  pthread_mutex_lock(&pool->lock);
  if (pool->refuse) {
    code = lv_fail(err, LVHD_VM_E_APP_SHUTTING_DOWN, LV_R_NONE);
  } else if (pool->queued >= pool->idle && pool->count < pool->max) {
    int failed = start_worker(pool);
    if (failed != 0 && pool->count == 0)
      code = fail_thread(err, failed);
  }
  if (code == 0) {
    append(pool, task);
    wake = pool->idle > 0;
  }
  pthread_mutex_unlock(&pool->lock);
  /* Not under the lock: who is woken would only sleep again, on the lock. */
  if (wake)
    pthread_cond_signal(&pool->work);
  return code;
}

static lvhd_task *task_new(struct lv_pool *pool, const struct lv_verb *verb,
                           void *args) {
  lvhd_task *task = calloc(1, sizeof *task);
  if (task == NULL)
    return NULL;
  task->pool = pool;
  task->verb = verb;
  task->args = args;
  task->kind = verb->kind(args);
  task->fd = -1;
  task->handles = 1;
  task->began = pool->clock(pool->clock_of);
  atomic_init(&task->refs, 2);
  atomic_fetch_add(&pool->refs, 1);
  atomic_fetch_add(&pool->tasks, 1);
  return task;
}

int lv_pool_start(struct lv_pool *pool, const struct lv_verb *verb,
                  void *args, lvhd_task **out, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  int code = verb->prepare(args, err);
  if (code == 0) {
    task = task_new(pool, verb, args);
    if (task == NULL)
      code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  if (code == 0)
    code = put(pool, task, err);
  if (code != 0) {
    if (err && err->path == NULL)
      lv_error_path(err, verb->path(args));
    if (err)
      err->op = verb->name;
    if (task) {
      atomic_store(&task->refs, 1);
      lv_task_unref(task);
    } else {
      verb->free(args);
    }
    return code;
  }
  *out = task;
  return 0;
}

/* ---- 4 the end ------------------------------------------------------- */

void lv_pool_ended(struct lv_pool *pool, lvhd_task *task) {
  *task->live_prev = task->live_next;
  if (task->live_next)
    task->live_next->live_prev = task->live_prev;
  if (atomic_fetch_sub(&pool->live_count, 1) != 1)
    return;
  lv_waiters_notify(pool->waiters);
  if (atomic_load(&pool->sleepers) > 0)
    lv_futex_wake(&pool->live_count);
}

static bool unwanted(const lvhd_task *task, enum lvhd_stop how) {
  return how == LVHD_STOP_CANCEL ||
         (how == LVHD_STOP_CANCEL_LONG && (task->kind & LV_LONG) != 0);
}

void lv_pool_stop(struct lv_pool *pool, enum lvhd_stop how) {
  lvhd_task *next = NULL;
  if (lv_pool_forked(pool))
    return;
  pthread_mutex_lock(&pool->lock);
  pool->refuse = true;
  /* A later stop does not take back what this one has begun. */
  if (how == LVHD_STOP_CANCEL_LONG)
    pool->cancels_long = true;
  for (lvhd_task *task = pool->live; task; task = next) {
    next = task->live_next;
    if (unwanted(task, how))
      lv_task_cancel_locked(task);
  }
  pthread_mutex_unlock(&pool->lock);
}

bool lv_pool_idle(struct lv_pool *pool, unsigned ms) {
  unsigned live = 0;
  if (lv_pool_forked(pool))
    return true;
  live = atomic_load(&pool->live_count);
  if (live == 0 || ms == 0)
    return live == 0;
  atomic_fetch_add(&pool->sleepers, 1);
  (void)lv_futex_wait(&pool->live_count, live, ms);
  atomic_fetch_sub(&pool->sleepers, 1);
  return atomic_load(&pool->live_count) == 0;
}

void lv_pool_join(struct lv_pool *pool) {
  unsigned count = 0;
  if (lv_pool_forked(pool))
    return;
  pthread_mutex_lock(&pool->lock);
  pool->refuse = true;
  pool->leave = true;
  count = pool->count;
  pool->count = 0;
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  for (unsigned i = 0; i < count; i++)
    pthread_join(pool->threads[i], NULL);
}

void lv_pool_counts(struct lv_pool *pool, struct lvhd_engine_counts *out) {
  *out = (struct lvhd_engine_counts){0};
  if (lv_pool_forked(pool))
    return;
  pthread_mutex_lock(&pool->lock);
  out->live = atomic_load(&pool->live_count);
  out->tasks = atomic_load(&pool->tasks);
  out->threads = pool->count;
  pthread_mutex_unlock(&pool->lock);
}

lvhd_task *lv_pool_lost(struct lv_pool *pool) {
  lvhd_task *task = NULL;
  if (!atomic_load(&pool->has_lost) || lv_pool_forked(pool))
    return NULL;
  pthread_mutex_lock(&pool->lock);
  task = pool->lost;
  if (task) {
    pool->lost = task->next;
    task->next = NULL;
    task->handles++;
  }
  atomic_store(&pool->has_lost, pool->lost != NULL);
  pthread_mutex_unlock(&pool->lock);
  return task;
}

void lv_pool_unref(struct lv_pool *pool) {
  if (atomic_fetch_sub(&pool->refs, 1) == 1)
    pool->destroy(pool);
}

void lv_pool_free(struct lv_pool *pool) {
  bool forked = lv_pool_forked(pool);
  for (size_t i = 0; i < pool->fd_count; i++)
    close(pool->fds[i]);
  if (pool->ended_fd >= 0)
    close(pool->ended_fd);
  free(pool->fds);
  free(pool->fd_used);
  free(pool->threads);
  if (pool->alive)
    munmap((void *)(uintptr_t)pool->alive, (size_t)sysconf(_SC_PAGESIZE));
  if (forked)
    return; /* another thread of the parent may have held them */
  pthread_cond_destroy(&pool->work);
  pthread_mutex_destroy(&pool->lock);
}
