/* SPDX-License-Identifier: MIT
 *
 * Unit tests of what changing stands on: overlays against a plain array, and
 * notes that are written, read back, and damaged in every byte.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "image/journal.h"
#include "io/folder.h"

static unsigned seed = 11;

static unsigned next(unsigned below) {
  seed = seed * 1103515245u + 12345u;
  return seed / 65536 % below;
}

/* ---- overlays -------------------------------------------------------- */

#define SPACE 8192u
#define UNIT 64u

static void test_overlay(void) {
  struct lv_overlay overlay = {0};
  uint8_t model[SPACE], base[SPACE], got[SPACE], *out = NULL;
  bool same = true;
  for (unsigned i = 0; i < SPACE; i++)
    model[i] = base[i] = (uint8_t)next(256);
  for (unsigned round = 0; round < 2000; round++) {
    uint8_t bytes[UNIT];
    unsigned at = next(SPACE / UNIT) * UNIT;
    for (unsigned i = 0; i < UNIT; i++)
      bytes[i] = (uint8_t)next(256);
    CHECK_INT(lv_overlay_put(&overlay, at, bytes, UNIT, &out, NULL), 0);
    memcpy(model + at, bytes, UNIT);
    same = same && lv_overlay_find(&overlay, at) == out &&
           memcmp(out, bytes, UNIT) == 0;
    unsigned from = next(SPACE), n = next(SPACE - from) + 1;
    memcpy(got, base + from, n);
    lv_overlay_apply(&overlay, got, n, from);
    same = same && memcmp(got, model + from, n) == 0;
  }
  CHECK(same);
  CHECK(lv_overlay_find(&overlay, 1) == NULL);
  CHECK(overlay.count <= SPACE / UNIT);
  CHECK_INT(overlay.bytes, overlay.count * UNIT);
  lv_overlay_clear(&overlay);
  CHECK_INT(overlay.count, 0);
}

/* ---- notes ----------------------------------------------------------- */

static char folder[64];

static const char *path_of(const char *name) {
  static char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void fill(struct lv_journal *j) {
  uint8_t bytes[1024];
  *j = (struct lv_journal){.verb = LV_JOURNAL_RESIZE,
                           .mtime = {1700000000, 123456789},
                           .length = 4096,
                           .done = 2048};
  for (unsigned i = 0; i < 16; i++) {
    j->uuid[i] = (uint8_t)(i + 1);
    j->other[i] = (uint8_t)(200 - i);
  }
  for (unsigned i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)next(256);
  CHECK_INT(lv_overlay_put(&j->old, 3584, bytes, 512, NULL, NULL), 0);
  CHECK_INT(lv_overlay_put(&j->old, 512, bytes, 1024, NULL, NULL), 0);
}

static bool equal(const struct lv_journal *a, const struct lv_journal *b) {
  bool same = a->verb == b->verb && memcmp(a->uuid, b->uuid, 16) == 0 &&
              memcmp(a->other, b->other, 16) == 0 &&
              a->mtime.tv_sec == b->mtime.tv_sec &&
              a->mtime.tv_nsec == b->mtime.tv_nsec &&
              a->length == b->length && a->done == b->done &&
              a->old.count == b->old.count;
  for (size_t i = 0; same && i < a->old.count; i++)
    same = a->old.items[i].at == b->old.items[i].at &&
           a->old.items[i].length == b->old.items[i].length &&
           memcmp(a->old.items[i].bytes, b->old.items[i].bytes,
                  a->old.items[i].length) == 0;
  return same;
}

static enum lv_journal_state look(struct lv_journal *j, struct lv_env *env,
                                  const struct lv_file *image,
                                  const char *path, const uint8_t *uuid) {
  enum lv_journal_state state = LV_JOURNAL_NONE;
  CHECK_INT(lv_journal_look(j, &state, env, image, path, uuid, NULL), 0);
  return state;
}

/* Any byte changed, or the end cut off: no note of ours any more. */
static void damage(struct lv_env *env, const struct lv_file *image,
                   const char *path, const char *note) {
  uint8_t bytes[4096];
  struct lv_journal j;
  unsigned good = 0;
  FILE *f = fopen(note, "r+b");
  size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
  CHECK(n > 1500 && n < sizeof bytes);
  for (size_t i = 0; f && i < n; i++) {
    fseek(f, (long)i, SEEK_SET);
    fputc(bytes[i] ^ 0x10, f);
    fflush(f);
    good += look(&j, env, image, path, NULL) != LV_JOURNAL_FOREIGN;
    fseek(f, (long)i, SEEK_SET);
    fputc(bytes[i], f);
    fflush(f);
  }
  CHECK(look(&j, env, image, path, NULL) == LV_JOURNAL_GOOD);
  lv_journal_free(&j);
  for (size_t cut = n; f && cut-- > 0;) {
    CHECK_INT(ftruncate(fileno(f), (off_t)cut), 0);
    good += look(&j, env, image, path, NULL) != LV_JOURNAL_FOREIGN;
  }
  CHECK_INT(good, 0);
  if (f)
    fclose(f);
}

static void test_note(const char *name, const char *note) {
  struct lv_env env;
  struct lv_file image = LV_FILE_INIT;
  struct lv_journal j, got;
  struct lv_folder beside, none;
  uint8_t other[16] = {0};
  char path[512], at[512];
  FILE *f = fopen(path_of(name), "wb");
  CHECK(f != NULL);
  if (f)
    fclose(f);
  snprintf(path, sizeof path, "%s", path_of(name));
  snprintf(at, sizeof at, "%s", path_of(note));
  lv_env_init(&env, NULL);
  CHECK_INT(lv_file_open(&image, &env, path, NULL), 0);
  fill(&j);
  CHECK(look(&got, &env, &image, path, j.uuid) == LV_JOURNAL_NONE);
  CHECK_INT(lv_journal_write(&j, &env, &image, path, true, &beside, NULL), 0);
  CHECK_INT(access(at, F_OK), 0);
  CHECK(look(&got, &env, &image, path, j.uuid) == LV_JOURNAL_GOOD);
  CHECK(equal(&j, &got));
  lv_journal_free(&got);
  /* there is one: it is never replaced */
  CHECK_INT(lv_journal_write(&j, &env, &image, path, false, &none, NULL),
            LVHD_VM_E_HD_IMAGE_ACCESS);
  if (strlen(name) < 100)
    damage(&env, &image, path, at);
  else /* found by the identifier alone */
    CHECK(look(&got, &env, &image, path, other) == LV_JOURNAL_NONE);
  /* by its folder, or by the path */
  CHECK_INT(lv_journal_remove(&j, &env, &image, path, true,
                              strlen(name) < 100 ? &beside : NULL, NULL), 0);
  lv_folder_close(&beside, &env);
  CHECK(access(at, F_OK) != 0);
  lv_journal_free(&j);
  lv_file_close(&image, &env);
  unlink(path);
}

int main(void) {
  char name[256];
  const char *tmp = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%.30s/lvhd-XXXXXX", tmp ? tmp : "/tmp");
  if (mkdtemp(folder) == NULL)
    return 1;
  test_overlay();
  test_note("disk.vhd", ".disk.vhd.lvhd-journal");
  memset(name, 'n', 250);
  name[250] = '\0';
  test_note(name,
            ".lvhd-journal-01020304-0506-0708-090a-0b0c0d0e0f10");
  CHECK_INT(rmdir(folder), 0);
  return check_done();
}
