/* SPDX-License-Identifier: MIT
 *
 * What lvhd.h can be asked, each verb in a way or two, on the files of a world
 * (world.h) that test_alloc.c builds; results are told as text.  An `ask`
 * does all that its verb needs, to the end, and gives the first code that is
 * not 0.  Knows nothing of what goes wrong meanwhile.
 */
#ifndef LVHD_SPEC_VERBS_H
#define LVHD_SPEC_VERBS_H

#include <stdarg.h>

#include "check.h"
#include "lvhd.h"
#include "world.h"

#define MiB (1 << 20)
#define KiB (1 << 10)
#define DISK (4 * MiB)
#define BLOCK (512 * KiB)
#define TIME 1700000000

/* ---- what is told ------------------------------------------------------ */

/* Results as text, to be compared.  What an in-place verb tells differs where
 * it had come to its end before, and found no memory to tell of it: loosely
 * that is left out. */
static char told[32 * KiB], wanted[32 * KiB], roughly[32 * KiB];
static bool loosely;

static void tell(const char *format, ...)
  __attribute__((format(printf, 1, 2)));

static void tell(const char *format, ...) {
  size_t n = strlen(told);
  va_list list;
  va_start(list, format);
  vsnprintf(told + n, sizeof told - n, format, list);
  va_end(list);
}

static void tell_text(const char *key, const char *text) {
  if (text != NULL)
    tell(" %s=%s", key, text);
}

static void tell_error(const struct lvhd_error *err) {
  char text[1024];
  lvhd_error_text(err, text, sizeof text);
  tell(" error=%s %s %s", lvhd_code_name(err->code), text,
       err->path != NULL ? err->path : "?");
}

/* Eight bytes at a time: it is asked for megabytes. */
static uint64_t hash(uint64_t h, const void *bytes, size_t n) {
  const uint8_t *p = bytes;
  for (size_t i = 0; i < n; i += 8) {
    uint64_t word = n - i;
    memcpy(&word, p + i, n - i < 8 ? n - i : 8);
    h = (h ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    h ^= h >> 29;
  }
  return h;
}

static void tell_locators(const struct lvhd_info *info) {
  for (size_t i = 0; i < info->locator_count; i++) {
    const struct lvhd_locator *l = &info->locators[i];
    tell(" %s+%u raw=%zu/%" PRIx64, l->code, l->length, l->raw_length,
         hash(0, l->raw, l->raw_length));
    if (!loosely)
      tell("@%" PRIu64 "/%u", l->offset, l->space);
    tell_text("path", l->path);
  }
}

static void tell_info(const struct lvhd_info *info) {
  char uuid[37], parent[37];
  lvhd_uuid_text(info->uuid, uuid);
  lvhd_uuid_text(info->parent_uuid, parent);
  tell("%s: %d size %" PRIu64 " was %" PRIu64 " file %" PRIu64
       " blocks %u/%u/%u at %u %s %" PRId64 " %s %s %x %u,%u,%u %d%d%d%d",
       info->path, (int)info->type, info->size, info->original_size,
       info->file_size, info->block_size, info->blocks, info->blocks_used,
       info->alignment, uuid, info->timestamp, info->creator,
       info->creator_os, info->creator_version, info->cylinders, info->heads,
       info->sectors, info->saved_state, (int)info->footer, info->created,
       info->has_parent);
  if (info->has_parent)
    tell(" parent %s %" PRId64 " %d", parent, info->parent_timestamp,
         (int)info->parent_found);
  tell_text("parent", info->parent_path);
  tell_text("name", info->parent_name);
  tell_text("by", info->found_by);
  tell_locators(info);
  for (size_t i = 0; i < info->finding_count && !loosely; i++) {
    const struct lvhd_finding *f = &info->findings[i];
    tell(" %s %d %u %" PRIu64 " %" PRIu64 " %" PRIu64,
         lvhd_reason_name(f->reason), (int)f->severity, f->has, f->expected,
         f->actual, f->offset);
  }
  if (info->error != NULL)
    tell_error(info->error);
  tell("\n");
}

static void tell_infos(const lvhd_infos *infos) {
  for (size_t i = 0; i < lvhd_infos_count(infos); i++)
    tell_info(lvhd_infos_at(infos, i));
}

/* Files that were not there before. */
static void tell_new(const char *name, const struct stat *st, void *arg) {
  static uint8_t buf[DISK + MiB];
  size_t n = 0;
  (void)arg;
  if (world_find(name) != NULL)
    return;
  if (S_ISREG(st->st_mode))
    n = world_read(name, buf, sizeof buf);
  tell("new %s %o %zu %" PRIx64 "\n", name, st->st_mode, n,
       hash(0, buf, n));
}

/* ---- tasks ------------------------------------------------------------- */

static int copy_code(const struct lvhd_error *from, struct lvhd_error *err) {
  char text[1024];
  lvhd_error_text(from, text, sizeof text); /* whatever it lacks */
  err->code = from->code;
  err->reason = from->reason;
  err->errnum = from->errnum;
  err->syscall = from->syscall;
  return from->code;
}

/* What the call gave, to the end of the task. */
static int finish(lvhd_task *task, int code, struct lvhd_error *err) {
  if (code != 0) {
    CHECK(task == NULL);
    return code;
  }
  while (!lvhd_task_step(task, 250, NULL))
    ;
  if (lvhd_task_error(task) != NULL)
    code = copy_code(lvhd_task_error(task), err);
  else if (lvhd_task_info(task) != NULL)
    tell_info(lvhd_task_info(task));
  else if (lvhd_task_infos(task) != NULL)
    tell_infos(lvhd_task_infos(task));
  lvhd_task_free(task);
  return code;
}

/* ---- creating ---------------------------------------------------------- */

typedef int ask_fn(lvhd_engine *engine, struct lvhd_error *err);

static enum lvhd_sync sync_as = LVHD_SYNC_NONE;

/* Whatever differs from call to call is given. */
static struct lvhd_create_options given(void) {
  struct lvhd_create_options opts = {
    .has_uuid = true, .has_timestamp = true, .timestamp = TIME,
    .sync = sync_as};
  memset(opts.uuid, 0x41, sizeof opts.uuid);
  return opts;
}

static int fixed(lvhd_engine *engine, const char *name,
                 const struct lvhd_create_options *opts,
                 struct lvhd_error *err) {
  lvhd_task *task = NULL;
  int code = lvhd_create_fixed(engine, name, 3 * MiB, opts, &task, err);
  return finish(task, code, err);
}

static int dynamic(lvhd_engine *engine, const char *name,
                   const struct lvhd_create_options *opts,
                   struct lvhd_error *err) {
  lvhd_task *task = NULL;
  int code = lvhd_create_dynamic(engine, name, DISK, opts, &task, err);
  return finish(task, code, err);
}

static int child(lvhd_engine *engine, const char *name, const char *parent,
                 const struct lvhd_create_options *opts,
                 struct lvhd_error *err) {
  lvhd_task *task = NULL;
  int code =
    lvhd_create_differencing(engine, name, parent, opts, &task, err);
  return finish(task, code, err);
}

static int ask_fixed(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_create_options opts = given();
  return fixed(engine, at("new.vhd"), &opts, err);
}

static int ask_zeros(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_create_options opts = given();
  opts.allocate = LVHD_ZERO;
  return fixed(engine, at("deep/er/new.vhd"), &opts, err);
}

static int ask_dynamic(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_create_options opts = given();
  opts.has_block_size = true;
  opts.block_size = BLOCK;
  return dynamic(engine, at("deep/er/new.vhd"), &opts, err);
}

static int ask_formatted(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_create_options opts = given();
  opts.filesystem = LVHD_FAT16;
  opts.label = "data";
  opts.base = world.root;
  return dynamic(engine, "based/new.vhd", &opts, err);
}

static int ask_formatted_fixed(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_create_options opts = given();
  opts.filesystem = LVHD_FAT16;
  return fixed(engine, at("new.vhd"), &opts, err);
}

static int ask_kept(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_create_options opts = {.keep = true, .sync = sync_as};
  int code = dynamic(engine, at("base.vhd"), &opts, err);
  return code != 0 ? code
                   : child(engine, at("lone.vhd"), at("base.vhd"), &opts,
                           err);
}

static int ask_child(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_create_options opts = given();
  opts.windows_parent = "D:\\vms\\base.vhd";
  return child(engine, at("deep/new.vhd"), "../base.vhd", &opts, err);
}

static int ask_late(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_create_options opts = given();
  opts.preflight = LVHD_NO;
  return child(engine, at("new.vhd"), at("fixed.vhd"), &opts, err);
}

static int ask_windows_child(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_create_options opts = given();
  return child(engine, "C:\\Deep\\new.vhd", "..\\BASE.vhd", &opts, err);
}

static int ask_kept_windows(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_create_options opts = {.keep = true, .sync = sync_as};
  return dynamic(engine, "C:\\BASE.vhd", &opts, err);
}

/* Those of design 1.5 that name a second thing on the way. */
static int ask_refused(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_create_options opts = given();
  int code = child(engine, at("base.vhd"), at("fixed.vhd"), &opts, err);
  if (code != LVHD_E_ALREADY_EXISTS)
    return code;
  lvhd_error_clear(err);
  code = child(engine, at("new.vhd"), at("none.vhd"), &opts, err);
  if (code != LVHD_E_PATH_NOT_FOUND)
    return code;
  lvhd_error_clear(err);
  code = child(engine, at("new.vhd"), at("plain.raw"), &opts, err);
  return code == LVHD_VM_E_INVALID_HD_FILE ? 0 : code;
}

/* ---- many children ----------------------------------------------------- */

#define KIDS 5

/* Not only memory is short: an item may fail with any code, what cannot be
 * searched has no children, and the last flush of all may fail. */
static bool anything;

/* Each of them has a file, or an error, and never both. */
static void judge_items(const lvhd_task *task, const char *const *names) {
  for (size_t i = 0; i < lvhd_task_item_count(task); i++) {
    const struct lvhd_info *info = lvhd_task_item_info(task, i);
    const struct lvhd_error *why = lvhd_task_item_error(task, i);
    bool there = access(at(names[i]), F_OK) == 0;
    CHECK((info != NULL) == there);
    CHECK((why != NULL) == (info == NULL));
    if (info != NULL)
      tell_info(info);
    else if (why != NULL)
      CHECK(anything || why->code == LVHD_E_OUTOFMEMORY);
    unlink(at(names[i])); /* it may stay, as documented: judged here */
  }
}

static int many(lvhd_engine *engine, const char *const *names, size_t n,
                const char *before, const char *parent,
                struct lvhd_error *err) {
  static char images[KIDS][WORLD_PATH];
  struct lvhd_create_options opts = {.has_timestamp = true, .timestamp = TIME,
                                     .sync = sync_as};
  struct lvhd_child list[KIDS] = {{0}};
  lvhd_task *task = NULL;
  int code = 0;
  for (size_t i = 0; i < n; i++) {
    snprintf(images[i], WORLD_PATH, "%s%s", before, names[i]);
    list[i].image = images[i];
    list[i].has_uuid = true;
    memset(list[i].uuid, (int)(0x51 + i), sizeof list[i].uuid);
  }
  code = lvhd_create_children(engine, list, n, parent, &opts, &task, err);
  if (code != 0)
    return code;
  while (!lvhd_task_step(task, 250, NULL))
    ;
  if (lvhd_task_error(task) != NULL)
    code = copy_code(lvhd_task_error(task), err);
  if (code == 0)
    world_walk("", tell_new, NULL);
  judge_items(task, names);
  rmdir(at("a/b"));
  rmdir(at("a"));
  lvhd_task_free(task);
  return code;
}

static int ask_many(lvhd_engine *engine, struct lvhd_error *err) {
  static const char *const names[KIDS] = {"n1.vhd", "n2.vhd", "a/n3.vhd",
                                          "a/b/n4.vhd", "chain/n5.vhd"};
  return many(engine, names, KIDS, "", at("base.vhd"), err);
}

static int ask_many_windows(lvhd_engine *engine, struct lvhd_error *err) {
  static const char *const names[KIDS] = {"N1.vhd", "N2.vhd", "N3.vhd",
                                          "N4.vhd", "N5.vhd"};
  return many(engine, names, KIDS, "C:\\", "C:\\Base.vhd", err);
}

/* ---- converting -------------------------------------------------------- */

static int convert(lvhd_engine *engine, const char *from, const char *to,
                   struct lvhd_convert_options opts, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  int code = 0;
  opts.create = given();
  code = lvhd_convert(engine, from, to, &opts, &task, err);
  return finish(task, code, err);
}

static int ask_to_dynamic(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_convert_options opts = {.from_raw = true, .round = MiB};
  return convert(engine, at("plain.raw"), at("deep/new.vhd"), opts, err);
}

/* So much that what comes next is read while one piece is written. */
static int ask_much(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_convert_options opts = {.from_raw = true};
  return convert(engine, at("full.raw"), at("new.vhd"), opts, err);
}

static int ask_to_fixed(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_convert_options opts = {.to = LVHD_FIXED};
  return convert(engine, at("chain/leaf.vhd"), "new.vhd", opts, err);
}

/* Two parents have other times than their children say. */
static int ask_outdated(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_convert_options opts = {.to = LVHD_DYNAMIC};
  return convert(engine, at("late/leaf.vhd"), at("new.vhd"), opts, err);
}

static int ask_to_raw(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_convert_options opts = {.to = LVHD_RAW};
  return convert(engine, at("fixed.vhd"), at("new.raw"), opts, err);
}

static int ask_to_child(lvhd_engine *engine, struct lvhd_error *err) {
  const char *const parents[] = {world.root};
  struct lvhd_convert_options opts = {.to = LVHD_DIFFERENCING,
                                      .parent = at("chain/root.vhd")};
  opts.open.parents = parents;
  opts.open.parent_count = 1;
  opts.open.has_parents = true;
  return convert(engine, at("chain/leaf.vhd"), at("new.vhd"), opts, err);
}

/* ---- changing in place ------------------------------------------------- */

static const struct lvhd_open_options plain = {0};

static int ask_merge(lvhd_engine *engine, struct lvhd_error *err) {
  const char *const kids[] = {at("chain/kid.vhd")};
  struct lvhd_merge_options opts = {.children = kids, .child_count = 1};
  lvhd_task *task = NULL;
  int code = 0;
  opts.open.sync = sync_as;
  code = lvhd_merge(engine, at("chain/leaf.vhd"), &opts, &task, err);
  return finish(task, code, err);
}

static bool is_gone(const char *name) {
  return access(at(name), F_OK) != 0;
}

/* What hangs on the target was put there by a merge before. */
static int ask_merge_twice(lvhd_engine *engine, struct lvhd_error *err) {
  int code = ask_merge(engine, err);
  return code != 0 ? code : ask_merge(engine, err);
}

static int ask_merge_all(lvhd_engine *engine, struct lvhd_error *err) {
  const char *const kids[] = {at("chain/kid.vhd")};
  struct lvhd_merge_options opts = {.into = at("chain/root.vhd"),
                                    .children = kids, .child_count = 1,
                                    .remove = true};
  lvhd_task *task = NULL;
  int code = 0;
  opts.open.sync = sync_as;
  code = lvhd_merge(engine, at("chain/leaf.vhd"), &opts, &task, err);
  code = finish(task, code, err);
  CHECK(code == 0 || anything || !is_gone("chain/leaf.vhd"));
  return code;
}

typedef int verb_fn(lvhd_engine *engine, const char *path,
                    const struct lvhd_open_options *opts, lvhd_task **out,
                    struct lvhd_error *err);

static int change(lvhd_engine *engine, verb_fn *verb, const char *path,
                  struct lvhd_error *err) {
  const char *const search[] = {world.root};
  struct lvhd_open_options opts = plain;
  lvhd_task *task = NULL;
  int code = 0;
  opts.sync = sync_as;
  opts.children_in = search;
  opts.children_in_count = 1;
  opts.has_children_in = true;
  code = verb(engine, path, &opts, &task, err);
  return finish(task, code, err);
}

static int ask_compact(lvhd_engine *engine, struct lvhd_error *err) {
  return change(engine, lvhd_compact, at("holes.vhd"), err);
}

static int ask_compact_child(lvhd_engine *engine, struct lvhd_error *err) {
  return change(engine, lvhd_compact, at("chain/kid.vhd"), err);
}

static int ask_repair(lvhd_engine *engine, struct lvhd_error *err) {
  return change(engine, lvhd_repair, at("damaged.vhd"), err);
}

static int resize(lvhd_engine *engine, const char *path, int64_t size,
                  struct lvhd_error *err) {
  struct lvhd_open_options opts = {.sync = sync_as};
  lvhd_task *task = NULL;
  int code = lvhd_resize(engine, path, size, &opts, &task, err);
  return finish(task, code, err);
}

/* So far that the BAT grows over a block. */
static int ask_grow(lvhd_engine *engine, struct lvhd_error *err) {
  return resize(engine, at("holes.vhd"), INT64_C(3) << 30, err);
}

static int ask_shrink(lvhd_engine *engine, struct lvhd_error *err) {
  return resize(engine, at("holes.vhd"), 3 * MiB, err);
}

static int ask_grow_fixed(lvhd_engine *engine, struct lvhd_error *err) {
  return resize(engine, at("fixed.vhd"), 4 * MiB, err);
}

/* The note beside it is followed, and the work that it tells of undone. */
static int ask_noted(lvhd_engine *engine, struct lvhd_error *err) {
  lvhd_infos *infos = NULL;
  int code = lvhd_read_info(engine, at("noted.vhd"), &infos, err);
  lvhd_infos_free(infos);
  return code != 0 ? code : resize(engine, at("noted.vhd"), 4 * MiB, err);
}

static int relink(lvhd_engine *engine, const char *to,
                  struct lvhd_error *err) {
  struct lvhd_open_options opts = {.sync = sync_as,
                                   .windows_parent = "D:\\x\\base.vhd"};
  lvhd_task *task = NULL;
  int code = lvhd_relink(engine, at("lone.vhd"), to, &opts, &task, err);
  return finish(task, code, err);
}

static int ask_relink(lvhd_engine *engine, struct lvhd_error *err) {
  return relink(engine, at("moved/base.vhd"), err);
}

static int ask_relink_windows(lvhd_engine *engine, struct lvhd_error *err) {
  return relink(engine, "c:\\MOVED\\base.vhd", err);
}

/* ---- asking ------------------------------------------------------------ */

static int check(lvhd_engine *engine, const char *path, bool chain,
                 enum lvhd_profile profile, struct lvhd_error *err) {
  const char *const parents[] = {world.root};
  struct lvhd_check_options opts = {.chain = chain, .data = true,
                                    .profile = profile};
  lvhd_task *task = NULL;
  int code = 0;
  opts.open.parents = parents;
  opts.open.parent_count = 1;
  opts.open.has_parents = true;
  code = lvhd_check(engine, path, &opts, &task, err);
  return finish(task, code, err);
}

static int ask_check(lvhd_engine *engine, struct lvhd_error *err) {
  return check(engine, at("holes.vhd"), false, LVHD_PROFILE_AZURE, err);
}

static int ask_check_chain(lvhd_engine *engine, struct lvhd_error *err) {
  int code = check(engine, at("chain/kid.vhd"), true, LVHD_PROFILE_7ZIP, err);
  if (code == 0)
    code = check(engine, at("stale.vhd"), true, LVHD_PROFILE_VIRTUALBOX, err);
  return code != 0 ? code
                   : check(engine, at("moved/broken.vhd"), true,
                           LVHD_PROFILE_XENSERVER, err);
}

static int ask_check_damaged(lvhd_engine *engine, struct lvhd_error *err) {
  int code = check(engine, at("damaged.vhd"), false, 0, err);
  return code != 0 ? code : check(engine, at("ruined.vhd"), true, 0, err);
}

static int ask_find(lvhd_engine *engine, struct lvhd_error *err) {
  const char *const folders[] = {world.root, at("chain")};
  lvhd_task *task = NULL;
  int code = lvhd_find(engine, folders, 2, &task, err);
  return finish(task, code, err);
}

static int ask_children(lvhd_engine *engine, struct lvhd_error *err) {
  const char *const folders[] = {world.root};
  lvhd_task *task = NULL;
  int code = lvhd_children(engine, at("chain/leaf.vhd"), folders, 1, &task,
                           err);
  return finish(task, code, err);
}

static int ask_info(lvhd_engine *engine, struct lvhd_error *err) {
  static const char *const names[] = {"fixed.vhd", "chain/kid.vhd",
                                      "damaged.vhd"};
  int code = 0;
  for (unsigned i = 0; code == 0 && i < 3; i++) {
    lvhd_infos *infos = NULL;
    code = lvhd_read_info(engine, at(names[i]), &infos, err);
    CHECK((infos != NULL) == (code == 0));
    if (infos != NULL)
      tell_infos(infos);
    lvhd_infos_free(infos);
  }
  return code;
}

static int ask_chain(lvhd_engine *engine, struct lvhd_error *err) {
  static const char *const names[] = {"chain/kid.vhd", "moved/broken.vhd",
                                      "stale.vhd"};
  int code = 0;
  for (unsigned i = 0; code == 0 && i < 3; i++) {
    lvhd_infos *infos = NULL;
    code = lvhd_read_chain(engine, at(names[i]), NULL, &infos, err);
    CHECK((infos != NULL) == (code == 0));
    if (infos != NULL)
      tell_infos(infos);
    lvhd_infos_free(infos);
  }
  return code;
}

/* The parent is recorded in letters of another case. */
static int ask_cased(lvhd_engine *engine, struct lvhd_error *err) {
  lvhd_infos *infos = NULL;
  int code = lvhd_read_chain(engine, "C:\\cased\\kid.vhd", NULL, &infos, err);
  if (infos != NULL)
    tell_infos(infos);
  lvhd_infos_free(infos);
  return code;
}

/* Two names that differ in case alone: told if there is memory for them. */
static int ask_twin(lvhd_engine *engine, struct lvhd_error *err) {
  lvhd_infos *infos = NULL;
  int code = lvhd_read_info(engine, "C:\\cased\\twin.vhd", &infos, err);
  CHECK(code != 0 && infos == NULL);
  return code == LVHD_E_INVALID_NAME ? 0 : code;
}

static int tell_path(int code, char *text) {
  CHECK(code == 0 || text == NULL);
  if (code == 0)
    tell_text("path", text != NULL ? text : "none");
  lvhd_string_free(text);
  return code;
}

static int ask_paths(lvhd_engine *engine, struct lvhd_error *err) {
  char *text = NULL;
  int code = lvhd_host_path(engine, "C:\\CHAIN\\Leaf.vhd", &text, err);
  if (tell_path(code, text) != 0)
    return code;
  code = lvhd_windows_path(engine, at("chain/none.vhd"), &text, err);
  if (tell_path(code, text) != 0)
    return code;
  code = lvhd_check_path(engine, "C:\\a\\..\\b.vhd", 0, err);
  return code != 0 ? code : lvhd_check_path(engine, "/a/b.vhd", 0, err);
}

/* ---- open disks -------------------------------------------------------- */

/* Hashes all of it, and who holds what. */
static int read_all(lvhd_disk *disk, struct lvhd_error *err) {
  static uint8_t buf[64 * KiB];
  uint64_t size = lvhd_disk_size(disk), sum = 0;
  int code = 0;
  for (uint64_t off = 0; code == 0 && off < size;) {
    size_t got = 0;
    code = lvhd_disk_read(disk, buf, sizeof buf, off, &got, err);
    sum = hash(sum, buf, code == 0 ? got : 0);
    off += got;
  }
  for (uint64_t off = 0; code == 0 && off < size;) {
    struct lvhd_extent extent = {0};
    code = lvhd_disk_extent(disk, off, size, &extent, err);
    tell(" %u+%" PRIu64, extent.layer, extent.length);
    off += extent.length;
  }
  tell(" sum %" PRIx64 "\n", sum);
  return code;
}

static int read_disk(lvhd_engine *engine, const char *const *paths, size_t n,
                     struct lvhd_error *err) {
  lvhd_disk *disk = NULL;
  lvhd_infos *infos = NULL;
  int code = lvhd_disk_open(engine, paths, n, NULL, &disk, err);
  CHECK((disk != NULL) == (code == 0));
  if (code == 0)
    code = read_all(disk, err);
  if (code == 0)
    code = lvhd_disk_chain(disk, &infos, err);
  if (infos != NULL)
    tell_infos(infos);
  lvhd_infos_free(infos);
  if (code == 0)
    code = lvhd_disk_finish(disk, err);
  lvhd_disk_close(disk);
  return code;
}

static int ask_read(lvhd_engine *engine, struct lvhd_error *err) {
  const char *const path[] = {at("chain/kid.vhd")};
  return read_disk(engine, path, 1, err);
}

static int ask_read_given(lvhd_engine *engine, struct lvhd_error *err) {
  const char *const paths[] = {at("lone.vhd"), at("moved/base.vhd")};
  return read_disk(engine, paths, 2, err);
}

/* What a write may change: the same for all disks. */
static const struct range {
  uint64_t offset;
  size_t n;
} ranges[] = {{700, 100}, {BLOCK * 5 - 3000, 9000}, {BLOCK * 2, 4096}};
#define RANGES (sizeof ranges / sizeof ranges[0])

static int write_disk(lvhd_engine *engine, const char *path,
                      struct lvhd_error *err) {
  static uint8_t bytes[9000];
  struct lvhd_open_options opts = {.write = true, .sync = sync_as};
  lvhd_disk *disk = NULL;
  int code = lvhd_disk_open(engine, &path, 1, &opts, &disk, err);
  memset(bytes, 0xEE, sizeof bytes);
  for (size_t i = 0; code == 0 && i < RANGES; i++) {
    code =
      lvhd_disk_write(disk, bytes, ranges[i].n, ranges[i].offset, err);
    if (code == 0 && i == 1)
      code = lvhd_disk_flush(disk, err);
  }
  if (code == 0)
    code = read_all(disk, err);
  if (code == 0)
    code = lvhd_disk_finish(disk, err);
  lvhd_disk_close(disk);
  return code;
}

static int ask_write(lvhd_engine *engine, struct lvhd_error *err) {
  return write_disk(engine, at("holes.vhd"), err);
}

static int ask_write_child(lvhd_engine *engine, struct lvhd_error *err) {
  return write_disk(engine, at("chain/kid.vhd"), err);
}

/* Others hang on it; which, is told if there is memory for that. */
static int ask_others(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_open_options opts = {.write = true};
  const char *path = at("base.vhd");
  lvhd_disk *disk = NULL;
  int code = lvhd_disk_open(engine, &path, 1, &opts, &disk, err);
  CHECK(anything || code != 0);
  CHECK((disk == NULL) == (code != 0));
  lvhd_disk_close(disk);
  return code == LVHD_E_SHARING_VIOLATION ? 0 : code;
}

/* After a flush that failed, each write fails with the same code. */
static int ask_unflushed(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_open_options opts = {.write = true, .sync = LVHD_SYNC_FULL};
  const char *path = at("holes.vhd");
  lvhd_disk *disk = NULL;
  int code = lvhd_disk_open(engine, &path, 1, &opts, &disk, err);
  if (code == 0)
    code = lvhd_disk_write(disk, "x", 1, ranges[0].offset, err);
  for (unsigned i = 0; code == 0 && i < 3; i++) {
    code = i == 1 ? lvhd_disk_write(disk, "y", 1, ranges[0].offset, err)
                  : lvhd_disk_flush(disk, err);
    if (code != LVHD_DISP_E_EXCEPTION)
      break;
    lvhd_error_clear(err);
    code = 0;
  }
  lvhd_disk_close(disk);
  return code;
}

/* ---- engines, and what an event loop asks ------------------------------ */

static struct lvhd_drive drives[] = {{"C", world.root},
                                     {"\\\\nas\\golden", "/"}};

static int ask_engine(lvhd_engine *engine, struct lvhd_error *err) {
  const char *const folders[] = {"/golden", world.root};
  struct lvhd_engine_options opts = {
    .base = "/base", .parents = folders, .parent_count = 2,
    .children_in = folders, .children_in_count = 2, .drives = drives,
    .drive_count = 2, .threads = 3};
  struct lvhd_engine_counts counts;
  lvhd_engine *own = NULL;
  int code = lvhd_engine_new(&own, &opts, err);
  (void)engine;
  if (code != 0)
    return code;
  lvhd_engine_counts(own, &counts);
  CHECK_INT(counts.tasks + counts.threads, 0);
  lvhd_engine_close(own, false);
  lvhd_engine_free(own, true);
  return 0;
}

/* As long as none is live, or the descriptor says otherwise. */
static unsigned take_ended(lvhd_engine *engine) {
  lvhd_task *task = NULL;
  unsigned n = 0;
  while (!lvhd_engine_ended_step(engine, 250))
    ;
  while ((task = lvhd_engine_ended(engine)) != NULL) {
    lvhd_task_free(task);
    n++;
  }
  return n;
}

static int ask_ended(lvhd_engine *engine, struct lvhd_error *err) {
  const char *const names[] = {"base.vhd", "fixed.vhd", "none.vhd"};
  struct lvhd_check_options opts = {0};
  unsigned started = 0, ended = 0;
  int code = 0;
  if (lvhd_engine_fd(engine, err) < 0)
    return err->code;
  for (unsigned i = 0; i < 3 && code == 0; i++) {
    lvhd_task *task = NULL;
    code = lvhd_check(engine, at(names[i]), &opts, &task, err);
    started += code == 0;
    if (code == 0 && lvhd_task_fd(task, err) < 0)
      code = err->code;
    lvhd_task_free(task); /* the engine has it */
  }
  while (!lvhd_engine_idle(engine, 250))
    ended += take_ended(engine);
  ended += take_ended(engine);
  CHECK_INT(ended, started);
  if (code == 0)
    tell("ended %u", ended);
  return code;
}

static int ask_waiters(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_check_options opts = {0};
  lvhd_waiter *waiters[3] = {NULL, NULL, NULL};
  lvhd_task *task = NULL;
  int code = 0;
  for (unsigned i = 0; code == 0 && i < 3; i++) {
    code = lvhd_waiter_new(engine, &waiters[i], err);
    CHECK((waiters[i] != NULL) == (code == 0));
    if (code == 0)
      CHECK(lvhd_waiter_fd(waiters[i]) > 2);
  }
  if (code == 0)
    code = lvhd_check(engine, at("base.vhd"), &opts, &task, err);
  if (code == 0) {
    (void)lvhd_waiter_attach(waiters[0], task);
    (void)lvhd_waiter_attach(waiters[1], NULL);
    code = finish(task, code, err);
    lvhd_waiter_detach(waiters[0]);
  }
  for (unsigned i = 0; i < 3; i++)
    lvhd_waiter_free(waiters[i]);
  return code;
}

/* A handle that goes before its task has failed. */
static int ask_lost(lvhd_engine *engine, struct lvhd_error *err) {
  struct lvhd_create_options opts = given();
  lvhd_task *task = NULL;
  int code = 0;
  opts.preflight = LVHD_NO;
  code = lvhd_create_differencing(engine, at("new.vhd"), at("none.vhd"),
                                  &opts, &task, err);
  if (code != 0)
    return code;
  if (!lvhd_task_leave(task)) {
    lvhd_task_free(task);
    while (!lvhd_engine_idle(engine, 250))
      ;
    task = lvhd_engine_lost(engine);
  }
  if (CHECK(task != NULL)) {
    code = copy_code(lvhd_task_error(task), err);
    lvhd_task_free(task);
  }
  return code == LVHD_E_PATH_NOT_FOUND ? 0 : code;
}

/* ---- all of them ------------------------------------------------------- */

enum {
  DRIVES = 1,   /* on an engine that maps C: onto the world */
  MANY = 2,
  WRITES = 4,   /* the ranges of the subject may change */
  MERGES = 8,
  RESIZES = 16,
  POOR_SYS = 32, /* no /proc, no openat2, and no flush of data */
  NO_TASK = 64,
  THREADS = 128,
  TELLS = 256 /* what could not be read is told of, or left out */
};

static const struct verb {
  const char *name;
  ask_fn *ask;
  const char *subject; /* the disk that may change, and reads as before */
  unsigned flags;
} verbs[] = {
  {"engine", ask_engine, NULL, NO_TASK},
  {"create_fixed", ask_fixed, NULL, 0},
  {"create_fixed, zeros", ask_zeros, NULL, 0},
  {"create_fixed, fat16", ask_formatted_fixed, NULL, 0},
  {"create_dynamic", ask_dynamic, NULL, 0},
  {"create_dynamic, fat16", ask_formatted, NULL, 0},
  {"creations that keep", ask_kept, NULL, 0},
  {"create_differencing", ask_child, NULL, 0},
  {"create_differencing, no preflight", ask_late, NULL, 0},
  {"create_differencing, drives", ask_windows_child, NULL, DRIVES},
  {"a creation that keeps, drives", ask_kept_windows, NULL, DRIVES},
  {"creations refused", ask_refused, NULL, NO_TASK},
  {"create_children", ask_many, NULL, MANY},
  {"create_children, drives", ask_many_windows, NULL, DRIVES | MANY},
  {"convert to dynamic", ask_to_dynamic, NULL, 0},
  {"convert, threads", ask_much, NULL, THREADS},
  {"convert to fixed", ask_to_fixed, NULL, 0},
  {"convert, changed parents", ask_outdated, NULL, 0},
  {"convert to raw", ask_to_raw, NULL, 0},
  {"convert to differencing", ask_to_child, NULL, 0},
  {"merge", ask_merge, "chain/kid.vhd", MERGES},
  {"merge, again", ask_merge_twice, "chain/kid.vhd", MERGES},
  {"merge, delete", ask_merge_all, "chain/kid.vhd", MERGES},
  {"compact", ask_compact, "holes.vhd", 0},
  {"compact, differencing", ask_compact_child, "chain/kid.vhd", 0},
  {"resize, larger", ask_grow, "holes.vhd", RESIZES},
  {"resize, smaller", ask_shrink, "holes.vhd", RESIZES},
  {"resize, fixed", ask_grow_fixed, "fixed.vhd", RESIZES},
  {"resize, a note before", ask_noted, "noted.vhd", RESIZES},
  {"relink", ask_relink, "lone.vhd", 0},
  {"relink, drives", ask_relink_windows, "lone.vhd", DRIVES},
  {"repair", ask_repair, "damaged.vhd", 0},
  {"check", ask_check, NULL, 0},
  {"check, chain", ask_check_chain, NULL, TELLS},
  {"check, damaged", ask_check_damaged, NULL, 0},
  {"find", ask_find, NULL, TELLS},
  {"children", ask_children, NULL, TELLS},
  {"info", ask_info, NULL, NO_TASK},
  {"info, no /proc", ask_info, NULL, POOR_SYS | NO_TASK},
  {"chain", ask_chain, NULL, NO_TASK | TELLS},
  {"chain, drives", ask_cased, NULL, DRIVES | NO_TASK | TELLS},
  {"info, ambiguous", ask_twin, NULL, DRIVES | NO_TASK},
  {"paths", ask_paths, NULL, DRIVES | NO_TASK},
  {"open, read", ask_read, NULL, NO_TASK},
  {"open, read, given", ask_read_given, NULL, NO_TASK},
  {"open, write", ask_write, "holes.vhd", WRITES | NO_TASK},
  {"open, write, differencing", ask_write_child, "chain/kid.vhd",
   WRITES | NO_TASK},
  {"open, other children", ask_others, NULL, NO_TASK},
  {"open, write, no flush", ask_unflushed, "holes.vhd",
   WRITES | POOR_SYS | NO_TASK},
  {"ended", ask_ended, NULL, 0},
  {"waiters", ask_waiters, NULL, 0},
  {"lost", ask_lost, NULL, 0},
};
#define VERBS (sizeof verbs / sizeof verbs[0])

#endif
