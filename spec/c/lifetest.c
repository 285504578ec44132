/* SPDX-License-Identifier: MIT
 *
 * lifetest: what the specs of engines and lifecycles need beyond lvhdtest.
 * A slow disk for programs that end, or are interrupted, while work is under
 * way; poll(2); a host that survives any number of Ctrl-C.  It must not know
 * the engine beyond io/sys.h; it is linked with io/sys.c alone, so that the
 * engine under test is always the one inside lvhd.core.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/sys.h"

#include <lauxlib.h>
#include <lua.h>

__attribute__((visibility("default"))) int luaopen_lifetest(lua_State *L);

/* ---- slow disks ------------------------------------------------------ */

/* Never freed: a worker may be inside one for as long as its engine lives,
 * and only the engine knows how long that is. */
struct slow {
  struct lv_sys sys; /* first: the engine hands out its address */
  long openat_ns, pwritev_ns, linkat_ns;
  struct slow *next; /* reachable for leak checkers */
};

static struct slow *all;

/* Only workers are slowed; the main thread's calls are checks. */
static void nap(long ns) {
  struct timespec left = {ns / 1000000000L, ns % 1000000000L};
  if (gettid() == getpid())
    return;
  while (nanosleep(&left, &left) == -1 && errno == EINTR)
    ;
}

static int slow_openat(const struct lv_sys *sys, int dir, const char *path,
                       int flags, mode_t mode) {
  nap(((const struct slow *)sys)->openat_ns);
  return lv_sys_real.openat(&lv_sys_real, dir, path, flags, mode);
}

static ssize_t slow_pwritev(const struct lv_sys *sys, int fd,
                            const struct iovec *iov, int count,
                            off_t offset) {
  nap(((const struct slow *)sys)->pwritev_ns);
  return lv_sys_real.pwritev(&lv_sys_real, fd, iov, count, offset);
}

static int slow_linkat(const struct lv_sys *sys, int from_dir,
                       const char *from, int to_dir, const char *to,
                       int flags) {
  nap(((const struct slow *)sys)->linkat_ns);
  return lv_sys_real.linkat(&lv_sys_real, from_dir, from, to_dir, to, flags);
}

/* lifetest.slow{ openat = seconds, pwritev =, linkat = } -> light userdata
 * for lvhd.engine{ system = } */
static long field_ns(lua_State *L, const char *name) {
  double seconds;
  lua_getfield(L, 1, name);
  seconds = luaL_optnumber(L, -1, 0);
  lua_pop(L, 1);
  return (long)(seconds * 1e9);
}

static int l_slow(lua_State *L) {
  long openat_ns = field_ns(L, "openat"), pwritev_ns = field_ns(L, "pwritev"),
       linkat_ns = field_ns(L, "linkat");
  struct slow *slow = calloc(1, sizeof *slow);
  if (slow == NULL)
    return luaL_error(L, "out of memory");
  slow->sys = lv_sys_real;
  slow->sys.openat = slow_openat;
  slow->sys.pwritev = slow_pwritev;
  slow->sys.linkat = slow_linkat;
  slow->openat_ns = openat_ns;
  slow->pwritev_ns = pwritev_ns;
  slow->linkat_ns = linkat_ns;
  slow->next = all;
  all = slow;
  lua_pushlightuserdata(L, &slow->sys);
  return 1;
}

/* ---- the process ----------------------------------------------------- */

/* lifetest.readable(fd [, seconds]) -> within that time */
static int l_readable(lua_State *L) {
  struct pollfd entry = {(int)luaL_checkinteger(L, 1), POLLIN, 0};
  int ms = (int)(luaL_optnumber(L, 2, 0) * 1000);
  lua_pushboolean(L, poll(&entry, 1, ms) == 1 && (entry.revents & POLLIN));
  return 1;
}

/* lifetest.tmpfile(folder) -> the volume has O_TMPFILE */
static int l_tmpfile(lua_State *L) {
  int fd = open(luaL_checkstring(L, 1), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  lua_pushboolean(L, fd != -1);
  if (fd != -1)
    close(fd);
  return 1;
}

/* lifetest.trap(): from now on every SIGINT becomes an error of the main
 * thread, where the lua program dies of the second one. */
static lua_State *trapped;

static void trap_hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "interrupted!");
}

static void trap_action(int signum) {
  (void)signum;
  lua_sethook(trapped, trap_hook,
              LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static int l_trap(lua_State *L) {
  struct sigaction action;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  trapped = lua_tothread(L, -1);
  memset(&action, 0, sizeof action);
  action.sa_handler = trap_action;
  sigaction(SIGINT, &action, NULL);
  return 0;
}

static const luaL_Reg functions[] = {
  {"slow", l_slow}, {"readable", l_readable}, {"tmpfile", l_tmpfile},
  {"trap", l_trap}, {NULL, NULL}};

int luaopen_lifetest(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
