-- SPDX-License-Identifier: MIT
--
-- The error class: tables that print and concatenate as one line, and the
-- one place that raises them. Knows nothing of tasks and engines.

local core = require "lvhd.core"

local M = {}

---What lvhd raises when the world, not the programmer, is at fault.
---A field that is not known is nil.
---@class lvhd.Error
---@field name string the documented name: "E_ALREADY_EXISTS"
---@field hresult integer its number, not negative: 0x800700B7
---@field message string what is wrong, with the limit and the value
---@field op? string the verb: "create_differencing"
---@field where? string script and line that met the error: "script.lua:7"
---@field path? string the image that the call was about
---@field parent? string its parent
---@field errno? integer of the failed system call
---@field errname? string "ENOSPC"
---@field syscall? string "pwritev"
---@field reason? string the fine-grained cause: "FOLDER_MISSING"
---@field expected? integer|string the limit, in the unit of the reason; an
---identifier where the disk is another one, or that of a child that waits
---@field actual? any what was found instead
---@field offset? integer byte offset in the file, or in the path
---@field layer? integer which disk of the chain; 1 is the leaf
---@field others? string[] paths of the files that stand in the way: the other
---children of a disk that was to be changed
---@field items? (lvhd.Info|lvhd.Error)[] of create_children: what became of each
---image, in order
---@field hint? string the one line that cures
local meta = core.metatables.error

meta.__name = "lvhd.error"

-- One line, whatever a name holds: control characters as escapes, and not
-- without end.
local function plain(text)
  if #text > 2000 then
    text = text:sub(1, 2000) .. "..."
  end
  local function escape(c)
    return ("\\x%02X"):format(c:byte(-1))
  end
  -- C0, DEL, and the C1 controls in UTF-8, which terminals obey as well
  -- and what turns or breaks lines: U+2028 to U+202E, U+2066 to U+2069
  local function spell(c)
    return (c:gsub(".", escape))
  end
  return (text:gsub("[%c\127]", escape):gsub("\xC2[\x80-\x9F]", escape)
    :gsub("\xE2\x80[\xA8-\xAE]", spell):gsub("\xE2\x81[\xA6-\xA9]", spell))
end

function meta.__tostring(err)
  local parts = {}
  if err.where then
    parts[1] = err.where .. ": "
  end
  parts[#parts + 1] = ("%s (0x%08X): "):format(err.name, err.hresult)
  if err.op then
    parts[#parts + 1] = err.op
    parts[#parts + 1] = err.path and (" '%s': "):format(plain(err.path))
      or ": "
  end
  parts[#parts + 1] = plain(err.message)
  if err.hint then
    parts[#parts + 1] = " (" .. plain(err.hint) .. ")"
  end
  return table.concat(parts)
end

function meta.__concat(a, b)
  return tostring(a) .. tostring(b)
end

-- Sources of lvhd's own Lua files, to find the script's line above them.
local own = {}
local getinfo = debug and debug.getinfo

---Marks the calling file as one of lvhd's own.
function M.own()
  if getinfo then
    own[getinfo(2, "S").source] = true
  end
end
M.own()

---Level of the first function above lvhd's own files, as seen by the caller.
local function script_level()
  local level = 2
  while true do
    local info = getinfo(level, "S")
    if not info then
      return nil
    elseif info.what ~= "C" and not own[info.source] then
      return level - 1
    end
    level = level + 1
  end
end

---Script and line above lvhd's own files.
local function where()
  local level = getinfo and script_level()
  local info = level and getinfo(level, "Sl")
  if info and info.currentline > 0 then
    return ("%s:%d"):format(info.short_src, info.currentline)
  end
  return nil
end

---An error table of the core, with the line of the script.
---@param err lvhd.Error
---@return lvhd.Error
function M.located(err)
  err.where = err.where or where()
  return err
end

---Raises it.
---@param err lvhd.Error
function M.raise(err)
  error(M.located(err), 0)
end

---Raises a wrong argument as luaL_argerror would.
function M.argument(position, fname, message)
  local at = where()
  error(("%sbad argument #%d to '%s' (%s)")
    :format(at and at .. ": " or "", position, fname, message), 0)
end

---Raises a wrong use, with the line of the script.
function M.misuse(message)
  local at = where()
  error((at and at .. ": " or "") .. message, 0)
end

---Checks a time in seconds that may be absent.
function M.check_seconds(seconds, position, fname)
  if seconds ~= nil and (type(seconds) ~= "number" or seconds ~= seconds) then
    M.argument(position, fname, "number expected, got "
      .. (type(seconds) == "number" and "nan" or type(seconds)))
  end
end

---Checks what a method was called on: `x.wait()` where `x:wait()` was meant
---is a wrong use, to be said with the script's line.
function M.check_self(object, class, fname)
  if getmetatable(object) ~= class then
    local at = where()
    error(("%scalling '%s' on bad self (%s expected, got %s)")
      :format(at and at .. ": " or "", fname, class.__name, type(object)), 0)
  end
end

---True for an error of lvhd, of the given name when one is given.
---@param e any
---@param name? string
---@return boolean
function M.is_error(e, name)
  return getmetatable(e) == meta and (name == nil or e.name == name)
end

return M
