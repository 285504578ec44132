-- SPDX-License-Identifier: MIT
--
-- Calls that fail: each creation meets, at every call, one failure and then
-- failures without end, and either succeeds or ends in the right error with
-- nothing left behind.  The failures come through the table of system calls.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local test = require "lvhdtest"

local MiB <const> = 1 << 20
local UUID <const> = "3f6c1e2a-0000-4000-8000-0123456789ab"

local engine, system, dir, parent

before_each(function()
  system = test.system()
  engine = lvhd.engine{ threads = 1, system = system:pointer() }
  dir = support.tmpdir()
  parent = handmade.dynamic(dir .. "/parent.vhd", 64 * MiB)
end)

after_each(function()
  system:drop()
  engine:close()
end)

-- The three creations: function(image, opts).
local verbs = {
  fixed = function(image, opts)
    return engine:create_fixed(image, 4 * MiB, opts)
  end,
  dynamic = function(image, opts)
    return engine:create_dynamic(image, 64 * MiB, opts)
  end,
  differencing = function(image, opts)
    return engine:create_differencing(image, parent, opts)
  end,
}

describe("a failed call", function()
  it("that nothing foresees is DISP_E_EXCEPTION with errno and syscall",
    function()
      for kind, create in pairs(verbs) do
        system:fail{ call = "pwritev", errno = "EIO" }
        expect.unchanged(dir, function()
          local err = expect.late("DISP_E_EXCEPTION", nil, create,
            dir .. "/a.vhd")
          assert.equal("EIO", err.errname, kind)
          assert.equal(5, err.errno)
          assert.equal("pwritev", err.syscall)
          assert.equal(dir .. "/a.vhd", err.path)
        end)
      end
    end)

  it("comes behind a name that is taken, without a preflight too", function()
    for kind, create in pairs(verbs) do
      for _, sync in ipairs{ "full", "none" } do
        for _, call in ipairs{ "none", "pwritev", "fstatfs" } do
          local image = dir .. "/a.vhd"
          support.write(image, "mine")
          if call ~= "none" then
            system:fail{ call = call, errno = "ENOSPC" }
          end
          expect.unchanged(dir, function()
            local err = expect.late("E_ALREADY_EXISTS", nil, create, image,
              { preflight = false, sync = sync })
            assert.is_nil(err.syscall)
          end)
          system:drop()
          assert.equal("mine", support.read(image), kind .. call)
        end
      end
    end
  end)

  -- The table of design 1.5, at the step that writes the new file.
  local names = {
    EACCES = "E_ACCESSDENIED", EPERM = "E_ACCESSDENIED",
    EROFS = "E_ACCESSDENIED", ENOTDIR = "E_PATH_NOT_FOUND",
    ELOOP = "E_PATH_NOT_FOUND", ENAMETOOLONG = "E_BUFFER_OVERFLOW",
    ENOSPC = "E_DISK_FULL", EDQUOT = "E_DISK_FULL",
    EFBIG = "VM_E_FILE_TOO_LARGE_FOR_VOLUME", EBUSY = "E_SHARING_VIOLATION",
    ETXTBSY = "E_SHARING_VIOLATION", EMFILE = "VM_E_OUT_OF_RESOURCE",
    ENFILE = "VM_E_OUT_OF_RESOURCE", ENOMEM = "E_OUTOFMEMORY",
    EIO = "DISP_E_EXCEPTION", ENXIO = "DISP_E_EXCEPTION",
    ESTALE = "DISP_E_EXCEPTION",
  }
  for errno, name in pairs(names) do
    it(("with %s is %s"):format(errno, name), function()
      expect.unchanged(dir, function()
        system:fail{ call = "pwritev", errno = errno }
        local err = expect.late(name, nil, verbs.dynamic, dir .. "/a.vhd")
        assert.equal(errno, err.errname)
        assert.equal("pwritev", err.syscall)
      end)
    end)
  end

  it("of fsync, of the file or its folder, leaves no file", function()
    for _, kind in ipairs{ "file", "folder" } do
      for _, create in pairs(verbs) do
        for _, image in ipairs{ "/a.vhd", "/new/deep/a.vhd" } do
          expect.unchanged(dir, function()
            system:fail{ call = "fsync", kind = kind, errno = "EIO" }
            local err = expect.late("DISP_E_EXCEPTION", nil, create,
              dir .. image)
            assert.equal("fsync", err.syscall)
          end)
        end
      end
    end
  end)

  it("of fsync is not tried again: the file is abandoned", function()
    system:fail{ call = "fsync", kind = "file", errno = "EIO" }
    system:forget()
    expect.late("DISP_E_EXCEPTION", nil, verbs.dynamic, dir .. "/a.vhd")
    assert.equal(1, system:count("fsync"))
    assert.equal(0, system:count("linkat"))
    assert.equal(0, system:count("renameat2"))
  end)

  it("of the new file's close leaves no file", function()
    for _, create in pairs(verbs) do
      for _, image in ipairs{ "/a.vhd", "/new/deep/a.vhd" } do
        expect.unchanged(dir, function()
          -- the kernel goes on to call it deleted, as it was unnamed
          system:fail{ call = "close", at = "(deleted)", errno = "EIO" }
          local err = expect.late("DISP_E_EXCEPTION", nil, create,
            dir .. image, { preflight = false })
          assert.equal("close", err.syscall)
          system:drop()
        end)
      end
    end
  end)

  it("of getrandom is no identifier of zeros", function()
    system:fail{ call = "getrandom", errno = "EIO", times = 0 }
    expect.unchanged(dir, function()
      local err = expect.fails("DISP_E_EXCEPTION", nil, verbs.dynamic,
        dir .. "/a.vhd")
      assert.equal("getrandom", err.syscall)
    end)
  end)
end)

describe("no more descriptors", function()
  it("is VM_E_OUT_OF_RESOURCE, for real", function()
    for _, preflight in ipairs{ true, false } do
      local status, text = test.fork(function()
        local own = lvhd.engine{ threads = 1 }
        -- the worker stands, and all the code has run once
        own:create_dynamic(dir .. "/first.vhd", 64 * MiB):wait()
        assert(test.limit("nofile", 3))
        local _, err = expect.try(own.create_differencing, own,
          dir .. "/a.vhd", parent, { preflight = preflight })
        assert(test.limit("nofile", 64))
        own:create_differencing(dir .. "/b.vhd", parent):wait()
        own:close()
        return err.name .. " " .. err.errname
      end)
      assert.equal(0, status, text)
      assert.equal("VM_E_OUT_OF_RESOURCE EMFILE", text)
      assert.same({ "b.vhd", "first.vhd", "parent.vhd" }, support.names(dir))
      os.remove(dir .. "/first.vhd")
      os.remove(dir .. "/b.vhd")
    end
  end)
end)

describe("writes that fall short", function()
  local same = { uuid = UUID, timestamp = 1700000000, allocate = nil }

  local function bytes_of(create, spoil)
    local path = dir .. "/a.vhd"
    if spoil then
      spoil()
    end
    create(path, same):wait()
    system:drop()
    local bytes = support.read(path)
    os.remove(path)
    return bytes
  end

  it("are finished: the bytes are the same", function()
    for kind, create in pairs(verbs) do
      local want = bytes_of(create)
      for _, n in ipairs{ 1, 511, 513, 4097, 8703 } do
        for _, times in ipairs{ 1, 3 } do
          assert.is_true(want == bytes_of(create, function()
            system:short{ call = "pwritev", bytes = n, times = times }
          end), kind .. " torn at " .. n)
        end
      end
    end
  end)

  it("are finished when no write ever moves more than 100 bytes", function()
    local want = bytes_of(verbs.differencing)
    assert.is_true(want == bytes_of(verbs.differencing, function()
      system:short{ call = "pwritev", bytes = 100, times = 0 }
    end))
  end)

  it("are finished after EINTR", function()
    local want = bytes_of(verbs.dynamic)
    assert.is_true(want == bytes_of(verbs.dynamic, function()
      system:fail{ call = "pwritev", errno = "EINTR", times = 20 }
    end))
  end)

  it("are an error when nothing is written at all", function()
    expect.unchanged(dir, function()
      system:short{ call = "pwritev", bytes = 0, times = 0 }
      expect.fails("DISP_E_EXCEPTION", nil, verbs.dynamic, dir .. "/a.vhd")
    end)
  end)

  it("are finished when the zeros of a fixed disk are torn", function()
    local path = dir .. "/z.vhd"
    system:short{ call = "pwritev", bytes = 70001, times = 0 }
    engine:create_fixed(path, 4 * MiB, { allocate = "zero" }):wait()
    assert.equal(4 * MiB + 512, test.stat(path).size)
    assert.is_truthy(support.read(path):find("^\0*conectix"))
  end)
end)

describe("reads that fall short", function()
  it("are finished: a parent read byte by byte", function()
    system:short{ call = "pread", bytes = 1, times = 0 }
    local info = verbs.differencing(dir .. "/a.vhd"):wait()
    assert.equal(64 * MiB, info.size)
  end)

  it("are finished after EINTR", function()
    system:fail{ call = "pread", errno = "EINTR", times = 3 }
    verbs.differencing(dir .. "/a.vhd"):wait()
  end)

  it("that fail are no broken parent", function()
    system:fail{ call = "pread", errno = "EIO", times = 0 }
    local err = expect.fails("DISP_E_EXCEPTION", nil, verbs.differencing,
      dir .. "/a.vhd")
    assert.equal("pread", err.syscall)
  end)
end)

-- ---- the sweep ---------------------------------------------------------

local ERRORS <const> = {
  EIO = "DISP_E_EXCEPTION",
  ENOSPC = "E_DISK_FULL",
  EMFILE = "VM_E_OUT_OF_RESOURCE",
  ENOMEM = "E_OUTOFMEMORY",
  EACCES = "E_ACCESSDENIED",
}

-- Calls whose failure may go unreported, since nothing depends on it.
local function harmless(e)
  return e == nil
    or e.call == "close"    -- of what was only read
    -- a folder that may be used and not read: opened as a mere place
    or e.call:find("^openat") and e.errno == "EACCES" and e.path ~= "."
    or e.call == "readlinkat" -- no /proc: realpath answers too
    or e.call == "fstatfs"  -- asked for info.lockable
    or e.call == "getlk"    -- a volume without locks
    or e.call == "unlinkat" -- a hidden second name, tried again
    -- is a folder yet to be made a link that dangles? mkdirat will tell
    or e.call == "fstatat" and e.path == "new"
end

-- The calls that make the new file: here the name is exactly the table's.
-- Before, an errno that means nothing there is the unforeseen.
local MAKING <const> = { pwritev = true, fsync = true, linkat = true,
  renameat2 = true, mkdirat = true, fchmod = true, futimens = true }

local function check_name(err, errno, call, context)
  if MAKING[call] or err.name ~= "DISP_E_EXCEPTION" then
    assert.equal(ERRORS[errno], err.name, context)
  end
  assert.equal(call, err.syscall, context)
  assert.equal(errno, err.errname, context)
end

-- What the volume lacks in this sweep: unnamed files, then links.
local WORLDS <const> = {
  ["with unnamed files"] = function() end,
  ["without unnamed files"] = function()
    system:fail{ call = "openat", flags = test.O_TMPFILE,
      errno = "EOPNOTSUPP", times = 0 }
  end,
  ["without unnamed files and RENAME_NOREPLACE"] = function()
    system:fail{ call = "openat", flags = test.O_TMPFILE,
      errno = "EOPNOTSUPP", times = 0 }
    system:fail{ call = "renameat2", errno = "EINVAL", times = 0 }
  end,
}

-- The first entry of the log that failed with errno.
local function culprit(errno)
  for _, e in ipairs(system:log()) do
    if e.errno == errno then
      return e
    end
  end
end

local function no_rest(context, before)
  local after = expect.tree(dir)
  if after ~= before then
    error(("%s: left behind\n%s\nbefore:\n%s"):format(context, after, before),
      0)
  end
end

-- What the engine keeps for a second is forgotten.
local clock = 1
local function tick()
  clock = clock + 10 * 1000000000
  system:set("monotonic", clock)
end

-- One creation with the k-th call failing.  False: there was no k-th call.
local function one_fault(world, create, image, opts, k, errno, before)
  tick()
  system:drop()
  world()
  system:fail{ nth = k, errno = errno }
  system:forget()
  local ok, err = expect.try(create, image, opts)
  local failed = culprit(errno)
  local context = ("call %d (%s) fails with %s"):format(k,
    failed and failed.call or "none", errno)
  if ok then
    assert.is_true(harmless(failed), context .. " and nobody says so")
    assert.equal("file", test.stat(image).type, context)
    support.run("qemu-img info -f vpc " .. image .. " >/dev/null")
    support.run("cd " .. dir .. " && rm -f a.vhd && rm -rf new")
  else
    assert.is_true(lvhd.is_error(err), context .. ": " .. tostring(err))
    check_name(err, errno, failed and failed.call, context)
  end
  no_rest(context, before)
  return system:count() >= k
end

-- One creation with all calls failing from the k-th on.  False: there was no
-- k-th call.
local function sweep_end(kind, k, errno)
  local image = dir .. "/a.vhd"
  tick()
  system:forget()
  system:fail{ nth = k, errno = errno, times = 0 }
  local ok, err = expect.try(verbs[kind], image, { preflight = false })
  system:drop()
  local failed = culprit(errno)
  if not ok and not harmless(failed) then
    check_name(err, errno, failed.call, ("from call %d on"):format(k))
  end
  if not ok and test.stat(image) then
    -- Published, then not made durable, and it cannot be taken away: only
    -- here may the file stay.
    local last <const> = { fsync = true, fstat = true, close = true }
    assert.is_truthy(last[err.syscall], err.syscall)
  end
  os.remove(image)
  return system:count() >= k
end

-- Every call of the creation in turn.
local function sweep(world, kind, image, opts, errno)
  local before, k = expect.tree(dir), 1
  while one_fault(world, verbs[kind], dir .. image, opts, k, errno, before) do
    k = k + 1
  end
  assert.is_true(k > 10, "the sweep ended at call " .. k)
  system:drop()
end

describe("a short sweep over every call", function()
  for kind in pairs(verbs) do
    it(("of %s with EIO: an error or success, and no rest"):format(kind),
      function()
        sweep(WORLDS["with unnamed files"], kind, "/new/deep/a.vhd",
          { preflight = false }, "EIO")
        verbs[kind](dir .. "/after.vhd"):wait()
      end)
  end
end)

describe("a sweep over every call #slow", function()
  for where, world in pairs(WORLDS) do
    for kind in pairs(verbs) do
      it(("of %s, %s: an error or success, and no rest"):format(kind, where),
        function()
          for image, errnos in pairs{ ["/a.vhd"] = { "EIO", "ENOMEM" },
            ["/new/deep/a.vhd"] = { "ENOSPC", "EMFILE", "EACCES" } } do
            for _, errno in ipairs(errnos) do
              sweep(world, kind, image, { preflight = image ~= "/a.vhd" },
                errno)
            end
          end
          -- and the engine works on
          verbs[kind](dir .. "/after.vhd"):wait()
        end)
    end
  end

  for kind in pairs(verbs) do
    it(("of %s when all fails from there on: no rest"):format(kind),
      function()
        local before, fds = expect.tree(dir), test.fds()
        for errno in pairs(ERRORS) do
          local k, more = 1, true
          while more do
            more = sweep_end(kind, k, errno)
            no_rest(("from call %d on %s"):format(k, errno), before)
            k = k + 1
          end
          assert.is_true(k > 10, "the sweep ended at call " .. k)
        end
        assert.equal(fds, test.fds())
      end)
  end
end)

-- ---- between the call and the work -------------------------------------

describe("what changes between the call and the work", function()
  -- The only worker is held inside another creation meanwhile.
  local function meanwhile(create, change)
    system:hold{ call = "fsync", kind = "file" }
    local other = engine:create_dynamic(dir .. "/other.vhd", 64 * MiB)
    assert.is_true(system:await(1))
    local task = create(dir .. "/a.vhd")
    assert.equal("queued", task:status())
    change()
    system:drop()
    other:wait()
    os.remove(dir .. "/other.vhd")
    return task
  end

  it("is found: the parent is gone", function()
    local task = meanwhile(verbs.differencing, function()
      os.remove(parent)
    end)
    expect.fails("E_PATH_NOT_FOUND", "FILE_MISSING", task.wait, task)
    assert.same({}, support.names(dir))
  end)

  it("is found: the parent is no longer a VHD", function()
    local task = meanwhile(verbs.differencing, function()
      support.write(parent, "text")
    end)
    expect.fails("VM_E_INVALID_HD_FILE", nil, task.wait, task)
    assert.same({ "parent.vhd" }, support.names(dir))
  end)

  it("is found: someone began to write the parent", function()
    local fd
    local task = meanwhile(verbs.differencing, function()
      fd = test.lock(parent, "read", 101, 1)
    end)
    expect.fails("E_SHARING_VIOLATION", "IN_USE", task.wait, task)
    test.close(fd)
    assert.same({ "parent.vhd" }, support.names(dir))
  end)

  it("is found: the image exists, and stays as it is", function()
    for _, create in pairs(verbs) do
      local task = meanwhile(create, function()
        support.write(dir .. "/a.vhd", "mine")
      end)
      expect.fails("E_ALREADY_EXISTS", nil, task.wait, task)
      assert.equal("mine", support.read(dir .. "/a.vhd"))
      os.remove(dir .. "/a.vhd")
    end
  end)

  it("is found: the folder became a file", function()
    local task = meanwhile(function()
      return verbs.dynamic(dir .. "/new/a.vhd")
    end, function()
      support.write(dir .. "/new", "")
    end)
    expect.fails("E_PATH_NOT_FOUND", nil, task.wait, task)
    assert.same({ "new", "parent.vhd" }, support.names(dir))
  end)
end)
