-- SPDX-License-Identifier: MIT
--
-- What a child says of the way to its parent: whatever links, folders and
-- names are in between, the locators lead to what is really there.  Knows
-- lvhd's public functions only.

local lvhd = require "lvhd"
local support = require "spec.support"
local fixtures = require "spec.support.fixtures"
local vhdread = require "spec.support.vhdread"

local q, run = support.q, support.run
local MIB = 1 << 20

---Makes a small disk whose content is not all zeros.
local function golden(path)
  lvhd.create_dynamic(path, 3 * MIB, { long_paths = true }):wait()
  vhdread.put_sector(path, 77, ("lvhd."):rep(103):sub(1, 512))
  return vhdread.content({ path }, 0, 3 * MIB)
end

---The locators by code, and the name field.
local function recorded(path)
  local header = vhdread.open(path).header
  local said = { name = vhdread.utf16(header.parent_name, ">")
    :gsub("%z+$", "") }
  for _, l in ipairs(header.locators) do
    if l.text then
      said[l.code] = l.text
    end
  end
  return said
end

---Follows a recorded way from the child's real folder.
local function follow(child, text)
  local way = text:gsub("^file://", ""):gsub("^%.\\", "")
  if not text:find("^file://") then
    way = way:gsub("\\", "/")
  end
  local folder = run("readlink -f " .. q(child:match("^(.*)/")))
    :gsub("\n$", "")
  return (run("realpath -e " .. q(folder .. "/" .. way)):gsub("\n$", ""))
end

---Every text that the child records leads to `parent`, by `relative`.
local function leads(child, parent, relative)
  local said = recorded(child)
  assert.equal(parent:match("[^/]*$"), said.name)
  local windows = relative:gsub("/", "\\")
  -- readers take both `.\..\base.vhd` and `..\base.vhd`
  assert.equal(windows, (said.W2ru:gsub("^%.\\", "")))
  assert.is_true(relative:find("^%.%./") ~= nil
    or said.W2ru:find("^%.\\") ~= nil, said.W2ru)
  assert.equal("file://./" .. relative, said.MacX)
  assert.equal(parent, follow(child, said.W2ru))
  assert.equal(parent, follow(child, said.MacX))
end

---7-Zip finds the parent and reads the child right.
local function read_by_7zip(child, bytes)
  if not support.has("7zz") then
    pending("7zz is not installed")
  end
  assert.equal(fixtures.sha256(bytes), fixtures.sha256_of_output(
    "7zz x -tvhd -so -bd " .. q(child) .. " 2>/dev/null"))
end

describe("links", function()
  local dir
  before_each(function() dir = support.tmpdir() end)

  it("to the parent are followed: the name is the real one", function()
    local bytes = golden(dir .. "/base-2024.vhd")
    run("ln -s base-2024.vhd " .. q(dir .. "/current.vhd"))
    local info = lvhd.create_differencing(dir .. "/child.vhd",
      dir .. "/current.vhd"):wait()
    assert.equal(dir .. "/base-2024.vhd", info.parent.path)
    assert.equal("base-2024.vhd", info.parent.name)
    leads(dir .. "/child.vhd", dir .. "/base-2024.vhd", "base-2024.vhd")
    read_by_7zip(dir .. "/child.vhd", bytes)
    -- the link may go, the child stays
    os.remove(dir .. "/current.vhd")
    read_by_7zip(dir .. "/child.vhd", bytes)
  end)

  it("to the parent from another folder lead to the real folder",
    function()
      run(("mkdir %s %s"):format(q(dir .. "/real"), q(dir .. "/other")))
      local bytes = golden(dir .. "/real/base.vhd")
      run("ln -s ../real/base.vhd " .. q(dir .. "/other/link.vhd"))
      lvhd.create_differencing(dir .. "/real/child.vhd",
        dir .. "/other/link.vhd"):wait()
      leads(dir .. "/real/child.vhd", dir .. "/real/base.vhd", "base.vhd")
      read_by_7zip(dir .. "/real/child.vhd", bytes)
    end)

  it("to the child's folder are followed", function()
    support.mkdir(dir .. "/real/deep")
    run("ln -s real/deep " .. q(dir .. "/short"))
    local bytes = golden(dir .. "/real/deep/base.vhd")
    local info = lvhd.create_differencing(dir .. "/short/child.vhd",
      dir .. "/real/deep/base.vhd"):wait()
    assert.equal(dir .. "/real/deep/child.vhd", info.path)
    leads(dir .. "/real/deep/child.vhd", dir .. "/real/deep/base.vhd",
      "base.vhd")
    read_by_7zip(dir .. "/short/child.vhd", bytes)
  end)

  it("to the child's folder do not count as a level", function()
    -- as text the way would be ../base.vhd
    support.mkdir(dir .. "/a/b")
    run("ln -s a/b " .. q(dir .. "/short"))
    golden(dir .. "/base.vhd")
    lvhd.create_differencing(dir .. "/short/child.vhd",
      dir .. "/base.vhd"):wait()
    leads(dir .. "/a/b/child.vhd", dir .. "/base.vhd", "../../base.vhd")
  end)

  it("in the way to a folder that is made do not count either", function()
    support.mkdir(dir .. "/a/b")
    run("ln -s a/b " .. q(dir .. "/short"))
    golden(dir .. "/base.vhd")
    lvhd.create_differencing(dir .. "/short/new/er/child.vhd",
      dir .. "/base.vhd"):wait()
    leads(dir .. "/a/b/new/er/child.vhd", dir .. "/base.vhd",
      "../../../../base.vhd")
  end)

  it("on both sides meet", function()
    support.mkdir(dir .. "/real")
    run("ln -s real " .. q(dir .. "/one"))
    run("ln -s real " .. q(dir .. "/two"))
    local bytes = golden(dir .. "/one/base.vhd")
    lvhd.create_differencing(dir .. "/two/child.vhd",
      dir .. "/one/base.vhd"):wait()
    leads(dir .. "/real/child.vhd", dir .. "/real/base.vhd", "base.vhd")
    read_by_7zip(dir .. "/real/child.vhd", bytes)
  end)
end)

describe("a parent elsewhere", function()
  local dir
  before_each(function() dir = support.tmpdir() end)

  for _, case in ipairs{
    { "child.vhd", "golden/base.vhd", "golden/base.vhd" },
    { "vms/child.vhd", "base.vhd", "../base.vhd" },
    { "vms/child.vhd", "golden/base.vhd", "../golden/base.vhd" },
    { "vms/web/01/child.vhd", "golden/x/base.vhd",
      "../../../golden/x/base.vhd" },
    { "x/child.vhd", "xy/base.vhd", "../xy/base.vhd" },
    { "x/y/child.vhd", "x/base.vhd", "../base.vhd" },
    { "vms/child.vhd", "gol den/bä%20se.vhd", "../gol den/bä%20se.vhd" },
  } do
    it(("%s of %s"):format(case[1], case[2]), function()
      local child, parent = dir .. "/" .. case[1], dir .. "/" .. case[2]
      local bytes = golden(parent)
      local info = lvhd.create_differencing(child, parent):wait()
      leads(child, parent, case[3])
      assert.equal(recorded(child).W2ru, info.parent.locators[1].path)
      -- 7-Zip does not go to other folders on Linux; our own reader shows
      -- that the way leads to the right bytes.
      local found = follow(child, recorded(child).W2ru)
      assert.is_true(bytes == vhdread.content({ child, found }, 0, 3 * MIB))
    end)
  end

  it("named relative to the image's folder", function()
    -- ".." is the kernel's: the folder it leaves must be there
    support.mkdir(dir .. "/vms")
    golden(dir .. "/golden/base.vhd")
    lvhd.create_differencing(dir .. "/vms/child.vhd",
      "../golden/./base.vhd"):wait()
    leads(dir .. "/vms/child.vhd", dir .. "/golden/base.vhd",
      "../golden/base.vhd")
  end)

  it("of an image named relative to the parent's folder", function()
    golden(dir .. "/golden/base.vhd")
    local info = lvhd.create_differencing("../vms/child.vhd",
      dir .. "/golden/base.vhd"):wait()
    assert.equal(dir .. "/vms/child.vhd", info.path)
    leads(dir .. "/vms/child.vhd", dir .. "/golden/base.vhd",
      "../golden/base.vhd")
  end)

  it("named with needless dots and slashes", function()
    local bytes = golden(dir .. "/base.vhd")
    lvhd.create_differencing(dir .. "//./child.vhd",
      dir .. "/./" .. "/../" .. dir:match("[^/]*$") .. "//base.vhd"):wait()
    leads(dir .. "/child.vhd", dir .. "/base.vhd", "base.vhd")
    read_by_7zip(dir .. "/child.vhd", bytes)
  end)
end)

describe("a parent's name", function()
  local dir
  before_each(function() dir = support.tmpdir() end)

  local NAMES = {
    "with spaces.vhd", "100%.vhd", "%41%2F.vhd", "Größe.vhd", "日本語.vhd",
    "😀 𝄞.vhd", "#1 & [2] {3} 'x' $HOME;.vhd", "-o.vhd",
    "..dots.vhd", " lead.vhd", "no-extension", "base.vhd ", "e\u{301}.vhd",
    "\u{85}.vhd",
  }
  for _, name in ipairs(NAMES) do
    it(("%q is kept and found"):format(name), function()
      local bytes = golden(dir .. "/" .. name)
      lvhd.create_differencing(dir .. "/child.vhd", dir .. "/" .. name)
        :wait()
      leads(dir .. "/child.vhd", dir .. "/" .. name, name)
      read_by_7zip(dir .. "/child.vhd", bytes)
    end)
  end

  for what, name in pairs{
    ["ASCII"] = ("n"):rep(251) .. ".vhd",
    ["umlauts"] = ("ü"):rep(125) .. "x.vhd",
    ["emoji"] = ("😀"):rep(62) .. "abc.vhd",
  } do
    it("of 255 bytes is kept and found: " .. what, function()
      assert.equal(255, #name)
      local bytes = golden(dir .. "/" .. name)
      lvhd.create_differencing(dir .. "/child.vhd", dir .. "/" .. name,
        { long_paths = true }):wait()
      leads(dir .. "/child.vhd", dir .. "/" .. name, name)
      read_by_7zip(dir .. "/child.vhd", bytes)
    end)
  end

  it("with a host's characters is kept and found", function()
    local name = [[a:b*c?d<e>f|g"h.vhd]]
    local bytes = golden(dir .. "/base.vhd")
    os.rename(dir .. "/base.vhd", dir .. "/" .. name)
    lvhd.create_differencing(dir .. "/child.vhd", dir .. "/" .. name,
      { names = "host" }):wait()
    leads(dir .. "/child.vhd", dir .. "/" .. name, name)
    read_by_7zip(dir .. "/child.vhd", bytes)
  end)

  it("and the child's may be the same in two folders", function()
    golden(dir .. "/golden/disk.vhd")
    lvhd.create_differencing(dir .. "/vms/disk.vhd",
      dir .. "/golden/disk.vhd"):wait()
    leads(dir .. "/vms/disk.vhd", dir .. "/golden/disk.vhd",
      "../golden/disk.vhd")
  end)

  it("too long for MacX alone leaves that locator out, and says so",
    function()
      -- many bytes in few units: UTF-8 needs 3 for each of these
      local folders = {}
      for i = 1, 5 do folders[i] = ("語"):rep(70) end
      local way = table.concat(folders, "/") .. "/base.vhd"
      golden(dir .. "/" .. way)
      local info = lvhd.create_differencing(dir .. "/child.vhd",
        dir .. "/" .. way, { long_paths = true }):wait()
      local said = recorded(dir .. "/child.vhd")
      assert.is_nil(said.MacX)
      assert.equal(".\\" .. way:gsub("/", "\\"), said.W2ru)
      assert.equal(dir .. "/" .. way, follow(dir .. "/child.vhd", said.W2ru))
      assert.equal(1, #info.findings)
      assert.equal("LOCATOR_LEFT_OUT", info.findings[1].code)
      assert.equal("note", info.findings[1].severity)
      assert.equal(1, #info.parent.locators)
    end)

  it("too far away for W2ru is an error", function()
    local folders = {}
    for i = 1, 6 do folders[i] = ("d"):rep(100) end
    local way = table.concat(folders, "/") .. "/base.vhd"
    golden(dir .. "/" .. way)
    local ok, err = pcall(lvhd.create_differencing, dir .. "/child.vhd",
      dir .. "/" .. way, { long_paths = true })
    assert.is_false(ok)
    assert.equal("E_BUFFER_OVERFLOW", err.name)
    assert.equal("LOCATOR_TOO_LONG", err.reason)
    assert.is_false(support.sh("test -e " .. q(dir .. "/child.vhd")))
  end)
end)
