-- SPDX-License-Identifier: MIT
--
-- How a task's progress is shown while it is waited for: a bar on a terminal,
-- lines of JSON for other programs, or nothing. All of it goes to standard
-- error.

local json = require "lvhd.command.json"
local text = require "lvhd.command.text"

local progress = {}

local EVERY <const> = 0.1 -- seconds
local WIDTH <const> = 24 -- of the bar, where there is room

-- ---- the line on the terminal ---------------------------------------------

-- No escape codes: what stands there is written over with blanks.
local columns, shown = nil, 0

local function width()
  if not columns then
    local pipe <close> = io.popen("stty size <&2 2>/dev/null", "r")
    columns = pipe and math.tointeger(tonumber(pipe:read("a"):match(" (%d+)")))
    columns = columns and columns > 0 and columns or 80
  end
  return columns
end

-- The percents, then as many of the parts as there is room for, the first ones
-- first; the bar gets the rest. The last columns are left to "^C".
local function fitted(percent, parts)
  local room, words = width() - 3, percent and ("%3d %%"):format(percent)
  for _, part in ipairs(parts) do
    local more = words and words .. "  " .. part or part
    if #more > room then
      break
    end
    words = more
  end
  words = words or ""
  local cells = math.min(WIDTH, room - #words - 3)
  if not percent or cells < 4 then
    return words:sub(1, math.max(room, 0))
  end
  local full = percent * cells // 100
  return ("[%s%s] %s"):format(("#"):rep(full), ("-"):rep(cells - full), words)
end

local function draw(line)
  io.stderr:write("\r", line, (" "):rep(shown - #line))
  shown = math.max(shown, #line)
end

-- ---- tasks ----------------------------------------------------------------

---Which way "auto" means.
---@param mode "auto"|"bar"|"json"|"none"
---@param quiet boolean?
---@param data boolean? standard output gets data, which no bar shall mix with
---@return "bar"|"json"|"none"
function progress.mode(mode, quiet, data)
  if mode ~= "auto" then
    return mode
  end
  return not quiet and os.execute(data and "[ -t 2 ] && ! [ -t 1 ]"
    or "[ -t 2 ]") and "bar" or "none"
end

local function duration(seconds)
  seconds = math.floor(seconds + 0.5)
  if seconds < 60 then
    return ("%d s"):format(seconds)
  elseif seconds < 3600 then
    return ("%d:%02d min"):format(seconds // 60, seconds % 60)
  end
  return ("%d:%02d h"):format(seconds // 3600, seconds % 3600 // 60)
end

-- "[#####-------]  42 %  1.2 GiB of 3 GiB, 410 MiB/s, 5 s left"
local function bar(task)
  local percent, bytes, total, items, all = task:progress()
  local elapsed = task:elapsed()
  local parts = {}
  if all > 1 then
    parts[#parts + 1] = ("%d of %d"):format(items, all)
  end
  if total and bytes > 0 then
    parts[#parts + 1] = ("%s of %s"):format(text.size(bytes), text.size(total))
    if elapsed > 0.5 then
      parts[#parts + 1] = text.size(bytes // elapsed) .. "/s"
      parts[#parts + 1] = duration((total - bytes) / (bytes / elapsed))
        .. " left"
    end
  end
  return fitted(percent, parts)
end

local function line(task)
  local percent, bytes, total, items, all = task:progress()
  return json.encode { progress = { percent = percent, bytes = bytes,
    bytes_total = total, items = items, items_total = all,
    seconds = task:elapsed() } }
end

local shows = {
  bar = function(task)
    draw(bar(task))
  end,
  json = function(task)
    io.stderr:write(line(task), "\n")
    io.stderr:flush()
  end,
}

---Waits for the task and shows how far it is; what takes less than a tenth of a
---second shows no bar. A task that is left by an error is cancelled.
---@param task lvhd.Task
---@param mode "bar"|"json"|"none"
---@return any result of the task; raises what it raises
function progress.wait(task, mode)
  local scope <close> = task
  local show = shows[mode]
  if not show then
    return scope:wait()
  end
  local result
  repeat
    result = scope:wait(EVERY)
    if not result or mode == "json" then
      show(scope)
    end
  until result
  progress.clear(mode)
  return result
end

-- Of a verb that is no task. There is no clock here with parts of a second but
-- that of the work that was done.
local began, second, worked

local function moved_bar(bytes, total, seconds)
  local parts = { text.size(bytes) .. (total and " of "
    .. text.size(total) or "") }
  if seconds >= 2 then
    parts[#parts + 1] = text.size(bytes // seconds) .. "/s"
  end
  if seconds >= 2 and total and bytes > 0 then
    parts[#parts + 1] = duration((total - bytes) * seconds / bytes) .. " left"
  end
  return fitted(total and bytes * 100 // math.max(total, 1), parts)
end

---How far a verb is that is no task: bytes so far; with a total, its last call
---has that many.
---@param bytes integer
---@param total integer?
---@param mode "bar"|"json"|"none"
function progress.moved(bytes, total, mode)
  if mode == "none" then
    return
  end
  began = began or os.time()
  local now, clock = os.time(), os.clock()
  if bytes ~= total and second == now and clock - worked < EVERY then
    return
  end
  second, worked = now, clock
  if mode == "json" then
    io.stderr:write(json.encode { progress = { bytes = bytes,
      bytes_total = total, seconds = now - began,
      percent = total and bytes * 100 // math.max(total, 1) } }, "\n")
  else
    draw(moved_bar(bytes, total, now - began))
  end
end

---Takes the bar away, so that the line is free for what is said next.
function progress.clear(mode)
  if mode == "bar" and shown > 0 then
    io.stderr:write("\r", (" "):rep(math.min(shown + 2, width() - 1)), "\r")
    shown = 0
  end
end

return progress
