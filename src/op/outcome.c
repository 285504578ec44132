/* SPDX-License-Identifier: MIT
 *
 * The result of a creation: an info in one allocation, filled from the plan
 * of a new file; or the facts of an existing one that is kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/utf.h"
#include "format/locators.h"
#include "io/drives.h"
#include "op/create_args.h"

struct lv_outcome {
  struct lvhd_info info;
  struct lvhd_locator locators[LV_LOCATORS];
  struct lvhd_finding findings[]; /* and the texts behind them */
};

/* What may be found about the new file itself. */
#define OWN_FINDINGS 3u

/* A locator's text as it stands in the file. */
struct raw {
  uint8_t code[4];
  const uint8_t *bytes;
  size_t length;
  uint64_t offset; /* in the file */
};

/* What an outcome is made of; the strings are copied. */
struct parts {
  const char *folder, *name;
  const char *parent_path;
  char parent_name[LV_NAME_FIELD / 2 * 3 + 1];
  struct raw raw[LV_LOCATORS];
  size_t raw_count;
  size_t finding_count; /* at the most */
};

static size_t text_size(const struct parts *p) {
  size_t n = strlen(p->folder) + strlen(p->name) + 2;
  if (p->parent_path)
    n += strlen(p->parent_path) + 1 + strlen(p->parent_name) + 1;
  for (size_t i = 0; i < p->raw_count; i++)
    n += p->raw[i].length + p->raw[i].length * 3 / 2 + 2;
  return n;
}

static char *put(char **at, const void *bytes, size_t n) {
  char *start = *at;
  memcpy(start, bytes, n);
  *at += n;
  return start;
}

static char *put_string(char **at, const char *text) {
  return put(at, text, strlen(text) + 1);
}

/* A text in UTF-16 but for the codes that are known to be bytes. */
static void put_locator(char **at, struct lvhd_locator *to,
                        const struct raw *raw) {
  memcpy(to->code, raw->code, 4);
  to->code[4] = '\0';
  to->raw = (const uint8_t *)put(at, raw->bytes, raw->length);
  to->raw_length = raw->length;
  to->offset = raw->offset;
  to->space = LV_SLOT;
  to->length = (uint32_t)raw->length;
  to->path = *at;
  if (memcmp(raw->code, "W2", 2) == 0) {
    *at += lv_utf16_decode(raw->bytes, raw->length, false, *at) + 1;
  } else {
    put(at, raw->bytes, raw->length);
    put(at, "", 1);
  }
}

/* The path is folder/name, and a folder may be the root. */
static struct lv_outcome *build(const struct parts *p) {
  struct lv_outcome *o =
    calloc(1, sizeof *o + p->finding_count * sizeof o->findings[0] +
                text_size(p));
  char *at = NULL;
  size_t n = strlen(p->folder);
  if (o == NULL)
    return NULL;
  at = (char *)(o->findings + p->finding_count);
  o->info.path = at;
  put(&at, p->folder, n);
  if (n == 0 || p->folder[n - 1] != '/')
    put(&at, "/", 1);
  put_string(&at, p->name);
  if (p->parent_path) {
    o->info.parent_path = put_string(&at, p->parent_path);
    o->info.parent_name = put_string(&at, p->parent_name);
  }
  for (size_t i = 0; i < p->raw_count; i++)
    put_locator(&at, &o->locators[i], &p->raw[i]);
  o->info.locators = o->locators;
  o->info.locator_count = p->raw_count;
  o->info.findings = o->findings;
  return o;
}

static void add_finding(struct lv_outcome *o, struct lvhd_finding finding) {
  o->findings[o->info.finding_count++] = finding;
}

static void left_out(struct lv_outcome *o, uint64_t limit, uint64_t bytes) {
  if (bytes != 0)
    add_finding(o, (struct lvhd_finding){
                     .reason = LV_R_LOCATOR_LEFT_OUT,
                     .severity = LVHD_NOTE,
                     .has = LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL,
                     .expected = limit,
                     .actual = bytes});
}

int lv_outcome_new(struct lv_create *c, const struct lv_look *look,
                   struct lvhd_error *err) {
  const struct lv_plan *plan = &look->plan;
  struct parts p = {.folder = c->real_folder,
                    .name = lv_create_name(c),
                    .parent_path = c->real_parent,
                    .finding_count =
                      OWN_FINDINGS + (c->noted ? c->noted->count : 0)};
  struct lvhd_info *info = NULL;
  if (c->real_parent)
    strcpy(p.parent_name, lv_path_name(c->real_parent));
  for (unsigned i = 0; i < plan->locator_count; i++) {
    memcpy(p.raw[i].code, plan->locators[i].code, 4);
    p.raw[i].bytes = plan->head + plan->locators[i].offset;
    p.raw[i].length = plan->locators[i].length;
    p.raw[i].offset = plan->locators[i].offset;
  }
  p.raw_count = plan->locator_count;
  free(c->outcome);
  c->outcome = build(&p);
  if (c->outcome == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  info = &c->outcome->info;
  if (c->type == LVHD_RAW) {
    info->type = LVHD_RAW;
    info->size = (uint64_t)c->size;
  } else {
    lv_facts_footer(info, &plan->fields);
  }
  if (plan->head_size != 0)
    lv_facts_header(info, &plan->header);
  info->file_size = look->written.file_size;
  info->blocks_used = look->written.blocks_used;
  info->alignment = look->written.alignment;
  info->free = look->written.free;
  info->lockable = look->volume.lockable;
  info->created = true;
  left_out(c->outcome, LV_LOCATOR_MAX, plan->w2ku_left_out);
  left_out(c->outcome, LV_MACX_MAX, plan->macx_left_out);
  if (look->unnamable)
    add_finding(c->outcome,
                (struct lvhd_finding){.reason = LV_R_LOCATOR_UNNAMABLE,
                                      .severity = LVHD_NOTE});
  for (size_t i = 0; c->noted && i < c->noted->count; i++)
    add_finding(c->outcome, c->noted->items[i]);
  return 0;
}

void lv_outcome_published(struct lv_create *c, int64_t mtime) {
  c->outcome->info.mtime = mtime;
}

/* ---- an existing file ------------------------------------------------ */

static int not_the_disk(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_ALREADY_EXISTS, LV_R_OTHER_DISK);
}

/* The disk that was asked for: this parent, or this size, and this type; and
 * whole. */
static bool is_the_disk(const struct lv_create *c,
                        const struct lv_image *found) {
  if (found->where == LVHD_FOOTER_COPY ||
      found->footer.type != (uint32_t)c->type)
    return false;
  if ((c->type != LVHD_DIFFERENCING || c->converts) &&
      found->footer.current_size != (uint64_t)c->size)
    return false;
  return c->type != LVHD_DIFFERENCING ||
         memcmp(found->header.parent_uuid, c->seen.uuid, 16) == 0;
}

static bool cancelled(void *job) {
  return lv_job_cancelled(job);
}

/* The info of what is there, with the parent that was asked for. */
static int tell_kept(struct lv_create *c, const struct lv_image *image,
                     struct lv_job *job, struct lvhd_error *err) {
  struct lv_facts *facts = NULL;
  int code = lv_facts_new(&facts, image, c->env, cancelled, job, err);
  if (code == 0 && c->real_parent) {
    facts->parent_path = strdup(c->real_parent);
    facts->info.parent_path = facts->parent_path;
    if (facts->parent_path == NULL)
      code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  if (code != 0) {
    lv_facts_free(facts);
    return code;
  }
  lv_facts_free(c->kept);
  c->kept = facts;
  return 0;
}

/* A raw disk is told by its length alone. */
static int keep_raw(struct lv_create *c, const char *path, struct lv_job *job,
                    struct lvhd_error *err) {
  struct lv_file file = LV_FILE_INIT;
  struct lv_volume volume = {0};
  struct parts p = {.folder = c->real_folder,
                    .name = lv_create_name(c)};
  int code = lv_file_open(&file, c->env, path, err);
  if (code == 0 && file.st.st_size != c->size)
    code = not_the_disk(err);
  if (code == 0 && job) {
    lv_volume_of(&volume, c->env, file.fd);
    free(c->outcome);
    c->outcome = build(&p);
    if (c->outcome == NULL)
      code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  if (code == 0 && job) {
    c->outcome->info.type = LVHD_RAW;
    c->outcome->info.size = (uint64_t)c->size;
    c->outcome->info.file_size = (uint64_t)c->size;
    c->outcome->info.mtime = (int64_t)file.st.st_mtim.tv_sec;
    c->outcome->info.free = volume.free;
    c->outcome->info.lockable = volume.lockable;
  }
  lv_file_close(&file, c->env);
  return code;
}

static int keep_image(struct lv_create *c, const char *path,
                      struct lv_job *job, struct lvhd_error *err) {
  struct lv_image image = LV_IMAGE_INIT;
  int code = lv_image_open(&image, c->env, path, err);
  if (code == 0 && !is_the_disk(c, &image))
    code = not_the_disk(err);
  if (code == 0 && job)
    code = tell_kept(c, &image, job, err);
  lv_image_close(&image, c->env);
  return code;
}

int lv_outcome_kept(struct lv_create *c, struct lv_job *job,
                    struct lvhd_error *err) {
  /* A Windows path is looked for again, so that it stays in its drive. */
  char *path = lv_is_windows(c->env, c->image)
                 ? strdup(c->image)
                 : lv_path_join(c->real_folder, lv_create_name(c));
  int code = 0;
  if (path == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  code = c->type == LVHD_RAW ? keep_raw(c, path, job, err)
                             : keep_image(c, path, job, err);
  if (code == LVHD_VM_E_INVALID_HD_FILE || code == LVHD_E_PATH_NOT_FOUND)
    code = not_the_disk(err); /* a text file, a folder, a dangling link */
  free(path);
  return code;
}

const struct lvhd_info *lv_outcome_shown(const struct lv_outcome *outcome) {
  return &outcome->info;
}

const struct lvhd_info *lv_outcome_info(const struct lv_create *c) {
  if (c->kept)
    return &c->kept->info;
  return c->outcome ? &c->outcome->info : NULL;
}
