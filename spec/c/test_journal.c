/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/image/journal on files in memory: which bytes are a note,
 * whose note counts, and what finding, writing and taking it away say and
 * leave when a call fails or someone else was faster.
 */
#include <limits.h>
#include <unistd.h>

#include "base/bytes.h"
#include "faulty.h"
#include "image/journal.h"
#include "io/drives.h"

#define LEAF "/d/leaf.vhd"
#define NOTE "/d/.leaf.vhd.lvhd-journal"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { LOST = 0, GOOD = 1 };

/* Enumerators of one kind. */
#define CHECK_SAME(got, want) CHECK((got) == (want))

static struct mem_changes changes;

/* ---- notes as bytes ---------------------------------------------------- */

struct piece {
  uint64_t at;
  uint32_t n;
};

static void seal(uint8_t *bytes, size_t n) {
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < n - 8; i++)
    h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
  lv_put_be64(bytes + n - 8, h);
}

/* Zeros for old bytes; n bytes in all, of which some may be behind the
 * pieces. */
static uint8_t *note_of(const struct piece *pieces, size_t count, size_t n) {
  uint8_t *bytes = calloc(1, n > 136 ? n : 136), *at = NULL;
  if (bytes == NULL)
    abort();
  at = bytes + 128;
  memcpy(bytes, "lvhdjrnl", 8);
  lv_put_be32(bytes + 8, 1);
  lv_put_be32(bytes + 12, LV_JOURNAL_RESIZE);
  lv_put_be32(bytes + 60, (uint32_t)count);
  lv_put_be64(bytes + 80, n);
  for (size_t i = 0; i < count; i++) {
    lv_put_be64(at, pieces[i].at);
    lv_put_be32(at + 8, pieces[i].n);
    at += 12 + pieces[i].n;
  }
  if (n >= 8)
    seal(bytes, n);
  return bytes;
}

static size_t length_of(const struct piece *pieces, size_t count) {
  size_t n = 136;
  for (size_t i = 0; i < count; i++)
    n += 12 + pieces[i].n;
  return n;
}

/* ---- looking ----------------------------------------------------------- */

/* A disk with a note of these bytes, which it takes; NULL: without. */
static void begin(struct faulty *f, uint8_t *bytes, size_t n) {
  memset(f, 0, sizeof *f);
  forge_seed(&f->mem, 1);
  faulty_begin(f);
  if (bytes == NULL)
    return;
  f->mem.files[MEM_NOTE] = (struct mem_file){.length = n, .count = 1};
  f->mem.files[MEM_NOTE].segments[0] =
    (struct mem_segment){.n = n, .bytes = bytes};
  f->mem.count = MEM_FILES;
}

struct looked {
  enum lv_journal_state state;
  int code;
  struct lvhd_error err;
  struct lv_journal note;
};

/* The file's own identity may be changed before. */
static struct looked look_of(struct faulty *f, const struct stat *st) {
  struct looked l = {.err = LVHD_ERROR_INIT};
  struct lv_file file = LV_FILE_INIT;
  struct trouble_rule *rule = &f->t.rules[0];
  const char *call = rule->call;
  int code = 0;
  rule->call = NULL;
  CHECK_INT(lv_file_open(&file, &f->env, LEAF, NULL), 0);
  if (st)
    file.st = *st;
  rule->call = call;
  trouble_again(&f->t);
  l.code = lv_journal_look(&l.note, &l.state, &f->env, &file, LEAF, NULL,
                           &l.err);
  CHECK_INT(l.code, l.err.code);
  if (l.state != LV_JOURNAL_GOOD || l.code != 0) {
    CHECK_INT(l.note.old.count, 0);
    CHECK(l.note.old.items == NULL);
  }
  lv_journal_free(&l.note);
  /* the same without anyone to tell */
  trouble_again(&f->t);
  code = lv_journal_look(&l.note, &l.state, &f->env, &file, LEAF, NULL, NULL);
  CHECK_INT(code, l.code);
  lv_journal_free(&l.note);
  rule->call = NULL;
  lv_file_close(&file, &f->env);
  return l;
}

/* 1: a good note; 0: there is something, and it is none. */
static int is_note(struct faulty *f) {
  struct looked l = look_of(f, NULL);
  CHECK_INT(l.code, 0);
  CHECK(l.state != LV_JOURNAL_NONE);
  lvhd_error_clear(&l.err);
  return l.state == LV_JOURNAL_GOOD;
}

static const struct field {
  size_t at, n;
  uint64_t value;
  int good;
} fields[] = {
  {7, 1, 'x', LOST},
  {8, 4, 0, LOST},
  {8, 4, 2, LOST},
  {12, 4, 0, LOST},
  {12, 4, 1, GOOD},
  {12, 4, 5, GOOD},
  {12, 4, 6, LOST},
  {12, 4, UINT32_MAX, LOST},
  {56, 4, 999999999, GOOD},
  {56, 4, 1000000000, LOST},
  {60, 4, 1, LOST}, /* bytes are left */
  {60, 4, 3, LOST}, /* and here none for the third */
  {60, 4, UINT32_MAX, LOST},
  {80, 8, 1183, LOST},
  {80, 8, 1185, LOST},
  /* places of the first piece, while the second begins at 2048 */
  {128, 8, 0, GOOD},
  {128, 8, 1024 + 256, LOST},
  {128, 8, 1536, GOOD},
  {128, 8, 2048, LOST},
  {128, 8, 2560, LOST},
};

static void test_fields(void) {
  static const struct piece two[] = {{1024, 512}, {2048, 512}};
  struct faulty f;
  for (size_t i = 0; i < COUNT(fields); i++) {
    uint8_t *bytes = note_of(two, 2, 1184);
    for (size_t k = 0; k < fields[i].n; k++)
      bytes[fields[i].at + k] =
        (uint8_t)(fields[i].value >> 8 * (fields[i].n - 1 - k));
    seal(bytes, 1184);
    begin(&f, bytes, 1184);
    if (!CHECK(is_note(&f) == fields[i].good))
      fprintf(stderr, "  at %zu: %" PRIu64 "\n", fields[i].at,
              fields[i].value);
    faulty_end(&f);
  }
  for (size_t at = 0; at < 1184; at += 37) { /* no sum is right by chance */
    uint8_t *bytes = note_of(two, 2, 1184);
    bytes[at] ^= 0x40;
    begin(&f, bytes, 1184);
    CHECK_INT(is_note(&f), LOST);
    faulty_end(&f);
  }
}

static const struct {
  struct piece pieces[2];
  size_t count;
  int good;
} shapes[] = {
  {{{0, 0}}, 0, GOOD},
  {{{0, 0}}, 1, LOST},
  {{{0, 100}}, 1, LOST},
  {{{0, 65536}}, 1, GOOD},
  {{{0, 66048}}, 1, LOST},
  {{{(UINT64_C(1) << 63) - 1024, 512}}, 1, GOOD},
  {{{(UINT64_C(1) << 63) - 512, 512}}, 1, LOST},
  {{{UINT64_MAX - 511, 512}}, 1, LOST},
  {{{1024, 1024}, {2048, 512}}, 2, GOOD},
  {{{1024, 1024}, {1536, 512}}, 2, LOST},
};

static void test_shapes(void) {
  struct faulty f;
  struct piece piece = {0, 512};
  uint8_t *bytes = NULL;
  for (size_t i = 0; i < COUNT(shapes); i++) {
    size_t n = length_of(shapes[i].pieces, shapes[i].count);
    begin(&f, note_of(shapes[i].pieces, shapes[i].count, n), n);
    if (!CHECK(is_note(&f) == shapes[i].good))
      fprintf(stderr, "  shape %zu\n", i);
    faulty_end(&f);
  }
  for (size_t n = 0; n < 136; n++) { /* exact, for who watches the memory */
    uint8_t *exact = malloc(n ? n : 1);
    bytes = note_of(NULL, 0, n);
    if (n >= 72)
      lv_put_be32(bytes + 60, 1), seal(bytes, n);
    if (exact)
      memcpy(exact, bytes, n);
    free(bytes);
    begin(&f, exact, n);
    CHECK_INT(is_note(&f), LOST);
    faulty_end(&f);
  }
  /* a piece of which the last byte is missing */
  bytes = note_of(&piece, 1, 660);
  lv_put_be64(bytes + 80, 659);
  seal(bytes, 659);
  begin(&f, bytes, 659);
  CHECK_INT(is_note(&f), LOST);
  faulty_end(&f);
  /* and one of which nearly all are */
  bytes = note_of(&piece, 1, 660);
  lv_put_be32(bytes + 136, 65536);
  seal(bytes, 660);
  begin(&f, bytes, 660);
  CHECK_INT(is_note(&f), LOST);
  faulty_end(&f);
}

/* 16 MiB are a note, and a sector more is none. */
static void test_largest(void) {
  static struct piece pieces[330];
  struct faulty f;
  for (unsigned more = 0; more < 2; more++) {
    uint64_t at = 0;
    size_t n = 0;
    for (unsigned i = 0; i < COUNT(pieces); i++) {
      pieces[i] = (struct piece){at, 512 * (99 + (i < 90 + more))};
      at += pieces[i].n;
    }
    n = length_of(pieces, COUNT(pieces));
    CHECK_INT(n, (16u << 20) + 512 * more);
    begin(&f, note_of(pieces, COUNT(pieces), n), n);
    CHECK_INT(is_note(&f), more ? LOST : GOOD);
    faulty_end(&f);
  }
}

/* ---- whose it is ------------------------------------------------------- */

static struct stat note_is;

static void see(void *answer) {
  struct stat *st = answer;
  if (st->st_ino != MEM_NOTE + 1)
    return;
  st->st_mode = note_is.st_mode;
  st->st_uid = note_is.st_uid;
  st->st_gid = note_is.st_gid;
}

static void test_owner(void) {
  enum { OWNER = 4000, OTHER = 5000 };
  const uid_t self = geteuid() ? geteuid() : 1234;
  const struct {
    mode_t mode;
    uid_t uid;
    gid_t gid;
    mode_t image;
    int good;
  } cases[] = {
    {S_IFREG | 0600, OWNER, 8, 0600, GOOD},
    {S_IFREG | 0600, 0, 8, 0600, GOOD},
    {S_IFREG | 0600, self, 8, 0600, GOOD},
    {S_IFREG | 0600, OTHER, 8, 0644, LOST},
    {S_IFREG | 0600, OTHER, 7, 0644, LOST},
    {S_IFREG | 0600, OTHER, 8, 0646, GOOD},
    {S_IFREG | 0600, OTHER, 7, 0664, GOOD},
    {S_IFREG | 0600, OTHER, 8, 0664, LOST},
    {S_IFIFO | 0600, OWNER, 7, 0666, LOST},
    {S_IFDIR | 0700, 0, 7, 0666, LOST},
  };
  const bool root = geteuid() == 0;
  if (root && !CHECK(seteuid(self) == 0))
    return;
  for (size_t i = 0; i < COUNT(cases); i++) {
    struct faulty f;
    struct stat image = {.st_uid = OWNER, .st_gid = 7};
    struct looked l;
    begin(&f, note_of(NULL, 0, 136), 136);
    image.st_mode = S_IFREG | cases[i].image;
    note_is.st_mode = cases[i].mode;
    note_is.st_uid = cases[i].uid;
    note_is.st_gid = cases[i].gid;
    trouble_forge(&f.t, "fstat", see);
    l = look_of(&f, &image);
    CHECK_INT(l.code, 0);
    if (!CHECK_SAME(l.state, cases[i].good ? LV_JOURNAL_GOOD
                                         : LV_JOURNAL_FOREIGN))
      fprintf(stderr, "  case %zu\n", i);
    lvhd_error_clear(&l.err);
    faulty_end(&f);
  }
  if (root)
    CHECK(seteuid(0) == 0);
}

/* ---- calls that fail --------------------------------------------------- */

static void looks(const char *call, int errnum, unsigned from,
                  enum lv_journal_state state,
                  int code, const char *told) {
  struct faulty f;
  struct looked l;
  begin(&f, note_of(NULL, 0, 136), 136);
  faulty_break(&f, call, errnum, from, UINT_MAX - from);
  l = look_of(&f, NULL);
  CHECK_INT(l.code, code);
  if (code == 0)
    CHECK_SAME(l.state, state);
  else
    CHECK(l.state != LV_JOURNAL_NONE);
  CHECK_STR(l.err.syscall, told);
  CHECK_INT(l.err.errnum, code ? errnum : 0);
  lvhd_error_clear(&l.err);
  faulty_end(&f);
}

static void test_looking(void) {
  static const int none[] = {ENOENT, ENOTDIR};
  static const int foreign[] = {ELOOP, ENXIO, EACCES, EPERM};
  struct faulty f;
  struct looked l;
  begin(&f, NULL, 0);
  l = look_of(&f, NULL);
  CHECK_SAME(l.state, LV_JOURNAL_NONE);
  CHECK(strstr(f.opened, NOTE) != NULL);
  faulty_end(&f);
  for (size_t i = 0; i < COUNT(none); i++)
    looks("openat", none[i], 1, LV_JOURNAL_NONE, 0, NULL);
  for (size_t i = 0; i < COUNT(foreign); i++)
    looks("openat", foreign[i], 1, LV_JOURNAL_FOREIGN, 0, NULL);
  looks("openat", EIO, 1, 0, LVHD_DISP_E_EXCEPTION, "openat");
  looks("openat", EMFILE, 1, 0, LVHD_VM_E_OUT_OF_RESOURCE, "openat");
  looks("fstat", EIO, 1, 0, LVHD_DISP_E_EXCEPTION, "fstat");
  looks("pread", EIO, 1, 0, LVHD_DISP_E_EXCEPTION, "pread");
  /* someone makes it shorter: no whole one, though all bytes were there */
  looks("pread", SKIPPED, 1, LV_JOURNAL_FOREIGN, 0, NULL);
}

/* ---- its name ---------------------------------------------------------- */

/* A new file in memory, of no bytes. */
static void make(struct faulty *f, const char *path, struct lv_file *file) {
  const struct lv_sys *sys = &f->mem.sys;
  int fd = sys->openat(sys, AT_FDCWD, path, O_CREAT | O_EXCL | O_WRONLY, 0);
  CHECK(fd >= 0);
  sys->close(sys, fd);
  CHECK_INT(lv_file_open(file, &f->env, path, NULL), 0);
}

static const char *made_note(const struct faulty *f) {
  for (size_t i = 0; i < MEM_ADDED; i++) {
    const char *path = mem_made(&f->mem, i);
    if (path && strstr(path, "lvhd-journal"))
      return path;
  }
  return NULL;
}

static void test_name(size_t n, bool by_uuid) {
  struct faulty f;
  struct lv_file file = LV_FILE_INIT;
  struct lv_journal j = {.verb = LV_JOURNAL_COMPACT}, got;
  struct lv_folder beside;
  enum lv_journal_state state = LV_JOURNAL_NONE;
  uint8_t other[16] = {1};
  char path[MEM_PATH], want[MEM_PATH];
  begin(&f, NULL, 0);
  mem_writable(&f.mem, &changes, 0);
  memset(j.uuid, 0xAB, 16);
  strcpy(path, "/d/");
  memset(path + 3, 'n', n);
  path[3 + n] = '\0';
  snprintf(want, sizeof want, "/d/.%s.lvhd-journal", path + 3);
  if (by_uuid)
    strcpy(want, "/d/.lvhd-journal-abababab-abab-abab-abab-abababababab");
  make(&f, path, &file);
  CHECK_INT(lv_journal_write(&j, &f.env, &file, path, true, &beside, NULL), 0);
  CHECK_STR(made_note(&f), want);
  CHECK_INT(lv_journal_look(&got, &state, &f.env, &file, path, j.uuid, NULL),
            0);
  CHECK_SAME(state, LV_JOURNAL_GOOD);
  lv_journal_free(&got);
  /* another's, where the name does not tell; unknown, it is not looked for */
  CHECK_INT(lv_journal_look(&got, &state, &f.env, &file, path, other, NULL),
            0);
  CHECK_SAME(state, by_uuid ? LV_JOURNAL_NONE : LV_JOURNAL_GOOD);
  lv_journal_free(&got);
  f.opened[0] = '\0';
  CHECK_INT(lv_journal_look(&got, &state, &f.env, &file, path, NULL, NULL), 0);
  CHECK_SAME(state, by_uuid ? LV_JOURNAL_NONE : LV_JOURNAL_GOOD);
  CHECK((f.opened[0] == '\0') == by_uuid);
  lv_journal_free(&got);
  CHECK_INT(lv_journal_remove(&j, &f.env, &file, path, true, &beside, NULL),
            0);
  CHECK_STR(made_note(&f), NULL);
  lv_folder_close(&beside, &f.env);
  lv_file_close(&file, &f.env);
  faulty_end(&f);
}

/* What is too long for the host has no note, and is not looked for. */
static void test_long(void) {
  enum { TAIL = sizeof "a.vhd" - 1, NAME = sizeof ".a.vhd.lvhd-journal" - 1 };
  for (size_t more = 0; more < 3; more++) {
    size_t folder = PATH_MAX - NAME - 2 + more;
    char *path = malloc(folder + TAIL + 1);
    struct faulty f;
    struct lv_file file = LV_FILE_INIT;
    struct lv_journal j;
    enum lv_journal_state state = LV_JOURNAL_GOOD;
    if (path == NULL)
      abort();
    begin(&f, NULL, 0);
    for (size_t i = 0; i < folder; i++)
      path[i] = i % 8 ? 'g' : '/';
    path[folder - 1] = '/';
    strcpy(path + folder, "a.vhd");
    CHECK_INT(lv_journal_look(&j, &state, &f.env, &file, path, NULL, NULL), 0);
    CHECK_SAME(state, LV_JOURNAL_NONE);
    CHECK((f.opened[0] == '\0') == (more == 2));
    faulty_end(&f);
    free(path);
  }
}

/* ---- writing ----------------------------------------------------------- */

struct wrote {
  struct faulty f;
  struct lv_file file;
  struct lv_journal note;
  struct lv_folder beside;
  struct lvhd_error err;
  int code;
};

static void start(struct wrote *w) {
  uint8_t old[1024];
  memset(w, 0, sizeof *w);
  begin(&w->f, NULL, 0);
  mem_writable(&w->f.mem, &changes, 0);
  w->file = (struct lv_file)LV_FILE_INIT;
  w->beside = (struct lv_folder)LV_FOLDER_INIT;
  w->err = (struct lvhd_error)LVHD_ERROR_INIT;
  w->note = (struct lv_journal){.verb = LV_JOURNAL_REPAIR,
                                .mtime = {1700000000, 999999999},
                                .length = 4096,
                                .longest = 8192,
                                .done = 512};
  memset(w->note.uuid, 0x17, 16);
  memset(old, 0x23, sizeof old);
  CHECK_INT(lv_overlay_put(&w->note.old, 512, old, 1024, NULL, NULL), 0);
  CHECK_INT(lv_file_open(&w->file, &w->f.env, LEAF, NULL), 0);
}

static void put_note(struct wrote *w, const char *path, bool durable) {
  lv_folder_close(&w->beside, &w->f.env);
  lvhd_error_clear(&w->err);
  w->code = lv_journal_write(&w->note, &w->f.env, &w->file, path, durable,
                             &w->beside, &w->err);
  CHECK_INT(w->code, w->err.code);
  CHECK((w->beside.fd >= 0) == (w->code == 0));
}

static void stop(struct wrote *w) {
  lv_journal_free(&w->note);
  lv_folder_close(&w->beside, &w->f.env);
  lv_file_close(&w->file, &w->f.env);
  lvhd_error_clear(&w->err);
  faulty_end(&w->f);
}

static bool reads_back(struct wrote *w) {
  enum lv_journal_state state = LV_JOURNAL_NONE;
  struct lv_journal got;
  bool same = false;
  CHECK_INT(lv_journal_look(&got, &state, &w->f.env, &w->file, LEAF, NULL,
                            NULL), 0);
  same = state == LV_JOURNAL_GOOD && got.verb == w->note.verb &&
         memcmp(got.uuid, w->note.uuid, 16) == 0 && got.length == 4096 &&
         got.longest == 8192 && got.done == 512 &&
         got.mtime.tv_sec == 1700000000 &&
         got.mtime.tv_nsec == 999999999 && got.old.count == 1 &&
         got.old.items[0].at == 512 && got.old.items[0].length == 1024 &&
         got.old.items[0].bytes[1023] == 0x23;
  lv_journal_free(&got);
  return same;
}

static void test_writing(void) {
  struct wrote w;
  start(&w);
  put_note(&w, LEAF, true);
  CHECK_INT(w.code, 0);
  CHECK_STR(w.f.log, "wflf"); /* bytes, name, folder: each durable */
  CHECK_STR(made_note(&w.f), NOTE);
  CHECK(reads_back(&w));
  stop(&w);
  start(&w);
  put_note(&w, LEAF, false);
  CHECK_INT(w.code, 0);
  CHECK_STR(w.f.log, "wl");
  CHECK(reads_back(&w));
  put_note(&w, LEAF, false); /* it is never replaced */
  CHECK_INT(w.code, LVHD_VM_E_HD_IMAGE_ACCESS);
  CHECK_SAME(w.err.reason, LV_R_JOURNAL_FOREIGN);
  CHECK(reads_back(&w));
  stop(&w);
  /* a volume that names no unnamed file: by a temporary */
  start(&w);
  faulty_break(&w.f, "linkat", EOPNOTSUPP, 1, 9);
  put_note(&w, LEAF, true);
  CHECK_INT(w.code, 0);
  CHECK_STR(w.f.log, "wflwfrf");
  CHECK_STR(made_note(&w.f), NOTE);
  CHECK(reads_back(&w));
  stop(&w);
}

/* Nothing is left, and it is told which call it was. */
static void fails_to_write(const char *call, int errnum, unsigned from,
                           bool durable, int code) {
  struct wrote w;
  start(&w);
  faulty_break(&w.f, call, errnum, from, 1);
  put_note(&w, LEAF, durable);
  CHECK_INT(w.code, code);
  CHECK_INT(w.err.errnum, errnum);
  CHECK_STR(w.err.syscall, call);
  CHECK_STR(made_note(&w.f), NULL);
  faulty_break(&w.f, NULL, 0, 0, 0);
  put_note(&w, LEAF, durable);
  CHECK_INT(w.code, 0);
  CHECK(reads_back(&w));
  stop(&w);
}

static void test_write_faults(void) {
  enum { DEVICE = LVHD_DISP_E_EXCEPTION };
  struct wrote w;
  start(&w);
  faulty_break(&w.f, "O_TMPFILE", EIO, 1, 1);
  put_note(&w, LEAF, true);
  CHECK_INT(w.code, DEVICE);
  CHECK_STR(w.err.syscall, "openat");
  CHECK_STR(w.f.log, ""); /* nothing comes after it */
  stop(&w);
  fails_to_write("pwritev", EIO, 1, true, DEVICE);
  fails_to_write("pwritev", EIO, 1, false, DEVICE);
  fails_to_write("fsync", EIO, 1, true, DEVICE);
  fails_to_write("fsync", EIO, 2, true, DEVICE);
  fails_to_write("linkat", EIO, 1, true, DEVICE);
  fails_to_write("fstatat", EIO, 1, true, DEVICE);
}

static void gone(struct wrote *w, const char *path) {
  put_note(w, path, true);
  CHECK_INT(w->code, LVHD_E_SHARING_VIOLATION);
  CHECK_SAME(w->err.reason, LV_R_FILE_REPLACED);
  CHECK_STR(made_note(&w->f), NULL);
  CHECK(strchr(w->f.log, 'w') == NULL);
  CHECK_INT(lv_journal_write(&w->note, &w->f.env, &w->file, path, true,
                             &w->beside, NULL),
            LVHD_E_SHARING_VIOLATION);
  /* there is nothing to take away, then */
  CHECK_INT(lv_journal_remove(&w->note, &w->f.env, &w->file, path, true, NULL,
                              NULL), 0);
  CHECK_STR(w->f.log, "");
}

/* The file is no longer where its path leads. */
static void test_elsewhere(void) {
  struct lvhd_drive map = {"C", "/d"};
  struct lv_drives *drives = NULL;
  struct wrote w;
  start(&w);
  w.file.st.st_ino++;
  gone(&w, LEAF);
  stop(&w);
  start(&w);
  w.file.st.st_dev++;
  gone(&w, LEAF);
  stop(&w);
  start(&w);
  gone(&w, "/d/other.vhd");
  gone(&w, "/d/gone/leaf.vhd");
  stop(&w);
  /* of a Windows path: a link has come into it */
  start(&w);
  CHECK_INT(lv_drives_new(&drives, &map, 1, NULL), 0);
  w.f.env.drives = drives;
  put_note(&w, "/d/away/d/leaf.vhd", true);
  CHECK_INT(w.code, LVHD_E_SHARING_VIOLATION);
  CHECK_SAME(w.err.reason, LV_R_FILE_REPLACED);
  lvhd_error_clear(&w.err);
  CHECK_INT(lv_journal_remove(&w.note, &w.f.env, &w.file,
                              "/d/away/d/leaf.vhd", true, NULL, &w.err), 0);
  CHECK_INT(w.err.code, 0);
  CHECK(lv_journal_write(&w.note, &w.f.env, &w.file, "/d/away/d/leaf.vhd",
                         true, &w.beside, NULL) != 0);
  CHECK_STR(w.f.log, "");
  put_note(&w, LEAF, true);
  CHECK_INT(w.code, 0);
  CHECK(reads_back(&w));
  stop(&w);
  lv_drives_free(drives);
  /* and where the folder cannot be opened, that is what is told */
  start(&w);
  faulty_break(&w.f, "folder", EACCES, 1, 2);
  put_note(&w, LEAF, true);
  CHECK_INT(w.code, LVHD_E_ACCESSDENIED);
  CHECK_INT(w.err.errnum, EACCES);
  stop(&w);
}

/* ---- taking it away ---------------------------------------------------- */

static int take(struct wrote *w, bool durable, bool by_path) {
  lvhd_error_clear(&w->err);
  return lv_journal_remove(&w->note, &w->f.env, &w->file, LEAF, durable,
                           by_path ? NULL : &w->beside, &w->err);
}

static void test_removing(bool by_path) {
  struct wrote w;
  start(&w);
  put_note(&w, LEAF, false);
  faulty_break(&w.f, NULL, 0, 0, 0);
  CHECK_INT(take(&w, true, by_path), 0);
  CHECK_STR(w.f.log, "uf");
  CHECK((w.f.opened[0] == '\0') == !by_path); /* it needs no descriptor */
  CHECK_STR(made_note(&w.f), NULL);
  CHECK_INT(take(&w, true, by_path), 0); /* it was not there */
  stop(&w);
  start(&w);
  put_note(&w, LEAF, false);
  faulty_break(&w.f, "unlinkat", EIO, 1, 1);
  CHECK(take(&w, true, by_path) != 0);
  CHECK_STR(w.err.syscall, "unlinkat");
  CHECK_STR(w.f.log, "u");
  faulty_break(&w.f, "fstatat", EIO, 1, 1);
  CHECK(take(&w, true, by_path) != 0);
  CHECK_STR(w.err.syscall, "fstatat");
  CHECK_STR(w.f.log, "");
  CHECK(reads_back(&w));
  faulty_break(&w.f, "fsync", EIO, 1, 1);
  CHECK(take(&w, true, by_path) != 0);
  CHECK_STR(w.err.syscall, "fsync");
  stop(&w);
  start(&w);
  put_note(&w, LEAF, false);
  faulty_break(&w.f, NULL, 0, 0, 0);
  CHECK_INT(take(&w, false, by_path), 0);
  CHECK_STR(w.f.log, "u");
  stop(&w);
}

/* A folder that can be entered and not read is flushed with its volume. */
static void test_closed_folder(void) {
  struct wrote w;
  start(&w);
  put_note(&w, LEAF, false);
  faulty_break(&w.f, "folder", EACCES, 1, 1);
  CHECK_INT(take(&w, true, true), 0);
  CHECK_STR(w.f.log, "uv");
  put_note(&w, LEAF, false);
  w.beside.path_only = true;
  faulty_break(&w.f, "syncfs", EIO, 1, 1);
  CHECK(take(&w, true, false) != 0);
  CHECK_STR(w.err.syscall, "syncfs");
  stop(&w);
}

int main(void) {
  test_fields();
  test_shapes();
  test_largest();
  test_owner();
  test_looking();
  test_name(241, false); /* with what is added, 255 */
  test_name(242, true);
  test_long();
  test_writing();
  test_write_faults();
  test_elsewhere();
  test_removing(false);
  test_removing(true);
  test_closed_folder();
  return check_done();
}
