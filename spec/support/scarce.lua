-- SPDX-License-Identifier: MIT
--
-- What a program may ask of lvhd, as scenarios for a state whose memory runs
-- out (spec/c/host_alloc.c): each is run again and again, with a little more
-- memory each time.  Whatever a scenario makes in the folder it takes away.
-- What an act assigns has a place before, so that it costs no memory.
-- Knows the public API and lvhd.core.

local folder = ...

-- Of the host: gate() shuts or opens it, and gives the system of an engine that
-- has it; unread() is how many unread errors went to warn() meanwhile.
-- luacheck: globals gate unread
local gate, unread = gate, unread

local MiB <const> = 1 << 20
local UUID <const> = "41414141-4242-4343-4444-454545454545"

local function at(name)
  return folder .. "/" .. name
end

local function there(name)
  local file = io.open(at(name), "rb")
  if file then
    file:close()
  end
  return file ~= nil
end

local function no_memory(err)
  return err == "not enough memory"
    or type(err) == "table" and err.name == "E_OUTOFMEMORY"
end

-- Runs what is expected to fail and gives its error; memory errors go on.
local function caught(fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then
    error("it did not fail", 0)
  elseif no_memory(err) then
    error(err, 0)
  end
  return err
end

-- ---- the folder -----------------------------------------------------------

local function fill(engine, name, byte, block)
  local disk <close> = engine:open(at(name), { write = true, force = true })
  disk:write(block << 19, byte:rep(4096))
end

local function build()
  local lvhd = require "lvhd"
  local engine <close> = lvhd.engine { sync = "none" }
  local small = { block_size = 512 << 10 }
  engine:create_dynamic(at("base.vhd"), "4 MiB", small):wait()
  fill(engine, "base.vhd", "b", 1)
  engine:create_differencing(at("leaf.vhd"), at("base.vhd")):wait()
  fill(engine, "leaf.vhd", "l", 2)
  engine:create_differencing(at("twig.vhd"), at("leaf.vhd")):wait()
  engine:create_fixed(at("fixed.vhd"), "3 MiB"):wait()
  engine:create_dynamic(at("solo.vhd"), "4 MiB", small):wait()
  fill(engine, "solo.vhd", "s", 1)
  engine:create_differencing(at("other/away.vhd"), at("solo.vhd")):wait()
  engine:create_dynamic(at("pen.vhd"), "4 MiB", small):wait()
  fill(engine, "pen.vhd", "p", 0)
  engine:create_dynamic(at("large.vhd"), "6 MiB"):wait()
end

-- ---- what scenarios share -------------------------------------------------

local scenarios = {}

local function scenario(s)
  scenarios[#scenarios + 1] = s
end

-- With an engine, and a place for what comes.
local function with(opts)
  local lvhd = require "lvhd"
  opts = opts or {}
  opts.sync = "none"
  opts.threads = opts.threads or 1
  return { lvhd = lvhd, e = lvhd.engine(opts), task = false, result = false,
    text = false, disk = false, n = 0 }
end

-- How many tasks there are of an engine, ended ones too.
local function tasks_of(engine)
  return (select(2, require "lvhd.core".engine_counts(engine)))
end

-- Handles that nobody has are collected; a worker may be a little behind.
local function forgets(engine)
  for _ = 1, 100000 do
    collectgarbage()
    if tasks_of(engine) == 0 then
      return true
    end
  end
  return false
end

local function until_idle(engine)
  local core = require "lvhd.core"
  while not core.engine_idle(engine, 250) do end -- luacheck: ignore
end

-- ---- loading --------------------------------------------------------------

scenario {
  name = "require",
  sources = true, step = 97,
  act = function()
    assert(require "lvhd".version)
  end,
  after = function()
    assert(require "lvhd".info(at("base.vhd")).size == 4 * MiB)
  end,
}

scenario {
  name = "require, compiled", step = 7,
  act = function()
    assert(require "lvhd".version)
    assert(require "lvhd.virtualserver")
  end,
  after = function()
    local lvhd = require "lvhd"
    local e <close> = lvhd.engine()
    e:check(at("base.vhd"))
    until_idle(e)
    assert(forgets(e), "handles are kept")
  end,
}

-- ---- engines --------------------------------------------------------------

scenario {
  name = "engine", each = true,
  before = function()
    return { lvhd = require "lvhd", text = false }
  end,
  act = function(s)
    local e <close> = s.lvhd.engine { threads = 2, sync = "full",
      drives = { C = folder, ["\\\\nas\\x"] = "/" }, base = folder,
      parents = { folder, "/golden" }, children_in = folder, max_depth = 3,
      long_paths = true, names = "host", preflight = false,
      poll = function() end }
    s.text = tostring(e)
    e:close { cancel = true }
  end,
  after = function(s)
    assert(s.text:find("^lvhd.engine: 0 threads"))
    local e <close> = s.lvhd.engine()
    e:check(at("base.vhd"))
    until_idle(e)
    assert(forgets(e), "handles are kept")
  end,
}

scenario {
  name = "default engine",
  before = function()
    return { lvhd = require "lvhd", result = false }
  end,
  act = function(s)
    s.result = s.lvhd.info(at("leaf.vhd"))
    s.text = caught(s.lvhd.default_engine, {})
  end,
  after = function(s)
    assert(s.result.parent.locators[1].code == "W2ru")
    assert(s.text:find("already"))
  end,
}

-- ---- verbs ----------------------------------------------------------------

local verbs = {
  { "create_fixed", function(e)
    return e:create_fixed(at("new.vhd"), "3 MiB", { uuid = UUID,
      timestamp = 1700000000, mode = "0640", allocate = "zero" })
  end, makes = { "new.vhd" } },
  { "create_dynamic", function(e)
    return e:create_dynamic("deep/new.vhd", 4 * MiB, { block_size = 512 << 10,
      base = folder, filesystem = "fat16", label = "x", sync = "full" })
  end, makes = { "deep/new.vhd", "deep" } },
  { "create_differencing", function(e)
    return e:create_differencing(at("new.vhd"), "base.vhd", { uuid = UUID,
      windows_parent = "D:\\base.vhd", names = "host", long_paths = true,
      if_exists = "keep" })
  end, makes = { "new.vhd" } },
  { "create_children", function(e)
    return e:create_children({ "n1.vhd", { image = "n2.vhd", uuid = UUID } },
      at("base.vhd"), { mode = "0600", timestamp = 1700000000 })
  end, makes = { "n1.vhd", "n2.vhd" }, list = 2 },
  { "convert", function(e)
    return e:convert(at("twig.vhd"), "new.raw", { to = "raw",
      parents = folder, round = "1 MiB" })
  end, makes = { "new.raw" } },
  { "convert to a child", function(e)
    return e:convert(at("leaf.vhd"), at("new.vhd"), { to = "differencing",
      parent = at("base.vhd"), parents = { folder } })
  end, makes = { "new.vhd" } },
  { "merge", function(e)
    return e:merge(at("twig.vhd"), { children_in = { folder },
      children = {}, into = at("leaf.vhd") })
  end },
  { "compact", function(e)
    return e:compact(at("pen.vhd"), { force = true })
  end },
  { "resize", function(e)
    return e:resize(at("pen.vhd"), "4 MiB", { children_in = false })
  end },
  { "relink", function(e)
    return e:relink(at("leaf.vhd"), at("base.vhd"),
      { windows_parent = "D:\\base.vhd", max_depth = 9 })
  end },
  { "repair", function(e)
    return e:repair(at("pen.vhd"), { sync = "data" })
  end },
  { "check", function(e)
    return e:check(at("twig.vhd"), { chain = true, data = true,
      profile = "azure", parents = { folder } })
  end, list = 3 },
  { "find", function(e)
    return e:find { folder }
  end, list = 8 },
  { "children", function(e)
    return e:children(at("base.vhd"), folder)
  end, list = 1 },
}

local function remove(names)
  for _, name in ipairs(names or {}) do
    os.remove(at(name))
  end
end

-- A call that raises has started nothing.
for _, verb in ipairs(verbs) do
  local start = verb[2]
  scenario {
    name = "call " .. verb[1],
    before = with,
    act = function(s)
      s.task = start(s.e)
    end,
    mend = function(s)
      until_idle(s.e)
      assert(tasks_of(s.e) == 0, "a task was started and lost")
      for _, name in ipairs(verb.makes or {}) do
        assert(not there(name), "a file is left")
      end
    end,
    after = function(s)
      s.task:wait()
      remove(verb.makes)
    end,
  }
end

-- Its result, as often as it is asked for.
for _, verb in ipairs(verbs) do
  scenario {
    name = "wait for " .. verb[1],
    before = function()
      local s = with()
      s.task = verb[2](s.e)
      until_idle(s.e)
      return s
    end,
    act = function(s)
      s.result = s.task:wait()
    end,
    after = function(s)
      local first = verb.list and s.result[1] or s.result
      assert(not verb.list or #s.result == verb.list)
      assert(first.path:find(folder, 1, true) == 1 and first.size > 0)
      assert(first.findings and s.result == s.task:wait())
      remove(verb.makes)
    end,
  }
end

-- ---- tasks ----------------------------------------------------------------

scenario {
  name = "methods of a task",
  before = function()
    local s = with { system = gate(true), preflight = false }
    s.task = s.e:create_dynamic(at("new.vhd"), "4 MiB")
    return s
  end,
  act = function(s)
    local task = s.task
    gate(true)
    s.text = tostring(task)
    assert(not task:done() and task:status() ~= "succeeded")
    assert(select("#", task:progress()) == 5 and task:elapsed() >= 0)
    assert(task:error() == nil and task:fd() == task:pollfd())
    local none, err = task:wait(0)
    assert(none == nil and err.name == "VM_E_TIMED_OUT")
    gate(false)
    s.result = task:wait()
    assert(not task:cancel() and task:status() == "succeeded")
  end,
  mend = function(s)
    gate(false)
    s.task:wait()
    os.remove(at("new.vhd"))
    gate(true)
    s.task = s.e:create_dynamic(at("new.vhd"), "4 MiB")
  end,
  after = function(s)
    assert(s.text:find("lvhd.task: create_dynamic '.*new.vhd' %("))
    os.remove(at("new.vhd"))
  end,
}

scenario {
  name = "a task that fails",
  before = function()
    local s = with { preflight = false }
    s.task = s.e:create_differencing(at("new.vhd"), at("none.vhd"))
    until_idle(s.e)
    return s
  end,
  act = function(s)
    local err = caught(s.task.wait, s.task)
    s.text = tostring(err) .. " " .. err
    assert(s.lvhd.is_error(err, "E_PATH_NOT_FOUND"))
    assert(s.task:error().reason == "FILE_MISSING")
  end,
  after = function(s)
    assert(s.text:find("E_PATH_NOT_FOUND.*E_PATH_NOT_FOUND"))
  end,
}

-- Who met a memory error instead of the task's has not read it.
scenario {
  name = "an unread error", each = true,
  before = function()
    local s = with { preflight = false }
    s.task = s.e:create_differencing(at("new.vhd"), at("none.vhd"))
    until_idle(s.e)
    s.read = false
    return s
  end,
  act = function(s)
    if s.task then
      caught(s.task.wait, s.task)
      s.read = true
    end
  end,
  mend = function(s)
    s.task = false
    collectgarbage()
    s.n = unread()
  end,
  after = function(s)
    assert(s.read or s.n == 1, s.n .. " warnings")
  end,
}

scenario {
  name = "items that fail",
  before = function()
    local s = with()
    s.task = s.e:create_children({ "base.vhd", "a?.vhd", "n1.vhd" },
      at("base.vhd"))
    until_idle(s.e)
    return s
  end,
  act = function(s)
    s.result = caught(s.task.wait, s.task)
  end,
  after = function(s)
    local items = s.result.items
    assert(items[1].name == "E_ALREADY_EXISTS")
    assert(items[2].name == "E_INVALID_NAME" and items[3].path)
    os.remove(at("n1.vhd"))
  end,
}

-- A list that is made in pieces, between which a loop has its turn.
scenario {
  name = "many items", step = 9,
  before = function()
    local s = with { poll = coroutine.yield }
    local images = {}
    for i = 1, 101 do
      images[i] = "a?.vhd"
    end
    s.task = s.e:create_children(images, at("base.vhd"))
    until_idle(s.e)
    s.wait = function()
      s.result = caught(s.task.wait, s.task)
    end
    return s
  end,
  act = function(s)
    local thread = coroutine.create(s.wait)
    repeat
      local ok, err = coroutine.resume(thread)
      if not ok then
        coroutine.close(thread)
        error(err, 0)
      end
    until coroutine.status(thread) == "dead"
  end,
  after = function(s)
    assert(#s.result.items == 101)
    assert(s.result.items[101].name == "E_INVALID_NAME")
  end,
}

scenario {
  name = "<close> of a task",
  before = function()
    return with { system = gate(true), preflight = false }
  end,
  act = function(s)
    gate(true)
    do
      local task <close> = s.e:create_dynamic(at("new.vhd"), "4 MiB")
      s.n = s.n + (task:done() and 1 or 0)
      gate(false)
    end
  end,
  mend = function(s)
    gate(false)
    until_idle(s.e)
    os.remove(at("new.vhd")) -- memory may be out before it can be cancelled
  end,
  after = function(s)
    assert(s.n == 0)
    os.remove(at("new.vhd")) -- or it was too late
  end,
}

scenario {
  name = "poll",
  before = function()
    return with { poll = function() end }
  end,
  act = function(s)
    local task = s.e:check(at("base.vhd"))
    s.result = task:wait(60)
    local other <close> = s.e:check(at("fixed.vhd"))
    other:wait()
    s.e:close()
  end,
  mend = function(s)
    until_idle(s.e)
    s.e = with { poll = function() end }.e
  end,
  after = function(s)
    assert(s.result[1].size == 4 * MiB)
  end,
}

-- ---- what has ended -------------------------------------------------------

local function ended_scenario(name, drop)
  scenario {
    name = name,
    before = function()
      local s = with { system = gate(true) }
      s.seen, s.tasks = {}, {}
      for i = 1, 3 do
        s.tasks[i] = s.e:check(at("base.vhd"))
        s.seen[i] = false
      end
      if drop then
        s.tasks = {}
        collectgarbage()
        collectgarbage()
      end
      return s
    end,
    act = function(s)
      assert(s.e:fd() == s.e:getfd())
      gate(false)
      for task in s.e:ended() do
        s.n = s.n + 1
        s.seen[s.n] = task
      end
    end,
    after = function(s)
      assert(s.n == 3, s.n .. " tasks were handed out")
      for i, task in ipairs(s.seen) do
        assert(drop or task == s.tasks[i], "another handle")
        assert(task:wait()[1].size == 4 * MiB)
      end
      s.seen, s.tasks = nil, nil
      assert(forgets(s.e), "handles are kept")
    end,
  }
end

ended_scenario("ended", false)
ended_scenario("ended, whose handles are gone", true)

-- ---- disks ----------------------------------------------------------------

scenario {
  name = "reading a disk",
  before = with,
  act = function(s)
    local disk = s.e:open(at("twig.vhd"), { parents = { folder } })
    s.disk = disk
    s.text = tostring(disk)
    s.result = disk:read(2 << 19, 64 << 10)
    s.n = 0
    for _, length in disk:extents() do
      s.n = s.n + length
    end
    assert(disk:info().path == disk:chain()[1].path)
    assert(disk:size() == 4 * MiB)
    disk:close()
    local given <close> = s.e:open { at("leaf.vhd"), at("base.vhd") }
    assert(given:read(1 << 19, 4) == "bbbb")
  end,
  after = function(s)
    assert(s.text:find("^lvhd.disk: '.*twig.vhd'"))
    assert(#s.result == 64 << 10 and s.n == 4 * MiB)
    assert(s.result:sub(1, 4) == "llll")
  end,
}

scenario {
  name = "reading much", step = 3, buffers = true,
  before = with,
  act = function(s)
    local disk <close> = s.e:open(at("large.vhd"))
    s.result = disk:read(0, 6 * MiB)
  end,
  after = function(s)
    assert(#s.result == 6 * MiB)
  end,
}

-- The file is free for the next call, whatever became of the handle.
scenario {
  name = "writing a disk", buffers = true,
  before = with,
  act = function(s)
    local disk = s.e:open(at("pen.vhd"), { write = true })
    disk:write(100, "hello"):write(3 << 19, ("w"):rep(5000)):flush()
    disk:close()
  end,
  after = function(s)
    local disk <close> = s.e:open(at("pen.vhd"))
    assert(disk:read(100, 5) == "hello" and disk:read(3 << 19, 2) == "ww")
  end,
}

scenario {
  name = "changing what a lost disk holds", each = true,
  before = with,
  act = function(s)
    local disk = s.e:open(at("pen.vhd"), { write = true })
    disk:write(0, "x")
  end,
  after = function(s)
    s.e:compact(at("pen.vhd")):wait()
  end,
}

scenario {
  name = "<close> of a disk",
  before = with,
  act = function(s)
    local disk <close> = s.e:open(at("pen.vhd"), { write = true })
    disk:write(700, "close")
  end,
  after = function(s)
    local disk <close> = s.e:open(at("pen.vhd"))
    assert(disk:read(700, 5) == "close")
  end,
}

-- The volume is full when it is closed: the error may be out of reach, the file
-- is free.
scenario {
  name = "a close that fails", each = true,
  before = function()
    return with { system = gate(false) }
  end,
  act = function(s)
    local disk = s.e:open(at("pen.vhd"), { write = true, sync = "full" })
    disk:write(0, "full")
    gate(false, true)
    local err = caught(disk.close, disk)
    gate(false, false)
    s.disk, s.text = disk, tostring(err)
  end,
  mend = function()
    gate(false, false)
  end,
  after = function(s)
    assert(s.text:find("E_DISK_FULL"), s.text)
    local disk <close> = s.e:open(at("pen.vhd"), { write = true })
    assert(disk:size() and tostring(s.disk):find("closed"))
  end,
}

-- ---- errors ---------------------------------------------------------------

local failures = {
  { "a name", "E_INVALID_NAME", function(e)
    e:create_dynamic(at("a?b.vhd"), "4 MiB")
  end },
  { "an identifier", "E_INVALIDARG", function(e)
    e:create_dynamic(at("new.vhd"), "4 MiB", { uuid = "zz" })
  end },
  { "a size", "VM_E_IMAGE_SIZE_TOO_SMALL", function(e)
    e:create_dynamic(at("new.vhd"), 1 << 20)
  end },
  { "a text as size", "E_INVALIDARG", function(e)
    e:create_dynamic(at("new.vhd"), "4 furlongs")
  end },
  { "nil", "E_POINTER", function(e)
    e:create_differencing(at("new.vhd"), nil)
  end },
  { "a name with NUL", "E_INVALID_NAME", function(e)
    e:info("a\0b")
  end },
  { "a parent outside", "E_ACCESSDENIED", function(e)
    e:open(at("other/away.vhd"))
  end },
  { "other children", "E_SHARING_VIOLATION", function(e)
    e:open(at("base.vhd"), { write = true })
  end },
  { "no disk", "VM_E_INVALID_HD_FILE", function(e)
    e:info(folder .. "/.")
  end },
  { "a closed disk", "E_HANDLE", function(e)
    local disk = e:open(at("pen.vhd"))
    disk:close()
    disk:read(0, 1)
  end },
  { "no drive", "E_BAD_PATHNAME", function(e)
    e:host_path("C:\\x")
  end },
  { "an engine's base", "E_BAD_PATHNAME", function()
    require "lvhd".engine { base = "relative" }
  end },
  { "a closed engine", "VM_E_APP_SHUTTING_DOWN", function()
    local own = require "lvhd".engine()
    own:close()
    own:check(at("base.vhd"))
  end },
}

for _, failure in ipairs(failures) do
  scenario {
    name = "error: " .. failure[1],
    before = with,
    act = function(s)
      local err = caught(failure[3], s.e)
      s.text = tostring(err) .. "."
      s.result = err
    end,
    after = function(s)
      assert(s.result.name == failure[2], s.text)
      assert(s.text:find(failure[2], 1, true))
    end,
  }
end

local misuses = {
  function(s) s.e:create_dynamic(1, 2) end,
  function(s) s.e:create_dynamic("/x", "4 MiB", { synk = "none" }) end,
  function(s) s.e:create_dynamic("/x", "4 MiB", { sync = "never" }) end,
  function(s) s.e.create_dynamic("/x", "4 MiB") end,
  function(s) s.e:create_children { 7 } end,
  function(s) s.e:ended("x") end,
  function(s) s.e:find(7) end,
  function(s) s.lvhd.default_engine():fd() end,
}

scenario {
  name = "misuse",
  before = with,
  act = function(s)
    for i, misuse in ipairs(misuses) do
      local text = caught(misuse, s)
      s.n = i
      assert(type(text) == "string" and text:find("scarce.lua:"), text)
    end
  end,
  after = function(s)
    assert(s.n == #misuses)
  end,
}

-- ---- Windows paths --------------------------------------------------------

scenario {
  name = "drives",
  before = function()
    return with { drives = { C = folder } }
  end,
  act = function(s)
    s.text = s.e:host_path("C:\\BASE.vhd")
    s.result = s.e:windows_path(at("leaf.vhd"))
    s.task = s.e:info("c:\\Leaf.VHD")
    assert(s.e:windows_path("/") == nil)
  end,
  after = function(s)
    assert(s.text == at("base.vhd") and s.result == "C:\\leaf.vhd")
    assert(s.task.path == at("leaf.vhd"))
  end,
}

-- ---- the documented names -------------------------------------------------

local function server(opts)
  local luacom = require "lvhd.virtualserver".with(opts or {})
  return { luacom = luacom, e = luacom.engine, task = false, result = false,
    text = false, disk = false, n = 0,
    vs = luacom.CreateObject("VirtualServer.Application") }
end

scenario {
  name = "virtualserver",
  before = function()
    return { vs = require "lvhd.virtualserver", result = false, luacom = false }
  end,
  act = function(s)
    local luacom <close> = s.vs.with { sync = "none", drives = { C = folder } }
    local vs = luacom.CreateObject("VirtualServer.Application")
    s.result = vs.Name .. vs.UpTime .. vs.Version .. tostring(vs)
    assert(luacom.isMember(vs, "getName") or luacom.isMember(vs, "Name"))
    luacom.ExportConstants(vs, {})
    s.luacom = select(2, luacom.CreateObject("No.Thing"))
  end,
  after = function(s)
    assert(s.result:find("^lvhd0"), s.result)
  end,
}

-- The same as of the verbs: what raises has started nothing.
local members = {
  { "CreateDynamicVirtualHardDisk", function(s)
    return s.vs:CreateDynamicVirtualHardDisk(at("new.vhd"), 4)
  end },
  { "CreateFixedVirtualHardDisk", function(s)
    return s.vs:CreateFixedVirtualHardDisk(at("new.vhd"), 4)
  end },
  { "CreateDifferencingVirtualHardDisk", function(s)
    return s.vs:CreateDifferencingVirtualHardDisk(at("new.vhd"),
      at("base.vhd"))
  end },
  { "Convert", function(s)
    return s.vs:GetHardDisk(at("pen.vhd")):Convert(at("new.vhd"), 1)
  end },
  { "MergeTo", function(s)
    return s.vs:GetHardDisk(at("leaf.vhd")):MergeTo(at("new.vhd"), 0)
  end },
  { "Compact", function(s)
    return s.vs:GetHardDisk(at("pen.vhd")):Compact()
  end },
}

for _, member in ipairs(members) do
  scenario {
    name = "virtualserver: " .. member[1],
    each = member[1] == "CreateDynamicVirtualHardDisk",
    before = server,
    act = function(s)
      s.task = member[2](s)
    end,
    mend = function(s)
      until_idle(s.e)
      assert(tasks_of(s.e) == 0, "a task was started and lost")
      assert(not there("new.vhd"), "a file is left")
    end,
    after = function(s)
      s.task:WaitForCompletion(-1)
      assert(s.task.Error == 0, s.task.ErrorDescription)
      os.remove(at("new.vhd"))
    end,
  }
end

scenario {
  name = "virtualserver: a task",
  before = function()
    local s = server()
    s.task = s.vs:CreateDynamicVirtualHardDisk(at("new.vhd"), 4)
    s.failed = s.vs:CreateDifferencingVirtualHardDisk(at("n1.vhd"),
      at("base.vhd"))
    s.task:WaitForCompletion(-1)
    return s
  end,
  act = function(s)
    s.task:WaitForCompletion(60000)
    assert(s.task.IsComplete and not s.task.IsCancelable)
    assert(s.task.PercentCompleted == 100 and s.task.Result == 0)
    s.text = s.task.Description .. s.task.ErrorDescription .. s.task.ID
    local tasks = s.vs.Tasks
    for i = 1, tasks.Count do
      s.result = tasks(i) and tasks:Item(i).Description
    end
    for _ in s.luacom.pairs(tasks) do
      s.n = s.n + 1
    end
    caught(s.task.Cancel, s.task)
  end,
  after = function(s)
    s.failed:WaitForCompletion(-1)
    assert(s.text:find("^Creating the dynamic"))
    os.remove(at("new.vhd"))
    os.remove(at("n1.vhd"))
  end,
}

scenario {
  name = "virtualserver: a disk",
  before = function()
    return server { drives = { C = folder } }
  end,
  act = function(s)
    local leaf = s.vs:GetHardDisk("C:\\leaf.vhd")
    s.text = leaf.File .. leaf.Type .. leaf.SizeInGuest
    s.result = leaf.Parent.File
    leaf.Parent = s.vs:GetHardDisk(at("base.vhd"))
    assert(leaf.SizeOnHost > 0 and leaf.HostFreeDiskSpace > 0)
    assert(leaf.HostDriveIdentifier == nil)
    s.vs.SearchPaths = { folder }
    s.n = #s.vs:GetHardDiskFiles()
    assert(#s.vs.SearchPaths == 1)
  end,
  after = function(s)
    assert(s.text:find("^C:\\leaf.vhd") and s.result == "C:\\base.vhd")
    assert(s.n == 8, s.n)
  end,
}

scenario {
  name = "virtualserver: errors",
  before = server,
  act = function(s)
    local err = caught(s.vs.CreateDynamicVirtualHardDisk, s.vs,
      at("base.vhd"), 4)
    s.text = tostring(err)
    s.luacom.config.abort_on_error = false
    assert(s.vs:GetHardDisk(at("none.vhd")) == nil)
    s.luacom.config.abort_on_error = true
    s.result = s.luacom.config.last_error
    assert(not s.result:find("E_OUTOFMEMORY"), { name = "E_OUTOFMEMORY" })
  end,
  mend = function(s)
    s.luacom.config.abort_on_error = true
  end,
  after = function(s)
    assert(s.text:find("E_ALREADY_EXISTS") and s.result:find("GetHardDisk"))
  end,
}

-- ---- the collector, and the end of a state --------------------------------

-- Of everything something, none of it waited for, read or closed.
local function litter()
  local s = with { system = gate(true), preflight = false }
  local quick = s.lvhd.engine { sync = "none", preflight = false,
    poll = function() end }
  local function drop(task)
    s[#s + 1] = task
  end
  drop(s.e:check(at("base.vhd")))
  drop(s.e:check(at("none.vhd"))) -- fails when nobody can ask
  drop(quick:check(at("base.vhd")))
  drop(quick:check(at("none.vhd"))) -- has failed
  s[1]:fd()
  s[3]:wait()
  until_idle(quick)
  s.e:ended(0)()
  drop(quick:open(at("twig.vhd")))
  local disk = quick:open(at("pen.vhd"), { write = true })
  disk:write(0, "unflushed")
  drop(disk)
  drop(s.lvhd.engine())
  return s, quick
end

scenario {
  name = "collecting", unread = 2,
  before = function()
    local s = litter()
    s.e, s.other = false, s.lvhd.engine()
    return s
  end,
  act = function(s)
    for i = 1, 7 do
      s[i] = false
    end
    collectgarbage()
    gate(false)
    collectgarbage()
    s.other:info(at("base.vhd")) -- sweeps
  end,
  mend = function()
    gate(false)
  end,
}

scenario {
  name = "the end of a state", closing = true, unread = 2,
  before = function()
    local s = litter()
    gate(false)
    return s
  end,
}

scenario {
  name = "the end of a state, collected before", closing = true, unread = 2,
  before = function()
    litter()
    collectgarbage()
    gate(false)
    return {}
  end,
}

return { build = build, scenarios = scenarios }
