/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/op/look: the words of a creation, each with its first
 * fault, on the host and on an engine that maps drives; then parent, image and
 * volume, what changes between two looks, and each call and allocation that
 * fails.
 */
#include <time.h>

#include "ask.h"
#include "image/journal.h"
#include "io/drives.h"
#include "op/create_args.h"

/* ---- the question -------------------------------------------------------- */

static struct lv_env env;
static struct lv_drives *map; /* C: is ~/in, V: ~/in/sub, E: absent */

struct question {
  const char *image, *parent;
  enum lvhd_type type; /* 0: dynamic, or differencing with a parent */
  int64_t size;        /* 0: 4 MiB; NO_SIZE: 0 */
  struct lvhd_create_options opts;
  const char *source;
  bool converts, maps, from_base;
  bool volume; /* as the call looks; else as the worker */
};

static struct question q;

#define MIB (INT64_C(1) << 20)
#define NO_SIZE INT64_MAX

static int64_t size_of(void) {
  if (q.parent && q.type == 0)
    return 0;
  return q.size == NO_SIZE ? 0 : q.size ? q.size : 4 * MIB;
}

static void begin(void) {
  lv_env_init(&env, &calls.sys);
  env.drives = q.maps ? map : NULL;
}

static enum lvhd_type type_of(void) {
  return q.type ? q.type : q.parent ? LVHD_DIFFERENCING : LVHD_DYNAMIC;
}

static int make(struct lv_create *c, struct lvhd_error *err) {
  struct lvhd_create_options opts = q.opts;
  int code = 0;
  *c = (struct lv_create){0};
  begin();
  opts.base = whole(q.opts.base);
  code = lv_create_init(c, &env, type_of(), whole(q.image),
                        q.parent ? whole(q.parent) : "", &opts, err);
  c->size = size_of();
  c->converts = q.converts;
  c->from_base = q.from_base;
  if (code == 0 && q.source) {
    c->source = strdup(whole(q.source));
    if (c->source == NULL)
      code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  return code;
}

/* Whose fault it is told to be is part of the answer. */
static bool of_parent;

static int end(struct lv_create *c, int code, const struct lvhd_error *err) {
  lv_create_clear(c);
  of_parent = code != 0 && err && (err->has & LVHD_AT_PARENT) != 0;
  return code;
}

static int ask_words(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_create c;
  int code = make(&c, err);
  if (code == 0)
    code = lv_create_words(&c, err);
  if (code == 0)
    snprintf(answer, ANSWER, "%.300s%s%.300s%s%.300s", brief(c.image),
             c.parent ? " " : "", c.parent ? brief(c.parent) : "",
             c.windows ? " " : "", c.windows ? c.windows : "");
  return end(&c, code, err);
}

static int ask_parent_words(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_create c;
  int code = make(&c, err);
  if (code == 0)
    code = lv_create_parent_words(&c, err);
  if (code == 0)
    snprintf(answer, ANSWER, "%.300s%s%s%.300s", brief(c.parent),
             c.from_base ? " from_base" : "", c.windows ? " " : "",
             c.windows ? c.windows : "");
  return end(&c, code, err);
}

/* The words of the question that q is. */
static void words(ask_fn *ask, const char *want) {
  bool parents = strstr(want, "parent: ") == want;
  char what[200];
  snprintf(what, sizeof what, "%.80s %.80s", q.image, q.parent ? q.parent
                                                              : "");
  of_parent = false;
  calls_whole();
  (void)answer_of(ask, what);
  if (!CHECK(of_parent == parents))
    fprintf(stderr, "  %s: %s\n", what, want);
  if (parents)
    want += strlen("parent: ");
  expect(ask, what, want);
}

#define FORBIDDEN "E_INVALID_NAME/CHARACTER_FORBIDDEN"
#define IS_FOLDER "E_INVALID_NAME/NAME_IS_FOLDER"
#define BACKSLASH "E_INVALID_NAME/BACKSLASH"
#define EMPTY "E_BAD_PATHNAME/PATH_EMPTY"
#define RELATIVE "E_BAD_PATHNAME/PATH_RELATIVE"
#define BASE "E_BAD_PATHNAME/BASE_RELATIVE"
#define NO_DRIVE "E_PATH_NOT_FOUND/NO_SUCH_DRIVE"
#define LONG "E_BUFFER_OVERFLOW/PATH_TOO_LONG"
#define FOLDER_50 "/2345678901234567890123456789012345678901234567890"
#define LONG_260 FOLDER_50 FOLDER_50 FOLDER_50 FOLDER_50 FOLDER_50 "/234567890"
#define LONG_259 FOLDER_50 FOLDER_50 FOLDER_50 FOLDER_50 FOLDER_50 "/23456789"

/* ---- 1 words ------------------------------------------------------------- */

static void paths_of_host(void) {
  static const struct {
    const char *image, *parent, *base, *want;
  } rows[] = {
    {"/x/a.vhd", 0, 0, "/x/a.vhd"},
    {"/x/a.vhd", "/p/b.vhd", 0, "/x/a.vhd /p/b.vhd"},
    {"/x/a.vhd", "/p/b.vhd", "/base", "/x/a.vhd /p/b.vhd"},
    {"a.vhd", "/p/b.vhd", 0, "/p/a.vhd /p/b.vhd"},
    {"a.vhd", "/p/b.vhd", "/base", "/p/a.vhd /p/b.vhd"},
    {"/x/a.vhd", "b.vhd", 0, "/x/a.vhd /x/b.vhd"},
    {"/x/a.vhd", "../b.vhd", "/base", "/x/a.vhd /x/../b.vhd"},
    {"a.vhd", 0, "/base", "/base/a.vhd"},
    {"a.vhd", "b.vhd", "/base", "/base/a.vhd /base/b.vhd"},
    {"sub/a.vhd", "b.vhd", "/base/", "/base/sub/a.vhd /base/sub/b.vhd"},
    {"/x/...", 0, 0, "/x/..."},
    {"/x/.a", 0, 0, "/x/.a"},
    {"/x/..a", 0, 0, "/x/..a"},
    {"a.vhd", 0, 0, RELATIVE},
    {"a.vhd", "b.vhd", 0, RELATIVE},
    {"", 0, 0, EMPTY},
    {"", "/p/b.vhd", "/base", EMPTY},
    {"/x/a.vhd", "", 0, "parent: " EMPTY},
    {"a.vhd", 0, "base", BASE},
    {"/x/a.vhd", 0, "base", BASE},
    {"", "", "base", BASE},
    {"/x/a*", 0, 0, FORBIDDEN},
    {"/x/a.vhd", 0, "/b*", FORBIDDEN},
    {"/x/a.vhd", "/p/b*", 0, "parent: " FORBIDDEN},
    {"/x/a*", "/p/b*", 0, FORBIDDEN},
    {"a\\b", 0, 0, BACKSLASH},
    {"/x/a.vhd", "b\\c", 0, "parent: " BACKSLASH},
    {"/x/a.vhd", 0, "/b\\c", BACKSLASH},
    {"C:\\a.vhd", 0, 0, NO_DRIVE},
    {"/x/a.vhd", "C:\\a.vhd", 0, "parent: " NO_DRIVE},
    {"/x/a.vhd", 0, "C:\\", NO_DRIVE},
    {LONG_259, 0, 0, LONG_259},
    {LONG_260, 0, 0, LONG},
    {"/x/a.vhd", LONG_260, 0, "parent: " LONG},
    {"a", LONG_260, 0, "parent: " LONG},
    {"/x/", 0, 0, IS_FOLDER},
    {"/", 0, 0, IS_FOLDER},
    {"/x/.", 0, 0, IS_FOLDER},
    {"/x/..", 0, 0, IS_FOLDER},
    {"..", "/p/b.vhd", 0, IS_FOLDER},
  };
  q = (struct question){0};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    q.image = rows[i].image;
    q.parent = rows[i].parent;
    q.opts.base = rows[i].base;
    words(ask_words, rows[i].want);
  }
}

static void paths_of_windows(void) {
  static const struct {
    const char *image, *parent, *base, *want;
  } rows[] = {
    {"c:\\a.vhd", 0, 0, "C:\\a.vhd"},
    {"/x/a.vhd", 0, 0, "/x/a.vhd"},
    {"C:\\v\\a.vhd", "c:\\p\\.\\b.vhd", 0, "C:\\v\\a.vhd C:\\p\\b.vhd"},
    {"/x/a.vhd", "C:\\b.vhd", 0, "/x/a.vhd C:\\b.vhd"},
    {"C:\\a.vhd", "/p/b.vhd", 0, "C:\\a.vhd /p/b.vhd"},
    {"a.vhd", "C:\\p\\b.vhd", 0, "C:\\p\\a.vhd C:\\p\\b.vhd"},
    {"..\\a.vhd", "C:\\p\\b.vhd", 0, "C:\\a.vhd C:\\p\\b.vhd"},
    {"a.vhd", "/p/b.vhd", 0, "/p/a.vhd /p/b.vhd"},
    {"C:\\v\\a.vhd", "..\\b.vhd", 0, "C:\\v\\a.vhd C:\\b.vhd"},
    {"a.vhd", 0, "C:\\v", "C:\\v\\a.vhd"},
    {"s\\a.vhd", "t\\b.vhd", "C:\\v", "C:\\v\\s\\a.vhd C:\\v\\s\\t\\b.vhd"},
    {"a.vhd", 0, "/base", "/base/a.vhd"},
    {"a.vhd", "b.vhd", "/base", "/base/a.vhd /base/b.vhd"},
    {"/x/a.vhd", "b.vhd", "C:\\v", "/x/a.vhd /x/b.vhd"},
    {"a\\b", 0, 0, RELATIVE},
    {"a/b", 0, 0, RELATIVE},
    {"a|b", 0, 0, FORBIDDEN},
    {"a\\b|c", 0, 0, FORBIDDEN},
    {"a/b", 0, "C:\\v", FORBIDDEN},
    {"a\\b", 0, "/base", BACKSLASH},
    {"a/b", "C:\\p\\b.vhd", 0, FORBIDDEN},
    {"a\\b", "/p/b.vhd", 0, BACKSLASH},
    {"/x/a.vhd", "b\\c", 0, "parent: " BACKSLASH},
    {"C:\\a.vhd", "b/c", 0, "parent: " FORBIDDEN},
    {"C:\\a.vhd", 0, "C:\\b*", FORBIDDEN},
    {"C:\\a.vhd", 0, "/b*", FORBIDDEN},
    {"C:\\a.vhd", 0, "b", BASE},
    {"C:\\x\\", 0, 0, IS_FOLDER},
    {"C:\\", 0, 0, IS_FOLDER},
    {"C:\\x\\..", 0, 0, IS_FOLDER},
    {"\\\\nas\\golden", 0, 0, IS_FOLDER},
    {"x\\", 0, "C:\\v", IS_FOLDER},
    {"C:\\a.vhd", "C:\\x\\", 0, "parent: " IS_FOLDER},
    {"C:\\a.vhd", "..", 0, "parent: " IS_FOLDER},
    {"C:\\con", 0, 0, "E_INVALID_NAME/NAME_RESERVED"},
  };
  q = (struct question){.maps = true};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    q.image = rows[i].image;
    q.parent = rows[i].parent;
    q.opts.base = rows[i].base;
    words(ask_words, rows[i].want);
  }
}

/* What else decides about paths. */
static void more_paths(void) {
  q = (struct question){.image = "/x/a\0b", .opts = {.image_length = 6}};
  words(ask_words, FORBIDDEN);
  q = (struct question){
    .image = "/x/a.vhd", .parent = "/p\0q", .opts = {.parent_length = 4}};
  words(ask_words, "parent: " FORBIDDEN);
  q = (struct question){.image = "/x/a*", .opts = {.host_names = LVHD_YES}};
  words(ask_words, "/x/a*");
  q.opts.host_names = LVHD_NO;
  words(ask_words, FORBIDDEN);
  q = (struct question){.image = LONG_260, .parent = LONG_260 "x",
                        .opts = {.long_paths = LVHD_YES}};
  words(ask_words, LONG_260 " " LONG_260 "x");
  q.opts.long_paths = LVHD_NO;
  words(ask_words, LONG);
  q = (struct question){.image = "a.vhd", .converts = true,
                        .source = "/s/c.vhd"};
  words(ask_words, "/s/a.vhd");
  q.parent = "/p/b.vhd";
  words(ask_words, "/s/a.vhd /p/b.vhd");
  q.source = NULL;
  words(ask_words, RELATIVE);
  q = (struct question){.image = "a.vhd", .parent = "/p/b.vhd",
                        .from_base = true, .opts = {.base = "/base"}};
  words(ask_words, "/base/a.vhd /p/b.vhd");
}

static void sizes(void) {
  static const struct {
    int64_t size;
    enum lvhd_filesystem fs;
    const char *want;
  } rows[] = {
    {-512, 0, "E_INVALIDARG/SIZE_NOT_POSITIVE"},
    {NO_SIZE, 0, "E_INVALIDARG/SIZE_NOT_POSITIVE"},
    {INT64_MIN, 0, "E_INVALIDARG/SIZE_NOT_POSITIVE"},
    {1, 0, "E_INVALIDARG/SIZE_UNALIGNED"},
    {4 * MIB + 256, 0, "E_INVALIDARG/SIZE_UNALIGNED"},
    {3 * MIB - 512, 0, "VM_E_IMAGE_SIZE_TOO_SMALL/SIZE_LIMIT"},
    {3 * MIB, 0, "/a"},
    {2088960 * MIB - 512, 0, "/a"},
    {2088960 * MIB, 0, "VM_E_IMAGE_SIZE_TOO_LARGE/SIZE_LIMIT"},
    {3 * MIB, LVHD_FAT16, "/a"},
    {2000 * MIB - 512, LVHD_FAT16, "/a"},
    {2000 * MIB, LVHD_FAT16, "VM_E_IMAGE_SIZE_TOO_LARGE/FILESYSTEM_SIZE"},
    {514 * MIB - 512, LVHD_FAT32,
     "VM_E_IMAGE_SIZE_TOO_SMALL/FILESYSTEM_SIZE"},
    {514 * MIB, LVHD_FAT32, "/a"},
    {2088960 * MIB, LVHD_FAT32, "VM_E_IMAGE_SIZE_TOO_LARGE/SIZE_LIMIT"},
  };
  q = (struct question){.image = "/a"};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    q.size = rows[i].size;
    q.opts.filesystem = rows[i].fs;
    words(ask_words, rows[i].want);
  }
  q = (struct question){.image = "/a", .size = 1, .converts = true};
  words(ask_words, "/a"); /* the source will tell */
  q = (struct question){.image = "/a", .parent = "/p",
                        .type = LVHD_DIFFERENCING, .size = 1};
  words(ask_words, "/a /p"); /* the parent's */
}

/* The limits that an error tells with a size. */
static void told_limits(void) {
  static const struct {
    int64_t size;
    uint64_t expected;
  } rows[] = {{3 * MIB - 512, 3 * MIB},
              {2088960 * MIB, 2088960 * MIB - 512}};
  for (size_t i = 0; i < 2; i++) {
    struct lvhd_error err = LVHD_ERROR_INIT;
    char answer[ANSWER];
    q = (struct question){.image = "/a", .size = rows[i].size};
    CHECK(ask_words(answer, &err) != 0);
    CHECK_INT(err.expected, rows[i].expected);
    CHECK_INT(err.actual, rows[i].size);
    q.size = 513;
    CHECK(ask_words(answer, &err) != 0);
    CHECK_INT(err.has, LVHD_HAS_ACTUAL);
    CHECK_INT(err.actual, 513);
    lvhd_error_clear(&err);
  }
}

static int ask_size(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_create c = {.type = q.type, .size = q.size};
  (void)answer;
  return lv_create_size(&c, err);
}

static void converted_sizes(void) {
  static const struct {
    int64_t size;
    const char *vhd, *raw;
  } rows[] = {
    {3 * MIB, "good", "good"},
    {3 * MIB - 512, "VM_E_IMAGE_SIZE_TOO_SMALL/SIZE_LIMIT", "good"},
    {2088960 * MIB, "good", "good"},
    {2088960 * MIB + 512, "VM_E_IMAGE_SIZE_TOO_LARGE/SIZE_LIMIT", "good"},
    {4 * MIB + 1, "E_INVALIDARG/SIZE_UNALIGNED",
     "E_INVALIDARG/SIZE_UNALIGNED"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    q = (struct question){.type = LVHD_FIXED, .size = rows[i].size};
    expect(ask_size, "a size", rows[i].vhd);
    q.type = LVHD_RAW;
    expect(ask_size, "a raw size", rows[i].raw);
  }
}

static const uint8_t some_uuid[16] = {1, 2, 3, 4};

#define BLOCKS "E_INVALIDARG/BLOCK_SIZE"
#define TIMES "E_INVALIDARG/TIMESTAMP_RANGE"
#define NO_OPTION "E_INVALIDARG/OPTION_UNKNOWN"

static void values(void) {
  static const struct {
    struct lvhd_create_options opts;
    const char *fresh, *child; /* of a new disk, and of a child */
  } rows[] = {
    {{.has_timestamp = true, .timestamp = 946684800}, "/a", "/a /p"},
    {{.has_timestamp = true, .timestamp = 946684799}, TIMES, TIMES},
    {{.has_timestamp = true, .timestamp = 946684800 + INT64_C(0xFFFFFFFF)},
     "/a", "/a /p"},
    {{.has_timestamp = true, .timestamp = 946684801 + INT64_C(0xFFFFFFFF)},
     TIMES, TIMES},
    {{.timestamp = 5, .mode = 010000, .block_size = 5}, "/a", "/a /p"},
    {{.has_uuid = true}, "E_INVALIDARG/UUID_MALFORMED",
     "E_INVALIDARG/UUID_MALFORMED"},
    {{.has_uuid = true, .uuid = {1}}, "/a", "/a /p"},
    {{.has_mode = true, .mode = 07777}, "/a", "/a /p"},
    {{.has_mode = true, .mode = 010000}, "E_INVALIDARG/MODE_MALFORMED",
     "E_INVALIDARG/MODE_MALFORMED"},
    {{.has_block_size = true, .block_size = 2 * MIB}, "/a", "/a /p"},
    {{.has_block_size = true, .block_size = MIB / 2}, "/a", "/a /p"},
    {{.has_block_size = true, .block_size = MIB}, BLOCKS, "/a /p"},
    {{.has_block_size = true}, BLOCKS, "/a /p"},
    {{.filesystem = LVHD_FAT16}, "/a", NO_OPTION},
    {{.filesystem = LVHD_FAT16, .label = "Disk"}, "/a", NO_OPTION},
    {{.label = "Disk"}, "E_INVALIDARG/LABEL_ALONE", NO_OPTION},
    {{.filesystem = LVHD_FAT16, .label = "123456789012"},
     "E_INVALIDARG/LABEL_MALFORMED", NO_OPTION},
    {{.filesystem = LVHD_FAT16, .label = ""}, "E_INVALIDARG/LABEL_MALFORMED",
     NO_OPTION},
    {{.windows_parent = "Z:\\p.vhd"}, "/a", "/a /p Z:\\p.vhd"},
    {{.windows_parent = "p.vhd"}, "/a", "parent: " RELATIVE},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    q = (struct question){.image = "/a", .opts = rows[i].opts};
    words(ask_words, rows[i].fresh);
    q.parent = "/p";
    words(ask_words, rows[i].child);
  }
  q = (struct question){
    .image = "/a", .converts = true, .opts = {.filesystem = LVHD_FAT16}};
  words(ask_words, NO_OPTION);
  q.opts = (struct lvhd_create_options){.label = "Disk"};
  words(ask_words, NO_OPTION);
}

/* Which limit a time or a block size broke. */
static void told_values(void) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  char answer[ANSWER];
  q = (struct question){.image = "/a",
                        .opts = {.has_timestamp = true, .timestamp = 7}};
  CHECK(ask_words(answer, &err) != 0);
  CHECK_INT(err.expected, 946684800);
  CHECK_INT(err.actual, 7);
  q.opts.timestamp = INT64_C(1) << 40;
  CHECK(ask_words(answer, &err) != 0);
  CHECK_INT(err.expected, 946684800 + UINT64_C(0xFFFFFFFF));
  q.opts = (struct lvhd_create_options){.has_block_size = true,
                                        .block_size = MIB};
  CHECK(ask_words(answer, &err) != 0);
  CHECK_INT(err.expected, 2 * MIB);
  CHECK_INT(err.actual, MIB);
  lvhd_error_clear(&err);
}

/* The parent of many. */
static void common_parents(void) {
  static const struct {
    const char *parent, *base;
    bool maps;
    const char *want;
  } rows[] = {
    {"/p/b.vhd", 0, 0, "/p/b.vhd"},
    {"/p/b.vhd", "/base", 0, "/p/b.vhd"},
    {"b.vhd", "/base", 0, "/base/b.vhd from_base"},
    {"b.vhd", 0, 0, "parent: " RELATIVE},
    {"b.vhd", "base", 0, "parent: " BASE},
    {"/p/b.vhd", "base", 0, "parent: " BASE},
    {"", "/base", 0, "parent: " EMPTY},
    {"", 0, 0, "parent: " EMPTY},
    {"/p/b*", 0, 0, "parent: " FORBIDDEN},
    {"/p/b*", "/base*", 0, FORBIDDEN},
    {"/p/b", "/base*", 0, FORBIDDEN},
    {"b\\c", "/base", 0, "parent: " BACKSLASH},
    {LONG_259, 0, 0, LONG_259},
    {LONG_260, 0, 0, "parent: " LONG},
    {"c:\\p.vhd", 0, 1, "C:\\p.vhd"},
    {"s\\p.vhd", "C:\\v", 1, "C:\\v\\s\\p.vhd from_base"},
    {"s/p.vhd", "C:\\v", 1, "parent: " FORBIDDEN},
    {"s\\p.vhd", "/base", 1, "parent: " BACKSLASH},
    {"s/p.vhd", "/base", 1, "/base/s/p.vhd from_base"},
    {"/p/b.vhd", "C:\\v", 1, "/p/b.vhd"},
    {"C:\\p.vhd", "/base", 1, "C:\\p.vhd"},
    {"C:\\p.vhd", "C:\\b*", 1, FORBIDDEN},
    {"C:\\p\\", 0, 1, "parent: " IS_FOLDER},
    {"p\\b", 0, 1, "parent: " RELATIVE},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    q = (struct question){.image = "", .parent = rows[i].parent,
                          .opts = {.base = rows[i].base},
                          .maps = rows[i].maps};
    words(ask_parent_words, rows[i].want);
  }
  q = (struct question){.image = "", .parent = "/p\0q",
                        .opts = {.parent_length = 4}};
  words(ask_parent_words, "parent: " FORBIDDEN);
  q = (struct question){.image = "", .parent = LONG_260,
                        .opts = {.long_paths = LVHD_YES}};
  words(ask_parent_words, LONG_260);
  q = (struct question){.image = "", .parent = "/p*",
                        .opts = {.host_names = LVHD_YES}};
  words(ask_parent_words, "/p*");
  q = (struct question){.image = "", .parent = "/p",
                        .opts = {.has_mode = true, .mode = 010000}};
  words(ask_parent_words, "E_INVALIDARG/MODE_MALFORMED");
  q.opts = (struct lvhd_create_options){.windows_parent = "z:\\p"};
  words(ask_parent_words, "/p Z:\\p");
  q.opts.windows_parent = "p";
  words(ask_parent_words, "parent: " RELATIVE);
}

/* ---- 2 and 3: parent, image and volume ----------------------------------- */

static void say_look(char answer[ANSWER], const struct lv_create *c,
                     const struct lv_look *look) {
  const struct lv_plan *plan = &look->plan;
  snprintf(answer, ANSWER, "%.200s%s%.200s%s%s%s%s%.100s %uK",
           brief(c->real_folder), c->real_parent ? " " : "",
           c->real_parent ? brief(c->real_parent) : "",
           look->folder.missing ? " missing" : "",
           look->exists ? " exists" : "", look->unnamable ? " unnamable" : "",
           c->twin ? " twin " : "", c->twin ? lv_create_name(c) : "",
           (unsigned)(plan->header.block_size >> 10));
  CHECK(look->folder.fd >= 0);
  CHECK((look->parent.fd >= 0) == (c->type == LVHD_DIFFERENCING));
  CHECK(memcmp(plan->fields.uuid, some_uuid, 16) == 0);
  if (q.opts.has_timestamp)
    CHECK_INT(plan->fields.timestamp, q.opts.timestamp - 946684800);
  else
    CHECK(plan->fields.timestamp + INT64_C(946684800) + 3600 > time(NULL));
}

/* Between the looks of the call and of the worker. */
static void (*between)(void);

static int ask_look(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_create c;
  struct lv_look look = {.exists = false};
  int code = make(&c, err);
  if (code == 0)
    code = lv_create_words(&c, err);
  if (code == 0 && between) {
    code = lv_create_look(&c, &look, some_uuid, true, err);
    if (code == 0)
      lv_look_close(&look, &env);
    between();
  }
  if (code == 0)
    code = lv_create_look(&c, &look, some_uuid, q.volume, err);
  if (code == 0) {
    say_look(answer, &c, &look);
    if (c.type == LVHD_DIFFERENCING) {
      CHECK_MEM(look.plan.header.parent_uuid, c.seen.uuid, 16);
      CHECK_INT(look.plan.fields.current_size, c.seen.size);
    }
    lv_look_close(&look, &env);
  }
  return end(&c, code, err);
}

/* What fails unheard: the short ways of Windows paths; to ask for a link where
 * a folder is missing; to ask, after an error, if the folder was removed. */
static void look_for(const char *what, const char *want) {
  static char unheard[80];
  bool windows = q.image[0] == 'C' || (q.parent && q.parent[0] == 'C');
  bool failed = strncmp(want, "E_", 2) == 0 || strncmp(want, "VM_", 3) == 0;
  snprintf(unheard, sizeof unheard, "%s%s%s",
           windows ? "openat openat2 fstat" : "", failed ? " fstat" : "",
           strstr(want, "missing") || windows ? " fstatat" : "");
  calls_unheard = unheard;
  expect(ask_look, what, want);
  calls_unheard = "";
}

#define EXISTS "E_ALREADY_EXISTS"
#define TWIN "E_ALREADY_EXISTS/CASE_TWIN"
#define MISSING "E_PATH_NOT_FOUND/FILE_MISSING"
#define IN_THE_WAY "E_PATH_NOT_FOUND/NOT_A_FOLDER ENOTDIR openat2"

static void look_at_images(void) {
  static const struct {
    const char *image;
    bool keep;
    const char *want;
  } rows[] = {
    {"~/in/new.vhd", false, "~/in 2048K"},
    {"~/lin/new.vhd", false, "~/in 2048K"},
    {"~/in/no/such/new.vhd", false, "~/in/no/such missing 2048K"},
    {"~/in/no/dyn.vhd", false, "~/in/no missing 2048K"},
    {"~/in/dyn.vhd", false, EXISTS},
    {"~/in/dyn.vhd", true, "~/in exists 2048K"},
    {"~/in/nowhere", false, EXISTS},
    {"~/in/sub", false, EXISTS},
    {"~/in/DYN.vhd", false, "~/in 2048K"},
    {"~/in/dyn.vhd/x", false, IN_THE_WAY},
    {"C:\\new.vhd", false, "~/in 2048K"},
    {"C:\\SUB\\new.vhd", false, "~/in/sub 2048K"},
    {"C:\\no\\new.vhd", false, "~/in/no missing 2048K"},
    {"C:\\dyn.vhd", false, EXISTS},
    {"C:\\DYN.vhd", false, TWIN},
    {"C:\\DYN.vhd", true, "~/in exists twin dyn.vhd 2048K"},
    {"C:\\dyn.vhd", true, "~/in exists 2048K"},
    {"C:\\tWin", false, TWIN},
    {"C:\\tWin", true, TWIN},
    {"C:\\twin", true, "~/in exists 2048K"},
    {"Q:\\x", false, NO_DRIVE},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    for (int volume = 0; volume < 2; volume++) {
      q = (struct question){.image = rows[i].image, .maps = true,
                            .opts = {.keep = rows[i].keep},
                            .volume = volume != 0};
      look_for(q.image, rows[i].want);
    }
}

/* The worker asks for the image itself where linkat would not tell, or too
 * late. */
static void ask_of_worker(void) {
  static const struct {
    struct lvhd_create_options opts;
    bool converts;
    const char *want;
  } rows[] = {
    {{.preflight = LVHD_YES}, false, "~/in 0K"},
    {{.preflight = LVHD_NO}, false, EXISTS},
    {{.preflight = LVHD_YES, .keep = true}, false, "~/in exists 0K"},
    {{.preflight = LVHD_YES}, true, EXISTS},
    {{.preflight = LVHD_YES, .allocate = LVHD_ZERO}, false, EXISTS},
    {{.preflight = LVHD_YES, .allocate = LVHD_RESERVE}, false, "~/in 0K"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    q = (struct question){.image = "~/in/dyn.vhd", .type = LVHD_FIXED,
                          .opts = rows[i].opts,
                          .converts = rows[i].converts};
    look_for(q.image, rows[i].want);
  }
  q.opts = (struct lvhd_create_options){.preflight = LVHD_YES};
  q.converts = false;
  q.volume = true;
  look_for(q.image, EXISTS);
  q.volume = false;
  q.maps = true;
  q.image = "C:\\dyn.vhd";
  look_for(q.image, EXISTS);
}

static void look_at_parents(void) {
  static const struct {
    const char *image, *parent, *want;
  } rows[] = {
    {"~/in/new.vhd", "~/in/dyn.vhd", "~/in ~/in/dyn.vhd 2048K"},
    {"~/in/new.vhd", "~/in/small.vhd", "~/in ~/in/small.vhd 512K"},
    {"~/in/new.vhd", "~/in/fix.vhd", "~/in ~/in/fix.vhd 2048K"},
    {"~/in/new.vhd", "dyn.vhd", "~/in ~/in/dyn.vhd 2048K"},
    {"~/in/new.vhd", "./dyn.vhd", "~/in ~/in/dyn.vhd 2048K"},
    {"~/in/new.vhd", "own", "~/in ~/in/dyn.vhd 2048K"},
    {"~/in/sub/new.vhd", "../dyn.vhd", "~/in/sub ~/in/dyn.vhd 2048K"},
    {"~/in/sub/new.vhd", ".././/dyn.vhd", "~/in/sub ~/in/dyn.vhd 2048K"},
    {"~/in/sub/new.vhd", "..x/b.vhd", "~/in/sub ~/in/sub/..x/b.vhd 2048K"},
    {"~/in/sub/new.vhd", ".x/b.vhd", "~/in/sub ~/in/sub/.x/b.vhd 2048K"},
    {"~/in/sub/new.vhd", "../sub/../dyn.vhd",
     "~/in/sub ~/in/dyn.vhd 2048K"},
    {"~/in/no/such/new.vhd", "../../dyn.vhd",
     "~/in/no/such ~/in/dyn.vhd missing 2048K"},
    {"~/in/no/new.vhd", "./../dyn.vhd",
     "~/in/no ~/in/dyn.vhd missing 2048K"},
    {"~/in/sub/new.vhd", "x/b.vhd", "~/in/sub ~/in/sub/x/b.vhd 2048K"},
    {"~/lsub/new.vhd", "../dyn.vhd", "~/in/sub ~/in/dyn.vhd 2048K"},
    {"~/in/new.vhd", "~/lin/dyn.vhd", "~/in ~/in/dyn.vhd 2048K"},
    {"~/in/new.vhd", "~/in/none.vhd", MISSING " ENOENT openat2"},
    {"~/in/new.vhd", "none.vhd", MISSING " ENOENT openat2"},
    {"~/in/sub/new.vhd", "..", "VM_E_INVALID_HD_FILE/NOT_REGULAR"},
    {"~/in/sub/new.vhd", ".", "VM_E_INVALID_HD_FILE/NOT_REGULAR"},
    {"~/in/new.vhd", "~/in/twin", "VM_E_INVALID_HD_FILE/FOOTER_MISSING"},
    {"~/in/new.vhd", "~/in/nil.vhd", "VM_E_INVALID_HD_FILE/UUID_MALFORMED"},
    {"~/in/new.vhd", "~/in/tiny.vhd",
     "VM_E_IMAGE_SIZE_TOO_SMALL/SIZE_LIMIT"},
    {"~/in/dyn.vhd", "~/in/none.vhd", MISSING " ENOENT openat2"},
    {"~/in/dyn.vhd", "~/in/fix.vhd", EXISTS},
    {"~/in/dyn.vhd/x", "~/in/fix.vhd", IN_THE_WAY},
    {"~/in/dyn.vhd/x", "~/in/none.vhd", MISSING " ENOENT openat2"},
    {"C:\\new.vhd", "C:\\DYN.vhd", "~/in ~/in/dyn.vhd 2048K"},
    {"C:\\sub\\new.vhd", "..\\DYN.vhd", "~/in/sub ~/in/dyn.vhd 2048K"},
    {"C:\\sub\\new.vhd", "..x\\B.vhd",
     "~/in/sub ~/in/sub/..x/b.vhd 2048K"},
    {"C:\\new.vhd", "~/in/sub/a:b.vhd",
     "~/in ~/in/sub/a:b.vhd unnamable 2048K"},
  };
  /* whether it is the folder that is missing */
  calls_also = "E_PATH_NOT_FOUND/FOLDER_MISSING ENOENT openat2";
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    for (int volume = 0; volume < 2; volume++) {
      q = (struct question){.image = rows[i].image,
                            .parent = rows[i].parent, .maps = true,
                            .opts = {.host_names = LVHD_YES},
                            .volume = volume != 0};
      look_for(rows[i].parent, rows[i].want);
      CHECK(of_parent ==
            (strncmp(rows[i].want, "VM_", 3) == 0 ||
             strncmp(rows[i].want, MISSING, strlen(MISSING)) == 0));
    }
  calls_also = NULL;
}

static void block_sizes(void) {
  static const struct {
    const char *parent;
    int64_t size;
    const char *want;
  } rows[] = {
    {"~/in/dyn.vhd", 2 * MIB, "~/in ~/in/dyn.vhd 2048K"},
    {"~/in/dyn.vhd", MIB / 2, BLOCKS},
    {"~/in/small.vhd", MIB / 2, "~/in ~/in/small.vhd 512K"},
    {"~/in/small.vhd", 2 * MIB, BLOCKS},
    {"~/in/small.vhd", (INT64_C(1) << 32) + MIB / 2, BLOCKS},
    {"~/in/fix.vhd", MIB / 2, "~/in ~/in/fix.vhd 512K"},
    {"~/in/fix.vhd", 2 * MIB, "~/in ~/in/fix.vhd 2048K"},
    {"~/in/fix.vhd", MIB, BLOCKS},
    {NULL, MIB / 2, "~/in 512K"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lvhd_error err = LVHD_ERROR_INIT;
    char answer[ANSWER];
    q = (struct question){.image = "~/in/new.vhd", .parent = rows[i].parent,
                          .opts = {.has_block_size = true,
                                   .block_size = rows[i].size},
                          .volume = true};
    look_for("block size", rows[i].want);
    if (strcmp(rows[i].want, BLOCKS) == 0) {
      CHECK(ask_look(answer, &err) != 0);
      CHECK_INT(err.actual, rows[i].size);
      CHECK_INT(err.expected, strstr(rows[i].parent, "small") ? MIB / 2
                                                              : 2 * MIB);
    }
    lvhd_error_clear(&err);
  }
}

static uint8_t dyn_uuid[16];

static void own_uuids(void) {
  q = (struct question){.image = "~/in/new.vhd", .parent = "~/in/dyn.vhd",
                        .opts = {.has_uuid = true}};
  memcpy(q.opts.uuid, dyn_uuid, 16);
  look_for("the parent's", "E_INVALIDARG/UUID_OF_PARENT");
  q.parent = "~/in/fix.vhd";
  look_for("another's", "~/in ~/in/fix.vhd 2048K");
  q.parent = NULL;
  look_for("no parent's", "~/in 2048K");
  q.opts = (struct lvhd_create_options){.has_timestamp = true,
                                        .timestamp = 946684805};
  look_for("a time", "~/in 2048K");
}

/* ---- what changes meanwhile ---------------------------------------------- */

static void nothing(void) {}

static void other_parent(void) {
  move("~/in/dyn.vhd", "~/in/kept.vhd");
  move("~/in/small.vhd", "~/in/dyn.vhd");
}

static void parent_again(void) {
  move("~/in/dyn.vhd", "~/in/small.vhd");
  move("~/in/kept.vhd", "~/in/dyn.vhd");
}

static void no_reads(void) { calls_break("pread", EIO, 1, ALWAYS); }
static void no_notes(void) { calls_break("openat", EIO, 1, ALWAYS); }

static void link_away(void) {
  drop("~/lin");
  put_link("in/sub", "~/lin");
}

static void link_again(void) {
  drop("~/lin");
  put_link("in", "~/lin");
}

static void sub_leads_out(void) {
  move("~/in/sub", "~/sub");
  put_link("~/sub", "~/in/sub");
}

static void sub_again(void) {
  drop("~/in/sub");
  move("~/sub", "~/in/sub");
}

static void both_go(void) {
  move("~/in/dyn.vhd", "~/in/kept.vhd");
  drop("~/in/gone");
  put_file("~/in/gone");
}

static void no_parent(void) { move("~/in/dyn.vhd", "~/in/kept.vhd"); }

/* The worker's look goes by what the call has found. */
static void look_again(void) {
  q = (struct question){.image = "~/lin/new.vhd", .parent = "~/lin/dyn.vhd"};
  between = nothing;
  look_for("as it was", "~/in ~/in/dyn.vhd 2048K");
  q.image = "~/in/sub/new.vhd";
  q.parent = "../dyn.vhd";
  look_for("as it was", "~/in/sub ~/in/dyn.vhd 2048K");
  q.maps = true;
  q.image = "C:\\sub\\new.vhd";
  q.parent = "..\\dyn.vhd";
  look_for("as it was", "~/in/sub ~/in/dyn.vhd 2048K");
  q = (struct question){.image = "~/lin/new.vhd", .parent = "~/lin/dyn.vhd"};
  between = link_away;
  calls_whole();
  CHECK_STR(answer_of(ask_look, "a link"), "~/in ~/in/dyn.vhd 2048K");
  link_again();
  q = (struct question){.image = "C:\\sub\\new.vhd", .maps = true};
  between = sub_leads_out;
  calls_whole();
  CHECK_STR(answer_of(ask_look, "out"), "E_ACCESSDENIED/OUTSIDE_DRIVE");
  sub_again();
  q.image = "C:\\new.vhd";
  q.parent = "C:\\sub\\x\\b.vhd";
  calls_whole();
  CHECK_STR(answer_of(ask_look, "out"), "E_ACCESSDENIED/OUTSIDE_DRIVE");
  sub_again();
  q = (struct question){.image = "~/in/new.vhd", .parent = "~/in/dyn.vhd"};
  between = no_reads; /* what the call has read, the worker need not */
  calls_whole();
  CHECK_STR(answer_of(ask_look, "known"), "~/in ~/in/dyn.vhd 2048K");
  between = no_notes;
  calls_whole();
  CHECK_STR(answer_of(ask_look, "known"), "~/in ~/in/dyn.vhd 2048K");
  between = other_parent;
  calls_whole();
  CHECK_STR(answer_of(ask_look, "another"), "~/in ~/in/dyn.vhd 512K");
  parent_again();
  between = both_go; /* the parent comes first */
  put_folder("~/in/gone");
  q.image = "~/in/gone/new.vhd";
  q.parent = "../dyn.vhd";
  calls_whole();
  CHECK_STR(answer_of(ask_look, "both"), MISSING " ENOENT openat2");
  move("~/in/kept.vhd", "~/in/dyn.vhd");
  drop("~/in/gone");
  between = no_parent;
  q = (struct question){.image = "~/in/new.vhd", .parent = "~/in/dyn.vhd"};
  calls_whole();
  CHECK_STR(answer_of(ask_look, "none"), MISSING " ENOENT openat2");
  move("~/in/kept.vhd", "~/in/dyn.vhd");
  between = NULL;
}

static void same_states(void) {
  const struct stat one = {.st_ino = 1, .st_dev = 2, .st_size = 3,
                           .st_mtim = {4, 5}, .st_ctim = {6, 7}};
  struct stat two = one;
  CHECK(lv_same_state(&one, &two));
  two.st_mode = 1;
  CHECK(lv_same_state(&one, &two));
#define DIFFERS(field)                                                       \
  two = one;                                                                 \
  two.field++;                                                               \
  CHECK(!lv_same_state(&one, &two))
  DIFFERS(st_ino);
  DIFFERS(st_dev);
  DIFFERS(st_size);
  DIFFERS(st_mtim.tv_sec);
  DIFFERS(st_mtim.tv_nsec);
  DIFFERS(st_ctim.tv_sec);
  DIFFERS(st_ctim.tv_nsec);
#undef DIFFERS
}

static void remove_no(void) { drop("~/in/gone"); }

/* Whatever there is has no name any more. */
static void all_unlinked(void) {
  trouble_forge(&calls, "fstat", no_links);
  trouble_forge(&calls, "fstatat", no_links);
}

/* The folder goes under the look, and is looked for anew; one that never
 * comes to rest is told in the end; a parent's fault at once. */
static void gone_folders(void) {
  q = (struct question){.image = "~/in/gone/new.vhd", .volume = true};
  put_folder("~/in/gone");
  calls_break("fstatfs", 0, 1, 1)->meddle = remove_no;
  expect_once(ask_look, "goes", "~/in/gone missing 2048K");
  q.image = "~/in/new.vhd";
  calls_break("fstatat", EIO, 1, ALWAYS);
  all_unlinked();
  expect_once(ask_look, "goes on", "DISP_E_EXCEPTION EIO fstatat");
  calls_break("fstatat", EIO, 1, 1);
  all_unlinked();
  expect_once(ask_look, "comes back", "~/in 2048K");
  calls_break("fstatat", EIO, 1, 1);
  expect_once(ask_look, "was there", "DISP_E_EXCEPTION EIO fstatat");
  q.parent = "~/in/dyn.vhd";
  calls_break("fstatat", EIO, 1, 1);
  all_unlinked();
  expect_once(ask_look, "comes back", "~/in ~/in/dyn.vhd 2048K");
  calls_break("pread", EIO, 1, 1);
  all_unlinked();
  expect_once(ask_look, "a parent", "DISP_E_EXCEPTION EIO pread");
}

static void is_full(void *answer) {
  struct statfs *st = answer;
  st->f_bavail = 0;
}

#define WHOLE_DISK (64 * MIB) /* and its footer */

static void enough_room(void *answer) {
  struct statfs *st = answer;
  st->f_frsize = 512;
  st->f_bavail = WHOLE_DISK / 512 + 1;
}

static void little_room(void *answer) {
  struct statfs *st = answer;
  enough_room(st);
  st->f_bavail--;
}

static void room_for_some(void *answer) {
  struct statfs *st = answer;
  st->f_frsize = 512;
  st->f_bavail = 10 * MIB / 512;
}

/* Full is full, whatever is wanted; and what is not written needs no room. */
static void told_rooms(void) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  char answer[ANSWER];
  q = (struct question){.image = "~/in/new.vhd", .type = LVHD_FIXED,
                        .size = WHOLE_DISK, .volume = true,
                        .opts = {.allocate = LVHD_ZERO}};
  calls_break("fstatfs", 0, 1, ALWAYS)->forge = is_full;
  CHECK_INT(ask_look(answer, &err), LVHD_E_DISK_FULL);
  CHECK_INT(err.expected, 8 * MIB);
  CHECK_INT(err.actual, 0);
  calls.rules[0].forge = little_room;
  CHECK_INT(ask_look(answer, &err), LVHD_E_DISK_FULL);
  CHECK_INT(err.expected, WHOLE_DISK + 512);
  CHECK_INT(err.actual, WHOLE_DISK);
  lvhd_error_clear(&err);
  q = (struct question){.image = "~/in/new.vhd", .size = 2000000 * MIB,
                        .volume = true,
                        .opts = {.allocate = LVHD_RESERVE,
                                 .has_block_size = true,
                                 .block_size = MIB / 2}};
  calls_break("fstatfs", 0, 1, ALWAYS)->forge = room_for_some;
  expect_once(ask_look, "a table", "~/in 512K");
}

static void no_blocks(void *answer) {
  struct statfs *st = answer;
  st->f_bavail = st->f_blocks = 0;
}

static void rooms(void) {
  static const struct {
    enum lvhd_type type;
    enum lvhd_allocate allocate;
    void (*forge)(void *answer);
    const char *want;
  } rows[] = {
    {LVHD_FIXED, LVHD_ZERO, little_room, "E_DISK_FULL/VOLUME_FULL"},
    {LVHD_FIXED, LVHD_RESERVE, little_room, "E_DISK_FULL/VOLUME_FULL"},
    {LVHD_FIXED, 0, little_room, "~/in 0K"},
    {LVHD_DYNAMIC, LVHD_RESERVE, little_room, "~/in 2048K"},
    {LVHD_DYNAMIC, 0, is_full, "E_DISK_FULL/VOLUME_FULL"},
    {LVHD_FIXED, LVHD_ZERO, enough_room, "~/in 0K"},
    {LVHD_FIXED, LVHD_ZERO, no_blocks, "~/in 0K"},
    {LVHD_FIXED, LVHD_ZERO, NULL, "~/in 0K"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    q = (struct question){.image = "~/in/new.vhd", .type = rows[i].type,
                          .size = WHOLE_DISK, .volume = true,
                          .opts = {.allocate = rows[i].allocate}};
    calls_break("fstatfs", 0, 1, ALWAYS)->forge = rows[i].forge;
    expect_once(ask_look, "room", rows[i].want);
  }
  q.volume = false; /* then it is asked with the file itself */
  q.opts.allocate = LVHD_RESERVE;
  calls_break("fstatat", 0, 1, ALWAYS);
  trouble_forge(&calls, "fstatfs", is_full);
  expect_once(ask_look, "room", "~/in 0K");
  q.volume = true; /* what is there already needs none */
  q.image = "~/in/dyn.vhd";
  q.opts.keep = true;
  calls_break("fstatat", 0, 1, ALWAYS);
  trouble_forge(&calls, "fstatfs", is_full);
  expect_once(ask_look, "room", "~/in exists 0K");
}

/* Somebody writes to the parent. */
static void used_parents(void) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int fd = open(whole("~/in/dyn.vhd"), O_RDWR | O_CLOEXEC);
  q = (struct question){.image = "~/in/new.vhd", .parent = "~/in/dyn.vhd"};
  CHECK_INT(fcntl(fd, F_OFD_SETLK, &lock), 0);
  calls_unlocked = "~/in ~/in/dyn.vhd 2048K";
  look_for("in use", "E_SHARING_VIOLATION/IN_USE");
  calls_unlocked = NULL;
  CHECK(of_parent);
  close(fd);
  look_for("free", "~/in ~/in/dyn.vhd 2048K");
  fd = open(whole("~/in/nil.vhd"), O_RDWR | O_CLOEXEC);
  CHECK_INT(fcntl(fd, F_OFD_SETLK, &lock), 0);
  q.parent = "~/in/nil.vhd"; /* what it is comes first */
  look_for("in use", "VM_E_INVALID_HD_FILE/UUID_MALFORMED");
  close(fd);
}

/* A verb was interrupted on the parent, or is under way. */
static void noted_parents(void) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  struct lv_file file = LV_FILE_INIT;
  struct lv_folder beside = LV_FOLDER_INIT;
  struct lv_journal note = {.verb = LV_JOURNAL_RESIZE};
  char path[PATH_MAX];
  int fd = -1;
  snprintf(path, sizeof path, "%.3000s", whole("~/in/dyn.vhd"));
  q = (struct question){.image = "~/in/new.vhd", .parent = "~/in/dyn.vhd"};
  calls_whole();
  begin();
  CHECK_INT(lv_file_open(&file, &env, path, NULL), 0);
  note.length = (uint64_t)file.st.st_size;
  note.mtime = file.st.st_mtim;
  CHECK_INT(lv_journal_write(&note, &env, &file, path, false, &beside, NULL),
            0);
  look_for("another disk's note", "~/in ~/in/dyn.vhd 2048K");
  CHECK_INT(lv_journal_remove(&note, &env, &file, path, false, &beside, NULL),
            0);
  lv_folder_close(&beside, &env);
  CHECK_INT(pread(file.fd, note.uuid, 16, 68), 16); /* of the footer's copy */
  CHECK_INT(lv_journal_write(&note, &env, &file, path, false, &beside, NULL),
            0);
  look_for("a note", "E_SHARING_VIOLATION/JOURNAL_PENDING");
  CHECK(of_parent);
  fd = open(path, O_RDWR | O_CLOEXEC);
  CHECK_INT(fcntl(fd, F_OFD_SETLK, &lock), 0);
  calls_unlocked = "E_SHARING_VIOLATION/JOURNAL_PENDING";
  look_for("under way", "E_SHARING_VIOLATION/IN_USE");
  calls_unlocked = NULL;
  close(fd);
  begin();
  CHECK_INT(lv_journal_remove(&note, &env, &file, path, false, &beside, NULL),
            0);
  lv_folder_close(&beside, &env);
  lv_file_close(&file, &env);
  put_file("~/in/.dyn.vhd.lvhd-journal"); /* something else */
  look_for("no note", "~/in ~/in/dyn.vhd 2048K");
  drop("~/in/.dyn.vhd.lvhd-journal");
}

static void comes(void) { put_file("~/in/newer"); }

static void told_twins(void) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  char answer[ANSWER];
  q = (struct question){.image = "C:\\newer", .maps = true};
  calls_break("getdents", 0, 1, 1)->meddle = comes;
  expect_once(ask_look, "comes meanwhile", EXISTS);
  drop("~/in/newer");
  q = (struct question){.image = "C:\\DYN.vhd", .maps = true};
  calls_whole();
  CHECK(ask_look(answer, &err) == LVHD_E_ALREADY_EXISTS);
  CHECK_STR(brief(err.others), "~/in/dyn.vhd");
  CHECK(err.others && err.others[strlen(err.others) + 1] == '\0');
  lvhd_error_clear(&err);
}

/* Plans that cannot be: a parent whose way is longer than a locator, a disk
 * larger than its table. */
static void long_ways(void) {
  char folder[] = "/x", parent[PATH_MAX];
  struct lv_create c = {.env = &env, .type = LVHD_DIFFERENCING,
                        .real_folder = folder, .real_parent = parent};
  struct lv_look look = {.exists = false};
  struct lvhd_error err = LVHD_ERROR_INIT;
  memset(parent, 'x', sizeof parent);
  for (size_t i = 0; i < sizeof parent; i += 200)
    parent[i] = '/';
  parent[sizeof parent - 1] = '\0';
  c.seen.size = 4 * MIB;
  q = (struct question){0};
  calls_whole();
  begin();
  CHECK_INT(lv_create_plan(&c, &look, some_uuid, &err),
            LVHD_E_BUFFER_OVERFLOW);
  CHECK((err.has & LVHD_AT_PARENT) != 0);
  c.type = LVHD_DYNAMIC; /* no parent's fault, and beyond what a table says */
  c.size = INT64_C(1) << 50;
  CHECK_INT(lv_create_plan(&c, &look, some_uuid, &err),
            LVHD_VM_E_IMAGE_SIZE_TOO_LARGE);
  CHECK((err.has & LVHD_AT_PARENT) == 0);
  lvhd_error_clear(&err);
}

/* ---- all of it ----------------------------------------------------------- */

static void put_disk(const char *name, enum lvhd_type type,
                     int64_t block_size) {
  const struct lvhd_create_options opts = {
    .has_block_size = true, .block_size = block_size, .host_names = LVHD_YES};
  lvhd_engine *engine = NULL;
  lvhd_task *task = NULL;
  CHECK_INT(lvhd_engine_new(&engine, NULL, NULL), 0);
  CHECK_INT((type == LVHD_FIXED ? lvhd_create_fixed : lvhd_create_dynamic)(
              engine, whole(name), 4 * MIB, &opts, &task, NULL), 0);
  lvhd_engine_close(engine, false);
  lvhd_task_free(task);
  lvhd_engine_free(engine, false);
}

/* n bytes of the last footer, out or (`in`) into both. */
static void footer(const char *name, size_t at, uint8_t *bytes, size_t n,
                   bool in) {
  uint8_t all[512];
  uint32_t sum = 0;
  int fd = open(whole(name), O_RDWR | O_CLOEXEC);
  off_t from = lseek(fd, -512, SEEK_END);
  CHECK(pread(fd, all, 512, from) == 512);
  memcpy(in ? all + at : bytes, in ? bytes : all + at, n);
  memset(all + 64, 0, 4);
  for (size_t i = 0; i < 512; i++)
    sum += all[i];
  for (size_t i = 0; i < 4; i++)
    all[64 + i] = (uint8_t)(~sum >> (24 - 8 * i));
  if (in)
    CHECK(pwrite(fd, all, 512, from) == 512 && pwrite(fd, all, 512, 0) == 512);
  close(fd);
}

static void furnish(void) {
  uint8_t nil[16] = {0}, two_mib[8] = {0, 0, 0, 0, 0, 0x20};
  struct lvhd_drive drives[3] = {{"E", NULL}, {"C", NULL}, {"V", NULL}};
  put_folder("~/in");
  put_folder("~/in/sub");
  put_folder("~/in/sub/..x");
  put_folder("~/in/sub/.x");
  put_folder("~/in/sub/x");
  put_disk("~/in/dyn.vhd", LVHD_DYNAMIC, 2 * MIB);
  put_disk("~/in/nil.vhd", LVHD_DYNAMIC, 2 * MIB);
  put_disk("~/in/small.vhd", LVHD_DYNAMIC, MIB / 2);
  put_disk("~/in/fix.vhd", LVHD_FIXED, 2 * MIB);
  put_disk("~/in/sub/..x/b.vhd", LVHD_DYNAMIC, 2 * MIB);
  put_disk("~/in/sub/.x/b.vhd", LVHD_DYNAMIC, 2 * MIB);
  put_disk("~/in/sub/x/b.vhd", LVHD_DYNAMIC, 2 * MIB);
  put_disk("~/in/sub/a:b.vhd", LVHD_DYNAMIC, 2 * MIB);
  put_disk("~/in/tiny.vhd", LVHD_DYNAMIC, 2 * MIB);
  footer("~/in/nil.vhd", 68, nil, 16, true);
  footer("~/in/tiny.vhd", 48, two_mib, 8, true);
  footer("~/in/dyn.vhd", 68, dyn_uuid, 16, false);
  put_file("~/in/twin");
  put_file("~/in/TWIN");
  put_link("in", "~/lin");
  put_link("in/sub", "~/lsub");
  put_link("dyn.vhd", "~/in/own");
  put_link("none", "~/in/nowhere");
  drives[0].folder = whole("~/none");
  drives[1].folder = whole("~/in");
  drives[2].folder = whole("~/in/sub");
  CHECK_INT(lv_drives_new(&map, drives, 3, NULL), 0);
}

int main(void) {
  base_make("ask");
  furnish();
  paths_of_host();
  paths_of_windows();
  more_paths();
  sizes();
  told_limits();
  converted_sizes();
  values();
  told_values();
  common_parents();
  look_at_images();
  ask_of_worker();
  look_at_parents();
  block_sizes();
  own_uuids();
  look_again();
  same_states();
  gone_folders();
  rooms();
  told_rooms();
  used_parents();
  noted_parents();
  told_twins();
  long_ways();
  lv_drives_free(map);
  scene_end();
  return check_done();
}
