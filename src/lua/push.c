/* SPDX-License-Identifier: MIT
 *
 * Errors and infos as Lua tables.  Only reads what it is given.
 */
#include "lua/l.h"

static void set_string(lua_State *L, const char *key, const char *value) {
  if (value == NULL || value[0] == '\0')
    return;
  lua_pushstring(L, value);
  lua_setfield(L, -2, key);
}

static void set_integer(lua_State *L, const char *key, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, key);
}

/* ---- errors ---------------------------------------------------------- */

static void set_numbers(lua_State *L, unsigned has, uint64_t expected,
                        uint64_t actual, uint64_t offset) {
  if (has & LVHD_HAS_EXPECTED)
    set_integer(L, "expected", (lua_Integer)expected);
  if (has & LVHD_HAS_ACTUAL)
    set_integer(L, "actual", (lua_Integer)actual);
  if (has & LVHD_HAS_OFFSET)
    set_integer(L, "offset", (lua_Integer)offset);
}

void l_push_error(lua_State *L, const struct lvhd_error *err) {
  char text[6144]; /* may quote a path */
  luaL_checkstack(L, 4, NULL);
  lua_createtable(L, 0, 10);
  set_string(L, "name", lvhd_code_name(err->code));
  set_integer(L, "hresult", (lua_Integer)lvhd_code_hresult(err->code));
  lvhd_error_text(err, text, sizeof text);
  set_string(L, "message", text);
  set_string(L, "op", err->op);
  set_string(L, "path", err->path);
  set_string(L, "parent", err->parent);
  set_string(L, "syscall", err->syscall);
  if (err->errnum != 0) {
    set_integer(L, "errno", err->errnum);
    set_string(L, "errname", lvhd_errno_name(err->errnum));
  }
  if (err->reason != 0)
    set_string(L, "reason", lvhd_reason_name(err->reason));
  set_numbers(L, err->has, err->expected, err->actual, err->offset);
  luaL_setmetatable(L, L_ERROR);
}

int l_fail(lua_State *L, struct lvhd_error *err) {
  lua_pushnil(L);
  l_push_error(L, err);
  lvhd_error_clear(err);
  return 2;
}

/* ---- infos ----------------------------------------------------------- */

static void set_uuid(lua_State *L, const uint8_t uuid[16]) {
  char text[37];
  lvhd_uuid_text(uuid, text);
  set_string(L, "uuid", text);
}

static void push_locators(lua_State *L, const struct lvhd_info *info) {
  lua_createtable(L, (int)info->locator_count, 0);
  for (size_t i = 0; i < info->locator_count; i++) {
    const struct lvhd_locator *locator = &info->locators[i];
    lua_createtable(L, 0, 3);
    set_string(L, "code", locator->code);
    set_string(L, "path", locator->path);
    lua_pushlstring(L, (const char *)locator->raw, locator->raw_length);
    lua_setfield(L, -2, "raw");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void push_parent(lua_State *L, const struct lvhd_info *info) {
  lua_createtable(L, 0, 5);
  set_string(L, "path", info->parent_path);
  set_string(L, "name", info->parent_name);
  set_uuid(L, info->parent_uuid);
  set_integer(L, "timestamp", info->parent_timestamp);
  push_locators(L, info);
  lua_setfield(L, -2, "locators");
}

static void push_findings(lua_State *L, const struct lvhd_info *info) {
  static const char *const severities[] = {"note", "warning", "error"};
  lua_createtable(L, (int)info->finding_count, 0);
  for (size_t i = 0; i < info->finding_count; i++) {
    const struct lvhd_finding *finding = &info->findings[i];
    lua_createtable(L, 0, 6);
    set_string(L, "code", lvhd_reason_name(finding->reason));
    set_string(L, "severity", severities[finding->severity]);
    set_string(L, "message", lvhd_reason_text(finding->reason));
    set_string(L, "path", info->path);
    set_numbers(L, finding->has, finding->expected, finding->actual,
                finding->offset);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static const char *type_name(enum lvhd_type type) {
  switch (type) {
    case LVHD_FIXED:
      return "fixed";
    case LVHD_DYNAMIC:
      return "dynamic";
    case LVHD_DIFFERENCING:
      break;
  }
  return "differencing";
}

void l_push_info(lua_State *L, const struct lvhd_info *info) {
  luaL_checkstack(L, 6, NULL);
  lua_createtable(L, 0, 16);
  set_string(L, "path", info->path);
  set_string(L, "type", type_name(info->type));
  set_integer(L, "size", (lua_Integer)info->size);
  set_integer(L, "file_size", (lua_Integer)info->file_size);
  if (info->type != LVHD_FIXED) {
    set_integer(L, "block_size", info->block_size);
    set_integer(L, "blocks", info->blocks);
    set_integer(L, "blocks_used", info->blocks_used);
  }
  set_uuid(L, info->uuid);
  set_integer(L, "timestamp", info->timestamp);
  set_string(L, "creator", info->creator);
  set_integer(L, "free", (lua_Integer)info->free);
  lua_pushboolean(L, info->lockable);
  lua_setfield(L, -2, "lockable");
  lua_pushboolean(L, info->created);
  lua_setfield(L, -2, "created");
  push_findings(L, info);
  lua_setfield(L, -2, "findings");
  if (info->has_parent) {
    push_parent(L, info);
    lua_setfield(L, -2, "parent");
  }
}
