-- SPDX-License-Identifier: MIT
--
-- VMHardDisk: a file and what the documents let one ask of it and do with it.
-- It holds a path and nothing open: everything is looked up anew.

local core = require "lvhd.core"
local codes = require "lvhd.virtualserver.codes"
local constants = require "lvhd.virtualserver.constants"
local errors = require "lvhd.error"
local object = require "lvhd.virtualserver.object"
local tasks = require "lvhd.virtualserver.task"

errors.own()

local M = {}

local translate = codes.translate
local types = constants.VMHardDiskType

local class = { name = "VMHardDisk", properties = {}, methods = {} }

-- How a path of the host is told to a script.
local function shown(app, host)
  return app.engine:windows_path(host) or host
end
M.shown = shown

---@class lvhd.VMHardDisk
---@field File string
---@field Type integer vmDiskType_...
---@field Parent lvhd.VMHardDisk? may be assigned
---@field SizeInGuest integer bytes, as the next two
---@field SizeOnHost integer
---@field HostFreeDiskSpace integer
---@field HostDriveIdentifier nil
---@field Compact fun(self): lvhd.VMTask
---@field Convert fun(self, path: string, type: integer): lvhd.VMTask
---@field Merge fun(self): lvhd.VMTask
---@field MergeTo fun(self, path: string, type: integer): lvhd.VMTask

-- ---- properties -----------------------------------------------------------

local function info(state, member, how)
  local engine = state.app.engine
  return codes.try(state.app, member, how, engine.info, engine, state.path)
end

-- A property that is read off the file's info.
local function from_info(name, how, get)
  class.properties[name] = { get = function(state)
    return get(info(state, name, how))
  end }
end

class.properties.File = { get = function(state)
  return state.file
end }

local numbers = {
  dynamic = types.vmDiskType_Dynamic,
  fixed = types.vmDiskType_FixedSize,
  differencing = types.vmDiskType_Differencing,
}
from_info("Type", translate.type, function(i)
  return numbers[i.type]
end)

from_info("SizeInGuest", translate.property, function(i)
  return i.size
end)

-- What is damaged, or no disk at all, has a length all the same.
local function length(state)
  local engine, path = state.app.engine, state.path
  local file = io.open(path:find("^/") and path or engine:host_path(path), "rb")
  local size = file and file:seek("end")
  if file then
    file:close()
  end
  return size
end

class.properties.SizeOnHost = { get = function(state)
  local app, engine = state.app, state.app.engine
  local found, err = codes.catch(engine.info, engine, state.path)
  if found then
    return found.file_size
  end
  return err.name == "VM_E_INVALID_HD_FILE" and err.reason ~= "NOT_REGULAR"
    and length(state)
    or codes.raise(app, "SizeOnHost", translate.host_size(err))
end }

from_info("HostFreeDiskSpace", translate.host_free, function(i)
  return i.free
end)

-- No image is linked to a drive of the host here: S_FALSE, always.
from_info("HostDriveIdentifier", translate.property, function()
  return nil
end)

class.properties.Security = { get = function(state)
  codes.fail(state.app, "Security", "E_NOTIMPL", state.path,
    "not available here")
end }

-- ---- Parent ---------------------------------------------------------------

-- Where a chain breaks behind the child: the parent all the same, if there is
-- a file that can speak for itself; else the code.
local function parent_behind(state, err)
  if err.name == "VM_E_INVALID_HD_FILE" and err.parent then
    return M.new(state.app, err.parent, shown(state.app, err.parent))
  elseif err.name == "VM_E_PARENT_PATH_NOT_FOUND" then
    local _, why = codes.catch(state.app.engine.info, state.app.engine,
      err.parent or state.path)
    codes.fail(state.app, "Parent",
      why and why.reason == "FOLDER_MISSING" and "E_PATH_NOT_FOUND"
      or "E_FILE_NOT_FOUND", state.path, err.message)
  end
  codes.raise(state.app, "Parent", err)
end

local function get_parent(state)
  local engine = state.app.engine
  if info(state, "Parent", translate.property).type ~= "differencing" then
    return nil -- S_FALSE
  end
  local chain = codes.try(state.app, "Parent", translate.property,
    engine.chain, engine, state.path)
  if chain[2] then
    return M.new(state.app, chain[2].path, shown(state.app, chain[2].path))
  end
  return parent_behind(state, chain[1].error)
end

-- What the HRESULT page says of the child better than the property's rows.
local PUT <const> = {
  VM_E_WRONG_HD_IMAGE_TYPE = true,
  VM_E_FILE_READ_ONLY = true,
}

-- Where the parent is known it is at fault: its file or its folder is missing,
-- or it is another disk.
local function put_failure(err)
  if err.parent then
    return translate.opener(err)
  end
  return PUT[err.name] and err or translate.property(err)
end

local function put_parent(state, parent)
  local app = state.app
  codes.need(app, "Parent", parent, "the parent")
  local other = object.state(parent, class)
  if not other or other.app.engine ~= app.engine then
    errors.argument(1, "Parent", "an object of GetHardDisk expected, got "
      .. (other and "one of another 'with'" or type(parent)))
  end
  codes.try(app, "Parent", put_failure, function()
    return app.engine:relink(state.path, other.path):wait()
  end)
end

class.properties.Parent = { get = get_parent, set = put_parent }

-- ---- methods --------------------------------------------------------------

local function must_be(state, member, kind)
  if info(state, member, translate.image).type ~= kind then
    codes.fail(state.app, member, "VM_E_WRONG_HD_IMAGE_TYPE", state.path,
      ("the image is not %s"):format(kind))
  end
end

local function start(state, member, description, fn, ...)
  return tasks.new(state.app, member, translate.image, description, nil, fn,
    ...)
end

function class.methods.Compact(state)
  codes.alive(state.app, "Compact", state.path)
  must_be(state, "Compact", "dynamic")
  local engine = state.app.engine
  return start(state, "Compact", "Compacting " .. state.file, engine.compact,
    engine, state.path)
end

function class.methods.Merge(state)
  codes.alive(state.app, "Merge", state.path)
  must_be(state, "Merge", "differencing")
  local engine = state.app.engine
  return start(state, "Merge", ("Merging %s into its parent"):format(
    state.file), engine.merge, engine, state.path)
end

local words = {
  [types.vmDiskType_Dynamic] = "dynamic",
  [types.vmDiskType_FixedSize] = "fixed",
}

-- What Convert and MergeTo check of their arguments.
local function new_image(state, member, path, kind, by_rule)
  codes.need(state.app, member, path, "the path")
  codes.alive(state.app, member, path)
  local rule, message = by_rule(path)
  if rule then
    codes.fail(state.app, member, rule, path, message)
  end
  M.check_path(state.app, member, path)
  if not words[kind] then
    codes.fail(state.app, member, "VM_E_WRONG_HD_IMAGE_TYPE", path,
      "the type of the new image is neither dynamic (0) nor fixed (1): "
      .. tostring(kind))
  end
end

-- One new file with the content of the image, by either method.
local function copy(state, member, verb, path, kind)
  local engine, app = state.app.engine, state.app
  local description = ("%s %s to %s"):format(verb, state.file, path)
  local function convert(allocate)
    return engine:convert(state.path, path, { to = words[kind],
      allocate = allocate })
  end
  if words[kind] == "fixed" then
    return tasks.fixed(app, member, translate.method, description, convert)
  end
  return tasks.new(app, member, translate.method, description, nil, convert)
end

function class.methods.Convert(state, path, kind)
  path = codes.text(path, 1, "Convert")
  kind = codes.number(kind, 2, "Convert")
  new_image(state, "Convert", path, kind, state.app.convert_rule)
  info(state, "Convert", translate.image)
  return copy(state, "Convert", "Converting", path, kind)
end

local function not_empty(path)
  if path == "" then
    return "E_INVALIDARG", "the path is empty"
  end
  return nil
end

function class.methods.MergeTo(state, path, kind)
  path = codes.text(path, 1, "MergeTo")
  kind = codes.number(kind, 2, "MergeTo")
  new_image(state, "MergeTo", path, kind, not_empty)
  must_be(state, "MergeTo", "differencing")
  return copy(state, "MergeTo", "Merging", path, kind)
end

-- ---- making ---------------------------------------------------------------

---The documented rules on the text of a path.
function M.check_path(app, member, path)
  local ok, err = core.check_path(app.engine, path)
  if not ok then
    err.path = path
    codes.raise(app, member, err)
  end
end

---An object for a file.
---@param path string for lvhd
---@param file string for the script
function M.new(app, path, file)
  return object.new(class, { app = app, path = path, file = file })
end

---GetHardDisk: a file that is there, whatever it holds.
function M.open(app, path)
  local engine = app.engine
  local found, err = codes.catch(engine.info, engine, path)
  if found then
    return M.new(app, path, shown(app, found.path))
  elseif err.reason == "NOT_REGULAR" then
    codes.fail(app, "GetHardDisk", "E_FILE_NOT_FOUND", path, err.message)
  elseif err.name ~= "VM_E_INVALID_HD_FILE" then
    codes.raise(app, "GetHardDisk", translate.opener(err))
  end
  local host = path:sub(1, 1) == "/" and path
    or codes.try(app, "GetHardDisk", translate.opener, engine.host_path, engine,
      path)
  return M.new(app, path, shown(app, host))
end

return M
