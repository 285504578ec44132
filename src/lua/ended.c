/* SPDX-License-Identifier: MIT
 *
 * Ended tasks of an engine, handed out with the handles that the program has
 * of them.  The loop of waiting is in lvhd/ended.lua.
 *
 * Each engine has a table of its tasks' handles, by the address of the box,
 * which is the task's user pointer.  It is weak until the program asks for
 * ended tasks; from then on it holds what the engine holds.
 */
#include "lua/l.h"

#define L_WEAK "lvhd.weak"

/* Pushes the table of handles of the engine at index 1. */
static void push_handles(lua_State *L) {
  lua_getiuservalue(L, 1, L_ENGINE_HANDLES);
}

void l_new_weak(lua_State *L) {
  lua_newtable(L);
  luaL_setmetatable(L, L_WEAK);
}

void l_remember(lua_State *L, struct l_task *box) {
  push_handles(L);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, box);
  lua_pop(L, 1);
}

/* Allocates nothing. */
static void forget(lua_State *L, struct l_task *box) {
  push_handles(L);
  lua_pushnil(L);
  lua_rawsetp(L, -2, box);
  lua_pop(L, 1);
}

int l_task_result(lua_State *L, struct l_task *box, int code) {
  if (code == 0) {
    lvhd_task_set_user(box->task, box);
    return 1;
  }
  forget(L, box);
  return l_fail(L, l_engine_error(L));
}

/* The weak table gives way to another one, with what the engine holds.  A
 * failure on the way leaves it to the next call. */
static void hold(lua_State *L) {
  lua_newtable(L);
  push_handles(L);
  for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
    struct l_task *box = lua_touserdata(L, -1);
    if (box->task && lvhd_task_kept(box->task)) {
      lua_pushvalue(L, -1);
      lua_rawsetp(L, -5, box);
    }
  }
  lua_pop(L, 1);
  lua_setiuservalue(L, 1, L_ENGINE_HANDLES);
}

/* collect(engine): begins, if it has not begun. */
static int core_collect(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  lua_settop(L, 1);
  lvhd_engine_collect(engine);
  push_handles(L);
  if (lua_getmetatable(L, -1))
    hold(L);
  return 0;
}

/* Pushes an empty box, for a task whose handle was collected before. */
static struct l_task *push_spare(lua_State *L) {
  if (lua_getiuservalue(L, 1, L_ENGINE_SPARE) == LUA_TNIL) {
    lua_pop(L, 1);
    (void)l_new_task(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, L_ENGINE_SPARE);
  }
  return lua_touserdata(L, -1);
}

/* ended(engine) -> task | nil: none just now.  Between taking and having it in
 * a box nothing is allocated. */
static int core_ended(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  struct l_task *spare = NULL, *box = NULL;
  lvhd_task *task = NULL;
  if (lvhd_engine_ended_count(engine) == 0)
    return 0;
  lua_settop(L, 1);
  spare = push_spare(L);
  push_handles(L);
  task = lvhd_engine_ended(engine);
  if (task == NULL)
    return 0;
  lua_rawgetp(L, -1, lvhd_task_user(task));
  box = lua_touserdata(L, -1);
  if (box && box->task == task) {
    forget(L, box);
    lvhd_task_free(task); /* one handle is enough */
    return 1;
  }
  spare->task = task;
  lvhd_task_set_user(task, spare);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, L_ENGINE_SPARE);
  lua_settop(L, 2);
  return 1;
}

/* ended_count(engine) -> how many there are to be had */
static int core_ended_count(lua_State *L) {
  size_t n = lvhd_engine_ended_count(l_check_engine(L, 1));
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

/* ended_step(engine, milliseconds, hooked): one bounded wait. */
static int core_ended_step(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  lua_Integer ms = luaL_checkinteger(L, 2);
  bool hooked = lua_toboolean(L, 3);
  if (!lvhd_engine_ended_step(engine, (unsigned)ms))
    l_interrupt(L, hooked);
  return 0;
}

/* engine_fd(engine) -> descriptor | nil, error; collect() comes first. */
static int core_engine_fd(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  struct lvhd_error *err = l_engine_error(L);
  int fd = lvhd_engine_fd(engine, err);
  if (fd < 0)
    return l_fail(L, err);
  lua_pushinteger(L, fd);
  return 1;
}

static const luaL_Reg functions[] = {
  {"collect", core_collect},
  {"ended", core_ended},
  {"ended_count", core_ended_count},
  {"ended_step", core_ended_step},
  {"engine_fd", core_engine_fd},
  {NULL, NULL}
};

/* With the module table on top.  The mode is set even where the metatable is
 * there: memory may have run out in between. */
void l_open_ended(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  luaL_newmetatable(L, L_WEAK);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_pop(L, 1);
}
