-- SPDX-License-Identifier: MIT
--
-- relink: a child finds its new parent by every way there is, its content,
-- its length and its time stay, and others find the parent too; whoever may
-- not be the parent is refused, and nothing is changed then.

local lvhd = require "lvhd"
local support = require "spec.support"
local chains = require "spec.support.chains"
local expect = require "spec.support.expect"
local fixtures = require "spec.support.fixtures"
local test = require "lvhdtest"
local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"

local q, run = support.q, support.run
local SIZE <const> = 3 << 20

local dir

before_each(function()
  dir = support.tmpdir()
end)

---A root and a child, saved in the scratch folder.
---@param o table? options of the child
local function pair(o)
  local root = vhdwrite.new{ size = SIZE, block_size = 1 << 19 }
  root:put(3, vhdwrite.pattern(1, 3)):put(2000, vhdwrite.pattern(1, 2000))
  root:save(dir .. "/root.vhd")
  o = o or {}
  o.parent = root
  o.room = o.order == nil and { bat = 8192 } or nil
  local child = vhdwrite.new(o)
  child:put(4, vhdwrite.pattern(2, 4)):put(6000, vhdwrite.pattern(2, 6000))
  child:save(dir .. "/child.vhd")
  return root, child
end

local function move(disk, to)
  run(("mv %s %s"):format(q(disk.path), q(to)))
  disk.path = to
end

---The file's header and locators, by the independent reader.
local function record(path)
  local disk = vhdread.open(path)
  local h = disk.header
  local out = { time = h.parent_timestamp + vhdread.EPOCH,
    uuid = vhdread.uuid(h.parent_uuid),
    name = vhdread.utf16((h.parent_name .. "\0\0"):match("^(.-)%z%z%z*$")
      .. "", ">") }
  assert.equal(vhdread.checksum(h.bytes, 36), h.checksum)
  for _, l in ipairs(h.locators) do
    if l.code == "\0\0\0\0" then
      assert.same({ 0, 0, 0, 0 },
        { l.space, l.length, l.reserved, l.offset })
    else
      assert.equal(0, l.space % 512)
      assert.is_true(l.space >= l.length and l.space > 0)
      out[l.code] = l.text
    end
  end
  return out
end

local function file_state(path)
  local st = test.stat(path)
  return { st.size, st.mtime, st.ino }
end

local function quiet(path, alone)
  for i, info in ipairs(lvhd.check(path, { chain = true, data = true,
    parents = { dir } }):wait()) do
    assert.is_nil(info.error)
    for _, f in ipairs(info.findings) do
      if f.severity ~= "note" and (i == 1 or not alone) then
        error(("%s: %s"):format(f.path, f.code))
      end
    end
  end
end

---Relinks, and looks at what must hold whatever the child is like.
local function relink(child, parent, opts)
  local before = file_state(child.path)
  local info = lvhd.relink(child.path, parent.path, opts):wait()
  assert.same(before, file_state(child.path))
  assert.equal(child.path, info.path)
  assert.equal(parent.path, info.parent.path)
  assert.equal("given", info.parent.found)
  assert.equal(test.stat(parent.path).mtime // 1000000000,
    info.parent.timestamp)
  for _, name in ipairs(support.names(child.path:match("^(.*)/"))) do
    assert.is_nil(name:find("journal", 1, true))
  end
  child.parent = parent
  local disk <close> = lvhd.open(child.path, { parents = { dir } })
  assert.equal(parent.path, disk:chain()[2].path)
  local wrong = chains.difference(child, disk:read(0, child.size))
  assert(not wrong, wrong)
  return info
end

describe("relink", function()
  it("takes a parent that has another name now, for others too", function()
    local root, child = pair()
    move(root, dir .. "/other.vhd")
    expect.fails("VM_E_PARENT_PATH_NOT_FOUND", nil, lvhd.open, child.path)
    relink(child, root)
    assert.same({ time = root.mtime, uuid = root.uuid, name = "other.vhd",
      W2ru = [[.\other.vhd]], MacX = "file://./other.vhd" },
      record(child.path))
    quiet(child.path)
    local wrong = chains.difference(child,
      vhdread.content({ child.path, root.path }, 0, SIZE))
    assert(not wrong, wrong)
    if support.has("7zz") then
      assert.equal(fixtures.sha256(child:read(0, SIZE)),
        fixtures.sha256_of_output("7zz x -tvhd -so -bd " .. q(child.path)
          .. " 2>/dev/null"))
    end
    if support.has("vhdiinfo") then
      local out = run("vhdiinfo " .. q(child.path))
      assert.truthy(out:find("other.vhd", 1, true), out)
      assert.truthy(out:lower():find(root.uuid, 1, true), out)
    end
  end)

  it("goes below, above and beside", function()
    local root, child = pair()
    run(("mkdir -p %s/a/b %s/c"):format(q(dir), q(dir)))
    move(root, dir .. "/a/root.vhd")
    relink(child, root)
    assert.equal([[.\a\root.vhd]], record(child.path).W2ru)
    move(child, dir .. "/a/b/child.vhd")
    relink(child, root)
    assert.equal([[.\..\root.vhd]], record(child.path).W2ru)
    assert.equal("file://./../root.vhd", record(child.path).MacX)
    move(root, dir .. "/c/root.vhd")
    relink(child, root)
    assert.equal([[.\..\..\c\root.vhd]], record(child.path).W2ru)
    quiet(child.path)
    -- the whole tree
    run(("mkdir %s/d; mv %s/a %s/c %s/d"):format(q(dir), q(dir), q(dir),
      q(dir)))
    local disk <close> = lvhd.open(dir .. "/d/a/b/child.vhd",
      { parents = { dir } })
    assert.equal(dir .. "/d/c/root.vhd", disk:chain()[2].path)
  end)

  it("follows links to both, and records the way between the real ones",
    function()
      local root, child = pair()
      run(("mkdir -p %s/a %s/b; ln -s ../a/root.vhd %s/b/link.vhd"):format(
        q(dir), q(dir), q(dir)))
      move(root, dir .. "/a/root.vhd")
      run(("ln -s ../child.vhd %s/b/c.vhd"):format(q(dir)))
      local info = lvhd.relink(dir .. "/b/c.vhd", dir .. "/b/link.vhd")
        :wait()
      assert.equal(child.path, info.path)
      assert.equal(root.path, info.parent.path)
      assert.equal([[.\a\root.vhd]], record(child.path).W2ru)
      assert.equal("root.vhd", record(child.path).name)
    end)

  it("cures a parent whose time alone has changed", function()
    local root, child = pair()
    test.utime(root.path, root.mtime + 77)
    local found = lvhd.check(child.path, { chain = true }):wait()[1].findings
    assert.equal("PARENT_TIME", found[1].code)
    relink(child, root)
    assert.equal(root.mtime + 77, record(child.path).time)
    quiet(child.path)
  end)

  it("keeps the child's own children valid", function()
    local root, child = pair()
    local leaf = vhdwrite.new{ parent = child }
    leaf:put(9, vhdwrite.pattern(3, 9)):save(dir .. "/leaf.vhd")
    move(root, dir .. "/other.vhd")
    relink(child, root)
    quiet(leaf.path)
  end)

  it("goes there and back for ever, and the file grows by nothing",
    function()
      local root, child = pair{ gap = 0, align = 4096 }
      support.mkdir(dir .. "/sub")
      for i = 1, 12 do
        move(root, dir .. (i % 2 == 0 and "/root.vhd" or "/sub/root.vhd"))
        relink(child, root)
      end
      assert.equal([[.\root.vhd]], record(child.path).W2ru)
      quiet(child.path)
    end)

  it("writes names as they are: blanks, accents, far planes", function()
    local root, child = pair()
    for _, name in ipairs{ "a b.vhd", "ä.vhd", "日本.vhd", "😀.vhd",
      "100%41.vhd", ("n"):rep(251) .. ".vhd" } do
      move(root, dir .. "/" .. name)
      relink(child, root)
      local r = record(child.path)
      assert.same({ name, [[.\]] .. name, "file://./" .. name },
        { r.name, r.W2ru, r.MacX })
    end
  end)

  it("leaves out a MacX that is too long, and says so", function()
    local root, child = pair()
    local folder = dir
    for _ = 1, 5 do
      folder = folder .. "/" .. ("日"):rep(80)
    end
    support.mkdir(folder)
    move(root, folder .. "/root.vhd")
    local info = relink(child, root)
    local f = info.findings[#info.findings]
    assert.equal("LOCATOR_LEFT_OUT", f.code)
    assert.equal(9 + 5 * 241 + 8, f.actual)
    assert.is_nil(record(child.path).MacX)
    support.mkdir(folder .. "/" .. ("d"):rep(120))
    move(root, folder .. "/" .. ("d"):rep(120) .. "/root.vhd")
    expect.unchanged(dir, function()
      local err = expect.fails("E_BUFFER_OVERFLOW", "LOCATOR_TOO_LONG",
        lvhd.relink, child.path, root.path)
      assert.equal(1022, err.expected)
      assert.equal(2 * (2 + 5 * 81 + 121 + 8), err.actual)
    end)
  end)

  it("keeps what its writer left in the header", function()
    local root, child = pair{ edit_header = function(bytes)
      return bytes:sub(1, 768) .. ("R"):rep(256)
    end }
    move(root, dir .. "/other.vhd")
    relink(child, root)
    assert.equal(("R"):rep(256), vhdread.open(child.path).header.reserved2)
  end)
end)

describe("relink of others' disks", function()
  local entries = {}
  for _, entry in ipairs(fixtures.manifest()) do
    if #entry.chain > 1 then
      entries[#entries + 1] = entry
    end
  end
  assert(#entries >= 3)

  for _, entry in ipairs(entries) do
    it("works: " .. entry.file, function()
      local paths = fixtures.unpack_chain(entry, dir)
      local before = support.read(paths[1])
      support.mkdir(dir .. "/sub")
      for i = 2, #paths do
        run(("mv %s %s/sub"):format(q(paths[i]), q(dir)))
      end
      local parent = dir .. "/sub/" .. entry.chain[2]
      local mtime = test.stat(paths[1]).mtime
      local info = lvhd.relink(paths[1], parent):wait()
      assert.equal(mtime, test.stat(paths[1]).mtime)
      assert.equal(parent, info.parent.path)
      local r = record(paths[1])
      assert.equal([[.\sub\]] .. entry.chain[2], r.W2ru)
      assert.equal("file://./sub/" .. entry.chain[2], r.MacX)
      assert.is_nil(r.W2ku)
      quiet(paths[1], true) -- of its parents none was told the other's time
      -- all but the head is as it was
      local disk <close> = lvhd.open(paths[1])
      assert.equal(entry.sha256, fixtures.sha256(disk:read(0, entry.size)))
      local after = support.read(paths[1])
      assert.equal(#before, #after)
      assert.is_true(before:sub(-65536) == after:sub(-65536))
      if support.has("vhdiinfo") then
        local out = run("vhdiinfo " .. q(paths[1]))
        assert.truthy(out:find(entry.chain[2], 1, true), out)
      end
    end)
  end

  it("works in any layout", function()
    for seed = 5001, 5040 do
      local leaf
      local ok, err = xpcall(function()
        local here = support.tmpdir()
        leaf = chains.make(seed, here, { depth = 2 + seed % 3 })
        -- the reader of the record wants the footer at the end
        local parent = leaf.parent
        if parent.footer == "none" or parent.footer == "killed"
          or parent.size ~= leaf.size then
          return
        end
        move(parent, here .. "/moved away.vhd")
        local before = file_state(leaf.path)
        if leaf.locators and #leaf.locators == 0 then
          -- it has no place for one, if it is full
          local ok, err = expect.try(lvhd.relink, leaf.path, parent.path)
          if not ok then
            assert.equal("LOCATOR_TOO_LONG", err.reason)
            assert.equal(0, err.expected)
            return
          end
        else
          lvhd.relink(leaf.path, parent.path):wait()
        end
        assert.same(before, file_state(leaf.path))
        local disk <close> = lvhd.open(leaf.path)
        assert.equal(parent.path, disk:chain()[2].path)
        local wrong = chains.difference(leaf, disk:read(0, leaf.size))
        assert(not wrong, wrong)
        for _, f in ipairs(lvhd.check(leaf.path, { data = true }):wait()[1]
          .findings) do
          assert(f.severity ~= "error" or f.code == "COPY_MISSING", f.code)
          assert(not f.code:find("^LOCATOR_"), f.code)
        end
      end, function(e)
        return debug.traceback(type(e) == "table" and e.message
          or tostring(e))
      end)
      if not ok then
        error(("seed %d: %s\n%s"):format(seed, err,
          leaf and chains.story(leaf) or ""), 0)
      end
    end
  end)
end)

describe("in a file without free places, relink", function()
  local tight = { order = { "header", "bat", "locators", "blocks" } }

  local function tight_pair(locators)
    local o = { locators = locators }
    for k, v in pairs(tight) do o[k] = v end
    local root, child = pair(o)
    assert.equal(2048, child.placed[1].at) -- nothing is free
    return root, child
  end

  it("writes over the old texts", function()
    local root, child = tight_pair{
      { code = "W2ku", text = [[C:\root.vhd]] },
      { code = "W2ru", text = [[.\root.vhd]] } }
    move(root, dir .. "/other.vhd")
    local info = relink(child, root)
    for _, f in ipairs(info.findings) do
      assert.not_equal("LOCATOR_LEFT_OUT", f.code)
    end
    assert.same({ time = root.mtime, uuid = root.uuid, name = "other.vhd",
      W2ru = [[.\other.vhd]], MacX = "file://./other.vhd" },
      record(child.path))
    quiet(child.path)
  end)

  it("does without MacX where there is room for one", function()
    local root, child = tight_pair{
      { code = "W2ru", text = [[.\root.vhd]] } }
    move(root, dir .. "/other.vhd")
    local info = relink(child, root)
    assert.equal("LOCATOR_LEFT_OUT", info.findings[#info.findings].code)
    assert.is_nil(record(child.path).MacX)
    quiet(child.path)
  end)

  -- The texts of old have so much room; the child is on C, the parent on C
  -- or D.
  local function with_drives(locators)
    run(("mkdir -p %s/d"):format(q(dir)))
    local e = lvhd.engine{ drives = { C = dir, D = dir .. "/d" } }
    local root, child = tight_pair(locators)
    return e, root, child
  end

  local function left_out(info)
    local list = {}
    for _, f in ipairs(info.findings) do
      if f.code == "LOCATOR_LEFT_OUT" then
        list[#list + 1] = f.actual
      end
    end
    return list
  end

  local old = [[.\root.vhd]]

  it("has room for three where three were", function()
    local e, root, child = with_drives{ { code = "W2ku", text = old },
      { code = "MacX", text = "file://./root.vhd" },
      { code = "W2ru", text = old } }
    move(root, dir .. "/other.vhd")
    local info = e:relink(child.path, root.path):wait()
    assert.same({}, left_out(info))
    assert.same({ time = root.mtime, uuid = root.uuid, name = "other.vhd",
      W2ru = [[.\other.vhd]], W2ku = [[C:\other.vhd]],
      MacX = "file://./other.vhd" }, record(child.path))
    local codes = {}
    for i, l in ipairs(info.parent.locators) do codes[i] = l.code end
    assert.same({ "W2ru", "W2ku", "MacX" }, codes)
    quiet(child.path)
    -- and again, over its own
    move(root, dir .. "/third.vhd")
    e:relink(child.path, root.path):wait()
    assert.equal([[C:\third.vhd]], record(child.path).W2ku)
    e:close()
  end)

  it("has room for W2ru and W2ku where two were", function()
    local e, root, child = with_drives{ { code = "W2ku", text = old },
      { code = "W2ru", text = old } }
    move(root, dir .. "/other.vhd")
    local info = e:relink(child.path, root.path):wait()
    assert.same({ #"file://./other.vhd" }, left_out(info))
    assert.same({ time = root.mtime, uuid = root.uuid, name = "other.vhd",
      W2ru = [[.\other.vhd]], W2ku = [[C:\other.vhd]] },
      record(child.path))
    quiet(child.path)
    e:close()
  end)

  it("has room for W2ru alone where one was, and says both", function()
    local e, root, child = with_drives{ { code = "W2ku", text = old } }
    move(root, dir .. "/other.vhd")
    local info = e:relink(child.path, root.path):wait()
    assert.same({ 2 * #[[C:\other.vhd]], #"file://./other.vhd" },
      left_out(info))
    assert.same({ time = root.mtime, uuid = root.uuid, name = "other.vhd",
      W2ru = [[.\other.vhd]] }, record(child.path))
    e:close()
  end)

  it("gives the only room to W2ku where W2ru leads nowhere", function()
    local e, root, child = with_drives{ { code = "W2ru", text = old } }
    run(("mkdir %s/c; mv %s %s/c"):format(q(dir), q(child.path), q(dir)))
    child.path = dir .. "/c/child.vhd"
    move(root, dir .. "/d/other.vhd")
    local two <close> = lvhd.engine{ drives = { C = dir .. "/c",
      D = dir .. "/d" } }
    local info = two:relink(child.path, root.path):wait()
    assert.same({ #"file://./../d/other.vhd" }, left_out(info))
    assert.same({ time = root.mtime, uuid = root.uuid, name = "other.vhd",
      W2ku = [[D:\other.vhd]] }, record(child.path))
    assert.equal(root.path, two:chain(child.path)[2].path)
    -- a name that does not fit there has no other place
    local far = dir .. "/d/" .. ("n"):rep(200) .. "/" .. ("m"):rep(50)
    support.mkdir(far)
    move(root, far .. "/other.vhd")
    expect.unchanged(dir, function()
      local err = expect.fails("E_BUFFER_OVERFLOW", "LOCATOR_TOO_LONG",
        two.relink, two, child.path, root.path)
      assert.equal(512, err.expected)
      assert.equal(2 * (3 + 252 + 9), err.actual)
    end)
    e:close()
  end)

  it("refuses a way that is too long for the place there is", function()
    local root, child = tight_pair{
      { code = "W2ru", text = [[.\root.vhd]] } }
    local folder = dir .. "/" .. ("d"):rep(200) .. "/" .. ("e"):rep(100)
    support.mkdir(folder)
    move(root, folder .. "/root.vhd")
    expect.unchanged(dir, function()
      local err = expect.fails("E_BUFFER_OVERFLOW", "LOCATOR_TOO_LONG",
        lvhd.relink, child.path, root.path)
      assert.equal(512, err.expected)
      assert.equal(2 * (2 + 302 + 8), err.actual)
    end)
  end)

  it("touches no block that lies in the space of a locator", function()
    -- the old text says that it owns what blocks follow
    local root, child = tight_pair{ { code = "W2ru", text = [[.\root.vhd]],
      space = 8192 } }
    move(root, dir .. "/other.vhd")
    expect.unchanged(dir, function()
      expect.fails("E_BUFFER_OVERFLOW", "LOCATOR_TOO_LONG", lvhd.relink,
        child.path, root.path)
    end)
  end)
end)

describe("relink refuses", function()
  local root, child

  before_each(function()
    root, child = pair()
  end)

  ---@return lvhd.Error
  local function refused(name, reason, parent, opts, of)
    return expect.unchanged(dir, expect.fails, name, reason, lvhd.relink,
      of or child.path, parent, opts)
  end

  it("a disk that has no parent", function()
    local err = refused("VM_E_WRONG_HD_IMAGE_TYPE", "TYPE_UNFIT", child.path,
      {}, root.path)
    assert.equal(root.path, err.path)
  end)

  it("itself, by any name, and with force", function()
    for _, opts in ipairs{ {}, { force = true } } do
      refused("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_CYCLE", child.path, opts)
    end
    run(("ln %s %s/hard.vhd; cp -p %s %s/copy.vhd"):format(q(child.path),
      q(dir), q(child.path), q(dir)))
    for _, name in ipairs{ "/hard.vhd", "/copy.vhd" } do
      local err = refused("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_CYCLE",
        dir .. name, { force = true })
      assert.equal(child.path, err.path)
      assert.equal(dir .. name, err.parent)
    end
  end)

  it("its own descendants, also where their chain is broken", function()
    local leaf = vhdwrite.new{ parent = child }
    leaf:save(dir .. "/leaf.vhd")
    refused("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_CYCLE", leaf.path,
      { force = true })
    os.remove(root.path)
    refused("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_CYCLE", leaf.path,
      { force = true })
  end)

  it("another disk, unless it is forced", function()
    local other = vhdwrite.new{ size = SIZE }
    other:put(5, vhdwrite.pattern(7, 5)):save(dir .. "/other.vhd")
    local err = refused("VM_E_PARENT_CHILD_ID_MISMATCH", nil, other.path)
    assert.equal(root.uuid, err.expected)
    assert.equal(other.uuid, err.actual)
    assert.equal(child.path, err.path)
    assert.equal(other.path, err.parent)
    relink(child, other, { force = true })
    assert.equal(other.uuid, record(child.path).uuid)
    quiet(child.path)
  end)

  it("another size, whatever is forced", function()
    local other = vhdwrite.new{ size = SIZE + 512, uuid = root.uuid }
    other:save(dir .. "/other.vhd")
    for _, opts in ipairs{ {}, { force = true } } do
      local err = refused("VM_E_HD_IMAGE_OPEN_FAIL", "PARENT_SIZE",
        other.path, opts)
      assert.equal(SIZE, err.expected)
      assert.equal(SIZE + 512, err.actual)
    end
  end)

  it("a parent without identifier", function()
    local other = vhdwrite.new{ size = SIZE,
      uuid = "00000000-0000-0000-0000-000000000000" }
    other:save(dir .. "/other.vhd")
    refused("VM_E_INVALID_HD_FILE", "UUID_MALFORMED", other.path,
      { force = true })
  end)

  it("what is missing, no disk, or damaged", function()
    local err = refused("E_PATH_NOT_FOUND", "FILE_MISSING", dir .. "/no.vhd")
    assert.equal(child.path, err.path)
    assert.equal(dir .. "/no.vhd", err.parent)
    support.write(dir .. "/text", ("x"):rep(5000))
    refused("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", dir .. "/text")
    local other = vhdwrite.new{ size = SIZE, uuid = root.uuid,
      footer = "killed" }
    other:save(dir .. "/killed.vhd")
    refused("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", other.path)
    refused("E_PATH_NOT_FOUND", "FILE_MISSING", root.path, {},
      dir .. "/none.vhd")
  end)

  it("a parent whose own parent is not there", function()
    local leaf = vhdwrite.new{ parent = child }
    leaf:save(dir .. "/leaf.vhd")
    os.remove(root.path)
    local err = refused("VM_E_PARENT_PATH_NOT_FOUND", nil, child.path, {},
      leaf.path)
    assert.equal(leaf.path, err.path)
    assert.equal(3, err.layer)
  end)

  it("a chain that is too long", function()
    local leaf = vhdwrite.new{ parent = child }
    leaf:save(dir .. "/leaf.vhd")
    local err = refused("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_TOO_DEEP",
      child.path, { max_depth = 2 }, leaf.path)
    assert.equal(2, err.expected)
    relink(leaf, child, { max_depth = 3 })
  end)

  it("names that others cannot find", function()
    for _, name in ipairs{ [[a\b.vhd]], "\xFF.vhd" } do
      local to = dir .. "/" .. name
      run(("cp -p %s %s"):format(q(root.path), q(to)))
      refused("E_INVALID_NAME", "NAME_UNFINDABLE", to)
    end
  end)

  it("a child without write permission, for root too", function()
    run("chmod a-w " .. q(child.path))
    local err = refused("VM_E_FILE_READ_ONLY", nil, root.path,
      { force = true })
    assert.equal(child.path, err.path)
  end)

  it("a child that someone has open, a parent that someone writes", function()
    local held = test.lock(child.path, "read", 100, 1)
    local other = test.lock(child.path, "read", 201, 1)
    local err = refused("E_SHARING_VIOLATION", "IN_USE", root.path,
      { force = true })
    assert.equal(child.path, err.path)
    test.close(held)
    test.close(other)
    held = test.lock(root.path, "read", 101, 1)
    err = refused("E_SHARING_VIOLATION", "IN_USE", root.path)
    assert.equal(root.path, err.parent)
    assert.equal(2, err.layer)
    test.close(held)
    relink(child, root)
  end)

  it("no child with a saved state, which is no obstacle here", function()
    local one = vhdwrite.new{ parent = root, saved_state = 1 }
    one:put(1, vhdwrite.pattern(9, 1)):save(dir .. "/saved.vhd")
    move(root, dir .. "/other.vhd")
    relink(one, root)
  end)
end)

describe("when calls fail, relink", function()
  local root, child, engine, system

  after_each(function()
    system:drop()
    engine:close()
  end)

  -- Each call of a kind fails once; the child reads as before or as asked
  -- for, and the plain re-run finishes.
  local function sweep(o, drives)
    system = test.system()
    engine = lvhd.engine{ threads = 1, system = system:pointer(),
      drives = drives }
    root, child = pair(o)
    local second = dir .. "/second.vhd"
    run(("cp -p %s %s"):format(q(root.path), q(second)))
    local whole = support.read(child.path)
    for _, call in ipairs{ "pwritev", "fdatasync", "fsync", "futimens",
      "linkat", "unlinkat", "ftruncate", "pread" } do
      local failed = true
      local nth = 0
      while failed and nth < 30 do
        nth = nth + 1
        support.write(child.path, whole)
        test.utime(child.path, child.mtime)
        system:fail{ call = call, errno = "EIO", nth = nth }
        local ok, err = expect.try(engine.relink, engine, child.path, second)
        failed = not ok
        system:drop()
        assert(ok or lvhd.is_error(err))
        -- undone, unless it was the look at the end that failed
        if not ok and o and call ~= "pread" then
          assert.is_true(whole == support.read(child.path), call)
        end
        assert(ok or err.path == child.path, tostring(err))
        do
          local disk <close> = lvhd.open(child.path)
          local wrong = chains.difference(child, disk:read(0, SIZE))
          assert(not wrong, wrong)
          if not ok then
            local now = disk:chain()[2].path
            assert(now == root.path or now == second, now)
          end
        end
        lvhd.relink(child.path, second):wait()
        assert.equal(dir .. "/second.vhd",
          lvhd.chain(child.path)[2].path, call)
        assert.equal(child.mtime * 1000000000, test.stat(child.path).mtime)
        assert.same({ "child.vhd", "root.vhd", "second.vhd" },
          support.names(dir))
      end
      assert.is_true(nth < 30)
    end
  end

  it("leaves the old parent or the new one", function()
    sweep()
  end)

  it("leaves one of them where it writes over old texts", function()
    sweep{ order = { "header", "bat", "locators", "blocks" },
      locators = { { code = "W2ku", text = [[C:\root.vhd]] },
        { code = "W2ru", text = [[.\root.vhd]] } } }
  end)

  it("leaves one of them where it writes over three, with drives", function()
    sweep({ order = { "header", "bat", "locators", "blocks" },
      locators = { { code = "W2ku", text = [[C:\root.vhd]] },
        { code = "W2ru", text = [[.\root.vhd]] },
        { code = "MacX", text = "file://./root.vhd" } } }, { C = dir })
    assert.equal([[.\second.vhd]], record(child.path).W2ru)
    engine:relink(child.path, dir .. "/second.vhd"):wait()
    assert.equal([[C:\second.vhd]], record(child.path).W2ku)
  end)

  local function steps_of(drives)
    system = test.system()
    engine = lvhd.engine{ threads = 1, system = system:pointer(),
      drives = drives }
    root, child = pair()
    system:forget()
    engine:relink(child.path, root.path):wait()
    local steps = {}
    for _, e in ipairs(system:log()) do
      local at = e.at and e.at:match("[^/]*$") or ""
      if e.call == "pwritev" then
        steps[#steps + 1] = at == "child.vhd"
          and (e.offset == 512 and "header" or "text") or "note"
      elseif e.call == "fdatasync" or e.call == "unlinkat"
        or e.call == "linkat" then
        steps[#steps + 1] = e.call
      end
    end
    return table.concat(steps, " ")
  end

  it("notes the header, then the texts, then the header", function()
    assert.equal("note linkat text text fdatasync header unlinkat",
      steps_of())
  end)

  it("writes a third text where a drive is known, in front of the header",
    function()
      assert.equal("note linkat text text text fdatasync header unlinkat",
        steps_of{ C = dir })
    end)
end)
