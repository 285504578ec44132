/* SPDX-License-Identifier: MIT
 *
 * A plain reader of chains: sector by sector, from the specification.  Shares
 * nothing with the engine.  It is asked about files that the engine accepts.
 */
#include <string.h>

#include "examine.h"
#include "forge.h"

/* Where the footer is that counts: at the end if it is whole. */
static uint64_t footer_of(const struct mem_file *file) {
  uint64_t at = forge_footer(file);
  uint8_t bytes[512] = {0};
  uint32_t sum = 0;
  uint32_t stored = 0;
  if (!mem_peek(file, at, bytes, (size_t)(file->length - at)) ||
      memcmp(bytes, "conectix", 8) != 0)
    return 0;
  for (size_t i = 0; i < sizeof bytes; i++)
    sum += i < 64 || i >= 68 ? bytes[i] : 0u;
  stored = (uint32_t)forge_get(file, at + 64, 4);
  return stored == ~sum || stored == ~(sum - bytes[85]) ? at : 0;
}

enum holds { NOT_HERE, HERE, BROKEN };

static enum holds from_table(const struct mem_file *file, uint64_t footer,
                             uint64_t sector, uint8_t out[512]) {
  uint64_t header = forge_get(file, footer + 16, 8);
  uint64_t table = forge_get(file, header + 16, 8);
  uint64_t per = forge_get(file, header + 32, 4) / 512;
  uint64_t bitmap = per == 0 ? 0 : (per + 4095) / 4096 * 512;
  uint64_t entry = 0;
  uint64_t at = 0;
  uint8_t byte = 0;
  if (per == 0)
    return BROKEN;
  entry = forge_get(file, table + sector / per * 4, 4);
  if (entry == 0xFFFFFFFF)
    return NOT_HERE;
  at = entry * 512;
  if (!mem_peek(file, at + sector % per / 8, &byte, 1))
    return BROKEN;
  if ((byte & 0x80 >> sector % per % 8) == 0)
    return NOT_HERE;
  return mem_peek(file, at + bitmap + sector % per * 512, out, 512) ? HERE
                                                                    : BROKEN;
}

void plain_add(struct plain *plain, const struct mem_file *file) {
  plain->files[plain->count] = file;
  plain->footers[plain->count++] = footer_of(file);
}

bool plain_sector(const struct plain *plain, uint64_t sector,
                  uint8_t out[512]) {
  memset(out, 0, 512);
  for (size_t i = 0; i < plain->count; i++) {
    const struct mem_file *file = plain->files[i];
    uint64_t footer = plain->footers[i];
    uint64_t size = forge_get(file, footer + 48, 8);
    enum holds holds = HERE;
    if (sector >= size / 512)
      return true;
    if (forge_get(file, footer + 60, 4) == 2)
      return mem_peek(file, sector * 512, out, 512);
    holds = from_table(file, footer, sector, out);
    if (holds != NOT_HERE)
      return holds == HERE;
  }
  return true;
}
