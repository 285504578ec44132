/* SPDX-License-Identifier: MIT
 *
 * One batch of new children, which share two waits for the disk: all bytes are
 * durable, then the names, then the folders.  Read lv_batch_run() first.  The
 * bytes are written by all idle workers, all else is done by one, in the order
 * of the list.
 *
 *   1 taking   2 writing   3 names   4 the end
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/upcase.h"
#include "io/drives.h"
#include "io/lock.h"
#include "io/names.h"
#include "op/children.h"
#include "op/publish.h"
#include "op/sites.h"

enum state {
  TAKEN,  /* it is in the batch */
  READY,  /* all bytes are written */
  LINKED, /* the name is there */
  OVER,   /* it has its result */
  FAILED, /* its error is in err */
  LATER   /* put off */
};

struct slot {
  enum state state;
  size_t index;
  struct lv_kid *kid;
  struct lv_site *site;
  struct lv_create c;
  struct lv_newfile file;
  struct lvhd_error err;
};

struct batch {
  struct lv_many *m;
  struct lv_job *job;
  struct lv_look look; /* the parent; its folder and plan are not used */
  struct slot *slots;
  size_t count;
  struct lv_sites sites;
  struct lv_site *reached; /* the last whose folders were made */
};

/* ---- 1 taking -------------------------------------------------------- */

static bool scarce(const struct lvhd_error *err) {
  return err->errnum == EMFILE || err->errnum == ENFILE;
}

static int begin_create(struct batch *b, struct slot *slot,
                        struct lvhd_error *err) {
  const struct lv_create *common = &b->m->common;
  struct lvhd_create_options opts = common->opts;
  struct lv_create *c = &slot->c;
  int code = 0;
  opts.image_length = slot->kid->length;
  opts.parent_length = 0; /* it was joined */
  opts.windows_parent = common->windows;
  opts.has_uuid = slot->kid->has_uuid;
  memcpy(opts.uuid, slot->kid->uuid, sizeof opts.uuid);
  code = lv_create_init(c, &b->m->env, LVHD_DIFFERENCING, slot->kid->image,
                        common->parent, &opts, err);
  if (code != 0)
    return code;
  c->from_base = common->from_base;
  c->opts.image_length = slot->kid->length; /* 0: an empty name */
  c->seen = common->seen;
  c->real_parent = strdup(common->real_parent);
  return c->real_parent ? lv_create_words(c, err)
                        : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* What stands at the image's name: nothing is what is wanted. */
static enum lv_taken look_at_name(struct batch *b, struct slot *slot,
                               struct lvhd_error *err) {
  struct lv_site *site = slot->site;
  struct lv_create *c = &slot->c;
  uint64_t hash = lv_hash_mix(lv_hash_text(site->real),
                      lv_name_hash(lv_create_name(c),
                                   strlen(lv_create_name(c))));
  int code = 0;
  if (lv_sites_saw(&b->sites, hash))
    return LV_LATER; /* how the other one ends decides */
  c->real_folder = strdup(site->real);
  if (c->real_folder == NULL) {
    lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
    return LV_OVER;
  }
  b->look.folder = site->folder; /* lent */
  b->look.exists = false;
  code = lv_create_image(c, &b->look, err);
  if (code == 0 && b->look.exists) {
    code = lv_outcome_kept(c, b->job, err);
    slot->kid->kept = c->kept;
    c->kept = NULL;
  }
  if (code != 0 || b->look.exists)
    return LV_OVER;
  lv_sites_remember(&b->sites, hash);
  return LV_TAKEN;
}

static enum lv_taken take_steps(struct batch *b, struct slot *slot,
                             struct lvhd_error *err) {
  enum lv_taken how = LV_OVER;
  if (begin_create(b, slot, err) == 0)
    how = lv_site_find(&slot->site, &b->sites, lv_create_folder(&slot->c),
                       err);
  if (how == LV_TAKEN)
    how = look_at_name(b, slot, err);
  return how;
}

/* An image of the list gets a slot, or its result, or is put off. */
static enum lv_taken take(struct batch *b, size_t index) {
  struct slot *slot = &b->slots[b->count];
  struct lvhd_error err = LVHD_ERROR_INIT;
  enum lv_taken how = LV_OVER;
  memset(slot, 0, sizeof *slot);
  slot->index = index;
  slot->kid = &b->m->kids[index];
  slot->file = (struct lv_newfile)LV_NEWFILE_INIT;
  how = take_steps(b, slot, &err);
  if (how == LV_TAKEN) {
    b->count++;
    b->sites.fds++;
    return how;
  }
  if (how == LV_OVER && err.code != 0) {
    if (scarce(&err) && b->count > 0)
      how = LV_FULL;
    else
      lv_kid_failed(b->m, slot->kid,
                    slot->c.image ? slot->c.image : slot->kid->image, &err);
  }
  if (how == LV_OVER)
    lv_job_step(b->job, 0, 1);
  lvhd_error_clear(&err);
  lv_create_clear(&slot->c);
  return how;
}

static void take_all(struct batch *b, struct lv_todo *todo) {
  while (todo->next < todo->count && b->count < b->m->width &&
         (b->count == 0 || b->sites.fds + 3 < b->m->fds) &&
         !lv_job_cancelled(b->job)) {
    size_t index = todo->list[todo->next];
    enum lv_taken how = take(b, index);
    if (how == LV_FULL)
      return;
    todo->next++;
    if (how == LV_LATER)
      todo->list[todo->put_off++] = index;
  }
}

/* ---- 2 writing ------------------------------------------------------- */

/* What the step before has left in *err ends the slot, unless it is worth
 * another try. */
static void slot_failed(struct slot *slot, struct lv_env *env, int code) {
  struct lv_kid *kid = slot->kid;
  bool gone = code == LV_AGAIN_GONE ||
              ((code == LVHD_E_ACCESSDENIED ||
                code == LVHD_E_PATH_NOT_FOUND) &&
               lv_folder_gone(&slot->site->folder, env));
  slot->state = FAILED;
  if (code == LV_AGAIN_NAMED && !kid->named) {
    kid->named = true;
    slot->state = LATER;
  } else if (gone && kid->looks < LV_LOOKS) {
    kid->looks++;
    slot->state = LATER;
  } else if (code < 0) {
    lv_fail_errno(&slot->err, LV_STEP_CREATE, ENOENT, "linkat");
  }
  lv_newfile_abandon(&slot->file);
}

static int write_slot(void *arg, size_t i, struct lvhd_error *none) {
  struct batch *b = arg;
  struct slot *slot = &b->slots[i];
  struct lv_look look;
  uint8_t uuid[16];
  int code = lv_publish_uuid(&slot->c, uuid, &slot->err);
  (void)none;
  look.parent = b->look.parent; /* lent, as the folder */
  look.folder = slot->site->folder;
  look.exists = false;
  look.unnamable = false;
  slot->c.way = &slot->site->way;
  look.volume = (struct lv_volume){0};
  if (code == 0)
    code = lv_create_plan(&slot->c, &look, uuid, &slot->err);
  if (code == 0)
    code = lv_publish_write(&slot->c, &look, slot->kid->named, lv_create_fill,
                            b->job, &slot->file, &slot->err);
  slot->file.root = NULL; /* look's; it makes no folders of its own */
  if (code == 0)
    code = lv_outcome_new(&slot->c, &look, &slot->err);
  slot->state = READY;
  if (code != 0)
    slot_failed(slot, &b->m->env, code);
  return 0;
}

static int start_slot(void *arg, size_t i, struct lvhd_error *none) {
  struct batch *b = arg;
  (void)none;
  if (b->slots[i].state == READY)
    lv_newfile_start(&b->slots[i].file);
  return 0;
}

static int flush_slot(void *arg, size_t i, struct lvhd_error *none) {
  struct batch *b = arg;
  struct slot *slot = &b->slots[i];
  int code = 0;
  (void)none;
  if (slot->state == READY)
    code = lv_newfile_flush(&slot->file, &slot->err);
  if (code != 0)
    slot_failed(slot, &b->m->env, code);
  return 0;
}

/* What has found no descriptor is put off to smaller batches, unless it was
 * alone. */
static void put_off_scarce(struct batch *b) {
  size_t poor = 0;
  for (size_t i = 0; i < b->count && b->count > 1; i++) {
    struct slot *slot = &b->slots[i];
    if (slot->state == FAILED && scarce(&slot->err)) {
      slot->state = LATER;
      poor++;
    }
  }
  if (poor > 0)
    b->m->width = (b->count + 1) / 2;
}

/* The descriptors of the files, the folder of the first one before them: it
 * was opened before all. */
static size_t open_files(const struct batch *b, int *fds) {
  size_t n = 0;
  fds[n++] = b->sites.list[0].folder.fd;
  for (size_t i = 0; i < b->count; i++)
    if (b->slots[i].state == READY)
      fds[n++] = b->slots[i].file.fd;
  return n;
}

static int flush_files(struct batch *b, struct lvhd_error *err) {
  int *fds = malloc((b->count + 1) * sizeof *fds);
  size_t n = fds ? open_files(b, fds) : 0;
  bool done = fds && lv_newfile_flush_many(&b->m->env, &b->m->flushing, fds, n);
  int code = 0;
  free(fds);
  if (done)
    return 0;
  if (b->count > 1)
    code = lv_job_spread(b->job, b->count, start_slot, b, err);
  return code == 0 ? lv_job_spread(b->job, b->count, flush_slot, b, err)
                   : code;
}

/* ---- 3 names --------------------------------------------------------- */

/* The batch has been on its way for a while: who began to write the parent
 * meanwhile? */
static int look_again(const struct batch *b, struct lvhd_error *err) {
  const struct lv_file *parent = &b->look.parent;
  struct lv_env *env = &b->m->env;
  struct stat st;
  int code = 0;
  if (env->sys->fstat(env->sys, parent->fd, &st) != 0)
    code = lv_fail_errno(err, LV_STEP_FILE, errno, "fstat");
  else if (!lv_same_state(&parent->st, &st))
    code = lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_SOURCE_CHANGED);
  if (code == 0)
    code = lv_lock_quiet(parent, env, err);
  if (code != 0)
    err->has |= LVHD_AT_PARENT;
  return code;
}

/* Makes what is missing of the folder. */
static void reach_site(struct batch *b, struct lv_site *site) {
  site->ready = true;
  site->before = b->reached;
  b->reached = site;
  site->target = site->folder.fd;
  if (!site->folder.missing)
    return;
  site->code = lv_newfile_folders(&site->made, &b->m->env, &site->folder,
                                   site->real, &site->err);
  site->target = site->made.target;
}

/* The image is there, made by somebody else meanwhile. */
static int keep_slot(struct batch *b, struct slot *slot) {
  int code = lv_outcome_kept(&slot->c, b->job, &slot->err);
  lv_newfile_abandon(&slot->file);
  if (code == 0) {
    slot->kid->kept = slot->c.kept;
    slot->c.kept = NULL;
    slot->state = OVER;
    lv_job_step(b->job, 0, 1);
  } else {
    slot->state = FAILED;
  }
  return code;
}

static void slot_shares(struct batch *b, struct slot *slot, int code,
                        const struct lvhd_error *err) {
  if (scarce(err) && slot->kid->looks < LV_LOOKS) {
    slot->kid->looks++;
    slot->state = LATER;
    lv_newfile_abandon(&slot->file);
    b->m->width = (b->count + 1) / 2;
  } else if (code > 0) {
    lv_kid_shares(b->m, slot->kid, slot->c.image, err);
    slot->state = OVER;
    lv_newfile_abandon(&slot->file);
    lv_job_step(b->job, 0, 1);
  } else {
    slot_failed(slot, &b->m->env, code);
  }
}

static void link_slot(struct batch *b, struct slot *slot) {
  struct lv_site *site = slot->site;
  int code = 0;
  if (!site->ready)
    reach_site(b, site);
  if (site->code != 0) {
    slot_shares(b, slot, site->code, &site->err);
    return;
  }
  code = lv_newfile_link_in(&slot->file, site->target, &slot->err);
  if (code == LVHD_E_ALREADY_EXISTS && slot->c.opts.keep) {
    keep_slot(b, slot);
  } else if (code != 0) {
    slot_failed(slot, &b->m->env, code);
  } else {
    slot->state = LINKED;
    site->linked++;
  }
}

/* A folder that has new names; site is NULL where it holds those of several
 * sites. */
struct dirty {
  struct lv_site *site;
  int fd;
  bool path_only;
  bool done;
  int code;
  struct lvhd_error err;
};

struct dirties {
  struct batch *b;
  struct dirty *list;
  size_t count, room;
  int file; /* any new file */
};

static struct dirty *add_dirty(struct dirties *d, struct lv_site *site, int fd,
                               bool path_only) {
  struct dirty *dirty = NULL;
  if (d->count == d->room) {
    size_t room = d->room ? d->room * 2 : 64;
    struct dirty *grown = realloc(d->list, room * sizeof *grown);
    if (grown == NULL)
      return NULL;
    d->list = grown;
    d->room = room;
  }
  dirty = &d->list[d->count++];
  *dirty = (struct dirty){.site = site, .fd = fd, .path_only = path_only};
  return dirty;
}

/* Flushes the folders between the nearest one that was there and the last, each
 * once in the batch. */
static int flush_between(struct dirties *d, struct lv_site *site,
                         struct lvhd_error *err) {
  struct batch *b = d->b;
  struct lv_env *env = &b->m->env;
  const struct lv_root *root =
    site->folder.root.fd >= 0 ? &site->folder.root : NULL;
  char *path = strdup(site->real);
  int code = 0;
  for (size_t i = 0; code == 0 && i < site->missing; i++) {
    struct lv_folder folder = LV_FOLDER_INIT;
    char *above = path ? lv_path_folder(path) : NULL;
    free(path);
    path = above;
    if (path == NULL)
      return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
    if (lv_sites_saw(&b->sites, lv_hash_mix(lv_hash_text(path), 5)))
      break; /* and those above it */
    code = root ? lv_folder_under(&folder, env, root, path, err)
                : lv_folder_open(&folder, env, path, err);
    if (code == 0)
      code = lv_folder_flush(env, folder.fd, folder.path_only, d->file, err);
    lv_folder_close(&folder, env);
    if (code == 0)
      lv_sites_remember(&b->sites, lv_hash_mix(lv_hash_text(path), 5));
  }
  free(path);
  return code;
}

static int flush_dirty(void *arg, size_t i, struct lvhd_error *none) {
  struct dirties *d = arg;
  struct dirty *dirty = &d->list[i];
  (void)none;
  if (!dirty->done)
    dirty->code = lv_folder_flush(&d->b->m->env, dirty->fd, dirty->path_only,
                                  d->file, &dirty->err);
  dirty->done = true;
  return 0;
}

static bool flush_dirties_at_once(struct dirties *d) {
  int *fds = malloc((d->count + 1) * sizeof *fds);
  bool done = fds != NULL;
  for (size_t i = 0; i < d->count && done; i++) {
    fds[i] = d->list[i].fd;
    done = !d->list[i].path_only;
  }
  done = done && lv_newfile_flush_many(&d->b->m->env,
                                        &d->b->m->flushing, fds, d->count);
  free(fds);
  return done;
}

/* The second wait for the disk: each folder once. */
static void flush_folders(struct batch *b) {
  struct dirties d = {.b = b, .file = -1};
  for (size_t i = 0; i < b->count && d.file < 0; i++)
    if (b->slots[i].state == LINKED)
      d.file = b->slots[i].file.fd;
  for (size_t i = 0; i < b->sites.count; i++) {
    struct lv_site *site = &b->sites.list[i];
    bool own = site->folder.missing;
    if (site->linked == 0)
      continue;
    if (add_dirty(&d, site, site->target,
                  own ? site->made.path_only : site->folder.path_only) ==
        NULL)
      site->code = lv_fail(&site->err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
    else if (own)
      site->code = flush_between(&d, site, &site->err);
  }
  if (!flush_dirties_at_once(&d)) {
    if (d.count > 4 &&
        lv_job_spread(b->job, d.count, flush_dirty, &d, NULL) != 0) {
      /* cancelled: what has a name by now is finished all the same */
    }
    for (size_t i = 0; i < d.count; i++)
      flush_dirty(&d, i, NULL);
  }
  for (size_t i = 0; i < d.count; i++) {
    struct lv_site *site = d.list[i].site;
    if (d.list[i].code != 0 && site->code == 0) {
      site->code = d.list[i].code;
      site->err = d.list[i].err; /* its to free now */
    } else {
      lvhd_error_clear(&d.list[i].err);
    }
  }
  free(d.list);
}

/* ---- 4 the end ------------------------------------------------------- */

static void settle_slot(struct batch *b, struct slot *slot) {
  struct lv_site *site = slot->site;
  int code = site->code;
  if (code != 0) {
    site->linked--;
    slot_shares(b, slot, code, &site->err);
    return;
  }
  code = lv_newfile_settle(&slot->file, &slot->err);
  if (code != 0) {
    site->linked--;
    slot_failed(slot, &b->m->env, code);
    return;
  }
  lv_outcome_published(&slot->c, slot->file.mtime);
  slot->kid->outcome = slot->c.outcome;
  slot->c.outcome = NULL;
  slot->state = OVER;
  lv_names_add(&b->m->env, site->target, lv_create_name(&slot->c));
  lv_job_step(b->job, 0, 1);
}

/* Every slot that is under way ends like this. */
static void stop_all(struct batch *b, const struct lvhd_error *err) {
  for (size_t i = 0; i < b->count; i++) {
    struct slot *slot = &b->slots[i];
    if (slot->state == READY || slot->state == TAKEN)
      slot_shares(b, slot, err->code, err);
  }
}

/* What was put off comes next, in the order of the list: of those that want one
 * name the first has it.  Both that were not taken and slots are in order. */
static void put_back(const struct batch *b, struct lv_todo *todo) {
  size_t n = todo->put_off;
  for (size_t i = b->count; i-- > 0;) {
    const struct slot *slot = &b->slots[i];
    if (slot->state != LATER)
      continue;
    while (n > 0 && todo->list[n - 1] > slot->index)
      todo->list[--todo->next] = todo->list[--n];
    todo->list[--todo->next] = slot->index;
  }
  while (n > 0)
    todo->list[--todo->next] = todo->list[--n];
  todo->put_off = 0;
}

static void end_slots(struct batch *b) {
  for (size_t i = 0; i < b->count; i++) {
    struct slot *slot = &b->slots[i];
    if (slot->state == FAILED) {
      lv_kid_failed(b->m, slot->kid, slot->c.image, &slot->err);
      lv_job_step(b->job, 0, 1);
    }
    lv_newfile_abandon(&slot->file);
    lvhd_error_clear(&slot->err);
    lv_create_clear(&slot->c);
  }
}

/* Folders that hold nothing of ours go again, those that were made last before
 * those that they may lie in. */
static void end_sites(struct batch *b) {
  bool made = false;
  for (struct lv_site *site = b->reached; site; site = site->before) {
    made = made || site->made.env != NULL;
    if (site->linked > 0)
      lv_newfile_keep_folders(&site->made);
    lv_newfile_abandon(&site->made);
  }
  for (size_t i = 0; i < b->sites.count; i++)
    lv_site_close(&b->sites.list[i], &b->m->env);
  if (made && b->m->env.names)
    lv_names_forget(b->m->env.names);
}

static void batch_free(struct batch *b) {
  if (b == NULL)
    return;
  lv_file_close(&b->look.parent, &b->m->env);
  free(b->slots);
  lv_sites_free(&b->sites);
  free(b);
}

static int batch_new(struct batch **out, struct lv_many *m,
                     struct lv_job *job, struct lvhd_error *err) {
  struct batch *b = calloc(1, sizeof *b);
  if (b == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  b->m = m;
  b->job = job;
  b->look.parent = (struct lv_file)LV_FILE_INIT;
  b->slots = malloc(m->width * sizeof *b->slots);
  *out = b;
  return b->slots ? lv_sites_init(&b->sites, &m->common, m->width, err)
                  : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

/* All bytes are there, and durable. */
static int write_batch(struct batch *b, struct lvhd_error *err) {
  int code = lv_job_spread(b->job, b->count, write_slot, b, err);
  if (code == 0)
    put_off_scarce(b);
  if (code == 0 && b->m->common.opts.sync != LVHD_SYNC_NONE)
    code = flush_files(b, err);
  return code;
}

/* The point of no return is the last batch's. */
static int may_publish(struct batch *b, bool last, struct lvhd_error *err) {
  bool stop = last ? !lv_job_commit(b->job) : lv_job_cancelled(b->job);
  return stop ? lv_fail(err, LVHD_E_ABORT, LV_R_NONE) : 0;
}

static void publish_batch(struct batch *b) {
  for (size_t i = 0; i < b->count; i++)
    if (b->slots[i].state == READY)
      link_slot(b, &b->slots[i]);
  if (b->m->common.opts.sync == LVHD_SYNC_FULL)
    flush_folders(b);
  for (size_t i = 0; i < b->count; i++)
    if (b->slots[i].state == LINKED)
      settle_slot(b, &b->slots[i]);
}

static int make_batch(struct batch *b, const struct lv_todo *todo,
                      struct lvhd_error *err) {
  struct lvhd_error changed = LVHD_ERROR_INIT;
  int code = write_batch(b, err);
  if (code == 0 && look_again(b, &changed) != 0)
    stop_all(b, &changed);
  lvhd_error_clear(&changed);
  if (code == 0)
    code = may_publish(
      b, todo->next == todo->count && todo->put_off == 0, err);
  if (code == 0)
    publish_batch(b);
  else
    stop_all(b, err);
  return code;
}

int lv_batch_run(struct lv_many *m, struct lv_todo *todo, struct lv_job *job,
                 struct lvhd_error *err) {
  struct batch *b = NULL;
  int code = batch_new(&b, m, job, err);
  if (code == 0 && lv_job_cancelled(job))
    code = lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
  if (code == 0)
    code = lv_create_parent(&m->common, &b->look, err);
  if (code == 0) {
    take_all(b, todo);
    if (b->count > 0)
      code = make_batch(b, todo, err);
    put_back(b, todo);
    end_slots(b);
    end_sites(b);
  }
  batch_free(b);
  return code;
}
