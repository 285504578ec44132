-- SPDX-License-Identifier: MIT
--
-- Every public call of lvhd at least once, with something done after each of
-- them: for collectors that come at every moment.  It judges a little of what
-- the calls give, so that one that went wrong is seen.  Knows the public API
-- only, and asks the module's tables that none of it was forgotten.

local MiB <const> = 1 << 20

local everycall = {}

-- Puts functions that count in the place of those of the tables; the counts
-- by name.
local function watch(tables, after)
  local counts = {}
  for of, t in pairs(tables) do
    for name, f in pairs(t) do
      if type(f) == "function" then
        local key = of .. "." .. name
        counts[key] = 0
        t[name] = function(...)
          counts[key] = counts[key] + 1
          local results = table.pack(pcall(f, ...))
          after()
          if not results[1] then
            error(results[2], 0)
          end
          return table.unpack(results, 2, results.n)
        end
      end
    end
  end
  return counts
end

local function tables(lvhd)
  local e = lvhd.engine()
  local path = os.tmpname()
  os.remove(path)
  local task = e:create_dynamic(path, 4 * MiB)
  task:wait()
  local disk = e:open(path)
  disk:close()
  os.remove(path)
  return { lvhd = lvhd, engine = getmetatable(e).__index,
    task = getmetatable(task).__index, disk = getmetatable(disk).__index }
end

local function fails(name, f, ...)
  local lvhd = require "lvhd"
  local ok, err = pcall(f, ...)
  assert(not ok and lvhd.is_error(err, name), tostring(err))
  -- no err .. text: in Lua 5.4.4 a stack that moves inside any __concat, as
  -- when the collector comes by, makes the virtual machine read freed memory
  return #tostring(err)
end

-- ---- the calls ------------------------------------------------------------

local function creating(e, dir)
  local lvhd = require "lvhd"
  for _, o in ipairs{ lvhd, false } do
    local as = o and "m" or "e"
    local function call(name, ...)
      if o then
        return o[name](...)
      end
      return e[name](e, ...)
    end
    local at = dir .. "/" .. as
    local base = call("create_dynamic", at .. "/base.vhd", "64 MiB",
      { filesystem = "fat16", label = "EVERY" }):wait()
    assert(base.size == 64 * MiB)
    call("create_fixed", at .. "/fixed.vhd", 3 * MiB, { mode = "0640" }):wait()
    call("create_differencing", at .. "/child.vhd", base.path):wait()
    local many = call("create_children", { "1.vhd", { image = "2.vhd" } },
      base.path):wait()
    assert(#many == 2 and many[2].path == at .. "/2.vhd")
    assert(call("convert", at .. "/child.vhd", at .. "/flat.vhd",
      { to = "dynamic" }):wait().size == 64 * MiB)
    call("relink", at .. "/1.vhd", base.path):wait()
    call("compact", at .. "/flat.vhd"):wait()
    call("resize", at .. "/fixed.vhd", 4 * MiB):wait()
    call("repair", at .. "/flat.vhd"):wait()
    assert(#call("check", at .. "/child.vhd", { chain = true }):wait() == 2)
    assert(#call("find", at):wait() == 6)
    assert(#call("children", base.path, at):wait() == 3)
    assert(call("info", base.path).uuid == base.uuid)
    assert(#call("chain", at .. "/child.vhd") == 2)
    os.remove(at .. "/1.vhd")
    os.remove(at .. "/2.vhd")
    call("merge", at .. "/child.vhd", { delete = true }):wait()
    local disk = call("open", base.path)
    assert(#disk:read(0, 512) == 512)
    disk:close()
    fails("E_ALREADY_EXISTS", function()
      return call("create_dynamic", base.path, "64 MiB"):wait()
    end)
  end
end

local function asking(e, dir)
  local lvhd = require "lvhd"
  assert(lvhd.is_error(select(2, pcall(e.info, e, dir .. "/no"))))
  assert(e:host_path("C:\\e") == dir .. "/e")
  assert(e:windows_path(dir .. "/e") == "C:\\e")
  lvhd.default_engine()
  pcall(lvhd.default_engine, {})
  pcall(e.create_dynamic, e, nil)
  pcall(e.create_dynamic, e, dir .. "/x", 1, { unknown = true })
  fails("E_INVALIDARG", e.create_dynamic, e, dir .. "/x", 64 * MiB + 1)
end

local function reading(e, dir)
  local disk <close> = e:open(dir .. "/e/flat.vhd", { write = true })
  disk:write(5 * MiB, "everything")
  disk:flush()
  assert(disk:read(5 * MiB, 10) == "everything")
  local covered = 0
  for _, length in disk:extents(0, disk:size()) do
    covered = covered + length
  end
  assert(covered == disk:size() and #disk:chain() == 1)
  return disk:info(), tostring(disk)
end

local function handling(e, dir)
  local task = e:create_dynamic(dir .. "/t1", "64 MiB")
  task:wait(0)
  task:done()
  task:status()
  task:progress()
  task:elapsed()
  assert(task:fd() == task:pollfd() and task:fd() == task:getfd())
  task.events()
  task.timeout()
  task.dirty()
  task:wait()
  assert(task:error() == nil and #tostring(task) > 0)
  local missing = e:create_differencing(dir .. "/t2", dir .. "/no",
    { preflight = false })
  fails("E_PATH_NOT_FOUND", missing.wait, missing)
  assert(missing:error().name == "E_PATH_NOT_FOUND")
  do
    local gone <close> = e:create_fixed(dir .. "/t3", 2048 * MiB,
      { allocate = "zero" })
    gone:progress()
  end
  task = e:create_fixed(dir .. "/t4", 2048 * MiB, { allocate = "zero" })
  if task:cancel() then
    fails("E_ABORT", task.wait, task)
  end
end

local function ending(dir)
  local lvhd = require "lvhd"
  local own <close> = lvhd.engine{ threads = 2, sync = "none",
    poll = function(o) return o:pollfd(), o:events(), o:timeout() end }
  local fd = own:fd()
  assert(fd == own:pollfd() and fd == own:getfd())
  own.events()
  own.timeout()
  own.dirty()
  for i = 1, 6 do
    own:create_dynamic(("%s/o%d"):format(dir, i), "64 MiB")
  end
  local n = 0
  for task in own:ended() do
    n = n + (task:done() and 1 or 0)
  end
  assert(n == 6 and #tostring(own) > 0)
  own:create_dynamic(dir .. "/o7", "64 MiB"):wait()
  own:close{ cancel = true }
  fails("VM_E_APP_SHUTTING_DOWN", own.create_dynamic, own, dir .. "/o8",
    "64 MiB")
end

local function documented(dir)
  local luacom = require("lvhd.virtualserver").with{ drives = { C = dir } }
  local vs = luacom.CreateObject "VirtualServer.Application"
  local task = vs:CreateDynamicVirtualHardDisk([[C:\v\base.vhd]], 64)
  task:WaitForCompletion(-1)
  assert(task.IsComplete and task.Result == vs.vmTaskResult_Success)
  vs:CreateDifferencingVirtualHardDisk([[C:\v\child.vhd]], [[C:\v\base.vhd]])
    :WaitForCompletion(-1)
  local disk = vs:GetHardDisk [[C:\v\child.vhd]]
  assert(disk.Parent.File == [[C:\v\base.vhd]])
  disk:Merge():WaitForCompletion(-1)
  vs.SearchPaths = { [[C:\v]] }
  assert(#vs:GetHardDiskFiles() > 0)
  local ok, err = pcall(vs.GetHardDisk, vs, [[C:\v\no.vhd]])
  assert(not ok and #tostring(err) > 0)
end

---Makes all calls below a folder, `after` after each of them.
---@return string[] missing the names of functions that were not called
function everycall.run(dir, after)
  local lvhd = require "lvhd"
  local counts = watch(tables(lvhd), after)
  local e = lvhd.engine{ threads = 2, sync = "none", drives = { C = dir } }
  creating(e, dir)
  asking(e, dir)
  reading(e, dir)
  handling(e, dir)
  ending(dir)
  documented(dir)
  tostring(e)
  e:close()
  local missing = {}
  for name, n in pairs(counts) do
    if n == 0 then
      missing[#missing + 1] = name
    end
  end
  table.sort(missing)
  return missing
end

return everycall
