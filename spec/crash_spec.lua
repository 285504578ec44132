-- SPDX-License-Identifier: MIT
--
-- Power is lost at any point of everything that changes a disk in place
-- (spec/support/changes.lua): what is found afterwards (powerloss.lua) keeps
-- the promise (promise.lua).  The short form takes a sample of the states, the
-- long one all that the model allows.

local bench = require "spec.support.bench"
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

-- What was tried, and what 7-Zip made of what it was shown.
local function tell(name, states)
  local seen = promise.seen[name] or { right = 0, refused = 0, wrong = 0 }
  print(("%s: seed %d, %d states; 7-Zip: %d right, %d refused, %d wrong")
    :format(name, SEED, states, seen.right, seen.refused, seen.wrong))
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
  end)
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

-- The judge sees what it is to see.
describe("without its flushes", function()
  for _, name in ipairs{ "write: dynamic", "merge: into an empty parent" } do
    it(name .. " would not survive", function()
      for _, scenario in ipairs(changes) do
        if scenario.name == name then
          bench.with(scenario, function(b)
            for _, e in ipairs(b.record.events) do
              e.op = e.op:find("sync$") and "nothing" or e.op
            end
            local failed = judge_all(b, b.record, b.record:states{ seed = SEED,
              all = 0, sample = 60, torn = 0 }, math.maxinteger)
            assert.is_true(failed > 10)
          end)
        end
      end
    end)
  end
end)
