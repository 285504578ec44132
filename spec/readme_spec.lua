-- SPDX-License-Identifier: MIT
--
-- The README is true: every block of code runs as it is printed, and prints
-- what it says; its tables are made of the code; its links lead somewhere, and
-- it names no error, reason or file that is not there.  How a block is run, and
-- what "/vms" and "/golden" stand for, is spec/support/blocks.lua.

local blocks = require "spec.support.blocks"
local lvhd = require "lvhd"
local program = require "spec.support.program"
local reference = require "spec.support.reference"
local support = require "spec.support"
local tables = require "spec.support.tables"

local q, run = support.q, support.run
local readme = support.read "README.md"

-- Blocks that no test runs, by their first lines, each with the reason.
local EXEMPT <const> = {
  ["apt-get install -y make"] = "installs packages; make test is what runs "
    .. "this, and demo_spec runs the demo",
  ["apt-get install -y gcc libc6-dev make lua5.4 liblua5.4-dev lua-argparse"] =
    "installs packages",
  ["luarocks --lua-version=5.4 make"] = "installs into this machine; "
    .. "install_spec does it in a tree of its own",
  ["make test                       # unit tests in C, specs with busted"] =
    "make test is what runs this; the others are longer still",
}

-- The programs that other specs run, by their source.
local elsewhere = {}
for path in run("ls spec/examples/loop-*.lua"):gmatch("%S+") do
  elsewhere[support.read(path):match("^%-%- SPDX.-\n\n(.*)$")] = path
end

local function first_line(block)
  return (block.source:match("^[^\n]*"))
end

local all = blocks.read(readme)

describe("a code block of the README", function()
  for _, block in ipairs(all) do
    local why = EXEMPT[first_line(block)]
    local name = ("(%s, line %d)"):format(block.kind, block.first)
    if not why and not elsewhere[block.source] then
      it(name .. " runs as it is printed"
        .. (blocks.builds(block) and " #nosan #built" or ""), function()
        local runs = assert(blocks.run[block.kind], "of no kind that is run")
        local ok, output = runs(blocks.world(), block.source)
        assert.is_true(ok, output)
      end)
    end
  end

  it("is run, unless it is exempted by name", function()
    local used, counts = {}, {}
    for _, block in ipairs(all) do
      local line = first_line(block)
      used[line] = EXEMPT[line] and true
      counts[block.kind] = (counts[block.kind] or 0)
        + (EXEMPT[line] and 0 or 1)
    end
    for line in pairs(EXEMPT) do
      assert.is_true(used[line], "exempted, but not there: " .. line)
    end
    for kind in pairs(blocks.run) do
      assert.is_true((counts[kind] or 0) > 0, "none is " .. kind)
    end
  end)
end)

describe("the chapter on event loops", function()
  it("shows or names the programs of spec/examples, which loops_spec runs",
    function()
      local chapter = readme:match("\n## In an event loop\n(.-)\n## ")
      local shown = 0
      for source, path in pairs(elsewhere) do
        if chapter:find(source, 1, true) then
          shown = shown + 1
        else
          assert.matches("`" .. path:match("[^/]+$") .. "`", chapter, 1, true)
        end
      end
      assert.is_true(shown >= 2)
      for _, block in ipairs(blocks.read(chapter)) do
        assert.is_truthy(elsewhere[block.source], block.source)
      end
    end)
end)

describe("the README's table of contents", function()
  -- what GitHub makes of a heading
  local function anchor(heading)
    return (heading:lower():gsub("[^%w%s_-]", ""):gsub(" ", "-"))
  end
  local headings = {}
  for heading in readme:gsub("```.-```", ""):gmatch("\n##+ ([^\n]*)") do
    headings[anchor(heading)] = heading
  end

  it("has every chapter", function()
    local contents = readme:match("\n## Contents\n(.-)\n## ")
    for heading in readme:gmatch("\n## ([^\n]*)") do
      if heading ~= "Contents" then
        assert.matches("(#" .. anchor(heading) .. ")", contents, 1, true)
      end
    end
  end)

  it("and every link leads somewhere", function()
    local count = 0
    for target in readme:gmatch("%]%(([^%s)]+)%)") do
      count = count + 1
      local path, place = target:match("^([^#]*)#?(.*)$")
      assert.is_true(path == "" or support.sh("test -e " .. q(path)), target)
      assert.is_truthy(place == "" or headings[place], target)
    end
    assert.is_true(count > 30)
  end)
end)

describe("the README's tables", function()
  it("are made of codes.def and fault.def: make reference", function()
    assert.equal(tables.renew(readme, support.read(tables.CODES)), readme)
    assert.equal(tables.findings(support.read(tables.FAULTS)),
      support.read(tables.FINDINGS))
  end)

  it("have each code that is raised, and no other", function()
    local raised = { VM_E_TIMED_OUT = true } -- returned
    local sources = run "cat src/*.c src/*/*.c"
    for name in sources:gmatch("LVHD_([A-Z_]+)") do
      raised[name] = lvhd.hresult[name] and name ~= "S_OK" or nil
    end
    for name in run("cat lvhd/virtualserver/*.lua"):gmatch('"([A-Z_]+)"') do
      raised[name] = raised[name] or lvhd.hresult[name] ~= nil or nil
    end
    local listed = {}
    for _, row in ipairs(tables.rows(support.read(tables.CODES), "LV_CODE")) do
      listed[row[1]] = row[4] ~= "" or nil
    end
    assert.same(raised, listed)
  end)

  it("of functions have every function of the module", function()
    local chapter = readme:match("\n## The functions\n(.-)\n## ")
    for name in pairs(lvhd) do
      assert.matches("`lvhd%." .. name .. "[`(]", chapter)
    end
  end)
end)

describe("the README names", function()
  local reasons = {}
  for _, row in ipairs(tables.rows(support.read(tables.FAULTS), "LV_FAULT")) do
    reasons[row[1]] = true
  end

  it("only errors and reasons that there are", function()
    local text = readme:gsub("```.-\n```", "")
    local count = 0
    for name in text:gmatch("`([A-Z][A-Z_]+_[A-Z_]+)`") do
      local known = reasons[name] or lvhd.hresult[name]
        or name:find("^O_") or name == "SOURCE_DATE_EPOCH"
        or name == "NO_COLOR" or name:find("^LUA_C?PATH$")
      assert.is_truthy(known, name)
      count = count + 1
    end
    assert.is_true(count > 60, count)
  end)

  -- These are told as the tables that they are; of LuaCOM's functions what a
  -- script of the time used.
  local SHOWN <const> = { ["lvhd.Parent"] = true, ["lvhd.Locator"] = true,
    ["lvhd.virtualserver.LuaCOM"] = true }

  it("every option, every field of infos and errors, every method", function()
    local api = reference.read(reference.FILES)
    local text = readme:gsub("\n## The command\n.-\n## ", "\n## ")
    local function tells(name)
      return text:find("`" .. name .. "`", 1, true)
        or text:find("`" .. name .. " = ", 1, true)
        or text:find("{ " .. name .. " = ", 1, true)
        or text:find("[:.]" .. name .. "[(`]") -- `err.items`, `task:wait()`
    end
    local untold = {}
    for class, made in pairs(api.classes) do
      for _, list in ipairs { made.fields, made.functions } do
        for _, row in ipairs(list) do
          local name = row.name:gsub("%?$", "")
          if not tells(name) and not SHOWN[class] then
            untold[#untold + 1] = class .. "." .. name
          end
        end
      end
    end
    assert.same({}, untold)
  end)

  it("only files that there are", function()
    local count = 0
    for path in readme:gmatch("`([%w_-]+/[%w_./*-]+)`") do
      if path:find("^src/") or path:find("^spec/") or path:find("^lvhd/") then
        assert.is_true(support.sh("ls -d " .. path), path)
        count = count + 1
      end
    end
    assert.is_true(count >= 5)
  end)
end)

describe("src/README.md", function()
  local text = support.read "src/README.md"

  it("has every file of src, and no other", function()
    local rooms = text:match("^.-\n\nCalls go down only")
    local there = {}
    for path in run("ls src/*.[ch] src/*/*.[ch] src/*/*.def")
      :gmatch("%S+") do
      local name = path:match("[^/]+$")
      there[name] = true
      local twin = path:find("%.h$") and support.sh("test -e "
        .. path:gsub("h$", "c"))
      assert.is_truthy(twin or rooms:find("%f[%w_]" .. name), path)
    end
    for name in rooms:gmatch("[%w_]+%.%l+%f[^%w]") do
      assert.is_truthy(there[name] or name == "lua.h", name)
    end
  end)

  it("has only functions that there are, on its paths", function()
    local sources = run "cat src/*.[ch] src/*/*.[ch] lvhd/*.lua"
    local count = 0
    for line in text:gmatch("\n(    [^\n]*)") do
      for name in line:gmatch("%f[%w_]%l+_[%l_]+%f[^%w_]") do
        count = count + 1
        assert.is_truthy(sources:find("%f[%w_]" .. name .. "%f[^%w_]")
          or sources:find("core." .. name:gsub("^core_", ""), 1, true), name)
      end
    end
    assert.is_true(count > 80, count)
  end)
end)

describe("the quick start", function()
  local source = support.read("spec/examples/quickstart.lua")

  it("makes the child, and says so when it is there", function()
    local world = blocks.world()
    local dir = world.dir
    local ok, output = blocks.run.lua(world, source)
    assert.is_true(ok, output)
    assert.matches("/vms/web01/disk.vhd\t42949672960\t", output, 1, true)
    assert.matches("\tdebian12.vhd", output, 1, true)
    output = run(("cd %s && %s program.lua"):format(q(dir), program.lua()))
    assert.matches("there already: " .. dir .. "/vms/web01/disk.vhd", output,
      1, true)
  end)

  it("is short", function()
    local _, lines = source:gsub("\n", "")
    assert.is_true(lines <= 30)
  end)
end)
