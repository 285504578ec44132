-- SPDX-License-Identifier: MIT
--
-- Other children: whatever changes what a disk reads is refused while other
-- disks read from it, names them, and goes with force; which ones are looked
-- for, and where.

local lvhd = require "lvhd"
local expect = require "spec.support.expect"
local support = require "spec.support"
local test = require "lvhdtest"

local MiB <const> = 1 << 20

local dir, parent, a, b

local function write(path, bytes, opts)
  opts = opts or {}
  opts.write = true
  local disk <close> = lvhd.open(path, opts)
  disk:write(0, bytes)
end

local function first_bytes(path, n, opts)
  local disk <close> = lvhd.open(path, opts)
  return disk:read(0, n)
end

-- One parent with two children in one folder.
before_each(function()
  dir = support.tmpdir()
  support.mkdir(dir .. "/vms")
  parent, a, b = dir .. "/vms/parent.vhd", dir .. "/vms/a.vhd",
    dir .. "/vms/b.vhd"
  lvhd.create_dynamic(parent, 4 * MiB):wait()
  write(parent, "parent")
  do -- a block that compacting drops
    local disk <close> = lvhd.open(parent, { write = true })
    disk:write(3 * MiB, "x")
    disk:write(3 * MiB, "\0")
  end
  test.utime(parent, 1700000000) -- changed now is changed
  lvhd.create_differencing(a, parent):wait()
  lvhd.create_differencing(b, parent):wait()
  write(a, "aaa")
  do -- something to be merged
    local disk <close> = lvhd.open(b, { write = true })
    disk:write(2 * MiB, "b")
  end
end)

-- Refused, nothing changed, and these files are named.
local function refused_for(others, fn, ...)
  local args = table.pack(...)
  local err = expect.unchanged(dir, function()
    return expect.fails("E_SHARING_VIOLATION", "OTHER_CHILDREN", fn,
      table.unpack(args, 1, args.n))
  end)
  local named = table.move(err.others, 1, #err.others, 1, {})
  table.sort(named)
  table.sort(others)
  assert.same(others, named)
  for i = 1, math.min(#others, 3) do -- more would fill the screen
    assert.is_truthy(err.message:find(others[i], 1, true), err.message)
    assert.is_truthy(tostring(err):find(others[i], 1, true), tostring(err))
  end
  return err
end

describe("the other child of one parent", function()
  it("keeps its brother from being merged", function()
    refused_for({ b }, lvhd.merge, a)
    refused_for({ a }, lvhd.merge, b)
    refused_for({ b }, lvhd.merge, a, { into = parent, delete = true })
    assert.equal("parent", first_bytes(b, 6))
  end)

  it("does not keep it with force, and is found modified then", function()
    lvhd.merge(a, { force = true }):wait()
    assert.equal("aaaent", first_bytes(parent, 6))
    assert.equal("aaaent", first_bytes(a, 6))
    expect.fails("VM_E_PARENT_MODIFIED", "PARENT_TIME", lvhd.merge, b)
  end)

  it("keeps the parent from being written", function()
    refused_for({ a, b }, lvhd.open, parent, { write = true })
    write(parent, "forced", { force = true })
    assert.equal("forced", first_bytes(parent, 6))
  end)

  it("keeps the parent from being resized", function()
    refused_for({ a, b }, lvhd.resize, parent, 5 * MiB)
    refused_for({ a, b }, lvhd.resize, parent, 3 * MiB)
    assert.equal(5 * MiB,
      lvhd.resize(parent, 5 * MiB, { force = true }):wait().size)
  end)

  it("keeps nobody from what changes no content", function()
    local times, of_a = test.stat(parent).mtime, test.stat(a).mtime
    assert.equal(1, lvhd.compact(parent):wait().blocks_used)
    lvhd.repair(parent):wait()
    lvhd.compact(a):wait()
    lvhd.relink(a, parent):wait()
    assert.equal(of_a, test.stat(a).mtime)
    lvhd.convert(parent, dir .. "/copy.vhd"):wait()
    assert.equal(times, test.stat(parent).mtime)
    assert.equal("aaaent", first_bytes(a, 6))
    assert.equal("parent", first_bytes(b, 6))
  end)

  it("keeps nobody from being written itself", function()
    write(b, "bbb")
    write(a, "AAA")
    assert.equal("bbbent", first_bytes(b, 6))
    assert.equal("AAAent", first_bytes(a, 6))
  end)

  it("is named beside all others, by path", function()
    local more = {}
    for i = 1, 5 do
      more[i] = ("%s/vms/c%d.vhd"):format(dir, i)
      lvhd.create_differencing(more[i], parent):wait()
    end
    refused_for({ b, table.unpack(more) }, lvhd.merge, a)
    refused_for({ a, b, table.unpack(more) }, lvhd.resize, parent, 5 * MiB)
  end)

  it("is known by what it records, not by its name", function()
    assert(os.rename(b, dir .. "/vms/no extension"))
    support.write(b, "no disk")
    refused_for({ dir .. "/vms/no extension" }, lvhd.merge, a)
  end)

  it("that is gone stands in nobody's way", function()
    os.remove(b)
    lvhd.merge(a, { delete = true }):wait()
    assert.same({ "parent.vhd" }, support.names(dir .. "/vms"))
    write(parent, "PAR")
    assert.equal(5 * MiB, lvhd.resize(parent, 5 * MiB):wait().size)
    assert.equal("PARent", first_bytes(parent, 6))
  end)
end)

describe("the children of a disk that is merged", function()
  local c
  before_each(function()
    os.remove(b)
    c = dir .. "/vms/c.vhd"
    lvhd.create_differencing(b, a):wait()
    lvhd.create_differencing(c, a):wait()
    write(b, "b")
  end)

  it("are reattached to the target", function()
    lvhd.merge(a, { children = { b, c }, delete = true }):wait()
    assert.same({ "b.vhd", "c.vhd", "parent.vhd" },
      support.names(dir .. "/vms"))
    local uuid = lvhd.info(parent).uuid
    for path, bytes in pairs{ [b] = "baaent", [c] = "aaaent" } do
      local chain = lvhd.chain(path)
      assert.equal(2, #chain)
      assert.is_nil(chain[2].error)
      assert.equal(parent, chain[2].path)
      assert.equal(uuid, chain[1].parent.uuid)
      assert.equal(lvhd.info(parent).mtime, chain[1].parent.timestamp)
      assert.equal(bytes, first_bytes(path, 6))
      for _, info in ipairs(lvhd.check(path, { chain = true }):wait()) do
        assert.same({}, info.findings)
      end
    end
    assert.equal("aaaent", first_bytes(parent, 6))
    -- and are as good as any: one is merged once the other one is gone
    refused_for({ c }, lvhd.merge, b)
    os.remove(c)
    lvhd.merge(b):wait()
    assert.equal("baaent", first_bytes(parent, 6))
  end)

  it("must all be named where it goes away", function()
    refused_for({ b, c }, lvhd.merge, a, { delete = true })
    refused_for({ c }, lvhd.merge, a, { children = { b }, delete = true })
  end)

  it("stay with it where it stays", function()
    lvhd.merge(a):wait()
    assert.equal(3, #lvhd.chain(b))
    assert.equal("baaent", first_bytes(b, 6))
    assert.equal("aaaent", first_bytes(c, 6))
    for _, info in ipairs(lvhd.check(b, { chain = true }):wait()) do
      assert.same({}, info.findings)
    end
  end)

  it("are its own: others are refused", function()
    local stranger = dir .. "/vms/stranger.vhd"
    lvhd.create_dynamic(stranger, 4 * MiB):wait()
    for _, path in ipairs{ stranger, parent, a } do
      expect.unchanged(dir, function()
        local ok, err = expect.try(lvhd.merge, a, { children = { b, path } })
        assert.is_false(ok)
        assert.is_true(lvhd.is_error(err), tostring(err))
      end)
    end
    local child = dir .. "/vms/child.vhd"
    lvhd.create_differencing(child, stranger):wait()
    expect.unchanged(dir, function()
      expect.fails("VM_E_PARENT_CHILD_ID_MISMATCH", "NOT_A_CHILD",
        lvhd.merge, a, { children = { b, child } })
    end)
  end)
end)

describe("children in another folder", function()
  local far
  before_each(function()
    os.remove(b)
    support.mkdir(dir .. "/far/below/it")
    far = dir .. "/far/below/it/b.vhd"
    lvhd.create_differencing(far, parent):wait()
  end)

  it("are not known of", function()
    lvhd.merge(a):wait()
    assert.equal("aaaent", first_bytes(parent, 6))
  end)

  it("are found in and below children_in", function()
    for _, at in ipairs{ "/far", "/far/below", "/far/below/it" } do
      local where = { dir .. at }
      refused_for({ far }, lvhd.merge, a, { children_in = where })
      refused_for({ a, far }, lvhd.resize, parent, 5 * MiB,
        { children_in = where })
      refused_for({ a, far }, lvhd.open, parent,
        { write = true, children_in = where })
    end
    local engine <close> = lvhd.engine{ children_in = { dir .. "/far" } }
    refused_for({ far }, engine.merge, engine, a)
    engine:merge(a, { children_in = {} }):wait() -- the call's win
    assert.equal("aaaent", first_bytes(parent, 6))
  end)

  it("are found in the folders of the chain", function()
    local deep = dir .. "/far/deep.vhd"
    lvhd.create_differencing(deep, a):wait()
    local other = dir .. "/far/other.vhd"
    lvhd.create_differencing(other, parent):wait()
    -- the leaf's folder is /far, its parents' /vms; below them is not searched
    refused_for({ other }, lvhd.merge, deep,
      { into = parent, parents = dir })
    os.remove(other)
    lvhd.merge(deep, { into = parent, parents = dir, delete = true }):wait()
    assert.equal("aaaent", first_bytes(parent, 6))
  end)

  it("are reattached where they are", function()
    local deep = dir .. "/far/below/deep.vhd"
    lvhd.create_differencing(deep, a):wait()
    os.remove(far)
    lvhd.merge(a, { children = { deep }, children_in = { dir .. "/far" },
      delete = true }):wait()
    assert.equal("aaaent", first_bytes(deep, 6, { parents = dir }))
    assert.equal(parent, lvhd.chain(deep, { parents = dir })[2].path)
  end)

  it("that cannot be searched: the folder is named", function()
    expect.unchanged(dir, function()
      expect.fails("E_PATH_NOT_FOUND", "FOLDER_MISSING", lvhd.merge, a,
        { children_in = { dir .. "/nowhere" } })
    end)
  end)
end)

describe("children_in = false", function()
  it("searches nothing: the caller knows", function()
    lvhd.merge(a, { children_in = false }):wait()
    assert.equal("aaaent", first_bytes(parent, 6))
    lvhd.resize(parent, 5 * MiB, { children_in = false }):wait()
    write(parent, "known", { children_in = false })
    assert.equal("knownt", first_bytes(parent, 6))
  end)

  it("of the engine does, and a call may search", function()
    local engine <close> = lvhd.engine{ children_in = false }
    refused_for({ b }, engine.merge, engine, a, { children_in = {} })
    engine:merge(a):wait()
    assert.equal("aaaent", first_bytes(parent, 6))
  end)
end)

describe("the search", function()
  it("passes over what is no disk and cannot be read", function()
    test.mkfifo(dir .. "/vms/fifo")
    test.symlink(b, dir .. "/vms/link")
    test.symlink("nowhere", dir .. "/vms/dangling")
    support.mkdir(dir .. "/vms/folder.vhd")
    support.write(dir .. "/vms/empty.vhd", "")
    support.write(dir .. "/vms/rubbish.vhd", ("conectix"):rep(1000))
    refused_for({ b }, lvhd.merge, a)
    os.remove(b)
    lvhd.merge(a):wait()
    assert.equal("aaaent", first_bytes(parent, 6))
  end)
end)
