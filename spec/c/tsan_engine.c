/* SPDX-License-Identifier: MIT
 *
 * Plain threads that share one engine through lvhd.h, which allows that:
 * creating, waiting, cancelling, asking, letting go, and one that closes the
 * engine under the others.  For ThreadSanitizer.  It must not know Lua, nor
 * anything below lvhd.h.
 *
 *   tsan_engine [SECONDS]     (15, or the environment's LVHD_TSAN_SECONDS)
 */
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lvhd.h"

#define THREADS 6
#define HELD 5 /* tasks that a thread holds at the same time */

/* What all threads of a round share. */
struct round {
  lvhd_engine *engine;
  const char *folder;
  unsigned number;
};

struct player {
  pthread_t thread;
  const struct round *round;
  unsigned number, seed, made;
  bool good;
  lvhd_task *held[HELD];
};

static unsigned roll(struct player *p, unsigned n) {
  p->seed = p->seed * 1664525u + 1013904223u;
  return (p->seed >> 8) % n;
}

static void complain(struct player *p, const char *what, int code) {
  const char *name = lvhd_code_name(code);
  fprintf(stderr, "thread %u: %s: %s\n", p->number, what,
          name != NULL ? name : "?");
  p->good = false;
}

/* Starts one task of a random kind.  False: the engine is closed. */
static bool start(struct player *p, lvhd_task **out) {
  struct lvhd_create_options opts;
  struct lvhd_error err = LVHD_ERROR_INIT;
  char path[4096], parent[4096];
  unsigned kind = roll(p, 4);
  int code;
  memset(&opts, 0, sizeof opts);
  /* a missing parent is found where the work is done */
  opts.preflight = kind != 2 && roll(p, 2) ? LVHD_YES : LVHD_NO;
  snprintf(parent, sizeof parent, "%s/%s.vhd", p->round->folder,
           kind == 2 ? "missing" : "base");
  snprintf(path, sizeof path, "%s/%u/%u-%u.vhd", p->round->folder,
           p->round->number, p->number, p->made++);
  opts.allocate = kind == 1 ? LVHD_ZERO : LVHD_SPARSE;
  if (kind == 0)
    code = lvhd_create_dynamic(p->round->engine, path, 64 << 20, &opts, out,
                               &err);
  else if (kind == 1)
    code = lvhd_create_fixed(p->round->engine, path, 8 << 20, &opts, out,
                             &err);
  else
    code = lvhd_create_differencing(p->round->engine, path, parent, &opts,
                                    out, &err);
  if (code != LVHD_S_OK && code != LVHD_VM_E_APP_SHUTTING_DOWN)
    complain(p, "create", code);
  lvhd_error_clear(&err);
  return code == LVHD_S_OK;
}

/* Waits in one of the three ways. */
static void await(struct player *p, lvhd_task *task) {
  struct pollfd entry = {-1, POLLIN, 0};
  lvhd_waiter *waiter = NULL;
  unsigned way = roll(p, 3);
  if (way == 0)
    entry.fd = lvhd_task_fd(task, NULL);
  else if (way == 1 &&
           lvhd_waiter_new(p->round->engine, &waiter, NULL) == LVHD_S_OK &&
           !lvhd_waiter_attach(waiter, task))
    entry.fd = lvhd_waiter_fd(waiter);
  if (entry.fd >= 0)
    poll(&entry, 1, 20000);
  while (!lvhd_task_step(task, 250, NULL))
    ;
  lvhd_waiter_free(waiter);
}

/* What an ended task must look like. */
static void judge(struct player *p, lvhd_task *task) {
  enum lvhd_status status = lvhd_task_status(task);
  const struct lvhd_error *err = lvhd_task_error(task);
  const struct lvhd_info *info = lvhd_task_info(task);
  if (status == LVHD_SUCCEEDED ? err != NULL || info == NULL
                               : err == NULL || info != NULL)
    complain(p, "result", err != NULL ? err->code : 0);
  else if (err != NULL && err->code != LVHD_E_ABORT &&
           err->code != LVHD_E_PATH_NOT_FOUND)
    complain(p, "task", err->code);
}

static void ask(lvhd_task *task, lvhd_engine *engine) {
  struct lvhd_progress progress;
  struct lvhd_engine_counts counts;
  lvhd_task_progress(task, &progress);
  lvhd_task_elapsed(task);
  lvhd_task_peek(task);
  lvhd_engine_counts(engine, &counts);
  lvhd_engine_idle(engine, 0);
  lvhd_task_free(lvhd_engine_lost(engine));
}

static void play(struct player *p, lvhd_task **slot) {
  lvhd_task *task = *slot;
  switch (roll(p, 6)) {
  case 0:
    lvhd_task_cancel(task);
    break;
  case 1:
    await(p, task);
    judge(p, task);
    break;
  case 2:
    lvhd_task_cancel(task);
    await(p, task);
    judge(p, task);
    break;
  case 3:
    ask(task, p->round->engine);
    break;
  default:
    lvhd_task_leave(task);
    lvhd_task_free(task);
    *slot = NULL;
  }
}

static void *player_main(void *arg) {
  struct player *p = arg;
  unsigned i;
  bool open = true;
  while (open) {
    lvhd_task **slot = &p->held[roll(p, HELD)];
    if (*slot == NULL)
      open = start(p, slot);
    else
      play(p, slot);
  }
  for (i = 0; i < HELD; i++) {
    if (p->held[i] != NULL && roll(p, 2)) {
      await(p, p->held[i]);
      judge(p, p->held[i]);
    }
    lvhd_task_free(p->held[i]);
  }
  return NULL;
}

/* One engine's life; true when every thread found all as it should be. */
static bool play_round(const char *folder, unsigned number) {
  struct lvhd_engine_options opts;
  struct player players[THREADS];
  struct round round = {NULL, folder, number};
  struct timespec nap = {0, 400000000L};
  bool good = true;
  unsigned i;
  memset(&opts, 0, sizeof opts);
  opts.threads = number % 4 + 1;
  opts.sync = LVHD_SYNC_NONE;
  if (lvhd_engine_new(&round.engine, &opts, NULL) != LVHD_S_OK)
    return false;
  memset(players, 0, sizeof players);
  for (i = 0; i < THREADS; i++) {
    players[i].round = &round;
    players[i].number = i;
    players[i].seed = number * 100 + i;
    players[i].good = true;
    if (pthread_create(&players[i].thread, NULL, player_main, &players[i]))
      abort();
  }
  nanosleep(&nap, NULL);
  lvhd_engine_stop(round.engine, (enum lvhd_stop)(number % 3));
  lvhd_engine_close(round.engine, number % 2 == 0);
  for (i = 0; i < THREADS; i++) {
    pthread_join(players[i].thread, NULL);
    good = good && players[i].good;
  }
  lvhd_engine_free(round.engine, true);
  return good;
}

static bool make_parent(const char *folder) {
  lvhd_engine *engine = NULL;
  lvhd_task *task = NULL;
  char path[4096];
  bool good;
  snprintf(path, sizeof path, "%s/base.vhd", folder);
  if (lvhd_engine_new(&engine, NULL, NULL) != LVHD_S_OK)
    return false;
  good = lvhd_create_dynamic(engine, path, 64 << 20, NULL, &task, NULL) ==
         LVHD_S_OK;
  while (good && !lvhd_task_step(task, 250, NULL))
    ;
  good = good && lvhd_task_error(task) == NULL;
  lvhd_task_free(task);
  lvhd_engine_free(engine, false);
  return good;
}

int main(int argc, char **argv) {
  const char *root = getenv("TMPDIR");
  const char *text = argc > 1 ? argv[1] : getenv("LVHD_TSAN_SECONDS");
  time_t stop = time(NULL) + (text != NULL && *text != '\0' ? atoi(text) : 15);
  char folder[3000], command[4096];
  unsigned passed = 0, failed = 0;
  snprintf(folder, sizeof folder, "%s/lvhd-tsan.XXXXXX",
           root != NULL ? root : "/tmp");
  if (mkdtemp(folder) == NULL || !make_parent(folder))
    return 1;
  while (time(NULL) < stop || passed + failed < 6) {
    if (play_round(folder, passed + failed))
      passed++;
    else
      failed++;
    snprintf(command, sizeof command, "rm -rf '%s'/[0-9]*", folder);
    if (system(command) != 0)
      failed++;
  }
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  if (system(command) != 0)
    failed++;
  printf("%u passed, %u failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
