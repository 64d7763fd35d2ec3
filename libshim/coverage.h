/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this process needs to be leased, and what it has: per connection, per file (dev, ino),
 * reference-counted ranges of whole pages. The daemon knows a range as held or not; here is counted
 * how many mappings, MRs or leases of the API stand on it, so that one who goes does not end the
 * others'.
 *
 * Taking is three steps, since the daemon's answer must not be waited for under any lock:
 *   coverage_begin()  adds the references at once: nobody's release can take the range away now
 *   coverage_ask()    asks the daemon for what is not held yet (a round trip; no lock held)
 *   coverage_end()    the answer counts, or the references go again
 *
 * A revocation (coverage_forget) can come between any two of them; it removes the range with all
 * its references, those of a taking under way included. What is taken again behind it is a new
 * range with a later `birth`, by which the older taking's end tells that it is not its own.
 *
 * Lock: one mutex, held over no round trip. A RELEASE is sent under it, so that it cannot overtake
 * a later GRANT of the same range. May include: libc, proto/, client.h.
 */
#ifndef DAXLEASE_COVERAGE_H
#define DAXLEASE_COVERAGE_H

#include <pthread.h>
#include <stdint.h>

#include "libshim/arena.h"
#include "libshim/client.h"
#include "libshim/tree.h"

struct coverage {
	pthread_mutex_t lock;
	struct client *client;
	struct tree ranges; /* struct cover */
	struct arena arena;
	uint64_t clock; /* of births */
	/* The newest epoch that the daemon has told of: what is asked for after that is granted under a
	 * later one. */
	uint64_t seen;
};

/* A taking under way: the caller's, between begin and end. */
struct coverage_take {
	uint64_t dev, ino;
	uint64_t start, end; /* in whole pages */
	uint64_t ask_start,
		ask_end; /* as it was asked for: the last page of a file ends at its size */
	uint64_t birth;
	uint32_t flags; /* DLP_GRANT_* */
	uint64_t epoch; /* of the grant; after end(): the oldest that any part stands on */
};

void coverage_init(struct coverage *coverage, struct client *client);

/* 0: all of it is held already, end(true) may follow at once; 1: ask() first; -ENOMEM. */
int coverage_begin(struct coverage *coverage, struct coverage_take *take, uint64_t dev,
		   uint64_t ino, uint64_t start, uint64_t end, uint32_t flags);

/* `fd`: the file. *reply is the last answer. 0, -errno of the refusal, -EPIPE: the daemon is gone.
 * An EAGAIN is tried again for at most 100 ms, since most operations are over by then; `again`(arg)
 * false ends that sooner. */
int coverage_ask(struct coverage *coverage, struct coverage_take *take, int fd,
		 struct dlp_grant_reply *reply, bool (*again)(void *arg), void *arg);

void coverage_end(struct coverage *coverage, struct coverage_take *take, bool granted);

/* One reference less on each page of [start, end); tells the daemon what fell to none. */
void coverage_drop(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t start,
		   uint64_t end);

/* The daemon has taken [start, end) back: all references on it are gone. Nothing is sent. */
void coverage_forget(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t start,
		     uint64_t end);

/* The first part of [*start, end) that an event of `epoch` is about: what was granted later is left
 * out. false: none. (An event can be late: what it tells of was given back and is leased anew. And a
 * daemon that was killed sends it again.) */
bool coverage_meant(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t *start,
		    uint64_t end, uint64_t epoch, uint64_t *part_end);

/* Whether all of [start, end) is held. */
bool coverage_held(struct coverage *coverage, uint64_t dev, uint64_t ino, uint64_t start,
		   uint64_t end);

/* To whole pages. */
uint64_t coverage_floor(uint64_t at);
uint64_t coverage_ceil(uint64_t at);

#endif
