-- SPDX-License-Identifier: MIT
--
-- Everything that makes new files, as small scenarios: the files before, the
-- work, and what the new files must read.  The files before come from
-- vhdwrite, which also says what they read as.
--
--   scenario.make(dir) -> what
--     what.images      the new files: { name, content, raw, mode, mtime,
--                      parent }; content: a string, or by what to compare it
--                      (see whole.lua); parent: the name of its file
--     what.folders     folders that the work makes; a crash may leave them
--   scenario.start(engine, dir, opts) -> task    opts go with those it has
--   scenario.shared    on a volume that is flushed whole, and shares bytes

local test = require "lvhdtest"
local support = require "spec.support"
local vhdwrite = require "spec.support.vhdwrite"

local MiB <const> = 1 << 20
local SECTOR <const> = 512
local SIZE <const> = 3 * MiB -- the least that is made
local TIME <const> = 1650000000

local creations = {}

local function scenario(name, o)
  o.name = name
  creations[#creations + 1] = o
end

-- The scenario's own options, and those of the try.
local function with(own, opts)
  local all = {}
  for _, from in ipairs{ own or {}, opts or {} } do
    for k, v in pairs(from) do
      all[k] = v
    end
  end
  return all
end

local function zeros(n)
  return ("\0"):rep(n)
end

local function scribble(disk, tag, sectors)
  for _, s in ipairs(sectors) do
    disk:put(s, vhdwrite.pattern(tag, s))
  end
  return disk
end

local function base(dir, o)
  o = with(o)
  o.size, o.block_size = SIZE, 65536
  local disk = scribble(vhdwrite.new(o), 1, { 0, 9, 4096, 6143 })
  disk:save(dir .. "/base.vhd")
  return disk
end

-- ---- one new disk ---------------------------------------------------------

local function one(name, verb, own, o)
  o = o or {}
  local image = o.image or "new.vhd"
  scenario(name, { slow = o.slow,
    make = function(dir)
      local parent = verb == "create_differencing" and base(dir)
      return { folders = o.folders or {}, images = { { name = image,
        mode = own and own.mode and tonumber(own.mode, 8),
        mtime = own and own.timestamp,
        parent = parent and "base.vhd" or nil,
        content = parent and parent:read(0, parent.size) or o.content
          or not (own and own.filesystem) and zeros(SIZE) or nil } } }
    end,
    start = function(engine, dir, opts)
      return engine[verb](engine, dir .. "/" .. image,
        verb == "create_differencing" and dir .. "/base.vhd" or o.size or SIZE,
        with(own, opts))
    end })
end

one("create_fixed: sparse", "create_fixed")
one("create_fixed: reserved", "create_fixed", { allocate = "reserve" })
one("create_fixed: zeros", "create_fixed", { allocate = "zero" })
-- (a file system's numbers come from the identifier)
one("create_fixed: FAT16", "create_fixed", { filesystem = "fat16",
  label = "new", uuid = vhdwrite.uuid(1), timestamp = TIME })
one("create_fixed: with mode and time", "create_fixed", { mode = "0640",
  timestamp = TIME }, { slow = true })
one("create_dynamic: plain", "create_dynamic")
one("create_dynamic: FAT16", "create_dynamic", { filesystem = "fat16",
  uuid = vhdwrite.uuid(2), timestamp = TIME })
one("create_dynamic: FAT32", "create_dynamic", { filesystem = "fat32",
  uuid = vhdwrite.uuid(3), timestamp = TIME }, { size = 514 * MiB, slow = true })
one("create_dynamic: with mode and time, in missing folders", "create_dynamic",
  { mode = "0604", timestamp = TIME, block_size = MiB // 2 },
  { image = "a/b/c/new.vhd", folders = { "a", "a/b", "a/b/c" } })
one("create_differencing: beside its parent", "create_differencing",
  { windows_parent = [[C:\golden\base.vhd]] })
one("create_differencing: in missing folders", "create_differencing",
  { timestamp = TIME }, { image = "a/b/new.vhd", folders = { "a", "a/b" } })

-- ---- create_children ------------------------------------------------------

local function many(name, o)
  scenario("create_children: " .. name, { slow = o.slow, shared = o.shared,
    make = function(dir)
      local parent = base(dir)
      local what, seen = { folders = o.folders or {}, images = {} }, {}
      for _, folder in ipairs(o.there or {}) do
        assert(test.mkdir(dir .. "/" .. folder))
      end
      for _, image in ipairs(o.list) do
        if not seen[image] then
          seen[image] = true
          table.insert(what.images, { name = image, parent = "base.vhd",
            mode = o.own and o.own.mode and tonumber(o.own.mode, 8),
            mtime = o.own and o.own.timestamp,
            content = parent:read(0, parent.size) })
        end
      end
      return what
    end,
    start = function(engine, dir, opts)
      return engine:create_children(o.list, dir .. "/base.vhd",
        with(o.own, opts))
    end })
end

local HERE <const> = { "1.vhd", "2.vhd", "3.vhd" }
local EVERYWHERE <const> = { "1.vhd", "there/2.vhd", "a/b/3.vhd", "a/4.vhd",
  "there/c/5.vhd", "6.vhd" }
local MADE <const> = { "a", "a/b", "there/c" }

many("three in one folder", { list = HERE })
many("with mode and time", { list = HERE, slow = true,
  own = { mode = "0640", timestamp = TIME } })
many("in several folders, some missing", { list = EVERYWHERE,
  there = { "there" }, folders = MADE })
-- here nothing is linked in the folders between
many("below folders that are missing", { there = { "there" },
  list = { "a/b/1.vhd", "a/b/2.vhd", "there/c/d/3.vhd" },
  folders = { "a", "a/b", "there/c", "there/c/d" } })
many("in several folders, flushed with their volume", { list = EVERYWHERE, shared = true,
  there = { "there" }, folders = MADE })
many("six of one folder, flushed with their volume", { shared = true,
  list = { "1.vhd", "2.vhd", "3.vhd", "4.vhd", "5.vhd", "6.vhd" } })
-- what is there twice is put off to a second batch
many("in two batches", { own = { if_exists = "keep" },
  list = { "1.vhd", "a/2.vhd", "1.vhd", "a/2.vhd", "3.vhd" },
  folders = { "a" } })
many("twenty in twenty missing folders", { slow = true, shared = true,
  list = (function()
    local list = {}
    for i = 1, 20 do
      list[i] = ("d%02d/k.vhd"):format(i)
    end
    return list
  end)(),
  folders = (function()
    local list = {}
    for i = 1, 20 do
      list[i] = ("d%02d"):format(i)
    end
    return list
  end)() })

-- ---- convert --------------------------------------------------------------

-- base.vhd and, unless that is the source, leaf.vhd, a child of it, or its
-- bytes as leaf.img.  What the source reads.
local function sources(dir, from, o)
  local below = base(dir, o.base)
  if from == "base.vhd" then
    return below:read(0, SIZE)
  end
  local leaf = scribble(vhdwrite.new{ parent = below }, 2, { 3, 4, 9, 5000 })
  local raw = leaf:read(0, SIZE)
  if from == "leaf.vhd" then
    leaf:save(dir .. "/leaf.vhd")
  else
    support.write(dir .. "/leaf.img", raw)
  end
  return raw
end

local function convert(name, from, to, own, o)
  o = o or {}
  local image = o.image or "new." .. (to == "raw" and "img" or "vhd")
  scenario("convert: " .. name, { slow = o.slow, shared = o.shared,
    make = function(dir)
      return { folders = o.folders or {}, images = { { name = image,
        raw = to == "raw", content = sources(dir, from, o),
        parent = to == "differencing" and "base.vhd" or nil } } }
    end,
    start = function(engine, dir, opts)
      local all = with(own, opts)
      all.to = to
      all.from = from:match("img$") and "raw" or nil
      all.parent = to == "differencing" and dir .. "/base.vhd" or nil
      return engine:convert(dir .. "/" .. from, dir .. "/" .. image, all)
    end })
end

convert("a chain to dynamic", "leaf.vhd", "dynamic")
convert("a chain to fixed", "leaf.vhd", "fixed")
convert("a chain to fixed, zeros written", "leaf.vhd", "fixed",
  { allocate = "zero" }, { slow = true })
convert("a chain to fixed, reserved", "leaf.vhd", "fixed",
  { allocate = "reserve" }, { slow = true })
convert("a chain to raw", "leaf.vhd", "raw", nil,
  { image = "a/b/new.img", folders = { "a", "a/b" } })
convert("raw to dynamic, blocks of 512 KiB", "leaf.img", "dynamic",
  { block_size = MiB // 2 })
convert("raw to fixed", "leaf.img", "fixed", nil, { slow = true })
convert("raw to differencing", "leaf.img", "differencing")
convert("raw to raw, shared", "leaf.img", "raw", nil, { shared = true })
convert("fixed to fixed, shared", "base.vhd", "fixed", nil, { shared = true,
  base = { type = "fixed" } })
convert("a chain to differencing", "leaf.vhd", "differencing",
  { timestamp = TIME }, { slow = true })

-- ---- how they are published -----------------------------------------------

---The ways to a name; rules for lvhdtest's table, of what the volume lacks.
creations.ways = {
  { name = "unnamed", rules = {} },
  { name = "renamed", temporary = true, rules = {
    { call = "openat", flags = test.O_TMPFILE, errno = "EOPNOTSUPP" } } },
  { name = "linked", temporary = true, rules = {
    { call = "openat", flags = test.O_TMPFILE, errno = "EOPNOTSUPP" },
    { call = "renameat2", errno = "EINVAL" } } },
}

---A table of calls for one of the ways.
function creations.system(way)
  local system = test.system()
  for _, rule in ipairs(way.rules) do
    local copy = with(rule)
    copy.times = 0
    system:fail(copy)
  end
  return system
end

---The name is one of lvhd's temporary ones.
function creations.is_temporary(name)
  return name:match("[^/]*$"):match("^%.%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x"
    .. "%.lvhd%-tmp$") ~= nil
end

assert(SECTOR * 6144 == SIZE)

return creations
