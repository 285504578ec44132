/* SPDX-License-Identifier: MIT
 *
 * The plan of a new file: where everything goes, and the bytes of its head.
 * Runs once for every file made, so nothing is allocated or cleared that is
 * not written.  Opens nothing; which parent, and the way to it, is said by
 * the caller.
 */
#include "format/plan.h"

#include <string.h>

#include "base/bytes.h"
#include "format/locators.h"

/* Where things stand (design 3).  A differencing disk has its BAT where
 * Windows has it, and the locators before it: writers that do not know them
 * append after the BAT. */
enum {
  HEADER_AT = LV_FOOTER_SIZE,
  HEADER_END = HEADER_AT + LV_HEADER_SIZE, /* the BAT of a dynamic disk */
  W2RU_AT = 0x1000,
  W2KU_AT = 0x1400,
  MACX_AT = 0x1800,
  TABLE_AT = 0x2000
};
_Static_assert(TABLE_AT == LV_PLAN_HEAD, "the head ends at the BAT");

#define DATA_ALIGNMENT 4096u
#define BLOCK_LAST UINT64_C(0xFFFFFFFE) /* sector; all ones: no block */

uint32_t lv_bitmap_size(uint32_t block_size) {
  uint32_t bits = block_size / LV_SECTOR;
  return (uint32_t)lv_round_up((bits + 7) / 8, LV_SECTOR);
}

uint64_t lv_block_count(uint64_t size, uint32_t block_size) {
  return size / block_size + (size % block_size != 0);
}

uint64_t lv_full_size(uint64_t data_start, uint32_t entries,
                      uint32_t block_size) {
  uint64_t pitch = (uint64_t)lv_bitmap_size(block_size) + block_size;
  return data_start + entries * pitch + LV_FOOTER_SIZE;
}

/* ---- the layout ------------------------------------------------------ */

static void lay_out_plain(struct lv_plan *plan, uint64_t size, bool raw) {
  plan->head_size = 0;
  plan->entries = 0;
  plan->table_size = 0;
  plan->footer_offset = size;
  plan->file_size = size + (raw ? 0 : LV_FOOTER_SIZE);
  plan->full_size = plan->file_size;
}

static int lay_out_blocks(struct lv_plan *plan, const struct lv_plan_in *in,
                          uint32_t table_offset, struct lvhd_error *err) {
  const uint64_t reach = BLOCK_LAST * LV_SECTOR;
  uint64_t entries = lv_block_count(in->size, in->block_size);
  uint32_t bitmap = lv_bitmap_size(in->block_size);
  uint64_t table_end, start, last;

  /* So many blocks are larger than the reach, were they of one sector. */
  if (entries > UINT32_MAX)
    return lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_LARGE, LV_R_BAT_REACH,
                         reach, in->size);
  plan->head_size = table_offset;
  plan->entries = (uint32_t)entries;
  plan->table_size = lv_round_up(entries * 4, LV_SECTOR);
  table_end = table_offset + plan->table_size;
  plan->footer_offset = table_end;
  plan->file_size = table_end + LV_FOOTER_SIZE;
  /* The first block's data is aligned; its bitmap stands before it. */
  start = lv_round_up(table_end + bitmap, DATA_ALIGNMENT) - bitmap;
  plan->first_block = start;
  plan->full_size = lv_full_size(start, plan->entries, in->block_size);
  last = plan->full_size - LV_FOOTER_SIZE - bitmap - in->block_size;
  if (entries > 0 && last > reach)
    return lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_LARGE, LV_R_BAT_REACH,
                         reach, last);
  return LVHD_S_OK;
}

/* ---- the parent ------------------------------------------------------ */

static void add_locator(struct lv_plan *plan, struct lv_header *header,
                        const uint8_t code[4], uint32_t offset,
                        uint32_t length) {
  struct lv_locator_entry *entry = &header->locators[plan->locator_count];
  struct lv_plan_locator *locator = &plan->locators[plan->locator_count];

  plan->locator_count++;
  memcpy(entry->code, code, sizeof entry->code);
  /* Bytes, as all tools write it; the specification says sectors. */
  entry->space = LV_SLOT;
  entry->length = length;
  entry->offset = offset;
  memcpy(locator->code, code, sizeof locator->code);
  locator->offset = offset;
  locator->length = length;
}

/* Zeros from behind the text to the next slot. */
static void end_slot(struct lv_plan *plan, uint32_t at, size_t length,
                     uint32_t next) {
  memset(plan->head + at + length, 0, next - at - length);
}

static int put_w2ru(struct lv_plan *plan, struct lv_header *header,
                    const struct lv_plan_in *in, struct lvhd_error *err) {
  uint32_t length = 0;
  int code = LVHD_S_OK;

  if (!in->no_relative) {
    code = lv_locator_w2ru(in->relative, plan->head + W2RU_AT, &length, err);
    if (code != LVHD_S_OK)
      return code;
    add_locator(plan, header, lv_w2ru, W2RU_AT, length);
  }
  end_slot(plan, W2RU_AT, length, W2KU_AT);
  return LVHD_S_OK;
}

static void put_w2ku(struct lv_plan *plan, struct lv_header *header,
                     const char *windows) {
  size_t length =
    windows ? lv_locator_w2ku(windows, plan->head + W2KU_AT) : 0;

  if (length > LV_LOCATOR_MAX) {
    plan->w2ku_left_out = length;
    length = 0;
  } else if (length > 0) {
    add_locator(plan, header, lv_w2ku, W2KU_AT, (uint32_t)length);
  }
  end_slot(plan, W2KU_AT, length, MACX_AT);
}

static void put_macx(struct lv_plan *plan, struct lv_header *header,
                     const char *relative) {
  size_t length = lv_locator_macx(relative, plan->head + MACX_AT);

  if (length > LV_MACX_MAX) {
    plan->macx_left_out = length;
    length = 0;
  } else {
    add_locator(plan, header, lv_macx, MACX_AT, (uint32_t)length);
  }
  end_slot(plan, MACX_AT, length, TABLE_AT);
}

static int put_parent(struct lv_plan *plan, struct lv_header *header,
                      const struct lv_plan_in *in, struct lvhd_error *err) {
  int code = lv_locator_name(in->relative, header->parent_name, err);

  if (code != LVHD_S_OK)
    return code;
  memset(plan->head + HEADER_END, 0, W2RU_AT - HEADER_END);
  code = put_w2ru(plan, header, in, err);
  if (code != LVHD_S_OK)
    return code;
  put_w2ku(plan, header, in->windows);
  put_macx(plan, header, in->relative);
  if (plan->locator_count == 0)
    return lv_fail_range(err, LVHD_E_BUFFER_OVERFLOW, LV_R_LOCATOR_TOO_LONG,
                         LV_MACX_MAX, plan->macx_left_out);
  memcpy(header->parent_uuid, in->parent_uuid, sizeof header->parent_uuid);
  header->parent_timestamp = in->parent_timestamp;
  return LVHD_S_OK;
}

/* ---- the plan -------------------------------------------------------- */

static int put_header(struct lv_plan *plan, const struct lv_plan_in *in,
                      struct lvhd_error *err) {
  bool child = in->type == LVHD_DIFFERENCING;
  uint32_t table_offset = child ? TABLE_AT : HEADER_END;
  struct lv_header *header = &plan->header;
  int code;

  code = lay_out_blocks(plan, in, table_offset, err);
  if (code != LVHD_S_OK)
    return code;
  memset(header, 0, sizeof *header);
  header->table_offset = table_offset;
  header->entries = plan->entries;
  header->block_size = in->block_size;
  if (child) {
    code = put_parent(plan, header, in, err);
    if (code != LVHD_S_OK)
      return code;
  }
  lv_header_encode(header, plan->head + HEADER_AT);
  return LVHD_S_OK;
}

int lv_plan(struct lv_plan *plan, const struct lv_plan_in *in,
            struct lvhd_error *err) {
  struct lv_footer *fields = &plan->fields;

  plan->locator_count = 0;
  plan->w2ku_left_out = 0;
  plan->macx_left_out = 0;
  lv_footer_init(fields, in->type, in->size);
  fields->timestamp = in->timestamp;
  memcpy(fields->uuid, in->uuid, sizeof fields->uuid);
  lv_footer_encode(fields, plan->footer);
  if (in->type == LVHD_FIXED || in->type == LVHD_RAW) {
    lay_out_plain(plan, in->size, in->type == LVHD_RAW);
  } else {
    int code = put_header(plan, in, err);
    if (code != LVHD_S_OK)
      return code;
    memcpy(plan->head, plan->footer, LV_FOOTER_SIZE);
  }
  return LVHD_S_OK;
}
