-- SPDX-License-Identifier: MIT
--
-- A fair pool (design 2): however many long operations there are, one worker
-- is left to the short ones, where there is more than one.  Items that a task
-- spreads are the business of spec/c/test_spread.c.

local support = require "spec.support"
local life = require "spec.support.life"

local lvhdtest, lifetest = life.modules()
local MiB = 1 << 20

describe("beside long operations #tsan", function()
  if not lvhdtest then
    pending(tostring(lifetest))
    return
  end

  local lvhd = require "lvhd"
  local folder

  before_each(function()
    folder = support.tmpdir()
    support.mkdir(folder .. "/long")
  end)

  after_each(life.clean)

  -- What is there before, and the call. All of them write in "long".
  local LONG = {}

  LONG["zero-filled disks"] = { call = function(engine, base)
    return engine:create_fixed(base .. ".vhd", 8 * MiB, { allocate = "zero" })
  end }

  LONG.convert = {
    prepare = function(base)
      lvhd.create_dynamic(base .. ".vhd", 64 * MiB):wait()
    end,
    call = function(engine, base)
      return engine:convert(base .. ".vhd", base .. "-fixed.vhd",
        { to = "fixed" })
    end,
  }

  LONG.merge = {
    prepare = function(base)
      lvhd.create_dynamic(base .. "-parent.vhd", 64 * MiB):wait()
      lvhd.create_differencing(base .. ".vhd", base .. "-parent.vhd"):wait()
      lvhd.open(base .. ".vhd", { write = true, children_in = false })
        :write(0, "what is to be merged"):close()
    end,
    call = function(engine, base)
      return engine:merge(base .. ".vhd", { children_in = false })
    end,
  }

  LONG.compact = {
    prepare = function(base)
      lvhd.create_dynamic(base .. ".vhd", 64 * MiB):wait()
      local disk <close> = lvhd.open(base .. ".vhd", { write = true })
      disk:write(0, ("\0"):rep(512))
      disk:write(8 * MiB, ("x"):rep(512))
    end,
    call = function(engine, base)
      return engine:compact(base .. ".vhd")
    end,
  }

  local function base(i)
    return ("%s/long/%d"):format(folder, i)
  end

  local function count(tasks, status)
    local n = 0
    for _, task in ipairs(tasks) do
      n = n + (task:status() == status and 1 or 0)
    end
    return n
  end

  ---Twenty short ones, and they must all end.
  local function short_ones(engine, first)
    local list = {}
    for i = first, first + 19 do
      list[#list + 1] = engine:create_dynamic(("%s/%d.vhd"):format(folder, i),
        64 * MiB)
    end
    for _, task in ipairs(list) do
      assert.is_table((task:wait(20)))
    end
  end

  local function try(threads, kinds)
    for i, kind in ipairs(kinds) do
      if LONG[kind].prepare then
        LONG[kind].prepare(base(i))
      end
    end
    local engine, system = life.gated { threads = threads }
    system:hold { call = "pwritev", at = "/long/" }
    finally(function() system:drop() end)
    local tasks = {}
    for i, kind in ipairs(kinds) do
      tasks[i] = LONG[kind].call(engine, base(i))
    end
    assert.is_true(system:await(threads - 1))
    short_ones(engine, 1)
    -- all but one worker are busy with long ones, and no one more
    assert.equal(threads - 1, count(tasks, "running"))
    assert.equal(#tasks - threads + 1, count(tasks, "queued"))
    assert.is_false(system:await(threads, 0.02))
    short_ones(engine, 21)
    system:drop()
    for _, task in ipairs(tasks) do
      assert.is_truthy(task:wait(20))
    end
    engine:close()
  end

  for _, threads in ipairs { 2, 4 } do
    for _, kind in ipairs { "zero-filled disks", "convert", "merge",
      "compact" } do
      it(("(%s) %d threads run short ones"):format(kind, threads), function()
        local kinds = {}
        for i = 1, threads + 2 do
          kinds[i] = kind
        end
        try(threads, kinds)
      end)
    end

    it(("(all kinds) %d threads run short ones"):format(threads), function()
      try(threads, { "merge", "zero-filled disks", "convert", "compact",
        "convert", "merge" })
    end)
  end

  it("(create_children) short ones come between its items", function()
    local engine = lvhd.engine { threads = 2, sync = "none",
      preflight = false, system = lifetest.slow { pwritev = 0.01 } }
    local parent = engine:create_dynamic(folder .. "/p.vhd", 64 * MiB):wait()
    local tasks = {}
    for i = 1, 2 do
      local images = {}
      for j = 1, 150 do
        images[j] = ("%s/long/%d-%d.vhd"):format(folder, i, j)
      end
      tasks[i] = engine:create_children(images, parent.path)
    end
    assert.is_true(life.eventually(function()
      return tasks[1]:status() == "running"
    end))
    short_ones(engine, 1)
    -- 3 seconds of one worker, or half of it for two
    assert.equal("running", tasks[1]:status())
    assert.equal("queued", tasks[2]:status())
    for _, task in ipairs(tasks) do
      assert.equal(150, #task:wait(60))
    end
    engine:close()
  end)

  it("a cancelled one makes room for the next", function()
    local engine, system = life.gated { threads = 2 }
    local hold = system:hold { call = "pwritev", at = "/long/" }
    finally(function() system:drop() end)
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = LONG["zero-filled disks"].call(engine, base(i))
    end
    assert.is_true(system:await(1))
    assert.is_truthy(hold)
    assert.is_true(tasks[2]:cancel())
    assert.is_true(tasks[1]:cancel())
    short_ones(engine, 1)
    assert.equal("queued", tasks[3]:status())
    system:drop()
    assert.is_table((tasks[3]:wait(20)))
    assert.equal("cancelled", tasks[1]:status())
    assert.equal("cancelled", tasks[2]:status())
    engine:close()
  end)

  it("one thread runs all, one after the other", function()
    local engine, system = life.gated { threads = 1 }
    system:hold { call = "pwritev", at = "/long/" }
    finally(function() system:drop() end)
    local long = LONG["zero-filled disks"].call(engine, base(1))
    local short = engine:create_dynamic(folder .. "/s.vhd", 64 * MiB)
    assert.is_true(system:await(1))
    assert.is_nil((short:wait(0.05)))
    assert.equal("queued", short:status())
    system:drop()
    assert.is_table((long:wait(20)))
    assert.is_table((short:wait(20)))
    engine:close()
  end)
end)
