/* SPDX-License-Identifier: MIT
 *
 * The result of a creation: an info in one allocation, filled from the plan
 * of a new file, or from an existing one that is kept.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/path.h"
#include "base/utf.h"
#include "op/create_args.h"

#define LOCATOR_READ 4096 /* bytes; a longer text is no file name */

struct lv_outcome {
  struct lvhd_info info;
  struct lvhd_locator locators[LV_LOCATORS];
  struct lvhd_finding finding;
  char text[];
};

/* A locator's text as it stands in the file. */
struct raw {
  uint8_t code[4];
  const uint8_t *bytes;
  size_t length;
};

/* What an outcome is made of; the strings are copied. */
struct parts {
  const char *folder, *name;
  const char *parent_path;
  char parent_name[LV_NAME_FIELD / 2 * 3 + 1];
  struct raw raw[LV_LOCATORS];
  size_t raw_count;
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
  struct lv_outcome *o = calloc(1, sizeof *o + text_size(p));
  char *at = NULL;
  size_t n = strlen(p->folder);
  if (o == NULL)
    return NULL;
  at = o->text;
  o->info.path = at;
  put(&at, p->folder, n);
  if (n == 0 || p->folder[n - 1] != '/')
    put(&at, "/", 1);
  put_string(&at, p->name);
  if (p->parent_path) {
    o->info.has_parent = true;
    o->info.parent_path = put_string(&at, p->parent_path);
    o->info.parent_name = put_string(&at, p->parent_name);
  }
  for (size_t i = 0; i < p->raw_count; i++)
    put_locator(&at, &o->locators[i], &p->raw[i]);
  o->info.locators = o->locators;
  o->info.locator_count = p->raw_count;
  o->info.findings = &o->finding;
  return o;
}

static void fill_footer(struct lvhd_info *info,
                        const struct lv_footer *footer) {
  info->type = (enum lvhd_type)footer->type;
  info->size = footer->current_size;
  memcpy(info->uuid, footer->uuid, sizeof info->uuid);
  info->timestamp = (int64_t)footer->timestamp + LV_EPOCH;
  memcpy(info->creator, footer->creator, 4);
}

static void fill_header(struct lvhd_info *info,
                        const struct lv_header *header) {
  info->block_size = header->block_size;
  info->blocks = header->entries;
  if (info->type != LVHD_DIFFERENCING)
    return;
  memcpy(info->parent_uuid, header->parent_uuid, sizeof info->parent_uuid);
  info->parent_timestamp = (int64_t)header->parent_timestamp + LV_EPOCH;
}

/* What the volume will have left; a hole takes nothing. */
static uint64_t free_after(const struct lv_create *c,
                           const struct lv_plan *plan, uint64_t before) {
  bool hole = c->type == LVHD_FIXED && c->opts.allocate != LVHD_ZERO &&
              c->opts.allocate != LVHD_RESERVE;
  uint64_t takes = hole ? LV_FOOTER_SIZE : plan->file_size;
  return before > takes ? before - takes : 0;
}

int lv_outcome_new(struct lv_create *c, const struct lv_look *look,
                   struct lvhd_error *err) {
  const struct lv_plan *plan = &look->plan;
  struct parts p = {.folder = c->real_folder,
                    .name = lv_path_name(c->image),
                    .parent_path = c->real_parent};
  struct lvhd_info *info = NULL;
  if (c->real_parent)
    strcpy(p.parent_name, lv_path_name(c->real_parent));
  for (unsigned i = 0; i < plan->locator_count; i++) {
    memcpy(p.raw[i].code, plan->locators[i].code, 4);
    p.raw[i].bytes = plan->head + plan->locators[i].offset;
    p.raw[i].length = plan->locators[i].length;
  }
  p.raw_count = plan->locator_count;
  free(c->outcome);
  c->outcome = build(&p);
  if (c->outcome == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  info = &c->outcome->info;
  fill_footer(info, &plan->fields);
  if (plan->head_size != 0)
    fill_header(info, &plan->header);
  info->file_size = plan->file_size;
  info->free = free_after(c, plan, look->volume.free);
  info->lockable = look->volume.lockable;
  info->created = true;
  if (plan->left_out != 0) {
    info->finding_count = 1;
    c->outcome->finding =
      (struct lvhd_finding){.reason = LV_R_LOCATOR_LEFT_OUT,
                            .severity = LVHD_NOTE,
                            .has = LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL,
                            .expected = LV_SLOT - 1,
                            .actual = plan->left_out};
  }
  return 0;
}

/* ---- an existing file ------------------------------------------------ */

static int not_the_disk(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_ALREADY_EXISTS, LV_R_OTHER_DISK);
}

/* The disk that was asked for: this parent, or this size, and this type. */
static bool is_the_disk(const struct lv_create *c,
                        const struct lv_probe *found) {
  if (found->footer.type != (uint32_t)c->type)
    return false;
  if (c->type != LVHD_DIFFERENCING)
    return found->footer.current_size == (uint64_t)c->size;
  return memcmp(found->header.parent_uuid, c->seen.uuid, 16) == 0;
}

static int read_locators(struct parts *p, uint8_t *buf,
                         const struct lv_probe *found,
                         const struct lv_file *file, const struct lv_env *env,
                         struct lvhd_error *err) {
  uint64_t end = (uint64_t)file->st.st_size;
  for (size_t i = 0; i < LV_LOCATORS; i++) {
    const struct lv_locator_entry *e = &found->header.locators[i];
    int code = 0;
    if (lv_get_be32(e->code) == 0 || e->length == 0 ||
        e->length > LOCATOR_READ || e->offset > end ||
        e->length > end - e->offset)
      continue;
    code = lv_file_read(file, env, buf, e->length, e->offset, err);
    if (code != 0)
      return code;
    memcpy(p->raw[p->raw_count].code, e->code, 4);
    p->raw[p->raw_count].bytes = buf;
    p->raw[p->raw_count].length = e->length;
    p->raw_count++;
    buf += e->length;
  }
  return 0;
}

/* What the volume says; that it is full is no matter for what is there. */
static void fill_volume(struct lvhd_info *info, const struct lv_create *c,
                        const struct lv_look *look,
                        const struct lv_file *file) {
  struct lv_volume volume = {0};
  (void)lv_volume_check(&volume, c->env, &look->folder, file->fd,
                        info->file_size, NULL);
  info->free = volume.free;
  info->lockable = volume.lockable;
}

/* 4 MiB of the BAT between two looks for a cancel. */
#define COUNTED (UINT64_C(1) << 20)

/* The blocks in use, of those that the disk has: a BAT may claim more. */
static int count_blocks(struct lv_create *c, const struct lv_file *file,
                        const struct lv_probe *found, struct lv_job *job,
                        struct lvhd_error *err) {
  uint64_t blocks = lv_block_count(found->footer.current_size,
                                   found->header.block_size);
  for (uint64_t i = 0; i < blocks; i += COUNTED) {
    uint64_t n = blocks - i < COUNTED ? blocks - i : COUNTED;
    int code = lv_job_cancelled(job)
                 ? lv_fail(err, LVHD_E_ABORT, LV_R_NONE)
                 : lv_probe_blocks(&c->outcome->info.blocks_used, found, file,
                                   c->env, i, n, err);
    if (code != 0)
      return code;
  }
  return 0;
}

static int fill_kept(struct lv_create *c, const struct lv_look *look,
                     const struct lv_file *file, const struct lv_probe *found,
                     const char *path, struct lvhd_error *err) {
  uint8_t buf[LV_LOCATORS * LOCATOR_READ];
  struct parts p = {.folder = "",
                    .name = path + 1, /* behind the slash that joins them */
                    .parent_path = c->real_parent};
  struct lvhd_info *info = NULL;
  int code = 0;
  if (c->type == LVHD_DIFFERENCING) {
    lv_utf16_decode(found->header.parent_name, LV_NAME_FIELD, true,
                    p.parent_name);
    code = read_locators(&p, buf, found, file, c->env, err);
  }
  if (code != 0)
    return code;
  free(c->outcome);
  c->outcome = build(&p);
  if (c->outcome == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  info = &c->outcome->info;
  fill_footer(info, &found->footer);
  info->file_size = (uint64_t)file->st.st_size;
  fill_volume(info, c, look, file);
  if (c->type != LVHD_FIXED)
    fill_header(info, &found->header);
  return 0;
}

int lv_outcome_kept(struct lv_create *c, const struct lv_look *look,
                    struct lv_job *job, struct lvhd_error *err) {
  struct lv_file file = LV_FILE_INIT;
  struct lv_probe found;
  char *real = NULL;
  char *path = lv_path_join(c->real_folder, lv_path_name(c->image));
  int code = path ? lv_file_open(&file, c->env, path, err)
                  : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  if (code == 0)
    code = lv_probe(&found, &file, c->env, err);
  if (code == 0 && !is_the_disk(c, &found))
    code = not_the_disk(err);
  else if (code == LVHD_VM_E_INVALID_HD_FILE ||
           code == LVHD_E_PATH_NOT_FOUND)
    code = not_the_disk(err); /* a text file, a folder, a dangling link */
  if (code == 0 && job)
    code = lv_real_path(&real, c->env, file.fd, path, file.real, LV_STEP_FILE,
                        err);
  if (code == 0 && job)
    code = fill_kept(c, look, &file, &found, real, err);
  if (code == 0 && job && c->type != LVHD_FIXED)
    code = count_blocks(c, &file, &found, job, err);
  free(real);
  lv_file_close(&file, c->env);
  free(path);
  return code;
}

const struct lvhd_info *lv_outcome_info(const struct lv_outcome *outcome) {
  return outcome ? &outcome->info : NULL;
}
