-- SPDX-License-Identifier: MIT
--
-- disk:write, flush and close: random writes at any byte into disks of every
-- kind and writer, over chains, against a model; the files judged by other
-- programs; what is refused, what a failure leaves, and how it is told.  How
-- a crash leaves the file is shown elsewhere.

local lvhd = require "lvhd"
local support = require "spec.support"
local chains = require "spec.support.chains"
local expect = require "spec.support.expect"
local fixtures = require "spec.support.fixtures"
local life = require "spec.support.life"
local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"
local test = require "lvhdtest"

local q, run = support.q, support.run
local SECTOR <const> = 512
local MiB <const> = 1 << 20

local dir

before_each(function()
  dir = support.tmpdir()
end)

local function need(...)
  for _, command in ipairs{ ... } do
    if not support.has(command) then
      pending(command .. " is not installed")
    end
  end
end

-- ---- the model ------------------------------------------------------------

-- Bytes that tell which write put them, and where they belong.
local function bytes_for(tag, offset, n)
  local first = offset // SECTOR
  local parts = {}
  for s = first, (offset + n + SECTOR - 1) // SECTOR - 1 do
    parts[#parts + 1] = vhdwrite.pattern(tag, s)
  end
  local skip = offset - first * SECTOR
  return table.concat(parts):sub(skip + 1, skip + n)
end

-- What a write makes of the model: whole sectors of the leaf.
local function apply(model, offset, data)
  local first = offset // SECTOR
  local stop = (offset + #data + SECTOR - 1) // SECTOR
  local before = model:read(first * SECTOR, (stop - first) * SECTOR)
  local skip = offset - first * SECTOR
  model:put(first,
    before:sub(1, skip) .. data .. before:sub(skip + #data + 1))
end

local LENGTHS <const> = { 1, 2, 511, 512, 513, 1024, 4096, 70000, 1 << 19 }

local function somewhere(random, model)
  local n = random.pick(LENGTHS)
  if random.chance(50) then
    n = 1 + random.below(n)
  end
  n = math.min(n, model.size)
  local offset = random.below(model.size - n + 1)
  if random.chance(30) then
    offset = offset // SECTOR * SECTOR
  elseif random.chance(20) then
    offset = model.size - n
  end
  return offset, n
end

-- Random writes through an open disk, each read back with what is around it.
local function scribble(random, disk, model, count, tag)
  for i = 1, count do
    local offset, n = somewhere(random, model)
    local data = bytes_for(tag + i, offset, n)
    assert(disk == disk:write(offset, data))
    apply(model, offset, data)
    local from = math.max(0, offset - random.below(5000))
    local length = n + random.below(10000)
    if model:read(from, length) ~= disk:read(from, length) then
      error(("write %d of %d bytes at %d is not read back:\n%s"):format(i, n,
        offset, chains.story(model)))
    end
    if random.chance(10) then
      disk:flush()
    end
  end
end

-- ---- the judges -----------------------------------------------------------

local function errors_of(list)
  local found = {}
  for _, info in ipairs(list) do
    for _, finding in ipairs(info.findings) do
      -- chains of disks that differ in size are meant
      if finding.severity == "error" and finding.code ~= "PARENT_SIZE" then
        found[#found + 1] = ("%s %s"):format(finding.code, finding.message)
      end
    end
  end
  return found
end

local function check_clean(path, opts)
  opts = opts or { data = true, chain = true }
  assert.same({}, errors_of(lvhd.check(path, opts):wait()))
end

-- The file reads as the model, and its bits are those of what was written.
local function judge(random, model)
  local disk <close> = lvhd.open(model.path)
  local got = chains.content(random, disk, model.size)
  local difference = chains.difference(model, got)
  assert.is_nil(difference,
    difference and difference .. "\n" .. chains.story(model))
  local runs = {}
  for offset, length, layer in disk:extents() do
    runs[#runs + 1] = { offset, length, layer }
  end
  assert.same(model:extents(), runs, chains.story(model))
end

local function sha_by_7zip(path)
  return fixtures.sha256_of_output("7zz x -tvhd -so -bd " .. q(path)
    .. " 2>/dev/null")
end

local function sha_by_qemu(path)
  run(("qemu-img convert -f vpc -O raw %s %s"):format(q(path),
    q(path .. ".raw")))
  local sum = fixtures.sha256_of_output("cat " .. q(path .. ".raw"))
  os.remove(path .. ".raw")
  return sum
end

local function sums_of_parents(model)
  local list = {}
  for i, d in ipairs(model:chain()) do
    if i > 1 then
      list[#list + 1] = run(("sha256sum %s; stat -c '%%y %%s' %s")
        :format(q(d.path), q(d.path)))
    end
  end
  return table.concat(list)
end

-- What check finds odd about the leaf: code -> how often.
local function findings_of(path)
  local found = {}
  for _, finding in ipairs(lvhd.check(path, { data = true }):wait()[1]
    .findings) do
    if finding.severity ~= "note" then
      found[finding.code] = (found[finding.code] or 0) + 1
    end
  end
  return found
end

-- Opens, writes, closes, twice; then asks all judges of lvhd's own.
local function drive(seed, model, opts)
  local random = vhdwrite.random(seed)
  local parents = sums_of_parents(model)
  local was, found = lvhd.info(model.path), findings_of(model.path)
  for round = 1, 2 do
    local disk <close> = lvhd.open(model.path,
      { write = true, sync = opts and opts.sync })
    scribble(random, disk, model, opts and opts.count or 25, 100 * round)
    disk:close()
    judge(random, model)
  end
  assert.equal(parents, sums_of_parents(model))
  for code, n in pairs(findings_of(model.path)) do
    assert.is_true(n <= (found[code] or 0), code .. "\n"
      .. chains.story(model))
  end
  local is = lvhd.info(model.path)
  assert.equal("end", is.footer)
  for _, name in ipairs{ "type", "size", "uuid", "hidden", "creator",
    "timestamp", "saved_state", "block_size", "original_size" } do
    assert.equal(was[name], is[name], name)
  end
  assert.same({}, support.names(dir .. "/none"))
  return is
end

-- No note, no temporary file: the disks and nothing else.
local function nothing_else(folder, count)
  local names = support.names(folder)
  assert.equal(count, #names, table.concat(names, "\n"))
end

describe("random writes", function()
  before_each(function()
    support.mkdir(dir .. "/none")
    support.mkdir(dir .. "/disks")
  end)

  local function chain(seed, opts)
    return chains.make(seed, dir .. "/disks", opts or {})
  end

  for seed = 1, 24 do
    it(("into any layout of any writer read back (seed %d)"):format(seed),
      function()
        local model = chain(seed)
        drive(seed, model, { sync = seed % 2 == 0 and "none" or "full" })
        nothing_else(dir .. "/disks", #model:chain())
        local footer = support.read(model.path):sub(-512)
        assert.equal(512, #footer)
        assert.equal("conectix", footer:sub(1, 8))
        assert.equal(vhdread.checksum(footer, 64),
          (">I4"):unpack(footer, 65))
      end)
  end

  for seed = 101, 108 do
    it(("over chains are read by 7-Zip (seed %d)"):format(seed), function()
      need("7zz")
      local model = chain(seed, { judge = "7zip" })
      drive(seed, model)
      check_clean(model.path)
      assert.equal(fixtures.sha256(model:read(0, model.size)),
        sha_by_7zip(model.path))
    end)
  end

  for seed = 201, 206 do
    it(("are read by a reader of our own (seed %d)"):format(seed), function()
      local model = chain(seed, { judge = "vhdread", depth = 3 })
      drive(seed, model)
      local paths = {}
      for i, d in ipairs(model:chain()) do
        paths[i] = d.path
      end
      local n = model.size // SECTOR
      local random = vhdwrite.random(seed)
      for _ = 1, 40 do
        local first = random.below(n)
        local count = math.min(n - first, 1 + random.below(20))
        assert.is_true(model:read(first * SECTOR, count * SECTOR)
          == vhdread.content(paths, first * SECTOR, count * SECTOR))
      end
    end)
  end

  for seed, kind in pairs{ [301] = "fixed", [302] = "dynamic" } do
    it(("into QEMU's %s disks are read by QEMU, and QEMU's by us")
      :format(kind), function()
      need("qemu-img", "qemu-io", "7zz")
      local model = chain(seed, { judge = "7zip", depth = 1, qemu = kind })
      local random = vhdwrite.random(seed)
      for round = 1, 3 do
        drive(seed + round, model, { count = 8 })
        local want = fixtures.sha256(model:read(0, model.size))
        assert.equal(want, sha_by_qemu(model.path))
        assert.equal(want, sha_by_7zip(model.path))
        local first = random.below(model.size // SECTOR - 200)
        run(("qemu-io -f vpc -c 'write -q -P 0x77 %d %d' %s"):format(
          first * SECTOR, 200 * SECTOR, q(model.path)))
        model:put(first, ("\x77"):rep(200 * SECTOR))
        if kind == "dynamic" then -- QEMU sets every bit of a new block
          local per = model.block_size // SECTOR
          for b = first // per, (first + 199) // per do
            model:keep(b, true)
          end
        end
        local disk <close> = lvhd.open(model.path)
        assert.is_nil(chains.difference(model, disk:read(0, model.size)))
      end
      check_clean(model.path)
    end)
  end
end)

describe("writes into our own disks", function()
  -- A model of a disk that lvhd made.
  local function model_of(path, parent)
    local info = lvhd.info(path)
    return vhdwrite.new{ type = info.type, size = info.size, parent = parent,
      block_size = info.block_size or 2 * MiB, path = path }
  end

  before_each(function()
    support.mkdir(dir .. "/none")
  end)

  it("of every type and block size are read by all", function()
    need("7zz", "qemu-img")
    local size = 5 * MiB + 7 * SECTOR -- the last block is a part of one
    for i, make in ipairs{
      function(path) return lvhd.create_fixed(path, size) end,
      function(path) return lvhd.create_dynamic(path, size) end,
      function(path)
        return lvhd.create_dynamic(path, size, { block_size = 512 * 1024 })
      end,
    } do
      local path = ("%s/%d/disk.vhd"):format(dir, i)
      make(path):wait()
      local model = model_of(path)
      drive(400 + i, model)
      check_clean(path)
      local want = fixtures.sha256(model:read(0, size))
      assert.equal(want, sha_by_7zip(path))
      assert.equal(want, sha_by_qemu(path))
      nothing_else(("%s/%d"):format(dir, i), 1)
    end
  end)

  it("of a chain fall through where nothing was written", function()
    need("7zz")
    local root, child, leaf = dir .. "/root.vhd", dir .. "/child.vhd",
      dir .. "/leaf.vhd"
    lvhd.create_dynamic(root, 6 * MiB):wait()
    local bottom = model_of(root)
    drive(500, bottom)
    lvhd.create_differencing(child, root):wait()
    local middle = model_of(child, bottom)
    drive(501, middle)
    lvhd.create_differencing(leaf, child):wait()
    local top = model_of(leaf, middle)
    drive(502, top)
    check_clean(leaf)
    assert.equal(fixtures.sha256(top:read(0, top.size)), sha_by_7zip(leaf))
    -- a part of a sector takes the rest of it from below
    lvhd.create_differencing(dir .. "/one.vhd", leaf):wait()
    local one = model_of(dir .. "/one.vhd", top)
    local disk <close> = lvhd.open(one.path, { write = true })
    for _, offset in ipairs{ 0, 700, 3 * MiB + 511, one.size - 1 } do
      disk:write(offset, "!")
      apply(one, offset, "!")
    end
    disk:close()
    judge(vhdwrite.random(1), one)
  end)

  it("of one byte cost one block, and are there when they are flushed",
    function()
      local path = dir .. "/disk.vhd"
      lvhd.create_dynamic(path, "64 GiB"):wait()
      local disk <close> = lvhd.open(path, { write = true })
      disk:write((64 << 30) - 1, "z"):flush()
      local other <close> = lvhd.open(path)
      assert.equal("\0z", other:read((64 << 30) - 2, 5))
      disk:close()
      local info = lvhd.info(path)
      assert.equal(1, info.blocks_used)
      assert.is_true(info.file_size < 3 * MiB + info.blocks * 4)
      check_clean(path)
    end)

  it("wait for the device as sync says", function()
    local path = dir .. "/disk.vhd"
    lvhd.create_dynamic(path, 8 * MiB):wait()
    local function flushes(of_engine, of_call)
      local system = test.system()
      local engine <close> = lvhd.engine{ system = system:pointer(),
        sync = of_engine }
      local disk = engine:open(path, { write = true, sync = of_call })
      disk:write(5 * MiB, "x"):flush():write(0, "y"):close()
      return system:count("fdatasync") + system:count("fsync")
    end
    assert.is_true(flushes() > 0)
    assert.equal(0, flushes(nil, "none"))
    assert.equal(0, flushes("none"))
    assert.is_true(flushes("none", "data") > 0)
  end)

  it("of many pieces are one", function()
    local path = dir .. "/disk.vhd"
    lvhd.create_dynamic(path, "40 MiB"):wait()
    local data = bytes_for(7, 12345, 17 * MiB + 3)
    local disk <close> = lvhd.open(path, { write = true })
    disk:write(12345, data)
    assert.is_true(disk:read(12345, #data) == data)
    disk:close()
    local again <close> = lvhd.open(path)
    assert.is_true(again:read(0, 40 * MiB) == ("\0"):rep(12345) .. data
      .. ("\0"):rep(40 * MiB - 12345 - #data))
    check_clean(path)
  end)
end)

describe("writes into disks of other writers", function()
  for _, entry in ipairs(fixtures.manifest()) do
    if not entry.ranges then
      it(entry.file .. " keep what these need", function()
        local paths = fixtures.unpack_chain(entry, dir)
        local was = lvhd.info(paths[1])
        local random = vhdwrite.random(#entry.file)
        local forced = #paths > 1 -- its times are not those of the day
        if forced then
          expect.refused("VM_E_PARENT_MODIFIED", "PARENT_TIME", lvhd.open,
            paths[1], { write = true })
        end
        local disk <close> = lvhd.open(paths[1],
          { write = true, force = forced })
        local content = disk:read(0, entry.size)
        assert.equal(entry.sha256, fixtures.sha256(content))
        for i = 1, 12 do
          local offset, n = somewhere(random, entry)
          local data = bytes_for(i, offset, n)
          disk:write(offset, data)
          content = content:sub(1, offset) .. data
            .. content:sub(offset + n + 1)
        end
        assert.is_true(content == disk:read(0, entry.size))
        disk:close()
        local again <close> = lvhd.open(paths[1])
        assert.is_true(content == again:read(0, entry.size))
        again:close()
        check_clean(paths[1])
        if support.has("7zz") then
          assert.equal(fixtures.sha256(content), sha_by_7zip(paths[1]))
        end
        local is = lvhd.info(paths[1])
        for _, name in ipairs{ "creator", "creator_version", "uuid",
          "hidden", "timestamp", "geometry" } do
          assert.same(was[name], is[name], name)
        end
      end)
    end
  end

  it("reach the last sector of 2,040 GiB", function()
    local entry
    for _, e in ipairs(fixtures.manifest()) do
      entry = e.file == "blktap-2040g.vhd" and e or entry
    end
    local paths = fixtures.unpack_chain(entry, dir)
    local disk <close> = lvhd.open(paths[1], { write = true })
    local last = disk:read(entry.size - 512, 512)
    disk:write(entry.size - 3, "end"):write(entry.size // 2 - 1, "half")
    disk:close()
    local again <close> = lvhd.open(paths[1])
    assert.is_true(last:sub(1, -4) .. "end"
      == again:read(entry.size - 512, 600))
    assert.equal("\0half\0", again:read(entry.size // 2 - 2, 6))
    check_clean(paths[1], {})
  end)

  it("give a footer to a file that has only its copy", function()
    local path = fixtures.unpack("damaged/no-footer.vhd", dir)
    assert.equal("copy", lvhd.info(path).footer)
    local before = support.read(path)
    local disk <close> = lvhd.open(path, { write = true })
    local content = disk:read(0, disk:size())
    disk:write(5, "five"):close()
    assert.equal("end", lvhd.info(path).footer)
    local again <close> = lvhd.open(path)
    assert.is_true(again:read(0, #content)
      == content:sub(1, 5) .. "five" .. content:sub(10))
    assert.equal(before:sub(1, 512), support.read(path):sub(-512))
    check_clean(path)
  end)
end)

-- ---- what is refused ------------------------------------------------------

describe("disk:write", function()
  local path, disk

  before_each(function()
    path = dir .. "/disk.vhd"
    lvhd.create_dynamic(path, 8 * MiB):wait()
    disk = lvhd.open(path, { write = true })
  end)
  after_each(function()
    disk:close()
  end)

  it("refuses wrong arguments, naming the value", function()
    for _, case in ipairs{ { -1, "x", "-1" }, { 1.5, "x", "1.5" },
      { "0", "x", "string" }, { nil, "x", "nil" }, { 0, nil, "nil" },
      { 0, 5, "number" }, { 0, {}, "table" }, { 0 / 0, "x", "nan" },
      { math.mininteger, "x", tostring(math.mininteger) } } do
      expect.argument_error(case[3], disk.write, disk, case[1], case[2])
    end
    expect.argument_error("self", disk.write, path, 0, "x")
    expect.argument_error("self", disk.flush, path)
    disk:write(512.0, "x")
    assert.equal("\0x", disk:read(511, 2))
  end)

  it("refuses what reaches beyond the end, before it writes", function()
    local size = 8 * MiB
    for _, case in ipairs{ { size, 1 }, { size - 1, 2 }, { 0, size + 1 },
      { size - 5 * MiB, 5 * MiB + 1 }, { math.maxinteger, 1 },
      { size + 1, 0 } } do
      local err = expect.refused("E_INVALIDARG", "WRITE_PAST_END", disk.write,
        disk, case[1], ("x"):rep(case[2]))
      assert.equal("write", err.op)
      assert.equal(path, err.path)
      assert.equal(size, err.expected)
      assert.equal(case[1] == math.maxinteger and math.mininteger
        or case[1] + case[2], err.actual)
    end
    assert.is_nil(disk:read(0, size):find("x", 1, true))
    disk:write(size - 1, "y") -- and goes on
    assert.equal(0, lvhd.info(path).blocks_used)
    assert.equal("y", disk:read(size - 1, 1))
  end)

  it("takes the empty string anywhere up to the end", function()
    for _, offset in ipairs{ 0, 1, 4 * MiB, 8 * MiB } do
      assert.equal(disk, disk:write(offset, ""))
    end
    disk:close()
    assert.equal(0, lvhd.info(path).blocks_used)
  end)

  it("needs write = true", function()
    local other <close> = lvhd.open(path)
    for _, data in ipairs{ "x", "", ("x"):rep(5 * MiB) } do
      local err = expect.refused("E_ACCESSDENIED", "NOT_WRITABLE",
        other.write, other, 0, data)
      assert.equal(path, err.path)
      assert.equal("open it with write = true", err.hint)
    end
    assert.equal(other, other:flush())
    other:close()
  end)

  it("raises E_HANDLE from a closed disk, as flush does", function()
    disk:close()
    for _, name in ipairs{ "write", "flush" } do
      local err = expect.refused("E_HANDLE", nil, disk[name], disk, 0, "x")
      assert.equal(name, err.op)
      assert.equal(path, err.path)
    end
    disk:close()
  end)

  it("goes on while the engine is closed", function()
    local engine = lvhd.engine()
    disk:close()
    local mine <close> = engine:open(path, { write = true })
    engine:close()
    mine:write(3, "abc"):flush():write(6, "def"):close()
    local again <close> = lvhd.open(path)
    assert.equal("abcdef", again:read(3, 6))
  end)
end)

describe("a disk that is written", function()
  local path, child

  before_each(function()
    path, child = dir .. "/disk.vhd", dir .. "/child.vhd"
    lvhd.create_dynamic(path, 8 * MiB):wait()
  end)

  local function in_another(body)
    return life.prints([[
      local lvhd, path, child = require "lvhd", ...
      local function try(p, opts)
        local ok, err = pcall(lvhd.open, p, opts)
        io.write(ok and "open" or err.name .. " " .. err.reason)
        if ok then err:close() end
      end
    ]] .. body, path, child)
  end

  it("is written by one alone, in any process", function()
    local disk <close> = lvhd.open(path, { write = true })
    local err = expect.refused("E_SHARING_VIOLATION", "IN_USE", lvhd.open,
      path, { write = true })
    assert.equal(path, err.path)
    expect.refused("E_SHARING_VIOLATION", "IN_USE", lvhd.open, path,
      { write = true, force = true })
    assert.equal("E_SHARING_VIOLATION IN_USE",
      in_another "try(path, { write = true })")
    assert.equal("open", in_another "try(path)")
    disk:write(0, "first"):close()
    local second <close> = lvhd.open(path, { write = true })
    assert.equal("first", second:read(0, 5))
    second:write(0, "other")
  end)

  it("is not written while someone reads it as a parent", function()
    lvhd.create_differencing(child, path):wait()
    local reader <close> = lvhd.open(child)
    assert.equal("E_SHARING_VIOLATION IN_USE",
      in_another "try(path, { write = true, force = true })")
    reader:close()
    assert.equal("E_SHARING_VIOLATION OTHER_CHILDREN",
      in_another "try(path, { write = true })")
    local writer <close> = lvhd.open(path, { write = true, force = true })
    assert.equal("E_SHARING_VIOLATION IN_USE", in_another "try(child)")
    writer:close()
    assert.equal("open", in_another "try(child)")
  end)

  it("keeps qemu-img away, as qemu keeps us", function()
    need("qemu-img", "qemu-io")
    local disk <close> = lvhd.open(path, { write = true })
    assert.is_false((support.sh("qemu-img info -f vpc " .. q(path))))
    assert.is_true((support.sh("qemu-img info -U -f vpc " .. q(path))))
    disk:close()
    assert.is_true((support.sh("qemu-img info -f vpc " .. q(path))))
  end)

  it("tells its children by its time", function()
    lvhd.create_differencing(child, path):wait()
    local recorded = lvhd.info(child).parent.timestamp
    test.utime(path, recorded)
    local disk <close> = lvhd.open(path, { write = true, force = true })
    disk:close()
    assert.equal(recorded, lvhd.info(path).mtime)
    test.utime(path, recorded - 1000) -- the clock of a test may stand
    lvhd.relink(child, path):wait()
    local again <close> = lvhd.open(path, { write = true, force = true })
    again:write(0, "x"):close()
    assert.is_true(lvhd.info(path).mtime > recorded - 1000)
    local found
    for _, finding in ipairs(lvhd.chain(child)[1].findings) do
      found = found or finding.code == "PARENT_TIME"
    end
    assert.is_true(found)
    expect.refused("VM_E_PARENT_MODIFIED", "PARENT_TIME", lvhd.open, child,
      { write = true })
    lvhd.open(child, { write = true, force = true }):close()
  end)
end)

-- ---- failures -------------------------------------------------------------

describe("a failure", function()
  local path, system, engine, disk

  before_each(function()
    path = dir .. "/disk.vhd"
    lvhd.create_fixed(path, 8 * MiB):wait()
    system = test.system()
    engine = lvhd.engine{ system = system:pointer() }
    disk = engine:open(path, { write = true })
  end)
  after_each(function()
    system:drop()
    pcall(disk.close, disk)
    engine:close()
  end)

  local FLUSHES <const> = { "fdatasync", "fsync" }

  local function no_flush()
    for _, name in ipairs(FLUSHES) do
      system:fail{ call = name, errno = "EIO", times = 0 }
    end
  end

  it("of a write is told, and the disk goes on", function()
    disk:write(0, "good"):flush()
    system:fail{ call = "pwritev", errno = "EIO", times = 0 }
    local err = expect.refused("DISP_E_EXCEPTION", nil, disk.write, disk,
      4096, "bad")
    assert.equal("EIO", err.errname)
    assert.equal("write", err.op)
    assert.equal(path, err.path)
    system:drop()
    assert.equal("good", disk:read(0, 4))
    disk:write(8192, "more"):flush():close()
    local again <close> = lvhd.open(path)
    assert.equal("good", again:read(0, 4))
    assert.equal("more", again:read(8192, 4))
    assert.equal(("\0"):rep(100), again:read(4600, 100))
  end)

  it("for want of room is E_DISK_FULL, and loses nothing", function()
    local grows = dir .. "/dynamic.vhd"
    lvhd.create_dynamic(grows, "64 MiB"):wait()
    local mine <close> = engine:open(grows, { write = true })
    mine:write(3 * MiB, "before")
    for _, name in ipairs{ "pwritev", "fallocate", "ftruncate" } do
      system:fail{ call = name, errno = "ENOSPC", times = 0 }
    end
    local err = expect.refused("E_DISK_FULL", nil, mine.write, mine, 40 * MiB,
      ("x"):rep(5 * MiB))
    assert.equal(grows, err.path)
    system:drop()
    mine:write(9 * MiB, "after"):close()
    local again <close> = lvhd.open(grows)
    assert.equal("before", again:read(3 * MiB, 6))
    assert.equal("after", again:read(9 * MiB, 5))
    check_clean(grows)
  end)

  it("at the process's limit for files is an error, not a signal", function()
    local grows = dir .. "/dynamic.vhd"
    lvhd.create_dynamic(grows, "64 MiB"):wait()
    local out = life.prints([[
      local lvhd, test, path = require "lvhd", require "lvhdtest", ...
      local disk = lvhd.open(path, { write = true })
      disk:write(0, "one"):flush()
      test.limit("fsize", 4 << 20)
      local ok, err = pcall(function()
        for at = 2 << 20, 60 << 20, 2 << 20 do
          disk:write(at, "more")
        end
      end)
      io.write(ok and "written" or err.name, " ", err.reason, " ",
        err.expected, " ", err.actual > 4 << 20 and "more" or err.actual, " ")
      disk:write(0, "two")
      ok, err = pcall(disk.close, disk)
      io.write(ok and "closed" or tostring(err))
    ]], grows)
    assert.equal("VM_E_FILE_TOO_LARGE_FOR_VOLUME "
      .. "PROCESS_FILE_LIMIT 4194304 more closed", out)
    local again <close> = lvhd.open(grows)
    assert.equal("two", again:read(0, 3))
    check_clean(grows)
  end)

  it("of the flush is raised by flush, and by all that follows", function()
    disk:write(0, "x")
    no_flush()
    local err = expect.refused("DISP_E_EXCEPTION", nil, disk.flush, disk)
    assert.equal("flush", err.op)
    assert.equal("EIO", err.errname)
    assert.equal(path, err.path)
    system:drop()
    for _, name in ipairs{ "write", "flush", "close" } do
      err = expect.refused("DISP_E_EXCEPTION", nil, disk[name], disk, 8192,
        "late")
      assert.equal(name, err.op)
      assert.equal("EIO", err.errname)
    end
    expect.refused("E_HANDLE", nil, disk.read, disk, 0, 1)
    disk:close()
  end)

  it("of the flush is raised by close, which closes all the same", function()
    disk:write(0, "x")
    no_flush()
    local before = test.fds()
    local err = expect.refused("DISP_E_EXCEPTION", nil, disk.close, disk)
    assert.equal("close", err.op)
    assert.equal(path, err.path)
    assert.equal(before - 1, test.fds())
    disk:close() -- again: nothing
    lvhd.open(path, { write = true }):close() -- no lock is left
  end)

  it("of the flush is raised by <close>", function()
    local before = test.fds()
    no_flush()
    local err = expect.refused("DISP_E_EXCEPTION", nil, function()
      local mine <close> = disk
      mine:write(0, "x")
    end)
    assert.equal("close", err.op)
    assert.equal(before - 1, test.fds())
  end)

  it("that is under way goes on, and the close's goes to warn()", function()
    local out = life.prints([[
      local path = ...
      local lvhd, test = require "lvhd", require "lvhdtest"
      local system = test.system()
      local engine = lvhd.engine{ system = system:pointer() }
      local said = {}
      warn "@on"
      local ok, err = pcall(function()
        local disk <close> = engine:open(path, { write = true })
        disk:write(0, "x")
        system:fail{ call = "fdatasync", errno = "EIO", times = 0 }
        system:fail{ call = "fsync", errno = "EIO", times = 0 }
        error("mine", 0)
      end)
      io.stdout:write(tostring(err), "\n")
      system:drop()
      do
        local lost = engine:open(path, { write = true })
        lost:write(0, "x")
        system:fail{ call = "fdatasync", errno = "EIO", times = 0 }
        system:fail{ call = "fsync", errno = "EIO", times = 0 }
        lost = nil -- luacheck: ignore
        collectgarbage()
        collectgarbage()
        system:drop()
      end
      lvhd.open(path, { write = true }):close()
      engine:close()
      io.stdout:write("end")
    ]], (function() disk:close() return path end)())
    assert.matches("^mine\n", out)
    assert.matches("end$", out)
  end)
end)

describe("a disk that is collected", function()
  it("is in the file all the same", function()
    local path = dir .. "/disk.vhd"
    lvhd.create_dynamic(path, 8 * MiB):wait()
    local function work()
      lvhd.open(path, { write = true }):write(100, "collected")
    end
    work()
    collectgarbage()
    collectgarbage()
    local again <close> = lvhd.open(path, { write = true })
    assert.equal("collected", again:read(100, 9))
    again:write(100, "again")
  end)

  it("is in the file when the Lua state ends", function()
    local path = dir .. "/disk.vhd"
    lvhd.create_dynamic(path, 8 * MiB):wait()
    for i, program in ipairs{
      [[D = lvhd.open(path, { write = true }):write(0, i)]],
      [[local d <close> = lvhd.open(path, { write = true }); d:write(0, i)
        os.exit(0, true)]],
      [[E = lvhd.engine(); D = E:open(path, { write = true }); D:write(0, i)
        G = setmetatable({}, { __gc = function() D:write(1, "!") end })]],
    } do
      life.prints([[local lvhd, path, i = require "lvhd", ...
        ]] .. program, path, "n" .. i)
      local disk <close> = lvhd.open(path)
      assert.equal("n", disk:read(0, 1))
    end
    check_clean(path)
  end)
end)

describe("Ctrl-C", function()
  it("ends a long write between two pieces, in a coroutine too", function()
    local path = dir .. "/disk.vhd"
    lvhd.create_dynamic(path, "64 MiB"):wait()
    for _, in_coroutine in ipairs{ false, true } do
      local out = life.prints([[
        local lvhd, path, in_coroutine = require "lvhd", ...
        local core = require "lvhd.core"
        local disk = lvhd.open(path, { write = true, sync = "none" })
        local data = ("interrupt"):rep(4 << 20)
        local main = coroutine.running()
        local pieces = 0
        local real = core.write
        core.write = function(...)
          pieces = pieces + 1
          if pieces == 3 then -- as the lua program does on a signal
            debug.sethook(main, function()
              if in_coroutine == "true" then return end
              debug.sethook(main)
              error("interrupted!")
            end, "crl", 1)
          end
          return real(...)
        end
        local function work()
          local ok, err = pcall(disk.write, disk, 0, data)
          io.write(ok and "whole " or tostring(err):match("interrupted!"))
        end
        if in_coroutine == "true" then
          coroutine.wrap(work)()
        else
          work()
        end
        debug.sethook(main)
        io.write(" ", pieces)
        disk:close()
      ]], path, tostring(in_coroutine))
      assert.equal("interrupted! 3", out)
      check_clean(path)
      local disk <close> = lvhd.open(path)
      assert.is_true(("interrupt"):rep(1 << 20):sub(1, 8 * MiB)
        == disk:read(0, 8 * MiB))
      assert.is_nil(disk:read(12 * MiB, 20 * MiB):find("interrupt", 1, true))
    end
  end)
end)

describe("the time of a disk that is written", function()
  it("never comes back to a second that a child may have recorded", function()
    local parent = dir .. "/times.vhd"
    lvhd.create_dynamic(parent, "64 MiB"):wait()
    lvhd.create_differencing(dir .. "/of-times.vhd", parent):wait()
    local seen = { [test.stat(parent).mtime // 1000000000] = true }
    for i = 1, 5 do
      local disk <close> = lvhd.open(parent, { write = true, force = true })
      disk:write(i * 512, "written")
      disk:close()
      local second = test.stat(parent).mtime // 1000000000
      assert.is_nil(seen[second], i)
      seen[second] = true
    end
  end)

  it("is what the open disk tells, too", function()
    local path = dir .. "/told.vhd"
    lvhd.create_dynamic(path, "64 MiB", { timestamp = 1500000000 }):wait()
    local disk <close> = lvhd.open(path, { write = true })
    assert.equal(1500000000, disk:info().mtime)
    disk:write(0, "written")
    disk:flush()
    local now = lvhd.info(path).mtime
    assert.is_true(now > 1500000000)
    assert.equal(now, disk:info().mtime)
    assert.equal(now, disk:chain()[1].mtime)
  end)

  it("is asked for, which may fail", function()
    local path = dir .. "/asked.vhd"
    lvhd.create_dynamic(path, "64 MiB"):wait()
    local system = test.system()
    local engine = lvhd.engine{ system = system:pointer() }
    local disk <close> = engine:open(path, { write = true })
    system:fail{ call = "fstat", errno = "EIO", times = 1 }
    local err = expect.refused("DISP_E_EXCEPTION", nil, disk.info, disk)
    assert.same({ "fstat", path }, { err.syscall, err.path })
    system:drop()
    assert.equal(lvhd.info(path).mtime, disk:info().mtime)
  end)
end)

