/* SPDX-License-Identifier: MIT
 *
 * What Lua's own clocks cannot tell: wall time finer than a second, and the
 * CPU time of the calling thread alone.  For the benchmark only; knows
 * nothing of lvhd.
 */
#include <time.h>

#include <lauxlib.h>
#include <lua.h>

__attribute__((visibility("default"))) int luaopen_benchclock(lua_State *L);

static int push_clock(lua_State *L, clockid_t clock) {
  struct timespec ts;

  if (clock_gettime(clock, &ts) != 0)
    return luaL_error(L, "no such clock");
  lua_pushnumber(L, (lua_Number)ts.tv_sec + (lua_Number)ts.tv_nsec / 1e9);
  return 1;
}

/* Seconds since some moment. */
static int l_wall(lua_State *L) {
  return push_clock(L, CLOCK_MONOTONIC);
}

/* CPU seconds of this process, user and system, all threads. */
static int l_cpu(lua_State *L) {
  return push_clock(L, CLOCK_PROCESS_CPUTIME_ID);
}

/* CPU seconds of this thread. */
static int l_thread(lua_State *L) {
  return push_clock(L, CLOCK_THREAD_CPUTIME_ID);
}

int luaopen_benchclock(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"wall", l_wall}, {"cpu", l_cpu}, {"thread", l_thread}, {NULL, NULL}};

  luaL_newlib(L, functions);
  return 1;
}
