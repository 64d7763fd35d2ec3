// SPDX-License-Identifier: LGPL-2.1-or-later
/* Sessions of a daemon that died, taken back (way 4 of design.md). */
#include <errno.h>
#include <poll.h>
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

int session_start_of(int32_t pid, uint64_t *start)
{
	unsigned long long ticks = 0;
	char path[32], text[1024], *at;
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	stat = fopen(path, "re");
	if (!stat)
		return errno == ENOENT ? -ESRCH : -errno;
	/* The name, in parentheses, may contain anything: what follows its last one counts. */
	text[fread(text, 1, sizeof(text) - 1, stat)] = 0;
	fclose(stat);
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, "%llu", &ticks) != 1)
		return -ESRCH; /* it went while it was read */
	*start = ticks;
	return 0;
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
		.memory = s->memory_slot == STORE_NO_SLOT ? 0 : s->memory_slot + 1,
		.calls_crashes = (uint16_t)(s->calls_trial.crashes + s->calls_trial.on),
		.events_crashes = (uint16_t)(s->events_trial.crashes + s->events_trial.on),
		.answer_size = s->answer_size,
	};

	if (!s->saved)
		return;
	memcpy(record.comm, s->comm, sizeof(record.comm));
	memcpy(record.answer, s->answer.bytes, s->answer_size);
	saved_put(s->daemon, SAVED_SESSION, s->saved, &record);
}

/* --- messages that a daemon dies on ----------------------------------------------------------------------- */

/* The one that the first died on comes again; so has the second, and the third has died, too. */
#define CRASHES_MAX 2

/* Of connections without a record one number stands for all. */
static struct trial *counted(struct session *s, struct trial *trial)
{
	return trial->newcomer ? &s->daemon->newcomers : trial;
}

static void trial_save(struct session *s, const struct trial *trial)
{
	if (trial->newcomer)
		saved_meta(s->daemon);
	else
		session_save(s);
}

bool trial_begin(struct session *s, struct trial *trial)
{
	struct trial *count = counted(s, trial);

	if (!trial->first)
		return true;
	if (count->crashes >= CRASHES_MAX && !sabotaged("no-trial"))
		return false;
	count->on = true;
	trial_save(s, trial);
	saved_commit(s->daemon);
	return true;
}

void trial_pause(struct session *s, struct trial *trial)
{
	struct trial *count = counted(s, trial);

	if (!trial->first || !count->on)
		return;
	count->on = false;
	trial_save(s, trial);
	saved_commit(s->daemon);
}

void trial_end(struct session *s, struct trial *trial)
{
	const struct trial was = *trial;

	if (!trial->first)
		return;
	*counted(s, trial) = (struct trial){0};
	trial_save(s, &was);
	*trial = (struct trial){0};
}

void trial_failed(struct session *s)
{
	log_error("pid %d (%s): the daemon has died %d times on the same message of it: hanging up "
		  "without reading "
		  "it. What it leases stands until somebody breaks it, and is taken from it from "
		  "outside then",
		  s->pid, s->comm, CRASHES_MAX + 1);
	s->mrs_unknown = true; /* what is not read may tell of one */
	session_save(s);
	if (s->calls_trial.newcomer) { /* the others are tried again, one by one */
		s->daemon->newcomers = (struct trial){0};
		saved_meta(s->daemon);
	}
	session_close_channels(s);
	holder_hung_up(s);
}

/* --- taking back ------------------------------------------------------------------------------------------ */

/* Its pidfd if that process still lives, -1 if it is gone. 0, or -errno: it cannot be told. */
static int find_process(const struct saved_session *record, int *pidfd)
{
	uint64_t start = 0;
	int rc;

	*pidfd = (int)syscall(SYS_pidfd_open, record->pid, 0);
	if (*pidfd < 0)
		return errno == ESRCH ? 0 : -errno;
	/* Looked at behind the opening: so the pidfd is of the process whose start that was. */
	rc = session_start_of(record->pid, &start);
	if (rc == 0 && start == record->start_ticks)
		return 0;
	close(*pidfd);
	*pidfd = -1;
	return rc == -ESRCH ? 0 : rc;
}

struct channels {
	int calls, events; /* -1 */
	int memory;	   /* by its own slot */
};

static bool is_of(const struct saved_session *record, int calls)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return calls >= 0 && getsockopt(calls, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       peer.pid == record->pid;
}

/* The channels in the session's place. Another client's may be there: who hung up before the last commit had left it. */
static struct channels channels_of(const struct saved_session *record, struct channels *channels)
{
	struct channels none = {-1, -1, -1}, found;

	if (record->slot >= STORE_SLOTS || !is_of(record, channels[record->slot].calls))
		return none;
	found = channels[record->slot];
	channels[record->slot].calls = channels[record->slot].events = -1;
	return found;
}

/* The daemon before us died before it answered HELLO, though something has committed the record by then: the answer's
 * descriptor, the other end of the events channel, went with it. Nothing was promised to it yet. */
static bool is_not_greeted(const struct saved_session *record, const struct channels *channels)
{
	const struct channels *c = record->slot < STORE_SLOTS ? &channels[record->slot] : NULL;
	struct pollfd p = {.fd = c ? c->events : -1};
	struct dlp_head first;

	if (!c || !is_of(record, c->calls))
		return false;
	if (c->events >= 0 && (poll(&p, 1, 0) < 0 || !(p.revents & (POLLHUP | POLLERR))))
		return false;
	/* (Descriptors that came with it are not taken.) */
	return recv(c->calls, &first, sizeof(first), MSG_PEEK | MSG_DONTWAIT) == sizeof(first) &&
	       first.opcode == DLP_HELLO;
}

static int take_back(struct daemon *d, const struct saved_session *record, uint32_t index,
		     struct channels *all)
{
	const struct channels channels = channels_of(record, all);
	struct session *s = session_make(d, record->id, channels.calls,
					 channels.calls < 0 ? STORE_NO_SLOT : record->slot);
	int rc;

	if (!s)
		return -ENOMEM;
	s->saved = index;
	s->returned = true;
	s->events_fd = channels.events;
	if (record->memory && record->memory <= STORE_SLOTS) {
		s->memory_slot = record->memory - 1;
		s->memory_fd = all[s->memory_slot].memory;
		all[s->memory_slot].memory = -1;
		s->memory_lost = s->memory_fd < 0 || sabotaged("memory-lost");
	}
	s->role = record->role;
	s->pid = record->pid;
	s->uid = record->uid;
	s->start_ticks = record->start_ticks;
	s->mrs_unknown = record->mrs_unknown;
	s->calls_trial = (struct trial){.first = true, .crashes = record->calls_crashes};
	s->events_trial = (struct trial){.first = true, .crashes = record->events_crashes};
	if (record->answer_size <= sizeof(s->answer))
		s->answer_size = record->answer_size;
	memcpy(s->answer.bytes, record->answer, s->answer_size);
	memcpy(s->comm, record->comm, sizeof(s->comm));
	s->comm[sizeof(s->comm) - 1] = 0;
	s->may_admin = s->calls_fd >= 0 && session_is_admin(s);
	s->user = user_get(d, s->uid);
	if (!s->user)
		return -ENOMEM;
	user_take_back(d, s->user, USER_SESSIONS, 1);
	user_take_back(d, s->user, USER_DESCRIPTORS, SESSION_DESCRIPTORS);
	rc = find_process(record, &s->pidfd);
	return rc < 0 ? rc : session_listen(s);
}

/* All of a kind that were handed back, by slot. */
static void collect(struct daemon *d, struct channels *channels)
{
	uint32_t slot;
	int fd;

	for (slot = 0; slot < STORE_SLOTS; slot++)
		channels[slot] = (struct channels){-1, -1, -1};
	while ((fd = store_take(d->store, STORE_CALLS, &slot)) >= 0)
		channels[slot].calls = fd;
	while ((fd = store_take(d->store, STORE_EVENTS, &slot)) >= 0)
		channels[slot].events = fd;
	while ((fd = store_take(d->store, STORE_MEMORY, &slot)) >= 0)
		channels[slot].memory = fd;
}

/* Connections without a record: accepted, and nothing promised to them yet. */
static void greet_others(struct daemon *d, struct channels *channels)
{
	for (uint32_t slot = 0; slot < STORE_SLOTS; slot++) {
		struct channels *c = &channels[slot];

		if (c->events >= 0)
			store_drop(d->store, STORE_EVENTS, slot, c->events, 0);
		if (c->memory >= 0)
			store_drop(d->store, STORE_MEMORY, slot, c->memory, 0);
		if (c->calls >= 0 && session_new(d, c->calls, slot) < 0)
			store_remove(d->store, STORE_CALLS, slot);
	}
	for (struct session *s = d->sessions; s; s = s->hh.next) {
		s->calls_trial.first = true;
		s->calls_trial.newcomer = !s->saved;
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
		if (record->id > d->next_session)
			d->next_session = record->id;
		if (is_not_greeted(record, channels))
			saved_give(d, SAVED_SESSION, cursor); /* greet_others() */
		else
			rc = take_back(d, record, cursor, channels);
	}
	if (rc == 0)
		greet_others(d, channels);
	free(channels);
	return rc;
}

/* What is decided meanwhile is carried out behind it: one that is dead is not fenced, and what was said while nobody listened comes
 * before anybody is asked again. */
void sessions_resume(struct daemon *d)
{
	struct session *s, *next;

	d->running_effects = true;
	HASH_ITER(hh, d->sessions, s, next)
	{
		if (s->pidfd < 0)
			holder_died(s);
	}
	HASH_ITER(hh, d->sessions, s, next)
	{
		if (s->state == SESSION_LIVE && s->events_fd >= 0)
			events_ready(s->events_fd, 0, s);
	}
	HASH_ITER(hh, d->sessions, s, next)
	{
		if (s->state == SESSION_LIVE && s->role && (s->calls_fd < 0 || s->events_fd < 0))
			holder_hung_up(s);
	}
	HASH_ITER(hh, d->sessions, s, next)
	{
		if (s->state != SESSION_DEAD && core_session_fenced(d->core, s->id))
			holder_fence(s);
	}
	d->running_effects = false;
}
