-- SPDX-License-Identifier: MIT
--
-- The command: each verb as a process of its own, by what it prints, leaves and
-- ends with; its words against help, completion and man page; its exit codes
-- against the table of errors.

local command = require "spec.support.command"
local exits = require "lvhd.command.exits"
local handmade = require "spec.support.handmade"
local json = require "lvhd.command.json"
local lvhd = require "lvhd"
local parser = require "lvhd.command.parser"
local say = require "lvhd.command.say"
local support = require "spec.support"
local test = require "lvhdtest"
local people = require "lvhd.command.text"
local verbs = require "lvhd.command.verbs"

local q = support.q
local MiB <const> = 1 << 20
local COMMAND = command.COMMAND
local cmd, fine, fails = command.cmd, command.fine, command.fails

local dir

before_each(function()
  dir = support.tmpdir()
  command.at(dir)
end)

local function info(name)
  return lvhd.info(dir .. "/" .. name)
end

describe("create", function()
  it("makes a dynamic disk, a fixed one, a child", function()
    assert.equal(("made: dynamic, 64 MiB, file of 2.50 KiB: %s/a.vhd\n")
      :format(dir), fine "create a.vhd 64MiB")
    fine "create f.vhd 4MiB --fixed --allocate zero -q"
    fine "create c.vhd --parent a.vhd"
    assert.equal("dynamic", info("a.vhd").type)
    assert.equal(64 * MiB, info("a.vhd").size)
    assert.equal("fixed", info("f.vhd").type)
    assert.equal(4 * MiB, test.stat(dir .. "/f.vhd").blocks * 512 // MiB * MiB)
    assert.equal(info("a.vhd").uuid, info("c.vhd").parent.uuid)
  end)

  it("makes many children, numbered", function()
    fine "create a.vhd 64MiB"
    assert.equal(("made: 3 children of %s/a.vhd\n"):format(dir),
      fine "create 'farm/w%03d%%.vhd' --parent a.vhd --children 3 --first 9")
    assert.same({ "w009%.vhd", "w010%.vhd", "w011%.vhd" },
      support.names(dir .. "/farm"))
  end)

  it("says which of many failed, and makes the rest", function()
    fine "create a.vhd 64MiB"
    fine "create w2.vhd 64MiB"
    local code, out, err = cmd "create w%d.vhd --parent a.vhd --children 3 --json"
    assert.equal(5, code)
    assert.truthy(err:find("E_ALREADY_EXISTS.-/w2.vhd'"))
    assert.truthy(err:find("made 2 of 3"))
    assert.truthy(out:find('"exit":5', 1, true))
    assert.truthy(out:find('"items":[{', 1, true))
    assert.same({ "a.vhd", "w1.vhd", "w2.vhd", "w3.vhd" }, support.names(dir))
  end)

  it("tells the first of many that failed, and counts the others", function()
    fine "create a.vhd 64MiB"
    local words = "create w%d.vhd --parent a.vhd --children "
    fine(words .. 8)
    local err = fails(5, words .. 9, "w1.vhd.*w5.vhd")
    local _, lines = err:gsub("\n", "")
    assert.equal(7, lines)
    assert.matches("\nlvhd: and 3 more that failed\n.*made 1 of 9 %(%-%-keep",
      err)
    local _, out = cmd(words .. "9 --json")
    assert.matches('w9.vhd"', out, 1, true)
    os.remove(dir .. "/w3.vhd")
    assert.equal(("made: 1 children of %s/a.vhd, 8 were there\n"):format(dir),
      fine(words .. "9 --keep"))
    for _, name in ipairs { "w1.vhd", "w2.vhd" } do
      os.remove(dir .. "/" .. name)
      fine("create " .. name .. " 64MiB")
    end
    err = fails(5, words .. "9 --keep", "not the disk that was asked for")
    assert.is_nil(err:find("(--keep", 1, true))
  end)

  it("keeps what is there for a rerun", function()
    fine "create a.vhd 64MiB"
    local before = support.read(dir .. "/a.vhd")
    assert.truthy(fine("create a.vhd 64MiB --keep"):find("^is there: "))
    assert.equal(before, support.read(dir .. "/a.vhd"))
  end)

  it("formats, and names the label", function()
    fine "create a.vhd 64MiB --filesystem fat16 --label DATA"
    assert.truthy(support.run("7zz l " .. q(dir .. "/a.vhd")):find("FAT"))
  end)

  it("takes its time from SOURCE_DATE_EPOCH", function()
    fine("create a.vhd 64MiB", "SOURCE_DATE_EPOCH=1600000000")
    assert.equal(1600000000, info("a.vhd").timestamp)
  end)

  it("with --dry-run makes nothing, and says what it would", function()
    assert.equal(("would make: dynamic, 64 MiB: %s/a.vhd\n"):format(dir),
      fine "create a.vhd 64MiB --dry-run")
    assert.same({}, support.names(dir))
    fine "create a.vhd 64MiB"
    fails(5, "create a.vhd 64MiB -n", "E_ALREADY_EXISTS.*a.vhd': the file exists")
    fine "create b%d.vhd --parent a.vhd --children 5 -n"
    assert.same({ "a.vhd" }, support.names(dir))
  end)

  it("knows Windows paths where there are drives", function()
    support.mkdir(dir .. "/vms")
    fine(("create 'C:\\golden\\a.vhd' 64MiB --drive C=%s"):format(
      q(dir .. "/vms")))
    assert.equal("dynamic", info("vms/golden/a.vhd").type)
    assert.matches("type +dynamic", fine "info 'C:\\golden\\a.vhd' --drive C=vms")
  end)

  it("refuses words that do not go together", function()
    for words, pattern in pairs {
      ["create a.vhd"] = "a size is missing",
      ["create a.vhd 4MiB --parent b.vhd"] = "a child has its parent's size",
      ["create a.vhd 4MiX"] = "'4MiX' given",
      ["create a.vhd --parent b.vhd --children 0"] = "'0' given",
      ["create a.vhd --parent b.vhd --children 2"] = "a pattern with one %%d",
      ["create a%d%d.vhd --parent b.vhd --children 2"] = "with one %%d",
      ["create a%s.vhd --parent b.vhd --children 2"] = "with one %%d",
      ["create a%999d.vhd --parent b.vhd --children 2"] = "with one %%d",
      ["resize a.vhd +1GiB"] = "'%+1GiB' given",
      ["create a%d.vhd 4MiB --children 2"] = "needs %-%-parent",
      ["create a.vhd 4MiB --allocate zero"] = "of %-%-fixed disks",
      ["create a.vhd 4MiB --label X"] = "needs %-%-filesystem",
      ["create a.vhd 4MiB --drive C"] = "'C' given",
      ["create a.vhd 4MiB --first 5"] = "%-%-first needs %-%-children",
      ["create a%d.vhd --parent b.vhd --children 3 --first "
        .. math.maxinteger - 2] = "a number from 0 on",
      ["create"] = "missing argument 'image'",
      ["create a.vhd 4MiB --sync maybe"] = "must be one of",
    } do
      fails(2, words, pattern)
    end
    assert.same({}, support.names(dir))
  end)
end)

describe("the verbs that ask:", function()
  local golden

  before_each(function()
    golden = handmade.dynamic(dir .. "/golden.vhd", 64 * MiB)
    fine "create c1.vhd --parent golden.vhd"
    fine "create sub/c2.vhd --parent c1.vhd"
  end)

  it("info", function()
    local out = fine "info c1.vhd"
    for _, part in ipairs { "type +differencing", "64 MiB %(67108864 bytes%)",
      "blocks +0 of 32 used", "locator +W2ru .\\golden.vhd",
      "id +" .. info("c1.vhd").uuid:gsub("%-", "%%-"), " by win\n" } do
      assert.truthy(out:find(part), part)
    end
    -- what is free changes with the hour
    local whole = fine("info --json c1.vhd"):gsub('"free":%d+', '"free":0')
    assert.equal('{"exit":0,"ok":true,"result":' .. json.encode(info "c1.vhd")
      :gsub('"free":%d+', '"free":0') .. ',"verb":"info"}\n', whole)
    assert.truthy(whole:find('"raw":"2e005c0067', 1, true)) -- bytes, in hex
  end)

  it("chain, whole and broken", function()
    local out = fine("chain sub/c2.vhd --parents " .. q(dir))
    assert.truthy(out:find("1 .-c2.vhd\n.-2 .-c1.vhd\n.-3 .-golden.vhd"))
    os.remove(golden)
    local code, broken = cmd("chain sub/c2.vhd --parents " .. q(dir))
    assert.equal(4, code)
    assert.truthy(broken:find("broken here: VM_E_PARENT_PATH_NOT_FOUND"))
    assert.matches("(where is it now? lvhd relink", broken, 1, true)
  end)

  it("chain tells of a parent that was changed afterwards", function()
    test.utime(golden, 1500000000)
    assert.matches("\nlayer 1: warning: PARENT_TIME: ", fine "chain c1.vhd")
  end)

  it("times are dates for people, and numbers for programs", function()
    local date = "%d+%-%d%d%-%d%d %d%d:%d%d:%d%d UTC"
    assert.matches("\nparent time +" .. date, fine "info c1.vhd")
    test.utime(golden, 1500000000)
    local words = "its time is not the recorded one: " .. date
      .. " expected, 2017%-07%-14 02:40:00 UTC found"
    assert.matches(words, fine "chain c1.vhd")
    assert.matches(words, (fails(10, "write c1.vhd", "MODIFIED", "</dev/null")))
    assert.matches('"actual":1500000000', fine "chain c1.vhd --json", 1, true)
    fine("create f.vhd 64MiB", "SOURCE_DATE_EPOCH=4000000000")
    assert.matches("a time lies in the future: .*2096%-10%-02 07:06:40 UTC",
      fine "check f.vhd")
    assert.equal("1152921504606846976", people.time(1 << 60))
  end)

  it("whatever reads a parent that was changed says so", function()
    test.utime(golden, 1500000000)
    for _, words in ipairs { "flatten c1.vhd flat.vhd", "map c1.vhd",
      "convert c1.vhd flat.raw --to raw", "read c1.vhd --length 512" } do
      local _, _, err = cmd(words)
      assert.matches(dir .. "/c1.vhd: warning: PARENT_TIME: ", err, 1, true)
    end
  end)

  it("copies tell of each, a dry run too, and of the new disk's parents",
    function()
      fine "create g1.vhd --parent c1.vhd"
      fine "create g2.vhd --parent c1.vhd"
      test.utime(golden, 1500000000)
      test.utime(dir .. "/c1.vhd", 1500000000)
      local function told(words)
        local names, code, _, err = {}, cmd(words)
        assert.equal(0, code, err)
        for name in err:gmatch "/([^/]*)%.vhd: warning: PARENT_TIME: " do
          names[#names + 1] = name
        end
        return table.concat(names, " ")
      end
      for _, dry in ipairs { " -n", "" } do
        assert.equal("g1 c1", told("flatten g1.vhd flat.vhd" .. dry))
        assert.equal("g1 c1 g2", told("convert g1.vhd diff.vhd "
          .. "--to differencing --parent g2.vhd" .. dry))
        assert.equal("", told("convert g1.vhd raw.vhd --from raw --round 4MiB"
          .. dry))
      end
    end)

  it("what was there already is not counted as made, where others fail",
    function()
      fine "create k%d.vhd --parent golden.vhd --children 3"
      support.write(dir .. "/k2.vhd", "text")
      local _, _, err = cmd "create k%d.vhd --parent golden.vhd --children 3 --keep"
      assert.matches("lvhd: made 0 of 3\n", err, 1, true)
    end)

  it("chain tells the cure in its own words", function()
    local code, out = cmd "chain sub/c2.vhd"
    assert.equal(6, code)
    assert.truthy(out:find("--parents '" .. dir .. "'", 1, true), out)
  end)

  it("children", function()
    assert.truthy(fine("children c1.vhd"):find("sub/c2.vhd", 1, true))
    assert.truthy(fine("children golden.vhd ."):find("/c1.vhd", 1, true))
    assert.equal("no children\n", fine "children sub/c2.vhd")
    assert.truthy(fine("children sub/c2.vhd --json"):find('"result":[]', 1,
      true))
  end)

  it("check, and 9 for damage", function()
    assert.truthy(fine("check c1.vhd --chain --data"):find("nothing wrong"))
    local file <close> = assert(io.open(golden, "r+b"))
    file:seek("set", 1536) -- the first entry of the BAT: outside of the file
    file:write("\0\xFF\xFF\xFF")
    file:close()
    local code, out = cmd "check golden.vhd"
    assert.equal(9, code)
    assert.truthy(out:find("error: [A-Z_]+: "), out)
  end)

  it("read, through the chain, what other programs read", function()
    local bytes = ("0123456789abcdef"):rep(64)
    support.write(dir .. "/in", bytes)
    fine "create leaf.vhd --parent c1.vhd"
    fine("write leaf.vhd --offset 1MiB", "<in")
    assert.equal(bytes:sub(101, 300),
      fine "read leaf.vhd --offset 1048676 --length 200")
    local whole = fine "read leaf.vhd"
    assert.equal(64 * MiB, #whole)
    assert.is_true(whole == support.run("7zz x -tvhd -so "
      .. q(dir .. "/leaf.vhd") .. " 2>/dev/null"))
  end)

  it("version", function()
    assert.equal("lvhd " .. lvhd.version .. "\n", fine "version")
    assert.equal("lvhd " .. lvhd.version .. "\n", fine "--version")
  end)
end)

describe("the verbs that change or copy:", function()
  local content

  before_each(function()
    content = ("lvhd"):rep(MiB) -- 4 MiB
    support.write(dir .. "/in.raw", content .. ("\0"):rep(4 * MiB))
    assert.truthy(fine("convert in.raw a.vhd --from raw")
      :find("^made: dynamic, 8 MiB"))
    fine "create c.vhd --parent a.vhd"
    support.write(dir .. "/patch", "patched!")
    fine("write c.vhd --offset 512KiB", "<patch")
  end)

  local function patched()
    return content:sub(1, 512 * 1024) .. "patched!"
      .. content:sub(512 * 1024 + 9) .. ("\0"):rep(4 * MiB)
  end

  it("flatten, to what qemu reads", function()
    fine "flatten c.vhd flat.raw --to raw"
    assert.is_true(patched() == support.read(dir .. "/flat.raw"))
    fine "flatten c.vhd flat.vhd"
    support.run(("qemu-img convert -f vpc -O raw %s %s"):format(
      q(dir .. "/flat.vhd"), q(dir .. "/out")))
    assert.is_true(patched() == support.read(dir .. "/out"):sub(1, 8 * MiB))
    fails(10, "flatten a.vhd b.vhd",
      "VM_E_WRONG_HD_IMAGE_TYPE.*flatten '.*/a.vhd'.* needs no parent")
  end)

  it("merge, refused where others read from it", function()
    fine "create other.vhd --parent a.vhd"
    local err = fails(7, "merge c.vhd", "E_SHARING_VIOLATION")
    assert.truthy(err:find("other.vhd", 1, true))
    assert.truthy(err:find("--force", 1, true))
    os.remove(dir .. "/other.vhd")
    assert.truthy(fine("merge c.vhd -n"):find("^would merge: .-into: "))
    assert.truthy(fine("merge c.vhd --delete"):find("^merged into: "))
    assert.is_true(patched() == fine "read a.vhd")
    assert.is_nil(test.stat(dir .. "/c.vhd"))
  end)

  it("merge --dry-run tells what was interrupted", function()
    fine "create other.vhd --parent a.vhd"
    fine("write other.vhd", "<" .. dir .. "/c.vhd")
    local system = test.system()
    local engine = lvhd.engine { threads = 1, system = system:pointer() }
    system:fail { call = "pwritev", errno = "EIO", at = "a.vhd", nth = 1 }
    assert.is_false(pcall(function()
      engine:merge(dir .. "/c.vhd", { force = true }):wait()
    end))
    system:drop()
    engine:close()
    assert.equal("", (fine("merge c.vhd -n --force")
      :gsub("^would merge: .-c.vhd\n  into: .-a.vhd\n  going on with the "
      .. "merge that was interrupted\n$", "")))
    local id = info("c.vhd").uuid
    local words = "the merge of the child " .. id:gsub("-", "%%-")
    fails(7, "merge other.vhd -n", words)
    assert.matches("\n  giving up the merge of the child " .. id .. "\n",
      fine "merge other.vhd -n --force", 1, true)
    assert.matches("MERGE_PENDING: .* " .. words, fine "info a.vhd")
    for _, verb in ipairs { "read", "flatten -n", "flatten" } do
      local more = verb == "read" and "" or " flat.vhd"
      local _, _, err = cmd(verb .. " other.vhd" .. more)
      assert.matches("/a.vhd: warning: MERGE_PENDING: .* " .. words, err)
      os.remove(dir .. "/flat.vhd")
      _, _, err = cmd(verb .. " c.vhd" .. more) -- which reads as before
      assert.is_nil(err:find("MERGE_PENDING", 1, true))
      os.remove(dir .. "/flat.vhd")
    end
    fine "merge c.vhd --force"
    assert.is_nil(fine("merge other.vhd -n --force"):find("merge that", 1, true))
  end)

  it("merge gives a grandchild its new parent with --child", function()
    fine "create leaf.vhd --parent c.vhd"
    fine "merge c.vhd --child leaf.vhd"
    assert.equal(dir .. "/a.vhd",
      lvhd.chain(dir .. "/leaf.vhd")[2].path)
  end)

  it("compact, resize, relink, repair", function()
    support.write(dir .. "/zeros", ("\0"):rep(4 * MiB))
    fine("write a.vhd --force", "<zeros")
    local before = info("a.vhd").blocks_used
    fine "compact a.vhd --force"
    assert.equal(2, before)
    assert.equal(0, info("a.vhd").blocks_used)
    fine "create r.vhd 8MiB"
    fine "resize r.vhd 16MiB"
    assert.equal(16 * MiB, info("r.vhd").size)
    fine "relink c.vhd a.vhd --force"
    fine "repair r.vhd"
    for words, pattern in pairs { ["compact r.vhd"] = "^nothing to do: ",
      ["resize r.vhd 32MiB"] = "^would resize: .-, to 32 MiB\n$",
      ["relink c.vhd a.vhd"] = "^would relink: .-\n  to: dynamic, 8 MiB",
      ["repair r.vhd"] = "^nothing to do: dynamic" } do
      assert.matches(pattern, fine(words .. " --dry-run"))
    end
    assert.equal(16 * MiB, info("r.vhd").size)
  end)

  it("relink says what else its parent needs", function()
    fine "create far/a.vhd 8MiB"
    fine "create sub/d.vhd --parent a.vhd"
    local out = fine "relink sub/d.vhd far/a.vhd --force"
    assert.matches("\nbut it cannot be read yet: E_ACCESSDENIED", out)
    assert.matches("--parents '" .. dir .. "/far'", out, 1, true)
    assert.is_nil(fine("relink sub/d.vhd far/a.vhd --parents far"):find("\n.", 2))
    assert.equal("", fine "relink sub/d.vhd far/a.vhd -q")
  end)

  it("tell errors with name, number, and class", function()
    fails(4, "info none.vhd", "E_PATH_NOT_FOUND %(0x80070003%)")
    fails(9, "info in.raw", "VM_E_INVALID_HD_FILE")
    fails(5, "convert a.vhd c.vhd", "E_ALREADY_EXISTS")
    fails(3, "create 'b?.vhd' 8MiB", "E_INVALID_NAME")
    fails(3, "create b.vhd 1MiB", "VM_E_IMAGE_SIZE_TOO_SMALL")
    fails(10, "resize c.vhd 16MiB", "VM_E_WRONG_HD_IMAGE_TYPE")
    fine "create other.vhd 16MiB"
    fails(10, "relink c.vhd other.vhd --force", "VM_E_HD_IMAGE_OPEN_FAIL")
    fails(10, "convert a.vhd d.vhd --to differencing --parent other.vhd",
      "VM_E_HD_IMAGE_OPEN_FAIL")
    fails(10, "relink c.vhd c.vhd --force", "comes back")
    assert(os.rename(dir .. "/other.vhd", dir .. "/a.vhd"))
    assert.equal(10, (cmd "chain c.vhd"))
  end)
end)

describe("cures", function()
  -- An error of the library, with these fields, as the command says it.
  local function said(fields, forced)
    local err = select(2, pcall(lvhd.info, dir .. "/none.vhd"))
    for name, value in pairs(fields) do
      err[name] = value
    end
    return say.error(err, forced)
  end

  it("name --force only where the verb has it", function()
    local pending = { hint = "run it again; force = true gives it up" }
    assert.matches("(run it again)", said(pending), 1, true)
    assert.matches("(run it again; --force gives it up)", said(pending, true),
      1, true)
    assert.matches("none.vhd': it is full$", said { message = "it is full",
      hint = "force = true goes on without that" })
    for _, row in ipairs(verbs.list) do
      assert.equal(row.name == "write" or row.name == "merge"
        or row.name == "compact" or row.name == "resize"
        or row.name == "relink" or row.name == "repair",
        verbs.has(row.name, "--force"))
    end
    support.write(dir .. "/.a.vhd.lvhd-journal", "no journal")
    fine "create a.vhd 64MiB"
    fails(6, "compact a.vhd", "the file %.a%.vhd%.lvhd%-journal beside it")
  end)

  it("are words of the command, not of Lua", function()
    assert.matches("relink it to the parent's path", said {
      hint = "a link is on the way: name the files themselves, "
        .. "open{ leaf, parent, ... }" }, 1, true)
    fails(4, [[info 'D:\x.vhd']], "needs %-%-drive NAME=DIR")
    fails(3, [[create 'D:\x.vhd' 64MiB]], "needs %-%-drive NAME=DIR")
    fails(4, [[info 'D:\x.vhd' --drive C=.]],
      "no %-%-drive maps it %(%-%-drive NAME=DIR does")
    assert.matches("with --long-paths: in bytes", (fails(3, "create "
      .. ("d"):rep(200) .. "/" .. ("e"):rep(100) .. " 64MiB", "too long")),
      1, true)
  end)

  it("tell what else can be done", function()
    fine "create a.vhd 64MiB"
    fine "create c.vhd --parent a.vhd"
    fails(10, "resize c.vhd 128MiB", "lvhd flatten CHILD NEW, and resize that")
    support.write(dir .. "/p.vhd", support.read(dir .. "/a.vhd"):sub(1, -513))
    fails(9, "create d.vhd --parent p.vhd",
      "lvhd check PARENT tells what is wrong with it, lvhd repair PARENT mends")
    fine "repair p.vhd"
    fine "create d.vhd --parent p.vhd"
  end)

  it("name the verb that was asked for", function()
    fine "create a.vhd 64MiB"
    fine "create c.vhd --parent a.vhd"
    for words, name in pairs { write = "none.vhd", read = "none.vhd",
      map = "none.vhd", ["flatten c.vhd"] = "a.vhd" } do
      local op = words:match "^%l+"
      local _, out, err = cmd(words .. " " .. name
        .. (op == "read" and "" or " --json"), "</dev/null")
      assert.matches(("): %s '%s/%s': "):format(op, dir, name), err, 1, true)
      assert.truthy(op == "read" or out:find(('"op":"%s"'):format(op), 1, true))
    end
  end)

  it("make no file that is called -", function()
    fine "create a.vhd 64MiB"
    fine "create c.vhd --parent a.vhd"
    for _, words in ipairs { "flatten c.vhd -", "flatten a.vhd - -n",
      "convert a.vhd -", "convert a.vhd - --to raw", "create - 4MiB",
      "create - --parent a.vhd -n" } do
      fails(2, words, "lvhd read IMAGE > FILE .* ./-")
    end
    assert.same({ "a.vhd", "c.vhd" }, support.names(dir))
    fine "flatten c.vhd ./-"
    fine "convert ./- -- b.vhd"
    assert.same({ "-", "a.vhd", "b.vhd", "c.vhd" }, support.names(dir))
  end)

  it("tell of a parent that is another disk", function()
    fine "create a.vhd 64MiB"
    fine "create b.vhd 64MiB"
    fine "create c.vhd --parent a.vhd"
    fails(10, "relink c.vhd b.vhd", "with %-%-force any disk of that size")
    assert(os.rename(dir .. "/b.vhd", dir .. "/a.vhd"))
    assert.matches("(where is the right one? lvhd relink CHILD PARENT",
      select(2, cmd "chain c.vhd"), 1, true)
  end)
end)

describe("what cannot be written or read", function()
  it("is an error: standard output", function()
    fine "create a.vhd 64MiB"
    for _, words in ipairs { "info a.vhd", "info --json a.vhd", "version",
      "read a.vhd", "help", "help map", "map -h", "completion bash",
      "--version" } do
      local code, _, err = cmd(words .. " >/dev/full")
      assert.equal(1, code, words)
      assert.matches("lvhd: standard output: No space left", err)
    end
  end)

  it("is an error: standard input, and says how far it was", function()
    fine "create a.vhd 64MiB"
    local code, _, err = cmd("write a.vhd", "<.")
    assert.equal(1, code)
    assert.matches("lvhd: standard input: Is a directory", err)
    support.write(dir .. "/long", ("x"):rep(5 * MiB))
    code, _, err = cmd("write a.vhd --offset 60MiB", "<long")
    assert.equal(3, code)
    assert.matches("4 MiB from byte 62914560 on are written already", err)
    assert.equal("xx", fine "read a.vhd --offset 67108862")
  end)
end)

describe("progress", function()
  it("is lines of JSON on standard error, or nothing", function()
    local code, out, err = cmd(
      "create f.vhd 64MiB --fixed --allocate zero --json --progress json")
    assert.equal(0, code)
    assert.truthy(out:find('^{"exit":0,"ok":true,'))
    local last
    for line in err:gmatch("[^\n]+") do
      last = line
      assert.truthy(line:find('^{"progress":{"bytes":%d+,'), line)
    end
    assert.truthy(last:find('"percent":100', 1, true))
  end)

  it("is a bar where that is asked for, which goes away", function()
    local code, _, err = cmd(
      "create f.vhd 900MiB --fixed --allocate zero --sync none --progress bar")
    assert.equal(0, code)
    assert.truthy(err:find("%[#*%-*%] +%d+ %%"), err)
    assert.truthy(err:find("\r +\r$"))
    assert.is_nil(err:find("\27", 1, true))
  end)

  -- What a terminal of so many columns gets.
  local function on_terminal(columns, words)
    local inner = ("cd %s && stty cols %d && exec env TERM=dumb %s %s"):format(
      q(dir), columns, COMMAND, words)
    return support.run(("script -qec %s /dev/null </dev/null"):format(q(inner)))
  end

  it("is no wider than the terminal, and without escape codes", function()
    fine "create a.vhd 64MiB"
    for _, columns in ipairs { 60, 12 } do
      local out = on_terminal(columns, ("create %d/w%%d.vhd --parent a.vhd "
        .. "--children 8000 --sync none"):format(columns)) -- 0.1 s and more
      local n = 0
      for line in out:gmatch("[^\r\n]+") do
        assert.is_true(#line < columns or line:find "^made" ~= nil, line)
        n = n + (line:find "^ *%[?#*%-*%]? +%d+ %%" and 1 or 0)
      end
      assert.is_true(n > 0, out)
      assert.equal(columns > 12, out:find(" %d+ %%  %d+ of 8000") ~= nil)
      assert.is_nil(out:find("\27", 1, true))
    end
  end)

  it("is no bar where the data itself goes to the terminal", function()
    fine "create a.vhd 64MiB"
    local out = on_terminal(80, "read a.vhd --length 8MiB")
    assert.equal(8 * MiB, #out)
    assert.is_nil(out:find("[^\0]"))
  end)
end)

describe("Ctrl-C", function()
  it("ends it with 130 and leaves nothing", function()
    local status = support.run(("cd %s && { %s create big.vhd 8GiB --fixed --sync none"
      .. " --allocate zero 2>err & p=$!; sleep 0.4; kill -INT $p; wait $p;"
      .. " echo $?; }"):format(q(dir), "env " .. COMMAND))
    assert.equal("130\n", status)
    assert.equal("lvhd: interrupted\n", support.read(dir .. "/err"))
    assert.same({ "err" }, support.names(dir))
  end)

  it("is no traceback while modules are loaded", function()
    support.write(dir .. "/argparse.lua", 'error "interrupted!"')
    local path = ("LUA_PATH=%s"):format(q(("%s/?.lua;%s/?.lua;%s/?/init.lua")
      :format(dir, test.cwd(), test.cwd())))
    assert.equal("lvhd: interrupted\n", fails(130, "version", ".", path))
    support.write(dir .. "/argparse.lua", "error 'broken'")
    assert.equal("lvhd: the command needs argparse (Debian: lua-argparse)\n",
      fails(1, "version", ".", path))
  end)

  -- Ctrl-C comes when the first wait of so many seconds is over; without a
  -- number at the task's end, too late.
  local function interrupting(seconds)
    local file = dir .. "/.init.lua"
    support.write(file, ([[
      local task = require "lvhd.task"
      local wait = task.wait
      function task.wait(self)
        task.wait = wait
        pcall(wait, self, %s)
        error("interrupted!", 0)
      end]]):format(seconds))
    return "LUA_INIT=@" .. q(file)
  end

  it("that comes too late ends with what was done", function()
    fine "create a.vhd 64MiB"
    fine "create c.vhd --parent a.vhd"
    assert.matches("^done before Ctrl%-C: dynamic, 64 MiB, .*/a.vhd\n$",
      fine("merge c.vhd --delete", interrupting "nil"))
    assert.is_nil(test.stat(dir .. "/c.vhd"))
    assert.matches('"ok":true,"result":{.*/b.vhd"',
      fine("create b.vhd 64MiB --json", interrupting "nil"))
    assert.equal("", fine("create d.vhd 64MiB -q", interrupting "nil"))
    assert.equal("done before Ctrl-C: 2 children\n", fine(
      "create w%d.vhd --parent a.vhd --children 2", interrupting "nil"))
    fails(5, "create b.vhd 64MiB", "E_ALREADY_EXISTS", interrupting "nil")
    fails(130, "create e.vhd 64MiB -n", "lvhd: interrupted\n",
      interrupting "nil")
  end)

  it("among many children says how many there are", function()
    fine "create a.vhd 64MiB"
    local code, out, err = cmd("create f/w%d.vhd --parent a.vhd --children "
      .. "20000 --json --sync none", interrupting "0.1")
    assert.equal(130, code)
    local n = test.stat(dir .. "/f") and #support.names(dir .. "/f") or 0
    assert.equal(("lvhd: interrupted: %d of 20000 are there\n"):format(n), err)
    assert.is_true(n < 20000)
    assert.matches('^{"error":{.-"name":"E_ABORT".-},"exit":130,"items":%[{',
      out)
    code, out = cmd("create b.vhd 1GiB --fixed --allocate zero --json --sync "
      .. "none", interrupting "0")
    assert.equal(130, code)
    assert.matches('^{"error":{"hresult":2147500036,"message":"interrupted",'
      .. '"name":"E_ABORT","op":"create"},"exit":130,', out)
    assert.is_nil(test.stat(dir .. "/b.vhd"))
  end)

  it("during a merge says that it is to be run again, and it is", function()
    support.write(dir .. "/in", ("lvhd"):rep(25 * MiB))
    local times, status = 1
    repeat -- until the machine is not too quick
      times = times * 2
      fine "create a.vhd 1GiB"
      fine "create c.vhd --parent a.vhd"
      for i = 0, times - 1 do
        fine(("write c.vhd --sync none --offset %dMiB"):format(100 * i), "<in")
      end
      status = support.run(("cd %s && : >err && { %s merge c.vhd --progress"
        .. " json 2>err >/dev/null & p=$!; while ! grep -q bytes err;"
        .. " do sleep 0.02; done; kill -INT $p; wait $p; echo $?; }")
        :format(q(dir), "env " .. COMMAND))
      if status ~= "130\n" and times < 8 then
        os.remove(dir .. "/a.vhd")
        os.remove(dir .. "/c.vhd")
      end
    until status == "130\n" or times == 8
    assert.equal("130\n", status)
    assert.matches("lvhd: interrupted: .* run again\n$",
      support.read(dir .. "/err"))
    assert.equal("lvhd", fine "read c.vhd --length 4")
    fine "merge c.vhd --delete --sync none"
    assert.equal("lvhd", fine(("read a.vhd --length 4 --offset %dMiB"):format(
      100 * times - 1)))
  end)
end)

describe("map", function()
  before_each(function()
    fine "create a.vhd 64MiB"
    support.write(dir .. "/in", ("x"):rep(16 * MiB))
    fine("write a.vhd", "<in")
    fine "create c.vhd --parent a.vhd"
    fine("write c.vhd --offset 48MiB", "<in")
  end)

  it("shows who holds what, without colour where there is none", function()
    local out = fine "map c.vhd --width 16"
    assert.truthy(out:find("1 |············████|", 1, true), out)
    assert.truthy(out:find("2 |████············|", 1, true), out)
    assert.matches("reads as zeros: 32 MiB, 50 %% of the disk", out)
    assert.is_nil(out:find("\27", 1, true))
    for line in out:gmatch("[^\n]+") do
      assert.is_true(utf8.len(line) <= 80 or line:find "/" ~= nil, line)
    end
    out = fine("map c.vhd --width 16", "LC_ALL=C")
    assert.matches("1 |............####|", out, 1, true)
    assert.is_nil(out:find("[\x80-\xFF]"))
  end)

  it("draws an SVG that says the same, and replaces none", function()
    fine "map c.vhd --svg m.svg"
    local svg = support.read(dir .. "/m.svg")
    local _, rects = svg:gsub("<rect", "")
    assert.truthy(svg:find('x="744.00"[^>]* width="240.00"'), svg)
    assert.truthy(svg:find('x="24.00"[^>]* width="240.00"'))
    assert.truthy(rects >= 2 + 2 + 8)
    for x, at in pairs { [24] = "0 B", [264] = "16 MiB", [504] = "32 MiB",
      [744] = "48 MiB", [984] = "64 MiB" } do
      assert.matches(('<text x="%d"[^>]*>%s</text>'):format(x, at), svg)
    end
    for _, words in ipairs { "Who holds what of c.vhd %(64 MiB%)",
      "1  c.vhd %(differencing, leaf%), file of 16.0 MiB",
      "2  a.vhd %(dynamic, root%), file of 16.0 MiB",
      ">16 MiB read from it, 25 %% of the disk; pieces: 1 of 16 MiB; "
        .. "blocks used: 8 of 32, 25 %%<", "never written, reads as zeros",
      ">a little<", "<title>.-/a.vhd</title>" } do
      assert.matches(words:gsub("^never", "Never"), svg)
    end
    assert.truthy(svg:find("^<svg.*</svg>\n$"))
    fails(5, "map c.vhd --svg m.svg", "E_ALREADY_EXISTS")
    fine "create sub/a.vhd --parent c.vhd"
    assert.equal(("made: %s/n.svg\n"):format(dir),
      fine "map sub/a.vhd --parents . --svg n.svg")
    svg = support.read(dir .. "/n.svg")
    assert.matches("1  sub/a.vhd %(", svg)
    assert.matches("2  c.vhd %(", svg)
    assert.matches(("3  %s/a.vhd ("):format(dir:match "[^/]*$"), svg, 1, true)
  end)

  it("is numbers for programs", function()
    local out = fine "map c.vhd --json"
    assert.truthy(out:find('"bytes":16777216', 1, true))
    assert.truthy(out:find('"unwritten":33554432', 1, true))
  end)
end)

describe("its words", function()
  -- The words of a row, each as a whole: --parent is not in "--parents".
  local function assert_words(row, text, where)
    for word in row.words:gmatch("%S+") do
      local pattern = "%f[%w-]" .. word:gsub("%-", "%%-") .. "%f[^%w-]"
      assert.truthy(text:find(pattern), ("%s: %s"):format(where, word))
    end
  end

  it("are in the help of each verb, with two examples", function()
    local help = {}
    for _, one in ipairs(parser.new()._commands) do
      help[one._name] = one:get_help() .. "\n"
    end
    assert.equal(help.merge, fine "help merge")
    assert.equal(help.merge, fine "merge --help")
    for _, verb in ipairs(verbs.list) do
      local out = help[verb.name]
      assert.equal(2, #verb.examples)
      for _, example in ipairs(verb.examples) do
        assert.truthy(out:find(example[1], 1, true), example[1])
      end
      local options = out:match "\nOptions:\n(.*)\nExamples:"
      for _, row in ipairs(verb.options) do
        assert_words(row, options, "help " .. verb.name)
      end
      for _, row in ipairs(verb.arguments) do
        assert.matches("\n   " .. row.name .. "%s", out)
      end
    end
  end)

  -- compact, relink and repair never look for other disks.
  it("say of --force what each verb would refuse", function()
    for _, verb in ipairs(verbs.list) do
      local searches, text = false, nil
      for _, row in ipairs(verb.options) do
        searches = searches or row.words == "--children-in"
        text = row.words == "--force" and row.text or text
      end
      if text then
        assert.equal(searches, text:find "RUINS" ~= nil, verb.name)
      end
    end
    assert.is_nil(fine("help merge"):find("unless they are", 1, true))
  end)

  it("of the examples are understood", function()
    for _, verb in ipairs(verbs.list) do
      for _, example in ipairs(verb.examples) do
        local words = {}
        for word in example[1]:gsub("[|<>].*", ""):gmatch("%S+") do
          words[#words + 1] = word
        end
        assert.equal("lvhd", table.remove(words, 1))
        local args = parser.read(words)
        assert.equal(verb.name, args.verb)
      end
    end
  end)

  it("are all in the man page and in the completion", function()
    local page, completion = parser.manual("1"), fine "completion bash"
    local plain = page:gsub("\\%-", "-") .. ".S"
    for _, verb in ipairs(verbs.list) do
      local part = plain:match("%.SS lvhd " .. verb.name .. " (.-)\n%.S")
      local opts = completion:match('cmd="' .. verb.name
        .. '"%s*opts="$opts ([^"]*)"')
      for _, row in ipairs(verb.options) do
        assert_words(row, part, "man page, " .. verb.name)
        assert_words(row, opts, "completion, " .. verb.name)
      end
      for _, row in ipairs(verb.arguments) do
        assert.matches("\n.I " .. row.name .. "\n", part, 1, true)
      end
    end
    for _, class in ipairs(exits.classes) do
      assert.truthy(page:find((".B %d\n"):format(class[1]), 1, true))
    end
    for _, part in ipairs { ".SH FILES\n.TP\n.I \\&.NAME.lvhd-journal\n",
      ".SH CAVEATS\n", "--children-in names", "QEMU", "cp -p" } do
      assert.matches(part, plain, 1, true)
    end
    support.write(dir .. "/lvhd.1", page)
    local _, warnings = support.sh("man --warnings -l " .. q(dir .. "/lvhd.1")
      .. " 2>&1 >/dev/null")
    assert.equal("", warnings)
  end)

  it("and exit codes are the tables of the README", function()
    local text = support.read "README.md"
    local part = text:match("\n## The command\n(.-)\n## ")
    local want, codes = {}, {}
    for i, verb in ipairs(verbs.list) do
      want[i] = ("| `%s` | %s |"):format(verb.name, verb.text)
    end
    for i, class in ipairs(exits.classes) do
      codes[i] = ("| %d | %s |"):format(class[1], class[2])
    end
    local found, numbers = {}, {}
    for row in part:match("^(.-)\nSizes "):gmatch("| `[^\n]+") do
      found[#found + 1] = row
    end
    for row in part:gmatch("\n(| %d[^\n]+)") do
      numbers[#numbers + 1] = row
    end
    assert.same(want, found)
    assert.same(codes, numbers)
  end)

  it("that the README uses are all there are", function()
    local part = support.read "README.md":match("\n## The command\n(.-)\n## ")
    local known = { ["--"] = true, ["--version"] = true }
    for _, verb in ipairs(verbs.list) do
      for _, row in ipairs(verb.options) do
        for word in row.words:gmatch("%S+") do
          known[word] = true
        end
      end
    end
    local n = 0
    for word in part:gmatch("[ `](%-%-?%l[%w-]*)%f[^%w.-]") do
      assert.is_true(known[word], word)
      n = n + 1
    end
    assert.is_true(n > 30, n)
  end)

  it("of wrong kinds end with 2", function()
    fails(2, "frobnicate", "unknown command 'frobnicate'")
    fails(2, "info", "missing argument 'image'")
    fails(2, "info a b", "too many arguments")
    fails(2, "info a --wrong", "unknown option '%-%-wrong'")
    fails(2, "info -disk.vhd", "begins with a dash stands behind %-%-%.")
    assert.matches("give absolute paths", (support.run(("mkdir %s/gone && "
      .. "cd %s/gone && rmdir ../gone && { %s info a.vhd 2>&1; echo $?; }")
      :format(q(dir), q(dir), "env " .. COMMAND))))
    fails(2, "", "a command is required")
    local code, out = cmd "info --json"
    assert.equal(2, code)
    assert.matches('^{"error":{"message":"missing argument', out)
  end)
end)

describe("exit codes", function()
  it("put every error that lvhd raises into one class", function()
    local classes = {}
    for _, class in ipairs(exits.classes) do
      for i = 3, #class do
        assert.is_nil(classes[class[i]], class[i])
        assert.is_truthy(lvhd.hresult[class[i]], class[i])
        classes[class[i]] = class[1]
      end
    end
    -- those that the library never raises
    for name in pairs(lvhd.hresult) do
      if type(name) == "string" and not classes[name] then
        assert.equal(1, exits.of(name))
      end
    end
  end)
end)

describe("JSON", function()
  it("holds any text", function()
    assert.equal('"a\\"\\\\\\n\\t\\u0001\\u007f\u{E9}"',
      json.encode 'a"\\\n\t\1\127\u{E9}')
    assert.equal('"a\u{FFFD}b\u{FFFD}\u{FFFD}"', json.encode "a\xFFb\xC3\xC3")
    assert.equal('{"a":[1,2],"b":{},"findings":[]}',
      json.encode { a = { 1, 2 }, b = {}, findings = {} })
  end)
end)
