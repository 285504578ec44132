/* SPDX-License-Identifier: MIT
 *
 * Lua states in threads, each with engines of its own, doing everything with
 * tasks at random: for ThreadSanitizer, which finds what two states share.
 * First two states, then eight.  It must not know the engine: the module is
 * the one on the path, and only Lua's API is used.
 *
 *   tsan_states [SECONDS]     (10 for each of the two)
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

/* One state's life.  Its random numbers are its own, so that a run of one
 * thread depends on nobody; how the threads meet is the scheduler's. */
static const char program[] =
    "local folder, me, seconds = ...\n"
    "local lvhd = require 'lvhd'\n"
    "math.randomseed(me)\n"
    "local stop = os.time() + seconds\n"
    "local rounds, made, gone = 0, 0, 0\n"
    "local parent = folder .. '/base.vhd'\n"
    "local function path()\n"
    "  made = made + 1\n"
    "  return ('%s/%d/%d.vhd'):format(folder, me, made)\n"
    "end\n"
    "local allowed = { E_ABORT = true, E_ALREADY_EXISTS = true,\n"
    "  E_PATH_NOT_FOUND = true }\n"
    "local function try(f, ...)\n"
    "  local ok, err = pcall(f, ...)\n"
    "  if not ok and not (lvhd.is_error(err) and allowed[err.name]) then\n"
    "    error(err)\n"
    "  end\n"
    "  return ok and err or nil\n"
    "end\n"
    "local makers = {\n"
    "  function(e) return e:create_dynamic(path(), 64 << 20) end,\n"
    "  function(e) return e:create_differencing(path(), parent) end,\n"
    "  function(e) return e:create_fixed(path(), 4 << 20,\n"
    "    { allocate = 'zero' }) end,\n"
    "  function(e) return e:create_differencing(path(),\n"
    "    folder .. '/missing.vhd', { preflight = false }) end,\n"
    "  -- a name that all states want\n"
    "  function(e) return e:create_dynamic(\n"
    "    ('%s/all%d.vhd'):format(folder, math.random(1000)), 64 << 20,\n"
    "    { preflight = false }) end,\n"
    "}\n"
    "local tasks = {}\n"
    "local actions = {\n"
    "  function(task) task:wait() end,\n"
    "  function(task) task:wait() end,\n"
    "  function(task) task:cancel() end,\n"
    "  function(task) task:cancel() task:wait() end,\n"
    "  function(task) task:wait(0) end,\n"
    "  function(task) task:fd() end,\n"
    "  function(task) while not task:done() do task:progress() end end,\n"
    "  function(task) return task:error(), tostring(task), task:status(),\n"
    "    task:elapsed() end,\n"
    "  function(task) local t <close> = task end,\n"
    "  function() collectgarbage 'step' end,\n"
    "  function() collectgarbage() end,\n"
    "}\n"
    "while os.time() < stop do\n"
    "  rounds = rounds + 1\n"
    "  local e = lvhd.engine{ threads = math.random(3), sync = 'none',\n"
    "    preflight = math.random(2) == 1,\n"
    "    poll = math.random(4) == 1 and function(o) o:pollfd() end or nil }\n"
    "  for i = 1, math.random(12) do\n"
    "    tasks[math.random(6)] = try(makers[math.random(#makers)], e)\n"
    "    local one = tasks[math.random(6)]\n"
    "    if one then\n"
    "      try(actions[math.random(#actions)], one)\n"
    "    end\n"
    "  end\n"
    "  local how = math.random(4)\n"
    "  if how == 1 then e:close()\n"
    "  elseif how == 2 then e:close{ cancel = true }\n"
    "  elseif how == 3 then e = nil collectgarbage() end\n"
    "  for i = gone + 1, made - 50 do\n"
    "    gone = i\n"
    "    os.remove(('%s/%d/%d.vhd'):format(folder, me, i))\n"
    "  end\n"
    "end\n"
    "-- the state ends with tasks under way\n"
    "for i = 1, 6 do\n"
    "  kept = { kept, makers[i % 3 + 1](lvhd.default_engine()) }\n"
    "end\n"
    "return rounds\n";

static const char prepare[] =
    "local lvhd = require 'lvhd'\n"
    "lvhd.create_dynamic(... .. '/base.vhd', 64 << 20):wait()\n";

struct state {
  pthread_t thread;
  const char *folder;
  int number, seconds;
  bool good;
};

static bool run(const char *text, const char *folder, int number,
                int seconds) {
  lua_State *L = luaL_newstate();
  bool good;
  luaL_openlibs(L);
  good = luaL_loadstring(L, text) == LUA_OK;
  lua_pushstring(L, folder);
  lua_pushinteger(L, number);
  lua_pushinteger(L, seconds);
  good = good && lua_pcall(L, 3, 1, 0) == LUA_OK;
  if (!good)
    fprintf(stderr, "state %d: %s\n", number, luaL_tolstring(L, -1, NULL));
  lua_close(L);
  return good;
}

static void *state_main(void *arg) {
  struct state *s = arg;
  s->good = run(program, s->folder, s->number, s->seconds);
  return NULL;
}

#define MOST 8

/* n states at the same time; how many of them came to a good end. */
static int together(int n, const char *folder, int seconds) {
  struct state states[MOST];
  int i, good = 0;
  for (i = 0; i < n; i++) {
    states[i].folder = folder;
    states[i].number = n * 10 + i;
    states[i].seconds = seconds;
    states[i].good = false;
    if (pthread_create(&states[i].thread, NULL, state_main, &states[i]) != 0)
      abort();
  }
  for (i = 0; i < n; i++) {
    pthread_join(states[i].thread, NULL);
    good += states[i].good;
  }
  return good;
}

int main(int argc, char **argv) {
  const char *root = getenv("TMPDIR");
  int seconds = argc > 1 ? atoi(argv[1]) : 10;
  char folder[4000], command[4096];
  int good = 0;
  snprintf(folder, sizeof folder, "%s/lvhd-tsan.XXXXXX",
           root != NULL ? root : "/tmp");
  if (mkdtemp(folder) == NULL || !run(prepare, folder, 0, 0))
    return 1;
  good += together(2, folder, seconds);
  good += together(MOST, folder, seconds);
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  if (system(command) != 0)
    good = 0;
  printf("%d passed, %d failed\n", good, 2 + MOST - good);
  return good == 2 + MOST ? 0 : 1;
}
