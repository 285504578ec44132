-- SPDX-License-Identifier: MIT
--
-- kill -9 at random moments: eight processes at once, each of which has
-- another one make and change disks, and kills it.  Two kinds of rounds, in
-- turns, so that every verb is among them:
--
--   crowd      new files of every kind, all lanes in one folder.  Identifier
--              and time are given, so that a file that is there must be, byte
--              for byte, the one of its kind that nobody disturbed
--   scenarios  one of creations.lua or changes.lua, in a folder of its own;
--              what is found is judged as after a loss of power
--
-- Nothing may be left but final names; where the volume has no unnamed files,
-- temporary names.  LVHD_KILLS is another number of kills for the long form.

local bench = require "spec.support.bench"
local changes = require "spec.support.changes"
local creations = require "spec.support.creations"
local lifetest = require "lifetest"
local lvhd = require "lvhd"
local powerloss = require "spec.support.powerloss"
local promise = require "spec.support.promise"
local support = require "spec.support"
local test = require "lvhdtest"
local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"
local whole = require "spec.support.whole"

local SEED <const> = math.tointeger(os.getenv("LVHD_SEED")) or 20261123
local SIZE <const> = 3 << 20
local TIME <const> = 1650000000
local MANY <const> = math.tointeger(os.getenv("LVHD_KILLS")) or 10000
local LANES <const> = 8
local ROUND <const> = 6 -- kills before the lane does something else

-- A process that runs act(); killed so many seconds after it has begun, unless
-- it has come to its end by then.  True: it was killed; false and its exit
-- status.
local function killed(lane, act, seconds)
  local begun = ("%s/begun%d"):format(lane.reports, lane.number)
  local pid = test.spawn(function()
    test.alarm(600) -- should nobody kill it
    support.write(begun, "")
    act()
    return 0
  end)
  while not test.stat(begun) do
    test.sleep(0.0001)
  end
  assert(os.remove(begun))
  test.sleep(seconds)
  test.kill(pid, test.SIGKILL)
  local status, signal = test.wait(pid)
  if status == nil and signal ~= test.SIGKILL then
    error("signal " .. signal, 0)
  end
  return status == nil, status
end

-- ---- crowd ----------------------------------------------------------------

-- Every kind of new file: the work, for a path in the folder of base.vhd.
local function options(n)
  return { uuid = vhdwrite.uuid(n), timestamp = TIME }
end

local function creator(n, verb, opts)
  opts = opts or {}
  opts.uuid, opts.timestamp = options(n).uuid, TIME
  return function(engine, dir, path)
    return engine[verb](engine, path,
      verb == "create_differencing" and dir .. "/base.vhd" or SIZE, opts)
  end
end

local function converter(n, to)
  return function(engine, dir, path)
    local opts = options(n)
    opts.to = to
    opts.parent = to == "differencing" and dir .. "/base.vhd" or nil
    return engine:convert(dir .. "/leaf.vhd", path, opts)
  end
end

local KINDS <const> = {
  sparse = creator(1, "create_fixed"),
  zero = creator(2, "create_fixed", { allocate = "zero" }),
  reserve = creator(3, "create_fixed", { allocate = "reserve" }),
  fat = creator(4, "create_dynamic", { filesystem = "fat16" }),
  dynamic = creator(5, "create_dynamic", { mode = "0640" }),
  child = creator(6, "create_differencing"),
  todynamic = converter(7, "dynamic"),
  tofixed = converter(8, "fixed"),
  toraw = converter(9, "raw"),
  tochild = converter(10, "differencing"),
  -- eight of one list, half of them in a folder that is missing
  many = function(engine, dir, path)
    local list = {}
    for i = 1, 8 do
      list[i] = { uuid = vhdwrite.uuid(6),
        image = i % 2 == 0 and ("%s/%d.child"):format(path, i)
          or ("%s.%d.child"):format(path, i) }
    end
    return engine:create_children(list, dir .. "/base.vhd",
      { timestamp = TIME })
  end,
}
local NAMES <const> = {}
for name in pairs(KINDS) do
  NAMES[#NAMES + 1] = name
end
table.sort(NAMES)

-- The disk of each kind that nobody disturbs, judged once.
local function references(dir)
  local made = {}
  local engine <close> = lvhd.engine{ threads = 1, sync = "none" }
  for _, name in ipairs(NAMES) do
    local path = dir .. "/reference." .. name
    KINDS[name](engine, dir, path):wait()
    if name ~= "many" then
      made[name] = support.read(path)
    end
    if name ~= "many" and name ~= "toraw" then
      assert(not vhdread.doubt(path), name)
      assert(#promise.complaints(path, "warning", nil, dir) == 0, name)
    end
  end
  made.below = support.read(dir .. "/reference.many/2.child")
  return made
end

local function prepare_crowd(dir)
  local base = vhdwrite.new{ size = SIZE, block_size = 65536 }
  local leaf = vhdwrite.new{ parent = base }
  for _, s in ipairs{ 0, 9, 4096 } do
    base:put(s, vhdwrite.pattern(1, s))
    leaf:put(s + 1, vhdwrite.pattern(2, s))
  end
  base:save(dir .. "/base.vhd")
  leaf:save(dir .. "/leaf.vhd")
  return references(dir)
end

-- Makes disks until it is killed, three at a time; names tell the kind.
local function make_disks(dir, prefix, way, seed)
  local random = vhdwrite.random(seed)
  local system = creations.system(way)
  local engine = lvhd.engine{ threads = 3, preflight = random.chance(50),
    system = system:pointer(), sync = random.pick{ "none", "none", "data",
      "full" } }
  local i = 0
  while true do
    local tasks = {}
    for k = 1, 3 do
      local name = random.pick(NAMES)
      i = i + 1
      tasks[k] = KINDS[name](engine, dir, ("%s/%s-%d.%s"):format(dir, prefix,
        i, name))
    end
    for k = 1, 3 do
      tasks[k]:wait()
    end
  end
end

-- What the lane's processes have left, each file as its kind must be, goes.
local function judge_crowd(lane, list)
  for i = #list, 1, -1 do -- what lies in a folder before it
    local path = lane.dir .. "/" .. list[i]
    local kind = list[i]:find("/", 1, true) and "below"
      or list[i]:match("%.(%l+)$")
    local folder = kind == "many" and test.stat(path).type == "folder"
    if not folder and support.read(path) ~= lane.references[kind] then
      error(list[i] .. " is not what it should be", 0)
    end
    lane.files = lane.files + (folder and 0 or 1)
    assert(os.remove(path))
  end
end

local function own_names(lane, prefix)
  local list = {}
  for _, name in ipairs(powerloss.names(lane.dir)) do
    if name:sub(1, #prefix) == prefix then
      list[#list + 1] = name
    end
  end
  return list
end

-- The others' files come and go meanwhile.
local function own_files(lane, prefix)
  local ok, list
  repeat
    ok, list = pcall(own_names, lane, prefix)
  until ok
  return list
end

-- So many times, or as often as the lane still has to.
local function times(lane)
  return math.min(ROUND, lane.quota - lane.kills)
end

local function crowd(lane)
  for i = 1, times(lane) do
    local prefix = ("lane%d-%d-"):format(lane.number, lane.kills)
    local was, status = killed(lane, function()
      make_disks(lane.dir, prefix, lane.way, lane.seed + 1000 * lane.number
        + lane.kills + i)
    end, lane.random.below(30000) / 1e6)
    if not was then
      error("it ended by itself: " .. status, 0)
    end
    lane.kills = lane.kills + 1
    judge_crowd(lane, own_files(lane, prefix))
  end
end

-- ---- scenarios ------------------------------------------------------------

-- A moment of the work, which took so long when nobody disturbed it.
local function moments(lane, act)
  local took = lane.reports .. "/took" .. lane.number
  test.wait(test.spawn(function()
    local from = test.clock()
    act()
    support.write(took, tostring(test.clock() - from))
  end))
  local seconds = tonumber(support.read(took))
  return function()
    return seconds * lane.random.below(1000) / 1000
  end
end

local function count_temporaries(lane, dir)
  for _, name in ipairs(powerloss.names(dir)) do
    lane.temporaries = lane.temporaries
      + (creations.is_temporary(name) and 1 or 0)
  end
end

local function creating(lane, scenario)
  whole.with(scenario, lane.way, "full", function(b)
    local system = creations.system(lane.way)
    local function act()
      local engine = lvhd.engine{ threads = 2, system = system:pointer() }
      scenario.start(engine, b.found, { sync = "full" }):wait()
      engine:close()
    end
    b:reset()
    local moment = moments(lane, act)
    for _ = 1, times(lane) do
      b:reset()
      local was, status = killed(lane, act, moment())
      if not was and status ~= 0 then
        error("exit status " .. status, 0)
      end
      lane.kills = lane.kills + (was and 1 or 0)
      lane.files = lane.files + b:judge(b.found, not was)
      count_temporaries(lane, b.found)
    end
    b:again(b.found)
  end)
end

-- Killed once or twice: the second time while it does the same work again.
local function killed_twice(lane, act, moment)
  local was, status = killed(lane, act, moment())
  if was and lane.random.chance(30) then
    lane.kills = lane.kills + 1
    was, status = killed(lane, act, moment())
    if not was and status ~= 0 then
      return true -- the first one had done all, and deleted a file
    end
  end
  if not was and status ~= 0 then
    error("exit status " .. status, 0)
  end
  lane.kills = lane.kills + (was and 1 or 0)
  return was
end

local function changing(lane, scenario)
  bench.with(scenario, function(b)
    local system = creations.system(lane.way)
    local writes = #(b.what.writes or {})
    local function act()
      local engine = lvhd.engine{ threads = 1, system = system:pointer() }
      scenario.act(engine, b.found, function() end)
      engine:close()
    end
    b:reset()
    local moment = moments(lane, act)
    for _ = 1, times(lane) do
      b:reset()
      local was = killed_twice(lane, act, moment)
      b:judge({ begun = writes, flushed = was and 0 or writes,
        done = not was }, "killed")
      lane.files = lane.files + 1
      count_temporaries(lane, b.found)
    end
  end, lane.way)
end

-- ---- lanes ----------------------------------------------------------------

-- Which scenario is next: all of them in turn, in another order in each lane.
local function next_scenario(lane)
  if not lane.order or #lane.order == 0 then
    lane.order = {}
    for _, list in ipairs{ changes, creations } do
      for _, scenario in ipairs(list) do
        if not scenario.large and (lane.slow or not scenario.slow) then
          lane.order[#lane.order + 1] = scenario
        end
      end
    end
    lane.order = lane.random.shuffle(lane.order)
  end
  return table.remove(lane.order)
end

local function run(lane)
  while lane.kills < lane.quota do
    collectgarbage() -- a small process is copied sooner
    if lane.random.chance(50) then
      crowd(lane)
    else
      local scenario = next_scenario(lane)
      local kind = scenario.act and changing or creating
      kind(lane, scenario)
    end
  end
end

local function start_lane(o, number)
  return test.spawn(function()
    test.alarm(7200)
    local lane = { number = number, dir = o.dir, reports = o.reports,
      references = o.references, way = o.way, slow = o.slow,
      quota = (o.kills + LANES - 1) // LANES, kills = 0, files = 0, temporaries = 0,
      seed = o.seed, random = vhdwrite.random(o.seed + 77 * number) }
    local ok, err = pcall(run, lane)
    support.write(("%s/lane%d"):format(o.reports, number), ok
      and ("%d %d %d"):format(lane.kills, lane.files, lane.temporaries)
      or tostring(err))
    return 0
  end)
end

-- Temporary names of the crowd, counted; nothing else may be there.
local function left_in(o)
  local temporaries, known = 0, { ["base.vhd"] = true, ["leaf.vhd"] = true }
  for _, name in ipairs(powerloss.names(o.dir)) do
    if creations.is_temporary(name) then
      temporaries = temporaries + 1
    elseif not known[name] and not name:find("^reference%.") then
      error("what is " .. name .. "?", 0)
    end
  end
  return temporaries
end

-- So many kills by eight lanes, not those of another piece: gives kills, files
-- that were judged, temporary names that were left.
local function kills(count, way, slow, piece)
  local o = { dir = support.tmpdir(), reports = support.tmpdir(), way = way,
    kills = count, slow = slow, seed = SEED + count + 10007 * piece }
  o.references = prepare_crowd(o.dir)
  local pids, sums = {}, { 0, 0, 0 }
  for i = 1, LANES do
    pids[i] = start_lane(o, i)
  end
  for i = 1, LANES do
    assert.equal(0, (test.wait(pids[i])))
  end
  for i = 1, LANES do
    local text = support.read(("%s/lane%d"):format(o.reports, i))
    local k, files, temporaries = text:match("^(%d+) (%d+) (%d+)$")
    if not k then
      error(("lane %d, %s, seed %d: %s"):format(i, way.name, SEED, text), 0)
    end
    for j, n in ipairs{ k, files, temporaries } do
      sums[j] = sums[j] + math.tointeger(n)
    end
  end
  sums[3] = sums[3] + left_in(o)
  support.run("rm -rf " .. support.q(o.dir) .. "/*")
  return table.unpack(sums)
end

local function run_kills(shares, size, tell)
  for i, way in ipairs(creations.ways) do
    local k, files, temporaries = 0, 0, 0
    while k < shares[i] do -- in pieces, since temporary files are large
      local a, b, c = kills(math.min(size, shares[i] - k), way, size > 100,
        k // size)
      k, files, temporaries = k + a, files + b, temporaries + c
    end
    tell(("%s: seed %d, %d kills, %d files judged, %d temporary names left\n")
      :format(way.name, SEED, k, files, temporaries))
    if way.temporary then
      assert.is_true(files > 0)
    else
      assert.equal(0, temporaries)
    end
  end
end

local function ignore() end

local function say(line)
  io.stdout:write(line)
  io.stdout:flush()
end

describe("kill -9 at random moments, eight processes at once,", function()
  local function leaves_whole_files(shares, size, tell)
    if not lifetest.tmpfile(support.tmpdir()) then
      pending("the volume has no O_TMPFILE")
      return
    end
    run_kills(shares, size, tell)
  end

  it("leaves whole files and disks as they were, 100 times #nosan", function()
    leaves_whole_files({ 56, 24, 24 }, 100, ignore)
  end)

  it(("leaves whole files and disks as they were, %d times #slow #nosan")
    :format(MANY), function()
      leaves_whole_files({ MANY * 6 // 10, MANY * 24 // 100,
        MANY * 16 // 100 }, 800, say)
    end)
end)
