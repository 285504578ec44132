local luacom = require("lvhd.virtualserver").with{ drives = { C = os.getenv("DRIVE_C") or "/vms" } }
-- SPDX-License-Identifier: MIT
--
-- Creates a dynamically expanding disk and shows how far it is:
--
--     lua virtualserver-dynamic.lua [path [megabytes]]
--
-- Written as for Windows in 2005. Only the first line is new; it was
--     require "luacom"
-- The folder that C: stands for comes from the environment: DRIVE_C.

local path = arg[1] or [[C:\Virtual Machines\web01\web01.vhd]]
local size = arg[2] or 16384

local vs = luacom.CreateObject("VirtualServer.Application")
if vs == nil then
  print("Virtual Server is not installed on this computer.")
  os.exit(1)
end
print(vs.Name .. " " .. vs.Version)

local task = vs:CreateDynamicVirtualHardDisk(path, size)
print(task.Description)
repeat
  task:WaitForCompletion(500)
  print(string.format("%5d %% completed", task.PercentCompleted))
until task.IsComplete

if task.Result ~= vs.vmTaskResult_Success then
  print(string.format("failed (result %d, error 0x%08X): %s", task.Result,
    task.Error, task.ErrorDescription))
  os.exit(1)
end

local disk = vs:GetHardDisk(path)
print(disk.File)
print(string.format("  size in guest:   %.0f MB", disk.SizeInGuest / 1048576))
print(string.format("  size on host:    %.0f bytes", disk.SizeOnHost))
print(string.format("  free disk space: %.0f MB",
  disk.HostFreeDiskSpace / 1048576))
