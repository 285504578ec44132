-- SPDX-License-Identifier: MIT
--
-- The verb compact: which blocks go, what stays (content, time, everything of
-- other writers), what is refused, and what a failure or a cancel leaves.
-- Crash points are crash_spec's.

local lvhd = require "lvhd"
local chains = require "spec.support.chains"
local expect = require "spec.support.expect"
local fixtures = require "spec.support.fixtures"
local layouts = require "spec.support.layouts"
local odd = require "spec.support.odd"
local support = require "spec.support"
local test = require "lvhdtest"
local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"

local MiB <const> = 1 << 20
local SECTOR <const> = 512
local PITCH <const> = 2 * MiB + 512

local dir

before_each(function()
  dir = support.tmpdir()
end)

-- A disk of 2 MiB blocks: "x" holds data, "0" is there and zero, "." is not.
local function disk_of(blocks, o)
  o = o or {}
  o.size = o.size or math.max(4, #blocks) * 2 * MiB
  local disk = vhdwrite.new(o)
  for i = 1, #blocks do
    local kind = blocks:sub(i, i)
    if kind == "x" then
      disk:put((i - 1) * 4096 + 3 * i, vhdwrite.pattern(i, i):rep(9))
    elseif kind == "0" then
      disk:keep(i - 1, true)
    end
  end
  return disk
end

local function save(blocks, o)
  local disk = disk_of(blocks, o)
  return disk:save(dir .. "/a.vhd"), disk
end

local function compact(path, opts)
  return lvhd.compact(path, opts):wait()
end

-- Which blocks the BAT names, as a string.
local function blocks_of(path)
  local disk = vhdread.open(path)
  return (disk.bat:gsub("....", function(entry)
    return entry == "\xFF\xFF\xFF\xFF" and "." or "x"
  end))
end

local function codes(info)
  local list = {}
  for i, finding in ipairs(info.findings) do
    list[i] = finding.code
  end
  return table.concat(list, " ")
end

describe("compact of a dynamic disk", function()
  it("drops blocks of zeros, and closes the room they leave", function()
    local path, disk = save("0x0x.xx0xx")
    local before, time = vhdread.open(path), test.stat(path).mtime
    local info = compact(path)
    assert.equal(".x.x.xx.xx", blocks_of(path))
    assert.equal(before.length - 3 * PITCH, info.file_size)
    assert.equal(6, info.blocks_used)
    assert.equal(time, test.stat(path).mtime)
    assert.equal(before.footer.bytes, vhdread.open(path).footer.bytes)
    assert.equal(before.copy, vhdread.open(path).copy)
    layouts.agreed(path, disk:read(0, disk.size))
    layouts.clean(dir)
  end)

  it("leaves an empty disk of zeros without any block", function()
    local path, disk = save("0000")
    assert.equal(1536 + 512 + 512, compact(path).file_size)
    layouts.agreed(path, disk:read(0, disk.size))
  end)

  it("writes nothing where nothing is to be done", function()
    local system = test.system()
    local engine <close> = lvhd.engine{ system = system:pointer() }
    for _, blocks in ipairs{ "x.xx", "...." } do
      local path = save(blocks)
      expect.unchanged(dir, function()
        system:forget()
        engine:compact(path):wait()
        assert.equal(0, system:count("pwritev"))
        assert.equal(0, system:count("ftruncate"))
        assert.equal(0, system:count("futimens"))
      end)
    end
    engine:close()
    system:drop()
  end)

  it("run again finds nothing more", function()
    local path = save("0x0x0x0x", { arrange = function(list)
      return { list[3], list[8], list[1], list[6], list[7], list[2], list[5],
        list[4] }
    end })
    compact(path)
    expect.unchanged(dir, compact, path)
  end)

  it("looks behind clear bits, which not all programs do", function()
    local disk = disk_of("x0")
    disk:hide(4096 + 7, ("h"):rep(512)) -- set bits, and this under them
    disk.own[4096 + 7] = nil
    local path = disk:save(dir .. "/a.vhd")
    compact(path)
    assert.equal("xx..", blocks_of(path))
  end)

  it("keeps what a block of the last part of the disk holds, and no more",
    function()
      local size = 5 * MiB -- the third block ends behind the disk
      local path, disk = save("xx0", { size = size })
      disk:put(size // SECTOR, ("d"):rep(512)) -- nobody can see it
      disk:save(path)
      compact(path)
      assert.equal("xx.", blocks_of(path))
      disk = disk_of("xx.", { size = size })
      disk:put(size // SECTOR - 1, ("e"):rep(512))
      disk:save(path)
      compact(path)
      assert.equal("xxx", blocks_of(path))
      layouts.agreed(path, disk:read(0, size))
    end)

  it("clears entries behind the end of the disk", function()
    local path = save("x.x.", { entries = 9, edit_bat = function(bat)
      return bat:sub(1, 4 * 7) .. bat:sub(1, 4) .. bat:sub(4 * 8 + 1)
    end })
    compact(path)
    assert.equal("x.x......", blocks_of(path))
    assert.equal("", layouts.errors(path))
  end)

  it("keeps the data of blocks on 4 KiB, where all of it was", function()
    local path, disk = save("0x0xx0xx", { align = 4096 })
    local info = compact(path)
    assert.equal(4096, info.alignment)
    assert.equal(5, info.blocks_used)
    local tight = 1536 + 512 + 5 * (2 * MiB + 4096) + 512
    assert.is_true(info.file_size <= tight + 4096, tostring(info.file_size))
    layouts.agreed(path, disk:read(0, disk.size))
  end)

  it("leaves gaps alone that hold no block", function()
    local path, disk = save("xxxx", { gap = 3584 })
    expect.unchanged(dir, function()
      -- the gap behind the last one is not the blocks'
      local file <close> = assert(io.open(path, "r+b"))
      file:close()
    end)
    local before = vhdread.open(path)
    compact(path)
    local after = vhdread.open(path)
    assert.equal(before.bat, after.bat)
    assert.equal(before.length - 3584, after.length)
    layouts.agreed(path, disk:read(0, disk.size))
  end)

  it("gives a footer of 511 bytes its last one, and a missing one back",
    function()
      for _, kind in ipairs{ "511", "none", "killed" } do
        local path, disk = save("x0x0", { footer = kind })
        local info = compact(path)
        assert.equal("end", info.footer)
        assert.equal(1536 + 512 + 2 * PITCH + 512, info.file_size)
        layouts.agreed(path, disk:read(0, disk.size))
        path, disk = save("xx", { footer = kind }) -- no block goes
        assert.equal("end", compact(path).footer)
        layouts.agreed(path, disk:read(0, disk.size))
      end
    end)

  it("moves holes as holes", function()
    local path = save("0000x")
    compact(path)
    local stat = support.run("stat -c %b " .. support.q(path))
    assert.is_true(tonumber(stat) * 512 < MiB, stat)
  end)

  it("clears XenServer's batmap, which would call a dropped block full",
    function()
      local path, disk = save("0x0x", { creator = "tap\0",
        creator_version = 0x10003, batmap = true })
      assert.equal("\xA0", (layouts.batmap(path)):sub(1, 1))
      local info = compact(path)
      assert.equal("BATMAP_CLEARED", codes(info))
      local map, sound = layouts.batmap(path)
      assert.equal(("\0"):rep(512), map)
      assert.is_true(sound)
      assert.equal(".x.x", blocks_of(path))
      layouts.agreed(path, disk:read(0, disk.size))
      path = save("xxxx", { creator = "tap\0", creator_version = 0x10003,
        batmap = true })
      expect.unchanged(dir, compact, path)
    end)

  it("takes disks that QEMU and blktap wrote", function()
    for _, name in ipairs{ "qemu-dynamic.vhd", "qemu-dynamic-chs.vhd",
      "blktap-root.vhd", "blktap-2040g.vhd" } do
      local path = fixtures.unpack(name, dir)
      local size = math.min(lvhd.info(path).size, 64 * MiB)
      local before, time = layouts.content(path, size), test.stat(path).mtime
      compact(path)
      assert.is_true(before == layouts.content(path, size), name)
      assert.equal(time, test.stat(path).mtime)
      assert.equal("", layouts.errors(path))
      os.remove(path)
    end
  end)
end)

describe("compact of a differencing disk", function()
  local root, path, disk

  -- 1 as the parent has it, 2 other data, 3 zeros over data, 4 zeros over
  -- nothing, 5 no bit set
  before_each(function()
    root = disk_of("xxx...", { size = 12 * MiB })
    root:save(dir .. "/root.vhd")
    disk = vhdwrite.new{ parent = root }
    disk:put(3, vhdwrite.pattern(1, 1))
    disk:put(4096 + 6, vhdwrite.pattern(9, 9))
    disk:put(2 * 4096 + 9, ("\0"):rep(512))
    disk:put(3 * 4096, ("\0"):rep(512 * 8))
    disk:keep(4)
    path = disk:save(dir .. "/a.vhd")
  end)

  it("drops blocks that read as the parent's", function()
    local time = test.stat(path).mtime
    local parent = expect.tree(dir .. "/root.vhd")
    local info = compact(path)
    assert.equal(".xx...", blocks_of(path))
    assert.equal(2, info.blocks_used)
    assert.equal(time, test.stat(path).mtime)
    assert.equal(parent, expect.tree(dir .. "/root.vhd"))
    layouts.agreed(path, disk:read(0, disk.size))
  end)

  it("refuses a parent whose time has changed, but for force", function()
    test.utime(dir .. "/root.vhd", 1800000000)
    expect.unchanged(dir, function()
      local err = expect.fails("VM_E_PARENT_MODIFIED", "PARENT_TIME", compact,
        path)
      assert.equal(dir .. "/root.vhd", err.parent)
    end)
    assert.equal(2, compact(path, { force = true }).blocks_used)
    assert.is_true(layouts.content(path) == disk:read(0, disk.size))
  end)

  it("drops nothing for the sake of what the parent may still lose",
    function()
      local system = test.system()
      local engine <close> = lvhd.engine{ system = system:pointer() }
      local bat = vhdread.open(path).bat
      system:fail{ call = "fdatasync", at = "root.vhd", errno = "EIO" }
      local err = expect.fails("DISP_E_EXCEPTION", nil, engine.compact,
        engine, path)
      assert.equal(dir .. "/root.vhd", err.parent)
      assert.equal(bat, vhdread.open(path).bat)
      layouts.clean(dir)
      engine:close()
      system:drop()
    end)

  it("does not care for other children", function()
    vhdwrite.new{ parent = root }:save(dir .. "/other.vhd")
    vhdwrite.new{ parent = disk }:save(dir .. "/below.vhd")
    assert.equal(2, compact(path).blocks_used)
    assert.equal("", layouts.errors(dir .. "/below.vhd"))
    assert.is_true(layouts.content(dir .. "/below.vhd")
      == disk:read(0, disk.size))
  end)

  it("looks through all parents, and behind the end of a shorter one",
    function()
      local long = vhdwrite.new{ parent = disk, size = 14 * MiB }
      long:put(4096 + 6, vhdwrite.pattern(9, 9)) -- as disk
      long:put(3, vhdwrite.pattern(1, 1)) -- as root
      long:put(6 * 4096 + 1, ("\0"):rep(512)) -- behind both
      long:save(dir .. "/long.vhd")
      compact(dir .. "/long.vhd")
      assert.equal(".......", blocks_of(dir .. "/long.vhd"))
      assert.is_true(layouts.content(dir .. "/long.vhd")
        == long:read(0, long.size))
    end)

  it("takes children that blktap wrote", function()
    for _, entry in ipairs(fixtures.manifest()) do
      if entry.type == "differencing" then
        local folder = support.tmpdir()
        local paths = fixtures.unpack_chain(entry, folder)
        local size = math.min(entry.size, 64 * MiB)
        local before = layouts.content(paths[1], size)
        compact(paths[1], { force = true })
        assert.is_true(before == layouts.content(paths[1], size), entry.file)
        assert.equal("", layouts.errors(paths[1]))
      end
    end
  end)

  it("needs the parent", function()
    os.remove(dir .. "/root.vhd")
    expect.unchanged(dir, function()
      expect.fails("VM_E_PARENT_PATH_NOT_FOUND", nil, compact, path)
    end)
  end)
end)

describe("compact refuses", function()
  local function refused(name, reason, path, opts)
    return expect.unchanged(dir, function()
      return expect.fails(name, reason, compact, path, opts)
    end)
  end

  it("a fixed disk", function()
    local path = vhdwrite.new{ type = "fixed", size = 4 * MiB }
      :save(dir .. "/a.vhd")
    local err = refused("VM_E_WRONG_HD_IMAGE_TYPE", "TYPE_UNFIT", path)
    assert.equal(path, err.path)
  end)

  it("a disk that a saved state refers to, with force too", function()
    local path = save("0x", { saved_state = 1 })
    refused("E_SHARING_VIOLATION", "SAVED_STATE", path, { force = true })
  end)

  it("a protected file, for root too", function()
    local path = save("0x")
    support.run("chmod a-w " .. support.q(path))
    refused("VM_E_FILE_READ_ONLY", "NO_WRITE_BIT", path)
  end)

  it("a BAT with blocks on one another, on metadata, outside", function()
    local function entry(sector)
      return function(bat)
        return (">I4"):pack(sector) .. bat:sub(5)
      end
    end
    local second = (1536 + 512) // SECTOR
    for reason, sector in pairs{ BLOCK_OVERLAP = second + 5,
      BLOCK_ON_METADATA = 2, BLOCK_OUTSIDE = 1 << 20 } do
      local path = save("0xx", { edit_bat = entry(sector) })
      local err = refused("VM_E_INVALID_HD_FILE", reason, path)
      assert.is_truthy(err.offset and err.actual and err.expected, reason)
    end
  end)

  it("a disk that someone has open", function()
    local path = save("0x")
    local disk <close> = lvhd.open(path)
    refused("E_SHARING_VIOLATION", "IN_USE", path)
    disk:close()
    compact(path)
  end)

  it("a file whose time it may not give back, but for force", function()
    local system = test.system()
    local engine <close> = lvhd.engine{ system = system:pointer() }
    local path, disk = save("0x")
    system:fail{ call = "futimens", errno = "EPERM", times = 9 }
    expect.unchanged(dir, function()
      expect.fails("E_ACCESSDENIED", nil, engine.compact, engine, path)
    end)
    local info = engine:compact(path, { force = true }):wait()
    assert.equal("TIME_LOST", codes(info))
    assert.is_true(layouts.content(path) == disk:read(0, disk.size))
    engine:close()
    system:drop()
  end)
end)

describe("compact that does not come to its end", function()
  local system, engine, path, disk, time, content

  before_each(function()
    system = test.system()
    engine = lvhd.engine{ threads = 1, system = system:pointer() }
    path, disk = save("0x0xxx")
    time, content = test.stat(path).mtime, disk:read(0, disk.size)
  end)
  after_each(function()
    system:drop()
    engine:close()
  end)

  local function as_before(what)
    assert.is_true(layouts.content(path) == content, what)
    assert.equal(time, test.stat(path).mtime, what)
    assert.equal("", layouts.errors(path))
    layouts.clean(dir)
  end

  it("because a call fails leaves the content, and runs again", function()
    for _, call in ipairs{ "pwritev", "fdatasync", "ftruncate", "pread",
      "fsync", "fallocate" } do
      local nth = 0
      local ended
      repeat
        nth = nth + 1
        disk:save(path)
        system:fail{ call = call, nth = nth, errno = "EIO" }
        system:forget()
        local ok, err = expect.try(engine.compact, engine, path)
        ended = ok and system:count(call) < nth
        system:drop()
        if not ok then
          assert.equal("DISP_E_EXCEPTION", err.name)
          assert.equal("EIO", err.errname)
          assert.equal(path, err.path)
          assert.is_true(layouts.content(path) == content,
            call .. " " .. nth)
        end
        lvhd.compact(path):wait()
        as_before(call .. " " .. nth)
        assert.equal(".x.xxx", blocks_of(path))
      until ended
      assert.is_true(nth > 1, call)
    end
  end)

  it("because the volume is full tells so", function()
    system:fail{ call = "pwritev", nth = 3, errno = "ENOSPC" }
    expect.late("E_DISK_FULL", nil, engine.compact, engine, path)
    system:drop()
    as_before("full")
  end)

  it("because it is cancelled leaves the content, the time and no note",
    function()
      for _, call in ipairs{ "pread", "pwritev", "fdatasync" } do
        for _, nth in ipairs{ 1, 2, 4 } do
          disk:save(path)
          system:hold{ call = call, nth = nth }
          local task = engine:compact(path)
          if system:await(1) then
            local early = task:cancel()
            system:drop()
            if early then
              expect.fails("E_ABORT", nil, task.wait, task)
            else
              task:wait()
            end
          end
          system:drop()
          pcall(task.wait, task)
          as_before(call .. " " .. nth)
        end
      end
    end)
end)

describe("compact of any layout", function()
  local function one(seed)
    local leaf = chains.make(seed, dir, { depth = 1 + seed % 3 })
    local story = ("seed %d\n%s"):format(seed, chains.story(leaf))
    local before, time = lvhd.info(leaf.path), test.stat(leaf.path).mtime
    local wrong = layouts.errors(leaf.path)
    local ok, info = expect.try(lvhd.compact, leaf.path)
    if not ok then
      assert.is_true(info.reason == "TYPE_UNFIT"
        or info.reason == "SAVED_STATE", tostring(info) .. story)
    else
      assert.is_true(info.file_size <= before.file_size + 1024, story)
      assert.equal("end", info.footer)
    end
    local content = layouts.content(leaf.path)
    local difference = chains.difference(leaf, content)
    assert.is_nil(difference, difference and difference .. "\n" .. story)
    assert.equal(time, test.stat(leaf.path).mtime, story)
    local after = layouts.errors(leaf.path)
    assert.is_true(after == "" or after == wrong, after .. story)
    layouts.clean(dir)
    support.run("rm -f " .. support.q(dir) .. "/*")
    return ok
  end

  local function many(first, last)
    local done = 0
    for seed = first, last do
      done = done + (one(seed) and 1 or 0)
    end
    assert.is_true(done > (last - first) // 3)
  end

  it("changes neither content nor time", function()
    many(1, 12)
  end)

  it("changes neither content nor time, more of them #slow", function()
    many(13, 200)
  end)
end)

describe("compact with odd numbers in the header", function()
  it("does not take a batmap elsewhere for one", function()
    local path = save("0x", { creator = "tap\0", creator_version = 0x10003,
      batmap = true })
    local disk = vhdread.open(path)
    odd.put(path, disk.header.table_offset + 512 + 8, (">I8"):pack(0))
    local copy = vhdread.bytes(path, 0, 1536)
    compact(path)
    assert.equal(copy, vhdread.bytes(path, 0, 1536))
  end)
end)
