/* SPDX-License-Identifier: MIT
 *
 * What an image says, as an info that stands by itself: lists of them are
 * what lvhd_infos is.  Reads the image, changes and follows nothing.
 */
#ifndef LV_IMAGE_FACTS_H
#define LV_IMAGE_FACTS_H

#include "base/findings.h"
#include "image/table.h"

struct lv_facts {
  struct lvhd_info info; /* its pointers point into this object */
  struct lvhd_locator locators[LV_LOCATORS];
  struct lv_findings findings; /* what info.findings shows; see lv_facts_done */
  struct lvhd_error error;     /* what info.error shows, where has_error */
  bool has_error;
  char *path, *parent_path, *parent_name, *texts[LV_LOCATORS];
  uint8_t *raws[LV_LOCATORS];
};

struct lvhd_infos {
  struct lv_facts **items;
  size_t count, room;
};

/* What the two say, into a zeroed info; the header's without the texts. */
void lv_facts_footer(struct lvhd_info *info, const struct lv_footer *footer);
void lv_facts_header(struct lvhd_info *info, const struct lv_header *header);

/* Footer, header, locators, volume, and the BAT's counts (blocks_used,
 * alignment).  Findings: which footer was used, entries of the BAT that leave
 * the file or name one block twice.  stop may be NULL. */
int lv_facts_new(struct lv_facts **out, const struct lv_image *image,
                 struct lv_env *env, lv_stop_fn stop, void *stop_arg,
                 struct lvhd_error *err);

/* Whether they tell of something wrong, if only of a warning. */
bool lv_facts_wrong(const struct lv_facts *facts);

/* The same of a file that may be changed meanwhile: what is wrong is looked at
 * again, and the image is another then.  On failure it may be closed. */
int lv_facts_look(struct lv_facts **out, struct lv_image *image,
                  struct lv_env *env, lv_stop_fn stop, void *stop_arg,
                  struct lvhd_error *err);

/* Of an open file that lv_image_open refuses, though its footer is whole: the
 * footer and the volume, and `why` as a finding. */
int lv_facts_refused(struct lv_facts **out, const struct lv_file *file,
                     const char *path, const struct lv_footer *footer,
                     enum lvhd_footer where, const struct lvhd_error *why,
                     struct lv_env *env, struct lvhd_error *err);

/* After findings or an error were added: makes info show them. */
void lv_facts_done(struct lv_facts *facts);
void lv_facts_free(struct lv_facts *facts);

/* Takes facts, on failure too. */
int lv_infos_add(struct lvhd_infos *infos, struct lv_facts *facts,
                 struct lvhd_error *err);
/* A list of one. */
int lv_infos_of(struct lvhd_infos **out, struct lv_image *image,
                struct lv_env *env, struct lvhd_error *err);
/* Accepts NULL. */
bool lv_infos_wrong(const struct lvhd_infos *infos);
void lv_infos_free(struct lvhd_infos *infos);

#endif
