-- SPDX-License-Identifier: MIT
--
-- lower.lua make|change FOLDER: makes disks in a folder; changes each in every
-- way there is, and looks at what came of it.  For spec/volumes_spec.lua, which
-- makes the folder the lower layer of an overlay in between.

local lvhd = require "lvhd"

local MiB <const> = 1 << 20
local how, folder = table.unpack(arg)
local engine <close> = lvhd.engine{ threads = 1 }

local function at(name)
  return folder .. "/" .. name .. ".vhd"
end

local function write(name, offset, bytes)
  local disk <close> = engine:open(at(name), { write = true })
  disk:write(offset, bytes)
end

local function reads(name, offset, bytes)
  local disk <close> = engine:open(at(name))
  assert(disk:read(offset, #bytes) == bytes, name)
end

local function make()
  -- root <- leaf; root <- moved; parent <- child <- grandchild; sparse; fixed
  for _, name in ipairs{ "root", "parent", "sparse" } do
    engine:create_dynamic(at(name), 8 * MiB):wait()
    write(name, 0, name:rep(100000))
  end
  write("sparse", 0, ("\0"):rep(2 * MiB))
  engine:create_fixed(at "fixed", 3 * MiB):wait()
  for name, parent in pairs{ leaf = "root", moved = "root",
    child = "parent" } do
    engine:create_differencing(at(name), at(parent)):wait()
    write(name, 1024, "of " .. name)
  end
  engine:create_differencing(at "grandchild", at "child"):wait()
  write("grandchild", 2048, "of grandchild")
end

local function change()
  do
    local disk <close> = engine:open(at "leaf", { write = true })
    disk:write(0, "hello")
    assert(disk:read(0, 5) == "hello") -- not what lies below
    assert(disk:read(1024, 7) == "of leaf")
  end
  write("fixed", MiB, "hello")
  engine:compact(at "sparse"):wait()
  engine:resize(at "sparse", 12 * MiB):wait()
  engine:relink(at "moved", at "root"):wait()
  engine:repair(at "moved"):wait()
  engine:merge(at "child", { delete = true, children = { at "grandchild" } })
    :wait()
end

local function look()
  reads("leaf", 0, "hello")
  reads("leaf", 1024, "of leaf")
  reads("fixed", MiB, "hello")
  reads("sparse", 0, ("\0"):rep(MiB))
  reads("moved", 1024, "of moved")
  reads("grandchild", 1024, "of child")
  reads("grandchild", 2048, "of grandchild")
  reads("parent", 1024, "of child")
  reads("parent", 0, "parentparent")
  for _, name in ipairs{ "leaf", "moved", "grandchild", "sparse", "fixed" } do
    for _, info in ipairs(engine:check(at(name), { chain = true,
      data = true }):wait()) do
      for _, f in ipairs(info.findings) do
        error(("%s: %s: %s"):format(info.path, f.code, f.message))
      end
    end
  end
end

if how == "make" then
  make()
else
  change()
  look()
  print "changed"
end
