/* SPDX-License-Identifier: MIT
 *
 * Many children of one parent: the list for C, and what became of each image
 * of it.  Tasks themselves are in task.c.
 */
#include <string.h>

#include "lua/l.h"

/* The i-th identifier of the table at index 4: false, none was asked for; what
 * is malformed becomes nil, which the engine refuses. */
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
 * The lists are lvhd/engine.lua's: no user has them. */
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

void l_push_items(lua_State *L, const lvhd_task *task) {
  size_t n = lvhd_task_item_count(task);
  luaL_checkstack(L, 2, NULL);
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    const struct lvhd_info *info = lvhd_task_item_info(task, i);
    if (info)
      l_push_info(L, info);
    else
      l_push_error(L, lvhd_task_item_error(task, i));
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static const luaL_Reg functions[] = {
  {"create_children", core_create_children},
  {NULL, NULL}
};

/* With the module table on top. */
void l_open_children(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
}
