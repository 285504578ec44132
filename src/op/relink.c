/* SPDX-License-Identifier: MIT
 *
 * The verb relink: who may be the parent of a child, as the caller names him.
 * What is written, and how, is reparent.c's.
 */
#include "op/relink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"
#include "op/change.h"
#include "op/inplace.h"
#include "op/way.h"

struct relink {
  struct lv_inplace in; /* first */
  char *parent;         /* absolute, as given */
  char *windows;        /* windows_parent, then plain; NULL: the map's */
};

static void free_args(void *args) {
  struct relink *r = args;
  lv_inplace_clear(&r->in);
  free(r->parent);
  free(r->windows);
  free(r);
}

int lv_relink_args(void **out, struct lv_env *env, const char *child,
                   const char *parent, const struct lvhd_open_options *opts,
                   struct lvhd_error *err) {
  struct relink *r = calloc(1, sizeof *r);
  int code = r ? 0 : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  if (code == 0)
    code = lv_inplace_init(&r->in, env, child, opts, err);
  if (code == 0)
    code = lv_absolute_path(&r->parent, env, parent, err);
  if (code == 0 && opts->windows_parent) {
    r->windows = strdup(opts->windows_parent);
    if (r->windows == NULL)
      code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  }
  if (code != 0 && r)
    free_args(r);
  else
    *out = r;
  return code;
}

/* ---- who may be the parent ------------------------------------------- */

/* The error is about the parent, `path`, of the child. */
static int fail_parent(struct lvhd_error *err, int code,
                       const struct lv_image *child, const char *path) {
  if (code != 0) {
    err->has |= LVHD_AT_PARENT;
    lv_error_path(err, child->path);
    if (err->parent == NULL)
      lv_error_parent(err, path);
  }
  return code;
}

static bool is_same(const struct lv_image *a, const struct lv_image *b) {
  return (a->file.st.st_dev == b->file.st.st_dev &&
          a->file.st.st_ino == b->file.st.st_ino) ||
         memcmp(a->footer.uuid, b->footer.uuid, 16) == 0;
}

/* The child is none of its new ancestors, those we could open. */
static int check_cycle(const struct lv_chain *chain,
                       const struct lv_image *child, struct lvhd_error *err) {
  for (size_t i = 0; i < chain->count; i++) {
    if (!is_same(&chain->images[i], child))
      continue;
    lv_fail(err, LVHD_VM_E_HD_IMAGE_OPEN_FAIL, LV_R_CHAIN_CYCLE);
    err->layer = (unsigned)i + 2;
    lv_error_parent(err, chain->images[i].path);
    return LVHD_VM_E_HD_IMAGE_OPEN_FAIL;
  }
  return 0;
}

/* As for new children: no disk is hung on a file that is damaged, or that
 * someone is about to change. */
static int check_state(const struct lv_image *parent,
                       const struct lv_env *env, bool force,
                       struct lvhd_error *err) {
  struct lv_probe probe;
  if (parent->where == LVHD_FOOTER_COPY) {
    int code = lv_probe(&probe, &parent->file, env, err);
    if (code != 0)
      return code;
  }
  if (lv_uuid_is_nil(parent->footer.uuid))
    return lv_fail(err, LVHD_VM_E_INVALID_HD_FILE, LV_R_UUID_MALFORMED);
  if (parent->journal == LV_JOURNAL_GOOD && !force)
    return lv_journal_pending(&parent->note, err);
  return 0;
}

static int check_parent(const struct lv_image *parent,
                        const struct lv_image *child,
                        const struct lv_env *env, bool force,
                        struct lvhd_error *err) {
  int code = check_state(parent, env, force, err);
  if (code == 0 && !force)
    code = lv_parent_check(parent, child, err);
  if (code == 0 &&
      parent->footer.current_size != child->footer.current_size)
    code = lv_fail_range(err, LVHD_VM_E_HD_IMAGE_OPEN_FAIL, LV_R_PARENT_SIZE,
                         child->footer.current_size,
                         parent->footer.current_size);
  return code;
}

/* Opens the parent with all above it.  That it leads back to the child is told
 * before what else is wrong with the chain. */
static int open_parent(struct lv_chain *chain, const struct relink *r,
                       const struct lv_image *child, struct lvhd_error *err) {
  const struct lvhd_open_options *opts = &r->in.opts;
  struct lvhd_error broken = LVHD_ERROR_INIT;
  int code = lv_chain_open(chain, r->in.env, r->parent, opts->parents,
                           opts->parent_count, opts->max_depth, &broken, err);
  if (code == 0)
    code = check_cycle(chain, child, err);
  if (code == 0 && broken.code != 0) {
    code = lv_error_give(err, &broken);
    err->layer++; /* counted from the child */
    if (err->parent == NULL)
      lv_error_parent(err, err->path);
  }
  if (code == 0 && chain->count >= opts->max_depth)
    code = lv_fail_range(err, LVHD_VM_E_HD_IMAGE_OPEN_FAIL,
                         LV_R_CHAIN_TOO_DEEP, opts->max_depth,
                         chain->count + 1);
  if (code == 0)
    code = check_parent(&chain->images[0], child, r->in.env, opts->force,
                        err);
  lvhd_error_clear(&broken);
  return fail_parent(err, code, child,
                     chain->count > 0 ? chain->images[0].path : r->parent);
}

/* ---- the work -------------------------------------------------------- */

static int open_child(struct lv_image *child, const struct relink *r,
                      struct lvhd_error *err) {
  int code = lv_image_open(child, r->in.env, r->in.path, err);
  if (code == 0 && !lv_image_has_parent(child))
    code = lv_fail(err, LVHD_VM_E_WRONG_HD_IMAGE_TYPE, LV_R_TYPE_UNFIT);
  if (code == 0)
    code = lv_change_take(child, r->in.env, LV_LOCK_ALONE, NULL,
                          r->in.opts.force, err);
  return code;
}

/* The parent's time, now that nobody writes it any more.  Who reads beside the
 * note of a verb that was interrupted goes by the time that this tells, but for
 * that of a merge. */
static int put(struct relink *r, struct lv_relink *how,
               struct lv_image *child, const struct lv_image *parent,
               struct lvhd_error *err) {
  const struct lv_sys *sys = r->in.env->sys;
  struct stat st;
  if (sys->fstat(sys, parent->file.fd, &st) != 0)
    return fail_parent(err,
                       lv_fail_errno(err, LV_STEP_FILE, errno, "fstat"),
                       child, parent->path);
  if (parent->journal == LV_JOURNAL_GOOD &&
      parent->note.verb != LV_JOURNAL_MERGE)
    st.st_mtim = parent->file.st.st_mtim;
  return lv_relink_image(how, child, parent, st.st_mtim.tv_sec, err);
}

static int tell(struct relink *r, const struct lv_relink *how,
                const struct lv_image *child, const struct lv_image *parent,
                struct lvhd_error *err) {
  struct lv_facts *facts = NULL;
  int code = lv_inplace_tell(&r->in, child->path, err);
  if (code != 0)
    return code;
  facts = r->in.facts;
  facts->parent_path = strdup(parent->path);
  if (facts->parent_path == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  facts->info.parent_path = facts->parent_path;
  facts->info.parent_found = LVHD_FOUND_GIVEN;
  lv_relinked_tell(&how->told, &facts->findings);
  lv_facts_done(facts);
  return 0;
}

/* The parent with all above it stay as they are. */
static int lock(const struct lv_chain *chain, const struct relink *r,
                const struct lv_image *child, struct lvhd_error *err) {
  int code = lv_change_lock_parents(chain, 0, r->in.env, err);
  if (code != 0) /* counted from the child */
    err->layer = err->layer > 0 ? err->layer + 1 : 2;
  return fail_parent(err, code, child, chain->images[0].path);
}

static int prepare(void *args, struct lvhd_error *err) {
  struct relink *r = args;
  int code = lv_way_words(&r->windows, err);
  if (code != 0)
    lv_error_path(err, r->in.path);
  return code;
}

static int run(void *args, struct lv_job *job, struct lvhd_error *err) {
  struct relink *r = args;
  struct lv_relink how = {.env = r->in.env,
                          .windows = r->windows,
                          .sync = r->in.opts.sync,
                          .force = r->in.opts.force,
                          .job = job};
  struct lv_image child = LV_IMAGE_INIT;
  struct lv_chain chain = {0};
  int code = open_child(&child, r, err);
  if (code == 0)
    code = open_parent(&chain, r, &child, err);
  if (code == 0)
    code = lock(&chain, r, &child, err);
  if (code == 0)
    code = put(r, &how, &child, &chain.images[0], err);
  if (code == 0)
    code = tell(r, &how, &child, &chain.images[0], err);
  if (code != 0 && err->path == NULL)
    lv_error_path(err, child.path ? child.path : r->in.path);
  lv_chain_close(&chain, r->in.env);
  lv_image_close(&child, r->in.env);
  return code;
}

const struct lv_verb lv_relink = {
  .name = "relink",
  .prepare = prepare,
  .run = run,
  .free = free_args,
  .kind = lv_inplace_kind,
  .info = lv_inplace_info,
  .path = lv_inplace_path,
};
