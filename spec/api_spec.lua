-- SPDX-License-Identifier: MIT
--
-- The API reference: it is what the annotations say, and holds every public
-- name: what the module has, what its objects have, and every option.

local core = require "lvhd.core"
local engines = require "lvhd.engine"
local lvhd = require "lvhd"
local options = require "lvhd.options"
local reference = require "spec.support.reference"
local support = require "spec.support"

local api = reference.read(reference.FILES)

local function functions(class)
  local names = {}
  for _, row in ipairs(api.classes[class].functions) do
    names[row.name] = row
  end
  return names
end

-- The fields of a class and of what it is made of.
local function fields(class, into)
  local made = assert(api.classes[class], class)
  for _, field in ipairs(made.fields) do
    into[field.name:gsub("%?$", "")] = field
  end
  for base in (made.bases or ""):gmatch("[%w_.]+") do
    fields(base, into)
  end
  return into
end

describe("the reference", function()
  it("is made of the annotations as they are: make reference", function()
    assert.equal(reference.markdown(api), support.read "lvhd/REFERENCE.md")
  end)

  for class, object in pairs {
    lvhd = lvhd,
    ["lvhd.Engine"] = engines.methods,
    ["lvhd.Task"] = core.metatables.task.__index,
    ["lvhd.Disk"] = core.metatables.disk.__index,
  } do
    it("has every name of " .. class .. ", and no other", function()
      local said = functions(class)
      for name in pairs(object) do
        assert.is_truthy(said[name] or name == "getfd", name)
      end
      for name in pairs(said) do
        assert.is_truthy(object[name] ~= nil, name)
      end
    end)
  end

  it("tells of each function what it takes and gives", function()
    for class, made in pairs(api.classes) do
      for _, row in ipairs(made.functions) do
        local where = class .. "." .. row.name
        local words = {}
        for word in (row.words or ""):gmatch("[%w_]+") do
          words[#words + 1] = word
        end
        local given = {}
        for i, param in ipairs(row.params) do
          given[i] = param.name:gsub("%?$", "")
        end
        if words[1] ~= "_" then
          assert.same(words, given, where)
        end
      end
    end
  end)

  for class, names in pairs {
    ["lvhd.EngineOptions"] = options.engine,
    ["lvhd.FixedOptions"] = options.create_fixed,
    ["lvhd.DynamicOptions"] = options.create_dynamic,
    ["lvhd.DifferencingOptions"] = options.create_differencing,
    ["lvhd.ChildrenOptions"] = options.create_children,
    ["lvhd.OpenOptions"] = options.chain,
    ["lvhd.WriteOptions"] = options.open,
    ["lvhd.CheckOptions"] = options.check,
    ["lvhd.ConvertOptions"] = options.convert,
    ["lvhd.MergeOptions"] = options.merge,
    ["lvhd.CompactOptions"] = options.compact,
    ["lvhd.ResizeOptions"] = options.resize,
    ["lvhd.RelinkOptions"] = options.relink,
    ["lvhd.ChangeOptions"] = options.repair,
  } do
    it("has every option of " .. class .. ", and no other", function()
      local said = fields(class, {})
      for name in pairs(names) do
        -- the tests', and one that create_children refuses with its reason
        if name ~= "system"
          and not (name == "uuid" and class == "lvhd.ChildrenOptions") then
          assert.is_truthy(said[name], name)
        end
      end
      for name in pairs(said) do
        assert.is_truthy(names[name], name)
      end
    end)
  end
end)
