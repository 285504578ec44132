/* SPDX-License-Identifier: MIT
 *
 * Lua states in threads, each with engines of its own, doing everything with
 * tasks of every verb at random (spec/support/play.lua): for ThreadSanitizer,
 * which finds what two states share.  First two states, then eight, then 32,
 * which all require the module at the same moment.  It must not know the
 * engine: the module is the one on the path, and only Lua's API is used.
 *
 *   tsan_states [SECONDS [TASKS]]
 *
 * So long for each of the three (5), and until the 32 have started so many
 * tasks (10,000); the environment's LVHD_TSAN_SECONDS and LVHD_TSAN_TASKS are
 * for who cannot give arguments.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

static const char prepare[] =
    "require 'spec.support.play'.share((...))\n"
    "return 0\n";
static const char live[] =
    "return require 'spec.support.play'.life(...)\n";

struct state {
  pthread_t thread;
  pthread_barrier_t *start;
  const char *folder;
  int number, seconds, least, tasks;
  bool good;
};

static bool run(const char *text, struct state *s) {
  lua_State *L = luaL_newstate();
  bool good;
  luaL_openlibs(L);
  good = luaL_loadstring(L, text) == LUA_OK;
  lua_pushstring(L, s->folder);
  lua_pushinteger(L, s->number);
  lua_pushinteger(L, s->seconds);
  lua_pushinteger(L, s->least);
  if (s->start != NULL)
    pthread_barrier_wait(s->start);
  good = good && lua_pcall(L, 4, 1, 0) == LUA_OK;
  if (good)
    s->tasks = (int)lua_tointeger(L, -1);
  else
    fprintf(stderr, "state %d: %s\n", s->number, luaL_tolstring(L, -1, NULL));
  lua_close(L);
  return good;
}

static void *state_main(void *arg) {
  struct state *s = arg;
  s->good = run(live, s);
  return NULL;
}

#define MOST 32

/* n states at the same time; how many of them came to a good end. */
static int together(int n, const char *folder, int seconds, int tasks) {
  struct state states[MOST];
  pthread_barrier_t start;
  int i, good = 0, sum = 0;
  pthread_barrier_init(&start, NULL, (unsigned)n);
  for (i = 0; i < n; i++) {
    states[i] = (struct state){.start = &start,
                               .folder = folder,
                               .number = n * 100 + i,
                               .seconds = seconds,
                               .least = tasks / n + 1};
    if (pthread_create(&states[i].thread, NULL, state_main, &states[i]) != 0)
      abort();
  }
  for (i = 0; i < n; i++) {
    pthread_join(states[i].thread, NULL);
    good += states[i].good;
    sum += states[i].tasks;
  }
  pthread_barrier_destroy(&start);
  printf("%d states: %d tasks\n", n, sum);
  return good;
}

static int number(int argc, char **argv, int at, const char *name,
                  int otherwise) {
  const char *text = argc > at ? argv[at] : getenv(name);
  return text != NULL && *text != '\0' ? atoi(text) : otherwise;
}

int main(int argc, char **argv) {
  const char *root = getenv("TMPDIR");
  int seconds = number(argc, argv, 1, "LVHD_TSAN_SECONDS", 5);
  int tasks = number(argc, argv, 2, "LVHD_TSAN_TASKS", 10000);
  char folder[4000], command[4096];
  struct state first = {.folder = folder};
  int good = 0;
  snprintf(folder, sizeof folder, "%s/lvhd-tsan.XXXXXX",
           root != NULL ? root : "/tmp");
  if (mkdtemp(folder) == NULL || !run(prepare, &first))
    return 1;
  good += together(2, folder, seconds, 0);
  good += together(8, folder, seconds, 0);
  good += together(MOST, folder, seconds, tasks);
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  if (system(command) != 0)
    good = 0;
  printf("%d passed, %d failed\n", good, 2 + 8 + MOST - good);
  return good == 2 + 8 + MOST ? 0 : 1;
}
