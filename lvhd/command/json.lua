-- SPDX-License-Identifier: MIT
--
-- JSON, one way: values of Lua as one line of text. What is no UTF-8 becomes
-- U+FFFD, as JSON has nothing else for it; fields named `raw` are bytes, in hex.

local plain = require "lvhd.command.text"

local json = {}

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n",
  ["\r"] = "\\r", ["\t"] = "\\t" }

local function quoted(text)
  if not utf8.len(text) then
    text = plain.utf8(text)
  end
  return '"' .. text:gsub('[%c"\\\127]', function(c)
    return escapes[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

-- An empty list is a list: json.list marks it, or its name tells.
local LIST = {}
local LISTS <const> = { findings = true, locators = true, others = true,
  layers = true, items = true, images = true, chain = true }
---The table as a list, even when it is empty.
function json.list(t)
  return setmetatable(t, LIST)
end

local encode

local function array(t)
  local out = {}
  for i = 1, #t do
    out[i] = encode(t[i])
  end
  return "[" .. table.concat(out, ",") .. "]"
end

-- Bytes that need be no text.
local function hex(bytes)
  return '"' .. tostring(bytes):gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end) .. '"'
end

local function object(t)
  local names, out = {}, {}
  for name in pairs(t) do
    names[#names + 1] = tostring(name)
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local value = t[name]
    out[i] = quoted(name) .. ":" .. (name == "raw" and hex(value)
      or LISTS[name] and type(value) == "table" and array(value)
      or encode(value))
  end
  return "{" .. table.concat(out, ",") .. "}"
end

function encode(value)
  local kind = type(value)
  if kind == "string" then
    return quoted(value)
  elseif math.type(value) == "float" then
    return ("%.6g"):format(value)
  elseif kind == "table" then
    if getmetatable(value) == LIST or value[1] ~= nil then
      return array(value)
    end
    return object(value)
  end
  return tostring(value)
end

---The value as JSON, without a newline. Names are sorted.
---@param value any strings, numbers, booleans, lists and tables of these
---@return string
json.encode = encode

return json
