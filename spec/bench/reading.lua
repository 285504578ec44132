-- SPDX-License-Identifier: MIT
--
-- The benchmark of reading: chains of known shape beside a plain file of the
-- same size, page cache warm.  Runs from the root of the tree after `make
-- bench` has built build/bench/reading.  Each round runs everything once, in
-- an order that rotates; a figure is the median over the rounds of the ratio
-- within one round.
--
--   LVHD_BENCH_ROUNDS  rounds (15)
--   LVHD_TMPDIR        where (TMPDIR, /tmp)

local support = require "spec.support"

local MiB = 1 << 20
local SIZE = 256 * MiB
local LARGEST = 2040 * 1024 * MiB
local ROUNDS = math.max(11, tonumber(os.getenv("LVHD_BENCH_ROUNDS")) or 15)
local PROGRAM = "build/bench/reading"
local q = support.q

local function median(list)
  table.sort(list)
  local half = #list // 2
  return #list % 2 == 1 and list[half + 1]
    or (list[half] + list[half + 1]) / 2
end

-- Pieces of 2 MiB as Lua strings, each dropped at once.
local LUA = [[
local lvhd = require "lvhd"
local clock = require "benchclock"
for pass = 1, 2 do
  local disk <close> = lvhd.open(arg[1])
  local began, at = clock.wall(), 0
  while true do
    local piece = disk:read(at, 2 << 20)
    if not piece then break end
    at = at + #piece
  end
  if pass == 2 then
    print(("lua seconds=%.6f bytes=%d"):format(clock.wall() - began, at))
  end
end
]]

local folder = support.tmpdir()

local function make(kind, depth, size)
  local at = ("%s/%s%d"):format(folder, kind, depth)
  support.run(("mkdir %s && %s make %s %d %d %s"):format(q(at), PROGRAM, kind,
    depth, size, q(at)))
  return at .. "/L1.vhd"
end

local one = make("blocks", 1, SIZE)
local blocks = make("blocks", 20, SIZE)
local scattered = make("scattered", 20, SIZE)
local empty = make("empty", 20, LARGEST)
support.run(("%s plain %s/raw %d"):format(PROGRAM, q(folder), SIZE))
local script = folder .. "/read.lua"
do
  local f = assert(io.open(script, "w"))
  f:write(LUA)
  f:close()
end

local function seven(leaf)
  return ("7zz t -tvhd %s > /dev/null"):format(q(leaf))
end

local RUNS = {
  { "floor", PROGRAM .. " floor " .. q(folder .. "/raw") },
  { "C, depth 1", PROGRAM .. " disk " .. q(one) },
  { "C, depth 20, whole blocks", PROGRAM .. " disk " .. q(blocks) },
  { "C, depth 20, scattered 32 KiB", PROGRAM .. " disk " .. q(scattered) },
  { "Lua strings, depth 1", ("lua5.4 %s %s"):format(q(script), q(one)) },
  { "4 KiB at random, depth 1", ("%s random %s 20000"):format(PROGRAM,
    q(one)) },
  { "4 KiB at random, depth 20", ("%s random %s 20000"):format(PROGRAM,
    q(scattered)) },
}
if support.has("7zz") then
  table.insert(RUNS, { "7-Zip, depth 1, whole process", seven(one) })
  table.insert(RUNS, { "7-Zip, depth 20, scattered", seven(scattered) })
end

local function seconds(command)
  if command:find("^7zz") then
    local clock = require "benchclock"
    local began = clock.wall()
    support.run(command)
    return clock.wall() - began
  end
  return tonumber(support.run(command):match("seconds=([%d.]+)"))
end

local times = {}
for turn = 1, ROUNDS do
  for i = 1, #RUNS do
    local run = RUNS[(i + turn) % #RUNS + 1]
    times[run[1]] = times[run[1]] or {}
    times[run[1]][turn] = seconds(run[2])
  end
end

local function ratio(a, b)
  local list = {}
  for turn = 1, ROUNDS do
    list[turn] = times[a][turn] / times[b][turn]
  end
  return median(list)
end

print(("reading 256 MiB in pieces of 2 MiB, %d rounds"):format(ROUNDS))
for _, run in ipairs(RUNS) do
  print(("  %-32s %8.1f ms"):format(run[1],
    median(table.move(times[run[1]], 1, ROUNDS, 1, {})) * 1e3))
end

local missed = 0
local function judge(text, got, target, most)
  local good = most and got <= target or not most and got >= target
  missed = missed + (good and 0 or 1)
  print(("  %-46s %6.2f  target %s %.2f  %s"):format(text, got,
    most and "<=" or ">=", target, good and "met" or "MISSED"))
end

print("rates")
judge("C, depth 1, of the floor", ratio("floor", "C, depth 1"), 0.8)
judge("Lua strings, depth 1, of the floor",
  ratio("floor", "Lua strings, depth 1"), 0.4)
judge("depth 20 of whole blocks, of depth 1",
  ratio("C, depth 1", "C, depth 20, whole blocks"), 0.9)
judge("depth 20 of scattered pieces, of depth 1",
  ratio("C, depth 1", "C, depth 20, scattered 32 KiB"), 0.4)
judge("4 KiB at random, depth 20, time of depth 1",
  ratio("4 KiB at random, depth 20", "4 KiB at random, depth 1"), 2, true)

local opened = support.run(("%s open %s 20"):format(PROGRAM, q(empty)))
local ms = tonumber(opened:match("seconds=([%d.]+)")) / 20 * 1e3
local rss = tonumber(opened:match("rss=(%d+)")) / 1024
judge("opening 20 disks of 2,040 GiB, ms", ms, 50, true)
judge("the same, MiB of the whole process", rss, 32, true)
print(("%d targets missed"):format(missed))
