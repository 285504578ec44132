/* SPDX-License-Identifier: MIT
 *
 * Many children of one parent: the list for C, and what became of each image
 * of it.  Tasks themselves are in task.c.
 */
#include <string.h>

#include "lua/l.h"

/* The i-th identifier of the table at index 4: absent, none was asked for; what
 * is malformed becomes zeros, which the engine refuses. */
static void take_uuid(lua_State *L, lua_Integer i, struct lvhd_child *child) {
  child->has_uuid = lua_rawgeti(L, 4, i) == LUA_TSTRING;
  if (child->has_uuid &&
      !lvhd_uuid_parse(lua_tostring(L, -1), child->uuid))
    memset(child->uuid, 0, sizeof child->uuid);
  lua_pop(L, 1);
}

/* The strings of the table at index 3 as an array, which is a userdata on top
 * of the stack; the table keeps the strings. */
static struct lvhd_child *take_list(lua_State *L, size_t n) {
  struct lvhd_child *list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
  for (size_t i = 0; i < n; i++) {
    list[i] = (struct lvhd_child){0};
    if (lua_rawgeti(L, 3, (lua_Integer)i + 1) == LUA_TSTRING)
      list[i].image = lua_tolstring(L, -1, &list[i].image_length);
    lua_pop(L, 1);
    take_uuid(L, (lua_Integer)i + 1, &list[i]);
  }
  return list;
}

/* create_children(engine, parent, images or nil, identifiers, options or nil)
 *   -> task | nil, error
 * Both tables are lvhd/engine.lua's: no user has them. */
static int core_create_children(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  struct lvhd_create_options opts = {0};
  const char *parent =
    lua_isnil(L, 2) ? NULL : luaL_checklstring(L, 2, &opts.parent_length);
  struct lvhd_child *list = NULL;
  struct l_task *box = NULL;
  size_t n = 1;
  int code = 0;
  lua_settop(L, 5);
  if (lua_istable(L, 5))
    l_create_options(L, 5, &opts);
  if (lua_istable(L, 3)) {
    n = (size_t)lua_rawlen(L, 3);
    list = take_list(L, n);
  }
  l_sweep(L);
  box = l_task_box(L);
  code = lvhd_create_children(engine, list, n, parent, &opts, &box->task,
                              l_engine_error(L));
  return l_task_result(L, box, code);
}

static void push_item(lua_State *L, const lvhd_task *task, size_t i) {
  const struct lvhd_info *info = lvhd_task_item_info(task, i);
  if (info)
    l_push_info(L, info);
  else
    l_push_error(L, lvhd_task_item_error(task, i));
}

void l_push_items(lua_State *L, const lvhd_task *task) {
  size_t n = lvhd_task_item_count(task);
  luaL_checkstack(L, 2, NULL);
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    push_item(L, task, i);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

/* items(task, list or nil, most) -> list, whole: the list that info or error
 * would make, with so many more of its items at the most; nil where there is
 * none, or where somebody has it already.  A table is some microseconds, which
 * add up to more than a loop of events should wait. */
static int core_items(lua_State *L) {
  lvhd_task *task = l_check_task(L, 1);
  size_t most = (size_t)luaL_checkinteger(L, 3);
  const lvhd_infos *infos = lvhd_task_infos(task);
  size_t n = infos ? lvhd_infos_count(infos) : lvhd_task_item_count(task);
  size_t from = 0, to = 0;
  lua_settop(L, 2);
  if ((!infos && !lvhd_task_has_items(task)) || l_has_result(L, 1))
    return 0;
  if (lua_isnil(L, 2)) {
    lua_createtable(L, (int)n, 0);
    lua_replace(L, 2);
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  from = (size_t)lua_rawlen(L, 2);
  to = n - from < most ? n : from + most;
  for (size_t i = from; i < to; i++) {
    if (infos)
      l_push_info(L, lvhd_infos_at(infos, i));
    else
      push_item(L, task, i);
    lua_rawseti(L, 2, (lua_Integer)i + 1);
  }
  lua_pushboolean(L, to == n);
  return 2;
}

static const luaL_Reg functions[] = {
  {"create_children", core_create_children},
  {"items", core_items},
  {NULL, NULL}
};

/* With the module table on top. */
void l_open_children(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
}
