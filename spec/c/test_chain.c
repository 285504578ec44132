/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/image/chain and facts on files in memory: where a chain
 * breaks and what is told of it, and what the infos of its images say.
 */
#include "base/bytes.h"
#include "faulty.h"
#include "image/chain.h"

#define LEAF "/d/leaf.vhd"
#define BASE "/d/base.vhd"
#define ROOT "/d/sub/mid.vhd"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
  BROKEN = LVHD_VM_E_HD_IMAGE_OPEN_FAIL,
  GONE = LVHD_VM_E_PARENT_PATH_NOT_FOUND,
  STRANGER = LVHD_VM_E_PARENT_CHILD_ID_MISMATCH,
  DEVICE = LVHD_DISP_E_EXCEPTION
};

/* ---- a chain ----------------------------------------------------------- */

struct world {
  struct faulty f;
  struct lv_chain chain;
  struct lvhd_error err, broken;
  int code;
};

/* leaf, base, mid: a chain of 1 to 3 (forge_seed). */
static void begin(struct world *w, unsigned seed) {
  memset(w, 0, sizeof *w);
  w->err = w->broken = (struct lvhd_error)LVHD_ERROR_INIT;
  forge_seed(&w->f.mem, seed);
  faulty_begin(&w->f);
}

static uint8_t *bytes_of(struct world *w, unsigned i) {
  return w->f.mem.files[i].segments[0].bytes;
}

static uint64_t length_of(const struct world *w, unsigned i) {
  return w->f.mem.files[i].length;
}

/* Another identifier: every byte of it. */
static void identify(struct world *w, unsigned i, uint8_t id) {
  memset(bytes_of(w, i) + 68, id, 16);
  memset(bytes_of(w, i) + length_of(w, i) - 512 + 68, id, 16);
  forge_repair(&w->f.mem.files[i]);
}

static void expect(struct world *w, int code, int reason, size_t count) {
  CHECK_INT(w->code, code);
  CHECK_INT(w->err.code, code);
  CHECK_INT(w->err.reason, reason);
  CHECK_INT(w->chain.count, count);
}

static void shut(struct world *w) {
  lv_chain_close(&w->chain, &w->f.env);
  lvhd_error_clear(&w->err);
  lvhd_error_clear(&w->broken);
  CHECK_INT(mem_open(&w->f.mem), 0);
}

static void end(struct world *w) {
  shut(w);
  faulty_end(&w->f);
}

/* Where it breaks, that is the failure; without anyone to tell, the same. */
static void open_whole(struct world *w, unsigned max_depth) {
  shut(w);
  trouble_again(&w->f.t);
  w->code = lv_chain_open(&w->chain, &w->f.env, LEAF, NULL, 0, max_depth, NULL,
                          &w->err);
  CHECK((w->chain.images != NULL) == (w->code == 0));
  if (w->code != 0) {
    trouble_again(&w->f.t);
    CHECK_INT(lv_chain_open(&w->chain, &w->f.env, LEAF, NULL, 0, max_depth,
                            NULL, NULL), w->code);
  }
}

/* The good part. */
static void open_part(struct world *w, unsigned max_depth) {
  shut(w);
  trouble_again(&w->f.t);
  w->code = lv_chain_open(&w->chain, &w->f.env, LEAF, NULL, 0, max_depth,
                          &w->broken, &w->err);
}

/* What is told of the hop behind the n-th image, both ways. */
static void breaks(struct world *w, unsigned max_depth, size_t n, int code,
                   int reason, const char *parent) {
  static const char *const paths[] = {LEAF, BASE, ROOT};
  open_whole(w, max_depth);
  expect(w, code, reason, 0);
  CHECK_INT(w->err.layer, n + 1);
  CHECK((w->err.has & LVHD_AT_PARENT) != 0);
  CHECK_STR(w->err.path, paths[n - 1]);
  CHECK_STR(w->err.parent, parent);
  open_part(w, max_depth);
  expect(w, 0, 0, n);
  CHECK_INT(w->broken.code, code);
  CHECK_INT(w->broken.reason, reason);
  CHECK_INT(w->broken.layer, n + 1);
  CHECK_STR(w->broken.path, paths[n - 1]);
  CHECK_STR(w->broken.parent, parent);
}

static void test_open(void) {
  struct world w;
  begin(&w, 1);
  open_whole(&w, 1);
  expect(&w, 0, 0, 1);
  CHECK(strstr(w.f.opened, "base") == NULL);
  faulty_break(&w.f, "folder", EIO, 1, 99); /* which it does not need */
  open_whole(&w, 1);
  expect(&w, 0, 0, 1);
  end(&w);
  begin(&w, 3);
  open_whole(&w, 3);
  expect(&w, 0, 0, 3);
  CHECK_STR(w.chain.images[0].path, LEAF);
  CHECK_STR(w.chain.images[1].path, BASE);
  CHECK_STR(w.chain.images[2].path, ROOT);
  CHECK(w.chain.found[0].how == LVHD_FOUND_LOCATOR);
  CHECK_STR(w.chain.found[1].code, "W2ru");
  CHECK(w.chain.found[2].how == LVHD_FOUND_NOT);
  open_part(&w, 3);
  expect(&w, 0, 0, 3);
  CHECK_INT(w.broken.code, 0);
  breaks(&w, 2, 2, BROKEN, LV_R_CHAIN_TOO_DEEP, NULL);
  CHECK_INT(w.broken.expected, 2);
  CHECK_INT(w.broken.actual, 3);
  breaks(&w, 1, 1, BROKEN, LV_R_CHAIN_TOO_DEEP, NULL);
  identify(&w, 2, 9);
  breaks(&w, 9, 2, STRANGER, LV_R_PARENT_ID, ROOT);
  w.f.mem.count = 2;
  breaks(&w, 9, 2, GONE, LV_R_PARENT_MISSING, ROOT);
  w.f.mem.count = 1;
  breaks(&w, 9, 1, GONE, LV_R_PARENT_MISSING, BASE);
  w.f.mem.count = 0;
  open_whole(&w, 9);
  expect(&w, LVHD_E_PATH_NOT_FOUND, LV_R_FILE_MISSING, 0);
  CHECK_INT(w.err.layer, 0);
  end(&w);
}

/* Another file of the same disk, and the same file. */
static ino_t as;
static dev_t on;

static void see(void *answer) {
  struct stat *st = answer;
  if (st->st_ino != 2)
    return;
  st->st_ino = as;
  st->st_dev = on;
}

static void test_cycles(void) {
  struct world w;
  begin(&w, 3);
  trouble_forge(&w.f.t, "fstat", see);
  as = 1, on = 7;
  breaks(&w, 9, 1, BROKEN, LV_R_CHAIN_CYCLE, BASE);
  as = 1, on = 8;
  open_whole(&w, 9);
  expect(&w, 0, 0, 3);
  as = 3, on = 7; /* base is the root as well */
  breaks(&w, 9, 2, BROKEN, LV_R_CHAIN_CYCLE, ROOT);
  end(&w);
  begin(&w, 3);
  memset(bytes_of(&w, 1) + 512 + 40, 1, 16);
  forge_repair(&w.f.mem.files[1]);
  identify(&w, 2, 1);
  breaks(&w, 9, 2, BROKEN, LV_R_CHAIN_CYCLE, ROOT);
  end(&w);
}

/* What the caller could not go on with either is no break. */
static void test_grave(void) {
  struct world w;
  begin(&w, 3);
  for (unsigned i = 0; i < 2; i++) {
    faulty_break(&w.f, "openat2", i ? EMFILE : EIO, 2, 99);
    open_part(&w, 9);
    CHECK_INT(w.code, i ? LVHD_VM_E_OUT_OF_RESOURCE : 0);
    CHECK_INT(w.chain.count, i ? 0 : 1);
    CHECK_INT(w.err.code, i ? LVHD_VM_E_OUT_OF_RESOURCE : 0);
    CHECK_INT(w.broken.code, i ? 0 : DEVICE);
    CHECK_STR(i ? w.err.path : w.broken.path, LEAF);
    trouble_again(&w.f.t);
    shut(&w);
    w.code = lv_chain_open(&w.chain, &w.f.env, LEAF, NULL, 0, 9, &w.broken,
                           NULL);
    CHECK_INT(w.code, i ? LVHD_VM_E_OUT_OF_RESOURCE : 0);
    /* the leaf's own folder: nothing of the chain is known then */
    faulty_break(&w.f, "folder", EIO, 1, 99);
    open_part(&w, 9);
    expect(&w, DEVICE, 0, 0);
    CHECK_INT(w.broken.code, 0);
  }
  end(&w);
}

/* ---- files that are named ---------------------------------------------- */

static void give(struct world *w, const char *a, const char *b, const char *c,
                 unsigned max_depth) {
  const char *paths[] = {a, b, c};
  size_t n = c ? 3 : b ? 2 : 1;
  shut(w);
  trouble_again(&w->f.t);
  w->code = lv_chain_given(&w->chain, &w->f.env, paths, n, max_depth, &w->err);
  CHECK((w->chain.images != NULL) == (w->code == 0));
  if (w->code != 0) {
    trouble_again(&w->f.t);
    CHECK_INT(lv_chain_given(&w->chain, &w->f.env, paths, n, max_depth, NULL),
              w->code);
  }
}

static void refused(struct world *w, int code, int reason, unsigned layer,
                    const char *path, const char *parent) {
  expect(w, code, reason, 0);
  CHECK_INT(w->err.layer, layer);
  CHECK_INT(w->err.has & LVHD_AT_PARENT, layer ? LVHD_AT_PARENT : 0);
  CHECK_STR(w->err.path, path);
  CHECK_STR(w->err.parent, parent);
}

static void test_given(void) {
  struct world w;
  begin(&w, 3);
  give(&w, LEAF, BASE, ROOT, 3);
  expect(&w, 0, 0, 3);
  CHECK(w.chain.found[0].how == LVHD_FOUND_GIVEN);
  CHECK(w.chain.found[1].how == LVHD_FOUND_GIVEN);
  CHECK(w.chain.found[2].how == LVHD_FOUND_NOT);
  give(&w, ROOT, NULL, NULL, 1);
  expect(&w, 0, 0, 1);
  give(&w, LEAF, BASE, ROOT, 2);
  refused(&w, BROKEN, LV_R_CHAIN_TOO_DEEP, 3, BASE, ROOT);
  give(&w, LEAF, BASE, NULL, 9);
  refused(&w, GONE, LV_R_CHAIN_ENDS, 3, BASE, NULL);
  give(&w, LEAF, NULL, NULL, 9);
  refused(&w, GONE, LV_R_CHAIN_ENDS, 2, LEAF, NULL);
  give(&w, ROOT, BASE, NULL, 9);
  refused(&w, LVHD_VM_E_WRONG_HD_IMAGE_TYPE, LV_R_CHAIN_GOES_ON, 2, ROOT,
          BASE);
  give(&w, LEAF, ROOT, NULL, 9);
  refused(&w, STRANGER, LV_R_PARENT_ID, 2, LEAF, ROOT);
  give(&w, LEAF, LEAF, NULL, 9);
  refused(&w, BROKEN, LV_R_CHAIN_CYCLE, 2, LEAF, LEAF);
  give(&w, LEAF, "/d/none.vhd", NULL, 9);
  refused(&w, GONE, LV_R_FILE_MISSING, 2, LEAF, "/d/none.vhd");
  give(&w, LEAF, "/d/fifo", NULL, 9);
  refused(&w, LVHD_VM_E_INVALID_HD_FILE, LV_R_NOT_REGULAR, 2, LEAF,
          "/d/fifo");
  give(&w, "/d/none.vhd", BASE, NULL, 9);
  expect(&w, LVHD_E_PATH_NOT_FOUND, LV_R_FILE_MISSING, 0);
  end(&w);
}

/* ---- infos ------------------------------------------------------------- */

static int infos_of(struct world *w, struct lvhd_infos **infos, bool strict) {
  *infos = NULL;
  trouble_again(&w->f.t);
  return lv_chain_infos(infos, &w->chain, &w->f.env, &w->broken, strict, NULL,
                        NULL, &w->err);
}

static const struct lvhd_info *info_of(const struct lvhd_infos *infos,
                                       size_t i) {
  static const struct lvhd_info none;
  return CHECK(i < infos->count) ? &infos->items[i]->info : &none;
}

static bool tells(const struct lvhd_info *info, int reason) {
  for (size_t i = 0; i < info->finding_count; i++)
    if (info->findings[i].reason == reason)
      return info->findings[i].severity == LVHD_WARNING;
  return false;
}

static void test_infos(void) {
  struct lvhd_infos *infos = NULL;
  const struct lvhd_info *info = NULL;
  struct world w;
  begin(&w, 3);
  open_whole(&w, 9);
  CHECK_INT(infos_of(&w, &infos, true), 0);
  CHECK_INT(infos->count, 3);
  info = info_of(infos, 0);
  CHECK_STR(info->path, LEAF);
  CHECK(info->type == LVHD_DIFFERENCING && info->has_parent);
  CHECK_INT(info->size, 17 * 512);
  CHECK_INT(info->original_size, 17 * 512);
  CHECK_INT(info->file_size, length_of(&w, 0));
  CHECK_INT(info->mtime, MEM_MTIME);
  CHECK_INT(info->block_size, 2048);
  CHECK_INT(info->blocks, 5);
  CHECK_INT(info->blocks_used, 2);
  CHECK_INT(info->alignment, 512);
  CHECK_INT(info->uuid[15], 1);
  CHECK_INT(info->parent_uuid[15], 2);
  CHECK_INT(info->parent_timestamp, MEM_MTIME - 10);
  CHECK_STR(info->parent_path, BASE);
  CHECK_STR(info->parent_name, "base.vhd");
  CHECK(info->parent_found == LVHD_FOUND_LOCATOR);
  CHECK_STR(info->found_by, "W2ru");
  CHECK(info->footer == LVHD_FOOTER_END && info->lockable);
  CHECK(!info->saved_state && !info->hidden);
  CHECK_INT(info->free, UINT64_C(4096) << 30);
  CHECK_INT(info->finding_count, 0);
  CHECK(info->error == NULL);
  if (CHECK(info->locator_count == 3)) {
    CHECK_STR(info->locators[0].path, ".\\base.vhd");
    CHECK_STR(info->locators[2].path, "file://./base.vhd");
    CHECK_STR(info->locators[2].code, "MacX");
    CHECK_INT(info->locators[2].raw_length, 17);
    CHECK_INT(info->locators[2].space, 512);
    CHECK_INT(info->locators[2].offset, 2560);
  }
  info = info_of(infos, 1);
  CHECK_STR(info->parent_path, ROOT);
  CHECK_INT(info->finding_count, 0);
  info = info_of(infos, 2);
  CHECK_STR(info->parent_path, NULL);
  CHECK(info->type == LVHD_FIXED && !info->has_parent && info->blocks == 0);
  CHECK(info->parent_found == LVHD_FOUND_NOT && info->found_by == NULL);
  CHECK_INT(info->locator_count, 0);
  lv_infos_free(infos);
  /* by another locator, and by the field */
  strcpy(w.chain.found[0].code, "MacX");
  w.chain.found[1] = (struct lv_found){.how = LVHD_FOUND_NAME, .code = "W2ru"};
  CHECK_INT(infos_of(&w, &infos, true), 0);
  CHECK_STR(info_of(infos, 0)->found_by, "MacX");
  CHECK(info_of(infos, 0)->found_by == info_of(infos, 0)->locators[2].code);
  CHECK(info_of(infos, 1)->parent_found == LVHD_FOUND_NAME);
  CHECK_STR(info_of(infos, 1)->found_by, NULL);
  lv_infos_free(infos);
  end(&w);
}

/* What is odd about an image is told of that one. */
static void test_findings(void) {
  struct lvhd_infos *infos = NULL;
  const struct lvhd_info *info = NULL;
  struct world w;
  struct mem_segment *s = NULL;
  begin(&w, 3);
  memset(bytes_of(&w, 0) + 512 + 56, 0, 4); /* the time it has recorded */
  memset(bytes_of(&w, 0) + 512 + 64, 'b', 1);
  memset(bytes_of(&w, 0) + 512 + 65, 0, 15);
  memset(bytes_of(&w, 0) + length_of(&w, 0) - 512 + 84, 1, 2);
  forge_repair(&w.f.mem.files[0]);
  s = &w.f.mem.files[1].segments[0];
  s->bytes[s->n - 512] = 'x';
  w.f.mem.files[2].length -= 1;
  open_whole(&w, 9);
  CHECK_INT(infos_of(&w, &infos, true), 0);
  info = info_of(infos, 0);
  CHECK(tells(info, LV_R_PARENT_TIME));
  CHECK(tells(info, LV_R_NAME_LITTLE_ENDIAN));
  CHECK_INT(info->finding_count, 2);
  CHECK_STR(info->parent_name, "b");
  CHECK(info->saved_state && info->hidden);
  for (size_t i = 0; i < info->finding_count; i++)
    if (info->findings[i].reason == LV_R_NAME_LITTLE_ENDIAN)
      CHECK_INT(info->findings[i].offset, 512 + 64);
  info = info_of(infos, 1);
  CHECK(tells(info, LV_R_FOOTER_COPY_USED));
  CHECK_INT(info->finding_count, 1);
  CHECK_INT(info->findings[0].offset, length_of(&w, 1) - 512);
  info = info_of(infos, 2);
  CHECK(tells(info, LV_R_FOOTER_SHORT));
  CHECK_INT(info->finding_count, 1);
  CHECK_INT(info->findings[0].offset, length_of(&w, 2) - 511);
  lv_infos_free(infos);
  end(&w);
}

/* What lies beside the file. */
static void test_notes(void) {
  static const struct {
    unsigned verb;
    bool foreign;
    int reason;
  } cases[] = {
    {LV_JOURNAL_RESIZE, false, LV_R_JOURNAL_USED},
    {LV_JOURNAL_MERGE, false, LV_R_MERGE_PENDING},
    {LV_JOURNAL_RESIZE, true, LV_R_JOURNAL_FOREIGN},
    {LV_JOURNAL_MERGE, true, LV_R_JOURNAL_FOREIGN},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    struct lvhd_infos *infos = NULL;
    struct world w;
    begin(&w, 1);
    forge_add_note(&w.f.mem, &(struct forge_note){.verb = cases[i].verb});
    if (cases[i].foreign)
      identify(&w, 0, 9);
    open_whole(&w, 9);
    CHECK_INT(infos_of(&w, &infos, true), 0);
    CHECK_INT(info_of(infos, 0)->finding_count, 1);
    CHECK(tells(info_of(infos, 0), cases[i].reason));
    lv_infos_free(infos);
    end(&w);
  }
}

/* A parent of another size: where that matters. */
static void test_sizes(void) {
  struct lvhd_infos *infos = NULL;
  const struct lvhd_error *err = NULL;
  struct world w;
  begin(&w, 3);
  for (unsigned i = 0; i < 2; i++) {
    uint8_t *footer = bytes_of(&w, 1) + (i ? length_of(&w, 1) - 512 : 0);
    lv_put_be64(footer + 48, 16 * 512);
  }
  forge_repair(&w.f.mem.files[1]);
  open_whole(&w, 9);
  CHECK_INT(infos_of(&w, &infos, false), 0);
  CHECK_INT(infos->count, 3);
  CHECK(info_of(infos, 0)->error == NULL && info_of(infos, 1)->error == NULL);
  lv_infos_free(infos);
  CHECK_INT(infos_of(&w, &infos, true), 0);
  CHECK_INT(infos->count, 1);
  err = info_of(infos, 0)->error;
  if (CHECK(err != NULL)) {
    CHECK_INT(err->code, BROKEN);
    CHECK_INT(err->reason, LV_R_PARENT_SIZE);
    CHECK_INT(err->expected, 17 * 512);
    CHECK_INT(err->actual, 16 * 512);
    CHECK_INT(err->layer, 2);
    CHECK((err->has & LVHD_AT_PARENT) != 0);
    CHECK_STR(err->path, LEAF);
    CHECK_STR(err->parent, BASE);
    CHECK_STR(err->op, "chain");
  }
  lv_infos_free(infos);
  end(&w);
}

/* The chain's end is the last info's, and is told once. */
static void test_ends(void) {
  struct lvhd_infos *infos = NULL;
  struct world w;
  begin(&w, 3);
  w.f.mem.count = 2;
  open_part(&w, 9);
  CHECK_INT(infos_of(&w, &infos, true), 0);
  CHECK_INT(infos->count, 2);
  CHECK(info_of(infos, 0)->error == NULL);
  if (CHECK(info_of(infos, 1)->error != NULL))
    CHECK_INT(info_of(infos, 1)->error->code, GONE);
  CHECK_INT(w.broken.code, 0);
  lv_infos_free(infos);
  CHECK_INT(infos_of(&w, &infos, true), 0);
  CHECK(info_of(infos, 1)->error == NULL);
  lv_infos_free(infos);
  CHECK_INT(lv_chain_infos(&infos, &w.chain, &w.f.env, NULL, true, NULL, NULL,
                           NULL), 0);
  CHECK(info_of(infos, 1)->error == NULL);
  lv_infos_free(infos);
  end(&w);
}

/* Texts that are none, or no UTF-8, and what a disk without a parent says of
 * one. */
static void test_texts(void) {
  struct lvhd_infos *infos = NULL;
  const struct lvhd_info *info = NULL;
  char want[3 * 200 + 1] = "";
  struct world w;
  begin(&w, 3);
  memset(bytes_of(&w, 0) + 2560, 0xFF, 200);
  lv_put_be32(bytes_of(&w, 0) + 512 + 576 + 24 + 8, 0);
  lv_put_be32(bytes_of(&w, 0) + 512 + 576 + 48 + 8, 200);
  forge_repair(&w.f.mem.files[0]);
  open_whole(&w, 9);
  CHECK_INT(infos_of(&w, &infos, true), 0);
  info = info_of(infos, 0);
  if (CHECK(info->locator_count == 3)) {
    CHECK_STR(info->locators[1].code, "W2ku");
    CHECK(info->locators[1].raw == NULL && info->locators[1].path == NULL);
    for (unsigned i = 0; i < 200; i++)
      strcat(want, "\xEF\xBF\xBD");
    CHECK_STR(info->locators[2].path, want);
    CHECK_INT(info->locators[2].raw_length, 200);
  }
  lv_infos_free(infos);
  end(&w);
  begin(&w, 1);
  memset(bytes_of(&w, 0) + 512 + 40, 7, 20);
  memset(bytes_of(&w, 0) + 512 + 64, 'b', 2);
  memcpy(bytes_of(&w, 0) + 512 + 576, "MacX", 4);
  forge_repair(&w.f.mem.files[0]);
  open_whole(&w, 9);
  CHECK_INT(infos_of(&w, &infos, true), 0);
  info = info_of(infos, 0);
  CHECK(!info->has_parent && info->parent_timestamp == 0);
  CHECK_INT(info->parent_uuid[0], 0);
  CHECK_INT(info->locator_count, 0);
  CHECK_STR(info->parent_name, NULL);
  lv_infos_free(infos);
  end(&w);
}

/* More than four, where lists grow. */
static void test_many(void) {
  static struct mem_changes changes;
  enum { MANY = 9 };
  struct lvhd_infos list = {0}, *copy = NULL;
  struct world w;
  begin(&w, 1);
  mem_writable(&w.f.mem, &changes, 0);
  faulty_chain(&w.f, MANY);
  CHECK_INT(lv_chain_open(&w.chain, &w.f.env, "/d/0", NULL, 0, MANY, NULL,
                          &w.err), 0);
  if (CHECK(w.chain.count == MANY))
    for (unsigned i = 0; i < MANY; i++) {
      struct lv_facts *facts = NULL;
      CHECK_INT(w.chain.images[i].footer.uuid[0], 10 + i);
      CHECK(w.chain.found[i].how ==
            (i + 1 < MANY ? LVHD_FOUND_LOCATOR : LVHD_FOUND_NOT));
      CHECK_INT(lv_facts_new(&facts, &w.chain.images[i], &w.f.env, NULL, NULL,
                             NULL), 0);
      CHECK_INT(lv_infos_add(&list, facts, NULL), 0);
    }
  CHECK(w.chain.room < 2 * MANY && list.room < 2 * MANY); /* as needed */
  if (CHECK(list.count == MANY))
    for (unsigned i = 0; i < MANY; i++)
      CHECK_INT(list.items[i]->info.uuid[0], 10 + i);
  for (unsigned i = 0; i < list.count; i++)
    lv_facts_free(list.items[i]);
  free(list.items);
  CHECK_INT(infos_of(&w, &copy, true), 0);
  CHECK_INT(copy->count, MANY);
  lv_infos_free(copy);
  end(&w);
}

static bool stops(void *arg) {
  (void)arg;
  return true;
}

/* Reads that fail, a caller who wants no more. */
static void test_faults(void) {
  struct lvhd_infos *infos = NULL;
  unsigned reads = 0;
  struct world w;
  begin(&w, 3);
  open_whole(&w, 9);
  faulty_break(&w.f, "pread", EIO, 99, 1);
  CHECK_INT(infos_of(&w, &infos, true), 0);
  lv_infos_free(infos);
  /* three texts and a table, twice, at the least */
  reads = w.f.t.rules[0].calls;
  CHECK(reads >= 8 && reads < 99);
  for (unsigned from = 1; from <= reads; from++) {
    faulty_break(&w.f, "pread", EIO, from, 1);
    CHECK_INT(infos_of(&w, &infos, true), DEVICE);
    CHECK_INT(w.err.errnum, EIO);
    CHECK(infos == NULL);
  }
  faulty_break(&w.f, NULL, 0, 0, 0);
  infos = NULL;
  CHECK_INT(lv_chain_infos(&infos, &w.chain, &w.f.env, NULL, true, stops, NULL,
                           &w.err), LVHD_E_ABORT);
  CHECK(infos == NULL);
  CHECK_INT(lv_infos_of(&infos, &w.chain.images[1], &w.f.env, &w.err), 0);
  CHECK_INT(infos->count, 1);
  CHECK_STR(info_of(infos, 0)->path, BASE);
  CHECK_INT(info_of(infos, 0)->finding_count, 0);
  lv_infos_free(infos);
  w.chain.images[1].where = LVHD_FOOTER_SHORT;
  CHECK_INT(lv_infos_of(&infos, &w.chain.images[1], &w.f.env, &w.err), 0);
  CHECK_INT(info_of(infos, 0)->finding_count, 1);
  lv_infos_free(infos);
  faulty_break(&w.f, "pread", EIO, 1, 1);
  CHECK_INT(lv_infos_of(&infos, &w.chain.images[1], &w.f.env, &w.err), DEVICE);
  CHECK(infos == NULL);
  lv_infos_free(NULL);
  end(&w);
}

/* Of a look that fails there is nothing to be freed. */
static void test_look(void) {
  struct lvhd_open_options opts = {.max_depth = 9};
  struct lvhd_infos *infos = NULL;
  struct lv_facts *facts = NULL;
  unsigned failed = 0;
  struct world w;
  begin(&w, 3);
  w.f.mem.files[2].length -= 1; /* something is wrong with it */
  for (unsigned from = 1, hits = 1; hits > 0; from++) {
    int code = 0;
    faulty_break(&w.f, "fstat", EIO, from, 1);
    code = lv_chain_look(&infos, &w.f.env, LEAF, &opts, &w.err);
    hits = w.f.t.rules[0].calls >= from;
    failed += code != 0;
    CHECK(code == 0 || (infos == NULL && w.err.errnum == EIO));
    lvhd_error_clear(&w.err);
    lv_infos_free(infos);
  }
  CHECK(failed >= 4); /* opening the leaf, and asking three whether they moved */
  faulty_break(&w.f, NULL, 0, 0, 0);
  open_whole(&w, 9);
  w.chain.images[1].where = LVHD_FOOTER_SHORT;
  faulty_break(&w.f, "fstat", EIO, 1, 1);
  CHECK_INT(lv_facts_look(&facts, &w.chain.images[1], &w.f.env, NULL, NULL,
                          &w.err), DEVICE);
  CHECK(facts == NULL);
  faulty_break(&w.f, NULL, 0, 0, 0);
  end(&w);
}

/* ---- a file that is refused -------------------------------------------- */

static void test_refused(void) {
  struct lvhd_error why = {.code = BROKEN, .reason = LV_R_FIXED_LENGTH,
                           .has = LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL |
                                  LVHD_AT_PARENT,
                           .expected = 7, .actual = 8};
  struct lv_facts *facts = NULL;
  struct world w;
  begin(&w, 1);
  open_whole(&w, 9);
  CHECK_INT(lv_facts_refused(&facts, &w.chain.images[0].file, LEAF,
                             &w.chain.images[0].footer, LVHD_FOOTER_END, &why,
                             &w.f.env, NULL), 0);
  CHECK_STR(facts->info.path, LEAF);
  CHECK_INT(facts->info.size, 17 * 512);
  if (CHECK(facts->info.finding_count == 1)) {
    CHECK_INT(facts->info.findings[0].reason, LV_R_FIXED_LENGTH);
    CHECK(facts->info.findings[0].severity == LVHD_ERROR);
    CHECK_INT(facts->info.findings[0].has,
              LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL);
    CHECK_INT(facts->info.findings[0].actual, 8);
  }
  lv_facts_free(facts);
  lv_facts_free(NULL);
  /* a file with no room for the footer that is missing */
  w.chain.images[0].file.st.st_size = 511;
  for (unsigned i = 0; i < 2; i++) {
    w.chain.images[0].file.st.st_size += i * 2;
    CHECK_INT(lv_facts_refused(&facts, &w.chain.images[0].file, LEAF,
                               &w.chain.images[0].footer, LVHD_FOOTER_COPY,
                               &why, &w.f.env, NULL), 0);
    CHECK_INT(facts->info.findings[0].reason, LV_R_FOOTER_COPY_USED);
    CHECK_INT(facts->info.findings[0].offset, i);
    lv_facts_free(facts);
  }
  end(&w);
}

int main(void) {
  test_open();
  test_cycles();
  test_grave();
  test_given();
  test_infos();
  test_findings();
  test_notes();
  test_sizes();
  test_ends();
  test_texts();
  test_many();
  test_faults();
  test_look();
  test_refused();
  return check_done();
}
