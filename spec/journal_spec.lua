-- SPDX-License-Identifier: MIT
--
-- The note beside a file (design 1.8): one that is its own is laid over the
-- file by who reads, and undone on the disk by who writes; anything else that
-- lies there is a finding, changes nothing that is read, refuses every change,
-- and is neither followed nor waited for nor written to.

local crashtest = require "crashtest"
local expect = require "spec.support.expect"
local journal = require "spec.support.journal"
local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"
local vhdwrite = require "spec.support.vhdwrite"

local SECTOR <const> = 512
local UUID <const> = vhdwrite.uuid(0x70001)
local OTHER <const> = vhdwrite.uuid(0x70002)
local MTIME <const> = 1700000000
local SIZE <const> = 4 << 20

local dir, image, note, disk, bytes, engine

before_each(function()
  dir = support.tmpdir()
  image, note = dir .. "/disk.vhd", dir .. "/.disk.vhd.lvhd-journal"
  disk = vhdwrite.new{ size = SIZE, block_size = 32 << 10, uuid = UUID,
    mtime = MTIME }
  for block = 0, 127, 9 do
    disk:put(block * 64 + 3, vhdwrite.pattern(1, block))
  end
  disk:save(image)
  bytes = support.read(image)
  engine = lvhd.engine{ threads = 1 }
  test.alarm(20) -- nothing may wait
end)

after_each(function()
  test.alarm(0)
  engine:close()
end)

local function codes(info)
  local list = {}
  for _, f in ipairs(info.findings) do
    list[f.code] = f.severity
  end
  return list
end

local function content(path)
  local open <close> = engine:open(path or image)
  return open:read(0, SIZE)
end

-- Everything that changes the image.
local CHANGES <const> = {
  write = function()
    local open <close> = engine:open(image, { write = true })
    open:write(0, "x")
  end,
  compact = function() engine:compact(image):wait() end,
  resize = function() engine:resize(image, 5 << 20):wait() end,
  repair = function() engine:repair(image):wait() end,
  merge = function()
    engine:merge(dir .. "/child.vhd"):wait()
  end,
}

-- A child, for merge: made now, with the image's time.
local function make_child()
  local child = vhdwrite.new{ parent = disk, uuid = vhdwrite.uuid(0x70003) }
  child:put(5, vhdwrite.pattern(2, 5))
  child:save(dir .. "/child.vhd")
end

-- What lies there is not the image's note.  same() compares it.
local function is_foreign(same)
  make_child()
  local names = table.concat(support.names(dir), " ")
  assert.is_true(disk:read(0, SIZE) == content())
  assert.equal("warning", codes(engine:info(image)).JOURNAL_FOREIGN)
  assert.is_truthy(codes(engine:check(image):wait()[1]).JOURNAL_FOREIGN)
  for name, change in pairs(CHANGES) do
    local ok, err = pcall(change)
    assert.is_false(ok, name)
    assert.is_true(lvhd.is_error(err, "VM_E_HD_IMAGE_ACCESS"),
      name .. ": " .. tostring(err))
    assert.equal("JOURNAL_FOREIGN", err.reason, name)
  end
  assert.is_true(bytes == support.read(image), "the image was changed")
  assert.equal(MTIME * 1000000000, test.stat(image).mtime)
  assert.equal(names, table.concat(support.names(dir), " "))
  if same then
    same()
  end
end

local function write_note(o)
  o.uuid = o.uuid or UUID
  o.length = o.length or #bytes
  support.write(note, journal.bytes(o))
end

local function foreign_note(o)
  write_note(o)
  local before = support.read(note)
  is_foreign(function()
    assert.is_true(before == support.read(note), "the note was changed")
  end)
end

-- ---- its own ----------------------------------------------------------------

describe("a note of the disk's own", function()
  -- The header and the BAT are as a verb may have left them; the old bytes
  -- stand in the note.
  local function half_done()
    local file <close> = assert(io.open(image, "r+b"))
    file:seek("set", 512)
    file:write(("?"):rep(1024 + 512))
    file:close()
    assert(test.utime(image, MTIME + 77))
    write_note{ verb = "relink", mtime = MTIME, pieces = {
      { 512, bytes:sub(513, 1536) }, { 1536, bytes:sub(1537, 2048) } } }
  end

  it("is laid over what is read; nothing on the disk is changed", function()
    half_done()
    local now, there = support.read(image), support.read(note)
    assert.is_true(disk:read(0, SIZE) == content())
    local info = engine:info(image)
    assert.equal("warning", codes(info).JOURNAL_USED)
    assert.equal(MTIME, info.mtime)
    for _, f in ipairs(engine:check(image, { data = true }):wait()[1]
      .findings) do
      assert.not_equal("error", f.severity, f.code)
    end
    assert.is_true(now == support.read(image))
    assert.is_true(there == support.read(note))
    assert.equal((MTIME + 77) * 1000000000, test.stat(image).mtime)
  end)

  it("is undone on the disk by who writes, and is gone", function()
    half_done()
    engine:open(image, { write = true }):close()
    assert.is_true(bytes == support.read(image))
    assert.equal(MTIME * 1000000000, test.stat(image).mtime)
    assert.is_nil(test.stat(note))
  end)

  it("serves the parent of a chain too, read only", function()
    make_child()
    half_done()
    local now = support.read(image)
    assert.is_true(vhdwrite.pattern(2, 5) == content(dir .. "/child.vhd")
      :sub(5 * SECTOR + 1, 6 * SECTOR))
    assert.is_true(now == support.read(image))
    assert.is_truthy(test.stat(note))
  end)

  it("beside a live writer is E_SHARING_VIOLATION", function()
    half_done()
    for _, byte in ipairs{ 101, 103 } do
      local fd = test.lock(image, "read", byte, 1)
      expect.fails("E_SHARING_VIOLATION", "IN_USE", content)
      expect.fails("E_SHARING_VIOLATION", "IN_USE", CHANGES.write)
      test.close(fd)
    end
    assert.is_true(disk:read(0, SIZE) == content())
  end)

  it("of a verb that had come to its end undoes nothing", function()
    write_note{ verb = "compact", mtime = MTIME, length = #bytes + 512,
      done = #bytes, pieces = { { 1536, ("\0"):rep(512) } } }
    assert.is_true(disk:read(0, SIZE) == content())
    engine:open(image, { write = true }):close()
    assert.is_true(bytes == support.read(image))
    assert.is_nil(test.stat(note))
  end)

  it("that is stale, with a time only, gives the time back and goes", function()
    assert(test.utime(image, MTIME + 5))
    write_note{ verb = "compact", mtime = MTIME }
    engine:compact(image):wait()
    assert.equal(MTIME * 1000000000, test.stat(image).mtime)
    assert.is_nil(test.stat(note))
    assert.is_true(disk:read(0, SIZE) == content())
  end)

  it("of a merge refuses what is not that merge, and force gives it up",
    function()
      write_note{ verb = "merge", mtime = MTIME, other = OTHER }
      make_child()
      for _, name in ipairs{ "write", "compact", "resize", "repair",
        "merge" } do
        expect.fails("E_SHARING_VIOLATION", "JOURNAL_PENDING", CHANGES[name])
      end
      assert.is_truthy(test.stat(note))
      engine:compact(image, { force = true }):wait()
      assert.is_nil(test.stat(note))
    end)

  it("of a merge refuses who would read the mixture by itself", function()
    write_note{ verb = "merge", mtime = MTIME, other = OTHER }
    assert.equal("warning", codes(engine:info(image)).MERGE_PENDING)
    expect.fails("E_SHARING_VIOLATION", "JOURNAL_PENDING", engine.open,
      engine, image)
    expect.fails("E_SHARING_VIOLATION", "JOURNAL_PENDING", function()
      engine:convert(image, dir .. "/new.vhd"):wait()
    end)
    assert.is_nil(test.stat(dir .. "/new.vhd"))
    local forced <close> = engine:open(image, { force = true })
    assert.is_true(disk:read(0, SIZE) == forced:read(0, SIZE))
  end)

  it("of a verb that changes no content does not disturb a reader", function()
    write_note{ verb = "compact", mtime = MTIME - 1000 }
    assert.equal("warning", codes(engine:info(image)).JOURNAL_USED)
    assert.is_true(disk:read(0, SIZE) == content())
    engine:convert(image, dir .. "/new.vhd"):wait()
    assert.is_true(disk:read(0, SIZE) == content(dir .. "/new.vhd"))
  end)

  -- (as raw: the disk is too small for a VHD of ours)
  it("is told by a copy of a child, if it is a merge of another one", function()
    make_child()
    for verb, code in pairs{ merge = "MERGE_PENDING", compact = "PARENT_TIME" } do
      write_note{ verb = verb, mtime = MTIME - 1000, other = OTHER }
      local info = engine:convert(dir .. "/child.vhd", dir .. "/new.raw",
        { to = "raw" }):wait()
      assert.equal("warning", codes(info)[code], verb)
      assert.equal(verb == "merge" and "warning" or nil,
        codes(info).MERGE_PENDING)
      os.remove(dir .. "/new.raw")
    end
  end)

  it("is told when a child is to be made of the disk", function()
    half_done()
    local err = expect.fails("E_SHARING_VIOLATION", "JOURNAL_PENDING",
      engine.create_differencing, engine, dir .. "/new.vhd", image)
    assert.is_nil(err.hint:find("force", 1, true)) -- it has no such option
    assert.is_nil(test.stat(dir .. "/new.vhd"))
  end)

  it("of a name too long is called by the identifier", function()
    local long = dir .. "/" .. ("n"):rep(250) .. ".vhd"
    assert(os.rename(image, long))
    local file <close> = assert(io.open(long, "r+b"))
    file:seek("set", 1536)
    file:write(("?"):rep(512))
    file:close()
    support.write(dir .. "/.lvhd-journal-" .. UUID, journal.bytes{
      verb = "relink", uuid = UUID, mtime = MTIME, length = #bytes,
      pieces = { { 1536, bytes:sub(1537, 2048) } } })
    assert.is_true(disk:read(0, SIZE) == content(long))
    engine:open(long, { write = true }):close()
    assert.is_true(bytes == support.read(long))
    assert.equal(1, #crashtest.list(dir))
  end)
end)

-- ---- not its own ------------------------------------------------------------

describe("a note that is not the disk's", function()
  it("but of another identifier", function()
    foreign_note{ uuid = OTHER, mtime = MTIME }
    foreign_note{ uuid = OTHER, mtime = MTIME,
      pieces = { { 1536, ("\0"):rep(512) } } }
  end)

  it("but of another disk, footers and all", function()
    local alien = vhdwrite.new{ size = SIZE, block_size = 32 << 10,
      uuid = OTHER }
    alien:save(dir .. "/alien.vhd")
    local footer = support.read(dir .. "/alien.vhd"):sub(1, 512)
    assert(os.remove(dir .. "/alien.vhd"))
    foreign_note{ uuid = OTHER, mtime = MTIME, verb = "resize",
      pieces = { { 0, footer }, { 1536, ("\xFF"):rep(512) },
        { #bytes - 512, footer } } }
  end)

  local good = { 1536, ("\xFF"):rep(512) }
  local wrong <const> = {
    ["another version"] = { version = 2 },
    ["another magic"] = { magic = "lvhdJRNL" },
    ["no known verb"] = { verb = "6" },
    ["a verb of 0"] = { verb = "0" },
    ["more pieces than there are"] = { count = 2, pieces = { good } },
    ["fewer pieces than there are"] = { count = 0, pieces = { good } },
    ["pieces without number"] = { count = 0xFFFFFFFF, pieces = { good } },
    ["another size"] = { size = 135 },
    ["a piece in the data"] = { pieces = { { 4096, ("\xEE"):rep(512) } } },
    ["a piece of data behind the BAT"] =
      { pieces = { { 1536, ("\xEE"):rep(1024) } } },
    ["a piece behind the file"] = { pieces = { { 1 << 40,
      ("\xEE"):rep(512) } } },
    ["a piece at the end of numbers"] = { pieces = { { math.maxinteger - 511,
      ("\xEE"):rep(512) } } },
    ["a negative place"] = { pieces = { { -512, ("\xEE"):rep(512) } } },
    ["a piece inside a sector"] = { pieces = { { 1537, ("\xEE"):rep(512) } } },
    ["a piece of no sector"] = { pieces = { { 1536, ("\xEE"):rep(100) } } },
    ["an empty piece"] = { pieces = { { 1536, "" } } },
    ["a piece longer than the note"] = { pieces = { { 1536, good[2], 1024 } } },
    ["a piece of 4 GiB"] = { pieces = { { 1536, good[2], 0xFFFFFE00 } } },
    ["pieces over each other"] = { pieces = { { 512, ("\xEE"):rep(1536) },
      { 1536, good[2] } } },
    ["pieces in no order"] = { pieces = { { 1536, good[2] },
      { 0, good[2] } } },
    ["a header that is none"] = { pieces = { { 512, ("\xEE"):rep(1024) } } },
    ["bytes behind"] = { spoil = function(b) return b .. "x" end },
  }
  for what, o in pairs(wrong) do
    it("but has " .. what, function()
      foreign_note(o)
    end)
  end

  it("but torn at any length", function()
    write_note{ mtime = MTIME, pieces = { good } }
    local whole = support.read(note)
    for n = 0, #whole - 1, 37 do
      support.write(note, whole:sub(1, n))
      assert.is_truthy(codes(engine:info(image)).JOURNAL_FOREIGN, n)
      assert.is_true(disk:read(0, SIZE) == content())
      expect.fails("VM_E_HD_IMAGE_ACCESS", "JOURNAL_FOREIGN", CHANGES.write)
    end
    support.write(note, whole:sub(1, 0))
    is_foreign()
  end)

  it("but flipped at any bit", function()
    write_note{ mtime = MTIME, pieces = { good } }
    local whole = support.read(note)
    for i = 1, #whole, 5 do
      local bit = 1 << i % 8
      support.write(note, whole:sub(1, i - 1)
        .. string.char(whole:byte(i) ~ bit) .. whole:sub(i + 1))
      assert.is_truthy(codes(engine:info(image)).JOURNAL_FOREIGN, i)
    end
    is_foreign()
  end)

  it("but huge", function()
    support.run("truncate -s 1T " .. note)
    is_foreign()
    assert.equal(1 << 40, test.stat(note).size)
  end)

  it("but a link, even to a good one", function()
    write_note{ mtime = MTIME, pieces = { { 1536, bytes:sub(1537, 2048) } } }
    assert(os.rename(note, dir .. "/real"))
    local before = support.read(dir .. "/real")
    assert(test.symlink(dir .. "/real", note))
    is_foreign(function()
      assert.equal("link", test.stat(note).type)
      assert.is_true(before == support.read(dir .. "/real"))
    end)
  end)

  it("but a link to nothing, which is not made", function()
    assert(test.symlink(dir .. "/nothing", note))
    is_foreign(function()
      assert.is_nil(test.stat(dir .. "/nothing"))
    end)
  end)

  it("but a FIFO, a link to one, a socket, a folder, a device", function()
    local function one(make, remove)
      make()
      is_foreign()
      assert((remove or os.remove)(note))
    end
    one(function() assert(test.mkfifo(note)) end)
    one(function()
      assert(test.mkfifo(dir .. "/pipe"))
      assert(test.symlink(dir .. "/pipe", note))
    end)
    one(function() assert(test.mkdir(note)) end)
    if support.is_root() then
      one(function() support.run("mknod " .. note .. " c 1 5") end)
    end
  end)

  it("but another user's #root", function()
    if not support.is_root() then
      pending("changing owners needs root")
    end
    write_note{ mtime = MTIME, pieces = { { 1536, bytes:sub(1537, 2048) } } }
    support.run("chown 12345 " .. note)
    is_foreign()
    -- the owner of both is the same again
    support.run("chown 12345 " .. image)
    assert.is_truthy(codes(engine:info(image)).JOURNAL_USED)
  end)

  it("but made by someone in the moment before the first write", function()
    local system = test.system()
    local own = lvhd.engine{ threads = 1, system = system:pointer() }
    for _, call in ipairs{ "linkat", "renameat2" } do
      if call == "renameat2" then -- a volume without unnamed files
        system:fail{ call = "openat", flags = test.O_TMPFILE,
          errno = "EOPNOTSUPP", times = 0 }
      end
      system:hold{ call = call }
      local task = own:resize(image, 5 << 20)
      assert.is_true(system:await(1), tostring(task:error()))
      support.write(note, "mine")
      system:drop()
      expect.fails("VM_E_HD_IMAGE_ACCESS", "JOURNAL_FOREIGN", task.wait, task)
      assert.equal("mine", support.read(note))
      assert.is_true(bytes == support.read(image))
      assert(os.remove(note))
    end
    own:close()
    assert.same({ "disk.vhd" }, support.names(dir))
  end)
end)
