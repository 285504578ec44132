-- SPDX-License-Identifier: MIT
--
-- The options of engines and creators: what is unknown, misspelt or out of
-- range, and what each option does to the file.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local test = require "lvhdtest"

local MiB <const> = 1 << 20
local UUID <const> = "3f6c1e2a-1111-4222-8333-0123456789ab"

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

local verbs = {
  create_fixed = function(opts)
    return engine:create_fixed(image, 4 * MiB, opts)
  end,
  create_dynamic = function(opts)
    return engine:create_dynamic(image, 4 * MiB, opts)
  end,
  create_differencing = function(opts)
    return engine:create_differencing(image, parent, opts)
  end,
}

-- Every verb, with nothing changed in the folder.
local function each(fn)
  for name, create in pairs(verbs) do
    expect.unchanged(dir, function()
      fn(create, name)
    end)
  end
end

describe("an unknown option", function()
  local near = { uid = "uuid", time_stamp = "timestamp", Mode = "mode",
    snyc = "sync", if_exist = "if_exists", long_path = "long_paths",
    pre_flight = "preflight", name = "names" }
  for wrong, right in pairs(near) do
    it(("'%s' names the nearest, '%s'"):format(wrong, right), function()
      each(function(create)
        local err = expect.argument_error("'" .. wrong .. "'", create,
          { [wrong] = 1 })
        assert.is_truthy(err:find("'" .. right .. "'", 1, true), err)
      end)
    end)
  end

  it("of another verb is unknown", function()
    expect.argument_error("allocate", verbs.create_dynamic,
      { allocate = "zero" })
    expect.argument_error("allocate", verbs.create_differencing,
      { allocate = "zero" })
    expect.argument_error("block_size", verbs.create_fixed,
      { block_size = 2 * MiB })
  end)

  it("of other functions is unknown", function()
    for _, option in ipairs{ "drives", "parents", "children_in", "max_depth",
      "force", "round" } do
      each(function(create)
        expect.argument_error("'" .. option .. "'", create,
          { [option] = "fat32" })
      end)
    end
  end)

  it("of other creators is unknown", function()
    local own = lvhd.engine()
    for _, option in ipairs{ "filesystem", "label", "allocate" } do
      expect.argument_error("'" .. option .. "'", own.create_differencing,
        own, "/a.vhd", "/b.vhd", { [option] = "fat16" })
    end
    expect.argument_error("'windows_parent'", own.create_dynamic, own,
      "/a.vhd", "3MB", { windows_parent = "C:\\b.vhd" })
    expect.argument_error("'windows_parent'", own.create_fixed, own,
      "/a.vhd", "3MB", { windows_parent = "C:\\b.vhd" })
    expect.argument_error("'filesystem'", own.convert, own,
      "/a.vhd", "/b.vhd", { filesystem = "fat16" })
  end)

  it("may be any value that is no name", function()
    each(function(create)
      expect.argument_error("option", create, { "uuid" })
      expect.argument_error("option", create, { [true] = 1 })
      expect.argument_error("option", create, { [2.5] = 1 })
    end)
  end)

  it("of an engine names the nearest", function()
    for wrong, right in pairs{ thread = "threads", Sync = "sync",
      bases = "base" } do
      local err = expect.argument_error("'" .. wrong .. "'", lvhd.engine,
        { [wrong] = 1 })
      assert.is_truthy(err:find("'" .. right .. "'", 1, true), err)
    end
  end)
end)

describe("a wrong word", function()
  it("is an argument error that lists the words", function()
    each(function(create)
      for option, words in pairs{ sync = { "full", "data", "none" },
        names = { "windows", "host" }, if_exists = { "keep" } } do
        local err = expect.argument_error(option, create, { [option] = "x" })
        for _, word in ipairs(words) do
          assert.is_truthy(err:find(word, 1, true), err)
        end
      end
    end)
    expect.argument_error("allocate", verbs.create_fixed,
      { allocate = "lots" })
    expect.argument_error("sync", lvhd.engine, { sync = "FULL" })
    expect.argument_error("names", lvhd.engine, { names = "linux" })
  end)
end)

describe("an option of the wrong Lua type", function()
  it("is an argument error that names it", function()
    each(function(create)
      for option, value in pairs{ uuid = 5, timestamp = {}, mode = 416,
        sync = true, base = 5, long_paths = "yes", preflight = 1,
        names = {}, if_exists = true } do
        expect.argument_error(option, create, { [option] = value })
      end
    end)
    expect.argument_error("block_size", verbs.create_dynamic,
      { block_size = {} })
    expect.argument_error("threads", lvhd.engine, { threads = "many" })
    expect.argument_error("threads", lvhd.engine, { threads = 0 })
    expect.argument_error("poll", lvhd.engine, { poll = 5 })
  end)
end)

describe("uuid", function()
  it("is the identifier of the file", function()
    for _, create in pairs(verbs) do
      assert.equal(UUID, create{ uuid = UUID }:wait().uuid)
      local footer = support.read(image):sub(-512)
      assert.equal(UUID:gsub("-", ""), (footer:sub(69, 84)
        :gsub(".", function(c) return ("%02x"):format(c:byte()) end)))
      os.remove(image)
    end
  end)

  it("may be in capitals", function()
    assert.equal(UUID, verbs.create_dynamic{ uuid = UUID:upper() }:wait()
      .uuid)
  end)

  it("is E_INVALIDARG when malformed or nil", function()
    each(function(create)
      for _, text in ipairs{ "", "x", UUID .. "0", UUID:sub(1, -2),
        (UUID:gsub("-", "")), "{" .. UUID .. "}", (UUID:gsub("a", "g")),
        (UUID:gsub("%-", "_")), UUID:sub(1, -2) .. "\0",
        "00000000-0000-0000-0000-000000000000" } do
        local err = expect.refused("E_INVALIDARG", "UUID_MALFORMED", create,
          { uuid = text })
        assert.equal(text, err.actual)
        assert.matches(("%q"):format(text), err.message, 1, true)
      end
    end)
  end)

  it("of a child is not its parent's: E_INVALIDARG", function()
    local own <close> = lvhd.engine()
    local folder = support.tmpdir()
    local base = own:create_dynamic(folder .. "/p.vhd", "3MB"):wait()
    expect.fails("E_INVALIDARG", "UUID_OF_PARENT", own.create_differencing,
      own, folder .. "/c.vhd", base.path, { uuid = base.uuid })
    expect.fails("E_INVALIDARG", "UUID_OF_PARENT", own.create_differencing,
      own, folder .. "/c.vhd", base.path,
      { uuid = base.uuid, preflight = false })
    local ok, err = pcall(function()
      own:create_children({ { image = "d.vhd", uuid = base.uuid },
        "e.vhd" }, base.path):wait()
    end)
    assert.is_false(ok)
    assert.equal("UUID_OF_PARENT", err.items[1].reason)
    assert.equal(folder .. "/e.vhd", err.items[2].path)
    assert.same({ "e.vhd", "p.vhd" }, support.names(folder))
  end)

  it("is a new version 4 identifier when absent", function()
    local seen = {}
    for _ = 1, 20 do
      local uuid = verbs.create_dynamic{}:wait().uuid
      assert.is_truthy(uuid:match(
        "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x+$"), uuid)
      assert.is_nil(seen[uuid])
      seen[uuid] = true
      os.remove(image)
    end
  end)
end)

describe("timestamp", function()
  it("is the footer's and the file's time", function()
    for _, create in pairs(verbs) do
      for _, when in ipairs{ 946684800, 946684801, 1700000000,
        5241652095 } do
        local info = create{ timestamp = when }:wait()
        assert.equal(when, info.timestamp)
        local mtime = test.stat(image).mtime
        if mtime // 1000000000 == when then
          assert.equal(when * 1000000000, mtime)
        else
          -- a volume whose times end before the format's
          assert.is_true(when > 1 << 31)
        end
        assert.equal(when - 946684800,
          (">I4"):unpack(support.read(image):sub(-512), 25))
        os.remove(image)
      end
    end
  end)

  it("is E_INVALIDARG before 2000 and past 2136", function()
    each(function(create)
      for _, when in ipairs{ 946684799, 0, -1, 5241652096, 1 << 40,
        math.maxinteger, math.mininteger } do
        expect.refused("E_INVALIDARG", "TIMESTAMP_RANGE", create,
          { timestamp = when })
      end
    end)
  end)

  it("is now when absent", function()
    local before = os.time() -- of a clock that lags by a tick of the kernel
    local info = verbs.create_dynamic{}:wait()
    assert.is_true(info.timestamp >= before
      and info.timestamp <= os.time() + 1)
  end)

  it("is the clock of the engine", function()
    local system = test.system()
    system:set("now", 1234567890)
    local own <close> = lvhd.engine{ threads = 1, sync = "none",
      system = system:pointer() }
    assert.equal(1234567890,
      own:create_dynamic(image, 4 * MiB):wait().timestamp)
  end)
end)

describe("uuid and timestamp", function()
  it("give identical bytes in every run", function()
    local opts = { uuid = UUID, timestamp = 1700000000 }
    for _, create in pairs(verbs) do
      create(opts):wait()
      local first = support.read(image)
      os.remove(image)
      create(opts):wait()
      assert.is_true(first == support.read(image))
      os.remove(image)
    end
  end)
end)

describe("mode", function()
  it("is the file's, whatever the umask", function()
    local old = test.umask(63)
    for _, create in pairs(verbs) do
      for text, mode in pairs{ ["0640"] = 416, ["640"] = 416,
        ["0600"] = 384, ["0444"] = 292, ["0666"] = 438 } do
        create{ mode = text }:wait()
        assert.equal(mode, test.stat(image).mode)
        os.remove(image)
      end
    end
    test.umask(old)
  end)

  it("is 0666 less the umask when absent", function()
    local old = test.umask(23)
    verbs.create_dynamic{}:wait()
    test.umask(old)
    assert.equal(416, test.stat(image).mode)
  end)

  it("is E_INVALIDARG when not octal", function()
    each(function(create)
      for _, text in ipairs{ "", "8", "0o640", "rw-r-----", "-1", "77777",
        "10000", " 640", "0640 ", "0x1ff", "6.4" } do
        local err = expect.refused("E_INVALIDARG", "MODE_MALFORMED", create,
          { mode = text })
        assert.equal(text, err.actual)
      end
    end)
  end)
end)

describe("block_size", function()
  it("is 2 MiB, or 512 KiB on request", function()
    local info = engine:create_dynamic(image, 64 * MiB):wait()
    assert.equal(2 * MiB, info.block_size)
    assert.equal(32, info.blocks)
    os.remove(image)
    info = engine:create_dynamic(image, 64 * MiB,
      { block_size = 512 << 10 }):wait()
    assert.equal(512 << 10, info.block_size)
    assert.equal(128, info.blocks)
  end)

  it("is nothing else: E_INVALIDARG", function()
    for _, size in ipairs{ -1, 512, 1 << 20, 4 << 20, (2 << 20) + 1,
      1 << 32, (1 << 32) + (2 << 20), math.maxinteger } do
      expect.unchanged(dir, function()
        expect.refused("E_INVALIDARG", "BLOCK_SIZE", verbs.create_dynamic,
          { block_size = size })
      end)
    end
  end)

  it("of a child is its parent's, or E_INVALIDARG", function()
    local small = handmade.dynamic(dir .. "/small.vhd", 64 * MiB,
      { header = { block_size = 512 << 10 } })
    expect.unchanged(dir, function()
      local err = expect.both("E_INVALIDARG", "BLOCK_SIZE", function(opts)
        opts.block_size = 2 * MiB
        return engine:create_differencing(image, small, opts)
      end)
      assert.equal(512 << 10, err.expected)
      assert.equal(2 * MiB, err.actual)
      expect.both("E_INVALIDARG", "BLOCK_SIZE", function(opts)
        opts.block_size = 512 << 10
        return engine:create_differencing(image, parent, opts)
      end)
    end)
    local info = engine:create_differencing(image, small,
      { block_size = 512 << 10 }):wait()
    assert.equal(512 << 10, info.block_size)
  end)

  it("of a fixed disk's child is free", function()
    local root = handmade.fixed(dir .. "/f.vhd", 64 * MiB)
    assert.equal(512 << 10, engine:create_differencing(image, root,
      { block_size = 512 << 10 }):wait().block_size)
  end)

  it("of 512 KiB cannot reach the end of the largest disk", function()
    -- 4 KiB of bitmap and gap do not count: tight blocks fit, so it may
    -- succeed; what may not be is a file that cannot grow to its end.
    local ok, err = expect.try(engine.create_dynamic, engine, image,
      2088959 * MiB, { block_size = 512 << 10 })
    assert.is_true(ok or err.reason == "BAT_REACH", tostring(err))
  end)
end)

describe("allocate", function()
  local size <const> = 16 * MiB

  local function blocks(how)
    local info = engine:create_fixed(image, size, { allocate = how }):wait()
    local st = test.stat(image)
    assert.equal(size + 512, st.size)
    assert.equal(size + 512, info.file_size)
    local bytes = support.read(image)
    assert.is_truthy(bytes:sub(1, size) == ("\0"):rep(size))
    os.remove(image)
    return st.blocks * 512
  end

  it("is a hole by itself, or 'sparse'", function()
    assert.is_true(blocks(nil) < MiB)
    assert.is_true(blocks("sparse") < MiB)
  end)

  it("'zero' writes every byte", function()
    assert.is_true(blocks("zero") >= size)
  end)

  it("'reserve' takes the space", function()
    assert.is_true(blocks("reserve") >= size)
  end)

  it("'reserve' is E_NOTIMPL where the volume cannot", function()
    local system = test.system()
    local own <close> = lvhd.engine{ threads = 1,
      system = system:pointer() }
    system:fail{ call = "fallocate", errno = "EOPNOTSUPP" }
    expect.unchanged(dir, function()
      expect.late("E_NOTIMPL", "NO_RESERVE", own.create_fixed, own, image,
        size, { allocate = "reserve" })
    end)
  end)
end)

describe("if_exists = 'keep'", function()
  local keep = { if_exists = "keep" }

  local function kept(create, ...)
    local info
    for _, preflight in ipairs{ true, false } do
      local before = expect.tree(dir)
      local args = table.pack(...)
      args[args.n + 1] = { if_exists = "keep", preflight = preflight }
      info = create(engine, table.unpack(args, 1, args.n + 1)):wait()
      assert.is_false(info.created)
      assert.equal(before, expect.tree(dir))
    end
    return info
  end

  local function other(create, ...)
    local args = table.pack(...)
    expect.unchanged(dir, function()
      for _, preflight in ipairs{ true, false } do
        args[args.n + 1] = { if_exists = "keep", preflight = preflight }
        expect.fails("E_ALREADY_EXISTS", "OTHER_DISK", create, engine,
          table.unpack(args, 1, args.n + 1))
      end
    end)
  end

  it("creates what is not there", function()
    for _, create in pairs(verbs) do
      assert.is_true(create(keep):wait().created)
      os.remove(image)
      assert.is_true(create():wait().created)
      os.remove(image)
    end
  end)

  it("keeps a disk of this type and size", function()
    local made = engine:create_fixed(image, 4 * MiB):wait()
    local info = kept(engine.create_fixed, image, 4 * MiB)
    assert.equal(made.uuid, info.uuid)
    assert.equal(made.timestamp, info.timestamp)
    assert.equal("fixed", info.type)
    os.remove(image)
    made = engine:create_dynamic(image, 4 * MiB):wait()
    info = kept(engine.create_dynamic, image, 4 * MiB)
    assert.equal(made.uuid, info.uuid)
    assert.equal(made.block_size, info.block_size)
    assert.equal(made.blocks, info.blocks)
  end)

  it("keeps a child of this parent", function()
    local made = engine:create_differencing(image, parent):wait()
    local info = kept(engine.create_differencing, image, parent)
    assert.equal(made.uuid, info.uuid)
    assert.equal(parent, info.parent.path)
    assert.equal(made.parent.uuid, info.parent.uuid)
  end)

  it("refuses a disk of another size or type", function()
    engine:create_dynamic(image, 4 * MiB):wait()
    other(engine.create_dynamic, image, 4 * MiB + 512)
    other(engine.create_fixed, image, 4 * MiB)
    other(engine.create_differencing, image, parent)
  end)

  it("refuses a child of another parent", function()
    local second = handmade.dynamic(dir .. "/second.vhd", 64 * MiB,
      { uuid = "ffeeddccbbaa99887766554433221100" })
    engine:create_differencing(image, parent):wait()
    other(engine.create_differencing, image, second)
    other(engine.create_dynamic, image, 64 * MiB)
  end)

  it("refuses what is no VHD, a folder, a link that dangles", function()
    support.write(image, "mine")
    other(engine.create_dynamic, image, 4 * MiB)
    os.remove(image)
    assert(test.mkdir(image))
    other(engine.create_dynamic, image, 4 * MiB)
    os.remove(image)
    assert(test.symlink("nowhere", image))
    other(engine.create_dynamic, image, 4 * MiB)
    os.remove(image)
    assert(test.mkfifo(image))
    other(engine.create_dynamic, image, 4 * MiB)
  end)

  it("still wants a good parent and good strings", function()
    engine:create_differencing(image, parent):wait()
    os.remove(parent)
    expect.fails("E_PATH_NOT_FOUND", "FILE_MISSING",
      engine.create_differencing, engine, image, parent, keep)
    expect.refused("E_INVALIDARG", nil, engine.create_dynamic, engine,
      image, 0, keep)
  end)

  it("keeps the winner's disk when another comes between", function()
    local system = test.system()
    local own <close> = lvhd.engine{ threads = 1, sync = "none",
      system = system:pointer() }
    system:hold{ call = "linkat" } -- the one or the other gives the name
    system:hold{ call = "renameat2" }
    local task = own:create_dynamic(image, 4 * MiB, keep)
    assert.is_true(system:await(1))
    local winner = engine:create_dynamic(image, 4 * MiB):wait()
    system:drop()
    local info = task:wait()
    assert.is_false(info.created)
    assert.equal(winner.uuid, info.uuid)
    assert.same({ "a.vhd", "parent.vhd" }, support.names(dir))
  end)
end)
