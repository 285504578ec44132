-- SPDX-License-Identifier: MIT
--
-- The benchmark of scale: 100 to 100,000 children of a 64 MiB parent, in folders
-- of 1,000, by separate tasks and in one task (create_children), beside two
-- threads in C that make the same folders and files (floor.c).  What counts is
-- how the share of C's rate at each number compares with that at 1,000.
--
--   LVHD_BENCH_ROUNDS  rounds (9); a third of them for 100,000 (24 GiB of files)
--   LVHD_TMPDIR        where (TMPDIR, /tmp)

local place = require "spec.bench.place"
local support = require "spec.support"

local q = support.q
local MiB <const>, EACH <const>, BASE <const> = 1 << 20, 1000, 1000
local COUNTS <const> = { 1000, 100, 10000, 100000 }
local LIMIT <const> = 1.3
local WAYS <const> = { "ended", "many" }
local SAYS <const> = { ended = "separate tasks", many = "one task" }

local function lvhd(root, parent, loop, count)
  return place.rate(("lua5.4 spec/bench/round.lua verb=differencing folder=%s"
    .. " count=%d parent=%s sync=none preflight=false threads=2 loop=%s"
    .. " each=%d"):format(q(place.fresh(root)), count, q(parent), loop, EACH))
end

local function floor(root, template, count)
  return place.rate(("build/bench/floor write none %s %d 2 %s 2 %d"):format(
    q(place.fresh(root)), count, q(template), EACH))
end

-- Medians of the rounds: shares of C's rate, and lvhd's rates.
local function measure(root, count)
  local parent, template = place.parent(root, 64 * MiB)
  local shares, rates = { ended = {}, many = {} }, { ended = {}, many = {} }
  local rounds = count >= 100000 and place.ROUNDS // 3 or place.ROUNDS
  for _ = 1, rounds do
    local c = floor(root, template, count)
    for _, way in ipairs(WAYS) do
      local rate = lvhd(root, parent, way, count)
      table.insert(shares[way], rate / c)
      table.insert(rates[way], rate)
    end
  end
  local got = {}
  for _, way in ipairs(WAYS) do
    got[way] = { share = place.median(shares[way]),
      rate = place.median(rates[way]) }
  end
  return got
end

place.main(function(scratch)
  local base
  for _, count in ipairs(COUNTS) do
    local got = place.with(scratch, function(root)
      return measure(root, count)
    end)
    base = base or got
    print(("%7d children in folders of %d, load %s:"):format(count, EACH,
      place.load()))
    for _, way in ipairs(WAYS) do
      local off = base[way].share / got[way].share
      print(("  %-16s %7.0f/s, %.2f of C's; %.2f of the share at %d  %s")
        :format(SAYS[way], got[way].rate, got[way].share, 1 / off, BASE,
        count == BASE and "" or off <= LIMIT and "met (1.3)" or "MISSED"))
    end
  end
end)
