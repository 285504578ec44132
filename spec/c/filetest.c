/* SPDX-License-Identifier: MIT
 *
 * filetest: the test-only Lua module of files and folders: makes, lists,
 * copies and removes them in the process of the specs, which do so thousands
 * of times, and a shell costs more than most of the tests.  It must not know
 * the engine, nor what is in the files.
 *
 * A call raises the system's words where it fails, with the path.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

static int trouble(lua_State *L, const char *what, const char *path) {
  return luaL_error(L, "%s '%s': %s", what, path, strerror(errno));
}

/* scratch(folder) -> a new folder in it, as a path without links. */
static int l_scratch(lua_State *L) {
  const char *folder = luaL_checkstring(L, 1);
  char real[PATH_MAX], path[PATH_MAX + 32];
  if (realpath(folder, real) == NULL)
    return trouble(L, "realpath", folder);
  snprintf(path, sizeof path, "%s/lvhd-spec.XXXXXX", real);
  if (mkdtemp(path) == NULL)
    return trouble(L, "mkdtemp", path);
  lua_pushstring(L, path);
  return 1;
}

/* What every folder has, and nobody put there, is no entry; an int for
 * scandir. */
static int is_entry(const struct dirent *entry) {
  return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* ---- removing --------------------------------------------------------- */

static bool remove_at(int at, const char *name);

static bool empty_folder(int at, const char *name) {
  bool ok = true;
  struct dirent *entry = NULL;
  DIR *dir = NULL;
  int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == EACCES && fchmodat(at, name, 0700, 0) == 0)
    fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return false;
  fchmod(fd, 0700); /* or nothing in it can be removed but by root */
  dir = fdopendir(fd);
  if (dir == NULL) {
    close(fd);
    return false;
  }
  while ((entry = readdir(dir)) != NULL)
    if (is_entry(entry))
      ok = remove_at(fd, entry->d_name) && ok;
  closedir(dir);
  return ok;
}

static bool remove_at(int at, const char *name) {
  if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
    return true;
  if (errno != EISDIR && errno != EPERM)
    return false;
  return empty_folder(at, name) && unlinkat(at, name, AT_REMOVEDIR) == 0;
}

/* remove(path) -> whether it is gone, with all that is in it; what can't be
 * removed stays, and the rest goes. */
static int l_remove(lua_State *L) {
  lua_pushboolean(L, remove_at(AT_FDCWD, luaL_checkstring(L, 1)));
  return 1;
}

/* ---- listing ---------------------------------------------------------- */

/* names(folder) -> the names in it, in no order. */
static int l_names(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  struct dirent *entry = NULL;
  lua_Integer n = 0;
  DIR *dir = opendir(path);
  if (dir == NULL)
    return trouble(L, "opendir", path);
  lua_newtable(L);
  while ((entry = readdir(dir)) != NULL)
    if (is_entry(entry)) {
      lua_pushstring(L, entry->d_name);
      lua_rawseti(L, -2, ++n);
    }
  closedir(dir);
  return 1;
}

static long long nanoseconds(struct timespec t) {
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void add_folder(luaL_Buffer *b, int at, const char *path);

/* Adds the line of one file, or the lines of a folder and all below it. */
static void add_entry(luaL_Buffer *b, int at, const char *name,
                      const char *shown) {
  static const char kinds[] = "?pc?d?b?-?l?s??";
  char line[PATH_MAX + 512], target[PATH_MAX] = "";
  struct stat st;
  ssize_t n = 0;
  if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return;
  if (S_ISDIR(st.st_mode)) {
    snprintf(line, sizeof line, "d %o %s/\n", st.st_mode & 07777u, shown);
    luaL_addstring(b, line);
    add_folder(b, at, name);
    luaL_addstring(b, "..\n");
    return;
  }
  if (S_ISLNK(st.st_mode)) {
    n = readlinkat(at, name, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
  }
  snprintf(line, sizeof line, "%c %o %s %lld %lld %lld %llu %s\n",
           kinds[(st.st_mode & S_IFMT) >> 12], st.st_mode & 07777u, shown,
           (long long)st.st_size, nanoseconds(st.st_mtim),
           nanoseconds(st.st_ctim), (unsigned long long)st.st_ino, target);
  luaL_addstring(b, line);
}

static void add_folder(luaL_Buffer *b, int at, const char *path) {
  struct dirent **list = NULL;
  int dir = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int n = dir < 0 ? -1 : scandirat(dir, ".", &list, is_entry, alphasort);
  if (n < 0)
    luaL_addstring(b, "(cannot be listed)\n");
  for (int i = 0; i < n; i++) {
    add_entry(b, dir, list[i]->d_name, list[i]->d_name);
    free(list[i]);
  }
  free(list);
  if (dir >= 0)
    close(dir);
}

/* tree(path) -> text, a line each: what it is (a file or a folder), and all
 * below a folder: kind, mode, name, size, times of change, inode, target of a
 * link; of folders neither size nor times. */
static int l_tree(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  struct stat st;
  luaL_Buffer b;
  if (lstat(path, &st) != 0)
    return trouble(L, "lstat", path);
  luaL_buffinit(L, &b);
  add_entry(&b, AT_FDCWD, path, "");
  luaL_pushresult(&b);
  return 1;
}

/* ---- making ----------------------------------------------------------- */

/* folders(path) -> true: makes it, and those above that are missing. */
static int l_folders(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  char part[PATH_MAX];
  struct stat st;
  for (size_t i = 1; i == 1 || path[i - 1] != '\0'; i++) {
    if (path[i] != '/' && path[i] != '\0')
      continue;
    snprintf(part, sizeof part, "%.*s", (int)i, path);
    if (mkdir(part, 0777) != 0 &&
        (errno != EEXIST || stat(part, &st) != 0 || !S_ISDIR(st.st_mode)))
      return trouble(L, "mkdir", part);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static bool copy_piece(int from, int to, off_t at, off_t end) {
  char piece[65536];
  ssize_t n = 0;
  for (; at < end; at += n) {
    size_t want = sizeof piece;
    if (end - at < (off_t)want)
      want = (size_t)(end - at);
    n = pread(from, piece, want, at);
    if (n <= 0 || pwrite(to, piece, (size_t)n, at) != n)
      return false;
  }
  return true;
}

static bool copy_bytes(int from, int to, off_t size) {
  off_t at = 0, end = 0;
  if (ftruncate(to, size) != 0)
    return false;
  while ((at = lseek(from, end, SEEK_DATA)) >= 0) {
    end = lseek(from, at, SEEK_HOLE);
    if (end < 0 || !copy_piece(from, to, at, end))
      return false;
  }
  return errno == ENXIO; /* no more data */
}

/* copy(from, to) -> true: a file's bytes and holes, mode and times, and root
 * its owner; what is there is overwritten. */
static int l_copy(lua_State *L) {
  const char *source = luaL_checkstring(L, 1);
  const char *dest = luaL_checkstring(L, 2);
  int from = open(source, O_RDONLY | O_CLOEXEC);
  int to = -1;
  bool ok = false;
  struct stat st;
  if (from < 0 || fstat(from, &st) != 0)
    return trouble(L, "open", source);
  to = open(dest, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (to >= 0) {
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    ok = copy_bytes(from, to, st.st_size) &&
         (fchown(to, st.st_uid, st.st_gid) == 0 || geteuid() != 0) &&
         fchmod(to, st.st_mode & 07777u) == 0 && futimens(to, times) == 0;
    close(to);
  }
  close(from);
  if (!ok)
    return trouble(L, "copy to", dest);
  lua_pushboolean(L, 1);
  return 1;
}

/* uid() -> the user's number. */
static int l_uid(lua_State *L) {
  lua_pushinteger(L, geteuid());
  return 1;
}

static const luaL_Reg functions[] = {
    {"scratch", l_scratch}, {"remove", l_remove},
    {"names", l_names},     {"tree", l_tree},
    {"folders", l_folders}, {"copy", l_copy},
    {"uid", l_uid},         {NULL, NULL}};

__attribute__((visibility("default"))) int luaopen_filetest(lua_State *L);

int luaopen_filetest(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
