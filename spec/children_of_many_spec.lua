-- SPDX-License-Identifier: MIT
--
-- create_children: many children of one parent in one task.  What a single
-- child is, other specs say; here: that each of many is the same, that each
-- stands or falls for itself, what is shared, and that trouble leaves nothing
-- that is half made.

local lifetest = require "lifetest"
local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local program = require "spec.support.program"
local test = require "lvhdtest"

local MiB <const> = 1 << 20
local UUID <const> = "3f6c1e2a-0000-4000-8000-0123456789ab"

local engine, system, dir, parent

before_each(function()
  system = test.system()
  engine = lvhd.engine{ threads = 2, system = system:pointer() }
  dir = support.tmpdir()
  parent = handmade.dynamic(dir .. "/parent.vhd", 64 * MiB)
end)

after_each(function()
  system:drop()
  engine:close()
end)

local function names(count, format)
  local list = {}
  for i = 1, count do
    list[i] = (format or "k%04d.vhd"):format(i)
  end
  return list
end

-- The error of a list of which some fail, and its items.
local function fails(name, images, opts, own)
  local err = expect.fails(name, nil, function()
    local e = own or engine
    return e:create_children(images, parent, opts)
  end)
  assert.equal(#images, #err.items)
  return err, err.items
end

-- What became of each: "ok", or the name of its error.
local function ends(items)
  local list = {}
  for i, item in ipairs(items) do
    list[i] = lvhd.is_error(item) and item.name or "ok"
  end
  return list
end

-- In and below the folder: what lies there is whole, and nothing else does.
local function all_whole(folder, count)
  local with <close> = lvhd.engine{ threads = 1 }
  local infos = with:find(folder):wait()
  local files = support.run("find " .. support.q(folder)
    .. " -type f | wc -l")
  assert.equal(tonumber(files), #infos)
  for _, info in ipairs(infos) do
    assert.same({}, info.findings, info.path)
    if info.path ~= parent and not info.path:find("first", 1, true) then
      assert.equal("differencing", info.type)
      assert.equal(64 * MiB, info.size)
    end
  end
  if count then
    assert.equal(count, #infos)
  end
  return infos
end

-- Items and files say the same.
local function items_tell_the_truth(items, paths)
  for i, item in ipairs(items) do
    local there = test.stat(paths[i]) ~= nil
    if lvhd.is_error(item) then
      assert.is_false(there, paths[i] .. ": " .. tostring(item))
    else
      assert.is_true(there, paths[i])
      assert.equal(paths[i], item.path)
    end
  end
end

local function absolute(list)
  local out = {}
  for i, name in ipairs(list) do
    out[i] = dir .. "/" .. name
  end
  return out
end

local function count(call, fits)
  local n = 0
  for _, e in ipairs(system:log()) do
    if e.call == call and (not fits or fits(e)) then
      n = n + 1
    end
  end
  return n
end

describe("create_children makes", function()
  it("what create_differencing makes, byte for byte", function()
    local opts = { timestamp = 1700000000, mode = "0640" }
    local list = {}
    for i = 1, 20 do
      list[i] = { image = ("sub%d/k%d.vhd"):format(i % 3, i),
        uuid = ("3f6c1e2a-0000-4000-8000-%012d"):format(i) }
    end
    local infos = engine:create_children(list, parent, opts):wait()
    assert.equal(20, #infos)
    for i, info in ipairs(infos) do
      local twin = ("%s/sub%d/twin.vhd"):format(dir, i % 3)
      local single = engine:create_differencing(twin, parent,
        { timestamp = 1700000000, mode = "0640", uuid = list[i].uuid }):wait()
      assert.equal(dir .. "/" .. list[i].image, info.path)
      assert.equal(list[i].uuid, info.uuid)
      assert.is_true(support.read(info.path) == support.read(twin))
      assert.equal(416, test.stat(info.path).mode & 511) -- 0640
      info.path, single.path, info.free, single.free = nil, nil, nil, nil
      for _, finding in ipairs(info.findings) do
        finding.path = nil
      end
      assert.same(single, info)
      os.remove(twin)
    end
  end)

  it("none, one, and five thousand", function()
    assert.same({}, engine:create_children({}, parent):wait())
    assert.equal(1, #engine:create_children({ "one.vhd" }, parent):wait())
    local task = engine:create_children(names(5000), parent,
      { sync = "none" })
    local infos = task:wait()
    assert.equal(5000, #infos)
    assert.equal(dir .. "/k4999.vhd", infos[4999].path)
    local percent, bytes, total, items, items_total = task:progress()
    assert.same({ 100, 5000, 5000 }, { percent, items, items_total })
    assert.equal(total, bytes)
    assert.equal(5000 * infos[1].file_size, bytes)
    all_whole(dir, 5002)
    local seen = {}
    for _, info in ipairs(infos) do
      assert.is_nil(seen[info.uuid])
      seen[info.uuid] = true
    end
    assert.equal(infos, task:wait()) -- the same table
  end)

  it("disks that other programs know", function()
    engine:create_children(names(40), parent):wait()
    for _, i in ipairs{ 1, 17, 40 } do
      local path = ("%s/k%04d.vhd"):format(dir, i)
      for _, command in ipairs{ "qemu-img info -f vpc ", "vhdiinfo ",
        "7zz t -tvhd " } do
        if support.has(command:match("%S+")) then
          support.run(command .. path)
        end
      end
    end
  end)

  it("the same with one thread and with many #tsan", function()
    for _, threads in ipairs{ 1, 4 } do
      local own <close> = lvhd.engine{ threads = threads }
      own:create_children(names(700, threads .. "-%d.vhd"), parent):wait()
    end
    all_whole(dir, 1401)
  end)

  it("many lists at a time #tsan", function()
    local tasks = {}
    for i = 1, 8 do
      tasks[i] = engine:create_children(names(60, i .. "/k%d.vhd"), parent)
    end
    for _, task in ipairs(tasks) do
      assert.equal(60, #task:wait())
    end
    all_whole(dir, 481)
  end)

  it("little of an image that waits #nosan", function()
    local own <close> = lvhd.engine{ threads = 2 } -- no log of all calls
    own:create_children(names(600, "w%d.vhd"), parent):wait()
    local before = test.memory()
    local task = own:create_children(names(5000), parent,
      { sync = "none" })
    while not task:done() do
      test.sleep(0.01)
    end
    local each = (test.memory() - before) / 5000
    assert.is_true(each < 2048, each .. " bytes an image")
  end)
end)

describe("create_children starts relative paths", function()
  it("at the parent's folder", function()
    test.mkdir(dir .. "/x")
    local infos = engine:create_children({ "a.vhd", "x/../b.vhd" }, parent,
      { base = "/nowhere" }):wait()
    assert.equal(dir .. "/b.vhd", infos[2].path)
  end)

  it("at base where the parent is relative, and the parent too", function()
    expect.refused("E_BAD_PATHNAME", "PATH_RELATIVE", engine.create_children,
      engine, { "a.vhd" }, "parent.vhd")
    test.mkdir(dir .. "/golden")
    os.rename(parent, dir .. "/golden/parent.vhd")
    local infos = engine:create_children({ "vms/a.vhd", dir .. "/b.vhd" },
      "golden/parent.vhd", { base = dir }):wait()
    assert.equal(dir .. "/vms/a.vhd", infos[1].path)
    assert.equal(dir .. "/golden/parent.vhd", infos[2].parent.path)
  end)
end)

describe("the call", function()
  it("refuses what is no list, and what is no option", function()
    local function wrong(text, ...)
      expect.argument_error(text, engine.create_children, engine, ...)
    end
    wrong("list expected", "a.vhd", parent)
    wrong("got nil at [2]", { "a.vhd", nil, "b.vhd" }, parent)
    wrong("a table with [3]", { "a.vhd", [3] = "b.vhd" }, parent)
    wrong('a table with ["image"]', { "a.vhd", image = "b.vhd" }, parent)
    wrong("got number at [1]", { 1 }, parent)
    wrong("a table without image", { {} }, parent)
    wrong("string uid", { { image = "a", uid = UUID } }, parent)
    wrong("number uuid", { { image = "a", uuid = 1 } }, parent)
    wrong("one for each image", { "a" }, parent, { uuid = UUID })
    wrong("did you mean 'sync'", { "a" }, parent, { sink = "none" })
  end)

  it("takes a list that only answers #list and list[i]", function()
    local list = setmetatable({}, {
      __len = function() return 3 end,
      __index = function(_, i) return ("%s/%d.vhd"):format(dir, i) end,
    })
    local infos = engine:create_children(list, parent):wait()
    assert.equal(3, #infos)
    assert.equal(dir .. "/3.vhd", infos[3].path)
  end)

  it("refuses nil, a closed engine, and its parent", function()
    local function refused(name, reason, ...)
      return expect.refused(name, reason, engine.create_children, engine, ...)
    end
    refused("E_POINTER", "IMAGE_NIL", nil, parent)
    refused("E_POINTER", "PARENT_NIL", { "a.vhd" }, nil)
    refused("E_INVALID_NAME", nil, { "a.vhd" }, dir .. "/a?.vhd")
    refused("E_BAD_PATHNAME", "PATH_EMPTY", { "a.vhd" }, "")
    refused("E_INVALIDARG", "BLOCK_SIZE", { "a.vhd" }, parent,
      { block_size = 4096 })
    refused("E_INVALIDARG", "TIMESTAMP_RANGE", { "a.vhd" }, parent,
      { timestamp = 1 })
    local err = refused("E_PATH_NOT_FOUND", "FILE_MISSING", { "a.vhd" },
      dir .. "/none.vhd")
    assert.equal(dir .. "/none.vhd", err.parent)
    assert.equal("create_children", err.op)
    assert.is_nil(err.items)
    support.write(dir .. "/text.vhd", ("x"):rep(4096))
    refused("VM_E_INVALID_HD_FILE", nil, {}, dir .. "/text.vhd")
    engine:close()
    refused("VM_E_APP_SHUTTING_DOWN", nil, { "a.vhd" }, parent)
  end)

  it("leaves the parent to the task without preflight", function()
    local err = expect.late("E_PATH_NOT_FOUND", "FILE_MISSING",
      engine.create_children, engine, { "a.vhd", "b.vhd" },
      dir .. "/none.vhd", { preflight = false })
    assert.same({ "E_PATH_NOT_FOUND", "E_PATH_NOT_FOUND" }, ends(err.items))
    assert.equal("b.vhd", err.items[2].path)
    expect.late("E_PATH_NOT_FOUND", nil, engine.create_children, engine, {},
      dir .. "/none.vhd", { preflight = false })
  end)
end)

describe("an image that fails", function()
  it("fails alone, and says why", function()
    test.mkdir(dir .. "/a")
    test.symlink("a", dir .. "/link")
    support.write(dir .. "/there.vhd", "mine")
    support.write(dir .. "/file", "")
    local list = { "one.vhd", "one.vhd", "a/../one.vhd", "a/two.vhd",
      "link/two.vhd", "there.vhd", "bad?.vhd", "",
      { image = "three.vhd", uuid = "xyz" }, "file/four.vhd", "nul\0.vhd",
      ("n"):rep(251) .. ".vhd", "a/", { image = "five.vhd", uuid = UUID },
      dir .. "/six.vhd" }
    local err, items = fails("E_ALREADY_EXISTS", list)
    assert.same({ "ok", "E_ALREADY_EXISTS", "E_ALREADY_EXISTS", "ok",
      "E_ALREADY_EXISTS", "E_ALREADY_EXISTS", "E_INVALID_NAME",
      "E_BAD_PATHNAME", "E_INVALIDARG", "E_PATH_NOT_FOUND",
      "E_INVALID_NAME", "E_BUFFER_OVERFLOW", "E_INVALID_NAME", "ok", "ok" },
      ends(items))
    assert.equal("UUID_MALFORMED", items[9].reason)
    assert.equal(dir .. "/three.vhd", items[9].path)
    assert.equal("create_children", items[9].op)
    assert.equal(parent, items[9].parent)
    assert.equal(dir .. "/one.vhd", err.path) -- of the first that failed
    assert.is_truthy(err.message:find("11 of 15 images failed", 1, true))
    assert.is_nil(items[2].message:find("images failed", 1, true))
    assert.equal("mine", support.read(dir .. "/there.vhd"))
    os.remove(dir .. "/there.vhd")
    os.remove(dir .. "/file")
    all_whole(dir, 5)
  end)

  it("is not written for nothing, where the name is taken", function()
    local list = {}
    for i = 1, 300 do
      list[i] = i % 2 == 1 and "a.vhd" or "./a.vhd"
    end
    system:forget()
    local err = fails("E_ALREADY_EXISTS", list)
    assert.equal(299, err.message:match("(%d+) of 300") + 0)
    assert.equal(1, system:count("pwritev"))
    assert.equal("ok", ends(err.items)[1])
  end)

  it("is kept where the disk that was asked for is there", function()
    engine:create_differencing(dir .. "/b.vhd", parent):wait()
    engine:create_dynamic(dir .. "/c.vhd", 64 * MiB):wait()
    local _, items = fails("E_ALREADY_EXISTS",
      { "a.vhd", "b.vhd", "c.vhd", "a.vhd" }, { if_exists = "keep" })
    assert.same({ "ok", "ok", "E_ALREADY_EXISTS", "ok" }, ends(items))
    assert.is_true(items[1].created)
    assert.is_false(items[2].created)
    assert.equal("OTHER_DISK", items[3].reason)
    assert.is_false(items[4].created)
    assert.equal(items[1].uuid, items[4].uuid)
  end)

  it("lets the next of its name have it", function()
    system:fail{ call = "pwritev", errno = "EIO" }
    local own <close> = lvhd.engine{ threads = 1, system = system:pointer() }
    local err, items = fails("DISP_E_EXCEPTION", { "a.vhd", "a.vhd" }, nil,
      own)
    assert.same({ "DISP_E_EXCEPTION", "ok" }, ends(items))
    assert.equal("pwritev", err.syscall)
  end)

  it("takes away the folders that it had made, and no others", function()
    system:fail{ call = "linkat", path = "x.vhd", errno = "EIO", times = 0 }
    local _, items = fails("DISP_E_EXCEPTION",
      { "new/deep/x.vhd", "both/x.vhd", "both/y.vhd", "z.vhd" })
    assert.same({ "DISP_E_EXCEPTION", "DISP_E_EXCEPTION", "ok", "ok" },
      ends(items))
    assert.same({ "both", "parent.vhd", "z.vhd" }, support.names(dir))
    assert.same({ "y.vhd" }, support.names(dir .. "/both"))
  end)

  it("takes away the folder that two of those have in common", function()
    for _, call in ipairs{ "linkat", "renameat2" } do -- without O_TMPFILE
      system:fail{ call = call, path = "x.vhd", errno = "EIO", times = 0 }
    end
    fails("DISP_E_EXCEPTION", { "new/a/x.vhd", "new/b/x.vhd" })
    assert.same({ "parent.vhd" }, support.names(dir))
  end)
end)

describe("on an engine with drives", function()
  local own

  before_each(function()
    own = lvhd.engine{ threads = 2, drives = { C = dir },
      system = system:pointer() }
    parent = [[C:\parent.vhd]]
  end)
  after_each(function()
    own:close()
    parent = dir .. "/parent.vhd"
  end)

  it("children know how windows calls the parent", function()
    local infos = own:create_children({ [[vms\a.vhd]], "b.vhd" }, parent):wait()
    for i, path in ipairs{ [[vms\b.vhd]], "c.vhd" } do
      local single = own:create_differencing(dir .. "/" .. path:gsub("\\", "/"),
        parent):wait()
      assert.same(single.parent, infos[i].parent)
    end
    infos = engine:create_children({ "d.vhd" }, dir .. "/parent.vhd",
      { windows_parent = [[D:\g\parent.vhd]] }):wait()
    local found
    for _, locator in ipairs(infos[1].parent.locators) do
      found = found or locator.code == "W2ku" and locator.path
    end
    assert.equal([[D:\g\parent.vhd]], found)
    expect.refused("E_INVALID_NAME", nil, engine.create_children, engine,
      { "e.vhd" }, dir .. "/parent.vhd", { windows_parent = [[D:g?]] })
  end)

  it("names that differ in case only are one", function()
    support.write(dir .. "/There.vhd", "mine")
    local _, items = fails("E_ALREADY_EXISTS", { "A.vhd", "a.vhd",
      [[c:\A.VHD]], "there.vhd", [[new\b.vhd]], [[NEW\c.vhd]],
      [[New\B.vhd]], "bad/.vhd" }, nil, own)
    assert.same({ "ok", "E_ALREADY_EXISTS", "E_ALREADY_EXISTS",
      "E_ALREADY_EXISTS", "ok", "ok", "E_ALREADY_EXISTS", "E_INVALID_NAME" },
      ends(items))
    assert.equal("CASE_TWIN", items[2].reason)
    assert.equal("CASE_TWIN", items[4].reason)
    assert.same({ dir .. "/There.vhd" }, items[4].others)
    assert.equal(dir .. "/new/c.vhd", items[6].path)
    assert.same({ "A.vhd", "There.vhd", "new", "parent.vhd" },
      support.names(dir))
  end)

  it("a name that came with an earlier batch is one, too", function()
    local list = names(600, [[C:\k%d.vhd]])
    list[601], list[602] = [[C:\K600.VHD]], [[C:\K7.vhd]]
    local _, items = fails("E_ALREADY_EXISTS", list, { sync = "none" }, own)
    for i, item in ipairs(items) do
      assert.equal(i > 600, lvhd.is_error(item))
    end
    assert.equal("CASE_TWIN", items[601].reason)
    assert.same({ dir .. "/k7.vhd" }, items[602].others)
  end)

  it("a folder's names are read once", function()
    test.mkdir(dir .. "/full")
    for i = 1, 100 do
      support.write(("%s/full/old%d"):format(dir, i), "")
    end
    system:forget()
    own:create_children(names(600, [[C:\full\k%d.vhd]]), parent):wait()
    local listed = count("getdents", function(e)
      return e.at:find("/full", 1, true)
    end)
    assert.is_true(listed >= 2 and listed <= 3, listed) -- names, and the end
    local _, items = fails("E_ALREADY_EXISTS",
      { [[C:\full\OLD7]], [[C:\full\K599.vhd]] }, nil, own)
    assert.equal("CASE_TWIN", items[1].reason)
    assert.equal("CASE_TWIN", items[2].reason)
  end)
end)

describe("what is flushed", function()
  local function is_file(e)
    return e.at:find("(deleted)", 1, true) or e.at:find(".vhd", 1, true)
      or e.at:find(".lvhd-tmp", 1, true)
  end
  local function is_folder(e)
    return not is_file(e)
  end

  local function run(images, opts)
    system:forget()
    engine:create_children(images, parent, opts):wait()
  end

  it("with sync = none is nothing", function()
    run(names(50), { sync = "none" })
    assert.equal(0, system:count("fsync") + system:count("syncfs")
      + system:count("sync_file_range"))
  end)

  -- The volume's flush is not to be had: each file, after all were started.
  for _, case in ipairs{ { call = "syncfs" },
    { call = "openat", path = "meminfo" } } do
    it("file by file when " .. case.call .. " fails", function()
      case.errno, case.times = "EIO", 0
      system:fail(case)
      run(names(50), { sync = "data" })
      assert.equal(50, count("fsync", is_file))
      assert.equal(0, count("fsync", is_folder))
      assert.equal(50, count("sync_file_range"))
      run(names(50, "full%d.vhd"))
      assert.equal(50, count("fsync", is_file))
      assert.equal(1, count("fsync", is_folder))
    end)
  end

  it("is all bytes, then, after the names, each folder once", function()
    run(names(200, "sub%d/new/k.vhd"))
    local flushes, links, last = {}, 0, 0
    for i, e in ipairs(system:log()) do
      if e.call == "linkat" then
        links = links + 1
        last = i
      elseif e.call == "fsync" and is_folder(e) then
        assert.equal(200, links) -- all names are there
        assert.is_nil(flushes[e.at])
        flushes[e.at] = true
      elseif e.call == "fsync" then
        assert.equal(0, links)
      end
    end
    assert.is_true(last > 0)
    -- 200 last folders, 200 above them, and the one they are all in
    local volume = system:count("syncfs")
    assert.is_true(volume == 0 or flushes[dir])
    if volume == 0 then
      for i = 1, 200 do
        assert.is_true(flushes[("%s/sub%d/new"):format(dir, i)])
        assert.is_true(flushes[("%s/sub%d"):format(dir, i)])
      end
    end
  end)

  it("with the volume is one call a batch #nosan", function()
    support.run("sync")
    run(names(2000))
    local volume = system:count("syncfs")
    if volume == 0 then
      pending("no volume of the measured kinds, or a busy host")
    end
    assert.is_true(volume <= 8)
    assert.is_true(count("fsync", is_folder) <= 8)
  end)

  it("and fails for one file is its error alone, and not tried again",
    function()
      system:fail{ call = "syncfs", errno = "EIO", times = 0 }
      system:fail{ call = "fsync", kind = "file", errno = "EIO", nth = 7 }
      system:forget()
      local _, items = fails("DISP_E_EXCEPTION", names(20))
      local failed = 0
      for _, item in ipairs(items) do
        failed = failed + (lvhd.is_error(item) and 1 or 0)
      end
      assert.equal(1, failed)
      assert.equal(20, count("fsync", is_file))
      items_tell_the_truth(items, absolute(names(20)))
      all_whole(dir, 20)
    end)

  it("and fails for a folder takes its names away", function()
    test.mkdir(dir .. "/good")
    system:fail{ call = "syncfs", errno = "EIO", times = 0 }
    system:fail{ call = "fsync", kind = "folder", at = "/bad", errno = "EIO",
      times = 0 }
    local list = { "bad/a.vhd", "good/a.vhd", "bad/b.vhd", "good/b.vhd",
      "bad/c.vhd" }
    local _, items = fails("DISP_E_EXCEPTION", list)
    assert.same({ "DISP_E_EXCEPTION", "ok", "DISP_E_EXCEPTION", "ok",
      "DISP_E_EXCEPTION" }, ends(items))
    assert.same({ "good", "parent.vhd" }, support.names(dir))
    assert.same({ "a.vhd", "b.vhd" }, support.names(dir .. "/good"))
  end)
end)

describe("where the volume is poor", function()
  local lacks = {
    ["no O_TMPFILE"] = { { call = "openat", flags = test.O_TMPFILE,
      errno = "EOPNOTSUPP" } },
    ["no links"] = { { call = "linkat", errno = "EPERM" } },
    ["no O_TMPFILE, no RENAME_NOREPLACE"] = { { call = "openat",
      flags = test.O_TMPFILE, errno = "EOPNOTSUPP" },
      { call = "renameat2", errno = "EINVAL" } },
    ["no way to link what has no name"] = { { call = "linkat",
      errno = "ENOENT" } },
    ["no openat2"] = { { call = "openat2", errno = "ENOSYS" } },
    ["no sync_file_range"] = { { call = "sync_file_range",
      errno = "ENOSYS" } },
  }
  for what, rules in pairs(lacks) do
    it("children are made all the same: " .. what, function()
      for _, rule in ipairs(rules) do
        rule.times = 0
        system:fail(rule)
      end
      assert.equal(50, #engine:create_children(names(50, "n/k%d.vhd"),
        parent):wait())
      system:drop()
      all_whole(dir, 51)
      assert.same({ "n", "parent.vhd" }, support.names(dir))
    end)
  end
end)

-- ---- trouble -----------------------------------------------------------

-- One list with the k-th call failing; false: there was no k-th call.
local function one_fault(k, errno, opts)
  local list = { "a.vhd", "new/deep/b.vhd", "c.vhd", "new/d.vhd", "a.vhd",
    "e.vhd", "f.vhd" }
  local paths = absolute(list)
  local before = expect.tree(dir)
  system:drop()
  system:fail{ nth = k, errno = errno }
  system:forget()
  local own <close> = lvhd.engine{ threads = 1, system = system:pointer() }
  local ok, err = expect.try(own.create_children, own, list, parent, opts)
  local calls = system:count()
  assert.is_false(ok) -- a.vhd is there twice
  assert.is_true(lvhd.is_error(err), tostring(err))
  system:drop()
  if err.items then
    assert.equal(7, #err.items)
    local made = 0
    for i, item in ipairs(err.items) do
      local there = test.stat(paths[i]) ~= nil
      made = made + (lvhd.is_error(item) and 0 or 1)
      if i ~= 1 and i ~= 5 then
        assert.equal(there, not lvhd.is_error(item),
          ("call %d, %s: %s"):format(k, paths[i], tostring(item)))
      end
    end
    all_whole(dir, made + 1)
  end
  support.run(("cd %s && rm -rf a.vhd c.vhd e.vhd f.vhd new/deep/b.vhd"
    .. " new/d.vhd"):format(dir))
  support.sh(("cd %s && [ -d new ] && find new -depth -type d -empty"
    .. " -delete"):format(dir))
  assert.equal(before:gsub("[^\n]*\n", "", 1),
    expect.tree(dir):gsub("[^\n]*\n", "", 1))
  return calls >= k
end

describe("each call that fails in its turn", function()
  it("ends some images, and leaves no rest", function()
    for _, errno in ipairs{ "EIO" } do
      local k = 1
      while one_fault(k, errno, { preflight = false }) do
        k = k + 1
      end
      assert.is_true(k > 60, "the sweep ended at call " .. k)
    end
  end)

  it("the same with other errors #slow", function()
    for _, errno in ipairs{ "EMFILE", "ENOSPC", "EACCES", "ENOENT", "EPERM" } do
      local k = 1
      while one_fault(k, errno, { sync = "data" }) do
        k = k + 1
      end
      assert.is_true(k > 60)
    end
  end)
end)

describe("a volume that is full in the middle", function()
  it("ends the rest with E_DISK_FULL, by the fault table", function()
    system:fail{ call = "pwritev", errno = "ENOSPC", nth = 501, times = 0 }
    local list = names(1000)
    local _, items = fails("E_DISK_FULL", list)
    local made = 0
    for _, item in ipairs(items) do
      made = made + (lvhd.is_error(item) and 0 or 1)
      assert.is_true(not lvhd.is_error(item) or item.name == "E_DISK_FULL")
    end
    assert.equal(500, made)
    items_tell_the_truth(items, absolute(list))
    all_whole(dir, 501)
  end)

  it("ends the rest with E_DISK_FULL, for real #root", function()
    if not support.is_root() then
      pending("mounting needs root")
    end
    local volume = dir .. "/volume"
    support.run(("truncate -s 18M %s.img && mkfs.ext4 -q -F -O ^has_journal"
      .. " %s.img && mkdir %s"):format(volume, volume, volume))
    local mounted, why = support.sh(("mount -o loop %s.img %s"):format(volume,
      volume))
    if not mounted then
      pending("cannot mount here: " .. why)
    end
    local ok, err = pcall(function()
      local list = {}
      for i = 1, 1000 do
        list[i] = ("%s/k%d.vhd"):format(volume, i)
      end
      local _, items = fails("E_DISK_FULL", list)
      local made = 0
      for i, item in ipairs(items) do
        made = made + (lvhd.is_error(item) and 0 or 1)
        assert.equal(lvhd.is_error(item), test.stat(list[i]) == nil)
        assert.is_true(not lvhd.is_error(item) or item.name == "E_DISK_FULL")
      end
      assert.is_true(made > 100 and made < 1000, made)
      support.sh("rmdir " .. volume .. "/lost+found")
      all_whole(volume, made)
    end)
    support.run("umount " .. volume)
    assert(ok, err)
  end)
end)

describe("few descriptors", function()
  -- 64, or as many as are open here and some.
  local function limited(n, fn)
    local status, text = test.fork(function()
      local own = lvhd.engine{ threads = 2 }
      own:create_dynamic(dir .. "/first.vhd", 64 * MiB):wait()
      assert(test.limit("nofile", n))
      local ok, err = pcall(fn, own)
      own:close()
      return ok and "good" or tostring(err)
    end)
    assert.equal(0, status, text)
    assert.equal("good", text)
  end

  it("are enough for any number of images #nosan", function()
    limited(64, function(own)
      own:create_children(names(3000), parent, { sync = "none" }):wait()
      own:create_children(names(500, "own%d/k.vhd"), parent,
        { sync = "none" }):wait()
    end)
    all_whole(dir, 3502)
  end)

  it("are shared by the tasks of an engine, and left to others #nosan",
    function()
      limited(512, function()
        local own <close> = lvhd.engine{ threads = 4, sync = "none" }
        local tasks, n = {}, 0
        for k = 1, 3 do
          tasks[k] = own:create_children(names(2000, "m" .. k .. "/%d.vhd"),
            parent)
        end
        repeat -- short ones find what they need all the while
          n = n + 1
          own:create_differencing(("%s/s/%d.vhd"):format(dir, n), parent)
            :wait()
        until tasks[1]:done() and tasks[2]:done() and tasks[3]:done()
        for _, task in ipairs(tasks) do
          task:wait()
        end
      end)
    end)

  it("that others take are waited for, not an error #nosan", function()
    limited(64, function(own)
      local held = {}
      while true do -- all but seven or so
        local file = io.open("/dev/null")
        if not file then
          break
        end
        held[#held + 1] = file
      end
      for _ = 1, 7 do
        table.remove(held):close()
      end
      local infos = own:create_children(names(200, "d%d/k.vhd"), parent):wait()
      assert(#infos == 200)
    end)
    all_whole(dir, 202)
  end)

  it("of which none is left is VM_E_OUT_OF_RESOURCE #nosan", function()
    local status, text = test.fork(function()
      local own = lvhd.engine{ threads = 1 }
      own:create_dynamic(dir .. "/first.vhd", 64 * MiB):wait()
      assert(test.limit("nofile", 3))
      local _, err = expect.try(own.create_children, own, names(3), parent,
        { preflight = false })
      assert(test.limit("nofile", 64))
      own:close()
      return err.name .. #err.items .. err.items[3].name
    end)
    assert.equal(0, status, text)
    assert.equal("VM_E_OUT_OF_RESOURCE3VM_E_OUT_OF_RESOURCE", text)
  end)
end)

describe("a parent that someone writes meanwhile", function()
  local function meanwhile(change)
    system:fail{ call = "syncfs", errno = "EIO", times = 0 }
    system:hold{ call = "fsync", kind = "file" }
    local task = engine:create_children(names(20), parent)
    assert.is_true(system:await(1))
    local undo = change()
    system:drop()
    local ok, err = pcall(task.wait, task)
    if undo then
      undo()
    end
    assert.is_false(ok)
    assert.equal("E_SHARING_VIOLATION", err.name)
    assert.equal(20, #err.items)
    assert.same({ "parent.vhd" }, support.names(dir))
    return err
  end

  it("is found before anything has a name: by its lock", function()
    assert.equal("IN_USE", meanwhile(function()
      local fd = test.lock(parent, "read", 101, 1)
      return function()
        test.close(fd)
      end
    end).reason)
  end)

  it("is found before anything has a name: by its time", function()
    assert.equal("SOURCE_CHANGED", meanwhile(function()
      test.utime(parent, 1700000000)
    end).reason)
  end)
end)

describe("a cancel", function()
  it("of a task that waits leaves nothing", function()
    local own <close> = lvhd.engine{ threads = 1,
      system = system:pointer() }
    system:hold{ call = "pwritev" }
    local other = own:create_dynamic(dir .. "/other.vhd", 64 * MiB)
    assert.is_true(system:await(1))
    local task = own:create_children(names(3), parent)
    assert.is_true(task:cancel())
    system:drop()
    other:wait()
    local ok, err = pcall(task.wait, task)
    assert.is_false(ok)
    assert.equal("E_ABORT", err.name)
    assert.same({ "E_ABORT", "E_ABORT", "E_ABORT" }, ends(err.items))
    assert.same({ "other.vhd", "parent.vhd" }, support.names(dir))
  end)

  it("comes too late once the last names are there", function()
    local own <close> = lvhd.engine{ threads = 1,
      system = system:pointer() }
    system:hold{ call = "fsync", kind = "folder" }
    local task = own:create_children(names(3), parent)
    assert.is_true(system:await(1))
    local will = task:cancel()
    system:drop()
    assert.is_false(will)
    assert.equal(3, #task:wait())
  end)

  it("in time leaves nothing of the batch", function()
    local own <close> = lvhd.engine{ threads = 1,
      system = system:pointer() }
    system:fail{ call = "syncfs", errno = "EIO", times = 0 }
    system:hold{ call = "fsync", kind = "file" }
    local task = own:create_children(names(9, "new/k%d.vhd"), parent)
    assert.is_true(system:await(1))
    assert.is_true(task:cancel())
    system:drop()
    local ok, err = pcall(task.wait, task)
    assert.is_false(ok)
    assert.equal("E_ABORT", err.name)
    for i = 1, 9 do
      assert.equal("E_ABORT", err.items[i].name)
      assert.equal(("%s/new/k%d.vhd"):format(dir, i), err.items[i].path)
    end
    assert.same({ "parent.vhd" }, support.names(dir))
  end)

  local function at_random(times, images, most)
    math.randomseed(20261123)
    local cancelled, some = 0, 0
    for i = 1, times do
      local list = names(images, "c" .. i .. "/k%d.vhd")
      local task = engine:create_children(list, parent, { sync = "data" })
      test.sleep(math.random() * most)
      local will = task:cancel()
      local ok, result = pcall(task.wait, task)
      assert.equal(will, task:status() == "cancelled")
      if will then
        assert.is_false(ok)
        assert.equal("E_ABORT", result.name)
        cancelled = cancelled + 1
        local made = 0
        for _, item in ipairs(result.items) do
          made = made + (lvhd.is_error(item) and 0 or 1)
        end
        some = some + (made > 0 and 1 or 0)
        assert.is_true(made < images) -- else it was too late
        items_tell_the_truth(result.items, absolute(list))
        assert.equal(made > 0, test.stat(dir .. "/c" .. i) ~= nil)
      else
        assert.is_true(ok, tostring(result))
      end
    end
    all_whole(dir)
    return cancelled, some
  end

  it("at random moments leaves what is published, whole #tsan", function()
    local cancelled = at_random(30, 700, 0.05)
    assert.is_true(cancelled > 0)
  end)
end)

describe("the list of a thousand, in an event loop,", function()
  -- An engine that was collected is freed, with its descriptors, by a later
  -- call.
  after_each(function()
    collectgarbage()
    engine:create_dynamic(dir .. "/last.vhd", 64 * MiB):wait()
  end)

  -- Runs body(engine) as a coroutine of a loop, counts the loop's turns that wait
  -- for nothing, and returns what body returned.
  local turns
  local function in_loop(body)
    turns = 0
    local own <close> = lvhd.engine{ threads = 2, sync = "none",
      poll = function(object, seconds) coroutine.yield(object, seconds) end }
    local co = coroutine.create(body)
    local ok, object, seconds = coroutine.resume(co, own)
    while ok and coroutine.status(co) ~= "dead" do
      if seconds == 0 then
        turns = turns + 1
      else
        lifetest.readable(object:pollfd(), 1)
      end
      ok, object, seconds = coroutine.resume(co)
    end
    assert(ok, object)
    return object
  end

  it("is made in pieces, and is the same afterwards", function()
    local images = names(1000)
    for i, name in ipairs(images) do
      images[i] = dir .. "/" .. name
    end
    local list = in_loop(function(own)
      local task = own:create_children(images, parent)
      local list = task:wait()
      local before = turns
      assert.equal(list, task:wait())
      assert.equal(before, turns) -- it is there already
      return list
    end)
    assert.is_true(turns >= 9, turns)
    assert.equal(1000, #list)
    for i, info in ipairs(list) do
      assert.equal(images[i], info.path)
    end
  end)

  it("and that of find, and of a failure, too", function()
    local images = {}
    for i = 1, 300 do
      images[i] = ("%s/%d.vhd"):format(dir, i % 299)
    end
    local err = in_loop(function(own)
      local _, err = pcall(function()
        own:create_children(images, parent):wait()
      end)
      return err
    end)
    assert.is_true(turns >= 2, turns)
    assert.equal(300, #err.items)
    assert.equal("E_ALREADY_EXISTS", err.items[300].name)
    assert.equal(images[299], err.items[299].path)
    local found = in_loop(function(own)
      return own:find(dir):wait()
    end)
    assert.is_true(turns >= 2, turns)
    assert.is_true(#found >= 299, #found)
  end)

  it("is made at once where nobody could take a turn", function()
    local own <close> = lvhd.engine{ poll = function()
      error "the loop is over"
    end }
    local images = {}
    for i = 1, 300 do
      images[i] = ("%s/%d.vhd"):format(dir, i)
    end
    local task = own:create_children(images, parent)
    repeat until task:done()
    assert.equal(300, #task:wait())
  end)
end)

describe("kill -9", function()
  -- A process that makes children in a folder of its own, killed meanwhile.
  local function kills(times)
    math.randomseed(20261123)
    local some, killed, span = 0, 0, 0.1
    for i = 1, times do
      local folder = dir .. "/kill" .. i
      assert(test.mkdir(folder))
      local list = names(400, "kill" .. i .. "/d%03d/k.vhd")
      for j = 1, 200 do
        list[j] = ("kill%d/k%d.vhd"):format(i, j)
      end
      local pid = test.spawn(function()
        local own = lvhd.engine{ threads = 2 }
        assert(test.limit("nofile", i % 4 == 0 and 512 or 64)) -- the batches
        own:create_children(list, parent, { sync = "data" }):wait()
        test.sleep(60)
      end)
      test.sleep(0.004 + math.random() * span)
      killed = killed + (test.kill(pid, test.SIGKILL) and 1 or 0)
      test.wait(pid)
      local infos = all_whole(folder)
      some = some + ((#infos > 0 and #infos < 400) and 1 or 0)
      -- as long as it takes here, on this volume, to be in the midst of it
      span = span * (#infos == 0 and 1.5 or #infos == 400 and 0.7 or 1)
      support.run("rm -rf " .. folder)
    end
    assert.equal(times, killed)
    return some
  end

  it("leaves only whole files #nosan", function()
    assert.is_true(kills(20) > 0)
  end)

  it("leaves only whole files, 500 times #nosan #slow", function()
    assert.is_true(kills(500) > 0)
  end)
end)

describe("32 processes", function()
  it("make children of one parent at once, and share its names #nosan",
    function()
      local script = dir .. "/script.lua"
      support.write(script, ([[
        local lvhd = require "lvhd"
        local who, list = arg[1], {}
        for i = 1, 20 do
          list[#list + 1] = ("own-%%s-%%d.vhd"):format(who, i)
          list[#list + 1] = ("new/shared-%%d.vhd"):format(i)
        end
        local ok, got = pcall(function()
          return lvhd.create_children(list, %q, { sync = "data" }):wait()
        end)
        local items = ok and got or got.items
        local won = 0
        for i, item in ipairs(items) do
          if i %% 2 == 1 then
            assert(not lvhd.is_error(item), tostring(item))
          elseif not lvhd.is_error(item) then
            won = won + 1
          else
            assert(item.name == "E_ALREADY_EXISTS", tostring(item))
          end
        end
        print(won)
      ]]):format(parent))
      local said = support.run(("for i in $(seq 32); do %s %s $i & done; wait")
        :format(program.lua(), support.q(script)))
      local won, lines = 0, 0
      for n in said:gmatch("%d+") do
        won, lines = won + tonumber(n), lines + 1
      end
      assert.equal(32, lines, said)
      assert.equal(20, won)
      os.remove(script)
      all_whole(dir, 32 * 20 + 20 + 1)
    end)
end)
