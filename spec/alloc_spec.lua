-- SPDX-License-Identifier: MIT
--
-- Memory that runs out: of the engine (spec/c/test_alloc.c, run as a unit
-- test, and here in its long form), and of a Lua state (spec/c/host_alloc.c
-- with the scenarios of spec/support/scarce.lua).

local life = require "spec.support.life"
local support = require "spec.support"

local q = support.q

describe("memory that runs out", function()
  local dir

  before_each(function()
    dir = support.tmpdir()
  end)

  -- ---- the engine's --------------------------------------------------------

  -- Where src asks for memory: "src/io/file.c:151". A statement may begin on
  -- the line before; a tail call leaves no address.
  local function asked()
    local places = {}
    local list = support.run("grep -rnE '\\b(malloc|calloc|realloc|strdup|"
      .. "strndup|aligned_alloc)\\(' src --include=*.c")
    for file, line, text in list:gmatch("(src/[%w_/]+%.c):(%d+):([^\n]*)") do
      if not file:find("^src/lua/") and not text:find("return .*%(") then
        places[file .. ":" .. line] = true
      end
    end
    return places
  end

  -- Of these, those where no allocation has failed.
  local function never_failed(program, output)
    local places = asked()
    local addresses = {}
    for address in output:gmatch("site (0x%x+)") do
      addresses[#addresses + 1] = address
    end
    local lines = support.run(("addr2line -e %s %s"):format(program,
      table.concat(addresses, " ")))
    for file, line in lines:gmatch("(src/[%w_/]+%.c):(%d+)") do
      for back = -3, 3 do
        places[file .. ":" .. (line - back)] = nil
      end
    end
    local left = {}
    for place in pairs(places) do
      left[#left + 1] = place
    end
    table.sort(left)
    return left
  end

  it("each allocation of each verb, in six ways #slow #nosan", function()
    local program = life.program "test_alloc"
    local ok, output = support.sh(program .. " long")
    assert.is_true(ok, output)
    assert.truthy(output:find("%d+ passed, 0 failed"), output)
    assert.same({}, never_failed(program, output))
    print((output:gsub("site 0x%x+\n", "")))
  end)

  -- ---- a Lua state's -------------------------------------------------------

  local function host(full)
    local program = life.program "host_alloc"
    local ok, output = support.sh(("%s %s spec/support/scarce.lua %d")
      :format(program, q(dir), full))
    assert.is_true(ok, output)
    assert.truthy(output:find("done\n$"), output)
    local limits, refused, sum = 0, {}, 0
    for name, n, failed in output:gmatch("([^\n]-)\t%w+\t(%d+)\t(%d+)") do
      limits, sum = limits + n, sum + failed
      refused[name] = (refused[name] or 0) + failed
    end
    for name, n in pairs(refused) do
      -- whose limit is that of lua_close, which refuses nothing
      assert.is_true(n > 0 or name:find("^the end of a state") ~= nil, name)
    end
    return limits, sum
  end

  it("calls of the API in a Lua state", function()
    assert.is_true(host(0) > 2000)
  end)

  it("all of them, with every limit #slow #nosan", function()
    local limits, refused = host(1)
    print(("%d limits, %d refused"):format(limits, refused))
    assert.is_true(limits > 20000)
  end)
end)
