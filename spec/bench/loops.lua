-- SPDX-License-Identifier: MIT
--
-- The benchmark of separate tasks in an event loop: what the Lua thread spends
-- on each, and how late a timer of the same loop is, beside an equal load in C
-- (floor.c) in another process.  In rounds, with medians, as bench.lua.
--
--   LVHD_BENCH_ROUNDS  rounds (9)
--   LVHD_TMPDIR        where (TMPDIR, /tmp)

local support = require "spec.support"

local ROUNDS = math.max(9, tonumber(os.getenv("LVHD_BENCH_ROUNDS")) or 9)
local COUNT <const> = 5000
local TARGET_US <const>, TARGET_LATE <const> = 10, 1.5
local q = support.q

local function numbers(line)
  local found = {}
  for key, value in line:gmatch("(%w+)=([%d.]+)") do
    found[key] = tonumber(value)
  end
  return found
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local root = support.tmpdir()
local folders = 0
local function fresh()
  folders = folders + 1
  local folder = ("%s/%03d"):format(root, folders)
  support.run("mkdir " .. q(folder))
  return folder
end

local parent, template = root .. "/parent.vhd", root .. "/template.vhd"
do
  local lvhd = require "lvhd"
  lvhd.create_dynamic(parent, "64 MiB"):wait()
  lvhd.create_differencing(template, parent):wait()
end

print("Lua thread, CPU a task (sync=none, preflight=false), 2 threads:")
for _, kind in ipairs { "window", "ended" } do
  local list = {}
  for i = 1, ROUNDS do
    local got = numbers(support.run(("lua5.4 spec/bench/round.lua"
      .. " verb=differencing folder=%s count=%d parent=%s sync=none"
      .. " preflight=false threads=2 loop=%s"):format(q(fresh()), COUNT,
      q(parent), kind)))
    list[i] = got.lua / got.files * 1e6
  end
  local us = median(list)
  print(("  %-28s %5.1f us   target %d   %s"):format(
    kind == "window" and "waited for one by one" or "handed out by ended", us,
    TARGET_US, us <= TARGET_US and "met" or "MISSED"))
end

print "A timer of 1 ms in a loop of cqueues, how late (us):"
local ratios, calls, lines = {}, {}, {}
for i = 1, ROUNDS do
  local floor = numbers(support.run(("lua5.4 spec/bench/lateness.lua run %s")
    :format(q(("build/bench/floor write none %s %d 2 %s"):format(q(fresh()),
      COUNT, q(template))))))
  local lvhd = numbers(support.run(
    ("lua5.4 spec/bench/lateness.lua lvhd %s %d %s"):format(q(fresh()), COUNT,
    q(parent))))
  ratios[i], calls[i] = lvhd.p99 / floor.p99, lvhd.call
  lines[i] = ("    p50 %d, p99 %d, most %d; beside C %d, %d, %d"):format(
    lvhd.p50, lvhd.p99, lvhd.most, floor.p50, floor.p99, floor.most)
end
print(table.concat(lines, "\n"))
local late = median(ratios)
print(("  p99, lvhd's to C's           %5.2f      target %.1f  %s"):format(late,
  TARGET_LATE, late <= TARGET_LATE and "met" or "MISSED"))
print(("  longest call, CPU            %5d us   target 1000 %s"):format(
  median(calls), median(calls) <= 1000 and "met" or "MISSED"))
