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

-- ---- how often it is looked at ------------------------------------------------

-- A look at base.vhd, or at the chain of child.vhd on it, and what it says.
local ASKED <const> = {
  info = function(own) return own:info(base) end,
  chain = function(own) return own:chain(child) end,
  find = function(own) return own:find(dir):wait() end,
}
-- What a look at it that is taken eight times reads: three times of the damaged
-- file, seven of its child.  (find goes the way of info.)
local READS <const> = { info = 8 * 3, chain = 8 * 10 }

-- Before each fstat of the file it gets another time: a second name of it, and
-- that of an empty file, change places.
-- Where times tick once in some milliseconds it would rest in between.
local function never_rests(system, path)
  local probe, before = dir .. "/probe", nil
  support.write(probe, "")
  for _ = 1, 3 do
    assert(os.rename(probe, probe .. "2"))
    assert(os.rename(probe .. "2", probe))
    local now = test.stat(probe).ctime
    if now == before then pending("times of this volume tick slowly") end
    before = now
  end
  os.remove(probe)
  support.run(("ln %s %s.name; touch %s"):format(path, path, dir .. "/empty"))
  system:swap{ call = "fstat", at = path, times = 0, folder = path .. ".name",
    other = dir .. "/empty" }
end

-- act(own engine, its system)
local function with_system(act)
  local system = test.system()
  local own <close> = lvhd.engine{ threads = 1, system = system:pointer() }
  act(own, system)
end

-- How many calls of that name act() makes.
local function calls_of(system, call, act)
  system:forget()
  act()
  return system:count(call)
end

for name, look in pairs(ASKED) do
  describe("a file that somebody looks at by " .. name, function()
    it("may be found cut once, wherever it is read", function()
      with_system(function(own, system)
        engine:create_dynamic(base, 64 * MiB):wait()
        engine:create_differencing(child, base):wait()
        local calls = calls_of(system, "pread", function() look(own) end)
        for n = 1, calls do
          system:short{ call = "pread", nth = n, bytes = 0 }
          local bad = wrong(pcall(look, own))
          system:drop()
          assert.is_nil(bad, bad and ("%d: %s"):format(n, bad))
        end
        assert.is_true(calls >= 3)
      end)
    end)

  end)
end

for name, reads in pairs(READS) do
  describe("a damaged file that never rests, asked by " .. name, function()
    it("is looked at eight times", function()
      with_system(function(own, system)
        make_damaged()
        never_rests(system, name == "chain" and child or base)
        system:forget()
        assert.is_truthy(wrong(pcall(ASKED[name], own)))
        assert.equal(reads, system:count("pread"))
      end)
    end)
  end)
end

describe("a damaged file that never rests", function()
  it("is told where one of the looks fails", function()
    with_system(function(own, system)
      local calls
      make_damaged()
      local function look()
        never_rests(system, base)
        local ok, err = pcall(own.info, own, base)
        support.run(("rm -f %s.name %s/empty"):format(base, dir))
        return ok, err
      end
      calls = calls_of(system, "fstat", look)
      system:drop()
      assert.is_true(calls > 8)
      for _, call in ipairs{ "fstat", "pread" } do
        for n = 1, calls do
          system:fail{ call = call, nth = n, errno = "EIO" }
          local ok, err = look()
          system:drop()
          assert.is_false(ok)
          assert.equal(call, err.syscall)
        end
      end
    end)
  end)
end)

describe("a chain that breaks, and whose leaf never rests", function()
  it("is looked at eight times", function()
    with_system(function(own, system)
      engine:create_dynamic(base, 64 * MiB):wait()
      engine:create_differencing(child, base):wait()
      os.remove(base)
      never_rests(system, child)
      system:forget()
      assert.is_truthy(wrong(pcall(own.chain, own, child)))
      assert.equal(8 * 7, system:count("pread"))
    end)
  end)
end)

describe("a file that is no disk", function()
  -- How often an info reads it; moved: it is changed all the time; seconds: since
  -- it was changed.
  local function looks(seconds, moved)
    local system = test.system()
    support.write(base, ("no disk"):rep(1000))
    system:set("now", test.stat(base).ctime // 1000000000 + seconds)
    local own <close> = lvhd.engine{ threads = 1, system = system:pointer() }
    if moved then never_rests(system, base) end
    local ok, err = pcall(own.info, own, base)
    assert.is_false(ok)
    assert.equal("VM_E_INVALID_HD_FILE", err.name)
    local count = system:count("pread")
    system:drop()
    return count
  end

  it("is looked at once, twice just after a change, else till it rests",
    function()
      local once = looks(2, false)
      assert.equal(2 * once, looks(1, false))
      assert.equal(2 * once, looks(0, false))
      assert.equal(8 * once, looks(100, true))
    end)
end)
