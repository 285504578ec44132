/* SPDX-License-Identifier: MIT
 *
 * What the files of the binding share.  The binding sees lvhd.h and nothing
 * below.  Its functions check their arguments, call the engine, push what
 * came of it, in this order: while C owns something that no userdata owns,
 * no Lua function is called, since each may leave by a long jump.
 *
 * Whatever fails returns nil and an error table; lvhd/error.lua raises it
 * with the line of the script.
 */
#ifndef LVHD_LUA_L_H
#define LVHD_LUA_L_H

#include <lauxlib.h>
#include <lua.h>

#include "lvhd.h"

#if LUA_VERSION_NUM != 504
#error "lvhd is a module for Lua 5.4"
#endif

#define L_ENGINE "lvhd.engine"
#define L_TASK "lvhd.task"
#define L_DISK "lvhd.disk"
#define L_INFOS "lvhd.infos"
#define L_WAITER "lvhd.waiter"
#define L_ERROR "lvhd.error"

/* User values of an engine: what the Lua side keeps; its tasks' handles; an
 * empty box (ended.c); its tasks' results, weak, by number. */
#define L_ENGINE_STATE 1
#define L_ENGINE_HANDLES 2
#define L_ENGINE_SPARE 3
#define L_ENGINE_RESULTS 4

/* An engine as the house knows it; see engine.c. */
struct l_node {
  lvhd_engine *engine;
  bool collected; /* its userdata is gone */
  struct l_node *next;
};

/* The boxes: made empty first, filled afterwards.  err holds the error of
 * the call that failed to fill it, until it is pushed or collected; for a task
 * its engine's does, since there are many of them.
 *
 * First in each: how it lets go of what it owns, and its place in the house's
 * list.  Lua finalizes nothing that is made while the state closes, so that
 * the house, which is finalized last, lets go for such boxes. */
struct l_box {
  void (*let_go)(lua_State *L, void *box); /* raises nothing; again: nothing */
  struct l_box *next, **prev;
};
struct l_engine {
  struct l_box box;
  struct l_node *node; /* NULL: empty */
  struct lvhd_error err;
  lua_Integer results; /* how many have a number */
};
struct l_task {
  struct l_box box;
  lvhd_task *task; /* NULL: empty */
  lua_Integer result; /* its number; 0: not yet pushed */
};
struct l_disk {
  struct l_box box;
  lvhd_disk *disk; /* NULL: empty, closed or collected */
  struct lvhd_error err;
};
struct l_infos {
  struct l_box box;
  lvhd_infos *infos; /* NULL: empty */
  struct lvhd_error err;
};
struct l_waiter {
  struct l_box box;
  lvhd_waiter *waiter; /* NULL: empty */
  struct lvhd_error err;
};

lvhd_engine *l_check_engine(lua_State *L, int arg);
lvhd_task *l_check_task(lua_State *L, int arg);

/* A new, empty box with its metatable on top of the stack, zeroed but for its
 * first member; and the __gc of such a metatable. */
void *l_box(lua_State *L, size_t size, int uservalues, const char *name,
            void (*let_go)(lua_State *L, void *box));
int l_box_gc(lua_State *L, const char *name);

/* Into the house's list. */
void l_house_add(lua_State *L, struct l_box *box);

/* A new, empty box for a task of the engine at index 1, on top; where an error
 * of that call goes; and what became of it: the task, or nil and the error. */
struct l_task *l_task_box(lua_State *L);
struct lvhd_error *l_engine_error(lua_State *L);
int l_task_result(lua_State *L, struct l_task *box, int code);

/* True if somebody has the table of what the task at index `at` brought. */
bool l_has_result(lua_State *L, int at);

/* The same box, not among the engine's handles; and how it gets there.
 * l_new_weak: pushes a table that holds none of its values. */
struct l_task *l_new_task(lua_State *L);
void l_remember(lua_State *L, struct l_task *box);
void l_new_weak(lua_State *L);

/* The strings of the list at index `at` as an array for C, which is a
 * userdata on top of the stack; the list keeps the strings. */
const char **l_strings(lua_State *L, int at, size_t *count);

/* What the table at index `at` says of opening and changing a chain, or of
 * none; two values more are on the stack, which keep what opts points to. */
void l_open_options(lua_State *L, int at, struct lvhd_open_options *opts);

/* What the table at index `at` says of a new file; it keeps the strings. */
void l_create_options(lua_State *L, int at, struct lvhd_create_options *opts);

/* A path at index `arg`, or NULL for nil, which is the engine's to refuse. */
const char *l_path(lua_State *L, int arg);

/* A number that lvhd/options.lua made for a field of the table at `at`, or
 * 0. */
lua_Integer l_integer(lua_State *L, int at, const char *key);

/* A boolean field of the table at index `at`, or LVHD_DEFAULT. */
enum lvhd_choice l_choice(lua_State *L, int at, const char *key);

/* nil and the error, which is cleared; returns 2. */
int l_fail(lua_State *L, struct lvhd_error *err);

/* Pushes a table for err; err stays. */
void l_push_error(lua_State *L, const struct lvhd_error *err);

/* Pushes a table for info; a list of them for infos. */
void l_push_info(lua_State *L, const struct lvhd_info *info);
void l_push_infos(lua_State *L, const lvhd_infos *infos);

/* Pushes the list of what became of many images: infos and errors. */
void l_push_items(lua_State *L, const lvhd_task *task);

/* An empty box for infos on top, and what became of it: the list in its
 * place, or nil and the error. */
struct l_infos *l_infos_box(lua_State *L);
int l_infos_result(lua_State *L, struct l_infos *box, int code);

/* Tells cqueues, where that is loaded, that a descriptor it may know is
 * about to be closed.  Raises nothing. */
void l_cancel_fd(lua_State *L, int fd);

/* The error of a failed task that nobody has read goes to warn().  Raises
 * nothing. */
void l_warn(lua_State *L, const struct lvhd_error *err);

/* What collected engines have left is said and freed. */
void l_sweep(lua_State *L);

/* The main thread of the state has a debug hook: how the `lua` program
 * delivers Ctrl-C. */
bool l_hooked(lua_State *L);
/* After a bounded wait: raises "interrupted!" in a coroutine when the main
 * thread has gained a hook since `hooked` was asked. */
void l_interrupt(lua_State *L, bool hooked);

void l_open_engine(lua_State *L);
void l_open_task(lua_State *L);
void l_open_ended(lua_State *L);
void l_open_children(lua_State *L);
void l_open_ask(lua_State *L);
void l_open_change(lua_State *L);
void l_open_path(lua_State *L);
void l_open_disk(lua_State *L);
void l_open_waiter(lua_State *L);

#endif
