/* SPDX-License-Identifier: MIT
 *
 * Paths of Windows and of the host, each from the other.
 */
#include "lua/l.h"

#define L_STRING "lvhd.string"

/* Text of the engine's, until it is a Lua string. */
struct l_string {
  struct l_box box;
  char *text;
  struct lvhd_error err;
};

static void let_go(lua_State *L, void *arg) {
  struct l_string *box = arg;
  (void)L;
  lvhd_string_free(box->text);
  box->text = NULL;
  lvhd_error_clear(&box->err);
}

static int string_gc(lua_State *L) {
  return l_box_gc(L, L_STRING);
}

typedef int translate_fn(lvhd_engine *engine, const char *path, char **out,
                         struct lvhd_error *err);

/* A text that is NULL is false. */
static int translate(lua_State *L, translate_fn *fn) {
  lvhd_engine *engine = l_check_engine(L, 1);
  const char *path = l_path(L, 2);
  struct l_string *box = l_box(L, sizeof *box, 0, L_STRING, let_go);
  if (fn(engine, path, &box->text, &box->err) != 0)
    return l_fail(L, &box->err);
  if (box->text)
    lua_pushstring(L, box->text);
  else
    lua_pushboolean(L, false);
  return 1;
}

/* windows_path(engine, path) -> string | false | nil, error */
static int core_windows_path(lua_State *L) {
  return translate(L, lvhd_windows_path);
}

/* host_path(engine, path) -> string | nil, error */
static int core_host_path(lua_State *L) {
  return translate(L, lvhd_host_path);
}

/* check_path(engine, path) -> true | nil, error */
static int core_check_path(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  size_t n = 0;
  const char *path =
    lua_isnil(L, 2) ? NULL : luaL_checklstring(L, 2, &n);
  struct l_string *box = l_box(L, sizeof *box, 0, L_STRING, let_go);
  if (lvhd_check_path(engine, path, n, &box->err) != 0)
    return l_fail(L, &box->err);
  lua_pushboolean(L, true);
  return 1;
}

static const luaL_Reg functions[] = {
  {"windows_path", core_windows_path},
  {"host_path", core_host_path},
  {"check_path", core_check_path},
  {NULL, NULL}
};

/* With the module table on top. */
void l_open_path(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  luaL_newmetatable(L, L_STRING);
  lua_pushcfunction(L, string_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
