-- SPDX-License-Identifier: MIT
--
-- Each option of each verb, by what it does; and each exit code. The last test
-- looks which of the command's words and codes none of these runs has used.

local command = require "spec.support.command"
local exits = require "lvhd.command.exits"
local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"
local verbs = require "lvhd.command.verbs"

local MiB <const> = 1 << 20
local q = support.q
local cmd, fine, fails = command.cmd, command.fine, command.fails

local dir

-- golden <- sub/leaf, which others than its own folder has the parent of
before_each(function()
  dir = support.tmpdir()
  command.at(dir)
  lvhd.create_dynamic(dir .. "/golden.vhd", 64 * MiB):wait()
  lvhd.create_differencing(dir .. "/sub/leaf.vhd", dir .. "/golden.vhd"):wait()
  lvhd.create_dynamic(dir .. "/lone.vhd", 64 * MiB):wait()
  support.write(dir .. "/in", ("lvhd"):rep(MiB))
end)

local function info(name)
  return lvhd.info(dir .. "/" .. name)
end

local function there(name)
  return test.stat(dir .. "/" .. name)
end

-- Makes a disk without the command.
local function fresh(name, parent)
  os.remove(dir .. "/" .. name)
  if parent then
    lvhd.create_differencing(dir .. "/" .. name, dir .. "/" .. parent):wait()
  else
    lvhd.create_dynamic(dir .. "/" .. name, 64 * MiB):wait()
  end
end

local function bytes(name, offset, length)
  local disk <close> = lvhd.open(dir .. "/" .. name, { parents = dir })
  return disk:read(offset, length)
end

describe("create", function()
  it("--drive --mode --block-size --json --progress --sync", function()
    local code, out, err = cmd([[create 'C:\new\a.vhd' 64MiB --drive C=.]]
      .. " --mode 0640 --block-size 512KiB --json --progress json --sync none")
    assert.equal(0, code, err)
    assert.matches('"block_size":524288', out, 1, true)
    assert.matches('^{"progress":{', err)
    assert.equal(tonumber("640", 8), there("new/a.vhd").mode & 511)
  end)

  it("--host-names and --long-paths lift limits", function()
    fails(3, "create 'a?.vhd' 64MiB", "E_INVALID_NAME")
    fine "create 'a?.vhd' 64MiB --host-names"
    assert.is_truthy(there "a?.vhd")
    local long = ("d"):rep(120) .. "/" .. ("e"):rep(120) .. "/a.vhd"
    fails(3, "create " .. long .. " 64MiB", "E_BUFFER_OVERFLOW")
    fine("create " .. long .. " 64MiB --long-paths")
    assert.is_truthy(there(long))
  end)

  it("--fixed --allocate --filesystem --label", function()
    fine("create f.vhd 4MiB --fixed --allocate zero --filesystem fat16"
      .. " --label DATA --sync data")
    assert.is_true(there("f.vhd").blocks * 512 >= 4 * MiB)
    assert.matches("DATA", support.read(dir .. "/f.vhd"), 1, true)
  end)

  it("--parent --children --first --keep -q -n", function()
    local words = "create 'k%d.vhd' --parent golden.vhd --children 2 --first 5"
    assert.matches("^would make: 2 children", fine(words .. " -n"))
    assert.is_nil(there "k5.vhd")
    assert.equal("", fine(words .. " -q"))
    assert.is_truthy(there "k6.vhd")
    fails(5, words, "made 0 of 2")
    fails(5, words .. " --dry-run", "would make 0 of 2")
    assert.matches("^made: 0 children.*, 2 were there\n$",
      fine(words .. " --keep"))
    assert.equal("nothing to do: 2 children are there\n",
      fine(words .. " --keep -n"))
    assert.matches("^would make: 2 .- beside 1 that are there\n .-k7.vhd\n",
      fine("create 'k%d.vhd' --parent golden.vhd --children 3 --first 6 --keep "
      .. "-n"))
    assert.is_nil(there "k7.vhd")
  end)
end)

describe("the verbs that ask:", function()
  it("info --json --drive", function()
    assert.matches('"type":"dynamic"',
      fine [[info 'C:\golden.vhd' --drive C=. --json]], 1, true)
  end)

  it("chain --parents --json --drive", function()
    local code, out = cmd "chain sub/leaf.vhd --json"
    assert.equal(6, code)
    assert.matches('"exit":6,"ok":false', out, 1, true)
    assert.matches('"ok":true',
      fine "chain sub/leaf.vhd --parents . --json", 1, true)
    fine [[chain 'C:\sub\leaf.vhd' --parents 'C:\' --drive C=.]]
  end)

  it("children --json --progress -q --drive", function()
    local code, out, err = cmd "children golden.vhd --json --progress json"
    assert.equal(0, code)
    assert.matches("sub/leaf.vhd", out, 1, true)
    assert.matches('"percent":100', err, 1, true)
    assert.matches("leaf.vhd",
      fine [[children 'C:\golden.vhd' 'C:\sub' --drive C=. -q]], 1, true)
  end)

  it("check --chain --data --profile --parents --json --progress -q --drive",
    function()
      local out = fine("check sub/leaf.vhd --chain --parents . --data --json")
      assert.matches("golden.vhd", out, 1, true)
      assert.matches("error: ", select(2, cmd(
        "check lone.vhd --profile azure -q --progress none")))
      fine [[check 'C:\golden.vhd' --drive C=.]]
    end)

  it("map --parents --svg --width --no-color --json --drive", function()
    assert.matches("1 |............|", fine("map sub/leaf.vhd --parents . "
      .. "--width 12 --no-color", "LC_ALL=C"), 1, true)
    assert.matches('"unwritten":67108864', fine "map lone.vhd --json", 1, true)
    fine [[map 'C:\lone.vhd' --drive C=. --svg 'C:\m.svg']]
    assert.equal(support.read(dir .. "/m.svg"), fine "map lone.vhd --svg -")
    fails(2, "map lone.vhd --svg - --json >/dev/null", "both would go")
    fails(4, "map lone.vhd --svg none/m.svg", "E_PATH_NOT_FOUND.-none/m.svg'")
    fails(6, "map lone.vhd --svg /sys/m.svg", "E_ACCESSDENIED.-'/sys/m.svg'")
    fails(5, "map lone.vhd --svg m.svg", "E_ALREADY_EXISTS.-m.svg'")
    fails(5, "map lone.vhd --svg .", "E_ALREADY_EXISTS")
  end)

  it("read --parents --offset --length --progress -q --drive", function()
    fresh "r.vhd"
    fine("write r.vhd", "<in")
    local code, out, err = cmd("read r.vhd --offset 1KiB --length 3MiB "
      .. "--progress json")
    assert.equal(0, code)
    assert.equal(3 * MiB, #out)
    assert.matches('"bytes":3145728,"bytes_total":3145728,"percent":100', err,
      1, true)
    assert.matches("\r%[#+%] 100 %%  3 MiB of 3 MiB\r +\r$",
      select(3, cmd "read r.vhd --length 3MiB --progress bar"))
    assert.matches("\r%d MiB\r +\r$",
      select(3, cmd("write r.vhd --progress bar", "<in")))
    assert.equal("lvh", fine [[read 'C:\r.vhd' --length 3 -q --drive C=.]])
    assert.equal(("\0"):rep(9), fine("read sub/leaf.vhd --parents . "
      .. "--offset 67108855"))
    fails(3, "read r.vhd --offset 64MiB",
      "E_INVALIDARG %(0x80070057%): read '.-r.vhd': %-%-offset: the disk has "
      .. "67108864 bytes.-67108864")
  end)
end)

describe("write", function()
  it("--offset --sync --progress --json -q --drive --parents", function()
    local code, out, err = cmd("write sub/leaf.vhd --parents . --offset 8KiB"
      .. " --sync none --json --progress json", "<in")
    assert.equal(0, code, err)
    assert.matches('"bytes":4194304,"offset":8192', out, 1, true)
    assert.matches('^{"progress":{"bytes":', err)
    assert.equal("lvhd", bytes("sub/leaf.vhd", 8192, 4))
    assert.equal("", fine([[write 'C:\lone.vhd' --drive C=. -q]], "<in"))
  end)

  it("-n looks where it would begin, --children-in and --force", function()
    fresh "p.vhd"
    fresh("far/c.vhd", "p.vhd")
    assert.matches("^would write: dynamic.-, from byte 512 on\n$",
      fine "write p.vhd --offset 512 -n --force")
    fails(7, "write p.vhd -n --children-in far", "far/c.vhd")
    fails(7, "write p.vhd --children-in far", "far/c.vhd")
    fine("write p.vhd --force --children-in far", "<in")
    for _, words in ipairs { "write p.vhd --offset 64MiB",
      "write p.vhd --offset 64MiB -n" } do
      fails(3, words, "nothing can be written from byte 67108864 on")
    end
  end)
end)

describe("convert and flatten", function()
  it("--from --to --round --allocate", function()
    support.write(dir .. "/odd.raw", ("x"):rep(5 * MiB + 7))
    fine("convert odd.raw odd.vhd --from raw --to fixed --round 1MiB"
      .. " --allocate zero --sync none")
    assert.equal(6 * MiB, info("odd.vhd").size)
    assert.matches("^made: raw, 64 MiB, file of 64 MiB, [%d. KMiB]+ on the "
      .. "volume: ", fine "convert lone.vhd lone.raw --to raw")
  end)

  it("--parent --block-size --mode --parents --json --progress", function()
    fine "convert golden.vhd d.vhd --to differencing --parent golden.vhd -q"
    assert.equal("differencing", info("d.vhd").type)
    os.remove(dir .. "/d.vhd")
    local code, out = cmd("convert sub/leaf.vhd b.vhd --parents . --mode 0600 "
      .. "--block-size 512KiB --json --progress json")
    assert.equal(0, code)
    assert.matches('"block_size":524288', out, 1, true)
    assert.equal(tonumber("600", 8), there("b.vhd").mode & 511)
  end)

  it("--host-names --long-paths --drive -n", function()
    fine "convert lone.vhd 'x|.vhd' --host-names"
    fine("convert lone.vhd " .. ("l"):rep(200) .. "/" .. ("m"):rep(200)
      .. " --long-paths")
    assert.matches("^would make: fixed: .-/new.vhd\n  of: dynamic",
      fine [[convert 'C:\lone.vhd' new.vhd --to fixed --drive C=. -n]])
    assert.is_nil(there "new.vhd")
  end)

  it("flatten has the same", function()
    fine("write sub/leaf.vhd --parents . --offset 8KiB -q", "<in")
    local code, out, err = cmd("flatten sub/leaf.vhd flat.vhd --parents . "
      .. "--to dynamic --block-size 512KiB --mode 0600 --sync data --json "
      .. "--progress json")
    assert.equal(0, code, err)
    assert.matches('"block_size":524288', out, 1, true)
    assert.equal(tonumber("600", 8), there("flat.vhd").mode & 511)
    assert.equal("lvhd", bytes("flat.vhd", 8192, 4))
    fine([[flatten 'C:\sub\leaf.vhd' 'f|.vhd' --parents 'C:\' --drive C=. ]]
      .. "--host-names -q")
    fine("flatten sub/leaf.vhd " .. ("n"):rep(200) .. "/" .. ("o"):rep(200)
      .. " --parents . --long-paths")
    assert.matches("^would make: raw: ",
      fine "flatten sub/leaf.vhd new.vhd --to raw --parents . -n")
    assert.is_nil(there "new.vhd")
  end)
end)

describe("the verbs that change:", function()
  local COMMON <const> = " --json --progress json --sync none"

  local function common(words)
    local code, out, err = cmd(words .. COMMON)
    assert.equal(0, code, err)
    assert.matches('"ok":true', out, 1, true)
    return out
  end

  it("merge --into --child --delete --parents --children-in --force -n -q "
    .. "--drive", function()
      fresh "m1.vhd"
      fresh("m2/m2.vhd", "m1.vhd")
      fresh("m2/m3.vhd", "m2/m2.vhd")
      lvhd.open(dir .. "/m2/m3.vhd", { write = true, parents = dir })
        :write(0, "x"):close()
      fresh("m2/m4.vhd", "m2/m3.vhd")
      fails(10, "merge m1.vhd -n", "VM_E_WRONG_HD_IMAGE_TYPE")
      fails(6, "merge m2/m2.vhd -n", "E_ACCESSDENIED")
      assert.matches("^would merge: .-m3.vhd\n  into: .-m1.vhd\n$", fine(
        "merge m2/m3.vhd -n --parents . --into m1.vhd"))
      common("merge m2/m3.vhd --parents . --into m1.vhd --child m2/m4.vhd"
        .. " --delete")
      assert.is_nil(there "m2/m3.vhd")
      assert.equal(dir .. "/m1.vhd", lvhd.chain(dir .. "/m2/m4.vhd",
        { parents = dir })[2].path)
      fresh("m5.vhd", "m1.vhd")
      fails(7, "merge m5.vhd --children-in m2", "m4.vhd")
      assert.equal("", fine [[merge 'C:\m5.vhd' --force -q --drive C=.]])
    end)

  it("compact", function()
    fresh "z.vhd"
    do
      local disk <close> = lvhd.open(dir .. "/z.vhd", { write = true })
      disk:write(0, "x"):write(0, "\0")
    end
    assert.matches("^would compact: ", fine "compact z.vhd -n")
    assert.equal(1, info("z.vhd").blocks_used)
    assert.matches('"blocks_used":0', common "compact z.vhd", 1, true)
    assert.matches("^nothing to do: ", fine "compact z.vhd -n")
    fine "compact sub/leaf.vhd --parents ."
    assert.equal("", fine [[compact 'C:\z.vhd' --drive C=. --force -q]])
  end)

  it("resize", function()
    fresh "s.vhd"
    fresh("s-far/c.vhd", "s.vhd")
    fails(7, "resize s.vhd 128MiB -n --children-in s-far", "c.vhd")
    assert.matches("^would resize: .-, to 128 MiB\n$",
      fine "resize s.vhd 128MiB -n --force")
    os.remove(dir .. "/s-far/c.vhd")
    common "resize s.vhd 128MiB --children-in s-far"
    assert.equal("", fine [[resize 'C:\s.vhd' 64MiB --drive C=. -q --force]])
    assert.equal(64 * MiB, info("s.vhd").size)
  end)

  it("relink", function()
    fresh "t.vhd"
    fresh("t2/c.vhd", "t.vhd")
    os.rename(dir .. "/t.vhd", dir .. "/t3.vhd")
    fails(10, "relink t2/c.vhd lone.vhd -n", "PARENT_CHILD_ID_MISMATCH")
    assert.matches("^would relink: .-c.vhd\n  to: dynamic.-t3.vhd\n$",
      fine "relink t2/c.vhd t3.vhd -n")
    common "relink t2/c.vhd t3.vhd --parents ."
    fine "chain t2/c.vhd --parents ."
    assert.equal("",
      fine [[relink 'C:\t2\c.vhd' lone.vhd --force -q --drive C=.]])
    assert.equal(info("lone.vhd").uuid, info("t2/c.vhd").parent.uuid)
  end)

  it("repair", function()
    fresh "u.vhd"
    local file <close> = assert(io.open(dir .. "/u.vhd", "r+b"))
    file:write "broken!!" -- the footer's copy
    file:close()
    assert.matches("^would repair: .-u.vhd\n  [a-z]+: [A-Z_]+: ",
      fine "repair u.vhd -n")
    common "repair u.vhd"
    assert.matches("^nothing to do", fine "repair u.vhd -n")
    assert.equal("", fine [[repair 'C:\u.vhd' --drive C=. --force -q]])
  end)
end)

describe("--sync", function()
  -- strace and the sanitizers' look for leaks exclude each other
  it("says what is waited for #nosan", function()
    if not support.has "strace"
      or not support.sh "strace -qqo /dev/null true" then
      pending("strace is not installed, or not permitted")
      return
    end
    local function flushes(words)
      local log = dir .. "/log"
      support.run(("cd %s && strace -f -o %s -e trace=fsync,fdatasync,syncfs"
        .. " env %s %s -q"):format(q(dir), q(log), command.COMMAND, words))
      local _, n = support.read(log):gsub("sync[fs]*%(", "")
      return n
    end
    local full = flushes "create y.vhd 64MiB --sync full"
    local data = flushes "create y2.vhd 64MiB --sync data"
    assert.is_true(full > data and data > 0, full .. " " .. data)
    assert.equal(0, flushes "create y3.vhd 64MiB --sync none")
    assert.is_true(flushes "resize y.vhd 80MiB" > 0)
    assert.equal(0, flushes "resize y2.vhd 80MiB --sync none")
    assert.is_true(flushes "write y.vhd < in" > 0)
    assert.equal(0, flushes "write y2.vhd --sync none < in")
  end)
end)

describe("version", function()
  it("--json", function()
    assert.matches(('"version":"%s"'):format(lvhd.version),
      fine "version --json", 1, true)
  end)
end)

describe("sizes", function()
  it("as people write them", function()
    for word, size in pairs { ["4M"] = 4 * MiB, ["4MB"] = 4 * MiB,
      ["4MiB"] = 4 * MiB, ["4mib"] = 4 * MiB, ["' 4 MiB '"] = 4 * MiB,
      ["4194304"] = 4 * MiB, ["4096K"] = 4 * MiB, ["127g"] = 127 << 30,
      ["1.5T"] = 1536 << 30, ["1.5G"] = 1536 * MiB } do
      assert.matches(('"size":%d,'):format(size),
        fine("create size.vhd " .. word .. " -n --json"), 1, true)
    end
  end)

  it("that cannot be read are said to be so", function()
    for word, pattern in pairs { ["0x400000"] = "'0x400000' given",
      ["1e9"] = "'1e9' given", ["4MiB."] = "'4MiB%.' given",
      ["1,5G"] = "'1,5G' given", ["''"] = "expected, '' given",
      ["-- -5M"] = "'%-5M' given",
      ["1.3T"] = "'1.3T' is no whole number of bytes: in the next smaller unit"
        .. " about 1331" } do
      fails(2, "create size.vhd " .. word, pattern)
    end
  end)

  it("that cannot be had: a guess only where there is no unit", function()
    assert.matches('did you mean "40960 MiB"',
      fails(3, "create size.vhd 40960", "VM_E_IMAGE_SIZE_TOO_SMALL"), 1, true)
    for word, pattern in pairs { ["40KB"] = "TOO_SMALL", ["512B"] = "TOO_SMALL",
      ["4T"] = "TOO_LARGE", ["99999999999999999999"] = "TOO_LARGE",
      ["0"] = "not positive", ["0M"] = "not positive",
      ["4194305"] = "multiple of 512" } do
      assert.is_nil(fails(3, "create size.vhd " .. word, pattern)
        :find("did you mean", 1, true))
    end
  end)
end)

describe("exit codes", function()
  local function ends(code, script)
    command.runs[#command.runs + 1] = { words = "", code = code }
    local _, _, got = os.execute(("cd %s && { %s; } >/dev/null 2>&1"):format(
      q(dir), script))
    if got == 77 then
      pending "this host knows no filters of system calls"
      return
    end
    assert.equal(code, got, script)
  end

  -- EMFILE of every openat2; no fallocate
  local WITHOUT <const> = ("%s/%s/spec/without %%s -- env %s %%s"):format(
    test.cwd(), os.getenv("LVHD_BUILD") or "build",
    command.COMMAND:gsub("%%", "%%%%"))

  it("4: there is no such file", function()
    fails(4, "info none.vhd", "E_PATH_NOT_FOUND")
    fails(4, "create c.vhd --parent none.vhd -n", "E_PATH_NOT_FOUND")
  end)

  it("1: standard output is full", function()
    assert.equal(1, (cmd "info lone.vhd >/dev/full"))
  end)

  it("8: the volume is too small", function()
    command.runs[#command.runs + 1] = { words = "", code = 8 }
    if info("lone.vhd").free > 2000 << 30 then
      pending "there is room for all that a disk may be"
      return
    end
    fails(8, "create big.vhd 2000GiB --fixed --allocate zero", "E_DISK_FULL")
    fails(8, "create big.vhd 2000GiB --fixed --allocate zero -n",
      "E_DISK_FULL")
  end)

  it("9: no disk", function()
    fails(9, "info in", "VM_E_INVALID_HD_FILE")
  end)

  it("11: no descriptors are left", function()
    ends(11, WITHOUT:format("openat2=EMFILE", "chain sub/leaf.vhd --parents ."))
  end)

  it("12: the volume cannot reserve", function()
    ends(12, WITHOUT:format("fallocate", "create res.vhd 4MiB --fixed "
      .. "--allocate reserve"))
  end)

  it("130: interrupted", function()
    ends(130, (": >err; env %s create big.vhd 8GiB --fixed --sync none"
      .. " --allocate zero --progress json 2>err & p=$!;"
      .. " while ! grep -q bytes err; do sleep 0.02; done; kill -INT $p;"
      .. " wait $p"):format(command.COMMAND))
    assert.is_nil(there "big.vhd")
  end)
end)

describe("none of the command's words", function()
  local used, codes = {}, {}

  setup(function()
    for _, run in ipairs(command.runs) do
      local verb = run.words:match("^%w+") or ""
      codes[run.code] = true
      for word in run.words:gmatch("%-%-?[%w-]+") do
        used[verb .. " " .. word] = true
      end
      used[verb] = true
    end
  end)

  it("is without a run above: verbs and options", function()
    local unused = {}
    for _, verb in ipairs(verbs.list) do
      for _, row in ipairs(verb.options) do
        local any = false
        for word in row.words:gmatch("%S+") do
          any = any or used[verb.name .. " " .. word]
        end
        unused[#unused + 1] = not any and verb.name .. " " .. row.words or nil
      end
      unused[#unused + 1] = not used[verb.name] and verb.name or nil
    end
    assert.same({}, unused)
  end)

  it("is without a run above: exit codes", function()
    local unused = {}
    for _, class in ipairs(exits.classes) do
      unused[#unused + 1] = not codes[class[1]] and class[1] or nil
    end
    assert.same({}, unused)
  end)
end)
