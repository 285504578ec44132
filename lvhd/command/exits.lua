-- SPDX-License-Identifier: MIT
--
-- The exit codes of the command: one a class of errors. Knows the names of the
-- errors only.

local exits = {}

---Class -> number, what it means, and the errors in it.
exits.classes = {
  { 0, "done" },
  { 1, "an error that nothing foresaw", "DISP_E_EXCEPTION", "E_FAIL",
    "E_HANDLE", "VM_E_APP_SHUTTING_DOWN", "VM_E_TIMED_OUT" },
  { 2, "the command line is wrong" },
  { 3, "a name, a size or another value is not allowed", "E_INVALIDARG",
    "E_POINTER", "E_INVALID_NAME", "E_BAD_PATHNAME", "E_BUFFER_OVERFLOW",
    "E_INVALID_DRIVE", "VM_E_IMAGE_SIZE_TOO_SMALL",
    "VM_E_IMAGE_SIZE_TOO_LARGE" },
  { 4, "a file, a folder or a parent is missing", "E_PATH_NOT_FOUND",
    "E_FILE_NOT_FOUND", "VM_E_PARENT_PATH_NOT_FOUND" },
  { 5, "the new file exists already", "E_ALREADY_EXISTS" },
  { 6, "it may not be read or written", "E_ACCESSDENIED",
    "VM_E_FILE_READ_ONLY", "VM_E_HD_IMAGE_ACCESS" },
  { 7, "somebody uses it, or reads from it", "E_SHARING_VIOLATION" },
  { 8, "the volume is full, or cannot hold such a file", "E_DISK_FULL",
    "VM_E_FILE_TOO_LARGE_FOR_VOLUME" },
  { 9, "it is no valid disk; check has found errors", "VM_E_INVALID_HD_FILE",
    "VM_E_HD_IMAGE_OPEN_FAIL", "VM_E_UNSUPPORTED_HD_DISK_TYPE" },
  { 10, "the disks do not fit together, or not this verb",
    "VM_E_PARENT_CHILD_ID_MISMATCH", "VM_E_PARENT_MODIFIED",
    "VM_E_WRONG_HD_IMAGE_TYPE", "VM_E_DRIVE_INVALID" },
  { 11, "no memory, threads or descriptors are left", "E_OUTOFMEMORY",
    "VM_E_OUT_OF_RESOURCE" },
  { 12, "not available here", "E_NOTIMPL" },
  { 130, "interrupted: nothing is left half done; a merge is run again",
    "E_ABORT" },
}

exits.OK, exits.USAGE, exits.DAMAGED, exits.INTERRUPTED = 0, 2, 9, 130

local by_name = {}
for _, class in ipairs(exits.classes) do
  for i = 3, #class do
    by_name[class[i]] = class[1]
  end
end

-- Of VM_E_HD_IMAGE_OPEN_FAIL: each disk is well, but not with the other.
local UNFIT <const> = { PARENT_SIZE = true, CHAIN_CYCLE = true,
  CHAIN_TOO_DEEP = true }

---The exit code of an error.
---@param name string as lvhd.Error.name
---@param reason? string as lvhd.Error.reason
---@return integer
function exits.of(name, reason)
  return name == "VM_E_HD_IMAGE_OPEN_FAIL" and UNFIT[reason]
    and by_name.VM_E_WRONG_HD_IMAGE_TYPE or by_name[name] or 1
end

return exits
