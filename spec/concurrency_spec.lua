-- SPDX-License-Identifier: MIT
--
-- Many at once: processes that want the same name, children of one parent,
-- processes that are killed, tasks by the thousand, creators in one folder
-- that does not exist.  Counts and files are judged, never times.

local support = require "spec.support"
local life = require "spec.support.life"

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

  after_each(life.clean)

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

  local function same_name(count, rounds)
    local new = folder .. "/new"
    support.run("mkdir " .. q(new))
    local outs = processes(count, [[
      local folder, count, rounds, me = ...
      count, rounds, me = tonumber(count), tonumber(rounds), tonumber(me)
      local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
      -- half of them look before they work
      local engine = lvhd.engine { threads = 1, sync = "none",
        preflight = me % 2 == 0 }
      -- begin together: each leaves a file, all wait for the last one
      io.open(("%s/ready%d"):format(folder, me), "w"):close()
      for i = 1, count do
        while not io.open(("%s/ready%d"):format(folder, i)) do
          lvhdtest.sleep(0.002)
        end
      end
      for round = 1, rounds do
        local path = ("%s/new/%d.vhd"):format(folder, round)
        local ok, result = pcall(function()
          return engine:create_dynamic(path, (64 + me) << 20):wait()
        end)
        if ok then
          print(round, "won", result.uuid, me)
        else
          print(round, result.name or tostring(result))
        end
      end
    ]], folder, count, rounds)
    local won, lost = {}, 0
    for _, out in ipairs(outs) do
      for line in out:gmatch("[^\n]+") do
        local round, uuid, me = line:match("^(%d+)\twon\t(%S+)\t(%d+)$")
        if round then
          round = tonumber(round)
          assert.is_nil(won[round], "two winners")
          won[round] = { uuid = uuid, size = (64 + tonumber(me)) * MiB }
        else
          assert.matches("^%d+\tE_ALREADY_EXISTS$", line)
          lost = lost + 1
        end
      end
    end
    assert.equal(rounds, #won)
    assert.equal(rounds * (count - 1), lost)
    assert.equal(rounds, #support.names(new))
    for round = 1, rounds do
      local path = ("%s/%d.vhd"):format(new, round)
      local disk = intact(path)
      assert.equal(won[round].uuid, disk.uuid)
      assert.equal(won[round].size, disk.size)
      if round % 20 == 0 and support.has "7zz" then
        assert.is_true(life.seven_zip(path))
      end
    end
  end

  it("16 processes want the same name, 50 times: one wins each", function()
    same_name(16, 50)
  end)

  it("16 processes want the same name, 1000 times #slow", function()
    same_name(16, 1000)
  end)

  it("threads want the same name: one wins each", function()
    local engine = lvhd.engine { threads = 8, sync = "none",
      preflight = false }
    for round = 1, 30 do
      local tasks, won = {}, nil
      for i = 1, 8 do
        tasks[i] = engine:create_dynamic(folder .. "/" .. round .. ".vhd",
          (64 + i) * MiB)
      end
      for i = 1, 8 do
        local ok, result = pcall(tasks[i].wait, tasks[i])
        if ok then
          assert.is_nil(won)
          won = result
        else
          assert.is_true(lvhd.is_error(result, "E_ALREADY_EXISTS"))
        end
      end
      assert.equal(intact(folder .. "/" .. round .. ".vhd").uuid, won.uuid)
    end
    engine:close()
    assert.equal(30, #support.names(folder))
  end)

  -- ---- one parent -----------------------------------------------------

  local function children(count, under_way)
    -- beside the parent: where 7-Zip looks for it
    local parent = folder .. "/base.vhd"
    local engine = lvhd.engine { threads = 4, sync = "none" }
    local base = engine:create_dynamic(parent, 127 * 1024 * MiB):wait()
    local before = support.read(parent)
    local times = support.run("stat -c '%y %z' " .. q(parent))
    local tasks, uuids, done = {}, {}, 0
    local function take(i)
      local info = tasks[i]:wait()
      tasks[i] = nil
      assert.is_nil(uuids[info.uuid])
      uuids[info.uuid] = info.path
      done = done + 1
    end
    for i = 1, count do
      if i > under_way then
        take(i - under_way)
      end
      tasks[i] = engine:create_differencing(
        ("%s/%d.vhd"):format(folder, i), parent)
    end
    for i = count - under_way + 1, count do
      take(i)
    end
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
    assert.equal(before, support.read(parent))
    assert.equal(times, support.run("stat -c '%y %z' " .. q(parent)))
  end

  it("1000 children of one parent, 32 under way", function()
    children(1000, 32)
  end)

  it("10000 children of one parent, 32 under way #slow", function()
    children(10000, 32)
  end)

  -- ---- kill -9 --------------------------------------------------------

  ---Kills creating processes at random moments, `lanes` at the same time.
  local function kills(count, lanes)
    local place = support.tmpdir()
    local parent = folder .. "/base.vhd"
    local engine <close> = lvhd.engine { sync = "none" }
    engine:create_dynamic(parent, 64 * MiB):wait()
    local new = folder .. "/new"
    support.run("mkdir " .. q(new))
    local command = life.command(place, [[
      local folder, me = ...
      local lvhd = require "lvhd"
      local engine = lvhd.engine { threads = 3, sync = "none",
        preflight = false }
      local i = 0
      while true do
        i = i + 1
        local at = ("%s/new/%s-%d"):format(folder, me, i)
        local a = engine:create_dynamic(at .. "a.vhd", 64 << 20)
        local b = engine:create_differencing(at .. "b.vhd",
          folder .. "/base.vhd")
        -- now and then one that is long under way
        local c = i % 8 == 1 and engine:create_fixed(at .. "c.vhd", 6 << 20,
          { allocate = "zero" })
        a:wait() b:wait()
        if c then c:wait() end
        if i == 20 then
          os.remove(folder .. "/new/" .. me .. "-1c.vhd")
        end
      end
    ]], folder)
    local script = place .. "/lane"
    -- the moment counts from the first file: starting takes its own time
    support.write(script, ([[
      lane=$1
      i=0
      while [ $i -lt %d ]; do
        i=$((i + 1))
        %s $lane.$i & pid=$!
        until [ -e %s/$lane.$i-1a.vhd ] || ! kill -0 $pid 2>/dev/null; do
          sleep 0.002
        done
        sleep 0.0$(od -An -N2 -tu2 /dev/urandom | awk '{printf "%%02d",
          $1 %% 40}')
        kill -9 $pid || echo "ended by itself"
        wait $pid
      done 2>&1 | grep -v Killed
      exit 0
    ]]):format(count // lanes, command, q(new)))
    local lines = {}
    for lane = 1, lanes do
      lines[lane] = ("bash %s %d &"):format(q(script), lane)
    end
    local out = support.run(table.concat(lines, "\n") .. "\nwait")
    assert.not_matches("ended by itself", out)
    local names = support.names(new)
    assert.is_true(#names >= count)
    for _, name in ipairs(names) do
      -- nothing but final names, and under each a whole disk
      assert.matches("^%d+%.%d+%-%d+[abc]%.vhd$", name)
      local disk = intact(new .. "/" .. name)
      assert.equal(name:match("c%.vhd$") and "fixed"
        or name:match("a%.vhd$") and "dynamic" or "differencing", disk.type)
    end
    assert.same({ "base.vhd", "new" }, support.names(folder))
    assert.is_truthy(engine:create_differencing(folder .. "/after.vhd",
      parent):wait())
  end

  local function if_tmpfile(f)
    return function()
      if not lifetest.tmpfile(folder) then
        pending("the volume has no O_TMPFILE")
        return
      end
      f()
    end
  end

  it("200 kill -9 at random moments leave only whole files #nosan",
    if_tmpfile(function()
      kills(200, 4)
    end))

  it("5000 kill -9 at random moments leave only whole files #slow #nosan",
    if_tmpfile(function()
      -- in pieces, since every process leaves megabytes
      for _ = 1, 25 do
        kills(200, 4)
        support.run("rm -rf " .. q(folder) .. "/*")
      end
    end))

  -- ---- tasks by the thousand ------------------------------------------

  it("10000 tasks outstanding under ulimit -n 256 #nosan", function()
    local out = life.prints([[
      local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
      local support = require "spec.support"
      local folder = ...
      lvhdtest.limit("nofile", 256)
      local system = lvhdtest.system()
      local engine = lvhd.engine { threads = 2, sync = "none",
        preflight = false, system = system:pointer() }
      local parent = folder .. "/base.vhd"
      lvhd.create_dynamic(parent, 64 << 20):wait()
      engine:create_differencing(folder .. "/first.vhd", parent):wait()
      system:hold { call = "openat" }
      local threads, fds = support.threads(), support.fds()
      local N = 10000
      local tasks = table.move({}, 1, N, 1, {})
      for i = 1, N do
        tasks[i] = false
      end
      collectgarbage() collectgarbage()
      system:forget()
      local heap, count = lvhdtest.memory(), collectgarbage "count"
      for i = 1, N do
        tasks[i] = engine:create_differencing(
          folder .. "/" .. i .. ".vhd", parent)
      end
      assert(system:await(2))
      collectgarbage() collectgarbage()
      system:forget()
      -- Lua's share is inside the heap's
      print("bytes", (lvhdtest.memory() - heap) // N,
        math.floor((collectgarbage "count" - count) * 1024) // N)
      print("threads", support.threads() - threads)
      print("fds", support.fds() - fds)
      local queued = 0
      for i = 1, N do
        if tasks[i]:status() == "queued" then
          queued = queued + 1
        end
      end
      print("queued", queued)
      -- most are cancelled; the rest must come to a good end
      for i = 101, N do
        tasks[i]:cancel()
      end
      system:drop()
      for i = 1, 100 do
        assert(tasks[i]:wait().size == 64 << 20)
      end
      engine:close { cancel = true }
      print("cancelled", tasks[N]:status())
    ]], folder)
    local bytes = tonumber(out:match("bytes\t(%d+)"))
    assert.is_truthy(bytes, out)
    assert.is_true(bytes <= 2048, out)
    assert.is_true(tonumber(out:match("threads\t(-?%d+)")) <= 2, out)
    assert.is_true(tonumber(out:match("fds\t(-?%d+)")) <= 8, out)
    assert.matches("queued\t9998\n", out)
    assert.matches("cancelled\tcancelled\n", out)
    assert.equal(102, #support.names(folder))
  end)

  it("10000 tasks outstanding all come to their end #slow", function()
    local out = life.prints([[
      local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
      local folder = ...
      lvhdtest.limit("nofile", 256)
      local engine = lvhd.engine { threads = 4, sync = "none",
        preflight = false }
      local tasks = {}
      for i = 1, 10000 do
        tasks[i] = engine:create_dynamic(folder .. "/" .. i .. ".vhd",
          64 << 20)
      end
      for i = 1, 10000 do
        tasks[i]:wait()
      end
      print "good"
    ]], folder)
    assert.equal("good\n", out)
    assert.equal(10000, #support.names(folder))
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
