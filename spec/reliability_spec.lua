-- SPDX-License-Identifier: MIT
--
-- spec/RELIABILITY.md: each gate has a row, with a day and a command that exists.

local support = require "spec.support"

local text = support.read "spec/RELIABILITY.md"
local makefile = support.read "Makefile"

-- Each gate's name and its row's cells.
local function rows()
  local found = {}
  for line in text:gmatch("\n(| R%d+ |[^\n]*)") do
    local cells = {}
    for cell in line:gmatch("|([^|]+)") do
      cells[#cells + 1] = cell:match("^%s*(.-)%s*$")
    end
    found[cells[1]] = cells
  end
  return found
end

-- Is there such a target, alone or among the gates?
local function exists(target)
  local gate = target:match("^gate%-(%w+)$")
  if gate then
    return (" " .. makefile:match("\nGATES = ([^\n]*)") .. " "):find(
      " " .. gate .. " ", 1, true) ~= nil
  end
  return makefile:find("\n" .. target:gsub("%-", "%%-") .. ":") ~= nil
end

describe("spec/RELIABILITY.md", function()
  it("has a whole row for each gate from R1 to R21", function()
    local found = rows()
    for i = 1, 21 do
      local cells = found["R" .. i]
      assert.is_truthy(cells, "R" .. i)
      assert.equal(6, #cells, "R" .. i)
      assert.matches("^%d%d%d%d%-%d%d%-%d%d$", cells[5])
    end
  end)

  it("calls what a kill may leave as the README and the code do", function()
    local name = "`.<16 hex digits>.lvhd-tmp`"
    assert.matches(name, rows().R7[4], 1, true)
    assert.matches(name, support.read "README.md", 1, true)
    assert.matches('".%016llx.lvhd-tmp"', support.read "src/io/newfile.c", 1,
      true)
  end)

  it("names commands that there are", function()
    local count = 0
    for gate, cells in pairs(rows()) do
      for target in cells[6]:gmatch("make ([%w-]+)") do
        assert.is_true(exists(target), gate .. ": make " .. target)
        count = count + 1
      end
    end
    assert.is_true(count >= 21, count)
    assert.is_false(exists "gate-nothing")
    assert.is_false(exists "nothing")
  end)
end)
