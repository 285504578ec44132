/* SPDX-License-Identifier: MIT
 *
 * The info of one image.  Everything in it is a copy: it stays when the image
 * is closed.  Opens no file, and follows nothing that it reads.
 */
#include "image/facts.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/utf.h"
#include "io/volume.h"

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* ---- footer and file ------------------------------------------------- */

void lv_facts_footer(struct lvhd_info *info,
                     const struct lv_footer *footer) {
  info->type = (enum lvhd_type)footer->type;
  info->has_parent = info->type == LVHD_DIFFERENCING;
  info->size = footer->current_size;
  info->original_size = footer->original_size;
  memcpy(info->uuid, footer->uuid, sizeof info->uuid);
  info->timestamp = (int64_t)footer->timestamp + LV_EPOCH;
  memcpy(info->creator, footer->creator, 4);
  memcpy(info->creator_os, footer->creator_os, 4);
  info->creator_version = footer->creator_version;
  info->cylinders = footer->geometry.cylinders;
  info->heads = footer->geometry.heads;
  info->sectors = footer->geometry.sectors;
  info->saved_state = footer->saved_state != 0;
  info->hidden = footer->hidden != 0;
}

void lv_facts_header(struct lvhd_info *info,
                     const struct lv_header *header) {
  info->block_size = header->block_size;
  info->blocks = header->entries;
  if (!info->has_parent)
    return;
  memcpy(info->parent_uuid, header->parent_uuid, sizeof info->parent_uuid);
  info->parent_timestamp = (int64_t)header->parent_timestamp + LV_EPOCH;
}

static void fill_file(struct lvhd_info *info, const struct lv_file *file,
                      const struct lv_env *env) {
  struct lv_volume volume;
  info->file_size = (uint64_t)file->st.st_size;
  info->mtime = (int64_t)file->st.st_mtim.tv_sec;
  lv_volume_of(&volume, env, file->fd);
  info->free = volume.free;
  info->lockable = volume.lockable;
}

/* What every info has. */
static struct lv_facts *start(const struct lv_file *file, const char *path,
                              const struct lv_footer *footer,
                              enum lvhd_footer where,
                              const struct lv_env *env) {
  struct lv_facts *facts = calloc(1, sizeof *facts);
  char *copy = strdup(path);
  uint64_t length = (uint64_t)file->st.st_size;
  if (facts == NULL || copy == NULL) {
    free(facts);
    free(copy);
    return NULL;
  }
  facts->error = (struct lvhd_error)LVHD_ERROR_INIT;
  facts->info.path = facts->path = copy;
  facts->info.footer = where;
  lv_facts_footer(&facts->info, footer);
  fill_file(&facts->info, file, env);
  if (where == LVHD_FOOTER_COPY)
    lv_finding(&facts->findings, LVHD_WARNING, LV_R_FOOTER_COPY_USED,
               LVHD_HAS_OFFSET, 0, 0,
               length < LV_FOOTER_SIZE ? 0 : length - LV_FOOTER_SIZE);
  else if (where == LVHD_FOOTER_SHORT)
    lv_finding(&facts->findings, LVHD_WARNING, LV_R_FOOTER_SHORT,
               LVHD_HAS_OFFSET, 0, 0, length - (LV_FOOTER_SIZE - 1));
  return facts;
}

/* ---- header and locators --------------------------------------------- */

/* W2ru and W2ku are UTF-16, little-endian; all others are bytes, and a
 * text of ours is UTF-8. */
static char *decode(const uint8_t code[4], const uint8_t *raw, size_t n) {
  bool wide = memcmp(code, "W2", 2) == 0;
  char *text = malloc(wide ? n / 2 * 3 + 1 : n * 3 + 1);
  if (text == NULL)
    return NULL;
  if (wide)
    lv_utf16_decode(raw, n, false, text);
  else
    lv_utf8_repair((const char *)raw, n, text);
  return text;
}

static int fill_locators(struct lv_facts *facts, const struct lv_image *image,
                         const struct lv_env *env, struct lvhd_error *err) {
  struct lvhd_info *info = &facts->info;
  info->locators = facts->locators;
  for (unsigned i = 0; i < LV_LOCATORS; i++) {
    const struct lv_locator_entry *e = &image->header.locators[i];
    struct lvhd_locator *to = &facts->locators[info->locator_count];
    int code = 0;
    if (lv_get_be32(e->code) == 0)
      continue;
    code =
      lv_image_locator(image, env, i, &facts->raws[i], &to->raw_length, err);
    if (code != 0)
      return code;
    memcpy(to->code, e->code, 4);
    to->offset = e->offset;
    to->space = e->space;
    to->length = e->length;
    to->raw = facts->raws[i];
    info->locator_count++;
    if (to->raw == NULL)
      continue;
    facts->texts[i] = decode(e->code, to->raw, to->raw_length);
    if (facts->texts[i] == NULL)
      return no_memory(err);
    to->path = facts->texts[i];
  }
  return 0;
}

static int fill_parent(struct lv_facts *facts, const struct lv_image *image,
                       const struct lv_env *env, struct lvhd_error *err) {
  const struct lv_header *header = &image->header;
  struct lvhd_info *info = &facts->info;
  char name[LV_NAME_TEXT];
  if (lv_header_name(header->parent_name, name))
    lv_finding(&facts->findings, LVHD_WARNING, LV_R_NAME_LITTLE_ENDIAN,
               LVHD_HAS_OFFSET, 0, 0,
               image->footer.data_offset + LV_HEADER_NAME_AT);
  facts->parent_name = strdup(name);
  if (facts->parent_name == NULL)
    return no_memory(err);
  info->parent_name = facts->parent_name;
  return fill_locators(facts, image, env, err);
}

static int fill_header(struct lv_facts *facts, const struct lv_image *image,
                       const struct lv_env *env, lv_stop_fn stop,
                       void *stop_arg, struct lvhd_error *err) {
  struct lvhd_info *info = &facts->info;
  struct lv_table table;
  int code = 0;
  lv_facts_header(info, &image->header);
  if (info->has_parent)
    code = fill_parent(facts, image, env, err);
  if (code == 0)
    code = lv_table_scan(&table, image, env, &facts->findings, stop, stop_arg,
                         err);
  if (code != 0)
    return code;
  info->blocks_used = table.used;
  info->alignment = table.alignment;
  return 0;
}

/* ---- the object ------------------------------------------------------ */

/* What lies beside the file. */
static enum lv_reason reason_of(const struct lv_image *image) {
  if (image->journal == LV_JOURNAL_FOREIGN)
    return LV_R_JOURNAL_FOREIGN;
  return image->note.verb == LV_JOURNAL_MERGE ? LV_R_MERGE_PENDING
                                              : LV_R_JOURNAL_USED;
}

static void find_note(struct lv_facts *facts, const struct lv_image *image) {
  struct lv_findings *list = &facts->findings;
  struct lvhd_finding *last = NULL;
  size_t had = list->count;
  if (image->journal != LV_JOURNAL_NONE)
    lv_finding(list, LVHD_WARNING, reason_of(image), 0, 0, 0, 0);
  if (list->count == had || image->journal == LV_JOURNAL_FOREIGN ||
      image->note.verb != LV_JOURNAL_MERGE)
    return;
  last = &list->items[had];
  last->has = LVHD_HAS_CHILD;
  memcpy(last->expected_uuid, image->note.other, 16);
}

int lv_facts_new(struct lv_facts **out, const struct lv_image *image,
                 struct lv_env *env, lv_stop_fn stop, void *stop_arg,
                 struct lvhd_error *err) {
  struct lv_facts *facts =
    start(&image->file, image->path, &image->footer, image->where, env);
  int code = facts ? 0 : no_memory(err);
  *out = NULL;
  if (code == 0)
    find_note(facts, image);
  if (code == 0 && lv_image_has_table(image))
    code = fill_header(facts, image, env, stop, stop_arg, err);
  if (code == 0 && facts->findings.no_memory)
    code = no_memory(err);
  if (code != 0) {
    lv_facts_free(facts);
    return code;
  }
  lv_facts_done(facts);
  *out = facts;
  return 0;
}

bool lv_facts_wrong(const struct lv_facts *facts) {
  for (size_t i = 0; i < facts->findings.count; i++)
    if (facts->findings.items[i].severity != LVHD_NOTE)
      return true;
  return facts->has_error;
}

/* One look.  *torn: another one may find nothing wrong. */
static int look(struct lv_facts **out, struct lv_image *image,
                struct lv_env *env, lv_stop_fn stop, void *stop_arg,
                bool *torn, struct lvhd_error *err) {
  int code = lv_facts_new(out, image, env, stop, stop_arg, err);
  *torn = code != 0 && err->reason == LV_R_FILE_CUT;
  if (code != 0 || !lv_facts_wrong(*out))
    return code;
  code = lv_image_moved(image, env, torn, err);
  if (code != 0) {
    lv_facts_free(*out);
    *out = NULL;
  }
  return code;
}

int lv_facts_look(struct lv_facts **out, struct lv_image *image,
                  struct lv_env *env, lv_stop_fn stop, void *stop_arg,
                  struct lvhd_error *err) {
  struct lvhd_error why = LVHD_ERROR_INIT;
  bool torn = false;
  int code = look(out, image, env, stop, stop_arg, &torn, &why);
  for (int looks = 1; torn && looks < LV_IMAGE_LOOKS; looks++) {
    lv_facts_free(*out);
    *out = NULL;
    lvhd_error_clear(&why);
    torn = false;
    code = lv_image_anew(image, env, &why);
    if (code == 0)
      code = look(out, image, env, stop, stop_arg, &torn, &why);
  }
  return lv_error_give(err, &why);
}

int lv_facts_refused(struct lv_facts **out, const struct lv_file *file,
                     const char *path, const struct lv_footer *footer,
                     enum lvhd_footer where, const struct lvhd_error *why,
                     struct lv_env *env, struct lvhd_error *err) {
  struct lv_facts *facts = start(file, path, footer, where, env);
  *out = NULL;
  if (facts != NULL)
    lv_finding(&facts->findings, LVHD_ERROR, (enum lv_reason)why->reason,
               why->has & (LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL |
                           LVHD_HAS_OFFSET),
               why->expected, why->actual, why->offset);
  if (facts == NULL || facts->findings.no_memory) {
    lv_facts_free(facts);
    return no_memory(err);
  }
  lv_facts_done(facts);
  *out = facts;
  return 0;
}

void lv_facts_done(struct lv_facts *facts) {
  facts->info.findings = facts->findings.items;
  facts->info.finding_count = facts->findings.count;
  facts->info.error = facts->has_error ? &facts->error : NULL;
}

void lv_facts_free(struct lv_facts *facts) {
  if (facts == NULL)
    return;
  for (unsigned i = 0; i < LV_LOCATORS; i++) {
    free(facts->texts[i]);
    free(facts->raws[i]);
  }
  free(facts->path);
  free(facts->parent_path);
  free(facts->parent_name);
  lvhd_error_clear(&facts->error);
  lv_findings_free(&facts->findings);
  free(facts);
}

/* ---- lists ----------------------------------------------------------- */

int lv_infos_add(struct lvhd_infos *infos, struct lv_facts *facts,
                 struct lvhd_error *err) {
  if (infos->count == infos->room) {
    size_t room = infos->room ? 2 * infos->room : 4;
    struct lv_facts **items =
      realloc(infos->items, room * sizeof *infos->items);
    if (items == NULL) {
      lv_facts_free(facts);
      return no_memory(err);
    }
    infos->items = items;
    infos->room = room;
  }
  infos->items[infos->count++] = facts;
  return 0;
}

int lv_infos_of(struct lvhd_infos **out, struct lv_image *image,
                struct lv_env *env, struct lvhd_error *err) {
  struct lvhd_infos *infos = calloc(1, sizeof *infos);
  struct lv_facts *facts = NULL;
  int code = infos ? lv_facts_look(&facts, image, env, NULL, NULL, err)
                   : no_memory(err);
  *out = NULL;
  if (code == 0)
    code = lv_infos_add(infos, facts, err);
  if (code != 0) {
    lv_infos_free(infos);
    return code;
  }
  *out = infos;
  return 0;
}

bool lv_infos_wrong(const struct lvhd_infos *infos) {
  for (size_t i = 0; i < infos->count; i++)
    if (lv_facts_wrong(infos->items[i]))
      return true;
  return false;
}

void lv_infos_free(struct lvhd_infos *infos) {
  if (infos == NULL)
    return;
  for (size_t i = 0; i < infos->count; i++)
    lv_facts_free(infos->items[i]);
  free(infos->items);
  free(infos);
}
