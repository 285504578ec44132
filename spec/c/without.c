/* SPDX-License-Identifier: MIT
 *
 * without WHAT[=ERRNO]... -- COMMAND...: runs a program, and all that it
 * starts, on a host that lacks what is named: a filter in the kernel
 * (seccomp) refuses the calls, with the errno of a kernel or volume that
 * does not have them, or with the one given.  `proc` is another matter, it
 * takes root: in the mounts that the command sees, /proc is empty; tests,
 * which must look at themselves, find the true one by LVHD_PROC.
 *
 * Exits 77 where this host knows no such filters or gives no mounts.  Must
 * not know the engine.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CANNOT 77

/* A call is refused where, of its argument number `arg` (its lower half),
 * the bits of `mask` are `bits`, or differ from them; ALWAYS: in any case. */
#define ALWAYS (-1)
static const struct refusal {
  const char *word;
  long call;
  int arg;
  uint32_t mask, bits;
  bool differ;
  int errnum;
} refusals[] = {
  {"tmpfile", SYS_openat, 2, O_TMPFILE, O_TMPFILE, false, EOPNOTSUPP},
  {"openat2", SYS_openat2, ALWAYS, 0, 0, false, ENOSYS},
  /* with flags: without them it is only a rename */
  {"renameat2", SYS_renameat2, 4, ~0u, 0, true, ENOSYS},
  /* with flags: what has no name, or one in /proc */
  {"link", SYS_linkat, 4, ~0u, 0, true, EPERM},
  {"empty_path", SYS_linkat, 4, AT_EMPTY_PATH, AT_EMPTY_PATH, false, ENOENT},
  {"copy", SYS_copy_file_range, ALWAYS, 0, 0, false, ENOSYS},
  {"clone", SYS_ioctl, 1, ~0u, (uint32_t)FICLONE, false, EOPNOTSUPP},
  {"clone", SYS_ioctl, 1, ~0u, (uint32_t)FICLONERANGE, false, EOPNOTSUPP},
  {"ofd", SYS_fcntl, 1, ~0u, F_OFD_GETLK, false, EINVAL},
  {"ofd", SYS_fcntl, 1, ~0u, F_OFD_SETLK, false, EINVAL},
  {"ofd", SYS_fcntl, 1, ~0u, F_OFD_SETLKW, false, EINVAL},
  {"fallocate", SYS_fallocate, ALWAYS, 0, 0, false, EOPNOTSUPP},
  {"punch", SYS_fallocate, 1, ~0u, 0, true, EOPNOTSUPP},
  {"syncfs", SYS_syncfs, ALWAYS, 0, 0, false, ENOSYS},
  {"send", SYS_sync_file_range, ALWAYS, 0, 0, false, ENOSYS},
  {"holes", SYS_lseek, 2, ~0u, SEEK_DATA, false, EINVAL},
  {"holes", SYS_lseek, 2, ~0u, SEEK_HOLE, false, EINVAL},
};
#define REFUSALS (sizeof refusals / sizeof refusals[0])
#define CODE_MAX 256

static int usage(void) {
  fprintf(stderr, "usage: without WHAT[=ERRNO]... -- COMMAND...\nWHAT:");
  for (size_t i = 0; i < REFUSALS; i++)
    if (i == 0 || strcmp(refusals[i].word, refusals[i - 1].word) != 0)
      fprintf(stderr, " %s", refusals[i].word);
  fprintf(stderr, " proc\n");
  return 2;
}

/* ---- the filter -------------------------------------------------------- */

struct code {
  struct sock_filter at[CODE_MAX];
  unsigned short n;
};

static void add(struct code *code, struct sock_filter step) {
  if (code->n < CODE_MAX)
    code->at[code->n++] = step;
}

static void load(struct code *code, size_t offset) {
  add(code, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                         (uint32_t)offset));
}

/* Goes on where the accumulator is `value` (or, `differ`, is not), else over
 * the next `skip` steps. */
static void expect(struct code *code, uint32_t value, bool differ,
                   unsigned char skip) {
  unsigned char yes = differ ? skip : 0, no = differ ? 0 : skip;
  add(code, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value,
                                         yes, no));
}

/* (The lower half comes first in memory, on what Debian runs on today.) */
static void refuse(struct code *code, const struct refusal *r, int errnum) {
  bool always = r->arg == ALWAYS;
  load(code, offsetof(struct seccomp_data, nr));
  expect(code, (uint32_t)r->call, false, always ? 1 : 4);
  if (!always) {
    load(code, offsetof(struct seccomp_data, args) + 8 * (size_t)r->arg);
    add(code, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K,
                                           r->mask));
    expect(code, r->bits, r->differ, 1);
  }
  add(code, (struct sock_filter)BPF_STMT(
              BPF_RET | BPF_K,
              SECCOMP_RET_ERRNO | ((uint32_t)errnum & SECCOMP_RET_DATA)));
}

static int install(struct code *code) {
  struct sock_fprog program = {.filter = code->at};
  add(code, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
                                         SECCOMP_RET_ALLOW));
  program.len = code->n;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
    return 0;
  perror("without: seccomp");
  return CANNOT;
}

/* ---- /proc ------------------------------------------------------------- */

/* The mounts are this process's own, and end with it. */
static int hide_proc(void) {
  if (unshare(CLONE_NEWNS) == 0 &&
      mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
      mount("tmpfs", "/proc", "tmpfs", 0, "mode=755") == 0 &&
      mkdir("/proc/of-tests", 0755) == 0 &&
      mount("proc", "/proc/of-tests", "proc", 0, NULL) == 0 &&
      setenv("LVHD_PROC", "/proc/of-tests", 1) == 0)
    return 0;
  perror("without: /proc");
  return CANNOT;
}

/* ---- the words --------------------------------------------------------- */

static int errno_of(const char *name) {
  for (int i = 1; i < 134; i++) {
    const char *known = strerrorname_np(i);
    if (known && strcmp(known, name) == 0)
      return i;
  }
  return 0;
}

/* Adds what the word names; 0, or an exit status. */
static int take(struct code *code, char *word) {
  char *name = strchr(word, '=');
  int errnum = 0;
  bool known = false;
  if (name) {
    *name = '\0';
    errnum = errno_of(name + 1);
    if (errnum == 0)
      return usage();
  }
  if (strcmp(word, "proc") == 0)
    return hide_proc();
  for (size_t i = 0; i < REFUSALS; i++) {
    if (strcmp(refusals[i].word, word) != 0)
      continue;
    refuse(code, &refusals[i], errnum ? errnum : refusals[i].errnum);
    known = true;
  }
  return known ? 0 : usage();
}

int main(int argc, char **argv) {
  struct code code = {.n = 0};
  int i = 1, status = 0;
  for (; i < argc && strcmp(argv[i], "--") != 0 && status == 0; i++)
    status = take(&code, argv[i]);
  if (status != 0)
    return status;
  if (i + 1 >= argc)
    return usage();
  status = code.n > 0 ? install(&code) : 0;
  if (status != 0)
    return status;
  execvp(argv[i + 1], argv + i + 1);
  perror(argv[i + 1]);
  return 127;
}
