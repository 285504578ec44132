-- SPDX-License-Identifier: MIT
--
-- A second opinion on formatted disks: the partition table and the boot
-- sector, read from the specification alone, and partitions as files of their
-- own for fsck.fat.  Uses nothing of lvhd.

local support = require "spec.support"
local vhdread = require "spec.support.vhdread"

local fat = {}

local SECTOR <const> = 512
local q = support.q

---A file of a fixed disk as a function(offset, length).
---@return fun(offset: integer, length: integer): string
function fat.fixed(path)
  return function(offset, length)
    return vhdread.bytes(path, offset, length)
  end
end

---Which sectors of a dynamic disk are there, by its BAT and bitmaps, and what
---is in them.
---@return table<integer, string> sectors by number
function fat.sectors(path)
  local disk = vhdread.open(path)
  local file <close> = assert(io.open(path, "rb"))
  local per_block = disk.header.block_size // SECTOR
  local out = {}
  local function bytes(at, n)
    file:seek("set", at)
    return file:read(n)
  end
  for block = 0, disk.header.entries - 1 do
    local entry = string.unpack(">I4", disk.bat, 4 * block + 1)
    if entry ~= 0xFFFFFFFF then
      local bits = bytes(entry * SECTOR, disk.bitmap_size)
      for at in bits:gmatch("()[^\0]") do
        for bit = 0, 7 do
          local inside = (at - 1) * 8 + bit
          if bits:byte(at) & 0x80 >> bit ~= 0 then
            out[block * per_block + inside] = bytes(entry * SECTOR
              + disk.bitmap_size + inside * SECTOR, SECTOR)
          end
        end
      end
    end
  end
  return out
end

---What the partition table and the boot sector say.
---@param read fun(offset: integer, length: integer): string
function fat.volume(read)
  local mbr = read(0, SECTOR)
  local v = {}
  assert(mbr:sub(511) == "\x55\xAA", "no partition table")
  assert(mbr:sub(463, 510) == ("\0"):rep(48), "more than one partition")
  v.signature = string.unpack("<I4", mbr, 441)
  v.type = mbr:byte(451)
  v.start, v.count = string.unpack("<I4I4", mbr, 455)
  local boot = read(v.start * SECTOR, SECTOR)
  assert(boot:sub(511) == "\x55\xAA", "no boot sector")
  local sector, short, small, tables
  sector, v.per_cluster, v.reserved, tables, v.root_entries, short =
    string.unpack("<I2I1I2I1I2I2", boot, 12)
  assert(sector == SECTOR and tables == 2)
  small = string.unpack("<I2", boot, 23)
  v.hidden, v.total = string.unpack("<I4I4", boot, 29)
  v.total = short ~= 0 and short or v.total
  v.kind = small ~= 0 and "fat16" or "fat32"
  v.table = small ~= 0 and small or string.unpack("<I4", boot, 37)
  local at = v.kind == "fat16" and 36 or 64
  v.serial = string.unpack("<I4", boot, at + 4)
  v.label = boot:sub(at + 8, at + 18)
  v.name = boot:sub(at + 19, at + 26)
  v.root = v.reserved + 2 * v.table -- sectors in the partition, as this:
  v.data = v.root + v.root_entries * 32 // SECTOR
  v.clusters = (v.total - v.data) // v.per_cluster
  v.entry = read((v.start + v.root) * SECTOR, SECTOR):sub(1, 32)
  return v
end

---The sectors of a new disk that are not zero, in order.
---@return integer[]
function fat.expected(v)
  local out = { 0 }
  local inside = v.kind == "fat16" and { 0 } or { 0, 1, 2, 6, 7, 8 }
  inside[#inside + 1] = v.reserved
  inside[#inside + 1] = v.reserved + v.table
  if v.entry:byte(1) ~= 0 then
    inside[#inside + 1] = v.root
  end
  for _, at in ipairs(inside) do
    out[#out + 1] = v.start + at
  end
  return out
end

local function sparse(path, v, fill)
  local file <close> = assert(io.open(path, "wb"))
  file:seek("set", v.count * SECTOR - 1) -- zero, as all of a new disk's end
  assert(file:write("\0"))
  fill(function(at, bytes)
    file:seek("set", at * SECTOR)
    assert(file:write(bytes))
  end)
  return path
end

---The whole partition of a dynamic disk, from what fat.sectors gave.
function fat.partition(sectors, v, path)
  return sparse(path, v, function(put)
    for sector, bytes in pairs(sectors) do
      if sector >= v.start then
        put(sector - v.start, bytes)
      end
    end
  end)
end

---The same of a fixed disk that holds a few small files: the start of each
---area, the rest is zeros.
function fat.starts(read, v, path)
  return sparse(path, v, function(put)
    for _, area in ipairs { { 0, v.reserved }, { v.reserved, 2 },
      { v.reserved + v.table, 2 }, { v.root, v.data - v.root },
      { v.data, 8 * v.per_cluster } } do
      if area[2] > 0 then
        put(area[1], read((v.start + area[1]) * SECTOR, area[2] * SECTOR))
      end
    end
  end)
end

---fsck.fat has nothing to say but how much is used.
---@return integer used, integer clusters
function fat.fsck(path)
  local said = support.run("PATH=$PATH:/usr/sbin:/sbin fsck.fat -n " .. q(path))
  local used, clusters = said:match("^fsck%.fat [^\n]*\n[^\n]*: "
    .. "%d+ files, (%d+)/(%d+) clusters\n$")
  if not used then
    error("fsck.fat said: " .. said, 2)
  end
  return math.tointeger(used), math.tointeger(clusters)
end

---A shell word for mtools: the volume in a file at an offset.
function fat.at(path, v)
  return q(("%s@@%d"):format(path, v.start * SECTOR))
end

return fat
