/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/io/drives on its rare ways, and of what of src/io takes
 * Windows paths: links of every kind, names that differ in case, calls that
 * fail, and somebody who changes what was found a moment ago.
 */
#include <fcntl.h>

#include "io/drives.h"
#include "io/folder.h"
#include "io/root.h"
#include "io/walk.h"
#include "poor.h"
#include "told.h"
#include "trouble.h"

static struct trouble t;
static struct lv_env env;
static struct lv_drives *drives;
static struct lvhd_error err = LVHD_ERROR_INIT;

/* C: is the folder c, D: is not there, E: is a file, S: lies in C:. */
static void anew(void) {
  trouble_begin(&t);
  lv_env_init(&env, &t.sys);
  env.drives = drives;
}

static void furnish(void) {
  char c[PATH_MAX], d[PATH_MAX], e[PATH_MAX], s[PATH_MAX];
  const struct lvhd_drive list[] = {
    {"C", c}, {"D", d}, {"E", e}, {"\\\\nas\\s", s}};
  snprintf(c, sizeof c, "%s", in("c"));
  snprintf(d, sizeof d, "%s", in("d"));
  snprintf(e, sizeof e, "%s", in("e"));
  snprintf(s, sizeof s, "%s", in("c/Vms"));
  CHECK_INT(mkdir(in("c"), 0700), 0);
  CHECK_INT(mkdir(in("c/Vms"), 0700), 0);
  CHECK_INT(mkdir(in("other"), 0700), 0);
  put_text("e", "");
  put_text("c/Vms/A.vhd", "a");
  put_text("other/A.vhd", "other");
  CHECK_INT(lv_drives_new(&drives, list, COUNT(list), &err), 0);
}

static void empty(void) {
  lv_drives_free(drives);
  CHECK_INT(unlink(in("c/Vms/A.vhd")), 0);
  CHECK_INT(unlink(in("other/A.vhd")), 0);
  CHECK_INT(unlink(in("e")), 0);
  CHECK_INT(rmdir(in("c/Vms")), 0);
  CHECK_INT(rmdir(in("c")), 0);
  CHECK_INT(rmdir(in("other")), 0);
}

/* ---- the map ------------------------------------------------------------ */

static int map(const char *name, const char *folder) {
  const struct lvhd_drive list[] = {{"C", "/"}, {name, folder}};
  struct lv_drives *out = NULL;
  int code = lv_drives_new(&out, list, COUNT(list), &err);
  if (code == 0)
    lv_drives_free(out);
  return code;
}

static int ask_map(void) {
  const struct lvhd_drive list[] = {{"C", "/"}, {"\\\\nas\\s", "/tmp"}};
  struct lv_drives *out = NULL;
  int code = lv_drives_new(&out, list, COUNT(list), NULL);
  if (code == 0)
    lv_drives_free(out);
  return code;
}

static void test_map(void) {
  CHECK_INT(map("\\\\c\\c", "/"), 0);
  CHECK_INT(map("D", "/"), 0);
  CHECK_INT(map("c:", "/tmp"), LVHD_E_INVALIDARG);
  CHECK_STR(err.path, "c:");
  REASON(&err, err.code, E_INVALIDARG, DRIVE_TWICE);
  CHECK_INT(map("D", "tmp"), LVHD_E_BAD_PATHNAME);
  CHECK_STR(err.path, "tmp");
  REASON(&err, err.code, E_BAD_PATHNAME, BASE_RELATIVE);
  REASON(&err, map("DD", "/"), E_INVALIDARG, DRIVE_MALFORMED);
  poorly("the map", ask_map);
  anew();
  env.drives = NULL;
  CHECK_INT(lv_drives_count(&env), 0);
  CHECK(!lv_is_windows(&env, "C:\\x"));
  anew();
  CHECK_INT(lv_drives_count(&env), 4);
  CHECK(lv_is_windows(&env, "C:\\x"));
  CHECK(!lv_is_windows(&env, "/x"));
}

static int open_root(size_t i, struct lvhd_error *to) {
  struct lv_root root;
  int code = lv_drives_root(&root, &env, i, to);
  if (code == 0)
    lv_root_free(&root, &env);
  return code;
}

static void test_mapped(void) {
  anew();
  CHECK_INT(open_root(0, &err), 0);
  REASON(&err, open_root(1, &err), E_PATH_NOT_FOUND, FOLDER_MISSING);
  CHECK_INT(open_root(1, NULL), LVHD_E_PATH_NOT_FOUND);
  REASON(&err, open_root(2, &err), E_PATH_NOT_FOUND, NOT_A_FOLDER);
  trouble_fail(&t, "openat2", EMFILE, 1, 1);
  TOLD(&err, open_root(0, &err), VM_E_OUT_OF_RESOURCE, EMFILE, "openat2");
}

/* ---- where a path leads ------------------------------------------------- */

static struct lv_place place = LV_PLACE_INIT;

/* "real names|bytes of them that exist"; nothing is open afterwards. */
static char led[2 * PATH_MAX];

static int find(const char *path, enum lv_last last) {
  unsigned open = descriptors();
  int code = lv_drives_find(&place, &env, path, last, &err);
  led[0] = '\0';
  if (code == 0)
    snprintf(led, sizeof led, "%s|%zu%s", place.rest, place.exists,
             place.is_link ? " link" : "");
  else
    CHECK(place.rest == NULL);
  lv_place_free(&place, &env);
  CHECK_INT(descriptors(), open);
  return code;
}

static const char *lead(const char *path) {
  if (!CHECK(find(path, LV_LAST_FOLLOWED) == 0))
    fprintf(stderr, "  %s: %s\n", path, lvhd_code_name(err.code));
  return led;
}

static void test_names(void) {
  anew();
  CHECK_STR(lead("C:\\"), "|0");
  CHECK_STR(lead("c:\\Vms\\A.vhd"), "Vms/A.vhd|9");
  CHECK_STR(lead("C:\\vms\\a.VHD"), "Vms/A.vhd|9");
  CHECK_STR(lead("C:\\vms\\"), "Vms|3");
  CHECK_STR(lead("C:\\vms\\none\\x"), "Vms/none/x|3");
  CHECK_STR(lead("C:\\none"), "none|0");
  CHECK_STR(lead("\\\\NAS\\S\\a.vhd"), "A.vhd|5");
  REASON(&err, find("F:\\x", LV_LAST_FOLLOWED), E_PATH_NOT_FOUND,
         NO_SUCH_DRIVE);
  REASON(&err, find("D:\\x", LV_LAST_FOLLOWED), E_PATH_NOT_FOUND,
         FOLDER_MISSING);
  REASON(&err, find("C:\\vms\\a.vhd\\x", LV_LAST_FOLLOWED), E_PATH_NOT_FOUND,
         NOT_A_FOLDER);
}

static void linked(const char *name, const char *text) {
  (void)unlink(in(name));
  CHECK_INT(symlink(text, in(name)), 0);
}

static void test_links(void) {
  anew();
  linked("c/l", "Vms");
  CHECK_STR(lead("C:\\l\\a.vhd"), "Vms/A.vhd|9");
  CHECK_STR(lead("C:\\L"), "Vms|3");
  CHECK_STR(lead("C:\\l\\none"), "Vms/none|3");
  CHECK_INT(find("C:\\l", LV_LAST_AS_IT_IS), 0);
  CHECK_STR(led, "l|1 link");
  CHECK_INT(find("C:\\L", LV_LAST_AS_IT_IS), 0);
  CHECK_STR(led, "l|1 link");
  CHECK_INT(find("C:\\l\\a.vhd", LV_LAST_AS_IT_IS), 0);
  CHECK_STR(led, "Vms/A.vhd|9");
  linked("c/l", "./Vms//../Vms/.");
  CHECK_STR(lead("C:\\l\\a.vhd"), "Vms/A.vhd|9");
  linked("c/Vms/l", "..");
  CHECK_STR(lead("C:\\vms\\l"), "|0");
  linked("c/Vms/l", "../Vms/A.vhd");
  CHECK_STR(lead("C:\\vms\\l"), "Vms/A.vhd|9");
  linked("c/l", in("c/Vms"));
  CHECK_STR(lead("C:\\l\\a.vhd"), "Vms/A.vhd|9");
  linked("c/l", in("c"));
  CHECK_STR(lead("C:\\l\\vms"), "Vms|3");
  linked("c/l", in("c//Vms/../Vms"));
  CHECK_STR(lead("C:\\l"), "Vms|3");
  CHECK_INT(unlink(in("c/Vms/l")), 0);
  CHECK_INT(unlink(in("c/l")), 0);
}

/* The names of a link are none of the caller's: they are not matched but for
 * case, and nothing is missing behind them. */
static void test_bad_links(void) {
  static const char *const out[] = {"../other", "/", "/etc", "Vms/../../c",
                                    ".."};
  char text[PATH_MAX];
  anew();
  for (size_t i = 0; i < COUNT(out); i++) {
    linked("c/l", out[i]);
    REASON(&err, find("C:\\l\\a.vhd", LV_LAST_FOLLOWED), E_ACCESSDENIED,
           OUTSIDE_DRIVE);
  }
  snprintf(text, sizeof text, "%s", in("cc")); /* begins like the drive */
  linked("c/l", text);
  REASON(&err, find("C:\\l", LV_LAST_FOLLOWED), E_ACCESSDENIED,
         OUTSIDE_DRIVE);
  snprintf(text, sizeof text, "%s", in("d")); /* ends unlike it */
  linked("c/l", text);
  REASON(&err, find("C:\\l", LV_LAST_FOLLOWED), E_ACCESSDENIED,
         OUTSIDE_DRIVE);
  linked("c/l", "vms");
  TOLD(&err, find("C:\\l", LV_LAST_FOLLOWED), E_PATH_NOT_FOUND, ENOENT,
       "fstatat");
  REASON(&err, find("C:\\l", LV_LAST_FOLLOWED), E_PATH_NOT_FOUND,
         FILE_MISSING);
  REASON(&err, find("C:\\l\\x", LV_LAST_FOLLOWED), E_PATH_NOT_FOUND,
         FOLDER_MISSING);
  CHECK_INT(lv_drives_find(&place, &env, "C:\\l", LV_LAST_FOLLOWED, NULL),
            LVHD_E_PATH_NOT_FOUND);
  linked("c/l", "l");
  TOLD(&err, find("C:\\l", LV_LAST_FOLLOWED), E_PATH_NOT_FOUND, ELOOP,
       "readlinkat");
  linked("c/l", "m");
  linked("c/m", "l");
  TOLD(&err, find("C:\\l\\x", LV_LAST_FOLLOWED), E_PATH_NOT_FOUND, ELOOP,
       "readlinkat");
  CHECK_INT(unlink(in("c/m")), 0);
  CHECK_INT(unlink(in("c/l")), 0);
}

/* ---- long ways ---------------------------------------------------------- */

#define DEEP 12
#define NAME 250

/* c/xxx.../xxx.../..., so many folders deep. */
static void deep(char path[PATH_MAX], size_t folders) {
  size_t n = (size_t)snprintf(path, PATH_MAX, "%s/c", base);
  for (size_t i = 0; i < folders; i++) {
    path[n] = '/';
    memset(path + n + 1, 'x', NAME);
    path[n += 1 + NAME] = '\0';
  }
}

/* C:\xxx...\xxx...\ and so on. */
static size_t deep_windows(char *path, size_t folders) {
  size_t n = (size_t)sprintf(path, "C:");
  for (size_t i = 0; i < folders; i++) {
    path[n] = '\\';
    memset(path + n + 1, 'x', NAME);
    path[n += 1 + NAME] = '\0';
  }
  return n;
}

/* A link may make of a path that is short enough one that is too long. */
static void test_long(void) {
  char path[PATH_MAX], link[PATH_MAX + 2], target[PATH_MAX];
  char asked[3 * PATH_MAX];
  size_t n = 0;
  anew();
  for (size_t i = 1; i <= DEEP; i++) {
    deep(path, i);
    CHECK_INT(mkdir(path, 0700), 0);
  }
  /* The text of the link and what follows: 12 folders, and 6 behind them. */
  deep(path, DEEP);
  n = (size_t)snprintf(target, sizeof target, "%s",
                       path + strlen(base) + 3);
  CHECK_INT(n, DEEP * (1 + NAME) - 1);
  linked("c/l", target);
  deep_windows(asked + 2, 6);
  memcpy(asked, "C:\\l", 4);
  TOLD(&err, find(asked, LV_LAST_FOLLOWED), E_BUFFER_OVERFLOW, ENAMETOOLONG,
       "readlinkat");
  CHECK_INT(unlink(in("c/l")), 0);
  /* What is walked is short enough, and what it comes to is not: 10 folders,
   * a link to 2 more, and 5 that are missing. */
  deep(path, 10);
  snprintf(link, sizeof link, "%s/l", path);
  memset(target, 'x', sizeof target);
  target[NAME] = '/';
  target[2 * NAME + 1] = '\0';
  CHECK_INT(symlink(target, link), 0);
  n = deep_windows(asked, 10);
  n += (size_t)sprintf(asked + n, "\\l");
  for (size_t i = 0; i < 5; i++) {
    asked[n] = '\\';
    memset(asked + n + 1, 'n', NAME);
    asked[n += 1 + NAME] = '\0';
  }
  TOLD(&err, find(asked, LV_LAST_FOLLOWED), E_BUFFER_OVERFLOW, ENAMETOOLONG,
       "openat");
  CHECK_INT(unlink(link), 0);
  /* More than a path may have at all, and a name. */
  deep_windows(asked, 20);
  TOLD(&err, find(asked, LV_LAST_FOLLOWED), E_BUFFER_OVERFLOW, ENAMETOOLONG,
       "openat");
  TOLD(&err, find(lengthy("C:\\", NAME_MAX + 1), LV_LAST_FOLLOWED),
       E_BUFFER_OVERFLOW, ENAMETOOLONG, "openat");
  for (size_t i = DEEP; i > 0; i--) {
    deep(path, i);
    CHECK_INT(rmdir(path), 0);
  }
}

/* Folders so deep that no path of them is short enough: without openat2 the
 * walk comes to their end all the same, and they are refused. */
static void test_too_deep(void) {
  static char asked[3 * PATH_MAX];
  char name[NAME + 1];
  int dirs[20];
  anew();
  memset(name, 'x', NAME);
  name[NAME] = '\0';
  dirs[0] = open(in("c"), O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (size_t i = 1; i < COUNT(dirs); i++) {
    CHECK_INT(mkdirat(dirs[i - 1], name, 0700), 0);
    dirs[i] = openat(dirs[i - 1], name, O_PATH | O_DIRECTORY | O_CLOEXEC);
  }
  atomic_store(&env.no_openat2, true);
  deep_windows(asked, COUNT(dirs) - 1);
  TOLD(&err, find(asked, LV_LAST_FOLLOWED), E_BUFFER_OVERFLOW, ENAMETOOLONG,
       "openat");
  for (size_t i = COUNT(dirs) - 1; i > 0; i--) {
    close(dirs[i]);
    CHECK_INT(unlinkat(dirs[i - 1], name, AT_REMOVEDIR), 0);
  }
  close(dirs[0]);
}

/* ---- twins -------------------------------------------------------------- */

static void make_exact(void) {
  put_text("c/twin", "");
}

static void remove_twin(void) {
  CHECK_INT(unlink(in("c/Twin")), 0);
}

static void test_twins(void) {
  anew();
  put_text("c/Twin", "");
  CHECK_STR(lead("C:\\twin"), "Twin|4");
  /* What is asked for is made between the two looks: it is that. */
  put_text("c/TWIN", "");
  trouble_meddle(&t, "getdents", make_exact, 1);
  CHECK_STR(lead("C:\\twin"), "twin|4");
  CHECK_INT(unlink(in("c/twin")), 0);
  CHECK_INT(find("C:\\twin", LV_LAST_FOLLOWED), LVHD_E_INVALID_NAME);
  CHECK(err.others != NULL && strlen(err.others) == strlen(in("c/Twin")));
  REASON(&err, err.code, E_INVALID_NAME, CASE_AMBIGUOUS);
  put_text("c/tWIN", ""); /* two are told of three */
  CHECK_INT(find("C:\\twin", LV_LAST_FOLLOWED), LVHD_E_INVALID_NAME);
  {
    const char *second = err.others + strlen(err.others) + 1;
    CHECK(second[0] == '/' && second[strlen(second) + 1] == '\0');
  }
  lvhd_error_clear(&err);
  CHECK_INT(unlink(in("c/tWIN")), 0);
  CHECK_INT(unlink(in("c/TWIN")), 0);
  /* The one that was found is gone: as if it had not been there. */
  trouble_over(&t);
  trouble_meddle(&t, "fstatat", remove_twin, 2);
  CHECK_STR(lead("C:\\twin"), "Twin|0");
}

/* ---- calls that fail, things that change -------------------------------- */

static void test_find_fails(void) {
  anew();
  trouble_fail(&t, "fstatat", EIO, 1, 1);
  TOLD(&err, find("C:\\vms", LV_LAST_FOLLOWED), DISP_E_EXCEPTION, EIO,
       "fstatat");
  trouble_over(&t);
  trouble_fail(&t, "fstatat", EIO, 2, 1);
  TOLD(&err, find("C:\\vms", LV_LAST_FOLLOWED), DISP_E_EXCEPTION, EIO,
       "fstatat");
  trouble_over(&t);
  trouble_fail(&t, "getdents", EIO, 1, 1);
  TOLD(&err, find("C:\\vms", LV_LAST_FOLLOWED), DISP_E_EXCEPTION, EIO,
       "getdents64");
  trouble_over(&t);
  trouble_fail(&t, "openat", EACCES, 1, 1);
  TOLD(&err, find("C:\\vms", LV_LAST_FOLLOWED), E_ACCESSDENIED, EACCES,
       "openat"); /* the folder itself */
  /* What is found exactly is looked at, which may fail: it is searched for. */
  trouble_over(&t);
  trouble_fail(&t, "fstat", EIO, 2, 1);
  CHECK_STR(lead("C:\\Vms\\A.vhd"), "Vms/A.vhd|9");
}

/* A folder on the way that is gone, no folder, or a link by now: looked for
 * again, three times at most. */
static void test_moved(void) {
  static const int moved[] = {ENOENT, ENOTDIR, ELOOP};
  for (size_t i = 0; i < COUNT(moved); i++) {
    unsigned asks = moved[i] == ENOTDIR; /* whether it is a link */
    anew();
    trouble_fail(&t, "openat2", moved[i], 3, 1);
    CHECK_STR(lead("C:\\Vms\\a.vhd"), "Vms/A.vhd|9");
    CHECK_INT(t.rules[0].calls, 5 + asks);
    trouble_over(&t);
    trouble_fail(&t, "openat2", moved[i], 2, ALWAYS);
    if (moved[i] == ELOOP)
      REASON(&err, find("C:\\Vms\\a.vhd", LV_LAST_FOLLOWED), E_ACCESSDENIED,
             OUTSIDE_DRIVE);
    else
      TOLD(&err, find("C:\\Vms\\a.vhd", LV_LAST_FOLLOWED), E_PATH_NOT_FOUND,
           moved[i], "openat2");
    CHECK_INT(t.rules[0].calls, 7 + 3 * asks);
  }
  anew();
  trouble_fail(&t, "openat2", EXDEV, 3, 1);
  REASON(&err, find("C:\\Vms\\a.vhd", LV_LAST_FOLLOWED), E_ACCESSDENIED,
         OUTSIDE_DRIVE);
  CHECK_INT(t.rules[0].calls, 3);
  trouble_over(&t);
  trouble_fail(&t, "openat2", EMFILE, 3, 1);
  TOLD(&err, find("C:\\Vms\\a.vhd", LV_LAST_FOLLOWED), VM_E_OUT_OF_RESOURCE,
       EMFILE, "openat2");
}

/* A link that is none any more, or gone, when it is read. */
static void test_moved_link(void) {
  static const int moved[] = {ENOENT, EINVAL};
  linked("c/l", "Vms");
  for (size_t i = 0; i < COUNT(moved); i++) {
    anew();
    trouble_fail(&t, "readlinkat", moved[i], 1, 2);
    CHECK_STR(lead("C:\\l\\a.vhd"), "Vms/A.vhd|9");
    CHECK_INT(t.rules[0].calls, 3);
    trouble_over(&t);
    trouble_fail(&t, "readlinkat", moved[i], 1, 3);
    TOLD(&err, find("C:\\l\\a.vhd", LV_LAST_FOLLOWED), E_PATH_NOT_FOUND,
         ENOENT, "readlinkat");
  }
  trouble_over(&t);
  trouble_fail(&t, "readlinkat", EACCES, 1, 1);
  TOLD(&err, find("C:\\l\\a.vhd", LV_LAST_FOLLOWED), E_ACCESSDENIED, EACCES,
       "readlinkat");
  CHECK_INT(unlink(in("c/l")), 0);
}

/* ---- opening ------------------------------------------------------------ */

static unsigned refusals, refused_with;

/* What is opened to be read is another thing by then; what is looked at is
 * not. */
static int open_refused(const struct lv_sys *sys, int dir, const char *path,
                        int flags, uint64_t resolve) {
  if ((flags & O_PATH) == 0 && refusals > 0) {
    refusals--;
    errno = (int)refused_with;
    return -1;
  }
  return lv_sys_real.openat2(sys, dir, path, flags, resolve);
}

static int open_windows(const char *path, unsigned errnum, unsigned times) {
  unsigned open = descriptors();
  int fd = -1, code = 0;
  t.sys.openat2 = open_refused;
  refusals = times;
  refused_with = errnum;
  code = lv_drives_open(&fd, &env, path, O_RDONLY | O_CLOEXEC, &err);
  CHECK_INT(fd >= 0, code == 0);
  if (fd >= 0)
    close(fd);
  CHECK_INT(descriptors(), open);
  return code;
}

static void test_open(void) {
  static const int again[] = {ENOENT, ELOOP, EXDEV};
  anew();
  for (size_t i = 0; i < COUNT(again); i++) {
    CHECK_INT(open_windows("C:\\Vms\\A.vhd", (unsigned)again[i], 2), 0);
    CHECK_INT(refusals, 0);
    if (again[i] == ENOENT)
      TOLD(&err, open_windows("C:\\Vms\\A.vhd", ENOENT, 3), E_PATH_NOT_FOUND,
           ENOENT, "openat2");
    else
      REASON(&err, open_windows("C:\\Vms\\A.vhd", (unsigned)again[i], 3),
             E_ACCESSDENIED, OUTSIDE_DRIVE);
    CHECK_INT(refusals, 0);
  }
  TOLD(&err, open_windows("C:\\Vms\\A.vhd", EACCES, 3), E_ACCESSDENIED,
       EACCES, "openat2");
  CHECK_INT(refusals, 2); /* at once */
  REASON(&err, open_windows("C:\\none", 0, 0), E_PATH_NOT_FOUND,
         FILE_MISSING);
  REASON(&err, open_windows("C:\\none\\x", 0, 0), E_PATH_NOT_FOUND,
         FOLDER_MISSING);
  REASON(&err, open_windows("C:\\a?", 0, 0), E_INVALID_NAME,
         CHARACTER_FORBIDDEN);
  CHECK_INT(open_windows("C:\\vms\\", 0, 0), 0);
  TOLD(&err, open_windows("C:\\vms\\a.vhd\\", 0, 0), E_PATH_NOT_FOUND,
       ENOTDIR, "openat2");
}

/* The folder of a new file: found, and a link by the time it is opened. */
static void test_folder(void) {
  struct lv_folder folder;
  unsigned open = descriptors();
  anew();
  t.sys.openat2 = open_refused;
  refusals = 2;
  refused_with = ELOOP;
  CHECK_INT(lv_folder_open(&folder, &env, "C:\\Vms\\x", &err), 0);
  CHECK_STR(folder.where, in("c/Vms/x"));
  CHECK(folder.missing);
  lv_folder_close(&folder, &env);
  refusals = 3;
  REASON(&err, lv_folder_open(&folder, &env, "C:\\Vms\\x", &err),
         E_ACCESSDENIED, OUTSIDE_DRIVE);
  CHECK_INT(refusals, 0);
  refusals = 3;
  refused_with = EMFILE;
  TOLD(&err, lv_folder_open(&folder, &env, "C:\\Vms\\x", &err),
       VM_E_OUT_OF_RESOURCE, EMFILE, "openat2");
  CHECK_INT(refusals, 2);
  REASON(&err, lv_folder_open(&folder, &env, "D:\\x", &err),
         E_PATH_NOT_FOUND, FOLDER_MISSING);
  linked("c/l", "none");
  REASON(&err, lv_folder_open(&folder, &env, "C:\\l", &err),
         E_PATH_NOT_FOUND, FOLDER_MISSING);
  CHECK_INT(lv_folder_open(&folder, &env, "C:\\l", NULL),
            LVHD_E_PATH_NOT_FOUND);
  CHECK_INT(unlink(in("c/l")), 0);
  CHECK_INT(descriptors(), open);
}

static void move_vms(void) {
  CHECK_INT(rename(in("c/Vms"), in("c/moved")), 0);
  CHECK_INT(symlink("moved", in("c/Vms")), 0);
}

/* In truth: a link inside the drive, which is followed. */
static void test_folder_moved(void) {
  struct lv_folder folder;
  anew();
  trouble_meddle(&t, "openat2", move_vms, 3);
  CHECK_INT(lv_folder_open(&folder, &env, "C:\\Vms", &err), 0);
  CHECK_STR(folder.where, in("c/moved"));
  lv_folder_close(&folder, &env);
  CHECK_INT(unlink(in("c/Vms")), 0);
  CHECK_INT(rename(in("c/moved"), in("c/Vms")), 0);
}

/* A real path, found again: not through a link that has come into it. */
static void test_folder_again(void) {
  struct lv_folder folder;
  unsigned open = descriptors();
  anew();
  CHECK_INT(lv_folder_of(&folder, &env, in("c/Vms"), &err), 0);
  CHECK(!folder.missing);
  CHECK(!lv_folder_gone(&folder, &env));
  lv_folder_close(&folder, &env);
  CHECK(!lv_folder_gone(&folder, &env)); /* of a closed one nothing is known */
  linked("c/l", "Vms");
  REASON(&err, lv_folder_of(&folder, &env, in("c/l"), &err), E_ACCESSDENIED,
         OUTSIDE_DRIVE);
  CHECK_INT(unlink(in("c/l")), 0);
  trouble_fail(&t, "openat2", EMFILE, 1, 1);
  TOLD(&err, lv_folder_of(&folder, &env, in("c/Vms"), &err),
       VM_E_OUT_OF_RESOURCE, EMFILE, "openat2");
  env.drives = NULL;
  CHECK_INT(lv_folder_of(&folder, &env, in("c/Vms"), &err), 0);
  lv_folder_close(&folder, &env);
  CHECK_INT(descriptors(), open);
}

static void test_file_again(void) {
  struct lv_file file = LV_FILE_INIT;
  unsigned open = descriptors();
  anew();
  CHECK_INT(lv_file_again(&file, &env, in("c/Vms/A.vhd"), &err), 0);
  CHECK(file.real);
  lv_file_close(&file, &env);
  linked("c/l", "Vms");
  TOLD(&err, lv_file_again(&file, &env, in("c/l/A.vhd"), &err),
       E_PATH_NOT_FOUND, ELOOP, "openat2");
  CHECK_INT(unlink(in("c/l")), 0);
  trouble_fail(&t, "openat", EMFILE, 1, 1); /* not even the root opens */
  TOLD(&err, lv_file_again(&file, &env, in("c/Vms/A.vhd"), &err),
       VM_E_OUT_OF_RESOURCE, EMFILE, "openat");
  env.drives = NULL;
  CHECK_INT(lv_file_again(&file, &env, in("c/Vms/A.vhd"), &err), 0);
  lv_file_close(&file, &env);
  CHECK_INT(descriptors(), open);
}

static void test_stat(void) {
  struct stat st;
  unsigned open = descriptors();
  anew();
  CHECK_INT(lv_file_stat(&st, &env, "C:\\vms\\a.vhd", &err), 0);
  CHECK(S_ISREG(st.st_mode) && st.st_size == 1);
  REASON(&err, lv_file_stat(&st, &env, "C:\\vms\\b.vhd", &err),
         E_PATH_NOT_FOUND, FILE_MISSING);
  trouble_fail(&t, "fstat", EIO, 3, 1);
  TOLD(&err, lv_file_stat(&st, &env, "C:\\Vms", &err), DISP_E_EXCEPTION, EIO,
       "fstat");
  CHECK_INT(descriptors(), open);
}

/* ---- roots and walks by Windows paths ----------------------------------- */

static int ask_root(void) {
  struct lv_root root;
  int code = lv_root_init(&root, &env, "C:\\vms\\a.vhd", NULL);
  if (code == 0)
    CHECK_STR(root.real, in("c/Vms/A.vhd"));
  lv_root_free(&root, &env);
  return code;
}

static int ask_walk(void) {
  struct lv_walk *walk = NULL;
  struct lv_file file = LV_FILE_INIT;
  const char *path = NULL;
  enum lv_walked what = LV_WALK_OTHER;
  int code = lv_walk_new(&walk, &env, NULL);
  if (code == 0)
    code = lv_walk_begin(walk, "C:\\vms", NULL);
  while (code == 0 && what != LV_WALK_END) {
    code = lv_walk_step(walk, &what, &file, &path, NULL);
    if (code == 0 && what == LV_WALK_FILE)
      CHECK_STR(path, in("c/Vms/A.vhd"));
    lv_file_close(&file, &env);
  }
  lv_walk_free(walk);
  return code;
}

/* Without /proc the way is gone once more. */
static void test_others(void) {
  anew();
  poorly("a root", ask_root);
  poorly("a walk", ask_walk);
  trouble_fail(&t, "readlinkat", ENOENT, 1, ALWAYS);
  poorly("a root without /proc", ask_root);
  poorly("a walk without /proc", ask_walk);
}

/* ---- names of locators -------------------------------------------------- */

static struct lv_root matched;

static int match(const char *rest, const char *want) {
  char *out = NULL;
  unsigned open = descriptors();
  int code = lv_root_match(&out, &env, &matched, rest, &err);
  if (code == 0)
    CHECK_STR(out, want);
  free(out);
  CHECK_INT(descriptors(), open);
  return code;
}

static int ask_match(void) {
  char *out = NULL;
  int code = lv_root_match(&out, &env, &matched, "VMS/a.VHD", NULL);
  if (code == 0)
    CHECK_STR(out, "Vms/A.vhd");
  free(out);
  return code;
}

static void test_match(void) {
  anew();
  CHECK_INT(lv_root_init(&matched, &env, in("c"), &err), 0);
  poorly("a match", ask_match);
  CHECK_INT(match("Vms/A.vhd", "Vms/A.vhd"), 0);
  CHECK_INT(match("vms", "Vms"), 0);
  REASON(&err, match("vms/b.vhd", NULL), E_PATH_NOT_FOUND, FILE_MISSING);
  REASON(&err, match("none/b.vhd", NULL), E_PATH_NOT_FOUND, FILE_MISSING);
  REASON(&err, match("..", NULL), E_ACCESSDENIED, PARENT_OUTSIDE);
  linked("c/l", "Vms");
  REASON(&err, match("l", NULL), E_ACCESSDENIED, PARENT_OUTSIDE);
  CHECK_INT(unlink(in("c/l")), 0);
  TOLD(&err, match(lengthy("", PATH_MAX), NULL), E_BUFFER_OVERFLOW,
       ENAMETOOLONG, "openat");
  lv_root_free(&matched, &env);
}

/* ---- back --------------------------------------------------------------- */

static bool unnamable;

static int call(const char *real, const char *want) {
  char *out = NULL;
  int code = lv_drives_call(&out, &env, real, &unnamable, &err);
  if (code == 0)
    CHECK_STR(out, want);
  free(out);
  return code;
}

static int ask_call(void) {
  char *out = NULL;
  int code = lv_drives_call(&out, &env, in("c/Vms/A.vhd"), NULL, NULL);
  if (code == 0)
    CHECK_STR(out, "\\\\nas\\s\\A.vhd");
  free(out);
  return code;
}

static void call_path(const char *path, const char *want) {
  char *out = NULL;
  CHECK_INT(lv_drives_call_path(&out, &env, path, &err), 0);
  CHECK_STR(out, want);
  free(out);
}

static void test_call(void) {
  char *out = NULL;
  anew();
  poorly("a name", ask_call);
  CHECK_INT(call(in("c"), "C:\\"), 0);
  CHECK_INT(call(in("c/x"), "C:\\x"), 0);
  CHECK(!unnamable);
  CHECK_INT(call(in("c/a:b"), NULL), 0);
  CHECK(unnamable);
  CHECK_INT(call(in("c/Vms"), "\\\\nas\\s\\"), 0); /* the nearest one */
  CHECK_INT(call(in("other/x"), NULL), 0);
  CHECK(!unnamable);
  trouble_fail(&t, "openat2", EACCES, 1, 1); /* C: is not for us */
  CHECK_INT(call(in("c/x"), NULL), 0);
  trouble_over(&t);
  trouble_fail(&t, "openat2", EMFILE, 1, 1);
  TOLD(&err, call(in("c/x"), NULL), VM_E_OUT_OF_RESOURCE, EMFILE, "openat2");
  call_path(in("c/none"), "C:\\none");
  call_path(in("c/none/x"), "C:\\none\\x");
  TOLD(&err, lv_drives_call_path(&out, &env, in("e/x"), &err),
       E_PATH_NOT_FOUND, ENOTDIR, "openat2");
}

static enum lv_relation relation;

static int relate(const char *a, const char *b) {
  relation = LV_NOT_BOTH;
  return lv_drives_relation(&relation, &env, a, b, &err);
}

static void test_relation(void) {
  const struct lvhd_drive list[] = {{"C", in("c")}, {"O", in("other")}};
  struct lv_drives *two = NULL;
  anew();
  CHECK_INT(lv_drives_new(&two, list, COUNT(list), &err), 0);
  env.drives = two;
  CHECK_INT(relate(in("c/x"), in("c/y")), 0);
  CHECK_INT(relation, LV_ONE_ROOT);
  CHECK_INT(relate(in("other/x"), in("other/y")), 0);
  CHECK_INT(relation, LV_ONE_ROOT);
  CHECK_INT(relate(in("c/x"), in("other/y")), 0);
  CHECK_INT(relation, LV_TWO_ROOTS);
  CHECK_INT(relate(in("other/x"), in("c/y")), 0);
  CHECK_INT(relation, LV_TWO_ROOTS);
  CHECK_INT(relate(in("c/x"), in("y")), 0);
  CHECK_INT(relation, LV_NOT_BOTH);
  CHECK_INT(relate(in("x"), in("c/y")), 0);
  CHECK_INT(relation, LV_NOT_BOTH);
  CHECK_INT(relate(in("x"), in("y")), 0);
  CHECK_INT(relation, LV_NOT_BOTH);
  trouble_fail(&t, "openat2", EACCES, 1, 1);
  CHECK_INT(relate(in("c/x"), in("c/y")), 0);
  CHECK_INT(relation, LV_NOT_BOTH);
  trouble_over(&t);
  trouble_fail(&t, "openat2", EMFILE, 2, 1);
  TOLD(&err, relate(in("x"), in("y")), VM_E_OUT_OF_RESOURCE, EMFILE,
       "openat2");
  lv_drives_free(two);
}

int main(void) {
  unsigned open = descriptors();
  base_make("io-drives");
  furnish();
  test_map();
  test_mapped();
  test_names();
  test_links();
  test_bad_links();
  test_long();
  test_too_deep();
  test_twins();
  test_find_fails();
  test_moved();
  test_moved_link();
  test_open();
  test_folder();
  test_folder_moved();
  test_folder_again();
  test_file_again();
  test_stat();
  test_others();
  test_match();
  test_call();
  test_relation();
  empty();
  CHECK_INT(descriptors(), open);
  CHECK_INT(rmdir(base), 0);
  return check_done();
}
