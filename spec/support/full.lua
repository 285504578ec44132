-- SPDX-License-Identifier: MIT
--
-- A volume without a free byte, for busted: spec/volumes_spec.lua runs it
-- inside of small ones, one of each file system, by its path.  What makes a
-- file leaves none; what changes one keeps its promise (promise.lua); and all
-- is well once there is room.

local bench = require "spec.support.bench"
local changes = require "spec.support.changes"
local handmade = require "spec.support.handmade"
local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"

local q, run = support.q, support.run
local MiB <const> = 1 << 20
assert(test.statfs(os.getenv("LVHD_TMPDIR")).size < 1024 * MiB,
  "this would fill a large volume")

-- Space that is taken: reserved where the volume can, else random bytes (one
-- that compresses would not mind others).
local function pour(file, bytes)
  run(("fallocate -l %d %s 2>/dev/null || head -c %d /dev/urandom >%s; sync")
    :format(bytes, q(file), bytes, q(file)) .. " " .. q(file))
end

-- Takes all there is but so many bytes.
local function fill(file, but)
  for _, piece in ipairs{ 8 << 20, 1 << 20, 64 << 10, 4 << 10 } do
    support.sh(("at=$(stat -c %%s %s || echo 0); while fallocate -o $at -l %d"
      .. " %s; do at=$((at + %d)); done"):format(q(file), piece, q(file),
      piece))
  end
  for _, piece in ipairs{ "1M", "64k", "4k", "1k", "64" } do
    support.sh(("while head -c %s /dev/urandom >>%s; do :; done; sync %s")
      :format(piece, q(file), q(file)))
  end
  if but > 0 then
    run(("truncate -s -%d %s && sync %s"):format(but, q(file), q(file)))
  end
end

local dir

-- XFS gives back what was deleted a while later: until nothing more comes.
local function settle()
  run("sync -f " .. q(dir))
  if run("stat -f -c %T " .. q(dir)) ~= "xfs\n" then
    return
  end
  local free, same, tries = -1, 0, 0
  repeat
    test.sleep(0.1)
    local now = test.statfs(dir).free
    same = now == free and same + 1 or 0
    free, tries = now, tries + 1
  until same == 3 or tries == 100
end

-- Takes all, until it stays so.
local function fill_up(file)
  local tries = 0
  repeat
    fill(file, 0)
    test.sleep(0.2)
    tries = tries + 1
  until test.statfs(dir).free < 64 << 10 or tries == 5
end

-- ntfs-3g finds no room to remove a name, either: what is then left has a name
-- that README tells of.
local function take_leftovers(folder)
  if run("stat -f -c %T " .. q(folder)) == "fuseblk\n" then
    run(("find %s -name '.????????????????.lvhd-tmp' -delete"):format(q(folder)))
  end
end

-- btrfs says how much is free, but not of what is to come, which it may
-- compress.
local function guesses(folder)
  return run("stat -f -c %T " .. q(folder)) == "btrfs\n"
end

local function prepare(room)
  dir = support.tmpdir()
  settle()
  pour(dir .. "/most", math.max(test.statfs(dir).free - room, 0))
  assert(test.mkdir(dir .. "/found"))
end

-- What makes files of 16 MiB at found/a.vhd, of what lies in `from`.
local verbs = {
  ["create_fixed, zero"] = function(e, path, _, opts)
    opts.allocate = "zero"
    return e:create_fixed(path, 16 * MiB, opts)
  end,
  ["create_fixed, reserve"] = function(e, path, _, opts)
    opts.allocate = "reserve"
    return e:create_fixed(path, 16 * MiB, opts)
  end,
}
for _, to in ipairs{ "raw", "fixed", "dynamic" } do
  verbs["convert, raw to " .. to] = function(e, path, from, opts)
    opts.from, opts.to = "raw", to
    return e:convert(from .. "/data.raw", path, opts)
  end
end

describe("what makes a file", function()
  local sources, found, engine

  before_each(function()
    prepare(24 * MiB)
    -- elsewhere, or it would only be shared
    sources = run("mktemp -d /tmp/lvhd-spec.XXXXXX"):gsub("\n", "")
    found = dir .. "/found"
    engine = lvhd.engine{ threads = 1 }
  end)

  after_each(function()
    engine:close()
    run("rm -rf " .. q(sources))
  end)

  -- The error; where what is free is a guess, there may be none.
  local function refused(go)
    local ok, err = pcall(go)
    if ok and guesses(dir) then
      run(("rm %s/a.vhd"):format(q(found)))
      return {}
    end
    assert.is_false(ok)
    assert.is_true(lvhd.is_error(err, "E_DISK_FULL"), tostring(err))
    assert.same({}, support.names(found))
    return err
  end

  for name, verb in pairs(verbs) do
    it("leaves nothing: " .. name, function()
      run(("head -c %d /dev/urandom >%s/data.raw"):format(16 * MiB,
        q(sources)))
      for _, sync in ipairs{ "full", "data", "none" } do
        local function go()
          verb(engine, found .. "/a.vhd", sources, { sync = sync }):wait()
        end
        settle()
        -- 8 MiB and a little are thought to be enough where nobody asked for
        -- space: the volume itself must tell
        pour(dir .. "/rest", math.max(test.statfs(dir).free - 9 * MiB, 0))
        local err = refused(go)
        if not guesses(dir) then
          assert.equal(name:find("convert") and "ENOSPC" or nil, err.errname)
        end
        os.remove(dir .. "/rest")
        -- nothing is left at all: that is seen before
        fill_up(dir .. "/rest")
        err = refused(go)
        -- (XFS may have no room for another file, were it empty)
        assert.is_true(err.reason == "VOLUME_FULL" or err.syscall == "openat"
          or guesses(dir), tostring(err))
        os.remove(dir .. "/rest")
        settle()
        local ok
        ok, err = pcall(go)
        assert(ok or name:find("reserve") and err.name == "E_NOTIMPL",
          tostring(err))
        run(("rm -f %s/*"):format(q(found)))
      end
    end)
  end

  it("makes whole files and no others: create_children", function()
    handmade.dynamic(sources .. "/parent.vhd", 64 * MiB)
    settle()
    pour(dir .. "/rest", math.max(test.statfs(dir).free - 9 * MiB, 0))
    local list = {}
    for i = 1, 2000 do
      list[i] = found .. "/" .. i
    end
    local task = engine:create_children(list, sources .. "/parent.vhd",
      { sync = "none" })
    local ok, err = pcall(task.wait, task)
    assert.is_true(ok and guesses(dir) or lvhd.is_error(err, "E_DISK_FULL"),
      tostring(err))
    local names = support.names(found)
    assert.is_true(#names > 0 and #names < 2000 or ok and #names == 2000,
      #names)
    for _, child in ipairs(names) do
      assert.equal(64 * MiB, engine:info(found .. "/" .. child).size)
    end
  end)
end)

describe("what changes a file", function()
  -- Without any room there is not even a note; some steps later are others.
  local rooms = { 0, 8 << 10, 32 << 10 }

  local function stopped(b, room)
    b:reset()
    fill(dir .. "/rest", room)
    local progress, mark = bench.progress()
    local engine = lvhd.engine{ threads = 1 }
    local ok, err = pcall(b.scenario.act, engine, b.found, mark)
    engine:close()
    progress.done = ok
    if not ok then
      assert.is_true(lvhd.is_error(err, "E_DISK_FULL"), tostring(err))
    end
    os.remove(dir .. "/rest")
    settle()
    take_leftovers(b.found)
    b:judge(progress, ("%s with %d bytes"):format(ok and "done" or "stopped",
      room))
  end

  for _, scenario in ipairs(changes) do
    if not scenario.slow then
      it("keeps its promise: " .. scenario.name, function()
        bench.with(scenario, function(b)
          prepare(16 * MiB)
          b.found = dir .. "/found"
          for _, room in ipairs(rooms) do
            stopped(b, room)
          end
        end)
      end)
    end
  end
end)
