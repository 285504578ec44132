-- SPDX-License-Identifier: MIT
--
-- Sizes as a program gives them: integers, integral floats, and strings
-- with powers of 1024.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"

local MiB <const> = 1 << 20

local engine, dir

before_each(function()
  engine = lvhd.engine{ threads = 1, sync = "none" }
  dir = support.tmpdir()
end)

after_each(function()
  engine:close()
end)

local function size_of(size)
  local path = dir .. "/a.vhd"
  local info = engine:create_dynamic(path, size):wait()
  os.remove(path)
  return info.size
end

describe("a size in words", function()
  local good = {
    ["64 MiB"] = 64 * MiB,
    ["64MiB"] = 64 * MiB,
    ["64 MB"] = 64 * MiB,
    ["64M"] = 64 * MiB,
    ["64 M"] = 64 * MiB,
    ["3MB"] = 3 * MiB,
    ["40 GiB"] = 40 * 1024 * MiB,
    ["40GB"] = 40 * 1024 * MiB,
    ["40g"] = 40 * 1024 * MiB,
    ["64 mib"] = 64 * MiB,
    ["1 TiB"] = 1024 * 1024 * MiB,
    ["1T"] = 1024 * 1024 * MiB,
    ["4096 KiB"] = 4 * MiB,
    ["4096K"] = 4 * MiB,
    ["4096kB"] = 4 * MiB,
    ["2088959 MB"] = 2088959 * MiB,
    ["67108864"] = 64 * MiB,
  }
  for text, bytes in pairs(good) do
    it(("'%s' is %d bytes"):format(text, bytes), function()
      assert.equal(bytes, size_of(text))
    end)
  end

  local bad = { "", " ", "MiB", "64 XiB", "64 MiBs", "64 MiB 1", "0x40 MiB",
    "-", "64,5 GiB", "nan", "inf", "1e3 MiB", "64 PiB",
    "64 MiB\0" }
  for _, text in ipairs(bad) do
    it(("'%s' is E_INVALIDARG"):format((text:gsub("%z", "\\0"))), function()
      expect.unchanged(dir, function()
        expect.refused("E_INVALIDARG", "SIZE_MALFORMED",
          engine.create_dynamic, engine, dir .. "/a.vhd", text)
      end)
    end)
  end

  for _, text in ipairs{ "99999999999999999999 GiB",
    "9223372036854775807 TiB", "9007199254740993 TiB", "20000000 TiB",
    "9223372036854775808" } do
    it(("'%s' is VM_E_IMAGE_SIZE_TOO_LARGE"):format(text), function()
      expect.unchanged(dir, function()
        expect.refused("VM_E_IMAGE_SIZE_TOO_LARGE", "SIZE_LIMIT",
          engine.create_dynamic, engine, dir .. "/a.vhd", text)
      end)
    end)
  end

  it("is checked as a number is", function()
    expect.refused("E_INVALIDARG", "SIZE_NOT_POSITIVE",
      engine.create_dynamic, engine, dir .. "/a.vhd", "0 MiB")
    expect.refused("VM_E_IMAGE_SIZE_TOO_SMALL", "SIZE_LIMIT",
      engine.create_dynamic, engine, dir .. "/a.vhd", "2 MiB")
    expect.refused("VM_E_IMAGE_SIZE_TOO_LARGE", "SIZE_LIMIT",
      engine.create_dynamic, engine, dir .. "/a.vhd", "2088960 MB")
    expect.refused("VM_E_IMAGE_SIZE_TOO_LARGE", "SIZE_LIMIT",
      engine.create_dynamic, engine, dir .. "/a.vhd", "3 TiB")
  end)
end)

describe("a size in bytes", function()
  it("is kept exactly, never rounded to cylinders", function()
    for _, size in ipairs{ 64 * MiB + 512, 100 * MiB + 5 * 512,
      127 * 1024 * MiB + 512 } do
      assert.equal(size, size_of(size))
    end
  end)

  it("may be a float with an integral value", function()
    assert.equal(64 * MiB, size_of(64.0 * MiB))
    assert.equal(2 ^ 30 | 0, size_of(2 ^ 30))
  end)

  it("may not be another float", function()
    for _, row in ipairs{ { 64 * MiB + 0.5, "E_INVALIDARG" },
      { 0 / 0, "E_INVALIDARG" }, { 1e300, "VM_E_IMAGE_SIZE_TOO_LARGE" },
      { math.huge, "VM_E_IMAGE_SIZE_TOO_LARGE" } } do
      expect.refused(row[2], nil, engine.create_dynamic, engine,
        dir .. "/a.vhd", row[1])
      assert.same({}, support.names(dir))
    end
  end)

  it("below 1 MiB gets the hint that it is bytes", function()
    local err = expect.refused("VM_E_IMAGE_SIZE_TOO_SMALL", "SIZE_LIMIT",
      engine.create_dynamic, engine, dir .. "/a.vhd", 65536)
    assert.equal('did you mean "65536 MiB"?', err.hint)
    err = expect.refused("E_INVALIDARG", "SIZE_UNALIGNED",
      engine.create_fixed, engine, dir .. "/a.vhd", 64)
    assert.equal('did you mean "64 MiB"?', err.hint)
    err = expect.refused("VM_E_IMAGE_SIZE_TOO_SMALL", "SIZE_LIMIT",
      engine.create_dynamic, engine, dir .. "/a.vhd", 2 * MiB)
    assert.is_nil(err.hint)
  end)
end)
