/* SPDX-License-Identifier: MIT
 *
 * Paths as text.  Opens nothing.
 */
#include "base/path.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf.h"

static bool has_drive(const char *text, size_t n) {
  return n >= 2 && text[1] == ':' &&
         ((text[0] >= 'A' && text[0] <= 'Z') ||
          (text[0] >= 'a' && text[0] <= 'z'));
}

static bool is_forbidden(uint8_t c, bool host_names) {
  if (c < 0x20 || c == 0x7F)
    return true;
  return !host_names && strchr("*?:<>|\"", c) != NULL;
}

int lv_path_check(const char *text, size_t n, bool host_names,
                  struct lvhd_error *err) {
  size_t valid, i;

  if (n == 0)
    return LVHD_S_OK;
  if (!host_names) {
    const char *backslash = memchr(text, '\\', n);
    if (has_drive(text, n))
      return lv_fail(err, LVHD_E_PATH_NOT_FOUND, LV_R_NO_SUCH_DRIVE);
    if (backslash != NULL)
      return lv_fail_at(err, LVHD_E_INVALID_NAME, LV_R_BACKSLASH,
                        (size_t)(backslash - text));
  }
  valid = lv_utf8_check(text, n);
  for (i = 0; i < valid; i++) {
    if (!is_forbidden((uint8_t)text[i], host_names))
      continue;
    lv_fail_at(err, LVHD_E_INVALID_NAME, LV_R_CHARACTER_FORBIDDEN, i);
    if (err != NULL) {
      err->has |= LVHD_HAS_ACTUAL;
      err->actual = (uint8_t)text[i];
    }
    return LVHD_E_INVALID_NAME;
  }
  if (valid < n)
    return lv_fail_at(err, LVHD_E_INVALID_NAME, LV_R_NOT_UTF8, valid);
  return LVHD_S_OK;
}

int lv_path_length(const char *text, bool long_paths,
                   struct lvhd_error *err) {
  size_t n = strlen(text);
  size_t limit = long_paths ? PATH_MAX : LV_PATH_UNITS;
  size_t length;

  /* Never more units than bytes. */
  if (n < limit)
    return LVHD_S_OK;
  length = long_paths ? n : lv_utf16_units(text, n);
  if (length < limit)
    return LVHD_S_OK;
  return lv_fail_range(err, LVHD_E_BUFFER_OVERFLOW, LV_R_PATH_TOO_LONG,
                       limit - 1, length);
}

char *lv_path_join(const char *folder, const char *name) {
  size_t f = strlen(folder), n = strlen(name);
  char *path;

  if (f == 0 || name[0] == '/')
    return strdup(name);
  while (f > 0 && folder[f - 1] == '/')
    f--;
  path = malloc(f + n + 2);
  if (path == NULL)
    return NULL;
  memcpy(path, folder, f);
  path[f] = '/';
  memcpy(path + f + 1, name, n + 1);
  return path;
}

const char *lv_path_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash != NULL ? slash + 1 : path;
}

char *lv_path_folder(const char *path) {
  size_t n = (size_t)(lv_path_name(path) - path);

  if (n == 0)
    return strdup("");
  while (n > 1 && path[n - 1] == '/')
    n--;
  return strndup(path, n);
}

char *lv_path_relative(const char *folder, const char *file) {
  const char *name = lv_path_name(file);
  size_t common = 0, up = 0, i, rest;
  char *way, *at;

  /* common: past the slash behind the last component both have.  A folder
   * ends as if a slash followed; the file's own name is never shared. */
  for (i = 0; file + i < name; i++) {
    char c = folder[i] != '\0' ? folder[i] : '/';
    if (file[i] != c)
      break;
    if (c == '/')
      common = i + 1;
    if (folder[i] == '\0')
      break;
  }
  /* One step up for each component of the folder that is left. */
  for (i = 0; common > 0 && folder[common - 1] != '\0' &&
              folder[common + i] != '\0'; i++)
    if (folder[common + i] != '/' &&
        (folder[common + i + 1] == '/' || folder[common + i + 1] == '\0'))
      up++;
  rest = strlen(file + common);
  way = malloc(up * 3 + rest + 1);
  if (way == NULL)
    return NULL;
  for (at = way; up > 0; up--, at += 3)
    memcpy(at, "../", 3);
  memcpy(at, file + common, rest + 1);
  return way;
}

bool lv_path_is_plain(const char *path) {
  const char *at = path;
  if (*at != '/')
    return false;
  while (*at == '/') {
    size_t n = strcspn(++at, "/");
    if (n == 0)
      return at == path + 1 && *at == '\0'; /* the root */
    if ((n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
      return false;
    at += n;
  }
  return true;
}

static size_t without_last(const char *path, size_t n) {
  while (n > 0 && path[n - 1] != '/')
    n--;
  return n > 0 ? n - 1 : 0;
}

char *lv_path_resolve(const char *folder, const char *path) {
  size_t n = path[0] == '/' ? 0 : strlen(folder);
  char *out = malloc(n + strlen(path) + 2);
  if (out == NULL)
    return NULL;
  memcpy(out, folder, n);
  if (n == 1) /* the root */
    n = 0;
  while (*path != '\0') {
    size_t m = strcspn(path, "/");
    if (m == 2 && path[0] == '.' && path[1] == '.') {
      n = without_last(out, n);
    } else if (m != 0 && !(m == 1 && path[0] == '.')) {
      out[n++] = '/';
      memcpy(out + n, path, m);
      n += m;
    }
    path += m + (path[m] == '/');
  }
  if (n == 0)
    out[n++] = '/';
  out[n] = '\0';
  return out;
}
