// SPDX-License-Identifier: LGPL-2.1-or-later
/* Sessions of a daemon that died, taken back (way 4 of design.md). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/saved.h"
#include "daemon/store.h"

/* When the process was started, in ticks: with its number it names it. 0: it is gone. */
static uint64_t start_of(int32_t pid)
{
	unsigned long long ticks = 0;
	char path[32], text[1024], *at;
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	stat = fopen(path, "re");
	if (!stat)
		return 0;
	/* The name, in parentheses, may contain anything: what follows its last one counts. */
	text[fread(text, 1, sizeof(text) - 1, stat)] = 0;
	fclose(stat);
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, "%llu", &ticks) != 1)
		return 0;
	return ticks;
}

void session_save(struct session *s)
{
	struct saved_session record = {
		.start_ticks = s->start_ticks,
		.pid = s->pid,
		.id = s->id,
		.role = s->role,
		.uid = s->uid,
		.mrs_unknown = s->mrs_unknown,
		.slot = s->slot,
	};

	if (!s->saved)
		return;
	if (!s->start_ticks)
		record.start_ticks = s->start_ticks = start_of(s->pid);
	memcpy(record.comm, s->comm, sizeof(record.comm));
	saved_put(s->daemon, SAVED_SESSION, s->saved, &record);
}

/* Its pidfd, if that process still lives; -1: it is gone. */
static int pidfd_of(const struct saved_session *record)
{
	int pidfd = (int)syscall(SYS_pidfd_open, record->pid, 0);

	/* Looked at behind the opening: so the pidfd is of the process whose start that was. */
	if (pidfd >= 0 && start_of(record->pid) != record->start_ticks) {
		close(pidfd);
		pidfd = -1;
	}
	return pidfd;
}

struct channels {
	int calls, events; /* -1 */
};

/* The channels in the session's place. Another client's may be there: who hung up before the last commit had left it. */
static struct channels channels_of(const struct saved_session *record, struct channels *channels)
{
	struct channels none = {-1, -1}, found;
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (record->slot >= STORE_SLOTS || channels[record->slot].calls < 0 ||
	    getsockopt(channels[record->slot].calls, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
	    peer.pid != record->pid)
		return none;
	found = channels[record->slot];
	channels[record->slot] = none;
	return found;
}

static int take_back(struct daemon *d, const struct saved_session *record, uint32_t index,
		     struct channels *all)
{
	const struct channels channels = channels_of(record, all);
	struct session *s = session_make(d, record->id, channels.calls,
					 channels.calls < 0 ? STORE_NO_SLOT : record->slot);

	if (!s)
		return -ENOMEM;
	s->saved = index;
	s->events_fd = channels.events;
	s->role = record->role;
	s->pid = record->pid;
	s->uid = record->uid;
	s->start_ticks = record->start_ticks;
	s->mrs_unknown = record->mrs_unknown;
	memcpy(s->comm, record->comm, sizeof(s->comm));
	s->comm[sizeof(s->comm) - 1] = 0;
	s->may_admin = s->calls_fd >= 0 && session_is_admin(s);
	s->user = user_get(d, s->uid);
	if (!s->user)
		return -ENOMEM;
	user_take_back(d, s->user, USER_SESSIONS, 1);
	user_take_back(d, s->user, USER_DESCRIPTORS, SESSION_DESCRIPTORS);
	s->pidfd = pidfd_of(record);
	return session_listen(s);
}

/* All of a kind that were handed back, by slot. */
static void collect(struct daemon *d, struct channels *channels)
{
	uint32_t slot;
	int fd;

	for (slot = 0; slot < STORE_SLOTS; slot++)
		channels[slot] = (struct channels){-1, -1};
	while ((fd = store_take(d->store, STORE_CALLS, &slot)) >= 0)
		channels[slot].calls = fd;
	while ((fd = store_take(d->store, STORE_EVENTS, &slot)) >= 0)
		channels[slot].events = fd;
}

/* Connections without a record: accepted, and nothing promised to them yet. */
static void greet_others(struct daemon *d, struct channels *channels)
{
	for (uint32_t slot = 0; slot < STORE_SLOTS; slot++) {
		struct channels *c = &channels[slot];

		if (c->events >= 0)
			store_drop(d->store, STORE_EVENTS, slot, c->events, 0);
		if (c->calls >= 0 && session_new(d, c->calls, slot) < 0)
			store_remove(d->store, STORE_CALLS, slot);
	}
}

int sessions_restore(struct daemon *d)
{
	struct channels *channels = malloc(STORE_SLOTS * sizeof(*channels));
	const struct saved_session *record;
	uint32_t cursor = 0;
	int rc = channels ? 0 : -ENOMEM;

	if (channels)
		collect(d, channels);
	while (rc == 0 && (record = saved_next(d, SAVED_SESSION, &cursor))) {
		rc = take_back(d, record, cursor, channels);
		if (record->id > d->next_session)
			d->next_session = record->id;
	}
	if (rc == 0)
		greet_others(d, channels);
	free(channels);
	return rc;
}

/* What it said while nobody listened comes first: it may have let go, or reported an MR. */
void sessions_resume(struct daemon *d)
{
	struct session *s, *next;

	HASH_ITER(hh, d->sessions, s, next)
	{
		if (s->events_fd >= 0)
			events_ready(s->events_fd, 0, s);
	}
	HASH_ITER(hh, d->sessions, s, next)
	{
		if (s->state != SESSION_LIVE || !s->role)
			continue;
		if (s->pidfd < 0)
			holder_died(s);
		else if (s->calls_fd < 0 || s->events_fd < 0)
			holder_hung_up(s);
	}
	HASH_ITER(hh, d->sessions, s, next)
	{
		if (s->state != SESSION_DEAD && core_session_fenced(d->core, s->id))
			holder_fence(s);
	}
}
