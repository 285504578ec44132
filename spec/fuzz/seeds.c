/* SPDX-License-Identifier: MIT
 *
 * seeds FOLDER [disk.vhd ...]: writes the first inputs: FOLDER/image for all
 * targets that read images (tiny disks made by hand, the metadata of real
 * ones), FOLDER/codec.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "examine.h"
#include "forge.h"
#include "targets.h"

static const char *folder;

static void save(const char *target, const char *name, const void *bytes,
                 size_t n) {
  char path[512];
  FILE *file = NULL;
  snprintf(path, sizeof path, "%s/%s", folder, target);
  if (mkdir(path, 0777) != 0 && errno != EEXIST)
    perror(path);
  snprintf(path, sizeof path, "%s/%s/seed-%s", folder, target, name);
  file = fopen(path, "wb");
  if (file == NULL || fwrite(bytes, 1, n, file) != n || fclose(file) != 0) {
    perror(path);
    exit(1);
  }
}

static void save_image_in(const char *target, const struct mem *mem,
                          uint8_t flags, const char *name) {
  static uint8_t out[INPUT_MAX];
  size_t n = mem_encode(mem, flags, out, sizeof out);
  if (n == 0) {
    fprintf(stderr, "%s is too large\n", name);
    exit(1);
  }
  save(target, name, out, n);
}

static void save_image(const struct mem *mem, uint8_t flags,
                       const char *name) {
  save_image_in("image", mem, flags, name);
}

/* Zeros need no segment; a run of ones is what most BATs are. */
static void add(struct mem_file *file, const uint8_t *bytes, uint64_t offset,
                size_t n) {
  while (n > 0 && bytes[n - 1] == 0)
    n--;
  if (n == 0 || file->count == MEM_SEGMENTS)
    return;
  file->segments[file->count] =
    (struct mem_segment){.offset = offset, .n = n, .bytes = malloc(n)};
  memcpy(file->segments[file->count++].bytes, bytes, n);
}

/* The same file in segments without the zeros; what is long and one value is
 * left out, but for its first sector. */
static void thin(struct mem_file *to, const struct mem_file *from) {
  *to = (struct mem_file){.length = from->length};
  for (size_t k = 0; k < from->count; k++) {
    const struct mem_segment *s = &from->segments[k];
    size_t begin = 0;
    for (size_t at = 0; at < s->n; at += 512) {
      size_t n = s->n - at < 512 ? s->n - at : 512;
      bool zero = s->bytes[at] == 0 &&
                  memcmp(s->bytes + at, s->bytes + at + 1, n - 1) == 0;
      if (!zero)
        continue;
      add(to, s->bytes + begin, s->offset + begin, at - begin);
      begin = at + n;
    }
    add(to, s->bytes + begin, s->offset + begin, s->n - begin);
  }
}

static void add_forged(struct mem_file *file, const struct forge *what) {
  size_t n = 0;
  uint8_t *bytes = forge(what, &n);
  *file = (struct mem_file){.length = n};
  for (size_t at = 0; at < n; at += 512)
    add(file, bytes + at, at, n - at < 512 ? n - at : 512);
  free(bytes);
}

static void forged(void) {
  static const char *const names[] = {"fixed", "dynamic", "diff", "chain"};
  static const struct forge more[] = {
    {.type = 3, .size = 4096, .id = 9, .blocks_used = 2,
     .short_footer = true},
    {.type = 3, .size = 4096, .block = 512, .id = 9, .blocks_used = 0x81},
    {.type = 2, .size = 512, .id = 9, .short_footer = true},
  };
  struct mem mem;
  char name[32];
  for (unsigned i = 0; i < FORGE_SEEDS; i++) {
    forge_seed(&mem, i);
    save_image(&mem, MEM_CHAIN | MEM_DATA, names[i]);
    mem.count -= mem.count > 1; /* the root is missing */
    save_image(&mem, MEM_WALK | MEM_CHAIN | MEM_PROFILE * 5, names[i]);
    forge_free(&mem);
  }
  for (unsigned i = 0; i < sizeof more / sizeof more[0]; i++) {
    mem_init(&mem);
    mem.count = 1;
    add_forged(&mem.files[0], &more[i]);
    snprintf(name, sizeof name, "more-%u", i);
    save_image(&mem, MEM_DATA, name);
  }
}

/* Disks that verbs can do something to, and each verb, twice with a note. */
static void changed(void) {
  struct mem mem;
  struct mem sparse;
  char name[32];
  for (unsigned verb = 0; verb < CHANGE_VERBS; verb++)
    for (unsigned i = 0; i < 2; i++) {
      unsigned seed = (verb + 2 * i) % FORGE_SEEDS;
      struct forge_note note = {
        .verb = 1 + verb % 5, .other = 1, .pieces = i == 0 ? 0 : 2};
      forge_large(&mem, seed);
      note.at[1] = 2048;
      if (i == 1)
        forge_add_note(&mem, &note);
      mem_init(&sparse);
      sparse.count = mem.count;
      for (size_t k = 0; k < mem.count; k++)
        thin(&sparse.files[k], &mem.files[k]);
      snprintf(name, sizeof name, "%02u-%u", verb, seed);
      save_image_in("change", &sparse,
                    (uint8_t)(MEM_CHAIN | verb * MEM_PROFILE), name);
      forge_free(&mem);
    }
}

/* A parent outside, by each way to say so. */
static void outside(void) {
  static const char *const ways[] = {"../x/root.vhd", "../secret.vhd",
                                     "out.vhd", "fifo", "/etc/shadow"};
  struct forge root = {.type = 3, .size = 8704, .id = 3, .blocks_used = 1};
  struct mem mem;
  char name[32];
  for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; i++) {
    struct forge leaf = {.type = 4, .size = 8704, .id = 1, .parent_id = 3,
                         .blocks_used = 1, .parent = ways[i],
                         .parent_time = MEM_MTIME - 30 - FORGE_EPOCH};
    mem_init(&mem);
    mem.count = 4;
    add_forged(&mem.files[0], &leaf);
    add_forged(&mem.files[3], &root);
    snprintf(name, sizeof name, "outside-%u", i);
    save_image(&mem, MEM_CHAIN | (i % 2 ? MEM_WALK : MEM_OUTSIDE), name);
  }
}

/* A real disk: its head, bitmaps and footer. */
static void real(const char *path) {
  struct mem mem;
  struct mem_file *file = &mem.files[0];
  uint8_t bytes[4096];
  const char *slash = strrchr(path, '/');
  FILE *from = fopen(path, "rb");
  uint64_t header = 0;
  uint64_t table = 0;
  if (from == NULL) {
    perror(path);
    exit(1);
  }
  mem_init(&mem);
  mem.count = 1;
  fseek(from, 0, SEEK_END);
  file->length = (uint64_t)ftell(from);
  rewind(from);
  for (uint64_t at = 0; at < 8192; at += sizeof bytes)
    add(file, bytes, at, fread(bytes, 1, sizeof bytes, from));
  fseek(from, (long)file->length - 512, SEEK_SET);
  add(file, bytes, file->length - 512, fread(bytes, 1, 512, from));
  if (forge_header(file, &header)) {
    table = forge_get(file, header + 16, 8);
    for (uint64_t i = 0; i < 8; i++) {
      uint64_t at = forge_get(file, table + 4 * i, 4) * 512;
      if (at == 0 || at >= file->length)
        continue;
      fseek(from, (long)at, SEEK_SET);
      add(file, bytes, at, fread(bytes, 1, 1024, from));
    }
  }
  fclose(from);
  save_image(&mem, MEM_DATA, slash ? slash + 1 : path);
}

static void texts(void) {
  struct forge what = {.type = 4, .size = 8704, .id = 1, .parent_id = 3,
                       .blocks_used = 1, .parent = "sub/base.vhd"};
  uint8_t out[1025] = {0};
  size_t n = 0;
  uint8_t *bytes = forge(&what, &n);
  out[0] = 4;
  memcpy(out + 1, bytes, 512);
  save("codec", "footer", out, 513);
  out[0] = 5;
  memcpy(out + 1, bytes + 512, 1024);
  save("codec", "header", out, 1025);
  free(bytes);
  save("codec", "little", "\0b\0a\0\x3D\xD8\x4A\xDE\0\0x\0", 13);
  save("codec", "big", "\1\0b\0a\xD8\x3D\0a\xDE\x4A\0", 12);
  save("codec", "utf8", "\2caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x99\x82", 16);
  save("codec", "bad", "\3\xC0\xAF \xED\xA0\x80 \xF4\x90\x80\x80", 12);
  save("codec", "paths", "\6/a/b//./c/a/b/../d/e.vhd", 25);
}

static void save_text(const char *name, unsigned how, const char *text) {
  uint8_t out[256] = {(uint8_t)how};
  size_t n = strlen(text);
  memcpy(out + 1, text, n);
  save("paths", name, out, n + 1);
}

static void paths(void) {
  static const char *const some[] = {
    "C:\\sub\\..\\base.vhd",  "\\\\SRV\\Share\\SUB\\new.vhd",
    "d:new.vhd",              "new\\disk.vhd",
    "/d/new/disk.vhd",        "\\\\?\\C:\\new.vhd",
    "C:\\away\\secret.vhd",   "C:\\gr\xC3\xB6\xC3\x9F.vhd"};
  char name[32];
  for (unsigned i = 0; i < sizeof some / sizeof some[0]; i++)
    for (unsigned how = 0; how < 6; how++) {
      snprintf(name, sizeof name, "%u-%u", i, how);
      save_text(name, how, some[i]);
    }
  save("fat", "16", "\0\0\0\0\x40\0\0\x30\0\0\0uuuuuDATEN", 21);
  save("fat", "32", "\1\0\0\x40\0\0\0\x30\0\0\0uuuuu", 16);
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  folder = argv[1];
  forged();
  outside();
  texts();
  changed();
  paths();
  for (int i = 2; i < argc; i++)
    real(argv[i]);
  return 0;
}
