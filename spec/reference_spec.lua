-- SPDX-License-Identifier: MIT
--
-- Reference values: what info says of each disk in spec/fixtures, field by
-- field, against what stands in the files (read by hand and by vhdiinfo when
-- they were made), of every subformat of qemu-img, and of disks that mtools
-- filled; and what other programs read in disks of ours, byte for byte, of
-- every kind.  interop_spec is about sizes and children, writing_interop_spec
-- about programs that take turns in writing.
--
--   1 fixtures   2 made at the moment   3 read by others

local fixtures = require "spec.support.fixtures"
local lvhd = require "lvhd"
local model = require "spec.support.model"
local qemu = require "spec.support.qemu"
local support = require "spec.support"

local q, run = support.q, support.run
local KiB <const>, MiB <const> = 1 << 10, 1 << 20
-- 2026-11-22: all fixtures were made on that day, by one clock.
local MADE <const> = 1795338372

local function need(...)
  for _, program in ipairs{ ... } do
    if not support.sh("PATH=$PATH:/usr/sbin:/sbin; command -v " .. program) then
      pending(program .. " is not installed")
    end
  end
end

-- ---- 1 fixtures --------------------------------------------------------

local ROOT <const> = {
  type = "dynamic", size = 20 * MiB, original_size = 20 * MiB,
  file_size = 6304256, block_size = 2 * MiB, blocks = 10, blocks_used = 3,
  uuid = "f0d5a790-96ce-44aa-8dc4-61a3f0c73048", timestamp = MADE,
  creator = "tap", creator_version = 0x10003,
  geometry = { cylinders = 602, heads = 4, sectors = 17 },
  footer = "end", saved_state = false, hidden = false, alignment = 4096,
}

---The same with other fields.
local function like(disk, fields)
  local copy = {}
  for key, value in pairs(disk) do
    copy[key] = value
  end
  for key, value in pairs(fields) do
    copy[key] = value
  end
  return copy
end

---What XenServer's tools record: three locators, a sector each, from byte
---3072 on, the parent beside the child.
local function parent(name, uuid)
  return {
    name = name, uuid = uuid, timestamp = MADE,
    locators = {
      { code = "MacX", path = "file://./" .. name, offset = 3072, space = 512,
        length = 9 + #name },
      { code = "W2ku", path = ".\\" .. name, offset = 3584, space = 512,
        length = 4 + 2 * #name },
      { code = "W2ru", path = ".\\" .. name, offset = 4096, space = 512,
        length = 4 + 2 * #name },
    },
  }
end

local LARGEST <const> = { cylinders = 65535, heads = 16, sectors = 255 }

-- file = { fields, findings... }; what is to be an error has its reason.
local DISKS <const> = {
  ["qemu-fixed.vhd"] = {
    type = "fixed", size = 4 * MiB, original_size = 4 * MiB,
    file_size = 4 * MiB + 512, uuid = "d3f00097-c7cf-4f57-9771-268f118772f6",
    timestamp = MADE, creator = "qem2", creator_os = "Wi2k",
    creator_version = 0x50003, geometry = LARGEST, footer = "end",
    saved_state = false, hidden = false,
  },
  ["qemu-dynamic.vhd"] = {
    type = "dynamic", size = 24 * MiB, original_size = 24 * MiB,
    file_size = 4197888, block_size = 2 * MiB, blocks = 12, blocks_used = 2,
    uuid = "ac5ba420-7236-4967-a27c-3a304eb1f22e", timestamp = MADE,
    creator = "qem2", creator_os = "Wi2k", creator_version = 0x50003,
    geometry = LARGEST, footer = "end", saved_state = false, hidden = false,
  },
  ["qemu-dynamic-chs.vhd"] = {
    type = "dynamic", size = 12603392, original_size = 12603392,
    file_size = 4197888, block_size = 2 * MiB, blocks = 7, blocks_used = 2,
    uuid = "0d53a084-d0f4-4658-a309-0054648ccd2f", timestamp = MADE,
    creator = "qemu", creator_os = "Wi2k", creator_version = 0x50003,
    geometry = { cylinders = 362, heads = 4, sectors = 17 }, footer = "end",
    saved_state = false, hidden = false,
  },
  ["blktap-root.vhd"] = ROOT,
  ["blktap-child.vhd"] = like(ROOT, {
    type = "differencing", file_size = 6308352,
    uuid = "a64996d5-c682-4423-b493-ea3617883322",
    parent = parent("blktap-root.vhd", ROOT.uuid),
  }),
  ["blktap-leaf.vhd"] = like(ROOT, {
    type = "differencing", file_size = 4207104, blocks_used = 2,
    uuid = "a0498e8c-ede1-4051-b355-1f9760256f13",
    parent = parent("blktap-child.vhd",
      "a64996d5-c682-4423-b493-ea3617883322"),
  }),
  ["blktap-on-qemu.vhd"] = like(ROOT, {
    type = "differencing", size = 24 * MiB, original_size = 24 * MiB,
    file_size = 2105856, blocks = 12, blocks_used = 1,
    uuid = "b2b1aae7-c9de-4c3e-86c7-a744dd7aa510",
    geometry = { cylinders = 722, heads = 4, sectors = 17 },
    parent = parent("qemu-dynamic.vhd",
      "ac5ba420-7236-4967-a27c-3a304eb1f22e"),
  }),
  ["blktap-2040g.vhd"] = like(ROOT, {
    size = 2040 << 30, original_size = 2040 << 30, file_size = 8512000,
    blocks = 1044480, blocks_used = 2, geometry = LARGEST,
    uuid = "467d87f8-51da-4ebb-b431-7c1395cbaa40",
  }),
  ["damaged/bad-header-checksum.vhd"] = { error = "HEADER_CHECKSUM" },
  ["damaged/bat-overlap.vhd"] = like(ROOT, {
    blocks_used = 4, finding = "BLOCK_OVERLAP",
  }),
  ["damaged/no-footer.vhd"] = like(ROOT, {
    file_size = 6303744, footer = "copy", finding = "FOOTER_COPY_USED",
  }),
  ["damaged/cycle-a.vhd"] = like(ROOT, {
    type = "differencing", file_size = 5120, blocks_used = 0,
    uuid = "6c417ed8-cb30-4866-8d05-4f58c0aebbbc", alignment = false,
    parent = parent("cycle-b.vhd", "1c7b5d6e-e2f7-496f-986d-848de32090ac"),
  }),
  ["damaged/cycle-b.vhd"] = like(ROOT, {
    type = "differencing", file_size = 5120, blocks_used = 0,
    uuid = "1c7b5d6e-e2f7-496f-986d-848de32090ac", alignment = false,
    parent = parent("cycle-a.vhd", "6c417ed8-cb30-4866-8d05-4f58c0aebbbc"),
  }),
}

---Every field of the table stands in the info, and the same.
local function compare(expected, info, where)
  for key, value in pairs(expected) do
    local at = where .. "." .. tostring(key)
    if value == false then
      assert.is_falsy(info[key], at)
    elseif type(value) == "table" then
      assert.is_table(info[key], at)
      compare(value, info[key], at)
    elseif key ~= "finding" then
      assert.equal(value, info[key], at)
    end
  end
end

describe("info says what stands in", function()
  it("every disk of spec/fixtures: the table is whole", function()
    local files = run("cd spec/fixtures && find . -name '*.vhd.gz'")
    local count = 0
    for name in files:gmatch("%./([^\n]+)%.gz") do
      assert.is_table(DISKS[name], name)
      count = count + 1
    end
    for _ in pairs(DISKS) do
      count = count - 1
    end
    assert.equal(0, count)
  end)

  for name, expected in pairs(DISKS) do
    it(name, function()
      local path = fixtures.unpack(name, support.tmpdir())
      if expected.error then
        local ok, err = pcall(lvhd.info, path)
        assert.is_false(ok)
        assert.equal("VM_E_INVALID_HD_FILE", err.name)
        assert.equal(expected.error, err.reason)
        return
      end
      local info = lvhd.info(path)
      compare(expected, info, name)
      assert.equal(expected.parent == nil, info.parent == nil)
      if expected.parent then
        assert.equal(#expected.parent.locators, #info.parent.locators)
      end
      if expected.finding then
        assert.equal(expected.finding, info.findings[1].code)
      else
        assert.same({}, info.findings)
      end
    end)

    it(name .. ", as vhdiinfo does", function()
      need("vhdiinfo")
      local path = fixtures.unpack(name, support.tmpdir())
      local said, text = support.sh("vhdiinfo " .. q(path))
      if expected.error or expected.footer == "copy" then
        return -- it reads neither
      end
      assert.is_true(said, text)
      local function word(key)
        return text:match("\t" .. key .. "%s*: ([^\n]*)\n")
      end
      local info = lvhd.info(path)
      assert.equal(info.uuid, word("Identifier"))
      assert.equal(("%d bytes"):format(info.size),
        word("Media size"):match("(%d+ bytes)"))
      assert.equal(({ fixed = "Fixed", dynamic = "Dynamic",
        differencing = "Differential" })[info.type], word("Disk type"))
      assert.equal(info.parent and info.parent.uuid,
        word("Parent identifier"))
      assert.equal(info.parent and info.parent.name, word("Parent filename"))
    end)
  end
end)

-- ---- 2 made at the moment ----------------------------------------------

describe("a disk of this moment's qemu-img", function()
  local dir
  before_each(function()
    need("qemu-img", "qemu-io")
    dir = support.tmpdir()
  end)

  -- Sizes that cylinders, heads and sectors can tell, and others.
  local SIZES <const> = { 3 * MiB, 4 * MiB + 512, (127 << 30) + 512 }
  for _, subformat in ipairs{ "fixed", "dynamic" } do
    for _, force in ipairs{ "on", "off" } do
      for _, size in ipairs(SIZES) do
        it(("%s, force_size=%s, %d bytes"):format(subformat, force, size),
          function()
            local path = dir .. "/d.vhd"
            run(("qemu-img create -q -f vpc -o subformat=%s,force_size=%s %s %d")
              :format(subformat, force, q(path), size))
            local guest = qemu.size(path)
            qemu.io(path, ("write -q -P 0x5A %d 512"):format(guest - 512))
            local info = lvhd.info(path)
            assert.equal(guest, info.size)
            assert.equal(subformat, info.type)
            assert.equal(force == "on" and "qem2" or "qemu", info.creator)
            assert.equal(subformat == "dynamic" and 1 or nil, info.blocks_used)
            assert.same({}, info.findings)
            local disk <close> = lvhd.open(path)
            assert.equal(("\x5A"):rep(512), disk:read(guest - 512, 512))
            for _, i in ipairs(lvhd.check(path, { data = true }):wait()) do
              for _, finding in ipairs(i.findings) do
                assert.not_equal("error", finding.severity, finding.code)
              end
            end
          end)
      end
    end
  end

  it("that mtools filled reads as mtools wrote it", function()
    need("mformat", "mcopy")
    local raw, file = dir .. "/disk.raw", dir .. "/file"
    run("truncate -s 8M " .. q(raw))
    support.write(file, ("mtools wrote this\n"):rep(40000))
    run(("mformat -i %s -v REFERENCE ::"):format(q(raw)))
    run(("mcopy -i %s %s ::/DATA.TXT"):format(q(raw), q(file)))
    for _, how in ipairs{ "fixed,force_size=on", "dynamic,force_size=on" } do
      local path = dir .. "/d.vhd"
      run(("qemu-img convert -f raw -O vpc -o subformat=%s %s %s"):format(how,
        q(raw), q(path)))
      local disk <close> = lvhd.open(path)
      assert.equal(fixtures.sha256(support.read(raw)),
        fixtures.sha256(disk:read(0, disk:size())))
    end
  end)
end)

-- ---- 3 read by others --------------------------------------------------

describe("a disk of ours, byte for byte,", function()
  local dir
  -- libvhdi takes sectors behind one that is written, up to the next multiple
  -- of eight, for written as well (element_value in
  -- libvhdi_block_descriptor.c): runs of children end there.
  local WRITES <const> = { { 4 * KiB, 8 * KiB, 0x11 },
    { 2 * MiB - 4 * KiB, 8 * KiB, 0x12 }, { 5 * MiB, 512 * KiB, 0x13 } }
  local MORE <const> = { { 8 * KiB, 4 * KiB, 0x21 }, { 3 * MiB, 64 * KiB, 0x22 },
    { 5 * MiB + 64 * KiB, 128 * KiB, 0 } }
  local SIZE <const> = 7 * MiB

  before_each(function()
    dir = support.tmpdir()
  end)

  local function write(path, content, writes)
    local disk <close> = lvhd.open(path, { write = true })
    for _, w in ipairs(writes) do
      local bytes = string.char(w[3]):rep(w[2])
      disk:write(w[1], bytes)
      content = content:write(w[1], bytes)
    end
    return content
  end

  -- kind = what makes it, in a folder; gives path and content.
  local KINDS <const> = { "fixed", "dynamic", "dynamic of 512 KiB", "child",
    "child of a child", "child of a fixed disk" }

  local function make(kind)
    local base = dir .. "/base.vhd"
    local create = kind:find("fixed") and lvhd.create_fixed
      or lvhd.create_dynamic
    create(base, SIZE, kind == "dynamic of 512 KiB"
      and { block_size = 512 * KiB } or nil):wait()
    local content = write(base, model.zeros(SIZE), WRITES)
    local path = base
    for name in kind:gmatch("child") do
      local above = dir .. ("/%d-%s.vhd"):format(#path, name)
      lvhd.create_differencing(above, path):wait()
      path = above
      content = write(path, content, MORE)
    end
    local raw = dir .. "/expected.raw"
    content:save(raw)
    return path, raw
  end

  for _, kind in ipairs(KINDS) do
    it("a " .. kind .. ": 7-Zip", function()
      need("7zz")
      local path, raw = make(kind)
      run(("7zz x -tvhd -so -bd %s 2>/dev/null | cmp - %s"):format(q(path),
        q(raw)))
    end)

    it("a " .. kind .. ": QEMU, but for children, and libvhdi's words",
      function()
        need("qemu-img", "vhdiinfo")
        local path, raw = make(kind)
        local info = lvhd.info(path)
        if info.type ~= "differencing" then
          run(("cmp %s %s"):format(q(qemu.raw(path, dir .. "/qemu.raw")),
            q(raw)))
          assert.equal(SIZE, qemu.size(path))
        end
        assert.is_truthy(run("vhdiinfo " .. q(path)):find(info.uuid, 1, true))
      end)

    it("a " .. kind .. ": libvhdi #root", function()
      need("vhdimount")
      local path, raw = make(kind)
      local mount = dir .. "/mount"
      support.mkdir(mount)
      if not support.is_root()
        or not support.sh(("vhdimount %s %s"):format(q(path), q(mount))) then
        pending("no mounting here")
      end
      local names = support.names(mount)
      local ok, said = support.sh(("cmp %s %s"):format(
        q(mount .. "/" .. names[#names]), q(raw)))
      run("umount " .. q(mount))
      assert.is_true(ok, said)
    end)
  end
end)
