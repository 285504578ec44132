/* SPDX-License-Identifier: MIT
 *
 * The folders of a batch, found by the text that names them, and a set of
 * hashes of names.  Two hashes that meet only put an image off to another batch.
 */
#include "op/sites.h"

#include <stdlib.h>
#include <string.h>

#include "base/upcase.h"

/* ---- hashes ---------------------------------------------------------- */

static uint64_t hash_bytes(uint64_t hash, const char *text, size_t n) {
  for (size_t i = 0; i < n; i++)
    hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
  return hash;
}

#define HASH_START UINT64_C(0xcbf29ce484222325)

uint64_t lv_hash_text(const char *text) {
  return hash_bytes(HASH_START, text, strlen(text));
}

uint64_t lv_hash_mix(uint64_t a, uint64_t b) {
  uint64_t hash = (a ^ (b >> 31)) * UINT64_C(0x9e3779b97f4a7c15) + b;
  return hash == 0 ? 1 : hash;
}

/* Where the hash is, or would be. */
static size_t seen_at(const struct lv_sites *sites, uint64_t hash) {
  size_t i = hash & (sites->rows - 1);
  while (sites->seen[i] != 0 && sites->seen[i] != hash)
    i = (i + 1) & (sites->rows - 1);
  return i;
}

bool lv_sites_saw(const struct lv_sites *sites, uint64_t hash) {
  return sites->seen[seen_at(sites, hash)] == hash;
}

void lv_sites_remember(struct lv_sites *sites, uint64_t hash) {
  if (++sites->seen_count <= sites->rows / 2)
    sites->seen[seen_at(sites, hash)] = hash;
}

/* ---- the tables ------------------------------------------------------ */

int lv_sites_init(struct lv_sites *sites, const struct lv_create *common,
                  size_t width, struct lvhd_error *err) {
  sites->common = common;
  sites->rows = 64;
  while (sites->rows < 16 * width)
    sites->rows *= 2;
  sites->list = malloc((width + 1) * sizeof *sites->list);
  sites->seen = calloc(sites->rows, sizeof *sites->seen);
  sites->by_text = calloc(sites->rows, sizeof *sites->by_text);
  return sites->list && sites->seen && sites->by_text
           ? 0
           : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

void lv_sites_free(struct lv_sites *sites) {
  free(sites->list);
  free(sites->seen);
  free(sites->by_text);
}

/* Where in by_text the site of this text is, or would be. */
static size_t *row_of(const struct lv_sites *sites, const char *text) {
  size_t i = lv_hash_text(text) & (sites->rows - 1);
  while (sites->by_text[i] != 0 &&
         strcmp(sites->list[sites->by_text[i] - 1].text, text) != 0)
    i = (i + 1) & (sites->rows - 1);
  return &sites->by_text[i];
}

/* ---- a site ---------------------------------------------------------- */

/* The first folder that is missing, in the eyes of Windows, and by its very
 * name: two of a batch that differ in case only must not both be made. */
static void missing_hashes(const struct lv_site *site, uint64_t *folded,
                           uint64_t *exact) {
  const char *name = site->real + site->folder.exists;
  size_t n = 0;
  uint64_t above = hash_bytes(HASH_START, site->real, site->folder.exists);
  name += strspn(name, "/");
  n = strcspn(name, "/");
  *folded = lv_hash_mix(lv_hash_mix(above, lv_name_hash(name, n)), 3);
  *exact = lv_hash_mix(
    lv_hash_mix(above, hash_bytes(HASH_START, name, n)), 4);
}

/* Of a site that was just opened: it must wait until another one is made. */
static bool must_wait(struct lv_sites *sites, const struct lv_site *site) {
  uint64_t folded = 0, exact = 0;
  if (!site->folder.missing || site->folder.where == NULL)
    return false;
  missing_hashes(site, &folded, &exact);
  if (lv_sites_saw(sites, folded) && !lv_sites_saw(sites, exact))
    return true;
  lv_sites_remember(sites, folded);
  lv_sites_remember(sites, exact);
  return false;
}

void lv_site_close(struct lv_site *site, struct lv_env *env) {
  lv_folder_close(&site->folder, env);
  lvhd_error_clear(&site->err);
  lv_way_clear(&site->way);
  free(site->text);
  free(site->real);
}

/* How many folders are missing at the end of the path. */
static size_t count_missing(const struct lv_site *site) {
  const struct lv_folder *folder = &site->folder;
  const char *at =
    (folder->where ? folder->where : site->text) + folder->exists;
  size_t count = 0;
  while (*(at += strspn(at, "/")) != '\0') {
    size_t n = strcspn(at, "/");
    count += !(n == 1 && at[0] == '.');
    at += n;
  }
  return count;
}

static int open_site(struct lv_site *site, const struct lv_create *common,
                     struct lvhd_error *err) {
  struct lv_env *env = common->env;
  int code = lv_folder_open(&site->folder, env, site->text, err);
  if (code == 0)
    code = lv_folder_real(&site->real, &site->folder, env, site->text, err);
  if (code == 0)
    site->missing = count_missing(site);
  if (code == 0)
    code = lv_way_find(&site->way, env, site->real, common->real_parent,
                       common->windows, err);
  return code;
}

enum lv_taken lv_site_find(struct lv_site **out, struct lv_sites *sites,
                           char *text, struct lvhd_error *err) {
  struct lv_site *site = &sites->list[sites->count];
  size_t *row = NULL;
  int code = 0;
  if (text == NULL) {
    lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
    return LV_OVER;
  }
  row = row_of(sites, text);
  if (*row != 0) {
    free(text);
    *out = &sites->list[*row - 1];
    return LV_TAKEN;
  }
  *site = (struct lv_site){.text = text, .target = -1,
                           .folder = LV_FOLDER_INIT,
                           .made = LV_NEWFILE_INIT};
  code = open_site(site, sites->common, err);
  if (code != 0 || must_wait(sites, site)) {
    lv_site_close(site, sites->common->env);
    return code != 0 ? LV_OVER : LV_LATER;
  }
  sites->count++;
  sites->fds += 1 + (size_t)site->folder.missing +
                (size_t)(site->folder.root.fd >= 0);
  *row = sites->count;
  *out = site;
  return LV_TAKEN;
}
