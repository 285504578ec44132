-- SPDX-License-Identifier: MIT
--
-- The picture of a chain: one row a file, the leaf on top; one column a part of
-- the disk; how dark a field is tells how much of that part is read from that
-- file. On a terminal, or as SVG. What is counted is what disk:extents says.

local text = require "lvhd.command.text"

local map = {}

local plain = text.plain
-- Nothing, then up to a quarter, a half, three quarters, more.
local SHADES <const> = { [0] = "·", "░", "▒", "▓", "█" }
local ASCII <const> = { [0] = ".", "-", "=", "%", "#" } -- without UTF-8
local TERMINAL <const> = { 36, 33, 35, 32, 34, 31 } -- colours of the layers
local COLORS <const> = { "#0b7285", "#e67700", "#862e9c", "#2b8a3e",
  "#1864ab", "#c92a2a" }

---@class lvhd.MapLayer
---@field path string
---@field type string
---@field file_size integer
---@field bytes integer read from this file
---@field runs integer in so many pieces
---@field blocks? integer of which blocks_used are in the file
---@field blocks_used? integer

-- ---- counting ------------------------------------------------------------

-- Adds a run to the columns that it touches.
local function add(fields, size, offset, length)
  local columns = #fields
  local width = size / columns
  local at, stop = offset, offset + length
  while at < stop do
    local i = math.min(columns, math.floor(at / width) + 1)
    local last = i == columns and size or math.min(size, width * i)
    local part = math.min(stop, last) - at
    if part <= 0 then -- between two columns
      i, part = math.min(columns, i + 1), math.min(stop - at, 1)
    end
    fields[i] = fields[i] + part / width
    at = at + part
  end
end

local function new_layer(info, columns)
  local fields = {}
  for i = 1, columns do
    fields[i] = 0
  end
  return { path = info.path, type = info.type, file_size = info.file_size,
    blocks = info.blocks, blocks_used = info.blocks_used, bytes = 0, runs = 0,
    fields = fields }
end

---Who holds what of an open disk.
---@param disk lvhd.Disk
---@param columns integer
---@return { size: integer, layers: lvhd.MapLayer[], unwritten: integer }
function map.count(disk, columns)
  local size, layers, unwritten = disk:size(), {}, 0
  for i, info in ipairs(disk:chain()) do
    layers[i] = new_layer(info, columns)
  end
  for offset, length, layer in disk:extents() do
    local of = layers[layer]
    if of then
      of.bytes, of.runs = of.bytes + length, of.runs + 1
      add(of.fields, size, offset, length)
    else
      unwritten = unwritten + length
    end
  end
  return { size = size, layers = layers, unwritten = unwritten }
end

-- "12 %", "0.3 %", "< 0.1 %"
local function share(part, whole)
  local percent = whole > 0 and part / whole * 100 or 0
  if part > 0 and percent < 0.1 then
    return "< 0.1 %"
  elseif part < whole and percent > 99.9 then
    return "> 99.9 %"
  end
  return (percent == math.floor(percent) and "%.0f %%" or "%.1f %%")
    :format(percent)
end

local function pieces(layer)
  if layer.runs == 0 then
    return "none"
  end
  return (layer.runs == 1 and "%d of %s" or "%d, about %s each"):format(
    layer.runs, text.size(layer.bytes // layer.runs))
end

local function blocks(layer)
  return layer.blocks and ("%d of %d"):format(layer.blocks_used, layer.blocks)
    or "-"
end

-- ---- the terminal --------------------------------------------------------

local function shade(part)
  return part <= 0 and 0 or math.min(4, math.floor(part * 4) + 1)
end

local function picture_row(layer, i, how)
  local cells = {}
  for c, part in ipairs(layer.fields) do
    cells[c] = how.shades[shade(part)]
  end
  local row = table.concat(cells)
  if how.color then
    row = ("\27[%dm%s\27[0m"):format(TERMINAL[(i - 1) % #TERMINAL + 1], row)
  end
  return ("%3d |%s|"):format(i, row)
end

local function scale(size, columns)
  local right = text.size(size)
  return "     0" .. (" "):rep(math.max(1, columns - 1 - #right)) .. right
end

local function unwritten(counted)
  return ("Never written, reads as zeros: %s, %s of the disk."):format(
    text.size(counted.unwritten), share(counted.unwritten, counted.size))
end

local function totals(counted)
  local rows = { { "LAYER", "READ FROM IT", "OF DISK", "PIECES",
    "BLOCKS USED", "FILE" } }
  for i, layer in ipairs(counted.layers) do
    rows[#rows + 1] = { tostring(i), text.size(layer.bytes),
      share(layer.bytes, counted.size), pieces(layer), blocks(layer),
      text.size(layer.file_size) }
  end
  return text.columns(rows, { true, true, true }) .. "\n" .. unwritten(counted)
end

local function heading(counted)
  local n = #counted.layers
  return ("Who holds what of a disk of %s, %s\nFrom left to right the disk, a "
    .. "column is %s of it.%s"):format(text.size(counted.size), n > 1
    and ("in a chain of %d files, leaf on top"):format(n) or "in one file",
    text.size(math.max(1, counted.size // #counted.layers[1].fields)), n > 1
    and "\nA reader takes each part from the topmost file that has it." or "")
end

---@param counted table of map.count
---@param how { color: boolean, utf8: boolean }
---@return string
function map.terminal(counted, how)
  how.shades = how.utf8 and SHADES or ASCII
  local lines = { heading(counted), "" }
  for i, layer in ipairs(counted.layers) do
    lines[#lines + 1] = picture_row(layer, i, how)
  end
  lines[#lines + 1] = scale(counted.size, #counted.layers[1].fields)
  lines[#lines + 1] = ("     Of a column is read from that file: %s nothing, "
    .. "%s up to 1/4, %s 1/2,\n     %s 3/4, %s more"):format(how.shades[0],
    table.unpack(how.shades))
  lines[#lines + 1] = ""
  lines[#lines + 1] = totals(counted)
  lines[#lines + 1] = ""
  for i, layer in ipairs(counted.layers) do
    lines[#lines + 1] = ("%5d  %s, %s"):format(i, layer.type,
      plain(layer.path))
  end
  return table.concat(lines, "\n")
end

-- ---- SVG -----------------------------------------------------------------

local LEFT <const>, TOP <const>, ROW <const>, GAP <const> = 24, 102, 30, 52
local WIDE <const>, NAME <const> = 960, 70

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
  ['"'] = "&quot;" }
local function xml(s)
  return (text.utf8(plain(s)):gsub('[&<>"]', entities)
    :gsub("\xEF\xBF[\xBE\xBF]", "\u{FFFD}")) -- no XML has these
end

-- The end of a path, from so many folders on.
local function ending(path, folders)
  return path:match("[^/]*" .. ("/[^/]*"):rep(folders) .. "$") or path
end

-- A name, with as much of its path as no other layer has, that leaves room for
-- the rest of its line.
local function short(layers, i)
  local path, folders = layers[i].path, 0
  local function shared(name)
    for k, other in ipairs(layers) do
      if k ~= i and other.path ~= path and ending(other.path, folders) == name
      then
        return true
      end
    end
  end
  while shared(ending(path, folders)) do
    folders = folders + 1
  end
  local name = text.utf8(plain(ending(path, folders)))
  local n = utf8.len(name)
  if n <= NAME then
    return name
  end
  return name:sub(1, utf8.offset(name, NAME - 20) - 1) .. "..."
    .. name:sub(utf8.offset(name, -17))
end

local function label(out, x, y, words, size, fill, anchor)
  out(('<text x="%d" y="%d" font-size="%d" fill="%s"%s>%s</text>'):format(x, y,
    size, fill, anchor and ' text-anchor="' .. anchor .. '"' or "", xml(words)))
end

-- Fields of the same darkness beside each other are one rectangle.
local function row_fields(out, layer, y, color)
  local width, from = WIDE / #layer.fields, 1
  local function dark(i)
    local part = layer.fields[i] or -1
    return part <= 0 and part or math.max(0.18, math.min(1,
      math.floor(part * 16 + 0.5) / 16))
  end
  for i = 2, #layer.fields + 1 do
    local level = dark(from)
    if dark(i) ~= level then
      if level > 0 then
        out(('<rect x="%.2f" y="%d" width="%.2f" height="%d" fill="%s"'
          .. ' fill-opacity="%.2f"/>'):format(LEFT + (from - 1) * width, y,
          (i - from) * width, ROW, color, level))
      end
      from = i
    end
  end
end

local function one_layer(out, counted, i)
  local layer = counted.layers[i]
  local y = TOP + (i - 1) * (ROW + GAP)
  local color = COLORS[(i - 1) % #COLORS + 1]
  local role = i == 1 and (#counted.layers > 1 and "leaf" or "the disk")
    or i == #counted.layers and "root" or "parent of the one above"
  out "<g>"
  out(("<title>%s</title>"):format(xml(layer.path)))
  label(out, LEFT, y - 24, ("%d  %s (%s, %s), file of %s"):format(i,
    short(counted.layers, i), layer.type, role, text.size(layer.file_size)), 14,
    "#212529")
  label(out, LEFT, y - 7, ("%s read from it, %s of the disk; pieces: %s%s")
    :format(text.size(layer.bytes), share(layer.bytes, counted.size),
    pieces(layer), layer.blocks and ("; blocks used: %s, %s"):format(
    blocks(layer), share(layer.blocks_used, layer.blocks)) or ""), 12,
    "#495057")
  out(('<rect x="%d" y="%d" width="%d" height="%d" fill="#f8f9fa"'
    .. ' stroke="#ced4da"/>'):format(LEFT, y, WIDE, ROW))
  row_fields(out, layer, y, color)
  out "</g>"
end

local function axis(out, counted, y)
  for i = 0, 4 do
    local x = LEFT + WIDE * i // 4
    out(('<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#868e96"/>'):format(x,
      y, x, y + 6))
    label(out, x, y + 20, text.size(counted.size * i // 4), 12, "#495057",
      i == 0 and "start" or i == 4 and "end" or "middle")
  end
end

-- What the darkness means.
local function legend(out, counted, y)
  local x = LEFT
  label(out, x, y + 12, "Of a column of " .. text.size(math.max(1,
    counted.size // #counted.layers[1].fields)) .. ":", 12, "#212529")
  x = x + 165
  for _, step in ipairs { { 0, "nothing" }, { 0.18, "a little" },
    { 0.5, "half" }, { 1, "all is read from that file" } } do
    out(('<rect x="%d" y="%d" width="28" height="16" fill="%s"'
      .. ' stroke="#ced4da"/>'):format(x, y, "#f8f9fa"))
    out(('<rect x="%d" y="%d" width="28" height="16" fill="#343a40"'
      .. ' fill-opacity="%.2f"/>'):format(x, y, step[1]))
    label(out, x + 36, y + 12, step[2], 12, "#212529")
    x = x + 60 + 8 * #step[2]
  end
end

---@param counted table of map.count
---@return string
function map.svg(counted)
  local lines = {}
  local function out(line)
    lines[#lines + 1] = line
  end
  local rows = TOP + #counted.layers * (ROW + GAP)
  local height = rows + 84
  out(('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d"'
    .. ' viewBox="0 0 %d %d" font-family="sans-serif">'):format(
    WIDE + 2 * LEFT, height, WIDE + 2 * LEFT, height))
  out(('<rect width="%d" height="%d" fill="#ffffff"/>'):format(WIDE + 2 * LEFT,
    height))
  label(out, LEFT, 30, ("Who holds what of %s (%s)"):format(
    short(counted.layers, 1), text.size(counted.size)), 18,
    "#212529")
  label(out, LEFT, 50, #counted.layers == 1
    and "The row is the disk from its first byte to its last."
    or "Each row is one file of the chain, from the disk's first byte to its "
      .. "last. A reader takes each part from the topmost file that has it.",
    12, "#495057")
  for i = 1, #counted.layers do
    one_layer(out, counted, i)
  end
  axis(out, counted, rows - GAP + 4)
  legend(out, counted, rows + 16)
  label(out, LEFT, rows + 64, unwritten(counted), 12, "#212529")
  out "</svg>"
  return table.concat(lines, "\n") .. "\n"
end

-- ---- the verb ------------------------------------------------------------

local function result(counted)
  local layers = {}
  for i, layer in ipairs(counted.layers) do
    layers[i] = { path = layer.path, type = layer.type,
      file_size = layer.file_size, bytes = layer.bytes, runs = layer.runs,
      blocks = layer.blocks, blocks_used = layer.blocks_used }
  end
  return { size = counted.size, unwritten = counted.unwritten,
    layers = layers }
end

local function columns_of(args, cx)
  if args.svg then
    return 480
  elseif not args.width then
    return math.max(20, math.min(400, (cx.columns() or 80) - 6))
  end
  local n = math.tointeger(tonumber(args.width))
  if not n or n < 10 or n > 1000 then
    cx.usage("--width: from 10 to 1000 expected, '%s' given", args.width)
  end
  return n
end

---The verb `map`.
function map.run(args, cx)
  if args.svg == "-" and args.json then
    cx.usage("--svg - and --json: both would go to standard output")
  end
  local disk <close> = cx.engine:open(cx.path(args.image), cx.opening(args))
  cx.warn_of_chain(disk:chain())
  local columns = columns_of(args, cx)
  local counted = map.count(disk, math.max(1, math.min(columns,
    disk:size() // 512)))
  if args.svg == "-" then
    return nil, (map.svg(counted):gsub("\n$", ""))
  elseif args.svg then
    local path = cx.host(cx.path(args.svg))
    cx.save(path, map.svg(counted))
    return result(counted), "made: " .. plain(path)
  end
  return result(counted), map.terminal(counted, { color = cx.color(),
    utf8 = cx.utf8() })
end

return map
