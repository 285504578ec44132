/* SPDX-License-Identifier: MIT
 *
 * Writing anew what a child records of its parent.  The texts go where no old
 * text stands, and one write of the header switches from the old to the new;
 * only in a file without such a place the old ones are overwritten, with what
 * stood there in the note.  Who may be the parent is the caller's to know.
 *
 *   1 the record   2 the places   3 the frame   4 what became of it
 */
#include "op/relink.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/path.h"
#include "base/findings.h"
#include "base/uuid.h"
#include "format/audit.h"
#include "format/locators.h"
#include "image/table.h"
#include "io/edit.h"
#include "op/way.h"

/* ---- 1 the record ---------------------------------------------------- */

struct text {
  const uint8_t *code;
  uint8_t bytes[LV_SLOT]; /* zeros behind the text */
  uint32_t length;        /* 0: there is none */
  uint64_t at;
  bool placed;
  bool over; /* where an old text stands */
};

/* In the order of the header, and of the room that there is. */
enum { W2RU, W2KU, MACX, TEXTS };

struct record {
  struct lv_header header; /* as it is going to be */
  struct text texts[TEXTS];
};

static uint32_t padded(const struct text *text) {
  return (uint32_t)lv_round_up(text->length, LV_SECTOR);
}

/* The way from child to parent, two real paths. */
static int find_way(struct lv_way *way, struct lv_env *env, const char *child,
                    const char *parent, const char *windows,
                    struct lvhd_error *err) {
  char *folder = lv_path_folder(child);
  int code = folder ? lv_way_find(way, env, folder, parent, windows, err)
                    : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  free(folder);
  return code;
}

/* A text of n bytes; those beyond the limit are left out. */
static void set_length(struct text *text, size_t n, size_t limit,
                       uint64_t *left_out) {
  if (n > limit)
    *left_out = n;
  else
    text->length = (uint32_t)n;
}

/* The one that must find a place; NULL: there is no text at all. */
static const struct text *first_text(const struct record *record) {
  for (size_t i = 0; i < TEXTS; i++)
    if (record->texts[i].length != 0)
      return &record->texts[i];
  return NULL;
}

static int word(struct record *record, struct lv_relinked *told,
                const struct lv_way *way, struct lvhd_error *err) {
  struct text *texts = record->texts;
  int code = 0;
  texts[W2RU].code = lv_w2ru;
  texts[W2KU].code = lv_w2ku;
  texts[MACX].code = lv_macx;
  told->unnamable = way->unnamable;
  memset(record->header.parent_name, 0, LV_NAME_FIELD);
  code = lv_locator_name(way->relative, record->header.parent_name, err);
  if (code == 0 && !way->no_relative)
    code = lv_locator_w2ru(way->relative, texts[W2RU].bytes,
                           &texts[W2RU].length, err);
  if (code != 0)
    return code;
  if (way->windows)
    set_length(&texts[W2KU], lv_locator_w2ku(way->windows, texts[W2KU].bytes),
               LV_LOCATOR_MAX, &told->w2ku_left_out);
  set_length(&texts[MACX], lv_locator_macx(way->relative, texts[MACX].bytes),
             LV_MACX_MAX, &told->macx_left_out);
  if (first_text(record) == NULL)
    return lv_fail_range(err, LVHD_E_BUFFER_OVERFLOW, LV_R_LOCATOR_TOO_LONG,
                         LV_MACX_MAX, told->macx_left_out);
  return 0;
}

int lv_relink_words(struct lv_env *env, const char *child, const char *parent,
                    struct lvhd_error *err) {
  struct record record = {0};
  struct lv_relinked told = {0};
  struct lv_way way = {0};
  int code = find_way(&way, env, child, parent, NULL, err);
  if (code == 0)
    code = word(&record, &told, &way, err);
  lv_way_clear(&way);
  return code;
}

/* ---- 2 the places ---------------------------------------------------- */

/* An old locator's own space in the file. */
struct space {
  uint64_t from, to; /* with all of its text */
  uint64_t own;      /* the end of what it calls its own: a journal may name
                        that and no more */
  bool shared;       /* a block reaches into it */
};

struct survey {
  const struct lv_image *child;
  uint64_t pitch;
  uint64_t first; /* where the first block begins; UINT64_MAX: no block */
  struct space old[LV_LOCATORS];
};

static int look(void *arg, uint64_t index, uint32_t entry,
                struct lvhd_error *err) {
  struct survey *s = arg;
  uint64_t at = (uint64_t)entry * LV_SECTOR;
  (void)index;
  (void)err;
  if (at < s->first && at < s->child->data_end)
    s->first = at;
  for (size_t i = 0; i < LV_LOCATORS; i++)
    if (at < s->old[i].to && s->old[i].from < at + s->pitch)
      s->old[i].shared = true;
  return 0;
}

static bool stop(void *job) {
  return job && lv_job_cancelled(job);
}

static uint64_t reach(const struct lv_image *child, uint64_t from,
                      uint64_t length) {
  return length < child->data_end - from ? from + length : child->data_end;
}

/* Every entry counts, those behind the end of the disk too: someone may take
 * what they name for a block. */
static int survey(struct survey *s, const struct lv_image *child,
                  struct lv_relink *relink, struct lvhd_error *err) {
  *s = (struct survey){.child = child, .first = UINT64_MAX};
  s->pitch = (uint64_t)child->bitmap_size + child->header.block_size;
  for (size_t i = 0; i < LV_LOCATORS; i++) {
    const struct lv_locator_entry *e = &child->header.locators[i];
    if (lv_get_be32(e->code) == 0 || e->offset > child->data_end)
      continue;
    s->old[i].from = e->offset;
    s->old[i].own = reach(child, e->offset, lv_locator_space(e));
    s->old[i].to = reach(child, e->offset, e->length);
    if (s->old[i].to < s->old[i].own)
      s->old[i].to = s->old[i].own;
  }
  return lv_table_walk(child, relink->env, 0, child->header.entries, look, s,
                       stop, relink->job, err);
}

/* What is not a locator's: copy, header, BAT with XenServer's batmap. */
static int take_fixed(struct lv_head *head, const struct lv_image *child,
                      const struct lv_env *env, struct lvhd_error *err) {
  const struct lv_header *h = &child->header;
  uint64_t batmap = lv_batmap_at(&child->footer, h);
  uint8_t bytes[LV_BATMAP_SIZE];
  struct lv_batmap map;
  int code = 0;
  lv_head_take(head, 0, LV_FOOTER_SIZE);
  lv_head_take(head, child->footer.data_offset, LV_HEADER_SIZE);
  lv_head_take(head, h->table_offset,
               lv_round_up((uint64_t)h->entries * 4, LV_SECTOR));
  if (batmap == 0 || batmap > child->data_end ||
      child->data_end - batmap < sizeof bytes)
    return 0;
  code = lv_file_read(&child->file, env, bytes, sizeof bytes, batmap, err);
  if (code == 0 && lv_batmap_decode(&map, bytes)) {
    lv_head_take(head, batmap, sizeof bytes);
    lv_head_take(head, map.map_at, map.map_size);
  }
  return code;
}

/* In front of the first block, or at least in front of the BAT: writers that
 * compute where the next block goes look at the ends of both, and no
 * further. */
static uint64_t head_end(const struct survey *s) {
  const struct lv_image *child = s->child;
  uint64_t table = child->header.table_offset;
  uint64_t end = s->first == UINT64_MAX ? table : s->first;
  return end < child->data_end ? end : child->data_end;
}

static void place_free(struct record *record, const struct lv_head *fixed,
                       const struct survey *s) {
  struct lv_head head = *fixed;
  head.end = head_end(s);
  for (size_t i = 0; i < LV_LOCATORS; i++)
    lv_head_take(&head, s->old[i].from, s->old[i].to - s->old[i].from);
  for (size_t i = 0; i < TEXTS; i++) {
    struct text *text = &record->texts[i];
    text->placed =
      text->length != 0 && lv_head_place(&head, padded(text), &text->at);
  }
}

/* What found no free place goes where an old text stands. */
static void place_over(struct record *record, struct lv_head *fixed,
                       const struct survey *s) {
  fixed->end = s->child->data_end;
  for (size_t i = 0; i < TEXTS; i++)
    if (record->texts[i].placed)
      lv_head_take(fixed, record->texts[i].at, padded(&record->texts[i]));
  for (size_t k = 0; k < TEXTS * LV_LOCATORS; k++) {
    struct text *text = &record->texts[k / LV_LOCATORS];
    const struct space *old = &s->old[k % LV_LOCATORS];
    uint64_t at = lv_round_up(old->from, LV_SECTOR);
    if (text->length == 0 || text->placed || old->shared || old->own < at ||
        old->own - at < padded(text) ||
        !lv_head_is_free(fixed, at, padded(text)))
      continue;
    lv_head_take(fixed, at, padded(text));
    text->at = at;
    text->placed = text->over = true;
  }
}

/* The most that a text could have had; 0: there is no place at all. */
static uint64_t room_for(const struct lv_head *fixed,
                         const struct survey *s) {
  struct lv_head head = *fixed;
  uint64_t most = 0, at = 0;
  for (size_t i = 0; i < LV_LOCATORS; i++) {
    const struct space *old = &s->old[i];
    uint64_t n = 0;
    at = lv_round_up(old->from, LV_SECTOR);
    if (!old->shared && old->own > at)
      n = (old->own - at) / LV_SECTOR * LV_SECTOR;
    if (n > most && lv_head_is_free(fixed, at, n))
      most = n;
    lv_head_take(&head, old->from, old->to - old->from);
  }
  head.end = head_end(s);
  return most == 0 && lv_head_place(&head, LV_SECTOR, &at) ? LV_SECTOR : most;
}

static int place(struct record *record, const struct lv_image *child,
                 struct lv_relink *relink, struct lvhd_error *err) {
  struct lv_head fixed = {0}, before;
  struct survey s;
  const struct text *must = first_text(record);
  int code = survey(&s, child, relink, err);
  if (code == 0)
    code = take_fixed(&fixed, child, relink->env, err);
  if (code != 0)
    return code;
  place_free(record, &fixed, &s);
  before = fixed;
  before.end = child->data_end;
  place_over(record, &fixed, &s);
  if (!must->placed)
    return lv_fail_range(err, LVHD_E_BUFFER_OVERFLOW, LV_R_LOCATOR_TOO_LONG,
                         room_for(&before, &s), must->length);
  if (!record->texts[W2KU].placed && record->texts[W2KU].length != 0)
    relink->told.w2ku_left_out = record->texts[W2KU].length;
  if (!record->texts[MACX].placed && record->texts[MACX].length != 0)
    relink->told.macx_left_out = record->texts[MACX].length;
  return 0;
}

/* The locators of old would name the old parent: none stays. */
static void fill_locators(struct record *record) {
  struct lv_locator_entry *entry = record->header.locators;
  memset(entry, 0, sizeof record->header.locators);
  for (size_t i = 0; i < TEXTS; i++) {
    const struct text *text = &record->texts[i];
    if (!text->placed)
      continue;
    memcpy(entry->code, text->code, sizeof entry->code);
    entry->space = padded(text);
    entry->length = text->length;
    entry->offset = text->at;
    entry++;
  }
}

/* ---- 3 the frame ----------------------------------------------------- */

/* What stands at [at, at + n) now goes into the note. */
static int save(struct lv_change *change, uint64_t at, uint32_t n,
                uint8_t **out, struct lvhd_error *err) {
  int code = lv_overlay_put(&change->journal.old, at, NULL, n, out, err);
  if (code == 0)
    code = lv_file_read(&change->image->file, change->env, *out, n, at, err);
  return code;
}

static int save_all(struct lv_change *change, const struct record *record,
                    uint8_t header[LV_HEADER_SIZE], struct lvhd_error *err) {
  uint8_t *old = NULL;
  int code = save(change, change->image->footer.data_offset, LV_HEADER_SIZE,
                  &old, err);
  if (code == 0)
    memcpy(header, old, LV_HEADER_SIZE);
  for (size_t i = 0; code == 0 && i < TEXTS; i++)
    if (record->texts[i].over)
      code = save(change, record->texts[i].at, padded(&record->texts[i]),
                  &old, err);
  return code;
}

static int write_texts(const struct lv_change *change,
                       const struct record *record, struct lvhd_error *err) {
  const struct lv_file *file = &change->image->file;
  bool any = false;
  int code = 0;
  for (size_t i = 0; code == 0 && i < TEXTS; i++) {
    const struct text *text = &record->texts[i];
    if (!text->placed)
      continue;
    any = true;
    code = lv_edit_write(file, change->env, text->bytes, padded(text),
                         text->at, err);
  }
  return code == 0 && any ? lv_change_barrier(change, err) : code;
}

/* Journal, texts, header, in this order. */
static int write_record(struct lv_relink *relink, struct lv_image *child,
                        const struct record *record,
                        struct lvhd_error *err) {
  uint8_t header[LV_HEADER_SIZE] = {0};
  struct lv_header now;
  struct lv_change change = {.env = relink->env,
                             .image = child,
                             .sync = relink->sync,
                             .keeps_time = true,
                             .force = relink->force};
  int code = 0;
  if (child->footer.data_offset % LV_SECTOR != 0)
    return lv_fail_range(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_DATA_OFFSET,
                         LV_FOOTER_SIZE, child->footer.data_offset);
  change.journal.verb = LV_JOURNAL_RELINK;
  change.journal.length = (uint64_t)child->file.st.st_size;
  code = save_all(&change, record, header, err);
  lv_header_update(&record->header, header);
  if (code == 0 && lv_header_decode(&now, header, NULL) != LV_R_NONE)
    code = lv_fail(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_HEADER_CORRUPT);
  if (code == 0 && relink->job && !lv_job_commit(relink->job))
    code = lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
  if (code != 0) {
    lv_overlay_clear(&change.journal.old);
    return code;
  }
  code = lv_change_begin(&change, err);
  if (code == 0)
    code = write_texts(&change, record, err);
  if (code == 0)
    code = lv_edit_write(&child->file, relink->env, header, sizeof header,
                         child->footer.data_offset, err);
  if (code == 0)
    code = lv_change_end(&change, err);
  if (code != 0) {
    lv_change_abandon(&change);
    return code;
  }
  relink->told.time_lost = change.time_lost;
  child->header = now;
  return 0;
}

int lv_relink_image(struct lv_relink *relink, struct lv_image *child,
                    const struct lv_image *parent, int64_t mtime,
                    struct lvhd_error *err) {
  struct record record = {.header = child->header};
  struct lv_way way = {0};
  int code = 0;
  relink->told = (struct lv_relinked){0};
  if (lv_uuid_is_nil(parent->footer.uuid)) {
    code = lv_fail(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_UUID_MALFORMED);
    err->has |= LVHD_AT_PARENT;
  }
  if (code == 0)
    code = find_way(&way, relink->env, child->path, parent->path,
                    relink->windows, err);
  if (code == 0)
    code = word(&record, &relink->told, &way, err);
  if (code == 0)
    code = place(&record, child, relink, err);
  if (code == 0) {
    memcpy(record.header.parent_uuid, parent->footer.uuid, 16);
    record.header.parent_timestamp = lv_timestamp(mtime);
    fill_locators(&record);
    code = write_record(relink, child, &record, err);
  }
  if (code != 0) {
    lv_error_path(err, child->path);
    lv_error_parent(err, parent->path);
  }
  lv_way_clear(&way);
  return code;
}

int lv_relink_time(struct lv_relink *relink, struct lv_image *child,
                   int64_t mtime, struct lvhd_error *err) {
  struct record record = {.header = child->header};
  int code = 0;
  relink->told = (struct lv_relinked){0};
  if (child->header.parent_timestamp == lv_timestamp(mtime))
    return 0;
  record.header.parent_timestamp = lv_timestamp(mtime);
  code = write_record(relink, child, &record, err);
  if (code != 0)
    lv_error_path(err, child->path);
  return code;
}

/* ---- 4 what became of it --------------------------------------------- */

void lv_relinked_add(struct lv_relinked *sum, const struct lv_relinked *one) {
  sum->time_lost |= one->time_lost;
  sum->unnamable |= one->unnamable;
  if (one->w2ku_left_out > sum->w2ku_left_out)
    sum->w2ku_left_out = one->w2ku_left_out;
  if (one->macx_left_out > sum->macx_left_out)
    sum->macx_left_out = one->macx_left_out;
}

void lv_relinked_tell(const struct lv_relinked *told,
                      struct lv_findings *findings) {
  if (told->w2ku_left_out != 0)
    lv_finding(findings, LVHD_NOTE, LV_R_LOCATOR_LEFT_OUT, LVHD_HAS_ACTUAL, 0,
               told->w2ku_left_out, 0);
  if (told->macx_left_out != 0)
    lv_finding(findings, LVHD_NOTE, LV_R_LOCATOR_LEFT_OUT, LVHD_HAS_ACTUAL, 0,
               told->macx_left_out, 0);
  if (told->unnamable)
    lv_finding(findings, LVHD_NOTE, LV_R_LOCATOR_UNNAMABLE, 0, 0, 0, 0);
  if (told->time_lost)
    lv_finding(findings, LVHD_WARNING, LV_R_TIME_LOST, 0, 0, 0, 0);
}
