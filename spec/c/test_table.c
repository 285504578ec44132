/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/image/probe, table and space on files in memory: where
 * each rule begins, what it tells, and what it says when a read fails.  Whole
 * files are judged by check_spec.lua.
 */
#include <errno.h>
#include <stdlib.h>

#include "../fuzz/forge.h"
#include "base/bytes.h"
#include "check.h"
#include "image/probe.h"
#include "image/space.h"

#define LEAF "/d/leaf.vhd"
#define PITCH 5u /* sectors of a block of 2048 bytes with its bitmap */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { INVALID = LVHD_VM_E_INVALID_HD_FILE };

/* A file in memory, of which one read may fail. */
struct world {
  struct mem mem; /* first: its table of calls is the world's */
  struct lv_env env;
  struct lv_image image;
  struct lv_findings list;
  uint8_t *bytes;
  ssize_t (*pread)(const struct lv_sys *, int, void *, size_t, off_t);
  int64_t fails_at; /* a read that begins there; -1: none does */
};

static ssize_t failing(const struct lv_sys *sys, int fd, void *buf, size_t n,
                       off_t at) {
  struct world *w = (struct world *)(uintptr_t)sys;
  if (at == w->fails_at) {
    errno = EIO;
    return -1;
  }
  return w->pread(sys, fd, buf, n, at);
}

/* The bytes are taken. */
static void begin(struct world *w, uint8_t *bytes, size_t n) {
  memset(w, 0, sizeof *w);
  mem_init(&w->mem);
  w->mem.files[0] = (struct mem_file){.length = n, .count = 1};
  w->mem.files[0].segments[0] = (struct mem_segment){.n = n, .bytes = bytes};
  w->mem.count = 1;
  w->bytes = bytes;
  w->pread = w->mem.sys.pread;
  w->mem.sys.pread = failing;
  w->fails_at = -1;
  lv_env_init(&w->env, &w->mem.sys);
  w->image = (struct lv_image)LV_IMAGE_INIT;
}

static void end(struct world *w) {
  lv_findings_free(&w->list);
  lv_image_close(&w->image, &w->env);
  CHECK_INT(mem_open(&w->mem), 0);
  free(w->bytes);
}

/* ---- footer and header --------------------------------------------------- */

struct probed {
  struct lv_probe probe;
  enum lvhd_footer where;
  struct lvhd_error err;
  int code;
};

static struct probed probe(struct world *w, bool any) {
  struct probed p = {.err = LVHD_ERROR_INIT};
  struct lv_file file = LV_FILE_INIT;
  CHECK_INT(lv_file_open(&file, &w->env, LEAF, NULL), 0);
  p.code = any ? lv_probe_any(&p.probe, &p.where, &file, &w->env, &p.err)
               : lv_probe(&p.probe, &file, &w->env, &p.err);
  CHECK_INT(any ? lv_probe_any(&p.probe, &p.where, &file, &w->env, NULL)
                : lv_probe(&p.probe, &file, &w->env, NULL),
            p.code);
  lv_file_close(&file, &w->env);
  return p;
}

static void refused(struct world *w, bool any, int code, int reason,
                    int errnum) {
  struct probed p = probe(w, any);
  CHECK_INT(p.code, code);
  CHECK_INT(p.err.code, code);
  CHECK_INT(p.err.reason, reason);
  CHECK_INT(p.err.errnum, errnum);
  lvhd_error_clear(&p.err);
}

static void sign(uint8_t *structure, size_t n, size_t at) {
  lv_put_be32(structure + at, lv_checksum(structure, n, at));
}

/* 1 KiB: the header at 0, its reserved end the footer, a BAT up to the end. */
static uint8_t *tight(void) {
  struct lv_footer footer;
  uint8_t *bytes = calloc(1, 1024);
  struct lv_header header = {
    .table_offset = 512, .entries = 128, .block_size = 2048};
  if (bytes == NULL)
    abort();
  lv_header_encode(&header, bytes);
  lv_footer_init(&footer, LVHD_DYNAMIC, 4096);
  footer.data_offset = 0;
  lv_footer_encode(&footer, bytes + 512);
  sign(bytes, 1024, 36);
  return bytes;
}

static void test_probe_limits(void) {
  struct world w;
  struct probed p;
  uint8_t *bytes = NULL;
  begin(&w, tight(), 1024);
  p = probe(&w, false);
  CHECK_INT(p.code, 0);
  CHECK_INT(p.probe.header.entries, 128);
  lv_put_be32(w.bytes + 28, 129);
  sign(w.bytes, 1024, 36);
  refused(&w, false, INVALID, LV_R_BAT_OUTSIDE, 0);
  lv_put_be32(w.bytes + 28, 1);
  sign(w.bytes, 1024, 36);
  refused(&w, false, INVALID, LV_R_BAT_TOO_SMALL, 0);
  lv_put_be64(w.bytes + 512 + 16, 1);
  sign(w.bytes + 512, 512, 64);
  refused(&w, false, INVALID, LV_R_HEADER_MISSING, 0);
  end(&w);
  /* A footer and nothing else; one byte less is none. */
  for (size_t n = 510; n <= 512; n++) {
    bytes = tight();
    memmove(bytes, bytes + 512, 512);
    begin(&w, bytes, n);
    refused(&w, false, INVALID,
            n == 510 ? LV_R_FOOTER_MISSING : LV_R_HEADER_MISSING, 0);
    end(&w);
  }
  /* What is no footer is not asked for a header. */
  bytes = calloc(1, 4096);
  begin(&w, bytes, 4096);
  refused(&w, false, INVALID, LV_R_FOOTER_MISSING, 0);
  refused(&w, true, INVALID, LV_R_FOOTER_MISSING, 0);
  end(&w);
}

/* What is told of the field that is wrong, and where it stands. */
static void test_probe_tells(void) {
  struct world w;
  struct probed p;
  size_t n = 0;
  uint8_t *bytes = forge(&(struct forge){.type = 3, .size = 8192, .id = 1}, &n);
  begin(&w, bytes, n);
  bytes[n - 512 + 13] = 2;
  sign(bytes + n - 512, 512, 64);
  p = probe(&w, true);
  CHECK_INT(p.err.reason, LV_R_FORMAT_VERSION);
  CHECK_INT(p.err.has, LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL | LVHD_HAS_OFFSET);
  CHECK_INT(p.err.expected, 0x10000);
  CHECK_INT(p.err.actual, 0x20000);
  CHECK_INT(p.err.offset, n - 512 + 12);
  lvhd_error_clear(&p.err);
  /* A broken end has a copy; one that says fixed is data of the guest. */
  bytes[n - 512 + 13] = 1;
  p = probe(&w, true);
  CHECK_INT(p.code, 0);
  CHECK_INT(p.where, LVHD_FOOTER_COPY);
  refused(&w, false, INVALID, LV_R_FOOTER_CHECKSUM, 0);
  bytes[63] = LVHD_FIXED;
  sign(bytes, 512, 64);
  refused(&w, true, INVALID, LV_R_FOOTER_CHECKSUM, 0);
  end(&w);
}

/* A read that fails is told as what it is, wherever it was. */
static void test_probe_reads(void) {
  struct world w;
  size_t n = 0;
  uint8_t *bytes = forge(&(struct forge){.type = 3, .size = 8192, .id = 1}, &n);
  begin(&w, bytes, n);
  w.fails_at = (int64_t)n - 512;
  refused(&w, false, LVHD_DISP_E_EXCEPTION, 0, EIO);
  refused(&w, true, LVHD_DISP_E_EXCEPTION, 0, EIO);
  w.fails_at = 512;
  refused(&w, false, LVHD_DISP_E_EXCEPTION, 0, EIO);
  refused(&w, true, LVHD_DISP_E_EXCEPTION, 0, EIO);
  w.fails_at = 0;
  CHECK_INT(probe(&w, true).code, 0); /* not needed */
  bytes[n - 512] = 'x';
  refused(&w, true, LVHD_DISP_E_EXCEPTION, 0, EIO);
  end(&w);
}

/* ---- the table ----------------------------------------------------------- */

enum { LENGTH = 1 << 20, DATA_END = LENGTH - 512, TABLE = 1536 };

/* A dynamic disk of 128 blocks, as large as it is long; all else is free. */
static void begin_table(struct world *w) {
  size_t n = 0;
  uint8_t *small = forge(&(struct forge){.type = 3, .size = 8192}, &n);
  uint8_t *bytes = calloc(1, LENGTH);
  if (bytes == NULL)
    abort();
  memcpy(bytes, small, n - 512);
  memcpy(bytes + DATA_END, small, 512);
  free(small);
  begin(w, bytes, LENGTH);
  CHECK_INT(lv_image_open(&w->image, &w->env, LEAF, NULL), 0);
  CHECK_INT(w->image.header.table_offset, TABLE);
  w->image.footer.current_size = 128 * 2048;
  w->image.header.entries = 128;
  w->image.blocks = 128;
}

static void put(struct world *w, size_t i, uint32_t sector) {
  lv_put_be32(w->bytes + TABLE + 4 * i, sector);
}

/* The entries of the table, from the first on; the rest name nothing. */
static void put_all(struct world *w, const uint32_t *sectors, size_t n) {
  memset(w->bytes + TABLE, 0xFF, 512);
  for (size_t i = 0; i < n; i++)
    put(w, i, sectors[i]);
}

static struct lv_table scan(struct world *w) {
  struct lv_table table;
  lv_findings_free(&w->list);
  CHECK_INT(lv_table_scan(&table, &w->image, &w->env, &w->list, NULL, NULL,
                          NULL), 0);
  return table;
}

static bool tells(const struct world *w, size_t i, int reason, size_t index,
                  uint64_t expected) {
  const struct lvhd_finding *f = &w->list.items[i];
  return CHECK(i < w->list.count) && CHECK(f->reason == reason) &&
         CHECK(f->offset == TABLE + 4 * index) &&
         CHECK(f->expected == expected) &&
         CHECK(f->severity == (reason == LV_R_BLOCK_IN_LOCATOR
                                 ? LVHD_WARNING : LVHD_ERROR));
}

/* One block, at that sector: the finding that it gives, and none other. */
static void one(struct world *w, uint32_t sector, int reason,
                uint64_t expected) {
  unsigned failed = check_failed;
  put_all(w, &sector, 1);
  CHECK_INT(scan(w).used, 1);
  CHECK_INT(w->list.count, reason != 0);
  if (reason != 0)
    tells(w, 0, reason, 0, expected);
  if (check_failed != failed)
    fprintf(stderr, "  a block at sector %u\n", sector);
}

static void test_places(void) {
  struct world w;
  const uint32_t last = DATA_END / 512 - PITCH;
  begin_table(&w);
  one(&w, 0, LV_R_BLOCK_ON_METADATA, 512);
  one(&w, 1, LV_R_BLOCK_ON_METADATA, TABLE);
  one(&w, 2, LV_R_BLOCK_ON_METADATA, TABLE);
  one(&w, 3, LV_R_BLOCK_ON_METADATA, TABLE + 512);
  one(&w, 4, 0, 0);
  one(&w, last, 0, 0);
  one(&w, last + 1, LV_R_BLOCK_OUTSIDE, (uint64_t)last * 512);
  one(&w, UINT32_MAX - 1, LV_R_BLOCK_OUTSIDE, (uint64_t)last * 512);
  /* A header elsewhere: up to it, on it, behind it. */
  w.image.footer.data_offset = 8192;
  one(&w, 16 - PITCH, 0, 0);
  one(&w, 16 - PITCH + 1, LV_R_BLOCK_ON_METADATA, 8192 + 1024);
  one(&w, 17, LV_R_BLOCK_ON_METADATA, 8192 + 1024);
  one(&w, 18, 0, 0);
  /* A file as long as one block, and one that is shorter. */
  w.image.data_end = PITCH * 512;
  one(&w, 0, LV_R_BLOCK_ON_METADATA, 512);
  one(&w, 1, LV_R_BLOCK_OUTSIDE, 0);
  w.image.data_end = PITCH * 512 - 1;
  one(&w, 0, LV_R_BLOCK_OUTSIDE, 0);
  one(&w, 4, LV_R_BLOCK_OUTSIDE, 0);
  end(&w);
}

static void test_locators(void) {
  struct world w;
  struct lv_locator_entry *e = NULL;
  begin_table(&w);
  w.image.footer.type = LVHD_DIFFERENCING; /* whose locators are texts */
  e = &w.image.header.locators[LV_LOCATORS - 1];
  memcpy(e->code, "W2ru", 4);
  *e = (struct lv_locator_entry){
    .code = {'W'}, .space = 1024, .length = 500, .offset = 10240};
  one(&w, 20 - PITCH, 0, 0);
  one(&w, 20 - PITCH + 1, LV_R_BLOCK_ON_METADATA, 10240 + 500);
  one(&w, 20, LV_R_BLOCK_ON_METADATA, 10240 + 500);
  one(&w, 21, LV_R_BLOCK_IN_LOCATOR, 10240 + 1024);
  one(&w, 22, 0, 0);
  e->length = 0; /* a space without text is still its own */
  one(&w, 20, LV_R_BLOCK_IN_LOCATOR, 10240 + 1024);
  one(&w, 19, LV_R_BLOCK_IN_LOCATOR, 10240 + 1024);
  e->code[0] = 0;
  one(&w, 20, 0, 0);
  e->length = 500;
  one(&w, 20, 0, 0);
  /* A text that goes on behind the end of the file is none. */
  e->code[0] = 'W';
  e->space = 2;
  e->length = LENGTH - 10240;
  one(&w, 30, LV_R_BLOCK_ON_METADATA, LENGTH);
  e->length++;
  one(&w, 30, 0, 0);
  one(&w, 21, LV_R_BLOCK_IN_LOCATOR, 10240 + 1024);
  /* Nor one that begins there; but it may call what is before it its own. */
  e->offset = UINT64_MAX - 511;
  e->length = 10240 + 512;
  e->space = UINT32_MAX;
  one(&w, 4, 0, 0);
  e->offset = LENGTH;
  e->length = 0;
  one(&w, DATA_END / 512 - PITCH, 0, 0);
  end(&w);
  /* Behind the eighth there is none, be all in use. */
  begin_table(&w);
  w.image.footer.type = LVHD_DIFFERENCING;
  w.image.where = LVHD_FOOTER_COPY;
  one(&w, 100, 0, 0);
  for (unsigned i = 0; i < LV_LOCATORS; i++)
    w.image.header.locators[i] = (struct lv_locator_entry){
      .code = {'W'}, .space = 512, .length = 9, .offset = 10240 + 512 * i};
  one(&w, 100, 0, 0);
  one(&w, 27, LV_R_BLOCK_ON_METADATA, 27 * 512 + 9);
  end(&w);
}

static void test_alignment(void) {
  static const struct {
    uint32_t sectors[2];
    uint32_t alignment;
  } rows[] = {{{7, 15}, 4096}, {{7, 13}, 1024}, {{7, 12}, 512},
              {{7, 19}, 2048}, {{7, UINT32_MAX}, 4096}};
  struct world w;
  begin_table(&w);
  for (size_t i = 0; i < COUNT(rows); i++) {
    put_all(&w, rows[i].sectors, 2);
    CHECK_INT(scan(&w).alignment, rows[i].alignment);
  }
  put_all(&w, NULL, 0);
  CHECK_INT(scan(&w).alignment, 0);
  CHECK_INT(scan(&w).used, 0);
  end(&w);
}

/* ---- overlaps ------------------------------------------------------------ */

static void test_overlaps(void) {
  struct world w;
  begin_table(&w);
#define BLOCKS(...)                                                          \
  put_all(&w, (const uint32_t[]){__VA_ARGS__},                               \
          sizeof((const uint32_t[]){__VA_ARGS__}) / 4);                      \
  scan(&w)
  BLOCKS(10, 15, 20);
  CHECK_INT(w.list.count, 0);
  BLOCKS(20, 10, 15);
  CHECK_INT(w.list.count, 0);
  BLOCKS(10, 14);
  CHECK_INT(w.list.count, 1);
  tells(&w, 0, LV_R_BLOCK_OVERLAP, 1, 15 * 512);
  BLOCKS(14, 30, 10);
  CHECK_INT(w.list.count, 1);
  tells(&w, 0, LV_R_BLOCK_OVERLAP, 0, 15 * 512);
  /* The first that has a place keeps it. */
  BLOCKS(10, 10, 40, 10);
  CHECK_INT(w.list.count, 2);
  tells(&w, 0, LV_R_BLOCK_OVERLAP, 1, 15 * 512);
  tells(&w, 1, LV_R_BLOCK_OVERLAP, 3, 15 * 512);
  /* Unless another ends in it. */
  BLOCKS(12, 10, 12, 50);
  CHECK_INT(w.list.count, 2);
  tells(&w, 0, LV_R_BLOCK_OVERLAP, 0, 15 * 512);
  tells(&w, 1, LV_R_BLOCK_OVERLAP, 2, 17 * 512);
  BLOCKS(10, 12, 14, 60, 30, 33, 70, 70);
  CHECK_INT(w.list.count, 4);
  tells(&w, 0, LV_R_BLOCK_OVERLAP, 1, 15 * 512);
  tells(&w, 1, LV_R_BLOCK_OVERLAP, 2, 17 * 512);
  tells(&w, 2, LV_R_BLOCK_OVERLAP, 5, 35 * 512);
  tells(&w, 3, LV_R_BLOCK_OVERLAP, 7, 75 * 512);
  /* What lies outside is no neighbour, and takes nobody's room. */
  BLOCKS(UINT32_MAX - 1, UINT32_MAX - 1, UINT32_MAX - 2, 10, 12);
  CHECK_INT(w.list.count, 4);
  tells(&w, 3, LV_R_BLOCK_OVERLAP, 4, 15 * 512);
#undef BLOCKS
  /* However many are at one place, the others are told. */
  put_all(&w, (const uint32_t[]){50, 52}, 2);
  for (uint32_t i = 2; i < 128; i++)
    put(&w, i, 10);
  scan(&w);
  CHECK_INT(w.list.count, LV_FINDINGS_EACH);
  tells(&w, 0, LV_R_BLOCK_OVERLAP, 1, 55 * 512);
  tells(&w, 1, LV_R_BLOCK_OVERLAP, 3, 15 * 512);
  end(&w);
}

/* More than are told. */
static void test_many_overlaps(void) {
  struct world w;
  begin_table(&w);
  for (uint32_t i = 0; i < 128; i++)
    put(&w, i, 10 + i);
  CHECK_INT(scan(&w).used, 128);
  CHECK_INT(w.list.count, LV_FINDINGS_EACH);
  tells(&w, 0, LV_R_BLOCK_OVERLAP, 1, 15 * 512);
  tells(&w, 99, LV_R_BLOCK_OVERLAP, 100, (109 + 5) * 512);
  end(&w);
}

/* ---- the walk ------------------------------------------------------------ */

struct walk {
  struct world *w;
  unsigned calls, stops, stop_at, fail_at;
  uint64_t last;
};

static int each(void *arg, uint64_t index, uint32_t entry,
                struct lvhd_error *err) {
  struct walk *walk = arg;
  (void)entry, (void)err;
  walk->last = index;
  return ++walk->calls == walk->fail_at ? 77 : 0;
}

/* More blocks appear between two looks at the table. */
static bool grow(void *arg) {
  struct walk *walk = arg;
  if (++walk->stops == 2)
    for (uint32_t i = 0; i < 128; i++)
      put(walk->w, i, 400 + 10 * i);
  return false;
}

static bool stop(void *arg) {
  struct walk *walk = arg;
  return ++walk->stops == walk->stop_at;
}

static void test_walk(void) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lv_table table;
  struct world w;
  struct walk walk = {.w = &w};
  const uint64_t many = 40000; /* three pieces */
  begin_table(&w);
  memset(w.bytes + TABLE, 0, 4 * many);
  CHECK_INT(lv_table_walk(&w.image, &w.env, 0, many, each, &walk, NULL, NULL,
                          &err), 0);
  CHECK_INT(walk.calls, many);
  CHECK_INT(walk.last, many - 1);
  /* What a callback says ends it, and stays. */
  walk = (struct walk){.fail_at = 3};
  CHECK_INT(lv_table_walk(&w.image, &w.env, 5, many, each, &walk, stop, &walk,
                          &err), 77);
  CHECK_INT(walk.calls, 3);
  CHECK_INT(walk.last, 7);
  CHECK_INT(walk.stops, 1);
  walk = (struct walk){.stop_at = 2};
  CHECK_INT(lv_table_walk(&w.image, &w.env, 0, many, each, &walk, stop, &walk,
                          &err), LVHD_E_ABORT);
  CHECK_INT(walk.calls, 16384);
  /* And so does a read that fails, in whatever piece. */
  for (unsigned piece = 0; piece < 3; piece++) {
    walk = (struct walk){0};
    w.fails_at = TABLE + 65536 * (int64_t)piece;
    CHECK_INT(lv_table_walk(&w.image, &w.env, 0, many, each, &walk, NULL,
                            NULL, &err), LVHD_DISP_E_EXCEPTION);
    CHECK_INT(walk.calls, 16384 * piece);
  }
  w.fails_at = -1;
  lvhd_error_clear(&err);
  /* A table that grows meanwhile goes into the room that there is. */
  put_all(&w, (const uint32_t[]){10, 12}, 2);
  walk = (struct walk){.w = &w};
  CHECK_INT(lv_table_scan(&table, &w.image, &w.env, &w.list, grow, &walk,
                          &err), 0);
  CHECK_INT(table.used, 2);
  end(&w);
}

/* ---- the whole table ------------------------------------------------------ */

static int sound(struct world *w, struct lvhd_error *err) {
  struct lv_table table;
  return lv_table_sound(&table, &w->image, &w->env, err);
}

/* The first thing that is wrong; what is only odd is none. */
static void test_sound(void) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct world w;
  begin_table(&w);
  w.image.header.locators[0] = (struct lv_locator_entry){
    .code = {'W'}, .space = 1024, .length = 9, .offset = 10240};
  put_all(&w, (const uint32_t[]){21, 10}, 2);
  CHECK_INT(sound(&w, &err), 0);
  put_all(&w, (const uint32_t[]){21, 10, 0, 12}, 4);
  CHECK_INT(sound(&w, NULL), INVALID);
  CHECK_INT(sound(&w, &err), INVALID);
  CHECK_INT(err.reason, LV_R_BLOCK_ON_METADATA);
  CHECK_INT(err.has,
            LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL | LVHD_HAS_OFFSET);
  CHECK_INT(err.expected, 512);
  CHECK_INT(err.actual, 0);
  CHECK_INT(err.offset, TABLE + 8);
  CHECK_STR(err.path, LEAF);
  lvhd_error_clear(&err);
  w.fails_at = TABLE;
  CHECK_INT(sound(&w, &err), LVHD_DISP_E_EXCEPTION);
  CHECK_INT(err.errnum, EIO);
  CHECK_STR(err.path, LEAF);
  lvhd_error_clear(&err);
  end(&w);
}

/* More blocks than any disk has: the first are looked at, which is told. */
static void test_too_many(void) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct world w;
  begin_table(&w);
  put_all(&w, (const uint32_t[]){UINT32_MAX - 1}, 1);
  w.mem.files[0].length = UINT64_C(64) << 20;
  w.mem.files[0].hole = 0xFF;
  memset(w.bytes + TABLE + 512, 0xFF, LENGTH - TABLE - 512);
  w.image.blocks = LV_TABLE_MOST;
  CHECK_INT(scan(&w).used, 1);
  CHECK_INT(w.list.count, 1);
  w.image.blocks++;
  CHECK_INT(scan(&w).used, 1);
  CHECK_INT(w.list.count, 2);
  CHECK_INT(w.list.items[0].reason, LV_R_BAT_NOT_SCANNED);
  CHECK_INT(w.list.items[0].severity, LVHD_NOTE);
  CHECK_INT(w.list.items[0].expected, LV_TABLE_MOST);
  CHECK_INT(w.list.items[0].actual, LV_TABLE_MOST + 1);
  CHECK_INT(w.list.items[0].offset, TABLE);
  memset(w.bytes + TABLE, 0xFF, 4);
  CHECK_INT(sound(&w, &err), INVALID);
  CHECK_INT(err.reason, LV_R_BAT_NOT_SCANNED);
  lvhd_error_clear(&err);
  end(&w);
}

static void ends(struct world *w, uint64_t want) {
  uint64_t got = 0;
  CHECK_INT(lv_table_end(&got, &w->image, &w->env, NULL), 0);
  CHECK_INT(got, want);
}

/* Where the head ends, as far as the file reaches. */
static void test_head_end(void) {
  struct world w;
  struct lv_locator_entry *e = NULL;
  uint64_t *head = NULL;
  begin_table(&w);
  put_all(&w, NULL, 0);
  ends(&w, 2048);
  head = &w.image.footer.data_offset;
  *head = 8192;
  ends(&w, 8192 + 1024);
  *head = DATA_END - 1024;
  ends(&w, DATA_END);
  *head = DATA_END - 1023;
  ends(&w, 2048);
  *head = DATA_END;
  ends(&w, 2048);
  *head = UINT64_MAX - 511;
  ends(&w, 2048);
  *head = 512;
  w.image.header.entries = 130;
  memset(w.bytes + TABLE + 512, 0xFF, 512);
  ends(&w, 2560);
  w.image.header.table_offset = DATA_END - 520;
  memset(w.bytes + DATA_END - 520, 0xFF, 520);
  ends(&w, DATA_END);
  w.image.header.table_offset = TABLE;
  e = &w.image.header.locators[LV_LOCATORS - 1];
  *e = (struct lv_locator_entry){
    .code = {'W'}, .space = 1024, .length = 500, .offset = 10240};
  ends(&w, 10240 + 1024);
  e->space = 3;
  ends(&w, 10240 + 1536);
  e->space = 4096;
  e->offset = DATA_END - 500;
  ends(&w, DATA_END);
  e->length++;
  ends(&w, 2560);
  e->offset = DATA_END;
  e->length = 0;
  ends(&w, DATA_END);
  e->code[0] = 0;
  e->offset = 10240;
  e->length = 500;
  ends(&w, 2560);
  /* A fixed disk ends where it is full. */
  w.image.footer.type = LVHD_FIXED;
  ends(&w, 128 * 2048);
  end(&w);
}

/* A block of the spare entries counts as well. */
static void test_blocks_end(void) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct world w;
  uint64_t got = 0;
  begin_table(&w);
  put_all(&w, (const uint32_t[]){20, 300, 10}, 3);
  ends(&w, (300 + PITCH) * 512);
  w.image.header.entries = 130;
  memset(w.bytes + TABLE + 512, 0xFF, 512);
  put(&w, 129, 301);
  ends(&w, (301 + PITCH) * 512);
  w.image.header.locators[0] = (struct lv_locator_entry){
    .code = {'W'}, .space = 512, .length = 9, .offset = 400 * 512};
  ends(&w, 401 * 512);
  w.fails_at = TABLE;
  CHECK_INT(lv_table_end(&got, &w.image, &w.env, &err),
            LVHD_DISP_E_EXCEPTION);
  lvhd_error_clear(&err);
  end(&w);
}

static void test_batmap_end(void) {
  struct world w;
  uint64_t got = 0;
  begin_table(&w);
  put_all(&w, NULL, 0);
  memcpy(w.bytes + 2048, "tdbatmap", 8);
  lv_put_be64(w.bytes + 2048 + 8, 4096);
  lv_put_be32(w.bytes + 2048 + 16, 3);
  ends(&w, 2048); /* of another creator */
  memcpy(w.image.footer.creator, "tap", 4);
  w.image.footer.creator_version = 0x10003;
  ends(&w, 4096 + 3 * 512);
  lv_put_be64(w.bytes + 2048 + 8, 512);
  ends(&w, 2560);
  lv_put_be64(w.bytes + 2048 + 8, DATA_END);
  ends(&w, 2560);
  lv_put_be64(w.bytes + 2048 + 8, 4096);
  w.fails_at = 2048;
  CHECK_INT(lv_table_end(&got, &w.image, &w.env, NULL),
            LVHD_DISP_E_EXCEPTION);
  w.fails_at = -1;
  /* Only one that is inside the file. */
  w.image.data_end = 2560;
  ends(&w, 2560);
  w.image.data_end = 2559;
  ends(&w, 2048);
  w.image.data_end = 2100;
  lv_put_be64(w.bytes + 2048 + 8, 2060);
  lv_put_be32(w.bytes + 2048 + 16, 0);
  ends(&w, 2048);
  w.image.data_end = 1024;
  lv_put_be64(w.bytes + 2048 + 8, 512);
  lv_put_be32(w.bytes + 2048 + 16, 1);
  ends(&w, 512);
  w.image.data_end = DATA_END;
  w.bytes[2048] = 'T';
  ends(&w, 2048);
  /* Without one nothing is read for it. */
  memcpy(w.bytes, "tdbatmap", 8);
  lv_put_be64(w.bytes + 8, 4096);
  lv_put_be32(w.bytes + 16, 3);
  w.image.footer.creator_version = 0x10001;
  ends(&w, 2048);
  end(&w);
}

/* ---- what lies where ------------------------------------------------------ */

static struct lv_space space(struct world *w, const uint8_t *but, int code,
                             struct lvhd_error *err) {
  struct lv_space s;
  CHECK_INT(lv_space_new(&s, &w->image, &w->env, but, NULL, NULL, err), code);
  return s;
}

/* The span that one locator takes of the head; an empty one: it takes none. */
static struct lv_span locator_span(struct world *w, uint32_t size,
                                   uint32_t length, uint64_t offset) {
  struct lv_span span = {0, 0};
  struct lv_space s;
  w->image.header.locators[3] = (struct lv_locator_entry){
    .code = {'W'}, .space = size, .length = length, .offset = offset};
  s = space(w, NULL, 0, NULL);
  if (s.taken_count == 4) {
    span = s.taken[3];
    CHECK_INT(s.head_end, span.to);
    CHECK_INT(s.end, span.to);
    CHECK_INT(s.lowest, span.to);
  } else {
    CHECK_INT(s.taken_count, 3);
    CHECK_INT(s.head_end, 2048);
  }
  lv_space_free(&s);
  return span;
}

static void test_space_head(void) {
  struct world w;
  struct lv_space s;
  struct lv_span span;
  begin_table(&w);
  put_all(&w, NULL, 0);
  s = space(&w, NULL, 0, NULL);
  CHECK_INT(s.pitch, PITCH * 512);
  CHECK_INT(s.align, 512);
  CHECK_INT(s.taken_count, 3);
  CHECK_INT(s.lowest, 2048);
  CHECK_INT(s.end, 2048);
  CHECK_INT(s.count, 0);
  lv_space_free(&s);
#define SPAN(size, length, offset, begins, ends)                             \
  span = locator_span(&w, size, length, offset);                             \
  CHECK_INT(span.from, begins);                                              \
  CHECK_INT(span.to, ends)
  SPAN(1024, 500, 10240, 10240, 11264);
  SPAN(2, 500, 10240, 10240, 11264);
  SPAN(511, 500, 10240, 10240, 10240 + 511 * 512);
  SPAN(512, 500, 10240, 10240, 10752);
  SPAN(512, 513, 10240, 10240, 11264);
  SPAN(0, 500, 10240, 10240, 10752);
  SPAN(512, 1, 10300, 10240, 11264);
  SPAN(4096, 1, DATA_END - 512, DATA_END - 512, DATA_END);
  SPAN(4096, 1, DATA_END, 0, 0);
  SPAN(4096, 1, DATA_END + 512, 0, 0);
#undef SPAN
  w.image.where = LVHD_FOOTER_COPY; /* what lies behind the eighth */
  memset(w.image.header.locators[3].code, 0, 4);
  w.image.header.locators[3].offset = 10240;
  s = space(&w, NULL, 0, NULL);
  CHECK_INT(s.taken_count, 3);
  lv_space_free(&s);
  end(&w);
}

static void test_space_blocks(void) {
  static const uint32_t few[] = {20, 10, 300};
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct world w;
  struct lv_space s;
  const uint8_t second = 0x40;
  begin_table(&w);
  put_all(&w, few, 3);
  s = space(&w, NULL, 0, NULL);
  CHECK_INT(s.count, 3);
  CHECK_INT(s.blocks[0], 10);
  CHECK_INT(s.blocks[1], 20);
  CHECK_INT(s.blocks[2], 300);
  CHECK_INT(s.lowest, 2048); /* the end of the head is before all */
  CHECK_INT(s.end, (300 + PITCH) * 512);
  lv_space_free(&s);
  /* What goes elsewhere leaves its room, but was the first. */
  {
    uint8_t but[16] = {second};
    s = space(&w, but, 0, NULL);
    CHECK_INT(s.count, 2);
    CHECK_INT(s.blocks[0], 20);
    lv_space_free(&s);
  }
  /* Metadata behind the blocks. */
  w.image.header.locators[0] = (struct lv_locator_entry){
    .code = {'W'}, .space = 512, .length = 9, .offset = 200 * 1024};
  s = space(&w, NULL, 0, NULL);
  CHECK_INT(s.end, 200 * 1024 + 512);
  CHECK_INT(s.lowest, 10 * 512);
  lv_space_free(&s);
  {
    uint8_t but[16] = {second};
    s = space(&w, but, 0, NULL);
    CHECK_INT(s.lowest, 10 * 512);
    lv_space_free(&s);
  }
  /* A block may be in the space of a locator, behind its text. */
  w.image.header.locators[0].offset = 21 * 512 - 512;
  w.image.header.locators[0].space = 1024;
  put_all(&w, (const uint32_t[]){21}, 1);
  s = space(&w, NULL, 0, NULL);
  CHECK_INT(s.count, 1);
  lv_space_free(&s);
  memset(w.image.header.locators[0].code, 0, 4);
  /* What all blocks have, the next has, too. */
  put_all(&w, (const uint32_t[]){7, 15, 31}, 3);
  s = space(&w, NULL, 0, NULL);
  CHECK_INT(s.align, 4096);
  lv_space_free(&s);
  put_all(&w, (const uint32_t[]){7, 13}, 2);
  s = space(&w, NULL, 0, NULL);
  CHECK_INT(s.align, 1024);
  lv_space_free(&s);
  for (uint32_t i = 0; i < 128; i++)
    put(&w, i, 10 + PITCH * (127 - i));
  s = space(&w, NULL, 0, NULL);
  CHECK_INT(s.count, 128);
  for (uint32_t i = 0; i < s.count; i++)
    CHECK_INT(s.blocks[i], 10 + PITCH * i);
  lv_space_free(&s);
  /* Only of a table that is sound, and was read whole. */
  put(&w, 0, 12);
  s = space(&w, NULL, INVALID, &err);
  CHECK_INT(err.reason, LV_R_BLOCK_OVERLAP);
  lv_space_free(&s);
  lvhd_error_clear(&err);
  put_all(&w, NULL, 0);
  w.image.header.entries = LV_TABLE_MOST;
  s = space(&w, NULL, 0, NULL);
  lv_space_free(&s);
  w.image.header.entries++;
  s = space(&w, NULL, INVALID, NULL);
  lv_space_free(&s);
  s = space(&w, NULL, INVALID, &err);
  CHECK_INT(err.reason, LV_R_BAT_NOT_SCANNED);
  CHECK_INT(err.has,
            LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL | LVHD_HAS_OFFSET);
  CHECK_INT(err.expected, LV_TABLE_MOST);
  CHECK_INT(err.actual, LV_TABLE_MOST + 1);
  CHECK_INT(err.offset, TABLE);
  CHECK_STR(err.path, LEAF);
  lvhd_error_clear(&err);
  lv_space_free(&s);
  end(&w);
}

/* XenServer's map of full blocks, behind the BAT, and where its map is. */
static bool has_batmap(struct world *w, uint64_t map_at, uint32_t sectors) {
  struct lv_space s;
  bool has = false;
  lv_put_be64(w->bytes + 2048 + 8, map_at);
  lv_put_be32(w->bytes + 2048 + 16, sectors);
  s = space(w, NULL, 0, NULL);
  has = s.batmap_at != 0;
  CHECK_INT(s.batmap_at, has ? 2048 : 0);
  CHECK_INT(s.taken_count, has ? 5 : 3);
  if (has) {
    CHECK_INT(s.batmap.map_at, map_at);
    CHECK_INT(s.taken[3].from, 2048);
    CHECK_INT(s.taken[3].to, 2560);
    CHECK_INT(s.taken[4].from, map_at);
    CHECK_INT(s.taken[4].to, map_at + sectors * 512);
  }
  lv_space_free(&s);
  return has;
}

static void on_batmap(struct world *w, uint32_t sector, uint64_t expected) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lv_space s;
  put(w, 7, sector);
  s = space(w, NULL, INVALID, NULL);
  lv_space_free(&s);
  s = space(w, NULL, INVALID, &err);
  CHECK_INT(err.reason, LV_R_BLOCK_ON_METADATA);
  CHECK_INT(err.expected, expected);
  CHECK_INT(err.actual, sector * 512);
  CHECK_INT(err.offset, TABLE + 4 * 7);
  lvhd_error_clear(&err);
  lv_space_free(&s);
}

static void test_space_batmap(void) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct world w;
  struct lv_space s;
  begin_table(&w);
  put_all(&w, NULL, 0);
  memcpy(w.bytes + 2048, "tdbatmap", 8);
  CHECK(!has_batmap(&w, 2560, 1)); /* of another creator: free bytes */
  memcpy(w.image.footer.creator, "tap", 4);
  w.image.footer.creator_version = 0x10003;
  CHECK(has_batmap(&w, 2560, 1));
  CHECK(has_batmap(&w, 100 * 512, 3));
  CHECK(!has_batmap(&w, 2560, 0));
  CHECK(!has_batmap(&w, 2561, 1));
  CHECK(has_batmap(&w, DATA_END - 1024, 2));
  CHECK(!has_batmap(&w, DATA_END - 1024, 3));
  CHECK(!has_batmap(&w, DATA_END, 1));
  CHECK(!has_batmap(&w, DATA_END + 1024, 1));
  CHECK(!has_batmap(&w, 0, 1));
  w.bytes[2048] = 'T';
  CHECK(!has_batmap(&w, 2560, 1));
  w.bytes[2048] = 't';
  w.image.footer.data_offset = 8192;
  CHECK(!has_batmap(&w, 512, 1)); /* free, but before it */
  CHECK(!has_batmap(&w, 8192, 1));
  CHECK(!has_batmap(&w, 8192 - 512, 2));
  CHECK(has_batmap(&w, 8192 - 512, 1));
  w.image.footer.data_offset = 2048;
  CHECK(!has_batmap(&w, 4096, 1)); /* the header is there */
  w.image.footer.data_offset = 512;
  CHECK(has_batmap(&w, 2560, 1));
  w.fails_at = 2048;
  s = space(&w, NULL, LVHD_DISP_E_EXCEPTION, &err);
  CHECK_INT(err.errnum, EIO);
  lvhd_error_clear(&err);
  lv_space_free(&s);
  w.fails_at = -1;
  /* No block lies on either. */
  CHECK(has_batmap(&w, 20 * 512, 2));
  on_batmap(&w, 4, 2560);
  on_batmap(&w, 21, 22 * 512);
  on_batmap(&w, 20 - PITCH + 1, 22 * 512);
  put(&w, 7, 20 - PITCH);
  CHECK(has_batmap(&w, 20 * 512, 2));
  put(&w, 7, 22);
  CHECK(has_batmap(&w, 20 * 512, 2));
  end(&w);
}

/* ---- room for blocks ------------------------------------------------------ */

static bool is_room(const struct lv_space *s, uint64_t at) {
  for (size_t i = 0; i < s->taken_count; i++)
    if (at < s->taken[i].to && s->taken[i].from < at + s->pitch)
      return false;
  for (size_t i = 0; i < s->count; i++) {
    uint64_t block = (uint64_t)s->blocks[i] * 512;
    if (at < block + s->pitch && block < at + s->pitch)
      return false;
  }
  return true;
}

/* Every slot is the next one that has room, and none is left out. */
static void check_slots(const struct lv_space *s, uint64_t limit) {
  struct lv_slots slots = lv_space_first(s);
  uint64_t at = s->lowest;
  uint32_t sector = 0;
  unsigned n = 0;
  CHECK_INT(slots.at, s->lowest);
  while (lv_space_slot(&slots, limit, &sector) && n++ < 1000) {
    while (!is_room(s, at) || (at + 512) % s->align != 0)
      at += 512;
    CHECK_INT((uint64_t)sector * 512, at);
    CHECK(at + s->pitch <= limit);
    at += s->pitch;
  }
  while (!is_room(s, at) || (at + 512) % s->align != 0)
    at += 512;
  CHECK(at + s->pitch > limit);
}

static void test_slots(void) {
  static const uint32_t rows[][4] = {
    {7, 31, 39, 15}, {10, 20, 26, 40}, {100, 110, 90, 95}, {4, 9, 14, 19},
    {47, 63, 300, 7}};
  struct world w;
  struct lv_space s;
  begin_table(&w);
  for (size_t i = 0; i < COUNT(rows); i++) {
    put_all(&w, rows[i], 4);
    w.image.header.locators[0] = (struct lv_locator_entry){
      .code = {'W'}, .space = 1024, .length = 9, .offset = 60 * 512};
    if (i % 2)
      memset(w.image.header.locators[0].code, 0, 4);
    if (i == 4)
      w.image.header.locators[0].offset = 56 * 512;
    s = space(&w, NULL, 0, NULL);
    for (uint64_t limit = 2048; limit < 130 * 512; limit += 512)
      check_slots(&s, limit);
    check_slots(&s, s.lowest + s.pitch - 1);
    lv_space_free(&s);
  }
  /* As many blocks as there was room for, up to the last. */
  put_all(&w, NULL, 0);
  for (uint32_t i = 0; i < 64; i++)
    put(&w, i, 70 + 6 * i);
  s = space(&w, NULL, 0, NULL);
  CHECK_INT(s.count, 64);
  check_slots(&s, 600 * 512);
  lv_space_free(&s);
  end(&w);
}

/* Everything that a head can hold. */
static void test_full_head(void) {
  struct world w;
  struct lv_space s;
  begin_table(&w);
  memcpy(w.image.footer.creator, "tap", 4);
  w.image.footer.creator_version = 0x10003;
  memcpy(w.bytes + 2048, "tdbatmap", 8);
  lv_put_be64(w.bytes + 2048 + 8, 50 * 512);
  lv_put_be32(w.bytes + 2048 + 16, 2);
  for (unsigned i = 0; i < LV_LOCATORS; i++)
    w.image.header.locators[i] = (struct lv_locator_entry){
      .code = {'W'}, .space = 512, .length = 9, .offset = 20480 + 512 * i};
  put_all(&w, (const uint32_t[]){9, 20, 80}, 3);
  s = space(&w, NULL, 0, NULL);
  CHECK_INT(s.taken_count, LV_SPANS);
  CHECK_INT(s.head_end, 52 * 512);
  CHECK_INT(s.lowest, 9 * 512);
  for (uint64_t limit = 2048; limit < 130 * 512; limit += 512)
    check_slots(&s, limit);
  lv_space_free(&s);
  end(&w);
}

/* A footer that stands is not written over by one that moves a little. */
static void test_footer_place(void) {
  struct world w;
  begin_table(&w);
  CHECK_INT(lv_space_footer(&w.image, 4096), 4096);
  CHECK_INT(lv_space_footer(&w.image, DATA_END - 512), DATA_END - 512);
  CHECK_INT(lv_space_footer(&w.image, DATA_END - 511), LENGTH);
  CHECK_INT(lv_space_footer(&w.image, DATA_END), DATA_END);
  CHECK_INT(lv_space_footer(&w.image, DATA_END + 1), LENGTH);
  CHECK_INT(lv_space_footer(&w.image, LENGTH), LENGTH);
  CHECK_INT(lv_space_footer(&w.image, LENGTH + 512), LENGTH + 512);
  w.image.file.st.st_size = LENGTH - 1; /* a short one */
  CHECK_INT(lv_space_footer(&w.image, LENGTH - 2), LENGTH);
  CHECK_INT(lv_space_footer(&w.image, LENGTH - 1), LENGTH - 1);
  w.image.where = LVHD_FOOTER_COPY;
  CHECK_INT(lv_space_footer(&w.image, DATA_END + 1), DATA_END + 1);
  end(&w);
}

int main(void) {
  test_probe_limits();
  test_probe_tells();
  test_probe_reads();
  test_places();
  test_locators();
  test_alignment();
  test_overlaps();
  test_many_overlaps();
  test_walk();
  test_sound();
  test_too_many();
  test_head_end();
  test_blocks_end();
  test_batmap_end();
  test_space_head();
  test_space_blocks();
  test_space_batmap();
  test_slots();
  test_full_head();
  test_footer_place();
  return check_done();
}
