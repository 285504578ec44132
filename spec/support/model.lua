-- SPDX-License-Identifier: MIT
--
-- What disks read as, kept in memory: contents that are changed by making
-- new ones, so that a child costs nothing, and a family of disks, parents
-- and children, with what each may be asked. Knows neither lvhd nor the
-- format: a disk here is its content, never layers and blocks, so that a
-- mistake in those cannot be made twice.
--
--   local c = model.zeros(5 << 20)
--   local d = c:write(1000, "abc")        -- c is as it was
--   d:difference(function(offset, n) return disk:read(offset, n) end)

local model = {}

local PIECE <const> = 1 << 16

-- ---- contents ---------------------------------------------------------------

---@class model.Content
---@field size integer bytes
---@field [integer] string pieces of 64 KiB, the last one may be shorter; only
---those that are not all zeros
local content = {}
content.__index = content

local zero_strings = {}

local function zeros(n)
  local s = zero_strings[n]
  if not s then
    s = ("\0"):rep(n)
    zero_strings[n] = s
  end
  return s
end

---All zeros.
---@return model.Content
function model.zeros(size)
  return setmetatable({ size = size }, content)
end

local function length_of(self, i)
  return math.min(PIECE, self.size - (i - 1) * PIECE)
end

local function count(self)
  return (self.size + PIECE - 1) // PIECE
end

local function piece(self, i)
  return self[i] or zeros(length_of(self, i))
end

local function copy(self, size)
  local out = model.zeros(size or self.size)
  for i = 1, count(out) do
    out[i] = self[i]
  end
  return out
end

local function put(self, i, bytes)
  self[i] = bytes:find("[^\0]") and bytes or nil
end

---A new content with these bytes at this place, which must be inside.
function content:write(offset, bytes)
  assert(offset >= 0 and offset + #bytes <= self.size)
  local out = copy(self)
  local at = 0
  while at < #bytes do
    local i = (offset + at) // PIECE + 1
    local skip = offset + at - (i - 1) * PIECE
    local n = math.min(#bytes - at, length_of(self, i) - skip)
    local old = piece(self, i)
    put(out, i, old:sub(1, skip) .. bytes:sub(at + 1, at + n)
      .. old:sub(skip + n + 1))
    at = at + n
  end
  return out
end

---What is there, up to the end.
function content:read(offset, n)
  local parts = {}
  local stop = math.min(offset + n, self.size)
  while offset < stop do
    local i = offset // PIECE + 1
    local skip = offset - (i - 1) * PIECE
    local part = piece(self, i):sub(skip + 1, skip + stop - offset)
    parts[#parts + 1] = part
    offset = offset + #part
  end
  return table.concat(parts)
end

---A new content, cut or followed by zeros.
function content:resized(size)
  local out = copy(self, size)
  for i = math.max(1, math.min(count(self), count(out))), count(out) do
    local n = length_of(out, i)
    local bytes = i <= count(self) and piece(self, i):sub(1, n) or ""
    put(out, i, bytes .. zeros(n - #bytes))
  end
  return out
end

---Offset of the last byte that is not zero; nil: there is none.
function content:last()
  for i = count(self), 1, -1 do
    if self[i] then
      return (i - 1) * PIECE + #self[i]:match("^(.*[^\0])") - 1
    end
  end
end

---Writes it into a file, zeros as holes.
function content:save(path)
  local file = assert(io.open(path, "wb"))
  local last = count(self)
  for i = 1, last do
    if self[i] or i == last then
      assert(file:seek("set", (i - 1) * PIECE))
      assert(file:write(piece(self, i)))
    end
  end
  assert(file:close())
end

-- Where two strings differ first, from 1; nil: they are the same.
local function mismatch(a, b)
  if a == b then
    return nil
  end
  for i = 1, math.max(#a, #b) do
    if a:byte(i) ~= b:byte(i) then
      return i
    end
  end
end

---What differs first from what `read` gives, in words; nil: nothing.
---@param read fun(offset: integer, n: integer): string|nil
function content:difference(read)
  for i = 1, count(self) do
    local offset = (i - 1) * PIECE
    local want = piece(self, i)
    local got = read(offset, PIECE) or ""
    local at = mismatch(want, got)
    if at then
      return ("byte %d (sector %d): %q instead of %q, size %d"):format(
        offset + at - 1, (offset + at - 1) // 512, got:sub(at, at + 11),
        want:sub(at, at + 11), self.size)
    end
  end
  if (read(self.size, 1) or "") ~= "" then
    return ("goes on behind %d bytes"):format(self.size)
  end
end

-- ---- families ---------------------------------------------------------------

---@class model.Disk
---@field path string
---@field type "fixed"|"dynamic"|"differencing"
---@field content model.Content
---@field parent model.Disk?
---@field block_size integer?

---@class model.Family
---@field disks model.Disk[] in the order of their making
local family = {}
family.__index = family

---@return model.Family
function model.family()
  return setmetatable({ disks = {} }, family)
end

---@param disk model.Disk
function family:add(disk)
  self.disks[#self.disks + 1] = disk
  return disk
end

function family:remove(disk)
  for i, other in ipairs(self.disks) do
    if other == disk then
      table.remove(self.disks, i)
      return
    end
  end
  error("no such disk: " .. disk.path)
end

---The disks that read from this one directly.
---@return model.Disk[]
function family:children(disk)
  local list = {}
  for _, other in ipairs(self.disks) do
    if other.parent == disk then
      list[#list + 1] = other
    end
  end
  return list
end

---The disks for which it holds.
---@param is fun(disk: model.Disk): any
---@return model.Disk[]
function family:those(is)
  local list = {}
  for _, disk in ipairs(self.disks) do
    if is(disk) then
      list[#list + 1] = disk
    end
  end
  return list
end

---Nobody reads from it.
function family:is_leaf(disk)
  return #self:children(disk) == 0
end

---The disk itself first, its root last.
---@return model.Disk[]
function family.chain(disk)
  local list = {}
  while disk do
    list[#list + 1] = disk
    disk = disk.parent
  end
  return list
end

---The disk and all that read from it, however far, parents first.
---@return model.Disk[]
function family:below(disk)
  local list = { disk }
  local i = 1
  while list[i] do
    table.move(self:children(list[i]), 1, #self:children(list[i]), #list + 1,
      list)
    i = i + 1
  end
  return list
end

return model
