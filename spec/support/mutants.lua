-- SPDX-License-Identifier: MIT
--
-- Do the tests notice when a check is gone?  `make mutants` breaks what
-- refuses, what guards paths and what publishes in one place at a time, and
-- runs the tests that come by there until one goes red.  What none notices
-- must stand in survivors.lua, with the reason; what stands there must still
-- survive.
--
--   FILES="format/ root.c"   of these files (parts of their names)
--   OPS="never edge"         of these kinds (mutate.lua); all but always
--   SAMPLE=40 SEED=1         so many, by chance
--   JOBS=2 FRESH=1 LIST=1    workers; nothing from the last run; names only
--   JUDGES="test_ names_spec"  by these tests alone
--   PATIENCE=20              no more than so many seconds of specs each
--   WHOLE=1                  survivors against every test there is: see 6
--
-- All lies in build/mutants: tree/ is a copy with rewritten sources, built
-- once; seen/ tells which test would notice which mutant (mutant.h); results
-- are kept, so that a run goes on where one was stopped.  Root works in a
-- namespace of its own, where only a small disk in memory can be written.
--
--   1 what there is   2 the box   3 the tree   4 who notices what
--   5 one mutant   6 all survivors at once   7 workers   8 the report

local mutate = require "spec.support.mutate"

local FILES = [[
  format/footer format/header format/geometry format/plan format/bitmap
  format/audit format/fat
  image/probe image/image image/table image/space image/parent image/chain
  image/facts
  base/winpath base/path base/utf base/uuid
  io/root io/drives io/folder op/look op/way
  io/newfile io/flush op/publish op/outcome op/batch op/inplace image/journal]]

-- They reach nothing of the engine, or build one of their own.
local NO_JUDGES = { rooms = true, readme = true, install = true, demo = true,
  library = true, command = true, command_options = true,
  command_json = true, api = true, reference = true,
  reliability = true, examples = true }

-- Where threads or clocks may make a test red: it must be red twice.
local TIMED = { concurrency = true, fair = true, lifecycle = true,
  drives_races = true, loops = true, locks = true, ended = true,
  interrupted = true }

local WORK = "build/mutants"
local TREE = WORK .. "/tree"
local NOTES = WORK .. "/seen"

-- ---- 1 what there is --------------------------------------------------

local function q(word) return "'" .. word:gsub("'", [['\'']]) .. "'" end

local function run(command)
  assert(os.execute(command), "failed: " .. command)
end

local function capture(command)
  local pipe = assert(io.popen(command))
  local out = pipe:read("a")
  pipe:close()
  return out
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local bytes = file:read("a")
  file:close()
  return bytes
end

local function write(path, bytes)
  local file = assert(io.open(path, "wb"))
  assert(file:write(bytes))
  assert(file:close())
end

-- The same bytes keep their time, which is what make goes by.
local function renew(path, bytes)
  if read(path) ~= bytes then write(path, bytes) end
end

local function option(name)
  local value = os.getenv(name)
  return value ~= nil and value ~= "" and value or nil
end

-- Words of an option as a set; nil: not given.
local function words_of(name)
  local value, result = option(name), {}
  if not value then return nil end
  for word in value:gmatch("[^%s,]+") do result[#result + 1] = word end
  return result
end

---All mutants, by number, and the sources that hold them.
local function mutants()
  local list, sources = {}, {}
  for word in FILES:gmatch("%S+") do
    local path = "src/" .. word .. ".c"
    sources[path] = mutate.file(assert(read(path)), function(name, op)
      list[#list + 1] = { number = #list + 1, file = path, op = op,
        name = path:sub(5) .. ": " .. name }
      return #list
    end)
  end
  return list, sources
end

local function chosen(list)
  local files, ops, taken = words_of("FILES"), words_of("OPS"), {}
  local function among(words, text, plain)
    for _, word in ipairs(words) do
      if text == word or not plain and text:find(word, 1, true) then
        return true
      end
    end
    return false
  end
  for _, m in ipairs(list) do
    local right = ops and among(ops, m.op, true) or not ops and m.op ~= "always"
    if right and (not files or among(files, m.file)) then
      taken[#taken + 1] = m
    end
  end
  local sample = tonumber(option("SAMPLE"))
  if not sample then return taken end
  math.randomseed(tonumber(option("SEED")) or 1)
  while #taken > sample do table.remove(taken, math.random(#taken)) end
  return taken
end

-- Whether a test is wanted: JUDGES names parts of their names.
local function judges(name)
  local wanted = words_of("JUDGES")
  if not wanted then return true end
  for _, word in ipairs(wanted) do
    if name:find(word, 1, true) then return true end
  end
  return false
end

local function unit_tests()
  local names = {}
  for name in capture("ls spec/c/test_*.c"):gmatch("(test_[%w_]+)%.c") do
    if judges(name) then names[#names + 1] = name end
  end
  return names
end

local function spec_files()
  local names = {}
  for path, name in capture("ls spec/*_spec.lua")
    :gmatch("(spec/([%w_]+)_spec%.lua)") do
    if not NO_JUDGES[name] and judges(path) then names[#names + 1] = path end
  end
  return names
end

-- ---- 2 the box ----------------------------------------------------------

local BOXED = os.getenv("LVHD_BOXED") == "yes"

-- Only this can be written in the namespace: the work folder, and a disk of
-- 8 GiB at the most, in memory, as /tmp.
local SCENE = [[
set -e
W=$(readlink -f ]] .. WORK .. [[)
mount --bind "$W" "$W"
mkdir -p "$W/disk"
I=$(mktemp /dev/shm/lvhd-mutants.XXXXXX)
truncate -s 8G "$I"
mkfs.ext4 -q -F -m 0 "$I" && mount -o loop,discard "$I" "$W/disk" || {
  rm -f "$I"; exit 9; }
rm -f "$I"
mkdir "$W/disk/main"
mount --bind "$W/disk/main" /tmp
touch /tmp/.mutants
mount -o remount,bind,ro /
]]

-- The same script once more, where it can do no harm.
local function enter()
  local me = ("LVHD_BOXED=yes exec %s spec/support/mutants.lua"):format(arg[-1])
  local file = WORK .. "/scene.sh"
  write(file, SCENE .. me .. "\n")
  return os.execute("exec unshare -m --propagation private sh " .. file)
end

-- What a test that was stopped has left.  Only in a /tmp of our own.
local function sweep()
  if BOXED and read("/tmp/.mutants") then
    run("find /tmp -xdev -mindepth 1 -maxdepth 1 ! -name output "
      .. "! -name .mutants ! -name only -exec rm -rf --one-file-system {} +")
  end
end

-- Runs a command in the tree; a spec may leave processes and mounts behind.
-- Returns "ok", "red" or "late".
local function in_box(seconds, env, command)
  local is_spec = command:find("busted", 1, true)
  local isolate = BOXED and is_spec
    and "unshare -mpf --kill-child --mount-proc " or ""
  local _, how, code = os.execute(
    ("cd %s && %s %s timeout -k 2 %d %s >/tmp/output 2>&1"):format(TREE, env,
      isolate, math.ceil(seconds), command))
  if is_spec then sweep() end
  if how == "exit" and code == 0 then return "ok" end
  return how == "exit" and (code == 124 or code == 137) and "late" or "red"
end

local function output() return read("/tmp/output") or "" end

local BUSTED = "lua5.4 $(command -v busted) --ignore-lua "
  .. "-o spec/support/report.lua --cpath='./build/?.so;./build/spec/?.so' "
  .. "--helper=spec/support/mutants_helper.lua --exclude-tags=slow "
local SPEC_ENV = "LVHD_BUILD=build LUA_PATH='./?.lua;./?/init.lua;;' "
  .. "LUA_CPATH='./build/?.so;./build/spec/?.so;;' "

-- ---- 3 the tree -----------------------------------------------------------

local function make_tree(sources)
  run("mkdir -p " .. TREE .. "/src " .. NOTES)
  for _, name in ipairs { "Makefile", "lvhd", "spec", "rockspec", "README.md",
    "CHANGELOG.md", "LICENSE" } do
    run(("ln -sfn ../../../%s %s/%s"):format(name, TREE, name))
  end
  for path in capture("cd src && find . -name '*.[ch]' -o -name '*.def'")
    :gmatch("%./(%S+)") do
    local folder = path:match("^(.*)/") or "."
    run(("mkdir -p %s/src/%s"):format(TREE, folder))
    renew(TREE .. "/src/" .. path, sources["src/" .. path]
      or read("src/" .. path))
  end
  renew(TREE .. "/src/base/mutant.c", "#include \"spec/c/mutant.c\"\n")
  local goals, strict = { "build/lvhd/core.so" }, {}
  for name in capture("ls spec/c"):gmatch("(%S+)%.c\n") do
    if name:find("^test_") then
      goals[#goals + 1] = "build/spec/" .. name
      strict[#strict + 1] = "build/asan/spec/" .. name
    elseif name:find("^host_") then
      goals[#goals + 1] = "build/spec/" .. name
    elseif name:find("test$") then
      goals[#goals + 1] = "build/spec/" .. name .. ".so"
    end
  end
  local make = ("make --no-print-directory -s -C %s -j %s WARNINGS=-w "
    .. "CFLAGS=-O1 CPPFLAGS='-I. -include spec/c/mutant.h' "):format(TREE,
    option("JOBS") or 2)
  run(make .. table.concat(goals, " ") .. " >&2")
  run(make .. "B=build/asan SANITIZE='-fsanitize=address,undefined "
    .. "-fno-sanitize-recover=undefined' " .. table.concat(strict, " ")
    .. " >&2")
end

-- ---- 4 who notices what -----------------------------------------------------

local function zeros(path, count) write(path, ("\0"):rep(count + 1)) end

local function numbers(bytes)
  local list, at = {}, bytes:find("\1", 1, true)
  while at do
    list[#list + 1] = at - 1
    at = bytes:find("\1", at + 1, true)
  end
  return list
end

local function sum(files)
  return (capture("cksum " .. files .. " | cksum"):match("^%d+"))
end

local function absolute(path)
  return (capture("readlink -f " .. q(path)):gsub("\n", ""))
end

-- A record: lines "file, name, seconds, status, numbers".  Kept with the sum
-- of what made it.
local function record(name, key, make)
  local path = NOTES .. "/" .. name
  local text = read(path)
  if text and text:match("^(%S+)\n") == key then return text end
  local lines = make()
  write(path, key .. "\n" .. lines)
  return key .. "\n" .. lines
end

local function now()
  return tonumber(read("/proc/uptime"):match("^%S+"))
end

local function record_unit(name, count)
  return record(name, sum(TREE .. "/build/spec/" .. name), function()
    local notes = absolute(NOTES) .. "/notes-" .. name
    zeros(notes, count)
    local start = now()
    local state = in_box(300, "LVHD_MUTANTS_SEEN=" .. q(notes),
      "build/spec/" .. name)
    local seconds = now() - start
    return ("unit\t%s\t%.3f\t%s\t%s\n"):format(name, seconds,
      state == "ok" and "success" or "failure",
      table.concat(numbers(read(notes)), " "))
  end)
end

local function record_spec(file, engine, count)
  local name = file:match("([%w_]+)%.lua$")
  return record(name, engine .. "-" .. sum(file), function()
    local notes = absolute(NOTES) .. "/notes-" .. name
    local log = absolute(NOTES) .. "/log-" .. name
    zeros(notes, count)
    local state = in_box(600, SPEC_ENV .. ("LVHD_MUTANTS_SEEN=%s "):format(
      q(notes)) .. ("LVHD_MUTANT_LOG=%s"):format(q(log)), BUSTED .. file)
    if state ~= "ok" then
      io.stderr:write("  not all green without a mutant: ", file, "\n",
        output(), "\n")
    end
    return read(log) or ""
  end)
end

-- Adds a record's lines to the tests: { file, name, seconds }, and to the
-- list of tests of each mutant.
local function take_record(tests, noticed, text)
  local known = {}
  for file, name, seconds, status, list in
    text:gmatch("([^\t\n]+)\t([^\t\n]+)\t([%d.]+)\t(%w+)\t([%d ]*)\n") do
    local key = file .. "\t" .. name
    local test = known[key]
    if not test then
      test = { file = file, name = name, seconds = 0, kills = 0, of = {} }
      known[key] = test
      tests[#tests + 1] = test
    end
    test.seconds = test.seconds + tonumber(seconds)
    if status ~= "success" and status ~= "between" then test.bad = true end
    for number in list:gmatch("%d+") do test.of[math.tointeger(number)] = true end
  end
  for _, test in pairs(known) do
    for number in pairs(test.of) do
      local of = noticed[number] or {}
      noticed[number] = of
      if not test.bad then of[#of + 1] = test end
    end
    test.of = nil
  end
end

---@param number integer? this worker records its share only
---@return table noticed number -> the tests that would notice the mutant
local function who_notices(count, number, workers)
  local tests, noticed, at = {}, {}, 0
  local function mine()
    at = at + 1
    return not number or at % workers == number
  end
  for _, name in ipairs(unit_tests()) do
    if mine() then take_record(tests, noticed, record_unit(name, count)) end
  end
  local engine = sum(TREE .. "/build/lvhd/core.so " .. TREE
    .. "/build/spec/*.so $(ls spec/support/*.lua spec/helper.lua | "
    .. "grep -v 'support/mut\\|survivors')")
  for _, file in ipairs(spec_files()) do
    if mine() then
      take_record(tests, noticed, record_spec(file, engine, count))
    end
  end
  return noticed
end

-- ---- 5 one mutant ---------------------------------------------------------

-- The state is that of a red test: folder is where the builds of the unit
-- tests are.
local function units_red(m, tests, folder, state)
  local function run_unit(test, number)
    return in_box(20 + 20 * test.seconds, "LVHD_MUTANT=" .. number,
      folder .. test.name)
  end
  for _, test in ipairs(tests) do
    local end_state = run_unit(test, m.number)
    if end_state ~= "ok" and test[folder] == nil then
      test[folder] = run_unit(test, 0) == "ok"
      if not test[folder] then
        io.stderr:write("  red without a mutant: ", folder, test.name, "\n",
          output(), "\n")
      end
    end
    if end_state ~= "ok" and test[folder] then
      return end_state == "late" and "late" or state, test.name
    end
  end
  return nil
end

-- Runs some tests of some specs: the state, and the first that is red.
local function run_specs(number, list, extra)
  local lines, files, order, seconds = {}, {}, {}, 0
  for _, test in ipairs(list) do
    lines[#lines + 1] = test.file .. "\t" .. test.name .. "\n"
    if not files[test.file] then order[#order + 1] = test.file end
    files[test.file] = true
    seconds = seconds + test.seconds
  end
  write("/tmp/only", table.concat(lines))
  local state = in_box(20 + 2 * #order + 10 * seconds, SPEC_ENV
    .. ("LVHD_MUTANT=%d LVHD_MUTANT_ONLY=/tmp/only"):format(number),
    BUSTED .. (extra or "--no-keep-going ") .. table.concat(order, " "))
  if state == "ok" then return "ok" end
  local first = output():match("\nFAILED ([^\n]*)")
    or output():match("\nERROR ([^\n]*)") or order[1]
  return state, first
end

-- The tests of the list whose name the report gave, or all of them.
local function named(list, name)
  for _, test in ipairs(list) do
    if test.name == name then return { test } end
  end
  return list
end

local function is_timed(list)
  for _, test in ipairs(list) do
    if TIMED[test.file:match("([%w_]+)_spec%.lua$")] then return true end
  end
  return false
end

-- Red because of the mutant: green without it; and where time plays a part,
-- red a second time.
local function is_sure(m, list)
  for _, test in ipairs(list) do
    if test.flaky then return false end
  end
  local alone = #list == 1 and list[1]
  if not (alone and alone.good) then
    if run_specs(0, list) ~= "ok" then
      for _, test in ipairs(list) do test.flaky = true end
      return false
    end
    if alone then alone.good = true end
  end
  return not is_timed(list) or run_specs(m.number, list) ~= "ok"
end

-- Runs the tests in parts, cheap ones first, each part costing more.
local function specs_red(m, list)
  local budget, at, spent = 1, 1, 0
  local most = tonumber(option("PATIENCE")) or math.huge
  while at <= #list and spent < most do
    local part, cost = {}, 0
    while at <= #list and (#part == 0 or cost < budget) do
      if not list[at].flaky then part[#part + 1] = list[at] end
      cost = cost + list[at].seconds + 0.01
      at = at + 1
    end
    while #part > 0 do
      local state, first = run_specs(m.number, part)
      if state == "ok" then break end
      local guilty = named(part, first)
      if is_sure(m, guilty) then
        for _, test in ipairs(guilty) do
          test.kills = test.kills + 1 / #guilty
        end
        return state == "late" and "late" or "spec", first
      end
      local rest = {}
      for _, test in ipairs(part) do
        if not test.flaky then rest[#rest + 1] = test end
      end
      if #rest == #part then break end
      part = rest
    end
    budget, spent = budget * 4, spent + cost
  end
  return nil
end

---@return string state unit, spec, asan (a unit test under a sanitizer), late
---  (none ended in time): by what it was killed; unseen or survived
---@return string by
local function try(m, tests)
  if #tests == 0 then return "unseen", "-" end
  local units, specs, slow = {}, {}, {}
  for _, test in ipairs(tests) do
    local list = test.file ~= "unit" and specs
      or test.seconds < 2 and units or slow
    list[#list + 1] = test
  end
  local function cheaper(a, b)
    local x, y = a.seconds / (1 + a.kills), b.seconds / (1 + b.kills)
    if x ~= y then return x < y end
    return a.name < b.name
  end
  table.sort(units, cheaper)
  table.sort(specs, cheaper)
  local state, by = units_red(m, units, "build/spec/", "unit")
  if not state then state, by = specs_red(m, specs) end
  if not state then
    state, by = units_red(m, units, "build/asan/spec/", "asan")
  end
  if not state then state, by = units_red(m, slow, "build/spec/", "unit") end
  if state then return state, by end
  return "survived", #tests .. " tests"
end

-- ---- 6 all survivors at once ------------------------------------------------
--
-- What no test notices while it lives alone may be noticed by one that was
-- never tried on it: each test that there is runs once with all of them
-- alive.  Where it goes red, halving finds the first without which it is
-- green.  Is it red with that one alone, that one is killed.  Else it takes
-- two (one check shadows the other): then it goes on without the one.  What
-- hides another's harm would go unseen.

local function run_all(test, list)
  local alive = {}
  for i, m in ipairs(list) do alive[i] = m.number end
  local env = ("LVHD_MUTANT='%s' "):format(table.concat(alive, " "))
  if test:find("^spec/") then
    return in_box(600, SPEC_ENV .. env, BUSTED .. test) == "ok"
  end
  return in_box(300, env, test) == "ok"
end

-- The first of the list with which, and those before it, the test is red.
local function first_red(test, list)
  local green, red = 0, #list
  while red - green > 1 do
    local middle = (green + red) // 2
    if run_all(test, table.move(list, 1, middle, 1, {})) then
      green = middle
    else
      red = middle
    end
  end
  return red
end

---@return table killed name -> the test
local function try_together(test, list)
  local rest, killed = table.move(list, 1, #list, 1, {}), {}
  while #rest > 0 and not run_all(test, rest) do
    if not run_all(test, {}) then
      io.stderr:write("red without a mutant: ", test, "\n")
      break
    end
    local m = table.remove(rest, first_red(test, rest))
    if not run_all(test, { m }) and not run_all(test, { m }) then
      killed[m.name] = test
    end
    io.stderr:write(("  %s: %s %s\n"):format(test,
      killed[m.name] and "kills" or "needs two:", m.name))
  end
  return killed
end

local function keys_of(list)
  local keys = {}
  for _, m in ipairs(list) do
    keys[m.file] = keys[m.file] or sum(m.file)
  end
  return keys
end

local function listed(list)
  local reasons, result = dofile("spec/support/survivors.lua"), {}
  for _, m in ipairs(chosen(list)) do
    if reasons[m.name] then result[#result + 1] = m end
  end
  return result
end

local function together(list, number)
  local alive, tests = listed(list), spec_files()
  local keys = keys_of(alive)
  for _, name in ipairs(unit_tests()) do
    tests[#tests + 1] = "build/spec/" .. name
    tests[#tests + 1] = "build/asan/spec/" .. name
  end
  local out = assert(io.open(("%s/results-%d"):format(WORK, number), "w"))
  for i, test in ipairs(tests) do
    -- whoever makes the folder takes the test: some take minutes
    if os.execute(("mkdir %s/together/%d 2>/dev/null"):format(WORK, i)) then
      local killed = try_together(test, alive)
      io.stderr:write(("%d/%d %s\n"):format(i, #tests, test))
      for k = #alive, 1, -1 do
        local m = alive[k]
        if killed[m.name] then
          table.remove(alive, k)
          out:write(("%s\twhole\t%s\t%s\n"):format(keys[m.file], test,
            m.name))
          out:flush()
        end
      end
    end
  end
  out:close()
end

-- ---- 7 workers --------------------------------------------------------------

-- A line a result: what it was judged with, state, by, name.
local function results_of(path, into)
  for key, state, by, name in (read(path) or "")
    :gmatch("(%S+)\t(%S+)\t([^\t\n]*)\t([^\n]*)\n") do
    into[name] = { key = key, state = state, by = by }
  end
  return into
end

-- What is dead stays so while its file is the same; what lives is tried
-- again when there are other tests.
local function is_done(old, key, tests_key)
  if not old or option("FRESH") then return false end
  local dead = old.state ~= "survived" and old.state ~= "unseen"
  return old.key == key .. (dead and "" or "-" .. tests_key)
end

local function tests_key()
  return sum("spec/*_spec.lua spec/c/*.c spec/support/[a-lo-z]*.lua")
    .. (option("JUDGES") or ""):gsub("%s+", ",")
    .. (option("PATIENCE") or "")
end

local function record_share(list, number, workers)
  who_notices(#list, number, workers)
end

local function work(list, number, workers)
  local noticed = who_notices(#list)
  local todo, keys = chosen(list), keys_of(list)
  local old, tests = results_of(WORK .. "/results", {}), tests_key()
  local out = assert(io.open(("%s/results-%d"):format(WORK, number), "w"))
  local count = 0
  for i, m in ipairs(todo) do
    if i % workers == number and not is_done(old[m.name], keys[m.file], tests)
    then
      local state, by = try(m, noticed[m.number] or {})
      local dead = state ~= "survived" and state ~= "unseen"
      out:write(("%s\t%s\t%s\t%s\n"):format(keys[m.file]
        .. (dead and "" or "-" .. tests), state, by, m.name))
      out:flush()
      count = count + 1
      io.stderr:write(("%d/%d %s\t%s\t%s\n"):format(i, #todo, state, by,
        m.name))
    end
  end
  out:close()
end

-- What workers have left in files of their own, in a run that was stopped too.
local function gather()
  local all = results_of(WORK .. "/results", {})
  for i = 0, 8 do
    results_of(("%s/results-%d"):format(WORK, i), all)
  end
  local lines = {}
  for name, r in pairs(all) do
    lines[#lines + 1] = ("%s\t%s\t%s\t%s\n"):format(r.key, r.state, r.by, name)
  end
  table.sort(lines)
  write(WORK .. "/results", table.concat(lines))
  for i = 0, 8 do os.remove(("%s/results-%d"):format(WORK, i)) end
  return all
end

-- Each with a /tmp of its own.
local function start_workers(workers, what)
  local script = {}
  for i = 0, workers - 1 do
    local me = ("exec %s spec/support/mutants.lua %s %d %d"):format(arg[-1],
      what, i, workers)
    if BOXED then
      local disk = ("%s/disk/%d"):format(WORK, i)
      me = ("mkdir -p %s; unshare -m sh -ec 'mount --bind %s /tmp; "
        .. "touch /tmp/.mutants; %s'"):format(disk, disk, me)
    end
    script[#script + 1] = "(" .. me .. ") &"
  end
  script[#script + 1] = "wait"
  os.execute(table.concat(script, "\n"))
end

-- ---- 8 the report -----------------------------------------------------------

local STATES = { "unit", "spec", "asan", "whole", "late", "listed", "survived",
  "unseen" }

-- Each with the states it has; returns what is wrong.
local function judge(todo, results, reasons)
  local wrong, rows, order = {}, {}, {}
  for _, m in ipairs(todo) do
    local r = results[m.name] or { state = "untried", by = "" }
    local alive = r.state == "survived" or r.state == "unseen"
    local state = r.state
    if alive and reasons[m.name] then
      state = "listed"
    elseif alive or r.state == "untried" then
      wrong[#wrong + 1] = ("%s (%s): %s"):format(r.state, r.by, m.name)
    elseif reasons[m.name] then
      wrong[#wrong + 1] = ("listed, but killed (%s): %s"):format(r.by, m.name)
    end
    if not rows[m.file] then order[#order + 1] = m.file end
    local row = rows[m.file] or { all = 0 }
    rows[m.file] = row
    row.all = row.all + 1
    row[state] = (row[state] or 0) + 1
  end
  return wrong, rows, order
end

local function show(rows, order)
  local total = { all = 0 }
  local function line(name, row)
    local cells = { ("%-20s %5d"):format(name, row.all) }
    for _, state in ipairs(STATES) do
      cells[#cells + 1] = ("%8d"):format(row[state] or 0)
    end
    print(table.concat(cells, " "))
  end
  print(("%-20s %5s %8s"):format("file", "all", table.concat(STATES, " ", 1, 1))
    .. ("%9s%9s%9s%9s%9s%9s%9s"):format(table.unpack(STATES, 2)))
  for _, file in ipairs(order) do
    line(file:sub(5), rows[file])
    for key, n in pairs(rows[file]) do total[key] = (total[key] or 0) + n end
  end
  line("all", total)
end

local function report(list, todo, results)
  local reasons = {}
  for name, reason in pairs(dofile("spec/support/survivors.lua")) do
    reasons[name] = reason
  end
  local wrong, rows, order = judge(todo, results, reasons)
  local names = {}
  for _, m in ipairs(list) do names[m.name] = true end
  for name in pairs(reasons) do
    if not names[name] then
      wrong[#wrong + 1] = "listed, but gone: " .. name
    end
  end
  show(rows, order)
  table.sort(wrong)
  for _, line in ipairs(wrong) do print(line) end
  return #wrong == 0
end

local function main()
  local list, sources = mutants()
  if arg[1] then
    local acts = { record = record_share, work = work, together = together }
    return acts[arg[1]](list, math.tointeger(arg[2]), math.tointeger(arg[3]))
  end
  local todo = chosen(list)
  if option("LIST") then
    for _, m in ipairs(todo) do print(m.number, m.name) end
    return
  end
  run("mkdir -p " .. WORK)
  if not BOXED and capture("id -u") == "0\n" and not option("NOBOX") then
    os.exit(enter() == true)
  end
  make_tree(sources)
  gather()
  local workers = math.tointeger(tonumber(option("JOBS") or 2))
  if option("WHOLE") then
    run(("rm -rf %s/together; mkdir %s/together"):format(WORK, WORK))
    start_workers(workers, "together")
    todo = listed(list)
  else
    start_workers(workers, "record")
    start_workers(workers, "work")
  end
  local results = gather()
  for _, m in ipairs(option("WHOLE") and todo or {}) do
    results[m.name] = results[m.name] or { state = "survived", by = "all" }
  end
  os.exit(report(list, todo, results))
end

main()
