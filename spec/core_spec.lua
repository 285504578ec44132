-- SPDX-License-Identifier: MIT
--
-- lvhd.core itself: whoever calls it with what its Lua side would never give
-- gets an error of Lua or of lvhd, and never a crash.  What its functions do
-- is shown by the specs of their modules.

local lvhd = require "lvhd"
local core = require "lvhd.core"
local lvhdtest = require "lvhdtest"
local life = require "spec.support.life"
local support = require "spec.support"

local MiB <const> = 1 << 20

-- An object of each kind, empty: as a finalizer leaves it, or a failed call.
local function finalized(object)
  debug.getmetatable(object).__gc(object)
  return object
end

describe("lvhd.core", function()
  local dir, engine, path

  before_each(function()
    dir = support.tmpdir()
    engine = lvhd.engine { sync = "none" }
    path = dir .. "/a.vhd"
    engine:create_dynamic(path, 3 * MiB):wait()
  end)

  -- The next call is what frees a collected engine, with its descriptors.
  after_each(function()
    engine:close()
    engine = nil
    collectgarbage()
    collectgarbage()
    lvhd.engine():close()
  end)

  local function refuses(text, fn, ...)
    local ok, err = pcall(fn, ...)
    assert.is_false(ok)
    assert.matches(text, err, 1, true)
  end

  -- The first argument of each function, and who it belongs to.
  local OWNERS <const> = {
    engine = { "engine_stop", "engine_idle", "engine_join", "engine_forked",
      "engine_counts", "windows_path", "host_path", "check_path", "create",
      "create_children", "read_info", "read_chain", "check", "find",
      "children", "convert", "merge", "compact", "repair", "resize", "relink",
      "open", "collect", "ended", "ended_count", "ended_step", "engine_fd",
      "waiter" },
    task = { "step", "status", "error", "info", "progress", "cancel",
      "elapsed", "fd", "task_forked" },
    disk = { "disk_size", "read", "write", "flush", "extent", "disk_chain" },
    waiter = { "attach", "attach_ended", "detach" },
  }
  local EMPTY <const> = { engine = "not an engine", task = "not a task",
    disk = "a closed disk", waiter = "not a waiter" }

  local function objects()
    return {
      engine = engine,
      task = engine:check(path),
      disk = engine:open(path),
      waiter = core.waiter(engine),
    }
  end

  it("takes no object for another one, nor any other value", function()
    local all = objects()
    for owner, names in pairs(OWNERS) do
      for _, name in ipairs(names) do
        for kind, object in pairs(all) do
          if kind ~= owner then
            refuses("bad argument #1", core[name], object)
          end
        end
        for _, value in ipairs{ 1, "x", true, {}, print, io.stdout } do
          refuses("bad argument #1", core[name], value)
        end
        refuses("bad argument #1", core[name])
      end
    end
    all.task:wait()
    all.disk:close()
  end)

  it("knows an object that was finalized", function()
    local own = lvhd.engine()
    local all = objects()
    all.task:wait()
    all.engine = own
    for owner, names in pairs(OWNERS) do
      finalized(all[owner])
      for _, name in ipairs(names) do
        refuses(EMPTY[owner], core[name], all[owner], 0, 0, 0)
      end
      finalized(all[owner]) -- again is nothing
    end
    assert.is_nil(core.describe(all.task))
    assert.is_false((core.disk_state(all.disk)))
    assert.is_true(core.disk_close(all.disk))
  end)

  it("refuses numbers outside of what a call takes", function()
    local disk <close> = engine:open(path, { write = true })
    refuses("negative", core.read, disk, -1, 512)
    refuses("not a piece", core.read, disk, 0, -1)
    refuses("not a piece", core.read, disk, 0, (4 << 20) + 1)
    refuses("negative", core.write, disk, -1, "x", 0)
    refuses("outside", core.write, disk, 0, "x", -1)
    refuses("outside", core.write, disk, 0, "x", 2)
    assert.equal(("\0"):rep(512), disk:read(0, 512))
    assert.equal(0, core.write(disk, 0, "x", 1)) -- nothing is left of it
  end)

  it("takes a list with holes for one with NULLs, which the engine refuses",
    function()
      local _, err = core.create_children(engine, path, { false }, {})
      assert.equal("E_POINTER", err.name)
      _, err = core.find(engine, { 1 })
      assert.equal("E_POINTER", err.name)
      _, err = core.open(engine, { false })
      assert.equal("E_POINTER", err.name)
      _, err = core.check_path(engine, nil)
      assert.equal("E_POINTER", err.name)
    end)

  it("makes a result anew when nobody has the old one any more", function()
    local task = engine:check(path)
    local uuid = task:wait()[1].uuid
    collectgarbage()
    collectgarbage()
    assert.equal(uuid, task:wait()[1].uuid)
    assert.equal(task:wait(), task:wait())
  end)

  it("knows nothing of many images in a forked child", function()
    local task = engine:create_children({ "b.vhd", "b.vhd" }, path,
      { preflight = false })
    pcall(task.wait, task)
    assert.equal(2, #task:error().items)
    local status, text = lvhdtest.fork(function()
      local err = core.error(task)
      return ("%s %s"):format(err.name, err.items)
    end)
    assert.equal(0, status)
    assert.equal("E_ALREADY_EXISTS nil", text)
  end)

  -- ---- what the system refuses ------------------------------------------

  it("says that no descriptor is left for a wait with poll #nosan", function()
    local out = life.prints([[
      local lvhd, lvhdtest = require "lvhd", require "lvhdtest"
      local polled = 0
      local engine = lvhd.engine { threads = 1,
        poll = function() polled = polled + 1 end }
      local task = engine:create_fixed(... .. "/b.vhd", 64 << 20,
        { allocate = "zero" })
      repeat -- until its file is open
      until select(2, task:progress()) > 0
      lvhdtest.limit("nofile", 3)
      local ok, err = pcall(task.wait, task)
      print(ok, lvhd.is_error(err, "VM_E_OUT_OF_RESOURCE"), err.syscall)
      lvhdtest.limit("nofile", 64)
      print(task:wait().size >> 20, polled > 0)
    ]], dir)
    assert.equal("false\ttrue\teventfd\n64\ttrue\n", out)
  end)

  -- ---- cqueues that is none ---------------------------------------------

  it("raises nothing when cqueues cannot be told of a descriptor", function()
    for _, code in ipairs{
      "{}", "{ cancel = 1 }", "{ cancel = function() error 'no' end }",
      "setmetatable({}, { __index = function() error 'no' end })" } do
      local out = life.prints([[
        package.loaded.cqueues = ]] .. code .. [[

        local lvhd = require "lvhd"
        local engine = lvhd.engine()
        local task = engine:check(...)
        print(task:fd() > 2, engine:fd() > 2, task:wait() ~= nil)
        task = nil
        collectgarbage() collectgarbage()
        engine:close()
        engine = nil
        collectgarbage() collectgarbage()
        lvhd.engine():close()
        print "done"
      ]], path)
      assert.equal("true\ttrue\ttrue\ndone\n", out)
    end
  end)
end)
