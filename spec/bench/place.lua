-- SPDX-License-Identifier: MIT
--
-- What the benchmarks of many files share: a fresh place for a case, programs
-- that print figures, medians.  Knows nothing of what is measured.

local support = require "spec.support"

local place = {}

local PLAIN = os.getenv("LVHD_BENCH_PLAIN") or not support.is_root()
local SPACE <const> = 24 << 30 -- of the file system of a case; sparse
local q = support.q

place.ROUNDS = math.max(9, tonumber(os.getenv("LVHD_BENCH_ROUNDS")) or 9)
place.ONLY = os.getenv("LVHD_BENCH_ONLY") or ""

---The middle of a list of numbers.
function place.median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local half = #sorted // 2
  return #sorted % 2 == 1 and sorted[half + 1]
    or (sorted[half] + sorted[half + 1]) / 2
end

---What "key=1.5 other=2" says.
function place.numbers(line)
  local found = {}
  for key, value in line:gmatch("(%w+)=([%d.]+)") do
    found[key] = tonumber(value)
  end
  return found
end

---Files a second of a program that prints files= and wall=, and all it prints.
function place.rate(command)
  local got = place.numbers(support.run(command))
  return got.files / got.wall, got
end

local folders = 0
---A new folder in root.
function place.fresh(root)
  folders = folders + 1
  local folder = ("%s/%05d"):format(root, folders)
  support.run("mkdir " .. q(folder))
  return folder
end

---A parent of so many bytes and a child of it, the template of the floor.
---@return string parent, string template
function place.parent(root, size)
  local lvhd = require "lvhd"
  local folder = place.fresh(root)
  local parent, template = folder .. "/parent.vhd", folder .. "/template.vhd"
  lvhd.create_dynamic(parent, size):wait()
  lvhd.create_differencing(template, parent):wait()
  return parent, template
end

---Calls use(folder) in a new ext4, which is gone afterwards; or in the scratch
---folder itself, which is emptied.  Returns what use returns.
function place.with(scratch, use)
  local image, mount = scratch .. "/disk.img", scratch .. "/mnt"
  if PLAIN or not support.sh(("mkdir -p %s && truncate -s %d %s && mkfs.ext4"
    .. " -q -F -N 1000000 -E lazy_itable_init=0,lazy_journal_init=0 %s"
    .. " && mount -o loop %s %s"):format(q(mount), SPACE, q(image), q(image),
    q(image), q(mount))) then
    return use(scratch)
  end
  local got = table.pack(xpcall(use, debug.traceback, mount))
  support.run(("umount %s && rm %s"):format(q(mount), q(image)))
  if not got[1] then
    error(got[2], 0)
  end
  return table.unpack(got, 2, got.n)
end

---Runs body(scratch folder) and cleans up; ends the program when it fails.
function place.main(body)
  local ok, err = xpcall(function()
    body(support.tmpdir())
  end, debug.traceback)
  support.clean()
  if not ok then
    io.stderr:write(err, "\n")
    os.exit(1)
  end
end

---"1.2 1.0": how much else runs.
function place.load()
  return support.read("/proc/loadavg"):match("^%S+ %S+")
end

return place
