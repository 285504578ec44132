-- SPDX-License-Identifier: MIT
--
-- The benchmark: lvhd beside the floor (floor.c), beside its targets.  Runs
-- from the root of the tree after `make bench` has built build/bench/floor,
-- build/bench/benchclock.so and the module.
--
-- Times on a shared machine wander by tens of percent, so nothing here is a
-- time alone: each round runs the floor and every loop of lvhd one after
-- another, in an order that rotates, in fresh folders; the figure is the
-- median over the rounds of lvhd's time divided by the floor's of that same
-- round.  Nothing is deleted before the end, since some file systems are
-- slow for seconds after a mass deletion; LVHD_BENCH_SPACE says how much
-- disk that may take, and with it how long a round is.
--
-- As root each case has a file system of its own, since one on which many files
-- were deleted in the last minutes (by `make test`, say) spends most of its
-- time on looking for inodes that have rested long enough.
--
--   LVHD_BENCH_ROUNDS  rounds of each case, 11 or more (15)
--   LVHD_BENCH_SPACE   GiB of disk to use (24, or a quarter of what is free)
--   LVHD_BENCH_ONLY    only the cases whose name contains this text
--   LVHD_BENCH_PLAIN   anything: no file system of its own
--   LVHD_TMPDIR        where (TMPDIR, /tmp); a real disk, not a tmpfs

local support = require "spec.support"
local clock = require "benchclock"

local GIB = 1 << 30
local LARGEST = 2040 * GIB - 512 -- 2,040 GiB itself is refused, as documented
local ROUNDS = math.max(11, tonumber(os.getenv("LVHD_BENCH_ROUNDS")) or 15)
local ONLY = os.getenv("LVHD_BENCH_ONLY")
local PLAIN = os.getenv("LVHD_BENCH_PLAIN") or not support.is_root()
local ROUND_SECONDS = 0.3 -- as long as a round shall be where space allows
local WARM = 2            -- disks made before the clock starts
local FLOOR = "build/bench/floor"
local q = support.q

-- Rounds of a few dozen files end before the kernel has moved two threads
-- apart, and measure that.
local function space()
  local folder = os.getenv("LVHD_TMPDIR") or os.getenv("TMPDIR") or "/tmp"
  local free = tonumber(support.run("df --output=avail -B1 " .. q(folder))
    :match("(%d+)%s*$"))
  return math.min(24 * GIB, free / 4)
end
local SPACE = tonumber(os.getenv("LVHD_BENCH_SPACE"))
SPACE = SPACE and SPACE * GIB or space()

-- rate: the least share of the floor's files a second.
-- share: of SPACE.
local CASES = {
  { name = "child of 127 GiB, sync=none", verb = "differencing",
    size = 127 * GIB, sync = "none", rate = 0.8, share = 0.3 },
  { name = "child of 127 GiB, sync=full", verb = "differencing",
    size = 127 * GIB, sync = "full", rate = 0.9, share = 0.15 },
  { name = "child of 2,040 GiB, sync=none", verb = "differencing",
    size = LARGEST, sync = "none", rate = 0.8, share = 0.2 },
  { name = "dynamic 127 GiB, sync=none", verb = "dynamic",
    size = 127 * GIB, sync = "none", rate = 0.8, share = 0.15 },
  { name = "dynamic 2,040 GiB, sync=none", verb = "dynamic",
    size = LARGEST, sync = "none", rate = 0.8, share = 0.1 },
  { name = "fixed 1 GiB sparse, sync=none", verb = "fixed",
    size = GIB, sync = "none", rate = 1 / 1.5, share = 0.1,
    on_disk = 8192 }, -- a hole, one block with the footer, an inode
}

-- How lvhd is asked.  The targets hold for what a caller gets without
-- saying anything: preflight stays on.  Who waits for each file before the next
-- one pays the way to another thread and back, which without a flush is most of
-- what is missed there.
local LOOPS = {
  { name = "one by one", words = "loop=serial" },
  { name = "32 under way", words = "loop=window" },
  { name = "64 under way, in halves", words = "loop=halves" },
  { name = "one by one, no preflight",
    words = "loop=serial preflight=false", free = true },
}

local CALLS = { [false] = 24, [true] = 34 } -- system calls, by preflight
local REQUIRE_MS = 2

local missed = 0
local function verdict(good)
  if not good then
    missed = missed + 1
  end
  return good and "met" or "MISSED"
end

local function median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local half = #sorted // 2
  if #sorted % 2 == 1 then
    return sorted[half + 1]
  end
  return (sorted[half] + sorted[half + 1]) / 2
end

---The numbers of a line "word key=value key=value".
local function numbers(line)
  local found = {}
  for key, value in line:gmatch("(%w+)=([%d.]+)") do
    found[key] = tonumber(value)
  end
  return found
end

local function lua_command(case, folder, count, words)
  local subject = case.parent and "parent=" .. q(case.parent)
    or "size=" .. case.size
  return ("lua5.4 spec/bench/round.lua verb=%s folder=%s count=%d warm=%d"
    .. " sync=%s %s %s"):format(case.verb, q(folder), count, WARM, case.sync,
    subject, words)
end

local function floor_command(case, folder, count)
  return ("%s %s %s %s %d %d %s"):format(FLOOR,
    case.verb == "fixed" and "sparse" or "write", case.sync, q(folder),
    count, WARM, q(case.template))
end

local folder_count = 0
local function fresh(root)
  folder_count = folder_count + 1
  local folder = ("%s/%05d"):format(root, folder_count)
  support.run("mkdir " .. q(folder))
  return folder
end

---The disk whose bytes the floor writes, and the parent of the children.
local function prepare(root, case)
  local lvhd = require "lvhd"
  local folder = fresh(root)
  case.template = folder .. "/template.vhd"
  if case.verb == "differencing" then
    case.parent = folder .. "/parent.vhd"
    lvhd.create_dynamic(case.parent, case.size):wait()
    lvhd.create_differencing(case.template, case.parent):wait()
  else
    lvhd["create_" .. case.verb](case.template, case.size):wait()
  end
end

---Memory that the case's files will fill, touched beforehand (floor.c).
local function touch(bytes)
  local meminfo = support.read("/proc/meminfo")
  local free = tonumber(meminfo:match("MemAvailable:%s*(%d+)")) * 1024
  support.run(("%s touch %d"):format(FLOOR,
    math.floor(math.min(bytes, free / 2))))
end

---How many files a run makes: as many as fill ROUND_SECONDS, as far as the
---case's share of the disk reaches.
local function file_count(root, case)
  touch(SPACE * case.share * 3) -- the mounted image has its pages too
  local got = numbers(support.run(floor_command(case, fresh(root), 20)))
  local count = ROUND_SECONDS / (got.wall / got.files)
  local most = SPACE * case.share / (ROUNDS * (#LOOPS + 1))
    / (case.on_disk or got.bytes)
  return math.max(2, math.floor(math.min(count, most)))
end

---One round: the floor and every loop, in an order that rotates.
---@return table floor, table[] loops
local function round(root, case, count, turn)
  local got = {}
  for i = 0, #LOOPS do
    local who = (i + turn) % (#LOOPS + 1)
    local folder = fresh(root)
    local command = who == 0 and floor_command(case, folder, count)
      or lua_command(case, folder, count, LOOPS[who].words)
    got[who] = numbers(support.run(command))
  end
  return got[0], got
end

local function new_series()
  return { wall = {}, cpu = {}, micro = {}, lua = {} }
end

local function add(series, got, floor)
  local function put(key, value)
    table.insert(series[key], value)
  end
  put("wall", got.wall / floor.wall)
  put("cpu", got.cpu / floor.cpu)
  put("micro", got.wall / got.files * 1e6)
  put("lua", (got.lua or 0) / got.files * 1e6)
end

local function run_case(root, case)
  prepare(root, case)
  local count = file_count(root, case)
  local series = { [0] = new_series() }
  support.run("sync") -- what the last case left is not this one's to write
  for turn = 1, ROUNDS do
    local floor, got = round(root, case, count, turn)
    for who = 0, #LOOPS do
      series[who] = series[who] or new_series()
      add(series[who], got[who], floor)
    end
  end
  return series, count
end

local ROW = "  %-26s %9s %9s %7s %7s %7s  %s"

local function print_case(case, series, count)
  print(("\n%s: %d files x %d rounds"):format(case.name, count, ROUNDS))
  print(ROW:format("", "us/file", "x floor", "cpu x", "rate", "lua us",
    ("target: rate >= %.2f"):format(case.rate)))
  print(ROW:format("floor", ("%.1f"):format(median(series[0].micro)), "1.00",
    "1.00", "1.00", "", ""))
  for who, loop in ipairs(LOOPS) do
    local one = series[who]
    local wall = median(one.wall)
    print(ROW:format(loop.name, ("%.1f"):format(median(one.micro)),
      ("%.2f"):format(wall), ("%.2f"):format(median(one.cpu)),
      ("%.2f"):format(1 / wall), ("%.1f"):format(median(one.lua)),
      loop.free and "" or verdict(1 / wall >= case.rate)))
  end
end

---The table of `strace -c`: calls by name.
local function traced(command, scratch)
  support.run(("strace -f -qq -c -o %s %s"):format(q(scratch), command))
  local calls = {}
  for line in io.lines(scratch) do
    -- % time, seconds, usecs/call, calls, [errors], name
    local count, name =
      line:match("^%s*[%d.]+%s+[%d.]+%s+%d+%s+(%d+)%s+%d*%s*(%l[%w_]*)$")
    if count and name ~= "total" then
      calls[name] = math.tointeger(tonumber(count))
    end
  end
  return calls
end

---System calls of one disk in steady state: what N more disks cost.
local function calls_per_disk(root, case, words)
  local N = 100
  local scratch = root .. "/strace.txt"
  local once = traced(lua_command(case, fresh(root), N, words), scratch)
  local twice = traced(lua_command(case, fresh(root), 2 * N, words), scratch)
  local list, sum = {}, 0
  for name, calls in pairs(twice) do
    local each = (calls - (once[name] or 0)) / N
    if each >= 0.05 or each <= -0.05 then
      list[#list + 1] = { name = name, each = each }
    end
    sum = sum + each
  end
  table.sort(list, function(a, b)
    return a.each > b.each or (a.each == b.each and a.name < b.name)
  end)
  for i, entry in ipairs(list) do
    list[i] = ("%s %.3g"):format(entry.name, entry.each)
  end
  return sum, table.concat(list, ", ")
end

local function print_calls(root)
  if not support.has("strace") then
    print("\nsystem calls: not counted, strace is not installed")
    return
  end
  print("\nsystem calls for a child in steady state, waiting included")
  for _, sync in ipairs { "none", "full" } do
    local case = { verb = "differencing", size = 127 * GIB, sync = sync }
    prepare(root, case)
    for _, preflight in ipairs { false, true } do
      for _, loop in ipairs { "serial", "window" } do
        local sum, list = calls_per_disk(root, case,
          ("loop=%s preflight=%s"):format(loop, preflight))
        print(("  sync=%s preflight=%-5s %-6s %5.1f  target <= %d  %s")
          :format(sync, preflight, loop, sum, CALLS[preflight],
            verdict(sum <= CALLS[preflight])))
        print("    " .. list)
      end
    end
  end
end

---Median of 30 processes, timed from inside.
local function print_require()
  local times = {}
  local script = "local c = require 'benchclock' local t = c.wall() "
    .. "require 'lvhd' print(('require ms=%.4f'):format((c.wall() - t) * 1e3))"
  for i = 1, 30 do
    times[i] = numbers(support.run("lua5.4 -e " .. q(script))).ms
  end
  local ms = median(times)
  print(("\nrequire \"lvhd\": %.2f ms  target < %d ms  %s")
    :format(ms, REQUIRE_MS, verdict(ms < REQUIRE_MS)))
end

---Whole processes that make one dynamic disk of 127 GiB, for comparison.
local function print_peers(root)
  local peers = {
    { "lua5.4 + lvhd, sync=full", "lua5.4 -e \"require 'lvhd'"
      .. ".create_dynamic('%s/a.vhd', '127 GiB'):wait()\"" },
    { "lua5.4 + lvhd, sync=none", "lua5.4 -e \"require 'lvhd'"
      .. ".create_dynamic('%s/a.vhd', '127 GiB', {sync='none'}):wait()\"" },
  }
  if support.has("qemu-img") then
    table.insert(peers, { "qemu-img create",
      "qemu-img create -q -f vpc -o subformat=dynamic %s/a.vhd 127G" })
  end
  print("\na process that makes one dynamic disk of 127 GiB")
  for _, peer in ipairs(peers) do
    local times = {}
    for i = 1, 15 do
      local command = peer[2]:format(fresh(root))
      local t = clock.wall()
      support.run(command)
      times[i] = (clock.wall() - t) * 1e3
    end
    print(("  %-26s %6.1f ms"):format(peer[1], median(times)))
  end
end

---Calls run(root) with a new ext4 mounted in the scratch folder, which is
---gone afterwards, or with the folder itself.
local function in_fresh_place(scratch, run, ...)
  local image, mount = scratch .. "/disk.img", scratch .. "/mnt"
  if PLAIN or not support.sh(("mkdir -p %s && truncate -s %d %s"
      .. " && mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 %s"
      .. " && mount -o loop %s %s"):format(q(mount),
      math.floor(SPACE * 2 + 2 * GIB), q(image), q(image), q(image),
      q(mount))) then
    return run(scratch, ...)
  end
  local got = table.pack(xpcall(run, debug.traceback, mount, ...))
  support.run(("umount %s && rm %s"):format(q(mount), q(image)))
  if not got[1] then
    error(got[2], 0)
  end
  return table.unpack(got, 2, got.n)
end

local function all(scratch)
  print(("lvhd benchmark: %s on %s"):format(scratch,
    support.run("stat -f -c %T " .. q(scratch)):gsub("\n", "")))
  print("rate: share of the floor's files a second; cpu x: user + system;\n"
    .. "lua us: CPU of the Lua thread alone.  Medians over the rounds; the\n"
    .. "ratios are paired.")
  for _, case in ipairs(CASES) do
    if not ONLY or case.name:find(ONLY, 1, true) then
      local series, count = in_fresh_place(scratch, run_case, case)
      print_case(case, series, count)
    end
  end
  if not ONLY then
    in_fresh_place(scratch, print_calls)
    print_require()
    in_fresh_place(scratch, print_peers)
  end
  print(("\n%s"):format(missed == 0 and "every target met"
    or missed .. " targets missed"))
end

local ok, err = xpcall(all, debug.traceback, support.tmpdir())
support.clean()
if not ok then
  io.stderr:write(err, "\n")
  os.exit(1)
end
