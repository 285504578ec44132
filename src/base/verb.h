/* SPDX-License-Identifier: MIT
 *
 * Where op and task meet: what a verb is, and what it may ask of the task
 * that runs it.  task knows no verb but through this struct; op knows no
 * thread but through struct lv_job.
 */
#ifndef LV_BASE_VERB_H
#define LV_BASE_VERB_H

#include "lvhd.h"

struct lv_job; /* the running task, as its verb sees it; see task/task.c */

/* The verb never takes the last worker that does nothing of the kind, where
 * there is more than one.  LV_LONG: at the end of a Lua state it is cancelled;
 * LV_MANY: it is a creation, and finishes. */
#define LV_LONG 1u
#define LV_MANY 2u

/* One const object per op file.  args is one allocation of the verb's. */
struct lv_verb {
  const char *name;
  /* The caller's thread: strings, then (preflight) disk checks. */
  int (*prepare)(void *args, struct lvhd_error *err);
  /* A worker: looks again, then works.  0 means success, and the verb has
   * called lv_job_commit() unless it made nothing.  err is never NULL. */
  int (*run)(void *args, struct lv_job *job, struct lvhd_error *err);
  /* Arguments and result, at the last reference, on any thread. */
  void (*free)(void *args);
  /* LV_LONG, LV_MANY or 0; asked once, after prepare. */
  unsigned (*kind)(const void *args);
  /* The result after success; the path for texts.  Both live in args. */
  const struct lvhd_info *(*info)(const void *args);
  /* Instead of info, where the result is a list; else NULL. */
  const lvhd_infos *(*infos)(const void *args);
  const char *(*path)(const void *args);
  /* Where each of many items ends for itself: how many there are, and what
   * became of one, an info or (then info is NULL) an error; whatever the end
   * of the task.  Else NULL. */
  size_t (*item_count)(const void *args);
  const struct lvhd_info *(*item)(const void *args, size_t i,
                                  const struct lvhd_error **err);
};

/* What there is to do, said once, early; what has been done, added up. */
void lv_job_total(struct lv_job *job, uint64_t bytes, uint64_t items);
void lv_job_step(struct lv_job *job, uint64_t bytes, uint64_t items);

/* Someone wants the task to end as cancelled: stop, undo, return E_ABORT. */
bool lv_job_cancelled(const struct lv_job *job);

/* The point of no return: a cancel before it wins (false: undo and return
 * E_ABORT), one after it is too late. */
bool lv_job_commit(struct lv_job *job);

/* How many workers the engine may have. */
unsigned lv_job_width(const struct lv_job *job);

/* Calls fn for 0 .. n-1, each once, in no order, on this thread and on those
 * of idle workers, which leave after an item when a task is queued: right with
 * one thread, too.  Returns 0, or the first failure with its error in *err
 * (fn's err is never NULL); after a failure no other item is begun, nor after
 * a cancel, which is E_ABORT here.  None is under way any more when this
 * returns. */
int lv_job_spread(struct lv_job *job, size_t n,
                  int (*fn)(void *arg, size_t i, struct lvhd_error *err),
                  void *arg, struct lvhd_error *err);

/* A lock and an order for the items of a spread: turns are taken under the
 * lock, no more than `most` at once, and come in the order in which they were
 * taken.  E_OUTOFMEMORY, VM_E_OUT_OF_RESOURCE. */
struct lv_turns;
int lv_turns_new(struct lv_turns **out, size_t most, struct lvhd_error *err);
void lv_turns_free(struct lv_turns *turns); /* accepts NULL */
void lv_turns_lock(struct lv_turns *turns);
void lv_turns_unlock(struct lv_turns *turns);
uint64_t lv_turns_take(struct lv_turns *turns); /* with the lock held */

/* Waits for it; false: it is over.  Who took it works on, in here or not, until
 * he passes it, or ends all. */
bool lv_turns_await(struct lv_turns *turns, uint64_t turn);
/* Whether it has come or not: who needs none does not wait for it. */
void lv_turns_pass(struct lv_turns *turns, uint64_t turn);

/* With the lock held: no turn comes any more. */
void lv_turns_end(struct lv_turns *turns);
bool lv_turns_over(const struct lv_turns *turns);

#endif
