/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/image/image on files in memory: what a note beside a file
 * may change of what is read, when it is refused, and what opening says when a
 * call fails.
 */
#include <limits.h>

#include "base/bytes.h"
#include "faulty.h"
#include "image/image.h"
#include "io/drives.h"

#define LEAF "/d/leaf.vhd"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { INVALID = LVHD_VM_E_INVALID_HD_FILE, DEVICE = LVHD_DISP_E_EXCEPTION };

/* ---- a disk and a note ------------------------------------------------- */

/* Places of the differencing disk of forge.c: footer, header, three texts,
 * table, blocks. */
enum { HEADER = 512, TEXTS = 1536, TABLE = 3072, BLOCKS = 3584 };

struct piece {
  uint64_t at;
  uint32_t n;
};

struct draft {
  unsigned verb; /* 0: resize */
  uint8_t uuid, other;
  uint64_t length, longest, done; /* length 0: the file's */
  struct piece pieces[3];
  size_t count;
  unsigned turned; /* a bit each: pieces whose bytes differ from the file's */
};

static uint64_t length_of(const struct faulty *f) {
  return f->mem.files[0].length;
}

static uint8_t *bytes_of(struct faulty *f) {
  return f->mem.files[0].segments[0].bytes;
}

static void damage(struct faulty *f, uint64_t at) {
  uint8_t *bytes = bytes_of(f);
  bytes[at] ^= 0x5A;
}

/* Takes no bytes but copies of the file's. */
static void put_note(struct faulty *f, const struct draft *d) {
  struct mem_file *note = &f->mem.files[MEM_NOTE];
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  uint8_t *bytes = NULL, *at = NULL;
  size_t n = 136;
  for (size_t i = 0; i < d->count; i++)
    n += 12 + d->pieces[i].n;
  bytes = calloc(1, n);
  if (bytes == NULL)
    abort();
  memcpy(bytes, "lvhdjrnl", 8);
  lv_put_be32(bytes + 8, 1);
  lv_put_be32(bytes + 12, d->verb ? d->verb : LV_JOURNAL_RESIZE);
  memset(bytes + 16, d->uuid, 16);
  memset(bytes + 32, d->other, 16);
  lv_put_be64(bytes + 48, 1234567890);
  lv_put_be32(bytes + 60, (uint32_t)d->count);
  lv_put_be64(bytes + 64, d->length ? d->length : length_of(f));
  lv_put_be64(bytes + 72, d->done);
  lv_put_be64(bytes + 80, n);
  lv_put_be64(bytes + 88, d->longest);
  at = bytes + 128;
  for (size_t i = 0; i < d->count; at += 12 + d->pieces[i].n, i++) {
    lv_put_be64(at, d->pieces[i].at);
    lv_put_be32(at + 8, d->pieces[i].n);
    mem_peek(&f->mem.files[0], d->pieces[i].at, at + 12, d->pieces[i].n);
    for (uint32_t k = 0; k < d->pieces[i].n && d->turned >> i & 1; k++)
      at[12 + k] ^= 0x55;
  }
  for (size_t i = 0; i < n - 8; i++)
    h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
  lv_put_be64(bytes + n - 8, h);
  *note = (struct mem_file){.length = n, .count = 1};
  note->segments[0] = (struct mem_segment){.n = n, .bytes = bytes};
  f->mem.count = MEM_FILES;
}

/* 0 fixed, 1 dynamic, 2 differencing; its identifier is all 1. */
static void begin(struct faulty *f, unsigned which) {
  memset(f, 0, sizeof *f);
  forge_seed(&f->mem, which);
  faulty_begin(f);
}

/* The same with so many sectors of nothing behind its first footer's end. */
static void lengthen(struct faulty *f, size_t n) {
  struct mem_segment *s = &f->mem.files[0].segments[0];
  uint8_t *bytes = calloc(1, s->n + n);
  if (bytes == NULL)
    abort();
  memcpy(bytes, s->bytes, s->n);
  free(s->bytes);
  s->bytes = bytes;
  s->n += n;
  f->mem.files[0].length = s->n;
}

struct opened {
  struct lv_image image;
  struct lvhd_error err;
  int code;
};

static struct opened open_leaf(struct faulty *f) {
  struct opened o = {.image = LV_IMAGE_INIT, .err = LVHD_ERROR_INIT};
  int code = 0;
  trouble_again(&f->t);
  code = lv_image_open(&o.image, &f->env, LEAF, NULL);
  lv_image_close(&o.image, &f->env);
  trouble_again(&f->t);
  o.code = lv_image_open(&o.image, &f->env, LEAF, &o.err);
  CHECK_INT(code, o.code);
  return o;
}

static void shut(struct opened *o, struct faulty *f) {
  lvhd_error_clear(&o->err);
  lv_image_close(&o->image, &f->env);
}

/* ---- which old bytes may count ----------------------------------------- */

struct where {
  struct piece piece;
  bool good;
};

/* A note of one piece.  `from_end`: its place counts back from the end. */
static bool is_good(unsigned which, const struct draft *given,
                    bool from_end) {
  struct faulty f;
  struct opened o;
  struct draft d = *given;
  bool good = false;
  begin(&f, which);
  d.uuid = 1;
  d.count = 1;
  if (from_end)
    d.pieces[0].at = length_of(&f) - d.pieces[0].at;
  put_note(&f, &d);
  o = open_leaf(&f);
  CHECK_INT(o.code, 0);
  CHECK(o.image.journal != LV_JOURNAL_NONE);
  good = o.image.journal == LV_JOURNAL_GOOD;
  CHECK((o.image.file.overlay != NULL) == good);
  CHECK_INT(o.image.file.st.st_mtim.tv_sec, good ? 1234567890 : MEM_MTIME);
  CHECK_INT(o.image.changed, MEM_MTIME);
  shut(&o, &f);
  faulty_end(&f);
  return good;
}

static void test_places(void) {
  static const struct where differencing[] = {
    {{0, 512}, true},       {{HEADER, 512}, true},
    {{HEADER, 1024}, true}, {{HEADER + 512, 512}, true},
    {{0, 1536}, true},      {{0, 1024}, true},
    {{HEADER, 1536}, false}, /* a text as well */
    {{0, 2048}, false},
    {{TEXTS, 512}, true},   {{TEXTS + 1024, 512}, true},
    {{TEXTS, 1024}, false}, /* two texts */
    {{TABLE, 512}, true},   {{TABLE, 1024}, false},
    {{TABLE - 512, 1024}, false},
    {{BLOCKS, 512}, false}, {{BLOCKS + 512, 512}, false},
  };
  static const struct where ends[] = {
    {{512, 512}, true},
    {{1024, 512}, false},
    {{1024, 1024}, false},
  };
  for (size_t i = 0; i < COUNT(differencing); i++)
    if (!CHECK(is_good(2, &(struct draft){.pieces = {differencing[i].piece}},
                       false) == differencing[i].good))
      fprintf(stderr, "  place %zu\n", i);
  for (unsigned which = 0; which < 3; which++)
    for (size_t i = 0; i < COUNT(ends); i++)
      CHECK(is_good(which, &(struct draft){.pieces = {ends[i].piece}}, true) ==
            ends[i].good);
  /* a fixed disk has nothing but its end, a dynamic one no texts */
  CHECK(!is_good(0, &(struct draft){.pieces = {{0, 512}}}, false));
  CHECK(!is_good(0, &(struct draft){.pieces = {{512, 512}}}, false));
  CHECK(is_good(1, &(struct draft){.pieces = {{0, 1536}}}, false));
  CHECK(is_good(1, &(struct draft){.pieces = {{TEXTS, 512}}}, false));
  CHECK(!is_good(1, &(struct draft){.pieces = {{TEXTS + 512, 512}}}, false));
}

/* The header behind the blocks: what lies behind the first footer is data. */
static void move_header(struct faulty *f) {
  size_t at = (size_t)length_of(f) - 512;
  uint8_t *bytes = NULL;
  lengthen(f, 1024);
  bytes = bytes_of(f);
  memcpy(bytes + at + 1024, bytes + at, 512);
  memcpy(bytes + at, bytes + HEADER, 1024);
  lv_put_be64(bytes + 16, at);
  lv_put_be64(bytes + at + 1024 + 16, at);
  forge_repair(&f->mem.files[0]);
}

static void test_moved_header(void) {
  static const struct where places[] = {
    {{0, 512}, true}, {{HEADER, 512}, false}, {{0, 1024}, false},
    {{0, 1536}, false},
  };
  for (size_t i = 0; i < COUNT(places) + 2; i++) {
    struct faulty f;
    struct opened o;
    struct draft d = {.uuid = 1, .count = 1};
    bool good = i < COUNT(places) ? places[i].good : true;
    begin(&f, 1);
    move_header(&f);
    if (i < COUNT(places))
      d.pieces[0] = places[i].piece;
    else
      d.pieces[0] = (struct piece){length_of(&f) - 1536 +
                                     512 * (i - COUNT(places)), 512};
    put_note(&f, &d);
    o = open_leaf(&f);
    CHECK_INT(o.code, 0);
    CHECK_INT(o.image.footer.data_offset, length_of(&f) - 1536);
    CHECK(o.image.journal == (good ? LV_JOURNAL_GOOD : LV_JOURNAL_FOREIGN));
    shut(&o, &f);
    faulty_end(&f);
  }
}

/* A slot without a code has no text, whatever else it says. */
static void test_bare(void) {
  struct faulty f;
  struct opened o;
  begin(&f, 2);
  memset(bytes_of(&f) + HEADER + 576 + 24, 0, 4);
  forge_repair(&f.mem.files[0]);
  put_note(&f, &(struct draft){.uuid = 1, .count = 1,
                               .pieces = {{TEXTS + 512, 512}}});
  o = open_leaf(&f);
  CHECK_INT(o.code, 0);
  CHECK(o.image.journal == LV_JOURNAL_FOREIGN);
  shut(&o, &f);
  faulty_end(&f);
}

/* Ends of the file that a verb gave it: where its footer stood, or shall. */
static void test_ends(void) {
  static const uint64_t at = BLOCKS + 512;
  struct draft d = {.pieces = {{at, 512}}, .done = at + 512};
  CHECK(is_good(2, &d, false));
  d.done = at + 511;
  CHECK(!is_good(2, &d, false));
  d.done = at + 513;
  CHECK(!is_good(2, &d, false));
  d.done = 512;
  d.pieces[0].at = 0;
  CHECK(is_good(0, &d, false)); /* a fixed disk of no bytes */
  d.done = 511;
  CHECK(!is_good(0, &d, false));
  d.done = 0;
  /* while the file is longer: its footer stood before the end */
  d.longest = 1 << 20;
  d.pieces[0].at = at;
  d.length = at + 1024;
  CHECK(!is_good(2, &d, false));
}

/* An end that was overwritten, the file longer by now: as before the verb. */
static void test_longer(void) {
  enum { MORE = 8 * 512 };
  for (unsigned longest = 0; longest < 3; longest++) {
    struct faulty f;
    struct opened o;
    uint64_t length = 0;
    begin(&f, 1);
    length = length_of(&f);
    put_note(&f, &(struct draft){.uuid = 1, .count = 1, .length = length,
                                 .longest = longest ? length + MORE - 2 +
                                                        longest : 0,
                                 .pieces = {{length - 512, 512}}});
    lengthen(&f, MORE);
    memset(bytes_of(&f) + length - 512, 0, 512);
    memcpy(bytes_of(&f) + length + MORE - 512, bytes_of(&f), 512);
    o = open_leaf(&f);
    CHECK_INT(o.code, 0);
    CHECK_INT(o.image.where, LVHD_FOOTER_END);
    CHECK(o.image.journal == (longest == 2 ? LV_JOURNAL_GOOD
                                           : LV_JOURNAL_FOREIGN));
    CHECK_INT(o.image.file.st.st_size,
              longest == 2 ? length : length + MORE);
    CHECK_INT(o.image.data_end,
              (longest == 2 ? length : length + MORE) - 512);
    shut(&o, &f);
    faulty_end(&f);
  }
}

/* Of a merge the file may grow as it likes. */
static void test_merge(void) {
  uint8_t child[16], other[16];
  struct faulty f;
  const uint32_t before = lv_timestamp(1234567890);
  const uint32_t since = lv_timestamp(MEM_MTIME);
  struct opened o;
  begin(&f, 1);
  put_note(&f, &(struct draft){.uuid = 1, .other = 7, .length = 512,
                               .verb = LV_JOURNAL_MERGE});
  memset(child, 7, sizeof child);
  memset(other, 7, sizeof other);
  other[15] = 8;
  o = open_leaf(&f);
  CHECK_INT(o.code, 0);
  CHECK(o.image.journal == LV_JOURNAL_GOOD);
  CHECK_INT(o.image.file.st.st_size, length_of(&f));
  CHECK_INT(lv_image_time(&o.image, child, 0), before);
  CHECK_INT(lv_image_time(&o.image, child, before), before);
  CHECK_INT(lv_image_time(&o.image, child, since), since);
  CHECK_INT(lv_image_time(&o.image, other, before), since);
  o.image.note.verb = LV_JOURNAL_RESIZE;
  CHECK_INT(lv_image_time(&o.image, other, since), before);
  o.image.note.verb = LV_JOURNAL_MERGE;
  o.image.journal = LV_JOURNAL_FOREIGN;
  CHECK_INT(lv_image_time(&o.image, other, since), before);
  shut(&o, &f);
  faulty_end(&f);
}

/* A verb that had ended but for its note: nothing is laid over. */
static void test_finished(void) {
  struct faulty f;
  struct opened o;
  uint64_t length = 0;
  begin(&f, 1);
  length = length_of(&f);
  struct draft d = {.uuid = 1, .count = 1, .turned = 1,
                    .length = length + 512, .done = length,
                    .pieces = {{length - 512, 512}}};
  put_note(&f, &d);
  o = open_leaf(&f);
  CHECK_INT(o.code, 0);
  CHECK(o.image.journal == LV_JOURNAL_GOOD);
  CHECK(o.image.file.overlay == NULL);
  CHECK_INT(o.image.note.old.count, 0);
  CHECK_INT(o.image.where, LVHD_FOOTER_END);
  CHECK_INT(o.image.file.st.st_mtim.tv_sec, MEM_MTIME);
  shut(&o, &f);
  faulty_end(&f);
  for (unsigned i = 0; i < 3; i++) {
    begin(&f, 1);
    d.length = i == 0 ? length : length + 512;
    d.done = i == 1 ? length - 512 : i == 2 ? 0 : length;
    d.pieces[0].at = 0; /* the copy of the footer: both are whole then */
    d.turned = 0;
    put_note(&f, &d);
    o = open_leaf(&f);
    CHECK_INT(o.code, 0);
    CHECK(o.image.journal == LV_JOURNAL_GOOD);
    CHECK(o.image.file.overlay != NULL);
    CHECK_INT(o.image.file.st.st_mtim.tv_sec, 1234567890);
    shut(&o, &f);
    faulty_end(&f);
  }
}

/* ---- whose it is ------------------------------------------------------- */

/* The file is damaged, and only the note has its structures. */
static void test_damaged(void) {
  for (unsigned i = 0; i < 4; i++) {
    const bool fits = i == 0;
    struct faulty f;
    struct opened o;
    uint64_t length = 0;
    begin(&f, 1);
    length = length_of(&f);
    put_note(&f, &(struct draft){.uuid = i == 1 ? 2 : 1, .count = 2,
                                 .turned = i == 2,
                                 .longest = i == 3 ? 512 : 0,
                                 .length = i == 3 ? 512 : 0,
                                 .pieces = {{0, 1536}, {length - 512, 512}}});
    damage(&f, HEADER);
    if (i % 2) { /* of the file itself, nothing tells whose it is */
      damage(&f, 100);
      damage(&f, length - 512 + 100);
    }
    o = open_leaf(&f);
    CHECK_INT(o.code, fits ? 0 : INVALID);
    CHECK_INT(o.err.reason, fits     ? LV_R_NONE
                            : i % 2 ? LV_R_FOOTER_CHECKSUM
                                    : LV_R_HEADER_MISSING);
    CHECK(!fits || o.image.journal == LV_JOURNAL_GOOD);
    CHECK((o.image.path != NULL) == fits);
    shut(&o, &f);
    faulty_end(&f);
  }
}

/* Old bytes that make a disk of the file no more were never its own. */
static void test_ruin(void) {
  struct faulty f;
  struct opened o;
  begin(&f, 1);
  put_note(&f, &(struct draft){.uuid = 1, .count = 1, .turned = 1,
                               .pieces = {{HEADER, 1024}}});
  o = open_leaf(&f);
  CHECK_INT(o.code, 0);
  CHECK(o.image.journal == LV_JOURNAL_FOREIGN);
  CHECK(o.image.file.overlay == NULL);
  CHECK_INT(o.image.header.entries, 5);
  shut(&o, &f);
  faulty_end(&f);
}

/* A name too long for a note of its own: it goes by the identifier, where the
 * file tells that. */
static void test_long_name(void) {
  static struct mem_changes changes;
  struct faulty f;
  struct lv_image image = LV_IMAGE_INIT;
  struct stat st;
  char path[MEM_PATH] = "/d/", note[] =
    "/d/.lvhd-journal-01010101-0101-0101-0101-010101010101";
  memset(path + 3, 'n', 242);
  begin(&f, 1);
  put_note(&f, &(struct draft){.uuid = 1});
  mem_writable(&f.mem, &changes, 0);
  for (unsigned i = 0; i < 2; i++) {
    const struct lv_sys *sys = &f.mem.sys;
    const struct mem_file *from = &f.mem.files[i ? MEM_NOTE : 0];
    struct iovec iov = {from->segments[0].bytes, (size_t)from->length};
    int fd = sys->openat(sys, AT_FDCWD, i ? note : path,
                           O_CREAT | O_EXCL | O_WRONLY, 0);
    CHECK_INT(sys->pwritev(sys, fd, &iov, 1, 0), iov.iov_len);
    CHECK_INT(sys->fstat(sys, fd, &st), 0);
    sys->close(sys, fd);
  }
  CHECK_INT(lv_image_open(&image, &f.env, path, NULL), 0);
  CHECK(image.journal == LV_JOURNAL_GOOD);
  lv_image_close(&image, &f.env);
  {
    const struct lv_sys *sys = &f.mem.sys;
    uint8_t zeros[8] = {0};
    struct iovec iov = {zeros, sizeof zeros};
    int fd = sys->openat(sys, AT_FDCWD, path, O_RDWR, 0);
    CHECK_INT(sys->pwritev(sys, fd, &iov, 1, HEADER), sizeof zeros);
    sys->close(sys, fd);
  }
  f.opened[0] = '\0';
  CHECK_INT(lv_image_open(&image, &f.env, path, NULL), INVALID);
  CHECK(strstr(f.opened, "journal") == NULL);
  f.mem.trapped = NULL; /* its bytes were ours to write */
  faulty_end(&f);
}

/* A note that has nothing for a damaged file; and nobody to tell. */
static void test_no_help(void) {
  struct faulty f;
  struct opened o;
  struct lv_file file = LV_FILE_INIT;
  begin(&f, 1);
  put_note(&f, &(struct draft){.uuid = 1});
  damage(&f, HEADER);
  o = open_leaf(&f);
  CHECK_INT(o.code, INVALID);
  CHECK_INT(o.err.reason, LV_R_HEADER_MISSING);
  shut(&o, &f);
  CHECK_INT(lv_file_open(&file, &f.env, LEAF, NULL), 0);
  CHECK_INT(lv_image_adopt(&o.image, &f.env, &file, LEAF, NULL), INVALID);
  CHECK_INT(file.fd, -1);
  faulty_end(&f);
}

/* A whole file says whose it is, and the note's own bytes do not. */
static void test_identity(void) {
  struct faulty f;
  struct opened o;
  uint64_t length = 0;
  begin(&f, 1);
  length = length_of(&f);
  memset(bytes_of(&f) + 68, 9, 16);
  memset(bytes_of(&f) + length - 512 + 68, 9, 16);
  forge_repair(&f.mem.files[0]);
  put_note(&f, &(struct draft){.uuid = 9, .count = 2,
                               .pieces = {{0, 1536}, {length - 512, 512}}});
  for (unsigned i = 0; i < 2; i++) {
    /* the disk, or what the note lays over it, is another one */
    struct mem_file *other = &f.mem.files[i == 0 ? 0 : MEM_NOTE];
    uint8_t *bytes = other->segments[0].bytes;
    size_t at = i == 0 ? 0 : 140, end = i == 0 ? length - 512 : 1688;
    memset(bytes + at + 68, 1, 16);
    memset(bytes + end + 68, 1, 16);
    for (size_t k = 0; k < 2; k++) {
      uint8_t *footer = bytes + (k == 0 ? at : end);
      lv_put_be32(footer + 64, lv_checksum(footer, 512, 64));
    }
    forge_repair(&f.mem.files[MEM_NOTE]);
    o = open_leaf(&f);
    CHECK_INT(o.code, 0);
    CHECK(o.image.journal == LV_JOURNAL_FOREIGN);
    CHECK_INT(o.image.footer.uuid[0], i == 0 ? 1 : 9);
    CHECK(o.image.file.overlay == NULL);
    CHECK_INT(o.image.file.st.st_mtim.tv_sec, MEM_MTIME);
    shut(&o, &f);
    memset(bytes_of(&f) + 68, 9, 16);
    memset(bytes_of(&f) + length - 512 + 68, 9, 16);
    forge_repair(&f.mem.files[0]);
  }
  faulty_end(&f);
}

/* Without a footer nothing is looked for: no verb leaves such a file. */
static void test_nothing(void) {
  struct faulty f;
  struct opened o;
  begin(&f, 1);
  put_note(&f, &(struct draft){.uuid = 1, .count = 1, .pieces = {{0, 1536}}});
  memset(bytes_of(&f), 0, (size_t)length_of(&f));
  o = open_leaf(&f);
  CHECK_INT(o.code, INVALID);
  CHECK_INT(o.err.reason, LV_R_FOOTER_MISSING);
  CHECK(strstr(f.opened, "journal") == NULL);
  shut(&o, &f);
  faulty_end(&f);
}

/* ---- calls that fail --------------------------------------------------- */

static void locked(void *answer) {
  struct flock *lock = answer;
  lock->l_type = F_WRLCK;
}

static void fails(unsigned which, const struct draft *d, const char *call,
                  int errnum, unsigned from, int code, int reason) {
  struct faulty f;
  struct opened o;
  begin(&f, which);
  if (d)
    put_note(&f, d);
  faulty_break(&f, call, errnum, from, 99)->forge = errnum ? NULL : locked;
  o = open_leaf(&f);
  CHECK_INT(o.code, code);
  CHECK_INT(o.err.code, code);
  CHECK_INT(o.err.reason, reason);
  CHECK_INT(o.err.errnum, code == DEVICE ? errnum : 0);
  CHECK(o.image.path == NULL);
  CHECK_INT(o.image.file.fd, -1);
  shut(&o, &f);
  faulty_end(&f);
}

static void test_faults(void) {
  const struct draft note = {.uuid = 1, .count = 1, .pieces = {{0, 1536}}};
  const struct draft poor = {.uuid = 1};
  struct faulty f;
  struct opened o;
  fails(1, NULL, "pread", EIO, 1, DEVICE, 0);
  fails(1, NULL, "pread", EIO, 2, DEVICE, 0);
  fails(1, &note, "pread", EIO, 3, DEVICE, 0); /* the note */
  fails(1, &note, "pread", EIO, 4, DEVICE, 0); /* what it makes of the disk */
  fails(1, &note, "pread", EIO, 5, DEVICE, 0);
  fails(1, &poor, "pread", EIO, 4, DEVICE, 0);
  fails(1, &note, "getlk", 0, 1, LVHD_E_SHARING_VIOLATION, LV_R_IN_USE);
  fails(1, NULL, "openat", EIO, 1, DEVICE, 0);
  fails(1, &note, "openat", EIO, 1, DEVICE, 0);
  /* what is beside it is not known: that is told, whatever the file says */
  begin(&f, 1);
  put_note(&f, &note);
  damage(&f, HEADER);
  faulty_break(&f, "pread", EIO, 3, 1);
  o = open_leaf(&f);
  CHECK_INT(o.code, DEVICE);
  CHECK_INT(o.err.errnum, EIO);
  shut(&o, &f);
  faulty_end(&f);
  /* nor is the file shown as it stands, which may be half of a change */
  for (unsigned from = 4; from <= 5; from++) {
    begin(&f, 1);
    put_note(&f, &note);
    faulty_break(&f, "pread", EIO, from, 1);
    o = open_leaf(&f);
    CHECK_INT(o.code, DEVICE);
    CHECK_INT(o.err.errnum, EIO);
    shut(&o, &f);
    faulty_end(&f);
  }
  /* nobody is asked where nothing is laid over */
  begin(&f, 1);
  put_note(&f, &poor);
  faulty_break(&f, "getlk", 0, 1, 9)->forge = locked;
  o = open_leaf(&f);
  CHECK_INT(o.code, 0);
  CHECK(o.image.journal == LV_JOURNAL_GOOD);
  CHECK(o.image.file.overlay == NULL);
  CHECK_INT(o.image.file.st.st_mtim.tv_sec, 1234567890);
  shut(&o, &f);
  faulty_end(&f);
}

/* A file that is being made shorter is looked at again, and not for ever. */
static void test_again(void) {
  static const unsigned often[] = {1, LV_IMAGE_LOOKS - 1, LV_IMAGE_LOOKS};
  for (size_t i = 0; i < sizeof often / sizeof *often; i++) {
    struct faulty f;
    struct opened o = {.image = LV_IMAGE_INIT, .err = LVHD_ERROR_INIT};
    bool settles = often[i] < LV_IMAGE_LOOKS;
    begin(&f, 0);
    faulty_break(&f, "pread", SKIPPED, 1, often[i]);
    o.code = lv_image_open(&o.image, &f.env, LEAF, &o.err);
    CHECK_INT(o.code, settles ? 0 : DEVICE);
    CHECK_INT(o.err.reason, settles ? LV_R_NONE : LV_R_FILE_CUT);
    shut(&o, &f);
    faulty_break(&f, "pread", SKIPPED, 1, often[i]);
    CHECK_INT(lv_image_again(&o.image, &f.env, LEAF, NULL),
              settles ? 0 : DEVICE);
    shut(&o, &f);
    faulty_end(&f);
  }
}

/* A note that goes between two looks leaves none of its bytes in the second. */
static struct faulty *noted;
static void note_goes(void) { noted->mem.count = MEM_NOTE; }

static void test_note_gone(void) {
  bool went = false;
  for (unsigned n = 1; n <= 12; n++) {
    struct faulty f;
    struct opened o = {.image = LV_IMAGE_INIT, .err = LVHD_ERROR_INIT};
    struct draft d = {.uuid = 1, .count = 1, .pieces = {{0, 512}}};
    begin(&f, 1);
    put_note(&f, &d);
    noted = &f;
    faulty_break(&f, "pread", SKIPPED, n, 1)->meddle = note_goes;
    o.code = lv_image_open(&o.image, &f.env, LEAF, &o.err);
    CHECK_INT(o.code, 0);
    if (o.image.journal == LV_JOURNAL_NONE) {
      CHECK(o.image.file.overlay == NULL);
      went = true;
    }
    shut(&o, &f);
    faulty_end(&f);
  }
  CHECK(went);
}

/* Whether it was changed can be asked, of a clock of whole seconds too; where
 * that fails, it is what is told. */
static void test_moved(void) {
  struct faulty f;
  struct opened o;
  bool moved = true;
  begin(&f, 0);
  o = open_leaf(&f);
  CHECK_INT(lv_image_moved(&o.image, &f.env, &moved, NULL), 0);
  CHECK(!moved);
  o.image.file.st.st_ctim.tv_sec--;
  CHECK_INT(lv_image_moved(&o.image, &f.env, &moved, NULL), 0);
  CHECK(moved);
  o.image.file.st.st_ctim.tv_sec++;
  o.image.file.st.st_ctim.tv_nsec++;
  CHECK_INT(lv_image_moved(&o.image, &f.env, &moved, NULL), 0);
  CHECK(moved);
  shut(&o, &f);
  for (unsigned again = 0; again < 2; again++) {
    o = (struct opened){.image = LV_IMAGE_INIT, .err = LVHD_ERROR_INIT};
    if (again) /* the second look begins with it */
      faulty_break(&f, "pread", SKIPPED, 1, 1);
    else
      damage(&f, length_of(&f) - 100);
    if (!again)
      faulty_break(&f, "fstat", EIO, 2, 1);
    else
      trouble_fail(&f.t, "fstat", EIO, 2, 1);
    CHECK_INT(lv_image_open(&o.image, &f.env, LEAF, &o.err), DEVICE);
    CHECK_STR(o.err.syscall, "fstat");
    shut(&o, &f);
    if (!again)
      damage(&f, length_of(&f) - 100);
  }
  faulty_end(&f);
}

/* Found again by its real path, it is never reached through a link. */
static void test_link(void) {
  static const struct lvhd_drive drive = {"C", "/d"};
  static const char way[] = "/d/away/d/leaf.vhd";
  struct lv_drives *drives = NULL;
  struct faulty f;
  struct lv_image image = LV_IMAGE_INIT;
  begin(&f, 0);
  CHECK_INT(lv_drives_new(&drives, &drive, 1, NULL), 0);
  f.env.drives = drives;
  CHECK_INT(lv_image_open(&image, &f.env, way, NULL), 0);
  CHECK_STR(image.path, LEAF);
  lv_image_close(&image, &f.env);
  CHECK(lv_image_again(&image, &f.env, way, NULL) != 0);
  CHECK_INT(lv_image_again(&image, &f.env, LEAF, NULL), 0);
  lv_image_close(&image, &f.env);
  faulty_end(&f);
  lv_drives_free(drives);
}

/* ---- what is asked of an open one -------------------------------------- */

static void test_measures(void) {
  struct faulty f;
  struct opened o;
  for (unsigned is_short = 0; is_short < 2; is_short++) {
    begin(&f, 1);
    f.mem.files[0].length -= is_short;
    o = open_leaf(&f);
    CHECK_INT(o.code, 0);
    CHECK_INT(o.image.where, is_short ? LVHD_FOOTER_SHORT : LVHD_FOOTER_END);
    CHECK_INT(o.image.data_end, length_of(&f) - 512 + is_short);
    CHECK_INT(o.image.blocks, 5);
    CHECK_INT(o.image.bitmap_size, 512);
    shut(&o, &f);
    faulty_end(&f);
  }
  begin(&f, 1);
  damage(&f, length_of(&f) - 512);
  o = open_leaf(&f);
  CHECK_INT(o.image.where, LVHD_FOOTER_COPY);
  CHECK_INT(o.image.data_end, length_of(&f));
  shut(&o, &f);
  faulty_end(&f);
  begin(&f, 0);
  o = open_leaf(&f);
  CHECK_INT(o.image.blocks, 0);
  CHECK_INT(o.image.bitmap_size, 0);
  shut(&o, &f);
  faulty_end(&f);
}

static void test_holds(void) {
  struct lv_image image = LV_IMAGE_INIT;
  image.bitmap_size = 512;
  image.header.block_size = 2048;
  image.data_end = 5120;
  CHECK(lv_image_holds(&image, 5));
  CHECK(!lv_image_holds(&image, 6));
  CHECK(!lv_image_holds(&image, 10));
  CHECK(!lv_image_holds(&image, 11));
  CHECK(!lv_image_holds(&image, 0xFFFFFFFE));
  image.data_end = 2560;
  CHECK(lv_image_holds(&image, 0));
  image.data_end = 2559;
  CHECK(!lv_image_holds(&image, 0));
}

/* Which texts are read: a code, some bytes, inside the file. */
static void test_locators(void) {
  static const struct {
    uint32_t code, length;
    int64_t from_end; /* -1: at 0 */
    size_t n;
  } cases[] = {
    {0x57327275, 10, -1, 10},   {0, 10, -1, 0},
    {0x57327275, 0, -1, 0},     {0x57327275, 4096, 4096, 4096},
    {0x57327275, 4097, 4097, 0}, {0x57327275, 100, 100, 100},
    {0x57327275, 101, 100, 0},  {0x57327275, 1, 0, 0},
    {0x57327275, 1, -512, 0},
  };
  struct faulty f;
  struct opened o;
  uint8_t *text = NULL;
  size_t n = 0;
  begin(&f, 2);
  o = open_leaf(&f);
  CHECK_INT(o.code, 0);
  for (size_t i = 0; i < COUNT(cases); i++) {
    struct lv_locator_entry *e = &o.image.header.locators[3];
    lv_put_be32(e->code, cases[i].code);
    e->length = cases[i].length;
    e->offset = cases[i].from_end == -1
                  ? 0
                  : length_of(&f) - (uint64_t)cases[i].from_end;
    text = (uint8_t *)&n;
    n = 77;
    CHECK_INT(lv_image_locator(&o.image, &f.env, 3, &text, &n, NULL), 0);
    if (!CHECK(n == cases[i].n) || !CHECK((text != NULL) == (n > 0)))
      fprintf(stderr, "  case %zu\n", i);
    if (text)
      CHECK_INT(text[n], 0);
    free(text);
  }
  o.image.header.locators[3] = o.image.header.locators[0];
  faulty_break(&f, "pread", EIO, 1, 1);
  CHECK_INT(lv_image_locator(&o.image, &f.env, 3, &text, &n, NULL), DEVICE);
  CHECK(text == NULL);
  CHECK_INT(n, 0);
  shut(&o, &f);
  faulty_end(&f);
}

int main(void) {
  test_places();
  test_moved_header();
  test_bare();
  test_ends();
  test_longer();
  test_merge();
  test_finished();
  test_damaged();
  test_no_help();
  test_ruin();
  test_long_name();
  test_identity();
  test_nothing();
  test_faults();
  test_again();
  test_note_gone();
  test_moved();
  test_link();
  test_measures();
  test_holds();
  test_locators();
  return check_done();
}
