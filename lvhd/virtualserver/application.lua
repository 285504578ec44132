-- SPDX-License-Identifier: MIT
--
-- VMVirtualServer: the application object, with the members that touch
-- images, tasks and search paths; all other documented ones are E_NOTIMPL.

local core = require "lvhd.core"
local codes = require "lvhd.virtualserver.codes"
local disks = require "lvhd.virtualserver.disk"
local errors = require "lvhd.error"
local lvhd = require "lvhd"
local object = require "lvhd.virtualserver.object"
local tasks = require "lvhd.virtualserver.task"

errors.own()

local M = {}

local translate = codes.translate

-- ---- creating -------------------------------------------------------------

local function create_differencing(app, image, parent)
  local member <const> = "CreateDifferencingVirtualHardDisk"
  local engine = app.engine
  image = codes.text(image, 1, member)
  parent = codes.text(parent, 2, member)
  return tasks.new(app, member, translate.method,
    ("Creating the differencing virtual hard disk %s of %s"):format(
      tostring(image), tostring(parent)),
    nil, engine.create_differencing, engine, image, parent)
end

-- Megabytes, as documented. What is no whole number is no size; what is too
-- large for any disk stays so, and a multiple of 512.
local function bytes(app, member, image, size)
  local megabytes = codes.number(size, 2, member)
  if megabytes == nil or math.type(megabytes) == "integer" then
    return megabytes and math.max(-1, math.min(megabytes, 1 << 40)) << 20
  elseif megabytes >= 2.0 ^ 40 then
    return 1 << 60
  end
  codes.need(app, member, image, "the image")
  codes.fail(app, member, "E_INVALIDARG", image,
    "the size is no whole number of megabytes: " .. tostring(size))
end

local function create_dynamic(app, image, size)
  local member <const> = "CreateDynamicVirtualHardDisk"
  local engine = app.engine
  image = codes.text(image, 1, member)
  return tasks.new(app, member, translate.method,
    ("Creating the dynamic virtual hard disk %s"):format(tostring(image)),
    nil, engine.create_dynamic, engine, image,
    bytes(app, member, image, size))
end

local function create_fixed(app, image, size)
  local member <const> = "CreateFixedVirtualHardDisk"
  image = codes.text(image, 1, member)
  local exact = bytes(app, member, image, size)
  return tasks.fixed(app, member, translate.method,
    ("Creating the fixed virtual hard disk %s"):format(tostring(image)),
    function(allocate)
      return app.engine:create_fixed(image, exact, { allocate = allocate })
    end)
end

-- ---- finding --------------------------------------------------------------

local function get_hard_disk(app, path)
  path = codes.text(path, 1, "GetHardDisk")
  codes.need(app, "GetHardDisk", path, "the path")
  codes.alive(app, "GetHardDisk", path)
  disks.check_path(app, "GetHardDisk", path)
  return disks.open(app, path)
end

-- A list of strings as a copy; nil for anything else. Lua 5.0 left the length
-- of a list in its field n.
local function strings(value)
  if type(value) ~= "table" then
    return nil
  end
  local list, n = {}, 0
  for key in pairs(value) do
    n = key == "n" and n or n + 1
  end
  for i = 1, n do -- nil: other keys, or a hole
    if type(value[i]) ~= "string" then
      return nil
    end
    list[i] = value[i]
  end
  return list
end

-- What was found in and below a folder; nothing where there is none to see.
local function found_in(app, folder)
  local infos, err = codes.catch(function()
    return app.engine:find(folder):wait()
  end)
  if infos then
    return infos
  elseif err.name == "E_PATH_NOT_FOUND" or err.name == "E_ACCESSDENIED" then
    return {}
  end
  codes.raise(app, "GetHardDiskFiles", err)
end

local function get_hard_disk_files(app, extra)
  codes.alive(app, "GetHardDiskFiles", nil)
  local more = strings(extra == nil and {} or extra)
  if not more then
    codes.fail(app, "GetHardDiskFiles", "E_INVALIDARG", nil,
      "the additional search paths are no array of strings")
  end
  for _, folder in ipairs(more) do
    local ok, err = core.check_path(app.engine, folder)
    if not ok then
      codes.fail(app, "GetHardDiskFiles", "E_INVALIDARG", folder, err.message)
    end
  end
  local seen, list = {}, {}
  table.move(app.search_paths, 1, #app.search_paths, #more + 1, more)
  for _, folder in ipairs(more) do
    for _, info in ipairs(found_in(app, folder)) do
      if not seen[info.path] then
        seen[info.path] = true
        list[#list + 1] = disks.shown(app, info.path)
      end
    end
  end
  table.sort(list)
  return list
end

-- Raises where there is no such folder.
local function check_folder(app, path)
  local engine = app.engine
  disks.check_path(app, "SearchPaths", path)
  local host = path
  if not path:find("^/") then
    host = codes.try(app, "SearchPaths", translate.folder, engine.host_path,
      engine, path)
  end
  -- "." is in folders alone
  local _, err = codes.catch(engine.info, engine, host .. "/.")
  if err.reason == "NOT_REGULAR" then
    return
  end
  local _, why = codes.catch(engine.info, engine, host)
  if err.reason == "NOT_A_FOLDER" and (not why or why.reason ~= err.reason)
  then
    codes.fail(app, "SearchPaths", "E_FILE_NOT_FOUND", path,
      "it is no folder")
  end
  (why or err).path = path
  codes.raise(app, "SearchPaths", translate.folder(why or err))
end

local function put_search_paths(app, value)
  codes.need(app, "SearchPaths", value, "the list")
  local list = strings(value)
  if not list then
    codes.fail(app, "SearchPaths", "E_INVALIDARG", nil,
      "the search paths are no array of strings")
  end
  for _, path in ipairs(list) do
    check_folder(app, path)
  end
  app.search_paths = list
end

-- ---- the class ------------------------------------------------------------

---@class lvhd.VMVirtualServer
---@field Name string
---@field Version string
---@field UpTime integer seconds
---@field SearchPaths string[] a copy; may be assigned
---@field Tasks lvhd.VMTaskCollection
---@field CreateDynamicVirtualHardDisk fun(self, image: string, megabytes: integer): lvhd.VMTask
---@field CreateFixedVirtualHardDisk fun(self, image: string, megabytes: integer): lvhd.VMTask
---@field CreateDifferencingVirtualHardDisk fun(self, image: string, parent: string): lvhd.VMTask
---@field GetHardDisk fun(self, path: string): lvhd.VMHardDisk
---@field GetHardDiskFiles fun(self, folders: string[]?): string[]

local class = { name = "VMVirtualServer", methods = {
  CreateDifferencingVirtualHardDisk = create_differencing,
  CreateDynamicVirtualHardDisk = create_dynamic,
  CreateFixedVirtualHardDisk = create_fixed,
  GetHardDisk = get_hard_disk,
  GetHardDiskFiles = get_hard_disk_files,
} }

class.properties = {
  SearchPaths = {
    get = function(app)
      return table.move(app.search_paths, 1, #app.search_paths, 1, {})
    end,
    set = put_search_paths,
  },
  Tasks = { get = tasks.collection },
  Name = { get = function()
    return "lvhd"
  end },
  Version = { get = function()
    return lvhd.version
  end },
  UpTime = { get = function(app)
    return math.floor(core.now() - app.since)
  end },
}

-- Documented, and of no use without virtual machines, floppies, a host drive
-- or a service.
local METHODS <const> = [[
  AttachScriptToEvent CreateFloppyDiskImage CreateHostDriveVirtualHardDisk
  CreateVirtualMachine CreateVirtualNetwork DeleteVirtualMachine
  DeleteVirtualNetwork FetchScriptByEvent FindVirtualMachine
  FindVirtualNetwork GetConfigurationValue GetDVDFiles GetFloppyDiskFiles
  GetFloppyDiskImageType GetVirtualMachineFiles GetVirtualNetworkFiles
  QueryLocale RegisterVirtualMachine RegisterVirtualNetwork
  RemoveConfigurationValue RemoveScriptFromEvent SetConfigurationValue
  UnregisterVirtualMachine UnregisterVirtualNetwork
  VMRCCreateEncryptionCertificateRequest ]]
local PROPERTIES <const> = [[
  AvailableSystemCapacity DefaultLocale DefaultVMConfigurationPath
  DefaultVNConfigurationPath HostInfo Locale MaximumFloppyDrivesPerVM
  MaximumMemoryPerVM MaximumNetworkAdaptersPerVM MaximumNumberOfIDEBuses
  MaximumNumberOfSCSIControllers MaximumParallelPortsPerVM
  MaximumSerialPortsPerVM MinimumMemoryPerVM ProductID Security
  SuggestedMaximumMemoryPerVM SupportDrivers UnconnectedNetworkAdapters
  VirtualMachines VirtualNetworks VMRCAdminAddress VMRCAdminPortNumber
  VMRCAuthenticator VMRCAuthenticators VMRCEnabled VMRCEncryptionCertificate
  VMRCEncryptionCertificateRequest VMRCEncryptionEnabled
  VMRCIdleConnectionTimeout VMRCIdleConnectionTimeoutEnabled VMRCXResolution
  VMRCYResolution VMScriptsEnabled VSScriptsEnabled ]]

local function not_here(name)
  return function(app)
    codes.fail(app, name, "E_NOTIMPL", nil, "not available here")
  end
end

for name in METHODS:gmatch("%S+") do
  class.methods[name] = not_here(name)
end
for name in PROPERTIES:gmatch("%S+") do
  class.properties[name] = { get = not_here(name), set = not_here(name) }
end

-- ---- products -------------------------------------------------------------

-- Virtual PC's page alone wants an extension, and has a row of its own for
-- no path at all.
local function pc_convert(path)
  if not path:lower():find("%.vhd$") then
    return "E_INVALIDARG", "the path does not end in .vhd"
  end
  return nil
end

local products = {
  ["virtualserver.application"] = {
    bad_timeout = "E_POINTER",
    convert_rule = function() end,
  },
  ["virtualpc.application"] = {
    bad_timeout = "E_INVALIDARG",
    convert_rule = pc_convert,
  },
}

---The application object of a ProgID; nil: there is no such program.
---@param progid string
---@param engine lvhd.Engine
---@param config table luacom.config
---@return lvhd.VMVirtualServer?
function M.new(progid, engine, config)
  local product = products[progid:lower()]
  if not product then
    return nil
  end
  local app = { engine = engine, config = config, search_paths = {},
    tasks = {}, unsettled = {}, last_id = 0, since = core.now(),
    bad_timeout = product.bad_timeout, convert_rule = product.convert_rule }
  app.app = app -- its own state, as other objects' states name it
  function app.enter()
    tasks.settle_all(app)
  end
  return object.new(class, app)
end

return M
