/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/io/dry: every call that would change something is refused
 * and has changed nothing; those that look are the real ones.  In a folder of
 * its own below TMPDIR.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "check.h"
#include "io/dry.h"

static struct lv_sys sys;

/* It failed as a dry run does. */
#define REFUSED(call)                                                        \
  do {                                                                       \
    errno = 0;                                                               \
    CHECK((call) == -1);                                                     \
    CHECK(errno == LV_EDRY);                                                 \
  } while (0)

static void refuses(int dir, int fd) {
  const struct timespec ts[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
  char byte = 'x';
  struct iovec iov = {.iov_base = &byte, .iov_len = 1};
  REFUSED(sys.openat(&sys, dir, "new", O_RDWR | O_CREAT | O_EXCL, 0600));
  REFUSED(sys.pwritev(&sys, fd, &iov, 1, 0));
  REFUSED(sys.copy(&sys, fd, 0, fd, 4, 1));
  REFUSED(sys.clone(&sys, fd, 0, 4096, fd, 4096));
  REFUSED(sys.ftruncate(&sys, fd, 1));
  REFUSED(sys.fallocate(&sys, fd, 0, 0, 4096));
  REFUSED(sys.futimens(&sys, fd, ts));
  REFUSED(sys.fchmod(&sys, fd, 0777));
  REFUSED(sys.linkat(&sys, dir, "a", dir, "new", 0));
  REFUSED(sys.renameat2(&sys, dir, "a", dir, "new", 0));
  REFUSED(sys.unlinkat(&sys, dir, "a", 0));
  REFUSED(sys.mkdirat(&sys, dir, "new", 0777));
}

static void looks(int dir) {
  struct stat st;
  char text[8] = "";
  int fd = sys.openat(&sys, dir, "a", O_RDWR, 0);
  CHECK(fd >= 0);
  CHECK(sys.pread(&sys, fd, text, sizeof text, 0) == 4);
  CHECK_STR(text, "text");
  CHECK(sys.fstat(&sys, fd, &st) == 0 && st.st_size == 4);
  CHECK(sys.close(&sys, fd) == 0);
  fd = sys.openat(&sys, dir, ".", O_TMPFILE | O_RDWR, 0600);
  CHECK(fd >= 0 || errno == EOPNOTSUPP); /* an unnamed file may be asked */
  if (fd >= 0)
    sys.close(&sys, fd);
}

/* Where a file could not be made at all, the real reason is told. */
static void tells_why(void) {
  int plain = open("/proc/self/stat", O_RDONLY);
  errno = 0;
  CHECK(sys.openat(&sys, plain, "new", O_RDWR | O_CREAT, 0600) == -1);
  CHECK(errno == ENOTDIR);
  close(plain);
}

int main(void) {
  const char *tmp = getenv("TMPDIR");
  char path[512];
  struct stat before, after;
  int dir = -1, fd = -1;
  snprintf(path, sizeof path, "%s/lvhd-dry-XXXXXX", tmp ? tmp : "/tmp");
  CHECK(mkdtemp(path) != NULL);
  dir = open(path, O_RDONLY | O_DIRECTORY);
  fd = openat(dir, "a", O_RDWR | O_CREAT | O_EXCL, 0600);
  CHECK(write(fd, "text", 4) == 4 && fstat(fd, &before) == 0);
  lv_sys_dry(&sys);
  refuses(dir, fd);
  looks(dir);
  tells_why();
  CHECK(fstat(fd, &after) == 0 && after.st_size == 4);
  CHECK(after.st_mode == before.st_mode);
  CHECK(after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
  CHECK(after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
  CHECK(faccessat(dir, "new", F_OK, 0) != 0);
  close(fd);
  unlinkat(dir, "a", 0);
  CHECK(rmdir(path) == 0); /* nothing else is in it */
  close(dir);
  return check_done();
}
