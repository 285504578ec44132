-- SPDX-License-Identifier: MIT
--
-- run.lua [unit-test ...] -- command ...: runs the unit tests written in C,
-- then busted (the command), and ends with one line that sums both:
-- "N passed, N failed", and ", N skipped" if any.  Exits 1 when a test
-- failed, when a program died without saying so, or when nothing ran.
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

local passed, failed, skipped = 0, 0, 0
local healthy = true

local function complain(...)
  healthy = false
  io.stdout:write("FAILED: ", string.format(...), "\n")
end

---Reads "12 passed, 0 failed, 1 skipped".
local function counts(line)
  local p, f = line:match("^(%d+) passed, (%d+) failed")
  if not p then return nil end
  return math.tointeger(p), math.tointeger(f),
    math.tointeger(line:match("(%d+) skipped") or 0)
end

local function unit(program)
  local pipe = assert(io.popen(program .. " 2>&1", "r"))
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
  if not ok or f > 0 then io.stdout:write(output) end
  io.stdout:write(("%-40s %d passed, %d failed\n"):format(
    program:gsub("'", ""), p, f))
  passed, failed, skipped = passed + p, failed + f, skipped + s
end

-- The whole folder goes in two parts at once, of about as much text each: the
-- specs wait for disks and other programs as much as they compute.
local function parts()
  if command[#command] ~= "'spec'" then
    return { table.concat(command, " ") }
  end
  local list = io.popen("wc -c spec/*_spec.lua | sort -k1,1nr -k2")
  local lists, sizes = { {}, {} }, { 0, 0 }
  for line in list:lines() do
    local size, name = line:match("^%s*(%d+) (spec/.*_spec%.lua)$")
    if name then
      local least = sizes[1] <= sizes[2] and 1 or 2
      sizes[least] = sizes[least] + math.tointeger(size)
      table.insert(lists[least], name)
    end
  end
  list:close()
  local before = table.concat(command, " ", 1, #command - 1)
  local out = {}
  for i, names in ipairs(lists) do
    table.sort(names)
    out[i] = before .. " " .. table.concat(names, " ")
  end
  return out
end

-- Its output and its counts, when it has ended.
local function finish(part)
  for line in part.pipe:lines("L") do
    io.stdout:write(line)
    io.stdout:flush()
  end
  local ok, how, code = part.pipe:close()
  local file = assert(io.open(part.counts))
  local p, f, s = counts(file:read("l") or "")
  file:close()
  os.remove(part.counts)
  if not p then
    p, f, s = 0, 1, 0
    complain("busted did not come to its end (%s %d)", how, code)
  elseif not ok and f == 0 and p + s > 0 then
    -- A sanitizer that finds leaks at the exit, a crash in a finalizer.
    f = 1
    complain("the specs passed, but their process ended with %s %d", how, code)
  end
  passed, failed, skipped = passed + p, failed + f, skipped + s
  return p + f + s
end

local function specs()
  local running, ran = {}, 0
  for i, line in ipairs(parts()) do
    local name = os.tmpname()
    running[i] = { counts = name,
      pipe = assert(io.popen(("LVHD_COUNTS=%s %s 2>&1"):format(name, line))) }
  end
  for _, part in ipairs(running) do
    ran = ran + finish(part)
  end
  if ran == 0 then
    complain("busted ran no test")
  end
end

for _, program in ipairs(programs) do
  io.stdout:flush()
  unit(program)
end
io.stdout:flush()
if #command > 0 then specs() end
if passed + failed == 0 then complain("nothing ran") end

io.stdout:write(("%d passed, %d failed%s\n"):format(passed, failed,
  skipped > 0 and (", %d skipped"):format(skipped) or ""))
os.exit(healthy and failed == 0)
