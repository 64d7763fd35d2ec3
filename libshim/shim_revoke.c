// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The listener thread: what the daemon says about leases of this process. It runs with all signals
 * blocked, takes the table's lock and coverage's, and nothing else that a thread of the program
 * could hold while it waits for the kernel: no allocation, no libibverbs, no stderr that blocks.
 *
 * The order of a revocation (C17): pinned MRs are destroyed, since they go on reaching the old
 * pages whatever is mapped; then the mappings are replaced by an empty memfd, which stops on-demand
 * MRs, since these follow the address; then those are destroyed as well, so that they never reach
 * what comes to that address later. All under one hold of the lock: nobody sees a half.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "libshim/shim_end.h"
#include "libshim/shim_mr.h"
#include "libshim/shim_session.h"
#include "libshim/shim_table.h"

static uint64_t deadline_after(uint64_t left_ns)
{
	struct timespec now;
	uint64_t now_ns;

	clock_gettime(CLOCK_MONOTONIC, &now);
	now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	/* a little before the daemon's: an answer that says no is better than none */
	left_ns -= left_ns / 8;
	return left_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + left_ns;
}

/* The next mapping behind `after` (NULL: the first) that shows some of the range. Files are few and
 * revocations rare: all mappings are looked at. */
static struct mapping *next_showing(const struct mapping *after, const struct dlp_ev_break *event)
{
	struct mapping *mapping = after ? table_next(after) : table_begin();

	for (; mapping; mapping = table_next(mapping)) {
		if (mapping->state != MAP_REVOKED && mapping->file->node.dev == event->dev &&
		    mapping->file->node.ino == event->ino && mapping->offset < event->end &&
		    event->start < map_offset_end(mapping))
			return mapping;
	}
	return NULL;
}

/* Marks every mapping of the range, cut at its borders. 0 or -ENOMEM: then more than the range is
 * marked. */
static int mark_breaking(const struct dlp_ev_break *event, struct mapping **first)
{
	struct mapping *mapping = NULL;
	int error = 0;

	*first = NULL;
	while ((mapping = next_showing(mapping, event))) {
		int cut = table_cut_file(mapping, event->start, event->end);

		if (cut < 0)
			error = cut;
		/* cut may have left the range to the part behind this one */
		if (cut == 0 && map_offset_end(mapping) <= event->start)
			continue;
		mapping->breaking = true;
		if (!*first)
			*first = mapping;
	}
	return error;
}

/* For messages: the file's name, copied, since the table is not locked when they are written. */
struct named {
	char path[sizeof(((struct map_file *)NULL)->path)];
	uint64_t address; /* of the first mapping that shows some of the range; 0: only MRs did */
};

static void name_it(struct named *named, const struct mapping *mapping)
{
	if (named->address || !mapping)
		return;
	named->address = mapping->node.start;
	memcpy(named->path, mapping->file->path, sizeof(named->path));
}

static void tell_program(const struct dlp_ev_break *event, const struct named *named)
{
	union sigval where = {.sival_ptr = (void *)(uintptr_t)named->address};

	if (session.signal && sigqueue(getpid(), session.signal, where) == 0)
		return;
	say("lease on %s [%llu,%llu) is being broken by %s (pid %d, uid %u): %s; %llu s left",
	    named->address ? named->path : "a file of an MR", (unsigned long long)event->start,
	    (unsigned long long)event->end, event->comm[0] ? event->comm : "?", (int)event->pid,
	    event->uid, dlp_cause_text(event->cause),
	    (unsigned long long)((event->left_ns + 500000000u) / 1000000000u));
}

/*
 * Without it a program that dies of SIGBUS leaves no reason behind, also one that asked for a signal.
 * So it is said before the mapping goes; but a log on a pool's file system can wait for the very
 * operation that waits for us, so one there gets the line when the answer is out.
 */
static void tell_revoked(const struct dlp_ev_break *event, const struct named *named)
{
	if (named->address)
		say("lease on %s [%llu,%llu) of process %d is revoked, for %s (pid %d, uid %u): "
		    "%s; "
		    "its mapping gives SIGBUS from now on, and its MRs end",
		    named->path, (unsigned long long)event->start, (unsigned long long)event->end,
		    (int)getpid(), event->comm[0] ? event->comm : "?", (int)event->pid, event->uid,
		    dlp_cause_text(event->cause));
}

static bool stderr_may_wait(void)
{
	const struct session_pools *pools = atomic_load(&session.pools);
	struct stat st;

	return !pools || fstat(STDERR_FILENO, &st) < 0 ||
	       (S_ISREG(st.st_mode) && session_pool_type(pools, &st));
}

/* The parts of the range an event is about, leaving out what was granted after it, one after
 * another. */
static bool next_part(const struct dlp_ev_break *event, struct dlp_ev_break *part)
{
	*part = *event;
	return coverage_meant(&session.coverage, event->dev, event->ino, &part->start, event->end,
			      event->epoch, &part->end);
}

static void on_break(const struct dlp_ev_break *event)
{
	struct dlp_ev_break rest = *event, part;
	struct named named = {.address = 0};
	struct mapping *marked;
	struct hook hook;
	bool any = false;

	table_lock(&hook);
	for (; next_part(&rest, &part); rest.start = part.end) {
		any = true;
		(void)mark_breaking(&part, &marked);
		name_it(&named, marked);
	}
	table_unlock(&hook);
	if (any)
		tell_program(event, &named);
}

static int blank_mappings(const struct dlp_ev_break *event)
{
	struct mapping *mapping = NULL;
	int first = 0;

	while ((mapping = next_showing(mapping, event))) {
		int error = table_blank(mapping->node.start, mapping->node.end, false);

		if (error == 0)
			mapping->state = MAP_REVOKED;
		else if (first == 0)
			first = error;
	}
	return first;
}

static void note(int *first, int error)
{
	if (error < 0 && *first == 0)
		*first = error;
}

/* Takes everything of one part away. */
static void revoke_part(const struct dlp_ev_break *part, int *error)
{
	struct mapping *mapping;

	note(error, mark_breaking(part, &mapping));
	note(error, mr_destroy_on(part->dev, part->ino, part->start, part->end, true));
	note(error, blank_mappings(part));
	note(error, mr_destroy_on(part->dev, part->ino, part->start, part->end, false));
}

/* The program's own operation ends this part (C12): the mapping becomes an ordinary one. */
static void drop_part(const struct dlp_ev_break *part, int *error)
{
	struct mapping *mapping;

	note(error, mark_breaking(part, &mapping));
	note(error, mr_destroy_on(part->dev, part->ino, part->start, part->end, true));
	note(error, mr_destroy_on(part->dev, part->ino, part->start, part->end, false));
	mr_reap(part->dev, part->ino, part->start, part->end);
	while ((mapping = next_showing(NULL, part))) {
		if (mapping->dont_fork)
			syscall(SYS_madvise, mapping->node.start,
				mapping->node.end - mapping->node.start, MADV_DOFORK);
		table_remove(mapping, false);
	}
}

/* 0, or a positive errno if some of the range may remain. *named: what was revoked. */
__attribute__((unused)) static int end_range(const struct dlp_ev_break *event, struct named *named,
					     bool say_now)
{
	struct dlp_ev_break rest = *event, part;
	struct mapping *mapping;
	struct hook hook;
	int error = 0;

	table_lock(&hook);
	/* no new MRs, then wait for those under way (the lock is released in there), then nobody
	 * comes between */
	for (; next_part(&rest, &part); rest.start = part.end) {
		(void)mark_breaking(&part, &mapping);
		name_it(named, mapping);
	}
	if (say_now)
		tell_revoked(event, named);
	note(&error, mr_settle(event->dev, event->ino, event->start, event->end,
			       deadline_after(event->left_ns)));
	for (rest = *event; next_part(&rest, &part); rest.start = part.end) {
		if (event->head.opcode == DLP_EV_REVOKE)
			revoke_part(&part, &error);
		else
			drop_part(&part, &error);
		mr_reap(part.dev, part.ino, part.start, part.end);
		coverage_forget(&session.coverage, part.dev, part.ino, part.start, part.end);
	}
	table_unlock(&hook);
	return -error;
}

static int answer(const struct dlp_ev_break *event, int error)
{
	struct dlp_range message = {
		.head.opcode = DLP_REVOKED,
		.head.error = error,
		.dev = event->dev,
		.ino = event->ino,
		.start = event->start,
		.end = event->end,
		.epoch = event->epoch,
	};

	return client_tell(&session.client, &message.head, sizeof(message), -1, true);
}

__attribute__((unused)) static int end_and_answer(const struct dlp_ev_break *event)
{
	struct named named = {.address = 0};
	bool revoke = event->head.opcode == DLP_EV_REVOKE, later = stderr_may_wait();
	int error = answer(event, end_range(event, &named, revoke && !later));

	if (revoke && later)
		tell_revoked(event, &named);
	return error;
}

static int handle(const union dlp_buffer *buffer)
{
	struct dlp_ev_break event;

	if (buffer->head.opcode == DLP_EV_POOLS) {
		atomic_fetch_add(&session.pools_wanted, 1);
		return 0;
	}
	if (buffer->head.opcode != DLP_EV_BREAK && buffer->head.opcode != DLP_EV_REVOKE &&
	    buffer->head.opcode != DLP_EV_DROP)
		return 0;
	memcpy(&event, buffer->bytes, sizeof(event));
	if (event.head.opcode == DLP_EV_BREAK) {
		on_break(&event);
		return 0;
	}
#ifdef SHIM_TEST_NO_REVOKE
	return answer(&event, 0);
#else
	return end_and_answer(&event);
#endif
}

void *revoke_listen(void *unused)
{
	static union dlp_buffer buffer; /* there is one listener */

	(void)unused;
	shim_inside = 1;
	prctl(PR_SET_NAME, "daxlease");
	end_listener_runs();
	for (;;) {
		int error = client_event(&session.client, &buffer, true);

		if (error > 0)
			error = handle(&buffer);
		if (error < 0)
			break;
	}
	session_lost();
	end_listener_ends();
	return NULL;
}
