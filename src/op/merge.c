/* SPDX-License-Identifier: MIT
 *
 * The verb merge: the sectors of a differencing disk, and of all layers
 * between, go into its parent or a farther ancestor, the target.
 *
 * Until it has succeeded the child reads as before: what is written into the
 * target are sectors that the layers above it hold themselves, so that no
 * read of the child ever comes down to them, and the writer keeps the target
 * whole at each moment.  Running it again finishes it, wherever it broke:
 *
 *   1 the note beside the target: the child's identifier, the target's time
 *       from here on a changed time of the target is the merge's own
 *   2 the data, flushed
 *       a re-run keeps the note and writes the same again
 *   3 the target's time is durable; it is the final one, and another one than
 *     the note tells
 *   4 it is recorded in the layer above the target
 *       a re-run that sees it, and finds all data in the target, writes
 *       nothing into that, nor does it mind other children of it.  The time
 *       alone does not do: the child may have been relinked or written since
 *   5 the files of children= are hung on the target
 *       one that hangs there already is taken for one of the child's if the
 *       target holds all of the child's data
 *   6 when the files are to be deleted: the layers between, from below; the
 *     layer above each is hung on the target before, so that the child has a
 *     whole chain at each moment, with all in it that is still there
 *       a crash just between the two leaves one file that nobody needs
 *   7 the note goes
 *       a re-run is a merge of its own, of the same bytes; where that is all
 *       that was asked for, it finds them in the target, and leaves it alone
 *   8 the child is deleted
 *
 * The layers between keep their data, but what they lack shines through from
 * the target: by themselves they are of no use after the merge.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "io/edit.h"
#include "io/folder.h"
#include "op/change.h"
#include "op/fold.h"
#include "op/inplace.h"
#include "op/relink.h"

struct merge {
  struct lv_inplace base; /* first: lv_inplace_path and lv_inplace_info */
  char *into;             /* NULL: the parent */
  char **children;
  size_t child_count;
  bool remove;
};

/* A file of children=. */
struct kid {
  struct lv_image image;
  bool done; /* it hangs on the target already */
};

/* What a run holds. */
struct work {
  struct merge *args;
  struct lv_env *env;
  const struct lvhd_open_options *opts;
  struct lv_job *job;
  struct lv_chain chain; /* the child first */
  size_t target;         /* its place in the chain */
  bool complete;         /* a run that broke came as far as step 4, and what
                            it has done still counts */
  bool idle;             /* all is done, nothing was interrupted */
  struct kid *kids;
  size_t kid_count;
  struct lv_disk *upper; /* the layers above the target */
  struct lv_writer *writer;
  struct lv_change change;
  uint64_t skipped;  /* files that the search could not read */
  struct lv_relinked told; /* of the files that were hung on the target */
};

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

static struct lv_image *child_of(struct work *w) {
  return &w->chain.images[0];
}

static struct lv_image *target_of(struct work *w) {
  return &w->chain.images[w->target];
}

static bool stopped(void *job) {
  return lv_job_cancelled(job);
}

/* ---- arguments ------------------------------------------------------- */

static void free_args(void *args) {
  struct merge *m = args;
  if (m == NULL)
    return;
  for (size_t i = 0; i < m->child_count; i++)
    free(m->children[i]);
  free(m->children);
  free(m->into);
  lv_inplace_clear(&m->base);
  free(m);
}

static int copy_args(struct merge *m, struct lv_env *env, const char *child,
                     const struct lvhd_merge_options *opts,
                     struct lvhd_error *err) {
  int code = lv_inplace_init(&m->base, env, child, &opts->open, err);
  m->remove = opts->remove;
  if (code == 0 && opts->into)
    code = lv_absolute_path(&m->into, env, opts->into, err);
  if (code != 0)
    return code;
  m->children = calloc(opts->child_count + 1, sizeof *m->children);
  if (m->children == NULL)
    return no_memory(err);
  for (size_t i = 0; code == 0 && i < opts->child_count; i++) {
    code = lv_absolute_path(&m->children[i], env, opts->children[i], err);
    m->child_count += code == 0;
  }
  return code;
}

int lv_merge_args(void **out, struct lv_env *env, const char *child,
                  const struct lvhd_merge_options *opts,
                  struct lvhd_error *err) {
  struct merge *m = calloc(1, sizeof *m);
  int code = m ? copy_args(m, env, child, opts, err) : no_memory(err);
  *out = NULL;
  if (code != 0) {
    free_args(m);
    return code;
  }
  *out = m;
  return 0;
}

/* ---- naming what is at fault ----------------------------------------- */

/* A failure at image i of the chain: the child is err->path, always. */
static int at_layer(struct work *w, size_t i, int code,
                    struct lvhd_error *err) {
  const char *path = w->chain.images[i].path; /* NULL: closed by a failure */
  if (code == 0)
    return code;
  if (i > 0) {
    err->has |= LVHD_AT_PARENT;
    err->layer = (unsigned)i + 1;
    lv_error_parent(err, path ? path : err->path);
    lv_error_path(err, w->args->base.path);
  } else {
    lv_error_path(err, path ? path : w->args->base.path);
  }
  return code;
}

static int at_kid(int code, const char *path, const struct lv_image *parent,
                  struct lvhd_error *err) {
  if (code != 0) {
    lv_error_path(err, path);
    lv_error_parent(err, parent->path);
  }
  return code;
}

/* ---- which disks ----------------------------------------------------- */

/* The place in the chain of the file that `into` names. */
static int find_target(struct work *w, struct lvhd_error *err) {
  const char *into = w->args->into;
  struct stat st;
  int code = 0;
  w->target = 1;
  if (into == NULL)
    return 0;
  code = lv_file_stat(&st, w->env, into, err);
  if (code != 0)
    return code;
  for (; w->target < w->chain.count; w->target++) {
    const struct stat *own = &target_of(w)->file.st;
    if (own->st_dev == st.st_dev && own->st_ino == st.st_ino)
      return 0;
  }
  return lv_fail(err, LVHD_E_INVALIDARG, LV_R_NOT_AN_ANCESTOR);
}

static int open_chain(struct work *w, struct lvhd_error *err) {
  const struct lvhd_open_options *opts = w->opts;
  int code = lv_chain_open(&w->chain, w->env, w->args->base.path,
                           opts->parents, opts->parent_count,
                           opts->max_depth, NULL, err);
  if (code != 0)
    return code;
  if (!lv_image_has_parent(child_of(w))) {
    code = lv_fail(err, LVHD_VM_E_WRONG_HD_IMAGE_TYPE, LV_R_TYPE_UNFIT);
    return at_layer(w, 0, code, err);
  }
  code = find_target(w, err);
  if (code != 0) {
    err->has |= LVHD_AT_PARENT;
    lv_error_path(err, w->args->base.path);
    lv_error_parent(err, w->args->into);
  }
  return code;
}

/* All layers are as they were when the chain was opened, and fit. */
static int check_layers(struct work *w, struct lvhd_error *err) {
  uint64_t size = child_of(w)->footer.current_size;
  for (size_t i = 0; i <= w->target; i++) {
    const struct lv_image *image = &w->chain.images[i];
    int code = lv_refuse_saved(image, err);
    if (code == 0 && image->footer.current_size != size)
      code = lv_fail_range(err, LVHD_VM_E_HD_IMAGE_OPEN_FAIL,
                           LV_R_PARENT_SIZE, size,
                           image->footer.current_size);
    if (code == 0 && i < w->target)
      code = lv_change_same_parent(&w->chain, i, err);
    if (code != 0)
      return at_layer(w, i, code, err);
  }
  return 0;
}

static int take_layers(struct work *w, struct lvhd_error *err) {
  uint8_t merging[16];
  memcpy(merging, child_of(w)->footer.uuid, sizeof merging);
  for (size_t i = 0; i <= w->target; i++) {
    int code = lv_change_take(&w->chain.images[i], w->env, LV_LOCK_ALONE,
                              i == w->target ? merging : NULL,
                              w->opts->force, err);
    if (code != 0)
      return at_layer(w, i, code, err);
  }
  return lv_change_lock_parents(&w->chain, w->target + 1, w->env, err);
}

/* What is to be deleted may be what another merge, into a disk below the target,
 * waits for: without it that one could not be run again. */
static int check_waiting(struct work *w, struct lvhd_error *err) {
  if (!w->args->remove || w->opts->force)
    return 0;
  for (size_t i = w->target + 1; i < w->chain.count; i++) {
    const struct lv_image *below = &w->chain.images[i];
    if (below->journal != LV_JOURNAL_GOOD ||
        below->note.verb != LV_JOURNAL_MERGE)
      continue;
    for (size_t k = 0; k < w->target; k++)
      if (memcmp(below->note.other, w->chain.images[k].footer.uuid, 16) == 0)
        return at_layer(w, i, lv_journal_pending(&below->note, err), err);
  }
  return 0;
}

/* ---- the recorded times ---------------------------------------------- */

/* A note of this merge tells the time that the target had before it; the
 * layer above the target records the one that it has now. */
static bool is_recorded(struct work *w) {
  const struct lv_image *target = target_of(w);
  uint32_t recorded = w->chain.images[w->target - 1].header.parent_timestamp;
  return target->journal == LV_JOURNAL_GOOD &&
         recorded != lv_timestamp(target->file.st.st_mtim.tv_sec) &&
         recorded == lv_timestamp(target->changed);
}

static int check_times(struct work *w, struct lvhd_error *err) {
  return w->opts->force
           ? 0
           : lv_change_unmodified(&w->chain, 0, w->target - 1, err);
}

/* ---- what a run that broke has done ------------------------------------ */

/* Whether the target has all that the layers above it hold. */
static int compare(struct work *w, bool *same, struct lvhd_error *err) {
  struct lv_fold fold = {.env = w->env, .upper = w->upper,
                         .target = target_of(w), .job = w->job};
  struct lv_disk *lower = NULL;
  int code = lv_disk_part(&lower, w->env, &w->chain, w->target,
                          w->chain.count - w->target, err);
  if (code == 0)
    code = lv_fold_same(&fold, lower, same, err);
  lv_disk_free(lower);
  return code;
}

/* No merge is under way, and the time is recorded. */
static bool is_settled(struct work *w) {
  const struct lv_image *target = target_of(w);
  return target->journal == LV_JOURNAL_NONE &&
         w->chain.images[w->target - 1].header.parent_timestamp ==
           lv_timestamp(target->file.st.st_mtim.tv_sec);
}

static int find_complete(struct work *w, struct lvhd_error *err) {
  bool data_alone = !w->args->remove && w->args->child_count == 0;
  int code = lv_disk_part(&w->upper, w->env, &w->chain, 0, w->target, err);
  if (code == 0 && is_recorded(w))
    code = compare(w, &w->complete, err);
  else if (code == 0 && data_alone && is_settled(w))
    code = compare(w, &w->idle, err);
  return at_layer(w, w->target, code, err);
}

/* ---- children to be reattached --------------------------------------- */

static bool is_twice(const struct work *w, const struct lv_image *image) {
  for (size_t i = 0; i < w->kid_count; i++) {
    const struct stat *st = &w->kids[i].image.file.st;
    if (st->st_dev == image->file.st.st_dev &&
        st->st_ino == image->file.st.st_ino)
      return true;
  }
  return false;
}

static int fail_no_child(const struct work *w, const struct lv_image *image,
                         struct lvhd_error *err) {
  int code =
    lv_fail(err, LVHD_VM_E_PARENT_CHILD_ID_MISMATCH, LV_R_NOT_A_CHILD);
  if (lv_image_has_parent(image)) {
    err->has |= LVHD_HAS_UUIDS;
    memcpy(err->expected_uuid, w->chain.images[0].footer.uuid, 16);
    memcpy(err->actual_uuid, image->header.parent_uuid, 16);
  }
  return code;
}

static bool is_layer(const struct work *w, const struct stat *st) {
  for (size_t i = 0; i < w->chain.count; i++) {
    const struct stat *own = &w->chain.images[i].file.st;
    if (own->st_dev == st->st_dev && own->st_ino == st->st_ino)
      return true;
  }
  return false;
}

/* Whether it is one of the child's, or of the target's already. */
static int check_kid(struct work *w, struct kid *kid,
                     struct lvhd_error *err) {
  const struct lv_image *image = &kid->image;
  const struct lv_image *child = child_of(w), *target = target_of(w);
  uint32_t now = lv_timestamp(child->file.st.st_mtim.tv_sec);
  if (!lv_image_has_parent(image) || is_layer(w, &image->file.st))
    return fail_no_child(w, image, err);
  kid->done =
    memcmp(image->header.parent_uuid, target->footer.uuid, 16) == 0;
  if (!kid->done &&
      memcmp(image->header.parent_uuid, child->footer.uuid, 16) != 0)
    return fail_no_child(w, image, err);
  if (image->footer.current_size != target->footer.current_size)
    return lv_fail_range(err, LVHD_VM_E_HD_IMAGE_OPEN_FAIL, LV_R_PARENT_SIZE,
                         image->footer.current_size,
                         target->footer.current_size);
  if (!kid->done && !w->opts->force &&
      image->header.parent_timestamp != now)
    return lv_fail_range(
      err, LVHD_VM_E_PARENT_MODIFIED, LV_R_PARENT_TIME,
      (uint64_t)((int64_t)image->header.parent_timestamp + LV_EPOCH),
      (uint64_t)((int64_t)now + LV_EPOCH));
  return lv_relink_words(w->env, image->path, target->path, err);
}

static int take_kid(struct work *w, const char *path,
                    struct lvhd_error *err) {
  struct kid *kid = &w->kids[w->kid_count];
  int code = 0;
  *kid = (struct kid){.image = LV_IMAGE_INIT};
  code = lv_image_open(&kid->image, w->env, path, err);
  if (code != 0)
    return code;
  if (is_twice(w, &kid->image)) {
    lv_image_close(&kid->image, w->env);
    return 0;
  }
  w->kid_count++;
  /* before the locks: what it is tells more than that it is in use */
  code = check_kid(w, kid, err);
  if (code == 0)
    code = lv_change_take(&kid->image, w->env, LV_LOCK_ALONE, NULL,
                          w->opts->force, err);
  if (code == 0)
    code = lv_refuse_saved(&kid->image, err);
  return code == 0 ? check_kid(w, kid, err) : code;
}

static int take_kids(struct work *w, struct lvhd_error *err) {
  struct merge *m = w->args;
  int code = 0;
  w->kids = calloc(m->child_count + 1, sizeof *w->kids);
  if (w->kids == NULL)
    return no_memory(err);
  for (size_t i = 0; code == 0 && i < m->child_count; i++)
    code = at_kid(take_kid(w, m->children[i], err), m->children[i],
                  child_of(w), err);
  return code;
}

/* A file of children= hangs on the target: left so by a run that broke if all
 * data is there by then, else a sibling of the child that would be ruined. */
static int check_done(struct work *w, struct lvhd_error *err) {
  bool same = false;
  size_t i = 0;
  int code = 0;
  while (i < w->kid_count && !w->kids[i].done)
    i++;
  if (i == w->kid_count || w->complete)
    return 0;
  code = compare(w, &same, err);
  if (code == 0 && !same)
    code = at_kid(fail_no_child(w, &w->kids[i].image, err),
                  w->kids[i].image.path, child_of(w), err);
  return code;
}

/* ---- other children -------------------------------------------------- */

/* Those of the target and of the layers between would be ruined, unless that
 * has been done; those of what is deleted would lose it. */
static bool has_to_lose(const struct work *w, size_t i) {
  bool goes = w->args->remove && i < w->target;
  return goes || (i > 0 && !w->complete);
}

static int check_others(struct work *w, struct lvhd_error *err) {
  const struct lv_image **disks = calloc(w->target + 1, sizeof *disks);
  struct lv_search search = {
    .env = w->env,
    .disks = disks,
    .chain = &w->chain,
    .opts = w->opts,
    .but = (const char *const *)w->args->children,
    .but_count = w->args->child_count,
    .stop = stopped,
    .stop_arg = w->job,
  };
  int code = 0;
  if (disks == NULL)
    return no_memory(err);
  for (size_t i = 0; i <= w->target; i++)
    if (has_to_lose(w, i))
      disks[search.disk_count++] = &w->chain.images[i];
  if (search.disk_count > 0)
    code = lv_refuse_others(&search, err);
  w->skipped = search.skipped;
  free(disks);
  if (code == LVHD_E_SHARING_VIOLATION) {
    lv_error_parent(err, err->path);
    lv_error_path(err, w->args->base.path);
  }
  return code;
}

/* ---- the times of those that are to be written to last ----------------- */

/* A file that gets a new parent's time keeps its own; where that is not ours to
 * set it is better known now than when all has been copied. */
static int try_time(struct work *w, const struct lv_image *image,
                    struct lvhd_error *err) {
  struct stat st;
  int code = 0;
  if (w->env->sys->fstat(w->env->sys, image->file.fd, &st) != 0)
    code = lv_fail_errno(err, LV_STEP_INPLACE, errno, "fstat");
  else
    code = lv_edit_touch(&image->file, w->env, &st.st_mtim, err);
  if (code == LVHD_E_ACCESSDENIED)
    err->reason = LV_R_TIME_LOST;
  return at_kid(code, image->path, target_of(w), err);
}

static int try_times(struct work *w, struct lvhd_error *err) {
  int code = 0;
  if (w->opts->force)
    return 0;
  /* with remove all of them are hung on the target in turn */
  for (size_t i = w->args->remove ? 0 : w->target - 1;
       code == 0 && i < w->target; i++)
    code = try_time(w, &w->chain.images[i], err);
  for (size_t i = 0; code == 0 && i < w->kid_count; i++)
    code = try_time(w, &w->kids[i].image, err);
  return code;
}

/* ---- the steps ------------------------------------------------------- */

/* Everything that can be refused, before anything is changed. */
static int look(struct work *w, struct lvhd_error *err) {
  int code = open_chain(w, err);
  if (code == 0)
    code = take_layers(w, err);
  if (code == 0)
    code = check_layers(w, err);
  if (code == 0)
    code = check_waiting(w, err);
  for (size_t i = 0; code == 0 && i + 1 < w->target; i++)
    code = at_layer(w, i,
                    lv_relink_words(w->env, w->chain.images[i].path,
                                    target_of(w)->path, err),
                    err);
  if (code == 0)
    code = check_times(w, err);
  if (code == 0)
    code = find_complete(w, err);
  if (code == 0)
    code = take_kids(w, err);
  return code == 0 ? check_others(w, err) : code;
}

/* Steps 1 and 2. */
static int copy_all(struct work *w, struct lv_fold *fold,
                    struct lvhd_error *err) {
  int code = lv_writer_new(&w->writer, target_of(w), w->env, w->opts->sync,
                           err);
  fold->writer = w->writer;
  if (code == 0)
    code = lv_fold_measure(fold, err);
  if (code == 0)
    code = lv_change_begin(&w->change, err);
  if (code == 0)
    code = lv_fold_copy(fold, err);
  return code == 0 ? lv_writer_finish(w->writer, err) : code;
}

static int copy(struct work *w, struct lvhd_error *err) {
  struct lv_fold fold = {.env = w->env, .upper = w->upper,
                         .target = target_of(w), .job = w->job};
  int code = check_done(w, err);
  if (code == 0)
    code = try_times(w, err);
  if (code != 0)
    return code;
  w->change = (struct lv_change){
    .env = w->env,
    .image = target_of(w),
    .journal = {.verb = LV_JOURNAL_MERGE},
    .sync = w->opts->sync,
    .force = w->opts->force,
  };
  memcpy(w->change.journal.other, child_of(w)->footer.uuid, 16);
  code = w->complete ? lv_change_begin(&w->change, err)
                     : copy_all(w, &fold, err);
  return at_layer(w, w->target, code, err);
}

/* Step 3.  Those that hang on the target, and a re-run, must see the change. */
static int final_time(struct work *w, int64_t *mtime,
                      struct lvhd_error *err) {
  const struct lv_sys *sys = w->env->sys;
  int fd = target_of(w)->file.fd;
  struct stat st;
  int code = w->complete
               ? 0
               : lv_edit_move_on(&target_of(w)->file, w->env,
                                 w->change.journal.mtime.tv_sec, err);
  if (code != 0)
    return code;
  if (!w->complete && w->opts->sync != LVHD_SYNC_NONE &&
      sys->fsync(sys, fd) != 0)
    return lv_fail_errno(err, LV_STEP_INPLACE, errno, "fsync");
  if (sys->fstat(sys, fd, &st) != 0)
    return lv_fail_errno(err, LV_STEP_INPLACE, errno, "fstat");
  *mtime = st.st_mtim.tv_sec;
  return 0;
}

/* Of steps 4 to 6, one file. */
static int hang(struct work *w, struct lv_image *image, bool time_alone,
                int64_t mtime, struct lvhd_error *err) {
  struct lv_relink relink = {
    .env = w->env, .sync = w->opts->sync, .force = w->opts->force};
  int code = time_alone
               ? lv_relink_time(&relink, image, mtime, err)
               : lv_relink_image(&relink, image, target_of(w), mtime, err);
  lv_relinked_add(&w->told, &relink.told);
  return at_kid(code, image->path, target_of(w), err);
}

/* The name goes if it is still that of the file. */
static int unlink_in(const struct lv_folder *folder,
                     const struct lv_image *image, struct lv_env *env,
                     bool durable, struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  const char *name = lv_path_name(image->path);
  struct stat st;
  if (sys->fstatat(sys, folder->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT
             ? 0
             : lv_fail_errno(err, LV_STEP_FILE, errno, "fstatat");
  if (st.st_dev != image->file.st.st_dev ||
      st.st_ino != image->file.st.st_ino)
    return lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_FILE_REPLACED);
  if (sys->unlinkat(sys, folder->fd, name, 0) != 0)
    return lv_fail_errno(err, LV_STEP_FILE, errno, "unlinkat");
  if (durable && (folder->path_only ? sys->syncfs(sys, image->file.fd)
                                    : sys->fsync(sys, folder->fd)) != 0)
    return lv_fail_errno(err, LV_STEP_FOLDER, errno,
                         folder->path_only ? "syncfs" : "fsync");
  return 0;
}

static int delete_file(struct work *w, size_t i, struct lvhd_error *err) {
  const struct lv_image *image = &w->chain.images[i];
  struct lv_folder folder = LV_FOLDER_INIT;
  char *path = lv_path_folder(image->path);
  int code = path ? lv_folder_of(&folder, w->env, path, err)
                  : no_memory(err);
  if (code == 0)
    code = unlink_in(&folder, image, w->env,
                     w->opts->sync == LVHD_SYNC_FULL, err);
  lv_folder_close(&folder, w->env);
  free(path);
  return at_layer(w, i, code, err);
}

/* Step 6. */
static int delete_between(struct work *w, int64_t mtime,
                          struct lvhd_error *err) {
  int code = 0;
  for (size_t i = w->target - 1; code == 0 && i > 0; i--) {
    code = hang(w, &w->chain.images[i - 1], false, mtime, err);
    if (code == 0)
      code = delete_file(w, i, err);
  }
  return code;
}

/* Steps 3 to 7. */
static int settle(struct work *w, struct lvhd_error *err) {
  int64_t mtime = 0;
  int code = at_layer(w, w->target, final_time(w, &mtime, err), err);
  if (code == 0)
    code = hang(w, &w->chain.images[w->target - 1], true, mtime, err);
  for (size_t i = 0; code == 0 && i < w->kid_count; i++)
    code = hang(w, &w->kids[i].image, w->kids[i].done, mtime, err);
  if (code == 0 && w->args->remove)
    code = delete_between(w, mtime, err);
  if (code == 0)
    code = at_layer(w, w->target, lv_change_end(&w->change, err), err);
  return code;
}

/* Of an idle run: what was found there may not be durable yet, by a merge that
 * did not wait for it. */
static int stay(struct work *w, struct lvhd_error *err) {
  const struct lv_sys *sys = w->env->sys;
  for (size_t i = w->target + 1;
       i-- > w->target - 1 && w->opts->sync != LVHD_SYNC_NONE;)
    if (sys->fsync(sys, w->chain.images[i].file.fd) != 0)
      return at_layer(w, i, lv_fail_errno(err, LV_STEP_INPLACE, errno,
                                          "fsync"), err);
  return 0;
}

static int tell(struct work *w, struct lvhd_error *err) {
  struct lv_inplace *base = &w->args->base;
  int code = lv_inplace_tell(base, target_of(w)->path, err);
  if (code != 0)
    return at_layer(w, w->target, code, err);
  if (w->skipped > 0)
    lv_finding(&base->facts->findings, LVHD_WARNING, LV_R_SEARCH_SKIPPED,
               LVHD_HAS_ACTUAL, 0, w->skipped, 0);
  lv_relinked_tell(&w->told, &base->facts->findings);
  lv_facts_done(base->facts);
  return 0;
}

/* ---- the verb -------------------------------------------------------- */

/* The note of a merge that failed stays. */
static void let_go(struct work *w) {
  lv_writer_free(w->writer);
  lv_change_abandon(&w->change);
  lv_disk_free(w->upper);
  for (size_t i = 0; i < w->kid_count; i++)
    lv_image_close(&w->kids[i].image, w->env);
  free(w->kids);
  lv_chain_close(&w->chain, w->env);
}

static int run(void *args, struct lv_job *job, struct lvhd_error *err) {
  struct merge *m = args;
  struct work w = {
    .args = m, .env = m->base.env, .opts = &m->base.opts, .job = job};
  int code = look(&w, err);
  if (code == 0)
    code = w.idle ? stay(&w, err) : copy(&w, err);
  if (code == 0 && !lv_job_commit(job))
    code = lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
  if (code == 0 && !w.idle)
    code = settle(&w, err);
  if (code == 0)
    code = tell(&w, err);
  /* step 8, behind which nothing can fail: without the child no merge could
   * be run again */
  if (code == 0 && m->remove)
    code = delete_file(&w, 0, err);
  let_go(&w);
  return code;
}

const struct lv_verb lv_merge = {
  .name = "merge",
  .prepare = lv_inplace_prepare,
  .run = run,
  .free = free_args,
  .kind = lv_inplace_kind,
  .info = lv_inplace_info,
  .path = lv_inplace_path,
};
