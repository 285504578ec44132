-- SPDX-License-Identifier: MIT
--
-- What the specs share: scratch folders, shell commands, files as strings,
-- and the counts that tell whether something was left behind.  Knows the
-- host, not lvhd.

local filetest = require "filetest"

local support = {}

---Runs a shell command.
---@param command string
---@return boolean ok, string output standard output and error
function support.sh(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1", "r"))
  local output = pipe:read("a")
  local ok = pipe:close()
  return ok == true, output
end

---Runs a shell command that must succeed.
---@return string output
function support.run(command)
  local ok, output = support.sh(command)
  if not ok then
    error(("command failed: %s\n%s"):format(command, output), 2)
  end
  return output
end

---Quotes a word for the shell.
function support.q(word)
  return "'" .. word:gsub("'", [['\'']]) .. "'"
end

local folders = {}

---Makes a scratch folder, removed after the test (helper.lua).
---@param root? string where
---@return string path real path, without links
function support.tmpdir(root)
  root = root or os.getenv("LVHD_TMPDIR") or os.getenv("TMPDIR") or "/tmp"
  local path = filetest.scratch(root)
  folders[#folders + 1] = path
  return path
end

---Removes every scratch folder made since the last call.
function support.clean()
  for i = #folders, 1, -1 do
    filetest.remove(folders[i])
    folders[i] = nil
  end
end

---Removes a file, or a folder with all that is in it.
---@return boolean gone
function support.remove(path)
  return filetest.remove(path)
end

---Makes a folder, and those above it that are missing.
function support.mkdir(path)
  filetest.folders(path)
end

---Copies a file with its mode and times.
function support.copy(from, to)
  filetest.copy(from, to)
end

function support.write(path, bytes)
  local file = assert(io.open(path, "wb"))
  assert(file:write(bytes))
  assert(file:close())
end

function support.read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("a")
  file:close()
  return bytes
end

---Names in a folder, hidden ones too, sorted, without "." and "..".
---@return string[]
function support.names(folder)
  local list = filetest.names(folder)
  table.sort(list)
  return list
end

---Open descriptors of this process. (A shell would race with the pipe that
---reads its answer.)
function support.fds()
  return require("lvhdtest").fds()
end

---Threads of this process.
function support.threads()
  return require("lvhdtest").threads()
end

---Where to look at processes: /proc, unless it is hidden (spec/c/without.c).
support.proc = os.getenv("LVHD_PROC") or "/proc"

function support.pid()
  local file = assert(io.open(support.proc .. "/self/stat"))
  local pid = file:read("n")
  file:close()
  return math.tointeger(pid)
end

function support.is_root()
  return filetest.uid() == 0
end

---Whether files in the folder can be locked: an old kernel knows no locks of
---open files (spec/c/without.c), and then nobody is told of others.
function support.locks(folder)
  local test = require "lvhdtest"
  local path = folder .. "/lock-probe"
  support.write(path, "")
  local fd = test.lock(path, "read", 0, 1)
  os.remove(path)
  return fd ~= nil and test.close(fd)
end

---The word is a command here.
function support.has(command)
  return (support.sh("command -v " .. command))
end

return support
