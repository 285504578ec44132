/* SPDX-License-Identifier: MIT
 *
 * Unit tests of src/image/journal: whose note counts, what cannot be read, and
 * a folder that is elsewhere by the time that the note is written or taken
 * away.  That notes are followed is spec/journal_spec.lua's.
 */
#include <fcntl.h>

#include "image/journal.h"
#include "io/drives.h"
#include "told.h"
#include "trouble.h"

#define NOTE "a/.disk.lvhd-journal"

static struct trouble t;
static struct lv_env env;
static struct lv_drives *drives;
static struct lv_file disk;
static struct lvhd_error err = LVHD_ERROR_INIT;

/* base/a/disk, of an engine that maps drives: its path has no link in it. */
static void begin(void) {
  const struct lvhd_drive list[] = {{"C", base}};
  trouble_begin(&t);
  lv_env_init(&env, &t.sys);
  CHECK_INT(lv_drives_new(&drives, list, 1, &err), 0);
  env.drives = drives;
  CHECK_INT(mkdir(in("a"), 0700), 0);
  put_text("a/disk", "disk");
  CHECK_INT(lv_file_open(&disk, &env, in("a/disk"), &err), 0);
}

static void end(void) {
  lv_file_close(&disk, &env);
  lv_drives_free(drives);
  CHECK_INT(unlink(in("a/disk")), 0);
  CHECK_INT(rmdir(in("a")), 0);
  CHECK_INT(entries(base), 2);
}

static struct lv_journal note = {.verb = LV_JOURNAL_COMPACT,
                                 .length = 4,
                                 .mtime = {.tv_sec = 5, .tv_nsec = 6}};
static struct lv_folder beside;

static int put_note(bool durable) {
  unsigned open = descriptors();
  int code =
    lv_journal_write(&note, &env, &disk, in("a/disk"), durable, &beside, &err);
  if (code == 0)
    open += beside.root.fd >= 0 ? 2 : 1;
  CHECK_INT(descriptors(), open);
  return code;
}

static int remove_note(bool durable, const struct lv_folder *with) {
  unsigned open = descriptors();
  int code = lv_journal_remove(&note, &env, &disk, in("a/disk"), durable,
                               with, &err);
  CHECK_INT(descriptors(), open);
  return code;
}

static struct lv_journal seen;
static enum lv_journal_state state;

static int look_at(const char *path) {
  unsigned open = descriptors();
  int code =
    lv_journal_look(&seen, &state, &env, &disk, path, note.uuid, &err);
  CHECK_INT(descriptors(), open);
  lv_journal_free(&seen);
  return code;
}

static int look(void) {
  return look_at(in("a/disk"));
}

static void test_both_ways(void) {
  begin();
  for (int durable = 0; durable < 2; durable++)
    for (int with = 0; with < 2; with++) {
      CHECK_INT(put_note(durable != 0), 0);
      CHECK_INT(look(), 0);
      CHECK_INT(state, LV_JOURNAL_GOOD);
      CHECK_INT(seen.mtime.tv_nsec, 6);
      CHECK_INT(remove_note(durable != 0, with ? &beside : NULL), 0);
      lv_folder_close(&beside, &env);
      CHECK(!exists(NOTE));
      CHECK_INT(look(), 0);
      CHECK_INT(state, LV_JOURNAL_NONE);
      CHECK_INT(remove_note(true, NULL), 0); /* gone is gone */
    }
  end();
}

/* ---- whose it is -------------------------------------------------------- */

static uid_t its_user;
static gid_t its_group;

static void owned(void *answer) {
  struct stat *st = answer;
  st->st_uid = its_user;
  st->st_gid = its_group;
}

static enum lv_journal_state state_of(uid_t user, gid_t group) {
  its_user = user;
  its_group = group;
  CHECK_INT(look(), 0);
  return state;
}

/* Who could have changed the image as well is believed. */
static void test_owner(void) {
  uid_t stranger = geteuid() + 7;
  begin();
  CHECK_INT(put_note(false), 0);
  lv_folder_close(&beside, &env);
  trouble_forge(&t, "fstat", owned);
  disk.st.st_uid = geteuid() + 1;
  disk.st.st_gid = 20;
  disk.st.st_mode = S_IFREG | 0644;
  CHECK_INT(state_of(stranger, 20), LV_JOURNAL_FOREIGN);
  CHECK_INT(state_of(geteuid() + 1, 21), LV_JOURNAL_GOOD);
  CHECK_INT(state_of(geteuid(), 21), LV_JOURNAL_GOOD);
  CHECK_INT(state_of(0, 21), LV_JOURNAL_GOOD);
  disk.st.st_mode = S_IFREG | 0664;
  CHECK_INT(state_of(stranger, 20), LV_JOURNAL_GOOD);
  CHECK_INT(state_of(stranger, 21), LV_JOURNAL_FOREIGN);
  disk.st.st_mode = S_IFREG | 0646;
  CHECK_INT(state_of(stranger, 21), LV_JOURNAL_GOOD);
  trouble_over(&t);
  CHECK_INT(unlink(in(NOTE)), 0);
  CHECK_INT(mkfifo(in(NOTE), 0600), 0);
  CHECK_INT(look(), 0);
  CHECK_INT(state, LV_JOURNAL_FOREIGN);
  CHECK_INT(unlink(in(NOTE)), 0);
  put_text(NOTE, "");
  CHECK_INT(look(), 0);
  CHECK_INT(state, LV_JOURNAL_FOREIGN);
  put_text(NOTE, "nothing of the kind");
  CHECK_INT(look(), 0);
  CHECK_INT(state, LV_JOURNAL_FOREIGN);
  CHECK_INT(truncate(in(NOTE), (16 << 20) + 1), 0);
  CHECK_INT(look(), 0);
  CHECK_INT(state, LV_JOURNAL_FOREIGN);
  CHECK_INT(unlink(in(NOTE)), 0);
  end();
}

/* A time that is none: it is not followed. */
static void test_time(void) {
  begin();
  note.mtime.tv_nsec = 1000000000;
  CHECK_INT(put_note(false), 0);
  note.mtime.tv_nsec = 6;
  CHECK_INT(look(), 0);
  CHECK_INT(state, LV_JOURNAL_FOREIGN);
  CHECK_INT(remove_note(false, &beside), 0);
  lv_folder_close(&beside, &env);
  end();
}

/* ---- reading ------------------------------------------------------------ */

static ssize_t cut(const struct lv_sys *sys, int fd, void *buf, size_t n,
                   off_t at) {
  (void)sys, (void)fd, (void)buf, (void)n, (void)at;
  return 0;
}

static void test_unread(void) {
  static const int foreign[] = {ELOOP, ENXIO, EACCES, EPERM};
  static const int none[] = {ENOENT, ENOTDIR};
  begin();
  CHECK_INT(put_note(false), 0);
  for (size_t i = 0; i < COUNT(foreign); i++) {
    trouble_over(&t);
    trouble_fail(&t, "openat2", foreign[i], 1, foreign[i] == EPERM ? 0 : 1);
    trouble_fail(&t, "openat", EPERM, 1, foreign[i] == EPERM);
    CHECK_INT(look(), 0);
    CHECK_INT(state, LV_JOURNAL_FOREIGN);
  }
  for (size_t i = 0; i < COUNT(none); i++) {
    trouble_over(&t);
    trouble_fail(&t, "openat2", none[i], 1, 1);
    CHECK_INT(look(), 0);
    CHECK_INT(state, LV_JOURNAL_NONE);
  }
  trouble_over(&t);
  trouble_fail(&t, "openat2", EIO, 1, 1); /* half of a change may be there */
  TOLD(&err, look(), DISP_E_EXCEPTION, EIO, "openat2");
  trouble_fail(&t, "fstat", EIO, 1, 1);
  TOLD(&err, look(), DISP_E_EXCEPTION, EIO, "fstat");
  trouble_fail(&t, "pread", EIO, 1, 2);
  TOLD(&err, look(), DISP_E_EXCEPTION, EIO, "pread");
  CHECK_INT(lv_journal_look(&seen, &state, &env, &disk, in("a/disk"),
                            note.uuid, NULL), LVHD_DISP_E_EXCEPTION);
  t.sys.pread = cut; /* somebody shortens it meanwhile: no whole one */
  CHECK_INT(look(), 0);
  CHECK_INT(state, LV_JOURNAL_FOREIGN);
  lv_folder_close(&beside, &env);
  CHECK_INT(unlink(in(NOTE)), 0);
  /* Where no name would be short enough there can be none. */
  CHECK_INT(look_at(lengthy("/", PATH_MAX - 12)), 0);
  CHECK_INT(state, LV_JOURNAL_NONE);
  {
    char *path = lengthy("/", PATH_MAX - 8);
    path[PATH_MAX - 10] = '/';
    CHECK_INT(look_at(path), 0);
    CHECK_INT(state, LV_JOURNAL_NONE);
  }
  end();
}

/* ---- elsewhere ---------------------------------------------------------- */

static void move_away(void) {
  CHECK_INT(rename(in("a"), in("b")), 0);
}

static void move_back(void) {
  (void)unlink(in("a"));
  CHECK_INT(rename(in("b"), in("a")), 0);
}

/* No note beside what is not the file: it would tell of another. */
static void test_write_elsewhere(void) {
  begin();
  move_away();
  REASON(&err, put_note(true), E_SHARING_VIOLATION, FILE_REPLACED);
  CHECK_INT(symlink("b", in("a")), 0);
  REASON(&err, put_note(true), E_SHARING_VIOLATION, FILE_REPLACED);
  CHECK(!exists("b/.disk.lvhd-journal"));
  move_back();
  trouble_forge(&t, "fstatat", other_volume);
  REASON(&err, put_note(true), E_SHARING_VIOLATION, FILE_REPLACED);
  trouble_over(&t);
  CHECK_INT(rename(in("a/disk"), in("a/moved")), 0);
  REASON(&err, put_note(true), E_SHARING_VIOLATION, FILE_REPLACED);
  put_text("a/disk", "another");
  REASON(&err, put_note(true), E_SHARING_VIOLATION, FILE_REPLACED);
  CHECK_INT(rename(in("a/moved"), in("a/disk")), 0);
  trouble_fail(&t, "fstatat", EIO, 1, 1);
  TOLD(&err, put_note(true), DISP_E_EXCEPTION, EIO, "fstatat");
  trouble_over(&t);
  trouble_fail(&t, "openat2", EMFILE, 1, 1);
  TOLD(&err, put_note(true), VM_E_OUT_OF_RESOURCE, EMFILE, "openat2");
  trouble_over(&t);
  trouble_fail(&t, "openat2", EACCES, 2, 2); /* refused is not elsewhere */
  TOLD(&err, put_note(true), E_ACCESSDENIED, EACCES, "openat2");
  CHECK(!exists(NOTE));
  put_text(NOTE, "somebody's");
  REASON(&err, put_note(true), VM_E_HD_IMAGE_ACCESS, JOURNAL_FOREIGN);
  CHECK_INT(unlink(in(NOTE)), 0);
  end();
}

/* The note went with its folder, and what is there now is another's. */
static void test_remove_elsewhere(void) {
  begin();
  CHECK_INT(put_note(true), 0);
  move_away();
  CHECK_INT(remove_note(true, NULL), 0);
  CHECK_INT(symlink("b", in("a")), 0);
  CHECK_INT(remove_note(true, NULL), 0);
  CHECK(exists("b/.disk.lvhd-journal"));
  CHECK_INT(lv_journal_remove(&note, &env, &disk, in("a/disk"), true, NULL,
                              NULL), LVHD_E_ACCESSDENIED);
  move_back();
  CHECK_INT(rename(in("a/disk"), in("a/moved")), 0);
  CHECK_INT(remove_note(true, &beside), 0);
  CHECK(exists(NOTE));
  CHECK_INT(rename(in("a/moved"), in("a/disk")), 0);
  trouble_fail(&t, "fstatat", EIO, 1, 1);
  TOLD(&err, remove_note(true, &beside), DISP_E_EXCEPTION, EIO, "fstatat");
  trouble_fail(&t, "unlinkat", EPERM, 1, 1);
  TOLD(&err, remove_note(true, &beside), VM_E_FILE_READ_ONLY, EPERM,
       "unlinkat");
  CHECK(exists(NOTE));
  trouble_fail(&t, "fsync", EIO, 1, 1);
  TOLD(&err, remove_note(true, &beside), DISP_E_EXCEPTION, EIO, "fsync");
  CHECK(!exists(NOTE));
  lv_folder_close(&beside, &env);
  end();
}

/* A folder that is not ours to list is flushed with its volume. */
static void test_unlisted(void) {
  begin();
  trouble_fail(&t, "openat2", EACCES, 2, 1); /* behind "/" */
  trouble_fail(&t, "syncfs", EIO, 3, 1);
  CHECK_INT(put_note(true), 0);
  CHECK(beside.path_only);
  CHECK_INT(remove_note(true, &beside), 0);
  CHECK_INT(t.rules[1].calls, 2);
  TOLD(&err, remove_note(true, &beside), DISP_E_EXCEPTION, EIO, "syncfs");
  lv_folder_close(&beside, &env);
  end();
}

/* Where unnamed files cannot be linked it is named from the start. */
static void test_named(void) {
  begin();
  trouble_fail(&t, "linkat", EPERM, 1, 2);
  CHECK_INT(put_note(true), 0);
  CHECK(exists(NOTE));
  CHECK_INT(remove_note(true, &beside), 0);
  lv_folder_close(&beside, &env);
  end();
}

int main(void) {
  unsigned open = descriptors();
  base_make("journal");
  test_both_ways();
  test_owner();
  test_time();
  test_unread();
  test_write_elsewhere();
  test_remove_elsewhere();
  test_unlisted();
  test_named();
  CHECK_INT(descriptors(), open);
  CHECK_INT(rmdir(base), 0);
  return check_done();
}
