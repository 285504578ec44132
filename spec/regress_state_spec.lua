-- SPDX-License-Identifier: MIT
--
-- Defects that were found and mended, on the side of the Lua state and the
-- process: states that end, finalizers, closed descriptors, poll functions.
-- Each test failed before its mend.

local lvhd = require "lvhd"
local support = require "spec.support"
local handmade = require "spec.support.handmade"
local life = require "spec.support.life"
local test = require "lvhdtest"
local lifetest = require "lifetest"

local MiB <const> = 1 << 20

local dir

before_each(function()
  dir = support.tmpdir()
end)

after_each(life.clean)

describe("finalizers that run while the state closes", function()
  -- Lua never finalizes what is made while a state closes: such tasks are
  -- lost with the process, and a leak checker would say so.
  local function prints(text, ...)
    return support.run(
      "ASAN_OPTIONS=\"${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0\" "
      .. "timeout -k 5 60 " .. life.command(dir, text, ...))
  end

  -- Objects that are older than the module are finalized after its own.
  it("may make engines and disks, before and after lvhd's own", function()
    local out = prints([[
      local dir = ...
      local lvhd, left, engine
      local function finalizer(name)
        return setmetatable({}, { __gc = function()
          for _, f in ipairs {
            function() left = lvhd.create_dynamic(dir .. name, 64 << 20) end,
            function() engine = lvhd.engine{ threads = 1 } end,
            function() left = engine:create_fixed(dir .. name .. "f",
              4 << 20, { allocate = "zero" }) end,
            function() left:wait(20) end,
            function() left:fd() end,
            function() left:cancel() end,
            function() return tostring(left) .. tostring(engine) end,
            function() engine:close() end } do
            local ok, err = pcall(f)
            if not ok and type(err) == "string" then
              assert(err:find("closing") or err:find("not an? "), err)
            end
          end
          io.write(name, "\n")
        end })
      end
      oldest, older = finalizer "4", finalizer "3"
      lvhd = require "lvhd"
      lvhd.default_engine() -- older than those that use it
      younger, youngest = finalizer "2", finalizer "1"
      assert(lvhd.create_dynamic(dir .. "first", 64 << 20):wait(20))
    ]], dir .. "/")
    assert.equal("1\n2\n3\n4\n", out)
    for _, name in ipairs(support.names(dir)) do
      if not name:find("%.lua$") then
        assert(life.disk(dir .. "/" .. name))
      end
    end
    assert(life.disk(dir .. "/first"))
    assert(life.disk(dir .. "/1"))
  end)

  it("may keep the task of one for another", function()
    local out = prints([[
      local dir = ...
      local lvhd, task
      old = setmetatable({}, { __gc = function()
        for _, f in ipairs { "status", "wait", "done", "progress", "error",
          "fd", "cancel", "elapsed" } do
          pcall(task[f], task, 20)
        end
        tostring(task)
        io.write "old\n"
      end })
      lvhd = require "lvhd"
      new = setmetatable({}, { __gc = function()
        task = lvhd.engine{ threads = 1 }:create_fixed(dir .. "x", 8 << 20,
          { allocate = "zero" })
        io.write "new\n"
      end })
    ]], dir .. "/")
    assert.equal("new\nold\n", out)
  end)
end)

describe("an engine whose descriptors cqueues is told to forget", function()
  it("may meet new engines there", function()
    local out = life.prints([[
      local dir = ...
      local lvhd = require "lvhd"
      local calls, made, n = 0, {}, 0
      local function create(engine)
        n = n + 1
        return engine:create_dynamic(dir .. n, 64 << 20, { sync = "none" })
      end
      package.loaded.cqueues = { cancel = function()
        calls = calls + 1
        if #made < 20 then
          made[#made + 1] = lvhd.engine{ threads = 1 }
          assert(create(made[#made]):wait(20))
        end
        collectgarbage()
      end }
      local socket = require "lifetest"
      local function poll(waiter, seconds)
        socket.readable(waiter:pollfd(), seconds or 20)
      end
      for round = 1, 10 do
        for i = 1, 3 do
          local engine = lvhd.engine{ threads = 1, poll = poll,
            system = socket.slow{ linkat = 0.005 } }
          assert(create(engine):wait(20))
        end
        collectgarbage()
        collectgarbage()
        assert(lvhd.create_dynamic(dir .. "d" .. round, 64 << 20,
          { sync = "none" }):wait(20))
      end
      for _, engine in ipairs(made) do
        assert(create(engine):wait(20))
        engine:close()
      end
      print(calls > 0 and #made == 20)
    ]], dir .. "/")
    assert.equal("true\n", out)
  end)
end)

describe("a long creation that nobody owns when the program ends", function()
  -- Two: one under way, one in the queue.
  local text = [[
    warn "@on"
    local dir, handle = ...
    local lvhd = require "lvhd"
    local engine = lvhd.engine{ threads = 1, sync = "none",
      system = require "lifetest".slow{ pwritev = 0.05 } }
    assert(engine:create_dynamic(dir .. "/waited.vhd", 64 << 20):wait(20))
    lvhd.create_dynamic(dir .. "/small.vhd", 64 << 20)
    engine:create_fixed(dir .. "/new/one.vhd", "64 MiB",
      { allocate = "zero" })
    if handle == "dropped" then
      collectgarbage()
    end
    engine:create_fixed(dir .. "/two.vhd", "64 MiB", { allocate = "zero" })
  ]]

  for _, handle in ipairs { "dropped", "kept" } do
    it(("leaves nothing and is named, handle %s"):format(handle), function()
      local out = support.tmpdir()
      local result = life.lua(text, out, handle)
      assert.equal(0, result.code, result.err)
      assert.same({ "small.vhd", "waited.vhd" }, support.names(out))
      assert(life.disk(out .. "/small.vhd"))
      for _, name in ipairs { "one", "two" } do
        local line = result.err:match("Lua warning: [^\n]*/" .. name
          .. "%.vhd[^\n]*")
        assert.truthy(line, name .. " is not in: " .. result.err)
        assert.truthy(line:find("E_ABORT", 1, true), line)
      end
      assert.equal(2, select(2, result.err:gsub("\n", "\n")), result.err)
    end)
  end

  it("is not named when its owner has cancelled it", function()
    local out = support.tmpdir()
    local result = life.lua([[
      warn "@on"
      local lvhd = require "lvhd"
      local engine = lvhd.engine{ threads = 1, sync = "none",
        system = require "lifetest".slow{ pwritev = 0.05 } }
      engine:create_fixed(... .. "/a.vhd", "64 MiB",
        { allocate = "zero" }):cancel()
      collectgarbage()
    ]], out)
    assert.equal(0, result.code, result.err)
    assert.equal("", result.err)
    assert.same({}, support.names(out))
  end)
end)

describe("a program without standard descriptors", function()
  it("does not print into disks", function()
    local parent = handmade.dynamic(dir .. "/parent.vhd", 64 * MiB)
    local command = life.command(dir, [[
      local dir, parent = ...
      local lvhd = require "lvhd"
      io.stdout:setvbuf "no"
      io.stderr:setvbuf "no"
      local function print_until(task)
        assert(task:fd() > 2)
        local n = 0
        while not task:done() do
          io.stdout:write "garbage!"
          io.stderr:write "garbage!"
          n = n + 1
          assert(n < 50000000)
        end
        return assert(task:wait(20))
      end
      local engine = lvhd.engine{ threads = 1 }
      for i = 1, 30 do
        print_until(engine:create_fixed(dir .. "/fixed" .. i, "4 MiB",
          { allocate = "zero", sync = "none" }))
        print_until(engine:create_dynamic(dir .. "/dynamic" .. i, "64 MiB",
          { sync = i % 2 == 0 and "none" or "full" }))
        print_until(engine:create_differencing(dir .. "/child" .. i, parent,
          { sync = "none" }))
      end
      engine:close()
      os.exit(7)
    ]], dir, parent)
    local before = support.read(parent)
    local _, code = support.sh(("sh -c %s; echo $?"):format(support.q(
      "timeout -k 5 60 " .. command .. " <&- >&- 2>&-")))
    assert.equal("7\n", code)
    local zeros = ("\0"):rep(4 * MiB)
    for i = 1, 30 do
      for _, name in ipairs { "fixed", "dynamic", "child" } do
        assert(life.disk(dir .. "/" .. name .. i))
      end
      assert(support.read(dir .. "/fixed" .. i):sub(1, 4 * MiB) == zeros,
        "the content of a fixed disk")
      local bytes = support.read(dir .. "/dynamic" .. i)
      assert(not bytes:find("garbage", 1, true), "text in a dynamic disk")
    end
    assert(before == support.read(parent), "text in the parent")
  end)

  it("does not even where it prints at the worst moment", function()
    local command = life.command(dir, [[
      local dir = ...
      local lvhd, test = require "lvhd", require "lvhdtest"
      local system = test.system()
      local engine = lvhd.engine{ threads = 1, preflight = false,
        sync = "none", system = system:pointer() }
      -- the new file is descriptor 1 and about to be moved away
      system:hold{ call = "dupfd", kind = "file" }
      local task = engine:create_dynamic(dir .. "/a.vhd", "64 MiB")
      assert(system:await(1, 20))
      io.stdout:setvbuf "no"
      io.stdout:write(("garbage!"):rep(1 << 14))
      system:drop()
      assert(task:wait(20))
      engine:close()
      os.exit(7)
    ]], dir)
    local _, code = support.sh(("sh -c %s; echo $?"):format(support.q(
      "timeout -k 5 60 " .. command .. " >&-")))
    assert.equal("7\n", code)
    assert(life.disk(dir .. "/a.vhd"))
    local bytes = support.read(dir .. "/a.vhd")
    assert(not bytes:find("garbage", 1, true), "text in the disk")
    assert.is_true(#bytes < 8192, "length: " .. #bytes)
  end)
end)

describe("a poll function", function()
  -- Not left to the collector: an engine that is collected before its worker
  -- rests keeps its descriptor until the next call into lvhd.
  local function closed(engine)
    local step = coroutine.wrap(function()
      engine:close()
      return true
    end)
    assert(life.eventually(function() return step() == true end))
  end

  it("that yields, in a coroutine that is closed: the task has ended",
    function()
      local polled = 0
      local engine = lvhd.engine{ threads = 1, sync = "none",
        system = lifetest.slow{ pwritev = 0.02 },
        poll = function(waiter)
          polled = polled + 1
          coroutine.yield(waiter)
        end }
      local task
      local co = coroutine.create(function()
        local scoped <close> = engine:create_fixed(dir .. "/new/a.vhd",
          256 * MiB, { allocate = "zero" })
        task = scoped
        scoped:wait()
      end)
      assert(coroutine.resume(co))
      assert.equal("suspended", coroutine.status(co))
      assert.equal(1, polled)
      life.eventually(function() return task:status() == "running" end)
      assert(coroutine.close(co))
      assert.equal("cancelled", task:status())
      assert.is_true(task:done())
      assert.same({}, support.names(dir))
      closed(engine)
    end)

  it("that yields, in a coroutine that fails: the same", function()
    local engine = lvhd.engine{ threads = 1, sync = "none",
      system = lifetest.slow{ pwritev = 0.02 },
      poll = function(waiter) coroutine.yield(waiter) end }
    local task
    local co = coroutine.wrap(function()
      local scoped <close> = engine:create_fixed(dir .. "/a.vhd", 256 * MiB,
        { allocate = "zero" })
      task = scoped
      error "failed"
    end)
    for _ = 1, 1000 do
      local ok, err = pcall(co)
      if not ok then
        assert.matches("failed", err)
        break
      end
      test.sleep(0.005)
    end
    assert.equal("cancelled", task:status())
    assert.same({}, support.names(dir))
    closed(engine)
  end)

  it("is not needed to close an idle engine: no descriptor is taken",
    function()
      local engines = {}
      for i = 1, 2 do
        engines[i] = lvhd.engine{ threads = 1, sync = "none",
          poll = function() error "nothing to wait for" end }
      end
      local task = engines[2]:create_dynamic(dir .. "/a.vhd", 64 * MiB)
      assert(life.eventually(function() return task:done() end))
      local limit = test.limit("nofile", 0)
      local ok, err = pcall(function()
        for _, engine in ipairs(engines) do
          engine:close()
        end
      end)
      test.limit("nofile", limit)
      assert(ok, tostring(err))
      assert.matches("closed", tostring(engines[2]))
    end)
end)

describe("a poll function that fails", function()
  it("leaves no task running behind its <close>", function()
    local folder = support.tmpdir()
    local engine, system = life.gated {
      threads = 1, poll = function() error("boom", 0) end }
    local held = system:hold { call = "pwritev", nth = 1 }
    local task
    local ok, err = pcall(function()
      local own <close> = engine:create_fixed(folder .. "/a.vhd", 64 << 20,
        { allocate = "zero" })
      task = own
      assert.is_true(system:await(1))
      system:drop(held)
    end)
    assert.is_false(ok)
    assert.equal("boom", err)
    assert.equal("cancelled", task:status())
    assert.same({}, support.names(folder))
    engine:close()
  end)
end)
