-- SPDX-License-Identifier: MIT
--
-- Assertions on failures of lvhd: the exact name, from the call or from the
-- wait, and nothing left in a folder.  Asserts on names and reasons, never
-- on texts.

local assert = require "luassert"
local filetest = require "filetest"
local lvhd = require "lvhd"

local expect = {}

local function is_task(value)
  return type(value) == "userdata" and value.wait ~= nil
end

---Calls, and waits where the answer is a task.
---@return boolean ok, any result_or_error
function expect.try(fn, ...)
  return pcall(function(...)
    local value = fn(...)
    if is_task(value) then
      return value:wait()
    end
    return value
  end, ...)
end

local function check(err, name, reason)
  if not lvhd.is_error(err) then
    error("an lvhd error was expected, not: " .. tostring(err), 3)
  end
  if err.name ~= name or (reason ~= nil and err.reason ~= reason) then
    error(("expected %s %s, got %s %s: %s"):format(name, reason or "",
      err.name, err.reason or "(no reason)", tostring(err)), 3)
  end
  return err
end

---The failure carries this name and, when given, this reason.
function expect.fails(name, reason, fn, ...)
  local ok, err = expect.try(fn, ...)
  if ok then
    error(("expected %s, but it succeeded"):format(name), 2)
  end
  return check(err, name, reason)
end

---The same, and the call raises, not the wait.
function expect.refused(name, reason, fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then
    local late = select(2, pcall(err.wait, err))
    error(("expected %s from the call, which gave a task (%s)")
      :format(name, tostring(late)), 2)
  end
  return check(err, name, reason)
end

---The same, but the call gives a task, and the wait raises.
function expect.late(name, reason, fn, ...)
  local ok, task = pcall(fn, ...)
  if not ok then
    error("expected a task, but the call raised: " .. tostring(task), 2)
  end
  local done, err = pcall(task.wait, task)
  if done then
    error(("expected %s, but it succeeded"):format(name), 2)
  end
  assert.equal("failed", task:status())
  return check(err, name, reason)
end

---A check of the disk: the call finds it, and without preflight the task.
---@param fn function(opts) starts a creation with opts
function expect.both(name, reason, fn)
  local early = expect.refused(name, reason, fn, {})
  expect.late(name, reason, fn, { preflight = false })
  -- nothing is flushed: whether the name is taken is left to the link
  expect.late(name, reason, fn, { preflight = false, sync = "none" })
  return early
end

---A programmer's mistake: a plain string that holds this text.
function expect.argument_error(text, fn, ...)
  local ok, err = expect.try(fn, ...)
  if ok then
    error("an argument error was expected, but it succeeded", 2)
  end
  assert.equal("string", type(err), tostring(err))
  assert.truthy(err:find(text, 1, true),
    ("'%s' is not in: %s"):format(text, err))
  return err
end

---Everything in and under a folder: kinds, modes, sizes, times of files.
function expect.tree(folder)
  return filetest.tree(folder)
end

---Whatever fn does, the folder is as it was; returns what fn returns.
function expect.unchanged(folder, fn, ...)
  local before = expect.tree(folder)
  local result = table.pack(fn(...))
  assert.equal(before, expect.tree(folder))
  return table.unpack(result, 1, result.n)
end

return expect
