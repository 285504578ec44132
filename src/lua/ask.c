/* SPDX-License-Identifier: MIT
 *
 * Asking: what a file and its chain say, and the tasks that look and change
 * nothing.  Lists of infos stand in boxes until they are tables.
 */
#include "lua/l.h"

/* ---- infos in a box -------------------------------------------------- */

static void infos_clear(struct l_infos *box) {
  lvhd_infos *infos = box->infos;
  box->infos = NULL;
  lvhd_infos_free(infos);
}

static void let_go(lua_State *L, void *arg) {
  struct l_infos *box = arg;
  (void)L;
  infos_clear(box);
  lvhd_error_clear(&box->err);
}

static int infos_gc(lua_State *L) {
  return l_box_gc(L, L_INFOS);
}

struct l_infos *l_infos_box(lua_State *L) {
  return l_box(L, sizeof(struct l_infos), 0, L_INFOS, let_go);
}

int l_infos_result(lua_State *L, struct l_infos *box, int code) {
  if (code != 0)
    return l_fail(L, &box->err);
  l_push_infos(L, box->infos);
  infos_clear(box); /* not the collector's pace: a list may be large */
  return 1;
}

/* ---- synchronous ----------------------------------------------------- */

/* read_info(engine, path) -> { info } | nil, error */
static int core_read_info(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  const char *path = l_path(L, 2);
  struct l_infos *box = NULL;
  int code = 0;
  l_sweep(L);
  box = l_infos_box(L);
  code = lvhd_read_info(engine, path, &box->infos, &box->err);
  return l_infos_result(L, box, code);
}

/* read_chain(engine, path, options or nil) -> infos | nil, error */
static int core_read_chain(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  const char *path = l_path(L, 2);
  struct lvhd_open_options opts;
  struct l_infos *box = NULL;
  int code = 0;
  lua_settop(L, 3);
  l_open_options(L, 3, &opts);
  l_sweep(L);
  box = l_infos_box(L);
  code = lvhd_read_chain(engine, path, &opts, &box->infos, &box->err);
  return l_infos_result(L, box, code);
}

/* ---- tasks ----------------------------------------------------------- */

/* check(engine, path, options or nil) -> task | nil, error */
static int core_check(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  const char *path = l_path(L, 2);
  struct lvhd_check_options opts = {0};
  struct l_task *box = NULL;
  int code = 0;
  lua_settop(L, 3);
  if (lua_istable(L, 3)) {
    opts.chain = l_choice(L, 3, "chain") == LVHD_YES;
    opts.data = l_choice(L, 3, "data") == LVHD_YES;
    lua_getfield(L, 3, "profile");
    opts.profile = (enum lvhd_profile)lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  l_open_options(L, 3, &opts.open);
  l_sweep(L);
  box = l_task_box(L);
  code = lvhd_check(engine, path, &opts, &box->task, l_engine_error(L));
  return l_task_result(L, box, code);
}

/* find(engine, folders) -> task | nil, error.  The list may hold false, for
 * a nil that is the engine's to refuse. */
static int core_find(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  struct l_task *box = NULL;
  int code = 0;
  const char **folders = NULL;
  size_t count = 0;
  luaL_checktype(L, 2, LUA_TTABLE);
  folders = l_strings(L, 2, &count);
  l_sweep(L);
  box = l_task_box(L);
  code = lvhd_find(engine, folders, count, &box->task, l_engine_error(L));
  return l_task_result(L, box, code);
}

/* children(engine, parent, folders) -> task | nil, error */
static int core_children(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  const char *parent = l_path(L, 2);
  struct l_task *box = NULL;
  int code = 0;
  const char **folders = NULL;
  size_t count = 0;
  luaL_checktype(L, 3, LUA_TTABLE);
  folders = l_strings(L, 3, &count);
  l_sweep(L);
  box = l_task_box(L);
  code = lvhd_children(engine, parent, folders, count, &box->task, l_engine_error(L));
  return l_task_result(L, box, code);
}

static const luaL_Reg functions[] = {
  {"read_info", core_read_info},
  {"read_chain", core_read_chain},
  {"check", core_check},
  {"find", core_find},
  {"children", core_children},
  {NULL, NULL}
};

/* With the module table on top. */
void l_open_ask(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  luaL_newmetatable(L, L_INFOS);
  lua_pushcfunction(L, infos_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
