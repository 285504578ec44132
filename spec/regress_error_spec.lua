-- SPDX-License-Identifier: MIT
--
-- Defects that were found and mended, on the side of arguments, errors and
-- results.  Each test failed before its mend.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local life = require "spec.support.life"
local test = require "lvhdtest"

local MiB <const> = 1 << 20
local KiB <const> = 1 << 10

local engine, dir

before_each(function()
  engine = lvhd.engine{ threads = 1, sync = "none" }
  dir = support.tmpdir()
end)

after_each(function()
  engine:close()
end)

local function fails(name, reason, size, opts, path)
  return expect.fails(name, reason, engine.create_dynamic, engine,
    path or dir .. "/a.vhd", size, opts)
end

describe("if_exists = keep onto a disk with a vast table", function()
  local path, system

  -- 2^32 - 1 entries, 16 GiB of them in a sparse file: the first 32 are
  -- those of the disk, three of which are in use; the others read as in use.
  before_each(function()
    path = dir .. "/a.vhd"
    local footer = handmade.footer{ type = 3, size = 64 * MiB }
    local file <close> = assert(io.open(path, "wb"))
    assert(file:write(footer, handmade.header{ entries = 0xFFFFFFFF },
      (">I4I4I4"):pack(3, 4099, 8195), ("\xFF"):rep(29 * 4)))
    if not file:seek("set", 1536 + (1 << 34))
      or not file:write(footer) or not file:flush() then
      pending("no files of 16 GiB here")
    end
    system = test.system()
    engine:close()
    engine = lvhd.engine{ threads = 1, sync = "none",
      system = system:pointer() }
  end)

  for _, preflight in ipairs { true, false } do
    it("reads the disk's own, preflight " .. tostring(preflight), function()
      local cpu, clock = os.clock(), test.clock()
      local ok, got = pcall(function()
        local task = engine:create_dynamic(path, 64 * MiB,
          { if_exists = "keep", preflight = preflight })
        local info = task:wait(20)
        if not info then
          task:cancel()
          error "took too long"
        end
        return info
      end)
      assert.is_true(os.clock() - cpu < 1.5)
      assert.is_true(test.clock() - clock < 10)
      local read = 0
      for _, entry in ipairs(system:log()) do
        read = read + (entry.call == "pread" and entry.length or 0)
      end
      assert.is_true(read < 64 * KiB, "bytes read: " .. read)
      if ok then
        assert.is_false(got.created)
        assert.equal(3, got.blocks_used)
      else
        assert.is_true(lvhd.is_error(got, "E_ALREADY_EXISTS"), tostring(got))
      end
    end)
  end
end)

describe("base", function()
  local spoilt = { "/a\0b", "/a\nb", "/a*b", "/a?b", "/a|b", "/a\"b", "/a<b" }

  local function is_control(base)
    return base:find("%c") ~= nil
  end

  it("with NUL or forbidden characters is E_INVALID_NAME", function()
    for _, base in ipairs(spoilt) do
      expect.refused("E_INVALID_NAME", nil, lvhd.engine, { base = base })
      expect.refused("E_INVALID_NAME", nil, engine.create_dynamic, engine,
        "a.vhd", 64 * MiB, { base = dir .. base })
    end
    assert.same({}, support.names(dir))
  end)

  it("may hold the characters with names = host, but no control characters",
    function()
      for _, base in ipairs(spoilt) do
        local whole = { base = dir .. base, names = "host", threads = 1 }
        if is_control(base) then
          expect.refused("E_INVALID_NAME", nil, lvhd.engine, whole)
          expect.refused("E_INVALID_NAME", nil, engine.create_dynamic,
            engine, "a.vhd", 64 * MiB, { base = dir .. base, names = "host" })
        else
          local own = lvhd.engine(whole)
          local info = assert(own:create_dynamic("a.vhd", 64 * MiB):wait(20))
          assert.equal(dir .. base .. "/a.vhd", info.path)
          own:close()
          info = assert(engine:create_dynamic("b.vhd", 64 * MiB,
            { base = dir .. base, names = "host" }):wait(20))
          assert.equal(dir .. base .. "/b.vhd", info.path)
        end
      end
      assert.is_nil(test.stat(dir .. "/a"))
    end)
end)

describe("progress", function()
  it("after success is all of it, one item of one", function()
    local parent = handmade.dynamic(dir .. "/parent.vhd", 64 * MiB)
    for name, task in pairs {
      sparse = engine:create_fixed(dir .. "/1", 4 * MiB),
      zero = engine:create_fixed(dir .. "/2", 4 * MiB, { allocate = "zero" }),
      dynamic = engine:create_dynamic(dir .. "/3", 64 * MiB),
      kept = engine:create_dynamic(parent, 64 * MiB, { if_exists = "keep" }),
      differencing = engine:create_differencing(dir .. "/4", parent) } do
      assert(task:wait(20))
      local percent, bytes, total, items, of = task:progress()
      assert.same({ 100, 1, 1 }, { percent, items, of }, name)
      assert(total == nil or bytes == total, name)
    end
  end)

  it("after a failure is no item", function()
    support.write(dir .. "/a.vhd", "")
    local task = engine:create_dynamic(dir .. "/a.vhd", 64 * MiB,
      { preflight = false })
    expect.fails("E_ALREADY_EXISTS", nil, task.wait, task, 20)
    local percent, _, _, items, of = task:progress()
    assert.is_true(percent < 100)
    assert.same({ 0, 1 }, { items, of })
  end)
end)

describe("tostring of an error", function()
  local function one_line(err, most)
    local text = tostring(err)
    assert.is_nil(text:find("[%c\127]"), ("%q"):format(text:sub(1, 200)))
    assert.is_true(#text < most, "length: " .. #text)
    assert.equal(text, "" .. err)
    return text
  end

  it("is one line whatever the paths hold", function()
    for _, name in ipairs { "a\nb.vhd", "a\27[2Jb.vhd", "a\127b", "a\tb\r" } do
      one_line(fails("E_INVALID_NAME", nil, 64 * MiB, nil,
        dir .. "/" .. name), 1000)
      one_line(expect.fails("E_INVALID_NAME", nil,
        engine.create_differencing, engine, dir .. "/a.vhd",
        dir .. "/" .. name), 1000)
      one_line(expect.fails("E_INVALID_NAME", nil, lvhd.engine,
        { base = "/" .. name }), 1000)
      local text = one_line(fails("E_INVALIDARG", "SIZE_MALFORMED",
        "4 " .. name), 1000)
      assert.is_truthy(text:find("cannot be read", 1, true))
    end
  end)

  it("has an end, whatever was given", function()
    local vast = ("9x"):rep(MiB // 2)
    one_line(fails("E_INVALIDARG", "SIZE_MALFORMED", vast), 6000)
    local _, err = pcall(engine.create_dynamic, engine, "/" .. vast, 64 * MiB)
    assert.is_true(lvhd.is_error(err, "E_BUFFER_OVERFLOW"))
    one_line(err, 6000)
    _, err = pcall(engine.create_dynamic, engine, "/\n" .. vast, 64 * MiB)
    one_line(err, 10000)
    _, err = pcall(engine.create_differencing, engine, dir .. "/a.vhd",
      "/" .. vast)
    assert.is_true(lvhd.is_error(err, "E_BUFFER_OVERFLOW"))
    one_line(err, 6000)
  end)
end)

describe("a size", function()
  it("that is no whole number is malformed", function()
    for _, size in ipairs { 1.5, 0.5, -math.huge, 0 / 0, 3e6 + 0.25 } do
      fails("E_INVALIDARG", "SIZE_MALFORMED", size)
    end
  end)

  it("beyond all integers is too large", function()
    for _, size in ipairs { math.huge, 1e300, 2.0 ^ 63,
      "99999999999999999999", "9999999999 TiB", ("9"):rep(400) } do
      local err = fails("VM_E_IMAGE_SIZE_TOO_LARGE", "SIZE_LIMIT", size)
      assert.is_nil(err.hint)
      assert.matches("^[^\n]+$", tostring(err))
    end
  end)

  it("that is small gets the hint, other errors do not", function()
    local err = fails("VM_E_IMAGE_SIZE_TOO_SMALL", "SIZE_LIMIT", 512)
    assert.equal('did you mean "512 MiB"?', err.hint)
    assert.equal('did you mean "40 MiB"?',
      fails("E_INVALIDARG", "SIZE_UNALIGNED", 40).hint)
    local path = dir .. "/" .. ("x"):rep(250 - #dir) .. "/"
      .. ("x"):rep(150)
    err = fails("E_BUFFER_OVERFLOW", nil, #path, nil, path)
    assert.equal(#path, err.actual)
    assert.is_nil(err.hint)
  end)
end)

describe("a method called on something else", function()
  local here = debug.getinfo(1, "S").short_src

  -- A plain string that begins with this file and the line of the call.
  local function wrong(fname, first, fn, ...)
    local err = expect.argument_error(fname, fn, ...)
    local file, line = err:match("^(.-):(%d+): calling '[%w_]+' on bad self ")
    assert.equal(here, file, err)
    local last = debug.getinfo(2, "l").currentline + 2 -- calls of 3 lines
    assert.is_true(tonumber(line) > first and tonumber(line) <= last, err)
  end

  it("says so, with the line: engines", function()
    local first = debug.getinfo(1, "l").currentline
    local e = engine
    wrong("create_dynamic", first, function() e.create_dynamic("x", 1) end)
    wrong("create_fixed", first, function() e.create_fixed("x", 1) end)
    wrong("create_fixed", first, function() e.create_fixed({}, "x", 1) end)
    wrong("create_differencing", first, function()
      e.create_differencing("x", "y")
    end)
    wrong("close", first, function() e.close() end)
    wrong("close", first, function() e.close(io.stdout) end)
    assert(e:create_dynamic(dir .. "/a.vhd", 64 * MiB):wait(20))
  end)

  it("says so, with the line: tasks", function()
    local first = debug.getinfo(1, "l").currentline
    local t = engine:create_dynamic(dir .. "/a.vhd", 64 * MiB)
    assert(t:wait(20))
    wrong("wait", first, function() t.wait() end)
    wrong("wait", first, function() t.wait(20) end)
    wrong("wait", first, function() t.wait(engine) end)
    wrong("cancel", first, function() t.cancel("x") end)
    for _, name in ipairs { "done", "status", "error", "progress",
      "elapsed", "fd", "cancel", "wait" } do
      wrong(name, first, function() t[name]() end)
      wrong(name, first, function() t[name](setmetatable({}, {})) end)
    end
    wrong("close", first, function() engine.close(t) end)
    assert.equal("succeeded", t:status())
  end)
end)

describe("E_POINTER", function()
  it("tells which argument is nil", function()
    local image = dir .. "/a.vhd"
    local size = fails("E_POINTER", nil, nil)
    assert.matches("size", size.message)
    assert.equal(image, size.path)
    assert.matches("size", expect.fails("E_POINTER", nil,
      engine.create_fixed, engine, image).message)
    for _, verb in ipairs { "create_fixed", "create_dynamic" } do
      assert.matches("image", expect.fails("E_POINTER", nil,
        engine[verb], engine, nil, 64 * MiB).message)
    end
    assert.matches("image", expect.fails("E_POINTER", nil,
      engine.create_differencing, engine, nil, image).message)
    assert.matches("parent", expect.fails("E_POINTER", nil,
      engine.create_differencing, engine, image, nil).message)
  end)
end)

describe("block_size", function()
  it("is told as it was given", function()
    local parents = { handmade.dynamic(dir .. "/dynamic.vhd", 64 * MiB),
      handmade.fixed(dir .. "/fixed.vhd", 64 * MiB) }
    for _, value in ipairs { 0, -1, 1 << 40, (1 << 32) + 2 * MiB, 1, 4 * MiB,
      math.mininteger } do
      for _, preflight in ipairs { true, false } do
        local opts = { block_size = value, preflight = preflight }
        local err = fails("E_INVALIDARG", "BLOCK_SIZE", 64 * MiB, opts)
        assert.equal(value, err.actual)
        assert.is_nil(err.hint)
        for _, parent in ipairs(parents) do
          err = expect.fails("E_INVALIDARG", "BLOCK_SIZE",
            engine.create_differencing, engine, dir .. "/a.vhd", parent, opts)
          assert.equal(value, err.actual)
        end
      end
    end
    assert.same({ "dynamic.vhd", "fixed.vhd" }, support.names(dir))
  end)
end)

describe("wait", function()
  it("for no number of seconds is an argument error", function()
    local task = engine:create_dynamic(dir .. "/a.vhd", 64 * MiB)
    assert.matches("^.-:%d+: bad argument #1 to 'wait'",
      expect.argument_error("nan", task.wait, task, 0 / 0))
    assert.is_truthy(task:wait(20))
    expect.argument_error("nan", task.wait, task, 0 / 0)
    assert.is_truthy(task:wait(math.huge))
    assert(life.disk(dir .. "/a.vhd"))
  end)
end)
