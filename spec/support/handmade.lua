-- SPDX-License-Identifier: MIT
--
-- VHD files made by hand, byte by byte from the specification, so that a
-- spec can have a parent of any size, or with one thing wrong.  Knows the
-- format, not lvhd: two hands must come to the same bytes.

local support = require "spec.support"

local handmade = {}

local MiB <const> = 1 << 20
handmade.uuid = "00112233445566778899aabbccddeeff"

local function checksum(bytes, at)
  local sum = 0
  for i = 1, #bytes do
    if i <= at or i > at + 4 then
      sum = sum + bytes:byte(i)
    end
  end
  return ~sum & 0xFFFFFFFF
end

---Puts `value` (bytes) at offset `at` (from 0).
function handmade.patch(bytes, at, value)
  return bytes:sub(1, at) .. value .. bytes:sub(at + #value + 1)
end

local function seal(bytes, at)
  return handmade.patch(bytes, at, string.pack(">I4", checksum(bytes, at)))
end

local function geometry(sectors)
  local spt, heads, cth
  sectors = math.min(sectors, 65535 * 16 * 255)
  if sectors >= 65535 * 16 * 63 then
    spt, heads, cth = 255, 16, sectors // 255
  else
    spt, cth = 17, sectors // 17
    heads = math.max(4, (cth + 1023) // 1024)
    if cth >= heads * 1024 or heads > 16 then
      spt, heads, cth = 31, 16, sectors // 31
    end
    if cth >= heads * 1024 then
      spt, heads, cth = 63, 16, sectors // 63
    end
  end
  return string.pack(">I2BB", cth // heads, heads, spt)
end

local function raw(uuid)
  return (uuid:gsub("%X", ""):gsub("%x%x", function(h)
    return string.char(tonumber(h, 16))
  end))
end

---A footer.  f: type, size, uuid, timestamp, version, features, hidden.
---`edit(bytes)` may spoil it before the checksum, `spoil(bytes)` after.
function handmade.footer(f)
  local bytes = "conectix"
    .. string.pack(">I4I4I8I4", f.features or 2, f.version or 0x10000,
      f.type == 2 and -1 & 0xFFFFFFFFFFFFFFFF or f.data_offset or 512,
      f.timestamp or 0)
    .. "win \0\x0A\0\0Wi2k"
    .. string.pack(">I8I8", f.size, f.size)
    .. geometry(f.size // 512)
    .. string.pack(">I4I4", f.type, 0)
    .. raw(f.uuid or handmade.uuid) .. "\0"
  bytes = bytes .. ("\0"):rep(512 - #bytes)
  bytes = seal(f.edit and f.edit(bytes) or bytes, 64)
  return f.spoil and f.spoil(bytes) or bytes
end

---A dynamic header.  h: entries, block_size, table_offset; edit, spoil.
function handmade.header(h)
  local bytes = "cxsparse"
    .. string.pack(">I8I8I4I4I4I4", -1, h.table_offset or 1536,
      h.version or 0x10000, h.entries, h.block_size or 2 * MiB, 0)
  bytes = bytes .. ("\0"):rep(1024 - #bytes)
  bytes = seal(h.edit and h.edit(bytes) or bytes, 36)
  return h.spoil and h.spoil(bytes) or bytes
end

---Writes a fixed disk: a hole, then the footer.
---@param f table|nil fields of the footer; footer_size = 511 cuts it
function handmade.fixed(path, size, f)
  f = f or {}
  f.type, f.size = f.type or 2, size
  local file = assert(io.open(path, "wb"))
  assert(file:seek("set", f.length or size))
  assert(file:write(handmade.footer(f):sub(1, f.footer_size or 512)))
  assert(file:close())
  return path
end

---Writes an empty dynamic disk.
---@param f table|nil fields of the footer; header = fields of the header
function handmade.dynamic(path, size, f)
  f = f or {}
  local h = f.header or {}
  f.type, f.size = f.type or 3, size
  local block = h.block_size or 2 * MiB
  h.entries = h.entries or (size + block - 1) // block
  local real = (size + 2 * MiB - 1) // (2 * MiB)
  local footer = handmade.footer(f)
  local bat = ("\xFF"):rep((real * 4 + 511) // 512 * 512)
  support.write(path, footer .. handmade.header(h) .. bat
    .. footer:sub(1, f.footer_size or 512))
  return path
end

return handmade
