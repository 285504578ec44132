/* SPDX-License-Identifier: MIT
 *
 * Tiny VHDs, byte by byte.
 */
#include "forge.h"

#include <stdlib.h>
#include <string.h>

#define SECTOR 512u
#define HEADER 512u
#define TEXTS 1536u /* three slots of a sector, in differencing disks */
#define AT_SUM 64u
#define AT_HEADER_SUM 36u

static void be(uint8_t *to, size_t n, uint64_t value) {
  for (size_t i = n; i > 0; i--, value >>= 8)
    to[i - 1] = (uint8_t)value;
}

static uint32_t sum(const uint8_t *bytes, size_t n, size_t skip) {
  uint32_t total = 0;
  for (size_t i = 0; i < n; i++)
    total += bytes[i];
  for (size_t i = skip; i < skip + 4; i++)
    total -= bytes[i];
  return ~total;
}

/* ---- writing --------------------------------------------------------- */

static void write_footer(uint8_t *to, const struct forge *what) {
  memset(to, 0, SECTOR);
  memcpy(to, "conectix", 8);
  be(to + 8, 4, 2);
  be(to + 12, 4, 0x10000);
  be(to + 16, 8, what->type == 2 ? UINT64_MAX : HEADER);
  memcpy(to + 28, "win \0\x0A\0\0Wi2k", 12);
  be(to + 40, 8, what->size);
  be(to + 48, 8, what->size);
  be(to + 58, 1, 4); /* 0/4/17, as the specification computes it */
  be(to + 59, 1, 17);
  be(to + 60, 4, what->type);
  memset(to + 68, what->id, 16);
  be(to + AT_SUM, 4, sum(to, SECTOR, AT_SUM));
}

static void utf16(uint8_t *to, const char *text, bool big, bool windows) {
  for (; *text != '\0'; text++, to += 2)
    to[big ? 1 : 0] = (uint8_t)(windows && *text == '/' ? '\\' : *text);
}

/* W2ru, W2ku and MacX, a slot each. */
static void write_parent(uint8_t *file, const struct forge *what) {
  static const char *const codes[] = {"W2ru", "W2ku", "MacX"};
  const char *slash = strrchr(what->parent, '/');
  uint8_t *header = file + HEADER;
  size_t n = strlen(what->parent);
  memset(header + 40, what->parent_id, 16);
  be(header + 56, 4, what->parent_time);
  utf16(header + 64, slash ? slash + 1 : what->parent, true, false);
  for (unsigned i = 0; i < 3; i++) {
    uint8_t *entry = header + 576 + 24 * (size_t)i;
    uint8_t *text = file + TEXTS + SECTOR * i;
    size_t length = i == 0 ? 2 * (n + 2) : i == 1 ? 2 * (n + 5) : n + 9;
    memcpy(entry, codes[i], 4);
    be(entry + 4, 4, SECTOR);
    be(entry + 8, 4, length);
    be(entry + 16, 8, TEXTS + SECTOR * i);
    if (i == 2) {
      memcpy(text, "file://./", 9);
      memcpy(text + 9, what->parent, n);
      continue;
    }
    utf16(text, i == 0 ? ".\\" : "C:\\d\\", false, true);
    utf16(text + (i == 0 ? 4 : 10), what->parent, false, true);
  }
}

/* Sectors of the leaf's content: recognisable, different in each layer. */
static void write_block(uint8_t *to, const struct forge *what, unsigned index,
                        size_t bitmap) {
  unsigned sectors = what->block / SECTOR;
  for (unsigned s = 0; s < sectors; s++) {
    if (what->type == 4 && (s + index + what->id) % 2 == 0)
      continue;
    to[s / 8] |= (uint8_t)(0x80 >> (s % 8));
    if (s % 4 != 0 && sectors > 4)
      continue; /* zeros keep the inputs of fuzzers short */
    memset(to + bitmap + s * SECTOR, (int)(what->id * 16 + s + index),
           SECTOR);
  }
}

static bool is_used(const struct forge *what, unsigned block) {
  return block < 32 && (what->blocks_used >> block & 1) != 0;
}

uint8_t *forge(const struct forge *given, size_t *n) {
  struct forge what = *given;
  uint8_t *file = NULL;
  if (what.block == 0)
    what.block = 2048;
  uint64_t entries = (what.size + what.block - 1) / what.block;
  uint64_t table = what.type == 4 ? TEXTS + 3 * SECTOR : TEXTS;
  uint64_t end = table + (entries * 4 + SECTOR - 1) / SECTOR * SECTOR;
  size_t bitmap = (what.block / SECTOR + 4095) / 4096 * SECTOR;
  unsigned used = 0;
  if (what.type == 2)
    end = what.size;
  for (unsigned i = 0; what.type != 2 && i < entries; i++)
    used += is_used(&what, i);
  *n = (size_t)(end + used * (bitmap + what.block) + SECTOR);
  file = calloc(1, *n);
  if (file == NULL)
    abort();
  write_footer(file + *n - SECTOR, &what);
  if (what.short_footer)
    *n -= 1;
  if (what.type == 2) {
    for (size_t i = 0; i < what.size; i++)
      file[i] = (uint8_t)(what.id + i / SECTOR);
    return file;
  }
  write_footer(file, &what);
  memcpy(file + HEADER, "cxsparse", 8);
  memset(file + HEADER + 8, 0xFF, 8);
  be(file + HEADER + 16, 8, table);
  be(file + HEADER + 24, 4, 0x10000);
  be(file + HEADER + 28, 4, entries);
  be(file + HEADER + 32, 4, what.block);
  if (what.type == 4)
    write_parent(file, &what);
  be(file + HEADER + AT_HEADER_SUM, 4,
     sum(file + HEADER, 1024, AT_HEADER_SUM));
  memset(file + table, 0xFF,
         (size_t)((entries * 4 + SECTOR - 1) / SECTOR * SECTOR));
  for (unsigned i = 0; i < entries; i++) {
    if (!is_used(&what, i))
      continue;
    be(file + table + 4 * (size_t)i, 4, end / SECTOR);
    write_block(file + end, &what, i, bitmap);
    end += bitmap + what.block;
  }
  return file;
}

void forge_file(struct mem_file *file, const struct forge *what) {
  size_t n = 0;
  uint8_t *bytes = forge(what, &n);
  *file = (struct mem_file){.length = n, .count = 1};
  file->segments[0] = (struct mem_segment){.n = n, .bytes = bytes};
}

const char *const forge_names[FORGE_SEEDS] = {"fixed", "dynamic",
                                              "differencing", "chain of 3"};

static void seed(struct mem *mem, unsigned which, uint64_t size,
                 uint32_t block) {
  const uint32_t time = MEM_MTIME - FORGE_EPOCH;
  struct forge leaf = {.type = 4, .size = size, .id = 1, .parent_id = 2,
                       .blocks_used = 0x05, .parent = "base.vhd",
                       .parent_time = time - 10, .block = block};
  struct forge base = {.type = 3, .size = size, .id = 2,
                       .blocks_used = 0x13, .block = block};
  mem_init(mem);
  mem->count = which < 2 ? 1 : which;
  if (which == 0) {
    leaf.type = 2;
  } else if (which == 1) {
    leaf.type = 3;
  } else if (which == 3) {
    struct forge root = {.type = 2, .size = size, .id = 3};
    base.type = 4;
    base.parent_id = 3;
    base.parent = "sub/mid.vhd";
    base.parent_time = time - 20;
    forge_file(&mem->files[2], &root);
  }
  forge_file(&mem->files[0], &leaf);
  if (which >= 2)
    forge_file(&mem->files[1], &base);
}

void forge_seed(struct mem *mem, unsigned which) {
  seed(mem, which, 17 * SECTOR, 2048); /* four blocks and a quarter */
}

void forge_large(struct mem *mem, unsigned which) {
  struct mem_file *file = &mem->files[which < 3 ? 0 : 2];
  const uint64_t size = (3 << 20) + SECTOR;
  seed(mem, which, size, 4096);
  if (which != 0 && which != 3)
    return;
  /* the fixed one costs its two ends alone */
  file->segments[1] = file->segments[0];
  file->segments[1].offset = size;
  file->segments[1].n = SECTOR;
  memmove(file->segments[0].bytes + 4096, file->segments[0].bytes + size,
          SECTOR);
  file->segments[1].bytes = file->segments[0].bytes + 4096;
  file->segments[0].n = 4096;
  file->count = 2;
}

/* ---- notes ----------------------------------------------------------- */

/* What the engine writes beside a file, from image/journal.c's description.
 * Each piece is what the file holds there, turned round. */
uint8_t *forge_note(const struct mem_file *of, const struct forge_note *what,
                    size_t *n) {
  uint8_t *out = calloc(1, 136 + 3 * (12 + SECTOR));
  uint8_t *at = NULL;
  if (out == NULL)
    abort();
  at = out + 128;
  memcpy(out, "lvhdjrnl", 8);
  be(out + 8, 4, 1);
  be(out + 12, 4, what->verb);
  mem_peek(of, forge_footer(of) + 68, out + 16, 16);
  memset(out + 32, what->other, 16);
  be(out + 48, 8, MEM_MTIME);
  be(out + 60, 4, what->pieces);
  be(out + 64, 8, what->length ? what->length : of->length);
  be(out + 72, 8, what->done);
  be(out + 88, 8, what->longest);
  for (unsigned i = 0; i < what->pieces; i++) {
    be(at, 8, what->at[i]);
    be(at + 8, 4, SECTOR);
    if (what->at[i] + SECTOR <= of->length)
      mem_peek(of, what->at[i], at + 12, SECTOR);
    for (unsigned k = 0; what->turned && k < SECTOR; k++)
      at[12 + k] ^= 0x55;
    at += 12 + SECTOR;
  }
  *n = (size_t)(at - out) + 8;
  be(out + 80, 8, *n);
  return out;
}

static void repair_note(struct mem_file *file) {
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  uint8_t bytes[4096];
  size_t n = (size_t)file->length;
  if (file->length < 136 || file->length > sizeof bytes)
    return;
  forge_put(file, 80, 8, file->length);
  mem_peek(file, 0, bytes, n);
  for (size_t i = 0; i < n - 8; i++)
    h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
  forge_put(file, file->length - 8, 8, h);
}

void forge_add_note(struct mem *mem, const struct forge_note *what) {
  size_t n = 0;
  uint8_t *bytes = forge_note(&mem->files[0], what, &n);
  mem->files[MEM_NOTE] = (struct mem_file){.length = n, .count = 1};
  mem->files[MEM_NOTE].segments[0] =
    (struct mem_segment){.n = n, .bytes = bytes};
  repair_note(&mem->files[MEM_NOTE]);
  mem->count = MEM_FILES;
}

void forge_free(struct mem *mem) {
  for (size_t i = 0; i < MEM_FILES; i++)
    if (mem->files[i].count > 0)
      free(mem->files[i].segments[0].bytes);
  mem_init(mem);
}

/* ---- places ---------------------------------------------------------- */

uint64_t forge_get(const struct mem_file *file, uint64_t at, size_t n) {
  uint8_t bytes[8] = {0};
  uint64_t value = 0;
  if (!mem_peek(file, at, bytes, n))
    return 0;
  for (size_t i = 0; i < n; i++)
    value = value << 8 | bytes[i];
  return value;
}

void forge_put(struct mem_file *file, uint64_t at, size_t n,
               uint64_t value) {
  uint8_t bytes[8];
  be(bytes, n, value);
  mem_poke(file, at, bytes, n);
}

uint64_t forge_footer(const struct mem_file *file) {
  uint64_t n = file->length % SECTOR == SECTOR - 1 ? SECTOR - 1 : SECTOR;
  return file->length < n ? 0 : file->length - n;
}

bool forge_header(const struct mem_file *file, uint64_t *at) {
  *at = forge_get(file, forge_footer(file) + 16, 8);
  if (forge_get(file, forge_footer(file), 4) != 0x636F6E65 ||
      *at == UINT64_MAX)
    *at = forge_get(file, 16, 8);
  return *at < file->length && file->length - *at >= 1024;
}

static void repair(struct mem_file *file, uint64_t at, size_t n,
                   size_t skip) {
  uint8_t bytes[1024] = {0};
  if (mem_peek(file, at, bytes, n) && memcmp(bytes, "c", 1) == 0)
    forge_put(file, at + skip, 4, sum(bytes, n, skip));
}

void forge_repair(struct mem_file *file) {
  uint64_t at = forge_footer(file);
  uint64_t header = 0;
  if (forge_get(file, 0, 8) == UINT64_C(0x6C7668646A726E6C)) {
    repair_note(file);
    return;
  }
  if (forge_header(file, &header))
    repair(file, header, 1024, AT_HEADER_SUM);
  repair(file, 0, SECTOR, AT_SUM);
  repair(file, at, (size_t)(file->length - at), AT_SUM);
}

const struct forge_field forge_fields[] = {
  {OF_FOOTER, 8, 4, "features"},
  {OF_FOOTER, 12, 4, "version"},
  {OF_FOOTER, 16, 8, "data offset"},
  {OF_FOOTER, 24, 4, "time"},
  {OF_FOOTER, 28, 4, "creator"},
  {OF_FOOTER, 32, 4, "creator version"},
  {OF_FOOTER, 40, 8, "original size"},
  {OF_FOOTER, 48, 8, "size"},
  {OF_FOOTER, 56, 4, "geometry"},
  {OF_FOOTER, 60, 4, "type"},
  {OF_FOOTER, 68, 8, "identifier"},
  {OF_FOOTER, 84, 2, "state and hidden"},
  {OF_FOOTER, 504, 8, "reserved"},
  {OF_COPY, 0, 8, "cookie of the copy"},
  {OF_COPY, 16, 8, "data offset of the copy"},
  {OF_COPY, 48, 8, "size of the copy"},
  {OF_COPY, 60, 4, "type of the copy"},
  {OF_HEADER, 8, 8, "next structure"},
  {OF_HEADER, 16, 8, "table offset"},
  {OF_HEADER, 24, 4, "header version"},
  {OF_HEADER, 28, 4, "entries"},
  {OF_HEADER, 32, 4, "block size"},
  {OF_HEADER, 40, 8, "parent identifier"},
  {OF_HEADER, 56, 4, "parent time"},
  {OF_HEADER, 60, 4, "reserved"},
  {OF_HEADER, 64, 8, "parent name"},
  {OF_HEADER, 576, 4, "locator code"},
  {OF_HEADER, 580, 4, "locator space"},
  {OF_HEADER, 584, 4, "locator length"},
  {OF_HEADER, 588, 4, "locator reserved"},
  {OF_HEADER, 592, 8, "locator offset"},
  {OF_HEADER, 608, 4, "second locator length"},
  {OF_HEADER, 616, 8, "second locator offset"},
  {OF_HEADER, 632, 4, "third locator length"},
  {OF_HEADER, 640, 8, "third locator offset"},
  {OF_HEADER, 744, 8, "eighth locator"},
};
const size_t forge_field_count = sizeof forge_fields / sizeof *forge_fields;

bool forge_place(const struct mem_file *file, const struct forge_field *field,
                 uint64_t *at) {
  *at = 0;
  if (field->of == OF_FOOTER)
    *at = forge_footer(file);
  else if (field->of == OF_HEADER && !forge_header(file, at))
    return false;
  *at += field->at;
  return *at < file->length && file->length - *at >= field->n;
}

bool forge_value(const struct mem_file *file, size_t n, unsigned i,
                 uint64_t *value) {
  unsigned bits = (unsigned)n * 8;
  uint64_t edges[] = {0,
                      UINT64_MAX,
                      file->length,
                      file->length / SECTOR,
                      forge_footer(file),
                      forge_get(file, forge_footer(file) + 48, 8),
                      0x12345678,
                      SECTOR,
                      1024,
                      1536};
  unsigned count = sizeof edges / sizeof *edges;
  if (i < 3 * count) {
    *value = edges[i / 3] + i % 3 - 1;
    return true;
  }
  i -= 3 * count;
  *value = (UINT64_C(1) << (i / 3 % 64)) + i % 3 - 1;
  return i / 3 < bits;
}
