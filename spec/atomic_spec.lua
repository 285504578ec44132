-- SPDX-License-Identifier: MIT
--
-- A new file appears whole or not at all, and durable when asked: the ways
-- to publish where unnamed files, /proc, links or RENAME_NOREPLACE are not
-- to be had, the order of flushes, and the folders made on the way.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local test = require "lvhdtest"

local MiB <const> = 1 << 20

local engine, system, dir

before_each(function()
  system = test.system()
  engine = lvhd.engine{ threads = 1, system = system:pointer() }
  dir = support.tmpdir()
end)

after_each(function()
  system:drop()
  engine:close()
end)

local function create(name, opts)
  return engine:create_dynamic(dir .. "/" .. name, 64 * MiB, opts)
end

-- What a volume or a host may lack.
local lacks = {
  tmpfile = function(errno)
    system:fail{ call = "openat", flags = test.O_TMPFILE, errno = errno,
      times = 0 }
  end,
  proc = function(errno)
    for _, call in ipairs{ "linkat", "readlinkat", "openat" } do
      system:fail{ call = call, path = "/proc/", errno = errno, times = 0 }
    end
  end,
  openat2 = function(errno)
    system:fail{ call = "openat2", errno = errno, times = 0 }
  end,
  empty_path = function(errno)
    system:fail{ call = "linkat", flags = test.AT_EMPTY_PATH, errno = errno,
      times = 0 }
  end,
  link = function(errno)
    system:fail{ call = "linkat", errno = errno, times = 0 }
  end,
  rename = function(errno)
    system:fail{ call = "renameat2", errno = errno, times = 0 }
  end,
}

local function called(name, flags, ok)
  local n = 0
  for _, e in ipairs(system:log()) do
    if e.call == name and e.flags & flags == flags
      and (not ok or e.result >= 0) then
      n = n + 1
    end
  end
  return n
end

-- The ways that must work: what is missing, and what publishes then.
local ways = {
  { "nothing is missing", {}, "linkat" },
  { "no O_TMPFILE (EOPNOTSUPP)", { tmpfile = "EOPNOTSUPP" }, "renameat2" },
  { "no O_TMPFILE (EISDIR)", { tmpfile = "EISDIR" }, "renameat2" },
  { "no O_TMPFILE (EINVAL)", { tmpfile = "EINVAL" }, "renameat2" },
  { "no O_TMPFILE (ENOENT)", { tmpfile = "ENOENT" }, "renameat2" },
  -- (AT_EMPTY_PATH is root's on older kernels, else it is renamed)
  { "no /proc", { proc = "ENOENT" } },
  { "no /proc, and AT_EMPTY_PATH not permitted",
    { proc = "ENOENT", empty_path = "ENOENT" }, "renameat2" },
  { "AT_EMPTY_PATH not permitted", { empty_path = "ENOENT" }, "linkat" },
  { "no openat2 (ENOSYS)", { openat2 = "ENOSYS" }, "linkat" },
  { "no openat2 (EPERM)", { openat2 = "EPERM" }, "linkat" },
  { "no openat2, no /proc", { openat2 = "ENOSYS", proc = "ENOENT" } },
  { "no links (EPERM)", { link = "EPERM" }, "renameat2" },
  { "no links (EOPNOTSUPP)", { link = "EOPNOTSUPP" }, "renameat2" },
  { "no renameat2 (ENOSYS)", { rename = "ENOSYS" }, "linkat" },
  { "no RENAME_NOREPLACE (EINVAL)", { rename = "EINVAL" }, "linkat" },
  { "no O_TMPFILE, no renameat2",
    { tmpfile = "EOPNOTSUPP", rename = "ENOSYS" }, "linkat" },
  { "no O_TMPFILE, no RENAME_NOREPLACE",
    { tmpfile = "EISDIR", rename = "EINVAL" }, "linkat" },
  { "no O_TMPFILE, no /proc", { tmpfile = "EOPNOTSUPP", proc = "ENOENT" },
    "renameat2" },
  { "no O_TMPFILE, no links", { tmpfile = "EOPNOTSUPP", link = "EPERM" },
    "renameat2" },
  { "no O_TMPFILE, no /proc, no renameat2",
    { tmpfile = "EOPNOTSUPP", proc = "ENOENT", rename = "ENOSYS" },
    "linkat" },
  { "no /proc, no renameat2, no AT_EMPTY_PATH",
    { proc = "ENOENT", empty_path = "ENOENT", rename = "EINVAL" },
    "linkat" },
}

-- Where nothing publishes.
local dead_ends = {
  { "no O_TMPFILE, no links, no renameat2",
    { tmpfile = "EOPNOTSUPP", link = "EPERM", rename = "ENOSYS" } },
  { "no links, no RENAME_NOREPLACE", { link = "EPERM", rename = "EINVAL" } },
}

local function lack(what)
  for name, errno in pairs(what) do
    lacks[name](errno)
  end
end

for _, way in ipairs(ways) do
  describe("with " .. way[1], function()
    before_each(function()
      lack(way[2])
    end)

    it("the file appears, and no other", function()
      for i = 1, 2 do
        local info = create(i .. ".vhd"):wait()
        assert.equal(64 * MiB, info.size)
      end
      assert.same({ "1.vhd", "2.vhd" }, support.names(dir))
      support.run("qemu-img info -f vpc " .. dir .. "/2.vhd")
      assert.equal(1, test.stat(dir .. "/1.vhd").nlink)
      if way[3] ~= nil then
        assert.equal(2, called(way[3], 0, true))
      end
    end)

    it("the file appears in folders that were missing", function()
      create("new/deep/a.vhd"):wait()
      assert.same({ "a.vhd" }, support.names(dir .. "/new/deep"))
      assert.same({ "new" }, support.names(dir))
    end)

    it("a file that came between is not replaced", function()
      for _, name in ipairs{ "a.vhd", "new/a.vhd" } do
        local held = system:hold{ call = "fsync", kind = "file" }
        local task = create(name)
        assert.is_true(system:await(1))
        support.run("mkdir -p " .. dir .. "/new")
        support.write(dir .. "/" .. name, "mine")
        system:drop(held)
        expect.fails("E_ALREADY_EXISTS", nil, task.wait, task)
        assert.equal("mine", support.read(dir .. "/" .. name))
      end
      assert.same({ "a.vhd", "new" }, support.names(dir))
      assert.same({ "a.vhd" }, support.names(dir .. "/new"))
    end)

    it("a failure of the write leaves nothing", function()
      system:fail{ call = "pwritev", errno = "EIO" }
      expect.unchanged(dir, function()
        expect.late("DISP_E_EXCEPTION", nil, create, "new/a.vhd")
      end)
    end)

    it("mode, time and bytes are those asked for", function()
      local opts = { mode = "0640", timestamp = 1700000000,
        uuid = "3f6c1e2a-0000-4000-8000-0123456789ab" }
      create("a.vhd", opts):wait()
      local st = test.stat(dir .. "/a.vhd")
      assert.equal(416, st.mode)
      assert.equal(1700000000 * 1000000000, st.mtime)
      system:drop()
      create("b.vhd", opts):wait()
      assert.is_true(support.read(dir .. "/a.vhd")
        == support.read(dir .. "/b.vhd"))
    end)
  end)
end

for _, way in ipairs(dead_ends) do
  describe("with " .. way[1], function()
    it("nothing appears: DISP_E_EXCEPTION, reason NO_PUBLISH", function()
      lack(way[2])
      for _, name in ipairs{ "a.vhd", "new/deep/a.vhd" } do
        expect.unchanged(dir, function()
          expect.late("DISP_E_EXCEPTION", "NO_PUBLISH", create, name)
        end)
      end
    end)
  end)
end

describe("while a file is being made", function()
  it("nothing shows in its folder", function()
    system:hold{ call = "fsync", kind = "file" }
    local task = create("new/a.vhd")
    assert.is_true(system:await(1))
    assert.same({}, support.names(dir))
    system:drop()
    task:wait()
  end)

  it("only a hidden name shows where O_TMPFILE is missing", function()
    lack{ tmpfile = "EOPNOTSUPP" }
    system:hold{ call = "fsync", kind = "file" }
    local task = create("new/a.vhd")
    assert.is_true(system:await(1))
    local names = support.names(dir)
    assert.equal(1, #names)
    assert.is_truthy(names[1]:match("^%.%x+%.lvhd%-tmp$"), names[1])
    assert.equal(1 + 16 + 9, #names[1])
    system:drop()
    task:wait()
    assert.same({ "new" }, support.names(dir))
  end)

  it("other people's temporaries are not swept", function()
    local name = ".0123456789abcdef.lvhd-tmp"
    support.write(dir .. "/" .. name, "theirs")
    lack{ tmpfile = "EOPNOTSUPP" }
    create("a.vhd"):wait()
    assert.equal("theirs", support.read(dir .. "/" .. name))
  end)

  it("a hidden name that is taken is another one", function()
    lack{ tmpfile = "EOPNOTSUPP" }
    system:set("seed", 1)
    local probe = system:hold{ call = "fsync", kind = "file" }
    local uuid = "3f6c1e2a-0000-4000-8000-0123456789ab"
    local task = create("a.vhd", { uuid = uuid })
    assert.is_true(system:await(1))
    local name = support.names(dir)[1]
    system:drop(probe)
    task:wait()
    support.write(dir .. "/" .. name, "theirs")
    system:set("seed", 1) -- the same name again
    create("b.vhd", { uuid = uuid }):wait()
    assert.same({ name, "a.vhd", "b.vhd" }, support.names(dir))
    assert.equal("theirs", support.read(dir .. "/" .. name))
  end)
end)

-- ---- durable -------------------------------------------------------------

-- The log in words: "fsync /x", "linkat a.vhd", "mkdirat new", in order.
local function story()
  local list = {}
  for _, e in ipairs(system:log()) do
    if e.result >= 0 then
      local where = e.at and e.at:sub(1, #dir) == dir
        and "." .. e.at:sub(#dir + 1) or e.at
      if e.call == "fsync" or e.call == "syncfs" then
        local unnamed = where:find("(deleted)", 1, true)
          or where:find("lvhd-tmp", 1, true)
        list[#list + 1] = "fsync " .. (unnamed and "file" or where)
      elseif e.call == "linkat" or e.call == "renameat2" then
        list[#list + 1] = "name " .. where .. "/" .. e.to
      elseif e.call == "mkdirat" then
        list[#list + 1] = "folder " .. where .. "/" .. e.path
      elseif e.call == "pwritev" then
        list[#list + 1] = "write"
      end
    end
  end
  return list
end

local function position(list, what)
  local last
  for i, word in ipairs(list) do
    if word == what then
      last = i
    end
  end
  return assert(last, what .. " is not in: " .. table.concat(list, ", "))
end

describe("with sync = 'full'", function()
  it("the file is flushed before it has a name, its folder after", function()
    for _, what in ipairs{ {}, { tmpfile = "EOPNOTSUPP" },
      { tmpfile = "EOPNOTSUPP", rename = "ENOSYS" } } do
      system:drop()
      lack(what)
      system:forget()
      create("a.vhd", { sync = "full" }):wait()
      local list = story()
      assert.is_true(position(list, "write") < position(list, "fsync file"))
      assert.is_true(position(list, "fsync file")
        < position(list, "name ./a.vhd"))
      assert.is_true(position(list, "name ./a.vhd")
        < position(list, "fsync ."))
      os.remove(dir .. "/a.vhd")
    end
  end)

  it("is what an engine does by itself", function()
    create("a.vhd"):wait()
    assert.is_truthy(position(story(), "fsync ."))
  end)

  it("every folder that was made is flushed into its parent", function()
    create("new/deep/a.vhd"):wait()
    local list = story()
    for folder, parent in pairs{ ["./new"] = ".", ["./new/deep"] = "./new" } do
      local made = position(list, "folder " .. folder)
      assert.is_true(position(list, "fsync file") < made)
      assert.is_true(made < position(list, "fsync " .. parent))
    end
    assert.is_true(position(list, "name ./new/deep/a.vhd")
      < position(list, "fsync ./new/deep"))
  end)

  it("the task has not ended before the folder is flushed", function()
    system:hold{ call = "fsync", kind = "folder" }
    local task = create("a.vhd")
    assert.is_true(system:await(1))
    assert.is_false(task:done())
    assert.is_true((task:progress()) < 100)
    system:drop()
    task:wait()
  end)
end)

describe("with sync = 'data'", function()
  it("the file is flushed, and no folder", function()
    create("new/a.vhd", { sync = "data" }):wait()
    local list = story()
    assert.is_true(position(list, "fsync file")
      < position(list, "name ./new/a.vhd"))
    assert.equal(1, system:count("fsync"))
    assert.equal(0, system:count("syncfs"))
  end)
end)

describe("with sync = 'none'", function()
  it("nothing is flushed", function()
    create("new/a.vhd", { sync = "none" }):wait()
    assert.equal(0, system:count("fsync") + system:count("syncfs"))
  end)

  it("may be the engine's, and the call wins", function()
    local own <close> = lvhd.engine{ threads = 1, sync = "none",
      system = system:pointer() }
    own:create_dynamic(dir .. "/a.vhd", 64 * MiB):wait()
    assert.equal(0, system:count("fsync"))
    own:create_dynamic(dir .. "/b.vhd", 64 * MiB, { sync = "full" }):wait()
    assert.equal(2, system:count("fsync"))
  end)
end)

-- ---- folders -------------------------------------------------------------

describe("missing folders", function()
  it("are made at the end, when the file is whole", function()
    create("new/deep/a.vhd"):wait()
    local list = story()
    assert.is_true(position(list, "fsync file")
      < position(list, "folder ./new"))
    assert.is_true(position(list, "folder ./new/deep")
      < position(list, "name ./new/deep/a.vhd"))
  end)

  it("are gone again after a failure, those that were there stay", function()
    support.run("mkdir -p " .. dir .. "/old")
    for _, call in ipairs{ "linkat", "mkdirat" } do
      expect.unchanged(dir, function()
        system:fail{ call = call, errno = "EIO" }
        expect.late("DISP_E_EXCEPTION", nil, create, "old/new/deep/a.vhd")
      end)
    end
    expect.unchanged(dir, function()
      system:fail{ call = "mkdirat", nth = 2, errno = "ENOSPC" }
      expect.late("E_DISK_FULL", nil, create, "old/new/deep/a.vhd")
    end)
    expect.unchanged(dir, function()
      system:fail{ call = "fsync", kind = "folder", nth = 3, errno = "EIO" }
      expect.late("DISP_E_EXCEPTION", nil, create, "old/new/deep/a.vhd")
    end)
  end)

  it("stay after a failure when someone else uses them", function()
    local held = system:hold{ call = "linkat" }
    system:fail{ call = "linkat", errno = "EIO" }
    local task = create("new/deep/a.vhd")
    assert.is_true(system:await(1))
    support.write(dir .. "/new/theirs", "")
    system:drop(held)
    expect.fails("DISP_E_EXCEPTION", nil, task.wait, task)
    assert.same({ "theirs" }, support.names(dir .. "/new"))
  end)

  it("are not made through a link that came between", function()
    local other = support.tmpdir()
    local held = system:hold{ call = "fsync", kind = "file" }
    local task = create("new/a.vhd")
    assert.is_true(system:await(1))
    assert(test.symlink(other, dir .. "/new"))
    system:drop(held)
    expect.try(task.wait, task)
    -- where the path leads now, or refused; never half
    local got = support.names(other)
    assert.is_true(#got == 0 or got[1] == "a.vhd")
    assert.same({ "new" }, support.names(dir))
  end)

  it("ignore the mode of the file, and honour the umask", function()
    local old = test.umask(18)
    create("new/a.vhd", { mode = "0600" }):wait()
    test.umask(old)
    assert.equal(493, test.stat(dir .. "/new").mode)
    assert.equal(384, test.stat(dir .. "/new/a.vhd").mode)
  end)

  -- The folder is taken away n times just before the file gets its name. Each
  -- time the name is tried in two ways, by the descriptor and through /proc.
  local function taken_away(n)
    local gate = { call = "linkat" }
    local held = system:hold(gate)
    local task = create("new/deep/a.vhd", { sync = "none" })
    local function next_try()
      assert.is_true(system:await(1))
      local following = system:hold(gate)
      system:drop(held)
      held = following
    end
    for _ = 1, n do
      assert.is_true(system:await(1))
      support.run("rmdir " .. dir .. "/new/deep " .. dir .. "/new")
      next_try()
      next_try()
    end
    system:drop()
    return task
  end

  it("that vanish are made again, up to three times", function()
    local task = taken_away(3)
    assert.equal(dir .. "/new/deep/a.vhd", task:wait().path)
  end)

  it("that vanish a fourth time are E_PATH_NOT_FOUND", function()
    local task = taken_away(4)
    expect.fails("E_PATH_NOT_FOUND", nil, task.wait, task)
    assert.same({}, support.names(dir))
  end)

  it("that vanish are made again in the folder that was there", function()
    assert(test.mkdir(dir .. "/old"))
    local held = system:hold{ call = "fsync", kind = "file" }
    local task = create("old/a.vhd")
    assert.is_true(system:await(1))
    assert(os.remove(dir .. "/old"))
    system:drop(held)
    assert.equal(dir .. "/old/a.vhd", task:wait().path)
  end)

  it("that vanish before the file is begun are made again", function()
    for _, what in ipairs{ {}, { tmpfile = "EOPNOTSUPP" } } do
      system:drop()
      lack(what)
      assert(test.mkdir(dir .. "/old"))
      local flags = what.tmpfile and test.O_CREAT or test.O_TMPFILE
      local held = system:hold{ call = "openat", flags = flags }
      local task = create("old/new/a.vhd", { preflight = false })
      assert.is_true(system:await(1))
      assert(os.remove(dir .. "/old"))
      system:drop(held)
      assert.equal(dir .. "/old/new/a.vhd", task:wait().path)
      assert.same({ "a.vhd" }, support.names(dir .. "/old/new"))
      support.run("rm -r " .. dir .. "/old")
    end
  end)

  it("that vanish while the call looks are no failure of the call",
    function()
      -- the call itself cannot be held: a copy of the process takes it away
      assert(test.mkdir(dir .. "/old"))
      local status, text = test.fork(function()
        local own = lvhd.engine{ threads = 1, sync = "none" }
        local done = dir .. "/done"
        local pid = test.spawn(function()
          while not test.stat(done) do
            os.remove(dir .. "/old/deep")
            os.remove(dir .. "/old")
            test.mkdir(dir .. "/old")
            test.mkdir(dir .. "/old/deep")
          end
        end)
        local lost, fds = {}, test.fds()
        for i = 1, 200 do -- other sizes: the volume is asked each time
          local ok, err = expect.try(own.create_dynamic, own,
            dir .. "/old/deep/" .. i .. "/a.vhd", (3 + i) * MiB)
          if not ok and err.name ~= "E_PATH_NOT_FOUND" then
            lost[#lost + 1] = tostring(err)
          end
          support.run("rm -rf " .. dir .. "/old/deep/" .. i)
        end
        support.write(done, "")
        test.wait(pid)
        if test.fds() ~= fds then
          lost[#lost + 1] = "descriptors: " .. test.fds() - fds
        end
        return table.concat(lost, "\n")
      end)
      assert.equal(0, status, text)
      assert.equal("", text)
    end)
end)

-- ---- many at once ----------------------------------------------------------

describe("32 creators in a folder that does not exist yet", function()
  it("succeed but for those that fail", function()
    local broken = test.system()
    local good <close> = lvhd.engine{ threads = 4, sync = "none" }
    local bad <close> = lvhd.engine{ threads = 4, sync = "none",
      system = broken:pointer() }
    for round = 1, 10 do
      local tasks, want = {}, {}
      local folder = dir .. "/" .. round .. "/deep/er"
      broken:drop()
      broken:fail{ call = round % 2 == 0 and "linkat" or "mkdirat",
        errno = "EIO", times = 0, nth = round % 2 == 0 and 1 or 2 }
      for i = 1, 16 do
        want[i] = ("%02d.vhd"):format(i)
        tasks[#tasks + 1] = { good:create_dynamic(folder .. "/" .. want[i],
          64 * MiB), true }
        tasks[#tasks + 1] = { bad:create_dynamic(folder .. "/x" .. i,
          64 * MiB), false }
      end
      for _, pair in ipairs(tasks) do
        local ok, err = pcall(pair[1].wait, pair[1])
        if pair[2] then
          assert.is_true(ok, tostring(err))
        elseif not ok then
          assert.equal("DISP_E_EXCEPTION", err.name)
        end
      end
      local got = {}
      for _, name in ipairs(support.names(folder)) do
        if name:find("%.vhd$") then
          got[#got + 1] = name
        end
      end
      assert.same(want, got)
    end
  end)
end)

-- ---- cancel ----------------------------------------------------------------

describe("a cancelled creation", function()
  it("that was queued is E_ABORT, and leaves nothing", function()
    system:hold{ call = "fsync", kind = "file" }
    local first = create("a.vhd")
    assert.is_true(system:await(1))
    local second = create("new/b.vhd")
    assert.equal("queued", second:status())
    assert.is_true(second:cancel())
    system:drop()
    first:wait()
    expect.fails("E_ABORT", nil, second.wait, second)
    assert.equal("cancelled", second:status())
    assert.same({ "a.vhd" }, support.names(dir))
  end)

  it("that writes zeros is E_ABORT, and leaves nothing", function()
    for _, what in ipairs{ {}, { tmpfile = "EOPNOTSUPP" } } do
      system:drop()
      lack(what)
      local held = system:hold{ call = "pwritev", nth = 3 }
      local task = engine:create_fixed(dir .. "/new/z.vhd", 64 * MiB,
        { allocate = "zero" })
      assert.is_true(system:await(1))
      assert.equal("running", task:status())
      assert.is_true(task:cancel())
      assert.is_true(task:cancel())
      system:forget()
      system:drop(held)
      expect.fails("E_ABORT", nil, task.wait, task)
      assert.equal("cancelled", task:status())
      -- it stopped at once: at most one more batch
      assert.is_true(system:count("pwritev") <= 2)
      assert.same({}, support.names(dir))
    end
  end)

  it("that writes zeros, for real, stops soon", function()
    local own <close> = lvhd.engine{ threads = 1, sync = "none" }
    local task = own:create_fixed(dir .. "/z.vhd", 512 * MiB,
      { allocate = "zero" })
    while task:progress() == 0 and not task:done() do
      test.sleep(0.001)
    end
    local won = task:cancel()
    local ok, err = pcall(task.wait, task)
    assert.equal(won, not ok)
    if won then
      assert.equal("E_ABORT", err.name)
      assert.same({}, support.names(dir))
    end
  end)

  it("after the point of no return is too late: false", function()
    system:hold{ call = "fsync", kind = "folder" }
    local task = create("a.vhd")
    assert.is_true(system:await(1))
    assert.is_false(task:cancel())
    system:drop()
    assert.equal(dir .. "/a.vhd", task:wait().path)
    assert.equal("succeeded", task:status())
    assert.is_false(task:cancel())
  end)

  it("just before the point of no return has no name yet", function()
    system:hold{ call = "fsync", kind = "file" }
    local task = create("new/a.vhd")
    assert.is_true(system:await(1))
    assert.is_true(task:cancel())
    system:drop()
    expect.fails("E_ABORT", nil, task.wait, task)
    assert.same({}, support.names(dir))
  end)
end)
