/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What keeper_child, a small daemon on the store, and keeper_clients, which kills it and looks at what is left, agree on.
 */
#ifndef DAXLEASE_KEEPER_CHILD_H
#define DAXLEASE_KEEPER_CHILD_H

#include <stdatomic.h>
#include <stdint.h>

/* DIR/control, mapped by both. */
struct control {
	atomic_uint die_at;	  /* counts down at each step of the child; at 0 it kills itself */
	atomic_uint die_again;	  /* then the next one's die_at */
	atomic_uint hold;	  /* the next child waits with everything until this is 0 */
	atomic_uint stuck;	  /* the loop stands still while it is not 0 */
	atomic_uint hold_answers; /* an event of the guard is read but not answered */
	/* told by the child */
	atomic_uint pid;     /* of the one that was ready last */
	atomic_uint starts;  /* so many were */
	atomic_uint waiting; /* pid of one that holds */
	atomic_uint clients;
	atomic_uint events;   /* of the guard: read */
	atomic_uint answered; /* and answered */
	atomic_uint refused;  /* clients, with the last reason: */
	atomic_int reason;
	atomic_uint lost;    /* what the journal has and nobody handed back */
	atomic_uint devices; /* uverbs descriptors that came back */
	atomic_uint state;   /* enum store_state */
	atomic_uint stored, capacity;
};

enum { OP_HELLO, OP_ADD, OP_BYE };

struct message {
	uint32_t op, seq;
	uint64_t value; /* ADD: the summand; in the reply: the sum. HELLO's reply: errno */
};

#endif
