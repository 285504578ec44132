/* SPDX-License-Identifier: MIT
 *
 * A C program that uses lvhd from a Lua state for a while and lives on, as a
 * plugin host does: it opens a state, has the module dlopen'ed by require,
 * ends the state while workers are inside the module, and looks at what is
 * left.  It must not link the engine: the module is the one on the path.
 *
 *   host_nodelete FOLDER ROUNDS
 *
 * Prints "threads N" (after the last lua_close; 1 is right), "mapped yes|no"
 * (the module is still there although Lua has closed it) and "done".
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/sys.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

/* Every worker spends this long in its first call, so that lua_close comes
 * while it is there. */
static void nap(long ms) {
  struct timespec left = {ms / 1000, ms % 1000 * 1000000L};
  while (nanosleep(&left, &left) == -1 && errno == EINTR)
    ;
}

static int slow_openat(const struct lv_sys *sys, int dir, const char *path,
                       int flags, mode_t mode) {
  (void)sys;
  if (gettid() != getpid())
    nap(60);
  return lv_sys_real.openat(&lv_sys_real, dir, path, flags, mode);
}

/* Tasks running, queued and finished, none of them waited for. */
static const char program[] =
    "local folder, round, system = ...\n"
    "local lvhd = require 'lvhd'\n"
    "local engine = lvhd.engine{ threads = 2, sync = 'none',\n"
    "  preflight = false, system = system }\n"
    "for i = 1, 4 do\n"
    "  engine:create_dynamic(('%s/%d-%d.vhd'):format(folder, round, i),\n"
    "    64 << 20)\n"
    "end\n"
    "local other = lvhd.engine{ threads = 1, sync = 'none' }\n"
    "other:create_dynamic(('%s/%d-x.vhd'):format(folder, round),\n"
    "  64 << 20):wait()\n"
    "path = package.searchpath('lvhd.core', package.cpath)\n";

static struct lv_sys slow;

/* One life of a state; the path of the module into path. */
static int one_round(const char *folder, int round, char *path, size_t size) {
  lua_State *L = luaL_newstate();
  int failed;
  luaL_openlibs(L);
  failed = luaL_loadstring(L, program);
  lua_pushstring(L, folder);
  lua_pushinteger(L, round);
  lua_pushlightuserdata(L, &slow);
  if (failed || lua_pcall(L, 3, 0, 0) != LUA_OK) {
    fprintf(stderr, "host: %s\n", luaL_tolstring(L, -1, NULL));
    return 1;
  }
  lua_getglobal(L, "path");
  snprintf(path, size, "%s", lua_tostring(L, -1));
  lua_close(L);
  return 0;
}

static int threads(void) {
  DIR *dir = opendir("/proc/self/task");
  const struct dirent *entry;
  int n = 0;
  while (dir != NULL && (entry = readdir(dir)) != NULL)
    n += entry->d_name[0] != '.';
  closedir(dir);
  return n;
}

int main(int argc, char **argv) {
  char path[4096] = "";
  void *module;
  int round, moment;
  if (argc != 3)
    return 2;
  slow = lv_sys_real;
  slow.openat = slow_openat;
  for (round = 1; round <= atoi(argv[2]); round++)
    if (one_round(argv[1], round, path, sizeof path))
      return 1;
  /* a joined thread is in /proc for another moment; one that was left behind
   * stays for good, since its pool never told it to leave */
  for (moment = 0; moment < 20 && threads() != 1; moment++)
    nap(1);
  printf("threads %d\n", threads());
  fflush(stdout);
  /* a worker that was left behind would come back into the module now */
  nap(300);
  module = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  printf("mapped %s\n", module != NULL ? "yes" : "no");
  puts("done");
  return 0;
}
