-- SPDX-License-Identifier: MIT
--
-- A folder in which one scenario (changes.lua) is tried again and again: what
-- it does when nothing disturbs it, and the files as they were before.

local creations = require "spec.support.creations"
local powerloss = require "spec.support.powerloss"
local promise = require "spec.support.promise"
local support = require "spec.support"
local test = require "lvhdtest"

local bench = {}
bench.__index = bench

local function prepare(self, scenario)
  local work = self.dir .. "/work"
  self.found = self.dir .. "/found"
  assert(test.mkdir(work))
  assert(test.mkdir(self.found))
  self.what = scenario.make(work)
  promise.remember(self.what, work)
  self.what.temporary = self.way and self.way.temporary
  self.record = powerloss.record(work, function(engine, mark)
    scenario.act(engine, work, mark)
  end, self.way and creations.system(self.way))
  if self.record.error then
    error(scenario.name .. ": " .. tostring(self.record.error), 0)
  end
  promise.kept(scenario, self.what, self.record, work)
end

---Runs use(bench) with: scenario, what, record (undisturbed), found (a folder
---of its own, empty).
---@param way table? of creations.ways: how notes get their names
function bench.with(scenario, use, way)
  local self = setmetatable({ scenario = scenario, way = way,
    dir = powerloss.scratch() }, bench)
  local ok, err = pcall(prepare, self, scenario)
  if ok then
    ok, err = pcall(use, self)
  end
  if self.record then
    self.record:close()
  end
  support.run("rm -rf " .. support.q(self.dir))
  if not ok then
    error(err, 0)
  end
end

---The files as they were before, in `found`.
function bench:reset()
  self.record:build({ at = 0, picks = {}, names = {} }, self.found)
end

---Judges what is found, and runs the work again.
---@param progress promise.Progress
---@param context string said before what is wrong
function bench:judge(progress, context)
  local ok, err = pcall(promise.holds, self.scenario, self.what, self.record,
    self.found, progress, false)
  if not ok then
    error(("%s, %s: %s"):format(self.scenario.name, context, tostring(err)), 0)
  end
end

---A progress, and the mark function that keeps it.
function bench.progress()
  local p = { begun = 0, flushed = 0, done = false }
  return p, function(text)
    local what, n = text:match("^(%l+) (%d+)$")
    p[what] = math.tointeger(n)
  end
end

return bench
