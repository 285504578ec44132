-- SPDX-License-Identifier: MIT
--
-- Paths as strings, and paths through links: what the documented rules say
-- of characters and length, where a relative path starts, and what a child
-- records of a way that leads over links.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local test = require "lvhdtest"

local MiB <const> = 1 << 20

local engine, dir, parent

before_each(function()
  engine = lvhd.engine{ threads = 1, sync = "none" }
  dir = support.tmpdir()
  parent = handmade.dynamic(dir .. "/parent.vhd", 64 * MiB)
end)

after_each(function()
  engine:close()
end)

local function child(image, from, opts)
  return engine:create_differencing(image, from, opts)
end

-- A bad string must be found by the call, with and without preflight, in
-- the image of each verb and in the parent.
local function refuse_everywhere(name, reason, path)
  local err
  expect.unchanged(dir, function()
    for _, preflight in ipairs{ true, false } do
      local opts = { preflight = preflight }
      err = expect.refused(name, reason, child, path, parent, opts)
      expect.refused(name, reason, child, dir .. "/a.vhd", path, opts)
      expect.refused(name, reason, engine.create_dynamic, engine, path,
        64 * MiB, opts)
      expect.refused(name, reason, engine.create_fixed, engine, path,
        64 * MiB, opts)
    end
  end)
  return err
end

describe("the characters of a path", function()
  for c in ('*?:<>|"'):gmatch(".") do
    it(("may not be %s, in any parameter"):format(c), function()
      local path = dir .. "/a" .. c .. "b.vhd"
      local err = refuse_everywhere("E_INVALID_NAME", "CHARACTER_FORBIDDEN",
        path)
      assert.equal(c:byte(), err.actual)
      assert.equal(#dir + 2, err.offset)
    end)

    it(("may be %s with names = 'host'"):format(c), function()
      local from = handmade.dynamic(dir .. "/p" .. c .. ".vhd", 64 * MiB)
      local path = dir .. "/a" .. c .. "b.vhd"
      local info = child(path, from, { names = "host" }):wait()
      assert.equal(path, info.path)
      assert.equal(from, info.parent.path)
      assert.equal("file", test.stat(path).type)
    end)
  end

  it("may not be a control character", function()
    for code = 0, 31 do
      local err = expect.refused("E_INVALID_NAME", "CHARACTER_FORBIDDEN",
        child, dir .. "/a" .. string.char(code) .. ".vhd", parent)
      assert.equal(code, err.actual)
    end
    local err = refuse_everywhere("E_INVALID_NAME", "CHARACTER_FORBIDDEN",
      dir .. "/\127.vhd")
    assert.equal(127, err.actual)
    refuse_everywhere("E_INVALID_NAME", "CHARACTER_FORBIDDEN",
      dir .. "/a.vhd\0b")
  end)

  it("may not be a control character with names = 'host' either", function()
    for _, c in ipairs{ "\0", "\1", "\n", "\31", "\127" } do
      expect.refused("E_INVALID_NAME", "CHARACTER_FORBIDDEN", child,
        dir .. "/a" .. c .. ".vhd", parent, { names = "host" })
      expect.refused("E_INVALID_NAME", "CHARACTER_FORBIDDEN", child,
        dir .. "/a.vhd", parent .. c, { names = "host" })
    end
  end)

  local broken = {
    ["a lone continuation byte"] = "\x80",
    ["a lone first byte"] = "\xC3",
    ["an overlong slash"] = "\xC0\xAF",
    ["an overlong form of three bytes"] = "\xE0\x80\xAF",
    ["a surrogate"] = "\xED\xA0\x80",
    ["a code point over U+10FFFF"] = "\xF4\x90\x80\x80",
    ["a cut sequence"] = "\xF0\x9F\x92",
    ["a byte that never occurs"] = "\xFF",
  }
  for what, bytes in pairs(broken) do
    it("may not be broken UTF-8: " .. what, function()
      local path = dir .. "/" .. bytes
      local err = refuse_everywhere("E_INVALID_NAME", "NOT_UTF8", path)
      assert.equal(#dir + 1, err.offset)
      expect.refused("E_INVALID_NAME", "NOT_UTF8", child, path, parent,
        { names = "host" })
    end)
  end

  it("may be any other Unicode", function()
    local name = "/Grüße 日本 💾 a+b=c;[~]{1},'&%#@!$^`.vhd"
    local info = child(dir .. name, parent):wait()
    assert.equal(dir .. name, info.path)
    info = child(dir .. "/b.vhd", dir .. name):wait()
    assert.equal(name:sub(2), info.parent.name)
  end)

  it("may not be a backslash, since no drives are mapped", function()
    refuse_everywhere("E_INVALID_NAME", "BACKSLASH", dir .. "/a\\b.vhd")
    refuse_everywhere("E_INVALID_NAME", "BACKSLASH", "\\\\nas\\a.vhd")
    refuse_everywhere("E_INVALID_NAME", "BACKSLASH", "sub\\a.vhd")
  end)

  it("may be a backslash in a new name with names = 'host'", function()
    local path = dir .. "/a\\b.vhd"
    assert.equal(path, child(path, parent, { names = "host" }):wait().path)
  end)
end)

describe("a drive letter", function()
  it("is E_PATH_NOT_FOUND, since no drives are mapped", function()
    for _, path in ipairs{ "C:\\vms\\a.vhd", "c:/vms/a.vhd", "Z:a.vhd",
      "D:\\a*b.vhd", "C:" } do
      refuse_everywhere("E_PATH_NOT_FOUND", "NO_SUCH_DRIVE", path)
    end
  end)

  it("is a folder with names = 'host'", function()
    local info = child("C:/a.vhd", parent, { names = "host" }):wait()
    assert.equal(dir .. "/C:/a.vhd", info.path)
  end)

  it("is only one letter", function()
    refuse_everywhere("E_INVALID_NAME", "CHARACTER_FORBIDDEN", "CC:/a.vhd")
    refuse_everywhere("E_INVALID_NAME", "CHARACTER_FORBIDDEN", "1:/a.vhd")
  end)
end)

describe("a name that cannot be found again", function()
  local host = { names = "host" }

  it("is refused: a parent with a backslash", function()
    local from = handmade.dynamic(dir .. "/p\\q.vhd", 64 * MiB)
    expect.unchanged(dir, function()
      expect.both("E_INVALID_NAME", "NAME_UNFINDABLE", function(o)
        o.names = "host"
        return child(dir .. "/a.vhd", from, o)
      end)
    end)
  end)

  it("is refused: a backslash in a folder on the way", function()
    assert(test.mkdir(dir .. "/x\\y"))
    local from = handmade.dynamic(dir .. "/x\\y/p.vhd", 64 * MiB)
    expect.fails("E_INVALID_NAME", "NAME_UNFINDABLE", child,
      dir .. "/a.vhd", from, host)
  end)

  it("is refused: a folder that is no UTF-8, behind a link", function()
    assert(test.mkdir(dir .. "/\xFF"))
    handmade.dynamic(dir .. "/\xFF/p.vhd", 64 * MiB)
    assert(test.symlink("\xFF", dir .. "/link"))
    expect.fails("E_INVALID_NAME", "NAME_UNFINDABLE", child,
      dir .. "/a.vhd", dir .. "/link/p.vhd")
  end)

  it("is no matter where it is not on the way", function()
    assert(test.mkdir(dir .. "/x\\y"))
    local from = handmade.dynamic(dir .. "/x\\y/p.vhd", 64 * MiB)
    local info = child(dir .. "/x\\y/a.vhd", from, host):wait()
    assert.equal("p.vhd", info.parent.name)
  end)
end)

describe("an empty path", function()
  it("is E_BAD_PATHNAME, one of them or both", function()
    refuse_everywhere("E_BAD_PATHNAME", "PATH_EMPTY", "")
    expect.refused("E_BAD_PATHNAME", "PATH_EMPTY", child, "", "")
  end)

  it("is not cured by base", function()
    expect.refused("E_BAD_PATHNAME", "PATH_EMPTY", child, "", parent,
      { base = dir })
  end)
end)

describe("a relative path", function()
  it("is E_BAD_PATHNAME when no path of the call is absolute", function()
    expect.unchanged(dir, function()
      expect.refused("E_BAD_PATHNAME", "PATH_RELATIVE", child, "a.vhd",
        "parent.vhd")
      expect.refused("E_BAD_PATHNAME", "PATH_RELATIVE", child, "./a.vhd",
        "../parent.vhd")
      expect.refused("E_BAD_PATHNAME", "PATH_RELATIVE",
        engine.create_dynamic, engine, "a.vhd", 64 * MiB)
      expect.refused("E_BAD_PATHNAME", "PATH_RELATIVE",
        engine.create_fixed, engine, "sub/a.vhd", 64 * MiB)
    end)
  end)

  it("of the image starts from the parent's folder", function()
    local info = child("sub/a.vhd", parent):wait()
    assert.equal(dir .. "/sub/a.vhd", info.path)
    assert.equal(parent, info.parent.path)
  end)

  it("of the parent starts from the image's folder", function()
    assert(test.mkdir(dir .. "/sub"))
    local info = child(dir .. "/sub/a.vhd", "../parent.vhd"):wait()
    assert.equal(parent, info.parent.path)
    info = child(dir .. "/b.vhd", "parent.vhd"):wait()
    assert.equal(parent, info.parent.path)
  end)

  it("never starts from the current folder", function()
    assert.equal(0, (test.fork(function()
      assert(test.chdir(dir))
      local own = lvhd.engine{ threads = 1 }
      local _, err = pcall(own.create_dynamic, own, "a.vhd", 64 * MiB)
      return err.name == "E_BAD_PATHNAME" and 0 or 1
    end)))
  end)

  it("starts from base: the image, then the parent from there", function()
    assert(test.mkdir(dir .. "/sub"))
    local info = child("sub/a.vhd", "../parent.vhd", { base = dir }):wait()
    assert.equal(dir .. "/sub/a.vhd", info.path)
    assert.equal(parent, info.parent.path)
    info = engine:create_fixed("f.vhd", 3 * MiB, { base = dir }):wait()
    assert.equal(dir .. "/f.vhd", info.path)
  end)

  it("starts from the engine's base, unless the call has one", function()
    local other = support.tmpdir()
    local based <close> = lvhd.engine{ threads = 1, sync = "none",
      base = dir }
    assert.equal(dir .. "/a.vhd",
      based:create_dynamic("a.vhd", 64 * MiB):wait().path)
    assert.equal(other .. "/a.vhd", based:create_dynamic("a.vhd", 64 * MiB,
      { base = other }):wait().path)
  end)

  it("starts from base only where the documented rule finds nothing",
    function()
      local other = support.tmpdir()
      local info = child("a.vhd", parent, { base = other }):wait()
      assert.equal(dir .. "/a.vhd", info.path)
      assert.same({}, support.names(other))
    end)
end)

describe("a base", function()
  it("must be absolute", function()
    expect.fails("E_BAD_PATHNAME", "BASE_RELATIVE", lvhd.engine,
      { base = "vms" })
    expect.refused("E_BAD_PATHNAME", "BASE_RELATIVE", engine.create_dynamic,
      engine, "a.vhd", 64 * MiB, { base = "vms" })
  end)
end)

describe("an image path that names a folder", function()
  it("is E_INVALID_NAME", function()
    for _, tail in ipairs{ "/", "/.", "/..", "/a/", "/a/.", "/a/.." } do
      expect.unchanged(dir, function()
        expect.refused("E_INVALID_NAME", "NAME_IS_FOLDER", child,
          dir .. tail, parent)
        expect.refused("E_INVALID_NAME", "NAME_IS_FOLDER",
          engine.create_fixed, engine, dir .. tail, 64 * MiB)
      end)
    end
  end)
end)

-- A path under dir of exactly n bytes, in components that a folder can hold.
local function long_path(n, tail)
  local rest = n - #dir - #tail
  local parts = { dir }
  while rest > 0 do
    local part = math.min(rest - 1, 100)
    if rest - part - 1 == 1 then
      part = part - 1
    end
    parts[#parts + 1] = "/" .. ("d"):rep(part)
    rest = rest - part - 1
  end
  return table.concat(parts) .. tail
end

describe("the length of a path", function()
  it("may be 259 characters", function()
    local path = long_path(259, "/a.vhd")
    assert.equal(259, #path)
    assert.equal(path, child(path, parent):wait().path)
  end)

  it("may not be 260", function()
    local path = long_path(260, "/a.vhd")
    local err = refuse_everywhere("E_BUFFER_OVERFLOW", "PATH_TOO_LONG", path)
    assert.equal(259, err.expected)
    assert.equal(260, err.actual)
  end)

  it("counts UTF-16 units, not bytes", function()
    -- 50 times U+00E9: 100 bytes, 50 units.
    local wide = ("é"):rep(50)
    local path = long_path(259 + 50, "/" .. wide .. ".vhd")
    assert.equal(path, child(path, parent):wait().path)
    path = long_path(260 + 50, "/" .. wide .. ".vhd")
    expect.refused("E_BUFFER_OVERFLOW", "PATH_TOO_LONG", child, path, parent)
  end)

  it("counts two for a character outside the BMP", function()
    -- 40 times U+1F4BE: 160 bytes, 80 units, 40 characters.
    local disks = ("💾"):rep(40)
    local path = long_path(259 + 80, "/" .. disks .. ".vhd")
    assert.equal(path, child(path, parent):wait().path)
    path = long_path(260 + 80, "/" .. disks .. ".vhd")
    local err = expect.refused("E_BUFFER_OVERFLOW", "PATH_TOO_LONG", child,
      path, parent)
    assert.equal(260, err.actual)
  end)

  it("is that of the joined path", function()
    local tail = ("/a"):rep(130):sub(2) .. ".vhd"
    assert.is_true(#tail < 264)
    expect.refused("E_BUFFER_OVERFLOW", "PATH_TOO_LONG", child, tail, parent)
    expect.refused("E_BUFFER_OVERFLOW", "PATH_TOO_LONG", child,
      dir .. "/a.vhd", tail)
    expect.refused("E_BUFFER_OVERFLOW", "PATH_TOO_LONG",
      engine.create_dynamic, engine, tail, 64 * MiB, { base = dir })
  end)

  it("is unlimited by the documents with long_paths", function()
    local path = long_path(900, "/a.vhd")
    local info = child(path, parent, { long_paths = true }):wait()
    assert.equal(path, info.path)
    local eng <close> = lvhd.engine{ threads = 1, sync = "none",
      long_paths = true }
    path = long_path(900, "/b.vhd")
    assert.equal(path, eng:create_fixed(path, 3 * MiB):wait().path)
    -- the call wins over the engine
    expect.refused("E_BUFFER_OVERFLOW", "PATH_TOO_LONG", eng.create_fixed,
      eng, long_path(900, "/c.vhd"), 3 * MiB, { long_paths = false })
  end)

  it("has the host's limit with long_paths", function()
    local err = expect.refused("E_BUFFER_OVERFLOW", "PATH_TOO_LONG", child,
      long_path(4096, "/a.vhd"), parent, { long_paths = true })
    assert.equal(4095, err.expected)
    assert.equal(4096, err.actual)
  end)

  it("has the host's limit on one component", function()
    local long = dir .. "/" .. ("n"):rep(256)
    expect.unchanged(dir, function()
      expect.fails("E_BUFFER_OVERFLOW", nil, child, long, parent,
        { long_paths = true })
      expect.fails("E_BUFFER_OVERFLOW", nil, child, long .. "/a.vhd", parent,
        { long_paths = true })
      expect.fails("E_BUFFER_OVERFLOW", nil, child, dir .. "/a.vhd", long,
        { long_paths = true })
    end)
  end)
end)

describe("a way to the parent", function()
  -- A chain of folders whose names take n bytes, slashes included.
  local function deep(n, unit)
    local path = dir
    while n > 0 do
      path = path .. "/" .. (unit or "d"):rep(math.min(n, 80))
      n = n - 80
    end
    support.mkdir(path)
    return path
  end

  it("that does not fit its locator is E_BUFFER_OVERFLOW", function()
    local from = handmade.dynamic(deep(560) .. "/p.vhd", 64 * MiB)
    expect.unchanged(dir, function()
      local err = expect.both("E_BUFFER_OVERFLOW", "LOCATOR_TOO_LONG",
        function(o)
          o.long_paths = true
          return child(dir .. "/a.vhd", from, o)
        end)
      assert.equal(1022, err.expected)
      assert.is_true(err.actual > 1022)
    end)
  end)

  it("may be long where the way itself is short", function()
    local folder = deep(560)
    local from = handmade.dynamic(folder .. "/p.vhd", 64 * MiB)
    local info = child(folder .. "/a.vhd", from, { long_paths = true }):wait()
    assert.equal(from, info.parent.path)
  end)

  it("leaves out the locator whose text does not fit, and says so",
    function()
      -- 400 characters of three bytes: 800 bytes in UTF-16, 1200 in UTF-8.
      local from = handmade.dynamic(deep(400, "日") .. "/p.vhd", 64 * MiB)
      local info = child(dir .. "/a.vhd", from, { long_paths = true }):wait()
      assert.equal("LOCATOR_LEFT_OUT", info.findings[1].code)
      assert.equal(1, #info.parent.locators)
      assert.equal("W2ru", info.parent.locators[1].code)
      assert.same({}, child(dir .. "/b.vhd", parent):wait().findings)
    end)
end)

describe("a way over links", function()
  local golden

  -- What 7-Zip, which looks in one folder only, reads of a chain.
  local function read(path)
    return (support.run("7zz x -tvhd -so " .. support.q(path)
      .. " 2>/dev/null | sha256sum"))
  end

  -- The relative Windows path in the file, with or without its ".\".
  local function way(info)
    assert.equal("W2ru", info.parent.locators[1].code)
    return (info.parent.locators[1].path:gsub("^%.\\", ""))
  end

  -- A golden image with something in it, and links of other depths.
  before_each(function()
    if not support.has("qemu-img") or not support.has("7zz") then
      pending("qemu-img makes the parent and 7zz reads its children")
    end
    support.run("mkdir -p " .. dir .. "/real/deep " .. dir .. "/vms/one/two")
    golden = dir .. "/real/deep/golden.vhd"
    support.run("yes lvhd | head -c 4194304 >" .. dir .. "/raw"
      .. " && qemu-img convert -q -f raw -O vpc -o subformat=dynamic,"
      .. "force_size=on " .. dir .. "/raw " .. golden)
    assert(test.symlink("deep/golden.vhd", dir .. "/real/link.vhd"))
    assert(test.symlink(dir .. "/real/link.vhd", dir .. "/far.vhd"))
    assert(test.symlink(dir .. "/real/deep", dir .. "/near"))
    assert(test.symlink(dir .. "/vms/one/two", dir .. "/short"))
  end)

  it("to the parent: the locators name what is really there", function()
    local info = child(dir .. "/real/deep/a.vhd", dir .. "/far.vhd"):wait()
    assert.equal(golden, info.parent.path)
    assert.equal("golden.vhd", info.parent.name)
    assert.equal("golden.vhd", way(info))
    assert.equal(read(golden), read(info.path))
    info = child(dir .. "/vms/a.vhd", dir .. "/far.vhd"):wait()
    assert.equal("..\\real\\deep\\golden.vhd", way(info))
  end)

  it("to the image's folder: the way starts where it really is", function()
    local info = child(dir .. "/near/a.vhd", golden):wait()
    assert.equal(dir .. "/real/deep/a.vhd", info.path)
    assert.equal("golden.vhd", way(info))
    assert.equal(read(golden), read(dir .. "/near/a.vhd"))
    info = child(dir .. "/short/a.vhd", golden):wait()
    assert.equal(dir .. "/vms/one/two/a.vhd", info.path)
    assert.equal("..\\..\\..\\real\\deep\\golden.vhd", way(info))
  end)

  it("to folders that are yet to be made", function()
    local info = child(dir .. "/short/new/er/a.vhd", dir .. "/far.vhd"):wait()
    assert.equal(dir .. "/vms/one/two/new/er/a.vhd", info.path)
    assert.equal(("..\\"):rep(5) .. "real\\deep\\golden.vhd", way(info))
  end)

  it("takes '..' after a link as the kernel does", function()
    local info = child(dir .. "/short/../a.vhd", dir .. "/far.vhd"):wait()
    assert.equal(dir .. "/vms/one/a.vhd", info.path)
  end)

  it("measures the path as text, links not followed", function()
    support.run("mkdir -p " .. dir .. "/" .. ("l"):rep(200))
    assert(test.symlink(("l"):rep(200), dir .. "/l"))
    -- 9 characters too long once the link is followed
    local name = ("n"):rep(255 - #dir - 205) .. ".vhd"
    local path = dir .. "/l/" .. name
    assert.is_true(#path < 260)
    local info = child(path, parent):wait()
    assert.equal(dir .. "/" .. ("l"):rep(200) .. "/" .. name, info.path)
  end)

  it("in a circle is E_PATH_NOT_FOUND", function()
    assert(test.symlink("circle", dir .. "/circle"))
    expect.unchanged(dir, function()
      expect.both("E_PATH_NOT_FOUND", nil, function(o)
        return child(dir .. "/a.vhd", dir .. "/circle", o)
      end)
      expect.both("E_PATH_NOT_FOUND", nil, function(o)
        return child(dir .. "/circle/a.vhd", parent, o)
      end)
    end)
  end)
end)

-- ---- slashes and dots ---------------------------------------------------

describe("doubled slashes and dots", function()
  local ODD <const> = { "new/ab/a.vhd", "new//a.vhd", "new/x///y//a.vhd", "new/./x/a.vhd",
    "new/x/././y/./a.vhd", "/new/a.vhd" }

  it("in folders that are made say nothing", function()
    for _, odd in ipairs(ODD) do
      local plain = odd:gsub("/%./", "/"):gsub("/%./", "/"):gsub("^/", "")
        :gsub("/+", "/")
      local info = engine:create_dynamic(dir .. "/" .. odd, 3 * MiB):wait()
      assert.equal(dir .. "/" .. plain, info.path)
      support.run("rm -r " .. support.q(dir .. "/new"))
    end
  end)

  it("hinder nobody from taking these folders away again", function()
    local system = test.system()
    local own <close> = lvhd.engine{ threads = 1, system = system:pointer() }
    local before = support.names(dir)
    for _, odd in ipairs(ODD) do
      system:fail{ call = "fsync", errno = "EIO", kind = "folder" }
      local task = own:create_dynamic(dir .. "/" .. odd, 3 * MiB)
      expect.fails("DISP_E_EXCEPTION", nil, task.wait, task)
      system:drop()
      assert.same(before, support.names(dir))
    end
  end)

  it("lead to a parent that is relative to what does not exist yet", function()
    for i, way in ipairs{ "../parent.vhd", ".././parent.vhd",
      "./../parent.vhd", "..//parent.vhd", "../x/../parent.vhd" } do
      local image = ("%s/n%d/a.vhd"):format(dir, i)
      if way:find("x", 1, true) then
        assert(test.mkdir(dir .. "/x"))
      end
      local info = child(image, way):wait()
      assert.equal(parent, info.parent.path)
    end
    for _, wrong in ipairs{ "..", "ab", "ab/../../parent.vhd", "." } do
      local ok, err = pcall(child, dir .. "/n9/a.vhd", wrong)
      assert.is_false(ok)
      assert.is_true(lvhd.is_error(err))
      assert.is_nil(test.stat(dir .. "/n9"))
    end
  end)
end)
