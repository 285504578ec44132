-- SPDX-License-Identifier: MIT
--
-- One name that many want: every verb that makes a file, started with the same
-- path, and what must be true when all have ended.  The file is judged without
-- lvhd.  Knows the public API.

local life = require "spec.support.life"
local support = require "spec.support"
local vhdread = require "spec.support.vhdread"

local contest = {}

local MiB <const> = 1 << 20
local DATA <const> = ("contest "):rep(64)

---Makes the disks that the verbs need.
---@return table world
function contest.world(folder)
  local lvhd = require "lvhd"
  local world = { folder = folder, parent = folder .. "/parent.vhd",
    source = folder .. "/source.vhd" }
  local e <close> = lvhd.engine{ threads = 1, sync = "none" }
  world.parent_uuid = e:create_dynamic(world.parent, 3 * MiB):wait().uuid
  e:create_dynamic(world.source, 3 * MiB, { block_size = 512 << 10 }):wait()
  local disk <close> = e:open(world.source, { write = true })
  disk:write(MiB, DATA)
  return world
end

---The same, made by another process.
function contest.join(folder)
  return { folder = folder, parent = folder .. "/parent.vhd",
    source = folder .. "/source.vhd" }
end

---The ways to make a file; each starts a task for `path`. `own` is a name
---that nobody else wants.
local ways = {
  function(e, _, path) return e:create_dynamic(path, 3 * MiB) end,
  function(e, _, path) return e:create_fixed(path, 3 * MiB) end,
  function(e, w, path) return e:create_differencing(path, w.parent) end,
  function(e, w, path, own)
    return e:create_children({ path, own }, w.parent)
  end,
  function(e, w, path) return e:convert(w.source, path) end,
  function(e, w, path) return e:convert(w.source, path, { to = "raw" }) end,
  function(e, w, path) return e:convert(w.source, path, { to = "fixed" }) end,
}
contest.ways = #ways

---Starts one way; it may fail at once, as a wait may.
---@param way integer 1 .. contest.ways
function contest.start(e, w, way, path, own)
  local ok, task = pcall(ways[way], e, w, path, own)
  return { way = way, path = path, own = own, task = ok and task,
    err = not ok and task }
end

---Waits for it. True and the identifier of the new disk ("raw" where it has
---none), or false and the name of the error.
---@return boolean won, string what
function contest.finish(one)
  local ok, result = false, one.err
  if one.task then
    ok, result = pcall(one.task.wait, one.task)
  end
  if one.way == 4 then
    -- the other one of the list is not to be harmed
    local items = ok and result or result.items
    assert(items and items[2].path == one.own and items[2].uuid,
      tostring(result))
    ok, result = items[1].uuid ~= nil, items[1]
  end
  if ok then
    return true, result.uuid or "raw"
  end
  return false, result.name or tostring(result)
end

local function same_data(bytes)
  assert(bytes == ("\0"):rep(MiB) .. DATA .. ("\0"):rep(2 * MiB - #DATA),
    "other content")
end

---The file is what the winner says that it made, whole.
---@param way integer the winner's
---@param uuid string what it was told
function contest.judge(w, path, way, uuid)
  if way <= 4 then
    local disk, wrong = life.disk(path)
    assert(disk, path .. ": " .. tostring(wrong))
    assert(disk.uuid == uuid and disk.size == 3 * MiB)
    assert(disk.type == ({ "dynamic", "fixed", "differencing",
      "differencing" })[way])
    assert(way < 3 or disk.parent_uuid == w.parent_uuid)
  elseif way == 5 then
    local disk = vhdread.open(path)
    assert(disk.footer.bytes == disk.copy)
    assert(vhdread.uuid(disk.footer.uuid) == uuid)
    assert(vhdread.content({ path }, MiB, #DATA) == DATA)
    assert(vhdread.content({ path }, 0, 1024) == ("\0"):rep(1024))
  elseif way == 6 then
    same_data(support.read(path))
  else
    local bytes = support.read(path)
    same_data(bytes:sub(1, -513))
    assert(vhdread.uuid(vhdread.footer(bytes:sub(-512)).uuid) == uuid)
  end
end

return contest
