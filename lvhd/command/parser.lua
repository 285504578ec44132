-- SPDX-License-Identifier: MIT
--
-- The parser of the command line, made of verbs.lua by argparse; and the man
-- page, made of the same.

local found, argparse = pcall(require, "argparse")
if not found and tostring(argparse):find("interrupted!", 1, true) then
  error(argparse, 0)
elseif not found then
  error("the command needs argparse (Debian: lua-argparse)", 0)
end
local exits = require "lvhd.command.exits"
local lvhd = require "lvhd"
local shapes = require "lvhd.command.shapes"
local verbs = require "lvhd.command.verbs"

local M = {}

local SUMMARY <const> = "Create, inspect and maintain VHD virtual hard disks."

local function examples(verb)
  local lines = { "Examples:" }
  for _, example in ipairs(verb.examples) do
    lines[#lines + 1] = ("   %s"):format(example[1])
    lines[#lines + 1] = ("      %s"):format(example[2])
  end
  return table.concat(lines, "\n")
end

local function add_argument(command, row)
  local made = command:argument(row.name, row.text)
  if row.any then
    made:args "*"
  elseif row.optional then
    made:args "?"
  end
end

local function add_option(command, row)
  if row.flag then
    command:flag(row.words, row.text)
    return
  end
  local made = command:option(row.words, row.text):argname(row.value)
  if row.target then
    made:target(row.target)
  end
  if row.choices then
    made:choices(row.choices)
  end
  if row.default then
    made:default(row.default)
  end
  if row.many then
    made:count "*"
  end
end

-- argparse would print and exit by itself, and never know whether anything was
-- written.
local function show(text)
  error({ show = text }, 0)
end

local function add_help(parser)
  parser:add_help { action = function()
    show(parser:get_help() .. "\n")
  end }
end

local function add_shows(parser)
  add_help(parser)
  parser:add_help_command()
  parser:add_complete_command()
  local help, complete = parser._commands[1], parser._commands[2]
  help._arguments[1]:action(function(_, _, name)
    for _, command in ipairs(name and parser._commands or {}) do
      if command._name == name then
        show(command:get_help() .. "\n")
      end
    end
    if name then
      help:error(("unknown command '%s'"):format(name))
    end
    show(parser:get_help() .. "\n")
  end)
  complete._arguments[1]:action(function(_, _, shell)
    show(parser["get_" .. shell .. "_complete"](parser))
  end)
  add_help(help)
  add_help(complete)
end

---A new parser. It does not exit: what is wrong is raised as { usage = text },
---what was asked for as { show = text }.
---@return table
function M.new()
  local parser = argparse("lvhd", SUMMARY)
    :epilog "`lvhd help VERB` tells more, with examples."
  parser:command_target "verb"
  parser:help_max_width(79)
  add_shows(parser)
  parser:flag("--version", "the version"):action(function()
    show("lvhd " .. lvhd.version .. "\n")
  end)
  for _, verb in ipairs(verbs.list) do
    local command = parser:command(verb.name, verb.text)
      :summary(verb.text):epilog(examples(verb))
    add_help(command)
    command:description(verb.more and verb.text .. ".\n" .. verb.more
      or verb.text)
    for _, row in ipairs(verb.arguments) do
      add_argument(command, row)
    end
    for _, row in ipairs(verb.options) do
      add_option(command, row)
    end
  end
  return parser
end

---Reads the words; raises { usage = what is wrong } or { show = text }.
---@param words string[]
---@return table args with .verb
function M.read(words)
  local parser = M.new()
  local function wrong(self, message)
    if message:find "^unknown option '%-[^-]" then
      message = message .. "\nA name that begins with a dash stands behind --."
    end
    error({ usage = message, of = self:get_usage() }, 0)
  end
  parser.error = wrong
  for _, command in ipairs(parser._commands) do
    command.error = wrong
  end
  return parser:parse(words)
end

-- ---- the man page --------------------------------------------------------

local function roff(s)
  return (s:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("^([.'])", "\\&%1"))
end

local function man_verb(out, verb)
  local words = {}
  for _, row in ipairs(verb.arguments) do
    words[#words + 1] = row.any and "[" .. row.name .. "...]"
      or row.optional and "[" .. row.name .. "]" or row.name
  end
  out(".SS " .. roff("lvhd " .. verb.name .. " [options] "
    .. table.concat(words, " ")))
  out(roff(verb.text .. "." .. (verb.more and " " .. verb.more or "")))
  for _, row in ipairs(verb.arguments) do
    out(".TP\n.I " .. roff(row.name) .. "\n" .. roff(row.text))
  end
  for _, row in ipairs(verb.options) do
    out(".TP\n.B " .. roff(row.words .. (row.value and " " .. row.value or ""))
      .. "\n" .. roff(row.text))
  end
  for _, example in ipairs(verb.examples) do
    out(".PP\n" .. roff(example[2]) .. ":\n.RS\n.nf\n" .. roff(example[1])
      .. "\n.fi\n.RE")
  end
end

local function man_json(out)
  out ".SH JSON"
  out(roff "With --json one line goes to standard output: ok is whether it "
    .. roff "ended with 0; a dry run's would is what would be done, or "
    .. roff "nothing. The result, by verb:")
  for _, list in ipairs { shapes.results, shapes.others } do
    for _, row in ipairs(list) do
      out(".TP\n.B " .. roff(row[1]) .. "\n" .. roff(row[2]))
    end
  end
end

---The man page, as troff.
---@param version string
---@return string
function M.manual(version)
  local lines = {}
  local function out(line)
    lines[#lines + 1] = line
  end
  out(('.TH LVHD 1 "" "lvhd %s" "User Commands"'):format(roff(version)))
  out ".SH NAME\nlvhd \\- create, inspect and maintain VHD virtual hard disks"
  out ".SH SYNOPSIS\n.B lvhd\n.I verb\n[\\fIoption\\fR...] [\\fIargument\\fR...]"
  out ".SH VERBS"
  for _, verb in ipairs(verbs.list) do
    man_verb(out, verb)
  end
  out ".SH EXIT STATUS"
  for _, class in ipairs(exits.classes) do
    out((".TP\n.B %d\n%s"):format(class[1], roff(class[2])))
  end
  man_json(out)
  out ".SH ENVIRONMENT\n.TP\n.B SOURCE_DATE_EPOCH"
  out(roff "seconds since 1970 that new disks record as their time: the same "
    .. roff "input gives the same bytes, but for the identifier")
  out ".TP\n.B NO_COLOR\nno colours"
  out ".TP\n.B COLUMNS\nof the picture of map, where --width does not say"
  out(".TP\n.B LC_ALL, LC_CTYPE, LANG\n" .. roff("map draws in ASCII where "
    .. "the first of them that is set does not name UTF-8"))
  return table.concat(lines, "\n") .. "\n"
end

return M
