// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What happened: counted for statistics, and told to administrators who watch. Counters are plain numbers in one struct
 * (struct counters), a pool's are found again by its name.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "daemon/daemon.h"

#define WATCH_ROOM (1 << 20) /* bytes: some hundred happenings until a watcher loses some */

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%.*s", (int)strnlen(from, size - 1), from);
}

static uint64_t realtime_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* --- counting ----------------------------------------------------------------------------------------- */

static unsigned find_place(const struct daemon *d, const char *name)
{
	for (unsigned i = 1; i < COUNTERS_POOLS; i++) {
		if (!*d->counters.pools[i].name || strcmp(d->counters.pools[i].name, name) == 0)
			return i;
	}
	return 0;
}

struct dlp_pool_counters *pool_counters(struct daemon *d, struct pool *pool)
{
	unsigned place = 0;

	if (pool && !pool->counted)
		pool->counted = find_place(d, pool->config->name);
	if (pool)
		place = pool->counted;
	if (place && !*d->counters.pools[place].name)
		copy(d->counters.pools[place].name, DLP_NAME_SIZE, pool->config->name);
	return &d->counters.pools[place].counters;
}

static void count_time(struct dlp_histogram *histogram, uint64_t ns)
{
	unsigned bucket = 0;

	while (dlp_bucket_ns(bucket) < ns)
		bucket++;
	histogram->buckets[bucket]++;
	histogram->sum_ns += ns;
}

static void count_break(struct dlp_pool_counters *c, const struct happening *h,
			enum dlp_outcome outcome)
{
	c->breaks[h->cause < DLP_STATS_CAUSES ? h->cause : DLP_CAUSE_UNKNOWN][outcome]++;
	count_time(&c->wait_time, h->duration_ns);
}

static void count(struct daemon *d, struct dlp_pool_counters *c, const struct happening *h)
{
	switch (h->kind) {
	case DLP_HAPPENED_GRANTED:
		c->granted++;
		count_time(&c->grant_time, h->duration_ns);
		return;
	case DLP_HAPPENED_REFUSED:
		c->refused[h->detail < DLP_STATS_REASONS ? h->detail : 0]++;
		return;
	case DLP_HAPPENED_BREAKING:
		c->told++;
		return;
	case DLP_HAPPENED_REVOKING:
		c->revoked++;
		return;
	case DLP_HAPPENED_DROPPING:
		c->dropped++;
		return;
	case DLP_HAPPENED_FENCING:
		d->counters.daemon.fences[h->detail < DLP_STATS_STEPS ? h->detail : 0]++;
		return;
	case DLP_HAPPENED_WENT_ON:
		count_break(c, h, DLP_OUTCOME_WENT_ON);
		return;
	case DLP_HAPPENED_BREAKER_REFUSED:
		count_break(c, h, DLP_OUTCOME_REFUSED);
		return;
	case DLP_HAPPENED_BREAKER_GONE:
		count_break(c, h, DLP_OUTCOME_GONE);
		return;
	case DLP_HAPPENED_RELEASED:
	case DLP_HAPPENED_REVOKED:
	case DLP_HAPPENED_ENDED:
	case DLP_HAPPENED_WAITING:
	case DLP_HAPPENED_POOL:
	case DLP_HAPPENINGS:
		return;
	}
}

/* --- telling ------------------------------------------------------------------------------------------ */

static void describe(struct dlp_ev_watch *event, const struct happening *h, const struct pool *pool)
{
	const char *path = h->file ? file_path(h->file, event->path) : h->path;

	event->head.opcode = DLP_EV_WATCH;
	event->time_ns = realtime_ns();
	event->dev = h->dev;
	event->ino = h->ino;
	event->start = h->start;
	event->end = h->end;
	event->offset = h->offset;
	event->duration_ns = h->duration_ns;
	event->kind = h->kind;
	event->detail = h->detail;
	event->cause = h->cause;
	event->breaker_pid = h->breaker_pid;
	event->breaker_tid = h->breaker_tid;
	event->breaker_uid = h->breaker_uid;
	if (h->holder) {
		event->pid = h->holder->pid;
		event->uid = h->holder->uid;
		copy(event->comm, sizeof(event->comm), h->holder->comm);
	}
	if (h->breaker_comm)
		copy(event->breaker_comm, sizeof(event->breaker_comm), h->breaker_comm);
	if (pool)
		copy(event->pool, sizeof(event->pool), pool->config->name);
	if (path && path != event->path)
		copy(event->path, sizeof(event->path), path);
}

static void tell_watchers(struct daemon *d, const struct happening *h, const struct pool *pool)
{
	struct dlp_ev_watch event = {0};
	struct session *s;

	describe(&event, h, pool);
	LIST_FOREACH (s, &d->watchers, watch_entry) {
		event.lost = s->watch_lost;
		s->watch_lost = session_event(s, &event.head, sizeof(event)) == 0
					? 0
					: s->watch_lost + 1;
	}
}

void happened(struct daemon *d, const struct happening *h)
{
	/* Pools are d's own, whoever passes them on as const. */
	const struct pool *pool = h->pool ? h->pool : h->file ? h->file->pool : NULL;

	count(d, pool_counters(d, pool ? &d->pools[pool - d->pools] : NULL), h);
	if (!LIST_EMPTY(&d->watchers))
		tell_watchers(d, h, pool);
}

void report_effect(struct daemon *d, enum dlp_happening kind, const struct core_effect *e,
		   const struct session *holder, uint64_t duration_ns)
{
	happened(d, &(struct happening){
			    .kind = kind,
			    .cause = e->cause,
			    .holder = holder,
			    .file = file_lookup(d, e->dev, e->ino),
			    .dev = e->dev,
			    .ino = e->ino,
			    .start = e->start,
			    .end = e->end,
			    .duration_ns = duration_ns,
			    .breaker_pid = e->tgid,
			    .breaker_tid = e->tid,
			    .breaker_uid = e->uid,
			    .breaker_comm = e->comm,
		    });
}

void report_waiting(struct daemon *d, const struct core_op_in *in)
{
	happened(d, &(struct happening){
			    .kind = DLP_HAPPENED_WAITING,
			    .cause = in->cause,
			    .file = file_lookup(d, in->dev, in->ino),
			    .dev = in->dev,
			    .ino = in->ino,
			    .start = in->start,
			    .end = in->end,
			    .breaker_pid = in->tgid,
			    .breaker_tid = in->tid,
			    .breaker_uid = in->uid,
			    .breaker_comm = in->comm,
		    });
}

void report_watch(struct session *s, const struct dlp_head *m)
{
	struct dlp_watch_reply reply = {0};
	int room = WATCH_ROOM;

	if (!s->watching) {
		/* Where that is not permitted it has the usual room, and loses more. */
		if (s->events_fd >= 0)
			setsockopt(s->events_fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
		LIST_INSERT_HEAD(&s->daemon->watchers, s, watch_entry);
		s->watching = true;
	}
	session_reply(s, m, &reply.head, sizeof(reply), -1, 0);
}

void report_unwatch(struct session *s)
{
	if (s->watching)
		LIST_REMOVE(s, watch_entry);
	s->watching = false;
}

/* --- statistics --------------------------------------------------------------------------------------- */

void report_stats(struct session *s, const struct dlp_head *m)
{
	struct daemon *d = s->daemon;
	struct guard_counts guard = {0};
	struct dlp_stats_reply reply = {
		.uptime_ns = now_ns() - d->started_ns,
		.restarts = d->restarts,
		.pools = d->pools_count,
		.sessions = HASH_COUNT(d->sessions),
		.guard = DLP_GUARD_NONE,
		.counters = d->counters.daemon,
	};

	if (d->guard) {
		d->guard->ops->counts(d->guard, &guard);
		reply.guard = guard.paused ? DLP_GUARD_PAUSED : DLP_GUARD_ON;
	}
	reply.guard_descriptors = guard.held;
	reply.events = guard.events;
	reply.stopped = guard.attempts;
	reply.harmless = guard.harmless;
	reply.killed = guard.dead;
	reply.lost = guard.overflows;
	reply.errors = guard.errors + guard.unopened;
	session_reply(s, m, &reply.head, sizeof(reply), -1, 0);
}

/* Linear in all that wait, which anybody can bring about and ask for: not too often. */
static void look_at_waiting(struct daemon *d, struct pool *pool, bool at_once)
{
	struct core_op_view op;
	uint64_t now = now_ns(), lease;
	uint32_t cursor = 0;

	if (!at_once && pool->waiting_ns && now - pool->waiting_ns < NS_PER_S)
		return;
	pool->waiting_ns = now;
	pool->waiting = pool->longest_wait_ns = 0;
	while (core_list_waiting(d->core, &cursor, &op, &lease)) {
		if (!pool_has(pool, op.in.dev, op.in.ino))
			continue;
		pool->waiting++;
		if (now - op.since_ns > pool->longest_wait_ns)
			pool->longest_wait_ns = now - op.since_ns;
	}
}

void report_pool_stats(struct session *s, const struct dlp_pool *m)
{
	struct daemon *d = s->daemon;
	struct dlp_pool_stats_reply reply = {.pools = d->pools_count};
	struct pool *pool = m->index < d->pools_count ? &d->pools[m->index] : NULL;

	if (m->index > d->pools_count) {
		session_reply(s, &m->head, &reply.head, sizeof(reply), -1, ENOENT);
		return;
	}
	reply.counters = *pool_counters(d, pool);
	if (pool) {
		look_at_waiting(d, pool, s->may_admin);
		reply.state = pool->state;
		reply.leases = admin_leases_of(s, pool);
		reply.waiting = pool->waiting;
		reply.longest_wait_ns = pool->longest_wait_ns;
		if (pool->ready_ns)
			reply.ready_ns = realtime_ns() - (now_ns() - pool->ready_ns);
		copy(reply.name, sizeof(reply.name), pool->config->name);
	}
	session_reply(s, &m->head, &reply.head, sizeof(reply), -1, 0);
}
