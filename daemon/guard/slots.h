/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of events read and not yet done with: flat records of fixed size in one mapping, so
 * that it can be a journal in a memfd that outlives the process. The kernel writes an event
 * straight into its record (read(2)), whose descriptor was preset to -1: after a crash every number
 * that was handed out is found here.
 *
 * A record that was read can hold two short events; the second has then, or is about to get, a
 * record of its own. Who reads a journal takes each descriptor number once.
 *
 * Not thread safe: all under the guard's lock, except that the reader alone writes the record it
 * has taken.
 */
#ifndef DAXLEASE_GUARD_SLOTS_H
#define DAXLEASE_GUARD_SLOTS_H

#include <stdint.h>

#include "daemon/guard/fanotify_abi.h"
#include "daemon/guard/guard.h"

#define SLOT_NONE UINT32_MAX

enum slot_state {
	SLOT_FREE = 0,
	SLOT_TAKEN,   /* the reader's: about to be read into, or read and being decoded */
	SLOT_QUEUED,  /* for next(): an attempt, or a notice of one that was let through (no
			 descriptor) */
	SLOT_TOLD,    /* next() gave it out; answer() is owed */
	SLOT_CLOSING, /* answered; its descriptor is being closed */
};

struct slot {
	struct guard_event
		event;	/* event.head.fd: -1, or the descriptor that is owed an answer or a close */
	uint32_t state; /* enum slot_state */
	uint32_t next;	/* in the list it is on */
	uint64_t read_ns; /* when it was read, CLOCK_MONOTONIC */
	struct guard_attempt attempt;
};
static_assert(sizeof(struct slot) == 48 + 16 + sizeof(struct guard_attempt),
	      "no padding in a journal's records");

struct slot_list { /* first in, first out */
	uint32_t head, tail;
};

struct slots {
	struct slot *slot;
	uint32_t capacity;
	uint32_t fresh; /* records from here on were never used: their pages do not exist yet */
	uint32_t used;
	uint32_t free; /* chain of used and freed records */
};

int slots_open(struct slots *slots, uint32_t capacity); /* 0 or -errno */
void slots_close(struct slots *slots);

uint32_t slots_take(
	struct slots *slots); /* a cleared record, SLOT_TAKEN, descriptor -1; SLOT_NONE: full */
void slots_put(struct slots *slots, uint32_t index);
static inline uint32_t slots_left(const struct slots *slots)
{
	return slots->capacity - slots->used;
}

#define SLOT_LIST_EMPTY ((struct slot_list){SLOT_NONE, SLOT_NONE})
void slot_list_push(struct slots *slots, struct slot_list *list, uint32_t index);
uint32_t slot_list_pop(struct slots *slots, struct slot_list *list); /* SLOT_NONE: empty */

#endif
