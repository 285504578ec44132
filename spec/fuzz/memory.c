/* SPDX-License-Identifier: MIT
 *
 * The folder tree in memory: paths, descriptors, bytes.
 */
#include "memnodes.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FD_FIRST 1000
#define LENGTH_MAX (UINT64_C(1) << 62)

/* Nodes 0 to 4 are the files of the input, those from NODES on were made. */
static const struct node {
  const char *path;
  enum mem_kind kind;
  int file; /* which of mem.files; -1 */
  bool trap; /* must never be opened */
  const char *target; /* of a link */
} nodes[] = {
  {"/d/leaf.vhd", REGULAR, 0, false, NULL},
  {"/d/base.vhd", REGULAR, 1, false, NULL},
  {"/d/sub/mid.vhd", REGULAR, 2, false, NULL},
  {"/x/root.vhd", REGULAR, 3, false, NULL}, /* a trap unless allowed */
  {"/d/.leaf.vhd.lvhd-journal", REGULAR, MEM_NOTE, false, NULL},
  {"/", FOLDER, -1, false, NULL},
  {"/d", FOLDER, -1, false, NULL},
  {"/d/sub", FOLDER, -1, false, NULL},
  {"/x", FOLDER, -1, false, NULL},
  {"/etc", FOLDER, -1, false, NULL},
  {"/etc/shadow", REGULAR, 3, true, NULL},
  {"/secret.vhd", REGULAR, 3, true, NULL},
  {"/d/out.vhd", LINK, -1, false, "secret.vhd"},
  {"/d/away", LINK, -1, false, ""},
  {"/d/fifo", FIFO, -1, false, NULL},
};
#define NODES (sizeof nodes / sizeof nodes[0])
_Static_assert(NODES <= MEM_NODES, "room for what is taken away");

const char *const mem_paths[MEM_DISKS] = {"/d/leaf.vhd", "/d/base.vhd",
                                          "/d/sub/mid.vhd", "/x/root.vhd"};

/* The table is const for the engine; the folder behind it is ours. */
struct mem *mem_of(const struct lv_sys *sys) {
  return (struct mem *)(uintptr_t)sys;
}

/* ---- nodes ----------------------------------------------------------- */

static const struct mem_added *added_of(const struct mem *mem, int node) {
  return &mem->changes->added[(size_t)node - NODES];
}

static bool is_added(int node) {
  return (size_t)node >= NODES;
}

static const char *path_of(const struct mem *mem, int node) {
  return is_added(node) ? added_of(mem, node)->path : nodes[node].path;
}

static enum mem_kind kind_of(const struct mem *mem, int node) {
  if (is_added(node))
    return added_of(mem, node)->folder ? FOLDER : REGULAR;
  return nodes[node].kind;
}

static bool is_there(const struct mem *mem, int node) {
  if (is_added(node))
    return added_of(mem, node)->used && added_of(mem, node)->path[0] != '\0';
  return (nodes[node].file < 0 || (size_t)nodes[node].file < mem->count) &&
         (mem->changes == NULL || !mem->changes->gone[node]);
}

static int node_count(const struct mem *mem) {
  return (int)NODES + (mem->changes != NULL ? MEM_ADDED : 0);
}

int mem_lookup(const struct mem *mem, const char *path) {
  for (int i = 0; i < node_count(mem); i++)
    if (strcmp(path_of(mem, i), path) == 0 && is_there(mem, i))
      return i;
  return -1;
}

int mem_fails(int errnum) {
  errno = errnum;
  return -1;
}

struct mem_file *mem_file_of(struct mem *mem, int node) {
  if (node < 0)
    return NULL;
  if (is_added(node))
    return kind_of(mem, node) == FOLDER
             ? NULL
             : &mem->changes->added[(size_t)node - NODES].file;
  return nodes[node].file < 0 ? NULL : &mem->files[nodes[node].file];
}

int mem_added_node(size_t i) {
  return (int)(NODES + i);
}

/* ---- paths ----------------------------------------------------------- */

struct walk {
  char path[PATH_MAX]; /* what has been reached */
  size_t floor;        /* length of where it began */
  bool beneath, no_links, keep_last;
  int links;
};

static int step_up(struct walk *w) {
  char *slash = strrchr(w->path, '/');
  if (w->beneath && strlen(w->path) <= w->floor)
    return mem_fails(EXDEV);
  slash[slash == w->path ? 1 : 0] = '\0';
  return 0;
}

static int walk(const struct mem *mem, struct walk *w, const char *rest);

static int step_down(const struct mem *mem, struct walk *w, const char *name,
                     size_t n, bool last) {
  size_t have = strlen(w->path);
  int node = 0;
  if (n > NAME_MAX || have + n + 2 > sizeof w->path)
    return mem_fails(ENAMETOOLONG);
  if (w->path[have - 1] != '/')
    w->path[have++] = '/';
  memcpy(w->path + have, name, n);
  w->path[have + n] = '\0';
  node = mem_lookup(mem, w->path);
  if (node < 0)
    return mem_fails(ENOENT);
  if (kind_of(mem, node) == LINK && !(last && w->keep_last)) {
    if (w->no_links || ++w->links > 40)
      return mem_fails(ELOOP);
    if (w->beneath)
      return mem_fails(EXDEV);
    w->path[1] = '\0';
    return walk(mem, w, nodes[node].target);
  }
  return last || kind_of(mem, node) == FOLDER ? node : mem_fails(ENOTDIR);
}

static int walk(const struct mem *mem, struct walk *w, const char *rest) {
  int node = mem_lookup(mem, w->path);
  while (*rest != '\0') {
    size_t n = strcspn(rest, "/");
    const char *next = rest + n + strspn(rest + n, "/");
    if (n == 2 && memcmp(rest, "..", 2) == 0) {
      if (step_up(w) != 0)
        return -1;
      node = mem_lookup(mem, w->path);
    } else if (n > 0 && !(n == 1 && *rest == '.')) {
      node = step_down(mem, w, rest, n, *next == '\0');
      if (node < 0)
        return -1;
    }
    rest = next;
  }
  return node;
}

static const char *folder_of(const struct mem *mem, int dir) {
  int slot = dir - FD_FIRST;
  if (dir == AT_FDCWD)
    return "/d";
  if (slot < 0 || slot >= MEM_FDS || mem->fds[slot] < 0)
    return NULL;
  return path_of(mem, mem->fds[slot]);
}

static int find(const struct mem *mem, int dir, const char *path, int flags,
                uint64_t resolve, struct walk *w) {
  const char *from = *path == '/' ? "/" : folder_of(mem, dir);
  w->keep_last = (flags & O_NOFOLLOW) != 0; /* the path need not be cleared */
  w->links = 0;
  w->beneath = (resolve & RESOLVE_BENEATH) != 0;
  w->no_links = (resolve & RESOLVE_NO_SYMLINKS) != 0;
  if (from == NULL)
    return mem_fails(EBADF);
  if (*path == '\0')
    return mem_fails(ENOENT);
  if (*path == '/' && w->beneath)
    return mem_fails(EXDEV);
  if (w->no_links && (flags & O_PATH) == 0)
    w->keep_last = false; /* as openat2(2) has it */
  snprintf(w->path, sizeof w->path, "%s", from);
  w->floor = strlen(w->path);
  return walk(mem, w, path);
}

int mem_place(const struct mem *mem, int dir, const char *path,
              char out[MEM_PATH]) {
  struct walk w;
  char folder[PATH_MAX];
  const char *name = strrchr(path, '/');
  size_t n = name == NULL ? 0 : (size_t)(name - path) + 1;
  if (n >= sizeof folder)
    return mem_fails(ENAMETOOLONG);
  memcpy(folder, path, n);
  strcpy(folder + n, ".");
  name = path + n;
  if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return mem_fails(EINVAL);
  if (find(mem, dir, folder, 0, 0, &w) < 0)
    return -1;
  n = strlen(w.path);
  n -= n == 1; /* the root ends in a slash of its own */
  if (strlen(name) > NAME_MAX || n + strlen(name) + 2 > MEM_PATH)
    return mem_fails(ENAMETOOLONG);
  memcpy(out, w.path, n);
  out[n] = '/';
  strcpy(out + n + 1, name);
  return 0;
}

/* ---- descriptors ----------------------------------------------------- */

/* Only what may be written is opened for that. */
static bool is_open_to(const struct mem *mem, const struct node *n) {
  return mem->changes != NULL && n->file >= 0 && !n->trap &&
         (mem->may_write >> n->file & 1) != 0;
}

static void spring(struct mem *mem, int node, int flags) {
  const struct node *n = &nodes[is_added(node) ? 0 : node];
  if (is_added(node))
    return;
  bool closed = strncmp(n->path, "/x/", 3) == 0 && !mem->outside;
  if ((flags & O_PATH) == 0 && (n->trap || closed))
    mem->trapped = n->path;
  if (n->kind == FIFO && (flags & (O_PATH | O_NONBLOCK)) == 0)
    mem->trapped = n->path; /* would hang */
  if (((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0) &&
      !is_open_to(mem, n))
    mem->trapped = n->path; /* not to be written */
}

int mem_give(struct mem *mem, int node, int flags) {
  enum mem_kind kind = kind_of(mem, node);
  if ((flags & O_DIRECTORY) != 0 && kind != FOLDER)
    return mem_fails(ENOTDIR);
  if (kind == LINK && (flags & O_PATH) == 0)
    return mem_fails(ELOOP);
  spring(mem, node, flags);
  for (int i = 0; i < MEM_FDS; i++) {
    if (mem->fds[i] >= 0)
      continue;
    mem->fds[i] = node;
    mem->listed[i] = 0;
    return FD_FIRST + i;
  }
  return mem_fails(EMFILE);
}

static int mem_openat(const struct lv_sys *sys, int dir, const char *path,
                      int flags, mode_t mode) {
  struct walk w;
  int node = 0;
  (void)mode;
  if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE)
    return mem_make(mem_of(sys), dir, path, flags);
  node = find(mem_of(sys), dir, path, flags, 0, &w);
  return node < 0 ? -1 : mem_give(mem_of(sys), node, flags);
}

static int mem_openat2(const struct lv_sys *sys, int dir, const char *path,
                       int flags, uint64_t resolve) {
  struct walk w;
  int node = 0;
  if (mem_of(sys)->no_openat2)
    return mem_fails(ENOSYS);
  node = find(mem_of(sys), dir, path, flags, resolve, &w);
  return node < 0 ? -1 : mem_give(mem_of(sys), node, flags);
}

int mem_node_of(const struct mem *mem, int fd) {
  int slot = fd - FD_FIRST;
  return slot < 0 || slot >= MEM_FDS || mem->fds[slot] < 0 ? mem_fails(EBADF)
                                                          : mem->fds[slot];
}

static int mem_dupfd(const struct lv_sys *sys, int fd, int least) {
  int node = mem_node_of(mem_of(sys), fd);
  (void)least;
  return node < 0 ? -1 : mem_give(mem_of(sys), node, O_PATH);
}

static int mem_close(const struct lv_sys *sys, int fd) {
  if (mem_node_of(mem_of(sys), fd) < 0) {
    mem_of(sys)->trapped = "a closed descriptor";
    return -1;
  }
  mem_of(sys)->fds[fd - FD_FIRST] = -1;
  return 0;
}

static void fill(struct mem *mem, int node, struct stat *st) {
  static const mode_t modes[] = {S_IFDIR | 0755, S_IFREG | 0644,
                                 S_IFLNK | 0777, S_IFIFO | 0644};
  const struct mem_file *file = mem_file_of(mem, node);
  int order = is_added(node) || nodes[node].file < 0 ? 0 : nodes[node].file;
  memset(st, 0, sizeof *st);
  st->st_dev = 7;
  st->st_ino = (ino_t)node + 1;
  st->st_nlink = 1;
  st->st_mode = modes[kind_of(mem, node)];
  st->st_mtime = MEM_MTIME - 10 * order;
  st->st_size = file == NULL ? 0 : (off_t)file->length;
  if (mem->changes == NULL)
    return;
  if (mem->changes->mtimes[node].tv_sec != 0)
    st->st_mtim = mem->changes->mtimes[node];
  st->st_ctime = (time_t)mem->changes->changed[node];
  st->st_nlink = is_there(mem, node);
}

static int mem_fstat(const struct lv_sys *sys, int fd, struct stat *st) {
  int node = mem_node_of(mem_of(sys), fd);
  if (node >= 0)
    fill(mem_of(sys), node, st);
  return node < 0 ? -1 : 0;
}

static int mem_fstatat(const struct lv_sys *sys, int dir, const char *path,
                       struct stat *st, int flags) {
  struct walk w;
  int node = (flags & AT_EMPTY_PATH) != 0 && *path == '\0'
               ? mem_node_of(mem_of(sys), dir)
               : find(mem_of(sys), dir, path,
                      (flags & AT_SYMLINK_NOFOLLOW) != 0 ? O_NOFOLLOW : 0, 0,
                      &w);
  if (node >= 0)
    fill(mem_of(sys), node, st);
  return node < 0 ? -1 : 0;
}

static int mem_fstatfs(const struct lv_sys *sys, int fd, struct statfs *st) {
  memset(st, 0, sizeof *st);
  st->f_type = 0xEF53;
  st->f_bsize = st->f_frsize = 4096;
  st->f_blocks = st->f_bfree = st->f_bavail = 1 << 30;
  return mem_node_of(mem_of(sys), fd) < 0 ? -1 : 0;
}

static ssize_t mem_readlinkat(const struct lv_sys *sys, int dir,
                              const char *path, char *buf, size_t size) {
  int fd = -1;
  int node = 0;
  size_t n = 0;
  (void)dir;
  if (sscanf(path, "/proc/self/fd/%d", &fd) != 1)
    return mem_fails(ENOENT);
  node = mem_node_of(mem_of(sys), fd);
  if (node < 0)
    return -1;
  n = strlen(path_of(mem_of(sys), node));
  memcpy(buf, path_of(mem_of(sys), node), n < size ? n : size);
  return (ssize_t)(n < size ? n : size);
}

static char *mem_realpath(const struct lv_sys *sys, const char *path,
                          char *buf) {
  struct walk w;
  if (find(mem_of(sys), AT_FDCWD, path, 0, 0, &w) < 0)
    return NULL;
  if (buf == NULL)
    return strdup(w.path);
  return memcpy(buf, w.path, strlen(w.path) + 1);
}

/* One name a call. */
static ssize_t mem_getdents(const struct lv_sys *sys, int fd, void *buf,
                            size_t size) {
  struct mem *mem = mem_of(sys);
  struct dirent64 *entry = buf;
  int folder = mem_node_of(mem, fd);
  size_t n = folder < 0 ? 0 : strlen(path_of(mem, folder));
  if (folder < 0 || size < sizeof *entry)
    return folder < 0 ? -1 : mem_fails(EINVAL);
  n -= n == 1; /* the root ends in a slash of its own */
  for (unsigned *at = &mem->listed[fd - FD_FIRST];
       *at < (unsigned)node_count(mem); (*at)++) {
    const char *path = path_of(mem, (int)*at);
    if (strncmp(path, path_of(mem, folder), n) != 0 || path[n] != '/' ||
        path[n + 1] == '\0' || strchr(path + n + 1, '/') != NULL ||
        mem_lookup(mem, path) < 0)
      continue;
    (*at)++;
    memset(entry, 0, sizeof *entry);
    entry->d_reclen = sizeof *entry;
    strcpy(entry->d_name, path + n + 1);
    return sizeof *entry;
  }
  return 0;
}

/* ---- bytes ----------------------------------------------------------- */

static void overlay(const struct mem_segment *s, uint64_t offset,
                    uint8_t *buf, size_t n) {
  uint64_t from = s->offset > offset ? s->offset : offset;
  uint64_t to = s->offset + s->n < offset + n ? s->offset + s->n : offset + n;
  if (from < to)
    memcpy(buf + (from - offset), s->bytes + (from - s->offset),
           (size_t)(to - from));
}

static void copy_out(const struct mem_file *file, uint64_t offset,
                     uint8_t *buf, size_t n) {
  memset(buf, file->hole, n);
  for (size_t i = 0; i < file->count; i++)
    overlay(&file->segments[i], offset, buf, n);
  if (file->written != NULL)
    mem_written_out(file, offset, buf, n);
}

bool mem_peek(const struct mem_file *file, uint64_t offset, void *buf,
              size_t n) {
  if (offset > file->length || n > file->length - offset)
    return false;
  copy_out(file, offset, buf, n);
  return true;
}

void mem_poke(struct mem_file *file, uint64_t offset, const void *buf,
              size_t n) {
  const uint8_t *from = buf;
  for (size_t i = 0; i < file->count; i++) {
    struct mem_segment *s = &file->segments[i];
    for (size_t k = 0; k < n; k++)
      if (offset + k >= s->offset && offset + k < s->offset + s->n)
        s->bytes[offset + k - s->offset] = from[k];
  }
}

static void shrink(struct mem *mem) {
  for (size_t i = 0; i < mem->count; i++)
    if (mem->files[i].length > mem->shrink_to)
      mem->files[i].length = mem->shrink_to;
}

static ssize_t mem_pread(const struct lv_sys *sys, int fd, void *buf,
                         size_t n, off_t offset) {
  struct mem *mem = mem_of(sys);
  int node = mem_node_of(mem, fd);
  const struct mem_file *file = NULL;
  uint64_t at = (uint64_t)offset;
  if (++mem->preads == mem->shrink_at)
    shrink(mem);
  if (node < 0)
    return -1;
  if (offset < 0)
    return mem_fails(EINVAL);
  file = mem_file_of(mem, node);
  if (file == NULL)
    return mem_fails(EISDIR);
  if (mem->read_limit != 0 && mem->bytes_read > mem->read_limit) {
    mem->limited = true;
    return mem_fails(EIO);
  }
  if (at >= file->length)
    return 0;
  if (n > file->length - at)
    n = (size_t)(file->length - at);
  copy_out(file, at, buf, n);
  mem->bytes_read += n;
  return (ssize_t)n;
}

/* Data begins with the next segment, a hole behind one. */
static off_t mem_lseek(const struct lv_sys *sys, int fd, off_t offset,
                       int whence) {
  struct mem *mem = mem_of(sys);
  int node = mem_node_of(mem, fd);
  const struct mem_file *file = NULL;
  uint64_t at = (uint64_t)offset;
  uint64_t best = 0;
  file = mem_file_of(mem, node);
  if (file == NULL)
    return mem_fails(EBADF);
  if (whence == SEEK_SET) /* which asks for the volume's limit */
    return at <= MEM_LENGTH_MAX ? offset : mem_fails(EINVAL);
  if (whence != SEEK_DATA && whence != SEEK_HOLE)
    return mem_fails(EINVAL);
  if (offset < 0 || at >= file->length)
    return mem_fails(ENXIO);
  best = file->length;
  if (file->written != NULL && file->written->count > 0) /* all is data */
    return whence == SEEK_DATA ? offset : (off_t)best;
  for (size_t i = 0; whence == SEEK_DATA && i < file->count; i++) {
    const struct mem_segment *s = &file->segments[i];
    if (s->offset + s->n > at && (s->offset > at ? s->offset : at) < best)
      best = s->offset > at ? s->offset : at;
  }
  for (size_t i = 0; whence == SEEK_HOLE && i < file->count; i++) {
    const struct mem_segment *s = &file->segments[i];
    if (s->offset <= at && at < s->offset + s->n) {
      at = s->offset + s->n; /* and look from the first one again */
      i = (size_t)-1;
    }
  }
  if (whence == SEEK_HOLE)
    return (off_t)(at < file->length ? at : file->length);
  return best < file->length ? (off_t)best : mem_fails(ENXIO);
}

static int mem_getlk(const struct lv_sys *sys, int fd, struct flock *lock) {
  lock->l_type = F_UNLCK;
  return mem_node_of(mem_of(sys), fd) < 0 ? -1 : 0;
}

static int mem_setlk(const struct lv_sys *sys, int fd, struct flock *lock) {
  (void)lock;
  return mem_node_of(mem_of(sys), fd) < 0 ? -1 : 0;
}

static int mem_getrlimit(const struct lv_sys *sys, int what,
                         struct rlimit *limit) {
  (void)sys, (void)what;
  limit->rlim_cur = limit->rlim_max = RLIM_INFINITY;
  return 0;
}

static int64_t mem_monotonic(const struct lv_sys *sys) {
  return lv_sys_real.monotonic(sys);
}

static int64_t mem_now(const struct lv_sys *sys) {
  (void)sys;
  return MEM_MTIME + 1000;
}

/* ---- folders --------------------------------------------------------- */

void mem_init(struct mem *mem) {
  *mem = (struct mem){.sys = {.openat = mem_openat,
                              .openat2 = mem_openat2,
                              .dupfd = mem_dupfd,
                              .close = mem_close,
                              .fstat = mem_fstat,
                              .fstatat = mem_fstatat,
                              .fstatfs = mem_fstatfs,
                              .readlinkat = mem_readlinkat,
                              .realpath = mem_realpath,
                              .getdents = mem_getdents,
                              .pread = mem_pread,
                              .lseek = mem_lseek,
                              .getlk = mem_getlk,
                              .setlk = mem_setlk,
                              .getrlimit = mem_getrlimit,
                              .monotonic = mem_monotonic,
                              .now = mem_now}};
  mem_calls(&mem->sys);
  for (int i = 0; i < MEM_FDS; i++)
    mem->fds[i] = -1;
}

unsigned mem_open(const struct mem *mem) {
  unsigned n = 0;
  for (int i = 0; i < MEM_FDS; i++)
    n += mem->fds[i] >= 0;
  return n;
}

const struct mem_file *mem_at(const struct mem *mem, const char *path) {
  return mem_file_of((struct mem *)(uintptr_t)mem, mem_lookup(mem, path));
}

/* ---- inputs ---------------------------------------------------------- */

struct input {
  uint8_t *at;
  size_t left;
};

static uint64_t take(struct input *in, size_t n) {
  uint64_t value = 0;
  for (size_t i = 0; i < n && in->left > 0; i++, in->at++, in->left--)
    value |= (uint64_t)*in->at << (8 * i);
  return value;
}

static void take_file(struct mem_file *file, struct input *in) {
  size_t count = 0;
  file->length = take(in, 8) % (LENGTH_MAX + 1);
  count = (size_t)take(in, 1);
  file->hole = count & 0x80 ? 0xFF : 0;
  count &= 0x7F;
  for (file->count = 0; file->count < count && in->left > 0;) {
    uint64_t offset = take(in, 8) % (LENGTH_MAX + 1);
    size_t n = (size_t)take(in, 2);
    n = n < in->left ? n : in->left;
    if (file->count == MEM_SEGMENTS)
      break;
    file->segments[file->count++] =
      (struct mem_segment){.offset = offset, .n = n, .bytes = in->at};
    in->at += n;
    in->left -= n;
  }
}

void mem_decode(struct mem *mem, uint8_t *bytes, size_t n, uint8_t *flags) {
  struct input in = {.at = bytes, .left = n};
  size_t count = 0;
  *flags = (uint8_t)take(&in, 1);
  count = (size_t)take(&in, 1);
  mem->room = (unsigned)count >> 3;
  count = (count & 7) % (MEM_FILES + 1);
  mem->outside = (*flags & MEM_OUTSIDE) != 0;
  mem->no_openat2 = (*flags & MEM_WALK) != 0;
  for (mem->count = 0; mem->count < count && in.left > 0; mem->count++)
    take_file(&mem->files[mem->count], &in);
}

static size_t put(uint8_t *out, size_t room, size_t at, uint64_t value,
                  size_t n) {
  for (size_t i = 0; i < n && at + i < room; i++)
    out[at + i] = (uint8_t)(value >> (8 * i));
  return at + n;
}

size_t mem_encode(const struct mem *mem, uint8_t flags, uint8_t *out,
                  size_t room) {
  size_t at = put(out, room, 0, flags, 1);
  at = put(out, room, at, mem->count | (uint64_t)mem->room << 3, 1);
  for (size_t i = 0; i < mem->count; i++) {
    const struct mem_file *file = &mem->files[i];
    at = put(out, room, at, file->length, 8);
    at = put(out, room, at, file->count | (file->hole & 0x80), 1);
    for (size_t k = 0; k < file->count; k++) {
      const struct mem_segment *s = &file->segments[k];
      at = put(out, room, at, s->offset, 8);
      at = put(out, room, at, s->n, 2);
      if (at + s->n <= room)
        memcpy(out + at, s->bytes, s->n);
      at += s->n;
    }
  }
  return at <= room ? at : 0;
}
