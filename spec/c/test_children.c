/* SPDX-License-Identifier: MIT
 *
 * lvhd_create_children as a C program calls it: the items of its task, and
 * what the call refuses.  All else is in spec/children_of_many_spec.lua.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "lvhd.h"

static char folder[256], parent[300];

static int make(lvhd_engine *engine, const struct lvhd_child *list, size_t n,
                const struct lvhd_create_options *opts, lvhd_task **task,
                struct lvhd_error *err) {
  int code = lvhd_create_children(engine, list, n, parent, opts, task, err);
  while (code == 0 && !lvhd_task_step(*task, 250, NULL))
    ;
  return code;
}

static void test_items(lvhd_engine *engine) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lvhd_child list[3] = {{.image = "a.vhd", .has_uuid = true},
                               {.image = "a.vhd"},
                               {.image = "bad\0name", .image_length = 8}};
  lvhd_task *task = NULL;
  memset(list[0].uuid, 0x41, sizeof list[0].uuid);
  if (!CHECK(make(engine, list, 3, NULL, &task, &err) == 0))
    return;
  CHECK(lvhd_task_status(task) == LVHD_FAILED);
  CHECK(lvhd_task_has_items(task));
  CHECK_INT(lvhd_task_item_count(task), 3);
  CHECK(lvhd_task_infos(task) == NULL);
  if (CHECK(lvhd_task_item_info(task, 0) != NULL))
    CHECK_MEM(lvhd_task_item_info(task, 0)->uuid, list[0].uuid, 16);
  CHECK(lvhd_task_item_error(task, 0) == NULL);
  CHECK(lvhd_task_item_info(task, 1) == NULL);
  if (CHECK(lvhd_task_item_error(task, 1) != NULL))
    CHECK_INT(lvhd_task_item_error(task, 1)->code, LVHD_E_ALREADY_EXISTS);
  if (CHECK(lvhd_task_item_error(task, 2) != NULL))
    CHECK_INT(lvhd_task_item_error(task, 2)->code, LVHD_E_INVALID_NAME);
  CHECK(lvhd_task_item_info(task, 3) == NULL);
  CHECK(lvhd_task_item_error(task, 3) == NULL);
  CHECK_INT(lvhd_task_error(task)->failed, 2);
  CHECK_INT(lvhd_task_error(task)->of, 3);
  CHECK_INT(lvhd_task_error(task)->code, LVHD_E_ALREADY_EXISTS);
  lvhd_task_free(task);
}

static void test_refused(lvhd_engine *engine) {
  struct lvhd_error err = LVHD_ERROR_INIT;
  struct lvhd_child list[2] = {{.image = "x.vhd"}, {.image = NULL}};
  struct lvhd_create_options opts = {.has_uuid = true};
  lvhd_task *task = NULL;
  CHECK_INT(make(engine, list, 2, NULL, &task, &err), LVHD_E_POINTER);
  CHECK_INT(make(engine, NULL, 1, NULL, &task, &err), LVHD_E_POINTER);
  CHECK_INT(make(engine, list, 1, &opts, &task, &err), LVHD_E_INVALIDARG);
  CHECK(task == NULL);
  CHECK_STR(err.op, "create_children");
  CHECK_STR(err.parent, parent);
  lvhd_error_clear(&err);
  CHECK_INT(make(engine, NULL, 0, NULL, &task, NULL), 0);
  CHECK(lvhd_task_status(task) == LVHD_SUCCEEDED);
  CHECK(lvhd_task_has_items(task));
  CHECK_INT(lvhd_task_item_count(task), 0);
  lvhd_task_free(task);
}

static bool make_parent(lvhd_engine *engine) {
  lvhd_task *task = NULL;
  bool good = false;
  if (lvhd_create_dynamic(engine, parent, 64 << 20, NULL, &task, NULL) != 0)
    return false;
  while (!lvhd_task_step(task, 250, NULL))
    ;
  good = lvhd_task_status(task) == LVHD_SUCCEEDED;
  CHECK(!lvhd_task_has_items(task));
  CHECK_INT(lvhd_task_item_count(task), 0);
  lvhd_task_free(task);
  return good;
}

int main(void) {
  const char *tmp = getenv("TMPDIR");
  lvhd_engine *engine = NULL;
  char path[320];
  snprintf(folder, sizeof folder, "%.200s/lvhd-XXXXXX", tmp ? tmp : "/tmp");
  if (mkdtemp(folder) == NULL || lvhd_engine_new(&engine, NULL, NULL) != 0)
    return 1;
  snprintf(parent, sizeof parent, "%s/parent.vhd", folder);
  if (CHECK(make_parent(engine))) {
    test_items(engine);
    test_refused(engine);
  }
  lvhd_engine_free(engine, false);
  snprintf(path, sizeof path, "%s/a.vhd", folder);
  CHECK_INT(unlink(path), 0);
  CHECK_INT(unlink(parent), 0);
  CHECK_INT(rmdir(folder), 0);
  return check_done();
}
