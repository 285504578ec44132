/* SPDX-License-Identifier: MIT
 *
 * The mutator.
 */
#include "mutate.h"

#include <stdlib.h>
#include <string.h>

#include "forge.h"
#include "targets.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct work {
  struct mem mem;
  uint32_t random;
  mutate_fn plain;
  uint8_t bytes[INPUT_MAX];  /* what the segments point into */
  uint8_t extra[4096];       /* and those that are new */
  size_t extra_used;
};

static uint32_t next(struct work *w) {
  w->random ^= w->random << 13;
  w->random ^= w->random >> 17;
  w->random ^= w->random << 5;
  return w->random;
}

static uint32_t below(struct work *w, uint64_t n) {
  return n == 0 ? 0 : (uint32_t)(next(w) % (uint64_t)n);
}

static struct mem_file *some_file(struct work *w) {
  /* Most of what is to be found lies in the leaf. */
  return &w->mem.files[below(w, 2) ? 0 : below(w, w->mem.count)];
}

/* Writes, and makes a segment where there is none yet. */
static void force(struct work *w, struct mem_file *file, uint64_t at,
                  const uint8_t *from, size_t n) {
  bool whole = false;
  for (size_t i = 0; i < file->count && !whole; i++) {
    const struct mem_segment *s = &file->segments[i];
    whole = at >= s->offset && at - s->offset < s->n &&
            n <= s->n - (at - s->offset);
  }
  if (whole) {
    mem_poke(file, at, from, n);
  } else if (file->count < MEM_SEGMENTS &&
             n <= sizeof w->extra - w->extra_used) {
    uint8_t *to = w->extra + w->extra_used;
    memcpy(to, from, n);
    w->extra_used += n;
    file->segments[file->count++] =
      (struct mem_segment){.offset = at, .n = n, .bytes = to};
  }
}

static void force_number(struct work *w, struct mem_file *file, uint64_t at,
                         size_t n, uint64_t value) {
  uint8_t bytes[8];
  for (size_t i = n; i > 0; i--, value >>= 8)
    bytes[i - 1] = (uint8_t)value;
  force(w, file, at, bytes, n);
}

static uint64_t boundary(struct work *w, const struct mem_file *file,
                         size_t n) {
  uint64_t value = 0;
  if (!forge_value(file, n, below(w, 30 + 24 * n), &value))
    value = 0;
  return value;
}

/* ---- changes --------------------------------------------------------- */

static void change_bytes(struct work *w) {
  struct mem_file *file = some_file(w);
  struct mem_segment *s = NULL;
  size_t at = 0;
  size_t n = 0;
  if (file->count == 0)
    return;
  s = &file->segments[below(w, file->count)];
  if (s->n == 0)
    return;
  at = below(w, s->n);
  n = 1 + below(w, s->n - at < 64 ? s->n - at : 64);
  if (n > s->n - at)
    n = s->n - at;
  w->plain(s->bytes + at, n, n);
}

static void change_field(struct work *w) {
  struct mem_file *file = some_file(w);
  const struct forge_field *field =
    &forge_fields[below(w, forge_field_count)];
  uint64_t at = 0;
  if (forge_place(file, field, &at))
    force_number(w, file, at, field->n, boundary(w, file, field->n));
}

static void change_table(struct work *w) {
  struct mem_file *file = some_file(w);
  uint64_t header = 0;
  uint64_t table = 0;
  uint64_t entries = 0;
  uint64_t value = 0;
  if (!forge_header(file, &header))
    return;
  table = forge_get(file, header + 16, 8);
  entries = forge_get(file, header + 28, 4);
  if (table >= file->length)
    return;
  switch (below(w, 4)) {
  case 0:
    value = UINT32_MAX;
    break;
  case 1: /* a block twice, or a sector off */
    value = forge_get(file, table + 4 * (uint64_t)below(w, entries), 4) +
            below(w, 3) - 1;
    break;
  case 2:
    value = below(w, file->length / 512 + 2);
    break;
  default:
    value = boundary(w, file, 4);
    break;
  }
  force_number(w, file, table + 4 * (uint64_t)below(w, entries), 4, value);
}

static const char *const texts[] = {
  "base.vhd",       ".\\base.vhd",        "..\\base.vhd",
  "sub\\mid.vhd",   ".\\sub\\mid.vhd",    "leaf.vhd",
  "sub/mid.vhd",    "..\\x\\root.vhd",    "..\\secret.vhd",
  "out.vhd",        "fifo",               "..\\d\\base.vhd",
  "/etc/shadow",    "/x/root.vhd",        "/secret.vhd",
  "/d/base.vhd",    "file:///d/base.vhd", "file://./base.vhd",
  "file://localhost/x/root.vhd",          "file:///etc/shadow",
  "file://./b%61se.vhd",                  "file://./%2e%2e/secret.vhd",
  "file://./sub%2fmid.vhd",               "C:\\d\\base.vhd",
  "C:\\BASE.vhd",   "d:\\Mid.vhd",         "C:\\..\\sub\\MID.vhd",
  "C:\\OUT.vhd",    "C:\\Away\\secret.vhd", "C:\\..\\secret.vhd",
  "\\\\SRV\\Share\\SUB\\mid.vhd",         "C:\\FIFO",
  "\\\\srv\\share\\base.vhd",             "\\\\?\\C:\\base.vhd",
  ".",              "..",                 "",
  "sub\\..\\base.vhd",                    "sub\\..\\..\\secret.vhd",
  "away\\secret.vhd",  "base.vhd\\",         "/proc/self/mem",
};

static size_t encode(const char *text, unsigned how, uint8_t out[128]) {
  size_t n = 0;
  for (; *text != '\0' && n < 120; text++) {
    if (how != 2)
      out[n++] = how == 0 ? (uint8_t)*text : 0;
    out[n++] = how == 0 ? 0 : (uint8_t)*text;
  }
  return n;
}

static void change_text(struct work *w) {
  static const char codes[][5] = {"W2ru", "W2ku", "MacX", "Wi2r", "Wi2k",
                                  "Mac ", "\0\0\0\0"};
  struct mem_file *file = some_file(w);
  uint8_t out[128];
  uint64_t header = 0;
  uint64_t entry = 0;
  uint64_t at = 0;
  unsigned code = below(w, COUNT(codes));
  size_t n = encode(texts[below(w, COUNT(texts))],
                    below(w, 8) == 0 ? below(w, 3) : code < 2 ? 0 : 2, out);
  if (!forge_header(file, &header))
    return;
  if (below(w, 4) == 0) { /* the name field, in either order */
    uint8_t zeros[128] = {0};
    n = encode(texts[below(w, COUNT(texts))], below(w, 3), out);
    force(w, file, header + 64, zeros, sizeof zeros);
    force(w, file, header + 64, out, n);
    return;
  }
  entry = header + 576 + 24 * (uint64_t)below(w, below(w, 2) ? 3 : 8);
  at = forge_get(file, entry + 16, 8);
  if (at < 1536 || at >= file->length || file->length - at < n) {
    at = file->length < 1024 ? 0 : file->length - 512 - n;
    force_number(w, file, entry + 16, 8, at);
  }
  force(w, file, entry, (const uint8_t *)codes[code], 4);
  force_number(w, file, entry + 4, 4, 512);
  force_number(w, file, entry + 8, 4, n);
  force(w, file, at, out, n);
}

static void change_length(struct work *w) {
  struct mem_file *file = some_file(w);
  uint64_t old = forge_footer(file);
  uint8_t footer[512] = {0};
  size_t n = (size_t)(file->length - old);
  uint64_t length = 0;
  switch (below(w, 4)) {
  case 0:
    length = file->length + below(w, 5) - 2;
    break;
  case 1:
    length = file->length + ((uint64_t)512 << below(w, 50));
    break;
  case 2:
    length = below(w, file->length);
    break;
  default:
    length = boundary(w, file, 8);
    break;
  }
  mem_peek(file, old, footer, n);
  file->length = length % (UINT64_C(1) << 62);
  if (below(w, 2) && file->length >= 512)
    force(w, file, file->length - 512, footer, 512);
}

/* The parent of one is another one, by identifier. */
static void change_link(struct work *w) {
  struct mem_file *child = some_file(w);
  struct mem_file *parent = some_file(w);
  uint8_t id[16] = {0};
  uint64_t header = 0;
  mem_peek(parent, forge_footer(parent) + 68, id, sizeof id);
  if (forge_header(child, &header))
    force(w, child, header + 40, id, sizeof id);
}

static void change_segment(struct work *w) {
  struct mem_file *a = some_file(w);
  struct mem_file *b = some_file(w);
  if (b->count == 0)
    return;
  struct mem_segment s = b->segments[below(w, b->count)];
  switch (below(w, 3)) {
  case 0:
    a->count -= a->count > 0;
    break;
  case 1:
    if (a->count < MEM_SEGMENTS)
      a->segments[a->count++] = s;
    break;
  default:
    if (a->count > 0)
      a->segments[below(w, a->count)].offset =
        below(w, 2) ? s.offset : boundary(w, a, 8) >> 2;
    break;
  }
}

/* A field of the note beside the leaf, or a note where there was none: of any
 * verb, with old bytes over what counts. */
static void change_note(struct work *w) {
  static const struct {
    unsigned at, n;
  } fields[] = {{12, 4}, {16, 8}, {32, 8},  {48, 8},  {60, 4}, {64, 8},
                {72, 8}, {88, 8}, {128, 8}, {136, 4}, {660, 8}};
  struct mem_file *note = &w->mem.files[MEM_NOTE];
  const struct mem_file *leaf = &w->mem.files[0];
  unsigned f = below(w, COUNT(fields));
  if (w->mem.count <= MEM_NOTE) {
    struct forge_note what = {.verb = 1 + below(w, 5),
                              .other = (uint8_t)(1 + below(w, 3)),
                              .pieces = below(w, 3),
                              .turned = below(w, 2) != 0,
                              .at = {512 * (uint64_t)below(w, 8)}};
    size_t n = 0;
    uint8_t *bytes = NULL;
    if (below(w, 4) != 0)
      return;
    what.at[1] = what.at[0] + 512 * (uint64_t)(1 + below(w, 8));
    bytes = forge_note(leaf, &what, &n);
    if (n <= sizeof w->extra - w->extra_used) {
      *note = (struct mem_file){.length = n};
      force(w, note, 0, bytes, n);
      w->mem.count = MEM_FILES;
      forge_repair(note);
    }
    free(bytes);
    return;
  }
  if (fields[f].at + fields[f].n < note->length)
    force_number(w, note, fields[f].at, fields[f].n,
                 f == 8 || f == 10 ? 512 * (uint64_t)below(w, 16)
                                   : boundary(w, leaf, fields[f].n));
  if (below(w, 4) != 0)
    forge_repair(note);
}

static void change(struct work *w) {
  static void (*const changes[])(struct work *) = {
    change_bytes, change_bytes, change_bytes, change_field, change_field,
    change_field, change_table, change_table, change_text,  change_text,
    change_link,  change_length, change_segment, change_note};
  changes[below(w, COUNT(changes))](w);
}

/* ---- inputs ---------------------------------------------------------- */

static struct work work; /* large, and a fuzzer has one thread */

static void load(const uint8_t *bytes, size_t n, uint32_t seed,
                 uint8_t *flags) {
  n = n < sizeof work.bytes ? n : sizeof work.bytes;
  memcpy(work.bytes, bytes, n);
  work.random = seed * 2654435761u + 1;
  if (work.random == 0)
    work.random = 1;
  work.extra_used = 0;
  mem_init(&work.mem);
  mem_decode(&work.mem, work.bytes, n, flags);
}

size_t mutate_image(uint8_t *bytes, size_t n, size_t room, uint32_t seed,
                    mutate_fn plain) {
  uint8_t flags = 0;
  size_t made = 0;
  load(bytes, n, seed, &flags);
  work.plain = plain;
  if (work.mem.count == 0)
    return plain(bytes, n, room);
  for (unsigned i = 1 + below(&work, 4); i > 0; i--)
    change(&work);
  if (below(&work, 6) == 0)
    flags ^= (uint8_t)(1u << below(&work, 8));
  if (below(&work, 16) == 0)
    work.mem.room = below(&work, 2) ? 0 : below(&work, 32);
  if (below(&work, 2))
    for (size_t i = 0; i < work.mem.count; i++)
      forge_repair(&work.mem.files[i]);
  made = mem_encode(&work.mem, flags, bytes, room);
  return made > 0 ? made : n;
}

size_t mutate_cross(const uint8_t *a, size_t an, const uint8_t *b, size_t bn,
                    uint8_t *out, size_t room, uint32_t seed) {
  static struct mem other;
  static uint8_t copy[INPUT_MAX];
  uint8_t flags = 0;
  uint8_t unused = 0;
  size_t from = 0;
  size_t to = 0;
  load(a, an, seed, &flags);
  bn = bn < sizeof copy ? bn : sizeof copy;
  memcpy(copy, b, bn);
  mem_init(&other);
  mem_decode(&other, copy, bn, &unused);
  if (other.count == 0)
    return 0;
  from = below(&work, other.count);
  to = below(&work, work.mem.count < MEM_DISKS ? work.mem.count + 1
                                               : MEM_DISKS);
  work.mem.files[to] = other.files[from];
  if (to == work.mem.count)
    work.mem.count++;
  if (below(&work, 2))
    change_link(&work);
  if (below(&work, 2))
    for (size_t i = 0; i < work.mem.count; i++)
      forge_repair(&work.mem.files[i]);
  return mem_encode(&work.mem, flags, out, room);
}
