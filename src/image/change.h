/* SPDX-License-Identifier: MIT
 *
 * The frame of every change in place: the file for writing and ours alone,
 * what was interrupted undone, a note before the first write, the time given
 * back, the note gone.  What is written is the verb's business.
 *
 *   lv_image_open / lv_chain_open     for reading
 *   lv_change_take                    writable, locked, recovered
 *   ... the verb looks, and may still refuse
 *   lv_change_begin                   the note is durable
 *   ... the verb writes (image/writer.h, io/edit.h)
 *   lv_change_end                     flushed, time back, note gone
 *   lv_change_abandon                 after a failure or a cancel
 */
#ifndef LV_IMAGE_CHANGE_H
#define LV_IMAGE_CHANGE_H

#include "image/chain.h"
#include "image/journal.h"
#include "io/lock.h"

/* Makes an image that was opened for reading writable: the same file, opened
 * anew, locked (LV_LOCK_ALONE for verbs, LV_LOCK_WRITE for an open disk), and
 * probed again.  Work that was interrupted
 * is undone: old bytes are written back, and after a verb that changes no
 * content the file has its time again; the note is gone then.  The note of a
 * merge stays: image->note, and unless `merging` is its child's identifier
 * (NULL: no merge) or force, it is E_SHARING_VIOLATION/JOURNAL_PENDING; with
 * force it is removed.  Errors beside: VM_E_FILE_READ_ONLY,
 * E_SHARING_VIOLATION/IN_USE, VM_E_HD_IMAGE_ACCESS/JOURNAL_FOREIGN.  After a
 * failure the image is closed. */
int lv_change_take(struct lv_image *image, struct lv_env *env,
                   enum lv_lock how, const uint8_t *merging, bool force,
                   struct lvhd_error *err);

/* Locks image i, which was opened before: E_SHARING_VIOLATION where that does
 * not go (IN_USE), or where it was changed in between (SOURCE_CHANGED).  The
 * error names the file. */
int lv_change_lock(const struct lv_chain *chain, size_t i, enum lv_lock how,
                   const struct lv_env *env, struct lvhd_error *err);

/* LV_LOCK_READ on the images from `first` on. */
int lv_change_lock_parents(const struct lv_chain *chain, size_t first,
                           const struct lv_env *env, struct lvhd_error *err);

/* A merge into this disk was interrupted: by itself it reads as a mixture.
 * E_SHARING_VIOLATION/JOURNAL_PENDING; IN_USE while it goes on. */
int lv_change_settled(const struct lv_image *leaf, const struct lv_env *env,
                      struct lvhd_error *err);

/* Image i was taken, and may have another parent by now than the one that was
 * opened: E_SHARING_VIOLATION/SOURCE_CHANGED. */
int lv_change_same_parent(const struct lv_chain *chain, size_t i,
                          struct lvhd_error *err);

/* VM_E_PARENT_MODIFIED/PARENT_TIME (expected, actual, layer) for the first
 * hop from image `first` on, up to and including the parent of image `last`,
 * whose parent's time is not the one recorded.  The time that a merge which
 * was interrupted found counts as the parent's own. */
int lv_change_unmodified(const struct lv_chain *chain, size_t first,
                         size_t last, struct lvhd_error *err);

struct lv_change {
  struct lv_env *env;
  struct lv_image *image;    /* from lv_change_take; not owned */
  struct lv_journal journal; /* the verb fills verb, other, length, done and
                                old; begin the rest, and owns it from then
                                on, on failure too */
  enum lvhd_sync sync;
  bool keeps_time; /* what the disk reads is not changed */
  bool moves_time; /* it is, and end sees that the time tells */
  bool force;      /* go on where the time cannot be set */
  bool time_lost;  /* out: that happened (finding TIME_LOST) */
  bool noted;      /* out: the note is there */
  bool has_beside; /* out: its folder is open, so that the note can be taken
                      away when there is no memory and no descriptor */
  struct lv_folder beside;
};

/* keeps_time: E_ACCESSDENIED before anything is changed when we may not set
 * times, unless force. */
int lv_change_begin(struct lv_change *change, struct lvhd_error *err);

/* What was written is durable (as sync says), the time is back or moved on, the
 * note is gone.  On failure the caller abandons. */
int lv_change_end(struct lv_change *change, struct lvhd_error *err);

/* A barrier between two steps: fdatasync, or nothing with LVHD_SYNC_NONE. */
int lv_change_barrier(const struct lv_change *change,
                      struct lvhd_error *err);

/* Undoes as recovery would, as far as it can; what cannot be undone now stays
 * noted.  The note of a merge stays.  Accepts every state; after a success it
 * does nothing. */
void lv_change_abandon(struct lv_change *change);

#endif
