-- SPDX-License-Identifier: MIT
--
-- A farm: a child of one golden image for each machine of a list, in one task.
--
--     lua farm.lua GOLDEN FOLDER < machines.txt
--
-- A name a line. Run again it makes what is missing, and keeps the rest. Ends
-- with 1 when a machine has no disk.

local lvhd = require "lvhd"

local golden, folder = assert(arg[1], "GOLDEN FOLDER"), assert(arg[2], "FOLDER")

local images = {}
for name in io.lines() do
  images[#images + 1] = ("%s/%s.vhd"):format(folder, name)
end

-- The whole chain is looked at once, and not a thousand times.
local worst = 0
for _, info in ipairs(lvhd.check(golden, { chain = true }):wait()) do
  for _, finding in ipairs(info.findings) do
    print(info.path, finding.severity, finding.message)
    worst = finding.severity == "error" and 1 or worst
  end
end
if worst > 0 then
  os.exit(1)
end

local task <close> = lvhd.create_children(images, golden,
  { if_exists = "keep" })
while not task:done() do
  local percent, _, _, items, all = task:progress()
  io.stderr:write(("\r%d of %d, %d %%"):format(items, all, percent))
  pcall(task.wait, task, 0.2)
end
io.stderr:write "\n"

local ok, result = pcall(task.wait, task)
local failed, new = 0, 0
for _, item in ipairs(ok and result or result.items or { result }) do
  if lvhd.is_error(item) then
    failed = failed + 1
    print(item)
  elseif item.created then
    new = new + 1
  end
end
print(("%d machines: %d new, %d failed"):format(#images, new, failed))
os.exit(failed == 0)
