-- SPDX-License-Identifier: MIT
--
-- What happens when a disk is changed by another program between an
-- interruption and the re-run: what that program wrote is never cut off or
-- overwritten. And a full volume: what was written before it was full stays.

local crashtest = require "crashtest"
local expect = require "spec.support.expect"
local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"

local q, run = support.q, support.run
local MiB <const> = 1 << 20

local dir

before_each(function()
  dir = support.tmpdir()
end)

-- Fails every call that changes the file from the nth on, and so leaves what
-- a loss of power would.
local function interrupt(path, size, writes)
  local system = test.system()
  local engine <close> = lvhd.engine{ threads = 1, system = system:pointer() }
  system:fail{ call = "pwritev", at = "disk.vhd", errno = "EIO", times = 0,
    nth = writes + 1 }
  for _, call in ipairs{ "ftruncate", "unlinkat" } do
    system:fail{ call = call, errno = "EIO", times = 0 }
  end
  expect.fails("DISP_E_EXCEPTION", nil, function()
    engine:resize(path, size):wait()
  end)
end

describe("an interrupted resize", function()
  it("undoes nothing of a disk that QEMU has made longer", function()
    local path = dir .. "/disk.vhd"
    lvhd.create_dynamic(path, 32 * MiB):wait()
    do
      local disk <close> = lvhd.open(path, { write = true })
      disk:write(0, ("E"):rep(MiB))
    end
    interrupt(path, 33 * MiB, 0)
    assert.equal(2, #crashtest.list(dir))
    run(("qemu-io -f vpc -c 'write -q -P 0x77 24M 2M' %s"):format(q(path)))
    local bytes = support.read(path)
    expect.fails("VM_E_HD_IMAGE_ACCESS", "JOURNAL_FOREIGN", function()
      lvhd.resize(path, 33 * MiB):wait()
    end)
    assert.is_true(bytes == support.read(path))
    local disk <close> = lvhd.open(path)
    assert.equal(("\x77"):rep(2 * MiB), disk:read(24 * MiB, 2 * MiB))
  end)

  it("undoes nothing of a fixed disk that was written behind its old end",
    function()
      local path = dir .. "/disk.vhd"
      lvhd.create_fixed(path, 8 * MiB):wait()
      interrupt(path, 12 * MiB, 1)
      assert.equal(12 * MiB + 512, test.stat(path).size)
      run(("qemu-io -f vpc -c 'write -q -P 0x77 10M 64k' %s"):format(q(path)))
      expect.fails("VM_E_HD_IMAGE_ACCESS", "JOURNAL_FOREIGN", function()
        lvhd.resize(path, 12 * MiB):wait()
      end)
      assert.equal(("\x77"):rep(65536),
        support.read(path):sub(10 * MiB + 1, 10 * MiB + 65536))
      -- without the note the disk is what QEMU has taken it for
      run("rm " .. q(dir .. "/.disk.vhd.lvhd-journal"))
      assert.equal(12 * MiB, lvhd.info(path).size)
    end)

  it("is finished where nobody has written", function()
    for _, kind in ipairs{ "fixed", "dynamic" } do
      local path = dir .. "/disk.vhd"
      lvhd["create_" .. kind](path, 8 * MiB):wait()
      interrupt(path, 12 * MiB, 1)
      lvhd.resize(path, 12 * MiB):wait()
      assert.equal(12 * MiB, lvhd.info(path).size)
      assert.same({}, lvhd.info(path).findings)
      run("rm " .. q(path))
    end
  end)
end)

describe("convert of a child whose parent was changed", function()
  it("says so", function()
    local parent, child = dir .. "/parent.vhd", dir .. "/child.vhd"
    lvhd.create_dynamic(parent, 8 * MiB, { timestamp = 1700000000 }):wait()
    lvhd.create_differencing(child, parent):wait()
    assert.same({},
      lvhd.convert(child, dir .. "/good.vhd"):wait().findings)
    run("touch -d @1700000100 " .. q(parent))
    local found = lvhd.convert(child, dir .. "/odd.vhd"):wait().findings
    assert.equal(1, #found)
    assert.equal("PARENT_TIME", found[1].code)
    assert.equal("warning", found[1].severity)
    assert.equal(child, found[1].path) -- the new disk is sound
    assert.equal(1700000000, found[1].expected)
    assert.equal(1700000100, found[1].actual)
  end)

  it("of each of several, with its path, and of the new disk's parents",
    function()
      local function name(i)
        return ("%s/%s.vhd"):format(dir, i)
      end
      lvhd.create_dynamic(name "1", 8 * MiB):wait()
      for i = 2, 4 do
        lvhd.create_differencing(name(i), name(i - 1)):wait()
      end
      lvhd.create_differencing(name "5", name "2"):wait()
      lvhd.create_differencing(name "6", name "5"):wait()
      run(("touch -d @1700000100 %s %s %s"):format(q(name "1"), q(name "3"),
        q(name "5")))
      local function told(source, opts)
        local paths = {}
        for i, f in ipairs(lvhd.convert(name(source), dir .. "/new.vhd", opts)
          :wait().findings) do
          assert.equal("PARENT_TIME", f.code)
          paths[i] = f.path
        end
        run("rm " .. q(dir .. "/new.vhd"))
        return paths
      end
      local child = { to = "differencing", parent = name "6" }
      assert.same({ name "4", name "2" }, told "4")
      assert.same({ name "6", name "2" }, told("1", child))
      assert.same({ name "4", name "2", name "6" }, told("4", child))
      assert.same({}, told "1")
    end)
end)

describe("a volume that is full", function()
  it("at a flush loses nothing: the flush goes when there is room", function()
    local system = test.system()
    local engine <close> = lvhd.engine{ threads = 1,
      system = system:pointer() }
    local path = dir .. "/disk.vhd"
    engine:create_dynamic(path, 16 * MiB):wait()
    local disk <close> = engine:open(path, { write = true })
    disk:write(3 * MiB, "kept")
    for n = 1, 2 do -- the bits of the new block, then the BAT
      system:fail{ call = "pwritev", errno = "ENOSPC", times = 1, nth = n }
      expect.fails("E_DISK_FULL", nil, disk.flush, disk)
    end
    disk:flush():write(9 * MiB, "more"):close()
    local again <close> = lvhd.open(path)
    assert.equal("kept", again:read(3 * MiB, 4))
    assert.equal("more", again:read(9 * MiB, 4))
  end)

  it("keeps what was written before #root", function()
    if not support.is_root() then
      pending("mounting needs root")
    end
    run(("mount -t tmpfs -o size=12m tmpfs %s"):format(q(dir)))
    local path = dir .. "/disk.vhd"
    lvhd.create_dynamic(path, 64 * MiB):wait()
    local disk = lvhd.open(path, { write = true })
    local data, count = ("x"):rep(MiB), 0
    for i = 0, 63 do
      local ok, err = pcall(disk.write, disk, i * MiB, data)
      if not ok then
        assert.equal("E_DISK_FULL", err.name)
        break
      end
      count = i + 1
    end
    assert.is_true(count >= 8, count .. " MiB")
    disk:flush():close()
    local again = lvhd.open(path)
    for i = 0, count - 1 do
      assert.is_true(data == again:read(i * MiB, MiB))
    end
    again:close()
    for _, f in ipairs(lvhd.check(path, { data = true }):wait()[1].findings) do
      assert.not_equal("error", f.severity)
    end
    run("umount " .. q(dir))
  end)
end)
