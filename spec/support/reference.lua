-- SPDX-License-Identifier: MIT
--
-- reference.lua [FILE ...]: the API reference, as Markdown on standard output,
-- made of the LuaLS annotations of the Lua files. Knows comments, not lvhd.
--
-- A block is the lines that begin with "---"; what follows it tells what it is
-- of: a class (@class), a function, a value (@type).

local M = {}

---@class reference.Block
---@field text string[] before the first tag
---@field tags { name: string, text: string }[]
---@field code string the line behind it

-- All blocks of a file.
local function blocks(source)
  local found, lines = {}, nil
  for line in (source .. "\n"):gmatch("(.-)\r?\n") do
    local text = line:match("^%s*%-%-%-(.*)$")
    if text and not text:find("^%-") then
      lines = lines or {}
      lines[#lines + 1] = text
    elseif lines then
      found[#found + 1] = { lines = lines, code = line:match("^%s*(.*)$") }
      lines = nil
    end
  end
  return found
end

-- Text first, then tags; a line without a tag goes on with what was before it.
local function read(block)
  local text, tags = {}, {}
  for _, line in ipairs(block.lines) do
    local name, rest = line:match("^@(%w+)%s*(.*)$")
    if name then
      tags[#tags + 1] = { name = name, text = rest }
    elseif #tags > 0 then
      tags[#tags].text = tags[#tags].text .. " " .. line
    else
      text[#text + 1] = line
    end
  end
  return { text = text, tags = tags, code = block.code }
end

-- The type that a text begins with: up to a space outside of brackets.
local function split_type(text)
  local depth, quote = 0, false
  for i = 1, #text do
    local c = text:sub(i, i)
    if c == '"' then
      quote = not quote
    elseif not quote and c:find("[%({%[<]") then
      depth = depth + 1
    elseif not quote and c:find("[%)}%]>]") then
      depth = depth - 1
    elseif c == " " and not quote and depth == 0
      and not text:sub(1, i - 1):find("[:,|]$") then
      return text:sub(1, i - 1), text:sub(i + 1)
    end
  end
  return text, ""
end

local function class_of(block)
  for _, tag in ipairs(block.tags) do
    if tag.name == "class" then
      return tag.text:match("^([%w_.]+):?%s*(.*)$")
    end
  end
end

-- ---- reading the files ---------------------------------------------------

local function class(api, name)
  if not api.classes[name] then
    api.classes[name] = { name = name, text = {}, fields = {}, functions = {} }
    table.insert(api.order, name)
  end
  return api.classes[name]
end

local function take_class(api, block, here)
  local name, bases = class_of(block)
  local made = class(api, name)
  table.move(block.text, 1, #block.text, #made.text + 1, made.text)
  if bases ~= "" then
    made.bases = bases
  end
  for _, tag in ipairs(block.tags) do
    if tag.name == "field" then
      local field, rest = tag.text:match("^([%w_]+%??)%s+(.*)$")
      local kind, text = split_type(rest)
      table.insert(made.fields, { name = field, kind = kind, text = text })
    end
  end
  local variable = block.code:match("^local ([%w_]+)%s*=")
  if variable then
    here[variable] = made
    table.insert(here, made)
  end
end

local function take_function(block, here)
  local variable, sign, name, words = block.code:match(
    "^function ([%w_]+)([.:])([%w_]+)%((.-)%)")
  if not variable then
    variable, name = block.code:match("^([%w_]+)%.([%w_]+)%s*=")
    sign, words = ".", nil
  end
  -- a function that another one makes is of the class before it
  local of = variable and (here[variable] or variable ~= "M" and here[#here])
  if not of or name:find("^__") then
    return
  end
  local row = { name = name, sign = sign, words = words, variable = variable,
    text = block.text, params = {}, returns = {} }
  for _, tag in ipairs(block.tags) do
    if tag.name == "param" then
      local param, rest = tag.text:match("^([%w_.]+%??)%s+(.*)$")
      local kind, text = split_type(rest)
      table.insert(row.params, { name = param, kind = kind, text = text })
    elseif tag.name == "return" then
      table.insert(row.returns, tag.text)
    elseif tag.name == "type" then
      row.kind = tag.text
    end
  end
  table.insert(of.functions, row)
end

---What the files say.
---@param files string[]
---@return table api
function M.read(files)
  local api = { classes = {}, order = {} }
  for _, path in ipairs(files) do
    local file <close> = assert(io.open(path))
    local here = {}
    for _, block in ipairs(blocks(file:read("a"))) do
      local row = read(block)
      if class_of(row) then
        take_class(api, row, here)
      else
        take_function(row, here)
      end
    end
  end
  return api
end

-- ---- writing -------------------------------------------------------------

local function cell(text)
  return (text:gsub("|", "\\|"))
end

local function write_fields(out, fields, head)
  if #fields == 0 then
    return
  end
  out("| " .. head .. " | Type | |\n|---|---|---|")
  for _, field in ipairs(fields) do
    out(("| `%s` | `%s` | %s |"):format(field.name, cell(field.kind),
      cell(field.text)))
  end
  out ""
end

local function write_text(out, lines)
  if #lines > 0 then
    out((table.concat(lines, "\n"):gsub("\nRaises", "\n\nRaises")) .. "\n")
  end
end

local function write_function(out, row)
  if row.words then
    out(("### `%s%s%s(%s)`\n"):format(row.variable, row.sign, row.name,
      row.words))
  else
    out(("### `%s%s%s`%s\n"):format(row.variable, row.sign, row.name,
      row.kind and ": `" .. row.kind .. "`" or ""))
  end
  write_text(out, row.text)
  write_fields(out, row.params, "Argument")
  for i, text in ipairs(row.returns) do
    local kind, rest = split_type(text)
    out(("%s `%s` %s"):format(i == 1 and "Returns" or "and", kind, rest)
      :gsub(" +$", "") .. (i < #row.returns and "," or "\n"))
  end
end

---The reference as Markdown.
---@param api table of M.read
---@return string
function M.markdown(api)
  local lines = {}
  local function out(line)
    lines[#lines + 1] = line
  end
  out "<!-- SPDX-License-Identifier: MIT -->"
  out "<!-- Made by `make reference` of the annotations: do not edit. -->"
  out "# The Lua functions\n"
  for _, name in ipairs(api.order) do
    local made = api.classes[name]
    out(("## %s\n"):format(name))
    write_text(out, made.text)
    if made.bases then
      out(("With all of %s.\n"):format(made.bases:gsub("[%w_.]+", "`%0`")))
    end
    write_fields(out, made.fields, "Field")
    for _, row in ipairs(made.functions) do
      write_function(out, row)
    end
  end
  return (table.concat(lines, "\n"):gsub("\n+$", "\n"))
end

---The files, in the order of the reference.
M.FILES = { "lvhd/init.lua", "lvhd/engine.lua", "lvhd/change.lua",
  "lvhd/ended.lua", "lvhd/task.lua", "lvhd/disk.lua", "lvhd/error.lua",
  "lvhd/virtualserver.lua" }

if arg and arg[0] and arg[0]:find("reference%.lua$") then
  io.write(M.markdown(M.read(M.FILES)))
end

return M
