-- SPDX-License-Identifier: MIT
--
-- The benchmark of separate tasks in an event loop: what the Lua thread spends
-- on each, how many there are a second beside two threads in C (floor.c), and
-- how late a timer of the same loop is, beside an equal load in C in another
-- thread, or another program.  In rounds, with medians of what is compared within one.
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
local TICKED <const> = 1000
-- A hundredth of the ticks of one run is several then.
local LONG <const> = 10000

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
  local printed = support.run(("lua5.4 spec/bench/lateness.lua %s %s")
    :format(what, table.concat({ ... }, " ")))
  local got = place.numbers(printed)
  got.ticks = {}
  for late in printed:match("ticks(.*)"):gmatch("%d+") do
    table.insert(got.ticks, tonumber(late))
  end
  return got
end

-- The ticks of all rounds together: a run of 1,000 children has twenty to fifty.
local function pool()
  return { ticks = {}, call = {} }
end

local function note(all, got)
  table.move(got.ticks, 1, #got.ticks, #all.ticks + 1, all.ticks)
  table.insert(all.call, got.call)
end

local function at(all, share)
  table.sort(all.ticks)
  return all.ticks[math.max(1, math.ceil(#all.ticks * share))]
end

local function told(name, all)
  print(("  %-36s p50 %4d, p99 %5d, most %5d us of %d ticks"):format(name,
    at(all, 0.5), at(all, 0.99), at(all, 1), #all.ticks))
end

local function timer(root)
  local parent, template = place.parent(root, 64 * MiB)
  local function beside(what, count, source)
    return lateness(what, q(place.fresh(root)), count, q(source))
  end
  local c, many, one = pool(), pool(), pool()
  local c_long, many_long, other = pool(), pool(), pool()
  for _ = 1, place.ROUNDS do
    for _ = 1, LONG / TICKED do
      note(c, beside("thread", TICKED, template))
      note(many, beside("lvhd", TICKED, parent))
      note(one, beside("batch", TICKED, parent))
    end
    note(c_long, beside("thread", LONG, template))
    note(many_long, beside("lvhd", LONG, parent))
    note(other, lateness("run", q(("build/bench/floor write none %s %d 2 %s")
      :format(q(place.fresh(root)), LONG, q(template)))))
  end
  print(("A timer of 1 ms in a loop of cqueues, how late, load %s:")
    :format(place.load()))
  told("1,000 files by a thread in C", c)
  told("1,000 children, a task each", many)
  told("1,000 children, one task", one)
  target("a task each, p99 to C's", at(many, 0.99) / at(c, 0.99), "", 1.5)
  target("one task, p99 to C's", at(one, 0.99) / at(c, 0.99), "", 1.5)
  target("longest call, CPU", place.median(many.call), "us", 1000)
  told("10,000 files by a thread in C", c_long)
  told("10,000 by another program in C", other)
  told("10,000 children, a task each", many_long)
  target("p99 to the thread's", at(many_long, 0.99) / at(c_long, 0.99), "",
    1.5)
  target("p99 to the program's", at(many_long, 0.99) / at(other, 0.99), "",
    1.5)
end

local function batch(root)
  local parent = place.parent(root, 64 * MiB)
  local most, wait = {}, {}
  for i = 1, place.ROUNDS do
    local got = lateness("batch", q(place.fresh(root)), TICKED, q(parent))
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
