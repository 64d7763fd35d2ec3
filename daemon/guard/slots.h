/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of events read and not yet done with: flat records of fixed size in a region that can
 * be shared memory and outlive the process. The kernel writes an event straight into its record
 * (read(2)), whose descriptor was preset to -1: after a crash every number that was handed out is
 * found there.
 *
 * A record that was read can hold two short events; the second has then, or is about to get, a
 * record of its own. slots_take_over() takes each descriptor number once.
 *
 * Not thread safe: all under the guard's lock, except that the reader alone writes the record it
 * has taken.
 */
#ifndef DAXLEASE_GUARD_SLOTS_H
#define DAXLEASE_GUARD_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/guard/fanotify_abi.h"
#include "daemon/guard/guard.h"
#include "daemon/test_build.h"

#define SLOT_NONE UINT32_MAX
#define SLOT_ANSWERED ((uint64_t)1 << 32)

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
	uint64_t serial;	 /* of this use of the record: no other has it */
	uint64_t read_ns;	 /* when it was read, CLOCK_MONOTONIC */
	uint64_t dev, ino, size; /* of the event's file; dev 0: not looked at yet */
	uint64_t taken_over; /* its descriptor is not the event's any more, but keeps the number */
	struct guard_attempt attempt;
	/* Later versions add at the end. */
	uint64_t answer; /* SLOT_ANSWERED | the response that it has had, or is about to have */
	SAVED_LATER
};
#define SLOT_FIRST_BYTES 208u /* of version 1 */
static_assert(sizeof(struct slot) == SLOT_FIRST_BYTES + 8 + SAVED_LATER_BYTES,
	      "no padding in a journal's records");

/* The beginning of the region. */
struct slots_head {
	uint64_t stride; /* sizeof(struct slot) of who wrote it; 0: nothing was written yet */
	uint64_t serial; /* the last one */
	uint64_t capacity;
	uint64_t fresh; /* records from here on were never used: their pages do not exist yet */
};

struct slot_list { /* first in, first out */
	uint32_t head, tail;
};

struct slots {
	struct slots_head *head;
	struct slot *slot;
	uint32_t capacity;
	uint32_t used;
	uint32_t free; /* chain of used and freed records */
	bool own;      /* the region is ours */
};

/* How many bytes a region for so many records has; its pages are touched as they are needed. */
size_t slots_bytes(uint32_t capacity);
/* In `region`, zeroed (the caller's, who keeps it mapped), or with NULL in memory of its own. 0 or
 * -errno. */
int slots_open(struct slots *slots, void *region, uint32_t capacity);
/*
 * In a region that another process used until it died. `each` is called for every record of an event that may not have
 * been answered, with the number that is to be occupied before the first read; second ones have records of their own
 * by then. 0; -EBADMSG: the region is not what it should be; else what `each` said.
 */
int slots_take_over(struct slots *slots, void *region, uint32_t capacity,
		    int (*each)(void *arg, struct slot *slot), void *arg);
/* The highest number in it that slots_take_over() would name; -1: none. `bytes`: of the region, which may be an older
 * version's. */
int slots_highest(const void *region, size_t bytes);
/* What an older version's region says, into `region` of ours, which is zeroed. Records may be shorter there (the rest is zeros
 * here) and fewer. 0; -EBADMSG: it is not what it should be; -ENOTSUP: it is a newer version's. */
int slots_copy(void *region, uint32_t capacity, const void *from, size_t bytes);
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
