-- SPDX-License-Identifier: MIT
--
-- Coroutines and no library: the loop is what the engine hands out.

local lvhd = require "lvhd"

local engine = lvhd.engine()
local ended = engine:ended()         -- from now on it hands out every task
local waiting = {}                   -- task -> the coroutine that waits for it

local function await(task)
  if not task:done() then
    waiting[task] = coroutine.running()
    coroutine.yield()
  end
  return task:wait()                 -- at once
end

for i = 1, 8 do
  coroutine.wrap(function()
    local ok, err = pcall(function()  -- a failure is this one's alone
      local info = await(engine:create_differencing(("/vms/k%d.vhd"):format(i),
        "/golden/debian12.vhd"))
      print("made", info.path)
      await(engine:check(info.path))
      print("good", info.path)
    end)
    if not ok then
      print("failed", err)
    end
  end)()
end
for task in ended do
  local co = waiting[task]
  waiting[task] = nil
  if co then
    assert(coroutine.resume(co))
  end
end
engine:close()
