/* SPDX-License-Identifier: MIT
 *
 * The load that lvhd's is compared with in a loop of events: one thread in C,
 * in the program of the loop, makes files as the floor does (files.h), and tells
 * of each by a descriptor.  For the benchmark only; knows nothing of lvhd.
 */
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>

#include <lauxlib.h>
#include <lua.h>

#include "../files.h"

__attribute__((visibility("default"))) int luaopen_benchload(lua_State *L);

/* One load a program. */
static struct job job;
static long files;
static int ended = -1;
static char folder_name[4096];

static void *make_all(void *arg) {
  const uint64_t one = 1;
  char name[64];

  (void)arg;
  for (long i = 1; i <= files; i++) {
    snprintf(name, sizeof name, "%ld.vhd", i);
    make(&job, job.folder, name);
    if (write(ended, &one, sizeof one) != sizeof one)
      die("eventfd");
  }
  return NULL;
}

/* start(folder, count, template) -> descriptor, readable when files are made */
static int l_start(lua_State *L) {
  pthread_t id;

  snprintf(folder_name, sizeof folder_name, "%s", luaL_checkstring(L, 1));
  files = (long)luaL_checkinteger(L, 2);
  job.folder = folder_name;
  load(&job, luaL_checkstring(L, 3));
  job.by_descriptor = may_link_by_descriptor(folder_name);
  ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (ended < 0)
    die("eventfd");
  if (pthread_create(&id, NULL, make_all, NULL) != 0)
    die("pthread_create");
  pthread_detach(id);
  lua_pushinteger(L, ended);
  return 1;
}

/* made() -> how many since it was asked last */
static int l_made(lua_State *L) {
  uint64_t count = 0;

  if (read(ended, &count, sizeof count) != sizeof count)
    count = 0;
  lua_pushinteger(L, (lua_Integer)count);
  return 1;
}

int luaopen_benchload(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"start", l_start}, {"made", l_made}, {NULL, NULL}};

  luaL_newlib(L, functions);
  return 1;
}
