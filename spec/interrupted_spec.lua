-- SPDX-License-Identifier: MIT
--
-- Work in place that ends early while the machine goes on: the process is
-- killed, a call fails, the volume is full, the task is cancelled.  Each time
-- the promise holds (promise.lua), and an error says where.  The loss of power
-- is crash_spec's.

local bench = require "spec.support.bench"
local changes = require "spec.support.changes"
local crashtest = require "crashtest"
local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"
local vhdwrite = require "spec.support.vhdwrite"

local SEED <const> = math.tointeger(os.getenv("LVHD_SEED")) or 20261122

local function ignore() end

-- The scenarios whose name begins so; the slow ones too if asked.
local function named(start, slow)
  local list = {}
  for _, s in ipairs(changes) do
    if s.name:sub(1, #start) == start and (slow or not s.slow) then
      list[#list + 1] = s
    end
  end
  return list
end

-- ---- kill -9 --------------------------------------------------------------

-- The work in a process that kills itself just before its n-th change.
-- False: it came to its end.
local function killed(b, n)
  local status, text = test.fork(function()
    local rec = crashtest.recorder()
    local engine = lvhd.engine{ threads = 1, system = rec:pointer() }
    rec:die(n)
    b.scenario.act(engine, b.found, ignore)
    engine:close()
    return 0
  end)
  if status ~= nil and status ~= 0 then
    error(("%s, to be killed before change %d: %s"):format(b.scenario.name, n,
      tostring(text)), 0)
  end
  return status == nil
end

local function kill_at(b, n)
  b:reset()
  local was = killed(b, n)
  b:judge({ begun = #(b.what.writes or {}), flushed = was and 0
    or #(b.what.writes or {}), done = not was }, "killed before change " .. n)
  return was
end

describe("kill -9", function()
  it("during a merge, ten times: the re-run finishes it", function()
    local list = named("merge:")
    local random = vhdwrite.random(SEED)
    local kills = 0
    for i = 1, 10 do
      bench.with(list[(i - 1) % #list + 1], function(b)
        if kill_at(b, 1 + random.below(20)) then
          kills = kills + 1
        end
      end)
    end
    assert.is_true(kills >= 5, kills .. " kills")
  end)

  it("before every change of every merge: the re-run finishes it #slow",
    function()
      local kills = 0
      for _, scenario in ipairs(named("merge:", true)) do
        bench.with(scenario, function(b)
          local n = 1
          while kill_at(b, n) do
            n, kills = n + 1, kills + 1
          end
        end)
      end
      assert.is_true(kills >= 100, kills .. " kills")
    end)

  it("before every change of everything else #slow", function()
    for _, scenario in ipairs(changes) do
      if scenario.name:sub(1, 6) ~= "merge:" then
        bench.with(scenario, function(b)
          local n = 1
          while kill_at(b, n) do
            n = n + 1
          end
        end)
      end
    end
  end)

  it("from outside, at any moment of a merge of some size #slow", function()
    local parent = vhdwrite.new{ size = 64 << 20, uuid = vhdwrite.uuid(1) }
    local random = vhdwrite.random(SEED)
    local scenario = { name = "merge of 24 blocks of 2 MiB" }
    function scenario.make(dir)
      parent:put(3, vhdwrite.pattern(1, 3))
      parent:save(dir .. "/parent.vhd")
      local child = vhdwrite.new{ parent = parent, uuid = vhdwrite.uuid(2) }
      for block = 0, 23 do
        child:keep(block, true):put(block * 4096 + 7,
          vhdwrite.pattern(2, block))
      end
      child:save(dir .. "/child.vhd")
      local all = child:read(0, child.size)
      return { leaves = { { name = "child.vhd", before = all, after = all },
        { name = "parent.vhd", after = all } },
        changes = { ["child.vhd"] = true, ["parent.vhd"] = true } }
    end
    function scenario.act(engine, dir)
      engine:merge(dir .. "/child.vhd"):wait()
    end
    bench.with(scenario, function(b)
      local kills = 0
      for i = 1, 20 do
        b:reset()
        local pid = test.spawn(function()
          local engine = lvhd.engine{ threads = 1 }
          scenario.act(engine, b.found)
          return 0
        end)
        test.sleep(random.below(40) / 1000)
        test.kill(pid, test.SIGKILL)
        local _, signal = test.wait(pid)
        kills = kills + (signal == test.SIGKILL and 1 or 0)
        b:judge({ begun = 0, flushed = 0, done = signal == nil },
          "kill number " .. i)
      end
      assert.is_true(kills > 0, "none of the kills came in time")
    end)
  end)
end)

-- ---- calls that fail ------------------------------------------------------

-- Calls that change something: their failure is reported.  Of the others some
-- are asked for what nothing depends on.
local CHANGING <const> = { "pwritev", "ftruncate", "fsync", "fdatasync",
  "futimens", "linkat", "unlinkat" }
local ASKING <const> = { "openat", "openat2", "fstat", "fstatat", "pread",
  "lseek", "fallocate", "send", "getlk", "setlk", "copy", "clone", "getdents",
  "fchmod", "close", "realpath", "readlinkat", "fstatfs" }
local CHANGES <const> = {}
for _, call in ipairs(CHANGING) do
  CHANGES[call] = true
end
-- Where an error can say the place.
local PLACED <const> = { pwritev = true, ftruncate = true, pread = true }

-- The entries of the log that failed.
local function culprits(system, errno)
  local list = {}
  for _, e in ipairs(system:log()) do
    if e.errno == errno then
      list[#list + 1] = e
    end
  end
  return list
end

-- The footer that was to stand behind room for many blocks: where there is no
-- such room, there may be room for one.
local function is_reserve(entry)
  return entry.call == "pwritev" and entry.length == 512
end

-- The error tells of this failed call.
local function tells(b, err, entry)
  local image = b.record.base[(entry.at or ""):match("[^/]*$")]
  return entry.errno == err.errname and entry.call == err.syscall
    and (not image or err.path == entry.at or err.parent == entry.at)
    and (not image or not PLACED[entry.call] or err.offset == (
      entry.call == "ftruncate" and entry.length or entry.offset))
end

local function check_error(b, err, failed, context)
  assert.is_true(lvhd.is_error(err), context .. ": " .. tostring(err))
  local last
  for _, entry in ipairs(failed) do
    last = ("%s of %s at %d+%d"):format(entry.call, entry.at, entry.offset,
      entry.length)
    if tells(b, err, entry) then
      return
    end
  end
  error(("%s: the error tells of %s of %s at %s, but it was %s"):format(
    context, tostring(err.syscall), tostring(err.path), tostring(err.offset),
    last), 0)
end

-- One try with the n-th such call failing, once or from there on.  False:
-- there was no n-th call.
local function one_fault(b, call, n, errno, times)
  local system = test.system()
  local engine = lvhd.engine{ threads = 1, system = system:pointer() }
  local progress, mark = bench.progress()
  local context = ("%s, %s %d fails with %s%s"):format(b.scenario.name, call,
    n, errno, times == 0 and " from there on" or "")
  b:reset()
  system:fail{ call = call, nth = n, errno = errno, times = times }
  local ok, err = pcall(b.scenario.act, engine, b.found, mark)
  local failed = culprits(system, errno)
  engine:close()
  system:drop()
  if #failed == 0 then
    return false
  elseif not ok and CHANGES[call] then
    check_error(b, err, failed, context)
  elseif ok and CHANGES[call] and not is_reserve(failed[1])
    and not (b.what.forgives and b.what.forgives[call]) then
    error(context .. " and nobody says so", 0)
  end
  progress.done = ok
  b:judge(progress, context)
  return true
end

local function sweep(b, calls, errno, times)
  local faults = 0
  for _, call in ipairs(calls) do
    local n = 1
    while one_fault(b, call, n, errno, times) do
      n, faults = n + 1, faults + 1
    end
  end
  return faults
end

local VERBS <const> = { "write:", "merge:", "compact:", "resize:", "relink:",
  "repair:" }

describe("a call that fails", function()
  for _, verb in ipairs(VERBS) do
    it("with EIO, once, in the midst of " .. verb, function()
      bench.with(named(verb)[1], function(b)
        assert.is_true(sweep(b, CHANGING, "EIO", 1) > 5)
      end)
    end)
    it("with ENOSPC, for ever, in the midst of " .. verb, function()
      bench.with(named(verb)[1], function(b)
        assert.is_true(sweep(b, { "pwritev", "ftruncate" }, "ENOSPC", 0) > 0)
      end)
    end)
  end

  for _, scenario in ipairs(changes) do
    it("of any kind, once and for ever: " .. scenario.name .. " #slow",
      function()
        bench.with(scenario, function(b)
          sweep(b, CHANGING, "EIO", 1)
          sweep(b, CHANGING, "EIO", 0)
          sweep(b, CHANGING, "ENOSPC", 1)
          sweep(b, ASKING, "EIO", 1)
        end)
      end)
  end
end)

-- ---- cancel ---------------------------------------------------------------

-- What a cancelled verb leaves as it was: the names, and all that info tells
-- but for where blocks lie: room that a resize made stays, and blocks that
-- compact has dropped stay dropped.  Of a merge every byte, and its time, but
-- for what its target got.
local LAID <const> = { compact = { "alignment", "blocks_used" },
  resize = { "alignment", "file_size" } }
local function sum(bytes)
  local n = 0
  for i = 1, #bytes - 7, 8 do
    n = n * 31 + ("<i8"):unpack(bytes, i)
  end
  return n
end

local function untouched(b)
  local merge = b.scenario.name:find("^merge")
  local engine <close> = lvhd.engine{ threads = 1 }
  local files = {}
  for name in pairs(b.record.base) do
    local path = b.found .. "/" .. name
    if not merge then
      local ok, info = pcall(engine.info, engine, path)
      assert(ok or lvhd.is_error(info), info)
      files[name] = ok and info or info.reason
      for _, key in ipairs(ok and LAID[b.scenario.name:match("^%l+")] or {}) do
        info[key] = nil
      end
      if ok then
        info.free = nil
      end
    elseif name ~= b.what.leaves[2].name then
      files[name] = { sum(support.read(path)), test.stat(path).mtime }
    end
  end
  return { files, not merge and support.names(b.found) or nil }
end

-- Cancels while the n-th such call is held.  False: there was none.
local function one_cancel(b, call, n)
  local system = test.system()
  local engine = lvhd.engine{ threads = 1, system = system:pointer() }
  b:reset()
  local before = untouched(b)
  system:hold{ call = call, nth = n, times = 1 }
  local task = b.scenario.start(engine, b.found)
  local held
  repeat
    held = system:await(1, 0.002)
  until held or task:done()
  local will = held and task:cancel()
  system:drop()
  local ok, err = pcall(task.wait, task)
  engine:close()
  local context = ("cancelled at %s %d"):format(call, n)
  if will then -- it keeps its word, whichever it gave
    assert.is_false(ok, context)
    assert.same(before, untouched(b), b.scenario.name .. ", " .. context)
  elseif held then
    assert.is_true(ok, context .. ": " .. tostring(err))
  end
  if not ok then
    assert.is_true(lvhd.is_error(err, "E_ABORT"),
      ("%s, %s: %s"):format(b.scenario.name, context, tostring(err)))
  end
  b:judge({ begun = 0, flushed = 0, done = ok }, context)
  return held
end

local function cancel_all(scenario, calls)
  bench.with(scenario, function(b)
    for _, call in ipairs(calls) do
      local n = 1
      while one_cancel(b, call, n) do
        n = n + 1
      end
    end
  end)
end

describe("cancel", function()
  for _, verb in ipairs(VERBS) do
    local first = true
    for _, scenario in ipairs(named(verb, true)) do
      if scenario.start then
        it("at every write of " .. scenario.name
          .. (scenario.slow and " #slow" or ""), function()
            cancel_all(scenario, { "pwritev" })
          end)
        -- the last that a verb waits for before it cannot be undone, too
        it("at every other step of " .. scenario.name
          .. (first and "" or " #slow"), function()
            cancel_all(scenario, { "fsync", "fdatasync", "linkat", "unlinkat",
              "futimens", "ftruncate", "pread", "fstat", "setlk" })
          end)
        first = false
      end
    end
  end
end)

-- ---- a full volume --------------------------------------------------------

-- A volume of so many bytes, mounted at folder; it can be made larger.
local function on_volume(folder, bytes, fn)
  if not support.is_root() then
    pending("mounting needs root")
  end
  assert(test.mkdir(folder))
  local mounted, why = support.sh(("mount -t tmpfs -o size=%d tmpfs %s"):format(
    bytes, folder))
  if not mounted then
    pending("cannot mount here: " .. why)
  end
  local ok, err = pcall(fn)
  collectgarbage()
  collectgarbage()
  support.run("umount " .. folder)
  if not ok then
    error(err, 0)
  end
end

-- Room for the files and so much more; the error, then room and the re-run.
local function fill_up(scenario, more)
  bench.with(scenario, function(b)
    local used = 0
    for _, base in pairs(b.record.base) do
      used = used + (#base.bytes + 4095) // 4096 * 4096
    end
    b.found = b.dir .. "/volume"
    on_volume(b.found, used + more, function()
      b:reset()
      local progress, mark = bench.progress()
      local engine = lvhd.engine{ threads = 1 }
      local ok, err = pcall(scenario.act, engine, b.found, mark)
      engine:close()
      assert.is_false(ok, scenario.name .. " found room")
      assert.is_true(lvhd.is_error(err, "E_DISK_FULL"), tostring(err))
      if not scenario.name:find("^resize") then -- which asks the volume first
        assert.equal("ENOSPC", err.errname)
      end
      assert.is_truthy(err.path)
      support.run("mount -o remount,size=64m " .. b.found)
      b:judge(progress, ("with %d bytes free"):format(more))
    end)
  end)
end

describe("a full volume", function()
  for _, name in ipairs{ "write: dynamic", "write: differencing",
    "merge: into an empty parent", "merge: into a differencing parent",
    "resize: dynamic, grow the BAT over blocks" } do
    it("stops " .. name .. ", which goes on when there is room #root",
      function()
        for _, more in ipairs{ 0, 4096, 8192 } do
          fill_up(named(name, true)[1], more)
        end
      end)
  end
end)
