/* SPDX-License-Identifier: MIT
 *
 * The folders that a batch of new children goes into, each opened once, and the
 * names that the batch has taken.  Private to op.
 */
#ifndef LV_OP_SITES_H
#define LV_OP_SITES_H

#include "io/newfile.h"
#include "op/create_args.h"
#include "op/way.h"

/* A folder of the batch; several texts may lead to one. */
struct lv_site {
  char *text; /* as the images name it */
  char *real;
  struct lv_folder folder; /* the nearest that exists */
  struct lv_way way;       /* to the parent */
  size_t missing;          /* folders of it that are to be made */
  struct lv_newfile made;  /* they, then */
  bool ready;              /* an attempt was made to reach it */
  struct lv_site *before;  /* the one that was reached before it; or NULL */
  int target;              /* the folder itself */
  size_t linked;           /* images that are there */
  int code;                /* of reaching or flushing it */
  struct lvhd_error err;
};

struct lv_sites {
  const struct lv_create *common; /* the parent's side of all images */
  struct lv_site *list;
  size_t count;
  size_t fds;      /* descriptors that are open, or will be */
  size_t rows;     /* of both tables: a power of two */
  uint64_t *seen;  /* hashes; 0: none */
  size_t seen_count;
  size_t *by_text; /* 1 + number of a site; 0: none */
};

/* Fills a zeroed struct.  width: images of the batch at the most. */
int lv_sites_init(struct lv_sites *sites, const struct lv_create *common,
                  size_t width, struct lvhd_error *err);
/* Its tables; each site is closed by itself. */
void lv_sites_free(struct lv_sites *sites);

/* What became of an image that is to be taken into a batch: it is in, it has
 * its result, it waits for another batch, there is no room in this one. */
enum lv_taken { LV_TAKEN, LV_OVER, LV_LATER, LV_FULL };

/* The site of a folder, opened if it is new; takes text, which may be NULL for
 * want of memory. */
enum lv_taken lv_site_find(struct lv_site **out, struct lv_sites *sites,
                           char *text, struct lvhd_error *err);
void lv_site_close(struct lv_site *site, struct lv_env *env);

/* ---- what was taken, as hashes --------------------------------------- */

uint64_t lv_hash_text(const char *text);
uint64_t lv_hash_mix(uint64_t a, uint64_t b); /* never 0 */
bool lv_sites_saw(const struct lv_sites *sites, uint64_t hash);
/* What is not remembered, because there is no room, is found out later: by a
 * name that is taken, or a folder that is flushed twice. */
void lv_sites_remember(struct lv_sites *sites, uint64_t hash);

#endif
