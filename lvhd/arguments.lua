-- SPDX-License-Identifier: MIT
--
-- What the verbs check of their arguments, and how they end: a wrong type is
-- the programmer's mistake and a plain string, nil where the documented
-- interface has a pointer is E_POINTER, which the core says.

local core = require "lvhd.core"
local errors = require "lvhd.error"
local size = require "lvhd.size"

errors.own()

local M = {}

---A path, or nil for the core to refuse.
function M.path(value, position, fname)
  if value ~= nil and type(value) ~= "string" then
    errors.argument(position, fname, "string expected, got " .. type(value))
  end
end

---A path of a file that exists. No system call can take one with NUL, and C
---would read it up to there.
function M.existing(value, position, fname)
  M.path(value, position, fname)
  if value and value:find("\0", 1, true) then
    local err = core.fail("E_INVALID_NAME", fname, "CHARACTER_FORBIDDEN")
    err.path, err.actual, err.offset = value, 0, value:find("\0", 1, true) - 1
    errors.raise(err)
  end
end

-- How many a list has, holes among them. A list by __len and __index alone is
-- one, too; any key but 1 to that number is a mistake, and is named.
local function length(value, position, fname)
  local n = #value
  for key in pairs(value) do
    if math.type(key) ~= "integer" or key < 1 or key > n then
      errors.argument(position, fname,
        ("list expected, got a table with [%s]"):format(
          type(key) == "string" and ("%q"):format(key) or tostring(key)))
    end
  end
  return n
end

---One path or a list of them, as a list; false stands for nil.
---@return (string|false)[]
function M.paths(value, position, fname)
  if type(value) ~= "table" then
    if value ~= nil and type(value) ~= "string" then
      errors.argument(position, fname,
        "string or list of strings expected, got " .. type(value))
    end
    M.existing(value, position, fname)
    return { value or false }
  end
  local list = {}
  for i = 1, length(value, position, fname) do
    if type(value[i]) ~= "string" then
      errors.argument(position, fname,
        ("list of strings expected, got %s at [%d]"):format(type(value[i]), i))
    end
    M.existing(value[i], position, fname)
    list[i] = value[i]
  end
  return list
end

local function refuse_child(what, i, position, fname)
  errors.argument(position, fname,
    ("list of paths or { image =, uuid = } expected, got %s at [%d]")
      :format(what, i))
end

-- One image of a list that is no path: { image =, uuid = }.
local function child(value, i, position, fname)
  if type(value) ~= "table" then
    refuse_child(type(value), i, position, fname)
  elseif type(value.image) ~= "string" then
    refuse_child("a table without image", i, position, fname)
  end
  for key, field in pairs(value) do
    if key ~= "image" and key ~= "uuid" or type(field) ~= "string" then
      refuse_child(("%s %s"):format(type(field), tostring(key)), i, position,
        fname)
    end
  end
  return value.image, value.uuid
end

---The images of create_children, as two tables: paths, and the identifiers of
---those that have one. nil is left to the core.
---@return string[]|nil paths, table<integer, string>|nil uuids
function M.children(value, position, fname)
  if value == nil then
    return nil
  elseif type(value) ~= "table" then
    errors.argument(position, fname, "list expected, got " .. type(value))
  end
  local paths, uuids = {}, {}
  for i = 1, length(value, position, fname) do -- a hole is nil
    local image = value[i] -- thousands, while a loop of events waits
    if type(image) ~= "string" then
      image, uuids[i] = child(image, i, position, fname)
    end
    paths[i] = image
  end
  return paths, uuids
end

---The type of a size.
function M.size(value, position, fname)
  if value ~= nil and type(value) ~= "number" and type(value) ~= "string" then
    errors.argument(position, fname,
      "integer or string expected, got " .. type(value))
  end
end

-- Options whose value the core cannot name: it has it in another form.
local malformed = {
  UUID_MALFORMED = "uuid",
  MODE_MALFORMED = "mode",
  LABEL_MALFORMED = "label",
}

---The same error, with the value of the option that is at fault.
---@param err lvhd.Error|nil
---@param opts table|nil the options as the user gave them
function M.named(err, opts)
  local option = err and err.name == "E_INVALIDARG" and malformed[err.reason]
  if option and opts and type(opts[option]) == "string" then
    err.actual = opts[option]
    err.message = ("%s: %s = %q"):format(err.message, option, opts[option])
  end
  return err
end

---What the core gave, or its error raised.
function M.started(result, err)
  if not result then
    errors.raise(err)
  end
  return result
end

-- What a malformed size becomes for the core, which refuses it in its turn.
local UNREADABLE = math.mininteger

---Starts a verb that has a size: `start(bytes)` gives what the core gives.
---@param given integer|string|nil the size as the user gave it
---@param path string|nil of the disk
---@param fname string
---@param start fun(bytes: integer): any, lvhd.Error|nil
function M.sized(given, path, fname, start)
  if given == nil then
    local err = core.fail("E_POINTER", fname)
    err.path, err.message = path, "the size is nil"
    errors.raise(err)
  end
  local parsed = size.parse(given)
  local task, err = start(parsed or UNREADABLE)
  if err and not parsed and err.reason == "SIZE_NOT_POSITIVE" then
    err.reason, err.expected, err.actual = "SIZE_MALFORMED", nil, given
    err.message = ("the size cannot be read: %s"):format(
      type(given) == "string" and ("%q"):format(given) or tostring(given))
  elseif err and ((err.reason or ""):find("^SIZE_")
    or err.reason == "FILESYSTEM_SIZE") then
    err.hint = size.hint(given)
  end
  return M.started(task, err)
end

return M
