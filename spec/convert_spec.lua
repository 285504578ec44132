-- SPDX-License-Identifier: MIT
--
-- The verb convert: every type into every type, judged by content through
-- 7-Zip and QEMU; which sectors and blocks stand in the new file; zeros and
-- holes; what is refused, and that nothing is left behind then.

local lvhd = require "lvhd"
local support = require "spec.support"
local chains = require "spec.support.chains"
local expect = require "spec.support.expect"
local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"
local test = require "lvhdtest"

local q, run = support.q, support.run
local SECTOR <const> = 512
local MiB <const> = 1 << 20
local GiB <const> = 1 << 30
local SIZE <const> = 7 * MiB + 5 * SECTOR -- the last block is a part of one
local TYPES <const> = { "raw", "fixed", "dynamic", "differencing" }

local dir, engine, root, child, content

-- A disk with data at odd places: single sectors, a whole block, the border
-- of two, the very end; sectors of zeros that were written.
local function scribble(disk, tag)
  for _, s in ipairs{ 0, 9, 4095, 4096, 14339, 14340, disk.size // SECTOR - 1 }
  do
    disk:put(s, vhdwrite.pattern(tag, s))
  end
  for s = 8192, 12287 do
    disk:put(s, vhdwrite.pattern(tag, s))
  end
  disk:put(100, ("\0"):rep(3 * SECTOR))
  return disk
end

before_each(function()
  dir = support.tmpdir()
  engine = lvhd.engine{ threads = 1, sync = "none" }
  root = scribble(vhdwrite.new{ size = SIZE }, 1)
  root:save(dir .. "/root.vhd")
  child = vhdwrite.new{ parent = root, block_size = 65536 }
  child:put(9, ("\0"):rep(SECTOR)) -- zero here, and not in the parent
  child:put(5000, ("c"):rep(3 * SECTOR))
  child:put(8192, root:read(8192 * SECTOR, SECTOR)) -- as the parent's
  child:save(dir .. "/child.vhd")
  content = child:read(0, SIZE)
end)

after_each(function()
  engine:close()
end)

local function convert(source, name, opts)
  return engine:convert(source, dir .. "/" .. name, opts):wait()
end

local function same(want, got, what)
  if want ~= got then
    local at = 1
    while want:byte(at) == got:byte(at) do
      at = at + 1
    end
    error(("%s: %d bytes, want %d; differs at byte %d"):format(what, #got,
      #want, at - 1), 2)
  end
end

local function ours(path)
  local disk <close> = lvhd.open(path, { parents = { dir } })
  return disk:read(0, disk:info().size) or ""
end

-- What other programs read.
local function judge(path, kind, want)
  if kind == "raw" then
    same(want, support.read(path), path)
    return
  end
  same(want, ours(path), path .. " by lvhd")
  local out = dir .. "/judged"
  run(("7zz x -tvhd -so %s > %s"):format(q(path), q(out)))
  same(want, support.read(out), path .. " by 7-Zip")
  if kind ~= "differencing" then
    run(("qemu-img convert -f vpc -O raw %s %s"):format(q(path), q(out)))
    same(want, support.read(out), path .. " by QEMU")
  end
  os.remove(out)
  local info = engine:check(path, { data = true, parents = { dir } }):wait()[1]
  for _, finding in ipairs(info.findings) do
    assert.equal("note", finding.severity, path .. ": " .. finding.message)
  end
end

local function bits(path, block)
  local disk = vhdread.open(path)
  local entry = string.unpack(">I4", disk.bat, 4 * block + 1)
  if entry == 0xFFFFFFFF then
    return nil
  end
  local set = {}
  for i, byte in ipairs{ vhdread.bytes(path, entry * SECTOR,
    disk.bitmap_size):byte(1, -1) } do
    for k = 0, 7 do
      if byte & (0x80 >> k) ~= 0 then
        set[#set + 1] = (i - 1) * 8 + k
      end
    end
  end
  return set
end

local function on_disk(path)
  return tonumber(run("stat -c %b " .. q(path))) * 512
end

-- ---------------------------------------------------------------------------

describe("convert", function()
  it("makes every type of every type, with the same content", function()
    local from = { differencing = dir .. "/child.vhd" }
    for _, kind in ipairs{ "raw", "fixed", "dynamic" } do
      from[kind] = dir .. "/source." .. kind
      convert(dir .. "/child.vhd", "source." .. kind, { to = kind })
    end
    for _, kind in ipairs(TYPES) do
      for _, to in ipairs(TYPES) do
        local name = kind .. "-" .. to
        local info = convert(from[kind], name, { to = to,
          from = kind == "raw" and "raw" or "vhd",
          parent = to == "differencing" and dir .. "/root.vhd" or nil })
        assert.equal(to, info.type)
        assert.equal(dir .. "/" .. name, info.path)
        assert.equal(SIZE, info.size)
        assert.equal(vhdread.length(info.path), info.file_size)
        assert.is_true(info.created)
        judge(info.path, to, content)
      end
    end
  end)

  it("tells of the new file what info tells", function()
    for _, to in ipairs{ "fixed", "dynamic", "differencing" } do
      local info = convert(dir .. "/child.vhd", to, { to = to,
        parent = to == "differencing" and dir .. "/root.vhd" or nil })
      local read = engine:info(info.path)
      for _, key in ipairs{ "path", "type", "size", "original_size",
        "file_size", "block_size", "blocks", "blocks_used", "alignment",
        "uuid", "timestamp", "mtime", "lockable", "creator" } do
        assert.same(read[key], info[key], to .. " " .. key)
      end
    end
    local raw = convert(dir .. "/child.vhd", "x.raw", { to = "raw" })
    assert.equal(tonumber(run("stat -c %Y " .. q(raw.path))), raw.mtime)
    assert.equal(SIZE, raw.file_size)
    assert.is_true(raw.free > 0)
  end)

  it("is to dynamic, unless told", function()
    assert.equal("dynamic", convert(dir .. "/child.vhd", "a.vhd").type)
  end)

  it("takes the options of the creators", function()
    local uuid = "3f6c1e2a-0000-4000-8000-0123456789ab"
    local info = convert(dir .. "/root.vhd", "new/deep/a.vhd", { uuid = uuid,
      timestamp = 1600000000, mode = "0640", block_size = 512 << 10,
      sync = "full" })
    assert.equal(uuid, info.uuid)
    assert.equal(1600000000, info.timestamp)
    assert.equal(1600000000, info.mtime)
    assert.equal(512 << 10, info.block_size)
    assert.equal("640\n", run("stat -c %a " .. q(info.path)))
    judge(info.path, "dynamic", root:read(0, SIZE))
  end)

  it("reads chains of every shape, their roots fixed or dynamic", function()
    for seed = 1, 12 do
      local sub = dir .. "/" .. seed
      assert(test.mkdir(sub))
      local leaf = chains.make(seed, sub, { judge = "vhdread" })
      local ok, err = pcall(function()
        local raw = engine:convert(leaf.path, sub .. "/out.raw",
          { to = "raw" }):wait()
        assert.is_nil(chains.difference(leaf, support.read(raw.path)))
        if leaf.size >= 3 * MiB then
          local vhd = engine:convert(leaf.path, sub .. "/out.vhd"):wait()
          judge(vhd.path, "dynamic", leaf:read(0, leaf.size))
        end
      end)
      assert(ok, ("seed %d: %s\n%s"):format(seed, err, chains.story(leaf)))
    end
  end)

  it("finds the image's folder by the source, then by base", function()
    local info = engine:convert(dir .. "/root.vhd", "beside.vhd"):wait()
    assert.equal(dir .. "/beside.vhd", info.path)
    local sub = dir .. "/sub"
    assert(test.mkdir(sub))
    local was = test.cwd()
    assert(test.chdir(dir))
    local ok, err = pcall(function()
      info = engine:convert("root.vhd", "a.vhd", { base = sub }):wait()
      assert.equal(sub .. "/a.vhd", info.path)
      expect.both("E_BAD_PATHNAME", "PATH_RELATIVE", function(opts)
        -- strings are looked at by the call in any case
        opts.preflight = true
        return engine:convert("root.vhd", "b.vhd", opts)
      end)
    end)
    assert(test.chdir(was))
    assert(ok or tostring(err):find("expected a task"), err)
  end)

  it("finds a relative parent from the new file's folder", function()
    assert(test.mkdir(dir .. "/sub"))
    local info = engine:convert(dir .. "/child.vhd", dir .. "/sub/a.vhd",
      { to = "differencing", parent = "../root.vhd",
        parents = { dir } }):wait()
    assert.equal(dir .. "/root.vhd", info.parent.path)
    assert.equal("root.vhd", info.parent.name)
  end)
end)

-- ---------------------------------------------------------------------------

describe("bits and blocks", function()
  it("of a dynamic disk are those of sectors that are not zero", function()
    local info = convert(dir .. "/child.vhd", "a.vhd")
    assert.same({ 0, 4095 }, bits(info.path, 0))
    assert.same({ 0, 904, 905, 906 }, bits(info.path, 1))
    assert.equal(4096, #bits(info.path, 2))
    assert.same({ 14339 - 12288, 14340 - 12288 }, bits(info.path, 3))
    assert.equal(4, info.blocks_used)
  end)

  it("lie packed, the first block's data on 4 KiB", function()
    local info = convert(dir .. "/child.vhd", "a.vhd")
    local bat = vhdread.open(info.path).bat
    local first = string.unpack(">I4", bat) * SECTOR
    assert.equal(0, (first + SECTOR) % 4096)
    for i = 0, 3 do
      assert.equal(first + i * (2 * MiB + SECTOR),
        string.unpack(">I4", bat, 4 * i + 1) * SECTOR)
    end
    assert.equal(first + 4 * (2 * MiB + SECTOR) + SECTOR, info.file_size)
  end)

  it("of zeros are not there", function()
    local file = dir .. "/a.raw"
    support.write(file, ("\0"):rep(6 * MiB) .. ("\0"):rep(700) .. "x"
      .. ("\0"):rep(2 * MiB - 701))
    local info = convert(file, "a.vhd", { from = "raw" })
    assert.equal(1, info.blocks_used)
    assert.equal(4096, info.alignment)
    assert.is_nil(bits(info.path, 0))
    assert.same({ 1 }, bits(info.path, 3))
    support.write(file, ("\0"):rep(6 * MiB))
    info = convert(file, "b.vhd", { from = "raw" })
    assert.equal(0, info.blocks_used)
    assert.equal(1536 + 512 + 512, info.file_size)
  end)

  it("of a differencing disk are those that differ, zeros too", function()
    local info = convert(dir .. "/child.vhd", "a.vhd",
      { to = "differencing", parent = dir .. "/root.vhd" })
    assert.same({ 9 }, bits(info.path, 0))
    assert.same({ 904, 905, 906 }, bits(info.path, 1))
    assert.is_nil(bits(info.path, 2))
    assert.is_nil(bits(info.path, 3))
    assert.equal(2, info.blocks_used)
    -- the same of a source that shares no file with the parent
    local flat = convert(dir .. "/child.vhd", "flat.raw", { to = "raw" })
    info = convert(flat.path, "b.vhd", { from = "raw", to = "differencing",
      parent = dir .. "/root.vhd" })
    assert.same({ 9 }, bits(info.path, 0))
    assert.same({ 904, 905, 906 }, bits(info.path, 1))
    assert.is_nil(bits(info.path, 2))
    judge(info.path, "differencing", content)
    -- an empty source hides all that the parent has
    local empty = dir .. "/empty.raw"
    support.write(empty, "")
    run(("truncate -s %d %s"):format(SIZE, q(empty)))
    info = convert(empty, "c.vhd", { from = "raw", to = "differencing",
      parent = dir .. "/root.vhd" })
    assert.same({ 0, 9, 4095 }, bits(info.path, 0))
    judge(info.path, "differencing", ("\0"):rep(SIZE))
  end)

  it("compare with the parent's parents, too", function()
    local info = convert(dir .. "/root.vhd", "a.vhd",
      { to = "differencing", parent = dir .. "/child.vhd" })
    assert.equal(65536, info.block_size)
    assert.same({ 9 }, bits(info.path, 0))
    judge(info.path, "differencing", root:read(0, SIZE))
  end)

  it("of a child among grandchildren: only its own layers differ", function()
    local leaf = vhdwrite.new{ parent = child, block_size = 524288 }
    leaf:put(77, ("l"):rep(SECTOR))
    leaf:save(dir .. "/leaf.vhd")
    local info = convert(dir .. "/leaf.vhd", "a.vhd",
      { to = "differencing", parent = dir .. "/root.vhd" })
    assert.same({ 9, 77 }, bits(info.path, 0))
    judge(info.path, "differencing", leaf:read(0, SIZE))
  end)
end)

-- ---------------------------------------------------------------------------

describe("zeros and holes", function()
  local file, size

  -- 64 KiB of data at 4 MiB and at 20 MiB; zeros are written at 8 MiB.
  before_each(function()
    file, size = dir .. "/s.raw", 32 * MiB
    local f <close> = assert(io.open(file, "wb"))
    for _, at in ipairs{ 4, 20 } do
      f:seek("set", at * MiB)
      f:write(("d"):rep(65536))
    end
    f:seek("set", 8 * MiB)
    f:write(("\0"):rep(4 * MiB))
    f:close()
    run(("truncate -s %d %s"):format(size, q(file)))
  end)

  it("stay holes, and written zeros become holes", function()
    run("sync " .. q(file)) -- XFS and btrfs count no earlier
    assert.is_true(on_disk(file) >= 4 * MiB)
    local seen = file
    for _, to in ipairs{ "dynamic", "raw", "fixed", "raw" } do
      local kind = seen:match("raw$") and "raw" or "vhd"
      seen = convert(seen, "z" .. #seen .. "." .. to,
        { from = kind, to = to }).path
      assert.is_true(on_disk(seen) < 256 * 1024, seen)
    end
    for _, to in ipairs{ "raw", "fixed" } do
      local shares = support.sh(("cp --reflink=always %s %s"):format(q(file),
        q(dir .. "/shared")))
      local path = convert(file, "w." .. to, { from = "raw", to = to }).path
      -- what is shared keeps its zeros, and has no bytes of its own
      assert.is_true(shares or on_disk(path) < 256 * 1024, path)
      assert.is_true(run(("cmp -n %d %s %s"):format(size, q(file), q(path)))
        == "")
    end
    assert.is_true(run("cmp " .. q(file) .. " " .. q(seen)) == "")
  end)

  it("are not read", function()
    local system = test.system()
    local own = lvhd.engine{ threads = 1, system = system:pointer(),
      sync = "none" }
    own:convert(file, dir .. "/a.vhd", { from = "raw" }):wait()
    -- 64 KiB twice, and the zeros that stand there
    assert.is_true(system:count("pread") <= 8, system:count("pread"))
    own:close()
    system:drop()
  end)

  it("take space where that is asked for", function()
    for _, to in ipairs{ "raw", "fixed" } do
      for _, how in ipairs{ "zero", "reserve" } do
        local ok, info = pcall(convert, file, to .. how,
          { from = "raw", to = to, allocate = how })
        if ok then
          assert.is_true(on_disk(info.path) >= size, to .. " " .. how)
          assert.is_true(run(("cmp -n %d %s %s"):format(size, q(file),
            q(info.path))) == "")
        else
          assert.equal("E_NOTIMPL", info.name)
          assert.equal("reserve", how)
        end
      end
    end
  end)

  it("of 2,040 GiB are passed in no time", function()
    local huge = 2040 * GiB
    local leaf = vhdwrite.new{ size = huge }
    leaf:put(0, ("a"):rep(SECTOR))
    leaf:put(huge // SECTOR - 1, ("z"):rep(SECTOR))
    -- both sides of where the BAT is written in pieces
    leaf:put(262144 * 4096 - 1, ("m"):rep(2 * SECTOR))
    leaf:save(dir .. "/h.vhd")
    local raw = convert(dir .. "/h.vhd", "h.raw", { to = "raw" })
    assert.equal(huge, raw.file_size)
    local back = convert(raw.path, "b.vhd", { from = "raw" })
    assert.equal(4, back.blocks_used)
    assert.same({ 4095 }, bits(back.path, huge // (2 * MiB) - 1))
    assert.same({ 4095 }, bits(back.path, 262143))
    assert.same({ 0 }, bits(back.path, 262144))
    assert.is_true(on_disk(raw.path) <= 64 * 1024)
  end)

  -- The most memory that the process ever had, beside what it has.
  it("and data of any size take little memory #nosan", function()
    local function status(key)
      return tonumber(support.read(support.proc .. "/self/status")
        :match(key .. ":%s*(%d+)")) * 1024
    end
    run(("truncate -s %d %s"):format(2040 * GiB, q(file)))
    local code, text = test.fork(function()
      local own = lvhd.engine{ threads = 1, sync = "none" }
      local before = status("VmRSS")
      for i, to in ipairs{ "dynamic", "fixed", "raw", "dynamic" } do
        own:convert(i == 1 and file or dir .. "/" .. i - 1, dir .. "/" .. i,
          { from = (i == 1 or i == 4) and "raw" or "vhd", to = to,
            block_size = i == 4 and 512 << 10 or nil }):wait()
      end
      own:close()
      return tostring(status("VmHWM") - before)
    end)
    assert.equal(0, code, text)
    assert.is_true(tonumber(text) < 16 * MiB, text)
  end)
end)

-- ---------------------------------------------------------------------------

describe("much that is written", function()
  local want, system

  -- Data with gaps: some too short to be left out, some long; zeros at an end.
  before_each(function()
    local piece = ("m"):rep(MiB)
    local data = piece:rep(7) .. ("\0"):rep(20 * SECTOR)
      .. piece:sub(20 * SECTOR + 1) .. "x" .. ("\0"):rep(MiB - 1)
      .. piece:rep(11)
    want = data .. ("\0"):rep(8 * MiB) .. data
    support.write(dir .. "/source.raw", want)
    system = test.system()
    -- what the volume shares is not written
    system:fail{ call = "clone", errno = "EOPNOTSUPP", times = 0 }
  end)

  after_each(function()
    system:drop()
  end)

  local function calls(name)
    local list = {}
    for _, e in ipairs(system:log()) do
      if e.call == name then
        list[#list + 1] = e
      end
    end
    return list
  end

  local function each_type(sync, fn)
    for _, to in ipairs{ "raw", "fixed", "dynamic" } do
      local image = ("%s/much.%s"):format(dir, to)
      local own = lvhd.engine{ threads = 1, system = system:pointer(),
        sync = sync }
      system:forget()
      own:convert(dir .. "/source.raw", image, { from = "raw", to = to }):wait()
      own:close()
      fn(image, to)
      judge(image, to, want)
      os.remove(image)
    end
  end

  it("is reserved before, on ext4, and not a hole more", function()
    local volume = run("stat -f -c %T " .. q(dir))
    local ext4, xfs = volume:find("ext", 1, true), volume:find("xfs", 1, true)
    each_type("none", function(image, to)
      local reserved = calls("fallocate")
      local long = {}
      for _, e in ipairs(calls("pwritev")) do
        long[#long + 1] = e.length >= 65536 and e or nil
      end
      assert.is_true(#long >= 19) -- of 2 MiB, where it is a block
      assert.equal(ext4 and #long or 0, #reserved)
      for i, e in ipairs(reserved) do
        assert.equal(long[i].offset, e.offset)
        assert.equal(long[i].length, e.length)
      end
      -- 1 MiB - 1 of zeros twice, and 8 MiB: for blocks of a file system
      -- that lie on the borders, and its own
      -- (XFS reserves what is behind the end, up to the next block)
      local spared = (xfs and to == "dynamic" and 7 or 9) * MiB
      assert.is_true(on_disk(image) < #want - spared, on_disk(image))
    end)
  end)

  it("has its length first, or XFS would fill its holes", function()
    each_type("none", function(_, to)
      local first
      for _, e in ipairs(system:log()) do
        if e.call == "ftruncate" or e.call == "pwritev" then
          first = first or e
        end
      end
      assert.equal(to == "dynamic" and "pwritev" or "ftruncate", first.call)
      assert.is_true(to == "dynamic" or first.length >= #want)
    end)
  end)

  it("needs no reserve", function()
    for _, errno in ipairs{ "ENOSPC", "EOPNOTSUPP" } do
      local rule = system:fail{ call = "fallocate", errno = errno, times = 0 }
      each_type("none", function()
        assert.is_true(#calls("fallocate") <= 1)
      end)
      system:drop(rule)
    end
  end)

  it("is on its way to the disk before the flush", function()
    for _, sync in ipairs{ "data", "full" } do
      each_type(sync, function()
        local sent, written, flushed = 0, 0, false
        for _, e in ipairs(system:log()) do
          if e.call == "pwritev" then
            written = math.max(written, e.offset + e.length)
          elseif e.call == "send" then
            assert.is_false(flushed)
            assert.equal(sent, e.offset) -- all of it, once
            sent = e.offset + e.length
            assert.is_true(sent <= written - 8 * MiB)
          end
          flushed = flushed or e.call == "fsync" or e.call == "fdatasync"
        end
        assert.is_true(flushed)
        assert.is_true(sent >= 16 * MiB, sent)
      end)
    end
    each_type("none", function()
      assert.equal(0, system:count("send"))
    end)
  end)

  it("need not be on its way", function()
    system:fail{ call = "send", errno = "EIO", times = 0 }
    each_type("full", function()
      assert.equal(1, system:count("send"))
      assert.is_true(system:count("fsync") + system:count("fdatasync") > 0)
    end)
  end)
end)

-- ---------------------------------------------------------------------------

describe("a volume that can share", function()
  -- 4 MiB of data and 4 MiB of written zeros; sizes of whole pages and not.
  local function on_xfs(fn)
    if not support.is_root() then
      pending("mounting needs root")
    elseif not support.has("mkfs.xfs") then
      pending("mkfs.xfs is not installed")
    end
    local volume = dir .. "/volume"
    run(("truncate -s 400M %s/img && mkfs.xfs -q -m reflink=1 %s/img")
      :format(q(dir), q(dir)))
    assert(test.mkdir(volume))
    local mounted, why = support.sh(("mount -o loop %s/img %s")
      :format(q(dir), q(volume)))
    if not mounted then
      pending("cannot mount here: " .. why)
    end
    local ok, err = pcall(fn, volume)
    collectgarbage()
    collectgarbage()
    run("umount " .. q(volume))
    assert(ok, err)
  end

  it("shares the whole of raw and fixed disks #root", function()
    on_xfs(function(volume)
      local system = test.system()
      local own = lvhd.engine{ threads = 1, system = system:pointer() }
      for _, more in ipairs{ 0, SECTOR } do
        local raw = volume .. "/a.raw"
        support.write(raw, ("s"):rep(4 * MiB) .. ("\0"):rep(4 * MiB + more))
        local want = support.read(raw)
        system:forget()
        local fixed = own:convert(raw, volume .. "/a.vhd",
          { from = "raw", to = "fixed" }):wait()
        assert.equal(1, system:count("clone"))
        assert.equal(1, system:count("pwritev")) -- the footer
        judge(fixed.path, "fixed", want)
        system:forget()
        local back = own:convert(fixed.path, volume .. "/b.raw",
          { to = "raw", round = 64 * 1024 }):wait()
        -- behind the data of a fixed disk is its footer: whole pages only
        assert.equal(more == 0, system:count("pwritev") == 0)
        want = want .. ("\0"):rep(back.size - #want)
        judge(back.path, "raw", want)
        -- the two are apart from one another
        local f = assert(io.open(back.path, "r+b"))
        f:write("x")
        f:close()
        judge(fixed.path, "fixed", want:sub(1, fixed.size))
        -- nobody shares what is to be reserved or written
        system:forget()
        own:convert(raw, volume .. "/c.vhd", { from = "raw", to = "fixed",
          allocate = "zero" }):wait()
        assert.equal(0, system:count("clone"))
        run(("rm %s/*"):format(q(volume)))
      end
      own:close()
      system:drop()
    end)
  end)
end)

-- ---------------------------------------------------------------------------

describe("round", function()
  local file

  before_each(function()
    file = dir .. "/odd.raw"
    support.write(file, ("r"):rep(4 * MiB + 100))
  end)

  it("makes a size of one that is none", function()
    expect.both("E_INVALIDARG", "SIZE_UNALIGNED", function(opts)
      opts.from = "raw"
      return engine:convert(file, dir .. "/a.vhd", opts)
    end)
    for _, to in ipairs{ "raw", "fixed", "dynamic" } do
      for round, want in pairs{ [512] = 4 * MiB + 512, [MiB] = 5 * MiB } do
        local info = convert(file, to .. round, { from = "raw", to = to,
          round = round })
        assert.equal(want, info.size)
        judge(info.path, to, ("r"):rep(4 * MiB + 100)
          .. ("\0"):rep(want - 4 * MiB - 100))
      end
    end
  end)

  it("is a power of two from 512 to 1 GiB", function()
    for _, round in ipairs{ 1, 256, 511, 1000, 3 * 512, 2 * GiB } do
      expect.refused("E_INVALIDARG", "ROUND_RANGE", engine.convert, engine,
        file, dir .. "/a.vhd", { from = "raw", round = round })
    end
  end)
end)

-- ---------------------------------------------------------------------------

-- Nothing is left of what was refused, and the source stays as it was.
local function refused(name, reason, source, opts, dest)
  local err
  expect.unchanged(dir, function()
    err = expect.both(name, reason, function(more)
      for k, v in pairs(opts or {}) do
        more[k] = v
      end
      return engine:convert(source, dest or dir .. "/new/a.vhd", more)
    end)
  end)
  return err
end

describe("what is refused", function()
  it("a raw file that nobody called so, and a VHD that is none", function()
    local file = dir .. "/a.raw"
    support.write(file, ("r"):rep(4 * MiB))
    local err = refused("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", file)
    assert.equal(file, err.path)
  end)

  it("a source that is missing, a folder, or unreadable chain", function()
    local err = refused("E_PATH_NOT_FOUND", "FILE_MISSING",
      dir .. "/none.vhd")
    assert.equal(dir .. "/none.vhd", err.path)
    for _, from in ipairs{ "raw", "vhd" } do
      refused("VM_E_INVALID_HD_FILE", "NOT_REGULAR", dir, { from = from })
    end
    os.rename(dir .. "/root.vhd", dir .. "/elsewhere.vhd")
    err = refused("VM_E_PARENT_PATH_NOT_FOUND", nil, dir .. "/child.vhd")
    assert.equal(dir .. "/child.vhd", err.path)
  end)

  it("sizes that no VHD has, but for raw files", function()
    local small = dir .. "/small.raw"
    support.write(small, ("s"):rep(MiB))
    for _, to in ipairs{ "fixed", "dynamic" } do
      local err = refused("VM_E_IMAGE_SIZE_TOO_SMALL", "SIZE_LIMIT", small,
        { from = "raw", to = to })
      assert.equal(small, err.path)
      assert.equal(MiB, err.actual)
    end
    assert.equal(MiB, convert(small, "b.raw", { from = "raw",
      to = "raw" }).size)
    support.write(small, "")
    refused("VM_E_IMAGE_SIZE_TOO_SMALL", "SIZE_LIMIT", small,
      { from = "raw" })
    assert.equal(0, convert(small, "c.raw", { from = "raw",
      to = "raw" }).size)
    run(("truncate -s %d %s"):format(2040 * GiB + SECTOR, q(small)))
    refused("VM_E_IMAGE_SIZE_TOO_LARGE", "SIZE_LIMIT", small,
      { from = "raw" })
  end)

  it("a parent that is missing, not wanted, or of another size", function()
    local source = dir .. "/child.vhd"
    expect.refused("E_POINTER", "NO_PARENT_GIVEN", engine.convert, engine,
      source, dir .. "/a.vhd", { to = "differencing" })
    expect.refused("E_INVALIDARG", "PARENT_NOT_WANTED", engine.convert,
      engine, source, dir .. "/a.vhd", { parent = dir .. "/root.vhd" })
    refused("E_PATH_NOT_FOUND", nil, source, { to = "differencing",
      parent = dir .. "/none.vhd" })
    local other = lvhd.create_dynamic(dir .. "/other.vhd", 8 * MiB):wait()
    local err = refused("VM_E_HD_IMAGE_OPEN_FAIL", "PARENT_SIZE", source,
      { to = "differencing", parent = other.path })
    assert.equal(SIZE, err.expected)
    assert.equal(8 * MiB, err.actual)
    assert.equal(other.path, err.parent)
  end)

  it("names that new files may not have, and names that are taken",
    function()
      local source = dir .. "/root.vhd"
      expect.refused("E_INVALID_NAME", nil, engine.convert, engine, source,
        dir .. "/a?.vhd")
      expect.refused("E_BUFFER_OVERFLOW", nil, engine.convert, engine,
        source, dir .. "/" .. ("a"):rep(250) .. ".vhd")
      expect.refused("E_POINTER", nil, engine.convert, engine, source, nil)
      local err = refused("E_ALREADY_EXISTS", nil, source, {}, source)
      assert.equal(source, err.path)
    end)

  it("a source, or a parent of it, that someone writes", function()
    for _, name in ipairs{ "root.vhd", "child.vhd" } do
      local path = dir .. "/" .. name
      local fd = test.lock(path, "read", 101, 1)
      local err = refused("E_SHARING_VIOLATION", "IN_USE",
        dir .. "/child.vhd")
      assert.equal(path, err.path)
      test.close(fd)
    end
    local fd = test.lock(dir .. "/root.vhd", "read", 101, 1)
    local err = refused("E_SHARING_VIOLATION", "IN_USE", dir .. "/root.vhd",
      { from = "raw", to = "raw", round = 512 })
    assert.equal(dir .. "/root.vhd", err.path)
    test.close(fd)
    convert(dir .. "/child.vhd", "a.vhd")
  end)
end)

-- ---------------------------------------------------------------------------

describe("if_exists = keep", function()
  it("keeps what has the type and the size", function()
    local source = dir .. "/child.vhd"
    for _, to in ipairs(TYPES) do
      local opts = { to = to, if_exists = "keep",
        parent = to == "differencing" and dir .. "/root.vhd" or nil }
      local info = convert(source, "k." .. to, opts)
      assert.is_true(info.created)
      local again = convert(source, "k." .. to, opts)
      assert.is_false(again.created)
      assert.equal(to, again.type)
      assert.equal(info.size, again.size)
      assert.equal(info.mtime, again.mtime)
      opts.round = MiB
      if to ~= "differencing" then
        expect.both("E_ALREADY_EXISTS", "OTHER_DISK", function(more)
          for k, v in pairs(opts) do
            more[k] = v
          end
          return engine:convert(source, info.path, more)
        end)
      end
    end
    expect.fails("E_ALREADY_EXISTS", "OTHER_DISK", convert, source, "k.fixed",
      { if_exists = "keep" })
  end)
end)

-- ---------------------------------------------------------------------------

describe("an interrupted convert", function()
  local system, own, file

  before_each(function()
    system = test.system()
    own = lvhd.engine{ threads = 1, system = system:pointer() }
    file = dir .. "/a.raw"
    support.write(file, ("r"):rep(16 * MiB))
  end)

  after_each(function()
    system:drop()
    own:close()
  end)

  it("leaves nothing, whichever call fails, and says where", function()
    local failures = 0
    for _, to in ipairs(TYPES) do
      for _, call in ipairs{ "pread", "pwritev", "fstat", "fsync", "lseek",
        "linkat", "ftruncate" } do
        for nth = 1, 40, 3 do
          local ok, err
          local opts = { to = to, preflight = false,
            parent = to == "differencing" and dir .. "/root.vhd" or nil }
          local before = expect.tree(dir)
          -- 7-Zip looks for parents beside the child and below
          local image = dir .. (opts.parent and "" or "/new") .. "/a.vhd"
          system:fail{ call = call, nth = nth, errno = "EIO" }
          ok, err = expect.try(own.convert, own, dir .. "/child.vhd",
            image, opts)
          system:drop()
          if ok then
            judge(image, to, content)
            run(("rm -rf %s/new %s"):format(q(dir), q(image)))
            break
          end
          assert.is_true(lvhd.is_error(err), tostring(err))
          assert.is_string(err.path)
          assert.equal(call, err.syscall)
          assert.equal(before, expect.tree(dir))
          failures = failures + 1
        end
      end
    end
    assert.is_true(failures > 20, failures)
  end)

  it("by a full volume says where, and takes its folders away", function()
    expect.unchanged(dir, function()
      system:fail{ call = "pwritev", nth = 2, errno = "ENOSPC" }
      local err = expect.late("E_DISK_FULL", nil, own.convert, own, file,
        dir .. "/new/deep/a.vhd", { from = "raw" })
      assert.equal(dir .. "/new/deep/a.vhd", err.path)
      assert.is_true(err.offset > MiB)
    end)
  end)

  it("by a full volume, for real #root", function()
    if not support.is_root() then
      pending("mounting needs root")
    end
    local volume = dir .. "/volume"
    assert(test.mkdir(volume))
    if not support.sh("mount -t tmpfs -o size=12m tmpfs " .. q(volume)) then
      pending("cannot mount here")
    end
    local ok, err = pcall(function()
      local e = expect.late("E_DISK_FULL", nil, engine.convert, engine, file,
        volume .. "/new/a.vhd", { from = "raw" })
      assert.equal("ENOSPC", e.errname)
      assert.same({}, support.names(volume))
      assert.is_true(test.statfs(volume).free >= 12 * MiB)
    end)
    run("umount " .. q(volume))
    assert(ok, err)
  end)

  it("by a cancel in the middle leaves nothing", function()
    expect.unchanged(dir, function()
      system:hold{ call = "pwritev", nth = 3 }
      local task = own:convert(file, dir .. "/new/a.vhd", { from = "raw" })
      assert.is_true(system:await(1))
      assert.is_true(task:cancel())
      system:forget()
      system:drop()
      expect.fails("E_ABORT", nil, task.wait, task)
      assert.equal("cancelled", task:status())
      -- it does not go on for more than 4 MiB
      assert.is_true(system:count("pwritev") <= 4)
    end)
  end)

  it("by a source that someone changes meanwhile is told", function()
    for what, change in pairs{
      time = function()
        test.utime(file, 1500000000)
      end,
      longer = function()
        run("truncate -s +1M " .. q(file))
      end,
    } do
      system:hold{ call = "pwritev", nth = 2 }
      local task = own:convert(file, dir .. "/new/a.vhd", { from = "raw" })
      assert.is_true(system:await(1))
      change()
      system:drop()
      local err = expect.fails("E_SHARING_VIOLATION", "SOURCE_CHANGED",
        task.wait, task)
      assert.equal(file, err.path, what)
      assert.is_nil(test.stat(dir .. "/new"))
      support.write(file, ("r"):rep(16 * MiB))
    end
    system:hold{ call = "pwritev", nth = 2 }
    local task = own:convert(file, dir .. "/new/a.vhd", { from = "raw" })
    assert.is_true(system:await(1))
    run("truncate -s 1M " .. q(file))
    system:drop()
    local err = expect.fails("DISP_E_EXCEPTION", "FILE_CUT", task.wait, task)
    assert.equal(file, err.path)
    assert.is_nil(test.stat(dir .. "/new"))
  end)

  it("tells its progress honestly", function()
    system:hold{ call = "pwritev", nth = 3 }
    local task = own:convert(file, dir .. "/a.vhd", { from = "raw" })
    assert.is_true(system:await(1))
    local percent, bytes, total = task:progress()
    assert.equal(16 * MiB, total)
    assert.is_true(bytes >= 3 * MiB and bytes <= 6 * MiB, bytes)
    assert.equal(bytes * 100 // total, percent)
    system:drop()
    task:wait()
    percent, bytes = task:progress()
    assert.equal(100, percent)
    assert.equal(16 * MiB, bytes)
  end)
end)

-- An idle worker takes pieces, too.
describe("a conversion by two threads", function()
  local BIG <const> = 40 * MiB
  local UUID <const> = "3f6c1e2a-0000-4000-8000-0123456789ab"
  local source, parent, raw

  -- Runs of all lengths, some over the borders of pieces and loads.
  before_each(function()
    parent = vhdwrite.new{ size = BIG }
    for s = 0, BIG // SECTOR - 1, 1500 do
      for i = s, math.min(s + s % 701, BIG // SECTOR - 1) do
        parent:put(i, vhdwrite.pattern(3, i))
      end
    end
    parent:save(dir .. "/bigger.vhd")
    source = vhdwrite.new{ parent = parent, block_size = 65536 }
    for s = 77, BIG // SECTOR - 100, 3001 do
      source:put(s, vhdwrite.pattern(4, s):rep(s % 90 + 1))
    end
    source:save(dir .. "/leaf.vhd")
    raw = dir .. "/big.raw"
    support.write(raw, source:read(0, BIG))
  end)

  local function by(threads, from, name, opts)
    local own <close> = lvhd.engine{ threads = threads, sync = "none" }
    local all = { uuid = UUID, timestamp = 1600000000, parents = { dir } }
    for key, value in pairs(opts) do
      all[key] = value
    end
    local info = own:convert(from, dir .. "/" .. name, all):wait()
    return support.read(dir .. "/" .. name), info
  end

  it("is the one by one thread, byte for byte #tsan", function()
    for i, case in ipairs{
      { raw, { from = "raw" } }, { raw, { from = "raw", block_size = 524288 } },
      { raw, { from = "raw", to = "fixed" } },
      { raw, { from = "raw", to = "differencing",
        parent = dir .. "/bigger.vhd" } },
      { dir .. "/leaf.vhd", { to = "raw" } }, { dir .. "/leaf.vhd", {} },
      { dir .. "/leaf.vhd", { to = "fixed", allocate = "zero" } },
      { dir .. "/leaf.vhd", { to = "differencing",
        parent = dir .. "/bigger.vhd" } },
    } do
      local one, info = by(1, case[1], i .. "-1.vhd", case[2])
      local two, other = by(2, case[1], i .. "-2.vhd", case[2])
      same(one, two, "case " .. i)
      assert.equal(info.blocks_used, other.blocks_used)
      assert.equal(info.alignment, other.alignment)
    end
    same(source:read(0, BIG), ours(dir .. "/6-2.vhd"), "content")
    same(source:read(0, BIG), ours(dir .. "/8-2.vhd"), "content")
  end)

  -- The first 16 MiB are read by the task's own worker alone.  Read number 9
  -- stands still until the engine was looked at.
  local function while_reading(opts, least, look)
    local system = test.system()
    local own <close> = lvhd.engine{ threads = 2, sync = "none",
      system = system:pointer() }
    local rule = system:hold{ call = "pread", nth = 9, times = 1 }
    if opts.fails then
      system:fail{ call = "pread", nth = 9, errno = "EIO" }
    end
    local task = own:convert(raw, dir .. "/a.vhd",
      { from = "raw", to = opts.to })
    local held, stop = system:await(1), os.time() + 5
    while held and system:count("pread") < least and os.time() <= stop do
    end
    support.run("sleep 0.05")
    local reads, writes = system:count("pread"), system:count("pwritev")
    support.run("sleep 0.05")
    local later = system:count("pwritev")
    system:drop(rule) -- before anything is judged: the engine waits for it
    look(task, reads)
    assert.equal(writes, later)
  end

  it("goes on while one of them reads, and gives places in turn", function()
    while_reading({}, 10, function(task, reads)
      task:wait()
      assert.equal(10, reads) -- the piece behind has no place yet
    end)
    same(source:read(0, BIG), ours(dir .. "/a.vhd"), "content")
  end)

  it("goes on where places are known, but not for ever", function()
    while_reading({ to = "raw" }, 17, function(task, reads)
      task:wait()
      assert.equal(17, reads) -- then it is free for other tasks
    end)
    same(source:read(0, BIG), support.read(dir .. "/a.vhd"), "content")
  end)

  it("fails in one of them, and the other waits for no turn", function()
    while_reading({ fails = true }, 10, function(task)
      local ok, err = pcall(task.wait, task)
      assert.is_false(ok)
      assert.equal("DISP_E_EXCEPTION", err.name)
      assert.equal(5, err.errno) -- EIO
      assert.equal(raw, err.path)
    end)
    assert.is_nil(io.open(dir .. "/a.vhd"))
  end)
end)
