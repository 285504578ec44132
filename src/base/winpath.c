/* SPDX-License-Identifier: MIT
 *
 * Windows paths as text.  Opens nothing, and knows no drive map.
 */
#include "base/winpath.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf.h"

/* ---- parts of a path --------------------------------------------------- */

static char upper(char c) {
  return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool is_letter(char c) {
  return upper(c) >= 'A' && upper(c) <= 'Z';
}

static bool has_drive(const char *text, size_t n) {
  return n >= 2 && is_letter(text[0]) && text[1] == ':';
}

bool lv_winpath_is(const char *text, size_t n) {
  return has_drive(text, n) ||
         (n >= 2 && text[0] == '\\' && text[1] == '\\');
}

/* Bytes before the next backslash. */
static size_t name_length(const char *text, size_t n) {
  size_t m = 0;

  while (m < n && text[m] != '\\')
    m++;
  return m;
}

/* "." or "..". */
static bool is_dots(const char *name, size_t n) {
  return (n == 1 || n == 2) && name[0] == '.' && name[n - 1] == '.';
}

/* Bytes of the root that a path begins with, "C:" or "\\nas\golden"; 0: with
 * none, or no good one. */
static size_t root_length(const char *text, size_t n) {
  size_t server, share;

  if (has_drive(text, n))
    return n > 2 && text[2] == '\\' ? 2 : 0;
  if (!lv_winpath_is(text, n))
    return 0;
  server = name_length(text + 2, n - 2);
  if (server == 0 || is_dots(text + 2, server) || server + 3 >= n)
    return 0;
  text += server + 3;
  share = name_length(text, n - server - 3);
  return share == 0 || is_dots(text, share) ? 0 : server + 3 + share;
}

/* ---- the rules --------------------------------------------------------- */

static bool is_forbidden(const char *text, size_t n, size_t at) {
  uint8_t c = (uint8_t)text[at];

  if (c == ':')
    return at != 1 || !has_drive(text, n);
  return c < 0x20 || c == 0x7F || strchr("*?<>|\"/", c) != NULL;
}

static int check_characters(const char *text, size_t n,
                            struct lvhd_error *err) {
  size_t valid = lv_utf8_check(text, n), i;

  for (i = 0; i < valid; i++) {
    if (!is_forbidden(text, n, i))
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

/* But for the case of ASCII; word is in upper case. */
static bool is_word(const char *text, size_t n, const char *word) {
  size_t i;

  for (i = 0; i < n && word[i] != '\0'; i++)
    if (upper(text[i]) != word[i])
      return false;
  return i == n && word[i] == '\0';
}

/* A digit, or one of the superscripts of ISO 8859-1. */
static bool is_port(const char *text, size_t n) {
  if (n == 1)
    return text[0] >= '0' && text[0] <= '9';
  return n == 2 && (memcmp(text, "\xC2\xB9", 2) == 0 ||
                    memcmp(text, "\xC2\xB2", 2) == 0 ||
                    memcmp(text, "\xC2\xB3", 2) == 0);
}

static bool is_reserved(const char *name, size_t n) {
  static const char *const words[] = {"CON", "PRN", "AUX", "NUL", "CONIN$",
                                      "CONOUT$"};
  const char *dot = n > 0 ? memchr(name, '.', n) : NULL;

  /* Windows takes "NUL .txt" for the device as well. */
  if (dot != NULL)
    n = (size_t)(dot - name);
  while (n > 0 && name[n - 1] == ' ')
    n--;
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (is_word(name, n, words[i]))
      return true;
  return n > 3 && (is_word(name, 3, "COM") || is_word(name, 3, "LPT")) &&
         is_port(name + 3, n - 3);
}

/* The names from `at` on; those before `root` are a server and a share. */
static int check_names(const char *text, size_t n, size_t at, size_t root,
                       struct lvhd_error *err) {
  while (at < n) {
    const char *name = text + at;
    size_t m = name_length(name, n - at);
    if (at >= root && is_reserved(name, m))
      return lv_fail_at(err, LVHD_E_INVALID_NAME, LV_R_NAME_RESERVED, at);
    if (m > 0 && (name[m - 1] == '.' || name[m - 1] == ' ') &&
        !is_dots(name, m))
      return lv_fail_at(err, LVHD_E_INVALID_NAME, LV_R_NAME_ENDING,
                        at + m - 1);
    at += m + 1;
  }
  return LVHD_S_OK;
}

/* \\?\ and \\.\ */
static bool is_device(const char *text, size_t n) {
  return n >= 4 && (memcmp(text, "\\\\?\\", 4) == 0 ||
                    memcmp(text, "\\\\.\\", 4) == 0);
}

int lv_winpath_check(const char *text, size_t n, struct lvhd_error *err) {
  bool absolute = lv_winpath_is(text, n);
  size_t root = root_length(text, n);
  int code;

  if (n == 0)
    return LVHD_S_OK;
  if (is_device(text, n))
    return lv_fail_at(err, LVHD_E_INVALID_NAME, LV_R_WINDOWS_FORM, 0);
  code = check_characters(text, n, err);
  if (code != LVHD_S_OK)
    return code;
  if (absolute ? root == 0 : text[0] == '\\')
    return lv_fail_at(err, LVHD_E_INVALID_NAME, LV_R_WINDOWS_FORM, 0);
  return check_names(text, n, absolute ? 2 : 0, root, err);
}

/* ---- making paths ------------------------------------------------------ */

/* Adds names to the n bytes of out, of which the first `root` are its root: a
 * backslash and the name each.  Returns the new length. */
static size_t add_names(char *out, size_t root, size_t n, const char *names) {
  while (*names != '\0') {
    size_t m = strcspn(names, "\\");
    if (m == 2 && is_dots(names, m)) {
      while (n > root && out[--n] != '\\')
        ;
    } else if (m > 0 && !is_dots(names, m)) {
      out[n++] = '\\';
      memcpy(out + n, names, m);
      n += m;
    }
    names += m + (names[m] == '\\');
  }
  return n;
}

char *lv_winpath_join(const char *folder, const char *path) {
  bool absolute = lv_winpath_is(path, strlen(path));
  const char *start = absolute ? path : folder;
  size_t length = strlen(start), root = root_length(start, length), n;
  /* Two more: a backslash between or behind, and the NUL. */
  char *out = malloc(length + (absolute ? 0 : strlen(path)) + 2);

  if (out == NULL)
    return NULL;
  memcpy(out, start, root);
  out[0] = upper(out[0]);
  n = add_names(out, root, root, start + root);
  if (!absolute)
    n = add_names(out, root, n, path);
  if (n == root)
    out[n++] = '\\';
  out[n] = '\0';
  return out;
}

int lv_winpath_from(char **out, const char *root, const char *rest,
                    struct lvhd_error *err) {
  size_t r = strlen(root), n = strlen(rest);
  char *at;

  *out = NULL;
  if (strchr(rest, '\\') != NULL)
    return LVHD_S_OK;
  *out = malloc(r + n + 2);
  if (*out == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  memcpy(*out, root, r);
  (*out)[r] = '\\';
  memcpy(*out + r + 1, rest, n + 1);
  for (at = *out + r; *at != '\0'; at++)
    if (*at == '/')
      *at = '\\';
  if (lv_winpath_check(*out, r + 1 + n, NULL) != LVHD_S_OK) {
    free(*out);
    *out = NULL;
  }
  return LVHD_S_OK;
}

int lv_winpath_drive(char **out, const char *key, struct lvhd_error *err) {
  char drive[] = "C:";
  size_t n = strlen(key), root = 0;

  *out = NULL;
  if (is_letter(key[0]) && (n == 1 || strcmp(key + 1, ":") == 0 ||
                            strcmp(key + 1, ":\\") == 0)) {
    drive[0] = upper(key[0]);
    key = drive;
    root = 2;
  } else if (key[0] == '\\' && lv_winpath_check(key, n, NULL) == LVHD_S_OK) {
    root = root_length(key, n);
    if (root != n && root + 1 != n)
      root = 0;
  }
  if (root == 0)
    return lv_fail(err, LVHD_E_INVALIDARG, LV_R_DRIVE_MALFORMED);
  *out = strndup(key, root);
  return *out != NULL ? LVHD_S_OK
                      : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* ---- taking plain ones apart ------------------------------------------- */

size_t lv_winpath_root(const char *plain) {
  return root_length(plain, strlen(plain));
}

bool lv_winpath_is_folder(const char *path) {
  const char *name = strrchr(path, '\\');
  name = name ? name + 1 : path;
  return name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

char *lv_winpath_rest(const char *plain) {
  char *rest = strdup(plain + lv_winpath_root(plain) + 1), *at;

  for (at = rest; at != NULL && *at != '\0'; at++)
    if (*at == '\\')
      *at = '/';
  return rest;
}

const char *lv_winpath_name(const char *plain) {
  return strrchr(plain, '\\') + 1;
}

char *lv_winpath_folder(const char *plain) {
  size_t root = lv_winpath_root(plain);
  size_t n = (size_t)(lv_winpath_name(plain) - plain) - 1;

  /* The backslash behind a root stays. */
  return strndup(plain, n > root ? n : root + 1);
}
