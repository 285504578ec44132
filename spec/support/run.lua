-- SPDX-License-Identifier: MIT
--
-- run.lua [unit-test ...] -- command ...: runs the unit tests written in C,
-- and busted (the command) beside them, and ends with one line that sums both:
-- "N passed, N failed", and ", N skipped" if any.  Exits 1 when a test
-- failed, when a program died without saying so, or when nothing ran.  What
-- failed is told where it happened, and once more in front of the last line.
-- LVHD_UNDER is what the unit tests are run under: "valgrind -q".
-- Knows what the programs print, not what they test.

local programs, command = {}, {}
do
  local list = programs
  for _, word in ipairs(arg) do
    if word == "--" and list == programs then
      list = command
    else
      list[#list + 1] = "'" .. word:gsub("'", [['\'']]) .. "'"
    end
  end
end

local under = os.getenv("LVHD_UNDER")
under = under and under .. " " or ""

local passed, failed, skipped = 0, 0, 0
local healthy = true
local told = {} -- what failed

local function complain(...)
  healthy = false
  local line = ("FAILED: %s\n"):format(string.format(...))
  told[#told + 1] = line
  io.stdout:write(line)
end

---Reads "12 passed, 0 failed, 1 skipped".
local function counts(line)
  local p, f = line:match("^(%d+) passed, (%d+) failed")
  if not p then return nil end
  return math.tointeger(p), math.tointeger(f),
    math.tointeger(line:match("(%d+) skipped") or 0)
end

local function unit(program)
  local pipe = assert(io.popen(under .. program .. " 2>&1", "r"))
  local output = pipe:read("a")
  local ok, how, code = pipe:close()
  local p, f, s = counts(output:match("([^\n]*)\n*$"))
  if not p then
    p, f, s = 0, 1, 0
    complain("%s gave no result (%s %d)", program, how, code)
  elseif p + f + s == 0 then
    complain("%s ran no test", program)
  elseif not ok and f == 0 then
    complain("%s says all is well, but ended with %s %d", program, how, code)
    f = 1
  end
  if not ok or f > 0 then
    told[#told + 1] = ("%s:\n%s"):format(program, output:sub(-2000))
    io.stdout:write(output)
  end
  io.stdout:write(("%-40s %d passed, %d failed\n"):format(
    program:gsub("'", ""), p, f))
  passed, failed, skipped = passed + p, failed + f, skipped + s
end

-- A process of its own for so many spec files: what some leave on the heap, the
-- collections of all others would go through.
local FILES <const> = 3

-- The command, and the spec files that it ends with.
local function split()
  local from = #command + 1
  while from > 1 and command[from - 1]:find("^'spec/.*_spec%.lua'$") do
    from = from - 1
  end
  return table.concat(command, " ", 1, from - 1),
    table.move(command, from, #command, 1, {})
end

-- The command with some of the files after the other, so many each time.
local function in_turn(before, names, many)
  local out = {}
  for from = 1, #names, many do
    out[#out + 1] = before .. " " .. table.concat(names, " ", from,
      math.min(from + many - 1, #names))
  end
  return out
end

-- The whole folder goes in two lanes beside the unit tests, and in three after
-- them: the specs wait for disks and other programs as much as they compute.
-- What has most text begins, so that all end at about the same time.  Files
-- that are named have a process each, one after another: they are the long
-- ones, and some fork a lot.
---@return string[] commands
---@return integer lanes
local function plan()
  if command[#command] ~= "'spec'" then
    local before, names = split()
    return #names > 0 and in_turn(before, names, 1) or { before }, 1
  end
  local list = io.popen("wc -c spec/*_spec.lua | sort -k1,1nr -k2")
  local names = {}
  for line in list:lines() do
    names[#names + 1] = line:match("^%s*%d+ (spec/.*_spec%.lua)$")
  end
  list:close()
  return in_turn(table.concat(command, " ", 1, #command - 1), names, FILES), 2
end

local function line_of(path)
  local file = io.open(path)
  local line = file and file:read("l")
  if file then
    file:close()
  end
  os.remove(path)
  return line or ""
end

-- Adds up what one process counted; how many tests it had.
local function count(base)
  local p, f, s = counts(line_of(base))
  local status = tonumber(line_of(base .. ".status"))
  if not p then
    p, f, s = 0, 1, 0
    complain("busted did not come to its end (%s)", status or "?")
  elseif status ~= 0 and f == 0 and p + s > 0 then
    -- A sanitizer that finds leaks at the exit, a crash in a finalizer.
    f = 1
    complain("the specs passed, but their process ended with %s", status)
  end
  passed, failed, skipped = passed + p, failed + f, skipped + s
  return p + f + s
end

-- Starts a lane, which runs what no other lane has begun: who makes the folder
-- of a command has it.
local function start_lane(base, commands)
  local script = {}
  for i, line in ipairs(commands) do
    script[i] = ("mkdir %s.%d.begun 2>/dev/null && { LVHD_COUNTS=%s.%d %s 2>&1"
      .. "; echo $? >%s.%d.status; }"):format(base, i, base, i, line, base, i)
  end
  return assert(io.popen(table.concat(script, "\n")))
end

local function start_specs()
  local running = { base = os.tmpname(), commands = {}, lanes = 0 }
  if #command > 0 then
    running.commands, running.lanes = plan()
  end
  for i = 1, running.lanes do
    running[i] = start_lane(running.base, running.commands)
  end
  return running
end

-- When the unit tests are done: a lane more in their place.
local function start_more(running)
  if running.lanes > 1 then
    table.insert(running, start_lane(running.base, running.commands))
  end
end

-- The lines of failures, as report.lua writes them, to an empty one.
local function keep_failures()
  local under_way = false
  return function(line)
    under_way = line ~= "\n" and
      (under_way or line:find("^FAILED ") or line:find("^ERROR ")) and true
    if under_way then told[#told + 1] = line end
  end
end

local function finish_specs(running)
  local ran = 0
  for _, pipe in ipairs(running) do
    local keep = keep_failures()
    for line in pipe:lines("L") do
      io.stdout:write(line)
      io.stdout:flush()
      keep(line)
    end
    pipe:close()
  end
  os.remove(running.base)
  for i = 1, #running.commands do
    local base = running.base .. "." .. i
    ran = ran + count(base)
    os.remove(base .. ".begun")
  end
  if #command > 0 and ran == 0 then
    complain("busted ran no test")
  end
end

-- The unit tests run beside the specs, which say little before they are read.
local running = start_specs()
for _, program in ipairs(programs) do
  unit(program)
  io.stdout:flush()
end
start_more(running)
finish_specs(running)
if passed + failed == 0 then complain("nothing ran") end

if #told > 0 then
  io.stdout:write("\nWhat failed:\n", table.concat(told), "\n")
end
io.stdout:write(("%d passed, %d failed%s\n"):format(passed, failed,
  skipped > 0 and (", %d skipped"):format(skipped) or ""))
os.exit(healthy and failed == 0)
