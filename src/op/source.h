/* SPDX-License-Identifier: MIT
 *
 * What is read to make another disk of it: a raw file, or a VHD with its
 * parents, locked while it is open; or a formatted disk that exists nowhere
 * yet.  Tells where there is nothing but zeros without reading them.  Private
 * to op.
 */
#ifndef LV_OP_SOURCE_H
#define LV_OP_SOURCE_H

#include "format/fat.h"
#include "image/disk.h"

struct lv_source {
  struct lv_env *env;
  struct lv_file raw;   /* open where it is a raw file */
  struct lv_disk *disk; /* else, or: */
  const struct lv_fat *fat; /* no file at all */
  char *path;           /* of the raw file */
  uint64_t size;        /* bytes of the disk */
  /* the run that was looked up last */
  uint64_t from, to;
  unsigned layer;
};
#define LV_SOURCE_INIT {.raw = LV_FILE_INIT}

/* Opens and locks, as a reader, every file of it.  path is absolute.  Errors
 * name the file: of opening a chain; VM_E_INVALID_HD_FILE/NOT_REGULAR;
 * E_SHARING_VIOLATION/IN_USE. */
int lv_source_open(struct lv_source *source, struct lv_env *env,
                   const char *path, bool from_raw,
                   const struct lvhd_open_options *opts,
                   struct lvhd_error *err);

/* A disk that is made as it is read; nothing is opened.  fat outlives it. */
void lv_source_made(struct lv_source *source, const struct lv_fat *fat);

/* From `at` on *length bytes, no more than up to `end`, are of one layer; 0:
 * zeros that need not be read.  A raw file is layer 1, as what is made. */
int lv_source_run(struct lv_source *source, uint64_t at, uint64_t end,
                  uint64_t *length, unsigned *layer, struct lvhd_error *err);

/* A read in two halves: locate says where n bytes are, `n` of them at `at`;
 * fetch reads them, on any number of threads at once.  Behind the end are
 * zeros. */
struct lv_where {
  uint64_t at;
  size_t n;
  /* of a VHD */
  struct lv_stretch *stretches; /* the caller's, one for each sector */
  size_t count;
};
int lv_source_locate(struct lv_source *source, uint64_t at, size_t n,
                     struct lv_where *where, struct lvhd_error *err);
int lv_source_fetch(const struct lv_source *source,
                    const struct lv_where *where, uint8_t *buf,
                    struct lvhd_error *err);

/* Nobody has changed a file of it since it was opened; else
 * E_SHARING_VIOLATION/SOURCE_CHANGED. */
int lv_source_same(const struct lv_source *source, struct lvhd_error *err);

/* The file that begins with the disk's bytes, as they are: a raw file, or the
 * only one of a fixed disk; NULL: there is none. */
const struct lv_file *lv_source_plain(const struct lv_source *source);

/* Layers behind *first are the same files in both; UINT_MAX: none. */
unsigned lv_source_shared(const struct lv_source *source,
                          const struct lv_source *other);

/* Accepts a closed one. */
void lv_source_close(struct lv_source *source);

#endif
