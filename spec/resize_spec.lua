-- SPDX-License-Identifier: MIT
--
-- The verb resize: disks of another size that other programs read, data that
-- is never cut off, what is refused, and what a failure or a cancel leaves.
-- Crash points are crash_spec's.

local lvhd = require "lvhd"
local chains = require "spec.support.chains"
local expect = require "spec.support.expect"
local fixtures = require "spec.support.fixtures"
local layouts = require "spec.support.layouts"
local support = require "spec.support"
local test = require "lvhdtest"
local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"

local MiB <const> = 1 << 20
local GiB <const> = 1 << 30
local SECTOR <const> = 512

local dir

before_each(function()
  dir = support.tmpdir()
end)

local function resize(path, size, opts)
  return lvhd.resize(path, size, opts):wait()
end

-- 8 MiB with data in the first block, the third, and at the very end.
local function new(o)
  o.size = o.size or 8 * MiB
  local disk = vhdwrite.new(o)
  disk:put(5, vhdwrite.pattern(1, 5):rep(20))
  disk:put(2 * 4096, vhdwrite.pattern(1, 6))
  return disk
end

local function save(o)
  local disk = new(o)
  return disk:save(dir .. "/a.vhd"), disk
end

-- What the disk must read as at a size.
local function content(disk, size)
  local kept = disk:read(0, math.min(size, disk.size))
  return kept .. ("\0"):rep(size - #kept)
end

-- Footer, copy and header say the size, and nothing else has changed.
local function says(path, before, size)
  local disk = vhdread.open(path)
  local c, h, s = vhdread.geometry(size // SECTOR)
  assert.equal(size, disk.footer.current_size)
  assert.equal(size, disk.footer.original_size) -- as libvhdi reads it
  assert.equal(before.footer.uuid, disk.footer.uuid)
  assert.equal(before.footer.timestamp, disk.footer.timestamp)
  -- of the others one QEMU or the other computes the size from the geometry
  local exact = { ["win "] = true, ["tap\0"] = true, ["d2v "] = true,
    CTXS = true, qem2 = true }
  assert.equal(exact[before.footer.creator] and before.footer.creator
    or "win ", disk.footer.creator)
  assert.same({ c, h, s },
    { disk.footer.cylinders, disk.footer.heads, disk.footer.sectors })
  assert.equal(vhdread.checksum(disk.footer.bytes, 64), disk.footer.checksum)
  if disk.header then
    assert.equal(disk.footer.bytes, disk.copy)
    assert.equal(vhdread.checksum(disk.header.bytes, 36),
      disk.header.checksum)
    assert.equal((size + disk.header.block_size - 1)
      // disk.header.block_size, disk.header.entries)
  end
  return disk
end

local KINDS <const> = {
  fixed = { type = "fixed" },
  dynamic = {},
  ["dynamic of small blocks"] = { block_size = 512 * 1024 },
  ["dynamic with aligned blocks"] = { align = 4096 },
  ["dynamic with gaps"] = { gap = 3584, tail = 1024 },
  ["dynamic with a BAT of zeros behind its end"] = { padding = "\0" },
  ["dynamic with too long a BAT"] = { entries = 700 },
  ["dynamic with the BAT behind its blocks"] =
    { order = { "header", "locators", "blocks", "bat" } },
  ["dynamic with the header behind the BAT"] =
    { order = { "bat", "header", "locators", "blocks" } },
  ["dynamic with everything at the end"] =
    { order = { "blocks", "bat", "header", "locators" } },
}

-- The sizes at which other programs read the disk: a sector more, less in the
-- same blocks, and after the BAT was long.
local JUDGED <const> = { [8 * MiB + 512] = true, [6 * MiB] = true,
  [10 * MiB] = true }

describe("resize", function()
  for name, o in pairs(KINDS) do
    it("of a disk that is " .. name, function()
      local options = {}
      for k, v in pairs(o) do options[k] = v end
      local path, disk = save(options)
      local before = vhdread.open(path)
      for _, size in ipairs{ 8 * MiB + 512, 11 * MiB, 24 * MiB, 6 * MiB,
        4 * MiB + 512, 300 * MiB, 10 * MiB } do
        local info = resize(path, size)
        assert.equal(size, info.size)
        assert.equal("end", info.footer)
        assert.same({}, info.findings)
        says(path, before, size)
        if JUDGED[size] then
          layouts.agreed(path, content(disk, size)) -- looks for errors too
        else
          assert.equal("", layouts.errors(path))
        end
        assert.is_true(layouts.content(path, 8 * MiB)
          == content(disk, 8 * MiB):sub(1, size))
        layouts.clean(dir)
      end
    end)
  end

  it("sizes are what QEMU takes them for", function()
    for _, kind in ipairs{ "fixed", "dynamic" } do
      local path = dir .. "/" .. kind .. ".vhd"
      lvhd["create_" .. kind](path, 5 * MiB):wait()
      for _, size in ipairs{ 7 * MiB + 512, 3 * GiB + 1536, 4 * MiB } do
        resize(path, size)
        local out = support.run("qemu-img info -f vpc --output=json "
          .. support.q(path))
        assert.equal(size, tonumber(out:match('"virtual%-size": (%d+)')))
      end
    end
  end)

  it("makes the file shorter again", function()
    for _, kind in ipairs{ "fixed", "dynamic" } do
      local path = dir .. "/" .. kind .. ".vhd"
      lvhd["create_" .. kind](path, 5 * MiB):wait()
      local before = vhdread.length(path)
      resize(path, 900 * GiB)
      resize(path, 5 * MiB)
      assert.equal(before, vhdread.length(path))
      assert.is_true(tonumber(support.run("stat -c %b "
        .. support.q(path))) < 100)
    end
  end)

  it("takes an empty disk to nearly 2040 GiB and back", function()
    local path = dir .. "/a.vhd"
    lvhd.create_dynamic(path, 3 * MiB):wait()
    local most = 2040 * GiB - 512
    resize(path, most)
    local disk = vhdread.open(path)
    assert.equal(1044480, disk.header.entries)
    assert.equal(("\xFF"):rep(4 * 1044480), disk.bat)
    assert.equal(most, lvhd.info(path).size)
    support.run("vhdiinfo " .. support.q(path))
    do
      local open <close> = lvhd.open(path, { write = true })
      open:write(most - 5, "hello")
    end
    local err = expect.fails("VM_E_IMAGE_SIZE_TOO_SMALL", "DATA_BEYOND",
      resize, path, 3 * MiB)
    assert.equal(most - 1, err.offset)
    assert.equal(most, err.expected)
    do
      local open <close> = lvhd.open(path, { write = true })
      open:write(most - 5, ("\0"):rep(5))
    end
    assert.equal(3 * MiB, resize(path, 3 * MiB).size)
    assert.equal(1536 + 512 + 512, vhdread.length(path))
    layouts.agreed(path, ("\0"):rep(3 * MiB))
  end)

  it("moves as many blocks out of the BAT's way as are in it", function()
    local disk = vhdwrite.new{ size = 4 * MiB, block_size = 4096 }
    for s = 0, 8191 do
      if s % 8 < 3 then
        disk:put(s, vhdwrite.pattern(3, s))
      end
    end
    local path = disk:save(dir .. "/a.vhd")
    for _, size in ipairs{ 5 * MiB, 1 * GiB } do
      resize(path, size)
      assert.equal("", layouts.errors(path))
      assert.is_true(layouts.content(path, 4 * MiB) == disk:read(0, 4 * MiB))
    end
    resize(path, 4 * MiB)
    layouts.agreed(path, disk:read(0, 4 * MiB))
  end)

  it("keeps the data of moved blocks on 4 KiB", function()
    local path = save{ align = 4096 }
    assert.equal(4096, resize(path, 2000 * GiB).alignment)
  end)

  it("does not show what lay behind the end of the disk", function()
    local size = 7 * MiB
    local disk = new{ size = size }
    disk:put(size // SECTOR - 1, ("e"):rep(512))
    disk:put(size // SECTOR, ("g"):rep(512 * 100))
    local path = disk:save(dir .. "/a.vhd")
    disk.own[size // SECTOR] = nil
    resize(path, 12 * MiB)
    layouts.agreed(path, disk:read(0, size) .. ("\0"):rep(5 * MiB))
  end)

  it("does not show what stood in a fixed file behind its disk", function()
    local disk = new{ type = "fixed", size = 5 * MiB }
    for _, size in ipairs{ 5 * MiB + 512, 6 * MiB, 6 * MiB + 512, 7 * MiB } do
      local path = disk:save(dir .. "/a.vhd")
      local bytes = support.read(path)
      support.write(path, bytes:sub(1, -513) .. ("g"):rep(MiB)
        .. bytes:sub(-512))
      resize(path, size)
      assert.equal(size + 512, vhdread.length(path))
      layouts.agreed(path, content(disk, size))
    end
  end)

  it("does not show entries that the BAT had beyond the disk", function()
    local path, disk = save{ entries = 100, edit_bat = function(bat)
      return bat:sub(1, 4 * 50) .. bat:sub(1, 4) .. bat:sub(4 * 51 + 1)
    end }
    resize(path, 300 * MiB)
    assert.equal("", layouts.errors(path))
    assert.equal(("\0"):rep(512), vhdread.content({ path }, 100 * MiB, 512))
    resize(path, 10 * MiB)
    layouts.agreed(path, content(disk, 10 * MiB))
  end)

  it("to the size it has writes nothing", function()
    local system = test.system()
    local engine <close> = lvhd.engine{ system = system:pointer() }
    for _, o in ipairs{ { type = "fixed" }, {} } do
      local path = save(o)
      expect.unchanged(dir, function()
        system:forget()
        engine:resize(path, 8 * MiB):wait()
        assert.equal(0, system:count("pwritev"))
      end)
    end
    engine:close()
    system:drop()
  end)

  it("gives short and missing footers back", function()
    for _, kind in ipairs{ "511", "none", "killed" } do
      for _, size in ipairs{ 12 * MiB, 6 * MiB } do
        local path, disk = save{ footer = kind }
        assert.equal("end", resize(path, size).footer)
        layouts.agreed(path, content(disk, size))
      end
    end
    for _, size in ipairs{ 9 * MiB, 6 * MiB } do
      local path, disk = save{ type = "fixed", footer = "511" }
      assert.equal("end", resize(path, size).footer)
      layouts.agreed(path, content(disk, size))
    end
  end)

  it("puts XenServer's batmap behind the new BAT, empty", function()
    for _, o in ipairs{ {}, { entries = 1000 } } do
      o.creator, o.creator_version, o.batmap = "tap\0", 0x10003, true
      local path, disk = save(o)
      for _, size in ipairs{ 40 * GiB, 8 * MiB, 2000 * GiB, 6 * MiB } do
        resize(path, size)
        local map, sound = layouts.batmap(path)
        assert.is_true(sound)
        assert.is_nil(map:find("[^%z]"))
        assert.is_true(#map * 8 * 2 * MiB >= size)
        assert.equal("", layouts.errors(path))
        assert.is_true(layouts.content(path, 6 * MiB)
          == content(disk, 6 * MiB))
      end
    end
    local path = save{ creator = "tap\0", creator_version = 0x10003,
      batmap = true }
    assert.same({}, resize(path, 12 * MiB).findings) -- it stays where it is
    assert.is_true(select(2, layouts.batmap(path)))
  end)

  it("takes disks that QEMU and blktap wrote", function()
    for _, name in ipairs{ "qemu-dynamic.vhd", "qemu-dynamic-chs.vhd",
      "qemu-fixed.vhd", "blktap-root.vhd" } do
      local path = fixtures.unpack(name, dir)
      local size = lvhd.info(path).size
      local before = layouts.content(path)
      resize(path, size + 5 * GiB)
      assert.is_true(layouts.content(path, size) == before, name)
      assert.equal("", layouts.errors(path))
      resize(path, size)
      assert.is_true(layouts.content(path) == before, name)
      os.remove(path)
    end
  end)

  it("of what lvhd grew is written by QEMU and read back", function()
    local path = dir .. "/a.vhd"
    lvhd.create_dynamic(path, 4 * MiB):wait()
    resize(path, 2 * GiB)
    support.run("qemu-io -f vpc -c 'write -q -P 7 1900M 64k' "
      .. support.q(path))
    local disk <close> = lvhd.open(path)
    assert.equal(("\7"):rep(65536), disk:read(1900 * MiB, 65536))
    assert.equal("", layouts.errors(path))
  end)
end)

describe("resize cuts no data off", function()
  local function beyond(path, size, offset, least)
    expect.unchanged(dir, function()
      local err = expect.fails("VM_E_IMAGE_SIZE_TOO_SMALL", "DATA_BEYOND",
        resize, path, size)
      assert.equal(offset, err.offset)
      assert.equal(least, err.expected)
      assert.equal(size, err.actual)
      assert.equal(path, err.path)
    end)
  end

  it("and names its last byte", function()
    for _, o in ipairs{ { type = "fixed" }, {}, { align = 4096 },
      { block_size = 4096 } } do
      local disk = vhdwrite.new{ size = 30 * MiB, type = o.type,
        block_size = o.block_size, align = o.align }
      for _, at in ipairs{ 0, 20000, 20001, 50000 } do
        disk:put(at, ("\0"):rep(100) .. "x" .. ("\0"):rep(411))
      end
      local path = disk:save(dir .. "/a.vhd")
      beyond(path, 4 * MiB, 50000 * 512 + 100, 50001 * 512)
      beyond(path, 50000 * 512, 50000 * 512 + 100, 50001 * 512)
      resize(path, 50001 * 512)
      beyond(path, 3 * MiB, 50000 * 512 + 100, 50001 * 512)
    end
  end)

  it("but cuts blocks of zeros", function()
    local disk = vhdwrite.new{ size = 30 * MiB }
    disk:put(1, ("x"):rep(512)):keep(5, true):keep(9, true):keep(14)
    local path = disk:save(dir .. "/a.vhd")
    local info = resize(path, 11 * MiB)
    assert.equal(2, info.blocks_used)
    assert.equal(1536 + 512 + 2 * (2 * MiB + 512) + 512, info.file_size)
    layouts.agreed(path, content(disk, 11 * MiB))
  end)

  it("asks for at least what a disk must have", function()
    local disk = vhdwrite.new{ size = 3 * MiB + 512 }
    disk:put(3 * MiB // 512, ("x"):rep(512))
    beyond(disk:save(dir .. "/a.vhd"), 3 * MiB, 3 * MiB + 511,
      3 * MiB + 512)
  end)
end)

describe("resize refuses", function()
  local function refused(name, reason, path, size, opts)
    return expect.unchanged(dir, function()
      return expect.fails(name, reason, resize, path, size, opts)
    end)
  end

  it("sizes that a disk cannot have, in the call", function()
    local path = save{}
    for _, case in ipairs{ { 0, "E_INVALIDARG", "SIZE_NOT_POSITIVE" },
      { -512, "E_INVALIDARG", "SIZE_NOT_POSITIVE" },
      { 3 * MiB + 1, "E_INVALIDARG", "SIZE_UNALIGNED" },
      { 3 * MiB - 512, "VM_E_IMAGE_SIZE_TOO_SMALL", "SIZE_LIMIT" },
      { 2040 * GiB, "VM_E_IMAGE_SIZE_TOO_LARGE", "SIZE_LIMIT" } } do
      expect.unchanged(dir, function()
        expect.refused(case[2], case[3], lvhd.resize, path, case[1])
      end)
    end
  end)

  it("a differencing disk", function()
    local path = save{}
    local child = dir .. "/child.vhd"
    lvhd.create_differencing(child, path):wait()
    local err = refused("VM_E_WRONG_HD_IMAGE_TYPE", "TYPE_UNFIT", child,
      16 * MiB)
    assert.equal(child, err.path)
    os.remove(path) -- the parent does not matter
    refused("VM_E_WRONG_HD_IMAGE_TYPE", "TYPE_UNFIT", child, 16 * MiB)
  end)

  it("a disk with children, naming them, but for force", function()
    local path = save{}
    local child = dir .. "/child.vhd"
    lvhd.create_differencing(child, path):wait()
    local err = refused("E_SHARING_VIOLATION", "OTHER_CHILDREN", path,
      16 * MiB)
    assert.is_truthy(tostring(err):find("child.vhd", 1, true))
    assert.equal(8 * MiB, resize(path, 8 * MiB).size) -- nothing to do
    assert.equal(16 * MiB, resize(path, 16 * MiB, { force = true }).size)
  end)

  it("a disk that a saved state refers to, a protected one, one in use",
    function()
      local path = save{ saved_state = 1 }
      refused("E_SHARING_VIOLATION", "SAVED_STATE", path, 16 * MiB,
        { force = true })
      path = save{}
      support.run("chmod a-w " .. support.q(path))
      refused("VM_E_FILE_READ_ONLY", "NO_WRITE_BIT", path, 16 * MiB)
      support.run("chmod u+w " .. support.q(path))
      local disk <close> = lvhd.open(path)
      refused("E_SHARING_VIOLATION", "IN_USE", path, 16 * MiB)
      disk:close()
    end)

  it("blocks too small to reach so far", function()
    local path = save{ block_size = 4096 }
    refused("VM_E_IMAGE_SIZE_TOO_LARGE", "BAT_REACH", path, 2000 * GiB)
    path = vhdwrite.new{ size = 4 * MiB, block_size = 1 << 19, align = 4096,
      gap = 512 }:put(0, ("x"):rep(512)):save(dir .. "/a.vhd")
    resize(path, 2000 * GiB)
  end)

  it("a BAT that cannot be right", function()
    local path = save{ edit_bat = function(bat)
      return (">I4"):pack(2) .. bat:sub(5)
    end }
    refused("VM_E_INVALID_HD_FILE", "BLOCK_ON_METADATA", path, 16 * MiB)
  end)

  it("what the volume or the process cannot hold", function()
    local system = test.system()
    local engine <close> = lvhd.engine{ system = system:pointer() }
    for _, o in ipairs{ { type = "fixed" }, {} } do
      local path = save(o)
      system:fail{ call = "lseek", errno = "EINVAL", times = 99 }
      expect.unchanged(dir, function()
        expect.fails("VM_E_FILE_TOO_LARGE_FOR_VOLUME", "VOLUME_FILE_LIMIT",
          engine.resize, engine, path, 16 * GiB)
      end)
      system:drop()
    end
    engine:close()
  end)
end)

describe("resize that does not come to its end", function()
  local system, engine

  before_each(function()
    system = test.system()
    engine = lvhd.engine{ threads = 1, system = system:pointer() }
  end)
  after_each(function()
    system:drop()
    engine:close()
  end)

  -- Of one kind the blocks are large, the others are built more quickly.
  local SMALL <const> = 128 << 10

  -- What is changed, and to which size.
  local cases = {
    { "fixed, growing", { type = "fixed" }, 12 * MiB },
    { "fixed, shrinking", { type = "fixed" }, 6 * MiB },
    { "dynamic, growing in place", { block_size = SMALL }, 12 * MiB },
    { "dynamic, growing over blocks", {}, 2 * GiB },
    { "dynamic, shrinking", { block_size = SMALL, kept = true }, 6 * MiB },
    { "dynamic with a short footer", { block_size = SMALL, footer = "511" },
      2 * GiB },
    { "dynamic without footer", { block_size = SMALL, footer = "none" },
      2 * GiB },
    { "dynamic with a BAT elsewhere", { block_size = SMALL,
      order = { "bat", "header", "locators", "blocks" } }, 2 * GiB },
    { "XenServer's, shrinking", { block_size = SMALL, creator = "tap\0",
      creator_version = 0x10003, batmap = true, entries = 2000 }, 6 * MiB },
  }
  for _, case in ipairs(cases) do
    it("because a call fails: " .. case[1], function()
      local disk = new(case[2])
      if case[2].kept then
        disk.kept = {}
        disk:keep(63, true)
      end
      local want = disk:read(0, 8 * MiB)
      local after = content(disk, case[3] < 8 * MiB and case[3] or 8 * MiB)
      local path = disk:save(dir .. "/a.vhd")
      local bytes = support.read(path)
      for _, call in ipairs{ "pwritev", "fdatasync", "ftruncate", "pread",
        "fsync" } do
        local nth = 0
        local ended
        repeat
          nth = nth + 1
          support.write(path, bytes)
          assert(test.utime(path, disk.mtime))
          system:fail{ call = call, nth = nth, errno = "EIO" }
          system:forget()
          local ok, err = expect.try(engine.resize, engine, path, case[3])
          ended = ok and system:count(call) < nth
          system:drop()
          local what = ("%s: %s %d"):format(case[1], call, nth)
          if not ok then
            if call ~= "pread" then -- some bytes are looked for elsewhere
              assert.equal("EIO", err.errname, what)
            end
            assert.equal(path, err.path, what)
            local size = lvhd.info(path).size
            assert.is_true(size == 8 * MiB or size == case[3], what)
            assert.is_true(layouts.content(path, 8 * MiB)
              == want:sub(1, size), what)
          end
          assert.equal(case[3], resize(path, case[3],
            { sync = "none" }).size, what)
          assert.is_true(layouts.content(path, 8 * MiB) == after, what)
          assert.equal("", layouts.errors(path), what)
          layouts.clean(dir)
        until ended
      end
    end)
  end

  it("because it is cancelled while blocks are moved", function()
    local path, disk = save{ footer = "511" }
    system:hold{ call = "fdatasync", nth = 1 }
    local task = engine:resize(path, 900 * GiB)
    assert.is_true(system:await(1))
    assert.is_true(task:cancel())
    system:drop()
    expect.fails("E_ABORT", nil, task.wait, task)
    assert.equal(8 * MiB, lvhd.info(path).size)
    assert.equal(disk.mtime * 1000000000, test.stat(path).mtime)
    layouts.agreed(path, disk:read(0, 8 * MiB))
    layouts.clean(dir)
  end)
end)

describe("resize of any layout", function()
  -- To no more than `most` MiB beyond the least.
  local function one(seed, most)
    local random = vhdwrite.random(seed)
    local leaf = chains.make(seed, dir, { depth = 1 })
    local story = ("seed %d\n%s"):format(seed, chains.story(leaf))
    local done = 0
    for _ = 1, 3 do
      local size = random.pick{ 3 * MiB, 3 * MiB + 512 * random.below(9000),
        3 * MiB + 512 * random.below(most * 2000),
        (3 + random.below(most)) * MiB }
      local ok, info = expect.try(lvhd.resize, leaf.path, size)
      if ok then
        done = done + 1
        assert.equal(size, info.size)
      else
        assert.is_true(info.reason == "DATA_BEYOND"
          or info.reason == "SAVED_STATE", tostring(info) .. story)
        size = lvhd.info(leaf.path).size
      end
      assert.is_true(layouts.content(leaf.path) == content(leaf, size),
        story)
      layouts.clean(dir)
    end
    support.run("rm -f " .. support.q(dir) .. "/*")
    return done
  end

  it("keeps what is there, and adds zeros", function()
    local done = 0
    for seed = 1, 10 do
      done = done + one(seed, 40)
    end
    assert.is_true(done > 10)
  end)

  it("keeps what is there, and adds zeros, more of them #slow", function()
    for seed = 11, 150 do
      one(seed, 200)
    end
  end)
end)
