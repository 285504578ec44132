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
  EXAM_POOR = 32, /* memory is short: E_OUTOFMEMORY is an answer too */
  EXAM_CHANGE = 64, /* what changes may answer */
  EXAM_OPEN = 128 /* with EXAM_READ: opened, and no more */
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
  int unbearable;                     /* of an error of the check with which
                                         nothing should open; 0 */
  bool unsound;                       /* it found blocks or a BAT that cannot
                                         be where they are said to be */
  bool recovered;                     /* a footer that is not the last 512
                                         bytes of its file was used */
  int change;                         /* of the verb of examine_change */
  bool untouched;                     /* and it left the leaf's file alone */
  struct change_work *work;           /* change.c's */
  char wrong[300];                    /* "": all held */
};

/* False: no memory. */
bool exam_init(struct exam *exam);
void exam_free(struct exam *exam);

/* Looks at exam->mem.  flags: as an input has them. */
void examine(struct exam *exam, unsigned what, uint8_t flags);

/* Does what MEM_PROFILE of the flags names to the leaf: writes, converts,
 * merges, ...; what must hold: no file changed but those that are to be, the
 * same content as before where the verb failed or promises it, nothing left
 * behind.  Of the flags MEM_DATA is `force` here, and without MEM_CHAIN other
 * children are not searched.  exam->mem is as before when it is over. */
void examine_change(struct exam *exam, uint8_t flags);
enum change_verb {
  CHANGE_WRITE,
  CHANGE_WRITE_AWAY, /* closed without a word */
  CHANGE_TO_DYNAMIC,
  CHANGE_TO_FIXED,
  CHANGE_TO_RAW,
  CHANGE_TO_CHILD,
  CHANGE_MERGE,
  CHANGE_MERGE_REMOVE,
  CHANGE_MERGE_INTO,
  CHANGE_COMPACT,
  CHANGE_GROW,
  CHANGE_SHRINK,
  CHANGE_REPAIR,
  CHANGE_RELINK,
  CHANGE_RELINK_BELOW,
  CHANGE_CREATE,
  CHANGE_VERBS
};
extern const char *const change_names[CHANGE_VERBS];
/* For exam_init and exam_free. */
struct change_work *change_work_new(void);
void change_work_free(struct change_work *work);
/* What mem_writable() wants. */
struct mem_changes *exam_changes(struct exam *exam);

/* For those who look: what is wrong is kept if nothing was yet; an error is
 * one of the contract, EXAM_... saying what may be. */
void exam_wrong(struct exam *exam, const char *format, ...)
  __attribute__((format(printf, 2, 3)));
void exam_error(struct exam *exam, const char *of, int code,
                const struct lvhd_error *err, unsigned what);
/* The errors that a check of the disk and its data finds, with its parents or
 * without; -1: it fails. */
int exam_check_errors(struct exam *exam, lvhd_engine *engine,
                      const char *path, const struct lvhd_open_options *opts,
                      bool chain);

/* A chain for a plain reader, leaf first: zero-initialise, add its files. */
struct plain {
  const struct mem_file *files[MEM_DISKS];
  uint64_t footers[MEM_DISKS];
  size_t count;
};
void plain_add(struct plain *plain, const struct mem_file *file);

/* One sector of the disk; false: a file does not hold what it should. */
bool plain_sector(const struct plain *plain, uint64_t sector,
                  uint8_t out[512]);

#endif
