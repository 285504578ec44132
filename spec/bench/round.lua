-- SPDX-License-Identifier: MIT
--
-- One round of lvhd, in a process of its own: N disks made by one engine
-- with one thread, timed from inside.  Started by bench.lua, by strace and
-- by profilers:
--   lua5.4 spec/bench/round.lua verb=differencing folder=/tmp/x count=100
--     parent=/tmp/base.vhd | size=BYTES  [sync=none] [preflight=false]
--     [loop=serial|window|ended|halves|many] [warm=2] [threads=1]
--     [each=FILES IN A FOLDER: these folders are made, too]
-- Prints one line: lvhd files=N wall=SECONDS cpu=SECONDS lua=SECONDS, where
-- cpu is of the whole process and lua of the Lua thread alone.

local clock = require "benchclock"
local lvhd = require "lvhd"

local WINDOW = 32 -- tasks under way in the loop "window"

local opt = { sync = "none", loop = "serial", warm = "2", threads = "1" }
for _, word in ipairs(arg) do
  local key, value = word:match("^(%w+)=(.*)$")
  assert(key, "expected key=value: " .. word)
  opt[key] = value
end

local engine = lvhd.engine {
  threads = math.tointeger(tonumber(opt.threads)),
  sync = opt.sync,
  preflight = opt.preflight ~= "false",
}

local subject = opt.parent or math.tointeger(tonumber(opt.size))
local create = assert(engine["create_" .. opt.verb], "no such verb")

local each = math.tointeger(tonumber(opt.each))
local function path(prefix, i)
  if each and prefix == "" then
    return ("%s/%d/%d.vhd"):format(opt.folder, (i - 1) // each, i)
  end
  return ("%s/%s%d.vhd"):format(opt.folder, prefix, i)
end

local function start(prefix, i)
  return create(engine, path(prefix, i), subject)
end

local loops = {}

---Each disk is awaited before the next is asked for.
function loops.serial(prefix, count)
  for i = 1, count do
    start(prefix, i):wait()
  end
end

---Some tens are under way; the engine hands out what has ended.
function loops.ended(prefix, count)
  local ended, started = engine:ended(), 0
  local function more()
    if started < count then
      started = started + 1
      start(prefix, started)
    end
  end
  for _ = 1, WINDOW do
    more()
  end
  for task in ended do
    assert(task:error() == nil)
    more()
  end
end

---Some tens are under way; the oldest is awaited. They lie in a ring: a table
---whose keys go up and up is laid out anew by Lua for each, 0.8 us of the loop's.
function loops.window(prefix, count)
  local ring = {}
  for i = 1, count + WINDOW do
    local at = (i - 1) % WINDOW + 1
    if i > WINDOW and ring[at] then
      ring[at]:wait()
    end
    ring[at] = i <= count and start(prefix, i) or nil
  end
end

---Twice as many are under way; when the older half is through, which its last
---one tells, all of it is collected: the Lua thread sleeps once a half.
function loops.halves(prefix, count)
  local older, newer = {}, {}
  local function collect(half)
    for i = #half, 1, -1 do
      half[i]:wait()
    end
  end
  for i = 1, count do
    newer[#newer + 1] = start(prefix, i)
    if #newer == WINDOW then
      collect(older)
      older, newer = newer, {}
    end
  end
  collect(older)
  collect(newer)
end

---All of them in one task (create_children); the infos too.
function loops.many(prefix, count)
  local list = {}
  for i = 1, count do
    list[i] = path(prefix, i)
  end
  engine:create_children(list, subject):wait()
end

local loop = assert(loops[opt.loop], "no such loop")
local count = math.tointeger(tonumber(opt.count))

loop("warm", math.tointeger(tonumber(opt.warm)))
local wall, cpu, lua = clock.wall(), clock.cpu(), clock.thread()
loop("", count)
lua, cpu, wall = clock.thread() - lua, clock.cpu() - cpu, clock.wall() - wall
engine:close()
print(("lvhd files=%d wall=%.9f cpu=%.9f lua=%.9f")
  :format(count, wall, cpu, lua))
