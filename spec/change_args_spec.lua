-- SPDX-License-Identifier: MIT
--
-- The verbs that change disks, as Lua sees them: which arguments and options
-- are wrong and who says so, what nil, a closed engine and a fork give, what
-- their errors and tasks tell.  What they do to files is shown elsewhere.

local lvhd = require "lvhd"
local core = require "lvhd.core"
local support = require "spec.support"
local expect = require "spec.support.expect"
local test = require "lvhdtest"

local MiB <const> = 1 << 20

-- verb -> its arguments before the options; paths are filled in.
local VERBS <const> = {
  convert = { "source", "dest" },
  merge = { "child" },
  compact = { "path" },
  resize = { "path", "size" },
  relink = { "child", "parent" },
  repair = { "path" },
}

-- The options of each, with a value that is right.
local CHANGING <const> = { force = true, sync = "none" }
local OPENING <const> = { parents = { "/golden" }, max_depth = 3 }
local SEARCH <const> = { children_in = { "/vms" } }

local function join(...)
  local all = {}
  for _, t in ipairs{ ... } do
    for name, value in pairs(t) do
      all[name] = value
    end
  end
  return all
end

local OPTIONS <const> = {
  open = join(CHANGING, OPENING, SEARCH, { write = false }),
  convert = join(OPENING, {
    from = "vhd", to = "dynamic", parent = "/golden/base.vhd", round = 512,
    uuid = "0b4c4a1e-5c3b-4f5a-9d0a-0123456789ab", timestamp = 1600000000,
    mode = "0600", if_exists = "error", block_size = 2 * MiB,
    allocate = "sparse", sync = "data", base = "/", long_paths = true,
    names = "host", preflight = false,
  }),
  merge = join(CHANGING, OPENING, SEARCH,
    { into = "/golden/base.vhd", children = "/vms/x.vhd", delete = false }),
  compact = join(CHANGING, OPENING),
  resize = join(CHANGING, SEARCH),
  relink = join(CHANGING, OPENING),
  repair = CHANGING,
}

local dir

before_each(function()
  dir = support.tmpdir()
end)

-- Arguments of a verb, all of them for files that do not exist.
local function arguments(verb)
  local list = {}
  for i, name in ipairs(VERBS[verb] or { "path" }) do
    list[i] = name == "size" and 8 * MiB or ("%s/%s.vhd"):format(dir, name)
  end
  return list
end

local function call(verb, list, opts)
  local n = #(VERBS[verb] or { "path" })
  local all = table.move(list, 1, n, 1, {})
  all[n + 1] = opts
  return lvhd[verb](table.unpack(all, 1, n + 1))
end

describe("the verbs that change disks #tsan", function()
  it("take paths, and a size where there is one", function()
    for verb, names in pairs(VERBS) do
      for i, name in ipairs(names) do
        for _, wrong in ipairs{ {}, true, print } do
          local list = arguments(verb)
          list[i] = wrong
          local text = expect.argument_error(type(wrong), call, verb, list)
          assert.matches(("#%d to '%s'"):format(i, verb), text, 1, true)
        end
        if name ~= "size" then
          local list = arguments(verb)
          list[i] = 7
          expect.argument_error("number", call, verb, list)
        end
      end
    end
  end)

  it("name the line of the script", function()
    local ok, err = pcall(function() lvhd.compact({}) end)
    assert.is_false(ok)
    assert.matches("change_args_spec.lua:%d+: bad argument #1 to 'compact'",
      err)
    ok, err = pcall(function() lvhd.repair(nil) end)
    assert.is_false(ok)
    assert.matches("change_args_spec.lua:%d+$", err.where)
  end)

  it("say E_POINTER for nil", function()
    local reasons = { path = "PATH_NIL", source = "PATH_NIL",
      child = "PATH_NIL", dest = "IMAGE_NIL", parent = "PARENT_NIL" }
    for verb, names in pairs(VERBS) do
      for i, name in ipairs(names) do
        local list = arguments(verb)
        list[i] = nil
        local err = expect.refused("E_POINTER", reasons[name], call, verb,
          list)
        assert.equal(verb, err.op)
      end
    end
  end)

  it("refuse a path with NUL", function()
    for verb, names in pairs(VERBS) do
      for i, name in ipairs(names) do
        if name ~= "size" then
          local list = arguments(verb)
          list[i] = dir .. "/a\0b.vhd"
          support.write(dir .. "/a", "")
          expect.fails("E_INVALID_NAME", "CHARACTER_FORBIDDEN", call, verb,
            list)
        end
      end
    end
  end)

  it("know their options, and refuse those of others by name", function()
    local all = join(table.unpack((function()
      local list = {}
      for _, options in pairs(OPTIONS) do
        list[#list + 1] = options
      end
      return list
    end)()))
    for verb, known in pairs(OPTIONS) do
      for name, value in pairs(all) do
        local ok, err = expect.try(call, verb, arguments(verb),
          { [name] = value })
        assert.is_false(ok)
        if known[name] ~= nil then
          assert.is_true(lvhd.is_error(err), tostring(err))
        else
          assert.equal("string", type(err), tostring(err))
          assert.matches(("unknown option '%s', did you mean '"):format(name),
            err, 1, true)
        end
      end
    end
  end)

  it("name the nearest option", function()
    for verb, pair in pairs{
      open = { "wirte", "write" }, convert = { "form", "from" },
      merge = { "child", "children" }, compact = { "froce", "force" },
      resize = { "children", "children_in" }, relink = { "parent", "parents" },
      repair = { "snyc", "sync" },
    } do
      expect.argument_error(("'%s', did you mean '%s'?"):format(pair[1],
        pair[2]), call, verb, arguments(verb), { [pair[1]] = true })
    end
  end)

  it("refuse options of a wrong type or word", function()
    for verb, wrong in pairs{
      open = { write = 1, force = "yes", sync = "most", children_in = true },
      convert = { from = "vmdk", to = "vhdx", parent = 7, round = "much",
        allocate = "thick", block_size = "2 MiB", names = "dos" },
      merge = { into = true, children = { 1 }, delete = "yes", sync = false,
        children_in = { x = "y" } },
      compact = { force = 0, parents = 5, max_depth = 0 },
      resize = { children_in = "a\0b", force = {} },
      relink = { parents = { "a\0" }, max_depth = 1025 },
      repair = { force = "no" },
    } do
      for name, value in pairs(wrong) do
        expect.argument_error(("option '%s'"):format(name), call, verb,
          arguments(verb), { [name] = value })
      end
      expect.argument_error("table expected", call, verb, arguments(verb),
        "force")
    end
    -- nothing would be searched, and an empty name says nothing
    for _, verb in ipairs{ "open", "merge", "resize" } do
      for _, value in ipairs{ "", { "" }, { "/vms", "" } } do
        expect.argument_error(
          "option 'children_in': list of paths, none of them empty", call,
          verb, arguments(verb), { children_in = value })
      end
    end
    for _, round in ipairs{ 0, -512, 1.5, {}, "0", "-1 MiB" } do
      expect.argument_error("option 'round'", call, "convert",
        arguments("convert"), { round = round })
    end
    for name, value in pairs{ into = "a\0b", children = { "a\0b" } } do
      expect.argument_error(name, call, "merge", arguments("merge"),
        { [name] = value })
    end
  end)

  it("read sizes as the creators do, with the same hints", function()
    local path = dir .. "/disk.vhd"
    lvhd.create_dynamic(path, 4 * MiB):wait()
    for size, reason in pairs{ ["40 QiB"] = "SIZE_MALFORMED",
      [0] = "SIZE_NOT_POSITIVE", [-512] = "SIZE_NOT_POSITIVE",
      [4 * MiB + 1] = "SIZE_UNALIGNED", [1.5] = "SIZE_MALFORMED" } do
      expect.fails("E_INVALIDARG", reason, lvhd.resize, path, size)
    end
    for size, name in pairs{ [64] = "E_INVALIDARG",
      [512 * 64] = "VM_E_IMAGE_SIZE_TOO_SMALL" } do
      assert.equal(('did you mean "%d MiB"?'):format(size),
        expect.fails(name, nil, lvhd.resize, path, size).hint)
    end
    expect.fails("VM_E_IMAGE_SIZE_TOO_LARGE", nil, lvhd.resize, path, "2040 GiB")
    expect.argument_error("integer or string", lvhd.resize, path, true)
    assert.equal(4 * MiB, lvhd.info(path).size)
  end)

  it("are refused by a closed engine", function()
    local engine = lvhd.engine()
    engine:close()
    for verb in pairs(VERBS) do
      local err = expect.refused("VM_E_APP_SHUTTING_DOWN", nil, engine[verb],
        engine, table.unpack(arguments(verb)))
      assert.equal(verb, err.op)
      expect.argument_error("self", engine[verb], nil,
        table.unpack(arguments(verb)))
    end
  end)

  it("keep what they were told, whatever is collected", function()
    for verb, known in pairs(OPTIONS) do
      for round = 1, 3 do
        local opts = {}
        for name, value in pairs(known) do
          if type(value) == "table" or name == "into" then
            value = {}
            for i = 1, 50 do -- long strings, which are not shared
              value[i] = ("%s/%d/%s"):format(dir, round, ("n%d"):format(i)
                :rep(30))
            end
            opts[name] = name == "into" and value[1] or value
          elseif verb ~= "convert" then
            opts[name] = value
          end
        end
        local list = arguments(verb)
        local ok, task = pcall(call, verb, list, opts)
        list, opts = nil, nil -- luacheck: ignore 311
        collectgarbage()
        collectgarbage()
        if ok then
          ok, task = pcall(task.wait, task)
        end
        assert.is_false(ok)
        assert.is_true(lvhd.is_error(task), tostring(task))
      end
    end
  end)

  it("tell a missing file", function()
    for verb in pairs(VERBS) do
      local err = expect.fails("E_PATH_NOT_FOUND", "FILE_MISSING", call, verb,
        arguments(verb))
      assert.equal(verb, err.op)
      assert.matches(dir, err.path, 1, true)
    end
    assert.same({}, support.names(dir))
  end)
end)

describe("after a fork #nosan", function()
  it("the verbs that change disks raise E_HANDLE", function()
    local engine <close> = lvhd.engine()
    lvhd.create_dynamic(dir .. "/disk.vhd", 4 * MiB):wait()
    local disk <close> = engine:open(dir .. "/disk.vhd", { write = true })
    disk:write(0, "before")
    local status, text = test.fork(function()
      local names = {}
      for verb in pairs(VERBS) do
        local ok, err = pcall(engine[verb], engine,
          table.unpack(arguments(verb)))
        names[#names + 1] = ok and "worked" or err.name
      end
      for _, method in ipairs{ "write", "flush" } do
        local ok, err = pcall(disk[method], disk, 0, "child")
        names[#names + 1] = ok and "worked" or err.name
      end
      disk:close()
      return table.concat(names, " ")
    end)
    assert.equal(0, status, text)
    assert.equal(("E_HANDLE "):rep(8):sub(1, -2), text)
    disk:write(3, "more"):flush()
    assert.equal("befmore", disk:read(0, 7))
  end)
end)

describe("the errors of changing", function()
  it("hint at what cures", function()
    for _, case in ipairs{
      { "E_INVALIDARG", "convert", "SIZE_UNALIGNED", 'round = "512"' },
      { "E_SHARING_VIOLATION", "write", "OTHER_CHILDREN", "force = true" },
      { "VM_E_FILE_READ_ONLY", "compact", "NO_WRITE_BIT", "chmod u+w" },
      { "VM_E_PARENT_MODIFIED", "compact", "PARENT_TIME", "relink" },
      { "VM_E_PARENT_MODIFIED", "merge", "PARENT_TIME", "force = true" },
      { "E_SHARING_VIOLATION", "merge", "JOURNAL_PENDING", "again" },
      { "E_ACCESSDENIED", "write", "NOT_WRITABLE", "write = true" },
      { "E_POINTER", "convert", "NO_PARENT_GIVEN", "parent =" },
      { "VM_E_WRONG_HD_IMAGE_TYPE", "resize", "TYPE_UNFIT", "convert it" },
      { "E_DISK_FULL", "merge", nil, "free room and run it again: the child" },
      { "E_DISK_FULL", "compact", nil, "free room and run it again: the disk" },
      { "E_DISK_FULL", "resize", "VOLUME_FULL", "free room and run it again" },
      { "E_DISK_FULL", "relink", nil, "free room and run it again" },
      { "E_DISK_FULL", "repair", nil, "free room and run it again" },
      { "E_DISK_FULL", "repair", "JOURNAL_FAILED", "with some KiB free" },
    } do
      local err = core.fail(case[1], case[2], case[3])
      assert.matches(case[4], err.hint, 1, true)
      assert.matches(case[4], tostring(err), 1, true)
    end
    for _, case in ipairs{
      { "E_INVALIDARG", "create_fixed", "SIZE_UNALIGNED" },
      { "E_SHARING_VIOLATION", "write", "IN_USE" },
      { "E_SHARING_VIOLATION", "merge", "SAVED_STATE" },
      { "E_DISK_FULL", "create_dynamic", "VOLUME_FULL" },
      { "VM_E_WRONG_HD_IMAGE_TYPE", "merge", "TYPE_UNFIT" },
      { "VM_E_INVALID_HD_FILE", "info", "FOOTER_MISSING" },
    } do
      assert.is_nil(core.fail(table.unpack(case)).hint)
    end
  end)

  it("hint at check and repair where a parent has lost its footer", function()
    local parent, copy = dir .. "/parent.vhd", dir .. "/copy.vhd"
    lvhd.create_dynamic(parent, 4 * MiB):wait()
    lvhd.create_differencing(dir .. "/child.vhd", parent):wait()
    support.write(copy, support.read(parent):sub(1, -513))
    for _, fn in ipairs{
      function() return lvhd.create_differencing(dir .. "/new.vhd", copy) end,
      function() return lvhd.create_children({ dir .. "/new.vhd" }, copy) end,
      function()
        return lvhd.convert(parent, dir .. "/new.vhd",
          { to = "differencing", parent = copy })
      end,
      function() return lvhd.relink(dir .. "/child.vhd", copy) end,
    } do
      local err = expect.fails("VM_E_INVALID_HD_FILE", "FOOTER_MISSING", fn)
      assert.matches("check tells .*, repair mends", err.hint)
    end
    assert.equal("FOOTER_COPY_USED", lvhd.check(copy):wait()[1].findings[1].code)
    lvhd.repair(copy):wait()
    lvhd.create_differencing(dir .. "/new.vhd", copy):wait()
  end)

  it("protect what has no write permission, from root too", function()
    local path = dir .. "/golden.vhd"
    lvhd.create_dynamic(path, 4 * MiB, { mode = "0444" }):wait()
    expect.unchanged(dir, function()
      for _, fn in ipairs{
        function() return lvhd.compact(path) end,
        function() return lvhd.resize(path, 8 * MiB) end,
        function() return lvhd.repair(path) end,
        function() return lvhd.open(path, { write = true, force = true }) end,
      } do
        local err = expect.fails("VM_E_FILE_READ_ONLY", "NO_WRITE_BIT", fn)
        assert.equal(path, err.path)
        assert.matches("chmod", err.hint, 1, true)
      end
    end)
    lvhd.open(path):close()
  end)
end)

describe("the tasks of changing", function()
  local root, child

  before_each(function()
    root, child = dir .. "/root.vhd", dir .. "/child.vhd"
    lvhd.create_dynamic(root, 8 * MiB, { timestamp = 1600000000 }):wait()
    lvhd.create_differencing(child, root):wait()
  end)

  it("are named, count bytes and give an info", function()
    local cases = {
      { "convert", child, dir .. "/copy.vhd", result = dir .. "/copy.vhd",
        named = dir .. "/copy.vhd" },
      { "compact", child },
      { "resize", dir .. "/copy.vhd", "12 MiB" },
      { "relink", child, root },
      { "repair", child },
      { "merge", child, result = root },
    }
    for _, case in ipairs(cases) do
      local verb, path = case[1], case.named or case[2]
      local task = lvhd[verb](table.unpack(case, 2))
      local text = tostring(task)
      assert.matches(("lvhd.task: %s '%s' ("):format(verb, path), text, 1,
        true)
      local info = task:wait()
      assert.equal(case.result or path, info.path)
      assert.equal("succeeded", task:status())
      assert.equal(info, task:wait()) -- the same table
      local percent, bytes, total, items = task:progress()
      assert.equal(100, percent)
      assert.is_true(math.type(bytes) == "integer" and bytes >= 0)
      assert.is_true(total == nil or total >= bytes, verb)
      assert.equal("integer", math.type(items))
      assert.equal(("lvhd.task: %s '%s' (succeeded)"):format(verb, path),
        tostring(task))
      assert.is_false(task:cancel())
    end
    assert.equal(12 * MiB, lvhd.info(dir .. "/copy.vhd").size)
  end)

  it("do what their options say", function()
    local kid, far = dir .. "/kid.vhd", dir .. "/far.vhd"
    do
      local disk <close> = lvhd.open(child, { write = true })
      disk:write(3 * MiB, "child")
    end
    lvhd.create_differencing(kid, child):wait()
    do
      local disk <close> = lvhd.open(kid, { write = true })
      disk:write(4 * MiB, "kid")
    end
    lvhd.create_differencing(far, kid):wait()
    -- to a child of the root: what the root has is not kept
    local info = lvhd.convert(kid, dir .. "/copy.vhd", { to = "differencing",
      parent = root, mode = "0640", timestamp = 1500000000 }):wait()
    assert.equal("differencing", info.type)
    assert.equal(lvhd.info(root).uuid, info.parent.uuid)
    assert.equal(1500000000, info.timestamp)
    local copy <close> = lvhd.open(info.path)
    assert.equal("child", copy:read(3 * MiB, 5))
    copy:close()
    os.remove(info.path)
    for kind, size in pairs{ fixed = 8 * MiB + 512, raw = 8 * MiB } do
      assert.equal(size, lvhd.convert(kid, ("%s/%s.x"):format(dir, kind),
        { to = kind, names = "host" }):wait().file_size)
    end
    -- past the parent, with what hangs on it, and it goes
    lvhd.merge(kid, { into = root, children = { far }, delete = true }):wait()
    for _, path in ipairs{ kid, child } do
      assert.is_false((support.sh("test -e " .. path)))
    end
    assert.equal(2, #lvhd.chain(far))
    local disk <close> = lvhd.open(far, { write = true })
    assert.equal("child", disk:read(3 * MiB, 5))
    assert.equal("kid", disk:read(4 * MiB, 3))
  end)

  it("give a raw disk an info of what it has", function()
    local info = lvhd.convert(root, dir .. "/disk.raw", { to = "raw" }):wait()
    assert.equal("raw", info.type)
    assert.equal(8 * MiB, info.size)
    assert.equal(8 * MiB, info.file_size)
    for _, name in ipairs{ "uuid", "creator", "geometry", "block_size",
      "blocks", "parent", "footer" } do
      assert.is_nil(info[name], name)
    end
    local err = expect.fails("E_INVALIDARG", "SIZE_UNALIGNED", function()
      support.write(dir .. "/odd.raw", ("x"):rep(5 * MiB + 7))
      return lvhd.convert(dir .. "/odd.raw", dir .. "/odd.vhd",
        { from = "raw" })
    end)
    assert.matches('round = "512"', err.hint, 1, true)
    info = lvhd.convert(dir .. "/odd.raw", dir .. "/odd.vhd",
      { from = "raw", round = "1 MiB" }):wait()
    assert.equal(6 * MiB, info.size)
    for _, round in ipairs{ 513, 256, "3 MiB", "2 GiB" } do
      expect.fails("E_INVALIDARG", "ROUND_RANGE", lvhd.convert,
        dir .. "/odd.raw", dir .. "/no.vhd", { from = "raw", round = round })
    end
  end)

  it("name the other children", function()
    local other = dir .. "/other.vhd"
    lvhd.create_differencing(other, root):wait()
    for _, fn in ipairs{
      function() return lvhd.merge(child) end,
      function() return lvhd.resize(root, 12 * MiB) end,
      function() return lvhd.open(root, { write = true }) end,
    } do
      local err = expect.fails("E_SHARING_VIOLATION", "OTHER_CHILDREN", fn)
      table.sort(err.others or {})
      assert.equal(other, err.others[#err.others])
      assert.matches("force = true", err.hint, 1, true)
      assert.matches(other, tostring(err), 1, true)
    end
    -- no search: nothing is found, by the call's word or the engine's
    lvhd.open(root, { write = true, children_in = false }):close()
    local engine <close> = lvhd.engine{ children_in = false }
    engine:open(root, { write = true }):close()
    expect.fails("E_SHARING_VIOLATION", "OTHER_CHILDREN", engine.open, engine,
      root, { write = true, children_in = { dir } })
  end)

  it("search where children_in says", function()
    local far = dir .. "/far/below/child.vhd"
    lvhd.create_differencing(far, root):wait()
    os.remove(child)
    lvhd.open(root, { write = true }):close()
    for _, where in ipairs{ dir .. "/far", { dir .. "/far" } } do
      local err = expect.fails("E_SHARING_VIOLATION", "OTHER_CHILDREN",
        lvhd.open, root, { write = true, children_in = where })
      assert.same({ far }, err.others)
      local engine <close> = lvhd.engine{ children_in = where }
      expect.fails("E_SHARING_VIOLATION", "OTHER_CHILDREN", engine.open,
        engine, root, { write = true })
      engine:open(root, { write = true, children_in = {} }):close()
      engine:open(root, { write = true, children_in = false }):close()
      engine:open(root, { write = true, force = true }):close()
    end
  end)
end)
