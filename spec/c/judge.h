/* SPDX-License-Identifier: MIT
 *
 * What the verbs of verbs.h do while something fails, judged: the folder that
 * they are asked in, what is right, and what may be left after a failure.
 * The program that includes it says how an engine is made (engine_for), and
 * what goes wrong.
 */
#ifndef LVHD_SPEC_JUDGE_H
#define LVHD_SPEC_JUDGE_H

#include <errno.h>

#include "io/sys.h"
#include "verbs.h"

static lvhd_engine *engine_for(const struct verb *v, unsigned threads);

/* ---- judging ----------------------------------------------------------- */

/* What the subject reads while nothing is wrong. */
static uint8_t before[DISK], now[DISK];

static uint64_t content(const char *name, uint8_t *bytes) {
  const char *path = at(name);
  lvhd_engine *engine = NULL;
  lvhd_disk *disk = NULL;
  uint64_t size = 0;
  size_t got = 0;
  if (!CHECK(lvhd_engine_new(&engine, NULL, NULL) == 0))
    return 0;
  memset(bytes, 0, DISK);
  if (CHECK(lvhd_disk_open(engine, &path, 1, NULL, &disk, NULL) == 0)) {
    size = lvhd_disk_size(disk);
    CHECK(lvhd_disk_read(disk, bytes, DISK, 0, &got, NULL) == 0);
  }
  lvhd_disk_close(disk);
  lvhd_engine_free(engine, false);
  return size;
}

static uint64_t size_before;

static bool reads_as_before(const struct verb *v) {
  if (content(v->subject, now) != size_before)
    return false;
  for (size_t i = 0; (v->flags & WRITES) != 0 && i < RANGES; i++)
    memcpy(now + ranges[i].offset, before + ranges[i].offset, ranges[i].n);
  return memcmp(now, before, DISK) == 0;
}

/* A resize that had come to its end, and found no memory to tell of it. */
static bool reads_as_after(const struct verb *v) {
  uint64_t size = content(v->subject, now);
  char line[80];
  snprintf(line, sizeof line, "reads %" PRIu64 " %" PRIx64 "\n", size,
           hash(0, now, DISK));
  return strstr(wanted, line) != NULL;
}

/* The note of a merge that had begun to write stays, as documented: it tells
 * that the target is under way, until the merge is run again. */
static void left_one(const char *name, const struct stat *st, void *arg) {
  const struct verb *v = arg;
  const char *end = strstr(name, ".lvhd-journal");
  (void)st;
  if (world_find(name) != NULL || ((v->flags & MERGES) != 0 && end != NULL))
    return;
  CHECK(world_find(name) != NULL);
  fprintf(stderr, "  %s: %s is left\n", v->name, name);
}

/* After a failure. */
static void judge_failure(const struct verb *v) {
  world_walk("", left_one, (void *)(uintptr_t)v);
  for (size_t i = 0; i < world.count; i++) {
    const struct world_file *file = &world.files[i];
    bool changes = v->subject != NULL &&
                   (strcmp(file->name, v->subject) == 0 ||
                    ((v->flags & MERGES) != 0 &&
                     strncmp(file->name, "chain/", 6) == 0) ||
                    strstr(file->name, ".lvhd-journal") != NULL);
    if (!changes && !CHECK(world_same(file)))
      fprintf(stderr, "  %s: %s was touched\n", v->name, file->name);
  }
  if (v->subject != NULL)
    CHECK(world_same(world_find(v->subject)) || reads_as_before(v) ||
          ((v->flags & RESIZES) != 0 && reads_as_after(v)));
}

/* ---- what is right ------------------------------------------------------ */

static int ask(const struct verb *v, lvhd_engine *engine,
               struct lvhd_error *err) {
  told[0] = '\0';
  return v->ask(engine, err);
}

/* With all that is in the folder afterwards. */
static bool is_as_wanted(const struct verb *v) {
  uint64_t size = v->subject != NULL ? content(v->subject, now) : 0;
  world_walk("", tell_new, NULL);
  if (v->subject != NULL)
    tell("reads %" PRIu64 " %" PRIx64 "\n", size, hash(0, now, DISK));
  return strcmp(told, loosely ? roughly : wanted) == 0;
}

/* What is right. */
static void learn(const struct verb *v, unsigned threads) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_engine *engine = NULL;
  world_reset();
  if (v->subject != NULL)
    size_before = content(v->subject, before);
  engine = engine_for(v, threads);
  if (!CHECK(ask(v, engine, &err) == 0)) {
    fprintf(stderr, "  %s: ", v->name);
    told[0] = '\0';
    tell_error(&err);
    fprintf(stderr, "%s\n", told);
  }
  lvhd_error_clear(&err);
  lvhd_engine_free(engine, false);
  (void)is_as_wanted(v);
}

static void prepare(const struct verb *v, unsigned threads) {
  loosely = true;
  learn(v, threads);
  memcpy(roughly, told, sizeof roughly);
  loosely = false;
  learn(v, threads);
  memcpy(wanted, told, sizeof wanted);
}

/* ---- the folder -------------------------------------------------------- */

static lvhd_engine *builder;

static void built(int code, struct lvhd_error *err) {
  if (code != 0) {
    tell_error(err);
    fprintf(stderr, "the folder cannot be made:%s\n", told);
    exit(1);
  }
}

static void built_right(bool right) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  built(right ? 0 : LVHD_E_FAIL, &err);
}

static void fill(const char *name, uint8_t with, unsigned many,
                 const unsigned *blocks) {
  static uint8_t bytes[8 * KiB];
  struct lvhd_open_options opts = {.write = true, .force = true,
                                   .sync = LVHD_SYNC_NONE};
  struct lvhd_error err = LVHD_ERROR_INIT;
  const char *path = at(name);
  lvhd_disk *disk = NULL;
  built(lvhd_disk_open(builder, &path, 1, &opts, &disk, &err), &err);
  memset(bytes, with, sizeof bytes);
  for (unsigned i = 0; i < many; i++)
    built(lvhd_disk_write(disk, bytes, sizeof bytes,
                          (uint64_t)blocks[i] * BLOCK, &err), &err);
  built(lvhd_disk_finish(disk, &err), &err);
  lvhd_disk_close(disk);
}

static void build_dynamic(const char *name, uint8_t uuid) {
  struct lvhd_create_options opts = given();
  struct lvhd_error err = LVHD_ERROR_INIT;
  memset(opts.uuid, uuid, sizeof opts.uuid);
  opts.has_block_size = true;
  opts.block_size = BLOCK;
  built(dynamic(builder, at(name), &opts, &err), &err);
}

static void build_child(const char *name, const char *parent, uint8_t uuid) {
  struct lvhd_create_options opts = given();
  struct lvhd_error err = LVHD_ERROR_INIT;
  memset(opts.uuid, uuid, sizeof opts.uuid);
  built(child(builder, at(name), at(parent), &opts, &err), &err);
}

static void copy_file(const char *from, const char *to) {
  static uint8_t buf[DISK + MiB];
  size_t n = world_read(from, buf, sizeof buf);
  struct world_file file = {.bytes = buf, .n = n};
  struct stat st;
  built_right(stat(at(from), &st) == 0);
  snprintf(file.name, sizeof file.name, "%s", to);
  file.mtime = st.st_mtim;
  world_write(&file);
}

/* Zeros over some bytes of a file. */
static void spoil(const char *name, off_t from_end, size_t n) {
  static const uint8_t zeros[KiB];
  struct stat st;
  int fd = open(at(name), O_WRONLY | O_CLOEXEC);
  built_right(fstat(fd, &st) == 0);
  built_right(pwrite(fd, zeros, n, st.st_size - from_end) == (ssize_t)n);
  close(fd);
}

/* Dies when the note is to go: nothing more is written, and it stays. */
static bool dead;

static int dying_unlinkat(const struct lv_sys *sys, int dir, const char *path,
                          int flags) {
  (void)sys, (void)dir, (void)path, (void)flags;
  dead = true;
  errno = EIO;
  return -1;
}

static ssize_t dying_pwritev(const struct lv_sys *sys, int fd,
                             const struct iovec *iov, int n, off_t offset) {
  (void)sys;
  errno = EIO;
  return dead ? -1 : lv_sys_real.pwritev(&lv_sys_real, fd, iov, n, offset);
}

static void build_full(void) {
  static uint8_t bytes[DISK];
  struct world_file file = {.name = "full.raw", .bytes = bytes, .n = DISK};
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(i % 251 + 1);
  world_write(&file);
}

static void build_noted(void) {
  struct lv_sys dying = lv_sys_real;
  struct lvhd_engine_options opts = {.system = &dying};
  struct lvhd_error err = LVHD_ERROR_INIT;
  dying.unlinkat = dying_unlinkat;
  dying.pwritev = dying_pwritev;
  copy_file("fixed.vhd", "noted.vhd");
  built(lvhd_engine_new(&builder, &opts, &err), &err);
  built_right(resize(builder, at("noted.vhd"), 4 * MiB, &err) != 0);
  lvhd_error_clear(&err);
  lvhd_engine_free(builder, false);
  built_right(access(at(".noted.vhd.lvhd-journal"), F_OK) == 0);
}

static void build(void) {
  static const struct timespec later[2] = {{TIME, 0}, {TIME, 0}};
  static const unsigned some[] = {0, 3, 6}, few[] = {1}, none[] = {3};
  struct lvhd_convert_options to_raw = {.to = LVHD_RAW};
  struct lvhd_create_options opts = given();
  struct lvhd_error err = LVHD_ERROR_INIT;
  built(lvhd_engine_new(&builder, NULL, &err), &err);
  built_right(mkdir(at("chain"), 0777) == 0 &&
              mkdir(at("moved"), 0777) == 0 &&
              mkdir(at("late"), 0777) == 0 &&
              mkdir(at("cased"), 0777) == 0);
  build_dynamic("base.vhd", 0x42);
  fill("base.vhd", 0xB0, 2, some);
  build_dynamic("holes.vhd", 0x43);
  fill("holes.vhd", 0xC0, 2, some);
  fill("holes.vhd", 0, 1, none);
  fill("holes.vhd", 0xC1, 1, few);
  memset(opts.uuid, 0x4A, sizeof opts.uuid);
  built(fixed(builder, at("fixed.vhd"), &opts, &err), &err);
  fill("fixed.vhd", 0xF0, 1, few);
  built(convert(builder, at("fixed.vhd"), at("plain.raw"), to_raw, &err),
        &err);
  build_dynamic("chain/root.vhd", 0x44);
  fill("chain/root.vhd", 0xD0, 2, some);
  build_child("chain/mid.vhd", "chain/root.vhd", 0x45);
  fill("chain/mid.vhd", 0xD1, 1, few);
  build_child("chain/leaf.vhd", "chain/mid.vhd", 0x46);
  fill("chain/leaf.vhd", 0xD2, 1, some);
  build_child("chain/kid.vhd", "chain/leaf.vhd", 0x47);
  fill("chain/kid.vhd", 0xD2, 1, some); /* as its parent: to be compacted */
  fill("chain/kid.vhd", 0xD3, 1, none);
  build_child("lone.vhd", "base.vhd", 0x48);
  copy_file("base.vhd", "moved/base.vhd");
  copy_file("base.vhd", "damaged.vhd");
  spoil("damaged.vhd", 512, 512);
  copy_file("base.vhd", "ruined.vhd");
  spoil("ruined.vhd", 512, 100);
  spoil("ruined.vhd", (off_t)world_read("ruined.vhd", now, DISK) - 528, 8);
  build_child("broken.vhd", "base.vhd", 0x49);
  copy_file("broken.vhd", "moved/broken.vhd"); /* its parent is not there */
  build_dynamic("young.vhd", 0x4B);
  build_child("stale.vhd", "young.vhd", 0x4C);
  built_right(utimensat(AT_FDCWD, at("young.vhd"), later, 0) == 0);
  build_dynamic("late/root.vhd", 0x51);
  build_child("late/mid.vhd", "late/root.vhd", 0x52);
  fill("late/mid.vhd", 0xE0, 1, few);
  build_child("late/leaf.vhd", "late/mid.vhd", 0x53);
  built_right(utimensat(AT_FDCWD, at("late/root.vhd"), later, 0) == 0);
  built_right(utimensat(AT_FDCWD, at("late/mid.vhd"), later, 0) == 0);
  build_dynamic("cased/Dad.vhd", 0x4D);
  build_child("cased/kid.vhd", "cased/Dad.vhd", 0x4E);
  built_right(rename(at("cased/Dad.vhd"), at("cased/DAD.vhd")) == 0);
  lvhd_engine_free(builder, false);
  copy_file("lone.vhd", "cased/Twin.vhd");
  copy_file("lone.vhd", "cased/TWIN.vhd");
  build_noted();
  build_full();
  told[0] = '\0';
}

#endif
