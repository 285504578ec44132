/* SPDX-License-Identifier: MIT
 *
 * Turns among the threads of one spread: who took one earlier comes earlier,
 * however long he needs until then.  Knows neither spreads nor tasks.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/verb.h"

struct lv_turns {
  pthread_mutex_t lock;
  pthread_cond_t moved; /* the turn is another's, or it is over */
  uint64_t given, now;  /* how many were given out, and whose it is */
  bool over;
  size_t most;
  bool passed[]; /* of those from `now` on, by the remainder */
};

int lv_turns_new(struct lv_turns **out, size_t most, struct lvhd_error *err) {
  struct lv_turns *turns = calloc(1, sizeof *turns + most * sizeof(bool));
  *out = NULL;
  if (turns == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  turns->most = most;
  if (pthread_mutex_init(&turns->lock, NULL) != 0) {
    free(turns);
    return lv_fail(err, LVHD_VM_E_OUT_OF_RESOURCE, LV_R_NONE);
  }
  if (pthread_cond_init(&turns->moved, NULL) != 0) {
    pthread_mutex_destroy(&turns->lock);
    free(turns);
    return lv_fail(err, LVHD_VM_E_OUT_OF_RESOURCE, LV_R_NONE);
  }
  *out = turns;
  return 0;
}

void lv_turns_free(struct lv_turns *turns) {
  if (turns == NULL)
    return;
  pthread_cond_destroy(&turns->moved);
  pthread_mutex_destroy(&turns->lock);
  free(turns);
}

void lv_turns_lock(struct lv_turns *turns) {
  pthread_mutex_lock(&turns->lock);
}

void lv_turns_unlock(struct lv_turns *turns) {
  pthread_mutex_unlock(&turns->lock);
}

uint64_t lv_turns_take(struct lv_turns *turns) {
  return turns->given++;
}

bool lv_turns_await(struct lv_turns *turns, uint64_t turn) {
  bool mine = false;
  pthread_mutex_lock(&turns->lock);
  while (!turns->over && turns->now != turn)
    pthread_cond_wait(&turns->moved, &turns->lock);
  mine = !turns->over;
  pthread_mutex_unlock(&turns->lock);
  return mine;
}

void lv_turns_pass(struct lv_turns *turns, uint64_t turn) {
  pthread_mutex_lock(&turns->lock);
  turns->passed[turn % turns->most] = true;
  for (; turns->passed[turns->now % turns->most]; turns->now++)
    turns->passed[turns->now % turns->most] = false;
  pthread_cond_broadcast(&turns->moved);
  pthread_mutex_unlock(&turns->lock);
}

void lv_turns_end(struct lv_turns *turns) {
  turns->over = true;
  pthread_cond_broadcast(&turns->moved);
}

bool lv_turns_over(const struct lv_turns *turns) {
  return turns->over;
}
