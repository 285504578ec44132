-- SPDX-License-Identifier: MIT
--
-- Every byte of a new disk, read by the specs' own reader: footer, header,
-- locators, BAT, where each stands and how long the file is; and what the
-- file system says of the file: time, mode, blocks.  Knows lvhd's public
-- functions only.

local lvhd = require "lvhd"
local support = require "spec.support"
local program = require "spec.support.program"
local vhdread = require "spec.support.vhdread"

local q, run = support.q, support.run
local MIB, GIB = 1 << 20, 1 << 30
local UUID = "3f6c1e2a-9d04-4b7e-8a51-0c2d3e4f5a6b"
local TIME = 1700000123
local NONE = ("\0"):rep(16)

local function stat(path, format)
  return (run(("stat -c %s %s"):format(q(format), q(path))):gsub("\n$", ""))
end

local function mtime(path)
  return math.tointeger(tonumber(stat(path, "%Y")))
end

local function roundup(n, unit)
  return (n + unit - 1) // unit * unit
end

local function zeros(bytes)
  return not bytes:find("[^\0]")
end

---Checks the footer of `disk` against what lvhd promises to write.
local function check_footer(disk, expected)
  local f = disk.footer
  assert.equal("conectix", f.cookie)
  assert.equal(2, f.features)
  assert.equal(0x00010000, f.version)
  assert.equal(expected.type == 2 and vhdread.ONES or 512, f.data_offset)
  assert.equal(expected.timestamp - vhdread.EPOCH, f.timestamp)
  assert.equal("win ", f.creator)
  assert.equal(0x000A0000, f.creator_version)
  assert.equal("Wi2k", f.creator_os)
  assert.equal(expected.size, f.original_size)
  assert.equal(expected.size, f.current_size)
  assert.same({ vhdread.geometry(expected.size // 512) },
    { f.cylinders, f.heads, f.sectors })
  assert.equal(expected.type, f.type)
  assert.equal(vhdread.checksum(f.bytes, 64), f.checksum)
  assert.equal(expected.uuid, vhdread.uuid(f.uuid))
  assert.equal(0, f.saved_state)
  assert.is_true(zeros(f.reserved))
  if expected.type ~= 2 then
    assert.is_true(disk.copy == f.bytes, "the copy at 0 differs")
  end
end

---Checks what dynamic and differencing disks have in common: header, BAT, and
---where the footer stands: right behind the BAT.  QEMU puts its first block
---there, whatever the length of the file; a footer further on would become
---data of that block, which the guest then reads (interop_spec.lua shows it).
local function check_sparse(disk, expected)
  local h = disk.header
  local block = expected.block_size or 2 * MIB
  assert.equal("cxsparse", h.cookie)
  assert.equal(vhdread.ONES, h.data_offset)
  assert.equal(expected.type == 4 and 0x2000 or 1536, h.table_offset)
  assert.equal(0x00010000, h.version)
  assert.equal((expected.size + block - 1) // block, h.entries)
  assert.equal(block, h.block_size)
  assert.equal(vhdread.checksum(h.bytes, 36), h.checksum)
  assert.equal(0, h.reserved1)
  assert.is_true(zeros(h.reserved2))

  local padded = roundup(4 * h.entries, 512)
  assert.is_true(vhdread.bytes(disk.path, h.table_offset, padded)
    == ("\xFF"):rep(padded), "the BAT is not all FF")
  assert.equal(h.table_offset + padded + 512, disk.length)
end

---Checks that a disk has no parent: fields and locators are zeros.
local function check_orphan(disk)
  local h = disk.header
  assert.equal(NONE, h.parent_uuid)
  assert.equal(0, h.parent_timestamp)
  assert.is_true(zeros(h.parent_name))
  assert.is_true(zeros(h.bytes:sub(577, 768)), "locators")
end

---Checks what the child says of its parent, and that nothing else stands
---between header and BAT.
local function check_parent(disk, parent_path, relative)
  local parent = vhdread.open(parent_path)
  local h = disk.header
  local name = parent_path:match("[^/]*$")
  assert.equal(vhdread.uuid(parent.footer.uuid), vhdread.uuid(h.parent_uuid))
  assert.equal(mtime(parent_path) - vhdread.EPOCH, h.parent_timestamp)
  local text = vhdread.utf16(h.parent_name, ">")
  assert.equal(name .. ("\0"):rep(#text - #name), text)

  local windows = relative:gsub("/", "\\")
  local ru, mac = h.locators[1], h.locators[2]
  assert.equal("W2ru", ru.code)
  assert.equal(0x1000, ru.offset)
  assert.equal(".\\" .. windows, ru.text)
  assert.equal("MacX", mac.code)
  assert.equal(0x1800, mac.offset)
  assert.equal("file://./" .. relative, mac.text)
  for _, l in ipairs{ ru, mac } do
    assert.equal(1024, l.space)
    assert.equal(0, l.reserved)
    assert.is_true(zeros(vhdread.bytes(disk.path, l.offset + l.length,
      1024 - l.length)), "the rest of the slot")
  end
  for i = 3, 8 do
    assert.is_true(zeros(h.bytes:sub(577 + 24 * (i - 1), 576 + 24 * i)),
      "an unused locator entry")
  end
  assert.is_true(zeros(vhdread.bytes(disk.path, 1536, 0x1000 - 1536)))
  assert.is_true(zeros(vhdread.bytes(disk.path, 0x1400, 0x400)),
    "the slot of W2ku")
  assert.is_true(zeros(vhdread.bytes(disk.path, 0x1C00, 0x400)))
end

describe("the specs' own reader", function()
  -- Vectors of the specification and of files seen; the reader must not
  -- agree with lvhd by being as wrong.
  it("computes geometries as the specification does", function()
    for _, v in ipairs{
      { 6144, 90, 4, 17 }, { 8192, 120, 4, 17 }, { 131072, 963, 8, 17 },
      { 204800, 1003, 12, 17 }, { 278528, 561, 16, 31 },
      { 1048576, 1040, 16, 63 }, { 2097152, 2080, 16, 63 },
      { 4194304, 4161, 16, 63 }, { 16777216, 16644, 16, 63 },
      { 66059279, 65534, 16, 63 }, { 66059280, 16191, 16, 255 },
      { 83886080, 20560, 16, 255 }, { 266338304, 65278, 16, 255 },
      { 267382800, 65535, 16, 255 }, { 4278190080, 65535, 16, 255 },
    } do
      assert.same({ v[2], v[3], v[4] }, { vhdread.geometry(v[1]) })
    end
  end)

  it("computes checksums as the specification does", function()
    local uuid = ""
    for i = 0, 15 do uuid = uuid .. string.char(i) end
    local bytes = (">c8I4I4i8I4c4I4c4I8I8I2I1I1I4I4c16I1c427"):pack(
      "conectix", 2, 0x10000, -1, 0, "win ", 0xA0000, "Wi2k", 64 * MIB,
      64 * MIB, 963, 8, 17, 2, 0, uuid, 0, "")
    assert.equal(512, #bytes)
    assert.equal(0xFFFFF071, vhdread.checksum(bytes, 64))
  end)
end)

describe("the layout of a new disk", function()
  local dir
  before_each(function() dir = support.tmpdir() end)

  -- 66,059,280 sectors: where the geometry changes its kind
  local SIZES = { 3 * MIB, 3 * MIB + 512, 64 * MIB, 100 * MIB, 4 * GIB,
    66059279 * 512, 66059280 * 512, 127 * GIB, 127 * GIB + 512, 1 << 40,
    2088959 * MIB }

  for _, size in ipairs(SIZES) do
    it(("fixed, %d bytes"):format(size), function()
      local path = dir .. "/d.vhd"
      local info = lvhd.create_fixed(path, size,
        { uuid = UUID, timestamp = TIME }):wait()
      local disk = vhdread.open(path)
      check_footer(disk, { type = 2, size = size, uuid = UUID,
        timestamp = TIME })
      assert.equal(size + 512, disk.length)
      assert.equal(disk.length, info.file_size)
      assert.is_true(zeros(vhdread.bytes(path, 0, MIB)))
      assert.is_true(zeros(vhdread.bytes(path, size - MIB, MIB)))
    end)

    it(("dynamic, %d bytes"):format(size), function()
      local path = dir .. "/d.vhd"
      local info = lvhd.create_dynamic(path, size,
        { uuid = UUID, timestamp = TIME }):wait()
      local disk = vhdread.open(path)
      local expected = { type = 3, size = size, uuid = UUID,
        timestamp = TIME }
      check_footer(disk, expected)
      check_sparse(disk, expected)
      check_orphan(disk)
      assert.equal(disk.length, info.file_size)
      assert.equal(2 * MIB, info.block_size)
    end)

    it(("differencing, %d bytes"):format(size), function()
      local base, path = dir .. "/base.vhd", dir .. "/d.vhd"
      lvhd.create_dynamic(base, size):wait()
      local info = lvhd.create_differencing(path, base,
        { uuid = UUID, timestamp = TIME }):wait()
      local disk = vhdread.open(path)
      local expected = { type = 4, size = size, uuid = UUID,
        timestamp = TIME }
      check_footer(disk, expected)
      check_sparse(disk, expected)
      check_parent(disk, base, "base.vhd")
      assert.equal(disk.length, info.file_size)
    end)
  end

  it("dynamic with blocks of 512 KiB", function()
    -- the last: 2040 GiB of such blocks still lie within 32 bits of sectors
    for i, size in ipairs{ 3 * MIB, 3 * MIB + 512, 100 * MIB,
      2088959 * MIB } do
      local path = ("%s/%d.vhd"):format(dir, i)
      local info = lvhd.create_dynamic(path, size, { uuid = UUID,
        timestamp = TIME, block_size = 512 * 1024 }):wait()
      local expected = { type = 3, size = size, uuid = UUID,
        timestamp = TIME, block_size = 512 * 1024 }
      local disk = vhdread.open(path)
      check_footer(disk, expected)
      check_sparse(disk, expected)
      check_orphan(disk)
      assert.equal(512 * 1024, info.block_size)
    end
  end)

  it("a child takes the blocks of its parent", function()
    local base = dir .. "/base.vhd"
    local small, leaf = dir .. "/small.vhd", dir .. "/leaf.vhd"
    lvhd.create_dynamic(base, 9 * MIB, { block_size = 512 * 1024 }):wait()
    lvhd.create_differencing(small, base):wait()
    lvhd.create_differencing(leaf, small,
      { block_size = 512 * 1024 }):wait()
    assert.equal(512 * 1024, vhdread.open(small).header.block_size)
    assert.equal(18, vhdread.open(small).header.entries)
    assert.equal(512 * 1024, vhdread.open(leaf).header.block_size)
    local ok, err = pcall(lvhd.create_differencing, dir .. "/no.vhd", base,
      { block_size = 2 * MIB })
    assert.is_false(ok)
    assert.equal("E_INVALIDARG", err.name)
    assert.equal("BLOCK_SIZE", err.reason)
    assert.same({ "base.vhd", "leaf.vhd", "small.vhd" }, support.names(dir))
  end)

  for _, kind in ipairs{ "fixed", "dynamic", "differencing" } do
    it("a child of a " .. kind .. " disk", function()
      local base, path = dir .. "/base.vhd", dir .. "/d.vhd"
      local size = 5 * MIB + 1536
      if kind == "fixed" then
        lvhd.create_fixed(base, size):wait()
      elseif kind == "dynamic" then
        lvhd.create_dynamic(base, size):wait()
      else
        lvhd.create_dynamic(dir .. "/root.vhd", size):wait()
        lvhd.create_differencing(base, dir .. "/root.vhd"):wait()
      end
      run("touch -d @1234567890.75 " .. q(base))
      local info = lvhd.create_differencing(path, base,
        { uuid = UUID, timestamp = TIME }):wait()
      local disk = vhdread.open(path)
      local expected = { type = 4, size = size, uuid = UUID,
        timestamp = TIME }
      check_footer(disk, expected)
      check_sparse(disk, expected)
      check_parent(disk, base, "base.vhd")
      assert.equal(1234567890, info.parent.timestamp)
      assert.equal(base, info.parent.path)
      assert.equal("base.vhd", info.parent.name)
      assert.equal(vhdread.uuid(disk.header.parent_uuid), info.parent.uuid)
      assert.equal(2, #info.parent.locators)
      for i, l in ipairs(info.parent.locators) do
        assert.equal(disk.header.locators[i].code, l.code)
        assert.equal(disk.header.locators[i].raw, l.raw)
      end
      assert.equal(".\\base.vhd", info.parent.locators[1].path)
    end)
  end

  it("clamps a parent's time to what the format holds", function()
    local base = dir .. "/base.vhd"
    lvhd.create_dynamic(base, 3 * MIB):wait()
    for i, t in ipairs{ { 946684799, 0 }, { -5, 0 },
      { vhdread.EPOCH + 0xFFFFFFFF, 0xFFFFFFFF },
      { vhdread.EPOCH + 0x100000000, 0xFFFFFFFF } } do
      run(("touch -d @%d %s"):format(t[1], q(base)))
      if mtime(base) ~= t[1] then
        pending("the file system does not hold the time " .. t[1])
      end
      local path = ("%s/%d.vhd"):format(dir, i)
      lvhd.create_differencing(path, base):wait()
      assert.equal(t[2], vhdread.open(path).header.parent_timestamp)
    end
  end)

  it("leaves nothing but the asked file", function()
    lvhd.create_fixed(dir .. "/f.vhd", 3 * MIB):wait()
    lvhd.create_dynamic(dir .. "/d.vhd", 3 * MIB):wait()
    lvhd.create_differencing(dir .. "/c.vhd", dir .. "/d.vhd"):wait()
    assert.same({ "c.vhd", "d.vhd", "f.vhd" }, support.names(dir))
  end)
end)

describe("the info of a new disk says what the file says:", function()
  local dir
  before_each(function() dir = support.tmpdir() end)

  local function check(info, path)
    local disk = vhdread.open(path)
    local f, h = disk.footer, disk.header
    assert.equal(path, info.path)
    assert.equal(({ [2] = "fixed", [3] = "dynamic",
      [4] = "differencing" })[f.type], info.type)
    assert.equal(f.current_size, info.size)
    assert.equal(disk.length, info.file_size)
    assert.equal(h and h.block_size, info.block_size)
    assert.equal(h and h.entries or 0, info.blocks or 0)
    assert.equal(0, info.blocks_used or 0)
    assert.equal(vhdread.uuid(f.uuid), info.uuid)
    assert.equal(f.timestamp + vhdread.EPOCH, info.timestamp)
    assert.equal("win ", info.creator)
    assert.is_true(info.created)
    assert.same({}, info.findings)
    assert.equal(f.type == 4, info.parent ~= nil)
  end

  it("fixed", function()
    check(lvhd.create_fixed(dir .. "/d.vhd", 3 * MIB):wait(),
      dir .. "/d.vhd")
  end)
  it("dynamic", function()
    check(lvhd.create_dynamic(dir .. "/d.vhd", 3 * MIB):wait(),
      dir .. "/d.vhd")
  end)
  it("differencing", function()
    lvhd.create_dynamic(dir .. "/base.vhd", 3 * MIB):wait()
    check(lvhd.create_differencing(dir .. "/d.vhd",
      dir .. "/base.vhd"):wait(), dir .. "/d.vhd")
  end)
end)

describe("identifier and time", function()
  local dir
  before_each(function() dir = support.tmpdir() end)

  ---Makes one disk of each kind in `folder`, with the same options.
  local function one_of_each(folder, opts)
    lvhd.create_fixed(folder .. "/f.vhd", 3 * MIB, opts):wait()
    lvhd.create_dynamic(folder .. "/d.vhd", 3 * MIB, opts):wait()
    -- a child cannot have its parent's
    lvhd.create_differencing(folder .. "/c.vhd", folder .. "/d.vhd",
      opts and { uuid = (opts.uuid:gsub("^.", "0")),
        timestamp = opts.timestamp }):wait()
  end

  it("given, make two runs give the same bytes and times", function()
    local a, b = dir .. "/a", dir .. "/b"
    one_of_each(a, { uuid = UUID, timestamp = TIME })
    one_of_each(b, { uuid = UUID, timestamp = TIME })
    for _, name in ipairs{ "/f.vhd", "/d.vhd", "/c.vhd" } do
      assert.is_true(support.read(a .. name) == support.read(b .. name),
        name)
      for _, folder in ipairs{ a, b } do
        assert.equal(TIME, mtime(folder .. name))
        assert.equal(0, tonumber(stat(folder .. name, "%y")
          :match("%.(%d+)")))
      end
    end
  end)

  it("absent, are random (version 4) and now", function()
    local seen, before = {}, os.time()
    for i = 1, 20 do
      one_of_each(("%s/%d"):format(dir, i), nil)
    end
    local after = os.time()
    for i = 1, 20 do
      for _, name in ipairs{ "f", "d", "c" } do
        local path = ("%s/%d/%s.vhd"):format(dir, i, name)
        local f = vhdread.open(path).footer
        local text = vhdread.uuid(f.uuid)
        assert.matches("^%x+%-%x+%-4%x%x%x%-[89ab]%x%x%x%-%x+$", text)
        assert.is_nil(seen[text])
        seen[text] = true
        local t = f.timestamp + vhdread.EPOCH
        -- os.time is of a clock that lags by a tick of the kernel.
        assert.is_true(t >= before and t <= after + 1)
      end
    end
  end)

  it("take the ends of their ranges", function()
    for i, t in ipairs{ vhdread.EPOCH, vhdread.EPOCH + 0xFFFFFFFF } do
      local path = ("%s/%d.vhd"):format(dir, i)
      lvhd.create_dynamic(path, 3 * MIB, { timestamp = t }):wait()
      assert.equal(t - vhdread.EPOCH, vhdread.open(path).footer.timestamp)
    end
    for _, t in ipairs{ vhdread.EPOCH - 1, vhdread.EPOCH + 0x100000000,
      -1 } do
      local ok, err = pcall(lvhd.create_dynamic, dir .. "/no.vhd", 3 * MIB,
        { timestamp = t })
      assert.is_false(ok)
      assert.equal("E_INVALIDARG", err.name)
      assert.equal("TIMESTAMP_RANGE", err.reason)
    end
    assert.same({ "1.vhd", "2.vhd" }, support.names(dir))
  end)

  it("take an identifier in either case", function()
    local path = dir .. "/d.vhd"
    local info = lvhd.create_dynamic(path, 3 * MIB,
      { uuid = UUID:upper() }):wait()
    assert.equal(UUID, info.uuid)
    assert.equal(UUID, vhdread.uuid(vhdread.open(path).footer.uuid))
  end)

  it("refuse a nil or malformed identifier", function()
    for _, text in ipairs{ "", UUID .. "0", UUID:sub(2),
      (UUID:gsub("%-", "")), (UUID:gsub("3", "g")), "{" .. UUID .. "}",
      "00000000-0000-0000-0000-000000000000" } do
      local ok, err = pcall(lvhd.create_dynamic, dir .. "/no.vhd", 3 * MIB,
        { uuid = text })
      assert.is_false(ok, text)
      assert.equal("E_INVALIDARG", err.name, text)
      assert.equal("UUID_MALFORMED", err.reason, text)
    end
    assert.same({}, support.names(dir))
  end)
end)

describe("the file", function()
  local dir
  before_each(function() dir = support.tmpdir() end)

  local function blocks(path)
    local count, unit = stat(path, "%b %B"):match("(%d+) (%d+)")
    return math.tointeger(count) * math.tointeger(unit)
  end

  it("of a sparse fixed disk takes next to no space", function()
    local path = dir .. "/d.vhd"
    lvhd.create_fixed(path, GIB):wait()
    assert.is_true(blocks(path) <= 64 * 1024, blocks(path) .. " bytes")
    lvhd.create_fixed(dir .. "/e.vhd", GIB, { allocate = "sparse" }):wait()
    assert.is_true(blocks(dir .. "/e.vhd") <= 64 * 1024)
  end)

  it("of a zeroed fixed disk takes all its space", function()
    local path = dir .. "/d.vhd"
    lvhd.create_fixed(path, 12 * MIB, { allocate = "zero", uuid = UUID,
      timestamp = TIME }):wait()
    local bytes = support.read(path)
    assert.equal(12 * MIB + 512, #bytes)
    assert.is_true(zeros(bytes:sub(1, 12 * MIB)))
    check_footer(vhdread.open(path), { type = 2, size = 12 * MIB,
      uuid = UUID, timestamp = TIME })
    -- Whether zeros take space is the volume's business (it may compress);
    -- compare with zeros written by dd.
    run(("dd if=/dev/zero of=%s bs=1M count=12 conv=fsync status=none")
      :format(q(dir .. "/z")))
    run("sync " .. q(path))
    assert.is_true(blocks(path) >= blocks(dir .. "/z"))
  end)

  it("of a reserved fixed disk takes all its space", function()
    local path = dir .. "/d.vhd"
    if not support.sh("fallocate -l 4096 " .. q(dir .. "/probe")) then
      pending("the volume cannot reserve space")
    end
    lvhd.create_fixed(path, 12 * MIB, { allocate = "reserve", uuid = UUID,
      timestamp = TIME }):wait()
    assert.is_true(blocks(path) >= 12 * MIB)
    assert.equal(12 * MIB + 512, vhdread.length(path))
    assert.is_true(zeros(vhdread.bytes(path, 0, 12 * MIB)))
    check_footer(vhdread.open(path), { type = 2, size = 12 * MIB,
      uuid = UUID, timestamp = TIME })
  end)

  it("has the mode that was asked for, whatever the umask", function()
    for i, mode in ipairs{ "0640", "0444", "777", "0600", "0000" } do
      local path = ("%s/%d.vhd"):format(dir, i)
      lvhd.create_dynamic(path, 3 * MIB, { mode = mode }):wait()
      assert.equal(tonumber(mode, 8), tonumber(stat(path, "%a"), 8))
    end
    lvhd.create_differencing(dir .. "/c.vhd", dir .. "/1.vhd",
      { mode = "0604" }):wait()
    assert.equal("604", stat(dir .. "/c.vhd", "%a"))
    lvhd.create_fixed(dir .. "/f.vhd", 3 * MIB, { mode = "0604" }):wait()
    assert.equal("604", stat(dir .. "/f.vhd", "%a"))
  end)

  it("has else the mode that the umask leaves", function()
    local script = dir .. "/make.lua"
    support.write(script, [[
      local lvhd = require "lvhd"
      lvhd.create_dynamic(arg[1] .. "/d.vhd", "3 MiB"):wait()
      lvhd.create_fixed(arg[1] .. "/f.vhd", "3 MiB"):wait()
      lvhd.create_differencing(arg[1] .. "/new/c.vhd",
        arg[1] .. "/d.vhd"):wait()
      lvhd.create_dynamic(arg[1] .. "/m.vhd", "3 MiB", { mode = "0666" })
        :wait()
    ]])
    for _, case in ipairs{ { "022", "644", "755" }, { "027", "640", "750" },
      { "000", "666", "777" } } do
      local folder = dir .. "/" .. case[1]
      run(("mkdir %s && umask %s && %s %s %s"):format(q(folder), case[1],
        program.lua(), q(script), q(folder)))
      for _, name in ipairs{ "/d.vhd", "/f.vhd", "/new/c.vhd" } do
        assert.equal(case[2], stat(folder .. name, "%a"), name)
      end
      assert.equal(case[3], stat(folder .. "/new", "%a"))
      assert.equal("666", stat(folder .. "/m.vhd", "%a"))
    end
  end)

  it("of a parent keeps bytes, mtime and ctime", function()
    for _, kind in ipairs{ "fixed", "dynamic" } do
      local base = ("%s/%s.vhd"):format(dir, kind)
      lvhd["create_" .. kind](base, 3 * MIB):wait()
      run("chmod 0444 " .. q(base))
      local before, times = support.read(base), stat(base, "%i %y %z %s %a")
      lvhd.create_differencing(dir .. "/" .. kind .. "-child.vhd",
        base):wait()
      lvhd.create_differencing(dir .. "/" .. kind .. "-other.vhd", base,
        { uuid = UUID, timestamp = TIME, sync = "none" }):wait()
      assert.is_true(before == support.read(base))
      assert.equal(times, stat(base, "%i %y %z %s %a"))
    end
  end)
end)
