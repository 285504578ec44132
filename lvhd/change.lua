-- SPDX-License-Identifier: MIT
--
-- The verbs that make one disk of another, or change one in place, as methods
-- of engines. What a verb does is the core's business.

local core = require "lvhd.core"
local arguments = require "lvhd.arguments"
local engines = require "lvhd.engine"
local errors = require "lvhd.error"
local handles = require "lvhd.handles"
local options = require "lvhd.options"

errors.own()

local meta = engines.meta

---@class lvhd.Engine
local engine = engines.methods

---In place: the file stays, and what it holds is written anew. For `repair`,
---and with more for the others.
---@class lvhd.ChangeOptions
---@field force? boolean go on where the verb would refuse for the sake of
---other disks: other children that would be ruined, a parent whose time is not
---the recorded one, a time of the file that cannot be given back, an
---interrupted operation that is given up
---@field sync? "full"|"data"|"none" "none": a crash of the machine may leave
---anything; default: the engine's

---@class lvhd.CompactOptions: lvhd.ChangeOptions, lvhd.OpenOptions

---@class lvhd.ResizeOptions: lvhd.ChangeOptions, lvhd.SearchOptions

---@class lvhd.RelinkOptions: lvhd.ChangeOptions, lvhd.OpenOptions
---@field windows_parent? string as of create_differencing

---@class lvhd.MergeOptions: lvhd.ChangeOptions, lvhd.OpenOptions, lvhd.SearchOptions
---@field into? string an ancestor of the child; default: its parent. What lies
---between is merged too
---@field children? string|string[] children of the child, which are to hang on
---the target afterwards
---@field delete? boolean the merged files go when all is done (false)

---@class lvhd.ConvertOptions: lvhd.CreateOptions, lvhd.OpenOptions
---@field from? "vhd"|"raw" what the source is (`"vhd"`); never guessed
---@field to? "dynamic"|"fixed"|"differencing"|"raw" what it becomes
---(`"dynamic"`)
---@field parent? string of a differencing disk: only what differs is kept
---@field windows_parent? string of a differencing disk: as of
---create_differencing
---@field round? integer|string the size is rounded up to a multiple of so many
---bytes, a power of two from 512 to 1 GiB: "512", "1 MiB"
---@field block_size? integer bytes: 2 MiB (default) or 512 KiB; a child takes
---its parent's
---@field allocate? "sparse"|"reserve"|"zero" of a fixed or raw disk: holes
---where zeros are (default); space reserved; zeros written

---Makes a new disk with the content of another one, which is only read; of a
---child, with the content of its whole chain. Blocks that are all zero are not
---written. The new file appears whole or not at all, and never replaces one.
---Raises, here or from the wait: what the creators raise for the new file, what
---`open` raises for the source; E_SHARING_VIOLATION (someone writes the source
---or a parent of it, SOURCE_CHANGED: and locks nothing); E_POINTER
---(NO_PARENT_GIVEN); E_INVALIDARG (PARENT_NOT_WANTED; ROUND_RANGE;
---SIZE_UNALIGNED: a raw source that is no multiple of 512 bytes, see `round`);
---VM_E_HD_IMAGE_OPEN_FAIL (PARENT_SIZE: the parent given has another size).
---@param source string path of an existing file
---@param dest string path of the new file; missing folders are made
---@param opts? lvhd.ConvertOptions
---@return lvhd.Task
function engine:convert(source, dest, opts)
  errors.check_self(self, meta, "convert")
  arguments.existing(source, 1, "convert")
  arguments.path(dest, 2, "convert")
  opts = options.read(opts, options.convert, 3, "convert")
  handles.sweep()
  return arguments.started(core.convert(self, source, dest, opts))
end

---Folds a differencing disk into its parent, or with `into` into a farther
---ancestor: that one reads afterwards as the child did. Until it has
---succeeded the child reads as before, whatever happens, while the target may
---hold a part of it already; run it again to finish it. Where the target has all
---of it, and neither `delete` nor `children` ask for more, nothing is changed. The
---result is the target's info.
---The target is changed: every other child of it that nobody found is ruined.
---Raises, here or from the wait: what `open` with `write` raises;
---VM_E_WRONG_HD_IMAGE_TYPE (the child has no parent), E_INVALIDARG
---(NOT_AN_ANCESTOR), VM_E_PARENT_CHILD_ID_MISMATCH (NOT_A_CHILD: one of
---`children`), E_SHARING_VIOLATION (SAVED_STATE), E_DISK_FULL.
---@param child string
---@param opts? lvhd.MergeOptions
---@return lvhd.Task
function engine:merge(child, opts)
  errors.check_self(self, meta, "merge")
  arguments.existing(child, 1, "merge")
  opts = options.read(opts, options.merge, 2, "merge")
  handles.sweep()
  return arguments.started(core.merge(self, child, opts))
end

---Makes a file shorter: blocks of zeros go, of a differencing disk blocks that
---read as the parent's. What the disk reads, and the time of the file, stay.
---Raises, here or from the wait: VM_E_WRONG_HD_IMAGE_TYPE (a fixed disk),
---VM_E_FILE_READ_ONLY, E_SHARING_VIOLATION (IN_USE, SAVED_STATE,
---JOURNAL_PENDING), VM_E_PARENT_MODIFIED, E_ACCESSDENIED (the time cannot be
---given back), and what opening a chain gives.
---@param path string
---@param opts? lvhd.CompactOptions
---@return lvhd.Task
function engine:compact(path, opts)
  errors.check_self(self, meta, "compact")
  arguments.existing(path, 1, "compact")
  opts = options.read(opts, options.compact, 2, "compact")
  handles.sweep()
  return arguments.started(core.compact(self, path, opts))
end

---Gives a fixed or dynamic disk another size. What is added reads as zeros;
---what is cut off must be zeros: VM_E_IMAGE_SIZE_TOO_SMALL (DATA_BEYOND, and
---`err.offset` is the last byte that is not).
---Raises, here or from the wait: the errors of sizes, as create_fixed;
---VM_E_WRONG_HD_IMAGE_TYPE (a differencing disk: convert it first),
---VM_E_FILE_READ_ONLY, E_SHARING_VIOLATION (IN_USE, OTHER_CHILDREN, SAVED_STATE,
---JOURNAL_PENDING), E_DISK_FULL, and what opening a file gives.
---@param path string
---@param size integer|string bytes, or "40 GiB"; a multiple of 512
---@param opts? lvhd.ResizeOptions
---@return lvhd.Task
function engine:resize(path, size, opts)
  errors.check_self(self, meta, "resize")
  arguments.existing(path, 1, "resize")
  arguments.size(size, 2, "resize")
  opts = options.read(opts, options.resize, 3, "resize")
  handles.sweep()
  return arguments.sized(size, path, "resize", function(bytes)
    return core.resize(self, path, bytes, opts)
  end)
end

---Tells a child where its parent is, and what time it has: after a move, or
---where the time alone has changed. Nothing is copied: a parent with other
---content makes the child read nonsense. The parent's own parents must be
---found: relink a chain from its root on.
---Raises, here or from the wait: VM_E_WRONG_HD_IMAGE_TYPE (the child has no
---parent), VM_E_PARENT_CHILD_ID_MISMATCH (another disk; `force`),
---VM_E_HD_IMAGE_OPEN_FAIL (CHAIN_CYCLE, CHAIN_TOO_DEEP, PARENT_SIZE),
---E_INVALID_NAME and E_BUFFER_OVERFLOW (the way to the parent cannot be
---recorded; windows_parent), E_BAD_PATHNAME (windows_parent),
---VM_E_FILE_READ_ONLY, E_SHARING_VIOLATION, E_ACCESSDENIED (the time cannot be
---given back), and what opening a file gives.
---@param child string
---@param parent string
---@param opts? lvhd.RelinkOptions
---@return lvhd.Task
function engine:relink(child, parent, opts)
  errors.check_self(self, meta, "relink")
  arguments.existing(child, 1, "relink")
  arguments.existing(parent, 2, "relink")
  opts = options.read(opts, options.relink, 3, "relink")
  handles.sweep()
  return arguments.started(core.relink(self, child, parent, opts))
end

---Writes anew what can be known for certain: the footer and its copy from one
---another, cylinders, heads and sectors, the padding of the BAT. What was done
---is in the info's findings (REPAIRED_...). Data is never guessed at, and a sound
---file is not written to. XenServer kills the footer of a disk that it has open
---and takes no lock: know that nobody uses such a file before you repair it.
---Raises, here or from the wait: VM_E_INVALID_HD_FILE (no footer is whole, the
---header is damaged, or blocks are where they cannot be), VM_E_FILE_READ_ONLY,
---E_SHARING_VIOLATION, E_ACCESSDENIED (the time cannot be given back), and what
---opening a file gives.
---@param path string
---@param opts? lvhd.ChangeOptions
---@return lvhd.Task
function engine:repair(path, opts)
  errors.check_self(self, meta, "repair")
  arguments.existing(path, 1, "repair")
  opts = options.read(opts, options.repair, 2, "repair")
  handles.sweep()
  return arguments.started(core.repair(self, path, opts))
end
