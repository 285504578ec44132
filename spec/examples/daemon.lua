-- SPDX-License-Identifier: MIT
--
-- A daemon that converts: it listens at a socket of the file system, and each line
-- it is sent is a job, SOURCE and DEST. A job's answer is a line; jobs of all
-- clients run beside each other, and a client that goes away cancels its job.
--
--     lua daemon.lua /run/convert.sock
--     echo "/vms/a.vhd /vms/a-copy.vhd" | nc -U /run/convert.sock
--
-- The line "quit" ends it.

local cqueues = require "cqueues"
local lvhd = require "lvhd"
local socket = require "cqueues.socket"

local path = assert(arg[1], "SOCKET")
local engine = lvhd.engine { poll = cqueues.poll }
local server = socket.listen { path = path }
local loop = cqueues.new()
local running = true

-- The task ends with the job, whatever ends that: <close> cancels it.
local function convert(client, source, dest)
  local task <close> = engine:convert(source, dest)
  repeat
    local result = task:wait(1)
    local percent = task:progress()
    if not client:write(("%d %%\n"):format(percent)) then
      return nil, "the client is gone"
    end
  until result
  return task:wait()
end

local function serve(client)
  for line in client:lines() do
    if line == "quit" then
      running = false -- at most a second later
      break
    end
    local source, dest = line:match "^(%S+) (%S+)$"
    if not source then
      client:write "error: SOURCE DEST expected\n"
    else
      local ok, result = pcall(convert, client, source, dest)
      client:write(ok and result and ("done %s\n"):format(result.path)
        or ("error: %s\n"):format(tostring(result)))
    end
  end
  client:close()
end

loop:wrap(function()
  while running do
    local client = server:accept(1)
    if client then
      client:setmode("bl", "bn")
      client:onerror(function(_, _, code)
        return code
      end)
      loop:wrap(function()
        local ok, err = pcall(serve, client)
        if not ok then
          io.stderr:write(tostring(err), "\n")
        end
      end)
    end
  end
end)
assert(loop:loop())
server:close()
engine:close()
os.remove(path)
