-- SPDX-License-Identifier: MIT
--
-- The engine (design 1.2): its options, its end, the default engine, and
-- waiting through a `poll` function.  What an option does to a path or a
-- file is the business of the specs of paths and of creation; here stands
-- that it is known, checked, and overridden by a call's own.

local support = require "spec.support"
local life = require "spec.support.life"

local lvhdtest, lifetest = life.modules()
local MiB = 1 << 20

describe("lvhd.engine #tsan", function()
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

  local function raises(name, f, ...)
    local ok, err = pcall(f, ...)
    assert.is_false(ok)
    assert.is_true(lvhd.is_error(err, name), tostring(err))
    return err
  end

  local function wrong_use(f, ...)
    local ok, err = pcall(f, ...)
    assert.is_false(ok)
    assert.equal("string", type(err), tostring(err))
    return err
  end

  ---Threads of this process that exist beyond those of a moment ago.
  local function threads_since(before)
    return life.threads() - before
  end

  -- ---- options --------------------------------------------------------

  describe("options", function()
    it("of this version are all known", function()
      local engine <close> = lvhd.engine {
        threads = 2, sync = "data", base = folder, long_paths = true,
        names = "host", preflight = false, dry_run = true,
        poll = function() end,
        parents = { "/golden", "base.vhd" }, max_depth = 1024,
        children_in = { "/vms", "more" },
      }
      assert.equal("userdata", type(engine))
      for _, value in ipairs { "/vms", false } do
        local other <close> = lvhd.engine { children_in = value }
        assert.equal("userdata", type(other))
      end
    end)

    it("may be absent", function()
      local first <close> = lvhd.engine()
      local second <close> = lvhd.engine {}
      assert.is_truthy(first)
      assert.is_truthy(second)
    end)

    it("that are unknown are argument errors naming the nearest", function()
      for wrong, right in pairs {
        thread = "threads", snyc = "sync", bas = "base", parent = "parents",
        longpaths = "long_paths", name = "names", preflihgt = "preflight",
        pol = "poll", child_in = "children_in",
      } do
        local text = wrong_use(lvhd.engine, { [wrong] = true })
        assert.matches(wrong, text, 1, true)
        assert.matches(right, text, 1, true)
      end
      wrong_use(lvhd.engine, { "threads" })
    end)

    it("of the wrong type are argument errors", function()
      for name, value in pairs {
        threads = "two", sync = 1, base = 7, long_paths = "yes",
        names = true, preflight = 0, dry_run = 1, poll = {}, parents = 5,
        max_depth = "deep", children_in = true, drives = { "/a" },
      } do
        assert.matches(name, wrong_use(lvhd.engine, { [name] = value }), 1,
          true)
      end
      for _, list in ipairs { { 1 }, { "a", true }, { x = "a" }, { "a\0b" },
        { "a", nil, "c" }, { [0] = "a" }, "a\0b", { {} } } do
        assert.matches("parents", wrong_use(lvhd.engine, { parents = list }),
          1, true)
        assert.matches("children_in",
          wrong_use(lvhd.engine, { children_in = list }), 1, true)
      end
      for _, depth in ipairs { 0, -1, 1025, 1.5, math.maxinteger } do
        wrong_use(lvhd.engine, { max_depth = depth })
      end
      wrong_use(lvhd.engine, { sync = "most" })
      wrong_use(lvhd.engine, { names = "dos" })
      wrong_use(lvhd.engine, { threads = 1.5 })
      wrong_use(lvhd.engine, { threads = 0 })
      wrong_use(lvhd.engine, { threads = -1 })
      wrong_use(lvhd.engine, "threads")
    end)

    it("base must be absolute", function()
      raises("E_BAD_PATHNAME", lvhd.engine, { base = "here" })
    end)

    it("base is where relative paths start", function()
      local engine <close> = lvhd.engine { base = folder, sync = "none" }
      assert.equal(folder .. "/a.vhd",
        engine:create_dynamic("a.vhd", 64 * MiB):wait().path)
    end)

    it("given to a call win over the engine's", function()
      support.mkdir(folder .. "/sub")
      local engine <close> = lvhd.engine { base = folder, sync = "none" }
      local opts = { base = folder .. "/sub", names = "host" }
      assert.equal(folder .. "/sub/a?.vhd",
        engine:create_dynamic("a?.vhd", 64 * MiB, opts):wait().path)
      raises("E_INVALID_NAME", engine.create_dynamic, engine, "a?.vhd",
        64 * MiB)
    end)

    it("preflight=false moves the checks of the disk to the task",
      function()
        local missing = folder .. "/missing.vhd"
        local engine <close> = lvhd.engine { preflight = false }
        local task = engine:create_differencing(folder .. "/a.vhd", missing)
        raises("E_PATH_NOT_FOUND", task.wait, task)
        raises("E_PATH_NOT_FOUND", engine.create_differencing, engine,
          folder .. "/a.vhd", missing, { preflight = true })
        -- strings are always checked by the call
        raises("E_BAD_PATHNAME", engine.create_differencing, engine, "a.vhd",
          "b.vhd")
      end)

    it("threads bounds the workers, which start when there is work",
      function()
        local before = life.threads()
        local engine, system = life.gated { threads = 3 }
        system:hold { call = "openat" }
        assert.equal(0, threads_since(before))
        for i = 1, 6 do
          engine:create_dynamic(folder .. "/" .. i .. ".vhd", 64 * MiB)
        end
        assert.is_true(system:await(3))
        assert.equal(3, threads_since(before))
        assert.is_false(system:await(4, 0.05))
        system:drop()
        engine:close()
        assert.equal(before, life.threads())
        assert.equal(6, #support.names(folder))
      end)
  end)

  it("keeps a worker for short tasks while long ones wait", function()
    -- the mode is set when all is written: a call that only they make
    local zero = { allocate = "zero", mode = "0600" }
    local engine, system = life.gated { threads = 2 }
    system:hold { call = "fchmod" }
    local first = engine:create_fixed(folder .. "/1.vhd", 8 * MiB, zero)
    assert.is_true(system:await(1))
    finally(function() system:drop() end)
    local second = engine:create_fixed(folder .. "/2.vhd", 8 * MiB, zero)
    local short = engine:create_dynamic(folder .. "/3.vhd", 64 * MiB)
    assert.is_table((short:wait(20)))
    assert.equal("running", first:status())
    assert.equal("queued", second:status())
    system:drop()
    first:wait()
    second:wait()
    engine:close()
  end)

  it("runs long tasks with one worker, too", function()
    local engine <close> = lvhd.engine { threads = 1, sync = "none" }
    for i = 1, 2 do
      engine:create_fixed(folder .. "/" .. i .. ".vhd", 8 * MiB,
        { allocate = "zero" }):wait()
    end
  end)

  it("has no other method and takes no field", function()
    local engine <close> = lvhd.engine()
    local ok, value = pcall(function() return engine.creat end)
    assert.is_true(not ok or value == nil)
    assert.is_false(pcall(function() engine.x = 1 end))
    wrong_use(engine.create_dynamic, {}, folder .. "/a.vhd", 64 * MiB)
    assert.matches("^lvhd%.engine", tostring(engine))
  end)

  -- ---- closing --------------------------------------------------------

  describe("close", function()
    it("waits for what is there and joins the threads", function()
      local before = life.threads()
      local engine = lvhd.engine { sync = "none", threads = 2 }
      for i = 1, 20 do
        engine:create_dynamic(folder .. "/" .. i .. ".vhd", 64 * MiB)
      end
      engine:close()
      assert.equal(20, #support.names(folder))
      assert.equal(before, life.threads())
    end)

    it("with cancel ends what is there", function()
      local engine, system = life.gated { threads = 1 }
      system:hold { call = "pwritev", nth = 2, path = nil }
      local first = engine:create_fixed(folder .. "/a.vhd", 256 * MiB,
        { allocate = "zero" })
      local second = engine:create_dynamic(folder .. "/b.vhd", 64 * MiB)
      assert.is_true(system:await(1))
      -- cancelled first, so that nothing depends on who is quicker
      second:cancel()
      first:cancel()
      system:drop()
      engine:close { cancel = true }
      assert.equal("cancelled", first:status())
      assert.equal("cancelled", second:status())
      raises("E_ABORT", first.wait, first)
      assert.same({}, support.names(folder))
    end)

    it("with cancel ends queued tasks that nobody cancelled", function()
      -- 1 GiB of zeros is in front: the queue cannot get empty before
      local engine = lvhd.engine { threads = 1, sync = "none",
        preflight = false }
      local tasks = {}
      for i = 1, 5 do
        tasks[i] = engine:create_fixed(folder .. "/" .. i .. ".vhd",
          1024 * MiB, { allocate = "zero" })
      end
      engine:close { cancel = true }
      for _, task in ipairs(tasks) do
        assert.equal("cancelled", task:status())
      end
      assert.same({}, support.names(folder))
    end)

    it("refuses new work, then and ever after", function()
      local engine = lvhd.engine { base = folder }
      engine:close()
      for _ = 1, 2 do
        local err = raises("VM_E_APP_SHUTTING_DOWN", engine.create_dynamic,
          engine, "a.vhd", 64 * MiB)
        assert.equal("create_dynamic", err.op)
        raises("VM_E_APP_SHUTTING_DOWN", engine.create_fixed, engine,
          "a.vhd", 64 * MiB)
        raises("VM_E_APP_SHUTTING_DOWN", engine.create_differencing, engine,
          "a.vhd", "b.vhd")
      end
      -- before the strings, after the types and nil (design 1.5)
      raises("VM_E_APP_SHUTTING_DOWN", engine.create_dynamic, engine, "",
        64 * MiB)
      raises("E_POINTER", engine.create_dynamic, engine, nil, 64 * MiB)
      wrong_use(engine.create_dynamic, engine, {}, 64 * MiB)
      assert.same({}, support.names(folder))
    end)

    it("may be called again", function()
      local engine = lvhd.engine()
      engine:close()
      engine:close()
      engine:close { cancel = true }
      wrong_use(engine.close, engine, { cancle = true })
    end)

    it("leaves results where they are", function()
      local engine = lvhd.engine { sync = "none" }
      local good = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      engine:close()
      assert.equal("succeeded", good:status())
      assert.equal(64 * MiB, good:wait().size)
      assert.is_true(lifetest.readable(good:fd()))
    end)

    it("and collection give every descriptor back", function()
      local before = support.fds()
      do
        local engine = lvhd.engine { sync = "none", poll = function(object)
          lifetest.readable(object:pollfd(), 1)
        end }
        engine:create_dynamic(folder .. "/a.vhd", 64 * MiB):wait()
        engine:create_dynamic(folder .. "/b.vhd", 64 * MiB):fd()
        engine:close()
      end
      collectgarbage()
      collectgarbage()
      lvhd.engine():close() -- what was collected goes at the next call
      assert.equal(before, support.fds())
    end)
  end)

  describe("<close>", function()
    it("closes and waits for what is there", function()
      do
        local engine <close> = lvhd.engine { sync = "none", base = folder }
        for i = 1, 8 do
          engine:create_dynamic(i .. ".vhd", 64 * MiB)
        end
      end
      assert.equal(8, #support.names(folder))
    end)

    it("cancels when an error leaves the block", function()
      local tasks = {}
      local ok, err = pcall(function()
        local engine <close> = lvhd.engine { threads = 1, sync = "none",
          preflight = false }
        for i = 1, 3 do
          tasks[i] = engine:create_fixed(folder .. "/" .. i .. ".vhd",
            1024 * MiB, { allocate = "zero" })
        end
        error("mine", 0)
      end)
      assert.is_false(ok)
      assert.equal("mine", err)
      for _, task in ipairs(tasks) do
        assert.equal("cancelled", task:status())
      end
      assert.same({}, support.names(folder))
    end)
  end)

  -- ---- collection -----------------------------------------------------

  describe("collection", function()
    it("waits for no one", function()
      local engine, system = life.gated { threads = 1 }
      system:hold { call = "openat" }
      -- a second engine on the same table, held by nothing but its task
      local task = lvhd.engine { system = system:pointer(), threads = 1,
        preflight = false, sync = "none" }
        :create_dynamic(folder .. "/a.vhd", 64 * MiB)
      assert.is_true(system:await(1))
      local before = lvhdtest.clock()
      collectgarbage()
      collectgarbage()
      assert.is_true(lvhdtest.clock() - before < 5)
      assert.equal("running", task:status())
      system:drop()
      assert.is_truthy(task:wait())
      engine:close()
    end)

    it("of engine and tasks lets the work go on", function()
      local before = life.threads()
      local _, system = life.gated { threads = 1 }
      system:hold { call = "openat" }
      for i = 1, 3 do
        lvhd.engine { system = system:pointer(), threads = 1,
          preflight = false, sync = "none" }
          :create_dynamic(folder .. "/" .. i .. ".vhd", 64 * MiB)
      end
      assert.is_true(system:await(3))
      local start = lvhdtest.clock()
      collectgarbage()
      collectgarbage()
      assert.is_true(lvhdtest.clock() - start < 5)
      system:drop()
      assert.is_true(life.eventually(function()
        return #support.names(folder) == 3
      end))
      -- a collected engine is joined at the next call, when it is idle
      assert.is_true(life.eventually(function()
        lvhd.engine():close()
        collectgarbage()
        return support.threads() <= before
      end))
    end)

    it("of an idle engine takes its threads and descriptors", function()
      local threads, fds = life.threads(), support.fds()
      for i = 1, 5 do
        lvhd.engine { sync = "none", threads = 2 }
          :create_dynamic(folder .. "/" .. i .. ".vhd", 64 * MiB):wait()
      end
      assert.is_true(life.eventually(function()
        collectgarbage()
        lvhd.engine():close()
        return support.threads() <= threads and support.fds() == fds
      end))
    end)
  end)

  it("shares nothing with another engine", function()
    local first, system = life.gated { threads = 1 }
    system:hold { call = "openat" }
    local held = first:create_dynamic(folder .. "/a.vhd", 64 * MiB)
    assert.is_true(system:await(1))
    finally(function() system:drop() end)
    local second = lvhd.engine { sync = "none", threads = 1 }
    assert.is_truthy(second:create_dynamic(folder .. "/b.vhd", 64 * MiB)
      :wait(20))
    second:close { cancel = true }
    assert.equal("running", held:status())
    system:drop()
    assert.is_truthy(held:wait())
    raises("VM_E_APP_SHUTTING_DOWN", second.create_dynamic, second,
      folder .. "/c.vhd", 64 * MiB)
    assert.is_truthy(first:create_dynamic(folder .. "/c.vhd", 64 * MiB)
      :wait())
  end)

  -- ---- the default engine ---------------------------------------------

  describe("the default engine", function()
    it("is made at first use and is one", function()
      local out = life.prints([[
        local lvhd = require "lvhd"
        local folder = ...
        lvhd.create_dynamic(folder .. "/a.vhd", 64 << 20):wait()
        local engine = lvhd.default_engine()
        print(engine == lvhd.default_engine())
        engine:create_dynamic(folder .. "/b.vhd", 64 << 20):wait()
        -- closing it closes what the module's functions use
        engine:close()
        print(select(2, pcall(lvhd.create_dynamic, folder .. "/c.vhd",
          64 << 20)).name)
      ]], folder)
      assert.equal("true\nVM_E_APP_SHUTTING_DOWN\n", out)
      assert.same({ "a.vhd", "b.vhd" }, support.names(folder))
    end)

    it("takes options as long as it is not made", function()
      local out = life.prints([[
        local lvhd = require "lvhd"
        local folder = ...
        -- a refused call makes no engine
        print(type(select(2, pcall(lvhd.default_engine, { bass = "/" }))))
        local engine = lvhd.default_engine { base = folder, threads = 1 }
        print(lvhd.create_dynamic("a.vhd", 64 << 20):wait().path)
        print(lvhd.default_engine() == engine)
        local ok, err = pcall(lvhd.default_engine, { threads = 2 })
        print(ok, type(err))
        print(pcall(lvhd.default_engine))
      ]], folder)
      assert.matches(("^string\n%s/a%%.vhd\ntrue\nfalse\tstring\ntrue\t")
        :format(folder:gsub("%p", "%%%0")), out)
    end)

    it("refuses options once a module function has made it", function()
      local out = life.prints([[
        local lvhd = require "lvhd"
        lvhd.create_dynamic(... .. "/a.vhd", 64 << 20):wait()
        local ok, err = pcall(lvhd.default_engine, { threads = 1 })
        print(ok, type(err))
      ]], folder)
      assert.equal("false\tstring\n", out)
    end)

    it("is not made by require", function()
      local out = life.prints([[
        local support = require "spec.support"
        local before = support.threads() .. " " .. support.fds()
        require "lvhd"
        print(before == support.threads() .. " " .. support.fds())
      ]])
      assert.equal("true\n", out)
    end)
  end)

  -- ---- waiting through poll -------------------------------------------

  describe("poll", function()
    ---Engine whose waits yield (object, seconds), held in its first openat.
    local function yielding(opts)
      local all = { threads = 1, poll = function(object, seconds)
        coroutine.yield(object, seconds)
      end }
      for name, value in pairs(opts or {}) do
        all[name] = value
      end
      local engine, system = life.gated(all)
      system:hold { call = "openat" }
      return engine, system
    end

    ---Starts a coroutine that waits; gives it and the object it waits for.
    local function waiting(task, seconds)
      local co = coroutine.create(function()
        return task:wait(seconds)
      end)
      local ok, object, time = coroutine.resume(co)
      assert.is_true(ok, tostring(object))
      return co, object, time
    end

    ---Resumes as an event loop does: when the descriptor is readable.
    local function finish(co, object)
      local ok, result, err
      while true do
        assert.is_true(lifetest.readable(object:pollfd(), 20))
        ok, result, err = coroutine.resume(co)
        assert.is_true(ok, tostring(result))
        if coroutine.status(co) == "dead" then
          return result, err
        end
        object = result
      end
    end

    it("gets an object that event loops take", function()
      local engine, system = yielding()
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local co, object = waiting(task)
      local fd = object:pollfd()
      assert.equal("integer", math.type(fd))
      assert.equal(fd, object:getfd())
      assert.equal("r", object:events())
      local timeout = object:timeout()
      assert.is_true(timeout == nil or timeout > 0)
      assert.is_falsy(object:dirty())
      assert.is_false(lifetest.readable(fd))
      system:drop()
      assert.equal(64 * MiB, finish(co, object).size)
      assert.equal(64 * MiB, task:wait().size)
    end)

    it("gets the seconds that are left", function()
      local engine, system = yielding()
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local co, _, seconds = waiting(task, 5)
      assert.is_true(seconds > 0 and seconds <= 5)
      coroutine.close(co)
      local short, object, left = waiting(task, 0.05)
      assert.is_true(left > 0 and left <= 0.05)
      lifetest.readable(object:pollfd(), left)
      local limit = lvhdtest.clock() + 20
      local ok, result, err
      repeat
        ok, result, err = coroutine.resume(short)
      until coroutine.status(short) == "dead" or lvhdtest.clock() > limit
      assert.is_true(ok, tostring(result))
      assert.is_nil(result)
      assert.is_true(lvhd.is_error(err, "VM_E_TIMED_OUT"))
      system:drop()
    end)

    it("is not asked when there is nothing to wait for", function()
      local asked = 0
      local engine, system = life.gated { threads = 1, poll = function()
        asked = asked + 1
      end }
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      assert.is_true(life.eventually(function() return task:done() end))
      task:wait()
      assert.equal(0, asked)
      system:hold { call = "openat" }
      task = engine:create_dynamic(folder .. "/b.vhd", 64 * MiB)
      local info, err = task:wait(0)
      assert.is_nil(info)
      assert.equal("VM_E_TIMED_OUT", err.name)
      assert.equal(0, asked)
    end)

    it("may come back early, or for no reason", function()
      local asked = 0
      local engine, system = life.gated { threads = 1 }
      engine:close()
      engine, system = life.gated { threads = 1, poll = function()
        asked = asked + 1
        if asked == 500 then
          system:drop()
        end
      end }
      system:hold { call = "openat" }
      assert.is_truthy(engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
        :wait())
      assert.is_true(asked >= 500)
    end)

    it("may raise; its error comes out of wait, and the task goes on",
      function()
        local fail = true
        local engine, system = life.gated { threads = 1,
          poll = function(object)
            if fail then
              error("from poll", 0)
            end
            lifetest.readable(object:pollfd(), 1)
          end }
        system:hold { call = "openat" }
        local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
        local ok, err = pcall(task.wait, task)
        assert.is_false(ok)
        assert.equal("from poll", err)
        fail = false
        system:drop()
        assert.is_truthy(task:wait())
      end)

    it("uses one descriptor for one wait after the other", function()
      local seen, count = {}, 0
      local engine = lvhd.engine { threads = 1, sync = "none",
        poll = function(object)
          local fd = object:pollfd()
          if not seen[fd] then
            seen[fd] = true
            count = count + 1
          end
          lifetest.readable(fd, 1)
        end }
      for i = 1, 300 do
        engine:create_dynamic(folder .. "/" .. i .. ".vhd", 64 * MiB):wait()
      end
      assert.is_true(count <= 1, count)
      -- it lives as long as the engine
      engine:close()
    end)

    it("serves several coroutines that wait on one task", function()
      local engine, system = yielding()
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local list, fds = {}, {}
      for i = 1, 5 do
        local co, object = waiting(task)
        list[i] = { co, object }
        fds[object:pollfd()] = true
      end
      local n = 0
      for _ in pairs(fds) do
        n = n + 1
      end
      assert.equal(5, n)
      system:drop()
      for i = 1, 5 do
        assert.equal(64 * MiB, finish(table.unpack(list[i])).size)
      end
    end)

    it("serves coroutines that wait on many tasks", function()
      local engine, system = yielding { threads = 4 }
      local list, fds, count = {}, {}, 0
      for i = 1, 40 do
        local co, object = waiting(engine:create_dynamic(
          folder .. "/" .. i .. ".vhd", 64 * MiB))
        list[i] = { co, object }
        fds[object:pollfd()] = true
      end
      for _ in pairs(fds) do
        count = count + 1
      end
      assert.equal(40, count)
      system:drop()
      for i = 40, 1, -1 do
        assert.is_truthy(finish(table.unpack(list[i])))
      end
      -- the set does not grow when the same number waits again
      system:hold { call = "openat2" }
      local before = support.fds()
      for i = 1, 40 do
        local co, object = waiting(engine:create_dynamic(
          folder .. "/again" .. i .. ".vhd", 64 * MiB))
        list[i] = { co, object }
        assert.is_true(fds[object:pollfd()])
      end
      assert.equal(before, support.fds() - 0)
      system:drop()
      for i = 1, 40 do
        assert.is_truthy(finish(table.unpack(list[i])))
      end
    end)

    it("takes the descriptor of an abandoned coroutine back", function()
      local engine, system = yielding()
      local task = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
      local fds, count = {}, 0
      for _ = 1, 100 do
        local _, object = waiting(task)
        local fd = object:pollfd()
        if not fds[fd] then
          fds[fd] = true
          count = count + 1
        end
        object = nil -- luacheck: ignore
        collectgarbage()
        collectgarbage()
      end
      assert.is_true(count <= 2, count)
      -- closed instead of collected: at once
      for _ = 1, 100 do
        local co, object = waiting(task)
        assert.is_true(fds[object:pollfd()])
        coroutine.close(co)
      end
      system:drop()
      local co, object = waiting(task)
      if coroutine.status(co) ~= "dead" then
        assert.is_truthy(finish(co, object))
      end
      assert.is_truthy(task:status())
    end)

    it("hands out no descriptor that is readable for another's end",
      function()
        local engine, system = yielding { threads = 2 }
        local first = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB)
        local co = waiting(first)
        -- left before the end, which then comes to nobody
        coroutine.close(co)
        system:drop()
        assert.is_true(life.eventually(function()
          return first:done()
        end))
        system:hold { call = "openat" }
        local second = engine:create_dynamic(folder .. "/b.vhd", 64 * MiB)
        local other, object = waiting(second)
        assert.is_false(lifetest.readable(object:pollfd(), 0.05))
        system:drop()
        assert.is_truthy(finish(other, object))
      end)

    it("hands out no descriptor that is readable for an earlier end",
      function()
        local engine, system = yielding { threads = 2 }
        local function one(name)
          return engine:create_dynamic(folder .. name, 64 * MiB)
        end
        -- one wait that comes to its end, one that is left after the end
        local co, object = waiting(one "/a.vhd")
        local left, other = waiting(one "/b.vhd")
        local used = { [object:pollfd()] = true, [other:pollfd()] = true }
        system:drop()
        assert.is_truthy(finish(co, object))
        assert.is_true(lifetest.readable(other:pollfd(), 20))
        coroutine.close(left)
        system:hold { call = "openat" }
        local list = {}
        for i = 1, 2 do
          list[i] = { waiting(one("/c" .. i .. ".vhd")) }
          local fd = list[i][2]:pollfd()
          assert.is_true(used[fd])
          assert.is_false(lifetest.readable(fd, 0.05))
        end
        system:drop()
        for i = 1, 2 do
          assert.is_truthy(finish(table.unpack(list[i])))
        end
      end)

    it("is how <close> and close wait, too", function()
      local asked = 0
      local system
      local engine
      engine, system = life.gated { threads = 1, poll = function(object)
        asked = asked + 1
        system:drop()
        lifetest.readable(object:pollfd(), 1)
      end }
      system:hold { call = "pwritev" }
      do
        local task <close> = engine:create_fixed(folder .. "/a.vhd",
          8 * MiB, { allocate = "zero" })
        assert.is_true(system:await(1))
        assert.equal("running", task:status())
      end
      assert.is_true(asked > 0)
      assert.same({}, support.names(folder))
      system:hold { call = "pwritev" }
      engine:create_fixed(folder .. "/b.vhd", 8 * MiB,
        { allocate = "zero" })
      assert.is_true(system:await(1))
      asked = 0
      engine:close()
      assert.is_true(asked > 0)
      assert.same({ "b.vhd" }, support.names(folder))
    end)
  end)

  describe("with cqueues", function()
    local has = life.lua([[require "cqueues"]]).code == 0
    local function with(name, f)
      it(name, function()
        if not has then
          pending("the package cqueues is not installed")
          return
        end
        f()
      end)
    end

    with("waits in a loop that goes on meanwhile", function()
      local out = life.prints([[
        local cqueues = require "cqueues"
        local lvhd = require "lvhd"
        local lifetest = require "lifetest"
        local folder = ...
        local engine = lvhd.engine { threads = 1, sync = "none",
          preflight = false, poll = cqueues.poll,
          system = lifetest.slow { linkat = 0.3 } }
        local loop = cqueues.new()
        local order, ticks, running = {}, 0, 3
        local task = engine:create_dynamic(folder .. "/a.vhd", 64 << 20)
        for i = 1, 2 do
          loop:wrap(function()
            local info, err = task:wait(0.01)
            assert(info == nil and err.name == "VM_E_TIMED_OUT")
            assert(task:wait().size == 64 << 20)
            running = running - 1
          end)
        end
        loop:wrap(function()
          local info = engine:create_dynamic(folder .. "/b.vhd",
            64 << 20):wait()
          assert(info.size == 64 << 20)
          running = running - 1
        end)
        loop:wrap(function()
          while running > 0 do
            ticks = ticks + 1
            cqueues.sleep(0.01)
          end
        end)
        assert(loop:loop(20))
        print(running, ticks > 5)
        engine:close()
      ]], folder)
      assert.equal("0\ttrue\n", out)
      assert.same({ "a.vhd", "b.vhd" }, support.names(folder))
    end)

    with("waits outside of a loop, too", function()
      local out = life.prints([[
        local cqueues = require "cqueues"
        local lvhd = require "lvhd"
        local engine <close> = lvhd.engine { sync = "none",
          poll = cqueues.poll }
        for i = 1, 20 do
          engine:create_dynamic(... .. "/" .. i .. ".vhd", 64 << 20):wait()
        end
        print "good"
      ]], folder)
      assert.equal("good\n", out)
    end)

    with("takes a task as it is, many times", function()
      -- a descriptor's number that is used again kills a loop that was not
      -- told of the first one's end
      local out = life.prints([[
        local cqueues = require "cqueues"
        local lvhd = require "lvhd"
        local folder = ...
        local loop = cqueues.new()
        loop:wrap(function()
          for round = 1, 5 do
            do
              local engine = lvhd.engine { sync = "none" }
              for i = 1, 10 do
                local task = engine:create_dynamic(
                  ("%s/%d-%d.vhd"):format(folder, round, i), 64 << 20)
                while not task:done() do
                  cqueues.poll(task)
                end
                task:wait()
              end
              engine:close()
            end
            collectgarbage()
            collectgarbage()
          end
        end)
        assert(loop:loop(20))
        print(loop:empty())
      ]], folder)
      assert.equal("true\n", out)
      assert.equal(50, #support.names(folder))
    end)

    with("engines come and go under one loop", function()
      local out = life.prints([[
        local cqueues = require "cqueues"
        local lvhd = require "lvhd"
        local folder = ...
        local loop = cqueues.new()
        loop:wrap(function()
          for round = 1, 30 do
            do
              local engine <close> = lvhd.engine { sync = "none",
                threads = 1, poll = cqueues.poll }
              engine:create_dynamic(folder .. "/" .. round .. ".vhd",
                64 << 20):wait()
            end
            collectgarbage()
          end
        end)
        assert(loop:loop(20))
        print(loop:empty())
      ]], folder)
      assert.equal("true\n", out)
      assert.equal(30, #support.names(folder))
    end)
  end)
end)
