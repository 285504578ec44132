-- SPDX-License-Identifier: MIT
--
-- The verbs that change nothing. Each gets the arguments and the context of
-- lvhd/command.lua, and returns the result for JSON, the text for people, and
-- an exit code other than 0.

local exits = require "lvhd.command.exits"
local json = require "lvhd.command.json"
local map = require "lvhd.command.map"
local say = require "lvhd.command.say"
local lvhd = require "lvhd"

local asking = {}

local PIECE <const> = 1 << 20

function asking.info(args, cx)
  local info = cx.engine:info(cx.path(args.image))
  return info, say.info(info, cx.used(info))
end

function asking.chain(args, cx)
  local infos = cx.engine:chain(cx.path(args.image), cx.opening(args))
  local err = infos[#infos].error
  return json.list(infos), say.chain(infos), err
    and exits.of(err.name, err.reason), err and say.fields(err)
end

function asking.children(args, cx)
  local image = cx.path(args.image)
  local dirs = {}
  for i, dir in ipairs(args.dir) do
    dirs[i] = cx.path(dir)
  end
  if #dirs == 0 then
    dirs[1] = cx.host(image):match("^(.*)/[^/]*$") .. "/"
  end
  local infos = cx.wait(cx.engine:children(image, dirs))
  return json.list(infos), #infos > 0 and say.list(infos) or "no children"
end

function asking.check(args, cx)
  local opts = cx.opening(args)
  opts.chain, opts.data, opts.profile = args.chain, args.data, args.profile
  local result = cx.wait(cx.engine:check(cx.path(args.image), opts))
  local infos, lines, errors = result, {}, 0
  for _, info in ipairs(infos) do
    local found = say.findings(info.findings)
    lines[#lines + 1] = say.short(info)
      .. (#found == 0 and ": nothing wrong" or "")
    for i, line in ipairs(found) do
      errors = errors + (info.findings[i].severity == "error" and 1 or 0)
      lines[#lines + 1] = "  " .. line
    end
  end
  return json.list(infos), table.concat(lines, "\n"),
    errors > 0 and exits.DAMAGED or nil, errors > 0
    and { message = ("check has found %d error%s"):format(errors,
      errors == 1 and "" or "s") } or nil
end

-- Where the reading ends; to begin behind the end is a mistake.
local function range(disk, path, args, cx)
  local at, size = cx.size(args.offset, "--offset"), disk:size()
  local length = args.length and cx.size(args.length, "--length") or size
  if at >= size then
    cx.fail("E_INVALIDARG", path, ("--offset: the disk has %d bytes, and "
      .. "begins at 0: there is no byte %d"):format(size, at))
  end
  return at, length < size - at and at + length or size
end

function asking.read(args, cx)
  local path = cx.path(args.image)
  local disk <close> = cx.engine:open(path, cx.opening(args))
  cx.warn_of_chain(disk:chain())
  local first, stop = range(disk, path, args, cx)
  local at = first
  while at < stop do
    local bytes = disk:read(at, math.min(PIECE, stop - at))
    local ok, why = io.stdout:write(bytes)
    if not ok then
      error({ output = "standard output: " .. why }, 0)
    end
    at = at + #bytes
    cx.moved(at - first, stop - first)
  end
end

function asking.version()
  return { version = lvhd.version }, "lvhd " .. lvhd.version
end

asking.map = map.run

return asking
