-- SPDX-License-Identifier: MIT
--
-- Never out of a mapped folder, whatever changes while a call runs.  Somebody
-- exchanges a folder below the root for a link that leads out, just before the
-- k-th system call, for every k, for good or only for a moment; with openat2
-- and with the walk.  Outside lie disks with the same names, bytes and
-- identifiers: only containment keeps them closed.  Judged by the kernel's own
-- word for each descriptor that was opened, and by the folder outside.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local test = require "lvhdtest"
local vhdwrite = require "spec.support.vhdwrite"

local q, run = support.q, support.run
local KiB <const>, MiB <const> = 1 << 10, 1 << 20

local dir, out, root
local system, engine

-- Three layers and a child of its own, in root/f, and the same outside.
local function furnish()
  dir = support.tmpdir()
  out, root = dir .. "/out", dir .. "/root"
  run(("mkdir -p %s/was/f/sub %s/was/g"):format(q(dir), q(dir)))
  local f = dir .. "/was/f/"
  local base = vhdwrite.new{ size = 4 * MiB, uuid = vhdwrite.uuid(1),
    block_size = 512 * KiB }
  base:put(3, vhdwrite.pattern(1, 3)):save(f .. "base.vhd")
  local child = vhdwrite.new{ size = 4 * MiB, uuid = vhdwrite.uuid(2),
    block_size = 512 * KiB, parent = base }
  child:put(9, vhdwrite.pattern(2, 9)):save(f .. "child.vhd")
  local leaf = vhdwrite.new{ size = 4 * MiB, uuid = vhdwrite.uuid(3),
    block_size = 512 * KiB, parent = child }
  leaf:put(11, vhdwrite.pattern(3, 11)):save(f .. "leaf.vhd")
  run(("cp -a %s/was/f %s"):format(q(dir), q(out)))
  run(("ln -s ../out %s/was/x"):format(q(dir)))
  run(("mkdir -p %s/new/deep"):format(q(out)))
  for _, name in ipairs{ "base", "child", "leaf" } do
    support.write(("%s/.%s.vhd.lvhd-journal"):format(out, name), "note")
  end
end

local function restore()
  assert(os.execute(("rm -rf %s && cp -a %s/was %s"):format(q(root), q(dir),
    q(root))))
end

-- The same where nothing but those two names was changed.
local function unswap()
  if test.stat(root .. "/f").type == "link" then
    assert(os.rename(root .. "/f", root .. "/y"))
    assert(os.rename(root .. "/x", root .. "/f"))
    assert(os.rename(root .. "/y", root .. "/x"))
  end
end

local function is_out(path)
  return path == out or path:sub(1, #out + 1) == out .. "/"
end

-- What the log tells of the folder outside.
local function check_log(context)
  for _, e in ipairs(system:log()) do
    if e.opened and is_out(e.opened) then
      error(("%s: %s opened %s"):format(context, e.call, e.opened), 0)
    end
    if e.at and is_out(e.at) and e.result >= 0 and e.call ~= "close" then
      error(("%s: %s %s in %s"):format(context, e.call, e.path or "", e.at), 0)
    end
  end
end

---One run of the work, the folder and the link changing places before call k
---and, with `back`, again so many calls later.
---@return boolean more there was a k-th call
local function one(case, k, back)
  local context = ("%s, call %d, back after %s"):format(case.name, k,
    back or "never")
  system:drop()
  if case.reads then
    unswap()
  else
    restore()
  end
  if case.walk then
    system:fail{ call = "openat2", errno = "ENOSYS", times = 0 }
  end
  local names = { folder = root .. "/f", other = root .. "/x" }
  names.nth = k
  system:swap(names)
  if back then
    names.nth = k + back
    system:swap(names)
  end
  system:forget()
  local ok, err = expect.try(case.act)
  local more = system:count() >= k
  assert(ok or lvhd.is_error(err), context .. ": " .. tostring(err))
  check_log(context)
  if not ok and case.makes then
    local left = expect.tree(root)
    assert(not left:find("%.new") and not left:find("lvhd%-tmp"),
      context .. ": left in\n" .. left)
  end
  return more
end

---@param backs (integer|false)[]
local function attack(case, backs)
  local before = expect.tree(out)
  local ok, err = expect.try(case.act)
  assert(ok or case.fails and err.name == case.fails, tostring(err))
  restore()
  for _, back in ipairs(backs) do
    local k = 1
    while one(case, k, back) do
      k = k + 1
    end
    assert.is_true(k > 5, "the sweep ended at call " .. k)
  end
  assert.equal(before, expect.tree(out))
end

local cases = {
  { name = "create_dynamic", makes = true, act = function()
    return engine:create_dynamic([[C:\f\a.new.vhd]], 4 * MiB)
  end },
  { name = "create_dynamic without preflight", makes = true, act = function()
    return engine:create_dynamic([[C:\F\sub\a.new.vhd]], 4 * MiB,
      { preflight = false })
  end },
  { name = "create_dynamic in folders to be made", makes = true, shows = true,
    act = function()
      return engine:create_dynamic([[C:\f\one.new\two.new\a.vhd]], 4 * MiB)
    end },
  { name = "create_dynamic in folders that are there outside", makes = true,
    act = function()
      return engine:create_dynamic([[C:\f\new\deep\a.new.vhd]], 4 * MiB)
    end },
  { name = "create_dynamic that fails after folders were made", makes = true,
    fails = "DISP_E_EXCEPTION", act = function()
      system:fail{ call = "fsync", kind = "folder", nth = 2, errno = "EIO" }
      return engine:create_dynamic([[C:\f\new\deep\a.new.vhd]], 4 * MiB)
    end },
  { name = "create_dynamic, kept", reads = true, act = function()
    return engine:create_dynamic([[C:\f\base.vhd]], 4 * MiB,
      { if_exists = "keep" })
  end },
  { name = "create_differencing", makes = true, shows = true, act = function()
    return engine:create_differencing([[C:\g\a.new.vhd]], [[C:\f\base.vhd]])
  end },
  { name = "create_differencing beside", makes = true, act = function()
    return engine:create_differencing([[a.new.vhd]], [[C:\f\base.vhd]])
  end },
  { name = "convert", makes = true, act = function()
    return engine:convert([[C:\f\leaf.vhd]], [[C:\f\a.new.vhd]])
  end },
  { name = "info", reads = true, shows = true, act = function()
    return engine:info([[C:\f\leaf.vhd]])
  end },
  { name = "chain", reads = true, act = function()
    return engine:chain([[C:\f\leaf.vhd]])
  end },
  { name = "check", reads = true, act = function()
    return engine:check([[C:\f\leaf.vhd]], { chain = true })
  end },
  { name = "find", reads = true, act = function() return engine:find([[C:\f]]) end },
  { name = "children", reads = true, act = function()
    return engine:children([[C:\f\base.vhd]], [[C:\f]])
  end },
  { name = "open to read", reads = true, act = function()
    local disk <close> = engine:open([[C:\f\leaf.vhd]])
    return disk:read(0, 512)
  end },
  { name = "open to write", shows = true, act = function()
    local disk <close> = engine:open([[C:\f\leaf.vhd]], { write = true })
    disk:write(0, ("x"):rep(512))
    disk:flush()
  end },
  { name = "open by parents", reads = true, act = function()
    local disk <close> = engine:open([[C:\f\leaf.vhd]],
      { parents = { [[C:\f]], [[C:\f\base.vhd]] } })
    return disk:read(0, 512)
  end },
  { name = "compact", act = function()
    return engine:compact([[C:\f\base.vhd]], { force = true })
  end },
  { name = "resize", act = function()
    return engine:resize([[C:\f\base.vhd]], 8 * MiB,
      { children_in = { [[C:\g]] }, force = true })
  end },
  { name = "relink", act = function()
    return engine:relink([[C:\f\child.vhd]], [[C:\f\base.vhd]])
  end },
  { name = "repair", act = function()
    return engine:repair([[C:\f\child.vhd]])
  end },
  -- rare: in make test-long; "merge, delete" is there every day
  { name = "merge", rare = true, act = function()
    return engine:merge([[C:\f\leaf.vhd]])
  end },
  { name = "merge, delete", act = function()
    return engine:merge([[C:\f\leaf.vhd]],
      { into = [[C:\f\base.vhd]], delete = true })
  end },
  { name = "merge with children", rare = true, act = function()
    return engine:merge([[C:\f\child.vhd]],
      { children = { [[C:\f\leaf.vhd]] }, delete = true })
  end },
  { name = "host_path", reads = true, act = function()
    return engine:host_path([[C:\f\sub\x.vhd]])
  end },
}

for _, way in ipairs{ "openat2", "the walk" } do
  describe("a folder exchanged for a link out, with " .. way .. ":", function()
    before_each(function()
      furnish()
      system = test.system()
      restore()
      engine = lvhd.engine{ threads = 1, system = system:pointer(),
        drives = { C = root } }
    end)
    after_each(function()
      system:drop()
      engine:close()
    end)

    for _, case in ipairs(cases) do
      local slow = (case.rare or way == "the walk" and not case.shows)
        and " #slow" or ""
      it(case.name .. slow, function()
        case.walk = way == "the walk"
        attack(case, { false })
      end)

      it(case.name .. ", and soon back #slow", function()
        case.walk = way == "the walk"
        attack(case, { 1, 2, 5 })
      end)
    end
  end)
end
