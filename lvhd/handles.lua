-- SPDX-License-Identifier: MIT
--
-- The disks that this state has open. One that nobody can reach any more holds
-- its files, and the locks on them, until it is collected; whoever wants such a
-- file for himself has the collector run first. Knows nothing of verbs.

local M = {}

local open = setmetatable({}, { __mode = "k" })

-- A disk was to be opened, and what became of it was not told: memory ran out
-- in between, and it may be open where nobody can reach it.
local unsure = false

---A disk is about to be opened; add() follows.
function M.expect()
  if unsure then
    collectgarbage()
  end
  unsure = true
end

---From now on the disk, if it is one, may stand in the way. Gives back both.
function M.add(disk, err)
  if disk then
    open[disk] = true
  end
  unsure = false
  return disk, err
end

---It is closed.
function M.drop(disk)
  open[disk] = nil
end

---What cannot be reached lets go. Costs nothing while no disk is open.
---@return boolean swept
function M.sweep()
  if next(open) == nil and not unsure then
    return false
  end
  collectgarbage()
  unsure = false
  return true
end

return M
