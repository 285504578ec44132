/* SPDX-License-Identifier: MIT
 *
 * Engines in a Lua state, and the house that outlives them.
 *
 * The house is a userdata in the registry, made before any engine, so that
 * its __gc runs after all others when the state closes.  It owns a node per
 * engine.  A collected engine is only marked: joining its threads waits for
 * the next call (l_sweep) or the end of the state, so that a collection never
 * blocks.  At the end creations finish, long operations are cancelled, and
 * what nobody has read goes to warn().  It lists all boxes, too, since those
 * that a finalizer makes meanwhile are finalized by nobody else.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lua/l.h"

struct l_house {
  struct l_node *first;
  struct l_box *boxes;
  bool sweeping;
  bool closed; /* the state is going */
};

static const char house_key = 0;

static struct l_house *house_of(lua_State *L) {
  struct l_house *house = NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &house_key);
  house = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return house;
}

void l_house_add(lua_State *L, struct l_box *box) {
  struct l_house *house = house_of(L);
  box->next = house->boxes;
  box->prev = &house->boxes;
  if (box->next)
    box->next->prev = &box->next;
  house->boxes = box;
}

/* Each of them is lost because nobody can read its error any more. */
static void say_lost(lua_State *L, lvhd_engine *engine) {
  lvhd_task *task = NULL;
  while ((task = lvhd_engine_lost(engine)) != NULL) {
    l_warn(L, lvhd_task_error(task)); /* it counts as read */
    lvhd_task_free(task);
  }
}

/* Ended tasks that the engine holds for a program that cannot ask any more. */
static void drop_ended(lua_State *L, lvhd_engine *engine) {
  lvhd_task *task = NULL;
  while ((task = lvhd_engine_ended(engine)) != NULL) {
    if (lvhd_task_leave(task))
      l_warn(L, lvhd_task_peek(task));
    lvhd_task_free(task);
  }
}

static void cancel_fds(lua_State *L, lvhd_engine *engine) {
  int fd = -1;
  for (size_t i = 0; (fd = lvhd_engine_fd_at(engine, i)) >= 0; i++)
    l_cancel_fd(L, fd);
}

/* Takes the next engine off the list that was collected and has no task. */
static struct l_node *take_collected(struct l_house *house) {
  for (struct l_node **at = &house->first; *at; at = &(*at)->next) {
    struct l_node *node = *at;
    struct lvhd_engine_counts counts;
    if (!node->collected)
      continue;
    lvhd_engine_counts(node->engine, &counts);
    if (counts.live == 0 && counts.tasks == 0) {
      *at = node->next;
      return node;
    }
  }
  return NULL;
}

/* What is called in here may call lvhd, and so come here again: no place in
 * the list is kept while Lua runs. */
void l_sweep(lua_State *L) {
  struct l_house *house = house_of(L);
  struct l_node *node = NULL;
  if (house->sweeping)
    return;
  house->sweeping = true;
  for (node = house->first; node; node = node->next) {
    say_lost(L, node->engine);
    if (node->collected)
      drop_ended(L, node->engine);
  }
  while ((node = take_collected(house)) != NULL) {
    cancel_fds(L, node->engine);
    lvhd_engine_free(node->engine, false);
    free(node);
  }
  house->sweeping = false;
}

static int house_gc(lua_State *L) {
  struct l_house *house = lua_touserdata(L, 1);
  struct l_node *node = NULL;
  house->closed = true;
  for (struct l_box *box = house->boxes; box; box = box->next)
    box->let_go(L, box); /* made by a finalizer, too late to have one */
  for (node = house->first; node; node = node->next)
    lvhd_engine_stop(node->engine, LVHD_STOP_CANCEL_LONG);
  while ((node = house->first) != NULL) {
    house->first = node->next;
    lvhd_engine_close(node->engine, false);
    say_lost(L, node->engine);
    drop_ended(L, node->engine);
    lvhd_engine_free(node->engine, false);
    free(node);
  }
  return 0;
}

/* ---- the box --------------------------------------------------------- */

lvhd_engine *l_check_engine(lua_State *L, int arg) {
  struct l_engine *box = luaL_checkudata(L, arg, L_ENGINE);
  luaL_argcheck(L, box->node != NULL, arg, "not an engine");
  return box->node->engine;
}

struct lvhd_error *l_engine_error(lua_State *L) {
  return &((struct l_engine *)lua_touserdata(L, 1))->err;
}

static void let_go(lua_State *L, void *arg) {
  struct l_engine *box = arg;
  (void)L;
  if (box->node)
    box->node->collected = true;
  box->node = NULL;
  lvhd_error_clear(&box->err);
}

static int engine_gc(lua_State *L) {
  return l_box_gc(L, L_ENGINE);
}

/* The list { name, folder, name, folder ... } in the field "drives"; the array
 * for C is left on the stack, the table keeps the strings. */
static void read_drives(lua_State *L, struct lvhd_engine_options *opts) {
  struct lvhd_drive *list = NULL;
  const char **texts = NULL;
  size_t n = 0;
  if (lua_getfield(L, 1, "drives") != LUA_TTABLE) {
    lua_pop(L, 1);
    return;
  }
  texts = l_strings(L, -1, &n);
  list = lua_newuserdatauv(L, (n / 2 + 1) * sizeof *list, 0);
  for (size_t i = 0; i < n / 2; i++)
    list[i] = (struct lvhd_drive){texts[2 * i], texts[2 * i + 1]};
  opts->drives = list;
  opts->drive_count = n / 2;
}

/* The Lua side has checked the types; the table and the values that are left
 * on the stack keep the strings. */
static void read_options(lua_State *L, struct lvhd_engine_options *opts) {
  struct lvhd_open_options open = {0};
  lua_getfield(L, 1, "threads");
  opts->threads = (unsigned)lua_tointeger(L, -1);
  lua_getfield(L, 1, "sync");
  opts->sync = (enum lvhd_sync)lua_tointeger(L, -1);
  lua_getfield(L, 1, "base");
  opts->base = lua_tostring(L, -1);
  lua_getfield(L, 1, "system");
  opts->system = lua_islightuserdata(L, -1) ? lua_touserdata(L, -1) : NULL;
  lua_pop(L, 4);
  opts->dry_run = l_choice(L, 1, "dry_run") == LVHD_YES;
  opts->long_paths = l_choice(L, 1, "long_paths");
  opts->host_names = l_choice(L, 1, "host_names");
  opts->preflight = l_choice(L, 1, "preflight");
  l_open_options(L, 1, &open);
  opts->parents = open.parents;
  opts->parent_count = open.parent_count;
  opts->max_depth = open.max_depth;
  opts->children_in = open.children_in;
  opts->children_in_count = open.children_in_count;
  opts->no_search = open.no_search;
  read_drives(L, opts);
}

/* engine(options) -> engine | nil, error */
static int core_engine(lua_State *L) {
  struct l_house *house = house_of(L);
  struct lvhd_engine_options opts = {0};
  struct l_engine *box = NULL;
  struct l_node *node = NULL;
  luaL_checktype(L, 1, LUA_TTABLE);
  read_options(L, &opts);
  l_sweep(L);
  box = l_box(L, sizeof *box, 4, L_ENGINE, let_go);
  l_new_weak(L);
  lua_setiuservalue(L, -2, L_ENGINE_HANDLES);
  l_new_weak(L);
  lua_setiuservalue(L, -2, L_ENGINE_RESULTS);
  if (house->closed) {
    box->err.code = LVHD_VM_E_APP_SHUTTING_DOWN;
    return l_fail(L, &box->err);
  }
  node = calloc(1, sizeof *node);
  if (node == NULL)
    box->err.code = LVHD_E_OUTOFMEMORY;
  else if (lvhd_engine_new(&node->engine, &opts, &box->err) == 0) {
    node->next = house->first;
    house->first = node;
    box->node = node;
    return 1;
  }
  free(node);
  return l_fail(L, &box->err);
}

/* engine_stop(engine, cancel) */
static int core_engine_stop(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  lvhd_engine_stop(engine, lua_toboolean(L, 2) ? LVHD_STOP_CANCEL
                                               : LVHD_STOP_FINISH);
  return 0;
}

/* engine_idle(engine, milliseconds, hooked) -> boolean */
static int core_engine_idle(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  lua_Integer ms = luaL_checkinteger(L, 2);
  bool hooked = lua_toboolean(L, 3);
  bool idle = lvhd_engine_idle(engine, (unsigned)ms);
  if (ms > 0)
    l_interrupt(L, hooked);
  lua_pushboolean(L, idle);
  return 1;
}

/* engine_join(engine): after engine_idle has said true. */
static int core_engine_join(lua_State *L) {
  lvhd_engine_close(l_check_engine(L, 1), false);
  return 0;
}

/* engine_forked(engine) -> error | nil */
static int core_engine_forked(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  struct lvhd_error err = LVHD_ERROR_INIT;
  if (!lvhd_engine_forked(engine))
    return 0;
  err.code = LVHD_E_HANDLE;
  l_push_error(L, &err);
  return 1;
}

/* engine_counts(engine) -> live, tasks, threads */
static int core_engine_counts(lua_State *L) {
  struct lvhd_engine_counts counts;
  lvhd_engine_counts(l_check_engine(L, 1), &counts);
  lua_pushinteger(L, (lua_Integer)counts.live);
  lua_pushinteger(L, (lua_Integer)counts.tasks);
  lua_pushinteger(L, (lua_Integer)counts.threads);
  return 3;
}

/* engine_state(engine [, table]) -> table: what the Lua side keeps. */
static int core_engine_state(lua_State *L) {
  luaL_checkudata(L, 1, L_ENGINE);
  if (!lua_isnoneornil(L, 2)) {
    lua_settop(L, 2);
    lua_setiuservalue(L, 1, L_ENGINE_STATE);
  }
  lua_getiuservalue(L, 1, L_ENGINE_STATE);
  return 1;
}

static const luaL_Reg functions[] = {
  {"engine", core_engine},
  {"engine_stop", core_engine_stop},
  {"engine_idle", core_engine_idle},
  {"engine_join", core_engine_join},
  {"engine_forked", core_engine_forked},
  {"engine_counts", core_engine_counts},
  {"engine_state", core_engine_state},
  {NULL, NULL}
};

/* One house a state, however often the module is loaded: a second one would
 * let the first go, with engines in it. */
static void open_house(lua_State *L) {
  struct l_house *house = NULL;
  if (house_of(L) != NULL)
    return;
  house = lua_newuserdatauv(L, sizeof *house, 0);
  memset(house, 0, sizeof *house);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, house_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &house_key);
}

/* With the module table on top. */
void l_open_engine(lua_State *L) {
  open_house(L);
  luaL_setfuncs(L, functions, 0);
  lua_getfield(L, -1, "metatables");
  luaL_newmetatable(L, L_ENGINE);
  lua_pushcfunction(L, engine_gc);
  lua_setfield(L, -2, "__gc");
  lua_setfield(L, -2, "engine");
  lua_pop(L, 1);
}
