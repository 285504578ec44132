/* SPDX-License-Identifier: MIT
 *
 * How the floor makes a file: the calls that no program can leave out, and no
 * other.  For floor.c and the load that lives in a Lua program (lua/benchload.c);
 * knows nothing of VHD, of threads, and of clocks.
 */
#ifndef LV_BENCH_FILES_H
#define LV_BENCH_FILES_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOOTER_SIZE 512

struct job {
  const char *folder;
  bool full;          /* flush file and folder */
  bool batch;         /* flush many at once */
  bool sparse;        /* bytes is a footer at the end of `length` */
  bool by_descriptor; /* linkat with AT_EMPTY_PATH is allowed here */
  unsigned char *bytes;
  size_t count;
  off_t length;
  long threads;
  long each; /* files in a folder; 0: all are in one */
};

static inline void die(const char *what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* The buffer, prepared once: the whole template, or its footer. */
static inline void load(struct job *job, const char *path) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC);

  if (fd < 0 || fstat(fd, &st) != 0)
    die(path);
  job->length = st.st_size;
  if (st.st_size < FOOTER_SIZE) {
    errno = EINVAL;
    die(path);
  }
  job->count = job->sparse ? FOOTER_SIZE : (size_t)st.st_size;
  job->bytes = malloc(job->count);
  if (job->bytes == NULL)
    die("malloc");
  if (pread(fd, job->bytes, job->count, job->length - (off_t)job->count) !=
      (ssize_t)job->count)
    die("pread");
  close(fd);
}

static inline void publish(const struct job *job, int folder, int fd,
                           const char *name) {
  char proc[32];

  if (job->by_descriptor) {
    if (linkat(fd, "", folder, name, AT_EMPTY_PATH) != 0)
      die("linkat");
    return;
  }
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  if (linkat(AT_FDCWD, proc, folder, name, AT_SYMLINK_FOLLOW) != 0)
    die("linkat");
}

static inline int open_folder(const char *name) {
  int folder = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  if (folder < 0)
    die(name);
  return folder;
}

/* A file with all of its bytes and no name. */
static inline int write_file(const struct job *job, int folder) {
  int fd = openat(folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);

  if (fd < 0)
    die("O_TMPFILE");
  if (job->sparse && ftruncate(fd, job->length) != 0)
    die("ftruncate");
  if (pwrite(fd, job->bytes, job->count,
             job->length - (off_t)job->count) != (ssize_t)job->count)
    die("pwrite");
  return fd;
}

static inline void make(const struct job *job, const char *folder_name,
                        const char *name) {
  int folder = open_folder(folder_name);
  int fd = write_file(job, folder);

  if (job->full && fsync(fd) != 0)
    die("fsync");
  publish(job, folder, fd, name);
  if (job->full && fsync(folder) != 0)
    die("fsync folder");
  if (close(fd) != 0 || close(folder) != 0)
    die("close");
}

/* The cheaper form of linkat needs a privilege; asked once, not counted. */
static inline bool may_link_by_descriptor(const char *folder) {
  int fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  char name[4200];
  bool yes;

  if (fd < 0)
    die("O_TMPFILE");
  snprintf(name, sizeof name, "%s/asked", folder);
  yes = linkat(fd, "", AT_FDCWD, name, AT_EMPTY_PATH) == 0;
  close(fd);
  return yes;
}

#endif
