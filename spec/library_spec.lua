-- SPDX-License-Identifier: MIT
--
-- The C library as its users have it: installed somewhere, found by pkg-config
-- and nothing else, shared and static; what it exports; the examples in C and
-- for LuaJIT.  #nosan, #built: with the user's flags.

local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"

local q, run, sh = support.q, support.run, support.sh
local CLEAN = "env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u LUA_PATH"
  .. " -u LUA_CPATH -u CFLAGS -u LVHD_BUILD"

-- Built and installed once, for all tests here.
local stage, dir

lazy_setup(function()
  stage = run("mktemp -d /tmp/lvhd-lib.XXXXXX"):gsub("\n", "")
  run(("cp -r Makefile src lvhd %s/ && cd %s && %s make -s -j2 install-lib"
    .. " PREFIX=%s/usr CFLAGS=-O1"):format(q(stage), q(stage), CLEAN, q(stage)))
end)
lazy_teardown(function()
  run("rm -rf " .. q(stage))
end)

before_each(function()
  dir = support.tmpdir()
  lvhd.create_dynamic(dir .. "/base.vhd", "64 MiB"):wait()
end)

local function config(words)
  return (run(("PKG_CONFIG_PATH=%s/usr/lib/pkgconfig pkg-config %s lvhd")
    :format(q(stage), words)):gsub("\n", ""))
end

-- Runs a program that makes dir/a.vhd; twice, since the second time it is there.
local function judge(program, code)
  local there = ("LD_LIBRARY_PATH=%s/usr/lib %s %s %s"):format(q(stage),
    program, q(dir .. "/a.vhd"), q(dir .. "/base.vhd"))
  run(there)
  assert.equal(lvhd.info(dir .. "/base.vhd").uuid,
    lvhd.info(dir .. "/a.vhd").parent.uuid)
  local ok, said = sh(there .. " 2>&1 >/dev/null")
  assert.is_false(ok)
  assert.matches(code, said)
end

describe("the C library #nosan #built", function()
  it("is found by pkg-config, and its version is the header's", function()
    assert.equal(lvhd.version, config "--modversion")
    assert.equal("-I" .. stage .. "/usr/include -L" .. stage
      .. "/usr/lib -llvhd", config("--cflags --libs"):gsub(" +$", ""))
  end)

  it("shared: builds and runs the example", function()
    run(("cc -Wall -Wextra -Werror spec/examples/child.c %s -o %s"):format(
      config "--cflags --libs", q(dir .. "/child")))
    assert.matches("liblvhd.so.0", run("readelf -d " .. q(dir .. "/child")), 1,
      true)
    judge(q(dir .. "/child"), "^E_ALREADY_EXISTS %(0x800700B7%): ")
  end)

  it("static: the same, with no lvhd beside it", function()
    run(("cc -Wall spec/examples/child.c %s %s/usr/lib/liblvhd.a -pthread"
      .. " -o %s"):format(config "--cflags", q(stage), q(dir .. "/child")))
    assert.is_nil(run("readelf -d " .. q(dir .. "/child")):find("liblvhd", 1,
      true))
    judge(q(dir .. "/child"), "^E_ALREADY_EXISTS")
  end)

  it("is called by C++ as it stands", function()
    support.write(dir .. "/a.cc", "#include <lvhd.h>\n"
      .. "int main() { return lvhd_version()[0] ? 0 : 1; }\n")
    run(("g++ -Wall -Wextra -Werror %s %s -o %s"):format(q(dir .. "/a.cc"),
      config "--cflags --libs", q(dir .. "/a")))
  end)

  it("is called from LuaJIT", function()
    judge("luajit spec/examples/child-ffi.lua", "^E_ALREADY_EXISTS: ")
  end)

  it("declares to LuaJIT what the header does", function()
    local header = support.read "src/lvhd.h":gsub("/%*.-%*/", ""):gsub("%s+",
      " ")
    local struct = header:match("struct lvhd_error {(.-)}")
    local ours = support.read "spec/examples/child-ffi.lua":gsub("%s+", " ")
      :match("struct lvhd_error {(.-)}")
    local function members(text)
      local list = {}
      for line in text:gmatch("[^;]+") do
        for name in line:gsub("^%s*const", ""):gmatch("([%w_]+)%[?%d*%]?%s*%f[,%z]")
        do
          list[#list + 1] = name
        end
      end
      return list
    end
    assert.same(members(struct), members(ours))
  end)

  it("shows its names and no others, shared and static", function()
    local declared, count = {}, 0
    for name in support.read "src/lvhd.h":gsub("/%*.-%*/", "")
      :gmatch("(lvhd_[%w_]+)%s*%(") do
      declared[name] = true
    end
    for _, list in ipairs { run("nm -D --defined-only " .. q(stage
      .. "/usr/lib/liblvhd.so")), run("nm -g --defined-only " .. q(stage
      .. "/usr/lib/liblvhd.a")) } do
      local found = {}
      for name in list:gmatch("%x+ [A-Z] ([%w_]+)") do
        assert.is_true(declared[name], name)
        found[name], count = true, count + 1
      end
      for name in pairs(declared) do
        assert.is_true(found[name], "not defined: " .. name)
      end
    end
    assert.is_true(count > 100, count)
  end)

  it("goes away again, and leaves others' files", function()
    support.write(stage .. "/usr/lib/other.a", "")
    run(("cd %s && %s make -s uninstall-lib PREFIX=%s/usr && %s make -s "
      .. "install-lib PREFIX=%s/usr DESTDIR=%s CFLAGS=-O1"):format(q(stage),
      CLEAN, q(stage), CLEAN, q("/opt"), q(dir)))
    assert.equal("usr/lib/other.a\n", run("cd " .. q(stage)
      .. " && find usr -type f"))
    assert.is_truthy(test.stat(dir .. "/opt/usr/lib/liblvhd.so.0"))
    assert.matches("prefix=/opt/usr", support.read(dir
      .. "/opt/usr/lib/pkgconfig/lvhd.pc"), 1, true)
  end)
end)
