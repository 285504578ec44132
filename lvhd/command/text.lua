-- SPDX-License-Identifier: MIT
--
-- Sizes, names and tables as people read them. Knows nothing of disks.

local text = {}

local UNITS <const> = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" }

---"1.5 GiB"; exact where the number is, else with three digits.
---@param bytes integer|number
---@return string
function text.size(bytes)
  local value, unit = bytes, "B"
  for _, name in ipairs(UNITS) do
    if value < 1024 then
      break
    end
    value, unit = value / 1024, name
  end
  local whole = math.tointeger(value)
  if whole then
    return ("%d %s"):format(whole, unit)
  end
  return ("%." .. (value < 10 and 2 or value < 100 and 1 or 0) .. "f %s")
    :format(value, unit)
end

---One line that no terminal obeys: control characters become \xNN.
---@param s string
---@return string
function text.plain(s)
  return (s:gsub("[%c\127]", function(c)
    return ("\\x%02X"):format(c:byte())
  end):gsub("\xC2([\x80-\x9F])", function(c)
    return ("\\xC2\\x%02X"):format(c:byte())
  end):gsub("\xE2\x80([\xA8-\xAE])", function(c)
    return ("\\xE2\\x80\\x%02X"):format(c:byte())
  end):gsub("\xE2\x81([\xA6-\xA9])", function(c)
    return ("\\xE2\\x81\\x%02X"):format(c:byte())
  end))
end

---Valid UTF-8: what is none becomes U+FFFD.
---@param s string
---@return string
function text.utf8(s)
  local out, at = {}, 1
  while true do
    local ok, bad = utf8.len(s, at)
    if ok then
      out[#out + 1] = s:sub(at)
      return table.concat(out)
    end
    out[#out + 1] = s:sub(at, bad - 1) .. "\u{FFFD}"
    at = bad + 1
  end
end

local function width(s)
  return utf8.len(s) or #s
end

---Rows of cells as lines; a column of numbers stands to the right.
---@param rows string[][] the first is the head
---@param right table<integer, boolean>? columns
---@return string
function text.columns(rows, right)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      widths[i] = math.max(widths[i] or 0, width(cell))
    end
  end
  local lines = {}
  for _, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      local pad = (" "):rep(widths[i] - width(cell))
      cells[i] = right and right[i] and pad .. cell
        or i < #row and cell .. pad or cell
    end
    lines[#lines + 1] = table.concat(cells, "  ")
  end
  return table.concat(lines, "\n")
end

---"2026-01-31 12:00:00 UTC"; the number where no calendar has it.
---@param seconds integer since 1970
---@return string
function text.time(seconds)
  local ok, words = pcall(os.date, "!%Y-%m-%d %H:%M:%S UTC", seconds)
  return ok and words or tostring(seconds)
end

return text
