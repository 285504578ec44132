/* SPDX-License-Identifier: MIT
 *
 * Waiters: the objects that a `poll` function is given.  They answer what
 * cqueues (pollfd, events, timeout) and LuaSocket (getfd, dirty) ask.
 */
#include "lua/l.h"

static struct l_waiter *check_waiter(lua_State *L) {
  struct l_waiter *box = luaL_checkudata(L, 1, L_WAITER);
  luaL_argcheck(L, box->waiter != NULL, 1, "not a waiter");
  return box;
}

static void let_go(lua_State *L, void *arg) {
  struct l_waiter *box = arg;
  (void)L;
  lvhd_waiter_free(box->waiter);
  box->waiter = NULL;
  lvhd_error_clear(&box->err);
}

static int waiter_gc(lua_State *L) {
  return l_box_gc(L, L_WAITER);
}

/* waiter(engine) -> waiter | nil, error */
static int core_waiter(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  struct l_waiter *box = l_box(L, sizeof *box, 1, L_WAITER, let_go);
  lua_getiuservalue(L, 1, L_ENGINE_STATE);
  lua_setiuservalue(L, -2, 1);
  if (lvhd_waiter_new(engine, &box->waiter, &box->err) != 0)
    return l_fail(L, &box->err);
  return 1;
}

/* attach(waiter, task or nil) -> it has happened already */
static int core_attach(lua_State *L) {
  struct l_waiter *box = check_waiter(L);
  lvhd_task *task = lua_isnil(L, 2) ? NULL : l_check_task(L, 2);
  lua_pushboolean(L, lvhd_waiter_attach(box->waiter, task));
  return 1;
}

/* attach_ended(waiter) -> it has happened already */
static int core_attach_ended(lua_State *L) {
  struct l_waiter *box = check_waiter(L);
  lua_pushboolean(L, lvhd_waiter_attach_ended(box->waiter));
  return 1;
}

static int core_detach(lua_State *L) {
  lvhd_waiter_detach(check_waiter(L)->waiter);
  return 0;
}

/* waiter_state(waiter) -> the table of its engine */
static int core_waiter_state(lua_State *L) {
  luaL_checkudata(L, 1, L_WAITER);
  lua_getiuservalue(L, 1, 1);
  return 1;
}

static int waiter_pollfd(lua_State *L) {
  lua_pushinteger(L, lvhd_waiter_fd(check_waiter(L)->waiter));
  return 1;
}

static int waiter_events(lua_State *L) {
  lua_pushliteral(L, "r");
  return 1;
}

static int waiter_timeout(lua_State *L) {
  lua_pushnil(L);
  return 1;
}

static int waiter_dirty(lua_State *L) {
  lua_pushboolean(L, 0);
  return 1;
}

static const luaL_Reg functions[] = {
  {"waiter", core_waiter},
  {"attach", core_attach},
  {"attach_ended", core_attach_ended},
  {"detach", core_detach},
  {"waiter_state", core_waiter_state},
  {NULL, NULL}
};

static const luaL_Reg methods[] = {
  {"pollfd", waiter_pollfd},
  {"getfd", waiter_pollfd},
  {"events", waiter_events},
  {"timeout", waiter_timeout},
  {"dirty", waiter_dirty},
  {NULL, NULL}
};

/* With the module table on top. */
void l_open_waiter(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  lua_getfield(L, -1, "metatables");
  luaL_newmetatable(L, L_WAITER);
  lua_pushcfunction(L, waiter_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_setfield(L, -2, "waiter");
  lua_pop(L, 1);
}
