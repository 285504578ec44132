-- SPDX-License-Identifier: MIT
--
-- The same inputs, identifier and time given, make the same bytes: a hundred
-- pairs of every verb that makes files, with options at random.  The two of a
-- pair are made by other engines, with other numbers of threads and another
-- clock, in other folders, published in other ways.

local creations = require "spec.support.creations"
local lvhd = require "lvhd"
local powerloss = require "spec.support.powerloss"
local support = require "spec.support"
local test = require "lvhdtest"
local vhdwrite = require "spec.support.vhdwrite"

local SEED <const> = math.tointeger(os.getenv("LVHD_SEED")) or 20261123
local PAIRS <const> = 100
local MiB <const> = 1 << 20
local PARENTS <const> = { "fixed", "dynamic", "leaf" }

local random, place, engines

-- In each of the two folders: a fixed, a dynamic and a differencing disk, and
-- bytes.
local function sources(dir)
  for _, kind in ipairs{ "fixed", "dynamic" } do
    local disk = vhdwrite.new{ type = kind, size = 3 * MiB,
      block_size = kind == "dynamic" and MiB // 2 or nil,
      uuid = vhdwrite.uuid(#kind) }
    for s = 0, 6000, 600 do
      disk:put(s, vhdwrite.pattern(1, s))
    end
    disk:save(("%s/%s.vhd"):format(dir, kind))
    if kind == "dynamic" then
      local leaf = vhdwrite.new{ parent = disk, uuid = vhdwrite.uuid(99) }
      leaf:put(601, vhdwrite.pattern(2, 601)):put(1200, ("\0"):rep(512))
      leaf:save(dir .. "/leaf.vhd")
      support.write(dir .. "/leaf.img", leaf:read(0, 3 * MiB))
    end
  end
end

-- Drive C is the folder of the pair.
local function engine_of(i)
  local way = creations.ways[random.below(#creations.ways) + 1]
  local system = creations.system(way)
  system:set("now", 1600000000 + random.below(300000000))
  return lvhd.engine{ threads = i == 1 and 1 or 3, system = system:pointer(),
    preflight = random.chance(50), drives = { C = ("%s/%d"):format(place, i) } }
end

before_each(function()
  random = vhdwrite.random(SEED)
  place = powerloss.scratch()
  engines = {}
  for i = 1, 2 do
    assert(test.mkdir(("%s/%d"):format(place, i)))
    sources(("%s/%d"):format(place, i))
  end
end)

local function close_engines()
  for _, engine in ipairs(engines) do
    engine:close()
  end
end

after_each(function()
  close_engines()
  support.run("rm -rf " .. support.q(place))
end)

-- ---- options ----------------------------------------------------------------

local function some(opts, percent, key, value)
  if random.chance(percent) then
    opts[key] = value
  end
end

local function common()
  local opts = { uuid = vhdwrite.uuid(0x20000 + random.below(1 << 30)),
    timestamp = 946684800 + random.below(4294967296) }
  some(opts, 30, "mode", ("%04o"):format(random.below(512)))
  return opts
end

local function block_size()
  return random.pick{ 2 * MiB, MiB // 2 }
end

local function label()
  return ("VOLUME " .. random.below(10000)):sub(1, 11)
end

local function formatted(opts, size)
  some(opts, 40, "filesystem",
    size >= 514 * MiB and random.pick{ "fat16", "fat32" } or "fat16")
  if opts.filesystem then
    some(opts, 50, "label", label())
  end
end

local function new_size(most)
  return 3 * MiB + 512 * random.below(most // 512)
end

-- The image, and what hangs together with it, as a path of the host or of
-- drive C: at(i, name) is that of the i-th of the pair.
local function namer()
  local windows = random.chance(30)
  return function(i, name)
    return windows and "C:\\" .. name:gsub("/", "\\")
      or ("%s/%d/%s"):format(place, i, name)
  end
end

local function image_name(n)
  return random.pick{ "%d.vhd", "new/%d.vhd", "deep/er/%d.vhd" }:format(n)
end

-- ---- the pairs --------------------------------------------------------------

-- Each gives the names of the files, and the work for one of a pair.
local verbs = {}

function verbs.create_fixed(n)
  local opts, size, at, name = common(), new_size(MiB), namer(), image_name(n)
  some(opts, 60, "allocate", random.pick{ "sparse", "reserve", "zero" })
  formatted(opts, size)
  return { name }, function(i)
    return engines[i]:create_fixed(at(i, name), size, opts)
  end
end

function verbs.create_dynamic(n)
  local opts, at, name = common(), namer(), image_name(n)
  local size = new_size(random.pick{ 64 * MiB, 4096 * MiB })
  some(opts, 50, "block_size", block_size())
  formatted(opts, math.min(size, 1999 * MiB))
  if opts.filesystem == "fat16" then
    size = math.min(size, 1999 * MiB)
  end
  return { name }, function(i)
    return engines[i]:create_dynamic(at(i, name), size, opts)
  end
end

local function windows_parent(opts)
  some(opts, 30, "windows_parent", [[D:\golden\]] .. random.below(1000)
    .. ".vhd")
end

function verbs.create_differencing(n)
  local opts, at, name = common(), namer(), image_name(n)
  local parent = random.pick(PARENTS) .. ".vhd"
  windows_parent(opts)
  return { name }, function(i)
    return engines[i]:create_differencing(at(i, name), at(i, parent), opts)
  end
end

function verbs.create_children(n)
  local opts, at, names, uuids = common(), namer(), {}, {}
  local parent = random.pick(PARENTS) .. ".vhd"
  opts.uuid = nil
  windows_parent(opts)
  for k = 1, 1 + random.below(8) do
    names[k] = image_name(10 * n + k)
    uuids[k] = common().uuid
  end
  return names, function(i)
    local list = {}
    for k, name in ipairs(names) do
      list[k] = { image = at(i, name), uuid = uuids[k] }
    end
    return engines[i]:create_children(list, at(i, parent), opts)
  end
end

function verbs.convert(n)
  local opts, at, name = common(), namer(), image_name(n)
  local source = random.pick{ "fixed.vhd", "dynamic.vhd", "leaf.vhd",
    "leaf.img" }
  opts.from = source == "leaf.img" and "raw" or nil
  opts.to = random.pick{ "dynamic", "fixed", "differencing", "raw" }
  if opts.to == "dynamic" then
    some(opts, 50, "block_size", block_size())
  elseif opts.to == "fixed" then
    some(opts, 50, "allocate", random.pick{ "sparse", "reserve", "zero" })
  elseif opts.to == "differencing" then
    opts.parent = random.pick(PARENTS) .. ".vhd"
    windows_parent(opts)
  else
    opts.uuid = nil
  end
  return { name }, function(i)
    local own = {}
    for k, v in pairs(opts) do
      own[k] = v
    end
    own.parent = opts.parent and at(i, opts.parent)
    return engines[i]:convert(at(i, source), at(i, name), own)
  end
end

-- What differs between the two files; nil: nothing, but that they are two.
local function difference(a, b)
  local one, other = test.stat(a), test.stat(b)
  for _, key in ipairs{ "size", "mode", "mtime" } do
    if one[key] ~= other[key] then
      return ("%s: %s and %s"):format(key, one[key], other[key])
    end
  end
  assert(one.ino ~= other.ino)
  if support.read(a) ~= support.read(b) then
    return "bytes"
  end
end

local function one_pair(verb, n)
  local names, make = verbs[verb](n)
  for i = 1, 2 do
    make(i):wait()
  end
  for _, name in ipairs(names) do
    local differs = difference(("%s/1/%s"):format(place, name),
      ("%s/2/%s"):format(place, name))
    if differs then
      error(("%s, pair %d, seed %d, %s: %s"):format(verb, n, SEED, name,
        differs), 0)
    end
    for i = 1, 2 do
      assert(os.remove(("%s/%d/%s"):format(place, i, name)))
    end
  end
end

describe("a hundred pairs of the same inputs make the same bytes:", function()
  for _, verb in ipairs{ "create_fixed", "create_dynamic",
    "create_differencing", "create_children", "convert" } do
    it(verb, function()
      for n = 1, PAIRS do
        if n % 10 == 1 then
          close_engines()
          engines = { engine_of(1), engine_of(2) }
        end
        one_pair(verb, n)
      end
    end)
  end
end)
