-- SPDX-License-Identifier: MIT
--
-- The disks of spec/fixtures: what the manifest says of them, unpacking into
-- a scratch folder, and SHA-256.  Knows neither lvhd nor the format.

local support = require "spec.support"

local fixtures = {}

local q, run = support.q, support.run
local here = debug.getinfo(1, "S").source:match("^@(.*)support/[^/]*$")
local folder = (here or "spec/") .. "fixtures/"

-- Unpacked files get times from here on, ten seconds apart, in the order of
-- unpacking: the same in every run, and never in the future.
local FIRST_TIME = 1700000000

---@class fixtures.Entry
---@field file string
---@field writer string
---@field type "fixed"|"dynamic"|"differencing"
---@field size integer bytes the guest sees
---@field chain string[] leaf first
---@field sha256 string of the content, or of the ranges one after the other
---@field ranges { [1]: integer, [2]: integer }[]? offset and length

---What the manifest says, in its order.
---@return fixtures.Entry[]
function fixtures.manifest()
  local entries = {}
  for line in support.read(folder .. "MANIFEST.tsv"):gmatch("[^\n]+") do
    local cells = {}
    for cell in (line .. "\t"):gmatch("([^\t]*)\t") do
      cells[#cells + 1] = cell
    end
    if cells[1] ~= "file" then
      local entry = { file = cells[1], writer = cells[2], type = cells[3],
        size = assert(math.tointeger(tonumber(cells[4]))), chain = {},
        sha256 = cells[6] }
      for name in cells[5]:gmatch("[^,]+") do
        entry.chain[#entry.chain + 1] = name
      end
      for offset, length in (cells[7] or ""):gmatch("(%d+):(%d+)") do
        entry.ranges = entry.ranges or {}
        entry.ranges[#entry.ranges + 1] =
          { math.tointeger(offset), math.tointeger(length) }
      end
      entries[#entries + 1] = entry
    end
  end
  assert(#entries > 0, "the manifest is empty")
  return entries
end

---Unpacks one file, "blktap-root.vhd" or "damaged/no-footer.vhd".
---@param name string
---@param into string an existing folder
---@param order integer? the place in the order of times, from 0
---@return string path
function fixtures.unpack(name, into, order)
  local path = into .. "/" .. name:match("[^/]*$")
  run(("gzip -dc %s > %s && touch -d @%d %s"):format(
    q(folder .. name .. ".gz"), q(path), FIRST_TIME + 10 * (order or 0),
    q(path)))
  return path
end

---Unpacks a file with all its ancestors, parents first.
---@param entry fixtures.Entry
---@param into string an existing folder
---@return string[] paths leaf first
function fixtures.unpack_chain(entry, into)
  local paths = {}
  for i = #entry.chain, 1, -1 do
    paths[i] = fixtures.unpack(entry.chain[i], into, #entry.chain - i)
  end
  return paths
end

---SHA-256 of what a shell command prints, in hex.  The command must succeed.
---@param command string
---@return string
function fixtures.sha256_of_output(command)
  return (run(("bash -c %s"):format(
    q("set -o pipefail; { " .. command .. "; } | sha256sum"))):sub(1, 64))
end

---SHA-256 of a string, in hex.
---@param bytes string
---@return string
function fixtures.sha256(bytes)
  local name = os.tmpname()
  support.write(name, bytes)
  local sum = fixtures.sha256_of_output("cat " .. q(name))
  os.remove(name)
  return sum
end

---SHA-256 of `n` zero bytes, in hex.
---@param n integer
---@return string
function fixtures.sha256_of_zeros(n)
  return fixtures.sha256_of_output(("head -c %d /dev/zero"):format(n))
end

return fixtures
