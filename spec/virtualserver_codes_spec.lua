-- SPDX-License-Identifier: MIT
--
-- The documented tables, row by row: each return code of each member is
-- produced for real, with paths of Windows and of the host, and the member ends
-- with it and with no other, from the call or in the task's Error. What cannot
-- come here is listed with the reason, and a test sees to it that no row of the
-- documents is in neither list.

local lvhd = require "lvhd"
local handmade = require "spec.support.handmade"
local support = require "spec.support"
local test = require "lvhdtest"
local vsworld = require "spec.support.vsworld"

local MiB <const> = 1 << 20
local GiB <const> = 1 << 30

-- ---- the documents: member -> its codes; (V): Virtual PC's page alone -------

local CREATE <const> = "S_OK E_POINTER E_PATH_NOT_FOUND E_INVALID_NAME "
  .. "E_BAD_PATHNAME E_BUFFER_OVERFLOW E_ALREADY_EXISTS E_DISK_FULL "
  .. "VM_E_IMAGE_SIZE_TOO_LARGE VM_E_IMAGE_SIZE_TOO_SMALL "
  .. "VM_E_FILE_TOO_LARGE_FOR_VOLUME VM_E_APP_SHUTTING_DOWN DISP_E_EXCEPTION "
  .. "E_INVALID_DRIVE VM_E_HARDWARE_VIRTUALIZATION_DISABLED "

local documented = {
  CreateDifferencingVirtualHardDisk = CREATE,
  CreateDynamicVirtualHardDisk = CREATE .. "E_INVALIDARG",
  CreateFixedVirtualHardDisk = CREATE .. "E_INVALIDARG",
  GetHardDisk = "S_OK E_POINTER E_FILE_NOT_FOUND E_PATH_NOT_FOUND "
    .. "E_INVALID_NAME E_BAD_PATHNAME E_BUFFER_OVERFLOW "
    .. "VM_E_HARDWARE_VIRTUALIZATION_DISABLED DISP_E_EXCEPTION",
  GetHardDiskFiles = "S_OK E_POINTER E_INVALIDARG DISP_E_EXCEPTION "
    .. "VM_E_HARDWARE_VIRTUALIZATION_DISABLED",
  SearchPaths = "S_OK E_POINTER E_INVALIDARG E_FILE_NOT_FOUND "
    .. "E_PATH_NOT_FOUND E_INVALID_NAME E_BAD_PATHNAME E_BUFFER_OVERFLOW "
    .. "VM_E_PREF_NOT_FOUND DISP_E_EXCEPTION",
  Tasks = "S_OK E_POINTER DISP_E_EXCEPTION",
  Item = "S_OK E_POINTER DISP_E_BADINDEX DISP_E_EXCEPTION",
  File = "S_OK E_POINTER DISP_E_EXCEPTION",
  Type = "S_OK E_POINTER E_FILE_NOT_FOUND VM_E_DRIVE_INVALID "
    .. "VM_E_HD_IMAGE_OPEN_FAIL VM_E_HD_IMAGE_ACCESS DISP_E_EXCEPTION "
    .. "VM_E_PREF_READ_ERROR",
  Parent = "S_OK S_FALSE E_POINTER E_FILE_NOT_FOUND E_PATH_NOT_FOUND "
    .. "VM_E_HD_IMAGE_OPEN_FAIL VM_E_HD_IMAGE_ACCESS "
    .. "VM_E_PARENT_CHILD_ID_MISMATCH DISP_E_EXCEPTION VM_E_PREF_READ_ERROR",
  SizeInGuest = "S_OK E_POINTER E_FILE_NOT_FOUND VM_E_HD_IMAGE_OPEN_FAIL "
    .. "VM_E_HD_IMAGE_ACCESS DISP_E_EXCEPTION",
  SizeOnHost = "S_OK E_POINTER E_FILE_NOT_FOUND DISP_E_EXCEPTION",
  HostFreeDiskSpace = "S_OK E_POINTER E_BAD_PATHNAME DISP_E_EXCEPTION",
  HostDriveIdentifier = "S_OK S_FALSE E_POINTER E_FILE_NOT_FOUND "
    .. "VM_E_HOST_DRIVE_NOT_FOUND VM_E_HD_IMAGE_OPEN_FAIL "
    .. "VM_E_HD_IMAGE_ACCESS DISP_E_EXCEPTION",
  Compact = "S_OK E_POINTER E_SHARING_VIOLATION E_DISK_FULL "
    .. "VM_E_WRONG_HD_IMAGE_TYPE VM_E_FILE_READ_ONLY VM_E_INVALID_HD_FILE "
    .. "VM_E_APP_SHUTTING_DOWN DISP_E_EXCEPTION",
  Convert = "S_OK E_POINTER E_INVALIDARG E_PATH_NOT_FOUND E_INVALID_NAME "
    .. "E_BAD_PATHNAME E_BUFFER_OVERFLOW E_SHARING_VIOLATION E_DISK_FULL "
    .. "E_ALREADY_EXISTS VM_E_WRONG_HD_IMAGE_TYPE VM_E_INVALID_HD_FILE "
    .. "VM_E_PARENT_PATH_NOT_FOUND VM_E_APP_SHUTTING_DOWN DISP_E_EXCEPTION",
  Merge = "S_OK E_POINTER E_SHARING_VIOLATION VM_E_WRONG_HD_IMAGE_TYPE "
    .. "VM_E_FILE_READ_ONLY VM_E_PARENT_PATH_NOT_FOUND "
    .. "VM_E_APP_SHUTTING_DOWN DISP_E_EXCEPTION",
  MergeTo = "S_OK E_POINTER E_INVALIDARG E_FILE_NOT_FOUND E_PATH_NOT_FOUND "
    .. "E_INVALID_NAME E_BAD_PATHNAME E_BUFFER_OVERFLOW E_SHARING_VIOLATION "
    .. "E_DISK_FULL E_ALREADY_EXISTS VM_E_WRONG_HD_IMAGE_TYPE "
    .. "VM_E_PARENT_PATH_NOT_FOUND VM_E_APP_SHUTTING_DOWN DISP_E_EXCEPTION",
  WaitForCompletion = "S_OK E_POINTER E_INVALIDARG DISP_E_EXCEPTION",
  Cancel = "S_OK E_FAIL DISP_E_EXCEPTION",
  Description = "S_OK E_POINTER DISP_E_EXCEPTION",
  ID = "S_OK E_POINTER DISP_E_EXCEPTION",
  IsCancelable = "S_OK E_POINTER DISP_E_EXCEPTION",
  IsComplete = "S_OK E_POINTER DISP_E_EXCEPTION",
  PercentCompleted = "S_OK E_POINTER DISP_E_EXCEPTION",
  Result = "S_OK E_POINTER DISP_E_EXCEPTION",
  Error = "S_OK E_POINTER DISP_E_EXCEPTION VM_E_VM_UNKNOWN "
    .. "VM_E_ADDITIONS_NOT_AVAIL VM_E_VMVIRTUALPC_OLDER_VERSION "
    .. "VM_E_OTHER_VIRTUALIZATION_SOFTWARE",
  ErrorDescription = "S_OK E_POINTER DISP_E_EXCEPTION VM_E_VM_UNKNOWN "
    .. "VM_E_ADDITIONS_NOT_AVAIL",
}

-- ---- what cannot come here ------------------------------------------------

local OUT <const> = "only the place for the answer is a pointer, and Lua has "
  .. "no such argument"
local NO_IO <const> = "it answers from memory"

local everywhere = {
  E_INVALID_DRIVE = "no CD-ROM is written to: a read-only volume is "
    .. "E_ACCESSDENIED, a letter without a folder E_PATH_NOT_FOUND",
  VM_E_HARDWARE_VIRTUALIZATION_DISABLED = "no machine is run",
  VM_E_PREF_READ_ERROR = "images have no preferences here; nor was its "
    .. "number ever published",
  VM_E_HOST_DRIVE_NOT_FOUND = "no image is linked to a drive",
  VM_E_VM_UNKNOWN = "there are no machines",
  VM_E_ADDITIONS_NOT_AVAIL = "there are no machines",
  VM_E_VMVIRTUALPC_OLDER_VERSION = "there is no Virtual PC",
  VM_E_OTHER_VIRTUALIZATION_SOFTWARE = "there is no Virtual PC",
}

local impossible = {
  GetHardDiskFiles = { E_POINTER = OUT },
  SearchPaths = { VM_E_PREF_NOT_FOUND = "the list is there from the start" },
  Tasks = { E_POINTER = OUT, DISP_E_EXCEPTION = NO_IO },
  Item = { E_POINTER = OUT, DISP_E_EXCEPTION = NO_IO },
  File = { E_POINTER = OUT, DISP_E_EXCEPTION = NO_IO },
  Type = { E_POINTER = OUT,
    DISP_E_EXCEPTION = "what is unexpected is VM_E_HD_IMAGE_ACCESS" },
  Parent = { DISP_E_EXCEPTION = "what is unexpected is "
    .. "VM_E_HD_IMAGE_ACCESS" },
  SizeInGuest = { E_POINTER = OUT,
    DISP_E_EXCEPTION = "what is unexpected is VM_E_HD_IMAGE_ACCESS" },
  SizeOnHost = { E_POINTER = OUT },
  HostFreeDiskSpace = { E_POINTER = OUT },
  HostDriveIdentifier = { E_POINTER = OUT,
    S_OK = "no image is linked to a drive: S_FALSE, always",
    DISP_E_EXCEPTION = "what is unexpected is VM_E_HD_IMAGE_ACCESS" },
  Compact = { E_POINTER = OUT },
  Merge = { E_POINTER = OUT },
  MergeTo = { E_FILE_NOT_FOUND = "it is about the new file, which need not "
    .. "be there" },
  WaitForCompletion = { DISP_E_EXCEPTION = NO_IO },
  Cancel = { DISP_E_EXCEPTION = NO_IO },
}
for member in ("Description ID IsCancelable IsComplete PercentCompleted "
  .. "Result Error ErrorDescription"):gmatch("%S+") do
  impossible[member] = { E_POINTER = OUT, DISP_E_EXCEPTION = NO_IO }
end

-- ---- the situations -------------------------------------------------------

-- member, code, what it is, fn(world), and how:
--   "call"  the call finds it, always (strings, sizes, objects)
--   "disk"  the call finds it, or without preflight the task
--   "task"  the task finds it
--   "any"   one of both
-- root: a volume is mounted. kind: paths of this kind alone. fault: the engine
-- has a test's system calls, in w.system. progid. fn returns what the member
-- returned. page: the code is none of the member's rows, but the HRESULT page's.
local rows = {}

local function row(member, code, what, how, fn, more)
  local r = { member = member, code = code, what = what, how = how, fn = fn }
  for name, value in pairs(more or {}) do
    r[name] = value
  end
  rows[#rows + 1] = r
end

---One row for several values: each but the last is judged here.
local function each(code, values, fn)
  return function(w)
    local list = type(values) == "function" and values(w) or values
    for i = 1, #list - 1 do
      local got, where = vsworld.outcome(function() return fn(w, list[i]) end)
      assert.same({ code, "call" }, { got, where }, tostring(list[i]))
    end
    return fn(w, list[#list])
  end
end

-- Without drives a letter is against the rules on strings.
local UNMAPPED <const> = { host = "call", windows = "disk" }

local FORBIDDEN <const> = { "*", "?", ":", "<", ">", "|", '"', "/" }

-- The slash is the separator of the host.
local function forbidden(w)
  return table.move(FORBIDDEN, 1, w.kind == "host" and 7 or 8, 1, {})
end

local NEW <const> = "new/a.vhd"

-- ---- creating: what all three have ----------------------------------------

local FULL_TMPFS <const> = "-t tmpfs -o size=16m tmpfs"
local EXT2 <const> = "mke2fs -q -F -t ext2 -b 1024"

local creators = {
  CreateDifferencingVirtualHardDisk = function(w, image, size)
    handmade.dynamic(w:host("base.vhd"), (size or 64) * MiB)
    return w.vs:CreateDifferencingVirtualHardDisk(image, w:path("base.vhd"))
  end,
  CreateDynamicVirtualHardDisk = function(w, image, size)
    return w.vs:CreateDynamicVirtualHardDisk(image, size or 64)
  end,
  CreateFixedVirtualHardDisk = function(w, image, size)
    return w.vs:CreateFixedVirtualHardDisk(image, size or 4)
  end,
}

for member, create in pairs(creators) do
  row(member, "S_OK", "a new image, in a new folder", "task", function(w)
    local task = create(w, w:path("new/deep/a.vhd"))
    task:WaitForCompletion(-1)
    assert.is_true(test.stat(w:host("new/deep/a.vhd")) ~= nil)
    return task
  end)
  row(member, "S_OK", "a path of 259 characters", "task", function(w)
    return create(w, w:long(259))
  end)
  row(member, "E_POINTER", "no image", "call", function(w)
    return create(w, nil)
  end)
  row(member, "E_PATH_NOT_FOUND", "a file where a folder should be", "disk",
    function(w)
      support.write(w:host("file"), "x")
      return create(w, w:path("file/a.vhd"))
    end)
  row(member, "E_PATH_NOT_FOUND", "a drive that is not there", UNMAPPED,
    function(w)
      return create(w, [[Q:\a.vhd]])
    end)
  row(member, "E_INVALID_NAME", "a character in the image", "call",
    each("E_INVALID_NAME", forbidden, function(w, character)
      return create(w, w:path("a") .. character .. "b.vhd")
    end))
  row(member, "E_BUFFER_OVERFLOW", "an image of 260 characters", "call",
    function(w)
      return create(w, w:long(260))
    end)
  row(member, "E_ALREADY_EXISTS", "a file", "disk", function(w)
    support.write(w:host("a.vhd"), "mine")
    return create(w, w:path("a.vhd"))
  end)
  row(member, "E_ALREADY_EXISTS", "a folder", "disk", function(w)
    assert(test.mkdir(w:host("a.vhd")))
    return create(w, w:path("a.vhd"))
  end)
  row(member, "E_ALREADY_EXISTS", "a link to nothing", "disk", function(w)
    support.run("ln -s nowhere " .. support.q(w:host("a.vhd")))
    return create(w, w:path("a.vhd"))
  end)
  row(member, "E_ALREADY_EXISTS", "a name in other case", "disk", function(w)
    support.write(w:host("A.VHD"), "mine")
    return create(w, w:path("a.vhd"))
  end, { kind = "windows" })
  row(member, "E_DISK_FULL", "less than 8 MB free", "disk", function(w)
    return function(volume)
      return volume(FULL_TMPFS, function()
        support.run("head -c 9M /dev/zero >" .. w:host("volume/fill"))
        return create(w, w:path("volume/new/a.vhd"))
      end)
    end
  end, { root = true })
  row(member, "VM_E_FILE_TOO_LARGE_FOR_VOLUME", "20 GB on ext2 with 1 KB blocks",
    "disk", function(w)
      return function(_, image)
        return image(EXT2, "64M", function()
          return create(w, w:path("volume/new/a.vhd"), 20 * 1024)
        end)
      end
    end, { root = true, needs = "mke2fs" })
  row(member, "VM_E_FILE_TOO_LARGE_FOR_VOLUME", "5 GB on FAT32", "any",
    function(w)
      return function(_, image)
        return image("mkfs.vfat -F 32", "64M", function()
          return create(w, w:path("volume/new/a.vhd"), 5 * 1024)
        end)
      end
    end, { root = true, needs = "mkfs.vfat" })
  row(member, "VM_E_APP_SHUTTING_DOWN", "the engine is closed", "call",
    function(w)
      w.luacom.engine:close()
      return create(w, w:path(NEW))
    end)
  row(member, "DISP_E_EXCEPTION", "the device fails", "task", function(w)
    w.system:fail{ call = "pwritev", errno = "EIO" }
    return create(w, w:path(NEW))
  end, { fault = true })
  row(member, "E_ACCESSDENIED", "a read-only volume", "disk", function(w)
    return function(volume)
      return volume("-t tmpfs -o ro,size=16m tmpfs", function()
        return create(w, w:path("volume/a.vhd"))
      end)
    end
  end, { root = true, page = true })
end

-- ---- creating: sizes ------------------------------------------------------

for member, create in pairs(creators) do
  if member ~= "CreateDifferencingVirtualHardDisk" then
    row(member, "E_BAD_PATHNAME", "an empty path", "call", function(w)
      return create(w, "")
    end)
    row(member, "E_BAD_PATHNAME", "a relative path", "call", function(w)
      return create(w, "a.vhd")
    end)
    row(member, "E_POINTER", "no size", "call", function(w)
      return w.vs[member](w.vs, w:path(NEW), nil)
    end)
    for code, sizes in pairs{ E_INVALIDARG = { 0, -1, -2147483648, 64.5 },
      VM_E_IMAGE_SIZE_TOO_SMALL = { 1, 2 },
      VM_E_IMAGE_SIZE_TOO_LARGE = { 2088960, 2147483647, math.maxinteger,
        1e300 } } do
      row(member, code, "a size", "call", each(code, sizes, function(w, size)
        return create(w, w:path(NEW), size)
      end))
    end
    row(member, "S_OK", "3 MB", "task", function(w)
      local task = create(w, w:path(NEW), 3)
      task:WaitForCompletion(-1)
      assert.equal(3 * MiB, lvhd.info(w:host(NEW)).size)
      return task
    end)
  end
end

row("CreateDynamicVirtualHardDisk", "S_OK", "2,088,959 MB", "task", function(w)
  return w.vs:CreateDynamicVirtualHardDisk(w:path(NEW), 2088959)
end)

row("CreateFixedVirtualHardDisk", "E_DISK_FULL", "more than is free", "call",
  function(w)
    return function(volume)
      return volume(FULL_TMPFS, function()
        return w.vs:CreateFixedVirtualHardDisk(w:path("volume/a.vhd"), 64)
      end)
    end
  end, { root = true })

-- ---- creating: a parent ---------------------------------------------------

do
  local member <const> = "CreateDifferencingVirtualHardDisk"
  local function of(w, parent, image)
    return w.vs:CreateDifferencingVirtualHardDisk(image or w:path(NEW), parent)
  end
  row(member, "S_OK", "an image that is relative to its parent", "task",
    function(w)
      handmade.dynamic(w:host("base.vhd"), 64 * MiB)
      local task = of(w, w:path("base.vhd"),
        "sub" .. w:separator() .. "a.vhd")
      task:WaitForCompletion(-1)
      assert.equal("differencing", lvhd.info(w:host("sub/a.vhd")).type)
      return task
    end)
  row(member, "S_OK", "a parent that is relative to its image", "task",
    function(w)
      handmade.dynamic(w:host("base.vhd"), 64 * MiB)
      return of(w, ".." .. w:separator() .. "base.vhd")
    end)
  row(member, "S_OK", "a parent of exactly 2,040 GB", "task", function(w)
    handmade.dynamic(w:host("base.vhd"), 2040 * GiB)
    return of(w, w:path("base.vhd"))
  end)
  row(member, "E_POINTER", "no parent", "call", function(w)
    return of(w, nil)
  end)
  row(member, "E_PATH_NOT_FOUND", "no parent file", "disk", function(w)
    return of(w, w:path("nowhere.vhd"))
  end)
  row(member, "E_PATH_NOT_FOUND", "no folder of the parent", "disk",
    function(w)
      return of(w, w:path("nowhere/base.vhd"))
    end)
  row(member, "E_PATH_NOT_FOUND", "the parent's drive is not there",
    UNMAPPED, function(w)
      return of(w, [[Q:\base.vhd]])
    end)
  row(member, "E_INVALID_NAME", "a character in the parent", "call",
    each("E_INVALID_NAME", forbidden, function(w, character)
      return of(w, w:path("a") .. character .. "b.vhd")
    end))
  row(member, "E_BAD_PATHNAME", "both empty or relative", "call",
    each("E_BAD_PATHNAME", { { "", "" }, { "a.vhd", "base.vhd" },
      { "", "base.vhd" }, { "a.vhd", "" } }, function(w, both)
        return of(w, both[2], both[1])
      end))
  row(member, "E_BUFFER_OVERFLOW", "a parent of 260 characters", "call",
    function(w)
      return of(w, w:long(260))
    end)
  row(member, "VM_E_IMAGE_SIZE_TOO_LARGE", "a parent of more than 2,040 GB",
    "disk", function(w)
      handmade.dynamic(w:host("base.vhd"), 2040 * GiB + 512)
      return of(w, w:path("base.vhd"))
    end)
  row(member, "VM_E_IMAGE_SIZE_TOO_SMALL", "a parent of 2 MB", "disk",
    function(w)
      handmade.dynamic(w:host("base.vhd"), 2 * MiB)
      return of(w, w:path("base.vhd"))
    end)
  row(member, "VM_E_INVALID_HD_FILE", "a parent that is no VHD", "disk",
    function(w)
      support.write(w:host("base.vhd"), ("x"):rep(4096))
      return of(w, w:path("base.vhd"))
    end, { page = true })
  row(member, "E_SHARING_VIOLATION", "a parent that is being written", "disk",
    function(w)
      w:dynamic("base.vhd")
      return w:in_use("base.vhd", function()
        local ok, task = pcall(of, w, w:path("base.vhd"))
        if not ok then error(task, 0) end
        task:WaitForCompletion(-1)
        return task
      end)
    end, { page = true })
end

-- ---- paths of files that are there, and of folders -------------------------

-- The rules on the text of a path, for a member that wants an absolute one.
local function texts(member, call, empty)
  row(member, "E_INVALID_NAME", "a character in the path", "call",
    each("E_INVALID_NAME", forbidden, function(w, character)
      return call(w, w:path("a") .. character .. "b.vhd")
    end))
  row(member, empty or "E_BAD_PATHNAME", "an empty path", "call", function(w)
    return call(w, "")
  end)
  row(member, "E_BAD_PATHNAME", "a relative path", "call", function(w)
    return call(w, "a.vhd")
  end)
  row(member, "E_BUFFER_OVERFLOW", "a path of 260 characters", "call",
    function(w)
      return call(w, w:long(260))
    end)
end

local function get(w, path)
  return w.vs:GetHardDisk(path)
end
texts("GetHardDisk", get)
row("GetHardDisk", "S_OK", "a disk", "call", function(w)
  w:dynamic("a.vhd")
  return get(w, w:path("a.vhd"))
end)
row("GetHardDisk", "E_POINTER", "no path", "call", function(w)
  return get(w, nil)
end)
row("GetHardDisk", "E_FILE_NOT_FOUND", "no file", "call", function(w)
  return get(w, w:path("a.vhd"))
end)
row("GetHardDisk", "E_FILE_NOT_FOUND", "a folder", "call", function(w)
  assert(test.mkdir(w:host("a.vhd")))
  return get(w, w:path("a.vhd"))
end)
row("GetHardDisk", "E_PATH_NOT_FOUND", "no folder", "call", function(w)
  return get(w, w:path("new/a.vhd"))
end)
row("GetHardDisk", "E_PATH_NOT_FOUND", "no drive", "call", function(w)
  return get(w, [[Q:\a.vhd]])
end)
row("GetHardDisk", "DISP_E_EXCEPTION", "the device fails", "call", function(w)
  w:dynamic("a.vhd")
  w.system:fail{ call = "pread", errno = "EIO", times = 0 }
  return get(w, w:path("a.vhd"))
end, { fault = true })

row("GetHardDiskFiles", "S_OK", "nothing to be searched", "call", function(w)
  local found = w.vs:GetHardDiskFiles()
  assert.same({}, found)
  return found
end)
-- A string, a number, other keys, numbers, a hole.
local NO_ARRAYS <const> = { "x", 1, { a = "x" }, { 1 }, { nil, "x" } }
row("GetHardDiskFiles", "E_INVALIDARG", "no array of strings", "call",
  each("E_INVALIDARG", NO_ARRAYS, function(w, value)
    return w.vs:GetHardDiskFiles(value)
  end))
row("SearchPaths", "E_INVALIDARG", "no array of strings", "call",
  each("E_INVALIDARG", NO_ARRAYS, function(w, value)
    w.vs.SearchPaths = value
  end))
row("GetHardDiskFiles", "DISP_E_EXCEPTION", "the device fails", "call",
  function(w)
    w.system:fail{ call = "getdents", errno = "EIO", times = 0 }
    return w.vs:GetHardDiskFiles{ w:path("") }
  end, { fault = true })

local function put_paths(w, path)
  w.vs.SearchPaths = { w:path(""), path }
end
texts("SearchPaths", put_paths)
row("SearchPaths", "S_OK", "folders", "call", function(w)
  assert(test.mkdir(w:host("sub")))
  put_paths(w, w:path("sub"))
  assert.same({ w:path(""), w:path("sub") }, w.vs.SearchPaths)
end)
row("SearchPaths", "E_POINTER", "nil", "call", function(w)
  w.vs.SearchPaths = nil
end)
row("SearchPaths", "E_FILE_NOT_FOUND", "no such folder", "call", function(w)
  put_paths(w, w:path("sub"))
end)
row("SearchPaths", "E_FILE_NOT_FOUND", "a file", "call", function(w)
  put_paths(w, w:path((w:dynamic("a.vhd"):match("[^/]+$"))))
end)
row("SearchPaths", "E_PATH_NOT_FOUND", "no way to it", "call", function(w)
  put_paths(w, w:path("sub/deep"))
end)
row("SearchPaths", "E_PATH_NOT_FOUND", "through a file", "call", function(w)
  w:dynamic("a.vhd")
  put_paths(w, w:path("a.vhd/deep"))
end)
row("SearchPaths", "DISP_E_EXCEPTION", "the device fails", "call", function(w)
  assert(test.mkdir(w:host("sub")))
  w.system:fail{ call = "fstat", errno = "EIO", times = 0 }
  put_paths(w, w:path("sub"))
end, { fault = true })

-- ---- tasks ----------------------------------------------------------------

local function with_task(w, fn)
  local task = w.vs:CreateDynamicVirtualHardDisk(w:path(NEW), 64)
  return fn(task)
end

row("Tasks", "S_OK", "the collection", "call", function(w)
  return w.vs.Tasks
end)
row("Item", "S_OK", "the first", "call", function(w)
  w.system:hold{ call = "pwritev" } -- so that it is there
  return with_task(w, function(task)
    assert.equal(task, w.vs.Tasks:Item(1))
    w.system:drop()
  end)
end, { fault = true })
row("Item", "DISP_E_BADINDEX", "of none", "call",
  each("DISP_E_BADINDEX", { 0, 1, -1, 2147483647 }, function(w, index)
    return w.vs.Tasks:Item(index)
  end))
local function wait(w, timeout)
  with_task(w, function(task)
    task:WaitForCompletion(timeout)
    task:WaitForCompletion(-1) -- 1 ms may be too short: the name is made again
  end)
  assert(os.remove(w:host(NEW)))
end
row("WaitForCompletion", "S_OK", "-1 and 0 to 4,000,000 ms", "call",
  each("S_OK", { -1, 1, 4000000, 0 }, wait))
for progid, code in pairs{ ["VirtualServer.Application"] = "E_POINTER",
  ["VirtualPC.Application"] = "E_INVALIDARG" } do
  row("WaitForCompletion", code, "out of range, in " .. progid, "call",
    each(code, { -2, 4000001, -2147483648, 2147483647 }, function(w, timeout)
      w.task = w.task or with_task(w, function(task) return task end)
      w.task:WaitForCompletion(timeout)
    end), { progid = progid })
end
row("Cancel", "S_OK", "of a task under way", "call", function(w)
  w.system:hold{ call = "pwritev" }
  with_task(w, function(task)
    assert.is_true(w.system:await(1))
    task:Cancel()
    w.system:drop()
    task:WaitForCompletion(-1)
    assert.equal(w.vs.vmTaskResult_Cancelled, task.Result)
    assert.is_nil(test.stat(w:host(NEW)))
  end)
end, { fault = true })
row("Cancel", "E_FAIL", "of one that is complete", "call", function(w)
  with_task(w, function(task)
    task:WaitForCompletion(-1)
    task:Cancel()
  end)
end)
for member in ("Description ID IsCancelable IsComplete PercentCompleted "
  .. "Result Error ErrorDescription"):gmatch("%S+") do
  row(member, "S_OK", "it is there", "call", function(w)
    with_task(w, function(task)
      assert.is_not_nil(task[member])
    end)
  end)
end

-- ---- properties of hard disks ---------------------------------------------

-- The object of a disk that is there, and then something happens to it.
local function then_read(property, happen)
  return function(w)
    w:dynamic("sub/a.vhd")
    local hd = get(w, w:path("sub/a.vhd"))
    happen(w)
    return hd[property]
  end
end

local function remove(w)
  assert(os.remove(w:host("sub/a.vhd")))
end

local function remove_folder(w)
  remove(w)
  assert(os.remove(w:host("sub")))
end

local function spoil(w)
  support.write(w:host("sub/a.vhd"), ("x"):rep(4096))
end

local function fail_reads(w)
  w.system:fail{ call = "pread", errno = "EIO", times = 0 }
end

for property, value in pairs{ Type = 0, SizeInGuest = 64 * MiB,
  SizeOnHost = 2560, HostFreeDiskSpace = true } do
  row(property, "S_OK", "it is there", "call", function(w)
    local got = then_read(property, function() end)(w)
    if value == true then
      assert.is_true(got > 0)
    else
      assert.equal(value, got)
    end
  end)
end
row("File", "S_OK", "it is there", "call", function(w)
  local file = then_read("File", function() end)(w)
  assert.equal(w:path("sub/a.vhd"), file)
end)
row("HostDriveIdentifier", "S_FALSE", "not linked", "call", function(w)
  local id = then_read("HostDriveIdentifier", function() end)(w)
  return id == nil and "S_FALSE" or "S_OK"
end)
for _, property in ipairs{ "Type", "SizeInGuest", "HostDriveIdentifier",
  "SizeOnHost", "Parent" } do
  row(property, "E_FILE_NOT_FOUND", "the image is gone", "call",
    then_read(property, remove))
  row(property, "E_FILE_NOT_FOUND", "its folder is gone", "call",
    then_read(property, remove_folder))
end
for _, property in ipairs{ "Type", "SizeInGuest", "HostDriveIdentifier",
  "Parent" } do
  row(property, "VM_E_HD_IMAGE_OPEN_FAIL", "it is no VHD any more", "call",
    then_read(property, spoil))
  row(property, "VM_E_HD_IMAGE_ACCESS", "the device fails", "call",
    then_read(property, fail_reads), { fault = true })
end
row("Type", "VM_E_DRIVE_INVALID", "a type that does not exist", "call",
  then_read("Type", function(w)
    handmade.fixed(w:host("sub/a.vhd"), 4 * MiB, { type = 7 })
  end))
row("SizeOnHost", "DISP_E_EXCEPTION", "the device fails", "call",
  then_read("SizeOnHost", fail_reads), { fault = true })
row("HostFreeDiskSpace", "E_BAD_PATHNAME", "the image is gone", "call",
  then_read("HostFreeDiskSpace", remove))
row("HostFreeDiskSpace", "DISP_E_EXCEPTION", "the device fails", "call",
  then_read("HostFreeDiskSpace", fail_reads), { fault = true })

-- A child in one folder, its parent in another below it.
local function family(w)
  w:dynamic("base/p.vhd")
  w:child("c.vhd", "base/p.vhd")
  return get(w, w:path("c.vhd"))
end

row("Parent", "S_OK", "of a child", "call", function(w)
  assert.equal(w:path("base/p.vhd"), family(w).Parent.File)
end)
row("Parent", "S_FALSE", "of a dynamic disk", "call", function(w)
  local parent = then_read("Parent", function() end)(w)
  return parent == nil and "S_FALSE" or "S_OK"
end)
row("Parent", "E_FILE_NOT_FOUND", "the parent is gone", "call", function(w)
  local hd = family(w)
  os.remove(w:host("base/p.vhd"))
  return hd.Parent
end)
row("Parent", "E_PATH_NOT_FOUND", "the parent's folder is gone", "call",
  function(w)
    local hd = family(w)
    os.remove(w:host("base/p.vhd"))
    os.remove(w:host("base"))
    return hd.Parent
  end)
row("Parent", "VM_E_PARENT_CHILD_ID_MISMATCH", "the parent is another disk",
  "call", function(w)
    local hd = family(w)
    os.remove(w:host("base/p.vhd"))
    w:dynamic("base/p.vhd")
    return hd.Parent
  end)

-- Assigning.
local function assign(prepare)
  return function(w)
    local hd = family(w)
    support.run(("cp -p %s %s"):format(w:host("base/p.vhd"),
      w:host("base/q.vhd")))
    local other = get(w, w:path("base/q.vhd"))
    if prepare then
      other = prepare(w, other) or other
    end
    hd.Parent = other
    assert.equal(w:path("base/q.vhd"), hd.Parent.File)
  end
end

row("Parent", "S_OK", "put: the parent has moved", "call", assign())
row("Parent", "E_POINTER", "put: nil", "call", function(w)
  family(w).Parent = nil
end)
row("Parent", "E_FILE_NOT_FOUND", "put: the parent is gone", "call",
  assign(function(w)
    os.remove(w:host("base/q.vhd"))
  end))
row("Parent", "E_PATH_NOT_FOUND", "put: the parent's folder is gone", "call",
  assign(function(w)
    support.run("mkdir " .. w:host("away") .. " && cp -p " ..
      w:host("base/q.vhd") .. " " .. w:host("away"))
    local other = get(w, w:path("away/q.vhd"))
    support.run("rm -r " .. w:host("away"))
    return other
  end))
row("Parent", "VM_E_PARENT_CHILD_ID_MISMATCH", "put: another disk", "call",
  assign(function(w)
    os.remove(w:host("base/q.vhd"))
    w:dynamic("base/q.vhd")
  end))
row("Parent", "VM_E_HD_IMAGE_OPEN_FAIL", "put: the child is no VHD any more",
  "call", assign(function(w)
    support.write(w:host("c.vhd"), ("x"):rep(4096))
  end))
row("Parent", "VM_E_HD_IMAGE_OPEN_FAIL", "put: somebody has the child", "call",
  function(w)
    family(w)
    w:in_use("c.vhd", function()
      get(w, w:path("c.vhd")).Parent = get(w, w:path("base/p.vhd"))
    end)
  end)
row("Parent", "VM_E_HD_IMAGE_ACCESS", "put: the device fails", "call",
  assign(function(w)
    w.system:fail{ call = "pread", at = "c.vhd", errno = "EIO", times = 0 }
  end), { fault = true })
row("Parent", "VM_E_WRONG_HD_IMAGE_TYPE", "put: it is no child", "call",
  function(w)
    family(w)
    get(w, w:path("base/p.vhd")).Parent = get(w, w:path("c.vhd"))
  end, { page = true })
row("Parent", "VM_E_FILE_READ_ONLY", "put: the child is read-only", "call",
  assign(function(w)
    support.run("chmod a-w " .. w:host("c.vhd"))
  end), { page = true })

-- ---- methods of hard disks ------------------------------------------------

-- Makes a family and a fixed disk, once, and calls a method of one of them;
-- happen(w) comes between.
local function on(name, method, happen)
  return function(w)
    if not test.stat(w:host("c.vhd")) then
      family(w)
      lvhd.create_fixed(w:host("f.vhd"), 4 * MiB):wait()
    end
    local hd = get(w, w:path(name))
    if happen then happen(w, hd) end
    return method(w, hd)
  end
end

local function compact(_, hd) return hd:Compact() end
local function merge(_, hd) return hd:Merge() end

local function gone(name)
  return function(w) os.remove(w:host(name)) end
end

local function closed(w)
  w.luacom.engine:close()
end

local function junk(name)
  return function(w)
    support.write(w:host(name), ("x"):rep(4096))
  end
end

-- The method runs while somebody writes the file.
local function busy(name, method)
  return function(w, hd)
    return w:in_use(name, function()
      local ok, task = pcall(method, w, hd)
      if not ok then error(task, 0) end
      task:WaitForCompletion(-1)
      return task
    end)
  end
end

local function read_only(name)
  return function(w)
    support.run("chmod a-w " .. w:host(name))
  end
end

row("Compact", "S_OK", "a dynamic disk", "task", on("base/p.vhd", compact))
row("Compact", "E_SHARING_VIOLATION", "in use", "task",
  on("base/p.vhd", busy("base/p.vhd", compact)))
for _, name in ipairs{ "c.vhd", "f.vhd" } do
  row("Compact", "VM_E_WRONG_HD_IMAGE_TYPE", name, "call", on(name, compact))
end
row("Compact", "VM_E_FILE_READ_ONLY", "read-only", "task",
  on("base/p.vhd", compact, read_only("base/p.vhd")))
row("Compact", "VM_E_INVALID_HD_FILE", "no VHD", "call",
  on("base/p.vhd", compact, junk("base/p.vhd")))
row("Compact", "VM_E_HD_IMAGE_OPEN_FAIL", "gone", "call",
  on("base/p.vhd", compact, gone("base/p.vhd")), { page = true })
row("Compact", "VM_E_APP_SHUTTING_DOWN", "the engine is closed", "call",
  on("base/p.vhd", compact, closed))
for errno, code in pairs{ ENOSPC = "E_DISK_FULL", EIO = "DISP_E_EXCEPTION" } do
  row("Compact", code, errno .. " where the note is written", "task",
    on("base/p.vhd", compact, function(w)
      do -- a block of zeros is what there is to be done
        local disk <close> = lvhd.open(w:host("base/p.vhd"), { write = true,
          force = true })
        disk:write(0, ("\0"):rep(512))
      end
      w.system:fail{ call = "pwritev", errno = errno, times = 0 }
    end), { fault = true })
end

row("Merge", "S_OK", "into the parent", "task", on("c.vhd", merge))
for _, name in ipairs{ "base/p.vhd", "f.vhd" } do
  row("Merge", "VM_E_WRONG_HD_IMAGE_TYPE", name, "call", on(name, merge))
end
row("Merge", "E_SHARING_VIOLATION", "the image is in use", "task",
  on("c.vhd", busy("c.vhd", merge)))
row("Merge", "E_SHARING_VIOLATION", "the parent is in use", "task",
  on("c.vhd", busy("base/p.vhd", merge)))
row("Merge", "E_SHARING_VIOLATION", "part of a saved state", "task",
  on("c.vhd", merge, function(w)
    require("spec.support.odd").footer(w:host("c.vhd"), 84, "\1")
  end))
row("Merge", "E_SHARING_VIOLATION", "another child of the parent", "task",
  on("c.vhd", merge, function(w)
    w:child("base/d.vhd", "base/p.vhd")
  end))
row("Merge", "VM_E_FILE_READ_ONLY", "the parent is read-only", "task",
  on("c.vhd", merge, read_only("base/p.vhd")))
row("Merge", "VM_E_PARENT_PATH_NOT_FOUND", "the parent is gone", "task",
  on("c.vhd", merge, gone("base/p.vhd")))
row("Merge", "VM_E_APP_SHUTTING_DOWN", "the engine is closed", "call",
  on("c.vhd", merge, closed))
row("Merge", "DISP_E_EXCEPTION", "the device fails", "task",
  on("c.vhd", merge, function(w)
    local child <close> = lvhd.open(w:host("c.vhd"), { write = true,
      parents = w:host("") })
    child:write(0, "what is to be merged"):flush()
    w.system:fail{ call = "pwritev", errno = "EIO", times = 0 }
  end), { fault = true })
row("Merge", "VM_E_HD_IMAGE_OPEN_FAIL", "gone", "call",
  on("c.vhd", merge, gone("c.vhd")), { page = true })
row("Merge", "VM_E_PARENT_CHILD_ID_MISMATCH", "the parent is another disk",
  "task", on("c.vhd", merge, function(w)
    os.remove(w:host("base/p.vhd"))
    w:dynamic("base/p.vhd")
  end), { page = true })

-- Convert and MergeTo have nearly the same table.
for member, more in pairs{ Convert = {}, MergeTo = { empty = "E_INVALIDARG" } }
do
  local function to(path, kind)
    return function(w, hd)
      return hd[member](hd, path and w:path(path), kind or 0)
    end
  end
  texts(member, function(w, path)
    return on("c.vhd", function(_, hd)
      return hd[member](hd, path, 0)
    end)(w)
  end, more.empty)
  for kind, what in pairs{ [0] = "dynamic", "fixed" } do
    row(member, "S_OK", "to a " .. what .. " disk", "task", function(w)
      local task = on("c.vhd", to("new/n.vhd", kind))(w)
      task:WaitForCompletion(-1)
      assert.equal(what, lvhd.info(w:host("new/n.vhd")).type)
      return task
    end)
  end
  row(member, "E_POINTER", "no path", "call", on("c.vhd", to(nil)))
  row(member, "E_PATH_NOT_FOUND", "a file where a folder should be", "disk",
    on("c.vhd", to("f.vhd/n.vhd")))
  row(member, "E_PATH_NOT_FOUND", "no such drive", UNMAPPED,
    on("c.vhd", function(_, hd)
      return hd[member](hd, [[Q:\n.vhd]], 0)
    end))
  row(member, "E_ALREADY_EXISTS", "a file", "disk", on("c.vhd", to("f.vhd")))
  row(member, "VM_E_WRONG_HD_IMAGE_TYPE", "a type of the new image", "call",
    on("c.vhd", function(w, hd)
      return each("VM_E_WRONG_HD_IMAGE_TYPE", { 2, 3, 4, -1, 0.5 },
        function(_, kind)
          return hd[member](hd, w:path("n.vhd"), kind)
        end)(w)
    end))
  row(member, "VM_E_WRONG_HD_IMAGE_TYPE", "no type", "call",
    on("c.vhd", function(w, hd)
      return hd[member](hd, w:path("n.vhd"))
    end))
  row(member, "E_SHARING_VIOLATION", "the parent is in use", "disk",
    on("c.vhd", busy("base/p.vhd", to("n.vhd"))))
  row(member, "VM_E_PARENT_PATH_NOT_FOUND", "the parent is gone", "disk",
    on("c.vhd", to("n.vhd"), gone("base/p.vhd")))
  row(member, "VM_E_APP_SHUTTING_DOWN", "the engine is closed", "call",
    on("c.vhd", to("n.vhd"), closed))
  row(member, "DISP_E_EXCEPTION", "the device fails", "task",
    on("c.vhd", to("n.vhd"), function(w)
      w.system:fail{ call = "pwritev", errno = "EIO", times = 0 }
    end), { fault = true })
  row(member, "E_DISK_FULL", "no room", "disk", function(w)
    return function(volume)
      return volume(FULL_TMPFS, function()
        support.run("head -c 9M /dev/zero >" .. w:host("volume/fill"))
        return on("c.vhd", to("volume/n.vhd"))(w)
      end)
    end
  end, { root = true })
  row(member, "VM_E_HD_IMAGE_OPEN_FAIL", "gone", "call",
    on("c.vhd", to("n.vhd"), gone("c.vhd")), { page = true })
end

row("Convert", "E_SHARING_VIOLATION", "the image is in use", "disk",
  on("base/p.vhd", busy("base/p.vhd", function(w, hd)
    return hd:Convert(w:path("n.vhd"), 0)
  end)))
row("Convert", "VM_E_INVALID_HD_FILE", "no VHD", "call",
  on("c.vhd", function(w, hd)
    return hd:Convert(w:path("n.vhd"), 0)
  end, junk("c.vhd")))
row("Convert", "E_INVALIDARG", "no .vhd in Virtual PC", "call",
  on("c.vhd", function(w, hd)
    return each("E_INVALIDARG", { "", "n.img", "n.vhd.", "nvhd" },
      function(_, path)
        return hd:Convert(path == "" and "" or w:path(path), 0)
      end)(w)
  end), { progid = "VirtualPC.Application" })
row("Convert", "S_OK", ".VHD in Virtual PC", "task",
  on("c.vhd", function(w, hd)
    return hd:Convert(w:path("n.VHD"), 0)
  end), { progid = "VirtualPC.Application" })
row("Convert", "S_OK", "any name in Virtual Server", "task",
  on("c.vhd", function(w, hd)
    return hd:Convert(w:path("n.img"), 0)
  end))
for _, name in ipairs{ "base/p.vhd", "f.vhd" } do
  row("MergeTo", "VM_E_WRONG_HD_IMAGE_TYPE", name .. " is no child", "call",
    on(name, function(w, hd)
      return hd:MergeTo(w:path("n.vhd"), 0)
    end))
end
row("MergeTo", "E_SHARING_VIOLATION", "the image is in use", "disk",
  on("c.vhd", busy("c.vhd", function(w, hd)
    return hd:MergeTo(w:path("n.vhd"), 0)
  end)))

-- ---- running them ---------------------------------------------------------

local function has(command)
  return support.has(command) or support.has("/sbin/" .. command)
end

-- A row in one world: the outcome is the row's, and where it says.
local function run(r, kind, preflight)
  local w = vsworld.new(kind)
  local system = r.fault and test.system()
  w.system = system
  w:reopen({ preflight = preflight, system = system and system:pointer() }, r.progid)
  local result, why
  local function judge(fn)
    local code, where, value = vsworld.outcome(fn)
    if value == "S_FALSE" then code = value end
    result = { code, where, value }
  end
  if r.root then
    -- the row's function wants to be told how volumes are mounted
    why = r.fn(w)(function(mount, fn)
      return w:on_volume(mount, function() judge(fn) end)
    end, function(mkfs, size, fn)
      return w:on_image(mkfs, size, function() judge(fn) end)
    end)
  else
    judge(function() return r.fn(w) end)
  end
  w:close()
  if system then system:drop() end
  return result, why
end

-- nil: either.
local function expected_place(r, kind, preflight)
  local how = type(r.how) == "table" and r.how[kind] or r.how
  if how == "any" then return nil end
  if how == "disk" then
    return preflight and "call" or "task"
  end
  return how
end

for _, kind in ipairs{ "host", "windows" } do
  describe("with paths of the " .. kind .. ",", function()
    for _, r in ipairs(rows) do
      if r.kind == nil or r.kind == kind then
        it(("%s is %s: %s%s"):format(r.member, r.code, r.what,
          r.root and " #root" or ""), function()
          if r.root and not support.is_root() then
            pending("mounting needs root")
          elseif r.needs and not has(r.needs) then
            pending(r.needs .. " is not installed")
          end
          local place = expected_place(r, kind, true)
          for _, preflight in ipairs{ true, false } do
            if not preflight and place == expected_place(r, kind, false) then
              break -- it makes no difference
            end
            local result, why = run(r, kind, preflight)
            if not result then pending(why) end
            place = expected_place(r, kind, preflight) or result[2]
            assert.same({ r.code, place },
              { result[1], result[2] }, tostring(result[3]))
          end
        end)
      end
    end
  end)
end

-- ---- nothing is left out --------------------------------------------------

describe("the documented tables", function()
  it("have each row here, or a reason why it cannot come", function()
    local seen = {}
    for _, r in ipairs(rows) do
      seen[r.member .. " " .. r.code] = true
    end
    for member, codes in pairs(documented) do
      for code in codes:gmatch("%S+") do
        local never = everywhere[code]
          or impossible[member] and impossible[member][code]
        assert.equal(never == nil, seen[member .. " " .. code] == true,
          ("%s %s: %s"):format(member, code, never and "both" or "neither"))
      end
    end
  end)

  it("have no other code but of the HRESULT page", function()
    for _, r in ipairs(rows) do
      local listed = (" " .. documented[r.member] .. " "):find(
        " " .. r.code .. " ", 1, true) ~= nil
      assert.equal(listed, not r.page, r.member .. " " .. r.code)
    end
  end)
end)
