/* SPDX-License-Identifier: MIT
 *
 * Creating, and task handles.  The loops of waiting are in lvhd/task.lua:
 * here is one bounded step, so that Ctrl-C reaches Lua.
 */
#include <string.h>

#include "lua/l.h"

/* The user value of a task: its engine. */
#define UV_ENGINE 1

lvhd_task *l_check_task(lua_State *L, int arg) {
  struct l_task *box = luaL_checkudata(L, arg, L_TASK);
  luaL_argcheck(L, box->task != NULL, arg, "not a task");
  return box->task;
}

static void let_go(lua_State *L, void *arg) {
  struct l_task *box = arg;
  lvhd_task *task = box->task;
  if (task == NULL)
    return;
  if (!lvhd_task_forked(task)) {
    l_cancel_fd(L, lvhd_task_has_fd(task));
    if (lvhd_task_leave(task))
      l_warn(L, lvhd_task_peek(task));
  }
  box->task = NULL;
  lvhd_task_free(task);
}

static int task_gc(lua_State *L) {
  return l_box_gc(L, L_TASK);
}

struct l_task *l_new_task(lua_State *L) {
  struct l_task *box = l_box(L, sizeof *box, 1, L_TASK, let_go);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, UV_ENGINE);
  return box;
}

struct l_task *l_task_box(lua_State *L) {
  struct l_task *box = l_new_task(L);
  l_remember(L, box);
  return box;
}

/* ---- creating -------------------------------------------------------- */

static bool integer_field(lua_State *L, int at, const char *key,
                          lua_Integer *value) {
  bool there = lua_getfield(L, at, key) != LUA_TNIL;
  *value = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return there;
}

void l_create_options(lua_State *L, int at,
                      struct lvhd_create_options *opts) {
  lua_Integer n = 0;
  if (lua_getfield(L, at, "uuid") == LUA_TSTRING) {
    opts->has_uuid = true; /* malformed: nil, which the engine refuses */
    if (!lvhd_uuid_parse(lua_tostring(L, -1), opts->uuid))
      memset(opts->uuid, 0, sizeof opts->uuid);
  }
  lua_getfield(L, at, "base");
  opts->base = lua_tostring(L, -1);
  lua_getfield(L, at, "windows_parent");
  opts->windows_parent = lua_tostring(L, -1);
  lua_getfield(L, at, "label");
  opts->label = lua_tostring(L, -1);
  lua_pop(L, 4);
  opts->filesystem = (enum lvhd_filesystem)l_integer(L, at, "filesystem");
  opts->has_timestamp = integer_field(L, at, "timestamp", &n);
  opts->timestamp = n;
  opts->has_mode = integer_field(L, at, "mode", &n);
  opts->mode = (unsigned)n;
  opts->has_block_size = integer_field(L, at, "block_size", &n);
  opts->block_size = n;
  opts->allocate = (enum lvhd_allocate)l_integer(L, at, "allocate");
  opts->sync = (enum lvhd_sync)l_integer(L, at, "sync");
  opts->keep = l_choice(L, at, "keep") == LVHD_YES;
  opts->long_paths = l_choice(L, at, "long_paths");
  opts->host_names = l_choice(L, at, "host_names");
  opts->preflight = l_choice(L, at, "preflight");
}

static const char *path_arg(lua_State *L, int arg, size_t *n) {
  if (lua_isnil(L, arg))
    return NULL;
  return luaL_checklstring(L, arg, n);
}

/* create(engine, type, image, parent or size, options or nil)
 *   -> task | nil, error */
static int core_create(lua_State *L) {
  static const char *const types[] = {"fixed", "dynamic", "differencing",
                                      NULL};
  lvhd_engine *engine = l_check_engine(L, 1);
  int type = luaL_checkoption(L, 2, NULL, types);
  struct lvhd_create_options opts = {0};
  const char *image = path_arg(L, 3, &opts.image_length);
  const char *parent =
    type == 2 ? path_arg(L, 4, &opts.parent_length) : NULL;
  lua_Integer size = type == 2 ? 0 : luaL_checkinteger(L, 4);
  struct l_task *box = NULL;
  int code = 0;
  lua_settop(L, 5);
  if (lua_istable(L, 5))
    l_create_options(L, 5, &opts);
  l_sweep(L);
  box = l_task_box(L);
  if (type == 0)
    code = lvhd_create_fixed(engine, image, size, &opts, &box->task,
                             l_engine_error(L));
  else if (type == 1)
    code = lvhd_create_dynamic(engine, image, size, &opts, &box->task,
                               l_engine_error(L));
  else
    code = lvhd_create_differencing(engine, image, parent, &opts, &box->task,
                                    l_engine_error(L));
  return l_task_result(L, box, code);
}

/* ---- the handle ------------------------------------------------------ */

/* step(task, milliseconds, hooked) -> ended */
static int core_step(lua_State *L) {
  lvhd_task *task = l_check_task(L, 1);
  lua_Integer ms = luaL_checkinteger(L, 2);
  bool hooked = lua_toboolean(L, 3);
  bool ended = lvhd_task_step(task, (unsigned)ms, NULL);
  if (!ended && ms > 0)
    l_interrupt(L, hooked);
  lua_pushboolean(L, ended);
  return 1;
}

static int core_status(lua_State *L) {
  static const char *const names[] = {"queued", "running", "succeeded",
                                      "failed", "cancelled"};
  lua_pushstring(L, names[lvhd_task_status(l_check_task(L, 1))]);
  return 1;
}

/* error(task, its items or nil, peek) -> error | nil; the error counts as read,
 * once there was memory for it, and not with peek. */
static int core_error(lua_State *L) {
  lvhd_task *task = l_check_task(L, 1);
  const struct lvhd_error *err = lvhd_task_peek(task);
  bool peek = lua_toboolean(L, 3);
  if (err == NULL)
    return 0;
  lua_settop(L, 2);
  l_push_error(L, err);
  if (lvhd_task_has_items(task) && !lvhd_task_forked(task)) {
    if (lua_istable(L, 2))
      lua_pushvalue(L, 2);
    else
      l_push_items(L, task);
    lua_setfield(L, 3, "items");
  }
  if (!peek)
    (void)lvhd_task_error(task);
  return 1;
}

/* error_read(task): the error that a peek gave reaches somebody.  Allocates
 * nothing. */
static int core_error_read(lua_State *L) {
  (void)lvhd_task_error(l_check_task(L, 1));
  return 0;
}

bool l_has_result(lua_State *L, int at) {
  const struct l_task *box = lua_touserdata(L, at);
  int top = lua_gettop(L);
  bool has = false;
  lua_getiuservalue(L, at, UV_ENGINE);
  lua_getiuservalue(L, -1, L_ENGINE_RESULTS);
  has = box->result != 0 && lua_rawgeti(L, -1, box->result) == LUA_TTABLE;
  lua_settop(L, top);
  return has;
}

/* info(task, list or nil) -> info, or a list of them, that one if it is given
 * | nil; the same table as long as somebody has it.  The task does not hold
 * it: whatever a finalized object holds is gone through in one piece by Lua's
 * collector, which took milliseconds for thousands of tasks. */
static int core_info(lua_State *L) {
  const lvhd_task *task = l_check_task(L, 1);
  struct l_task *box = lua_touserdata(L, 1);
  const struct lvhd_info *info = lvhd_task_info(task);
  const lvhd_infos *infos = lvhd_task_infos(task);
  bool items = lvhd_task_has_items(task) &&
               lvhd_task_status(task) == LVHD_SUCCEEDED;
  if (info == NULL && infos == NULL && !items)
    return 0;
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, UV_ENGINE);
  lua_getiuservalue(L, 3, L_ENGINE_RESULTS);
  if (box->result == 0)
    box->result = ++((struct l_engine *)lua_touserdata(L, 3))->results;
  else if (lua_rawgeti(L, 4, box->result) == LUA_TTABLE)
    return 1;
  if (lua_istable(L, 2))
    lua_pushvalue(L, 2);
  else if (items)
    l_push_items(L, task);
  else if (infos)
    l_push_infos(L, infos);
  else
    l_push_info(L, info);
  lua_pushvalue(L, -1);
  lua_rawseti(L, 4, box->result);
  return 1;
}

static int core_progress(lua_State *L) {
  struct lvhd_progress p;
  lvhd_task_progress(l_check_task(L, 1), &p);
  lua_pushinteger(L, (lua_Integer)p.percent);
  lua_pushinteger(L, (lua_Integer)p.bytes);
  if (p.bytes_total > 0)
    lua_pushinteger(L, (lua_Integer)p.bytes_total);
  else
    lua_pushnil(L);
  lua_pushinteger(L, (lua_Integer)p.items);
  lua_pushinteger(L, (lua_Integer)p.items_total);
  return 5;
}

static int core_cancel(lua_State *L) {
  lua_pushboolean(L, lvhd_task_cancel(l_check_task(L, 1)));
  return 1;
}

static int core_elapsed(lua_State *L) {
  lua_pushnumber(L, lvhd_task_elapsed(l_check_task(L, 1)));
  return 1;
}

/* fd(task) -> descriptor | nil, error */
static int core_fd(lua_State *L) {
  lvhd_task *task = l_check_task(L, 1);
  struct lvhd_error *err = NULL;
  int fd = -1;
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, UV_ENGINE);
  lua_replace(L, 1);
  err = l_engine_error(L);
  fd = lvhd_task_fd(task, err);
  if (fd < 0)
    return l_fail(L, err);
  lua_pushinteger(L, fd);
  return 1;
}

/* describe(task) -> verb, path | nil: it was finalised */
static int core_describe(lua_State *L) {
  struct l_task *box = luaL_checkudata(L, 1, L_TASK);
  if (box->task == NULL)
    return 0;
  lua_pushstring(L, lvhd_task_verb(box->task));
  lua_pushstring(L, lvhd_task_path(box->task));
  return 2;
}

static int core_task_engine(lua_State *L) {
  luaL_checkudata(L, 1, L_TASK);
  lua_getiuservalue(L, 1, UV_ENGINE);
  return 1;
}

/* task_forked(task) -> error | nil */
static int core_task_forked(lua_State *L) {
  lvhd_task *task = l_check_task(L, 1);
  struct lvhd_error err = LVHD_ERROR_INIT;
  if (!lvhd_task_forked(task))
    return 0;
  err.code = LVHD_E_HANDLE;
  err.op = lvhd_task_verb(task);
  l_push_error(L, &err);
  return 1;
}

static const luaL_Reg functions[] = {
  {"create", core_create},
  {"step", core_step},
  {"status", core_status},
  {"error", core_error},
  {"error_read", core_error_read},
  {"info", core_info},
  {"progress", core_progress},
  {"cancel", core_cancel},
  {"elapsed", core_elapsed},
  {"fd", core_fd},
  {"describe", core_describe},
  {"task_engine", core_task_engine},
  {"task_forked", core_task_forked},
  {NULL, NULL}
};

/* With the module table on top. */
void l_open_task(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  lua_getfield(L, -1, "metatables");
  luaL_newmetatable(L, L_TASK);
  lua_pushcfunction(L, task_gc);
  lua_setfield(L, -2, "__gc");
  lua_setfield(L, -2, "task");
  lua_pop(L, 1);
}
