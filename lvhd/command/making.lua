-- SPDX-License-Identifier: MIT
--
-- The verbs that make new files: create, convert, flatten. As asking.lua.

local json = require "lvhd.command.json"
local lvhd = require "lvhd"
local say = require "lvhd.command.say"
local text = require "lvhd.command.text"

local making = {}

local plain = text.plain

-- The options that all of them have.
local function options(args, cx)
  return {
    mode = args.mode,
    block_size = args.block_size and cx.size(args.block_size, "--block-size"),
    timestamp = cx.epoch,
    if_exists = args.keep and "keep" or nil,
  }
end

local function done(info, cx)
  return info, not cx.quiet and (info.created == false and "is there: "
    or "made: ") .. say.short(info, cx.used(info)) or nil
end

-- The names that a pattern with one %d, or %03d, stands for.
local function numbered(args, cx)
  local count = math.tointeger(tonumber(args.children))
  local first = math.tointeger(tonumber(args.first or "1"))
  local _, places = args.image:gsub("%%%%", ""):gsub("%%%d?%d?d", "")
  local _, signs = args.image:gsub("%%%%", ""):gsub("%%", "")
  if not count or count < 1 or count > 1000000 then
    cx.usage("--children: from 1 to 1000000 expected, '%s' given",
      args.children)
  elseif not first or first < 0 or first > math.maxinteger - count then
    cx.usage("--first: a number from 0 on expected, '%s' given", args.first)
  elseif places ~= 1 or signs ~= 1 then
    cx.usage("with --children the image is a pattern with one %%d or %%03d "
      .. "(%%%% is a percent sign), as web%%03d.vhd: '%s' given", args.image)
  end
  local images = {}
  for i = 1, count do
    images[i] = cx.path(args.image:format(first + i - 1))
  end
  return images
end

-- What a dry run of many has found, image by image.
local function would_many(cx, parent, images, items)
  local free, first = json.list {}, nil
  for i, item in ipairs(items) do
    if cx.only_would(item) then
      free[#free + 1] = images[i]
    elseif lvhd.is_error(item) then
      first = first or item
    end
  end
  if first then
    return cx.failed_items(items, first)
  end
  local info = cx.engine:info(parent)
  return { would = #free > 0 and "create" or "nothing", parent = info,
    images = free }, #free == 0
    and ("nothing to do: %d children are there"):format(#items)
    or ("would make: %d children of %s%s\n  from %s\n  to   %s"):format(#free,
    say.short(info), #free < #items and (", beside %d that are there"):format(
    #items - #free) or "", plain(free[1]), plain(free[#free]))
end

-- What a run of many has made, beside what --keep has found.
local function made(infos, parent)
  local new = 0
  for _, info in ipairs(infos) do
    new = new + (info.created == false and 0 or 1)
  end
  local there = new < #infos and (", %d were there"):format(#infos - new) or ""
  return ("made: %d children of %s%s"):format(new, plain(parent), there)
end

local function many(args, cx)
  if not args.parent then
    cx.usage("--children needs --parent")
  end
  local images, parent = numbered(args, cx), cx.path(args.parent)
  local ok, result = pcall(function()
    return cx.work(cx.engine:create_children(images, parent,
      options(args, cx)))
  end)
  if not ok and (not lvhd.is_error(result) or not result.items) then
    error(result, 0)
  elseif args.dry_run then
    return would_many(cx, parent, images, ok and result or result.items)
  elseif not ok then
    error(result, 0)
  end
  return json.list(result), not cx.quiet and made(result, parent) or nil
end

local function create_one(args, cx)
  local opts = options(args, cx)
  local image = cx.new_path(args.image)
  if args.parent then
    return cx.engine:create_differencing(image, cx.path(args.parent), opts)
  end
  local bytes = cx.size(args.size, "size")
  opts.filesystem, opts.label = args.filesystem, args.label
  if args.fixed then
    opts.allocate, opts.block_size = args.allocate, nil
    return cx.engine:create_fixed(image, bytes, opts)
  end
  return cx.engine:create_dynamic(image, bytes, opts)
end

-- What the words alone tell to be wrong.
local function check_create(args, cx)
  if args.parent and args.size then
    cx.usage("a size (%s) and --parent: a child has its parent's size",
      args.size)
  elseif not args.parent and not args.size then
    cx.usage("a size is missing, as 40GiB, or --parent")
  elseif args.parent and (args.fixed or args.filesystem or args.label) then
    cx.usage("--parent makes a differencing disk: no --fixed, --filesystem "
      .. "or --label")
  elseif args.allocate and not args.fixed then
    cx.usage("--allocate is of --fixed disks")
  elseif args.fixed and args.block_size then
    cx.usage("--block-size is of dynamic disks, --fixed has none")
  elseif args.label and not args.filesystem then
    cx.usage("--label needs --filesystem")
  elseif args.first and not args.children then
    cx.usage("--first needs --children")
  end
end

-- A dry run that found the disk there, as it would be kept.
local function nothing(info)
  return { would = "nothing", disk = info }, "nothing to do: is there: "
    .. say.short(info)
end

function making.create(args, cx)
  check_create(args, cx)
  if args.children then
    return many(args, cx)
  end
  local info = cx.attempt(function()
    return create_one(args, cx)
  end)
  if not args.dry_run then
    return done(info, cx)
  elseif info then
    return nothing(info)
  end
  local image = cx.path(args.image)
  local kind = args.parent and "differencing" or args.fixed and "fixed"
    or "dynamic"
  local bytes = args.parent and cx.engine:info(cx.path(args.parent)).size
    or cx.size(args.size, "size")
  return { would = "create", path = image, type = kind, size = bytes },
    ("would make: %s, %s: %s"):format(kind, text.size(bytes), plain(image))
end

-- What a dry run has not read, and doubts all the same: a layer that two chains
-- have once.
local function warn_of_chains(args, cx, chain, parent)
  local infos, seen = {}, {}
  local other = parent and cx.engine:chain(parent, cx.opening(args)) or {}
  for _, list in ipairs { chain, other } do
    for _, info in ipairs(list) do
      infos[#infos + 1] = not seen[info.path] and info or nil
      seen[info.path] = true
    end
  end
  cx.warn_of_chain(infos)
end

local function convert(args, cx, source, opts)
  local dest = cx.new_path(args.dest)
  local info = cx.attempt(function()
    return cx.engine:convert(source, dest, opts)
  end)
  if not args.dry_run then
    return done(info, cx)
  end
  local chain = opts.from ~= "raw"
    and cx.engine:chain(source, cx.opening(args)) or {}
  warn_of_chains(args, cx, chain, opts.parent)
  return { would = "convert", source = source, path = dest,
    type = opts.to or "dynamic" }, ("would make: %s: %s\n  of: %s"):format(
    opts.to or "dynamic", plain(dest), chain[1] and say.short(chain[1])
    or plain(source))
end

function making.convert(args, cx)
  local opts = options(args, cx)
  opts.from, opts.to = args.from, args.to
  opts.parent = args.parent and cx.path(args.parent)
  opts.round = args.round and cx.size(args.round, "--round")
  opts.allocate = args.allocate
  opts.parents = cx.opening(args).parents
  return convert(args, cx, cx.path(args.source), opts)
end

function making.flatten(args, cx)
  local source = cx.path(args.source)
  local opts = options(args, cx)
  cx.new_path(args.dest) -- a wrong word before a wrong disk
  opts.to, opts.parents = args.to, cx.opening(args).parents
  local info = cx.engine:info(source)
  if info.type ~= "differencing" then
    cx.fail("VM_E_WRONG_HD_IMAGE_TYPE", source,
      ("a %s disk needs no parent: convert copies it"):format(info.type))
  end
  return convert(args, cx, source, opts)
end

return making
