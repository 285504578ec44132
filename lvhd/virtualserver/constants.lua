-- SPDX-License-Identifier: MIT
--
-- The documented enumerations, each a table of name -> number: those whose
-- names and numbers both are in the documents. There is no VMDiskFormat: its
-- numbers were never published. Knows nothing else.

local M = {}

---What VMHardDisk.Type tells, and what Convert and MergeTo take.
M.VMHardDiskType = {
  vmDiskType_Dynamic = 0,
  vmDiskType_FixedSize = 1,
  vmDiskType_Differencing = 2,
  vmDiskType_HostDrive = 4,
}

---What VMTask.Result tells.
M.VMTaskResult = {
  vmTaskResult_Success = 0,
  vmTaskResult_Cancelled = 1,
  vmTaskResult_UnexpectedError = 2,
  vmTaskResult_OutOfMemoryError = 3,
  vmTaskResult_DiskRelatedError = 4,
  vmTaskResult_IncompatibleSavedStateError = 5,
  vmTaskResult_TimeOutError = 6,
  vmTaskResult_IllegalValueError = 7,
  vmTaskResult_ThreadCrashError = 8,
  vmTaskResult_ShutdownAbort = 9,
}

---Of CreateFloppyDiskImage, which is E_NOTIMPL here.
M.VMFloppyDiskImageType = {
  vmFloppyDiskImage_Unknown = 0,
  vmFloppyDiskImage_LowDensity = 1,
  vmFloppyDiskImage_HighDensity = 2,
  vmFloppyDiskImage_DMF = 3,
  vmFloppyDiskImage_LowDensitySingleSided = 4,
  vmFloppyDiskImage_MediumDensity = 5,
  vmFloppyDiskImage_HighDensityMSS = 6,
}

local enumerations = {}
for name, enumeration in pairs(M) do
  enumerations[name] = enumeration
end

---Copies every constant of every enumeration into one table.
---@param into table
---@return table into
function M.export(into)
  for _, enumeration in pairs(enumerations) do
    for name, number in pairs(enumeration) do
      into[name] = number
    end
  end
  return into
end

---The same, and the enumerations themselves under their names.
function M.name_all(into)
  for name, enumeration in pairs(enumerations) do
    into[name] = enumeration
  end
  return M.export(into)
end

return M
