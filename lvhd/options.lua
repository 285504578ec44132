-- SPDX-License-Identifier: MIT
--
-- Option tables: which names there are, of which types, and what the core
-- wants instead of the words. A wrong name, type or word is the programmer's
-- mistake and a plain string; a value that does not fit is left to the core,
-- which says so in its turn.

local errors = require "lvhd.error"
local size = require "lvhd.size"

errors.own()

local M = {}

-- ---- readers: value -> core value, or nil and what is expected ----------

local function boolean(value)
  if type(value) == "boolean" then
    return value
  end
  return nil, "boolean"
end

local function text(value)
  if type(value) == "string" then
    return value
  end
  return nil, "string"
end

-- C reads it up to a NUL; any other control character is refused as well.
local function folder(value)
  if type(value) == "string" then
    return (value:gsub("\0", "\1"))
  end
  return nil, "string"
end

-- A list of folders or files, or one of them; a copy.
local function folders(value)
  if type(value) == "string" then
    value = { value }
  end
  if type(value) ~= "table" then
    return nil, "list of paths"
  end
  local out, n = {}, 0
  for _ in pairs(value) do
    n = n + 1
  end
  for i = 1, n do
    local path = value[i] -- nil: other keys, or a hole
    if type(path) ~= "string" or path:find("\0", 1, true) then
      return nil, "list of paths"
    end
    out[i] = path
  end
  return out
end

-- The same, or false: none, and not even a look at those at hand.
local function folders_or_none(value)
  if value == false then
    return false
  end
  local list, expected = folders(value)
  for i = 1, list and #list or 0 do
    if list[i] == "" then -- an error of the walk could not name it
      return nil, "list of paths, none of them empty,"
    end
  end
  return list, expected and expected .. " or false"
end

-- Windows roots and their folders, as a list { name, folder, ... } in the order
-- of the names. Which names there can be is left to the core.
local function drives(value)
  local expected = "table of drives and folders"
  if type(value) ~= "table" then
    return nil, expected
  end
  local names, out = {}, {}
  for name, path in pairs(value) do
    if type(name) ~= "string" or type(path) ~= "string"
      or (name .. path):find("\0", 1, true) then
      return nil, expected
    end
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    out[#out + 1] = name
    out[#out + 1] = value[name]
  end
  return out
end

-- One path of a file that exists.
local function path(value)
  if type(value) == "string" and not value:find("\0", 1, true) then
    return value
  end
  return nil, "path"
end

-- A size; what is too large for any use is left to the core.
local function bytes(value)
  local n = (type(value) == "number" or type(value) == "string")
    and size.parse(value)
  if n and n > 0 then
    return n
  end
  return nil, 'size, as "1 MiB"'
end

local function depth(value)
  local n = math.type(value) and math.tointeger(value)
  if n and n >= 1 and n <= 1024 then
    return n
  end
  return nil, "integer from 1 to 1024"
end

local function integer(value)
  local n = math.type(value) and math.tointeger(value)
  if n then
    return n
  end
  return nil, "integer"
end

local function word(words)
  local list = {}
  for name, value in pairs(words) do
    list[value] = ("%q"):format(name)
  end
  local expected = "one of " .. table.concat(list, ", ")
  return function(value)
    if words[value] then
      return words[value]
    end
    return nil, expected
  end
end

-- Octal digits; what is none becomes a mode that no file can have.
local function mode(value)
  if type(value) ~= "string" then
    return nil, 'string of octal digits, as "0640"'
  end
  if not value:match("^[0-7]+$") or #value > 6 then
    return 1 << 30
  end
  return tonumber(value, 8)
end

local function threads(value)
  local n = integer(value)
  if n and n >= 1 and n <= 256 then
    return n
  end
  return nil, "integer from 1 to 256"
end

local function callable(value)
  local meta = getmetatable(value)
  if type(value) == "function"
    or type(meta) == "table" and meta.__call ~= nil then
    return value
  end
  return nil, "function"
end

-- A struct lv_sys of the tests: light userdata is made by C code only (or by
-- the debug library, which can break anything).
local function system(value)
  if type(value) == "userdata" and getmetatable(value) == nil then
    return value
  end
  return nil, "light userdata"
end

local sync = word { full = 1, data = 2, none = 3 }
-- host = true: the documented characters are lifted.
local function names(value)
  if value == "windows" then
    return false
  elseif value == "host" then
    return true
  end
  return nil, 'one of "windows", "host"'
end

-- from_raw = true: the source is bytes and no more.
local function from(value)
  if value == "vhd" then
    return false
  elseif value == "raw" then
    return true
  end
  return nil, 'one of "vhd", "raw"'
end

local function if_exists(value)
  if value == "keep" then
    return true
  elseif value == "error" then
    return false
  end
  return nil, 'one of "keep", "error"'
end

-- ---- the tables: option -> reader, name in the core ---------------------

local function with(base, more)
  local all = {}
  for name, row in pairs(base) do
    all[name] = row
  end
  for name, row in pairs(more) do
    all[name] = row
  end
  return all
end

local shared = {
  sync = { sync, "sync" },
  base = { folder, "base" },
  long_paths = { boolean, "long_paths" },
  names = { names, "host_names" },
  preflight = { boolean, "preflight" },
}

local creators = with(shared, {
  uuid = { text, "uuid" },
  timestamp = { integer, "timestamp" },
  mode = { mode, "mode" },
  if_exists = { if_exists, "keep" },
})

local filesystem = {
  filesystem = { word { fat16 = 1, fat32 = 2 }, "filesystem" },
  label = { folder, "label" },
}
local windows_parent = { folder, "windows_parent" }
local block_size = { integer, "block_size" }
local allocate = { word { sparse = 1, reserve = 2, zero = 3 }, "allocate" }

local opening = {
  parents = { folders, "parents" },
  max_depth = { depth, "max_depth" },
}

-- What changes the content of a disk looks for those that read from it.
local search = { children_in = { folders_or_none, "children_in" } }

-- In place: no new file, so nothing of names and folders.
local changing = {
  force = { boolean, "force" },
  sync = shared.sync,
}

M.engine = with(with(with(shared, opening), search), {
  threads = { threads, "threads" },
  drives = { drives, "drives" },
  poll = { callable, "poll" },
  dry_run = { boolean, "dry_run" },
  system = { system, "system" },
})
M.close = { cancel = { boolean, "cancel" } }
M.create_fixed = with(with(creators, filesystem), { allocate = allocate })
M.create_dynamic = with(with(creators, filesystem),
  { block_size = block_size })
M.create_differencing = with(creators, {
  block_size = block_size,
  windows_parent = windows_parent,
})
M.create_children = with(M.create_differencing, {
  uuid = { function()
    return nil, "one for each image, { image =, uuid = },"
  end, "uuid" },
})
M.chain = opening
M.open = with(with(with(opening, search), changing), {
  write = { boolean, "write" },
})
M.check = with(opening, {
  chain = { boolean, "chain" },
  data = { boolean, "data" },
  profile = { word { azure = 1, hyperv = 2, xenserver = 3, virtualbox = 4,
    ["7zip"] = 5 }, "profile" },
})

M.convert = with(with(creators, opening), {
  from = { from, "from_raw" },
  to = { word { raw = 1, fixed = 2, dynamic = 3, differencing = 4 }, "to" },
  parent = { path, "parent" },
  round = { bytes, "round" },
  windows_parent = windows_parent,
  block_size = block_size,
  allocate = allocate,
})
M.merge = with(with(with(opening, search), changing), {
  into = { path, "into" },
  children = { folders, "children" },
  delete = { boolean, "delete" },
})
M.compact = with(opening, changing)
M.resize = with(search, changing)
M.relink = with(with(opening, changing), { windows_parent = windows_parent })
M.repair = changing

-- Not for users to be pointed at.
local unspoken = { system = true }

-- ---- reading ------------------------------------------------------------

-- The number of letters to add, drop or change, adjacent swaps as two.
local function distance(a, b)
  local row = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local corner = row[0]
    row[0] = i
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j) and 0 or 1
      corner, row[j] = row[j],
        math.min(corner + same, row[j] + 1, row[j - 1] + 1)
    end
  end
  return row[#b]
end

local function nearest(name, known)
  local best, least
  for candidate in pairs(known) do
    if not unspoken[candidate] then
      local d = distance(name, candidate)
      if not least or d < least or d == least and candidate < best then
        best, least = candidate, d
      end
    end
  end
  return best
end

local function shown(value)
  if type(value) == "string" then
    return ("%q"):format(value)
  end
  return type(value) == "number" and tostring(value) or type(value)
end

---Reads an option table.
---@param opts table|nil as the user gave it
---@param known table one of this module's tables
---@param position integer which argument it is
---@param fname string of which function
---@return table|nil core what the core reads; nil when nothing was given
function M.read(opts, known, position, fname)
  if opts == nil then
    return nil
  elseif type(opts) ~= "table" then
    errors.argument(position, fname,
      "table expected, got " .. type(opts))
  end
  local out = {}
  for name, value in pairs(opts) do
    local row = known[name]
    if not row then
      errors.argument(position, fname,
        ("unknown option '%s', did you mean '%s'?")
          :format(tostring(name), nearest(tostring(name), known)))
    end
    local read, expected = row[1](value)
    if read == nil then
      errors.argument(position, fname,
        ("option '%s': %s expected, got %s"):format(name, expected,
          shown(value)))
    end
    out[row[2]] = read
  end
  return out
end

return M
