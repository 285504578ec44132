-- SPDX-License-Identifier: MIT
--
-- What a loss of power may leave.  An act on the files of a folder is
-- recorded (crashtest), and the folder is built anew as it may be found after
-- power was lost at some point of it.  Knows no lvhd beyond an engine that is
-- handed to the act, and nothing of what the files mean.
--
-- The model:
--   * What was written to a file, its zeroed ranges, its truncations, are there
--     once fsync or fdatasync of that file, or syncfs, came back.  Those since
--     then may each be there or not, in every combination: the device writes
--     them in any order.  A change of length goes with the write or truncation
--     that made it; what lies between is zeros.
--   * A write may be torn between two sectors of 512 bytes.
--   * A time or a mode that was set is there after fsync or syncfs, not after
--     fdatasync; before, it may be there or not.  The same holds for the time
--     that a write gives the file.
--   * Names (made, changed, removed; of folders too) are there once fsync of
--     their folder, or syncfs, came back.  Those since then may each be there
--     or not, independent of the data.  What lies in a folder that is not there
--     is not there either.
--   * More is not granted: neither that a name comes with the data of its file,
--     nor that fsync of a file brings its name.

local crashtest = require "crashtest"
local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"
local vhdwrite = require "spec.support.vhdwrite"

local powerloss = {}

local SECTOR <const> = 512
-- So many events that wait are tried in every combination.
local ALL <const> = 12
-- The time of a file that nobody gave one.
local NEW <const> = 1900000000 * 1000000000

local DATA <const> = { write = true, zero = true, truncate = true,
  touch = true, mode = true }
local NAMES <const> = { name = true, rename = true, unname = true,
  mkdir = true, rmdir = true }
-- What is lost with fdatasync.
local ATTRIBUTE <const> = { touch = true, mode = true }
local BARRIER <const> = { sync = true, datasync = true, folder = true,
  syncfs = true }

---@class powerloss.Record
---@field dir string
---@field events table[] what happened, paths made relative
---@field base table<string, { bytes: string, mtime: integer }> the files before
---@field folders string[] below it, before
---@field final string[] the names after
---@field error any what the act raised
local record = {}
record.__index = record

-- ---- recording ------------------------------------------------------------

local function walk_names(list, dir, prefix)
  for _, name in ipairs(crashtest.list(dir)) do
    list[#list + 1] = prefix .. name
    if test.stat(dir .. "/" .. name).type == "folder" then
      walk_names(list, dir .. "/" .. name, prefix .. name .. "/")
    end
  end
end

---The names in and below a folder, sorted.
function powerloss.names(dir)
  local list = {}
  walk_names(list, dir, "")
  table.sort(list)
  return list
end

local function snapshot(dir)
  local base, folders = {}, {}
  for _, name in ipairs(powerloss.names(dir)) do
    local path = dir .. "/" .. name
    local st = test.stat(path)
    if st.type == "folder" then
      folders[#folders + 1] = name
    else
      base[name] = { bytes = support.read(path), mtime = st.mtime,
        mode = st.mode }
    end
  end
  return base, folders
end

local function relative(dir, path)
  if path and path:sub(1, #dir + 1) == dir .. "/" then
    return path:sub(#dir + 2)
  end
  return path
end

---Runs act(engine, mark) and remembers what it did to the files of the folder;
---mark(text) leaves a mark between.
---@param dir string
---@param act fun(engine: lvhd.Engine, mark: fun(text: string))
---@param system any? the table of calls below the recorder
---@param pretend boolean? the volume is one that is flushed whole
---@return powerloss.Record
function powerloss.record(dir, act, system, pretend)
  local rec = crashtest.recorder(system and system:pointer())
  local self = setmetatable({ dir = dir, rec = rec }, record)
  self.base, self.folders = snapshot(dir)
  if pretend then
    rec:pretend()
  end
  local engine = lvhd.engine{ threads = 1, system = rec:pointer() }
  rec:record(true)
  local ok, err = pcall(act, engine, function(text) rec:mark(text) end)
  rec:record(false)
  engine:close()
  if not ok then
    self.error = err
  end
  self.events, self.files = rec:events()
  for _, e in ipairs(self.events) do
    if e.op == "other" then
      error("the model has no " .. e.path)
    elseif e.op ~= "mark" then
      e.path, e.to = relative(dir, e.path), relative(dir, e.to)
    end
  end
  for i, path in ipairs(self.files) do
    self.files[i] = relative(dir, path)
  end
  self.final = powerloss.names(dir)
  return self
end

---Lets go of the bytes.
function record:close()
  self.rec:forget()
end

-- ---- the states -----------------------------------------------------------

---@class powerloss.State
---@field at integer the last event before power was lost
---@field done boolean all of the act had come back
---@field picks integer[] data events that are there, in order
---@field names integer[] name events that are there, in order
---@field torn { [1]: integer, [2]: integer }? event, bytes of it that are there
---@field fresh boolean writes gave their file a new time

-- What is certain after the events so far, and what may be lost.
local function new_walk()
  return { sure = {}, sure_names = {}, wait = {}, wait_names = {} }
end

local function settle(events, list, sure, certain)
  local left = {}
  for _, i in ipairs(list) do
    if certain(events[i]) then
      sure[#sure + 1] = i
    else
      left[#left + 1] = i
    end
  end
  return left
end

local function folder_of(name)
  return name:match("^(.*)/[^/]*$") or "."
end

local function in_folder(self, name, folder)
  return folder_of(name) == (folder == self.dir and "." or folder)
end

local function barrier(self, walk, e)
  walk.wait = settle(self.events, walk.wait, walk.sure, function(w)
    return e.op == "syncfs" or w.file == e.file
      and (e.op == "sync" or e.op == "datasync" and not ATTRIBUTE[w.op])
  end)
  walk.wait_names = settle(self.events, walk.wait_names, walk.sure_names,
    function(w)
      return e.op == "syncfs"
        or e.op == "folder" and in_folder(self, w.to or w.path, e.path)
    end)
end

local function sorted(a, b, from, to)
  local list = table.move(a, 1, #a, 1, {})
  table.move(b, from, to, #list + 1, list)
  table.sort(list)
  return list
end

-- One more state, unless it is there: which of the waiting data events are
-- there, and which of the waiting names.
local function add(out, walk, at, done, chosen, names, torn)
  local picks = sorted(walk.sure, chosen, 1, #chosen)
  local named = sorted(walk.sure_names, names, 1, #names)
  local key = table.concat(picks, ",") .. "/" .. table.concat(named, ",")
    .. "/" .. tostring(done) .. out.flushed
    .. (torn and ("/%d:%d"):format(torn[1], torn[2]) or "")
  if out.seen[key] then
    return
  end
  out.seen[key] = true
  out[#out + 1] = { at = at, done = done, picks = picks, names = named,
    torn = torn, fresh = out.random.chance(50) }
end

local function subset(list, take)
  local chosen = {}
  for i, e in ipairs(list) do
    if take(i) then
      chosen[#chosen + 1] = e
    end
  end
  return chosen
end

-- Power goes after each event since the last barrier: nothing waits longer
-- than any other.
local function in_order(out, walk, at, done)
  local times = sorted(walk.wait, walk.wait_names, 1, #walk.wait_names)
  for k = 0, #times do
    local last = times[k] or 0
    local function happened(i) return i <= last end
    local names = subset(walk.wait_names, function(i)
      return happened(walk.wait_names[i])
    end)
    add(out, walk, at, done, subset(walk.wait, function(i)
      return happened(walk.wait[i])
    end), names)
  end
end

local function single_drops(out, walk, at, done, names)
  for drop = 1, #walk.wait do
    add(out, walk, at, done, subset(walk.wait, function(i)
      return i ~= drop
    end), names)
    add(out, walk, at, done, subset(walk.wait, function(i)
      return i == drop
    end), names)
  end
end

local function by_bits(list, bits)
  return subset(list, function(i)
    return bits >> (i - 1) & 1 == 1
  end)
end

local function every_subset(out, walk, at, done, names)
  for bits = 0, (1 << #walk.wait) - 1 do
    add(out, walk, at, done, by_bits(walk.wait, bits), names)
  end
end

-- The waiting names that are there: any of them; where those are too many, the
-- first so many, all but one, or one alone.
local function name_sets(out, walk)
  local list, n = walk.wait_names, #walk.wait_names
  local sets = {}
  if #walk.wait + n <= (out.opts.all or ALL) then
    for bits = 0, (1 << n) - 1 do
      sets[#sets + 1] = by_bits(list, bits)
    end
    return sets
  end
  for k = 0, n do
    sets[#sets + 1] = table.move(list, 1, k, 1, {})
  end
  for k = 1, n do
    sets[#sets + 1] = { list[k] }
    sets[#sets + 1] = subset(list, function(i) return i ~= k end)
  end
  return sets
end

local function random_names(out, walk)
  return subset(walk.wait_names, function() return out.random.chance(50) end)
end

local function random_subsets(out, walk, at, done, count)
  local random = out.random
  for _ = 1, count do
    local percent = random.pick{ 20, 50, 80 }
    add(out, walk, at, done, subset(walk.wait, function()
      return random.chance(percent)
    end), random_names(out, walk))
  end
end

-- One write is cut between two sectors, at each border where those are few;
-- those before it are there, or any.
local function torn_writes(self, out, walk, at, done, count)
  local random = out.random
  for _, index in ipairs(walk.wait) do
    local e = self.events[index]
    local first = SECTOR - e.offset % SECTOR
    local cuts = (e.length - first + SECTOR - 1) // SECTOR
    local every = 2 * cuts <= count
    for n = 1, e.op == "write" and (every and 2 * cuts or cuts > 0 and count)
      or 0 do
      local bytes = first + SECTOR * (every and (n - 1) // 2
        or random.below(cuts))
      add(out, walk, at, done, subset(walk.wait, function(i)
        local w = walk.wait[i]
        return w == index or (n % 2 == 1 and w < index)
          or (n % 2 == 0 and random.chance(50))
      end), random_names(out, walk), { index, bytes })
    end
  end
end

local function cut(self, out, walk, at, done)
  local opts = out.opts
  if #walk.wait == 0 and #walk.wait_names == 0 and not done then
    return
  end
  in_order(out, walk, at, done)
  for _, names in ipairs(name_sets(out, walk)) do
    if #walk.wait <= (opts.all or ALL) then
      every_subset(out, walk, at, done, names)
    else
      single_drops(out, walk, at, done, names)
    end
  end
  random_subsets(out, walk, at, done, opts.sample)
  torn_writes(self, out, walk, at, done, opts.torn)
end

---Every state that the model allows (many; less where opts say so).  It is
---enough to lose power just before each barrier, and at the end: what may be
---found earlier is found there too, with the rest lost.
---@param opts { seed: integer, all: integer?, sample: integer, torn: integer,
---most: integer? }
---@return powerloss.State[]
function record:states(opts)
  local out = { opts = opts, seen = {}, flushed = 0,
    random = vhdwrite.random(opts.seed) }
  local walk = new_walk()
  for i, e in ipairs(self.events) do
    if BARRIER[e.op] then
      cut(self, out, walk, i - 1, false)
      barrier(self, walk, e)
    elseif DATA[e.op] then
      walk.wait[#walk.wait + 1] = i
    elseif NAMES[e.op] then
      walk.wait_names[#walk.wait_names + 1] = i
    elseif e.op == "mark" and e.path:find("^flushed") then
      cut(self, out, walk, i - 1, false)
      out.flushed = out.flushed + 1
    end
  end
  cut(self, out, walk, #self.events, not self.error)
  if opts.most and #out > opts.most then -- the ends, and any between
    local last = table.remove(out)
    local list = out.random.shuffle(out)
    list = table.move(list, 1, opts.most - 1, 1, {})
    list[#list + 1] = last
    return list
  end
  return out
end

-- ---- the judge's own test -------------------------------------------------

---The flushes of the record that make something durable: without the others
---the states would be the same.
---@return integer[] events
function record:flushes()
  local walk, list = new_walk(), {}
  for i, e in ipairs(self.events) do
    if BARRIER[e.op] then
      local before = #walk.wait + #walk.wait_names
      barrier(self, walk, e)
      if #walk.wait + #walk.wait_names < before then
        list[#list + 1] = i
      end
    elseif DATA[e.op] then
      walk.wait[#walk.wait + 1] = i
    elseif NAMES[e.op] then
      walk.wait_names[#walk.wait_names + 1] = i
    end
  end
  return list
end

---Calls use() as if that flush had never been.
---@param flush integer|true event; true: all of them
function record:without(flush, use)
  local saved = {}
  for i, e in ipairs(self.events) do
    saved[i] = e.op
    if BARRIER[e.op] and (flush == true or flush == i) then
      e.op = "nothing"
    end
  end
  local ok, err = pcall(use)
  for i, e in ipairs(self.events) do
    e.op = saved[i]
  end
  if not ok then
    error(err, 0)
  end
end

-- ---- building -------------------------------------------------------------

local FOLDER <const> = "folder/" -- no file has such a name

-- Which file each name is: the number of a recorded one, or the name that an
-- untouched one had, or FOLDER.
local function named(self, state)
  local names, number = {}, {}
  for i, path in ipairs(self.files) do
    if self.base[path] and not number[path] then
      number[path] = i
    end
  end
  for name in pairs(self.base) do
    names[name] = number[name] or name
  end
  for _, name in ipairs(self.folders) do
    names[name] = FOLDER
  end
  for _, i in ipairs(state.names) do
    local e = self.events[i]
    if e.op == "name" then
      names[e.path] = e.file
    elseif e.op == "rename" then
      names[e.to], names[e.path] = e.file, nil
    elseif e.op == "mkdir" then
      names[e.path] = FOLDER
    else
      names[e.path] = nil
    end
  end
  return names
end

-- What happened to one file: the list for rec:apply, its time, its mode.  At
-- fsync the time is the real one; since then, where writes bring theirs.
local function history(self, state, file, mtime, mode)
  local list, there, real = {}, {}, mtime
  for _, i in ipairs(state.picks) do
    there[i] = true
  end
  for i = 1, state.at do
    local e = self.events[i]
    if e.op == "syncfs" or e.op == "sync" and e.file == file then
      mtime = real
    elseif e.op == "mode" and e.file == file then
      mode = there[i] and e.length or mode
    elseif DATA[e.op] and e.file == file then
      real = e.mtime
      if there[i] and (e.op == "touch" or state.fresh) then
        mtime = e.mtime
      end
      if there[i] and e.op ~= "touch" then
        local torn = state.torn and state.torn[1] == i
        table.move({ i, 0, torn and state.torn[2] or -1 }, 1, 3, #list + 1,
          list)
      end
    end
  end
  return list, mtime, mode
end

---A folder, in memory where there is some: thousands of small ones are built.
function powerloss.scratch()
  if test.stat("/dev/shm") then
    return (support.run("mktemp -d -p /dev/shm lvhd-spec.XXXXXX")
      :gsub("\n", ""))
  end
  return support.tmpdir()
end

---Empties a folder.
function powerloss.empty(dir)
  local list = powerloss.names(dir)
  for i = #list, 1, -1 do -- what lies in a folder before it
    assert(os.remove(dir .. "/" .. list[i]))
  end
end

-- The folder and those above it are there.
local function has_folder(names, name)
  local folder = folder_of(name)
  return folder == "." or names[folder] == FOLDER and has_folder(names, folder)
end

local function build_file(self, state, path, file)
  local base = self.base[self.files[file] or file]
  local list, mtime, mode = history(self, state, file,
    base and base.mtime or NEW, base and base.mode)
  support.write(path, base and base.bytes or "")
  if #list > 0 then
    self.rec:apply(path, list)
  end
  if mode then
    assert(test.chmod(path, mode))
  end
  assert(test.utime(path, mtime // 1000000000, mtime % 1000000000))
end

---Makes the folder what it may be after power was lost.
---@param state powerloss.State
---@param dir string
function record:build(state, dir)
  local names = named(self, state)
  local order = {}
  powerloss.empty(dir)
  for name in pairs(names) do
    order[#order + 1] = name
  end
  table.sort(order) -- a folder comes before what lies in it
  for _, name in ipairs(order) do
    if has_folder(names, name) then
      if names[name] == FOLDER then
        assert(test.mkdir(dir .. "/" .. name))
      else
        build_file(self, state, dir .. "/" .. name, names[name])
      end
    end
  end
end

-- ---- telling --------------------------------------------------------------

local function line(i, e)
  return ("  %3d %-8s %s %s%s"):format(i, e.op, e.file > 0 and e.file or "-",
    e.op == "truncate" and "to " .. e.length
      or e.op == "mode" and ("%o"):format(e.length)
      or e.length > 0 and ("%d+%d"):format(e.offset, e.length) or "",
    e.path and " " .. e.path .. (e.to and " -> " .. e.to or "") or "")
end

---The record as text, for the message of a failure: "+" what is there.
---@param state powerloss.State?
function record:story(state)
  local lines, there = {}, {}
  for _, list in ipairs(state and { state.picks, state.names } or {}) do
    for _, i in ipairs(list) do
      there[i] = true
    end
  end
  for i, path in ipairs(self.files) do
    lines[#lines + 1] = ("  file %d: %s"):format(i, path)
  end
  for i, e in ipairs(self.events) do
    if state and i == state.at + 1 then
      lines[#lines + 1] = "  --- power lost"
    end
    local sign = (DATA[e.op] or NAMES[e.op]) and state
      and (there[i] and "+" or "-") or " "
    lines[#lines + 1] = sign .. line(i, e)
      .. (state and state.torn and state.torn[1] == i
        and (", torn after %d bytes"):format(state.torn[2]) or "")
  end
  return table.concat(lines, "\n")
end

return powerloss
