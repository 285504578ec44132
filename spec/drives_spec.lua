-- SPDX-License-Identifier: MIT
--
-- Windows paths on engines with `drives`: one table of paths of files that
-- exist, one of new files, each row with the one verdict that every verb gives,
-- with openat2 and with the walk that takes its place; then what the options
-- take, the order of the checks, names that differ in case only, and links.
-- What changes while a call runs is drives_races_spec.lua's.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local test = require "lvhdtest"
local vhdwrite = require "spec.support.vhdwrite"

local q, run = support.q, support.run
local KiB <const>, MiB <const> = 1 << 10, 1 << 20

local dir, host, nas, deep -- deep: a mapped folder with a long name

local function fill()
  run(("cd %s && mkdir -p host/Vms/folder.vhd nas %s out"):format(q(dir),
    q(deep)))
  local base = vhdwrite.new{ size = 4 * MiB, uuid = vhdwrite.uuid(1),
    block_size = 512 * KiB }
  base:put(3, vhdwrite.pattern(1, 3)):save(host .. "/base.vhd")
  vhdwrite.new{ size = 4 * MiB, uuid = vhdwrite.uuid(2), parent = base,
    block_size = 2 * MiB }:save(host .. "/child.vhd")
  for _, copy in ipairs{ "host/Vms/Mixed.vhd", "host/Twin.vhd",
    "host/TWIN.vhd", "nas/g.vhd", "out/secret.vhd", "host/\u{E9}.vhd",
    "host/\u{DF}.vhd", "host/i.vhd", "host/\u{3A3}.vhd",
    "host/\u{10428}.vhd", "host/\u{1C6}.vhd", "host/a b.vhd",
    "host/com10.vhd" } do
    support.copy(host .. "/base.vhd", dir .. "/" .. copy)
  end
  for link, target in pairs{ ["in.vhd"] = "base.vhd",
    ["abs.vhd"] = host .. "/base.vhd", ["abs2.vhd"] = "/" .. host .. "/./base.vhd",
    ["out.vhd"] = "../out/secret.vhd", ["outabs.vhd"] = dir .. "/out/secret.vhd",
    ["dirout"] = "../out", ["absout"] = dir .. "/out", ["dirin"] = "Vms",
    ["absroot"] = host, ["dots.vhd"] = "Vms/../base.vhd",
    ["linkdots.vhd"] = "sub/../base.vhd", ["sub"] = "Vms/folder.vhd",
    ["absdots.vhd"] = host .. "/sub/../Mixed.vhd",
    ["reenter.vhd"] = "../host/base.vhd",
    ["prefix.vhd"] = host .. "x/base.vhd", ["loop.vhd"] = "loop.vhd",
    ["dangling.vhd"] = "nowhere.vhd", ["danglingdir"] = "nowhere",
    ["longnameddangling"] = "x", ["exactlink.vhd"] = "BASE.VHD",
    ["proc.vhd"] = "/proc/self/fd/0", ["l0"] = "base.vhd" } do
    assert(test.symlink(target, host .. "/" .. link))
  end
  for i = 1, 40 do
    assert(test.symlink("l" .. i - 1, host .. "/l" .. i))
  end
  assert(test.mkfifo(host .. "/fifo"))
end

local function furnish()
  dir = support.tmpdir()
  host, nas = dir .. "/host", dir .. "/nas"
  deep = dir .. "/" .. ("l"):rep(200) .. "/" .. ("m"):rep(200)
  fill()
end

local function drives()
  return { C = host, [ [[\\nas\golden]] ] = nas, L = deep }
end

-- ---- the two ways ---------------------------------------------------------

---The scratch folder as it was.
local function refurnish()
  run(("rm -rf %s/*"):format(q(dir)))
  fill()
end

---Runs fn(engine, system) with openat2, and where it is not to be had.
local function both(fn)
  for _, errno in ipairs{ false, "ENOSYS", "EPERM" } do
    local system = test.system()
    local engine <close> = lvhd.engine{ system = system:pointer(),
      drives = drives(), threads = 1 }
    if errno then
      system:fail{ call = "openat2", errno = errno, times = 0 }
    end
    fn(engine, system, errno or "openat2")
    if errno then
      for _, e in ipairs(system:log()) do
        assert(e.call ~= "openat2" or e.result < 0, "openat2 worked")
      end
    end
  end
end

local function told(ok, got)
  if ok then
    return "found", got
  end
  assert(lvhd.is_error(got), tostring(got))
  return got.name .. " " .. (got.reason or ""), got
end

-- ---- files that exist -----------------------------------------------------

local INVALID <const> = "E_INVALID_NAME "
local FORM <const> = INVALID .. "WINDOWS_FORM"
local CHARACTER <const> = INVALID .. "CHARACTER_FORBIDDEN"
local RESERVED <const> = INVALID .. "NAME_RESERVED"
local ENDING <const> = INVALID .. "NAME_ENDING"
local DRIVE <const> = "E_PATH_NOT_FOUND NO_SUCH_DRIVE"
local MISSING <const> = "E_PATH_NOT_FOUND FILE_MISSING"
local FOLDER <const> = "E_PATH_NOT_FOUND FOLDER_MISSING"
local NO_FOLDER <const> = "E_PATH_NOT_FOUND NOT_A_FOLDER"
local OUT <const> = "E_ACCESSDENIED OUTSIDE_DRIVE"
local SPECIAL <const> = "VM_E_INVALID_HD_FILE NOT_REGULAR"
local BASE <const> = "=host/base.vhd"

-- "=": where it leads, below the scratch folder.
local existing = {
  { [[C:\base.vhd]], BASE },
  { [[c:\base.vhd]], BASE },
  { [[C:\BASE.vhd]], BASE },
  { [[C:\.\base.vhd]], BASE },
  { [[C:\Vms\..\base.vhd]], BASE },
  { [[C:\nowhere\..\base.vhd]], BASE }, -- as text, before anything is looked at
  { [[C:\..\..\base.vhd]], BASE }, -- at the root it stays there
  { [[C:\..\..\etc\passwd]], FOLDER },
  { [[C:\a\..\..\x]], MISSING },
  { [[C:\\base.vhd]], BASE },
  { [[C:\Vms\Mixed.vhd]], "=host/Vms/Mixed.vhd" },
  { [[C:\vMS\\mIXED.VHD]], "=host/Vms/Mixed.vhd" },
  { [[C:\a b.vhd]], "=host/a b.vhd" },
  { [[\\nas\golden\g.vhd]], "=nas/g.vhd" },
  { [[\\NAS\Golden\G.VHD]], "=nas/g.vhd" },
  { [[\\nas\golden\..\..\g.vhd]], "=nas/g.vhd" },
  { [[\\nas\other\g.vhd]], DRIVE },
  { [[\\srv\share\b.vhd]], DRIVE },
  { [[D:\base.vhd]], DRIVE },
  { [[\\nas]], FORM },
  { [[\\nas\]], FORM },
  { [[\\\golden\g.vhd]], FORM },
  { [[\\?\C:\base.vhd]], FORM },
  { [[\\.\PhysicalDrive0]], FORM },
  { [[\\?\UNC\nas\golden\g.vhd]], FORM },
  { [[C:]], FORM },
  { [[C:base.vhd]], FORM },
  { [[C:..\base.vhd]], FORM },
  { [[C:/base.vhd]], CHARACTER },
  { [[C:\Vms/Mixed.vhd]], CHARACTER },
  { [[C:\base.vhd:stream]], CHARACTER },
  { [[C:\*.vhd]], CHARACTER },
  { [[C:\base?.vhd]], CHARACTER },
  { [[C:\<base>.vhd]], CHARACTER },
  { [[C:\"base".vhd]], CHARACTER },
  { [[C:\a|b.vhd]], CHARACTER },
  { "C:\\base.vhd\n", CHARACTER },
  { "C:\\\x7f.vhd", CHARACTER },
  { "C:\\\xFF.vhd", INVALID .. "NOT_UTF8" },
  { "C:\\\xC0\xAE\xC0\xAE\\base.vhd", INVALID .. "NOT_UTF8" }, -- overlong
  { "C:\\\xED\xA0\x80.vhd", INVALID .. "NOT_UTF8" }, -- a lone surrogate
  { "C:\\\u{FEFF}base.vhd", MISSING }, -- a BOM is a character
  { [[C:\con]], RESERVED },
  { [[C:\CON.vhd]], RESERVED },
  { [[C:\nul.tar.vhd]], RESERVED },
  { [[C:\nul .vhd]], RESERVED },
  { [[C:\aux\base.vhd]], RESERVED },
  { [[C:\com1.vhd]], RESERVED },
  { [[C:\LPT9]], RESERVED },
  { "C:\\com\u{B9}.vhd", RESERVED },
  { [[C:\conin$]], RESERVED },
  { [[C:\com10.vhd]], "=host/com10.vhd" },
  { [[C:\console.vhd]], MISSING },
  { [[C:\base.vhd.]], ENDING },
  { [[C:\base.vhd ]], ENDING },
  { [[C:\Vms.\Mixed.vhd]], ENDING },
  { [[C:\Vms \Mixed.vhd]], ENDING },
  { [[C:\...\base.vhd]], ENDING },
  { [[C:\nowhere.vhd]], MISSING },
  { [[C:\nowhere\base.vhd]], FOLDER },
  { [[C:\base.vhd\base.vhd]], NO_FOLDER },
  { [[C:\base.vhd\sub\base.vhd]], NO_FOLDER },
  -- case
  { [[C:\Twin.vhd]], "=host/Twin.vhd" },
  { [[C:\TWIN.vhd]], "=host/TWIN.vhd" },
  { [[C:\twin.vhd]], INVALID .. "CASE_AMBIGUOUS" },
  { "C:\\\u{C9}.VHD", "=host/\u{E9}.vhd" }, -- É, é
  { "C:\\e\u{301}.vhd", MISSING }, -- e and an accent: nothing is composed
  { "C:\\\u{DF}.VHD", "=host/\u{DF}.vhd" }, -- ß has no capital of its own
  { "C:\\\u{1E9E}.vhd", MISSING },
  { "C:\\SS.vhd", MISSING },
  { "C:\\I.VHD", "=host/i.vhd" }, -- as everywhere but in Turkish
  { "C:\\\u{130}.vhd", MISSING },
  { "C:\\\u{131}.VHD", "=host/i.vhd" }, -- its simple capital is I
  { "C:\\\u{3C3}.vhd", "=host/\u{3A3}.vhd" }, -- sigma
  { "C:\\\u{3C2}.vhd", "=host/\u{3A3}.vhd" }, -- the final one too
  { "C:\\\u{1C4}.vhd", "=host/\u{1C6}.vhd" }, -- dž: the capital, the title
  { "C:\\\u{10428}.vhd", "=host/\u{10428}.vhd" },
  { "C:\\\u{10400}.vhd", MISSING }, -- no case beyond the BMP
  -- links
  { [[C:\in.vhd]], BASE },
  { [[C:\IN.VHD]], BASE },
  { [[C:\abs.vhd]], BASE },
  { [[C:\abs2.vhd]], BASE },
  { [[C:\dots.vhd]], BASE },
  { [[C:\dirin\Mixed.vhd]], "=host/Vms/Mixed.vhd" },
  { [[C:\DIRIN\MIXED.vhd]], "=host/Vms/Mixed.vhd" },
  { [[C:\absroot\dirin\Mixed.vhd]], "=host/Vms/Mixed.vhd" },
  { [[C:\dirin\..\base.vhd]], BASE }, -- of the path's text, not of the link
  { [[C:\absdots.vhd]], "=host/Vms/Mixed.vhd" }, -- ".." in a link: the kernel's
  { [[C:\linkdots.vhd]], MISSING },
  { [[C:\l39]], BASE }, -- forty links
  { [[C:\l40]], NO_FOLDER },
  { [[C:\loop.vhd]], NO_FOLDER },
  { [[C:\loop.vhd\base.vhd]], NO_FOLDER },
  { [[C:\dangling.vhd]], MISSING },
  { [[C:\danglingdir\base.vhd]], FOLDER },
  { [[C:\exactlink.vhd]], MISSING }, -- a link's text is the host's: its case
  { [[C:\out.vhd]], OUT },
  { [[C:\outabs.vhd]], OUT },
  { [[C:\dirout\secret.vhd]], OUT },
  { [[C:\DIROUT\secret.vhd]], OUT },
  { [[C:\absout\secret.vhd]], OUT },
  { [[C:\reenter.vhd]], OUT },
  { [[C:\prefix.vhd]], OUT },
  { [[C:\proc.vhd]], OUT },
  { [[C:\fifo]], SPECIAL },
  { [[C:\Vms\folder.vhd]], SPECIAL },
  { [[C:\Vms\]], SPECIAL },
  { [[C:\base.vhd\]], NO_FOLDER }, -- so named it would have to be one
  { [[C:\base.vhd\.]], NO_FOLDER },
  { [[C:\]], SPECIAL },
  { [[\\nas\golden]], SPECIAL },
}

local GOOD <const> = [[C:\base.vhd]]

-- Verbs that open what exists; `path` is the one of the table. What changes
-- files is tried on what is refused, and elsewhere on what is found.
local openers = {
  info = function(e, path) return e:info(path) end,
  chain = function(e, path) return e:chain(path) end,
  open = function(e, path) e:open(path):close() end,
  ["open, as a layer"] = function(e, path)
    e:open{ [[C:\child.vhd]], path }:close()
  end,
  check = function(e, path) return e:check(path) end,
  ["convert, source"] = function(e, path)
    return e:convert(path, dir .. "/copy.vhd")
  end,
  ["convert, raw source"] = function(e, path)
    return e:convert(path, dir .. "/copy.raw", { from = "raw", to = "raw",
      round = "1 MiB" })
  end,
  ["create_differencing, parent"] = function(e, path)
    return e:create_differencing(dir .. "/copy.vhd", path)
  end,
  ["create_differencing, parent, without preflight"] = function(e, path)
    return e:create_differencing(dir .. "/copy.vhd", path,
      { preflight = false })
  end,
  children = function(e, path) return e:children(path, dir .. "/nas") end,
}
local changers = {
  compact = function(e, path) return e:compact(path) end,
  resize = function(e, path) return e:resize(path, 8 * MiB) end,
  repair = function(e, path) return e:repair(path) end,
  merge = function(e, path) return e:merge(path) end,
  ["merge, into"] = function(e, path)
    return e:merge([[C:\child.vhd]], { into = path })
  end,
  ["merge, children"] = function(e, path)
    return e:merge([[C:\child.vhd]], { children = { path } })
  end,
  relink = function(e, path) return e:relink(path, GOOD) end,
  ["relink, parent"] = function(e, path)
    return e:relink([[C:\child.vhd]], path)
  end,
  ["open to write"] = function(e, path)
    e:open(path, { write = true }):close()
  end,
}

-- `into` names a layer that is open already: only where it is, is asked.
-- A missing layer has a code of its own; a parent's name that can only be a
-- folder's is refused as such.
local function is_asked(verb, want, path)
  local folder = verb:find("^create_diff") and path:find("\\%.?$")
  return not folder and not (verb == "merge, into" and want == SPECIAL)
    and not (verb == "open, as a layer" and want:find("^E_PATH_NOT_FOUND"))
end

describe("a Windows path of a file that exists", function()
  before_each(furnish)

  it("has one verdict in every verb", function()
    both(function(engine, _, way)
      for _, row in ipairs(existing) do
        local path, want = row[1], row[2]
        local found = want:match("^=(.*)")
        local function judge(verb, fn)
          if not is_asked(verb, want, path) then
            return
          end
          local what, got = told(expect.try(fn, engine, path))
          assert.equal(found and "found" or want, what,
            ("%s %q with %s"):format(verb, path, way))
          os.remove(dir .. "/copy.vhd")
          os.remove(dir .. "/copy.raw")
          return got
        end
        for verb, fn in pairs(openers) do
          local got = judge(verb, fn)
          if verb == "info" then
            assert.equal(found and dir .. "/" .. found or path, got.path)
          end
        end
        if not found then
          for verb, fn in pairs(changers) do
            judge(verb, fn)
          end
        end
      end
    end)
  end)

  it("leads where host_path says, and windows_path back", function()
    both(function(engine)
      for _, row in ipairs(existing) do
        local path, want = row[1], row[2]
        local found = want:match("^=(.*)")
        local what, got = told(pcall(engine.host_path, engine, path))
        if found then
          assert.equal(dir .. "/" .. found, got)
          local back = engine:windows_path(got)
          assert.equal(got, engine:host_path(back), path)
        elseif path:find("dots") or path:find("dangling")
          or path:find("exactlink") then
          assert.equal(want, what, path) -- a link that leads nowhere
        elseif want == MISSING or want == FOLDER or want == SPECIAL
          or path:find("base.vhd\\%.?$") then
          assert.equal("found", what, path)
        else
          assert.equal(want, what, path)
        end
      end
    end)
  end)

  -- openat2 may say EAGAIN for as long as someone renames folders
  it("is found while the kernel says again and again", function()
    local system = test.system()
    local engine <close> = lvhd.engine{ system = system:pointer(),
      drives = drives(), threads = 1 }
    system:fail{ call = "openat2", errno = "EAGAIN", times = 0 }
    assert.equal(4 * MiB, engine:info("C:\\base.vhd").size)
    engine:create_dynamic("C:\\again\\new.vhd", "64 MiB"):wait()
  end)

  it("is taken by every verb that changes it", function()
    both(function(engine)
      refurnish()
      local child <const> = [[C:\CHILD.vhd]]
      local path = host .. "/child.vhd"
      assert.equal(path, engine:repair(child):wait().path)
      assert.equal(path, engine:compact(child, { force = true }):wait().path)
      assert.equal(path,
        engine:relink(child, [[C:\Base.vhd]], { force = true }):wait().path)
      do
        local disk <close> = engine:open(child, { write = true, force = true })
        disk:write(0, ("x"):rep(512))
      end
      local info = engine:merge(child, { into = [[c:\BASE.VHD]],
        delete = true, force = true }):wait()
      assert.equal(host .. "/base.vhd", info.path)
      assert.is_nil(test.stat(path))
      local disk <close> = engine:open([[C:\base.vhd]])
      assert.equal(("x"):rep(512), disk:read(0, 512))
      info = engine:resize([[\\nas\golden\G.vhd]], 8 * MiB,
        { children_in = { [[\\nas\golden]] } }):wait()
      assert.equal(nas .. "/g.vhd", info.path)
    end)
  end)

  it("is one of the merge's own children, however it is written", function()
    both(function(engine)
      refurnish()
      engine:create_differencing([[C:\leaf.vhd]], [[C:\child.vhd]]):wait()
      local info = engine:merge([[C:\child.vhd]],
        { children = { [[C:\LEAF.vhd]] }, delete = true, force = false,
          children_in = { [[C:\vms]] } }):wait()
      assert.equal(host .. "/base.vhd", info.path)
      assert.equal(host .. "/base.vhd",
        engine:info([[C:\leaf.vhd]]).parent.path
          or engine:chain([[C:\leaf.vhd]])[2].path)
    end)
  end)

  it("is a folder of parents, children_in, find and children", function()
    both(function(engine)
      local far = vhdwrite.new{ size = 4 * MiB, uuid = vhdwrite.uuid(8),
        block_size = 512 * KiB }
      far:save(nas .. "/far.vhd")
      vhdwrite.new{ size = 4 * MiB, uuid = vhdwrite.uuid(9), parent = far,
        block_size = 512 * KiB, name = false, locators = {
          { code = "MacX", text = "file://" .. nas .. "/far.vhd" } } }
        :save(dir .. "/out/leaf.vhd")
      local leaf = dir .. "/out/leaf.vhd"
      for _, folder in ipairs{ [[\\nas\golden]], [[\\NAS\golden\]],
        [[\\nas\golden\FAR.vhd]] } do
        engine:open(leaf, { parents = { folder } }):close()
      end
      assert.equal(1, #engine:find([[C:\vms]]):wait())
      assert.equal(host .. "/Vms/Mixed.vhd",
        engine:find{ [[C:\VMS]] }:wait()[1].path)
      assert.equal(host .. "/child.vhd",
        engine:children([[C:\base.vhd]], { [[C:\]] }):wait()[1].path)
      expect.fails("E_PATH_NOT_FOUND", "NO_SUCH_DRIVE", engine.find, engine,
        [[D:\]])
      expect.fails("E_ACCESSDENIED", "OUTSIDE_DRIVE", engine.find, engine,
        [[C:\dirout]])
      expect.fails("E_PATH_NOT_FOUND", "FOLDER_MISSING", engine.resize, engine,
        [[\\nas\golden\g.vhd]], 8 * MiB,
        { children_in = { [[C:\nowhere\x]] } })
    end)
  end)
end)

-- ---- new files ------------------------------------------------------------

local TOO_LONG <const> = "E_BUFFER_OVERFLOW PATH_TOO_LONG"
local RELATIVE <const> = "E_BAD_PATHNAME PATH_RELATIVE"
local EMPTY <const> = "E_BAD_PATHNAME PATH_EMPTY"
local EXISTS <const> = "E_ALREADY_EXISTS "
local TWIN <const> = "E_ALREADY_EXISTS CASE_TWIN"
local NAMES_FOLDER <const> = INVALID .. "NAME_IS_FOLDER"

-- So many UTF-16 units in all, with names that no volume refuses.
local function long(start, units)
  local path, left = start, units - #start
  while left > 0 do
    local n = math.min(left, 100)
    if left - n == 1 then
      n = n - 1
    end
    path, left = path .. ("n"):rep(n), left - n
    if left > 0 then
      path, left = path .. "\\", left - 1
    end
  end
  return path
end

-- An image that a path alone names: where it comes to be, or the verdict.
local images = {
  { [[C:\new.vhd]], "=host/new.vhd" },
  { [[c:\.\x\..\new.vhd]], "=host/new.vhd" },
  { [[C:\..\new.vhd]], "=host/new.vhd" },
  { [[C:\vms\new.vhd]], "=host/Vms/new.vhd" },
  { [[C:\VMS\One\Two\new.vhd]], "=host/Vms/One/Two/new.vhd" },
  { [[C:\dirin\new.vhd]], "=host/Vms/new.vhd" },
  { [[C:\dirin\One\new.vhd]], "=host/Vms/One/new.vhd" },
  { [[\\NAS\golden\new.vhd]], "=nas/new.vhd" },
  { [[L:\new.vhd]], "=deep/new.vhd" },
  { long([[L:\]], 259), "long" },
  { long([[L:\]], 260), TOO_LONG },
  { [[L:\]] .. ("x\\..\\"):rep(100) .. "new.vhd", "=deep/new.vhd" },
  { [[L:\.\]] .. long("", 256), "long" },
  { [[L:\.\]] .. long("", 257), TOO_LONG },
  { "L:\\" .. ("\u{1F600}"):rep(60) .. "\\" .. ("\u{E9}"):rep(125) .. "\\"
    .. "123456789", "long" }, -- 3 + 120 + 1 + 125 + 1 + 9
  { "L:\\" .. ("\u{1F600}"):rep(60) .. "\\" .. ("\u{E9}"):rep(125) .. "\\"
    .. "1234567890", TOO_LONG },
  { [[C:\base.vhd]], EXISTS },
  { [[C:\BASE.vhd]], TWIN },
  { [[C:\twin.VHD]], TWIN },
  { [[C:\in.vhd]], EXISTS },
  { [[C:\IN.vhd]], TWIN },
  { [[C:\dangling.vhd]], EXISTS },
  { [[C:\out.vhd]], EXISTS },
  { [[C:\fifo]], EXISTS },
  { [[C:\Vms]], EXISTS },
  { [[C:\vms]], TWIN },
  { "C:\\\u{C9}.vhd", TWIN },
  { [[C:\dirout\new.vhd]], OUT },
  { [[C:\dirout\One\new.vhd]], OUT },
  { [[C:\absout\new.vhd]], OUT },
  { [[C:\loop.vhd\new.vhd]], NO_FOLDER },
  { [[C:\danglingdir\new.vhd]], FOLDER },
  { [[C:\longnameddangling\new.vhd]], FOLDER },
  { [[C:\longnameddangling\One\new.vhd]], FOLDER },
  { [[C:\base.vhd\new.vhd]], NO_FOLDER },
  { [[C:\BASE.vhd\new.vhd]], NO_FOLDER },
  { [[C:\fifo\new.vhd]], NO_FOLDER },
  { [[D:\new.vhd]], DRIVE },
  { [[\\nas\other\new.vhd]], DRIVE },
  { [[C:\]], NAMES_FOLDER },
  { [[C:\Vms\]], NAMES_FOLDER },
  { [[C:\Vms\..]], NAMES_FOLDER },
  { [[C:]], FORM },
  { [[C:new.vhd]], FORM },
  { [[\\?\C:\new.vhd]], FORM },
  { [[\\.\pipe\new.vhd]], FORM },
  { [[\\nas]], FORM },
  { [[\new.vhd]], FORM },
  { [[C:\new/x.vhd]], CHARACTER },
  { [[C:\ne:w.vhd]], CHARACTER },
  { [[C:\new?.vhd]], CHARACTER },
  { "C:\\new\0.vhd", CHARACTER },
  { "C:\\new\xFF.vhd", INVALID .. "NOT_UTF8" },
  { [[C:\new.vhd.]], ENDING },
  { [[C:\new.vhd ]], ENDING },
  { [[C:\new. \x.vhd]], ENDING },
  { [[C:\prn.vhd]], RESERVED },
  { [[C:\com2\new.vhd]], RESERVED },
  { [[new.vhd]], RELATIVE },
  { [[sub\new.vhd]], RELATIVE },
  { [[]], EMPTY },
  { [[sub\con.vhd]], RESERVED }, -- characters and names come first
  { [[sub/new?.vhd]], CHARACTER },
}

-- Two paths of a call; where the image comes to be.
local pairs_of = {
  { [[new.vhd]], [[C:\base.vhd]], "=host/new.vhd" },
  { [[Vms\new.vhd]], [[C:\base.vhd]], "=host/Vms/new.vhd" },
  { [[..\new.vhd]], [[C:\Vms\Mixed.vhd]], "=host/new.vhd" },
  { [[..\..\new.vhd]], [[\\nas\golden\g.vhd]], "=nas/new.vhd" },
  { [[C:\Vms\new.vhd]], [[..\base.vhd]], "=host/Vms/new.vhd" },
  { [[C:\Vms\new.vhd]], [[.\mixed.vhd]], "=host/Vms/new.vhd" },
  { [[C:\new.vhd]], [[a\..\..\base.vhd]], "=host/new.vhd" },
  { [[\\nas\golden\new.vhd]], [[C:\base.vhd]], "=nas/new.vhd" },
  { "@out/new.vhd", [[C:\base.vhd]], "=out/new.vhd" },
  { [[C:\new.vhd]], "@nas/g.vhd", "=host/new.vhd" },
  { [[C:\new.vhd]], [[..\..\etc\passwd]], "E_PATH_NOT_FOUND FOLDER_MISSING" },
  { [[C:\new.vhd]], [[dirout\secret.vhd]], OUT },
  { [[C:\new.vhd]], "file:///etc/shadow", CHARACTER },
  { [[C:\new.vhd]], "Vms/Mixed.vhd", CHARACTER }, -- a host's beside Windows'
  { [[Vms/new.vhd]], [[C:\base.vhd]], CHARACTER },
  { "@out/new.vhd", [[..\host\base.vhd]], INVALID .. "BACKSLASH" },
  { [[sub\new.vhd]], "@nas/g.vhd", INVALID .. "BACKSLASH" },
  { [[\new.vhd]], [[C:\base.vhd]], FORM },
  { [[C:\new.vhd]], [[\base.vhd]], FORM },
  { [[C:\new.vhd]], [[C:base.vhd]], FORM },
  { [[C:\new.vhd]], [[\\?\C:\base.vhd]], FORM },
  { [[C:\new.vhd]], [[con.vhd]], RESERVED },
  { [[C:\new.vhd]], [[base.vhd.]], ENDING },
  { [[C:\new.vhd]], [[D:\base.vhd]], DRIVE },
  { [[D:\new.vhd]], [[C:\base.vhd]], DRIVE },
  { [[C:\new.vhd]], [[C:\twin.vhd]], INVALID .. "CASE_AMBIGUOUS" },
  { [[new.vhd]], [[base.vhd]], RELATIVE },
  { [[new.vhd]], [[]], EMPTY },
  { [[]], [[C:\base.vhd]], EMPTY },
  { [[C:\new.vhd]], [[]], EMPTY },
  { long([[L:\]], 259), [[C:\base.vhd]], "long" },
  { [[new.vhd]], [[L:\]] .. long("", 257), TOO_LONG }, -- the parent
  { [[C:\new.vhd]], long("", 257), TOO_LONG },
  { [[C:\new.vhd]], long("", 250), FOLDER },
}

local function place_of(want)
  return want == "long" and "long" or want:match("^=(.*)")
end

-- An image that was made where it should be; gone again, and its folders.
local function check_made(place, info, path, context)
  if place ~= "long" then
    local real = place:gsub("^deep", (deep:sub(#dir + 2):gsub("%%", "%%%%")))
    assert.equal(dir .. "/" .. real, info.path, context)
  else
    local tail = path:gsub("^L:\\%.?\\?", ""):gsub("\\", "/")
    assert.equal(deep .. "/" .. tail, info.path, context)
    assert.is_true(#info.path > 500) -- the host's path may be long
  end
  assert.equal("file", test.stat(info.path).type)
  os.remove(info.path)
  for _, at in ipairs{ dir .. "/host/Vms/One", dir .. "/nas", deep } do
    assert.is_true(support.remove(at))
  end
  support.mkdir(dir .. "/nas")
  support.mkdir(deep)
  support.copy(host .. "/base.vhd", dir .. "/nas/g.vhd")
end

describe("a Windows path of a new file", function()
  before_each(furnish)

  it("has one verdict in every verb that makes one", function()
    local makers = {
      create_dynamic = function(e, path, o)
        return e:create_dynamic(path, 4 * MiB, o)
      end,
      create_fixed = function(e, path, o)
        return e:create_fixed(path, 4 * MiB, o)
      end,
      create_differencing = function(e, path, o)
        return e:create_differencing(path, (path:find("^%a:")
          or path:find("^\\\\")) and host .. "/base.vhd" or "x.vhd", o)
      end,
      convert = function(e, path, o)
        return e:convert("base.vhd", path, o)
      end,
    }
    both(function(engine, _, way)
      for _, row in ipairs(images) do
        local path, want = row[1], row[2]
        local place = place_of(want)
        local before = not place and expect.tree(dir)
        for verb, fn in pairs(makers) do
          for _, o in ipairs{ {}, { preflight = false } } do
            local context = ("%s %q %s %s"):format(verb, path, way, o.preflight)
            local was = test.cwd()
            assert(test.chdir(host))
            local ok, got = expect.try(fn, engine, path, o)
            assert(test.chdir(was))
            local what = told(ok, got)
            assert.equal(place and "found" or want, what, context)
            if place then
              check_made(place, got, path, context)
            end
          end
        end
        assert(place or before == expect.tree(dir), path .. " left something")
      end
    end)
  end)

  it("has one verdict beside the parent's", function()
    both(function(engine, _, way)
      for _, row in ipairs(pairs_of) do
        local image, parent = row[1]:gsub("^@", dir .. "/"),
          row[2]:gsub("^@", dir .. "/")
        local place = place_of(row[3])
        for _, o in ipairs{ {}, { preflight = false } } do
          local context = ("%q %q %s"):format(image, parent, way)
          local what, got = told(expect.try(engine.create_differencing, engine,
            image, parent, o))
          assert.equal(place and "found" or row[3], what, context)
          if place then
            check_made(place, got, image, context)
          end
        end
      end
    end)
  end)

  it("takes its base from the option, of either kind", function()
    both(function(engine)
      local function make(image, base)
        local info = engine:create_dynamic(image, 4 * MiB, { base = base })
          :wait()
        os.remove(info.path)
        return info.path
      end
      assert.equal(host .. "/Vms/n.vhd", make("n.vhd", [[C:\vms]]))
      assert.equal(host .. "/n.vhd", make([[.\..\n.vhd]], [[C:\vms\]]))
      assert.equal(host .. "/n.vhd", make([[..\..\n.vhd]], [[C:\vms]]))
      assert.equal(nas .. "/n.vhd", make([[n.vhd]], [[\\nas\golden]]))
      assert.equal(host .. "/Vms/n.vhd", make([[Vms/n.vhd]], host))
      expect.refused("E_INVALID_NAME", "CHARACTER_FORBIDDEN", make, "s/n.vhd",
        [[C:\vms]])
      expect.refused("E_INVALID_NAME", "BACKSLASH", make, [[s\n.vhd]], host)
      expect.refused("E_INVALID_NAME", "NAME_RESERVED", make, "n.vhd",
        [[C:\con]])
      expect.refused("E_PATH_NOT_FOUND", "NO_SUCH_DRIVE", make, "n.vhd",
        [[D:\x]])
      expect.refused("E_BAD_PATHNAME", "BASE_RELATIVE", make, "n.vhd", "vms")
    end)
  end)

  it("makes its folders, and takes them away after a failure", function()
    both(function(engine, system)
      local info = engine:create_dynamic([[C:\vms\New\Deep\a.vhd]], 4 * MiB)
        :wait()
      assert.equal(host .. "/Vms/New/Deep/a.vhd", info.path)
      info = engine:create_dynamic([[C:\VMS\NEW\Other\a.vhd]], 4 * MiB):wait()
      assert.equal(host .. "/Vms/New/Other/a.vhd", info.path)
      run(("rm -r %s/Vms/New"):format(q(host)))
      expect.unchanged(host, function()
        for nth = 1, 3 do
          local rule = system:fail{ call = "fsync", kind = "folder", nth = nth,
            errno = "EIO" }
          expect.late("DISP_E_EXCEPTION", nil, engine.create_dynamic, engine,
            [[C:\vms\New\Deep\a.vhd]], 4 * MiB)
          system:drop(rule)
        end
      end)
    end)
  end)
end)

-- ---- names that differ in case only -----------------------------------------

describe("a new name that differs in case from one that is there", function()
  before_each(furnish)

  it("is E_ALREADY_EXISTS, naming it, from the call and the task", function()
    both(function(engine)
      for _, o in ipairs{ {}, { preflight = false } } do
        local err = expect.fails("E_ALREADY_EXISTS", "CASE_TWIN",
          engine.create_dynamic, engine, [[C:\vms\MIXED.vhd]], 4 * MiB, o)
        assert.same({ host .. "/Vms/Mixed.vhd" }, err.others)
        assert.equal([[C:\vms\MIXED.vhd]], err.path)
        err = expect.fails("E_ALREADY_EXISTS", "CASE_TWIN",
          engine.create_dynamic, engine, [[C:\twin.vhd]], 4 * MiB, o)
        table.sort(err.others)
        assert.same({ host .. "/TWIN.vhd", host .. "/Twin.vhd" }, err.others)
      end
      expect.refused("E_ALREADY_EXISTS", "CASE_TWIN", engine.create_dynamic,
        engine, [[C:\BASE.VHD]], 4 * MiB)
    end)
  end)

  it("is found by the task when it came after the call", function()
    both(function(engine, system)
      local held = system:hold{ call = "fsync", kind = "file" }
      local other = engine:create_dynamic([[C:\first.vhd]], 4 * MiB)
      assert.is_true(system:await(1))
      local task = engine:create_dynamic([[C:\late.vhd]], 4 * MiB)
      support.write(host .. "/LATE.vhd", "mine")
      system:drop(held)
      other:wait()
      expect.fails("E_ALREADY_EXISTS", "CASE_TWIN", task.wait, task)
      assert.equal("mine", support.read(host .. "/LATE.vhd"))
      assert.is_nil(test.stat(host .. "/late.vhd"))
      os.remove(host .. "/LATE.vhd")
      os.remove(host .. "/first.vhd")
    end)
  end)

  it("is no obstacle by a host's path", function()
    both(function(engine)
      local info = engine:create_dynamic(host .. "/BASE.vhd", 4 * MiB):wait()
      assert.equal(host .. "/BASE.vhd", info.path)
      os.remove(info.path)
    end)
  end)

  it("is kept with if_exists, but not one of two", function()
    both(function(engine)
      for _, o in ipairs{ {}, { preflight = false } } do
        o.if_exists = "keep"
        local info = engine:create_dynamic([[C:\VMS\mixed.VHD]], 4 * MiB, o)
          :wait()
        assert.is_false(info.created)
        assert.equal(host .. "/Vms/Mixed.vhd", info.path)
        info = engine:create_dynamic([[C:\TWIN.vhd]], 4 * MiB, o):wait()
        assert.is_false(info.created)
        assert.equal(host .. "/TWIN.vhd", info.path)
        info = engine:create_dynamic([[C:\in.vhd]], 4 * MiB, o):wait()
        assert.is_false(info.created)
        info = engine:create_dynamic([[C:\IN.vhd]], 4 * MiB, o):wait()
        assert.is_false(info.created)
        expect.fails("E_ALREADY_EXISTS", "CASE_TWIN", engine.create_dynamic,
          engine, [[C:\twin.vhd]], 4 * MiB, o)
        expect.fails("E_ALREADY_EXISTS", "OTHER_DISK", engine.create_dynamic,
          engine, [[C:\BASE.vhd]], 8 * MiB, o)
        expect.fails("E_ACCESSDENIED", "OUTSIDE_DRIVE", engine.create_dynamic,
          engine, [[C:\out.vhd]], 4 * MiB, o)
        expect.fails("E_ALREADY_EXISTS", "OTHER_DISK", engine.create_dynamic,
          engine, [[C:\dangling.vhd]], 4 * MiB, o)
        info = engine:create_differencing([[C:\CHILD.vhd]], [[C:\base.vhd]], o)
          :wait()
        assert.is_false(info.created)
        assert.equal(host .. "/child.vhd", info.path)
      end
    end)
  end)

  it("is found among thousands", function()
    run(("cd %s && mkdir many && cd many && seq -f 'name-%%g.vhd' 3000 | "
      .. "xargs touch"):format(q(host)))
    both(function(engine)
      expect.refused("E_ALREADY_EXISTS", "CASE_TWIN", engine.create_dynamic,
        engine, [[C:\many\NAME-2999.vhd]], 4 * MiB)
      assert.equal(host .. "/many/new.vhd",
        engine:create_dynamic([[C:\MANY\new.vhd]], 4 * MiB):wait().path)
      os.remove(host .. "/many/new.vhd")
    end)
  end)

  it("is seen the moment it is there, and not when it is gone", function()
    both(function(engine)
      for i = 1, 40 do
        local big = ("%s/MOMENT%d.vhd"):format(host, i)
        local path = ([[C:\moment%d.vhd]]):format(i)
        engine:create_dynamic(path:gsub("moment", "other"), 4 * MiB,
          { sync = "none" }):wait()
        support.write(big, "")
        expect.refused("E_ALREADY_EXISTS", "CASE_TWIN", engine.create_dynamic,
          engine, path, 4 * MiB)
        os.remove(big)
        engine:create_dynamic(path, 4 * MiB, { sync = "none" }):wait()
      end
      run(("cd %s && rm moment* other*"):format(q(host)))
    end)
  end)
end)

describe("a folder that may not be listed", function()
  it("has no names but for those that are exact", function()
    if not support.is_root() then
      pending("needs root, to become another user")
      return
    end
    furnish()
    run(("chmod 755 %s %s && chmod 711 %s/Vms && chmod 644 %s/Vms/Mixed.vhd")
      :format(q(dir), q(host), q(host), q(host)))
    local status, text = test.fork(function()
      test.user(65534)
      local engine <close> = lvhd.engine{ drives = { C = host } }
      local found = told(pcall(engine.info, engine, [[C:\Vms\Mixed.vhd]]))
      local other = told(pcall(engine.info, engine, [[C:\Vms\mixed.vhd]]))
      return found .. ", " .. other
    end)
    assert.equal(0, status, text)
    assert.equal("found, " .. MISSING, text)
  end)
end)

-- ---- the order of the checks ------------------------------------------------

describe("the checks of a creation by Windows paths", function()
  before_each(furnish)

  local too_long = [[C:\]] .. ("x"):rep(200) .. [[\]] .. ("y"):rep(200)
  -- image, parent, what is told, and of the parent
  local order = {
    { [[C:\a?]], [[C:\b?]], CHARACTER, false },
    { [[C:\a.vhd]], [[C:\b?]], CHARACTER, true },
    { [[a.vhd]], [[C:\con]], RESERVED, true },
    { [[a.vhd]], [[sub\b.vhd.]], ENDING, true }, -- before "both relative"
    { [[a.vhd]], [[b.vhd]], RELATIVE, false },
    { too_long, [[C:\b?]], CHARACTER, true },
    { too_long, [[D:\b.vhd]], TOO_LONG, false },
    { [[D:\a.vhd]], too_long, TOO_LONG, true },
    { too_long, [[b]] .. too_long:sub(3), TOO_LONG, false },
    { [[D:\a.vhd]], [[E:\b.vhd]], DRIVE, true }, -- the parent is looked at first
    { [[D:\a.vhd]], [[C:\nowhere.vhd]], MISSING, true },
    { [[D:\a.vhd]], [[C:\base.vhd]], DRIVE, false },
    { [[C:\base.vhd]], [[C:\nowhere.vhd]], MISSING, true },
    { [[C:\BASE.vhd]], [[C:\out.vhd]], OUT, true },
    { [[C:\BASE.vhd]], [[C:\base.vhd]], TWIN, false },
    { [[C:\dirout\a.vhd]], [[C:\fifo]], SPECIAL, true },
  }

  it("come in the documented order, the image's first", function()
    both(function(engine)
      for _, row in ipairs(order) do
        for _, o in ipairs{ {}, { preflight = false } } do
          local what, err = told(expect.try(engine.create_differencing, engine,
            row[1], row[2], o))
          assert.equal(row[3], what, row[1] .. " " .. row[2])
          assert.equal(row[1], err.path)
          assert.equal(row[4], err.message:find("the parent", 1, true) ~= nil,
            tostring(err))
        end
      end
    end)
  end)

  it("come before the size, and the size before the drive", function()
    both(function(engine)
      expect.refused("E_INVALID_NAME", "NAME_RESERVED", engine.create_dynamic,
        engine, [[D:\con]], 1)
      expect.refused("E_INVALIDARG", "SIZE_UNALIGNED", engine.create_dynamic,
        engine, [[D:\a.vhd]], 1)
      expect.refused("E_PATH_NOT_FOUND", "NO_SUCH_DRIVE", engine.create_dynamic,
        engine, [[D:\a.vhd]], 4 * MiB)
      expect.late("E_PATH_NOT_FOUND", "NO_SUCH_DRIVE", engine.create_dynamic,
        engine, [[D:\a.vhd]], 4 * MiB, { preflight = false })
    end)
  end)

  it("are as ever without drives", function()
    local engine <close> = lvhd.engine{}
    local none <close> = lvhd.engine{ drives = {} }
    for _, e in ipairs{ engine, none } do
      for path, reason in pairs{ [ [[C:\a.vhd]] ] = DRIVE, ["C:a?"] = DRIVE,
        [ [[\\nas\golden\a.vhd]] ] = INVALID .. "BACKSLASH",
        [ [[/x\a?.vhd]] ] = INVALID .. "BACKSLASH",
        [ [[sub\a.vhd]] ] = INVALID .. "BACKSLASH" } do
        assert.equal(reason, (told(expect.try(e.create_dynamic, e, path,
          4 * MiB))), path)
        assert.equal(reason, (told(expect.try(e.create_differencing, e,
          dir .. "/a.vhd", path))), path)
        assert.equal(MISSING, (told(expect.try(e.info, e, path:gsub("/", "")))))
      end
      expect.refused("E_BAD_PATHNAME", "PATH_RELATIVE", e.host_path, e,
        [[C:\a.vhd]])
      assert.is_nil(e:windows_path(host .. "/base.vhd"))
    end
  end)
end)

-- ---- the map ----------------------------------------------------------------

describe("the option drives", function()
  before_each(furnish)

  it("takes drives and shares, in either case, with or without an end",
    function()
      for _, key in ipairs{ "C", "c", "C:", "c:\\" } do
        local engine <close> = lvhd.engine{ drives = { [key] = host } }
        assert.equal(host .. "/base.vhd", engine:info([[C:\base.vhd]]).path)
        assert.equal([[C:\base.vhd]], engine:windows_path(host .. "/base.vhd"))
      end
      for _, key in ipairs{ [[\\nas\golden]], [[\\nas\golden\]] } do
        local engine <close> = lvhd.engine{ drives = { [key] = nas } }
        assert.equal([[\\nas\golden\g.vhd]],
          engine:windows_path(nas .. "/g.vhd"))
      end
    end)

  it("refuses what is no drive, a drive twice, a relative folder", function()
    for _, key in ipairs{ "", "CC", "1", "C:\\vms", "\\\\nas", "\\\\nas\\",
      "\\\\nas\\golden\\sub", "nas\\golden", "\\nas", "\\\\?\\C:", "C/",
      "\\\\nas\\gol?den", "//nas/golden", "\u{C9}" } do
      local err = expect.fails("E_INVALIDARG", "DRIVE_MALFORMED", lvhd.engine,
        { drives = { [key] = host } })
      assert.equal(key ~= "" and key or nil, err.path)
    end
    expect.fails("E_INVALIDARG", "DRIVE_TWICE", lvhd.engine,
      { drives = { C = host, ["c:"] = nas } })
    expect.fails("E_INVALIDARG", "DRIVE_TWICE", lvhd.engine,
      { drives = { [ [[\\nas\a]] ] = host, [ [[\\NAS\A\]] ] = nas } })
    for _, folder in ipairs{ "vms", "", "./vms" } do
      local err = expect.fails("E_BAD_PATHNAME", "BASE_RELATIVE", lvhd.engine,
        { drives = { C = folder } })
      assert.equal(folder ~= "" and folder or nil, err.path)
    end
    expect.argument_error("drives", lvhd.engine, { drives = { "/x" } })
    expect.argument_error("drives", lvhd.engine, { drives = "C" })
    expect.argument_error("drives", lvhd.engine, { drives = { C = 1 } })
    expect.argument_error("drives", lvhd.engine, { drives = { C = "/\0" } })
  end)

  it("asks for a folder when a call does, not before", function()
    local engine <close> = lvhd.engine{ drives = { C = dir .. "/later",
      D = host .. "/base.vhd", E = dir .. "/later/deeper" } }
    for _, path in ipairs{ [[C:\a.vhd]], [[E:\a.vhd]] } do
      expect.refused("E_PATH_NOT_FOUND", "FOLDER_MISSING",
        engine.create_dynamic, engine, path, 4 * MiB)
      expect.fails("E_PATH_NOT_FOUND", "FOLDER_MISSING", engine.info, engine,
        path)
      expect.fails("E_PATH_NOT_FOUND", "FOLDER_MISSING", engine.host_path,
        engine, path)
    end
    expect.refused("E_PATH_NOT_FOUND", "NOT_A_FOLDER", engine.create_dynamic,
      engine, [[D:\a.vhd]], 4 * MiB)
    expect.fails("E_PATH_NOT_FOUND", "NOT_A_FOLDER", engine.info, engine,
      [[D:\]])
    assert.is_nil(test.stat(dir .. "/later")) -- a mapped folder is never made
    assert(test.mkdir(dir .. "/later"))
    assert.equal(dir .. "/later/a.vhd",
      engine:create_dynamic([[C:\a.vhd]], 4 * MiB):wait().path)
    -- and another one has its name
    assert(os.rename(dir .. "/later", dir .. "/before"))
    assert(test.mkdir(dir .. "/later"))
    expect.fails("E_PATH_NOT_FOUND", "FILE_MISSING", engine.info, engine,
      [[C:\a.vhd]])
  end)

  it("takes a folder that is a link, or lies behind one", function()
    assert(test.symlink("host", dir .. "/link"))
    local engine <close> = lvhd.engine{ drives = { C = dir .. "/link",
      D = dir .. "/link/Vms/", E = dir .. "/nas/../link/./Vms" } }
    assert.equal(host .. "/base.vhd", engine:info([[C:\base.vhd]]).path)
    assert.equal(host .. "/base.vhd", engine:info([[C:\abs.vhd]]).path)
    assert.equal(host .. "/Vms/Mixed.vhd", engine:info([[D:\mixed.vhd]]).path)
    assert.equal(host .. "/Vms/Mixed.vhd", engine:info([[E:\mixed.vhd]]).path)
    assert(test.symlink(dir .. "/link/base.vhd", host .. "/given.vhd"))
    assert.equal(host .. "/base.vhd", engine:info([[C:\given.vhd]]).path)
    expect.fails("E_ACCESSDENIED", "OUTSIDE_DRIVE", engine.info, engine,
      [[C:\out.vhd]])
    assert.equal([[C:\base.vhd]], engine:windows_path(dir .. "/link/base.vhd"))
  end)

  it("names a file by the nearest of folders in each other", function()
    local engine <close> = lvhd.engine{ drives = { C = dir, D = host,
      E = host .. "/Vms", R = "/" } }
    assert.equal([[E:\Mixed.vhd]],
      engine:windows_path(host .. "/Vms/Mixed.vhd"))
    assert.equal([[E:\]], engine:windows_path(host .. "/Vms"))
    assert.equal([[D:\base.vhd]], engine:windows_path(host .. "/base.vhd"))
    assert.equal([[C:\nas\g.vhd]], engine:windows_path(nas .. "/g.vhd"))
    assert.equal([[R:\etc]], engine:windows_path("/etc"))
    assert.equal([[R:\]], engine:windows_path("/"))
    for _, path in ipairs{ [[E:\mixed.vhd]], [[D:\vms\mixed.vhd]],
      [[C:\HOST\vms\mixed.vhd]],
      "R:" .. (host .. "/Vms/Mixed.vhd"):gsub("/", "\\") } do
      assert.equal(host .. "/Vms/Mixed.vhd", engine:info(path).path)
    end
    -- what leads out of one drive may lead into another, and is refused
    expect.fails("E_ACCESSDENIED", "OUTSIDE_DRIVE", engine.info, engine,
      [[D:\out.vhd]])
    assert.equal(dir .. "/out/secret.vhd",
      engine:info([[C:\host\out.vhd]]).path)
    assert.equal("/", engine:host_path([[R:\]]))
    assert.equal("/nowhere-at-all/x", engine:host_path([[R:\nowhere-at-all\x]]))
    assert.equal(host .. "/Vms/r.vhd", engine:create_dynamic("R:"
      .. (host .. "/vms/r.vhd"):gsub("/", "\\"), 4 * MiB):wait().path)
    assert.equal(host .. "/absroot", engine:host_path([[C:\host\absroot]])
      .. "/absroot")
  end)

  it("has no name for what Windows could not call so", function()
    local engine <close> = lvhd.engine{ drives = { C = host } }
    for _, name in ipairs{ "con", "a?b", "a.", "a ", "a\\b", "a:b", "\xFF" } do
      support.write(host .. "/" .. name, "")
      assert.is_nil(engine:windows_path(host .. "/" .. name))
    end
    assert.is_nil(engine:windows_path(nas .. "/g.vhd"))
    assert.equal([[C:\new\x.vhd]], engine:windows_path(host .. "/new/x.vhd"))
    assert.equal([[C:\Vms\new.vhd]],
      engine:windows_path(host .. "/dirin/../Vms/./new.vhd"))
    expect.fails("E_BAD_PATHNAME", "PATH_RELATIVE", engine.windows_path, engine,
      "new.vhd")
    expect.fails("E_BAD_PATHNAME", "PATH_EMPTY", engine.windows_path, engine, "")
    expect.fails("E_POINTER", nil, engine.windows_path, engine)
    expect.fails("E_POINTER", nil, engine.host_path, engine)
  end)

  it("ends with the engine", function()
    local engine = lvhd.engine{ drives = { C = host } }
    engine:close()
    expect.fails("VM_E_APP_SHUTTING_DOWN", nil, engine.host_path, engine,
      [[C:\a]])
    expect.fails("VM_E_APP_SHUTTING_DOWN", nil, engine.windows_path, engine,
      host)
  end)
end)

-- ---- a base ---------------------------------------------------------------

describe("an engine's base that Windows calls so", function()
  local folder

  before_each(function()
    folder = support.tmpdir()
  end)

  it("is where relative paths start", function()
    local engine <close> = lvhd.engine{ drives = { C = folder },
      base = [[C:\new\base]] }
    local info = engine:create_dynamic("a.vhd", 4 * MiB):wait()
    assert.equal(folder .. "/new/base/a.vhd", info.path)
    info = engine:create_differencing([[sub\b.vhd]], [[..\a.vhd]]):wait()
    assert.equal(folder .. "/new/base/sub/b.vhd", info.path)
    assert.equal(folder .. "/new/base/a.vhd", info.parent.path)
  end)

  it("is checked by Windows' rules", function()
    for _, base in ipairs{ [[C:\a?b]], [[C:\con]] } do
      local ok, err = pcall(lvhd.engine, { drives = { C = folder }, base = base })
      assert.is_false(ok)
      assert.is_true(lvhd.is_error(err, "E_INVALID_NAME"))
      assert.equal(base, err.path)
    end
  end)
end)
