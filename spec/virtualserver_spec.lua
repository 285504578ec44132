-- SPDX-License-Identifier: MIT
--
-- lvhd.virtualserver beside its codes (virtualserver_codes_spec.lua): the
-- manners of LuaCOM, and each choice that the head of lvhd/virtualserver.lua
-- makes where the documents leave one.

local lvhd = require "lvhd"
local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local life = require "spec.support.life"
local support = require "spec.support"
local test = require "lvhdtest"
local virtualserver = require "lvhd.virtualserver"
local vsworld = require "spec.support.vsworld"

local MiB <const> = 1 << 20

local worlds = {}

-- A world of paths of Windows; closed after the test.
local function new(opts, progid, kind)
  local w = vsworld.new(kind or "windows", opts, progid)
  worlds[#worlds + 1] = w
  return w, w.vs, w.luacom
end

-- The same, with a system whose calls can be held or failed.
local function new_held(opts)
  local system = test.system()
  local all = { system = system:pointer() }
  for name, value in pairs(opts or {}) do
    all[name] = value
  end
  local w, vs, luacom = new(all)
  w.system = system
  return w, vs, luacom
end

after_each(function()
  for i, w in ipairs(worlds) do
    if w.system then w.system:drop() end
    w:close()
    worlds[i] = nil
  end
  life.clean() -- the descriptor of a poll function goes with its engine
end)

local function done(task)
  task:WaitForCompletion(-1)
  assert.equal(0, task.Error, task.ErrorDescription)
  return task
end

-- ---- LuaCOM ---------------------------------------------------------------

describe("LuaCOM", function()
  it("gives one object per ProgID and 'with', in any case", function()
    local _, vs, luacom = new()
    assert.equal(vs, luacom.CreateObject("virtualserver.APPLICATION"))
    assert.equal(vs, luacom.GetObject("VirtualServer.Application"))
    assert.equal(vs, luacom.CreateLocalObject("VirtualServer.Application"))
    local pc = luacom.CreateObject("VirtualPC.Application")
    assert.not_equal(vs, pc)
    local other = select(3, new())
    assert.not_equal(vs, other.CreateObject("VirtualServer.Application"))
    assert.not_equal(luacom.engine, other.engine)
  end)

  it("does not know other programs: nil and a message", function()
    local _, _, luacom = new()
    for _, name in ipairs{ "CreateObject", "GetObject" } do
      local object, message = luacom[name]("Excel.Application")
      assert.is_nil(object)
      assert.matches("Excel.Application", message, 1, true)
      assert.equal(message, luacom.config.last_error)
    end
    luacom.config.abort_on_API_error = true
    assert.has_error(function() luacom.CreateObject("Excel.Application") end)
    expect.argument_error("bad argument #1 to 'CreateObject'",
      luacom.CreateObject, 7)
  end)

  it("takes the engine's options, and refuses others", function()
    expect.argument_error("unknown option 'drive'", virtualserver.with,
      { drive = {} })
    expect.fails("E_BAD_PATHNAME", nil, virtualserver.with, { base = "x" })
    local luacom = virtualserver.with()
    luacom.engine:close()
  end)

  it("shuts down where its variable ends", function()
    local dir = support.tmpdir()
    local vs
    do
      local luacom <close> = virtualserver.with{ drives = { C = dir } }
      vs = luacom.CreateObject("VirtualServer.Application")
      vs:CreateDynamicVirtualHardDisk([[C:\a.vhd]], 64)
    end
    assert.same({ "a.vhd" }, support.names(dir))
    expect.fails("VM_E_APP_SHUTTING_DOWN", nil,
      vs.CreateDynamicVirtualHardDisk, vs, [[C:\b.vhd]], 64)
  end)

  it("keeps two of them apart", function()
    local _, vs = new()
    local w2, vs2 = new()
    vs2.SearchPaths = { "C:\\" }
    assert.same({}, vs.SearchPaths)
    w2.luacom.config.abort_on_error = false
    assert.is_nil(vs2:GetHardDisk("x"))
    expect.fails("E_BAD_PATHNAME", nil, vs.GetHardDisk, vs, "x")
  end)

  it("reads properties as fields, and by get and set", function()
    local w, vs = new()
    done(vs:CreateDynamicVirtualHardDisk([[C:\p.vhd]], 64))
    done(vs:CreateDifferencingVirtualHardDisk([[C:\c.vhd]], [[C:\p.vhd]]))
    local child = vs:GetHardDisk([[C:\c.vhd]])
    assert.equal(2, child.Type)
    assert.equal(2, child:getType())
    assert.equal([[C:\p.vhd]], child:getParent():getFile())
    support.run("cp -p " .. w:host("p.vhd") .. " " .. w:host("q.vhd"))
    child:setParent(vs:GetHardDisk([[C:\q.vhd]]))
    assert.equal([[C:\q.vhd]], child.Parent.File)
    assert.is_false((pcall(function() return child:Type() end)))
  end)

  it("finds names in other case, and no others", function()
    local _, vs = new()
    assert.equal(vs.UpTime, vs.Uptime)
    assert.same({}, vs:getharddiskfiles())
    assert.is_nil(vs.NoSuchThing)
    assert.is_nil(vs.getNoSuchThing)
    assert.is_nil(vs[1])
    assert.is_false((pcall(function() vs:NoSuchThing() end)))
  end)

  it("lets a script keep fields of its own on an object", function()
    local _, vs = new()
    vs.mine, vs[1] = "x", "y"
    function vs.GetDVDFiles() return { "mine" } end
    assert.equal("x", vs.mine)
    assert.equal("y", vs[1])
    assert.same({ "mine" }, vs:GetDVDFiles())
  end)

  it("refuses to set what is read-only", function()
    local _, vs, luacom = new()
    for _, name in ipairs{ "Name", "name", "Tasks", "GetHardDisk" } do
      local ok, err = pcall(function() vs[name] = 1 end)
      assert.is_false(ok)
      assert.matches("virtualserver_spec.lua:%d+: '" .. name .. "' of "
        .. "VMVirtualServer cannot be set", err)
    end
    luacom.config.abort_on_error = false
    vs.Name = "x"
    assert.equal("lvhd", vs.Name)
    assert.matches("'Name'", luacom.config.last_error, 1, true)
  end)

  it("wants a colon, and says so", function()
    local _, vs = new()
    expect.argument_error("calling 'GetHardDisk' on bad self", vs.GetHardDisk,
      [[C:\a.vhd]])
    local get = vs.GetHardDisk
    assert.equal(get, vs.GetHardDisk)
  end)

  it("raises errors of lvhd, with the script's line", function()
    local _, vs, luacom = new()
    local err = expect.fails("E_FILE_NOT_FOUND", "FILE_MISSING",
      function()
        local hd = vs:GetHardDisk([[C:\a.vhd]])
        return hd
      end)
    assert.equal("GetHardDisk", err.op)
    assert.matches("virtualserver_spec.lua:%d+$", err.where)
    assert.equal(0x80070002, err.hresult)
    assert.matches("E_FILE_NOT_FOUND (0x80070002): GetHardDisk 'C:\\a.vhd'",
      "" .. err, 1, true)
    assert.matches("E_FILE_NOT_FOUND", luacom.config.last_error, 1, true)
  end)

  it("ignores them where abort_on_error is false", function()
    local w, vs, luacom = new_held()
    luacom.config.abort_on_error = false
    assert.is_nil(vs:GetHardDisk([[C:\a.vhd]]))
    assert.matches("E_FILE_NOT_FOUND", luacom.config.last_error, 1, true)
    luacom.config.last_error = nil
    vs.SearchPaths = nil
    assert.matches("E_POINTER", luacom.config.last_error, 1, true)
    assert.is_nil(vs.HostInfo)
    -- but neither the programmer's mistakes nor what is none of lvhd's
    expect.argument_error("bad argument #2", function()
      vs:CreateDynamicVirtualHardDisk([[C:\a.vhd]], {})
    end)
    w.system:hold{ call = "pwritev" }
    local task = vs:CreateDynamicVirtualHardDisk([[C:\a.vhd]], 64)
    local ok, err = pcall(function()
      debug.sethook(function()
        debug.sethook()
        error("interrupted!", 0)
      end, "", 100)
      task:WaitForCompletion(-1)
    end)
    debug.sethook()
    assert.is_false(ok)
    assert.equal("interrupted!", err)
  end)

  it("has the constants on every object, and as tables", function()
    local w, vs, luacom = new()
    assert.same({ vmDiskType_Dynamic = 0, vmDiskType_FixedSize = 1,
      vmDiskType_Differencing = 2, vmDiskType_HostDrive = 4 },
      virtualserver.VMHardDiskType)
    assert.same({ vmTaskResult_Success = 0, vmTaskResult_Cancelled = 1,
      vmTaskResult_UnexpectedError = 2, vmTaskResult_OutOfMemoryError = 3,
      vmTaskResult_DiskRelatedError = 4,
      vmTaskResult_IncompatibleSavedStateError = 5,
      vmTaskResult_TimeOutError = 6, vmTaskResult_IllegalValueError = 7,
      vmTaskResult_ThreadCrashError = 8, vmTaskResult_ShutdownAbort = 9 },
      luacom.VMTaskResult)
    w:dynamic("a.vhd")
    for name, number in pairs(virtualserver.VMTaskResult) do
      assert.equal(number, vs[name])
      assert.equal(number, vs.Tasks[name])
      assert.equal(number, vs:GetHardDisk([[C:\a.vhd]])[name])
      assert.equal(number, luacom[name])
      assert.equal(number, virtualserver[name])
    end
    assert.equal(1, vs.vmFloppyDiskImage_LowDensity)
    local into = luacom.LoadConstants(vs, {})
    assert.equal(4, into.vmTaskResult_DiskRelatedError)
    luacom.ExportConstants(vs)
    assert.equal(2, _G.vmDiskType_Differencing)
    for name in pairs(into) do
      _G[name] = nil
    end
  end)

  it("tells members and objects", function()
    local _, vs, luacom = new()
    for _, name in ipairs{ "Name", "GetHardDisk", "SearchPaths", "HostInfo" } do
      assert.is_true(luacom.isMember(vs, name))
    end
    assert.is_true(luacom.isMember(vs.Tasks, "Item"))
    assert.is_false(luacom.isMember(vs, "File"))
    assert.equal("LuaCOM", luacom.GetType(vs))
    assert.equal("LuaCOM", luacom.GetType(vs.Tasks))
    assert.is_nil(luacom.GetType({}))
    assert.equal("lvhd.virtualserver: VMVirtualServer", tostring(vs))
    assert.is_false(luacom.StartLog("luacom.log"))
    luacom.EndLog()
  end)

  it("takes numbers for text and text for numbers, and nothing else",
    function()
      local base = support.tmpdir()
      local _, vs = new({ base = base }, nil, "host")
      done(vs:CreateDynamicVirtualHardDisk(7, "64"))
      done(vs:CreateDynamicVirtualHardDisk(8.0, 64.0))
      assert.same({ "7", "8" }, support.names(base))
      for _, wrong in ipairs{ {}, true, print } do
        expect.argument_error("bad argument #1", function()
          vs:CreateDynamicVirtualHardDisk(wrong, 64)
        end)
        expect.argument_error("bad argument #2", function()
          vs:CreateDynamicVirtualHardDisk("a", wrong)
        end)
        expect.argument_error("bad argument #1", function()
          vs:GetHardDisk(wrong)
        end)
      end
      expect.argument_error("number expected, got \"much\"", function()
        vs:CreateDynamicVirtualHardDisk("a", "much")
      end)
    end)
end)

-- ---- order, and what there is no code for ---------------------------------

describe("of several mistakes", function()
  it("nil comes before shutting down, and that before strings", function()
    local _, vs, luacom = new()
    luacom.engine:close()
    local made = {
      CreateDynamicVirtualHardDisk = { "*", 0 },
      CreateFixedVirtualHardDisk = { "*", 0 },
      CreateDifferencingVirtualHardDisk = { "*", "" },
    }
    for name, args in pairs(made) do
      expect.fails("VM_E_APP_SHUTTING_DOWN", nil, vs[name], vs, args[1],
        args[2])
      expect.fails("E_POINTER", nil, vs[name], vs, nil, args[2])
    end
    expect.fails("E_POINTER", nil, vs.GetHardDisk, vs, nil)
    expect.fails("VM_E_APP_SHUTTING_DOWN", nil, vs.GetHardDisk, vs, "*")
    expect.fails("VM_E_APP_SHUTTING_DOWN", nil, vs.GetHardDiskFiles, vs, "*")
  end)

  it("and so with Convert and MergeTo", function()
    local w, vs, luacom = new()
    w:dynamic("a.vhd")
    local hd = vs:GetHardDisk([[C:\a.vhd]])
    expect.fails("E_INVALID_NAME", nil, hd.Convert, hd, [[C:\*]], 9)
    expect.fails("VM_E_WRONG_HD_IMAGE_TYPE", nil, hd.Convert, hd,
      [[C:\a.vhd]], 9)
    luacom.engine:close()
    for _, name in ipairs{ "Convert", "MergeTo" } do
      expect.fails("VM_E_APP_SHUTTING_DOWN", nil, hd[name], hd, "", 9)
      expect.fails("E_POINTER", nil, hd[name], hd, nil, 9)
    end
    for _, name in ipairs{ "Compact", "Merge" } do
      expect.fails("VM_E_APP_SHUTTING_DOWN", nil, hd[name], hd)
    end
  end)

  it("all members refuse after the end but those that need nothing",
    function()
      local w, vs, luacom = new()
      w:dynamic("a.vhd")
      vs.SearchPaths = { "C:\\" }
      local hd = vs:GetHardDisk([[C:\a.vhd]])
      luacom.engine:close()
      expect.fails("VM_E_APP_SHUTTING_DOWN", nil, vs.GetHardDisk, vs,
        [[C:\a.vhd]])
      expect.fails("VM_E_APP_SHUTTING_DOWN", nil, vs.GetHardDiskFiles, vs)
      for _, name in ipairs{ "Type", "Parent", "SizeInGuest", "SizeOnHost",
        "HostFreeDiskSpace", "HostDriveIdentifier" } do
        expect.fails("VM_E_APP_SHUTTING_DOWN", nil, function()
          return hd[name]
        end)
      end
      assert.equal([[C:\a.vhd]], hd.File)
      assert.equal(0, vs.Tasks.Count)
      assert.same({ "C:\\" }, vs.SearchPaths)
    end)
end)

describe("what is not here", function()
  it("is E_NOTIMPL: methods and properties", function()
    local w, vs = new()
    for _, name in ipairs{ "CreateHostDriveVirtualHardDisk",
      "CreateFloppyDiskImage", "GetFloppyDiskFiles", "GetDVDFiles",
      "GetFloppyDiskImageType", "FindVirtualMachine", "CreateVirtualMachine",
      "RegisterVirtualMachine", "DeleteVirtualMachine" } do
      expect.fails("E_NOTIMPL", nil, vs[name], vs)
      expect.fails("E_NOTIMPL", nil, vs[name], vs, "x", 1)
    end
    for _, name in ipairs{ "HostInfo", "VirtualMachines", "Security" } do
      expect.fails("E_NOTIMPL", nil, function() return vs[name] end)
      expect.fails("E_NOTIMPL", nil, function() vs[name] = 1 end)
    end
    w:dynamic("a.vhd")
    expect.fails("E_NOTIMPL", nil, function()
      return vs:GetHardDisk([[C:\a.vhd]]).Security
    end)
  end)

  it("and the application tells who it is", function()
    local _, vs = new()
    assert.equal("lvhd", vs.Name)
    assert.equal(lvhd.version, vs.Version)
    assert.equal(0, vs.UpTime)
    test.sleep(1.1)
    assert.is_true(vs.UpTime >= 1)
    assert.equal("integer", math.type(vs.UpTime))
  end)
end)

-- ---- fixed disks ----------------------------------------------------------

describe("a fixed disk", function()
  -- Starts each of the three that make one; the file's name for the host.
  local function each(w, fn)
    local vs = w.vs
    w:dynamic("p.vhd", "8 MiB")
    w:child("c.vhd", "p.vhd")
    local child = vs:GetHardDisk([[C:\c.vhd]])
    fn(function() return vs:CreateFixedVirtualHardDisk([[C:\1.vhd]], 8) end,
      "1.vhd")
    fn(function() return child:Convert([[C:\2.vhd]], 1) end, "2.vhd")
    fn(function() return child:MergeTo([[C:\3.vhd]], 1) end, "3.vhd")
  end

  local function allocated(path)
    return math.tointeger(tonumber(
      support.run("stat -c %b " .. support.q(path)))) * 512
  end

  it("has its space reserved", function()
    local w = new()
    each(w, function(start, name)
      done(start())
      assert.is_true(allocated(w:host(name)) >= 8 * MiB)
    end)
  end)

  it("is written with zeros where that cannot be, in the same task",
    function()
      local w = new_held()
      w.system:fail{ call = "fallocate", errno = "EOPNOTSUPP", times = 0 }
      each(w, function(start, name)
        local task = start()
        local id = task.ID
        done(task)
        assert.equal(id, task.ID)
        assert.equal(100, task.PercentCompleted)
        assert.equal(w.vs.vmTaskResult_Success, task.Result)
        assert.equal("fixed", lvhd.info(w:host(name)).type)
        assert.is_true(allocated(w:host(name)) >= 8 * MiB)
      end)
    end)

  it("even where nobody looks at the task", function()
    local w = new_held()
    w.system:fail{ call = "fallocate", errno = "EOPNOTSUPP", times = 0 }
    w.vs:CreateFixedVirtualHardDisk([[C:\1.vhd]], 8)
    w.luacom.engine:close()
    assert.equal("fixed", lvhd.info(w:host("1.vhd")).type)
  end)

  -- The volume refuses, but not before the hold is dropped.
  local function refuse_later(w)
    w.system:fail{ call = "fallocate", errno = "EOPNOTSUPP", times = 0 }
    return w.system:hold{ call = "fallocate" }
  end

  it("or looks at another one, when the first look was too early", function()
    local w, vs = new_held()
    local hold = refuse_later(w)
    local task = vs:CreateFixedVirtualHardDisk([[C:\1.vhd]], 8)
    assert.is_false(task.IsComplete)
    w.system:drop(hold)
    assert.is_truthy(life.eventually(function()
      return vs.Name and test.stat(w:host("1.vhd")) -- any use begins it anew
    end))
    assert.equal("fixed", lvhd.info(w:host("1.vhd")).type)
    done(task)
  end)

  it("is begun without the poll function, which may want a coroutine",
    function()
      local w, vs = new({ poll = function() error("no coroutine") end })
      local task = vs:CreateFixedVirtualHardDisk([[C:\1.vhd]], 8)
      assert.is_true(life.eventually(function() return task.IsComplete end))
      assert.equal(0, task.Error)
      assert.equal("fixed", lvhd.info(w:host("1.vhd")).type)
    end)

  it("that the end overtakes says so", function()
    local w, vs, luacom, hold
    w, vs, luacom = new_held({ poll = function() -- while the engine closes
      w.system:drop(hold)
      test.sleep(0.002)
    end })
    hold = refuse_later(w)
    local task = vs:CreateFixedVirtualHardDisk([[C:\1.vhd]], 8)
    luacom.engine:close()
    assert.is_true(task.IsComplete)
    task:WaitForCompletion(-1)
    assert.equal("VM_E_APP_SHUTTING_DOWN", lvhd.hresult[task.Error])
    assert.equal(vs.vmTaskResult_ShutdownAbort, task.Result)
    assert.not_equal("", task.ErrorDescription)
    assert.is_false(task.IsCancelable)
    expect.fails("E_FAIL", nil, task.Cancel, task)
    assert.same({}, support.names(w.dir))
  end)

  it("on a volume that cannot reserve: ext2 #root", function()
    if not support.is_root() then pending("mounting needs root") end
    local w = new()
    local why = w:on_image("mke2fs -q -F -t ext2 -b 1024", "64M", function()
      done(w.vs:CreateFixedVirtualHardDisk([[C:\volume\1.vhd]], 8))
      assert.is_true(allocated(w:host("volume/1.vhd")) >= 8 * MiB)
    end)
    if why then pending(why) end
  end)
end)

-- ---- hard disks -----------------------------------------------------------

describe("GetHardDisk", function()
  it("takes what is no disk, which says so when it is asked", function()
    local w, vs = new()
    support.write(w:host("a.vhd"), "mine")
    local hd = vs:GetHardDisk([[C:\a.vhd]])
    assert.equal([[C:\a.vhd]], hd.File)
    expect.fails("VM_E_HD_IMAGE_OPEN_FAIL", nil, function()
      return hd.Type
    end)
    expect.fails("VM_E_INVALID_HD_FILE", nil, hd.Compact, hd)
  end)

  it("tells File as it really is", function()
    local w, vs = new()
    support.run("mkdir " .. w:host("Vms"))
    w:dynamic("Vms/Web01.vhd")
    support.run("ln -s Vms/Web01.vhd " .. w:host("link.vhd"))
    for _, path in ipairs{ [[C:\Vms\Web01.vhd]], [[c:\vms\WEB01.VHD]],
      [[C:\x\..\Vms\.\Web01.vhd]], [[C:\link.vhd]],
      w:host("Vms/Web01.vhd") } do
      assert.equal([[C:\Vms\Web01.vhd]], vs:GetHardDisk(path).File)
    end
  end)

  it("knows shares", function()
    local vms, golden = support.tmpdir(), support.tmpdir()
    local luacom <close> = virtualserver.with{ drives = { C = vms,
      [ [[\\nas\golden]] ] = golden } }
    local vs = luacom.CreateObject("VirtualServer.Application")
    done(vs:CreateDynamicVirtualHardDisk([[\\nas\golden\p.vhd]], 64))
    done(vs:CreateDifferencingVirtualHardDisk([[\\NAS\golden\c.vhd]],
      "p.vhd"))
    done(vs:CreateDifferencingVirtualHardDisk([[C:\d.vhd]],
      [[\\nas\Golden\c.vhd]]))
    vs.SearchPaths = { [[\\nas\golden]] }
    assert.same({ [[\\nas\golden\c.vhd]], [[\\nas\golden\p.vhd]] },
      vs:GetHardDiskFiles())
    assert.equal([[\\nas\golden\p.vhd]],
      vs:GetHardDisk([[\\nas\golden\c.vhd]]).Parent.File)
    assert.equal("differencing", lvhd.info(vms .. "/d.vhd").type)
  end)

  it("tells the host's path where no drive has it", function()
    local w, vs = new()
    local elsewhere = support.tmpdir()
    lvhd.create_dynamic(elsewhere .. "/p.vhd", "64 MiB"):wait()
    assert.equal(elsewhere .. "/p.vhd",
      vs:GetHardDisk(elsewhere .. "/p.vhd").File)
    w:reopen({ parents = elsewhere })
    vs = w.vs
    done(vs:CreateDifferencingVirtualHardDisk([[C:\c.vhd]],
      elsewhere .. "/p.vhd"))
    assert.equal(elsewhere .. "/p.vhd", vs:GetHardDisk([[C:\c.vhd]]).Parent.File)
  end)

  it("reads anew each time", function()
    local w, vs = new()
    w:dynamic("a.vhd")
    local hd = vs:GetHardDisk([[C:\a.vhd]])
    assert.equal(64 * MiB, hd.SizeInGuest)
    lvhd.resize(w:host("a.vhd"), "65 MiB"):wait()
    assert.equal(65 * MiB, hd.SizeInGuest)
    os.remove(w:host("a.vhd"))
    support.write(w:host("a.vhd"), "no disk")
    assert.equal(7, hd.SizeOnHost)
    os.remove(w:host("a.vhd"))
    lvhd.create_fixed(w:host("a.vhd"), "4 MiB"):wait()
    assert.equal(vs.vmDiskType_FixedSize, hd.Type)
    assert.equal(4 * MiB + 512, hd.SizeOnHost)
    assert.is_true(math.abs(hd.HostFreeDiskSpace
      - test.statfs(w.dir).free) < 64 * MiB)
  end)
end)

describe("Parent", function()
  local w, vs

  before_each(function()
    w, vs = new()
    done(vs:CreateDynamicVirtualHardDisk([[C:\base\p.vhd]], 64))
    done(vs:CreateDifferencingVirtualHardDisk([[C:\c.vhd]],
      [[C:\base\p.vhd]]))
    done(vs:CreateDifferencingVirtualHardDisk([[C:\d.vhd]], [[C:\c.vhd]]))
  end)

  it("is an object, up to the root, whose own is nil", function()
    local hd = vs:GetHardDisk([[C:\d.vhd]])
    assert.equal([[C:\c.vhd]], hd.Parent.File)
    assert.equal([[C:\base\p.vhd]], hd.Parent.Parent.File)
    assert.is_nil(hd.Parent.Parent.Parent)
  end)

  it("is an object for a damaged parent, too", function()
    support.write(w:host("base/p.vhd"), ("x"):rep(4096))
    local parent = vs:GetHardDisk([[C:\c.vhd]]).Parent
    assert.equal([[C:\base\p.vhd]], parent.File)
    expect.fails("VM_E_HD_IMAGE_OPEN_FAIL", nil, function()
      return parent.Type
    end)
  end)

  it("does not ask for the parent's own parents", function()
    os.remove(w:host("base/p.vhd"))
    assert.equal([[C:\c.vhd]], vs:GetHardDisk([[C:\d.vhd]]).Parent.File)
  end)

  it("is refused where only a file names it, with the cure", function()
    local elsewhere = support.tmpdir()
    lvhd.create_dynamic(elsewhere .. "/p.vhd", "64 MiB"):wait()
    lvhd.create_differencing(w:host("e.vhd"), elsewhere .. "/p.vhd"):wait()
    local err = expect.fails("E_ACCESSDENIED", "PARENT_OUTSIDE", function()
      return vs:GetHardDisk([[C:\e.vhd]]).Parent
    end)
    assert.matches(elsewhere, err.hint, 1, true)
  end)

  it("that is assigned makes a moved chain whole", function()
    support.run(("mkdir %s && mv %s %s"):format(w:host("moved"),
      w:host("base/p.vhd"), w:host("moved/p.vhd")))
    local child = vs:GetHardDisk([[C:\c.vhd]])
    expect.fails("E_FILE_NOT_FOUND", nil, function() return child.Parent end)
    child.Parent = vs:GetHardDisk([[C:\moved\p.vhd]])
    assert.equal([[C:\moved\p.vhd]], child.Parent.File)
    done(vs:GetHardDisk([[C:\d.vhd]]):MergeTo([[C:\all.vhd]], 0))
  end)

  it("that is assigned refreshes the time", function()
    support.run("touch -d @1700000001 " .. w:host("base/p.vhd"))
    local task = vs:GetHardDisk([[C:\c.vhd]]):Merge()
    task:WaitForCompletion(-1)
    assert.equal(lvhd.hresult.VM_E_PARENT_MODIFIED, task.Error)
    assert.matches("assigning Parent", task.ErrorDescription, 1, true)
    assert.is_nil(task.ErrorDescription:find("force", 1, true))
    local child = vs:GetHardDisk([[C:\c.vhd]])
    child.Parent = child.Parent
    assert.equal(1700000001, lvhd.info(w:host("c.vhd")).parent.timestamp)
  end)

  it("takes objects of this application alone", function()
    local child = vs:GetHardDisk([[C:\c.vhd]])
    for _, wrong in ipairs{ [[C:\base\p.vhd]], {}, vs, true } do
      expect.argument_error("an object of GetHardDisk expected", function()
        child.Parent = wrong
      end)
    end
    local w2, vs2 = new()
    w2:dynamic("p.vhd")
    expect.argument_error("another 'with'", function()
      child.Parent = vs2:GetHardDisk([[C:\p.vhd]])
    end)
  end)
end)

describe("Merge", function()
  it("keeps the child, which reads as before", function()
    local w, vs = new()
    done(vs:CreateDynamicVirtualHardDisk([[C:\p.vhd]], 64))
    done(vs:CreateDifferencingVirtualHardDisk([[C:\c.vhd]], [[C:\p.vhd]]))
    do
      local disk <close> = lvhd.open(w:host("c.vhd"), { write = true })
      disk:write(0, "child")
    end
    done(vs:GetHardDisk([[C:\c.vhd]]):Merge())
    for _, name in ipairs{ "p.vhd", "c.vhd" } do
      local disk <close> = lvhd.open(w:host(name))
      assert.equal("child", disk:read(0, 5))
    end
    assert.equal([[C:\p.vhd]], vs:GetHardDisk([[C:\c.vhd]]).Parent.File)
  end)

  it("finds a parent of the same name in another folder, or on another drive",
    function()
      local c, d = support.tmpdir(), support.tmpdir()
      local luacom <close> = virtualserver.with{ drives = { C = c, D = d } }
      local vs = luacom.CreateObject("VirtualServer.Application")
      done(vs:CreateDynamicVirtualHardDisk([[C:\vms\web01.vhd]], 64))
      for _, path in ipairs{ [[C:\day\web01.vhd]], [[D:\day\web01.vhd]] } do
        done(vs:CreateDifferencingVirtualHardDisk(path, [[C:\vms\web01.vhd]]))
        local hd = vs:GetHardDisk(path)
        assert.equal([[C:\vms\web01.vhd]], hd.Parent.File)
        done(hd:Merge())
        support.run("rm " .. (path:find("^C") and c or d) .. "/day/web01.vhd")
      end
    end)

  it("looks for other children where 'with' says", function()
    local w = new()
    w:dynamic("a/base/p.vhd")
    w:child("a/c.vhd", "a/base/p.vhd")
    w:child("b/c.vhd", "a/base/p.vhd")
    w:reopen({ children_in = w.dir })
    local task = w.vs:GetHardDisk([[C:\a\c.vhd]]):Merge()
    task:WaitForCompletion(-1)
    assert.equal(lvhd.hresult.E_SHARING_VIOLATION, task.Error)
  end)
end)

describe("GetHardDiskFiles", function()
  it("finds disks by what they hold, in and below, once and sorted",
    function()
      local w, vs = new()
      w:dynamic("b/deep/x.img")
      w:dynamic("b/a.vhd")
      w:dynamic("a/z.vhd")
      support.write(w:host("b/no.vhd"), "no disk")
      local all = { [[C:\a\z.vhd]], [[C:\b\a.vhd]], [[C:\b\deep\x.img]] }
      assert.same(all, vs:GetHardDiskFiles{ [[C:\b]], [[C:\a]], [[C:\b\deep]],
        w:host("a") })
      assert.same({}, vs:GetHardDiskFiles())
      vs.SearchPaths = { [[C:\b]] }
      assert.same({ all[2], all[3] }, vs:GetHardDiskFiles())
      assert.same({ all[2], all[3] }, vs:GetHardDiskFiles{})
      assert.same(all, vs:GetHardDiskFiles{ [[C:\]] })
    end)

  it("passes over folders that are not there, and refuses nonsense",
    function()
      local w, vs = new()
      w:dynamic("a.vhd")
      assert.same({ [[C:\a.vhd]] }, vs:GetHardDiskFiles{ [[C:\nowhere]],
        [[C:\]], [[C:\a.vhd\x]], [[Q:\]] })
      for _, path in ipairs{ "", "relative", [[C:\*]], w:long(260) } do
        expect.fails("E_INVALIDARG", nil, vs.GetHardDiskFiles, vs, { path })
      end
    end)
end)

describe("SearchPaths", function()
  it("are empty at first, a copy, and stay when others are refused",
    function()
      local _, vs = new()
      assert.same({}, vs.SearchPaths)
      local list = { [[C:\]] }
      vs.SearchPaths = list
      list[1] = "changed"
      vs.SearchPaths[1] = "changed"
      assert.same({ [[C:\]] }, vs.SearchPaths)
      expect.fails("E_FILE_NOT_FOUND", nil, function()
        vs.SearchPaths = { [[C:\]], [[C:\nowhere]] }
      end)
      assert.same({ [[C:\]] }, vs.SearchPaths)
      vs.SearchPaths = { n = 1, [[C:\]] } -- a list of Lua 5.0
      assert.same({ [[C:\]] }, vs.SearchPaths)
      vs.SearchPaths = {}
      assert.same({}, vs.SearchPaths)
    end)

  it("are folders, and nothing that looks like one", function()
    local w, vs = new()
    test.mkfifo(w:host("fifo"))
    support.run("mkdir " .. w:host("real") .. " && ln -s real "
      .. w:host("link"))
    expect.fails("E_FILE_NOT_FOUND", nil, function()
      vs.SearchPaths = { [[C:\fifo]] }
    end)
    vs.SearchPaths = { [[C:\link]], w:host("real") }
    assert.equal(2, #vs.SearchPaths)
  end)
end)

-- ---- tasks ----------------------------------------------------------------

describe("a task", function()
  local w, vs, luacom

  before_each(function()
    w, vs, luacom = new_held({ preflight = false })
  end)

  after_each(function()
    w, vs, luacom = nil, nil, nil
  end)

  -- One that is held in its first write.
  local function held()
    w.system:hold{ call = "pwritev" }
    local task = vs:CreateDynamicVirtualHardDisk([[C:\new\a.vhd]], 64)
    assert.is_true(w.system:await(1))
    return task
  end

  it("tells what it is while it runs, and after", function()
    local task = held()
    assert.is_true(task.ID > 0)
    assert.matches([[C:\new\a.vhd]], task.Description, 1, true)
    assert.is_false(task.IsComplete)
    assert.is_true(task.IsCancelable)
    assert.is_true(task.PercentCompleted < 100)
    assert.equal("integer", math.type(task.PercentCompleted))
    assert.equal(0, task.Result)
    assert.equal(0, task.Error)
    assert.equal("", task.ErrorDescription)
    w.system:drop()
    assert.equal(0, select("#", task:WaitForCompletion(-1)))
    assert.is_true(task.IsComplete)
    assert.is_false(task.IsCancelable)
    assert.equal(100, task.PercentCompleted)
    assert.equal(0, task.Result)
    local other = vs:CreateDynamicVirtualHardDisk([[C:\new\b.vhd]], 64)
    assert.not_equal(task.ID, other.ID)
  end)

  it("is waited for as long as asked, and no longer", function()
    local task = held()
    local before = test.clock()
    assert.equal(0, select("#", task:WaitForCompletion(0)))
    assert.equal(0, select("#", task:WaitForCompletion(300)))
    local took = test.clock() - before
    assert.is_true(took >= 0.3 and took < 2, took)
    assert.is_false(task.IsComplete)
    task:WaitForCompletion("10") -- text, as COM takes it
    task:WaitForCompletion(10.5)
  end)

  it("that failed does not make the wait fail", function()
    local task = vs:CreateDifferencingVirtualHardDisk([[C:\a.vhd]],
      [[C:\nowhere.vhd]])
    assert.equal(0, select("#", task:WaitForCompletion(-1)))
    assert.equal(lvhd.hresult.E_PATH_NOT_FOUND, task.Error)
    assert.equal("80070003", ("%08X"):format(task.Error))
    assert.equal(vs.vmTaskResult_UnexpectedError, task.Result)
    assert.matches("does not exist", task.ErrorDescription, 1, true)
    assert.is_true(task.PercentCompleted < 100)
  end)

  for errno, result in pairs{ ENOSPC = "DiskRelatedError",
    EFBIG = "DiskRelatedError", EIO = "DiskRelatedError",
    ENOMEM = "OutOfMemoryError", EACCES = "UnexpectedError" } do
    it(("tells %s of %s"):format(result, errno), function()
      w.system:fail{ call = "pwritev", errno = errno }
      local task = vs:CreateDynamicVirtualHardDisk([[C:\a.vhd]], 64)
      task:WaitForCompletion(-1)
      assert.equal(vs["vmTaskResult_" .. result], task.Result)
    end)
  end

  it("tells IllegalValueError of a size that is found late", function()
    handmade.dynamic(w:host("p.vhd"), 2 * MiB)
    local task = vs:CreateDifferencingVirtualHardDisk([[C:\a.vhd]],
      [[C:\p.vhd]])
    task:WaitForCompletion(-1)
    assert.equal(vs.vmTaskResult_IllegalValueError, task.Result)
  end)

  it("is cancelled, and leaves no file", function()
    local task = held()
    task:Cancel()
    task:Cancel()
    w.system:drop()
    task:WaitForCompletion(-1)
    assert.is_true(task.IsComplete)
    assert.is_false(task.IsCancelable)
    assert.equal(vs.vmTaskResult_Cancelled, task.Result)
    assert.equal(lvhd.hresult.E_ABORT, task.Error)
    assert.same({}, support.names(w.dir))
    expect.fails("E_FAIL", nil, task.Cancel, task)
  end)

  it("cannot be cancelled past the point of no return", function()
    w.system:hold{ call = "linkat" }
    local task = vs:CreateDynamicVirtualHardDisk([[C:\a.vhd]], 64)
    assert.is_true(w.system:await(1))
    expect.fails("E_FAIL", nil, task.Cancel, task)
    assert.is_false(task.IsCancelable)
    assert.is_false(task.IsComplete)
    w.system:drop()
    done(task)
  end)

  it("is in Tasks while it is not complete", function()
    assert.equal(0, vs.Tasks.Count)
    local first = held()
    local second = vs:CreateDynamicVirtualHardDisk([[C:\b.vhd]], 64)
    local picture = vs.Tasks
    assert.equal(2, picture.Count)
    assert.equal(first, picture:Item(1))
    assert.equal(second, picture:Item(2))
    assert.equal(second, picture:getItem("2"))
    assert.equal(second, picture(2))
    assert.equal(first, vs.Tasks(1))
    expect.fails("DISP_E_BADINDEX", nil, picture.Item, picture, 0)
    expect.fails("DISP_E_BADINDEX", nil, picture.Item, picture, 3)
    expect.fails("DISP_E_BADINDEX", nil, picture.Item, picture, 1.5)
    expect.fails("DISP_E_BADINDEX", nil, picture.Item, picture, nil)
    w.system:drop()
    done(first)
    done(second)
    assert.equal(0, vs.Tasks.Count)
    -- the picture stays
    assert.equal(2, picture.Count)
    assert.is_true(picture:Item(2).IsComplete)
    local pc = luacom.CreateObject("VirtualPC.Application")
    assert.equal(0, pc.Tasks.Count)
  end)

  it("is walked over in LuaCOM's two ways", function()
    local first = held()
    local second = vs:CreateDynamicVirtualHardDisk([[C:\b.vhd]], 64)
    local got = {}
    for index, task in luacom.pairs(vs.Tasks) do
      got[index] = task
    end
    assert.same({ first.ID, second.ID }, { got[1].ID, got[2].ID })
    local enumerator = luacom.GetEnumerator(vs.Tasks)
    assert.equal(first, enumerator:Next())
    local clone = enumerator:Clone()
    assert.equal(second, enumerator:Next())
    assert.is_nil(enumerator:Next())
    assert.is_false(enumerator:Skip())
    enumerator:Reset()
    assert.is_true(enumerator:Skip())
    assert.equal(second, enumerator:Next())
    assert.equal(second, clone:Next())
    local none, message = luacom.GetEnumerator(vs)
    assert.is_nil(none)
    assert.matches("no collection", message, 1, true)
    expect.argument_error("a collection expected", luacom.pairs, vs)
  end)

  it("holds nothing when it is over and nobody has it", function()
    local weak = setmetatable({}, { __mode = "v" })
    for i = 1, 5 do
      weak[i] = vs:CreateDynamicVirtualHardDisk(
        ([[C:\%d.vhd]]):format(i), 64)
      weak[i]:WaitForCompletion(-1)
    end
    assert.equal(0, vs.Tasks.Count)
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("is waited for by the engine's poll function", function()
    local polled = 0
    w:reopen({ system = w.system:pointer(), poll = function(_, seconds)
      polled = polled + 1
      coroutine.yield(seconds)
    end })
    vs = w.vs
    w.system:hold{ call = "pwritev" }
    local task = vs:CreateDynamicVirtualHardDisk([[C:\a.vhd]], 64)
    local co = coroutine.create(function() task:WaitForCompletion(4000) end)
    assert(coroutine.resume(co))
    assert.equal("suspended", coroutine.status(co))
    w.system:drop()
    while coroutine.status(co) ~= "dead" do
      assert(coroutine.resume(co))
    end
    assert.is_true(polled > 0)
    assert.is_true(task.IsComplete)
    co = coroutine.create(function() w:close() end)
    repeat
      assert(coroutine.resume(co))
    until coroutine.status(co) == "dead"
  end)
end)
