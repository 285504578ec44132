-- SPDX-License-Identifier: MIT
--
-- Engines: making and closing them, and as their methods the verbs that
-- create and that ask; those that change are in lvhd/change.lua. What a verb
-- does is the core's business.

local core = require "lvhd.core"
local arguments = require "lvhd.arguments"
local errors = require "lvhd.error"
local handles = require "lvhd.handles"
local options = require "lvhd.options"

errors.own()

local STEP = 250 -- ms, the longest single wait in C

local M = {}

---What one file says of itself.
---@class lvhd.Info
---@field path string absolute, as it really is
---@field type "fixed"|"dynamic"|"differencing"|"raw" raw: what convert made,
---which has no footer, and nothing here that a footer says
---@field size integer bytes the guest sees
---@field original_size integer bytes, when it was created, or resized by lvhd
---@field file_size integer length of the file in bytes
---@field mtime integer of the file, seconds since 1970
---@field block_size? integer bytes; nil for fixed disks, as the next two
---@field blocks? integer entries of the BAT
---@field blocks_used? integer of which allocated
---@field alignment? integer every block's data starts at a multiple of so many
---bytes, 512 to 4096; nil: no block
---@field uuid string
---@field timestamp integer seconds since 1970
---@field creator string the four characters of the creating program
---@field creator_os? string "Wi2k", "Mac "
---@field creator_version integer two numbers of 16 bits
---@field geometry { cylinders: integer, heads: integer, sectors: integer }
---@field saved_state boolean
---@field hidden boolean XenServer's mark
---@field footer "end"|"short"|"copy" which footer counts: the one at the end;
---one of 511 bytes; the copy at the start, where the end has none
---@field free integer bytes free on the volume
---@field lockable boolean the volume has locks
---@field created? boolean false: the disk was there before (if_exists)
---@field findings lvhd.Finding[]
---@field parent? lvhd.Parent of differencing disks
---@field error? lvhd.Error in a chain: why it ends here

---@class lvhd.Parent
---@field path? string absolute, as it really is; nil when it was not looked
---for, or not found
---@field name? string the name field of the header
---@field uuid string
---@field timestamp integer seconds since 1970
---@field found? "locator"|"name"|"given" how it was found
---@field found_by? string code of the locator
---@field locators lvhd.Locator[]

---@class lvhd.Locator
---@field code string "W2ru", "W2ku", "MacX"
---@field path? string decoded, UTF-8
---@field raw? string the bytes in the file; nil: they are not inside it
---@field offset integer of the text in the file; these three as recorded
---@field space integer
---@field length integer

---@class lvhd.Finding
---@field code string one vocabulary with err.reason
---@field severity "error"|"warning"|"note"
---@field message string
---@field path string the file: of a conversion it may be one of the chains read
---@field offset? integer
---@field expected? integer|string an identifier: of MERGE_PENDING the child's
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

---What a chain may pull in, beside the leaf's own folder and what the caller
---names; each is an option of every engine and of every call that opens a
---chain, where it wins over the engine's.
---@class lvhd.OpenOptions
---@field parents? string|string[] folders with all below them, or files
---@field max_depth? integer 1..1024, the longest chain; default 64

---Where other children of a disk are looked for before it is changed: in the
---folders of the chain's own files, and in and below these. An option of every
---engine and of every call that changes what a disk reads.
---@class lvhd.SearchOptions
---@field children_in? string|string[]|false folders; false: no search at all

---For `open`.
---@class lvhd.WriteOptions: lvhd.OpenOptions, lvhd.SearchOptions
---@field write? boolean the leaf may be written (false)
---@field force? boolean with `write`: although other children of the disk were
---found, which ruins them, although a parent's time is not the recorded one, and
---although an interrupted merge waits to be run again, which is given up. For
---reading: without locks
---@field sync? "full"|"data"|"none" "none": flush and close do not wait for
---the device; default: the engine's

---@class lvhd.CheckOptions: lvhd.OpenOptions
---@field chain? boolean the parents too
---@field data? boolean every block too, not only the structures
---@field profile? "azure"|"hyperv"|"xenserver"|"virtualbox"|"7zip" adds what
---that reader is known to refuse

---@class lvhd.EngineOptions: lvhd.SharedOptions, lvhd.OpenOptions, lvhd.SearchOptions
---@field threads? integer 1..256; default min(4, processors)
---@field drives? table<string, string> Windows roots, as "C" or
---"\\\\nas\\golden" (a server and a share), and the folders of the host that they
---are: with them, paths of these drives are understood wherever a path is
---@field poll? fun(object: table, seconds?: number) how a wait passes its
---time; cqueues.poll fits. Without it a wait blocks
---@field dry_run? boolean nothing is changed (false): every call looks, and
---refuses what it would refuse; where it would begin to make, change or remove
---a file it raises E_ABORT (DRY_RUN). Where it succeeds, there was nothing to do

---@class lvhd.CreateOptions: lvhd.SharedOptions
---@field uuid? string 36 characters; default: random
---@field timestamp? integer seconds since 1970, from 2000 to 2136; the new
---file's modification time too; default: now
---@field mode? string permissions in octal digits, "0640"; default: 0666
---less the umask
---@field if_exists? "error"|"keep" "keep": an existing image that is the disk
---asked for is success, with info.created == false; what is on it is not compared

---What is on a new fixed or dynamic disk; default: zeros.
---@class lvhd.FormatOptions
---@field filesystem? "fat16"|"fat32" one partition, formatted: FAT16 on disks
---from 3 MB to less than 2,000 MB, FAT32 from 514 MB
---@field label? string of the file system: 1 to 11 characters of ASCII

---@class lvhd.FixedOptions: lvhd.CreateOptions, lvhd.FormatOptions
---@field allocate? "sparse"|"reserve"|"zero" a hole (default); space
---reserved; zeros written

---@class lvhd.DynamicOptions: lvhd.CreateOptions, lvhd.FormatOptions
---@field block_size? integer bytes: 2 MiB (default) or 512 KiB

---@class lvhd.DifferencingOptions: lvhd.CreateOptions
---@field block_size? integer bytes: that of the parent, which need not be said;
---of a fixed parent's child 2 MiB (default) or 512 KiB
---@field windows_parent? string how Windows calls the parent, absolute:
---[[D:\vms\base.vhd]]; recorded for readers there instead of what the drive map
---says

---One image of create_children.
---@class lvhd.Child
---@field image string path of the new file
---@field uuid? string 36 characters; default: random

---For create_children: as those of create_differencing, but that each image has
---its own uuid.
---@class lvhd.ChildrenOptions: lvhd.SharedOptions
---@field timestamp? integer of each child, as for create_differencing
---@field mode? string permissions in octal digits, "0640"
---@field if_exists? "error"|"keep" for each image
---@field block_size? integer what the parent has
---@field windows_parent? string

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

local function start_sized(self, kind, fname, image, bytes, opts)
  errors.check_self(self, meta, fname)
  arguments.path(image, 1, fname)
  arguments.size(bytes, 2, fname)
  local read = options.read(opts, options[fname], 3, fname)
  return arguments.sized(bytes, image, fname, function(parsed)
    local task, err = core.create(self, kind, image, parsed, read)
    return task, arguments.named(err, opts)
  end)
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
---@param opts? lvhd.DifferencingOptions
---@return lvhd.Task
function engine:create_differencing(image, parent, opts)
  errors.check_self(self, meta, "create_differencing")
  arguments.path(image, 1, "create_differencing")
  arguments.path(parent, 2, "create_differencing")
  local read = options.read(opts, options.create_differencing, 3,
    "create_differencing")
  local task, err = core.create(self, "differencing", image, parent, read)
  return arguments.started(task, arguments.named(err, opts))
end

---Creates many differencing disks on one parent, in one task: the parent is
---looked at once, files are written in parallel, and flushes are shared. Each
---image succeeds or fails by itself. The result is the list of their infos, in
---order; where one failed, the wait raises the error of the first that did, with
---`err.items`: for each image an info or an error. Cancelled, it leaves what was
---published by then, which `items` of its E_ABORT tells.
---A relative image starts from the parent's folder; a relative parent starts
---from `base`, and so do relative images then.
---Raises: as create_differencing, here for the parent and the options, in
---`err.items` for an image: what its path lacks, too.
---@param images (string|lvhd.Child)[] paths of the new files
---@param parent string path of an existing disk
---@param opts? lvhd.ChildrenOptions
---@return lvhd.Task
function engine:create_children(images, parent, opts)
  errors.check_self(self, meta, "create_children")
  local paths, uuids = arguments.children(images, 1, "create_children")
  arguments.path(parent, 2, "create_children")
  opts = options.read(opts, options.create_children, 3, "create_children")
  return arguments.started(core.create_children(self, parent, paths, uuids,
    opts))
end

-- ---- reading and asking -------------------------------------------------

---Reads what one file says of itself. Opens no other file and takes no lock.
---Raises: E_POINTER, VM_E_APP_SHUTTING_DOWN, E_INVALID_NAME (a path with NUL), E_PATH_NOT_FOUND,
---E_ACCESSDENIED, VM_E_INVALID_HD_FILE (with the reason), DISP_E_EXCEPTION,
---E_OUTOFMEMORY, VM_E_OUT_OF_RESOURCE, E_HANDLE after a fork.
---@param path string
---@return lvhd.Info
function engine:info(path)
  errors.check_self(self, meta, "info")
  arguments.existing(path, 1, "info")
  return arguments.started(core.read_info(self, path))[1]
end

---The infos of a disk and its parents, leaf to root. Where the chain breaks
---behind the leaf, the last info has `.error`:
---VM_E_PARENT_PATH_NOT_FOUND, E_ACCESSDENIED (PARENT_OUTSIDE, with a hint which
---folder to allow), VM_E_PARENT_CHILD_ID_MISMATCH, E_INVALID_NAME
---(CASE_AMBIGUOUS, on a drive), VM_E_HD_IMAGE_OPEN_FAIL (CHAIN_CYCLE,
---CHAIN_TOO_DEEP, PARENT_SIZE), or what opening a file gives.
---Raises: as info, for the leaf.
---@param path string
---@param opts? lvhd.OpenOptions
---@return lvhd.Info[]
function engine:chain(path, opts)
  errors.check_self(self, meta, "chain")
  arguments.existing(path, 1, "chain")
  opts = options.read(opts, options.chain, 2, "chain")
  return arguments.started(core.read_chain(self, path, opts))
end

---Opens a disk with its parents, for reading or, with `write`, for writing.
---A parent that only a file names is opened where it lies in or under the
---leaf's folder or an entry of `parents`. To decide hop by hop yourself, give
---the files, leaf to root: then nothing else is opened.
---Until it is closed, nobody may move the blocks of its files or write its
---parents, as far as locks are respected.
---Raises: as info, and what chain has in `.error`; a parent of another size is
---read as the format says; VM_E_WRONG_HD_IMAGE_TYPE (the list goes on behind a
---disk without parent); E_SHARING_VIOLATION (IN_USE: someone writes a parent,
---or is about to move blocks; `force` reads all the same).
---With `write`, beside these: E_SHARING_VIOLATION (IN_USE: someone has the leaf
---open, or writes a parent; OTHER_CHILDREN: `err.others` read from this disk;
---JOURNAL_PENDING: a merge into it was interrupted), VM_E_FILE_READ_ONLY (no
---write permission bit, for root too), VM_E_PARENT_MODIFIED,
---VM_E_HD_IMAGE_ACCESS (JOURNAL_FOREIGN: a note beside the file that is not
---its own). The leaf is locked until the disk is closed.
---Writing to a disk ruins every child that was made of it: children are looked
---for where `children_in` says, and no farther.
---@param path string|string[]
---@param opts? lvhd.WriteOptions
---@return lvhd.Disk
function engine:open(path, opts)
  errors.check_self(self, meta, "open")
  local paths = arguments.paths(path, 1, "open")
  opts = options.read(opts, options.open, 2, "open")
  local exact = type(path) == "table"
  handles.expect()
  local disk, err = handles.add(core.open(self, paths, opts, exact))
  if err and err.reason == "IN_USE" and handles.sweep() then
    handles.expect()
    disk, err = handles.add(core.open(self, paths, opts, exact))
  end
  return arguments.started(disk, err)
end

---Checks a file, or with `chain` its parents too: the result is a list of
---infos, leaf first, and what is wrong is in their `findings`.
---Raises, here or from the wait: as info, when the leaf cannot be opened or is
---no VHD at all; VM_E_APP_SHUTTING_DOWN.
---@param path string
---@param opts? lvhd.CheckOptions
---@return lvhd.Task
function engine:check(path, opts)
  errors.check_self(self, meta, "check")
  arguments.existing(path, 1, "check")
  opts = options.read(opts, options.check, 2, "check")
  return arguments.started(core.check(self, path, opts))
end

---Finds the VHD files in and below the folders, by what they hold and not by
---their names: the result is a list of infos in the order of their paths.
---Links are not followed; what cannot be read is left out.
---Raises, here or from the wait: E_POINTER, E_INVALID_NAME (a path with NUL),
---E_PATH_NOT_FOUND, E_ACCESSDENIED (a folder that was named),
---VM_E_APP_SHUTTING_DOWN, DISP_E_EXCEPTION, E_OUTOFMEMORY,
---VM_E_OUT_OF_RESOURCE.
---@param folders string|string[]
---@return lvhd.Task
function engine:find(folders)
  errors.check_self(self, meta, "find")
  return arguments.started(core.find(self, arguments.paths(folders, 1, "find")))
end

---Finds the differencing disks in and below the folders whose recorded parent,
---by identifier, is this disk.
---Raises: as find, and for the parent as info.
---@param parent string
---@param folders string|string[]
---@return lvhd.Task
function engine:children(parent, folders)
  errors.check_self(self, meta, "children")
  arguments.existing(parent, 1, "children")
  return arguments.started(core.children(self, parent,
    arguments.paths(folders, 2, "children")))
end

-- ---- Windows paths ------------------------------------------------------

---How Windows calls a file or folder of the host, by the engine's drives:
---"C:\\vms\\a.vhd". nil: it lies under no mapped folder, or a name on the way can
---be none in Windows. It need not exist.
---Raises: E_POINTER, E_BAD_PATHNAME (not absolute), E_INVALID_NAME (a path with
---NUL), and what the host says.
---@param path string absolute, of the host
---@return string?
function engine:windows_path(path)
  errors.check_self(self, meta, "windows_path")
  arguments.existing(path, 1, "windows_path")
  local text, err = core.windows_path(self, path)
  if text == nil then
    errors.raise(err)
  end
  return text or nil
end

---Where a Windows path leads on the host, as things stand: links are resolved,
---names are as they are there, and what does not exist is named as it would be.
---Raises: E_POINTER, E_BAD_PATHNAME (no path of a drive or share, or the engine
---maps none), E_INVALID_NAME, E_PATH_NOT_FOUND (NO_SUCH_DRIVE; something on the
---way is no folder), E_ACCESSDENIED (OUTSIDE_DRIVE: a link leads out of the
---mapped folder).
---@param path string absolute, of Windows
---@return string
function engine:host_path(path)
  errors.check_self(self, meta, "host_path")
  arguments.existing(path, 1, "host_path")
  return arguments.started(core.host_path(self, path))
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
---@param default? boolean it is the default engine
---@return lvhd.Engine
function M.new(opts, fname, default)
  local read = options.read(opts, options.engine, 1, fname) or {}
  local made, err = core.engine(read)
  if not made then
    errors.raise(err)
  end
  core.engine_state(made, { poll = read.poll, waiters = {}, default = default })
  return made
end

M.methods = engine
M.meta = meta

return M
