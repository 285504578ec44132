-- SPDX-License-Identifier: MIT
--
-- What a file may make lvhd open: a locator is a file name that someone else
-- wrote into a file.  One table of names, recorded in every way, opened with
-- openat2 and with the walk that takes its place; then what `parents` allows,
-- what strace saw opened, and chains that never end.
--
-- Each secret of the table is a good disk with the very identifier that the
-- child records: only containment keeps it closed.  A hard link to a secret
-- is the one way in that no reader can see.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local test = require "lvhdtest"
local vhdwrite = require "spec.support.vhdwrite"

local q, run = support.q, support.run
local SIZE <const> = 64 << 10
local ID <const> = vhdwrite.uuid(77)

local dir -- holds the secrets; the leaf is in dir .. "/in"
local leaf_number = 0

---@type vhdwrite.Disk
local base

---A child of the disk ID, in dir/in, that records its parent so and no other
---way.
---@param o vhdwrite.Options
local function leaf_with(o)
  leaf_number = leaf_number + 1
  o.parent, o.size = base, SIZE
  o.locators, o.name = o.locators or {}, o.name or false
  return vhdwrite.new(o):save(("%s/in/leaf%d.vhd"):format(dir, leaf_number))
end

---The folder of the table.
local function furnish()
  dir = support.tmpdir()
  local long = ("d"):rep(120)
  run(("cd %s && mkdir -p in/sub in/folder.vhd in/%s/%s out inx sub")
    :format(q(dir), long, long))
  base = vhdwrite.new{ size = SIZE, uuid = ID, block_size = 4096 }
  base:put(3, vhdwrite.pattern(1, 3)):save(dir .. "/in/base.vhd")
  for _, copy in ipairs{ "in/sub/base.vhd", "in/con.vhd", "secret.vhd",
    "out/secret.vhd", "inx/secret.vhd", "in/" .. ("n"):rep(255),
    "x", "in/a b.vhd" } do
    support.copy(dir .. "/in/base.vhd", dir .. "/" .. copy)
  end
  for n = 259, 261 do -- characters of the whole text
    support.copy(dir .. "/in/base.vhd", ("%s/in/%s/%s/%s"):format(dir, long,
      long, ("e"):rep(n - 242)))
  end
  for link, target in pairs{ ["in/link.vhd"] = "../secret.vhd",
    ["in/inlink.vhd"] = "base.vhd", ["in/loop.vhd"] = "loop.vhd",
    ["in/dirlink"] = "../out", ["in/sublink"] = "sub",
    ["in/dangling.vhd"] = "nowhere", ["in/rootlink"] = "/" } do
    assert(test.symlink(target, dir .. "/" .. link))
  end
  run(("ln %s/secret.vhd %s/in/hard.vhd"):format(q(dir), q(dir)))
  assert(test.mkfifo(dir .. "/in/fifo"))
  assert(test.mksocket(dir .. "/in/socket"))
end

-- ---- verdicts ---------------------------------------------------------------

local FOUND <const> = "found"
local MISSING <const> = "VM_E_PARENT_PATH_NOT_FOUND PARENT_MISSING"
local OUTSIDE <const> = "E_ACCESSDENIED PARENT_OUTSIDE"
local SPECIAL <const> = "VM_E_INVALID_HD_FILE NOT_REGULAR"
local OTHER <const> = "VM_E_PARENT_CHILD_ID_MISMATCH PARENT_ID"

local function verdict(engine, path, opts)
  local ok, got = pcall(engine.open, engine, path, opts)
  if not ok then
    assert(lvhd.is_error(got), tostring(got))
    assert.equal(path, got.path)
    return got.name .. " " .. (got.reason or ""), got
  end
  local disk <close> = got
  assert.equal(vhdwrite.pattern(1, 3), disk:read(3 * 512, 512))
  return FOUND
end

-- The ways to open beneath a folder.
local ways = {
  { "openat2" },
  { "the walk", "ENOSYS" },
  { "the walk, since openat2 is forbidden", "EPERM" },
}

---Runs fn(engine, name) with an engine of each way.
local function both(fn)
  for _, way in ipairs(ways) do
    local system = test.system()
    local engine <close> = lvhd.engine{ system = system:pointer() }
    if way[2] then
      system:fail{ call = "openat2", errno = way[2], times = 0 }
    end
    fn(engine, way[1])
    if way[2] then
      assert.is_true(system:count("openat2") >= 0)
      for _, e in ipairs(system:log()) do
        assert(e.call ~= "openat2" or e.result < 0, "openat2 worked")
      end
    end
  end
end

-- ---- the table --------------------------------------------------------------

local function windows(text)
  return vhdwrite.utf16(text, "<")
end

-- Text; verdicts as W2ru and as W2ku, as MacX behind file:// (with slashes),
-- and as the name field, which means the last name in it, beside the child.
-- false: not tried so.
local long = ("d"):rep(120) .. "\\" .. ("d"):rep(120) .. "\\"
local rows = {
  { [[base.vhd]], FOUND, FOUND, FOUND },
  { [[.\base.vhd]], FOUND, FOUND, FOUND },
  { [[./base.vhd]], FOUND, FOUND, FOUND },
  { [[sub\base.vhd]], FOUND, FOUND, FOUND },
  { [[sub\\base.vhd]], FOUND, FOUND, FOUND },
  { [[sub\..\base.vhd]], FOUND, FOUND, FOUND },
  { [[BASE.VHD]], MISSING, MISSING, MISSING },
  { [[nowhere.vhd]], MISSING, MISSING, MISSING },
  { [[nowhere\base.vhd]], MISSING, MISSING, FOUND },
  { [[base.vhd\base.vhd]], MISSING, MISSING, FOUND },
  { [[..\secret.vhd]], OUTSIDE, OUTSIDE, MISSING },
  { [[..\base.vhd]], OUTSIDE, OUTSIDE, FOUND },
  { [[.\..\secret.vhd]], OUTSIDE, OUTSIDE, MISSING },
  { [[..\out\secret.vhd]], OUTSIDE, OUTSIDE, MISSING },
  { [[..\inx\secret.vhd]], OUTSIDE, OUTSIDE, MISSING },
  { [[..\..\etc\passwd]], OUTSIDE, OUTSIDE, MISSING },
  { [[..\..\..\..\..\..\..\..\..\etc\shadow]], OUTSIDE, OUTSIDE, MISSING },
  { [[a\..\..\x]], OUTSIDE, OUTSIDE, MISSING },
  { [[sub\..\..\secret.vhd]], OUTSIDE, OUTSIDE, MISSING },
  { [[..\in\base.vhd]], FOUND, FOUND, FOUND },
  { [[C:\x\base.vhd]], MISSING, MISSING, FOUND },
  { [[C:\x\secret.vhd]], MISSING, MISSING, MISSING },
  { [[c:secret.vhd]], MISSING, MISSING, MISSING },
  { [[\\srv\share\b.vhd]], MISSING, OUTSIDE, MISSING },
  { [[\\?\C:\b.vhd]], MISSING, OUTSIDE, MISSING },
  { [[\\.\PhysicalDrive0]], MISSING, OUTSIDE, MISSING },
  { [[/etc/shadow]], OUTSIDE, OUTSIDE, MISSING },
  { [[\etc\shadow]], OUTSIDE, OUTSIDE, MISSING },
  { [[file:///etc/shadow]], MISSING, MISSING, MISSING },
  { [[/proc/self/mem]], OUTSIDE, OUTSIDE, MISSING },
  { [[/proc/self/fd/0]], OUTSIDE, OUTSIDE, MISSING },
  { [[/dev/sda]], OUTSIDE, OUTSIDE, MISSING },
  { [[/dev/fd/0]], OUTSIDE, OUTSIDE, MISSING },
  { [[fifo]], SPECIAL, SPECIAL, SPECIAL },
  { [[socket]], SPECIAL, SPECIAL, SPECIAL },
  { [[folder.vhd]], SPECIAL, SPECIAL, SPECIAL },
  { [[folder.vhd\]], MISSING, MISSING, MISSING },
  { [[link.vhd]], OUTSIDE, OUTSIDE, OUTSIDE },
  { [[inlink.vhd]], OUTSIDE, OUTSIDE, OUTSIDE },
  { [[loop.vhd]], OUTSIDE, OUTSIDE, OUTSIDE },
  { [[dangling.vhd]], OUTSIDE, OUTSIDE, OUTSIDE },
  { [[dirlink\secret.vhd]], OUTSIDE, OUTSIDE, MISSING },
  { [[sublink\base.vhd]], OUTSIDE, OUTSIDE, FOUND },
  { [[rootlink\etc\shadow]], OUTSIDE, OUTSIDE, MISSING },
  { [[hard.vhd]], FOUND, FOUND, FOUND },
  { "base.vhd\0.\\..\\secret.vhd", FOUND, FOUND, FOUND },
  { "\0base.vhd", MISSING, MISSING, MISSING },
  { "\u{FEFF}base.vhd", MISSING, MISSING, MISSING },
  { [[base.vhd.]], MISSING, MISSING, MISSING },
  { [[base.vhd ]], MISSING, MISSING, MISSING },
  { [[con.vhd]], FOUND, FOUND, FOUND },
  { ("n"):rep(255), FOUND, FOUND, FOUND },
  { ("n"):rep(256), MISSING, MISSING, MISSING },
  { ("n"):rep(400) .. "\\base.vhd", MISSING, MISSING, false },
  { long .. ("e"):rep(17), FOUND, FOUND, false },
  { long .. ("e"):rep(18), FOUND, FOUND, false },
  { long .. ("e"):rep(19), FOUND, FOUND, false },
  { "", MISSING, MISSING, MISSING },
}

---What is recorded, and the verdict, for each way of recording it.
local function recordings(row)
  local list = {}
  for _, code in ipairs{ "W2ru", "W2ku" } do
    list[#list + 1] = { code, { locators = { { code = code,
      raw = windows(row[1]) } } }, row[2] }
  end
  if row[3] then
    list[#list + 1] = { "MacX", { locators = { { code = "MacX",
      raw = "file://" .. row[1]:gsub("\\", "/") } } }, row[3] }
  end
  if row[4] then
    list[#list + 1] = { "the name field", { name = row[1] }, row[4] }
    list[#list + 1] = { "the name field, little-endian", { name = row[1],
      name_order = "<" }, row[4] }
  end
  return list
end

describe("the same verdict with openat2 and with the walk:", function()
  before_each(furnish)

  ---Opens the leaf in every way; the verdict is this one.
  local function judge(o, want, what)
    local path = leaf_with(o)
    both(function(engine, way)
      local got = verdict(engine, path)
      assert(got == want, ("%s, by %s: %s instead of %s"):format(what, way,
        got, want))
    end)
  end

  for _, row in ipairs(rows) do
    it(("%.60s"):format(("%q"):format(row[1])), function()
      for _, r in ipairs(recordings(row)) do
        judge(r[2], r[3], r[1])
      end
    end)
  end

  it("an absolute path", function()
    for _, case in ipairs{
      { dir .. "/in/base.vhd", FOUND },
      { dir .. "/in/sub/base.vhd", FOUND },
      { dir .. "/in/../in/base.vhd", FOUND },
      { dir .. "/in/../secret.vhd", OUTSIDE },
      { dir .. "/in/dirlink/secret.vhd", OUTSIDE },
      { dir .. "/inx/secret.vhd", OUTSIDE },
      { dir .. "/secret.vhd", OUTSIDE },
      { dir .. "/in", OUTSIDE },
      { dir .. "/in/nowhere.vhd", MISSING },
      { "/proc/self/cwd" .. dir .. "/in/base.vhd", OUTSIDE },
    } do
      judge({ locators = { { code = "W2ku", text = case[1] } } }, case[2],
        case[1])
      judge({ locators = { { code = "W2ku", text = case[1]:gsub("/", "\\") } } },
        case[2], case[1])
      judge({ locators = { { code = "MacX", text = "file://" .. case[1] } } },
        case[2], case[1])
      judge({ locators = { { code = "MacX",
        text = "file://localhost" .. case[1] } } }, case[2], case[1])
    end
  end)

  it("a URL in other forms", function()
    for _, case in ipairs{
      { "file://./base.vhd", FOUND },
      { "file://base.vhd", FOUND },
      { "file://./a%20b.vhd", FOUND },
      { "file://%2E/base.vhd", FOUND },
      { "file://./%2e%2e/secret.vhd", OUTSIDE },
      { "file://.%2f..%2fsecret.vhd", OUTSIDE },
      { "file://%2fetc%2fshadow", OUTSIDE },
      { "file:///etc/shadow", OUTSIDE },
      { "file:///proc/self/mem", OUTSIDE },
      { "file://./%00base.vhd", MISSING },
      { "file://./base.vhd%00", MISSING },
      { "file://./base.vhd\0/../../secret.vhd", FOUND },
      { "file://./\xC0\xAE\xC0\xAE\xC0\xAFsecret.vhd", MISSING },
      { "file://./\xFF\xFE.vhd", MISSING },
      { "file://%", MISSING }, { "file://%2", MISSING },
      { "file://", MISSING }, { "file:", MISSING },
      { "./base.vhd", MISSING }, { "http://./base.vhd", MISSING },
    } do
      judge({ locators = { { code = "MacX", raw = case[1] } } }, case[2],
        ("%q"):format(case[1]))
    end
  end)

  it("a text that is not UTF-16", function()
    local name = windows(".\\base.vhd")
    for what, raw in pairs{
      ["a lone surrogate"] = "\0\xD8" .. name,
      ["a lone surrogate at the end"] = name .. "\0\xD8",
      ["surrogates in the wrong order"] = name .. "\0\xDC\0\xD8",
    } do
      for _, code in ipairs{ "W2ru", "W2ku" } do
        judge({ locators = { { code = code, raw = raw } } }, MISSING,
          what .. ", " .. code)
      end
    end
  end)

  for code, name in pairs{ W2ru = windows(".\\base.vhd"),
    W2ku = windows(".\\base.vhd"), MacX = "file://./base.vhd" } do
    it("a place or a length that is no text's, " .. code, function()
      judge({ locators = { { code = code, raw = name } } }, FOUND, "as it is")
      for what, l in pairs{
        ["an odd length"] = { raw = name .. "x" },
        ["an odd length, cut"] = { raw = name, length = #name - 1 },
        ["one byte"] = { raw = "." },
        ["a length of 0"] = { raw = name, length = 0 },
        ["a length of 2^32-1"] = { raw = name, length = 0xFFFFFFFF },
        ["a length of 2^31"] = { raw = name, length = 1 << 31 },
        ["in the header"] = { raw = "", length = 40, at = 512 },
        ["over its own entry"] = { raw = "", length = 192, at = 1088 },
      } do
        l.code = code
        -- half a unit behind a text of units is no part of it
        judge({ locators = { l } }, what == "an odd length"
          and code ~= "MacX" and FOUND or MISSING, what)
      end
      for what, at in pairs{ ["behind the end"] = 1 << 30,
        ["at 2^63"] = math.mininteger, ["at 2^64-1"] = -1,
        ["at 2^64-20"] = -20 } do
        judge({ edit_header = function(bytes)
          return bytes:sub(1, 576) .. (">c4I4I4I4i8"):pack(code, 512, #name,
            0, at) .. bytes:sub(601)
        end }, MISSING, what)
      end
    end)
  end

  it("a locator of a code that nobody knows, or that says nothing", function()
    for _, code in ipairs{ "Mac ", "ABCD", "\0\0\0\1", "\xFF\xFF\xFF\xFF",
      "w2ru" } do
      judge({ locators = { { code = code, raw = windows(".\\base.vhd") } } },
        MISSING, code)
    end
  end)

  it("a name field without an end", function()
    judge({ name_raw = windows(("n"):rep(256)):gsub("(.)(.)", "%2%1") },
      MISSING, "256 units")
    judge({ name_raw = ("\xDC\0"):rep(256) }, MISSING, "surrogates")
    judge({ name_raw = ("\xFF"):rep(512) }, MISSING, "ones")
    judge({ name_raw = ("\0."):rep(256) }, MISSING, "dots")
    judge({ name_raw = "\0.\0." }, MISSING, "..")
  end)

  it("the leaf itself", function()
    local path = leaf_with{}
    for _, r in ipairs(recordings{ path:match("[^/]*$"), OTHER, OTHER,
      OTHER }) do
      local o = r[2]
      o.parent, o.size = base, SIZE
      o.locators, o.name = o.locators or {}, o.name or false
      vhdwrite.new(o):save(path)
      both(function(engine)
        assert.equal(r[3], (verdict(engine, path)), r[1])
      end)
    end
  end)

  it("a device #root", function()
    if not support.is_root() then
      pending("needs root")
    elseif not support.sh(("mknod %s/in/dev c 1 5"):format(q(dir))) then
      pending("devices cannot be made here")
    end
    for _, r in ipairs(recordings{ "dev", SPECIAL, SPECIAL, SPECIAL }) do
      judge(r[2], r[3], r[1])
    end
  end)

  it("a good name behind bad ones", function()
    local bad = { [[..\secret.vhd]], [[link.vhd]], [[fifo]],
      [[nowhere.vhd]], ("n"):rep(300), [[folder.vhd]] }
    for _, text in ipairs(bad) do
      judge({ locators = { { code = "W2ru", text = text } },
        name = "base.vhd" }, FOUND, text)
      judge({ locators = { { code = "W2ku", text = text },
        { code = "MacX", text = "file://./base.vhd" } } }, FOUND, text)
    end
  end)
end)

-- ---- what the error says ----------------------------------------------------

describe("a parent outside of the allowed folders", function()
  before_each(furnish)

  it("is E_ACCESSDENIED, with the folder to allow", function()
    for text, folder in pairs{ ["..\\out\\secret.vhd"] = dir .. "/out",
      ["..\\secret.vhd"] = dir, ["/etc/shadow"] = "/etc" } do
      local path = leaf_with{ locators = { { code = "W2ru", text = text } } }
      local err = expect.fails("E_ACCESSDENIED", "PARENT_OUTSIDE", lvhd.open,
        path)
      assert.equal(path, err.path)
      assert.equal(folder, err.parent:match("^(.*)/"))
      assert.equal(('allow it with parents = {"%s"}'):format(folder),
        err.hint)
      local infos = lvhd.chain(path)
      assert.equal(1, #infos)
      assert.equal("PARENT_OUTSIDE", infos[1].error.reason)
      assert.equal(err.hint, infos[1].error.hint)
    end
  end)

  it("says the same whether it exists or not", function()
    local there = leaf_with{ locators = { { code = "W2ru",
      text = [[..\out\secret.vhd]] } } }
    local not_there = leaf_with{ locators = { { code = "W2ru",
      text = [[..\out\nowhere.vhd]] } } }
    both(function(engine)
      assert.equal((verdict(engine, there)), (verdict(engine, not_there)))
    end)
  end)

  it("is data to info", function()
    local path = leaf_with{ locators = { { code = "W2ru",
      text = "/etc/shadow" } } }
    local info = lvhd.info(path)
    assert.equal("/etc/shadow", info.parent.locators[1].path)
    assert.equal(ID, info.parent.uuid)
    assert.is_nil(info.parent.path)
  end)
end)

-- ---- what the caller allows -------------------------------------------------

describe("parents allows", function()
  before_each(furnish)

  local function leaf_of(text)
    return leaf_with{ locators = { { code = "W2ru", text = text } } }
  end

  ---With this list, by the call and by the engine, in every way.
  local function judge(path, list, want)
    both(function(engine, way)
      local got = verdict(engine, path, { parents = list })
      assert(got == want, ("%s: %s instead of %s"):format(way, got, want))
    end)
    local own <close> = lvhd.engine{ parents = list }
    assert.equal(want, (verdict(own, path)))
  end

  it("a folder and all below it", function()
    for _, text in ipairs{ [[..\out\secret.vhd]], dir .. "/out/secret.vhd" } do
      judge(leaf_of(text), { dir .. "/out" }, FOUND)
      judge(leaf_of(text), { dir .. "/out/" }, FOUND)
      judge(leaf_of(text), { "/nowhere", dir .. "/out" }, FOUND)
      judge(leaf_of(text), { dir }, FOUND)
      judge(leaf_of(text), { "/" }, FOUND)
      judge(leaf_of(text), { dir .. "/in/../out/." }, FOUND)
    end
  end)

  it("nothing else", function()
    local path = leaf_of([[..\out\secret.vhd]])
    for _, list in ipairs{ {}, { dir .. "/ou" }, { dir .. "/outer" },
      { dir .. "/inx" }, { dir .. "/nowhere" }, { dir .. "/out/secret" },
      { dir .. "/in" }, { dir .. "/secret.vhd" } } do
      judge(path, list, OUTSIDE)
    end
  end)

  it("a single file", function()
    judge(leaf_of([[..\out\secret.vhd]]), { dir .. "/out/secret.vhd" }, FOUND)
    run(("cp %s/out/secret.vhd %s/out/more.vhd"):format(q(dir), q(dir)))
    judge(leaf_of([[..\out\more.vhd]]), { dir .. "/out/secret.vhd" }, OUTSIDE)
  end)

  it("a folder through a link that the caller names", function()
    assert(test.symlink(dir .. "/out", dir .. "/way"))
    judge(leaf_of(dir .. "/way/secret.vhd"), { dir .. "/way" }, FOUND)
    judge(leaf_of(dir .. "/out/secret.vhd"), { dir .. "/way" }, FOUND)
  end)

  it("no link inside an allowed folder", function()
    assert(test.symlink("../secret.vhd", dir .. "/out/link.vhd"))
    judge(leaf_of([[..\out\link.vhd]]), { dir .. "/out" }, OUTSIDE)
    judge(leaf_of([[..\in\dirlink\secret.vhd]]), { dir .. "/out" }, OUTSIDE)
  end)

  it("per call more than the engine, or less", function()
    local path = leaf_of([[..\out\secret.vhd]])
    local own <close> = lvhd.engine{ parents = { dir .. "/out" } }
    assert.equal(FOUND, (verdict(own, path)))
    assert.equal(OUTSIDE, (verdict(own, path, { parents = {} })))
    assert.equal(OUTSIDE, (verdict(own, path, { parents = { "/nowhere" } })))
    assert.equal(FOUND, (verdict(own, path)))
  end)

  it("for chain and check as for open", function()
    local path = leaf_of([[..\out\secret.vhd]])
    assert.equal(2, #lvhd.chain(path, { parents = { dir .. "/out" } }))
    assert.equal(1, #lvhd.chain(path))
    assert.equal(2, #lvhd.check(path, { chain = true,
      parents = { dir .. "/out" } }):wait())
    local infos = lvhd.check(path, { chain = true }):wait()
    assert.equal(1, #infos)
    assert.equal("PARENT_OUTSIDE", infos[1].error.reason)
  end)

  it("as the error proposes", function()
    local path = leaf_of([[..\out\secret.vhd]])
    local _, err = verdict(lvhd.default_engine(), path)
    local list = load("return " .. err.hint:match("parents = (%b{})"))()
    assert.equal(FOUND, (verdict(lvhd.default_engine(), path,
      { parents = list })))
  end)

  it("a folder relative to the working folder", function()
    local path = leaf_of([[..\out\secret.vhd]])
    local home = test.cwd()
    assert(test.chdir(dir))
    local got = verdict(lvhd.default_engine(), path, { parents = { "out" } })
    assert(test.chdir(home))
    assert.equal(FOUND, got)
  end)
end)

describe("a parent of a parent", function()
  it("is held to the leaf's folders, not its own", function()
    furnish()
    -- leaf in in/, middle allowed in out/, root beside middle: out/ counts
    local root = vhdwrite.new{ size = SIZE }
    root:save(dir .. "/out/root.vhd")
    local middle = vhdwrite.new{ parent = root }
    middle:save(dir .. "/out/middle.vhd")
    local leaf = vhdwrite.new{ parent = middle, locators = {
      { code = "W2ru", text = [[..\out\middle.vhd]] } } }
    leaf:save(dir .. "/in/leaf.vhd")
    assert.equal(3, #lvhd.chain(leaf.path, { parents = { dir .. "/out" } }))
    -- only the one file: its own folder does not come with it
    local infos = lvhd.chain(leaf.path,
      { parents = { dir .. "/out/middle.vhd" } })
    assert.equal(2, #infos)
    assert.equal("PARENT_OUTSIDE", infos[2].error.reason)
    assert.equal(middle.path, infos[2].error.path)
    assert.equal(('allow it with parents = {"%s/out"}'):format(dir),
      infos[2].error.hint)
  end)

  it("starts at its child's folder", function()
    furnish()
    local root = vhdwrite.new{ size = SIZE }
    root:save(dir .. "/in/root.vhd")
    local middle = vhdwrite.new{ parent = root, name = false, locators = {
      { code = "W2ru", text = [[..\root.vhd]] } } }
    middle:save(dir .. "/in/sub/middle.vhd")
    local leaf = vhdwrite.new{ parent = middle, name = false, locators = {
      { code = "W2ru", text = [[.\sub\middle.vhd]] } } }
    leaf:save(dir .. "/in/leaf.vhd")
    assert.equal(3, #lvhd.chain(leaf.path))
    -- but the middle as leaf may not look above itself
    assert.equal("PARENT_OUTSIDE",
      lvhd.chain(middle.path)[1].error.reason)
  end)
end)

describe("a parent that is replaced after the opening", function()
  it("is read as it was opened", function()
    furnish()
    for _, r in ipairs(recordings{ "base.vhd", FOUND, FOUND, FOUND }) do
      local path = leaf_with(r[2])
      both(function(engine)
        base:save(dir .. "/in/base.vhd")
        local disk <close> = engine:open(path)
        vhdwrite.new{ size = SIZE, uuid = ID }:put(3, ("!"):rep(512))
          :save(dir .. "/new.vhd")
        assert(os.rename(dir .. "/new.vhd", dir .. "/in/base.vhd"))
        assert.equal(vhdwrite.pattern(1, 3), disk:read(3 * 512, 512), r[1])
      end)
    end
  end)
end)

-- ---- what was really opened -------------------------------------------------

describe("strace sees", function()
  ---The openings of a script of its own, traced.
  local function openings(script)
    support.write(dir .. "/script.lua", script)
    local _, said = support.sh(("timeout 60 strace -f -o %s -e "
      .. "trace=open,openat,openat2,open_by_handle_at,readlink,readlinkat "
      .. "lua5.4 %s"):format(q(dir .. "/trace"), q(dir .. "/script.lua")))
    local lines = {}
    for line in support.read(dir .. "/trace"):gmatch("[^\n]+") do
      lines[#lines + 1] = line
    end
    return lines, said
  end

  local script = [[
    local lvhd = require "lvhd"
    local path = %q
    print(pcall(lvhd.open, path))
    print(pcall(lvhd.info, path))
    print(pcall(lvhd.chain, path))
    local ok, task = pcall(lvhd.check, path, { chain = true, data = true })
    print(ok, pcall(task.wait, task))
    print "done"
  ]]

  for _, target in ipairs{ "/etc/shadow", "/proc/self/mem",
    "/proc/self/environ", "fifo" } do
    it("no opening of " .. target .. " #nosan", function()
      if not support.has("strace") or not support.sh("strace -qqo /dev/null true")
      then
        pending("strace is not installed, or not permitted")
      end
      furnish()
      local path = leaf_with{ name = target, locators = {
        { code = "W2ru", text = target }, { code = "W2ku", text = target },
        { code = "MacX", text = "file://" .. target },
        { code = "W2ku", text = target:gsub("/", "\\") },
        { code = "W2ru", text = "rootlink" .. target },
        { code = "MacX", text = "file://../../../../../../../.." .. target },
        { code = "W2ru",
          text = [[..\..\..\..\..\..\..\..]] .. target:gsub("/", "\\") } } }
      local lines, said = openings(script:format(path))
      assert.truthy(said:find("done\n$"), said)
      assert.truthy(said:find("E_ACCESSDENIED", 1, true)
        or said:find("VM_E_INVALID_HD_FILE", 1, true), said)
      local opened = {}
      local leaf_seen = false
      for _, line in ipairs(lines) do
        leaf_seen = leaf_seen or line:find(path, 1, true) ~= nil
        -- to look at (O_PATH) is not to open
        if line:find(target:match("[^/]*$"), 1, true)
          and not line:find("O_PATH", 1, true)
          and not line:find("= -1", 1, true) then
          opened[#opened + 1] = line
        end
      end
      assert.is_true(leaf_seen, "the trace shows nothing")
      assert.same({}, opened)
    end)
  end
end)

-- ---- chains without an end --------------------------------------------------

describe("a cycle", function()
  before_each(function() dir = support.tmpdir() end)

  ---n disks, each the parent of the one before, the first of the last, which
  ---they record by this locator, or by the name field.
  local function ring(n, code)
    local disks = {}
    for i = 1, n do
      local name = ("d%d.vhd"):format(i % n + 1)
      disks[i] = vhdwrite.new{ type = "differencing", size = SIZE,
        uuid = vhdwrite.uuid(i), parent_uuid = vhdwrite.uuid(i % n + 1),
        parent_timestamp = 1700000000, mtime = 1700000000,
        name = not code and name, locators = code and { { code = code,
          text = (code == "MacX" and "file://./" or ".\\") .. name } } or {} }
      disks[i]:put(i, vhdwrite.pattern(i, i)):save(("%s/d%d.vhd")
        :format(dir, i))
    end
    return disks
  end

  for _, n in ipairs{ 1, 2, 3, 10 } do
    it(("of %d is seen"):format(n), function()
      for _, code in ipairs{ false, "W2ru", "W2ku", "MacX" } do
        local disks = ring(n, code)
        both(function(engine)
          local err = expect.fails("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_CYCLE",
            engine.open, engine, disks[1].path)
          assert.is_number(err.layer)
          local infos = engine:chain(disks[1].path)
          assert.equal(n, #infos)
          assert.equal("CHAIN_CYCLE", infos[n].error.reason)
          assert.equal(disks[n].path, infos[n].error.path)
          assert.equal(disks[1].path, infos[n].error.parent)
          infos = engine:check(disks[1].path,
            { chain = true, data = true }):wait()
          assert.equal("CHAIN_CYCLE", infos[#infos].error.reason)
        end)
      end
    end)
  end

  it("that the leaf only leads to is seen", function()
    local disks = ring(3)
    local leaf = vhdwrite.new{ parent = disks[2] }
    leaf:save(dir .. "/leaf.vhd")
    expect.fails("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_CYCLE", lvhd.open,
      leaf.path)
    assert.equal(4, #lvhd.chain(leaf.path))
  end)

  it("through copies of one disk is seen", function()
    -- another file each time, but the disk has been there already
    local disks = ring(2)
    run(("cp -p %s %s/copy.vhd"):format(q(disks[1].path), q(dir)))
    disks[2].name = "copy.vhd"
    disks[2]:save(disks[2].path)
    expect.fails("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_CYCLE", lvhd.open,
      disks[1].path)
    local infos = lvhd.chain(disks[1].path)
    assert.equal(2, #infos)
    assert.equal(dir .. "/copy.vhd", infos[2].error.parent)
  end)

  it("in the caller's hand is seen", function()
    local disks = ring(2)
    expect.fails("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_CYCLE", lvhd.open,
      { disks[1].path, disks[2].path, disks[1].path })
  end)
end)

describe("a chain", function()
  local leaves

  ---66 disks, each of which records its parent so (all: in every way).
  local function stack(code)
    leaves = {}
    for i = 1, 66 do
      local name = ("%d.vhd"):format(i - 1)
      local o = { size = SIZE, parent = leaves[i - 1], block_size = 4096,
        uuid = vhdwrite.uuid(i) }
      if code ~= "all" then
        o.name = code == "name" and name
        o.locators = code == "name" and {} or { { code = code,
          text = (code == "MacX" and "file://./" or ".\\") .. name } }
      end
      leaves[i] = vhdwrite.new(o)
      leaves[i]:put(i, vhdwrite.pattern(i, i)):save(("%s/%d.vhd")
        :format(dir, i))
    end
  end

  before_each(function()
    dir = support.tmpdir()
    stack("all")
  end)

  local function depth(engine, n, opts)
    local disk <close> = engine:open(leaves[n].path, opts)
    assert.equal(vhdwrite.pattern(1, 1), disk:read(512, 512))
    assert.equal(vhdwrite.pattern(n, n), disk:read(n * 512, 512))
    return #disk:chain()
  end

  local function too_deep(limit, engine, n, opts)
    local err = expect.fails("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_TOO_DEEP",
      engine.open, engine, leaves[n].path, opts)
    assert.equal(limit, err.expected)
    local infos = engine:chain(leaves[n].path, opts)
    assert.equal(limit, #infos)
    assert.equal("CHAIN_TOO_DEEP", infos[limit].error.reason)
  end

  it("of 64 is opened, of 65 is too deep", function()
    for _, code in ipairs{ "all", "W2ru", "W2ku", "MacX", "name" } do
      stack(code)
      both(function(engine)
        assert.equal(64, depth(engine, 64), code)
        too_deep(64, engine, 65)
        too_deep(64, engine, 66)
      end)
    end
  end)

  it("is as deep as max_depth says, per engine and per call", function()
    local engine <close> = lvhd.engine{ max_depth = 3 }
    assert.equal(3, depth(engine, 3))
    too_deep(3, engine, 4)
    assert.equal(4, depth(engine, 4, { max_depth = 4 }))
    too_deep(2, engine, 3, { max_depth = 2 })
    assert.equal(66, depth(engine, 66, { max_depth = 100 }))
    assert.equal(1, depth(engine, 1, { max_depth = 1 }))
    too_deep(1, engine, 2, { max_depth = 1 })
  end)

  it("in the caller's hand is no deeper", function()
    local paths = {}
    for i = 5, 1, -1 do
      paths[#paths + 1] = leaves[i].path
    end
    lvhd.open(paths, { max_depth = 5 }):close()
    expect.fails("VM_E_HD_IMAGE_OPEN_FAIL", "CHAIN_TOO_DEEP", lvhd.open,
      paths, { max_depth = 4 })
  end)

  it("takes no such max_depth", function()
    for _, n in ipairs{ 0, -1, 1025, 1.5, "x" } do
      local ok, err = pcall(lvhd.open, leaves[2].path, { max_depth = n })
      assert.is_false(ok)
      assert.is_true(type(err) == "string"
        or err.name == "E_INVALIDARG", tostring(err))
    end
  end)
end)

-- The folder of a leaf is exchanged at the moment when nothing but its path
-- would lead to it: before the engine's first look at it, and before the parent.
describe("a folder that is exchanged for a link while a chain is opened", function()
  local function exchange(call, nth)
    local home = dir .. "/" .. call .. nth
    support.run(("mkdir -p %s/x/y %s/evil/y"):format(home, home))
    local good = vhdwrite.new{ size = SIZE }
    good:save(home .. "/evil/y/p.vhd")
    local leaf = vhdwrite.new{ parent = good }
    leaf:save(home .. "/x/y/leaf.vhd")
    local script = ([[
      (sleep 0.5; mv %s/x %s/x2; ln -s %s/evil %s/x) &
      strace -f -qq -o /dev/null -P %s/x/y -e trace=%s ]]
      .. [[-e inject=%s:delay_enter=1500000:when=%d ]]
      .. [[lua5.4 -e 'print(pcall(require "lvhd".open, "%s/x/y/leaf.vhd"))'; wait]])
      :format(home, home, home, home, home, call, call, nth, home)
    local out = support.run("sh -c " .. support.q(script))
    assert.is_nil(out:find("^true"), call .. " " .. nth .. ": " .. out)
  end

  it("lets nobody out #nosan", function()
    if not support.has("strace") then
      pending("strace is not installed")
    end
    exchange("openat2", 1)
    exchange("openat", 1)
  end)
end)
