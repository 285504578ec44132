-- SPDX-License-Identifier: MIT
--
-- Random sequences of everything that makes and changes disks, over chains to
-- depth 8, against a model in memory (support/model.lua). After each step
-- what the touched disks read is compared and `check` finds no error; every
-- tenth step 7-Zip, and QEMU where there is no parent, must read the same.
--
--   LVHD_SEED=7 make test SPECS=spec/model_spec.lua      one run again
--   LVHD_STEPS=50                                        not so many steps
--
-- A failure names seed, step and the last steps before it.

local lvhd = require "lvhd"
local expect = require "spec.support.expect"
local model = require "spec.support.model"
local qemu = require "spec.support.qemu"
local support = require "spec.support"
local test = require "lvhdtest"
local vhdwrite = require "spec.support.vhdwrite"

local q = support.q
local SECTOR <const> = 512
local MiB <const> = 1 << 20
local SMALLEST <const>, LARGEST <const> = 3 * MiB, 8 * MiB
local DEPTH <const>, DISKS <const> = 8, 16
local NAMES <const> = { "d", "disk", "a b", "ä", "日本", "x.y" }

---@class Run
local Run = {}
Run.__index = Run

local function new_run(seed, dir)
  local random = vhdwrite.random(seed)
  return setmetatable({ seed = seed, dir = dir, random = random, step = 0,
    made = 0, story = {}, done = {}, family = model.family(),
    engine = lvhd.engine{ threads = 1 } }, Run)
end

-- ---- what steps are made of -------------------------------------------------

---Says what the step does, for the message of a failure.
function Run:say(text, ...)
  self.story[#self.story + 1] = ("%5d  %s"):format(self.step,
    text:format(...))
end

local function name_of(disk)
  return disk.path:match("[^/]*$")
end

---A name that nothing has.
function Run:path(extension)
  self.made = self.made + 1
  return ("%s/%s %d.%s"):format(self.dir, self.random.pick(NAMES), self.made,
    extension or "vhd")
end

---Options of a call: flushed now and then.
function Run:opts(more)
  local opts = more or {}
  opts.sync = self.random.chance(10) and "full" or "none"
  return opts
end

---A multiple of the sector, often of the block too.
function Run:size()
  local random = self.random
  if random.chance(30) then
    return (3 + random.below(6)) * MiB
  end
  return SMALLEST + SECTOR * random.below((LARGEST - SMALLEST) // SECTOR)
end

---One of the disks for which it holds, or nil. Never a lost one: a merge has
---gone through it and left it, so that it is of use to its child alone.
function Run:one(is)
  local list = self.family:those(function(d)
    return not d.lost and is(d)
  end)
  return list[1] and self.random.pick(list)
end

---Bytes to write: never all zeros unless asked for.
function Run:bytes(n)
  local random = self.random
  if random.chance(10) then
    return ("\0"):rep(n)
  end
  local word = ("%s%d.%d;"):format(random.pick{ "a", "bb", "ccc" }, self.step,
    random.below(1000))
  return (word:rep(n // #word + 1):sub(1, n))
end

-- An odd place and length inside a disk.
function Run:range(size)
  local random = self.random
  local n = random.pick{ 1, 3, 511, 512, 513, 4096, 5000, 70000, 1 << 19,
    2 * MiB }
  if random.chance(60) then
    n = 1 + random.below(n)
  end
  if n > 100000 and random.chance(70) then
    n = 4096
  end
  n = math.min(n, size)
  local offset = random.below(size - n + 1)
  local where = random.below(10)
  if where == 0 then
    offset = size - n
  elseif where == 1 then
    offset = 0
  elseif where < 4 then
    offset = offset // SECTOR * SECTOR
  elseif where < 7 then -- at or over a border of blocks
    offset = offset // (1 << 19) * (1 << 19)
    offset = where == 6 and math.max(0, offset - n // 2) or offset
  end
  return math.min(offset, size - n), n
end

---A disk that nobody reads from yet gets a time of its own: all steps may
---fall into one second, and a changed time would not be seen.
function Run:age(disk)
  if self.family:is_leaf(disk) and not disk.lost then
    assert(test.utime(disk.path, 1000000000 + self.random.below(500000000)))
  end
end

---The call must fail so, and nothing may be changed by it.
function Run:refused(name, reason, fn, ...)
  local args = table.pack(...)
  self:say("(%s %s is due)", name, reason or "")
  return expect.unchanged(self.dir, function()
    return expect.fails(name, reason, fn, table.unpack(args, 1, args.n))
  end)
end

---Waits for what `start` starts; now and then it is cancelled, the disk reads
---as before, if it was not too late, and all of it is done again. Which of
---the two it was is no matter of the seed, so `start` must draw nothing.
function Run:wait(disk, start)
  local task = start()
  if not self.random.chance(15) then
    return task:wait()
  end
  task:cancel()
  local ok, result = pcall(task.wait, task)
  if ok then
    return result
  end
  assert.equal("E_ABORT", result.name)
  self:compare(disk)
  self.done.cancelled = (self.done.cancelled or 0) + 1
  return start():wait()
end

local function paths_of(disks)
  local list = {}
  for i, disk in ipairs(disks) do
    list[i] = disk.path
  end
  table.sort(list)
  return list
end

---The same, because of these disks.
function Run:refused_for(others, fn, ...)
  local err = self:refused("E_SHARING_VIOLATION", "OTHER_CHILDREN", fn, ...)
  local named = table.move(err.others, 1, #err.others, 1, {})
  table.sort(named)
  assert.same(paths_of(others), named)
end

-- ---- the steps --------------------------------------------------------------

-- Each does one thing, in the files and in the model, and gives the disks
-- that are to be compared; nil: it cannot be done now.
local steps = {}

local function depth(disk)
  return #model.family().chain(disk)
end

-- Who makes a disk without parent. Each tells what it made.
local makers = {}

function makers.lvhd(self, disk, size)
  disk.content = model.zeros(size)
  if disk.type == "dynamic" then
    disk.block_size = self.random.pick{ 1 << 19, 1 << 19, 2 * MiB }
  end
  self.engine["create_" .. disk.type](self.engine, disk.path, size,
    self:opts{ block_size = disk.block_size }):wait()
end

-- Some sectors in odd places.
local function sectors(self, size, put)
  local random = self.random
  for i = 1, 1 + random.below(6) do
    local count = random.pick{ 1, 2, 9, 130 }
    local first = random.below(size // SECTOR - count + 1)
    put(first, count, string.char(0x40 + i))
  end
end

function makers.qemu(self, disk, size)
  disk.content = model.zeros(size)
  qemu.create(disk.path, disk.type, size)
  local commands = {}
  sectors(self, size, function(first, count, byte)
    commands[#commands + 1] = ("write -q -P %d %d %d"):format(byte:byte(),
      first * SECTOR, count * SECTOR)
    disk.content = disk.content:write(first * SECTOR,
      byte:rep(count * SECTOR))
  end)
  qemu.io(disk.path, table.unpack(commands))
end

-- What other programs write, or might.
function makers.others(self, disk, size)
  local random = self.random
  disk.content = model.zeros(size)
  disk.odd = random.chance(50)
  local o = { type = disk.type, size = size,
    block_size = random.pick{ 1 << 16, 1 << 19, 1 << 20, 2 * MiB, 4 * MiB },
    gap = random.pick{ 0, 0, 512, 3584 }, align = random.pick{ 512, 4096 },
    padding = random.pick{ "\xFF", "\0" }, tail = random.pick{ 0, 512 },
    arrange = random.chance(60) and random.shuffle or nil }
  if disk.odd then -- 7-Zip and QEMU do not read all of these
    o.block_size = random.pick{ o.block_size, 4096 }
    o.footer = random.pick{ "512", "511" }
    o.order = random.pick{ { "header", "bat", "locators", "blocks" },
      { "bat", "blocks", "header", "locators" } }
    o.entries = random.chance(30) and size // o.block_size + 200 or nil
    if random.chance(40) then
      o.creator, o.creator_version, o.creator_os, o.batmap = "tap\0", 0x10003,
        "\0\0\0\0", true
    end
  end
  local made = vhdwrite.new(o)
  sectors(self, size, function(first, count, byte)
    made:put(first, byte:rep(count * SECTOR))
    disk.content = disk.content:write(first * SECTOR,
      byte:rep(count * SECTOR))
  end)
  made:save(disk.path)
end

function steps.create(self)
  local random = self.random
  if #self.family.disks >= DISKS
    or #self.family:those(function(d) return not d.parent end) >= 4 then
    return nil
  end
  local disk = { path = self:path(),
    type = random.pick{ "dynamic", "dynamic", "fixed" } }
  local who = random.pick{ "lvhd", "lvhd", "others",
    self.has_qemu and "qemu" or "others" }
  local size = self:size()
  self:say("create %s %s by %s, %d bytes", disk.type, name_of(disk), who,
    size)
  makers[who](self, disk, size)
  return { self.family:add(disk) }
end

function steps.create_child(self)
  local random = self.random
  if #self.family.disks >= DISKS then
    return nil
  end
  local parent = self:one(function(d)
    return depth(d) < DEPTH and (self.family:is_leaf(d) or random.chance(10))
  end)
  if parent and random.chance(60) then -- chains want to be long
    for _, d in ipairs(self.family.disks) do
      if not d.lost and depth(d) < DEPTH and depth(d) > depth(parent) then
        parent = d
      end
    end
  end
  if not parent then
    return nil
  end
  local disk = { path = self:path(), type = "differencing", parent = parent,
    content = parent.content }
  self:say("create child %s of %s", name_of(disk), name_of(parent))
  self.engine:create_differencing(disk.path, parent.path, self:opts{
    block_size = parent.type == "fixed" and random.pick{ 1 << 19, 2 * MiB }
      or nil }):wait()
  return { self.family:add(disk), parent }
end

-- Some writes through one open disk; each is seen at once.
local function scribble(self, disk, open)
  local random = self.random
  for _ = 1, 1 + random.below(4) do
    local offset, n = self:range(disk.content.size)
    local bytes = self:bytes(n)
    self:say("write %s, %d bytes at %d%s", name_of(disk), n, offset,
      bytes:byte() == 0 and ", zeros" or "")
    disk.content = disk.content:write(offset, bytes)
    open:write(offset, bytes)
    local from = math.max(0, offset - 700)
    assert.is_true(disk.content:read(from, n + 1400)
      == open:read(from, n + 1400), "what was written is not read back")
    if random.chance(20) then
      open:flush()
    end
  end
end

function steps.write(self)
  local disk = self:one(function(d) return self.family:is_leaf(d) end)
  if not disk then
    return nil
  end
  local paths = {}
  for i, d in ipairs(model.family().chain(disk)) do
    paths[i] = d.path
  end
  local open = self.engine:open(self.random.chance(20) and paths or disk.path,
    self:opts{ write = true })
  local ok, err = pcall(scribble, self, disk, open)
  if ok and self.random.chance(5) then
    local size = disk.content.size
    ok, err = pcall(expect.fails, "E_INVALIDARG", "WRITE_PAST_END",
      open.write, open, size - 1, "12")
  end
  open:close()
  assert(ok, err)
  return { disk }
end

-- Who would be ruined by a merge of `disk` and all between into `target`, or
-- would lose a disk that goes away.
function Run:in_the_way(disk, target, opts)
  local list, at = {}, disk
  local named = {}
  for _, path in ipairs(opts.children or {}) do
    named[path] = true
  end
  for _, child in ipairs(opts.delete and self.family:children(disk) or {}) do
    if not named[child.path] then
      list[#list + 1] = child
    end
  end
  while at ~= target do
    for _, child in ipairs(self.family:children(at.parent)) do
      if child ~= at then
        list[#list + 1] = child
      end
    end
    at = at.parent
  end
  return list
end

-- A merge that may be asked for: of whom, into whom, how, and in whose way.
local function some_merge(self)
  local random = self.random
  local disk = self:one(function(d) return d.parent end)
  if not disk then
    return nil
  end
  local chain = model.family().chain(disk)
  local up = random.chance(50) and 1 or 1 + random.below(#chain - 1)
  local target = chain[up + 1]
  local children = self.family:children(disk)
  local opts = self:opts{ delete = random.chance(60) }
  if up > 1 or random.chance(20) then
    opts.into = target.path
  end
  if #children > 0 and random.chance(opts.delete and 90 or 50) then
    opts.children = random.shuffle(paths_of(children))
    if random.chance(10) then
      table.remove(opts.children)
    end
  end
  return { disk = disk, target = target, up = up, opts = opts,
    others = self:in_the_way(disk, target, opts) }
end

function steps.merge(self)
  local m
  for _ = 1, 4 do -- most that are random are refused
    m = some_merge(self)
    if not m then
      return nil
    elseif #m.others == 0 then
      break
    end
  end
  local disk, target, opts = m.disk, m.target, m.opts
  self:say("merge %s into %s (%d up)%s%s", name_of(disk), name_of(target),
    m.up, opts.delete and ", delete" or "",
    opts.children and ", reattach " .. #opts.children or "")
  if #m.others > 0 then
    self:refused_for(m.others, self.engine.merge, self.engine, disk.path,
      opts)
    return { disk, target }
  end
  local info = self:wait(disk, function()
    return self.engine:merge(disk.path, opts)
  end)
  assert.equal(target.path, info.path)
  return self:merged(disk, target, opts)
end

-- The model's part of a merge.
function Run:merged(disk, target, opts)
  target.content, target.lost = disk.content, nil
  for _, path in ipairs(opts.children or {}) do
    for _, child in ipairs(self.family:children(disk)) do
      if child.path == path then
        child.parent = target
      end
    end
  end
  local at = disk
  while at ~= target do
    assert.equal(not opts.delete, test.stat(at.path) ~= nil, at.path)
    if opts.delete then
      self.family:remove(at)
    elseif at ~= disk then
      at.lost = true
    end
    at = at.parent
  end
  return self.family:below(target)
end

function steps.compact(self)
  local disk = self:one(function() return true end)
  if not disk then
    return nil
  end
  self:say("compact %s", name_of(disk))
  if disk.type == "fixed" then
    self:refused("VM_E_WRONG_HD_IMAGE_TYPE", nil, self.engine.compact,
      self.engine, disk.path)
    return { disk }
  end
  local before = test.stat(disk.path)
  local opts = self:opts()
  self:wait(disk, function()
    return self.engine:compact(disk.path, opts)
  end)
  local after = test.stat(disk.path)
  assert.is_true(after.size <= before.size, "it became longer")
  assert.equal(before.mtime, after.mtime)
  return self.family:below(disk)
end

function steps.resize(self)
  local disk = self:one(function(d) -- most of them may be
    return not d.parent and self.family:is_leaf(d)
  end)
  if not disk or self.random.chance(30) then
    disk = self:one(function() return true end)
  end
  if not disk then
    return nil
  end
  local size, old = self:size(), disk.content.size
  if self.random.chance(10) then
    size = old
  end
  self:say("resize %s from %d to %d", name_of(disk), old, size)
  local opts = self:opts()
  local function resize()
    return self.engine:resize(disk.path, size, opts)
  end
  local last = disk.content:last()
  if disk.type == "differencing" then
    self:refused("VM_E_WRONG_HD_IMAGE_TYPE", nil, resize)
  elseif size ~= old and not self.family:is_leaf(disk) then
    self:refused_for(self.family:children(disk), resize)
  elseif last and last >= size then
    local err = self:refused("VM_E_IMAGE_SIZE_TOO_SMALL", "DATA_BEYOND",
      resize)
    assert.equal(last, err.offset)
  else
    local info = self:wait(disk, resize)
    assert.equal(size, info.size)
    disk.content = disk.content:resized(size)
  end
  return { disk }
end

-- A parent gets another name: its children are told.
function steps.relink(self)
  local parent = self:one(function(d)
    return not self.family:is_leaf(d)
  end)
  if not parent then
    return nil
  end
  local old, new = parent.path, self:path()
  self:say("%s is now %s", name_of(parent), new:match("[^/]*$"))
  assert(os.rename(old, new))
  parent.path = new
  for _, child in ipairs(self.family:children(parent)) do
    self:refused("VM_E_PARENT_PATH_NOT_FOUND", nil, self.engine.open,
      self.engine, child.path)
    self:say("relink %s", name_of(child))
    local before = test.stat(child.path)
    local opts = self:opts()
    self:wait(parent, function()
      return self.engine:relink(child.path, new, opts)
    end)
    assert.equal(before.mtime, test.stat(child.path).mtime)
  end
  return self.family:below(parent)
end

-- Between all formats; the new disk joins the family.
function steps.convert(self)
  local random, family = self.random, self.family
  local disk = self:one(function() return true end)
  if not disk or #family.disks >= DISKS then
    return nil
  end
  local to = random.pick{ "dynamic", "fixed", "differencing", "raw" }
  local opts = self:opts{ to = to }
  local copy = { path = self:path(to == "raw" and "raw" or "vhd"), type = to,
    content = disk.content }
  if to == "differencing" then
    copy.parent = self:one(function(d)
      return d.content.size == disk.content.size and depth(d) < DEPTH
    end)
    if not copy.parent then
      return nil
    end
    opts.parent = copy.parent.path
  elseif to == "dynamic" and random.chance(50) then
    opts.block_size = random.pick{ 1 << 19, 2 * MiB }
  end
  if to ~= "raw" and not copy.parent and random.chance(20) then
    opts.round = MiB
    copy.content = copy.content:resized((disk.content.size + MiB - 1) // MiB
      * MiB)
  end
  self:say("convert %s to %s %s%s", name_of(disk), to, name_of(copy),
    copy.parent and " of " .. name_of(copy.parent) or "")
  self:wait(disk, function()
    return self.engine:convert(disk.path, copy.path, opts)
  end)
  if to ~= "raw" then
    family:add(copy)
    return { copy, disk }
  end
  return self:from_raw(disk, copy)
end

-- The raw file is right, and makes a disk again.
function Run:from_raw(disk, raw)
  local random = self.random
  local file = assert(io.open(raw.path, "rb"))
  local wrong = disk.content:difference(function(offset, n)
    file:seek("set", offset)
    return file:read(n)
  end)
  file:close()
  assert.is_nil(wrong)
  local to = random.pick{ "dynamic", "fixed", "differencing" }
  local opts = self:opts{ from = "raw", to = to }
  local copy = { path = self:path(), type = to, content = disk.content }
  if to == "differencing" then
    if depth(disk) == DEPTH then
      os.remove(raw.path)
      return { disk }
    end
    copy.parent, opts.parent = disk, disk.path
  end
  self:say("convert %s to %s %s%s", name_of(raw), to, name_of(copy),
    copy.parent and " of " .. name_of(disk) or "")
  local info = self.engine:convert(raw.path, copy.path, opts):wait()
  if copy.parent then
    assert.equal(0, info.blocks_used) -- nothing differs
  end
  os.remove(raw.path)
  return { self.family:add(copy), disk }
end

-- A disk and all that hang on it go.
function steps.remove(self)
  if #self.family.disks < DISKS // 2 then
    return nil
  end
  local disk = self:one(function(d)
    return self.family:is_leaf(d) or not d.parent and self.random.chance(20)
  end)
  local all = self.family:below(disk)
  for i = #all, 1, -1 do
    self:say("remove %s", name_of(all[i]))
    assert(os.remove(all[i].path))
    self.family:remove(all[i])
  end
  return { disk.parent }
end

-- What must not go, and change nothing.
local refusals = {
  function(self, disk)
    if self.family:is_leaf(disk) then
      return false
    end
    self:say("open %s, a parent, for writing", name_of(disk))
    self:refused_for(self.family:children(disk), self.engine.open,
      self.engine, disk.path, { write = true })
  end,
  function(self, disk)
    if disk.parent then
      return false
    end
    self:say("merge %s, which has no parent", name_of(disk))
    self:refused("VM_E_WRONG_HD_IMAGE_TYPE", nil, self.engine.merge,
      self.engine, disk.path)
  end,
  function(self, disk)
    if disk.parent then
      return false
    end
    local other = self:one(function() return true end)
    self:say("relink %s, which has no parent", name_of(disk))
    self:refused("VM_E_WRONG_HD_IMAGE_TYPE", nil, self.engine.relink,
      self.engine, disk.path, other.path)
  end,
  function(self, disk)
    local below = self.family:below(disk)
    local other = self:one(function(d)
      for _, b in ipairs(below) do
        if d == b then
          return false
        end
      end
      return d ~= disk.parent
    end)
    if not disk.parent or not other then
      return false
    end
    self:say("relink %s to %s", name_of(disk), name_of(other))
    self:refused("VM_E_PARENT_CHILD_ID_MISMATCH", nil, self.engine.relink,
      self.engine, disk.path, other.path)
  end,
  function(self, disk)
    self:say("convert %s onto itself", name_of(disk))
    self:refused("E_ALREADY_EXISTS", nil, self.engine.convert, self.engine,
      disk.path, disk.path)
  end,
  function(self, disk)
    local other = self:one(function(d)
      return d.content.size ~= disk.content.size
    end)
    if not other then
      return false
    end
    self:say("convert %s to a child of %s", name_of(disk), name_of(other))
    self:refused("VM_E_HD_IMAGE_OPEN_FAIL", "PARENT_SIZE",
      self.engine.convert, self.engine, disk.path, self:path(),
      { to = "differencing", parent = other.path })
  end,
  function(self, disk)
    self:say("write %s, open for reading", name_of(disk))
    local open <close> = self.engine:open(disk.path)
    self:refused("E_ACCESSDENIED", "NOT_WRITABLE", open.write, open, 0, "x")
  end,
  function(self, disk)
    self:say("%s cannot be written", name_of(disk))
    support.run("chmod a-w " .. q(disk.path))
    self:refused("VM_E_FILE_READ_ONLY", nil, self.engine.open, self.engine,
      disk.path, { write = true, force = true })
    if disk.type == "dynamic" then
      self:refused("VM_E_FILE_READ_ONLY", nil, self.engine.compact,
        self.engine, disk.path)
    end
    support.run("chmod u+w " .. q(disk.path))
  end,
  function(self, disk) -- it is open for writing elsewhere
    if not self.family:is_leaf(disk) then
      return false
    end
    self:say("%s is open for writing", name_of(disk))
    if not support.locks(self.dir) then
      return
    end
    local other = lvhd.engine{ threads = 1 }
    local open = self.engine:open(disk.path, { write = true })
    local ok, err = pcall(self.refused, self, "E_SHARING_VIOLATION", "IN_USE",
      other.open, other, disk.path, { write = true })
    open:close()
    other:close()
    assert(ok, err)
  end,
}

function steps.refuse(self)
  local disk = self:one(function() return true end)
  if not disk or self.random.pick(refusals)(self, disk) == false then
    return nil
  end
  return { disk }
end

local WEIGHTS <const> = { write = 30, create_child = 18, merge = 12,
  convert = 9, compact = 9, resize = 7, refuse = 7, relink = 5, create = 6,
  remove = 5 }
local DECK <const> = {}
for name, weight in pairs(WEIGHTS) do
  for _ = 1, weight do
    DECK[#DECK + 1] = name
  end
end
table.sort(DECK) -- pairs has no order, seeds want one

-- ---- the judges -------------------------------------------------------------

---lvhd reads what the model says, and finds nothing wrong.
function Run:compare(disk)
  if disk.lost then
    return
  end
  local open <close> = self.engine:open(disk.path)
  assert.equal(disk.content.size, open:size())
  local wrong = disk.content:difference(function(offset, n)
    return open:read(offset, n)
  end)
  assert.is_nil(wrong, disk.path)
  for _, info in ipairs(self.engine:check(disk.path,
    { chain = true, data = true }):wait()) do
    for _, finding in ipairs(info.findings) do
      if finding.severity == "error" or finding.code == "PARENT_TIME" then
        error(("%s: %s %s at %s"):format(info.path, finding.code,
          finding.message, finding.offset))
      end
    end
    assert.is_nil(info.error)
  end
end

---Other programs read the same.
function Run:ask_others(disk)
  local raw = self.dir .. "/judge.raw"
  disk.content:save(raw)
  for _, d in ipairs(model.family().chain(disk)) do
    if d.odd then
      os.remove(raw)
      return
    end
  end
  if self.has_7zip then
    support.run(("7zz x -tvhd -so -bd %s 2>%s | cmp - %s || { cat %s; exit 1;}")
      :format(q(disk.path), q(raw .. ".said"), q(raw), q(raw .. ".said")))
  end
  if self.has_qemu and not disk.parent then
    support.run(("qemu-img convert -f vpc -O raw %s %s && cmp %s %s")
      :format(q(disk.path), q(raw .. ".said"), q(raw .. ".said"), q(raw)))
  end
  os.remove(raw)
  os.remove(raw .. ".said")
end

---All disks are right, and nothing else lies there.
function Run:judge_all()
  local names = {}
  for i, disk in ipairs(self.family.disks) do
    names[i] = name_of(disk)
    self:compare(disk)
  end
  table.sort(names)
  assert.same(names, support.names(self.dir))
end

-- What was lost and has lost its child as well.
function Run:clean()
  local disk
  repeat
    disk = self.family:those(function(d)
      return d.lost and self.family:is_leaf(d)
    end)[1]
    if disk then
      os.remove(disk.path)
      self.family:remove(disk)
    end
  until not disk
end

-- ---- the runs ---------------------------------------------------------------

function Run:one_step()
  self.step = self.step + 1
  local touched, name
  repeat
    name = self.random.pick(DECK)
    touched = steps[name](self)
  until touched
  self.done[name] = (self.done[name] or 0) + 1
  self:clean()
  for i = 1, #touched do
    self:age(touched[i])
    if i <= 4 then
      self:compare(touched[i])
    end
  end
  if self.step % 10 == 0 then
    self:judge_all()
    if #self.family.disks > 0 then
      self:ask_others(self:one(function() return true end))
      self:ask_others(self:one(function(d) return not d.parent end))
    end
  end
end

-- Whatever goes wrong, the message tells how to see it again.
local function play(seed, count)
  local dir = support.tmpdir()
  local run <close> = setmetatable(new_run(seed, dir), { __index = Run,
    __close = function(self) self.engine:close() end })
  run.has_7zip, run.has_qemu = support.has("7zz"), support.has("qemu-io")
  for _ = 1, count do
    local ok, err = xpcall(run.one_step, function(e)
      return debug.traceback(tostring(e), 2)
    end, run)
    if not ok then
      local from = math.max(1, #run.story - 25)
      error(("LVHD_SEED=%d LVHD_STEPS=%d\n%s\n%s"):format(seed, run.step,
        table.concat(run.story, "\n", from), err), 0)
    end
  end
  return run
end

local SEED <const> = math.tointeger(tonumber(os.getenv("LVHD_SEED") or ""))
local STEPS <const> = math.tointeger(tonumber(os.getenv("LVHD_STEPS") or ""))

describe("random changes", function()
  for i = 1, SEED and 1 or 5 do
    local seed = SEED or i
    it(("agree with the model, seed %d"):format(seed), function()
      play(seed, STEPS or 100)
    end)
  end

  it("are judged by 7-Zip and QEMU", function()
    for _, program in ipairs{ "7zz", "qemu-img", "qemu-io" } do
      if not support.has(program) then
        pending(program .. " is not installed: lvhd alone judges itself")
      end
    end
  end)

  if not SEED then
    -- Other ones each time; a failure tells the seed.
    for i = 1, 10 do
      local seed = os.time() * 16 + i
      it(("agree with the model for long, seed %d #slow"):format(seed),
        function()
          local run = play(seed, STEPS or 1000)
          for name in pairs(WEIGHTS) do
            assert.is_true((run.done[name] or 0) > 0, name .. " never done")
          end
        end)
    end
  end
end)
