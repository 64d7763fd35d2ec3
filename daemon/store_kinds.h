/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of the store: what its kinds are called, and how they are told. A name is as short as it can be, since all
 * names go into one string of the environment, LISTEN_FDNAMES, whose size the kernel limits.
 */
#ifndef DAXLEASE_STORE_KINDS_H
#define DAXLEASE_STORE_KINDS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/store.h"

#define STORE_NAME_SIZE 8   /* with the 0 */
#define STORE_PROBE "probe" /* store.c: a pipe, in the store for an instant */

bool store_kind_single(enum store_kind kind); /* there is one at most */
/* "journal"; "c0a7": a letter and three digits of base 32. */
void store_name(enum store_kind kind, uint32_t slot, char name[STORE_NAME_SIZE]);
/* Bytes for all names with a separator each, and how many descriptors with names of clients that is. */
unsigned store_names_size(void);
unsigned store_names_room(void);
/* false: none of ours. */
bool store_name_parse(const char *name, enum store_kind *kind, uint32_t *slot);
/* Whether fd is what its kind says; never waits for who made it. */
bool store_kind_check(enum store_kind kind, int fd);

#endif
