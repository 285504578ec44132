-- SPDX-License-Identifier: MIT
--
-- What an installed copy is: the right files in the right places, and a
-- module that works from any folder with nothing but its own files; by make
-- and by LuaRocks, without network.  #nosan, #built: with the user's flags.

local support = require "spec.support"
local q, run, sh = support.q, support.run, support.sh

-- This spec runs inside make: what that make was told must not leak into the
-- one under test.
local CLEAN = "env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u LUA_PATH"
  .. " -u LUA_CPATH -u CFLAGS -u LVHD_BUILD"

local CORE = (os.getenv("LVHD_BUILD") or "build") .. "/lvhd/core.so"

-- Where things go is looked at here, not how good the code is; the suite
-- itself runs a build with the default flags.
local QUICK = " CFLAGS='-O0 -fPIC'"

---A copy of what a build needs, so that no test builds into this tree.
local function copy_tree()
  local tree = support.tmpdir() .. "/lvhd tree"
  run("mkdir " .. q(tree) .. " && cp -r Makefile src lvhd rockspec "
    .. q(tree))
  -- plain: nothing that a build has made
  assert.equal("", run("cd " .. q(tree) .. " && find . -name build -o "
    .. "-name '*.o' -o -name '*.so' -o -name '*.a' -o -name '*.d'"))
  return tree
end

local function files(folder)
  local list = {}
  for path in run("cd " .. q(folder) .. " && find . -type f"):gmatch("[^\n]+")
  do
    list[path:sub(3)] = true
  end
  return list
end

---Uses an installed copy from a folder that has nothing to do with it.
local function try_out(lua_dir, lib_dir)
  local folder = support.tmpdir()
  support.write(folder .. "/try.lua", [[
local lvhd = require "lvhd"
local folder = arg[1]
lvhd.create_dynamic(folder .. "/base.vhd", "64 MiB"):wait()
local info = lvhd.create_differencing(folder .. "/child.vhd",
  folder .. "/base.vhd"):wait()
assert(info.parent.path == folder .. "/base.vhd")
local ok, err = pcall(lvhd.create_dynamic, folder .. "/base.vhd", "64 MiB")
assert(not ok and err.name == "E_ALREADY_EXISTS")
local vs = require "lvhd.virtualserver".with {}
  .CreateObject("VirtualServer.Application")
assert(vs:GetHardDisk(folder .. "/child.vhd").Type == vs.vmDiskType_Differencing)
print(package.searchpath("lvhd", package.path),
  package.searchpath("lvhd.core", package.cpath), info.size)
]])
  local output = run(("cd %s && env -u LVHD_BUILD LUA_PATH=%s LUA_CPATH=%s"
    .. " lua5.4 try.lua %s"):format(q(folder),
    q(lua_dir .. "/?.lua;" .. lua_dir .. "/?/init.lua"),
    q(lib_dir .. "/?.so"), q(folder)))
  assert.equal(("%s/lvhd/init.lua\t%s/lvhd/core.so\t%d\n"):format(lua_dir,
    lib_dir, 64 << 20), output)
  assert.same({ "base.vhd", "child.vhd", "try.lua" }, support.names(folder))
end

describe("make install #nosan #built", function()
  it("puts the module where Lua looks, and takes it away again", function()
    local tree = copy_tree()
    local stage = support.tmpdir()
    local make = ("cd %s && %s make -s DESTDIR=%s PREFIX=/opt/lua "):format(
      q(tree), CLEAN, q(stage))
    run(make .. "-j2 install" .. QUICK)
    local expected = { ["opt/lua/lib/lua/5.4/lvhd/core.so"] = true,
      ["opt/lua/bin/lvhd"] = true, ["opt/lua/share/man/man1/lvhd.1"] = true,
      ["opt/lua/share/bash-completion/completions/lvhd"] = true }
    for path in run("ls lvhd/*.lua lvhd/*/*.lua"):gmatch("[^\n]+") do
      expected["opt/lua/share/lua/5.4/" .. path] = true
    end
    assert.same(expected, files(stage))
    try_out(stage .. "/opt/lua/share/lua/5.4", stage .. "/opt/lua/lib/lua/5.4")
    assert.matches("lvhd %d", run(("LUA_PATH=%s LUA_CPATH=%s %s version")
      :format(q(stage .. "/opt/lua/share/lua/5.4/?.lua;" .. stage
      .. "/opt/lua/share/lua/5.4/?/init.lua;;"),
      q(stage .. "/opt/lua/lib/lua/5.4/?.so"), q(stage .. "/opt/lua/bin/lvhd"))))
    assert.matches("lvhd merge", support.read(stage
      .. "/opt/lua/share/man/man1/lvhd.1"), 1, true)

    -- Without argparse its last words, and the command's only ones, say so.
    assert.matches("\n[^\n]*will not run without argparse: lua%-argparse\n$",
      run((make:gsub("make %-s", "LUA_PATH=/nowhere/?.lua %0")) .. "install"
      .. QUICK))
    local lone = stage .. "/opt/lua/share/lua/5.4"
    local _, said = sh(("LUA_PATH=%s LUA_CPATH=%s %s version 2>&1; echo $?")
      :format(q(lone .. "/?.lua;" .. lone .. "/?/init.lua"),
      q(stage .. "/opt/lua/lib/lua/5.4/?.so"), q(stage .. "/opt/lua/bin/lvhd")))
    assert.equal("lvhd: the command needs argparse (Debian: lua-argparse)\n1\n",
      said)

    -- Others' files stay.
    support.write(stage .. "/opt/lua/share/lua/5.4/other.lua", "")
    run(make .. "uninstall")
    assert.same({ ["opt/lua/share/lua/5.4/other.lua"] = true }, files(stage))
    for _, left in ipairs { "lib/lua/5.4/lvhd", "share/lua/5.4/lvhd" } do
      assert.is_false((sh("ls " .. q(stage .. "/opt/lua/" .. left))), left)
    end
  end)

  it("goes to /usr/local when not told otherwise", function()
    local plan = run("cd " .. q(copy_tree()) .. " && " .. CLEAN
      .. " make -n install")
    assert.matches("\"/usr/local/share/lua/5.4/lvhd\"", plan, 1, true)
    assert.matches("\"/usr/local/lib/lua/5.4/lvhd/core.so\"", plan, 1, true)
  end)

  it("exports one symbol to Lua and hides the engine's inner names",
    function()
      local symbols = run("nm -D --defined-only " .. q(CORE))
      assert.matches(" T luaopen_lvhd_core\n", symbols, 1, true)
      for name in symbols:gmatch("%x+ %a ([%w_]+)") do
        assert.is_truthy(name:find("^lvhd_") or name == "luaopen_lvhd_core",
          name)
      end
    end)

  it("keeps the module in memory when its Lua state ends", function()
    assert.matches("NODELETE", run("readelf -d " .. q(CORE)), 1, true)
  end)

  it("takes the user's flags beside its own", function()
    local plan = run("cd " .. q(copy_tree()) .. " && " .. CLEAN
      .. " make -n B=other"
      .. " CC=mycc CFLAGS='-O3 -g0' CPPFLAGS=-DMINE LDFLAGS=-Wl,--mine"
      .. " LIBFLAG=-bundle LUA_INCDIR=/where/lua")
    local compile = plan:match("[^\n]*src/lua/[^\n]*%.c")
    for _, word in ipairs { "mycc ", "-O3 -g0", "-DMINE", "-isystem /where/lua",
      "-std=c11", "-fvisibility=hidden" } do
      assert.matches(word, compile, 1, true)
    end
    local link = plan:match("[^\n]*other/lvhd/core%.so [^\n]*")
    for _, word in ipairs { "mycc ", "-Wl,--mine", "-bundle", "nodelete" } do
      assert.matches(word, link, 1, true)
    end
  end)
end)

describe("luarocks make #nosan #built", function()
  local built -- one tree, built by the first that needs it

  local function source_tree()
    if not built then
      built = run("mktemp -d"):gsub("\n$", "") .. "/lvhd"
      run("mv " .. q(copy_tree()) .. " " .. q(built) .. " && chmod 755 "
        .. q(built:match "^(.*)/"))
    end
    return built
  end

  teardown(function()
    if built then
      run("rm -rf " .. q(built:match "^(.*)/"))
    end
  end)

  -- root can cut the network off; anybody else has to believe.
  local function offline()
    return support.is_root() and (sh("unshare -n true")) and "unshare -n "
      or ""
  end

  it("installs into a tree without network, and takes it away", function()
    if not support.has("luarocks") then
      pending("luarocks is not installed")
      return
    end
    local source, tree = source_tree(), support.tmpdir()
    local rocks = "cd " .. q(source) .. " && " .. offline() .. CLEAN
      .. " MAKEFLAGS=-j2 luarocks --lua-version=5.4 --tree " .. q(tree)
    local log = run(rocks .. " make" .. QUICK .. " 2>&1")
    local _, compiled = log:gsub("CC +build/obj/src/lvhd%.o", "")
    assert.equal(1, compiled) -- the install builds with the same flags
    try_out(tree .. "/share/lua/5.4", tree .. "/lib/lua/5.4")
    assert.matches("^lvhd %d", run(q(tree .. "/bin/lvhd") .. " version"))
    run(rocks .. " remove lvhd")
    assert.is_nil(files(tree)["share/lua/5.4/lvhd/init.lua"])
    assert.is_nil(files(tree)["lib/lua/5.4/lvhd/core.so"])
  end)

  -- What an installed copy does, found by nothing but where it was installed.
  local TRY <const> = [[
cd / && lvhd create "$T/a.vhd" 64MiB && lvhd info "$T/a.vhd" &&
lua5.4 -e 'local lvhd = require "lvhd"
  local d = os.getenv "T"
  lvhd.create_differencing(d .. "/b.vhd", d .. "/a.vhd"):wait()
  print(#lvhd.chain(d .. "/b.vhd"),
    package.searchpath("lvhd.core", package.cpath))
  ']]

  local function needs(...)
    for _, program in ipairs { ... } do
      if not support.has(program) then
        pending(program .. " is not installed")
        return false
      end
    end
    return true
  end

  it("installs for all as root, without network, and takes it away #root",
    function()
      if not needs("luarocks", "unshare") then
        return
      end
      local folder = support.tmpdir()
      support.write(folder .. "/script", ([[
set -e
mount -t tmpfs none /usr/local
cd %s
luarocks --lua-version=5.4 make %s >%s/log 2>&1
%s
luarocks --lua-version=5.4 remove lvhd >>%s/log 2>&1
cd / && ! lua5.4 -e 'require "lvhd"' 2>/dev/null
find /usr/local -type f | grep -v manifest || true
]]):format(q(source_tree()), QUICK, folder, TRY,
        folder))
      local out = run(("T=%s PATH=/usr/local/bin:/usr/bin:/bin %s"
        .. " MAKEFLAGS=-j2 unshare -nm sh %s"):format(q(folder), CLEAN,
        q(folder .. "/script")))
      assert.matches("^made: dynamic, 64 MiB", out)
      assert.matches("\n2\t/usr/local/lib/lua/5.4/lvhd/core.so\n$", out)
    end)

  it("installs for one user, without network, and takes it away #root",
    function()
      if not needs("luarocks", "unshare", "setpriv") then
        return
      end
      local home = support.tmpdir()
      local source = source_tree()
      run(("chown -R 65534:65534 %s %s && chmod 755 %s"):format(q(home),
        q(source), q(home)))
      support.write(home .. "/script", ([[
set -e
cd %s
luarocks --lua-version=5.4 make --local %s >%s/log 2>&1
eval "$(luarocks --lua-version=5.4 path)"
%s
luarocks --lua-version=5.4 remove --local lvhd >>%s/log 2>&1
cd / && ! lua5.4 -e 'require "lvhd"' 2>/dev/null
find "$HOME/.luarocks" -type f | grep -v manifest || true
]]):format(q(source), QUICK, home, TRY, home))
      local out = run(("unshare -n setpriv --reuid 65534 --regid 65534"
        .. " --clear-groups %s HOME=%s T=%s MAKEFLAGS=-j2 sh %s"):format(CLEAN,
        q(home), q(home), q(home .. "/script")))
      assert.matches("^made: dynamic, 64 MiB", out)
      assert.matches(("\n2\t%s/.luarocks/lib/lua/5.4/lvhd/core.so\n$")
        :format(home:gsub("%p", "%%%0")), out)
    end)

  it("finds nothing wrong with the rockspec", function()
    if not support.has("luarocks") then
      pending("luarocks is not installed")
      return
    end
    run(offline() .. "luarocks --lua-version=5.4 lint "
      .. "rockspec/lvhd-dev-1.rockspec")
  end)

  it("packs what is to be given away: make dist #slow", function()
    if not support.has("luarocks") then
      pending("luarocks is not installed")
      return
    end
    local source, tree = copy_tree(), support.tmpdir()
    local version = require "lvhd".version
    run("cd " .. q(source) .. " && " .. offline() .. CLEAN
      .. " make -s dist" .. QUICK)
    local dist = source .. "/build/dist/"
    local archive = run("tar tzf " .. q(("%slvhd-%s.tar.gz"):format(dist,
      version)))
    for _, name in ipairs { "Makefile", "src/lvhd.h", "lvhd/init.lua",
      ("rockspec/lvhd-%s-1.rockspec"):format(version) } do
      assert.matches(("lvhd-%s/%s\n"):format(version, name), archive, 1, true)
    end
    local rock = run("ls " .. q(dist) .. "*.rock"):gsub("\n", "")
    assert.matches(("lvhd-%s-1.linux-"):format(version), rock, 1, true)
    run(("cd / && %s luarocks --lua-version=5.4 --tree %s install %s"):format(
      offline() .. CLEAN, q(tree), q(rock)))
    try_out(tree .. "/share/lua/5.4", tree .. "/lib/lua/5.4")
    assert.equal("lvhd " .. version .. "\n", run(q(tree .. "/bin/lvhd")
      .. " version"))
    local have = files(tree)
    for path in run("ls lvhd/*.lua lvhd/*/*.lua"):gmatch("[^\n]+") do
      assert.is_true(have["share/lua/5.4/" .. path], path)
    end
  end)
end)
