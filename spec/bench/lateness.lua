-- SPDX-License-Identifier: MIT
--
-- How late a timer of 1 ms is in a loop of cqueues, while something else goes
-- on: lvhd making children in the same loop, as separate tasks or as one
-- (batch), a thread in C of the same program making as many files (benchload.c),
-- or another program that does (floor.c).  Started by loops.lua:
--   lua5.4 spec/bench/lateness.lua lvhd FOLDER COUNT PARENT
--   lua5.4 spec/bench/lateness.lua batch FOLDER COUNT PARENT
--   lua5.4 spec/bench/lateness.lua thread FOLDER COUNT TEMPLATE
--   lua5.4 spec/bench/lateness.lua run COMMAND
-- Prints a line: lateness call=us wait=us wall=SECONDS, call being the longest time
-- on the CPU that a call of lvhd kept the loop, and wait that of the wait at the end of
-- a batch (create_children); and a line with the lateness of each tick, in us.

local clock = require "benchclock"
local cqueues = require "cqueues"

local WINDOW <const> = 32

local loop = cqueues.new()
local lates, busy, call, wait = {}, true, 0, 0

local function timer()
  while busy do
    local before = clock.wall()
    cqueues.sleep(0.001)
    if busy then -- the engine's end, which waits for its threads, is another's
      lates[#lates + 1] = clock.wall() - before - 0.001
    end
  end
end

-- The longest that a call keeps the loop waiting: it may give the loop its turn
-- in between, through the poll function.
local began
local function stop()
  call = math.max(call, clock.thread() - began)
end

local function poll(...)
  stop()
  cqueues.poll(...)
  began = clock.thread()
end

local function timed(f, ...)
  began = clock.thread()
  local result = f(...)
  stop()
  return result
end

local function children(folder, count, parent)
  local lvhd = require "lvhd"
  local engine = lvhd.engine { threads = 1, sync = "none", preflight = false,
    poll = poll }
  local ended, started = engine:ended(), 0
  local function more()
    if started < count then
      started = started + 1
      timed(engine.create_differencing, engine,
        ("%s/%d.vhd"):format(folder, started), parent)
    end
  end
  for _ = 1, WINDOW do
    more()
  end
  began = clock.thread()
  for task in ended do
    stop()
    assert(timed(task.wait, task))
    more()
    cqueues.sleep(0) -- the timer's turn
    began = clock.thread()
  end
  busy = false
  engine:close()
end

local function batch(folder, count, parent)
  local lvhd = require "lvhd"
  local engine = lvhd.engine { threads = 1, sync = "none", poll = poll }
  local images = {}
  for i = 1, count do
    images[i] = ("%s/%d.vhd"):format(folder, i)
  end
  local task = timed(engine.create_children, engine, images, parent)
  local made = call
  while not task:done() do
    cqueues.poll(task)
  end
  call = 0
  assert(#timed(task.wait, task) == count)
  call, wait = made, call
  busy = false
  engine:close()
end

local function thread(folder, count, template)
  local load = require "benchload"
  local files = { pollfd = load.start(folder, count, template), events = "r" }
  local made = 0
  while made < count do
    cqueues.poll(files)
    for _ = 1, load.made() do
      made = made + 1
      cqueues.sleep(0)
    end
  end
  busy = false
end

local function other(command)
  local done = os.tmpname()
  os.remove(done)
  os.execute(("(%s; touch %s) >/dev/null &"):format(command, done))
  repeat
    cqueues.sleep(0.02)
    local file = io.open(done)
  until file and file:close()
  os.remove(done)
  busy = false
end

-- The program lua5.4 begins in generational mode, whose collections are one step
-- each; a loop that minds a millisecond asks for the other one (README).
collectgarbage("incremental")
loop:wrap(timer)
local ours = { lvhd = children, batch = batch, thread = thread }
if ours[arg[1]] then
  loop:wrap(ours[arg[1]], arg[2], math.tointeger(tonumber(arg[3])), arg[4])
else
  loop:wrap(other, arg[2])
end
local start = clock.wall()
assert(loop:loop())
print(("lateness call=%d wait=%d wall=%.3f"):format(math.floor(call * 1e6),
  math.floor(wait * 1e6), clock.wall() - start))
for i, late in ipairs(lates) do
  lates[i] = ("%d"):format(math.floor(late * 1e6))
end
print("ticks " .. table.concat(lates, " "))
