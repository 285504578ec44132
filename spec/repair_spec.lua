-- SPDX-License-Identifier: MIT
--
-- repair: each damage of the list, made by hand, is mended: others read the
-- file again, its content, its time and all that is not damaged stay.  What
-- would have to be guessed is refused as it is, and a sound file stays
-- untouched.

local lvhd = require "lvhd"
local support = require "spec.support"
local chains = require "spec.support.chains"
local expect = require "spec.support.expect"
local fixtures = require "spec.support.fixtures"
local handmade = require "spec.support.handmade"
local test = require "lvhdtest"
local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"

local q, run = support.q, support.run
local SIZE <const> = 3 << 20
local MTIME <const> = 1700000000

local dir

before_each(function()
  dir = support.tmpdir()
end)

-- ---- disks and damages ----------------------------------------------------

local function make(o)
  o = o or {}
  o.size, o.block_size = SIZE, 1 << 19
  local disk = vhdwrite.new(o)
  disk:put(3, vhdwrite.pattern(1, 3)):put(5000, vhdwrite.pattern(1, 5000))
  disk:save(dir .. "/disk.vhd")
  return disk
end

local function patch(path, at, bytes)
  local file <close> = assert(io.open(path, "r+b"))
  file:seek("set", at)
  file:write(bytes)
  file:close()
  test.utime(path, MTIME)
end

local function truncate(path, length)
  run(("truncate -s %d %s"):format(length, q(path)))
  test.utime(path, MTIME)
end

local function seal(bytes, at)
  return bytes:sub(1, at) .. (">I4"):pack(vhdread.checksum(bytes, at))
    .. bytes:sub(at + 5)
end

local function length(path)
  return test.stat(path).size
end

local function codes(info)
  local out = {}
  for _, f in ipairs(info.findings) do
    if f.code:find("^REPAIRED_") then
      assert.equal("note", f.severity)
      out[#out + 1] = f.code:sub(10)
    end
  end
  table.sort(out)
  return table.concat(out, " ")
end

-- ---- what must hold afterwards --------------------------------------------

local function by_others(disk)
  local content = fixtures.sha256(disk:read(0, SIZE))
  if support.has("7zz") then
    assert.equal(content, fixtures.sha256_of_output("7zz x -tvhd -so -bd "
      .. q(disk.path) .. " 2>/dev/null"))
  end
  if support.has("vhdiinfo") then
    assert.truthy(run("vhdiinfo " .. q(disk.path))
      :find(tostring(SIZE), 1, true))
  end
  if support.has("qemu-img") and disk.type ~= "differencing" then
    assert.equal(content, fixtures.sha256_of_output(
      ("qemu-img convert -f vpc -O raw %s %s/raw 1>&2 && cat %s/raw"):format(
        q(disk.path), q(dir), q(dir))))
    os.remove(dir .. "/raw")
  end
end

local function sound(path)
  local footer = vhdread.open(path).footer
  assert.equal("conectix", footer.cookie)
  assert.equal(vhdread.checksum(footer.bytes, 64), footer.checksum)
  assert.same({ vhdread.geometry(footer.current_size // 512) },
    { footer.cylinders, footer.heads, footer.sectors })
  assert.equal(0, length(path) % 512)
  if footer.type ~= 2 then
    assert.is_true(footer.bytes == vhdread.bytes(path, 0, 512))
  end
  for _, f in ipairs(lvhd.check(path, { data = true }):wait()[1].findings) do
    if f.code ~= "GAP_BEFORE_FOOTER" -- what was behind it is not cut
      and (f.severity ~= "note" or f.code:find("FOOTER")
        or f.code:find("BAT_")) then
      error(f.code .. ": " .. f.message)
    end
  end
end

---Repairs, and looks at what must hold; `done`: what the findings tell.
local function repair(disk, done, opts)
  local info = lvhd.repair(disk.path, opts):wait()
  assert.equal(done, codes(info))
  assert.equal(MTIME * 1000000000, test.stat(disk.path).mtime)
  assert.is_nil(table.concat(support.names(dir), " "):find("journal"))
  sound(disk.path)
  local open <close> = lvhd.open(disk.path)
  local wrong = chains.difference(disk, open:read(0, disk.size))
  assert(not wrong, wrong)
  open:close()
  by_others(disk)
  expect.unchanged(dir, function()
    assert.equal("", codes(lvhd.repair(disk.path):wait()))
  end)
  return info
end

describe("repair", function()
  -- name, damage(disk), what was done, the length that results
  local cases = {
    { "a footer of zeros", function(path)
      patch(path, length(path) - 512, ("\0"):rep(512))
    end, "FOOTER", 0 },
    { "a footer that XenServer killed", function(path)
      patch(path, length(path) - 512, ("\xC7"):rep(512))
    end, "FOOTER", 0 },
    { "a footer with a wrong checksum", function(path)
      patch(path, length(path) - 512 + 200, "x")
    end, "FOOTER", 0 },
    { "a footer that is not there", function(path)
      truncate(path, length(path) - 512)
    end, "FOOTER", 0 },
    { "a footer of which a part is there", function(path)
      truncate(path, length(path) - 100)
    end, "FOOTER", 0 },
    { "a footer of 511 bytes", function(path)
      truncate(path, length(path) - 1)
    end, "FOOTER", 0 },
    { "a damaged footer of 511 bytes", function(path)
      patch(path, length(path) - 100, "x")
      truncate(path, length(path) - 1)
    end, "FOOTER", 0 },
    { "a sector behind the footer", function(path)
      truncate(path, length(path) + 512)
    end, "FOOTER", 512 },
    { "much behind the footer", function(path)
      patch(path, length(path), ("j"):rep(70000))
    end, "FOOTER", 70144 },
    { "some bytes behind the footer", function(path)
      patch(path, length(path), "jjj")
    end, "FOOTER", 512 },
    { "a footer that does not begin a sector", function(path)
      local footer = vhdread.bytes(path, length(path) - 512, 512)
      patch(path, length(path), footer:sub(1, 100) .. footer)
    end, "FOOTER", 1024 },
    { "a copy that is missing", function(path)
      patch(path, 0, ("\0"):rep(512))
    end, "COPY", 0 },
    { "a damaged copy", function(path)
      patch(path, 200, "x")
    end, "COPY", 0 },
    { "a copy that says something else", function(path)
      local copy = vhdread.bytes(path, 0, 512)
      patch(path, 0, seal(handmade.patch(copy, 68, ("u"):rep(16)), 64))
    end, "COPY", 0 },
    { "wrong geometry in both", function(path)
      local copy = vhdread.bytes(path, 0, 512)
      copy = seal(handmade.patch(copy, 56, "\1\2\3\4"), 64)
      patch(path, 0, copy)
      patch(path, length(path) - 512, copy)
    end, "GEOMETRY", 0 },
    { "wrong geometry in the footer alone", function(path)
      local copy = vhdread.bytes(path, 0, 512)
      patch(path, length(path) - 512,
        seal(handmade.patch(copy, 56, "\1\2\3\4"), 64))
    end, "COPY GEOMETRY", 0 },
    { "wrong geometry in the only footer", function(path)
      patch(path, length(path) - 512, ("\0"):rep(512))
      local copy = vhdread.bytes(path, 0, 512)
      patch(path, 0, seal(handmade.patch(copy, 56, "\0\0\0\0"), 64))
    end, "FOOTER GEOMETRY", 0 },
    { "wrong geometry, and 511 bytes, and no copy", function(path)
      local copy = vhdread.bytes(path, 0, 512)
      patch(path, length(path) - 512,
        seal(handmade.patch(copy, 56, "\1\2\3\4"), 64))
      truncate(path, length(path) - 1)
      patch(path, 0, ("\0"):rep(512))
    end, "COPY FOOTER GEOMETRY", 0 },
    { "padding of zeros", function(path, disk)
      patch(path, disk.bat_offset + 4 * disk.entries,
        ("\0"):rep(512 - 4 * disk.entries))
    end, "PADDING", 0 },
    { "padding with one odd byte, and a killed footer", function(path, disk)
      patch(path, disk.bat_offset + 511, "\0")
      patch(path, length(path) - 512, ("\xC7"):rep(512))
    end, "FOOTER PADDING", 0 },
  }

  for _, case in ipairs(cases) do
    it("mends " .. case[1], function()
      local disk = make()
      local before = support.read(disk.path)
      case[2](disk.path, disk)
      repair(disk, case[3])
      local after = support.read(disk.path)
      assert.equal(#before + case[4], #after)
      assert.is_true(before:sub(1, -513) == after:sub(1, #before - 512))
      assert.is_true(before:sub(-512) == after:sub(-512))
    end)

    it("mends " .. case[1] .. " of a child", function()
      local root = make()
      run(("mv %s %s/root.vhd"):format(q(root.path), q(dir)))
      root.path = dir .. "/root.vhd"
      local child = make{ parent = root, mtime = MTIME,
        type = "differencing" }
      local parent = support.read(root.path)
      case[2](child.path, child)
      repair(child, case[3])
      assert.is_true(parent == support.read(root.path))
    end)
  end

  it("finds a place behind the last block where the file ends in one",
    function()
      local disk = make{ tail = 0 }
      local whole = length(disk.path)
      -- the last block's last sector is not the footer's
      truncate(disk.path, whole - 512)
      repair(disk, "FOOTER")
      assert.equal(whole, length(disk.path))
    end)

  it("mends an empty disk, whose footer follows the BAT", function()
    local path = dir .. "/disk.vhd"
    lvhd.create_dynamic(path, SIZE):wait()
    local before = support.read(path)
    for _, n in ipairs{ 512, 100, 1 } do
      truncate(path, #before - n)
      assert.equal("FOOTER", codes(lvhd.repair(path):wait()))
      assert.is_true(before == support.read(path))
    end
  end)

  it("mends a fixed disk: geometry, and a footer of 511 bytes", function()
    local disk = make{ type = "fixed" }
    local before = support.read(disk.path)
    truncate(disk.path, #before - 1)
    repair(disk, "FOOTER")
    assert.is_true(before == support.read(disk.path))
    patch(disk.path, SIZE, seal(handmade.patch(before:sub(-512), 56,
      "\9\9\9\9"), 64))
    repair(disk, "GEOMETRY")
    assert.is_true(before == support.read(disk.path))
    patch(disk.path, SIZE, seal(handmade.patch(before:sub(-512), 56,
      "\9\9\9\9"), 64))
    truncate(disk.path, #before - 1)
    repair(disk, "FOOTER GEOMETRY")
    assert.is_true(before == support.read(disk.path))
  end)

  it("leaves the largest geometry where QEMU means the size by it",
    function()
      local function largest(creator)
        return make{ creator = creator, edit_footer = function(bytes)
          return handmade.patch(bytes, 56, "\xFF\xFF\16\xFF")
        end }
      end
      largest("win ")
      assert.equal("GEOMETRY", codes(lvhd.repair(dir .. "/disk.vhd"):wait()))
      sound(dir .. "/disk.vhd")
      for _, creator in ipairs{ "qem2", "vpc ", "\0\0\0\0" } do
        largest(creator)
        expect.unchanged(dir, function()
          assert.equal("", codes(lvhd.repair(dir .. "/disk.vhd"):wait()))
        end)
      end
    end)

  it("keeps what other writers have in their footers", function()
    local disk = make{ creator = "tap\0", creator_version = 0x10003,
      creator_os = "\0\0\0\0", hidden = true, batmap = true,
      saved_state = 1 }
    local before = support.read(disk.path)
    patch(disk.path, #before - 512, ("\xC7"):rep(512))
    assert.equal("FOOTER", codes(lvhd.repair(disk.path):wait()))
    assert.is_true(before == support.read(disk.path))
    patch(disk.path, 0, seal(handmade.patch(before:sub(1, 512), 56,
      "\9\9\9\9"), 64))
    assert.equal("COPY", codes(lvhd.repair(disk.path):wait()))
    assert.is_true(before == support.read(disk.path))
  end)

  it("mends what a fixture lacks, and touches no sound one", function()
    local path = fixtures.unpack("damaged/no-footer.vhd", dir)
    assert.equal("FOOTER PADDING", codes(lvhd.repair(path):wait()))
    local disk <close> = lvhd.open(path)
    for _, entry in ipairs(fixtures.manifest()) do
      local paths = fixtures.unpack_chain(entry, dir)
      if entry.writer:find("^blktap") then -- it pads with zeros
        local done = codes(lvhd.repair(paths[1]):wait())
        assert(done == "PADDING" or done == "", done)
      end
      expect.unchanged(dir, function()
        assert.equal("", codes(lvhd.repair(paths[1]):wait()))
      end)
      if entry.file == "blktap-root.vhd" then
        assert.equal(entry.sha256, fixtures.sha256(disk:read(0, entry.size)))
      end
    end
  end)

  it("writes nothing into a sound file, and no note", function()
    local system = test.system()
    local engine = lvhd.engine{ threads = 1, system = system:pointer() }
    local disk = make()
    engine:repair(disk.path):wait()
    assert.equal(0, system:count("pwritev"))
    assert.equal(0, system:count("linkat"))
    assert.equal(0, system:count("futimens"))
    engine:close()
    system:drop()
  end)

  it("mends random disks of any layout, and their content stays", function()
    for seed = 7001, 7030 do
      local leaf
      local ok, err = xpcall(function()
        leaf = chains.make(seed, support.tmpdir(), { depth = 1 + seed % 2 })
        if leaf.type ~= "fixed" and leaf.header_offset < 512 then
          return
        end
        local info = lvhd.repair(leaf.path):wait()
        assert.equal(leaf.mtime * 1000000000, test.stat(leaf.path).mtime)
        assert.equal("end", info.footer)
        assert.equal(0, length(leaf.path) % 512)
        local disk <close> = lvhd.open(leaf.path)
        local wrong = chains.difference(leaf, disk:read(0, leaf.size))
        assert(not wrong, wrong)
        disk:close()
        for _, f in ipairs(lvhd.check(leaf.path, { data = true }):wait()[1]
          .findings) do
          assert(f.severity ~= "error" and f.code ~= "BAT_PADDING", f.code)
        end
        assert.equal("", codes(lvhd.repair(leaf.path):wait()))
      end, function(e)
        return debug.traceback(type(e) == "table" and e.message
          or tostring(e))
      end)
      if not ok then
        error(("seed %d: %s\n%s"):format(seed, err,
          leaf and chains.story(leaf) or ""), 0)
      end
    end
  end)
end)

describe("repair refuses", function()
  local function refused(name, reason, path, opts)
    return expect.unchanged(dir, expect.fails, name, reason, lvhd.repair,
      path, opts)
  end

  it("a file with no footer at all", function()
    local disk = make()
    patch(disk.path, 0, ("\0"):rep(512))
    patch(disk.path, length(disk.path) - 512, ("\0"):rep(512))
    local err = refused("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", disk.path)
    assert.equal(disk.path, err.path)
    assert.equal(length(disk.path) - 512, err.offset)
  end)

  it("a fixed disk without footer, or with one across sectors", function()
    local disk = make{ type = "fixed" }
    local footer = vhdread.bytes(disk.path, SIZE, 512)
    patch(disk.path, SIZE, "\0\0\0" .. footer)
    local err = refused("VM_E_INVALID_HD_FILE", "FILE_UNALIGNED", disk.path)
    assert.equal(SIZE + 1024, err.expected)
    assert.equal(SIZE + 515, err.actual)
    truncate(disk.path, SIZE)
    refused("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", disk.path)
  end)

  it("a damaged header", function()
    local disk = make()
    patch(disk.path, disk.header_offset + 100, "x")
    patch(disk.path, length(disk.path) - 512, ("\0"):rep(512))
    local err = refused("VM_E_INVALID_HD_FILE", "HEADER_CHECKSUM", disk.path)
    assert.equal(disk.header_offset + 36, err.offset)
    local path = fixtures.unpack("damaged/bad-header-checksum.vhd", dir)
    refused("VM_E_INVALID_HD_FILE", "HEADER_CHECKSUM", path)
  end)

  it("blocks that overlap, leave the file, or lie on metadata", function()
    refused("VM_E_INVALID_HD_FILE", "BLOCK_OVERLAP",
      fixtures.unpack("damaged/bat-overlap.vhd", dir))
    local disk = make()
    local at = disk.bat_offset + 4
    patch(disk.path, at, (">I4"):pack(0x100000))
    patch(disk.path, 0, ("\0"):rep(512))
    local err = refused("VM_E_INVALID_HD_FILE", "BLOCK_OUTSIDE", disk.path)
    assert.equal(at, err.offset)
    assert.equal(0x100000 * 512, err.actual)
    patch(disk.path, at, (">I4"):pack(1))
    refused("VM_E_INVALID_HD_FILE", "BLOCK_ON_METADATA", disk.path)
  end)

  it("a file that was cut inside its last block", function()
    local disk = make()
    truncate(disk.path, length(disk.path) - 1024)
    refused("VM_E_INVALID_HD_FILE", "BLOCK_OUTSIDE", disk.path)
  end)

  it("a file without write permission, for root too", function()
    local disk = make()
    patch(disk.path, 0, ("\0"):rep(512))
    run("chmod a-w " .. q(disk.path))
    refused("VM_E_FILE_READ_ONLY", nil, disk.path, { force = true })
  end)

  it("a file that someone has open", function()
    local disk = make()
    patch(disk.path, 0, ("\0"):rep(512))
    local held = test.lock(disk.path, "read", 201, 1)
    refused("E_SHARING_VIOLATION", "IN_USE", disk.path, { force = true })
    test.close(held)
    repair(disk, "COPY")
  end)

  it("what is not there", function()
    refused("E_PATH_NOT_FOUND", "FILE_MISSING", dir .. "/none.vhd")
  end)
end)

describe("when calls fail, repair", function()
  local function spoil(disk)
    patch(disk.path, disk.bat_offset + 511, "\0")
    patch(disk.path, 56, "\9\9\9\9")
    patch(disk.path, 0, seal(vhdread.bytes(disk.path, 0, 512), 64))
    patch(disk.path, length(disk.path) - 512, ("\xC7"):rep(512))
  end

  it("leaves a disk that reads as before, and the re-run finishes",
    function()
      local system = test.system()
      local engine = lvhd.engine{ threads = 1, system = system:pointer() }
      local disk = make()
      local good = support.read(disk.path)
      spoil(disk)
      local bad = support.read(disk.path)
      for _, call in ipairs{ "pwritev", "fdatasync", "fsync", "futimens",
        "linkat", "unlinkat" } do
        local failed, nth = true, 0
        while failed and nth < 30 do
          nth = nth + 1
          support.write(disk.path, bad)
          test.utime(disk.path, MTIME)
          system:fail{ call = call, errno = "EIO", nth = nth }
          local ok, err = expect.try(engine.repair, engine, disk.path)
          failed = not ok
          system:drop()
          assert(ok or lvhd.is_error(err))
          local open <close> = lvhd.open(disk.path)
          local wrong = chains.difference(disk, open:read(0, SIZE))
          assert(not wrong, wrong)
          open:close()
          lvhd.repair(disk.path):wait()
          assert.is_true(good == support.read(disk.path), call)
          assert.equal(MTIME * 1000000000, test.stat(disk.path).mtime)
          assert.same({ "disk.vhd" }, support.names(dir))
        end
        assert.is_true(nth < 30)
      end
      engine:close()
    end)

  it("writes no footer while the other is not durable", function()
    local system = test.system()
    local engine = lvhd.engine{ threads = 1, system = system:pointer() }
    local function steps(disk)
      local out = {}
      system:forget()
      engine:repair(disk.path):wait()
      for _, e in ipairs(system:log()) do
        local at = e.at and e.at:match("[^/]*$") or ""
        if e.call == "pwritev" then
          out[#out + 1] = at ~= "disk.vhd" and "note"
            or e.offset == 0 and "copy"
            or e.offset < 4096 and "padding" or "end"
        elseif e.call == "fdatasync" or e.call == "unlinkat" then
          out[#out + 1] = e.call
        end
      end
      return table.concat(out, " ")
    end
    local disk = make()
    spoil(disk)
    assert.equal("note padding end fdatasync copy unlinkat", steps(disk))
    patch(disk.path, 0, ("\0"):rep(512))
    truncate(disk.path, length(disk.path) - 1)
    assert.equal("note copy fdatasync end unlinkat", steps(disk))
    engine:close()
    system:drop()
  end)
end)
