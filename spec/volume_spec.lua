-- SPDX-License-Identifier: MIT
--
-- Volumes that are full, small, read-only or poor, made for real: tmpfs and
-- loop mounts, which need root (else pending), and the limit of the process.

local lvhd = require "lvhd"
local support = require "spec.support"
local expect = require "spec.support.expect"
local handmade = require "spec.support.handmade"
local test = require "lvhdtest"

local MiB <const> = 1 << 20
local GiB <const> = 1 << 30

local engine, dir

before_each(function()
  engine = lvhd.engine{ threads = 1, sync = "none" }
  dir = support.tmpdir()
end)

after_each(function()
  engine:close()
end)

-- Mounts a volume for fn, which gets its folder, and takes it off again; a
-- descriptor left inside would make that fail.
local function on_volume(mount, fn)
  if not support.is_root() then
    pending("mounting needs root")
  end
  local folder = dir .. "/volume"
  assert(test.mkdir(folder))
  local mounted, why = support.sh("mount " .. mount .. " " .. folder)
  if not mounted then
    pending("cannot mount here: " .. why)
  end
  local ok, err = pcall(fn, folder)
  collectgarbage()
  collectgarbage()
  support.run("umount " .. folder)
  assert(ok, err)
end

local function on_image(mkfs, size, options, fn)
  if not support.has(mkfs:match("%S+")) then
    pending(mkfs:match("%S+") .. " is not installed")
  end
  local file = dir .. "/volume.img"
  support.run("truncate -s " .. size .. " " .. file .. " && " .. mkfs .. " "
    .. file)
  on_volume("-o loop" .. options .. " " .. file, fn)
end

-- Each verb is refused, by the call and by the task.
local function refuse_all(name, reason, folder, size)
  local err
  local parent = handmade.dynamic(dir .. "/parent.vhd", size)
  for verb, second in pairs{ create_fixed = size, create_dynamic = size,
    create_differencing = parent } do
    expect.unchanged(folder, function()
      err = expect.both(name, reason, function(opts)
        return engine[verb](engine, folder .. "/new/a.vhd", second, opts)
      end)
    end)
  end
  return err
end

describe("a volume with less than 8 MB free #root", function()
  it("is E_DISK_FULL", function()
    on_volume("-t tmpfs -o size=16m tmpfs", function(folder)
      support.run("head -c 9M /dev/zero >" .. folder .. "/fill")
      local err = refuse_all("E_DISK_FULL", "VOLUME_FULL", folder, 64 * MiB)
      assert.equal(8 * MiB, err.expected)
      assert.equal(test.statfs(folder).free, err.actual)
    end)
  end)

  it("is enough with 8 MB, however large the disk may grow", function()
    on_volume("-t tmpfs -o size=9m tmpfs", function(folder)
      local info = engine:create_dynamic(folder .. "/a.vhd", 64 * MiB):wait()
      assert.is_true(math.abs(test.statfs(folder).free - info.free) < MiB)
      engine:create_fixed(folder .. "/b.vhd", 64 * MiB):wait()
    end)
  end)

  it("is E_DISK_FULL where less is free than is to be written", function()
    on_volume("-t tmpfs -o size=16m tmpfs", function(folder)
      for _, how in ipairs{ "zero", "reserve" } do
        for _, preflight in ipairs{ true, false } do
          expect.unchanged(folder, function()
            local err = expect.fails("E_DISK_FULL", "VOLUME_FULL", function()
              engine:create_fixed(folder .. "/new/a.vhd", 64 * MiB,
                { allocate = how, preflight = preflight }):wait()
            end)
            assert.equal(64 * MiB + 512, err.expected)
          end)
        end
      end
    end)
  end)
end)

describe("a volume that does not count what is free #root", function()
  it("is taken to have room: ramfs", function()
    on_volume("-t ramfs ramfs", function(folder)
      for _, preflight in ipairs{ true, false } do
        local name = ("%s/%s"):format(folder, preflight)
        engine:create_dynamic(name .. "-a.vhd", "64 MiB",
          { preflight = preflight }):wait()
        engine:create_fixed(name .. "-b.vhd", "3 MiB",
          { preflight = preflight, allocate = "zero" }):wait()
      end
      engine:resize(folder .. "/true-a.vhd", "128 MiB"):wait()
    end)
  end)
end)

describe("a disk that would fill the volume", function()
  -- More than is free, less than a file can have; nothing of it is allocated.
  local function too_large(allocate, more)
    local free = engine:create_dynamic(dir .. "/a.vhd", "3MB"):wait().free
    local size = (free // MiB + 1024) * MiB
    if size >= 2088960 * MiB then
      pending("the volume is larger than a disk can be")
    end
    local opts = { allocate = allocate }
    for key, value in pairs(more or {}) do
      opts[key] = value
    end
    local system = test.system()
    local err = expect.fails("E_DISK_FULL", "VOLUME_FULL", function()
      local own <close> = lvhd.engine{ system = system:pointer(),
        sync = "none" }
      own:create_fixed(dir .. "/b.vhd", size, opts):wait()
    end)
    assert.equal(size + 512, err.expected)
    assert.is_true(err.actual < size)
    assert.is_nil(io.open(dir .. "/b.vhd"))
    for _, call in ipairs(system:log()) do
      assert.is_false(call.call == "fallocate" or call.call == "pwritev")
    end
  end

  it("is E_DISK_FULL before anything is reserved", function()
    too_large("reserve")
    os.remove(dir .. "/a.vhd")
    too_large("reserve", { preflight = false })
  end)

  it("is E_DISK_FULL before zeros are written", function()
    too_large("zero")
    os.remove(dir .. "/a.vhd")
    too_large("zero", { preflight = false })
  end)
end)

describe("a volume whose largest file is too small #root", function()
  it("is VM_E_FILE_TOO_LARGE_FOR_VOLUME: ext2 with 1 KiB blocks", function()
    on_image("mke2fs -q -F -t ext2 -b 1024", "64M", "", function(folder)
      local err = refuse_all("VM_E_FILE_TOO_LARGE_FOR_VOLUME",
        "VOLUME_FILE_LIMIT", folder, 20 * GiB)
      assert.is_true(err.actual > 20 * GiB)
      -- and the same volume takes what fits
      engine:create_dynamic(folder .. "/a.vhd", 4 * GiB):wait()
      engine:create_fixed(folder .. "/b.vhd", 4 * GiB):wait()
    end)
  end)

  it("counts the disk with every block allocated", function()
    on_image("mke2fs -q -F -t ext2 -b 1024", "64M", "", function(folder)
      -- The largest file of this ext2: 12 + 256 + 256^2 + 256^3 blocks.
      local most = (12 + 256 + 256 * 256 + 256 * 256 * 256) * 1024
      local fixed = (most - 512) // 512 * 512
      engine:create_fixed(folder .. "/a.vhd", fixed):wait()
      expect.both("VM_E_FILE_TOO_LARGE_FOR_VOLUME", "VOLUME_FILE_LIMIT",
        function(opts)
          return engine:create_fixed(folder .. "/b.vhd", fixed + 512, opts)
        end)
      -- 512 bytes of bitmap a block do not fit beside the same content
      expect.both("VM_E_FILE_TOO_LARGE_FOR_VOLUME", "VOLUME_FILE_LIMIT",
        function(opts)
          return engine:create_dynamic(folder .. "/c.vhd", fixed - 512, opts)
        end)
    end)
  end)

  it("cannot reserve on ext2: E_NOTIMPL", function()
    on_image("mke2fs -q -F -t ext2 -b 1024", "64M", "", function(folder)
      expect.unchanged(folder, function()
        expect.late("E_NOTIMPL", "NO_RESERVE", engine.create_fixed, engine,
          folder .. "/a.vhd", 4 * MiB, { allocate = "reserve" })
      end)
    end)
  end)

  it("is VM_E_FILE_TOO_LARGE_FOR_VOLUME: FAT32, which cannot link either",
    function()
      on_image("mkfs.vfat -F 32", "64M", "", function(folder)
        expect.fails("VM_E_FILE_TOO_LARGE_FOR_VOLUME", nil,
          engine.create_dynamic, engine, folder .. "/a.vhd", 5 * GiB)
        assert.same({}, support.names(folder))
        -- no O_TMPFILE, no links: renamed without replacing
        local info = engine:create_dynamic(folder .. "/sub/a.vhd", GiB):wait()
        assert.equal(GiB, info.size)
        assert.same({ "a.vhd" }, support.names(folder .. "/sub"))
        assert.same({ "sub" }, support.names(folder))
        expect.fails("E_ALREADY_EXISTS", nil, engine.create_dynamic, engine,
          folder .. "/sub/a.vhd", GiB)
        assert.same({ "a.vhd" }, support.names(folder .. "/sub"))
      end)
    end)
end)

describe("a read-only volume #root", function()
  it("is E_ACCESSDENIED with EROFS", function()
    on_volume("-t tmpfs -o ro,size=16m tmpfs", function(folder)
      local err = refuse_all("E_ACCESSDENIED", nil, folder, 64 * MiB)
      assert.equal("EROFS", err.errname)
      err = expect.both("E_ACCESSDENIED", nil, function(opts)
        return engine:create_fixed(folder .. "/a.vhd", 4 * MiB, opts)
      end)
      assert.equal("EROFS", err.errname)
    end)
  end)

  it("may hold the parent", function()
    on_image("mke2fs -q -F -t ext2 -b 1024", "16M", "", function(folder)
      handmade.dynamic(folder .. "/p.vhd", 64 * MiB)
      support.run("mount -o remount,ro " .. folder)
      local info = engine:create_differencing(dir .. "/a.vhd",
        folder .. "/p.vhd"):wait()
      assert.equal(folder .. "/p.vhd", info.parent.path)
    end)
  end)
end)

describe("a folder that the user may not write", function()
  it("is E_ACCESSDENIED with EACCES", function()
    support.run("chmod 755 " .. dir)
    assert(test.mkdir(dir .. "/closed", 493))
    if not support.is_root() then
      support.run("chmod 555 " .. dir .. "/closed")
    end
    for _, path in ipairs{ "/closed/a.vhd", "/closed/new/a.vhd" } do
      for _, preflight in ipairs{ true, false } do
        expect.unchanged(dir, function()
          local status, text = test.fork(function()
            if support.is_root() then
              assert(test.user(65534))
            end
            local own = lvhd.engine{ threads = 1 }
            local _, err = expect.try(own.create_dynamic, own, dir .. path,
              64 * MiB, { preflight = preflight })
            own:close()
            return err.name .. " " .. err.errname
          end)
          assert.equal(0, status, text)
          assert.equal("E_ACCESSDENIED EACCES", text)
        end)
      end
    end
  end)
end)

describe("the limit of the process on the size of files", function()
  -- In a copy of the process, whose SIGXFSZ has its default: death.
  local function limited(limit, fn)
    local status, text = test.fork(function()
      local own = lvhd.engine{ threads = 1, sync = "none" }
      assert(test.limit("fsize", limit))
      local ok, err = expect.try(fn, own)
      own:close()
      return ok and "success" or err.name .. " " .. tostring(err.reason)
    end)
    assert.equal(0, status, "signal " .. tostring(text))
    return text
  end

  it("is VM_E_FILE_TOO_LARGE_FOR_VOLUME, and kills nobody", function()
    local parent = handmade.dynamic(dir .. "/p.vhd", 64 * MiB)
    for verb, second in pairs{ create_fixed = 64 * MiB,
      create_dynamic = 64 * MiB, create_differencing = parent } do
      for _, preflight in ipairs{ true, false } do
        for _, limit in ipairs{ 0, 1, 4096, 64 * MiB } do
          expect.unchanged(dir, function()
            assert.equal(
              "VM_E_FILE_TOO_LARGE_FOR_VOLUME PROCESS_FILE_LIMIT",
              limited(limit, function(own)
                return own[verb](own, dir .. "/new/a.vhd", second,
                  { preflight = preflight })
              end))
          end)
        end
      end
    end
  end)

  it("is no matter where the full length fits", function()
    assert.equal("success", limited(64 * MiB + 512, function(own)
      return own:create_fixed(dir .. "/a.vhd", 64 * MiB)
    end))
    assert.equal("success", limited(65 * MiB, function(own)
      return own:create_dynamic(dir .. "/b.vhd", 64 * MiB)
    end))
  end)
end)

describe("two troubles with a volume #root", function()
  it("too large a file comes before too little space", function()
    on_image("mke2fs -q -F -t ext2 -b 1024", "12M", "", function(folder)
      support.run("head -c 6M /dev/zero >" .. folder .. "/fill")
      refuse_all("VM_E_FILE_TOO_LARGE_FOR_VOLUME", "VOLUME_FILE_LIMIT",
        folder, 20 * GiB)
      refuse_all("E_DISK_FULL", "VOLUME_FULL", folder, 64 * MiB)
    end)
  end)

  it("an image that exists comes before both", function()
    on_volume("-t tmpfs -o size=16m tmpfs", function(folder)
      support.write(folder .. "/a.vhd", "mine")
      support.run("head -c 12M /dev/zero >" .. folder .. "/fill")
      expect.unchanged(folder, function()
        expect.both("E_ALREADY_EXISTS", nil, function(opts)
          return engine:create_dynamic(folder .. "/a.vhd", 64 * MiB, opts)
        end)
      end)
      support.run("mount -o remount,ro " .. folder)
      expect.both("E_ALREADY_EXISTS", nil, function(opts)
        return engine:create_dynamic(folder .. "/a.vhd", 64 * MiB, opts)
      end)
    end)
  end)
end)
