-- SPDX-License-Identifier: MIT
--
-- Open disks from Lua (design 1.7): what read and extents give at any place,
-- what info and chain say, which arguments are wrong, and the life of a disk
-- beside its engine and its state.  That the bytes of every writer's disks
-- are right is shown elsewhere.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local life = require "spec.support.life"
local vhdread = require "spec.support.vhdread"
local test = require "lvhdtest"

local q, run = support.q, support.run
local MiB <const> = 1 << 20
local SIZE <const> = 12 * MiB -- three pieces

-- A sector that no other is like.
local function sector(n)
  return (("%08d."):format(n)):rep(57):sub(1, 512)
end

-- root.vhd <- child.vhd <- leaf.vhd, each with sectors of its own.
local function make_chain(dir)
  local paths = { dir .. "/leaf.vhd", dir .. "/child.vhd", dir .. "/root.vhd" }
  lvhd.create_dynamic(paths[3], SIZE, { timestamp = 1600000000 }):wait()
  for _, n in ipairs{ 0, 1, 7, 8, 4095, 4096, 8191, 8192, 24575 } do
    vhdread.put_sector(paths[3], n, sector(n))
  end
  test.utime(paths[3], 1600000000)
  lvhd.create_differencing(paths[2], paths[3],
    { timestamp = 1600000010 }):wait()
  for _, n in ipairs{ 1, 9, 4096, 12288 } do
    vhdread.put_sector(paths[2], n, sector(100000 + n))
  end
  test.utime(paths[2], 1600000010)
  lvhd.create_differencing(paths[1], paths[2]):wait()
  for _, n in ipairs{ 7, 9, 20000 } do
    vhdread.put_sector(paths[1], n, sector(200000 + n))
  end
  return paths
end

local dir, paths

before_each(function()
  dir = support.tmpdir()
  paths = make_chain(dir)
end)

describe("disk:read", function()
  local disk, all

  before_each(function()
    disk = lvhd.open(paths[1])
    all = vhdread.content(paths, 0, SIZE)
  end)
  after_each(function()
    disk:close()
  end)

  it("gives the whole disk in one call and in pieces of any size", function()
    assert.is_true(all == disk:read(0, SIZE))
    for _, piece in ipairs{ 65536, 511 * 37, 4 * MiB + 1, 5 * MiB } do
      local parts, at = {}, 0
      while true do
        local bytes = disk:read(at, piece)
        if not bytes then
          break
        end
        at = at + #bytes
        parts[#parts + 1] = bytes
      end
      assert.equal(SIZE, at)
      assert.is_true(all == table.concat(parts), piece)
    end
  end)

  it("gives any bytes at any place", function()
    for _, case in ipairs{ { 0, 1 }, { 511, 2 }, { 1, 511 }, { 700, 5000 },
      { 4096 * 512 - 3, 7 }, { 2 * MiB - 1, 2 }, { 4 * MiB - 1, 4 * MiB + 2 },
      { SIZE - 1, 1 }, { 9 * 512 + 17, 100 }, { 20000 * 512 - 5, 600 } } do
      local offset, length = case[1], case[2]
      assert.is_true(all:sub(offset + 1, offset + length)
        == disk:read(offset, length), offset .. "+" .. length)
    end
  end)

  it("gives at the end what is there, then nil", function()
    assert.is_true(all:sub(-10) == disk:read(SIZE - 10, 11))
    assert.is_true(all:sub(-10) == disk:read(SIZE - 10, 1 << 30))
    assert.is_true(all:sub(-5 * MiB) == disk:read(SIZE - 5 * MiB, 6 * MiB))
    assert.is_nil(disk:read(SIZE, 1))
    assert.is_nil(disk:read(SIZE + 1, 1))
    assert.is_nil(disk:read(math.maxinteger, 1 << 30))
  end)

  it("of no bytes is empty inside, and nil at the end", function()
    assert.equal("", disk:read(0, 0))
    assert.equal("", disk:read(SIZE - 1, 0))
    assert.is_nil(disk:read(SIZE, 0))
  end)

  it("takes integral floats", function()
    assert.is_true(all:sub(513, 1024) == disk:read(512.0, 512.0))
  end)

  it("refuses wrong arguments, naming the value", function()
    for _, case in ipairs{ { -1, 1, "-1" }, { 0, -1, "-1" },
      { 1.5, 1, "1.5" }, { 0, 2.5, "2.5" }, { "0", 1, "string" },
      { 0, nil, "nil" }, { nil, 1, "nil" }, { 0, {}, "table" },
      { 0 / 0, 1, "nan" }, { math.huge, 1, "inf" },
      { math.mininteger, 1, tostring(math.mininteger) },
      { 0, (1 << 30) + 1, tostring((1 << 30) + 1) },
      { 0, math.maxinteger, tostring(math.maxinteger) } } do
      expect.argument_error(case[3], disk.read, disk, case[1], case[2])
    end
    expect.argument_error("self", disk.read, paths[1], 0, 1)
    expect.argument_error("self", disk.read, io.stdout, 0, 1)
  end)

  it("allows 1 GiB exactly", function()
    assert.equal(SIZE, #disk:read(0, 1 << 30))
  end)

  it("keeps no more memory than a piece", function()
    disk:read(0, 4 * MiB)
    collectgarbage()
    collectgarbage()
    local before = collectgarbage("count")
    for _ = 1, 10 do
      disk:read(0, 4 * MiB)
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(collectgarbage("count") - before < 64)
    disk:close()
    collectgarbage()
    collectgarbage()
    assert.is_true(before - collectgarbage("count") > 4000)
  end)
end)

describe("disk:extents", function()
  local disk

  local function list(...)
    local runs = {}
    for offset, length, layer in disk:extents(...) do
      runs[#runs + 1] = ("%d+%d:%d"):format(offset, length, layer)
    end
    return table.concat(runs, " ")
  end

  -- What make_chain has written, by sector; nobody else has.
  local LAYER = { [0] = 3, [1] = 2, [7] = 1, [8] = 3, [9] = 1, [4095] = 3,
    [4096] = 2, [8191] = 3, [8192] = 3, [12288] = 2, [20000] = 1,
    [24575] = 3 }

  before_each(function()
    disk = lvhd.open(paths[1])
  end)
  after_each(function()
    disk:close()
  end)

  it("covers the disk once, in order, merged, exact to the sector", function()
    local at, last = 0, nil
    for offset, length, layer in disk:extents() do
      assert.equal(at, offset)
      assert.is_true(length > 0 and length % 512 == 0)
      assert.not_equal(last, layer)
      for n = offset // 512, (offset + length) // 512 - 1 do
        if (LAYER[n] or 0) ~= layer then
          assert.equal(LAYER[n] or 0, layer, "sector " .. n)
        end
      end
      at, last = offset + length, layer
    end
    assert.equal(SIZE, at)
  end)

  it("of a part are cut at its ends", function()
    -- sectors 6: none, 7: leaf, 8: root, 9: leaf, 10: none
    assert.equal("3072+512:0 3584+512:1 4096+512:3 4608+512:1 5120+512:0",
      list(6 * 512, 5 * 512))
    assert.equal("3584+512:1 4096+1:3", list(7 * 512, 513))
    assert.equal("3590+506:1 4096+4:3", list(3590, 510))
    assert.equal("3590+3:1", list(3590, 3))
    assert.equal("", list(3590, 0))
    assert.equal(("%d+1:3"):format(SIZE - 1), list(SIZE - 1))
    assert.equal(("%d+1:3"):format(SIZE - 1), list(SIZE - 1, 1 << 40))
    assert.equal("", list(SIZE))
    assert.equal("", list(math.maxinteger, math.maxinteger))
    assert.equal("0+512:3", list(0, 512))
    assert.equal("0+512:3 512+1:2", list(nil, 513))
  end)

  it("refuses wrong arguments, naming the value", function()
    expect.argument_error("-1", disk.extents, disk, -1)
    expect.argument_error("-1", disk.extents, disk, 0, -1)
    expect.argument_error("0.5", disk.extents, disk, 0.5)
    expect.argument_error("string", disk.extents, disk, "0")
  end)

  it("of an empty chain of 2,040 GiB are one run, at once", function()
    local big, size = {}, 2040 << 30
    big[1] = handmade.dynamic(dir .. "/big0.vhd", size)
    for i = 2, 4 do
      big[i] = ("%s/big%d.vhd"):format(dir, i - 1)
      lvhd.create_differencing(big[i], big[i - 1]):wait()
    end
    local own <close> = lvhd.open(big[4])
    local began = test.clock()
    local runs = 0
    for offset, length, layer in own:extents() do
      runs = runs + 1
      assert.same({ 0, size, 0 }, { offset, length, layer })
    end
    assert.equal(1, runs)
    assert.is_true(test.clock() - began < 5)
  end)

  it("stop with a clear error when the disk is closed meanwhile", function()
    local next_run = disk:extents()
    next_run()
    disk:close()
    expect.refused("E_HANDLE", nil, next_run)
  end)
end)

describe("disk:info and disk:chain", function()
  it("say what chain says", function()
    local disk <close> = lvhd.open(paths[1])
    local of_path, of_disk = lvhd.chain(paths[1]), disk:chain()
    assert.equal(3, #of_disk)
    for i = 1, 3 do
      assert.equal(paths[i], of_disk[i].path)
      of_path[i].free, of_disk[i].free = nil, nil
    end
    assert.same(of_path, of_disk)
    local leaf = disk:info()
    leaf.free = nil
    assert.same(of_disk[1], leaf)
    assert.equal(SIZE, disk:size())
    assert.equal(SIZE, leaf.size)
  end)

  it("tell how each parent was found", function()
    local chain = lvhd.chain(paths[1])
    for i = 1, 2 do
      assert.equal(paths[i + 1], chain[i].parent.path)
      assert.equal("locator", chain[i].parent.found)
      assert.equal("W2ru", chain[i].parent.found_by)
    end
    assert.is_nil(chain[3].parent)
    assert.is_nil(chain[3].error)
    local disk <close> = lvhd.open(paths)
    chain = disk:chain()
    assert.equal("given", chain[1].parent.found)
    assert.is_nil(chain[1].parent.found_by)
    assert.equal("given", chain[2].parent.found)
  end)

  it("carry all that the file says", function()
    local info = lvhd.info(paths[1])
    local read = vhdread.open(paths[1])
    assert.equal(read.footer.original_size, info.original_size)
    assert.equal(read.footer.creator_os, info.creator_os)
    assert.equal(read.footer.creator_version, info.creator_version)
    assert.same({ cylinders = read.footer.cylinders,
      heads = read.footer.heads, sectors = read.footer.sectors },
      info.geometry)
    assert.equal("end", info.footer)
    assert.is_false(info.saved_state)
    assert.is_false(info.hidden)
    assert.is_false(info.created)
    assert.equal(test.stat(paths[1]).mtime // 1000000000, info.mtime)
    assert.equal(2, info.blocks_used)
    assert.is_nil(info.parent.path)
    assert.is_nil(info.parent.found)
    assert.equal("child.vhd", info.parent.name)
    for i, locator in ipairs(info.parent.locators) do
      local own = read.header.locators[i]
      assert.equal(own.code, locator.code)
      assert.equal(own.offset, locator.offset)
      assert.equal(own.space, locator.space)
      assert.equal(own.length, locator.length)
      assert.equal(own.length, #locator.raw)
    end
    assert.equal(2, #info.parent.locators)
  end)

  it("of a creation say what info says", function()
    for _, create in ipairs{
      function(path) return lvhd.create_fixed(path, 4 * MiB) end,
      function(path) return lvhd.create_dynamic(path, 4 * MiB) end,
      function(path) return lvhd.create_differencing(path, paths[3],
        { timestamp = 1500000000 }) end,
    } do
      local made = create(dir .. "/new.vhd"):wait()
      local read = lvhd.info(dir .. "/new.vhd")
      assert.is_true(made.created)
      made.created, made.free, read.free = false, nil, nil
      if made.parent then
        made.parent.path = nil
      end
      assert.same(read, made)
      os.remove(dir .. "/new.vhd")
    end
  end)

  it("of a fixed disk have no blocks", function()
    lvhd.create_fixed(dir .. "/f.vhd", 4 * MiB):wait()
    local info = lvhd.info(dir .. "/f.vhd")
    assert.is_nil(info.block_size)
    assert.is_nil(info.blocks)
    assert.is_nil(info.alignment)
    assert.is_nil(info.parent)
    local disk <close> = lvhd.open(dir .. "/f.vhd")
    assert.equal(("\0"):rep(4096), disk:read(4 * MiB - 4096, 5000))
  end)
end)

describe("lvhd.open", function()
  it("takes a path, or the chain in the caller's hand", function()
    run(("mkdir %s && mv %s %s"):format(q(dir .. "/away"), q(paths[3]),
      q(dir .. "/away/other.vhd")))
    expect.refused("VM_E_PARENT_PATH_NOT_FOUND", nil, lvhd.open, paths[1])
    local disk <close> = lvhd.open{ paths[1], paths[2],
      dir .. "/away/other.vhd" }
    assert.is_true(vhdread.content({ paths[1], paths[2],
      dir .. "/away/other.vhd" }, 0, 8 * MiB) == disk:read(0, 8 * MiB))
  end)

  it("refuses what it cannot take", function()
    expect.refused("E_POINTER", "PATH_NIL", lvhd.open)
    expect.refused("E_POINTER", "PATH_NIL", lvhd.open, {})
    for _, value in ipairs{ 5, true, print, io.stdout } do
      expect.argument_error("#1", lvhd.open, value)
      expect.argument_error("#1", lvhd.open, { value })
    end
    expect.argument_error("[2]", lvhd.open, { paths[1], 5 })
    expect.argument_error("#1", lvhd.open, { path = paths[1] })
    local err = expect.refused("E_INVALID_NAME", "CHARACTER_FORBIDDEN",
      lvhd.open, paths[1] .. "\0x")
    assert.equal(#paths[1], err.offset)
    expect.argument_error("'parents'", lvhd.open, paths[1], { parent = {} })
    expect.argument_error("max_depth", lvhd.open, paths[1],
      { max_depth = 0 })
    expect.argument_error("parents", lvhd.open, paths[1], { parents = 1 })
    expect.argument_error("#2", lvhd.open, paths[1], "w")
    err = expect.refused("E_PATH_NOT_FOUND", "FILE_MISSING", lvhd.open,
      dir .. "/none.vhd")
    assert.equal("open", err.op)
    assert.equal(dir .. "/none.vhd", err.path)
  end)

  it("bounds the depth, by call and by engine", function()
    local err = expect.refused("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_TOO_DEEP",
      lvhd.open, paths[1], { max_depth = 2 })
    assert.equal(2, err.expected)
    assert.equal(3, err.layer)
    local engine <close> = lvhd.engine{ max_depth = 2 }
    expect.refused("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_TOO_DEEP", engine.open,
      engine, paths[1])
    engine:open(paths[1], { max_depth = 3 }):close()
    assert.equal("CHAIN_TOO_DEEP", engine:chain(paths[1])[2].error.reason)
    assert.is_nil(engine:chain(paths[1], { max_depth = 3 })[3].error)
  end)

  it("allows what parents name, by call and by engine, and hints", function()
    local golden = dir .. "/gol\"den"
    run("mkdir " .. q(golden) .. " " .. q(dir .. "/vms"))
    lvhd.create_dynamic(dir .. "/base.vhd", 4 * MiB):wait()
    os.rename(dir .. "/base.vhd", golden .. "/base.vhd")
    local child = dir .. "/vms/c.vhd"
    lvhd.create_differencing(child, golden .. "/base.vhd",
      { names = "host" }):wait()
    local err = expect.refused("E_ACCESSDENIED", "PARENT_OUTSIDE", lvhd.open,
      child)
    assert.equal(golden .. "/base.vhd", err.parent)
    -- what the hint says is Lua, and cures
    local opts = assert(load("return {"
      .. err.hint:match("^allow it with (parents = .*)$") .. "}"))()
    assert.same({ golden }, opts.parents)
    lvhd.open(child, opts):close()
    lvhd.open(child, { parents = golden .. "/base.vhd" }):close()
    local engine <close> = lvhd.engine{ parents = { dir } }
    engine:open(child):close()
    expect.refused("E_ACCESSDENIED", "PARENT_OUTSIDE", engine.open, engine,
      child, { parents = {} })
    local chain = lvhd.chain(child)
    assert.equal(1, #chain)
    assert.is_true(lvhd.is_error(chain[1].error, "E_ACCESSDENIED"))
    assert.equal(err.hint, chain[1].error.hint)
    assert.truthy(tostring(chain[1].error):find("allow it with", 1, true))
  end)

  it("tells another disk by both identifiers", function()
    local other = dir .. "/o/root.vhd"
    lvhd.create_dynamic(other, SIZE):wait()
    local err = expect.refused("VM_E_PARENT_CHILD_ID_MISMATCH", "PARENT_ID",
      lvhd.open, { paths[1], paths[2], other })
    assert.equal(lvhd.info(paths[3]).uuid, err.expected)
    assert.equal(lvhd.info(other).uuid, err.actual)
    assert.equal(3, err.layer)
    assert.equal(paths[2], err.path)
    assert.equal(other, err.parent)
    local text = tostring(err)
    assert.truthy(text:find(err.expected, 1, true), text)
    assert.truthy(text:find(err.actual, 1, true), text)
  end)

  it("leaves no descriptor when it fails half way", function()
    for n = 1, 12 do
      local system = test.system()
      local engine <close> = lvhd.engine{ system = system:pointer() }
      system:fail{ call = "any", nth = n, errno = "EIO" }
      local ok, disk = pcall(engine.open, engine, paths[1])
      if ok then
        disk:close()
      end
    end -- helper.lua counts
  end)

  it("without descriptors is VM_E_OUT_OF_RESOURCE", function()
    local system = test.system()
    local engine <close> = lvhd.engine{ system = system:pointer() }
    for _, call in ipairs{ "openat", "openat2" } do
      system:fail{ call = call, errno = "EMFILE", times = 0 }
    end
    expect.refused("VM_E_OUT_OF_RESOURCE", nil, engine.open, engine, paths[1])
    expect.refused("VM_E_OUT_OF_RESOURCE", nil, engine.info, engine, paths[1])
    expect.refused("VM_E_OUT_OF_RESOURCE", nil, engine.chain, engine,
      paths[1])
  end)

  it("tells which call failed while reading", function()
    local system = test.system()
    local engine <close> = lvhd.engine{ system = system:pointer() }
    local disk <close> = engine:open(paths[1])
    disk:read(0, 512)
    system:fail{ call = "pread", errno = "EIO" }
    local err = expect.refused("DISP_E_EXCEPTION", nil, disk.read, disk, 0,
      MiB)
    assert.equal("read", err.op)
    assert.equal("EIO", err.errname)
    assert.equal("pread", err.syscall)
    system:drop()
    assert.equal(MiB, #disk:read(0, MiB))
  end)
end)

describe("a closed disk", function()
  it("raises E_HANDLE from all but close and tostring", function()
    local disk = lvhd.open(paths[1])
    assert.equal(("lvhd.disk: '%s'"):format(paths[1]), tostring(disk))
    disk:close()
    disk:close()
    for _, call in ipairs{ "read", "extents", "info", "chain", "size" } do
      local err = expect.refused("E_HANDLE", nil, disk[call], disk, 0, 1)
      assert.equal(call, err.op)
      assert.equal(paths[1], err.path)
    end
    assert.equal(("lvhd.disk: '%s' (closed)"):format(paths[1]),
      tostring(disk))
  end)

  it("lets go of its files at once", function()
    local before = test.fds()
    local disk = lvhd.open(paths[1])
    assert.equal(before + 3, test.fds())
    disk:close()
    assert.equal(before, test.fds())
  end)

  it("was closed by <close>, in every way out of a block", function()
    local before = test.fds()
    local kept
    do
      local disk <close> = lvhd.open(paths[1])
      kept = disk
    end
    assert.is_false(pcall(kept.read, kept, 0, 1))
    pcall(function()
      local disk <close> = lvhd.open(paths[1])
      error("out of " .. tostring(disk))
    end)
    local co = coroutine.create(function()
      local disk <close> = lvhd.open(paths[1])
      coroutine.yield(disk:read(0, 1))
    end)
    coroutine.resume(co)
    coroutine.close(co)
    assert.equal(before, test.fds())
  end)

  it("was collected, when nobody held it", function()
    local before = test.fds()
    for _ = 1, 20 do
      lvhd.open(paths[1])
    end
    collectgarbage()
    collectgarbage()
    assert.equal(before, test.fds())
  end)
end)

describe("a disk and its engine", function()
  it("go in any order", function()
    for round = 1, 4 do
      local engine = lvhd.engine{ threads = 1 }
      local disk = engine:open(paths[1])
      if round == 1 then -- the engine first
        engine = nil -- luacheck: ignore 311
        collectgarbage()
        collectgarbage()
        lvhd.engine():close()
        assert.equal(SIZE, #disk:read(0, SIZE))
        disk:close()
      elseif round == 2 then -- both at once
        engine, disk = nil, nil -- luacheck: ignore 311
      elseif round == 3 then -- the disk closed, the engine still there
        disk:close()
        engine:close()
      else -- the engine closed: what is open goes on
        engine:close()
        assert.equal(SIZE, #disk:read(0, SIZE))
        assert.equal(3, #disk:chain())
        for _, call in ipairs{ "open", "info", "chain", "check" } do
          expect.refused("VM_E_APP_SHUTTING_DOWN", nil, engine[call], engine,
            paths[3])
        end
        engine = nil -- luacheck: ignore 311
        collectgarbage()
        disk:close()
      end
      collectgarbage()
      collectgarbage()
    end
  end)

  it("may be a cycle", function()
    local disk = lvhd.engine():open(paths[1])
    local ring = setmetatable({ disk = disk }, { __gc = function(self)
      self.disk:close()
    end })
    ring.self = ring
    debug.setuservalue(disk, ring, 2) -- where its buffer was
    ring, disk = nil, nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
  end)

  it("end with the Lua state, whoever is first", function()
    for _, program in ipairs{
      [[local d = lvhd.open(path); assert(d:read(0, 1))]],
      [[D = lvhd.open(path); E = lvhd.engine()]],
      [[E = lvhd.engine(); D = E:open(path); T = E:check(path)]],
      [[D = lvhd.engine():open(path); collectgarbage(); D:read(0, 5)]],
      [[local d = lvhd.open(path)
        G = setmetatable({}, { __gc = function() d:close() end })]],
      [[local d = lvhd.open(path)
        G = setmetatable({}, { __gc = function() pcall(d.read, d, 0, 1) end })
        d = setmetatable({}, { __gc = function() lvhd.info(path) end })]],
      [[local d <close> = lvhd.open(path); os.exit(0, true)]],
      [[D = lvhd.open(path); os.exit(0)]],
      [[local co = coroutine.wrap(function()
          local d <close> = lvhd.open(path); coroutine.yield() end)
        co(); C = co]],
      [[I = lvhd.open(path):extents(); I()]],
    } do
      life.prints([[local lvhd, path = require "lvhd", ...
        ]] .. program, paths[1])
    end
  end)

  it("are read in coroutines", function()
    local disk <close> = lvhd.open(paths[1])
    local all = vhdread.content(paths, 0, SIZE)
    local cos = {}
    for i = 1, 4 do
      cos[i] = coroutine.wrap(function()
        for at = (i - 1) * 512, SIZE - 1, 2048 * 512 do
          assert(disk:read(at, 512) == all:sub(at + 1, at + 512))
          coroutine.yield(true)
        end
      end)
    end
    while cos[1]() do
      for i = 2, 4 do cos[i]() end
    end
  end)
end)

describe("after a fork #nosan", function()
  it("what is open can be read; nothing is opened", function()
    local engine <close> = lvhd.engine()
    local disk <close> = engine:open(paths[1])
    local want = vhdread.content(paths, 0, 8192)
    local status, text = test.fork(function()
      local results = {}
      results[1] = tostring(disk:read(0, 8192) == want)
      for _, call in ipairs{
        function() return disk:chain() end,
        function() return disk:info() end,
        function() return engine:open(paths[1]) end,
        function() return engine:info(paths[1]) end,
        function() return engine:chain(paths[1]) end,
        function() return engine:find(dir) end,
        function() return engine:check(paths[1]) end,
      } do
        local ok, err = pcall(call)
        results[#results + 1] = ok and "worked" or err.name
      end
      disk:close()
      return table.concat(results, " ")
    end)
    assert.equal(0, status, text)
    assert.equal("true" .. (" E_HANDLE"):rep(7), text)
    assert.is_true(want == disk:read(0, 8192))
  end)
end)

describe("Ctrl-C", function()
  it("ends a long read, in a coroutine too", function()
    for _, in_coroutine in ipairs{ false, true } do
      local out = life.prints([[
        local lvhd, path, in_coroutine = require "lvhd", ...
        local disk = lvhd.open(path)
        local interrupted = 0
        local function work()
          local ok, err = pcall(function()
            while true do disk:read(0, 1 << 30) end
          end)
          assert(not ok)
          io.write(err:match("interrupted!") or err)
        end
        if in_coroutine == "true" then
          local main = coroutine.running()
          local core = require "lvhd.core"
          local real = core.read
          core.read = function(...)
            interrupted = interrupted + 1
            if interrupted == 3 then
              debug.sethook(main, function() end, "c")
            end
            return real(...)
          end
          coroutine.wrap(work)()
        else
          local n = 0
          debug.sethook(function()
            n = n + 1
            if n == 20 then error("interrupted!") end
          end, "l")
          work()
        end
      ]], paths[1], tostring(in_coroutine))
      assert.equal("interrupted!", out)
    end
  end)
end)

describe("the functions of the module", function()
  it("work on the default engine", function()
    assert.equal(SIZE, lvhd.info(paths[1]).size)
    assert.equal(3, #lvhd.chain(paths[1]))
    local disk <close> = lvhd.open(paths[1])
    assert.equal(3, #disk:chain())
    local list = lvhd.check(paths[1], { chain = true }):wait()
    assert.equal(3, #list)
    for i = 1, 3 do
      assert.equal(paths[i], list[i].path)
    end
    assert.equal(1, #lvhd.children(paths[3], dir):wait())
    assert.equal(3, #lvhd.find(dir):wait())
  end)

  it("refuse wrong arguments", function()
    expect.refused("E_POINTER", "PATH_NIL", lvhd.info)
    expect.refused("E_POINTER", "PATH_NIL", lvhd.chain)
    expect.refused("E_POINTER", "PATH_NIL", lvhd.check)
    for _, name in ipairs{ "info", "chain", "check" } do
      expect.argument_error("'" .. name .. "'", lvhd[name], 5)
      expect.refused("E_INVALID_NAME", nil, lvhd[name], "a\0b")
    end
    expect.argument_error("'max_depth'", lvhd.chain, paths[1],
      { maxdepth = 5 })
    for wrong, right in pairs{ chains = "chain", dat = "data",
      profil = "profile", parent = "parents" } do
      expect.argument_error(("'%s'"):format(right), lvhd.check, paths[1],
        { [wrong] = true })
    end
    for _, opts in ipairs{ { chain = 1 }, { data = "yes" },
      { profile = "qemu" }, { profile = true } } do
      expect.argument_error("option", lvhd.check, paths[1], opts)
    end
    for _, profile in ipairs{ "azure", "hyperv", "xenserver", "virtualbox",
      "7zip" } do
      assert.equal(1, #lvhd.check(paths[1], { profile = profile }):wait())
    end
  end)

  it("give the same list every time", function()
    local task = lvhd.check(paths[1])
    assert.equal(task:wait(), task:wait())
  end)

  it("make findings a sentence with the numbers", function()
    test.utime(paths[2], 1700000000)
    local info = lvhd.chain(paths[1])[1]
    local found
    for _, finding in ipairs(info.findings) do
      if finding.code == "PARENT_TIME" then
        found = finding
      end
    end
    assert.equal("warning", found.severity)
    assert.equal(paths[1], found.path)
    assert.equal(1600000010, found.expected)
    assert.equal(1700000000, found.actual)
    assert.truthy(found.message:find("1600000010 expected, 1700000000 found",
      1, true), found.message)
  end)
end)
