-- SPDX-License-Identifier: MIT
--
-- make demo [KEEP=folder]: the main job on real input, with other programs
-- as judges.  mke2fs builds a file system out of this project's own files,
-- qemu-img makes it a golden VHD, lvhd creates a dozen children of it, and
-- 7-Zip reads every child back.  Uses lvhd as any program would: through its
-- public functions only.

local lvhd = require "lvhd"

local CHILDREN = 12
local SIZE = "64M" -- of the file system, for mke2fs

-- ---- small helpers ----------------------------------------------------

local function q(word) return "'" .. word:gsub("'", [['\'']]) .. "'" end

---The output of a shell command that must succeed.
local function run(command)
  local pipe <close> = assert(io.popen("PATH=$PATH:/usr/sbin:/sbin; { "
    .. command .. "\n} 2>&1"))
  local output = pipe:read("a")
  if not pipe:close() then
    error(("this command failed:\n  %s\n%s"):format(command, output), 0)
  end
  return (output:gsub("\n$", ""))
end

local is_terminal = os.execute("test -t 1")

local function say(...)
  io.write(string.format(...), "\n")
  io.flush()
end

local function step(number, ...)
  say("\n%d. %s", number, string.format(...))
end

---A line that is drawn over itself on a terminal, and once elsewhere.
local function progress(last, done, all, note)
  if not (is_terminal or last) then return end
  local width = 30
  local full = done * width // all
  io.write(is_terminal and "\r" or "", "   [", ("#"):rep(full),
    ("."):rep(width - full), ("] %2d of %d  %s"):format(done, all, note),
    last and "\n" or "")
  io.flush()
end

local function bytes(n)
  if n < 1 << 20 then return ("%.1f KiB"):format(n / (1 << 10)) end
  return ("%.1f MiB"):format(n / (1 << 20))
end

-- ---- the demo ---------------------------------------------------------

---A file system with this project's own sources in it.
local function build_golden(folder)
  local files, raw = folder .. "/files", folder .. "/golden.img"
  local golden = folder .. "/golden.vhd"
  run(("mkdir %s && cp -r Makefile lvhd src spec %s"):format(q(files),
    q(files)))
  run(("mke2fs -q -t ext4 -L golden -d %s %s %s"):format(q(files), q(raw),
    SIZE))
  local count = run("find " .. q(files) .. " -type f | wc -l")
  step(1, "mke2fs: a file system of %sB with %s real files in it", SIZE,
    count)
  run(("qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on"
    .. " %s %s"):format(q(raw), q(golden)))
  step(2, "qemu-img: golden.vhd, a dynamic VHD that lvhd did not write")
  return raw, golden
end

---Starts all creations, then waits for them with a progress line.  All in
---one folder: 7-Zip follows a parent locator only where it has no "..".
local function create_children(folder, golden)
  step(3, "lvhd: %d differencing disks of it, each a task", CHILDREN)
  local tasks = {}
  for i = 1, CHILDREN do
    local image = ("%s/web%02d.vhd"):format(folder, i)
    tasks[i] = lvhd.create_differencing(image, golden)
  end

  local done = 0
  while done < CHILDREN do
    progress(false, done, CHILDREN, tasks[done + 1]:status() .. "   ")
    if tasks[done + 1]:wait(0.1) then done = done + 1 end
  end
  progress(true, done, CHILDREN, "created   ")
  return tasks
end

local function show(folder, tasks)
  local row = "   %-15s %10s %10s  %-15s %8s"
  say("\n" .. row, "path", "size", "file size", "parent", "ms")
  for _, task in ipairs(tasks) do
    local info = task:wait()
    local function short(path) return (path:sub(#folder + 2)) end
    say(row, short(info.path), bytes(info.size), bytes(info.file_size),
      short(info.parent.path), ("%.1f"):format(task:elapsed() * 1000))
  end
end

---Of what a command prints; one that fails gets a sum that nothing has.
local function sha256(command)
  return run("{ " .. command .. " || echo failed; } | sha256sum")
    :match("^%x+")
end

---What 7-Zip reads from a VHD, its parents included.  -tvhd: else it goes on
---into the file system inside.
local function seven_zip(image)
  return sha256("7zz x -tvhd -so " .. q(image) .. " 2>/dev/null")
end

---Number of disks that do not read as the file system that went in.
local function compare(raw, golden, tasks)
  step(4, "7-Zip: does every child read exactly as the golden image?\n")
  local want = sha256("cat " .. q(raw))
  say("   %-15s %s", "the file system", want)
  local wrong = 0
  local function judge(name, image)
    local got = seven_zip(image)
    local same = got == want
    if not same then wrong = wrong + 1 end
    say("   %-15s %s  %s", name, got, same and "same" or "DIFFERENT")
  end
  judge("golden.vhd", golden)
  for _, task in ipairs(tasks) do
    local path = task:wait().path
    judge(path:match("[^/]+$"), path)
  end
  return wrong
end

---The folder to work in, and whether it stays.
local function workplace()
  local keep = os.getenv("KEEP")
  if not keep or keep == "" then
    return run('readlink -f "$(mktemp -d "${TMPDIR:-/tmp}/lvhd-demo.XXXXXX")"')
  end
  run("mkdir -p " .. q(keep))
  if run("ls -A " .. q(keep)) ~= "" then
    error(("KEEP=%s: the folder is not empty"):format(keep), 0)
  end
  return run("readlink -f " .. q(keep)), true
end

local function main(folder)
  say("lvhd %s: a golden image and its children, in %s", lvhd.version, folder)
  local raw, golden = build_golden(folder)
  local tasks = create_children(folder, golden)
  show(folder, tasks)
  local wrong = compare(raw, golden, tasks)
  if wrong > 0 then
    error(("%d of %d disks read differently"):format(wrong, CHILDREN + 1), 0)
  end
end

local folder, keep
local ok, err = xpcall(function()
  folder, keep = workplace()
  main(folder)
end, function(e)
  -- Errors of lvhd and of this program's commands say enough; anything else
  -- is a mistake in here, and wants its traceback.
  if lvhd.is_error(e) or not tostring(e):find("^[^\n]*%.lua:%d+:") then
    return tostring(e)
  end
  return debug.traceback(e)
end)

if folder and keep then
  say("\nkept: %s (golden.vhd, web01.vhd, ...)", folder)
elseif folder then
  run("rm -rf " .. q(folder))
end
if ok then
  say("\nOK: all %d children read exactly as the golden image.", CHILDREN)
else
  say("\nFAILED: %s", err)
end
os.exit(ok, true)
