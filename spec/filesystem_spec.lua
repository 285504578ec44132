-- SPDX-License-Identifier: MIT
--
-- filesystem = "fat16" | "fat32", judged by other programs: fsck.fat, mtools,
-- 7-Zip and QEMU; the documented sizes and their codes, labels, and that what
-- was promised of every new file holds of these.  The bytes are looked at in
-- spec/c/test_fat.c.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local fat = require "spec.support.fat"
local qemu = require "spec.support.qemu"
local vhdwrite = require "spec.support.vhdwrite"
local test = require "lvhdtest"

local q, run = support.q, support.run
local MIB <const>, GIB <const> = 1 << 20, 1 << 30
local UUID <const> = "00112233-4455-4677-8899-aabbccddeeff"
local TIME <const> = 1700000000

local engine, dir

before_each(function()
  engine = lvhd.engine{ threads = 1, sync = "none" }
  dir = support.tmpdir()
end)

after_each(function()
  engine:close()
end)

local function need(...)
  for _, program in ipairs{ ... } do
    if not support.sh("PATH=$PATH:/usr/sbin:/sbin command -v " .. program) then
      pending(program .. " is not installed")
    end
  end
end

-- A disk with the time and the identifier above.
local function create(kind, name, size, opts)
  local all = { uuid = UUID, timestamp = TIME }
  for key, value in pairs(opts) do
    all[key] = value
  end
  return engine["create_" .. kind](engine, dir .. "/" .. name, size, all)
end

-- ---- what other programs find --------------------------------------------

-- The numbers of the sectors, in order.
local function numbers(sectors)
  local out = {}
  for sector in pairs(sectors) do
    out[#out + 1] = sector
  end
  table.sort(out)
  return out
end

local TYPES <const> = { fat16 = { [4] = true, [6] = true },
  fat32 = { [0x0B] = true, [0x0C] = true } }

-- What must hold of every volume.
local function check_volume(v, size, opts)
  assert.equal(opts.filesystem, v.kind)
  assert.equal(v.kind == "fat16" and "FAT16   " or "FAT32   ", v.name)
  assert.is_true(TYPES[v.kind][v.type])
  assert.equal(size, (v.start + v.count) * 512)
  assert.equal(v.start, v.hidden)
  assert.equal(v.count, v.total)
  if v.kind == "fat16" then
    assert.is_true(v.clusters >= 4085 and v.clusters <= 65524)
  else
    assert.is_true(v.clusters >= 65525)
  end
  assert.are_not.equal(0, v.signature)
  assert.are_not.equal(0, v.serial)
  local label = ("%-11s"):format(opts.label and opts.label:upper()
    or "NO NAME")
  assert.equal(label, v.label)
  assert.equal(opts.label and label .. "\x08" or ("\0"):rep(12),
    v.entry:sub(1, 12))
end

-- 7-Zip opens the VHD, in it the partition table, in it the volume.
local function check_7zip(path, v, size)
  local said = run("7zz l -slt " .. q(path))
  local function has(line)
    assert.truthy(said:find("\n" .. line .. "\n", 1, true),
      ("7zz says nowhere '%s': %s"):format(line, said))
  end
  has("Type = VHD")
  has("Type = MBR")
  has("Type = FAT")
  has("Path = 0.fat")
  has("Size = " .. size)
  has("Offset = " .. v.start * 512)
  has("Physical Size = " .. v.count * 512)
  has("File System = " .. v.name:match("%S+"))
  has("Cluster Size = " .. v.per_cluster * 512)
  if v.entry:byte(1) ~= 0 then
    has("Label = " .. v.label:match("^(.-) *$"))
  end
end

-- A file goes in and comes out, and the volume is still sound.
local function round_trip(path, v, files)
  local text = ("a file in %d clusters\n"):format(v.clusters)
  support.write(files .. "/in.txt", text)
  assert.equal(text, run(("mcopy -i %s %s ::A.TXT && mtype -i %s ::A.TXT")
    :format(fat.at(path, v), q(files .. "/in.txt"), fat.at(path, v))))
  local part = fat.starts(fat.fixed(path), v, files .. "/part.img")
  local used, clusters = fat.fsck(part)
  assert.equal(v.kind == "fat16" and 1 or 2, used)
  assert.equal(v.clusters, clusters)
  os.remove(part)
end

-- A fixed and a dynamic disk of this size; nil: the volume holds none so
-- large.
local function examine(size, opts, but)
  local fixed, dynamic = dir .. "/f.vhd", dir .. "/d.vhd"
  local ok, info = pcall(function()
    return create("fixed", "f.vhd", size, opts):wait()
  end)
  if not ok then
    assert.equal("VM_E_FILE_TOO_LARGE_FOR_VOLUME", info.name, tostring(info))
    return nil
  end
  assert.equal(size, info.size)
  local v = fat.volume(fat.fixed(fixed))
  check_volume(v, size, opts)
  info = create("dynamic", "d.vhd", size, opts):wait()
  assert.is_true(info.blocks_used <= 4)
  assert.same({}, engine:check(dynamic, { data = true }):wait()[1].findings)
  -- the bitmaps name what is not zero, and the bytes are the fixed disk's
  local sectors = fat.sectors(dynamic)
  assert.same(fat.expected(v), numbers(sectors))
  for sector, bytes in pairs(sectors) do
    assert.is_true(bytes == fat.fixed(fixed)(sector * 512, 512))
  end
  if not but then
    local part = fat.partition(sectors, v, dir .. "/part.img")
    local used, clusters = fat.fsck(part)
    assert.equal(v.kind == "fat16" and 0 or 1, used)
    assert.equal(v.clusters, clusters)
    os.remove(part)
    round_trip(fixed, v, dir)
  end
  check_7zip(dynamic, v, size)
  return v
end

-- Start, sectors, sectors a cluster, clusters, sectors of a FAT, type: the
-- reference results of the format's specification.
local REFERENCE <const> = {
  { 3, "fat16", 128, 6016, 1, 5935, 24, 0x04 },
  { 4, "fat16", 128, 8064, 1, 7967, 32, 0x04 },
  { 5, "fat16", 128, 10112, 2, 5019, 20, 0x04 },
  { 16, "fat16", 128, 32640, 2, 16239, 64, 0x04 },
  { 17, "fat16", 128, 34688, 4, 8646, 34, 0x04 },
  { 33, "fat16", 2048, 65536, 4, 16343, 64, 0x06 },
  { 129, "fat16", 2048, 262144, 4, 65399, 256, 0x06 },
  { 513, "fat16", 2048, 1048576, 16, 65501, 256, 0x06 },
  { 1025, "fat16", 2048, 2097152, 64, 32763, 128, 0x06 },
  { 1999, "fat16", 2048, 4091904, 64, 63927, 250, 0x06 },
  { 514, "fat32", 2048, 1050624, 8, 131068, 1024, 0x0B },
  { 2048, "fat32", 2048, 4192256, 8, 523006, 4087, 0x0B },
  { 8300, "fat32", 2048, 16996352, 16, 1061233, 8291, 0x0C },
  { 40000, "fat32", 2048, 81917952, 64, 1279655, 9998, 0x0C },
  { 130000, "fat32", 2048, 266237952, 64, 4158952, 32492, 0x0C },
  { 2088959, "fat32", 2048, 4278185984, 64, 66830339, 522113, 0x0C },
}
local FSCK_MAX <const> = 130000 -- MiB: more costs fsck.fat 800 MB of memory

local function examine_row(row, but)
  local v = examine(row[1] * MIB, { filesystem = row[2], label = "DATA" }, but)
  if not v then
    pending("this volume holds no file of so many bytes")
  end
  assert.same({ table.unpack(row, 3) },
    { v.start, v.count, v.per_cluster, v.clusters, v.table, v.type })
end

describe("a formatted disk of the reference", function()
  for _, row in ipairs(REFERENCE) do
    it(("is sound to fsck.fat, mtools, 7-Zip and QEMU: %d MiB, %s")
      :format(row[1], row[2]), function()
        need("fsck.fat", "mcopy", "7zz", "qemu-img")
        examine_row(row, row[1] > FSCK_MAX)
        os.remove(dir .. "/f.vhd") -- mcopy wrote to it
        create("fixed", "f.vhd", row[1] * MIB,
          { filesystem = row[2], label = "DATA" }):wait()
        assert.equal("Images are identical.\n", run(
          ("qemu-img compare -f vpc -F vpc %s/d.vhd %s/f.vhd")
            :format(dir, dir)))
      end)
  end

  it("is sound to fsck.fat where that takes a while #slow", function()
    need("fsck.fat", "mcopy", "7zz")
    for _, row in ipairs(REFERENCE) do
      if row[1] > FSCK_MAX then
        examine_row(row)
      end
    end
  end)
end)

describe("formatted disks of random sizes", function()
  local SEED <const> = tonumber(os.getenv("LVHD_SEED")) or os.time()
  local LABELS <const> = { nil, "A", "data", "My Disk-01", "ABCDEFGHIJK" }

  -- Any number of sectors of a range of MiB.
  local function sectors(random, from, to)
    return (from * 2048 + random.below((to - from) * 2048)) * 512
  end

  local function sizes(kind, from, to, count, salt)
    it(("are sound: %d of %s from %d MiB to %d"):format(count, kind, from, to),
      function()
        need("fsck.fat", "mcopy", "7zz")
        local random = vhdwrite.random(SEED ~ salt)
        for i = 1, count do
          local size = sectors(random, from, to)
          local opts = { filesystem = kind, label = LABELS[i % 6] }
          local ok, err = pcall(examine, size, opts)
          if not ok then
            error(("LVHD_SEED=%d, size %d: %s"):format(SEED, size,
              tostring(err)), 0)
          end
          os.remove(dir .. "/f.vhd")
          os.remove(dir .. "/d.vhd")
        end
      end)
  end

  sizes("fat16", 3, 5, 40, 1)
  sizes("fat16", 5, 64, 90, 2)
  sizes("fat16", 64, 2000, 40, 3)
  sizes("fat32", 514, 4096, 20, 4)
  sizes("fat32", 4096, 130000, 10, 5)
end)

describe("a formatted disk that others write to", function()
  -- mtools write into the raw bytes, QEMU writes these into our disk.
  local function fill(kind, size, opts)
    local disk, raw = dir .. "/d.vhd", dir .. "/d.img"
    create("dynamic", "d.vhd", size, opts):wait()
    qemu.raw(disk, raw)
    assert.equal(size, test.stat(raw).size)
    local v = fat.volume(fat.fixed(raw))
    assert.equal(kind, v.kind)
    local text = ("%s, %d\n"):format(kind, size):rep(20000)
    support.write(dir .. "/in.txt", text)
    run(("mmd -i %s ::DIR && mcopy -i %s %s ::DIR/LONGNAME.TXT"):format(
      fat.at(raw, v), fat.at(raw, v), q(dir .. "/in.txt")))
    run(("qemu-img convert -n -f raw -O vpc %s %s"):format(q(raw), q(disk)))
    return disk, v, text
  end

  for _, row in ipairs{ { "fat16", 40 * MIB + 512 },
    { "fat16", 3 * MIB, { block_size = 1 << 19 } }, { "fat32", 600 * MIB } } do
    it(("reads as they wrote: %s, %d bytes"):format(row[1], row[2]), function()
      need("mcopy", "qemu-img", "fsck.fat", "7zz")
      local opts = { filesystem = row[1], label = "shared" }
      for key, value in pairs(row[3] or {}) do
        opts[key] = value
      end
      local disk, v, text = fill(row[1], row[2], opts)
      for _, finding in ipairs(engine:check(disk, { data = true })
        :wait()[1].findings) do
        assert.equal("note", finding.severity) -- on QEMU's bitmaps
      end
      -- by our reader, as a fixed disk and through its own functions
      engine:convert(disk, dir .. "/f.vhd", { to = "fixed" }):wait()
      assert.equal(text, run(("mtype -i %s ::DIR/LONGNAME.TXT")
        :format(fat.at(dir .. "/f.vhd", v))))
      local open <close> = lvhd.open(disk)
      local data = open:read((v.start + v.data) * 512, 8 * MIB < row[2]
        and 4 * MIB or MIB)
      assert.truthy(data:find(text:sub(1, v.per_cluster * 512), 1, true))
      -- and by 7-Zip, from the VHD
      assert.equal(text, run(("7zz x -so -bd %s DIR/LONGNAME.TXT 2>/dev/null")
        :format(q(disk))))
    end)
  end
end)

-- ---- sizes -----------------------------------------------------------------

describe("the size of a formatted disk", function()
  local SMALL <const> = "VM_E_IMAGE_SIZE_TOO_SMALL"
  local LARGE <const> = "VM_E_IMAGE_SIZE_TOO_LARGE"
  local rows = {
    { "fat16", 3 * MIB - 512, SMALL, "SIZE_LIMIT", 3 * MIB },
    { "fat16", 512, SMALL, "SIZE_LIMIT", 3 * MIB },
    { "fat16", 2000 * MIB, LARGE, "FILESYSTEM_SIZE", 2000 * MIB - 512 },
    { "fat16", 40 * GIB, LARGE, "FILESYSTEM_SIZE", 2000 * MIB - 512 },
    { "fat16", 2040 * GIB, LARGE, "FILESYSTEM_SIZE", 2000 * MIB - 512 },
    { "fat32", 514 * MIB - 512, SMALL, "FILESYSTEM_SIZE", 514 * MIB },
    { "fat32", 3 * MIB, SMALL, "FILESYSTEM_SIZE", 514 * MIB },
    { "fat32", 512, SMALL, "FILESYSTEM_SIZE", 514 * MIB },
    { "fat32", 2040 * GIB, LARGE, "SIZE_LIMIT", 2040 * GIB - 512 },
    { "fat32", 0, "E_INVALIDARG", "SIZE_NOT_POSITIVE" },
    { "fat16", -512, "E_INVALIDARG", "SIZE_NOT_POSITIVE" },
    { "fat16", 3 * MIB + 1, "E_INVALIDARG", "SIZE_UNALIGNED" },
    -- not of a size that the file system could have: what is said first
    { "fat32", 3 * MIB + 1, "E_INVALIDARG", "SIZE_UNALIGNED" },
  }
  for _, row in ipairs(rows) do
    local kind, size, name, reason, limit = table.unpack(row)
    it(("%d is %s for %s"):format(size, name, kind), function()
      for _, verb in ipairs{ "fixed", "dynamic" } do
        for _, preflight in ipairs{ true, false } do
          local err = expect.refused(name, reason, create, verb, "a.vhd",
            size, { filesystem = kind, preflight = preflight })
          assert.equal(limit, err.expected)
          assert.equal(size, err.actual)
          assert.equal(dir .. "/a.vhd", err.path)
        end
      end
      assert.same({}, support.names(dir))
    end)
  end

  it("is allowed up to the limits, which are exact", function()
    for _, row in ipairs{ { "fat16", 3 * MIB }, { "fat16", 2000 * MIB - 512 },
      { "fat32", 514 * MIB }, { "fat32", 2040 * GIB - 512 } } do
      local info = create("dynamic", row[1] .. row[2], row[2],
        { filesystem = row[1], preflight = false })
      local ok, err = pcall(info.wait, info)
      assert.is_true(ok or err.name == "VM_E_FILE_TOO_LARGE_FOR_VOLUME",
        tostring(err))
    end
    assert.is_true(#support.names(dir) >= 3)
  end)

  it("hints at units, whose limit it ever is", function()
    for _, kind in ipairs{ "fat16", "fat32" } do
      local err = expect.refused("VM_E_IMAGE_SIZE_TOO_SMALL", nil, create,
        "dynamic", "a.vhd", 1024, { filesystem = kind })
      assert.truthy(err.hint:find("1024 MiB", 1, true))
    end
  end)

  it("is looked at after the path and before all else", function()
    support.write(dir .. "/there.vhd", "mine")
    expect.refused("E_INVALID_NAME", nil, create, "fixed", "a|b.vhd", MIB,
      { filesystem = "fat32" })
    expect.refused("VM_E_IMAGE_SIZE_TOO_SMALL", nil, create, "fixed",
      "there.vhd", MIB, { filesystem = "fat32", label = "*" })
    expect.refused("E_INVALIDARG", "LABEL_MALFORMED", create, "fixed",
      "there.vhd", 3 * MIB, { filesystem = "fat16", label = "*" })
    expect.refused("E_ALREADY_EXISTS", nil, create, "fixed", "there.vhd",
      3 * MIB, { filesystem = "fat16", label = "A" })
    assert.equal("mine", support.read(dir .. "/there.vhd"))
  end)
end)

-- ---- options -----------------------------------------------------------------

describe("label", function()
  it("stands in the boot sector and in the root, in capitals", function()
    need("mlabel")
    for _, kind in ipairs{ "fat16", "fat32" } do
      local path = dir .. "/" .. kind .. ".vhd"
      create("fixed", kind .. ".vhd", 600 * MIB,
        { filesystem = kind, label = "my Disk_1" }):wait()
      local v = fat.volume(fat.fixed(path))
      assert.equal("MY DISK_1  ", v.label)
      assert.equal("MY DISK_1  \x08", v.entry:sub(1, 12))
      assert.truthy(run(("mlabel -s -i %s ::"):format(fat.at(path, v)))
        :find("MY DISK_1", 1, true))
    end
  end)

  it("carries the time of the disk, in UTC", function()
    local function seconds(v)
      local time, date = string.unpack("<I2I2", v.entry, 23)
      return { date >> 9, date >> 5 & 15, date & 31, time >> 11,
        time >> 5 & 63, time & 31 }
    end
    local function of(t)
      local d = os.date("!*t", t)
      return { d.year - 1980, d.month, d.day, d.hour, d.min, d.sec // 2 }
    end
    create("fixed", "a.vhd", 3 * MIB, { filesystem = "fat16", label = "A" })
      :wait()
    assert.same(of(TIME), seconds(fat.volume(fat.fixed(dir .. "/a.vhd"))))
    local info = engine:create_fixed(dir .. "/b.vhd", 3 * MIB,
      { filesystem = "fat16", label = "A" }):wait()
    assert.same(of(info.timestamp),
      seconds(fat.volume(fat.fixed(dir .. "/b.vhd"))))
  end)

  it("that no label can be is E_INVALIDARG, LABEL_MALFORMED", function()
    local bad = { "", "TWELVE CHARS", " A", "\xC3\xA4", "A\0", "A\n", "\x7F" }
    for c in ('"*+,./:;<=>?[\\]|'):gmatch(".") do
      bad[#bad + 1] = "A" .. c
    end
    for _, label in ipairs(bad) do
      for _, verb in ipairs{ "fixed", "dynamic" } do
        local err = expect.refused("E_INVALIDARG", "LABEL_MALFORMED", create,
          verb, "a.vhd", 3 * MIB, { filesystem = "fat16", label = label })
        assert.equal(label, err.actual)
        assert.matches(("%q"):format(label), err.message, 1, true)
      end
    end
    assert.same({}, support.names(dir))
  end)

  it("without a file system is E_INVALIDARG, LABEL_ALONE", function()
    for _, label in ipairs{ "A", "*", "" } do
      expect.refused("E_INVALIDARG", "LABEL_ALONE", create, "dynamic",
        "a.vhd", 3 * MIB, { label = label })
    end
  end)
end)

describe("filesystem", function()
  it("is an option of fixed and dynamic disks alone", function()
    create("dynamic", "p.vhd", 3 * MIB, {}):wait()
    for _, opts in ipairs{ { filesystem = "fat16" }, { label = "A" } } do
      expect.argument_error("unknown option", engine.create_differencing,
        engine, dir .. "/c.vhd", dir .. "/p.vhd", opts)
      expect.argument_error("unknown option", engine.convert, engine,
        dir .. "/p.vhd", dir .. "/c.vhd", opts)
    end
    assert.same({ "p.vhd" }, support.names(dir))
  end)

  it("of another name is an argument error", function()
    for _, kind in ipairs{ "ntfs", "FAT16", 16, true } do
      expect.argument_error("'filesystem'", create, "dynamic", "a.vhd",
        3 * MIB, { filesystem = kind })
    end
  end)

  it("is not compared by if_exists = 'keep'", function()
    local made = create("dynamic", "a.vhd", 3 * MIB, {}):wait()
    local info = create("dynamic", "a.vhd", 3 * MIB,
      { filesystem = "fat16", if_exists = "keep" }):wait()
    assert.is_false(info.created)
    assert.equal(made.file_size, info.file_size)
    expect.refused("E_ALREADY_EXISTS", "OTHER_DISK", create, "dynamic",
      "a.vhd", 4 * MIB, { filesystem = "fat16", if_exists = "keep" })
  end)

  it("makes the same bytes of the same options", function()
    for _, row in ipairs{ { "fixed", "fat16", 3 * MIB },
      { "dynamic", "fat16", 100 * MIB }, { "dynamic", "fat32", 600 * MIB } } do
      local opts = { filesystem = row[2], label = "same" }
      for i = 1, 2 do
        create(row[1], row[2] .. row[1] .. i, row[3], opts):wait()
      end
      local first = dir .. "/" .. row[2] .. row[1]
      assert.is_true(support.read(first .. 1) == support.read(first .. 2))
    end
  end)

  it("gives each disk a signature and a serial number of its own", function()
    local seen = {}
    for i = 1, 20 do
      local path = dir .. "/" .. i
      engine:create_fixed(path, 3 * MIB, { filesystem = "fat16" }):wait()
      local v = fat.volume(fat.fixed(path))
      for _, n in ipairs{ v.signature, v.serial } do
        assert.is_nil(seen[n])
        assert.are_not.equal(0, n)
        seen[n] = true
      end
    end
  end)
end)

describe("allocate, block_size and progress", function()
  it("give the same disk, however it is allocated", function()
    local size = 12 * MIB
    local function blocks(name)
      return test.stat(dir .. "/" .. name).blocks * 512
    end
    create("fixed", "sparse", size, { filesystem = "fat16" }):wait()
    create("fixed", "zero", size,
      { filesystem = "fat16", allocate = "zero" }):wait()
    local bytes = support.read(dir .. "/sparse")
    assert.is_true(bytes == support.read(dir .. "/zero"))
    assert.is_true(blocks("sparse") < MIB)
    assert.is_true(blocks("zero") >= size)
    if not support.sh("fallocate -l 4096 " .. q(dir .. "/probe")) then
      pending("the volume cannot reserve")
    end
    create("fixed", "reserve", size,
      { filesystem = "fat16", allocate = "reserve" }):wait()
    assert.is_true(bytes == support.read(dir .. "/reserve"))
    assert.is_true(blocks("reserve") >= size)
  end)

  it("costs at most four blocks of 512 KiB", function()
    for _, row in ipairs{ { "fat16", 3 * MIB, 1 }, { "fat16", 1999 * MIB, 2 },
      { "fat32", 514 * MIB, 4 }, { "fat32", 127 * GIB, 4 } } do
      local name = row[1] .. row[2]
      local info = create("dynamic", name, row[2], { filesystem = row[1],
        label = "A", block_size = 1 << 19 }):wait()
      assert.equal(1 << 19, info.block_size)
      assert.equal(row[3], info.blocks_used, name)
      assert.equal(row[3], engine:info(dir .. "/" .. name).blocks_used)
      local sectors = fat.sectors(dir .. "/" .. name)
      local v = fat.volume(function(offset)
        return sectors[offset // 512]
      end)
      assert.same(fat.expected(v), numbers(sectors))
      assert.same({}, engine:check(dir .. "/" .. name, { data = true })
        :wait()[1].findings)
    end
  end)

  it("counts the bytes of the disk", function()
    for _, kind in ipairs{ "fixed", "dynamic" } do
      local task = create(kind, kind, 600 * MIB, { filesystem = "fat32" })
      task:wait()
      local percent, bytes, total = task:progress()
      assert.same({ 100, 600 * MIB, 600 * MIB }, { percent, bytes, total })
    end
  end)
end)

-- ---- whole or not at all -------------------------------------------------------

describe("while a formatted disk is made", function()
  local system, own

  before_each(function()
    system = test.system()
    own = lvhd.engine{ threads = 1, system = system:pointer() }
  end)

  after_each(function()
    system:drop()
    own:close()
  end)

  local kinds = {
    { "create_dynamic", 600 * MIB, { filesystem = "fat32", label = "A" } },
    { "create_fixed", 3 * MIB, { filesystem = "fat16", label = "A" } },
    { "create_fixed", 12 * MIB, { filesystem = "fat16", allocate = "zero" } },
  }

  for _, kind in ipairs(kinds) do
    local verb, size, opts = table.unpack(kind)
    local words = ("%s, %s"):format(verb, opts.allocate or opts.filesystem)

    it("a cancel leaves nothing: " .. words, function()
      for nth = 1, 100 do
        system:drop()
        system:forget()
        system:hold{ call = "pwritev", nth = nth }
        local task = own[verb](own, dir .. "/new/a.vhd", size, opts)
        while system:count("pwritev") < nth and not task:done() do
          test.sleep(0.001)
        end
        if task:done() then -- fewer writes than that
          assert.is_true(nth > 3)
          assert.equal("succeeded", task:status())
          return
        end
        assert.is_true(system:await(1))
        assert.is_true(task:cancel())
        system:drop()
        expect.fails("E_ABORT", nil, task.wait, task)
        assert.equal("cancelled", task:status())
        assert.same({}, support.names(dir))
      end
      error("there was no end of writes")
    end)

    it("a write that fails leaves nothing: " .. words, function()
      for nth = 1, 100 do
        system:drop()
        local fail = system:fail{ call = "pwritev", nth = nth,
          errno = "ENOSPC" }
        local task = own[verb](own, dir .. "/new/a.vhd", size, opts)
        local ok, err = pcall(task.wait, task)
        system:drop(fail)
        if ok then
          assert.is_true(nth > 3)
          return
        end
        assert.equal("E_DISK_FULL", err.name)
        assert.same({}, support.names(dir))
      end
      error("there was no end of writes")
    end)
  end

  it("what the volume lacks is made up for, a second writing too",
    function()
      for _, call in ipairs{ "linkat", "openat" } do
        system:drop()
        system:fail{ call = call, times = 0, errno = "EOPNOTSUPP",
          flags = call == "openat" and test.O_TMPFILE or nil }
        local path = dir .. "/" .. call
        local task = own:create_fixed(path, 3 * MIB,
          { filesystem = "fat16", allocate = "zero" })
        task:wait()
        assert.equal(3 * MIB, (select(2, task:progress())))
        assert.equal("fat16", fat.volume(fat.fixed(path)).kind)
      end
    end)
end)

describe("a volume that is full #root", function()
  it("is E_DISK_FULL and holds no part of a formatted disk", function()
    if not support.is_root() then
      pending("mounting needs root")
    end
    local folder = dir .. "/volume"
    assert(test.mkdir(folder))
    if not support.sh("mount -t tmpfs -o size=16m tmpfs " .. q(folder)) then
      pending("cannot mount here")
    end
    local ok, err = pcall(function()
      for _, how in ipairs{ "zero", "reserve" } do
        expect.unchanged(folder, function()
          expect.fails("E_DISK_FULL", "VOLUME_FULL", engine.create_fixed,
            engine, folder .. "/new/a.vhd", 64 * MIB,
            { filesystem = "fat16", allocate = how })
        end)
        assert.is_true(test.statfs(folder).free > 15 * MIB)
      end
      run("head -c 9M /dev/zero >" .. q(folder .. "/fill"))
      expect.unchanged(folder, function()
        expect.both("E_DISK_FULL", "VOLUME_FULL", function(opts)
          opts.filesystem = "fat16"
          return engine:create_dynamic(folder .. "/a.vhd", 64 * MIB, opts)
        end)
      end)
    end)
    run("umount " .. q(folder))
    assert(ok, err)
  end)
end)
