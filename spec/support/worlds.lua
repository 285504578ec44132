-- SPDX-License-Identifier: MIT
--
-- Specs in another world: the same files, run by a busted of their own
-- behind spec/c/without.c (a host that lacks a call) or in scratch folders on
-- another volume.  Knows busted and how the specs are run, not lvhd.

local support = require "spec.support"

local worlds = {}

local BUILD <const> = os.getenv("LVHD_BUILD") or "build"

---The start of a command that lacks what the words name.
---@param words string "" for nothing
function worlds.without(words)
  return words == "" and ""
    or ("./%s/spec/without %s -- "):format(BUILD, words)
end

---Runs a spec file in a world.
---@param world table { before = start of the command, set = variables | nil }
---@param spec string a path, or a name without spec/ and _spec.lua
---@param opts table { skip = tags, leave = { patterns of names }, only = pattern }
---@return table { passed, failed, skipped, output }
function worlds.spec(world, spec, opts)
  local counts = os.tmpname()
  local words = { "LVHD_COUNTS=" .. support.q(counts) }
  for name, value in pairs(world.set or {}) do
    words[#words + 1] = name .. "=" .. support.q(value)
  end
  words[#words + 1] = world.before .. "lua5.4 \"$(command -v busted)\" --ignore-lua"
    .. " -o spec/support/report.lua --helper=spec/helper.lua"
  words[#words + 1] = ("--cpath='./%s/?.so;./%s/spec/?.so'"):format(BUILD,
    BUILD)
  words[#words + 1] = "--exclude-tags=slow,"
    .. (os.getenv("LVHD_SANITIZER") and "nosan," or "")
    .. (opts.skip or "never")
  for _, pattern in ipairs(opts.leave or {}) do
    words[#words + 1] = "--filter-out=" .. support.q(pattern)
  end
  if opts.only then
    words[#words + 1] = "--filter=" .. support.q(opts.only)
  end
  words[#words + 1] = spec:find("/") and spec
    or "spec/" .. spec .. "_spec.lua"
  -- env: an assignment before a word that is itself a program's
  local _, output = support.sh("env " .. table.concat(words, " "))
  local line = support.read(counts)
  os.remove(counts)
  local p, f, s = line:match("^(%d+) passed, (%d+) failed, (%d+) skipped")
  return { passed = tonumber(p), failed = tonumber(f), skipped = tonumber(s),
    output = output }
end

---Runs it, prints a line, and expects that it passed.
function worlds.judge(name, world, spec, opts)
  local start = os.time()
  local got = worlds.spec(world, spec, opts)
  assert(got.passed, name .. ", " .. spec .. ": no result\n" .. got.output)
  io.stdout:write(("  %-44s %-18s %3d passed, %d failed%s   %d s\n"):format(
    name, spec, got.passed, got.failed,
    got.skipped > 0 and (", %d skipped"):format(got.skipped) or "",
    os.time() - start))
  io.stdout:flush()
  assert(got.failed == 0, got.output)
  assert(got.passed > 0, name .. ", " .. spec .. ": nothing ran")
end

return worlds
