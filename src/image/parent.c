/* SPDX-License-Identifier: MIT
 *
 * Which of the names that a child records is its parent.
 *
 *   1 the policy   2 the names, as absolute paths   3 trying them
 */
#include "image/parent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/findings.h"
#include "base/path.h"
#include "base/upcase.h"
#include "base/utf.h"
#include "base/winpath.h"
#include "io/drives.h"

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* ---- 1 the policy ---------------------------------------------------- */

/* Nothing has that name, or nothing could: it is too long for the host. */
static bool is_missing(int code) {
  return code == LVHD_E_PATH_NOT_FOUND || code == LVHD_E_BUFFER_OVERFLOW;
}

/* How much a failed candidate says: the best one is told. */
enum { WORTH_MOST = 6 };

static int worth(int code) {
  if (is_missing(code))
    return 1;
  switch (code) {
  case LVHD_E_ACCESSDENIED:
    return 2;
  case LVHD_E_INVALID_NAME: /* CASE_AMBIGUOUS */
    return 3;
  case LVHD_VM_E_INVALID_HD_FILE:
    return 4;
  case LVHD_VM_E_PARENT_CHILD_ID_MISMATCH:
    return 5;
  default: /* not about this name: memory, descriptors, the device */
    return WORTH_MOST;
  }
}

/* Takes the code of making roots[count]: what is not there, or not for us, is
 * left out. */
static int add_root(struct lv_policy *policy, const char *drive, int code,
                    struct lvhd_error *why, struct lvhd_error *err) {
  bool is_grave = code != 0 && worth(code) == WORTH_MOST;
  if (code == 0)
    policy->drives[policy->count++] = drive;
  if (is_grave)
    return lv_error_give(err, why);
  lvhd_error_clear(why);
  return 0;
}

int lv_policy_init(struct lv_policy *policy, struct lv_env *env,
                   const struct lv_image *leaf, const char *const *parents,
                   size_t count, unsigned max_depth, struct lvhd_error *err) {
  struct lvhd_error why = LVHD_ERROR_INIT;
  size_t mapped = lv_drives_count(env);
  struct lv_root *root = calloc(1 + mapped + count, sizeof *root);
  const char **drives = calloc(1 + mapped + count, sizeof *drives);
  int code = root && drives ? 0 : no_memory(err);
  *policy = (struct lv_policy){
    .roots = root, .drives = drives, .max_depth = max_depth};
  if (code == 0) {
    code = lv_root_around(root, env, &leaf->file, leaf->path, &why);
    code = add_root(policy, NULL, code, &why, err);
  }
  for (size_t i = 0; code == 0 && i < mapped; i++) {
    root = &policy->roots[policy->count];
    code = lv_drives_root(root, env, i, &why);
    code = add_root(policy, env->drives->items[i].name, code, &why, err);
  }
  for (size_t i = 0; code == 0 && i < count; i++) {
    root = &policy->roots[policy->count];
    code = lv_root_init(root, env, parents[i], &why);
    code = add_root(policy, NULL, code, &why, err);
  }
  if (code != 0)
    lv_policy_free(policy, env);
  return code;
}

void lv_policy_free(struct lv_policy *policy, const struct lv_env *env) {
  for (size_t i = 0; i < policy->count; i++)
    lv_root_free(&policy->roots[i], env);
  free(policy->roots);
  free(policy->drives);
  *policy = (struct lv_policy){0};
}

/* ---- 2 the names ----------------------------------------------------- */

/* In the order in which they are tried. */
enum rank { RELATIVE, ABSOLUTE, URL, NAME };

struct name {
  char *path; /* absolute and plain */
  char code[5];
  enum rank rank;
  bool any_case; /* on a drive */
};

/* A locator gives at most two, the name field two. */
#define NAMES_MAX (2 * LV_LOCATORS + 2)

struct names {
  struct name items[NAMES_MAX];
  size_t count;
  const char *folder; /* of the child */
  const struct lv_policy *policy;
  bool no_memory;
};

static void add_name(struct names *names, const char *code, enum rank rank,
                     bool any_case, const char *text) {
  struct name *name = &names->items[names->count];
  const char *last = lv_path_name(text);
  if (last[0] == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0 ||
      names->count == NAMES_MAX)
    return;
  name->path = lv_path_resolve(names->folder, text);
  if (name->path == NULL) {
    names->no_memory = true;
    return;
  }
  name->rank = rank;
  name->any_case = any_case;
  memcpy(name->code, code, 4);
  name->code[4] = '\0';
  names->count++;
}

/* A drive or a share: a place by the map alone. */
static bool is_foreign(const char *text) {
  return strncmp(text, "\\\\", 2) == 0 || strncmp(text, "//", 2) == 0 ||
         (((text[0] | 32) >= 'a' && (text[0] | 32) <= 'z') &&
          text[1] == ':');
}

static const struct lv_root *drive_of(const struct lv_policy *policy,
                                      const char *plain) {
  size_t n = lv_winpath_root(plain);
  for (size_t i = 0; i < policy->count; i++) {
    const char *drive = policy->drives[i];
    if (drive && lv_same_name(drive, strlen(drive), plain, n))
      return &policy->roots[i];
  }
  return NULL;
}

/* "C:\vms\base.vhd", by the map: a path of the host.  What Windows would not
 * take for such a path says nothing. */
static void add_drive(struct names *names, const char *code,
                      const char *text) {
  const struct lv_root *root = NULL;
  char *plain = NULL, *rest = NULL, *path = NULL;
  if (lv_winpath_check(text, strlen(text), NULL) != 0)
    return;
  plain = lv_winpath_join(NULL, text);
  root = plain ? drive_of(names->policy, plain) : NULL;
  if (root) {
    rest = lv_winpath_rest(plain);
    path = rest ? lv_root_path(root, rest) : NULL;
  }
  if (path && rest[0] != '\0')
    add_name(names, code, ABSOLUTE, true, path);
  names->no_memory |= plain == NULL || (root && path == NULL);
  free(path);
  free(rest);
  free(plain);
}

static void add_windows(struct names *names, const char *code, char *text) {
  bool is_absolute = false;
  if (is_foreign(text)) {
    if (lv_winpath_is(text, strlen(text)))
      add_drive(names, code, text);
    return;
  }
  for (char *at = text; *at; at++)
    if (*at == '\\')
      *at = '/';
  is_absolute = text[0] == '/';
  add_name(names, code, is_absolute ? ABSOLUTE : RELATIVE, !is_absolute,
           text);
}

static int hex(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c = (char)(c | 32);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place.  False: nothing is encoded, or a NUL is. */
static bool decode_percent(char *text) {
  bool found = false;
  char *to = text;
  for (; *text; text++, to++) {
    *to = *text;
    if (*text == '%' && hex(text[1]) >= 0 && hex(text[2]) >= 0) {
      *to = (char)(hex(text[1]) * 16 + hex(text[2]));
      if (*to == '\0')
        return false;
      text += 2;
      found = true;
    }
  }
  *to = '\0';
  return found;
}

/* "file://./base.vhd" (blktap), "file:///abs", "file://localhost/abs" (the
 * specification), "file://base.vhd" (ocaml-vhd). */
static void add_url(struct names *names, const char *code, char *text) {
  static const char host[] = "localhost/";
  if (strncmp(text, "file://", 7) != 0)
    return;
  text += 7;
  if (strncmp(text, host, sizeof host - 1) == 0)
    text += sizeof host - 2;
  add_name(names, code, URL, false, text);
  if (decode_percent(text))
    add_name(names, code, URL, false, text);
}

static int add_locator(struct names *names, const struct lv_image *child,
                       struct lv_env *env, unsigned i,
                       struct lvhd_error *err) {
  const char *code = (const char *)child->header.locators[i].code;
  uint8_t *raw = NULL;
  size_t n = 0;
  int failed = lv_image_locator(child, env, i, &raw, &n, err);
  if (failed != 0 || raw == NULL)
    return failed;
  if (memcmp(code, "W2ru", 4) == 0 || memcmp(code, "W2ku", 4) == 0) {
    char *text = malloc(n / 2 * 3 + 1);
    if (text == NULL) {
      names->no_memory = true;
    } else {
      lv_utf16_decode(raw, n, false, text);
      add_windows(names, code, text);
      free(text);
    }
  } else if (memcmp(code, "Wi2r", 4) == 0 || memcmp(code, "Wi2k", 4) == 0) {
    add_windows(names, code, (char *)raw);
  } else if (memcmp(code, "MacX", 4) == 0) {
    add_url(names, code, (char *)raw);
  }
  free(raw);
  return 0;
}

/* Some writers record a whole path: what follows its last separator. */
static void add_field(struct names *names, const struct lv_image *child,
                      bool big_endian) {
  char text[LV_NAME_FIELD / 2 * 3 + 1];
  const char *name = text;
  lv_utf16_decode(child->header.parent_name, LV_NAME_FIELD, big_endian, text);
  for (const char *at = text; *at; at++)
    if (*at == '\\' || *at == '/')
      name = at + 1;
  add_name(names, "\0\0\0", NAME, true, name); /* four: it has no code */
}

static int collect(struct names *names, const struct lv_image *child,
                   struct lv_env *env, struct lvhd_error *err) {
  int code = 0;
  for (unsigned i = 0; code == 0 && i < LV_LOCATORS; i++)
    code = add_locator(names, child, env, i, err);
  if (code != 0)
    return code;
  add_field(names, child, true);
  add_field(names, child, false);
  return names->no_memory ? no_memory(err) : 0;
}

static void free_names(struct names *names) {
  for (size_t i = 0; i < names->count; i++)
    free(names->items[i].path);
}

/* ---- 3 trying them --------------------------------------------------- */

int lv_parent_check(const struct lv_image *parent,
                    const struct lv_image *child, struct lvhd_error *err) {
  int code = 0;
  if (memcmp(parent->footer.uuid, child->header.parent_uuid, 16) == 0)
    return 0;
  code = lv_fail(err, LVHD_VM_E_PARENT_CHILD_ID_MISMATCH, LV_R_PARENT_ID);
  if (err) {
    err->has |= LVHD_HAS_UUIDS;
    memcpy(err->expected_uuid, child->header.parent_uuid, 16);
    memcpy(err->actual_uuid, parent->footer.uuid, 16);
  }
  return code;
}

/* A volume that cannot have such a name does not have it. */
static int as_missing(int code, struct lvhd_error *err) {
  if (code != 0 && (err->errnum == EINVAL || err->errnum == EILSEQ))
    return lv_fail(err, LVHD_E_PATH_NOT_FOUND, LV_R_FILE_MISSING);
  return code;
}

static int open_at(struct lv_image *parent, struct lv_env *env,
                   const struct lv_root *root, const char *rest,
                   struct lvhd_error *err) {
  struct lv_file file = LV_FILE_INIT;
  char *path = NULL;
  int code =
    as_missing(lv_root_open(&file, env, root, rest, err), err);
  if (code != 0)
    return code;
  path = lv_root_path(root, rest);
  if (path == NULL) {
    lv_file_close(&file, env);
    return no_memory(err);
  }
  code = lv_image_adopt(parent, env, &file, path, err);
  free(path);
  return code;
}

/* As it stands, beneath any root. */
static int try_exactly(struct lv_image *parent, struct lv_env *env,
                       const struct lv_policy *policy, const char *path,
                       struct lvhd_error *err) {
  int code = lv_fail(err, LVHD_E_ACCESSDENIED, LV_R_PARENT_OUTSIDE);
  for (size_t i = 0; code != 0 && i < policy->count; i++) {
    const char *rest = lv_root_rest(&policy->roots[i], path);
    if (rest != NULL)
      code = open_at(parent, env, &policy->roots[i], rest, err);
  }
  return code;
}

/* Beneath the drives, as Windows compares names.  The name is no more to be
 * trusted than before: what it is called on the host is opened beneath the
 * same root. */
static int try_any_case(struct lv_image *parent, struct lv_env *env,
                        const struct lv_policy *policy, const char *path,
                        struct lvhd_error *err) {
  int code = LVHD_E_PATH_NOT_FOUND;
  for (size_t i = 0; is_missing(code) && i < policy->count; i++) {
    const struct lv_root *root = &policy->roots[i];
    const char *rest = policy->drives[i] ? lv_root_rest(root, path) : NULL;
    char *match = NULL;
    if (rest == NULL)
      continue;
    code = as_missing(lv_root_match(&match, env, root, rest, err), err);
    if (code == 0)
      code = open_at(parent, env, root, match, err);
    free(match);
  }
  return code;
}

static int try_name(struct lv_image *parent, const struct lv_image *child,
                    struct lv_env *env, const struct lv_policy *policy,
                    const struct name *name, struct lvhd_error *err) {
  int code = try_exactly(parent, env, policy, name->path, err);
  if (is_missing(code) && name->any_case)
    code = try_any_case(parent, env, policy, name->path, err);
  if (code == 0) {
    code = lv_parent_check(parent, child, err);
    if (code != 0)
      lv_image_close(parent, env);
  }
  if (code != 0)
    lv_error_parent(err, name->path);
  return code;
}

static void keep_best(struct lvhd_error *best, struct lvhd_error *why) {
  if (worth(why->code) > worth(best->code) || best->code == 0) {
    lvhd_error_clear(best);
    *best = *why;
    *why = (struct lvhd_error)LVHD_ERROR_INIT;
  }
  lvhd_error_clear(why);
}

static int try_names(struct lv_image *parent, const struct lv_image *child,
                     struct lv_env *env, const struct lv_policy *policy,
                     const struct names *names, struct lv_found *found,
                     struct lvhd_error *best) {
  struct lvhd_error why = LVHD_ERROR_INIT;
  for (int rank = RELATIVE; rank <= NAME; rank++) {
    for (size_t i = 0; i < names->count; i++) {
      const struct name *name = &names->items[i];
      int code = 0;
      if ((int)name->rank != rank)
        continue;
      code = try_name(parent, child, env, policy, name, &why);
      if (code == 0) {
        found->how = rank == NAME ? LVHD_FOUND_NAME : LVHD_FOUND_LOCATOR;
        memcpy(found->code, name->code, sizeof found->code);
        return 0;
      }
      keep_best(best, &why);
      if (worth(code) == WORTH_MOST)
        return code;
    }
  }
  return best->code;
}

/* Nothing is there, or nothing was recorded. */
static int fail_missing(struct lvhd_error *best) {
  char *parent = best->parent;
  best->parent = NULL;
  lv_fail(best, LVHD_VM_E_PARENT_PATH_NOT_FOUND, LV_R_PARENT_MISSING);
  best->parent = parent;
  return best->code;
}

int lv_parent_open(struct lv_image *parent, const struct lv_image *child,
                   struct lv_env *env, const struct lv_policy *policy,
                   struct lv_found *found, struct lvhd_error *err) {
  struct lvhd_error best = LVHD_ERROR_INIT;
  struct names names = {0};
  char *folder = lv_path_folder(child->path);
  int code = folder ? 0 : no_memory(&best);
  *parent = (struct lv_image)LV_IMAGE_INIT;
  names.folder = folder;
  names.policy = policy;
  if (code == 0)
    code = collect(&names, child, env, &best);
  if (code == 0)
    code = try_names(parent, child, env, policy, &names, found, &best);
  if (parent->path == NULL && (code == 0 || is_missing(code)))
    code = fail_missing(&best);
  if (code != 0) {
    best.has |= LVHD_AT_PARENT;
    lv_error_path(&best, child->path);
  }
  if (code != 0)
    lv_error_give(err, &best);
  else
    lvhd_error_clear(&best);
  free_names(&names);
  free(folder);
  return code;
}

void lv_parent_time(const struct lv_image *parent,
                    const struct lv_image *child, struct lv_findings *list) {
  uint32_t then = child->header.parent_timestamp;
  uint32_t now = lv_image_time(parent, child->footer.uuid, then);
  if (now != then)
    lv_finding(list, LVHD_WARNING, LV_R_PARENT_TIME,
               LVHD_HAS_EXPECTED | LVHD_HAS_ACTUAL,
               (uint64_t)((int64_t)then + LV_EPOCH),
               (uint64_t)((int64_t)now + LV_EPOCH), 0);
}
