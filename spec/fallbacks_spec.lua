-- SPDX-License-Identifier: MIT
--
-- Hosts that lack something: older kernels, filters of system calls, volumes
-- that cannot, no /proc.  The same specs run there, in processes whose calls
-- the kernel itself refuses (spec/c/without.c): a short one in each world
-- here, many of them in the slow tests.  Ways to publish, one by one, are in
-- spec/atomic_spec.lua.

local support = require "spec.support"
local worlds = require "spec.support.worlds"

-- Specs that make files, and that change them.
local MAKING <const> = { "paths", "options", "convert", "regress",
  "children_of_many" }
local CHANGING <const> = { "write", "merge", "compact", "resize", "repair",
  "journal" }

---What is missing, for spec/c/without.c; the calls that fail for it, and how;
---the specs that are to be run there.
local list = {
  { "no openat2", "openat2", { "openat2 ENOSYS" },
    { "paths", "parent", "find", "containment", "drives", "merge" } },
  { "openat2 is forbidden", "openat2=EPERM", { "openat2 EPERM" },
    { "paths", "parent", "find" } },
  { "no O_TMPFILE", "tmpfile", { "openat EOPNOTSUPP" }, MAKING },
  { "no O_TMPFILE, no renameat2", "tmpfile=EISDIR renameat2",
    { "openat EISDIR", "renameat2 EINVAL" }, MAKING }, -- (glibc's errno)
  { "unnamed files get no name", "link", { "linkat EPERM" }, MAKING },
  { "no AT_EMPTY_PATH", "empty_path", { "linkat ENOENT" },
    { "paths", "options", "regress" } },
  { "no /proc", "proc", { "readlinkat ENOENT" },
    { "paths", "parent", "find", "options", "names", "regress" } },
  { "no /proc, no AT_EMPTY_PATH", "proc empty_path",
    { "readlinkat ENOENT", "linkat ENOENT" }, MAKING },
  { "no OFD locks", "ofd", { "getlk EINVAL", "setlk EINVAL" }, CHANGING },
  { "no SEEK_DATA", "holes", { "lseek EINVAL" },
    { "convert", "disk", "compact" } },
  { "a volume that helps with nothing", "copy clone fallocate syncfs send",
    -- (syncfs is not called where much of other programs' is unwritten)
    { "clone EOPNOTSUPP", "fallocate EOPNOTSUPP", "send ENOSYS",
      "sync_file_range ENOSYS" },
    { "options", "convert", "filesystem", "write", "merge", "compact",
      "resize" } },
  { "none of all this", "tmpfile openat2 renameat2 empty_path copy clone ofd"
    .. " fallocate syncfs send proc",
    { "clone EOPNOTSUPP", "fallocate EOPNOTSUPP", "getlk EINVAL",
      "openat EOPNOTSUPP", "openat2 ENOSYS", "readlinkat ENOENT",
      "renameat2 EINVAL", "send ENOSYS", "setlk EINVAL",
      "sync_file_range ENOSYS" },
    { "paths", "options", "convert", "regress", "children_of_many", "parent",
      "find", "names", "size", "relink", "write", "merge", "compact", "resize",
      "repair", "journal", "containment", "drives", "locators" } },
}

-- Tests that ask for just what is missing: the word, the spec, their names.
local leave = {
  -- locks: nobody is told of others
  { "ofd", "write", "is written by one alone", "while someone reads it",
    "keeps qemu%-img away" },
  { "ofd", "merge", "refused while" },
  { "ofd", "compact", "refuses a disk that someone has open" },
  { "ofd", "resize", "refuses a disk that a saved state" },
  { "ofd", "repair", "refuses a file that someone has open" },
  { "ofd", "relink", "someone has open" },
  { "ofd", "journal", "beside a live writer" },
  { "ofd", "parent", "in use" },
  { "ofd", "children_of_many", "by its lock" },
  { "ofd", "regress", "a parent being written is refused",
    "locks on a parent" },
  { "ofd", "convert", "that someone writes" },
  -- files without a name, which are then given one
  { "tmpfile", "regress", "cannot link unnamed files",
    "below one that cannot be listed" },
  { "link", "regress", "cannot link unnamed files",
    "below one that cannot be listed" },
  { "empty_path", "regress", "cannot link unnamed files",
    "below one that cannot be listed" },
  -- by what calls a file is named, and what a kill leaves of one that has a
  -- name from the start
  { "tmpfile", "relink", "when calls fail, relink notes the header",
    "writes a third text where" },
  { "tmpfile", "repair", "writes no footer while" },
  { "tmpfile", "children_of_many", "kill %-9 leaves only whole files",
    "takes away the folders that it had made", "then, after the names" },
  -- a file that got no name is made once more, with one: the calls are twice
  { "link", "convert", "are not read", "much that is written",
    "shares the whole" },
  { "proc empty_path", "convert", "are not read", "much that is written",
    "shares the whole" },
  { "link", "children_of_many", "is not written for nothing",
    "what is flushed", "by the fault table", "kill %-9 leaves only" },
  { "proc empty_path", "children_of_many", "is not written for nothing",
    "what is flushed", "by the fault table", "kill %-9 leaves only" },
  -- together with what the test takes away nothing is left
  { "renameat2", "children_of_many", "made all the same: no" },
  -- space that is reserved, and what is sent off before a flush
  { "fallocate", "options", "'reserve' takes the space" },
  { "fallocate", "convert", "is reserved before" },
  { "fallocate", "compact", "moves holes as holes" },
  { "clone", "convert", "shares the whole" },
  { "send", "convert", "on its way to the disk before" },
  -- holes are found by reading: terabytes of them
  { "holes", "convert", "are not read", "2,040 GiB", "of any size" },
}

local function left_out(words, spec)
  local patterns = {}
  for _, row in ipairs(leave) do
    if (" " .. words .. " "):find("[ ]" .. row[1] .. "[ =]")
      and row[2] == spec then
      table.move(row, 3, #row, #patterns + 1, patterns)
    end
  end
  return patterns
end

-- Mounts inside of a test want what the programs of util-linux find in /proc.
local function options(words, spec)
  return { skip = words:find("proc") and "root" or nil,
    leave = left_out(words, spec) }
end

local function need(words)
  local proc = words:find("proc", 1, true)
  if proc and os.getenv("LVHD_SANITIZER") then
    pending("sanitizers need /proc themselves")
  elseif proc and not support.is_root() then
    pending("to hide /proc takes root")
  end
  local ok, said = support.sh(worlds.without(words) .. "true")
  if not ok then
    pending("cannot be had here: " .. said)
  end
end

for _, row in ipairs(list) do
  local name, words, failing, specs = table.unpack(row)

  describe(name, function()
    it("is what the engine meets", function()
      need(words)
      local dir = support.tmpdir()
      local said = support.run(worlds.without(words)
        .. "lua5.4 spec/support/lacking.lua " .. support.q(dir))
      for _, failure in ipairs(failing) do
        assert.truthy(("\n" .. said):find("\n" .. failure .. "\n", 1, true),
          failure .. " is not in\n" .. said)
      end
    end)

    -- A run of the model in which every verb has its turn.
    it("changes nothing for the model", function()
      need(words)
      worlds.judge(name, { before = worlds.without(words),
        set = { LVHD_SEED = "27", LVHD_STEPS = "14" } }, "model", {})
    end)

    for _, spec in ipairs(specs) do
      -- the last world in make test-long, all by make gate-fallbacks
      it(("changes nothing for spec/%s_spec.lua #slow #nosan%s"):format(spec,
        name == "none of all this" and "" or " #gate"), function()
          need(words)
          worlds.judge(name, { before = worlds.without(words) }, spec,
            options(words, spec))
        end)
    end
  end)
end
