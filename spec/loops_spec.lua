-- SPDX-License-Identifier: MIT
--
-- Event loops, as Debian has them: each of the README's recipes as a whole
-- program, and what they do in the long run.  The README's texts are compared
-- with the files by readme_spec.lua.

local support = require "spec.support"
local life = require "spec.support.life"

local lvhdtest, lifetest = life.modules()
local q = support.q

-- What a program needs, and Debian's package of it.
local COPAS = 'package.path = package.path .. ";/usr/share/lua/5.2/?.lua"\n'
local LIBRARIES = {
  cqueues = { 'require "cqueues"', "lua-cqueues" },
  luv = { 'require "luv"', "lua-luv" },
  luaevent = { 'require "luaevent.core"', "lua-event" },
  copas = { COPAS .. 'require "copas"', "lua-copas" },
  coroutines = { "", "" },
}

local NAMES = {}
for name, library in pairs(LIBRARIES) do
  NAMES[#NAMES + 1] = name
  local there = life.lua(library[1]).code == 0
  library.missing = not there and ("%s does not run here; it is in %s")
    :format(name, library[2]) or nil
end
table.sort(NAMES)

local HEAD = [[
  local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
  local lifetest = require "lifetest"
  local folder = ...
  local function make(engine, name)
    return engine:create_dynamic(("%s/%s.vhd"):format(folder, name), 64 << 20)
  end
  local function slow(opts)
    opts.system = lifetest.slow { linkat = 0.05 }
    opts.sync, opts.preflight = "none", false
    return lvhd.engine(opts)
  end
]]

-- How a wait of a coroutine passes its time in each of them; then `go(f)` runs
-- a coroutine, and `run(left)` the loop while left() is above 0.
local POLL = {}

POLL.cqueues = [[
  local cqueues = require "cqueues"
  local loop = cqueues.new()
  local poll = cqueues.poll
  local function go(f) loop:wrap(f) end
  local function run(left)
    go(function() while left() > 0 do cqueues.sleep(0.001) end end)
    assert(loop:loop())
  end
]]

POLL.luv = [[
  local uv = require "luv"
  local function poll(object, seconds)
    local co = coroutine.running()
    local watch, timer = uv.new_poll(object:pollfd()), uv.new_timer()
    local function wake()
      watch:close()
      timer:close()
      assert(coroutine.resume(co))
    end
    watch:start("r", wake)
    if seconds then timer:start(math.ceil(seconds * 1000), 0, wake) end
    coroutine.yield()
  end
  local function go(f) assert(coroutine.resume(coroutine.create(f))) end
  local function run(left)
    local timer = uv.new_timer()
    timer:start(1, 1, function() if left() == 0 then timer:close() end end)
    uv.run()
  end
]]

POLL.luaevent = [[
  local event = require "luaevent.core"
  local base = event.new()
  local function poll(object, seconds)
    local co, watch = coroutine.running()
    watch = base:addevent(object:pollfd(), event.EV_READ, function()
      watch:close()
      assert(coroutine.resume(co))
      return event.LEAVE
    end, seconds)
    coroutine.yield()
  end
  local function go(f) assert(coroutine.resume(coroutine.create(f))) end
  local function run(left)
    local timer
    timer = base:addevent(nil, event.EV_TIMEOUT, function()
      return timer and left() > 0 and event.EV_TIMEOUT or event.LEAVE
    end, 0.001)
    base:loop()
  end
]]

POLL.copas = COPAS .. [[
  local copas = require "copas"
  local socket = require "socket"
  local function poll(object, seconds)
    local limit, again = seconds and socket.gettime() + seconds, false
    copas.receive {
      getfd = function() return object:getfd() end,
      dirty = function() return limit ~= nil and socket.gettime() >= limit end,
      close = function() end,
      receive = function()
        again = not again
        return not again and "" or nil, "timeout"
      end,
    }
  end
  local function go(f) copas.addthread(f) end
  local function run(left)
    while left() > 0 do copas.step(0.01) end
  end
]]

POLL.coroutines = [[
  local ready = {}
  local function poll(object, seconds)
    local limit = seconds and lvhdtest.clock() + seconds
    repeat
      coroutine.yield()
    until lifetest.readable(object:pollfd())
      or limit and lvhdtest.clock() >= limit
  end
  local function go(f) ready[#ready + 1] = coroutine.create(f) end
  local function run(left)
    while left() > 0 do
      for _, co in ipairs(ready) do
        if coroutine.status(co) ~= "dead" then assert(coroutine.resume(co)) end
      end
      lvhdtest.sleep(0.0005)
    end
  end
]]

describe("the loop of", function()
  if not lvhdtest then
    pending(tostring(lifetest))
    return
  end

  local folder

  before_each(function()
    folder = support.tmpdir()
  end)

  local function with(name, what, f)
    it(name .. " " .. what, function()
      if LIBRARIES[name].missing then
        pending(LIBRARIES[name].missing)
        return
      end
      f()
    end)
  end

  ---What one of spec/examples prints, with "/vms" and "/golden" moved; `taken`
  ---is a name that is there before.
  local function example(name, taken)
    local source = support.read(("spec/examples/loop-%s.lua"):format(name))
    support.run(("mkdir %s/vms %s/golden"):format(q(folder), q(folder)))
    if taken then
      support.write(folder .. "/vms/" .. taken, "")
    end
    require "lvhd".create_dynamic(folder .. "/golden/debian12.vhd",
      "40 GiB"):wait()
    return life.prints((source:gsub('"(/%a+/)', function(path)
      return '"' .. folder .. path
    end)))
  end

  for _, name in ipairs(NAMES) do
    with(name, "runs the README's recipe", function()
      local output = example(name)
      local _, made = output:gsub("made\t", "")
      assert.equal(8, made, output)
      local files = support.names(folder .. "/vms")
      assert.equal(8, #files)
      for _, file in ipairs(files) do
        assert.is_truthy(life.disk(folder .. "/vms/" .. file))
      end
    end)

    with(name, "ends its recipe where one disk cannot be made", function()
      local letter = support.read(("spec/examples/loop-%s.lua"):format(name))
        :match('"/vms/(%a)%%d.vhd"')
      local output = example(name, letter .. "5.vhd")
      local _, made = output:gsub("made\t", "")
      local _, failed = output:gsub("failed\t[^\n]*E_ALREADY_EXISTS", "")
      assert.equal(7, made, output)
      assert.equal(1, failed, output)
    end)

    ---A program with this library's poll, go and run.
    local function prints(text)
      return life.prints(HEAD .. POLL[name] .. text, folder)
    end

    with(name, "goes on while coroutines wait", function()
      local out = prints [[
        local left, ticks = 4, 0
        local engine = slow { threads = 1, poll = poll }
        for i = 1, 4 do
          go(function()
            local task = make(engine, i)
            local info, err = task:wait(0.01)
            if i > 1 then
              assert(info == nil and err.name == "VM_E_TIMED_OUT")
            end
            assert(task:wait().size == 64 << 20)
            left = left - 1
          end)
        end
        run(function() ticks = ticks + 1; return left end)
        print(ticks > 8)
        engine:close()
      ]]
      assert.equal("true\n", out)
      assert.equal(4, #support.names(folder))
    end)

    with(name, "waits a thousand times, with collections in between",
      function()
        local out = prints [[
          local left, fds = 1, {}
          local engine = lvhd.engine { threads = 2, sync = "none",
            preflight = false, poll = function(object, seconds)
              fds[object:pollfd()] = true
              return poll(object, seconds)
            end }
          go(function()
            for i = 1, 1000 do
              local task = engine:create_differencing(folder .. "/x.vhd",
                folder .. "/missing.vhd")
              assert(not pcall(task.wait, task))
              if i % 50 == 0 then collectgarbage() end
            end
            left = 0
          end)
          run(function() return left end)
          local n = 0
          for _ in pairs(fds) do n = n + 1 end
          print(left, n <= 1)
          engine:close()
        ]]
        assert.equal("0\ttrue\n", out)
      end)

    with(name, "goes through `ended`, beside another engine's", function()
      local out = prints [[
        local left, sum = 2, 0
        for number = 1, 2 do
          local engine = slow { threads = 2, poll = poll }
          engine:ended(0)
          for i = 1, 5 do make(engine, number .. "-" .. i) end
          go(function()
            for task in engine:ended() do
              assert(task:wait().path:find("/" .. number .. "-"))
              sum = sum + 1
              if sum % 4 == 0 then make(engine, number .. "-more" .. sum) end
            end
            engine:close()
            left = left - 1
          end)
        end
        run(function() return left end)
        print(left, sum)
      ]]
      assert.matches("^0\t1[23]\n$", out)
    end)

    with(name, "sees an engine closed by another coroutine", function()
      local out = prints [[
        local left, n = 2, 0
        local engine = slow { threads = 1, poll = poll }
        engine:ended(0)
        for i = 1, 6 do make(engine, i) end
        go(function()
          for task in engine:ended() do
            assert(task:done())
            n = n + 1
          end
          left = left - 1
        end)
        go(function()
          engine:close { cancel = true }
          left = left - 1
        end)
        run(function() return left end)
        print(left, n)
      ]]
      assert.equal("0\t6\n", out)
    end)

    with(name, "is no worse for engines that come and go", function()
      local out = prints [[
        local left, n = 1, 0
        go(function()
          for round = 1, 30 do
            do
              local engine <close> = lvhd.engine { threads = 1, sync = "none",
                poll = poll }
              engine:fd()
              make(engine, round)
              for task in engine:ended() do
                task:fd()
                n = n + 1
              end
            end
            collectgarbage()
          end
          left = 0
        end)
        run(function() return left end)
        print(left, n)
      ]]
      assert.equal("0\t30\n", out)
    end)
  end

  -- ---- descriptors given to the loop ------------------------------------

  with("cqueues", "takes engines and tasks as they are", function()
    local out = life.prints(HEAD .. [[
      local cqueues = require "cqueues"
      local loop = cqueues.new()
      local n = 0
      loop:wrap(function()
        for round = 1, 20 do
          do
            local engine = slow { threads = 2 }
            engine:fd()
            for i = 1, 3 do make(engine, round .. "-" .. i) end
            local left = 3
            while left > 0 do
              cqueues.poll(engine)
              for task in engine:ended(0) do
                cqueues.poll(task) -- at once
                left, n = left - 1, n + 1
              end
            end
            engine:close()
          end
          collectgarbage()
          collectgarbage()
        end
      end)
      assert(loop:loop(30))
      print(n, loop:empty())
    ]], folder)
    assert.equal("60\ttrue\n", out)
  end)

  with("luv", "watches engines and tasks that come and go", function()
    local out = life.prints(HEAD .. [[
      local uv = require "luv"
      local n, round = 0, 0
      local function one()
        round = round + 1
        if round > 20 then return end
        local engine = slow { threads = 2 }
        local watch, left = uv.new_poll(engine:fd()), 3
        watch:start("r", function(err)
          assert(not err, err)
          for task in engine:ended(0) do
            local again = uv.new_poll(task:fd())
            left, n = left - 1, n + 1
            again:start("r", function()
              again:close()
              assert(task:wait())
            end)
          end
          if left == 0 then
            watch:close()
            engine:close()
            engine = nil
            collectgarbage()
            one()
          end
        end)
        for i = 1, 3 do make(engine, round .. "-" .. i) end
      end
      one()
      uv.run()
      print(n)
    ]], folder)
    assert.equal("60\n", out)
  end)

  with("luaevent", "watches engines that come and go", function()
    local out = life.prints(HEAD .. [[
      local event = require "luaevent.core"
      local base = event.new()
      local n, round = 0, 0
      local function one()
        round = round + 1
        if round > 20 then return end
        local engine = slow { threads = 2 }
        local left, watch = 3
        watch = base:addevent(engine:fd(), event.EV_READ, function()
          for _ in engine:ended(0) do
            left, n = left - 1, n + 1
          end
          if left > 0 then return event.EV_READ end
          watch:close()
          engine:close()
          engine = nil
          collectgarbage()
          one()
          return event.LEAVE
        end)
        for i = 1, 3 do make(engine, round .. "-" .. i) end
      end
      one()
      base:loop()
      print(n)
    ]], folder)
    assert.equal("60\n", out)
  end)

  with("copas", "selects engines and tasks as LuaSocket does", function()
    local out = life.prints(HEAD .. COPAS .. [[
      local socket = require "socket"
      local engine = slow { threads = 2 }
      engine:fd()
      local list, n = {}, 0
      for i = 1, 10 do list[i] = make(engine, i) end
      while n < 10 do
        local readable = socket.select({ engine }, {}, 20)
        assert(readable[engine])
        for _ in engine:ended(0) do n = n + 1 end
      end
      local readable = socket.select(list, {}, 0)
      print(n, #readable, #socket.select({ engine }, {}, 0))
    ]], folder)
    assert.equal("10\t10\t0\n", out)
  end)
end)
