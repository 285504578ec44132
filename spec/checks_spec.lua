-- SPDX-License-Identifier: MIT
--
-- What a creation checks and in which order: arguments, the state of the
-- engine, sizes, the image; and which of two faults wins.  Paths, parents
-- and volumes have specs of their own.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local test = require "lvhdtest"

local MiB <const> = 1 << 20
local TOO_LARGE <const> = 2088960 * MiB

local engine, dir, image, parent

before_each(function()
  engine = lvhd.engine{ threads = 1, sync = "none" }
  dir = support.tmpdir()
  image = dir .. "/a.vhd"
  parent = handmade.dynamic(dir .. "/parent.vhd", 64 * MiB)
end)

after_each(function()
  engine:close()
end)

local function verb(name)
  return function(...)
    return engine[name](engine, ...)
  end
end

local fixed = verb("create_fixed")
local dynamic = verb("create_dynamic")
local differencing = verb("create_differencing")

describe("an argument of the wrong Lua type", function()
  local wrong = { true, {}, print, io.stdout }

  it("is an argument error, a plain string that says which", function()
    expect.unchanged(dir, function()
      for _, value in ipairs(wrong) do
        expect.argument_error("create_fixed", fixed, value, 4 * MiB)
        expect.argument_error("create_dynamic", dynamic, value, 4 * MiB)
        expect.argument_error("create_differencing", differencing, value,
          parent)
        expect.argument_error("create_differencing", differencing, image,
          value)
        expect.argument_error("create_fixed", fixed, image, value)
      end
      for _, value in ipairs{ true, 5, "x", print } do
        expect.argument_error("create_fixed", fixed, image, 4 * MiB, value)
        expect.argument_error("create_differencing", differencing, image,
          parent, value)
      end
    end)
  end)

  it("points at the caller's line", function()
    local err = expect.argument_error("bad argument", function()
      return (lvhd.create_dynamic(image, {}))
    end)
    assert.is_truthy(err:find("checks_spec.lua:", 1, true), err)
  end)

  it("is the same for the module's functions", function()
    expect.argument_error("bad argument #1 to 'create_dynamic'",
      lvhd.create_dynamic, {}, 64 * MiB)
    expect.argument_error("bad argument #2 to 'create_differencing'",
      lvhd.create_differencing, image, {})
  end)
end)

describe("nil for a documented parameter", function()
  it("is E_POINTER", function()
    expect.unchanged(dir, function()
      expect.refused("E_POINTER", nil, differencing, nil, parent)
      expect.refused("E_POINTER", nil, differencing, image, nil)
      expect.refused("E_POINTER", nil, differencing)
      expect.refused("E_POINTER", nil, fixed, nil, 4 * MiB)
      expect.refused("E_POINTER", nil, fixed, image)
      expect.refused("E_POINTER", nil, dynamic, nil, nil)
      expect.refused("E_POINTER", nil, dynamic, image, nil)
      expect.refused("E_POINTER", nil, lvhd.create_differencing, nil, parent)
      expect.refused("E_POINTER", nil, lvhd.create_differencing, image)
    end)
  end)
end)

describe("a closed engine", function()
  it("refuses all creations: VM_E_APP_SHUTTING_DOWN", function()
    engine:close()
    expect.unchanged(dir, function()
      expect.refused("VM_E_APP_SHUTTING_DOWN", nil, fixed, image, 4 * MiB)
      expect.refused("VM_E_APP_SHUTTING_DOWN", nil, dynamic, image, 4 * MiB)
      expect.refused("VM_E_APP_SHUTTING_DOWN", nil, differencing, image,
        parent)
      expect.refused("VM_E_APP_SHUTTING_DOWN", nil, differencing, image,
        parent, { preflight = false })
    end)
    engine:close()
    expect.refused("VM_E_APP_SHUTTING_DOWN", nil, fixed, image, 4 * MiB)
  end)
end)

describe("a size", function()
  local function refuse(name, reason, size)
    local err
    expect.unchanged(dir, function()
      for _, preflight in ipairs{ true, false } do
        local opts = { preflight = preflight }
        err = expect.refused(name, reason, fixed, image, size, opts)
        expect.refused(name, reason, dynamic, image, size, opts)
      end
    end)
    return err
  end

  it("of 0 is E_INVALIDARG", function()
    refuse("E_INVALIDARG", "SIZE_NOT_POSITIVE", 0)
  end)

  it("below 0 is E_INVALIDARG", function()
    for _, size in ipairs{ -1, -512, -64 * MiB, math.mininteger } do
      refuse("E_INVALIDARG", "SIZE_NOT_POSITIVE", size)
    end
  end)

  it("one byte off a sector is E_INVALIDARG", function()
    for _, size in ipairs{ 64 * MiB - 1, 64 * MiB + 1, 64 * MiB + 256 } do
      local err = refuse("E_INVALIDARG", "SIZE_UNALIGNED", size)
      assert.equal(size, err.actual)
    end
  end)

  it("of 3 MB less one sector is VM_E_IMAGE_SIZE_TOO_SMALL", function()
    local err = refuse("VM_E_IMAGE_SIZE_TOO_SMALL", "SIZE_LIMIT",
      3 * MiB - 512)
    assert.equal(3 * MiB, err.expected)
    assert.equal(3 * MiB - 512, err.actual)
    refuse("VM_E_IMAGE_SIZE_TOO_SMALL", "SIZE_LIMIT", 512)
  end)

  it("of 3 MB is enough", function()
    assert.equal(3 * MiB, dynamic(image, 3 * MiB):wait().size)
    assert.equal(3 * MiB, fixed(dir .. "/b.vhd", 3 * MiB):wait().size)
  end)

  it("of 2,088,960 MB is VM_E_IMAGE_SIZE_TOO_LARGE", function()
    local err = refuse("VM_E_IMAGE_SIZE_TOO_LARGE", "SIZE_LIMIT", TOO_LARGE)
    assert.equal(TOO_LARGE, err.actual)
    refuse("VM_E_IMAGE_SIZE_TOO_LARGE", "SIZE_LIMIT", TOO_LARGE + 512)
    refuse("VM_E_IMAGE_SIZE_TOO_LARGE", "SIZE_LIMIT", math.maxinteger - 511)
  end)

  it("of 2,088,960 MB less one sector is taken", function()
    local info = dynamic(image, TOO_LARGE - 512):wait()
    assert.equal(TOO_LARGE - 512, info.size)
  end)
end)

describe("an image that exists", function()
  local function refuse(path)
    local err
    path = path or image
    expect.unchanged(dir, function()
      for _, start in pairs{
        function(opts) return fixed(path, 4 * MiB, opts) end,
        function(opts) return dynamic(path, 4 * MiB, opts) end,
        function(opts) return differencing(path, parent, opts) end } do
        err = expect.both("E_ALREADY_EXISTS", nil, start)
        assert.equal(path, err.path)
      end
    end)
    return err
  end

  it("is E_ALREADY_EXISTS: a file, which stays as it is", function()
    support.write(image, "mine")
    refuse()
    assert.equal("mine", support.read(image))
  end)

  it("is E_ALREADY_EXISTS: a folder", function()
    assert(test.mkdir(image))
    refuse()
  end)

  it("is E_ALREADY_EXISTS: a link, dangling or not", function()
    assert(test.symlink("nowhere", image))
    refuse()
    assert.is_nil(test.stat(dir .. "/nowhere"))
    os.remove(image)
    assert(test.symlink("parent.vhd", image))
    refuse()
  end)

  it("is E_ALREADY_EXISTS: a FIFO, without waiting", function()
    assert(test.mkfifo(image))
    refuse()
  end)

  it("is E_ALREADY_EXISTS: the parent itself", function()
    local bytes, st = support.read(parent), test.stat(parent)
    refuse(parent)
    assert.is_true(bytes == support.read(parent))
    assert.same(st, test.stat(parent))
  end)

  it("is E_ALREADY_EXISTS: a good disk of just this kind", function()
    dynamic(image, 4 * MiB):wait()
    refuse()
  end)
end)

describe("an image whose path runs through a file", function()
  it("is E_PATH_NOT_FOUND", function()
    support.write(dir .. "/file", "")
    for _, path in ipairs{ "/file/a.vhd", "/file/new/a.vhd" } do
      expect.unchanged(dir, function()
        expect.both("E_PATH_NOT_FOUND", "NOT_A_FOLDER", function(opts)
          return dynamic(dir .. path, 4 * MiB, opts)
        end)
        expect.both("E_PATH_NOT_FOUND", "NOT_A_FOLDER", function(opts)
          return differencing(dir .. path, parent, opts)
        end)
      end)
    end
  end)

  it("is E_PATH_NOT_FOUND: a dangling link as a folder", function()
    assert(test.symlink("nowhere", dir .. "/link"))
    expect.unchanged(dir, function()
      expect.both("E_PATH_NOT_FOUND", nil, function(opts)
        return dynamic(dir .. "/link/a.vhd", 4 * MiB, opts)
      end)
    end)
  end)
end)

-- ---- two faults at once ----------------------------------------------------

describe("of two faults", function()
  local missing

  before_each(function()
    missing = dir .. "/missing.vhd"
  end)

  it("a wrong type comes before nil", function()
    expect.argument_error("create_differencing", differencing, nil, {})
    expect.argument_error("create_dynamic", dynamic, nil, 4 * MiB, 5)
  end)

  it("a wrong type, or nil, comes before a closed engine", function()
    engine:close()
    expect.argument_error("create_dynamic", dynamic, {}, 4 * MiB)
    expect.argument_error("colour", dynamic, image, 4 * MiB, { colour = 1 })
    expect.refused("E_POINTER", nil, dynamic, nil, 4 * MiB)
  end)

  it("a closed engine comes before bad strings and sizes", function()
    engine:close()
    expect.refused("VM_E_APP_SHUTTING_DOWN", nil, dynamic, "", 4 * MiB)
    expect.refused("VM_E_APP_SHUTTING_DOWN", nil, dynamic, image, 0)
    expect.refused("VM_E_APP_SHUTTING_DOWN", nil, differencing, "*", "?")
  end)

  it("the image's string comes before the parent's", function()
    local err = expect.refused("E_INVALID_NAME", "CHARACTER_FORBIDDEN",
      differencing, dir .. "/*", dir .. "/?")
    assert.equal(("*"):byte(), err.actual)
    expect.refused("E_INVALID_NAME", "CHARACTER_FORBIDDEN", differencing,
      dir .. "/*", "C:\\p.vhd")
    expect.refused("E_PATH_NOT_FOUND", "NO_SUCH_DRIVE", differencing,
      "C:\\p.vhd", dir .. "/*")
  end)

  it("a drive letter comes before a backslash, both before characters",
    function()
      expect.refused("E_PATH_NOT_FOUND", "NO_SUCH_DRIVE", differencing,
        "C:\\a*\1\xFF", parent)
      expect.refused("E_INVALID_NAME", "BACKSLASH", differencing,
        dir .. "/a*b\\c", parent)
    end)

  it("a character comes before a path that is not absolute", function()
    expect.refused("E_INVALID_NAME", "CHARACTER_FORBIDDEN", differencing,
      "a*.vhd", "p.vhd")
    expect.refused("E_INVALID_NAME", "CHARACTER_FORBIDDEN", differencing,
      "a.vhd", "p?.vhd")
  end)

  it("a path that is not absolute comes before its length", function()
    expect.refused("E_BAD_PATHNAME", "PATH_RELATIVE", differencing,
      ("a"):rep(300), "p.vhd")
  end)

  it("a character comes before the length", function()
    expect.refused("E_INVALID_NAME", "CHARACTER_FORBIDDEN", differencing,
      dir .. "/" .. ("a"):rep(300) .. "*", parent)
  end)

  it("the image's length comes before the parent's", function()
    local err = expect.refused("E_BUFFER_OVERFLOW", "PATH_TOO_LONG",
      differencing, "/" .. ("a"):rep(300), "/" .. ("b"):rep(400))
    assert.equal(301, err.actual)
  end)

  it("a bad string comes before a bad size", function()
    expect.refused("E_INVALID_NAME", nil, dynamic, dir .. "/*", 0)
    expect.refused("E_BAD_PATHNAME", nil, dynamic, "a.vhd", 0)
    expect.refused("E_BUFFER_OVERFLOW", nil, dynamic,
      "/" .. ("a"):rep(300), 0)
  end)

  it("a bad string comes before the disk: a missing parent", function()
    expect.refused("E_INVALID_NAME", nil, differencing, dir .. "/*", missing)
    expect.refused("E_BUFFER_OVERFLOW", nil, differencing,
      "/" .. ("a"):rep(300), missing)
  end)

  it("a size that is none comes before one off a sector, and the limits",
    function()
      expect.refused("E_INVALIDARG", "SIZE_NOT_POSITIVE", dynamic, image, -1)
      expect.refused("E_INVALIDARG", "SIZE_UNALIGNED", dynamic, image, 1)
      expect.refused("E_INVALIDARG", "SIZE_UNALIGNED", dynamic, image,
        TOO_LARGE + 1)
    end)

  it("a bad size comes before an image that exists", function()
    expect.refused("E_INVALIDARG", nil, dynamic, parent, 0)
    expect.refused("VM_E_IMAGE_SIZE_TOO_LARGE", nil, fixed, parent,
      TOO_LARGE)
  end)

  it("a bad parent comes before an image that exists", function()
    support.write(image, "mine")
    local err = expect.both("E_PATH_NOT_FOUND", "FILE_MISSING",
      function(opts) return differencing(image, missing, opts) end)
    assert.equal(missing, err.parent)
    support.write(missing, "text")
    expect.both("VM_E_INVALID_HD_FILE", nil, function(opts)
      return differencing(image, missing, opts)
    end)
  end)

  it("a bad parent comes before an image that cannot be reached", function()
    expect.both("VM_E_INVALID_HD_FILE", nil, function(opts)
      return differencing(parent .. "/a.vhd", dir, opts)
    end)
  end)

  it("a parent that is no VHD comes before one in use, that before its size",
    function()
      local small = handmade.fixed(dir .. "/small.vhd", 2 * MiB)
      local text = dir .. "/text"
      support.write(text, ("x"):rep(4096))
      local locks = { test.lock(small, "read", 101, 1),
        test.lock(text, "read", 101, 1) }
      local ok, err = pcall(function()
        expect.both("VM_E_INVALID_HD_FILE", nil, function(opts)
          return differencing(image, text, opts)
        end)
        expect.both("E_SHARING_VIOLATION", nil, function(opts)
          return differencing(image, small, opts)
        end)
      end)
      for _, fd in ipairs(locks) do
        test.close(fd)
      end
      assert(ok, err)
      expect.both("VM_E_IMAGE_SIZE_TOO_SMALL", nil, function(opts)
        return differencing(image, small, opts)
      end)
    end)

  it("a way too long for its locator comes before an image that exists",
    function()
      local deep = dir .. ("/" .. ("d"):rep(80)):rep(7)
      support.run("mkdir -p " .. deep)
      local far = handmade.dynamic(deep .. "/p.vhd", 64 * MiB)
      support.write(image, "mine")
      expect.both("E_BUFFER_OVERFLOW", "LOCATOR_TOO_LONG", function(opts)
        opts.long_paths = true
        return differencing(image, far, opts)
      end)
    end)
end)
