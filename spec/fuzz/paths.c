/* SPDX-License-Identifier: MIT
 *
 * Any text as a path: of Windows, of the host, of a new disk.  What must
 * hold: nothing is opened or made outside of the mapped folders by a path of
 * Windows, what is accepted comes back the same, and what is refused leaves
 * nothing.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/utf.h"
#include "base/winpath.h"
#include "examine.h"
#include "forge.h"
#include "targets.h"

#define TEXT_MAX 2048u

/* Codes of paths; nothing here is in use or damaged, and full only of too many
 * folders. */
static bool is_expected(const struct mem *mem, int code) {
  if (mem->changes != NULL && mem->changes->full)
    return code == LVHD_E_DISK_FULL;
  return code == LVHD_E_INVALID_NAME || code == LVHD_E_BAD_PATHNAME ||
         code == LVHD_E_PATH_NOT_FOUND || code == LVHD_E_BUFFER_OVERFLOW ||
         code == LVHD_E_ACCESSDENIED || code == LVHD_E_ALREADY_EXISTS ||
         code == LVHD_VM_E_INVALID_HD_FILE;
}

static void look_at_code(struct exam *exam, const char *of, int code) {
  if (code != 0 && !is_expected(&exam->mem, code))
    exam_wrong(exam, "%s: %s", of, lvhd_code_name(code));
}

/* ---- as text --------------------------------------------------------- */

static bool has_dots(const char *path) {
  size_t n = strlen(path);
  return strncmp(path, "../", 3) == 0 || strstr(path, "/../") != NULL ||
         (n >= 3 && strcmp(path + n - 3, "/..") == 0);
}

/* An accepted path, joined, is taken apart and put together again. */
static void through_parts(struct exam *exam, const char *plain) {
  size_t n = lv_winpath_root(plain);
  char *root = strndup(plain, n);
  char *rest = lv_winpath_rest(plain);
  char *folder = lv_winpath_folder(plain);
  char *back = NULL;
  char *again = NULL;
  struct lvhd_error err = LVHD_ERROR_INIT;
  if (root == NULL || rest == NULL || folder == NULL)
    abort();
  if (lv_winpath_from(&back, root, rest, &err) != 0 || back == NULL ||
      strcmp(back, plain) != 0)
    exam_wrong(exam, "winpath: another path comes back");
  again = lv_winpath_join(folder, lv_winpath_name(plain));
  if (again == NULL || strcmp(again, plain) != 0)
    exam_wrong(exam, "winpath: folder and name are not the path");
  if (has_dots(rest))
    exam_wrong(exam, "winpath: a plain path with \"..\"");
  lvhd_error_clear(&err);
  free(root), free(rest), free(folder), free(back), free(again);
}

static void as_text(struct exam *exam, const char *text, size_t n) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  int code = lv_winpath_check(text, n, &err);
  if (code != 0 && (err.has & LVHD_HAS_OFFSET) != 0 && err.offset > n)
    exam_wrong(exam, "winpath: the offset");
  look_at_code(exam, "winpath", code);
  if (code == 0 && lv_utf8_check(text, n) != n)
    exam_wrong(exam, "winpath: accepted, and no UTF-8");
  if (code == 0) {
    char *plain = lv_winpath_join("C:\\d\\sub", text);
    if (plain == NULL)
      abort();
    if (!lv_winpath_is(plain, strlen(plain)) ||
        lv_winpath_check(plain, strlen(plain), NULL) != 0)
      exam_wrong(exam, "winpath: what is joined is none");
    through_parts(exam, plain);
    free(plain);
  }
  lvhd_error_clear(&err);
}

/* ---- of the engine --------------------------------------------------- */

static bool is_below(const char *path, const char *folder) {
  size_t n = strlen(folder);
  return strncmp(path, folder, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* Where it leads, how that is called, and where that leads. */
static void there_and_back(struct exam *exam, lvhd_engine *engine,
                           const char *text) {
  char *host = NULL;
  char *windows = NULL;
  char *again = NULL;
  int code = lvhd_host_path(engine, text, &host, NULL);
  look_at_code(exam, "host_path", code);
  if (code == 0 && (!is_below(host, "/d") || has_dots(host)))
    exam_wrong(exam, "host_path: out of the drive");
  if (code == 0)
    code = lvhd_windows_path(engine, host, &windows, NULL);
  look_at_code(exam, "windows_path", code);
  if (code == 0 && windows != NULL) {
    if (lvhd_host_path(engine, windows, &again, NULL) != 0 ||
        strcmp(again, host) != 0)
      exam_wrong(exam, "host_path: another one comes back");
  }
  lvhd_string_free(host);
  lvhd_string_free(windows);
  lvhd_string_free(again);
}

static void from_host(struct exam *exam, lvhd_engine *engine,
                      const char *text) {
  char *path = lv_path_join("/", text);
  char *windows = NULL;
  int code = 0;
  if (path == NULL)
    abort();
  code = lvhd_windows_path(engine, path, &windows, NULL);
  look_at_code(exam, "windows_path", code);
  if (windows != NULL && lv_winpath_check(windows, strlen(windows), NULL) != 0)
    exam_wrong(exam, "windows_path: none of Windows");
  lvhd_string_free(windows);
  free(path);
}

static int end_of(lvhd_task *task, int code) {
  const struct lvhd_error *failed = NULL;
  while (code == 0 && !lvhd_task_step(task, 1000, NULL))
    ;
  if (code == 0) {
    failed = lvhd_task_error(task);
    code = failed ? failed->code : 0;
  }
  return code;
}

/* A new disk of that name: it is there, and nothing else; or nothing is. */
static void make_disk(struct exam *exam, lvhd_engine *engine, const char *text,
                      size_t n, bool child) {
  struct mem *mem = &exam->mem;
  struct lvhd_create_options opts = {.image_length = n,
                                     .base = "/d/sub",
                                     .host_names = n % 2 ? LVHD_YES : LVHD_NO};
  lvhd_task *task = NULL;
  bool windows = lv_winpath_is(text, n);
  unsigned made = 0;
  int code = 0;
  mem_writable(mem, exam_changes(exam), 0);
  code = child
             ? lvhd_create_differencing(engine, text, "base.vhd", &opts, &task,
                                        NULL)
             : lvhd_create_dynamic(engine, text, 3 << 20, &opts, &task, NULL);
  code = end_of(task, code);
  look_at_code(exam, "create", code);
  for (size_t i = 0; i < MEM_ADDED; i++) {
    const char *path = mem_made(mem, i);
    made += path != NULL;
    if (path != NULL && windows && !is_below(path, "/d"))
      exam_wrong(exam, "create: it was made outside");
  }
  if ((code == 0) != (made > 0))
    exam_wrong(exam, "create: %u made after %s", made, lvhd_code_name(code));
  if (code == 0 && strlen(text) != n)
    exam_wrong(exam, "create: a NUL was accepted");
  for (unsigned i = 0; i < mem->count; i++)
    if (!mem_unchanged(mem, i))
      exam_wrong(exam, "create: a file was changed");
  lvhd_task_free(task);
  mem_forget(mem);
}

const char *fuzz_paths(struct exam *exam, const uint8_t *bytes, size_t n) {
  static char text[TEXT_MAX + 1];
  unsigned how = n == 0 ? 0 : bytes[0];
  lvhd_engine *engine = NULL;
  size_t length = n == 0 ? 0 : n - 1;
  length = length < TEXT_MAX ? length : TEXT_MAX;
  if (length > 0)
    memcpy(text, bytes + 1, length);
  text[length] = '\0';
  forge_large(&exam->mem, 1);
  forge_file(
      &exam->mem.files[1],
      &(struct forge){.type = 3, .size = 3 << 20, .block = 4096, .id = 2});
  exam->mem.count = 2;
  exam->mem.no_openat2 = (how & 0x80) != 0;
  engine = exam->engines[exam->mem.no_openat2];
  exam->wrong[0] = '\0';
  switch (how % 6) {
  case 0:
    as_text(exam, text, length);
    break;
  case 1:
    look_at_code(exam, "check_path",
                 lvhd_check_path(engine, text, length, NULL));
    break;
  case 2:
    there_and_back(exam, engine, text);
    break;
  case 3:
    from_host(exam, engine, text);
    break;
  default:
    make_disk(exam, engine, text, length, how % 6 == 5);
    break;
  }
  if (exam->mem.trapped != NULL)
    exam_wrong(exam, "path: %s", exam->mem.trapped);
  if (mem_open(&exam->mem) != 0)
    exam_wrong(exam, "path: descriptors left");
  forge_free(&exam->mem);
  return exam->wrong[0] != '\0' ? exam->wrong : NULL;
}
