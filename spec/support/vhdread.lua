-- SPDX-License-Identifier: MIT
--
-- A second opinion on VHD files: a reader, and a writer of single sectors,
-- made from the specification alone.  Uses nothing of lvhd, so that a
-- mistake of lvhd's is not repeated here.

local vhdread = {}

local SECTOR = 512
local UNUSED = 0xFFFFFFFF
vhdread.EPOCH = 946684800 -- 2000-01-01 00:00:00 UTC, in seconds since 1970
vhdread.ONES = -1         -- 64 bits of ones, as string.unpack gives them

---The complement of the byte sum, the four bytes behind `at` taken as 0.
---@param bytes string
---@param at integer offset of the stored checksum
---@return integer
function vhdread.checksum(bytes, at)
  local sum = 0
  for i = 1, #bytes do
    if i <= at or i > at + 4 then
      sum = sum + bytes:byte(i)
    end
  end
  return ~sum & 0xFFFFFFFF
end

---Cylinders, heads, sectors per track, as the specification computes them.
---@param total integer sectors
---@return integer, integer, integer
function vhdread.geometry(total)
  total = math.min(total, 65535 * 16 * 255)
  if total >= 65535 * 16 * 63 then
    return total // 255 // 16, 16, 255
  end
  local spt = 17
  local tracks = total // spt
  local heads = math.max(4, (tracks + 1023) // 1024)
  if tracks >= heads * 1024 or heads > 16 then
    spt, heads = 31, 16
    tracks = total // spt
  end
  if tracks >= heads * 1024 then
    spt, heads = 63, 16
    tracks = total // spt
  end
  return tracks // heads, heads, spt
end

---16 bytes as text, in the order they stand.
function vhdread.uuid(bytes)
  local hex = bytes:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end)
  return (hex:gsub("^(........)(....)(....)(....)", "%1-%2-%3-%4-"))
end

---UTF-16 to UTF-8.
---@param bytes string
---@param order "<"|">" little or big-endian
---@return string
function vhdread.utf16(bytes, order)
  local out, at = {}, 1
  assert(#bytes % 2 == 0, "odd length")
  while at < #bytes do
    local unit
    unit, at = string.unpack(order .. "I2", bytes, at)
    if unit >= 0xD800 and unit <= 0xDBFF then
      local low
      low, at = string.unpack(order .. "I2", bytes, at)
      assert(low >= 0xDC00 and low <= 0xDFFF, "unpaired surrogate")
      unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
    end
    assert(unit < 0xD800 or unit > 0xDFFF, "unpaired surrogate")
    out[#out + 1] = utf8.char(unit)
  end
  return table.concat(out)
end

---The fields of a footer; nothing is checked.
---@param bytes string 512 bytes
function vhdread.footer(bytes)
  local f = { bytes = bytes }
  f.cookie, f.features, f.version, f.data_offset, f.timestamp, f.creator,
    f.creator_version, f.creator_os, f.original_size, f.current_size,
    f.cylinders, f.heads, f.sectors, f.type, f.checksum, f.uuid,
    f.saved_state, f.reserved =
    string.unpack(">c8I4I4i8I4c4I4c4I8I8I2I1I1I4I4c16I1c427", bytes)
  return f
end

---The fields of a dynamic header with its locators; nothing is checked.
---@param bytes string 1024 bytes
function vhdread.header(bytes)
  local h = { bytes = bytes }
  local locators
  h.cookie, h.data_offset, h.table_offset, h.version, h.entries,
    h.block_size, h.checksum, h.parent_uuid, h.parent_timestamp, h.reserved1,
    h.parent_name, locators, h.reserved2 =
    string.unpack(">c8i8I8I4I4I4I4c16I4I4c512c192c256", bytes)
  h.locators = {}
  for i = 1, 8 do
    local l = {}
    l.code, l.space, l.length, l.reserved, l.offset =
      string.unpack(">c4I4I4I4I8", locators, 24 * (i - 1) + 1)
    h.locators[i] = l
  end
  return h
end

local function at(file, offset, length)
  assert(file:seek("set", offset))
  local bytes = length == 0 and "" or file:read(length)
  assert(bytes and #bytes == length, "the file is too short")
  return bytes
end

---Length of a file in bytes.
function vhdread.length(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:seek("end")
end

---Some bytes of a file.
function vhdread.bytes(path, offset, length)
  local file <close> = assert(io.open(path, "rb"))
  return at(file, offset, length)
end

---Reads all that is not guest data: footer, copy, header, locator texts, BAT.
---@param path string
function vhdread.open(path)
  local file <close> = assert(io.open(path, "rb"))
  local disk = { path = path, length = file:seek("end") }
  disk.footer = vhdread.footer(at(file, disk.length - SECTOR, SECTOR))
  disk.size = disk.footer.current_size
  if disk.footer.type == 2 then
    return disk
  end
  disk.copy = at(file, 0, SECTOR)
  local h = vhdread.header(at(file, disk.footer.data_offset, 1024))
  disk.header = h
  for _, l in ipairs(h.locators) do
    if l.code ~= "\0\0\0\0" then
      l.raw = at(file, l.offset, l.length)
      l.text = l.code:sub(1, 2) == "W2" and vhdread.utf16(l.raw, "<")
        or l.raw
    end
  end
  local bitmap = (h.block_size // SECTOR + 7) // 8
  disk.bitmap_size = (bitmap + SECTOR - 1) // SECTOR * SECTOR
  disk.bat = at(file, h.table_offset, 4 * h.entries)
  return disk
end

---The offset of a block in the file, or nil.
local function block_offset(disk, block)
  local sector = string.unpack(">I4", disk.bat, 4 * block + 1)
  return sector ~= UNUSED and sector * SECTOR or nil
end

local function read_sector(chain, files, sector)
  for i, disk in ipairs(chain) do
    if disk.footer.type == 2 then
      return at(files[i], sector * SECTOR, SECTOR)
    end
    local per_block = disk.header.block_size // SECTOR
    local offset = block_offset(disk, sector // per_block)
    local inside = sector % per_block
    if offset then
      local byte = at(files[i], offset + inside // 8, 1):byte()
      if byte & (0x80 >> (inside % 8)) ~= 0 then
        return at(files[i], offset + disk.bitmap_size + inside * SECTOR,
          SECTOR)
      end
    end
  end
  return ("\0"):rep(SECTOR)
end

---The paths of a chain whose files lie in one folder, by the names that the
---children record.
---@param path string the leaf
---@return string[]
function vhdread.chain(path)
  local paths = { path }
  local disk = vhdread.open(path)
  while disk.footer.type == 4 do
    local name = vhdread.utf16(disk.header.parent_name, ">"):gsub("\0+$", "")
    path = path:match("^(.*/)") .. name
    assert(#paths < 100, "the chain does not end")
    paths[#paths + 1] = path
    local parent = vhdread.open(path)
    assert(parent.footer.uuid == disk.header.parent_uuid, "another parent")
    disk = parent
  end
  return paths
end

---What the guest sees, read sector by sector: for small ranges.
---@param paths string[] the chain, leaf first
---@param offset integer a multiple of 512
---@param length integer a multiple of 512
---@return string
function vhdread.content(paths, offset, length)
  local chain, files, out = {}, {}, {}
  for i, path in ipairs(paths) do
    chain[i] = vhdread.open(path)
    files[i] = assert(io.open(path, "rb"))
  end
  for sector = offset // SECTOR, (offset + length) // SECTOR - 1 do
    out[#out + 1] = read_sector(chain, files, sector)
  end
  for _, file in ipairs(files) do
    file:close()
  end
  return table.concat(out)
end

-- What lies where: nothing over anything else, all of it before the footer.
local function misplaced(disk)
  local h = disk.header
  local parts = { { 0, SECTOR, "the copy" },
    { disk.footer.data_offset, 1024, "the header" },
    { h.table_offset, 4 * h.entries, "the BAT" } }
  for block = 0, h.entries - 1 do
    local offset = block_offset(disk, block)
    if offset then
      parts[#parts + 1] = { offset, disk.bitmap_size + h.block_size,
        "block " .. block }
    end
  end
  table.sort(parts, function(a, b) return a[1] < b[1] end)
  local free = 0
  for _, part in ipairs(parts) do
    if part[1] < free then
      return ("%s at %d, over what ends at %d"):format(part[3], part[1], free)
    end
    free = part[1] + part[2]
  end
  if free > disk.length - SECTOR then
    return ("something ends at %d, behind the footer"):format(free)
  end
end

local function doubt_header(disk)
  local f, h = disk.footer, disk.header
  if disk.copy ~= f.bytes then
    return "the copy of the footer differs"
  elseif h.cookie ~= "cxsparse" or h.version ~= 0x10000
    or h.checksum ~= vhdread.checksum(h.bytes, 36) then
    return "the header is damaged"
  elseif h.entries * h.block_size < f.current_size then
    return "the BAT is too short"
  end
  return misplaced(disk)
end

---What is wrong with the structures of a file that somebody has just made, by
---the letter of the specification; nil: nothing.
---@param path string
---@return string?
function vhdread.doubt(path)
  local ok, disk = pcall(vhdread.open, path)
  if not ok then
    return tostring(disk)
  end
  local f = disk.footer
  if f.cookie ~= "conectix" or f.checksum ~= vhdread.checksum(f.bytes, 64) then
    return "the footer is damaged"
  elseif f.type < 2 or f.type > 4 or f.current_size % SECTOR ~= 0 then
    return ("type %d, size %d"):format(f.type, f.current_size)
  elseif f.type == 2 then
    return disk.length ~= disk.size + SECTOR
      and ("%d bytes of a disk of %d"):format(disk.length, disk.size) or nil
  end
  return doubt_header(disk)
end

---Writes one sector into a dynamic or differencing disk, as a virtual
---machine's host would: a new block goes where the footer stands, and the
---footer behind it.
---@param path string
---@param sector integer
---@param bytes string 512 bytes
function vhdread.put_sector(path, sector, bytes)
  assert(#bytes == SECTOR)
  local disk = vhdread.open(path)
  local h = disk.header
  local file <close> = assert(io.open(path, "r+b"))
  local function put(offset, data)
    assert(file:seek("set", offset))
    assert(file:write(data))
  end
  local block = sector // (h.block_size // SECTOR)
  local inside = sector % (h.block_size // SECTOR)
  local offset = block_offset(disk, block)
  if not offset then
    offset = disk.length - SECTOR
    put(offset, ("\0"):rep(disk.bitmap_size + h.block_size))
    put(offset + disk.bitmap_size + h.block_size, disk.footer.bytes)
    put(h.table_offset + 4 * block, (">I4"):pack(offset // SECTOR))
    file:flush()
  end
  put(offset + disk.bitmap_size + inside * SECTOR, bytes)
  local byte = at(file, offset + inside // 8, 1):byte()
  put(offset + inside // 8, string.char(byte | 0x80 >> (inside % 8)))
end

return vhdread
