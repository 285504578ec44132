-- SPDX-License-Identifier: MIT
--
-- The task (design 1.3): waiting, asking, cancelling, its descriptor, and
-- what becomes of it when nobody holds it.  What is in a finished disk is
-- the business of other specs.

local support = require "spec.support"
local life = require "spec.support.life"

local lvhdtest, lifetest = life.modules()
local MiB = 1 << 20

describe("lvhd.task #tsan", function()
  if not lvhdtest then
    pending(tostring(lifetest))
    return
  end

  local lvhd = require "lvhd"
  local folder

  before_each(function()
    folder = support.tmpdir()
  end)

  after_each(life.clean)

  ---An engine of one thread that is held in its first linkat: the task is
  ---past the point of no return.  "openat": before it.
  local function held(call, opts)
    local engine, system = life.gated(opts or { threads = 1 })
    system:hold { call = call }
    return engine, system
  end

  local function is_error(err, name)
    assert.is_true(lvhd.is_error(err, name), tostring(err))
  end

  ---Raises an lvhd error of that name.
  local function raises(name, f, ...)
    local ok, err = pcall(f, ...)
    assert.is_false(ok)
    is_error(err, name)
    return err
  end

  ---Raises a plain string, since the program is at fault.
  local function wrong_use(f, ...)
    local ok, err = pcall(f, ...)
    assert.is_false(ok)
    assert.equal("string", type(err))
    return err
  end

  ---A failing task that has ended: its parent is missing.
  local function failed()
    local engine = life.gated { threads = 1 }
    local task = engine:create_differencing(folder .. "/x.vhd",
      folder .. "/missing.vhd")
    assert.is_true(life.eventually(function() return task:done() end))
    return task
  end

  -- ---- waiting --------------------------------------------------------

  describe("wait", function()
    it("gives the result, and the same again", function()
      local engine = life.gated()
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local info = task:wait()
      assert.equal(folder .. "/a.vhd", info.path)
      assert.equal(64 * MiB, info.size)
      assert.equal("dynamic", info.type)
      assert.same(info, task:wait())
      assert.same(info, task:wait(0))
      assert.equal(life.disk(info.path).uuid, info.uuid)
    end)

    it("gives a result that the program may spoil without harm", function()
      local engine = life.gated()
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local uuid = task:wait().uuid
      local ok = pcall(function() task:wait().path = 1 end)
      assert.is_true(ok)
      assert.equal(uuid, task:wait().uuid)
    end)

    it("raises the task's error, and the same again", function()
      local task = failed()
      local first = raises("E_PATH_NOT_FOUND", task.wait, task)
      local second = raises("E_PATH_NOT_FOUND", task.wait, task, 0)
      assert.equal("create_differencing", first.op)
      assert.equal(first.message, second.message)
      assert.equal(lvhd.hresult.E_PATH_NOT_FOUND, second.hresult)
      assert.same({}, support.names(folder))
    end)

    it("gives nil and VM_E_TIMED_OUT when the time is up", function()
      local engine, system = held "openat"
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      for _, seconds in ipairs { 0, 0.05, 0.3 } do
        local before = lvhdtest.clock()
        local info, err = task:wait(seconds)
        local took = lvhdtest.clock() - before
        assert.is_nil(info)
        is_error(err, "VM_E_TIMED_OUT")
        assert.equal(0xA0040202, err.hresult)
        -- the upper bound only says that it is no wait without end
        assert.is_true(took >= seconds and took < seconds + 5, took)
      end
      -- a time that is up says nothing about the task
      assert.is_nil(task:error())
      system:drop()
      assert.equal(folder .. "/a.vhd", task:wait().path)
    end)

    it("ends as soon as the task does", function()
      local engine, system = held "openat"
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      assert.is_true(system:await(1))
      system:drop()
      assert.is_truthy(task:wait(30))
    end)

    it("takes integers and floats, and refuses all else", function()
      local engine = life.gated()
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      assert.is_truthy(task:wait(20))
      assert.is_truthy(task:wait(20.5))
      assert.is_truthy(task:wait(math.huge))
      wrong_use(task.wait, task, "soon")
      wrong_use(task.wait, task, {})
      wrong_use(task.wait, {})
      wrong_use(task.wait)
    end)

    it("needs the engine to be neither held nor open", function()
      local engine = lvhd.engine { sync = "none" }
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      engine:close()
      assert.equal(64 * MiB, task:wait().size)
      local other = lvhd.engine { sync = "none" }
      task = other:create_dynamic(folder .. "/b.vhd", 64 * MiB)
      other = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.equal(64 * MiB, task:wait().size)
    end)
  end)

  -- ---- asking ---------------------------------------------------------

  describe("status and done", function()
    it("say queued, running, succeeded", function()
      local engine, system = held "openat"
      local first = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local second = engine:create_dynamic(folder .. "/b.vhd", 64 * MiB)
      assert.is_true(system:await(1))
      assert.equal("running", first:status())
      assert.equal("queued", second:status())
      assert.is_false(first:done())
      assert.is_false(second:done())
      system:drop()
      second:wait()
      first:wait()
      assert.equal("succeeded", first:status())
      assert.is_true(first:done())
      assert.equal("succeeded", second:status())
    end)

    it("say failed", function()
      local task = failed()
      assert.equal("failed", task:status())
      assert.is_true(task:done())
      is_error(task:error(), "E_PATH_NOT_FOUND")
    end)

    it("say cancelled", function()
      local engine, system = held "openat"
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      assert.is_true(system:await(1))
      assert.is_true(task:cancel())
      system:drop()
      raises("E_ABORT", task.wait, task)
      assert.equal("cancelled", task:status())
      assert.is_true(task:done())
    end)
  end)

  describe("error", function()
    it("is nil while it runs and after success", function()
      local engine, system = held "openat"
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      assert.is_nil(task:error())
      system:drop()
      task:wait()
      assert.is_nil(task:error())
    end)

    it("never raises, and is the error that wait raises", function()
      local task = failed()
      local err = task:error()
      is_error(err, "E_PATH_NOT_FOUND")
      local raised = raises("E_PATH_NOT_FOUND", task.wait, task)
      assert.equal(err.message, raised.message)
      assert.equal(err.path, raised.path)
      is_error(task:error(), "E_PATH_NOT_FOUND")
    end)
  end)

  describe("progress", function()
    it("is 0 while queued and 100 only after success", function()
      local engine, system = held "linkat"
      local task = engine:create_fixed(folder .. "/a.vhd", 8 * MiB,
        { allocate = "zero" })
      local queued = engine:create_dynamic(folder .. "/b.vhd", 64 * MiB)
      assert.is_true(system:await(1))
      assert.equal(0, (queued:progress()))
      -- every byte is written, and still it is not there
      local percent = task:progress()
      assert.equal("integer", math.type(percent))
      assert.is_true(percent < 100)
      system:drop()
      task:wait()
      assert.equal(100, (task:progress()))
      queued:wait()
      assert.equal(100, (queued:progress()))
    end)

    it("never reaches 100 when it fails", function()
      assert.is_true((failed():progress()) < 100)
    end)

    it("counts bytes and never runs backwards", function()
      local engine, system = held("pwritev")
      local size = 32 * MiB
      local task = engine:create_fixed(folder .. "/a.vhd", size,
        { allocate = "zero" })
      local last = { 0, 0, 0 }
      local seen = {}
      local function look()
        local percent, bytes, all, items, items_all = task:progress()
        assert.is_true(percent >= last[1] and percent <= 100)
        assert.is_true(bytes >= last[2])
        assert.is_true(items >= last[3])
        if all then
          assert.is_true(bytes <= all)
        end
        assert.equal("number", type(items_all))
        last = { percent, bytes, items }
        seen[percent] = true
      end
      -- one write at a time: hold the next one, let the held one go
      local rule
      for _ = 1, 6 do
        while not system:await(1, 0.02) and not task:done() do
          look()
        end
        look()
        local next_rule = system:hold { call = "pwritev" }
        system:drop(rule)
        rule = next_rule
        if task:done() then
          break
        end
      end
      system:drop()
      while not task:done() do
        look()
      end
      look()
      task:wait()
      look()
      assert.equal(100, last[1])
      assert.is_true(last[2] >= size)
      local _, _, all = task:progress()
      assert.is_true(all == nil or all == last[2])
      assert.is_true(seen[0])
    end)
  end)

  it("elapsed counts while it runs and stands still afterwards", function()
    local engine, system = held "openat"
    local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
    assert.is_true(system:await(1))
    local first = task:elapsed()
    assert.equal("number", type(first))
    assert.is_true(first >= 0)
    lvhdtest.sleep(0.02)
    assert.is_true(task:elapsed() > first)
    system:drop()
    task:wait()
    local last = task:elapsed()
    assert.is_true(last >= 0.02 and last < 60)
    lvhdtest.sleep(0.02)
    assert.equal(last, task:elapsed())
  end)

  it("prints verb, path, status and percent", function()
    local engine, system = held "openat"
    local parent = lvhd.engine { sync = "none" }
    parent:create_dynamic(folder .. "/base.vhd", 64 * MiB):wait()
    parent:close()
    local task = engine:create_differencing(folder .. "/a.vhd",
      folder .. "/base.vhd")
    local queued = engine:create_dynamic(folder .. "/b.vhd", 64 * MiB)
    assert.is_true(system:await(1))
    assert.equal(("lvhd.task: create_differencing '%s/a.vhd' (running, 0%%)")
      :format(folder), tostring(task))
    assert.matches("^lvhd%.task: create_dynamic '.*/b%.vhd' %(queued",
      tostring(queued))
    system:drop()
    task:wait()
    assert.matches("^lvhd%.task: create_differencing '.*/a%.vhd' %(succeeded",
      tostring(task))
    queued:wait()
    assert.matches("^lvhd%.task: create_differencing '.*/x%.vhd' %(failed",
      tostring(failed()))
  end)

  it("knows no other method and takes no field", function()
    local engine = life.gated()
    local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
    local ok, value = pcall(function() return task.await end)
    assert.is_true(not ok or value == nil)
    assert.is_false(pcall(function() task.x = 1 end))
    task:wait()
  end)

  -- ---- cancelling -----------------------------------------------------

  describe("cancel", function()
    it("ends a queued task and leaves nothing", function()
      local engine, system = held "openat"
      local first = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local second = engine:create_dynamic(folder .. "/sub/b.vhd", 64 * MiB)
      assert.is_true(system:await(1))
      assert.is_true(second:cancel())
      assert.is_true(second:cancel())
      system:drop()
      first:wait()
      local err = raises("E_ABORT", second.wait, second)
      assert.equal(0x80004004, err.hresult)
      is_error(second:error(), "E_ABORT")
      assert.equal("cancelled", second:status())
      assert.is_true((second:progress()) < 100)
      assert.same({ "a.vhd" }, support.names(folder))
    end)

    it("ends a fixed disk that is being written and leaves nothing",
      function()
        local engine, system = life.gated { threads = 1 }
        -- the first pieces pass: there is something to clean up
        system:hold { call = "pwritev", nth = 3 }
        local task = engine:create_fixed(folder .. "/sub/a.vhd", 64 * MiB,
          { allocate = "zero" })
        assert.is_true(system:await(1))
        assert.equal("running", task:status())
        assert.is_true(task:cancel())
        local written = system:count "pwritev"
        system:drop()
        raises("E_ABORT", task.wait, task)
        -- it is looked at every 4 MiB at the least
        assert.is_true(system:count "pwritev" <= written + 1)
        assert.same({}, support.names(folder))
      end)

    it("wins when all bytes are written and the name is not there",
      function()
        -- nothing looks for a cancel behind this write but the commit
        local engine, system = held "pwritev"
        local task = engine:create_dynamic(folder .. "/sub/a.vhd", 64 * MiB)
        assert.is_true(system:await(1))
        assert.is_true(task:cancel())
        system:drop()
        raises("E_ABORT", task.wait, task)
        assert.same({}, support.names(folder))
      end)

    it("comes too late after the point of no return", function()
      local engine, system = held "linkat"
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      assert.is_true(system:await(1))
      assert.is_false(task:cancel())
      system:drop()
      assert.equal(folder .. "/a.vhd", task:wait().path)
      assert.equal("succeeded", task:status())
      assert.is_truthy(life.disk(folder .. "/a.vhd"))
    end)

    it("comes too late after success and after failure", function()
      local engine = life.gated()
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      task:wait()
      assert.is_false(task:cancel())
      assert.is_truthy(task:wait())
      assert.same({ "a.vhd" }, support.names(folder))
      task = failed()
      assert.is_false(task:cancel())
      assert.equal("failed", task:status())
    end)

    it("keeps its promise at any moment", function()
      local engine = lvhd.engine { threads = 2, sync = "none",
        preflight = false }
      for i = 1, 150 do
        local path = folder .. "/" .. i .. ".vhd"
        local task = engine:create_dynamic(path, 64 * MiB)
        for _ = 1, i * 40 do -- a moment that differs each time
          task:status()
        end
        local promised = task:cancel()
        local ok, result = pcall(task.wait, task)
        assert.equal(promised, not ok)
        if ok then
          assert.is_truthy(life.disk(path))
        else
          is_error(result, "E_ABORT")
          assert.is_nil((io.open(path)))
        end
      end
      engine:close()
    end)
  end)

  -- ---- the end of the handle ------------------------------------------

  describe("<close>", function()
    it("cancels and waits", function()
      local engine, system = life.gated { threads = 1 }
      system:hold { call = "pwritev", nth = 2 }
      local kept
      do
        local task <close> = engine:create_fixed(folder .. "/a.vhd",
          64 * MiB, { allocate = "zero" })
        kept = task
        assert.is_true(system:await(1))
        -- the worker can only end after the cancel below has been seen
        system:drop()
      end
      assert.is_true(kept:done())
      if kept:status() == "cancelled" then
        assert.same({}, support.names(folder))
      end
    end)

    it("cancels a queued task, which never starts", function()
      local engine, system = held "openat"
      local first = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      assert.is_true(system:await(1))
      local kept
      do
        local task <close> = engine:create_dynamic(folder .. "/b.vhd",
          64 * MiB)
        kept = task
      end
      assert.equal("cancelled", kept:status())
      system:drop()
      first:wait()
      assert.same({ "a.vhd" }, support.names(folder))
    end)

    it("does nothing to a task that has ended", function()
      local engine = life.gated()
      do
        local task <close> = engine:create_dynamic(folder .. "/a.vhd",
          64 * MiB)
        task:wait()
      end
      assert.is_truthy(life.disk(folder .. "/a.vhd"))
    end)

    it("works when an error leaves the block", function()
      local engine, system = held "openat"
      local first = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      assert.is_true(system:await(1))
      local kept
      local ok, err = pcall(function()
        local task <close> = engine:create_dynamic(folder .. "/b.vhd",
          64 * MiB)
        kept = task
        error("mine", 0)
      end)
      assert.is_false(ok)
      assert.equal("mine", err)
      assert.equal("cancelled", kept:status())
      system:drop()
      first:wait()
    end)
  end)

  describe("a collected task", function()
    it("goes on", function()
      local engine, system = held "openat"
      engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      engine:create_dynamic(folder .. "/b.vhd", 64 * MiB)
      collectgarbage()
      collectgarbage()
      system:drop()
      engine:close()
      assert.same({ "a.vhd", "b.vhd" }, support.names(folder))
      assert.is_truthy(life.disk(folder .. "/a.vhd"))
      assert.is_truthy(life.disk(folder .. "/b.vhd"))
    end)

    it("warns of an error that nobody read, once", function()
      local result = life.lua([[
        local lvhd = require "lvhd"
        local folder = ...
        warn "@on"
        local engine = lvhd.engine { preflight = false, sync = "none" }
        local missing = folder .. "/missing.vhd"
        -- unread, collected after its end
        local task = engine:create_differencing(folder .. "/1.vhd", missing)
        while not task:done() do end
        task = nil
        collectgarbage() collectgarbage()
        -- unread, collected before its end
        engine:create_differencing(folder .. "/2.vhd", missing)
        collectgarbage() collectgarbage()
        -- read in one way or the other
        task = engine:create_differencing(folder .. "/3.vhd", missing)
        pcall(task.wait, task)
        task = engine:create_differencing(folder .. "/4.vhd", missing)
        while not task:done() do end
        task:error()
        engine:close()
      ]], folder)
      assert.equal(0, result.code, result.err)
      local _, count = result.err:gsub("E_PATH_NOT_FOUND", "")
      assert.equal(2, count, result.err)
      assert.matches("Lua warning: .*/1%.vhd", result.err)
      assert.matches("Lua warning: .*/2%.vhd", result.err)
      assert.not_matches("/3%.vhd", result.err)
      assert.not_matches("/4%.vhd", result.err)
    end)
  end)

  -- ---- the descriptor -------------------------------------------------

  describe("fd", function()
    it("is made at the first call and is one's own", function()
      local engine, system = held("openat", { threads = 2 })
      local first = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local second = engine:create_dynamic(folder .. "/b.vhd", 64 * MiB)
      assert.is_true(system:await(2))
      local before = support.fds()
      local fd = first:fd()
      assert.equal("integer", math.type(fd))
      assert.equal(before + 1, support.fds())
      assert.equal(fd, first:fd())
      assert.equal(fd, first:pollfd())
      assert.equal(fd, first:getfd())
      assert.equal(before + 1, support.fds())
      assert.not_equal(fd, second:fd())
      assert.equal("r", first:events())
      assert.is_false(lifetest.readable(fd))
      system:drop()
      first:wait()
      second:wait()
    end)

    it("becomes readable at the end and stays so", function()
      local engine, system = held "openat"
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local fd = task:fd()
      assert.is_false(lifetest.readable(fd))
      system:drop()
      assert.is_true(lifetest.readable(fd, 20))
      assert.is_true(task:done())
      for _ = 1, 3 do
        assert.is_true(lifetest.readable(fd))
        task:wait()
      end
    end)

    it("made after the end is readable at once", function()
      local task = failed()
      assert.is_true(lifetest.readable(task:fd()))
      task:error()
    end)

    it("becomes readable when the task is cancelled", function()
      local engine, system = held "openat"
      local first = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local second = engine:create_dynamic(folder .. "/b.vhd", 64 * MiB)
      assert.is_true(system:await(1))
      local fd = second:fd()
      second:cancel()
      system:drop()
      assert.is_true(lifetest.readable(fd, 20))
      first:wait()
    end)

    it("is closed with the task, which tells cqueues first", function()
      local told = {}
      local real = package.loaded.cqueues
      package.loaded.cqueues = {
        cancel = function(fd) told[#told + 1] = fd end,
      }
      local engine = life.gated()
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local fd = task:fd()
      task:wait()
      local before = support.fds()
      task = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      package.loaded.cqueues = real
      assert.same({ fd }, told)
      assert.equal(before - 1, support.fds())
    end)

    it("is close-on-exec", function()
      local engine = life.gated()
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local fd = task:fd()
      task:wait()
      local flags = support.read(support.proc .. "/self/fdinfo/" .. fd)
        :match("flags:%s*(%d+)")
      assert.equal(tonumber("2000000", 8),
        tonumber(flags, 8) & tonumber("2000000", 8))
    end)

    it("fails with VM_E_OUT_OF_RESOURCE when there is none", function()
      local out = life.prints([[
        local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
        local engine = lvhd.engine { sync = "none" }
        local task = engine:create_dynamic(... .. "/a.vhd", 64 << 20)
        task:wait()
        local before = lvhdtest.limit("nofile", 1)
        local ok, err = pcall(task.fd, task)
        lvhdtest.limit("nofile", before)
        print(ok, err.name, task:fd() >= 0)
        assert(task:wait())
      ]], folder)
      assert.equal("false\tVM_E_OUT_OF_RESOURCE\ttrue\n", out)
    end)
  end)

  it("answers event loops: events, timeout, dirty", function()
    local engine, system = held "openat"
    local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
    assert.equal("r", task:events())
    local timeout = task:timeout()
    assert.is_true(timeout == nil or type(timeout) == "number")
    assert.is_falsy(task:dirty())
    system:drop()
    task:wait()
    -- LuaSocket's select takes a dirty object as readable at once; either
    -- this or the descriptor must say so
    assert.is_true(task:dirty() == true or lifetest.readable(task:getfd()))
  end)
end)
