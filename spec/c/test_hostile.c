/* SPDX-License-Identifier: MIT
 *
 * Hostile bytes, in memory: bit flips, truncation, boundary values in every
 * field, a list of known tricks, files that are cut while they are read, and
 * memory that runs out.
 * Each image is shown to info, chain, open and read, and check; what must
 * hold is said in spec/fuzz/examine.c, and here: a second, 64 MiB, nothing
 * leaked, and no cut file without a word.
 *
 *   test_hostile        some of them, for every day
 *   test_hostile long   all of them
 */
#include <malloc.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "../fuzz/examine.h"
#include "../fuzz/forge.h"
#include "base/error.h"
#include "check.h"

#if defined(SLOWER)
/* make coverage */
#elif defined(__SANITIZE_THREAD__)
#define SLOWER 200
#elif defined(__SANITIZE_ADDRESS__)
#define SLOWER 20 /* a sanitizer looks at every 20th */
#elif defined(LVHD_SPEC_MUTANT_H)
#define SLOWER 10 /* as do mutants, which are many */
#else
#define SLOWER 1
#endif

/* Of the flips, every so many-th for every day; odd, so that in turn it is each
 * bit of a byte. */
#define DAILY (SLOWER > 7 ? SLOWER : 7)

#define SECOND_NS INT64_C(1000000000)
#define MEMORY_MAX (64u << 20)
#define TOLD_MAX 20
#define SECTOR 512u

/* ---- memory ---------------------------------------------------------- */

/* The linker leads the allocations of everything in this program here. */
void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t to, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t to, size_t n);
void __wrap_free(void *p);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);

static atomic_size_t held, peak;

/* The allocation with this number fails, and all behind it if `for_good`. */
static atomic_uint fail_at, allocations;
static atomic_bool for_good;

static bool is_poor(void) {
  unsigned k = atomic_load(&fail_at);
  unsigned n = k == 0 ? 0 : atomic_fetch_add(&allocations, 1) + 1;
  return k != 0 && (n == k || (n > k && atomic_load(&for_good)));
}

static void *count(void *p) {
  size_t now = 0;
  if (p == NULL)
    return NULL;
  now = atomic_fetch_add(&held, malloc_usable_size(p)) +
        malloc_usable_size(p);
  if (now > atomic_load(&peak))
    atomic_store(&peak, now);
  return p;
}

static void discount(void *p) {
  if (p != NULL)
    atomic_fetch_sub(&held, malloc_usable_size(p));
}

void *__wrap_malloc(size_t n) {
  return is_poor() ? NULL : count(__real_malloc(n));
}

void *__wrap_calloc(size_t items, size_t n) {
  return is_poor() ? NULL : count(__real_calloc(items, n));
}

void *__wrap_aligned_alloc(size_t to, size_t n) {
  return is_poor() ? NULL : count(__real_aligned_alloc(to, n));
}

void *__wrap_realloc(void *p, size_t n) {
  void *q = NULL;
  if (is_poor())
    return NULL;
  discount(p);
  q = __real_realloc(p, n);
  count(q != NULL ? q : p);
  return q;
}

void __wrap_free(void *p) {
  discount(p);
  __real_free(p);
}

char *__wrap_strndup(const char *text, size_t n) {
  char *copy = NULL;
  n = strnlen(text, n);
  copy = __wrap_malloc(n + 1);
  if (copy != NULL) {
    memcpy(copy, text, n);
    copy[n] = '\0';
  }
  return copy;
}

char *__wrap_strdup(const char *text) {
  return __wrap_strndup(text, strlen(text));
}

/* ---- one image ------------------------------------------------------- */

static struct exam exam;
static unsigned images, bad, accepted;
static int64_t slowest;
static size_t largest;

static int64_t cpu_ns(void) {
  struct timespec ts = {0, 0};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
  return (int64_t)ts.tv_sec * SECOND_NS + ts.tv_nsec;
}

static void tell(const char *what, const char *of, uint64_t at,
                 uint64_t value) {
  if (bad++ < TOLD_MAX)
    fprintf(stderr, "%s: %s, %" PRIu64 " (0x%" PRIX64 ")\n", of, what, at,
            value);
}

static void look_at_costs(const char *of, uint64_t at, uint64_t value,
                          size_t before, int64_t took) {
  images++;
  if (exam.wrong[0] != '\0')
    tell(exam.wrong, of, at, value);
  if (took > SECOND_NS * SLOWER)
    tell("more than a second", of, at, value);
  if (atomic_load(&peak) - before > MEMORY_MAX)
    tell("more than 64 MiB", of, at, value);
  /* The worker lets go of a task a little after it has ended. */
  for (unsigned i = 0; i < 1000000 && atomic_load(&held) != before; i++)
    sched_yield();
  if (atomic_load(&held) != before)
    tell("memory is left", of, at, value);
  if (took > slowest)
    slowest = took;
  if (atomic_load(&peak) - before > largest)
    largest = atomic_load(&peak) - before;
}

/* Returns whether it opened. */
static bool look(unsigned what, const char *of, uint64_t at,
                 uint64_t value) {
  int64_t began = cpu_ns();
  size_t before = atomic_load(&held);
  atomic_store(&peak, before);
  examine(&exam, what, MEM_CHAIN | MEM_DATA);
  look_at_costs(of, at, value, before, cpu_ns() - began);
  accepted += exam.open == 0;
  return exam.open == 0;
}

static unsigned thorough = 1; /* of what opens, each so many-th in full */

/* The same for every day: whether it opens; of those that do some are looked
 * at in full. */
static void glance(const char *of, uint64_t at, uint64_t value) {
  if (thorough == 1) {
    look(EXAM_ALL, of, at, value);
    return;
  }
  if (look(EXAM_READ | EXAM_OPEN, of, at, value) &&
      accepted % thorough == 0) {
    images--;
    accepted--;
    look(EXAM_ALL, of, at, value);
  }
}

/* Does a verb; every other time with force, or by the older ways of the
 * kernel.  Returns whether it succeeded. */
static bool look_change(enum change_verb verb, const char *of, uint64_t at,
                        uint64_t value) {
  const unsigned odd = images & 3;
  int64_t began = cpu_ns();
  size_t before = atomic_load(&held);
  atomic_store(&peak, before);
  exam.mem.no_openat2 = odd == 1;
  examine_change(&exam, (uint8_t)((unsigned)verb * MEM_PROFILE | MEM_CHAIN |
                                  (odd == 2 ? MEM_DATA : 0u)));
  exam.mem.no_openat2 = false;
  look_at_costs(of, at, value, before, cpu_ns() - began);
  accepted += exam.change == 0;
  return exam.change == 0;
}

static void begin(void) {
  images = bad = accepted = 0;
  slowest = 0;
  largest = 0;
}

static void end(const char *what) {
  CHECK(images > 0);
  CHECK_INT(bad, 0);
  fprintf(stderr, "%s: %u images, %u accepted, at most %.1f ms, %.1f MiB\n",
          what, images, accepted, (double)slowest / 1e6,
          (double)largest / (1 << 20));
}

/* What nobody has bent yet is in order. */
static void test_seeds(void) {
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++) {
    forge_seed(&exam.mem, i);
    CHECK(look(EXAM_ALL, forge_names[i], 0, 0));
    CHECK_INT(exam.info, 0);
    CHECK_INT(exam.chain, 0);
    CHECK_INT(exam.read, 0);
    CHECK_INT(exam.check, 0);
    CHECK_INT(exam.errors, 0);
    if (exam.first_error != 0)
      fprintf(stderr, "  %s\n", lvhd_reason_name(exam.first_error));
    forge_free(&exam.mem);
  }
  end("seeds");
}

/* ---- flips ----------------------------------------------------------- */

/* Metadata of a file: footer; copy, header, locators and a sector of the
 * BAT, which follow each other. */
static bool is_metadata(const struct mem_file *file, uint64_t at) {
  uint64_t header = 0;
  if (at >= forge_footer(file))
    return true;
  return forge_header(file, &header) &&
         at < forge_get(file, header + 16, 8) + SECTOR;
}

static void flip(const char *of, struct mem_file *file, uint64_t bit) {
  struct mem_segment *s = &file->segments[0];
  const uint8_t flipped = (uint8_t)(1u << bit % 8);
  uint8_t sums[3][4];
  uint64_t footer = forge_footer(file);
  s->bytes[bit / 8] ^= flipped;
  glance(of, bit / 8, bit % 8);
  memcpy(sums[0], s->bytes + footer + 64, 4);
  memcpy(sums[1], s->bytes + 64, 4);
  memcpy(sums[2], s->bytes + SECTOR + 36, 4);
  forge_repair(file);
  glance(of, bit / 8, bit % 8 + 10);
  memcpy(s->bytes + footer + 64, sums[0], 4);
  memcpy(s->bytes + 64, sums[1], 4);
  memcpy(s->bytes + SECTOR + 36, sums[2], 4);
  s->bytes[bit / 8] ^= flipped;
}

static void test_flips(unsigned stride) {
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++) {
    forge_seed(&exam.mem, i);
    for (size_t k = 0; k < exam.mem.count; k++) {
      struct mem_file *file = &exam.mem.files[k];
      for (uint64_t bit = i + k; bit < file->length * 8; bit += stride)
        if (is_metadata(file, bit / 8))
          flip(forge_names[i], file, bit);
    }
    forge_free(&exam.mem);
  }
  end("flips");
}

/* ---- truncation ------------------------------------------------------ */

/* A finding for what is not the whole file: in the leaf's info, for a parent
 * in the check. */
static void cut(const char *of, struct mem_file *file, uint64_t length) {
  uint64_t whole = file->length;
  file->length = length;
  if (look(EXAM_ALL, of, length, whole) &&
      (exam.findings == 0 ||
       (file == &exam.mem.files[0] && exam.info_findings == 0)))
    tell("cut, and not a word", of, length, whole);
  if (exam.open == 0 && exam.errors == 0 && !exam.recovered)
    tell("cut, and called sound", of, length, whole);
  file->length = whole;
}

static void test_cuts(unsigned stride) {
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++) {
    forge_seed(&exam.mem, i);
    for (size_t k = 0; k < exam.mem.count; k++) {
      struct mem_file *file = &exam.mem.files[k];
      for (uint64_t n = 0; n < file->length; n++)
        if (stride == 1 || n % SECTOR <= 1 || n % SECTOR == SECTOR - 1 ||
            n % stride == 0)
          cut(forge_names[i], file, n);
    }
    forge_free(&exam.mem);
  }
  end("cuts");
}

/* ---- fields ---------------------------------------------------------- */

/* A field of the footer is set in its copy as well, else the copy counts. */
static void set(struct mem_file *file, const struct forge_field *field,
                uint64_t at, uint64_t value) {
  forge_put(file, at, field->n, value);
  if (field->of == OF_FOOTER &&
      forge_get(file, 0, 8) == UINT64_C(0x636F6E6563746978))
    forge_put(file, field->at, field->n, value);
}

static void look_at_fields(const char *of, struct mem_file *file,
                           const uint8_t *kept, uint64_t at,
                           uint64_t value) {
  forge_repair(file);
  glance(of, at, value);
  memcpy(file->segments[0].bytes, kept, file->segments[0].n);
}

/* Every field with every boundary value. */
static void single_fields(const char *of, struct mem_file *file,
                          const uint8_t *kept, unsigned stride) {
  for (size_t f = 0; f < forge_field_count; f++) {
    const struct forge_field *field = &forge_fields[f];
    uint64_t at = 0;
    uint64_t value = 0;
    for (unsigned i = (unsigned)f % stride;
         forge_value(file, field->n, i, &value); i += stride)
      if (forge_place(file, field, &at)) {
        set(file, field, at, value);
        look_at_fields(of, file, kept, at, value);
      }
  }
}

/* BAT entries: each value in each of the entries of the disk. */
static void table_fields(const char *of, struct mem_file *file,
                         const uint8_t *kept, unsigned stride) {
  uint64_t header = 0;
  uint64_t value = 0;
  if (!forge_header(file, &header))
    return;
  for (unsigned i = 0; forge_value(file, 4, i, &value); i += stride)
    for (uint64_t e = 0; e < forge_get(file, header + 28, 4); e++) {
      uint64_t at = forge_get(file, header + 16, 8) + 4 * e;
      forge_put(file, at, 4, value);
      look_at_fields(of, file, kept, at, value);
    }
}

/* What is multiplied with each other: each with each; the type, and the place
 * of a locator, with those. */
static const struct forge_field core[] = {
  {OF_FOOTER, 48, 8, "size"},         {OF_HEADER, 28, 4, "entries"},
  {OF_HEADER, 32, 4, "block size"},   {OF_HEADER, 16, 8, "table offset"},
  {OF_FOOTER, 16, 8, "data offset"},  {OF_FOOTER, 60, 4, "type"},
  {OF_HEADER, 592, 8, "text offset"}, {OF_HEADER, 584, 4, "text length"}};
#define CORE (sizeof core / sizeof core[0])

static void pair(const char *of, struct mem_file *file, const uint8_t *kept,
                 const struct forge_field *a, const struct forge_field *b,
                 unsigned stride) {
  uint64_t a_at = 0;
  uint64_t b_at = 0;
  uint64_t x = 0;
  uint64_t y = 0;
  unsigned n = 0;
  if (!forge_place(file, a, &a_at) || !forge_place(file, b, &b_at))
    return;
  for (unsigned i = 0; forge_value(file, a->n, i, &x); i++)
    for (unsigned k = 0; forge_value(file, b->n, k, &y); k++) {
      if (n++ % stride != 0)
        continue;
      set(file, a, a_at, x);
      set(file, b, b_at, y);
      look_at_fields(of, file, kept, x, y);
    }
}

static void bend_fields(const char *of, struct mem_file *file,
                        unsigned stride) {
  size_t n = file->segments[0].n;
  uint8_t *kept = malloc(n);
  if (kept == NULL)
    abort();
  memcpy(kept, file->segments[0].bytes, n);
  single_fields(of, file, kept, stride > SLOWER ? 1 + SLOWER : 1);
  table_fields(of, file, kept, stride > SLOWER ? 1 + SLOWER : 1);
  for (size_t a = 0; a < CORE; a++)
    for (size_t b = a + 1; b < CORE; b++)
      pair(of, file, kept, &core[a], &core[b], stride);
  free(kept);
}

/* Every field at its boundary values, and the product of these over the
 * fields that are multiplied with each other; of every file of each seed. */
static void test_fields(unsigned stride, unsigned least) {
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++) {
    forge_seed(&exam.mem, i);
    for (size_t k = 0; k < exam.mem.count; k++)
      bend_fields(forge_names[i], &exam.mem.files[k], stride);
    forge_free(&exam.mem);
  }
  CHECK(images >= least);
  end("fields");
}

/* ---- known tricks ----------------------------------------------------- */

/* One field, in a disk of a kind, and what opening must answer. */
static const struct trick {
  unsigned seed; /* 1 dynamic, 2 differencing */
  struct forge_field field;
  uint64_t value;
  int code;      /* LVHD_S_OK: it opens; then the check must find an error */
  int reason;
} tricks[] = {
#define NO LVHD_VM_E_INVALID_HD_FILE
  {1, {OF_HEADER, 32, 4, "block size"}, 0, NO, LV_R_BLOCK_SIZE},
  {1, {OF_HEADER, 32, 4, "block size"}, 1, NO, LV_R_BLOCK_SIZE},
  {1, {OF_HEADER, 32, 4, "block size"}, 0x80, NO, LV_R_BLOCK_SIZE},
  {1, {OF_HEADER, 32, 4, "block size"}, 0x12345678, NO, LV_R_BLOCK_SIZE},
  {1, {OF_HEADER, 32, 4, "block size"}, 0x80000000, LVHD_S_OK, 0},
  {1, {OF_HEADER, 28, 4, "entries"}, 0, NO, LV_R_BAT_TOO_SMALL},
  {1, {OF_HEADER, 28, 4, "entries"}, 4, NO, LV_R_BAT_TOO_SMALL},
  {1, {OF_HEADER, 28, 4, "entries"}, UINT32_MAX, NO, LV_R_BAT_OUTSIDE},
  {1, {OF_HEADER, 28, 4, "entries"}, 0x40000000, NO, LV_R_BAT_OUTSIDE},
  {1, {OF_HEADER, 16, 8, "table"}, 1 << 20, NO, LV_R_BAT_OUTSIDE},
  {1, {OF_HEADER, 16, 8, "table"}, UINT64_MAX - 511, NO, LV_R_BAT_OUTSIDE},
  {1, {OF_HEADER, 16, 8, "table"}, 1537, NO, LV_R_HEADER_CORRUPT},
  {1, {OF_HEADER, 16, 8, "table"}, 0, NO, LV_R_HEADER_CORRUPT},
  {1, {OF_HEADER, 16, 8, "table"}, 512, LVHD_S_OK, 0},
  {1, {OF_HEADER, 24, 4, "version"}, 0x20000, NO, LV_R_HEADER_VERSION},
  {1, {OF_HEADER, 0, 8, "cookie"}, 0, NO, LV_R_HEADER_MISSING},
  {1, {OF_FOOTER, 16, 8, "header"}, UINT64_MAX, NO, LV_R_HEADER_MISSING},
  {1, {OF_FOOTER, 16, 8, "header"}, 1 << 20, NO, LV_R_HEADER_MISSING},
  {1, {OF_FOOTER, 16, 8, "header"}, 0, NO, LV_R_HEADER_MISSING},
  {1, {OF_FOOTER, 48, 8, "size"}, 0, NO, LV_R_FOOTER_CORRUPT},
  {1, {OF_FOOTER, 48, 8, "size"}, 513, NO, LV_R_FOOTER_CORRUPT},
  {1, {OF_FOOTER, 48, 8, "size"}, UINT64_C(1) << 63, NO,
   LV_R_FOOTER_CORRUPT},
  {1, {OF_FOOTER, 48, 8, "size"}, UINT64_C(1) << 62, NO,
   LV_R_BAT_TOO_SMALL},
  {1, {OF_FOOTER, 60, 4, "type"}, 0, NO, LV_R_DISK_TYPE},
  {1, {OF_FOOTER, 60, 4, "type"}, 5, NO, LV_R_DISK_TYPE},
  {1, {OF_FOOTER, 60, 4, "type"}, 4, LVHD_VM_E_PARENT_PATH_NOT_FOUND, 0},
  {1, {OF_FOOTER, 12, 4, "version"}, 0x20000, NO, LV_R_FORMAT_VERSION},
  {0, {OF_FOOTER, 48, 8, "size"}, 1 << 20, NO, LV_R_FIXED_LENGTH},
  {0, {OF_FOOTER, 60, 4, "type"}, 3, NO, LV_R_HEADER_MISSING},
  /* locators: the next name leads to the parent, and the check tells */
  {2, {OF_HEADER, 592, 8, "W2ru"}, 1 << 30, LVHD_S_OK, 0},
  {2, {OF_HEADER, 592, 8, "W2ru"}, UINT64_MAX, LVHD_S_OK, 0},
  {2, {OF_HEADER, 584, 4, "W2ru"}, UINT32_MAX, LVHD_S_OK, 0},
  {2, {OF_HEADER, 584, 4, "W2ru"}, 0, LVHD_S_OK, 0},
  {2, {OF_HEADER, 580, 4, "W2ru"}, UINT32_MAX, LVHD_S_OK, 0},
  {2, {OF_HEADER, 592, 8, "W2ru"}, 0, LVHD_S_OK, 0},
  {2, {OF_HEADER, 576, 4, "W2ru"}, 0x41414141, LVHD_S_OK, 0},
#undef NO
};

static void test_tricks(void) {
  begin();
  for (size_t i = 0; i < sizeof tricks / sizeof tricks[0]; i++) {
    const struct trick *t = &tricks[i];
    struct mem_file *file = &exam.mem.files[0];
    uint64_t at = 0;
    forge_seed(&exam.mem, t->seed);
    CHECK(forge_place(file, &t->field, &at));
    set(file, &t->field, at, t->value);
    forge_repair(file);
    look(EXAM_ALL, t->field.name, at, t->value);
    if (exam.open != t->code || (t->reason != 0 && exam.reason != t->reason))
      tell(exam.open ? lvhd_reason_name(exam.reason) ? lvhd_reason_name(
                         exam.reason)
                                                     : "another code"
                     : "it opens",
           t->field.name, at, t->value);
    if (exam.open == 0 && exam.findings == 0)
      tell("the check finds nothing", t->field.name, at, t->value);
    forge_free(&exam.mem);
  }
  end("tricks");
}

/* ---- names of parents ------------------------------------------------- */

/* UTF-16 units; every locator and the name field say the same. */
static const struct name {
  const char *what;
  uint16_t units[24];
} names[] = {
  {"nothing", {0}},
  {"the folder", {'.', 0}},
  {"up", {'.', '.', 0}},
  {"the root", {'/', 0}},
  {"a slash behind", {'b', 'a', 's', 'e', '.', 'v', 'h', 'd', '/', 0}},
  {"out by ..", {'.', '.', '\\', 's', 'e', 'c', 'r', 'e', 't', '.', 'v', 'h',
                 'd', 0}},
  {"out by two", {'s', 'u', 'b', '\\', '.', '.', '\\', '.', '.', '\\', 's',
                  'e', 'c', 'r', 'e', 't', '.', 'v', 'h', 'd', 0}},
  {"absolute", {'/', 'e', 't', 'c', '/', 's', 'h', 'a', 'd', 'o', 'w', 0}},
  {"absolute, of a disk", {'\\', 's', 'e', 'c', 'r', 'e', 't', '.', 'v', 'h',
                           'd', 0}},
  {"a link", {'o', 'u', 't', '.', 'v', 'h', 'd', 0}},
  {"through a link", {'a', 'w', 'a', 'y', '\\', 's', 'e', 'c', 'r', 'e', 't',
                      '.', 'v', 'h', 'd', 0}},
  {"a FIFO", {'f', 'i', 'f', 'o', 0}},
  {"a folder", {'s', 'u', 'b', 0}},
  {"lone surrogates", {0xD800, 'b', 0xDC00, 0xDBFF, 0}},
  {"half a pair, then NUL", {'b', 0xD83D, 0}},
  {"control characters", {1, 2, '\n', 0x7F, 0}},
  {"a byte order mark", {0xFEFF, 'b', 'a', 's', 'e', 0}},
  {"itself", {'l', 'e', 'a', 'f', '.', 'v', 'h', 'd', 0}},
  {"a drive", {'C', ':', '\\', 'd', '\\', 'x', '.', 'v', 'h', 'd', 0}},
  {"a device", {'\\', '\\', '.', '\\', 'P', 'h', 'y', 0}},
  {"a share", {'\\', '\\', 's', '\\', 'x', '\\', 'b', '.', 'v', 'h', 'd', 0}},
};

static void name_parent(struct mem_file *file, const uint16_t *units,
                        size_t n) {
  uint8_t text[SECTOR] = {0};
  uint8_t field[SECTOR] = {0};
  for (size_t i = 0; i < n; i++) {
    text[2 * i] = field[2 * i + 1] = (uint8_t)units[i];
    text[2 * i + 1] = field[2 * i] = (uint8_t)(units[i] >> 8);
  }
  for (unsigned i = 0; i < 3; i++) {
    mem_poke(file, 1536 + SECTOR * (uint64_t)i, text, SECTOR);
    forge_put(file, SECTOR + 584 + 24 * (uint64_t)i, 4, 2 * n);
  }
  memset(text, 0, sizeof text);
  memcpy(text, "file://", 7);
  for (size_t i = 0; i < n; i++)
    text[7 + i] = units[i] == '\\' ? '/' : (uint8_t)units[i];
  mem_poke(file, 1536 + 2 * SECTOR, text, SECTOR);
  forge_put(file, SECTOR + 584 + 48, 4, 7 + n);
  mem_poke(file, SECTOR + 64, field, SECTOR);
  forge_repair(file);
}

/* /secret.vhd would be the right parent, were it allowed. */
static void test_names(void) {
  begin();
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    size_t n = 0;
    while (names[i].units[n] != 0)
      n++;
    for (unsigned way = 0; way < 3; way++) {
      forge_seed(&exam.mem, 2);
      forge_file(&exam.mem.files[3],
                 &(struct forge){.type = 3, .size = 8704, .id = 2});
      exam.mem.count = 4;
      exam.mem.no_openat2 = way == 1;
      /* the text goes on behind a NUL */
      name_parent(&exam.mem.files[0], names[i].units, way == 2 ? 23 : n);
      if (look(EXAM_ALL, names[i].what, i, way))
        tell("it opens", names[i].what, i, way);
      if (exam.check == 0 && exam.errors == 0)
        tell("the check finds nothing", names[i].what, i, way);
      forge_free(&exam.mem);
    }
  }
  end("names");
}

/* ---- huge ------------------------------------------------------------- */

/* A file of holes with a head and a footer, whose BAT has so many entries,
 * all zeros or all ones. */
static void huge(const char *what, uint64_t size, uint32_t block,
                 uint32_t entries, uint8_t hole, int opens) {
  struct forge tiny = {.type = 3, .size = 512, .block = 512, .id = 1};
  struct mem_file *file = &exam.mem.files[0];
  size_t n = 0;
  uint8_t *bytes = forge(&tiny, &n);
  mem_init(&exam.mem);
  exam.mem.count = 1;
  file->hole = hole;
  file->length = 1536 + 4 * (uint64_t)entries + 511;
  file->length = file->length - file->length % 512 + 512;
  file->segments[0] = (struct mem_segment){.n = 1536, .bytes = bytes};
  file->segments[1] = (struct mem_segment){
    .offset = file->length - 512, .n = 512, .bytes = bytes + n - 512};
  file->count = 2;
  forge_put(file, 48, 8, size);
  forge_put(file, file->length - 512 + 48, 8, size);
  forge_put(file, 512 + 28, 4, entries);
  forge_put(file, 512 + 32, 4, block);
  forge_repair(file);
  look(EXAM_ALL, what, size, entries);
  if ((exam.open == 0) != (opens != 0))
    tell(opens ? "it does not open" : "it opens", what, size, entries);
  if (hole == 0 && exam.errors == 0)
    tell("the check finds nothing", what, size, entries);
  free(bytes);
}

/* A locator as long as a file of holes. */
static void huge_locator(void) {
  struct mem_file *file = &exam.mem.files[0];
  forge_seed(&exam.mem, 2);
  file->segments[1] = file->segments[0];
  file->segments[1].offset = UINT64_C(1) << 32;
  file->length += UINT64_C(1) << 32;
  file->count = 2;
  forge_put(file, SECTOR + 584, 4, UINT32_C(1) << 31);
  forge_repair(file);
  look(EXAM_ALL, "a locator of 2 GiB", 0, 0);
  file->count = 1;
  forge_free(&exam.mem);
}

static void test_huge(void) {
  const uint64_t most = UINT64_C(2040) << 30;
  begin();
  huge("2040 GiB, nothing", most, 2 << 20, 1044480, 0xFF, 1);
  huge("2040 GiB, all at 0", most, 2 << 20, 1044480, 0, 1);
#if defined(COUNTED) /* make coverage: each entry is counted, too */
  end("huge");
  return;
#endif
  huge("2040 GiB of 512", most, 512, 4278190080u, 0xFF, 1);
  huge("2040 GiB of 512, all at 0", most, 512, 4278190080u, 0, 1);
  huge("a BAT of 2^32 - 1", 1 << 20, 512, UINT32_MAX, 0xFF, 1);
  huge("a BAT of 2^32 - 1, all at 0", 1 << 20, 512, UINT32_MAX, 0, 1);
  huge("2^62 bytes", UINT64_C(1) << 62, 1u << 31, UINT32_C(1) << 31, 0xFF, 1);
  huge("2^62 bytes, all at 0", UINT64_C(1) << 62, 1u << 31, UINT32_C(1) << 31,
       0, 1);
  huge("2^63 - 512 bytes", INT64_MAX - 511, 1u << 31, UINT32_MAX, 0xFF, 0);
  huge_locator();
  end("huge");
}

/* Every window of the disk has as many runs as it can: every entry of the BAT
 * is 0xAAAAAAAA, a block in the hole whose bitmap is every other sector. */
static void test_runs(void) {
  const uint64_t step = 2 << 20;
  const uint64_t size = 8192 * step;
  size_t before = atomic_load(&held);
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_disk *disk = NULL;
  struct forge tiny = {.type = 3, .size = 512, .block = 512, .id = 1};
  struct mem_file *file = &exam.mem.files[0];
  size_t n = 0;
  uint8_t *bytes = forge(&tiny, &n);
  mem_init(&exam.mem);
  exam.mem.count = 1;
  *file = (struct mem_file){.hole = 0xAA, .count = 2};
  file->length = UINT64_C(2) << 40;
  file->segments[0] = (struct mem_segment){.n = 1536, .bytes = bytes};
  file->segments[1] = (struct mem_segment){
    .offset = file->length - 512, .n = 512, .bytes = bytes + n - 512};
  forge_put(file, 48, 8, size);
  forge_put(file, file->length - 512 + 48, 8, size);
  forge_put(file, 512 + 28, 4, 8192);
  forge_put(file, 512 + 32, 4, step);
  forge_repair(file);
  atomic_store(&peak, before);
  CHECK_INT(lvhd_disk_open(exam.engines[0], mem_paths, 1, NULL, &disk, &err),
            0);
  for (uint64_t at = 0; disk != NULL && at < size; at += step) {
    uint8_t two[2 * SECTOR] = {1};
    size_t got = 0;
    if (lvhd_disk_read(disk, two, sizeof two, at, &got, &err) != 0 ||
        two[0] != 0xAA || two[SECTOR] != 0) {
      CHECK(false);
      break;
    }
  }
  CHECK(atomic_load(&peak) - before < MEMORY_MAX);
  lvhd_disk_close(disk);
  lvhd_error_clear(&err);
  free(bytes);
}

/* Data of the guest that looks like a footer is no copy of it. */
static void test_guest_footer(void) {
  struct forge what = {.type = 2, .size = 4096, .id = 1};
  struct mem_file *file = &exam.mem.files[0];
  uint8_t footer[SECTOR] = {0};
  begin();
  for (unsigned damaged = 0; damaged < 2; damaged++) {
    mem_init(&exam.mem);
    exam.mem.count = 1;
    forge_file(file, &what);
    mem_peek(file, 4096, footer, sizeof footer);
    mem_poke(file, 0, footer, sizeof footer);
    if (damaged)
      forge_put(file, 4096, 1, 0);
    CHECK(look(EXAM_ALL, "a footer in the guest", 0, 0) == !damaged);
    forge_free(&exam.mem);
  }
  end("guest footer");
}

/* ---- a file that is cut while it is read ------------------------------ */

static void test_shrinking(void) {
  static const uint64_t to[] = {0, 1, 511, 1024, 2000, 4096};
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++) {
    unsigned calls = 0;
    forge_seed(&exam.mem, i);
    look(EXAM_ALL, forge_names[i], 0, 0);
    calls = exam.mem.preads;
    forge_free(&exam.mem);
    for (unsigned k = 1; k <= calls; k += calls / 200 + 1)
      for (size_t t = 0; t < sizeof to / sizeof to[0]; t++) {
        forge_seed(&exam.mem, i);
        exam.mem.shrink_at = k;
        exam.mem.shrink_to = to[t];
        look(EXAM_ALL | EXAM_CUT, forge_names[i], k, to[t]);
        forge_free(&exam.mem);
      }
  }
  end("shrinking");
}

/* ---- verbs that change ------------------------------------------------ */

#define TWO(a, b) (1u << (a) | 1u << (b))
#define MERGES                                                              \
  (TWO(CHANGE_MERGE, CHANGE_MERGE_REMOVE) | 1u << CHANGE_MERGE_INTO)
#define RELINKS TWO(CHANGE_RELINK, CHANGE_RELINK_BELOW)
#define RESIZES TWO(CHANGE_GROW, CHANGE_SHRINK)

/* The verbs that have nothing to do with a seed, a bit each. */
static unsigned unfit(unsigned seed) {
  unsigned none = 0;
  if (seed < 2)
    none |= MERGES | RELINKS | 1u << CHANGE_TO_CHILD;
  if (seed == 0)
    none |= 1u << CHANGE_COMPACT;
  return seed < 2 ? none : none | RESIZES;
}

/* What nobody has bent yet is changed by each verb that goes with it. */
static void test_change_seeds(void) {
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++)
    for (unsigned verb = 0; verb < CHANGE_VERBS; verb++) {
      forge_large(&exam.mem, i);
      look_change((enum change_verb)verb, forge_names[i], verb, 0);
      if (verb != CHANGE_RELINK_BELOW && /* of which force makes a success */
          (exam.change == 0) != ((unfit(i) >> verb & 1) == 0))
        tell(lvhd_code_name(exam.change), forge_names[i], verb, 0);
      forge_free(&exam.mem);
    }
  end("change: seeds");
}

static void change_by_each(const char *of, uint64_t at, uint64_t value,
                           unsigned *n, unsigned stride) {
  for (unsigned verb = 0; verb < CHANGE_VERBS; verb++)
    if ((*n)++ % stride == 0)
      look_change((enum change_verb)verb, of, at, value);
}

static void change_flipped(const char *of, struct mem_file *file,
                           uint64_t bit, unsigned *n, unsigned stride) {
  struct mem_segment *s = &file->segments[0];
  uint8_t kept[3 * SECTOR];
  uint8_t end[SECTOR];
  uint8_t *footer = NULL;
  if (bit / 8 >= s->n)
    s = &file->segments[1];
  footer = file->segments[file->count - 1].bytes +
           file->segments[file->count - 1].n - SECTOR;
  memcpy(kept, file->segments[0].bytes, sizeof kept);
  memcpy(end, footer, sizeof end);
  s->bytes[bit / 8 - s->offset] ^= (uint8_t)(1u << bit % 8);
  change_by_each(of, bit / 8, bit % 8, n, stride);
  forge_repair(file);
  change_by_each(of, bit / 8, bit % 8 + 10, n, stride);
  memcpy(footer, end, sizeof end);
  memcpy(file->segments[0].bytes, kept, sizeof kept);
  if (bit / 8 >= sizeof kept && bit / 8 < forge_footer(file))
    s->bytes[bit / 8 - s->offset] ^= (uint8_t)(1u << bit % 8);
}

static void test_change_flips(unsigned stride) {
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++) {
    unsigned n = i;
    forge_large(&exam.mem, i);
    for (size_t k = 0; k < exam.mem.count; k++) {
      struct mem_file *file = &exam.mem.files[k];
      for (uint64_t bit = 0; bit < file->length * 8; bit++) {
        if (is_metadata(file, bit / 8))
          change_flipped(forge_names[i], file, bit, &n, stride);
        else
          bit = 8 * forge_footer(file) - 1; /* it follows the data */
      }
    }
    forge_free(&exam.mem);
  }
  end("change: flips");
}

static void test_change_cuts(unsigned stride) {
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++) {
    unsigned n = i;
    forge_seed(&exam.mem, i);
    for (size_t k = 0; k < exam.mem.count; k++) {
      struct mem_file *file = &exam.mem.files[k];
      const uint64_t whole = file->length;
      for (file->length = 0; file->length < whole; file->length++)
        change_by_each(forge_names[i], file->length, whole, &n, stride);
    }
    forge_free(&exam.mem);
  }
  end("change: cuts");
}

static void change_field(const char *of, struct mem_file *file,
                         const struct forge_field *field, unsigned *n,
                         unsigned stride) {
  uint8_t kept[3 * SECTOR];
  uint8_t end[SECTOR];
  struct mem_segment *last = &file->segments[file->count - 1];
  uint64_t at = 0;
  uint64_t value = 0;
  memcpy(kept, file->segments[0].bytes, sizeof kept);
  memcpy(end, last->bytes + last->n - SECTOR, sizeof end);
  for (unsigned i = 0; forge_value(file, field->n, i, &value); i++) {
    if (!forge_place(file, field, &at))
      continue;
    set(file, field, at, value);
    forge_repair(file);
    change_by_each(of, at, value, n, stride);
    memcpy(last->bytes + last->n - SECTOR, end, sizeof end);
    memcpy(file->segments[0].bytes, kept, sizeof kept);
  }
}

/* BAT entries: the first eight, which are all that name a block. */
static void change_table(const char *of, struct mem_file *file, unsigned *n,
                         unsigned stride) {
  uint64_t header = 0;
  uint64_t value = 0;
  if (!forge_header(file, &header))
    return;
  for (unsigned e = 0; e < 8; e++) {
    uint64_t at = forge_get(file, header + 16, 8) + 4 * (uint64_t)e;
    uint64_t old = forge_get(file, at, 4);
    for (unsigned i = 0; forge_value(file, 4, i, &value); i++) {
      forge_put(file, at, 4, value);
      change_by_each(of, at, value, n, stride);
    }
    /* and another entry's block */
    for (unsigned other = 0; other < 8; other++) {
      forge_put(file, at, 4,
                forge_get(file, header + 16, 8) / SECTOR + other);
      change_by_each(of, at, other, n, stride);
    }
    forge_put(file, at, 4, old);
  }
}

static void test_change_fields(unsigned stride) {
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++) {
    unsigned n = i;
    forge_large(&exam.mem, i);
    for (size_t k = 0; k < exam.mem.count; k++) {
      for (size_t f = 0; f < forge_field_count; f++)
        change_field(forge_names[i], &exam.mem.files[k], &forge_fields[f],
                     &n, stride);
      change_table(forge_names[i], &exam.mem.files[k], &n, stride);
    }
    forge_free(&exam.mem);
  }
  end("change: fields");
}

/* Names of parents that lead out. */
static void test_change_names(void) {
  begin();
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    size_t n = 0;
    while (names[i].units[n] != 0)
      n++;
    for (unsigned verb = 0; verb < CHANGE_VERBS; verb++) {
      forge_seed(&exam.mem, 2);
      forge_file(&exam.mem.files[3],
                 &(struct forge){.type = 3, .size = 8704, .id = 2});
      exam.mem.count = 4;
      name_parent(&exam.mem.files[0], names[i].units, n);
      if (look_change((enum change_verb)verb, names[i].what, i, verb) &&
          verb != CHANGE_RELINK && verb != CHANGE_REPAIR)
        tell("it was changed", names[i].what, i, verb);
      forge_free(&exam.mem);
    }
  }
  end("change: names");
}

/* ---- notes (journals) of strangers ------------------------------------ */

static void look_noted(const char *of, uint64_t at, uint64_t value,
                       unsigned *n, unsigned stride) {
  look(EXAM_ALL, of, at, value);
  change_by_each(of, at, value, n, stride);
}

/* Every bit of a note, with its checksum wrong and right, and every length. */
static void bend_note(const char *of, unsigned bits, unsigned *n,
                      unsigned stride) {
  struct mem_file *note = &exam.mem.files[MEM_NOTE];
  uint8_t *bytes = note->segments[0].bytes;
  const uint64_t whole = note->length;
  uint8_t sums[16];
  for (uint64_t bit = 0; bit < whole * 8; bit += bits) {
    memcpy(sums, bytes + 80, 8);
    memcpy(sums + 8, bytes + whole - 8, 8);
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    look_noted(of, bit / 8, bit % 8, n, stride);
    forge_repair(note);
    look_noted(of, bit / 8, bit % 8 + 10, n, stride);
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    memcpy(bytes + 80, sums, 8);
    memcpy(bytes + whole - 8, sums + 8, 8);
  }
  for (note->length = 0; note->length < whole; note->length += bits)
    look_noted(of, note->length, whole, n, stride);
}

/* Every field of a note at its boundary values. */
static void bend_note_fields(const char *of, unsigned *n, unsigned stride) {
  static const struct {
    unsigned at, n;
  } fields[] = {{8, 4},  {12, 4}, {48, 8},  {56, 4}, {60, 4}, {64, 8},
                {72, 8}, {88, 8}, {128, 8}, {136, 4}};
  struct mem_file *note = &exam.mem.files[MEM_NOTE];
  const struct mem_file *leaf = &exam.mem.files[0];
  for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++) {
    uint64_t old = forge_get(note, fields[f].at, fields[f].n);
    uint64_t value = 0;
    if (fields[f].at + fields[f].n > note->length - 8)
      continue;
    for (unsigned i = 0; forge_value(leaf, fields[f].n, i, &value); i++) {
      if ((*n + i) % stride != 0)
        continue;
      forge_put(note, fields[f].at, fields[f].n, value);
      forge_repair(note);
      look_noted(of, fields[f].at, value, n, stride);
    }
    forge_put(note, fields[f].at, fields[f].n, old);
    forge_repair(note);
  }
}

/* A file that a verb of lvhd could have left, and what a stranger makes of it:
 * old bytes over the footers, the header, the BAT and the data. */
static void test_notes(unsigned bits, unsigned stride) {
  static const char *const verbs[] = {"",       "merge",  "compact",
                                      "resize", "relink", "repair"};
  unsigned n = 0;
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++)
    for (unsigned verb = 1; verb <= 5; verb++)
      for (unsigned turned = 0; turned < 2; turned++)
        for (unsigned how = 0; how < 4; how++) {
          struct forge_note what = {
            .verb = verb, .other = 1, .pieces = 3, .turned = turned != 0};
          forge_large(&exam.mem, i);
          what.at[1] = how == 1 ? 512 : 2048;
          what.at[2] = exam.mem.files[0].length - 512;
          what.pieces = how == 3 ? 0 : 3;
          what.length = how == 2 ? exam.mem.files[0].length - 512 : 0;
          what.done = how == 2 ? 1 << 21 : 0;
          forge_add_note(&exam.mem, &what);
          look_noted(verbs[verb], i, turned, &n, 1);
          if (bits == 1 || (turned && how == 0))
            bend_note(verbs[verb], bits, &n, stride);
          if (turned && how < 3)
            bend_note_fields(verbs[verb], &n, stride);
          forge_free(&exam.mem);
        }
  end("notes");
}

/* A stranger's note may not bring data, nor cut some off: it changes nothing,
 * and nothing is changed while it is there. */
static void look_foreign(const char *of, uint64_t place, unsigned verb) {
  uint8_t expected[SECTOR] = {1};
  uint8_t got[SECTOR] = {0};
  size_t n = 0;
  lvhd_disk *disk = NULL;
  struct lvhd_open_options opts = {.has_parents = true};
  mem_peek(&exam.mem.files[0], place, expected, SECTOR);
  CHECK_INT(lvhd_disk_open(exam.engines[0], mem_paths, 1, &opts, &disk, NULL),
            0);
  if (disk == NULL || lvhd_disk_read(disk, got, SECTOR, 0, &n, NULL) != 0 ||
      memcmp(expected, got, SECTOR) != 0)
    tell("a note brings data", of, place, verb);
  lvhd_disk_close(disk);
  for (unsigned v = 0; v < CHANGE_VERBS; v++) {
    bool done = look_change((enum change_verb)v, of, place, v);
    if (!exam.untouched ||
        (done && v != CHANGE_CREATE &&
         !(v >= CHANGE_TO_DYNAMIC && v <= CHANGE_TO_CHILD)))
      tell("changed in spite of a foreign note", of, v, verb);
  }
}

static void test_foreign_notes(void) {
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++)
    for (unsigned verb = 2; verb <= 5; verb++)
      for (unsigned cuts = 0; cuts < (i == 0 ? 1u : 2u); cuts++) {
        struct forge_note what = {
          .verb = verb, .pieces = 1, .turned = cuts == 0};
        const struct mem_file *leaf = &exam.mem.files[0];
        uint64_t header = 0;
        uint64_t place = 0;
        forge_large(&exam.mem, i);
        if (i > 0 && forge_header(leaf, &header))
          place = forge_get(leaf, forge_get(leaf, header + 16, 8), 4) *
                    SECTOR + SECTOR;
        what.at[0] = place;
        if (cuts) { /* the copy would be the footer, before the last block */
          what.at[0] = 0;
          what.length = leaf->length - 4096;
          what.longest = leaf->length;
        }
        forge_add_note(&exam.mem, &what);
        look_foreign(forge_names[i], place, verb);
        forge_free(&exam.mem);
      }
  end("foreign notes");
}

/* A header where the copy of the footer would go, and a locator's text: what
 * repair would write there is another one's. */
static void test_repair_places(void) {
  begin();
  for (unsigned which = 0; which < 2; which++) {
    struct mem_file *file = &exam.mem.files[0];
    uint8_t header[1024];
    forge_large(&exam.mem, 1 + which);
    if (which == 0) {
      mem_peek(file, 512, header, sizeof header);
      mem_poke(file, 0, header, sizeof header);
      forge_put(file, file->length - SECTOR + 16, 8, 0);
    } else {
      mem_peek(file, 1536, header, 100);
      forge_put(file, 0, 8, 0);
      mem_poke(file, 256, header, 100);
      forge_put(file, SECTOR + 592, 8, 256);
    }
    forge_repair(file);
    look_change(CHANGE_REPAIR, "places", which, 0);
    if (exam.change != LVHD_VM_E_INVALID_HD_FILE || !exam.untouched)
      tell(lvhd_code_name(exam.change), "places", which, 0);
    forge_free(&exam.mem);
  }
  end("repair: places");
}

/* A volume that is full after so many pages: what is told of the verb holds
 * wherever it had to stop. */
static void test_change_full(unsigned stride) {
  unsigned n = 0;
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++)
    for (unsigned room = 1; room < 32; room++) {
      forge_large(&exam.mem, i);
      for (unsigned pages = 0; pages < 2; pages++) {
        exam.mem.room = room;
        change_by_each(forge_names[i], room, pages, &n, stride);
      }
      forge_free(&exam.mem);
    }
  end("change: full");
}

/* ---- memory is short --------------------------------------------------- */

static void test_poor(void) {
  begin();
  for (unsigned i = 0; i < FORGE_SEEDS; i++) {
    forge_seed(&exam.mem, i);
    for (unsigned good = 0; good < 2; good++) {
      unsigned k = 0;
      do {
        atomic_store(&allocations, 0);
        atomic_store(&for_good, good != 0);
        atomic_store(&fail_at, ++k);
        look(EXAM_ALL | EXAM_POOR, forge_names[i], k, good);
        atomic_store(&fail_at, 0);
      } while (atomic_load(&allocations) >= k);
    }
    forge_free(&exam.mem);
  }
  end("poor");
}

/* short, for every day; long; whole: every bit and length, for a sanitizer. */
int main(int argc, char **argv) {
  bool all = argc > 1 && strcmp(argv[1], "long") == 0;
  bool whole = argc > 1 && strcmp(argv[1], "whole") == 0;
  unsigned slower = whole ? 1 : SLOWER;
  if (!exam_init(&exam))
    abort();
  thorough = all ? 1 : whole ? 8 : 61;
  test_seeds();
  test_flips(all || whole ? 1 : DAILY);
  test_cuts(all || whole ? 1 : 64 * SLOWER);
  if (!whole)
    test_fields((all ? 1 : 23) * SLOWER, all ? 2000000 : 200000 / SLOWER);
  test_tricks();
  test_names();
  if (SLOWER < 200)
    test_huge();
  test_runs();
  test_guest_footer();
  test_shrinking();
  test_poor();
  test_change_seeds();
  test_change_flips(all ? 23 : 2003 * slower);
  test_change_cuts(all ? 5 : 907 * slower);
  test_change_fields(all ? 5 : 607 * slower);
  test_change_names();
  test_change_full(all ? 1 : 5 * slower);
  test_foreign_notes();
  test_repair_places();
  test_notes(all ? 8 : 256 * slower, all ? 7 : 211 * slower);
  exam_free(&exam);
  return check_done();
}
