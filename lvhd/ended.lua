-- SPDX-License-Identifier: MIT
--
-- What has ended, handed out by the engine: the loop `ended`, and a descriptor
-- for event loops. As in lvhd/task.lua, C waits once, for a short time, and the
-- loop is here, so that Ctrl-C can end it.

local core = require "lvhd.core"
local errors = require "lvhd.error"
local engines = require "lvhd.engine"

errors.own()

-- The longest single wait in C, in milliseconds.
local STEP = 250

---@class lvhd.Engine
local engine = engines.methods

-- Begins to count, where there is something to count.
local function begin(self, fname)
  errors.check_self(self, engines.meta, fname)
  if core.engine_state(self).default then
    errors.misuse(("'%s' on the default engine, whose tasks are everybody's: "
      .. "make one with lvhd.engine"):format(fname))
  end
  local err = core.engine_forked(self)
  if err then
    errors.raise(err)
  end
  core.collect(self)
end

-- Waits for a time until a task has ended, or none is live.
local function pass_time(self, deadline, hooked)
  local left = deadline and math.max(deadline - core.now(), 0)
  local poll = core.engine_state(self).poll
  if not poll then
    core.ended_step(self, left and math.min(STEP, math.ceil(left * 1000))
      or STEP, hooked)
    return
  end
  local waiter <close> = core.take_waiter(self)
  if not core.attach_ended(waiter) then
    poll(waiter, left)
  end
end

---A loop over ended tasks: `for task in engine:ended() do`. Each task of the
---engine is handed out once, in the order of ending, whether it succeeded or not,
---and whether someone waited for it or not. From the first call of this or of
---`fd` on, the engine holds every live and every later task until it is handed
---out, with its handle: `task` is the object that the call gave. What had ended
---before is not among them. After `close` the rest is still to be had.
---Raises: "interrupted!" on Ctrl-C; E_HANDLE after a fork; a plain string on the
---default engine, whose tasks belong to whoever made them.
---@param seconds? number how long the loop may go on, in all: then it hands out
---what has ended by then, and is over. 0: what has ended now; absent: until no
---task is live
---@return fun(): lvhd.Task?
function engine:ended(seconds)
  errors.check_seconds(seconds, 1, "ended")
  begin(self, "ended")
  local deadline = seconds and core.now() + seconds
  local rest -- once the time is up: so many are left to hand out

  local function take()
    local hooked = core.hooked()
    while true do
      if deadline and not rest and deadline <= core.now() then
        rest = core.ended_count(self)
      end
      if rest then
        rest = rest - 1
        return rest >= 0 and core.ended(self) or nil
      end
      local task = core.ended(self)
      if task then
        return task
      elseif core.engine_idle(self, 0) then
        return (core.ended(self)) -- the last one may have ended meanwhile
      end
      pass_time(self, deadline, hooked)
    end
  end

  if seconds and seconds <= 0 then
    rest = core.ended_count(self)
  end
  return function()
    local task = take()
    local err = not task and core.engine_forked(self)
    if err then
      errors.raise(err)
    end
    return task
  end
end

---A descriptor that is readable exactly while `ended(0)` has a task. It is made
---at the first call and lives as long as the engine; see `ended` for what that
---call begins.
---Raises: VM_E_OUT_OF_RESOURCE, E_HANDLE; a plain string on the default engine.
---@return integer
function engine:fd()
  begin(self, "fd")
  local fd, err = core.engine_fd(self)
  if not fd then
    errors.raise(err)
  end
  return fd
end

---The same, under the names that cqueues and LuaSocket ask for.
engine.pollfd = engine.fd
engine.getfd = engine.fd

---@return "r"
function engine.events()
  return "r"
end

---@return nil
function engine.timeout()
  return nil
end

---@return false
function engine.dirty()
  return false
end
