/* SPDX-License-Identifier: MIT
 *
 * The note beside a file that is being changed, .NAME.lvhd-journal: which
 * verb, on which disk, the time that the file had, and the bytes that stood
 * where more than one sector must change together.  Written whole or not at
 * all; undoing is laying the old bytes over the file.  Which bytes a verb
 * must save is the verb's to know.
 */
#ifndef LV_IMAGE_JOURNAL_H
#define LV_IMAGE_JOURNAL_H

#include "io/file.h"
#include "io/folder.h"

enum lv_journal_verb {
  LV_JOURNAL_MERGE = 1,
  LV_JOURNAL_COMPACT,
  LV_JOURNAL_RESIZE,
  LV_JOURNAL_RELINK,
  LV_JOURNAL_REPAIR
};

struct lv_journal {
  enum lv_journal_verb verb;
  uint8_t uuid[16];      /* of the disk */
  uint8_t other[16];     /* merge: of the child that is merged; else zeros */
  struct timespec mtime; /* of the file, before the verb */
  int64_t noted;         /* when the note that was read was made; seconds */
  uint64_t length;       /* of the file while the old bytes count: what is
                            longer is cut */
  uint64_t longest;      /* the file never becomes longer by the verb; 0: than
                            `length`.  Not for a merge */
  uint64_t done;         /* a file of this length, less than `length`, is
                            finished: nothing is undone; 0: none */
  struct lv_overlay old; /* owned */
};

enum lv_journal_state {
  LV_JOURNAL_NONE,
  LV_JOURNAL_GOOD,   /* a regular file of someone who may, and whole */
  LV_JOURNAL_FOREIGN /* something else is there */
};

/* What the old bytes of a journal may cover, all of it whole sectors. */
#define LV_JOURNAL_PATCH 65536u /* bytes of one piece */

/* Looks beside the file.  uuid: of the disk, where its name is too long for a
 * journal of the same name; may be NULL when not known.  Fails for want
 * of memory or descriptors, and where nobody can tell whether there is one. */
int lv_journal_look(struct lv_journal *journal, enum lv_journal_state *state,
                    struct lv_env *env, const struct lv_file *file,
                    const char *path, const uint8_t uuid[16],
                    struct lvhd_error *err);

/* Makes the note; there must be none.  durable: before it returns.  *beside is
 * its folder, open on success. */
int lv_journal_write(const struct lv_journal *journal, struct lv_env *env,
                     const struct lv_file *file, const char *path,
                     bool durable, struct lv_folder *beside,
                     struct lvhd_error *err);

/* Takes the note away; with its folder in beside that needs no memory and no
 * descriptor.  NULL: the folder is found by the path. */
int lv_journal_remove(const struct lv_journal *journal, struct lv_env *env,
                      const struct lv_file *file, const char *path,
                      bool durable, const struct lv_folder *beside,
                      struct lvhd_error *err);

/* E_SHARING_VIOLATION/JOURNAL_PENDING, and whose merge it is. */
int lv_journal_pending(const struct lv_journal *journal,
                       struct lvhd_error *err);

void lv_journal_free(struct lv_journal *journal);

#endif
