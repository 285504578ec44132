-- SPDX-License-Identifier: MIT
--
-- Every program of the README runs as it is printed.  A block that begins
-- with ```lua is a program of its own; ```lua no-run marks what is not.
-- "/vms" and "/golden" stand for folders: both are there in a scratch folder,
-- with every disk that a program names there, as "/golden/....vhd" or with
-- backslashes.  Knows the README, not lvhd's inside.

local lvhd = require "lvhd"
local support = require "spec.support"
local program = require "spec.support.program"

local q = support.q

---The programs of a Markdown text: source, line of its first line, run or not.
local function programs(text)
  local found, block = {}, nil
  local number = 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local mark = line:match("^%s*```(.*)$")
    if not block and mark then
      block = { lines = {}, first = number + 1, mark = mark }
    elseif block and mark then
      local words = " " .. block.mark .. " "
      if words:find("^%s+lua%s") then
        found[#found + 1] = { first = block.first,
          source = table.concat(block.lines, "\n") .. "\n",
          run = not words:find(" no-run ", 1, true) }
      end
      block = nil
    elseif block then
      block.lines[#block.lines + 1] = line
    end
  end
  assert(not block, "a block of the README has no end")
  return found
end

---Makes the folders and disks that a program assumes.
local function set_up(dir, source)
  support.run("mkdir -p " .. q(dir .. "/vms") .. " " .. q(dir .. "/golden"))
  local named = source:gsub("\\golden\\([%w]+%.vhd)%]%]", "\"/golden/%1\"")
  for path in named:gmatch("[\"'](/golden/[^\"'*]+%.vhd)[\"']") do
    if not support.sh("test -e " .. q(dir .. path)) then
      lvhd.create_dynamic(dir .. path, "40 GiB"):wait()
    end
  end
end

---Runs a program in a scratch folder.
---@return boolean ok, string output
local function try(dir, source)
  set_up(dir, source)
  local moved = source:gsub("([\"'])(/%a+)", function(quote, folder)
    if folder == "/vms" or folder == "/golden" then
      return quote .. dir .. folder
    end
  end)
  support.write(dir .. "/program.lua", moved)
  return support.sh(("cd %s && %s program.lua"):format(q(dir),
    program.lua()))
end

describe("the README", function()
  local found = programs(support.read("README.md"))

  it("shows a program that runs", function()
    local runs = 0
    for _, block in ipairs(found) do
      runs = runs + (block.run and 1 or 0)
    end
    assert.is_true(runs > 0)
  end)

  for _, block in ipairs(found) do
    if block.run then
      it(("runs from line %d"):format(block.first), function()
        local ok, output = try(support.tmpdir(), block.source)
        assert.is_true(ok, output)
      end)
    else
      it(("can be read as Lua from line %d"):format(block.first), function()
        assert(load(block.source, "=README.md", "t"))
      end)
    end
  end
end)

describe("the chapter on event loops", function()
  local chapter = support.read("README.md"):match(
    "\n## In an event loop\n(.-)\n## ")
  local files = support.run("ls spec/examples/loop-*.lua")

  it("shows the programs of spec/examples, which loops_spec runs", function()
    local shown = {}
    for _, block in ipairs(programs(chapter)) do
      shown[block.source] = true
    end
    local n = 0
    for path in files:gmatch("%S+") do
      local text = support.read(path):match("^%-%- SPDX.-\n\n(.*)$")
      assert.is_true(shown[text], path)
      shown[text] = nil
      n = n + 1
    end
    assert.is_true(n >= 5)
    assert.is_nil(next(shown), "a program that is no file")
  end)
end)

describe("the quick start", function()
  local source = support.read("spec/examples/quickstart.lua")

  it("makes the child, and says so when it is there", function()
    local dir = support.tmpdir()
    local ok, output = try(dir, source)
    assert.is_true(ok, output)
    assert.matches(dir .. "/vms/web01/disk.vhd\t42949672960\t", output, 1,
      true)
    assert.matches("\tdebian12.vhd", output, 1, true)
    ok, output = try(dir, source)
    assert.is_true(ok, output)
    assert.matches("there already: " .. dir .. "/vms/web01/disk.vhd", output,
      1, true)
  end)

  it("is short", function()
    local _, lines = source:gsub("\n", "")
    assert.is_true(lines <= 30)
  end)
end)

describe("the list of findings", function()
  it("holds every reason with its text, and no other", function()
    local defined, listed = {}, {}
    local text = support.read("src/base/fault.def"):gsub("/%*.-%*/", "")
    for name, rest in text:gmatch("LV_FAULT%(%s*([%w_]+)%s*,(.-)%)\n") do
      local words = {}
      for word in rest:gmatch('"([^"]*)"') do
        words[#words + 1] = word:gsub("\\\\", "\\")
      end
      defined[name] = table.concat(words, "", 2)
    end
    defined.NONE = nil
    local section = support.read("README.md"):match("\n### Findings\n(.-)\n## ")
    for name, what in section:gmatch("\n| `([%u%d_]+)` |[^|\n]*| ([^|\n]*) |") do
      listed[name] = what
    end
    assert.same(defined, listed)
  end)
end)
