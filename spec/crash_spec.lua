-- SPDX-License-Identifier: MIT
--
-- Power is lost at any point of everything that changes a disk in place
-- (spec/support/changes.lua): what is found afterwards (powerloss.lua) keeps
-- the promise (promise.lua).  The short form takes a sample of the states, the
-- long one all that the model allows.

local bench = require "spec.support.bench"
local creations = require "spec.support.creations"
local changes = require "spec.support.changes"
local powerloss = require "spec.support.powerloss"
local promise = require "spec.support.promise"
local test = require "lvhdtest"

local SEED <const> = math.tointeger(os.getenv("LVHD_SEED")) or 20261122

-- Builds and judges each state; how many failed, and the first of them.
local function judge_all(b, record, states, asked)
  local failed, first = 0, nil
  for i, state in ipairs(states) do
    record:build(state, b.found)
    local ok, err = pcall(promise.holds, b.scenario, b.what, b.record, b.found,
      promise.progress(record, state.at, state.done), i % asked == 0)
    if not ok then
      failed = failed + 1
      first = first or ("%s\n%s"):format(tostring(err), record:story(state))
    end
  end
  return failed, first
end

local function complain(b, failed, of, first)
  if failed > 0 then
    error(("%s, seed %d: %d of %d states; the first:\n%s"):format(
      b.scenario.name, SEED, failed, of, first), 0)
  end
end

-- What was tried, and what the others made of what they were shown.
local function tell(name, states)
  local out = { ("%s: seed %d, %d states"):format(name, SEED, states) }
  for reader, seen in pairs(promise.seen[name] or {}) do
    out[#out + 1] = ("%s: %d right, %d refused, %d wrong"):format(reader,
      seen.right, seen.refused, seen.wrong)
  end
  print(table.concat(out, "; "))
end

local function once(scenario, opts)
  bench.with(scenario, function(b)
    local states = b.record:states(opts)
    promise.seen[scenario.name] = nil
    local asked = #states <= opts.every and 1 or opts.asked
    local failed, first = judge_all(b, b.record, states, asked)
    if opts.tell then
      tell(scenario.name, #states)
    end
    complain(b, failed, #states, first)
  end, opts.way)
end

local function verb_of(scenario)
  return scenario.name:match("^%l+")
end

-- Power is lost, and again during the re-run.
local function twice(scenario, opts)
  bench.with(scenario, function(b)
    local again, failed, of, first = b.dir .. "/again", 0, 0, nil
    assert(test.mkdir(again))
    for _, state in ipairs(b.record:states(opts)) do
      b.record:build(state, again)
      local before = promise.progress(b.record, state.at, state.done)
      local second = powerloss.record(again, function(engine)
        scenario.act(engine, again, function() end)
      end)
      if not second.error and before.begun == 0 then
        local states = second:states{ seed = opts.seed + of, all = 2,
          sample = 3, torn = 0, most = opts.second }
        local n, text = judge_all(b, second, states, math.maxinteger)
        failed, of = failed + n, of + #states
        first = first or text and text .. "\nafter\n" .. b.record:story(state)
      end
      second:close()
    end
    complain(b, failed, of, first)
  end)
end

describe("after a loss of power, some of the states:", function()
  for _, scenario in ipairs(changes) do
    if not scenario.slow then
      it(scenario.name, function()
        once(scenario, { seed = SEED, all = 3, sample = 4, torn = 1, most = 60,
          every = 0, asked = 15 })
      end)
    end
  end
end)

describe("after a loss of power, every state: #slow", function()
  for _, scenario in ipairs(changes) do
    it(scenario.name, function()
      once(scenario, { seed = SEED, all = 12, sample = 200, torn = 20,
        every = 200, asked = 7, tell = true })
    end)
  end
end)

describe("after two losses of power:", function()
  for _, scenario in ipairs(changes) do
    if scenario.start then
      it(scenario.name .. (scenario.slow and " #slow" or ""), function()
        twice(scenario, { seed = SEED, all = 0, sample = 2, torn = 0,
          most = 8, second = 6 })
      end)
      it(scenario.name .. ", more of them #slow", function()
        twice(scenario, { seed = SEED + 1, all = 2, sample = 10, torn = 2,
          most = 30, second = 20 })
      end)
    end
  end
end)

-- Where the volume has no unnamed files, notes have temporary names first.
describe("after a loss of power, the notes with temporary names,", function()
  for _, way in ipairs(creations.ways) do
    local first = {}
    for _, scenario in ipairs(way.temporary and changes or {}) do
      local verb = verb_of(scenario)
      local slow = scenario.slow or first[verb] or verb == "write"
      first[verb] = true
      it(("%s: %s%s"):format(way.name, scenario.name, slow and " #slow" or ""),
        function()
          once(scenario, { seed = SEED, all = 3, sample = 4, torn = 1,
            most = slow and 200 or 12, every = 0, asked = 15, way = way })
        end)
    end
  end
end)

-- ---- the judge sees what it is to see -------------------------------------

-- Whether the judge finds fault with any of the states.
local function complains(b, opts)
  for _, state in ipairs(b.record:states(opts)) do
    if judge_all(b, b.record, { state }, math.maxinteger) > 0 then
      return true
    end
  end
  return false
end

-- How many flushes there are, and how many of them are missed when they are
-- left out alone.
local function without_each(b)
  local flushes, missed = b.record:flushes(), 0
  for _, flush in ipairs(flushes) do
    b.record:without(flush, function()
      missed = missed + (complains(b, { seed = SEED, all = 5, sample = 60,
        torn = 2 }) and 1 or 0)
    end)
  end
  return #flushes, missed
end

describe("without its flushes would not survive:", function()
  for _, scenario in ipairs(changes) do
    it(scenario.name .. (scenario.slow and " #slow" or ""), function()
      bench.with(scenario, function(b)
        local flushed = #b.record:flushes() > 0 -- else there was nothing to do
        b.record:without(true, function()
          assert.equal(flushed, complains(b, { seed = SEED, all = 2,
            sample = 30, torn = 1 }))
        end)
      end)
    end)
  end

  -- The others make durable what a later flush does as well, or what the note
  -- would undo; those after which a file is merely cut.  (A merge of an empty
  -- child changes nothing, and needs none.)
  for verb, least in pairs{ write = 109, merge = 94, compact = 30, resize = 28,
    relink = 12, repair = 15 } do
    it(verb .. ", each left out alone #slow", function()
      local all, missed = 0, 0
      for _, scenario in ipairs(changes) do
        if verb_of(scenario) == verb and not scenario.large then
          bench.with(scenario, function(b)
            local n, m = without_each(b)
            all, missed = all + n, missed + m
          end)
        end
      end
      print(("%s: %d of %d flushes are missed"):format(verb, missed, all))
      assert.is_true(missed >= least)
    end)
  end
end)
