-- SPDX-License-Identifier: MIT
--
-- coverage.lua PROGRAM TARGET...: what the corpus of each fuzzer reaches of
-- the engine, by rooms.  PROGRAM is test_corpus, built by clang with
-- -fprofile-instr-generate -fcoverage-mapping; `make fuzz-coverage` does that.
-- Knows llvm-cov's words, not the fuzzers.

local program = table.remove(arg, 1)
local folder = program:match("^(.*)/[^/]*/[^/]*$") .. "/profiles"
local ROOMS <const> = { "base", "format", "io", "image", "op", "task", "lvhd.c" }

local function run(command)
  local pipe <close> = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("a")
  if not pipe:close() then
    error(command .. ":\n" .. text, 0)
  end
  return text
end

---Lines and branches by room, covered and in all.
local function measure(profiles, name)
  local data = folder .. "/" .. name .. ".profdata"
  run("llvm-profdata merge -o " .. data .. " " .. profiles)
  local json = run(("llvm-cov export -summary-only -instr-profile=%s %s")
    :format(data, program))
  local rooms = {}
  for file, summary in json:gmatch('"filename":"([^"]+)","summary":(%b{})') do
    local room = file:match("src/([^/]+)/[^/]+%.c$")
      or file:match("src/(lvhd%.c)$")
    if room then
      local sums = rooms[room] or { lines = { 0, 0 }, branches = { 0, 0 } }
      rooms[room] = sums
      for kind, sum in pairs(sums) do
        local of = summary:match('"' .. kind .. '":(%b{})')
        sum[1] = sum[1] + math.tointeger(tonumber(of:match('"covered":(%d+)')))
        sum[2] = sum[2] + math.tointeger(tonumber(of:match('"count":(%d+)')))
      end
    end
  end
  return rooms
end

local function percent(sum)
  return sum[2] == 0 and 0 or 100 * sum[1] / sum[2]
end

local function print_row(name, rooms)
  local cells = { ("%-8s"):format(name) }
  local all = { lines = { 0, 0 }, branches = { 0, 0 } }
  for _, room in ipairs(ROOMS) do
    local sums = rooms[room]
    cells[#cells + 1] = sums and ("%3.0f /%3.0f"):format(percent(sums.lines),
      percent(sums.branches)) or "   -    "
    for kind, sum in pairs(sums or {}) do
      all[kind][1] = all[kind][1] + sum[1]
      all[kind][2] = all[kind][2] + sum[2]
    end
  end
  cells[#cells + 1] = ("%4.1f / %4.1f"):format(percent(all.lines),
    percent(all.branches))
  print(table.concat(cells, " | "))
end

run("mkdir -p " .. folder)
print("lines / branches in percent")
print("target   | " .. table.concat(ROOMS, "     | ") .. "   | all")
local profiles = {}
for _, target in ipairs(arg) do
  local raw = ("%s/%s.profraw"):format(folder, target)
  run(("LLVM_PROFILE_FILE=%s %s %s"):format(raw, program, target))
  profiles[#profiles + 1] = raw
  print_row(target, measure(raw, target))
end
print_row("all", measure(table.concat(profiles, " "), "all"))
