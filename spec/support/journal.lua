-- SPDX-License-Identifier: MIT
--
-- The note beside a file that is being changed, made from the description of
-- its bytes (src/image/journal.c) and not by lvhd, so that any of them can be
-- wrong.

local journal = {}

local VERBS <const> = { merge = 1, compact = 2, resize = 3, relink = 4,
  repair = 5 }

-- FNV-1a of 64 bits.
local function sum(bytes)
  local h = 0xcbf29ce484222325
  for i = 1, #bytes do
    h = (h ~ bytes:byte(i)) * 0x100000001b3
  end
  return h
end

local function raw_uuid(text)
  return (text:gsub("%-", ""):gsub("%x%x", function(h)
    return string.char(tonumber(h, 16))
  end))
end

---@class journal.Options
---@field verb string? "compact"
---@field uuid string of the disk
---@field other string? of a merge's child
---@field mtime integer? seconds
---@field length integer? of the file while the old bytes count
---@field done integer?
---@field pieces { [1]: integer, [2]: string, [3]: integer? }[]? place, bytes,
---and another length to be said
---@field count integer? instead of how many there are
---@field version integer?
---@field magic string?
---@field size integer? instead of what it is
---@field spoil nil|fun(bytes: string): string before the sum

---The bytes of a note.
---@param o journal.Options
function journal.bytes(o)
  local pieces, total = {}, 128 + 8
  for i, p in ipairs(o.pieces or {}) do
    pieces[i] = (">I8I4"):pack(p[1], p[3] or #p[2]) .. p[2]
    total = total + #pieces[i]
  end
  local bytes = (">c8I4I4c16c16i8I4I4I8I8I8c40"):pack(o.magic or "lvhdjrnl",
    o.version or 1, VERBS[o.verb or "compact"] or tonumber(o.verb),
    raw_uuid(o.uuid), o.other and raw_uuid(o.other) or "", o.mtime or 0, 0,
    o.count or #(o.pieces or {}), o.length or 0, o.done or 0, o.size or total,
    "") .. table.concat(pieces)
  bytes = o.spoil and o.spoil(bytes) or bytes
  return bytes .. (">i8"):pack(sum(bytes))
end

---Where the note of a file lies.
function journal.path(image)
  return (image:gsub("[^/]*$", function(name)
    return "." .. name .. ".lvhd-journal"
  end))
end

return journal
