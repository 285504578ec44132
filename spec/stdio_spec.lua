-- SPDX-License-Identifier: MIT
--
-- Programs whose standard descriptors are closed: what is opened then has the
-- number of one of them, and is moved out of the way of prints.  No disk may
-- change by that.

local lvhd = require "lvhd"
local program = require "spec.support.program"
local support = require "spec.support"
local test = require "lvhdtest"

local q = support.q
local MiB <const> = 1 << 20

local dir

before_each(function()
  dir = support.tmpdir()
  lvhd.create_dynamic(dir .. "/disk.vhd", 64 * MiB):wait()
  lvhd.create_differencing(dir .. "/child.vhd", dir .. "/disk.vhd"):wait()
  local disk <close> = lvhd.open(dir .. "/child.vhd", { write = true })
  disk:write(5 * MiB, "content")
end)

-- The verb on disk.vhd or child.vhd, and what the child reads then at 5 MiB.
local verbs = {
  write = [[local d <close> = lvhd.open(dir .. "/child.vhd", { write = true })
    d:write(6 << 20, "more") d:flush()]],
  compact = [[lvhd.compact(dir .. "/child.vhd"):wait()]],
  relink = [[lvhd.relink(dir .. "/child.vhd", dir .. "/disk.vhd",
    { force = true }):wait()]],
  repair = [[lvhd.repair(dir .. "/child.vhd"):wait()]],
  merge = [[lvhd.merge(dir .. "/child.vhd"):wait()]],
  resize = [[lvhd.resize(dir .. "/disk.vhd", "128 MiB", { force = true }):wait()]],
  create_children = [[lvhd.create_children({ dir .. "/a.vhd" },
    dir .. "/disk.vhd"):wait()]],
  convert = [[lvhd.convert(dir .. "/child.vhd", dir .. "/a.vhd"):wait()]],
  refused = [[assert(not pcall(lvhd.resize, dir .. "/disk.vhd", "128 MiB",
    { children_in = dir }) or not pcall(function()
    lvhd.resize(dir .. "/disk.vhd", "128 MiB"):wait() end))]],
}

local function run(script, redirect)
  support.write(dir .. "/run.lua", 'local lvhd, dir = require "lvhd", ...\n'
    .. script .. '\nlocal f = io.open(dir .. "/done", "w") f:write "done" f:close()')
  support.sh(("%s %s %s %s"):format(program.lua(), q(dir .. "/run.lua"), q(dir),
    redirect))
  assert.is_truthy(test.stat(dir .. "/done"), script .. redirect)
end

for name, script in pairs(verbs) do
  for _, redirect in ipairs { "<&-", ">&-", "2>&-", "<&- >&- 2>&-" } do
    it(("%s with %s changes what it should, and no more"):format(name,
      redirect), function()
      run(script, redirect)
      local disk <close> = lvhd.open({ dir .. "/child.vhd",
        dir .. "/disk.vhd" })
      assert.equal("content", disk:read(5 * MiB, 7))
      for _, info in ipairs(lvhd.check(dir .. "/disk.vhd"):wait()) do
        for _, finding in ipairs(info.findings) do
          assert.not_equal("error", finding.severity, finding.code)
        end
      end
    end)
  end
end
