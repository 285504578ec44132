-- SPDX-License-Identifier: MIT
--
-- busted's helper: around every test it looks that nothing is left behind,
-- as luv's suite does.  Knows the host and busted, not lvhd: what lvhd leaves
-- shows in descriptors, folders and the current folder.

local busted = require "busted"
local support = require "spec.support"
local test = require "lvhdtest"

-- A sanitizer run that loads the plain build proves nothing.
local build = os.getenv("LVHD_BUILD")
if build then
  local found = package.searchpath("lvhd.core", package.cpath) or "nothing"
  assert(found == "./" .. build .. "/lvhd/core.so",
    "the specs would test " .. found .. ", not the build in " .. build)
end

local before = {}

-- "3 -> /tmp/x" lines, for the message when a descriptor was left.
local function listing()
  local _, out = support.sh("ls -l " .. support.proc .. "/" .. support.pid()
    .. "/fd | sed 's/.* \\([0-9]* -> \\)/\\1/'")
  return out
end

-- Twice: what the first round finalizes may hold the last reference to an
-- engine, which goes in the second.
local function collect()
  collectgarbage()
  collectgarbage()
end

-- The name of the test, for a message that comes from the root.
busted.subscribe({ "test", "start" }, function(element)
  before.test = element.name
  return nil, true
end)

-- The root's hooks: before those of the specs, and after them.
-- Nothing to collect where it is as the last test left it: that has collected.
busted.before_each(function()
  if test.fds() ~= before.fds then
    collect()
  end
  before.fds, before.cwd = test.fds(), test.cwd()
end)

local function left_behind()
  collect()
  support.clean()
  local fds, folder = test.fds(), test.cwd()
  if fds ~= before.fds then
    return ("descriptors: %d before the test, %d after it\n%s")
      :format(before.fds, fds, listing())
  end
  if folder ~= before.cwd then
    return ("current folder: %s before the test, %s after it")
      :format(before.cwd, folder)
  end
end

busted.after_each(function()
  local what = left_behind()
  if what ~= nil then
    error(("'%s' left behind: %s"):format(before.test, what), 0)
  end
end)
