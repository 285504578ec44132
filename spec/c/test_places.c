/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/io/drives and src/op/way: where Windows paths lead, how
 * Windows calls what the host knows, and the way from a child to its parent;
 * what others do meanwhile; each call and each allocation that fails.
 */
#include "ask.h"
#include "io/drives.h"
#include "io/names.h"
#include "op/way.h"

/* ---- the question -------------------------------------------------------- */

#define MISSING "E_PATH_NOT_FOUND/FILE_MISSING"
#define NO_FOLDERS "E_PATH_NOT_FOUND/FOLDER_MISSING"
#define NO_FOLDER "E_PATH_NOT_FOUND/NOT_A_FOLDER"
#define OUT_OF_DRIVE "E_ACCESSDENIED/OUTSIDE_DRIVE"
#define AMBIGUOUS "E_INVALID_NAME/CASE_AMBIGUOUS"
#define TOO_LONG "E_BUFFER_OVERFLOW ENAMETOOLONG "
#define LONG_50 "12345678901234567890123456789012345678901234567890"
#define LONG_255 LONG_50 LONG_50 LONG_50 LONG_50 LONG_50 "12345"

static struct lv_env env;
static struct lv_drives *many, *few; /* with mapped folders that are absent */

static struct {
  const struct lv_drives *map;
  const char *a, *b;
  enum lv_last last;
  bool lists; /* names are kept, as by create_children */
  int flags;
} q;

static void begin(void) {
  lv_env_init(&env, &calls.sys);
  env.drives = q.map;
}

static int ask_find(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_place place;
  int code = 0;
  begin();
  if (q.lists) {
    env.names = lv_names_new();
    if (env.names == NULL)
      return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  code = lv_drives_find(&place, &env, q.a, q.last, err);
  lv_names_free(env.names);
  CHECK((code == 0) == (place.root.fd >= 0));
  CHECK((code == 0) == (place.rest != NULL));
  if (code == 0)
    snprintf(answer, ANSWER, "%.*s|%.900s%s", (int)place.exists, place.rest,
             place.rest + place.exists, place.is_link ? " link" : "");
  lv_place_free(&place, &env);
  return code;
}

static int ask_open(char answer[ANSWER], struct lvhd_error *err) {
  char proc[40], path[PATH_MAX];
  ssize_t n = 0;
  int fd = 0;
  int code = 0;
  begin();
  code = lv_drives_open(&fd, &env, q.a, q.flags | O_PATH | O_CLOEXEC, err);
  CHECK((code == 0) == (fd >= 0));
  if (code != 0)
    return code;
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  n = readlink(proc, path, sizeof path - 1);
  path[n < 0 ? 0 : n] = '\0';
  close(fd);
  snprintf(answer, ANSWER, "%.900s", brief(path));
  return 0;
}

/* Says a text that was handed out, and frees it. */
static int say(char answer[ANSWER], char *text, const char *more, int code) {
  if (code == 0)
    snprintf(answer, ANSWER, "%.900s%s", brief(text), more);
  free(text);
  return code;
}

static int ask_real(char answer[ANSWER], struct lvhd_error *err) {
  char *out = NULL;
  int code = 0;
  begin();
  code = lv_drives_real(&out, &env, q.a, err);
  return say(answer, out, "", code);
}

static int ask_call(char answer[ANSWER], struct lvhd_error *err) {
  char *out = NULL;
  bool unnamable = true;
  int code = 0;
  begin();
  code = lv_drives_call(&out, &env, whole(q.a), &unnamable, err);
  return say(answer, out, unnamable ? " unnamable" : "", code);
}

static int ask_call_path(char answer[ANSWER], struct lvhd_error *err) {
  char *out = NULL;
  int code = 0;
  begin();
  code = lv_drives_call_path(&out, &env, whole(q.a), err);
  return say(answer, out, "", code);
}

static int ask_relation(char answer[ANSWER], struct lvhd_error *err) {
  static const char *const names[] = {"not both", "one", "two"};
  enum lv_relation relation = LV_NOT_BOTH;
  int code = 0;
  begin();
  code = lv_drives_relation(&relation, &env, whole(q.a), whole(q.b), err);
  if (code == 0)
    snprintf(answer, ANSWER, "%s", names[relation]);
  return code;
}

static int ask_match(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_root root;
  char *out = NULL;
  int code = 0;
  begin();
  code = lv_root_init(&root, &env, whole("~/c"), err);
  if (code != 0)
    return code;
  code = lv_root_match(&out, &env, &root, q.a, err);
  lv_root_free(&root, &env);
  return say(answer, out, "", code);
}

static int ask_way(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_way way = {0};
  int code = 0;
  begin();
  code = lv_way_find(&way, &env, whole(q.a), whole(q.b),
                     q.flags ? "Z:\\told.vhd" : NULL, err);
  if (code == 0)
    snprintf(answer, ANSWER, "%.400s %.400s%s%s", way.relative,
             way.windows ? way.windows : "none",
             way.no_relative ? " no_relative" : "",
             way.unnamable ? " unnamable" : "");
  else
    CHECK(!way.relative && !way.windows);
  lv_way_clear(&way);
  CHECK(!way.relative && !way.windows);
  return code;
}

struct row {
  const char *a, *want;
};

#define ROWS(rows) (sizeof(rows) / sizeof(rows)[0])

static void ask_rows(ask_fn *ask, const struct row *rows, size_t n) {
  for (size_t i = 0; i < n; i++) {
    q.a = rows[i].a;
    expect(ask, q.a, rows[i].want);
  }
}

/* ---- the map ------------------------------------------------------------- */

static const struct lvhd_drive *list;
static size_t list_count;

static int ask_new(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_drives *drives = NULL;
  int code = lv_drives_new(&drives, list, list_count, err);
  if (code != 0) {
    CHECK(drives == NULL);
    return code;
  }
  answer[0] = '\0';
  for (size_t i = 0; i < drives->count; i++)
    snprintf(answer + strlen(answer), 100, "%s=%s;", drives->items[i].name,
             drives->items[i].folder);
  lv_drives_free(drives);
  return 0;
}

/* The answer, and the text that the error names. */
static void try_map(const struct lvhd_drive *drives, size_t n,
                    const char *want, const char *path) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  char answer[ANSWER];
  list = drives;
  list_count = n;
  expect(ask_new, want, want);
  (void)ask_new(answer, &err);
  CHECK_STR(err.path, path);
  lvhd_error_clear(&err);
}

static void make_maps(void) {
  struct lvhd_drive good[] = {
    {"c", "/a"}, {"D:", "/a"}, {"\\\\nas\\x\\", "/b"}};
  struct lvhd_drive twice[] = {{"D", "/x"}, {"c", "/a"}, {"C:\\", "/b"}};
  struct lvhd_drive shares[] = {{"\\\\nas\\x", "/a"}, {"\\\\NAS\\X", "/b"}};
  struct lvhd_drive relative[] = {{"c", "/a"}, {"d", "b"}};
  struct lvhd_drive malformed[] = {{"c", "/a"}, {"dd", "/b"}};
  struct lvhd_drive nameless[] = {{NULL, "/a"}}, homeless[] = {{"c", NULL}};
  try_map(good, 3, "C:=/a;D:=/a;\\\\nas\\x=/b;", NULL);
  try_map(good, 0, "", NULL);
  try_map(twice, 3, "E_INVALIDARG/DRIVE_TWICE", "C:\\");
  try_map(shares, 2, "E_INVALIDARG/DRIVE_TWICE", "\\\\NAS\\X");
  try_map(relative, 2, "E_BAD_PATHNAME/BASE_RELATIVE", "b");
  try_map(malformed, 2, "E_INVALIDARG/DRIVE_MALFORMED", "dd");
  try_map(nameless, 1, "E_POINTER/PATH_NIL", NULL);
  try_map(homeless, 1, "E_POINTER/PATH_NIL", "c");
  lv_drives_free(NULL);
  q.map = NULL;
  begin();
  CHECK(!lv_is_windows(&env, "C:\\x") && lv_drives_count(&env) == 0);
  q.map = many;
  begin();
  CHECK(lv_is_windows(&env, "C:\\x") && !lv_is_windows(&env, "/c"));
  CHECK(lv_drives_count(&env) == 8);
}

/* ---- the way ------------------------------------------------------------- */

static const struct row found[] = {
  {"C:\\", "|"},
  {"C:\\Vms\\Base.vhd", "Vms/Base.vhd|"},
  {"c:\\VMS\\base.VHD", "Vms/Base.vhd|"},
  {"C:\\vms\\..\\vms\\.\\base.vhd", "Vms/Base.vhd|"},
  {"C:\\vms\\New.vhd", "Vms|/New.vhd"},
  {"C:\\new\\Deep\\x", "|new/Deep/x"},
  {"C:\\link\\base.vhd", "Vms/Base.vhd|"},
  {"C:\\LINK\\New", "Vms|/New"},
  {"C:\\abs", "Vms/Base.vhd|"},
  {"C:\\vms\\deep\\abs", "Vms/Base.vhd|"},
  {"C:\\ABSROOT\\vms", "Vms|"},
  {"C:\\absroot", "|"},
  {"L:\\viagiven\\base.vhd", "Vms/Base.vhd|"},
  {"L:\\abs", "Vms/Base.vhd|"},
  {"C:\\dots", "Vms/Base.vhd|"},
  {"C:\\slash", "Vms|"},
  {"C:\\slash\\base.vhd", "Vms/Base.vhd|"},
  {"C:\\vms\\back\\vms\\base.vhd", "Vms/Base.vhd|"},
  {"C:\\l0\\base.vhd", "Vms/Base.vhd|"},
  {"C:\\m0\\base.vhd", NO_FOLDER " ELOOP readlinkat"},
  {"C:\\Twin", "Twin|"},
  {"C:\\link\\twin", "Vms/twin|"},
  {"C:\\link\\tWin", AMBIGUOUS},
  {"C:\\twin", AMBIGUOUS},
  {"C:\\tRi\\x", AMBIGUOUS},
  {"C:\\viagiven\\base.vhd", OUT_OF_DRIVE},
  {"C:\\pre\\x", OUT_OF_DRIVE},
  {"C:\\other", OUT_OF_DRIVE},
  {"C:\\d\\far\\y\\" LONG_255 "\\x", TOO_LONG "openat"},
  {"C:\\esc\\a.vhd", OUT_OF_DRIVE},
  {"C:\\esc", OUT_OF_DRIVE},
  {"C:\\up\\a.vhd", OUT_OF_DRIVE},
  {"C:\\vms\\far", OUT_OF_DRIVE},
  {"C:\\loop", NO_FOLDER " ELOOP readlinkat"},
  {"C:\\dang", MISSING " ENOENT fstatat"},
  {"C:\\case", MISSING " ENOENT fstatat"},
  {"C:\\dang\\x", NO_FOLDERS " ENOENT fstatat"},
  {"C:\\deepdang", MISSING " ENOENT fstatat"},
  {"C:\\vms\\base.vhd\\x", NO_FOLDER},
  {"C:\\link\\base.vhd\\x", NO_FOLDER},
  {"C:\\" LONG_255, "|" LONG_255},
  {"C:\\" LONG_255 "x", TOO_LONG "openat"},
  {"\\\\NAS\\Golden\\base.vhd", "Base.vhd|"},
  {"E:\\x", NO_FOLDERS " ENOENT openat2"},
  {"F:\\x", NO_FOLDER},
  {"Q:\\x", "E_PATH_NOT_FOUND/NO_SUCH_DRIVE"},
  {"\\\\nas\\x\\x", "E_PATH_NOT_FOUND/NO_SUCH_DRIVE"},
};

/* The short way is tried first, unheard; so are links read and names looked
 * up on the way. */
static void find_places(void) {
  q.map = many;
  calls_unheard = "openat openat2 fstat";
  q.last = LV_LAST_FOLLOWED;
  ask_rows(ask_find, found, ROWS(found));
  q.lists = true;
  ask_rows(ask_find, found, ROWS(found));
  q.lists = false;
}

static void find_links(void) {
  static const struct row rows[] = {
    {"C:\\link", "link| link"},
    {"C:\\LINK", "link| link"},
    {"C:\\esc", "esc| link"},
    {"C:\\DANG", "dang| link"},
    {"C:\\link\\base.vhd", "Vms/Base.vhd|"},
    {"C:\\link\\BACK", "Vms/back| link"},
    {"C:\\Vms", "Vms|"},
    {"C:\\vms", "Vms|"},
    {"C:\\LINK\\new", "Vms|/new"},
  };
  q.last = LV_LAST_AS_IT_IS;
  ask_rows(ask_find, rows, ROWS(rows));
  q.last = LV_LAST_FOLLOWED;
}

/* n bytes behind "C:\": names of a letter or two, then "x". */
static const char *long_path(const char *first, size_t n) {
  static char path[PATH_MAX + 20];
  size_t at = (size_t)snprintf(path, sizeof path, "C:\\%s\\", first);
  while (at < n + 2) {
    path[at] = at % 200 == 0 ? '\\' : 'x';
    at++;
  }
  path[at++] = 'y';
  path[at] = '\0';
  return path;
}

static void find_long(void) {
  static const struct {
    const char *first;
    size_t n;
    const char *want;
  } rows[] = {
    {"New", PATH_MAX - 1, "|New/x"},
    {"New", PATH_MAX, TOO_LONG "openat"},
    {"New", PATH_MAX + 1, TOO_LONG "openat"},
    {"\u023A", PATH_MAX - 2, "\u2C65|/x"}, /* a byte longer as it is */
    {"\u023A", PATH_MAX - 1, TOO_LONG "openat"},
    {"Sym", PATH_MAX - 2, "Vms|/x"},
    {"Sym", PATH_MAX - 1, TOO_LONG "readlinkat"},
    {"abs", PATH_MAX - 2, TOO_LONG "readlinkat"},
    {"toLong", PATH_MAX - 2, TOO_LONG "readlinkat"},
  };
  for (size_t i = 0; i < ROWS(rows); i++) {
    const char *got = NULL;
    q.a = long_path(rows[i].first, rows[i].n);
    calls_whole();
    got = answer_of(ask_find, "a long path");
    if (!CHECK(strncmp(got, rows[i].want, strlen(rows[i].want)) == 0))
      fprintf(stderr, "  %s and %zu: %.100s\n", rows[i].first, rows[i].n,
              got);
  }
}

/* What stands in the way is told, both of it, and no third. */
static void tell_twins(void) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  char answer[ANSWER];
  const char *first = NULL, *second = NULL;
  calls_whole();
  q.a = "C:\\vms\\tWins\\x";
  CHECK_INT(ask_find(answer, &err), LVHD_E_INVALID_NAME);
  first = err.others;
  if (CHECK(first != NULL)) {
    second = first + strlen(first) + 1;
    CHECK(strcasecmp(brief(first), "~/c/Vms/Twins") == 0);
    CHECK(strcasecmp(brief(second), "~/c/Vms/Twins") == 0);
    CHECK(strcmp(first, second) != 0);
    CHECK(second[strlen(second) + 1] == '\0');
  }
  q.a = "C:\\tRi\\x";
  CHECK_INT(ask_find(answer, &err), LVHD_E_INVALID_NAME);
  first = err.others;
  if (CHECK(first != NULL)) {
    second = first + strlen(first) + 1;
    CHECK(second[0] != '\0' && second[strlen(second) + 1] == '\0');
  }
  lvhd_error_clear(&err);
}

static void take_twins(void) {
  struct lv_twins twins = {0};
  lv_twins_take(&twins, "Abcdefghij", "abcdefghijk");
  lv_twins_take(&twins, "Abcdefghij", "abcdefghi");
  CHECK(twins.count == 0 && !twins.exact);
  lv_twins_take(&twins, "Abcdefghij", "ABCDEFGHIJ");
  lv_twins_take(&twins, "Abcdefghij", "abcdefghij");
  lv_twins_take(&twins, "Abcdefghij", "aBcDeFgHiJ");
  CHECK(twins.count == 3 && !twins.exact);
  CHECK_STR(twins.names[0], "ABCDEFGHIJ");
  CHECK_STR(twins.names[1], "abcdefghij");
  lv_twins_take(&twins, "Abcdefghij", "Abcdefghij");
  CHECK(twins.count == 4 && twins.exact);
  CHECK_STR(twins.names[1], "abcdefghij");
  twins = (struct lv_twins){0};
  lv_twins_take(&twins, "\u2C65", "\u023A"); /* not of one length */
  CHECK(twins.count == 1 && !twins.exact);
}

/* ---- meanwhile ----------------------------------------------------------- */

static void link_goes(void) {
  drop("~/c/link");
  put_folder("~/c/link");
}

static void link_drops(void) { drop("~/c/link"); }

static void link_comes(void) {
  if (access(whole("~/c/link"), F_OK) == 0)
    drop("~/c/link");
  put_link("Vms", "~/c/link");
}

static void twin_comes(void) { put_file("~/c/vms.new"); }
static void twin_goes(void) { drop("~/c/Vms.New"); }
static void vms_away(void) { move("~/c/Vms", "~/c/moved"); }
static void vms_back(void) { move("~/c/moved", "~/c/Vms"); }

static void vms_led_in(void) {
  vms_away();
  put_link("moved", "~/c/Vms");
}

static void vms_led_out(void) {
  vms_away();
  put_link("~/out", "~/c/Vms");
}

static void vms_a_file(void) {
  vms_away();
  put_file("~/c/Vms");
}

static void vms_again(void) {
  if (access(whole("~/c/moved"), F_OK) != 0)
    return;
  if (access(whole("~/c/Vms"), F_OK) == 0)
    drop("~/c/Vms");
  vms_back();
}

static void meanwhile(const char *call, unsigned k, void (*act)(void),
                      ask_fn *ask, const char *path, const char *want) {
  q.a = path;
  calls_break(call, 0, k, 1)->meddle = act;
  expect_once(ask, path, want);
}

/* A link is read that is none any more; a folder is entered that is a link,
 * or nothing. */
static void change_ways(void) {
  meanwhile("readlinkat", 1, link_goes, ask_find, "C:\\LINK\\x", "link|/x");
  link_comes();
  meanwhile("readlinkat", 1, link_drops, ask_find, "C:\\LINK\\x",
            "|LINK/x");
  link_comes();
  q.a = "C:\\LINK\\x";
  calls_break("readlinkat", EINVAL, 1, ALWAYS);
  expect_once(ask_find, "for good", NO_FOLDERS " ENOENT readlinkat");
  CHECK(calls.rules[0].calls == 0);
  calls_break("readlinkat", EACCES, 1, 1);
  expect_once(ask_find, "refused", "E_ACCESSDENIED EACCES readlinkat");
  meanwhile("openat2", 3, vms_led_in, ask_find, "C:\\vms\\base.vhd",
            "moved/Base.vhd|");
  vms_again();
  meanwhile("openat2", 3, vms_led_out, ask_find, "C:\\vms\\base.vhd",
            OUT_OF_DRIVE);
  vms_again();
  meanwhile("openat2", 3, vms_away, ask_find, "C:\\vms\\base.vhd",
            "|vms/base.vhd");
  vms_again();
  meanwhile("openat2", 3, vms_a_file, ask_find, "C:\\vms\\base.vhd",
            NO_FOLDER);
  vms_again();
}

/* What never comes to rest is told in the end. */
static void give_up(void) {
  static const struct {
    int errnum;
    const char *want;
  } rows[] = {{ENOENT, NO_FOLDERS " ENOENT openat2"},
              {ENOTDIR, NO_FOLDER " ENOTDIR openat2"},
              {ELOOP, OUT_OF_DRIVE},
              {EXDEV, OUT_OF_DRIVE},
              {EACCES, "E_ACCESSDENIED EACCES openat2"}};
  q.a = "C:\\vms\\base.vhd";
  for (size_t i = 0; i < ROWS(rows); i++) {
    calls_break("openat2", rows[i].errnum, 2, ALWAYS);
    CHECK_STR(answer_of(ask_find, "for good"), rows[i].want);
  }
}

/* A twin that comes while the names are read, and one that goes. */
static void change_twins(void) {
  meanwhile("getdents", 1, twin_comes, ask_find, "C:\\vms.new",
            "vms.new|");
  drop("~/c/vms.new");
  put_file("~/c/Vms.New");
  meanwhile("getdents", 1, twin_comes, ask_find, "C:\\vms.new",
            "vms.new|");
  meanwhile("getdents", 1, NULL, ask_find, "C:\\VMS.NEW", AMBIGUOUS);
  drop("~/c/vms.new");
  meanwhile("getdents", 2, twin_goes, ask_find, "C:\\VMS.new",
            "|Vms.New");
}

static int ask_exact(char answer[ANSWER], struct lvhd_error *err) {
  struct lv_twins twins = {.count = 7, .exact = true};
  int dir = open(whole("~/c"), O_PATH | O_DIRECTORY | O_CLOEXEC);
  int code = 0;
  begin();
  code = lv_twins_find(&twins, &env, dir, q.a, err);
  close(dir);
  if (code == 0)
    snprintf(answer, ANSWER, "%zu%s", twins.count,
             twins.exact ? " exact" : "");
  return code;
}

static void count_twins(void) {
  static const struct row rows[] = {
    {"none", "0"}, {"VMS", "1"}, {"Vms", "1 exact"}, {"tri", "3 exact"},
    {"tRi", "3"}};
  ask_rows(ask_exact, rows, ROWS(rows));
  q.a = "VMS"; /* a folder that cannot be listed has none */
  calls_break("openat", EACCES, 1, 1);
  expect_once(ask_exact, q.a, "0");
}

/* Names that are there as given need no list; a list that is kept is read
 * once. */
static void list_once(void) {
  struct lv_twins twins = {0};
  int dir = open(whole("~/c"), O_PATH | O_DIRECTORY | O_CLOEXEC);
  unsigned seen = 0;
  q.a = "C:\\link\\Base.vhd";
  calls_break("getdents", EIO, 1, ALWAYS);
  CHECK_STR(answer_of(ask_find, q.a), "Vms/Base.vhd|");
  calls_break("getdents", 0, UINT_MAX, 1);
  begin();
  env.names = lv_names_new();
  CHECK_INT(lv_twins_find(&twins, &env, dir, "VMS", NULL), 0);
  seen = calls.rules[0].calls;
  CHECK(twins.count == 1 && seen > 0);
  CHECK_INT(lv_twins_find(&twins, &env, dir, "tWin", NULL), 0);
  CHECK(twins.count == 2 && calls.rules[0].calls == seen);
  lv_names_free(env.names);
  calls_whole();
  close(dir);
}

/* ---- opening ------------------------------------------------------------- */

static void open_places(void) {
  static const struct row rows[] = {
    {"C:\\", "~/c"},
    {"C:\\vms", "~/c/Vms"},
    {"C:\\vms\\", "~/c/Vms"},
    {"C:\\vms\\.", "~/c/Vms"},
    {"C:\\link\\base.vhd", "~/c/Vms/Base.vhd"},
    {"C:\\vms\\base.vhd\\", NO_FOLDER " ENOTDIR openat2"},
    {"C:\\vms\\new", MISSING},
    {"C:\\new", MISSING},
    {"C:\\new\\x", NO_FOLDERS},
    {"C:\\dang", MISSING " ENOENT fstatat"},
    {"C:\\esc\\a.vhd", OUT_OF_DRIVE},
    {"C:\\vms*", "E_INVALID_NAME/CHARACTER_FORBIDDEN"},
    {"C:\\con", "E_INVALID_NAME/NAME_RESERVED"},
    {"E:\\x", NO_FOLDERS " ENOENT openat2"},
  };
  q.flags = 0;
  ask_rows(ask_open, rows, ROWS(rows));
  q.flags = O_DIRECTORY;
  q.a = "C:\\vms\\base.vhd";
  expect(ask_open, q.a, NO_FOLDER " ENOTDIR openat2");
  q.flags = 0;
}

/* Asked for with openat2: the mapped folder, the short way, the file. */
static void open_again(void) {
  static const struct {
    int errnum;
    const char *once, *always;
  } rows[] = {
    {ENOENT, "~/c/Vms/Base.vhd", MISSING " ENOENT openat2"},
    {ELOOP, "~/c/Vms/Base.vhd", OUT_OF_DRIVE},
    {EXDEV, "~/c/Vms/Base.vhd", OUT_OF_DRIVE},
    {EACCES, "E_ACCESSDENIED EACCES openat2",
     "E_ACCESSDENIED EACCES openat2"},
    {ENXIO, NULL, NULL},
  };
  q.a = "C:\\Vms\\Base.vhd";
  for (size_t i = 0; rows[i].once; i++) {
    calls_break("openat2", rows[i].errnum, 3, 1);
    expect_once(ask_open, rows[i].once, rows[i].once);
    calls_break("openat2", rows[i].errnum, 3, ALWAYS)->every = 3;
    expect_once(ask_open, rows[i].always, rows[i].always);
  }
  meanwhile("openat2", 3, vms_led_in, ask_open, "C:\\Vms\\Base.vhd",
            "~/c/moved/Base.vhd");
  vms_again();
  meanwhile("openat2", 3, vms_led_out, ask_open, "C:\\Vms\\Base.vhd",
            OUT_OF_DRIVE);
  vms_again();
  meanwhile("openat2", 3, vms_away, ask_open, "C:\\Vms\\Base.vhd",
            NO_FOLDERS);
  vms_again();
}

static void real_places(void) {
  static const struct row rows[] = {
    {"C:\\", "~/c"},
    {"C:\\VMS", "~/c/Vms"},
    {"C:\\link\\New\\x", "~/c/Vms/New/x"},
    {"C:\\vms*", "E_INVALID_NAME/CHARACTER_FORBIDDEN"},
    {"C:\\esc\\x", OUT_OF_DRIVE},
  };
  ask_rows(ask_real, rows, ROWS(rows));
}

static void match_names(void) {
  static const struct row rows[] = {
    {"", ""},
    {"Vms/Base.vhd", "Vms/Base.vhd"},
    {"VMS/base.vhd", "Vms/Base.vhd"},
    {"vms/./base.vhd", "Vms/Base.vhd"},
    {"vms/../vms", "Vms"},
    {"new", MISSING},
    {"vms/new", MISSING},
    {"twin", AMBIGUOUS},
    {"link", "E_ACCESSDENIED/PARENT_OUTSIDE"},
    {"link/base.vhd", "E_ACCESSDENIED/PARENT_OUTSIDE"},
    {"..", "E_ACCESSDENIED/PARENT_OUTSIDE"},
    {"../c/Vms", "E_ACCESSDENIED/PARENT_OUTSIDE"},
    {"vms/base.vhd/x", NO_FOLDER},
  };
  ask_rows(ask_match, rows, ROWS(rows));
  calls_unheard = "";
}

/* ---- back ---------------------------------------------------------------- */

static void call_places(void) {
  static const struct row rows[] = {
    {"~/c", "C:\\"},
    {"~/c/x y.vhd", "C:\\x y.vhd"},
    {"~/c/Vms", "V:\\"},
    {"~/c/Vms/Base.vhd", "V:\\Base.vhd"},
    {"~/c/Vms/deep/x", "V:\\deep\\x"},
    {"~/c/Vmsx", "C:\\Vmsx"},
    {"~/cx/x", "none"},
    {"~", "none"},
    {"~/c/a:b", "none unnamable"},
    {"~/c/Vms/con/x", "none unnamable"},
  };
  q.map = few;
  ask_rows(ask_call, rows, ROWS(rows));
  q.map = NULL;
  q.a = "~/c";
  expect(ask_call, q.a, "none");
  q.map = few;
  calls_break("openat2", EACCES, 1, 1); /* a folder that is not for us */
  expect_once(ask_call, q.a, "C:\\");
}

static void call_paths(void) {
  static const struct row rows[] = {
    {"~/c/link/new.vhd", "V:\\new.vhd"},
    {"~/c/link/Base.vhd", "V:\\Base.vhd"},
    {"~/c/new.vhd", "C:\\new.vhd"},
    {"~/c/Vms/Base.vhd", "V:\\Base.vhd"},
    {"~/c/new/x", "C:\\new\\x"},
    {"~/lc/new/x", "C:\\new\\x"},
    {"~/out/new", "none"},
    {"~/out/a.vhd", "none"},
    {"~/c/Vms/Base.vhd/x", NO_FOLDER " ENOTDIR openat2"},
  };
  q.map = few;
  calls_unheard = "fstatat"; /* a link that leads nowhere, or none */
  ask_rows(ask_call_path, rows, ROWS(rows));
  calls_unheard = "";
}

static void relate(void) {
  static const struct {
    const char *a, *b, *want;
  } rows[] = {
    {"~/c", "~/c/x", "one"},        {"~/c/Vms", "~/c/Vms/x", "one"},
    {"~/c/Vms", "~/c/x", "one"},    {"~/c/x", "~/c/Vms/y", "one"},
    {"~/c/x", "~/cx/y", "not both"}, {"~/cx", "~/c/y", "not both"},
    {"~/cx", "~/cx/y", "not both"}, {"~/c", "~/o/x", "two"},
    {"~/o", "~/c/Vms/x", "two"},    {"~/o", "~/o/x", "one"},
  };
  q.map = few;
  for (size_t i = 0; i < ROWS(rows); i++) {
    q.a = rows[i].a;
    q.b = rows[i].b;
    expect(ask_relation, q.b, rows[i].want);
  }
  q.a = "~/o";
  q.b = "~/c/x";
  calls_break("openat2", EACCES, 5, 1); /* V: is not for us */
  expect_once(ask_relation, q.b, "two");
}

/* ---- ways to parents ----------------------------------------------------- */

static void find_ways(void) {
  static const struct {
    const char *a, *b, *want;
  } rows[] = {
    {"~/c/Vms", "~/c/Vms/Base.vhd", "Base.vhd V:\\Base.vhd"},
    {"~/c/Vms", "~/c/Vms/..x/b.vhd", "..x/b.vhd V:\\..x\\b.vhd"},
    {"~/c/Vms", "~/c/x.vhd", "../x.vhd C:\\x.vhd no_relative"},
    {"~/c/Vms/deep", "~/c/Vms/Base.vhd", "../Base.vhd V:\\Base.vhd"},
    {"~/c/Vms/deep", "~/c/x.vhd", "../../x.vhd C:\\x.vhd no_relative"},
    {"~/c/d/e", "~/c/x.vhd", "../../x.vhd C:\\x.vhd"},
    {"~/c/a:b", "~/c/x.vhd", "../x.vhd C:\\x.vhd"},
    {"~/o", "~/c/x.vhd", "../c/x.vhd C:\\x.vhd no_relative"},
    {"~/cx", "~/c/x.vhd", "../c/x.vhd C:\\x.vhd"},
    {"~/cx", "~/cx/x.vhd", "x.vhd none"},
    {"~/c/Vms", "~/cx/x.vhd", "../../cx/x.vhd none"},
    {"~/c", "~/c/a:b.vhd", "a:b.vhd none unnamable"},
  };
  q.map = few;
  for (size_t i = 0; i < ROWS(rows); i++) {
    q.a = rows[i].a;
    q.b = rows[i].b;
    expect(ask_way, q.b, rows[i].want);
  }
  q.flags = 1; /* the caller's word wins */
  expect(ask_way, q.b, "a:b.vhd Z:\\told.vhd");
  q.b = "~/c/x.vhd";
  q.a = "~/o";
  expect(ask_way, q.b, "../c/x.vhd Z:\\told.vhd no_relative");
  q.map = NULL;
  expect(ask_way, q.b, "../c/x.vhd Z:\\told.vhd");
  q.flags = 0;
  expect(ask_way, q.b, "../c/x.vhd none");
}

static int ask_words(char answer[ANSWER], struct lvhd_error *err) {
  char *windows = q.a ? strdup(q.a) : NULL;
  int code = 0;
  if (q.a && !windows)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  code = lv_way_words(&windows, err);
  if (code == 0) {
    snprintf(answer, ANSWER, "%s", windows ? windows : "none");
  } else if (err) {
    CHECK_STR(windows, q.a);
    CHECK((err->has & LVHD_AT_PARENT) != 0);
    if (code != LVHD_E_OUTOFMEMORY && atomic_load(&poor.hits) == 0)
      CHECK_STR(err->parent, q.a);
  }
  free(windows);
  return code;
}

static void way_words(void) {
  static const struct row rows[] = {
    {NULL, "none"},
    {"d:\\vms\\..\\x.vhd", "D:\\x.vhd"},
    {"\\\\nas\\golden\\x.vhd", "\\\\nas\\golden\\x.vhd"},
    {"", "E_BAD_PATHNAME/PATH_EMPTY"},
    {"x\\y.vhd", "E_BAD_PATHNAME/PATH_RELATIVE"},
    {"C:", "E_INVALID_NAME/WINDOWS_FORM"},
    {"C:\\a*", "E_INVALID_NAME/CHARACTER_FORBIDDEN"},
    {"C:\\", "E_INVALID_NAME/NAME_IS_FOLDER"},
    {"C:\\x\\", "E_INVALID_NAME/NAME_IS_FOLDER"},
    {"C:\\x\\..", "E_INVALID_NAME/NAME_IS_FOLDER"},
    {"\\\\nas\\golden", "E_INVALID_NAME/NAME_IS_FOLDER"},
  };
  ask_rows(ask_words, rows, ROWS(rows));
}

/* ---- all of it ----------------------------------------------------------- */

/* l0 leads on to Vms by as many links as may be followed, m0 by one more. */
static void put_chain(char letter, int n) {
  for (int i = 0; i < n; i++) {
    char name[20], next[20];
    snprintf(name, sizeof name, "~/c/%c%d", letter, i);
    snprintf(next, sizeof next, "%c%d", letter, i + 1);
    put_link(i + 1 == n ? "Vms" : next, name);
  }
}

/* Links that lead as deep as a path can tell: far to the first folders, and
 * y from there to the others. */
static void put_deep(void) {
  char name[] = LONG_255, text[PATH_MAX];
  int dir = open(whole("~/c/d"), O_RDONLY | O_DIRECTORY);
  int eighth = -1;
  name[0] = 'D';
  for (int i = 0; i < 15; i++) {
    int next = -1;
    size_t n = i == 0 || i == 8 ? 0 : strlen(text);
    snprintf(text + n, sizeof text - n, "%s%s", n > 0 ? "/" : "", name);
    CHECK_INT(mkdirat(dir, name, 0777), 0);
    if (i == 7)
      put_link(text, "~/c/d/far");
    next = openat(dir, name, O_RDONLY | O_DIRECTORY);
    close(dir);
    dir = next;
    if (i == 7)
      eighth = dup(dir);
  }
  CHECK_INT(symlinkat(text, eighth, "y"), 0);
  close(eighth);
  close(dir);
}

static void furnish(void) {
  static const char *const folders[] = {
    "~/c", "~/c/Vms", "~/c/Vms/deep", "~/c/\u2C65", "~/c/tri", "~/c/Tri",
    "~/c/TRI", "~/out", "~/o", "~/cx", "~/c/d", "~/c/d/e", "~/c/a:b",
    "~/c/Vms/twins", "~/c/Vms/TWINS"};
  static const char *const files[] = {
    "~/c/Vms/Base.vhd", "~/c/Twin", "~/c/TWIN", "~/c/Vms/twin",
    "~/c/Vms/TWIN", "~/out/a.vhd", "~/file"};
  static const struct {
    const char *text, *name;
  } links[] = {
    {"c", "~/lc"}, {"Vms", "~/c/link"}, {"~/c/Vms/Base.vhd", "~/c/abs"},
    {"~/c/Vms/Base.vhd", "~/c/Vms/deep/abs"},
    {"~/out", "~/c/esc"}, {"../out", "~/c/up"}, {"none", "~/c/dang"},
    {"none/x", "~/c/deepdang"}, {"loop", "~/c/loop"},
    {"./Vms/../Vms/./Base.vhd", "~/c/dots"}, {"~/c", "~/c/absroot"},
    {"~/lc/Vms", "~/c/viagiven"}, {"Vms/", "~/c/slash"},
    {"~/cx", "~/c/pre"},
    {"~/o/Vms/Base.vhd", "~/c/other"}, {"VMS", "~/c/case"},
    {"..", "~/c/Vms/back"},
    {"../../out", "~/c/Vms/far"}, {"Vms", "~/c/Sym"},
    {LONG_50 "/../Vms", "~/c/toLong"}};
  for (size_t i = 0; i < ROWS(folders); i++)
    put_folder(folders[i]);
  for (size_t i = 0; i < ROWS(files); i++)
    put_file(files[i]);
  for (size_t i = 0; i < ROWS(links); i++)
    put_link(links[i].text, links[i].name);
  put_chain('l', 40);
  put_chain('m', 41);
  put_deep();
}

static void map_drives(void) {
  struct lvhd_drive drives[] = {
    {"C", whole("~/c")}, {"L", whole("~/lc")}, {"E", whole("~/none")},
    {"F", whole("~/file")}, {"\\\\nas\\golden", whole("~/c/Vms")},
    {"O", whole("~/out")}, {"X", whole("~/cx")}, {"P", "/"}};
  struct lvhd_drive less[] = {
    {"E", whole("~/none")}, {"C", whole("~/c")}, {"V", whole("~/c/Vms")},
    {"W", whole("~/c")}, {"F", whole("~/file")}, {"O", whole("~/o")}};
  CHECK_INT(lv_drives_new(&many, drives, ROWS(drives), NULL), 0);
  CHECK_INT(lv_drives_new(&few, less, ROWS(less), NULL), 0);
}

int main(void) {
  base_make("ask");
  furnish();
  map_drives();
  make_maps();
  find_places();
  find_links();
  find_long();
  tell_twins();
  take_twins();
  change_ways();
  give_up();
  change_twins();
  count_twins();
  list_once();
  open_places();
  open_again();
  real_places();
  match_names();
  call_places();
  call_paths();
  relate();
  find_ways();
  way_words();
  lv_drives_free(many);
  lv_drives_free(few);
  scene_end();
  return check_done();
}
