-- SPDX-License-Identifier: MIT
--
-- check: a good file made odd in one way gives that finding, and no other;
-- and each finding of the vocabulary is given by some file here.

local lvhd = require "lvhd"
local expect = require "spec.support.expect"
local fixtures = require "spec.support.fixtures"
local handmade = require "spec.support.handmade"
local odd = require "spec.support.odd"
local support = require "spec.support"
local vhdread = require "spec.support.vhdread"

local MIB, GIB = 1 << 20, 1 << 30
local q, run = support.q, support.run

local function u16(n) return (">I2"):pack(n) end
local function u32(n) return (">I4"):pack(n) end
local function u64(n) return (">I8"):pack(n) end
local ONES = ("\xFF"):rep(8)
local SECTOR = ("data "):rep(103):sub(1, 512)

---"error FEATURES", in the order of the findings, without repetitions.
local function list(info)
  local seen, out = {}, {}
  for _, finding in ipairs(info.findings) do
    local text = finding.severity .. " " .. finding.code
    if not seen[text] then
      out[#out + 1] = text
    end
    seen[text] = true
    assert.equal("string", type(finding.message))
    assert.equal(info.path, finding.path)
  end
  return table.concat(out, ", ")
end

local function check(path, opts)
  return lvhd.check(path, opts):wait()
end

---The findings of a file and, where the chain is checked, of its parents.
local function findings(path, opts)
  local lists = {}
  for i, info in ipairs(check(path, opts)) do
    lists[i] = list(info)
  end
  return table.concat(lists, " | ")
end

-- ---- good disks to begin with ----------------------------------------

local make = {}

function make.fixed(folder)
  local path = folder .. "/fixed.vhd"
  lvhd.create_fixed(path, 24 * MIB):wait()
  return path
end

function make.dynamic(folder)
  local path = folder .. "/disk.vhd"
  lvhd.create_dynamic(path, 16 * MIB):wait()
  return path
end

---With two sectors written.
function make.used(folder)
  local path = make.dynamic(folder)
  vhdread.put_sector(path, 5, SECTOR)
  vhdread.put_sector(path, 3 * 4096, SECTOR)
  return path
end

function make.small(folder)
  local path = folder .. "/small.vhd"
  lvhd.create_dynamic(path, 16 * MIB, { block_size = 512 << 10 }):wait()
  vhdread.put_sector(path, 5, SECTOR)
  return path
end

function make.child(folder)
  local path = folder .. "/child.vhd"
  lvhd.create_differencing(path, make.used(folder)):wait()
  return path
end

function make.tap(folder)
  return fixtures.unpack("blktap-root.vhd", folder)
end

function make.none(folder)
  return folder .. "/odd.vhd"
end

-- ---- the cases -------------------------------------------------------

-- { the findings, the disk to begin with, what is done to it, options }
local CASES = {
  -- the footer
  { "warning FEATURES", "dynamic", function(p) odd.footer(p, 8, u32(6)) end },
  { "", "dynamic", function(p) odd.footer(p, 8, u32(3)) end },
  { "warning DATA_OFFSET", "fixed",
    function(p) odd.footer(p, 16, u64(0xFFFFFFFF)) end },
  { "warning TIME_FUTURE", "dynamic", function(p)
    odd.footer(p, 24, u32(os.time() - vhdread.EPOCH + 3700))
  end },
  { "warning TIME_FUTURE", "child", function(p)
    odd.header(p, 56, u32(os.time() - vhdread.EPOCH + 3700))
  end },
  { "warning TAP_VERSION, warning BATMAP_MISSING", "dynamic",
    function(p) odd.footer(p, 28, "tap\0" .. u32(0x10004)) end },
  { "error TAP_VERSION", "dynamic",
    function(p)
      odd.footer(p, 28, "tap\0")
      odd.footer(p, 32, u32(1))
    end },
  { "warning SIZE_LIMIT", "none",
    function(p) handmade.fixed(p, 2041 * GIB) end },
  { "note GEOMETRY_LARGE", "dynamic", -- as QEMU's force_size=on
    function(p) odd.footer(p, 56, u16(65535) .. "\x10\xFF") end },
  { "warning GEOMETRY_LARGE", "dynamic",
    function(p) odd.footer(p, 56, u16(65535) .. "\x10\xFE") end },
  { "", "dynamic", function(p) odd.footer(p, 56, u32(0)) end },
  { "warning GEOMETRY_SIZE", "dynamic",
    function(p)
      odd.footer(p, 28, "vpc ")
      odd.footer(p, 56, vhdread.bytes(p, 56, 4))
    end },
  { "note SAVED_STATE", "dynamic", function(p) odd.footer(p, 84, "\1") end },
  { "warning SAVED_STATE", "fixed", function(p) odd.footer(p, 84, "\2") end },
  { "warning HIDDEN", "dynamic", function(p) odd.footer(p, 85, "\1") end },
  { "warning FOOTER_RESERVED", "fixed",
    function(p) odd.footer(p, 300, "\1") end },
  { "warning UUID_NIL", "dynamic",
    function(p) odd.footer(p, 68, ("\0"):rep(16)) end },
  { "error COPY_MISSING", "dynamic",
    function(p) odd.put(p, 0, ("\0"):rep(512)) end },
  { "error COPY_DAMAGED", "dynamic",
    function(p) odd.footer(p, 24, "\1", "copy", true) end },
  { "warning FOOTERS_DIFFER", "dynamic",
    function(p) odd.footer(p, 24, "\1", "copy") end },
  { "error FOOTERS_DIFFER", "dynamic",
    function(p) odd.footer(p, 68, "other uuid", "copy") end },
  -- the file
  { "warning FOOTER_COPY_USED", "used",
    function(p) run("truncate -s -512 " .. q(p)) end },
  { "warning FOOTER_COPY_USED", "used",
    function(p) odd.footer(p, 24, "\1", "end", true) end },
  { "warning FOOTER_COPY_USED, warning FOOTER_NOT_LAST", "used",
    function(p) run("printf more >> " .. q(p)) end },
  { "warning FOOTER_SHORT", "used",
    function(p) run("truncate -s -1 " .. q(p)) end },
  { "warning FILE_UNALIGNED", "used",
    function(p) odd.insert(p, ("\0"):rep(100)) end },
  { "note GAP_BEFORE_FOOTER", "used",
    function(p) odd.insert(p, ("\0"):rep(4096)) end },
  { "", "used", function(p) odd.insert(p, ("\0"):rep(512)) end },
  { "error FIXED_LENGTH", "fixed",
    function(p) odd.insert(p, ("\0"):rep(512)) end },
  { "error FIXED_LENGTH", "fixed",
    function(p) odd.footer(p, 48, u64(25 * MIB)) end },
  -- the header
  { "error HEADER_MISSING", "dynamic",
    function(p) odd.put(p, 512, ("\0"):rep(1024)) end },
  { "error HEADER_MISSING, warning DATA_OFFSET", "dynamic",
    function(p) odd.footer(p, 16, u64(1 << 40)) end },
  { "error HEADER_CHECKSUM", "dynamic",
    function(p) odd.header(p, 900, "\1", true) end },
  { "error HEADER_VERSION", "dynamic",
    function(p) odd.header(p, 24, u32(0x20000)) end },
  { "error BLOCK_SIZE", "dynamic",
    function(p) odd.header(p, 32, u32(0x12345678)) end },
  { "error HEADER_CORRUPT", "dynamic",
    function(p) odd.header(p, 16, u64(1537)) end },
  { "error BAT_OUTSIDE", "dynamic",
    function(p) odd.header(p, 16, ONES:sub(1, 6) .. "\xFE\0") end },
  { "error BAT_TOO_SMALL", "dynamic",
    function(p) odd.header(p, 28, u32(7)) end },
  { "warning HEADER_DATA_OFFSET", "dynamic",
    function(p) odd.header(p, 8, u64(0xFFFFFFFF)) end },
  { "warning HEADER_RESERVED", "dynamic",
    function(p) odd.header(p, 60, u32(1)) end },
  { "warning HEADER_RESERVED", "dynamic",
    function(p) odd.header(p, 1023, "\1") end },
  { "warning HEADER_RESERVED", "child",
    function(p) odd.locator(p, 0, function(e) e.reserved = 1 end) end },
  { "note BLOCK_SIZE_RARE", "none", function(p)
    handmade.dynamic(p, 16 * MIB, { header = { block_size = MIB } })
  end },
  { "warning ENTRIES_NOT_EXACT", "dynamic",
    function(p) odd.header(p, 28, u32(9)) end },
  { "warning ENTRIES_NOT_EXACT, warning ENTRY_BEYOND_DISK", "used",
    function(p)
      odd.header(p, 28, u32(9))
      odd.entry(p, 8, 4)
    end },
  { "note BAT_PADDING", "dynamic",
    function(p) odd.put(p, 1536 + 4 * 8 + 1, "\0") end },
  { "error BLOCK_OUTSIDE, error BAT_OVERLAP", "dynamic",
    function(p) odd.header(p, 16, u64(vhdread.length(p) - 512)) end },
  { "error BLOCK_ON_METADATA, error BLOCK_OVERLAP, error BAT_OVERLAP, "
    .. "note BAT_PADDING, note GAP_BEFORE_FOOTER", "used",
    function(p) odd.header(p, 16, u64(1024)) end },
  -- the parent's fields
  { "warning PARENT_FIELDS", "dynamic",
    function(p) odd.header(p, 56, u32(1)) end },
  { "warning PARENT_FIELDS", "dynamic",
    function(p) odd.header(p, 576 + 24 * 7, "W2ru") end },
  { "error PARENT_UNNAMED", "child",
    function(p) odd.header(p, 64, ("\0"):rep(704)) end },
  { "warning PARENT_UUID_NIL", "child",
    function(p) odd.header(p, 40, ("\0"):rep(16)) end },
  { "warning NAME_EMPTY", "child",
    function(p) odd.header(p, 64, ("\0"):rep(512)) end },
  { "warning NAME_NOT_BARE", "child", function(p)
    odd.header(p, 64, odd.utf16("C:\\vms\\disk.vhd"))
  end },
  { "warning NAME_UNDECODABLE, warning NAME_DIFFERS", "child",
    function(p) odd.header(p, 64, "\xD8\0\0x") end },
  { "warning NAME_LITTLE_ENDIAN", "child",
    function(p) odd.header(p, 64, odd.utf16("disk.vhd", "<")) end },
  { "warning NAME_DIFFERS", "child",
    function(p) odd.header(p, 64, odd.utf16("disk.VHD")) end },
  -- locators; lvhd writes W2ru, then MacX
  { "warning LOCATOR_CODE", "child",
    function(p) odd.locator(p, 1, function(e) e.code = "Abcd" end) end },
  { "warning LOCATOR_UNUSED", "child", function(p)
    odd.locator(p, 7, function(e) e.length = 1 end)
    odd.touched = 512 + 576 + 24 * 7
  end },
  { "warning LOCATOR_TWICE", "child", function(p)
    odd.put(p, 0x1400, odd.utf16(".\\disk.vhd", "<"))
    odd.locator(p, 5, function(e)
      e.code, e.space, e.length, e.offset = "W2ru", 1024, 20, 0x1400
    end)
  end },
  { "warning LOCATOR_SPACE", "child",
    function(p) odd.locator(p, 0, function(e) e.space = 1000 end) end },
  { "warning LOCATOR_SPACE", "child",
    function(p) odd.locator(p, 0, function(e) e.space = 0 end) end },
  { "", "child", -- sectors
    function(p) odd.locator(p, 0, function(e) e.space = 2 end) end },
  { "warning LOCATOR_LENGTH", "child", function(p)
    odd.locator(p, 0, function(e) e.length = e.length + 1 end)
  end },
  { "warning LOCATOR_LENGTH", "child",
    function(p) odd.locator(p, 1, function(e) e.length = 0 end) end },
  { "error LOCATOR_OUTSIDE", "child",
    function(p) odd.locator(p, 1, function(e) e.offset = 1 << 40 end) end },
  { "warning LOCATOR_SPACE, warning LOCATOR_LENGTH, error LOCATOR_OUTSIDE",
    "child", function(p)
      odd.locator(p, 0, function(e) e.length = 0xFFFFFFFF end)
    end },
  { "error LOCATOR_OVERLAP, warning NAME_DIFFERS", "child",
    function(p) odd.locator(p, 0, function(e) e.offset = 0x2000 end) end },
  { "warning LOCATOR_TERMINATED", "child", function(p)
    odd.locator(p, 0, function(e) e.length = e.length + 2 end)
    odd.touched = 0x1000 + 2 * #".\\disk.vhd"
  end },
  { "warning LOCATOR_TERMINATED", "child", function(p)
    odd.locator(p, 1, function(e) e.length = e.length + 1 end)
    odd.touched = 0x1800 + #"file://./disk.vhd"
  end },
  { "warning LOCATOR_TEXT", "child",
    function(p) odd.put(p, 0x1800, "http") end },
  { "warning LOCATOR_TEXT, warning NAME_DIFFERS", "child",
    function(p) odd.put(p, 0x1000 + 18, "\0\xDC") end },
  -- XenServer's batmap
  { "note BAT_PADDING, warning BATMAP_MISSING", "tap",
    function(p) odd.put(p, 2048, "x") end },
  { "note BAT_PADDING, warning BATMAP_CHECKSUM", "tap", function(p)
    local map = (">I8"):unpack(vhdread.bytes(p, 2048 + 8, 8))
    odd.put(p, map, "\x55")
  end },
  { "note BAT_PADDING", "tap", function() end },
  -- blocks
  { "error BLOCK_OUTSIDE", "used", function(p) odd.entry(p, 2, 1 << 30) end },
  { "error BLOCK_OUTSIDE", "used", function(p)
    odd.entry(p, 1, vhdread.length(p) // 512 - 4096)
    odd.entry(p, 3, 0xFFFFFFFF)
    odd.entry(p, 0, 0xFFFFFFFF)
  end },
  { "error BLOCK_ON_METADATA", "used", function(p)
    odd.entry(p, 0, 0xFFFFFFFF)
    odd.entry(p, 1, 3)
    odd.entry(p, 3, 0xFFFFFFFF)
    odd.insert(p, "")
    run("truncate -s " .. 3 * 512 + 2 * MIB + 1024 .. " " .. q(p))
    odd.put(p, -512, vhdread.bytes(p, 0, 512))
  end },
  { "warning BLOCK_IN_LOCATOR", "child", function(p)
    odd.locator(p, 1, function(e) e.space = 32 << 10 end)
    odd.entry(p, 0, 48)
    run("truncate -s " .. 48 * 512 + 2 * MIB + 1024 .. " " .. q(p))
    odd.put(p, -512, vhdread.bytes(p, 0, 512))
  end },
  -- what is left of a parent that the disk no longer has is nobody's text
  { "warning BLOCK_IN_LOCATOR, warning PARENT_FIELDS", "used", function(p)
    local block = (">I4"):unpack(vhdread.open(p).bat) * 512
    odd.locator(p, 1, function(e)
      e.code, e.space, e.length = "W2ru", 512, 22
      e.offset = block + 4096
    end)
  end },
  { "error BLOCK_OVERLAP", "used", function(p)
    local disk = vhdread.open(p)
    odd.entry(p, 2, (">I4"):unpack(disk.bat) + 1)
  end },
  { "error BLOCK_OVERLAP, note DATA_NOT_CHECKED", "used", function(p)
    local disk = vhdread.open(p)
    odd.entry(p, 2, (">I4"):unpack(disk.bat))
  end, { data = true } },
  { "note BITMAP_PADDING", "small", function(p)
    local disk = vhdread.open(p)
    odd.put(p, (">I4"):unpack(disk.bat) * 512 + 200, "\1")
  end, { data = true } },
  { "error DATA_UNDER_CLEAR_BIT", "used", function(p)
    local disk = vhdread.open(p)
    odd.put(p, (">I4"):unpack(disk.bat) * 512 + 512 + 700 * 512 + 511, "\1")
  end, { data = true } },
  { "", "used", function() end, { data = true } },
  { "note BAT_NOT_SCANNED, error BLOCK_ON_METADATA, error BLOCK_OVERLAP, "
    .. "note BLOCK_SIZE_RARE", "none", function(p)
    local bat = 1 << 26 -- a hole: all entries name sector 0
    local footer = handmade.footer{ type = 3, size = 8 * GIB }
    support.write(p, footer .. handmade.header{ entries = 1 << 24,
      block_size = 512 })
    run("truncate -s " .. 1536 + bat .. " " .. q(p))
    local file <close> = assert(io.open(p, "ab"))
    file:write(footer)
  end },
}

-- Chains: the child's findings, then the parents'.
local CHAINS = {
  { "error PARENT_MISSING", function(p, base) os.remove(base) return p end },
  { "error PARENT_OUTSIDE", function(p, base)
    run(("mkdir %s/a %s/b && mv %s %s/a && mv %s %s/b"):format(
      q(p:match(".*/")), q(p:match(".*/")), q(p), q(p:match(".*/")), q(base),
      q(p:match(".*/"))))
    p = p:gsub("child", "a/child")
    odd.put(p, 0x1000, odd.utf16("..\\b\\disk.vhd", "<"))
    odd.locator(p, 0, function(e) e.length = 26 end)
    odd.put(p, 0x1800, "file://./../b/disk.vhd")
    odd.locator(p, 1, function(e) e.length = 22 end)
    return p
  end },
  { "error PARENT_ID", function(p)
    odd.header(p, 40, "other uuid")
    return p
  end },
  { "error PARENT_SIZE | ", function(p)
    odd.footer(p, 48, u64(16 * MIB - 512))
    return p
  end },
  { "warning PARENT_TIME | ", function(p, base)
    run("touch -d @1700000000 " .. q(base))
    return p
  end },
  { "error CHAIN_CYCLE", function(p)
    odd.put(p, 0x1000, odd.utf16(".\\child.vhd", "<"))
    odd.locator(p, 0, function(e) e.length = 22 end)
    odd.locator(p, 1, function(e)
      e.code, e.space, e.length, e.offset = "\0\0\0\0", 0, 0, 0
    end)
    odd.header(p, 64, odd.utf16("child.vhd") .. "\0\0")
    odd.header(p, 40, vhdread.open(p).footer.uuid)
    return p
  end },
  { "error CHAIN_TOO_DEEP", function(p) return p end, { max_depth = 1 } },
  { "error PROFILE_PARENT | ", function(p)
    local other = p .. ".on-fixed.vhd"
    lvhd.create_differencing(other, make.fixed(p:match("(.*)/"))):wait()
    return other
  end, { profile = "xenserver" } },
  { "error PROFILE_FOLDER | error PROFILE_FOLDER | ", function(p)
    local folder = p:match(".*/") .. "sub"
    support.mkdir(folder)
    local other = folder .. "/new.vhd"
    lvhd.create_differencing(other, p):wait()
    return other
  end, { profile = "7zip", parents = "/" } },
  { "error PARENT_DAMAGED", function(p, base)
    odd.header(base, 1000, "\1", true)
    return p
  end },
}

-- Profiles: findings, disk, what is done, the profile.
local function child_in_folder(p)
  support.mkdir(p:match(".*/") .. "sub")
  local other = p:match(".*/") .. "sub/new.vhd"
  lvhd.create_differencing(other, p):wait()
  return other
end

local PROFILES = {
  { "error PROFILE_TYPE", "dynamic", "azure", function(p)
    odd.footer(p, 40, u64(24 * MIB) .. u64(24 * MIB))
    odd.header(p, 28, u32(12))
  end },
  { "error PROFILE_TYPE, error PROFILE_SIZE", "dynamic", "azure" },
  { "error PROFILE_SIZE", "none", "azure",
    function(p) handmade.fixed(p, 24 * MIB + 512) end },
  { "error PROFILE_EXTENSION", "fixed", "azure", function(p)
    os.rename(p, p .. ".img")
    return p .. ".img"
  end },
  { "", "fixed", "azure" },
  { "error PROFILE_SIZE", "none", "hyperv",
    function(p) handmade.fixed(p, MIB) end },
  { "note BLOCK_SIZE_RARE, error PROFILE_BLOCK_SIZE", "none", "hyperv",
    function(p)
      handmade.dynamic(p, 16 * MIB, { header = { block_size = MIB } })
    end },
  { "error PROFILE_EXTENSION", "dynamic", "hyperv", function(p)
    os.rename(p, p .. "x")
    return p .. "x"
  end },
  { "", "dynamic", "hyperv", function(p)
    local other = p:gsub("vhd$", "avhd")
    os.rename(p, other)
    return other
  end },
  { "error PROFILE_LOCATOR", "child", "hyperv", function(p)
    odd.locator(p, 0, function(e)
      e.code, e.space, e.length, e.offset = "\0\0\0\0", 0, 0, 0
    end)
  end },
  { "", "small", "hyperv" },
  { "error PROFILE_BLOCK_SIZE", "small", "xenserver" },
  { "error PROFILE_BLOCK_SIZE", "small", "virtualbox" },
  { "error PROFILE_NAME", "dynamic", "xenserver", function(p)
    local base = p:match(".*/") .. "größe.vhd"
    os.rename(p, base)
    lvhd.create_differencing(p, base):wait()
  end },
  { "error PROFILE_LOCATOR", "child", "xenserver", function(p)
    odd.put(p, 0x1800, "file://localhost/disk.vhd")
    odd.locator(p, 1, function(e) e.length = 25 end)
    odd.locator(p, 0, function(e)
      e.code, e.space, e.length, e.offset = "\0\0\0\0", 0, 0, 0
    end)
  end },
  { "error PROFILE_GAPS", "used", "virtualbox", function(p)
    local disk = vhdread.open(p)
    local second = (">I4"):unpack(disk.bat, 13)
    odd.insert(p, ("\0"):rep(512))
    odd.entry(p, 3, second + 1)
  end },
  { "error PROFILE_FOLDER", "used", "7zip", child_in_folder },
  { "", "child", "7zip" },
  { "error HIDDEN", "dynamic", "7zip",
    function(p) odd.footer(p, 85, "\1") end },
  { "warning HIDDEN", "dynamic", "virtualbox",
    function(p) odd.footer(p, 85, "\1") end },
  { "warning NAME_NOT_BARE, warning LOCATOR_TERMINATED, "
    .. "error PROFILE_LOCATOR", "child", "7zip", function(p)
    odd.locator(p, 0, function(e) e.length = 1024 end)
    odd.header(p, 64, odd.utf16("a/disk.vhd"))
  end },
  { "note BLOCK_SIZE_RARE, error PROFILE_BLOCK_SIZE", "none", "7zip",
    function(p)
      handmade.dynamic(p, 16 * MIB, { header = { block_size = 1 << 31 } })
    end },
}

-- ---- the tests -------------------------------------------------------

local function name_of(findings_wanted, disk)
  return (findings_wanted == "" and "nothing" or findings_wanted) .. " in "
    .. disk
end

describe("a file that is odd in one way", function()
  for i, case in ipairs(CASES) do
    local wanted, disk, spoil, opts = table.unpack(case, 1, 4)
    it(("%d: %s"):format(i, name_of(wanted, disk)), function()
      local path = make[disk](support.tmpdir())
      odd.touched = nil
      spoil(path)
      local info = check(path, opts)[1]
      assert.equal(wanted, list(info))
      local finding = info.findings[1]
      if odd.touched and #info.findings == 1 and finding.offset then
        local from_field = finding.offset - odd.touched
        assert.is_true(from_field >= 0 and from_field < 4,
          finding.offset .. ", not " .. odd.touched)
      end
    end)
  end

  for i, case in ipairs(CHAINS) do
    local wanted, spoil, opts = table.unpack(case, 1, 3)
    it(("in a chain, %d: %s"):format(i, wanted), function()
      local folder = support.tmpdir()
      local path = spoil(make.child(folder), folder .. "/disk.vhd")
      opts = opts or {}
      opts.chain = true
      assert.equal(wanted, findings(path, opts))
    end)
  end

  for i, case in ipairs(PROFILES) do
    local wanted, disk, profile, spoil = table.unpack(case, 1, 4)
    it(("for %s, %d: %s"):format(profile, i, name_of(wanted, disk)),
      function()
        local path = make[disk](support.tmpdir())
        path = spoil and spoil(path) or path
        assert.equal(wanted, findings(path, { profile = profile }))
      end)
  end
end)

describe("a finding", function()
  local function only(path, opts)
    local info = check(path, opts)[1]
    assert.equal(1, #info.findings, list(info))
    return info.findings[1]
  end

  it("tells the place in the file, what is there and what should be",
    function()
      local path = make.used(support.tmpdir())
      local length = vhdread.length(path)
      odd.footer(path, 8, u32(6))
      local f = only(path)
      assert.same({ length - 512 + 8, 2, 6 }, { f.offset, f.expected,
        f.actual })
      odd.footer(path, 8, u32(2))
      odd.entry(path, 2, 1 << 30)
      f = only(path)
      assert.same({ 1536 + 4 * 2, 1 << 39 },
        { f.offset, f.actual })
    end)

  it("is given at most a hundred times", function()
    local path = support.tmpdir() .. "/a.vhd"
    lvhd.create_dynamic(path, GIB):wait()
    for i = 0, 299 do
      odd.entry(path, i, 1 << 30)
    end
    assert.equal(100, #check(path)[1].findings)
  end)

  it("of data names the first sector of each block", function()
    local path = make.used(support.tmpdir())
    local disk = vhdread.open(path)
    local first = (">I4"):unpack(disk.bat) * 512
    odd.put(path, first + 512 + 4095 * 512, "\1")
    odd.put(path, first + 512 + 9 * 512 + 500, "\1")
    local f = only(path, { data = true })
    assert.equal("DATA_UNDER_CLEAR_BIT", f.code)
    assert.equal(first + 512 + 9 * 512, f.offset)
  end)

  it("does not blame a child for data under clear bits", function()
    local path = make.child(support.tmpdir())
    vhdread.put_sector(path, 7, SECTOR)
    local disk = vhdread.open(path)
    odd.put(path, (">I4"):unpack(disk.bat) * 512 + 512 + 3 * 512, "\1")
    assert.equal("", findings(path, { data = true }))
  end)

  it("is known for every word of the vocabulary", function()
    local given = {}
    for _, cases in ipairs{ CASES, CHAINS, PROFILES } do
      for _, case in ipairs(cases) do
        for code in case[1]:gmatch("%u[%u%d_]+") do
          given[code] = true
        end
      end
    end
    local text = support.read("src/base/fault.def")
    local from = text:find("/* what info and check find", 1, true)
    local missing, count = {}, 0
    local to = text:find("/* changing */", 1, true)
    for code in text:sub(from, to):gmatch("LV_FAULT%((%u[%u%d_]+)") do
      count = count + 1
      if not given[code] then
        missing[#missing + 1] = code
      end
    end
    assert.same({}, missing)
    assert.is_true(count > 50)
  end)
end)

describe("check", function()
  local PROFILE_NAMES = { "azure", "hyperv", "xenserver", "virtualbox",
    "7zip" }

  ---Checks with every profile, headers and data, alone and as a chain.
  local function clean(path, told)
    for _, data in ipairs{ false, true } do
      for _, chain in ipairs{ false, true } do
        local opts = { data = data, chain = chain }
        assert.equal("", findings(path, opts))
        for _, profile in ipairs(PROFILE_NAMES) do
          opts.profile = profile
          assert.equal(told and told[profile] or "", findings(path, opts),
            profile)
        end
      end
    end
  end

  it("has nothing to say of what lvhd creates", function()
    local folder = support.tmpdir()
    clean(make.fixed(folder))
    for size = 20, 200, 60 do
      local path = ("%s/%d.vhd"):format(folder, size)
      lvhd.create_dynamic(path, size * MIB):wait()
      clean(path, { azure = "error PROFILE_TYPE" })
    end
  end)

  it("has nothing to say of children but what a profile has against them",
    function()
      local folder = support.tmpdir()
      local azure = "error PROFILE_TYPE, error PROFILE_SIZE"
      local leaf = folder .. "/leaf.vhd"
      lvhd.create_differencing(leaf, make.child(folder)):wait()
      for _, chain in ipairs{ false, true } do
        for _, profile in ipairs(PROFILE_NAMES) do
          local want = profile == "azure" and azure or ""
          want = chain and table.concat({ want, want, want }, " | ") or want
          assert.equal(want, findings(leaf, { profile = profile,
            chain = chain, data = true }), profile)
        end
      end
    end)

  it("finds no error in disks that others wrote", function()
    for _, entry in ipairs(fixtures.manifest()) do
      local path = fixtures.unpack_chain(entry, support.tmpdir())[1]
      for i, info in ipairs(check(path, { chain = true, data = true })) do
        assert.is_nil(list(info):find("error", 1, true),
          entry.file .. " " .. i .. ": " .. list(info))
      end
    end
  end)

  it("tells what is wrong with the damaged ones", function()
    local folder = support.tmpdir()
    local wanted = {
      ["bad-header-checksum"] = "error HEADER_CHECKSUM",
      ["bat-overlap"] = "error BLOCK_OVERLAP, note BAT_PADDING",
      ["no-footer"] = "warning FOOTER_COPY_USED, note BAT_PADDING",
      ["cycle-a"] = "note BAT_PADDING | note BAT_PADDING, error CHAIN_CYCLE",
    }
    fixtures.unpack("damaged/cycle-b.vhd", folder)
    for name, want in pairs(wanted) do
      local path = fixtures.unpack("damaged/" .. name .. ".vhd", folder)
      local got = findings(path, { chain = true })
      assert.equal(want, (got:gsub("warning PARENT_TIME, ", "")
        :gsub(", warning PARENT_TIME", "")))
    end
  end)

  it("tells XenServer's mark and saved states from their absence",
    function()
      local path = make.dynamic(support.tmpdir())
      local info = check(path)[1]
      assert.same({ false, false }, { info.hidden, info.saved_state })
      odd.footer(path, 84, "\1\1")
      info = check(path)[1]
      assert.same({ true, true }, { info.hidden, info.saved_state })
    end)

  it("tells what a file with a bad header says of itself", function()
    local path = make.dynamic(support.tmpdir())
    local before = lvhd.info(path)
    odd.header(path, 900, "\1", true)
    local info = check(path)[1]
    for _, field in ipairs{ "path", "type", "size", "uuid", "file_size",
      "timestamp", "creator" } do
      assert.equal(before[field], info[field])
    end
  end)

  it("fails for what is no disk", function()
    local folder = support.tmpdir()
    support.write(folder .. "/text", ("text "):rep(1000))
    expect.fails("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", lvhd.check,
      folder .. "/text")
    support.write(folder .. "/empty", "")
    expect.fails("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", lvhd.check,
      folder .. "/empty")
    expect.fails("VM_E_INVALID_HD_FILE", "NOT_REGULAR", lvhd.check, folder)
    local err = expect.fails("E_PATH_NOT_FOUND", "FILE_MISSING", lvhd.check,
      folder .. "/none.vhd")
    assert.equal(folder .. "/none.vhd", err.path)
    local path = make.fixed(folder)
    odd.footer(path, 100, "\1", "end", true)
    expect.fails("VM_E_INVALID_HD_FILE", "FOOTER_CHECKSUM", lvhd.check,
      path, { chain = true })
  end)

  it("means relative paths from where the call is made", function()
    local test = require "lvhdtest"
    local folder = support.tmpdir()
    make.used(folder)
    local name = support.names(folder)[1]
    local engine <close> = lvhd.engine{ threads = 1 }
    local home = test.cwd()
    assert(test.chdir(folder))
    local tasks = {}
    for i = 1, 40 do
      tasks[i] = engine:check(name, { data = true })
    end
    assert(test.chdir(home))
    for i = 1, 40 do
      assert.equal(1, #tasks[i]:wait())
    end
  end)

  it("tells how far it is", function()
    local path = make.used(support.tmpdir())
    local task = lvhd.check(path, { data = true })
    task:wait()
    local bytes = 2 * (2 * MIB + 512)
    assert.same({ 100, bytes, bytes, 1, 1 }, { task:progress() })
  end)

  it("changes no byte and no time", function()
    local folder = support.tmpdir()
    local path = make.child(folder)
    expect.unchanged(folder, check, path, { chain = true, data = true })
  end)
end)
