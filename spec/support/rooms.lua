-- SPDX-License-Identifier: MIT
--
-- Proves who may call whom in src/ (the rooms of src/README.md): from the
-- #include lines, from the names of system calls, and from the calls to the
-- public functions.  `lua5.4 spec/support/rooms.lua .` prints what is wrong
-- as "file:line: text" and exits 1.  Reads text, not C: comments and strings
-- are blanked, everything else is taken as it is written.

local rooms = {}

local function set(words)
  local result = {}
  for word in words:gmatch("%S+") do result[word] = true end
  return result
end

-- Room -> the rooms it may include, itself always among them.  "lvhd.h" is
-- the public header, which every room includes for its types.
local MAY_INCLUDE = {
  ["lvhd.h"] = set "",
  ["lvhd.c"] = set "lvhd.h lvhd.c task op image io base",
  lua = set "lvhd.h lua",
  task = set "lvhd.h task base",
  op = set "lvhd.h op image io format base",
  image = set "lvhd.h image io format base",
  io = set "lvhd.h io base",
  format = set "lvhd.h format base",
  base = set "lvhd.h base",
}

-- System header -> the rooms that may include it.
local HEADERS = {
  ["lua.h"] = set "lua", ["lauxlib.h"] = set "lua", ["lualib.h"] = set "lua",
  ["pthread.h"] = set "task", ["threads.h"] = set "task",
  ["semaphore.h"] = set "task",
}

-- System call -> the rooms that may call it.  task reads and writes the
-- descriptors that wake an event loop, and keeps a page that a fork clears;
-- task and lua keep time for waits.  None of that touches a disk, and no
-- image is ever mapped.
local CALLS = {}
local function calls(where, names)
  for name in names:gmatch("%S+") do CALLS[name] = set(where) end
end
calls("io", [[
  open openat openat2 creat fopen fdopen freopen tmpfile mkstemp mkostemp
  pread pread64 preadv preadv2 pwrite pwrite64 pwritev pwritev2 readv writev
  lseek lseek64 truncate ftruncate fallocate posix_fallocate
  copy_file_range sendfile splice
  fsync fdatasync sync syncfs sync_file_range
  link linkat symlink symlinkat rename renameat renameat2
  unlink unlinkat remove rmdir mkdir mkdirat mknod mknodat mkfifo
  stat fstat lstat fstatat statx statfs fstatfs statvfs fstatvfs
  access faccessat readlink readlinkat realpath
  opendir fdopendir readdir scandir nftw chdir fchdir
  chmod fchmod fchmodat chown fchown lchown utime utimes futimes utimensat
  futimens flock lockf getrlimit setrlimit getrandom getentropy]])
calls("io task", "read write close fcntl ioctl dup dup2 dup3 syscall")
calls("io task lua", "clock_gettime gettimeofday time")
calls("task", "mmap mremap")

-- A public function may be called from a room that sees the room defining
-- it; these see the public header, and that is enough.
local FACES = set "lua lvhd.c"

---Blanks comments, strings and characters; lengths and lines stay.
local function code_only(text)
  local function blank(part) return (part:gsub("[^\n]", " ")) end
  local out, i = {}, 1
  while i <= #text do
    local two = text:sub(i, i + 1)
    local stop
    if two == "/*" then
      stop = select(2, text:find("*/", i + 2, true)) or #text
    elseif two == "//" then
      stop = (text:find("\n", i, true) or #text + 1) - 1
    elseif text:find("^[\"']", i) then
      local quote = text:sub(i, i)
      stop = i + 1
      while stop <= #text and text:sub(stop, stop) ~= quote do
        if text:sub(stop, stop) == "\\" then stop = stop + 1 end
        stop = stop + 1
      end
    end
    if stop then
      out[#out + 1] = blank(text:sub(i, stop))
      i = stop + 1
    else
      local next = text:find("[/\"']", i + 1) or #text + 1
      out[#out + 1] = text:sub(i, next - 1)
      i = next
    end
  end
  return table.concat(out)
end

---The room of a file below src: the folder, or the face, whose files begin
---with lvhd; the public header is a room of its own.
local function room_of(path)
  local face = path:find("^lvhd_") and "lvhd.c"
  return path:match("^([^/]+)/[^/]+$") or face or path
end

local function check_include(room, line, complain)
  local header = line:match("^%s*#%s*include%s*<([^>]+)>")
  if header then
    local where = HEADERS[header]
    if where and not where[room] then
      complain("<%s> has no business in %s", header, room)
    end
    return
  end
  header = line:match("^%s*#%s*include%s*\"([^\"]+)\"")
  if not header then
    complain("an #include whose file cannot be read here")
  elseif header:find("..", 1, true) or not (header:find("/", 1, true)
      or header == "lvhd.h" or header:find("^lvhd_")) then
    complain("\"%s\" does not name its room", header)
  elseif not MAY_INCLUDE[room][room_of(header)] then
    complain("%s must not see %s (\"%s\")", room, room_of(header), header)
  end
end

local function check_calls(room, line, home, complain)
  for before, name in line:gmatch("()([%a_][%w_]*)%s*%(") do
    local lead = line:sub(1, before - 1)
    -- table->openat(...) and table.openat(...) are calls through the table;
    -- (*openat)(...) is its declaration and does not match at all.
    local member = lead:find("%->%s*$") or lead:find("%.%s*$")
    local where = CALLS[name]
    if where and not member and not where[room] then
      complain("%s() is a system call; %s has to ask io", name, room)
    end
    -- At the first column it is a definition or a prototype, not a call.
    if name:find("^lvhd_") and line:find("^%s") and not FACES[room]
        and not MAY_INCLUDE[room][home[name] or ""] then
      complain("%s must not call %s()", room, name)
    end
  end
end

---@param home table<string, string> public function -> room defining it
local function find_homes(path, plain, home)
  for line in plain:gmatch("[^\n]+") do
    local name = line:match("^(lvhd_[%w_]*)%s*%(")
      or line:match("^%a.-(lvhd_[%w_]*)%s*%(")
    if name and path:find("%.c$") then home[name] = room_of(path) end
  end
end

local function check_file(path, text, plain, home, problems)
  local room = room_of(path)
  local number = 0
  local function complain(...)
    problems[#problems + 1] = ("src/%s:%d: %s"):format(path, number,
      string.format(...))
  end
  if not MAY_INCLUDE[room] then
    complain("no such room: %s", room)
    return
  end
  local position = 1
  for line in plain:gmatch("([^\n]*)\n") do
    number = number + 1
    if line:find("^%s*#%s*include") then
      -- The name stands in quotes, which are blanked: look at the original.
      check_include(room, text:match("([^\n]*)", position), complain)
    else
      check_calls(room, line, home, complain)
    end
    position = position + #line + 1
  end
end

---@param root string the folder that holds src/
---@return string[] problems "file:line: text"
---@return integer files how many were looked at
function rooms.check(root)
  local problems, paths, texts, plains, home = {}, {}, {}, {}, {}
  local quoted = "'" .. root:gsub("'", [['\'']]) .. "'"
  local list = assert(io.popen("cd " .. quoted .. "/src && find . -type f "
    .. "\\( -name '*.c' -o -name '*.h' -o -name '*.def' \\) | LC_ALL=C sort"))
  for path in list:lines() do
    path = path:gsub("^%./", "")
    local file = assert(io.open(root .. "/src/" .. path, "rb"))
    paths[#paths + 1], texts[path] = path, file:read("a")
    file:close()
    plains[path] = code_only(texts[path]) .. "\n"
    find_homes(path, plains[path], home)
  end
  list:close()
  for _, path in ipairs(paths) do
    check_file(path, texts[path], plains[path], home, problems)
  end
  local count = #paths
  if count == 0 then
    problems[1] = root .. "/src: no sources"
  end
  return problems, count
end

if arg and arg[0] and arg[0]:find("rooms%.lua$") then
  local problems, count = rooms.check(arg[1] or ".")
  for _, problem in ipairs(problems) do print(problem) end
  print(("rooms: %d files, %s"):format(count,
    #problems == 0 and "clean" or #problems .. " wrong"))
  os.exit(#problems == 0)
end

return rooms
