/* SPDX-License-Identifier: MIT
 *
 * The floor that lvhd's speed is held against: the least a program must ask
 * of the kernel to put N whole files under their names, and nothing else.
 * For each file: open folder, open O_TMPFILE, one pwrite of one prepared
 * buffer, [fsync], linkat, [fsync folder], two closes.  A sparse fixed disk
 * has an ftruncate and a pwrite of its footer instead.  It knows nothing of
 * VHD: the bytes are those of a template file.  Shares no code with lvhd.
 *
 *   floor write|sparse none|full|batch FOLDER COUNT WARM TEMPLATE
 *     [THREADS [EACH]]
 *   floor touch BYTES
 *
 * THREADS share the COUNT files; of these each EACH have a folder of their own,
 * which is made and counted.
 *
 * "none" never flushes, "full" flushes each file and its folder.  "batch" makes
 * 512 files at a time: all are written, the volume is flushed once, all are
 * linked, the folder is flushed once.
 *
 * WARM files more are made first and not counted.  Prints one line:
 *   floor files=N bytes=LENGTH wall=SECONDS cpu=SECONDS
 * cpu is user + system, as Lua's os.clock counts it.
 *
 * `touch` writes to that much memory and lets it go: a virtual machine pays
 * its host for each page the first time it is used, ten times the price of
 * filling it, and whoever runs first would pay for whoever runs next.
 */
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "files.h"

#define BATCH 512
#define THREADS 64

static double seconds(clockid_t clock) {
  struct timespec ts;

  if (clock_gettime(clock, &ts) != 0)
    die("clock_gettime");
  return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void make_batches(const struct job *job, const char *prefix,
                         long count) {
  int folder = open_folder(job->folder);
  int fds[BATCH];
  char name[64];

  for (long from = 0; from < count; from += BATCH) {
    long n = count - from < BATCH ? count - from : BATCH;
    for (long i = 0; i < n; i++)
      fds[i] = write_file(job, folder);
    if (syncfs(folder) != 0)
      die("syncfs");
    for (long i = 0; i < n; i++) {
      snprintf(name, sizeof name, "%s%ld.vhd", prefix, from + i + 1);
      publish(job, folder, fds[i], name);
    }
    if (fsync(folder) != 0)
      die("fsync folder");
    for (long i = 0; i < n; i++)
      if (close(fds[i]) != 0)
        die("close");
  }
  close(folder);
}

/* What one thread makes: from, from + step, ... */
struct share {
  const struct job *job;
  const char *prefix;
  long from, step, count;
};

static void *make_share(void *arg) {
  const struct share *share = arg;
  const char *top = share->job->folder;
  long each = share->job->each;
  char folder[4200], name[64];

  for (long i = share->from; i < share->count; i += share->step) {
    if (each > 0)
      snprintf(folder, sizeof folder, "%s/%ld", top, i / each);
    else
      snprintf(folder, sizeof folder, "%s", top);
    snprintf(name, sizeof name, "%s%ld.vhd", share->prefix, i + 1);
    make(share->job, folder, name);
  }
  return NULL;
}

static void make_folders(const struct job *job, long count) {
  char folder[4200];

  for (long i = 0; job->each > 0 && i < count; i += job->each) {
    snprintf(folder, sizeof folder, "%s/%ld", job->folder, i / job->each);
    if (mkdir(folder, 0777) != 0)
      die(folder);
  }
}

static void make_many(const struct job *job, const char *prefix, long count) {
  struct share shares[THREADS];
  pthread_t ids[THREADS];

  if (job->batch) {
    make_batches(job, prefix, count);
    return;
  }
  make_folders(job, count);
  for (long i = 0; i < job->threads; i++) {
    shares[i] = (struct share){job, prefix, i, job->threads, count};
    if (i > 0 && pthread_create(&ids[i], NULL, make_share, &shares[i]) != 0)
      die("pthread_create");
  }
  make_share(&shares[0]);
  for (long i = 1; i < job->threads; i++)
    pthread_join(ids[i], NULL);
}

static int touch(const char *bytes) {
  size_t n = (size_t)strtoull(bytes, NULL, 10);
  volatile char *memory = n > 0 ? malloc(n) : NULL;

  for (size_t i = 0; memory && i < n; i += 4096)
    memory[i] = 1;
  free((void *)(uintptr_t)memory);
  return 0;
}

int main(int argc, char **argv) {
  struct job job = {0};
  double wall, cpu;
  long count, warm;

  if (argc == 3 && strcmp(argv[1], "touch") == 0)
    return touch(argv[2]);
  if (argc < 7 || argc > 9) {
    fputs("usage: floor write|sparse none|full|batch FOLDER COUNT WARM "
          "TEMPLATE [THREADS [EACH]]\n"
          "       floor touch BYTES\n",
          stderr);
    return 2;
  }
  job.sparse = strcmp(argv[1], "sparse") == 0;
  job.full = strcmp(argv[2], "full") == 0;
  job.batch = strcmp(argv[2], "batch") == 0;
  job.folder = argv[3];
  count = strtol(argv[4], NULL, 10);
  warm = strtol(argv[5], NULL, 10);
  job.threads = argc > 7 ? strtol(argv[7], NULL, 10) : 1;
  if (job.threads < 1 || job.threads > THREADS) {
    fprintf(stderr, "floor: 1 to %d threads\n", THREADS);
    return 2;
  }
  load(&job, argv[6]);
  job.by_descriptor = may_link_by_descriptor(job.folder);
  make_many(&job, "warm", warm);
  job.each = argc > 8 ? strtol(argv[8], NULL, 10) : 0;
  wall = seconds(CLOCK_MONOTONIC);
  cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
  make_many(&job, "", count);
  cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  wall = seconds(CLOCK_MONOTONIC) - wall;
  printf("floor files=%ld bytes=%lld wall=%.9f cpu=%.9f\n", count,
         (long long)job.length, wall, cpu);
  free(job.bytes);
  return 0;
}
