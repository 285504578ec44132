-- SPDX-License-Identifier: MIT
--
-- Open disks: what the guest would read and write. C does a bounded piece of
-- work a call; the loops are here, so that Ctrl-C can end them.

local core = require "lvhd.core"
local errors = require "lvhd.error"
local handles = require "lvhd.handles"

errors.own()

local PIECE = 4 << 20 -- the most that one call of the core reads
local READ_MAX = 1 << 30

---A disk with its parents, open for reading, or for writing into the leaf. It
---belongs to the Lua state that opened it. After a fork the child may read and
---close what its parent opened; `chain`, `info`, `write` and `flush` raise
---E_HANDLE there, and what the parent wrote is the parent's to finish.
---@class lvhd.Disk
local disk = {}

local meta = core.metatables.disk
meta.__index = disk
meta.__name = "lvhd.disk"

local function check(self, fname)
  errors.check_self(self, meta, fname)
  local open, path = core.disk_state(self)
  if not open then
    local err = core.fail("E_HANDLE", fname)
    err.path, err.message = path, "the disk is closed"
    errors.raise(err)
  end
end

-- An integer from 0 on; integral floats too.
local function count(value, position, fname)
  local n = math.type(value) and math.tointeger(value)
  if not n then
    errors.argument(position, fname, "integer expected, got "
      .. (type(value) == "number" and tostring(value) or type(value)))
  elseif n < 0 then
    errors.argument(position, fname, "0 or more expected, got " .. n)
  end
  return n
end

local function piece(self, offset, length, hooked)
  local bytes, err = core.read(self, offset, length, hooked)
  if not bytes then
    errors.raise(err)
  end
  return bytes
end

---Reads as Lua's files do: what is there up to the end of the disk, and nil
---at or past the end.
---Raises: VM_E_INVALID_HD_FILE (the file points behind its own end),
---DISP_E_EXCEPTION (a device failed, a file was cut meanwhile),
---E_OUTOFMEMORY, E_HANDLE (the disk is closed); a length of more than 1 GiB is
---an argument error.
---@param offset integer from 0
---@param length integer bytes
---@return string|nil bytes
function disk:read(offset, length)
  check(self, "read")
  offset, length = count(offset, 1, "read"), count(length, 2, "read")
  if length > READ_MAX then
    errors.argument(2, "read",
      ("at most %d bytes expected, got %d"):format(READ_MAX, length))
  end
  local left = core.disk_size(self) - offset
  if left <= 0 then
    return nil
  elseif length > left then
    length = left
  end
  local hooked = core.hooked()
  if length <= PIECE then
    return piece(self, offset, length, hooked)
  end
  local pieces = {}
  for at = 0, length - 1, PIECE do
    pieces[#pieces + 1] =
      piece(self, offset + at, math.min(PIECE, length - at), hooked)
  end
  return table.concat(pieces)
end

---Writes at any offset, any number of bytes, into the leaf; the file grows by
---whole blocks. What was written is read back through this disk at once; it is
---in the file, for others and after a crash, when `flush` or `close` has come
---back. Bytes in 4 MiB pieces: Ctrl-C ends it between two of them.
---Raises: E_ACCESSDENIED (NOT_WRITABLE: opened without `write`), E_INVALIDARG
---(WRITE_PAST_END: they reach beyond the disk; nothing was written),
---E_DISK_FULL, VM_E_FILE_TOO_LARGE_FOR_VOLUME, VM_E_INVALID_HD_FILE,
---DISP_E_EXCEPTION, E_OUTOFMEMORY, E_HANDLE (the disk is closed, the process
---has forked). After one that is not about the arguments, the bytes that it was
---to write are not known; all others are as before, and more may be written.
---A flush that finds no room may be tried again; where the device fails to
---flush, for a write that needs it too, nobody knows what is on it: every later
---write, flush and close fails with the same.
---@param offset integer from 0
---@param data string
---@return lvhd.Disk self
function disk:write(offset, data)
  check(self, "write")
  offset = count(offset, 1, "write")
  if type(data) ~= "string" then
    errors.argument(2, "write", "string expected, got " .. type(data))
  end
  local hooked = core.hooked()
  local from = 0
  repeat
    local n, err = core.write(self, offset, data, from, hooked)
    if not n then
      errors.raise(err)
    end
    from = from + n
  until from >= #data
  return self
end

---All that was written is in the file, and durable but with sync = "none".
---Raises: as write, but for what is about its arguments. Of a disk that is open
---for reading: nothing.
---@return lvhd.Disk self
function disk:flush()
  check(self, "flush")
  local done, err = core.flush(self)
  if not done then
    errors.raise(err)
  end
  return self
end

-- One step of the core's: a run of one layer that begins at a sector. With a
-- run in hand, that one comes first, and the error when it is asked again.
local function step(self, offset, stop, hooked, in_hand)
  check(self, "extents")
  local length, layer = core.extent(self, offset, stop, hooked)
  if not length and not in_hand then
    errors.raise(layer)
  end
  return length, layer
end

---Who holds what: `for offset, length, layer in disk:extents() do`. Runs of
---one layer are merged; layer 1 is the leaf, 0 is what nobody has written,
---which reads as zeros. Reads no data. Exact to the sector; a range that
---begins or ends inside a sector cuts the first and the last run.
---Raises, here or in the loop: as read.
---@param offset? integer default 0
---@param length? integer default: to the end
---@return fun(): integer|nil, integer|nil, integer|nil
function disk:extents(offset, length)
  check(self, "extents")
  local size = core.disk_size(self)
  local first = offset == nil and 0 or count(offset, 1, "extents")
  local stop = length == nil and size
    or math.min(count(length, 2, "extents"), size)
  if length ~= nil then
    stop = first < size - stop and first + stop or size
  end
  -- where the next step begins, and the run that it found beyond its own
  local at = first // 512 * 512
  local stop_sector = math.min((stop + 511) // 512 * 512, size)
  local held_length, held_layer
  local hooked = core.hooked()
  return function()
    if first >= stop then
      return nil
    end
    local begin, layer = first, held_layer
    local run = at + (held_length or 0)
    while run < stop_sector do
      local more, of = step(self, run, stop_sector, hooked, layer)
      if not more then
        held_length, held_layer, at, first = nil, nil, run, run
        return begin, run - begin, layer
      elseif layer and of ~= layer then
        held_length, held_layer, at = more, of, run
        first = run
        return begin, run - begin, layer
      end
      layer, run = of, run + more
    end
    first = stop
    return begin, stop - begin, layer
  end
end

---Bytes that the guest sees.
---@return integer
function disk:size()
  check(self, "size")
  return core.disk_size(self)
end

---The infos of the open files, leaf to root: as they are now.
---Raises: DISP_E_EXCEPTION, E_OUTOFMEMORY, E_HANDLE.
---@return lvhd.Info[]
function disk:chain()
  check(self, "chain")
  local infos, err = core.disk_chain(self)
  if not infos then
    errors.raise(err)
  end
  return infos
end

---The info of the leaf.
---Raises: as chain.
---@return lvhd.Info
function disk:info()
  check(self, "info")
  return disk.chain(self)[1]
end

---Flushes, gives back the room that was reserved for more blocks, lets go of
---the locks, and closes the files. Again: nothing. The disk is closed even
---where it raises.
---Raises: as flush. A `<close>` variable raises so too, but where its block is
---left by another error, which goes on; what the close had to say goes to
---warn() then, as it does for a disk that is collected.
function disk:close()
  errors.check_self(self, meta, "close")
  handles.drop(self)
  local done, err = core.disk_close(self, false)
  if not done then
    errors.raise(err)
  end
end

function meta.__close(self, under_way)
  handles.drop(self)
  local done, err = core.disk_close(self, under_way ~= nil)
  if not done then
    errors.raise(err)
  end
end

function meta.__tostring(self)
  local open, path = core.disk_state(self)
  return ("lvhd.disk: '%s'%s"):format(path or "?",
    open and "" or " (closed)")
end

return disk
