-- SPDX-License-Identifier: MIT
--
-- Everything that changes a disk in place, as small scenarios: the files
-- before, the work, and what the disks must read before and after it.  The
-- files come from vhdwrite, which also says what they read as.
--
--   scenario.make(dir) -> what
--     what.leaves      the disks to be looked at: { name, before, after,
--                      deleted }: what it reads; before nil: anything, until
--                      the work is done
--     what.changes     names of files that may be changed
--     what.repaired    check has nothing to say at the end, whatever it said
--                      before
--     what.keeps_time  all files have their times again at the end
--     what.start, what.writes    of a leaf that is written: { offset, data }
--     what.extra(dir, progress)  more to be looked at
--     what.litter      names that may be left where the work was interrupted,
--                      and that may stand in the way of a second re-run
--     what.forgives    calls whose failure may go unreported
--     what.shows_footer    a program that knows no note may read a footer where
--                      zeros belong, while the work is half done
--   scenario.large     takes a second and hundreds of megabytes to judge
--   scenario.start(engine, dir) -> task    the work, where it is one verb
--   scenario.act(engine, dir, mark)        the work, done; its info

local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"

local KiB <const> = 1 << 10
local MiB <const> = 1 << 20
local SECTOR <const> = 512
local BLOCK <const> = 4 * KiB -- eight sectors
local PER <const> = BLOCK // SECTOR

local changes = {}

local function scenario(name, o)
  o.name = name
  o.act = o.act or function(engine, dir)
    return o.start(engine, dir):wait()
  end
  changes[#changes + 1] = o
end

-- ---- disks ----------------------------------------------------------------

-- Blocks given whole, and single sectors, that say who wrote them.
local function fill(disk, tag, blocks, sectors)
  local per = disk.type == "fixed" and PER or disk.block_size // SECTOR
  for _, b in ipairs(blocks or {}) do
    for s = b * per, (b + 1) * per - 1 do
      if s * SECTOR < disk.size then
        disk:put(s, vhdwrite.pattern(tag, s))
      end
    end
  end
  for _, s in ipairs(sectors or {}) do
    disk:put(s, vhdwrite.pattern(tag, s))
  end
  return disk
end

local function new(o)
  o.size = o.size or not o.parent and 16 * BLOCK or nil
  o.block_size = o.block_size or BLOCK
  return vhdwrite.new(o)
end

local function all(disk)
  return disk:read(0, disk.size)
end

-- ---- disk:write -----------------------------------------------------------

local function data(tag, n)
  return (("<%d>"):format(tag)):rep(n // 3 + 1):sub(1, n)
end

-- false is a flush.
local function writing(list)
  return function(engine, dir, mark)
    local disk = engine:open(dir .. "/leaf.vhd", { write = true })
    local info
    local ok, err = pcall(function()
      local n = 0
      info = disk:info()
      for _, w in ipairs(list) do
        if w then
          n = n + 1
          mark("begun " .. n)
          disk:write(w.offset, w.data)
        else
          disk:flush()
          mark("flushed " .. n)
        end
      end
      disk:close()
      mark("flushed " .. n)
    end)
    pcall(disk.close, disk)
    if not ok then
      error(err, 0)
    end
    return info
  end
end

local function write_scenario(name, list, make, slow)
  local writes = {}
  for _, w in ipairs(list) do
    writes[#writes + 1] = w or nil
  end
  scenario("write: " .. name, { act = writing(list), slow = slow,
    make = function(dir)
      local leaf = make(dir)
      return { leaves = { { name = "leaf.vhd", before = all(leaf) } },
        changes = { ["leaf.vhd"] = true }, start = all(leaf),
        writes = writes }
    end })
end

local function at(block, offset, n, tag)
  return { offset = block * BLOCK + offset, data = data(tag, n) }
end

-- New blocks (whole, part, part of a sector), blocks that are there, over
-- borders, again in the same place, with flushes between.
local MIXED <const> = {
  at(5, 0, BLOCK, 1), at(3, 512, 1024, 2), at(9, 100, 300, 3), false,
  at(3, 700, 20, 4), at(9, 0, 600, 5), at(5, 512, 512, 6), false,
  at(6, 4000, 9000, 7), at(0, 0, 4096, 8) }
local SHORT <const> = { at(2, 0, 512, 1), false, at(2, 1024, 700, 2),
  at(4, 0, 1000, 3) }

local function dynamic_leaf(o)
  return function(dir)
    local leaf = fill(new(o or {}), 1, { 0 }, { 3 * PER, 3 * PER + 2,
      15 * PER + 7 })
    leaf:save(dir .. "/leaf.vhd")
    return leaf
  end
end

local function child_leaf(o, parent)
  return function(dir)
    local root = fill(new(parent or {}), 1, { 0, 3, 5 }, { 9 * PER + 1 })
    root:save(dir .. "/root.vhd")
    local leaf = { parent = root }
    for k, v in pairs(o or {}) do
      leaf[k] = v
    end
    leaf = fill(new(leaf), 2, { 1 }, { 3 * PER + 1, 9 * PER })
    leaf:hide(3 * PER + 2, ("\xEE"):rep(SECTOR))
    leaf:save(dir .. "/leaf.vhd")
    return leaf
  end
end

write_scenario("dynamic", MIXED, dynamic_leaf())
write_scenario("differencing", MIXED, child_leaf())
write_scenario("differencing, over a fixed one", SHORT,
  child_leaf(nil, { type = "fixed" }), true)
write_scenario("fixed", MIXED, dynamic_leaf{ type = "fixed" })
write_scenario("fixed, with a footer of 511 bytes", SHORT,
  dynamic_leaf{ type = "fixed", footer = "511" })
write_scenario("many blocks at once", { at(1, 0, 2 * BLOCK, 1),
  at(4, 17, 9 * BLOCK, 2), false, at(13, 0, 2 * BLOCK, 3) }, dynamic_leaf(),
  true)
write_scenario("the first block of an empty disk", SHORT, function(dir)
  local leaf = new{}
  leaf:save(dir .. "/leaf.vhd")
  return leaf
end)
write_scenario("slack of an earlier crash", SHORT,
  dynamic_leaf{ tail = 5 * 512 })
write_scenario("slack and no footer at the end", SHORT,
  dynamic_leaf{ tail = 9 * 512, footer = "none" })
write_scenario("a footer that XenServer killed", SHORT,
  dynamic_leaf{ footer = "killed" }, true)
write_scenario("a footer of 511 bytes", SHORT, dynamic_leaf{ footer = "511" })
write_scenario("no copy at the start", SHORT, dynamic_leaf{ copy = "none" },
  true)
write_scenario("gaps between blocks", MIXED, dynamic_leaf{ align = 4096,
  gap = 512 }, true)
write_scenario("the BAT behind the blocks", SHORT, dynamic_leaf{
  order = { "header", "locators", "blocks", "bat" } }, true)
write_scenario("XenServer's batmap", MIXED, dynamic_leaf{ creator = "tap\0",
  creator_version = 0x10003, batmap = true }, true)
write_scenario("blocks of one sector", SHORT, dynamic_leaf{ block_size = 512,
  size = 16 * BLOCK }, true)
write_scenario("blocks of 2 MiB", { { offset = 2 * MiB, data = data(1, 5000) },
  false, { offset = 2 * MiB + 10000, data = data(2, 777) } }, function(dir)
  local leaf = new{ size = 4 * MiB, block_size = 2 * MiB }
  leaf:put(1, vhdwrite.pattern(1, 1))
  leaf:save(dir .. "/leaf.vhd")
  return leaf
end, true)

-- ---- merge ----------------------------------------------------------------

local function merge_scenario(name, o)
  scenario("merge: " .. name, { slow = o.slow,
    start = function(engine, dir)
      local opts = { delete = o.delete, children = o.children and {},
        into = o.into and dir .. "/" .. o.into }
      for i, c in ipairs(o.children or {}) do
        opts.children[i] = dir .. "/" .. c
      end
      return engine:merge(dir .. "/child.vhd", opts)
    end,
    make = function(dir)
      local child, others = o.make(dir)
      local what = { leaves = {}, forgives = o.forgives,
        changes = { ["child.vhd"] = true, [o.into or "parent.vhd"] = true } }
      if o.into then
        -- what lies between gets its parent's new time; once the child hangs
        -- on the ancestor, nobody knows any more what lay between
        what.changes["parent.vhd"] = true
        what.litter = o.delete and { ["parent.vhd"] = true }
      end
      local content = all(child)
      what.leaves[1] = { name = "child.vhd", before = content,
        after = content, deleted = o.delete }
      what.leaves[2] = { name = o.into or "parent.vhd", after = content }
      for _, disk in ipairs(others or {}) do
        local name_of = disk.path:match("[^/]*$")
        what.changes[name_of] = true
        what.leaves[#what.leaves + 1] = { name = name_of, before = all(disk),
          after = all(disk) }
      end
      return what
    end })
end

local function pair(parent, child)
  return function(dir)
    local below = fill(new(parent.o or {}), 1, parent.blocks, parent.sectors)
    below:save(dir .. "/parent.vhd")
    local leaf = { parent = below }
    for k, v in pairs(child.o or {}) do
      leaf[k] = v
    end
    leaf = fill(new(leaf), 2, child.blocks, child.sectors)
    leaf:save(dir .. "/child.vhd")
    return leaf
  end
end

local SOME <const> = { blocks = { 1, 7, 15 },
  sectors = { 3 * PER, 3 * PER + 5, 9 * PER + 7, 10 * PER } }

merge_scenario("into an empty parent", { make = pair({}, SOME) })
merge_scenario("into blocks that are there", { make = pair({
  blocks = { 1, 3 }, sectors = { 9 * PER, 15 * PER + 1 } }, SOME) })
merge_scenario("into a fixed parent", { make = pair({ o = { type = "fixed" },
  blocks = { 1, 3 } }, SOME) })
merge_scenario("and delete", { delete = true, make = pair({
  sectors = { 3 * PER + 1 } }, { blocks = { 3 }, sectors = { 7 } }) })
-- where nothing is written the new time may be the old one
merge_scenario("of an empty child", { slow = true,
  forgives = { futimens = true }, make = pair({ blocks = { 2 } }, {}) })
merge_scenario("blocks of other sizes", { slow = true,
  make = pair({ o = { block_size = 2 * BLOCK }, blocks = { 1 } },
    { o = { block_size = BLOCK }, blocks = { 2, 9 }, sectors = { 50 } }) })
merge_scenario("a parent with a footer of 511 bytes and slack", { slow = true,
  make = pair({ o = { footer = "511", tail = 512 }, blocks = { 1 } }, SOME) })

-- grand.vhd <- parent.vhd <- child.vhd <- leaf.vhd
local function family(dir)
  local grand = fill(new{}, 1, { 0, 2 }, { 3 * PER + 3 })
  grand:save(dir .. "/grand.vhd")
  local parent = fill(new{ parent = grand }, 2, { 1 }, { 3 * PER, 9 * PER })
  parent:save(dir .. "/parent.vhd")
  local child = fill(new{ parent = parent }, 3, { 7 }, { 3 * PER + 5, 2 * PER,
    9 * PER + 1 })
  child:save(dir .. "/child.vhd")
  return child
end

merge_scenario("into a differencing parent", { make = family })
merge_scenario("into an ancestor, and delete", { into = "grand.vhd",
  delete = true, make = family })
local function with_children(dir)
  local child = family(dir)
  local others = {}
  for i, name in ipairs{ "leaf.vhd", "other.vhd" } do
    others[i] = fill(new{ parent = child }, 3 + i, { 4 + i }, { i })
    others[i]:save(dir .. "/" .. name)
  end
  return child, others
end
merge_scenario("and reattach children", { children = { "leaf.vhd",
  "other.vhd" }, make = with_children })
merge_scenario("into an ancestor, reattach and delete", { delete = true,
  into = "grand.vhd", children = { "leaf.vhd", "other.vhd" },
  make = with_children, slow = true })

-- ---- compact --------------------------------------------------------------

local function same_scenario(name, o)
  scenario(name, { slow = o.slow, start = o.start, make = function(dir)
    local disk = o.make(dir)
    return { leaves = { { name = "leaf.vhd", before = all(disk),
      after = all(disk) } }, changes = { ["leaf.vhd"] = true },
      keeps_time = not o.forgives, forgives = o.forgives, extra = o.extra,
      repaired = o.repaired }
  end })
end

local function compacting(engine, dir)
  return engine:compact(dir .. "/leaf.vhd")
end

-- Blocks that are allocated and hold zeros.
local function zeros(disk, blocks)
  for _, b in ipairs(blocks) do
    disk:keep(b, true)
  end
  return disk
end

local function zeroed(o, full, empty)
  return function(dir)
    local disk = zeros(fill(new(o), 1, full), empty)
    disk:save(dir .. "/leaf.vhd")
    return disk
  end
end

same_scenario("compact: dynamic", { start = compacting,
  make = zeroed({}, { 3, 5, 12 }, { 0, 4, 9, 15 }) })
same_scenario("compact: dynamic, in another order", { start = compacting,
  slow = true, make = zeroed({ arrange = function(list)
    return vhdwrite.random(7).shuffle(list)
  end, gap = 512 }, { 1, 2, 3, 5, 12, 14 }, { 0, 4, 9, 15 }) })
same_scenario("compact: dynamic, all of it zeros", { start = compacting,
  make = zeroed({}, {}, { 0, 1, 2 }) })
same_scenario("compact: dynamic, nothing to do", { start = compacting,
  slow = true, make = zeroed({}, { 2, 1 }, {}) })
same_scenario("compact: dynamic, slack and a footer of 511 bytes", {
  start = compacting, slow = true,
  make = zeroed({ tail = 3 * 512, footer = "511" }, { 2, 9 }, { 1 }) })
-- what becomes free before the BAT stays in the file, as a hole
same_scenario("compact: dynamic, the BAT behind the blocks", {
  start = compacting, make = zeroed({
    order = { "header", "locators", "blocks", "bat" } }, { 1, 4 }, { 0, 9 }) })
-- zeros that are moved are a hole
same_scenario("compact: dynamic, a block that is zeros at the end", {
  slow = true, start = compacting, make = function(dir)
    local disk = fill(new{ size = MiB, block_size = 256 * KiB }, 1, nil,
      { 512 })
    zeros(disk, { 0, 1 }):save(dir .. "/leaf.vhd")
    return disk
  end })
same_scenario("compact: differencing", { start = compacting,
  make = function(dir)
    local root = fill(new{}, 1, { 0, 3, 5 }, { 9 * PER + 1 })
    root:save(dir .. "/root.vhd")
    local leaf = new{ parent = root }
    fill(leaf, 1, { 3 }, { 5 * PER + 1, 9 * PER + 1 }) -- as the parent reads
    fill(leaf, 2, { 7, 12 }, { 2 * PER })
    leaf:keep(8, true):keep(10)
    leaf:save(dir .. "/leaf.vhd")
    return leaf
  end })

-- ---- resize ---------------------------------------------------------------

local function resize_scenario(name, o)
  scenario("resize: " .. name, { slow = o.slow, large = o.large,
    start = function(engine, dir)
      return engine:resize(dir .. "/leaf.vhd", o.to)
    end,
    make = function(dir)
      local disk = o.make(dir)
      local before = all(disk)
      local after = before:sub(1, o.to)
        .. ("\0"):rep(math.max(0, o.to - #before))
      return { leaves = { { name = "leaf.vhd", before = before,
        after = after } }, changes = { ["leaf.vhd"] = true },
        shows_footer = o.shows_footer }
    end })
end

local function sized(o, full, empty)
  return zeroed(o, full, empty or {})
end

-- There is no moment between the old size and the new one in which no footer
-- is either missing or data: who does not read the note sees it in one sector.
resize_scenario("fixed, grow", { to = 4 * MiB + 512, shows_footer = true,
  make = sized({ type = "fixed", size = 4 * MiB }, { 0, 100, 1023 }) })
resize_scenario("fixed, shrink", { to = 3 * MiB + 512, shows_footer = true,
  make = sized({ type = "fixed", size = 4 * MiB }, { 0, 100 }) })
resize_scenario("dynamic, grow in the BAT's padding", { to = 5 * MiB,
  make = sized({ size = 4 * MiB, block_size = 64 * KiB }, { 0, 3, 63 }) })
-- 128 entries fill a sector: what follows the BAT must move
resize_scenario("dynamic, grow the BAT over blocks", { to = 5 * MiB,
  make = sized({ size = 4 * MiB, block_size = 32 * KiB }, { 127, 5, 0 }) })
resize_scenario("dynamic, grow the BAT far", { to = 64 * MiB, slow = true,
  large = true,
  make = sized({ size = 4 * MiB, block_size = 4 * KiB }, { 127, 5, 0, 900 },
    { 17, 18 }) })
resize_scenario("dynamic, grow inside the last block", { slow = true,
  to = 4 * MiB, make = sized({ size = 4 * MiB - 512, block_size = 32 * KiB },
    { 0, 126 }) })
resize_scenario("dynamic, an empty disk", { to = 5 * MiB, slow = true,
  make = sized({ size = 4 * MiB, block_size = 32 * KiB }, {}) })
resize_scenario("dynamic, shrink", { to = 3 * MiB + 512,
  make = sized({ size = 4 * MiB, block_size = 32 * KiB }, { 0, 50 },
    { 120, 127 }) })
resize_scenario("dynamic, shrink inside the last block", { slow = true,
  to = 4 * MiB - 512,
  make = sized({ size = 4 * MiB, block_size = 32 * KiB }, { 0, 50 },
    { 127 }) })

-- ---- relink ---------------------------------------------------------------

local function relink_scenario(name, o)
  same_scenario("relink: " .. name, { slow = o.slow,
    forgives = o.force and { futimens = true },
    start = function(engine, dir)
      return engine:relink(dir .. "/leaf.vhd", dir .. "/" .. o.to,
        { force = o.force, windows_parent = o.windows })
    end,
    extra = function(dir, progress)
      if progress.done then
        local header = vhdread.open(dir .. "/leaf.vhd").header
        local told = vhdread.utf16(header.parent_name, ">"):gsub("\0+$", "")
        if told ~= o.to then
          error("the parent's name is " .. told, 0)
        end
        if o.windows and header.locators[2].text ~= o.windows then
          error("its name in Windows is not told", 0)
        end
      end
    end,
    make = function(dir)
      local root = fill(new{}, 1, { 0, 3, 5 }, { 9 * PER + 1 })
      root:save(dir .. "/root.vhd")
      local copy = fill(new{ uuid = o.force and vhdwrite.uuid(99) or root.uuid,
        mtime = root.mtime + 5 }, 1, { 0, 3, 5 }, { 9 * PER + 1 })
      copy:save(dir .. "/" .. o.to)
      local leaf = { parent = root }
      for k, v in pairs(o.leaf or {}) do
        leaf[k] = v
      end
      leaf = fill(new(leaf), 2, { 7 }, { 2 * PER })
      leaf:save(dir .. "/leaf.vhd")
      return leaf
    end })
end

relink_scenario("to a copy of another name", { to = "copy of the root.vhd" })
relink_scenario("to another identifier", { to = "other.vhd", force = true })
relink_scenario("a longer name than there is room for", { slow = true,
  to = ("long"):rep(60) .. ".vhd" })
relink_scenario("three texts over three of old", { to = "moved.vhd",
  windows = [[C:\moved.vhd]], leaf = { order = { "header", "bat", "locators",
    "blocks" }, locators = { { code = "W2ku", text = [[C:\root.vhd]] },
    { code = "W2ru", text = [[.\root.vhd]] },
    { code = "MacX", text = "file://./root.vhd" } } } })

-- ---- repair ---------------------------------------------------------------

local function repairing(engine, dir)
  return engine:repair(dir .. "/leaf.vhd")
end

local function broken(o)
  return function(dir)
    local disk = fill(new(o), 1, { 3, 5, 12 }, { 0 })
    disk:save(dir .. "/leaf.vhd")
    return disk
  end
end

same_scenario("repair: no footer at the end", { start = repairing, repaired = true,
  make = broken{ footer = "none" } })
same_scenario("repair: a footer that XenServer killed, slack", {
  start = repairing, repaired = true, slow = true, make = broken{ footer = "killed",
    tail = 1024 } })
same_scenario("repair: no copy at the start, padding", { start = repairing, repaired = true,
  make = broken{ copy = "none", padding = "\0" } })
same_scenario("repair: a footer of 511 bytes", { start = repairing, repaired = true, slow = true,
  make = broken{ footer = "511" } })
same_scenario("repair: geometry", { start = repairing, repaired = true,
  make = broken{ edit_footer = function(bytes)
    return bytes:sub(1, 56) .. "\xFF\xFF\x10\xFF" .. bytes:sub(61)
  end } })

return changes
