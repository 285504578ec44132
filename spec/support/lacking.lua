-- SPDX-License-Identifier: MIT
--
-- lacking.lua FOLDER: makes disks in the folder, in the ways that ask the
-- host for most, and prints the calls that failed: a line "call ERRNO" for
-- each pair.  For spec/fallbacks_spec.lua, which runs it where calls are
-- missing.

local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"

local folder = arg[1]
local MiB <const> = 1 << 20

local system = test.system()
local engine = lvhd.engine{ threads = 1, sync = "full",
  system = system:pointer() }

assert(test.mkdir(folder .. "/real"))
assert(test.symlink("real", folder .. "/link"))
local function at(name)
  return folder .. "/link/" .. name
end

-- An unnamed file, a fixed disk of data with holes, one that is shared, one
-- that is reserved.
support.write(at "plain", ("x"):rep(24 * MiB))
support.run("truncate -s 28M " .. at "plain")
engine:convert(at "plain", at "fixed.vhd", { from = "raw", to = "fixed" })
  :wait()
engine:convert(at "fixed.vhd", at "copy.vhd", { to = "dynamic" }):wait()
pcall(function()
  engine:create_fixed(at "reserved.vhd", 4 * MiB, { allocate = "reserve" })
    :wait()
end)

-- Parents and children; a merge, blocks that become holes.
engine:create_dynamic(at "parent.vhd", 8 * MiB):wait()
engine:create_differencing(at "child.vhd", at "parent.vhd"):wait()
do
  local disk <close> = engine:open(at "child.vhd", { write = true })
  disk:write(0, ("y"):rep(3 * MiB))
  disk:write(0, ("\0"):rep(2 * MiB))
end
engine:merge(at "child.vhd", { delete = true }):wait()
engine:compact(at "parent.vhd"):wait()
local list = {}
for i = 1, 8 do
  list[i] = at("of-many-" .. i .. ".vhd")
end
engine:create_children(list, at "parent.vhd"):wait()
engine:check(at "of-many-1.vhd", { chain = true, data = true }):wait()

local seen, lines = {}, {}
for _, e in ipairs(system:log()) do
  local line = e.errno and e.result == -1 and e.call .. " " .. e.errno
  if line and not seen[line] then
    seen[line] = true
    lines[#lines + 1] = line
  end
end
engine:close()
system:drop()
table.sort(lines)
print(table.concat(lines, "\n"))
