/* SPDX-License-Identifier: MIT
 *
 * A new file that appears whole or not at all, and never replaces another
 * (design 2, contract 6).
 *
 *   lv_newfile_begin    an unnamed file in the nearest folder that exists,
 *                       or one with a hidden temporary name
 *   lv_newfile_write*   all of its bytes
 *   lv_newfile_flush    durable, under no name
 *   lv_newfile_link     missing folders are made, and the name appears
 *   lv_newfile_settle   the folder is durable, the descriptor closed
 *   lv_newfile_abandon  from any state: nothing is left
 *
 * The caller stops at the first failure and abandons; a file whose flush
 * failed is never flushed again.  Knows nothing of disks.
 */
#ifndef LV_IO_NEWFILE_H
#define LV_IO_NEWFILE_H

#include "io/folder.h"

#define LV_TEMP_NAME 32 /* ".<16 hex>.lvhd-tmp" and NUL */

struct lv_newfile {
  struct lv_env *env;
  const char *folder; /* the real path of the final folder; not owned */
  const char *name;   /* in that folder; not owned */
  bool full;          /* folders become durable too */
  int fd;             /* the file; -1: none */
  int nearest;        /* the folder it was begun in; not owned */
  const struct lv_root *root; /* what is never left; NULL: no such root */
  int target;         /* the final folder, from link on; -1: none */
  bool borrowed;      /* target is nearest, and not ours to close */
  bool missing;       /* folders were missing at the beginning */
  bool path_only;     /* target cannot be flushed by itself */
  bool linked;        /* the name is there, and ours */
  char temp[LV_TEMP_NAME]; /* "": unnamed */
  size_t made_from;   /* folders longer than this prefix of the path, up */
  size_t made_to;     /* to this one, were made by us */
  int64_t mtime;      /* seconds since 1970; once it is settled */
  /* for several threads that write */
  atomic_bool reserves; /* long writes are preceded by a fallocate */
  atomic_bool sends;    /* what lies behind is on its way to the disk: */
  atomic_uint_fast64_t sent; /* up to here */
};
#define LV_NEWFILE_INIT {.fd = -1, .nearest = -1, .target = -1}

/* The folder went away meanwhile: begin again. */
#define LV_AGAIN_GONE (-3)

/* lv_newfile_link: this way of naming is not to be had here; abandon, and
 * begin again with named == true. */
#define LV_AGAIN_NAMED (-2)

/* nearest: open folder to begin in, alive until the end.  named: with a
 * hidden temporary name at once.  mode: as of open(2), so less umask. */
int lv_newfile_begin(struct lv_newfile *file, struct lv_env *env,
                     const struct lv_folder *nearest, const char *folder,
                     const char *name, mode_t mode, bool named,
                     struct lvhd_error *err);

/* Writes count pieces at offset, all of them.  iov is used up.  Threads may
 * do it at once. */
int lv_newfile_write(struct lv_newfile *file, struct iovec *iov, int count,
                     uint64_t offset, struct lvhd_error *err);

/* Much will be written, mostly from start to end, and flushed or not: makes that
 * quicker where the volume has a way.  Nothing depends on it. */
void lv_newfile_much(struct lv_newfile *file, bool flushed);

/* Reserves `length` bytes.  E_NOTIMPL/NO_RESERVE where the volume cannot. */
int lv_newfile_reserve(struct lv_newfile *file, uint64_t length,
                       struct lvhd_error *err);

/* The file is `length` bytes long: a hole behind what was written. */
int lv_newfile_extend(struct lv_newfile *file, uint64_t length,
                      struct lvhd_error *err);

/* Shares n bytes from the start of another file, where the volume can: true.
 * False: nothing has happened. */
bool lv_newfile_clone(struct lv_newfile *file, int from, uint64_t n);

/* Sets mode exactly, and the modification time (seconds since 1970). */
int lv_newfile_chmod(struct lv_newfile *file, mode_t mode,
                     struct lvhd_error *err);
int lv_newfile_touch(struct lv_newfile *file, int64_t seconds,
                     struct lvhd_error *err);

int lv_newfile_flush(struct lv_newfile *file, struct lvhd_error *err);

/* full: every folder entry made is flushed.  E_ALREADY_EXISTS when the name
 * is taken; LV_AGAIN_NAMED. */
int lv_newfile_link(struct lv_newfile *file, bool full,
                    struct lvhd_error *err);

/* Many files of one folder: it is made once, linked into many times, and made
 * durable by the caller.
 *
 * begin: a file of its own that has no bytes and no name, only folders: those
 * of `folder` that are missing are made, and folders->target is the last of
 * them.  abandon takes them away again, if they are empty, unless they were
 * kept.  LV_AGAIN_GONE.
 * link_in: gives the name in the open folder `target`, which stays the
 * caller's.  As lv_newfile_link, and LV_AGAIN_GONE. */
int lv_newfile_folders(struct lv_newfile *folders, struct lv_env *env,
                       const struct lv_folder *nearest, const char *folder,
                       struct lvhd_error *err);
void lv_newfile_keep_folders(struct lv_newfile *folders);
int lv_newfile_link_in(struct lv_newfile *file, int target,
                       struct lvhd_error *err);

/* The bytes of the file begin to be written back; a hint. */
void lv_newfile_start(const struct lv_newfile *file);

/* Flushes what an open folder holds; a path-only one goes with its volume, by
 * `fd`, a file there. */
int lv_folder_flush(const struct lv_env *env, int folder, bool path_only,
                    int fd, struct lvhd_error *err);

/* What one flush for many may cost.  A flush of the volume also writes what
 * other programs have left there: so much of it, in all, is worth what is
 * spared.  See src/README.md. */
struct lv_flushing {
  uint64_t credit;    /* bytes of others that may still be waited for */
  uint64_t elsewhere; /* dirty bytes that a flush of the volume has left */
};
#define LV_FLUSH_WORTH (UINT64_C(128) << 10) /* bytes: a flush of one file */

/* All n files or folders are durable, by one flush of their volume: true.  The
 * first of fds was opened before all the others.  False: flush each of them;
 * that is not to be had here, or would cost more than the credit, or has
 * failed, and then each one's own flush will tell of which. */
bool lv_newfile_flush_many(struct lv_env *env, struct lv_flushing *state,
                           const int *fds, size_t n);

/* A failure takes the name away again. */
int lv_newfile_settle(struct lv_newfile *file, struct lvhd_error *err);

/* Accepts every state, after settle too (when it does nothing). */
void lv_newfile_abandon(struct lv_newfile *file);

/* An unnamed file for questions; *fd == -1 and success where the volume has
 * none. */
int lv_unnamed_open(int *fd, const struct lv_env *env,
                    const struct lv_folder *folder, mode_t mode,
                    struct lvhd_error *err);

#endif
