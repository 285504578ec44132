/* SPDX-License-Identifier: MIT
 *
 * What the two halves of the verb resize share.  Private to op.
 */
#ifndef LV_OP_RESIZE_H
#define LV_OP_RESIZE_H

#include "image/moving.h"
#include "op/inplace.h"

struct lv_resize {
  struct lv_inplace in; /* first */
  int64_t size;         /* as asked for */
};

struct lv_resizing {
  const struct lv_resize *args;
  struct lv_env *env;
  struct lv_job *job;
  struct lv_image image;
  uint64_t old_size, size;           /* bytes of the disk */
  uint8_t *buf;                      /* LV_PIECE bytes */
  uint8_t old_footer[LV_FOOTER_SIZE]; /* as it stands */
  uint8_t new_footer[LV_FOOTER_SIZE];
  struct lv_change change;
  uint64_t skipped; /* files that the search for children could not read */
  uint64_t batmap_cleared; /* XenServer's, at this byte; 0: none */
};

/* Growing and shrinking; the disk is taken, and has another size. */
int lv_resize_fixed(struct lv_resizing *r, struct lvhd_error *err);
int lv_resize_dynamic(struct lv_resizing *r, struct lvhd_error *err);

/* For lv_file_last and lv_move. */
bool lv_resize_done(void *resizing, uint64_t bytes);

/* The end of the disk's last byte that is not zero lies behind the new one. */
int lv_resize_beyond(const struct lv_resizing *r, uint64_t end,
                     struct lvhd_error *err);

/* The file may become so long, and a little is free. */
int lv_resize_room(const struct lv_resizing *r, uint64_t length,
                   struct lvhd_error *err);

/* Old bytes for the note: n bytes at `at`; NULL: FF. */
int lv_resize_keep(struct lv_resizing *r, uint64_t at, const uint8_t *bytes,
                   uint32_t n, struct lvhd_error *err);

/* Writes the note, of a file that is `length` bytes long while the old bytes
 * count, and `done` when all is done, where that is less. */
int lv_resize_begin(struct lv_resizing *r, uint64_t length, uint64_t done,
                    struct lvhd_error *err);

/* lv_edit_write and lv_change_barrier. */
int lv_resize_put(const struct lv_resizing *r, const void *bytes, size_t n,
                  uint64_t at, struct lvhd_error *err);
int lv_resize_cut(const struct lv_resizing *r, uint64_t length,
                  struct lvhd_error *err);

#endif
