-- SPDX-License-Identifier: MIT
--
-- coverage.lua BUILD [judge|tell]: what `make coverage` has counted in
-- BUILD/obj, as a table of lines and branches, a room and a file each; then
-- every branch that was never taken, unless spec/support/uncovered.txt names
-- it.  `judge` exits 1 when one is not named there, when one that is named
-- was taken or is gone, or when less than 95 % were taken; `tell` accepts
-- names of what was taken (the long tests take more), or a part of the tests.
-- Knows gcov's text and the looks of a line of C, not what lvhd does.
--
-- A branch is one way out of one condition: `if (a && b)` has four.  Those
-- that are taken only when memory runs out are counted apart, and not for the
-- share: of `X == NULL`, `X != NULL` or a bare `X` or `!X`, alone or joined by
-- && and ||, the way of a NULL, where X itself got its value from malloc,
-- calloc, realloc, strdup or strndup in one of the 8 lines before, in the
-- same function.  Nothing else is: not what such an `if` leads to, nor a
-- function that fails for want of memory only.

local LEAST = 95
local LIST = "spec/support/uncovered.txt"
local ALLOCATORS = { "malloc", "calloc", "realloc", "strdup", "strndup" }
local ROOMS = { "base", "format", "io", "image", "op", "task", "lua", "." }

-- ---- what gcov says -----------------------------------------------------

local function read_all(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read("a")
  assert(pipe:close(), command)
  return text
end

-- A file's lines: { text, count = executions or nil, branches = { [0] =
-- times taken, ... }, n = how many, of = its function }.
local function file_of(files, name)
  if not files[name] then
    local lines, n = {}, 0
    for text in io.lines(name) do
      n = n + 1
      lines[n] = { text = text, branches = {}, n = 0 }
    end
    files[name] = { name = name, lines = lines }
  end
  return files[name]
end

-- Several objects may hold the same inline function: the counts add up.
local function parse(files, text)
  local file, line, of, at
  for row in text:gmatch("[^\n]+") do
    local name = row:match("^%s+%-:%s+0:Source:(.*)")
    local count, number = row:match("^%s*([%d#=%-]+)%*?:%s*(%d+):")
    local taken = row:match("^branch%s+%d+ taken (%d+)")
      or row:match("^branch%s+%d+ never") and 0
    if name then
      file = name:match("^src/") and file_of(files, name)
      of = nil
    elseif file and row:match("^function ") then
      of = row:match("^function (%S+) called")
    elseif file and number and number ~= "0" then
      line, at = file.lines[math.tointeger(number)], 0
      line.of = line.of or of
      if count ~= "-" then
        line.count = (line.count or 0) + (math.tointeger(count) or 0)
      end
    elseif file and taken then
      -- gcov's own numbers count the line's calls, too
      line.branches[at] = (line.branches[at] or 0) + math.tointeger(taken)
      at = at + 1
      line.n = math.max(line.n, at)
    end
  end
end

-- luaL_argcheck(L, a && b, ...) is (a && b) || luaL_argerror(...): the last two
-- of the line are no branches.
local function drop_no_branches(files)
  for _, file in pairs(files) do
    for _, line in ipairs(file.lines) do
      if line.n > 2 and line.text:match("^%s*luaL_argcheck%(") then
        line.n = line.n - 2
      end
    end
  end
  return files
end

local function load(build)
  local files = {}
  local found = read_all("find " .. build .. "/obj/src -name '*.gcno' | sort")
  for gcno in found:gmatch("[^\n]+") do
    -- All branches of a line in its own file: gcov's text, to its output.
    parse(files, read_all("gcov -b -c -t " .. gcno .. " 2>/dev/null"))
  end
  return drop_no_branches(files)
end

-- ---- what memory decides ------------------------------------------------

-- Does X get its value from an allocator shortly before the line?
local function allocated(lines, at, x)
  local target = x:gsub("%p", "%%%0") .. "%s*=%s*([%w_]+)%("
  for i = at, math.max(1, at - 8), -1 do
    if i < at and lines[i].text:match("^}") then return false end
    local callee = lines[i].text:match("%f[%w_]" .. target)
      -- what does not fit a line goes on in the next
      or (lines[i].text .. lines[i + 1].text):match("%f[%w_]" .. target)
    for _, name in ipairs(ALLOCATORS) do
      if callee == name then return true end
    end
  end
  return false
end

-- The conditions that stand in a line, in their order.
local function conditions(text)
  local found = {}
  text = text:gsub("/%*.-%*/", ""):gsub("^%s*if%s*%(", "")
    :gsub("^%s*return%s", ""):gsub("^%s*}?%s*else if%s*%(", "")
    :gsub("%)%s*[{;]?%s*$", ""):gsub("[;{]%s*$", "")
  for part in (text:gsub("||", "\1"):gsub("&&", "\1") .. "\1")
    :gmatch("([^\1]*)\1") do
    part = part:match("^%s*(.-)%s*$")
    if part ~= "" then found[#found + 1] = part end
  end
  return found
end

local function pointer(condition)
  local x = condition:match("^%(*([%w_%.%->%[%]%*]+) [!=]= NULL%)*$")
    or condition:match("^%(*!?([%w_%.%->]+)%)*$")
  return x
end

-- Branch number -> true, for those of the line that memory decides.  Which of
-- the two ways is a NULL's: the one that was taken less often.
local function of_memory(lines, at)
  local line, result = lines[at], {}
  local parts = conditions(line.text)
  if #parts * 2 ~= line.n then return result end
  for i, part in ipairs(parts) do
    local x = pointer(part)
    if x and allocated(lines, at, x) then
      local a, b = 2 * i - 2, 2 * i - 1
      result[line.branches[a] < line.branches[b] and a or b] = true
    end
  end
  return result
end

-- ---- the list -----------------------------------------------------------

local function trim(text)
  return text:match("^%s*(.-)%s*$")
end

-- One branch by name: "src/io/file.c lv_file_read 3: if (...)".
local function name_of(where, number, text)
  return ("%s %s: %s"):format(where, number, text)
end

-- Name of a branch -> { may = it is sometimes taken, number = the line }.
-- Each entry needs its reason: indented lines below it, or below the last of
-- several.
local function read_list(name)
  local list, waiting, number = {}, nil, 0
  for row in io.lines(name) do
    number = number + 1
    local mark, where, numbers, text =
      row:match("^([=~]) (src/%S+ %S+) ([%d ]+): (.+)")
    if mark then
      for branch in numbers:gmatch("%d+") do
        local key = name_of(where, branch, text)
        if list[key] then
          error(("%s:%d: the same twice"):format(name, number), 0)
        end
        list[key] = { may = mark == "~", number = number }
      end
      waiting = number
    elseif row:match("^%s+%S") then
      waiting = nil
    elseif row ~= "" and not row:match("^#") then
      error(("%s:%d: neither entry nor reason"):format(name, number), 0)
    elseif waiting then
      error(("%s:%d: no reason is given"):format(name, waiting), 0)
    end
  end
  return list
end

-- ---- counting -----------------------------------------------------------

local function sum()
  return { lines = 0, run = 0, branches = 0, taken = 0, memory = 0,
    memory_taken = 0 }
end

local function add(a, b)
  for key, value in pairs(b) do a[key] = a[key] + value end
end

-- The file's sum; what was not taken goes into `missed`.
local function count(file, missed)
  local s, twins = sum(), {}
  for at, line in ipairs(file.lines) do
    if line.count then
      s.lines = s.lines + 1
      s.run = s.run + (line.count > 0 and 1 or 0)
    end
    local memory, never = of_memory(file.lines, at), {}
    for i = 0, line.n - 1 do
      local taken = line.branches[i] > 0 and 1 or 0
      if memory[i] then
        s.memory, s.memory_taken = s.memory + 1, s.memory_taken + taken
      else
        s.branches, s.taken = s.branches + 1, s.taken + taken
        if taken == 0 then never[#never + 1] = i end
      end
    end
    if line.n > 0 then
      -- The number of a line changes with every edit: the function and the
      -- text name it, and its turn, where a function has the same twice.
      local key = (line.of or "-") .. "\0" .. trim(line.text)
      twins[key] = (twins[key] or 0) + 1
      if #never > 0 then
        missed[#missed + 1] = { at = file.name .. ":" .. at,
          where = ("%s %s"):format(file.name, line.of or "-"),
          text = trim(line.text)
            .. (twins[key] > 1 and (" #" .. twins[key]) or ""),
          never = never }
      end
    end
  end
  return s
end

local function share(part, whole)
  return whole == 0 and "    -" or ("%5.1f"):format(100 * part / whole)
end

local function row(name, s)
  print(("%-26s %6d %s  %6d %6d %s  %5d %5d"):format(name, s.lines,
    share(s.run, s.lines), s.branches, s.branches - s.taken,
    share(s.taken, s.branches), s.memory, s.memory - s.memory_taken))
end

local function room_of(name)
  local room = name:match("^src/(%w+)/")
  return room or "."
end

local function table_of(files, missed)
  local names, whole, rooms = {}, sum(), {}
  for name in pairs(files) do names[#names + 1] = name end
  table.sort(names)
  print(("%-26s %6s %5s  %6s %6s %5s  %5s %5s"):format("", "lines", "%",
    "branch", "missed", "%", "alloc", "missed"))
  for _, room in ipairs(ROOMS) do
    rooms[room] = sum()
    for _, name in ipairs(names) do
      if room_of(name) == room then
        local s = count(files[name], missed)
        row(name, s)
        add(rooms[room], s)
      end
    end
    add(whole, rooms[room])
  end
  print()
  for _, room in ipairs(ROOMS) do
    row(room == "." and "src/lvhd*.c" or "src/" .. room, rooms[room])
  end
  row("all", whole)
  return whole
end

-- ---- the verdict --------------------------------------------------------

local function judge(whole, missed, list, strict)
  local wrong, seen, new = 0, {}, 0
  for _, line in ipairs(missed) do
    local unknown = {}
    for _, i in ipairs(line.never) do
      local name = name_of(line.where, i, line.text)
      seen[name] = true
      if not list[name] then unknown[#unknown + 1] = i end
    end
    new = new + #unknown
    if #unknown > 0 then
      print(("%s: never taken: = %s %s: %s"):format(line.at, line.where,
        table.concat(unknown, " "), line.text))
    end
  end
  if new > 0 then
    print(("%d branches were never taken and are not in %s"):format(new, LIST))
    wrong = wrong + 1
  end
  local stale = {}
  for name, what in pairs(list) do
    if not seen[name] and not what.may then
      stale[#stale + 1] = ("%s:%d: taken, or gone: %s")
        :format(LIST, what.number, name)
    end
  end
  table.sort(stale)
  if strict and #stale > 0 then
    print(table.concat(stale, "\n"))
    wrong = wrong + 1
  end
  if whole.taken * 100 < whole.branches * LEAST then
    print(("less than %d %% of the branches were taken"):format(LEAST))
    wrong = wrong + 1
  end
  return wrong == 0
end

local build, how = assert(arg[1], "which build?"), arg[2] or "judge"
local missed = {}
local whole = table_of(load(build), missed)
local good = judge(whole, missed, read_list(LIST), how == "judge")
os.exit(good or how ~= "judge")
