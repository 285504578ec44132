/* SPDX-License-Identifier: MIT
 *
 * From Windows paths to places below mapped folders, and back.  What a path
 * leads to is found name by name, beside the host's own rules: so names can be
 * matched but for case, and absolute links that stay inside can be followed.
 * That is only a guess at how things stand: it is lv_root_fd() that opens, by
 * real names, and never leaves the root whatever has changed meanwhile.
 *
 *   1 the map   2 one folder's names   3 the way   4 opening   5 back
 */
#include "io/drives.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/upcase.h"
#include "base/winpath.h"
#include "io/folder.h"
#include "io/names.h"

#define LOOKING (O_PATH | O_NOFOLLOW | O_CLOEXEC)
#define LINKS_MAX 40 /* as the kernel has it */

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* ---- 1 the map ------------------------------------------------------- */

static int add_drive(struct lv_drives *drives, const struct lvhd_drive *from,
                     struct lvhd_error *err) {
  struct lv_drive *drive = &drives->items[drives->count];
  int code = 0;
  if (from->name == NULL || from->folder == NULL)
    return lv_fail(err, LVHD_E_POINTER, LV_R_PATH_NIL);
  code = lv_winpath_drive(&drive->name, from->name, err);
  if (code != 0)
    return code;
  drives->count++;
  if (from->folder[0] != '/')
    return lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_BASE_RELATIVE);
  drive->folder = strdup(from->folder);
  if (drive->folder == NULL)
    return no_memory(err);
  for (size_t i = 0; i + 1 < drives->count; i++)
    if (lv_same_name(drives->items[i].name, strlen(drives->items[i].name),
                     drive->name, strlen(drive->name)))
      return lv_fail(err, LVHD_E_INVALIDARG, LV_R_DRIVE_TWICE);
  return 0;
}

int lv_drives_new(struct lv_drives **out, const struct lvhd_drive *list,
                  size_t count, struct lvhd_error *err) {
  struct lv_drives *drives =
    calloc(1, sizeof *drives + count * sizeof drives->items[0]);
  int code = drives ? 0 : no_memory(err);
  for (size_t i = 0; code == 0 && i < count; i++) {
    code = add_drive(drives, &list[i], err);
    if (code != 0)
      lv_error_path(err, code == LVHD_E_BAD_PATHNAME ? list[i].folder
                                                     : list[i].name);
  }
  if (code != 0) {
    lv_drives_free(drives);
    return code;
  }
  *out = drives;
  return 0;
}

void lv_drives_free(struct lv_drives *drives) {
  for (size_t i = 0; drives && i < drives->count; i++) {
    free(drives->items[i].name);
    free(drives->items[i].folder);
  }
  free(drives);
}

bool lv_is_windows(const struct lv_env *env, const char *path) {
  return env->drives != NULL && lv_winpath_is(path, strlen(path));
}

size_t lv_drives_count(const struct lv_env *env) {
  return env->drives ? env->drives->count : 0;
}

int lv_drives_root(struct lv_root *root, struct lv_env *env, size_t i,
                   struct lvhd_error *err) {
  int code = lv_root_init(root, env, env->drives->items[i].folder, err);
  if (code == LVHD_E_PATH_NOT_FOUND && err)
    err->reason = LV_R_FOLDER_MISSING;
  if (code == 0 && root->is_file) {
    lv_root_free(root, env);
    code = lv_fail(err, LVHD_E_PATH_NOT_FOUND, LV_R_NOT_A_FOLDER);
  }
  return code;
}

/* Opens the mapped folder of a plain path. */
static int open_root(struct lv_root *root, struct lv_env *env,
                     const char *plain, struct lvhd_error *err) {
  size_t n = lv_winpath_root(plain);
  for (size_t i = 0; i < env->drives->count; i++) {
    const char *name = env->drives->items[i].name;
    if (lv_same_name(name, strlen(name), plain, n))
      return lv_drives_root(root, env, i, err);
  }
  return lv_fail(err, LVHD_E_PATH_NOT_FOUND, LV_R_NO_SUCH_DRIVE);
}

/* ---- 2 one folder's names -------------------------------------------- */

void lv_twins_take(struct lv_twins *twins, const char *name,
                   const char *found) {
  size_t n = strlen(name), m = strlen(found);
  if (!lv_same_name(name, n, found, m))
    return;
  if (n == m && memcmp(name, found, n) == 0)
    twins->exact = true;
  if (twins->count < 2)
    strcpy(twins->names[twins->count], found);
  twins->count++;
}

struct looking {
  struct lv_twins *twins;
  const char *name;
};

static void take_name(void *arg, const char *found) {
  const struct looking *looking = arg;
  lv_twins_take(looking->twins, looking->name, found);
}

int lv_twins_find(struct lv_twins *twins, const struct lv_env *env, int dir,
                  const char *name, struct lvhd_error *err) {
  struct looking looking = {twins, name};
  twins->count = 0;
  twins->exact = false;
  return env->names ? lv_names_twins(twins, env, dir, name, err)
                    : lv_names_list(env, dir, take_name, &looking, err);
}

void lv_twins_tell(const struct lv_twins *twins, const char *root,
                   const char *rest, struct lvhd_error *err) {
  for (size_t i = 0; i < twins->count && i < 2; i++) {
    char *folder = lv_path_join(root, rest);
    char *path = folder ? lv_path_join(folder, twins->names[i]) : NULL;
    if (path)
      lv_error_other(err, path);
    free(path);
    free(folder);
  }
}

/* ---- 3 the way ------------------------------------------------------- */

/* A way through names. */
struct way {
  struct lv_env *env;
  const struct lv_root *root;
  bool no_links;
  enum lv_last last;
  unsigned links;      /* that were followed */
  int dir;             /* the folder `real`; -1: it was not opened yet */
  bool over, is_link;
  bool moved;          /* what was there a moment ago is another thing now */
  size_t exists;       /* bytes of real that exist, when it is over */
  size_t given;        /* so many bytes at the end of todo are the caller's */
  char real[PATH_MAX]; /* names as they are, '/' between */
  char todo[PATH_MAX]; /* what is left, '/' between */
};

static int outside(const struct way *w, struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_ACCESSDENIED,
                 w->no_links ? LV_R_PARENT_OUTSIDE : LV_R_OUTSIDE_DRIVE);
}

static int fail(struct lvhd_error *err, int errnum, const char *call) {
  return lv_fail_errno(err, LV_STEP_FOLDER, errnum, call);
}

static void leave_dir(struct way *w) {
  if (w->dir >= 0)
    w->env->sys->close(w->env->sys, w->dir);
  w->dir = -1;
}

/* Opens the folder that w->real names. */
static int enter_dir(struct way *w, struct lvhd_error *err) {
  const char *call = NULL;
  if (w->dir >= 0)
    return 0;
  w->dir = lv_root_fd(w->env, w->root, w->real, LOOKING | O_DIRECTORY, &call);
  if (w->dir >= 0)
    return 0;
  w->moved = errno == ELOOP || errno == ENOENT || errno == ENOTDIR;
  return errno == ELOOP || errno == EXDEV ? outside(w, err)
                                          : fail(err, errno, call);
}

static int append(struct way *w, const char *name, struct lvhd_error *err) {
  size_t n = strlen(w->real), m = strlen(name);
  if (n + m + 2 > sizeof w->real)
    return fail(err, ENAMETOOLONG, "openat");
  if (n > 0)
    w->real[n++] = '/';
  memcpy(w->real + n, name, m + 1);
  leave_dir(w);
  return 0;
}

static int go_up(struct way *w, struct lvhd_error *err) {
  char *slash = strrchr(w->real, '/');
  if (w->real[0] == '\0')
    return outside(w, err);
  *(slash ? slash : w->real) = '\0';
  leave_dir(w);
  return 0;
}

/* Takes the first name off todo; "" where none is left. */
static int take(struct way *w, char name[NAME_MAX + 1], bool *given,
                struct lvhd_error *err) {
  size_t skip = strspn(w->todo, "/");
  size_t n = strcspn(w->todo + skip, "/");
  size_t whole = strlen(w->todo);
  if (n > NAME_MAX)
    return fail(err, ENAMETOOLONG, "openat");
  *given = whole - skip <= w->given;
  memcpy(name, w->todo + skip, n);
  name[n] = '\0';
  memmove(w->todo, w->todo + skip + n, whole - skip - n + 1);
  return 0;
}

static bool is_last(const struct way *w) {
  return w->todo[strspn(w->todo, "/")] == '\0';
}

/* What of an absolute text is behind the folder, name by name; ".." stays to
 * be walked.  NULL: it leads elsewhere. */
static const char *behind_folder(const char *folder, const char *text) {
  for (;;) {
    size_t n = 0;
    folder += strspn(folder, "/");
    text += strspn(text, "/");
    if (folder[0] == '\0')
      return text;
    n = strcspn(folder, "/");
    if (strncmp(folder, text, n) != 0 || (text[n] != '/' && text[n] != '\0'))
      return NULL;
    folder += n;
    text += n;
  }
}

/* The folder as it was given, or as it really is. */
static const char *below_root(const struct lv_root *root, const char *text) {
  const char *rest = behind_folder(root->given, text);
  return rest ? rest : behind_folder(root->real, text);
}

/* The text of a link becomes what is to be walked next. */
static int follow(struct way *w, const char *name, struct lvhd_error *err) {
  char target[PATH_MAX];
  const char *text = target;
  char rest[PATH_MAX];
  ssize_t n = 0;
  if (w->no_links)
    return outside(w, err);
  if (++w->links > LINKS_MAX)
    return fail(err, ELOOP, "readlinkat");
  n = w->env->sys->readlinkat(w->env->sys, w->dir, name, target,
                              sizeof target - 1);
  w->is_link = false;
  w->moved = n < 0 && (errno == ENOENT || errno == EINVAL);
  if (n < 0) /* EINVAL: it is no link any more */
    return fail(err, errno == EINVAL ? ENOENT : errno, "readlinkat");
  target[n] = '\0';
  if (target[0] == '/') {
    text = below_root(w->root, target);
    if (text == NULL)
      return outside(w, err);
    w->real[0] = '\0';
    leave_dir(w);
  }
  if (w->given > strlen(w->todo)) /* the link's own names are none of his */
    w->given = strlen(w->todo);
  strcpy(rest, w->todo);
  n = snprintf(w->todo, sizeof w->todo, "%s/%s", text, rest);
  return n < (int)sizeof w->todo ? 0 : fail(err, ENAMETOOLONG, "readlinkat");
}

/* Nothing is there: the rest is as it would be.  A link that names what is
 * missing leads nowhere. */
static int miss(struct way *w, const char *name, bool given,
                struct lvhd_error *err) {
  char rest[PATH_MAX];
  bool last = is_last(w);
  int code = 0;
  w->exists = strlen(w->real);
  if (!given) {
    code = fail(err, ENOENT, "fstatat");
    if (err)
      err->reason = w->given > 0 ? LV_R_FOLDER_MISSING : LV_R_FILE_MISSING;
    return code;
  }
  strcpy(rest, w->todo + strspn(w->todo, "/"));
  code = append(w, name, err);
  if (code == 0 && !last)
    code = append(w, rest, err);
  w->over = true;
  return code;
}

static int ambiguous(const struct way *w, const struct lv_twins *twins,
                     struct lvhd_error *err) {
  int code = lv_fail(err, LVHD_E_INVALID_NAME, LV_R_CASE_AMBIGUOUS);
  lv_twins_tell(twins, w->root->real, w->real, err);
  return code;
}

/* *name becomes what it is called there; *missing: there is nothing. */
static int look_up(struct way *w, char name[NAME_MAX + 1], bool given,
                   struct stat *st, bool *missing, struct lvhd_error *err) {
  const struct lv_sys *sys = w->env->sys;
  struct lv_twins twins = {0};
  int code = 0;
  *missing = sys->fstatat(sys, w->dir, name, st, AT_SYMLINK_NOFOLLOW) != 0;
  if (*missing && errno != ENOENT)
    return fail(err, errno, "fstatat");
  if (!*missing || !given)
    return 0;
  code = lv_twins_find(&twins, w->env, w->dir, name, err);
  if (code != 0 || twins.count == 0)
    return code;
  if (twins.count > 1 && !twins.exact)
    return ambiguous(w, &twins, err);
  if (!twins.exact)
    strcpy(name, twins.names[0]);
  *missing = sys->fstatat(sys, w->dir, name, st, AT_SYMLINK_NOFOLLOW) != 0;
  return *missing && errno != ENOENT ? fail(err, errno, "fstatat") : 0;
}

static int step(struct way *w, struct lvhd_error *err) {
  char name[NAME_MAX + 1];
  bool given = false, missing = false;
  struct stat st;
  int code = take(w, name, &given, err);
  if (code != 0)
    return code;
  if (name[0] == '\0') {
    w->over = true;
    w->exists = strlen(w->real);
    return 0;
  }
  if (strcmp(name, ".") == 0)
    return 0;
  if (strcmp(name, "..") == 0)
    return go_up(w, err);
  code = enter_dir(w, err);
  if (code == 0)
    code = look_up(w, name, given, &st, &missing, err);
  if (code != 0)
    return code;
  if (missing)
    return miss(w, name, given, err);
  w->is_link = S_ISLNK(st.st_mode);
  if (w->is_link && !(is_last(w) && w->last == LV_LAST_AS_IT_IS))
    return follow(w, name, err);
  if (!S_ISDIR(st.st_mode) && !is_last(w))
    return lv_fail(err, LVHD_E_PATH_NOT_FOUND, LV_R_NOT_A_FOLDER);
  return append(w, name, err);
}

static int go(struct way *w, const char *rest, struct lvhd_error *err) {
  int code = 0;
  size_t n = strlen(rest);
  if (n >= sizeof w->todo)
    return fail(err, ENAMETOOLONG, "openat");
  memcpy(w->todo, rest, n + 1);
  w->given = n;
  w->real[0] = '\0';
  w->dir = -1;
  w->links = 0;
  w->moved = w->over = w->is_link = false;
  while (code == 0 && !w->over)
    code = step(w, err);
  leave_dir(w);
  return code;
}

/* Mostly every name is as it was given, and none is a link: one call. */
static bool is_plain(struct way *w, const char *rest) {
  const char *call = NULL;
  struct stat st;
  int fd = lv_root_fd(w->env, w->root, rest, LOOKING, &call);
  bool good = fd >= 0 && strlen(rest) < sizeof w->real &&
              w->env->sys->fstat(w->env->sys, fd, &st) == 0 &&
              (!S_ISLNK(st.st_mode) || w->last == LV_LAST_AS_IT_IS);
  if (fd >= 0)
    w->env->sys->close(w->env->sys, fd);
  w->is_link = good && S_ISLNK(st.st_mode);
  return good;
}

/* Links and folders that come and go meanwhile are looked for again. */
#define LOOKS 3

static int find(struct lv_place *place, struct way *w, const char *rest,
                struct lvhd_error *err) {
  int code = 0;
  for (int i = 0; i == 0 || (i < LOOKS && w->moved); i++) {
    if (i > 0)
      lvhd_error_clear(err);
    if (is_plain(w, rest)) {
      code = 0;
      strcpy(w->real, rest);
      w->exists = strlen(rest);
      break;
    }
    code = go(w, rest, err);
  }
  if (code != 0)
    return code;
  place->rest = strdup(w->real);
  place->exists = w->exists;
  place->is_link = w->is_link;
  return place->rest ? 0 : no_memory(err);
}

int lv_drives_find(struct lv_place *place, struct lv_env *env,
                   const char *path, enum lv_last last,
                   struct lvhd_error *err) {
  struct way *w = calloc(1, sizeof *w);
  char *plain = lv_winpath_join(NULL, path);
  char *rest = plain ? lv_winpath_rest(plain) : NULL;
  int code = w && rest ? 0 : no_memory(err);
  *place = (struct lv_place)LV_PLACE_INIT;
  if (code == 0)
    code = open_root(&place->root, env, plain, err);
  if (code == 0) {
    w->env = env;
    w->root = &place->root;
    w->last = last;
    code = find(place, w, rest, err);
  }
  if (code != 0)
    lv_place_free(place, env);
  free(rest);
  free(plain);
  free(w);
  return code;
}

void lv_place_free(struct lv_place *place, const struct lv_env *env) {
  lv_root_free(&place->root, env);
  free(place->rest);
  *place = (struct lv_place)LV_PLACE_INIT;
}

char *lv_place_path(const struct lv_place *place) {
  return place->rest[0] == '\0' ? strdup(place->root.real)
                                : lv_path_join(place->root.real, place->rest);
}

int lv_root_match(char **out, struct lv_env *env, const struct lv_root *root,
                  const char *rest, struct lvhd_error *err) {
  struct way *w = calloc(1, sizeof *w);
  int code = w ? 0 : no_memory(err);
  if (code == 0) {
    w->env = env;
    w->root = root;
    w->no_links = true;
    code = go(w, rest, err);
  }
  if (code == 0 && w->exists < strlen(w->real))
    code = lv_fail(err, LVHD_E_PATH_NOT_FOUND, LV_R_FILE_MISSING);
  if (code == 0) {
    *out = strdup(w->real);
    code = *out ? 0 : no_memory(err);
  }
  free(w);
  return code;
}

/* ---- 4 opening ------------------------------------------------------- */

static int fail_missing(const struct lv_place *place,
                        struct lvhd_error *err) {
  const char *missing = place->rest + place->exists;
  missing += strspn(missing, "/");
  return lv_fail(err, LVHD_E_PATH_NOT_FOUND,
                 strchr(missing, '/') ? LV_R_FOLDER_MISSING
                                      : LV_R_FILE_MISSING);
}

int lv_drives_open(int *fd, struct lv_env *env, const char *path, int flags,
                   struct lvhd_error *err) {
  struct lv_place place = LV_PLACE_INIT;
  const char *call = NULL;
  int failed = ENOENT;
  int code = lv_winpath_check(path, strlen(path), err);
  *fd = -1;
  if (code == 0 && lv_winpath_is_folder(path))
    flags |= O_DIRECTORY;
  for (int i = 0; code == 0 && i < LOOKS; i++) {
    code = lv_drives_find(&place, env, path, LV_LAST_FOLLOWED, err);
    if (code == 0 && place.exists < strlen(place.rest))
      code = fail_missing(&place, err);
    if (code == 0) {
      *fd = lv_root_fd(env, &place.root, place.rest, flags, &call);
      failed = *fd < 0 ? errno : 0;
    }
    lv_place_free(&place, env);
    if (failed != ENOENT && failed != ELOOP && failed != EXDEV)
      break;
  }
  if (code != 0 || *fd >= 0)
    return code;
  return failed == ELOOP || failed == EXDEV
           ? lv_fail(err, LVHD_E_ACCESSDENIED, LV_R_OUTSIDE_DRIVE)
           : lv_fail_errno(err, LV_STEP_FILE, failed, call);
}

int lv_drives_real(char **out, struct lv_env *env, const char *path,
                   struct lvhd_error *err) {
  struct lv_place place = LV_PLACE_INIT;
  int code = lv_winpath_check(path, strlen(path), err);
  if (code == 0)
    code = lv_drives_find(&place, env, path, LV_LAST_FOLLOWED, err);
  if (code != 0)
    return code;
  *out = lv_place_path(&place);
  lv_place_free(&place, env);
  return *out ? 0 : no_memory(err);
}

/* ---- 5 back ---------------------------------------------------------- */

/* What of a real path is behind the root; NULL: it does not lie there. */
static const char *behind(const struct lv_root *root, const char *real) {
  return strcmp(root->real, real) == 0 ? "" : lv_root_rest(root, real);
}

/* A mapped folder that is not there, or is not for us: nothing that was opened
 * lies in it.  What else keeps it closed must not change a name. */
static bool is_absent(int code) {
  return code == LVHD_E_PATH_NOT_FOUND || code == LVHD_E_ACCESSDENIED;
}

int lv_drives_call(char **out, struct lv_env *env, const char *real,
                   bool *unnamable, struct lvhd_error *err) {
  size_t nearest = 0;
  const char *name = NULL;
  const char *rest = NULL;
  *out = NULL;
  if (unnamable)
    *unnamable = false;
  for (size_t i = 0; i < lv_drives_count(env); i++) {
    struct lv_root root;
    const char *at = NULL;
    int code = lv_drives_root(&root, env, i, err);
    if (is_absent(code)) {
      lvhd_error_clear(err);
      continue;
    }
    if (code != 0)
      return code;
    at = behind(&root, real);
    if (at && strlen(root.real) > nearest) {
      nearest = strlen(root.real);
      name = env->drives->items[i].name;
      rest = at; /* "" or in real */
    }
    lv_root_free(&root, env);
  }
  if (name == NULL)
    return 0;
  if (lv_winpath_from(out, name, rest, err) != 0)
    return LVHD_E_OUTOFMEMORY;
  if (unnamable)
    *unnamable = *out == NULL;
  return 0;
}

/* The real path of what does not exist: that of its folder, and its name. */
static int real_missing(char **out, struct lv_env *env, const char *path,
                        struct lvhd_error *err) {
  struct lv_folder folder = LV_FOLDER_INIT;
  char *above = lv_path_folder(path);
  char *real = NULL;
  int code = above ? lv_folder_open(&folder, env, above, err)
                   : no_memory(err);
  if (code == 0)
    code = lv_folder_real(&real, &folder, env, above, err);
  if (code == 0) {
    *out = lv_path_join(real, lv_path_name(path));
    code = *out ? 0 : no_memory(err);
  }
  lv_folder_close(&folder, env);
  free(real);
  free(above);
  return code;
}

int lv_drives_call_path(char **out, struct lv_env *env, const char *path,
                        struct lvhd_error *err) {
  const char *call = NULL;
  char *real = NULL;
  bool plain = false;
  int code = 0;
  int fd = lv_open_existing(env, path, O_PATH | O_CLOEXEC, &plain, &call);
  if (fd >= 0) {
    code = lv_real_path(&real, env, fd, path, plain, LV_STEP_FILE, err);
    env->sys->close(env->sys, fd);
  } else if (errno == ENOENT) {
    code = real_missing(&real, env, path, err);
  } else {
    code = lv_fail_errno(err, LV_STEP_FILE, errno, call);
  }
  if (code == 0)
    code = lv_drives_call(out, env, real, NULL, err);
  free(real);
  return code;
}

int lv_drives_relation(enum lv_relation *out, struct lv_env *env,
                       const char *a, const char *b,
                       struct lvhd_error *err) {
  bool has_a = false, has_b = false, both = false;
  for (size_t i = 0; !both && i < lv_drives_count(env); i++) {
    struct lv_root root;
    bool in_a = false, in_b = false;
    int code = lv_drives_root(&root, env, i, err);
    if (is_absent(code)) {
      lvhd_error_clear(err);
      continue;
    }
    if (code != 0)
      return code;
    in_a = behind(&root, a) != NULL;
    in_b = behind(&root, b) != NULL;
    has_a = has_a || in_a;
    has_b = has_b || in_b;
    both = in_a && in_b;
    lv_root_free(&root, env);
  }
  *out = both ? LV_ONE_ROOT : has_a && has_b ? LV_TWO_ROOTS : LV_NOT_BOTH;
  return 0;
}
