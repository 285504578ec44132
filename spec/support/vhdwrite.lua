-- SPDX-License-Identifier: MIT
--
-- A writer of VHD files made from the specification alone, with a model of
-- what each must read as.  It lays files out in every way that writers are
-- known to, and some that are merely allowed; one thing can be made wrong at
-- a time.  Uses nothing of lvhd, so that a mistake of lvhd's is not repeated
-- here.
--
--   local root = vhdwrite.new{ size = 4 << 20 }
--   root:put(17, ("x"):rep(512))
--   root:save(dir .. "/root.vhd")
--   local leaf = vhdwrite.new{ parent = root, block_size = 4096 }
--   leaf:save(dir .. "/leaf.vhd")
--   leaf:read(17 * 512, 3)      --> "xxx"

local test = require "lvhdtest"
local vhdread = require "spec.support.vhdread"

local vhdwrite = {}

local SECTOR <const> = 512
local MiB <const> = 1 << 20
local UNUSED <const> = 0xFFFFFFFF
local ZEROS <const> = ("\0"):rep(SECTOR)
local TYPES <const> = { fixed = 2, dynamic = 3, differencing = 4 }
-- Unless a disk says otherwise: its file's time, and its own.
local TIME <const> = 1700000000

---@class vhdwrite.Locator
---@field code string four characters
---@field text string? UTF-8, written as the code asks
---@field raw string? the very bytes, instead of text
---@field space "bytes"|"sectors"|integer|nil how the data space is recorded
---@field length integer? recorded instead of the text's
---@field at integer? recorded and written there, instead of one after another
---@field reserved integer?

---What a disk may be told.  Sizes and places in bytes.
---@class vhdwrite.Options
---@field type "fixed"|"dynamic"|"differencing"|nil by parent, else dynamic
---@field size integer? the parent's
---@field parent vhdwrite.Disk?
---@field uuid string?
---@field timestamp integer? seconds since 1970
---@field mtime integer? of the file
---@field creator string? four bytes
---@field creator_version integer?
---@field creator_os string? four bytes
---@field original_size integer?
---@field features integer?
---@field saved_state integer?
---@field hidden boolean? byte 85
---@field footer "512"|"511"|"none"|"killed"|nil what stands at the end
---@field copy "same"|"none"|nil what stands at 0
---@field tail integer? bytes between the data and the footer
---@field block_size integer?
---@field entries integer? of the BAT, when not as many as needed
---@field padding string? byte behind the BAT
---@field order string[]? of "header", "locators", "bat", "blocks"
---@field room table<string, integer>? bytes left free before one of these
---@field batmap boolean? XenServer's, behind the BAT
---@field gap integer? bytes between blocks
---@field align integer? every block's data on a multiple of it
---@field arrange nil|fun(blocks: integer[]): integer[] the order in the file
---@field locators vhdwrite.Locator[]?
---@field name string|false|nil name field, UTF-8; the parent file's
---@field name_raw string? its very bytes
---@field name_order "<"|">"|nil big-endian
---@field parent_uuid string?
---@field parent_timestamp integer?
---@field edit_footer nil|fun(bytes: string): string before its checksum
---@field edit_header nil|fun(bytes: string): string before its checksum
---@field edit_bat nil|fun(bytes: string): string

---@class vhdwrite.Disk: vhdwrite.Options
---@field path string once it is saved
---@field bat_offset integer once it is saved, as the next two
---@field header_offset integer
---@field places table<integer, integer> block to offset of its bitmap
---@field own table<integer, string> sectors with data
local disk = {}
disk.__index = disk

-- ---- numbers and texts ----------------------------------------------------

local function up(n, to)
  return (n + to - 1) // to * to
end

local function raw_uuid(text)
  local hex = text:gsub("%-", "")
  assert(#hex == 32, "an identifier has 32 digits")
  return (hex:gsub("%x%x", function(h)
    return string.char(tonumber(h, 16))
  end))
end

---UTF-8 to UTF-16.
---@param order "<"|">"
function vhdwrite.utf16(text, order)
  local out = {}
  for _, c in utf8.codes(text) do
    if c < 0x10000 then
      out[#out + 1] = (order .. "I2"):pack(c)
    else
      c = c - 0x10000
      out[#out + 1] = (order .. "I2I2"):pack(0xD800 | c >> 10,
        0xDC00 | c & 0x3FF)
    end
  end
  return table.concat(out)
end

---An identifier that is different for each number.
function vhdwrite.uuid(n)
  return ("%08x-1234-4abc-8def-%012x"):format(n & 0xFFFFFFFF, n >> 32)
end

---A generator of its own (splitmix64), the same in every Lua: below(n) is
---0 .. n-1, pick(list) one of it.
function vhdwrite.random(seed)
  local state = seed
  local random = {}
  function random.below(n)
    state = state + 0x9E3779B97F4A7C15
    local z = state
    z = (z ~ z >> 30) * 0xBF58476D1CE4E5B9
    z = (z ~ z >> 27) * 0x94D049BB133111EB
    z = z ~ z >> 31
    return (z >> 1) % n
  end
  function random.pick(list)
    return list[random.below(#list) + 1]
  end
  function random.chance(percent)
    return random.below(100) < percent
  end
  ---A new list in another order.
  function random.shuffle(list)
    local out = table.move(list, 1, #list, 1, {})
    for i = #out, 2, -1 do
      local j = random.below(i) + 1
      out[i], out[j] = out[j], out[i]
    end
    return out
  end
  return random
end

---A sector that tells who wrote it and where it belongs.
function vhdwrite.pattern(tag, sector)
  return (("%3d:%011d\n"):format(tag % 1000, sector)):rep(SECTOR // 16)
end

-- ---- the model ------------------------------------------------------------

local made = 0

---@param o vhdwrite.Options
---@return vhdwrite.Disk
function vhdwrite.new(o)
  made = made + 1
  ---@type vhdwrite.Disk
  local self = setmetatable({}, disk)
  for k, v in pairs(o) do
    self[k] = v
  end
  local parent = o.parent
  self.type = o.type or parent and "differencing" or "dynamic"
  self.size = o.size or parent.size
  self.uuid = o.uuid or vhdwrite.uuid(0x10000 + made)
  self.block_size = o.block_size
    or parent and parent.type ~= "fixed" and parent.block_size or 2 * MiB
  self.mtime = o.mtime or TIME + 10 * (parent and #parent:chain() or 0)
  self.own, self.under, self.kept = {}, {}, {}
  return self
end

local function sectors_of(bytes)
  assert(#bytes > 0 and #bytes % SECTOR == 0, "whole sectors only")
  return coroutine.wrap(function()
    for i = 0, #bytes // SECTOR - 1 do
      coroutine.yield(i, bytes:sub(i * SECTOR + 1, (i + 1) * SECTOR))
    end
  end)
end

---Writes whole sectors.  Those of a block that lie behind the end of the
---disk may be written too: nobody must ever see them.
function disk:put(sector, bytes)
  for i, data in sectors_of(bytes) do
    self.own[sector + i] = data
  end
  return self
end

---Puts bytes under clear bits: what a differencing disk must not show, and a
---dynamic one must not have.
function disk:hide(sector, bytes)
  for i, data in sectors_of(bytes) do
    self.under[sector + i] = data
  end
  return self
end

---Allocates a block; with `all`, every bit is set, as QEMU does.
function disk:keep(block, all)
  self.kept[block] = true
  if all then
    local per = self.block_size // SECTOR
    for s = block * per, (block + 1) * per - 1 do
      self.own[s] = self.own[s] or ZEROS
    end
  end
  return self
end

---The models of the chain, leaf first.
---@return vhdwrite.Disk[]
function disk:chain()
  local list, at = {}, self
  while at do
    list[#list + 1] = at
    at = at.parent
  end
  return list
end

---Who holds a sector: 1 is this disk; 0: nobody.  And its bytes.
function disk:sector(sector)
  local at, layer = self, 1
  while at and sector * SECTOR < at.size do
    if at.type == "fixed" then
      return layer, at.own[sector] or ZEROS
    elseif at.own[sector] then
      return layer, at.own[sector]
    end
    at, layer = at.parent, layer + 1
  end
  return 0, ZEROS
end

---What the chain reads as, at any byte; nil behind the end, like files.
function disk:read(offset, n)
  if offset >= self.size then
    return nil
  end
  n = math.min(n, self.size - offset)
  local first = offset // SECTOR
  local parts = {}
  for s = first, (offset + n + SECTOR - 1) // SECTOR - 1 do
    parts[#parts + 1] = select(2, self:sector(s))
  end
  local skip = offset - first * SECTOR
  return table.concat(parts):sub(skip + 1, skip + n)
end

-- Every sector where the answer may change.
local function borders(self)
  local seen, list = {}, {}
  local function add(s)
    if s >= 0 and s * SECTOR <= self.size and not seen[s] then
      seen[s] = true
      list[#list + 1] = s
    end
  end
  add(0)
  add(self.size // SECTOR)
  for _, d in ipairs(self:chain()) do
    add(d.size // SECTOR)
    if d.type ~= "fixed" then
      for s in pairs(d.own) do
        add(s)
        add(s + 1)
      end
    end
  end
  table.sort(list)
  return list
end

---The runs of one layer that cover the disk: { offset, length, layer }.
---@return { [1]: integer, [2]: integer, [3]: integer }[]
function disk:extents()
  local list = borders(self)
  local runs = {}
  for i = 1, #list - 1 do
    local layer = self:sector(list[i])
    local length = (list[i + 1] - list[i]) * SECTOR
    local last = runs[#runs]
    if last and last[3] == layer then
      last[2] = last[2] + length
    else
      runs[#runs + 1] = { list[i] * SECTOR, length, layer }
    end
  end
  return runs
end

-- ---- the bytes of the structures ------------------------------------------

local function seal(bytes, at)
  return bytes:sub(1, at) .. (">I4"):pack(vhdread.checksum(bytes, at))
    .. bytes:sub(at + 5)
end

local function epoch(seconds)
  return seconds - vhdread.EPOCH & 0xFFFFFFFF
end

function disk:footer_bytes()
  local c, h, s = vhdread.geometry(self.size // SECTOR)
  local bytes = (">c8I4I4i8I4c4I4c4I8I8I2I1I1I4I4c16I1I1c426"):pack(
    "conectix", self.features or 2, 0x10000,
    self.type == "fixed" and -1 or self.header_offset,
    epoch(self.timestamp or TIME), self.creator or "win ",
    self.creator_version or 0xA0000, self.creator_os or "Wi2k",
    self.original_size or self.size, self.size, c, h, s, TYPES[self.type], 0,
    raw_uuid(self.uuid), self.saved_state or 0, self.hidden and 1 or 0, "")
  return seal(self.edit_footer and self.edit_footer(bytes) or bytes, 64)
end

local function name_bytes(self)
  if self.name_raw then
    return self.name_raw
  elseif self.name == false or not self.parent and not self.name then
    return ""
  end
  return vhdwrite.utf16(self.name or self.parent.path:match("[^/]*$"),
    self.name_order or ">")
end

local function locator_list(self)
  if self.locators then
    return self.locators
  elseif self.type == "differencing" then
    return { { code = "W2ru",
      text = ".\\" .. self.parent.path:match("[^/]*$") } }
  end
  return {}
end

local function locator_raw(l)
  if l.raw then
    return l.raw
  end
  return l.code:sub(1, 2) == "W2" and vhdwrite.utf16(l.text, "<") or l.text
end

local function locator_entry(l)
  local raw = locator_raw(l)
  local space = math.max(SECTOR, up(#raw, SECTOR))
  if l.space == "sectors" then
    space = space // SECTOR
  elseif math.type(l.space) == "integer" then
    space = l.space
  end
  return (">c4I4I4I4I8"):pack(l.code, space, l.length or #raw,
    l.reserved or 0, l.at)
end

function disk:header_bytes()
  local entries = {}
  for i, l in ipairs(self.placed) do
    entries[i] = locator_entry(l)
  end
  local child = self.type == "differencing"
  local parent = self.parent
  local id = self.parent_uuid or parent and parent.uuid
  local time = self.parent_timestamp or parent and parent.mtime
  local bytes = (">c8i8I8I4I4I4I4c16I4I4c512c192c256"):pack("cxsparse", -1,
    self.bat_offset, 0x10000, self.entries, self.block_size, 0,
    child and id and raw_uuid(id) or ("\0"):rep(16),
    child and time and epoch(time) or 0, 0, name_bytes(self),
    table.concat(entries), "")
  return seal(self.edit_header and self.edit_header(bytes) or bytes, 36)
end

-- The bits of one block, and the pieces of its data by offset inside it.
local function block_pieces(self, block)
  local per = self.block_size // SECTOR
  local bits, pieces = {}, {}
  for i = 0, per - 1 do
    local s = block * per + i
    local data = self.own[s]
    if data then
      bits[i >> 3] = (bits[i >> 3] or 0) | 0x80 >> (i & 7)
    end
    data = data or self.under[s]
    if data and data ~= ZEROS then
      pieces[#pieces + 1] = { i * SECTOR, data }
    end
  end
  local map = {}
  for i = 0, self.bitmap_size - 1 do
    map[i + 1] = string.char(bits[i] or 0)
  end
  return table.concat(map), pieces
end

-- ---- the file -------------------------------------------------------------

local function allocated(self)
  local per = self.block_size // SECTOR
  local seen, list = {}, {}
  local function add(block)
    if not seen[block] then
      seen[block] = true
      list[#list + 1] = block
    end
  end
  for s in pairs(self.own) do add(s // per) end
  for s in pairs(self.under) do add(s // per) end
  for b in pairs(self.kept) do add(b) end
  table.sort(list)
  return self.arrange and self.arrange(list) or list
end

-- Each gives the end of what it placed.
local place = {}

function place.header(self, at)
  self.header_offset = at
  return at + 1024
end

function place.locators(self, at)
  self.placed = {}
  for i, l in ipairs(locator_list(self)) do
    local copy = setmetatable({}, { __index = l })
    if not l.at then
      copy.at = at
      at = at + math.max(SECTOR, up(#locator_raw(l), SECTOR))
    end
    self.placed[i] = copy
  end
  return at
end

function place.bat(self, at)
  self.bat_offset = at
  at = at + up(4 * self.entries, SECTOR)
  if self.batmap then
    self.batmap_offset = at
    at = at + SECTOR + up((self.entries + 7) // 8, SECTOR)
  end
  return at
end

function place.blocks(self, at)
  self.places = {}
  local bitmap, align = self.bitmap_size, self.align or SECTOR
  for _, block in ipairs(allocated(self)) do
    at = up(at + bitmap, align) - bitmap
    self.places[block] = at
    at = at + bitmap + self.block_size + (self.gap or 0)
  end
  return at
end

local function put_bat(self, put)
  local bat = {}
  for i = 0, self.entries - 1 do
    local at = self.places[i]
    bat[i + 1] = (">I4"):pack(at and at // SECTOR or UNUSED)
  end
  bat = table.concat(bat)
  bat = bat .. (self.padding or "\xFF"):rep(up(#bat, SECTOR) - #bat)
  put(self.bat_offset, self.edit_bat and self.edit_bat(bat) or bat)
end

-- A bit of the batmap says that every sector of the block is there.
local function put_batmap(self, put)
  local per = self.block_size // SECTOR
  local bytes, sum = {}, 0
  for i = 1, up((self.entries + 7) // 8, SECTOR) do bytes[i] = 0 end
  for block in pairs(self.places) do
    local full = true
    for s = block * per, (block + 1) * per - 1 do
      full = full and self.own[s] ~= nil
    end
    if full then
      bytes[block // 8 + 1] = bytes[block // 8 + 1] | 0x80 >> block % 8
    end
  end
  for i, b in ipairs(bytes) do
    sum = sum + b
    bytes[i] = string.char(b)
  end
  put(self.batmap_offset, (">c8I8I4I4I4c484"):pack("tdbatmap",
    self.batmap_offset + SECTOR, #bytes // SECTOR, 0x10002,
    ~sum & 0xFFFFFFFF, ""))
  put(self.batmap_offset + SECTOR, table.concat(bytes))
end

-- Places everything; the end of it.
local function lay_out(self)
  local needed = up(self.size, self.block_size) // self.block_size
  self.entries = self.entries or needed
  self.bitmap_size = up(up(self.block_size // SECTOR, 8) // 8, SECTOR)
  local at = SECTOR
  for _, what in ipairs(self.order
    or { "header", "locators", "bat", "blocks" }) do
    at = place[what](self, at + (self.room and self.room[what] or 0))
  end
  return at + (self.tail or 0)
end

local function put_table(self, put)
  put(self.header_offset, self:header_bytes())
  for _, l in ipairs(self.placed) do
    put(l.at, locator_raw(l))
  end
  put_bat(self, put)
  if self.batmap then
    put_batmap(self, put)
  end
  for block, at in pairs(self.places) do
    local map, pieces = block_pieces(self, block)
    put(at, map)
    for _, piece in ipairs(pieces) do
      put(at + self.bitmap_size + piece[1], piece[2])
    end
  end
end

local function put_footers(self, put, footer, at)
  if self.type ~= "fixed" then
    put(0, self.copy == "none" and ZEROS or footer)
  end
  local kind = self.footer or "512"
  if kind == "512" then
    put(at, footer)
  elseif kind == "511" then
    put(at, footer:sub(1, 511))
  elseif kind == "killed" then
    put(at, ("\xC7"):rep(SECTOR))
  end
end

---Writes the file.  The parent must be saved already, unless the options say
---all that is recorded of it.
---@return string path
function disk:save(path)
  self.path = path
  local at = self.type == "fixed" and self.size or lay_out(self)
  local footer = self:footer_bytes()
  local file <close> = assert(io.open(path, "wb"))
  local function put(offset, bytes)
    assert(file:seek("set", offset))
    assert(file:write(bytes))
  end
  put(at - 1, "\0") -- so long at the least; what is not written is a hole
  if self.type == "fixed" then
    for s, data in pairs(self.own) do
      put(s * SECTOR, data)
    end
  else
    put_table(self, put)
  end
  put_footers(self, put, footer, at)
  assert(file:close())
  assert(test.utime(path, self.mtime))
  return path
end

return vhdwrite
