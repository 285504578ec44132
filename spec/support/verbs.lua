-- SPDX-License-Identifier: MIT
--
-- The verbs that change nothing that exists, as small scenarios: those that
-- make new files, and those that look.  (changes.lua has the others.)
--
--   scenario.name
--   scenario.make(dir)           the files before
--   scenario.act(engine, dir)    the work; its result, which is the same each
--                                time but for what is new in the world
--   scenario.new                 names of the files that it makes
--   scenario.engine(dir)         options of the engine
--   scenario.slow                the short sweep leaves it out
--   scenario.world(system)       what its system lacks

local support = require "spec.support"
local test = require "lvhdtest"
local vhdwrite = require "spec.support.vhdwrite"

local KiB <const> = 1 << 10
local MiB <const> = 1 << 20
local PER <const> = 4 * KiB // 512

local verbs = {}

local function scenario(kind, name, o)
  o.kind, o.name = kind, name
  verbs[#verbs + 1] = o
end

local function uuid(n)
  return vhdwrite.uuid(1000 + n)
end

-- ---- files ---------------------------------------------------------------

local function put(disk, tag, sectors)
  for _, s in ipairs(sectors) do
    disk:put(s, vhdwrite.pattern(tag, s))
  end
  return disk
end

-- root.vhd <- middle.vhd <- leaf.vhd, of 4 MiB.
local function family(dir)
  local root = put(vhdwrite.new{ size = 4 * MiB, block_size = 4 * KiB,
    uuid = uuid(1) }, 1, { 0, 3 * PER, 1000 * PER })
  root:save(dir .. "/root.vhd")
  local middle = put(vhdwrite.new{ parent = root, uuid = uuid(2) }, 2,
    { 1, 3 * PER + 1, 7 * PER })
  middle:save(dir .. "/middle.vhd")
  local leaf = put(vhdwrite.new{ parent = middle, uuid = uuid(3) }, 3,
    { 2, 7 * PER + 1, 900 * PER })
  leaf:save(dir .. "/leaf.vhd")
  return root, middle, leaf
end

local function parent_only(dir)
  return vhdwrite.new{ size = 4 * MiB, uuid = uuid(1),
    block_size = 512 * KiB }:save(dir .. "/parent.vhd")
end

local function nothing() end

-- ---- new files -----------------------------------------------------------

local function creation(name, verb, second, o)
  o = o or {}
  local image = o.image or "new/deep/a.vhd"
  scenario("new", name, { new = { image }, slow = o.slow, engine = o.engine,
    make = verb == "create_differencing" and parent_only or nothing,
    act = function(engine, dir)
      local opts = { uuid = uuid(9), preflight = o.preflight }
      for k, v in pairs(o.opts or {}) do
        opts[k] = v
      end
      return engine[verb](engine, o.path or dir .. "/" .. image,
        second or o.parent or dir .. "/parent.vhd", opts):wait()
    end })
end

creation("create_fixed, sparse", "create_fixed", 3 * MiB)
creation("create_fixed, no preflight, beside", "create_fixed", 3 * MiB,
  { image = "a.vhd", preflight = false, slow = true })
creation("create_fixed, reserved", "create_fixed", 3 * MiB,
  { opts = { allocate = "reserve" } })
creation("create_fixed, zeros", "create_fixed", 3 * MiB,
  { opts = { allocate = "zero", mode = "0640", timestamp = 1700000000 } })
creation("create_fixed, formatted", "create_fixed", 4 * MiB,
  { opts = { filesystem = "fat16", label = "DATA" } })
creation("create_dynamic", "create_dynamic", 64 * MiB,
  { opts = { mode = "0640", timestamp = 1700000000 } })
creation("create_dynamic, formatted", "create_dynamic", 64 * MiB,
  { opts = { filesystem = "fat16" } })
creation("create_dynamic, sync none", "create_dynamic", 64 * MiB,
  { opts = { sync = "none" }, slow = true })
creation("create_differencing", "create_differencing", nil,
  { opts = { windows_parent = [[C:\vms\parent.vhd]] } })
creation("create_differencing, no preflight, beside", "create_differencing",
  nil, { image = "a.vhd", preflight = false, slow = true })
creation("create_differencing, by a Windows path", "create_differencing", nil,
  { path = [[C:\New\a.vhd]], image = "New/a.vhd", parent = [[C:\PARENT.vhd]],
    engine = function(dir) return { drives = { C = dir } } end })

-- An image that is there already: nothing is made.
scenario("read", "create_differencing, kept", { make = function(dir)
  parent_only(dir)
  local own = require("lvhd").engine{ threads = 1 }
  own:create_differencing(dir .. "/a.vhd", dir .. "/parent.vhd",
    { uuid = uuid(9) }):wait()
  own:close()
end, act = function(engine, dir)
  return engine:create_differencing(dir .. "/a.vhd", dir .. "/parent.vhd",
    { if_exists = "keep" }):wait()
end })

local function children(name, count, o)
  local images = {}
  for i = 1, count do
    images[i] = ("%s/%d.vhd"):format(i % 3 == 0 and "new/deep" or "old", i)
  end
  scenario("new", name, { new = images, slow = o.slow, make = function(dir)
    parent_only(dir)
    assert(test.mkdir(dir .. "/old"))
  end, act = function(engine, dir)
    local list = {}
    for i, image in ipairs(images) do
      list[i] = { image = dir .. "/" .. image, uuid = uuid(10 + i) }
    end
    return engine:create_children(list, dir .. "/parent.vhd",
      { sync = o.sync, preflight = false }):wait()
  end })
end

children("create_children, sync full", 4, { sync = "full" })
children("create_children, sync none", 4, { sync = "none" })
children("create_children, as many as share a flush", 7, { sync = "full",
  slow = true })

local function conversion(name, source, to, o)
  o = o or {}
  scenario("new", name, { new = { "new/a.img" }, slow = o.slow,
    make = function(dir)
      family(dir)
      local raw = vhdwrite.pattern(5, 1) .. ("\0"):rep(2 * MiB)
        .. vhdwrite.pattern(5, 2) .. ("\0"):rep(MiB) .. vhdwrite.pattern(5, 3)
      support.write(dir .. "/source.raw", raw .. ("\0"):rep(4 * MiB - #raw))
    end, act = function(engine, dir)
      return engine:convert(dir .. "/" .. source, dir .. "/new/a.img",
        { from = source:find("raw$") and "raw" or nil, to = to,
          uuid = to ~= "raw" and uuid(9) or nil, sync = o.sync,
          preflight = o.preflight,
          parent = o.parent and dir .. "/" .. o.parent }):wait()
    end })
end

conversion("convert: raw to dynamic", "source.raw", "dynamic")
conversion("convert: chain to raw", "leaf.vhd", "raw")
conversion("convert: chain to fixed", "leaf.vhd", "fixed", { slow = true })
conversion("convert: chain to dynamic, sync none", "leaf.vhd", "dynamic",
  { slow = true, sync = "none", preflight = false })
conversion("convert: chain to a child of its root", "leaf.vhd",
  "differencing", { parent = "root.vhd" })

-- ---- looking -------------------------------------------------------------

local function look(name, act, o)
  o = o or {}
  scenario("read", name, { act = act, make = o.make or family, slow = o.slow,
    engine = o.engine })
end

look("info", function(engine, dir)
  return engine:info(dir .. "/leaf.vhd")
end)

-- The footer at the end is gone: the copy counts.
local function damaged(dir)
  put(vhdwrite.new{ size = 4 * MiB, block_size = 4 * KiB, uuid = uuid(1),
    footer = "none" }, 1, { 0, 3 * PER }):save(dir .. "/leaf.vhd")
end
look("info of a damaged disk", function(engine, dir)
  return engine:info(dir .. "/leaf.vhd")
end, { make = damaged })

look("chain", function(engine, dir)
  return engine:chain(dir .. "/leaf.vhd")
end)

local function read_all(disk)
  local list = {}
  for offset, length, layer in disk:extents() do
    list[#list + 1] = ("%d+%d in %d"):format(offset, length, layer)
  end
  local out = { table.concat(list, " "), disk:read(0, 8192),
    disk:read(7 * 4096, 4096), disk:read(899 * 4096, 8192), disk:chain() }
  disk:close()
  return out
end

local function opened(name, what, opts)
  look(name, function(engine, dir)
    local disk <close> = engine:open(what(dir), opts)
    return read_all(disk)
  end)
end

opened("open, read, extents", function(dir) return dir .. "/leaf.vhd" end)
opened("open of a given chain", function(dir)
  return { dir .. "/leaf.vhd", dir .. "/middle.vhd", dir .. "/root.vhd" }
end)

look("open, by a Windows path", function(engine)
  local disk <close> = engine:open([[C:\LEAF.vhd]])
  return read_all(disk)
end, { slow = true, engine = function(dir)
  return { drives = { C = dir } }
end })

look("check", function(engine, dir)
  return engine:check(dir .. "/leaf.vhd", { chain = true,
    data = true }):wait()
end)
look("check of a damaged disk", function(engine, dir)
  return engine:check(dir .. "/leaf.vhd", { chain = false,
    data = true }):wait()
end, { make = function(dir)
  vhdwrite.new{ size = 4 * MiB, block_size = 4 * KiB, uuid = uuid(1),
    edit_header = function(bytes) return "x" .. bytes:sub(2) end }:save(
      dir .. "/leaf.vhd")
end })

local function folders(dir)
  family(dir)
  assert(test.mkdir(dir .. "/sub"))
  assert(test.mkdir(dir .. "/sub/deep"))
  support.run(("cp -p %s/leaf.vhd %s/sub/deep/"):format(dir, dir))
  support.write(dir .. "/sub/text.txt", ("text "):rep(1000))
end
look("find", function(engine, dir)
  return engine:find(dir):wait()
end, { make = folders })
look("children", function(engine, dir)
  return engine:children(dir .. "/middle.vhd", dir):wait()
end, { make = folders })

-- ---- beside work that was interrupted ------------------------------------

-- A resize that could not go on when it had written the new header: the note
-- has what was there before.
local function interrupted(dir)
  put(vhdwrite.new{ size = 4 * MiB, block_size = 32 * KiB, uuid = uuid(1) },
    1, { 127 * 64, 5 * 64, 0 }):save(dir .. "/leaf.vhd")
  local system = test.system()
  local own = require("lvhd").engine{ threads = 1, system = system:pointer() }
  local n, done = 0
  repeat -- until the header alone would read otherwise
    n = n + 1
    support.run("rm -f " .. dir .. "/.l*")
    system:drop()
    system:fail{ call = "pwritev", nth = n, errno = "EIO", times = 0 }
    local bytes = support.read(dir .. "/leaf.vhd")
    done = pcall(function()
      own:resize(dir .. "/leaf.vhd", 5 * MiB):wait()
    end)
    local now = support.read(dir .. "/leaf.vhd")
    if now:sub(513, 1536) ~= bytes:sub(513, 1536) then
      break
    end
    support.write(dir .. "/leaf.vhd", bytes)
  until done
  own:close()
  assert(not done and test.stat(dir .. "/.leaf.vhd.lvhd-journal"))
end

look("info beside a note", function(engine, dir)
  return engine:info(dir .. "/leaf.vhd")
end, { make = interrupted })
look("open beside a note", function(engine, dir)
  local disk <close> = engine:open(dir .. "/leaf.vhd")
  return { disk:info(), disk:read(0, disk:info().size) }
end, { make = interrupted })
look("check beside a note", function(engine, dir)
  return engine:check(dir .. "/leaf.vhd", { data = true }):wait()
end, { make = interrupted, slow = true })
look("find beside a note", function(engine, dir)
  return engine:find(dir):wait()
end, { make = interrupted, slow = true })

-- ---- systems that lack something ------------------------------------------

local WORLDS <const> = {
  ["without unnamed files"] = function(system)
    system:fail{ call = "openat", flags = test.O_TMPFILE,
      errno = "EOPNOTSUPP", times = 0 }
  end,
  ["without unnamed files and RENAME_NOREPLACE"] = function(system)
    system:fail{ call = "openat", flags = test.O_TMPFILE,
      errno = "EOPNOTSUPP", times = 0 }
    system:fail{ call = "renameat2", errno = "EINVAL", times = 0 }
  end,
  ["without openat2"] = function(system)
    system:fail{ call = "openat2", errno = "ENOSYS", times = 0 }
  end,
}

---A scenario of this list or of changes.lua, where something is lacking.
function verbs.lacking(of)
  local list = {}
  for what, world in pairs(WORLDS) do
    -- what is said of those that make files holds for the note
    if of.kind == "new" or what == "without openat2"
      or of.kind == nil and what == "without unnamed files" then
      list[#list + 1] = setmetatable({ slow = true, world = world,
        name = of.name .. ", " .. what }, { __index = of })
    end
  end
  return list
end

return verbs
