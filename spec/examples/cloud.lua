-- SPDX-License-Identifier: MIT
--
-- An image for a cloud: a raw file from an image builder becomes a dynamic disk to
-- keep, which is checked, and a fixed one to upload, of a size in whole MiB and as
-- Azure takes it.
--
--     lua cloud.lua IMAGE.raw KEEP.vhd UPLOAD.vhd

local lvhd = require "lvhd"

local raw, keep, upload = table.unpack(arg)
assert(upload, "IMAGE.raw KEEP.vhd UPLOAD.vhd")

-- Waits, and shows how far it is.
local function watch(what, task)
  local scope <close> = task
  local result
  repeat
    result = scope:wait(0.2)
    io.stderr:write(("\r%s: %3d %%"):format(what, (scope:progress())))
  until result
  io.stderr:write "\n"
  return result
end

local function must_be_good(path, profile)
  local bad = 0
  for _, info in ipairs(lvhd.check(path, { data = true, profile = profile })
    :wait()) do
    for _, finding in ipairs(info.findings) do
      print(finding.severity, finding.message)
      bad = bad + (finding.severity == "error" and 1 or 0)
    end
  end
  if bad > 0 then
    print(path .. " is not good")
    os.exit(1)
  end
end

watch("to dynamic", lvhd.convert(raw, keep, { from = "raw", round = "1 MiB" }))
must_be_good(keep)
local info = watch("to fixed", lvhd.convert(keep, upload, { to = "fixed",
  round = "1 MiB" }))
must_be_good(upload, "azure")
print(("%s: %d bytes to upload"):format(info.path, info.file_size))
