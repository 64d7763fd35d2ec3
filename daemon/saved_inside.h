/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of what is saved, shared by its two files: saved_open.c takes over what a predecessor left or makes it anew,
 * saved.c has the records and the commits.
 */
#ifndef DAXLEASE_SAVED_INSIDE_H
#define DAXLEASE_SAVED_INSIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/journal.h"
#include "daemon/saved.h"

/* Indices of a kind that are given out here. */
struct indices {
	uint32_t top; /* the highest ever given */
	uint32_t *free;
	uint32_t free_count, free_capacity;
};

struct saved {
	struct journal *journal;
	struct indices indices[SAVED_KINDS];
	/* Numbers that unanswered events have, until the guard occupies them; up to `highest`. */
	bool *filled;
	int highest;
};

/* Room to give back every index up to `top`: then giving back cannot fail. 0 or -ENOMEM. */
int saved_reserve_free(struct indices *indices, uint32_t top);

#endif
