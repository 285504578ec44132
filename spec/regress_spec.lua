-- SPDX-License-Identifier: MIT
--
-- Defects that were found and mended, on the disk's side: folders that
-- vanish, locks, folders that we make, volumes that cannot link.  Each test
-- failed before its mend.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local life = require "spec.support.life"
local test = require "lvhdtest"

local MiB <const> = 1 << 20
local NOBODY <const> = 65534

local engine, system, dir

before_each(function()
  system = test.system()
  engine = lvhd.engine{ threads = 1, system = system:pointer() }
  dir = support.tmpdir()
end)

after_each(function()
  system:drop()
  engine:close()
end)

-- Runs fn in a process of its own as a user without rights, in a folder
-- of that user's with this mode; what fn raises fails the test.
local function as_nobody(mode, fn)
  if not support.is_root() then
    pending("giving up root needs root")
  end
  local folder = dir .. "/theirs"
  assert(test.mkdir(folder))
  support.run(("chown %d:%d %s && chmod %s %s && chmod 755 %s")
    :format(NOBODY, NOBODY, folder, mode, folder, dir))
  local status, text = test.fork(function()
    test.alarm(20)
    assert(test.user(NOBODY))
    return fn(folder)
  end)
  assert.equal(0, status, tostring(text))
end

-- The place of the first entry of a log that fits, or nil.
local function place(log, call, fits)
  for i, entry in ipairs(log) do
    if entry.call == call and (fits == nil or fits(entry)) then
      return i
    end
  end
end

describe("the image's folder vanishes under the look", function()
  local folder

  before_each(function()
    folder = dir .. "/new"
    assert(test.mkdir(folder))
  end)

  for _, preflight in ipairs { true, false } do
    local how = preflight and "of the call" or "of the worker"

    -- Each call in turn, as far as the look goes with the folder there.
    local calls = { "readlinkat", "fstat", "openat", "openat2", "pread", "getlk",
      "fstatat", "fstatfs" }
    for _, call in ipairs(calls) do
      it(("%s, at %s: a relative parent is found again"):format(how, call),
        function()
          for nth = 1, 4 do
            support.run(("rm -rf %s && mkdir %s"):format(folder, folder))
            handmade.dynamic(dir .. "/base.vhd", 64 * MiB)
            system:rmdir{ call = call, nth = nth, folder = folder }
            local task = engine:create_differencing(folder .. "/child.vhd",
              "../base.vhd", { preflight = preflight, sync = "none" })
            local info = assert(task:wait(20))
            assert.equal(dir .. "/base.vhd", info.parent.path)
            local disk = assert(life.disk(folder .. "/child.vhd"))
            assert.equal("differencing", disk.type)
            assert.equal(64 * MiB, disk.size)
            assert.equal(handmade.uuid, (disk.parent_uuid:gsub("-", "")))
            system:drop()
          end
        end)
    end

    it(how .. ": a parent being written is refused", function()
      handmade.dynamic(dir .. "/base.vhd", 64 * MiB)
      local fd = assert(test.lock(dir .. "/base.vhd", "read", 101, 1))
      system:rmdir{ call = "getlk", folder = folder }
      local ok, err = pcall(expect[preflight and "refused" or "late"],
        "E_SHARING_VIOLATION", "IN_USE", engine.create_differencing, engine,
        folder .. "/child.vhd", "../base.vhd", { preflight = preflight })
      test.close(fd)
      assert(ok, err)
      assert.same({ "base.vhd" }, support.names(dir))
    end)

    it(how .. ": a parent that is no VHD is refused", function()
      support.write(dir .. "/base.vhd", ("x"):rep(4096))
      system:rmdir{ call = "pread", folder = folder }
      expect[preflight and "refused" or "late"]("VM_E_INVALID_HD_FILE", nil,
        engine.create_differencing, engine, folder .. "/child.vhd",
        "../base.vhd", { preflight = preflight })
      assert.same({ "base.vhd" }, support.names(dir))
    end)
  end
end)

describe("locks on a parent", function()
  local parent

  before_each(function()
    parent = handmade.dynamic(dir .. "/base.vhd", 64 * MiB)
  end)

  local function create()
    local image = dir .. "/child.vhd"
    os.remove(image)
    return engine:create_differencing(image, parent, { sync = "none" })
      :wait(20)
  end

  local function with_lock(kind, start, length, fn)
    local fd = assert(test.lock(parent, kind, start, length))
    local ok, err = pcall(fn)
    test.close(fd)
    assert(ok, err)
  end

  -- Another process that holds a lock until it is killed.
  local function holder(kind, at, name)
    local mark = dir .. "/" .. name
    local pid = test.spawn(function()
      test.alarm(30)
      assert(test.lock(parent, kind, at, 1, "posix"))
      support.write(mark, "")
      test.sleep(30)
    end)
    assert(life.eventually(function() return test.stat(mark) end))
    return setmetatable({}, { __close = function()
      test.kill(pid, test.SIGKILL)
      test.wait(pid)
    end })
  end

  it("a read lock on the whole file is no writer's", function()
    with_lock("read", 0, 0, create)
    assert(life.disk(dir .. "/child.vhd"))
  end)

  it("a write lock on the whole file is", function()
    with_lock("write", 0, 0, function()
      expect.fails("E_SHARING_VIOLATION", "IN_USE", create)
    end)
  end)

  it("of a program that writes what is there already are no writer's",
    function()
      for _, kind in ipairs { "read", "write" } do
        with_lock(kind, 102, 1, create)
      end
      local other <close> = holder("read", 102, "locked")
      create()
      assert.truthy(other)
    end)

  it("are all seen, whoever came first", function()
    for _, at in ipairs { 101, 103 } do
      local first <close> = holder("read", 102, "first" .. at)
      create()
      local second <close> = holder("read", at, "second" .. at)
      expect.fails("E_SHARING_VIOLATION", "IN_USE", create)
      assert.truthy(first and second)
    end
  end)
end)

describe("folders that we make", function()
  it("go again where the umask lets nobody enter them #root", function()
    as_nobody("755", function(folder)
      test.umask(tonumber("777", 8))
      local own = lvhd.engine{ threads = 1, sync = "none" }
      for _, name in ipairs { "a/x.vhd", "a/b/c/x.vhd" } do
        expect.late("E_ACCESSDENIED", nil, own.create_dynamic, own,
          folder .. "/" .. name, 64 * MiB)
        assert(test.stat(folder .. "/a") == nil, name .. " left a folder")
      end
      own:close()
    end)
  end)

  it("are durable before the name, below one that cannot be listed #root",
    function()
      as_nobody("300", function(folder)
        local own = lvhd.engine{ threads = 1, sync = "full",
          system = system:pointer() }
        assert(own:create_dynamic(folder .. "/new/x.vhd", 64 * MiB):wait(20))
        own:close()
        local log = system:log()
        local made = assert(place(log, "mkdirat"), "no mkdirat")
        local named = assert(place(log, "linkat"), "no linkat")
        local flushed = place(log, "syncfs") or place(log, "fsync",
          function(e) return e.at == folder end)
        assert(flushed and made < flushed and flushed < named,
          ("mkdirat %d, flush %s, linkat %d"):format(made,
            tostring(flushed), named))
      end)
    end)
end)

describe("a volume that cannot link unnamed files", function()
  local function create(path)
    system:forget()
    assert(engine:create_dynamic(path, 64 * MiB, { sync = "none" }):wait(20))
    assert(life.disk(path))
    return system:log()
  end

  local function unnamed(log)
    return place(log, "openat", function(e)
      return e.flags & test.O_TMPFILE == test.O_TMPFILE
        and not (e.at or ""):find("^/proc") and e.result >= 0
    end) ~= nil
  end

  local function named(log)
    return place(log, "openat", function(e)
      return (e.path or ""):find("%.lvhd%-tmp$") ~= nil
    end) ~= nil
  end

  it("is remembered, and only that volume #root", function()
    if not support.is_root() then
      pending("mounting needs root")
    end
    local volume = dir .. "/volume"
    assert(test.mkdir(volume))
    local mounted, why =
      support.sh("mount -t tmpfs -o size=32m tmpfs " .. volume)
    if not mounted then
      pending("cannot mount here: " .. why)
    end
    assert(test.mkdir(dir .. "/poor"))
    local ok, err = pcall(function()
      system:fail{ call = "linkat", errno = "EPERM", times = 0,
        at = dir .. "/poor" }
      assert.is_true(named(create(dir .. "/poor/1.vhd")))
      local log = create(dir .. "/poor/2.vhd")
      assert.is_true(named(log))
      assert.is_nil(place(log, "linkat"), "tried in vain again")
      log = create(volume .. "/3.vhd")
      assert.is_true(unnamed(log))
      assert.is_false(named(log))
      assert.same({ "3.vhd" }, support.names(volume))
      assert.same({ "1.vhd", "2.vhd" }, support.names(dir .. "/poor"))
    end)
    support.run("umount " .. volume)
    assert(ok, err)
  end)

  it("is not one where a name was missing once", function()
    system:fail{ call = "linkat", errno = "ENOENT", times = 2 }
    create(dir .. "/1.vhd")
    local log = create(dir .. "/2.vhd")
    assert.is_true(unnamed(log))
    assert.is_false(named(log))
    assert.same({ "1.vhd", "2.vhd" }, support.names(dir))
  end)
end)
