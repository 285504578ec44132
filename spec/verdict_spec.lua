-- SPDX-License-Identifier: MIT
--
-- Our check beside 7-Zip: each field of footer and header is set to odd
-- values; what 7-Zip refuses, check has an error or a warning for.

local lvhd = require "lvhd"
local odd = require "spec.support.odd"
local support = require "spec.support"
local vhdread = require "spec.support.vhdread"

local MIB = 1 << 20

-- Offset and size of the fields; values beside these are made from what is
-- there.
local FOOTER = { { 0, 8 }, { 8, 4 }, { 12, 4 }, { 16, 8 }, { 24, 4 },
  { 28, 4 }, { 32, 4 }, { 36, 4 }, { 40, 8 }, { 48, 8 }, { 56, 4 }, { 60, 4 },
  { 68, 8 }, { 84, 1 }, { 85, 1 }, { 86, 1 }, { 300, 4 }, { 511, 1 } }
local HEADER = { { 0, 8 }, { 8, 8 }, { 16, 8 }, { 24, 4 }, { 28, 4 },
  { 32, 4 }, { 40, 8 }, { 56, 4 }, { 60, 4 }, { 64, 2 }, { 66, 2 },
  { 574, 2 }, { 576, 4 }, { 580, 4 }, { 584, 4 }, { 588, 4 }, { 592, 8 },
  { 600, 4 }, { 604, 4 }, { 608, 4 }, { 612, 4 }, { 616, 8 }, { 760, 8 },
  { 768, 4 }, { 1020, 4 } }

local function values(there, size)
  local format = ">I" .. size
  local now = format:unpack(there)
  local mask = size == 8 and -1 or (1 << 8 * size) - 1
  local seen, list = { [there] = true }, {}
  for _, value in ipairs{ 0, 1, -1, now + 1, now - 1, now ~ 1 << 8 * size - 1,
    now ~ 0x200, now * 2, now // 2 } do
    local bytes = size == 8 and (">i8"):pack(value)
      or format:pack(value & mask)
    if not seen[bytes] then
      list[#list + 1] = bytes
    end
    seen[bytes] = true
  end
  return list
end

local SECTOR = ("sector "):rep(80):sub(1, 512)

local function small(path)
  lvhd.create_dynamic(path, 3 * MIB, { block_size = 512 << 10 }):wait()
  vhdread.put_sector(path, 9, SECTOR)
  vhdread.put_sector(path, 5000, SECTOR)
  return path
end

local DISKS = {
  fixed = function(folder)
    local path = folder .. "/fixed.vhd"
    lvhd.create_fixed(path, 3 * MIB):wait()
    return path
  end,
  dynamic = function(folder)
    return small(folder .. "/dynamic.vhd")
  end,
  differencing = function(folder)
    local path = folder .. "/child.vhd"
    lvhd.create_differencing(path, small(folder .. "/base.vhd")):wait()
    vhdread.put_sector(path, 1030, SECTOR)
    return path
  end,
}

local function seven_zip_takes(path)
  local ok, said = support.sh("7zz t -tvhd " .. support.q(path))
  return ok and said:find("Everything is Ok", 1, true) ~= nil
    and said:find("WARN", 1, true) == nil, said
end

---What check has against the file; nil: nothing.
local function against(path)
  local ok, infos = pcall(function()
    return lvhd.check(path, { chain = true, data = true }):wait()
  end)
  if not ok then
    assert.is_true(lvhd.is_error(infos), tostring(infos))
    return infos.name
  end
  for _, info in ipairs(infos) do
    for _, finding in ipairs(info.findings) do
      if finding.severity ~= "note" then
        return finding.code
      end
    end
  end
end

---Puts back what was there.
local function with(path, change, fn)
  local before = support.read(path)
  change()
  fn()
  support.write(path, before)
end

local function judge(path, what, missed)
  local takes, said = seven_zip_takes(path)
  local code = against(path)
  if not takes and code == nil then
    missed[#missed + 1] = what .. ": " .. (said:match("ERROR[^\n]*")
      or said:match("[^\n]*rror[^\n]*") or said)
  end
  return takes
end

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

describe("check and 7-Zip agree on fields of", function()
  for kind, make in pairs(DISKS) do
    it("a " .. kind .. " disk #nosan", function()
      if not support.has("7zz") then
        pending("7zz is not installed")
      end
      local path = make(support.tmpdir())
      local missed, refused, count = {}, 0, 0
      local function try(what, change)
        with(path, change, function()
          count = count + 1
          refused = refused + (judge(path, what, missed) and 0 or 1)
        end)
      end
      assert.is_true((seven_zip_takes(path)))
      assert.is_nil(against(path))
      local length = vhdread.length(path)
      for _, field in ipairs(FOOTER) do
        local at, size = table.unpack(field)
        local there = vhdread.bytes(path, length - 512 + at, size)
        for _, bytes in ipairs(values(there, size)) do
          local what = ("footer %d %s"):format(at, hex(bytes))
          try(what, function() odd.footer(path, at, bytes, "both") end)
        end
        for _, which in ipairs{ "end", "copy" } do
          try(which .. " " .. at, function()
            odd.footer(path, at, values(there, size)[1], which)
          end)
        end
        try("unsealed " .. at, function()
          odd.footer(path, at, values(there, size)[1], "both", true)
        end)
      end
      for _, field in ipairs(kind == "fixed" and {} or HEADER) do
        local at, size = table.unpack(field)
        local there = vhdread.bytes(path, 512 + at, size)
        for _, bytes in ipairs(values(there, size)) do
          local what = ("header %d %s"):format(at, hex(bytes))
          try(what, function() odd.header(path, at, bytes) end)
        end
        try("header unsealed " .. at, function()
          odd.header(path, at, values(there, size)[1], true)
        end)
      end
      if kind ~= "fixed" then
        local disk = vhdread.open(path)
        local used = (">I4"):unpack(disk.bat,
          disk.bat:find("[^\xFF]"))
        for _, sector in ipairs{ 0, 1, 3, used, used + 1, length // 512,
          1 << 31, 0xFFFFFFFE } do
          try("entry 3 " .. sector, function()
            odd.entry(path, 3, sector)
          end)
        end
        try("bitmap", function()
          odd.put(path, used * 512, ("\0"):rep(512))
        end)
      end
      assert.same({}, missed)
      assert.is_true(refused > 50 and count > refused + 50)
    end)
  end
end)
