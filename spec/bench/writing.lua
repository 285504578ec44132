-- SPDX-License-Identifier: MIT
--
-- The benchmark of verbs that write: lvhd beside the programs that people use
-- instead.  Whole processes are timed, from outside, with the page cache
-- warm.  Each round runs everything of a case once, in an order that rotates;
-- a figure is the median over the rounds of the ratio within one round, with
-- its quartiles.  Flushed runs stand beside flushed ones (`sync FILE`).
--
-- A case is one row of CASES; see there.
--
--   LVHD_BENCH_ROUNDS  rounds (11; 9 at the least)
--   LVHD_BENCH_MIB     size of the disk that is converted (2048)
--   LVHD_BENCH_ONLY    only the cases whose name contains this text
--   LVHD_TMPDIR        where (TMPDIR, /tmp); a real disk, not a tmpfs
--   LVHD_BENCH_SHM     a tmpfs (/dev/shm), or "" for none

local support = require "spec.support"
local clock = require "benchclock"

local MiB <const> = 1 << 20
local ROUNDS = math.max(9, tonumber(os.getenv("LVHD_BENCH_ROUNDS")) or 11)
local SIZE = (math.tointeger(tonumber(os.getenv("LVHD_BENCH_MIB"))) or 2048)
  * MiB
local ONLY = os.getenv("LVHD_BENCH_ONLY") or ""
local SHM = os.getenv("LVHD_BENCH_SHM") or "/dev/shm"
local READING = "build/bench/reading"
local q, run = support.q, support.run

-- One call of a verb: lua5.4 verb.lua SYNC VERB ARGUMENTS as Lua.
local SCRIPT = [[
local lvhd = require "lvhd"
local engine = lvhd.engine{ sync = arg[1] }
local args = load("return " .. arg[3])
engine[arg[2] ](engine, args()):wait()
]]

-- ---- the cases ------------------------------------------------------------

-- What a case may use.  at: its folder.
---@class bench.Place
---@field at string folder
---@field sync "none"|"full"
---@field raw string random and zero, 4 MiB each in turn; zeros are written
---@field dynamic string the same
---@field data string half as long, all random
---@field blocks string leaf of a chain of 5 with as much data, by blocks
---@field scattered string the same, by pieces of 32 KiB at random

-- A command of lvhd: the verb and its arguments as Lua source.
local function ours(place, verb, format, ...)
  return ("lua5.4 %s %s %s %s"):format(q(place.at .. "/verb.lua"),
    place.sync, verb, q(format:format(...)))
end

-- Another program's, whose file is flushed where lvhd's is.
local function theirs(place, file, format, ...)
  return format:format(...)
    .. (place.sync == "full" and " && sync " .. q(file) or "")
end

-- Each gives { name = command }, timed; the files that they write are `out`
-- and are removed before each run.  `before`: a command that is not timed, run
-- before each of them.  judge: { who, of whom, the least ratio of speeds }, the
-- last only where it is a target.
local CASES = {
  {
    name = "raw, half zeros, to dynamic",
    runs = function(place, out)
      return {
        lvhd = ours(place, "convert", "%q, %q, { from = 'raw' }", place.raw,
          out),
        ["qemu-img"] = theirs(place, out,
          "qemu-img convert -f raw -O vpc %s %s", q(place.raw), q(out)),
        ["cp --sparse=always"] = theirs(place, out,
          "cp --sparse=always %s %s", q(place.raw), q(out)),
        -- the floor of one thread: pread, a look for zeros, pwrite
        dd = theirs(place, out, "dd if=%s of=%s bs=1M conv=sparse status=none",
          q(place.raw), q(out)),
      }
    end,
    judge = { { "lvhd", "qemu-img", 2 },
      { "lvhd", "cp --sparse=always", 0.9 },
      { "lvhd", "dd" }, { "dd", "qemu-img" } },
  },
  {
    name = "dynamic, half full, to raw",
    runs = function(place, out)
      return {
        lvhd = ours(place, "convert", "%q, %q, { to = 'raw' }", place.dynamic,
          out),
        ["qemu-img"] = theirs(place, out,
          "qemu-img convert -f vpc -O raw %s %s", q(place.dynamic), q(out)),
      }
    end,
    judge = { { "lvhd", "qemu-img", 1 } },
  },
  {
    name = "chain of 5, whole blocks, to dynamic",
    runs = function(place, out)
      return {
        lvhd = ours(place, "convert", "%q, %q", place.blocks, out),
        cp = theirs(place, out, "cp %s %s", q(place.data), q(out)),
      }
    end,
    judge = { { "lvhd", "cp", 0.8 } },
  },
  {
    name = "chain of 5, 32 KiB at random, to dynamic",
    runs = function(place, out)
      return {
        lvhd = ours(place, "convert", "%q, %q", place.scattered, out),
        cp = theirs(place, out, "cp %s %s", q(place.data), q(out)),
      }
    end,
    judge = { { "lvhd", "cp", 0.8 } },
  },
  {
    name = "merge of whole blocks into an empty parent",
    before = function(place) -- the parent is empty again
      return ("cp %s %s"):format(q(place.at .. "/fold/empty"),
        q(place.at .. "/fold/base.vhd"))
    end,
    runs = function(place, out)
      local child = place.at .. "/fold/child.vhd"
      return {
        lvhd = ours(place, "merge", "%q, { force = true }", child),
        cp = theirs(place, out, "cp %s %s", q(child), q(out)),
      }
    end,
    judge = { { "lvhd", "cp", 1 / 1.5 } },
  },
  {
    name = "compact of 90 % zeros",
    before = function(place)
      return ("cp %s %s && sync %s"):format(q(place.at .. "/zeros.vhd"),
        q(place.at .. "/compact.vhd"), q(place.at .. "/compact.vhd"))
    end,
    runs = function(place)
      local file = place.at .. "/compact.vhd"
      return {
        lvhd = ours(place, "compact", "%q", file),
        cat = theirs(place, file, "cat %s > /dev/null", q(file)),
      }
    end,
    judge = { { "lvhd", "cat" } },
  },
}

-- ---- running --------------------------------------------------------------

local function quantile(sorted, share)
  local at = 1 + (#sorted - 1) * share
  local low = math.floor(at)
  local high = math.min(low + 1, #sorted)
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low)
end

local function write(path, bytes)
  local f <close> = assert(io.open(path, "w"))
  f:write(bytes)
end

local function make_chain(at, kind)
  run(("mkdir %s/%s && %s make %s 5 %d %s/%s"):format(q(at), kind, READING,
    kind, SIZE // 2, q(at), kind))
  return ("%s/%s/L1.vhd"):format(at, kind)
end

-- A child with all data, and its parent, of which an empty copy is kept.
local function make_fold(place)
  local base, child = place.at .. "/fold/base.vhd",
    place.at .. "/fold/child.vhd"
  run("mkdir " .. q(place.at .. "/fold"))
  run(ours(place, "create_dynamic", "%q, %d", base, SIZE // 2))
  run(ours(place, "convert",
    "%q, %q, { from = 'raw', to = 'differencing', parent = %q }", place.data,
    child, base))
  run(("cp %s %s"):format(q(base), q(place.at .. "/fold/empty")))
end

-- A disk whose blocks are all there, and nine of ten hold zeros.
local function make_zeros(place)
  write(place.at .. "/zeros.lua", ([[
    local lvhd = require "lvhd"
    lvhd.create_dynamic(arg[1], %d):wait()
    local disk = lvhd.open(arg[1], { write = true, sync = "none" })
    local zeros, data = ("\0"):rep(2 << 20), ("data"):rep(1 << 19)
    for i = 0, disk:size() // (2 << 20) - 1 do
      disk:write(i * (2 << 20), i %% 10 == 0 and data or zeros)
    end
    disk:close()
  ]]):format(SIZE // 2))
  run(("lua5.4 %s %s"):format(q(place.at .. "/zeros.lua"),
    q(place.at .. "/zeros.vhd")))
end

---@return bench.Place
local function make_place(at)
  local place = { at = at, raw = at .. "/raw", data = at .. "/data",
    dynamic = at .. "/dynamic.vhd", sync = "none" }
  write(at .. "/verb.lua", SCRIPT)
  run(("head -c %d /dev/urandom > %s"):format(SIZE // 2, q(place.data)))
  local from = assert(io.open(place.data, "rb"))
  local to = assert(io.open(place.raw, "wb"))
  for piece in from:lines(4 * MiB) do
    to:write(piece, ("\0"):rep(4 * MiB))
  end
  from:close()
  to:close()
  run(ours(place, "convert", "%q, %q, { from = 'raw' }", place.raw,
    place.dynamic))
  place.blocks = make_chain(at, "blocks")
  place.scattered = make_chain(at, "scattered")
  make_fold(place)
  make_zeros(place)
  run("sync")
  return place
end

-- times[who][round]
local function measure(case, place)
  local out = place.at .. "/out"
  local runs, names, times = case.runs(place, out), {}, {}
  for name in pairs(runs) do
    names[#names + 1] = name
    times[name] = {}
  end
  table.sort(names)
  for turn = 0, ROUNDS do -- the first is not counted
    for i = 1, #names do
      local name = names[(i + turn) % #names + 1]
      run("rm -f " .. q(out))
      if place.sync == "full" then
        run("sync")
      end
      if case.before then
        run(case.before(place, out))
      end
      local began = clock.wall()
      run(runs[name])
      times[name][turn] = clock.wall() - began
    end
  end
  run("rm -f " .. q(out))
  return times, names
end

local missed = 0

local function report(case, place, label)
  local times, names = measure(case, place)
  print(("%s, %s"):format(case.name, label))
  for _, name in ipairs(names) do
    local list = table.move(times[name], 1, ROUNDS, 1, {})
    table.sort(list)
    print(("  %-20s %8.0f ms  (%.0f to %.0f)"):format(name,
      quantile(list, 0.5) * 1e3, quantile(list, 0.25) * 1e3,
      quantile(list, 0.75) * 1e3))
  end
  for _, j in ipairs(case.judge) do
    local list = {}
    for turn = 1, ROUNDS do
      list[turn] = times[j[2]][turn] / times[j[1]][turn]
    end
    table.sort(list)
    local got = quantile(list, 0.5)
    local line = ("  %-42s %5.2f  (%.2f to %.2f)"):format(
      ("speed of %s, of %s"):format(j[1], j[2]), got, quantile(list, 0.25),
      quantile(list, 0.75))
    if j[3] then
      missed = missed + (got < j[3] and 1 or 0)
      line = ("%s  target >= %.2f  %s"):format(line, j[3],
        got < j[3] and "MISSED" or "met")
    end
    print(line)
  end
end

local function everything(at, kind, syncs)
  local place = make_place(at)
  for _, case in ipairs(CASES) do
    for _, sync in ipairs(case.name:find(ONLY, 1, true) and syncs or {}) do
      place.sync = sync
      report(case, place, kind .. (sync == "full" and ", flushed" or ""))
    end
  end
end

print(("writing, %d MiB, %d rounds"):format(SIZE // MiB, ROUNDS))
local folder = support.tmpdir()
local ok, why = pcall(everything, folder,
  run("stat -f -c %T " .. q(folder)):match("%S+"), { "none", "full" })
support.clean()
if ok and SHM ~= "" then
  local at = run("mktemp -d -p " .. q(SHM) .. " lvhd-bench.XXXXXX"):match("%S+")
  ok, why = pcall(everything, at, "tmpfs", { "none" })
  run("rm -rf " .. q(at))
end
assert(ok, why)
print(("%d targets missed"):format(missed))
