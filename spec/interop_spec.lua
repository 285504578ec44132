-- SPDX-License-Identifier: MIT
--
-- New disks judged by other programs: QEMU, libvhdi and 7-Zip; and children
-- of disks that other programs wrote.  Knows lvhd's public functions only.

local lvhd = require "lvhd"
local support = require "spec.support"
local fixtures = require "spec.support.fixtures"
local vhdread = require "spec.support.vhdread"

local q, run = support.q, support.run
local MIB, GIB = 1 << 20, 1 << 30

local SIZES = {
  { "3 MiB", 3 * MIB }, { "64 MiB", 64 * MIB }, { "100 MiB", 100 * MIB },
  { "4 GiB", 4 * GIB }, { "127 GiB", 127 * GIB },
  { "127 GiB and a sector", 127 * GIB + 512 }, { "1 TiB", 1 << 40 },
  { "2,088,959 MiB", 2088959 * MIB },
}
local EXTRACT_MAX = 100 * MIB -- more is listed, not extracted

---Ends the test as pending where a program is not installed.
local function need(...)
  for _, program in ipairs{ ... } do
    if not support.has(program) then
      pending(program .. " is not installed")
    end
  end
end

---The size that QEMU gives a guest.
local function qemu_size(path)
  local json = run("qemu-img info -f vpc --output=json " .. q(path))
  return math.tointeger(tonumber(json:match('"virtual%-size": (%d+)')))
end

---What vhdiinfo says, by its own words.
local function vhdiinfo(path)
  local said = {}
  for line in run("vhdiinfo " .. q(path)):gmatch("[^\n]+") do
    local key, value = line:match("^\t(.-)%s*: (.*)$")
    if key then
      said[key] = value
    end
  end
  return {
    type = said["Disk type"],
    size = math.tointeger(tonumber(said["Media size"]:match("(%d+) bytes"))),
    uuid = said["Identifier"],
    parent_uuid = said["Parent identifier"],
    parent_name = said["Parent filename"],
  }
end

---What 7-Zip lists: the properties of the archive and of what is inside.
local function list(path)
  local text = run("7zz l -slt -tvhd " .. q(path))
  local head, item = text:match("\n%-%-\n(.-)\n%-%-%-%-%-%-%-%-%-%-\n(.*)$")
  local function field(from, key)
    return from:match("%f[^\0\n]" .. key .. " = ([^\n]*)")
  end
  return {
    type = field(head, "Type"),
    method = field(head, "Method"),
    parent = field(head, "Parent"),
    volumes = math.tointeger(tonumber(field(head, "Volumes") or 1)),
    creator = field(head, "Creator Application"),
    uuid = field(head, "ID"):lower(),
    size = math.tointeger(tonumber(field(item, "Size"))),
  }
end

---SHA-256 of the content as 7-Zip extracts it.
local function content(path)
  return fixtures.sha256_of_output("7zz x -tvhd -so -bd " .. q(path)
    .. " 2>/dev/null")
end

---7-Zip opens the file, reads all of it, and finds nothing to say.
local function tests_well(path)
  local ok, said = support.sh("7zz t -tvhd " .. q(path))
  assert.is_true(ok and said:find("Everything is Ok", 1, true) ~= nil, said)
  assert.is_nil(said:find("WARN", 1, true), said)
end

local function qemu_io(path, ...)
  local command = "qemu-io -f vpc"
  for _, c in ipairs{ ... } do
    command = command .. " -c " .. q(c)
  end
  return run(command .. " " .. q(path))
end

describe("QEMU reads the exact size of", function()
  local dir
  before_each(function()
    need("qemu-img")
    dir = support.tmpdir()
  end)

  for _, case in ipairs(SIZES) do
    it("a fixed disk of " .. case[1], function()
      lvhd.create_fixed(dir .. "/d.vhd", case[2]):wait()
      assert.equal(case[2], qemu_size(dir .. "/d.vhd"))
    end)
    it("a dynamic disk of " .. case[1], function()
      lvhd.create_dynamic(dir .. "/d.vhd", case[2]):wait()
      assert.equal(case[2], qemu_size(dir .. "/d.vhd"))
    end)
  end

  it("a dynamic disk with blocks of 512 KiB", function()
    lvhd.create_dynamic(dir .. "/d.vhd", 3 * MIB + 512,
      { block_size = 512 * 1024 }):wait()
    assert.equal(3 * MIB + 512, qemu_size(dir .. "/d.vhd"))
  end)
end)

describe("libvhdi reads type, size and identifiers of", function()
  local dir
  before_each(function()
    need("vhdiinfo")
    dir = support.tmpdir()
  end)

  for _, case in ipairs(SIZES) do
    local name, size = case[1], case[2]
    it("a fixed disk of " .. name, function()
      local info = lvhd.create_fixed(dir .. "/d.vhd", size):wait()
      assert.same({ type = "Fixed", size = size, uuid = info.uuid },
        vhdiinfo(dir .. "/d.vhd"))
    end)
    it("a dynamic disk of " .. name .. " and its child", function()
      local base = lvhd.create_dynamic(dir .. "/base.vhd", size):wait()
      local child = lvhd.create_differencing(dir .. "/child.vhd",
        dir .. "/base.vhd"):wait()
      assert.same({ type = "Dynamic", size = size, uuid = base.uuid },
        vhdiinfo(dir .. "/base.vhd"))
      assert.same({ type = "Differential", size = size, uuid = child.uuid,
        parent_uuid = base.uuid, parent_name = "base.vhd" },
        vhdiinfo(dir .. "/child.vhd"))
    end)
  end

  it("a child of a parent whose name is not ASCII", function()
    local base = lvhd.create_fixed(dir .. "/Größe 😀.vhd", 3 * MIB):wait()
    lvhd.create_differencing(dir .. "/kind.vhd", base.path):wait()
    local said = vhdiinfo(dir .. "/kind.vhd")
    assert.equal(base.uuid, said.parent_uuid)
    assert.equal("Größe 😀.vhd", said.parent_name)
  end)
end)

describe("7-Zip lists, and extracts what is small enough, of", function()
  local dir
  before_each(function()
    need("7zz")
    dir = support.tmpdir()
  end)

  ---Lists and, where it is small, extracts; a fresh disk reads as zeros.
  local function judge(path, size, expected)
    local said = list(path)
    assert.equal("VHD", said.type)
    assert.equal("win 10.0", said.creator)
    assert.equal(size, said.size)
    assert.equal(expected.method, said.method)
    assert.equal(expected.parent, said.parent)
    assert.equal(expected.uuid:gsub("%-", ""), said.uuid)
    if size <= EXTRACT_MAX then
      assert.equal(fixtures.sha256_of_zeros(size), content(path))
    end
  end

  for _, case in ipairs(SIZES) do
    local name, size = case[1], case[2]
    it("a fixed disk of " .. name, function()
      local info = lvhd.create_fixed(dir .. "/d.vhd", size):wait()
      judge(info.path, size, { method = "Fixed", uuid = info.uuid })
    end)
    it("a dynamic disk of " .. name .. " and its child", function()
      local base = lvhd.create_dynamic(dir .. "/base.vhd", size):wait()
      local child = lvhd.create_differencing(dir .. "/child.vhd",
        base.path):wait()
      judge(base.path, size, { method = "Dynamic", uuid = base.uuid })
      judge(child.path, size, { method = "Differencing -> Dynamic",
        uuid = child.uuid, parent = "base.vhd" })
    end)
  end

  it("a disk whose last block ends behind the disk", function()
    local size = 5 * MIB + 512
    for i, block in ipairs{ 512 * 1024, 2 * MIB } do
      local path = ("%s/%d.vhd"):format(dir, i)
      local info = lvhd.create_dynamic(path, size,
        { block_size = block }):wait()
      judge(path, size, { method = "Dynamic", uuid = info.uuid })
      tests_well(path)
    end
  end)
end)

describe("a chain three deep", function()
  local dir
  local SIZE = 9 * MIB
  before_each(function()
    need("7zz", "qemu-io")
    dir = support.tmpdir()
  end)

  ---What QEMU writes, and the content that it makes.
  local WRITES = { "write -P 0x5a 1M 64k", "write -P 0xa5 3145216 1024",
    "write -P 0x11 9436672 512" }
  local function written()
    local out, at = {}, 0
    for _, w in ipairs{ { MIB, 65536, "\x5a" }, { 3145216, 1024, "\xa5" },
      { SIZE - 512, 512, "\x11" } } do
      out[#out + 1] = ("\0"):rep(w[1] - at) .. w[3]:rep(w[2])
      at = w[1] + w[2]
    end
    return table.concat(out)
  end

  for _, kind in ipairs{ "fixed", "dynamic" } do
    it("reads as its " .. kind .. " root that QEMU filled", function()
      local root = dir .. "/root.vhd"
      lvhd["create_" .. kind](root, SIZE):wait()
      qemu_io(root, table.unpack(WRITES))
      local sum = fixtures.sha256(written())
      assert.equal(sum, content(root))

      local path = root
      for i, name in ipairs{ "/one.vhd", "/two.vhd", "/three.vhd" } do
        local info = lvhd.create_differencing(dir .. name, path):wait()
        path = info.path
        assert.equal(sum, content(path), "level " .. i)
        tests_well(path)
      end
      local said = list(path)
      assert.equal("two.vhd -> one.vhd -> root.vhd", said.parent)
      assert.equal(4, said.volumes)
      assert.equal(sum, fixtures.sha256(vhdread.content({ path,
        dir .. "/two.vhd", dir .. "/one.vhd", root }, 0, SIZE)))
    end)
  end

  it("with data in every level reads the youngest sector", function()
    local root = dir .. "/root.vhd"
    lvhd.create_dynamic(root, SIZE):wait()
    qemu_io(root, table.unpack(WRITES))
    local expected = written()
    local paths = { root }
    local last = SIZE // 512 - 1
    for i, name in ipairs{ "/one.vhd", "/two.vhd", "/three.vhd" } do
      local path = dir .. name
      lvhd.create_differencing(path, paths[1]):wait()
      table.insert(paths, 1, path)
      -- one sector of its own, one that the next level hides, one in the
      -- last block, which a sector of each level shares
      for _, sector in ipairs{ 2048 + i, 2048 + i + 1, last - 8 - i } do
        local bytes = string.char(0xC0 + i):rep(512)
        vhdread.put_sector(path, sector, bytes)
        expected = expected:sub(1, sector * 512) .. bytes
          .. expected:sub(sector * 512 + 513)
      end
    end
    assert.equal(SIZE, #expected)
    local sum = fixtures.sha256(expected)
    assert.equal(sum, content(paths[1]))
    tests_well(paths[1])
    assert.equal(sum, fixtures.sha256(vhdread.content(paths, 0, SIZE)))
  end)

  it("of non-ASCII names is found by 7-Zip", function()
    local root = dir .. "/Wurzel ä.vhd"
    lvhd.create_dynamic(root, SIZE):wait()
    qemu_io(root, table.unpack(WRITES))
    local sum = fixtures.sha256(written())
    local path = root
    for _, name in ipairs{ "/日本.vhd", "/б 100%.vhd", "/😀.vhd" } do
      path = lvhd.create_differencing(dir .. name, path):wait().path
      assert.equal(sum, content(path), name)
    end
    assert.equal("б 100%.vhd -> 日本.vhd -> Wurzel ä.vhd", list(path).parent)
  end)
end)

describe("a disk that QEMU wrote into", function()
  local dir
  before_each(function()
    need("7zz", "qemu-io", "qemu-img")
    dir = support.tmpdir()
  end)

  it("dynamic, still reads right and tests well", function()
    for i, block in ipairs{ 2 * MIB, 512 * 1024 } do
      local path = ("%s/%d.vhd"):format(dir, i)
      lvhd.create_dynamic(path, 64 * MIB, { block_size = block }):wait()
      qemu_io(path, "write -P 0x77 0 512", "write -P 0x78 33553920 1024",
        "write -P 0x79 67108352 512")
      tests_well(path)
      local expected = ("\x77"):rep(512) .. ("\0"):rep(33553920 - 512)
        .. ("\x78"):rep(1024) .. ("\0"):rep(67108352 - 33553920 - 1024)
        .. ("\x79"):rep(512)
      assert.equal(fixtures.sha256(expected), content(path))
      assert.equal(64 * MIB, qemu_size(path))
      run("qemu-img check -f vpc " .. q(path) .. " || test $? = 63")
    end
  end)

  it("fixed, reads right", function()
    local path = dir .. "/d.vhd"
    lvhd.create_fixed(path, 3 * MIB):wait()
    qemu_io(path, "write -P 0x77 3145216 512")
    tests_well(path)
    assert.equal(fixtures.sha256(("\0"):rep(3145216) .. ("\x77"):rep(512)),
      content(path))
  end)

  it("differencing, keeps its locators", function()
    -- QEMU takes a child for a dynamic disk and allocates the block behind
    -- the BAT; locators behind it would be overwritten.
    local base, path = dir .. "/base.vhd", dir .. "/child.vhd"
    lvhd.create_dynamic(base, 8 * MIB):wait()
    qemu_io(base, "write -P 0x55 6M 512")
    lvhd.create_differencing(path, base):wait()
    local before = vhdread.bytes(path, 0, 0x2000)
    qemu_io(path, "write -P 0x77 4k 512")
    assert.is_true(before == vhdread.bytes(path, 0, 0x2000))
    tests_well(path)
    assert.equal(fixtures.sha256(("\0"):rep(4096) .. ("\x77"):rep(512)
      .. ("\0"):rep(6 * MIB - 4608) .. ("\x55"):rep(512)
      .. ("\0"):rep(2 * MIB - 512)), content(path))
  end)
end)

describe("a child of a disk by another program", function()
  local dir
  before_each(function()
    need("7zz")
    dir = support.tmpdir()
  end)

  ---What the manifest hashes, as our own reader gives it.
  local function ranges_sum(entry, paths)
    local parts = {}
    for i, range in ipairs(entry.ranges) do
      parts[i] = vhdread.content(paths, range[1], range[2])
    end
    return fixtures.sha256(table.concat(parts))
  end

  ---The first MiB as 7-Zip extracts it, hashed.
  local function first_mib(path)
    return (run("7zz x -tvhd -so -bd " .. q(path)
      .. " 2>/dev/null | head -c 1048576 | sha256sum")):sub(1, 64)
  end

  for _, entry in ipairs(fixtures.manifest()) do
    it(("reads right: %s of %s"):format(entry.file, entry.writer), function()
      local paths = fixtures.unpack_chain(entry, dir)
      local before = run("sha256sum " .. q(paths[1])
        .. "; stat -c '%i %y %z' " .. q(paths[1]))
      local child = lvhd.create_differencing(dir .. "/child.vhd",
        paths[1]):wait()
      local leaf = lvhd.create_differencing(dir .. "/leaf.vhd",
        child.path):wait()
      assert.equal(before, run("sha256sum " .. q(paths[1])
        .. "; stat -c '%i %y %z' " .. q(paths[1])))
      assert.equal(entry.size, child.size)
      assert.equal(entry.size, leaf.size)
      assert.equal(entry.file, child.parent.name)
      if entry.ranges then
        -- The disk is huge: 7-Zip could only stream all of it up to the
        -- end.  It is asked for the first MiB, our own reader for all
        -- ranges of the manifest.
        table.insert(paths, 1, child.path)
        table.insert(paths, 1, leaf.path)
        assert.equal(entry.sha256, ranges_sum(entry, paths))
        local first = first_mib(paths[3])
        assert.equal(fixtures.sha256(vhdread.content(paths, 0, MIB)), first)
        assert.equal(first, first_mib(child.path))
        assert.equal(first, first_mib(leaf.path))
        assert.equal(entry.size, list(leaf.path).size)
      else
        -- 7-Zip reads the disk itself right, so a wrong sum below would
        -- be lvhd's fault.
        assert.equal(entry.sha256, content(paths[1]))
        assert.equal(entry.sha256, content(child.path))
        assert.equal(entry.sha256, content(leaf.path))
        tests_well(leaf.path)
      end
    end)

    it(("tells libvhdi its parent: %s"):format(entry.file), function()
      need("vhdiinfo")
      local paths = fixtures.unpack_chain(entry, dir)
      local child = lvhd.create_differencing(dir .. "/child.vhd",
        paths[1]):wait()
      assert.same({ type = "Differential", size = entry.size,
        uuid = child.uuid, parent_uuid = vhdiinfo(paths[1]).uuid,
        parent_name = entry.file }, vhdiinfo(child.path))
    end)
  end
end)

describe("a damaged disk as parent", function()
  local dir
  before_each(function() dir = support.tmpdir() end)

  for _, case in ipairs{
    { "no-footer", "FOOTER_MISSING" }, -- the copy at 0 does not count
    { "bad-header-checksum", "HEADER_CHECKSUM" },
  } do
    local name = case[1] .. ".vhd"
    it(name .. " is refused", function()
      local parent = fixtures.unpack("damaged/" .. name, dir)
      for _, preflight in ipairs{ true, false } do
        local ok, err = pcall(function()
          return lvhd.create_differencing(dir .. "/new/child.vhd", parent,
            { preflight = preflight }):wait()
        end)
        assert.is_false(ok)
        assert.equal("VM_E_INVALID_HD_FILE", err.name)
        assert.equal(case[2], err.reason)
        assert.same({ name }, support.names(dir))
      end
    end)
  end

  -- A creation opens the parent alone, never its ancestors, and reads footer
  -- and header, not the BAT.  What is wrong further down is not its business:
  -- an open of the chain, or a check, finds it.
  for _, name in ipairs{ "cycle-a", "cycle-b", "bat-overlap" } do
    it(name .. ".vhd is taken: its own footer and header are good",
      function()
        local parent = fixtures.unpack("damaged/" .. name .. ".vhd", dir)
        if name:find("cycle") then
          fixtures.unpack(name == "cycle-a" and "damaged/cycle-b.vhd"
            or "damaged/cycle-a.vhd", dir)
        end
        local info = lvhd.create_differencing(dir .. "/child.vhd",
          parent):wait()
        assert.equal(20 * MIB, info.size)
        local disk = vhdread.open(parent)
        assert.equal(vhdread.uuid(disk.footer.uuid), info.parent.uuid)
      end)
  end

  it("cycle-a.vhd is taken without its missing ancestor", function()
    local parent = fixtures.unpack("damaged/cycle-a.vhd", dir)
    local info = lvhd.create_differencing(dir .. "/child.vhd", parent):wait()
    assert.equal("cycle-a.vhd", info.parent.name)
    assert.same({ "child.vhd", "cycle-a.vhd" }, support.names(dir))
  end)
end)
