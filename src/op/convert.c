/* SPDX-License-Identifier: MIT
 *
 * The verb convert: a new image with the content of another disk.  Read
 * convert_run() first, then lv_publish() and lv_pour().
 *
 * Only the new file is written: it appears whole or not at all, so there is
 * nothing that an interruption could leave half done.
 *
 *   1 arguments   2 what is asked for   3 the source   4 the verb
 */
#include "op/change.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "io/drives.h"
#include "op/inplace.h"
#include "op/pour.h"

#define ROUND_MAX (INT64_C(1) << 30)

/* What is doubtful in the chains read. */
struct notes {
  struct lv_findings list;
  char *in[2 * LV_FINDINGS_EACH]; /* the file that tells of each, owned */
};

struct convert {
  struct lv_create create;   /* first: lv_publish hands it to write_file */
  struct lv_inplace source;  /* its path and the options of its chain */
  bool from_raw;
  bool parent_given;
  int64_t round;
  struct lv_pour pour;
  struct notes *notes; /* NULL: nothing was noted */
};

/* ---- 1 arguments ----------------------------------------------------- */

static void free_notes(struct notes *notes) {
  if (notes == NULL)
    return;
  for (size_t i = 0; i < notes->list.count; i++)
    free(notes->in[i]);
  lv_findings_free(&notes->list);
  free(notes);
}

static void convert_free(void *args) {
  struct convert *v = args;
  if (v == NULL)
    return;
  lv_create_clear(&v->create);
  lv_inplace_clear(&v->source);
  free_notes(v->notes);
  free(v);
}

static int fill(struct convert *v, struct lv_env *env, const char *source,
                const char *dest, const struct lvhd_convert_options *opts,
                struct lvhd_error *err) {
  /* without a parent the words say so */
  const char *parent = opts->parent ? opts->parent : "";
  int code = lv_create_init(&v->create, env, opts->to, dest, parent,
                            &opts->create, err);
  if (code == 0)
    code = lv_inplace_init(&v->source, env, source, &opts->open, err);
  if (code == 0 && (source[0] == '/' || lv_is_windows(env, source))) {
    v->create.source = strdup(source);
    if (v->create.source == NULL)
      code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  v->create.converts = true;
  v->from_raw = opts->from_raw;
  v->parent_given = opts->parent != NULL;
  v->round = opts->round;
  return code;
}

int lv_convert_args(void **out, struct lv_env *env, const char *source,
                    const char *dest,
                    const struct lvhd_convert_options *opts,
                    struct lvhd_error *err) {
  struct convert *v = calloc(1, sizeof *v);
  int code = 0;
  if (v == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  code = fill(v, env, source, dest, opts, err);
  if (code != 0) {
    convert_free(v);
    return code;
  }
  *out = v;
  return 0;
}

/* ---- 2 what is asked for --------------------------------------------- */

static int check_words(struct convert *v, struct lvhd_error *err) {
  bool child = v->create.type == LVHD_DIFFERENCING;
  if (child && !v->parent_given)
    return lv_fail(err, LVHD_E_POINTER, LV_R_NO_PARENT_GIVEN);
  if (!child && v->parent_given)
    return lv_fail(err, LVHD_E_INVALIDARG, LV_R_PARENT_NOT_WANTED);
  if (v->round != 0 && (v->round < (int64_t)LV_SECTOR ||
                        v->round > ROUND_MAX ||
                        (v->round & (v->round - 1)) != 0)) {
    lv_fail(err, LVHD_E_INVALIDARG, LV_R_ROUND_RANGE);
    if (err) {
      err->has = LVHD_HAS_ACTUAL;
      err->actual = (uint64_t)v->round;
    }
    return LVHD_E_INVALIDARG;
  }
  return lv_create_words(&v->create, err);
}

/* The new disk's size, from the source's. */
static int take_size(struct convert *v, const struct lv_source *source,
                     struct lvhd_error *err) {
  uint64_t round = v->round == 0 ? 1 : (uint64_t)v->round;
  int code = 0;
  if (source->size > (uint64_t)INT64_MAX - (round - 1))
    code = lv_fail_range(err, LVHD_VM_E_IMAGE_SIZE_TOO_LARGE, LV_R_SIZE_LIMIT,
                         (uint64_t)INT64_MAX - (round - 1), source->size);
  if (code == 0) {
    v->create.size = (int64_t)lv_round_up(source->size, round);
    code = lv_create_size(&v->create, err);
  }
  if (code != 0)
    lv_error_path(err, v->source.path);
  return code;
}

static int check_parent_size(const struct convert *v,
                             struct lvhd_error *err) {
  const struct lv_create *c = &v->create;
  if (c->type != LVHD_DIFFERENCING || c->seen.size == (uint64_t)c->size)
    return 0;
  lv_fail_range(err, LVHD_VM_E_HD_IMAGE_OPEN_FAIL, LV_R_PARENT_SIZE,
                (uint64_t)c->size, c->seen.size);
  err->has |= LVHD_AT_PARENT;
  return LVHD_VM_E_HD_IMAGE_OPEN_FAIL;
}

/* Which files the call was about, once, where the error leaves the verb: a
 * source that is at fault has said so already. */
static int tell_paths(const struct convert *v, int code,
                      struct lvhd_error *err) {
  if (code == 0 || err == NULL)
    return code;
  if (err->path == NULL)
    lv_error_path(err, v->create.image);
  if (err->parent == NULL && v->parent_given)
    lv_error_parent(err, v->create.parent);
  return code;
}

/* ---- 3 the source ---------------------------------------------------- */

static int open_source(struct convert *v, struct lv_source *source,
                       struct lvhd_error *err) {
  int code = lv_source_open(source, v->create.env, v->source.path,
                            v->from_raw, &v->source.opts, err);
  if (code == 0)
    code = take_size(v, source, err);
  if (code != 0)
    lv_source_close(source);
  return code;
}

/* The parent with all that it reads from; still the file that was looked at. */
static int open_parent(struct convert *v, const struct lv_look *look,
                       struct lv_source *parent, struct lvhd_error *err) {
  struct lv_create *c = &v->create;
  const struct lv_file *file = NULL;
  int code = check_parent_size(v, err);
  if (code != 0)
    return code;
  code = lv_source_open(parent, c->env,
                        lv_is_windows(c->env, c->parent) ? c->parent
                                                         : c->real_parent,
                        false,
                        &v->source.opts, err);
  if (code == 0) {
    file = &lv_disk_chain_of(parent->disk)->images[0].file;
    if (file->st.st_dev != look->parent.st.st_dev ||
        file->st.st_ino != look->parent.st.st_ino)
      code = lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_FILE_REPLACED);
  }
  if (code != 0) {
    lv_error_parent(err, c->real_parent);
    lv_error_path(err, c->image);
    err->has |= LVHD_AT_PARENT;
  }
  return code;
}

/* Both chains may have the file, and the parent's is read again where the new
 * file is made again. */
static bool is_noted(const struct notes *notes, enum lv_reason reason,
                     const char *path) {
  for (size_t i = 0; i < notes->list.count; i++)
    if (notes->list.items[i].reason == (int)reason &&
        strcmp(notes->in[i], path) == 0)
      return true;
  return false;
}

/* Whose finding the new one is, if there is one; child: whose merge, or NULL. */
static void name_note(struct notes *notes, size_t had, const char *path,
                      const uint8_t *child) {
  struct lv_findings *list = &notes->list;
  if (list->count == had)
    return;
  if (child)
    memcpy(list->items[had].expected_uuid, child, 16);
  notes->in[had] = strdup(path);
  list->no_memory |= notes->in[had] == NULL;
  list->items[had].has |= LVHD_AT_PARENT; /* not of the new disk */
  list->items[had].path = notes->in[had];
}

/* The parent was changed after its child was made. */
static void note_time(struct notes *notes, const struct lv_image *child,
                      const struct lv_image *parent) {
  size_t had = notes->list.count;
  if (!is_noted(notes, LV_R_PARENT_TIME, child->path))
    lv_parent_time(parent, child, &notes->list);
  name_note(notes, had, child->path, NULL);
}

/* A merge into image i was interrupted, of a child that is not read here: what
 * is read is a mixture. */
static void note_merge(struct notes *notes, const struct lv_chain *chain,
                       size_t i) {
  const struct lv_image *image = &chain->images[i];
  size_t had = notes->list.count;
  if (image->journal != LV_JOURNAL_GOOD ||
      image->note.verb != LV_JOURNAL_MERGE ||
      is_noted(notes, LV_R_MERGE_PENDING, image->path))
    return;
  for (size_t k = 0; k < i; k++)
    if (memcmp(image->note.other, chain->images[k].footer.uuid, 16) == 0)
      return;
  lv_finding(&notes->list, LVHD_WARNING, LV_R_MERGE_PENDING, LVHD_HAS_CHILD,
             0, 0, 0);
  name_note(notes, had, image->path, image->note.other);
}

/* What is read may make no sense, and the new disk records nothing that would
 * tell. */
static int note_doubts(struct convert *v, const struct lv_source *source,
                      struct lvhd_error *err) {
  const struct lv_chain *chain =
    source->disk ? lv_disk_chain_of(source->disk) : NULL;
  struct notes *notes = v->notes;
  if (chain == NULL || chain->count == 1)
    return 0;
  if (notes == NULL)
    notes = v->notes = calloc(1, sizeof *notes);
  for (size_t i = 0; notes && !notes->list.no_memory && i + 1 < chain->count;
       i++) {
    note_time(notes, &chain->images[i], &chain->images[i + 1]);
    if (!notes->list.no_memory)
      note_merge(notes, chain, i + 1);
  }
  if (notes == NULL || notes->list.no_memory)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  v->create.noted = &notes->list;
  if (notes->list.count > 0)
    return 0;
  free_notes(notes); /* of thousands of tasks most note nothing */
  v->notes = NULL;
  v->create.noted = NULL;
  return 0;
}

/* For lv_publish. */
static int write_file(struct lv_create *c, struct lv_look *look,
                      struct lv_newfile *file, struct lv_job *job,
                      struct lvhd_error *err) {
  struct convert *v = (struct convert *)c;
  struct lv_source parent = LV_SOURCE_INIT;
  bool child = c->type == LVHD_DIFFERENCING;
  int code = child ? open_parent(v, look, &parent, err) : 0;
  if (code == 0 && child)
    code = note_doubts(v, &parent, err);
  if (code == 0) {
    v->pour.against = child ? &parent : NULL;
    code = lv_pour(&v->pour, c, look, file, job, err);
  }
  if (code == 0)
    code = lv_source_same(v->pour.from, err);
  if (code == 0 && child)
    code = lv_source_same(&parent, err);
  lv_source_close(&parent);
  return code;
}

/* ---- 4 the verb ------------------------------------------------------ */

static int look_at_all(struct convert *v, struct lvhd_error *err) {
  static const uint8_t none[16] = {0};
  struct lv_source source = LV_SOURCE_INIT;
  struct lv_look look;
  int code = open_source(v, &source, err);
  if (code != 0)
    return code;
  lv_source_close(&source);
  code = lv_create_look(&v->create, &look, none, true, err);
  if (code != 0)
    return code;
  code = check_parent_size(v, err);
  if (code == 0 && look.exists)
    code = lv_outcome_kept(&v->create, NULL, err);
  lv_look_close(&look, v->create.env);
  return code;
}

static int convert_prepare(void *args, struct lvhd_error *err) {
  struct convert *v = args;
  int code = check_words(v, err);
  if (code == 0 && v->create.opts.preflight == LVHD_YES)
    code = look_at_all(v, err);
  return tell_paths(v, code, err);
}

static int convert_run(void *args, struct lv_job *job,
                       struct lvhd_error *err) {
  struct convert *v = args;
  struct lv_source source = LV_SOURCE_INIT;
  int code = open_source(v, &source, err);
  if (code == 0) {
    lv_job_total(job, (uint64_t)v->create.size, 1);
    v->pour.from = &source;
    code = note_doubts(v, &source, err);
    if (code == 0)
      code = lv_publish(&v->create, write_file, job, err);
    v->pour.from = NULL;
  }
  lv_source_close(&source);
  if (code == 0)
    lv_job_step(job, 0, 1);
  return tell_paths(v, code, err);
}

static unsigned convert_kind(const void *args) {
  (void)args;
  return LV_LONG;
}

static const struct lvhd_info *convert_info(const void *args) {
  return lv_outcome_info(&((const struct convert *)args)->create);
}

static const char *convert_path(const void *args) {
  return ((const struct convert *)args)->create.image;
}

const struct lv_verb lv_convert = {
  .name = "convert",
  .prepare = convert_prepare,
  .run = convert_run,
  .free = convert_free,
  .kind = convert_kind,
  .info = convert_info,
  .path = convert_path,
};
