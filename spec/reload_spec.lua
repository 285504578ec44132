-- SPDX-License-Identifier: MIT
--
-- The module loaded twice into one state, as test runners and programs that
-- reload their code do.  Knows lvhd's public functions only.

local support = require "spec.support"
local program = require "spec.support.program"

local q = support.q

describe("a module that is loaded again", function()
  it("leaves engines and tasks of the first load alive", function()
    local dir = support.tmpdir()
    support.write(dir .. "/reload.lua", [[
      local dir = arg[1]
      local old = require "lvhd"
      local engine = old.engine{ threads = 1 }
      old.create_dynamic(dir .. "/1.vhd", "3 MiB"):wait()
      for round = 1, 3 do
        for name in pairs(package.loaded) do
          if name:find("^lvhd") then package.loaded[name] = nil end
        end
        local new = require "lvhd"
        assert(new ~= old)
        collectgarbage()
        collectgarbage()
        old.create_dynamic(dir .. "/a" .. round .. ".vhd", "3 MiB"):wait()
        engine:create_dynamic(dir .. "/b" .. round .. ".vhd", "3 MiB"):wait()
        new.create_dynamic(dir .. "/c" .. round .. ".vhd", "3 MiB"):wait()
      end
      print "done"
    ]])
    local ok, output = support.sh(("%s %s %s"):format(program.lua(),
      q(dir .. "/reload.lua"), q(dir)))
    assert.is_true(ok, output)
    assert.equal("done\n", output)
    assert.equal(11, #support.names(dir)) -- 10 disks and the program
  end)
end)
