-- SPDX-License-Identifier: MIT
--
-- The verb merge: what it writes is judged by a model, by 7-Zip, by QEMU and
-- by a reader in Lua; what it refuses changes nothing; and where it breaks,
-- the child reads as before and running it again finishes it.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local fixtures = require "spec.support.fixtures"
local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"
local test = require "lvhdtest"

local q = support.q
local SECTOR <const> = 512
local MiB <const> = 1 << 20
local ROUNDS <const> = tonumber(os.getenv("LVHD_ROUNDS") or 200)
local FIRST <const> = tonumber(os.getenv("LVHD_SEED") or os.time())

local dir

before_each(function()
  dir = support.tmpdir()
end)

-- ---- helpers ---------------------------------------------------------------

local function content(path)
  local disk <close> = lvhd.open(path)
  return disk:read(0, disk:info().size)
end

local function by_7zip(path)
  return fixtures.sha256_of_output("7zz x -tvhd -so -bd " .. q(path)
    .. " 2>/dev/null")
end

local function by_qemu(path)
  local raw = path .. ".raw"
  support.run(("qemu-img convert -f vpc -O raw %s %s"):format(q(path),
    q(raw)))
  local bytes = support.read(raw)
  os.remove(raw)
  return bytes
end

local function mtime(path)
  return test.stat(path).mtime
end

local function no_note()
  for _, name in ipairs(support.names(dir)) do
    assert.falsy(name:find("lvhd-journal", 1, true), name)
  end
end

---The chain of a disk has no findings of severity "error", and no time that
---does not fit.
local function sound(path)
  for _, info in ipairs(lvhd.check(path, { chain = true, data = true })
      :wait()) do
    for _, f in ipairs(info.findings) do
      assert(f.severity ~= "error" and f.code ~= "PARENT_TIME",
        ("%s: %s %s"):format(info.path, f.code, f.message))
    end
  end
end

---It reads so, all of it, by lvhd and by 7-Zip.
local function reads(path, want)
  assert(content(path) == want, path .. " reads otherwise")
  assert.equal(fixtures.sha256(want), by_7zip(path), path)
end

local function put(model, first, count, tag)
  for s = first, math.min(first + count, model.size // SECTOR) - 1 do
    model:put(s, vhdwrite.pattern(tag, s))
  end
end

---root <- child: a disk of 4 MiB, some sectors of both, some of one.
local function pair(o)
  o = o or {}
  local root = vhdwrite.new{ type = o.type, size = 4 * MiB,
    block_size = o.root_block, batmap = nil }
  put(root, 0, 40, 1)
  put(root, 4090, 20, 1)
  root:save(dir .. "/root.vhd")
  local child = vhdwrite.new{ parent = root, block_size = o.block }
  put(child, 20, 40, 2)
  put(child, 3000, 1500, 2)
  child:save(dir .. "/child.vhd")
  return root, child
end

---One more child of a model, made by its own writer.
local function child_of(parent, name, tag)
  local child = vhdwrite.new{ parent = parent }
  put(child, 5000, 9, tag)
  child:save(dir .. "/" .. name)
  return child
end

-- ---- what it writes --------------------------------------------------------

local BLOCKS <const> = { 512, 2048, 4096, 16384, 65536, 1 << 19, 1 << 20,
  1 << 21, 1 << 22 }

local function random_chain(random, sectors)
  local at
  for level = 1, 2 + random.below(4) do
    local o = { parent = at, block_size = random.pick(BLOCKS),
      gap = random.pick{ 0, 0, 512 }, align = random.pick{ 512, 4096 } }
    if not at then
      o.type, o.size = random.pick{ "fixed", "dynamic", "dynamic" },
        sectors * SECTOR
    end
    local model = vhdwrite.new(o)
    for _ = 1, random.below(9) do
      put(model, random.below(sectors),
        1 + random.below(random.pick{ 1, 9, 300, 3000 }), level)
    end
    if random.chance(30) then -- zeros that were written
      model:put(random.below(sectors), ("\0"):rep(SECTOR))
    end
    if random.chance(30) then put(model, sectors - 1, 1, level) end
    if model.type ~= "fixed" and random.chance(20) then
      model:keep(random.below(sectors * SECTOR // model.block_size + 1))
    end
    model:save(("%s/%d.vhd"):format(dir, level))
    at = model
  end
  return at
end

---Merges a random chain into one of its ancestors, and looks at all of it.
local function round(seed)
  local random = vhdwrite.random(seed)
  local leaf = random_chain(random, 1 + random.below(9000))
  local models = leaf:chain()
  local want = leaf:read(0, leaf.size)
  local target = models[2 + random.below(#models - 1)]
  local root = models[#models]
  local remove = random.chance(30)
  local info = lvhd.merge(leaf.path,
    { into = target.path, delete = remove, force = random.chance(50),
      sync = random.chance(80) and "none" or nil })
    :wait()
  assert.equal(target.path, info.path)
  reads(target.path, want)
  sound(target.path)
  -- QEMU takes the bitmap of a smaller block for empty
  if target == root and (root.type == "fixed" or root.block_size >= 4096) then
    assert(by_qemu(target.path):sub(1, #want) == want, "qemu reads otherwise")
  end
  for _, model in ipairs(models) do
    if model == target then break end
    assert.equal(not remove, test.stat(model.path) ~= nil)
  end
  if not remove then
    reads(leaf.path, want)
    sound(leaf.path)
    assert.equal(leaf.mtime, mtime(leaf.path) // 1000000000)
    local paths = {}
    for i, one in ipairs(lvhd.chain(leaf.path)) do paths[i] = one.path end
    assert.equal(#models, #paths)
    assert(vhdread.content(paths, 0, math.min(leaf.size, 300 * SECTOR))
      == want:sub(1, 300 * SECTOR))
  end
  no_note()
end

local function rounds(first, count)
  for seed = first, first + count - 1 do
    dir = support.tmpdir()
    local ok, err = xpcall(round, function(e)
      return debug.traceback(type(e) == "table" and e.message or tostring(e))
    end, seed)
    if not ok then
      error(("seed %d: %s"):format(seed, err), 0)
    end
    support.clean()
  end
end

describe("a merge", function()
  it("makes the target read as the child, whatever the chain", function()
    rounds(1, 10)
  end)

  it("does so for many chains #slow", function()
    print("\nmerge: seeds from " .. FIRST)
    rounds(FIRST, ROUNDS)
  end)

  it("leaves zeros out where the target reads as zeros", function()
    for kind, grows in pairs{ dynamic = false, fixed = false } do
      local root = vhdwrite.new{ type = kind, size = 8 * MiB }
      put(root, 0, 1, 1)
      root:save(dir .. "/root.vhd")
      local child = vhdwrite.new{ parent = root, block_size = 2 * MiB }
      child:keep(2, true)
      child:save(dir .. "/child.vhd")
      local before = test.stat(root.path)
      lvhd.merge(child.path):wait()
      local after = test.stat(root.path)
      assert.equal(grows, after.size > before.size, kind)
      assert.equal(before.blocks, after.blocks, kind)
      reads(root.path, child:read(0, child.size))
    end
  end)

  it("writes zeros over what the target or its parent holds", function()
    local root, child = pair()
    child:put(10, ("\0"):rep(3 * SECTOR))
    child:save(child.path)
    local leaf = vhdwrite.new{ parent = child }
    leaf:put(30, ("\0"):rep(SECTOR))
    leaf:save(dir .. "/leaf.vhd")
    lvhd.merge(leaf.path):wait()
    reads(child.path, leaf:read(0, leaf.size))
    lvhd.merge(child.path, { children = { leaf.path } }):wait()
    reads(root.path, leaf:read(0, leaf.size))
  end)

  it("tells how much there is to do and that it is done", function()
    local _, child = pair()
    local task = lvhd.merge(child.path)
    task:wait()
    local percent, bytes, all = task:progress()
    assert.same({ 100, 1540 * SECTOR, 1540 * SECTOR },
      { percent, bytes, all })
  end)

  it("keeps the time of the child and records the target's", function()
    local root, child = pair()
    lvhd.merge(child.path):wait()
    assert.equal(child.mtime, mtime(child.path) // 1000000000)
    assert.not_equal(root.mtime, mtime(root.path) // 1000000000)
    assert.equal(mtime(root.path) // 1000000000,
      lvhd.info(child.path).parent.timestamp)
  end)

  it("changes nothing when it is run once more", function()
    local root, child = pair()
    lvhd.merge(child.path):wait()
    local bytes = support.read(root.path)
    lvhd.merge(child.path):wait()
    assert(bytes == support.read(root.path))
    sound(child.path)
  end)

  it("deletes what was merged, and nothing else, when asked to", function()
    local root, child = pair()
    local mid = child
    local leaf = child_of(mid, "leaf.vhd", 3)
    local want = leaf:read(0, leaf.size)
    lvhd.merge(leaf.path, { into = root.path, delete = true }):wait()
    assert.same({ "root.vhd" }, support.names(dir))
    reads(root.path, want)
  end)

  it("into a farther ancestor keeps the chain, and its times fit", function()
    local root, child = pair()
    local leaf = child_of(child, "leaf.vhd", 3)
    local want = leaf:read(0, leaf.size)
    for _ = 1, 2 do
      lvhd.merge(leaf.path, { into = root.path }):wait()
      assert.equal(3, #lvhd.chain(leaf.path))
      reads(leaf.path, want)
      reads(root.path, want)
      sound(leaf.path)
    end
  end)

  it("gives the target another time, even within one second", function()
    local root, child = pair()
    for i = 1, 3 do
      local before = mtime(root.path) // 1000000000
      lvhd.merge(child.path):wait()
      assert.not_equal(before, mtime(root.path) // 1000000000)
      sound(child.path)
      lvhd.open(child.path, { write = true }):write(0, "changed" .. i):close()
    end
  end)

  it("does what else is asked for where the target has all of it", function()
    local root, mid = pair()
    local leaf = child_of(mid, "leaf.vhd", 3)
    local kid = child_of(leaf, "kid.vhd", 4)
    lvhd.merge(leaf.path, { into = root.path }):wait()
    lvhd.relink(kid.path, leaf.path):wait()
    lvhd.merge(leaf.path, { into = root.path, children = { kid.path } }):wait()
    assert.equal(root.path, lvhd.chain(kid.path)[2].path)
    lvhd.merge(leaf.path, { into = root.path, delete = true,
      children_in = false }):wait()
    lvhd.relink(kid.path, root.path):wait() -- the time has moved
    assert.same({ "kid.vhd", "root.vhd" }, support.names(dir))
    reads(kid.path, kid:read(0, kid.size))
    sound(kid.path)
  end)

  it("leaves a target alone that has all of it, where the time fits", function()
    local root, child = pair()
    lvhd.merge(child.path):wait()
    local dry = lvhd.engine{ dry_run = true }
    local before, time = support.read(root.path), mtime(root.path)
    local own = support.read(child.path)
    assert.equal(root.path, dry:merge(child.path):wait().path)
    assert.equal(root.path, lvhd.merge(child.path):wait().path)
    assert.equal(time, mtime(root.path))
    assert(support.read(root.path) == before and support.read(child.path) == own)
    no_note()
    -- what makes one of its other children misfit is a change, and no other
    local sibling = dir .. "/sibling.vhd"
    lvhd.create_differencing(sibling, root.path):wait()
    expect.fails("E_SHARING_VIOLATION", "OTHER_CHILDREN", lvhd.merge, child.path)
    lvhd.merge(child.path, { force = true }):wait()
    sound(sibling)
    lvhd.open(child.path, { write = true }):write(3 << 20, "new"):close()
    lvhd.merge(child.path, { force = true }):wait()
    assert.not_equal(time, mtime(root.path))
    assert.is_false(pcall(sound, sibling))
    -- and a time that does not fit is recorded, without a change of content
    test.utime(root.path, 1500000000)
    os.remove(sibling)
    lvhd.merge(child.path, { force = true }):wait()
    sound(child.path)
    dry:close()
  end)
end)

-- ---- children --------------------------------------------------------------

describe("children = {}", function()
  it("hangs them on the target, and 7-Zip finds it", function()
    for _, remove in ipairs{ false, true } do
      local root, child = pair()
      local a, b = child_of(child, "a.vhd", 3), child_of(child, "b.vhd", 4)
      lvhd.merge(child.path,
        { children = { a.path, b.path, a.path }, delete = remove }):wait()
      assert.equal(not remove, test.stat(child.path) ~= nil)
      for _, model in ipairs{ a, b } do
        reads(model.path, model:read(0, model.size))
        sound(model.path)
        local info = lvhd.chain(model.path)
        assert.same({ model.path, root.path }, { info[1].path, info[2].path })
        assert.equal(2, #info)
        assert.equal(model.mtime, mtime(model.path) // 1000000000)
      end
      no_note()
    end
  end)

  it("refuses what is no child, with the name", function()
    local root, child = pair()
    local sibling = child_of(root, "sibling.vhd", 3)
    local deep = child_of(child_of(child, "a.vhd", 4), "deep.vhd", 5)
    local fixed = vhdwrite.new{ type = "fixed", size = 4 * MiB }
    fixed:save(dir .. "/fixed.vhd")
    for _, path in ipairs{ sibling.path, deep.path, fixed.path, child.path,
      root.path } do
      local err = expect.unchanged(dir, expect.fails,
        "VM_E_PARENT_CHILD_ID_MISMATCH", "NOT_A_CHILD", lvhd.merge,
        child.path, { children = { dir .. "/a.vhd", path } })
      assert.equal(path, err.path)
    end
    local err = expect.unchanged(dir, expect.fails, "E_PATH_NOT_FOUND", nil,
      lvhd.merge, child.path, { children = { dir .. "/none.vhd" } })
    assert.equal(dir .. "/none.vhd", err.path)
  end)

  it("refuses those that their parent's time does not fit", function()
    local _, child = pair()
    local a = child_of(child, "a.vhd", 3)
    test.utime(child.path, child.mtime + 5)
    local err = expect.unchanged(dir, expect.fails, "VM_E_PARENT_MODIFIED",
      "PARENT_TIME", lvhd.merge, child.path, { children = { a.path } })
    assert.equal(a.path, err.path)
    assert.same({ child.mtime, child.mtime + 5 },
      { err.expected, err.actual })
    lvhd.merge(child.path, { children = { a.path }, force = true }):wait()
    sound(a.path)
  end)

  it("refuses one that cannot be written", function()
    local _, child = pair()
    local a = child_of(child, "a.vhd", 3)
    support.run("chmod a-w " .. q(a.path))
    local err = expect.unchanged(dir, expect.fails, "VM_E_FILE_READ_ONLY",
      nil, lvhd.merge, child.path, { children = { a.path } })
    assert.equal(a.path, err.path)
  end)
end)

-- ---- refusals --------------------------------------------------------------

describe("a merge is refused", function()
  local function refused(name, reason, ...)
    return expect.unchanged(dir, expect.late, name, reason, lvhd.merge, ...)
  end

  it("for a disk without parent", function()
    local root = pair()
    local err = refused("VM_E_WRONG_HD_IMAGE_TYPE", "TYPE_UNFIT", root.path)
    assert.equal(root.path, err.path)
  end)

  it("into what is no ancestor", function()
    local root, child = pair()
    local other = child_of(root, "other.vhd", 3)
    for _, into in ipairs{ other.path, child.path } do
      local err = refused("E_INVALIDARG", "NOT_AN_ANCESTOR", child.path,
        { into = into })
      assert.same({ child.path, into }, { err.path, err.parent })
    end
    local err = refused("E_PATH_NOT_FOUND", "FILE_MISSING", child.path,
      { into = dir .. "/none.vhd" })
    assert.equal(dir .. "/none.vhd", err.parent)
    assert.truthy(tostring(err):find("'" .. err.parent .. "'", 1, true))
  end)

  it("without a parent", function()
    local root, child = pair()
    os.remove(root.path)
    refused("VM_E_PARENT_PATH_NOT_FOUND", nil, child.path)
  end)

  it("into a golden image", function()
    local root, child = pair()
    support.run("chmod a-w " .. q(root.path))
    local err = refused("VM_E_FILE_READ_ONLY", "NO_WRITE_BIT", child.path)
    assert.same({ child.path, root.path, 2 },
      { err.path, err.parent, err.layer })
    refused("VM_E_FILE_READ_ONLY", nil, child.path, { force = true })
  end)

  it("while a saved state refers to child or target", function()
    for _, at in ipairs{ "root", "child" } do
      local root = vhdwrite.new{ size = 4 * MiB,
        saved_state = at == "root" and 1 or 0 }
      root:save(dir .. "/root.vhd")
      local child = vhdwrite.new{ parent = root,
        saved_state = at == "child" and 1 or 0 }
      child:save(dir .. "/child.vhd")
      for _, force in ipairs{ false, true } do
        local err = refused("E_SHARING_VIOLATION", "SAVED_STATE", child.path,
          { force = force })
        assert.equal(child.path, err.path)
        assert.equal(at == "root" and root.path or nil, err.parent)
      end
    end
  end)

  it("where the parent was changed, but not with force", function()
    local root, child = pair()
    test.utime(root.path, root.mtime + 2)
    local err = refused("VM_E_PARENT_MODIFIED", "PARENT_TIME", child.path)
    assert.same({ child.path, root.path, root.mtime, root.mtime + 2 },
      { err.path, err.parent, err.expected, err.actual })
    lvhd.merge(child.path, { force = true }):wait()
    reads(root.path, child:read(0, child.size))
    sound(child.path)
  end)

  it("into a parent of another size", function()
    local root = vhdwrite.new{ size = 4 * MiB }
    root:save(dir .. "/root.vhd")
    for _, size in ipairs{ 4 * MiB - SECTOR, 4 * MiB + SECTOR } do
      local child = vhdwrite.new{ parent = root, size = size }
      child:save(dir .. "/child.vhd")
      local err = refused("VM_E_HD_IMAGE_OPEN_FAIL", "PARENT_SIZE",
        child.path, { force = true })
      assert.same({ size, 4 * MiB }, { err.expected, err.actual })
    end
  end)

  it("while someone has a layer open", function()
    local root, child = pair()
    local leaf = child_of(child, "leaf.vhd", 3)
    local sibling = child_of(root, "sibling.vhd", 4)
    do
      local disk <close> = lvhd.open(sibling.path)
      local err = refused("E_SHARING_VIOLATION", "IN_USE", leaf.path,
        { into = root.path, force = true })
      assert.same({ leaf.path, root.path }, { err.path, err.parent })
      assert(disk:read(0, 1))
    end
    do
      local disk <close> = lvhd.open(child.path, { write = true,
        force = true })
      local err = refused("E_SHARING_VIOLATION", "IN_USE", leaf.path)
      assert.equal(child.path, err.parent)
      assert(disk:read(0, 1))
    end
    do
      local disk <close> = lvhd.open(leaf.path)
      local err = refused("E_SHARING_VIOLATION", "IN_USE", leaf.path)
      assert.equal(leaf.path, err.path)
      assert(disk:read(0, 1))
    end
    lvhd.merge(leaf.path):wait()
  end)

  it("while QEMU has the target open", function()
    if not support.has("qemu-nbd") then
      pending("qemu-nbd is not installed")
    end
    local root, child = pair()
    local socket = support.tmpdir() .. "/nbd"
    local pid = support.run(("qemu-nbd -r -t -f vpc -k %s %s >/dev/null 2>&1"
      .. " & echo $!"):format(q(socket), q(root.path))):match("%d+")
    finally(function()
      support.sh("kill " .. pid)
    end)
    for _ = 1, 100 do
      if test.stat(socket) then break end
      test.sleep(0.05)
    end
    local err = refused("E_SHARING_VIOLATION", "IN_USE", child.path)
    assert.equal(root.path, err.parent)
  end)
end)

-- ---- other children --------------------------------------------------------

describe("other children of the target", function()
  it("are named, and force goes over them", function()
    local root, child = pair()
    local a, b = child_of(root, "a.vhd", 3), child_of(root, "b.vhd", 4)
    local err = expect.unchanged(dir, expect.late, "E_SHARING_VIOLATION",
      "OTHER_CHILDREN", lvhd.merge, child.path)
    assert.same({ child.path, root.path, 2 },
      { err.path, err.parent, err.actual })
    assert.same({ a.path, b.path }, err.others)
    -- to name them as children of the child does not help
    expect.unchanged(dir, expect.late, "VM_E_PARENT_CHILD_ID_MISMATCH",
      "NOT_A_CHILD", lvhd.merge, child.path, { children = { a.path, b.path } })
    lvhd.merge(child.path, { force = true }):wait()
    reads(root.path, child:read(0, child.size))
  end)

  it("are found beside each file of the chain and in children_in", function()
    local other = support.tmpdir()
    local root, child = pair()
    local far = child_of(root, "far.vhd", 3)
    support.run(("mkdir -p %s/x/y && mv %s %s/x/y/odd.name"):format(q(other),
      q(far.path), q(other)))
    lvhd.merge(child.path):wait() -- nobody told
    child:save(child.path)
    root:save(root.path)
    local err = expect.late("E_SHARING_VIOLATION", "OTHER_CHILDREN",
      lvhd.merge, child.path, { children_in = { other } })
    assert.same({ other .. "/x/y/odd.name" }, err.others)
    lvhd.merge(child.path, { children_in = false }):wait()
  end)

  it("count once, by whatever names", function()
    local root, child = pair()
    local a = child_of(root, "a.vhd", 3)
    support.run(("ln %s %s/hard.vhd && ln -s a.vhd %s/soft.vhd"):format(
      q(a.path), q(dir), q(dir)))
    local err = expect.late("E_SHARING_VIOLATION", "OTHER_CHILDREN",
      lvhd.merge, child.path, { children_in = { dir } })
    assert.equal(1, err.actual)
    assert.equal(1, #err.others)
    os.remove(dir .. "/soft.vhd")
  end)

  it("are found although their copy of the footer is gone", function()
    local root, child = pair()
    local a = vhdwrite.new{ parent = root, copy = "none" }
    a:save(dir .. "/a.vhd")
    local err = expect.late("E_SHARING_VIOLATION", "OTHER_CHILDREN",
      lvhd.merge, child.path)
    assert.same({ a.path }, err.others)
  end)

  it("are not what a guest wrote at the start of a fixed disk", function()
    local root, child = pair()
    local a = child_of(root, "a.vhd", 3)
    local bytes = support.read(a.path):sub(1, 4096)
    os.remove(a.path)
    local fixed = vhdwrite.new{ type = "fixed", size = 4 * MiB }
    fixed:put(0, bytes)
    fixed:save(dir .. "/fixed.vhd")
    lvhd.merge(child.path):wait()
  end)

  it("are not looked for below the folders of the chain", function()
    local root, child = pair()
    local far = child_of(root, "far.vhd", 3)
    support.run(("mkdir %s/sub && mv %s %s/sub"):format(q(dir), q(far.path),
      q(dir)))
    lvhd.merge(child.path):wait()
  end)

  -- Its header names another parent already, which its journal takes back.
  it("are those, too, whose relinking was interrupted", function()
    local root, child = pair()
    local a = child_of(root, "a.vhd", 3)
    local other = vhdwrite.new{ size = 4 * MiB }
    other:save(dir .. "/other.vhd")
    local system <const> = test.system()
    local engine <close> = lvhd.engine{ threads = 1,
      system = system:pointer() }
    local raw = root.uuid:gsub("-", ""):gsub("%x%x", function(x)
      return string.char(tonumber(x, 16))
    end)
    for n = 1, 9 do
      os.remove(dir .. "/.a.vhd.lvhd-journal")
      a:save(a.path)
      system:fail{ call = "futimens", at = "a.vhd", nth = 2, times = 0 }
      system:fail{ call = "pwritev", at = "a.vhd", nth = n, times = 0 }
      expect.try(engine.relink, engine, a.path, other.path, { force = true })
      system:drop()
      if support.read(a.path):sub(1, 8192):find(raw, 1, true) == nil then
        local err = expect.fails("E_SHARING_VIOLATION", "OTHER_CHILDREN",
          lvhd.merge, child.path)
        assert.same({ a.path }, err.others)
        return
      end
    end
    error("no relinking was interrupted behind its header")
  end)

  it("are looked for in a folder that must be there", function()
    local _, child = pair()
    local err = expect.unchanged(dir, expect.late, "E_PATH_NOT_FOUND", nil,
      lvhd.merge, child.path, { children_in = { dir .. "/none" } })
    assert.truthy(tostring(err):find(dir .. "/none", 1, true))
  end)

  it("that cannot be read are told as a finding", function()
    local root, child = pair()
    child_of(root, "a.vhd", 3)
    local system <const> = test.system()
    local engine <close> = lvhd.engine{ threads = 1,
      system = system:pointer() }
    system:fail{ call = "openat", path = "a.vhd", errno = "EACCES", times = 0 }
    local info = engine:merge(child.path):wait()
    system:drop()
    local found
    for _, f in ipairs(info.findings) do
      found = found or f.code == "SEARCH_SKIPPED" and f.actual
    end
    assert.equal(1, found)
  end)

  it("of the child count when it is to be deleted", function()
    local _, child = pair()
    local a, b = child_of(child, "a.vhd", 3), child_of(child, "b.vhd", 4)
    local err = expect.unchanged(dir, expect.late, "E_SHARING_VIOLATION",
      "OTHER_CHILDREN", lvhd.merge, child.path,
      { delete = true, children = { a.path } })
    assert.same({ b.path }, err.others)
    lvhd.merge(child.path, { children = { a.path } }):wait()
    for _, model in ipairs{ a, b } do
      reads(model.path, model:read(0, model.size))
      sound(model.path)
    end
  end)

  it("of a layer between count", function()
    local root, child = pair()
    local leaf = child_of(child, "leaf.vhd", 3)
    local a = child_of(child, "a.vhd", 4)
    local err = expect.unchanged(dir, expect.late, "E_SHARING_VIOLATION",
      "OTHER_CHILDREN", lvhd.merge, leaf.path, { into = root.path })
    assert.same({ a.path }, err.others)
    assert.equal(child.path, err.parent)
  end)
end)

-- ---- breaking --------------------------------------------------------------

describe("a merge that breaks", function()
  local system, engine

  before_each(function()
    system = test.system()
    engine = lvhd.engine{ threads = 1, system = system:pointer() }
  end)

  after_each(function()
    system:drop()
    engine:close()
  end)

  ---Everything is as it must be after the merge.
  local function judge(leaf, target, kids, remove, want)
    assert(content(target.path) == want)
    sound(target.path)
    for _, kid in ipairs(kids) do
      assert(content(kid.path) == kid:read(0, kid.size))
      sound(kid.path)
    end
    assert.equal(remove or false, test.stat(leaf.path) == nil)
    if not remove then
      assert(content(leaf.path) == want)
      sound(leaf.path)
    end
  end

  ---The nth call fails: the merge succeeds all the same, or the child reads
  ---as before and the re-run, without force, comes to the same end.
  local function one_call(make, opts, errno, n)
    local leaf, target, kids = make()
    local want = leaf:read(0, leaf.size)
    local o = opts and opts(target, kids) or {}
    system:forget()
    system:fail{ call = "any", errno = errno, nth = n, times = 1 }
    local ok, err = expect.try(engine.merge, engine, leaf.path, o)
    local over = system:count() < n
    system:drop()
    if not ok then
      assert(lvhd.is_error(err), tostring(err))
    end
    if not ok and test.stat(leaf.path) then
      assert(content(leaf.path) == want)
      local again, why = expect.try(lvhd.merge, leaf.path, o)
      assert(again, ("%s, then %s"):format(err, why))
    end
    judge(leaf, target, kids or {}, o.delete, want)
    return ok, over
  end

  local NAMES <const> = { "root", "child", "leaf", "kid1", "kid2" }

  ---Every call of a merge fails once, or each `step`th.
  local function each_call(make, opts, errno, step)
    local n, failed, over = 1, 0, false
    while not over do
      local ran, ok, last = xpcall(one_call, debug.traceback, make, opts,
        errno, n)
      assert(ran, ("call %d: %s"):format(n, ok))
      over = last
      failed = failed + (ok and 0 or 1)
      for _, name in ipairs(NAMES) do
        os.remove(("%s/%s.vhd"):format(dir, name))
        assert(not os.remove(("%s/.%s.vhd.lvhd-journal"):format(dir, name)),
          ("call %d left a note"):format(n))
      end
      n = n + (step or 1)
    end
    return n, failed
  end

  local function small(o)
    local root = vhdwrite.new{ size = 64 * 1024, type = o.type,
      block_size = 16384 }
    put(root, 0, 8, 1)
    put(root, 40, 2, 1)
    root:save(dir .. "/root.vhd")
    local child = vhdwrite.new{ parent = root, block_size = 4096 }
    put(child, 4, 30, 2)
    put(child, 120, 8, 2)
    child:save(dir .. "/child.vhd")
    return child, root
  end

  it("is finished by running it again, into a dynamic disk", function()
    local n, failed = each_call(function() return small{} end, nil, "EIO", 3)
    assert(n > 100 and failed > 15, ("%d calls, %d failed"):format(n, failed))
  end)

  it("is finished by running it again, into a fixed disk", function()
    each_call(function() return small{ type = "fixed" } end, nil, "ENOSPC", 5)
  end)

  local function deep()
    local child, root = small{}
    local leaf = vhdwrite.new{ parent = child }
    put(leaf, 60, 30, 3)
    leaf:save(dir .. "/leaf.vhd")
    return leaf, root
  end

  local function with_kids()
    local child, root = small{}
    local kids = {}
    for i = 1, 2 do
      kids[i] = vhdwrite.new{ parent = child }
      put(kids[i], 70 + i, 3, 3 + i)
      kids[i]:save(("%s/kid%d.vhd"):format(dir, i))
    end
    return child, root, kids
  end

  local function cases(step)
    for _, remove in ipairs{ false, true } do
      each_call(deep, function(target)
        return { into = target.path, delete = remove }
      end, "EIO", step)
      each_call(with_kids, function(_, kids)
        return { children = { kids[1].path, kids[2].path }, delete = remove }
      end, "EIO", step)
    end
  end

  it("is finished by running it again, whatever was asked for", function()
    cases(13)
  end)

  it("is so at every call #slow", function()
    each_call(function() return small{} end, nil, "EIO")
    each_call(function() return small{ type = "fixed" } end, nil, "ENOSPC")
    cases(1)
  end)

  it("breaks again, and once more, and is finished", function()
    local child, root = small{}
    local want = child:read(0, child.size)
    for _, skip in ipairs{ 3, 0, 2, 5, 1, 4, 6, 2 } do
      system:fail{ call = "fsync", errno = "EIO", nth = skip + 1, times = 1 }
      expect.try(engine.merge, engine, child.path)
      system:drop()
      assert(content(child.path) == want)
    end
    lvhd.merge(child.path):wait()
    reads(root.path, want)
    sound(child.path)
    no_note()
  end)

  it("says where: the child, the target, the place", function()
    local child, root = small{}
    system:fail{ call = "pwritev", errno = "EIO", at = "root.vhd", nth = 2,
      times = 1 }
    local err = expect.late("DISP_E_EXCEPTION", nil, engine.merge, engine,
      child.path)
    assert.same({ child.path, root.path, "pwritev", "EIO" },
      { err.path, err.parent, err.syscall, err.errname })
    assert.equal("integer", math.type(err.offset))
    -- the disk is as it was for the child, and not for others to write
    assert(content(child.path) == child:read(0, child.size))
    local other = expect.fails("E_SHARING_VIOLATION", "JOURNAL_PENDING",
      lvhd.open, root.path, { write = true, children_in = false })
    assert.equal(root.path, other.path)
    local id = lvhd.info(child.path).uuid
    assert.equal(id, other.expected)
    assert.matches("the merge of the child " .. id, other.message, 1, true)
    for _, call in ipairs{ lvhd.create_differencing, lvhd.relink } do
      local image = call == lvhd.relink and child.path or dir .. "/new.vhd"
      assert.equal(id, expect.fails("E_SHARING_VIOLATION", "JOURNAL_PENDING",
        call, image, root.path).expected)
    end
    local found = lvhd.info(root.path).findings[1]
    assert.equal("MERGE_PENDING", found.code)
    assert.equal(id, found.expected)
    assert.matches("the merge of the child " .. id, found.message, 1, true)
  end)

  -- A chain of three whose leaf was to be merged into the root, and a child of
  -- the disk between.
  it("is told of by a copy of what reads a mixture, and of no other", function()
    local root, middle, leaf = dir .. "/root.vhd", dir .. "/middle.vhd",
      dir .. "/leaf.vhd"
    lvhd.create_dynamic(root, "4 MiB"):wait()
    lvhd.create_differencing(middle, root):wait()
    lvhd.create_differencing(leaf, middle):wait()
    do
      local disk <close> = lvhd.open(leaf, { write = true })
      disk:write(0, ("x"):rep(4096))
    end
    system:fail{ call = "pwritev", errno = "EIO", at = "root.vhd", nth = 2 }
    expect.fails("DISP_E_EXCEPTION", nil, engine.merge, engine, leaf,
      { into = root, children_in = false })
    system:drop()
    local id = lvhd.info(leaf).uuid
    local function told(source, opts)
      opts.sync = "none"
      local new = dir .. "/copy.vhd"
      local info = lvhd.convert(source, new, opts):wait()
      os.remove(new)
      local list = {}
      for _, finding in ipairs(info.findings) do
        if finding.code == "MERGE_PENDING" then
          table.insert(list, { finding.severity, finding.path,
            finding.expected })
        end
      end
      return list
    end
    for _, to in ipairs{ "raw", "fixed", "dynamic" } do
      assert.same({ { "warning", root, id } }, told(middle, { to = to }))
      assert.same({}, told(leaf, { to = to }))
    end
    -- both chains have the root: it is told of once
    assert.same({ { "warning", root, id } }, told(middle,
      { to = "differencing", parent = middle }))
  end)

  it("is told of beside the time of what it was to be merged into", function()
    local root, middle = dir .. "/root.vhd", dir .. "/middle.vhd"
    lvhd.create_dynamic(root, "4 MiB"):wait()
    lvhd.create_differencing(middle, root):wait()
    for _, name in ipairs{ "/a.vhd", "/b.vhd" } do
      lvhd.create_differencing(dir .. name, middle):wait()
    end
    do
      local disk <close> = lvhd.open(dir .. "/a.vhd", { write = true })
      disk:write(0, ("x"):rep(4096))
    end
    system:fail{ call = "pwritev", errno = "EIO", at = "middle.vhd", nth = 2 }
    expect.fails("DISP_E_EXCEPTION", nil, engine.merge, engine, dir .. "/a.vhd",
      { children_in = false, force = true })
    system:drop()
    test.utime(root, 1500000000)
    local of = {}
    for _, finding in ipairs(lvhd.convert(dir .. "/b.vhd", dir .. "/new.raw",
      { to = "raw" }):wait().findings) do
      of[finding.code .. " " .. finding.path] = true
    end
    assert.is_true(of["MERGE_PENDING " .. middle])
    assert.is_true(of["PARENT_TIME " .. middle])
  end)

  it("takes a sibling for no child of the one that is merged", function()
    local child, root = small{}
    local sibling = vhdwrite.new{ parent = root }
    sibling:save(dir .. "/leaf.vhd")
    system:fail{ call = "pwritev", errno = "EIO", at = "root.vhd", nth = 4 }
    expect.fails("DISP_E_EXCEPTION", nil, engine.merge, engine, child.path,
      { children_in = false })
    system:drop()
    expect.fails("VM_E_PARENT_CHILD_ID_MISMATCH", "NOT_A_CHILD", lvhd.merge,
      child.path, { children = { sibling.path } })
  end)

  it("waits for what another merge may not have waited for", function()
    local _, child = pair()
    lvhd.merge(child.path, { sync = "none" }):wait()
    for i, name in ipairs{ "root.vhd", "child.vhd" } do
      system:fail{ call = "fsync", errno = "EIO", at = name, times = 1 }
      local err = expect.late("DISP_E_EXCEPTION", nil, engine.merge, engine,
        child.path)
      assert.equal(i == 1 and child.parent.path or nil, err.parent)
      system:drop()
    end
    engine:merge(child.path, { sync = "none" }):wait()
  end)

  it("on a full volume is finished when there is room", function()
    local _, child = pair()
    local root = child.parent
    system:fail{ call = "pwritev", errno = "ENOSPC", at = "root.vhd",
      nth = 3, times = 0 }
    local err = expect.late("E_DISK_FULL", nil, engine.merge, engine,
      child.path)
    assert.equal(root.path, err.parent)
    assert.matches("free room and run it again: the child reads as before",
      err.hint, 1, true)
    system:drop()
    assert(content(child.path) == child:read(0, child.size))
    engine:merge(child.path):wait()
    reads(root.path, child:read(0, child.size))
  end)

  it("by a cancel leaves the child as it was", function()
    local root, child = pair()
    system:hold{ call = "pwritev", at = "root.vhd", nth = 2 }
    local task = engine:merge(child.path)
    assert(system:await(1))
    assert.is_true(task:cancel())
    system:drop()
    local ok, err = pcall(task.wait, task)
    assert.is_false(ok)
    assert.equal("E_ABORT", err.name)
    assert(content(child.path) == child:read(0, child.size))
    engine:merge(child.path):wait()
    reads(root.path, child:read(0, child.size))
    sound(child.path)
  end)
end)
