-- SPDX-License-Identifier: MIT
--
-- A child of a golden image, with its progress, and the error one meets most:
-- run it twice.

local lvhd = require "lvhd"

local function create(image, parent)
  local task <close> = lvhd.create_differencing(image, parent)
  local info
  repeat
    info = task:wait(0.2) -- nil when the time is up; raises when it failed
    io.stderr:write(("\r%3d%%"):format((task:progress())))
  until info
  io.stderr:write("\n")
  return info
end

local ok, result = pcall(create, "/vms/web01/disk.vhd", "/golden/debian12.vhd")
if ok then
  print(result.path, result.size, result.uuid, result.parent.name)
elseif lvhd.is_error(result, "E_ALREADY_EXISTS") then
  print("there already: " .. result.path)
else
  error(result, 0)
end
