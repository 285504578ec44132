-- SPDX-License-Identifier: MIT
--
-- Lives of Lua states in a program that lives on (spec/c/host_lives.c): with
-- tasks of every verb queued, running and ended; ended by lua_close, os.exit
-- or an error; several at the same time; with collectors that come after each
-- call.  Nothing crashes, nothing is left, and lua_close takes a second at the
-- most.

local support = require "spec.support"
local life = require "spec.support.life"

local q = support.q

local sanitizer = os.getenv "LVHD_SANITIZER"

-- Bytes in all: a text that each life leaves is more after some dozens.
local GROWTH <const> = 2 << 10

-- Nothing kept for later: what malloc says to be in use is in use.
local EXACT <const> =
  "GLIBC_TUNABLES=glibc.malloc.tcache_count=0 MALLOC_ARENA_MAX=1"

---Lives a text `rounds` times.
---@param threads integer so many at the same time
---@param how "stay"|"fork"
---@param slack? integer bytes that the test's own modules leave in each life
local function lives(rounds, threads, how, text, slack)
  local host = life.program "host_lives"
  if not host then
    pending("host_lives is not built (make test does it)")
    return
  end
  local folder = support.tmpdir()
  require "spec.support.play".share(folder)
  local limit = 60 + rounds
  if sanitizer == "valgrind" then
    host = "valgrind -q --leak-check=full --error-exitcode=9 " .. host
    -- which lets one thread go on at a time
    threads, limit = math.min(threads, 2), 600
    rounds = math.max(4, rounds // 10)
  end
  local ok, out = support.sh(("%s LUA_PATH=%s LUA_CPATH=%s timeout -k 5"
    .. " %d %s %s %d %d %s %s"):format(EXACT, q(package.path),
    q(package.cpath), limit, host, q(folder), rounds, threads, how,
    q(text)))
  assert.is_true(ok, out)
  local close, grown = out:match(
    "threads 1 fds 0 failed 0\nlives %d+ close (%d+) grown (-?%d+)\n$")
  assert.is_truthy(close, out)
  if not sanitizer then -- these are slow, and keep what was freed
    assert.is_true(tonumber(close) <= 1000, out)
    assert.is_true(tonumber(grown) <= GROWTH + rounds * (slack or 0), out)
  end
  return out:match("lives[^\n]*")
end

---The short form, and the long one.
local function both(what, short, long, threads, how, text, slack)
  it(what, function()
    lives(short, threads, how, text, slack)
  end)
  it(what .. (", %d times #slow"):format(long), function()
    print(what, lives(long, threads, how, text, slack)) -- for RELIABILITY.md
  end)
end

-- ---- tasks of every verb ----------------------------------------------------

-- A task of each verb; a third was waited for, the others are running or
-- queued.  Then, by turns: the state ends with them, their handles gone or
-- not; or an error ends the main chunk.
local EVERY <const> = [[
local folder, n, shared = ...
local lvhd, play = require "lvhd", require "spec.support.play"
math.randomseed(n)
local world = play.world(folder, shared)
local e = lvhd.engine { threads = 1 + n % 3, sync = "none",
  preflight = n % 2 == 0 }
if n % 4 == 0 then
  e:fd() -- it holds what has ended
end
kept = {}
for i, name in ipairs(play.names) do
  local task = play.try(play.verbs[name], e, world)
  if task and (i + n) % 3 == 0 then
    play.try(task.wait, task)
  elseif task and (i + n) % 7 == 0 then
    task:cancel()
  end
  kept[n % 5 > 0 and i or 1] = task
end
e:create_differencing(folder .. "/x", folder .. "/missing",
  { preflight = false })
play.lost = n % 2 == 0 and e:open(shared .. "/base.vhd") or nil
]]

describe("Lua states", function()
  both("end with tasks of every verb", 42, 10000, 1, "stay",
    EVERY .. [[ if n % 3 == 0 then error "mine" end ]])

  both("end with tasks of every verb, 16 at once", 32, 10000, 16, "stay",
    EVERY .. [[ if n % 3 == 0 then error("mine", 0) end ]])

  both("play, and end with tasks under way", 10, 2000, 1, "stay", [[
    local folder, n, shared = ...
    require "spec.support.play".life(shared, n, 0, 20, folder)
  ]])

  both("end with what a finalizer began while they closed", 30, 2000, 1,
    "stay", [[
    local folder, n, shared = ...
    local lvhd, play = require "lvhd", require "spec.support.play"
    local e = lvhd.engine { threads = 2, sync = "none",
      drives = { C = folder } }
    local w = play.world(folder, shared)
    late = {}
    at_end = setmetatable({}, { __gc = function()
      for i, name in ipairs(play.names) do
        late[i] = play.verbs[name](e, w)
        if i % 2 == 0 then
          late[i]:fd()
        end
        play.try(late[i].wait, late[i], 0.002)
      end
      late.engine = lvhd.engine { threads = 1 }
      late.other = late.engine:create_dynamic(folder .. "/late", 64 << 20)
      late.missing = e:create_differencing(folder .. "/x", folder .. "/no",
        { preflight = false })
      for task in e:ended(0.002) do
        task:status()
      end
      late.disk = e:open(shared .. "/base.vhd")
      pcall(e.open, e, folder .. "/no")
      e:chain(folder .. "/child.vhd")
      e:windows_path(folder)
    end })
  ]])

  -- zeros by the gigabyte: without a cancel each would take its time
  both("end within a second beside long tasks", 6, 100, 1, "stay", [[
    local folder = ...
    local lvhd, lifetest = require "lvhd", require "lifetest"
    local slow = lvhd.engine { threads = 3, sync = "none",
      system = lifetest.slow { pwritev = 0.05 } }
    local raw <close> = io.open(folder .. "/raw", "w")
    raw:seek("set", (2 << 30) - 1)
    raw:write "\0"
    raw:flush()
    for i = 1, 3 do
      slow:create_fixed(folder .. "/z" .. i, 2 << 30,
        { allocate = "zero" })
      slow:convert(folder .. "/raw", folder .. "/c" .. i,
        { from = "raw", to = "fixed", allocate = "zero" })
      slow:create_dynamic(folder .. "/d" .. i, 64 << 20)
    end
    -- two of them are at work, and a worker is left for the others
    require "lvhdtest".sleep(0.1)
  ]], 400) -- lifetest keeps its tables

  both("require the module, 16 at once", 32, 10000, 16, "stay", [[
    local folder, n = ...
    local lvhd = require "lvhd"
    assert(lvhd.hresult.E_ABORT == 0x80004004)
    if n % 2 == 0 then
      lvhd.create_dynamic(folder .. "/1", 64 << 20, { sync = "none" })
    end
  ]])
end)

-- ---- the end of the process -------------------------------------------------

describe("processes", function()
  local program = EVERY .. [[
    local how = n % 6
    if how == 0 then os.exit(true)
    elseif how == 1 then os.exit(false)
    elseif how == 2 then os.exit(true, true)
    elseif how == 3 then os.exit(false, true)
    elseif how == 4 then error("mine")
    end
  ]]
  both("end with tasks of every verb", 24, 2000, 1, "fork", program)
end)

-- ---- storms of collections --------------------------------------------------

describe("a storm of collections", function()
  -- a step after each call; a step of the other collector; a whole cycle
  -- wherever Lua allocates; a step every few instructions
  local program = [[
    local folder, n = ...
    local after = function() collectgarbage("step", 0) end
    if n % 4 == 1 then
      collectgarbage "generational"
    elseif n % 4 == 2 then
      collectgarbage("incremental", 1, 1000, 20)
    elseif n % 4 == 3 then
      debug.sethook(after, "", 7)
    end
    local missing = require "spec.support.everycall".run(folder, after)
    assert(#missing == 0, "not called: " .. table.concat(missing, " "))
  ]]
  both("goes through every public call", 4, 400, 1, "stay", program)

  both("goes through every public call, 8 states at once", 8, 800, 8, "stay",
    program)
end)
