/* SPDX-License-Identifier: MIT
 *
 * A child of a golden image, from C, with nothing but liblvhd:
 *
 *   cc child.c $(pkg-config --cflags --libs lvhd) -o child
 *   ./child /vms/web01.vhd /golden/base.vhd
 *
 * Both paths are absolute.
 */
#include <stdio.h>

#include <lvhd.h>

static int complain(const struct lvhd_error *err) {
  char text[1024];
  lvhd_error_text(err, text, sizeof text);
  fprintf(stderr, "%s (0x%08X): %s\n", lvhd_code_name(err->code),
          (unsigned)lvhd_code_hresult(err->code), text);
  return 1;
}

/* Waits, and shows how far it is. */
static int finish(lvhd_task *task) {
  const struct lvhd_info *info = NULL;
  while (!lvhd_task_step(task, 250, NULL)) {
    struct lvhd_progress p;
    lvhd_task_progress(task, &p);
    fprintf(stderr, "\r%u %%", p.percent);
  }
  if (lvhd_task_error(task))
    return complain(lvhd_task_error(task));
  info = lvhd_task_info(task);
  printf("%s: %llu bytes, child of %s\n", info->path,
         (unsigned long long)info->size, info->parent_path);
  return 0;
}

int main(int argc, char **argv) {
  lvhd_engine *engine = NULL;
  lvhd_task *task = NULL;
  struct lvhd_error err = LVHD_ERROR_INIT;
  int status = 1;
  if (argc != 3) {
    fprintf(stderr, "usage: child IMAGE PARENT (lvhd %s)\n", lvhd_version());
    return 2;
  }
  if (lvhd_engine_new(&engine, NULL, &err) == 0 &&
      lvhd_create_differencing(engine, argv[1], argv[2], NULL, &task, &err) ==
        0)
    status = finish(task);
  else
    complain(&err);
  lvhd_error_clear(&err);
  lvhd_task_free(task);
  lvhd_engine_free(engine, false);
  return status;
}
