-- SPDX-License-Identifier: MIT
--
-- The code blocks of a Markdown text, and how each kind is run in a scratch
-- folder.  "/vms", "/golden" and "/usr/local" stand for folders in there; every
-- disk that a block names as /golden/NAME.vhd exists.  Knows lvhd's functions
-- and how the tree is built, not what the text is about.

local lvhd = require "lvhd"
local program = require "spec.support.program"
local support = require "spec.support"

local q, run, sh = support.q, support.run, support.sh

local M = {}

local BUILD <const> = os.getenv("LVHD_BUILD") or "build"
local here = run("pwd"):gsub("\n$", "")

---@class spec.Block
---@field kind string the word behind the backquotes: "lua"
---@field section string the heading above it
---@field first integer its first line's number
---@field source string

---The blocks of a text. A block by indentation is an error: nobody would run it.
---@param text string
---@return spec.Block[]
function M.read(text)
  local found, block, section, number = {}, nil, "", 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local mark = line:match("^%s*```(.*)$")
    if mark and not block then
      block = { kind = mark, section = section, first = number + 1,
        lines = {} }
      found[#found + 1] = block
    elseif mark then
      block.source = table.concat(block.lines, "\n") .. "\n"
      block = nil
    elseif block then
      table.insert(block.lines, line)
    else
      section = line:match("^#+ (.*)$") or section
      assert(not line:find("^    "), "indented code, line " .. number)
    end
  end
  assert(not block, "a block has no end")
  return found
end

-- ---- the world that a block meets ----------------------------------------

local function golden_disks(dir, source)
  run(("mkdir -p %s/vms %s/golden"):format(q(dir), q(dir)))
  local named = source:gsub("\\golden\\([%w]+%.vhd)", "/golden/%1")
  for name in named:gmatch("/golden/([%w_-]+%.vhd)") do
    local path = dir .. "/golden/" .. name
    if not sh("test -e " .. q(path)) then
      lvhd.create_dynamic(path, "40 GiB"):wait()
    end
  end
end

local STANDS_FOR <const> = { vms = true, golden = true, usr = true }

-- The same with the folders that are meant.
local function moved(dir, source)
  return (source:gsub("%f[/%w.]/(%a+)", function(name)
    if STANDS_FOR[name] then
      return dir .. "/" .. name
    end
  end))
end

---A scratch folder, and what the blocks of one section share in it.
function M.world()
  local dir = support.tmpdir()
  run(("mkdir -p %s/bin %s/usr/local"):format(q(dir), q(dir)))
  support.write(dir .. "/bin/lvhd", ("#!/bin/sh\nexec env %s %s \"$@\"\n")
    :format(program.lua(), q(here .. "/lvhd/bin/lvhd")))
  support.write(dir .. "/bin/ldconfig", "#!/bin/sh\n")
  for _, name in ipairs { "apt-get", "luarocks", "sudo" } do
    support.write(("%s/bin/%s"):format(dir, name), "#!/bin/sh\n"
      .. "echo \"$0 changes this machine\"; exit 1\n")
  end
  run("chmod +x " .. q(dir) .. "/bin/*")
  return { dir = dir, at = dir }
end

-- A copy of the tree as a clone has it, built already; once a world.
local function clone(world)
  if world.at == world.dir then
    world.at = world.dir .. "/clone"
    run(("mkdir -p %s/build/obj && cp -a Makefile src lvhd %s && mkdir %s/spec"
      .. " && cp -a spec/examples %s/spec"):format(q(world.at), q(world.at),
      q(world.at), q(world.at)))
    sh(("cp -a %s/lvhd %s/build; cp -a %s/obj/src %s/obj/flags %s/build/obj")
      :format(BUILD, q(world.at), BUILD, BUILD, q(world.at)))
  end
end

-- What a shell finds: the command, what was installed, nothing of this make.
-- Lua looks in the stand-in of /usr/local, and in a clone nowhere else.
local function environment(world)
  local usr = world.dir .. "/usr/local"
  local words = { "env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u CFLAGS -u NO_COLOR",
    "-u LVHD_BUILD", "HOME=" .. q(world.dir), "PREFIX=" .. q(usr),
    "PATH=" .. q(usr .. "/bin:" .. world.dir .. "/bin") .. ":\"$PATH\"",
    "LD_LIBRARY_PATH=" .. q(usr .. "/lib"),
    "PKG_CONFIG_PATH=" .. q(usr .. "/lib/pkgconfig") }
  if world.at ~= world.dir then
    words[#words + 1] = ("LUA_PATH=%s LUA_CPATH=%s"):format(
      q(("%s/share/lua/5.4/?.lua;%s/share/lua/5.4/?/init.lua;;"):format(usr,
        usr)), q(usr .. "/lib/lua/5.4/?.so;;"))
  else
    words[#words + 1] = program.lua():gsub(" lua5.4$", "")
  end
  return table.concat(words, " ")
end

local function shell(world, script)
  support.write(world.dir .. "/script", script)
  return sh(("cd %s && %s sh %s"):format(q(world.at), environment(world),
    q(world.dir .. "/script")))
end

-- What was said, without the name of the scratch folder.
local function plain(world, text)
  return (text:gsub(world.dir:gsub("%p", "%%%0"), ""))
end

-- ---- what is shown, and what came ------------------------------------------

-- "..." stands for anything; a blank for blanks and ends of lines.
local function pattern(words)
  return "^%s*" .. words:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0")
    :gsub("%s+", "%%s+"):gsub("%%%.%%%.%%%.", ".*")
    :gsub("%%s%+%.%*", ".*") .. "%s*$"
end

---The lines that are shown come in this order, with others between.
local function shows(shown, output)
  local at = 1
  for _, line in ipairs(shown) do
    local found
    for from, text in output:gmatch("()([^\n]*)\n") do
      if from >= at and text:find(pattern(line)) then
        found = from + #text
        break
      end
    end
    if not found then
      return false, ("not shown: %s\n%s"):format(line, output)
    end
    at = found
  end
  return true, output
end

-- The commands of a session, and what each of them is to print.
local function session(source)
  local commands = {}
  for line in source:gmatch("([^\n]*)\n") do
    local command = line:match("^%$ (.*)$")
    if command then
      commands[#commands + 1] = { text = command, output = "" }
    else
      local last = assert(commands[#commands], "output of no command")
      last.output = last.output .. line .. "\n"
    end
  end
  return commands
end

-- ---- the kinds ------------------------------------------------------------

---Each runs a block in a world: true, or false and what it said.
M.run = {}

---A program of its own. "--> words" is what it prints, in this order.
function M.run.lua(world, source)
  golden_disks(world.dir, source)
  support.write(world.dir .. "/program.lua", moved(world.dir, source))
  local ok, output = sh(("cd %s && %s program.lua"):format(q(world.dir),
    program.lua()))
  if not ok then
    return false, output
  end
  local shown = {}
  for words in source:gmatch("%-%-> +([^\n]*)") do
    shown[#shown + 1] = words
  end
  return shows(shown, plain(world, output) .. "\n")
end

---Whether a block builds something, with the user's flags.
function M.builds(block)
  return block.kind == "c"
    or block.source:find("%f[%w]make%f[%W]") ~= nil
end

---A shell script, of which each command succeeds; with make, in a clone.
function M.run.sh(world, source)
  golden_disks(world.dir, source)
  if M.builds { kind = "sh", source = source } then
    clone(world)
  end
  return shell(world, "set -e\n" .. moved(world.dir, source))
end

---A session: what follows a command is all that it prints.
function M.run.console(world, source)
  golden_disks(world.dir, source)
  local script, commands = {}, session(source)
  for _, command in ipairs(commands) do
    script[#script + 1] = moved(world.dir, command.text)
      .. "\n_s=$?; printf '\\001'; (exit $_s)\n"
  end
  local _, output = shell(world, table.concat(script))
  local printed = plain(world, output):gmatch("([^\1]*)\1")
  for _, command in ipairs(commands) do
    local said = printed() or "nothing: it came to no end\n"
    if not said:find(pattern(command.output)) then
      return false, ("$ %s\n%s"):format(command.text, said)
    end
  end
  return true, output
end

---A C program, built with the engine alone, and run.
function M.run.c(world, source)
  support.write(world.dir .. "/program.c", moved(world.dir, source))
  golden_disks(world.dir, source)
  return sh(("cc -Wall -Wextra -Werror -Isrc %s $(ls %s/obj/src/*.o"
    .. " %s/obj/src/*/*.o | grep -v /obj/src/lua/) -pthread -o %s && %s")
    :format(q(world.dir .. "/program.c"), BUILD, BUILD,
    q(world.dir .. "/program"), q(world.dir .. "/program")))
end

return M
