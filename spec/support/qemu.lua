-- SPDX-License-Identifier: MIT
--
-- QEMU as the other program: it writes and reads images, and holds them open.
-- Knows the host, not lvhd.

local support = require "spec.support"
local test = require "lvhdtest"

local qemu = {}

local q = support.q

-- The shell command of qemu-io; the format is never guessed.
local function io_command(path, commands)
  local words = { "qemu-io -f vpc" }
  for _, c in ipairs(commands) do
    words[#words + 1] = "-c " .. q(c)
  end
  words[#words + 1] = q(path)
  return table.concat(words, " ")
end

---qemu-io must do all of the commands.
function qemu.io(path, ...)
  local said = support.run(io_command(path, { ... }))
  if said:find("failed", 1, true) or said:find("error", 1, true) then
    error("qemu-io said: " .. said, 2)
  end
  return said
end

---Whether qemu-io may write a sector, and what it said.  It writes zeros
---where `content` is not given.
---@return boolean may, string said
function qemu.may_write(path)
  local ok, said = support.sh(io_command(path, { "write -P 0x66 0 512" }))
  return ok and not said:find("lock", 1, true), said
end

---Whether `qemu-img info` opens it, which takes locks, and what it said.
---@return boolean may, string said
function qemu.may_read(path, opts)
  return support.sh(("qemu-img info %s -f vpc %s"):format(opts or "", q(path)))
end

---What QEMU reads, all of it, as a raw file.
function qemu.raw(path, into)
  support.run(("qemu-img convert -f vpc -O raw %s %s"):format(q(path),
    q(into)))
  return into
end

---The size that QEMU gives a guest.
function qemu.size(path)
  local json = support.run("qemu-img info -f vpc --output=json " .. q(path))
  return math.tointeger(tonumber(json:match('"virtual%-size": (%d+)')))
end

---A new image of QEMU's.
---@param kind "fixed"|"dynamic"
function qemu.create(path, kind, size)
  support.run(("qemu-img create -q -f vpc -o subformat=%s,force_size=on %s %d")
    :format(kind, q(path), size))
  return path
end

---Runs fn while qemu-nbd has the image open; it has its locks by then.
---@param args string "" for reading and writing, "-r" for reading
---@param folder string for its socket
function qemu.with_nbd(path, args, folder, fn)
  local pidfile = folder .. "/nbd.pid"
  support.run(("qemu-nbd --fork --pid-file=%s -f vpc -t -k %s %s %s"
    .. " >/dev/null 2>&1"):format(q(pidfile), q(folder .. "/nbd"), args,
    q(path)))
  local pid = math.tointeger(tonumber(support.read(pidfile)))
  local ok, err = xpcall(fn, function(e)
    return type(e) == "string" and debug.traceback(e) or e
  end)
  -- Again and again: qemu-nbd loses a signal that comes before its main
  -- loop; and where nobody reaps, it stays as a zombie.
  for _ = 1, 1000 do
    local state = select(2, pcall(support.read,
      support.proc .. "/" .. pid .. "/stat"))
    if not state:find("%) [^ZX]") then break end
    test.kill(pid, test.SIGTERM)
    test.sleep(0.01)
  end
  os.remove(pidfile)
  os.remove(folder .. "/nbd")
  if not ok then
    error(err, 0)
  end
end

return qemu
