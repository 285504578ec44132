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

local support = require "spec.support"

local GiB <const> = 1 << 30
local ROUNDS = math.max(9, tonumber(os.getenv("LVHD_BENCH_ROUNDS")) or 9)
local ONLY = os.getenv("LVHD_BENCH_ONLY") or ""
local PLAIN = os.getenv("LVHD_BENCH_PLAIN") or not support.is_root()
local FLOOR = "build/bench/floor"
local SPACE <const> = 24 * GiB -- of the file system of a case; sparse
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

local function median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local half = #sorted // 2
  return #sorted % 2 == 1 and sorted[half + 1]
    or (sorted[half] + sorted[half + 1]) / 2
end

local function numbers(line)
  local found = {}
  for key, value in line:gmatch("(%w+)=([%d.]+)") do
    found[key] = tonumber(value)
  end
  return found
end

local folders = 0
local function fresh(root)
  folders = folders + 1
  local folder = ("%s/%05d"):format(root, folders)
  support.run("mkdir " .. q(folder))
  return folder
end

local function rate(command)
  local got = numbers(support.run(command))
  return got.files / got.wall, got
end

local function prepare(root, case)
  local lvhd = require "lvhd"
  local folder = fresh(root)
  case.parent = folder .. "/parent.vhd"
  case.template = folder .. "/template.vhd"
  lvhd.create_dynamic(case.parent, case.size):wait()
  lvhd.create_differencing(case.template, case.parent):wait()
end

local function commands(root, case)
  local list = {
    lvhd = ("lua5.4 spec/bench/round.lua verb=differencing folder=%s count=%d"
      .. " warm=2 sync=full loop=many threads=2 parent=%s"):format(
      q(fresh(root)), case.count, q(case.parent)),
  }
  for floor, count in pairs(case.floors) do
    list[floor] = ("%s write %s %s %d 2 %s"):format(FLOOR, SYNC[floor],
      q(fresh(root)), count, q(case.template))
  end
  return list
end

local function run_case(root, case)
  local who = { "lvhd" }
  for _, floor in ipairs(ORDER) do
    who[#who + 1] = case.floors[floor] and floor
  end
  prepare(root, case)
  local rates, ratios = {}, {}
  for turn = 1, ROUNDS do
    local list, here = commands(root, case), {}
    for i = 0, #who - 1 do
      local name = who[(i + turn) % #who + 1]
      support.run("sync -f " .. q(root)) -- each begins with a clean volume
      here[name] = rate(list[name])
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
  print(("\n%s, sync=full: %d rounds, load %s"):format(case.name, ROUNDS,
    support.read("/proc/loadavg"):match("^%S+ %S+")))
  for _, name in ipairs(who) do
    local line = ("  %-6s %8.0f files/s"):format(name, median(rates[name]))
    if name ~= "lvhd" then
      local ratio, target = median(ratios[name]), case.targets[name]
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

-- A new ext4 for the case, gone afterwards; or the scratch folder itself.
local function in_fresh_place(scratch, case)
  local image, mount = scratch .. "/disk.img", scratch .. "/mnt"
  if PLAIN or not support.sh(("mkdir -p %s && truncate -s %d %s && mkfs.ext4"
    .. " -q -F -E lazy_itable_init=0,lazy_journal_init=0 %s"
    .. " && mount -o loop %s %s"):format(q(mount), SPACE, q(image), q(image),
    q(image), q(mount))) then
    return print_case(case, run_case(scratch, case))
  end
  local got = table.pack(xpcall(run_case, debug.traceback, mount, case))
  support.run(("umount %s && rm %s"):format(q(mount), q(image)))
  if not got[1] then
    error(got[2], 0)
  end
  print_case(case, table.unpack(got, 2, got.n))
end

local ok, err = xpcall(function()
  local scratch = support.tmpdir()
  for _, case in ipairs(CASES) do
    if case.name:find(ONLY, 1, true) then
      in_fresh_place(scratch, case)
    end
  end
  print(missed == 0 and "\nevery target met"
    or ("\n%d targets missed"):format(missed))
end, debug.traceback)
support.clean()
if not ok then
  io.stderr:write(err, "\n")
  os.exit(1)
end
