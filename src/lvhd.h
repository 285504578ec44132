/* SPDX-License-Identifier: MIT
 *
 * lvhd: create, inspect and maintain VHD virtual hard disks.
 *
 * This header is the manual of the C engine.  It knows no Lua.  Every name
 * in it begins with lvhd_ or LVHD_; nothing else is visible to a program.
 *
 * Life cycle
 *
 *   lvhd_engine *engine = NULL;
 *   lvhd_task *task = NULL;
 *   struct lvhd_error err = LVHD_ERROR_INIT;
 *
 *   lvhd_engine_new(&engine, NULL, &err);
 *   lvhd_create_differencing(engine, "/vms/a.vhd", "/golden/base.vhd", NULL,
 *                            &task, &err);
 *   while (!lvhd_task_step(task, 250, NULL))
 *     ;
 *   if (lvhd_task_error(task) == NULL)
 *     puts(lvhd_task_info(task)->path);
 *   lvhd_task_free(task);
 *   lvhd_engine_free(engine, false);
 *
 * Errors.  A function that can fail returns an enum lvhd_code: 0 (LVHD_S_OK)
 * or the code, in which case *err is filled.  `err` may be NULL where the
 * code is enough.  *err begins as LVHD_ERROR_INIT; a filled one owns
 * strings: lvhd_error_clear().
 * Every free function accepts NULL.
 *
 * Threads.  An engine is shared by any threads of the process.  A task
 * handle belongs to one thread at a time.  Two engines share nothing.
 * Workers block all signals and never call back into the program.
 *
 * Fork.  In a child process the engine and the tasks of its parent may only
 * be freed: whatever returns a code returns LVHD_E_HANDLE, every wait is over
 * at once, and a task that has not ended has LVHD_E_HANDLE for an error.
 *
 * Caveats
 *   - Changing a disk ruins every child of it that nobody told of.  lvhd looks
 *     for children where children_in says and in the folders of the chain's
 *     own files, before it changes what a disk reads, and nowhere else.
 *   - QEMU opens differencing disks without a word and reads zeros where
 *     the parent's data should be.
 *   - A program that unloads shared objects: liblvhd and the Lua module are
 *     linked `-z nodelete`, since a worker may still run inside.
 */
#ifndef LVHD_H
#define LVHD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LVHD_API __attribute__((visibility("default")))
#define LVHD_NODISCARD __attribute__((warn_unused_result))
#else
#define LVHD_API
#define LVHD_NODISCARD
#endif

/* ---- errors ---------------------------------------------------------- */

/* The codes, in the order of base/codes.def, which gives number and text.
 * The values are pinned. */
enum lvhd_code {
  LVHD_S_OK,
  LVHD_S_FALSE,
  LVHD_E_POINTER,
  LVHD_E_FAIL,
  LVHD_E_ABORT,
  LVHD_E_NOTIMPL,
  LVHD_E_INVALIDARG,
  LVHD_E_OUTOFMEMORY,
  LVHD_E_HANDLE,
  LVHD_E_ACCESSDENIED,
  LVHD_DISP_E_EXCEPTION,
  LVHD_DISP_E_BADINDEX,
  LVHD_E_FILE_NOT_FOUND,
  LVHD_E_PATH_NOT_FOUND,
  LVHD_E_INVALID_DRIVE,
  LVHD_E_SHARING_VIOLATION,
  LVHD_E_BUFFER_OVERFLOW,
  LVHD_E_DISK_FULL,
  LVHD_E_INVALID_NAME,
  LVHD_E_BAD_PATHNAME,
  LVHD_E_ALREADY_EXISTS,
  LVHD_VM_E_TIMED_OUT,
  LVHD_VM_E_OUT_OF_RESOURCE,
  LVHD_VM_E_VM_UNKNOWN,
  LVHD_VM_E_APP_SHUTTING_DOWN,
  LVHD_VM_E_VM_RUNNING_OR_SAVED,
  LVHD_VM_E_PREF_NOT_FOUND,
  LVHD_VM_E_PREF_ILLEGAL_VALUE,
  LVHD_VM_E_VM_RUNNING,
  LVHD_VM_E_DRIVE_INVALID,
  LVHD_VM_E_DRIVE_BUS_LOC_IN_USE,
  LVHD_VM_E_ADDITIONS_NOT_AVAIL,
  LVHD_VM_E_IMAGE_CAPTURE_FAIL,
  LVHD_VM_E_PARENT_PATH_NOT_FOUND,
  LVHD_VM_E_FILE_TOO_LARGE_FOR_VOLUME,
  LVHD_VM_E_FILE_READ_ONLY,
  LVHD_VM_E_WRONG_HD_IMAGE_TYPE,
  LVHD_VM_E_HD_IMAGE_OPEN_FAIL,
  LVHD_VM_E_HOST_DRIVE_NOT_FOUND,
  LVHD_VM_E_HD_IMAGE_ACCESS,
  LVHD_VM_E_INVALID_HD_FILE,
  LVHD_VM_E_IMAGE_SIZE_TOO_LARGE,
  LVHD_VM_E_IMAGE_SIZE_TOO_SMALL,
  LVHD_VM_E_PARENT_CHILD_ID_MISMATCH,
  LVHD_VM_E_UNSUPPORTED_HD_DISK_TYPE,
  LVHD_VM_E_PARENT_MODIFIED,
  LVHD_VM_E_MEDIA_WRONG_TYPE,
  LVHD_VM_E_HARDWARE_VIRTUALIZATION_DISABLED,
  LVHD_VM_E_VMVIRTUALPC_OLDER_VERSION,
  LVHD_VM_E_OTHER_VIRTUALIZATION_SOFTWARE,
  LVHD_CODES /* how many there are */
};

/* Which of the numbers of an error are known, and whose fault it is. */
enum {
  LVHD_HAS_EXPECTED = 1u << 0,
  LVHD_HAS_ACTUAL = 1u << 1,
  LVHD_HAS_OFFSET = 1u << 2,
  LVHD_AT_PARENT = 1u << 3, /* what is wrong is wrong with the parent */
  LVHD_HAS_UUIDS = 1u << 4, /* expected and actual are identifiers */
  LVHD_HAS_CHILD = 1u << 5  /* expected_uuid alone is one: that of the child
                               whose merge was interrupted */
};

/* What went wrong, by value.  path and parent are owned by the error (or
 * NULL when not known, or when memory ran out); op and syscall are static. */
struct lvhd_error {
  int code;            /* enum lvhd_code */
  int reason;          /* lvhd_reason_name(); 0: none */
  int errnum;          /* errno of the failed call; 0: none */
  unsigned has;        /* LVHD_HAS_... */
  const char *op;      /* the verb: "create_differencing" */
  const char *syscall; /* the failed call: "linkat" */
  uint64_t expected;   /* the limit, in the unit of the reason */
  uint64_t actual;     /* what was found, in the same unit */
  uint64_t offset;     /* byte offset in the file */
  uint8_t expected_uuid[16], actual_uuid[16];
  unsigned layer;      /* of a chain, 1 is the leaf; 0: none */
  char *path;          /* the image that the call was about */
  char *parent;        /* its parent, where the call has one */
  size_t failed, of;   /* of how many images how many failed; of 0: one image
                          alone was asked for */
  char *others;        /* files that stand in the way (OTHER_CHILDREN): paths,
                          each ended by a NUL, and one NUL more */
};
#define LVHD_ERROR_INIT                                                      \
  {0, 0, 0, 0, NULL, NULL, 0, 0, 0, {0}, {0}, 0, NULL, NULL, 0, 0, NULL}

/* Frees what the error owns and makes it LVHD_ERROR_INIT again. */
LVHD_API void lvhd_error_clear(struct lvhd_error *err);

/* Writes the sentence behind "op 'path': " into buf: what is wrong (with the
 * parent, when that is at fault), the limit and the value.  Returns the
 * length it would need, as snprintf. */
LVHD_API int lvhd_error_text(const struct lvhd_error *err, char *buf,
                             size_t size);

/* "E_ALREADY_EXISTS", 0x800700B7, the general text.  NULL or 0 for a number
 * that is no code.  Static strings; any thread. */
LVHD_API const char *lvhd_code_name(int code);
LVHD_API uint32_t lvhd_code_hresult(int code);
LVHD_API const char *lvhd_code_text(int code);

/* "FOLDER_MISSING"; "ERROR_PATH_NOT_FOUND" (may be ""); the text.  NULL for
 * 0 and for a number that is no reason. */
LVHD_API const char *lvhd_reason_name(int reason);
LVHD_API const char *lvhd_reason_windows(int reason);
LVHD_API const char *lvhd_reason_text(int reason);

/* "EACCES"; NULL for a number that is no errno.  Static strings. */
LVHD_API const char *lvhd_errno_name(int errnum);

/* ---- engines --------------------------------------------------------- */

typedef struct lvhd_engine lvhd_engine;
typedef struct lvhd_task lvhd_task;

/* How durable a new file is before its task succeeds.  0 in the options of
 * a call means: as the engine. */
enum lvhd_sync {
  LVHD_SYNC_DEFAULT,
  LVHD_SYNC_FULL, /* file and folder */
  LVHD_SYNC_DATA, /* the file only */
  LVHD_SYNC_NONE
};

/* A yes or no that may also be "as the engine". */
enum lvhd_choice { LVHD_DEFAULT, LVHD_YES, LVHD_NO };

/* A Windows root and the folder of the host that it is. */
struct lvhd_drive {
  const char *name;   /* "C", or "\\\\nas\\golden": a server and a share */
  const char *folder; /* absolute; need not exist yet */
};

/* Zero-initialise, then set what differs.  Strings are copied. */
struct lvhd_engine_options {
  unsigned threads;             /* 0: min(4, processors) */
  enum lvhd_sync sync;          /* default: FULL */
  const char *base;             /* absolute folder, or NULL */
  enum lvhd_choice long_paths;  /* default: NO */
  enum lvhd_choice host_names;  /* default: NO, the documented characters */
  enum lvhd_choice preflight;   /* default: YES */
  const char *const *parents;   /* folders or files that a chain may pull in,
                                   beside the leaf's folder; NULL: none */
  size_t parent_count;
  unsigned max_depth;           /* longest chain; 0: 64; at most 1024 */
  const char *const *children_in; /* folders, with all below them, that are
                                   searched for other children before a disk
                                   is changed, beside those at hand */
  size_t children_in_count;
  bool no_search;               /* not even those at hand */
  const struct lvhd_drive *drives; /* Windows roots: with them paths of drives
                                   and shares are understood */
  size_t drive_count;
  bool dry_run;                 /* every verb looks, and refuses what it would;
                                   where it would begin to change, make or
                                   remove a file it fails with E_ABORT (DRY_RUN);
                                   success: there was nothing to do */
  const void *system;           /* tests only: a struct lv_sys; or NULL.  Not
                                   used by a dry run */
};

/* Makes an engine; its threads start when there is work.  opts may be NULL.
 * Errors: E_OUTOFMEMORY, VM_E_OUT_OF_RESOURCE, E_BAD_PATHNAME (base or the
 * folder of a drive is relative), E_INVALID_NAME (its characters),
 * E_INVALIDARG (an enum value that does not exist; DRIVE_MALFORMED,
 * DRIVE_TWICE), E_POINTER (the name or the folder of a drive is NULL). */
LVHD_API LVHD_NODISCARD int
lvhd_engine_new(lvhd_engine **out, const struct lvhd_engine_options *opts,
                struct lvhd_error *err);

/* From now on every new task is refused with VM_E_APP_SHUTTING_DOWN; `how`
 * tells what becomes of those there are.  Returns at once. */
enum lvhd_stop {
  LVHD_STOP_FINISH,      /* what is there goes on */
  LVHD_STOP_CANCEL_LONG, /* queued and running long operations are cancelled */
  LVHD_STOP_CANCEL       /* everything is cancelled */
};
LVHD_API void lvhd_engine_stop(lvhd_engine *engine, enum lvhd_stop how);

/* Waits at most `ms` milliseconds until no task is queued or running; a
 * signal ends the wait early.  True: none is.  True in a forked child. */
LVHD_API bool lvhd_engine_idle(lvhd_engine *engine, unsigned ms);

/* Stops the engine, waits for its tasks, joins its threads.  cancel as
 * LVHD_STOP_CANCEL.  Not interruptible: loop over lvhd_engine_idle() first
 * where that matters.  One thread closes; a second one that calls meanwhile
 * returns early.  In a forked child it does nothing. */
LVHD_API void lvhd_engine_close(lvhd_engine *engine, bool cancel);

/* Closes, then lets go.  Tasks that are still held keep their results; the
 * memory goes with the last of them. */
LVHD_API void lvhd_engine_free(lvhd_engine *engine, bool cancel);

/* What is going on.  live: tasks queued or running; tasks: all that exist,
 * the live ones and those that are still held or lost; threads: workers. */
struct lvhd_engine_counts {
  size_t live, tasks, threads;
};
LVHD_API void lvhd_engine_counts(lvhd_engine *engine,
                                 struct lvhd_engine_counts *out);

/* Handing out what has ended, whoever started it.  From the first call of
 * lvhd_engine_collect or lvhd_engine_fd on, the engine holds each task that is
 * live, and each later one, until lvhd_engine_ended has handed it out, once, in
 * the order of ending; before, it holds none.  After lvhd_engine_close the rest
 * is still to be had.
 *
 * lvhd_engine_ended: a handle of such a task, to be freed beside the one that
 * the call gave, or NULL.  All handles of a task belong to one thread at a
 * time; lvhd_task_user() tells a program which of its own it is.
 * lvhd_engine_ended_count: how many there are to be had now.
 * lvhd_engine_ended_step: waits at most `ms` milliseconds until there is one,
 * or no task is live; a signal ends the wait early.  True: one of the two.
 * As lvhd_task_step it may be told of several ends at once.
 * lvhd_engine_fd: a descriptor that is readable exactly while there is one, and
 * lives as long as the engine's memory; -1: *err filled (VM_E_OUT_OF_RESOURCE).
 * After a fork: none, no wait, E_HANDLE. */
LVHD_API void lvhd_engine_collect(lvhd_engine *engine);
LVHD_API lvhd_task *lvhd_engine_ended(lvhd_engine *engine);
LVHD_API size_t lvhd_engine_ended_count(lvhd_engine *engine);
LVHD_API bool lvhd_engine_ended_step(lvhd_engine *engine, unsigned ms);
LVHD_API int lvhd_engine_fd(lvhd_engine *engine, struct lvhd_error *err);

/* A failed task whose handle was freed before it ended is lost, unless the
 * engine holds it (lvhd_engine_collect); this hands
 * out one such task as a handle again, or NULL, and is cheap when there is
 * none.  A program that frees handles of running tasks calls it now and then,
 * if only to free what it gets: the lost ones pile up until then. */
LVHD_API lvhd_task *lvhd_engine_lost(lvhd_engine *engine);

/* ---- Windows paths --------------------------------------------------- */

/* How Windows calls what has this path on the host (absolute; it need not
 * exist): "C:\\vms\\a.vhd".  NULL in *out, and success: it lies under no
 * mapped folder, or a name on the way is none in Windows.  *out goes to
 * lvhd_string_free().  Errors: E_POINTER, E_OUTOFMEMORY, E_HANDLE and what the
 * host says. */
LVHD_API LVHD_NODISCARD int lvhd_windows_path(lvhd_engine *engine,
                                              const char *host, char **out,
                                              struct lvhd_error *err);

/* Where a Windows path leads, as things stand: links are resolved, names are
 * as they are on the host, and what does not exist is named as it would be.
 * Errors: E_INVALID_NAME, E_PATH_NOT_FOUND (NO_SUCH_DRIVE, FOLDER_MISSING),
 * E_ACCESSDENIED/OUTSIDE_DRIVE, E_BAD_PATHNAME (no Windows path, or the engine
 * maps no drives). */
LVHD_API LVHD_NODISCARD int lvhd_host_path(lvhd_engine *engine,
                                           const char *windows, char **out,
                                           struct lvhd_error *err);

/* The documented rules on the text of a whole path, of either kind: the
 * characters (E_INVALID_NAME; E_PATH_NOT_FOUND for a drive where none is
 * mapped), E_BAD_PATHNAME (empty, or relative), E_BUFFER_OVERFLOW.  Nothing is
 * opened.  length: bytes, where it may hold NUL; 0: up to the first NUL. */
LVHD_API LVHD_NODISCARD int lvhd_check_path(lvhd_engine *engine,
                                            const char *path, size_t length,
                                            struct lvhd_error *err);

/* Accepts NULL. */
LVHD_API void lvhd_string_free(char *text);

/* ---- creating -------------------------------------------------------- */

/* As in the footer; no footer says LVHD_RAW: bytes of a disk and no more. */
enum lvhd_type {
  LVHD_RAW = 1,
  LVHD_FIXED = 2,
  LVHD_DYNAMIC = 3,
  LVHD_DIFFERENCING = 4
};

enum lvhd_allocate {
  LVHD_ALLOCATE_DEFAULT, /* sparse */
  LVHD_SPARSE,  /* a hole */
  LVHD_RESERVE, /* fallocate; E_NOTIMPL where the volume cannot */
  LVHD_ZERO     /* zeros are written */
};

/* What a new fixed or dynamic disk holds: one partition, formatted. */
enum lvhd_filesystem {
  LVHD_UNFORMATTED,
  LVHD_FAT16, /* from 3 MiB to less than 2,000 MiB */
  LVHD_FAT32  /* from 514 MiB */
};

/* Zero-initialise, then set what differs.  Everything is copied. */
struct lvhd_create_options {
  bool has_uuid, has_timestamp, has_mode, has_block_size;
  uint8_t uuid[16];              /* text order (RFC 4122) */
  int64_t timestamp;             /* seconds since 1970; the file's mtime too */
  unsigned mode;                 /* permission bits, exactly; otherwise 0666
                                    less the umask */
  int64_t block_size;            /* bytes: 2 MiB or 512 KiB, or what the
                                    parent has; otherwise 2 MiB or that */
  enum lvhd_allocate allocate;   /* fixed disks, and raw ones of convert */
  bool keep;                     /* an existing file that is the disk asked
                                    for is success with created == false */
  const char *windows_parent;    /* of a child: the absolute Windows locator,
                                    "D:\\vms\\base.vhd"; else the drive map's */
  enum lvhd_filesystem filesystem; /* lvhd_create_fixed, _dynamic alone */
  const char *label;             /* of the file system: 1 to 11 characters of
                                    ASCII, kept in capitals; NULL: none */
  enum lvhd_sync sync;           /* these five: 0 or NULL is as the engine */
  const char *base;
  enum lvhd_choice long_paths, host_names, preflight;
  size_t image_length, parent_length; /* bytes of the two paths where they may
                                         hold NUL; 0: up to the first NUL */
};

/* Create a disk; the returned task tracks it.  Blocking only for the checks
 * of the call (none but the strings without preflight).  A NULL path is
 * E_POINTER.  On failure *out is NULL and *err filled; the codes, in the
 * order of the checks:
 *   E_POINTER  VM_E_APP_SHUTTING_DOWN  E_INVALID_NAME  E_PATH_NOT_FOUND
 *   E_BAD_PATHNAME  E_BUFFER_OVERFLOW  E_INVALIDARG
 *   VM_E_IMAGE_SIZE_TOO_SMALL  VM_E_IMAGE_SIZE_TOO_LARGE  E_ACCESSDENIED
 *   VM_E_INVALID_HD_FILE  E_SHARING_VIOLATION  E_ALREADY_EXISTS
 *   VM_E_FILE_TOO_LARGE_FOR_VOLUME  E_DISK_FULL  DISP_E_EXCEPTION
 * and at any point E_OUTOFMEMORY, VM_E_OUT_OF_RESOURCE and, after a fork,
 * E_HANDLE.
 * size in bytes, a multiple of 512, from 3 MiB to less than 2,088,960 MiB; with
 * a file system also as enum lvhd_filesystem says.  E_INVALIDARG is OPTION_UNKNOWN
 * for a child with a file system, LABEL_ALONE or LABEL_MALFORMED for a label. */
LVHD_API LVHD_NODISCARD int
lvhd_create_fixed(lvhd_engine *engine, const char *image, int64_t size,
                  const struct lvhd_create_options *opts, lvhd_task **out,
                  struct lvhd_error *err);
LVHD_API LVHD_NODISCARD int
lvhd_create_dynamic(lvhd_engine *engine, const char *image, int64_t size,
                    const struct lvhd_create_options *opts, lvhd_task **out,
                    struct lvhd_error *err);
LVHD_API LVHD_NODISCARD int
lvhd_create_differencing(lvhd_engine *engine, const char *image,
                         const char *parent,
                         const struct lvhd_create_options *opts,
                         lvhd_task **out, struct lvhd_error *err);

/* One image of many. */
struct lvhd_child {
  const char *image;
  size_t image_length; /* bytes, where it may hold NUL; 0: to the first NUL */
  bool has_uuid;
  uint8_t uuid[16];    /* text order; otherwise random */
};

/* Creates many children of one parent; all is copied.  The parent is looked at
 * once, the files are written in parallel, and flushes are shared.  Each image
 * succeeds or fails by itself: lvhd_task_item_info() and _error() tell, after
 * any end of the task.  The task fails, with the error of the first that
 * failed (err->failed of err->of), unless all succeeded; cancelled, it leaves
 * what is published by then.  The descriptors that it holds at a time are at
 * most half of what the process may have.
 * A relative image starts from the parent's folder.  A relative parent starts
 * from opts->base, and so do relative images then.  opts->has_uuid is
 * E_INVALIDARG.  Errors of the call, for the parent and the options, as of
 * lvhd_create_differencing; those of an image are its own. */
LVHD_API LVHD_NODISCARD int
lvhd_create_children(lvhd_engine *engine, const struct lvhd_child *list,
                     size_t count, const char *parent,
                     const struct lvhd_create_options *opts, lvhd_task **out,
                     struct lvhd_error *err);

/* ---- what a file says ------------------------------------------------ */

struct lvhd_locator {
  char code[5];           /* "W2ru", "W2ku", "MacX" ... */
  const char *path;       /* decoded, UTF-8 */
  const uint8_t *raw;     /* the bytes in the file; NULL: not inside it */
  size_t raw_length;
  uint64_t offset;        /* of the text in the file; these three as recorded */
  uint32_t space, length;
};

enum lvhd_severity { LVHD_NOTE, LVHD_WARNING, LVHD_ERROR };

struct lvhd_finding {
  int reason;               /* lvhd_reason_name() */
  enum lvhd_severity severity;
  unsigned has;             /* LVHD_HAS_... but for UUIDS; LVHD_AT_PARENT: it
                               is of a file of a chain that was read */
  uint64_t expected, actual, offset;
  const char *path;         /* of that file; NULL: it is of the info's own */
  uint8_t expected_uuid[16];
};

/* Which footer counts: the one in the last 512 bytes, the one in the last 511
 * (of before Virtual PC 2004), or the copy at 0, where neither is whole. */
enum lvhd_footer { LVHD_FOOTER_END, LVHD_FOOTER_SHORT, LVHD_FOOTER_COPY };

/* How a parent was found. */
enum lvhd_found {
  LVHD_FOUND_NOT,
  LVHD_FOUND_LOCATOR, /* by the locator found_by */
  LVHD_FOUND_NAME,    /* by the name field, beside the child */
  LVHD_FOUND_GIVEN    /* named by the caller */
};

/* One file.  All pointers live as long as the object that gave the info. */
struct lvhd_info {
  const char *path;         /* absolute, as it really is */
  enum lvhd_type type;
  uint64_t size;            /* bytes the guest sees */
  uint64_t original_size;   /* bytes, when it was created, or
                               resized by lvhd */
  uint64_t file_size;       /* length of the file in bytes */
  uint32_t block_size;      /* bytes; 0 for fixed disks */
  uint32_t blocks;          /* entries of the BAT */
  uint32_t blocks_used;     /* of which allocated */
  uint32_t alignment;       /* every block's data starts at a multiple of so
                               many bytes: 512 to 4096; 0: no block */
  uint8_t uuid[16];
  int64_t timestamp;        /* seconds since 1970 */
  int64_t mtime;            /* of the file */
  char creator[5];          /* "win " */
  char creator_os[5];       /* "Wi2k" */
  uint32_t creator_version; /* 16.16 */
  uint16_t cylinders;
  uint8_t heads, sectors;
  bool saved_state;
  bool hidden;              /* XenServer's mark */
  enum lvhd_footer footer;
  uint64_t free;            /* bytes free on the volume */
  bool lockable;            /* the volume has locks */
  bool created;             /* false: it was there before (keep, reading) */
  bool has_parent;
  const char *parent_path;  /* as it really is; NULL when only recorded */
  const char *parent_name;  /* the name field of the header */
  uint8_t parent_uuid[16];
  int64_t parent_timestamp; /* seconds since 1970 */
  enum lvhd_found parent_found;
  const char *found_by;     /* code of the locator; NULL */
  const struct lvhd_locator *locators;
  size_t locator_count;
  const struct lvhd_finding *findings;
  size_t finding_count;
  const struct lvhd_error *error; /* chain: why it ends here; NULL */
};

/* A list of infos, leaf first where it is a chain. */
typedef struct lvhd_infos lvhd_infos;
LVHD_API size_t lvhd_infos_count(const lvhd_infos *infos);
LVHD_API const struct lvhd_info *lvhd_infos_at(const lvhd_infos *infos,
                                               size_t i);
LVHD_API void lvhd_infos_free(lvhd_infos *infos);

/* Zero-initialise, then set what differs; what is NULL or 0 is the engine's.
 * Copied where it must outlive the call. */
struct lvhd_open_options {
  const char *const *parents; /* as in the engine's options */
  size_t parent_count;
  bool has_parents;           /* parents counts, an empty list too */
  bool exact;                 /* lvhd_disk_open: the paths are the chain, even
                                 one path */
  unsigned max_depth;
  /* what follows counts where something is changed */
  bool write;                 /* lvhd_disk_open: the leaf may be written */
  bool force;                 /* see "changing a disk" */
  const char *const *children_in; /* as in the engine's options */
  size_t children_in_count;
  bool has_children_in;       /* children_in counts, an empty list too */
  bool no_search;
  enum lvhd_sync sync;        /* how durable what was changed is at the end */
  const char *windows_parent; /* lvhd_relink: as of a creation */
};

/* Reads what one file says: opens no other, takes no lock.  Blocking.
 * Errors: E_POINTER, E_PATH_NOT_FOUND, E_ACCESSDENIED, VM_E_INVALID_HD_FILE
 * (with the reason), DISP_E_EXCEPTION, E_OUTOFMEMORY,
 * VM_E_OUT_OF_RESOURCE, E_HANDLE, VM_E_APP_SHUTTING_DOWN. */
LVHD_API LVHD_NODISCARD int lvhd_read_info(lvhd_engine *engine,
                                           const char *path,
                                           lvhd_infos **out,
                                           struct lvhd_error *err);

/* The same of a chain, leaf to root.  Fails only where the leaf cannot be
 * read; a chain that breaks later gives its good part, and info->error of its
 * last entry tells why it ends.  Codes of that error:
 *   VM_E_PARENT_PATH_NOT_FOUND      none of the recorded names exists
 *   E_ACCESSDENIED/PARENT_OUTSIDE   outside of the allowed folders
 *   VM_E_PARENT_CHILD_ID_MISMATCH   another disk (expected, actual)
 *   E_INVALID_NAME/CASE_AMBIGUOUS   on a drive: two names differ from the one
 *                                   recorded in case alone (others)
 *   VM_E_HD_IMAGE_OPEN_FAIL         CHAIN_CYCLE, CHAIN_TOO_DEEP, PARENT_SIZE
 *   VM_E_INVALID_HD_FILE and what opening a file gives */
LVHD_API LVHD_NODISCARD int
lvhd_read_chain(lvhd_engine *engine, const char *path,
                const struct lvhd_open_options *opts, lvhd_infos **out,
                struct lvhd_error *err);

/* ---- reading a disk -------------------------------------------------- */

/* An open chain.  One thread at a time; it holds its engine. */
typedef struct lvhd_disk lvhd_disk;

/* Opens a disk with its parents.  One path: the parents are found by what the
 * files record, inside the leaf's folder and `parents`.  More, or opts->exact:
 * this is the chain, leaf to root, and nothing else is opened.  Each parent must be a
 * regular file with a valid footer and the recorded identifier.  Errors: as
 * lvhd_read_chain, but that a parent of another size is read as the format
 * says (zeros behind its end); VM_E_WRONG_HD_IMAGE_TYPE (a given list that
 * goes on behind a disk without parent). */
LVHD_API LVHD_NODISCARD int
lvhd_disk_open(lvhd_engine *engine, const char *const *paths, size_t count,
               const struct lvhd_open_options *opts, lvhd_disk **out,
               struct lvhd_error *err);

LVHD_API uint64_t lvhd_disk_size(const lvhd_disk *disk); /* bytes */

/* Reads up to n bytes at any offset; *got is less than n only at the end of
 * the disk.  Errors: VM_E_INVALID_HD_FILE (BLOCK_OUTSIDE: the BAT points
 * behind the end of the file), DISP_E_EXCEPTION (a file was cut meanwhile, a
 * device failed), E_OUTOFMEMORY, E_HANDLE. */
LVHD_API LVHD_NODISCARD int lvhd_disk_read(lvhd_disk *disk, void *buf,
                                           size_t n, uint64_t offset,
                                           size_t *got,
                                           struct lvhd_error *err);

/* Who holds what.  layer 1 is the leaf; 0: written nowhere, reads as zeros. */
struct lvhd_extent {
  uint64_t offset, length; /* bytes, multiples of 512 */
  unsigned layer;
};

/* The run that `offset` (a multiple of 512) begins, up to `end` at the most.
 * A call does a bounded amount of work: the next run may be of the same
 * layer. */
LVHD_API LVHD_NODISCARD int lvhd_disk_extent(lvhd_disk *disk,
                                             uint64_t offset, uint64_t end,
                                             struct lvhd_extent *out,
                                             struct lvhd_error *err);

/* Writes n bytes at any offset into the leaf of a disk that was opened with
 * `write`.  All of them, or an error; what a failed write leaves in the bytes
 * that it was to change is not known, all others are as before.  What is
 * written is read back at once through this disk, by others after a flush.
 * Errors: E_ACCESSDENIED (NOT_WRITABLE), E_INVALIDARG (WRITE_PAST_END: beyond
 * the disk, and nothing was written), E_DISK_FULL,
 * VM_E_FILE_TOO_LARGE_FOR_VOLUME, VM_E_INVALID_HD_FILE, DISP_E_EXCEPTION,
 * E_OUTOFMEMORY, E_HANDLE.  Where the device fails to flush (fdatasync), in
 * lvhd_disk_flush or for a write that needs it, the disk takes no more writes:
 * each fails with the same code, since nobody knows what is on the device. */
LVHD_API LVHD_NODISCARD int lvhd_disk_write(lvhd_disk *disk, const void *buf,
                                            size_t n, uint64_t offset,
                                            struct lvhd_error *err);

/* Everything written so far is in the file, and durable but with
 * LVHD_SYNC_NONE.  Errors: as lvhd_disk_write. */
LVHD_API LVHD_NODISCARD int lvhd_disk_flush(lvhd_disk *disk,
                                            struct lvhd_error *err);

/* Flushes, gives back the room that was reserved, and lets go of the locks:
 * nothing can be read or written any more.  Before lvhd_disk_close, which does
 * the same and tells nobody of a failure. */
LVHD_API LVHD_NODISCARD int lvhd_disk_finish(lvhd_disk *disk,
                                             struct lvhd_error *err);

/* The infos of the open files, leaf to root.  That of a leaf which may be
 * written has the finding SEARCH_SKIPPED where the search for other children
 * could not read all. */
LVHD_API LVHD_NODISCARD int lvhd_disk_chain(lvhd_disk *disk,
                                            lvhd_infos **out,
                                            struct lvhd_error *err);

/* Accepts NULL. */
LVHD_API void lvhd_disk_close(lvhd_disk *disk);

/* ---- checking and finding -------------------------------------------- */

/* What a reader is known to refuse, beside what is wrong for all. */
enum lvhd_profile {
  LVHD_PROFILE_NONE,
  LVHD_PROFILE_AZURE,
  LVHD_PROFILE_HYPERV,
  LVHD_PROFILE_XENSERVER,
  LVHD_PROFILE_VIRTUALBOX,
  LVHD_PROFILE_7ZIP
};

struct lvhd_check_options {
  struct lvhd_open_options open;
  bool chain; /* the parents too */
  bool data;  /* every block: zeros under clear bits, ... */
  enum lvhd_profile profile;
};

/* A task whose result is a list: one info a file, leaf first, with findings.
 * Fails only where the leaf cannot be opened or is no VHD at all. */
LVHD_API LVHD_NODISCARD int
lvhd_check(lvhd_engine *engine, const char *path,
           const struct lvhd_check_options *opts, lvhd_task **out,
           struct lvhd_error *err);

/* A task whose result is the list of the infos of all VHD files in and below
 * the folders (links are not followed), by path; with a parent, only of those
 * whose recorded parent it is, by identifier.  What cannot be read is left
 * out; a folder that cannot be is an error. */
LVHD_API LVHD_NODISCARD int lvhd_find(lvhd_engine *engine,
                                      const char *const *folders,
                                      size_t count, lvhd_task **out,
                                      struct lvhd_error *err);
LVHD_API LVHD_NODISCARD int
lvhd_children(lvhd_engine *engine, const char *parent,
              const char *const *folders, size_t count, lvhd_task **out,
              struct lvhd_error *err);

/* ---- changing a disk ------------------------------------------------- */

/* Verbs that change files in place.  Until such a verb has succeeded the
 * image (in a merge: the child) reads as before, whatever happens; it can be
 * run again.  A note beside the file (.NAME.lvhd-journal) tells of work that
 * is under way.  Errors of all of them:
 *   E_SHARING_VIOLATION    IN_USE: locked by someone, QEMU too;
 *                          OTHER_CHILDREN: disks that read from this one
 *                          would be ruined (err.others; force overrides);
 *                          SAVED_STATE; JOURNAL_PENDING: another operation
 *                          was interrupted and is to be run again (force); of
 *                          a merge err.expected_uuid is the child's
 *   VM_E_FILE_READ_ONLY    no write permission bit, for root too
 *   VM_E_WRONG_HD_IMAGE_TYPE
 *   VM_E_PARENT_MODIFIED   the parent's time is not the recorded one (force)
 *   E_ACCESSDENIED         its times cannot be set (force)
 *   VM_E_HD_IMAGE_ACCESS   JOURNAL_FOREIGN: a note that does not fit the file
 *   and what opening a chain gives. */

struct lvhd_convert_options {
  struct lvhd_create_options create;
  struct lvhd_open_options open; /* of the source */
  bool from_raw;                 /* the source is raw; else a VHD */
  enum lvhd_type to;             /* 0: LVHD_DYNAMIC */
  const char *parent;            /* of a differencing disk */
  int64_t round;                 /* the size is rounded up to a multiple of so
                                    many bytes (a power of two from 512); 0:
                                    not at all */
};

/* Makes a new image with the content of source (a child: with its parents').
 * dest obeys the rules of new files (relative: to the folder of an absolute
 * source), source is taken as open(2) takes it, and is only read; a reader's
 * lock on all its files keeps others from writing meanwhile.  Parents in its
 * chain, and in that of `parent`, that were changed after their children were
 * made are findings of the info, with the child's path.  Zeros become
 * holes, or blocks and sectors that are not there; of a differencing disk what
 * reads as the parent's is not there.  Progress: bytes of the new disk.
 * Errors beside those of creating: what opening a chain gives, with the file
 * in err.path; E_POINTER/NO_PARENT_GIVEN; E_INVALIDARG (PARENT_NOT_WANTED,
 * ROUND_RANGE, SIZE_UNALIGNED); VM_E_HD_IMAGE_OPEN_FAIL/PARENT_SIZE;
 * E_SHARING_VIOLATION (IN_USE, SOURCE_CHANGED); DISP_E_EXCEPTION/FILE_CUT.
 * A VHD has from 3 MiB to 2,040 GiB, the latter too; a raw file any size. */
LVHD_API LVHD_NODISCARD int
lvhd_convert(lvhd_engine *engine, const char *source, const char *dest,
             const struct lvhd_convert_options *opts, lvhd_task **out,
             struct lvhd_error *err);

struct lvhd_merge_options {
  struct lvhd_open_options open;
  const char *into;             /* an ancestor; NULL: the parent */
  const char *const *children;  /* those of the child, to be reattached */
  size_t child_count;
  bool remove;                  /* the files that were merged */
};

/* Folds a differencing disk into its parent, or into a farther ancestor with
 * all that lie between.  Where that has all of it already, and neither remove
 * nor children ask for more, nothing is changed.  The info is the target's. */
LVHD_API LVHD_NODISCARD int
lvhd_merge(lvhd_engine *engine, const char *child,
           const struct lvhd_merge_options *opts, lvhd_task **out,
           struct lvhd_error *err);

/* Dynamic: blocks of zeros go.  Differencing: blocks that read as the
 * parent's.  The file becomes shorter, its content and its time stay. */
LVHD_API LVHD_NODISCARD int
lvhd_compact(lvhd_engine *engine, const char *path,
             const struct lvhd_open_options *opts, lvhd_task **out,
             struct lvhd_error *err);

/* A new size in bytes.  VM_E_IMAGE_SIZE_TOO_SMALL/DATA_BEYOND (offset: the
 * last byte that is not zero) where data would be cut off. */
LVHD_API LVHD_NODISCARD int
lvhd_resize(lvhd_engine *engine, const char *path, int64_t size,
            const struct lvhd_open_options *opts, lvhd_task **out,
            struct lvhd_error *err);

/* Another file as parent: identifier, time, name and locators (W2ru, W2ku and
 * MacX as of a creation; those of old would name the old parent, and go).  The parent is taken as
 * open(2) takes it, its own parents as opts says.  For a parent that moved, or
 * whose time alone has changed: what it holds is not compared.  Errors beside:
 *   VM_E_PARENT_CHILD_ID_MISMATCH  another disk (force)
 *   VM_E_HD_IMAGE_OPEN_FAIL        CHAIN_CYCLE, CHAIN_TOO_DEEP, PARENT_SIZE:
 *                                  force does not help
 *   E_INVALID_NAME                 NAME_UNFINDABLE: a `\` in the way to it, or
 *                                  no UTF-8; and of windows_parent
 *   E_BAD_PATHNAME                 of windows_parent: not absolute
 *   E_BUFFER_OVERFLOW              LOCATOR_TOO_LONG: the way, or the room in
 *                                  the head of the child, which moves no block
 *   E_PATH_NOT_FOUND               the parent is not there
 *   VM_E_INVALID_HD_FILE           it is damaged, or its identifier is nil
 * Findings of the info: LOCATOR_LEFT_OUT, where W2ku or MacX found no room;
 * LOCATOR_UNNAMABLE. */
LVHD_API LVHD_NODISCARD int
lvhd_relink(lvhd_engine *engine, const char *child, const char *parent,
            const struct lvhd_open_options *opts, lvhd_task **out,
            struct lvhd_error *err);

/* Footer and its copy from one another (the one at the end wins), 511 bytes
 * made 512, the geometry from the size, the padding of the BAT.  Findings of
 * the info tell what was done: REPAIRED_FOOTER, _COPY, _GEOMETRY, _PADDING; a
 * sound file is not written to.  A fixed disk has no copy to be had.  Blocks
 * outside of the file or over one another, a damaged header, no whole footer:
 * VM_E_INVALID_HD_FILE, and nothing is changed.
 * XenServer overwrites the footer at the end (with bytes C7) while it has a
 * disk open, and takes no locks that could be seen: whoever repairs such a
 * file must know that nobody uses it. */
LVHD_API LVHD_NODISCARD int
lvhd_repair(lvhd_engine *engine, const char *path,
            const struct lvhd_open_options *opts, lvhd_task **out,
            struct lvhd_error *err);

/* ---- tasks ----------------------------------------------------------- */

enum lvhd_status {
  LVHD_QUEUED,
  LVHD_RUNNING,
  LVHD_SUCCEEDED,
  LVHD_FAILED,
  LVHD_CANCELLED
};

/* Waits at most `ms` milliseconds for the end.  Returns true when the task
 * has ended; *interrupted (may be NULL) tells that a signal ended the wait.
 * While four tasks or more of the engine are live a wait of more than a
 * millisecond may return a millisecond after the end: it is woken once for
 * several ends. */
LVHD_API bool lvhd_task_step(lvhd_task *task, unsigned ms, bool *interrupted);

LVHD_API enum lvhd_status lvhd_task_status(const lvhd_task *task);

/* True: it will end as cancelled and leave no new file.  False: too late. */
LVHD_API bool lvhd_task_cancel(lvhd_task *task);

/* NULL while it runs and after success; lives as long as the handle.  Once
 * asked for, the error counts as read.  In a forked child E_HANDLE, if the
 * task had not ended. */
LVHD_API const struct lvhd_error *lvhd_task_error(lvhd_task *task);
/* The same, and the error stays unread. */
LVHD_API const struct lvhd_error *lvhd_task_peek(const lvhd_task *task);
/* True: it failed and nobody has asked for its error, which counts as read
 * now.  The handle is about to be freed: if it is the last one and the task
 * fails from now on, it is lost (see lvhd_engine_lost), so that each unread
 * error is told in one way or the other.  False in a forked child, and while
 * there is another handle. */
LVHD_API bool lvhd_task_leave(lvhd_task *task);

/* NULL until success, and for a task whose result is a list; lives as long as
 * the handle. */
LVHD_API const struct lvhd_info *lvhd_task_info(const lvhd_task *task);
/* The same for a task whose result is a list. */
LVHD_API const lvhd_infos *lvhd_task_infos(const lvhd_task *task);

/* Of a task of lvhd_create_children, once it has ended, in any way: how many
 * images it was asked for, and what became of one (0 to count - 1): an info, or
 * NULL and then an error.  has_items: it is such a task. */
LVHD_API bool lvhd_task_has_items(const lvhd_task *task);
LVHD_API size_t lvhd_task_item_count(const lvhd_task *task);
LVHD_API const struct lvhd_info *lvhd_task_item_info(const lvhd_task *task,
                                                     size_t i);
LVHD_API const struct lvhd_error *
lvhd_task_item_error(const lvhd_task *task, size_t i);


/* percent is 100 only after success, and never runs backwards. */
struct lvhd_progress {
  unsigned percent;
  uint64_t bytes, bytes_total;    /* bytes_total 0: not known */
  uint64_t items, items_total;
};
LVHD_API void lvhd_task_progress(lvhd_task *task, struct lvhd_progress *out);

LVHD_API double lvhd_task_elapsed(const lvhd_task *task); /* seconds */
LVHD_API const char *lvhd_task_verb(const lvhd_task *task);
LVHD_API const char *lvhd_task_path(const lvhd_task *task); /* the image */

/* A descriptor of its own, made at the first call, readable once the task
 * has ended and ever after; closed by lvhd_task_free.  -1: *err filled
 * (VM_E_OUT_OF_RESOURCE; E_HANDLE after fork). */
LVHD_API int lvhd_task_fd(lvhd_task *task, struct lvhd_error *err);
/* The descriptor when one was made, else -1. */
LVHD_API int lvhd_task_has_fd(const lvhd_task *task);

/* A pointer of the program's own, NULL until it is set.  One for all handles
 * of the task. */
LVHD_API void lvhd_task_set_user(lvhd_task *task, void *user);
LVHD_API void *lvhd_task_user(const lvhd_task *task);

/* True from lvhd_engine_collect on until lvhd_engine_ended hands it out. */
LVHD_API bool lvhd_task_kept(lvhd_task *task);

/* Lets go.  The task itself goes on. */
LVHD_API void lvhd_task_free(lvhd_task *task);

/* The engine of a task belongs to another process (after fork). */
LVHD_API bool lvhd_engine_forked(const lvhd_engine *engine);
LVHD_API bool lvhd_task_forked(const lvhd_task *task);

/* ---- waiting in event loops ------------------------------------------ */

/* A waiter owns a descriptor from the engine's small set.  Attached to a
 * task, the descriptor becomes readable when the task ends. */
typedef struct lvhd_waiter lvhd_waiter;

/* Errors: VM_E_OUT_OF_RESOURCE, E_OUTOFMEMORY, E_HANDLE. */
LVHD_API LVHD_NODISCARD int lvhd_waiter_new(lvhd_engine *engine,
                                            lvhd_waiter **out,
                                            struct lvhd_error *err);
LVHD_API int lvhd_waiter_fd(const lvhd_waiter *waiter);
/* task NULL: until the engine is idle.  True: that has already happened,
 * and nothing was attached. */
LVHD_API bool lvhd_waiter_attach(lvhd_waiter *waiter, lvhd_task *task);
/* The same for a task that lvhd_engine_ended would hand out, or until none is
 * live; only where the engine collects. */
LVHD_API bool lvhd_waiter_attach_ended(lvhd_waiter *waiter);
/* Detaches if attached and drains the descriptor. */
LVHD_API void lvhd_waiter_detach(lvhd_waiter *waiter);
/* Detaches and gives the descriptor back to the engine's set. */
LVHD_API void lvhd_waiter_free(lvhd_waiter *waiter);
/* The i-th descriptor of the set, behind them that of lvhd_engine_fd, or -1
 * past the end: for hosts that must tell an event loop before the engine's
 * memory goes. */
LVHD_API int lvhd_engine_fd_at(lvhd_engine *engine, size_t i);

/* An identifier as text of 36 characters, and back; false: malformed. */
LVHD_API void lvhd_uuid_text(const uint8_t uuid[16], char out[37]);
LVHD_API bool lvhd_uuid_parse(const char *text, uint8_t uuid[16]);

/* The version that this header is of, and that of the library at hand. */
#define LVHD_VERSION "0.1.0"
LVHD_API const char *lvhd_version(void);

#ifdef __cplusplus
}
#endif

#endif
