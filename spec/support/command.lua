-- SPDX-License-Identifier: MIT
--
-- Runs of the command, each a process of its own in a folder: what it prints,
-- says and ends with. Every run is remembered, so that a spec can ask which of
-- the command's words none of its tests has used.

local assert = require "luassert"
local support = require "spec.support"
local test = require "lvhdtest"

local q = support.q

local M = {}

local here = test.cwd()
local build = os.getenv("LVHD_BUILD") or "build"

local ENV = ("LUA_PATH=%s LUA_CPATH=%s TZ=UTC LC_ALL=C.UTF-8"):format(
  q(here .. "/?.lua;" .. here .. "/?/init.lua;;"),
  q(("%s/%s/?.so;;"):format(here, build)))
local PROGRAM = q(here .. "/lvhd/bin/lvhd")

---The command with its paths, as the shell takes it.
M.COMMAND = ENV .. " " .. PROGRAM

---{ words =, code = } of each run.
M.runs = {}

local dir

---The folder that runs begin in.
function M.at(folder)
  dir = folder
end

---Runs "create x.vhd 4MiB" in the folder. `more` is "NAME=value ..." for its
---environment, or "<file" for its input.
---@return integer code, string out, string err
function M.cmd(words, more)
  more = more or ""
  local out, err = dir .. "/.out", dir .. "/.err"
  local env = more:find("=") and more or ""
  local input = more:find("^<") and more or ""
  local _, _, code = os.execute(("cd %s && >.out && %s %s %s %s %s %s 2>%s")
    :format(q(dir), ENV, env, PROGRAM, words, input, words:find(">", 1, true) and ""
    or ">" .. q(out), q(err)))
  local printed, said = support.read(out), support.read(err)
  os.remove(out)
  os.remove(err)
  M.runs[#M.runs + 1] = { words = words, code = code }
  return code, printed, said
end

---The same; it must end with 0 and say nothing.
function M.fine(words, more)
  local code, out, err = M.cmd(words, more)
  assert.equal("", err)
  assert.equal(0, code, words)
  return out
end

---It must end with that code, print nothing, and say something of the kind.
function M.fails(code, words, pattern, more)
  local got, out, err = M.cmd(words, more)
  assert.equal(code, got, words .. ": " .. err)
  assert.equal("", out)
  assert.truthy(err:find(pattern), err)
  return err
end

return M
