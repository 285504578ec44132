-- SPDX-License-Identifier: MIT
--
-- What the specs of compact and resize share: reading a file by several
-- programs, and looking that it is one which all of them take.

local lvhd = require "lvhd"
local support = require "spec.support"
local assert = require "luassert"

local layouts = {}

local q, run = support.q, support.run

---The whole disk, through lvhd.
function layouts.content(path, size)
  local disk <close> = lvhd.open(path)
  return disk:read(0, size or disk:info().size)
end

---The codes of a check's errors, data included.
function layouts.errors(path)
  local list = {}
  for _, info in ipairs(lvhd.check(path,
    { data = true, chain = false }):wait()) do
    for _, finding in ipairs(info.findings) do
      if finding.severity == "error" then
        list[#list + 1] = finding.code
      end
    end
  end
  return table.concat(list, " ")
end

---7-Zip, QEMU (which takes no children) and libvhdi read the disk as
---`content`.
function layouts.agreed(path, content)
  assert.equal("", layouts.errors(path))
  local out = path .. ".raw"
  run(("7zz x -tvhd -so %s > %s 2>/dev/null"):format(q(path), q(out)))
  assert.is_true(support.read(out) == content, "7-Zip reads something else")
  if lvhd.info(path).type ~= "differencing" then
    run(("qemu-img convert -f vpc -O raw %s %s"):format(q(path), q(out)))
    assert.is_true(support.read(out) == content, "QEMU reads something else")
  end
  run("vhdiinfo " .. q(path))
  os.remove(out)
end

---No note, and nothing else that was not there.
function layouts.clean(dir)
  for _, name in ipairs(support.names(dir)) do
    assert.is_nil(name:match("journal"), name)
  end
end

---XenServer's batmap as it stands: its bytes, and whether its checksum fits.
function layouts.batmap(path)
  local vhdread = require "spec.support.vhdread"
  local disk = vhdread.open(path)
  local at = disk.header.table_offset + (disk.header.entries * 4 + 511)
    // 512 * 512
  local cookie, map_at, sectors, version, sum =
    (">c8I8I4I4I4"):unpack(vhdread.bytes(path, at, 512))
  if cookie ~= "tdbatmap" then
    return nil
  end
  local map, bytes = vhdread.bytes(path, map_at, sectors * 512), 0
  for i = 1, #map do
    bytes = bytes + map:byte(i)
  end
  return map, sum == ~bytes & 0xFFFFFFFF and version == 0x10002
end

return layouts
