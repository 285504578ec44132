-- SPDX-License-Identifier: MIT
--
-- luaevent: coroutines whose waits are events.

local event = require "luaevent.core"
local lvhd = require "lvhd"

local base = event.new()

local function poll(object, seconds)       -- a wait of a coroutine goes on later
  local co, watch = coroutine.running()
  watch = base:addevent(object:pollfd(), event.EV_READ, function()
    watch:close()                          -- before its descriptor is used again
    assert(coroutine.resume(co))
    return event.LEAVE
  end, seconds)
  coroutine.yield()
end

local engine = lvhd.engine { poll = poll }
local left = 8

for i = 1, left do
  coroutine.wrap(function()
    local ok, path = pcall(function()  -- a failure is this one's alone
      return engine:create_differencing(("/vms/e%d.vhd"):format(i),
        "/golden/debian12.vhd"):wait().path
    end)
    print(ok and "made" or "failed", path)
    left = left - 1
  end)()
end
local timer
timer = base:addevent(nil, event.EV_TIMEOUT, function()  -- whatever else it does
  return timer and left > 0 and event.EV_TIMEOUT or event.LEAVE
end, 0.001)
base:loop()
engine:close()
