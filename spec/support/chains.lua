-- SPDX-License-Identifier: MIT
--
-- Random chains, the same for the same seed: made by vhdwrite, their roots
-- by QEMU where that is asked for; and the comparison of what a disk reads
-- with what the model says.  Knows no lvhd but the disk that it is handed.

local support = require "spec.support"
local test = require "lvhdtest"
local vhdread = require "spec.support.vhdread"
local vhdwrite = require "spec.support.vhdwrite"

local chains = {}

local q, run = support.q, support.run
local SECTOR <const> = 512
local BLOCKS <const> = { 512, 1024, 2048, 4096, 8192, 16384, 65536, 1 << 17,
  1 << 19, 1 << 20, 1 << 21, 1 << 22 }
local NAMES <const> = { "disk", "a b", "ä", "日本", "100%41", "😀", "x.y" }
local ORDERS <const> = {
  { "header", "locators", "bat", "blocks" },
  { "header", "bat", "locators", "blocks" },
  { "locators", "bat", "header", "blocks" },
  { "header", "locators", "blocks", "bat" },
  { "blocks", "bat", "locators", "header" },
  { "bat", "blocks", "header", "locators" },
}

-- ---- one layer ------------------------------------------------------------

-- Runs at odd places: inside a block, over a border, at both ends, whole
-- blocks.
local function scribble(random, disk, tag)
  local sectors = disk.size // SECTOR
  local function put(first, count)
    for s = first, math.min(first + count, sectors) - 1 do
      disk:put(s, vhdwrite.pattern(tag, s))
    end
  end
  for _ = 1, random.below(12) do
    put(random.below(sectors), 1 + random.below(random.pick{ 1, 3, 9, 70 }))
  end
  if random.chance(30) then put(0, 1) end
  if random.chance(30) then put(sectors - 1, 1) end
  if disk.type == "fixed" then
    return
  end
  local per = disk.block_size // SECTOR
  local block = random.below((sectors + per - 1) // per)
  if random.chance(30) then put(block * per, per) end
  if random.chance(20) then disk:keep(block) end
  if random.chance(40) then put(math.max(0, block * per - 1), 2) end
end

-- What a differencing disk may hold and nobody must see.
local function dirty(random, disk)
  local sectors = disk.size // SECTOR
  if disk.type == "differencing" and random.chance(30) then
    for _ = 1, 5 do
      local s = random.below(sectors)
      disk:hide(s, ("\xEE"):rep(SECTOR))
    end
  end
  local per = disk.type ~= "fixed" and disk.block_size // SECTOR or 1
  if sectors % per ~= 0 and random.chance(50) then
    disk:put(sectors, ("\xDD"):rep(SECTOR)) -- behind the end
  end
end

-- How the parent is told; every one of them must find it.
local function tell(random, o, dir)
  local name = o.parent.path:match("[^/]*$")
  local way = random.below(9)
  if way == 0 then
    o.locators = { { code = "W2ru", text = name } }
  elseif way == 1 then
    o.locators, o.name = { { code = "MacX", text = "file://./" .. name } },
      false
  elseif way == 2 then
    o.locators = {}
  elseif way == 3 then
    o.locators, o.name_order = {}, "<"
  elseif way == 4 then -- blktap: three times relative
    o.locators = { { code = "MacX", text = "file://./" .. name },
      { code = "W2ku", text = ".\\" .. name },
      { code = "W2ru", text = ".\\" .. name } }
  elseif way == 5 then -- VirtualBox on Linux
    o.locators, o.name = { { code = "W2ku", text = dir .. "/" .. name },
      { code = "W2ru", text = name } }, false
  elseif way == 6 then -- padded with NULs
    o.locators = { { code = "W2ru", raw = vhdwrite.utf16(".\\" .. name
      .. "\0\0", "<") } }
  elseif way == 7 then
    o.locators = { { code = "W2ku", text = [[C:\vms\]] .. name },
      { code = "W2ru", text = ".\\" .. name } }
  end
  for _, l in ipairs(o.locators or {}) do
    l.space = random.pick{ "bytes", "sectors" }
  end
end

-- What other writers do and 7-Zip does not read.  (vhdread wants a footer at
-- the end, and no child longer than its parent.)
local function odd(random, o)
  o.order = random.pick(ORDERS)
  o.footer = random.pick{ "512", "512", "511", "none", "killed" }
  if o.type == "fixed" then
    o.footer = random.pick{ "512", "511" }
  elseif random.chance(20) then
    o.copy = o.footer == "512" and "none" or nil
  end
  if random.chance(20) then
    o.creator, o.creator_version, o.creator_os = "tap\0", 0x10003, "\0\0\0\0"
    o.batmap = true
    o.hidden = random.chance(50)
  end
  if random.chance(20) then
    o.entries = (o.size + o.block_size - 1) // o.block_size
      + random.below(300)
  end
  o.saved_state = random.chance(20) and 1 or 0
end

local function layout(random, o)
  o.gap = random.pick{ 0, 0, 512, 3584, 512 * random.below(20) }
  o.align = random.pick{ 512, 512, 4096 }
  o.padding = random.pick{ "\xFF", "\0" }
  o.tail = random.pick{ 0, 0, 512 }
  o.room = { [random.pick{ "header", "locators", "bat", "blocks" }] =
    512 * random.below(9) }
  o.arrange = random.chance(60) and random.shuffle or nil
end

-- ---- roots by QEMU --------------------------------------------------------

-- A model of a disk that QEMU makes and fills.
local function by_qemu(random, path, kind, size)
  local root = vhdwrite.new{ type = kind, size = size, block_size = 1 << 21 }
  run(("qemu-img create -q -f vpc -o subformat=%s,force_size=on %s %d"):format(
    kind, q(path), size))
  local command = { "qemu-io -f vpc" }
  local per = root.block_size // SECTOR
  for i = 1, 2 + random.below(8) do
    local first = random.below(size // SECTOR)
    local count = math.min(1 + random.below(99), size // SECTOR - first)
    local byte = 0x20 + i
    for s = first, first + count - 1 do
      root:put(s, string.char(byte):rep(SECTOR))
    end
    command[#command + 1] = ("-c 'write -q -P %d %d %d'"):format(byte,
      first * SECTOR, count * SECTOR)
  end
  run(table.concat(command, " ") .. " " .. q(path))
  if kind == "dynamic" then
    local blocks = {} -- QEMU sets every bit of a block that it allocates
    for s in pairs(root.own) do blocks[s // per] = true end
    for b in pairs(blocks) do root:keep(b, true) end
  end
  root.path, root.mtime = path, test.stat(path).mtime // 1000000000
  root.uuid = vhdread.uuid(vhdread.open(path).footer.uuid)
  return root
end

-- ---- chains ---------------------------------------------------------------

local function size_for(random, parent, opts)
  if not parent then
    return SECTOR * (1 + random.below(random.pick{ 40, 3000, 9000 }))
  elseif random.chance(60) then
    return parent.size
  end
  local most = opts.judge and parent.size or parent.size * 3 // 2
  return SECTOR * (1 + random.below(math.max(1, most // SECTOR)))
end

---Makes a chain and saves it.
---@param seed integer
---@param dir string
---@param opts { judge: "7zip"|"vhdread"|nil, depth: integer?, qemu: string? }
---@return vhdwrite.Disk leaf
function chains.make(seed, dir, opts)
  local random = vhdwrite.random(seed)
  local depth = opts.depth or 1 + random.below(8)
  local at
  for level = 1, depth do
    local path = ("%s/%s %d.vhd"):format(dir, random.pick(NAMES), level)
    if level == 1 and opts.qemu then
      at = by_qemu(random, path, opts.qemu,
        SECTOR * (6000 + random.below(6000)))
    else
      local kind = at and "differencing"
        or random.pick{ "fixed", "dynamic", "dynamic" }
      local o = { type = kind, parent = at, size = size_for(random, at, opts),
        block_size = random.pick(BLOCKS) }
      layout(random, o)
      if at then
        tell(random, o, dir)
        if opts.judge == "7zip" then
          o.locators, o.name, o.name_order = nil, nil, nil
        end
      end
      if opts.judge ~= "7zip" then
        odd(random, o)
      end
      if opts.judge == "vhdread" then
        o.footer = "512"
      end
      at = vhdwrite.new(o)
      scribble(random, at, level)
      dirty(random, at)
      at:save(path)
    end
  end
  return at
end

---The whole content of an open disk, read in pieces of any length.
function chains.content(random, disk, size)
  local parts, offset = {}, 0
  while true do
    local n = random.pick{ 1, 511, 513, 4096, 100000, size }
    n = math.max(1, random.chance(50) and n or random.below(n) + 1)
    n = math.max(n, size // 50)
    local bytes = disk:read(offset, n)
    if not bytes then
      return table.concat(parts)
    end
    if #bytes ~= math.min(n, size - offset) then
      error(("%d bytes of %d at %d, size %d"):format(#bytes, n, offset, size))
    end
    parts[#parts + 1] = bytes
    offset = offset + #bytes
  end
end

---What differs first, or nil.
---@param leaf vhdwrite.Disk
---@param got string what was read from offset 0 on
function chains.difference(leaf, got)
  local want = leaf:read(0, leaf.size)
  if want == got then
    return nil
  elseif #want ~= #got then
    return ("%d bytes instead of %d"):format(#got, #want)
  end
  for s = 0, leaf.size // SECTOR - 1 do
    local a = want:sub(s * SECTOR + 1, (s + 1) * SECTOR)
    local b = got:sub(s * SECTOR + 1, (s + 1) * SECTOR)
    if a ~= b then
      return ("sector %d (layer %d): %q instead of %q"):format(s,
        leaf:sector(s), b:sub(1, 16), a:sub(1, 16))
    end
  end
end

---The chain in words, for the message of a failure.
function chains.story(leaf)
  local lines = {}
  for i, d in ipairs(leaf:chain()) do
    lines[i] = ("  %d %s: %s of %d bytes, blocks of %d, footer %s, order %s")
      :format(i, d.path, d.type, d.size, d.block_size, d.footer or "512",
        d.order and table.concat(d.order, " ") or "usual")
  end
  return table.concat(lines, "\n")
end

return chains
