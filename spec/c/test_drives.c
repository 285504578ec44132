/* SPDX-License-Identifier: MIT
 *
 * Windows paths while memory runs out: each allocation fails in turn, and all
 * from there on.  The answer is right or E_OUTOFMEMORY; nothing is held, no
 * descriptor is open, no new file is left.  In a real folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "folder.h"
#include "lvhd.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t many, size_t n);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t to, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t many, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t to, size_t n);
void __wrap_free(void *p);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);

/* ---- memory ---------------------------------------------------------- */

/* All of it is one thread's. */
static long held;
static unsigned fail_at, allocations;
static bool for_good;

static bool is_poor(void) {
  unsigned n = fail_at == 0 ? 0 : ++allocations;
  return fail_at != 0 && (n == fail_at || (n > fail_at && for_good));
}

static void *count(void *p) {
  held += p != NULL;
  return p;
}

void *__wrap_malloc(size_t n) {
  return is_poor() ? NULL : count(__real_malloc(n));
}

void *__wrap_calloc(size_t many, size_t n) {
  return is_poor() ? NULL : count(__real_calloc(many, n));
}

void *__wrap_realloc(void *p, size_t n) {
  void *got = is_poor() ? NULL : __real_realloc(p, n);
  held += p == NULL && got != NULL;
  return got;
}

void *__wrap_aligned_alloc(size_t to, size_t n) {
  return is_poor() ? NULL : count(__real_aligned_alloc(to, n));
}

void __wrap_free(void *p) {
  held -= p != NULL;
  __real_free(p);
}

char *__wrap_strndup(const char *text, size_t n) {
  size_t m = strnlen(text, n);
  char *copy = __wrap_malloc(m + 1);
  if (copy != NULL) {
    memcpy(copy, text, m);
    copy[m] = '\0';
  }
  return copy;
}

char *__wrap_strdup(const char *text) {
  return __wrap_strndup(text, strlen(text));
}

/* ---- the folder ------------------------------------------------------ */

static char root[] = "/tmp/lvhd-drives.XXXXXX";
static char path[256];
static struct lvhd_drive drives[] = {{"C", root}, {"\\\\nas\\golden", "/"}};
static const struct lvhd_engine_options options = {
  .threads = 1, .drives = drives, .drive_count = 2};

static const char *at(const char *name) {
  snprintf(path, sizeof path, "%s/%s", root, name);
  return path;
}

/* ---- what is asked --------------------------------------------------- */

static int ask_host(lvhd_engine *engine, struct lvhd_error *err) {
  char *out = NULL;
  int code = lvhd_host_path(engine, "C:\\LINK\\BASE.vhd", &out, err);
  if (code == 0)
    CHECK_STR(out, at("Vms/Base.vhd"));
  lvhd_string_free(out);
  return code;
}

static int ask_windows(lvhd_engine *engine, struct lvhd_error *err) {
  char *out = NULL;
  int code = lvhd_windows_path(engine, at("link/new.vhd"), &out, err);
  if (code == 0)
    CHECK_STR(out, "C:\\Vms\\new.vhd");
  lvhd_string_free(out);
  return code;
}

static int ask_info(lvhd_engine *engine, struct lvhd_error *err) {
  lvhd_infos *infos = NULL;
  int code = lvhd_read_info(engine, "C:\\link\\base.VHD", &infos, err);
  if (code == 0) {
    CHECK_STR(lvhd_infos_at(infos, 0)->path, at("Vms/Base.vhd"));
    lvhd_infos_free(infos);
  }
  return code;
}

/* Two names that differ in case: the error has both, as far as there is
 * memory for them. */
static int ask_twin(lvhd_engine *engine, struct lvhd_error *err) {
  lvhd_infos *infos = NULL;
  int code = lvhd_read_info(engine, "C:\\twin", &infos, err);
  CHECK(code != 0);
  if (code == LVHD_E_INVALID_NAME)
    code = 0;
  return code;
}

static int ask_new(lvhd_engine *engine, struct lvhd_error *err) {
  lvhd_task *task = NULL;
  int code = lvhd_create_dynamic(engine, "D:\\x.vhd", 4 << 20, NULL, &task,
                                 err);
  CHECK(code != 0 && task == NULL);
  if (code != LVHD_E_PATH_NOT_FOUND)
    return code;
  lvhd_error_clear(err);
  code = lvhd_create_differencing(engine, "C:\\VMS\\base.vhd",
                                  "..\\link\\BASE.vhd", NULL, &task, err);
  CHECK(code != 0 && task == NULL);
  return code == LVHD_E_ALREADY_EXISTS ? 0 : code;
}

static int ask_engine(lvhd_engine *engine, struct lvhd_error *err) {
  lvhd_engine *own = NULL;
  int code = lvhd_engine_new(&own, &options, err);
  (void)engine;
  if (code == 0)
    lvhd_engine_free(own, true);
  return code;
}

typedef int ask_fn(lvhd_engine *engine, struct lvhd_error *err);

static void look(const char *name, ask_fn *ask, lvhd_engine *engine) {
  for (unsigned good = 0; good < 2; good++) {
    unsigned k = 0, poor = 0;
    do {
      struct lvhd_error err = LVHD_ERROR_INIT;
      long before = held, open = descriptors();
      int code = 0;
      for_good = good != 0;
      allocations = 0;
      fail_at = ++k;
      code = ask(engine, &err);
      fail_at = 0;
      lvhd_error_clear(&err);
      poor += code != 0;
      if (!CHECK(code == 0 || code == LVHD_E_OUTOFMEMORY) ||
          !CHECK(held == before) || !CHECK(descriptors() == open))
        fprintf(stderr, "  %s, allocation %u%s: 0x%X, %ld held\n", name, k,
                good ? " and on" : "", (unsigned)code, held - before);
    } while (allocations >= k);
    CHECK(poor > 2);
  }
}

/* ---- all of it ------------------------------------------------------- */

static void furnish(lvhd_engine **engine) {
  lvhd_task *task = NULL;
  CHECK(mkdtemp(root) != NULL);
  CHECK_INT(mkdir(at("Vms"), 0777), 0);
  CHECK_INT(symlink("Vms", at("link")), 0);
  fclose(fopen(at("Twin"), "w"));
  fclose(fopen(at("TWIN"), "w"));
  CHECK_INT(lvhd_engine_new(engine, &options, NULL), 0);
  CHECK_INT(lvhd_create_dynamic(*engine, "C:\\vms\\Base.vhd", 4 << 20, NULL,
                                &task, NULL), 0);
  lvhd_engine_close(*engine, false);
  lvhd_task_free(task);
  lvhd_engine_free(*engine, false);
  CHECK_INT(lvhd_engine_new(engine, &options, NULL), 0);
}

/* What a C program may forget. */
static void refuse_null(void) {
  struct lvhd_drive nameless = {.folder = "/"}, homeless = {.name = "C"};
  struct lvhd_engine_options wrong = {.drives = &nameless, .drive_count = 1};
  struct lvhd_error err = LVHD_ERROR_INIT;
  lvhd_engine *engine = NULL;
  CHECK_INT(lvhd_engine_new(&engine, &wrong, &err), LVHD_E_POINTER);
  lvhd_error_clear(&err);
  wrong.drives = &homeless;
  CHECK_INT(lvhd_engine_new(&engine, &wrong, &err), LVHD_E_POINTER);
  lvhd_error_clear(&err);
}

int main(void) {
  static const char *const names[] = {"Vms/Base.vhd", "Twin", "TWIN", "link",
                                      "Vms"};
  lvhd_engine *engine = NULL;
  refuse_null();
  furnish(&engine);
  look("engine", ask_engine, engine);
  look("host_path", ask_host, engine);
  look("windows_path", ask_windows, engine);
  look("info", ask_info, engine);
  look("a twin", ask_twin, engine);
  look("a new file", ask_new, engine);
  lvhd_engine_free(engine, false);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    CHECK_INT(remove(at(names[i])), 0);
  CHECK_INT(rmdir(root), 0);
  return check_done();
}
