-- SPDX-License-Identifier: MIT
--
-- Infos, findings and errors as text on a terminal. Only reads what lvhd gave.

local text = require "lvhd.command.text"

local say = {}

local plain = text.plain

-- "40 GiB (42949672960 bytes)"
local function size(bytes)
  local short = text.size(bytes)
  return bytes < 1024 and short or ("%s (%d bytes)"):format(short, bytes)
end

local function parent(info)
  local p = info.parent
  local where = p.path or p.name or "?"
  return plain(where)
end

local function rows_of_blocks(rows, info)
  if not info.blocks then
    return
  end
  rows[#rows + 1] = { "blocks", ("%d of %d used, %s each"):format(
    info.blocks_used, info.blocks, text.size(info.block_size)) }
end

local function rows_of_parent(rows, info)
  if not info.parent then
    return
  end
  rows[#rows + 1] = { "parent", parent(info) }
  rows[#rows + 1] = { "parent id", info.parent.uuid }
  rows[#rows + 1] = { "parent time", text.time(info.parent.timestamp) }
  for _, locator in ipairs(info.parent.locators) do
    rows[#rows + 1] = { "locator", locator.code .. " "
      .. plain(locator.path or "(not inside the file)") }
  end
end

-- Times as dates; numbers stay in JSON.
local function dated(message)
  local head, tail = message:match("^(.*) in seconds since 1970(.*)$")
  if not head then
    head, tail = message:match("^(.*) %(seconds since 1970%)(.*)$")
  end
  return head and head .. tail:gsub("(%-?%d+)( %l+)", function(number, word)
    return text.time(math.tointeger(tonumber(number)) or number) .. word
  end) or message
end

---What is wrong, a line each.
---@param findings lvhd.Finding[]
---@return string[]
function say.findings(findings)
  local lines = {}
  for _, f in ipairs(findings) do
    lines[#lines + 1] = ("%s: %s: %s"):format(f.severity, f.code,
      plain(dated(f.message)))
  end
  return lines
end

---An info, a fact a line.
---@param info lvhd.Info
---@param used integer? bytes that a file with holes takes on the volume
---@return string
function say.info(info, used)
  local rows = {
    { "path", plain(info.path) },
    { "type", info.type },
    { "size", size(info.size) },
    { "file", size(info.file_size) },
    used and { "on volume", size(used) } or nil,
  }
  rows_of_blocks(rows, info)
  if info.uuid then
    rows[#rows + 1] = { "id", info.uuid }
    rows[#rows + 1] = { "made", text.time(info.timestamp) .. " by "
      .. plain((info.creator:gsub("[ %z]+$", ""))) }
  end
  rows_of_parent(rows, info)
  for _, line in ipairs(say.findings(info.findings)) do
    rows[#rows + 1] = { "finding", line }
  end
  return text.columns(rows)
end

---Infos, a disk a line.
---@param infos lvhd.Info[]
---@return string
function say.list(infos)
  local rows = { { "TYPE", "SIZE", "FILE", "PATH" } }
  for i, info in ipairs(infos) do
    rows[i + 1] = { info.type, text.size(info.size), text.size(info.file_size),
      plain(info.path) }
  end
  return text.columns(rows, { [2] = true, [3] = true })
end

---A chain, a layer a line, and why it ends where it is broken.
---@param infos lvhd.Info[]
---@return string
function say.chain(infos)
  local rows, last = { { "LAYER", "TYPE", "SIZE", "FILE", "PATH" } }, nil
  for i, info in ipairs(infos) do
    rows[i + 1] = { tostring(i), info.type, text.size(info.size),
      text.size(info.file_size), plain(info.path) }
    last = info
  end
  local out = text.columns(rows, { true, nil, true, true })
  for i, info in ipairs(infos) do
    for _, line in ipairs(say.findings(info.findings)) do
      out = ("%s\nlayer %d: %s"):format(out, i, line)
    end
  end
  if last.error then
    out = out .. "\nbroken here: " .. say.error(last.error)
  end
  return out
end

-- What the library says in its own words, in those of the command.
local CURES <const> = {
  { 'parents = {"(.-)"}', "--parents '%1'" }, { "force = true", "--force" },
  { 'round = "(.-)"', "--round %1" }, { 'parent = "%.%.%."', "--parent FILE" },
  { "name the files themselves, open{ leaf, parent, ... }",
    "relink it to the parent's path without links" },
  { "^convert it into a disk without parent,", "lvhd flatten CHILD NEW," },
  { "^check tells what is wrong with the parent, repair",
    "lvhd check PARENT tells what is wrong with it, lvhd repair PARENT" },
}
local MESSAGES <const> = {
  { "the engine maps no such drive", "no --drive maps it" },
  { "with long_paths:", "with --long-paths:" },
}

local FIELDS <const> = { "name", "hresult", "message", "op", "path", "parent",
  "errno", "errname", "syscall", "reason", "expected", "actual", "offset",
  "layer", "others", "hint" }

---What JSON says of an error.
---@param err lvhd.Error
---@return table
function say.fields(err)
  local out = {}
  for _, name in ipairs(FIELDS) do
    out[name] = err[name]
  end
  return out
end

local CURE_OF <const> = {
  PARENT_MISSING = "where is it now? lvhd relink CHILD PARENT",
  PARENT_ID = "where is the right one? lvhd relink CHILD PARENT; with --force "
    .. "any disk of that size",
  NO_SUCH_DRIVE = "--drive NAME=DIR does, as C=/srv/vms",
  BACKSLASH = "a path of Windows needs --drive NAME=DIR, as C=/srv/vms",
}

local function cure(err, forced)
  local hint = err.hint
  if hint and not forced then
    hint = hint:gsub(";? ?force = true [^;]*$", "")
    hint = hint ~= "" and hint or nil
  end
  if not hint and (err.path or ""):find "/%a:\\[^/]*$" then
    hint = CURE_OF.BACKSLASH -- as in the current folder
  end
  hint = hint or CURE_OF[err.reason]
  for _, words in ipairs(hint and CURES or {}) do
    hint = hint:gsub(words[1], words[2])
  end
  return hint
end

---An error in one line, with what cures it; it is changed to say that.
---@param err lvhd.Error
---@param forced boolean? the verb has --force
---@return string
function say.error(err, forced)
  local name = (err.message:match "^the parent '([^']*)': " or err.path or "")
    :match "[^/]*$"
  err.hint, err.where = cure(err, forced), nil
  for _, words in ipairs(MESSAGES) do
    err.message = err.message:gsub(words[1], words[2])
  end
  err.message = err.message:gsub("%.NAME(%.lvhd%-journal)", function(rest)
    return name ~= "" and "." .. name .. rest or nil
  end)
  local message = err.message
  err.message = dated(message)
  local words = tostring(err)
  err.message = message
  return words
end

---A short line about a disk: "dynamic, 40 GiB, file of 12 KiB: PATH".
---@param info lvhd.Info
---@param used integer? bytes that a file with holes takes on the volume
---@return string
function say.short(info, used)
  return ("%s, %s, file of %s%s: %s"):format(info.type, text.size(info.size),
    text.size(info.file_size), used and (", %s on the volume"):format(
    text.size(used)) or "", plain(info.path))
end

return say
