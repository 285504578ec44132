-- SPDX-License-Identifier: MIT
--
-- Who may open what beside whom: lvhd and QEMU, two processes with lvhd, and
-- two engines of one; volumes without such locks; and files that nobody may
-- write, for root too.

local lvhd = require "lvhd"
local expect = require "spec.support.expect"
local life = require "spec.support.life"
local qemu = require "spec.support.qemu"
local support = require "spec.support"
local test = require "lvhdtest"

local q, run = support.q, support.run
local MiB <const> = 1 << 20

local dir, root, child, leaf

---Ends the test as pending where a program is not installed.
local function need(...)
  for _, program in ipairs{ ... } do
    if not support.has(program) then
      pending(program .. " is not installed")
    end
  end
end

-- Opens, writes and closes; the engine's, or the module's.
local function write(path, bytes, opts, engine)
  opts = opts or {}
  opts.write = true
  local disk
  if engine then
    disk = engine:open(path, opts)
  else
    disk = lvhd.open(path, opts)
  end
  local ok, err = pcall(disk.write, disk, 0, bytes)
  disk:close()
  assert(ok, err)
end

local function first_bytes(path, n)
  local disk <close> = lvhd.open(path)
  return disk:read(0, n)
end

-- Three files: a dynamic root, its child, the child's child; each has a
-- sector of its own.
before_each(function()
  dir = support.tmpdir()
  root, child, leaf = dir .. "/root.vhd", dir .. "/child.vhd",
    dir .. "/leaf.vhd"
  lvhd.create_dynamic(root, 4 * MiB):wait()
  write(root, "root")
  lvhd.create_differencing(child, root):wait()
  write(child, "child")
  lvhd.create_differencing(leaf, child):wait()
  write(leaf, "leaf!")
end)

-- What changes a file in place, by name; each is called with force or not.
local changes = {
  write = function(path, force)
    return lvhd.open(path, { write = true, force = force })
  end,
  compact = function(path, force)
    return lvhd.compact(path, { force = force })
  end,
  resize = function(path, force)
    return lvhd.resize(path, 5 * MiB, { force = force })
  end,
  relink = function(path, force)
    return lvhd.relink(path, root, { force = force })
  end,
  repair = function(path, force)
    return lvhd.repair(path, { force = force })
  end,
  merge = function(path, force)
    return lvhd.merge(path, { force = force })
  end,
}
local FOR_ROOTS <const> = { "write", "compact", "resize", "repair" }
local FOR_CHILDREN <const> = { "write", "compact", "relink", "repair",
  "merge" }

-- Each of the changes must fail because somebody has the file `path`.
local function all_refused(verbs, of, path)
  for _, verb in ipairs(verbs) do
    for _, force in ipairs{ false, true } do
      expect.unchanged(dir, function()
        local err = expect.fails("E_SHARING_VIOLATION", "IN_USE",
          changes[verb], of, force)
        assert.is_truthy(tostring(err):find(path, 1, true), tostring(err))
      end)
    end
  end
end

describe("a disk that qemu-nbd has open", function()
  before_each(function() need("qemu-nbd", "qemu-io") end)

  for _, case in ipairs{ { "for writing", "" }, { "for reading", "-r" } } do
    it(case[1] .. " is not changed", function()
      local single = dir .. "/single.vhd"
      lvhd.create_dynamic(single, 4 * MiB):wait()
      qemu.with_nbd(single, case[2], dir, function()
        all_refused(FOR_ROOTS, single, single)
      end)
      -- it is QEMU alone that stood in the way
      write(single, "after")
      lvhd.compact(single):wait()
      lvhd.resize(single, 5 * MiB):wait()
      lvhd.repair(single):wait()
      assert.equal("after", first_bytes(single, 5))
    end)

    it(case[1] .. ", fixed, is not changed", function()
      local single = dir .. "/single.vhd"
      lvhd.create_fixed(single, 4 * MiB):wait()
      qemu.with_nbd(single, case[2], dir, function()
        all_refused({ "write", "resize", "repair" }, single, single)
      end)
      write(single, "after")
      assert.equal("after", first_bytes(single, 5))
    end)

    it(case[1] .. " takes no merge", function()
      qemu.with_nbd(root, case[2], dir, function()
        all_refused({ "merge" }, child, root)
      end)
      lvhd.merge(child, { children = { leaf } }):wait()
      assert.equal("child", first_bytes(root, 5))
    end)

    it(case[1] .. " is not merged", function()
      qemu.with_nbd(leaf, case[2], dir, function()
        all_refused(FOR_CHILDREN, leaf, leaf)
      end)
      lvhd.merge(leaf):wait()
      assert.equal("leaf!", first_bytes(child, 5))
    end)
  end

  it("for writing is no parent to be read", function()
    qemu.with_nbd(root, "", dir, function()
      local err = expect.fails("E_SHARING_VIOLATION", "IN_USE", lvhd.open,
        leaf)
      assert.is_truthy(tostring(err):find(root, 1, true), tostring(err))
      all_refused({ "write", "compact" }, child, root)
      expect.unchanged(dir, function()
        expect.fails("E_SHARING_VIOLATION", "IN_USE", lvhd.convert, leaf,
          dir .. "/new.vhd")
        expect.fails("E_SHARING_VIOLATION", "IN_USE", lvhd.convert, root,
          dir .. "/new.vhd")
      end)
    end)
  end)

  it("for reading is read, as parent and as source", function()
    qemu.with_nbd(root, "-r", dir, function()
      assert.equal("leaf!", first_bytes(leaf, 5))
      write(leaf, "again")
      lvhd.compact(child):wait()
      lvhd.convert(leaf, dir .. "/new.vhd"):wait()
      lvhd.convert(root, dir .. "/root2.vhd"):wait()
    end)
    assert.equal("again", first_bytes(dir .. "/new.vhd", 5))
    assert.equal("root", first_bytes(dir .. "/root2.vhd", 4))
  end)

  it("for writing is told about all the same", function()
    qemu.with_nbd(leaf, "", dir, function()
      assert.equal("differencing", lvhd.info(leaf).type)
      assert.equal(3, #lvhd.chain(leaf))
      assert.equal(3, #lvhd.check(leaf, { chain = true }):wait())
      assert.equal("leaf!", first_bytes(leaf, 5))
    end)
  end)
end)

describe("a disk that is open for writing here", function()
  before_each(function() need("qemu-img", "qemu-io") end)

  it("is refused to QEMU until it is closed", function()
    local single = dir .. "/single.vhd"
    for _, kind in ipairs{ "dynamic", "fixed" } do
      lvhd["create_" .. kind](single, 4 * MiB):wait()
      local disk <close> = lvhd.open(single, { write = true })
      for _ = 1, 2 do -- before the first write, and after it
        local may, said = qemu.may_read(single)
        assert.is_false(may)
        assert.is_truthy(said:find("lock", 1, true), said)
        assert.is_false((qemu.may_write(single)))
        assert.is_true((qemu.may_read(single, "-U")))
        disk:write(0, "mine")
        disk:flush()
      end
      disk:close()
      assert.is_true((qemu.may_read(single)))
      assert.is_true((qemu.may_write(single)))
      os.remove(single)
    end
  end)

  it("is refused to QEMU until it is collected", function()
    local single = dir .. "/single.vhd"
    lvhd.create_dynamic(single, 4 * MiB):wait()
    do
      local disk = lvhd.open(single, { write = true })
      assert.is_false((qemu.may_read(single)))
      assert.is_not_nil(disk)
    end
    collectgarbage()
    collectgarbage()
    assert.is_true((qemu.may_write(single)))
  end)

  it("holds its parents: nobody writes them", function()
    local disk <close> = lvhd.open(leaf, { write = true })
    for _, parent in ipairs{ child, root } do
      assert.is_false((qemu.may_write(parent)))
      assert.is_true((qemu.may_read(parent)))
      for _, force in ipairs{ false, true } do
        expect.fails("E_SHARING_VIOLATION", force and "IN_USE" or nil,
          lvhd.open, parent, { write = true, force = force })
      end
    end
    disk:close()
    assert.is_true((qemu.may_write(root)))
  end)

  it("leaves its parents to others who read", function()
    local other = dir .. "/other.vhd"
    lvhd.create_differencing(other, child):wait()
    local one <close> = lvhd.open(leaf, { write = true })
    local two <close> = lvhd.open(other, { write = true })
    one:write(0, "one")
    two:write(0, "two")
    assert.equal("child", first_bytes(child, 5))
    one:close()
    two:close()
    assert.equal("onef!", first_bytes(leaf, 5))
    assert.equal("twold", first_bytes(other, 5))
  end)
end)

describe("a reader", function()
  before_each(function() need("qemu-io") end)

  it("holds the parents, and not the disk itself", function()
    local disk <close> = lvhd.open(leaf)
    for _, parent in ipairs{ child, root } do
      assert.is_false((qemu.may_write(parent)))
      expect.fails("E_SHARING_VIOLATION", "IN_USE", lvhd.open, parent,
        { write = true, force = true })
    end
    write(leaf, "new")
    disk:close()
    assert.is_true((qemu.may_write(root)))
  end)

  it("holds them until it is collected", function()
    do
      local disk = lvhd.open(leaf)
      assert.is_false((qemu.may_write(root)))
      assert.is_not_nil(disk)
    end
    collectgarbage()
    collectgarbage()
    assert.is_true((qemu.may_write(root)))
  end)

  it("keeps a merge from the parents", function()
    local other = dir .. "/other.vhd"
    lvhd.create_differencing(other, root):wait()
    local reader <close> = lvhd.open(other)
    expect.unchanged(dir, function()
      local err = expect.fails("E_SHARING_VIOLATION", "IN_USE", lvhd.merge,
        leaf, { into = root, force = true })
      assert.is_truthy(tostring(err):find(root, 1, true), tostring(err))
    end)
    reader:close()
    lvhd.merge(leaf, { into = root, force = true }):wait()
    assert.equal("leaf!", first_bytes(root, 5))
  end)
end)

-- A Lua program that opens a disk, says so, and waits to be killed.
local HOLDER <const> = [[
  local lvhd = require "lvhd"
  local disk = lvhd.open(arg[1], { write = arg[2] == "write" })
  if arg[2] == "write" then
    disk:write(0, "holder")
    disk:flush()
  end
  local test = require "lvhdtest"
  local file = io.open(arg[3] .. ".new", "w")
  file:write(test.pid())
  file:close()
  os.rename(arg[3] .. ".new", arg[3])
  while true do
    test.sleep(60)
  end
]]

-- Runs fn while another process has the disk open; then kills it.
local function with_holder(path, how, fn)
  local ready = dir .. "/ready"
  local command = life.command(support.tmpdir(), HOLDER, path, how, ready)
  local pid = test.spawn(function()
    os.execute("exec timeout -s KILL 60 " .. command .. " >/dev/null 2>&1")
  end)
  local ok, err = pcall(function()
    assert(life.eventually(function() return test.stat(ready) end))
    fn()
  end)
  if test.stat(ready) then
    test.kill(math.tointeger(tonumber(support.read(ready))), test.SIGKILL)
  end
  test.wait(pid)
  os.remove(ready)
  assert(ok, err)
end

describe("two processes with lvhd", function()
  it("do not write one disk at a time", function()
    with_holder(leaf, "write", function()
      all_refused({ "write", "compact", "relink", "repair", "merge" }, leaf,
        leaf)
      assert.equal("holder", first_bytes(leaf, 6)) -- who reads, may
    end)
    -- killed, it holds nothing, and what it flushed is there
    assert.equal("holder", first_bytes(leaf, 6))
    write(leaf, "heir")
    assert.equal("heirer", first_bytes(leaf, 6))
  end)

  it("do not change what the other one reads", function()
    with_holder(leaf, "read", function()
      for _, parent in ipairs{ child, root } do
        expect.fails("E_SHARING_VIOLATION", "IN_USE", lvhd.open, parent,
          { write = true, force = true })
      end
      all_refused({ "merge" }, child, child)
      all_refused({ "merge", "compact", "relink", "repair" }, leaf, leaf)
      write(leaf, "mine")
    end)
    lvhd.merge(child, { children = { leaf } }):wait()
    assert.equal("mine!", first_bytes(leaf, 5))
  end)

  it("read together", function()
    with_holder(leaf, "read", function()
      assert.equal("leaf!", first_bytes(leaf, 5))
      lvhd.convert(leaf, dir .. "/new.vhd"):wait()
    end)
    assert.equal("leaf!", first_bytes(dir .. "/new.vhd", 5))
  end)
end)

describe("two engines of one process", function()
  it("do not write one disk at a time", function()
    local one <close> = lvhd.engine()
    local two <close> = lvhd.engine()
    local disk <close> = one:open(leaf, { write = true })
    expect.fails("E_SHARING_VIOLATION", "IN_USE", two.open, two, leaf,
      { write = true })
    expect.fails("E_SHARING_VIOLATION", "IN_USE", one.open, one, leaf,
      { write = true })
    expect.fails("E_SHARING_VIOLATION", "IN_USE", two.compact, two, leaf)
    disk:write(0, "mine")
    disk:close()
    write(leaf, "your", nil, two)
    assert.equal("your!", first_bytes(leaf, 5))
  end)
end)

describe("tasks that meet on one chain", function()
  it("go one after the other or not at all, and nothing is lost", function()
    local engine <close> = lvhd.engine{ threads = 4 }
    local want = ("L"):rep(MiB) .. ("C"):rep(MiB) .. "root"
    for round = 1, 8 do
      local folder = dir .. "/" .. round
      support.mkdir(folder)
      local r, c, l, n = folder .. "/r.vhd", folder .. "/c.vhd",
        folder .. "/l.vhd", folder .. "/n.vhd"
      local o = { sync = "none" }
      engine:create_dynamic(r, 4 * MiB, o):wait()
      do
        local disk <close> = engine:open(r, { write = true, sync = "none" })
        disk:write(2 * MiB, "root")
        disk:write(3 * MiB, "x")
        disk:write(3 * MiB, "\0") -- for compact
      end
      engine:create_differencing(c, r, o):wait()
      write(c, ("C"):rep(2 * MiB), { sync = "none" }, engine)
      engine:create_differencing(l, c, o):wait()
      write(l, ("L"):rep(MiB), { sync = "none" }, engine)
      local tasks = {}
      for _, call in ipairs{ { "merge", l, o }, { "compact", c, o },
        { "compact", l, o }, { "repair", c, o }, { "relink", l, c, o },
        { "merge", c, { children = { l }, sync = "none" } },
        { "convert", l, n, o }, { "compact", r, o } } do
        local ok, task = pcall(engine[call[1]], engine,
          table.unpack(call, 2))
        if ok then
          tasks[#tasks + 1] = task
        else
          assert.equal("E_SHARING_VIOLATION", task.name)
        end
      end
      for _, task in ipairs(tasks) do
        local ok, err = pcall(task.wait, task)
        -- relink after the merge that has hung l on r
        assert.is_true(ok or err.name == "E_SHARING_VIOLATION"
          or err.op == "relink" and err.name == "VM_E_PARENT_CHILD_ID_MISMATCH",
          tostring(err))
      end
      for _, path in ipairs{ l, n } do
        if test.stat(path) then
          assert.is_true(want == first_bytes(path, #want), path)
        end
      end
      for _, info in ipairs(lvhd.check(l, { chain = true, data = true })
        :wait()) do
        assert.same({}, info.findings)
      end
    end
  end)
end)

describe("a volume without locks", function()
  local system, engine
  before_each(function()
    system = test.system()
    engine = lvhd.engine{ threads = 1, system = system:pointer() }
  end)
  after_each(function()
    system:drop()
    engine:close()
  end)

  for _, errno in ipairs{ "ENOLCK", "EINVAL", "EOPNOTSUPP" } do
    it("takes all work: " .. errno, function()
      assert.is_true(engine:info(leaf).lockable)
      system:fail{ call = "setlk", errno = errno, times = 0 }
      system:fail{ call = "getlk", errno = errno, times = 0 }
      assert.is_false(engine:info(leaf).lockable)
      write(leaf, "new", nil, engine)
      do
        local disk <close> = engine:open(leaf, { write = true })
        assert.is_false(disk:info().lockable)
        assert.equal("newf!", disk:read(0, 5))
      end
      assert.is_false(engine:compact(child):wait().lockable)
      assert.is_false(engine:repair(child):wait().lockable)
      assert.is_false(engine:relink(child, root):wait().lockable)
      assert.is_false(engine:merge(child, { children = { leaf },
        delete = true }):wait().lockable)
      assert.equal("newf!", first_bytes(leaf, 5))
      assert.equal("child", first_bytes(root, 5))
      engine:merge(leaf, { delete = true }):wait()
      assert.is_false(engine:resize(root, 5 * MiB):wait().lockable)
      assert.is_false(engine:convert(root, dir .. "/new.vhd"):wait()
        .lockable)
      assert.equal("newf!", first_bytes(dir .. "/new.vhd", 5))
    end)
  end

  it("that has locks is told so by each verb", function()
    assert.is_true(engine:compact(child):wait().lockable)
    assert.is_true(engine:merge(leaf):wait().lockable)
  end)
end)

describe("a file without any write permission bit", function()
  -- others than root cannot even open it, and are told the failed call
  local REASON <const> = support.is_root() and "NO_WRITE_BIT" or nil

  local function protect(...)
    for _, path in ipairs{ ... } do
      run("chmod 0444 " .. q(path))
    end
  end

  local function read_only(verb, of, path)
    for _, force in ipairs{ false, true } do
      expect.unchanged(dir, function()
        local err = expect.fails("VM_E_FILE_READ_ONLY", REASON,
          changes[verb], of, force)
        assert.is_truthy(tostring(err):find(path or of, 1, true),
          tostring(err))
      end)
    end
  end

  for _, verb in ipairs(FOR_ROOTS) do
    it("is not changed, for root neither: " .. verb, function()
      local single = dir .. "/single.vhd"
      lvhd.create_dynamic(single, 4 * MiB):wait()
      protect(single)
      read_only(verb, single)
    end)
  end

  for _, verb in ipairs{ "write", "compact", "relink", "repair" } do
    it("is not changed, differencing: " .. verb, function()
      protect(leaf)
      read_only(verb, leaf)
    end)
  end

  it("takes no merge", function()
    protect(child)
    read_only("merge", leaf, child)
    protect(root)
    run("chmod 0644 " .. q(child))
    for _, force in ipairs{ false, true } do
      expect.unchanged(dir, function()
        expect.fails("VM_E_FILE_READ_ONLY", REASON, lvhd.merge, leaf,
          { into = root, force = force })
      end)
    end
  end)

  it("is read, and its children are changed", function()
    protect(root, child)
    write(leaf, "new")
    lvhd.compact(leaf):wait()
    lvhd.relink(leaf, child):wait()
    lvhd.repair(leaf):wait()
    lvhd.convert(child, dir .. "/copy.vhd"):wait()
    assert.equal("newf!", first_bytes(leaf, 5))
    assert.equal("child", first_bytes(dir .. "/copy.vhd", 5))
  end)

  it("that only its owner may write is read-only for others #root", function()
    if not support.is_root() then
      pending("only root can become someone else")
    end
    run("chmod 0755 " .. q(dir))
    run("chmod 0644 " .. q(leaf))
    local _, text = test.fork(function()
      test.user(65534)
      local engine = lvhd.engine()
      local ok, err = pcall(engine.open, engine, leaf, { write = true })
      return ok and "opened" or err.name
    end)
    assert.equal("VM_E_FILE_READ_ONLY", text)
  end)
end)
