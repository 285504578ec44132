-- SPDX-License-Identifier: MIT
--
-- Hostile files on a real volume: what the tests in memory (spec/c/
-- test_hostile.c, run as a unit test, and here in its long form) cannot
-- show.  Huge sparse files, a file that is cut between two reads, and one
-- that is a FIFO, a folder or nothing.

local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local lvhd = require "lvhd"
local support = require "spec.support"

local KiB <const>, GiB <const> = 1 << 10, 1 << 30

---Grows a file; the new part is a hole.
local function grow(path, length)
  support.run(("truncate -s %d %s"):format(length, support.q(path)))
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

  it("every bit, every length, 200,000 boundary values #slow #nosan",
    function()
      local build = os.getenv("LVHD_BUILD") or "build"
      local ok, output = support.sh(build .. "/spec/test_hostile long")
      assert.is_true(ok, output)
      assert.truthy(output:find("%d+ passed, 0 failed"), output)
      local fields = math.tointeger(tonumber(output:match("fields: (%d+) images")))
      assert.is_true(fields >= 200000, output)
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
      assert.is_true(os.clock() - began < 5)
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
    support.run("mkfifo " .. support.q(dir .. "/fifo"))
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
