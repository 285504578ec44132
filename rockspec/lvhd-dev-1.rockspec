-- SPDX-License-Identifier: MIT
--
-- `luarocks --lua-version=5.4 make` in the root of the tree builds and
-- installs this; no network is needed.  No test_dependencies: LuaRocks would
-- ask its servers for them; `make test` brings its own.
rockspec_format = "3.0"
package = "lvhd"
version = "dev-1"
source = {
  url = "git+file://.",
}
description = {
  summary = "Create, inspect and maintain VHD virtual hard disks",
  detailed = [[
Fixed, dynamic and differencing VHD disks from Lua 5.4 on Linux: without
privileges, without blocking, and never half a file.  A thread-safe C engine
does the work; every long operation is a task.]],
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = {
  "lua >= 5.4, < 5.5",
}
build = {
  type = "make",
  build_variables = {
    CFLAGS = "$(CFLAGS)",
    LIBFLAG = "$(LIBFLAG)",
    LUA_INCDIR = "$(LUA_INCDIR)",
  },
  -- the same again: with other flags `make install` would build anew
  install_variables = {
    CFLAGS = "$(CFLAGS)",
    LIBFLAG = "$(LIBFLAG)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    INST_LUADIR = "$(LUADIR)",
    INST_LIBDIR = "$(LIBDIR)",
    INST_BINDIR = "$(BINDIR)",
    INST_SHAREDIR = "",
  },
}
test = {
  type = "command",
  command = "make test",
}
