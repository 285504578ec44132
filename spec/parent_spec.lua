-- SPDX-License-Identifier: MIT
--
-- The parent of a differencing disk: what may be one, what is refused and
-- under which name, and that a parent is never touched.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local test = require "lvhdtest"

local MiB <const> = 1 << 20
local GiB <const> = 1 << 30

local engine, dir, image

before_each(function()
  engine = lvhd.engine{ threads = 1, sync = "none" }
  dir = support.tmpdir()
  image = dir .. "/a.vhd"
end)

after_each(function()
  engine:close()
end)

-- The parent is refused, by the call and by the task, nothing changes.
local function refuse(name, reason, parent)
  local err
  expect.unchanged(dir, function()
    err = expect.both(name, reason, function(opts)
      return engine:create_differencing(image, parent, opts)
    end)
  end)
  return err
end

-- The parent is good; its bytes and times stay.  Returns the info.
local function accept(parent, opts)
  local before, bytes = test.stat(parent), nil
  if before.blocks < 20000 and before.size < 100 * MiB then
    bytes = support.read(parent)
  end
  local info = engine:create_differencing(image, parent, opts):wait()
  local after = test.stat(parent)
  assert.same(before, after)
  if bytes ~= nil then
    assert.is_true(bytes == support.read(parent))
  end
  return info
end

describe("a parent that cannot be reached", function()
  it("is E_PATH_NOT_FOUND: the file is missing", function()
    local err = refuse("E_PATH_NOT_FOUND", "FILE_MISSING", dir .. "/p.vhd")
    assert.equal(dir .. "/p.vhd", err.parent)
    assert.equal("ENOENT", err.errname)
  end)

  it("is E_PATH_NOT_FOUND: its folder is missing", function()
    refuse("E_PATH_NOT_FOUND", "FOLDER_MISSING", dir .. "/no/p.vhd")
    refuse("E_PATH_NOT_FOUND", "FOLDER_MISSING", dir .. "/no/no/p.vhd")
  end)

  it("is E_PATH_NOT_FOUND: a file is used as a folder", function()
    handmade.fixed(dir .. "/file", 3 * MiB)
    refuse("E_PATH_NOT_FOUND", "NOT_A_FOLDER", dir .. "/file/p.vhd")
    refuse("E_PATH_NOT_FOUND", "NOT_A_FOLDER", dir .. "/file/sub/p.vhd")
  end)

  it("is E_PATH_NOT_FOUND: a link that dangles", function()
    assert(test.symlink("nowhere", dir .. "/p.vhd"))
    refuse("E_PATH_NOT_FOUND", "FILE_MISSING", dir .. "/p.vhd")
  end)

  -- An unprivileged user in a copy of the process; root may do all.
  local function as_user(fn)
    support.run("chmod 755 " .. dir .. " && mkdir -m 777 " .. dir .. "/out")
    local status, text = test.fork(function()
      if support.is_root() then
        assert(test.user(65534))
      end
      local own = lvhd.engine{ threads = 1, sync = "none" }
      local ok, err = expect.try(fn, own)
      own:close()
      return ok and "success"
        or table.concat({ err.name, err.errname, err.parent }, " ")
    end)
    assert.equal(0, status, text)
    return text
  end

  it("is E_ACCESSDENIED: an unprivileged user may not read it", function()
    local parent = handmade.dynamic(dir .. "/p.vhd", 64 * MiB)
    support.run("chmod 0 " .. parent)
    for _, preflight in ipairs{ true, false } do
      assert.equal("E_ACCESSDENIED EACCES " .. parent, as_user(function(own)
        return own:create_differencing(dir .. "/out/a.vhd", parent,
          { preflight = preflight })
      end))
      assert.same({}, support.names(dir .. "/out"))
      support.run("rmdir " .. dir .. "/out")
    end
  end)

  it("is E_ACCESSDENIED: its folder may not be searched", function()
    assert(test.mkdir(dir .. "/closed"))
    local parent = handmade.dynamic(dir .. "/closed/p.vhd", 64 * MiB)
    support.run("chmod 0 " .. dir .. "/closed")
    assert.equal("E_ACCESSDENIED EACCES " .. parent, as_user(function(own)
      return own:create_differencing(dir .. "/out/a.vhd", parent)
    end))
  end)

  it("need not be writable", function()
    local parent = handmade.dynamic(dir .. "/p.vhd", 64 * MiB)
    support.run("chmod 444 " .. parent)
    assert.equal("success", as_user(function(own)
      return own:create_differencing(dir .. "/out/a.vhd", parent)
    end))
  end)
end)

describe("a parent that is no file", function()
  it("is VM_E_INVALID_HD_FILE: a folder", function()
    assert(test.mkdir(dir .. "/p.vhd"))
    refuse("VM_E_INVALID_HD_FILE", "NOT_REGULAR", dir .. "/p.vhd")
  end)

  it("is VM_E_INVALID_HD_FILE: a FIFO, without waiting for a writer",
    function()
      assert(test.mkfifo(dir .. "/p.vhd"))
      local status, text = test.fork(function()
        test.alarm(5) -- or it would wait for ever
        local own = lvhd.engine{ threads = 1 }
        for _, preflight in ipairs{ true, false } do
          local _, err = expect.try(own.create_differencing, own, image,
            dir .. "/p.vhd", { preflight = preflight })
          assert(err.reason == "NOT_REGULAR", tostring(err))
        end
        return 0
      end)
      assert.equal(0, status, text)
      refuse("VM_E_INVALID_HD_FILE", "NOT_REGULAR", dir .. "/p.vhd")
    end)

  it("is VM_E_INVALID_HD_FILE: a device", function()
    refuse("VM_E_INVALID_HD_FILE", "NOT_REGULAR", "/dev/null")
    refuse("VM_E_INVALID_HD_FILE", "NOT_REGULAR", "/dev/zero")
  end)

  it("is VM_E_INVALID_HD_FILE: a socket", function()
    if not support.has("python3") then
      pending("python3 makes the socket")
    end
    support.run("cd " .. dir .. " && python3 -c \"import socket;"
      .. "socket.socket(socket.AF_UNIX).bind('p.vhd')\"")
    refuse("VM_E_INVALID_HD_FILE", "NOT_REGULAR", dir .. "/p.vhd")
  end)
end)

describe("a parent that is no VHD", function()
  local function refuse_bytes(reason, bytes)
    support.write(dir .. "/p.vhd", bytes)
    return refuse("VM_E_INVALID_HD_FILE", reason, dir .. "/p.vhd")
  end

  it("is VM_E_INVALID_HD_FILE: a text file", function()
    refuse_bytes("FOOTER_MISSING", ("no disk\n"):rep(1000))
  end)

  it("is VM_E_INVALID_HD_FILE: an empty file", function()
    refuse_bytes("FOOTER_MISSING", "")
  end)

  it("is VM_E_INVALID_HD_FILE: a file shorter than a footer", function()
    for _, n in ipairs{ 1, 510 } do
      refuse_bytes("FOOTER_MISSING", ("c"):rep(n))
    end
  end)

  it("is VM_E_INVALID_HD_FILE: a raw disk, never taken for one", function()
    refuse_bytes("FOOTER_MISSING", ("\0"):rep(4 * MiB))
  end)
end)

describe("a parent with a broken footer", function()
  -- edit: the checksum is right for the wrong bytes; spoil: it is not.
  local function refuse_footer(reason, fields)
    local parent = handmade.fixed(dir .. "/p.vhd", 64 * MiB, fields)
    return refuse("VM_E_INVALID_HD_FILE", reason, parent)
  end

  local function put(at, format, value)
    return function(bytes)
      return handmade.patch(bytes, at, format:pack(value))
    end
  end

  it("is VM_E_INVALID_HD_FILE: any byte changed", function()
    for _, at in ipairs{ 12, 24, 48, 55, 56, 60, 64, 68, 200, 511 } do
      local err = refuse_footer("FOOTER_CHECKSUM", { spoil = function(b)
        return handmade.patch(b, at, string.char(b:byte(at + 1) ~ 0x10))
      end })
      assert.not_equal(err.expected, err.actual)
    end
  end)

  it("is VM_E_INVALID_HD_FILE: the cookie changed", function()
    refuse_footer("FOOTER_MISSING", { spoil = put(0, "c8", "Conectix") })
  end)

  it("is VM_E_INVALID_HD_FILE: an unknown version", function()
    local err = refuse_footer("FORMAT_VERSION",
      { edit = put(12, ">I4", 0x20000) })
    assert.equal(0x20000, err.actual)
  end)

  it("is VM_E_INVALID_HD_FILE: an unknown type", function()
    for _, kind in ipairs{ 0, 1, 5, 6, 0x10002 } do
      local err = refuse_footer("DISK_TYPE", { edit = put(60, ">I4", kind) })
      assert.equal(kind, err.actual)
    end
  end)

  it("is VM_E_INVALID_HD_FILE: a size that is none", function()
    for _, size in ipairs{ 0, 64 * MiB + 1, math.mininteger, -512 } do
      refuse_footer("FOOTER_CORRUPT", { edit = put(48, ">i8", size) })
    end
  end)

  it("is VM_E_INVALID_HD_FILE: a fixed disk cut short", function()
    refuse_footer("FIXED_LENGTH", { length = 32 * MiB })
  end)

  it("is VM_E_INVALID_HD_FILE: only the copy at 0 is good", function()
    local parent = handmade.dynamic(dir .. "/p.vhd", 64 * MiB)
    support.write(parent, support.read(parent):sub(1, -513))
    refuse("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", parent)
  end)

  it("is taken when only the copy at 0 is broken", function()
    local parent = handmade.dynamic(dir .. "/p.vhd", 64 * MiB)
    local bytes = support.read(parent)
    support.write(parent, ("\0"):rep(512) .. bytes:sub(513))
    assert.equal(64 * MiB, accept(parent).size)
  end)

  it("is taken when its last byte is missing: 511 bytes, as before 2004",
    function()
      local parent = handmade.dynamic(dir .. "/p.vhd", 64 * MiB,
        { footer_size = 511 })
      assert.equal(64 * MiB, accept(parent).size)
      os.remove(image)
      accept(handmade.fixed(dir .. "/f.vhd", 64 * MiB, { footer_size = 511 }))
    end)

  it("is taken with XenServer's hidden byte, counted or not", function()
    local hidden = put(85, "B", 1)
    accept(handmade.fixed(dir .. "/p.vhd", 64 * MiB, { edit = hidden }))
    os.remove(image)
    accept(handmade.fixed(dir .. "/q.vhd", 64 * MiB, { spoil = hidden }))
  end)
end)

describe("a parent with a broken header", function()
  local function refuse_header(reason, header)
    local parent = handmade.dynamic(dir .. "/p.vhd", 64 * MiB,
      { header = header })
    return refuse("VM_E_INVALID_HD_FILE", reason, parent)
  end

  local function put(at, format, value)
    return function(bytes)
      return handmade.patch(bytes, at, format:pack(value))
    end
  end

  it("is VM_E_INVALID_HD_FILE: any byte changed", function()
    for _, at in ipairs{ 28, 40, 64, 576, 1023 } do
      refuse_header("HEADER_CHECKSUM", { spoil = put(at, "B", 0xA5) })
    end
  end)

  it("is VM_E_INVALID_HD_FILE: the cookie changed", function()
    refuse_header("HEADER_MISSING", { spoil = put(0, "c8", "cxsparsf") })
  end)

  it("is VM_E_INVALID_HD_FILE: an unknown version", function()
    refuse_header("HEADER_VERSION", { version = 0x20000 })
  end)

  it("is VM_E_INVALID_HD_FILE: a block size that is no power of two",
    function()
      for _, size in ipairs{ 0, 256, 3 * MiB, 0xFFFFFFFF } do
        refuse_header("BLOCK_SIZE", { edit = put(32, ">I4", size) })
      end
    end)

  it("is VM_E_INVALID_HD_FILE: a table off a sector", function()
    for _, at in ipairs{ 0, 1537 } do
      refuse_header("HEADER_CORRUPT", { edit = put(16, ">I8", at) })
    end
  end)

  it("is VM_E_INVALID_HD_FILE: a table outside the file", function()
    for _, at in ipairs{ 1 << 20, 1 << 40, 0x7FFFFFFFFFFFFE00 } do
      refuse_header("BAT_OUTSIDE", { edit = put(16, ">I8", at) })
    end
    refuse_header("BAT_OUTSIDE", { entries = 0xFFFFFFFF })
  end)

  it("is VM_E_INVALID_HD_FILE: a table too small for the disk", function()
    refuse_header("BAT_TOO_SMALL", { entries = 31 })
  end)

  it("is VM_E_INVALID_HD_FILE: no header where the footer says", function()
    for _, at in ipairs{ 1024, 1 << 40, 0x7FFFFFFFFFFFFE00 } do
      local parent = handmade.dynamic(dir .. "/p.vhd", 64 * MiB,
        { data_offset = at })
      refuse("VM_E_INVALID_HD_FILE", "HEADER_MISSING", parent)
    end
  end)
end)

describe("a parent of a size", function()
  it("of 2 MiB is VM_E_IMAGE_SIZE_TOO_SMALL", function()
    for _, make in ipairs{ handmade.fixed, handmade.dynamic } do
      local err = refuse("VM_E_IMAGE_SIZE_TOO_SMALL", "SIZE_LIMIT",
        make(dir .. "/p.vhd", 2 * MiB))
      assert.equal(3 * MiB, err.expected)
      assert.equal(2 * MiB, err.actual)
    end
  end)

  it("of 3 MiB less one sector is VM_E_IMAGE_SIZE_TOO_SMALL", function()
    refuse("VM_E_IMAGE_SIZE_TOO_SMALL", "SIZE_LIMIT",
      handmade.fixed(dir .. "/p.vhd", 3 * MiB - 512))
  end)

  it("of 3 MiB is taken", function()
    assert.equal(3 * MiB,
      accept(handmade.fixed(dir .. "/p.vhd", 3 * MiB)).size)
  end)

  it("of 2,041 GiB is VM_E_IMAGE_SIZE_TOO_LARGE", function()
    local err = refuse("VM_E_IMAGE_SIZE_TOO_LARGE", "SIZE_LIMIT",
      handmade.dynamic(dir .. "/p.vhd", 2041 * GiB))
    assert.equal(2040 * GiB, err.expected)
    assert.equal(2041 * GiB, err.actual)
    refuse("VM_E_IMAGE_SIZE_TOO_LARGE", "SIZE_LIMIT",
      handmade.dynamic(dir .. "/p.vhd", 2040 * GiB + 512))
  end)

  it("of 2,041 GiB is refused as a fixed disk too", function()
    local path = dir .. "/p.vhd"
    if not pcall(handmade.fixed, path, 2041 * GiB) then
      pending("the scratch volume holds no file of 2041 GiB")
    end
    refuse("VM_E_IMAGE_SIZE_TOO_LARGE", "SIZE_LIMIT", path)
  end)

  it("of exactly 2,040 GiB is taken", function()
    assert.equal(2040 * GiB,
      accept(handmade.dynamic(dir .. "/p.vhd", 2040 * GiB)).size)
  end)

  it("of an odd sector is taken exactly", function()
    assert.equal(64 * MiB + 512,
      accept(handmade.dynamic(dir .. "/p.vhd", 64 * MiB + 512)).size)
  end)
end)

describe("a parent in use", function()
  local parent

  before_each(function()
    parent = handmade.dynamic(dir .. "/p.vhd", 64 * MiB)
  end)

  -- qemu-nbd with the arguments, ready when its lock shows.
  local function with_nbd(args, fn)
    if not support.has("qemu-nbd") then
      pending("qemu-nbd is not installed")
    end
    local pidfile = dir .. "/pid"
    support.run("qemu-nbd --fork --pid-file=" .. pidfile .. " -f vpc -t -k "
      .. dir .. "/socket " .. args .. " " .. parent .. " >/dev/null 2>&1")
    local pid = math.tointeger(support.read(pidfile))
    local ok, err = pcall(fn)
    -- Again and again: qemu-nbd loses a signal that comes before its main
    -- loop; and where nobody reaps, it stays as a zombie.
    for _ = 1, 1000 do
      local state = select(2, pcall(support.read,
        support.proc .. "/" .. pid .. "/stat"))
      if not state:find("%) [^ZX]") then break end
      test.kill(pid, test.SIGTERM)
      test.sleep(0.01)
    end
    assert(ok, err)
  end

  it("by a running qemu-nbd that writes is E_SHARING_VIOLATION", function()
    with_nbd("", function()
      local err = refuse("E_SHARING_VIOLATION", "IN_USE", parent)
      assert.equal(parent, err.parent)
    end)
    accept(parent)
  end)

  it("by a qemu-nbd that only reads is taken", function()
    with_nbd("-r", function() accept(parent) end)
  end)

  local function with_lock(kind, start, length, fn)
    local fd = assert(test.lock(parent, kind, start, length))
    local ok, err = pcall(fn)
    test.close(fd)
    assert(ok, err)
  end

  it("as QEMU's locks say: 101 writes, 103 resizes", function()
    for _, byte in ipairs{ 101, 103 } do
      with_lock("read", byte, 1, function()
        refuse("E_SHARING_VIOLATION", "IN_USE", parent)
      end)
    end
  end)

  it("as QEMU's locks say: 100, 201 and 203 are a reader's", function()
    for _, byte in ipairs{ 100, 201, 203 } do
      with_lock("read", byte, 1, function() accept(parent) end)
      os.remove(image)
    end
  end)

  it("by someone with a write lock on the file is E_SHARING_VIOLATION",
    function()
      with_lock("write", 0, 0, function()
        refuse("E_SHARING_VIOLATION", "IN_USE", parent)
      end)
    end)

  it("by a process with a traditional lock is E_SHARING_VIOLATION",
    function()
      local ready = dir .. "/ready"
      local pid = test.spawn(function()
        test.lock(parent, "write", 0, 0, "posix")
        support.write(ready, "")
        test.sleep(60)
      end)
      while not test.stat(ready) do
        test.sleep(0.01)
      end
      local ok, err = pcall(refuse, "E_SHARING_VIOLATION", "IN_USE", parent)
      test.kill(pid, test.SIGKILL)
      test.wait(pid)
      assert(ok, err)
      accept(parent)
    end)

  it("is left without a lock of ours", function()
    accept(parent)
    with_lock("write", 0, 0, function() end)
  end)
end)

describe("a good parent", function()
  it("may be fixed, dynamic or differencing, and keeps bytes and times",
    function()
      local fixed = handmade.fixed(dir .. "/f.vhd", 5 * MiB)
      local dynamic = handmade.dynamic(dir .. "/d.vhd", 5 * MiB)
      for _, path in ipairs{ fixed, dynamic } do
        local info = accept(path)
        assert.equal("differencing", info.type)
        assert.equal(5 * MiB, info.size)
        assert.equal(path, info.parent.path)
        assert.equal(handmade.uuid, (info.parent.uuid:gsub("-", "")))
        os.rename(image, dir .. "/middle.vhd")
        local leaf = accept(dir .. "/middle.vhd")
        assert.equal(info.uuid, leaf.parent.uuid)
        os.remove(image)
      end
    end)

  it("need not have its own parent at hand", function()
    local root = handmade.dynamic(dir .. "/d.vhd", 5 * MiB)
    accept(root)
    os.rename(image, dir .. "/middle.vhd")
    os.remove(root)
    accept(dir .. "/middle.vhd")
  end)

  it("gives its time of change, as it is", function()
    local path = handmade.dynamic(dir .. "/d.vhd", 5 * MiB)
    test.utime(path, 1234567890)
    assert.equal(1234567890, accept(path).parent.timestamp)
  end)

  it("gives a time clamped to what the format holds", function()
    local path = handmade.dynamic(dir .. "/d.vhd", 5 * MiB)
    for given, recorded in pairs{ [0] = 946684800, [946684799] = 946684800,
      [946684801] = 946684801, [5241652096] = 5241652095 } do
      test.utime(path, given)
      if test.stat(path).mtime == given * 1000000000 then
        assert.equal(recorded, accept(path).parent.timestamp)
        os.remove(image)
      end
    end
  end)

  it("may be any block size; its child takes it", function()
    local path = handmade.dynamic(dir .. "/d.vhd", 64 * MiB,
      { header = { block_size = 512 << 10 } })
    assert.equal(512 << 10, accept(path).block_size)
    os.remove(image)
    assert.equal(2 * MiB, accept(handmade.fixed(dir .. "/f.vhd", 64 * MiB))
      .block_size)
  end)

  it("is named by the error when the image is it", function()
    local path = handmade.dynamic(image, 5 * MiB)
    refuse("E_ALREADY_EXISTS", nil, path)
  end)
end)

describe("a parent without an identifier", function()
  it("is VM_E_INVALID_HD_FILE: its children could not tell it", function()
    local parent = handmade.fixed(dir .. "/p.vhd", 64 * MiB,
      { uuid = ("00"):rep(16) })
    refuse("VM_E_INVALID_HD_FILE", "UUID_MALFORMED", parent)
  end)
end)
