/* SPDX-License-Identifier: MIT
 *
 * Opening one image.  Knows no parent; what a locator means is the business
 * of parent.c.
 */
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

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

int lv_image_adopt(struct lv_image *image, struct lv_env *env,
                   struct lv_file *file, const char *path,
                   struct lvhd_error *err) {
  struct lv_probe probe;
  int code = 0;
  *image = (struct lv_image)LV_IMAGE_INIT;
  image->file = *file;
  *file = (struct lv_file)LV_FILE_INIT;
  code = lv_probe_any(&probe, &image->where, &image->file, env, err);
  if (code == 0) {
    image->footer = probe.footer;
    image->header = probe.header;
    image->path = strdup(path);
    if (image->path == NULL)
      code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  if (code != 0) {
    lv_image_close(image, env);
    return code;
  }
  measure(image);
  return 0;
}

int lv_image_open(struct lv_image *image, struct lv_env *env,
                  const char *path, struct lvhd_error *err) {
  struct lv_file file = LV_FILE_INIT;
  char *real = NULL;
  int code = 0;
  *image = (struct lv_image)LV_IMAGE_INIT;
  code = lv_file_open(&file, env, path, err);
  if (code == 0)
    code = lv_real_path(&real, env, file.fd, path, file.real, LV_STEP_FILE,
                        err);
  if (code == 0)
    code = lv_image_adopt(image, env, &file, real, err);
  lv_file_close(&file, env);
  free(real);
  return code;
}

void lv_image_close(struct lv_image *image, const struct lv_env *env) {
  lv_file_close(&image->file, env);
  free(image->path);
  image->path = NULL;
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
