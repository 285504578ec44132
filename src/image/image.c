/* SPDX-License-Identifier: MIT
 *
 * Opening one image.  Knows no parent; what a locator means is the business
 * of parent.c.
 */
#include "image/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/locators.h"
#include "io/lock.h"

static void measure(struct lv_image *image) {
  uint64_t length = (uint64_t)image->file.st.st_size;
  uint64_t tail = image->where == LVHD_FOOTER_END     ? LV_FOOTER_SIZE
                  : image->where == LVHD_FOOTER_SHORT ? LV_FOOTER_SIZE - 1
                                                      : 0;
  image->data_end = length - tail;
  if (!lv_image_has_table(image))
    return;
  image->blocks =
    lv_block_count(image->footer.current_size, image->header.block_size);
  image->bitmap_size = lv_bitmap_size(image->header.block_size);
}

/* Footer and header, as reading the file shows them now. */
static int look_inside(struct lv_image *image, struct lv_env *env,
                       struct lvhd_error *err) {
  struct lv_probe probe;
  int code = lv_probe_any(&probe, &image->where, &image->file, env, err);
  if (code != 0)
    return code;
  image->footer = probe.footer;
  image->header = probe.header;
  measure(image);
  return 0;
}

/* ---- what an interrupted verb left ----------------------------------- */

/* Seconds that a copy's time may be off: FAT's are even. */
#define LV_TIME_ROUNDED 2

static bool within(const struct lv_patch *piece, uint64_t from,
                   uint64_t length) {
  return piece->at >= from && length >= piece->length &&
         piece->at - from <= length - piece->length;
}

/* The old bytes of a verb belong to structures, never to data. */
static bool may_lie(const struct lv_image *image,
                    const struct lv_journal *note,
                    const struct lv_patch *piece) {
  const struct lv_header *h = &image->header;
  uint64_t table = lv_round_up((uint64_t)h->entries * 4, LV_SECTOR);
  if (note->length >= LV_FOOTER_SIZE &&
      within(piece, note->length - LV_FOOTER_SIZE, LV_FOOTER_SIZE))
    return true;
  if (note->done >= LV_FOOTER_SIZE &&
      within(piece, note->done - LV_FOOTER_SIZE, LV_FOOTER_SIZE))
    return true;
  if (!lv_image_has_table(image))
    return false;
  if (within(piece, 0, LV_FOOTER_SIZE) ||
      within(piece, image->footer.data_offset, LV_HEADER_SIZE) ||
      within(piece, h->table_offset, table))
    return true;
  if (image->footer.data_offset == LV_FOOTER_SIZE &&
      within(piece, 0, LV_FOOTER_SIZE + LV_HEADER_SIZE))
    return true;
  for (unsigned i = 0; i < LV_LOCATORS; i++) {
    const struct lv_locator_entry *e = &h->locators[i];
    if (lv_get_be32(e->code) != 0 &&
        within(piece, e->offset, lv_locator_space(e)))
      return true;
  }
  return false;
}

static bool fits(const struct lv_image *image) {
  const struct lv_overlay *old = image->file.overlay;
  if (memcmp(image->note.uuid, image->footer.uuid, 16) != 0)
    return false;
  for (size_t i = 0; old && i < old->count; i++)
    if (!may_lie(image, &image->note, &old->items[i]))
      return false;
  return true;
}

/* The file reads as it was before the verb: bytes, length and time. */
static int lay_over(struct lv_image *image, struct lv_env *env,
                    struct lvhd_error *err) {
  struct lv_journal *note = &image->note;
  struct stat *st = &image->file.st;
  bool finished = note->done != 0 && note->done < note->length &&
                  (uint64_t)st->st_size == note->done;
  int code = 0;
  if (finished) {
    lv_overlay_clear(&note->old);
    if (note->verb != LV_JOURNAL_RESIZE) /* what is read changed with that */
      st->st_mtim = note->mtime;
    return 0;
  }
  if (note->old.count > 0) {
    code = lv_lock_quiet(&image->file, env, err);
    if (code != 0)
      return code;
    image->file.overlay = malloc(sizeof *image->file.overlay);
    if (image->file.overlay == NULL)
      return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
    *image->file.overlay = note->old;
    note->old = (struct lv_overlay){0};
    if ((uint64_t)st->st_size > note->length)
      st->st_size = (off_t)note->length;
  }
  st->st_mtim = note->mtime;
  return 0;
}

static void take_off(struct lv_image *image, const struct stat *st) {
  if (image->file.overlay)
    lv_overlay_clear(image->file.overlay);
  free(image->file.overlay);
  image->file.overlay = NULL;
  image->file.st = *st;
}

/* A copy was put back: the file is older than the verb found it, by more than a
 * copy rounds times, which were not in the future when the note was made. */
static bool is_older(const struct lv_image *image) {
  int64_t found = image->note.mtime.tv_sec;
  int64_t now = image->file.st.st_mtim.tv_sec;
  return now < found && found <= image->note.noted &&
         (uint64_t)found - (uint64_t)now > LV_TIME_ROUNDED;
}

/* What the note tells of is no more.  The file is longer than the verb ever made
 * it: another program has written to it since. */
static bool is_outlived(const struct lv_image *image) {
  const struct lv_journal *note = &image->note;
  uint64_t most = note->longest ? note->longest : note->length;
  return is_older(image) ||
         (note->verb != LV_JOURNAL_MERGE &&
          (uint64_t)image->file.st.st_size > most);
}

/* A note of another disk, or one that does not fit, changes nothing. */
static int look_beside(struct lv_image *image, struct lv_env *env,
                       const char *path, bool known,
                       struct lvhd_error *why, struct lvhd_error *err) {
  struct stat st = image->file.st;
  int code = 0;
  image->changed = st.st_mtim.tv_sec;
  code =
    lv_journal_look(&image->note, &image->journal, env, &image->file, path,
                    known ? image->footer.uuid : NULL, err);
  if (code != 0 || image->journal != LV_JOURNAL_GOOD)
    return code;
  /* no verb changes the identifier: what the note brings cannot vouch for it
   * where the file itself says another */
  if ((known && memcmp(image->note.uuid, image->footer.uuid, 16) != 0) ||
      is_outlived(image)) {
    lv_journal_free(&image->note);
    image->journal = LV_JOURNAL_FOREIGN;
    return 0;
  }
  code = lay_over(image, env, err);
  if (code != 0)
    return code;
  lvhd_error_clear(why);
  code = look_inside(image, env, why);
  if (code == 0 && fits(image))
    return 0;
  if (why->errnum != 0) /* it could not be read, and may well fit */
    return code;
  take_off(image, &st);
  image->journal = LV_JOURNAL_FOREIGN;
  lvhd_error_clear(why);
  look_inside(image, env, why);
  return 0;
}

/* ---- one look, and another ------------------------------------------- */

static int look(struct lv_image *image, struct lv_env *env, const char *path,
                struct lvhd_error *err) {
  struct lvhd_error why = LVHD_ERROR_INIT;
  int code = 0;
  if (look_inside(image, env, &why) != 0 &&
      why.reason == LV_R_FOOTER_MISSING)
    code = why.code; /* no verb leaves a file without */
  else
    code = look_beside(image, env, path, why.code == 0, &why, err);
  if (why.code != 0 && (code == 0 || code == why.code))
    return lv_error_give(err, &why);
  lvhd_error_clear(&why);
  return code;
}

int lv_image_moved(const struct lv_image *image, const struct lv_env *env,
                   bool *moved, struct lvhd_error *err) {
  const struct timespec *then = &image->file.st.st_ctim;
  struct stat st;
  *moved = false;
  if (env->sys->fstat(env->sys, image->file.fd, &st) != 0)
    return lv_fail_errno(err, LV_STEP_FILE, errno, "fstat");
  *moved = st.st_ctim.tv_sec != then->tv_sec ||
           st.st_ctim.tv_nsec != then->tv_nsec;
  return 0;
}

/* Nothing is kept of the look before. */
static int look_anew(struct lv_image *image, struct lv_env *env,
                     struct lvhd_error *err) {
  struct lv_file file;
  char *path = image->path;
  lv_journal_free(&image->note);
  take_off(image, &image->file.st);
  file = image->file;
  *image = (struct lv_image)LV_IMAGE_INIT;
  image->file = file;
  image->path = path;
  if (env->sys->fstat(env->sys, file.fd, &image->file.st) != 0)
    return lv_fail_errno(err, LV_STEP_FILE, errno, "fstat");
  return look(image, env, path, err);
}

/* What is wrong may be so because the file was changed meanwhile: its end is
 * elsewhere, or its parts are of two times.  A volume's clock may stand still
 * for some milliseconds: one more look at what has just been changed. */
static bool may_be_torn(const struct lv_image *image,
                        const struct lv_env *env, int looks,
                        struct lvhd_error *why) {
  int64_t changed = image->file.st.st_ctim.tv_sec;
  struct lvhd_error lost = LVHD_ERROR_INIT;
  bool moved = false;
  if (why->reason == LV_R_FILE_CUT)
    return true;
  if (why->code != LVHD_VM_E_INVALID_HD_FILE)
    return false;
  if (lv_image_moved(image, env, &moved, &lost) != 0) {
    lvhd_error_clear(why);
    *why = lost;
    return false;
  }
  return moved || (looks == 1 && env->sys->now(env->sys) - changed <= 1);
}

/* After a first look, with what was wrong: more looks where that is of use.
 * Takes *why; closes the image on failure. */
static int settle(struct lv_image *image, struct lv_env *env,
                  struct lvhd_error *why, struct lvhd_error *err) {
  int looks = 1;
  for (; looks < LV_IMAGE_LOOKS && may_be_torn(image, env, looks, why);
       looks++) {
    lvhd_error_clear(why);
    look_anew(image, env, why);
  }
  if (why->code != 0)
    lv_image_close(image, env);
  return lv_error_give(err, why);
}

int lv_image_adopt(struct lv_image *image, struct lv_env *env,
                   struct lv_file *file, const char *path,
                   struct lvhd_error *err) {
  struct lvhd_error why = LVHD_ERROR_INIT;
  *image = (struct lv_image)LV_IMAGE_INIT;
  image->file = *file;
  *file = (struct lv_file)LV_FILE_INIT;
  image->path = strdup(path);
  if (image->path)
    look(image, env, path, &why);
  else
    lv_fail(&why, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  return settle(image, env, &why, err);
}

int lv_image_anew(struct lv_image *image, struct lv_env *env,
                  struct lvhd_error *err) {
  struct lvhd_error why = LVHD_ERROR_INIT;
  look_anew(image, env, &why);
  return settle(image, env, &why, err);
}

static int open_image(struct lv_image *image, struct lv_env *env,
                      const char *path, bool again, struct lvhd_error *err) {
  struct lv_file file = LV_FILE_INIT;
  char *real = NULL;
  int code = 0;
  *image = (struct lv_image)LV_IMAGE_INIT;
  code = again ? lv_file_again(&file, env, path, err)
               : lv_file_open(&file, env, path, err);
  if (code == 0)
    code = lv_real_path(&real, env, file.fd, path, file.real, LV_STEP_FILE,
                        err);
  if (code == 0)
    code = lv_image_adopt(image, env, &file, real, err);
  lv_file_close(&file, env);
  free(real);
  return code;
}

int lv_image_open(struct lv_image *image, struct lv_env *env,
                  const char *path, struct lvhd_error *err) {
  return open_image(image, env, path, false, err);
}

int lv_image_again(struct lv_image *image, struct lv_env *env,
                   const char *real, struct lvhd_error *err) {
  return open_image(image, env, real, true, err);
}

void lv_image_close(struct lv_image *image, const struct lv_env *env) {
  lv_journal_free(&image->note);
  lv_file_close(&image->file, env);
  free(image->path);
  image->path = NULL;
}

uint32_t lv_image_time(const struct lv_image *image, const uint8_t child[16],
                       uint32_t recorded) {
  uint32_t before = lv_timestamp(image->file.st.st_mtim.tv_sec);
  uint32_t since = lv_timestamp(image->changed);
  bool merge = image->journal == LV_JOURNAL_GOOD &&
               image->note.verb == LV_JOURNAL_MERGE;
  if (merge && memcmp(image->note.other, child, 16) != 0)
    return since;
  return merge && recorded == since ? since : before;
}

bool lv_image_holds(const struct lv_image *image, uint32_t entry) {
  uint64_t block =
    (uint64_t)image->bitmap_size + image->header.block_size;
  uint64_t at = (uint64_t)entry * LV_SECTOR;
  return at <= image->data_end && block <= image->data_end - at;
}

int lv_image_table(const struct lv_image *image, const struct lv_env *env,
                   uint64_t first, size_t count, uint8_t *out,
                   struct lvhd_error *err) {
  return lv_file_read(&image->file, env, out, count * 4,
                      image->header.table_offset + first * 4, err);
}

int lv_image_locator(const struct lv_image *image, const struct lv_env *env,
                     unsigned i, uint8_t **out, size_t *n,
                     struct lvhd_error *err) {
  const struct lv_locator_entry *e = &image->header.locators[i];
  uint64_t end = (uint64_t)image->file.st.st_size;
  int code = 0;
  *out = NULL;
  *n = 0;
  if (lv_get_be32(e->code) == 0 || e->length == 0 ||
      e->length > LV_LOCATOR_READ || e->offset > end ||
      e->length > end - e->offset)
    return 0;
  *out = malloc((size_t)e->length + 1);
  if (*out == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  code = lv_file_read(&image->file, env, *out, e->length, e->offset, err);
  if (code != 0) {
    free(*out);
    *out = NULL;
    return code;
  }
  (*out)[e->length] = 0;
  *n = e->length;
  return 0;
}
