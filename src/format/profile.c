/* SPDX-License-Identifier: MIT
 *
 * The rules of Azure, Hyper-V, XenServer, VirtualBox and 7-Zip that go beyond
 * the specification.  Knows no file.
 */
#include "format/profile.h"

#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "format/plan.h"

#define MIB (UINT64_C(1) << 20)

/* Within the footer and the header. */
enum { AT_SIZE = 48, AT_TYPE = 60, AT_BLOCK_SIZE = 32, AT_LOCATORS = 576 };

static void refuse(const struct lv_audit *a, enum lv_reason reason,
                 uint64_t expected, uint64_t actual, uint64_t offset) {
  lv_finding(a->list, LVHD_ERROR, reason,
             LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL | LVHD_HAS_OFFSET, expected,
             actual, offset);
}

static void refuse_plain(const struct lv_audit *a, enum lv_reason reason,
                       uint64_t offset) {
  lv_finding(a->list, LVHD_ERROR, reason, LVHD_HAS_OFFSET, 0, 0, offset);
}

static bool ends_in(const char *path, const char *extension) {
  size_t n = strlen(path), m = strlen(extension);
  return n > m && strcasecmp(path + n - m, extension) == 0;
}

static void check_size(const struct lv_audit *a, uint64_t least,
                       uint64_t most) {
  uint64_t size = a->footer->current_size;
  if (size < least || size > most)
    refuse(a, LV_R_PROFILE_SIZE, size < least ? least : most, size,
         a->footer_at + AT_SIZE);
}

static void check_block_size(const struct lv_audit *a, bool small_too) {
  uint32_t block = a->header ? a->header->block_size : LV_BLOCK_SIZE;
  if (block != LV_BLOCK_SIZE && !(small_too && block == LV_BLOCK_SMALL))
    refuse(a, LV_R_PROFILE_BLOCK_SIZE, LV_BLOCK_SIZE, block,
         a->footer->data_offset + AT_BLOCK_SIZE);
}

/* ---- one disk -------------------------------------------------------- */

/* Fixed disks of whole MiB, from 20 MiB to 32 TiB. */
static void azure(const struct lv_audit *a, const char *path) {
  uint64_t size = a->footer->current_size;
  if (a->footer->type != LVHD_FIXED)
    refuse(a, LV_R_PROFILE_TYPE, LVHD_FIXED, a->footer->type,
         a->footer_at + AT_TYPE);
  if (size % MIB != 0)
    refuse(a, LV_R_PROFILE_SIZE, lv_round_up(size, MIB), size,
         a->footer_at + AT_SIZE);
  else
    check_size(a, 20 * MIB, 32 * MIB * MIB);
  if (!ends_in(path, ".vhd"))
    refuse_plain(a, LV_R_PROFILE_EXTENSION, 0);
}

static void hyperv(const struct lv_audit *a, const char *path) {
  check_block_size(a, true);
  check_size(a, (uint64_t)LV_SIZE_MIN, (uint64_t)LV_SIZE_MAX);
  if (!ends_in(path, ".vhd") && !ends_in(path, ".avhd"))
    refuse_plain(a, LV_R_PROFILE_EXTENSION, 0);
}

/* What 7-Zip refuses, where others only wonder. */
static const enum lv_reason for_seven_zip[] = {
  LV_R_FOOTER_COPY_USED, LV_R_FOOTER_SHORT,   LV_R_FOOTERS_DIFFER,
  LV_R_FOOTER_RESERVED,  LV_R_HEADER_RESERVED, LV_R_PARENT_FIELDS,
  LV_R_ENTRIES_NOT_EXACT, LV_R_HIDDEN,         LV_R_SAVED_STATE,
};

void lv_profile_raise(struct lv_findings *list, enum lvhd_profile profile) {
  const size_t count = sizeof for_seven_zip / sizeof *for_seven_zip;
  for (size_t i = 0; profile == LVHD_PROFILE_7ZIP && i < list->count; i++)
    for (size_t k = 0; k < count; k++)
      if (list->items[i].reason == (int)for_seven_zip[k])
        list->items[i].severity = LVHD_ERROR;
}

void lv_profile_disk(const struct lv_audit *a, enum lvhd_profile profile,
                     const char *path) {
  switch (profile) {
    case LVHD_PROFILE_AZURE:
      azure(a, path);
      return;
    case LVHD_PROFILE_HYPERV:
      hyperv(a, path);
      return;
    case LVHD_PROFILE_XENSERVER: /* tapdisk reads a quarter of others */
    case LVHD_PROFILE_VIRTUALBOX: /* compacts and resizes others wrongly */
      check_block_size(a, false);
      return;
    case LVHD_PROFILE_7ZIP:
      if (a->header && a->header->block_size > UINT32_C(1) << 30)
        refuse(a, LV_R_PROFILE_BLOCK_SIZE, UINT32_C(1) << 30,
             a->header->block_size, a->footer->data_offset + AT_BLOCK_SIZE);
      return;
    case LVHD_PROFILE_NONE:
      return;
  }
}

/* ---- its way to the parent ------------------------------------------- */

static const struct lvhd_locator *locator(const struct lvhd_locator *all,
                                          size_t count, const char *code) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(all[i].code, code) == 0 && all[i].path != NULL &&
        all[i].path[0] != '\0')
      return &all[i];
  return NULL;
}

static bool is_ascii(const char *text) {
  while (*text != '\0' && (unsigned char)*text < 0x80)
    text++;
  return *text == '\0';
}

/* Text goes through iconv to ASCII; MacX is "file://" and a literal path. */
static void xenserver(const struct lv_audit *a,
                      const struct lvhd_locator *all, size_t count,
                      const char *name) {
  const struct lvhd_locator *macx = locator(all, count, "MacX");
  bool findable = macx != NULL && strncmp(macx->path, "file://", 7) == 0 &&
                  strncmp(macx->path, "file://localhost", 16) != 0;
  findable |= locator(all, count, "W2ku") || locator(all, count, "W2ru");
  if (!is_ascii(name))
    refuse_plain(a, LV_R_PROFILE_NAME,
               a->footer->data_offset + LV_HEADER_NAME_AT);
  if (!findable)
    refuse_plain(a, LV_R_PROFILE_LOCATOR, a->footer->data_offset + AT_LOCATORS);
}

/* One ".\" goes; any other separator leads nowhere, and then the name field
 * counts.  Of 1024 bytes and more the text is not read. */
static void seven_zip(const struct lv_audit *a,
                      const struct lvhd_locator *all, size_t count,
                      const char *name) {
  const struct lvhd_locator *w2ru = locator(all, count, "W2ru");
  if (w2ru != NULL && w2ru->raw_length >= LV_SLOT) {
    refuse(a, LV_R_PROFILE_LOCATOR, LV_SLOT - 1, w2ru->raw_length,
         w2ru->offset);
    w2ru = NULL;
  }
  if (w2ru != NULL) {
    const char *path = w2ru->path;
    if (strncmp(path, ".\\", 2) == 0)
      path += 2;
    if (strpbrk(path, "/\\") != NULL)
      refuse_plain(a, LV_R_PROFILE_FOLDER, w2ru->offset);
  } else if (name[0] == '\0' || strpbrk(name, "/\\") != NULL) {
    refuse_plain(a, LV_R_PROFILE_LOCATOR, a->footer->data_offset + AT_LOCATORS);
  }
}

void lv_profile_child(const struct lv_audit *a, enum lvhd_profile profile,
                      const struct lvhd_locator *locators, size_t count,
                      const char *name) {
  if (profile == LVHD_PROFILE_HYPERV &&
      !locator(locators, count, "W2ru") && !locator(locators, count, "W2ku"))
    refuse_plain(a, LV_R_PROFILE_LOCATOR, a->footer->data_offset + AT_LOCATORS);
  else if (profile == LVHD_PROFILE_XENSERVER)
    xenserver(a, locators, count, name);
  else if (profile == LVHD_PROFILE_7ZIP)
    seven_zip(a, locators, count, name);
}
