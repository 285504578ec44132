-- SPDX-License-Identifier: MIT
--
-- Bugs that the sweep over all system calls has found (sweep_spec), each by
-- itself: failures that nobody was told of, or that were told as something
-- else.

local changes = require "spec.support.changes"
local expect = require "spec.support.expect"
local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"
local verbs = require "spec.support.verbs"
local vhdwrite = require "spec.support.vhdwrite"

local KiB <const>, MiB <const> = 1 << 10, 1 << 20

local dir, system, engine

before_each(function()
  dir = support.tmpdir()
  system = test.system()
  engine = lvhd.engine{ threads = 1, system = system:pointer() }
end)

after_each(function()
  system:drop()
  engine:close()
end)

local function make(list, name)
  for _, scenario in ipairs(list) do
    if scenario.name == name then
      return scenario.make(dir), scenario
    end
  end
  error("there is no scenario " .. name)
end

local function finds(info, code)
  for _, f in ipairs(info.findings) do
    if f.code == code then
      return f
    end
  end
end

-- Fails with errno in err, and not otherwise.
local function fails_with(errno, name, act)
  local err = expect.fails(name, nil, act)
  assert.equal(errno, err.errname)
  return err
end

-- The file holds half of a resize: without the note it reads otherwise.
describe("a note that cannot be read", function()
  for _, call in ipairs{ "fstat", "pread" } do
    it("is no foreign one: the disk is not read without it, " .. call,
      function()
        make(verbs, "open beside a note")
        local was = engine:info(dir .. "/leaf.vhd").size
        for errno, name in pairs{ EIO = "DISP_E_EXCEPTION",
          ENOMEM = "E_OUTOFMEMORY" } do
          system:fail{ call = call, at = "lvhd-journal", errno = errno }
          fails_with(errno, name, function()
            engine:open(dir .. "/leaf.vhd"):close()
          end)
          system:drop()
        end
        assert.equal(was, engine:info(dir .. "/leaf.vhd").size)
      end)
  end

  it("nor is one that fits a file which cannot be read", function()
    make(verbs, "open beside a note")
    system:fail{ call = "pread", at = "/leaf.vhd", nth = 3, errno = "EIO" }
    fails_with("EIO", "DISP_E_EXCEPTION", function()
      engine:info(dir .. "/leaf.vhd")
    end)
  end)
end)

describe("a folder that cannot be looked into", function()
  it("is not one where no parent may be", function()
    make(verbs, "open, read, extents")
    for call, path in pairs{ openat = dir, fstatat = "leaf.vhd" } do
      for errno, name in pairs{ EIO = "DISP_E_EXCEPTION",
        EMFILE = "VM_E_OUT_OF_RESOURCE" } do
        system:fail{ call = call, path = path, errno = errno,
          flags = call == "openat" and test.O_DIRECTORY or 0 }
        fails_with(errno, name, function()
          engine:open(dir .. "/leaf.vhd"):close()
        end)
        system:drop()
      end
    end
    engine:open(dir .. "/leaf.vhd"):close()
  end)
end)

describe("check of what cannot be opened as a disk", function()
  it("tells of a device that fails, not of a missing footer", function()
    make(verbs, "check of a damaged disk")
    -- the footer, the header; and once more for the report
    system:fail{ call = "pread", at = "/leaf.vhd", nth = 3, errno = "EIO",
      times = 0 }
    fails_with("EIO", "DISP_E_EXCEPTION", function()
      return engine:check(dir .. "/leaf.vhd", { chain = false })
    end)
  end)
end)

describe("the search for other children", function()
  local function disks()
    make(changes, "resize: dynamic, grow in the BAT's padding")
    vhdwrite.new{ size = 4 * MiB, uuid = vhdwrite.uuid(77) }:save(
      dir .. "/other.vhd")
  end

  it("counts what it cannot ask about", function()
    disks()
    system:fail{ call = "fstat", at = "/other.vhd", errno = "EIO" }
    local info = engine:resize(dir .. "/leaf.vhd", 5 * MiB):wait()
    assert.equal(1, finds(info, "SEARCH_SKIPPED").actual)
  end)

  it("counts what it cannot ask about, where names tell no type", function()
    disks()
    system:set("untyped", 1)
    system:fail{ call = "fstatat", path = "other.vhd", errno = "EIO" }
    local info = engine:resize(dir .. "/leaf.vhd", 5 * MiB):wait()
    assert.equal(1, finds(info, "SEARCH_SKIPPED").actual)
  end)

  it("does not take those for others that the caller names", function()
    make(changes, "merge: and reattach children")
    system:fail{ call = "fstatat", path = "/leaf.vhd", errno = "EIO" }
    local err = fails_with("EIO", "DISP_E_EXCEPTION", function()
      return engine:merge(dir .. "/child.vhd", { children = {
        dir .. "/leaf.vhd", dir .. "/other.vhd" } })
    end)
    assert.equal(dir .. "/leaf.vhd", err.path)
  end)

  it("fails where memory does", function()
    disks()
    system:fail{ call = "fstat", at = "/other.vhd", errno = "ENOMEM" }
    fails_with("ENOMEM", "E_OUTOFMEMORY", function()
      return engine:resize(dir .. "/leaf.vhd", 5 * MiB)
    end)
  end)

  it("tells whoever opened a disk for writing", function()
    disks()
    system:fail{ call = "pread", at = "/other.vhd", errno = "EIO" }
    do
      local disk <close> = engine:open(dir .. "/leaf.vhd", { write = true })
      assert.equal(1, finds(disk:info(), "SEARCH_SKIPPED").actual)
      assert.equal(1, finds(disk:chain()[1], "SEARCH_SKIPPED").actual)
    end
    local disk <close> = engine:open(dir .. "/leaf.vhd", { write = true })
    assert.is_nil(finds(disk:info(), "SEARCH_SKIPPED"))
  end)
end)

describe("a writer", function()
  it("does not put blocks over a batmap that it could not read", function()
    local disk = vhdwrite.new{ size = 4 * MiB, block_size = 512 * KiB,
      creator = "tap\0", creator_version = 0x10003, batmap = true }
    disk:save(dir .. "/leaf.vhd")
    -- each read of the opening in turn: none is done without
    local n = 0
    repeat
      n = n + 1
      system:drop()
      system:fail{ call = "pread", at = "/leaf.vhd", errno = "EIO", nth = n }
      system:forget()
      local ok, open = pcall(engine.open, engine, dir .. "/leaf.vhd",
        { write = true })
      if ok then
        assert(#system:log("EIO") == 0
          or finds(open:info(), "SEARCH_SKIPPED"), "read " .. n)
        open:close()
      end
    until ok and #system:log("EIO") == 0
    assert.is_true(n > 6)
  end)

  it("tells of a device that refuses room for many blocks", function()
    make(changes, "write: dynamic")
    local disk = engine:open(dir .. "/leaf.vhd", { write = true })
    disk:write(4 * KiB, ("x"):rep(512)) -- the first block is for itself
    system:fail{ call = "pwritev", at = "/leaf.vhd", errno = "EIO" }
    fails_with("EIO", "DISP_E_EXCEPTION", function()
      disk:write(8 * KiB, ("x"):rep(4 * KiB))
    end)
    pcall(disk.close, disk)
  end)

  it("goes on with room for one where there is none for many", function()
    make(changes, "write: dynamic")
    local disk <close> = engine:open(dir .. "/leaf.vhd", { write = true })
    disk:write(4 * KiB, ("x"):rep(512))
    for _, errno in ipairs{ "ENOSPC", "EFBIG" } do
      system:fail{ call = "pwritev", at = "/leaf.vhd", errno = errno }
      disk:write((errno == "EFBIG" and 28 or 8) * KiB, ("x"):rep(4 * KiB))
      assert.equal(1, #system:log(errno))
    end
  end)
end)

describe("a temporary's name", function()
  it("goes on after a signal", function()
    system:fail{ call = "openat", flags = test.O_TMPFILE,
      errno = "EOPNOTSUPP", times = 0 }
    system:fail{ call = "getrandom", errno = "EINTR", nth = 2, times = 3 }
    engine:create_dynamic(dir .. "/a.vhd", 4 * MiB):wait()
    assert.equal(3, #system:log("EINTR"))
  end)
end)

-- Within one second only: tried again if the clock moved on meanwhile.
describe("a time that cannot be moved on", function()
  local function moves(spoil, act)
    for _ = 1, 20 do
      support.run("rm -f " .. dir .. "/*.vhd " .. dir .. "/.*journal")
      system:drop()
      system:forget()
      local err = act(os.time())
      if #system:log(spoil) > 0 then
        return err
      end
    end
    error("the time was never moved")
  end

  local function written(errno)
    return moves(errno, function(now)
      vhdwrite.new{ size = 4 * MiB, block_size = 512 * KiB, mtime = now }:save(
        dir .. "/leaf.vhd")
      local disk = engine:open(dir .. "/leaf.vhd", { write = true })
      disk:write(0, "x")
      system:fail{ call = "futimens", errno = errno }
      local ok, err = pcall(disk.flush, disk)
      system:drop()
      disk:close()
      return not ok and err or nil
    end)
  end

  it("is told by the flush of a disk", function()
    local err = written("EIO")
    assert(lvhd.is_error(err, "DISP_E_EXCEPTION"), tostring(err))
    assert.equal("futimens", err.syscall)
  end)

  it("stays where it is not ours to set", function()
    assert.is_nil(written("EACCES"))
  end)

  local function merged(errno)
    return moves(errno, function(now)
      local parent = vhdwrite.new{ size = 4 * MiB, block_size = 512 * KiB,
        mtime = now }
      parent:save(dir .. "/parent.vhd")
      local child = vhdwrite.new{ parent = parent }
      child:put(3, vhdwrite.pattern(1, 3))
      child:save(dir .. "/child.vhd")
      -- the others are tries of the right, before anything is written
      system:fail{ call = "futimens", at = "/parent.vhd", errno = errno }
      local _, err = expect.try(engine.merge, engine, dir .. "/child.vhd")
      system:drop()
      return err
    end)
  end

  it("is told by merge", function()
    local err = merged("EIO")
    assert(lvhd.is_error(err, "DISP_E_EXCEPTION"), tostring(err))
    assert.equal("futimens", err.syscall)
    engine:merge(dir .. "/child.vhd"):wait()
  end)
end)
