-- SPDX-License-Identifier: MIT
--
-- Disks that nobody closed and nobody can reach: they must not stand in the
-- way of those who want the file.

local lvhd = require "lvhd"
local support = require "spec.support"

describe("a disk that nobody can reach", function()
  local dir

  before_each(function()
    dir = support.tmpdir()
    lvhd.create_dynamic(dir .. "/disk.vhd", "16 MiB"):wait()
    lvhd.create_differencing(dir .. "/child.vhd", dir .. "/disk.vhd"):wait()
    collectgarbage()
    collectgarbage("stop")
  end)

  after_each(function()
    collectgarbage("restart")
    support.clean()
  end)

  it("lets go for those who write", function()
    assert.equal(("\0"):rep(512), lvhd.open(dir .. "/child.vhd"):read(0, 512))
    local disk <close> = lvhd.open(dir .. "/child.vhd", { write = true })
    disk:write(0, "data")
  end)

  it("lets go for those who read", function()
    lvhd.open(dir .. "/disk.vhd", { write = true, force = true })
    local disk <close> = lvhd.open(dir .. "/child.vhd")
    assert.equal(("\0"):rep(512), disk:read(0, 512))
  end)

  it("lets go for the verbs", function()
    local child = dir .. "/child.vhd"
    for _, verb in ipairs{ "compact", "repair" } do
      lvhd.open(child, { write = true }):write(0, "data")
      lvhd[verb](child):wait()
    end
    lvhd.open(child)
    lvhd.relink(child, dir .. "/disk.vhd"):wait()
    lvhd.open(child)
    lvhd.merge(child, { delete = true }):wait()
    lvhd.open(dir .. "/disk.vhd")
    lvhd.resize(dir .. "/disk.vhd", "20 MiB"):wait()
    lvhd.open(dir .. "/disk.vhd", { write = true }):write(0, "last")
    lvhd.convert(dir .. "/disk.vhd", dir .. "/copy.vhd"):wait()
    assert.equal("last", lvhd.open(dir .. "/copy.vhd"):read(0, 4))
  end)

  it("reads what others have flushed", function()
    local path = dir .. "/disk.vhd"
    local writer <close> = lvhd.open(path, { write = true, force = true })
    local reader <close> = lvhd.open(path)
    for i = 0, 5 do
      local offset = i * 5 // 2 * 1000000
      assert.equal(("\0"):rep(1000), reader:read(offset, 1000))
      writer:write(offset, ("%d"):format(i):rep(1000)):flush()
      assert.equal(("%d"):format(i):rep(1000), reader:read(offset, 1000))
      local layer = select(3, reader:extents(offset // 512 * 512 + 512, 1)())
      assert.equal(1, layer)
    end
  end)

  it("stands in the way while somebody has it", function()
    local disk <close> = lvhd.open(dir .. "/child.vhd")
    local ok, err = pcall(function()
      return lvhd.compact(dir .. "/child.vhd"):wait()
    end)
    assert.is_false(ok)
    assert.equal("E_SHARING_VIOLATION", err.name)
    assert.equal(512, #disk:read(0, 512))
  end)
end)
