/* SPDX-License-Identifier: MIT
 *
 * The module lvhd.core: raw functions for the Lua files in lvhd/, which are
 * the public face.  Here: opening, and what is about no engine and no task.
 */
#include <string.h>
#include <time.h>

#include "lua/l.h"

/* -Wmissing-prototypes; LUAMOD_API would leave the symbol hidden. */
LVHD_API int luaopen_lvhd_core(lua_State *L);

static int core_hooked(lua_State *L) {
  lua_pushboolean(L, l_hooked(L));
  return 1;
}

/* The documented table: name -> number and number -> name. */
static int core_hresults(lua_State *L) {
  lua_createtable(L, 0, 2 * LVHD_CODES);
  for (int i = 0; i < LVHD_CODES; i++) {
    lua_Integer number = (lua_Integer)lvhd_code_hresult(i);
    lua_pushinteger(L, number);
    lua_setfield(L, -2, lvhd_code_name(i));
    lua_pushstring(L, lvhd_code_name(i));
    lua_rawseti(L, -2, number);
  }
  return 1;
}

/* fail(code name [, op [, reason name]]): a table for an error that the Lua
 * side found. */
static int core_fail(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const char *reason = luaL_optstring(L, 3, "");
  const char *text = NULL;
  struct lvhd_error err = LVHD_ERROR_INIT;
  for (int i = 1; (text = lvhd_reason_name(i)) != NULL; i++)
    if (strcmp(reason, text) == 0)
      err.reason = i;
  for (int i = 0; i < LVHD_CODES; i++)
    if (strcmp(name, lvhd_code_name(i)) == 0)
      err.code = i;
  err.op = luaL_optstring(L, 2, NULL);
  l_push_error(L, &err);
  return 1;
}

/* now() -> seconds of a clock that never goes back */
static int core_now(lua_State *L) {
  struct timespec ts = {0, 0};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  lua_pushnumber(L, (lua_Number)ts.tv_sec + (lua_Number)ts.tv_nsec / 1e9);
  return 1;
}

static int core_version(lua_State *L) {
  lua_pushstring(L, lvhd_version());
  return 1;
}

static const luaL_Reg core[] = {
  {"hooked", core_hooked},
  {"hresults", core_hresults},
  {"fail", core_fail},
  {"now", core_now},
  {"version", core_version},
  {"metatables", NULL}, /* name -> metatable, for the Lua files to fill */
  {NULL, NULL}
};

int luaopen_lvhd_core(lua_State *L) {
  luaL_newlib(L, core);
  lua_newtable(L);
  luaL_newmetatable(L, L_ERROR);
  lua_setfield(L, -2, "error");
  lua_setfield(L, -2, "metatables");
  /* Engines first: what they leave in the registry closes last. */
  l_open_engine(L);
  l_open_task(L);
  l_open_ended(L);
  l_open_children(L);
  l_open_ask(L);
  l_open_change(L);
  l_open_path(L);
  l_open_disk(L);
  l_open_waiter(L);
  return 1;
}
