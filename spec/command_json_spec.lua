-- SPDX-License-Identifier: MIT
--
-- What --json prints, held against lvhd/command/shapes.lua, which the README
-- and the man page tell: the shapes are read here, and each run's line, too.

local command = require "spec.support.command"
local lvhd = require "lvhd"
local parser = require "lvhd.command.parser"
local shapes = require "lvhd.command.shapes"
local support = require "spec.support"
local verbs = require "lvhd.command.verbs"

local MiB <const> = 1 << 20
local cmd = command.cmd

-- ---- reading JSON --------------------------------------------------------

local read_value

local function read_string(s, at)
  local out = {}
  while true do
    local plain, c, next_at = s:match('^([^"\\]*)(["\\])()', at)
    out[#out + 1] = assert(plain, "unfinished string")
    if c == '"' then
      return table.concat(out), next_at
    end
    local e = s:sub(next_at, next_at)
    if e == "u" then
      out[#out + 1] = utf8.char(tonumber(s:sub(next_at + 1, next_at + 4), 16))
      at = next_at + 5
    else
      out[#out + 1] = assert(({ n = "\n", r = "\r", t = "\t", ['"'] = '"',
        ["\\"] = "\\" })[e], "escape")
      at = next_at + 1
    end
  end
end

local function read_list(s, at)
  local list = { is_list = true }
  if s:sub(at, at) == "]" then
    return list, at + 1
  end
  while true do
    list[#list + 1], at = read_value(s, at)
    local c = s:sub(at, at)
    if c == "]" then
      return list, at + 1
    end
    assert(c == ",", "in a list: " .. c)
    at = at + 1
  end
end

local function read_object(s, at)
  local object = {}
  if s:sub(at, at) == "}" then
    return object, at + 1
  end
  while true do
    local name
    assert(s:sub(at, at) == '"', "a name")
    name, at = read_string(s, at + 1)
    assert(s:sub(at, at) == ":" and object[name] == nil, "twice: " .. name)
    object[name], at = read_value(s, at + 1)
    local c = s:sub(at, at)
    if c == "}" then
      return object, at + 1
    end
    assert(c == ",", "in an object: " .. c)
    at = at + 1
  end
end

function read_value(s, at)
  local c = s:sub(at, at)
  if c == "{" then
    return read_object(s, at + 1)
  elseif c == "[" then
    return read_list(s, at + 1)
  elseif c == '"' then
    return read_string(s, at + 1)
  end
  local word, next_at = s:match("^([%w.+-]+)()", at)
  local value = ({ ["true"] = true, ["false"] = false })[word]
  if value == nil then
    value = assert(math.tointeger(word) or tonumber(word), word)
  end
  return value, next_at
end

local function read_line(s)
  local value, at = read_value(s, 1)
  assert.equal("\n", s:sub(at))
  return value
end

-- ---- shapes --------------------------------------------------------------

local fits

-- The fields of a class, as the annotations tell them.
local function class(name)
  local text = support.read "lvhd/engine.lua"
  local part = assert(text:match("%-%-%-@class lvhd%." .. name .. "\n(.-)\n\n"))
  local fields = {}
  for field, optional, type_of in part:gmatch(
    "%-%-%-@field ([%w_]+)(%??) ([^\n]+)") do
    fields[field] = { optional = optional == "?", type = type_of }
  end
  return fields
end

local CLASSES <const> = { Info = class "Info", Parent = class "Parent",
  Locator = class "Locator", Finding = class "Finding" }

local fits_class

-- "integer bytes", "lvhd.Finding[]", "{ cylinders: integer ...", '"a"|"b" ...'
local function fits_type(value, type_of, where)
  local of, list = type_of:match "^lvhd%.(%a+)(%[?)"
  if of == "Error" then
    return fits(value, "error", where)
  elseif of and list == "[" then
    for i, item in ipairs(value) do
      fits_class(item, of, where .. "." .. i)
    end
  elseif of then
    fits_class(value, of, where)
  elseif type_of:find '^"' then
    assert(type_of:find('"' .. value .. '"', 1, true), where)
  elseif not type_of:find "^{" then
    fits(value, type_of:match "^%a+", where)
  end
end

function fits_class(value, name, where)
  assert(type(value) == "table", where)
  for field in pairs(value) do
    assert(CLASSES[name][field], ("%s.%s is in no %s"):format(where, field,
      name))
  end
  for field, row in pairs(CLASSES[name]) do
    -- a raw file has nothing that a footer says
    assert(value[field] ~= nil or row.optional or value.type == "raw",
      where .. "." .. field)
    if value[field] ~= nil then
      fits_type(value[field], row.type, where .. "." .. field)
    end
  end
end

-- Splits at the commas of the outermost level.
local function split(s)
  local parts, depth, from = {}, 0, 1
  for at = 1, #s do
    local c = s:sub(at, at)
    depth = depth + (c:find "[{%[]" and 1 or c:find "[}%]]" and -1 or 0)
    if c == "," and depth == 0 then
      parts[#parts + 1], from = s:sub(from, at - 1), at + 1
    end
  end
  parts[#parts + 1] = s:sub(from)
  return parts
end

local function fits_object(value, shape, where)
  local known = {}
  assert(type(value) == "table" and not value.is_list, where)
  for _, part in ipairs(split(shape:sub(2, -2))) do
    local name, optional, of = part:match "^%s*([%w_]+)(%??): (.+)$"
    known[name] = true
    assert(value[name] ~= nil or optional == "?", where .. "." .. name)
    if value[name] ~= nil then
      fits(value[name], of, where .. "." .. name)
    end
  end
  for name in pairs(value) do
    assert(known[name], ("%s.%s is not told"):format(where, name))
  end
end

local named = {}
for _, row in ipairs(shapes.others) do
  named[row[1]] = row[2]
end

---Raises where the value is not of the shape.
function fits(value, shape, where)
  local ways = {}
  for i, way in ipairs(split(shape)) do
    ways[i] = way:gsub("^ or ", "")
  end
  if #ways > 1 then
    local why = {}
    for i, way in ipairs(ways) do
      local ok, err = pcall(fits, value, way, where)
      if ok then
        return
      end
      why[i] = tostring(err)
    end
    error(table.concat(why, "; "), 0)
  elseif shape == "any" then
    return
  elseif shape == "info" then
    return fits_class(value, "Info", where)
  elseif shape == "error" then
    return fits(value, named.error, where)
  elseif shape:find "^{" then
    return fits_object(value, shape, where)
  elseif shape:find "^%[" then
    assert(type(value) == "table" and value.is_list, where .. ": no list")
    for i, item in ipairs(value) do
      fits(item, shape:sub(2, -2), where .. "." .. i)
    end
    return
  end
  local is = shape == "integer" and math.type(value) == "integer"
    or type(value) == shape
  assert(is, ("%s: %s expected, got %s"):format(where, shape, tostring(value)))
end

-- ---- the runs ------------------------------------------------------------

local dir

before_each(function()
  dir = support.tmpdir()
  command.at(dir)
  lvhd.create_dynamic(dir .. "/a.vhd", 64 * MiB):wait()
  lvhd.create_differencing(dir .. "/c.vhd", dir .. "/a.vhd"):wait()
  lvhd.create_differencing(dir .. "/l.vhd", dir .. "/c.vhd"):wait()
  lvhd.create_fixed(dir .. "/f.vhd", 4 * MiB):wait()
  support.write(dir .. "/in", "bytes")
end)

-- In an order in which each finds what it needs.
local RUNS <const> = {
  { "create", "create n.vhd 64MiB" },
  { "create", "create nf.vhd 4MiB --fixed" },
  { "create", "create nc.vhd --parent l.vhd" },
  { "create --dry-run", "create n2.vhd 64MiB", would = "create" },
  { "create --dry-run", "create a.vhd 64MiB --keep", would = "nothing" },
  { "create --children", "create k%d.vhd --parent f.vhd --children 2" },
  { "create --children --dry-run",
    "create j%d.vhd --parent f.vhd --children 2", would = "create" },
  { "create --children --dry-run",
    "create k%d.vhd --parent f.vhd --children 2 --keep", would = "nothing" },
  { "info", "info l.vhd" },
  { "chain", "chain l.vhd" },
  { "children", "children a.vhd" },
  { "children", "children l.vhd" },
  { "check", "check l.vhd --chain" },
  { "map", "map l.vhd" },
  { "map", "map f.vhd --svg m.svg" },
  { "write --dry-run", "write nc.vhd", would = "write" },
  { "write", "write nc.vhd", "<in" },
  { "convert --dry-run", "convert nc.vhd d.vhd", would = "convert" },
  { "convert", "convert nc.vhd d.raw --to raw" },
  { "flatten --dry-run", "flatten nc.vhd d.vhd", would = "convert" },
  { "flatten", "flatten nc.vhd d.vhd" },
  { "relink --dry-run", "relink nc.vhd l.vhd", would = "relink" },
  { "relink", "relink nc.vhd l.vhd" },
  { "merge --dry-run", "merge nc.vhd", would = "merge" },
  { "merge", "merge nc.vhd --delete" },
  { "compact --dry-run", "compact l.vhd", would = "nothing" },
  { "compact", "compact l.vhd" },
  { "resize --dry-run", "resize n.vhd 80MiB", would = "resize" },
  { "resize --dry-run", "resize f.vhd 4MiB --force", would = "nothing" },
  { "resize", "resize n.vhd 80MiB" },
  { "repair --dry-run", "repair n.vhd", would = "nothing" },
  { "repair", "repair n.vhd" },
  { "version", "version" },
}

local function shape_of(run)
  for _, row in ipairs(shapes.results) do
    for one in row[1]:gmatch("[^,]+") do
      if one:gsub("^ ", "") == run then
        return row[2]
      end
    end
  end
  error("no shape is told of " .. run)
end

describe("--json", function()
  it("is of the shape that is told, for each verb and its dry run", function()
    local seen = {}
    for _, run in ipairs(RUNS) do
      local dry = run[1]:find("dry", 1, true) ~= nil
      local code, out, err = cmd(run[2] .. " --json" .. (dry and " -n" or ""),
        run[3])
      assert.equal(0, code, run[2] .. ": " .. err)
      local line = read_line(out)
      fits(line, named["the line"], run[2])
      fits(line.result, shape_of(run[1]), run[2])
      assert.is_true(line.ok)
      assert.equal(0, line.exit)
      assert.equal(run[2]:match "^%a+", line.verb)
      assert.equal(dry or nil, line.dry_run)
      assert.is_nil(line.error)
      assert.equal(run.would, type(line.result) == "table"
        and line.result.would or nil, run[2])
      seen[run[1]] = true
    end
    for _, row in ipairs(shapes.results) do
      for one in row[1]:gmatch("[^,]+") do
        assert.is_true(seen[one:gsub("^ ", "")], "never run: " .. one)
      end
    end
  end)

  it("tells of every verb that has it, and of its dry run", function()
    for _, verb in ipairs(verbs.list) do
      for _, row in ipairs(verb.options) do
        if row.words == "--json" then
          shape_of(verb.name)
        elseif row.words:find("--dry-run", 1, true) then
          shape_of(verb.name .. " --dry-run")
        end
      end
    end
  end)

  it("is ok only where the exit is 0, and has the error else", function()
    local file <close> = assert(io.open(dir .. "/n.vhd", "wb"))
    file:write(support.read(dir .. "/a.vhd"):sub(1, 1536),
      "\0\xFF\xFF\xFF", support.read(dir .. "/a.vhd"):sub(1541))
    file:close()
    os.rename(dir .. "/a.vhd", dir .. "/b.vhd")
    for _, run in ipairs {
      { 4, "info none.vhd" }, { 4, "chain l.vhd", "[info]" },
      { 9, "check n.vhd", "[info]" }, { 5, "create c.vhd 64MiB -n" },
      { 4, "map l.vhd" }, { 3, "create x.vhd 40KB" }, { 2, "info --what" },
      { 2, "frobnicate" }, { 9, "info in" }, { 4, "merge l.vhd -n" },
      { 10, "resize l.vhd 128MiB" }, { 7, "resize b.vhd 128MiB" },
    } do
      local code, out = cmd(run[2] .. " --json")
      local line = read_line(out)
      assert.equal(run[1], code, run[2])
      fits(line, named["the line"], run[2])
      assert.is_false(line.ok)
      assert.equal(code, line.exit)
      assert.is_truthy(line.error, run[2])
      if run[3] then
        fits(line.result, run[3], run[2])
      else
        assert.is_nil(line.result)
      end
    end
  end)

  it("tells what became of each of many", function()
    support.write(dir .. "/k2.vhd", "")
    for _, dry in ipairs { " -n", "" } do
      local code, out = cmd("create k%d.vhd --parent a.vhd --children 3 --json"
        .. dry)
      local line = read_line(out)
      assert.equal(5, code)
      fits(line, named["the line"], "many")
      fits(line.items, named.items, "items")
      assert.equal(3, #line.items)
      assert.equal("E_ALREADY_EXISTS", line.items[2].error.name)
      assert.equal("E_ALREADY_EXISTS", line.error.name)
      assert.equal(dir .. "/k3.vhd", line.items[3].path)
      assert.equal(dry ~= "" and "create" or nil, line.items[3].would)
    end
  end)

  it("of progress is of the shape that is told", function()
    for words, input in pairs { ["create x.vhd 4MiB --fixed"] = "",
      ["write f.vhd"] = "<in", ["read f.vhd --length 10"] = "",
      ["children a.vhd"] = "" } do
      local _, _, err = cmd(words .. " --progress=json", input)
      local n = 0
      for line in err:gmatch("[^\n]+\n") do
        fits(read_line(line), named["--progress=json"], words)
        n = n + 1
      end
      assert.is_true(n > 0, words)
    end
  end)

  it("is told in the man page and in the README", function()
    local page = parser.manual "1":gsub("\\%-", "-")
    local part = support.read "README.md":match "\n## The command\n(.-)\n## "
    for _, list in ipairs { shapes.results, shapes.others } do
      for _, row in ipairs(list) do
        assert.matches(row[1] .. "\n" .. row[2], page, 1, true)
        local words = row[1] == "the line" and "the line"
          or row[1]:gsub("([^,]+)(,? ?)", "`%1`%2")
        assert.matches(("| %s | `%s` |"):format(words, row[2]:gsub("|", "\\|")),
          part, 1, true)
      end
    end
  end)

  it("is read as it is meant by these tests", function()
    assert.same({ a = { 1, 2.5, is_list = true }, b = "\"\\\n\u{E9}",
      c = true, d = {} },
      read_line '{"a":[1,2.5],"b":"\\"\\\\\\n\\u00e9","c":true,"d":{}}\n')
    for value, shape in pairs { [1] = "string", x = "integer",
      [2.5] = "integer",
      y = "{a: integer}", z = "[any]", [true] = "integer, or string" } do
      assert.is_false((pcall(fits, value, shape, "")))
    end
    assert.is_false((pcall(fits, { a = 1, b = 2 }, "{a: integer}", "")))
    assert.is_false((pcall(fits, {}, "{a: integer}", "")))
    fits({}, "{a?: integer}", "")
    fits({ 1, 2, is_list = true }, "[integer]", "")
    assert.is_false((pcall(fits, { 1, "x", is_list = true }, "[integer]", "")))
  end)
end)
