/* SPDX-License-Identifier: MIT
 *
 * What the verbs that make a new file share: create.c and convert.c (the
 * verbs), look.c (the checks), publish.c (the file), outcome.c (the result).
 * Private to op.
 */
#ifndef LV_OP_CREATE_ARGS_H
#define LV_OP_CREATE_ARGS_H

#include "base/verb.h"
#include "format/plan.h"
#include "image/facts.h"
#include "io/folder.h"
#include "io/volume.h"
#include "op/way.h"

struct lv_outcome;

/* What a child takes from its parent, and the state of the file that said
 * so: the worker need not read it again while that stands. */
struct lv_parent {
  struct stat st;
  uint8_t uuid[16];
  uint64_t size;       /* bytes the guest sees */
  uint32_t block_size; /* bytes; 0: fixed */
};

struct lv_create {
  struct lv_env *env;
  enum lvhd_type type;
  int64_t size;                    /* bytes; 0 for differencing disks */
  struct lvhd_create_options opts; /* base, label: owned, or NULL;
                                      windows_parent is below */
  char *image;  /* as given (with its length in opts), then joined */
  char *parent; /* the same; NULL but for differencing disks */
  bool converts; /* the size comes from a source: lv_create_size() */
  char *source;  /* convert: the other path of the call, where that is absolute:
                    a relative image starts from its folder; NULL */
  char *windows; /* of a child: windows_parent, then plain; NULL: none */
  size_t relative_at; /* where in parent what was given begins; 0: absolute */
  const struct lv_way *way; /* one of many children: as it was found for the
                               folder of all; not owned; else NULL */
  bool from_base; /* one of many children, whose parent was relative: a relative
                     image starts from base, too */
  char *twin; /* the name of the existing file that is the image in Windows'
                 eyes, its name differing in case only; else NULL */
  char *real_folder; /* of the image; NULL until it was looked at */
  char *real_parent;
  struct lv_parent seen; /* st.st_ino 0: not looked at yet */
  const struct lv_findings *noted; /* of what was converted; NULL: nothing */
  struct lv_outcome *outcome; /* the result; NULL until success */
  struct lv_facts *kept;      /* the same, of a file that was there before */
};

/* How often a creation looks again when the nearest folder was removed under
 * it (a sibling that failed takes the folders away that it made). */
#define LV_LOOKS 100

/* A moment before look number i: a folder can be found for as long as its
 * removal takes, and ext4 then refuses unnamed files in it with EPERM. */
void lv_look_rest(int i);

/* What became of the plan, for the result. */
struct lv_written {
  uint64_t file_size;
  uint64_t free; /* bytes of the volume that are left */
  uint32_t blocks_used, alignment;
};

/* What a look at the host found; open until lv_look_close(). */
struct lv_look {
  struct lv_file parent;
  struct lv_folder folder;
  struct lv_plan plan;
  struct lv_volume volume;
  struct lv_written written; /* once it was */
  bool unnamable; /* the parent has no name in Windows: LOCATOR_UNNAMABLE */
  bool asked;  /* lv_create_image was */
  bool exists; /* something is at the image's name (and keep was asked) */
};

/* Fills a zeroed struct, everything copied.  On failure the caller clears. */
int lv_create_init(struct lv_create *c, struct lv_env *env,
                   enum lvhd_type type, const char *image,
                   const char *parent, const struct lvhd_create_options *opts,
                   struct lvhd_error *err);
/* Frees what the struct owns, not itself. */
void lv_create_clear(struct lv_create *c);

/* The name of the image in its folder. */
const char *lv_create_name(const struct lv_create *c);

/* The strings, the size and the other values: design 1.5, steps 3 and 4.
 * Joins relative paths. */
int lv_create_words(struct lv_create *c, struct lvhd_error *err);

/* What concerns the parent and the values alone, of the creation of many
 * children.  Joins a relative parent to base. */
int lv_create_parent_words(struct lv_create *c, struct lvhd_error *err);

/* Whether a converted disk may have c->size.  2,040 GiB exactly may: the limit
 * of the format, and what has it exists already.  A raw file has any size. */
int lv_create_size(const struct lv_create *c, struct lvhd_error *err);

/* Parent, image and volume: design 1.5, steps 5 to 7.  The plan is made with
 * `uuid`.  Without volume (the worker asks with its own file) step 7 is left
 * to the caller.  On failure everything is closed. */
int lv_create_look(struct lv_create *c, struct lv_look *look,
                   const uint8_t uuid[16], bool volume,
                   struct lvhd_error *err);

/* The parts of it, for many children that share parent and folders: the parent
 * into look->parent (open, also after a failure); what image and folder are
 * (look->folder and c->real_folder are there); the plan.  The folder of the
 * image as text: malloc'ed; NULL: no memory. */
int lv_create_parent(struct lv_create *c, struct lv_look *look,
                     struct lvhd_error *err);
int lv_create_image(struct lv_create *c, struct lv_look *look,
                    struct lvhd_error *err);
int lv_create_plan(struct lv_create *c, struct lv_look *look,
                   const uint8_t uuid[16], struct lvhd_error *err);
char *lv_create_folder(const struct lv_create *c);

/* Nobody has touched the file between the two looks. */
bool lv_same_state(const struct stat *a, const struct stat *b);

void lv_look_close(struct lv_look *look, const struct lv_env *env);

/* Step 7: the volume can hold the file.  fd: as of lv_volume_check(). */
int lv_look_room(const struct lv_create *c, struct lv_look *look, int fd,
                 struct lvhd_error *err);

/* The result of a new file, made before it is published; mtime, which is told
 * when it is, comes after. */
int lv_outcome_new(struct lv_create *c, const struct lv_look *look,
                   struct lvhd_error *err);
void lv_outcome_published(struct lv_create *c, int64_t mtime);

/* keep: what is at the image's name is the disk that was asked for, or
 * E_ALREADY_EXISTS/OTHER_DISK.  With a job the result is filled from the
 * file, too. */
int lv_outcome_kept(struct lv_create *c, struct lv_job *job,
                    struct lvhd_error *err);

/* The info of an outcome that was taken from its creation. */
const struct lvhd_info *lv_outcome_shown(const struct lv_outcome *outcome);

/* NULL until success. */
const struct lvhd_info *lv_outcome_info(const struct lv_create *c);

#endif
