-- SPDX-License-Identifier: MIT
--
-- Engines: making and closing them, and the verbs as their methods. What a
-- verb does is the core's business.

local core = require "lvhd.core"
local errors = require "lvhd.error"
local options = require "lvhd.options"
local size = require "lvhd.size"

errors.own()

local STEP = 250 -- ms, the longest single wait in C

local M = {}

---What one file says of itself.
---@class lvhd.Info
---@field path string absolute, as it really is
---@field type "fixed"|"dynamic"|"differencing"
---@field size integer bytes the guest sees
---@field file_size integer length of the file in bytes
---@field block_size? integer bytes; nil for fixed disks, as the next two
---@field blocks? integer entries of the BAT
---@field blocks_used? integer of which allocated
---@field uuid string
---@field timestamp integer seconds since 1970
---@field creator string the four characters of the creating program
---@field free integer bytes free on the volume
---@field lockable boolean the volume has locks
---@field created? boolean false: the disk was there before (if_exists)
---@field findings lvhd.Finding[]
---@field parent? lvhd.Parent of differencing disks

---@class lvhd.Parent
---@field path string absolute, as it really is
---@field name string the name field of the header
---@field uuid string
---@field timestamp integer seconds since 1970
---@field locators lvhd.Locator[]

---@class lvhd.Locator
---@field code string "W2ru", "W2ku", "MacX"
---@field path string decoded, UTF-8
---@field raw string the bytes in the file

---@class lvhd.Finding
---@field code string one vocabulary with err.reason
---@field severity "error"|"warning"|"note"
---@field message string
---@field path string
---@field offset? integer
---@field expected? integer
---@field actual? integer

---How durable, and how strict with names; each is an option of every engine
---and of every call, where it wins over the engine's.
---@class lvhd.SharedOptions
---@field sync? "full"|"data"|"none" file and folder durable before success
---(default); the file only; neither
---@field base? string absolute folder that a relative image starts from
---@field long_paths? boolean lift the limit of 260 characters (false)
---@field names? "windows"|"host" "host" lifts the forbidden characters
---@field preflight? boolean check the disk in the call already (true)

---@class lvhd.EngineOptions: lvhd.SharedOptions
---@field threads? integer 1..256; default min(4, processors)
---@field poll? fun(object: table, seconds?: number) how a wait passes its
---time; cqueues.poll fits. Without it a wait blocks

---@class lvhd.CreateOptions: lvhd.SharedOptions
---@field uuid? string 36 characters; default: random
---@field timestamp? integer seconds since 1970, from 2000 to 2136; the new
---file's modification time too; default: now
---@field mode? string permissions in octal digits, "0640"; default: 0666
---less the umask
---@field if_exists? "error"|"keep" "keep": an existing image that is the disk
---asked for is success, with info.created == false

---@class lvhd.FixedOptions: lvhd.CreateOptions
---@field allocate? "sparse"|"reserve"|"zero" a hole (default); space
---reserved; zeros written

---@class lvhd.DynamicOptions: lvhd.CreateOptions
---@field block_size? integer bytes: 2 MiB (default) or 512 KiB; a child
---takes its parent's

---Owns threads and tasks. Two engines share nothing. A task keeps its engine.
---@class lvhd.Engine
local engine = {}

local meta = core.metatables.engine
meta.__index = engine
meta.__name = "lvhd.engine"

-- ---- waiters: descriptors of the engine's small set -----------------------

local waiter_meta = core.metatables.waiter
waiter_meta.__name = "lvhd.waiter"

-- A waiter keeps its engine's free list in its user value's state.
function waiter_meta.__close(waiter)
  core.detach(waiter)
  local free = core.waiter_state(waiter).waiters
  free[#free + 1] = waiter
end

function core.take_waiter(self)
  local free = core.engine_state(self).waiters
  local waiter = table.remove(free)
  if waiter then
    return waiter
  end
  local made, err = core.waiter(self)
  if not made then
    errors.raise(err)
  end
  return made
end

-- ---- creating -----------------------------------------------------------

local function check_path(value, position, fname)
  if value ~= nil and type(value) ~= "string" then
    errors.argument(position, fname, "string expected, got " .. type(value))
  end
end

local function started(task, err)
  if not task then
    errors.raise(err)
  end
  return task
end

-- What a malformed size becomes for the core, which refuses it in its turn.
local UNREADABLE = math.mininteger

local function start_sized(self, kind, fname, image, bytes, opts)
  errors.check_self(self, meta, fname)
  check_path(image, 1, fname)
  if bytes ~= nil and type(bytes) ~= "number" and type(bytes) ~= "string" then
    errors.argument(2, fname,
      "integer or string expected, got " .. type(bytes))
  end
  opts = options.read(opts, options[fname], 3, fname)
  if bytes == nil then
    local err = core.fail("E_POINTER", fname)
    err.path, err.message = image, "the size is nil"
    errors.raise(err)
  end
  local parsed = size.parse(bytes)
  local task, err = core.create(self, kind, image, parsed or UNREADABLE, opts)
  if err and not parsed and err.reason == "SIZE_NOT_POSITIVE" then
    err.reason, err.expected, err.actual = "SIZE_MALFORMED", nil, bytes
    err.message = ("the size cannot be read: %s"):format(
      type(bytes) == "string" and ("%q"):format(bytes) or tostring(bytes))
  elseif err and (err.reason or ""):find("^SIZE_") then
    err.hint = size.hint(bytes)
  end
  return started(task, err)
end

---Creates a fixed disk: all of its bytes, and a footer.
---Raises: E_POINTER, VM_E_APP_SHUTTING_DOWN, E_INVALID_NAME, E_PATH_NOT_FOUND,
---E_BAD_PATHNAME, E_BUFFER_OVERFLOW, E_INVALIDARG, VM_E_IMAGE_SIZE_TOO_SMALL,
---VM_E_IMAGE_SIZE_TOO_LARGE, E_ACCESSDENIED, E_ALREADY_EXISTS,
---VM_E_FILE_TOO_LARGE_FOR_VOLUME, E_DISK_FULL, DISP_E_EXCEPTION, here or from
---the wait; from the wait E_NOTIMPL too (allocate = "reserve").
---@param image string path of the new file; missing folders are made
---@param bytes integer|string bytes, or "40 GiB"; from 3 MB to less than
---2,088,960 MB, a multiple of 512
---@param opts? lvhd.FixedOptions
---@return lvhd.Task
function engine:create_fixed(image, bytes, opts)
  return start_sized(self, "fixed", "create_fixed", image, bytes, opts)
end

---Creates a dynamic disk: a file that grows as it is written.
---Raises: as create_fixed.
---@param image string path of the new file; missing folders are made
---@param bytes integer|string as for create_fixed
---@param opts? lvhd.DynamicOptions
---@return lvhd.Task
function engine:create_dynamic(image, bytes, opts)
  return start_sized(self, "dynamic", "create_dynamic", image, bytes, opts)
end

---Creates a differencing disk: what it does not hold is read from the parent,
---which is opened for reading only and never changed. Of the parent only this
---one file is opened, never its own parents.
---Raises: as create_fixed, and for the parent VM_E_INVALID_HD_FILE,
---E_SHARING_VIOLATION (someone is writing it).
---@param image string path of the new file, or relative to the parent's folder
---@param parent string path of an existing disk, or relative to the image's
---folder
---@param opts? lvhd.DynamicOptions
---@return lvhd.Task
function engine:create_differencing(image, parent, opts)
  errors.check_self(self, meta, "create_differencing")
  check_path(image, 1, "create_differencing")
  check_path(parent, 2, "create_differencing")
  opts = options.read(opts, options.create_differencing, 3,
    "create_differencing")
  return started(core.create(self, "differencing", image, parent, opts))
end

-- ---- life ---------------------------------------------------------------

local function wait_idle(self)
  local poll = core.engine_state(self).poll
  if not poll then
    local hooked = core.hooked()
    repeat until core.engine_idle(self, STEP, hooked)
    return
  end
  if core.engine_idle(self, 0) then
    return
  end
  local waiter <close> = core.take_waiter(self)
  while not core.engine_idle(self, 0) do
    if not core.attach(waiter, nil) then
      poll(waiter)
    end
  end
end

local function close(self, cancel)
  if core.engine_forked(self) then
    return
  end
  core.engine_stop(self, cancel)
  core.engine_state(self).closed = true
  wait_idle(self)
  core.engine_join(self)
end

---Refuses new work from now on (VM_E_APP_SHUTTING_DOWN), waits for the tasks,
---joins the threads. Ctrl-C ends the wait; the engine stays closed. Closing
---again waits again.
---@param opts? { cancel?: boolean } cancel the tasks instead of letting them
---finish
function engine:close(opts)
  errors.check_self(self, meta, "close")
  local read = options.read(opts, options.close, 1, "close")
  close(self, read ~= nil and read.cancel == true)
end

function meta.__close(self, err)
  close(self, err ~= nil)
end

function meta.__tostring(self)
  local live, _, threads = core.engine_counts(self)
  return ("lvhd.engine: %d threads, %d tasks under way%s"):format(threads,
    live, core.engine_state(self).closed and " (closed)" or "")
end

---Makes an engine.
---@param opts? lvhd.EngineOptions
---@param fname string the function to blame
---@return lvhd.Engine
function M.new(opts, fname)
  local read = options.read(opts, options.engine, 1, fname) or {}
  local made, err = core.engine(read)
  if not made then
    errors.raise(err)
  end
  core.engine_state(made, { poll = read.poll, waiters = {} })
  return made
end

M.methods = engine

return M
