-- SPDX-License-Identifier: MIT
--
-- Real volumes of every file system that this kernel has: the same specs,
-- with their scratch folders there.  A short one on each here, many of them
-- in the gate's own.  The mounts are those of a process (unshare), and end
-- with it, however it ends; so do their loop devices.  Takes root.

local support = require "spec.support"
local test = require "lvhdtest"
local worlds = require "spec.support.worlds"

local q = support.q

-- What is run on each by make gate-volumes; make test-long only fills them.
local SPECS <const> = { "model", "options", "paths", "convert",
  "children_of_many", "write", "merge", "compact", "resize", "repair",
  "relink", "locks", "journal", "regress", "filesystem" }

---A volume in a file: the program that makes it and its options; the size of
---a small one; options of mount.
---@return function (dir, size) the command that mounts it at dir/volume
local function image(mkfs, least, mount)
  return function(dir, size)
    if not support.has(mkfs:match("%S+")) then
      pending(mkfs:match("%S+") .. " is not installed")
    end
    local file = q(dir .. "/volume.img")
    support.run(("truncate -s %s %s && %s %s >/dev/null 2>&1"):format(
      size or least, file, mkfs, file))
    return ("mount -o loop %s %s %s"):format(mount or "", file,
      q(dir .. "/volume"))
  end
end

local ext4 = image("mke2fs -q -t ext4 -b 4096", "64M")

---The volume is the upper layer, and the lower one.
local function overlay(dir, size)
  local under = dir .. "/under"
  support.mkdir(under)
  local words = { VOLUME = q(dir .. "/volume"), UNDER = q(under) }
  return (ext4(dir, size):gsub("%S+$", words.UNDER))
    .. ((" && mkdir -p UNDER/lower UNDER/upper UNDER/work"
      .. " && mount -t overlay -o lowerdir=UNDER/lower,upperdir=UNDER/upper"
      .. ",workdir=UNDER/work overlay VOLUME"):gsub("%u+", words))
end

local volumes = {
  { "ext4", ext4 },
  -- files of 16 GiB at the most, times in whole seconds
  { "ext2, blocks of 1 KiB", image("mke2fs -q -t ext2 -b 1024 -I 128",
    "64M") },
  { "XFS", image("mkfs.xfs -q -m reflink=1", "310M") },
  { "XFS without reflink", image("mkfs.xfs -q -m reflink=0", "310M") },
  { "btrfs", image("mkfs.btrfs -q", "256M") },
  { "btrfs that compresses", image("mkfs.btrfs -q", "256M",
    "-o compress-force=zstd") },
  { "tmpfs", function(dir, size)
    return ("mount -t tmpfs -o size=%s tmpfs %s"):format(size or "64m",
      q(dir .. "/volume"))
  end },
  { "overlay on ext4", overlay },
  { "NTFS by FUSE", image("mkfs.ntfs -q -F -f", "64M",
    "-t ntfs-3g -o permissions") },
  { "FAT", image("mkfs.vfat", "64M", "-t vfat") },
}

-- Tests of what a volume has not: its name, spec, names.
local leave = {
  -- ext2 and NTFS give no space back inside of a file, and reserve none
  { "ext2", "compact", "moves holes as holes" },
  { "NTFS", "compact", "moves holes as holes" },
  { "ext2", "options", "'reserve' takes the space",
    "the end of the largest disk" },
  { "NTFS", "paths", "no UTF%-8" }, -- nor is any name there
  { "NTFS", "options", "'reserve' takes the space" },
  -- and ntfs-3g does not say where holes are: terabytes of them are read
  { "NTFS", "convert", "are not read", "2,040 GiB", "of any size" },
  { "NTFS", "resize", "makes the file shorter" },
  { "NTFS", "filesystem", "130000", "2088959",
    "made up for, a second writing too" }, -- FUSE lacks the other way, too
  -- FUSE has neither unnamed files nor renameat2's flag
  { "NTFS", "children_of_many", "made all the same: no",
    "kill %-9 leaves only" },
  { "NTFS", "repair", "while the other is not durable" },
  { "NTFS", "relink", "names that others cannot find", -- no UTF-8
    "notes the header, then", "a third text where a drive" },
  -- and a folder that is removed is gone for who has it open, too
  { "NTFS", "regress", "a relative parent is found again",
    "a name was missing once" },
  { "ext2", "convert", "is reserved before" },
  -- nor are there files of more than 16 GiB
  { "ext2", "convert", "2,040 GiB", "of any size", "sizes that no VHD has" },
  { "ext2", "write", "cost one block" },
  { "ext2", "resize", "makes the file shorter", "2040 GiB", "on 4 KiB",
    "batmap behind the new BAT", "too small to reach",
    "cancelled while blocks are moved" },
  { "ext2", "journal", "but huge" },
  { "ext2", "filesystem", "at most four blocks of 512 KiB" },
}

local function left_out(name, spec)
  local patterns = {}
  for _, row in ipairs(leave) do
    if name:find("^" .. row[1]) and row[2] == spec then
      table.move(row, 3, #row, #patterns + 1, patterns)
    end
  end
  return patterns
end

---The start of a command that finds the volume mounted at dir/volume.
local function inside(dir, mount, size)
  if not support.is_root() then
    pending("mounting needs root")
  end
  support.mkdir(dir .. "/volume")
  -- (with processes of its own: that of FUSE would keep its mount for ever)
  local command = "unshare -m -p --fork --kill-child --mount-proc"
    .. " --propagation private sh -c "
    .. q(mount(dir, size) .. " && exec \"$@\"") .. " sh "
  local ok, said = support.sh(command .. "true")
  if not ok then
    pending("cannot mount here: " .. said:match("[^\n]*"))
  end
  return command
end

local dir

-- (in memory, where there is some: no disk has to wait for what is flushed)
before_each(function()
  dir = support.tmpdir(test.stat("/dev/shm") and "/dev/shm")
end)

for _, volume in ipairs(volumes) do
  local name, mount = table.unpack(volume)

  local function judge(size, spec, set, opts)
    local command = inside(dir, mount, size)
    set.LVHD_TMPDIR = dir .. "/volume"
    worlds.judge(name, { before = command, set = set }, spec, opts)
  end

  describe("on " .. name, function()
    -- A run of the model in which every verb has its turn.
    it("the model holds #root", function()
      judge("1G", "model", { LVHD_SEED = "27", LVHD_STEPS = "14" }, {})
    end)

    for _, spec in ipairs(SPECS) do
      it(("spec/%s_spec.lua holds #root #slow #nosan #gate"):format(spec),
        function()
          judge("2G", spec, {}, { skip = "root",
            leave = left_out(name, spec) })
        end)
    end

    it("nothing is half done when it is full #root #slow #nosan", function()
      judge(nil, "spec/support/full.lua", {}, { leave = left_out(name,
        "full") })
    end)
  end)
end

describe("an overlay", function()
  -- What is changed goes to the upper layer, under the eyes of who has it
  -- open; a descriptor for reading keeps the file below.
  it("has its lower layer's disks changed as others are #root", function()
    local below = dir .. "/disks"
    support.mkdir(below)
    support.run("lua5.4 spec/support/lower.lua make " .. q(below))
    local made = support.run(("cd %s && sha256sum *"):format(q(below)))
    local command = inside(dir, function(at, size)
      return (overlay(at, size):gsub(" && mount %-t overlay", function(rest)
        return (" && cp -p %s/* %s/under/lower"):format(q(below), q(at))
          .. rest
      end))
    end, "64M")
    local said = support.run(command .. "sh -c " .. q(
      ("lua5.4 spec/support/lower.lua change %s && cd %s && sha256sum *")
        :format(q(dir .. "/volume"), q(dir .. "/under/lower"))))
    assert.equal("changed\n" .. made, said)
  end)
end)
