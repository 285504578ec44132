-- SPDX-License-Identifier: MIT
--
-- Lua programs as processes of their own, which find the modules that this
-- process finds wherever they are started.  Knows the host, not lvhd.

local support = require "spec.support"

local program = {}

local here = support.run("pwd"):gsub("\n$", "")

---The templates of a search path with "./" made absolute.
local function absolute(path)
  return (path:gsub("%f[^\0;]%./", function() return here .. "/" end))
end

---The start of a shell command that runs a Lua program; script and arguments
---follow.
---@return string
function program.lua()
  return ("LUA_PATH=%s LUA_CPATH=%s lua5.4"):format(
    support.q(absolute(package.path)), support.q(absolute(package.cpath)))
end

return program
