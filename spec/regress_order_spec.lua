-- SPDX-License-Identifier: MIT
--
-- Of images of one list that want one name the first has it, however often the
-- first had to be put off (found by running spec/children_of_many_spec.lua
-- where unnamed files get no name).

local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"

describe("a list with a name in it twice", function()
  local dir, engine, system

  before_each(function()
    dir = support.tmpdir()
    system = test.system()
    engine = lvhd.engine{ threads = 2, system = system:pointer(),
      sync = "none" }
    engine:create_dynamic(dir .. "/parent.vhd", 64 << 20):wait()
    -- what was written without a name has to be written again, with one
    system:fail{ call = "linkat", errno = "EPERM", times = 0 }
  end)

  after_each(function()
    system:drop()
    engine:close()
  end)

  local function made(list)
    local ok, err = pcall(function()
      return engine:create_children(list, dir .. "/parent.vhd"):wait()
    end)
    assert.is_false(ok)
    local out = {}
    for i, item in ipairs(err.items) do
      out[i] = lvhd.is_error(item) and item.name or "ok"
    end
    return out
  end

  it("gives it to the first, where no name is had at the first try", function()
    assert.same({ "ok", "E_ALREADY_EXISTS", "ok", "E_ALREADY_EXISTS",
      "E_ALREADY_EXISTS" }, made{ dir .. "/a", dir .. "/a", dir .. "/b",
      dir .. "/./a", dir .. "/b" })
  end)

  it("gives it to the first, of an earlier batch too", function()
    local list, want = {}, {}
    for i = 1, 600 do
      list[i], want[i] = ("%s/k%d"):format(dir, i), "ok"
    end
    list[601], list[602] = dir .. "/k600", dir .. "/k7"
    want[601], want[602] = "E_ALREADY_EXISTS", "E_ALREADY_EXISTS"
    assert.same(want, made(list))
  end)
end)
