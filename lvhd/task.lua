-- SPDX-License-Identifier: MIT
--
-- Tasks: the handle's methods, and the interruptible loop of waiting. C waits
-- once, for a short time; the loop is here, so that Ctrl-C, which the lua
-- program delivers through a debug hook, can end it.

local core = require "lvhd.core"
local errors = require "lvhd.error"

errors.own()

-- The longest single wait in C, in milliseconds.
local STEP = 250
-- So many infos are made at once where a loop of events waits for its turn:
-- less than half a millisecond.
local PIECE = 50

---Work under way. A handle belongs to the Lua state that made it. A task
---whose handle is collected goes on.
---@class lvhd.Task
local task = {}

local meta = core.metatables.task
meta.__index = task
meta.__name = "lvhd.task"

-- After a fork every method but tostring raises E_HANDLE.
local function check(self, fname)
  errors.check_self(self, meta, fname)
  local err = core.task_forked(self)
  if err then
    errors.raise(err)
  end
end

-- Milliseconds of the next step before `deadline` (nil: none); 0: it is over.
local function step_before(deadline)
  if not deadline then
    return STEP
  end
  local left = (deadline - core.now()) * 1000
  if left <= 0 then
    return 0
  end
  return math.min(STEP, math.ceil(left))
end

-- How a wait passes its time without a poll function.
local function wait_here(self, deadline)
  local hooked = core.hooked()
  while true do
    local ms = step_before(deadline)
    if core.step(self, ms, hooked) then
      return true
    elseif ms == 0 then
      return false
    end
  end
end

-- The same with the engine's poll function: a descriptor of the engine's
-- small set becomes readable at the end.
local function wait_polling(self, engine, poll, deadline)
  local waiter <close> = core.take_waiter(engine)
  if core.attach(waiter, self) then
    return true
  end
  while not core.step(self, 0) do
    local left
    if deadline then
      left = deadline - core.now()
      if left <= 0 then
        return false
      end
    end
    poll(waiter, left)
  end
  return true
end

local function wait(self, deadline)
  if core.step(self, 0) then
    return true
  end
  local engine = core.task_engine(self)
  local poll = core.engine_state(engine).poll
  if poll then
    return wait_polling(self, engine, poll, deadline)
  end
  return wait_here(self, deadline)
end

-- The list that an ended task has brought, made in pieces, between which the
-- loop of the poll function has its turn; nil where it need not be.
local function made_in_pieces(self)
  if not coroutine.isyieldable() then
    return nil
  end
  local engine = core.task_engine(self)
  local poll = core.engine_state(engine).poll
  if not poll then
    return nil
  end
  local list, whole = core.items(self, nil, PIECE)
  if not list or whole then
    return list
  end
  local waiter <close> = core.take_waiter(engine)
  repeat
    poll(waiter, 0)
    list, whole = core.items(self, list, PIECE)
  until whole
  return list
end

---Waits for the end. While four tasks of the engine or more are live it may return a
---millisecond after it: who waits is woken once for several ends.
---Raises: the task's error (E_ABORT when it was cancelled); E_HANDLE after a
---fork; the plain string "interrupted!" on Ctrl-C.
---@param seconds? number at most so long; 0 asks; absent: for ever
---@return lvhd.Info|lvhd.Info[]|nil result an info, or the list of `check`,
---`find`, `children` and `create_children`, the same table as long as the
---program has it; nil when the time was up
---@return lvhd.Error|nil err then its name is VM_E_TIMED_OUT
function task:wait(seconds)
  errors.check_seconds(seconds, 1, "wait")
  check(self, "wait")
  if not wait(self, seconds and core.now() + seconds) then
    local err = core.fail("VM_E_TIMED_OUT", (core.describe(self)))
    err.path = select(2, core.describe(self))
    return nil, err
  end
  local list = made_in_pieces(self)
  local info = core.info(self, list)
  if info then
    return info
  end
  local err = errors.located(core.error(self, list, true))
  core.error_read(self) -- not before: memory may run out on the way here
  error(err, 0)
end

---True once the task has ended, well or not.
---@return boolean
function task:done()
  check(self, "done")
  return core.step(self, 0)
end

---@return "queued"|"running"|"succeeded"|"failed"|"cancelled"
function task:status()
  check(self, "status")
  return core.status(self)
end

---The error of a task that failed or was cancelled. Never raises.
---@return lvhd.Error|nil
function task:error()
  errors.check_self(self, meta, "error")
  return core.task_forked(self) or core.error(self)
end

---How far it is. Never runs backwards.
---@return integer percent 0..100, and 100 only after success
---@return integer bytes
---@return integer|nil bytes_total nil when not known
---@return integer items
---@return integer items_total
function task:progress()
  check(self, "progress")
  return core.progress(self)
end

---Cancels.
---@return boolean will true: it will end as cancelled, `wait` raises E_ABORT,
---no new file is left, and a disk that was to be changed (in a merge: the
---child) reads as before; false: too late
function task:cancel()
  check(self, "cancel")
  return core.cancel(self)
end

---Seconds from the call to now, or to the end.
---@return number
function task:elapsed()
  check(self, "elapsed")
  return core.elapsed(self)
end

---A descriptor of the task's own, made at the first call, readable once the
---task has ended and ever after. It lives as long as the handle.
---Raises: VM_E_OUT_OF_RESOURCE, E_HANDLE.
---@return integer
function task:fd()
  errors.check_self(self, meta, "fd")
  local fd, err = core.fd(self)
  if not fd then
    errors.raise(err)
  end
  return fd
end

---The same, under the names that cqueues and LuaSocket ask for.
task.pollfd = task.fd
task.getfd = task.fd

---@return "r"
function task.events()
  return "r"
end

---@return nil
function task.timeout()
  return nil
end

---@return false
function task.dirty()
  return false
end

---A task that leaves its scope unfinished is cancelled and waited for.
function meta.__close(self)
  if core.task_forked(self) or core.step(self, 0) then
    return
  end
  core.cancel(self)
  if not core.engine_state(core.task_engine(self)).poll then
    wait_here(self)
    return
  end
  -- A poll function that fails is no reason to leave the task running, and
  -- none can yield where coroutine.close runs this; Ctrl-C is one.
  local ok, err = pcall(wait, self)
  if ok then
    return
  end
  local text = tostring(err)
  if not text:find("interrupted!", 1, true) then
    wait_here(self)
  end
  if not text:find("attempt to yield", 1, true) then
    error(err, 0)
  end
end

function meta.__tostring(self)
  local verb, path = core.describe(self)
  if not verb then
    return "lvhd.task: finalised"
  end
  local status = core.status(self)
  if status == "running" then
    status = ("running, %d%%"):format((core.progress(self)))
  end
  return ("lvhd.task: %s '%s' (%s)"):format(verb, path or "?", status)
end

return task
