-- SPDX-License-Identifier: MIT
--
-- make demo is the first thing a newcomer sees: it succeeds, leaves nothing
-- behind, keeps what it is asked to keep, and would not hide a disk that
-- reads wrong.

local support = require "spec.support"
local q, sh = support.q, support.sh

local function demo(tmp, environment)
  return sh("TMPDIR=" .. q(tmp) .. " " .. (environment or "KEEP=")
    .. " lua5.4 spec/examples/demo.lua")
end

local function lacking()
  for _, command in ipairs { "7zz", "qemu-img", "/sbin/mke2fs" } do
    if not support.has(command) then
      pending(command .. " is not installed")
      return true
    end
  end
end

describe("make demo #nosan", function()
  it("succeeds and leaves nothing behind", function()
    if lacking() then return end
    local tmp = support.tmpdir()
    local ok, output = demo(tmp)
    assert.is_true(ok, output)
    assert.matches("\nOK: all 12 children read exactly as the golden image.\n",
      output, 1, true)
    assert.same({}, support.names(tmp))
  end)

  it("keeps what KEEP names, and mixes it with nothing #slow", function()
    if lacking() then return end
    local tmp = support.tmpdir()
    local ok, output = demo(tmp, "KEEP=" .. q(tmp .. "/kept here"))
    assert.is_true(ok, output)
    assert.is_true((sh("test -s " .. q(tmp .. "/kept here/web12.vhd"))))
    ok, output = demo(tmp, "KEEP=" .. q(tmp .. "/kept here"))
    assert.is_false(ok)
    assert.matches("the folder is not empty", output, 1, true)
  end)

  it("fails when one child reads differently", function()
    if lacking() then return end
    local tmp, bin = support.tmpdir(), support.tmpdir()
    support.write(bin .. "/7zz", "#!/bin/sh\n" .. support.run("command -v 7zz")
      :gsub("\n", " \"$@\"\n") .. "case $* in *web07*) echo x ;; esac\n")
    support.run("chmod +x " .. bin .. "/7zz")
    local ok, output = demo(tmp, "KEEP= PATH=" .. bin .. ":$PATH")
    assert.is_false(ok)
    assert.matches("web07.vhd +%x+  DIFFERENT\n", output)
    assert.matches("\nFAILED: 1 of 13 disks read differently\n", output, 1,
      true)
    assert.same({}, support.names(tmp))
  end)
end)
