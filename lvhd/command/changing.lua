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

-- Runs `start`; in a dry run tells what would have been done instead. `more`
-- gives what else there is to say then, for programs and for people.
local function change(word, past, path, args, cx, start, more)
  local info = cx.attempt(start)
  if not args.dry_run then
    return info, not cx.quiet and past .. ": " .. say.short(info) or nil
  end
  local would, words = {}, ""
  if more then
    would, words = more()
  end
  would.would = info and "nothing" or word
  would.disk = would.disk or cx.engine:chain(path, cx.opening(args))[1]
  return would, info and "nothing to do: " .. say.short(would.disk)
    or ("would %s: %s%s"):format(word, say.short(would.disk), words)
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

-- Bytes can be written there at all: said before any is read.
local function inside(disk, at, path, cx)
  if at >= disk:size() then
    cx.fail("E_INVALIDARG", path, ("--offset: the disk has %d bytes, and "
      .. "begins at 0: nothing can be written from byte %d on"):format(
      disk:size(), at))
  end
end

function changing.write(args, cx)
  local path = cx.path(args.image)
  local at = cx.size(args.offset, "--offset")
  local opts = options(args, cx)
  opts.write = true
  if args.dry_run then
    return change("write", "written", path, args, cx, function()
      do
        local disk <close> = cx.engine:open(path, opts)
        inside(disk, at, path, cx)
      end
      return nil
    end, function()
      return { offset = at }, (", from byte %d on"):format(at)
    end)
  end
  local disk <close> = cx.engine:open(path, opts)
  inside(disk, at, path, cx)
  local total = input(disk, at, cx)
  disk:flush()
  return { path = path, offset = at, bytes = total }, not cx.quiet
    and ("written: %s from byte %d on: %s"):format(text.size(total), at,
    plain(path)) or nil
end

-- What was interrupted there, of which nothing is refused: this merge, or with
-- --force that of another child.
local function pending(target, child)
  for _, finding in ipairs(target.findings) do
    if finding.code == "MERGE_PENDING" then
      return finding.expected == child.uuid
        and "\n  going on with the merge that was interrupted"
        or "\n  giving up the merge of the child " .. finding.expected
    end
  end
  return ""
end

function changing.merge(args, cx)
  local child, opts = cx.path(args.child), options(args, cx)
  opts.into = args.into and cx.path(args.into)
  opts.delete = args.delete
  opts.children = #args.child_of > 0 and cx.paths(args.child_of) or nil
  return change("merge", "merged into", child, args, cx, function()
    return cx.engine:merge(child, opts)
  end, function()
    local chain = cx.engine:chain(child, cx.opening(args))
    local target = opts.into and cx.engine:info(opts.into) or chain[2]
    return { disk = chain[1], chain = chain }, ("\n  into: %s%s"):format(
      say.short(target), pending(target, chain[1]))
  end)
end

function changing.compact(args, cx)
  local path = cx.path(args.image)
  return change("compact", "compacted", path, args, cx, function()
    return cx.engine:compact(path, options(args, cx))
  end)
end

function changing.resize(args, cx)
  local path, bytes = cx.path(args.image), cx.size(args.size, "size")
  return change("resize", "resized", path, args, cx, function()
    return cx.engine:resize(path, bytes, options(args, cx))
  end, function()
    return { size = bytes }, ", to " .. text.size(bytes)
  end)
end

function changing.relink(args, cx)
  local child, parent = cx.path(args.child), cx.path(args.parent)
  local result, words = change("relink", "relinked", child, args, cx, function()
    return cx.engine:relink(child, parent, options(args, cx))
  end, function()
    local info = cx.engine:info(parent)
    return { parent = info }, "\n  to: " .. say.short(info)
  end)
  if words and not args.dry_run then
    local fine, chain = pcall(cx.engine.chain, cx.engine, child,
      cx.opening(args))
    local err = fine and chain[#chain].error
    words = words .. (err and "\nbut it cannot be read yet: " .. say.error(err)
      or "")
  end
  return result, words
end

function changing.repair(args, cx)
  local path = cx.path(args.image)
  return change("repair", "repaired", path, args, cx, function()
    return cx.engine:repair(path, options(args, cx))
  end, function()
    local info = cx.wait(cx.engine:check(path))[1]
    local lines = say.findings(info.findings)
    return { disk = info }, #lines > 0 and "\n  "
      .. table.concat(lines, "\n  ") or ""
  end)
end

return changing
