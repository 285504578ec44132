/* SPDX-License-Identifier: MIT
 *
 * What the two halves of the folder in memory share: memory.c finds and
 * reads, memwrite.c makes and writes.  For them alone.
 */
#ifndef LVHD_SPEC_MEMNODES_H
#define LVHD_SPEC_MEMNODES_H

#include "memory.h"

enum mem_kind { FOLDER, REGULAR, LINK, FIFO };

/* A node is a number: what an input may bring, what is always there, and
 * behind that what was made. */
int mem_lookup(const struct mem *mem, const char *path);
int mem_added_node(size_t i);
/* The node behind a descriptor; -1 and errno. */
int mem_node_of(const struct mem *mem, int fd);
/* NULL: a folder, or none of a node's. */
struct mem_file *mem_file_of(struct mem *mem, int node);
struct mem *mem_of(const struct lv_sys *sys);

/* Where `path` would be made: its folder's real path and its last name, in
 * `out`.  -1 and errno. */
int mem_place(const struct mem *mem, int dir, const char *path,
              char out[MEM_PATH]);
/* A descriptor of a node. */
int mem_give(struct mem *mem, int node, int flags);
/* -1, and errnum as errno. */
int mem_fails(int errnum);

/* Bytes as they were written: lays pages over what `buf` holds of the file's
 * segments. */
void mem_written_out(const struct mem_file *file, uint64_t offset,
                     uint8_t *buf, size_t n);
/* openat of what is not there yet. */
int mem_make(struct mem *mem, int dir, const char *path, int flags);
/* Fills in the calls that change something. */
void mem_calls(struct lv_sys *sys);

#endif
