/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of the fanotify guard. Three threads share it:
 *   the caller of guard.h (the daemon's loop)   marks, takes attempts, answers
 *   the reader                                  reads events, lets go what is harmless, queues the
 * rest the closer                                  closes the descriptors of answered events
 *
 * Each event is answered exactly once, by its descriptor's number; answer, then close, then clear,
 * since a number that comes again while the kernel still lists the old event would be taken for the
 * old one.
 *
 * The closer exists because a close can be the last one: of an unlinked file, whose blocks ext4
 * then frees in the closing thread, or of one that ext4 writes out on close. Neither the loop nor
 * the reader may wait for that.
 */
#ifndef DAXLEASE_GUARD_FANOTIFY_H
#define DAXLEASE_GUARD_FANOTIFY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/guard/armed.h"
#include "daemon/guard/guard.h"
#include "daemon/guard/slots.h"

/* Waiting breakers are bounded by descriptors long before this; 64 Ki records are 10 MB of address
 * space. */
#define FANOTIFY_SLOTS 65536u
/* What one round of the reader can need besides the records it has: two events come in one read.
 * Notices come from the same room; each event that was put off needs one, and there are fewer of
 * them than of these. */
#define FANOTIFY_SLOTS_SPARE (4u + FANOTIFY_PUT_OFF)

/* Events whose thread had not fallen asleep yet, at most so many, looked at again until so long
 * after the read; and of one that shows what cannot be decoded. */
#define FANOTIFY_PUT_OFF 256u
#define FANOTIFY_RUNNING_NS (2000u * 1000 * 1000)
#define FANOTIFY_PUT_OFF_NS (200u * 1000 * 1000)
/* From then on what a predecessor has read has no more time than what was read here. */
#define FANOTIFY_PUT_OFF_LONGEST_NS (4000u * 1000 * 1000)

#define FANOTIFY_IGNORE (FAN_MARK_EVICTABLE | FAN_MARK_IGNORE | FAN_MARK_IGNORED_SURV_MODIFY)

/* Where there was one event there is often another soon: so long the closer stays awake for it. To wake it
 * for each would take the processor from the two that wait for each other. (Until then the event's descriptor
 * keeps the mount busy.) */
#define FANOTIFY_LINGER_NS (1000u * 1000)

/* The latest threads let through on inodes that were not armed. Each inode is silenced by its first,
 * so these are many inodes' worth. */
#define FANOTIFY_PASSED 1024u

struct fanotify_passed {
	uint64_t dev, ino;
	uint64_t since_ns;
	struct guard_passed thread; /* tid 0: it is known to have finished */
};
/* In the region behind the slots, so that a successor knows them. Each is written with its tid last. */
struct fanotify_passed_table {
	uint64_t next;
	struct fanotify_passed list[FANOTIFY_PASSED];
};
/* Who is on the way to the inode's lock for longer is like one that was never stopped: for the second
 * look. */
#define FANOTIFY_PASSED_NS (1000u * 1000 * 1000)

struct fanotify_guard {
	struct guard base; /* first: struct guard * is cast to this */

	struct slot_list put_off, allowed; /* the reader's own */
	uint32_t put_off_count;

	/* set before the threads start, then only read */
	int group;
	int wake_fd; /* eventfd: the reader shall look at `stop` and at the room there is */
	bool allow_all;
	bool io_uring_shares;
	uint64_t page;
	uint64_t started_ns;
	bool started;
	pthread_t reader, closer;

	pthread_mutex_t lock; /* everything below. Held for marks and answers, never over anything
				 that waits */
	bool stop;
	bool paused; /* the reader waits for room */
	struct armed armed;
	struct armed exempt; /* (0, pid) */
	struct slots slots;
	uint32_t held;		  /* descriptors of events that are open */
	struct slot_list queue;	  /* for next() */
	bool readable;		  /* base.event_fd is */
	struct slot_list closing; /* for the closer */
	pthread_cond_t close_cond;
	bool closer_sleeps, closer_lingers;
	struct guard_counts counts;
	struct fanotify_passed_table *passed; /* in the region, or own_passed */
	struct fanotify_passed_table own_passed;
	uint64_t passed_last_ns; /* since_ns of the last one */
};

uint64_t fanotify_now_ns(void); /* CLOCK_MONOTONIC */
void *fanotify_reader(void *guard);
void *fanotify_closer(void *guard);

/* With the lock held. respond: 0 or -errno of the write; a successor says the same again. finish: hands an answered record to the
 * closer. */
int fanotify_respond(struct fanotify_guard *guard, uint32_t index, uint32_t response);
void fanotify_finish(struct fanotify_guard *guard, uint32_t index);
void fanotify_queue(struct fanotify_guard *guard, uint32_t index);

#endif
