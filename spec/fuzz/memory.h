/* SPDX-License-Identifier: MIT
 *
 * A small folder tree in memory behind struct lv_sys: files are lists of
 * segments with holes between, so that a file of 2^60 bytes costs nothing.
 * Knows the system calls, not what a VHD is.
 *
 *   /d/leaf.vhd    /d/base.vhd    /d/sub/mid.vhd    /x/root.vhd
 *   /d/.leaf.vhd.lvhd-journal
 *   /d/fifo        /d/out.vhd (a link to /secret.vhd)  /d/away (to /)
 *   /secret.vhd    (what /x/root.vhd holds)          /etc/shadow
 *
 * What may not be opened notes that it was: mem.trapped.  Nothing can be
 * written unless mem_writable() says so.
 */
#ifndef LVHD_SPEC_MEMORY_H
#define LVHD_SPEC_MEMORY_H

#include "io/sys.h"

#include <stdbool.h>

#define MEM_DISKS 4 /* what an input brings; the rest is always there */
#define MEM_NOTE 4  /* and what lies beside the leaf */
#define MEM_FILES 5
#define MEM_ADDED 24 /* files and folders that a verb makes */
#define MEM_NODES 16 /* those that an input may bring, and what is there */
#define MEM_PATH 512
#define MEM_LENGTH_MAX (UINT64_C(1) << 44) /* of a file that is written */
#define MEM_SEGMENTS 24
#define MEM_FDS 128
#define MEM_MTIME 1700000000 /* of the first file; each next 10 s older */

struct mem_segment {
  uint64_t offset;
  size_t n;
  uint8_t *bytes; /* not owned */
};

/* What was written into a file: pages over its segments. */
#define MEM_PAGE 4096u
#define MEM_PAGES 2048u /* of all files together: then the volume is full */
struct mem_page {
  uint64_t at; /* offset / MEM_PAGE */
  uint8_t *bytes;
};
struct mem_written {
  uint64_t whole; /* segments and holes count up to here, then zeros */
  size_t count;
  struct mem_page pages[MEM_PAGES]; /* ascending */
};

struct mem_file {
  struct mem_written *written; /* NULL: never; not owned */
  uint64_t length;
  uint8_t hole; /* what a byte without segment is */
  size_t count;
  struct mem_segment segments[MEM_SEGMENTS]; /* the later one counts */
};

/* A file or folder that was made.  One without a path has no name. */
struct mem_added {
  bool used, folder;
  char path[MEM_PATH];
  struct mem_file file;
};

/* What changes; large, and made once. */
struct mem_changes {
  uint8_t pool[MEM_PAGES][MEM_PAGE];
  size_t pool_used;
  struct mem_written written[MEM_FILES + MEM_ADDED];
  struct mem_added added[MEM_ADDED];
  uint64_t lengths[MEM_FILES]; /* as they were brought */
  bool gone[MEM_NODES]; /* their names were taken away */
  struct timespec mtimes[MEM_NODES + MEM_ADDED];
  uint64_t changed[MEM_NODES + MEM_ADDED]; /* counts, for the change time */
  uint64_t clock;
  bool full; /* a call was told ENOSPC */
};

struct mem {
  struct lv_sys sys; /* first: the engine's table is the folder */
  struct mem_changes *changes; /* NULL: nothing can be written */
  unsigned may_write;          /* a bit each of files */
  unsigned room; /* so many times four pages can be written; 0: all */
  uint64_t read_limit; /* so many bytes can be read, then EIO; 0: no limit */
  bool limited;                /* that has happened */
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

extern const char *const mem_paths[MEM_DISKS];

/* An empty folder; no file is open, and none can be written. */
void mem_init(struct mem *mem);
/* From now on the files of these bits can be written, and new ones made.
 * mem_unchanged: a file of the input is as it was brought. */
void mem_writable(struct mem *mem, struct mem_changes *changes,
                  unsigned may_write);
/* All is as it was brought again, and nothing can be written. */
void mem_forget(struct mem *mem);
bool mem_unchanged(const struct mem *mem, unsigned file);
/* Files and folders that were made and are still there: their paths. */
const char *mem_made(const struct mem *mem, size_t i);
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
 * MEM_FLAGS, then the number of files (its five top bits: room), each a
 * length, a number of segments (its top bit: holes are 0xFF) and these:
 * offset, length, bytes; little endian.  Segments point into the input. */
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
