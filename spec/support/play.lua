-- SPDX-License-Identifier: MIT
--
-- A player: a small world of disks, every verb on them, and everything that a
-- program may do with tasks, at random.  What many states at once, states that
-- end, and collectors that come at every moment are tried with.  It judges
-- that nothing fails but by what players do to each other, and that the disk
-- which it writes and merges reads as it should.  Knows the public API only.

local play = {}

local KiB <const> = 1 << 10
local MiB <const> = 1 << 20
local SIZE <const> = 4 * MiB

---Names of errors that others cause, or a cancel.
play.fair = { E_ABORT = true, E_ALREADY_EXISTS = true, E_PATH_NOT_FOUND = true,
  E_SHARING_VIOLATION = true, VM_E_PARENT_MODIFIED = true }

-- Who checks a file takes no lock: it may be cut meanwhile.
local function fair(err)
  return play.fair[err.name] or err.op == "check" and err.reason == "FILE_CUT"
end

---Calls; gives what came of it, or nil for an error that is fair.
function play.try(f, ...)
  local ok, result = pcall(f, ...)
  if ok then
    return result
  end
  local lvhd = require "lvhd"
  if not (lvhd.is_error(result) and fair(result)) then
    error(lvhd.is_error(result) and tostring(result) or result, 0)
  end
end

-- ---- the world ------------------------------------------------------------

---@class play.World
---@field dir string a folder of the player's own
---@field shared string a folder of all players', with a disk base.vhd
---@field text string what child.vhd reads, from its start

local function put(e, path, bytes)
  local disk <close> = e:open(path, { write = true, sync = "none" })
  disk:write(0, bytes)
end

---Makes the disk that all players read; the folder is there.
function play.share(shared)
  local e <close> = require "lvhd".engine{ threads = 1, sync = "none" }
  e:create_dynamic(shared .. "/base.vhd", SIZE, { block_size = 512 * KiB })
    :wait()
  put(e, shared .. "/base.vhd", ("shared "):rep(5000))
end

---@param dir string it is made, its parent folder is there
---@return play.World
function play.world(dir, shared)
  local lvhd = require "lvhd"
  local e <close> = lvhd.engine{ threads = 1, sync = "none" }
  local world = { dir = dir, shared = shared, made = 0, gone = 0,
    text = ("child "):rep(200) }
  e:create_dynamic(dir .. "/root.vhd", SIZE, { block_size = 512 * KiB })
    :wait()
  e:create_differencing(dir .. "/child.vhd", dir .. "/root.vhd"):wait()
  put(e, dir .. "/child.vhd", world.text)
  e:create_dynamic(dir .. "/solo.vhd", SIZE, { block_size = 512 * KiB })
    :wait()
  put(e, dir .. "/solo.vhd", "solo")
  e:convert(dir .. "/solo.vhd", dir .. "/disk.raw", { to = "raw" }):wait()
  return world
end

-- A new name; old ones go, so that a long life needs no large volume.
local function fresh(w)
  w.made = w.made + 1
  if w.made % 64 == 0 then
    for i = w.gone + 1, w.made - 64 do
      os.remove(("%s/new/%d"):format(w.dir, i))
    end
    w.gone = math.max(w.gone, w.made - 64)
  end
  return ("%s/new/%d"):format(w.dir, w.made)
end

-- ---- the verbs ------------------------------------------------------------

---Every verb that makes a task, by name: each starts one that ends soon.
---@type table<string, fun(e: lvhd.Engine, w: play.World): lvhd.Task>
play.verbs = {}
local verbs = play.verbs

function verbs.create_fixed(e, w)
  return e:create_fixed(fresh(w), 3 * MiB,
    { allocate = math.random(2) == 1 and "zero" or "sparse" })
end

function verbs.create_dynamic(e, w)
  return e:create_dynamic(fresh(w), 64 * MiB,
    math.random(4) == 1 and { filesystem = "fat16" } or nil)
end

function verbs.create_differencing(e, w)
  return e:create_differencing(fresh(w), w.shared .. "/base.vhd")
end

function verbs.create_children(e, w)
  local names = {}
  for i = 1, math.random(6) do
    names[i] = fresh(w)
  end
  return e:create_children(names, w.shared .. "/base.vhd")
end

local KINDS <const> = { "dynamic", "fixed", "raw", "differencing" }

function verbs.convert(e, w)
  if math.random(4) == 1 then
    return e:convert(w.dir .. "/disk.raw", fresh(w), { from = "raw" })
  end
  local to = KINDS[math.random(#KINDS)]
  return e:convert(w.dir .. "/child.vhd", fresh(w), { to = to,
    parent = to == "differencing" and w.dir .. "/root.vhd" or nil })
end

function verbs.merge(e, w)
  return e:merge(w.dir .. "/child.vhd")
end

function verbs.compact(e, w)
  local name = math.random(2) == 1 and "/solo.vhd" or "/child.vhd"
  return e:compact(w.dir .. name, { force = math.random(2) == 1 })
end

function verbs.resize(e, w)
  return e:resize(w.dir .. "/solo.vhd", SIZE + math.random(0, 3) * MiB)
end

function verbs.relink(e, w)
  return e:relink(w.dir .. "/child.vhd", w.dir .. "/root.vhd")
end

function verbs.repair(e, w)
  return e:repair(w.dir .. "/solo.vhd")
end

function verbs.check(e, w)
  return e:check(w.dir .. "/child.vhd", { chain = true, data = true })
end

function verbs.find(e, w)
  return e:find(w.dir)
end

function verbs.children(e, w)
  return e:children(w.shared .. "/base.vhd", w.dir)
end

---The names of the verbs, in the same order every time.
play.names = {}
for name in pairs(verbs) do
  play.names[#play.names + 1] = name
end
table.sort(play.names)

-- Those that fail, and a name that all players want.
local trouble = {
  function(e, w)
    return e:create_differencing(fresh(w), w.shared .. "/missing.vhd",
      { preflight = false })
  end,
  function(e, w)
    return e:create_dynamic(("%s/all%d.vhd"):format(w.shared,
      math.random(500)), 64 * MiB, { preflight = false })
  end,
}

---Starts a task of a random kind; nil where that was not to be had.
function play.start(e, w)
  local n = math.random(#play.names + #trouble)
  local start = verbs[play.names[n]] or trouble[n - #play.names]
  return play.try(start, e, w)
end

-- ---- what is asked without a task -----------------------------------------

local function write(e, w)
  local disk <close> = e:open(w.dir .. "/child.vhd",
    { write = true, sync = "none" })
  local n = math.random(2000)
  local text = ("<%d>"):format(w.made):rep(n // 3 + 1):sub(1, n)
  local at = math.random(0, #w.text)
  disk:write(at, text)
  w.text = w.text:sub(1, at) .. text .. w.text:sub(at + n + 1)
  if math.random(2) == 1 then
    disk:flush()
  end
end

local function read(e, w)
  local disk <close> = e:open(w.dir .. "/child.vhd")
  local got = disk:read(0, #w.text)
  assert(got == w.text, "child.vhd reads something else")
  local covered = 0
  for _, length in disk:extents() do
    covered = covered + length
  end
  assert(covered == disk:size())
  return disk:info(), disk:chain(), tostring(disk)
end

local asks = {
  write, write, read, read,
  function(e, w) return e:info(w.dir .. "/solo.vhd") end,
  function(e, w) return e:chain(w.dir .. "/child.vhd") end,
  function(e, w) play.lost = e:open(w.shared .. "/base.vhd") end,
  function(e, w) pcall(e.host_path, e, "C:" .. w.dir) end,
  function(e, w) e:windows_path(w.dir) end,
  function(e) return tostring(e), e:events(), e:timeout(), e:dirty() end,
}

-- ---- what may be done with tasks ------------------------------------------

local handling = {
  function(task) task:wait() end,
  function(task) task:wait() end,
  function(task) task:cancel() end,
  function(task) task:cancel() task:wait() end,
  function(task) task:wait(0) end,
  function(task) task:wait(0.001) end,
  function(task) task:fd() end,
  function(task) while not task:done() do task:progress() end end,
  function(task) return task:error(), tostring(task), task:status(),
    task:elapsed() end,
  function(task) local _ <close> = task end,
  function() collectgarbage "step" end,
  function() collectgarbage() end,
  function(_, e) for task in e:ended(0) do task:status() end end,
  function(_, e) for task in e:ended(0.002) do task:error() end end,
  function(_, e) e:fd() end,
}

-- Some engines' waits go through a function of the program's.
local function engine()
  return require "lvhd".engine{ threads = math.random(3), sync = "none",
    preflight = math.random(2) == 1,
    poll = math.random(4) == 1 and function(o) o:pollfd() end or nil }
end

-- How an engine ends: by itself, by a collection, or not before the state.
local function leave(e)
  local how = math.random(6)
  if how == 1 then
    e:close()
  elseif how == 2 then
    e:close{ cancel = true }
  elseif how == 3 then
    local ended = 0
    for _ in e:ended() do
      ended = ended + 1
    end
  elseif how == 4 then
    e = nil -- luacheck: ignore
    collectgarbage()
  end
end

---Plays for so many seconds and tasks at the least, in a world of its own.
---The Lua state is left with tasks under way.
---@param dir? string of the player
---@return integer tasks that were started
function play.life(shared, me, seconds, least, dir)
  local lvhd = require "lvhd"
  math.randomseed(me)
  local w = play.world(dir or ("%s/%d"):format(shared, me), shared)
  local stop, count = os.time() + seconds, 0
  local tasks = {}
  repeat
    local e = engine()
    for _ = 1, math.random(16) do
      local task = play.start(e, w)
      count = count + (task and 1 or 0)
      tasks[math.random(8)] = task
      local one = tasks[math.random(8)]
      if one then
        play.try(handling[math.random(#handling)], one, e)
      end
      if math.random(3) == 1 then
        play.try(asks[math.random(#asks)], e, w)
      end
    end
    leave(e)
  until os.time() >= stop and count >= least
  play.settle(w)
  play.kept = {} -- as long as the state
  for i, name in ipairs(play.names) do
    play.kept[i] = play.try(verbs[name], lvhd.default_engine(), w)
  end
  return count
end

---When all that was left to itself is over, the child must read as the player
---remembers, whatever was cancelled in between, and a merge must end well.
function play.settle(w)
  local e <close> = require "lvhd".engine{ threads = 1, sync = "none" }
  local limit = os.time() + 60
  local done
  repeat
    collectgarbage()
    done = play.try(function()
      read(e, w)
      e:merge(w.dir .. "/child.vhd", { force = true }):wait()
      return read(e, w)
    end)
  until done or os.time() > limit
  assert(done, "the child is never free")
end

return play
