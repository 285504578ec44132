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
