/* SPDX-License-Identifier: MIT
 *
 * Memory that runs out: for programs that are linked with --wrap=malloc and
 * its kin (POOR in the Makefile).  Counts what is held, lets the k-th
 * allocation fail, alone or with all behind it, on any thread or on some, and
 * notes where it was asked for.  Knows nothing of lvhd.
 */
#ifndef LVHD_SPEC_POOR_H
#define LVHD_SPEC_POOR_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t many, size_t n);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t to, size_t n);
void __real_free(void *p);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*run)(void *), void *arg);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t many, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t to, size_t n);
void __wrap_free(void *p);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*run)(void *), void *arg);

/* Whose allocations count. */
enum poor_who { POOR_ANY, POOR_WORKER, POOR_CALLER };

/* Places whose allocations have failed, as return addresses. */
#define POOR_SITES 1024

static struct {
  atomic_long held;            /* blocks */
  atomic_uint at;              /* this one fails; 0: none */
  atomic_bool on;              /* and all behind it */
  atomic_uint who, count, hits;
  atomic_uint threads_at, threads; /* pthread_create, in the same way */
  _Atomic(void *) sites[POOR_SITES];
} poor;

static _Thread_local bool poor_caller; /* the program's own thread */

/* From now on the k-th fails. */
static inline void poor_begin(unsigned k, bool on, enum poor_who who) {
  poor_caller = true;
  atomic_store(&poor.count, 0);
  atomic_store(&poor.hits, 0);
  atomic_store(&poor.threads, 0);
  atomic_store(&poor.on, on);
  atomic_store(&poor.who, who);
  atomic_store(&poor.at, k);
}

/* All is well again; how many have failed. */
static inline unsigned poor_end(void) {
  atomic_store(&poor.at, 0);
  atomic_store(&poor.threads_at, 0);
  return atomic_load(&poor.hits);
}

static void poor_note(void *site) {
  for (unsigned i = 0; i < POOR_SITES; i++) {
    void *none = NULL;
    if (atomic_load(&poor.sites[i]) == site ||
        atomic_compare_exchange_strong(&poor.sites[i], &none, site) ||
        none == site)
      return;
  }
}

static bool poor_is_due(atomic_uint *at, atomic_uint *count) {
  unsigned k = atomic_load(at);
  unsigned n = k == 0 ? 0 : atomic_fetch_add(count, 1) + 1;
  bool due = k != 0 && (n == k || (n > k && atomic_load(&poor.on)));
  atomic_fetch_add(&poor.hits, due);
  return due;
}

static bool poor_refuses(void *site) {
  unsigned who = atomic_load(&poor.who);
  if (who != POOR_ANY && poor_caller != (who == POOR_CALLER))
    return false;
  if (!poor_is_due(&poor.at, &poor.count))
    return false;
  poor_note(site);
  return true;
}

static void *poor_held(void *p) {
  atomic_fetch_add(&poor.held, p != NULL);
  return p;
}

#define POOR_SITE __builtin_return_address(0)

void *__wrap_malloc(size_t n) {
  return poor_refuses(POOR_SITE) ? NULL : poor_held(__real_malloc(n));
}

void *__wrap_calloc(size_t many, size_t n) {
  return poor_refuses(POOR_SITE) ? NULL : poor_held(__real_calloc(many, n));
}

void *__wrap_aligned_alloc(size_t to, size_t n) {
  return poor_refuses(POOR_SITE) ? NULL
                                 : poor_held(__real_aligned_alloc(to, n));
}

void *__wrap_realloc(void *p, size_t n) {
  void *got = poor_refuses(POOR_SITE) ? NULL : __real_realloc(p, n);
  if (p == NULL)
    poor_held(got);
  return got;
}

void __wrap_free(void *p) {
  atomic_fetch_sub(&poor.held, p != NULL);
  __real_free(p);
}

static char *poor_copy(const char *text, size_t n) {
  char *copy = poor_held(__real_malloc(n + 1));
  if (copy != NULL) {
    memcpy(copy, text, n);
    copy[n] = '\0';
  }
  return copy;
}

char *__wrap_strdup(const char *text) {
  return poor_refuses(POOR_SITE) ? NULL : poor_copy(text, strlen(text));
}

char *__wrap_strndup(const char *text, size_t n) {
  return poor_refuses(POOR_SITE) ? NULL : poor_copy(text, strnlen(text, n));
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*run)(void *), void *arg) {
  if (poor_is_due(&poor.threads_at, &poor.threads))
    return EAGAIN;
  return __real_pthread_create(thread, attr, run, arg);
}

/* The places, for addr2line -e PROGRAM: "site 0x1234" a line. */
static inline void poor_tell_sites(void) {
  extern const char __executable_start[];
  for (unsigned i = 0; i < POOR_SITES; i++)
    if (atomic_load(&poor.sites[i]) != NULL)
      printf("site 0x%zx\n",
             (size_t)((const char *)atomic_load(&poor.sites[i]) -
                      __executable_start - 1));
}

#endif
