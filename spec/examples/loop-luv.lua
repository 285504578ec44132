-- SPDX-License-Identifier: MIT
--
-- luv: a watched descriptor, and the tasks that have ended.

local uv = require "luv"
local lvhd = require "lvhd"

local engine = lvhd.engine()
local watch = uv.new_poll(engine:fd())     -- readable while a task has ended
local timer = uv.new_timer()
local left = 8

watch:start("r", function()
  for task in engine:ended(0) do
    local err = task:error()               -- an error here would end the loop
    print(err and "failed" or "made", err or task:wait().path)
    left = left - 1
  end
  if left == 0 then
    watch:close()                          -- before the engine goes
    timer:close()
  end
end)
timer:start(1, 1, function() end)          -- whatever else the program does
for i = 1, left do
  engine:create_differencing(("/vms/u%d.vhd"):format(i), "/golden/debian12.vhd",
    { preflight = false })                 -- all that fails is a task's
end
uv.run()
engine:close()
