-- SPDX-License-Identifier: MIT
--
-- Sizes as people write them: 42949672960, "40 GiB", "3MB". K, M, G and T
-- are powers of 1024, as the documented API counts, with or without B or iB.

local M = {}

local shifts = { [""] = 0, B = 0 }
for i, letter in ipairs { "K", "M", "G", "T" } do
  for _, unit in ipairs { letter, letter .. "B", letter .. "IB" } do
    shifts[unit] = 10 * i
  end
end

---Reads a size.
---@param size integer|number|string bytes, or a number with a unit
---@return integer|nil bytes nil: it cannot be read, or is no whole number
function M.parse(size)
  if math.type(size) == "integer" then
    return size
  elseif math.type(size) == "float" then
    return size >= 2.0 ^ 63 and math.maxinteger - 511 or math.tointeger(size)
  end
  local number, unit = size:match("^%s*([+-]?%d+%.?%d*)%s*(%a*)%s*$")
  if not number then
    return nil
  end
  local shift = shifts[unit:upper()]
  local value = math.tointeger(number) or tonumber(number)
  if not shift or not value then
    return nil
  elseif math.type(value) == "integer"
    and math.abs(value) <= (math.maxinteger >> shift) then
    return value * (1 << shift)
  end
  local bytes = value * 2.0 ^ shift
  if bytes >= 2.0 ^ 63 then
    return math.maxinteger - 511 -- too large, and a multiple of 512
  end
  return math.tointeger(bytes)
end

---What was probably meant by a small number.
---@param size any as it was given
---@return string|nil hint
function M.hint(size)
  local bytes = math.type(size) and math.tointeger(size)
  if bytes and bytes > 0 and bytes < 1 << 20 then
    return ('did you mean "%d MiB"?'):format(bytes)
  end
  return nil
end

return M
