-- SPDX-License-Identifier: MIT
--
-- Power is lost at any point of everything that makes new files
-- (spec/support/creations.lua): what is found afterwards (powerloss.lua) is no
-- file or a whole one (whole.lua), and a whole one if the work had succeeded
-- with sync = "full".  The short form takes one way to a name for each
-- scenario and a sample of the states; the long one takes each way, with
-- sync = "full" and "data", and all states that the model allows, but samples
-- where more than twelve events wait for a flush: all but one, one alone, those
-- up to each moment, and 200 at random.

local creations = require "spec.support.creations"
local whole = require "spec.support.whole"

local SEED <const> = math.tointeger(os.getenv("LVHD_SEED")) or 20261123
local SHORT <const> = { seed = SEED, all = 3, sample = 3, torn = 2, most = 16 }
local LONG <const> = { seed = SEED, all = 12, sample = 200, torn = 20 }

-- Builds a state and judges it; nil or what is wrong.
local function judge(b, state, asked)
  b.record:build(state, b.found)
  local ok, err = pcall(b.judge, b, b.found,
    state.done and b.sync == "full", asked)
  return not ok and tostring(err) or nil
end

-- The same work again makes what is missing.
local function again(b, state)
  local ok, err = pcall(b.again, b, b.found)
  return not ok and ("%s\n%s"):format(err, b.record:story(state)) or nil
end

---Judges each state, and every so many of them once more with all readers and
---by a re-run.
---@return integer states
local function once(scenario, way, sync, opts, every)
  local count
  whole.with(scenario, way, sync, function(b)
    local failed, first = 0, nil
    local states = b.record:states(opts)
    for i, state in ipairs(states) do
      local wrong = judge(b, state, i % every == 0)
      wrong = wrong and wrong .. "\n" .. b.record:story(state)
        or i % every == 1 and again(b, state) or nil
      failed = failed + (wrong and 1 or 0)
      first = first or wrong
    end
    count = #states
    if failed > 0 then
      error(("seed %d: %d of %d states; the first:\n%s"):format(SEED, failed,
        count, first), 0)
    end
  end)
  return count
end

local function verb_of(scenario)
  return scenario.name:match("^[%l_]+")
end

-- The scenarios of the short form, and the way of each.
local function each_short(use)
  local n = 0
  for _, scenario in ipairs(creations) do
    if not scenario.slow then
      n = n + 1
      use(scenario, creations.ways[n % #creations.ways + 1], n)
    end
  end
end

describe("new files after a loss of power, some of the states:", function()
  each_short(function(scenario, way, n)
    it(("%s, %s"):format(scenario.name, way.name), function()
      assert.is_true(once(scenario, way, "full", SHORT, 20) > 5)
    end)
    if n % 6 == 1 then
      it(("%s, %s, only the data flushed"):format(scenario.name, way.name),
        function()
          assert.is_true(once(scenario, way, "data", SHORT, 20) > 3)
        end)
    end
  end)
end)

describe("new files after a loss of power, every state: #slow", function()
  local states = {}

  for _, scenario in ipairs(creations) do
    for _, way in ipairs(creations.ways) do
      for _, sync in ipairs{ "full", "data" } do
        it(("%s, %s, sync = %q"):format(scenario.name, way.name, sync),
          function()
            local verb = verb_of(scenario)
            states[verb] = (states[verb] or 0)
              + once(scenario, way, sync, LONG, 100)
          end)
      end
    end
  end

  teardown(function()
    for verb, n in pairs(states) do
      print(("%s: seed %d, %d states"):format(verb, SEED, n))
    end
  end)
end)

-- ---- the judge sees what it is to see -------------------------------------

-- A later flush of the same folder, or of the volume.
local function is_repeated(events, flush)
  for i = flush + 1, events[flush].op == "folder" and #events or 0 do
    local e = events[i]
    if e.op == "syncfs" or e.op == "folder" and e.path == events[flush].path
    then
      return true
    end
  end
  return false
end

-- Whether the judge finds fault with any state.
local function complains(b)
  local states = b.record:states{ seed = SEED, all = 4, sample = 20, torn = 1 }
  for i = #states, 1, -1 do
    local wrong = judge(b, states[i])
    if wrong then
      return true
    end
  end
  return false
end

-- Each flush is left out in its turn; with sync = "data" those of the files.
local function without_each(scenario, way, sync)
  whole.with(scenario, way, sync, function(b)
    local needed = 0
    for _, flush in ipairs(b.record:flushes()) do
      if not is_repeated(b.record.events, flush) then
        needed = needed + 1
        b.record:without(flush, function()
          if not complains(b) then
            error(("nobody misses flush %d\n%s"):format(flush,
              b.record:story()), 0)
          end
        end)
      end
    end
    assert(needed > (sync == "full" and 1 or 0), "too few flushes")
  end)
end

describe("without any of its flushes would not survive:", function()
  each_short(function(scenario, way)
    it(("%s, %s"):format(scenario.name, way.name), function()
      without_each(scenario, way, "full")
    end)
  end)

  for _, scenario in ipairs(creations) do
    for _, way in ipairs(creations.ways) do
      for _, sync in ipairs{ "full", "data" } do
        it(("%s, %s, sync = %q #slow"):format(scenario.name, way.name, sync),
          function()
            without_each(scenario, way, sync)
          end)
      end
    end
  end
end)
