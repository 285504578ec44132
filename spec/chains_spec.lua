-- SPDX-License-Identifier: MIT
--
-- Random chains, read the same by lvhd, by 7-Zip and by the model of the
-- writer.  A failure prints its seed; LVHD_SEED=n LVHD_ROUNDS=1 with
-- `make test-long SPECS=spec/chains_spec.lua` makes that chain again, in all
-- groups.  The long form takes other seeds each time.

local lvhd = require "lvhd"
local support = require "spec.support"
local chains = require "spec.support.chains"
local fixtures = require "spec.support.fixtures"
local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"

local q = support.q
local ROUNDS <const> = tonumber(os.getenv("LVHD_ROUNDS") or 200)
local FIRST <const> = tonumber(os.getenv("LVHD_SEED") or os.time())

local function need(...)
  for _, program in ipairs{ ... } do
    if not support.has(program) then
      pending(program .. " is not installed")
    end
  end
end

---Runs fn(leaf, seed) on a chain for each seed; whatever fails names the
---seed and the chain.
local function rounds(first, count, opts, fn)
  for seed = first, first + count - 1 do
    local leaf
    local ok, err = xpcall(function()
      leaf = chains.make(seed, support.tmpdir(), opts)
      fn(leaf, seed)
    end, function(e)
      return debug.traceback(type(e) == "table" and e.message or tostring(e))
    end)
    if not ok then
      error(("seed %d: %s\n%s"):format(seed, err,
        leaf and chains.story(leaf) or ""), 0)
    end
    support.clean()
  end
end

---lvhd reads and maps what the model says; every layer of the chain, too.
local function by_lvhd(leaf, seed)
  local random = vhdwrite.random(seed ~ 0x5555)
  for level, model in ipairs(leaf:chain()) do
    local disk <close> = lvhd.open(model.path)
    local got = chains.content(random, disk, model.size)
    local wrong = chains.difference(model, got)
    assert(not wrong, ("layer %d: %s"):format(level, wrong))
    local runs = {}
    for offset, length, layer in disk:extents() do
      runs[#runs + 1] = { offset, length, layer }
    end
    assert.same(model:extents(), runs)
    for _ = 1, 10 do
      local offset, n = random.below(model.size), random.below(5000)
      assert(model:read(offset, n) == disk:read(offset, n),
        ("layer %d: %d bytes at %d"):format(level, n, offset))
    end
    assert.equal(#model:chain(), #disk:chain())
  end
end

local function by_7zip(leaf)
  assert.equal(fixtures.sha256(leaf:read(0, leaf.size)),
    fixtures.sha256_of_output("7zz x -tvhd -so -bd " .. q(leaf.path)
      .. " 2>/dev/null"))
end

---The reader in Lua: for what 7-Zip cannot open.
local function by_vhdread(leaf)
  local paths = {}
  for i, model in ipairs(leaf:chain()) do
    paths[i] = model.path
  end
  local wrong = chains.difference(leaf,
    vhdread.content(paths, 0, leaf.size))
  assert(not wrong, wrong)
end

---Of errors the check finds those that the model has, and no other.
local function checks_well(leaf)
  local models = leaf:chain()
  for _, data in ipairs{ false, true } do
    local infos = lvhd.check(leaf.path, { chain = true, data = data }):wait()
    assert.equal(#models, #infos)
    for i, info in ipairs(infos) do
      local found = {}
      for _, f in ipairs(info.findings) do
        found[f.code] = f.severity == "error" or nil
      end
      local parent = models[i + 1]
      assert.same({
        PARENT_SIZE = parent and parent.size ~= models[i].size or nil,
        COPY_MISSING = models[i].copy == "none" or nil,
      }, found)
    end
  end
end

describe("a random chain", function()
  it("reads as its model, in any layout", function()
    rounds(1, 40, {}, function(leaf, seed)
      by_lvhd(leaf, seed)
      checks_well(leaf)
    end)
  end)

  it("has a writer that an independent reader agrees with", function()
    rounds(1, 15, { judge = "vhdread" }, by_vhdread)
  end)

  it("of layouts that 7-Zip reads, reads so by all three", function()
    need("7zz")
    rounds(1001, 15, { judge = "7zip" }, function(leaf, seed)
      by_7zip(leaf)
      by_lvhd(leaf, seed)
      checks_well(leaf)
    end)
  end)

  for i, kind in ipairs{ "dynamic", "fixed" } do
    it("on a " .. kind .. " root by QEMU reads so by all three", function()
      need("7zz", "qemu-img", "qemu-io")
      rounds(2000 + 100 * i, 6, { judge = "7zip", qemu = kind },
        function(leaf, seed)
          by_7zip(leaf)
          by_lvhd(leaf, seed)
          checks_well(leaf)
        end)
    end)
  end
end)

describe("many random chains #slow", function()
  it("read as their models", function()
    rounds(FIRST, 10 * ROUNDS, {}, function(leaf, seed)
      by_lvhd(leaf, seed)
      checks_well(leaf)
    end)
  end)
  it("of layouts that 7-Zip reads, read so by all three", function()
    need("7zz")
    rounds(FIRST, ROUNDS, { judge = "7zip" }, function(leaf, seed)
      by_7zip(leaf)
      by_lvhd(leaf, seed)
      checks_well(leaf)
    end)
  end)
  for _, kind in ipairs{ "dynamic", "fixed" } do
    it("on " .. kind .. " roots by QEMU read so by all three", function()
      need("7zz", "qemu-img", "qemu-io")
      rounds(FIRST, ROUNDS // 2, { judge = "7zip", qemu = kind },
        function(leaf, seed)
          by_7zip(leaf)
          by_lvhd(leaf, seed)
          checks_well(leaf)
        end)
    end)
  end
end)
