-- SPDX-License-Identifier: MIT
--
-- What an engine hands out (design 1.2): the loop `ended`, the descriptor
-- `fd`, and what else happens while a program goes through it.  Event
-- loops are the business of loops_spec.lua.

local support = require "spec.support"
local life = require "spec.support.life"

local lvhdtest, lifetest = life.modules()
local MiB = 1 << 20

describe("ended and fd #tsan", function()
  if not lvhdtest then
    pending(tostring(lifetest))
    return
  end

  local lvhd = require "lvhd"
  local core = require "lvhd.core"
  local folder

  before_each(function()
    folder = support.tmpdir()
  end)

  after_each(life.clean)

  ---An engine whose tasks wait at their first openat until system:drop().
  local function held(opts)
    local engine, system = life.gated(opts or { threads = 1 })
    system:hold { call = "openat" }
    return engine, system
  end

  local function free(opts)
    local all = { threads = 1, sync = "none", preflight = false }
    for name, value in pairs(opts or {}) do
      all[name] = value
    end
    return lvhd.engine(all)
  end

  local function disk(engine, name)
    return engine:create_dynamic(("%s/%s.vhd"):format(folder, name), 64 * MiB)
  end

  ---All that the loop hands out.
  local function all(engine, seconds)
    local list = {}
    for task in engine:ended(seconds) do
      list[#list + 1] = task
    end
    return list
  end

  ---A loop that begins to count, and no more.
  local function begin(engine)
    engine:ended(0)
  end

  local function wait_all(list)
    for _, task in ipairs(list) do
      assert.is_true(life.eventually(function() return task:done() end))
    end
  end

  local function collect()
    collectgarbage()
    collectgarbage()
  end

  -- ---- what is handed out ---------------------------------------------

  describe("the loop", function()
    it("hands out each task once, with the program's own handle", function()
      local engine <close> = free { threads = 4 }
      begin(engine)
      local mine, n = {}, 0
      for i = 1, 200 do
        mine[disk(engine, i)] = true
      end
      for task in engine:ended() do
        assert.is_true(mine[task], tostring(task))
        mine[task] = nil
        n = n + 1
        assert.equal("succeeded", task:status())
      end
      assert.equal(200, n)
      assert.is_nil(next(mine))
      assert.same({}, all(engine))
    end)

    it("hands them out in the order of ending", function()
      local engine, system = life.gated { threads = 2 }
      system:hold { call = "openat", times = 1 }
      begin(engine)
      local list = { disk(engine, "slow") }
      assert.is_true(system:await(1))
      for i = 1, 9 do
        list[i + 1] = disk(engine, i)
      end
      wait_all(table.move(list, 2, 10, 1, {}))
      system:drop()
      table.insert(list, table.remove(list, 1))
      assert.same(list, all(engine))
    end)

    it("hands out what was waited for, too", function()
      local engine <close> = free()
      begin(engine)
      local task = disk(engine, "a")
      task:wait()
      assert.same({ task }, all(engine, 0))
      assert.same({}, all(engine, 0))
      assert.equal(64 * MiB, task:wait().size)
    end)

    it("hands out what failed and what was cancelled", function()
      local engine, system = held()
      begin(engine)
      local good = disk(engine, "good")
      local bad = engine:create_differencing(folder .. "/b.vhd",
        folder .. "/missing.vhd")
      local gone = disk(engine, "gone")
      assert.is_true(system:await(1))
      assert.is_true(gone:cancel())
      system:drop()
      local list = all(engine)
      assert.same({ gone, good, bad }, list)
      assert.is_nil(good:error())
      assert.equal("E_PATH_NOT_FOUND", bad:error().name)
      assert.equal("E_ABORT", gone:error().name)
      assert.is_false(pcall(bad.wait, bad))
    end)

    it("hands out other verbs' tasks as well", function()
      local engine <close> = free()
      disk(engine, "a"):wait()
      begin(engine)
      local mine = { engine:check(folder .. "/a.vhd"), engine:find(folder),
        engine:children(folder .. "/a.vhd", folder),
        engine:convert(folder .. "/a.vhd", folder .. "/b.vhd",
          { to = "fixed" }),
        engine:resize(folder .. "/a.vhd", 128 * MiB),
        engine:compact(folder .. "/a.vhd"), engine:repair(folder .. "/a.vhd"),
        engine:create_children({ "1.vhd", "2.vhd" }, folder .. "/b.vhd"),
      }
      local n, set = 0, {}
      for _, task in ipairs(mine) do
        set[task] = true
      end
      for task in engine:ended() do
        assert.is_true(set[task])
        n = n + 1
      end
      assert.equal(#mine, n)
    end)

    it("hands out nothing that a call has refused", function()
      local engine <close> = free()
      begin(engine)
      assert.is_false(pcall(engine.create_dynamic, engine, "", 64 * MiB))
      assert.is_false(pcall(engine.find, engine, nil))
      local task = disk(engine, "a")
      assert.same({ task }, all(engine))
    end)

    it("is over at once where nothing is live", function()
      local engine <close> = free()
      disk(engine, "a"):wait()
      assert.same({}, all(engine, 20)) -- it had ended before the first call
      assert.same({}, all(engine))
    end)
  end)

  -- ---- what is held ---------------------------------------------------

  describe("before the first call", function()
    it("the engine holds no ended task", function()
      local engine = free()
      for i = 1, 50 do
        disk(engine, i):wait()
      end
      assert.is_true(life.eventually(function()
        collect()
        return select(2, core.engine_counts(engine)) == 0
      end))
      assert.same({}, all(engine))
      engine:close()
    end)

    it("live tasks may be made, and are counted", function()
      local engine, system = held()
      local list = { disk(engine, "a"), disk(engine, "b") }
      assert.is_true(system:await(1))
      local loop = engine:ended()
      system:drop()
      assert.equal(list[1], loop())
      assert.equal(list[2], loop())
      assert.is_nil(loop())
    end)

    it("live tasks whose handles are gone get new ones", function()
      local engine, system = held()
      disk(engine, "a")
      disk(engine, "b")
      assert.is_true(system:await(1))
      collect()
      begin(engine)
      collect()
      system:drop()
      local names = {}
      for task in engine:ended() do
        names[#names + 1] = task:wait().path:match("[^/]+$")
        assert.equal("lvhd.task: create_dynamic '" .. task:wait().path
          .. "' (succeeded)", tostring(task))
      end
      assert.same({ "a.vhd", "b.vhd" }, names)
    end)
  end)

  describe("from the first call on", function()
    it("the engine keeps handles until they are handed out", function()
      local engine, system = held()
      local weak = setmetatable({}, { __mode = "v" })
      weak[1] = disk(engine, "a") -- live already
      assert.is_true(system:await(1))
      begin(engine)
      weak[2] = disk(engine, "b")
      collect()
      assert.is_truthy(weak[1])
      assert.is_truthy(weak[2])
      system:drop()
      assert.is_true(life.eventually(function()
        return weak[1]:done() and weak[2]:done()
      end))
      collect()
      for task in engine:ended() do
        assert.is_true(task == weak[1] or task == weak[2])
      end
      assert.is_true(life.eventually(function()
        collect()
        return weak[1] == nil and weak[2] == nil
          and select(2, core.engine_counts(engine)) == 0
      end))
    end)

    it("nothing grows", function()
      local engine <close> = free()
      begin(engine)
      disk(engine, "x"):wait()
      local function round(n)
        for i = 1, n do
          engine:create_differencing(folder .. "/c.vhd",
            folder .. "/missing.vhd") -- quick, and leaves nothing
          pcall(engine.create_dynamic, engine, "", 64 * MiB)
          if i % 50 == 0 then
            for task in engine:ended() do
              task:error()
            end
          end
        end
        collect()
        return collectgarbage "count" * 1024, select(2,
          core.engine_counts(engine))
      end
      local before = round(2000)
      local after, tasks = round(4000)
      assert.is_true(after - before < 4096, after - before)
      assert.is_true(tasks <= 1)
    end)

    it("a task costs at most 2 KiB, its result included #nosan", function()
      local out = life.prints([[
        local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
        local folder, N = ..., 1000
        local engine <close> = lvhd.engine { threads = 1, sync = "none",
          preflight = false }
        engine:ended(0)
        local parent = engine:create_dynamic(folder .. "/p.vhd", 64 << 20)
        local path = parent:wait().path
        for _ in engine:ended() do end
        collectgarbage() collectgarbage()
        local before = lvhdtest.memory()
        for i = 1, N do
          engine:create_differencing(folder .. "/" .. i .. ".vhd", path)
        end
        engine:close()
        collectgarbage() collectgarbage()
        print((lvhdtest.memory() - before) // N)
        for task in engine:ended() do task:wait() end
        collectgarbage() collectgarbage()
        print((lvhdtest.memory() - before) // N)
      ]], folder)
      local pending_bytes, after = out:match("^(%d+)\n(%-?%d+)\n$")
      assert.is_true(tonumber(pending_bytes) <= 2048, pending_bytes)
      assert.is_true(tonumber(after) <= 128, after)
    end)

    it("a task that nobody takes stays, and so do the others", function()
      local engine <close> = free()
      begin(engine)
      local list = {}
      for i = 1, 20 do
        list[i] = disk(engine, i)
      end
      wait_all(list)
      assert.equal(list[1], (engine:ended())())
      table.remove(list, 1)
      assert.same(list, all(engine))
    end)
  end)

  -- ---- how long -------------------------------------------------------

  describe("the time", function()
    it("0: what has ended", function()
      local engine, system = held()
      local task = disk(engine, "a")
      assert.same({}, all(engine, 0))
      assert.same({}, all(engine, -1))
      system:drop()
      wait_all { task }
      assert.same({ task }, all(engine, 0))
    end)

    it("0: is over although the body starts what ends at once", function()
      local engine <close> = free()
      begin(engine)
      wait_all { disk(engine, 1), disk(engine, 2) }
      local n = 0
      for _ in engine:ended(0) do
        n = n + 1
        wait_all { disk(engine, "more" .. n) }
        assert.is_true(n <= 2)
      end
      assert.equal(2, n)
      assert.equal(2, #all(engine, 0))
    end)

    it("a number: so long in all, and what has ended by then", function()
      local engine, system = held { threads = 2 }
      begin(engine)
      local slow = disk(engine, "slow")
      assert.is_true(system:await(1))
      local start = lvhdtest.clock()
      assert.same({}, all(engine, 0.2))
      local took = lvhdtest.clock() - start
      assert.is_true(took >= 0.19 and took < 5, took)
      -- not anew with each task
      start = lvhdtest.clock()
      local loop, n = engine:ended(0.3), 0
      system:drop()
      for _ in loop do
        n = n + 1
        if n == 1 then
          system:hold { call = "openat" }
        end
        disk(engine, "n" .. n)
        lvhdtest.sleep(0.1)
      end
      took = lvhdtest.clock() - start
      assert.is_true(took >= 0.29 and took < 5, took)
      system:drop()
      assert.is_true(slow:done())
    end)

    it("a number: is over although the body starts what ends at once",
      function()
        local engine <close> = free { threads = 2 }
        begin(engine)
        local start, n = lvhdtest.clock(), 0
        disk(engine, 0)
        for _ in engine:ended(0.2) do
          n = n + 1
          disk(engine, 2 * n)
          wait_all { disk(engine, 2 * n + 1) }
          assert.is_true(lvhdtest.clock() - start < 5)
        end
        assert.is_true(lvhdtest.clock() - start >= 0.19 and n > 1)
      end)

    it("absent: until none is live, new ones included", function()
      local engine <close> = free()
      begin(engine)
      disk(engine, 1)
      local n = 0
      for _ in engine:ended() do
        n = n + 1
        if n < 30 then
          disk(engine, n + 1)
        end
      end
      assert.equal(30, n)
      assert.equal(30, #support.names(folder))
    end)

    it("of an end is seen at once", function()
      -- a look every quarter of a second would take 5 seconds
      local engine <close> = free { system = lifetest.slow { openat = 0.01 } }
      begin(engine)
      local start = lvhdtest.clock()
      for i = 1, 20 do
        local task = disk(engine, i)
        assert.same({ task }, all(engine))
      end
      assert.is_true(lvhdtest.clock() - start < 4)
    end)

    it("inf is for ever, and what is no number is refused", function()
      local engine <close> = free()
      begin(engine)
      local task = disk(engine, 1)
      assert.same({ task }, all(engine, math.huge))
      for _, wrong in ipairs { "soon", {}, true, 0 / 0 } do
        local ok, err = pcall(engine.ended, engine, wrong)
        assert.is_false(ok)
        assert.matches("bad argument #1 to 'ended' %(number expected", err)
      end
    end)
  end)

  -- ---- meanwhile ------------------------------------------------------

  describe("inside of the loop", function()
    it("the engine may be closed", function()
      local engine = free { threads = 2 }
      begin(engine)
      local set, n = {}, 0
      for i = 1, 30 do
        set[disk(engine, i)] = true
      end
      for task in engine:ended() do
        n = n + 1
        if n == 3 then
          engine:close()
          local ok, err = pcall(disk, engine, "late")
          assert.is_false(ok)
          assert.is_true(lvhd.is_error(err, "VM_E_APP_SHUTTING_DOWN"))
        end
        assert.is_true(set[task])
        set[task] = nil
      end
      assert.equal(30, n)
      assert.same({}, all(engine))
      assert.same({}, all(engine, 0))
    end)

    it("the engine may be closed and everything cancelled", function()
      local engine, system = held()
      begin(engine)
      local first = disk(engine, "first")
      assert.is_true(system:await(1))
      for i = 1, 10 do
        disk(engine, i)
      end
      first:cancel() -- before it can commit: it stands in its first call
      system:drop()
      local n = 0
      for task in engine:ended() do
        if n == 0 then
          engine:close { cancel = true }
        end
        n = n + 1
        assert.is_true(task:done())
      end
      assert.equal(11, n)
    end)

    it("tasks may be cancelled", function()
      local engine, system = held()
      begin(engine)
      local first = disk(engine, "first")
      assert.is_true(system:await(1))
      local rest = {}
      for i = 1, 10 do
        rest[i] = disk(engine, i)
      end
      local loop, got = engine:ended(), {}
      rest[10]:cancel()
      got[1] = loop()
      assert.equal(rest[10], got[1])
      for i = 1, 9 do
        assert.is_true(rest[i]:cancel())
      end
      system:drop()
      for task in loop do
        got[#got + 1] = task
      end
      assert.equal(11, #got)
      assert.equal(first, got[11])
      assert.same({ "first.vhd" }, support.names(folder))
    end)

    it("everything may be collected", function()
      local engine <close> = free { threads = 2 }
      begin(engine)
      local n = 0
      for i = 1, 50 do
        disk(engine, i)
      end
      for _ in engine:ended() do
        n = n + 1
        collectgarbage()
      end
      assert.equal(50, n)
    end)

    it("<close> of a task, and waits for others, are no harm", function()
      local engine <close> = free { threads = 2 }
      begin(engine)
      local list, n = {}, 0
      for i = 1, 20 do
        list[i] = disk(engine, i)
      end
      for task in engine:ended() do
        local own <close> = task
        n = n + 1
        list[#list]:wait()
        assert.is_true(own:done())
      end
      assert.equal(20, n)
    end)

    it("another loop shares what there is", function()
      local engine <close> = free()
      begin(engine)
      local set, n = {}, 0
      for i = 1, 20 do
        set[disk(engine, i)] = true
      end
      local function got(task)
        assert.is_true(set[task])
        set[task] = nil
        n = n + 1
      end
      for task in engine:ended() do
        got(task)
        for other in engine:ended() do
          got(other)
          if n % 5 == 0 then
            break
          end
        end
      end
      assert.equal(20, n)
    end)

    it("two engines do not meet", function()
      local one, two = free { threads = 2 }, free { threads = 2 }
      begin(one)
      begin(two)
      local of = {}
      for i = 1, 20 do
        of[disk(one, "a" .. i)] = one
        of[disk(two, "b" .. i)] = two
      end
      for task in one:ended() do
        assert.equal(one, of[task])
        for other in two:ended(0) do
          assert.equal(two, of[other])
          of[other] = nil
        end
        of[task] = nil
      end
      for task in two:ended() do
        of[task] = nil
      end
      assert.is_nil(next(of))
      one:close()
      two:close()
    end)

    it("break, and begin again where it stopped", function()
      local engine <close> = free()
      begin(engine)
      local list, got = {}, {}
      for i = 1, 12 do
        list[i] = disk(engine, i)
      end
      repeat
        local before = #got
        for task in engine:ended() do
          got[#got + 1] = task
          if #got % 5 == 0 then
            break
          end
        end
      until #got == before
      assert.same(list, got)
    end)

    it("errors pass, and nothing is lost", function()
      local engine <close> = free()
      begin(engine)
      local list = { disk(engine, 1), disk(engine, 2) }
      assert.is_false(pcall(function()
        for _ in engine:ended() do
          error "mine"
        end
      end))
      assert.same({ list[2] }, all(engine))
    end)
  end)

  -- ---- ends -----------------------------------------------------------

  describe("an engine", function()
    it("that is closed still hands out the rest", function()
      local engine = free()
      begin(engine)
      local list = {}
      for i = 1, 5 do
        list[i] = disk(engine, i)
      end
      engine:close()
      collect()
      assert.same(list, all(engine))
      assert.same({}, all(engine))
    end)

    it("that is closed may be asked for the first time", function()
      local engine = free()
      disk(engine, 1):wait()
      engine:close()
      assert.same({}, all(engine))
      assert.is_false(lifetest.readable(engine:fd()))
    end)

    it("that is collected with pending tasks goes away whole", function()
      local threads, fds = life.threads(), support.fds()
      for i = 1, 5 do
        local engine = free()
        engine:fd()
        for j = 1, 5 do
          disk(engine, i .. "-" .. j)
        end
      end
      assert.is_true(life.eventually(function()
        collect()
        lvhd.engine():close()
        return support.threads() <= threads and support.fds() == fds
      end))
      assert.equal(25, #support.names(folder))
    end)

    it("that is collected while tasks run lets them go on", function()
      local threads = life.threads()
      local _, system = held()
      do
        local engine = lvhd.engine { system = system:pointer(), threads = 1,
          preflight = false, sync = "none" }
        begin(engine)
        disk(engine, "a")
        disk(engine, "b")
      end
      assert.is_true(system:await(1))
      collect()
      system:drop()
      assert.is_true(life.eventually(function()
        collect()
        lvhd.engine():close()
        return #support.names(folder) == 2 and support.threads() <= threads
      end))
    end)

    it("lives as long as its loop", function()
      local loop
      do
        local engine = free()
        loop = engine:ended()
        disk(engine, "a")
      end
      collect()
      assert.equal(folder .. "/a.vhd", loop():wait().path)
      assert.is_nil(loop())
    end)

    local UNREAD = [[
        warn "@on"
        local lvhd = require "lvhd"
        local lifetest = require "lifetest"
        local folder = ...
        engine = lvhd.engine { threads = 1, sync = "none", preflight = false,
          system = lifetest.slow { openat = 0.05 } }
        local function bad(name)
          return engine:create_differencing(folder .. "/" .. name,
            folder .. "/missing.vhd")
        end
        bad "lost.vhd" -- its handle is gone before the engine collects
        collectgarbage()
        engine:ended(0)
        bad "one.vhd"
        local read = bad "read.vhd"
        pcall(read.wait, read)
        if select(2, ...) then
          for task in engine:ended(0) do
            if task == read then break end
          end
        end
        bad "two.vhd"
        bad "three.vhd"
    ]]

    for _, taken in ipairs { "", "taken" } do
      it("whose state ends tells each unread error once " .. taken, function()
        local result = life.lua(UNREAD, folder, taken ~= "" and taken or nil)
        assert.equal(0, result.code, result.err)
        local told = {}
        for name in result.err:gmatch("differencing '[^']*/(%a+)%.vhd'") do
          told[#told + 1] = name
        end
        table.sort(told)
        assert.same({ "lost", "one", "three", "two" }, told)
      end)
    end

    it("whose state ends cancels long ones, and tells so once", function()
      local result = life.lua([[
        warn "@on"
        local lvhd = require "lvhd"
        local lifetest, lvhdtest = require "lifetest", require "lvhdtest"
        local folder = ...
        local engine = lvhd.engine { threads = 1, sync = "none",
          preflight = false, system = lifetest.slow { pwritev = 0.05 } }
        engine:ended(0)
        engine:create_fixed(folder .. "/long.vhd", 2048 << 20,
          { allocate = "zero" })
        lvhdtest.sleep(0.1)
      ]], folder)
      assert.equal(0, result.code, result.err)
      assert.same({}, support.names(folder))
      local _, n = result.err:gsub("E_ABORT", "")
      assert.equal(1, n, result.err)
    end)
  end)

  it("the default engine has neither", function()
    local engine = lvhd.default_engine()
    for _, name in ipairs { "ended", "fd", "pollfd", "getfd" } do
      local ok, err = pcall(engine[name], engine)
      assert.is_false(ok)
      assert.equal("string", type(err))
      assert.matches("default engine", err)
      assert.matches("^spec/ended_spec.lua:%d+: ", err)
    end
    -- nothing has begun
    disk(engine, "a"):wait()
    assert.is_true(life.eventually(function()
      collect()
      return select(2, core.engine_counts(engine)) == 0
    end))
  end)

  it("they are methods of engines alone", function()
    for _, name in ipairs { "ended", "fd", "pollfd", "getfd" } do
      local ok, err = pcall(lvhd.engine().ended, {})
      assert.is_false(ok)
      assert.equal("string", type(err), name)
    end
  end)

  -- ---- the descriptor -------------------------------------------------

  describe("fd", function()
    it("is readable exactly while ended(0) has a task", function()
      local engine, system = held()
      local fd = engine:fd()
      assert.equal("integer", math.type(fd))
      assert.is_true(fd > 2)
      assert.is_false(lifetest.readable(fd))
      local list = { disk(engine, 1), disk(engine, 2), disk(engine, 3) }
      assert.is_true(system:await(1))
      assert.is_false(lifetest.readable(fd, 0.05))
      system:drop()
      assert.is_true(lifetest.readable(fd, 20))
      wait_all(list)
      for i = 1, 3 do
        assert.is_true(lifetest.readable(fd))
        assert.equal(list[i], (engine:ended(0))())
      end
      assert.is_false(lifetest.readable(fd))
      local again = disk(engine, 4)
      assert.is_true(lifetest.readable(fd, 20))
      assert.same({ again }, all(engine, 0))
      assert.is_false(lifetest.readable(fd))
    end)

    it("that is made late tells what has ended before", function()
      local engine <close> = free()
      begin(engine)
      wait_all { disk(engine, 1) }
      assert.is_true(lifetest.readable(engine:fd()))
      assert.equal(1, #all(engine))
      assert.is_false(lifetest.readable(engine:fd()))
    end)

    it("begins to count, as ended does", function()
      local engine, system = held()
      local live = disk(engine, 1)
      assert.is_true(system:await(1))
      engine:fd()
      system:drop()
      local later = disk(engine, 2)
      wait_all { live, later }
      assert.same({ live, later }, all(engine, 0))
    end)

    it("is one, under all names", function()
      local engine <close> = free()
      local fd = engine:fd()
      assert.equal(fd, engine:fd())
      assert.equal(fd, engine:pollfd())
      assert.equal(fd, engine:getfd())
      assert.equal("r", engine:events())
      assert.is_nil(engine:timeout())
      assert.is_false(engine:dirty())
    end)

    it("stays, and stays readable, after close", function()
      local engine = free()
      local fd = engine:fd()
      local task = disk(engine, 1)
      engine:close()
      assert.is_true(lifetest.readable(fd))
      assert.equal(fd, engine:fd())
      assert.same({ task }, all(engine))
      assert.is_false(lifetest.readable(fd))
    end)

    it("goes with the engine, and cqueues is told first", function()
      local before, told = support.fds(), {}
      local real = package.loaded.cqueues
      finally(function() package.loaded.cqueues = real end)
      package.loaded.cqueues = { cancel = function(fd)
        if support.sh(("readlink %s/%d/fd/%d"):format(support.proc,
          lvhdtest.pid(), fd)) then -- it is still open
          told[#told + 1] = fd
        end
      end }
      local fd
      do
        local engine = free()
        fd = engine:fd()
        disk(engine, 1):wait()
        engine:close()
      end
      assert.is_true(life.eventually(function()
        collect()
        lvhd.engine():close()
        return support.fds() == before
      end))
      local found = false
      for _, n in ipairs(told) do
        found = found or n == fd
      end
      assert.is_true(found)
    end)

    it("says so when there is none to be had #nosan", function()
      local out = life.prints([[
        local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
        local engine = lvhd.engine { threads = 1, sync = "none" }
        lvhdtest.limit("nofile", 3)
        local ok, err = pcall(engine.fd, engine)
        print(ok, lvhd.is_error(err, "VM_E_OUT_OF_RESOURCE"), err.syscall)
        -- the loop works without
        local late = engine:create_dynamic(... .. "/b.vhd", 64 << 20,
          { preflight = false })
        for t in engine:ended() do print(t == late, t:error() ~= nil) end
      ]], folder)
      assert.equal("false\ttrue\teventfd\ntrue\ttrue\n", out)
    end)
  end)

  -- ---- poll -----------------------------------------------------------

  describe("with a poll function", function()
    it("the loop waits through it", function()
      local asked, seconds = 0, {}
      local engine, system = life.gated { threads = 1,
        poll = function(object, left)
          asked = asked + 1
          seconds[#seconds + 1] = left or "none"
          assert.equal("r", object:events())
          coroutine.yield(object)
        end }
      system:hold { call = "openat" }
      local list = { disk(engine, 1), disk(engine, 2) }
      local got = {}
      local co = coroutine.wrap(function()
        for task in engine:ended() do
          got[#got + 1] = task
        end
        return "over"
      end)
      local object = co()
      assert.is_false(lifetest.readable(object:pollfd(), 0.02))
      assert.equal("none", seconds[1])
      system:drop()
      local result = object
      while result ~= "over" do
        assert.is_true(lifetest.readable(result:pollfd(), 20))
        result = co()
      end
      assert.same(list, got)
      assert.is_true(asked >= 1)
    end)

    it("gives it the time that is left", function()
      local lefts = {}
      local engine, system = life.gated { threads = 1,
        poll = function(object, left)
          lefts[#lefts + 1] = left
          lifetest.readable(object:pollfd(), left)
        end }
      system:hold { call = "openat" }
      disk(engine, 1)
      assert.same({}, all(engine, 0.2))
      assert.is_true(lefts[1] > 0 and lefts[1] <= 0.2)
      assert.same({}, all(engine, 0))
      system:drop()
    end)

    it("serves several loops; each task comes to one of them", function()
      local engine, system = life.gated { threads = 1,
        poll = function(object) coroutine.yield(object) end }
      system:hold { call = "openat" }
      local set, n, waiting = {}, 0, {}
      for i = 1, 5 do
        set[disk(engine, i)] = true
      end
      for i = 1, 8 do
        local co = coroutine.create(function()
          for task in engine:ended() do
            assert(set[task])
            set[task] = nil
            n = n + 1
          end
        end)
        local ok, object = coroutine.resume(co)
        assert.is_true(ok, object)
        waiting[i] = { co, object }
      end
      system:drop()
      -- each is resumed for its own object alone: none must be forgotten
      for _, pair in ipairs(waiting) do
        local co, object = pair[1], pair[2]
        while coroutine.status(co) ~= "dead" do
          assert.is_true(lifetest.readable(object:pollfd(), 20))
          local ok, next_object = coroutine.resume(co)
          assert.is_true(ok, next_object)
          object = next_object
        end
      end
      assert.equal(5, n)
    end)

    it("an engine may be closed while its loop waits", function()
      local engine, system = life.gated { threads = 1,
        poll = function(object) coroutine.yield(object) end }
      system:hold { call = "openat" }
      local tasks = { disk(engine, 1), disk(engine, 2) }
      local got = {}
      local loop = coroutine.create(function()
        for task in engine:ended() do
          got[#got + 1] = task
        end
      end)
      local closer = coroutine.create(function()
        engine:close { cancel = true }
      end)
      local _, first = coroutine.resume(loop)
      assert.is_true(system:await(1))
      local _, second = coroutine.resume(closer)
      assert.is_true(lifetest.readable(first:pollfd(), 20)) -- 2 is cancelled
      system:drop()
      for co, object in pairs { [loop] = first, [closer] = second } do
        while coroutine.status(co) ~= "dead" do
          assert.is_true(lifetest.readable(object:pollfd(), 20))
          local ok, next_object = coroutine.resume(co)
          assert.is_true(ok, next_object)
          object = next_object
        end
      end
      assert.same({ tasks[2], tasks[1] }, got)
    end)

    it("its error comes out, and the loop can go on", function()
      local fail = true
      local engine, system = life.gated { threads = 1,
        poll = function(object)
          if fail then
            error("from poll", 0)
          end
          lifetest.readable(object:pollfd(), 1)
        end }
      system:hold { call = "openat" }
      local task = disk(engine, 1)
      local ok, err = pcall(all, engine)
      assert.is_false(ok)
      assert.equal("from poll", err)
      fail = false
      system:drop()
      assert.same({ task }, all(engine))
    end)

    it("uses few descriptors", function()
      local seen, count = {}, 0
      local engine = free { poll = function(object)
        local fd = object:pollfd()
        if not seen[fd] then
          seen[fd] = true
          count = count + 1
        end
        lifetest.readable(fd, 1)
      end }
      begin(engine)
      for i = 1, 200 do
        disk(engine, i)
        assert.equal(1, #all(engine))
      end
      assert.is_true(count <= 1, count)
      engine:close()
    end)
  end)

  -- ---- Ctrl-C, fork ---------------------------------------------------

  local HEAD = [[
    local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
    local lifetest = require "lifetest"
    local folder = ...
    local e = lvhd.engine { threads = 1, sync = "none", preflight = false,
      system = lifetest.slow { pwritev = 0.05 } }
    local function interrupt()
      os.execute(("(sleep 0.3; kill -INT %d) >/dev/null 2>&1 &")
        :format(lvhdtest.pid()))
    end
    local task = e:create_fixed(folder .. "/long.vhd", 2048 << 20,
      { allocate = "zero" })
  ]]

  describe("Ctrl-C", function()
    it("ends the loop at once", function()
      local result = life.lua(HEAD .. [[
        interrupt()
        local start = lvhdtest.clock()
        local ok, err = pcall(function()
          for _ in e:ended() do end
        end)
        print(ok, tostring(err):match "interrupted!",
          lvhdtest.clock() - start < 1.3, task:status())
        task:cancel()
        for t in e:ended() do print(t == task) end
      ]], folder)
      assert.equal("false\tinterrupted!\ttrue\trunning\ntrue\n", result.out)
      assert.same({}, support.names(folder))
    end)

    it("ends it in a coroutine, too", function()
      local result = life.lua(HEAD .. [[
        interrupt()
        local start = lvhdtest.clock()
        coroutine.wrap(function()
          local ok, err = pcall(function()
            for _ in e:ended(30) do end
          end)
          print(ok, tostring(err):match "interrupted!",
            lvhdtest.clock() - start < 1.3)
        end)()
        print "not here"
      ]], folder)
      assert.equal("false\tinterrupted!\ttrue\n", result.out)
      assert.equal(1, result.code)
    end)
  end)

  it("a forked child gets E_HANDLE, and the parent all", function()
    local out = life.prints([[
      local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
      local folder = ...
      local e = lvhd.engine { threads = 1, sync = "none" }
      local fd = e:fd()
      local a = e:create_dynamic(folder .. "/a.vhd", 64 << 20)
      a:wait()
      local loop = e:ended()
      local code, text = lvhdtest.fork(function()
        local out = {}
        for _, f in ipairs { loop, function() return e:ended() end,
          function() return e:fd() end,
          function() return e:pollfd() end } do
          local ok, err = pcall(f)
          out[#out + 1] = tostring(ok) .. " "
            .. tostring(lvhd.is_error(err, "E_HANDLE"))
        end
        a, loop, e = nil, nil, nil
        collectgarbage()
        collectgarbage()
        return table.concat(out, ",")
      end)
      print(code, text)
      print(loop() == a, loop())
    ]], folder)
    assert.equal("0\tfalse true,false true,false true,false true\n"
      .. "true\tnil\n", out)
  end)
end)
