-- SPDX-License-Identifier: MIT
--
-- "New files appear whole or not at all", as a judge of a folder where files
-- were being made (spec/support/creations.lua) when something went wrong.  Of
-- each file: lvhd's check, a reader that shares nothing with lvhd, 7-Zip if
-- asked.  How the work was interrupted is for others to know.

local creations = require "spec.support.creations"
local lvhd = require "lvhd"
local powerloss = require "spec.support.powerloss"
local promise = require "spec.support.promise"
local support = require "spec.support"
local test = require "lvhdtest"
local vhdread = require "spec.support.vhdread"

local whole = {}
whole.__index = whole

-- So much of a disk is compared.
local FAR <const> = 8 << 20
-- Larger ones are not unpacked by 7-Zip.
local LARGE <const> = 64 << 20

-- ---- one file -------------------------------------------------------------

local function chain_of(image, dir)
  local paths = { dir .. "/" .. image.name }
  paths[2] = image.parent and dir .. "/" .. image.parent
  return paths
end

local function differs(got, want)
  if got ~= want then
    local at = 1
    while got:byte(at) == want:byte(at) and at <= #want do
      at = at + 1
    end
    return ("%d bytes, want %d; differs at %d"):format(#got, #want, at - 1)
  end
end

-- Its locator for Windows leads from its folder to the parent.
local function leads_elsewhere(image, dir)
  for _, l in ipairs(vhdread.open(dir .. "/" .. image.name).header.locators) do
    if l.code == "W2ru" then
      local folder = (dir .. "/" .. image.name):match("^(.*)/")
      local st = test.stat(folder .. "/" .. l.text:gsub("\\", "/"))
      local parent = test.stat(dir .. "/" .. image.parent)
      return not (st and parent and st.ino == parent.ino)
        and "its parent would be " .. l.text or nil
    end
  end
  return "it names no parent for Windows"
end

-- What the second reader finds wrong.
local function doubt(image, dir)
  local path = dir .. "/" .. image.name
  if image.raw then
    return differs(support.read(path), image.content)
  end
  local wrong = vhdread.doubt(path)
    or image.parent and leads_elsewhere(image, dir)
  if wrong then
    return wrong
  end
  local paths = chain_of(image, dir)
  local got = vhdread.content(paths, 0,
    math.min(vhdread.open(path).size, FAR))
  image.content = image.content or got -- of the one that nobody disturbed
  return differs(got, image.content)
end

local function ask_7zip(self, image, path)
  local size = not image.raw and vhdread.open(path).size
  if not size or size > LARGE then
    return
  end
  local got = promise.by_7zip(path)
  local how = not got and "refused" or got == image.content and "right"
    or "wrong"
  self.seen[how] = self.seen[how] + 1
  -- it looks for a parent beside the child only
  if how == "wrong" or how == "refused"
    and not (image.parent and image.name:find("/", 1, true)) then
    error(("%s: 7-Zip: %s"):format(image.name, how), 0)
  end
end

-- The second reader, check, and 7-Zip.
local function judge_bytes(self, image, dir)
  local path = dir .. "/" .. image.name
  local wrong = doubt(image, dir)
  local list = (wrong or image.raw) and {}
    or promise.complaints(path, "warning", nil, dir)
  wrong = wrong or list[1] and table.concat(list, "; ")
  if wrong then
    error(image.name .. ": " .. wrong, 0)
  end
  ask_7zip(self, image, path)
end

-- Bytes that were judged once are not judged twice, unless asked.
local function judge_image(self, image, dir, asked)
  local path = dir .. "/" .. image.name
  local st = test.stat(path)
  local bytes = st.size <= LARGE and support.read(path) or nil
  if asked or bytes == nil or bytes ~= image.accepted then
    judge_bytes(self, image, dir)
    image.accepted = bytes
  end
  if image.mode and st.mode ~= image.mode then
    error(("%s: its mode is %o"):format(image.name, st.mode), 0)
  elseif image.mtime and st.mtime ~= image.mtime * 1000000000 then
    error(("%s: its time is %d"):format(image.name, st.mtime), 0)
  end
end

-- ---- the folder -----------------------------------------------------------

-- What stood there before, folders, new files, and the temporary names of a
-- volume that has no unnamed files: nothing else.
local function judge_names(self, dir)
  local temporaries = 0
  for _, name in ipairs(powerloss.names(dir)) do
    if not self.known[name] then
      if not (self.way.temporary and creations.is_temporary(name)) then
        error("what is " .. name .. "?", 0)
      end
      temporaries = temporaries + 1
    end
  end
  return temporaries
end

local function judge_sources(self, dir)
  for name, file in pairs(self.record.base) do
    local st = test.stat(dir .. "/" .. name)
    if not st or st.mtime ~= file.mtime
      or support.read(dir .. "/" .. name) ~= file.bytes then
      error(name .. " was changed", 0)
    end
  end
end

---Raises what is wrong.
---@param dir string
---@param all boolean every file must be there
---@param asked boolean? also what was judged before
---@return integer files, integer temporaries
function whole:judge(dir, all, asked)
  local files = 0
  judge_sources(self, dir)
  for _, image in ipairs(self.what.images) do
    if test.stat(dir .. "/" .. image.name) then
      judge_image(self, image, dir, asked)
      files = files + 1
    elseif all then
      error(image.name .. " is gone", 0)
    end
  end
  return files, judge_names(self, dir)
end

---The same work again, after whatever happened: makes what is missing.
function whole:again(dir)
  local engine <close> = lvhd.engine{ threads = 1 }
  local ok, err = pcall(function()
    self.scenario.start(engine, dir, { sync = "none",
      if_exists = "keep" }):wait()
  end)
  if not ok then
    error("the re-run: " .. tostring(err), 0)
  end
  self:judge(dir, true)
end

-- ---- the bench ------------------------------------------------------------

local function prepare(self)
  local scenario, work = self.scenario, self.dir .. "/work"
  self.found = self.dir .. "/found"
  assert(test.mkdir(work))
  assert(test.mkdir(self.found))
  self.what = scenario.make(work)
  self.record = powerloss.record(work, function(engine)
    scenario.start(engine, work, { sync = self.sync }):wait()
  end, creations.system(self.way), scenario.shared)
  if self.record.error then
    error(tostring(self.record.error), 0)
  end
  for _, list in ipairs{ self.what.folders, self.record.folders } do
    for _, name in ipairs(list) do
      self.known[name] = true
    end
  end
  for name in pairs(self.record.base) do
    self.known[name] = true
  end
  for _, image in ipairs(self.what.images) do
    self.known[image.name] = true
  end
  local _, temporaries = self:judge(work, true)
  assert(temporaries == 0, "a temporary name is left")
end

---Runs use(bench) with: scenario, what, record (undisturbed), found (a folder
---of its own, empty), seen (what 7-Zip said).
---@param scenario table of creations
---@param way table of creations.ways
---@param sync "full"|"data"|"none"
function whole.with(scenario, way, sync, use)
  local self = setmetatable({ scenario = scenario, way = way, sync = sync,
    known = {}, seen = { right = 0, refused = 0, wrong = 0 },
    dir = powerloss.scratch() }, whole)
  local ok, err = pcall(prepare, self)
  if ok then
    ok, err = pcall(use, self)
  end
  if self.record then
    self.record:close()
  end
  support.run("rm -rf " .. support.q(self.dir))
  if not ok then
    error(("%s, %s, sync = %q: %s"):format(scenario.name, way.name, sync,
      tostring(err)), 0)
  end
end

---The files as they were before, in `found`.
function whole:reset()
  self.record:build({ at = 0, picks = {}, names = {} }, self.found)
end

return whole
