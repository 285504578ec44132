-- SPDX-License-Identifier: MIT
--
-- What came of a verb: its result, its failure or both, for people and as JSON,
-- and the exit code. Runs nothing; after Ctrl-C it asks the task that is told of.

local exits = require "lvhd.command.exits"
local json = require "lvhd.command.json"
local lvhd = require "lvhd"
local progress = require "lvhd.command.progress"
local say = require "lvhd.command.say"
local verbs = require "lvhd.command.verbs"

local outcome = {}

---To standard output, at once.
---@param words string
function outcome.print(words)
  local ok, why = io.stdout:write(words)
  if ok then
    ok, why = io.stdout:flush()
  end
  if not ok then
    error({ output = "standard output: " .. why }, 0)
  end
end

---A result, with the error of one that is bad news.
function outcome.result(args, result, words, exit, err)
  if args.json then
    words = json.encode { ok = exit == exits.OK, verb = args.verb, exit = exit,
      dry_run = args.dry_run or nil, result = result, error = err }
  end
  outcome.print(words and words .. "\n" or "")
end

local function say_failure(args, exit, words, err)
  if args.json then
    io.stdout:write(json.encode { ok = false, verb = args.verb, exit = exit,
      dry_run = args.dry_run or nil, error = err or { message = words } }, "\n")
  end
  io.stderr:write("lvhd: ", words, "\n")
  return exit
end

-- So many of what failed are told one by one; JSON has them all.
local SHOWN <const> = 5

-- Of create_children: what failed, a line each. What Ctrl-C has left out
-- has not failed.
local function say_items(args, err)
  local items, made, kept = json.list {}, 0, 0
  local exit = exits.of(err.first.name, err.first.reason)
  local refused, there = {}, false
  for i, item in ipairs(err.items) do
    local failed = lvhd.is_error(item)
    local would = failed and args.dry_run and item.reason == "DRY_RUN"
    local words = failed and say.error(item)
    items[i] = would and { would = "create", path = item.path }
      or failed and { error = say.fields(item) } or item
    made = made + ((not failed or would) and 1 or 0)
    kept = kept + (not failed and item.created == false and 1 or 0)
    if failed and not would and item.name == "E_ABORT" then
      exit = exits.INTERRUPTED
    elseif failed and not would then
      refused[#refused + 1] = words
      there = there or item.name == "E_ALREADY_EXISTS"
    end
  end
  for i = 1, #refused > SHOWN + 1 and SHOWN or #refused do
    io.stderr:write("lvhd: ", refused[i], "\n")
  end
  if #refused > SHOWN + 1 then
    io.stderr:write(("lvhd: and %d more that failed\n"):format(#refused
      - SHOWN))
  end
  if args.json then
    io.stdout:write(json.encode { ok = false, verb = args.verb, exit = exit,
      dry_run = args.dry_run or nil, error = say.fields(err.first),
      items = items }, "\n")
  end
  local cut = exit == exits.INTERRUPTED
  io.stderr:write(("lvhd: %s %d of %d%s%s\n"):format(cut and "interrupted:"
    or args.dry_run and "would make" or "made", cut and made or made - kept,
    #items, cut and " are there" or "",
    there and not args.keep and " (--keep takes what is there)" or ""))
  return exit
end

-- Ctrl-C, or a task that it has cancelled.
local function say_interrupted(args)
  local words = args.verb == "merge" and not args.dry_run
    and "interrupted: the child reads as before; what was begun is finished "
    .. "when the merge is run again" or "interrupted"
  return say_failure(args, exits.INTERRUPTED, words, { name = "E_ABORT",
    hresult = lvhd.hresult.E_ABORT, message = words, op = args.verb })
end

---@return boolean
function outcome.is_interrupt(err)
  return type(err) == "string" and err:find("interrupted!", 1, true) ~= nil
end

-- Verbs that call the library under another name, or more than once: what
-- failed is the verb.
local OWN_OP <const> = { flatten = true, map = true, read = true, write = true }

-- What the library says of its call, as of the command.
local function mend(args, err)
  if OWN_OP[args.verb] then
    err.op = args.verb
  end
  -- what it guesses of a number is wrong of a size with a unit
  if (err.reason or ""):find "^SIZE_" and args.size and args.size:find "%a" then
    err.hint = nil
  end
end

---Tells whatever was raised.
---@return integer exit
function outcome.failure(args, err)
  progress.clear(args.mode_of_progress)
  if lvhd.is_error(err) and err.items then
    return say_items(args, { items = err.items, first = err })
  elseif lvhd.is_error(err, "E_ABORT") or outcome.is_interrupt(err) then
    return say_interrupted(args)
  elseif lvhd.is_error(err) then
    mend(args, err)
    return say_failure(args, exits.of(err.name, err.reason),
      say.error(err, verbs.has(args.verb, "--force")), say.fields(err))
  elseif type(err) ~= "table" then
    return say_failure(args, 1, tostring(err))
  elseif err.items then
    return say_items(args, err)
  elseif err.usage then
    return say_failure(args, exits.USAGE, err.usage
      .. (err.of and "\n" .. err.of or ""))
  elseif err.output then
    return say_failure(args, 1, tostring(err.output))
  end
  local text = ("%s (0x%08X): %s '%s': %s"):format(err.name,
    lvhd.hresult[err.name], err.op, err.path, err.message)
  return say_failure(args, exits.of(err.name), text, { name = err.name,
    hresult = lvhd.hresult[err.name], message = err.message, op = err.op,
    path = err.path })
end

---What was raised; after Ctrl-C what the work has come to. That may have been too
---late, and all is done; then that is what is said.
---@return integer exit
function outcome.raised(args, cx, err)
  if not outcome.is_interrupt(err) or not cx.task or args.dry_run then
    return outcome.failure(args, err)
  end
  local fine, result = pcall(cx.task.wait, cx.task)
  if not fine then
    return outcome.failure(args, result)
  end
  progress.clear(cx.mode)
  outcome.result(args, result, not cx.quiet and "done before Ctrl-C: "
    .. (result[1] and #result .. " children" or say.short(result)) or nil,
    exits.OK)
  return exits.OK
end

return outcome
