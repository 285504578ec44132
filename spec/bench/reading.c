/* SPDX-License-Identifier: MIT
 *
 * Reading, measured in C: makes chains of known shape, reads them through
 * lvhd.h, and reads plain files as the floor.
 *
 *   reading make KIND DEPTH SIZE FOLDER   L1.vhd (leaf) ... LDEPTH.vhd
 *     KIND  blocks: block b is layer b % depth's
 *           scattered: so is each piece of 32 KiB, at random; the root has all
 *           empty: nobody wrote anything
 *   reading plain FILE SIZE     a file of SIZE bytes
 *   reading floor FILE          pread in pieces of 2 MiB
 *   reading disk LEAF           lvhd_disk_read in pieces of 2 MiB
 *   reading random LEAF COUNT   COUNT reads of 4 KiB
 *   reading open LEAF COUNT     opens and closes COUNT times
 *
 * The reads print one line: name seconds=S bytes=N, from inside the process;
 * with a buffer that was touched before, after one pass that warms the page
 * cache.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "format/bitmap.h"
#include "format/plan.h"
#include "lvhd.h"

#define PIECE (2u << 20)
#define SMALL (32u << 10)

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint32_t scramble(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7FEB352Du;
  x ^= x >> 15;
  x *= 0x846CA68Bu;
  return x ^ x >> 16;
}

/* ---- making ---------------------------------------------------------- */

static void put(int fd, const void *bytes, size_t n, uint64_t at) {
  if (pwrite(fd, bytes, n, (off_t)at) != (ssize_t)n)
    die("pwrite");
}

static void fill(uint8_t *to, size_t n, uint32_t seed) {
  for (size_t i = 0; i + 4 <= n; i += 4096) {
    lv_put_be32(to + i, seed + (uint32_t)i);
    to[i + 100] = (uint8_t)seed;
  }
}

struct shape {
  const char *kind, *folder;
  unsigned depth;
  uint64_t size;
};

static bool owns(const struct shape *s, unsigned layer, uint64_t offset) {
  if (strcmp(s->kind, "empty") == 0)
    return false;
  if (strcmp(s->kind, "blocks") == 0)
    return offset / PIECE % s->depth == layer - 1;
  return layer == s->depth ||
         scramble((uint32_t)(offset / SMALL)) % s->depth == layer - 1;
}

/* One block: its bitmap and data; false: it has none. */
static bool make_block(const struct shape *s, unsigned layer, uint64_t offset,
                       uint8_t *block) {
  bool any = false;
  memset(block, 0, 512 + PIECE);
  for (uint32_t at = 0; at < PIECE; at += SMALL) {
    if (!owns(s, layer, offset + at))
      continue;
    any = true;
    memset(block + (at / 512) / 8, 0xFF, SMALL / 512 / 8);
    fill(block + 512 + at, SMALL, (uint32_t)(offset / SMALL) + layer);
  }
  return any;
}

static void make_plan(struct lv_plan *plan, const struct shape *s,
                      unsigned layer) {
  char parent[32];
  struct lv_plan_in in = {.size = s->size, .block_size = PIECE};
  in.type = layer == s->depth ? LVHD_DYNAMIC : LVHD_DIFFERENCING;
  in.uuid[15] = (uint8_t)layer;
  if (layer < s->depth) {
    snprintf(parent, sizeof parent, "L%u.vhd", layer + 1);
    in.relative = parent;
    in.parent_uuid[15] = (uint8_t)(layer + 1);
  }
  if (lv_plan(plan, &in, NULL) != 0)
    die("plan");
}

static void make_layer(const struct shape *s, unsigned layer) {
  static uint8_t block[512 + PIECE];
  struct lv_plan plan;
  char path[4096];
  uint8_t *table = NULL;
  uint64_t end = 0;
  int fd = -1;
  snprintf(path, sizeof path, "%s/L%u.vhd", s->folder, layer);
  make_plan(&plan, s, layer);
  fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  table = malloc(plan.table_size);
  if (fd < 0 || table == NULL)
    die(path);
  memset(table, 0xFF, plan.table_size);
  end = lv_round_up(plan.head_size + plan.table_size + 512, 4096) - 512;
  for (uint64_t i = 0; strcmp(s->kind, "empty") != 0 && i < plan.entries;
       i++) {
    if (!make_block(s, layer, i * PIECE, block))
      continue;
    put(fd, block, sizeof block, end);
    lv_put_be32(table + i * 4, (uint32_t)(end / 512));
    end += sizeof block;
  }
  put(fd, plan.head, plan.head_size, 0);
  put(fd, table, plan.table_size, plan.head_size);
  put(fd, plan.footer, sizeof plan.footer, end);
  free(table);
  close(fd);
}

static void make_plain(const char *path, uint64_t size) {
  static uint8_t piece[PIECE];
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0)
    die(path);
  for (uint64_t at = 0; at < size; at += PIECE) {
    fill(piece, sizeof piece, (uint32_t)(at / PIECE));
    put(fd, piece, sizeof piece, at);
  }
  close(fd);
}

/* ---- reading --------------------------------------------------------- */

static void fail(const struct lvhd_error *err) {
  char text[1024];
  lvhd_error_text(err, text, sizeof text);
  fprintf(stderr, "reading: %s: %s\n", lvhd_code_name(err->code), text);
  exit(1);
}

static lvhd_disk *open_disk(lvhd_engine *engine, const char *leaf) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lvhd_open_options opts = {.max_depth = 1024};
  lvhd_disk *disk = NULL;
  if (lvhd_disk_open(engine, &leaf, 1, &opts, &disk, &err) != 0)
    fail(&err);
  return disk;
}

static size_t read_at(lvhd_disk *disk, uint8_t *buf, size_t n,
                      uint64_t offset) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  size_t got = 0;
  if (lvhd_disk_read(disk, buf, n, offset, &got, &err) != 0)
    fail(&err);
  return got;
}

static void say(const char *what, double began, uint64_t bytes) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  printf("%s seconds=%.6f bytes=%llu rss=%ld\n", what, now() - began,
         (unsigned long long)bytes, usage.ru_maxrss);
}

static void run_disk(lvhd_engine *engine, const char *leaf, uint8_t *buf) {
  for (int pass = 0; pass < 2; pass++) {
    double began = now();
    uint64_t at = 0;
    size_t got = 0;
    lvhd_disk *disk = open_disk(engine, leaf);
    while ((got = read_at(disk, buf, PIECE, at)) > 0)
      at += got;
    if (pass == 1)
      say("disk", began, at);
    lvhd_disk_close(disk);
  }
}

static void run_random(lvhd_engine *engine, const char *leaf, uint8_t *buf,
                       unsigned count) {
  lvhd_disk *disk = open_disk(engine, leaf);
  uint64_t places = lvhd_disk_size(disk) / 4096;
  for (int pass = 0; pass < 2; pass++) {
    double began = now();
    for (unsigned i = 0; i < count; i++)
      read_at(disk, buf, 4096, scramble(i) % places * 4096);
    if (pass == 1)
      say("random", began, (uint64_t)count * 4096);
  }
  lvhd_disk_close(disk);
}

static void run_open(lvhd_engine *engine, const char *leaf, unsigned count) {
  for (int pass = 0; pass < 2; pass++) {
    double began = now();
    for (unsigned i = 0; i < (pass == 0 ? 1 : count); i++)
      lvhd_disk_close(open_disk(engine, leaf));
    if (pass == 1)
      say("open", began, count);
  }
}

static void run_floor(const char *path, uint8_t *buf) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    die(path);
  for (int pass = 0; pass < 2; pass++) {
    double began = now();
    uint64_t at = 0;
    ssize_t got = 0;
    while ((got = pread(fd, buf, PIECE, (off_t)at)) > 0)
      at += (uint64_t)got;
    if (pass == 1)
      say("floor", began, at);
  }
  close(fd);
}

static int usage(void) {
  fprintf(stderr, "usage: see the head of reading.c\n");
  return 2;
}

int main(int argc, char **argv) {
  const char *what = argc > 2 ? argv[1] : "";
  uint8_t *buf = malloc(PIECE);
  lvhd_engine *engine = NULL;
  if (buf == NULL || lvhd_engine_new(&engine, NULL, NULL) != 0)
    die("start");
  memset(buf, 1, PIECE);
  if (strcmp(what, "make") == 0 && argc == 6) {
    struct shape s = {.kind = argv[2],
                      .depth = (unsigned)strtoul(argv[3], NULL, 10),
                      .size = strtoull(argv[4], NULL, 10),
                      .folder = argv[5]};
    for (unsigned i = s.depth; i > 0; i--)
      make_layer(&s, i);
  } else if (strcmp(what, "plain") == 0 && argc == 4) {
    make_plain(argv[2], strtoull(argv[3], NULL, 10));
  } else if (strcmp(what, "floor") == 0) {
    run_floor(argv[2], buf);
  } else if (strcmp(what, "disk") == 0) {
    run_disk(engine, argv[2], buf);
  } else if (strcmp(what, "random") == 0 && argc == 4) {
    run_random(engine, argv[2], buf, (unsigned)strtoul(argv[3], NULL, 10));
  } else if (strcmp(what, "open") == 0 && argc == 4) {
    run_open(engine, argv[2], (unsigned)strtoul(argv[3], NULL, 10));
  } else {
    free(buf);
    return usage();
  }
  lvhd_engine_free(engine, false);
  free(buf);
  return 0;
}
