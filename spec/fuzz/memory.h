/* SPDX-License-Identifier: MIT
 *
 * A small folder tree in memory behind struct lv_sys: files are lists of
 * segments with holes between, so that a file of 2^60 bytes costs nothing.
 * Knows the system calls, not what a VHD is.
 *
 *   /d/leaf.vhd    /d/base.vhd    /d/sub/mid.vhd    /x/root.vhd
 *   /d/fifo        /d/out.vhd (a link to /secret.vhd)  /d/away (to /)
 *   /secret.vhd    (what /x/root.vhd holds)          /etc/shadow
 *
 * What may not be opened notes that it was: mem.trapped.
 */
#ifndef LVHD_SPEC_MEMORY_H
#define LVHD_SPEC_MEMORY_H

#include "io/sys.h"

#include <stdbool.h>

#define MEM_FILES 4 /* what an input brings; the rest is always there */
#define MEM_SEGMENTS 24
#define MEM_FDS 128
#define MEM_MTIME 1700000000 /* of the first file; each next 10 s older */

struct mem_segment {
  uint64_t offset;
  size_t n;
  uint8_t *bytes; /* not owned */
};

struct mem_file {
  uint64_t length;
  uint8_t hole; /* what a byte without segment is */
  size_t count;
  struct mem_segment segments[MEM_SEGMENTS]; /* the later one counts */
};

struct mem {
  struct lv_sys sys; /* first: the engine's table is the folder */
  struct mem_file files[MEM_FILES];
  size_t count;         /* files that exist, from /d/leaf.vhd on */
  bool outside;         /* /x may be opened */
  bool no_openat2;      /* ENOSYS, so that the walk is taken */
  const char *trapped;  /* what was opened and must not be */
  unsigned preads;      /* so many calls yet */
  unsigned shrink_at;   /* with this call every file is cut; 0: never */
  uint64_t shrink_to;
  uint64_t bytes_read;
  int fds[MEM_FDS];     /* the node behind each; -1 */
  unsigned listed[MEM_FDS]; /* so many nodes were looked at, to list it */
};

extern const char *const mem_paths[MEM_FILES];

/* An empty folder; no file is open. */
void mem_init(struct mem *mem);
/* Descriptors that are open. */
unsigned mem_open(const struct mem *mem);
/* The file of a path, or NULL. */
const struct mem_file *mem_at(const struct mem *mem, const char *path);

/* Bytes of a file, holes where no segment is.  False: behind its end. */
bool mem_peek(const struct mem_file *file, uint64_t offset, void *buf,
              size_t n);
/* Writes where the file has segments. */
void mem_poke(struct mem_file *file, uint64_t offset, const void *buf,
              size_t n);

/* An input as a folder, and back.  Every byte string is one: it begins with
 * MEM_FLAGS, then the number of files, each a length, a number of segments
 * (its top bit: holes are 0xFF) and these: offset, length, bytes; little
 * endian.  Segments point into the input. */
void mem_decode(struct mem *mem, uint8_t *in, size_t n, uint8_t *flags);
size_t mem_encode(const struct mem *mem, uint8_t flags, uint8_t *out,
                  size_t room);
enum {
  MEM_OUTSIDE = 1,
  MEM_WALK = 2,
  MEM_CHAIN = 4,
  MEM_DATA = 8,
  MEM_PROFILE = 16 /* times 0 to 15 */
};

#endif
