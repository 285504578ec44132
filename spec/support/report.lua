-- SPDX-License-Identifier: MIT
--
-- How busted reports here: a line for each spec file, each failure in full
-- where it happens, the reasons of what was skipped at the end, and the
-- counts into the file named by LVHD_COUNTS, which run.lua sums.  Knows
-- busted, not lvhd.

local busted = require "busted"
local base = require "busted.outputHandlers.base"
local pretty = require "pl.pretty"

local function text(message)
  if message == nil then return "(no message)" end
  if type(message) == "string" then return message end
  local meta = getmetatable(message)
  if meta and meta.__tostring then return tostring(message) end
  return pretty.write(message)
end

return function(options)
  local handler = base()
  local file -- the spec file under way: name, start, counts before it

  local function failed() return handler.failuresCount + handler.errorsCount end

  local function show(word)
    return function(element, _, message, trace)
      local at = element.trace or trace or {}
      io.stdout:write(("\n%s %s\n  at %s:%s\n  %s\n"):format(word,
        handler.getFullName(element), at.short_src or "?",
        at.currentline or "?", (text(message):gsub("\n", "\n  "))))
      if options.verbose and trace and trace.traceback then
        io.stdout:write(trace.traceback, "\n")
      end
      io.stdout:write("\n")
      io.stdout:flush()
      return nil, true
    end
  end

  local function file_start(element)
    file = { name = element.name, clock = os.time(),
      passed = handler.successesCount, failed = failed(),
      skipped = handler.pendingsCount }
    return nil, true
  end

  local function file_end()
    local p = handler.successesCount - file.passed
    local f = failed() - file.failed
    local s = handler.pendingsCount - file.skipped
    if p + f + s > 0 then
      io.stdout:write(("%-40s %d passed, %d failed%s   %d s\n"):format(
        file.name, p, f, s > 0 and (", %d skipped"):format(s) or "",
        os.time() - file.clock))
      io.stdout:flush()
    end
    return nil, true
  end

  -- Of the long ones, how long they took: the gates run for hours.
  local LONG <const> = 60
  local start
  local function test_start()
    start = os.time()
    return nil, true
  end
  local function test_end(element)
    local seconds = os.time() - (start or os.time())
    if seconds >= LONG then
      io.stdout:write(("  %d s: %s\n"):format(seconds,
        handler.getFullName(element)))
      io.stdout:flush()
    end
    return nil, true
  end

  local function suite_end()
    for _, skipped in ipairs(handler.pendings) do
      io.stdout:write("skipped: ", skipped.name)
      if skipped.message then io.stdout:write(": ", text(skipped.message)) end
      io.stdout:write("\n")
    end
    local line = ("%d passed, %d failed, %d skipped\n"):format(
      handler.successesCount, failed(), handler.pendingsCount)
    local path = os.getenv("LVHD_COUNTS")
    if path then
      local out = assert(io.open(path, "w"))
      out:write(line)
      out:close()
    else
      io.stdout:write(line)
    end
    return nil, true
  end

  busted.subscribe({ "file", "start" }, file_start)
  busted.subscribe({ "file", "end" }, file_end)
  busted.subscribe({ "test", "start" }, test_start)
  busted.subscribe({ "test", "end" }, test_end)
  busted.subscribe({ "failure" }, show("FAILED"))
  busted.subscribe({ "error" }, show("ERROR"))
  busted.subscribe({ "suite", "end" }, suite_end)
  return handler
end
