-- SPDX-License-Identifier: MIT
--
-- A disk that is changed in place while somebody looks at it, without a lock:
-- what is told is the state before or the one after, or that the disk is in
-- use; a sound disk is never called damaged.  That a change holds other
-- writers and readers off is locks_spec's.

local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"

local MiB <const> = 1 << 20
local LOOKED_AT <const> = { "pread", "fstat", "openat" }

local dir, base, child, engine

before_each(function()
  dir = support.tmpdir()
  base, child = dir .. "/base.vhd", dir .. "/child.vhd"
  engine = lvhd.engine{ threads = 2, sync = "none", preflight = false }
end)

after_each(function()
  engine:close()
end)

local function put(path, at, text)
  local disk <close> = engine:open(path, { write = true, force = true })
  disk:write(at, text):close()
end

-- Each makes base.vhd, and gives a function that starts its n-th change.
local CHANGES <const> = {}

function CHANGES.resize()
  engine:create_dynamic(base, 64 * MiB, { block_size = 512 << 10 }):wait()
  put(base, 0, ("x"):rep(3 * MiB))
  return function(n)
    return engine:resize(base, 64 * MiB + n % 2 * (1 + n % 7) * 64 * MiB,
      { force = true })
  end
end

CHANGES["resize, fixed"] = function()
  engine:create_fixed(base, 4 * MiB, { allocate = "sparse" }):wait()
  return function(n)
    return engine:resize(base, (4 + n % 2 * 4) * MiB, { force = true })
  end
end

function CHANGES.compact()
  engine:create_dynamic(base, 64 * MiB, { block_size = 512 << 10 }):wait()
  return function(n)
    put(base, n % 5 * MiB, ("\0"):rep(MiB))
    put(base, n % 7 * MiB, "y")
    return engine:compact(base, { force = true })
  end
end

function CHANGES.merge()
  engine:create_dynamic(base, 64 * MiB, { block_size = 512 << 10 }):wait()
  return function(n)
    os.remove(child)
    engine:create_differencing(child, base):wait()
    put(child, n % 60 * MiB, "y")
    return engine:merge(child, { force = true })
  end
end

---What is wrong with what was told of a sound disk; nil: nothing.
local function wrong(ok, told)
  if not ok then
    return told.name ~= "E_SHARING_VIOLATION" and tostring(told) or nil
  end
  for _, info in ipairs(told.findings and { told } or told) do
    for _, finding in ipairs(info.findings) do
      if finding.severity == "error" then
        return ("%s: %s"):format(info.path, finding.code)
      end
    end
    if info.error then return tostring(info.error) end
  end
  return nil
end

local LOOKS <const> = {
  info = function() return lvhd.info(base) end,
  chain = function() return lvhd.chain(base) end,
  check = function() return lvhd.check(base):wait() end,
  find = function()
    return lvhd.find(dir):wait()
  end,
}

for name, make in pairs(CHANGES) do
  describe("a disk that is changed all the time, " .. name, function()
    -- Where each look was taken once, about one change in a thousand was met.
    local function watch(changes)
      local start, looks = make(), 0
      for n = 1, changes do
        local task = start(n)
        repeat
          for what, look in pairs(LOOKS) do
            local bad = wrong(pcall(look))
            assert.is_nil(bad, bad and ("%s: %s"):format(what, bad))
            looks = looks + 1
          end
        until task:done()
        task:wait()
      end
      assert.is_true(looks >= changes)
    end

    it("is never called damaged", function() watch(300) end)
    it("is never called damaged for long #slow", function() watch(20000) end)
  end)

  describe("a disk that is changed in the midst of a look, " .. name,
    function()
      for _, call in ipairs(LOOKED_AT) do
        it("at " .. call .. " is looked at again", function()
          local start, system = make(), test.system()
          local own <close> = lvhd.engine{ threads = 1,
            system = system:pointer() }
          start(0):wait()
          system:forget()
          own:check(base):wait()
          local calls = system:count(call)
          for n = 1, calls do
            system:hold{ call = call, nth = n }
            local task = own:check(base)
            assert.is_true(system:await(1))
            start(n):wait()
            system:drop()
            local bad = wrong(pcall(task.wait, task))
            assert.is_nil(bad, bad and ("%d: %s"):format(n, bad))
          end
          assert.is_true(calls > 0)
        end)
      end
    end)
end

-- base.vhd is damaged: an entry of the BAT leaves the file.
local function make_damaged()
  engine:create_dynamic(base, 64 * MiB, { block_size = 512 << 10 }):wait()
  engine:create_differencing(child, base):wait()
  local file = assert(io.open(base, "r+b"))
  file:seek("set", 1536)
  file:write("\0\1\0\0")
  file:close()
end

describe("a disk that others touch all the time", function()
  local toucher

  local function touch()
    toucher = test.spawn(function()
      for second = 1, math.huge do test.utime(base, 1000000000 + second) end
    end)
  end

  after_each(function()
    test.kill(toucher, test.SIGKILL)
    test.wait(toucher)
  end)

  it("is damaged where it is", function()
    make_damaged()
    touch()
    for what, look in pairs(LOOKS) do
      local bad = wrong(pcall(look))
      assert.matches("base.vhd: BLOCK_OUTSIDE", bad, 1, true, what)
    end
  end)

  it("is converted, or was changed meanwhile", function()
    engine:create_dynamic(base, 64 * MiB):wait()
    touch()
    local ok, err = pcall(function()
      engine:convert(base, dir .. "/new.vhd"):wait()
    end)
    assert.is_true(ok or err.reason == "SOURCE_CHANGED", tostring(err))
  end)
end)

describe("whether a damaged disk is being changed", function()
  -- Raised, or the reason why the chain ends.
  local function error_of(ok, told)
    if not ok then return told end
    for _, info in ipairs(told.findings and { told } or told) do
      if info.error then return info.error end
    end
    return nil
  end

  for name, look in pairs{
    info = function(own) return own:info(base) end,
    chain = function(own) return own:chain(child) end,
    check = function(own) return own:check(child, { chain = true }):wait() end,
  } do
    it("is asked by " .. name .. ", and told where that fails", function()
      local system = test.system()
      local own <close> = lvhd.engine{ threads = 1,
        system = system:pointer() }
      make_damaged()
      look(own)
      system:forget()
      look(own)
      local calls = system:count("fstat")
      for n = 1, calls do
        system:fail{ call = "fstat", nth = n, errno = "EIO" }
        local err = error_of(pcall(look, own))
        system:drop()
        assert.is_truthy(err, n)
        assert.equal("fstat", err.syscall)
      end
      assert.is_true(calls >= (name == "info" and 2 or 4))
    end)
  end
end)
