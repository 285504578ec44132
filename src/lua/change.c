/* SPDX-License-Identifier: MIT
 *
 * The verbs that make one disk of another, or change one in place: each takes
 * its arguments as lvhd/change.lua has checked them, and gives a task or nil
 * and the error.
 */
#include "lua/l.h"

/* convert(engine, source, dest, options or nil) -> task | nil, error */
static int core_convert(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  const char *source = l_path(L, 2);
  struct lvhd_convert_options opts = {0};
  const char *dest =
    lua_isnil(L, 3) ? NULL
                    : luaL_checklstring(L, 3, &opts.create.image_length);
  struct l_task *box = NULL;
  int code = 0;
  lua_settop(L, 4);
  if (lua_istable(L, 4)) {
    l_create_options(L, 4, &opts.create);
    opts.from_raw = l_choice(L, 4, "from_raw") == LVHD_YES;
    opts.to = (enum lvhd_type)l_integer(L, 4, "to");
    opts.round = l_integer(L, 4, "round");
    lua_getfield(L, 4, "parent"); /* the table keeps it */
    opts.parent = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  l_open_options(L, 4, &opts.open);
  l_sweep(L);
  box = l_task_box(L);
  code = lvhd_convert(engine, source, dest, &opts, &box->task, l_engine_error(L));
  return l_task_result(L, box, code);
}

/* merge(engine, child, options or nil) -> task | nil, error */
static int core_merge(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  const char *child = l_path(L, 2);
  struct lvhd_merge_options opts = {0};
  struct l_task *box = NULL;
  int code = 0;
  lua_settop(L, 3);
  if (lua_istable(L, 3)) {
    opts.remove = l_choice(L, 3, "delete") == LVHD_YES;
    lua_getfield(L, 3, "into"); /* the table keeps it, and the children */
    opts.into = lua_tostring(L, -1);
    lua_pop(L, 1);
    if (lua_getfield(L, 3, "children") == LUA_TTABLE)
      opts.children = l_strings(L, -1, &opts.child_count);
  }
  l_open_options(L, 3, &opts.open);
  l_sweep(L);
  box = l_task_box(L);
  code = lvhd_merge(engine, child, &opts, &box->task, l_engine_error(L));
  return l_task_result(L, box, code);
}

typedef int verb_of_one_path(lvhd_engine *engine, const char *path,
                             const struct lvhd_open_options *opts,
                             lvhd_task **out, struct lvhd_error *err);

static int start(lua_State *L, verb_of_one_path *verb) {
  lvhd_engine *engine = l_check_engine(L, 1);
  const char *path = l_path(L, 2);
  struct lvhd_open_options opts;
  struct l_task *box = NULL;
  int code = 0;
  lua_settop(L, 3);
  l_open_options(L, 3, &opts);
  l_sweep(L);
  box = l_task_box(L);
  code = verb(engine, path, &opts, &box->task, l_engine_error(L));
  return l_task_result(L, box, code);
}

/* compact(engine, path, options or nil) -> task | nil, error */
static int core_compact(lua_State *L) {
  return start(L, lvhd_compact);
}

/* repair(engine, path, options or nil) -> task | nil, error */
static int core_repair(lua_State *L) {
  return start(L, lvhd_repair);
}

/* resize(engine, path, size, options or nil) -> task | nil, error */
static int core_resize(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  const char *path = l_path(L, 2);
  lua_Integer size = luaL_checkinteger(L, 3);
  struct lvhd_open_options opts;
  struct l_task *box = NULL;
  int code = 0;
  lua_settop(L, 4);
  l_open_options(L, 4, &opts);
  l_sweep(L);
  box = l_task_box(L);
  code = lvhd_resize(engine, path, size, &opts, &box->task, l_engine_error(L));
  return l_task_result(L, box, code);
}

/* relink(engine, child, parent, options or nil) -> task | nil, error */
static int core_relink(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  const char *child = l_path(L, 2);
  const char *parent = l_path(L, 3);
  struct lvhd_open_options opts;
  struct l_task *box = NULL;
  int code = 0;
  lua_settop(L, 4);
  l_open_options(L, 4, &opts);
  l_sweep(L);
  box = l_task_box(L);
  code = lvhd_relink(engine, child, parent, &opts, &box->task, l_engine_error(L));
  return l_task_result(L, box, code);
}

static const luaL_Reg functions[] = {
  {"convert", core_convert},
  {"merge", core_merge},
  {"compact", core_compact},
  {"repair", core_repair},
  {"resize", core_resize},
  {"relink", core_relink},
  {NULL, NULL}
};

/* With the module table on top. */
void l_open_change(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
}
