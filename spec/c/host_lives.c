/* SPDX-License-Identifier: MIT
 *
 * A C program that opens Lua states, lets each run a text, and closes it,
 * again and again, several at the same time: what a plugin host does in a
 * year.  It looks whether anything is left of them, and how long lua_close
 * took.  It must not link the engine: the module is the one on the path.
 *
 *   host_lives FOLDER ROUNDS THREADS stay|fork TEXT
 *
 * The text is called with a folder of the round's own (which is there, and
 * goes after the round), the number of the round, and FOLDER.  An error is
 * the end of the round, as it is in the `lua` program, and no failure when it
 * is the string "mine".  With "fork", each life is a process, which may call
 * os.exit and has 60 seconds.
 *
 * Prints, and the first line is the same for right programs:
 *   "threads N" of this process (1), "fds N" more than before (0), "failed N"
 *   "lives N close MS grown BYTES": so many rounds, the longest lua_close (the
 *   least of three, where it took more than a second: a busy machine is not
 *   its fault), and what malloc has handed out more than after a tenth of the
 *   rounds.
 */
#include <dirent.h>
#include <ftw.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

static const char *root, *text;

static double now(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int entries(const char *path) {
  DIR *dir = opendir(path);
  const struct dirent *entry;
  int n = 0;
  while (dir != NULL && (entry = readdir(dir)) != NULL)
    n += entry->d_name[0] != '.';
  closedir(dir);
  return n;
}

static int remove_one(const char *path, const struct stat *st, int flag,
                      struct FTW *ftw) {
  (void)st;
  (void)flag;
  (void)ftw;
  return remove(path);
}

/* ---- one life --------------------------------------------------------- */

struct life {
  pthread_t thread;
  pthread_barrier_t *start; /* NULL: alone */
  int round;
  bool good;
  double close; /* ms */
};

static bool allowed(lua_State *L) {
  const char *err = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  const char *mine = "mine";
  size_t n = strlen(err), m = strlen(mine);
  return n >= m && strcmp(err + n - m, mine) == 0;
}

static bool run(lua_State *L, const char *folder, struct life *life) {
  bool good = luaL_loadbuffer(L, text, strlen(text), "=life") == LUA_OK;
  lua_pushstring(L, folder);
  lua_pushinteger(L, life->round);
  lua_pushstring(L, root);
  if (life->start != NULL)
    pthread_barrier_wait(life->start);
  good = good && (lua_pcall(L, 3, 0, 0) == LUA_OK || allowed(L));
  if (!good)
    fprintf(stderr, "round %d: %s\n", life->round,
            luaL_tolstring(L, -1, NULL));
  return good;
}

static void live(struct life *life) {
  char folder[4096];
  lua_State *L = luaL_newstate();
  double start;
  snprintf(folder, sizeof folder, "%s/life%d", root, life->round);
  mkdir(folder, 0777);
  luaL_openlibs(L);
  life->good = run(L, folder, life);
  start = now();
  lua_close(L);
  life->close = now() - start;
  nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void *life_main(void *arg) {
  live(arg);
  return NULL;
}

/* ---- rounds ----------------------------------------------------------- */

static void together(struct life *lives, int threads, int round) {
  pthread_barrier_t start;
  pthread_barrier_init(&start, NULL, (unsigned)threads);
  for (int i = 0; i < threads; i++) {
    lives[i] = (struct life){.start = &start, .round = round + i};
    if (pthread_create(&lives[i].thread, NULL, life_main, &lives[i]) != 0)
      abort();
  }
  for (int i = 0; i < threads; i++)
    pthread_join(lives[i].thread, NULL);
  pthread_barrier_destroy(&start);
}

/* The time of the close comes through the exit code, in tenths of a second;
 * 100 and more are failures. */
static void apart(struct life *life) {
  int status = 0;
  pid_t pid;
  fflush(stdout);
  pid = fork();
  if (pid == 0) {
    alarm(60);
    live(life);
    exit(life->good ? (int)(life->close / 100) % 100 : 100);
  }
  waitpid(pid, &status, 0);
  life->good = WIFEXITED(status) && WEXITSTATUS(status) < 100;
  life->close = life->good ? WEXITSTATUS(status) * 100.0 : 0;
  if (!life->good)
    fprintf(stderr, "round %d: ended by %s %d\n", life->round,
            WIFSIGNALED(status) ? "signal" : "code",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void round_of(struct life *lives, int threads, int round,
                     bool apart_) {
  if (threads > 1) {
    together(lives, threads, round);
  } else {
    lives[0] = (struct life){.round = round};
    if (apart_)
      apart(&lives[0]);
    else
      live(&lives[0]);
  }
}

static double slowest(const struct life *lives, int threads, int *failed) {
  double most = 0;
  for (int i = 0; i < threads; i++) {
    *failed += !lives[i].good;
    if (lives[i].close > most)
      most = lives[i].close;
  }
  return most;
}

int main(int argc, char **argv) {
  static struct life lives[64];
  int rounds, threads, failed = 0, fds, moment;
  size_t before = 0;
  double most = 0;
  bool apart_;
  if (argc != 6 || (threads = atoi(argv[3])) < 1 || threads > 64)
    return 2;
  root = argv[1];
  rounds = atoi(argv[2]);
  apart_ = strcmp(argv[4], "fork") == 0;
  text = argv[5];
  setvbuf(stdout, NULL, _IONBF, 0); /* no buffer to be counted */
  fds = entries("/proc/self/fd");
  for (int round = 0; round < rounds; round += threads) {
    double close = 0;
    for (int try = 0; try < 3 && (try == 0 || close > 1000); try++) {
      double again;
      round_of(lives, threads, round + 1, apart_);
      again = slowest(lives, threads, &failed);
      close = try == 0 || again < close ? again : close;
    }
    most = close > most ? close : most;
    if (before == 0 && round >= rounds / 10)
      before = mallinfo2().uordblks;
  }
  /* a joined thread is in /proc for another moment */
  for (moment = 0; moment < 200 && entries("/proc/self/task") != 1; moment++)
    usleep(1000);
  printf("threads %d fds %d failed %d\n", entries("/proc/self/task"),
         entries("/proc/self/fd") - fds, failed);
  printf("lives %d close %.0f grown %ld\n", rounds, most,
         (long)mallinfo2().uordblks - (long)before);
  return failed == 0 ? 0 : 1;
}
