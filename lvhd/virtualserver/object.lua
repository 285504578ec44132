-- SPDX-License-Identifier: MIT
--
-- Objects as LuaCOM gives them to scripts: tables whose properties are read
-- and assigned as fields, whose methods want a colon, whose collections are
-- called and enumerated. Knows the manners of LuaCOM, and nothing of disks.
--
-- A class is { name, properties = { Name = { get, set } }, methods, indexed,
-- default, each }: functions that take the state of the object first. indexed:
-- methods that are properties with a parameter. default: the method that a
-- call of the object is. each(state): the list that an enumerator walks.

local constants = require "lvhd.virtualserver.constants"
local errors = require "lvhd.error"

errors.own()

local M = {}

local ENUMERATION <const> = constants.export {}

-- Object -> its state and class; the object itself is the script's to write.
local inner = setmetatable({}, { __mode = "k" })

local meta = { __name = "lvhd.virtualserver" }

---The state behind an object of this class, or nil.
function M.state(object, class)
  local found = inner[object]
  if found and (class == nil or found.class == class) then
    return found.state
  end
  return nil
end

---Makes an object. state.app.config tells what becomes of errors, as in
---LuaCOM, and state.app.enter() is called before each access.
function M.new(class, state)
  local object = setmetatable({}, meta)
  inner[object] = { class = class, state = state, bound = {} }
  return object
end

-- With config.abort_on_error = false an error of lvhd only leaves its text in
-- last_error. What the programmer did wrong, and Ctrl-C, are raised.
local function finish(ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if not errors.is_error(err) then
    error(err, 0)
  end
  return nil
end

local function invoke(state, fn, ...)
  state.app.enter()
  if state.app.config.abort_on_error then
    return fn(state, ...)
  end
  return finish(pcall(fn, state, ...))
end

---Raises an error of a member.
---@param app table
---@param err lvhd.Error
function M.raise(app, err)
  app.config.last_error = tostring(err)
  errors.raise(err)
end

-- Names are exact, or, as everywhere in COM, in letters of another case.
local function named(list, name)
  if list == nil then
    return nil
  elseif list[name] ~= nil then
    return list[name], name
  end
  local low = name:lower()
  for candidate, value in pairs(list) do
    if candidate:lower() == low then
      return value, candidate
    end
  end
  return nil
end

-- The function that `object:Name(...)` calls, always the same. Which object
-- the colon hands over does not matter, as in LuaCOM, but there must be one.
local function bind(found, name, fn)
  local bound = found.bound[name]
  if not bound then
    bound = function(self, ...)
      errors.check_self(self, meta, name)
      return invoke(found.state, fn, ...)
    end
    found.bound[name] = bound
  end
  return bound
end

local function prefixed(class, key)
  local prefix, rest = key:match("^([gs]et)(.+)$")
  if not prefix then
    return nil
  end
  local property = named(class.properties, rest)
  if property and property[prefix] then
    return property[prefix]
  end
  return prefix == "get" and named(class.indexed, rest) or nil
end

function meta.__index(object, key)
  local found = inner[object]
  if type(key) ~= "string" then
    return nil
  end
  local class = found.class
  local fn, name = named(class.methods, key)
  if not fn then
    fn, name = named(class.indexed, key)
  end
  if fn then
    return bind(found, name, fn)
  end
  local property = named(class.properties, key)
  if property then
    return invoke(found.state, property.get)
  end
  fn = prefixed(class, key)
  if fn then
    return bind(found, key, fn)
  end
  return ENUMERATION[key]
end

function meta.__newindex(object, key, value)
  local found = inner[object]
  if type(key) ~= "string" or type(value) == "function" then
    rawset(object, key, value)
    return
  end
  local class = found.class
  local property = named(class.properties, key)
  if property and property.set then
    invoke(found.state, property.set, value)
  elseif property or named(class.methods, key) or named(class.indexed, key)
  then
    local text = ("'%s' of %s cannot be set"):format(key, class.name)
    found.state.app.config.last_error = text
    if found.state.app.config.abort_on_error then
      error(text, 2)
    end
  else
    rawset(object, key, value)
  end
end

function meta.__call(object, ...)
  local found = inner[object]
  local fn = named(found.class.indexed, found.class.default or "")
  if not fn then
    error(("%s has no default member"):format(found.class.name), 2)
  end
  return invoke(found.state, fn, ...)
end

function meta.__tostring(object)
  local found = inner[object]
  return found and "lvhd.virtualserver: " .. found.class.name
    or "lvhd.virtualserver"
end

-- ---- enumerators ----------------------------------------------------------

---@class lvhd.virtualserver.Enumerator
local enumerator = {}
enumerator.__index = enumerator
enumerator.__name = "lvhd.virtualserver.Enumerator"

local function enumerate(list, at)
  return setmetatable({ list = list, at = at }, enumerator)
end

---@return any next nil at the end
function enumerator:Next()
  if self.at < #self.list then
    self.at = self.at + 1
    return self.list[self.at]
  end
  return nil
end

---@return boolean skipped
function enumerator:Skip()
  return self:Next() ~= nil
end

function enumerator:Reset()
  self.at = 0
end

---@return lvhd.virtualserver.Enumerator
function enumerator:Clone()
  return enumerate(self.list, self.at)
end

---An enumerator of a collection; nil for what is none.
function M.enumerator(object)
  local found = inner[object]
  if found and found.class.each then
    return enumerate(found.class.each(found.state), 0)
  end
  return nil
end

---True for a method or a property of the object.
function M.is_member(object, name)
  local found = inner[object]
  local class = found and found.class
  return class ~= nil and (named(class.methods, name)
    or named(class.indexed, name) or named(class.properties, name)) ~= nil
end

return M
