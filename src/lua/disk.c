/* SPDX-License-Identifier: MIT
 *
 * Open disks.  A call does a bounded amount of work; the loops are in
 * lvhd/disk.lua, so that Ctrl-C reaches Lua.
 *
 * A string cannot be read into: Lua copies what it is made of.  What it is
 * copied from is one buffer a disk, kept from read to read, so that only the
 * string itself is fresh memory.
 */
#include "lua/l.h"

/* User values of a disk: its engine; its buffer; the path it was opened by. */
#define UV_ENGINE 1
#define UV_BUFFER 2
#define UV_PATH 3

/* The most that one call reads or writes, and the least that a buffer has. */
#define PIECE_MAX (4 << 20)
#define BUFFER_MIN (64 << 10)

/* The Lua side has asked whether the disk is open. */
static struct l_disk *check_disk(lua_State *L) {
  struct l_disk *box = luaL_checkudata(L, 1, L_DISK);
  luaL_argcheck(L, box->disk != NULL, 1, "a closed disk");
  return box;
}

/* Everything but the path.  Calls no Lua. */
static void drop(struct l_disk *box) {
  lvhd_disk *disk = box->disk;
  box->disk = NULL;
  lvhd_disk_close(disk);
  lvhd_error_clear(&box->err);
}

/* Nobody hears of a failure now but who listens to warn(). */
static void let_go(lua_State *L, void *arg) {
  struct l_disk *box = arg;
  if (box->disk && lvhd_disk_finish(box->disk, &box->err) != 0)
    l_warn(L, &box->err);
  drop(box);
}

static int disk_gc(lua_State *L) {
  return l_box_gc(L, L_DISK);
}

/* open(engine, paths, options or nil, exact) -> disk | nil, error.  The list may
 * hold false, for a nil that is the engine's to refuse. */
static int core_open(lua_State *L) {
  lvhd_engine *engine = l_check_engine(L, 1);
  struct lvhd_open_options opts;
  struct l_disk *box = NULL;
  const char **paths = NULL;
  size_t count = 0;
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 4);
  l_open_options(L, 3, &opts);
  opts.exact = lua_toboolean(L, 4);
  paths = l_strings(L, 2, &count);
  l_sweep(L);
  box = l_box(L, sizeof *box, 3, L_DISK, let_go);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, UV_ENGINE);
  lua_rawgeti(L, 2, 1);
  lua_setiuservalue(L, -2, UV_PATH);
  if (lvhd_disk_open(engine, paths, count, &opts, &box->disk, &box->err) != 0)
    return l_fail(L, &box->err);
  return 1;
}

/* disk_state(disk) -> open, path it was opened by */
static int core_disk_state(lua_State *L) {
  struct l_disk *box = luaL_checkudata(L, 1, L_DISK);
  lua_pushboolean(L, box->disk != NULL);
  lua_getiuservalue(L, 1, UV_PATH);
  return 2;
}

static int core_disk_size(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)lvhd_disk_size(check_disk(L)->disk));
  return 1;
}

/* The disk's buffer, with room for n bytes; it stays alive in the disk. */
static void *buffer_of(lua_State *L, size_t n) {
  void *buffer = NULL;
  lua_getiuservalue(L, 1, UV_BUFFER);
  buffer = lua_touserdata(L, -1);
  if (buffer == NULL || lua_rawlen(L, -1) < n) {
    buffer = lua_newuserdatauv(L, n > BUFFER_MIN ? n : BUFFER_MIN, 0);
    lua_setiuservalue(L, 1, UV_BUFFER);
  }
  lua_settop(L, 1);
  return buffer;
}

/* read(disk, offset, n, hooked) -> string | nil, error.  At most 4 MiB, and
 * less only at the end of the disk. */
static int core_read(lua_State *L) {
  struct l_disk *box = check_disk(L);
  lua_Integer offset = luaL_checkinteger(L, 2);
  lua_Integer n = luaL_checkinteger(L, 3);
  bool hooked = lua_toboolean(L, 4);
  void *buffer = NULL;
  size_t got = 0;
  luaL_argcheck(L, offset >= 0, 2, "negative");
  luaL_argcheck(L, n >= 0 && n <= PIECE_MAX, 3, "not a piece");
  buffer = buffer_of(L, (size_t)n);
  if (lvhd_disk_read(box->disk, buffer, (size_t)n, (uint64_t)offset, &got,
                     &box->err) != 0)
    return l_fail(L, &box->err);
  l_interrupt(L, hooked);
  lua_pushlstring(L, buffer, got);
  return 1;
}

/* extent(disk, offset, end, hooked) -> length, layer | nil, error */
static int core_extent(lua_State *L) {
  struct l_disk *box = check_disk(L);
  lua_Integer offset = luaL_checkinteger(L, 2);
  lua_Integer end = luaL_checkinteger(L, 3);
  bool hooked = lua_toboolean(L, 4);
  struct lvhd_extent extent;
  if (lvhd_disk_extent(box->disk, (uint64_t)offset, (uint64_t)end, &extent,
                       &box->err) != 0)
    return l_fail(L, &box->err);
  l_interrupt(L, hooked);
  lua_pushinteger(L, (lua_Integer)extent.length);
  lua_pushinteger(L, (lua_Integer)extent.layer);
  return 2;
}

/* disk_chain(disk) -> infos | nil, error */
static int core_disk_chain(lua_State *L) {
  lvhd_disk *disk = check_disk(L)->disk;
  struct l_infos *box = l_infos_box(L);
  int code = lvhd_disk_chain(disk, &box->infos, &box->err);
  return l_infos_result(L, box, code);
}

/* write(disk, offset, bytes, from, hooked) -> how many | nil, error.  Writes
 * the bytes from the `from`th on (0 is the first), which belong at offset +
 * from: at most 4 MiB.  What reaches beyond the disk goes to the engine as a
 * whole, which refuses it before it writes. */
static int core_write(lua_State *L) {
  struct l_disk *box = check_disk(L);
  lua_Integer offset = luaL_checkinteger(L, 2);
  size_t length = 0;
  const char *bytes = luaL_checklstring(L, 3, &length);
  lua_Integer from = luaL_checkinteger(L, 4);
  bool hooked = lua_toboolean(L, 5);
  uint64_t at = (uint64_t)offset + (uint64_t)from;
  size_t n = 0;
  luaL_argcheck(L, offset >= 0, 2, "negative");
  luaL_argcheck(L, from >= 0 && (size_t)from <= length, 4, "outside");
  n = length - (size_t)from;
  if (n > PIECE_MAX && at + n <= lvhd_disk_size(box->disk))
    n = PIECE_MAX;
  if (lvhd_disk_write(box->disk, bytes + from, n, at, &box->err) != 0)
    return l_fail(L, &box->err);
  l_interrupt(L, hooked);
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

/* flush(disk) -> true | nil, error */
static int core_flush(lua_State *L) {
  struct l_disk *box = check_disk(L);
  if (lvhd_disk_flush(box->disk, &box->err) != 0)
    return l_fail(L, &box->err);
  lua_pushboolean(L, true);
  return 1;
}

/* disk_close(disk, quiet) -> true | nil, error: what it held is gone now, in
 * either case, and where there is no memory to tell of the error; again:
 * nothing.  quiet: an error goes to warn(). */
static int core_disk_close(lua_State *L) {
  struct l_disk *box = luaL_checkudata(L, 1, L_DISK);
  bool quiet = lua_toboolean(L, 2);
  lvhd_disk *disk = box->disk;
  int code = disk ? lvhd_disk_finish(disk, &box->err) : 0;
  box->disk = NULL;
  lvhd_disk_close(disk);
  lua_settop(L, 1);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, UV_BUFFER);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, UV_ENGINE);
  if (code != 0 && !quiet)
    return l_fail(L, &box->err);
  if (code != 0)
    l_warn(L, &box->err);
  lvhd_error_clear(&box->err);
  lua_pushboolean(L, true);
  return 1;
}

static const luaL_Reg functions[] = {
  {"open", core_open},
  {"disk_state", core_disk_state},
  {"disk_size", core_disk_size},
  {"read", core_read},
  {"extent", core_extent},
  {"disk_chain", core_disk_chain},
  {"write", core_write},
  {"flush", core_flush},
  {"disk_close", core_disk_close},
  {NULL, NULL}
};

/* With the module table on top. */
void l_open_disk(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  lua_getfield(L, -1, "metatables");
  luaL_newmetatable(L, L_DISK);
  lua_pushcfunction(L, disk_gc);
  lua_setfield(L, -2, "__gc");
  lua_setfield(L, -2, "disk");
  lua_pop(L, 1);
}
