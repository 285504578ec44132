-- SPDX-License-Identifier: MIT
--
-- Errors as the documented members tell them. lvhd's own verbs raise the
-- documented codes already; here is what differs by member. Methods say in
-- the documents that codes which their table lacks are those of the HRESULT
-- page, and so they pass. Properties say no such thing: what has no row there
-- becomes the row that it is a case of. Knows errors, not objects.

local core = require "lvhd.core"
local errors = require "lvhd.error"
local object = require "lvhd.virtualserver.object"

errors.own()

local M = {}

---The same error under another name.
local function rename(err, name)
  local made = core.fail(name, err.op or "", nil)
  err.name, err.hresult = made.name, made.hresult
  return err
end

-- About the process or the engine, not about the image: never renamed.
local ALWAYS <const> = {
  VM_E_APP_SHUTTING_DOWN = true,
  E_OUTOFMEMORY = true,
  VM_E_OUT_OF_RESOURCE = true,
  E_HANDLE = true,
}

-- The file is not there.
local function missing(err)
  return err.name == "E_PATH_NOT_FOUND"
end

local translate = {}

---Creators, and what a task finds: as lvhd says it.
function translate.method(err)
  return err
end

---GetHardDisk: a file that is missing in a folder that is there has its row.
function translate.opener(err)
  if err.reason == "FILE_MISSING" then
    return rename(err, "E_FILE_NOT_FOUND")
  end
  return err
end

---Compact, Convert, Merge, MergeTo of an image that is gone: their rows on
---missing paths are about the new file, if there are any. The HRESULT page
---has a code for an image that is missing.
function translate.image(err)
  if missing(err) then
    return rename(err, "VM_E_HD_IMAGE_OPEN_FAIL")
  end
  return err
end

---SizeInGuest, HostDriveIdentifier and, but for one row, Type and Parent.
function translate.property(err)
  if ALWAYS[err.name] then
    return err
  elseif missing(err) then
    return rename(err, "E_FILE_NOT_FOUND")
  elseif err.name == "DISP_E_EXCEPTION" and err.errno then
    return rename(err, "VM_E_HD_IMAGE_ACCESS")
  elseif err.name == "DISP_E_EXCEPTION" then
    return err
  end
  return rename(err, "VM_E_HD_IMAGE_OPEN_FAIL")
end

function translate.type(err)
  if err.reason == "DISK_TYPE" then
    return rename(err, "VM_E_DRIVE_INVALID")
  end
  return translate.property(err)
end

---SizeOnHost: no rows about what the image holds.
function translate.host_size(err)
  if ALWAYS[err.name] then
    return err
  end
  return rename(err, missing(err) and "E_FILE_NOT_FOUND"
    or "DISP_E_EXCEPTION")
end

---HostFreeDiskSpace: the path of the image is wrong, or something is.
function translate.host_free(err)
  if ALWAYS[err.name] then
    return err
  end
  return rename(err, missing(err) and "E_BAD_PATHNAME" or "DISP_E_EXCEPTION")
end

---A folder among the search paths.
translate.folder = translate.opener

M.translate = translate

-- In place of hints at options, which no member has.
local hints = {
  PARENT_TIME = "if its content is the same, assigning Parent takes its time",
  JOURNAL_PENDING = "run the operation that was interrupted again",
}

---The hint as a script can follow it, or nil.
---@param err lvhd.Error
---@return string?
function M.hint(err)
  if err.hint and err.hint:find("force = ", 1, true) then
    return hints[err.reason]
  end
  return err.hint
end

---Raises an error of a member.
---@param app table
---@param member string its documented name
---@param err lvhd.Error
function M.raise(app, member, err)
  err.op, err.hint = member, M.hint(err)
  object.raise(app, err)
end

---Raises a code of a member.
---@param path string|nil
---@param message string
function M.fail(app, member, name, path, message)
  local err = core.fail(name, member)
  err.path, err.message = path, message
  object.raise(app, err)
end

---Calls a verb of lvhd for a member; its errors are told in the member's way.
---@param how fun(err: lvhd.Error): lvhd.Error one of `translate`
function M.try(app, member, how, fn, ...)
  local ok, result = pcall(fn, ...)
  if ok then
    return result
  elseif not errors.is_error(result) then
    error(result, 0)
  end
  M.raise(app, member, how(result))
end

---The same, and the error is returned: result or nil, error.
function M.catch(fn, ...)
  local ok, result = pcall(fn, ...)
  if ok then
    return result
  elseif not errors.is_error(result) then
    error(result, 0)
  end
  return nil, result
end

---NULL where a pointer is documented.
function M.need(app, member, value, what)
  if value == nil then
    M.fail(app, member, "E_POINTER", nil, what .. " is nil")
  end
end

---Refuses after the engine's end, before anything is looked at.
function M.alive(app, member, path)
  if core.engine_state(app.engine).closed then
    M.fail(app, member, "VM_E_APP_SHUTTING_DOWN", path,
      "the application is shutting down")
  end
end

-- ---- arguments ------------------------------------------------------------

---A BSTR: text, or a number, which COM would make text.
function M.text(value, position, member)
  if type(value) == "number" then
    return tostring(math.tointeger(value) or value)
  elseif value ~= nil and type(value) ~= "string" then
    errors.argument(position, member, "string expected, got " .. type(value))
  end
  return value
end

---A long: a number, or text that reads as one. A fraction stays one: who
---takes longs decides what becomes of it.
function M.number(value, position, member)
  local n = value
  if type(value) == "string" then
    n = tonumber(value)
  end
  if value ~= nil and type(n) ~= "number" then
    errors.argument(position, member, "number expected, got "
      .. (type(value) == "string" and ("%q"):format(value) or type(value)))
  end
  return n and math.tointeger(n) or n
end

return M
