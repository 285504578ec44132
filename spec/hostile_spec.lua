-- SPDX-License-Identifier: MIT
--
-- Hostile files on a real volume: what the tests in memory (spec/c/
-- test_hostile.c, run as a unit test, and here in its long form) cannot
-- show.  Huge sparse files, a file that is cut between two reads, and one
-- that is a FIFO, a folder or nothing.

local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local lvhd = require "lvhd"
local fixtures = require "spec.support.fixtures"
local support = require "spec.support"

local q, run = support.q, support.run
local KiB <const>, GiB <const> = 1 << 10, 1 << 30
local SLOWER <const> = tonumber(os.getenv("LVHD_SLOWER")) or 1 -- coverage

---Grows a file; the new part is a hole.
local function grow(path, length)
  run(("truncate -s %d %s"):format(length, q(path)))
end

describe("hostile bytes", function()
  local dir, engine

  before_each(function()
    dir = support.tmpdir()
    engine = lvhd.engine()
  end)

  after_each(function()
    engine:close()
  end)

  it("every bit, every length, 2,000,000 boundary values #slow #nosan",
    function()
      local build = os.getenv("LVHD_BUILD") or "build"
      local ok, output = support.sh(build .. "/spec/test_hostile long")
      assert.is_true(ok, output)
      assert.truthy(output:find("%d+ passed, 0 failed"), output)
      print(output) -- for spec/RELIABILITY.md
      local fields = math.tointeger(tonumber(output:match(
        "fields: (%d+) images")))
      assert.is_true(fields >= 2000000, output)
    end)

  -- The unit tests of `make asan` look at a part: this is every bit and every
  -- length, watched by the sanitizers, whatever the build is.
  it("every bit, every length, under the sanitizers #slow #nosan", function()
    -- The make that runs the tests has variables of its own.
    run("env -u MAKEFLAGS -u MFLAGS make -s B=build/asan CFLAGS='-O1 -g -fno-omit-frame-pointer' "
      .. "SANITIZE='-fsanitize=address,undefined "
      .. "-fno-sanitize-recover=undefined' build/asan/spec/test_hostile")
    local ok, output = support.sh("build/asan/spec/test_hostile whole")
    assert.is_true(ok, output)
    assert.truthy(output:find("%d+ passed, 0 failed"), output)
    assert.is_nil(output:find("runtime error", 1, true), output)
    print(output)
  end)

  -- A BAT of 16 GiB that is a hole: all its entries are 0, and name the
  -- footer's copy as their block.
  local function huge(path)
    local size = 2040 * GiB
    local head = handmade.footer { type = 3, size = size }
      .. handmade.header { entries = size // 512, block_size = 512 }
    support.write(path, head)
    grow(path, 1536 + size // 512 * 4)
    local file <close> = assert(io.open(path, "ab"))
    assert(file:write(handmade.footer { type = 3, size = size }))
    return path
  end

  it("a BAT of 16 GiB is told of at once and in little memory #nosan",
    function()
      local path = huge(dir .. "/huge.vhd")
      local function memory(what)
        return tonumber(support.read("/proc/self/status")
          :match(what .. ":%s*(%d+)"))
      end
      collectgarbage()
      support.write("/proc/self/clear_refs", "5") -- the peak is now
      local before = memory("VmRSS")
      local began = os.clock()
      local info = engine:info(path)
      local disk = engine:open(path)
      -- The block at 0 has the footer for a bitmap: "c" is 01100011.
      assert.equal(("\0"):rep(512), disk:read(0, 512))
      disk:close()
      local report = engine:check(path):wait()
      assert.is_true(os.clock() - began < 5 * SLOWER)
      assert.equal(2040 * GiB, info.size)
      assert.is_table(report)
      local peak = memory("VmHWM") - before
      assert.is_true(peak < 192 * KiB, ("%d KiB at most"):format(peak))
    end)

  it("a file that is cut while it is open fails, and reads on when whole",
    function()
      local path = handmade.fixed(dir .. "/cut.vhd", 64 * KiB)
      local whole = support.read(path)
      local disk = engine:open(path)
      grow(path, 100)
      expect.fails("DISP_E_EXCEPTION", nil, disk.read, disk, 4096, 4096)
      support.write(path, whole)
      assert.equal(("\0"):rep(4096), disk:read(4096, 4096))
      disk:close()
    end)

  it("what is no regular file is refused and never waited for", function()
    run("mkfifo " .. q(dir .. "/fifo"))
    for _, name in ipairs { "fifo", "", "none" } do
      for _, verb in ipairs { "info", "chain", "open", "check" } do
        local ok = expect.try(engine[verb], engine, dir .. "/" .. name)
        assert.is_false(ok, verb .. " " .. name)
      end
    end
  end)

  it("every prefix of an empty file, and files of one byte value", function()
    local path = dir .. "/x.vhd"
    for _, byte in ipairs { "\0", "\xFF", "c" } do
      for _, n in ipairs { 0, 1, 510, 511, 512, 513, 1023, 1024, 1536 } do
        support.write(path, byte:rep(n))
        expect.fails("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", engine.info,
          engine, path)
        expect.fails("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", engine.open,
          engine, path)
        expect.fails("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", engine.check,
          engine, path)
      end
    end
  end)
end)

-- On a real volume what spec/fuzz/change.c does in memory: a stranger's bytes
-- in a chain that QEMU and XenServer's tools wrote, and each verb.
describe("a verb, on a chain with hostile bytes,", function()
  local dir, engine

  before_each(function()
    dir = support.tmpdir()
    support.mkdir(dir .. "/vms")
    engine = lvhd.engine { drives = { C = dir .. "/vms" } }
    fixtures.unpack("qemu-fixed.vhd", dir) -- what nobody may touch
  end)

  after_each(function()
    engine:close()
  end)

  local VERBS <const> = {
    write = function(leaf)
      local disk <close> = engine:open(leaf, { write = true })
      disk:write(512, ("w"):rep(5000))
      disk:flush()
    end,
    dynamic = function(leaf, new)
      return engine:convert(leaf, new)
    end,
    fixed = function(leaf, new)
      return engine:convert(leaf, new, { to = "fixed" })
    end,
    raw = function(leaf, new)
      return engine:convert(leaf, new, { to = "raw" })
    end,
    child = function(leaf, new)
      return engine:create_differencing(new, leaf)
    end,
    merge = function(leaf)
      return engine:merge(leaf)
    end,
    compact = function(leaf)
      return engine:compact(leaf)
    end,
    resize = function(leaf)
      return engine:resize(leaf, 40 << 20)
    end,
    relink = function(leaf)
      return engine:relink(leaf, (leaf:gsub("leaf", "child")))
    end,
    repair = function(leaf)
      return engine:repair(leaf)
    end,
  }

  ---Names, contents and times of all files, but for those named.
  local function state(but)
    local lines = {}
    for line in run("cd " .. q(dir) .. " && find . -type f -exec sha256sum {} + "
      .. "-printf '%T@ %p\\n' | sort"):gmatch("[^\n]+") do
      if not but[line:match("[^/]*$")] then
        lines[#lines + 1] = line
      end
    end
    assert.is_true(#lines >= 4) -- two files at least
    return table.concat(lines, "\n")
  end

  -- The same numbers in each run: places in the metadata, values on the edge.
  local function bend(path, seed)
    local length = math.tointeger(tonumber(run("stat -c %s " .. q(path))))
    local places = { 16, 48, 60, 64, 512 + 16, 512 + 28, 512 + 32, 512 + 64,
      512 + 576, 512 + 584, 512 + 592, 1536, 1540, length - 512 + 16,
      length - 512 + 48, length - 512 + 60, 3072, 3584, 4096 }
    local values = { "\0\0\0\0", "\xFF\xFF\xFF\xFF", "\0\0\0\1", "\x7F\xFF\xFF\xFF",
      "\0\0\2\0", "..\\.", "C\0:\0", "\x80\0\0\0" }
    local file <close> = assert(io.open(path, "r+b"))
    file:seek("set", places[seed % #places + 1])
    file:write(values[seed // #places % #values + 1])
  end

  local function try(seed, verb, note)
    local folder = dir .. "/vms"
    for i, name in ipairs { "blktap-root.vhd", "blktap-child.vhd",
      "blktap-leaf.vhd" } do
      fixtures.unpack(name, folder, i)
    end
    local leaf = folder .. "/blktap-leaf.vhd"
    bend(leaf, seed)
    if note then
      support.write(folder .. "/.blktap-leaf.vhd.lvhd-journal", note)
    end
    local mine = { ["new.vhd"] = true, ["blktap-leaf.vhd"] = verb ~= "child",
      ["blktap-child.vhd"] = verb == "merge" }
    local before = state(mine)
    local ok, err = expect.try(VERBS[verb], leaf, folder .. "/new.vhd")
    local where = ("%s, %d"):format(verb, seed)
    assert.is_true(ok or lvhd.is_error(err), where .. ": " .. tostring(err))
    assert.equal(before, state(mine), where)
    if not ok then
      assert.is_false(support.names(folder)[4] == "new.vhd", where)
    end
    os.remove(folder .. "/new.vhd")
  end

  local function try_all(from, to)
    for seed = from, to do
      for verb in pairs(VERBS) do
        try(seed, verb, seed % 5 == 0 and "lvhdjrnl\0\0\0\1" or nil)
        os.remove(dir .. "/vms/.blktap-leaf.vhd.lvhd-journal")
      end
    end
  end

  it("fails or succeeds, and touches nothing else", function()
    try_all(11, 12)
  end)

  it("fails or succeeds, and touches nothing else, at length #slow", function()
    try_all(0, 37)
  end)
end)
