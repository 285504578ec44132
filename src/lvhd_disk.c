/* SPDX-License-Identifier: MIT
 *
 * An open disk's face: what lvhd_disk_open begins and each call on a disk
 * does before and after image/disk.h.  Knows no verb and no task.
 */
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "image/disk.h"
#include "lvhd_face.h"
#include "op/inplace.h"

struct lvhd_disk {
  lvhd_engine *engine;
  struct lv_disk *disk;
  uint64_t skipped; /* in the search for other children */
};

static int open_chain(struct lv_chain *chain, lvhd_engine *engine,
                      const char *const *paths, size_t count,
                      const struct lvhd_open_options *r,
                      struct lvhd_error *err) {
  for (size_t i = 0; i < count; i++)
    if (paths[i] == NULL)
      return lv_fail(err, LVHD_E_POINTER, LV_R_PATH_NIL);
  if (count == 1 && !r->exact)
    return lv_chain_open(chain, &engine->env, paths[0], r->parents,
                         r->parent_count, r->max_depth, NULL, err);
  return lv_chain_given(chain, &engine->env, paths, count, r->max_depth, err);
}

/* A file that was changed between the look and the lock is looked at again. */
#define OPENINGS 3

static int open_locked(struct lv_chain *chain, lvhd_engine *engine,
                       const char *const *paths, size_t count,
                       const struct lvhd_open_options *r, uint64_t *skipped,
                       struct lvhd_error *err) {
  struct lvhd_error why = LVHD_ERROR_INIT;
  int code = 0;
  for (int i = 0; i < OPENINGS; i++) {
    lvhd_error_clear(&why);
    code = open_chain(chain, engine, paths, count, r, &why);
    if (code == 0)
      code = lv_ready_to_open(chain, &engine->env, r, skipped, &why);
    if (code == 0)
      return 0;
    lv_chain_close(chain, &engine->env);
    if (why.reason != LV_R_SOURCE_CHANGED)
      break;
  }
  return lv_error_give(err, &why);
}

static int open_disk(lvhd_disk *disk, lvhd_engine *engine,
                     const char *const *paths, size_t count,
                     const struct lvhd_open_options *r,
                     struct lvhd_error *err) {
  struct lv_chain chain = {0};
  int code =
    open_locked(&chain, engine, paths, count, r, &disk->skipped, err);
  if (code == 0)
    code = lv_disk_new(&disk->disk, &engine->env, &chain, err);
  if (code == 0 && !r->write)
    lv_disk_watch(disk->disk);
  else if (code == 0)
    code = lv_disk_make_writable(disk->disk, r->sync, err);
  return code;
}

int lvhd_disk_open(lvhd_engine *engine, const char *const *paths,
                   size_t count, const struct lvhd_open_options *opts,
                   lvhd_disk **out, struct lvhd_error *err) {
  struct lvhd_open_options r;
  lvhd_disk *disk = calloc(1, sizeof *disk);
  int code = lv_pool_check(&engine->pool, err);
  *out = NULL;
  if (code == 0 && disk == NULL)
    code = lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  if (code == 0 && count == 0)
    code = lv_fail(err, LVHD_E_POINTER, LV_R_PATH_NIL);
  if (code == 0)
    code = lv_resolve_open(engine, opts, &r, err);
  if (code == 0)
    code = open_disk(disk, engine, paths, count, &r, err);
  if (code != 0) {
    if (disk)
      lv_disk_free(disk->disk);
    free(disk);
    return lv_finish(err, code, "open", count > 0 ? paths[0] : NULL);
  }
  disk->engine = engine;
  atomic_fetch_add(&engine->pool.refs, 1);
  *out = disk;
  return 0;
}

static const char *leaf_path(const lvhd_disk *disk) {
  return lv_disk_chain_of(disk->disk)->images[0].path;
}

uint64_t lvhd_disk_size(const lvhd_disk *disk) {
  return lv_disk_bytes(disk->disk);
}

int lvhd_disk_read(lvhd_disk *disk, void *buf, size_t n, uint64_t offset,
                   size_t *got, struct lvhd_error *err) {
  int code = lv_disk_read(disk->disk, buf, n, offset, got, err);
  return lv_finish(err, code, "read", leaf_path(disk));
}

int lvhd_disk_extent(lvhd_disk *disk, uint64_t offset, uint64_t end,
                     struct lvhd_extent *out, struct lvhd_error *err) {
  int code = lv_disk_extent(disk->disk, offset, end, out, err);
  return lv_finish(err, code, "extents", leaf_path(disk));
}

/* Whether the search for other children saw all, in the leaf's info. */
static int tell_skipped(const lvhd_disk *disk, lvhd_infos *infos,
                        struct lvhd_error *err) {
  struct lv_facts *leaf = infos->items[0];
  if (disk->skipped == 0)
    return 0;
  lv_finding(&leaf->findings, LVHD_WARNING, LV_R_SEARCH_SKIPPED,
             LVHD_HAS_ACTUAL, 0, disk->skipped, 0);
  lv_facts_done(leaf);
  return leaf->findings.no_memory
           ? lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE)
           : 0;
}

int lvhd_disk_chain(lvhd_disk *disk, lvhd_infos **out,
                    struct lvhd_error *err) {
  int code = lv_pool_forked(&disk->engine->pool)
               ? lv_fail(err, LVHD_E_HANDLE, LV_R_FORKED)
               : 0;
  *out = NULL;
  if (code == 0)
    code = lv_chain_infos(out, lv_disk_chain_of(disk->disk),
                          &disk->engine->env, NULL, false, NULL, NULL, err);
  if (code == 0)
    code = lv_disk_mtime(disk->disk, &(*out)->items[0]->info.mtime, err);
  if (code == 0)
    code = tell_skipped(disk, *out, err);
  if (code != 0) {
    lv_infos_free(*out);
    *out = NULL;
  }
  return lv_finish(err, code, "chain", leaf_path(disk));
}

/* A file that grows beyond the limit of the process sends a signal that would
 * end the program: it waits, and is taken away, while the caller's thread is
 * ours. */
static void hold_signal(sigset_t *before) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGXFSZ);
  pthread_sigmask(SIG_BLOCK, &one, before);
}

static void release_signal(const sigset_t *before) {
  const struct timespec now = {0, 0};
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGXFSZ);
  if (!sigismember(before, SIGXFSZ))
    while (sigtimedwait(&one, NULL, &now) == SIGXFSZ)
      ;
  pthread_sigmask(SIG_SETMASK, before, NULL);
}

static int not_forked(const lvhd_disk *disk, struct lvhd_error *err) {
  return lv_pool_forked(&disk->engine->pool)
           ? lv_fail(err, LVHD_E_HANDLE, LV_R_FORKED)
           : 0;
}

int lvhd_disk_write(lvhd_disk *disk, const void *buf, size_t n,
                    uint64_t offset, struct lvhd_error *err) {
  sigset_t before;
  int code = not_forked(disk, err);
  if (code == 0) {
    hold_signal(&before);
    code = lv_disk_write(disk->disk, buf, n, offset, err);
    release_signal(&before);
  }
  return lv_finish(err, code, "write", leaf_path(disk));
}

int lvhd_disk_flush(lvhd_disk *disk, struct lvhd_error *err) {
  sigset_t before;
  int code = not_forked(disk, err);
  if (code == 0) {
    hold_signal(&before);
    code = lv_disk_flush(disk->disk, err);
    release_signal(&before);
  }
  return lv_finish(err, code, "flush", leaf_path(disk));
}

int lvhd_disk_finish(lvhd_disk *disk, struct lvhd_error *err) {
  sigset_t before;
  int code = 0;
  if (lv_pool_forked(&disk->engine->pool))
    return 0; /* the parent's to finish */
  hold_signal(&before);
  code = lv_disk_finish(disk->disk, err);
  release_signal(&before);
  return lv_finish(err, code, "close", leaf_path(disk));
}

void lvhd_disk_close(lvhd_disk *disk) {
  lvhd_engine *engine = NULL;
  if (disk == NULL)
    return;
  if (lvhd_disk_finish(disk, NULL) != 0) {
    /* nobody asked */
  }
  engine = disk->engine;
  lv_disk_free(disk->disk);
  free(disk);
  lv_pool_unref(&engine->pool);
}
