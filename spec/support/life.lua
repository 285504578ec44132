-- SPDX-License-Identifier: MIT
--
-- What the specs of tasks, engines, lifecycles and concurrency share: the
-- test modules, engines with a gate, child programs, and a tiny reader that
-- judges a disk without lvhd.  Knows the public API of lvhd and the on-disk
-- format, nothing of the engine's inside.

local support = require "spec.support"

local life = {}

local q = support.q

---The test modules, which `make test` builds.  nil and the reason when they
---are not there.
---@return table|nil lvhdtest, table|string lifetest
function life.modules()
  local ok, lvhdtest = pcall(require, "lvhdtest")
  local too, lifetest = pcall(require, "lifetest")
  if ok and too then
    return lvhdtest, lifetest
  end
  return nil, "the test modules are not built (make test does it)"
end

---A C program of spec/c, which `make test` builds; nil when it is not there.
function life.program(name)
  local path = (os.getenv("LVHD_BUILD") or "build") .. "/spec/" .. name
  if support.sh("test -x " .. q(path)) then
    return path
  end
end

---The module under test as a file: what `require "lvhd.core"` loads.
function life.core()
  return assert(package.searchpath("lvhd.core", package.cpath))
end

---Environment of a child program that finds the same modules.
local function environment()
  return ("env LUA_PATH=%s LUA_CPATH=%s LUA_INIT= LUA_INIT_5_4=")
    :format(q(package.path), q(package.cpath))
end

---Writes a Lua program into a folder and gives the command that runs it.
---@param folder string
---@param text string
---@param ... string|integer arguments
---@return string command
function life.command(folder, text, ...)
  local path = os.tmpname()
  os.remove(path)
  path = folder .. "/" .. path:match("[^/]+$") .. ".lua"
  support.write(path, text)
  local words = { environment(), "lua5.4", q(path) }
  for _, word in ipairs { ... } do
    words[#words + 1] = q(tostring(word))
  end
  return table.concat(words, " ")
end

-- How long a program may take.
life.seconds = 60

---Runs a Lua program in a process of its own, for at most so long.
---@param text string
---@param ... string|integer arguments
---@return { code: integer, out: string, err: string } result a code above
--- 128 is 128 + the signal that ended it; 124 or 137: it hung
function life.lua(text, ...)
  local folder = support.tmpdir()
  local command = life.command(folder, text, ...)
  local _, code = support.sh(("timeout -k 5 %d %s >%s/out 2>%s/err; echo $?")
    :format(life.seconds, command, q(folder), q(folder)))
  return {
    -- a shell may say "Killed" first
    code = math.tointeger(tonumber(code:match("(%d+)%s*$"))),
    out = support.read(folder .. "/out"),
    err = support.read(folder .. "/err"),
  }
end

---A program that must end well; gives what it printed.
function life.prints(text, ...)
  local result = life.lua(text, ...)
  if result.code ~= 0 then
    error(("exit code %d\n%s%s"):format(result.code, result.out, result.err),
      2)
  end
  return result.out
end

---Waits until something holds, for at most 20 seconds.
---@param what fun(): any
---@return any value true-ish, or the last false one
function life.eventually(what)
  local lvhdtest = assert(life.modules())
  local limit = lvhdtest.clock() + 20
  while true do
    local value = what()
    if value or lvhdtest.clock() > limit then
      return value
    end
    lvhdtest.sleep(0.002)
  end
end

---The number of threads, once it stands still. A thread that was joined is
---in /proc for another moment.
function life.threads()
  local last, same = support.threads(), 0
  life.eventually(function()
    local now = support.threads()
    last, same = now, now == last and same + 1 or 0
    return same == 3
  end)
  return last
end

-- ---- engines with a gate --------------------------------------------------

local gated = {}

---An engine whose calls go through a table of lvhdtest, where a rule can
---hold a worker.  Checks of the call are off, so that only workers are held.
---@param opts table? options of the engine
---@return table engine, table system
function life.gated(opts)
  local lvhdtest = assert(life.modules())
  local system = lvhdtest.system()
  local all = { system = system:pointer(), preflight = false, sync = "none" }
  for name, value in pairs(opts or {}) do
    all[name] = value
  end
  local engine = require "lvhd".engine(all)
  gated[#gated + 1] = { engine = engine, system = system }
  return engine, system
end

-- Closing waits through the engine's poll function, which may yield.
local function close(engine)
  local co = coroutine.create(engine.close)
  repeat
    assert(coroutine.resume(co, engine, { cancel = true }))
  until coroutine.status(co) == "dead"
end

---After each test: nothing is held any more, nothing runs, and the
---descriptors of collected engines are gone (an engine that was collected
---lets go of them at the next call).
function life.clean()
  for i = #gated, 1, -1 do
    gated[i].system:drop()
    close(gated[i].engine)
    gated[i] = nil
  end
  collectgarbage()
  collectgarbage()
  require "lvhd".engine():close()
end

-- ---- a reader of its own --------------------------------------------------

local TYPES = { [2] = "fixed", [3] = "dynamic", [4] = "differencing" }

---One's complement of the sum of the bytes, the checksum field left out.
local function checksum(bytes, field)
  local sum = 0
  for i = 1, #bytes do
    if i <= field or i > field + 4 then
      sum = sum + bytes:byte(i)
    end
  end
  return ~sum & 0xFFFFFFFF
end

local function uuid_text(raw)
  local hex = raw:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  return ("%s-%s-%s-%s-%s"):format(hex:sub(1, 8), hex:sub(9, 12),
    hex:sub(13, 16), hex:sub(17, 20), hex:sub(21))
end

---Reads a new disk and judges every byte of its structures.
---@param path string
---@return table|nil disk { type, size, uuid, parent_uuid }, string|nil wrong
function life.disk(path)
  local file, missing = io.open(path, "rb")
  if not file then
    return nil, missing
  end
  local length = file:seek("end")
  if length < 512 then
    file:close()
    return nil, "shorter than a footer: " .. length
  end
  file:seek("set", length - 512)
  local footer = file:read(512)
  file:seek("set", 0)
  local head = file:read(3 * 512)
  file:close()

  local cookie, _, version, offset, _, _, _, _, _, size, _, kind, sum =
    (">c8I4I4I8I4c4I4c4I8I8I4I4I4"):unpack(footer)
  if cookie ~= "conectix" or version ~= 0x10000 then
    return nil, "no footer"
  elseif sum ~= checksum(footer, 64) then
    return nil, "checksum of the footer"
  end
  local disk = { type = TYPES[kind], size = size,
    uuid = uuid_text(footer:sub(69, 84)) }
  if kind == 2 then
    if length ~= size + 512 then
      return nil, "length of a fixed disk: " .. length
    end
    return disk
  elseif head:sub(1, 512) ~= footer then
    return nil, "the copy of the footer differs"
  end
  local header = head:sub(513)
  local name, _, table_offset, _, entries, block, hsum =
    (">c8I8I8I4I4I4I4"):unpack(header)
  if offset ~= 512 or name ~= "cxsparse" or hsum ~= checksum(header, 36) then
    return nil, "the dynamic header"
  elseif entries ~= (size + block - 1) // block then
    return nil, "entries of the BAT: " .. entries
  end
  file = assert(io.open(path, "rb"))
  file:seek("set", table_offset)
  local bat = file:read(entries * 4)
  file:close()
  if bat ~= ("\xFF"):rep(entries * 4) then
    return nil, "the BAT is not empty"
  end
  disk.parent_uuid = uuid_text(header:sub(41, 56))
  return disk
end

---7-Zip can list the disk, and finds the parents of a chain.
function life.seven_zip(path)
  return (support.sh("7zz l -tvhd " .. q(path) .. " </dev/null"))
end

return life
