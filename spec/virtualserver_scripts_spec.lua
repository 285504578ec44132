-- SPDX-License-Identifier: MIT
--
-- Scripts in the manner of 2005 run as whole programs with their first line
-- changed, and other programs judge what they made: qemu-img the sizes, 7-Zip
-- the content. Knows the scripts' output, not lvhd's inside.

local lvhd = require "lvhd"
local program = require "spec.support.program"
local support = require "spec.support"

local q, run = support.q, support.run
local MiB <const> = 1 << 20

local dir

before_each(function()
  dir = support.tmpdir()
end)

local function need(...)
  for _, name in ipairs{ ... } do
    if not support.has(name) then
      pending(name .. " is not installed")
    end
  end
end

---Runs a script with this folder as C:.
---@return boolean ok, string output
local function script(name, ...)
  local words = { "DRIVE_C=" .. q(dir), program.lua(),
    q(run("pwd"):gsub("\n", "") .. "/spec/examples/virtualserver-" .. name
      .. ".lua") }
  for _, word in ipairs{ ... } do
    words[#words + 1] = q(word)
  end
  return support.sh("cd / && timeout 60 env " .. table.concat(words, " "))
end

local function qemu_says(path)
  return run("qemu-img info --output=json -f vpc " .. q(path))
end

local function seven_zip(path)
  local ok, out = support.sh("7zz x -y -tvhd -so " .. q(path)
    .. " 2>/dev/null | sha256sum")
  assert.is_true(ok, out)
  return out:match("^%x+")
end

local function sha256(path)
  return run("sha256sum " .. q(path)):match("^%x+")
end

local EXAMPLES <const> = { "dynamic", "children", "nightly" }

describe("the scripts of the time", function()
  it("name the module in their first line alone", function()
    for _, name in ipairs(EXAMPLES) do
      local text = support.read("spec/examples/virtualserver-" .. name
        .. ".lua")
      local first, rest = text:match("^([^\n]*)\n(.*)$")
      assert.matches('^local luacom = require%("lvhd%.virtualserver"%)%.with{',
        first)
      assert.is_nil(rest:find("lvhd", 1, true), name)
      for _, other in ipairs{ "io%.", "os%.execute", "os%.remove",
        "require%(" } do
        assert.is_nil(rest:find(other), name) -- nothing but the documented
      end
    end
  end)
end)

describe("virtualserver-dynamic.lua", function()
  it("creates a disk and shows how far it is", function()
    need("qemu-img", "7zz")
    local ok, output = script("dynamic", [[C:\new folder\web01.vhd]], "64")
    assert.is_true(ok, output)
    assert.matches("Creating .*C:\\new folder\\web01.vhd\n", output)
    assert.matches("  100 %% completed\nC:\\new folder\\web01.vhd\n", output)
    assert.matches("size in guest:   64 MB", output, 1, true)
    local last = -1
    for percent in output:gmatch("(%d+) %% completed") do
      assert.is_true(tonumber(percent) >= last, output)
      last = tonumber(percent)
    end
    local path = dir .. "/new folder/web01.vhd"
    assert.matches(('"virtual%%-size": %d,'):format(64 * MiB), qemu_says(path))
    assert.equal(run("head -c 64M /dev/zero | sha256sum"):match("^%x+"),
      seven_zip(path))
  end)

  it("says what is wrong", function()
    assert.is_true((script("dynamic", [[C:\a.vhd]], "64")))
    local before = support.read(dir .. "/a.vhd")
    for _, case in ipairs{ { [[C:\a.vhd]], "64", "E_ALREADY_EXISTS" },
      { [[C:\b.vhd]], "2", "VM_E_IMAGE_SIZE_TOO_SMALL" },
      { [[C:\b?.vhd]], "64", "E_INVALID_NAME" },
      { [[D:\b.vhd]], "64", "E_PATH_NOT_FOUND" },
      { [[b.vhd]], "64", "E_BAD_PATHNAME" } } do
      local ok, output = script("dynamic", case[1], case[2])
      assert.is_false(ok)
      assert.matches(case[3], output, 1, true)
    end
    assert.equal(before, support.read(dir .. "/a.vhd"))
    assert.same({ "a.vhd" }, support.names(dir))
  end)
end)

describe("virtualserver-children.lua", function()
  it("gives each user a disk that reads as the parent", function()
    need("qemu-img", "7zz")
    local base = dir .. "/Classroom/windows.vhd"
    support.mkdir(dir .. "/Classroom")
    local raw = dir .. "/golden.img"
    run(("head -c 9M /dev/urandom >%s && truncate -s 32M %s"):format(q(raw),
      q(raw)))
    run(("qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on"
      .. " %s %s"):format(q(raw), q(base)))
    local want = sha256(raw)
    local untouched = sha256(base)

    local ok, output = script("children", "anna", "bert", "carla")
    assert.is_true(ok, output)
    for _, user in ipairs{ "anna", "bert", "carla" } do
      assert.matches(("\n  C:\\Classroom\\%s.vhd "):format(user), output, 1,
        true)
      assert.equal(want, seven_zip(dir .. "/Classroom/" .. user .. ".vhd"))
    end
    -- once more with a newcomer: the others' disks stay
    local before = sha256(dir .. "/Classroom/anna.vhd")
    ok, output = script("children", "anna", "dora")
    assert.is_true(ok, output)
    assert.matches("anna: [^\n]*E_ALREADY_EXISTS", output)
    assert.equal(4, select(2, output:gsub("\n  C:\\Classroom\\", "")))
    assert.equal(before, sha256(dir .. "/Classroom/anna.vhd"))
    assert.equal(want, seven_zip(dir .. "/Classroom/dora.vhd"))
    assert.equal(untouched, sha256(base))
  end)

  it("says that the parent is missing", function()
    support.mkdir(dir .. "/Classroom")
    local ok, output = script("children", "anna")
    assert.is_true(ok, output)
    assert.matches("anna: [^\n]*E_PATH_NOT_FOUND", output)
    assert.same({}, support.names(dir .. "/Classroom"))
  end)
end)

describe("virtualserver-nightly.lua", function()
  -- A machine's disk, and what was written by day.
  local function machine(name)
    local own = ("%s/vms/%s.vhd"):format(dir, name)
    local day = ("%s/vms/%s-day.vhd"):format(dir, name)
    lvhd.create_dynamic(own, "16 MiB"):wait()
    do
      local disk <close> = lvhd.open(own, { write = true })
      disk:write(0, name):write(4 * MiB, ("x"):rep(3 * MiB))
    end
    lvhd.create_differencing(day, own):wait()
    do
      local disk <close> = lvhd.open(day, { write = true })
      disk:write(512, "by day"):write(4 * MiB, ("\0"):rep(4 * MiB))
    end
    local content = name .. ("\0"):rep(512 - #name) .. "by day"
    support.write(dir .. "/want." .. name, content
      .. ("\0"):rep(16 * MiB - #content))
    return own, day, sha256(dir .. "/want." .. name)
  end

  it("merges, compacts, and logs each", function()
    need("7zz")
    local own, day, want = machine("web01")
    local before = lvhd.info(own).file_size
    local ok, output = script("nightly", [[C:\vms]])
    assert.is_true(ok, output)
    assert.matches("^%d+%-%d+%-%d+ %d+:%d+:%d+ merge C:\\vms\\web01%-day.vhd: "
      .. "0x00000000 \n", output)
    assert.matches("compact C:\\vms\\web01.vhd: 0x00000000 \n", output)
    assert.matches("\n0 failures\n$", output)
    assert.equal(want, seven_zip(own))
    assert.is_true(lvhd.info(own).file_size <= before - 4 * MiB)
    assert.same({ "web01-day.vhd", "web01.vhd" }, support.names(dir .. "/vms"))
    -- the day's disk still fits, and the next night finds nothing to do
    local disk <close> = lvhd.open(day)
    assert.equal("by day", disk:read(512, 6))
    disk:close()
    ok, output = script("nightly", [[C:\vms]])
    assert.is_true(ok, output)
    assert.equal(want, seven_zip(own))
  end)

  it("logs Error and ErrorDescription of what fails, and goes on", function()
    need("7zz")
    local _, _, want = machine("web01")
    local protected = machine("web02")
    run("chmod a-w " .. q(protected))
    local used = machine("web03")
    local disk <close> = lvhd.open(used, { write = true, force = true })
    local ok, output = script("nightly", [[C:\vms]])
    disk:close()
    assert.is_false(ok)
    assert.matches("merge C:\\vms\\web02%-day.vhd: 0xA004067A [^\n]+\n", output)
    assert.matches("compact C:\\vms\\web02.vhd: 0xA004067A [^\n]+\n", output)
    assert.matches("merge C:\\vms\\web03%-day.vhd: 0x80070020 [^\n]+\n", output)
    assert.matches("compact C:\\vms\\web03.vhd: 0x80070020 [^\n]+\n", output)
    assert.matches("\n4 failures\n$", output)
    assert.equal(want, seven_zip(dir .. "/vms/web01.vhd"))
    assert.equal("web02", lvhd.open(protected):read(0, 5))
  end)
end)
