/* SPDX-License-Identifier: MIT
 *
 * Finding, reading, writing and removing the note.  Numbers are big-endian:
 *
 *   0 "lvhdjrnl"   8 version 1   12 verb   16 uuid   32 other
 *   48 mtime: seconds   56 nanoseconds   60 pieces
 *   64 length   72 done   80 bytes of the whole note   88 longest
 *   96 zeros to 128
 *   then the pieces: 8 place, 4 length, its bytes
 *   last 8: FNV-1a of all before
 *
 * It is trusted as far as its owner is; see may_write().
 */
#include "image/journal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/path.h"
#include "base/uuid.h"
#include "format/footer.h"
#include "io/newfile.h"

#define HEAD 128u
#define PIECE_HEAD 12u
#define SUM 8u
#define LARGEST (16u << 20)
#define PIECES 65536u
#define VERSION 1u

static const char magic[8] = "lvhdjrnl";

static int no_memory(struct lvhd_error *err) {
  return lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE);
}

int lv_journal_pending(const struct lv_journal *journal,
                       struct lvhd_error *err) {
  int code = lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_JOURNAL_PENDING);
  if (err && journal->verb == LV_JOURNAL_MERGE) {
    err->has |= LVHD_HAS_CHILD;
    memcpy(err->expected_uuid, journal->other, 16);
  }
  return code;
}

void lv_journal_free(struct lv_journal *journal) {
  lv_overlay_clear(&journal->old);
}

/* ---- its name -------------------------------------------------------- */

/* false: the name is too long, and the disk's identifier is not known. */
static bool name_of(char out[NAME_MAX + 1], const char *path,
                    const uint8_t *uuid) {
  char text[LV_UUID_TEXT];
  int n =
    snprintf(out, NAME_MAX + 1, ".%s.lvhd-journal", lv_path_name(path));
  if (n <= NAME_MAX)
    return true;
  if (uuid == NULL)
    return false;
  lv_uuid_format(uuid, text);
  snprintf(out, NAME_MAX + 1, ".lvhd-journal-%s", text);
  return true;
}

/* ---- bytes ----------------------------------------------------------- */

static uint64_t checksum(const uint8_t *bytes, size_t n) {
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < n; i++)
    h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
  return h;
}

static uint8_t *encode(const struct lv_journal *j, size_t *size) {
  size_t n = HEAD + SUM + j->old.count * PIECE_HEAD + j->old.bytes;
  uint8_t *out = calloc(1, n), *at = out;
  if (out == NULL)
    return NULL;
  memcpy(at, magic, sizeof magic);
  lv_put_be32(at + 8, VERSION);
  lv_put_be32(at + 12, (uint32_t)j->verb);
  memcpy(at + 16, j->uuid, 16);
  memcpy(at + 32, j->other, 16);
  lv_put_be64(at + 48, (uint64_t)j->mtime.tv_sec);
  lv_put_be32(at + 56, (uint32_t)j->mtime.tv_nsec);
  lv_put_be32(at + 60, (uint32_t)j->old.count);
  lv_put_be64(at + 64, j->length);
  lv_put_be64(at + 72, j->done);
  lv_put_be64(at + 80, n);
  lv_put_be64(at + 88, j->longest);
  at += HEAD;
  for (size_t i = 0; i < j->old.count; i++) {
    const struct lv_patch *piece = &j->old.items[i];
    lv_put_be64(at, piece->at);
    lv_put_be32(at + 8, piece->length);
    memcpy(at + PIECE_HEAD, piece->bytes, piece->length);
    at += PIECE_HEAD + piece->length;
  }
  lv_put_be64(at, checksum(out, n - SUM));
  *size = n;
  return out;
}

/* One piece at `at`; false: it cannot be one. */
static bool decode_piece(struct lv_journal *j, const uint8_t *at,
                         size_t left, size_t *taken, bool *memory) {
  uint64_t place = 0;
  uint32_t length = 0;
  if (left < PIECE_HEAD)
    return false;
  place = lv_get_be64(at);
  length = lv_get_be32(at + 8);
  *taken = PIECE_HEAD + (size_t)length;
  if (length == 0 || length % LV_SECTOR != 0 || place % LV_SECTOR != 0 ||
      length > LV_JOURNAL_PATCH || *taken > left ||
      place > (uint64_t)INT64_MAX - length)
    return false;
  /* ascending, and none over another */
  if (j->old.count > 0) {
    const struct lv_patch *last = &j->old.items[j->old.count - 1];
    if (place < last->at + last->length)
      return false;
  }
  *memory = lv_overlay_put(&j->old, place, at + PIECE_HEAD, length, NULL,
                           NULL) == 0;
  return *memory;
}

/* false: it is no whole note; *memory false: there was none for it. */
static bool decode(struct lv_journal *j, const uint8_t *in, size_t n,
                   bool *memory) {
  size_t at = HEAD, count = 0;
  *memory = true;
  if (n < HEAD + SUM || memcmp(in, magic, sizeof magic) != 0 ||
      lv_get_be32(in + 8) != VERSION || lv_get_be64(in + 80) != n ||
      lv_get_be64(in + n - SUM) != checksum(in, n - SUM))
    return false;
  j->verb = (enum lv_journal_verb)lv_get_be32(in + 12);
  memcpy(j->uuid, in + 16, 16);
  memcpy(j->other, in + 32, 16);
  j->mtime.tv_sec = (time_t)(int64_t)lv_get_be64(in + 48);
  j->mtime.tv_nsec = (long)lv_get_be32(in + 56);
  count = lv_get_be32(in + 60);
  j->length = lv_get_be64(in + 64);
  j->done = lv_get_be64(in + 72);
  j->longest = lv_get_be64(in + 88);
  if (j->verb < LV_JOURNAL_MERGE || j->verb > LV_JOURNAL_REPAIR ||
      j->mtime.tv_nsec > 999999999 || count > PIECES)
    return false;
  for (size_t i = 0; i < count; i++) {
    size_t taken = 0;
    if (!decode_piece(j, in + at, n - SUM - at, &taken, memory))
      return false;
    at += taken;
  }
  return at == n - SUM;
}

/* ---- looking --------------------------------------------------------- */

/* By the owner of the image, root, ourselves, or someone whom the image's
 * permissions let write it: he could have changed the image as well. */
static bool may_write(const struct stat *note, const struct stat *image) {
  return S_ISREG(note->st_mode) &&
         (note->st_uid == image->st_uid || note->st_uid == 0 ||
          note->st_uid == geteuid() || (image->st_mode & S_IWOTH) != 0 ||
          ((image->st_mode & S_IWGRP) != 0 &&
           note->st_gid == image->st_gid)) &&
         note->st_size > 0 && note->st_size <= (off_t)LARGEST;
}

static int read_note(struct lv_journal *journal,
                     enum lv_journal_state *state, struct lv_env *env,
                     const struct lv_file *note, struct lvhd_error *err) {
  struct lvhd_error why = LVHD_ERROR_INIT;
  size_t n = (size_t)note->st.st_size;
  uint8_t *bytes = malloc(n);
  bool memory = true;
  int code = bytes ? lv_file_read(note, env, bytes, n, 0, &why)
                   : no_memory(&why);
  if (code == 0 && decode(journal, bytes, n, &memory))
    *state = LV_JOURNAL_GOOD;
  free(bytes);
  if (why.reason == LV_R_FILE_CUT) /* meanwhile: it is no whole one */
    code = 0;
  if (code != 0)
    return lv_error_give(err, &why);
  lvhd_error_clear(&why);
  return memory ? 0 : no_memory(err);
}

int lv_journal_look(struct lv_journal *journal, enum lv_journal_state *state,
                    struct lv_env *env, const struct lv_file *file,
                    const char *path, const uint8_t uuid[16],
                    struct lvhd_error *err) {
  struct lv_file note = LV_FILE_INIT;
  char name[NAME_MAX + 1], whole[PATH_MAX];
  const char *call = NULL;
  size_t folder = (size_t)(lv_path_name(path) - path);
  int code = 0;
  *journal = (struct lv_journal){0};
  *state = LV_JOURNAL_NONE;
  if (!name_of(name, path, uuid) ||
      folder + strlen(name) >= sizeof whole)
    return 0;
  memcpy(whole, path, folder);
  strcpy(whole + folder, name);
  note.fd = lv_open_real(env, whole,
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
                           O_CLOEXEC,
                         &call);
  if (note.fd < 0) {
    int saved = errno;
    if (saved == ENOENT || saved == ENOTDIR)
      return 0;
    *state = LV_JOURNAL_FOREIGN; /* a link, a socket, or not ours to read */
    return saved == ELOOP || saved == ENXIO || saved == EACCES ||
               saved == EPERM
             ? 0
             : lv_fail_errno(err, LV_STEP_FILE, saved, call);
  }
  /* Whether it counts must be known: the file may hold half of a change. */
  *state = LV_JOURNAL_FOREIGN;
  if (env->sys->fstat(env->sys, note.fd, &note.st) != 0)
    code = lv_fail_errno(err, LV_STEP_FILE, errno, "fstat");
  else if (may_write(&note.st, &file->st))
    code = read_note(journal, state, env, &note, err);
  journal->noted = note.st.st_mtim.tv_sec;
  if (code != 0 || *state != LV_JOURNAL_GOOD)
    lv_journal_free(journal);
  lv_file_close(&note, env);
  return code;
}

/* ---- writing --------------------------------------------------------- */

/* The folder still has the file, by its name. */
static int look_for(const struct lv_folder *folder, const struct lv_env *env,
                    const struct lv_file *file, const char *path,
                    bool *elsewhere, struct lvhd_error *err) {
  struct stat st;
  if (env->sys->fstatat(env->sys, folder->fd, lv_path_name(path), &st,
                        AT_SYMLINK_NOFOLLOW) == 0) {
    *elsewhere =
      st.st_dev != file->st.st_dev || st.st_ino != file->st.st_ino;
    return 0;
  }
  *elsewhere = errno == ENOENT;
  return *elsewhere ? 0
                    : lv_fail_errno(err, LV_STEP_INPLACE, errno, "fstatat");
}

/* The folder that the file is in: by its path, which may lead elsewhere by
 * now.  *elsewhere, and nothing is open. */
static int open_beside(struct lv_folder *folder, struct lv_env *env,
                       const struct lv_file *file, const char *path,
                       bool *elsewhere, struct lvhd_error *err) {
  char *folder_path = lv_path_folder(path);
  int code = folder_path ? lv_folder_of(folder, env, folder_path, err)
                         : no_memory(err);
  free(folder_path);
  /* a link has come into the path */
  *elsewhere = code == LVHD_E_ACCESSDENIED && err &&
               err->reason == LV_R_OUTSIDE_DRIVE;
  if (*elsewhere)
    lvhd_error_clear(err);
  if (code != 0)
    return *elsewhere ? 0 : code;
  if (folder->missing)
    *elsewhere = true;
  else
    code = look_for(folder, env, file, path, elsewhere, err);
  if (code != 0 || *elsewhere)
    lv_folder_close(folder, env);
  return code;
}

static int publish(struct lv_env *env, const struct lv_folder *folder,
                   const char *folder_path, const char *name, mode_t mode,
                   const uint8_t *bytes, size_t n, bool named, bool durable,
                   struct lvhd_error *err) {
  struct lv_newfile file = LV_NEWFILE_INIT;
  struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
  int code = lv_newfile_begin(&file, env, folder, folder_path, name, mode,
                              named, err);
  if (code == 0)
    code = lv_newfile_write(&file, &iov, 1, 0, err);
  if (code == 0 && durable)
    code = lv_newfile_flush(&file, err);
  if (code == 0)
    code = lv_newfile_link(&file, durable, err);
  if (code == 0)
    code = lv_newfile_settle(&file, err);
  lv_newfile_abandon(&file);
  return code;
}

int lv_journal_write(const struct lv_journal *journal, struct lv_env *env,
                     const struct lv_file *file, const char *path,
                     bool durable, struct lv_folder *beside,
                     struct lvhd_error *err) {
  char name[NAME_MAX + 1];
  char *folder_path = lv_path_folder(path);
  bool elsewhere = false;
  size_t n = 0;
  uint8_t *bytes = encode(journal, &n);
  mode_t mode = (file->st.st_mode & 0666) | S_IRUSR | S_IWUSR;
  int code = bytes && folder_path ? 0 : no_memory(err);
  *beside = (struct lv_folder)LV_FOLDER_INIT;
  name_of(name, path, journal->uuid);
  if (code == 0)
    code = open_beside(beside, env, file, path, &elsewhere, err);
  if (elsewhere)
    code = lv_fail(err, LVHD_E_SHARING_VIOLATION, LV_R_FILE_REPLACED);
  if (code == 0)
    code = publish(env, beside, folder_path, name, mode, bytes, n, false,
                   durable, err);
  if (code == LV_AGAIN_NAMED)
    code = publish(env, beside, folder_path, name, mode, bytes, n, true,
                   durable, err);
  if (code == LVHD_E_ALREADY_EXISTS)
    code = lv_fail(err, LVHD_VM_E_HD_IMAGE_ACCESS, LV_R_JOURNAL_FOREIGN);
  if (code != 0)
    lv_folder_close(beside, env);
  free(folder_path);
  free(bytes);
  return code;
}

/* The folder no longer has it; a folder that cannot be opened for flushing
 * goes with its whole volume. */
static int flush_folder(const struct lv_env *env,
                        const struct lv_folder *folder,
                        const struct lv_file *file, struct lvhd_error *err) {
  const struct lv_sys *sys = env->sys;
  if (folder->path_only) {
    if (sys->syncfs(sys, file->fd) != 0)
      return lv_fail_errno(err, LV_STEP_INPLACE, errno, "syncfs");
  } else if (sys->fsync(sys, folder->fd) != 0) {
    return lv_fail_errno(err, LV_STEP_INPLACE, errno, "fsync");
  }
  return 0;
}

static int unlink_note(const struct lv_journal *journal,
                       const struct lv_env *env, const struct lv_file *file,
                       const char *path, bool durable,
                       const struct lv_folder *folder,
                       struct lvhd_error *err) {
  char name[NAME_MAX + 1];
  name_of(name, path, journal->uuid);
  if (env->sys->unlinkat(env->sys, folder->fd, name, 0) != 0 &&
      errno != ENOENT)
    return lv_fail_errno(err, LV_STEP_INPLACE, errno, "unlinkat");
  return durable ? flush_folder(env, folder, file, err) : 0;
}

int lv_journal_remove(const struct lv_journal *journal, struct lv_env *env,
                      const struct lv_file *file, const char *path,
                      bool durable, const struct lv_folder *beside,
                      struct lvhd_error *err) {
  struct lv_folder folder = LV_FOLDER_INIT;
  bool elsewhere = false;
  int code = beside
               ? look_for(beside, env, file, path, &elsewhere, err)
               : open_beside(&folder, env, file, path, &elsewhere, err);
  if (code != 0 || elsewhere) /* it went with its folder */
    return code;
  code = unlink_note(journal, env, file, path, durable,
                     beside ? beside : &folder, err);
  lv_folder_close(&folder, env);
  return code;
}
