-- SPDX-License-Identifier: MIT
--
-- busted's helper under `make mutants`: spec/helper.lua, and either a note of
-- what each test would notice (LVHD_MUTANT_LOG) or none but the tests that
-- LVHD_MUTANT_ONLY lists.  Knows busted and the file of notes of
-- spec/c/mutant.h, not what a mutant is.

dofile("spec/helper.lua")

local busted = require "busted"

local stack = {} -- the file, then the describes that are under way

local function push(element)
  stack[#stack + 1] = element.name
  return nil, true
end
local function pop()
  stack[#stack] = nil
  return nil, true
end
busted.subscribe({ "file", "start" }, push, { priority = 1 })
busted.subscribe({ "file", "end" }, pop)
busted.subscribe({ "describe", "start" }, push, { priority = 1 })
busted.subscribe({ "describe", "end" }, pop)

-- "spec/x_spec.lua", a tab, and "describe it".
local function full_name(name)
  local file = stack[1]:gsub("^%./", "")
  return file .. "\t" .. table.concat(stack, " ", 2)
    .. (#stack > 1 and " " or "") .. name
end

-- ---- none but those -------------------------------------------------------

local only = os.getenv("LVHD_MUTANT_ONLY")
if only then
  local wanted = {}
  for line in io.lines(only) do wanted[line] = true end
  local function filter(name)
    return nil, wanted[full_name(name)] == true
  end
  busted.subscribe({ "register", "it" }, filter, { priority = 1 })
  busted.subscribe({ "register", "pending" }, filter, { priority = 1 })
end

-- ---- what each would notice -----------------------------------------------

local notes = os.getenv("LVHD_MUTANTS_SEEN")
local log = os.getenv("LVHD_MUTANT_LOG")
log = log and assert(io.open(log, "w"))
local last, began

-- The numbers that were noted since the last time.
local function take()
  local file = assert(io.open(notes, "r+b"))
  local bytes = file:read("a")
  local list, at = {}, bytes:find("\1", 1, true)
  while at do
    list[#list + 1] = at - 1
    at = bytes:find("\1", at + 1, true)
  end
  if #list > 0 then
    file:seek("set", 0)
    file:write(("\0"):rep(#bytes))
  end
  file:close()
  return table.concat(list, " ")
end

if log then
  -- What comes between two tests is the end of one and the start of another.
  busted.subscribe({ "test", "start" }, function(element)
    local between = take()
    if last then log:write(last, "\t0\tbetween\t", between, "\n") end
    last = full_name(element.name)
    log:write(last, "\t0\tbetween\t", between, "\n")
    began = busted.monotime()
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function(_, _, status)
    log:write(("%s\t%.4f\t%s\t%s\n"):format(last, busted.monotime() - began,
      tostring(status), take()))
    return nil, true
  end)
  busted.subscribe({ "suite", "end" }, function()
    if last then log:write(last, "\t0\tbetween\t", take(), "\n") end
    log:close()
    return nil, true
  end)
end
