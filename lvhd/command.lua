-- SPDX-License-Identifier: MIT
--
-- The command `lvhd`: reads the words, makes every path absolute, runs the verb
-- and has outcome.lua say what came of it. A user of the library like any other
-- program.

local exits = require "lvhd.command.exits"
local lvhd = require "lvhd"
local outcome = require "lvhd.command.outcome"
local parser = require "lvhd.command.parser"
local plain = require "lvhd.command.text".plain
local progress = require "lvhd.command.progress"
local say = require "lvhd.command.say"
local size = require "lvhd.size"

local command = {}

local run = {}
for _, room in ipairs { "asking", "making", "changing" } do
  for name, verb in pairs(require("lvhd.command." .. room)) do
    run[name] = verb
  end
end

-- ---- the context of a verb -----------------------------------------------

local function usage(format, ...)
  error({ usage = format:format(...) }, 0)
end

local function current_folder()
  local pipe <close>, why = io.popen("pwd", "r")
  if not pipe then
    error({ output = "the current folder: " .. why }, 0)
  end
  local here = pipe:read("a"):gsub("\n$", "")
  if here:sub(1, 1) ~= "/" then
    usage("the current folder cannot be told: give absolute paths")
  end
  return here
end

local function drives(list)
  local map, any, here = {}, false, nil
  for _, word in ipairs(list or {}) do
    local name, folder = word:match("^(.-)=(.+)$")
    if not name then
      usage("--drive: NAME=DIR expected, as C=/srv/vms, '%s' given", word)
    end
    if folder:sub(1, 1) ~= "/" then
      here = here or current_folder()
      folder = here .. "/" .. folder
    end
    map[name], any = folder, true
  end
  return any and map or nil
end

local function epoch()
  local word = os.getenv("SOURCE_DATE_EPOCH")
  word = word ~= "" and word or nil
  local seconds = word and math.tointeger(tonumber(word))
  if word and not seconds then
    usage("SOURCE_DATE_EPOCH: seconds since 1970 expected, '%s' given", word)
  end
  return seconds
end

-- Paths are made absolute; those of Windows are left where there are drives.
local function paths(cx, mapped)
  local here
  function cx.path(path)
    if path:sub(1, 1) == "/" or path == ""
      or mapped and (path:match("^%a:[\\/]") or path:match("^\\\\")) then
      return path
    end
    here = here or current_folder()
    return here .. "/" .. path
  end
  -- Of a file that is to be made.
  function cx.new_path(path)
    if path == "-" then
      usage("'-' is no file: lvhd read IMAGE > FILE writes the bytes of a disk "
        .. "to standard output; a file that is called so is ./-")
    end
    return cx.path(path)
  end
  function cx.paths(list)
    local out = {}
    for i, path in ipairs(list) do
      out[i] = cx.path(path)
    end
    return out
  end
  function cx.host(path)
    return path:sub(1, 1) == "/" and path or cx.engine:host_path(path)
  end
  function cx.opening(args)
    return { parents = args.parents and #args.parents > 0
      and cx.paths(args.parents) or nil }
  end
end

local function answers(cx, args)
  cx.usage = usage
  function cx.size(word, what)
    -- no signs: elsewhere +1GiB means more than there is
    local bytes = word and not word:find "^%s*[+-]" and size.parse(word)
    local number, unit = (word or ""):match("^%s*(%d+%.%d+)%s*(%a)")
    if not bytes and unit and size.parse("1" .. unit) then
      usage("%s: '%s' is no whole number of bytes: in the next smaller unit "
        .. "about %d", what, word, math.floor(tonumber(number) * 1024))
    elseif not bytes or bytes < 0 then
      usage("%s: a size as 40GiB, 512MiB or bytes expected, '%s' given", what,
        word or "nothing")
    end
    return bytes
  end
  function cx.wait(task)
    return progress.wait(task, cx.mode)
  end
  -- Of tasks that change something: what they came to counts after Ctrl-C.
  function cx.work(task)
    cx.task = task
    return cx.wait(task)
  end
  -- What `start` starts, to its end; nil: a dry run that would go on.
  function cx.attempt(start)
    local ok, result = pcall(function()
      local task = start()
      return task and cx.work(task)
    end)
    if not ok and cx.only_would(result) then
      return nil
    elseif not ok then
      error(result, 0)
    end
    cx.warn(result)
    return result
  end
  -- What casts doubt on the content of a disk goes to standard error: of an info
  -- that was made, and of a chain what its child cannot answer for.
  function cx.warn(info, alone)
    for _, finding in ipairs(info and info.findings or {}) do
      if finding.severity ~= "note" and finding.code == (alone or finding.code)
      then
        cx.say(("%s: %s"):format(plain(finding.path),
          say.findings({ finding })[1]))
      end
    end
  end
  -- The child whose merge was interrupted reads as before: that is no doubt.
  function cx.warn_of_chain(infos)
    local above = {}
    for _, info in ipairs(infos) do
      cx.warn(info, "PARENT_TIME")
      for _, finding in ipairs(info.findings) do
        if finding.code == "MERGE_PENDING" and not above[finding.expected] then
          cx.warn({ findings = { finding } })
        end
      end
      above[info.uuid or false] = true
    end
  end
  function cx.only_would(err)
    return args.dry_run and lvhd.is_error(err) and err.reason == "DRY_RUN"
  end
  function cx.say(words)
    progress.clear(cx.mode)
    io.stderr:write("lvhd: ", words, "\n")
  end
  function cx.moved(bytes, total)
    progress.moved(bytes, total, cx.mode)
  end
  function cx.fail(name, path, message)
    error({ name = name, path = path, op = args.verb, message = message }, 0)
  end
  function cx.failed_items(items, first)
    error({ items = items, first = first }, 0)
  end
  function cx.color()
    return not args.no_color and (os.getenv("NO_COLOR") or "") == ""
      and os.execute("[ -t 1 ]") == true
  end
  -- What a file that may have holes takes on the volume.
  function cx.used(info)
    if info.type ~= "raw" and info.type ~= "fixed" then
      return nil
    end
    local pipe <close> = io.popen("du -k -- '" .. info.path:gsub("'", "'\\''")
      .. "' 2>&-", "r")
    local kib = pipe and math.tointeger(tonumber(pipe:read("a"):match("^%d+")))
    return kib and kib * 1024
  end
  function cx.columns()
    local told = math.tointeger(tonumber(os.getenv("COLUMNS")))
    if told or os.execute("[ -t 1 ]") ~= true then
      return told
    end
    local pipe <close> = io.popen("stty size </dev/tty 2>&-", "r")
    return pipe and math.tointeger(tonumber(pipe:read("a"):match(" (%d+)")))
  end
  function cx.utf8()
    for _, name in ipairs { "LC_ALL", "LC_CTYPE", "LANG" } do
      local value = os.getenv(name) or ""
      if value ~= "" then
        return value:lower():find "utf%-?8" ~= nil
      end
    end
    return false
  end
end

-- The errors that a new file of the command's own may meet, by errno.
local SAVING <const> = { [1] = "E_ACCESSDENIED", [2] = "E_PATH_NOT_FOUND",
  [13] = "E_ACCESSDENIED", [20] = "E_PATH_NOT_FOUND", [28] = "E_DISK_FULL",
  [30] = "E_ACCESSDENIED", [36] = "E_BUFFER_OVERFLOW", [122] = "E_DISK_FULL" }

local function saving(cx)
  function cx.save(path, bytes)
    local there = io.open(path, "rb")
    if there then
      there:close()
      cx.fail("E_ALREADY_EXISTS", path, "the file exists")
    end
    local ok, why, number
    local file <close>, no_file, errno = io.open(path, "wb")
    if not file then
      why, number = no_file, errno
    else
      file:setvbuf "no"
      ok, why, number = file:write(bytes)
      if ok then
        ok, why, number = file:close()
      end
    end
    if not ok then
      if file then
        os.remove(path)
      end
      cx.fail(SAVING[number] or "DISP_E_EXCEPTION", path,
        (why:gsub("^.*: ", "")))
    end
  end
end

local function context(args)
  local mapped = drives(args.drive)
  local cx = { quiet = args.quiet, epoch = epoch(),
    mode = progress.mode(args.progress or "none", args.quiet,
      args.verb == "read") }
  cx.engine = lvhd.engine { drives = mapped, sync = args.sync,
    names = args.host_names and "host" or nil,
    long_paths = args.long_paths or nil, dry_run = args.dry_run or nil }
  paths(cx, mapped)
  answers(cx, args)
  saving(cx)
  return cx
end

-- ---- running -------------------------------------------------------------

---Runs the command.
---@param words string[] as of the shell, without the program's name
---@return integer exit
function command.main(words)
  local ok, args = pcall(parser.read, words)
  if not ok then
    if type(args) == "table" and args.show then
      ok, args = pcall(outcome.print, args.show)
      return ok and exits.OK or outcome.failure({}, args)
    end
    local wanted = {}
    for _, word in ipairs(words) do
      wanted.json = wanted.json or word == "--json"
    end
    return outcome.failure(wanted, args)
  end
  local cx, exit, said = {}, nil, nil
  local fine, err = pcall(function()
    cx = context(args)
    args.mode_of_progress = cx.mode
    local result, text, code, err = run[args.verb](args, cx)
    exit = code or exits.OK
    progress.clear(cx.mode)
    outcome.result(args, result, text, exit, err)
    said = true
    cx.engine:close()
  end)
  if fine or said and outcome.is_interrupt(err) then
    return exit
  end
  if args.json and exit then
    args.json = false -- there is no place any more to say it
  end
  fine, exit = pcall(outcome.raised, args, cx, err)
  return fine and exit or outcome.failure(args, exit)
end

return command
