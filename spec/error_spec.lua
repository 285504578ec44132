-- SPDX-License-Identifier: MIT
--
-- The error class: its fields, how it prints, and the documented table of
-- names and numbers.  The one place that pins texts.

local lvhd = require "lvhd"
local support = require "spec.support"
local handmade = require "spec.support.handmade"

local MiB <const> = 1 << 20

local dir, image

before_each(function()
  dir = support.tmpdir()
  image = dir .. "/a.vhd"
end)

-- base/codes.def as a list of { name, number, text }, in its order.
local function codes()
  local list = {}
  local text = support.read("src/base/codes.def"):gsub("/%*.-%*/", "")
  for name, number, words in text:gmatch(
    'LV_CODE%(([%w_]+),%s*(0x%x+)u,%s*"([^"]+)",') do
    list[#list + 1] = { name = name, number = math.tointeger(number),
      text = words }
  end
  return list
end

-- base/fault.def as a set of names.
local function reasons()
  local set = {}
  local text = support.read("src/base/fault.def"):gsub("/%*.-%*/", "")
  for name in text:gmatch("LV_FAULT%(([%w_]+)") do
    set[name] = true
  end
  return set
end

local function exists()
  support.write(image, "mine")
  return select(2, pcall(lvhd.create_differencing, image,
    handmade.fixed(dir .. "/p.vhd", 4 * MiB)))
end

describe("lvhd.hresult", function()
  it("maps every name to its number and back", function()
    local list = codes()
    assert.equal(50, #list)
    for _, code in ipairs(list) do
      assert.equal(code.number, lvhd.hresult[code.name])
      assert.equal(code.name, lvhd.hresult[code.number])
    end
  end)

  it("holds non-negative integers, and nothing else", function()
    local names, numbers = 0, 0
    for key, value in pairs(lvhd.hresult) do
      if type(key) == "string" then
        names = names + 1
        assert.equal("integer", math.type(value))
        assert.is_true(value >= 0 and value < 1 << 32)
      else
        numbers = numbers + 1
        assert.equal(key, lvhd.hresult[value])
      end
    end
    assert.equal(#codes(), names)
    assert.equal(#codes(), numbers)
  end)

  it("has the numbers of the Windows headers", function()
    for name, number in pairs{ E_POINTER = 0x80004003,
      E_INVALIDARG = 0x80070057, E_ALREADY_EXISTS = 0x800700B7,
      E_PATH_NOT_FOUND = 0x80070003, E_INVALID_NAME = 0x8007007B,
      E_BAD_PATHNAME = 0x800700A1, E_BUFFER_OVERFLOW = 0x8007006F,
      E_DISK_FULL = 0x80070070, E_SHARING_VIOLATION = 0x80070020,
      E_ACCESSDENIED = 0x80070005, E_ABORT = 0x80004004,
      DISP_E_EXCEPTION = 0x80020009, VM_E_APP_SHUTTING_DOWN = 0xA0040209,
      VM_E_INVALID_HD_FILE = 0xA0040682,
      VM_E_IMAGE_SIZE_TOO_LARGE = 0xA0040683,
      VM_E_IMAGE_SIZE_TOO_SMALL = 0xA0040684,
      VM_E_FILE_TOO_LARGE_FOR_VOLUME = 0xA0040679 } do
      assert.equal(number, lvhd.hresult[name], name)
    end
  end)

  it("has no other name", function()
    assert.is_nil(lvhd.hresult.E_NONSENSE)
    assert.is_nil(lvhd.hresult[12345])
  end)

  it("is in the order of the C enum", function()
    local header = support.read("src/lvhd.h"):match("enum lvhd_code (%b{})")
    local names = {}
    for name in header:gsub("/%*.-%*/", ""):gmatch("LVHD_([%w_]+)") do
      names[#names + 1] = name
    end
    assert.equal("CODES", table.remove(names))
    for i, code in ipairs(codes()) do
      assert.equal(code.name, names[i])
    end
  end)
end)

describe("an error", function()
  it("is a table with the fields of its failure", function()
    local err = exists()
    assert.equal("table", type(err))
    assert.equal("lvhd.error", getmetatable(err).__name)
    assert.equal("E_ALREADY_EXISTS", err.name)
    assert.equal(0x800700B7, err.hresult)
    assert.equal("integer", math.type(err.hresult))
    assert.equal("create_differencing", err.op)
    assert.equal(image, err.path)
    assert.equal(dir .. "/p.vhd", err.parent)
    assert.equal("string", type(err.message))
  end)

  it("has nothing where nothing is known", function()
    local err = select(2, pcall(lvhd.create_dynamic, nil, 64 * MiB))
    for _, field in ipairs{ "path", "parent", "errno", "errname", "syscall",
      "expected", "actual", "offset", "layer", "items" } do
      assert.is_nil(err[field], field)
    end
  end)

  it("says errno, its name and the call that failed", function()
    local err = select(2, pcall(lvhd.create_differencing, image,
      dir .. "/missing"))
    assert.equal(2, err.errno)
    assert.equal("ENOENT", err.errname)
    assert.equal("string", type(err.syscall))
  end)

  it("has a reason of the one vocabulary", function()
    local known = reasons()
    assert.is_true(known.FILE_MISSING)
    for _, call in ipairs{
      { lvhd.create_differencing, image, dir .. "/missing" },
      { lvhd.create_differencing, image, dir .. "/no/p.vhd" },
      { lvhd.create_differencing, image, dir },
      { lvhd.create_dynamic, "", 64 * MiB },
      { lvhd.create_dynamic, "a", 64 * MiB },
      { lvhd.create_dynamic, dir .. "/*", 64 * MiB },
      { lvhd.create_dynamic, image, 1 },
      { lvhd.create_dynamic, image, "x" } } do
      local _, err = pcall(table.unpack(call))
      assert.is_true(known[err.reason], tostring(err.reason))
    end
  end)

  it("says the script and line of the call", function()
    local line
    local ok, err = pcall(function()
      line = debug.getinfo(1, "l").currentline + 1
      return (lvhd.create_dynamic("a.vhd", 64 * MiB))
    end)
    assert.is_false(ok)
    assert.is_truthy(err.where:find("error_spec.lua:" .. line, 1, true),
      err.where)
  end)

  it("of a wait says where it was waited", function()
    local task = lvhd.create_differencing(image, dir .. "/missing",
      { preflight = false })
    local line
    local _, err = pcall(function()
      line = debug.getinfo(1, "l").currentline + 1
      local info = task:wait()
      return info
    end)
    assert.is_truthy(err.where:find("error_spec.lua:" .. line, 1, true),
      err.where)
    assert.equal("create_differencing", err.op)
  end)
end)

describe("tostring of an error", function()
  -- What a script of its own prints when it is left by an error.
  local function script(text)
    local path = dir .. "/script.lua"
    support.write(path, text)
    local _, out = support.sh("cd " .. dir .. " && LUA_PATH="
      .. support.q(package.path:gsub("%./", support.run("pwd")
        :gsub("\n", "") .. "/")) .. " LUA_CPATH="
      .. support.q(package.cpath:gsub("%./", support.run("pwd")
        :gsub("\n", "") .. "/")) .. " lua5.4 script.lua")
    return out
  end

  it("is one line: place, name, number, operation, path, text", function()
    support.write(image, "mine")
    handmade.fixed(dir .. "/p.vhd", 4 * MiB)
    local out = script(([[
local lvhd = require "lvhd"

local dir = %q

-- line 5
local function run() -- line 6
  return (lvhd.create_differencing(dir .. "/a.vhd", dir .. "/p.vhd"))
end
print(select(2, pcall(run)))
]]):format(dir))
    assert.equal("script.lua:7: E_ALREADY_EXISTS (0x800700B7): "
      .. "create_differencing '" .. image .. "': the file exists\n", out)
  end)

  it("is what lua prints of an error that nobody caught", function()
    local out = script([[
local lvhd = require "lvhd"
lvhd.create_dynamic("a.vhd", 64 << 20)
]])
    assert.is_truthy(out:find("script.lua:2: E_BAD_PATHNAME (0x800700A1): "
      .. "create_dynamic 'a.vhd': no path of the call is absolute", 1, true),
      out)
  end)

  it("names the reason, the value and the limit", function()
    local function text(fn, ...)
      local _, err = pcall(fn, ...)
      return (tostring(err):gsub("^.-: ", "", 1))
    end
    assert.equal("VM_E_IMAGE_SIZE_TOO_SMALL (0xA0040684): create_dynamic '"
      .. image .. "': the size is beyond the limit: at least 3145728 needed, "
      .. "2097152 found",
      (text(lvhd.create_dynamic, image, 2 * MiB)))
    assert.equal("E_POINTER (0x80004003): create_dynamic: "
      .. "the image is nil",
      (text(lvhd.create_dynamic, nil, 2 * MiB)))
  end)

  it("is the same each time, and stays when the error is kept", function()
    local err = exists()
    assert.equal(tostring(err), tostring(err))
    assert.is_truthy(tostring(err):find(err.message, 1, true))
    assert.is_truthy(tostring(err):find(err.where, 1, true))
  end)
end)

describe("an error in strings", function()
  it("concatenates as its string, on both sides", function()
    local err = exists()
    assert.equal("failed: " .. tostring(err), "failed: " .. err)
    assert.equal(tostring(err) .. "!", err .. "!")
    assert.equal(tostring(err) .. tostring(err), err .. err)
    assert.equal("1" .. tostring(err), 1 .. err)
  end)

  it("can be raised again", function()
    local err = exists()
    local _, again = pcall(error, err)
    assert.equal(err, again)
    assert.is_true(lvhd.is_error(again))
  end)
end)

describe("lvhd.is_error", function()
  it("knows errors of lvhd, and their names", function()
    local err = exists()
    assert.is_true(lvhd.is_error(err))
    assert.is_true(lvhd.is_error(err, "E_ALREADY_EXISTS"))
    assert.is_false(lvhd.is_error(err, "E_DISK_FULL"))
  end)

  it("says no to all else", function()
    for _, value in ipairs{ "text", 5, true, {}, print,
      { name = "E_ALREADY_EXISTS" } } do
      assert.is_false(lvhd.is_error(value))
      assert.is_false(lvhd.is_error(value, "E_ALREADY_EXISTS"))
    end
    assert.is_false(lvhd.is_error(nil))
    assert.is_false(lvhd.is_error(setmetatable({}, {
      __index = function() return "E_ALREADY_EXISTS" end })))
  end)
end)

describe("the version", function()
  it("is three numbers", function()
    assert.is_truthy(lvhd.version:match("^%d+%.%d+%.%d+$"))
  end)
end)
