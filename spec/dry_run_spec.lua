-- SPDX-License-Identifier: MIT
--
-- An engine with dry_run = true: what a real run refuses, it refuses with the
-- same error; where a real run would begin to change something, E_ABORT
-- (DRY_RUN); and never is anything changed.

local lvhd = require "lvhd"
local support = require "spec.support"
local test = require "lvhdtest"

local MiB <const> = 1 << 20

local dir, real, dry

-- golden <- web <- leaf, a lone disk, a fixed one, what is no disk
before_each(function()
  dir = support.tmpdir()
  real = lvhd.engine { threads = 1, sync = "none" }
  dry = lvhd.engine { threads = 1, sync = "none", dry_run = true }
  local function path(name)
    return ("%s/%s.vhd"):format(dir, name)
  end
  real:create_dynamic(path "golden", 64 * MiB):wait()
  real:create_differencing(path "web", path "golden"):wait()
  real:create_differencing(path "leaf", path "web"):wait()
  do
    local leaf <close> = real:open(path "leaf", { write = true })
    leaf:write(3 * MiB, "of the leaf alone")
  end
  real:create_dynamic(path "other", 64 * MiB):wait()
  real:create_differencing(path "empty", path "other"):wait()
  real:create_dynamic(path "lone", 64 * MiB):wait()
  real:create_fixed(path "fixed", 4 * MiB):wait()
  local disk <close> = real:open(path "lone", { write = true })
  disk:write(8 * MiB, "x"):write(2 * MiB, ("\0"):rep(2 * MiB)):flush()
  support.write(dir .. "/text.vhd", ("no disk"):rep(1000))
  support.write(dir .. "/in.raw", ("x"):rep(5 * MiB))
end)

after_each(function()
  real:close()
  dry:close()
end)

-- Each file: what is changed of it changes its ctime, whose clock ticks some
-- hundred times a second; hence the bytes of the small ones too.
local function state()
  local all = {}
  for _, name in ipairs(support.names(dir)) do
    local st = test.stat(dir .. "/" .. name)
    all[name] = { st.ctime, st.mtime, st.size, st.mode, st.ino, st.blocks,
      st.size < 65536 and support.read(dir .. "/" .. name) }
  end
  return all
end

-- (luassert would print all the bytes)
local function same(a, b)
  for name, row in pairs(a) do
    for i, value in ipairs(row) do
      if not b[name] or b[name][i] ~= value then
        return false
      end
    end
  end
  for name in pairs(b) do
    if not a[name] then
      return false
    end
  end
  return true
end

-- A verb and its words: paths are names in the folder.
local function run(engine, row)
  local words = table.move(row, 2, #row, 1, {})
  for i, word in ipairs(words) do
    if type(word) == "string" and word:find "%.%a+$"
      and word:sub(1, 1) ~= "/" then
      words[i] = dir .. "/" .. word
    elseif type(word) == "table" and word[1] then
      words[i] = {}
      for k, name in ipairs(word) do
        words[i][k] = dir .. "/" .. name
      end
    end
  end
  local ok, result = pcall(function()
    return engine[row[1]](engine, table.unpack(words, 1, #row - 1)):wait()
  end)
  return ok, result
end

local function told(err)
  return ("%s %s"):format(err.name, err.reason)
end

-- Refused by both in the same words.
local REFUSED <const> = {
  { "create_dynamic", "new.vhd", 4 << 40 },
  { "create_dynamic", "new.vhd", 4096 },
  { "create_dynamic", "new.vhd", 64 * MiB + 1 },
  { "create_dynamic", "new.vhd", "64 XiB" },
  { "create_dynamic", "golden.vhd", 64 * MiB },
  { "create_dynamic", "golden.vhd", 64 * MiB,
    { preflight = false, sync = "none" } },
  { "create_dynamic", "n?w.vhd", 64 * MiB },
  { "create_dynamic", "new.vhd", 64 * MiB, { block_size = 77 } },
  { "create_dynamic", "fixed.vhd/new.vhd", 64 * MiB },
  { "create_dynamic", "golden.vhd", 65 * MiB, { if_exists = "keep" } },
  { "create_fixed", "new.vhd", 4 * MiB, { filesystem = "fat32" } },
  { "create_fixed", "new.vhd", 2000 << 30, { allocate = "zero" } },
  { "create_differencing", "new.vhd", "none.vhd" },
  { "create_differencing", "new.vhd", "text.vhd" },
  { "create_differencing", "web.vhd", "golden.vhd" },
  { "create_children", { "new.vhd", "web.vhd" }, "none.vhd" },
  { "convert", "none.vhd", "new.vhd" },
  { "convert", "text.vhd", "new.vhd" },
  { "convert", "golden.vhd", "web.vhd" },
  { "convert", "text.vhd", "new.vhd", { from = "raw" } },
  { "convert", "leaf.vhd", "new.vhd", { to = "differencing" } },
  { "merge", "golden.vhd" },
  { "merge", "none.vhd" },
  { "merge", "fixed.vhd" },
  { "merge", "leaf.vhd", { into = "/none.vhd" } },
  { "compact", "fixed.vhd" },
  { "compact", "text.vhd" },
  { "resize", "golden.vhd", 128 * MiB },
  { "resize", "leaf.vhd", 128 * MiB },
  { "resize", "fixed.vhd", 4 << 40 },
  { "resize", "fixed.vhd", 5 * MiB + 7 },
  { "resize", "lone.vhd", 4 * MiB },
  { "relink", "leaf.vhd", "fixed.vhd" },
  { "relink", "golden.vhd", "lone.vhd" },
  { "relink", "leaf.vhd", "none.vhd" },
  { "repair", "text.vhd" },
  { "open", "golden.vhd", { write = true } },
}

-- A real run would change something.
local CHANGING <const> = {
  { "create_dynamic", "new.vhd", 64 * MiB },
  { "create_dynamic", "new/deep/new.vhd", 64 * MiB },
  { "create_fixed", "new.vhd", 4 * MiB, { allocate = "reserve" } },
  { "create_fixed", "new.vhd", 4 * MiB, { filesystem = "fat16" } },
  { "create_differencing", "new.vhd", "leaf.vhd" },
  { "create_children", { "new.vhd", "new2.vhd" }, "web.vhd" },
  { "convert", "leaf.vhd", "new.vhd" },
  { "convert", "leaf.vhd", "new.vhd", { to = "fixed" } },
  { "convert", "in.raw", "new.vhd", { from = "raw" } },
  { "convert", "lone.vhd", "new.raw", { to = "raw" } },
  { "merge", "leaf.vhd" },
  { "merge", "leaf.vhd", { delete = true } },
  { "compact", "lone.vhd" },
  { "resize", "lone.vhd", 128 * MiB },
  { "resize", "lone.vhd", 10 * MiB },
  { "resize", "fixed.vhd", 8 * MiB },
  { "resize", "fixed.vhd", 3 * MiB },
  { "resize", "golden.vhd", 128 * MiB, { force = true } },
  { "relink", "leaf.vhd", "web.vhd" },
}

-- There is nothing to do.
local NOTHING <const> = {
  { "create_dynamic", "golden.vhd", 64 * MiB, { if_exists = "keep" } },
  { "create_children", { "web.vhd" }, "golden.vhd", { if_exists = "keep" } },
  { "merge", "empty.vhd" },
  { "compact", "golden.vhd" },
  { "resize", "fixed.vhd", 4 * MiB },
  { "repair", "lone.vhd" },
  { "check", "leaf.vhd", { chain = true } },
}

local function context(row)
  return ("%s %s %s"):format(row[1], tostring(row[2]), tostring(row[3]))
end

describe("a dry run", function()
  it("refuses what a real run refuses, in its words", function()
    local room = lvhd.info(dir .. "/lone.vhd").free > 2000 << 30
    for _, row in ipairs(REFUSED) do
      if room and row[3] == 2000 << 30 then
        row = REFUSED[1] -- the volume has room for that one
      end
      local before = state()
      local done, err = run(dry, row)
      assert.is_false(done, context(row))
      assert.is_true(same(before, state()), context(row))
      local did, real_err = run(real, row)
      assert.is_false(did, context(row))
      if lvhd.is_error(real_err) then
        assert.equal(told(real_err), told(err), context(row))
        assert.not_equal("DRY_RUN", err.reason)
        -- how much is free changes with the hour
        if err.reason ~= "VOLUME_FULL" then
          assert.equal(tostring(real_err), tostring(err))
        end
      else
        assert.equal(tostring(real_err), tostring(err))
      end
    end
  end)

  it("ends where it would begin, and has changed nothing", function()
    local before = state()
    for _, row in ipairs(CHANGING) do
      local done, err = run(dry, row)
      assert.is_false(done, context(row))
      assert.equal("E_ABORT DRY_RUN", told(err), context(row))
      assert.is_true(same(before, state()), context(row))
    end
  end)

  it("knows what would be: each of those is done for real", function()
    for i, row in ipairs(CHANGING) do
      local before = state()
      local ok, err = run(real, row)
      assert.is_true(ok, context(row) .. ": " .. tostring(err))
      assert.is_false(same(before, state()), i .. context(row))
      for _, name in ipairs { "new.vhd", "new2.vhd", "new.raw" } do
        os.remove(dir .. "/" .. name)
      end
      if row[1] == "merge" then
        os.remove(dir .. "/leaf.vhd")
        real:create_differencing(dir .. "/leaf.vhd", dir .. "/web.vhd"):wait()
        real:open(dir .. "/leaf.vhd", { write = true }):write(MiB, "again" .. i)
          :close()
      end
    end
  end)

  it("succeeds where there is nothing to do", function()
    local before = state()
    for _, row in ipairs(NOTHING) do
      local done, result = run(dry, row)
      assert.is_true(done, context(row) .. ": " .. tostring(result))
      assert.is_true(same(before, state()), context(row))
    end
  end)

  it("tells of many which are there, and which would be made", function()
    local ok, err = run(dry, { "create_children",
      { "new.vhd", "web.vhd", "n?.vhd", "sub/new.vhd" }, "golden.vhd" })
    assert.is_false(ok)
    local reasons = {}
    for i, item in ipairs(err.items) do
      reasons[i] = told(item)
    end
    assert.same({ "E_ABORT DRY_RUN", "E_ALREADY_EXISTS nil",
      "E_INVALID_NAME CHARACTER_FORBIDDEN", "E_ABORT DRY_RUN" }, reasons)
    assert.is_nil(test.stat(dir .. "/sub"))
  end)

  it("opens for writing, and refuses the bytes", function()
    local before = state()
    do
      local disk = dry:open(dir .. "/leaf.vhd", { write = true })
      local ok, err = pcall(disk.write, disk, 0, "bytes")
      assert.is_false(ok)
      assert.equal("E_ABORT DRY_RUN", told(err))
      pcall(disk.close, disk)
    end
    assert.is_true(same(before, state()))
    local disk <close> = dry:open(dir .. "/leaf.vhd", { write = true })
    assert.equal(64 * MiB, disk:size())
  end)

  it("sees that a folder may not be written #root", function()
    support.run("mkdir " .. dir .. "/mine && chmod 777 " .. dir
      .. " && chmod 755 " .. dir .. "/mine")
    for _, path in ipairs { "/proc/self/new.vhd", dir .. "/mine/new.vhd" } do
      local script = ([[
        local lvhd = require "lvhd"
        local e = lvhd.engine { dry_run = %s }
        local ok, err = pcall(function()
          return e:create_dynamic(%q, "64 MiB"):wait()
        end)
        print(err.name)]])
      local names = {}
      for i, how in ipairs { "true", "false" } do
        support.write(dir .. "/script.lua", script:format(how, path))
        names[i] = support.run(("setpriv --reuid 65534 --clear-groups env"
          .. " LUA_PATH=%s LUA_CPATH=%s lua5.4 %s"):format(
          support.q(package.path), support.q(package.cpath:gsub("%./",
          test.cwd() .. "/")), support.q(dir .. "/script.lua")))
      end
      assert.equal(names[2], names[1], path)
    end
  end)
end)
