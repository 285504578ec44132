-- SPDX-License-Identifier: MIT
--
-- What once went wrong with disks that are changed, found by an attack: notes
-- of interrupted work that stood in the way of others, users who may write a
-- file but do not own it, messages that named the wrong cause, sizes that QEMU
-- rounds, and a change that no child could see by its parent's time.

local crashtest = require "crashtest"
local expect = require "spec.support.expect"
local lvhd = require "lvhd"
local qemu = require "spec.support.qemu"
local support = require "spec.support"
local test = require "lvhdtest"
local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"

local MiB <const> = 1 << 20
local SIZE <const> = 4 * MiB
local BLOCK <const> = 32 << 10
local MTIME <const> = 1700000000
local NS <const> = 1000000000
local NOBODY <const> = 65534
local CHANGES <const> = 200 -- more than any of the verbs here makes

local dir, base, child, note, parent, leaf

-- base.vhd and its child: both have blocks, and the child one of its own.
before_each(function()
  dir = support.tmpdir()
  base, child = dir .. "/base.vhd", dir .. "/child.vhd"
  note = dir .. "/.base.vhd.lvhd-journal"
  parent = vhdwrite.new{ size = SIZE, block_size = BLOCK, mtime = MTIME }
  for _, block in ipairs{ 127, 3, 0 } do
    parent:put(block * 64 + 7, vhdwrite.pattern(1, block))
  end
  parent:keep(5, true) -- zeros: for compact
  parent:save(base)
  leaf = vhdwrite.new{ parent = parent }
  leaf:put(3 * 64, vhdwrite.pattern(2, 1))
  leaf:put(9 * 64, vhdwrite.pattern(2, 2))
  leaf:save(child)
end)

local function with_engine(fn, system)
  local engine = lvhd.engine{ threads = 2,
    system = system and system:pointer() }
  local result = table.pack(pcall(fn, engine))
  engine:close()
  if not result[1] then
    error(result[2], 0)
  end
  return table.unpack(result, 2, result.n)
end

local function content(path, parents)
  return with_engine(function(engine)
    local disk <close> = engine:open(path, { parents = parents })
    return disk:read(0, disk:size())
  end)
end

local function codes(path)
  local list = {}
  for _, f in ipairs(lvhd.info(path).findings) do
    list[f.code] = f.severity
  end
  return list
end

-- ---- kill -9 --------------------------------------------------------------

-- act(engine) in a process of its own, of that user, which kills itself just
-- before its n-th change (nil: never).  True: it was killed; else what it
-- said.
local function run_as(user, n, act)
  local status, text = test.fork(function()
    local rec = crashtest.recorder()
    if user ~= 0 then
      assert(test.user(user))
    end
    if n then
      rec:die(n)
    end
    return with_engine(function(engine)
      local ok, err = pcall(act, engine)
      return ok and 0 or tostring(err)
    end, rec)
  end)
  if status == nil then
    return true
  end
  return status == 0 and text or ("exit %d: %s"):format(status, text)
end

-- Kills act before each of its changes; look() follows where a note is left.
-- How often that was.
local function killed_everywhere(user, reset, act, look)
  local left = 0
  for n = 1, CHANGES do
    reset()
    local how = run_as(user, n, act)
    if how ~= true then
      assert.equal("", how)
      return left
    end
    if test.stat(note) then
      left = left + 1
      look()
    end
  end
  error("the work never came to its end")
end

-- The files of the folder as they are now, for as often as one likes.
local function keeper()
  support.run(("mkdir -p %s/.kept && cp -a %s/*.vhd %s/.kept/"):format(dir,
    dir, dir))
  return function()
    for _, name in ipairs(support.names(dir)) do
      if name:find("%.vhd$") or name:find("%.lvhd%-journal$") then
        os.remove(dir .. "/" .. name)
      end
    end
    for _, name in ipairs(support.names(dir .. "/.kept")) do
      support.copy(dir .. "/.kept/" .. name, dir .. "/" .. name)
    end
  end
end

describe("a note beside a parent", function()
  -- What a careful user does first: he copies the child's content elsewhere.
  local function rescued()
    local all = leaf:read(0, SIZE)
    assert.is_true(all == content(child))
    local copy = dir .. "/copy.vhd"
    lvhd.convert(child, copy, { sync = "none" }):wait()
    assert.is_true(all == content(copy))
    assert(os.remove(copy))
  end

  it("of a merge that was killed lets the child be read and converted",
    function()
      local left = killed_everywhere(0, keeper(), function(engine)
        engine:merge(child):wait()
      end, function()
        if test.stat(child) and codes(base).MERGE_PENDING then
          rescued()
        end
      end)
      assert.is_true(left >= 5, left .. " notes")
    end)

  it("of a compact that was killed lets the child be read and converted",
    function()
      local left = killed_everywhere(0, keeper(), function(engine)
        engine:compact(base):wait()
      end, function()
        assert.is_truthy(codes(base).JOURNAL_USED)
        -- it reads as before, at its old length or at its new one
        for _, disk in ipairs(lvhd.check(child, { chain = true }):wait()) do
          for _, f in ipairs(disk.findings) do
            assert.not_equal("PARENT_TIME", f.code)
          end
        end
        rescued()
      end)
      assert.is_true(left >= 5, left .. " notes")
    end)

  -- Runs act until it is killed where it leaves a note, and the file with
  -- another time than `mtime`.
  local function left_by(act, mtime)
    local reset = keeper()
    for n = 1, CHANGES do
      reset()
      if run_as(0, n, act) ~= true then
        break
      elseif test.stat(note) and test.stat(base).mtime // NS ~= mtime then
        return
      end
    end
    error("no note was left")
  end

  local function compact(engine)
    engine:compact(base):wait()
  end

  it("does not count for an older copy that was put back", function()
    left_by(compact)
    for _, finding in ipairs(lvhd.info(base).findings) do
      assert.is_nil(finding.expected) -- that is a merge's
    end
    assert(test.utime(base, MTIME - 100))
    assert.is_truthy(codes(base).JOURNAL_FOREIGN)
    local err = expect.fails("VM_E_PARENT_MODIFIED", nil, lvhd.compact, child)
    assert.equal(child, err.path)
    expect.fails("VM_E_HD_IMAGE_ACCESS", "JOURNAL_FOREIGN", lvhd.compact, base)
  end)

  it("counts where the time was in the future", function()
    local soon = os.time() + 100000
    assert(test.utime(base, soon))
    left_by(compact, soon)
    assert.is_true(test.stat(base).mtime // NS < soon)
    assert.is_truthy(codes(base).JOURNAL_USED)
    lvhd.compact(base):wait()
    assert.equal(soon, test.stat(base).mtime // NS)
  end)

  it("counts where a copy rounded the time", function()
    local now = os.time()
    assert(test.utime(base, now))
    left_by(compact)
    assert(test.utime(base, now - 2))
    assert.is_truthy(codes(base).JOURNAL_USED)
    assert(test.utime(base, now - 3))
    assert.is_truthy(codes(base).JOURNAL_FOREIGN)
  end)

  it("of another disk lets children be made", function()
    left_by(compact)
    local other = dir .. "/other.vhd"
    lvhd.create_dynamic(other, SIZE):wait()
    assert(os.rename(note, dir .. "/.other.vhd.lvhd-journal"))
    assert.is_truthy(codes(other).JOURNAL_FOREIGN)
    lvhd.create_differencing(dir .. "/new.vhd", other):wait()
    -- its own note does not
    assert(os.rename(dir .. "/.other.vhd.lvhd-journal", note))
    expect.refused("E_SHARING_VIOLATION", "JOURNAL_PENDING",
      lvhd.create_differencing, dir .. "/new2.vhd", base)
    -- nor does it when nobody can tell whose it is
    local bytes = support.read(base)
    support.write(base, ("\0"):rep(512) .. bytes:sub(513, -513)
      .. ("\0"):rep(512))
    expect.refused("E_SHARING_VIOLATION", "JOURNAL_PENDING",
      lvhd.create_differencing, dir .. "/new2.vhd", base)
  end)

  it("of a compact that was killed gives a forced relink its time",
    function()
      local function parent_time()
        for _, disk in ipairs(lvhd.check(child, { chain = true }):wait()) do
          for _, f in ipairs(disk.findings) do
            if f.code == "PARENT_TIME" then return true end
          end
        end
        return false
      end
      local left = killed_everywhere(0, keeper(), compact, function()
        lvhd.relink(child, base, { force = true }):wait()
        assert.is_false(parent_time())
        lvhd.compact(child):wait() -- the parent reads as before: it may
        lvhd.compact(base):wait()
        assert.is_false(parent_time())
        lvhd.compact(child):wait()
      end)
      assert.is_true(left >= 5, left .. " notes")
    end)

  it("keeps what a merge waits for from being deleted", function()
    local mid, low = dir .. "/mid.vhd", dir .. "/low.vhd"
    lvhd.create_differencing(mid, child):wait()
    lvhd.create_differencing(low, mid):wait()
    local disk <close> = lvhd.open(low, { write = true })
    disk:write(0, "low"):close()
    left_by(function(engine)
      engine:merge(low, { into = base }):wait()
    end)
    assert.is_truthy(codes(base).MERGE_PENDING)
    local err = expect.fails("E_SHARING_VIOLATION", "JOURNAL_PENDING",
      lvhd.merge, low, { delete = true })
    assert.equal(base, err.parent)
    assert.is_truthy(test.stat(low))
    lvhd.merge(low):wait()
    lvhd.merge(low, { into = base, delete = true }):wait()
    assert.equal("low", content(base):sub(1, 3))
  end)

  for what, act in pairs{
    ["a merge of another disk"] = function(engine)
      engine:merge(child):wait()
    end,
    ["a compact"] = compact,
  } do
    it("lets others above it be merged and deleted: " .. what, function()
      local mid, low = dir .. "/mid.vhd", dir .. "/low.vhd"
      lvhd.create_differencing(mid, child):wait()
      lvhd.create_differencing(low, mid):wait()
      local disk <close> = lvhd.open(low, { write = true })
      disk:write(0, "low"):close()
      left_by(act)
      assert.is_truthy(test.stat(note))
      lvhd.merge(low, { delete = true }):wait()
      assert.is_nil(test.stat(low))
      with_engine(act)
      assert.is_nil(test.stat(note))
      assert.equal("low" .. leaf:read(3, SIZE - 3), content(mid))
    end)
  end

  it("of a merge that goes on is said to be in use, not interrupted",
    function()
      local system = test.system()
      with_engine(function(engine)
        system:hold{ call = "pwritev", at = "base.vhd" }
        local task = engine:merge(child)
        local held, noted = system:await(1), test.stat(note)
        local ok, err = expect.try(lvhd.create_differencing,
          dir .. "/new.vhd", base)
        local opened, busy = expect.try(lvhd.open, base)
        system:drop()
        assert.is_false(opened)
        assert.equal("IN_USE", busy.reason)
        task:wait()
        assert.is_true(held)
        assert.is_truthy(noted)
        assert.is_false(ok)
        assert.equal("IN_USE", err.reason)
        assert.equal("E_SHARING_VIOLATION", err.name)
      end, system)
      assert.is_true(leaf:read(0, SIZE) == content(base))
    end)
end)

-- ---- who may write, and does not own ----------------------------------------

describe("a user who may write what he does not own #root", function()
  local function shared()
    if not support.is_root() then
      pending("only root can become someone else")
    end
    support.run(("chmod 0777 %s && chmod 0666 %s/*.vhd"):format(dir, dir))
  end

  -- Interrupted everywhere by the user; each of `who` finishes it.
  local function finished(users, act, judge)
    shared()
    local reset = keeper()
    for _, who in ipairs(users) do
      local left = killed_everywhere(NOBODY, reset, act, function()
        assert.equal("", run_as(who, nil, act))
        judge()
        assert.is_nil(test.stat(note))
      end)
      assert.is_true(left >= 3, left .. " notes")
    end
  end

  it("interrupts a resize: he, root and others run it again", function()
    finished({ NOBODY, 0, NOBODY - 1 }, function(engine)
      engine:resize(base, 5 * MiB, { force = true }):wait()
    end, function()
      assert.is_true(parent:read(0, SIZE) .. ("\0"):rep(MiB) == content(base))
    end)
  end)

  it("interrupts a resize without force: the same", function()
    assert(os.remove(child))
    finished({ NOBODY, 0, NOBODY - 1 }, function(engine)
      engine:resize(base, 5 * MiB):wait()
    end, function()
      assert.is_true(parent:read(0, SIZE) .. ("\0"):rep(MiB) == content(base))
    end)
  end)

  -- The child must be his: it keeps its time.
  it("interrupts a merge: he and root run it again", function()
    if support.is_root() then
      support.run(("chown %d %s"):format(NOBODY, child))
    end
    finished({ NOBODY, 0 }, function(engine)
      engine:merge(child):wait()
    end, function()
      assert.is_true(leaf:read(0, SIZE) == content(base))
    end)
  end)

  it("merges nothing of a child whose time he cannot keep", function()
    shared()
    support.run(("chown %d %s"):format(NOBODY, base))
    local before = support.read(base)
    local status, text = test.fork(function()
      assert(test.user(NOBODY))
      return with_engine(function(engine)
        local _, err = expect.try(engine.merge, engine, child)
        return table.concat({ err.name, err.reason, err.path == child
          and "child" or tostring(err.path) }, " ")
      end)
    end)
    assert.equal(0, status)
    assert.equal("E_ACCESSDENIED TIME_LOST child", text)
    assert.is_true(before == support.read(base))
    assert.is_nil(test.stat(note))
    assert.equal("", run_as(NOBODY, nil, function(engine)
      engine:merge(child, { force = true }):wait()
    end))
    assert.is_true(leaf:read(0, SIZE) == content(base))
  end)

  it("is told that the time is why, and that force goes on", function()
    shared()
    assert(os.remove(child))
    local status, text = test.fork(function()
      assert(test.user(NOBODY))
      return with_engine(function(engine)
        local _, err = expect.try(engine.compact, engine, base)
        if not lvhd.is_error(err) then
          return tostring(err)
        end
        if not err.hint:find("force", 1, true) then
          return tostring(err)
        end
        engine:compact(base, { force = true }):wait()
        return table.concat({ err.name, err.reason, err.syscall, err.errname },
          " ")
      end)
    end)
    assert.equal(0, status)
    assert.equal("E_ACCESSDENIED TIME_LOST futimens EPERM", text)
    assert.is_true(parent:read(0, SIZE) == content(base))
  end)

  it("writes it", function()
    shared()
    assert.equal("", run_as(NOBODY, nil, function(engine)
      local disk <close> = engine:open(child, { write = true })
      disk:write(100, "by nobody"):flush()
      assert(test.utime(child, MTIME) == nil) -- not his to set
      disk:write(BLOCK, "again")
    end))
    local now = content(child)
    assert.equal("by nobody", now:sub(101, 109))
    assert.equal("again", now:sub(BLOCK + 1, BLOCK + 5))
  end)
end)

-- ---- what is said of the note -------------------------------------------------

describe("a note that cannot be made", function()
  local VERBS <const> = {
    compact = function(engine) return engine:compact(base) end,
    resize = function(engine)
      return engine:resize(base, 5 * MiB, { force = true })
    end,
    relink = function(engine) return engine:relink(child, base) end,
    merge = function(engine) return engine:merge(child) end,
  }

  for name, verb in pairs(VERBS) do
    it("for want of space is said to be why: " .. name, function()
      local system = test.system()
      system:fail{ call = "openat", flags = test.O_TMPFILE, errno = "ENOSPC" }
      local bytes = support.read(base) .. support.read(child)
      local err = with_engine(function(engine)
        return expect.fails("E_DISK_FULL", "JOURNAL_FAILED", verb, engine)
      end, system)
      assert.is_truthy(err.hint:find("folder", 1, true), err.hint)
      assert.is_truthy(tostring(err):find("lvhd-journal", 1, true))
      assert.is_true(bytes == support.read(base) .. support.read(child))
      assert.equal(MTIME * NS, test.stat(base).mtime)
      assert.equal(leaf.mtime * NS, test.stat(child).mtime)
      assert.same({ "base.vhd", "child.vhd" }, support.names(dir))
    end)

    it("in the folder is said to be why: " .. name .. " #root", function()
      if not support.is_root() then
        pending("only root can become someone else")
      end
      support.run(("chmod 0755 %s && chown %d %s %s"):format(dir, NOBODY, base,
        child))
      local _, text = test.fork(function()
        assert(test.user(NOBODY))
        return with_engine(function(engine)
          local _, err = expect.try(verb, engine)
          return lvhd.is_error(err) and table.concat({ err.name, err.reason,
            err.hint:match("folder") }, " ") or tostring(err)
        end)
      end)
      assert.equal("E_ACCESSDENIED JOURNAL_FAILED folder", text)
      assert.is_true(parent:read(0, SIZE) == content(base))
      assert.is_true(leaf:read(0, SIZE) == content(child))
    end)
  end

  it("because another file lies there is said with what to do", function()
    support.write(note, "mine")
    local err = expect.fails("VM_E_HD_IMAGE_ACCESS", "JOURNAL_FOREIGN",
      lvhd.compact, base)
    assert.is_truthy(err.hint:find("remove", 1, true), err.hint)
    assert.is_truthy(tostring(err):find("lvhd-journal", 1, true))
    assert.equal("mine", support.read(note))
  end)
end)

-- ---- QEMU's size --------------------------------------------------------------

describe("a resized disk that QEMU made", function()
  local NEW <const> = 20 * MiB + 512 -- a size that no geometry has

  for _, kind in ipairs{ "dynamic", "fixed" } do
    it("has the exact size and its last bytes in QEMU: " .. kind, function()
      local path = dir .. "/q.vhd"
      support.run(("qemu-img create -q -f vpc -o subformat=%s %s 10000000")
        :format(kind, path))
      assert.equal("qemu", vhdread.open(path).footer.creator)
      qemu.io(path, "write -P 0x5a 65536 512")
      for _, size in ipairs{ NEW, NEW - 512, 11 * MiB + 512 } do
        lvhd.resize(path, size):wait()
        do
          local disk <close> = lvhd.open(path, { write = true })
          disk:write(size - 3, "END")
        end
        assert.equal(size, qemu.size(path))
        local raw = support.read(qemu.raw(path, dir .. "/q.raw"))
        assert.equal(size, #raw)
        assert.equal("END", raw:sub(-3))
        assert.equal(("\x5a"):rep(512), raw:sub(65537, 66048))
        lvhd.open(path, { write = true }):write(size - 3, "\0\0\0"):close()
      end
    end)
  end

  for creator, version in pairs{ ["win "] = 0xA0000, qem2 = 0x50003,
    ["tap\0"] = 0x10003, ["d2v "] = 0x10000, CTXS = 0x10000 } do
    it("keeps its creator where QEMU takes the size: "
      .. creator:gsub("%W", ""), function()
      local path = dir .. "/c.vhd"
      local disk = vhdwrite.new{ size = SIZE, block_size = BLOCK,
        creator = creator, creator_version = version }
      disk:save(path)
      lvhd.resize(path, 5 * MiB + 512):wait()
      local footer = vhdread.open(path).footer
      assert.equal(creator, footer.creator)
      assert.equal(version, footer.creator_version)
      assert.equal(5 * MiB + 512, footer.current_size)
    end)
  end
end)

-- ---- the parent's time --------------------------------------------------------

-- The second of a file's time.
local function second(path)
  return test.stat(path).mtime // NS
end

describe("the time of a disk that is written", function()
  local function modified()
    for _, image in ipairs(lvhd.chain(child)) do
      for _, f in ipairs(image.findings) do
        if f.code == "PARENT_TIME" then
          return true
        end
      end
    end
    return false
  end

  -- Bytes that have their place already: after the write itself the file is
  -- not written again, and its time is what we say.
  local function written(sync, finish)
    assert.is_false(modified())
    local disk <close> = lvhd.open(base, { write = true, force = true,
      sync = sync })
    disk:write(7 * 512, "changed") -- within the second that the child knows
    assert(test.utime(base, MTIME))
    finish(disk)
    assert.equal(MTIME + 1, second(base))
    assert.is_true(modified())
  end

  for _, sync in ipairs{ "full", "data", "none" } do
    it("goes on to another second at a flush, sync = " .. sync, function()
      written(sync, function(disk) disk:flush() end)
    end)

    it("goes on to another second at the close, sync = " .. sync, function()
      written(sync, function(disk) disk:close() end)
    end)
  end

  it("goes on where it is written in the second of the child's making",
    function()
      local far = dir .. "/far"
      assert(test.mkdir(far))
      for i = 1, 3 do
        base = ("%s/p%d.vhd"):format(dir, i)
        child = ("%s/c%d.vhd"):format(far, i)
        lvhd.create_dynamic(base, SIZE):wait()
        lvhd.create_differencing(child, base):wait()
        do
          local disk <close> = lvhd.open(base, { write = true })
          disk:write(i * MiB, "changed")
        end
        assert.is_not.equal(lvhd.info(child).parent_timestamp, second(base))
        local err = expect.fails("VM_E_PARENT_MODIFIED", nil, lvhd.open,
          child, { write = true, parents = dir })
        assert.is_truthy(err.hint)
      end
    end)

  it("stays where nothing is written", function()
    local before = expect.tree(dir)
    for _, options in ipairs{ {}, { write = true, force = true },
      { write = true, force = true, sync = "none" } } do
      local disk = lvhd.open(base, options)
      assert.is_true(parent:read(0, SIZE) == disk:read(0, SIZE))
      if options.write then
        disk:flush()
      end
      disk:close()
      assert.equal(MTIME * NS, test.stat(base).mtime)
    end
    assert.is_false(modified())
    assert.equal(before, expect.tree(dir))
  end)

  it("stays where another second has come by itself", function()
    local disk <close> = lvhd.open(base, { write = true, force = true })
    disk:write(7 * 512, "changed")
    assert(test.utime(base, MTIME + 5))
    disk:close()
    assert.equal(MTIME + 5, second(base))
  end)

  -- Earlier changes of the same second have moved it on, and a child may have
  -- recorded any second since.
  it("never goes back, whoever changes the disk", function()
    local ahead = os.time() + 1000
    local function behind(path, change)
      assert(test.utime(path, ahead))
      change()
      assert.is_true(second(path) > ahead)
      assert(test.utime(path, os.time() + 1)) -- not behind: the second itself
      local now = second(path)
      change()
      assert.is_true(second(path) > now)
    end
    local plain, fixed = dir .. "/plain.vhd", dir .. "/fixed.vhd"
    lvhd.create_dynamic(plain, SIZE):wait()
    lvhd.create_fixed(fixed, SIZE):wait()
    for _, path in ipairs{ plain, fixed } do
      local size = SIZE
      behind(path, function()
        size = size + MiB
        lvhd.resize(path, size):wait()
      end)
      assert.equal(size, lvhd.info(path).size)
    end
    behind(plain, function()
      local over = dir .. "/over.vhd"
      lvhd.create_differencing(over, plain):wait()
      lvhd.merge(over, { delete = true }):wait()
    end)
  end)

  it("does not fail a write where it cannot be set", function()
    local system = test.system()
    with_engine(function(engine)
      system:fail{ call = "futimens", errno = "EPERM", times = 0 }
      local disk <close> = engine:open(base, { write = true, force = true })
      disk:write(7 * 512, "changed")
      assert(test.utime(base, MTIME))
      disk:flush():close()
    end, system)
    assert.equal("changed", content(base):sub(7 * 512 + 1, 7 * 512 + 7))
  end)
end)

-- ---- a file that becomes shorter just now ----------------------------------------

describe("a file that is made shorter while it is opened", function()
  -- The look at its end is held, and the file is another one meanwhile.
  local function cut(start, file, other)
    local system = test.system()
    return with_engine(function(engine)
      local size = test.stat(file).size
      system:hold{ call = "pread" }
      local task = start(engine)
      local held = system:await(1)
      support.write(file, other)
      system:drop()
      assert.is_true(held, tostring(task:error()))
      assert.is_true(test.stat(file).size < size - 512)
      return expect.try(task.wait, task)
    end, system)
  end

  local shorter -- the same disk without its empty block

  before_each(function()
    local same = vhdwrite.new{ size = SIZE, block_size = BLOCK,
      uuid = parent.uuid, mtime = MTIME }
    same:put(7, vhdwrite.pattern(1, 0))
    same:save(dir .. "/shorter.vhd")
    shorter = support.read(dir .. "/shorter.vhd")
    assert(os.remove(dir .. "/shorter.vhd"))
    parent = same
    assert(os.remove(child))
  end)

  for name, start in pairs{
    compact = function(engine) return engine:compact(base) end,
    resize = function(engine) return engine:resize(base, SIZE) end,
    check = function(engine) return engine:check(base) end,
    convert = function(engine)
      return engine:convert(base, dir .. "/new.vhd",
        { preflight = false })
    end,
  } do
    it("is opened again: " .. name, function()
      local ok, what = cut(start, base, shorter)
      assert.is_true(ok, tostring(what))
      assert.is_true(parent:read(0, SIZE) == content(base))
      if name == "convert" then
        assert.is_true(parent:read(0, SIZE) == content(dir .. "/new.vhd"))
      end
    end)
  end

  it("again and again is given up with what is wrong", function()
    local system = test.system()
    local err = with_engine(function(engine)
      system:short{ call = "pread", at = base, bytes = 0, times = 0 }
      return expect.fails("DISP_E_EXCEPTION", "FILE_CUT", engine.compact,
        engine, base)
    end, system)
    assert.equal(base, err.path)
  end)
end)

-- ---- a source that is changed before it is locked ----------------------------------

describe("the source of a conversion that is changed before its lock", function()
  it("is looked at again", function()
    local system = test.system()
    local what = with_engine(function(engine)
      system:hold{ call = "setlk" }
      local task = engine:convert(base, dir .. "/new.vhd",
        { sync = "none", preflight = false })
      assert.is_true(system:await(1), tostring(task:error()))
      lvhd.resize(base, SIZE + MiB, { force = true }):wait()
      system:drop()
      return task:wait()
    end, system)
    assert.equal(SIZE + MiB, what.size)
    assert.is_true(content(base) == content(dir .. "/new.vhd"))
  end)
end)

-- ---- what comes between a merge and its end ------------------------------------------

-- Its times cannot tell whether a merge that broke had copied all.
describe("an interrupted merge", function()
  local before

  ---A merge that breaks in the nth call of its kind.
  local function break_merge(call, at, nth)
    local system = test.system()
    with_engine(function(engine)
      system:fail{ call = call, at = at, nth = nth, errno = "EIO", times = 0 }
      expect.fails("DISP_E_EXCEPTION", nil, engine.merge, engine, child,
        { delete = true })
    end, system)
    assert.is_not_nil(test.stat(note))
  end

  local function break_copying()
    before = content(child)
    break_merge("pwritev", base, 2)
    assert.is_true(content(child) == before)
    assert(test.utime(base, MTIME + 100)) -- as a slow merge leaves it
  end

  local function finish()
    local from = { dir }
    assert.is_true(content(child, from) == before)
    lvhd.merge(child, { delete = true, parents = from }):wait()
    assert.is_true(content(base) == before)
    assert.is_nil(test.stat(child))
    assert.is_nil(test.stat(note))
  end

  it("whose child is relinked goes on", function()
    break_copying()
    lvhd.relink(child, base, { force = true }):wait()
    finish()
  end)

  it("whose child is relinked to the parent away from its note goes on",
    function()
      break_copying()
      local away = dir .. "/away/base.vhd"
      assert(test.mkdir(dir .. "/away"))
      assert(os.rename(base, away))
      lvhd.relink(child, away):wait()
      assert(os.rename(away, base))
      finish()
    end)

  it("that had copied all, and whose child is written since, goes on",
    function()
      before = content(child)
      break_merge("unlinkat", dir, 2) -- the child's own note goes first
      local open <close> = lvhd.open(child, { write = true })
      open:write(0, ("new!"):rep(2048))
      open:close()
      before = ("new!"):rep(2048) .. before:sub(8193)
      finish()
    end)

  -- What it drops would be gone if the merge is given up.
  it("keeps its child from being compacted", function()
    break_copying()
    local err = expect.fails("E_SHARING_VIOLATION", "JOURNAL_PENDING",
      function() return lvhd.compact(child):wait() end)
    assert.equal(base, err.parent)
    assert.equal(lvhd.info(child).uuid, err.expected)
    finish()
  end)
end)

describe("a check of a chain whose parent is busy", function()
  it("is refused, and calls nothing damaged", function()
    local system = test.system()
    with_engine(function(engine)
      system:hold{ call = "unlinkat", at = dir }
      local task = engine:resize(base, SIZE + MiB, { force = true })
      assert.is_true(system:await(1))
      expect.fails("E_SHARING_VIOLATION", "IN_USE", function()
        return lvhd.check(child, { chain = true }):wait()
      end)
      system:drop()
      task:wait()
    end, system)
  end)
end)
