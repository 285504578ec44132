-- SPDX-License-Identifier: MIT
--
-- lvhd: VHD virtual hard disks from Lua 5.4. The module table and the default
-- engine; everything else is in the files beside.

local core = require "lvhd.core"
local errors = require "lvhd.error"
local engines = require "lvhd.engine"
require "lvhd.change"
require "lvhd.task"
require "lvhd.ended"
require "lvhd.disk"

errors.own()

---@class lvhd
local lvhd = {}

---@type string
lvhd.version = core.version()

---The documented table, both ways: lvhd.hresult.E_ALREADY_EXISTS == 0x800700B7
---and lvhd.hresult[0x800700B7] == "E_ALREADY_EXISTS".
---@type table<string|integer, integer|string>
lvhd.hresult = core.hresults()

---True for an error of lvhd, of the given name when one is given.
lvhd.is_error = errors.is_error

---Makes an independent engine, with threads and tasks of its own.
---Raises: E_BAD_PATHNAME (base is relative), E_OUTOFMEMORY,
---VM_E_OUT_OF_RESOURCE.
---@param opts? lvhd.EngineOptions
---@return lvhd.Engine
function lvhd.engine(opts)
  return engines.new(opts, "engine")
end

local default

---The engine behind the functions of the module, made at first use, or here
---with options: once it is made, options are an argument error.
---@param opts? lvhd.EngineOptions
---@return lvhd.Engine
function lvhd.default_engine(opts)
  if default and opts ~= nil then
    errors.argument(1, "default_engine",
      "the default engine is made already: no options any more")
  end
  default = default or engines.new(opts, "default_engine", true)
  return default
end

local methods = engines.methods

---As lvhd.Engine:create_fixed, on the default engine.
---@param image string
---@param bytes integer|string
---@param opts? lvhd.FixedOptions
---@return lvhd.Task
function lvhd.create_fixed(image, bytes, opts)
  return methods.create_fixed(lvhd.default_engine(), image, bytes, opts)
end

---As lvhd.Engine:create_dynamic, on the default engine.
---@param image string
---@param bytes integer|string
---@param opts? lvhd.DynamicOptions
---@return lvhd.Task
function lvhd.create_dynamic(image, bytes, opts)
  return methods.create_dynamic(lvhd.default_engine(), image, bytes, opts)
end

---As lvhd.Engine:create_differencing, on the default engine.
---@param image string
---@param parent string
---@param opts? lvhd.DifferencingOptions
---@return lvhd.Task
function lvhd.create_differencing(image, parent, opts)
  return methods.create_differencing(lvhd.default_engine(), image, parent,
    opts)
end

---As lvhd.Engine:create_children, on the default engine.
---@param images (string|lvhd.Child)[]
---@param parent string
---@param opts? lvhd.ChildrenOptions
---@return lvhd.Task
function lvhd.create_children(images, parent, opts)
  return methods.create_children(lvhd.default_engine(), images, parent, opts)
end

---As lvhd.Engine:info, on the default engine.
---@param path string
---@return lvhd.Info
function lvhd.info(path)
  return methods.info(lvhd.default_engine(), path)
end

---As lvhd.Engine:chain, on the default engine.
---@param path string
---@param opts? lvhd.OpenOptions
---@return lvhd.Info[]
function lvhd.chain(path, opts)
  return methods.chain(lvhd.default_engine(), path, opts)
end

---As lvhd.Engine:open, on the default engine.
---@param path string|string[]
---@param opts? lvhd.WriteOptions
---@return lvhd.Disk
function lvhd.open(path, opts)
  return methods.open(lvhd.default_engine(), path, opts)
end

---As lvhd.Engine:check, on the default engine.
---@param path string
---@param opts? lvhd.CheckOptions
---@return lvhd.Task
function lvhd.check(path, opts)
  return methods.check(lvhd.default_engine(), path, opts)
end

---As lvhd.Engine:find, on the default engine.
---@param folders string|string[]
---@return lvhd.Task
function lvhd.find(folders)
  return methods.find(lvhd.default_engine(), folders)
end

---As lvhd.Engine:children, on the default engine.
---@param parent string
---@param folders string|string[]
---@return lvhd.Task
function lvhd.children(parent, folders)
  return methods.children(lvhd.default_engine(), parent, folders)
end

---As lvhd.Engine:convert, on the default engine.
---@param source string
---@param dest string
---@param opts? lvhd.ConvertOptions
---@return lvhd.Task
function lvhd.convert(source, dest, opts)
  return methods.convert(lvhd.default_engine(), source, dest, opts)
end

---As lvhd.Engine:merge, on the default engine.
---@param child string
---@param opts? lvhd.MergeOptions
---@return lvhd.Task
function lvhd.merge(child, opts)
  return methods.merge(lvhd.default_engine(), child, opts)
end

---As lvhd.Engine:compact, on the default engine.
---@param path string
---@param opts? lvhd.CompactOptions
---@return lvhd.Task
function lvhd.compact(path, opts)
  return methods.compact(lvhd.default_engine(), path, opts)
end

---As lvhd.Engine:resize, on the default engine.
---@param path string
---@param size integer|string
---@param opts? lvhd.ResizeOptions
---@return lvhd.Task
function lvhd.resize(path, size, opts)
  return methods.resize(lvhd.default_engine(), path, size, opts)
end

---As lvhd.Engine:relink, on the default engine.
---@param child string
---@param parent string
---@param opts? lvhd.RelinkOptions
---@return lvhd.Task
function lvhd.relink(child, parent, opts)
  return methods.relink(lvhd.default_engine(), child, parent, opts)
end

---As lvhd.Engine:repair, on the default engine.
---@param path string
---@param opts? lvhd.ChangeOptions
---@return lvhd.Task
function lvhd.repair(path, opts)
  return methods.repair(lvhd.default_engine(), path, opts)
end

return lvhd
