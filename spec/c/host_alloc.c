/* SPDX-License-Identifier: MIT
 *
 * Lua states whose memory runs out, as in Lua's own memerr.lua: a scenario is
 * run in a fresh state for each limit, until it comes to its end.  Module and
 * engine are linked in, so that what they hold is counted too.
 *
 *   host_alloc FOLDER FILE FULL [NAME]
 *
 * FILE (spec/support/scarce.lua) returns { build =, scenarios = }.  A scenario
 * is { name, before, act, mend, after, closing, sources, buffers, step, each,
 * unread }:
 * before() gives a state; act(state) is run under the limit; where it fails,
 * mend(state) looks and puts right, and act must succeed without a limit;
 * after(state) judges.  closing: the limit is on during lua_close.  sources:
 * modules come from their files.  buffers: Lua's own buffers grow, which do not
 * collect before they give up.  step: only each so many limits where FULL is
 * 0; each: then no limit of the way `pair` is passed over.  unread: so many
 * errors go to warn().
 * Scenarios have two functions more: gate(shut, full) gives the system of an
 * engine whose workers wait while it is shut, and which cannot flush while the
 * volume is full; unread() tells how many errors went to warn().
 *
 * Prints a line for each scenario and way: "NAME WAY LIMITS REFUSED", and
 * "done".  What is wrong goes to stderr, and the program ends with 1.
 */
#include <stdlib.h>
#include <unistd.h>

#include "folder.h"
#include "io/sys.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "poor.h"

int luaopen_lvhd_core(lua_State *L);

/* ---- the allocator ---------------------------------------------------- */

/* one: a single request fails, which Lua makes again after a collection.
 * pair: that one too.  on: all from there.  bytes: what would make it more
 * than the limit.  engine: of what the engine asks for in
 * a call; what its workers ask for is test_alloc's. */
enum way { ONE, PAIR, ON, BYTES, ENGINE, WAYS };
static const char *const ways[] = {"one", "pair", "on", "bytes", "engine"};

static struct {
  size_t total, limit; /* bytes; limit 0: none */
  unsigned at, many, count, hits;
} purse;

static bool is_refused(size_t old, size_t n) {
  bool refused = false;
  if (purse.limit != 0 && n > old && purse.total + n - old > purse.limit)
    refused = true;
  if (purse.at != 0 && n != old) {
    purse.count++;
    refused = purse.count >= purse.at && purse.count - purse.at < purse.many;
  }
  purse.hits += refused;
  return refused;
}

static void *allocate(void *arg, void *p, size_t old, size_t n) {
  void *got = NULL;
  (void)arg;
  if (p == NULL)
    old = 0; /* a kind of object */
  if (n == 0) {
    purse.total -= old;
    __real_free(p);
    return NULL;
  }
  if (is_refused(old, n))
    return NULL;
  got = __real_realloc(p, n);
  if (got != NULL)
    purse.total = purse.total - old + n;
  return got;
}

static void limit_on(enum way way, size_t k) {
  purse.count = purse.hits = 0;
  poor_begin(way == ENGINE ? (unsigned)k : 0, false, POOR_CALLER);
  purse.many = way == ONE ? 1 : way == PAIR ? 2 : ~0u;
  purse.at = way < BYTES ? (unsigned)k : 0;
  purse.limit = way == BYTES ? purse.total + k : 0;
}

/* True: something was refused. */
static bool limit_off(void) {
  purse.at = 0;
  purse.limit = 0;
  return poor_end() + purse.hits > 0;
}

/* ---- modules ---------------------------------------------------------- */

/* The Lua files of lvhd, compiled once. */
#define MODULES 32
static struct {
  char name[64];
  char *code;
  size_t n;
} modules[MODULES];
static size_t scenarios_at; /* among the modules */

static int append(lua_State *L, const void *p, size_t n, void *arg) {
  size_t i = *(size_t *)arg;
  char *grown = __real_realloc(modules[i].code, modules[i].n + n);
  (void)L;
  if (grown == NULL)
    return 1;
  memcpy(grown + modules[i].n, p, n);
  modules[i].code = grown;
  modules[i].n += n;
  return 0;
}

/* preload(name, ...): as the file's own loader. */
static int preload(lua_State *L) {
  size_t i = (size_t)lua_tointeger(L, lua_upvalueindex(1));
  if (luaL_loadbufferx(L, modules[i].code, modules[i].n, modules[i].name,
                       "b") != LUA_OK)
    return lua_error(L);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

static bool compile(lua_State *L, const char *name, const char *path,
                    size_t i) {
  snprintf(modules[i].name, sizeof modules[i].name, "%s", name);
  return luaL_loadfile(L, path) == LUA_OK &&
         lua_dump(L, append, &i, 0) == 0;
}

/* As the program finds it in the folder of the sources. */
static bool compile_module(lua_State *L, const char *name, size_t i) {
  char path[128], stem[64];
  snprintf(stem, sizeof stem, "%s", name);
  for (char *dot = stem; (dot = strchr(dot, '.')) != NULL;)
    *dot = '/';
  snprintf(path, sizeof path, "./%s.lua", stem);
  if (access(path, R_OK) != 0)
    snprintf(path, sizeof path, "./%s/init.lua", stem);
  return compile(L, name, path, i);
}

/* What `require "lvhd"` and the names of Virtual Server load; then FILE. */
static bool compile_all(const char *file) {
  static const char *const names[] = {
    "lvhd", "lvhd.arguments", "lvhd.change", "lvhd.disk", "lvhd.ended",
    "lvhd.engine", "lvhd.error", "lvhd.handles", "lvhd.options", "lvhd.size",
    "lvhd.task", "lvhd.virtualserver", "lvhd.virtualserver.application",
    "lvhd.virtualserver.codes", "lvhd.virtualserver.constants",
    "lvhd.virtualserver.disk", "lvhd.virtualserver.object",
    "lvhd.virtualserver.task"};
  lua_State *L = luaL_newstate();
  size_t n = sizeof names / sizeof names[0];
  bool good = true;
  for (size_t i = 0; i < n; i++)
    good = compile_module(L, names[i], i) && good;
  scenarios_at = n;
  good = compile(L, file, file, n) && good;
  lua_close(L);
  return good;
}

static void free_modules(void) {
  for (size_t i = 0; i < MODULES; i++)
    __real_free(modules[i].code);
}

static void offer_modules(lua_State *L, bool sources) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_lvhd_core);
  lua_setfield(L, -2, "lvhd.core");
  for (size_t i = 0; i < scenarios_at && !sources; i++) {
    lua_pushinteger(L, (lua_Integer)i);
    lua_pushcclosure(L, preload, 1);
    lua_setfield(L, -2, modules[i].name);
  }
  lua_pop(L, 1);
}

/* ---- warnings --------------------------------------------------------- */

static struct {
  bool inside;
  unsigned unread, raised;
} warnings;

/* unread() -> how many, and forgets them */
static int unread(lua_State *L) {
  lua_pushinteger(L, warnings.unread);
  warnings.unread = 0;
  return 1;
}

static void on_warning(void *arg, const char *text, int more) {
  (void)arg;
  if (!warnings.inside && strstr(text, "nobody read") != NULL)
    warnings.unread++;
  else if (!warnings.inside && strstr(text, "error in") != NULL)
    warnings.raised++;
  warnings.inside = more != 0;
}

/* ---- the gate --------------------------------------------------------- */

/* A system whose workers wait at it before they open anything, and whose
 * volume may be full. */
static struct lv_sys gated;
static atomic_bool shut, full_volume;

static int gated_openat(const struct lv_sys *sys, int dir, const char *path,
                        int flags, mode_t mode) {
  (void)sys;
  while (atomic_load(&shut) && gettid() != getpid())
    usleep(100);
  return lv_sys_real.openat(&lv_sys_real, dir, path, flags, mode);
}

static int gated_fdatasync(const struct lv_sys *sys, int fd) {
  (void)sys;
  if (atomic_load(&full_volume)) {
    errno = ENOSPC;
    return -1;
  }
  return lv_sys_real.fdatasync(&lv_sys_real, fd);
}

/* gate(shut, full) -> system */
static int gate(lua_State *L) {
  atomic_store(&shut, lua_toboolean(L, 1));
  atomic_store(&full_volume, lua_toboolean(L, 2));
  lua_pushlightuserdata(L, &gated);
  return 1;
}

/* ---- one state -------------------------------------------------------- */

static const char *folder;
static int full;
static unsigned complaints;

static void complain(const char *name, enum way way, size_t k,
                     const char *what) {
  if (complaints++ < 20)
    fprintf(stderr, "%s, %s %zu: %s\n", name, ways[way], k, what);
}

/* What Lua 5.4 itself does not survive: where memory runs out while the
 * metatable of its buffers is made, that has no __close for ever; and the
 * finalizers of its own files ask for a string. */
static void help_lua(lua_State *L) {
  luaL_Buffer b;
  (void)luaL_buffinitsize(L, &b, 4 * LUAL_BUFFERSIZE);
  luaL_pushresultsize(&b, 0);
  lua_pushliteral(L, "cannot close standard file");
  (void)luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pop(L, 1);
}

/* Leaves { build =, scenarios = } at index 1. */
static lua_State *new_state(bool sources) {
  lua_State *L = lua_newstate(allocate, NULL);
  if (L == NULL)
    return NULL;
  luaL_openlibs(L);
  offer_modules(L, sources);
  memset(&warnings, 0, sizeof warnings);
  lua_setwarnf(L, on_warning, NULL);
  atomic_store(&shut, false);
  atomic_store(&full_volume, false);
  lua_register(L, "gate", gate);
  lua_register(L, "unread", unread);
  help_lua(L);
  if (luaL_loadbuffer(L, modules[scenarios_at].code, modules[scenarios_at].n,
                      "scenarios") != LUA_OK ||
      (lua_pushstring(L, folder), lua_pcall(L, 1, 1, 0)) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    exit(1);
  }
  return L;
}

/* Pushes scenario i; false: there is none. */
static bool push_scenario(lua_State *L, int i) {
  lua_getfield(L, 1, "scenarios");
  lua_rawgeti(L, -1, i);
  lua_remove(L, -2);
  return lua_istable(L, -1);
}

/* Calls a function of the scenario at 2 with the state at 3, if there is one.
 * NULL, or what it raised. */
static const char *call(lua_State *L, const char *what) {
  const char *wrong = NULL;
  if (lua_getfield(L, 2, what) == LUA_TFUNCTION) {
    lua_pushvalue(L, 3);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK)
      wrong = luaL_tolstring(L, -1, NULL);
  }
  return wrong; /* on the stack, whose top is the caller's to set */
}

static bool ends_in(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && strcmp(text + n - m, end) == 0;
}

/* What the act raised is what a program may see: no memory, in Lua's words or
 * in lvhd's. */
static bool is_fair(lua_State *L, int status, enum way way) {
  const char *name = NULL;
  if (way == ENGINE) {
    if (lua_type(L, -1) == LUA_TTABLE)
      lua_getfield(L, -1, "name");
    name = lua_tostring(L, -1);
    return name != NULL && strcmp(name, "E_OUTOFMEMORY") == 0;
  }
  name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  return status == LUA_ERRMEM || ends_in(name, "not enough memory");
}

struct scenario {
  char name[64];
  int i;
  bool closing, sources, buffers, each;
  size_t step;
  unsigned unread; /* errors that nobody reads */
};

/* The act under the limit, and all that follows.  True: the limit was felt.
 * *refused: and it failed. */
static bool act(lua_State *L, const struct scenario *s, enum way way,
                size_t k, bool *refused) {
  const char *wrong = NULL;
  bool felt = false;
  int status = LUA_OK;
  lua_getfield(L, 2, "act");
  lua_pushvalue(L, 3);
  lua_gc(L, LUA_GCCOLLECT);
  limit_on(way, k);
  status = lua_pcall(L, 1, 0, 0);
  felt = limit_off();
  *refused = status != LUA_OK;
  if (status != LUA_OK && !(felt && is_fair(L, status, way)))
    complain(s->name, way, k, luaL_tolstring(L, -1, NULL));
  lua_settop(L, 3);
  if (status != LUA_OK && way == ONE && !s->buffers)
    complain(s->name, way, k, "a collection did not help");
  if (status != LUA_OK) {
    if ((wrong = call(L, "mend")) != NULL)
      complain(s->name, way, k, wrong);
    lua_settop(L, 3);
    if ((wrong = call(L, "act")) != NULL)
      complain(s->name, way, k, wrong);
    lua_settop(L, 3);
  }
  if ((wrong = call(L, "after")) != NULL)
    complain(s->name, way, k, wrong);
  lua_settop(L, 3);
  return felt;
}

/* The state of the scenario goes to index 3. */
static void prepare(lua_State *L, const struct scenario *s, enum way way,
                    size_t k) {
  if (lua_getfield(L, 2, "before") != LUA_TFUNCTION) {
    lua_pop(L, 1);
    lua_newtable(L);
  } else if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
    complain(s->name, way, k, luaL_tolstring(L, -1, NULL));
  }
  lua_settop(L, 3);
}

/* Each unread error is told once, and no finalizer raises. */
static void judge_warnings(const struct scenario *s, enum way way, size_t k) {
  if (warnings.raised != 0)
    complain(s->name, way, k, "a finalizer raised");
  if (warnings.unread != s->unread)
    complain(s->name, way, k, "unread errors were told otherwise");
}

/* One limit; true: it was felt. */
static bool one(const struct scenario *s, enum way way, size_t k,
                bool *refused) {
  long held = atomic_load(&poor.held), open = descriptors();
  lua_State *L = new_state(s->sources);
  bool felt = false;
  *refused = false;
  push_scenario(L, s->i);
  prepare(L, s, way, k);
  if (s->closing) {
    limit_on(way, k);
    lua_close(L);
    felt = limit_off();
  } else {
    felt = act(L, s, way, k, refused);
    lua_close(L);
  }
  judge_warnings(s, way, k);
  if (atomic_load(&poor.held) != held)
    complain(s->name, way, k, "memory of the engine is left");
  if (purse.total != 0)
    complain(s->name, way, k, "memory of Lua is left");
  if (descriptors() != open)
    complain(s->name, way, k, "descriptors are left");
  purse.total = 0;
  atomic_store(&poor.held, held);
  return felt;
}

/* ---- all of them ------------------------------------------------------ */

/* Of FULL 0: primes, so that ways do not meet the same places. */
static size_t step_of(const struct scenario *s, enum way way) {
  static const size_t every_day[WAYS] = {29, 17, 5, 8192, 11};
  if (full)
    return way == BYTES ? 64 : 1;
  if (s->each && way == PAIR)
    return 1;
  return every_day[way] * s->step;
}

static void sweep(const struct scenario *s, enum way way) {
  size_t step = step_of(s, way);
  size_t limits = 0, refusals = 0;
  bool refused = false;
  for (size_t k = 1; one(s, way, k, &refused); k += step) {
    limits++;
    refusals += refused;
    if (way == BYTES) /* a string of megabytes is not for every step */
      k += k / (full ? 64 : 8);
  }
  printf("%s\t%s\t%zu\t%zu\n", s->name, ways[way], limits, refusals);
  fflush(stdout);
}

static bool read_scenario(struct scenario *s, int i) {
  lua_State *L = new_state(false);
  bool there = push_scenario(L, i);
  *s = (struct scenario){.i = i, .step = 1};
  if (there) {
    lua_getfield(L, 2, "name");
    snprintf(s->name, sizeof s->name, "%s", lua_tostring(L, -1));
    lua_getfield(L, 2, "closing");
    s->closing = lua_toboolean(L, -1);
    lua_getfield(L, 2, "buffers");
    s->buffers = lua_toboolean(L, -1);
    lua_getfield(L, 2, "each");
    s->each = lua_toboolean(L, -1);
    lua_getfield(L, 2, "sources");
    s->sources = lua_toboolean(L, -1);
    if (lua_getfield(L, 2, "step") == LUA_TNUMBER)
      s->step = (size_t)lua_tointeger(L, -1);
    lua_getfield(L, 2, "unread");
    s->unread = (unsigned)lua_tointeger(L, -1);
  }
  lua_close(L);
  return there;
}

static void build(void) {
  lua_State *L = new_state(false);
  lua_getfield(L, 1, "build");
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
    fprintf(stderr, "build: %s\n", luaL_tolstring(L, -1, NULL));
    exit(1);
  }
  lua_close(L);
}

int main(int argc, char **argv) {
  const char *only = argc > 4 ? argv[4] : NULL;
  struct scenario s;
  if (argc < 4 || !compile_all(argv[2]))
    return 2;
  gated = lv_sys_real;
  gated.openat = gated_openat;
  gated.fdatasync = gated_fdatasync;
  folder = argv[1];
  full = atoi(argv[3]);
  build();
  for (int i = 1; read_scenario(&s, i); i++)
    for (enum way way = 0; way < WAYS; way++)
      if (only == NULL || strcmp(only, s.name) == 0)
        sweep(&s, way);
  free_modules();
  puts("done");
  return complaints == 0 ? 0 : 1;
}
