/* SPDX-License-Identifier: MIT
 *
 * Reads again, as bytes, what an open image was made of.  Nothing that is odd
 * ends it: only a file that cannot be read does.
 */
#include "image/survey.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "format/audit.h"
#include "format/profile.h"

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

static size_t footer_bytes(enum lvhd_footer where) {
  return where == LVHD_FOOTER_SHORT ? LV_FOOTER_SIZE - 1 : LV_FOOTER_SIZE;
}

static struct lv_audit begin(struct lv_findings *list,
                             const struct lv_file *file,
                             const struct lv_footer *footer,
                             enum lvhd_footer where,
                             const struct lv_env *env) {
  uint64_t length = (uint64_t)file->st.st_size;
  bool at_end = where != LVHD_FOOTER_COPY;
  struct lv_audit a = {.list = list,
                       .footer = footer,
                       .length = length,
                       .data_end =
                         at_end ? length - footer_bytes(where) : length,
                       .now = env->sys->now(env->sys)};
  a.footer_at = at_end ? a.data_end : 0;
  return a;
}

/* ---- footers --------------------------------------------------------- */

static int survey_footers(const struct lv_audit *a,
                          const struct lv_file *file, enum lvhd_footer where,
                          const struct lv_env *env, struct lvhd_error *err) {
  uint8_t bytes[LV_FOOTER_SIZE] = {0}, copy[LV_FOOTER_SIZE];
  int code =
    lv_file_read(file, env, bytes, footer_bytes(where), a->footer_at, err);
  if (code != 0)
    return code;
  lv_audit_footer(a, bytes);
  if (a->footer->type == LVHD_FIXED || where == LVHD_FOOTER_COPY)
    return 0;
  if (a->length < sizeof copy)
    return 0;
  code = lv_file_read(file, env, copy, sizeof copy, 0, err);
  if (code == 0)
    lv_audit_copy(a, bytes, copy);
  return code;
}

/* Bytes behind the footer hide it: it is looked for in the last 64 KiB. */
static int find_footer(const struct lv_audit *a, const struct lv_file *file,
                       const struct lv_env *env, struct lvhd_error *err) {
  enum { REACH = 65536 };
  size_t n = a->length < REACH ? (size_t)a->length : REACH;
  uint64_t from = a->length - n;
  uint8_t *bytes = lv_buffer(REACH);
  struct lv_footer footer;
  int code = bytes ? lv_file_read(file, env, bytes, n, from, err)
                   : no_memory(err);
  for (size_t at = n; code == 0 && at >= LV_FOOTER_SIZE; at--) {
    size_t i = at - LV_FOOTER_SIZE;
    if (from + i == 0 || bytes[i] != 'c' ||
        lv_footer_decode(&footer, bytes + i, NULL) != LV_R_NONE)
      continue;
    lv_finding(a->list, LVHD_WARNING, LV_R_FOOTER_NOT_LAST,
               LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL | LVHD_HAS_OFFSET,
               from + at, a->length, from + i);
    break;
  }
  free(bytes);
  return code;
}

static void survey_length(const struct lv_audit *a, enum lvhd_footer where) {
  const unsigned both = LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL;
  const struct lv_footer *f = a->footer;
  uint64_t right = f->current_size + footer_bytes(where);
  if (f->type == LVHD_FIXED && a->length > right)
    /* readers differ in which end of it they take */
    lv_finding(a->list, LVHD_ERROR, LV_R_FIXED_LENGTH, both, right,
               a->length, 0);
  else if (where == LVHD_FOOTER_END && a->length % LV_SECTOR != 0)
    lv_finding(a->list, LVHD_WARNING, LV_R_FILE_UNALIGNED, both,
               lv_round_up(a->length, LV_SECTOR), a->length, 0);
}

/* ---- header and BAT -------------------------------------------------- */

static int survey_header(const struct lv_audit *a, const struct lv_file *file,
                         const struct lv_env *env, struct lvhd_error *err) {
  uint8_t bytes[LV_HEADER_SIZE];
  int code = lv_file_read(file, env, bytes, sizeof bytes,
                          a->footer->data_offset, err);
  if (code == 0)
    lv_audit_header(a, bytes);
  return code;
}

static int survey_padding(const struct lv_audit *a,
                          const struct lv_image *image,
                          const struct lv_env *env, struct lvhd_error *err) {
  uint8_t bytes[LV_SECTOR];
  uint64_t end = a->header->table_offset + (uint64_t)a->header->entries * 4;
  size_t n = (size_t)(lv_round_up(end, LV_SECTOR) - end);
  int code = 0;
  if (n == 0 || end > a->data_end || n > a->data_end - end)
    return 0;
  code = lv_file_read(&image->file, env, bytes, n, end, err);
  if (code == 0)
    lv_audit_padding(a, bytes, n);
  return code;
}

struct places {
  const struct lv_image *image;
  uint64_t first, end; /* of the blocks inside the file; or the BAT's end */
  uint64_t pitch;
  uint64_t odd_entry, odd_at; /* the first that breaks the pitch */
  bool any, odd;
  struct lv_findings *beyond;
};

static int place(void *arg, uint64_t index, uint32_t entry,
                 struct lvhd_error *err) {
  struct places *p = arg;
  uint64_t at = (uint64_t)entry * LV_SECTOR;
  (void)err;
  if (!lv_image_holds(p->image, entry))
    return 0;
  if (!p->any || at < p->first)
    p->first = at;
  if (at + p->pitch > p->end)
    p->end = at + p->pitch;
  p->any = true;
  if (p->beyond)
    lv_finding(p->beyond, LVHD_WARNING, LV_R_ENTRY_BEYOND_DISK,
               LVHD_HAS_ACTUAL | LVHD_HAS_OFFSET, 0, at,
               p->image->header.table_offset + 4 * index);
  return 0;
}

static int out_of_pitch(void *arg, uint64_t index, uint32_t entry,
                        struct lvhd_error *err) {
  struct places *p = arg;
  uint64_t at = (uint64_t)entry * LV_SECTOR;
  (void)err;
  if (p->odd || !lv_image_holds(p->image, entry) ||
      (at - p->first) % p->pitch == 0)
    return 0;
  p->odd = true;
  p->odd_at = at;
  p->odd_entry = p->image->header.table_offset + 4 * index;
  return 0;
}

static uint64_t most_entries(uint64_t n) {
  return n < LV_TABLE_MOST ? n : LV_TABLE_MOST;
}

/* The entries behind those of the disk; then what the blocks leave free. */
static int survey_places(const struct lv_audit *a,
                         const struct lv_image *image,
                         const struct lv_env *env, enum lvhd_profile profile,
                         lv_stop_fn stop, void *stop_arg,
                         struct lvhd_error *err) {
  const struct lv_header *h = &image->header;
  struct places p = {.image = image,
                     .end = h->table_offset + (uint64_t)h->entries * 4,
                     .pitch = (uint64_t)image->bitmap_size +
                              h->block_size};
  uint64_t n = most_entries(image->blocks);
  int code = lv_table_walk(image, env, 0, n, place, &p, stop, stop_arg, err);
  if (code == 0 && profile == LVHD_PROFILE_VIRTUALBOX)
    code =
      lv_table_walk(image, env, 0, n, out_of_pitch, &p, stop, stop_arg, err);
  if (p.odd)
    lv_finding(a->list, LVHD_ERROR, LV_R_PROFILE_GAPS,
               LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL | LVHD_HAS_OFFSET,
               p.pitch, p.odd_at, p.odd_entry);
  p.beyond = a->list;
  if (code == 0)
    code = lv_table_walk(image, env, image->blocks,
                         most_entries(h->entries - image->blocks),
                         place, &p, stop, stop_arg, err);
  if (code == 0 && image->where == LVHD_FOOTER_END && p.any &&
      a->data_end > p.end && a->data_end - p.end >= 4096)
    lv_finding(a->list, LVHD_NOTE, LV_R_GAP_BEFORE_FOOTER,
               LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL | LVHD_HAS_OFFSET, p.end,
               a->data_end, p.end);
  return code;
}

/* ---- XenServer's batmap ---------------------------------------------- */

/* The complement of the byte sum over as many bytes as libvhd takes; before
 * version 1.2 it took them as signed. */
static int sum_map(uint32_t *sum, const struct lv_batmap *map,
                   const struct lv_image *image, const struct lv_env *env,
                   uint64_t n, struct lvhd_error *err) {
  uint8_t piece[16384];
  uint32_t total = 0;
  for (uint64_t at = 0; at < n; at += sizeof piece) {
    size_t m = n - at < sizeof piece ? (size_t)(n - at) : sizeof piece;
    int code =
      lv_file_read(&image->file, env, piece, m, map->map_at + at, err);
    if (code != 0)
      return code;
    for (size_t i = 0; i < m; i++) {
      total += piece[i];
      if (map->version <= 0x00010001 && piece[i] > 127)
        total -= 256;
    }
  }
  *sum = ~total;
  return 0;
}

static int survey_batmap(const struct lv_audit *a,
                         const struct lv_image *image,
                         const struct lv_env *env, struct lvhd_error *err) {
  uint8_t bytes[LV_BATMAP_SIZE];
  struct lv_batmap map;
  uint64_t at = lv_batmap_at(a->footer, a->header);
  uint64_t n = lv_round_up(a->footer->current_size >> 24, LV_SECTOR);
  uint32_t sum = 0;
  bool fits = at != 0 && at <= a->length && a->length - at >= sizeof bytes;
  int code = 0;
  if (at == 0)
    return 0;
  if (fits)
    code = lv_file_read(&image->file, env, bytes, sizeof bytes, at, err);
  if (code != 0)
    return code;
  if (!fits || !lv_batmap_decode(&map, bytes) || map.map_at > a->length ||
      n > map.map_size || n > a->length - map.map_at || n > INT32_MAX) {
    lv_finding(a->list, LVHD_WARNING, LV_R_BATMAP_MISSING, LVHD_HAS_OFFSET, 0,
               0, at);
    return 0;
  }
  code = sum_map(&sum, &map, image, env, n, err);
  if (code == 0 && sum != map.checksum)
    lv_finding(a->list, LVHD_WARNING, LV_R_BATMAP_CHECKSUM,
               LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL | LVHD_HAS_OFFSET, sum,
               map.checksum, at + 24);
  return code;
}

/* ---- all of it ------------------------------------------------------- */

static void survey_texts(const struct lv_audit *a, struct lv_facts *facts,
                         enum lvhd_profile profile) {
  const struct lvhd_info *info = &facts->info;
  size_t next = 0;
  for (unsigned i = 0; i < LV_LOCATORS; i++) {
    const struct lvhd_locator *locator = &info->locators[next];
    if (lv_get_be32(a->header->locators[i].code) == 0)
      continue;
    next++;
    if (locator->raw != NULL)
      lv_audit_locator(a, i, locator->raw, locator->raw_length,
                       info->parent_name);
  }
  lv_profile_child(a, profile, info->locators, info->locator_count,
                   info->parent_name);
}

static int survey_table(struct lv_audit *a, struct lv_facts *facts,
                        const struct lv_image *image, struct lv_env *env,
                        enum lvhd_profile profile, lv_stop_fn stop,
                        void *stop_arg, struct lvhd_error *err) {
  int code = 0;
  a->header = &image->header;
  code = survey_header(a, &image->file, env, err);
  if (code == 0 && lv_image_has_parent(image))
    survey_texts(a, facts, profile);
  if (code == 0)
    code = survey_padding(a, image, env, err);
  if (code == 0)
    code = survey_places(a, image, env, profile, stop, stop_arg, err);
  if (code == 0)
    code = survey_batmap(a, image, env, err);
  return code;
}

int lv_survey(struct lv_facts *facts, const struct lv_image *image,
              struct lv_env *env, enum lvhd_profile profile, lv_stop_fn stop,
              void *stop_arg, struct lvhd_error *err) {
  struct lv_audit a = begin(&facts->findings, &image->file, &image->footer,
                            image->where, env);
  int code = survey_footers(&a, &image->file, image->where, env, err);
  if (code == 0 && image->where == LVHD_FOOTER_COPY)
    code = find_footer(&a, &image->file, env, err);
  if (code == 0)
    survey_length(&a, image->where);
  if (code == 0 && lv_image_has_table(image))
    code = survey_table(&a, facts, image, env, profile, stop, stop_arg, err);
  if (code == 0)
    lv_profile_disk(&a, profile, image->path);
  lv_profile_raise(&facts->findings, profile);
  if (code == 0 && facts->findings.no_memory)
    code = no_memory(err);
  return code;
}

/* The footer that would count if the rest were whole; *good: there is one. */
static int good_footer(struct lv_footer *footer, enum lvhd_footer *where,
                       bool *good, const struct lv_file *file,
                       const struct lv_env *env, struct lvhd_error *err) {
  static const enum lvhd_footer order[] = {LVHD_FOOTER_END, LVHD_FOOTER_SHORT,
                                           LVHD_FOOTER_COPY};
  uint64_t length = (uint64_t)file->st.st_size;
  int code = 0;
  *good = false;
  for (size_t i = 0; !*good && i < sizeof order / sizeof order[0]; i++) {
    uint8_t bytes[LV_FOOTER_SIZE] = {0};
    size_t n = footer_bytes(order[i]);
    *where = order[i];
    if (length < n)
      continue;
    code = lv_file_read(file, env, bytes, n,
                        order[i] == LVHD_FOOTER_COPY ? 0 : length - n, err);
    if (code != 0)
      return code;
    *good = lv_footer_decode(footer, bytes, NULL) == LV_R_NONE &&
            (order[i] != LVHD_FOOTER_COPY || footer->type != LVHD_FIXED);
  }
  return 0;
}

int lv_survey_refused(struct lv_facts **out, const struct lv_file *file,
                      const char *path, struct lv_env *env,
                      enum lvhd_profile profile, const struct lvhd_error *why,
                      struct lvhd_error *err) {
  struct lv_footer footer;
  struct lv_header header;
  enum lvhd_footer where;
  struct lv_audit a;
  uint8_t bytes[LV_HEADER_SIZE];
  uint64_t length = (uint64_t)file->st.st_size;
  bool good = false;
  int code = good_footer(&footer, &where, &good, file, env, err);
  *out = NULL;
  if (code != 0 || !good)
    return code;
  code = lv_facts_refused(out, file, path, &footer, where, why, env, err);
  if (code != 0)
    return code;
  a = begin(&(*out)->findings, file, &footer, where, env);
  code = survey_footers(&a, file, where, env, err);
  if (code == 0 && footer.type != LVHD_FIXED && length >= sizeof bytes &&
      footer.data_offset <= length - sizeof bytes)
    code = lv_file_read(file, env, bytes, sizeof bytes, footer.data_offset,
                        err);
  else
    memset(bytes, 0, sizeof bytes);
  if (code == 0 && lv_header_decode(&header, bytes, NULL) == LV_R_NONE) {
    a.header = &header;
    lv_facts_header(&(*out)->info, &header);
    lv_audit_header(&a, bytes);
  }
  if (code == 0)
    lv_profile_disk(&a, profile, path);
  lv_profile_raise(&(*out)->findings, profile);
  if (code == 0 && (*out)->findings.no_memory)
    code = no_memory(err);
  if (code != 0) {
    lv_facts_free(*out);
    *out = NULL;
  }
  return code;
}
