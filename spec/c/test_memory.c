/* SPDX-License-Identifier: MIT
 *
 * Images, chains, infos and notes while memory runs out: each allocation fails
 * in turn, alone, then with all behind it.  It is E_OUTOFMEMORY every time,
 * and nothing stays: no block, no descriptor, no note.  On files in memory.
 */
#include "faulty.h"
#include "image/chain.h"
#include "io/drives.h"
#include "poor.h"

#define LEAF "/d/leaf.vhd"

static struct mem_changes changes;

/* Some memory only makes it quicker. */
static bool may_do_without;

/* Does it once; with an error to fill, or NULL. */
typedef int attempt(struct faulty *f, struct lvhd_error *err);

static bool has_note(const struct faulty *f) {
  for (size_t i = 0; f->mem.changes && i < MEM_ADDED; i++)
    if (mem_made(&f->mem, i) && strstr(mem_made(&f->mem, i), "journal"))
      return true;
  return false;
}

static bool all_is_told(const struct faulty *f, int code, unsigned hits,
                        const struct lvhd_error *err) {
  bool good = (code == (hits ? LVHD_E_OUTOFMEMORY : 0) ||
               (code == 0 && may_do_without)) &&
              (err == NULL || err->code == code);
  return good && mem_open(&f->mem) == 0 && (hits == 0 || !has_note(f));
}

static void sweep(struct faulty *f, attempt *once, const char *what,
                  unsigned least) {
  for (unsigned way = 0; way < 4; way++) {
    unsigned k = 0, hits = 1;
    while (hits > 0 && k < 1000) {
      struct lvhd_error err = LVHD_ERROR_INIT;
      long held = atomic_load(&poor.held);
      int code = 0;
      poor_begin(++k, way & 1, POOR_ANY);
      code = once(f, way & 2 ? &err : NULL);
      hits = poor_end();
      if (!CHECK(all_is_told(f, code, hits, way & 2 ? &err : NULL)))
        fprintf(stderr, "  %s, way %u, the %u-th: code %d\n", what, way, k,
                code);
      lvhd_error_clear(&err);
      if (!CHECK(atomic_load(&poor.held) == held))
        fprintf(stderr, "  %s, way %u, the %u-th: %ld held\n", what, way, k,
                atomic_load(&poor.held) - held);
    }
    CHECK(k > least && k < 1000); /* there was so much to refuse */
  }
}

/* ---- what is tried ----------------------------------------------------- */

static int look(struct faulty *f, struct lv_chain *chain,
                struct lvhd_error *broken, struct lvhd_error *err) {
  struct lvhd_infos *infos = NULL;
  int code = lv_chain_infos(&infos, chain, &f->env, broken, true, NULL, NULL,
                            err);
  lv_infos_free(infos);
  if (code == 0)
    code = lv_infos_of(&infos, &chain->images[0], &f->env, err);
  if (code == 0)
    lv_infos_free(infos);
  lv_chain_close(chain, &f->env);
  return code;
}

static int open_part(struct faulty *f, struct lvhd_error *err) {
  static const char *const parents[] = {"/etc", "/d/none"};
  struct lvhd_error broken = LVHD_ERROR_INIT;
  struct lv_chain chain;
  int code = lv_chain_open(&chain, &f->env, LEAF, parents, 2, 9, &broken, err);
  if (code == 0)
    code = look(f, &chain, &broken, err);
  lvhd_error_clear(&broken);
  return code;
}

static int open_whole(struct faulty *f, struct lvhd_error *err) {
  struct lv_chain chain;
  int code = lv_chain_open(&chain, &f->env, LEAF, NULL, 0, 9, NULL, err);
  return code == 0 ? look(f, &chain, NULL, err) : code;
}

/* A BAT that the format forbids, which must not pass for a sound one. */
static int unsound(struct faulty *f, struct lvhd_error *err) {
  struct lv_image image = LV_IMAGE_INIT;
  struct lv_table table;
  int code = lv_image_open(&image, &f->env, LEAF, err);
  if (code != 0)
    return code;
  code = lv_table_sound(&table, &image, &f->env, err);
  lv_image_close(&image, &f->env);
  if (code != LVHD_VM_E_INVALID_HD_FILE)
    return code == 0 ? -1 : code;
  lvhd_error_clear(err);
  return 0;
}

/* More of them than a list has room for at first. */
static int open_long(struct faulty *f, struct lvhd_error *err) {
  struct lv_chain chain;
  int code = lv_chain_open(&chain, &f->env, "/d/0", NULL, 0, 9, NULL, err);
  return code == 0 ? look(f, &chain, NULL, err) : code;
}

static int open_given(struct faulty *f, struct lvhd_error *err) {
  static const char *const paths[] = {LEAF, "/d/base.vhd", "/d/sub/mid.vhd"};
  struct lv_chain chain;
  int code = lv_chain_given(&chain, &f->env, paths, 3, 9, err);
  return code == 0 ? look(f, &chain, NULL, err) : code;
}

/* A file that is no disk, which is told once there is memory. */
static int no_disk(struct faulty *f, struct lvhd_error *err) {
  struct lv_image image = LV_IMAGE_INIT;
  int code = lv_image_open(&image, &f->env, LEAF, err);
  if (code != LVHD_VM_E_INVALID_HD_FILE)
    return code;
  lvhd_error_clear(err);
  return 0;
}

static int refuse(struct faulty *f, struct lvhd_error *err) {
  static const struct lvhd_error why = {.code = 1,
                                        .reason = LV_R_FIXED_LENGTH};
  struct lv_image image = LV_IMAGE_INIT;
  struct lv_facts *facts = NULL;
  int code = lv_image_open(&image, &f->env, LEAF, err);
  if (code != 0)
    return code;
  code = lv_facts_refused(&facts, &image.file, LEAF, &image.footer,
                          LVHD_FOOTER_COPY, &why, &f->env, err);
  lv_facts_free(facts);
  lv_image_close(&image, &f->env);
  return code;
}

static int note(struct faulty *f, struct lvhd_error *err) {
  static uint8_t old[512];
  struct lv_patch patch = {.at = 512, .length = 512, .bytes = old};
  struct lv_journal j = {.verb = LV_JOURNAL_RESIZE,
                         .length = 4096,
                         .old = {&patch, 1, 1, 512}};
  struct lv_folder beside;
  struct lv_file file = LV_FILE_INIT;
  int code = lv_file_open(&file, &f->env, LEAF, err);
  if (code == 0)
    code = lv_journal_write(&j, &f->env, &file, LEAF, true, &beside, err);
  if (code == 0) {
    unsigned at = atomic_exchange(&poor.at, 0);
    lv_folder_close(&beside, &f->env);
    CHECK_INT(lv_journal_remove(&j, &f->env, &file, LEAF, true, NULL, NULL),
              0);
    atomic_store(&poor.at, at);
  }
  lv_file_close(&file, &f->env);
  return code;
}

/* With its folder at hand it needs no memory. */
static int unnote(struct faulty *f, struct lvhd_error *err) {
  struct lv_journal j = {.verb = LV_JOURNAL_RESIZE};
  struct lv_folder beside = LV_FOLDER_INIT;
  struct lv_file file = LV_FILE_INIT;
  unsigned at = atomic_exchange(&poor.at, 0);
  int code = 0;
  CHECK_INT(lv_file_open(&file, &f->env, LEAF, NULL), 0);
  CHECK_INT(lv_folder_of(&beside, &f->env, "/d", NULL), 0);
  atomic_store(&poor.at, at);
  code = lv_journal_remove(&j, &f->env, &file, LEAF, true, &beside, NULL);
  CHECK_INT(code, 0);
  code = lv_journal_remove(&j, &f->env, &file, LEAF, true, NULL, err);
  lv_folder_close(&beside, &f->env);
  lv_file_close(&file, &f->env);
  return code;
}

/* ---- a warning in the result --------------------------------------------- */

static bool warns(const struct lvhd_info *info) {
  for (size_t i = 0; info && i < info->finding_count; i++)
    if (info->findings[i].reason == LV_R_PARENT_TIME)
      return true;
  return false;
}

/* Of a child whose parent was changed since: it says so, or it fails. */
static int convert(struct faulty *f, struct lvhd_error *err) {
  struct lvhd_engine_options opts = {.threads = 1, .system = &f->t.sys};
  struct lvhd_convert_options how = {.to = LVHD_DYNAMIC};
  lvhd_engine *engine = NULL;
  lvhd_task *task = NULL;
  unsigned at = 0;
  int code = lvhd_engine_new(&engine, &opts, err);
  if (code == 0)
    code = lvhd_convert(engine, LEAF, "/d/new.vhd", &how, &task, err);
  while (code == 0 && !lvhd_task_step(task, 250, NULL))
    ;
  if (code == 0 && lvhd_task_error(task) != NULL) {
    code = lvhd_task_error(task)->code;
    lv_fail(err, (enum lvhd_code)code, LV_R_NONE);
  } else if (code == 0 && !warns(lvhd_task_info(task))) {
    code = -1; /* nobody would know */
  }
  at = atomic_exchange(&poor.at, 0);
  lvhd_task_free(task);
  lvhd_engine_free(engine, false);
  if (mem_at(&f->mem, "/d/new.vhd"))
    CHECK_INT(f->mem.sys.unlinkat(&f->mem.sys, AT_FDCWD, "/d/new.vhd", 0), 0);
  mem_forget(&f->mem);
  mem_writable(&f->mem, &changes, 0);
  atomic_store(&poor.at, at);
  return code;
}

/* ---- the worlds -------------------------------------------------------- */

static void begin(struct faulty *f, unsigned seed) {
  memset(f, 0, sizeof *f);
  forge_seed(&f->mem, seed);
  faulty_begin(f);
  f->env.drives = NULL;
}

static int again(struct faulty *f, struct lvhd_error *err, attempt *once) {
  f->opened[0] = f->log[0] = '\0';
  return once(f, err);
}

#define AGAIN(name)                                                          \
  static int name##_again(struct faulty *f, struct lvhd_error *err) {        \
    return again(f, err, name);                                              \
  }
AGAIN(open_part)
AGAIN(open_whole)
AGAIN(open_given)
AGAIN(open_long)
AGAIN(unsound)
AGAIN(refuse)
AGAIN(note)
AGAIN(unnote)
AGAIN(no_disk)
AGAIN(convert)

int main(void) {
  static const struct lvhd_drive map[] = {{"D", "/none"}, {"C", "/x"}};
  struct lv_drives *drives = NULL;
  struct faulty f;
  begin(&f, 3);
  sweep(&f, open_whole_again, "chain", 40);
  sweep(&f, open_given_again, "given", 20);
  sweep(&f, refuse_again, "refused", 4);
  CHECK_INT(lv_drives_new(&drives, map, 2, NULL), 0);
  f.env.drives = drives;
  f.mem.outside = true;
  f.mem.files[2].length -= 1; /* something to find */
  sweep(&f, open_part_again, "chain on drives", 60);
  faulty_end(&f);
  begin(&f, 1);
  f.mem.files[0].segments[0].bytes[1536] = 0; /* the BAT's first entry */
  f.mem.files[0].segments[0].bytes[1537] = 0xFF;
  may_do_without = true; /* the error's path */
  sweep(&f, unsound_again, "a table that is not sound", 3);
  may_do_without = false;
  faulty_end(&f);
  begin(&f, 3);
  memset(f.mem.files[0].segments[0].bytes + 512 + 56, 0, 4);
  forge_repair(&f.mem.files[0]);
  sweep(&f, open_whole_again, "a parent of another time", 40);
  faulty_end(&f);
  begin(&f, 1);
  forge_add_note(&f.mem, &(struct forge_note){.verb = LV_JOURNAL_MERGE});
  sweep(&f, open_whole_again, "with the note of a merge", 8);
  faulty_end(&f);
  begin(&f, 1);
  forge_add_note(&f.mem, &(struct forge_note){.verb = LV_JOURNAL_RESIZE,
                                              .pieces = 2, .at = {0, 512}});
  sweep(&f, open_whole_again, "with a note", 10);
  faulty_end(&f);
  begin(&f, 1);
  f.mem.files[0].length = 1024;
  memset(f.mem.files[0].segments[0].bytes, 0, 1024);
  sweep(&f, no_disk_again, "no disk", 0);
  faulty_end(&f);
  begin(&f, 1);
  mem_writable(&f.mem, &changes, 0);
  faulty_chain(&f, 5);
  sweep(&f, open_long_again, "a long chain", 60);
  sweep(&f, note_again, "writing a note", 3);
  sweep(&f, unnote_again, "taking it away", 0);
  faulty_end(&f);
  memset(&f, 0, sizeof f);
  forge_large(&f.mem, 2);
  memset(f.mem.files[0].segments[0].bytes + 512 + 56, 0, 4);
  forge_repair(&f.mem.files[0]);
  faulty_begin(&f);
  mem_writable(&f.mem, &changes, 0);
  may_do_without = true;
  sweep(&f, convert_again, "converting", 40);
  lv_drives_free(drives);
  faulty_end(&f);
  return check_done();
}
