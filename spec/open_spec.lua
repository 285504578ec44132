-- SPDX-License-Identifier: MIT
--
-- Opening and reading: every layout that writers are known for, judged byte
-- by byte by the model of an independent writer, and sector by sector by its
-- extents.  Knows lvhd's public functions only.

local lvhd = require "lvhd"
local support = require "spec.support"
local chains = require "spec.support.chains"
local expect = require "spec.support.expect"
local fixtures = require "spec.support.fixtures"
local tester = require "lvhdtest"
local vhdwrite = require "spec.support.vhdwrite"

local KiB <const>, MiB <const> = 1 << 10, 1 << 20
local SECTOR <const> = 512
local pattern = vhdwrite.pattern

local dir
before_each(function() dir = support.tmpdir() end)

---A saved disk, with its own data at these sectors.
---@param o vhdwrite.Options
local function saved(name, o, tag, sectors)
  local disk = vhdwrite.new(o)
  for _, s in ipairs(sectors or {}) do
    disk:put(s, pattern(tag, s))
  end
  disk:save(dir .. "/" .. name)
  return disk
end

---The runs that lvhd names, in the model's form.
local function extents(disk, ...)
  local runs = {}
  for offset, length, layer in disk:extents(...) do
    runs[#runs + 1] = { offset, length, layer }
  end
  return runs
end

---The disk reads and maps as the model says.
---@param model vhdwrite.Disk
---@param given any? what to open, when not the model's path
local function judge(model, given, ...)
  local disk <close> = lvhd.open(given or model.path, ...)
  local random = vhdwrite.random(7)
  local got = chains.content(random, disk, model.size)
  assert.is_nil(chains.difference(model, got))
  for _ = 1, 20 do
    local offset, n = random.below(model.size + 600), random.below(3000)
    local want = model:read(offset, n)
    assert(want == disk:read(offset, n),
      ("%d bytes at %d differ"):format(n, offset))
  end
  assert.same(model:extents(), extents(disk))
  assert.equal(model.size, disk:info().size)
end

---The codes of everything that is reported: raised, found, or an .error.
local function reports(fn, ...)
  local codes = {}
  local ok, said = expect.try(fn, ...)
  if not ok then
    assert.is_true(lvhd.is_error(said), tostring(said))
    codes[said.reason or said.name] = said.name
    return codes
  end
  local infos = said
  if type(said) == "userdata" then
    infos = said:chain()
    said:close()
  end
  for _, info in ipairs(infos) do
    for _, f in ipairs(info.findings) do
      codes[f.code] = f.severity
    end
    if info.error then
      codes[info.error.reason] = info.error.name
    end
  end
  return codes
end

-- ---- what read means --------------------------------------------------------

describe("disk:read", function()
  local model, disk
  before_each(function()
    model = saved("d.vhd", { size = 40 * KiB, block_size = 8 * KiB }, 1,
      { 0, 15, 16, 17, 79 })
    disk = lvhd.open(model.path)
  end)
  after_each(function() disk:close() end)

  it("reads at any byte, over every border", function()
    for offset = 8 * KiB - 520, 8 * KiB + 520, 13 do
      for _, n in ipairs{ 1, 2, 511, 512, 513, 1024, 9000 } do
        assert.equal(model:read(offset, n), disk:read(offset, n))
      end
    end
  end)

  it("gives what is there at the end, then nil", function()
    assert.equal(pattern(1, 79), disk:read(40 * KiB - 512, 512))
    assert.equal(pattern(1, 79), disk:read(40 * KiB - 512, 513))
    assert.equal(pattern(1, 79):sub(-1), disk:read(40 * KiB - 1, 1 << 20))
    assert.is_nil(disk:read(40 * KiB, 1))
    assert.is_nil(disk:read(40 * KiB + 1, 1))
    assert.is_nil(disk:read(math.maxinteger, 1))
    assert.is_nil(disk:read(math.maxinteger, 1 << 30))
  end)

  it("of nothing is empty, and nil at the end, as with files", function()
    assert.equal("", disk:read(0, 0))
    assert.equal("", disk:read(40 * KiB - 1, 0))
    assert.is_nil(disk:read(40 * KiB, 0))
    assert.is_nil(disk:read(40 * KiB + 7, 0))
  end)

  it("takes an integral float", function()
    assert.equal(model:read(3, 600), disk:read(3.0, 600.0))
  end)

  it("refuses what is no place and no length", function()
    for _, args in ipairs{ { -1, 1 }, { 0, -1 }, { 0.5, 1 }, { 0, 1.5 },
      { "x", 1 }, { 0 }, {}, { 0, (1 << 30) + 1 }, { 0, math.huge } } do
      local ok, err = pcall(disk.read, disk, table.unpack(args, 1, 2))
      assert.is_false(ok)
      assert.equal("string", type(err), tostring(err))
    end
  end)

  it("changes neither the file nor its times", function()
    expect.unchanged(dir, function()
      local one <close> = lvhd.open(model.path)
      return one:read(0, 40 * KiB)
    end)
  end)
end)

describe("a large read", function()
  it("crosses pieces and blocks", function()
    local model = saved("d.vhd", { size = 11 * MiB + 512 }, 3,
      { 0, 4095, 4096, 8191, 8192, 12287, 12288, 22528 })
    local disk <close> = lvhd.open(model.path)
    assert.is_nil(chains.difference(model, disk:read(0, 12 * MiB)))
    assert(model:read(3, 9 * MiB) == disk:read(3, 9 * MiB))
  end)
end)

-- ---- one file ---------------------------------------------------------------

describe("a fixed disk reads as it is", function()
  for _, footer in ipairs{ "512", "511" } do
    it("with a footer of " .. footer, function()
      judge(saved("d.vhd", { type = "fixed", size = 37 * SECTOR,
        footer = footer }, 1, { 0, 5, 36 }))
    end)
  end
  it("of one sector", function()
    judge(saved("d.vhd", { type = "fixed", size = SECTOR }, 1, { 0 }))
  end)
end)

describe("a dynamic disk reads with blocks of", function()
  for shift = 9, 25 do
    local block = 1 << shift
    it(("%d bytes"):format(block), function()
      local per = block // SECTOR
      local size = 5 * block // 2 // SECTOR * SECTOR + SECTOR
      judge(saved("d.vhd", { size = size, block_size = block }, 1,
        { 0, per - 1, per, 2 * per, size // SECTOR - 1 }))
    end)
  end
end)

-- What is odd about one file, and what a reader may say of it.
local layouts = {
  { "with 511 bytes of footer", { footer = "511" }, "FOOTER_SHORT" },
  { "without a footer", { footer = "none" }, "FOOTER_COPY_USED" },
  { "with a footer that a running host killed", { footer = "killed" },
    "FOOTER_COPY_USED" },
  { "without a copy at 0", { copy = "none" } },
  { "with 511 bytes of footer and no copy", { footer = "511",
    copy = "none" }, "FOOTER_SHORT" },
  { "with a sector before the footer", { tail = 512 } },
  { "of XenServer", { creator = "tap\0", creator_version = 0x10003,
    creator_os = "\0\0\0\0", batmap = true, align = 4096 } },
  { "of XenServer, hidden and in use", { creator = "tap\0",
    creator_version = 0x10003, creator_os = "\0\0\0\0", batmap = true,
    hidden = true, footer = "killed" }, "FOOTER_COPY_USED" },
  { "with a BAT larger than it needs", { entries = 5000 } },
  { "with a BAT that is padded with zeros", { padding = "\0" } },
  { "with gaps between the blocks", { gap = 7 * 512 } },
  { "with aligned blocks", { align = 4096 } },
  { "with its blocks backwards", { arrange = function(list)
    table.sort(list, function(a, b) return a > b end)
    return list
  end } },
  { "with its header behind the BAT",
    { order = { "bat", "locators", "header", "blocks" } } },
  { "with its BAT at the end",
    { order = { "header", "locators", "blocks", "bat" } } },
  { "with its blocks first",
    { order = { "blocks", "bat", "locators", "header" } } },
  { "with room everywhere", { room = { header = 512, locators = 1024,
    bat = 6656, blocks = 512 } } },
  { "with a saved state", { saved_state = 1 } },
  { "that may be deleted", { features = 3 } },
  { "of a writer nobody knows", { creator = "\0\xFF?%", creator_os = "Mac ",
    creator_version = 0xFFFFFFFF, original_size = 512 } },
}

for _, kind in ipairs{ "dynamic", "differencing" } do
  describe("a " .. kind .. " disk reads", function()
    for _, case in ipairs(layouts) do
      it(case[1], function()
        local o = { type = kind, size = 300 * SECTOR, block_size = 4096 }
        for k, v in pairs(case[2]) do o[k] = v end
        if kind == "differencing" then
          o.parent = saved("root.vhd", { size = 300 * SECTOR }, 9,
            { 0, 1, 2, 150, 299 })
        end
        local model = saved("d.vhd", o, 1, { 1, 8, 9, 77, 151, 298 })
        judge(model)
        local codes = reports(lvhd.open, model.path)
        if case[3] then
          assert.truthy(codes[case[3]], case[3])
          codes[case[3]] = nil
        end
        for code, severity in pairs(codes) do
          assert.not_equal("error", severity, code)
        end
      end)
    end
  end)
end

describe("the footer that counts", function()
  it("is the one at the end where both are whole and differ", function()
    local model = saved("d.vhd", { size = 16 * KiB, block_size = 4096 }, 1,
      { 0, 9 })
    local other = vhdwrite.new{ size = 8 * KiB, block_size = 4096 }
    other.header_offset = 512
    local file <close> = assert(io.open(model.path, "r+b"))
    assert(file:write(other:footer_bytes()))
    assert(file:close())
    judge(model)
  end)

  it("is none where both are gone", function()
    local model = saved("d.vhd", { size = 16 * KiB, copy = "none",
      footer = "none" }, 1, { 0, 9 })
    for _, verb in ipairs{ "open", "info", "chain", "check" } do
      expect.fails("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", lvhd[verb],
        model.path)
    end
  end)

  it("is not said to be none where it cannot be read", function()
    local model = saved("d.vhd", { size = 16 * KiB, footer = "none" }, 1,
      { 0, 9 })
    local system = tester.system()
    local engine <close> = lvhd.engine{ threads = 1,
      system = system:pointer() }
    for _, verb in ipairs{ "open", "chain", "resize", "compact", "repair" } do
      system:fail{ call = "pread", nth = 2, errno = "EIO" } -- after the end
      local err = expect.fails("DISP_E_EXCEPTION", nil, function()
        local task = engine[verb](engine, model.path,
          verb == "resize" and "5 MiB" or nil)
        return verb ~= "chain" and task:wait()
      end)
      assert.equal("EIO", err.errname, verb)
      assert.equal("pread", err.syscall)
      assert.equal(0, err.offset)
      assert.equal(model.path, err.path)
      system:drop()
    end
    judge(model)
  end)

  it("is none where a fixed disk lost its own", function()
    local model = saved("d.vhd", { type = "fixed", size = 16 * KiB,
      footer = "none" }, 1, { 0, 9 })
    for _, verb in ipairs{ "open", "info", "chain", "check" } do
      expect.fails("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", lvhd[verb],
        model.path)
    end
  end)
end)

describe("what nobody may see stays unseen", function()
  it("under the clear bits of a child", function()
    local root = saved("root.vhd", { size = 64 * KiB, block_size = 8192 }, 1,
      { 0, 3, 40 })
    local leaf = vhdwrite.new{ parent = root }
    for s = 0, 60 do
      leaf:hide(s, ("\xEE"):rep(SECTOR))
    end
    leaf:put(2, pattern(2, 2))
    leaf:save(dir .. "/leaf.vhd")
    judge(leaf)
  end)

  it("behind the end of a disk, and of its parent", function()
    local root = saved("root.vhd", { size = 3 * SECTOR, block_size = 8192 },
      1, { 0, 2, 3, 4, 15 })
    judge(root)
    local leaf = saved("leaf.vhd", { parent = root, size = 7 * SECTOR,
      block_size = 4096 }, 2, { 1, 7 })
    judge(leaf)
  end)
end)

describe("an empty disk", function()
  it("reads as zeros", function()
    judge(saved("d.vhd", { size = 64 * KiB, block_size = 4096 }))
  end)
  it("reads as zeros with a block that holds nothing", function()
    local model = vhdwrite.new{ size = 64 * KiB, block_size = 4096 }
    model:keep(3)
    model:save(dir .. "/d.vhd")
    judge(model)
  end)
end)

-- ---- parents ----------------------------------------------------------------

describe("a child of another size", function()
  -- sectors of root, middle (nil: none) and leaf
  for _, case in ipairs{
    { 100, nil, 40 }, { 100, nil, 41 }, { 40, nil, 100 }, { 33, nil, 100 },
    { 1, nil, 3 }, { 100, 30, 100 }, { 100, 31, 77 }, { 30, 100, 50 },
  } do
    for _, kind in ipairs{ "dynamic", "fixed" } do
      it(("reads as the format says: %s of %d, %s, %d"):format(kind, case[1],
        case[2] or "-", case[3]), function()
        local function these(n)
          local list = {}
          for s = 0, n - 1, 3 do list[#list + 1] = s end
          list[#list + 1] = n - 1
          return list
        end
        local at = saved("root.vhd", { type = kind, size = case[1] * SECTOR,
          block_size = 4096 }, 1, these(case[1]))
        if case[2] then
          at = saved("middle.vhd", { parent = at, block_size = 8192,
            size = case[2] * SECTOR }, 2, { 1, 2, case[2] - 1 })
        end
        at = saved("leaf.vhd", { parent = at, block_size = 2048,
          size = case[3] * SECTOR }, 3, { 0, case[3] - 1 })
        judge(at)
      end)
    end
  end
end)

describe("a parent is found", function()
  local root
  local function child(name, o)
    root = saved(name, { size = 64 * KiB, block_size = 8192 }, 1, { 0, 5 })
    o.parent = root
    return saved("leaf.vhd", o, 2, { 1 })
  end
  local NONE <const> = {}

  -- name of the parent; options of the child; the locator that finds it
  local ways = {
    { "by W2ru", "p.vhd", { name = false,
      locators = { { code = "W2ru", text = [[.\p.vhd]] } } }, "W2ru" },
    { "by W2ru without .\\", "p.vhd", { name = false,
      locators = { { code = "W2ru", text = "p.vhd" } } }, "W2ru" },
    { "by W2ru with slashes", "p.vhd", { name = false,
      locators = { { code = "W2ru", text = "./p.vhd" } } }, "W2ru" },
    { "by W2ru with a NUL behind", "p.vhd", { name = false,
      locators = { { code = "W2ru",
        raw = vhdwrite.utf16(".\\p.vhd\0", "<") } } }, "W2ru" },
    { "by W2ru padded with NULs", "p.vhd", { name = false,
      locators = { { code = "W2ru", raw = vhdwrite.utf16(".\\p.vhd"
        .. ("\0"):rep(249), "<") } } }, "W2ru" },
    { "by W2ru, its space in sectors", "p.vhd", { name = false,
      locators = { { code = "W2ru", text = [[.\p.vhd]],
        space = "sectors" } } }, "W2ru" },
    { "by W2ru, its space 0", "p.vhd", { name = false,
      locators = { { code = "W2ru", text = [[.\p.vhd]], space = 0 } } },
      "W2ru" },
    { "by W2ku with a relative path", "p.vhd", { name = false,
      locators = { { code = "W2ku", text = [[.\p.vhd]] } } }, "W2ku" },
    { "by MacX", "p.vhd", { name = false,
      locators = { { code = "MacX", text = "file://./p.vhd" } } }, "MacX" },
    { "by MacX as it stands", "a b%41.vhd", { name = false,
      locators = { { code = "MacX", text = "file://./a b%41.vhd" } } },
      "MacX" },
    { "by MacX percent-decoded", "a b.vhd", { name = false,
      locators = { { code = "MacX", text = "file://./a%20b.vhd" } } },
      "MacX" },
    { "by MacX percent-decoded, UTF-8", "ä.vhd", { name = false,
      locators = { { code = "MacX", text = "file://./%c3%A4.vhd" } } },
      "MacX" },
    { "by the name field", "p.vhd", { locators = NONE } },
    { "by the name field, little-endian", "p.vhd", { locators = NONE,
      name_order = "<" } },
    { "by the name field, not ASCII", "日本 😀.vhd", { locators = NONE } },
    { "by the name field, not ASCII, little-endian", "日本 😀.vhd",
      { locators = NONE, name_order = "<" } },
    { "by the name behind a Windows path in the name field", "p.vhd",
      { locators = NONE, name = [[C:\vms\p.vhd]] } },
    { "by the last of eight locators", "p.vhd", { name = false, locators = {
      { code = "W2ku", text = [[C:\x\p.vhd]] },
      { code = "W2ku", text = [[\\srv\x\p.vhd]] },
      { code = "MacX", text = "file:///nowhere/p.vhd" },
      { code = "W2ru", text = [[.\q.vhd]] },
      { code = "Mac ", raw = ("\1"):rep(40) },
      { code = "Wi2k", text = [[C:\x\p.vhd]] },
      { code = "W2ru", raw = "\0\xD8" },
      { code = "W2ru", text = [[.\p.vhd]] } } }, "W2ru" },
    { "in a folder below, by W2ru", "sub/p.vhd", { name = false,
      locators = { { code = "W2ru", text = [[.\sub\p.vhd]] } } }, "W2ru" },
    { "in a folder below, by MacX", "sub/p.vhd", { name = false,
      locators = { { code = "MacX", text = "file://./sub/p.vhd" } } },
      "MacX" },
  }
  for _, way in ipairs(ways) do
    it(way[1], function()
      support.mkdir(dir .. "/sub")
      local leaf = child(way[2], way[3])
      judge(leaf)
      local infos = lvhd.chain(leaf.path)
      assert.equal(2, #infos)
      assert.is_nil(infos[2].error)
      assert.equal(root.path, infos[1].parent.path)
      assert.equal(root.path, infos[2].path)
      assert.equal(way[4] and "locator" or "name", infos[1].parent.found)
      assert.equal(way[4], infos[1].parent.found_by)
    end)
  end

  for _, code in ipairs{ "W2ku", "W2ru", "MacX" } do
    it("by an absolute host path in the leaf's folder: " .. code, function()
      local text = dir .. "/p.vhd"
      judge(child("p.vhd", { name = false, locators = { { code = code,
        text = code == "MacX" and "file://" .. text or text } } }))
    end)
    it("by an absolute host path in a folder that is allowed: " .. code,
      function()
        support.run(("mkdir %s/in %s/out"):format(dir, dir))
        local text = dir .. "/out/p.vhd"
        root = saved("out/p.vhd", { size = 64 * KiB }, 1, { 0, 5 })
        local leaf = saved("in/leaf.vhd", { parent = root, name = false,
          locators = { { code = code,
            text = code == "MacX" and "file://" .. text or text } } }, 2,
          { 1 })
        expect.fails("E_ACCESSDENIED", "PARENT_OUTSIDE", lvhd.open,
          leaf.path)
        judge(leaf, nil, { parents = { dir .. "/out" } })
      end)
  end

  it("in the documented order, whatever the table's", function()
    local names = { "ru.vhd", "ku.vhd", "mac%20x.vhd", "mac x.vhd",
      "name.vhd" }
    for _, name in ipairs(names) do
      saved(name, { size = 64 * KiB, uuid = vhdwrite.uuid(3) }, 1, { 0 })
    end
    local parent = vhdwrite.new{ size = 64 * KiB, uuid = vhdwrite.uuid(3) }
    local leaf = saved("leaf.vhd", { parent = parent, name = "name.vhd",
      locators = { { code = "MacX", text = "file://./mac%20x.vhd" },
        { code = "W2ku", text = dir .. "/ku.vhd" },
        { code = "W2ru", text = [[.\ru.vhd]] } } }, 2, { 1 })
    for _, name in ipairs(names) do
      assert.equal(dir .. "/" .. name, lvhd.chain(leaf.path)[1].parent.path)
      os.remove(dir .. "/" .. name)
    end
    assert.equal("PARENT_MISSING", lvhd.chain(leaf.path)[1].error.reason)
  end)

  it("behind a locator that leads to another disk", function()
    saved("q.vhd", { size = 64 * KiB }, 7, { 0 })
    judge(child("p.vhd", { locators = {
      { code = "W2ru", text = [[.\q.vhd]] },
      { code = "MacX", text = "file://./p.vhd" } } }))
  end)

  it("beside each child, not beside the leaf", function()
    support.mkdir(dir .. "/sub")
    saved("root.vhd", { size = 64 * KiB }, 5, { 0, 1 }) -- another disk
    root = saved("sub/root.vhd", { size = 64 * KiB }, 1, { 0, 5 })
    local middle = saved("sub/middle.vhd", { parent = root, name = false },
      2, { 1 })
    judge(saved("leaf.vhd", { parent = middle, name = false, locators = {
      { code = "W2ru", text = [[.\sub\middle.vhd]] } } }, 3, { 2 }))
  end)
end)

describe("a parent that does not fit", function()
  local function child(o)
    o.parent = saved("p.vhd", { size = 64 * KiB }, 1, { 0 })
    return saved("leaf.vhd", o, 2, { 1 })
  end

  ---open raises it, chain and check{chain} report it on the leaf.
  local function broken(leaf, name, reason)
    local raised = expect.fails(name, reason, lvhd.open, leaf.path)
    local infos = lvhd.chain(leaf.path)
    assert.equal(1, #infos)
    assert.equal(name, infos[1].error.name)
    assert.equal(reason, infos[1].error.reason)
    assert.equal(leaf.path, infos[1].error.path)
    local codes = reports(lvhd.check, leaf.path, { chain = true })
    assert.truthy(codes[reason], reason)
    return raised, infos[1].error
  end

  it("because it is missing", function()
    local leaf = child{}
    os.remove(dir .. "/p.vhd")
    for _, err in ipairs{ broken(leaf, "VM_E_PARENT_PATH_NOT_FOUND",
      "PARENT_MISSING") } do
      assert.equal(leaf.path, err.path)
    end
  end)

  it("because it is another disk", function()
    local other = vhdwrite.uuid(99)
    local leaf = child{ parent_uuid = other }
    for _, err in ipairs{ broken(leaf, "VM_E_PARENT_CHILD_ID_MISMATCH",
      "PARENT_ID") } do
      assert.equal(other, err.expected)
      assert.equal(leaf.parent.uuid, err.actual)
      assert.equal(leaf.path, err.path)
      assert.equal(leaf.parent.path, err.parent)
      assert.is_number(err.layer)
    end
  end)

  it("because it is no disk", function()
    local leaf = child{}
    support.write(dir .. "/p.vhd", ("x"):rep(4096))
    broken(leaf, "VM_E_INVALID_HD_FILE", "FOOTER_MISSING")
  end)

  it("because it is a folder", function()
    local leaf = child{}
    os.remove(dir .. "/p.vhd")
    support.run("mkdir " .. dir .. "/p.vhd")
    broken(leaf, "VM_E_INVALID_HD_FILE", "NOT_REGULAR")
  end)

  it("in time is a warning on the child", function()
    local leaf = child{}
    leaf.parent.mtime = leaf.parent.mtime + 60
    leaf.parent:save(dir .. "/p.vhd")
    judge(leaf)
    for _, verb in ipairs{ "open", "chain" } do
      assert.equal("warning", reports(lvhd[verb], leaf.path).PARENT_TIME)
    end
    assert.equal("warning",
      reports(lvhd.check, leaf.path, { chain = true }).PARENT_TIME)
    local found
    for _, f in ipairs(lvhd.chain(leaf.path)[1].findings) do
      found = f.code == "PARENT_TIME" and f or found
    end
    assert.equal(leaf.parent.mtime - 60, found.expected)
    assert.equal(leaf.parent.mtime, found.actual)
    assert.equal(leaf.path, found.path)
  end)

  it("in less than a second is nothing", function()
    local leaf = child{}
    assert(require "lvhdtest".utime(leaf.parent.path, leaf.parent.mtime,
      999999999))
    assert.is_nil(reports(lvhd.chain, leaf.path).PARENT_TIME)
  end)

  it("in size breaks the chain, and is read all the same", function()
    local leaf = child{ size = 32 * KiB }
    judge(leaf)
    local infos = lvhd.chain(leaf.path)
    local err = infos[#infos].error
    assert.equal("VM_E_HD_IMAGE_OPEN_FAIL", err.name)
    assert.equal("PARENT_SIZE", err.reason)
    assert.equal(32 * KiB, err.expected)
    assert.equal(64 * KiB, err.actual)
    assert.equal(leaf.path, err.path)
    assert.equal(leaf.parent.path, err.parent)
    assert.truthy(reports(lvhd.check, leaf.path,
      { chain = true }).PARENT_SIZE)
  end)
end)

describe("a chain in the caller's hand", function()
  local root, middle, leaf
  before_each(function()
    support.run(("mkdir %s/a %s/b %s/c"):format(dir, dir, dir))
    root = saved("a/r.vhd", { type = "fixed", size = 64 * KiB }, 1, { 0, 9 })
    middle = saved("b/m.vhd", { parent = root, locators = {},
      name = false, block_size = 4096 }, 2, { 1, 9 })
    leaf = saved("c/l.vhd", { parent = middle, locators = {},
      name = "nowhere.vhd", block_size = 1024 }, 3, { 2, 9 })
  end)

  it("reads from anywhere, without a locator", function()
    judge(leaf, { leaf.path, middle.path, root.path })
    judge(middle, { middle.path, root.path })
    judge(root, { root.path })
    local disk <close> = lvhd.open{ leaf.path, middle.path, root.path }
    local infos = disk:chain()
    assert.equal(3, #infos)
    assert.equal("given", infos[1].parent.found)
    assert.equal("given", infos[2].parent.found)
    assert.equal(middle.path, infos[1].parent.path)
  end)

  it("must have the recorded identifiers", function()
    local err = expect.fails("VM_E_PARENT_CHILD_ID_MISMATCH", "PARENT_ID",
      lvhd.open, { leaf.path, root.path })
    assert.equal(middle.uuid, err.expected)
    assert.equal(root.uuid, err.actual)
    assert.equal(leaf.path, err.path)
    assert.equal(root.path, err.parent)
  end)

  it("ends where there is no parent", function()
    expect.fails("VM_E_WRONG_HD_IMAGE_TYPE", "CHAIN_GOES_ON", lvhd.open,
      { leaf.path, middle.path, root.path, root.path })
  end)

  it("does not end before", function()
    expect.fails("VM_E_PARENT_PATH_NOT_FOUND", nil, lvhd.open,
      { leaf.path, middle.path })
  end)

  it("opens nothing that is not in it", function()
    -- the parent lies beside the child, but the list says that it ends here
    local near = saved("b/near.vhd", { parent = middle }, 4, { 3 })
    expect.fails("VM_E_PARENT_PATH_NOT_FOUND", nil, lvhd.open,
      { near.path })
  end)

  it("has a leaf at the least", function()
    expect.fails("E_POINTER", nil, lvhd.open, {})
  end)
end)

-- ---- extents ----------------------------------------------------------------

describe("disk:extents", function()
  local function three()
    local root = saved("r.vhd", { size = 100 * SECTOR, block_size = 4096 },
      1, { 0, 1, 2, 3, 30, 31, 99 })
    local middle = saved("m.vhd", { parent = root, block_size = 8192 }, 2,
      { 2, 15, 16, 17, 50 })
    return saved("l.vhd", { parent = middle, block_size = 512 }, 3,
      { 1, 16, 17, 18, 99 })
  end

  it("names every run, merged, with its layer", function()
    local model = three()
    local disk <close> = lvhd.open(model.path)
    assert.same({ { 0, 512, 3 }, { 512, 512, 1 }, { 1024, 512, 2 },
      { 1536, 512, 3 }, { 2048, 11 * 512, 0 }, { 15 * 512, 512, 2 },
      { 16 * 512, 3 * 512, 1 }, { 19 * 512, 11 * 512, 0 },
      { 30 * 512, 1024, 3 }, { 32 * 512, 18 * 512, 0 },
      { 50 * 512, 512, 2 }, { 51 * 512, 48 * 512, 0 },
      { 99 * 512, 512, 1 } }, extents(disk))
  end)

  it("of a part stays in the part", function()
    local model = three()
    local disk <close> = lvhd.open(model.path)
    for _, part in ipairs{ { 0, 512 }, { 1024, 1024 }, { 17 * 512, 512 },
      { 20 * 512, 4096 }, { 99 * 512, 512 }, { 16 * 512, 84 * 512 } } do
      local want = {}
      local first, last = part[1], part[1] + part[2]
      for _, run in ipairs(model:extents()) do
        local from = math.max(run[1], first)
        local to = math.min(run[1] + run[2], last)
        if from < to then
          want[#want + 1] = { from, to - from, run[3] }
        end
      end
      assert.same(want, extents(disk, part[1], part[2]))
    end
    assert.same({}, extents(disk, 100 * 512, 512))
  end)

  it("merges runs over blocks and over many calls", function()
    -- 40,000 blocks of one sector, none in order, in one run
    local model = vhdwrite.new{ size = 20480000, block_size = 512,
      arrange = vhdwrite.random(3).shuffle }
    for s = 5, 39990 do
      model:put(s, ("m"):rep(SECTOR))
    end
    model:save(dir .. "/d.vhd")
    local disk <close> = lvhd.open(model.path)
    assert.same({ { 0, 5 * 512, 0 }, { 5 * 512, 39986 * 512, 1 },
      { 39991 * 512, 9 * 512, 0 } }, extents(disk))
  end)

  it("of an empty chain of 2,040 GiB is one run, at once", function()
    local size = 2040 << 30
    local at
    for level = 1, 5 do
      at = saved(level .. ".vhd", { size = size, parent = at })
    end
    local disk <close> = lvhd.open(at.path)
    local before = os.clock()
    assert.same({ { 0, size, 0 } }, extents(disk))
    assert.is_true(os.clock() - before < 2)
    assert.is_nil(disk:read(size, 1))
    assert.equal(("\0"):rep(600), disk:read(size - 600, 700))
  end)

  it("of a disk of 2,040 GiB finds the last sector", function()
    local size = 2040 << 30
    local last = size // SECTOR - 1
    local root = saved("r.vhd", { size = size }, 1, { 12345678, last })
    local leaf = saved("l.vhd", { parent = root }, 2, { 4000000000 })
    local disk <close> = lvhd.open(leaf.path)
    assert.same(leaf:extents(), extents(disk))
    assert.equal(pattern(1, last), disk:read(size - 512, 512))
    assert.equal(pattern(2, 4000000000), disk:read(4000000000 * 512, 512))
  end)
end)

-- ---- the object -------------------------------------------------------------

describe("an open disk", function()
  it("tells what it is", function()
    local root = saved("r.vhd", { size = 64 * KiB, block_size = 4096 }, 1,
      { 0 })
    local leaf = saved("l.vhd", { parent = root, timestamp = 1600000000 }, 2,
      { 1, 64 })
    local disk <close> = lvhd.open(leaf.path)
    local info = disk:info()
    assert.equal(leaf.path, info.path)
    assert.equal("differencing", info.type)
    assert.equal(64 * KiB, info.size)
    assert.equal(4096, info.block_size)
    assert.equal(leaf.uuid, info.uuid)
    assert.equal(1600000000, info.timestamp)
    assert.equal(16, info.blocks)
    assert.equal(2, info.blocks_used)
    assert.equal(root.uuid, info.parent.uuid)
    assert.equal("r.vhd", info.parent.name)
    assert.equal(root.mtime, info.parent.timestamp)
    assert.same({ { code = "W2ru", path = [[.\r.vhd]],
      raw = vhdwrite.utf16([[.\r.vhd]], "<") } },
      { { code = info.parent.locators[1].code,
        path = info.parent.locators[1].path,
        raw = info.parent.locators[1].raw } })
    assert.equal(2, #disk:chain())
    assert.equal(root.uuid, disk:chain()[2].uuid)
  end)

  it("is closed once, and then of no use", function()
    local model = saved("d.vhd", { size = 64 * KiB }, 1, { 0 })
    local fds = support.fds()
    local disk = lvhd.open(model.path)
    assert.is_true(support.fds() > fds)
    disk:close()
    assert.equal(fds, support.fds())
    disk:close()
    for _, use in ipairs{ "read", "info", "chain", "extents" } do
      local ok = pcall(function()
        local got = disk[use](disk, 0, 512)
        if use == "extents" then
          got()
        end
      end)
      assert.is_false(ok, use)
    end
    assert.is_string(tostring(disk))
  end)

  it("is closed by its scope, and by the collector", function()
    local model = saved("d.vhd", { size = 64 * KiB }, 1, { 0 })
    local fds = support.fds()
    do
      local disk <close> = lvhd.open(model.path)
      assert.is_string(disk:read(0, 1))
    end
    assert.equal(fds, support.fds())
    lvhd.open(model.path)
    collectgarbage()
    collectgarbage()
    assert.equal(fds, support.fds())
  end)

  it("that cannot be opened leaves nothing open", function()
    local root = saved("r.vhd", { size = 64 * KiB }, 1, { 0 })
    local leaf = saved("l.vhd", { parent = root,
      parent_uuid = vhdwrite.uuid(4) }, 2, { 1 })
    local fds = support.fds()
    for _ = 1, 10 do
      assert.is_false((pcall(lvhd.open, leaf.path)))
    end
    assert.equal(fds, support.fds())
  end)

  it("may read a file that its caller's folder names", function()
    local model = saved("d.vhd", { size = 64 * KiB }, 1, { 0 })
    local child = saved("l.vhd", { parent = model }, 2, { 1 })
    local test = require "lvhdtest"
    local home = test.cwd()
    assert(test.chdir(dir))
    local ok, err = pcall(judge, child, "l.vhd")
    assert(test.chdir(home))
    assert(ok, err)
  end)

  it("follows links that the caller names, to the real folder", function()
    local test = require "lvhdtest"
    support.run(("mkdir %s/real %s/links"):format(dir, dir))
    local root = saved("real/r.vhd", { size = 64 * KiB }, 1, { 0 })
    local leaf = saved("real/l.vhd", { parent = root }, 2, { 1 })
    assert(test.symlink(leaf.path, dir .. "/links/x.vhd"))
    judge(leaf, dir .. "/links/x.vhd")
    assert.equal(leaf.path, lvhd.info(dir .. "/links/x.vhd").path)
  end)
end)

describe("opening", function()
  for _, verb in ipairs{ "open", "info", "chain", "check" } do
    it("what is missing is E_PATH_NOT_FOUND: " .. verb, function()
      expect.fails("E_PATH_NOT_FOUND", "FILE_MISSING", lvhd[verb],
        dir .. "/no.vhd")
      expect.fails("E_PATH_NOT_FOUND", "FOLDER_MISSING", lvhd[verb],
        dir .. "/no/no.vhd")
    end)
    it("what is no disk is VM_E_INVALID_HD_FILE: " .. verb, function()
      local test = require "lvhdtest"
      assert(test.mkfifo(dir .. "/fifo"))
      support.write(dir .. "/empty", "")
      support.write(dir .. "/short", "conectix")
      support.write(dir .. "/text", ("text"):rep(999))
      for _, name in ipairs{ "", "/fifo", "/empty", "/short", "/text" } do
        expect.fails("VM_E_INVALID_HD_FILE", nil, lvhd[verb], dir .. name)
      end
    end)
  end
end)

---A disk with data in these sectors, whose block 2 is nowhere.
local function astray(...)
  local model = vhdwrite.new{ size = 8 * MiB, edit_bat = function(bat)
    return bat:sub(1, 8) .. "\0\xFF\xFF\xFF" .. bat:sub(13)
  end }
  for _, s in ipairs{ ... } do
    model:put(s, pattern(1, s))
  end
  model:save(dir .. "/d.vhd")
  return model
end

describe("a block that is not inside the file", function()
  it("cannot be read, and the others can", function()
    local model = astray(0, 4095, 8192, 12288)
    local disk <close> = lvhd.open(model.path)
    for _, s in ipairs{ 0, 4095, 12288 } do
      assert.equal(pattern(1, s), disk:read(s * SECTOR, SECTOR))
    end
    local err = expect.fails("VM_E_INVALID_HD_FILE", "BLOCK_OUTSIDE",
      disk.read, disk, 8192 * SECTOR, SECTOR)
    assert.equal(1, err.layer)
    assert.equal(model.bat_offset + 8, err.offset)
    expect.fails("VM_E_INVALID_HD_FILE", "BLOCK_OUTSIDE", disk.read, disk,
      0, 8 * MiB)
    for _, verb in ipairs{ "open", "chain", "check" } do
      assert.truthy(reports(lvhd[verb], model.path).BLOCK_OUTSIDE, verb)
    end
  end)

  it("does not take its small neighbours with it", function()
    local root = vhdwrite.new{ size = 4 * MiB }
    root:put(20, pattern(9, 20))
    root:save(dir .. "/root.vhd")
    local model = vhdwrite.new{ parent = root, block_size = 4096,
      edit_bat = function(bat)
        return bat:sub(1, 8) .. "\0\xFF\xFF\xFF" .. bat:sub(13) -- block 2
      end }
    model:put(1, pattern(1, 1))
    model:put(25, pattern(1, 25))
    model:save(dir .. "/d.vhd")
    local disk <close> = lvhd.open(model.path)
    assert.equal(model:read(0, 8192), disk:read(0, 8192))
    assert.equal(model:read(24 * SECTOR, 4096), disk:read(24 * SECTOR, 4096))
    local err = expect.fails("VM_E_INVALID_HD_FILE", "BLOCK_OUTSIDE",
      disk.read, disk, 20 * SECTOR, 1)
    assert.equal(1, err.layer)
    assert.equal(model.bat_offset + 8, err.offset)
    expect.fails("VM_E_INVALID_HD_FILE", "BLOCK_OUTSIDE", function()
      for _ in disk:extents() do end
    end)
  end)
end)

-- ---- disks by other programs ------------------------------------------------

describe("a disk by another program reads to its sum:", function()
  for _, entry in ipairs(fixtures.manifest()) do
    it(("%s of %s"):format(entry.file, entry.writer), function()
      local paths = fixtures.unpack_chain(entry, dir)
      local disk <close> = lvhd.open(paths[1])
      assert.equal(entry.size, disk:info().size)
      assert.equal(entry.type, disk:info().type)
      local parts = {}
      for _, range in ipairs(entry.ranges or { { 0, entry.size } }) do
        parts[#parts + 1] = disk:read(range[1], range[2])
      end
      assert.equal(entry.sha256, fixtures.sha256(table.concat(parts)))
      local at = 0
      for offset, length, layer in disk:extents() do
        assert.equal(at, offset)
        assert.is_true(layer >= 0 and layer <= #entry.chain)
        at = offset + length
      end
      assert.equal(entry.size, at)
      local infos = disk:chain()
      assert.equal(#entry.chain, #infos)
      for i, info in ipairs(infos) do
        assert.equal(paths[i], info.path)
      end
    end)
  end
end)

describe("a damaged disk is refused or reported alike:", function()
  for _, case in ipairs{
    { "no-footer", "FOOTER_COPY_USED" },
    { "bad-header-checksum", "HEADER_CHECKSUM", true },
    { "bat-overlap", "BLOCK_OVERLAP" },
    { "cycle-a", "CHAIN_CYCLE", true },
    { "cycle-b", "CHAIN_CYCLE", true },
  } do
    it(case[1], function()
      for i, name in ipairs{ "no-footer", "bad-header-checksum",
        "bat-overlap", "cycle-a", "cycle-b" } do
        fixtures.unpack("damaged/" .. name .. ".vhd", dir, i)
      end
      local path = dir .. "/" .. case[1] .. ".vhd"
      assert.equal(case[3] ~= true, (pcall(function()
        lvhd.open(path):close()
      end)))
      assert.truthy(reports(lvhd.open, path)[case[2]], "open")
      assert.truthy(reports(lvhd.chain, path)[case[2]], "chain")
      assert.truthy(reports(lvhd.check, path, { chain = true })[case[2]],
        "check")
    end)
  end

  it("no-footer still reads to the sum of the whole disk", function()
    local path = fixtures.unpack("damaged/no-footer.vhd", dir)
    local disk <close> = lvhd.open(path)
    for _, entry in ipairs(fixtures.manifest()) do
      if entry.file == "blktap-root.vhd" then
        assert.equal(entry.sha256,
          fixtures.sha256(disk:read(0, entry.size)))
      end
    end
  end)
end)

describe("a list of files", function()
  local root, leaf
  before_each(function()
    root = vhdwrite.new{ size = 4 * MiB }
    root:save(dir .. "/root.vhd")
    leaf = vhdwrite.new{ parent = root }
    leaf:save(dir .. "/leaf.vhd")
  end)

  it("of one child opens nothing else", function()
    local err = expect.fails("VM_E_PARENT_PATH_NOT_FOUND", "CHAIN_ENDS",
      lvhd.open, { leaf.path })
    assert.equal(leaf.path, err.path)
    local disk <close> = lvhd.open{ root.path }
    assert.equal(1, #disk:chain())
  end)

  it("that names what is not there says so", function()
    local err = expect.fails("VM_E_PARENT_PATH_NOT_FOUND", "FILE_MISSING",
      lvhd.open, { leaf.path, dir .. "/nope.vhd" })
    assert.equal(dir .. "/nope.vhd", err.parent)
  end)
end)

describe("a run before a bad block", function()
  it("is told, and then the error, again and again", function()
    local model = astray(0, 8192)
    local disk <close> = lvhd.open(model.path)
    local step = disk:extents()
    assert.same({ 0, 512, 1 }, { step() })
    assert.same({ 512, 4 * MiB - 512, 0 }, { step() })
    expect.fails("VM_E_INVALID_HD_FILE", "BLOCK_OUTSIDE", step)
    expect.fails("VM_E_INVALID_HD_FILE", "BLOCK_OUTSIDE", step)
  end)
end)

describe("a file that is cut while it is open", function()
  it("is told as that, with the place", function()
    local model = vhdwrite.new{ size = 8 * MiB }
    model:put(0, pattern(1, 0))
    model:save(dir .. "/d.vhd")
    local disk <close> = lvhd.open(model.path)
    local cut = model.places[0] + 512 + 100
    support.run(("truncate -s %d %s"):format(cut, model.path))
    local err = expect.fails("DISP_E_EXCEPTION", "FILE_CUT", disk.read, disk,
      0, MiB)
    assert.equal(cut, err.offset)
    assert.equal(model.path, err.path)
  end)
end)
