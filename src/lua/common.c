/* SPDX-License-Identifier: MIT
 *
 * What every file of the binding uses: boxes, fields, warnings, and how
 * Ctrl-C is seen.  Knows no function of the module.
 */
#include <string.h>

#include "lua/l.h"

void *l_box(lua_State *L, size_t size, int uservalues, const char *name,
            void (*let_go)(lua_State *L, void *box)) {
  struct l_box *box = lua_newuserdatauv(L, size, uservalues);
  memset(box, 0, size);
  box->let_go = let_go;
  luaL_setmetatable(L, name);
  l_house_add(L, box);
  return box;
}

int l_box_gc(lua_State *L, const char *name) {
  struct l_box *box = luaL_checkudata(L, 1, name);
  if (box->prev) {
    *box->prev = box->next;
    if (box->next)
      box->next->prev = box->prev;
    box->next = NULL;
    box->prev = NULL;
  }
  box->let_go(L, box);
  return 0;
}

enum lvhd_choice l_choice(lua_State *L, int at, const char *key) {
  enum lvhd_choice choice = LVHD_DEFAULT;
  if (lua_getfield(L, at, key) != LUA_TNIL)
    choice = lua_toboolean(L, -1) ? LVHD_YES : LVHD_NO;
  lua_pop(L, 1);
  return choice;
}

const char **l_strings(lua_State *L, int at, size_t *count) {
  size_t n = (size_t)lua_rawlen(L, at);
  const char **list = NULL;
  at = lua_absindex(L, at);
  list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
  for (size_t i = 0; i < n; i++) {
    /* only where it is one: a number would become a string that nobody keeps */
    list[i] = NULL;
    if (lua_rawgeti(L, at, (lua_Integer)i + 1) == LUA_TSTRING)
      list[i] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  list[n] = NULL;
  *count = n;
  return list;
}

const char *l_path(lua_State *L, int arg) {
  return lua_isnil(L, arg) ? NULL : luaL_checkstring(L, arg);
}

lua_Integer l_integer(lua_State *L, int at, const char *key) {
  lua_Integer value = 0;
  lua_getfield(L, at, key);
  value = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return value;
}

/* The list of strings in a field, or NULL; one value more is on the stack,
 * which keeps the array.  The list itself, and so the strings, are kept by
 * the table at `at`: it was made by lvhd/options.lua, and no user has it. */
static const char *const *list_field(lua_State *L, int at, const char *key,
                                     size_t *count, bool *there) {
  const char **list = NULL;
  *there = lua_getfield(L, at, key) == LUA_TTABLE;
  if (*there) {
    list = l_strings(L, -1, count);
    lua_remove(L, -2);
  }
  return (const char *const *)list;
}

void l_open_options(lua_State *L, int at, struct lvhd_open_options *opts) {
  *opts = (struct lvhd_open_options){0};
  if (!lua_istable(L, at)) {
    lua_settop(L, lua_gettop(L) + 2);
    return;
  }
  opts->max_depth = (unsigned)l_integer(L, at, "max_depth");
  opts->sync = (enum lvhd_sync)l_integer(L, at, "sync");
  opts->write = l_choice(L, at, "write") == LVHD_YES;
  opts->force = l_choice(L, at, "force") == LVHD_YES;
  opts->no_search = l_choice(L, at, "children_in") == LVHD_NO;
  lua_getfield(L, at, "windows_parent"); /* the table keeps it */
  opts->windows_parent = lua_tostring(L, -1);
  lua_pop(L, 1);
  opts->parents =
    list_field(L, at, "parents", &opts->parent_count, &opts->has_parents);
  opts->children_in = list_field(L, at, "children_in",
                                 &opts->children_in_count,
                                 &opts->has_children_in);
}

/* ---- cqueues --------------------------------------------------------- */

static int cancel_fd(lua_State *L) {
  if (lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE) == LUA_TTABLE &&
      lua_getfield(L, -1, "cqueues") == LUA_TTABLE &&
      lua_getfield(L, -1, "cancel") == LUA_TFUNCTION) {
    lua_pushvalue(L, 1);
    lua_call(L, 1, 0);
  }
  return 0;
}

void l_cancel_fd(lua_State *L, int fd) {
  if (fd < 0 || !lua_checkstack(L, 3))
    return;
  lua_pushcfunction(L, cancel_fd);
  lua_pushinteger(L, fd);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK)
    lua_pop(L, 1);
}

/* ---- warnings -------------------------------------------------------- */

void l_warn(lua_State *L, const struct lvhd_error *err) {
  char text[1024];
  lua_warning(L, "lvhd: nobody read: ", 1);
  lua_warning(L, lvhd_code_name(err->code), 1);
  lua_warning(L, ": ", 1);
  lua_warning(L, err->op ? err->op : "?", 1);
  if (err->path) {
    lua_warning(L, " '", 1);
    lua_warning(L, err->path, 1);
    lua_warning(L, "'", 1);
  }
  lua_warning(L, ": ", 1);
  lvhd_error_text(err, text, sizeof text);
  lua_warning(L, text, 0);
}

/* ---- Ctrl-C ---------------------------------------------------------- */

static lua_State *main_thread(lua_State *L) {
  lua_State *main = NULL;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  main = lua_tothread(L, -1);
  lua_pop(L, 1);
  return main;
}

bool l_hooked(lua_State *L) {
  return lua_gethook(main_thread(L)) != NULL;
}

void l_interrupt(lua_State *L, bool hooked) {
  lua_State *main = main_thread(L);
  if (L != main && !hooked && lua_gethook(main) != NULL)
    luaL_error(L, "interrupted!");
}
