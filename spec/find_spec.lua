-- SPDX-License-Identifier: MIT
--
-- Finding disks and children in folders: by what the files hold, never by
-- their names, without following links, and without being held up by
-- anything that lies there.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local life = require "spec.support.life"
local test = require "lvhdtest"

local q, run = support.q, support.run
local MiB <const> = 1 << 20

local dir

before_each(function()
  dir = support.tmpdir()
end)
after_each(life.clean)

-- The paths of the infos below `folder`, as they come.
local function names(infos, folder)
  local list = {}
  for i, info in ipairs(infos) do
    list[i] = info.path:sub(1, #folder + 1) == folder .. "/"
      and info.path:sub(#folder + 2) or info.path
  end
  return list
end

local function found(folders, engine)
  return names((engine or lvhd).find(table.unpack(engine
    and { engine, folders } or { folders })):wait(), dir)
end

-- A golden disk with two children, one of them with a child, in folders.
local function family()
  run("mkdir -p " .. q(dir .. "/golden") .. " " .. q(dir .. "/vms/a/b"))
  lvhd.create_dynamic(dir .. "/golden/base.vhd", 4 * MiB):wait()
  lvhd.create_differencing(dir .. "/vms/one.vhd",
    dir .. "/golden/base.vhd"):wait()
  lvhd.create_differencing(dir .. "/vms/a/b/two.img",
    dir .. "/golden/base.vhd"):wait()
  lvhd.create_differencing(dir .. "/vms/a/three",
    dir .. "/vms/one.vhd"):wait()
  return dir .. "/golden/base.vhd"
end

describe("find", function()
  it("gives the infos of all disks, by path", function()
    local base = family()
    local infos = lvhd.find(dir):wait()
    assert.same({ "golden/base.vhd", "vms/a/b/two.img", "vms/a/three",
      "vms/one.vhd" }, names(infos, dir))
    assert.same(names(infos, dir), names(lvhd.find(dir .. "///"):wait(), dir))
    for _, info in ipairs(infos) do
      local alone = lvhd.info(info.path)
      alone.free, info.free = nil, nil
      assert.same(alone, info)
    end
    assert.same({ "golden/base.vhd" }, found(dir .. "/golden"))
    assert.same({ base }, names(lvhd.find(dir .. "/golden"):wait(), "/no"))
  end)

  it("knows a disk by its bytes", function()
    handmade.fixed(dir .. "/fixed.txt", 4 * MiB)
    handmade.fixed(dir .. "/old", 4 * MiB, { footer_size = 511 })
    handmade.dynamic(dir .. "/.hidden", 4 * MiB)
    -- XenServer's crash leaves no footer at the end
    local path = handmade.dynamic(dir .. "/torn.vhd", 4 * MiB)
    support.write(path, support.read(path):sub(1, -513))
    -- names alone are nothing
    support.write(dir .. "/empty.vhd", "")
    support.write(dir .. "/text.vhd", ("conectix"):rep(1000))
    support.write(dir .. "/short.vhd", ("\0"):rep(511))
    support.write(dir .. "/zeros.vhd", ("\0"):rep(65536))
    handmade.fixed(dir .. "/damaged.vhd", 4 * MiB,
      { spoil = function(b) return handmade.patch(b, 65, "\1\2") end })
    local infos = lvhd.find(dir):wait()
    assert.same({ ".hidden", "fixed.txt", "old", "torn.vhd" },
      names(infos, dir))
    assert.equal("short", infos[3].footer)
    assert.equal("copy", infos[4].footer)
  end)

  it("opens regular files only, and follows no link", function()
    family()
    run(("cd %s && ln -s golden again && ln -s golden/base.vhd link.vhd && "
      .. "ln -s . vms/loop && ln -s /nowhere dangling && mkfifo fifo.vhd && "
      .. "ln -s / root && ln -s /dev/zero zero.vhd"):format(q(dir)))
    for _, untyped in ipairs{ false, true } do
      local system = test.system()
      -- a volume that does not say types with the names: they are asked
      system:set("untyped", untyped and 1 or nil)
      local engine <close> = lvhd.engine{ system = system:pointer(),
        threads = 1 }
      assert.same({ "golden/base.vhd", "vms/a/b/two.img", "vms/a/three",
        "vms/one.vhd" }, found(dir, engine))
      assert.equal(untyped, system:count("fstatat") > 0)
      for _, entry in ipairs(system:log()) do
        if entry.call == "openat" or entry.call == "openat2" then
          for _, name in ipairs{ "fifo", "zero", "link", "root" } do
            assert.is_nil(entry.path:find(name, 1, true), entry.path)
          end
        end
      end
    end
  end)

  it("opens what was swapped meanwhile without waiting", function()
    handmade.fixed(dir .. "/a.vhd", 4 * MiB)
    local system = test.system()
    local engine <close> = lvhd.engine{ system = system:pointer(),
      threads = 1 }
    local rule = system:hold{ call = "openat", path = "a.vhd" }
    local task = engine:find(dir)
    system:await(rule)
    os.remove(dir .. "/a.vhd")
    assert.is_true(test.mkfifo(dir .. "/a.vhd"))
    system:drop(rule)
    assert.equal(0, #task:wait())
  end)

  it("follows a link that the caller names", function()
    family()
    run("ln -s golden " .. q(dir .. "/again"))
    assert.same({ "golden/base.vhd" }, found(dir .. "/again"))
    assert.same({ "golden/base.vhd" }, found(dir .. "/vms/../again/"))
  end)

  it("takes relative folders as of the call", function()
    family()
    local before = test.cwd()
    assert.is_true(test.chdir(dir))
    local system = test.system()
    local engine <close> = lvhd.engine{ system = system:pointer(),
      threads = 1 }
    local rule = system:hold{ call = "openat", at = dir }
    local first = engine:find("vms")
    local second = engine:find{ "golden", "." }
    assert.is_true(test.chdir("/"))
    system:drop(rule)
    assert.same({ "vms/a/b/two.img", "vms/a/three", "vms/one.vhd" },
      names(first:wait(), dir))
    assert.equal(4, #second:wait())
    assert.is_true(test.chdir(before))
  end)

  it("looks through no folder twice", function()
    family()
    assert.equal(4, #lvhd.find{ dir, dir .. "/vms", dir, dir .. "/vms/a" }
      :wait())
    assert.equal(4, #lvhd.find{ dir .. "/vms/a", dir }:wait())
  end)

  it("gives each name of a file with two", function()
    family()
    run(("ln %s %s"):format(q(dir .. "/golden/base.vhd"),
      q(dir .. "/vms/same.vhd")))
    assert.equal(5, #lvhd.find(dir):wait())
  end)

  it("of nothing is empty", function()
    assert.same({}, lvhd.find(dir):wait())
    assert.same({}, lvhd.find{}:wait())
    assert.same({}, lvhd.find{ dir, dir }:wait())
  end)

  it("leaves out what it may not read, not what was named #nosan", function()
    family()
    run(("chmod 755 %s && chmod 000 %s %s"):format(q(dir),
      q(dir .. "/golden"), q(dir .. "/vms/one.vhd")))
    -- root may read everything: in a child that is nobody
    local status, text = test.fork(function()
      if support.is_root() then
        assert(test.user(65534))
      end
      local engine = lvhd.engine{ threads = 1 }
      assert.same({ "vms/a/b/two.img", "vms/a/three" }, found(dir, engine))
      expect.fails("E_ACCESSDENIED", nil, engine.find, engine,
        dir .. "/golden")
      return "good"
    end)
    assert.equal("good", text)
    assert.equal(0, status)
  end)

  it("leaves out what fails, but not when all would fail", function()
    family()
    local function with(rule)
      local system = test.system()
      local engine <close> = lvhd.engine{ system = system:pointer(),
        threads = 1 }
      system:fail(rule)
      return engine:find(dir):wait()
    end
    for _, errno in ipairs{ "EACCES", "EIO", "ENOENT", "EPERM" } do
      assert.equal(3, #with{ call = "openat", path = "one.vhd",
        errno = errno })
      -- (by chance there is an "a" in the path of the scratch folder)
      assert.equal(2, #with{ call = "openat", path = "a", at = "/vms",
        errno = errno, flags = test.O_DIRECTORY })
      assert.equal(3, #with{ call = "pread", at = "one.vhd", times = 0,
        errno = errno })
      assert.equal(2, #with{ call = "getdents", at = "vms/a", times = 0,
        errno = errno })
    end
    for _, errno in ipairs{ "EMFILE", "ENFILE" } do
      for _, path in ipairs{ "one.vhd", "vms" } do
        expect.fails("VM_E_OUT_OF_RESOURCE", nil, with,
          { call = "openat", path = path, errno = errno })
      end
    end
    expect.fails("E_OUTOFMEMORY", nil, with,
      { call = "openat", path = "three", errno = "ENOMEM" })
    local err = expect.fails("DISP_E_EXCEPTION", nil, with,
      { call = "getdents", errno = "EIO" })
    assert.equal(dir, err.path)
    assert.equal("getdents64", err.syscall)
  end)

  it("survives a failure of any call", function()
    family()
    for n = 1, 60 do
      local system = test.system()
      local engine <close> = lvhd.engine{ system = system:pointer(),
        threads = 1 }
      system:fail{ call = "any", nth = n, errno = "EIO" }
      local ok, list = pcall(function() return engine:find(dir):wait() end)
      assert.is_true(ok and #list <= 4 or lvhd.is_error(list), n)
    end -- helper.lua counts descriptors
  end)

  it("refuses what it cannot take", function()
    expect.refused("E_POINTER", "PATH_NIL", lvhd.find)
    for _, value in ipairs{ 5, true, print } do
      expect.argument_error("#1", lvhd.find, value)
      expect.argument_error("#1", lvhd.find, { dir, value })
    end
    expect.argument_error("#1", lvhd.find, { dir, nil, dir })
    expect.argument_error("#1", lvhd.find, { folder = dir })
    expect.refused("E_INVALID_NAME", "CHARACTER_FORBIDDEN", lvhd.find,
      dir .. "\0")
    local err = expect.fails("E_PATH_NOT_FOUND", "FOLDER_MISSING", lvhd.find,
      { dir, dir .. "/none" })
    assert.equal(dir .. "/none", err.path)
    assert.equal("find", err.op)
    support.write(dir .. "/file", "")
    expect.fails("E_PATH_NOT_FOUND", "NOT_A_FOLDER", lvhd.find,
      dir .. "/file")
    expect.fails("E_PATH_NOT_FOUND", nil, lvhd.find, "")
    local engine = lvhd.engine()
    engine:close()
    expect.refused("VM_E_APP_SHUTTING_DOWN", nil, engine.find, engine, dir)
  end)

  it("changes nothing", function()
    local base = family()
    expect.unchanged(dir, function()
      lvhd.find(dir):wait()
      lvhd.children(base, dir):wait()
    end)
  end)
end)

describe("children", function()
  it("are the disks whose recorded parent it is, by identifier", function()
    local base = family()
    -- another disk at the parent's name is no parent
    lvhd.create_dynamic(dir .. "/vms/base.vhd", 4 * MiB):wait()
    assert.same({ "vms/a/b/two.img", "vms/one.vhd" },
      names(lvhd.children(base, dir):wait(), dir))
    assert.same({ "vms/a/three" },
      names(lvhd.children(dir .. "/vms/one.vhd", { dir }):wait(), dir))
    assert.same({}, lvhd.children(dir .. "/vms/a/three", dir):wait())
    assert.same({ "vms/a/b/two.img" }, names(lvhd.children(base,
      { dir .. "/golden", dir .. "/vms/a" }):wait(), dir))
    -- wherever the parent went
    run(("mv %s %s"):format(q(base), q(dir .. "/moved")))
    assert.equal(2, #lvhd.children(dir .. "/moved", dir):wait())
  end)

  it("refuse a parent that is none", function()
    family()
    expect.refused("E_POINTER", "PARENT_NIL", lvhd.children, nil, dir)
    expect.refused("E_POINTER", "PATH_NIL", lvhd.children, dir .. "/x")
    expect.argument_error("#1", lvhd.children, 5, dir)
    expect.argument_error("#2", lvhd.children, dir .. "/x", 5)
    support.write(dir .. "/text", ("x"):rep(1000))
    local err = expect.fails("VM_E_INVALID_HD_FILE", "FOOTER_MISSING",
      lvhd.children, dir .. "/text", dir)
    assert.equal(dir .. "/text", err.path)
    assert.equal("children", err.op)
    expect.fails("E_PATH_NOT_FOUND", "FILE_MISSING", lvhd.children,
      dir .. "/none", dir)
    expect.fails("VM_E_INVALID_HD_FILE", "NOT_REGULAR", lvhd.children,
      dir, dir)
  end)

  it("of a parent whose identifier is nil are not all disks", function()
    local base = handmade.dynamic(dir .. "/nil.vhd", 4 * MiB,
      { uuid = ("0"):rep(32) })
    handmade.dynamic(dir .. "/other.vhd", 4 * MiB)
    handmade.fixed(dir .. "/fixed.vhd", 4 * MiB)
    assert.same({}, lvhd.children(base, dir):wait())
  end)
end)

describe("many files", function()
  -- So many files in folders of 100: a third disks, a third children, a
  -- third anything.
  local function fill(count)
    support.mkdir(dir .. "/golden")
    local base = dir .. "/golden/base.vhd"
    lvhd.create_dynamic(base, 4 * MiB):wait()
    lvhd.create_differencing(dir .. "/child.vhd", base):wait()
    lvhd.create_dynamic(dir .. "/disk.vhd", 4 * MiB):wait()
    local samples = { support.read(dir .. "/child.vhd"),
      support.read(dir .. "/disk.vhd"), ("anything"):rep(500) }
    os.remove(dir .. "/child.vhd")
    os.remove(dir .. "/disk.vhd")
    for i = 1, count do
      local folder = ("%s/vms/%03d"):format(dir, i // 100)
      if i % 100 == 0 or i == 1 then
        support.mkdir(folder)
      end
      support.write(("%s/%05d"):format(folder, i), samples[i % 3 + 1])
    end
    return base
  end

  local function counted(count)
    local base = fill(count)
    local began = test.clock()
    local task = lvhd.children(base, dir)
    local list = task:wait()
    assert.equal(count // 3, #list)
    for i = 2, #list do
      assert.is_true(list[i - 1].path < list[i].path)
    end
    local percent, _, _, items = task:progress()
    assert.equal(100, percent)
    assert.equal(count + 1, items)
    assert.equal(1 + 2 * (count // 3), #lvhd.find(dir):wait())
    return test.clock() - began
  end

  it("are found: 300", function()
    counted(300)
  end)

  it("are found in seconds: 5,001 #slow", function()
    assert.is_true(counted(5001) < 30)
  end)

  it("end with a cancel #tsan", function()
    fill(300)
    support.mkdir(dir .. "/texts")
    for i = 1, 300 do
      support.write(("%s/texts/%d"):format(dir, i), ("x"):rep(600))
    end
    for _, folder in ipairs{ dir, dir .. "/texts" } do
      local system = test.system()
      local engine <close> = lvhd.engine{ system = system:pointer(),
        threads = 1 }
      local rule = system:hold{ call = "pread", nth = 100 }
      local task = engine:find(folder)
      system:await(rule)
      assert.is_true(task:cancel())
      system:drop(rule)
      expect.fails("E_ABORT", nil, task.wait, task)
      assert.equal("cancelled", task:status())
      assert.is_true(system:count("pread") < 110)
    end
  end)

  it("do not take the last worker #tsan", function()
    fill(300)
    local system = test.system()
    local engine <close> = lvhd.engine{ system = system:pointer(),
      threads = 2 }
    local rule = system:hold{ call = "getdents", times = 0 }
    local tasks = { engine:find(dir), engine:find(dir), engine:find(dir) }
    engine:create_dynamic(dir .. "/new.vhd", 4 * MiB):wait()
    system:drop(rule)
    for _, task in ipairs(tasks) do
      assert.is_true(#task:wait() >= 201)
    end
  end)
end)

describe("deep folders", function()
  it("are looked through to a bound, without end", function()
    local at = dir
    local here = test.cwd()
    handmade.dynamic(dir .. "/seed", 4 * MiB)
    assert.is_true(test.chdir(dir))
    for i = 1, 200 do
      assert.is_true(test.mkdir("d"))
      assert.is_true(test.chdir("d"))
      at = at .. "/d"
      if i == 100 or i == 127 or i == 128 or i == 200 then
        run(("ln %s disk"):format(q(dir .. "/seed")))
      end
    end
    assert.is_true(test.chdir(here))
    local list = lvhd.find(dir):wait()
    assert.equal(3, #list) -- the seed, and those 100 and 127 below
    for _, info in ipairs(list) do
      assert.is_truthy(support.sh("test -f " .. q(info.path)))
    end
  end)

  it("that are mounted in themselves do not hold it #root", function()
    if not support.is_root() then
      pending("mounting takes root")
      return
    end
    family()
    support.mkdir(dir .. "/vms/loop")
    if not support.sh(("mount --bind %s %s"):format(q(dir),
      q(dir .. "/vms/loop"))) then
      pending("no mounts here")
      return
    end
    local ok, list = pcall(function() return lvhd.find(dir):wait() end)
    run("umount " .. q(dir .. "/vms/loop"))
    assert.is_true(ok, tostring(list))
    assert.equal(4, #list)
  end)
end)
