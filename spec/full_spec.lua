-- SPDX-License-Identifier: MIT
--
-- Verbs that write, where there is too little room: a volume with 0, 1, 2 ...
-- pages left, one that others fill in the midst of the work, a limit on the
-- length of files, a quota.  The error is E_DISK_FULL or
-- VM_E_FILE_TOO_LARGE_FOR_VOLUME, nothing is left, the promise holds, and with
-- room the verb goes on.  The judge is sweep.lua; volume_spec tells what is
-- checked before any of it.

local changes = require "spec.support.changes"
local support = require "spec.support"
local sweep = require "spec.support.sweep"
local verbs = require "spec.support.verbs"

-- Less than these 8 MiB, and nothing is created, or grown.
local LEAST <const> = (8 << 20) // 4096
local MANY <const> = 1 << 20

local function writers(slow)
  local out = {}
  for _, list in ipairs{ verbs, changes } do
    for _, scenario in ipairs(list) do
      if (scenario.new or not scenario.kind)
        and (slow or not scenario.slow) then
        out[#out + 1] = scenario
      end
    end
  end
  return out
end

local function as_root()
  if not support.is_root() then
    pending("mounting needs root")
  end
end

-- 0, 1, 2 ... until it is enough, which it is by `most`; from `first` on.
local function until_enough(method, s, first, most, ...)
  for n = first, most do
    local args = table.pack(...)
    args[#args + 1] = n
    if s[method](s, table.unpack(args)) then
      return n
    end
  end
end

-- Each write, with nothing left just before it, then a page ...
local WRITES <const> = { pwritev = true, fallocate = true, ftruncate = true }
local function fill_all(s, most)
  for k, c in ipairs(s.calls) do
    if WRITES[c.call] then
      until_enough("filled", s, 0, most, k)
    end
  end
end

-- What asks the volume first is refused until then.
local function asks_first(scenario)
  return scenario.kind or scenario.name:find("^resize:.*grow")
    or scenario.name:find("^resize:.*empty")
end

local function fill_before(s, few)
  if not asks_first(s.scenario) then
    assert.is_truthy(until_enough("full", s, 0, MANY))
    return
  end
  for n = 0, few do
    assert.is_false(s:full(n))
  end
  assert.is_false(s:full(LEAST - 1))
  assert.is_truthy(until_enough("full", s, LEAST, LEAST + MANY))
end

describe("a volume with 0, 1, 2 ... pages left #root", function()
  for _, scenario in ipairs(writers()) do
    it("is too small for " .. scenario.name .. ", until it is enough",
      function()
        as_root()
        sweep.with(scenario, function(s) fill_before(s, 2) end, "tmpfs")
      end)
  end
end)

describe("a volume that others fill, but for a page or two #root", function()
  for _, scenario in ipairs(writers()) do
    it("before any write of " .. scenario.name, function()
      as_root()
      sweep.with(scenario, function(s) fill_all(s, 1) end, "tmpfs")
    end)
  end
end)

describe("a limit on the length of files", function()
  for _, scenario in ipairs(writers()) do
    it("of 0, 4, 8 ... KiB is too small for " .. scenario.name, function()
      sweep.with(scenario, function(s)
        for n = 0, 16 do
          if s:limited(n * 4096) then
            break
          end
        end
      end)
    end)
  end
end)

-- ---- all sizes -----------------------------------------------------------

describe("every size in pages #slow #root", function()
  for _, scenario in ipairs(writers(true)) do
    it("of a volume for " .. scenario.name, function()
      as_root()
      sweep.with(scenario, function(s)
        fill_before(s, LEAST - 1)
      end, "tmpfs")
    end)

    it("of what others leave before any write of " .. scenario.name, function()
      as_root()
      sweep.with(scenario, function(s)
        -- many images: each looks for its 8 MiB, and is refused
        fill_all(s, scenario.name:find("^create_children") and 40 or MANY)
      end, "tmpfs")
    end)
  end
end)

describe("every limit on the length of files in pages #slow", function()
  for _, scenario in ipairs(writers(true)) do
    it("for " .. scenario.name, function()
      sweep.with(scenario, function(s)
        local n = 0
        while not s:limited(n * 4096) do
          n = n + (n < 1100 and 1 or 1000)
        end
      end)
    end)
  end
end)

describe("a quota #slow #root", function()
  -- What is left in steps of so many KiB.
  for name, step in pairs{ ["create_dynamic"] = 4, ["create_fixed, zeros"] = 64,
    ["create_fixed, reserved"] = 64, ["create_children, sync full"] = 4,
    ["convert: chain to raw"] = 4, ["write: dynamic"] = 4,
    ["write: many blocks at once"] = 4, ["merge: into an empty parent"] = 4,
    ["merge: and reattach children"] = 4, ["compact: dynamic"] = 4,
    ["resize: dynamic, grow the BAT over blocks"] = 4,
    ["relink: to a copy of another name"] = 4,
    ["repair: no footer at the end"] = 4 } do
    it("is enough at last for " .. name, function()
      as_root()
      if not support.has("mkfs.btrfs") then
        pending("btrfs-progs is not installed")
      end
      for _, scenario in ipairs(writers(true)) do
        if scenario.name == name then
          sweep.with(scenario, function(s)
            local n = 0
            while not s:quota(n * step * 1024) do
              n = n + 1
              assert(n < 400)
            end
          end, "btrfs")
        end
      end
    end)
  end

  it("and all of these were so many cases #slow", function()
    print(("%d sizes; %d states judged"):format(sweep.cases, sweep.states))
  end)
end)
