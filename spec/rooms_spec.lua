-- SPDX-License-Identifier: MIT
--
-- The room check itself: the tree as it is passes, and each kind of trespass
-- is seen.  A check that never complains would prove nothing.

local rooms = require "spec.support.rooms"
local support = require "spec.support"

---Checks a tree that holds one file, or two.
local function check(path, text, path2, text2)
  local root = support.tmpdir()
  local function put(to, bytes)
    support.run("mkdir -p $(dirname " .. support.q(root .. "/src/" .. to)
      .. ")")
    support.write(root .. "/src/" .. to, bytes)
  end
  put(path, text)
  if path2 then put(path2, text2) end
  return rooms.check(root)
end

describe("the room check", function()
  it("passes the tree as it is", function()
    local problems, count = rooms.check(".")
    assert.same({}, problems)
    assert.is_true(count > 10)
  end)

  it("has an exit code", function()
    local root = support.tmpdir()
    support.run("mkdir -p " .. root .. "/src/format")
    support.write(root .. "/src/format/a.c", "#include \"base/bytes.h\"\n")
    assert.is_true(support.sh("lua5.4 spec/support/rooms.lua " .. root))
    support.write(root .. "/src/format/a.c", "#include \"io/sys.h\"\n")
    local ok, output = support.sh("lua5.4 spec/support/rooms.lua " .. root)
    assert.is_false(ok)
    assert.matches("src/format/a.c:1: format must not see io", output, 1, true)
  end)

  it("refuses a tree without sources", function()
    local root = support.tmpdir()
    support.run("mkdir " .. root .. "/src")
    assert.equal(1, #rooms.check(root))
  end)

  -- Design, section 2 (but lvhd.c -> image): every pair, so that no row of the table can be
  -- widened unseen.
  local may = {
    lua = "lua", task = "task base", op = "op image io format base",
    image = "image io format base", io = "io base", format = "format base",
    base = "base", ["lvhd.c"] = "task op image io base", ["lvhd.h"] = "",
  }
  local folders = { "lua", "task", "op", "image", "io", "format", "base" }
  for room, allowed in pairs(may) do
    it("knows what " .. room .. " may include", function()
      local path = room:find(".", 1, true) and room or room .. "/x.c"
      for _, other in ipairs(folders) do
        local problems = check(path, ("#include \"%s/y.h\"\n"):format(other))
        local fine = (" " .. allowed .. " "):find(" " .. other .. " ", 1, true)
        assert.equal(fine and 0 or 1, #problems, room .. " -> " .. other)
      end
    end)
  end

  it("keeps lua.h, lauxlib.h and pthread.h in their rooms", function()
    for header, home in pairs { ["lua.h"] = "lua", ["lauxlib.h"] = "lua",
      ["pthread.h"] = "task" } do
      for _, room in ipairs(folders) do
        local problems = check(room .. "/x.c", "#include <" .. header .. ">\n")
        assert.equal(room == home and 0 or 1, #problems, room .. " " .. header)
      end
      assert.equal(1, #check("lvhd.c", "#include <" .. header .. ">\n"))
      assert.equal(1, #check("lvhd.h", "#include <" .. header .. ">\n"))
    end
  end)

  it("sees disk system calls outside io", function()
    for _, call in ipairs { "openat", "pread", "pwrite", "fsync", "linkat",
      "rename", "unlink", "mkdir", "fstat", "readlink", "ftruncate",
      "fallocate", "open", "getrandom", "realpath" } do
      local text = ("int f(void) {\n  return %s (1);\n}\n"):format(call)
      for _, room in ipairs(folders) do
        local problems = check(room .. "/x.c", text)
        assert.equal(room == "io" and 0 or 1, #problems, room .. " " .. call)
      end
      assert.equal(1, #check("lvhd.c", text))
    end
  end)

  it("lets task wake event loops, and no other room", function()
    local text = "void f(void) {\n  write(fd, &one, 8);\n}\n"
    assert.same({}, (check("task/x.c", text)))
    assert.same({ "src/op/x.c:2: write() is a system call; op has to ask io" },
      (check("op/x.c", text)))
  end)

  it("takes calls through the table, comments and strings for what they are",
    function()
      assert.same({}, (check("op/x.c", [[
/* open(path) would be wrong, and
   fsync(fd) too */
int f(const struct lv_sys *sys) {
  // unlink(path)
  lv_file_open(sys, "mkdir(x) \" open(y)", '"'); /* rename(a, b) */
  sys->fsync(sys, 1);
  file.read(2);
  my_open(3);
  return sys -> linkat(sys, 1);
}
]])))
      -- Behind all that, the next real one is still seen.
      assert.equal(1, #check("op/x.c",
        "/* a */ char *s = \"\\\\\"; /* \" */\n  fsync(1); // \"\n"))
    end)

  it("knows that no image is ever mapped", function()
    for _, room in ipairs(folders) do
      local problems = check(room .. "/x.c", "  p = mmap(0, 1);\n")
      assert.equal(room == "task" and 0 or 1, #problems, room)
    end
  end)

  it("lets a room call the public functions of the rooms it sees", function()
    local homes = {
      base = "void\nlvhd_home(int code) {\n}\n",
      task = "bool lvhd_home(const lvhd_task *task) {\n}\n",
      ["lvhd.c"] = "LVHD_API int lvhd_home(lvhd_engine *engine,\n"
        .. "             const char *path) {\n}\n",
    }
    local call = "void f(void) {\n  if (lvhd_home(x))\n    return;\n}\n"
    for home, definition in pairs(homes) do
      local path = home == "lvhd.c" and home or home .. "/home.c"
      for _, room in ipairs(folders) do
        local fine = room == "lua" or home == room or home == "base"
        assert.same(fine and {} or { ("src/%s/x.c:2: %s must not call"
          .. " lvhd_home()"):format(room, room) },
          (check(path, definition, room .. "/x.c", call)))
      end
      if home ~= "lvhd.c" then
        assert.same({}, (check(path, definition, "lvhd.c", call)))
      end
    end
  end)

  it("does not take a call for a definition", function()
    assert.equal(1, #check("op/x.c",
      "int f(void) {\n  return lvhd_task_step(1);\n}\n"))
  end)

  it("wants every include to name its room, and every file to have one",
    function()
      assert.equal(1, #check("io/x.c", "#include \"y.h\"\n"))
      assert.equal(1, #check("io/x.c", "#include \"../op/y.h\"\n"))
      assert.equal(1, #check("io/x.c", "#include HEADER\n"))
      assert.equal(1, #check("attic/x.c", "\n"))
      assert.equal(1, #check("other.c", "\n"))
      assert.equal(1, #check("io/deep/x.c", "\n"))
      assert.same({}, (check("io/x.c", "#include \"lvhd.h\"\n")))
    end)
end)
