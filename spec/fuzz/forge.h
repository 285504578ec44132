/* SPDX-License-Identifier: MIT
 *
 * Tiny VHDs made from the specification alone, and the places of their
 * fields: what the tests and the mutator bend.  Uses nothing of the engine
 * but a few numbers of memory.h, so that a mistake is not made twice.
 */
#ifndef LVHD_SPEC_FORGE_H
#define LVHD_SPEC_FORGE_H

#include "memory.h"

#define FORGE_EPOCH 946684800

/* Zero-initialise, then set what differs. */
struct forge {
  unsigned type;  /* 2, 3, 4 */
  uint64_t size;
  uint32_t block; /* 0: 2048 */
  uint32_t blocks_used; /* a bit each: which are allocated */
  uint8_t id;       /* every byte of the identifier */
  uint8_t parent_id;
  uint32_t parent_time; /* seconds since 2000 */
  const char *parent;   /* the way to it; '/' between */
  bool short_footer;
};

/* Bytes of a new file in *n; malloc'ed. */
uint8_t *forge(const struct forge *what, size_t *n);
/* The same as a file of one segment.  free(file->segments[0].bytes). */
void forge_file(struct mem_file *file, const struct forge *what);

/* The four disks of R1: fixed, dynamic, differencing (chain of 2), chain of
 * 3, as folders.  forge_free gives the bytes back. */
#define FORGE_SEEDS 4
extern const char *const forge_names[FORGE_SEEDS];
void forge_seed(struct mem *mem, unsigned which);
/* The same, large enough for verbs that make a new disk: 3 MiB and a sector,
 * in blocks of 4 KiB. */
void forge_large(struct mem *mem, unsigned which);
void forge_free(struct mem *mem);

/* A note (journal) beside the leaf, of a verb of image/journal.h. */
struct forge_note {
  unsigned verb;
  uint8_t other;    /* every byte of the other disk's identifier */
  uint64_t length;  /* 0: the leaf's */
  uint64_t done, longest;
  unsigned pieces;  /* at most three, each a sector */
  uint64_t at[3];
  bool turned;      /* other bytes than the file holds there */
};
uint8_t *forge_note(const struct mem_file *of, const struct forge_note *what,
                    size_t *n);
void forge_add_note(struct mem *mem, const struct forge_note *what);

/* Where the structures of a file lie; false: not inside it. */
uint64_t forge_footer(const struct mem_file *file);
bool forge_header(const struct mem_file *file, uint64_t *at);

/* Makes the checksums right again: footer, copy, header; of a note its own. */
void forge_repair(struct mem_file *file);

/* Big-endian numbers at a place of a file. */
uint64_t forge_get(const struct mem_file *file, uint64_t at, size_t n);
void forge_put(struct mem_file *file, uint64_t at, size_t n, uint64_t value);

/* Fields by place, of what, size in bytes. */
enum forge_of { OF_FOOTER, OF_COPY, OF_HEADER };
struct forge_field {
  enum forge_of of;
  unsigned at;
  size_t n;
  const char *name;
};
extern const struct forge_field forge_fields[];
extern const size_t forge_field_count;
/* Where that field is; false: its structure lies outside. */
bool forge_place(const struct mem_file *file, const struct forge_field *field,
                 uint64_t *at);

/* The i-th boundary value for a field of n bytes in a file; false: no more.
 * 0, 1, 2^k and its neighbours, sign edges, lengths and their neighbours. */
bool forge_value(const struct mem_file *file, size_t n, unsigned i,
                 uint64_t *value);

#endif
