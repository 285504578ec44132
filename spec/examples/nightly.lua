-- SPDX-License-Identifier: MIT
--
-- At night: what the machines wrote by day, into a child beside each disk
-- (web01.vhd and web01.day.vhd), is merged into the disk, which is compacted then.
-- A line of log for each; ends with 1 when something failed.
--
--     lua nightly.lua FOLDER >> nightly.log
--
-- What fails is as it was, and is tried again the next night.

local lvhd = require "lvhd"

local folder = assert(arg[1], "FOLDER")
local engine = lvhd.engine { parents = { folder } }
local failures = 0

local function log(path, what, before, result)
  local text
  if lvhd.is_error(result) then
    failures = failures + 1
    text = tostring(result)
  else
    text = ("%d bytes, %d before"):format(result.file_size, before)
  end
  print(("%s %s %s: %s"):format(os.date "!%Y-%m-%dT%H:%M:%SZ", what, path,
    text))
end

-- Raises what is no error of lvhd's.
local function try(path, what, start)
  local before = engine:info(path).file_size
  local ok, result = pcall(function()
    return start():wait()
  end)
  if not ok and not lvhd.is_error(result) then
    error(result, 0)
  end
  log(path, what, before, result)
  return ok
end

-- Disks whose name ends in .day.vhd, and the disk that each of them changes.
for _, info in ipairs(engine:find(folder):wait()) do
  local disk = info.path:match "^(.*)%.day%.vhd$"
  disk = disk and disk .. ".vhd"
  if disk and info.type == "differencing" then
    local merged = try(disk, "merge", function()
      -- refused where another disk reads from it
      return engine:merge(info.path, { into = disk, delete = true,
        children_in = folder })
    end)
    if merged and engine:info(disk).type ~= "fixed" then
      try(disk, "compact", function()
        return engine:compact(disk)
      end)
    end
  end
end

engine:close()
print(("%d failures"):format(failures))
os.exit(failures == 0)
