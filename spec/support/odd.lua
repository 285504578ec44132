-- SPDX-License-Identifier: MIT
--
-- Good disks made odd in one way: bytes of footer, copy and header are
-- changed, and the checksums repaired.  Knows the format, not lvhd.

local handmade = require "spec.support.handmade"
local support = require "spec.support"
local vhdread = require "spec.support.vhdread"

local odd = {}

-- Where the last change of a footer's or header's field is in the file, nil
-- after other changes: what a finding should name.
odd.touched = nil

---Bytes at an offset of a file; from its end where that is negative.
function odd.put(path, offset, bytes)
  odd.touched = nil
  local file <close> = assert(io.open(path, "r+b"))
  assert(file:seek(offset < 0 and "end" or "set", offset))
  assert(file:write(bytes))
end

local function seal(bytes, at)
  return handmade.patch(bytes, at,
    (">I4"):pack(vhdread.checksum(bytes, at)))
end

---Patches a footer's bytes; which: "both", "end" or "copy".
function odd.footer(path, at, value, which, broken)
  which = which or "both"
  local disk = vhdread.footer(vhdread.bytes(path,
    vhdread.length(path) - 512, 512))
  local function change(bytes)
    bytes = handmade.patch(bytes, at, value)
    return broken and bytes or seal(bytes, 64)
  end
  if which ~= "copy" then
    odd.put(path, -512, change(disk.bytes))
  end
  if disk.type ~= 2 and which ~= "end" then
    odd.put(path, 0, change(vhdread.bytes(path, 0, 512)))
  end
  if which == "both" and not broken then
    odd.touched = vhdread.length(path) - 512 + at
  end
end

---Patches the header's bytes at 512.
function odd.header(path, at, value, broken)
  local bytes = handmade.patch(vhdread.bytes(path, 512, 1024), at, value)
  odd.put(path, 512, broken and bytes or seal(bytes, 36))
  odd.touched = not broken and 512 + at or nil
end

---The bytes of locator entry i (from 0), changed by fn(entry).
function odd.locator(path, i, fn)
  local names = { "code", "space", "length", "reserved", "offset" }
  local entry, at = {}, 576 + 24 * i
  local values = { (">c4I4I4I4I8"):unpack(vhdread.bytes(path, 512 + at, 24)) }
  for k, name in ipairs(names) do
    entry[name] = values[k]
  end
  fn(entry)
  odd.header(path, at, (">c4I4I4I4I8"):pack(entry.code, entry.space,
    entry.length, entry.reserved, entry.offset))
  for k = #names, 1, -1 do
    if entry[names[k]] ~= values[k] then
      odd.touched = 512 + at + 4 * (k - 1)
    end
  end
end

---Bytes between the last block and the footer.
function odd.insert(path, bytes)
  local all = support.read(path)
  support.write(path, all:sub(1, -513) .. bytes .. all:sub(-512))
end

---Entry i (from 0) of the BAT; the sector that it names.
function odd.entry(path, i, sector)
  local disk = vhdread.open(path)
  odd.put(path, disk.header.table_offset + 4 * i, (">I4"):pack(sector))
end

---UTF-16 of ASCII.
function odd.utf16(text, order)
  return (text:gsub(".", order == "<" and "%0\0" or "\0%0"))
end

return odd
