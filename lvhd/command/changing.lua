-- SPDX-License-Identifier: MIT
--
-- The verbs that change a disk in place: write, merge, compact, resize, relink,
-- repair. As asking.lua.

local say = require "lvhd.command.say"
local text = require "lvhd.command.text"

local changing = {}

local PIECE <const> = 1 << 20
local plain = text.plain

local function options(args, cx)
  local opts = { force = args.force }
  if args.parents then
    opts.parents = cx.opening(args).parents
  end
  if args.children_in and #args.children_in > 0 then
    opts.children_in = cx.paths(args.children_in)
  end
  return opts
end

local function done(word, info, cx)
  return info, not cx.quiet and word .. ": " .. say.short(info) or nil
end

-- What it is like now, in the place of doing it.
local function only_look(word, path, args, cx, more)
  local info = cx.engine:chain(path, cx.opening(args))[1]
  return { would = word, disk = info }, ("would %s: %s%s"):format(word,
    say.short(info), more or "")
end

-- What came is written as it comes: what stops it says how far it was.
local function input(disk, at, cx)
  local total = 0
  local ok, err = pcall(function()
    while true do
      local bytes, why = io.stdin:read(PIECE)
      if not bytes and why then
        error({ output = "standard input: " .. why }, 0)
      elseif not bytes then
        return
      end
      disk:write(at + total, bytes)
      total = total + #bytes
      cx.moved(total)
    end
  end)
  if not ok and total > 0 then
    cx.say(("%s from byte %d on are written already"):format(text.size(total),
      at))
  end
  if not ok then
    error(err, 0)
  end
  return total
end

function changing.write(args, cx)
  local path = cx.path(args.image)
  local at = cx.size(args.offset, "--offset")
  if args.dry_run then
    return only_look("write into", path, args, cx, (", from byte %d on")
      :format(at))
  end
  local opts = options(args, cx)
  opts.write, opts.sync = true, args.sync
  local disk <close> = cx.engine:open(path, opts)
  local total = input(disk, at, cx)
  disk:flush()
  return { path = path, offset = at, bytes = total }, not cx.quiet
    and ("written: %s from byte %d on: %s"):format(text.size(total), at,
    plain(path)) or nil
end

function changing.merge(args, cx)
  local child, opts = cx.path(args.child), options(args, cx)
  opts.into = args.into and cx.path(args.into)
  opts.delete = args.delete
  opts.children = #args.child_of > 0 and cx.paths(args.child_of) or nil
  if args.dry_run then
    local infos = cx.engine:chain(child, cx.opening(args))
    local into = infos[2] and say.short(infos[2]) or "no parent"
    return { would = "merge", chain = infos },
      ("would merge: %s\n  into: %s"):format(say.short(infos[1]),
      opts.into and plain(opts.into) or into)
  end
  return done("merged into", cx.wait(cx.engine:merge(child, opts)), cx)
end

function changing.compact(args, cx)
  local path = cx.path(args.image)
  if args.dry_run then
    return only_look("compact", path, args, cx)
  end
  local opts = options(args, cx)
  return done("compacted", cx.wait(cx.engine:compact(path, opts)), cx)
end

function changing.resize(args, cx)
  local path, bytes = cx.path(args.image), cx.size(args.size, "size")
  if args.dry_run then
    return only_look("resize", path, args, cx, ", to " .. text.size(bytes))
  end
  return done("resized", cx.wait(cx.engine:resize(path, bytes,
    options(args, cx))), cx)
end

function changing.relink(args, cx)
  local child, parent = cx.path(args.child), cx.path(args.parent)
  if args.dry_run then
    return only_look("relink", child, args, cx, "\n  to: "
      .. say.short(cx.engine:info(parent)))
  end
  return done("relinked", cx.wait(cx.engine:relink(child, parent,
    options(args, cx))), cx)
end

function changing.repair(args, cx)
  local path = cx.path(args.image)
  if not args.dry_run then
    return done("repaired", cx.wait(cx.engine:repair(path,
      options(args, cx))), cx)
  end
  local info = cx.wait(cx.engine:check(path))
  info = info[1] or info
  local lines = say.findings(info.findings)
  return { would = "repair", disk = info }, ("would repair: %s\n%s"):format(
    say.short(info), #lines == 0 and "  nothing wrong"
    or "  " .. table.concat(lines, "\n  "))
end

return changing
