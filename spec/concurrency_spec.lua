-- SPDX-License-Identifier: MIT
--
-- Many at once: processes and threads that want the same name, children of one
-- parent that others read, tasks of each verb by the thousand, creators in one
-- folder that does not exist.  Counts and files are judged, never times.
-- Processes that are killed: kills_spec.

local support = require "spec.support"
local life = require "spec.support.life"
local qemu = require "spec.support.qemu"

local lvhdtest, lifetest = life.modules()
local q = support.q
local MiB = 1 << 20

describe("many at once:", function()
  if not lvhdtest then
    pending(tostring(lifetest))
    return
  end

  local lvhd = require "lvhd"
  local folder

  before_each(function()
    folder = support.tmpdir()
  end)

  after_each(function()
    life.seconds = 60
    life.clean()
  end)

  local function intact(path)
    local disk, wrong = life.disk(path)
    assert.is_truthy(disk, path .. ": " .. tostring(wrong))
    return disk
  end

  ---Runs a Lua program in n processes at the same time, each with its
  ---number as last argument; gives what each printed.
  local function processes(n, text, ...)
    local lines, outs = {}, {}
    local place = support.tmpdir()
    local words = { ... }
    for i = 1, n do
      words[#words + 1] = i
      lines[i] = ("%s >%s 2>&1 &"):format(
        life.command(place, text, table.unpack(words)),
        q(place .. "/" .. i))
      words[#words] = nil
    end
    support.run(table.concat(lines, "\n") .. "\nwait")
    for i = 1, n do
      outs[i] = support.read(place .. "/" .. i)
    end
    return outs
  end

  -- ---- one name -------------------------------------------------------

  local contest = require "spec.support.contest"

  ---Every verb that makes a file takes part, in turns.
  local function same_name(count, rounds)
    local new, own = folder .. "/new", folder .. "/own"
    support.run(("mkdir %s %s"):format(q(new), q(own)))
    local world = contest.world(folder)
    local outs = processes(count, [[
      local folder, count, rounds, me = ...
      count, rounds, me = tonumber(count), tonumber(rounds), tonumber(me)
      local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
      local contest = require "spec.support.contest"
      local world = contest.join(folder)
      -- half of them look before they work
      local engine = lvhd.engine { threads = 1 + me % 2, sync = "none",
        preflight = me % 2 == 0 }
      -- begin together: each leaves a file, all wait for the last one, and
      -- the first says when the rounds begin, which follow a clock
      io.open(("%s/own/ready%d"):format(folder, me), "w"):close()
      for i = 1, count do
        while not io.open(("%s/own/ready%d"):format(folder, i)) do
          lvhdtest.sleep(0.002)
        end
      end
      local go = folder .. "/own/go"
      if me == 1 then
        local file = io.open(go .. "-", "w")
        file:write(lvhdtest.clock() + 0.05)
        file:close()
        os.rename(go .. "-", go)
      end
      local file = io.open(go)
      while not file do
        lvhdtest.sleep(0.002)
        file = io.open(go)
      end
      local start = file:read "n"
      for round = 1, rounds do
        local early = start + round * 0.006 - lvhdtest.clock()
        if early > 0 then
          lvhdtest.sleep(early)
        end
        local one = contest.start(engine, world,
          (round + me) % contest.ways + 1, ("%s/new/%d"):format(folder, round),
          ("%s/own/%d-%d"):format(folder, round, me))
        local won, what = contest.finish(one)
        print(round, won and "won" or "lost", what, one.way)
        os.remove(one.own)
      end
    ]], folder, count, rounds)
    local won, lost, winners = {}, 0, {}
    for i, out in ipairs(outs) do
      for line in out:gmatch("[^\n]+") do
        local round, uuid, way = line:match("^(%d+)\twon\t(%S+)\t(%d+)$")
        if round then
          round = tonumber(round)
          assert.is_nil(won[round], "two winners")
          won[round] = { uuid = uuid, way = tonumber(way) }
          winners[i] = true
        else
          assert.matches("^%d+\tlost\tE_ALREADY_EXISTS\t%d$", line)
          lost = lost + 1
        end
      end
    end
    assert.equal(rounds, #won)
    assert.equal(rounds * (count - 1), lost)
    assert.equal(rounds, #support.names(new))
    assert.is_true(next(winners, next(winners)) ~= nil, "it was no race")
    for round = 1, rounds do
      local path = ("%s/%d"):format(new, round)
      contest.judge(world, path, won[round].way, won[round].uuid)
    end
  end

  it("16 processes want the same name, 50 times: one wins each", function()
    same_name(16, 50)
  end)

  it("16 processes want the same name, 1000 times #slow", function()
    same_name(16, 1000)
  end)

  ---One process, so many workers. In every other round all of them are at the
  ---last step, the name, before the first one takes it.
  local function threads_want(count, rounds)
    local world = contest.world(folder)
    local new = folder .. "/new"
    support.mkdir(new)
    local engine, system = life.gated { threads = count }
    local ways = {}
    for round = 1, rounds do
      local path = ("%s/%d"):format(new, round)
      local all, won = {}, nil
      if round % 2 == 0 then
        system:hold { call = "linkat", path = tostring(round) }
      end
      for i = 1, count do
        all[i] = contest.start(engine, world, (round + i) % contest.ways + 1,
          path, ("%s/own%d"):format(folder, i))
      end
      if round % 2 == 0 then
        assert.is_true(system:await(count, 20))
        system:drop()
      end
      for i = 1, count do
        local good, what = contest.finish(all[i])
        if good then
          assert.is_nil(won, "two winners")
          won = { way = all[i].way, what = what }
        else
          assert.equal("E_ALREADY_EXISTS", what)
        end
        os.remove(all[i].own)
      end
      assert.is_truthy(won)
      contest.judge(world, path, won.way, won.what)
      ways[won.way] = true
      assert.same({ tostring(round) }, support.names(new))
      os.remove(path)
      system:forget() -- its log of all calls
    end
    engine:close()
    local n = 0
    for _ in pairs(ways) do
      n = n + 1
    end
    -- each way can win (by chance, so only where there are many rounds)
    assert.is_true(rounds < 200 or n == contest.ways)
  end

  it("64 threads want the same name, 20 times: one wins each #tsan",
    function()
      threads_want(64, 20)
    end)

  it("64 threads want the same name, 1000 times #slow", function()
    threads_want(64, 1000)
  end)

  it("64 threads that keep what is there: one made it #tsan", function()
    local engine <close> = lvhd.engine { threads = 64, sync = "none",
      preflight = false }
    for round = 1, 10 do
      local tasks, made, uuids = {}, 0, {}
      for i = 1, 64 do
        tasks[i] = engine:create_dynamic(("%s/%d.vhd"):format(folder, round),
          64 * MiB, { if_exists = "keep" })
      end
      for i = 1, 64 do
        local info = tasks[i]:wait()
        made = made + (info.created and 1 or 0)
        uuids[info.uuid] = true
      end
      assert.equal(1, made)
      assert.is_nil(next(uuids, next(uuids)))
      assert.is_truthy(uuids[intact(("%s/%d.vhd"):format(folder, round)).uuid])
    end
  end)

  -- ---- one parent -----------------------------------------------------

  ---Runs `act` while other processes read the disk until it is over: one by
  ---lvhd, which holds it open with its locks; one by plain reads, which holds
  ---what a reading QEMU locks; and qemu-nbd, where it is installed.
  local function while_read(path, act)
    local place = support.tmpdir()
    local stop, lines = place .. "/stop", {}
    local readers = { [[
      local path, stop = ...
      local disk <close> = require "lvhd".open(path)
      local function look() return disk:read(0, disk:size()) end
    ]], [[
      local path, stop = ...
      local lvhdtest = require "lvhdtest"
      -- "I read", "nobody else shall write", "... shall resize"
      for _, at in ipairs { 100, 201, 203 } do
        assert(lvhdtest.lock(path, "read", at, 1))
      end
      local function look()
        local file <close> = assert(io.open(path, "rb"))
        return file:read "a"
      end
    ]] }
    for i, reader in ipairs(readers) do
      lines[i] = ("%s >%s/out%d 2>&1 &"):format(life.command(place, reader .. [[
        local first, n = look(), 0
        io.open(stop .. "-ready" .. select(3, ...), "w"):close()
        repeat
          assert(look() == first, "the parent reads something else")
          n = n + 1
          -- a pause: who only reads would take the processors
          require "lvhdtest".sleep(0.004)
        until io.open(stop)
        print("read", n)
      ]], path, stop, i), place, i)
    end
    support.run(table.concat(lines, "\n"))
    assert.is_true(life.eventually(function()
      return lvhdtest.stat(stop .. "-ready1") and
        lvhdtest.stat(stop .. "-ready2") and true
    end))
    local good, err
    if support.has "qemu-nbd" then
      good, err = pcall(qemu.with_nbd, path, "-r", place, act)
    else
      good, err = pcall(act)
    end
    support.write(stop, "")
    for i = 1, #readers do
      local out = life.eventually(function()
        local text = support.read(place .. "/out" .. i)
        return text ~= "" and text
      end)
      assert.matches("^read\t%d+\n$", out)
      assert.is_true(tonumber(out:match "%d+") > 0)
    end
    if not good then
      error(err, 0)
    end
  end

  ---Starts children by one call each, `under_way` at a time.
  local function one_by_one(engine, parent, count, under_way, take)
    local tasks = {}
    for i = 1, count + under_way do
      if i > under_way then
        take(tasks[i - under_way]:wait())
        tasks[i - under_way] = nil
      end
      if i <= count then
        tasks[i] = engine:create_differencing(
          ("%s/%d.vhd"):format(folder, i), parent)
      end
    end
  end

  ---Starts lists of `length` children, four lists at a time.
  local function by_lists(engine, parent, count, length, take)
    local tasks, lists = {}, count // length
    for i = 1, lists + 4 do
      if i > 4 then
        for _, info in ipairs(tasks[i - 4]:wait()) do
          take(info)
        end
        tasks[i - 4] = nil
      end
      if i <= lists then
        local names = {}
        for k = 1, length do
          names[k] = ("%s/%d.vhd"):format(folder, (i - 1) * length + k)
        end
        tasks[i] = engine:create_children(names, parent)
      end
    end
  end

  local function children(count, at_once, start)
    -- beside the parent: where 7-Zip looks for it
    local parent = folder .. "/base.vhd"
    local engine = lvhd.engine { threads = 32, sync = "none" }
    local base = engine:create_dynamic(parent, 4 * MiB):wait()
    do
      local disk <close> = engine:open(parent, { write = true })
      disk:write(MiB, ("parent "):rep(1000))
    end
    local before = support.read(parent)
    local times = support.run("stat -c '%y %z' " .. q(parent))
    local uuids, done = {}, 0
    while_read(parent, function()
      start(engine, parent, count, at_once, function(info)
        assert.is_nil(uuids[info.uuid])
        uuids[info.uuid] = info.path
        done = done + 1
      end)
    end)
    engine:close()
    assert.equal(count, done)
    assert.equal(count + 1, #support.names(folder))
    for uuid, path in pairs(uuids) do
      local disk = intact(path)
      assert.equal(uuid, disk.uuid)
      assert.equal(base.uuid, disk.parent_uuid)
      assert.equal("differencing", disk.type)
    end
    for i = 1, count, count // 3 do
      if support.has "7zz" then
        assert.is_true(life.seven_zip(("%s/%d.vhd"):format(folder, i)))
      end
    end
    assert.is_true(before == support.read(parent), "the parent was changed")
    assert.equal(times, support.run("stat -c '%y %z' " .. q(parent)))
  end

  it("1000 children of one parent that others read, 32 under way", function()
    children(1000, 32, one_by_one)
  end)

  it("10000 children of one parent that others read, 32 under way #slow",
    function()
      children(10000, 32, one_by_one)
    end)

  it("1024 children of one parent that others read, in lists of 32",
    function()
      children(1024, 32, by_lists)
    end)

  it("10240 children of one parent that others read, in lists of 32 #slow",
    function()
      children(10240, 32, by_lists)
    end)

  -- ---- tasks by the thousand ------------------------------------------

  -- Two workers that are held in the way of all others, and the measure: what
  -- `count` tasks take while they are outstanding.
  local QUEUE <const> = [[
    local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
    local support = require "spec.support"
    local play = require "spec.support.play"
    local folder, count = ...
    count = tonumber(count)
    lvhdtest.limit("nofile", 256)
    local system = lvhdtest.system()
    local engine = lvhd.engine { threads = 2, sync = "none",
      system = system:pointer() }
    play.share(folder)
    local parent = folder .. "/base.vhd"
    local world = play.world(folder .. "/w", folder)
    lvhdtest.mkdir(folder .. "/held")
    system:hold { call = "any", path = "held" }
    local threads, fds = support.threads(), support.fds()
    for i = 1, 2 do
      engine:create_dynamic(("%s/held/%d"):format(folder, i), 64 << 20,
        { preflight = false })
    end
    assert(system:await(2))
    local function settled()
      collectgarbage() collectgarbage()
      system:forget() -- its log of all calls
      return lvhdtest.memory(), collectgarbage "count" * 1024
    end
    local function list(n) -- Lua's table is not to be counted
      local tasks = table.move({}, 1, n, 1, {})
      for i = 1, n do
        tasks[i] = false
      end
      return tasks
    end
    -- Lua's share is inside malloc's
    local function outstanding(what, n, start)
      local tasks = list(n)
      local all, lua = settled()
      for i = 1, n do
        tasks[i] = start(i)
        if i % 1000 == 0 then
          system:forget()
        end
      end
      local queued = 0
      for i = 1, n do
        queued = queued + (tasks[i]:status() == "queued" and 1 or 0)
      end
      local now, now_lua = settled()
      print(what, n, queued, (now - all) // n, math.floor(now_lua - lua) // n,
        support.threads() - threads, support.fds() - fds)
      return tasks
    end
    local function cancel(tasks)
      for i = 1, #tasks do
        assert(tasks[i]:cancel())
      end
    end
  ]]

  ---The lines of such a program: all are queued, a task takes 2 KiB at the
  ---most, there are no more threads and descriptors than there may be.
  local function judge(out, lines)
    local seen = 0
    for what, n, queued, all, lua, threads, fds in out:gmatch(
      "(%S+)\t(%d+)\t(%d+)\t(-?%d+)\t(-?%d+)\t(-?%d+)\t(-?%d+)\n") do
      local line = ("%s: %s bytes, %s of them Lua's; %s threads, %s fds")
        :format(what, all, lua, threads, fds)
      assert.equal(n, queued, what)
      assert.is_true(tonumber(all) <= 2048 and tonumber(all) > 0, line)
      assert.is_true(tonumber(lua) <= tonumber(all), line)
      assert.is_true(tonumber(threads) <= 2, line)
      assert.is_true(tonumber(fds) <= 8, line)
      if tonumber(n) >= 100000 then -- for spec/RELIABILITY.md
        print(line)
      end
      seen = seen + 1
    end
    assert.equal(lines, seen, out)
  end

  local function separate(count)
    local out = life.prints(QUEUE .. [[
      local tasks = outstanding("create_differencing", count, function(i)
        return engine:create_differencing(folder .. "/" .. i .. ".vhd", parent,
          { preflight = false })
      end)
      -- most are cancelled; the rest must come to a good end
      for i = 101, count do
        tasks[i]:cancel()
      end
      system:drop()
      for i = 1, 100 do
        assert(tasks[i]:wait().size == 4 << 20)
      end
      engine:close { cancel = true }
      assert(tasks[count]:status() == "cancelled")
    ]], folder, count)
    judge(out, 1)
    assert.equal(103, #support.names(folder))
  end

  it("10000 tasks outstanding under ulimit -n 256 #nosan", function()
    separate(10000)
  end)

  it("100000 tasks outstanding under ulimit -n 256 #nosan #slow", function()
    life.seconds = 600
    separate(100000)
  end)

  local function of_each_verb(count)
    local out = life.prints(QUEUE .. [[
      for _, name in ipairs(play.names) do
        local start = play.verbs[name]
        if name == "create_children" then
          start = function(e, w)
            return e:create_children({ w.dir .. "/a", w.dir .. "/b" }, parent)
          end
        end
        cancel(outstanding(name, count, function()
          return start(engine, world)
        end))
      end
      system:drop()
    ]], folder, count)
    judge(out, 13)
  end

  it("1000 tasks of each verb outstanding #nosan", function()
    of_each_verb(1000)
  end)

  it("100000 tasks of each verb outstanding #nosan #slow", function()
    life.seconds = 600
    of_each_verb(100000)
  end)

  ---One task of so many images: what each takes, queued, under way and ended.
  local function many_images(count)
    local out = life.prints(QUEUE .. [[
      local names = {}
      for i = 1, count do
        names[i] = ("%s/many/%d"):format(folder, i)
      end
      local all, lua = settled()
      local task = engine:create_children(names, parent)
      local now, now_lua = settled()
      print("queued", count, count, (now - all) // count,
        math.floor(now_lua - lua) // count, support.threads() - threads,
        support.fds() - fds)
      assert(task:status() == "queued")
      system:drop()
      -- half of the descriptors that a process may have, and no more
      local most = 0
      while not task:wait(0.001) do
        most = math.max(most, support.fds() - fds)
        system:forget()
      end
      now, now_lua = settled()
      print("ended", count, count, (now - all) // count,
        math.floor(now_lua - lua) // count, support.threads() - threads,
        support.fds() - fds)
      assert(#task:wait() == count)
      assert(most <= 128 + 8, most)
    ]], folder, count)
    judge(out, 2)
    assert.equal(count, #support.names(folder .. "/many"))
  end

  it("3000 images in one task under ulimit -n 256 #nosan", function()
    many_images(3000)
  end)

  it("100000 images in one task under ulimit -n 256 #nosan #slow", function()
    life.seconds = 600
    many_images(100000)
  end)

  ---Ended tasks, whose results nobody has asked for.
  local function all_end(count)
    local out = life.prints([[
      local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
      local support = require "spec.support"
      local folder, count = ...
      count = tonumber(count)
      lvhdtest.limit("nofile", 256)
      local engine = lvhd.engine { threads = 4, sync = "none",
        preflight = false }
      engine:create_dynamic(folder .. "/0.vhd", 64 << 20):wait()
      local tasks = table.move({}, 1, count, 1, {})
      for i = 1, count do
        tasks[i] = false
      end
      collectgarbage() collectgarbage()
      local fds, before = support.fds(), lvhdtest.memory()
      for i = 1, count do
        tasks[i] = engine:create_dynamic(folder .. "/" .. i .. ".vhd",
          64 << 20)
      end
      for i = 1, count do
        while not tasks[i]:done() do
          lvhdtest.sleep(0.01)
        end
      end
      collectgarbage() collectgarbage()
      local each = (lvhdtest.memory() - before) // count
      assert(each <= 2048, each)
      assert(support.fds() - fds <= 8)
      for i = 1, count do
        tasks[i]:wait()
        tasks[i] = nil
      end
      print "good"
    ]], folder, count)
    assert.equal("good\n", out)
    assert.equal(count + 1, #support.names(folder))
  end

  it("500 tasks all come to their end #nosan", function()
    all_end(500)
  end)

  it("100000 tasks all come to their end #nosan #slow", function()
    life.seconds = 600
    all_end(100000)
  end)

  -- ---- one new folder -------------------------------------------------

  ---32 creators in one folder that does not exist; those whose name says
  ---so fail at the very last step, after the folder was made.
  local function one_folder(threads, fails)
    local engine, system = life.gated { threads = threads }
    system:fail { call = "linkat", path = "bad", errno = "EIO", times = 0 }
    system:fail { call = "renameat2", path = "bad", errno = "EIO",
      times = 0 }
    local tasks = {}
    for i = 1, 32 do
      local name = fails(i) and "bad" or "good"
      tasks[i] = engine:create_dynamic(
        ("%s/new/er/%s%d.vhd"):format(folder, name, i), 64 * MiB)
    end
    local good = 0
    for i = 1, 32 do
      local ok, result = pcall(tasks[i].wait, tasks[i])
      assert.equal(not fails(i), ok, tostring(result))
      if ok then
        good = good + 1
        assert.equal(result.uuid, intact(result.path).uuid)
      else
        assert.is_true(lvhd.is_error(result, "DISP_E_EXCEPTION"),
          tostring(result))
        assert.equal("EIO", result.errname)
      end
    end
    engine:close()
    return good
  end

  it("32 creators in one new folder, half of them failing", function()
    for round = 1, 12 do
      local good = one_folder(round % 2 == 0 and 8 or 2, function(i)
        return i % 2 == 0
      end)
      assert.equal(16, good)
      assert.equal(16, #support.names(folder .. "/new/er"))
      support.run("rm -r " .. q(folder .. "/new"))
    end
  end)

  it("32 creators in one new folder, all but the last failing", function()
    for _ = 1, 6 do
      assert.equal(1, one_folder(8, function(i) return i < 32 end))
      assert.same({ "good32.vhd" }, support.names(folder .. "/new/er"))
      support.run("rm -r " .. q(folder .. "/new"))
    end
  end)

  it("32 failing creators in one new folder leave no folder", function()
    assert.equal(0, one_folder(1, function() return true end))
    assert.same({}, support.names(folder))
  end)

  it("32 failing creators that race leave no file", function()
    -- who finds its folder in use leaves it, so that an empty one may stay
    for _ = 1, 6 do
      assert.equal(0, one_folder(8, function() return true end))
      assert.equal("", support.run("find " .. q(folder) .. " -type f"))
    end
  end)

  it("32 processes in one new folder, half of them failing", function()
    local outs = processes(32, [[
      local folder, me = ...
      local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
      local system = lvhdtest.system()
      for _, call in ipairs { "linkat", "renameat2" } do
        system:fail { call = call, path = "bad", errno = "EIO", times = 0 }
      end
      local engine = lvhd.engine { threads = 1, sync = "none",
        preflight = false, system = system:pointer() }
      local name = tonumber(me) % 2 == 0 and "bad" or "good"
      local ok, err = pcall(function()
        return engine:create_dynamic(
          ("%s/new/er/%s%d.vhd"):format(folder, name, me), 64 << 20):wait()
      end)
      print(ok and "good" or err.errname)
    ]], folder)
    for i, out in ipairs(outs) do
      assert.equal(i % 2 == 0 and "EIO\n" or "good\n", out)
    end
    assert.equal(16, #support.names(folder .. "/new/er"))
  end)
end)
