-- SPDX-License-Identifier: MIT
--
-- Ends: of the Lua state, of the process, of a wait by Ctrl-C, of everything
-- but memory in a forked child.  Each runs in a process of its own, since a
-- test program that dies tells nobody.  What is in a finished disk is judged
-- by the tiny reader of life.lua only.

local support = require "spec.support"
local life = require "spec.support.life"

local lvhdtest, lifetest = life.modules()

-- Every program starts with this: three engines' worth of words.
local HEAD = [[
local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
local lifetest = require "lifetest"
local folder = ...
local function engine(slow, opts)
  local all = { threads = 1, sync = "none", preflight = false,
    system = lifetest.slow(slow) }
  for name, value in pairs(opts or {}) do
    all[name] = value
  end
  return lvhd.engine(all)
end
-- another process sends SIGINT after so many seconds
local function interrupt_in(...)
  local naps = {}
  for _, seconds in ipairs { ... } do
    naps[#naps + 1] = ("sleep %s; kill -INT %d"):format(seconds,
      lvhdtest.pid())
  end
  os.execute("(" .. table.concat(naps, "; ") .. ") >/dev/null 2>&1 &")
end
local MiB = 1 << 20
]]

describe("the end of", function()
  if not lvhdtest then
    pending(tostring(lifetest))
    return
  end

  local folder

  before_each(function()
    folder = support.tmpdir()
  end)

  local function lua(text)
    return life.lua(HEAD .. text, folder)
  end

  ---Every file there is whole, and it is exactly these.
  local function whole(names)
    assert.same(names, support.names(folder))
    for _, name in ipairs(names) do
      local disk, wrong = life.disk(folder .. "/" .. name)
      assert.is_truthy(disk, name .. ": " .. tostring(wrong))
    end
  end

  -- ---- the state ------------------------------------------------------

  describe("the Lua state", function()
    local MIXED = [[
      local e = engine { openat = 0.05 }
      local done = e:create_dynamic(folder .. "/1.vhd", 64 * MiB)
      done:wait()
      kept = e:create_dynamic(folder .. "/2.vhd", 64 * MiB)
      e:create_dynamic(folder .. "/3.vhd", 64 * MiB)
      e:create_differencing(folder .. "/4.vhd", folder .. "/1.vhd")
      e:create_fixed(folder .. "/5.vhd", 4 * MiB)
      e = nil
    ]]
    local ALL = { "1.vhd", "2.vhd", "3.vhd", "4.vhd", "5.vhd" }

    it("finishes queued and running creations", function()
      local result = lua(MIXED)
      assert.equal(0, result.code, result.err)
      assert.equal("", result.err)
      whole(ALL)
    end)

    it("finishes them after an error in the main chunk", function()
      local result = lua(MIXED .. [[ error "mine" ]])
      assert.equal(1, result.code)
      assert.matches("mine", result.err)
      whole(ALL)
    end)

    it("finishes them after an error object in the main chunk", function()
      local result = lua(MIXED .. [[
        lvhd.create_dynamic(folder .. "/1.vhd", 64 * MiB)
      ]])
      assert.equal(1, result.code)
      assert.matches("E_ALREADY_EXISTS %(0x800700B7%)", result.err)
      whole(ALL)
    end)

    it("finishes them at os.exit(true, true)", function()
      local result = lua(MIXED .. [[ os.exit(true, true) ]])
      assert.equal(0, result.code, result.err)
      whole(ALL)
    end)

    it("cancels long operations, and leaves nothing of them", function()
      -- as it is, the disk would take 25 seconds
      local start = lvhdtest.clock()
      local result = lua [[
        local e = engine({ pwritev = 0.05 }, { threads = 2 })
        for i = 1, 3 do
          e:create_fixed(folder .. "/long" .. i .. ".vhd", 2048 * MiB,
            { allocate = "zero" })
        end
        lvhdtest.sleep(0.15)
        e:create_dynamic(folder .. "/short.vhd", 64 * MiB)
      ]]
      assert.equal(0, result.code, result.err)
      assert.is_true(lvhdtest.clock() - start < 15)
      whole { "short.vhd" }
    end)

    it("says what errors nobody has read", function()
      local result = lua [[
        warn "@on"
        local e = engine { openat = 0.05 }
        local missing = folder .. "/missing.vhd"
        local read = e:create_differencing(folder .. "/4.vhd", missing)
        pcall(read.wait, read)
        -- one that has ended, its handle alive; two that end later, with
        -- and without a handle
        ended = e:create_differencing(folder .. "/5.vhd", missing)
        while not ended:done() do end
        e:create_dynamic(folder .. "/1.vhd", 64 * MiB)
        e:create_differencing(folder .. "/2.vhd", missing)
        collectgarbage()
        kept = e:create_differencing(folder .. "/3.vhd", missing)
      ]]
      assert.equal(0, result.code, result.err)
      local _, count = result.err:gsub("E_PATH_NOT_FOUND", "")
      assert.equal(3, count, result.err)
      for _, name in ipairs { 2, 3, 5 } do
        assert.matches("Lua warning: [^\n]*/" .. name .. "%.vhd", result.err)
      end
      whole { "1.vhd" }
    end)

    it("says nothing to a program that wants no warnings", function()
      local result = lua [[
        engine {}:create_differencing(folder .. "/2.vhd",
          folder .. "/missing.vhd")
      ]]
      assert.equal(0, result.code)
      assert.equal("", result.err)
    end)

    it("comes in any order of handles", function()
      -- finalizers that use what others have finalized
      local result = lua [[
        local e = engine { openat = 0.01 }
        local task = e:create_dynamic(folder .. "/1.vhd", 64 * MiB)
        local function at_end(f)
          kept = { kept, setmetatable({}, { __gc = f }) }
        end
        at_end(function() print(pcall(task.status, task)) end)
        at_end(function() print(pcall(task.wait, task)) end)
        at_end(function()
          print(pcall(e.create_dynamic, e, folder .. "/2.vhd", 64 * MiB))
        end)
        at_end(function() print(pcall(e.close, e)) end)
        first = task
        task:fd()
      ]]
      assert.equal(0, result.code, result.err)
      assert.is_truthy(life.disk(folder .. "/1.vhd"))
    end)

    it("comes to handles before what uses them", function()
      -- the first object with a finalizer is finalized last
      local result = life.lua([[
        local folder = ...
        last = setmetatable({}, { __gc = function(self)
          pcall(tostring, self.task)
          pcall(tostring, self.engine)
          for _, method in ipairs { "wait", "status", "error", "fd",
            "cancel", "progress" } do
            pcall(self.task[method], self.task)
          end
          pcall(self.engine.create_dynamic, self.engine,
            folder .. "/2.vhd", 64 << 20)
          pcall(self.engine.close, self.engine)
          pcall(self.lvhd.create_dynamic, folder .. "/3.vhd", 64 << 20)
          pcall(self.lvhd.engine)
          print "here"
        end })
        last.lvhd = require "lvhd"
        last.engine = last.lvhd.engine { sync = "none" }
        last.task = last.engine:create_dynamic(folder .. "/1.vhd", 64 << 20)
      ]], folder)
      assert.equal(0, result.code, result.err)
      assert.equal("here\n", result.out)
      assert.is_truthy(life.disk(folder .. "/1.vhd"))
    end)

    it("survives a storm of collections", function()
      local result = lua [[
        collectgarbage("incremental", 10, 1000)
        local e = lvhd.engine { threads = 2, sync = "none" }
        for i = 1, 60 do
          local path = folder .. "/" .. i .. ".vhd"
          local task = e:create_dynamic(path, 64 * MiB)
          collectgarbage "step"
          if i % 5 == 0 then
            e = lvhd.engine { threads = 2, sync = "none" }
            collectgarbage()
          elseif i % 3 == 0 then
            task:wait()
          elseif i % 4 == 0 then
            task:fd()
          end
          collectgarbage()
          pcall(e.create_dynamic, e, "relative", 64 * MiB)
        end
        task = nil
        collectgarbage()
      ]]
      assert.equal(0, result.code, result.err)
      assert.equal(60, #support.names(folder))
      for i = 1, 60 do
        assert.is_truthy(life.disk(folder .. "/" .. i .. ".vhd"))
      end
    end)

    it("may come right after require", function()
      assert.equal(0, lua("local _").code)
      assert.equal(0, life.lua([[ require "lvhd" os.exit(true, true) ]]).code)
    end)
  end)

  -- ---- the process ----------------------------------------------------

  describe("the process", function()
    it("by os.exit(false) leaves only whole files", function()
      for _, call in ipairs { "openat", "pwritev", "linkat" } do
        local result = lua(([[
          local e = engine({ %s = 0.2 }, { threads = 2 })
          e:create_dynamic(folder .. "/%s1.vhd", 64 * MiB)
          e:create_fixed(folder .. "/%s2.vhd", 64 * MiB,
            { allocate = "zero" })
          e:create_dynamic(folder .. "/%s3.vhd", 64 * MiB)
          lvhdtest.sleep(0.1)
          os.exit(false)
        ]]):format(call, call, call, call))
        assert.equal(1, result.code, result.err)
        if not lifetest.tmpfile(folder) then
          pending("the volume has no O_TMPFILE")
        end
        for _, name in ipairs(support.names(folder)) do
          assert.matches("^%l+%d%.vhd$", name)
          assert.is_truthy(life.disk(folder .. "/" .. name))
        end
      end
    end)

    it("by os.exit(true) does not hang", function()
      local start = lvhdtest.clock()
      local result = lua [[
        local e = engine({ pwritev = 0.05 }, { threads = 2 })
        e:create_fixed(folder .. "/1.vhd", 2048 * MiB,
          { allocate = "zero" })
        lvhdtest.sleep(0.1)
        os.exit(true)
      ]]
      assert.equal(0, result.code, result.err)
      assert.is_true(lvhdtest.clock() - start < 15)
    end)
  end)

  -- ---- workers --------------------------------------------------------

  it("a signal: workers block all of them, and have a name", function()
    local result = lua [[
      local e = engine { openat = 0.4 }
      e:create_dynamic(folder .. "/1.vhd", 64 * MiB)
      lvhdtest.sleep(0.05)
      local pipe = io.popen("ls /proc/" .. lvhdtest.pid() .. "/task")
      for tid in pipe:lines() do
        if math.tointeger(tonumber(tid)) ~= lvhdtest.pid() then
          local base = "/proc/self/task/" .. tid
          local status = assert(io.open(base .. "/status")):read "a"
          print(assert(io.open(base .. "/comm")):read "l",
            status:match "SigBlk:%s*(%x+)")
        end
      end
      pipe:close()
    ]]
    assert.equal(0, result.code, result.err)
    local name, mask = result.out:match("^(%S+)%s+(%x+)\n$")
    assert.is_truthy(name, result.out)
    assert.matches("^lvhd", name)
    -- all but KILL, STOP and the two that the C library keeps (32, 33)
    assert.equal("fffffffe7ffbfeff", mask)
    whole { "1.vhd" }
  end)

  -- ---- Ctrl-C ---------------------------------------------------------

  describe("a wait by Ctrl-C", function()
    -- a fixed disk that takes 25 seconds
    local LONG = [[
      local e = engine { pwritev = 0.05 }
      local task = e:create_fixed(folder .. "/long.vhd", 2048 * MiB,
        { allocate = "zero" })
    ]]

    local function interrupted(text)
      local result = lua(text)
      assert.equal(1, result.code, result.err)
      assert.matches("interrupted!", result.err)
      assert.same({}, support.names(folder))
      return result
    end

    it("is at once, on the main thread", function()
      local start = lvhdtest.clock()
      interrupted(LONG .. [[ interrupt_in(0.3) task:wait() ]])
      assert.is_true(lvhdtest.clock() - start < 15)
    end)

    it("is within a second, measured inside", function()
      local result = lua(LONG .. [[
        interrupt_in(0.3)
        local start = lvhdtest.clock()
        local ok, err = pcall(task.wait, task)
        print(ok, tostring(err):match "interrupted!",
          lvhdtest.clock() - start < 0.3 + 1, task:status())
      ]])
      assert.equal("false\tinterrupted!\ttrue\trunning\n", result.out)
      assert.same({}, support.names(folder))
    end)

    it("is within a second, in a coroutine", function()
      -- the main thread keeps its own, which ends the program
      local result = lua(LONG .. [[
        interrupt_in(0.3)
        local start = lvhdtest.clock()
        coroutine.wrap(function()
          local ok, err = pcall(task.wait, task)
          print(ok, tostring(err):match "interrupted!",
            lvhdtest.clock() - start < 0.3 + 1)
        end)()
        print "not here"
      ]])
      assert.equal("false\tinterrupted!\ttrue\n", result.out)
      assert.equal(1, result.code)
      assert.matches("interrupted!", result.err)
      assert.same({}, support.names(folder))
    end)

    it("is within a second, in a coroutine of a coroutine", function()
      local start = lvhdtest.clock()
      interrupted(LONG .. [[
        interrupt_in(0.3)
        coroutine.wrap(function()
          coroutine.wrap(function() task:wait() end)()
        end)()
      ]])
      assert.is_true(lvhdtest.clock() - start < 15)
    end)

    it("is within a second, with a time limit", function()
      local result = lua(LONG .. [[
        interrupt_in(0.3)
        local start = lvhdtest.clock()
        print(pcall(task.wait, task, 30))
        print(lvhdtest.clock() - start < 0.3 + 1)
      ]])
      assert.matches("^false\t.*interrupted!\ntrue\n$", result.out)
    end)

    it("ends close, too", function()
      local result = lua(LONG .. [[
        interrupt_in(0.3)
        local start = lvhdtest.clock()
        local ok, err = pcall(e.close, e)
        print(ok, tostring(err):match "interrupted!",
          lvhdtest.clock() - start < 0.3 + 1)
        -- it stays closed
        print(select(2, pcall(e.create_dynamic, e, folder .. "/b.vhd",
          64 * MiB)).name)
      ]])
      assert.equal("false\tinterrupted!\ttrue\nVM_E_APP_SHUTTING_DOWN\n",
        result.out)
      assert.same({}, support.names(folder))
    end)

    it("leaves nothing of a <close> task", function()
      interrupted(LONG .. [[
        local guarded <close> = task
        interrupt_in(0.3)
        task:wait()
      ]])
    end)

    it("may come while <close> waits", function()
      -- the worker is in one call for 1.5 seconds, whatever is cancelled
      local result = lua [[
        local e = engine { pwritev = 1.5 }
        local start = lvhdtest.clock()
        local ok, err = pcall(function()
          local task <close> = e:create_fixed(folder .. "/long.vhd",
            64 * MiB, { allocate = "zero" })
          lvhdtest.sleep(0.1)
          interrupt_in(0.2)
        end)
        print(ok, tostring(err):match "interrupted!",
          lvhdtest.clock() - start < 0.1 + 0.2 + 1)
      ]]
      assert.equal("false\tinterrupted!\ttrue\n", result.out)
      assert.equal(0, result.code, result.err)
      assert.same({}, support.names(folder))
    end)

    it("twice: the lua program dies of it, and nothing is left", function()
      local result = lua [[
        local e = engine { pwritev = 1.5 }
        local task <close> = e:create_fixed(folder .. "/long.vhd",
          64 * MiB, { allocate = "zero" })
        lvhdtest.sleep(0.1)
        interrupt_in(0.2, 0.3)
        task:wait()
      ]]
      assert.equal(130, result.code, result.err)
      if not lifetest.tmpfile(folder) then
        pending("the volume has no O_TMPFILE")
      end
      assert.same({}, support.names(folder))
    end)

    it("twice and more: another host goes on unharmed", function()
      local result = lua [[
        lifetest.trap()
        local e = engine { pwritev = 1.5 }
        interrupt_in(0.2, 0.2, 0.2)
        local count = 0
        local ok, err = pcall(function()
          local task <close> = e:create_fixed(folder .. "/1.vhd",
            64 * MiB, { allocate = "zero" })
          task:wait()
        end)
        print(ok, tostring(err):match "interrupted!")
        -- the rest of them, if they have not come yet
        pcall(lvhdtest.sleep, 0.5)
        collectgarbage()
        pcall(e.close, e)
        local other = lvhd.engine { sync = "none" }
        print(other:create_dynamic(folder .. "/2.vhd", 64 * MiB):wait().size)
      ]]
      assert.equal(0, result.code, result.err)
      assert.equal("false\tinterrupted!\n67108864\n", result.out)
      whole { "2.vhd" }
    end)

    it("is no end of it when the program has a handler of its own",
      function()
        -- a signal that sets no hook only wakes the wait
        local result = lua [[
          lifetest.trap()
          debug.sethook()
          local e = engine { openat = 0.6 }
          local task = e:create_dynamic(folder .. "/1.vhd", 64 * MiB)
          os.execute("(sleep 0.2; kill -CONT " .. lvhdtest.pid()
            .. "; sleep 0.1; kill -WINCH " .. lvhdtest.pid() .. ") &")
          print(task:wait().size)
        ]]
        assert.equal(0, result.code, result.err)
        assert.equal("67108864\n", result.out)
      end)

    it("is no end of it when the program has a hook of its own", function()
      -- the hook was there before the wait: it is no sign of Ctrl-C
      local result = lua [[
        local e = engine { openat = 0.5 }
        local task = e:create_dynamic(folder .. "/1.vhd", 64 * MiB)
        debug.sethook(function() end, "l")
        os.execute("(sleep 0.2; kill -WINCH " .. lvhdtest.pid() .. ") &")
        print(coroutine.wrap(function() return task:wait().size end)())
      ]]
      assert.equal(0, result.code, result.err)
      assert.equal("67108864\n", result.out)
    end)
  end)

  -- ---- fork -----------------------------------------------------------

  describe("a fork", function()
    it("gives the child E_HANDLE from every call", function()
      local out = life.prints(HEAD .. [[
        local e = engine { openat = 0.5 }
        lvhd.create_dynamic(folder .. "/base.vhd", 64 * MiB):wait()
        local task = e:create_dynamic(folder .. "/1.vhd", 64 * MiB)
        local ended = lvhd.create_dynamic(folder .. "/2.vhd", 64 * MiB)
        ended:wait()
        lvhdtest.sleep(0.05)
        local code, text = lvhdtest.fork(function()
          local wrong = {}
          local function handle(name, f, ...)
            local ok, err = pcall(f, ...)
            -- error() never raises
            if ok and name:find "error$" then
              ok, err = false, err
            end
            if ok or not lvhd.is_error(err, "E_HANDLE") then
              wrong[#wrong + 1] = name .. ": " .. tostring(err)
            end
          end
          for name, t in pairs { running = task, ended = ended } do
            for _, method in ipairs { "wait", "done", "status", "error",
              "progress", "cancel", "elapsed", "fd", "pollfd", "getfd" } do
              handle(name .. "." .. method, t[method], t)
            end
            tostring(t)
          end
          handle("timed", task.wait, task, 0)
          for name, o in pairs { engine = e,
            default = lvhd.default_engine() } do
            handle(name .. ".dynamic", o.create_dynamic, o,
              folder .. "/x.vhd", 64 * MiB)
            handle(name .. ".fixed", o.create_fixed, o, folder .. "/x.vhd",
              64 * MiB)
            handle(name .. ".differencing", o.create_differencing, o,
              folder .. "/x.vhd", folder .. "/base.vhd")
            tostring(o)
          end
          handle("module", lvhd.create_dynamic, folder .. "/x.vhd",
            64 * MiB)
          return table.concat(wrong, "\n") .. "."
        end)
        print(code, text)
        print(task:wait().size, task:status())
        print(lvhd.create_dynamic(folder .. "/3.vhd", 64 * MiB):wait().size)
      ]], folder)
      assert.equal("0\t.\n67108864\tsucceeded\n67108864\n", out)
      whole { "1.vhd", "2.vhd", "3.vhd", "base.vhd" }
    end)

    it("lets the child collect, and the parent goes on", function()
      local out = life.prints(HEAD .. [[
        local e = engine({ openat = 0.5 }, { threads = 2 })
        local tasks = {}
        for i = 1, 4 do
          tasks[i] = e:create_dynamic(folder .. "/" .. i .. ".vhd",
            64 * MiB)
        end
        tasks[1]:fd()
        lvhdtest.sleep(0.05)
        local code = lvhdtest.fork(function()
          tasks, e = nil, nil
          collectgarbage()
          collectgarbage()
        end)
        print(code)
        for i = 1, 4 do
          print(tasks[i]:wait().size)
        end
      ]], folder)
      assert.equal("0\n" .. ("67108864\n"):rep(4), out)
      whole { "1.vhd", "2.vhd", "3.vhd", "4.vhd" }
    end)

    it("lets the child leave <close> blocks", function()
      local out = life.prints(HEAD .. [[
        local e = engine { openat = 0.5 }
        local task = e:create_dynamic(folder .. "/1.vhd", 64 * MiB)
        lvhdtest.sleep(0.05)
        print((lvhdtest.fork(function()
          pcall(function() local t <close> = task end)
          pcall(function() local o <close> = e end)
          pcall(e.close, e)
          pcall(e.close, e, { cancel = true })
        end)))
        print(task:wait().size)
      ]], folder)
      assert.equal("0\n67108864\n", out)
      whole { "1.vhd" }
    end)

    for _, how in ipairs { "os.exit(0)", "os.exit(0, true)" } do
      -- #nosan: a leak checker takes what the parent's worker held in its
      -- hands for lost
      it("lets the child end by " .. how .. " #nosan", function()
        local out = life.prints(HEAD .. ([[
          warn "@on"
          local e = engine { openat = 0.5 }
          local task = e:create_dynamic(folder .. "/1.vhd", 64 * MiB)
          e:create_differencing(folder .. "/2.vhd", folder .. "/none.vhd")
          lvhdtest.sleep(0.05)
          print((lvhdtest.fork(function() %s end)))
          print(task:wait().size)
        ]]):format(how), folder)
        assert.equal("0\n67108864\n", out)
        whole { "1.vhd" }
      end)
    end

    it("lets the child make an engine of its own", function()
      local out = life.prints(HEAD .. [[
        local e = engine { openat = 0.3 }
        local task = e:create_dynamic(folder .. "/1.vhd", 64 * MiB)
        lvhdtest.sleep(0.05)
        print(lvhdtest.fork(function()
          local own = lvhd.engine { sync = "none" }
          local size = own:create_dynamic(folder .. "/2.vhd", 64 * MiB)
            :wait().size
          own:close()
          return "size " .. size
        end))
        print(task:wait().size)
      ]], folder)
      assert.equal("0\tsize 67108864\n67108864\n", out)
      whole { "1.vhd", "2.vhd" }
    end)
  end)

  -- ---- a host that lives on -------------------------------------------

  describe("a state of a host that lives on", function()
    it("joins the workers before it is gone", function()
      local host = life.program "host_nodelete"
      if not host then
        pending("host_nodelete is not built (make test does it)")
        return
      end
      local ok, out = support.sh(("LUA_PATH=%s LUA_CPATH=%s timeout 60 %s"
        .. " %s 5"):format(support.q(package.path), support.q(package.cpath),
        host, support.q(folder)))
      assert.is_true(ok, out)
      assert.equal("threads 1\nmapped yes\ndone\n", out)
      assert.equal(25, #support.names(folder))
      for _, name in ipairs(support.names(folder)) do
        assert.is_truthy(life.disk(folder .. "/" .. name))
      end
    end)

    it("never unloads the module (-z nodelete)", function()
      if not support.has "readelf" then
        pending("readelf is not installed")
        return
      end
      local out = support.run("readelf -d " .. support.q(life.core()))
      assert.matches("NODELETE", out)
    end)
  end)
end)
