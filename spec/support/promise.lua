-- SPDX-License-Identifier: MIT
--
-- The promise of everything that changes a disk in place, as a judge of a
-- folder where such work was interrupted: the disk reads as before until the
-- work has succeeded, check finds no errors, and the plain re-run finishes it
-- with nothing left over.  What the work is (spec/support/changes.lua), and
-- how it was interrupted, are for others to know.

local creations = require "spec.support.creations"
local lvhd = require "lvhd"
local powerloss = require "spec.support.powerloss"
local support = require "spec.support"
local test = require "lvhdtest"
local vhdread = require "spec.support.vhdread"

local promise = {}

local SECTOR <const> = 512

-- ---- looking --------------------------------------------------------------

local function with_engine(act)
  local engine = lvhd.engine{ threads = 1 }
  local ok, result = pcall(act, engine)
  engine:close()
  if not ok then
    return nil, tostring(result)
  end
  return result
end

---All that a disk reads, by an engine of its own; nil and why not.
function promise.content(path)
  return with_engine(function(engine)
    local disk <close> = engine:open(path)
    return disk:read(0, 1 << 30)
  end)
end

---What check says of a chain: a list of texts, and the codes.
---@param least "error"|"warning"
---@param known table<string, boolean>? codes that do not count
---@param parents string? folder of parents, where they lie elsewhere
function promise.complaints(path, least, known, parents)
  local codes = {}
  local list, why = with_engine(function(engine)
    local out = {}
    for _, info in ipairs(engine:check(path, { chain = true, data = true,
      parents = parents }):wait()) do
      for _, f in ipairs(info.findings) do
        if (f.severity == "error" or f.severity == least)
          and not (known and known[f.code]) then
          codes[f.code] = true
          out[#out + 1] = ("%s %s at %s (%s)"):format(f.severity, f.code,
            tostring(f.offset), f.path)
        end
      end
    end
    return out
  end)
  return list or { "check: " .. why }, codes
end

---What is wrong with the disks before the work, and may stay so.
function promise.remember(what, dir)
  what.known = {}
  for _, leaf in ipairs(what.leaves) do
    local _, codes = promise.complaints(dir .. "/" .. leaf.name, "warning")
    for code in pairs(codes) do
      what.known[code] = true
    end
  end
end

---What 7-Zip reads; nil when it refuses.
function promise.by_7zip(path)
  local out = os.tmpname()
  local ok = support.sh(("7zz x -y -tvhd -so %s > %s 2>/dev/null"):format(
    support.q(path), out))
  local bytes = support.read(out)
  os.remove(out)
  return ok and bytes or nil
end

local function first_difference(got, want)
  if #got ~= #want then
    return ("%d bytes instead of %d"):format(#got, #want)
  end
  for at = 1, #want, SECTOR do
    local a, b = got:sub(at, at + SECTOR - 1), want:sub(at, at + SECTOR - 1)
    if a ~= b then
      return ("sector %d: %q instead of %q"):format(at // SECTOR, a:sub(1, 16),
        b:sub(1, 16))
    end
  end
end

-- ---- what may be read -----------------------------------------------------

---How far the work had come.
---@class promise.Progress
---@field begun integer writes that were begun
---@field flushed integer writes of which a flush came back
---@field done boolean all of it had succeeded

---The progress that the marks of a record tell, up to an event.
---@return promise.Progress
function promise.progress(record, at, done)
  local p = { begun = 0, flushed = 0, done = done }
  for i = 1, at do
    local e = record.events[i]
    if e.op == "mark" then
      local what, n = e.path:match("^(%l+) (%d+)$")
      p[what] = math.tointeger(n)
    end
  end
  return p
end

-- The content once the writes up to `count` are there, as sectors.
local function overwrite(bytes, w)
  return bytes:sub(1, w.offset) .. w.data
    .. bytes:sub(w.offset + #w.data + 1)
end

-- Each sector is as some write since the last flush left it.
local function written(what, progress, got)
  local now = what.start
  for i = 1, progress.flushed do
    now = overwrite(now, what.writes[i])
  end
  if #got ~= #now then
    return ("%d bytes instead of %d"):format(#got, #now)
  end
  local versions = { now }
  for i = progress.flushed + 1, progress.begun do
    now = overwrite(now, what.writes[i])
    versions[#versions + 1] = now
  end
  for at = 1, #got, SECTOR do
    local sector, known = got:sub(at, at + SECTOR - 1), false
    for _, v in ipairs(versions) do
      known = known or v:sub(at, at + SECTOR - 1) == sector
    end
    if not known then
      return ("sector %d: %q is none of %d versions (%d writes flushed, %d "
        .. "begun), the oldest %q"):format(at // SECTOR, sector:sub(1, 16),
        #versions, progress.flushed, progress.begun,
        versions[1]:sub(at, at + 15))
    end
  end
end

---What is wrong with the bytes that a leaf reads; nil: nothing.
local function wrong(what, leaf, progress, got)
  if what.writes then
    return written(what, progress, got)
  elseif leaf.before == nil and not progress.done
    or got == leaf.after or got == leaf.before and not progress.done then
    return nil
  end
  return first_difference(got, progress.done and leaf.after or leaf.before)
end

-- ---- what others find -----------------------------------------------------

-- Other programs want a whole footer at the end of the file; where there was
-- one, there always is.
local function has_footer(bytes)
  local footer = bytes:sub(-SECTOR)
  return #footer == SECTOR and footer:sub(1, 8) == "conectix"
    and vhdread.checksum(footer, 64) == (">I4"):unpack(footer, 65)
end

local function judge_footers(what, record, dir)
  for name in pairs(what.changes) do
    local base = record.base[name]
    if base and has_footer(base.bytes) and test.stat(dir .. "/" .. name)
      and not has_footer(support.read(dir .. "/" .. name)) then
      error(name .. ": no footer at its end", 0)
    end
  end
end

-- ---- the judge ------------------------------------------------------------

---What 7-Zip and the second reader made of the states that they were shown, by
---scenario.
promise.seen = {}

-- A sector with a footer in it as the zeros that belong there.
local function without_footer(bytes)
  local at = bytes:find("conectix", 1, true)
  if not at or at % SECTOR ~= 1 then
    return bytes
  end
  return bytes:sub(1, at - 1) .. ("\0"):rep(SECTOR) .. bytes:sub(at + SECTOR)
end

---What the second reader makes of a chain; nil when it finds fault with it.
function promise.by_vhdread(path)
  local ok, bytes = pcall(function()
    local paths = vhdread.chain(path)
    for _, each in ipairs(paths) do
      local wrong_ = vhdread.doubt(each)
      assert(not wrong_, wrong_)
    end
    return vhdread.content(paths, 0, vhdread.open(path).size)
  end)
  return ok and bytes or nil
end

-- Readers that know nothing of notes.
local OTHERS <const> = { { "7-Zip", promise.by_7zip },
  { "the second reader", promise.by_vhdread } }

local function ask_others(scenario, what, leaf, progress, path)
  local all = promise.seen[scenario.name] or {}
  promise.seen[scenario.name] = all
  for _, other in ipairs(OTHERS) do
    local name, read = other[1], other[2]
    local seen = all[name] or { right = 0, refused = 0, wrong = 0 }
    all[name] = seen
    local bytes = read(path)
    if bytes and what.shows_footer then
      bytes = without_footer(bytes)
    end
    local how = not bytes and "refused"
      or wrong(what, leaf, progress, bytes) and "wrong" or "right"
    seen[how] = seen[how] + 1
    -- it may refuse a state that needs the note, but not read something else
    if how == "wrong" then
      error(("%s: %s reads what neither was there nor will be"):format(
        leaf.name, name), 0)
    end
  end
end

-- A leaf that is gone was merged, and deleted last.
local function judge_leaves(scenario, what, dir, progress, asked)
  for _, leaf in ipairs(what.leaves) do
    local path = dir .. "/" .. leaf.name
    if not test.stat(path) then
      assert(leaf.deleted, leaf.name .. " is gone")
      progress = { begun = 0, flushed = 0, done = true }
    end
  end
  for _, leaf in ipairs(what.leaves) do
    local path = dir .. "/" .. leaf.name
    if test.stat(path) and (leaf.before or progress.done) then
      local got, why = promise.content(path)
      local bad = not got and why or wrong(what, leaf, progress, got)
      if bad then
        error(leaf.name .. ": " .. bad, 0)
      end
      local list = promise.complaints(path, "error", what.known)
      if #list > 0 then
        error(leaf.name .. ": " .. table.concat(list, "; "), 0)
      end
      if asked then
        ask_others(scenario, what, leaf, progress, path)
      end
    end
  end
end

local function judge_times(what, record, dir)
  for name, base in pairs(record.base) do
    local st = test.stat(dir .. "/" .. name)
    if what.keeps_time and st and st.mtime ~= base.mtime then
      error(("%s: its time is %d, it was %d"):format(name, st.mtime,
        base.mtime), 0)
    end
    if st and not what.changes[name]
      and support.read(dir .. "/" .. name) ~= base.bytes then
      error(name .. " was changed", 0)
    end
  end
end

-- Nothing is left over, but what nobody can know any more; where notes had
-- temporary names, such a one.
local function judge_names(what, record, dir)
  local want, names = {}, {}
  for _, name in ipairs(record.final) do
    want[name] = true
  end
  for _, name in ipairs(powerloss.names(dir)) do
    if want[name] or not (what.litter and what.litter[name]
      or what.temporary and creations.is_temporary(name)) then
      names[#names + 1] = name
    end
  end
  local now, then_ = table.concat(names, " "), table.concat(record.final, " ")
  if now ~= then_ then
    error(("at the end there are [%s] instead of [%s]"):format(now, then_), 0)
  end
end

---After success, whatever happened before: raises what is wrong.
---@param record powerloss.Record of the work when nothing disturbs it
function promise.kept(scenario, what, record, dir)
  judge_leaves(scenario, what, dir,
    { begun = #(what.writes or {}), flushed = #(what.writes or {}),
      done = true }, false)
  for _, leaf in ipairs(what.leaves) do
    local path = dir .. "/" .. leaf.name
    local list = test.stat(path)
      and promise.complaints(path, "warning",
        not what.repaired and what.known or nil) or {}
    if #list > 0 then
      error("at the end: " .. leaf.name .. ": " .. table.concat(list, "; "), 0)
    end
  end
  judge_times(what, record, dir)
  judge_names(what, record, dir)
end

local function ignore() end

-- The re-run is refused for the sake of a disk that lay between child and
-- target, is merged, and was to be deleted: what is read is as it shall be.
local function refused_by_litter(what, err)
  if not (what.litter and lvhd.is_error(err, "E_SHARING_VIOLATION")
    and err.reason == "OTHER_CHILDREN") then
    return false
  end
  for _, path in ipairs(err.others) do
    if not what.litter[path:match("[^/]*$")] then
      return false
    end
  end
  return true
end

---Runs the work again, and looks.
function promise.again(scenario, what, record, dir)
  local engine = lvhd.engine{ threads = 1 }
  local ok, err = pcall(scenario.act, engine, dir, ignore)
  engine:close()
  local gone = false -- deleting was the last step
  for _, leaf in ipairs(what.leaves) do
    gone = gone or not test.stat(dir .. "/" .. leaf.name)
  end
  if not ok and refused_by_litter(what, err) then
    judge_leaves(scenario, what, dir, { done = true }, false)
    return
  elseif not ok and not gone then
    error("the re-run: " .. tostring(err), 0)
  end
  promise.kept(scenario, what, record, dir)
end

---The folder as it was found after the interruption: judges it, runs the work
---again, judges that.  Raises what is wrong.
---@param progress promise.Progress
---@param asked boolean? other readers too
function promise.holds(scenario, what, record, dir, progress, asked)
  judge_leaves(scenario, what, dir, progress, asked)
  judge_footers(what, record, dir)
  if what.extra then
    what.extra(dir, progress)
  end
  promise.again(scenario, what, record, dir)
  if what.extra then
    what.extra(dir, { begun = 0, flushed = 0, done = true })
  end
end

return promise
