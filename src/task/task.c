/* SPDX-License-Identifier: MIT
 *
 * One task: what its handle may ask (the lvhd_task_ functions of lvhd.h),
 * what its verb may ask (lv_job_), and its end.  Knows no verb.
 *
 *   1 the verb's side   2 running and ending   3 the handle
 */
#include "task/task.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "task/sleep.h"

static unsigned phase_of(const lvhd_task *task) {
  return atomic_load(&task->job.phase);
}

static bool ended(const lvhd_task *task) {
  return phase_of(task) >= LV_SUCCEEDED;
}

/* ---- 1 the verb's side ----------------------------------------------- */

void lv_job_total(struct lv_job *job, uint64_t bytes, uint64_t items) {
  atomic_store_explicit(&job->bytes_total, bytes, memory_order_relaxed);
  atomic_store_explicit(&job->items_total, items, memory_order_relaxed);
}

void lv_job_step(struct lv_job *job, uint64_t bytes, uint64_t items) {
  atomic_fetch_add_explicit(&job->bytes, bytes, memory_order_relaxed);
  atomic_fetch_add_explicit(&job->items, items, memory_order_relaxed);
}

bool lv_job_cancelled(const struct lv_job *job) {
  return atomic_load(&job->phase) == LV_CANCELLING;
}

bool lv_job_commit(struct lv_job *job) {
  unsigned running = LV_RUNNING;
  return atomic_compare_exchange_strong(&job->phase, &running,
                                        LV_COMMITTED) ||
         running == LV_COMMITTED;
}

/* ---- 2 running and ending -------------------------------------------- */

/* Never 0, 1 or 2: what a program prints must not end its waits. */
int lv_event_fd(void) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd >= 0 && fd <= STDERR_FILENO) {
    int low = fd;
    fd = fcntl(low, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(low);
  }
  return fd;
}

void lv_notify_fd(int fd) {
  const uint64_t one = 1;
  ssize_t n = 0;
  do {
    n = write(fd, &one, sizeof one);
  } while (n < 0 && errno == EINTR);
}

static void fail_cancelled(lvhd_task *task) {
  lv_fail(&task->err, LVHD_E_ABORT, LV_R_NONE);
  task->err.op = task->verb->name;
  lv_error_path(&task->err, task->verb->path(task->args));
}

/* With the lock held.  Everything that the handle may read is in place
 * before the phase tells that it may. */
static void end_locked(lvhd_task *task, enum lv_phase phase) {
  struct lv_pool *pool = task->pool;
  task->ended = pool->clock(pool->clock_of);
  atomic_store(&task->job.phase, phase);
  if (task->fd >= 0)
    lv_notify_fd(task->fd);
  lv_waiters_notify(task->waiters);
  lv_ended_put(pool, task); /* before there is no live task any more */
  lv_pool_ended(pool, task);
}

/* Not under the lock: who is woken would only sleep again, on the lock. */
static void wake_sleepers(lvhd_task *task) {
  if (atomic_load(&task->sleepers) > 0)
    lv_futex_wake(&task->job.phase);
}

/* With the lock held: the queue's reference of a failed task that nobody can
 * ask any more goes to the list of the lost; of a cancelled one too, when it
 * was not its owner who cancelled it. */
static bool keep_lost(lvhd_task *task, enum lv_phase phase) {
  bool worth_saying = phase == LV_FAILED ||
                      (phase == LV_CANCELLED && !task->by_owner &&
                       task->pool->cancels_long);
  if (!worth_saying || !task->handle_gone)
    return false;
  if (task->kept) {
    if (!task->pool->cancels_long)
      return false; /* lvhd_engine_ended has it */
    task->kept = false; /* nobody can ask; the queue's reference stays */
    atomic_fetch_sub(&task->refs, 1);
  }
  task->next = task->pool->lost;
  task->pool->lost = task;
  atomic_store(&task->pool->has_lost, true);
  return true;
}

void lv_task_run(lvhd_task *task) {
  struct lv_pool *pool = task->pool;
  bool kept = false;
  int code = task->verb->run(task->args, &task->job, &task->err);
  enum lv_phase phase = code == 0 ? LV_SUCCEEDED : LV_FAILED;
  bool lost = false;
  task->err.op = task->verb->name;
  if (code != 0 && task->err.path == NULL)
    lv_error_path(&task->err, task->verb->path(task->args));
  pthread_mutex_lock(&pool->lock);
  if (lv_job_cancelled(&task->job)) {
    fail_cancelled(task);
    phase = LV_CANCELLED;
  }
  lost = keep_lost(task, phase);
  kept = task->kept;
  end_locked(task, phase);
  pthread_mutex_unlock(&pool->lock);
  lv_sleep_ended(pool);
  if (kept)
    lv_ended_wake(pool);
  if (lost)
    return; /* nobody holds a handle, and another thread may have it by now */
  wake_sleepers(task);
  lv_task_unref(task);
}

bool lv_task_cancel_locked(lvhd_task *task) {
  unsigned phase = LV_RUNNING;
  if (phase_of(task) == LV_QUEUED) {
    lv_pool_unqueue(task->pool, task);
    fail_cancelled(task);
    bool lost = keep_lost(task, LV_CANCELLED);
    end_locked(task, LV_CANCELLED);
    lv_sleep_ended(task->pool);
    lv_ended_wake(task->pool);
    if (!lost) {
      wake_sleepers(task);
      lv_task_unref(task);
    }
    return true;
  }
  return atomic_compare_exchange_strong(&task->job.phase, &phase,
                                        LV_CANCELLING) ||
         phase == LV_CANCELLING || phase == LV_CANCELLED;
}

void lv_task_unref(lvhd_task *task) {
  struct lv_pool *pool = task->pool;
  if (atomic_fetch_sub(&task->refs, 1) != 1)
    return;
  task->verb->free(task->args);
  lvhd_error_clear(&task->err);
  free(task);
  atomic_fetch_sub(&pool->tasks, 1);
  lv_pool_unref(pool);
}

/* ---- 3 the handle ---------------------------------------------------- */

/* Until the end itself wakes. */
static int sleep_for(lvhd_task *task, unsigned ms) {
  unsigned phase = 0;
  int failed = 0;
  atomic_fetch_add(&task->sleepers, 1);
  phase = phase_of(task);
  if (phase < LV_SUCCEEDED)
    failed = lv_futex_wait(&task->job.phase, phase, ms);
  atomic_fetch_sub(&task->sleepers, 1);
  return failed;
}

bool lvhd_task_step(lvhd_task *task, unsigned ms, bool *interrupted) {
  int failed = 0;
  if (interrupted)
    *interrupted = false;
  if (ended(task) || lv_pool_forked(task->pool))
    return true;
  if (ms > LV_PATIENCE_MS) {
    failed = lv_sleep_through(task->pool, LV_PATIENCE_MS);
    ms -= LV_PATIENCE_MS;
  }
  if (ms > 0 && failed == 0 && !ended(task))
    failed = sleep_for(task, ms);
  if (interrupted)
    *interrupted = failed == EINTR;
  return ended(task);
}

enum lvhd_status lvhd_task_status(const lvhd_task *task) {
  switch ((enum lv_phase)phase_of(task)) {
    case LV_QUEUED:
      return LVHD_QUEUED;
    case LV_RUNNING:
    case LV_CANCELLING:
    case LV_COMMITTED:
      return LVHD_RUNNING;
    case LV_SUCCEEDED:
      return LVHD_SUCCEEDED;
    case LV_CANCELLED:
      return LVHD_CANCELLED;
    case LV_FAILED:
      break;
  }
  return LVHD_FAILED;
}

bool lvhd_task_cancel(lvhd_task *task) {
  struct lv_pool *pool = task->pool;
  bool cancelled = false;
  if (lv_pool_forked(pool))
    return false;
  pthread_mutex_lock(&pool->lock);
  cancelled = lv_task_cancel_locked(task);
  task->by_owner = cancelled;
  pthread_mutex_unlock(&pool->lock);
  return cancelled;
}

const struct lvhd_error *lvhd_task_peek(const lvhd_task *task) {
  static const struct lvhd_error forked = {.code = LVHD_E_HANDLE,
                                           .reason = LV_R_FORKED};
  if (!ended(task) && lv_pool_forked(task->pool))
    return &forked;
  return phase_of(task) > LV_SUCCEEDED ? &task->err : NULL;
}

const struct lvhd_error *lvhd_task_error(lvhd_task *task) {
  const struct lvhd_error *err = lvhd_task_peek(task);
  if (err)
    atomic_store(&task->read, true);
  return err;
}

bool lvhd_task_leave(lvhd_task *task) {
  struct lv_pool *pool = task->pool;
  bool unread = false;
  if (lv_pool_forked(pool))
    return false;
  pthread_mutex_lock(&pool->lock);
  task->handle_gone = task->handles == 1;
  unread = task->handle_gone && phase_of(task) == LV_FAILED &&
           !atomic_load(&task->read);
  if (unread)
    atomic_store(&task->read, true); /* once is enough */
  pthread_mutex_unlock(&pool->lock);
  return unread;
}

const struct lvhd_info *lvhd_task_info(const lvhd_task *task) {
  return phase_of(task) == LV_SUCCEEDED && task->verb->info
           ? task->verb->info(task->args)
           : NULL;
}

const lvhd_infos *lvhd_task_infos(const lvhd_task *task) {
  return phase_of(task) == LV_SUCCEEDED && task->verb->infos
           ? task->verb->infos(task->args)
           : NULL;
}

bool lvhd_task_has_items(const lvhd_task *task) {
  return task->verb->item_count != NULL;
}

size_t lvhd_task_item_count(const lvhd_task *task) {
  return ended(task) && task->verb->item_count
           ? task->verb->item_count(task->args)
           : 0;
}

const struct lvhd_info *lvhd_task_item_info(const lvhd_task *task, size_t i) {
  const struct lvhd_error *err = NULL;
  return i < lvhd_task_item_count(task) ? task->verb->item(task->args, i, &err)
                                        : NULL;
}

const struct lvhd_error *lvhd_task_item_error(const lvhd_task *task,
                                              size_t i) {
  const struct lvhd_error *err = NULL;
  if (i < lvhd_task_item_count(task))
    (void)task->verb->item(task->args, i, &err);
  return err;
}

static unsigned percent_of(uint64_t done, uint64_t total) {
  if (total == 0)
    return 0;
  if (done >= total)
    return 99;
  return (unsigned)((double)done * 100 / (double)total);
}

void lvhd_task_progress(lvhd_task *task, struct lvhd_progress *out) {
  struct lv_job *job = &task->job;
  enum lv_phase phase = (enum lv_phase)phase_of(task);
  unsigned percent = 0;
  out->bytes = atomic_load_explicit(&job->bytes, memory_order_relaxed);
  out->bytes_total =
    atomic_load_explicit(&job->bytes_total, memory_order_relaxed);
  out->items_total =
    atomic_load_explicit(&job->items_total, memory_order_relaxed);
  out->items = atomic_load_explicit(&job->items, memory_order_relaxed);
  /* A second try (LV_AGAIN_NAMED) writes all of it once more. */
  if (out->bytes_total != 0 && out->bytes > out->bytes_total)
    out->bytes = out->bytes_total;
  percent = phase == LV_SUCCEEDED ? 100
                                  : percent_of(out->bytes, out->bytes_total);
  if (percent > task->percent)
    task->percent = percent;
  out->percent = task->percent;
}

double lvhd_task_elapsed(const lvhd_task *task) {
  const struct lv_pool *pool = task->pool;
  int64_t now = ended(task) ? task->ended : pool->clock(pool->clock_of);
  return (double)(now - task->began) / 1e9;
}

const char *lvhd_task_verb(const lvhd_task *task) {
  return task->verb->name;
}

/* The path changes while a call is prepared, and never after. */
const char *lvhd_task_path(const lvhd_task *task) {
  return task->verb->path(task->args);
}

int lvhd_task_fd(lvhd_task *task, struct lvhd_error *err) {
  struct lv_pool *pool = task->pool;
  int fd = -1;
  if (lv_pool_forked(pool)) {
    lv_fail(err, LVHD_E_HANDLE, LV_R_FORKED);
    return -1;
  }
  pthread_mutex_lock(&pool->lock);
  if (task->fd < 0) {
    task->fd = lv_event_fd();
    if (task->fd < 0)
      lv_fail_errno(err, LV_STEP_OTHER, errno, "eventfd");
    else if (ended(task))
      lv_notify_fd(task->fd);
  }
  fd = task->fd;
  pthread_mutex_unlock(&pool->lock);
  return fd;
}

int lvhd_task_has_fd(const lvhd_task *task) {
  return task->fd; /* set by the handle's thread alone */
}

bool lvhd_task_forked(const lvhd_task *task) {
  return lv_pool_forked(task->pool);
}

void lvhd_task_free(lvhd_task *task) {
  struct lv_pool *pool = NULL;
  bool forked = false;
  int fd = -1;
  if (task == NULL)
    return;
  pool = task->pool;
  forked = lv_pool_forked(pool);
  if (!forked)
    pthread_mutex_lock(&pool->lock);
  if (--task->handles == 0) {
    fd = task->fd;
    task->fd = -1;
    task->handle_gone = true;
  }
  if (!forked)
    pthread_mutex_unlock(&pool->lock);
  if (fd >= 0)
    close(fd);
  lv_task_unref(task);
}
