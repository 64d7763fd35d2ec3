// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/guard/kernel_lease.h"

#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <uthash.h>

#define LOOK_EVERY_NS 10000000l
#define LOOK_AT_EACH_NS 20000l /* a hundredth of that is what one look takes */
#define IDLE_SHIFT 6
#define LOOKS_AT_WAITERS 5 /* one that is about to fall asleep does not show what it does yet */

struct leased {
	struct {
		uint64_t dev, ino;
	} key;
	int fd;
	uint32_t slot;
	enum guard_lease_state state;
	bool reads; /* it is a read lease: no reader breaks it */
	bool told;  /* the attempt was given out by next() */
	unsigned looks;
	unsigned idle, skip; /* looks that found nobody waiting; how many to leave out */
	bool late;
	struct guard_attempt attempt;
	struct guard_lease_reader reader;
	UT_hash_handle hh;
};

struct leases {
	struct guard guard; /* first */
	bool allow_all;
	struct leased *all;
	struct leased *scan; /* the next one to be looked at */
	uint64_t changes;
	struct guard_counts counts;
	bool (*owed)(void *arg, uint32_t slot, uint64_t serial);
	void *owed_arg;
};

static struct leases *leases_of(struct guard *guard)
{
	return (struct leases *)guard;
}

static struct leased *find(const struct leases *g, uint64_t dev, uint64_t ino)
{
	const struct leased probe = {.key = {dev, ino}};
	struct leased *found;

	HASH_FIND(hh, g->all, &probe.key, sizeof(probe.key), found);
	return found;
}

static struct leased *find_slot(const struct leases *g, uint32_t slot)
{
	for (struct leased *leased = g->all; leased; leased = leased->hh.next) {
		if (leased->slot == slot)
			return leased;
	}
	return NULL;
}

static void set_timer(struct leases *g)
{
	const long each = (long)HASH_COUNT(g->all) * LOOK_AT_EACH_NS;
	const long ns = each > LOOK_EVERY_NS ? each : LOOK_EVERY_NS;
	struct itimerspec spec = {.it_interval = {ns / 1000000000, ns % 1000000000}};

	if (!g->all)
		spec.it_interval = (struct timespec){0};
	spec.it_value = spec.it_interval;
	g->counts.errors += timerfd_settime(g->guard.event_fd, 0, &spec, NULL) < 0;
}

static void become(struct leases *g, struct leased *leased, enum guard_lease_state state)
{
	g->changes += leased->state != state;
	leased->state = state;
}

/* Who waits goes on. */
static void give_up(struct leases *g, struct leased *leased, enum guard_lease_state state)
{
	g->counts.errors += fcntl(leased->fd, F_SETLEASE, F_UNLCK) < 0 &&
			    errno != EAGAIN; /* EAGAIN: there is none */
	become(g, leased, state);
	leased->told = leased->late = false;
	leased->looks = leased->idle = leased->skip = 0;
}

/* It is being broken: by whom? Readers go on. */
static void look_at_break(struct leases *g, struct leased *leased)
{
	const bool writer = fcntl(leased->fd, F_GETLEASE) == F_UNLCK;
	struct guard_lease_waiters waiters;

	/* All locks of the machine are read for it, and who does not wait can bring it about for a long time. */
	if (!writer && leased->skip > 0) {
		leased->skip--;
		return;
	}
	guard_lease_waiters(leased->key.dev, leased->key.ino, &waiters);
	if (g->allow_all) {
		give_up(g, leased, GUARD_LEASE_GIVEN);
		return;
	}
	/* A reader that does not wait has got its EAGAIN. Later it is let in by the kernel. */
	if (!writer && waiters.count == 0) {
		leased->skip = 1u << (leased->idle < IDLE_SHIFT ? leased->idle++ : IDLE_SHIFT);
		return;
	}
	if (!writer && waiters.reads) {
		g->counts.harmless++;
		leased->reader.tgid = waiters.first.tgid;
		memcpy(leased->reader.comm, waiters.first.comm, sizeof(leased->reader.comm));
		give_up(g, leased, GUARD_LEASE_READ);
		return;
	}
	if (waiters.count && waiters.first.opaque && leased->looks++ < LOOKS_AT_WAITERS)
		return;
	leased->attempt = waiters.first;
	if (waiters.count == 0)
		leased->attempt.cause = DLP_CAUSE_OPEN_WRITE;
	become(g, leased, GUARD_LEASE_BROKEN);
}

static bool may_write(int fd)
{
	return (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
}

static void look(struct leases *g, struct leased *leased)
{
	const int type = fcntl(leased->fd, F_GETLEASE);

	switch (leased->state) {
	case GUARD_LEASE_HELD:
		break;
	case GUARD_LEASE_BROKEN:
		if (type == F_UNLCK && guard_lease_on(leased->fd) == GUARD_LEASE_ON_NONE) {
			g->counts.overflows++;
			become(g, leased, GUARD_LEASE_EXPIRED);
		}
		return;
	case GUARD_LEASE_NONE:
	case GUARD_LEASE_READ:
	case GUARD_LEASE_DROPPED:
	case GUARD_LEASE_GIVEN:
	case GUARD_LEASE_EXPIRED:
		return;
	}
	if (type == (leased->reads ? F_RDLCK : F_WRLCK))
		return;
	switch (guard_lease_on(leased->fd)) {
	case GUARD_LEASE_ON_NONE:
		give_up(g, leased, GUARD_LEASE_DROPPED);
		return;
	case GUARD_LEASE_ON_READ: /* by the kernel, at the end of its time */
		/* What stops no reader stops no O_RDONLY with O_TRUNC either: too little where the holder may write. */
		if (may_write(leased->fd)) {
			leased->reader = (struct guard_lease_reader){0};
			give_up(g, leased, GUARD_LEASE_READ);
			return;
		}
		leased->reads = true;
		return;
	case GUARD_LEASE_ON_WRITE:
		leased->reads = false;
		return;
	case GUARD_LEASE_BREAKING:
		look_at_break(g, leased);
		return;
	}
}

/* --- the guard's interface ------------------------------------------------------------------- */

static void leases_free(struct guard *guard)
{
	struct leases *g = leases_of(guard);
	struct leased *leased, *next;

	HASH_ITER(hh, g->all, leased, next)
	guard_lease_disarm(guard, leased->key.dev, leased->key.ino);
	close(guard->event_fd);
	free(g);
}

/* What a predecessor knew of and is still broken is owed an answer, and does not come once more. */
static int leases_start(struct guard *guard,
			bool (*owed)(void *arg, uint32_t slot, uint64_t serial), void *arg)
{
	struct leases *g = leases_of(guard);

	for (struct leased *leased = g->all; leased; leased = leased->hh.next) {
		leased->late = guard_lease_on(leased->fd) == GUARD_LEASE_BREAKING;
		look(g, leased);
		if (leased->state == GUARD_LEASE_BROKEN && owed && owed(arg, leased->slot, 0))
			leased->told = true;
	}
	g->scan = g->all;
	set_timer(g);
	return 0;
}

static int no_watch(struct guard *guard, int path_fd, uint64_t dev)
{
	(void)guard;
	(void)path_fd;
	(void)dev;
	return -EOPNOTSUPP;
}

static int no_arm(struct guard *guard, int fd, uint64_t dev, uint64_t ino)
{
	(void)guard;
	(void)fd;
	(void)dev;
	(void)ino;
	return -EOPNOTSUPP;
}

static int no_rearm(struct guard *guard, uint64_t dev, uint64_t ino)
{
	return no_arm(guard, -1, dev, ino);
}

static bool leases_owes(struct guard *guard, uint32_t slot, uint64_t serial)
{
	struct leased *leased = find_slot(leases_of(guard), slot);

	(void)serial;
	if (!leased)
		return false;
	look(leases_of(guard), leased);
	return leased->state == GUARD_LEASE_BROKEN;
}

/* Nobody has the file open when it is leased. */
static unsigned nobody_passed(struct guard *guard, uint64_t dev, uint64_t ino,
			      struct guard_passed *list, unsigned max)
{
	(void)guard;
	(void)dev;
	(void)ino;
	(void)list;
	(void)max;
	return 0;
}

static void give_out(struct leases *g, struct leased *leased, struct guard_attempt *attempt)
{
	*attempt = leased->attempt;
	attempt->dev = leased->key.dev;
	attempt->ino = leased->key.ino;
	attempt->start = 0; /* a lease is given up as a whole */
	attempt->end = UINT64_MAX;
	attempt->slot = leased->slot;
	attempt->two_file = false;
	attempt->late = leased->late;
	leased->told = true;
	g->counts.attempts++;
}

static bool leases_next(struct guard *guard, struct guard_attempt *attempt)
{
	struct leases *g = leases_of(guard);
	uint64_t ticks;

	if (read(guard->event_fd, &ticks, sizeof(ticks)) == sizeof(ticks))
		g->scan = g->all;
	while (g->scan) {
		struct leased *leased = g->scan;

		g->scan = leased->hh.next;
		look(g, leased);
		if (leased->state == GUARD_LEASE_BROKEN && !leased->told) {
			give_out(g, leased, attempt);
			return true;
		}
	}
	return false;
}

static int leases_answer(struct guard *guard, uint32_t slot, int error)
{
	struct leased *leased = find_slot(leases_of(guard), slot);

	if (!leased || !leased->told)
		return -ENOENT;
	if (error == 0)
		give_up(leases_of(guard), leased, GUARD_LEASE_GIVEN);
	return 0;
}

static void nobody_exempt(struct guard *guard, int32_t pid, bool on)
{
	(void)guard;
	(void)pid;
	(void)on;
}

static void leases_counts(struct guard *guard, struct guard_counts *counts)
{
	*counts = leases_of(guard)->counts;
}

static const struct guard_ops ops = {
	.free = leases_free,
	.start = leases_start,
	.watch = no_watch,
	.unwatch = no_watch,
	.arm = no_arm,
	.disarm = no_arm,
	.rearm = no_rearm,
	.owes = leases_owes,
	.passed = nobody_passed,
	.next = leases_next,
	.answer = leases_answer,
	.exempt = nobody_exempt,
	.counts = leases_counts,
};

struct guard *guard_leases_new(bool allow_all)
{
	struct leases *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->allow_all = allow_all;
	g->guard = (struct guard){.ops = &ops,
				  .label = DLP_LABEL_KERNEL_LEASE,
				  .event_fd = timerfd_create(CLOCK_MONOTONIC,
							     TFD_NONBLOCK | TFD_CLOEXEC)};
	if (g->guard.event_fd >= 0)
		return &g->guard;
	free(g);
	return NULL;
}

/* --- descriptions ---------------------------------------------------------------------------- */

int guard_lease_arm(struct guard *guard, uint32_t id, int fd, uint64_t dev, uint64_t ino)
{
	struct leases *g = leases_of(guard);
	struct leased *leased = find(g, dev, ino);
	const enum guard_lease_on_it on = guard_lease_on(fd);

	if (on == GUARD_LEASE_ON_NONE)
		return -EAGAIN;
	if (!leased) {
		leased = calloc(1, sizeof(*leased));
		if (!leased)
			return -ENOMEM;
		leased->key.dev = dev;
		leased->key.ino = ino;
		HASH_ADD(hh, g->all, key, sizeof(leased->key), leased);
	}
	leased->fd = fd;
	leased->slot = GUARD_LEASE_SLOT | id;
	leased->told = false;
	leased->looks = leased->idle = leased->skip = 0;
	leased->reads = on == GUARD_LEASE_ON_READ && !may_write(fd);
	leased->late = false;
	become(g, leased, GUARD_LEASE_HELD);
	g->scan = g->all; /* whoever has broken it by now comes with the next next() */
	set_timer(g);
	return 0;
}

void guard_lease_disarm(struct guard *guard, uint64_t dev, uint64_t ino)
{
	struct leases *g = leases_of(guard);
	struct leased *leased = find(g, dev, ino);

	if (!leased)
		return;
	give_up(g, leased, GUARD_LEASE_NONE);
	if (g->scan == leased)
		g->scan = leased->hh.next;
	HASH_DEL(g->all, leased);
	free(leased);
	set_timer(g);
}

enum guard_lease_state guard_lease_look(struct guard *guard, uint64_t dev, uint64_t ino,
					struct guard_lease_reader *reader)
{
	struct leases *g = leases_of(guard);
	struct leased *leased = find(g, dev, ino);

	if (!leased)
		return GUARD_LEASE_NONE;
	look(g, leased);
	if (leased->state == GUARD_LEASE_BROKEN && !leased->told)
		g->scan = g->all;
	if (reader)
		*reader = leased->reader;
	return leased->state;
}

uint64_t guard_lease_changes(const struct guard *guard)
{
	return ((const struct leases *)guard)->changes;
}
