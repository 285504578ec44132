-- SPDX-License-Identifier: MIT
--
-- The benchmark of separate tasks in an event loop: what the Lua thread spends
-- on each, how many there are a second beside two threads in C (floor.c), and
-- how late a timer of the same loop is, beside an equal load in C in another
-- process.  In rounds, with medians of what is compared within one.
--
--   LVHD_BENCH_ROUNDS  rounds (9)
--   LVHD_TMPDIR        where (TMPDIR, /tmp)

local place = require "spec.bench.place"
local support = require "spec.support"

local q = support.q
local MiB <const> = 1 << 20
local TASKS <const> = 5000
local LOOPS <const> = { "window", "halves", "ended" }
local SAYS <const> = { window = "waited for one by one",
  halves = "collected in halves", ended = "handed out by ended" }
-- A hundredth of the ticks must be several: a child takes 20 us.
local TICKED <const> = 10000

local function target(name, value, unit, limit, least)
  local met = least and value >= limit or not least and value <= limit
  print(("  %-36s %7.2f %-3s target %s %.4g  %s"):format(name, value, unit,
    least and ">=" or "<=", limit, met and "met" or "MISSED"))
end

local function tasks(root)
  local parent, template = place.parent(root, 64 * MiB)
  local us, share = {}, {}
  for _, loop in ipairs(LOOPS) do
    us[loop], share[loop] = {}, {}
  end
  for _ = 1, place.ROUNDS do
    local floor = place.rate(("build/bench/floor write none %s %d 2 %s 2")
      :format(q(place.fresh(root)), TASKS, q(template)))
    for _, loop in ipairs(LOOPS) do
      local rate, got = place.rate(("lua5.4 spec/bench/round.lua"
        .. " verb=differencing folder=%s count=%d parent=%s sync=none"
        .. " preflight=false threads=2 loop=%s"):format(q(place.fresh(root)),
        TASKS, q(parent), loop))
      table.insert(us[loop], got.lua / got.files * 1e6)
      table.insert(share[loop], rate / floor)
    end
  end
  print(("Separate tasks (sync=none, preflight=false, 2 threads), load %s:")
    :format(place.load()))
  for _, loop in ipairs(LOOPS) do
    target("CPU a task, " .. SAYS[loop], place.median(us[loop]), "us", 10)
    target("share of two threads in C", place.median(share[loop]), "", 0.6,
      true)
  end
end

local function lateness(what, ...)
  return place.numbers(support.run(("lua5.4 spec/bench/lateness.lua %s %s")
    :format(what, table.concat({ ... }, " "))))
end

local function timer(root)
  local parent, template = place.parent(root, 64 * MiB)
  local ratios, calls, lines = {}, {}, {}
  for i = 1, place.ROUNDS do
    local floor = lateness("run", q(("build/bench/floor write none %s %d 2 %s")
      :format(q(place.fresh(root)), TICKED, q(template))))
    local lvhd = lateness("lvhd", q(place.fresh(root)), TICKED, q(parent))
    ratios[i], calls[i] = lvhd.p99 / floor.p99, lvhd.call
    lines[i] = ("    p50 %d, p99 %d, most %d; beside C %d, %d, %d"):format(
      lvhd.p50, lvhd.p99, lvhd.most, floor.p50, floor.p99, floor.most)
  end
  print(("A timer of 1 ms in a loop of cqueues, how late (us), load %s:")
    :format(place.load()))
  print(table.concat(lines, "\n"))
  target("p99, lvhd's to C's", place.median(ratios), "", 1.5)
  target("longest call, CPU", place.median(calls), "us", 1000)
end

local function batch(root)
  local parent = place.parent(root, 64 * MiB)
  local most, wait = {}, {}
  for i = 1, place.ROUNDS do
    local got = lateness("batch", q(place.fresh(root)), 1000, q(parent))
    most[i], wait[i] = got.call, got.wait
  end
  print "1,000 children in one task (create_children):"
  target("the call, CPU", place.median(most), "us", 1000)
  target("the wait that makes the infos, CPU", place.median(wait), "us", 1000)
end

place.main(function(scratch)
  place.with(scratch, tasks)
  place.with(scratch, timer)
  place.with(scratch, batch)
end)
