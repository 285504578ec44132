-- SPDX-License-Identifier: MIT
--
-- VMTask: a task of lvhd, with the documented members, and the collection of
-- those under way. A fixed disk whose volume cannot reserve space is begun
-- anew with zeros, in the same VMTask.

local core = require "lvhd.core"
local codes = require "lvhd.virtualserver.codes"
local constants = require "lvhd.virtualserver.constants"
local errors = require "lvhd.error"
local object = require "lvhd.virtualserver.object"

errors.own()

local M = {}

local TIMEOUT_MAX <const> = 4000000 -- ms, as documented
local FIRST_LOOK <const> = 0.05 -- s

-- ---- what became of it ----------------------------------------------------

-- The second attempt, once the first is seen to have failed for that. Where
-- memory runs out in between, it is left to the next look.
local function settle(state)
  if not state.again or not state.native:done() then
    return
  end
  if state.native:status() == "failed"
    and state.native:error().reason == "NO_RESERVE" then
    local started, err = codes.catch(state.again)
    state.native, state.refused = started or state.native, err or false
  end
  state.again = nil
  state.app.unsettled[state] = nil
end

local function done(state)
  settle(state)
  return state.refused ~= false or state.native:done()
end

-- nil while it runs, and after success.
local function failure(state)
  if not done(state) then
    return nil
  end
  local err = state.refused or state.native:error()
  if err then
    err = state.how(err)
    err.op = state.member
  end
  return err
end

local outcomes = constants.VMTaskResult

-- What is not here is an unexpected error.
local results = {
  E_ABORT = outcomes.vmTaskResult_Cancelled,
  E_OUTOFMEMORY = outcomes.vmTaskResult_OutOfMemoryError,
  E_DISK_FULL = outcomes.vmTaskResult_DiskRelatedError,
  VM_E_FILE_TOO_LARGE_FOR_VOLUME = outcomes.vmTaskResult_DiskRelatedError,
  VM_E_TIMED_OUT = outcomes.vmTaskResult_TimeOutError,
  E_INVALIDARG = outcomes.vmTaskResult_IllegalValueError,
  VM_E_IMAGE_SIZE_TOO_SMALL = outcomes.vmTaskResult_IllegalValueError,
  VM_E_IMAGE_SIZE_TOO_LARGE = outcomes.vmTaskResult_IllegalValueError,
  VM_E_APP_SHUTTING_DOWN = outcomes.vmTaskResult_ShutdownAbort,
}

local function result(state)
  local err = failure(state)
  if not err then
    return outcomes.vmTaskResult_Success
  elseif err.name == "DISP_E_EXCEPTION" and err.errno then
    return outcomes.vmTaskResult_DiskRelatedError -- a device that fails
  end
  return results[err.name] or outcomes.vmTaskResult_UnexpectedError
end

---@class lvhd.VMTask
---@field ID integer
---@field Description string
---@field IsComplete boolean
---@field IsCancelable boolean
---@field PercentCompleted integer 0..100
---@field Result integer vmTaskResult_...
---@field Error integer an HRESULT, as in lvhd.hresult; 0: none
---@field ErrorDescription string
---@field Cancel fun(self)
---@field WaitForCompletion fun(self, milliseconds: integer) -1: to the end

---@class lvhd.VMTaskCollection
---@field Count integer
---@field Item fun(self, index: integer): lvhd.VMTask from 1

-- ---- the members ----------------------------------------------------------

local class = { name = "VMTask", properties = {}, methods = {} }

local function property(name, get)
  class.properties[name] = { get = get }
end

property("ID", function(state)
  return state.id
end)

property("Description", function(state)
  return state.description
end)

property("IsComplete", done)

property("IsCancelable", function(state)
  return not done(state) and not state.too_late
end)

property("PercentCompleted", function(state)
  settle(state)
  -- a second attempt begins at 0, and this one never goes back
  state.percent = math.max(state.percent, (state.native:progress()))
  return state.percent
end)

property("Result", result)

property("Error", function(state)
  local err = failure(state)
  return err and err.hresult or 0
end)

property("ErrorDescription", function(state)
  local err = failure(state)
  if not err then
    return ""
  end
  local hint = codes.hint(err)
  return hint and ("%s (%s)"):format(err.message, hint) or err.message
end)

function class.methods.Cancel(state)
  settle(state)
  if done(state) or not state.native:cancel() then
    state.too_late = true
    codes.fail(state.app, "Cancel", "E_FAIL", nil,
      "the task cannot be cancelled any more")
  end
end

-- Waits at most so long, whatever becomes of it.
local function wait(state, seconds)
  local native = state.native
  local ok, err = pcall(native.wait, native, seconds)
  if not ok and (not errors.is_error(err) or not native:done()) then
    error(err, 0)
  end
end

function class.methods.WaitForCompletion(state, timeout)
  local ms = codes.number(timeout, 1, "WaitForCompletion")
  if not ms or ms ~= -1 and not (ms >= 0 and ms <= TIMEOUT_MAX) then
    codes.fail(state.app, "WaitForCompletion", state.app.bad_timeout, nil,
      ("the timeout is neither -1 nor from 0 to %d ms: %s"):format(
        TIMEOUT_MAX, tostring(timeout)))
  end
  local deadline = ms >= 0 and core.now() + ms / 1000 or nil
  repeat
    local left = deadline and math.max(0, deadline - core.now())
    if not state.refused then
      codes.try(state.app, "WaitForCompletion", codes.translate.method, wait,
        state, left)
    end
  until done(state) or left == 0
end

-- ---- tasks of an application ----------------------------------------------

-- A refusal comes at once, if there is a worker. A program that never looks at
-- the task shall have its disk, too. A poll function may want a coroutine,
-- which nobody has promised here. The task is there already: that memory runs
-- out is for the next look to say.
local function first_look(state)
  if not state.again or core.engine_state(state.app.engine).poll then
    return
  end
  local ok, err = pcall(wait, state, FIRST_LOOK)
  if ok then
    ok, err = pcall(settle, state)
  end
  if not ok and err ~= "not enough memory" then
    error(err, 0)
  end
end

-- All that needs memory comes before the start: a task that runs, and that
-- nobody has, could not be taken back.
local function begin(state, task, place, start, ...)
  local app = state.app
  app.tasks[place] = task
  if state.again then
    app.unsettled[state] = true
  end
  return codes.try(app, state.member, state.how, start, ...)
end

---Starts a task of lvhd, and wraps it.
---@param app table
---@param member string what starts it
---@param how fun(err: lvhd.Error): lvhd.Error
---@param description string
---@param again (fun(): lvhd.Task)|nil what to do where space cannot be reserved
---@param start fun(...): lvhd.Task
function M.new(app, member, how, description, again, start, ...)
  local state = { app = app, member = member, native = false, how = how,
    id = app.last_id + 1, description = description, again = again, percent = 0,
    refused = false, too_late = false }
  local task = object.new(class, state)
  M.current(app) -- lets go of those that are over
  local place = #app.tasks + 1
  local ok, native = pcall(begin, state, task, place, start, ...)
  if not ok then
    app.tasks[place], app.unsettled[state] = nil, nil
    error(native, 0)
  end
  state.native, app.last_id = native, state.id
  first_look(state)
  return task
end

---A fixed disk: space is reserved, or zeros are written where that cannot be.
---@param start fun(allocate: string): lvhd.Task
function M.fixed(app, member, how, description, start)
  return M.new(app, member, how, description, function()
    return start("zero")
  end, start, "reserve")
end

---Begins what was left to be begun anew.
function M.settle_all(app)
  if next(app.unsettled) == nil then
    return
  end
  local list = {}
  for state in pairs(app.unsettled) do
    list[#list + 1] = state
  end
  for _, state in ipairs(list) do
    settle(state)
  end
end

---The tasks that are not complete, oldest first.
function M.current(app)
  local list = {}
  for _, task in ipairs(app.tasks) do
    if not done(object.state(task, class)) then
      list[#list + 1] = task
    end
  end
  app.tasks = list
  return table.move(list, 1, #list, 1, {})
end

local collection = { name = "VMTaskCollection", default = "Item",
  properties = { Count = { get = function(state)
    return #state.list
  end } } }

collection.indexed = { Item = function(state, index)
  local i = codes.number(index, 1, "Item")
  local task = i and state.list[i]
  if not task then
    codes.fail(state.app, "Item", "DISP_E_BADINDEX", nil,
      ("%s is no index from 1 to %d"):format(tostring(index), #state.list))
  end
  return task
end }

function collection.each(state)
  return state.list
end

---What vs.Tasks is: a picture of this moment.
function M.collection(app)
  return object.new(collection, { app = app, list = M.current(app) })
end

return M
