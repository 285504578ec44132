/* SPDX-License-Identifier: MIT
 *
 * Linked into all that `make coverage` counts, and into nothing else: what a
 * process has counted is written when it leaves by quick_exit, too.  There
 * _exit is quick_exit (the Makefile's -D), so that a forked child, which must
 * not run the exit handlers of its parent, is counted like its parent.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

void __gcov_dump(void);

/* The limits that a test has set are over. */
static void lift(__rlimit_resource_t which) {
  struct rlimit limit;
  if (getrlimit(which, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(which, &limit);
  }
}

/* At an exit too, before gcov's own. */
__attribute__((destructor)) static void lift_all(void) {
  signal(SIGXFSZ, SIG_IGN);
  lift(RLIMIT_FSIZE);
  lift(RLIMIT_NOFILE);
}

static void leave(void) {
  lift_all();
  __gcov_dump();
}

__attribute__((constructor)) static void count_children(void) {
  if (at_quick_exit(leave) != 0)
    abort();
}
