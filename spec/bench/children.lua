-- SPDX-License-Identifier: MIT
--
-- The benchmark of create_children: many children of one parent in one task,
-- beside three floors (floor.c) that know nothing of VHD: one that flushes
-- each file and folder, one that flushes a batch of 512 at once, one that
-- never flushes.  Each round runs all of them once, in an order that rotates,
-- in fresh folders, and nothing is deleted before the end of a case; a figure
-- is the median over the rounds of the ratio of rates within one round.
--
-- The volume is flushed as a whole where little else is dirty on the host
-- (src/io/flush.c), so what runs beside it shows: the load is printed.
--
--   LVHD_BENCH_ROUNDS  rounds (9; 9 at the least)
--   LVHD_BENCH_ONLY    only the cases whose name contains this text
--   LVHD_BENCH_PLAIN   anything: no file system of its own
--   LVHD_TMPDIR        where (TMPDIR, /tmp); a real disk, not a tmpfs

local place = require "spec.bench.place"
local support = require "spec.support"

local GiB <const> = 1 << 30
local FLOOR = "build/bench/floor"
local q = support.q

-- floors: how many files each of them makes.  targets: the least ratio of
-- lvhd's rate and a floor's.
local CASES = {
  { name = "10,000 children of 1 GiB", size = GiB, count = 10000,
    floors = { each = 1000, batch = 10000, never = 10000 },
    targets = { each = 8, never = 0.4 } },
  { name = "1,000 children of 127 GiB", size = 127 * GiB, count = 1000,
    floors = { each = 500, batch = 1000 }, targets = { each = 2 } },
  -- bounded by writing their bytes: 4 MiB each
  { name = "100 children of 2,040 GiB", size = 2040 * GiB - 512,
    count = 100, floors = { each = 50, batch = 100 },
    targets = { batch = 0.8 } },
}
local SYNC = { each = "full", batch = "batch", never = "none" }
local ORDER = { "each", "batch", "never" }

local function commands(root, case)
  local list = {
    lvhd = ("lua5.4 spec/bench/round.lua verb=differencing folder=%s count=%d"
      .. " warm=2 sync=full loop=many threads=2 parent=%s"):format(
      q(place.fresh(root)), case.count, q(case.parent)),
  }
  for floor, count in pairs(case.floors) do
    list[floor] = ("%s write %s %s %d 2 %s"):format(FLOOR, SYNC[floor],
      q(place.fresh(root)), count, q(case.template))
  end
  return list
end

local function run_case(root, case)
  local who = { "lvhd" }
  for _, floor in ipairs(ORDER) do
    who[#who + 1] = case.floors[floor] and floor
  end
  case.parent, case.template = place.parent(root, case.size)
  local rates, ratios = {}, {}
  for turn = 1, place.ROUNDS do
    local list, here = commands(root, case), {}
    for i = 0, #who - 1 do
      local name = who[(i + turn) % #who + 1]
      support.run("sync -f " .. q(root)) -- each begins with a clean volume
      here[name] = place.rate(list[name])
      rates[name] = rates[name] or {}
      table.insert(rates[name], here[name])
    end
    for _, floor in ipairs(who) do
      ratios[floor] = ratios[floor] or {}
      table.insert(ratios[floor], here.lvhd / here[floor])
    end
  end
  return who, rates, ratios
end

local missed = 0

local function print_case(case, who, rates, ratios)
  print(("\n%s, sync=full: %d rounds, load %s"):format(case.name,
    place.ROUNDS, place.load()))
  for _, name in ipairs(who) do
    local line = ("  %-6s %8.0f files/s"):format(name, place.median(rates[name]))
    if name ~= "lvhd" then
      local ratio, target = place.median(ratios[name]), case.targets[name]
      line = line .. ("   lvhd / %s: %.2f"):format(name, ratio)
      if target then
        local met = ratio >= target
        missed = missed + (met and 0 or 1)
        line = line .. ("   target >= %.1f  %s"):format(target,
          met and "met" or "MISSED")
      end
    end
    print(line)
  end
end

place.main(function(scratch)
  for _, case in ipairs(CASES) do
    if case.name:find(place.ONLY, 1, true) then
      print_case(case, place.with(scratch, function(root)
        return run_case(root, case)
      end))
    end
  end
  print(missed == 0 and "\nevery target met"
    or ("\n%d targets missed"):format(missed))
end)
