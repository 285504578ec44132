-- SPDX-License-Identifier: MIT
--
-- How late a timer of 1 ms is in a loop of cqueues, while something else goes
-- on: nothing, lvhd making children in the same loop, or a program in C
-- making as many files (floor.c).  Started by loops.lua:
--   lua5.4 spec/bench/lateness.lua lvhd FOLDER COUNT PARENT
--   lua5.4 spec/bench/lateness.lua batch FOLDER COUNT PARENT
--   lua5.4 spec/bench/lateness.lua run COMMAND
-- Prints one line: lateness ticks=N p50=us p99=us most=us wall=SECONDS, and of
-- lvhd call=us: the longest time on the CPU that a call kept the loop, and of a batch
-- (create_children) wait=us: of the wait at its end.

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

loop:wrap(timer)
local ours = { lvhd = children, batch = batch }
if ours[arg[1]] then
  loop:wrap(ours[arg[1]], arg[2], math.tointeger(tonumber(arg[3])), arg[4])
else
  loop:wrap(other, arg[2])
end
local start = clock.wall()
assert(loop:loop())
table.sort(lates)
local function at(share)
  return math.floor(lates[math.max(1, math.ceil(#lates * share))] * 1e6)
end
print(("lateness ticks=%d p50=%d p99=%d most=%d call=%d wait=%d wall=%.3f")
  :format(#lates, at(0.5), at(0.99), at(1), math.floor(call * 1e6),
  math.floor(wait * 1e6), clock.wall() - start))
