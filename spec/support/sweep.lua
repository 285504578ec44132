-- SPDX-License-Identifier: MIT
--
-- A verb with one system call after the other failing, and the judge of what
-- comes of it.  Which verbs there are, verbs.lua and changes.lua know; what a
-- change in place promises, promise.lua.  Here is which name an errno has, and
-- which failures nothing depends on.
--
--   sweep.with(scenario, function(s)
--     s:fault(k, errno, ever)    the k-th call fails, once or from there on
--     s:short(k, bytes, ever)    it moves less than was asked for
--     s:full(pages)              the volume has so many pages left
--     s:filled(k, pages)         somebody fills it just before the k-th call
--     s:limited(bytes)           no file may be longer
--     s:quota(bytes)             so many more bytes are ours to have
--   end, volume)
--
-- Each raises what is wrong, and counts in sweep.cases.  full and filled want
-- the volume "tmpfs", quota "btrfs".

local bench = require "spec.support.bench"
local filetest = require "filetest"
local lvhd = require "lvhd"
local powerloss = require "spec.support.powerloss"
local support = require "spec.support"
local test = require "lvhdtest"

local sweep = { cases = 0, states = 0, used = {} }

sweep.errnos = { "EIO", "ENOSPC", "EDQUOT", "EINTR", "EAGAIN", "EACCES",
  "ENOMEM", "EMFILE", "EROFS", "EFBIG" }

-- A call that goes on after a signal would do so for ever.
local SIGNALS <const> = 20

-- ---- the table of design 1.5 ---------------------------------------------

local NAMES <const> = { EIO = "DISP_E_EXCEPTION", ENOSPC = "E_DISK_FULL",
  EDQUOT = "E_DISK_FULL", EINTR = "DISP_E_EXCEPTION",
  EAGAIN = "DISP_E_EXCEPTION", EACCES = "E_ACCESSDENIED",
  ENOMEM = "E_OUTOFMEMORY", EMFILE = "VM_E_OUT_OF_RESOURCE",
  EROFS = "E_ACCESSDENIED", EFBIG = "VM_E_FILE_TOO_LARGE_FOR_VOLUME" }
-- Where the errno says nothing of a path.
local PLAIN <const> = { ENOMEM = "E_OUTOFMEMORY",
  EMFILE = "VM_E_OUT_OF_RESOURCE" }
local IN_PLACE <const> = { EACCES = "VM_E_FILE_READ_ONLY",
  EROFS = "VM_E_FILE_READ_ONLY", EAGAIN = "E_SHARING_VIOLATION" }

-- The errno of reading is the device's, not the path's.
local READING <const> = { pread = true, getrandom = true }
-- What changes a file in place.
local CHANGING <const> = { pwritev = true, ftruncate = true, fsync = true,
  fdatasync = true }
-- What makes a file with a name.
local MAKING <const> = { linkat = true, mkdirat = true, fchmod = true,
  fallocate = true, getrlimit = true, lseek = true, renameat2 = true }

local function name_of(path)
  return (path or ""):match("[^/]*$")
end

-- The names that the failure of this call may have, as a set.
local function names_for(s, entry, errno)
  local call = entry.call
  if READING[call] then
    return { [PLAIN[errno] or "DISP_E_EXCEPTION"] = true }
  end
  local what = name_of(entry.at)
  local own = s.what and s.what.changes[what] or what:find("%.lvhd%-journal")
  if s.what and CHANGING[call] and own then
    return { [IN_PLACE[errno] or NAMES[errno]] = true }
  elseif MAKING[call] or CHANGING[call] then
    return { [NAMES[errno]] = true, [s.what and IN_PLACE[errno]
      or NAMES[errno]] = true }
  end
  -- opening, asking, closing: of a file that exists, of one to be changed, of
  -- the way to a new one; a few ask in the midst of reading
  local names = { [NAMES[errno]] = true }
  if s.what then
    names[IN_PLACE[errno] or NAMES[errno]] = true
  end
  if errno == "EAGAIN" then
    names.E_SHARING_VIOLATION = true
  end
  if call == "fstat" then
    names[PLAIN[errno] or "DISP_E_EXCEPTION"] = true
  end
  return names
end

-- What an error calls the call.
local CALLED <const> = { getdents = "getdents64" }

-- ---- failures that are told in another way -------------------------------

-- The errno of these calls is an answer: the error has a reason instead.
local ANSWERS <const> = {
  { call = "lseek", errnos = { "EFBIG" },
    name = "VM_E_FILE_TOO_LARGE_FOR_VOLUME", reason = "VOLUME_FILE_LIMIT",
    why = "so a volume says that a file cannot be so long" },
  { call = "setlk", errnos = { "EAGAIN", "EACCES" },
    name = "E_SHARING_VIOLATION", reason = "IN_USE",
    why = "so the kernel says that somebody has the lock" },
  { call = "openat", errnos = { "EACCES", "EROFS" }, name = "E_ACCESSDENIED",
    reason = "PARENT_OUTSIDE",
    why = "a folder that is not for us holds no parent" },
  { call = "fstatat", errnos = { "EACCES", "EROFS" }, name = "E_ACCESSDENIED",
    reason = "PARENT_OUTSIDE", why = "the same" },
  { call = "openat2", errnos = { "EACCES", "EROFS" },
    name = "E_ACCESSDENIED", reason = "PARENT_OUTSIDE", scenario = "Windows",
    why = "the same" },
  { call = "openat", errnos = { "EACCES" }, path = "lvhd%-journal",
    name = "VM_E_HD_IMAGE_ACCESS", reason = "JOURNAL_FOREIGN",
    why = "a note that is not for us" },
  { call = "openat", errnos = { "EACCES" }, name = "E_PATH_NOT_FOUND",
    reason = "FILE_MISSING", scenario = "Windows",
    why = "a folder that cannot be listed has exact names only" },
}

-- ---- failures that nothing depends on ------------------------------------

-- Rows: the call; where only: errnos, a pattern in its path, in what its
-- descriptor is, in the scenario's name, whether that changes in place; or in
-- the search for other children, "known" behind the first look at a file.
-- `alters`: the result may be another one.  `skipped`: it says SEARCH_SKIPPED.
-- `elsewhere`: not where these run.
local HARMLESS <const> = {
  -- the search for other children
  { call = "pread", searching = "known",
    why = "of a disk that counts as a child by what its first sectors say" },
  { call = "openat", searching = "known", path = "lvhd%-journal",
    why = "the same" },
  { calls = { "openat", "fstat", "pread", "getdents" }, searching = "any",
    skipped = true, why = "what cannot be read is skipped, and it says so" },
  { call = "close", why = "of what was only read, or is durable; where a close "
    .. "may tell of bytes that are lost, it is told (faults_spec)" },
  { call = "getlk", alters = true,
    why = "a volume without locks; info.lockable" },
  { call = "setlk", why = "a volume without locks" },
  { call = "fstatfs", alters = true,
    why = "info.free; and whether a shared flush is the faster one" },
  { call = "readlinkat", path = "^/proc/self/fd", why = "realpath is asked" },
  { call = "lseek", why = "SEEK_DATA: what may be a hole is read" },
  { call = "getrlimit", scenario = "create_children",
    why = "how many descriptors there are: few, then" },
  { call = "sync_file_range", why = "begins what the flush waits for" },
  { call = "fstatat", path = "^[Nn]ew$", place = false,
    why = "is what is to be made a link that leads nowhere? mkdirat tells" },
  -- lists
  { calls = { "openat", "fstat", "pread", "getdents" },
    scenario = "^find", alters = true,
    why = "what cannot be read is left out, as documented" },
  { calls = { "openat", "fstat", "pread", "getdents" },
    scenario = "^children", alters = true, why = "the same" },
  -- what is not for us is not there
  { calls = { "openat2", "fstat" }, errnos = { "EACCES", "EROFS" },
    scenario = "create_differencing, by a Windows", alters = "bytes",
    why = "a drive that is not for us: the child gets no W2ku" },
  { calls = { "openat2", "fstat" }, errnos = { "EACCES", "EROFS" },
    alters = true,
    why = "a name that does not lead to the parent: the next one is tried; a "
      .. "folder that may be entered and not listed" },
  { calls = { "openat", "openat2" }, errnos = { "EACCES", "EROFS" },
    path = "lvhd%-journal", alters = true,
    why = "a note that is not for us: JOURNAL_FOREIGN" },
  { calls = { "openat", "fstatat" }, errnos = { "EACCES", "EROFS" },
    scenario = "Windows", alters = true,
    why = "a folder that is not for us holds no parent" },
  { call = "unlinkat", path = "%.lvhd%-tmp$",
    why = "a hidden second name, which is tried once more" },
  -- another way round
  { call = "openat2", errnos = { "EAGAIN" },
    why = "somebody renames: openat, or the walk" },
  { calls = { "openat2", "fstat" }, scenario = "Windows", alters = true,
    why = "a Windows path that is not as given is walked name by name" },
  { call = "openat", path = "^/$", scenario = "Windows",
    why = "the same name is tried beneath the next folder of the policy" },
  { errnos = { "EMFILE" }, scenario = "create_children",
    why = "the image is put off to a smaller batch" },
  { call = "pread", scenario = "^open",
    why = "extents: what is known comes first, the next step looks again" },
  { call = "fstat", scenario = "^open", at = "leaf%.vhd$", why = "the same" },
  { call = "pread", scenario = "^convert", why = "the same" },
  { call = "pread", scenario = "begun", alters = true,
    why = "the same; of a child that is merged the search can do without" },
  { call = "pread", scenario = "beside a note",
    why = "what the file says is read again with the note's bytes over it" },
  -- room
  { call = "fallocate", scenario = "^convert", elsewhere = true, -- on ext4
    why = "the write looks for its room itself" },
  { call = "fallocate", place = true,
    why = "zeros are written; what compact frees stays" },
  { call = "pwritev", errnos = { "ENOSPC", "EDQUOT", "EFBIG" }, place = true,
    why = "no room for many blocks: for one" },
  { call = "futimens", errnos = { "EACCES", "EROFS" }, place = true,
    why = "a time that is not ours to set stays" },
}

-- Tried again after a signal.
local RESUMED <const> = { openat = true, openat2 = true, pread = true,
  pwritev = true, ftruncate = true, fallocate = true, getdents = true,
  getrandom = true }

local function one_of(list, item)
  for _, e in ipairs(list or { item }) do
    if e == item then
      return true
    end
  end
  return false
end

local function found(text, pattern)
  return pattern == nil or (text or ""):find(pattern) ~= nil
end

-- The first look at a file is for footer and header at once.
local FIRST_LOOK <const> = 512 + 1024

local function searches(s, how, entry)
  return how == nil or s.search ~= nil and entry.index >= s.search[1]
    and entry.index <= s.search[2]
    and (how == "any" or entry.length ~= FIRST_LOOK)
end

-- Without openat2 openat does its work.
local function is_call(s, row, call)
  local calls = row.calls or { row.call or call }
  return one_of(calls, call) or call == "openat" and one_of(calls, "openat2")
    and s.scenario.name:find("without openat2") ~= nil
end

local function fits(s, row, entry, errno)
  return searches(s, row.searching, entry) and is_call(s, row, entry.call)
    and one_of(row.errnos, errno) and found(entry.path, row.path)
    and found(entry.at, row.at) and found(s.scenario.name, row.scenario)
    and (row.place == nil or row.place == (s.what ~= nil))
end

-- The row that says why this failure may go unreported.
local function excuse(s, entry, errno)
  for _, row in ipairs(HARMLESS) do
    if fits(s, row, entry, errno) then
      sweep.used[row] = (sweep.used[row] or 0) + 1
      return row
    end
  end
end

---The rows that were of no use: what no scenario meets is no reason.
function sweep.unused()
  local list = {}
  for _, rows in ipairs{ HARMLESS, ANSWERS } do
    for i, row in ipairs(rows) do
      if not sweep.used[row] and not row.elsewhere then
        list[#list + 1] = ("%d: %s, %s"):format(i,
          row.call or table.concat(row.calls or { "any" }, " "), row.why)
      end
    end
  end
  return list
end

-- ---- results -------------------------------------------------------------

-- All that a result holds, but for what is new in the world each time.
local function spell(value, out, skip)
  if lvhd.is_error(value) then
    out[#out + 1] = ("error %s %s"):format(value.name, value.syscall)
  elseif type(value) ~= "table" then
    out[#out + 1] = tostring(value)
  else
    local keys = {}
    for key in pairs(value) do
      keys[#keys + 1] = not skip[key] and key or nil
    end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for _, key in ipairs(keys) do
      out[#out + 1] = tostring(key) .. "="
      spell(value[key], out, skip)
      out[#out + 1] = ";"
    end
  end
  return out
end

-- The errors that were raised, or stand in a result.
local function errors_in(value, list)
  if lvhd.is_error(value) then
    list[#list + 1] = value
    errors_in(value.items, list)
  elseif type(value) == "table" then
    for _, item in pairs(value) do
      errors_in(item, list)
    end
  end
  return list
end

local function says_skipped(value)
  for _, f in ipairs(type(value) == "table" and value.findings or {}) do
    if f.code == "SEARCH_SKIPPED" then
      return true
    end
  end
  return false
end

-- ---- one run -------------------------------------------------------------

local function tell(entry)
  return entry and ("%s of %s"):format(entry.call,
    entry.path or entry.at or "?") or "nothing"
end

-- The same numbers, times and identifiers in each run, and nothing that is
-- remembered from the last one.
local function set_world(s)
  s.clock = (s.clock or 1) + 10 * 1000000000
  s.system:drop()
  s.system:set("seed", 7)
  s.system:set("now", 1750000000)
  s.system:set("monotonic", s.clock)
  if s.scenario.world then
    s.scenario.world(s.system)
  end
  s.system:forget()
end

local function run(s, spoil)
  s:reset()
  set_world(s)
  if spoil then
    spoil(s.system)
  end
  local fds = test.fds()
  local ok, result = s:act()
  s.system:drop()
  collectgarbage("step", 50)
  if test.fds() ~= fds then
    collectgarbage()
    collectgarbage()
    if test.fds() ~= fds then
      error(("%d descriptors instead of %d"):format(test.fds(), fds), 0)
    end
  end
  return ok, result
end

-- The raised or told error is that of one of these calls.
local function check_told(s, errors, failed, errno)
  local best
  for _, err in ipairs(errors) do
    for _, entry in ipairs(failed) do
      local called = CALLED[entry.call] or entry.call
      if err.errname == errno and err.syscall == called then
        if names_for(s, entry, errno)[err.name] then
          return
        end
        best = best or ("%s for %s"):format(err.name, tell(entry))
      elseif not err.errname then
        for _, row in ipairs(ANSWERS) do
          if fits(s, row, entry, errno) and row.name == err.name
            and row.reason == err.reason then
            sweep.used[row] = (sweep.used[row] or 0) + 1
            return
          end
        end
      end
    end
  end
  local err = errors[1]
  error(best or ("%s, %s, %s %s, but it was %s"):format(err.name,
    tostring(err.reason), tostring(err.syscall), tostring(err.errname),
    tell(failed[1])), 0)
end

-- Nobody was told: each of the failures must be one that nothing depends on.
local function check_silence(s, result, failed, errno)
  for _, entry in ipairs(failed) do
    if not (errno == "EINTR" and RESUMED[entry.call]) then
      local row = excuse(s, entry, errno)
      if not row then
        error("nobody says that it was " .. tell(entry), 0)
      elseif row.skipped and not says_skipped(result) then
        error("no finding says SEARCH_SKIPPED", 0)
      elseif row.alters then
        return row.alters
      end
    end
  end
  return false
end

local function all_resumed(failed)
  for _, entry in ipairs(failed) do
    if not RESUMED[entry.call] then
      return false
    end
  end
  return true
end

local function judge(s, ok, result, errno)
  local failed = s.failed
  local errors = errors_in(result, {})
  if not ok and not lvhd.is_error(result) then
    error("no error of lvhd's: " .. tostring(result), 0)
  elseif #failed == 0 and not ok and not s.refusals[result.reason] then
    error("nothing failed, but: " .. tostring(result), 0)
  elseif #errors > 0 and #failed > 0 then
    check_told(s, errors, failed, errno)
  end
  if not ok and errno == "EINTR" and all_resumed(failed) then
    error("a signal ended it", 0)
  end
  local altered = #errors > 0
    or check_silence(s, result, failed, errno)
  s:judge(ok, result, altered)
end

-- True: the verb succeeded.
local function case(s, context, errno, spoil, undo)
  sweep.cases = sweep.cases + 1
  local ok, why = pcall(function()
    local good, result = run(s, spoil)
    if undo then
      undo()
    end
    s.failed = errno and s.system:log(errno) or {}
    judge(s, good, result, errno)
    return good
  end)
  if not ok then
    error(("%s, %s: %s"):format(s.scenario.name, context, tostring(why)), 0)
  end
  return why
end

-- ---- what is kept of the undisturbed run ---------------------------------

local methods = {}

-- Which call is the k-th, and the how many-eth of its name.
local function remember_calls(s)
  local log = s.system:log()
  local seen = {}
  s.calls = {}
  for i, e in ipairs(log) do
    seen[e.call] = (seen[e.call] or 0) + 1
    s.calls[i] = { call = e.call, nth = seen[e.call], length = e.length }
    if s.what and e.call == "getdents" then -- the folder was opened before it
      s.search = { s.search and s.search[1] or i - 3, i }
    end
  end
  -- the folder of another layer is the same one, and is not read again
  local function goes_on(e)
    return e.call == "close" or e.call == "readlinkat" or e.path == s.found
      or e.call == "fstat" and e.at == s.found
  end
  while s.search and goes_on(log[s.search[2] + 1]) do
    s.search[2] = s.search[2] + 1
  end
  assert(#s.calls == s.system:count())
end

---The k-th call fails.
---@param ever "once"|"ever"|"all" once; all of its name, all of any from there
function methods:fault(k, errno, ever)
  local c = self.calls[k]
  local times = ever == "once" and 1 or errno == "EINTR" and SIGNALS or 0
  self.once = ever == "once"
  case(self, ("call %d (%s) fails with %s, %s"):format(k, c.call, errno, ever),
    errno, function(system)
      if ever == "ever" then
        system:fail{ call = c.call, nth = c.nth, errno = errno, times = times }
      else
        system:fail{ nth = k, errno = errno, times = times }
      end
    end)
end

---The k-th call, a read or a write, moves fewer bytes; and all after it.
function methods:short(k, bytes, ever)
  local c = self.calls[k]
  case(self, ("call %d (%s) of %d bytes moves %d%s"):format(k, c.call,
    c.length, bytes, ever and ", and all after it" or ""), nil,
    function(system)
      system:short{ call = c.call, nth = c.nth, bytes = bytes,
        times = ever and 0 or 1 }
    end)
end

-- ---- volumes of their own ------------------------------------------------

-- A tmpfs, or a btrfs that counts what there is.
local function mount(s, kind)
  if kind == "tmpfs" then
    assert(test.tmpfs(s.found))
  elseif kind == "btrfs" then
    -- a part of it has the quota: the rest is for what is said about quotas
    support.run((([[cd DIR && truncate -s 256M image && mkfs.btrfs -q image
      mkdir all && mount -o loop image all && btrfs quota enable all
      btrfs subvolume create all/part && mount --bind all/part FOUND]])
      :gsub("DIR", s.dir):gsub("FOUND", s.found)))
  end
  s.mounted = kind
end

-- Why it would not go, at the first try: something was open there.
local function unmount(s)
  local why
  for _, folder in ipairs{ s.found,
    s.mounted == "btrfs" and s.dir .. "/all" or nil } do
    local ok, text = true, nil
    if s.mounted then
      ok, text = support.sh("umount " .. folder)
    end
    if not ok then
      why = why or text
      support.run("umount -l " .. folder)
    end
  end
  return why
end

-- ---- too little room -----------------------------------------------------

local PAGE <const> = 4096
local ROOM <const> = 32 << 20

-- What is said where the volume, or the process's limit, was asked before.
local REFUSALS <const> = { VOLUME_FULL = "E_DISK_FULL",
  PROCESS_FILE_LIMIT = "VM_E_FILE_TOO_LARGE_FOR_VOLUME" }

local function room_for_all(s)
  assert(test.tmpfs(s.found, ROOM))
end

---The volume has so many pages left when the verb begins.  True: enough.
function methods:full(pages)
  return case(self, ("%d pages are left"):format(pages), "ENOSPC", function()
    assert(test.tmpfs(self.found, pages * PAGE))
  end, function()
    room_for_all(self)
  end)
end

---Somebody fills the volume just before the k-th call.
function methods:filled(k, pages)
  local c = self.calls[k]
  return case(self, ("%d pages are left before call %d (%s)"):format(pages, k,
    c.call), "ENOSPC", function(system)
      system:fill{ call = c.call, nth = c.nth, folder = self.found,
        bytes = pages * PAGE }
    end, function()
      room_for_all(self)
    end)
end

---No file of the process may be longer.
function methods:limited(bytes)
  local before
  return case(self, ("no file has more than %d bytes"):format(bytes), "EFBIG",
    function()
      before = assert(test.limit("fsize", bytes))
    end, function()
      assert(test.limit("fsize", before))
    end)
end

-- What is counted as ours, all else but the work being done.
local function counted(s)
  return math.tointeger(support.run("btrfs qgroup show --raw --sync " .. s.dir
    .. "/all"):match("0/256 +(%d+)"))
end

---So many more bytes are ours to have.  True: enough.
function methods:quota(bytes)
  local function limit(n)
    support.run(("btrfs qgroup limit %s 0/256 %s/all"):format(n, self.dir))
  end
  return case(self, ("a quota of %d bytes more"):format(bytes), "EDQUOT",
    function()
      limit(counted(self) + bytes)
    end, function()
      limit("none")
    end)
end

-- ---- verbs that leave all that exists as it is ---------------------------

local function sums(s)
  local out = {}
  for _, name in ipairs(s.scenario.new or {}) do
    out[#out + 1] = tostring(test.sum(s.found .. "/" .. name))
  end
  return table.concat(out, " ")
end

-- Takes away what was made.
local function clean(s)
  for _, name in ipairs(s.scenario.new or {}) do
    os.remove(s.found .. "/" .. name)
  end
  for _, name in ipairs{ "new/deep", "new", "New" } do
    if s.scenario.new then
      os.remove(s.found .. "/" .. name)
    end
  end
end

-- Where all fails, what was made may not be taken away either; what is in the
-- way of that are these calls.
local CLEANING <const> = { unlinkat = true, fstat = true, fstatat = true,
  openat2 = true, openat = true }

local function may_stay(s)
  for _, entry in ipairs(s.failed) do
    if CLEANING[entry.call] then
      return true
    end
  end
  return false
end

-- Of many images those stay that were published, whole.
local function judge_items(s, err)
  local list = s.scenario.new
  local want = {}
  for sum in s.sums:gmatch("%S+") do
    want[#want + 1] = sum
  end
  for i, item in ipairs(err.items or {}) do
    local path = s.found .. "/" .. list[i]
    if not lvhd.is_error(item) then
      assert(tostring(test.sum(path)) == want[i], list[i] .. " is not whole")
      os.remove(path)
    end
  end
  if err.items then
    os.remove(s.found .. "/new/deep")
    os.remove(s.found .. "/new")
  end
end

local function as_before(s, what)
  local now = filetest.tree(s.found)
  if now ~= s.tree then
    error(("%s\n%sinstead of\n%s"):format(what, now, s.tree), 0)
  end
end

local function judge_apart(s, ok, result, altered)
  if ok then
    if not altered and table.concat(spell(result, {}, s.skip)) ~= s.result then
      error(("it gives another result: %q instead of %q"):format(
        table.concat(spell(result, {}, s.skip)), s.result), 0)
    elseif altered ~= "bytes" and sums(s) ~= s.sums then
      error("what it made is another file", 0)
    end
    clean(s)
  else
    judge_items(s, result)
  end
  if may_stay(s) then
    clean(s)
    support.run("find " .. support.q(s.found) .. " -name '.*.lvhd-tmp' -delete")
  end
  as_before(s, "what was there is not as before:")
  if not ok then -- the next call succeeds
    local again, info = run(s)
    assert(again, info)
    assert(table.concat(spell(info, {}, s.skip)) == s.result
      and sums(s) == s.sums, "the next call gives something else")
    clean(s)
  end
end

-- Memory where there is some.
local function scratch()
  return (support.run("mktemp -d -p " .. (test.stat("/dev/shm") and "/dev/shm"
    or os.getenv("TMPDIR") or "/tmp") .. " lvhd-spec.XXXXXX"):gsub("\n", ""))
end

local function prepare_apart(s, volume)
  local scenario = s.scenario
  s.found = s.dir .. "/found"
  assert(test.mkdir(s.found))
  mount(s, volume)
  if volume then
    support.write(s.found .. "/others", "x") -- an empty tmpfs has no limit
  end
  scenario.make(s.found)
  s.tree = filetest.tree(s.found)
  s.skip = { free = true, mtime = scenario.new and true or nil }
  local opts = scenario.engine and scenario.engine(s.found) or {}
  opts.threads, opts.system = 1, s.system:pointer()
  s.engine = lvhd.engine(opts)
  for _ = 1, 2 do -- the first one brings code and memory
    local ok, result = run(s)
    assert(ok, result)
    s.result, s.sums = table.concat(spell(result, {}, s.skip)), sums(s)
    remember_calls(s)
    clean(s)
  end
  as_before(s, "the undisturbed run leaves")
end

local function with_apart(scenario, use, volume)
  local s = setmetatable({ scenario = scenario, dir = scratch(),
    system = test.system(), reset = clean, judge = judge_apart,
    refusals = REFUSALS,
    act = function(self)
      return pcall(scenario.act, self.engine, self.found)
    end }, { __index = methods })
  local ok, err = pcall(function()
    prepare_apart(s, volume)
    use(s)
  end)
  s.system:drop()
  if s.engine then
    s.engine:close()
  end
  local open = unmount(s)
  support.run("chmod -R u+rwx " .. s.dir .. "; rm -rf " .. s.dir)
  if not ok or open then
    error(not ok and err or open, 0)
  end
end

-- ---- verbs that change in place ------------------------------------------

-- All files that are found: bytes, and times, which may be those of before.
local function files_of(s)
  local out = {}
  for _, name in ipairs(powerloss.names(s.found)) do
    local path = s.found .. "/" .. name
    local base, st = s.bench.record.base[name], test.stat(path)
    out[#out + 1] = ("%s %d %s"):format(name, test.sum(path),
      base and base.mtime == st.mtime and "=" or st.mtime // 1000000000)
  end
  return table.concat(out, " ")
end

local function others_of(s)
  local out = {}
  for name in pairs(s.bench.record.base) do
    local st = not s.what.changes[name] and test.stat(s.found .. "/" .. name)
    if st then
      out[#out + 1] = ("%s %d %d %d %d"):format(name, st.ino, st.size, st.mtime,
        st.ctime)
    end
  end
  table.sort(out)
  return table.concat(out, "\n")
end

-- A state that was found before was judged then.
local function judge_place(s, ok)
  s.progress.done = ok
  assert(others_of(s) == s.others, "a file that it only reads was touched")
  local files, p = files_of(s), s.progress
  local state = ("%s %d %d %s"):format(files, p.begun, p.flushed, ok)
  s.changed = files ~= s.base
  -- what failed once is undone; but a merge stays begun
  if not ok and s.once and not s.start and files:find("lvhd%-journal")
    and not s.scenario.name:find("^merge") then
    error("a note is left", 0)
  end
  if not s.seen[state] then
    s.changed = true
    s.bench:judge(p, "then")
    s.seen[state] = true
    sweep.states = sweep.states + 1
  end
end

-- The files as they are now; and as they were then.
local function take_files(s)
  local out = {}
  for _, name in ipairs(powerloss.names(s.found)) do
    local path = s.found .. "/" .. name
    out[name] = { bytes = support.read(path), mtime = test.stat(path).mtime }
  end
  return out
end

local function put_files(s, files)
  powerloss.empty(s.found)
  for name, file in pairs(files) do
    local path = s.found .. "/" .. name
    support.write(path, file.bytes)
    test.utime(path, file.mtime // 1000000000, file.mtime % 1000000000)
  end
end

local function reset_place(s)
  if s.changed and s.start then
    put_files(s, s.start)
  elseif s.changed then
    s.bench:reset()
  end
  s.base = s.changed and files_of(s) or s.base
  s.changed = true
  s.others = others_of(s)
end

-- What is there when the verb could not go on in the middle of its writes.
local function begin(s)
  local writes = 0
  assert(run(s))
  for _, e in ipairs(s.system:log()) do
    writes = writes + (e.call == "pwritev" and 1 or 0)
  end
  for n = writes // 2 + 1, 2 * writes do
    run(s, function(system)
      system:fail{ call = "pwritev", nth = (n - 1) % writes + 1, times = 0 }
      if n > writes then -- what needs no undoing, but for the time
        system:fail{ call = "futimens", nth = 2, times = 0 }
      end
    end)
    if table.concat(powerloss.names(s.found), " "):find("lvhd%-journal") then
      s.start = take_files(s)
      return
    end
  end
  error("no note stays", 0)
end

local function with_place(scenario, use, volume)
  bench.with(scenario, function(b)
    local system = test.system()
    local s = setmetatable({ scenario = scenario, bench = b, what = b.what,
      dir = b.dir, found = b.found, system = system, judge = judge_place,
      seen = {},
      engine = lvhd.engine{ threads = 1, system = system:pointer() },
      changed = true, reset = reset_place, refusals = REFUSALS,
      act = function(self)
        local mark
        self.progress, mark = bench.progress()
        return pcall(scenario.act, self.engine, self.found, mark)
      end }, { __index = methods })
    mount(s, volume)
    local ok, err = pcall(function()
      if scenario.begun then
        begin(s)
      end
      for _ = 1, 2 do -- the first one brings code and memory
        local good, why = run(s)
        assert(good, why)
      end
      remember_calls(s)
      use(s)
    end)
    system:drop()
    s.engine:close()
    local open = unmount(s)
    if not ok or open then
      error(not ok and err or open, 0)
    end
  end)
end

---Runs use(s), where s.calls are the calls of the undisturbed verb.
---@param volume "tmpfs"|"btrfs"|nil of its own
function sweep.with(scenario, use, volume)
  if scenario.kind then
    with_apart(scenario, use, volume)
  else
    with_place(scenario, use, volume)
  end
end

return sweep
