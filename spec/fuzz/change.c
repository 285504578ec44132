/* SPDX-License-Identifier: MIT
 *
 * The verbs that write, done to a leaf whose bytes are a stranger's, and what
 * must hold.  Knows lvhd's public functions and the folder in memory.
 *
 *   1 what a disk reads   2 the verbs   3 what they leave   4 one input
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examine.h"
#include "forge.h"

#define SAMPLES 40u
#define PIECE 4096u
#define EXTENTS 48u          /* looked at, for places to sample */
#define READ_MAX (16u << 20) /* bytes that a verb may read; then EIO */
#define WHAT EXAM_CHANGE
#define SIZE_MAX_READ (UINT64_C(1) << 30) /* of a disk that is read through   \
                                           */
#define NEW "/d/new.vhd"

const char *const change_names[CHANGE_VERBS] = {
    "write",      "write, closed", "to dynamic",   "to fixed",
    "to raw",     "to child",      "merge",        "merge away",
    "merge into", "compact",       "grow",         "shrink",
    "repair",     "relink",        "relink below", "create"};

/* ---- 1 what a disk reads --------------------------------------------- */

struct content {
  int open;
  uint64_t size;
  size_t count;
  uint64_t at[SAMPLES];
  int codes[SAMPLES];            /* of reading; -1: nobody knows any more */
  bool written[SAMPLES];         /* and not flushed yet */
  uint8_t bytes[SAMPLES][PIECE]; /* zeros behind the end of the disk */
};

struct change_work {
  struct mem_changes changes;
  struct content before, after;
  struct exam *exam;
  lvhd_engine *engine;
  struct lvhd_open_options opts;
  enum change_verb verb;
  unsigned chain;       /* files of the chain, a bit each */
  int order[MEM_DISKS]; /* which they are, leaf first */
  size_t depth;
  bool done;    /* the verb succeeded */
  int64_t size; /* that was asked for */
};

struct change_work *change_work_new(void) {
  return calloc(1, sizeof(struct change_work));
}

void change_work_free(struct change_work *work) {
  free(work);
}

struct mem_changes *exam_changes(struct exam *exam) {
  return &exam->work->changes;
}

static void add_place(struct content *c, uint64_t at) {
  at -= at % 512;
  for (size_t i = 0; i < c->count; i++)
    if (c->at[i] == at)
      return;
  if (c->count < SAMPLES && at < c->size)
    c->at[c->count++] = at;
}

/* The ends, the middle, and where something is allocated. */
static void choose(struct content *c, lvhd_disk *disk) {
  uint64_t at = 0;
  c->count = 0;
  add_place(c, 0);
  add_place(c, c->size > PIECE ? c->size - PIECE : 0);
  add_place(c, c->size / 2);
  for (unsigned i = 0; i < EXTENTS && at < c->size; i++) {
    struct lvhd_extent e = {0};
    if (lvhd_disk_extent(disk, at, c->size, &e, NULL) != 0)
      return;
    if (e.layer > 0) {
      add_place(c, e.offset);
      add_place(c, e.offset + e.length - 512);
    }
    at += e.length;
  }
}

static void sample(struct content *c, lvhd_disk *disk) {
  for (size_t i = 0; i < c->count; i++) {
    size_t got = 0;
    memset(c->bytes[i], 0, PIECE);
    c->codes[i] =
        lvhd_disk_read(disk, c->bytes[i], PIECE, c->at[i], &got, NULL);
    if (c->codes[i] != 0)
      memset(c->bytes[i], 0, PIECE);
  }
}

/* At the places of `as`, or, where that is NULL, at its own. */
static void take(struct change_work *w, struct content *c, const char *path,
                 const struct content *as) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lvhd_open_options opts = w->opts;
  lvhd_disk *disk = NULL;
  opts.force = true; /* a merge that is pending is read too */
  c->size = 0;
  c->count = 0;
  memset(c->written, 0, sizeof c->written);
  c->open = lvhd_disk_open(w->engine, &path, 1, &opts, &disk, &err);
  if (c->open != 0) {
    exam_error(w->exam, "open", c->open, &err, WHAT);
    lvhd_error_clear(&err);
    return;
  }
  c->size = lvhd_disk_size(disk);
  if (as != NULL) {
    memcpy(c->at, as->at, sizeof c->at);
    c->count = as->count;
  } else {
    choose(c, disk);
  }
  sample(c, disk);
  lvhd_disk_close(disk);
}

/* What was read before can be read, and is the same. */
static void hold_same(struct change_work *w, const struct content *before,
                      const struct content *after, const char *what) {
  const char *verb = change_names[w->verb];
  if (before->open != 0)
    return;
  if (after->open != 0) {
    exam_wrong(w->exam, "%s: %s: it opened, and now %s", verb, what,
               lvhd_code_name(after->open));
    return;
  }
  for (size_t i = 0; i < before->count; i++) {
    uint64_t left =
        after->size > before->at[i] ? after->size - before->at[i] : 0;
    size_t n = left < PIECE ? (size_t)left : PIECE;
    if (before->codes[i] != 0 || n == 0)
      continue;
    if (after->codes[i] != 0)
      exam_wrong(w->exam, "%s: %s: %" PRIu64 " was read, and now %s", verb,
                 what, before->at[i], lvhd_code_name(after->codes[i]));
    else if (memcmp(before->bytes[i], after->bytes[i], n) != 0)
      exam_wrong(w->exam, "%s: %s: another content at %" PRIu64, verb, what,
                 before->at[i]);
  }
}

/* ---- 2 the verbs ----------------------------------------------------- */

static void finish(struct change_work *w, int code, lvhd_task *task,
                   struct lvhd_error *err) {
  const struct lvhd_error *failed = NULL;
  unsigned what = WHAT;
  while (code == 0 && !lvhd_task_step(task, 1000, NULL))
    ;
  failed = code != 0 ? err : lvhd_task_error(task);
  if (w->exam->mem.limited)
    what |= EXAM_CUT;
  w->done = failed == NULL;
  w->exam->change = failed ? failed->code : 0;
  if (failed && !(w->verb == CHANGE_MERGE_INTO &&
                  failed->code == LVHD_E_INVALIDARG)) /* no ancestor */
    exam_error(w->exam, change_names[w->verb], failed->code, failed, what);
  lvhd_error_clear(err);
  lvhd_task_free(task);
}

/* What is written is what is to be read from now on. */
static void expect(struct content *c, uint64_t at, const uint8_t *bytes,
                   size_t n, bool known) {
  for (size_t i = 0; i < c->count; i++) {
    uint64_t from = at > c->at[i] ? at : c->at[i];
    uint64_t to = at + n < c->at[i] + PIECE ? at + n : c->at[i] + PIECE;
    if (from >= to)
      continue;
    if (!known)
      c->codes[i] = -1;
    c->written[i] = true;
    memcpy(c->bytes[i] + (from - c->at[i]), bytes + (from - at),
           (size_t)(to - from));
  }
}

static int write_piece(struct change_work *w, lvhd_disk *disk, uint64_t at,
                       size_t n, uint8_t value) {
  static const size_t most = 70000;
  uint8_t *bytes = w->exam->buf;
  uint8_t *back = bytes + most;
  size_t got = 0;
  int code = 0;
  n = n < most ? n : most;
  if (at >= w->before.size)
    return 0;
  n = w->before.size - at < n ? (size_t)(w->before.size - at) : n;
  memset(bytes, value, n);
  code = lvhd_disk_write(disk, bytes, n, at, NULL);
  expect(&w->before, at, bytes, n, code == 0);
  if (code == 0 &&
      (lvhd_disk_read(disk, back, n, at, &got, NULL) != 0 || got != n ||
       memcmp(bytes, back, n) != 0) &&
      !w->exam->mem.limited)
    exam_wrong(w->exam, "write: %zu bytes at %" PRIu64 " cannot be read back",
               n, at);
  return code;
}

/* What a flush that failed has lost, nobody knows. */
static void forget(struct content *c, bool flushed) {
  for (size_t i = 0; i < c->count; i++) {
    if (c->written[i] && !flushed)
      c->codes[i] = -1;
    c->written[i] = false;
  }
}

static int write_all(struct change_work *w, lvhd_disk *disk,
                     struct lvhd_error *err) {
  struct content *c = &w->before;
  int code = write_piece(w, disk, 3, 1000, 0xA1);
  for (size_t i = 0; code == 0 && i < c->count; i += 3)
    code = write_piece(w, disk, c->at[i] + 512 * (i % 5), 512, 0xB2);
  if (code == 0)
    code = lvhd_disk_flush(disk, err);
  forget(c, code == 0);
  if (code == 0)
    code = write_piece(w, disk, c->size / 2, 70000, 0);
  if (code == 0)
    code = write_piece(w, disk, c->size - 512, 512, 0xC3);
  if (code == 0 && w->verb == CHANGE_WRITE)
    code = lvhd_disk_finish(disk, err);
  return code;
}

static void do_write(struct change_work *w) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lvhd_open_options opts = w->opts;
  lvhd_disk *disk = NULL;
  int code = 0;
  opts.write = true;
  code = lvhd_disk_open(w->engine, mem_paths, 1, &opts, &disk, &err);
  if (code != 0) {
    finish(w, code, NULL, &err);
    return;
  }
  if (w->before.open != 0)
    exam_wrong(w->exam, "write: it opens only for writing");
  else
    code = write_all(w, disk, &err);
  lvhd_disk_close(disk);
  lvhd_error_clear(&err);
  forget(&w->before, code == 0 && !w->changes.full);
  w->done = code == 0;
  w->exam->change = code;
}

static void do_convert(struct change_work *w) {
  static const enum lvhd_type types[] = {LVHD_DYNAMIC, LVHD_FIXED, LVHD_RAW,
                                         LVHD_DIFFERENCING};
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lvhd_convert_options opts = {.open = w->opts};
  lvhd_task *task = NULL;
  int code = 0;
  opts.to = types[w->verb - CHANGE_TO_DYNAMIC];
  opts.round = opts.to == LVHD_RAW ? 0 : 4 << 20;
  if (opts.to == LVHD_DIFFERENCING) {
    opts.round = 0;
    opts.parent = w->depth > 1 ? mem_paths[w->order[1]] : mem_paths[1];
  }
  code = lvhd_convert(w->engine, mem_paths[0], NEW, &opts, &task, &err);
  finish(w, code, task, &err);
}

static void do_merge(struct change_work *w) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lvhd_merge_options opts = {.open = w->opts};
  lvhd_task *task = NULL;
  int code = 0;
  opts.remove = w->verb == CHANGE_MERGE_REMOVE;
  if (w->verb == CHANGE_MERGE_INTO)
    opts.into = mem_paths[w->depth > 1 ? w->order[w->depth - 1] : 3];
  code = lvhd_merge(w->engine, mem_paths[0], &opts, &task, &err);
  finish(w, code, task, &err);
}

static void do_resize(struct change_work *w) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_task *task = NULL;
  uint64_t size = w->before.size - w->before.size % 1024;
  int code = 0;
  w->size = w->verb == CHANGE_GROW ? (int64_t)(size % ((uint64_t)1 << 41)) * 2
                                   : (int64_t)(size / 2);
  w->size = w->size < 3 << 20 ? 3 << 20 : w->size;
  code = lvhd_resize(w->engine, mem_paths[0], w->size, &w->opts, &task, &err);
  finish(w, code, task, &err);
}

/* The family of the leaf: whatever the files are, it can be told. */
static void look_for_children(struct change_work *w) {
  static const char *const folders[] = {"/d"};
  struct lvhd_error err = LVHD_ERROR_INIT;
  for (unsigned i = 0; i < 2; i++) {
    lvhd_task *task = NULL;
    const struct lvhd_error *failed = NULL;
    int code = i == 0 ? lvhd_find(w->engine, folders, 1, &task, &err)
                      : lvhd_children(w->engine, mem_paths[0], folders, 1,
                                      &task, &err);
    while (code == 0 && !lvhd_task_step(task, 1000, NULL))
      ;
    failed = code != 0 ? &err : lvhd_task_error(task);
    if (failed)
      exam_error(w->exam, "find", failed->code, failed,
                 WHAT | (w->exam->mem.limited ? EXAM_CUT : 0u));
    lvhd_error_clear(&err);
    lvhd_task_free(task);
  }
}

static void do_create(struct change_work *w) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_task *task = NULL;
  int code = 0;
  look_for_children(w);
  code = lvhd_create_differencing(w->engine, NEW, mem_paths[0], NULL, &task,
                                  &err);
  finish(w, code, task, &err);
}

static void do_plain(struct change_work *w) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_task *task = NULL;
  int code = 0;
  if (w->verb == CHANGE_COMPACT)
    code = lvhd_compact(w->engine, mem_paths[0], &w->opts, &task, &err);
  else if (w->verb == CHANGE_REPAIR)
    code = lvhd_repair(w->engine, mem_paths[0], &w->opts, &task, &err);
  else
    code = lvhd_relink(w->engine, mem_paths[0],
                       mem_paths[w->verb == CHANGE_RELINK ? 1 : 2], &w->opts,
                       &task, &err);
  finish(w, code, task, &err);
}

static void do_verb(struct change_work *w) {
  switch (w->verb) {
  case CHANGE_WRITE:
  case CHANGE_WRITE_AWAY:
    do_write(w);
    break;
  case CHANGE_TO_DYNAMIC:
  case CHANGE_TO_FIXED:
  case CHANGE_TO_RAW:
  case CHANGE_TO_CHILD:
    do_convert(w);
    break;
  case CHANGE_MERGE:
  case CHANGE_MERGE_REMOVE:
  case CHANGE_MERGE_INTO:
    do_merge(w);
    break;
  case CHANGE_GROW:
  case CHANGE_SHRINK:
    do_resize(w);
    break;
  case CHANGE_CREATE:
    do_create(w);
    break;
  case CHANGE_COMPACT:
  case CHANGE_REPAIR:
  case CHANGE_RELINK:
  case CHANGE_RELINK_BELOW:
  case CHANGE_VERBS:
    do_plain(w);
    break;
  }
}

/* ---- 3 what they leave ----------------------------------------------- */

static bool makes_file(const struct change_work *w) {
  return (w->verb >= CHANGE_TO_DYNAMIC && w->verb <= CHANGE_TO_CHILD) ||
         w->verb == CHANGE_CREATE;
}

static bool is_merge(const struct change_work *w) {
  return w->verb >= CHANGE_MERGE && w->verb <= CHANGE_MERGE_INTO;
}

static bool is_relink(const struct change_work *w) {
  return w->verb == CHANGE_RELINK || w->verb == CHANGE_RELINK_BELOW;
}

/* Files that the verb may write, a bit each: the leaf and its note; of a
 * merge what lies on the way to the target too. */
static unsigned writable(const struct change_work *w) {
  if (makes_file(w))
    return 0;
  if (w->verb == CHANGE_MERGE_INTO)
    return w->chain | 1u << MEM_NOTE;
  if (is_merge(w) && w->depth > 1)
    return 1u | 1u << w->order[1] | 1u << MEM_NOTE;
  return 1u | 1u << MEM_NOTE;
}

static void hold_files(struct change_work *w) {
  const struct mem *mem = &w->exam->mem;
  const char *verb = change_names[w->verb];
  bool excused = mem->changes->full || mem->limited;
  for (unsigned i = 0; i < mem->count; i++)
    if ((writable(w) >> i & 1) == 0 && !mem_unchanged(mem, i))
      exam_wrong(w->exam, "%s: %s was changed", verb,
                 i == MEM_NOTE ? "the note" : mem_paths[i]);
  for (size_t i = 0; i < MEM_ADDED; i++) {
    const char *path = mem_made(mem, i);
    if (path == NULL || (w->done && makes_file(w) && strcmp(path, NEW) == 0))
      continue;
    if (excused && strstr(path, ".lvhd-journal") != NULL && !w->done)
      continue; /* what could not be undone stays noted */
    exam_wrong(w->exam, "%s: %s is left", verb, path);
  }
  if (w->done && makes_file(w) && mem_at(mem, NEW) == NULL)
    exam_wrong(w->exam, "%s: done, and no file", verb);
}

static void hold_raw(struct change_work *w) {
  const struct mem_file *file = mem_at(&w->exam->mem, NEW);
  struct content *c = &w->after;
  c->open = 0;
  c->size = file == NULL ? 0 : file->length;
  c->count = w->before.count;
  for (size_t i = 0; i < c->count; i++) {
    uint64_t at = w->before.at[i];
    uint64_t n = c->size < at ? 0 : c->size - at;
    memset(c->bytes[i], 0, PIECE);
    c->codes[i] = 0;
    if (file != NULL && n > 0)
      mem_peek(file, at, c->bytes[i], n < PIECE ? (size_t)n : PIECE);
  }
  if (c->size != w->before.size)
    exam_wrong(w->exam, "to raw: another size");
  hold_same(w, &w->before, c, "the new file");
}

/* What was made reads as its source, and nobody finds anything wrong. */
static void hold_made(struct change_work *w) {
  int errors = 0;
  if (w->verb == CHANGE_TO_RAW) {
    hold_raw(w);
    return;
  }
  take(w, &w->after, NEW, &w->before);
  hold_same(w, &w->before, &w->after, "the new file");
  if (w->verb == CHANGE_CREATE || w->verb == CHANGE_TO_CHILD)
    return; /* its parents may be as they are */
  errors = exam_check_errors(w->exam, w->engine, NEW, &w->opts, true);
  if (errors != 0)
    exam_wrong(w->exam, "%s: %d errors in the new file (%s)",
               change_names[w->verb], errors,
               errors < 0 ? "" : lvhd_reason_name(w->exam->first_error));
}

/* The target reads as the child did. */
static void hold_merged(struct change_work *w) {
  const char *target =
      mem_paths[w->order[w->verb == CHANGE_MERGE_INTO ? w->depth - 1 : 1]];
  take(w, &w->after, target, &w->before);
  hold_same(w, &w->before, &w->after, "the target");
  if (w->verb == CHANGE_MERGE_REMOVE && !w->exam->mem.changes->gone[0])
    exam_wrong(w->exam, "merge away: the child is still there");
}

static void hold_size(struct change_work *w) {
  uint64_t size = w->before.size;
  if (w->done && (w->verb == CHANGE_GROW || w->verb == CHANGE_SHRINK))
    size = (uint64_t)w->size;
  if (w->before.open == 0 && w->after.open == 0 && w->after.size != size)
    exam_wrong(w->exam, "%s: the size is %" PRIu64, change_names[w->verb],
               w->after.size);
}

/* Whether repair may set this byte: of the footers, or behind the BAT. */
static bool may_mend(const struct mem_file *file, uint64_t old_length,
                     uint64_t at) {
  uint64_t header = 0;
  uint64_t table = 0;
  if (at + 512 >= old_length || at + 512 >= file->length)
    return true;
  if (forge_get(file, file->length - 512 + 60, 4) == 2 ||
      !forge_header(file, &header))
    return false;
  table =
      forge_get(file, header + 16, 8) + 4 * forge_get(file, header + 28, 4);
  return at < 512 || (at >= table && at < (table + 511) / 512 * 512);
}

/* Repair guesses nothing: all other bytes are as they were. */
static void hold_repaired(struct change_work *w) {
  const struct mem_file *file = &w->exam->mem.files[0];
  struct mem_file old = *file;
  const struct mem_written *written = file->written;
  old.written = NULL;
  old.length = w->changes.lengths[0];
  for (size_t i = 0; written != NULL && i < written->count; i++) {
    uint64_t at = written->pages[i].at * MEM_PAGE;
    uint8_t before[MEM_PAGE] = {0};
    size_t n = old.length > at + MEM_PAGE ? MEM_PAGE
               : old.length > at          ? (size_t)(old.length - at)
                                          : 0;
    mem_peek(&old, at, before, n);
    for (size_t k = 0; k < n; k++)
      if (before[k] != written->pages[i].bytes[k] &&
          !may_mend(file, old.length, at + k)) {
        exam_wrong(w->exam, "repair: byte %" PRIu64 " was changed", at + k);
        return;
      }
  }
}

/* Blocks that lie over one another, or outside: no verb may work with such a
 * table; a write may, where it needs no new block. */
static void hold_refused(struct change_work *w) {
  if (w->exam->mem.count > MEM_NOTE || is_merge(w) || is_relink(w) ||
      w->verb == CHANGE_WRITE || w->verb == CHANGE_WRITE_AWAY)
    return;
  if (w->done || !mem_unchanged(&w->exam->mem, 0))
    exam_wrong(w->exam, "%s: its blocks are not sound", change_names[w->verb]);
}

/* What changes no content gives the file its time back. */
static void hold_time(struct change_work *w) {
  const struct timespec *now = &w->changes.mtimes[0];
  if (w->exam->mem.count > MEM_NOTE || now->tv_sec == 0 ||
      (w->verb != CHANGE_COMPACT && w->verb != CHANGE_REPAIR))
    return;
  if (now->tv_sec != MEM_MTIME || now->tv_nsec != 0)
    exam_wrong(w->exam, "%s: another time", change_names[w->verb]);
}

/* errors: of the check before; -1: it failed. */
static void hold_content(struct change_work *w, int errors) {
  int now = 0;
  if (w->done && is_merge(w))
    hold_merged(w);
  if (w->done && w->verb == CHANGE_MERGE_REMOVE)
    return;
  take(w, &w->after, mem_paths[0], &w->before);
  if (!(w->done && is_relink(w))) /* another parent, by order */
    hold_same(w, &w->before, &w->after, "the leaf");
  hold_size(w);
  if (!w->changes.full && !w->exam->mem.limited)
    hold_time(w);
  if (w->verb == CHANGE_REPAIR && w->exam->mem.count <= MEM_NOTE)
    hold_repaired(w);
  if (!w->done && w->before.open != w->after.open)
    exam_wrong(w->exam, "%s: open said %s, and now %s", change_names[w->verb],
               lvhd_code_name(w->before.open), lvhd_code_name(w->after.open));
  if (!w->done || errors != 0 || is_relink(w))
    return;
  now = exam_check_errors(w->exam, w->engine, mem_paths[0], &w->opts,
                          w->verb != CHANGE_REPAIR);
  if (now != 0)
    exam_wrong(w->exam, "%s: sound before, and now %d errors (%s)",
               change_names[w->verb], now,
               now < 0 ? "" : lvhd_reason_name(w->exam->first_error));
}

/* ---- 4 one input ----------------------------------------------------- */

static int index_of(const char *path) {
  for (int i = 0; i < MEM_DISKS; i++)
    if (strcmp(mem_paths[i], path) == 0)
      return i;
  return -1;
}

/* As the verbs open it: a parent of another size is none to read_chain. */
static int read_chain(struct change_work *w, lvhd_infos **infos) {
  struct lvhd_open_options opts = w->opts;
  lvhd_disk *disk = NULL;
  int code = 0;
  opts.force = true;
  code = lvhd_disk_open(w->engine, mem_paths, 1, &opts, &disk, NULL);
  if (code == 0)
    code = lvhd_disk_chain(disk, infos, NULL);
  lvhd_disk_close(disk);
  return code;
}

static void find_chain(struct change_work *w) {
  lvhd_infos *infos = NULL;
  w->depth = 0;
  w->chain = 0;
  if (read_chain(w, &infos) != 0)
    return;
  for (size_t i = 0; i < lvhd_infos_count(infos); i++) {
    int k = index_of(lvhd_infos_at(infos, i)->path);
    if (k < 0 || w->depth == MEM_DISKS)
      break;
    w->order[w->depth++] = k;
    w->chain |= 1u << k;
  }
  lvhd_infos_free(infos);
}

static void look_before(struct change_work *w) {
  take(w, &w->before, mem_paths[0], NULL);
  find_chain(w);
}

static void begin(struct change_work *w, struct exam *exam, uint8_t flags) {
  static const char *const parents[] = {"/x"};
  struct mem *mem = &exam->mem;
  w->exam = exam;
  w->engine = exam->engines[mem->no_openat2];
  w->opts = (struct lvhd_open_options){.has_parents = true,
                                       .force = (flags & MEM_DATA) != 0,
                                       .no_search = (flags & MEM_CHAIN) == 0};
  if (mem->outside) {
    w->opts.parents = parents;
    w->opts.parent_count = 1;
  }
  w->verb = (enum change_verb)(flags / MEM_PROFILE % CHANGE_VERBS);
  w->done = false;
  mem->trapped = NULL;
  mem->limited = false;
  mem->read_limit = 0;
  exam->wrong[0] = '\0';
  exam->change = exam->check = 0;
}

/* Going through a disk of 2^60 bytes takes its time, hostile or not. */
static bool takes_long(const struct change_work *w) {
  return w->before.size > SIZE_MAX_READ &&
         ((w->verb >= CHANGE_TO_DYNAMIC && w->verb <= CHANGE_COMPACT) ||
          w->verb == CHANGE_SHRINK);
}

void examine_change(struct exam *exam, uint8_t flags) {
  struct change_work *w = exam->work;
  struct mem *mem = &exam->mem;
  bool unsound = false;
  int errors = 0;
  begin(w, exam, flags);
  look_before(w);
  if (takes_long(w))
    return;
  errors = makes_file(w)
               ? -1
               : exam_check_errors(exam, w->engine, mem_paths[0], &w->opts,
                                   w->verb != CHANGE_REPAIR);
  unsound =
      !makes_file(w) && errors > 0 && exam->unsound &&
      exam_check_errors(exam, w->engine, mem_paths[0], &w->opts, false) > 0 &&
      exam->unsound;
  mem_writable(mem, &w->changes, writable(w));
  mem->read_limit = mem->bytes_read + READ_MAX;
  do_verb(w);
  mem->read_limit = 0;
  hold_files(w);
  if (w->done && makes_file(w))
    hold_made(w);
  else if (!makes_file(w))
    hold_content(w, errors);
  if (unsound)
    hold_refused(w);
  if (mem->trapped != NULL)
    exam_wrong(exam, "%s: %s", change_names[w->verb], mem->trapped);
  if (mem_open(mem) != 0)
    exam_wrong(exam, "%s: %u descriptors left", change_names[w->verb],
               mem_open(mem));
  exam->untouched = mem_unchanged(mem, 0);
  mem_forget(mem);
}
