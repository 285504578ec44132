/* SPDX-License-Identifier: MIT
 *
 * Everything that reads an image, done to a folder in memory, with what must
 * hold whatever the bytes are: codes of the contract, infos that make sense,
 * extents without gaps, bytes as a plain second reader sees them, nothing
 * opened that must not be, nothing left open.  What does not hold is said in
 * `wrong`.
 */
#ifndef LVHD_SPEC_EXAMINE_H
#define LVHD_SPEC_EXAMINE_H

#include "lvhd.h"
#include "memory.h"

enum {
  EXAM_INFO = 1,
  EXAM_CHAIN = 2,
  EXAM_READ = 4,
  EXAM_CHECK = 8,
  EXAM_ALL = 15,
  EXAM_CUT = 16, /* files are cut meanwhile: reading may fail, bytes differ */
  EXAM_POOR = 32 /* memory is short: E_OUTOFMEMORY is an answer too */
};

#define EXAM_PIECE (1u << 20)

struct exam {
  struct mem mem;
  uint8_t buf[EXAM_PIECE]; /* what is read; kept, since allocating costs */
  lvhd_engine *engines[2]; /* with openat2, and by walking */
  int info, chain, open, read, check; /* codes */
  int reason;                         /* of the open that failed */
  unsigned info_findings;             /* of the leaf's info */
  unsigned findings, errors;          /* of the check */
  int first_error;                    /* reason of its first error */
  char wrong[300];                    /* "": all held */
};

/* False: no memory. */
bool exam_init(struct exam *exam);
void exam_free(struct exam *exam);

/* Looks at exam->mem.  flags: as an input has them. */
void examine(struct exam *exam, unsigned what, uint8_t flags);

/* A chain for a plain reader, leaf first: zero-initialise, add its files. */
struct plain {
  const struct mem_file *files[MEM_FILES];
  uint64_t footers[MEM_FILES];
  size_t count;
};
void plain_add(struct plain *plain, const struct mem_file *file);

/* One sector of the disk; false: a file does not hold what it should. */
bool plain_sector(const struct plain *plain, uint64_t sector,
                  uint8_t out[512]);

#endif
