-- SPDX-License-Identifier: MIT
--
-- tables.lua: writes the tables of errors and of findings, made of codes.def
-- and fault.def in src/base, into README.md and lvhd/FINDINGS.md.  Knows their
-- rows, not lvhd.

local M = {}

M.CODES, M.FAULTS = "src/base/codes.def", "src/base/fault.def"
M.README, M.FINDINGS = "README.md", "lvhd/FINDINGS.md"

local BEGIN <const> = "<!-- Made by `make reference` of src/base/codes.def: "
  .. "do not edit. -->\n"
local END <const> = "<!-- The end of what is made. -->\n"

-- Where the string ends that begins at `from`.
local function string_end(text, from)
  local at = from + 1
  while text:sub(at, at) ~= '"' do
    at = at + (text:sub(at, at) == "\\" and 2 or 1)
  end
  return at
end

-- The cells from `at` on, up to the closing bracket; strings that stand side
-- by side are one.
local function cells(text, at)
  local found, words = {}, ""
  while true do
    local c = text:sub(at, at)
    if c == '"' then
      local stop = string_end(text, at)
      words = words .. text:sub(at + 1, stop - 1):gsub("\\(.)", "%1")
      at = stop
    elseif c == "," or c == ")" then
      found[#found + 1], words = words, ""
      if c == ")" then
        return found
      end
    elseif not c:find("%s") then
      words = words .. c
    end
    at = at + 1
  end
end

---The rows of a .def file: LV_CODE("a", b) is { "a", "b" }.
---@param text string
---@param macro string "LV_CODE"
---@return string[][] rows by their names
function M.rows(text, macro)
  local rows = {}
  text = text:gsub("/%*.-%*/", "")
  for at in text:gmatch(macro .. "%(()") do
    rows[#rows + 1] = cells(text, at)
  end
  table.sort(rows, function(a, b) return a[1] < b[1] end)
  return rows
end

local function cell(text)
  return (text:gsub("[|\\]", "\\%0"))
end

local function row(...)
  return "| " .. table.concat({ ... }, " | ") .. " |\n"
end

-- Lines of 92 characters at the most.
local function wrapped(text)
  local lines, line = {}, nil
  for word in text:gmatch("%S+") do
    if line and #line + #word < 92 then
      line = line .. " " .. word
    else
      lines[#lines + 1], line = line, word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n") .. "\n"
end

---What the README says of the errors, from the first marker to the last.
---@param codes string what codes.def holds
---@return string
function M.errors(codes)
  local out = { BEGIN, row("name", "number", "raised when", "what helps"),
    "|---|---|---|---|\n" }
  local unused = {}
  for _, code in ipairs(M.rows(codes, "LV_CODE")) do
    local name, number, _, when, cure = table.unpack(code)
    if when ~= "" then
      out[#out + 1] = row("`" .. name .. "`", (number:gsub("u$", "")),
        cell(when), cell(cure))
    else
      unused[#unused + 1] = "`" .. name .. "`"
    end
  end
  out[#out + 1] = "\n" .. wrapped("Known by name and number, and never raised: "
    .. table.concat(unused, ", ") .. ".")
  out[#out + 1] = END
  return table.concat(out)
end

local KINDS <const> = { NONE = "", BYTES = "bytes", COUNT = "a number",
  HEX = "a code" }

---The table of findings, a document of its own.
---@param faults string what fault.def holds
---@return string
function M.findings(faults)
  local out = { [[
<!-- SPDX-License-Identifier: MIT -->
<!-- Made by `make reference` of src/base/fault.def: do not edit. -->
# Findings, and the reasons of errors

One vocabulary: the `code` of a finding, which `info`, `chain`, `check` and `repair`
give in `info.findings`, is the `reason` of an error as well. The second column says what
`expected` and `actual` are where they are given; the third is the name that Windows has for
the cause.

| code | numbers | Windows | |
|---|---|---|---|
]] }
  for _, fault in ipairs(M.rows(faults, "LV_FAULT")) do
    local name, windows, kind, text = table.unpack(fault)
    if name ~= "NONE" then
      out[#out + 1] = row("`" .. name .. "`", KINDS[kind],
        windows ~= "" and "`" .. windows .. "`" or "", cell(text))
    end
  end
  return table.concat(out)
end

---The README with the table of errors anew.
---@param readme string
---@param codes string
---@return string
function M.renew(readme, codes)
  local from = assert(readme:find(BEGIN, 1, true), "no table in the README")
  local _, to = readme:find(END, from, true)
  return readme:sub(1, from - 1) .. M.errors(codes) .. readme:sub(to + 1)
end

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  assert(file:write(text))
end

if arg and arg[0] and arg[0]:find("tables%.lua$") then
  write(M.README, M.renew(read(M.README), read(M.CODES)))
  write(M.FINDINGS, M.findings(read(M.FAULTS)))
end

return M
