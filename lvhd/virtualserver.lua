-- SPDX-License-Identifier: MIT
--
-- The documented names: a script that drove Virtual Server 2005 through LuaCOM
-- runs after one changed line.
--
--   local luacom = require("lvhd.virtualserver").with{ drives = { C = "/vms" } }
--   local vs = luacom.CreateObject("VirtualServer.Application")
--
-- A thin layer over the public functions of lvhd; the objects are in the files
-- beside. What follows is what the documents leave open, or contradict
-- themselves in, and what was chosen.
--
-- LuaCOM
--  * Properties are fields; `vs:getName()` and `hd:setParent(p)` work as well.
--    `vs:Name()` does not: for objects with a type library LuaCOM's code reads
--    the property before it is called, whatever its manual says.
--  * Methods want a colon; without one it is an error that says so, where
--    LuaCOM lost the first argument. A name in other case is found, as COM finds
--    it. A name that does not exist reads nil; assigning to one, or a function to
--    any, makes it a field of the object. Constants are fields of every object.
--  * A call that fails raises an lvhd error (it prints, concatenates, and has
--    `name` and `hresult`), where LuaCOM raised text. With
--    config.abort_on_error = false it returns nil and leaves the text in
--    config.last_error.
--  * CreateObject and GetObject of another ProgID: nil and a message (raised
--    with config.abort_on_API_error). There is one application object per
--    ProgID and `with`, as there was one service.
--  * Events, implementing interfaces, type libraries: not here; nor `luacomE`.
--  * VT_DECIMAL and long are Lua integers; an HRESULT is the number that
--    lvhd.hresult has, not negative: `("%08X"):format(task.Error)` prints what
--    it printed on 32 bits. A test is `~= 0`, not `< 0`.
--  * nil is NULL: E_POINTER where the member has that row. A number is taken for
--    text and text that reads as a number for a number, as COM does. Any other
--    type is the programmer's error, a plain string; COM had DISP_E_TYPEMISMATCH,
--    which is in no table.
--
-- Calls and codes
--  * Checks have lvhd's order (E_POINTER, shutting down, strings, size, parent,
--    image, volume); the documents have none. What the call finds it raises.
--    What comes up later, and with `preflight = false` all but strings and
--    sizes, is in the task's Error. A type of image is looked at in the call.
--  * A method's page refers to the HRESULT page for codes that it does not list:
--    those pass (a corrupt parent: VM_E_INVALID_HD_FILE; a locked one:
--    E_SHARING_VIOLATION), as do the standard ones (E_ACCESSDENIED,
--    E_OUTOFMEMORY). A property's page does not: there an image that cannot be
--    read is VM_E_HD_IMAGE_OPEN_FAIL, a device that fails VM_E_HD_IMAGE_ACCESS, a
--    type of disk that does not exist VM_E_DRIVE_INVALID.
--  * An image that is gone is VM_E_HD_IMAGE_OPEN_FAIL for Compact, Convert, Merge
--    and MergeTo: their rows on missing paths are about the new file.
--  * A megabyte is 2^20 bytes: 2,088,960 MB are called 2,040 GB. A size must be
--    less than that, as the tables say, not "at most" as a parameter's text
--    says: the table is what raises, and the seed's says "less". A size that is
--    no whole number is E_INVALIDARG; COM would have rounded it.
--  * CreateFixed reserves the space, which is what "fixed" promises; where the
--    volume cannot, it writes zeros, in the same task. The call looks 0.05 s
--    whether that is so (not with `poll`); later, each use of an object of the
--    application does.
--    Convert and MergeTo to a fixed disk do the same.
--  * One path empty, the other absolute: E_BAD_PATHNAME, though the row says
--    "both", since an empty path names no file beside the other.
--  * No member asks for the extension .vhd, but Convert of Virtual PC, whose
--    table has E_INVALIDARG for it, and for an empty path. In Virtual Server's
--    table that is E_BAD_PATHNAME. MergeTo: E_INVALIDARG in both.
--  * Convert and MergeTo want an absolute path, as documented, though lvhd could
--    do with a relative one. A type that is neither dynamic nor fixed is
--    VM_E_WRONG_HD_IMAGE_TYPE, nil too.
--  * Convert takes differencing disks, whose content with all parents it writes:
--    its table has a row for a missing parent.
--
-- Hard disks
--  * GetHardDisk wants a file, not a valid one: its table has no row for damage,
--    while Type and Compact have. A folder is E_FILE_NOT_FOUND. An object holds
--    the path; what it tells is read anew each time.
--  * File is the real path, as Windows has it where the file lies under a mapped
--    drive, else as the host has it.
--  * Parent reads nil for what is no differencing disk (S_FALSE), and an object
--    for a parent that is damaged; one with another identifier is
--    VM_E_PARENT_CHILD_ID_MISMATCH. Assigning is a relink without force: it
--    refreshes the recorded time and all locators, as virtdisk does. To a disk
--    that is not differencing it is VM_E_WRONG_HD_IMAGE_TYPE: S_FALSE would leave
--    the script in the belief that it had worked.
--  * Merge keeps the child's file, which reads as before: nobody asked for its
--    deletion, and the successors keep it too.
--  * HostDriveIdentifier is nil (S_FALSE): no image here is linked to a drive.
--  * SizeOnHost of a file that is damaged, or no disk at all, is its length;
--    HostFreeDiskSpace is told with an image that can be read.
--  * HostFreeDiskSpace of a file that is gone: E_BAD_PATHNAME, its only row about
--    the path. What a property has no row for at all is DISP_E_EXCEPTION.
--  * GetHardDiskFiles tells VHD files by what they hold, whatever their names, in
--    and below SearchPaths and the given folders, each once, sorted. A folder
--    that is missing or closed adds nothing (there is no code for it); a path
--    that could be none is E_INVALIDARG. nil adds nothing.
--  * SearchPaths is empty at first; VM_E_PREF_NOT_FOUND never comes. Something
--    that is no folder is E_FILE_NOT_FOUND, and the old list stays.
--
-- Tasks
--  * WaitForCompletion returns, with nothing, when the time is up and when the
--    task has failed: its table has no other code. IsComplete, Result and Error
--    tell. A timeout out of range is E_POINTER, for Virtual PC E_INVALIDARG: so
--    say their pages.
--  * While it runs, Result and Error are 0: no other value would be true either.
--  * Cancel of a task that is complete, or past the point of no return, is
--    E_FAIL; IsCancelable says false from then on. A cancelled creation leaves no
--    file.
--  * vs.Tasks is a picture of the tasks that are not complete ("current tasks"
--    in the documents' own example), oldest first; a picture that a script holds
--    does not change. Item counts from 1, as scripts of the time do with the other
--    collections of the family.
--  * Name and Version are lvhd's; UpTime counts seconds from the first
--    CreateObject.

local constants = require "lvhd.virtualserver.constants"
local application = require "lvhd.virtualserver.application"
local engines = require "lvhd.engine"
local errors = require "lvhd.error"
local object = require "lvhd.virtualserver.object"

errors.own()

---The documented names: README, "Coming from Virtual Server".
---@class lvhd.virtualserver
local M = {}

constants.name_all(M)

-- ---- what LuaCOM offers ---------------------------------------------------

local function api_error(luacom, text)
  luacom.config.last_error = text
  if luacom.config.abort_on_API_error then
    error(text, 3)
  end
  return nil, text
end

local function progid(value, fname)
  if type(value) ~= "string" then
    errors.argument(1, fname, "string expected, got " .. type(value))
  end
  return value
end

---LuaCOM's functions, on one engine.
---@class lvhd.virtualserver.LuaCOM
---@field engine lvhd.Engine close it to shut the application down
---@field config { abort_on_error: boolean, abort_on_API_error: boolean, last_error: string|nil }
local functions = {}

---True for a method or a property of the object.
---@param value any
---@param name string
---@return boolean
function functions.isMember(value, name)
  return object.is_member(value, name)
end

---"LuaCOM" for objects, nil for anything else.
---@param value any
---@return string|nil
function functions.GetType(value)
  return object.state(value) and "LuaCOM" or nil
end

---Copies the constants into a table, or makes them globals.
---@param _ any an object; all have the same constants
---@param into? table
---@return table into
function functions.ExportConstants(_, into)
  return constants.export(into or _G)
end
functions.LoadConstants = functions.ExportConstants

---No log is written: false, as where LuaCOM could not open its file.
---@return boolean
function functions.StartLog()
  return false
end

function functions.EndLog()
end

-- The functions that need to know of which `with` they are.
local function bound(luacom)
  local applications = {}

  ---The application object of a ProgID; nil and a message: unknown.
  ---@param id string "VirtualServer.Application", "VirtualPC.Application"
  ---@return lvhd.VMVirtualServer?
  ---@return string? message
  function luacom.CreateObject(id)
    local key = progid(id, "CreateObject"):lower()
    applications[key] = applications[key]
      or application.new(id, luacom.engine, luacom.config)
    if not applications[key] then
      return api_error(luacom, ("the ProgID '%s' is not registered"):format(id))
    end
    return applications[key]
  end
  luacom.CreateInprocObject = luacom.CreateObject
  luacom.CreateLocalObject = luacom.CreateObject
  luacom.GetObject = luacom.CreateObject -- the service always runs

  ---An enumerator of a collection, with Next, Skip, Reset and Clone.
  ---@param collection any
  ---@return any enumerator
  function luacom.GetEnumerator(collection)
    local enumerator = object.enumerator(collection)
    if not enumerator then
      return api_error(luacom, "the object is no collection")
    end
    return enumerator
  end

  ---for index, item in luacom.pairs(vs.Tasks) do
  ---@param collection any
  ---@return fun(): integer|nil, any
  function luacom.pairs(collection)
    local enumerator = object.enumerator(collection)
    if not enumerator then
      errors.argument(1, "pairs", "a collection expected")
    end
    local index = 0
    return function()
      index = index + 1
      local item = enumerator:Next()
      if item ~= nil then
        return index, item
      end
      return nil
    end
  end
end

-- As an engine's: a `luacom` that leaves its scope shuts the application down.
local closing = {
  __close = function(luacom, err)
    luacom.engine:close{ cancel = err ~= nil }
  end,
}

---What a script has in place of LuaCOM, with an engine of its own.
---Raises: as lvhd.engine.
---@param opts? lvhd.EngineOptions
---@return lvhd.virtualserver.LuaCOM
function M.with(opts)
  local luacom = {
    engine = engines.new(opts, "with"),
    config = { abort_on_error = true, abort_on_API_error = false },
  }
  setmetatable(luacom, closing)
  constants.name_all(luacom)
  for name, fn in pairs(functions) do
    luacom[name] = fn
  end
  bound(luacom)
  return luacom
end

return M
