local luacom = require("lvhd.virtualserver").with{ drives = { C = os.getenv("DRIVE_C") or "/vms" } }
-- SPDX-License-Identifier: MIT
--
-- Gives each user a differencing disk of one parent, and lists all that hang
-- on it:
--
--     lua virtualserver-children.lua user ...
--
-- Written as for Windows in 2005. Only the first line is new; it was
--     require "luacom"
-- The folder that C: stands for comes from the environment: DRIVE_C.

local FOLDER = [[C:\Classroom]]
local PARENT = FOLDER .. [[\windows.vhd]]

local vs = luacom.CreateObject("VirtualServer.Application")
if vs == nil then
  print("Virtual Server is not installed on this computer.")
  os.exit(1)
end

-- Start them all; what there is already is left alone.
local started = {}
for i = 1, #arg do
  local path = FOLDER .. "\\" .. arg[i] .. ".vhd"
  local ok, task = pcall(function()
    return vs:CreateDifferencingVirtualHardDisk(path, PARENT)
  end)
  if ok then
    table.insert(started, task)
  else
    print(arg[i] .. ": " .. task)
  end
end

-- Wait for what is under way.
for _, task in luacom.pairs(vs.Tasks) do
  task:WaitForCompletion(60000)
end
local failed = 0
for _, task in ipairs(started) do
  if not task.IsComplete or task.Result ~= vs.vmTaskResult_Success then
    failed = failed + 1
    print(task.Description .. ": " .. task.ErrorDescription)
  end
end

-- Who hangs on the parent now?
vs.SearchPaths = { FOLDER }
print("Disks of " .. PARENT .. ":")
for _, file in ipairs(vs:GetHardDiskFiles()) do
  local disk = vs:GetHardDisk(file)
  if disk.Type == vs.vmDiskType_Differencing
    and string.lower(disk.Parent.File) == string.lower(PARENT) then
    print(string.format("  %-32s %8.0f bytes of %.0f MB", disk.File,
      disk.SizeOnHost, disk.SizeInGuest / 1048576))
  end
end
os.exit(failed == 0)
