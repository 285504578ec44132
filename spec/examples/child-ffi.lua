-- SPDX-License-Identifier: MIT
--
-- A child of a golden image from LuaJIT, which has no Lua 5.4, through its FFI
-- and liblvhd.so:
--
--   luajit child-ffi.lua /vms/web01.vhd /golden/base.vhd
--
-- Both paths are absolute. What is declared here is of lvhd.h, where the rest is.

local ffi = require "ffi"

ffi.cdef [[
typedef struct lvhd_engine lvhd_engine;
typedef struct lvhd_task lvhd_task;
struct lvhd_error {
  int code, reason, errnum;
  unsigned has;
  const char *op, *syscall;
  uint64_t expected, actual, offset;
  uint8_t expected_uuid[16], actual_uuid[16];
  unsigned layer;
  char *path, *parent;
  size_t failed, of;
  char *others;
};
int lvhd_error_text(const struct lvhd_error *, char *, size_t);
const char *lvhd_code_name(int);
int lvhd_engine_new(lvhd_engine **, const void *, struct lvhd_error *);
void lvhd_engine_free(lvhd_engine *, bool);
int lvhd_create_differencing(lvhd_engine *, const char *, const char *,
                             const void *, lvhd_task **, struct lvhd_error *);
bool lvhd_task_step(lvhd_task *, unsigned, bool *);
const struct lvhd_error *lvhd_task_error(lvhd_task *);
void lvhd_task_free(lvhd_task *);
const char *lvhd_version(void);
]]

local lvhd = ffi.load "lvhd"
local image, parent = assert(arg[1], "IMAGE PARENT"), assert(arg[2], "PARENT")

local function text(err)
  local buffer = ffi.new("char[1024]")
  lvhd.lvhd_error_text(err, buffer, 1024)
  return ffi.string(lvhd.lvhd_code_name(err.code)) .. ": "
    .. ffi.string(buffer)
end

-- Freed in this order whatever happens: the task, then its engine.
local err = ffi.new("struct lvhd_error")
local out = ffi.new("lvhd_engine *[1]")
if lvhd.lvhd_engine_new(out, nil, err) ~= 0 then
  error(text(err), 0)
end
local engine = out[0]
local task = ffi.new("lvhd_task *[1]")
local failed
if lvhd.lvhd_create_differencing(engine, image, parent, nil, task, err) ~= 0
then
  failed = text(err)
else
  while not lvhd.lvhd_task_step(task[0], 250, nil) do
    -- a program with more to do does it here
  end
  local late = lvhd.lvhd_task_error(task[0])
  failed = late ~= nil and text(late)
end
lvhd.lvhd_task_free(task[0])
lvhd.lvhd_engine_free(engine, false)

if failed then
  io.stderr:write(failed, "\n")
  os.exit(1)
end
print(("%s: made by lvhd %s"):format(image, ffi.string(lvhd.lvhd_version())))
