-- SPDX-License-Identifier: MIT
--
-- Copas 1.1.7, Debian's: threads whose waits look like sockets. A wait with a
-- time sees its end at the next step of the loop.

package.path = package.path .. ";/usr/share/lua/5.2/?.lua"  -- where Debian has it
local copas = require "copas"
local socket = require "socket"
local lvhd = require "lvhd"

-- what copas waits for has the methods of a socket
local function poll(object, seconds)
  local limit, again = seconds and socket.gettime() + seconds, false
  copas.receive {
    getfd = function() return object:getfd() end,
    dirty = function() return limit ~= nil and socket.gettime() >= limit end,
    close = function() end,
    receive = function()
      again = not again
      return not again and "" or nil, "timeout"
    end,
  }
end

local engine = lvhd.engine { poll = poll }
local left = 8

for i = 1, left do
  copas.addthread(function()
    local ok, path = pcall(function()  -- a failure is this one's alone
      return engine:create_differencing(("/vms/p%d.vhd"):format(i),
        "/golden/debian12.vhd"):wait().path
    end)
    print(ok and "made" or "failed", path)
    left = left - 1
  end)
end
while left > 0 do
  copas.step(0.1)
end
engine:close()
