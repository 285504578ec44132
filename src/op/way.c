/* SPDX-License-Identifier: MIT
 *
 * The way from a child to its parent, in two namespaces: the host's, and the
 * one of the drive map.
 *
 * MacX and the name field are the host's.  W2ru is read by both: the host's
 * text is Windows' too wherever one mapped folder holds child and parent, for
 * the way between two places below a folder never climbs above it, and names
 * below it are the same in both.  That is so for any folder that holds both,
 * "/" too; but a mapped folder that lies in another one gives a child two
 * names in Windows.  From the nearer one ".." does not lead out, it stays at
 * the root of the drive.  So the way must lie below the mapped folder that is
 * the nearest to the child: then it is right by every name that it has.
 */
#include "op/way.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/winpath.h"
#include "io/drives.h"

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

static int check_words(const char *text, struct lvhd_error *err) {
  size_t n = strlen(text);
  int code = lv_winpath_check(text, n, err);
  if (code == 0 && n == 0)
    code = lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_EMPTY);
  if (code == 0 && !lv_winpath_is(text, n))
    code = lv_fail(err, LVHD_E_BAD_PATHNAME, LV_R_PATH_RELATIVE);
  return code;
}

int lv_way_words(char **windows, struct lvhd_error *err) {
  char *plain = NULL;
  int code = 0;
  if (*windows == NULL)
    return 0;
  code = check_words(*windows, err);
  if (code == 0) {
    plain = lv_winpath_join(NULL, *windows);
    if (plain == NULL)
      code = no_memory(err);
    else if (lv_winpath_is_folder(*windows) || lv_winpath_name(plain)[0] == '\0')
      code = lv_fail(err, LVHD_E_INVALID_NAME, LV_R_NAME_IS_FOLDER);
  }
  if (code != 0) {
    lv_error_parent(err, *windows);
    if (err)
      err->has |= LVHD_AT_PARENT;
    free(plain);
    return code;
  }
  free(*windows);
  *windows = plain;
  return 0;
}

/* How often the way goes up before it goes down. */
static size_t climbs(const char *relative) {
  size_t n = 0;
  for (; strncmp(relative, "../", 3) == 0; relative += 3)
    n++;
  return n;
}

/* How many names lie below the root of a folder's plain Windows path. */
static size_t depth(const char *windows) {
  const char *at = windows + lv_winpath_root(windows);
  size_t n = 0;
  for (; *at; at++)
    n += at[0] == '\\' && at[1] != '\0';
  return n;
}

/* The way leads out of the mapped folder that is the nearest to the child.  A
 * folder that has no name in Windows cannot tell, and nobody asks for it. */
static int leaves_nearest(bool *out, struct lv_env *env, const char *folder,
                          const char *relative, struct lvhd_error *err) {
  char *windows = NULL;
  int code = 0;
  *out = false;
  if (climbs(relative) == 0)
    return 0;
  code = lv_drives_call(&windows, env, folder, NULL, err);
  *out = windows && climbs(relative) > depth(windows);
  free(windows);
  return code;
}

static int find_windows(struct lv_way *way, struct lv_env *env,
                        const char *folder, const char *parent,
                        struct lvhd_error *err) {
  enum lv_relation relation = LV_NOT_BOTH;
  int code = lv_drives_relation(&relation, env, folder, parent, err);
  way->no_relative = relation == LV_TWO_ROOTS;
  if (code == 0 && relation == LV_ONE_ROOT)
    code = leaves_nearest(&way->no_relative, env, folder, way->relative, err);
  if (code == 0 && way->windows == NULL)
    code = lv_drives_call(&way->windows, env, parent, &way->unnamable, err);
  return code;
}

int lv_way_find(struct lv_way *way, struct lv_env *env, const char *folder,
                const char *parent, const char *windows,
                struct lvhd_error *err) {
  int code = 0;
  way->relative = lv_path_relative(folder, parent);
  way->windows = windows ? strdup(windows) : NULL;
  if (way->relative == NULL || (windows && way->windows == NULL))
    code = no_memory(err);
  if (code == 0 && lv_drives_count(env) > 0)
    code = find_windows(way, env, folder, parent, err);
  if (code != 0)
    lv_way_clear(way);
  return code;
}

void lv_way_clear(struct lv_way *way) {
  free(way->relative);
  free(way->windows);
  *way = (struct lv_way){0};
}
