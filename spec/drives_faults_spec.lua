-- SPDX-License-Identifier: MIT
--
-- Calls that fail on the way of a Windows path: each Nth in turn, with openat2
-- and with the walk.  Either the answer is right, or the error is the one of the
-- errno; nothing is left, no descriptor and no file.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local test = require "lvhdtest"
local vhdwrite = require "spec.support.vhdwrite"

local q, run = support.q, support.run
local KiB <const>, MiB <const> = 1 << 10, 1 << 20

local dir, root, system, engine

before_each(function()
  dir = support.tmpdir()
  root = dir .. "/root"
  run(("mkdir -p %s/Vms"):format(q(root)))
  vhdwrite.new{ size = 4 * MiB, uuid = vhdwrite.uuid(1),
    block_size = 512 * KiB }:save(root .. "/Vms/Base.vhd")
  assert(test.symlink(root .. "/Vms", root .. "/link"))
  system = test.system()
  engine = lvhd.engine{ threads = 1, system = system:pointer(),
    drives = { C = root, D = dir .. "/absent" } }
end)

after_each(function()
  system:drop()
  engine:close()
end)

-- What each may become: at the one step or the other.
local NAMES <const> = {
  EIO = { DISP_E_EXCEPTION = true },
  ENOMEM = { E_OUTOFMEMORY = true },
  EMFILE = { VM_E_OUT_OF_RESOURCE = true },
  -- a folder that cannot be listed has only names that are exact
  EACCES = { E_ACCESSDENIED = true, E_PATH_NOT_FOUND = true },
  ELOOP = { E_ACCESSDENIED = true, E_PATH_NOT_FOUND = true },
  ENOENT = { E_PATH_NOT_FOUND = true },
}

-- These say of a folder that it is not there, or not for us: then others are,
-- and the answer is another.
local LIES <const> = { ENOENT = true, ELOOP = true, EACCES = true }

-- The errno at a step where nothing in the table speaks of it: no file has a
-- part in ENOENT of getrandom.
local function fits(err, errno)
  return NAMES[errno][err.name]
    or err.name == "DISP_E_EXCEPTION" and err.errname == errno
    or err.name == "VM_E_HD_IMAGE_ACCESS" -- a note that cannot be read
    or err.reason == "IN_USE" -- EACCES of a lock
end

local cases = {
  { name = "host_path", want = "/Vms/Base.vhd", act = function()
    return engine:host_path([[C:\VMS\BASE.vhd]])
  end },
  { name = "host_path, by a link", want = "/Vms/new.vhd", act = function()
    return engine:host_path([[C:\LINK\new.vhd]])
  end },
  { name = "windows_path", want = [[C:\Vms\Base.vhd]], act = function()
    return engine:windows_path(root .. "/link/Base.vhd") or "none"
  end },
  { name = "windows_path of what is missing", want = [[C:\Vms\new.vhd]],
    act = function()
      return engine:windows_path(root .. "/link/new.vhd") or "none"
    end },
  { name = "info", want = "/Vms/Base.vhd", act = function()
    return engine:info([[C:\link\BASE.vhd]]).path
  end },
  { name = "open", want = 4 * MiB, act = function()
    local disk <close> = engine:open([[C:\vms\BASE.vhd]])
    return disk:info().size
  end },
  { name = "find", want = "a list", act = function()
    return engine:find([[C:\VMS]]):wait() and "a list"
  end },
  { name = "create_dynamic", makes = true, want = "/Vms/a.vhd",
    act = function()
      return engine:create_dynamic([[C:\VMS\a.vhd]], 4 * MiB):wait().path
    end },
  { name = "create_differencing", makes = true, want = "/Vms/New/Deep/a.vhd",
    act = function()
      return engine:create_differencing([[C:\LINK\New\Deep\a.vhd]],
        [[C:\link\BASE.vhd]], { preflight = false }):wait().path
    end },
}

-- A failure that nothing depends on, or that has another way round it, is none.
local function run_once(case, k, errno, walk, before)
  local context = ("%s: call %d fails with %s"):format(case.name, k, errno)
  local fds = test.fds()
  system:drop()
  if walk then
    system:fail{ call = "openat2", errno = "ENOSYS", times = 0 }
  end
  system:fail{ nth = k, errno = errno }
  system:forget()
  local ok, got = expect.try(case.act)
  local more = system:count() >= k
  local call
  for _, e in ipairs(system:log()) do
    call = call or e.errno == errno and not (walk and e.call == "openat2")
      and e.call
  end
  context = context .. " (" .. tostring(call) .. ")"
  if ok then
    local want = tostring(case.want):gsub("^/", root .. "/")
    assert(want == tostring(got) or LIES[errno], context .. ": " .. got)
    if case.makes then
      run(("cd %s && rm -rf New VMS/New Vms/New Vms/a.vhd VMS LINK")
        :format(q(root)))
    end
  else
    assert(lvhd.is_error(got), context .. ": " .. tostring(got))
    assert(fits(got, errno), context .. ": " .. tostring(got))
  end
  collectgarbage()
  collectgarbage()
  assert.equal(fds, test.fds(), context)
  if case.makes then
    assert.equal(before, expect.tree(root), context)
  end
  return more
end

for _, way in ipairs{ "openat2", "the walk" } do
  describe("a call that fails, with " .. way .. ":", function()
    local function sweep(case, errno)
      case.act() -- the worker stands
      if case.makes then
        run(("rm -rf %s/Vms/New %s/Vms/a.vhd"):format(q(root), q(root)))
      end
      local before = expect.tree(root)
      local k = 1
      while run_once(case, k, errno, way == "the walk", before) do
        k = k + 1
      end
      assert.is_true(k > 5, "the sweep ended at call " .. k)
    end

    for _, case in ipairs(cases) do
      for errno in pairs(NAMES) do
        local slow = errno ~= "EIO" and errno ~= "ENOENT" and " #slow" or ""
        it(("%s, %s%s"):format(case.name, errno, slow), function()
          sweep(case, errno)
        end)
      end
    end
  end)
end
