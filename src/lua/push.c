/* SPDX-License-Identifier: MIT
 *
 * Errors and infos as Lua tables.  Only reads what it is given.
 */
#include <string.h>

#include "lua/l.h"

static void set_string(lua_State *L, const char *key, const char *value) {
  if (value == NULL || value[0] == '\0')
    return;
  lua_pushlstring(L, value, strlen(value));
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

static void set_uuid(lua_State *L, const char *key, const uint8_t uuid[16]) {
  char text[37];
  lvhd_uuid_text(uuid, text);
  set_string(L, key, text);
}

/* Whose merge was interrupted. */
static void set_child(lua_State *L, unsigned has, const uint8_t uuid[16]) {
  if (has & LVHD_HAS_CHILD)
    set_uuid(L, "expected", uuid);
}

#define PENDING "run the operation that was interrupted again"
#define NO_ROOM "free room and run it again: the disk reads as before"
#define NO_FOOTER                                                            \
  "check tells what is wrong with the parent, repair mends what can be mended"

/* The one line that cures, where it is the same for all; the last that fits
 * counts. */
static const struct {
  const char *why, *op, *hint; /* reason or name; op NULL: of any verb */
} hints[] = {
  {"E_DISK_FULL", "merge",
   "free room and run it again: the child reads as before"},
  {"E_DISK_FULL", "compact", NO_ROOM},
  {"E_DISK_FULL", "resize", NO_ROOM},
  {"E_DISK_FULL", "relink", NO_ROOM},
  {"E_DISK_FULL", "repair", NO_ROOM},
  {"TYPE_UNFIT", "resize",
   "convert it into a disk without parent, and resize that"},
  {"SIZE_UNALIGNED", "convert", "round it up: round = \"512\""},
  {"OTHER_CHILDREN", NULL,
   "force = true changes it all the same, and ruins them"},
  {"NO_WRITE_BIT", NULL, "chmod u+w, if it is meant to be changed"},
  {"JOURNAL_PENDING", NULL,
   "run the operation that was interrupted again; force = true gives it up"},
  /* these have no such option */
  {"JOURNAL_PENDING", "create_differencing", PENDING},
  {"JOURNAL_PENDING", "create_children", PENDING},
  {"JOURNAL_PENDING", "convert", PENDING},
  {"JOURNAL_FOREIGN", NULL, "look at it, and remove it if it is of no use"},
  {"JOURNAL_FAILED", NULL,
   "its folder must be writable, with some KiB free"},
  {"TIME_LOST", NULL, "force = true goes on without that"},
  {"NOT_WRITABLE", NULL, "open it with write = true"},
  {"NO_PARENT_GIVEN", "convert", "name it: parent = \"...\""},
  {"VM_E_PARENT_MODIFIED", NULL,
   "if its content is the same, relink takes its new time; force = true goes "
   "on as it is"}
};

static bool is(const char *a, const char *b) {
  return a && b && strcmp(a, b) == 0;
}

static void set_fixed_hint(lua_State *L, const struct lvhd_error *err,
                           const char *reason) {
  const char *name = lvhd_code_name(err->code);
  for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
    if ((is(reason, hints[i].why) || is(name, hints[i].why)) &&
        (hints[i].op == NULL || is(err->op, hints[i].op)))
      set_string(L, "hint", hints[i].hint);
  if ((err->has & LVHD_AT_PARENT) != 0 && reason &&
      strncmp(reason, "FOOTER_", strlen("FOOTER_")) == 0)
    set_string(L, "hint", NO_FOOTER);
}

/* The folder to allow, for a parent that a file names and nobody allows. */
static void set_hint(lua_State *L, const struct lvhd_error *err) {
  const char *reason = lvhd_reason_name(err->reason);
  const char *slash = err->parent ? strrchr(err->parent, '/') : NULL;
  set_fixed_hint(L, err, reason);
  if (slash == NULL || !is(reason, "PARENT_OUTSIDE"))
    return;
  if (err->errnum != 0) { /* a link: to allow its folder would not help */
    set_string(L, "hint", "a link is on the way: name the files themselves, "
                          "open{ leaf, parent, ... }");
    return;
  }
  lua_pushlstring(L, err->parent,
                  slash == err->parent ? 1 : (size_t)(slash - err->parent));
  luaL_gsub(L, lua_tostring(L, -1), "\\", "\\\\");
  luaL_gsub(L, lua_tostring(L, -1), "\"", "\\\"");
  lua_pushfstring(L, "allow it with parents = {\"%s\"}",
                  lua_tostring(L, -1));
  lua_setfield(L, -5, "hint");
  lua_pop(L, 3);
}

/* The paths of the files that stand in the way. */
static void set_others(lua_State *L, const char *others) {
  lua_Integer n = 0;
  if (others == NULL)
    return;
  lua_newtable(L);
  for (; *others; others += strlen(others) + 1) {
    lua_pushstring(L, others);
    lua_rawseti(L, -2, ++n);
  }
  lua_setfield(L, -2, "others");
}

void l_push_error(lua_State *L, const struct lvhd_error *err) {
  char text[6144]; /* may quote a path */
  luaL_checkstack(L, 8, NULL);
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
  if (err->has & LVHD_HAS_UUIDS) {
    set_uuid(L, "expected", err->expected_uuid);
    set_uuid(L, "actual", err->actual_uuid);
  }
  set_child(L, err->has, err->expected_uuid);
  if (err->layer != 0)
    set_integer(L, "layer", err->layer);
  set_others(L, err->others);
  set_hint(L, err);
  luaL_setmetatable(L, L_ERROR);
}

int l_fail(lua_State *L, struct lvhd_error *err) {
  lua_pushnil(L);
  l_push_error(L, err);
  lvhd_error_clear(err);
  return 2;
}

/* ---- infos ----------------------------------------------------------- */

static void set_boolean(lua_State *L, const char *key, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, key);
}

static void push_locators(lua_State *L, const struct lvhd_info *info) {
  lua_createtable(L, (int)info->locator_count, 0);
  for (size_t i = 0; i < info->locator_count; i++) {
    const struct lvhd_locator *locator = &info->locators[i];
    lua_createtable(L, 0, 6);
    set_string(L, "code", locator->code);
    set_string(L, "path", locator->path);
    if (locator->raw) {
      lua_pushlstring(L, (const char *)locator->raw, locator->raw_length);
      lua_setfield(L, -2, "raw");
    }
    set_integer(L, "offset", (lua_Integer)locator->offset);
    set_integer(L, "space", locator->space);
    set_integer(L, "length", locator->length);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static const char *found_name(enum lvhd_found found) {
  switch (found) {
    case LVHD_FOUND_NOT:
      break;
    case LVHD_FOUND_LOCATOR:
      return "locator";
    case LVHD_FOUND_NAME:
      return "name";
    case LVHD_FOUND_GIVEN:
      return "given";
  }
  return NULL;
}

static void push_parent(lua_State *L, const struct lvhd_info *info) {
  lua_createtable(L, 0, 7);
  set_string(L, "path", info->parent_path);
  set_string(L, "name", info->parent_name);
  set_uuid(L, "uuid", info->parent_uuid);
  set_integer(L, "timestamp", info->parent_timestamp);
  set_string(L, "found", found_name(info->parent_found));
  set_string(L, "found_by", info->found_by);
  push_locators(L, info);
  lua_setfield(L, -2, "locators");
}

/* The sentence with its numbers, as an error of this reason would say it. */
static void set_sentence(lua_State *L, const struct lvhd_finding *finding) {
  char text[1024];
  struct lvhd_error err = LVHD_ERROR_INIT;
  err.reason = finding->reason;
  err.has = finding->has & ~(unsigned)LVHD_AT_PARENT;
  err.expected = finding->expected;
  err.actual = finding->actual;
  err.offset = finding->offset;
  memcpy(err.expected_uuid, finding->expected_uuid, 16);
  lvhd_error_text(&err, text, sizeof text);
  set_string(L, "message", text);
}

static void push_findings(lua_State *L, const struct lvhd_info *info) {
  static const char *const severities[] = {"note", "warning", "error"};
  lua_createtable(L, (int)info->finding_count, 0);
  for (size_t i = 0; i < info->finding_count; i++) {
    const struct lvhd_finding *finding = &info->findings[i];
    lua_createtable(L, 0, 7);
    set_string(L, "code", lvhd_reason_name(finding->reason));
    set_string(L, "severity", severities[finding->severity]);
    set_sentence(L, finding);
    set_string(L, "path", finding->path ? finding->path : info->path);
    set_numbers(L, finding->has, finding->expected, finding->actual,
                finding->offset);
    set_child(L, finding->has, finding->expected_uuid);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static const char *type_name(enum lvhd_type type) {
  switch (type) {
    case LVHD_RAW:
      return "raw";
    case LVHD_FIXED:
      return "fixed";
    case LVHD_DYNAMIC:
      return "dynamic";
    case LVHD_DIFFERENCING:
      break;
  }
  return "differencing";
}

static const char *footer_name(enum lvhd_footer footer) {
  switch (footer) {
    case LVHD_FOOTER_END:
      break;
    case LVHD_FOOTER_SHORT:
      return "short";
    case LVHD_FOOTER_COPY:
      return "copy";
  }
  return "end";
}

static void push_geometry(lua_State *L, const struct lvhd_info *info) {
  lua_createtable(L, 0, 3);
  set_integer(L, "cylinders", info->cylinders);
  set_integer(L, "heads", info->heads);
  set_integer(L, "sectors", info->sectors);
}

/* What is in the footer. */
static void set_footer(lua_State *L, const struct lvhd_info *info) {
  set_integer(L, "original_size", (lua_Integer)info->original_size);
  set_uuid(L, "uuid", info->uuid);
  set_integer(L, "timestamp", info->timestamp);
  set_string(L, "creator", info->creator);
  set_string(L, "creator_os", info->creator_os);
  set_integer(L, "creator_version", info->creator_version);
  push_geometry(L, info);
  lua_setfield(L, -2, "geometry");
  set_boolean(L, "saved_state", info->saved_state);
  set_boolean(L, "hidden", info->hidden);
  set_string(L, "footer", footer_name(info->footer));
}

void l_push_info(lua_State *L, const struct lvhd_info *info) {
  luaL_checkstack(L, 8, NULL);
  lua_createtable(L, 0, 26);
  set_string(L, "path", info->path);
  set_string(L, "type", type_name(info->type));
  set_integer(L, "size", (lua_Integer)info->size);
  if (info->type != LVHD_RAW)
    set_footer(L, info);
  set_integer(L, "file_size", (lua_Integer)info->file_size);
  set_integer(L, "mtime", info->mtime);
  if (info->type == LVHD_DYNAMIC || info->type == LVHD_DIFFERENCING) {
    set_integer(L, "block_size", info->block_size);
    set_integer(L, "blocks", info->blocks);
    set_integer(L, "blocks_used", info->blocks_used);
  }
  if (info->alignment != 0)
    set_integer(L, "alignment", info->alignment);
  set_integer(L, "free", (lua_Integer)info->free);
  set_boolean(L, "lockable", info->lockable);
  set_boolean(L, "created", info->created);
  push_findings(L, info);
  lua_setfield(L, -2, "findings");
  if (info->has_parent) {
    push_parent(L, info);
    lua_setfield(L, -2, "parent");
  }
  if (info->error) {
    l_push_error(L, info->error);
    lua_setfield(L, -2, "error");
  }
}

void l_push_infos(lua_State *L, const lvhd_infos *infos) {
  size_t n = lvhd_infos_count(infos);
  luaL_checkstack(L, 2, NULL);
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    l_push_info(L, lvhd_infos_at(infos, i));
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}
