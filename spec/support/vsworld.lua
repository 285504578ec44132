-- SPDX-License-Identifier: MIT
--
-- A place for scripts of Virtual Server's time: a scratch folder, seen as C:
-- or as itself, the application on it, and the code that a call ends with.
-- Knows lvhd's public functions.

local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"
local virtualserver = require "lvhd.virtualserver"

local vsworld = {}

---@class vsworld.World
local world = {}
world.__index = world

---@param kind "windows"|"host" how paths are written
---@param opts? table options of the engine
---@param progid? string
function vsworld.new(kind, opts, progid)
  local self = setmetatable({ kind = kind, dir = support.tmpdir() }, world)
  self:reopen(opts, progid)
  return self
end

---Another application on the same folder.
function world:reopen(opts, progid)
  self:close()
  local all = { threads = 1, sync = "none" }
  for name, value in pairs(opts or {}) do
    all[name] = value
  end
  if self.kind == "windows" then
    all.drives = { C = self.dir }
  end
  self.luacom = virtualserver.with(all)
  self.vs = self.luacom.CreateObject(progid or "VirtualServer.Application")
  return self
end

function world:close()
  if self.luacom then
    self.luacom.engine:close()
    self.luacom = nil
  end
end

---"sub/a.vhd" for the host.
function world:host(path)
  return self.dir .. "/" .. path
end

---"sub/a.vhd" for the script.
function world:path(path)
  if self.kind == "host" then
    return self:host(path)
  end
  return "C:\\" .. path:gsub("/", "\\")
end

---The separator of the script's paths.
function world:separator()
  return self.kind == "host" and "/" or "\\"
end

---A path of n characters, ending in .vhd, whose parts the host takes.
function world:long(n)
  local sep = self:separator()
  local text = self:path("")
  while n - #text > 104 do
    text = text .. ("d"):rep(99) .. sep
  end
  return text .. ("f"):rep(n - #text - 4) .. ".vhd"
end

---Makes disks; paths are the host's: dynamic, of 64 MiB, or as asked.
function world:dynamic(name, size)
  lvhd.create_dynamic(self:host(name), size or "64 MiB"):wait()
  return self:host(name)
end

function world:child(name, parent)
  lvhd.create_differencing(self:host(name), self:host(parent)):wait()
  return self:host(name)
end

---Somebody has the disk open for writing while fn runs.
function world:in_use(name, fn)
  local disk <close> = lvhd.open(self:host(name), { write = true,
    force = true })
  disk:read(0, 1)
  return fn()
end

---Mounts a volume at `volume` for fn; without root: returns why not.
function world:on_volume(mount, fn)
  local folder = self:host("volume")
  assert(test.mkdir(folder))
  local mounted, why = support.sh("mount " .. mount .. " " .. folder)
  if not mounted then
    return "cannot mount here: " .. why:match("[^\n]*")
  end
  local ok, err = pcall(fn)
  self:close()
  collectgarbage()
  collectgarbage()
  support.run("umount " .. folder)
  assert(ok, err)
end

---The same with a file system made by mkfs in a file of this size.
function world:on_image(mkfs, size, fn)
  local file = self:host("volume.img")
  support.run("PATH=$PATH:/usr/sbin:/sbin; truncate -s " .. size .. " " .. file
    .. " && " .. mkfs .. " " .. file)
  return self:on_volume("-o loop " .. file, fn)
end

local function is_task(value)
  return type(value) == "table" and value.WaitForCompletion ~= nil
end

---What a call ends with: the name of the code, and "call" or "task". An error
---that is none of lvhd's is raised.
---@param fn fun(): any
---@return string code, "call"|"task" where, any value_or_error
function vsworld.outcome(fn)
  local ok, value = pcall(fn)
  if not ok then
    if not lvhd.is_error(value) then
      error(value, 0)
    end
    assert(lvhd.hresult[value.name] == value.hresult)
    return value.name, "call", value
  elseif not is_task(value) then
    return "S_OK", "call", value
  end
  value:WaitForCompletion(-1)
  assert(value.IsComplete)
  local failed = value.Error ~= 0
  assert(failed == (value.Result ~= 0))
  assert(failed == (value.ErrorDescription ~= ""))
  return lvhd.hresult[value.Error], "task", value
end

return vsworld
