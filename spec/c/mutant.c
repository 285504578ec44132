/* SPDX-License-Identifier: MIT
 *
 * Which mutant lives: see mutant.h.  Each module that holds parts of the
 * engine has its own copy, and all share the file of notes.
 */
#include "mutant.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

unsigned char lv_mutant_alive[LV_MUTANTS];
volatile unsigned char *lv_mutant_seen;

__attribute__((constructor)) static void choose(void) {
  const char *list = getenv("LVHD_MUTANT");
  const char *notes = getenv("LVHD_MUTANTS_SEEN");
  struct stat st;
  int fd = -1;
  while (list && *list != '\0') {
    char *end = NULL;
    long number = strtol(list, &end, 10);
    if (end == list || number < 0 || number >= LV_MUTANTS)
      abort();
    lv_mutant_alive[number] = number != 0; /* 0: none */
    list = end;
  }
  if (notes)
    fd = open(notes, O_RDWR | O_CLOEXEC);
  if (fd >= 0 && fstat(fd, &st) == 0) {
    void *at = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
                    MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
      lv_mutant_seen = at;
  }
  if (fd >= 0)
    close(fd);
}
