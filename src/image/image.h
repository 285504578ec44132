/* SPDX-License-Identifier: MIT
 *
 * One open image: the file, its footer and header, every number checked
 * before it is used.  Opens nothing but what it is told; knows no parent.
 */
#ifndef LV_IMAGE_IMAGE_H
#define LV_IMAGE_IMAGE_H

#include "format/plan.h"
#include "image/journal.h"
#include "image/probe.h"

struct lv_image {
  struct lv_file file; /* owned */
  char *path;          /* absolute, as it really is; malloc'ed */
  struct lv_footer footer;
  struct lv_header header;  /* not for fixed disks */
  enum lvhd_footer where;   /* which footer counts */
  uint64_t data_end;  /* no block may reach beyond: where the footer at the end
                         begins, or the end of the file */
  uint64_t blocks;    /* blocks of the disk: ceil(size / block size); the BAT
                         may have more entries */
  uint32_t bitmap_size; /* bytes of a block's sector bitmap */
  enum lv_journal_state journal; /* what lies beside the file */
  struct lv_journal note;        /* where that is LV_JOURNAL_GOOD; its old
                                    bytes are file.overlay, its time is that
                                    of file.st */
  int64_t changed; /* seconds since 1970: the time that the file really has */
};
#define LV_IMAGE_INIT {.file = LV_FILE_INIT}

/* Opens what the caller names, as open(2) takes it. */
int lv_image_open(struct lv_image *image, struct lv_env *env,
                  const char *path, struct lvhd_error *err);

/* The same by its real path, which is found again as lv_open_real() does. */
int lv_image_again(struct lv_image *image, struct lv_env *env,
                   const char *real, struct lvhd_error *err);

/* Takes an open file, on failure too.  `path` is real and is copied. */
int lv_image_adopt(struct lv_image *image, struct lv_env *env,
                   struct lv_file *file, const char *path,
                   struct lvhd_error *err);

/* So often at the most a file is looked at that is being changed.  While there
 * is a note a change disturbs nobody: it takes one that ends, and one that
 * begins, in the midst of each look. */
#define LV_IMAGE_LOOKS 8

/* Looks at the open file again; nothing is kept of the look before.  On failure
 * the image is closed. */
int lv_image_anew(struct lv_image *image, struct lv_env *env,
                  struct lvhd_error *err);

/* Whether the file has been changed since it was looked at: what is wrong with
 * it may be so because of that. */
int lv_image_moved(const struct lv_image *image, const struct lv_env *env,
                   bool *moved, struct lvhd_error *err);

/* Accepts a closed image. */
void lv_image_close(struct lv_image *image, const struct lv_env *env);

/* The time, as headers record it, that a disk (identifier) on the image may
 * count on: a merge that was interrupted changed it for all but the child that
 * it merges.  That one may have recorded the time before or the one since. */
uint32_t lv_image_time(const struct lv_image *image, const uint8_t child[16],
                       uint32_t recorded);

static inline bool lv_image_has_table(const struct lv_image *image) {
  return image->footer.type != LVHD_FIXED;
}
static inline bool lv_image_has_parent(const struct lv_image *image) {
  return image->footer.type == LVHD_DIFFERENCING;
}

/* Whether a BAT entry (a sector number, not all ones) names a whole block
 * inside the file. */
bool lv_image_holds(const struct lv_image *image, uint32_t entry);

/* Entries [first, first + count) of the BAT, as they stand in the file: big
 * endian.  The caller stays below header.entries. */
int lv_image_table(const struct lv_image *image, const struct lv_env *env,
                   uint64_t first, size_t count, uint8_t *out,
                   struct lvhd_error *err);

/* The text of locator i, raw: malloc'ed in *out, with a NUL behind it that
 * does not count.  *out is NULL when the entry is unused, empty, longer than
 * LV_LOCATOR_READ, or not inside the file. */
int lv_image_locator(const struct lv_image *image, const struct lv_env *env,
                     unsigned i, uint8_t **out, size_t *n,
                     struct lvhd_error *err);

#endif
