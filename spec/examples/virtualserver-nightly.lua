local luacom = require("lvhd.virtualserver").with{ drives = { C = os.getenv("DRIVE_C") or "/vms" } }
-- SPDX-License-Identifier: MIT
--
-- At night: what was written by day, into a differencing disk beside each
-- machine's own, is merged into it; then every dynamic disk is compacted. What
-- happened goes to the standard output, a line each, for a log:
--
--     lua virtualserver-nightly.lua folder ...
--
-- Written as for Windows in 2005. Only the first line is new; it was
--     require "luacom"
-- The folder that C: stands for comes from the environment: DRIVE_C.

local vs = luacom.CreateObject("VirtualServer.Application")
if vs == nil then
  print("Virtual Server is not installed on this computer.")
  os.exit(1)
end

local HOUR = 3600 * 1000
local failures = 0

local function log(file, what, code, text)
  print(string.format("%s %s %s: 0x%08X %s", os.date("%Y-%m-%d %H:%M:%S"),
    what, file, code, text))
  if code ~= 0 then
    failures = failures + 1
  end
end

-- Starts, waits and logs.
local function run(file, what, start)
  local ok, task = pcall(start)
  if not ok then
    log(file, what, task.hresult or -1, tostring(task))
    return
  end
  task:WaitForCompletion(HOUR)
  if not task.IsComplete then
    task:Cancel()
    task:WaitForCompletion(-1)
  end
  log(file, what, task.Error, task.ErrorDescription)
end

local folders = {}
for i = 1, #arg do
  table.insert(folders, arg[i])
end
local files = vs:GetHardDiskFiles(folders)
for _, file in ipairs(files) do
  local disk = vs:GetHardDisk(file)
  if disk.Type == vs.vmDiskType_Differencing then
    run(file, "merge", function() return disk:Merge() end)
  end
end
for _, file in ipairs(files) do
  local disk = vs:GetHardDisk(file)
  if disk.Type == vs.vmDiskType_Dynamic then
    local before = disk.SizeOnHost
    run(file, "compact", function() return disk:Compact() end)
    print(string.format("  %.0f bytes, %.0f before", disk.SizeOnHost, before))
  end
end
print(failures .. " failures")
os.exit(failures == 0)
