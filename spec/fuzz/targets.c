/* SPDX-License-Identifier: MIT
 *
 * The targets: five of images, one for texts and structures, one for paths,
 * one for formatted disks.
 */
#include "targets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/utf.h"
#include "examine.h"
#include "forge.h"
#include "format/footer.h"
#include "format/header.h"

const struct target targets[] = {
  {"info", true, EXAM_INFO},
  {"chain", true, EXAM_CHAIN},
  {"read", true, EXAM_READ | EXAM_INFO},
  {"check", true, EXAM_CHECK | EXAM_READ},
  {"change", true, EXAM_CHANGE},
  {"codec", false, 0},
  {"paths", false, 0},
  {"fat", false, 0},
};
const size_t target_count = sizeof targets / sizeof targets[0];

const struct target *target_named(const char *name) {
  for (size_t i = 0; i < target_count; i++)
    if (strcmp(targets[i].name, name) == 0)
      return &targets[i];
  return NULL;
}

/* ---- texts ----------------------------------------------------------- */

/* UTF-16 to UTF-8: always valid, and back to the same where it was. */
static const char *from_utf16(const uint8_t *in, size_t n, bool big) {
  char *text = malloc(n / 2 * 3 + 1);
  uint8_t *back = malloc(n + 1);
  const char *wrong = NULL;
  size_t length = 0;
  if (text == NULL || back == NULL)
    abort();
  length = lv_utf16_decode(in, n, big, text);
  if (text[length] != '\0' || length > n / 2 * 3)
    wrong = "utf16: the length";
  else if (lv_utf8_check(text, length) != length)
    wrong = "utf16: not valid";
  else if (lv_utf16_units(text, length) * 2 > n)
    wrong = "utf16: more units than there were";
  else if (strstr(text, "\xEF\xBF\xBD") == NULL &&
           (lv_utf16_encode(text, length, big, back, n) > n ||
            memcmp(in, back, lv_utf16_units(text, length) * 2) != 0))
    wrong = "utf16: another text comes back";
  free(text);
  free(back);
  return wrong;
}

static const char *from_utf8(const char *in, size_t n, bool big) {
  uint8_t *units = malloc(n * 2 + 1);
  char *back = malloc(n * 3 + 1);
  const char *wrong = NULL;
  size_t need = 0;
  size_t valid = lv_utf8_check(in, n);
  if (units == NULL || back == NULL)
    abort();
  if (valid > n || (valid < n && lv_utf8_check(in, valid) != valid))
    wrong = "utf8: a prefix is not valid";
  need = lv_utf16_encode(in, valid, big, units, n * 2);
  if (need != lv_utf16_units(in, valid) * 2)
    wrong = "utf8: the count of units";
  else if (memchr(in, '\0', valid) == NULL &&
           (lv_utf16_decode(units, need, big, back) != valid ||
            memcmp(in, back, valid) != 0))
    wrong = "utf8: another text comes back";
  lv_utf16_encode(in, n, big, units, need / 2); /* half the room */
  need = lv_utf8_repair(in, n, back);
  if (wrong == NULL && (need > 3 * n || lv_utf8_check(back, need) != need ||
                        memcmp(in, back, strnlen(in, valid)) != 0))
    wrong = "utf8: repaired, and not valid";
  free(units);
  free(back);
  return wrong;
}

/* ---- structures ------------------------------------------------------ */

static const char *through_footer(const uint8_t *bytes, size_t n) {
  uint8_t in[LV_FOOTER_SIZE] = {0};
  uint8_t out[LV_FOOTER_SIZE];
  struct lv_footer a, b;
  struct lvhd_finding bad = {0};
  memcpy(in, bytes, n < sizeof in ? n : sizeof in);
  if (lv_footer_decode(&a, in, &bad) != LV_R_NONE)
    return bad.offset < sizeof in ? NULL : "footer: the offset";
  lv_footer_encode(&a, out);
  if (lv_footer_decode(&b, out, &bad) != LV_R_NONE)
    return "footer: what is written is refused";
  if (a.current_size != b.current_size || a.data_offset != b.data_offset ||
      a.type != b.type || memcmp(a.uuid, b.uuid, 16) != 0 ||
      memcmp(in, out, 64) != 0)
    return "footer: another one comes back";
  return NULL;
}

static bool same_locators(const struct lv_header *a,
                          const struct lv_header *b) {
  for (unsigned i = 0; i < LV_LOCATORS; i++) {
    const struct lv_locator_entry *x = &a->locators[i];
    const struct lv_locator_entry *y = &b->locators[i];
    if (memcmp(x->code, y->code, 4) != 0 || x->space != y->space ||
        x->length != y->length || x->offset != y->offset)
      return false;
  }
  return true;
}

static const char *through_header(const uint8_t *bytes, size_t n) {
  uint8_t in[LV_HEADER_SIZE] = {0};
  uint8_t out[LV_HEADER_SIZE];
  struct lv_header a, b;
  struct lvhd_finding bad = {0};
  memcpy(in, bytes, n < sizeof in ? n : sizeof in);
  if (lv_header_decode(&a, in, &bad) != LV_R_NONE)
    return bad.offset < sizeof in ? NULL : "header: the offset";
  lv_header_encode(&a, out);
  if (lv_header_decode(&b, out, &bad) != LV_R_NONE)
    return "header: what is written is refused";
  if (a.table_offset != b.table_offset || a.entries != b.entries ||
      a.block_size != b.block_size ||
      memcmp(a.parent_name, b.parent_name, LV_NAME_FIELD) != 0 ||
      !same_locators(&a, &b))
    return "header: another one comes back";
  return NULL;
}

/* ---- paths ----------------------------------------------------------- */

/* "/" and the text, without empty, "." and ".." components. */
static char *as_path(const uint8_t *bytes, size_t n) {
  char *path = malloc(n + 2);
  size_t to = 0;
  if (path == NULL)
    abort();
  for (size_t i = 0; i < n;) {
    size_t k = i;
    while (k < n && bytes[k] != '/' && bytes[k] != '\0')
      k++;
    if (k > i && !(k - i <= 2 && memcmp(bytes + i, "..", k - i) == 0)) {
      path[to++] = '/';
      memcpy(path + to, bytes + i, k - i);
      to += k - i;
    }
    i = k + 1;
  }
  if (to == 0)
    path[to++] = '/';
  path[to] = '\0';
  return path;
}

/* Follows ".." as text. */
static void walk(char *at, const char *way) {
  while (strncmp(way, "../", 3) == 0) {
    char *slash = strrchr(at, '/');
    if (slash != NULL)
      *slash = '\0';
    way += 3;
  }
  if (at[0] == '\0' || at[strlen(at) - 1] != '/')
    strcat(at, "/");
  strcat(at, way);
}

static const char *paths(const uint8_t *bytes, size_t n) {
  size_t half = n / 2;
  char *folder = as_path(bytes, half);
  char *file = as_path(bytes + half, n - half);
  char *way = lv_path_relative(folder, file);
  char *joined = lv_path_join(folder, lv_path_name(file));
  char *above = joined ? lv_path_folder(joined) : NULL;
  char *at = malloc(3 * n + 16);
  const char *wrong = NULL;
  struct lvhd_error err = LVHD_ERROR_INIT;
  if (way == NULL || joined == NULL || above == NULL || at == NULL)
    abort();
  strcpy(at, strcmp(folder, "/") == 0 ? "" : folder);
  walk(at, way);
  if (file[1] != '\0' && strcmp(at, file) != 0)
    wrong = "path: the relative way leads elsewhere";
  if (strcmp(above, folder) != 0)
    wrong = "path: join and folder do not undo each other";
  if (lv_path_check((const char *)bytes, n, n % 2 == 0, &err) == 0 &&
      lv_utf8_check((const char *)bytes, n) != n)
    wrong = "path: accepted, and no UTF-8";
  lvhd_error_clear(&err);
  if (lv_utf8_check(file, strlen(file)) == strlen(file))
    (void)lv_path_length(file, n % 2 == 0, &err);
  lvhd_error_clear(&err);
  free(folder), free(file), free(way), free(joined), free(above), free(at);
  return wrong;
}

static const char *run_codec(const uint8_t *bytes, size_t n) {
  if (n == 0)
    return NULL;
  switch (bytes[0] % 7) {
  case 0:
  case 1:
    return from_utf16(bytes + 1, n - 1, bytes[0] % 7 == 1);
  case 2:
  case 3:
    return from_utf8((const char *)bytes + 1, n - 1, bytes[0] % 7 == 3);
  case 4:
    return through_footer(bytes + 1, n - 1);
  case 5:
    return through_header(bytes + 1, n - 1);
  default:
    return paths(bytes + 1, n - 1);
  }
}

/* ---- images ---------------------------------------------------------- */

#define ENTRIES_MAX 65536

/* A BAT of millions of entries takes a fuzzer's time and finds nothing:
 * test_hostile has some. */
static bool is_dear(const struct mem *mem) {
  for (size_t i = 0; i < mem->count; i++) {
    const struct mem_file *file = &mem->files[i];
    uint64_t at = 0;
    if (forge_header(file, &at) &&
        forge_get(file, at + 28, 4) > ENTRIES_MAX &&
        file->length > 4 * ENTRIES_MAX)
      return true;
  }
  return false;
}

static struct exam *exam; /* of this program; engines are dear */

const char *target_run(const struct target *target, const uint8_t *bytes,
                       size_t n) {
  static uint8_t copy[INPUT_MAX];
  uint8_t flags = 0;
  if (strcmp(target->name, "codec") == 0)
    return run_codec(bytes, n);
  if (strcmp(target->name, "fat") == 0)
    return fuzz_fat(bytes, n);
  if (exam == NULL) {
    exam = calloc(1, sizeof *exam);
    if (exam == NULL || !exam_init(exam))
      abort();
  }
  if (!target->is_image)
    return fuzz_paths(exam, bytes, n);
  n = n < sizeof copy ? n : sizeof copy;
  memcpy(copy, bytes, n);
  mem_init(&exam->mem);
  mem_decode(&exam->mem, copy, n, &flags);
  if (is_dear(&exam->mem))
    return NULL;
  if (target->what == EXAM_CHANGE)
    examine_change(exam, flags);
  else
    examine(exam, target->what, flags);
  return exam->wrong[0] != '\0' ? exam->wrong : NULL;
}

void target_end(void) {
  if (exam != NULL)
    exam_free(exam);
  free(exam);
  exam = NULL;
}
