-- SPDX-License-Identifier: MIT
--
-- The example programs do what they say, as programs of their own. Those of
-- event loops, of Virtual Server and in C have specs of their own.

local handmade = require "spec.support.handmade"
local lvhd = require "lvhd"
local program = require "spec.support.program"
local support = require "spec.support"
local test = require "lvhdtest"

local q, run, sh = support.q, support.run, support.sh
local MiB <const> = 1 << 20

local dir

before_each(function()
  dir = support.tmpdir()
end)

local function example(name, ...)
  local words = { program.lua(), "spec/examples/" .. name .. ".lua" }
  for _, word in ipairs { ... } do
    words[#words + 1] = q(word)
  end
  return table.concat(words, " ")
end

local function write(path, offset, data)
  local disk <close> = lvhd.open(path, { write = true, force = true })
  disk:write(offset, data)
end

local function read(path, offset, length)
  local disk <close> = lvhd.open(path)
  return disk:read(offset, length)
end

describe("farm.lua", function()
  it("makes a child a machine, keeps them the next time, tells failures",
    function()
      local golden = handmade.dynamic(dir .. "/golden.vhd", 64 * MiB)
      local list = dir .. "/list"
      support.write(list, "web01\nweb02\ndb01\n")
      local command = example("farm", golden, dir .. "/vms") .. " < " .. q(list)
        .. " 2>/dev/null"
      assert.equal("3 machines: 3 new, 0 failed\n", run(command))
      assert.equal(dir .. "/golden.vhd",
        lvhd.chain(dir .. "/vms/db01.vhd", { parents = { dir } })[2].path)
      support.write(list, "web01\nweb03\nweb?4\n")
      local ok, out = sh(command)
      assert.is_false(ok)
      assert.matches("E_INVALID_NAME.-web%?4", out)
      assert.matches("3 machines: 1 new, 1 failed\n$", out)
    end)

  it("makes none of a golden image that is damaged", function()
    local golden = handmade.dynamic(dir .. "/golden.vhd", 64 * MiB)
    local file <close> = assert(io.open(golden, "r+b"))
    file:seek("set", 1536)
    file:write "\0\xFF\xFF\xFF"
    file:close()
    assert.is_false((sh("echo a | " .. example("farm", golden, dir .. "/vms"))))
    assert.is_nil(test.stat(dir .. "/vms"))
  end)
end)

describe("nightly.lua", function()
  it("merges the day's changes, compacts, logs, and leaves what it may not",
    function()
      for _, name in ipairs { "a", "b" } do
        lvhd.create_dynamic(("%s/%s.vhd"):format(dir, name), "64 MiB"):wait()
        write(("%s/%s.vhd"):format(dir, name), 8 * MiB, ("x"):rep(2 * MiB))
        lvhd.create_differencing(("%s/%s.day.vhd"):format(dir, name),
          ("%s/%s.vhd"):format(dir, name)):wait()
        write(("%s/%s.day.vhd"):format(dir, name), 8 * MiB,
          ("\0"):rep(2 * MiB))
        write(("%s/%s.day.vhd"):format(dir, name), 0, "today")
      end
      lvhd.create_differencing(dir .. "/other.vhd", dir .. "/b.vhd"):wait()
      local ok, out = sh(example("nightly", dir))
      assert.is_false(ok)
      assert.matches("merge [^\n]*/a.vhd: %d+ bytes, %d+ before\n", out)
      assert.matches("compact [^\n]*/a.vhd: %d+ bytes", out)
      assert.matches("merge [^\n]*/b.vhd: [^\n]*E_SHARING_VIOLATION[^\n]*other.vhd",
        out)
      assert.matches("1 failures\n$", out)
      assert.equal("today", read(dir .. "/a.vhd", 0, 5))
      assert.equal(1, lvhd.info(dir .. "/a.vhd").blocks_used)
      assert.is_nil(test.stat(dir .. "/a.day.vhd"))
      assert.equal("today", read(dir .. "/b.day.vhd", 0, 5))
    end)
end)

describe("cloud.lua", function()
  it("makes a dynamic disk, and a fixed one that Azure takes", function()
    local content = ("cloud"):rep(5 * MiB) .. ("\0"):rep(700)
    support.write(dir .. "/image.raw", content)
    local out = run(example("cloud", dir .. "/image.raw", dir .. "/keep.vhd",
      dir .. "/upload.vhd") .. " 2>/dev/null")
    local size = 26 * MiB
    assert.matches(("upload.vhd: %d bytes to upload"):format(size + 512), out)
    assert.equal("dynamic", lvhd.info(dir .. "/keep.vhd").type)
    local whole = support.read(dir .. "/upload.vhd"):sub(1, size)
    assert.is_true(whole == content .. ("\0"):rep(size - #content))
    run(("qemu-img convert -f vpc -O raw %s %s"):format(q(dir .. "/keep.vhd"),
      q(dir .. "/back")))
    assert.is_true(whole == support.read(dir .. "/back"):sub(1, size))
  end)
end)

describe("daemon.lua", function()
  it("converts for many clients at once, tells errors, and ends", function()
    for i = 1, 4 do
      lvhd.create_dynamic(("%s/%d.vhd"):format(dir, i), "64 MiB"):wait()
      write(("%s/%d.vhd"):format(dir, i), 0, "disk " .. i)
    end
    local socket, log = dir .. "/sock", dir .. "/log"
    support.write(dir .. "/client.lua", [[
local socket = require "cqueues.socket"
local client = socket.connect { path = arg[1] }
client:setmode("bl", "bn")
client:write(arg[2], "\n")
for line in client:lines() do
  if not line:find "%%$" then print(line) break end
end]])
    local script = { ("%s >%s 2>&1 & d=$!"):format(example("daemon", socket),
      q(log)), ("while ! test -S %s; do sleep 0.02; done"):format(q(socket)),
      "p=" }
    for i = 1, 4 do
      script[#script + 1] = ("%s %s %s '%s/%d.vhd %s/%d-new.vhd' > %s/out%d &"
        .. " p=\"$p $!\""):format(program.lua(), q(dir .. "/client.lua"),
        q(socket), dir, i, dir, i, q(dir), i)
    end
    script[#script + 1] = "wait $p"
    script[#script + 1] = ("%s %s %s '/none /other'"):format(program.lua(),
      q(dir .. "/client.lua"), q(socket))
    script[#script + 1] = ("%s %s %s quit"):format(program.lua(),
      q(dir .. "/client.lua"), q(socket))
    script[#script + 1] = "wait $d; echo $?"
    local out = run(table.concat(script, "\n"))
    assert.matches("error: .*E_PATH_NOT_FOUND.-\n0\n$", out)
    assert.equal("", support.read(log))
    for i = 1, 4 do
      assert.equal(("done %s/%d-new.vhd\n"):format(dir, i),
        support.read(("%s/out%d"):format(dir, i)))
      assert.equal("disk " .. i, read(("%s/%d-new.vhd"):format(dir, i), 0, 6))
    end
    assert.is_nil(test.stat(socket))
  end)
end)

describe("import.lua", function()
  local store

  before_each(function()
    store = dir .. "/store/a.vhd"
  end)

  local function refused(path, pattern, ...)
    local ok, out = sh(example("import", path, store, ...) .. " 2>&1")
    assert.is_false(ok)
    assert.matches("^refused: .*" .. pattern, out)
    assert.is_nil(test.stat(store))
  end

  it("takes a good disk, and makes another of it", function()
    local upload = handmade.dynamic(dir .. "/up.vhd", 64 * MiB)
    write(upload, 5 * MiB, "content")
    run(example("import", upload, store))
    assert.equal("content", read(store, 5 * MiB, 7))
    assert.is_true(lvhd.info(upload).uuid ~= lvhd.info(store).uuid)
  end)

  it("refuses what names another file, is too large, or lies", function()
    local upload = handmade.dynamic(dir .. "/up.vhd", 64 * MiB)
    lvhd.create_differencing(dir .. "/child.vhd", upload):wait()
    refused(dir .. "/child.vhd", "it reads from another file, 'up.vhd'")
    refused(upload, "67108864 bytes, 1048576 are allowed", tostring(MiB))
    support.write(dir .. "/text", ("no disk"):rep(1000))
    refused(dir .. "/text", ".")
    refused("/etc/passwd", ".")
    local file <close> = assert(io.open(upload, "r+b"))
    file:seek("set", 1536)
    file:write "\0\xFF\xFF\xFF"
    file:close()
    refused(upload, "%u+: ")
  end)
end)
