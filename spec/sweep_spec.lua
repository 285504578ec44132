-- SPDX-License-Identifier: MIT
--
-- Every verb, every system call that it makes, each errno, once and for ever,
-- and transfers that fall short: the error is the one of the table, nothing is
-- left, what exists is as it was, the next call succeeds, and of what changes
-- in place the promise holds.  The verbs are verbs.lua's and changes.lua's; the
-- judge, and what may rightly go unreported, is sweep.lua's.

local changes = require "spec.support.changes"
local sweep = require "spec.support.sweep"
local verbs = require "spec.support.verbs"

local function quick(list)
  local out = {}
  for _, scenario in ipairs(list) do
    out[#out + 1] = not scenario.slow and scenario or nil
  end
  return out
end

local function faults(s, errnos, modes, step, first)
  for k = first or 1, #s.calls, step or 1 do
    for _, errno in ipairs(errnos) do
      for _, mode in ipairs(modes) do
        s:fault(k, errno, mode)
      end
    end
  end
end

-- The calls of a name.
local function of_name(s, name)
  local list = {}
  for k, c in ipairs(s.calls) do
    list[#list + 1] = c.call == name and k or nil
  end
  return list
end

-- The k-th transfer moves a byte, 511, all but one.
local function shorts(s, k)
  for _, bytes in ipairs{ 1, 511, -1 } do
    if s.calls[k].length > math.abs(bytes) then
      s:short(k, bytes)
    end
  end
end

-- From the first transfer on, all of them; byte by byte where that is little.
local function shorts_for_ever(s, name)
  local bytes, list = 0, of_name(s, name)
  for _, k in ipairs(list) do
    bytes = bytes + s.calls[k].length
  end
  if #list > 0 then
    s:short(list[1], -1, true)
    s:short(list[1], 511, true)
  end
  if #list > 0 and bytes < 64 << 10 then
    s:short(list[1], 1, true)
  end
end

-- Scenarios of both lists, by name.
local function named(names)
  local out = {}
  for _, list in ipairs{ verbs, changes } do
    for _, scenario in ipairs(list) do
      for _, name in ipairs(names) do
        out[#out + 1] = scenario.name == name and scenario or nil
      end
    end
  end
  assert(#out == #names)
  return out
end

local EIO <const> = { "EIO" }
local ONCE <const> = { "once" }

-- ---- a part of it, each time ---------------------------------------------

describe("a call that fails", function()
  for i, scenario in ipairs(quick(verbs)) do
    it("with EIO, every other one, in " .. scenario.name, function()
      sweep.with(scenario, function(s)
        faults(s, EIO, ONCE, 2, 1 + i % 2)
      end)
    end)
  end

  for i, scenario in ipairs(quick(changes)) do
    it("with EIO, every seventh, in " .. scenario.name, function()
      sweep.with(scenario, function(s)
        faults(s, EIO, ONCE, 7, 1 + i % 7)
      end)
    end)
  end

  for _, scenario in ipairs(named{ "info", "create_differencing", "check",
    "open, read, extents", "convert: chain to raw", "merge: and delete" }) do
    it("to read all at once, in " .. scenario.name, function()
      sweep.with(scenario, function(s)
        shorts_for_ever(s, "pread")
      end)
    end)
  end

  -- A write, and what is behind it, of each kind of verb.
  for _, scenario in ipairs(named{ "create_dynamic",
    "create_children, sync full", "convert: chain to raw", "write: dynamic",
    "merge: into an empty parent", "compact: dynamic",
    "resize: dynamic, grow the BAT over blocks",
    "relink: to a copy of another name", "repair: geometry" }) do
    it("with any errno, at the last write of " .. scenario.name, function()
      sweep.with(scenario, function(s)
        local writes = of_name(s, "pwritev")
        for _, errno in ipairs(sweep.errnos) do
          s:fault(writes[#writes], errno, "once")
          s:fault(writes[#writes], errno, "ever")
        end
        shorts(s, writes[1])
        shorts(s, writes[#writes])
      end)
    end)
  end
end)

-- ---- all of it -----------------------------------------------------------

describe("all calls, all errnos, once and for ever, and all from there on",
  function()
    for _, scenario in ipairs(verbs) do
      it(scenario.name .. " #slow", function()
        sweep.with(scenario, function(s)
          faults(s, sweep.errnos, { "once", "ever" })
          faults(s, { "EIO", "ENOMEM", "EACCES" }, { "all" })
        end)
      end)
    end
  end)

describe("all calls, all errnos once, and those of disks for ever", function()
  for _, scenario in ipairs(changes) do
    it(scenario.name .. " #slow", function()
      sweep.with(scenario, function(s)
        if scenario.slow then
          faults(s, { "EIO", "ENOSPC" }, { "once", "ever" })
        else
          faults(s, sweep.errnos, ONCE)
          faults(s, { "EIO", "ENOSPC", "EACCES" }, { "ever" })
          faults(s, EIO, { "all" })
        end
      end)
    end)
  end
end)

describe("where something is lacking, all calls", function()
  for _, of in ipairs(named{ "create_fixed, zeros", "create_differencing",
    "create_children, sync full", "convert: chain to raw",
    "open, read, extents", "open, by a Windows path", "find",
    "write: differencing", "merge: and reattach children",
    "resize: dynamic, grow the BAT over blocks" }) do
    for _, scenario in ipairs(verbs.lacking(of)) do
      it(scenario.name .. " #slow", function()
        sweep.with(scenario, function(s)
          faults(s, { "EIO", "ENOSPC", "EACCES", "EMFILE" },
            { "once", "ever" })
        end)
      end)
    end
  end
end)

describe("a verb that was begun before, all calls", function()
  for _, of in ipairs(named{ "merge: into an empty parent",
    "merge: into an ancestor, and delete", "merge: and reattach children",
    "merge: into an ancestor, reattach and delete",
    "compact: dynamic", "compact: differencing", "resize: fixed, grow",
    "resize: fixed, shrink", "resize: dynamic, grow the BAT over blocks",
    "resize: dynamic, shrink", "relink: three texts over three of old",
    "repair: geometry" }) do
    it(of.name .. " #slow", function()
      sweep.with(setmetatable({ begun = true, name = of.name .. ", begun" },
        { __index = of }), function(s)
          faults(s, { "EIO", "ENOSPC", "EACCES", "ENOMEM" },
            { "once", "ever" })
        end)
    end)
  end
end)

describe("all transfers that fall short", function()
  for _, list in ipairs{ verbs, changes } do
    for _, scenario in ipairs(list) do
      it(scenario.name .. " #slow", function()
        sweep.with(scenario, function(s)
          for _, call in ipairs{ "pread", "pwritev" } do
            for _, k in ipairs(of_name(s, call)) do
              shorts(s, k)
            end
            shorts_for_ever(s, call)
          end
        end)
      end)
    end
  end
end)

describe("the list of failures that nothing depends on", function()
  it("has no row that none of these met #slow", function()
    print(("%d faults and short transfers; %d states judged"):format(
      sweep.cases, sweep.states))
    assert.same({}, sweep.unused())
  end)
end)
