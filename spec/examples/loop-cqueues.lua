-- SPDX-License-Identifier: MIT
--
-- cqueues: its poll function is the engine's.

local cqueues = require "cqueues"
local lvhd = require "lvhd"

local engine = lvhd.engine { poll = cqueues.poll }  -- every wait lets the others run
local loop = cqueues.new()
local left = 8

for i = 1, left do
  loop:wrap(function()
    local ok, path = pcall(function()  -- a failure is this one's alone
      return engine:create_differencing(("/vms/c%d.vhd"):format(i),
        "/golden/debian12.vhd"):wait().path
    end)
    print(ok and "made" or "failed", path)
    left = left - 1
  end)
end
loop:wrap(function()
  while left > 0 do
    cqueues.sleep(0.001)             -- whatever else the program does
  end
end)
assert(loop:loop())
engine:close()
