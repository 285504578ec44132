/* SPDX-License-Identifier: MIT
 *
 * What the fuzzers have kept, once more: every input of spec/fuzz/corpus
 * through its target, those in image/ through every target that reads images,
 * without a fuzzer.  Run from the root of the project.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "../fuzz/targets.h"
#include "check.h"

static void replay(const struct target *target, const char *path) {
  static uint8_t bytes[INPUT_MAX];
  FILE *file = fopen(path, "rb");
  const char *wrong = NULL;
  size_t n = 0;
  CHECK(file != NULL);
  if (file == NULL)
    return;
  n = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  wrong = target_run(target, bytes, n);
  if (!CHECK(wrong == NULL))
    fprintf(stderr, "  %s: %s\n", path, wrong);
}

static unsigned replay_all(const struct target *target, const char *name) {
  char folder[256];
  char path[600];
  DIR *dir = NULL;
  const struct dirent *entry = NULL;
  unsigned count = 0;
  snprintf(folder, sizeof folder, "spec/fuzz/corpus/%s", name);
  dir = opendir(folder);
  if (dir == NULL)
    return 0;
  while ((entry = readdir(dir)) != NULL) {
    if (entry->d_name[0] == '.')
      continue;
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    replay(target, path);
    count++;
  }
  closedir(dir);
  return count;
}

/* A name: of that target alone. */
int main(int argc, char **argv) {
  for (size_t i = 0; i < target_count; i++)
    CHECK((argc > 1 && strcmp(argv[1], targets[i].name) != 0) ||
          replay_all(&targets[i], targets[i].name) +
            (targets[i].is_image ? replay_all(&targets[i], "image") : 0) >
          0);
  target_end();
  return check_done();
}
