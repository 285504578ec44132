-- SPDX-License-Identifier: MIT
--
-- A stranger's image comes in: it is looked at in a quarantine, and a copy that
-- needs no other file, and holds nothing of the stranger's but the content, comes
-- out. The content itself is not looked at.
--
--     lua import.lua UPLOAD.vhd STORE.vhd [MOST]
--
-- MOST: the largest disk that is taken, default 2 TiB's end. Ends with 1 and a line
-- that says why not.

local lvhd = require "lvhd"

local upload, store = assert(arg[1], "UPLOAD STORE"), assert(arg[2], "STORE")
local most = tonumber(arg[3] or 2040 << 30)

local function refuse(format, ...)
  io.stderr:write("refused: ", format:format(...), "\n")
  os.exit(1)
end

-- Opens this one file and no other, whatever it names.
local ok, info = pcall(lvhd.info, upload)
if not ok then
  refuse("%s", info.message)
elseif info.type == "differencing" then
  refuse("it reads from another file, '%s'", info.parent.name or "?")
elseif info.size > most then
  refuse("a disk of %d bytes, %d are allowed", info.size, most)
elseif info.saved_state then
  refuse "it belongs to a machine that was not shut down"
end

-- Every number of it; damage is the sender's to repair.
for _, file in ipairs(lvhd.check(upload, { data = true }):wait()) do
  for _, finding in ipairs(file.findings) do
    if finding.severity == "error" then
      refuse("%s: %s", finding.code, finding.message)
    end
  end
end

-- A new identifier, new tables, no gaps with something in them: only the content is
-- the stranger's. No parents: an open of this chain reads one file.
local made, result = pcall(function()
  local task <close> = lvhd.convert(upload, store, { to = "dynamic" })
  return task:wait()
end)
if not made then
  refuse("%s", lvhd.is_error(result) and result.message or tostring(result))
end
print(("%s: %d bytes, %d in the file, %s"):format(result.path, result.size,
  result.file_size, result.uuid))
