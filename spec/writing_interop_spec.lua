-- SPDX-License-Identifier: MIT
--
-- Writing judged by others: QEMU writes into our disks and we read, we write
-- into QEMU's and it reads, 7-Zip reads all; and real file systems go through
-- conversions, children, writes, merges and more, and pass their fsck.

local lvhd = require "lvhd"
local fixtures = require "spec.support.fixtures"
local model = require "spec.support.model"
local qemu = require "spec.support.qemu"
local support = require "spec.support"
local test = require "lvhdtest"

local q, run = support.q, support.run
local KiB <const>, MiB <const> = 1 << 10, 1 << 20

-- Where Debian keeps what makes and checks file systems.
local SBIN <const> = "PATH=$PATH:/usr/sbin:/sbin; "

local dir

before_each(function()
  dir = support.tmpdir()
end)

---Ends the test as pending where a program is not installed.
local function need(...)
  for _, program in ipairs{ ... } do
    if not support.sh(SBIN .. "command -v " .. program) then
      pending(program .. " is not installed")
    end
  end
end

---lvhd, QEMU where it can, and 7-Zip read this; `check` finds nothing wrong.
local function all_read(content, path)
  local raw = dir .. "/judge.raw"
  content:save(raw)
  do
    local disk <close> = lvhd.open(path)
    assert.equal(content.size, disk:size())
    assert.is_nil(content:difference(function(offset, n)
      return disk:read(offset, n)
    end))
  end
  for _, info in ipairs(lvhd.check(path, { chain = true, data = true })
    :wait()) do
    for _, finding in ipairs(info.findings) do
      assert.not_equal("error", finding.severity, finding.code)
    end
  end
  run(("7zz x -tvhd -so -bd %s 2>/dev/null | cmp - %s"):format(q(path),
    q(raw)))
  assert.is_truthy(run("7zz t -tvhd " .. q(path)):find("Everything is Ok", 1,
    true))
  if lvhd.info(path).type ~= "differencing" then
    run(("cmp %s %s"):format(q(qemu.raw(path, dir .. "/qemu.raw")), q(raw)))
    assert.equal(content.size, qemu.size(path))
    os.remove(dir .. "/qemu.raw")
  end
  os.remove(raw)
end

---QEMU writes these { offset, length, byte }, and the content with them.
local function by_qemu(path, content, writes)
  local commands = {}
  for i, w in ipairs(writes) do
    commands[i] = ("write -q -P %d %d %d"):format(w[3], w[1], w[2])
    content = content:write(w[1], string.char(w[3]):rep(w[2]))
  end
  qemu.io(path, table.unpack(commands))
  return content
end

---The same by lvhd.
local function by_lvhd(path, content, writes, force)
  local disk <close> = lvhd.open(path, { write = true, force = force })
  for _, w in ipairs(writes) do
    local bytes = string.char(w[3]):rep(w[2])
    disk:write(w[1], bytes)
    content = content:write(w[1], bytes)
  end
  return content
end

-- In places that blocks share, of sectors only; the second ones hit blocks
-- that the first ones made, and others.
local FIRST <const> = { { 512, 1024, 0x11 }, { 2 * MiB - 512, 1024, 0x12 },
  { 5 * MiB, 64 * KiB, 0x13 } }
local SECOND <const> = { { 1024, 1536, 0x21 }, { 3 * MiB, 512, 0x22 },
  { 5 * MiB + 32 * KiB, 64 * KiB, 0x23 }, { 7 * MiB, MiB, 0x24 } }
-- And of any bytes.
local ODD <const> = { { 700, 3, 0x31 }, { 2 * MiB - 1, 2, 0x32 },
  { 4 * MiB + 77, 70000, 0x33 }, { 6 * MiB - 5, 10, 0x34 } }

local SIZE <const> = 8 * MiB + 512

local function at_end(size, byte)
  return { { size - 512, 512, byte } }
end

local KINDS <const> = {
  { "dynamic", "a dynamic disk with blocks of 2 MiB", 2 * MiB, 270 * MiB },
  { "dynamic", "a dynamic disk with blocks of 512 KiB", 512 * KiB, 70 * MiB },
  { "fixed", "a fixed disk", nil, 20 * MiB },
}

for _, kind in ipairs(KINDS) do
  describe("QEMU writes into " .. kind[2], function()
    local path
    before_each(function()
      need("qemu-io", "qemu-img", "7zz")
      path = dir .. "/disk.vhd"
    end)

    local function make(size)
      lvhd["create_" .. kind[1]](path, size,
        { block_size = kind[3] }):wait()
      return model.zeros(size)
    end

    it("fresh", function()
      local content = by_qemu(path, make(SIZE), FIRST)
      content = by_qemu(path, content, at_end(SIZE, 0x55))
      all_read(content, path)
    end)

    it("that we wrote before, and we write again", function()
      local content = by_lvhd(path, make(SIZE), FIRST)
      content = by_lvhd(path, content, ODD)
      content = by_qemu(path, content, SECOND)
      all_read(content, path)
      content = by_lvhd(path, content, ODD)
      content = by_lvhd(path, content, at_end(SIZE, 0x56))
      all_read(content, path)
      content = by_qemu(path, content, FIRST)
      all_read(content, path)
    end)

    it("that we grew", function()
      local content = by_lvhd(path, make(5 * MiB), { { 4 * MiB, 512, 1 } })
      -- the last one has a longer BAT, where there is one
      for _, size in ipairs{ SIZE, kind[4] } do
        lvhd.resize(path, size):wait()
        content = content:resized(size)
        if size == SIZE then
          all_read(content, path)
        end
        content = by_qemu(path, content, size == SIZE and FIRST or SECOND)
        content = by_qemu(path, content, at_end(size, 0x57))
        all_read(content, path)
      end
    end)

    it("that we cut", function()
      local content = by_lvhd(path, make(40 * MiB), FIRST)
      content = by_qemu(path, content, { { 20 * MiB, 512, 0x44 } })
      content = by_qemu(path, content, { { 20 * MiB, 512, 0 } })
      lvhd.resize(path, SIZE):wait()
      content = content:resized(SIZE)
      all_read(content, path)
      content = by_qemu(path, content, SECOND)
      content = by_qemu(path, content, at_end(SIZE, 0x58))
      all_read(content, path)
    end)

    if kind[1] == "dynamic" then
      it("that we compacted", function()
        local content = by_lvhd(path, make(SIZE), FIRST)
        content = by_qemu(path, content, SECOND)
        content = by_qemu(path, content, { { 3 * MiB, 512, 0 },
          { 7 * MiB, MiB, 0 }, { 5 * MiB, 96 * KiB, 0 } })
        local before = lvhd.info(path)
        local after = lvhd.compact(path):wait()
        assert.is_true(after.blocks_used < before.blocks_used)
        assert.is_true(after.file_size < before.file_size)
        assert.is_true(after.file_size <= test.stat(path).size)
        all_read(content, path)
        content = by_qemu(path, content, SECOND)
        content = by_qemu(path, content, at_end(SIZE, 0x59))
        all_read(content, path)
        lvhd.compact(path):wait()
        all_read(content, path)
      end)
    end

    it("that is the parent of ours, which are merged into it", function()
      local content = by_qemu(path, make(SIZE), FIRST)
      local child, leaf = dir .. "/child.vhd", dir .. "/leaf.vhd"
      lvhd.create_differencing(child, path):wait()
      local of_child = by_lvhd(child, content, ODD)
      lvhd.create_differencing(leaf, child):wait()
      local of_leaf = by_lvhd(leaf, of_child, SECOND)
      all_read(content, path)
      all_read(of_child, child)
      all_read(of_leaf, leaf)
      lvhd.merge(leaf, { into = path, delete = true }):wait()
      assert.same({ "disk.vhd" }, support.names(dir))
      all_read(of_leaf, path)
      all_read(by_qemu(path, of_leaf, FIRST), path)
    end)

    it("that was converted", function()
      local content = by_qemu(path, make(SIZE), SECOND)
      for _, to in ipairs{ "dynamic", "fixed" } do
        local copy = dir .. "/copy.vhd"
        lvhd.convert(path, copy, { to = to }):wait()
        all_read(content, copy)
        all_read(by_qemu(copy, content, FIRST), copy)
        os.remove(copy)
      end
      lvhd.convert(path, dir .. "/copy.raw", { to = "raw" }):wait()
      run(("cmp %s %s"):format(q(dir .. "/copy.raw"),
        q(qemu.raw(path, dir .. "/qemu.raw"))))
    end)
  end)
end

for _, kind in ipairs{ "dynamic", "fixed" } do
  describe("we change a disk that QEMU made, " .. kind, function()
    local path, content
    before_each(function()
      need("qemu-io", "qemu-img", "7zz")
      path = qemu.create(dir .. "/disk.vhd", kind, SIZE)
      content = model.zeros(SIZE)
    end)

    it("fresh", function()
      content = by_lvhd(path, content, FIRST)
      content = by_lvhd(path, content, at_end(SIZE, 0x61))
      all_read(content, path)
      all_read(by_qemu(path, content, SECOND), path)
    end)

    it("and wrote", function()
      content = by_qemu(path, content, FIRST)
      content = by_lvhd(path, content, SECOND)
      content = by_lvhd(path, content, ODD)
      all_read(content, path)
      all_read(by_qemu(path, content, at_end(SIZE, 0x62)), path)
    end)

    it("and wrote: its size", function()
      content = by_qemu(path, content, FIRST)
      lvhd.resize(path, 40 * MiB):wait()
      content = by_lvhd(path, content:resized(40 * MiB),
        { { 39 * MiB + 3, 100000, 0x63 } })
      all_read(content, path)
      content = by_qemu(path, content, at_end(40 * MiB, 0x64))
      all_read(content, path)
    end)

    it("and wrote: as parent that children are merged into", function()
      content = by_qemu(path, content, FIRST)
      local child = dir .. "/child.vhd"
      lvhd.create_differencing(child, path):wait()
      content = by_lvhd(child, content, SECOND)
      all_read(content, child)
      lvhd.merge(child):wait()
      all_read(content, path)
      all_read(content, child)
      content = by_lvhd(child, content, ODD)
      all_read(content, child)
    end)

    if kind == "dynamic" then
      it("and wrote: its blocks of zeros go", function()
        content = by_qemu(path, content, FIRST)
        content = by_qemu(path, content, { { 4 * MiB, 4 * MiB, 0 } })
        local before = lvhd.info(path)
        local after = lvhd.compact(path):wait()
        assert.is_true(after.blocks_used < before.blocks_used)
        all_read(content, path)
        all_read(by_qemu(path, content, SECOND), path)
      end)
    end
  end)
end

-- ---- disks by XenServer's tools ---------------------------------------------

describe("a disk by another program", function()
  for _, entry in ipairs(fixtures.manifest()) do
    if not entry.ranges then
      it("is written, and 7-Zip reads it: " .. entry.file, function()
        need("7zz")
        local paths = fixtures.unpack_chain(entry, dir)
        local content = model.zeros(entry.size)
        do
          local disk <close> = lvhd.open(paths[1])
          for at = 0, entry.size - 1, MiB do
            content = content:write(at, disk:read(at, MiB))
          end
        end
        local writes = { { 700, 3, 0x31 }, { MiB - 5, 10, 0x34 },
          { entry.size - 3, 3, 0x35 }, { entry.size // 2, MiB, 0x36 } }
        -- the times of the files are not those that the children record
        content = by_lvhd(paths[1], content, writes, true)
        local raw = dir .. "/judge.raw"
        content:save(raw)
        run(("7zz x -tvhd -so -bd %s 2>/dev/null | cmp - %s"):format(
          q(paths[1]), q(raw)))
        for _, info in ipairs(lvhd.check(paths[1],
          { chain = true, data = true }):wait()) do
          for _, finding in ipairs(info.findings) do
            assert.not_equal("error", finding.severity, finding.code)
          end
        end
      end)
    end
  end
end)

-- ---- file systems -----------------------------------------------------------

-- Each makes a file system in a raw file, puts files into it, takes them out
-- again, and has it checked.
local ext4 = { name = "ext4", size = 24 * MiB,
  programs = { "mkfs.ext4", "debugfs", "e2fsck" } }

function ext4.make(raw)
  run(SBIN .. ("mkfs.ext4 -q -F %s"):format(q(raw)))
end
function ext4.put(raw, name, file)
  run(SBIN .. ("debugfs -w -R %s %s"):format(q(("write %s %s"):format(file, name)),
    q(raw)))
end
function ext4.drop(raw, name)
  run(SBIN .. ("debugfs -w -R %s %s"):format(q("rm " .. name), q(raw)))
end
function ext4.get(raw, name, file)
  run(SBIN .. ("debugfs -R %s %s"):format(q(("dump %s %s"):format(name, file)),
    q(raw)))
end
function ext4.fsck(raw)
  run(SBIN .. "e2fsck -fn " .. q(raw))
end

local fat = { name = "FAT", size = 20 * MiB,
  programs = { "mkfs.fat", "mcopy", "mdel", "fsck.fat" } }

function fat.make(raw)
  run(SBIN .. "mkfs.fat -n LVHD " .. q(raw))
end
function fat.put(raw, name, file)
  run(SBIN .. ("mcopy -i %s %s ::%s"):format(q(raw), q(file), q(name)))
end
function fat.drop(raw, name)
  run(SBIN .. ("mdel -i %s ::%s"):format(q(raw), q(name)))
end
function fat.get(raw, name, file)
  run(SBIN .. ("mcopy -n -i %s ::%s %s"):format(q(raw), q(name), q(file)))
end
function fat.fsck(raw)
  run(SBIN .. "fsck.fat -n " .. q(raw))
end

for _, fs in ipairs{ ext4, fat } do
  describe("a file system, " .. fs.name .. ",", function()
    local files
    before_each(function()
      need(table.unpack(fs.programs))
      need("7zz", "qemu-img")
      files = {}
    end)

    ---A raw file like another one, with more and fewer files.
    local function changed(old, new, put, drop)
      run(("cp --sparse=always %s %s"):format(q(old), q(new)))
      for _, name in ipairs(drop) do
        fs.drop(new, name)
        files[name] = nil
      end
      for name, bytes in pairs(put) do
        support.write(dir .. "/" .. name, bytes)
        fs.put(new, name, dir .. "/" .. name)
        os.remove(dir .. "/" .. name)
        files[name] = bytes
      end
      return new
    end

    ---What differs between two raw files is written, a piece at a time.
    local function write_changes(path, old, new)
      local before, after = support.read(old), support.read(new)
      assert.equal(#before, #after)
      local disk <close> = lvhd.open(path, { write = true })
      local written = 0
      for at = 0, #after - 1, 1000 do -- no multiple of anything
        local bytes = after:sub(at + 1, at + 1000)
        if before:sub(at + 1, at + 1000) ~= bytes then
          disk:write(at, bytes)
          written = written + #bytes
        end
      end
      assert.is_true(written > 100000)
    end

    ---The disk holds the file system with all files; gives it as raw.
    local function sound(path, raw)
      local out = dir .. "/out.raw"
      lvhd.convert(path, out, { to = "raw" }):wait()
      fs.fsck(out)
      for name, bytes in pairs(files) do
        fs.get(out, name, dir .. "/out.file")
        assert.is_true(bytes == support.read(dir .. "/out.file"), name)
        os.remove(dir .. "/out.file")
      end
      local size = lvhd.info(path).size
      assert.equal(size, test.stat(out).size)
      run(("cmp -n %d %s %s"):format(test.stat(raw).size, q(out), q(raw)))
      run(("7zz x -tvhd -so -bd %s 2>/dev/null | cmp - %s"):format(q(path),
        q(out)))
      os.remove(out)
    end

    it("survives conversion, children, writes, merges, compacting, resizing",
      function()
        local raw0, raw1, raw2, raw3 = dir .. "/0.raw", dir .. "/1.raw",
          dir .. "/2.raw", dir .. "/3.raw"
        local base, child, leaf = dir .. "/base.vhd", dir .. "/child.vhd",
          dir .. "/leaf.vhd"
        local empty = dir .. "/empty.raw"
        run(("truncate -s %d %s"):format(fs.size, q(empty)))
        fs.make(empty)
        changed(empty, raw0, { a = ("first "):rep(300000),
          b = ("second"):rep(9999) }, {})
        lvhd.convert(raw0, base, { from = "raw", to = "dynamic",
          block_size = 512 * KiB }):wait()
        sound(base, raw0)

        -- a child by conversion: only what differs
        changed(raw0, raw1, { c = ("third "):rep(100000) }, { "b" })
        local info = lvhd.convert(raw1, child, { from = "raw",
          to = "differencing", parent = base }):wait()
        assert.is_true(info.blocks_used < lvhd.info(base).blocks_used)
        sound(child, raw1)

        -- a child by writing
        lvhd.create_differencing(leaf, child):wait()
        changed(raw1, raw2, { d = ("fourth"):rep(150000), b = "short" },
          { "a" })
        write_changes(leaf, raw1, raw2)
        sound(leaf, raw2)
        lvhd.compact(leaf):wait()
        sound(leaf, raw2)

        -- all of it folded into the first disk
        lvhd.merge(leaf, { delete = true }):wait()
        sound(child, raw2)
        lvhd.merge(child, { delete = true }):wait()
        sound(base, raw2)
        lvhd.compact(base):wait()
        sound(base, raw2)
        run(("cmp %s %s"):format(q(qemu.raw(base, dir .. "/qemu.raw")),
          q(raw2)))

        -- and changed there
        changed(raw2, raw3, { e = ("fifth "):rep(99999) }, { "c" })
        write_changes(base, raw2, raw3)
        sound(base, raw3)
        lvhd.resize(base, fs.size + 9 * MiB + 512):wait()
        sound(base, raw3)
        lvhd.resize(base, fs.size):wait()
        sound(base, raw3)
        local fixed = dir .. "/fixed.vhd"
        lvhd.convert(base, fixed, { to = "fixed" }):wait()
        sound(fixed, raw3)
      end)
  end)
end
