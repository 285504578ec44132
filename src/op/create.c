/* SPDX-License-Identifier: MIT
 *
 * Creating one disk: fixed, dynamic or differencing.  Read create_run()
 * first, and lv_publish() after it.  The checks are in look.c, the result in
 * outcome.c, the bytes in format/plan.c and format/fat.c, the way to a name in
 * io/newfile.c.
 *
 *   1 arguments   2 the bytes   3 the verb
 */
#include "op/create.h"

#include <stdlib.h>
#include <string.h>

#include "op/pour.h"

/* ---- 1 arguments ----------------------------------------------------- */

void lv_create_clear(struct lv_create *c) {
  free((char *)(uintptr_t)c->opts.base);
  free(c->windows);
  free((char *)(uintptr_t)c->opts.label);
  free(c->image);
  free(c->parent);
  free(c->source);
  free(c->twin);
  free(c->real_folder);
  free(c->real_parent);
  free(c->outcome);
  lv_facts_free(c->kept);
}

static void create_free(void *args) {
  if (args)
    lv_create_clear(args);
  free(args);
}

/* The bytes of a path that may hold NUL, with one more NUL behind. */
static char *copy_path(const char *text, size_t *n) {
  char *copy = NULL;
  if (*n == 0)
    *n = strlen(text);
  copy = malloc(*n + 1);
  if (copy) {
    memcpy(copy, text, *n);
    copy[*n] = '\0';
  }
  return copy;
}

int lv_create_init(struct lv_create *c, struct lv_env *env,
                   enum lvhd_type type, const char *image,
                   const char *parent, const struct lvhd_create_options *opts,
                   struct lvhd_error *err) {
  bool whole = false;
  c->env = env;
  c->type = type;
  c->opts = *opts;
  c->opts.base = opts->base ? strdup(opts->base) : NULL;
  c->opts.windows_parent = NULL;
  c->opts.label = opts->label ? strdup(opts->label) : NULL;
  c->image = copy_path(image, &c->opts.image_length);
  whole = c->image && (c->opts.base || !opts->base) &&
          (c->opts.label || !opts->label);
  if (type == LVHD_DIFFERENCING) {
    c->parent = copy_path(parent, &c->opts.parent_length);
    c->windows = opts->windows_parent ? strdup(opts->windows_parent) : NULL;
    whole = whole && c->parent && (c->windows || !opts->windows_parent);
  }
  return whole ? 0 : lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

int lv_create_args(void **out, struct lv_env *env, enum lvhd_type type,
                   const char *image, const char *parent, int64_t size,
                   const struct lvhd_create_options *opts,
                   struct lvhd_error *err) {
  struct lv_create *c = calloc(1, sizeof *c);
  int code = 0;
  if (c == NULL)
    return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
  code = lv_create_init(c, env, type, image, parent, opts, err);
  if (code != 0) {
    create_free(c);
    return code;
  }
  c->size = type == LVHD_DIFFERENCING ? 0 : size;
  *out = c;
  return 0;
}

/* ---- 2 the bytes ----------------------------------------------------- */

#define PIECE 16384
#define BATCH (4u << 20) /* bytes between two looks for a cancel */
#define F4 0xFF, 0xFF, 0xFF, 0xFF
#define F16 F4, F4, F4, F4
#define F64 F16, F16, F16, F16
#define F256 F64, F64, F64, F64
#define F1K F256, F256, F256, F256
#define F4K F1K, F1K, F1K, F1K

static const uint8_t ones[PIECE] = {F4K, F4K, F4K, F4K};
static const uint8_t zeros[PIECE] = {0};

/* Gathers pieces into few large writes. */
struct batch {
  struct lv_newfile *file;
  struct lv_job *job;
  uint64_t offset; /* of the first piece gathered */
  size_t bytes;
  int count;
  struct iovec iov[BATCH / PIECE + 4];
};

static int batch_write(struct batch *b, struct lvhd_error *err) {
  int code = 0;
  if (b->count == 0)
    return 0;
  if (lv_job_cancelled(b->job))
    return lv_fail(err, LVHD_E_ABORT, LV_R_NONE);
  code = lv_newfile_write(b->file, b->iov, b->count, b->offset, err);
  lv_job_step(b->job, b->bytes, 0);
  b->offset += b->bytes;
  b->bytes = 0;
  b->count = 0;
  return code;
}

static int batch_add(struct batch *b, const uint8_t *bytes, size_t n,
                     struct lvhd_error *err) {
  const int room = (int)(sizeof b->iov / sizeof b->iov[0]);
  int code = 0;
  if (b->count == room || b->bytes + n > BATCH)
    code = batch_write(b, err);
  if (code != 0 || n == 0)
    return code;
  b->iov[b->count].iov_base = (void *)(uintptr_t)bytes; /* only read */
  b->iov[b->count].iov_len = n;
  b->count++;
  b->bytes += n;
  return 0;
}

/* n bytes that are all like those of the piece. */
static int batch_fill(struct batch *b, const uint8_t piece[PIECE], uint64_t n,
                      struct lvhd_error *err) {
  int code = 0;
  while (n > 0 && code == 0) {
    size_t part = n < PIECE ? (size_t)n : PIECE;
    code = batch_add(b, piece, part, err);
    n -= part;
  }
  return code;
}

static int write_fixed(const struct lv_create *c, const struct lv_plan *plan,
                       struct batch *b, struct lvhd_error *err) {
  bool zero = c->opts.allocate == LVHD_ZERO;
  int code = 0;
  if (c->opts.allocate == LVHD_RESERVE)
    code = lv_newfile_reserve(b->file, plan->file_size, err);
  if (code == 0 && zero)
    code = batch_fill(b, zeros, plan->footer_offset, err);
  if (!zero)
    b->offset = plan->footer_offset;
  if (code == 0)
    code = batch_add(b, plan->footer, sizeof plan->footer, err);
  return code == 0 ? batch_write(b, err) : code;
}

static int write_sparse(const struct lv_plan *plan, struct batch *b,
                        struct lvhd_error *err) {
  int code = 0;
  code = batch_add(b, plan->head, plan->head_size, err);
  if (code == 0)
    code = batch_fill(b, ones, plan->table_size, err);
  if (code == 0)
    code = batch_add(b, plan->footer, sizeof plan->footer, err);
  return code == 0 ? batch_write(b, err) : code;
}

int lv_create_fill(struct lv_create *c, struct lv_look *look,
                   struct lv_newfile *file, struct lv_job *job,
                   struct lvhd_error *err) {
  const struct lv_plan *plan = &look->plan;
  bool hole = c->type == LVHD_FIXED && c->opts.allocate != LVHD_ZERO &&
              c->opts.allocate != LVHD_RESERVE;
  uint64_t takes = hole ? LV_FOOTER_SIZE : plan->file_size;
  struct batch b;
  b.file = file;
  b.job = job;
  b.offset = 0;
  b.bytes = 0;
  b.count = 0;
  look->written = (struct lv_written){
    .file_size = plan->file_size,
    .free = look->volume.free > takes ? look->volume.free - takes : 0};
  return c->type == LVHD_FIXED ? write_fixed(c, plan, &b, err)
                               : write_sparse(plan, &b, err);
}

/* The file system is a source like others, but that it exists nowhere. */
static int write_formatted(struct lv_create *c, struct lv_look *look,
                           struct lv_newfile *file, struct lv_job *job,
                           struct lvhd_error *err) {
  const struct lv_footer *fields = &look->plan.fields;
  struct lv_fat_in in = {.kind = c->opts.filesystem,
                         .size = fields->current_size,
                         .timestamp = fields->timestamp,
                         .label = c->opts.label};
  struct lv_fat fat;
  struct lv_source source;
  struct lv_pour pour = {.from = &source};
  memcpy(in.uuid, fields->uuid, sizeof in.uuid);
  if (!lv_fat_plan(&fat, &in))
    return lv_fail(err, LVHD_E_INVALIDARG, LV_R_FILESYSTEM_SIZE);
  lv_source_made(&source, &fat);
  lv_job_total(job, in.size, 1);
  return lv_pour(&pour, c, look, file, job, err);
}

static int write_bytes(struct lv_create *c, struct lv_look *look,
                       struct lv_newfile *file, struct lv_job *job,
                       struct lvhd_error *err) {
  bool hole = c->type == LVHD_FIXED && c->opts.allocate != LVHD_ZERO;
  if (c->opts.filesystem != LVHD_UNFORMATTED)
    return write_formatted(c, look, file, job, err);
  lv_job_total(job, hole ? LV_FOOTER_SIZE : look->plan.file_size, 1);
  return lv_create_fill(c, look, file, job, err);
}

/* ---- 3 the verb ------------------------------------------------------ */

/* Which files the call was about, once, where the error leaves the verb; a
 * windows_parent that is at fault has been told. */
static int tell_paths(const struct lv_create *c, int code,
                      struct lvhd_error *err) {
  if (code != 0 && err) {
    lv_error_path(err, c->image);
    if (err->parent == NULL)
      lv_error_parent(err, c->parent);
  }
  return code;
}

static int create_prepare(void *args, struct lvhd_error *err) {
  static const uint8_t none[16] = {0};
  struct lv_create *c = args;
  int code = lv_create_words(c, err);
  if (code == 0 && c->opts.preflight == LVHD_YES) {
    struct lv_look look;
    code = lv_create_look(c, &look, none, true, err);
    if (code == 0) {
      if (look.exists)
        code = lv_outcome_kept(c, NULL, err);
      lv_look_close(&look, c->env);
    }
  }
  return tell_paths(c, code, err);
}

static int create_run(void *args, struct lv_job *job,
                      struct lvhd_error *err) {
  struct lv_create *c = args;
  int code = 0;
  lv_job_total(job, 0, 1); /* of bytes nothing is known yet */
  code = lv_publish(c, write_bytes, job, err);
  if (code == 0)
    lv_job_step(job, 0, 1);
  /* The result has its own; a task may be held for long. */
  free(c->real_folder);
  free(c->real_parent);
  c->real_folder = c->real_parent = NULL;
  return tell_paths(c, code, err);
}

/* Writing zeros takes as long as the disk is large. */
static unsigned create_kind(const void *args) {
  const struct lv_create *c = args;
  return c->opts.allocate == LVHD_ZERO ? LV_LONG : 0;
}

static const struct lvhd_info *create_info(const void *args) {
  const struct lv_create *c = args;
  return lv_outcome_info(c);
}

static const char *create_path(const void *args) {
  const struct lv_create *c = args;
  return c->image;
}

#define CREATE_VERB(text)                                                    \
  {                                                                          \
    .name = text, .prepare = create_prepare, .run = create_run,              \
    .free = create_free, .kind = create_kind, .info = create_info,           \
    .path = create_path                                                      \
  }

const struct lv_verb lv_create_fixed = CREATE_VERB("create_fixed");
const struct lv_verb lv_create_dynamic = CREATE_VERB("create_dynamic");
const struct lv_verb lv_create_differencing =
  CREATE_VERB("create_differencing");
