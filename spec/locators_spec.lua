-- SPDX-License-Identifier: MIT
--
-- The way to the parent as Windows needs it: which locators a child gets from
-- the drive map, byte by byte and in which slot, by a table that was worked
-- out by hand; and how chains are read by the map, where nothing but an
-- absolute Windows name leads to the parent.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local fixtures = require "spec.support.fixtures"
local test = require "lvhdtest"
local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"

local q, run = support.q, support.run
local SIZE <const> = 3 << 20

local dir, map, engine

-- C and D are folders beside one another, E lies inside C, the share has two
-- names in its key; out is mapped nowhere, and "cc" only begins like "c".
before_each(function()
  dir = support.tmpdir()
  run(("cd %s && mkdir -p c/vms c/inner d/gold share/win out cc")
    :format(q(dir)))
  map = { C = dir .. "/c", D = dir .. "/d", E = dir .. "/c/inner",
    [ [[\\nas\golden]] ] = dir .. "/share" }
  engine = lvhd.engine{ drives = map }
end)

after_each(function()
  engine:close()
end)

local function folder_of(path)
  return path:match("^(.*)/")
end

---A dynamic disk at a host path, its folder made.
local function parent_at(path)
  support.mkdir(folder_of(path))
  lvhd.create_dynamic(path, SIZE, { names = "host", long_paths = true })
    :wait()
  return path
end

---The locators of a file as the specs' own reader sees them, and that each
---stands in its slot with nothing else in the head: W2ru at 0x1000, W2ku at
---0x1400, MacX at 0x1800, the BAT behind.
local function in_slots(path)
  local disk = vhdread.open(path)
  local h = disk.header
  local slots = { W2ru = 0x1000, W2ku = 0x1400, MacX = 0x1800 }
  local found, order = {}, {}
  assert.equal(0x2000, h.table_offset)
  assert.equal(vhdread.checksum(h.bytes, 36), h.checksum)
  for i, l in ipairs(h.locators) do
    if l.code == "\0\0\0\0" then
      assert.equal(("\0"):rep(24), h.bytes:sub(577 + 24 * (i - 1),
        576 + 24 * i))
    else
      assert.same({ 1024, 0, slots[l.code], #l.raw },
        { l.space, l.reserved, l.offset, l.length })
      found[l.code] = l
      order[#order + 1] = l.code
    end
  end
  local head = vhdread.bytes(path, 1536, 0x2000 - 1536)
  for _, l in pairs(found) do
    local at = l.offset - 1536
    assert.equal(l.raw, head:sub(at + 1, at + l.length))
    head = head:sub(1, at) .. ("\0"):rep(l.length)
      .. head:sub(at + l.length + 1)
  end
  assert(not head:find("[^\0]"), "something stands between the slots")
  return found, table.concat(order, " "), disk
end

---The same texts are told: by the verb, and by the file.
local function same_info(info, found, order)
  for _, one in ipairs{ info, lvhd.info(info.path) } do
    local codes = {}
    for i, l in ipairs(one.parent.locators) do
      assert.same({ found[l.code].text, found[l.code].raw },
        { l.path, l.raw })
      codes[i] = l.code
    end
    assert.equal(order, table.concat(codes, " "))
  end
end

local function finding(info, code)
  local list = {}
  for _, f in ipairs(info.findings) do
    if f.code == code then
      list[#list + 1] = f
    end
  end
  return list[1], #list
end

---What the file must record, text by text and byte by byte.
local function judge(info, want, name)
  local found, order, disk = in_slots(info.path)
  for _, code in ipairs{ "W2ru", "W2ku" } do
    assert.equal(want[code], found[code] and found[code].text)
    if want[code] then
      assert.equal(vhdwrite.utf16(want[code], "<"), found[code].raw)
    end
  end
  assert.equal(want.MacX, found.MacX and found.MacX.raw)
  local expected = {}
  for _, code in ipairs{ "W2ru", "W2ku", "MacX" } do
    expected[#expected + 1] = want[code] and code
  end
  assert.equal(table.concat(expected, " "), order)
  same_info(info, found, order)
  local field = vhdwrite.utf16(name, ">")
  assert.equal(field .. ("\0"):rep(512 - #field), disk.header.parent_name)
end

-- ---- creations --------------------------------------------------------------

-- Worked out by hand from vhd-format.md 3.4 and 3.5:
--   W2ru   ".\" and the way from the child's folder, with backslashes; Windows
--          reads it from the child's drive, so only where the parent lies on
--          that drive too, or where one of the two has no place in Windows
--   W2ku   the drive's name, and the names below the folder that is the drive;
--          of two such folders the one that lies nearer to the parent
--   MacX   "file://./" and the way on the host
-- c = C:, d = D:, c/inner = E:, share = \\nas\golden.
local rows = {
  -- both in C:\vms: the bare name
  { "in the same folder", "c/vms/a.vhd", "c/vms/base.vhd",
    [[.\base.vhd]], [[C:\vms\base.vhd]], "file://./base.vhd" },
  -- C:\vms\web to C:\vms: one up
  { "in the folder above", "c/vms/web/a.vhd", "c/vms/base.vhd",
    [[.\..\base.vhd]], [[C:\vms\base.vhd]], "file://./../base.vhd" },
  -- C:\vms to C:\: one up, to the root of the drive and no further
  { "at the root of the drive", "c/vms/a.vhd", "c/base.vhd",
    [[.\..\base.vhd]], [[C:\base.vhd]], "file://./../base.vhd" },
  -- C:\ to C:\gold\2026: two down
  { "in a folder below", "c/a.vhd", "c/gold/2026/base.vhd",
    [[.\gold\2026\base.vhd]], [[C:\gold\2026\base.vhd]],
    "file://./gold/2026/base.vhd" },
  -- C:\vms\web to C:\gold: two up, one down
  { "in a folder beside", "c/vms/web/a.vhd", "c/gold/base.vhd",
    [[.\..\..\gold\base.vhd]], [[C:\gold\base.vhd]],
    "file://./../../gold/base.vhd" },
  -- no way leads from C: to D: but the absolute one
  { "on another drive", "c/vms/a.vhd", "d/gold/base.vhd",
    nil, [[D:\gold\base.vhd]], "file://./../../d/gold/base.vhd" },
  { "on a share", "c/vms/a.vhd", "share/win/base.vhd",
    nil, [[\\nas\golden\win\base.vhd]],
    "file://./../../share/win/base.vhd" },
  { "on a drive, of a child on a share", "share/a.vhd", "c/vms/base.vhd",
    nil, [[C:\vms\base.vhd]], "file://./../c/vms/base.vhd" },
  -- both on the share: below \\nas\golden
  { "on the same share", "share/win/a.vhd", "share/base.vhd",
    [[.\..\base.vhd]], [[\\nas\golden\base.vhd]], "file://./../base.vhd" },
  -- the child has no place in Windows: its way is the host's
  { "on a drive, of a child on none", "out/a.vhd", "c/vms/base.vhd",
    [[.\..\c\vms\base.vhd]], [[C:\vms\base.vhd]],
    "file://./../c/vms/base.vhd" },
  -- the parent has none, so no name either
  { "on no drive", "c/vms/a.vhd", "out/base.vhd",
    [[.\..\..\out\base.vhd]], nil, "file://./../../out/base.vhd" },
  { "on no drive, as the child", "out/x/a.vhd", "out/base.vhd",
    [[.\..\base.vhd]], nil, "file://./../base.vhd" },
  -- cc is no part of c
  { "in a folder that begins like a drive's", "c/a.vhd", "cc/base.vhd",
    [[.\..\cc\base.vhd]], nil, "file://./../cc/base.vhd" },
  -- C:\inner\base.vhd and E:\base.vhd are one file: the way from C:\ leads to
  -- the first, the name is the nearer one's
  { "on a drive inside the child's", "c/a.vhd", "c/inner/base.vhd",
    [[.\inner\base.vhd]], [[E:\base.vhd]], "file://./inner/base.vhd" },
  { "on a drive inside the child's, beside its folder", "c/vms/a.vhd",
    "c/inner/base.vhd", [[.\..\inner\base.vhd]], [[E:\base.vhd]],
    "file://./../inner/base.vhd" },
  -- the child is E:\a.vhd, and ".." of E:\ is E:\
  { "on the drive around the child's", "c/inner/a.vhd", "c/base.vhd",
    nil, [[C:\base.vhd]], "file://./../base.vhd" },
  -- E:\x\y\a.vhd: three up would be needed, two there are
  { "on the drive around, from further below", "c/inner/x/y/a.vhd",
    "c/vms/base.vhd", nil, [[C:\vms\base.vhd]],
    "file://./../../../vms/base.vhd" },
  -- E:\x\a.vhd to E:\base.vhd: the way stays on E:
  { "both on the inner drive", "c/inner/x/a.vhd", "c/inner/base.vhd",
    [[.\..\base.vhd]], [[E:\base.vhd]], "file://./../base.vhd" },
  -- units of UTF-16, in little-endian; MacX has the bytes as they are
  { "with names that are not ASCII", "c/vms/ä 日本/a.vhd",
    "c/vms/gold 😀/日.vhd", [[.\..\gold 😀\日.vhd]],
    [[C:\vms\gold 😀\日.vhd]], "file://./../gold 😀/日.vhd" },
  { "with a percent sign and blanks", "c/a.vhd", "d/a b%20.vhd",
    nil, [[D:\a b%20.vhd]], "file://./../d/a b%20.vhd" },
}

local function wanted(row)
  return { W2ru = row[4], W2ku = row[5], MacX = row[6] }
end

describe("a child gets its locators by the map, its parent lies", function()
  for _, row in ipairs(rows) do
    it(row[1], function()
      local name = row[3]:match("[^/]*$")
      local parent = parent_at(dir .. "/" .. row[3])
      support.mkdir(dir .. "/" .. folder_of(row[2]))
      local child = dir .. "/" .. row[2]
      local info = engine:create_differencing(child, parent):wait()
      assert.equal(child, info.path)
      judge(info, wanted(row), name)
      assert.same({}, info.findings)
      -- what lies on no drive has to be allowed
      local allowed = { parents = not row[5] and { dir } or nil }
      assert.equal(parent, engine:chain(child, allowed)[2].path)
      -- relink, which makes room for itself, records the same texts
      lvhd.relink(child, parent):wait()
      assert.is_nil(vhdread.open(child).header.locators[3].text)
      engine:relink(child, parent):wait()
      local again = {}
      for _, l in ipairs(vhdread.open(child).header.locators) do
        again[l.code] = l.text
      end
      again["\0\0\0\0"] = nil
      assert.same(wanted(row), again)
      assert.equal(parent, engine:chain(child, allowed)[2].path)
    end)
  end

  it("wherever it is named from: Windows paths, links, convert", function()
    parent_at(dir .. "/d/gold/Base.vhd")
    assert(test.symlink("../../d", dir .. "/c/vms/link"))
    local want = { W2ku = [[D:\gold\Base.vhd]],
      MacX = "file://./../../d/gold/Base.vhd" }
    for i, parent in ipairs{ [[D:\gold\Base.vhd]], [[d:\x\..\GOLD\base.VHD]],
      dir .. "/c/vms/link/gold/Base.vhd" } do
      local child = ([[%s\vms\%d.vhd]]):format(i == 1 and "c:" or "C:", i)
      if parent:sub(1, 1) == "/" then
        child = ("%s/c/vms/%d.vhd"):format(dir, i)
      end
      local info = engine:create_differencing(child, parent):wait()
      assert.equal(("%s/c/vms/%d.vhd"):format(dir, i), info.path)
      judge(info, want, "Base.vhd")
    end
    local info = engine:convert([[D:\gold\Base.vhd]], [[C:\vms\c.vhd]],
      { to = "differencing", parent = [[D:\gold\base.vhd]] }):wait()
    judge(info, want, "Base.vhd")
  end)

  it("on a drive whose folder is not there now", function()
    local e <close> = lvhd.engine{ drives = { C = dir .. "/c",
      D = dir .. "/nowhere" } }
    local parent = parent_at(dir .. "/c/base.vhd")
    judge(e:create_differencing(dir .. "/c/a.vhd", parent):wait(),
      { W2ru = [[.\base.vhd]], W2ku = [[C:\base.vhd]],
        MacX = "file://./base.vhd" }, "base.vhd")
  end)

  it("below the root of the host, which is a drive", function()
    local e <close> = lvhd.engine{ drives = { Z = "/" } }
    local parent = parent_at(dir .. "/c/base.vhd")
    support.mkdir(dir .. "/d")
    judge(e:create_differencing(dir .. "/d/a.vhd", parent):wait(),
      { W2ru = [[.\..\c\base.vhd]], MacX = "file://./../c/base.vhd",
        W2ku = "Z:" .. parent:gsub("/", "\\") }, "base.vhd")
  end)

  it("on a drive, as a name that is none in Windows", function()
    for i, name in ipairs{ "con.vhd", "base.", "base ", "a:b.vhd", "a*.vhd",
      "nul", "aux/base.vhd", "x./base.vhd" } do
      local parent = parent_at(dir .. "/d/" .. name)
      local opts = { names = "host" }
      local child = ("%s/c/vms/%d.vhd"):format(dir, i)
      local info = engine:create_differencing(child, parent, opts):wait()
      judge(info, { MacX = "file://./../../d/" .. name },
        name:match("[^/]*$"))
      local note, n = finding(info, "LOCATOR_UNNAMABLE")
      assert.same({ 1, "note", nil, nil },
        { n, note.severity, note.expected, note.actual })
      assert.equal(parent, engine:chain(child)[2].path)
      -- who knows better may say so
      opts.windows_parent = [[D:\other.vhd]]
      info = engine:create_differencing(child .. "x", parent, opts):wait()
      judge(info, { W2ku = [[D:\other.vhd]],
        MacX = "file://./../../d/" .. name }, name:match("[^/]*$"))
      assert.is_nil(finding(info, "LOCATOR_UNNAMABLE"))
      info = engine:relink(child, parent):wait()
      assert.equal("note", finding(info, "LOCATOR_UNNAMABLE").severity)
    end
  end)
end)

describe("without drives", function()
  it("a child's head is what it always was, byte for byte", function()
    local parent = dir .. "/base.vhd"
    lvhd.create_dynamic(parent, SIZE, { timestamp = 1700000000,
      uuid = vhdwrite.uuid(1) }):wait()
    local child = dir .. "/a.vhd"
    lvhd.create_differencing(child, parent, { timestamp = 1700000001,
      uuid = vhdwrite.uuid(2) }):wait()
    -- the sum of what was written before there were maps
    local sum =
      "d15b61648327f995586a626eabe0214b1003500c3333c2dd4819d672594defbb"
    assert.equal(sum, fixtures.sha256(support.read(child)))
  end)

  it("windows_parent makes the W2ku, and nothing else changes", function()
    local parent = parent_at(dir .. "/out/base.vhd")
    for i, case in ipairs{
      { [[D:\vms\base.vhd]], [[D:\vms\base.vhd]] },
      { [[d:\vms\.\x\..\base.vhd]], [[D:\vms\base.vhd]] },
      { [[c:\..\..\base.vhd]], [[C:\base.vhd]] },
      { [[C:\\vms\\base.vhd]], [[C:\vms\base.vhd]] },
      { [[\\nas\golden\base.vhd]], [[\\nas\golden\base.vhd]] },
      { [[\\nas\golden\..\ä 😀.vhd]], [[\\nas\golden\ä 😀.vhd]] },
    } do
      local want = { W2ru = [[.\base.vhd]], W2ku = case[2],
        MacX = "file://./base.vhd" }
      local opts = { windows_parent = case[1] }
      local child = ("%s/out/%d.vhd"):format(dir, i)
      local info = lvhd.create_differencing(child, parent, opts):wait()
      judge(info, want, "base.vhd")
      assert.same({}, info.findings)
      assert.equal(parent, lvhd.chain(child)[2].path)
      opts.to, opts.parent = "differencing", parent
      judge(lvhd.convert(child, child .. ".c", opts):wait(), want, "base.vhd")
    end
  end)

  it("a windows_parent of 511 units is the longest", function()
    local parent = parent_at(dir .. "/out/base.vhd")
    local text = [[C:\]] .. ([[ä\]]):rep(253) .. "xx" -- 3 + 506 + 2 units
    local want = { W2ru = [[.\base.vhd]], W2ku = text,
      MacX = "file://./base.vhd" }
    local info = lvhd.create_differencing(dir .. "/out/a.vhd", parent,
      { windows_parent = text }):wait()
    judge(info, want, "base.vhd")
    assert.equal(1022, #vhdread.open(info.path).header.locators[2].raw)
    assert.same({}, info.findings)
    want.W2ku = nil
    info = lvhd.create_differencing(dir .. "/out/b.vhd", parent,
      { windows_parent = text .. "x" }):wait()
    judge(info, want, "base.vhd")
    local note, n = finding(info, "LOCATOR_LEFT_OUT")
    assert.same({ 1, "note", 1022, 1024 },
      { n, note.severity, note.expected, note.actual })
    info = lvhd.relink(info.path, parent, { windows_parent = text .. "x" })
      :wait()
    note, n = finding(info, "LOCATOR_LEFT_OUT")
    assert.same({ 1, 1024 }, { n, note.actual })
    info = lvhd.relink(info.path, parent, { windows_parent = text }):wait()
    assert.is_nil(finding(info, "LOCATOR_LEFT_OUT"))
    assert.equal(text, vhdread.open(info.path).header.locators[2].text)
  end)

  it("a malformed windows_parent is refused by the call", function()
    local parent = parent_at(dir .. "/out/base.vhd")
    local child = dir .. "/out/a.vhd"
    local kid = lvhd.create_differencing(dir .. "/out/kid.vhd", parent)
      :wait().path
    expect.unchanged(dir, function()
      for _, case in ipairs{
        { "", "E_BAD_PATHNAME", "PATH_EMPTY" },
        { "base.vhd", "E_BAD_PATHNAME", "PATH_RELATIVE" },
        { [[vms\base.vhd]], "E_BAD_PATHNAME", "PATH_RELATIVE" },
        { "C:base.vhd", "E_INVALID_NAME", "WINDOWS_FORM" },
        { [[\base.vhd]], "E_INVALID_NAME", "WINDOWS_FORM" },
        { [[\\nas]], "E_INVALID_NAME", "WINDOWS_FORM" },
        { [[\\?\C:\base.vhd]], "E_INVALID_NAME" },
        { "C:/base.vhd", "E_INVALID_NAME", "CHARACTER_FORBIDDEN" },
        { "/vms/base.vhd", "E_INVALID_NAME", "CHARACTER_FORBIDDEN" },
        { [[C:\a*.vhd]], "E_INVALID_NAME", "CHARACTER_FORBIDDEN" },
        { "C:\\a\0.vhd", "E_INVALID_NAME", "CHARACTER_FORBIDDEN" },
        { "C:\\\xFF.vhd", "E_INVALID_NAME", "NOT_UTF8" },
        { [[C:\base.vhd.]], "E_INVALID_NAME", "NAME_ENDING" },
        { [[C:\con\base.vhd]], "E_INVALID_NAME", "NAME_RESERVED" },
        { [[C:\]], "E_INVALID_NAME", "NAME_IS_FOLDER" },
        { [[C:\vms\]], "E_INVALID_NAME", "NAME_IS_FOLDER" },
        { [[C:\vms\..]], "E_INVALID_NAME", "NAME_IS_FOLDER" },
        { [[\\nas\golden]], "E_INVALID_NAME", "NAME_IS_FOLDER" },
      } do
        local opts = { windows_parent = case[1] }
        for _, e in ipairs{ lvhd.default_engine(), engine } do
          local err = expect.refused(case[2], case[3],
            e.create_differencing, e, child, parent, opts)
          assert.equal(child, err.path)
          assert.equal((case[1]:gsub("%z", "\1")), err.parent or "")
          err = expect.refused(case[2], case[3], e.relink, e, kid, parent,
            opts)
          assert.equal(kid, err.path)
          opts.to, opts.parent = "differencing", parent
          expect.refused(case[2], case[3], e.convert, e, kid, child, opts)
          opts.to, opts.parent = nil, nil
          -- without preflight too: it is a string of the call
          opts.preflight = false
          expect.refused(case[2], case[3], e.create_differencing, e, child,
            parent, opts)
          opts.preflight = nil
        end
      end
    end)
  end)
end)

describe("with drives, windows_parent", function()
  it("wins over the map", function()
    local parent = parent_at(dir .. "/c/vms/base.vhd")
    local opts = { windows_parent = [[X:\other\base.vhd]] }
    judge(engine:create_differencing(dir .. "/c/vms/a.vhd", parent, opts)
      :wait(), { W2ru = [[.\base.vhd]], W2ku = [[X:\other\base.vhd]],
      MacX = "file://./base.vhd" }, "base.vhd")
    -- but where child and parent lie is the map's to know
    judge(engine:create_differencing(dir .. "/d/a.vhd", parent, opts):wait(),
      { W2ku = [[X:\other\base.vhd]], MacX = "file://./../c/vms/base.vhd" },
      "base.vhd")
  end)

  it("is not asked for again by relink: then the map counts", function()
    local parent = parent_at(dir .. "/c/vms/base.vhd")
    local child = engine:create_differencing(dir .. "/c/vms/a.vhd", parent,
      { windows_parent = [[X:\other\base.vhd]] }):wait().path
    engine:relink(child, parent):wait()
    assert.equal([[C:\vms\base.vhd]],
      vhdread.open(child).header.locators[2].text)
  end)
end)

describe("where no relative way leads,", function()
  local deep = ("日"):rep(80)

  ---A parent on D whose MacX does not fit; its Windows name has so many
  ---units.
  local function far(units)
    local rest = units - #[[D:\]] - #"\\base.vhd"
    local names = {}
    while rest > 0 do
      local n = math.min(rest, 80)
      if rest - n == 1 then
        n = n - 1
      end
      names[#names + 1] = deep:sub(1, 3 * n)
      rest = rest - n - 1
    end
    return parent_at(dir .. "/d/" .. table.concat(names, "/") .. "/base.vhd")
  end

  it("a long W2ku alone is enough", function()
    local parent = far(511)
    local info = engine:create_differencing(dir .. "/c/a.vhd", parent,
      { long_paths = true }):wait()
    local found, order = in_slots(info.path)
    assert.equal("W2ku", order)
    assert.equal(1022, #found.W2ku.raw)
    local note, n = finding(info, "LOCATOR_LEFT_OUT")
    assert.same({ 1, 1023 }, { n, note.expected })
    assert.equal(#"file://./../d/" + #parent - #(dir .. "/d/"), note.actual)
    assert.equal(parent, engine:chain(info.path)[2].path)
  end)

  it("a parent that no locator can name is refused", function()
    local parent = far(512)
    local kid = engine:create_differencing(dir .. "/c/kid.vhd",
      parent_at(dir .. "/c/base.vhd")):wait().path
    expect.unchanged(dir, function()
      local err = expect.refused("E_BUFFER_OVERFLOW", "LOCATOR_TOO_LONG",
        engine.create_differencing, engine, dir .. "/c/a.vhd", parent,
        { long_paths = true })
      assert.equal(1023, err.expected)
      expect.fails("E_BUFFER_OVERFLOW", "LOCATOR_TOO_LONG", engine.relink,
        engine, kid, parent, { force = true })
    end)
  end)

  it("a W2ru of more than 1,022 bytes is no obstacle", function()
    -- to D it is not written; on the host's side it would be too long
    local folder = dir .. "/d"
    for _ = 1, 3 do
      folder = folder .. "/" .. ("d"):rep(180)
    end
    local parent = parent_at(folder .. "/base.vhd")
    local opts = { long_paths = true }
    expect.refused("E_BUFFER_OVERFLOW", "LOCATOR_TOO_LONG",
      lvhd.create_differencing, dir .. "/c/a.vhd", parent, opts)
    local info = engine:create_differencing(dir .. "/c/a.vhd", parent, opts)
      :wait()
    local _, order = in_slots(info.path)
    assert.equal("MacX", order)
    assert.equal(2 * (3 + 3 * 181 + 8),
      finding(info, "LOCATOR_LEFT_OUT").actual)
  end)
end)

-- ---- other readers ----------------------------------------------------------

describe("other programs read a child with a W2ku", function()
  local function content(path)
    local disk <close> = engine:open(path)
    return disk:read(0, SIZE)
  end

  it("in one folder: 7-Zip, libvhdi", function()
    local root = vhdwrite.new{ size = SIZE }
    root:put(3, vhdwrite.pattern(1, 3)):save(dir .. "/c/vms/root.vhd")
    engine:create_differencing([[C:\vms\mid.vhd]], "root.vhd"):wait()
    engine:create_differencing([[C:\vms\leaf.vhd]], "mid.vhd"):wait()
    local leaf = dir .. "/c/vms/leaf.vhd"
    vhdread.put_sector(leaf, 7, vhdwrite.pattern(2, 7))
    assert.equal(vhdwrite.pattern(1, 3), content(leaf):sub(1537, 2048))
    if support.has("7zz") then
      assert.equal(fixtures.sha256(content(leaf)),
        fixtures.sha256_of_output("7zz x -tvhd -so -bd " .. q(leaf)
          .. " 2>/dev/null"))
    end
    if support.has("vhdiinfo") then
      local out = run("vhdiinfo " .. q(leaf))
      assert.truthy(out:find("mid.vhd", 1, true), out)
      assert.truthy(out:lower():find(lvhd.info(dir .. "/c/vms/mid.vhd").uuid,
        1, true), out)
    end
    for _, info in ipairs(engine:check(leaf, { chain = true,
      profile = "hyperv" }):wait()) do
      for _, f in ipairs(info.findings) do
        assert(f.severity ~= "error", f.code)
        assert(not f.code:find("LOCATOR", 1, true), f.code)
      end
    end
  end)

  it("on two drives: libvhdi tells the parent", function()
    parent_at(dir .. "/d/gold/base.vhd")
    local info = engine:create_differencing([[C:\a.vhd]],
      [[D:\gold\base.vhd]]):wait()
    if support.has("vhdiinfo") then
      local out = run("vhdiinfo " .. q(info.path))
      assert.truthy(out:find("base.vhd", 1, true), out)
      assert.truthy(out:lower():find(info.parent.uuid, 1, true), out)
    end
    for _, f in ipairs(engine:check(info.path, { profile = "hyperv" })
      :wait()[1].findings) do
      assert(f.severity == "note", f.code)
    end
  end)
end)

-- ---- reading by the map ------------------------------------------------------

local FOUND <const> = "found"
local MISSING <const> = "VM_E_PARENT_PATH_NOT_FOUND PARENT_MISSING"
local OUTSIDE <const> = "E_ACCESSDENIED PARENT_OUTSIDE"
local SPECIAL <const> = "VM_E_INVALID_HD_FILE NOT_REGULAR"
local OTHER <const> = "VM_E_PARENT_CHILD_ID_MISMATCH PARENT_ID"
local TWINS <const> = "E_INVALID_NAME CASE_AMBIGUOUS"

-- The ways to open beneath a folder.
local ways = {
  { "openat2" },
  { "the walk", "ENOSYS" },
  { "the walk, since openat2 is forbidden", "EPERM" },
}

---Runs fn(engine, name) with an engine of each way and these drives.
local function each_way(drives, fn)
  for _, way in ipairs(ways) do
    local system = test.system()
    local e <close> = lvhd.engine{ system = system:pointer(),
      drives = drives }
    if way[2] then
      system:fail{ call = "openat2", errno = way[2], times = 0 }
    end
    fn(e, way[1])
  end
end

local base -- the disk that is looked for, in many places
local number = 0

---A child of it in this folder that records its parent so and no other way.
local function leaf_in(folder, o)
  number = number + 1
  o.parent, o.locators, o.name = base, o.locators or {}, o.name or false
  return vhdwrite.new(o):save(("%s/%s/leaf%d.vhd"):format(dir, folder,
    number))
end

local function verdict(e, path, opts)
  local ok, got = pcall(e.open, e, path, opts)
  if not ok then
    assert(lvhd.is_error(got), tostring(got))
    assert.equal(path, got.path)
    return got.name .. " " .. (got.reason or ""), got
  end
  local disk <close> = got
  assert.equal(vhdwrite.pattern(1, 3), disk:read(3 * 512, 512))
  return FOUND, disk:chain()
end

---Every way gives this verdict with the drives; the found one lies there.
local function reads(path, want, where, how)
  each_way(map, function(e, way)
    local got, more = verdict(e, path)
    assert(got == want, ("%s: %s instead of %s"):format(way, got, want))
    if got == FOUND then
      assert.equal(dir .. "/" .. where, more[2].path)
      assert.equal(how and "locator" or "name", more[1].parent.found)
      assert.equal(how or nil, more[1].parent.found_by)
    end
  end)
end

---The disk with its very identifier in all these places: only containment
---keeps a chain from the secrets.
local function furnish()
  base = vhdwrite.new{ size = SIZE, uuid = vhdwrite.uuid(77) }
  base:put(3, vhdwrite.pattern(1, 3)):save(dir .. "/c/base.vhd")
  run(("cd %s && rmdir c/vms && mkdir -p c/Vms/Web c/folder.vhd c/two c/Two"):format(q(dir)))
  for _, copy in ipairs{ "secret.vhd", "out/secret.vhd", "cc/base.vhd",
    "c/Vms/Base.vhd", "c/con.vhd", "c/twin.vhd", "c/TWIN.vhd",
    "c/two/a.vhd", "c/Two/b.vhd", "d/gold/base.vhd", "share/win/base.vhd",
    "c/Grün.vhd", "c/日 本.vhd", "c/inner/deep.vhd" } do
    support.copy(dir .. "/c/base.vhd", dir .. "/" .. copy)
  end
  vhdwrite.new{ size = SIZE }:save(dir .. "/c/other.vhd")
  for link, target in pairs{ ["c/link.vhd"] = "../secret.vhd",
    ["c/inlink.vhd"] = "base.vhd", ["c/dirlink"] = "../out",
    ["c/sublink"] = "Vms", ["c/loop.vhd"] = "loop.vhd",
    ["c/rootlink"] = "/" } do
    assert(test.symlink(target, dir .. "/" .. link))
  end
  assert(test.mkfifo(dir .. "/c/fifo"))
end

-- Text of a W2ku; verdict; where it lies.
local names = {
  { [[C:\base.vhd]], FOUND, "c/base.vhd" },
  { [[c:\base.vhd]], FOUND, "c/base.vhd" },
  { [[C:\BASE.VHD]], FOUND, "c/base.vhd" },
  { [[C:\vms\base.vhd]], FOUND, "c/Vms/Base.vhd" },
  { [[C:\Vms\Base.vhd]], FOUND, "c/Vms/Base.vhd" },
  { [[C:\GRÜN.VHD]], FOUND, "c/Grün.vhd" },
  { [[C:\日 本.vhd]], FOUND, "c/日 本.vhd" },
  { [[C:\x\..\base.vhd]], FOUND, "c/base.vhd" },
  { [[C:\.\\base.vhd]], FOUND, "c/base.vhd" },
  { [[C:\..\..\base.vhd]], FOUND, "c/base.vhd" },
  { [[C:\..\out\secret.vhd]], MISSING },
  { [[C:\..\secret.vhd]], MISSING },
  { [[C:\vms\..\..\secret.vhd]], MISSING },
  { [[D:\gold\BASE.vhd]], FOUND, "d/gold/base.vhd" },
  { [[E:\DEEP.vhd]], FOUND, "c/inner/deep.vhd" },
  { [[C:\INNER\DEEP.vhd]], FOUND, "c/inner/deep.vhd" },
  { [[\\nas\golden\win\base.vhd]], FOUND, "share/win/base.vhd" },
  { [[\\NAS\Golden\WIN\base.vhd]], FOUND, "share/win/base.vhd" },
  { [[\\nas\golden\..\win\base.vhd]], FOUND, "share/win/base.vhd" },
  { [[\\nas\other\win\base.vhd]], MISSING },
  { [[\\nas2\golden\win\base.vhd]], MISSING },
  { [[X:\base.vhd]], MISSING },
  { [[C:\nowhere.vhd]], MISSING },
  { [[C:\nowhere\base.vhd]], MISSING },
  { [[C:\base.vhd\base.vhd]], MISSING },
  -- what Windows would not take, or not as a path from a root
  { [[C:base.vhd]], MISSING }, { [[C:]], MISSING }, { [[C:\]], MISSING },
  { [[C:\.]], MISSING }, { [[C:\Vms\..]], MISSING },
  { [[\\nas\golden]], MISSING }, { [[\\nas\golden\]], MISSING },
  { [[\\nas]], MISSING }, { [[\\]], MISSING },
  { [[\\?\C:\base.vhd]], MISSING }, { [[\\.\C:\base.vhd]], MISSING },
  { [[\\?\UNC\nas\golden\win\base.vhd]], MISSING },
  { [[C:/base.vhd]], MISSING }, { [[C:\vms/base.vhd]], MISSING },
  { [[//nas/golden/win/base.vhd]], MISSING },
  { [[C:\con.vhd]], MISSING }, { [[C:\CON]], MISSING },
  { [[C:\nul\base.vhd]], MISSING },
  { [[C:\base.vhd.]], MISSING }, { [[C:\base.vhd ]], MISSING },
  { [[C:\base.vhd:stream]], MISSING }, { [[C:\base.vh?]], MISSING },
  { "C:\\base.vhd\n", MISSING }, { "C:\\base.vhd\0.old", FOUND,
    "c/base.vhd" },
  { [[C:\]] .. ("n"):rep(300) .. [[\..\base.vhd]], FOUND, "c/base.vhd" },
  { [[C:\]] .. ("n"):rep(300), MISSING },
  -- no link is followed, by any name
  { [[C:\link.vhd]], OUTSIDE }, { [[C:\LINK.vhd]], OUTSIDE },
  { [[C:\inlink.vhd]], OUTSIDE }, { [[C:\INLINK.vhd]], OUTSIDE },
  { [[C:\loop.vhd]], OUTSIDE }, { [[C:\dirlink\secret.vhd]], OUTSIDE },
  { [[C:\DIRLINK\SECRET.vhd]], OUTSIDE },
  { [[C:\sublink\Base.vhd]], OUTSIDE }, { [[C:\SubLink\base.vhd]], OUTSIDE },
  { [[C:\rootlink\etc\passwd]], OUTSIDE },
  { [[C:\RootLink\etc\passwd]], OUTSIDE },
  -- nor is anything but a file opened
  { [[C:\fifo]], SPECIAL }, { [[C:\FIFO]], SPECIAL },
  { [[C:\folder.vhd]], SPECIAL }, { [[C:\Folder.vhd]], SPECIAL },
  { [[C:\other.vhd]], OTHER }, { [[C:\OTHER.vhd]], OTHER },
  -- one of two names that differ in case: exactly, or not at all
  { [[C:\twin.vhd]], FOUND, "c/twin.vhd" },
  { [[C:\TWIN.vhd]], FOUND, "c/TWIN.vhd" },
  { [[C:\Twin.vhd]], TWINS },
  { [[C:\TWO\a.vhd]], TWINS },
  { [[C:\Two\B.vhd]], FOUND, "c/Two/b.vhd" },
  -- the exact folder is the one: its other half is not searched
  { [[C:\two\b.vhd]], MISSING },
}

describe("a chain that only its W2ku can lead,", function()
  before_each(furnish)

  for _, row in ipairs(names) do
    it(("%.60s"):format(("%q"):format(row[1])), function()
      for _, o in ipairs{
        { code = "W2ku", text = row[1] },
        { code = "Wi2k", text = row[1] },
        { code = "W2ru", text = row[1] }, -- an absolute one, by mistake
      } do
        local path = leaf_in("out", { locators = { o } })
        reads(path, row[2], row[3], o.code)
        -- a drive is no place without a map; nor is one of another map
        local got = verdict(lvhd.default_engine(), path)
        assert(got == MISSING or row[1]:find("^\\\\") and got == OUTSIDE, got)
        local e <close> = lvhd.engine{ drives = { Q = dir .. "/c" } }
        assert.equal(MISSING, (verdict(e, path)))
      end
    end)
  end

  it("not through a drive whose folder went away", function()
    local path = leaf_in("out", { locators = {
      { code = "W2ku", text = [[C:\base.vhd]] } } })
    run(("mv %s/c %s/moved"):format(q(dir), q(dir)))
    reads(path, MISSING)
    run(("mv %s/moved %s/c"):format(q(dir), q(dir)))
    reads(path, FOUND, "c/base.vhd", "W2ku")
  end)

  it("with what a writer of names may have done to the text", function()
    for _, raw in ipairs{
      vhdwrite.utf16("C:\\base.vhd\0\0\0", "<"),
      vhdwrite.utf16("C:\\base.vhd", "<") .. "x", -- an odd length
    } do
      reads(leaf_in("out", { locators = { { code = "W2ku", raw = raw } } }),
        FOUND, "c/base.vhd", "W2ku")
    end
    for _, raw in ipairs{
      vhdwrite.utf16("C:\\base.vhd", ">"), -- the wrong way round
      "\0\xD8" .. vhdwrite.utf16("C:\\base.vhd", "<"),
      vhdwrite.utf16("C:\\", "<") .. "\0\xD8", "",
      vhdwrite.utf16("\u{FEFF}C:\\base.vhd", "<"),
    } do
      reads(leaf_in("out", { locators = { { code = "W2ku", raw = raw } } }),
        MISSING)
    end
  end)

  it("over several hops, and back again", function()
    support.copy(dir .. "/c/base.vhd", dir .. "/share/win/root.vhd")
    local mid = vhdwrite.new{ parent = base, name = false, locators = {
      { code = "W2ku", text = [[\\NAS\golden\win\ROOT.vhd]] } } }
    mid:put(9, vhdwrite.pattern(2, 9)):save(dir .. "/d/gold/mid.vhd")
    local leaf = vhdwrite.new{ parent = mid, name = false, locators = {
      { code = "W2ku", text = [[d:\gold\MID.vhd]] } } }
    leaf:save(dir .. "/c/leaf.vhd")
    each_way(map, function(e)
      local disk <close> = e:open([[C:\LEAF.vhd]])
      assert.equal(dir .. "/d/gold/mid.vhd", disk:chain()[2].path)
      assert.equal(dir .. "/share/win/root.vhd", disk:chain()[3].path)
      assert.equal(vhdwrite.pattern(2, 9), disk:read(9 * 512, 512))
      assert.equal(vhdwrite.pattern(1, 3), disk:read(3 * 512, 512))
    end)
  end)

  it("in the order relative, absolute, URL, name", function()
    local places = { "c/Vms/ru.vhd", "d/ku.vhd", "c/Vms/mac.vhd",
      "c/Vms/name.vhd" }
    for _, place in ipairs(places) do
      support.copy(dir .. "/c/base.vhd", dir .. "/" .. place)
    end
    local path = leaf_in("c/Vms", { name = "NAME.vhd", locators = {
      { code = "MacX", text = "file://./mac.vhd" },
      { code = "W2ku", text = [[D:\KU.vhd]] },
      { code = "W2ru", text = [[.\RU.vhd]] } } })
    local codes = { "W2ru", "W2ku", "MacX" }
    for i, place in ipairs(places) do
      reads(path, FOUND, place, codes[i])
      os.remove(dir .. "/" .. place)
    end
    reads(path, MISSING)
  end)

  it("past names that are ambiguous or another disk", function()
    local good = { code = "MacX", text = "file://../d/gold/base.vhd" }
    for _, text in ipairs{ [[C:\Twin.vhd]], [[C:\other.vhd]],
      [[C:\link.vhd]] } do
      reads(leaf_in("out", { locators = {
        { code = "W2ku", text = text }, good } }), FOUND, "d/gold/base.vhd",
        "MacX")
    end
    -- of those that fail the one is told that says the most
    local order = { [[C:\no.vhd]], [[C:\link.vhd]], [[C:\Twin.vhd]],
      [[C:\fifo]], [[C:\other.vhd]] }
    local told = { MISSING, OUTSIDE, TWINS, SPECIAL, OTHER }
    for i = 1, #order - 1 do
      for _, pair in ipairs{ { i, i + 1 }, { i + 1, i } } do
        reads(leaf_in("out", { locators = {
          { code = "W2ku", text = order[pair[1]] },
          { code = "W2ku", text = order[pair[2]] } } }), told[i + 1])
      end
    end
  end)

  it("tells both names that differ in case alone", function()
    local path = leaf_in("out", { locators = {
      { code = "W2ku", text = [[C:\Twin.vhd]] } } })
    local _, err = verdict(engine, path)
    assert.equal(dir .. "/c/Twin.vhd", err.parent)
    table.sort(err.others)
    assert.same({ dir .. "/c/TWIN.vhd", dir .. "/c/twin.vhd" }, err.others)
    local last = engine:chain(path)[1]
    assert.equal("CASE_AMBIGUOUS", last.error.reason)
  end)
end)

describe("relative names on a drive may differ in case:", function()
  before_each(furnish)

  -- where the child lies; what it records; verdict with drives; where
  local function ru(text)
    return { locators = { { code = "W2ru", text = text } } }
  end
  local relative = {
    { "c", ru[[.\BASE.vhd]], FOUND, "c/base.vhd", "W2ru" },
    { "c", ru[[BASE.vhd]], FOUND, "c/base.vhd", "W2ru" },
    { "c", { locators = { { code = "Wi2r", text = [[.\BASE.vhd]] } } },
      FOUND, "c/base.vhd", "Wi2r" },
    { "c", { locators = { { code = "W2ku", text = [[.\BASE.vhd]] } } },
      FOUND, "c/base.vhd", "W2ku" },
    { "c/Vms/Web", ru[[..\BASE.vhd]], FOUND, "c/Vms/Base.vhd", "W2ru" },
    { "c/Vms/Web", ru[[.\..\..\VMS\BASE.vhd]], FOUND, "c/Vms/Base.vhd",
      "W2ru" },
    { "d", ru[[GOLD\BASE.vhd]], FOUND, "d/gold/base.vhd", "W2ru" },
    -- to another drive: on the host that is a way, and allowed
    { "d", ru[[..\C\BASE.vhd]], OUTSIDE },
    { "d", ru[[..\c\BASE.vhd]], FOUND, "c/base.vhd", "W2ru" },
    { "d", ru[[..\SECRET.vhd]], OUTSIDE },
    { "c", ru[[.\LINK.vhd]], OUTSIDE }, { "c", ru[[.\Twin.vhd]], TWINS },
    { "c", ru[[.\OTHER.vhd]], OTHER },
    { "c", ru[[.\SUBLINK\base.vhd]], OUTSIDE },
    -- a child on no drive: as it stands, or not at all
    { "cc", ru[[.\BASE.vhd]], MISSING },
    { "cc", ru[[.\base.vhd]], FOUND, "cc/base.vhd", "W2ru" },
    { "cc", ru[[..\c\BASE.vhd]], FOUND, "c/base.vhd", "W2ru" },
    { "cc", { name = "BASE.vhd" }, MISSING },
    { "c", { name = "BASE.vhd" }, FOUND, "c/base.vhd" },
    { "c", { name = [[X:\old\BASE.vhd]] }, FOUND, "c/base.vhd" },
    { "c", { name = "BASE.vhd", name_order = "<" }, FOUND, "c/base.vhd" },
    { "c", { name = "Twin.vhd" }, TWINS },
    -- MacX and absolute paths of the host are not Windows'
    { "c", { locators = { { code = "MacX", text = "file://./BASE.vhd" } } },
      MISSING },
  }

  for _, row in ipairs(relative) do
    local o = row[2]
    local text = o.name or o.locators[1].code .. " " .. o.locators[1].text
    it(("%s, in %s"):format(text, row[1]), function()
      local copy = {}
      for k, v in pairs(o) do copy[k] = v end
      local path = leaf_in(row[1], copy)
      reads(path, row[3], row[4], row[5])
      -- without a map it must be there as it is written
      local exact = row[1] == "cc" and text:find("[.]\\base")
      local got = verdict(lvhd.default_engine(), path)
      assert(got == (exact and FOUND or MISSING) or got == OUTSIDE, got)
    end)
  end

  it("absolute paths of the host, as they are", function()
    for _, text in ipairs{ dir .. "/c/BASE.vhd",
      (dir .. "/c/BASE.vhd"):gsub("/", "\\") } do
      reads(leaf_in("c", { locators = { { code = "W2ku", text = text } } }),
        MISSING)
    end
  end)
end)

describe("what drives do not allow", function()
  it("stays closed beside them", function()
    furnish()
    for _, text in ipairs{ "..\\secret.vhd", "..\\cc\\base.vhd",
      "..\\c\\link.vhd" } do
      reads(leaf_in("out", { locators = { { code = "W2ru", text = text } } }),
        OUTSIDE)
    end
    -- and parents= goes on to work beside them
    local path = leaf_in("out", ({ locators = {
      { code = "W2ru", text = [[..\cc\base.vhd]] } } }))
    assert.equal(FOUND, (verdict(engine, path,
      { parents = { dir .. "/cc" } })))
    local e <close> = lvhd.engine{ drives = map, parents = { dir .. "/cc" } }
    assert.equal(FOUND, (verdict(e, path)))
  end)
end)

describe("a folder of a drive that is a link every other moment", function()
  it("never leads out of the drive", function()
    furnish()
    local evil = vhdwrite.new{ size = SIZE, uuid = vhdwrite.uuid(77) }
    evil:put(3, vhdwrite.pattern(9, 3)):save(dir .. "/out/swap.vhd")
    run(("cd %s/c && mkdir swap && cp -p base.vhd swap/Swap.vhd")
      :format(q(dir)))
    local paths = {}
    for i, text in ipairs{ [[C:\swap\Swap.vhd]], [[C:\SWAP\swap.vhd]],
      [[C:\swap\swap.vhd]] } do
      paths[i] = leaf_in("out", { locators = {
        { code = "W2ku", text = text } } })
    end
    -- it ends by itself should this test not come to its end
    local pid = run(([[cd %s/c; (i=0; while [ $i -lt 20000 ]; do
      mv swap swap.d; ln -s ../out swap; rm swap; mv swap.d swap
      i=$((i+1)); done) >/dev/null 2>&1 & echo $!]]):format(q(dir)))
    local seen = {}
    local ok, why = pcall(each_way, map, function(e, way)
      for i = 1, 300 do
        local got = verdict(e, paths[i % #paths + 1])
        assert(got == FOUND or got == MISSING or got == OUTSIDE,
          way .. ": " .. got)
        seen[got] = (seen[got] or 0) + 1
      end
    end)
    support.sh("kill " .. pid)
    assert(ok, why)
    assert(seen[FOUND] and (seen[MISSING] or seen[OUTSIDE]),
      "nothing changed while it was looked at")
  end)
end)

-- ---- trees that move ---------------------------------------------------------

---code -> text, of the file.
local function texts(path)
  local out = {}
  for _, l in ipairs(vhdread.open(path).header.locators) do
    out[l.code] = l.text
  end
  out["\0\0\0\0"] = nil
  return out
end

---A chain of three by name, made in this folder of the host.
local function chain_in(folder)
  support.mkdir(dir .. "/" .. folder)
  local root = vhdwrite.new{ size = SIZE, block_size = 1 << 19 }
  root:put(3, vhdwrite.pattern(1, 3)):save(dir .. "/" .. folder
    .. "/root.vhd")
  for i, name in ipairs{ "mid", "leaf" } do
    local child = ("%s/%s/%s.vhd"):format(dir, folder, name)
    engine:create_differencing(child, i == 1 and "root.vhd" or "mid.vhd")
      :wait()
    vhdread.put_sector(child, 5 + i, vhdwrite.pattern(1 + i, 5 + i))
  end
end

local function content_of(path)
  local disk <close> = engine:open(path)
  return disk:read(0, SIZE)
end

describe("a tree that moved under another root and is relinked", function()
  it("has right locators again: all of it", function()
    chain_in("c/chain")
    local before = content_of([[C:\chain\leaf.vhd]])
    for _, to in ipairs{
      { "d/chain", [[D:\chain\]] }, { "share/x/y", [[\\nas\golden\x\y\]] },
      { "c/inner/chain", [[E:\chain\]] }, { "out/chain" },
    } do
      run(("mkdir -p %s && rmdir %s && mv %s %s"):format(
        q(dir .. "/" .. to[1]), q(dir .. "/" .. to[1]),
        q(support.run(("dirname $(find %s -name leaf.vhd)"):format(q(dir)))
          :gsub("\n", "")), q(dir .. "/" .. to[1])))
      local at = ("%s/%s/"):format(dir, to[1])
      -- from the root on
      assert.same({}, engine:relink(at .. "mid.vhd", at .. "root.vhd"):wait()
        .findings)
      engine:relink(at .. "leaf.vhd", at .. "mid.vhd"):wait()
      assert.same({ W2ru = [[.\root.vhd]], MacX = "file://./root.vhd",
        W2ku = to[2] and to[2] .. "root.vhd" }, texts(at .. "mid.vhd"))
      assert.same({ W2ru = [[.\mid.vhd]], MacX = "file://./mid.vhd",
        W2ku = to[2] and to[2] .. "mid.vhd" }, texts(at .. "leaf.vhd"))
      assert.is_true(before == content_of(at .. "leaf.vhd"))
      for _, info in ipairs(engine:check(at .. "leaf.vhd",
        { chain = true, data = true }):wait()) do
        for _, f in ipairs(info.findings) do
          assert(f.severity == "note", f.code)
        end
      end
    end
  end)

  it("has right locators again: its root alone", function()
    chain_in("c/chain")
    local before = content_of([[C:\chain\leaf.vhd]])
    run(("mv %s/c/chain/root.vhd %s/d/gold/Root.vhd"):format(q(dir), q(dir)))
    expect.fails("VM_E_PARENT_PATH_NOT_FOUND", nil, engine.open, engine,
      [[C:\chain\leaf.vhd]])
    engine:relink([[C:\chain\MID.vhd]], [[D:\gold\ROOT.vhd]]):wait()
    assert.same({ W2ku = [[D:\gold\Root.vhd]],
      MacX = "file://./../../d/gold/Root.vhd" },
      texts(dir .. "/c/chain/mid.vhd"))
    -- the child's own child need not be told: it keeps its place
    assert.is_true(before == content_of([[C:\chain\leaf.vhd]]))
    -- and back
    run(("mv %s/d/gold/Root.vhd %s/c/chain/root.vhd"):format(q(dir), q(dir)))
    engine:relink([[C:\chain\mid.vhd]], [[C:\chain\root.vhd]]):wait()
    assert.same({ W2ru = [[.\root.vhd]], W2ku = [[C:\chain\root.vhd]],
      MacX = "file://./root.vhd" }, texts(dir .. "/c/chain/mid.vhd"))
  end)
end)

describe("merge hangs children on a target on another drive", function()
  it("with right locators", function()
    chain_in("c/chain")
    run(("mv %s/c/chain/root.vhd %s/d/gold/root.vhd"):format(q(dir), q(dir)))
    engine:relink([[C:\chain\mid.vhd]], [[D:\gold\root.vhd]]):wait()
    support.mkdir(dir .. "/d/kids")
    engine:create_differencing([[D:\kids\kid.vhd]], [[C:\chain\mid.vhd]])
      :wait()
    engine:create_differencing(dir .. "/out/kid.vhd", [[C:\chain\mid.vhd]])
      :wait()
    local before = content_of([[C:\chain\leaf.vhd]])
    local info = engine:merge([[C:\chain\MID.vhd]], { children = {
      [[C:\chain\Leaf.vhd]], [[D:\kids\kid.vhd]], dir .. "/out/kid.vhd" },
      into = [[D:\gold\ROOT.vhd]], delete = true,
      children_in = { [[c:\]], [[d:\Kids]] } }):wait()
    assert.equal(dir .. "/d/gold/root.vhd", info.path)
    for _, f in ipairs(info.findings) do
      assert(not f.code:find("LOCATOR", 1, true), f.code)
    end
    assert.same({ W2ku = [[D:\gold\root.vhd]],
      MacX = "file://./../../d/gold/root.vhd" },
      texts(dir .. "/c/chain/leaf.vhd"))
    assert.same({ W2ku = [[D:\gold\root.vhd]],
      W2ru = [[.\..\gold\root.vhd]], MacX = "file://./../gold/root.vhd" },
      texts(dir .. "/d/kids/kid.vhd"))
    assert.same({ W2ku = [[D:\gold\root.vhd]],
      W2ru = [[.\..\d\gold\root.vhd]], MacX = "file://./../d/gold/root.vhd" },
      texts(dir .. "/out/kid.vhd"))
    assert.is_true(before == content_of([[C:\chain\leaf.vhd]]))
    assert.same({ "leaf.vhd" }, support.names(dir .. "/c/chain"))
  end)
end)
