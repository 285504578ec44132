/* SPDX-License-Identifier: MIT
 *
 * What a child records of the way to its parent: the texts, and where they
 * find room in the head of a file that exists already.  Bytes and numbers
 * only; no file.
 */
#ifndef LV_FORMAT_LOCATORS_H
#define LV_FORMAT_LOCATORS_H

#include "format/header.h"

#define LV_LOCATOR_MAX 1022 /* the longest W2ru or W2ku text, in bytes */
#define LV_MACX_MAX 1023    /* bytes: 7-Zip takes no text of 1024 */

extern const uint8_t lv_w2ru[4], lv_w2ku[4], lv_macx[4];

/* relative is the way from the child's folder to the parent: "base.vhd",
 * "sub/base.vhd", "../base.vhd". */

/* The name field, which is zeros before: the bare name, UTF-16 big-endian.
 * E_INVALID_NAME/NAME_UNFINDABLE: a `\` somewhere in relative, which readers
 * take for a separator, or no UTF-8.  E_BUFFER_OVERFLOW/LOCATOR_TOO_LONG: more
 * than 255 units (expected and actual in bytes). */
int lv_locator_name(const char *relative, uint8_t field[LV_NAME_FIELD],
                    struct lvhd_error *err);

/* W2ru: ".\sub\base.vhd", UTF-16 little-endian, no terminator; relative has
 * passed lv_locator_name.  E_BUFFER_OVERFLOW/LOCATOR_TOO_LONG. */
int lv_locator_w2ru(const char *relative, uint8_t out[LV_LOCATOR_MAX],
                    uint32_t *length, struct lvhd_error *err);

/* W2ku: how Windows calls the parent, "C:\vms\base.vhd" (valid UTF-8), as
 * UTF-16 little-endian, no terminator.  The bytes it needs: where that is more
 * than LV_LOCATOR_MAX, nothing is written. */
size_t lv_locator_w2ku(const char *windows, uint8_t out[LV_LOCATOR_MAX]);

/* MacX: "file://./sub/base.vhd", raw UTF-8: blktap and ocaml-vhd take the
 * rest literally, without percent signs.  The bytes it needs: where that is
 * more than LV_MACX_MAX, nothing is written. */
size_t lv_locator_macx(const char *relative, uint8_t out[LV_MACX_MAX]);

/* Bytes that a locator calls its own: what is too small for the practice,
 * bytes, is sectors, as the specification says. */
uint64_t lv_locator_space(const struct lv_locator_entry *entry);

/* The head of a file: what is taken, and where it ends.  Set end and count. */
struct lv_head {
  uint64_t end; /* nothing may be placed behind */
  size_t count;
  struct {
    uint64_t from, to;
  } taken[2 * LV_LOCATORS + 8];
};

/* Nothing for a length of 0.  No more often than there is room. */
void lv_head_take(struct lv_head *head, uint64_t from, uint64_t length);

/* Nothing that is taken lies in [from, from + length), and it is inside. */
bool lv_head_is_free(const struct lv_head *head, uint64_t from,
                     uint64_t length);

/* The first place for n bytes that begins a sector and shares none with what
 * is taken; it is taken then. */
bool lv_head_place(struct lv_head *head, uint64_t n, uint64_t *at);

#endif
