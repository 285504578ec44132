-- SPDX-License-Identifier: MIT
--
-- The disks that this state has open. One that nobody can reach any more holds
-- its files, and the locks on them, until it is collected; whoever wants such a
-- file for himself has the collector run first. Knows nothing of verbs.

local M = {}

local open = setmetatable({}, { __mode = "k" })

---From now on the disk may stand in the way.
function M.add(disk)
  open[disk] = true
  return disk
end

---It is closed.
function M.drop(disk)
  open[disk] = nil
end

---What cannot be reached lets go. Costs nothing while no disk is open.
---@return boolean swept
function M.sweep()
  if next(open) == nil then
    return false
  end
  collectgarbage()
  return true
end

return M
