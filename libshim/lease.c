// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * daxlease.h: a lease is a reference on a range of the connection's coverage, and a place for the
 * events that concern it. One wire event may concern several leases: it is handed out once for
 * each.
 */
#include "libshim/daxlease.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libshim/client.h"
#include "libshim/coverage.h"

#define EXPORT __attribute__((visibility("default")))

struct daxlease_held {
	struct daxlease *connection;
	struct daxlease_held *next;
	uint64_t dev, ino, start, end;
	uint64_t epoch; /* of its grant: older events are about an earlier lease */
	enum daxlease_state state;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; UINT64_MAX while held */
	bool told;	      /* `event` waits to be handed out */
	struct daxlease_event event;
};

struct daxlease {
	struct client client;
	struct coverage coverage;
	pthread_mutex_t lock; /* of the list and what hangs on it; before coverage's */
	struct daxlease_held *leases;
	union dlp_buffer buffer; /* of the event being read, under lock */
};

static __thread char last_reason[320];

/* A child inherits the memory, but no lease (C26 is the shim's affair). */
static bool stale(const struct daxlease *connection)
{
	return connection->client.pid != getpid();
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

EXPORT int daxlease_open(const char *socket, struct daxlease **connection)
{
	struct daxlease *fresh;
	int error;

	if (!connection)
		return -EINVAL;
	*connection = NULL;
	if (!socket)
		socket = getenv("DAXLEASE_SOCKET");
	if (!socket || !*socket)
		socket = DLP_SOCKET_DEFAULT;
	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;
	pthread_mutex_init(&fresh->lock, NULL);
	error = client_connect(&fresh->client, socket, DLP_ROLE_HOLDER);
	if (error < 0) {
		free(fresh);
		return error;
	}
	coverage_init(&fresh->coverage, &fresh->client);
	*connection = fresh;
	return 0;
}

EXPORT void daxlease_close(struct daxlease *connection)
{
	if (!connection)
		return;
	/* the daemon ends what a connection held only when its process is gone, so it is given back
	 * in words */
	while (connection->leases)
		daxlease_release(connection->leases);
	client_close(&connection->client);
	arena_destroy(&connection->coverage.arena);
	free(connection);
}

static void set_reason(const struct dlp_grant_reply *reply)
{
	/* these point at a place in the file */
	bool placed = reply->reason == DLP_REASON_HOLE || reply->reason == DLP_REASON_UNWRITTEN ||
		      reply->reason == DLP_REASON_BEYOND_EOF ||
		      reply->reason == DLP_REASON_INLINE || reply->reason == DLP_REASON_SHARED;

	if (placed)
		snprintf(last_reason, sizeof(last_reason), "%s, at offset %llu",
			 dlp_reason_text(reply->reason), (unsigned long long)reply->offset);
	else
		snprintf(last_reason, sizeof(last_reason), "%s", dlp_reason_text(reply->reason));
}

static int take(struct daxlease *connection, struct daxlease_held *lease, int fd, uint32_t flags)
{
	struct dlp_grant_reply reply = {0};
	struct coverage_take taking;
	int error;

	error = coverage_begin(&connection->coverage, &taking, lease->dev, lease->ino, lease->start,
			       lease->end, flags);
	if (error < 0)
		return error;
	/* Asked for even if another lease of ours is counted there: it may have been revoked since,
	 * which its holder may not have read yet (C16). */
	error = coverage_ask(&connection->coverage, &taking, fd, &reply, NULL, NULL);
	coverage_end(&connection->coverage, &taking, error == 0);
	if (error == 0) {
		pthread_mutex_lock(&connection->lock);
		lease->epoch = taking.epoch;
		pthread_mutex_unlock(&connection->lock);
	}
	if (error < 0 && reply.reason)
		set_reason(&reply);
	else if (error == -EPIPE)
		snprintf(last_reason, sizeof(last_reason), "the connection to the daemon is lost");
	return error;
}

static void unlink_lease(struct daxlease_held *lease)
{
	struct daxlease_held **link = &lease->connection->leases;

	while (*link != lease)
		link = &(*link)->next;
	*link = lease->next;
}

EXPORT int daxlease_take(struct daxlease *connection, int fd, uint64_t offset, uint64_t length,
			 unsigned flags, struct daxlease_held **lease)
{
	struct daxlease_held *fresh;
	uint32_t wire = 0;
	struct stat st;
	int error;

	last_reason[0] = '\0';
	if (!connection || !lease || (flags & ~(unsigned)(DAXLEASE_WRITE | DAXLEASE_FREEZE)))
		return -EINVAL;
	*lease = NULL;
	if (stale(connection))
		return -ESTALE;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (length == 0 && st.st_size > 0 && offset < (uint64_t)st.st_size)
		length = (uint64_t)st.st_size - offset;
	if (length == 0 || offset > INT64_MAX || length > INT64_MAX - offset)
		return -EINVAL;
	if (flags & DAXLEASE_WRITE)
		wire |= DLP_GRANT_WRITE;
	if (flags & DAXLEASE_FREEZE)
		wire |= DLP_GRANT_FREEZE;

	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;
	fresh->connection = connection;
	fresh->dev = st.st_dev;
	fresh->ino = st.st_ino;
	fresh->start = offset;
	fresh->end = offset + length;
	fresh->state = DAXLEASE_HELD;
	fresh->deadline_ns = UINT64_MAX;

	/* in the list before it is asked for: an event that overtakes the reply finds it */
	pthread_mutex_lock(&connection->lock);
	fresh->next = connection->leases;
	connection->leases = fresh;
	pthread_mutex_unlock(&connection->lock);

	error = take(connection, fresh, fd, wire);
	if (error < 0) {
		pthread_mutex_lock(&connection->lock);
		unlink_lease(fresh);
		pthread_mutex_unlock(&connection->lock);
		free(fresh);
		return error;
	}
	*lease = fresh;
	return 0;
}

EXPORT const char *daxlease_reason(void)
{
	return last_reason;
}

EXPORT void daxlease_release(struct daxlease_held *lease)
{
	struct daxlease *connection;

	if (!lease)
		return;
	connection = lease->connection;
	pthread_mutex_lock(&connection->lock);
	unlink_lease(lease);
	pthread_mutex_unlock(&connection->lock);
	if (!stale(connection))
		coverage_drop(&connection->coverage, lease->dev, lease->ino, lease->start,
			      lease->end);
	free(lease);
}

/* --- events ---------------------------------------------------------------------------------- */

static void tell_lease(struct daxlease_held *lease, const struct dlp_ev_break *wire)
{
	uint64_t start = coverage_floor(lease->start), end = coverage_ceil(lease->end);
	struct daxlease_event *event = &lease->event;

	if (lease->dev != wire->dev || lease->ino != wire->ino || wire->end <= start ||
	    end <= wire->start || lease->epoch > wire->epoch)
		return;
	start = wire->start > start ? wire->start : start;
	end = wire->end < end ? wire->end : end;
	/* a notice nobody has taken yet and its revocation become one event */
	if (lease->told) {
		uint64_t before_end = event->offset + event->length;

		start = event->offset < start ? event->offset : start;
		end = before_end > end ? before_end : end;
	}
	if (wire->head.opcode != DLP_EV_BREAK)
		lease->state = DAXLEASE_REVOKED;
	else if (lease->state == DAXLEASE_HELD)
		lease->state = DAXLEASE_BREAKING;
	lease->deadline_ns = now_ns() + wire->left_ns;
	lease->told = true;
	*event = (struct daxlease_event){
		.lease = lease,
		.state = lease->state,
		.offset = start,
		.length = end - start,
		.pid = wire->pid,
		.uid = wire->uid,
		.cause = dlp_cause_text(wire->cause),
	};
	memcpy(event->comm, wire->comm, sizeof(event->comm));
}

/* Reads what the daemon has said, without waiting. Called with the lock held. */
static int pump(struct daxlease *connection)
{
	int more;

	while ((more = client_event(&connection->client, &connection->buffer, false)) > 0) {
		struct dlp_ev_break wire;

		if (connection->buffer.head.opcode != DLP_EV_BREAK &&
		    connection->buffer.head.opcode != DLP_EV_REVOKE &&
		    connection->buffer.head.opcode != DLP_EV_DROP)
			continue;
		memcpy(&wire, connection->buffer.bytes, sizeof(wire));
		for (struct daxlease_held *lease = connection->leases; lease; lease = lease->next)
			tell_lease(lease, &wire);
	}
	return more;
}

/* Saturates at 0. */
static uint64_t left(const struct daxlease_held *lease)
{
	uint64_t now = now_ns();

	if (lease->deadline_ns == UINT64_MAX)
		return UINT64_MAX;
	return lease->deadline_ns > now ? lease->deadline_ns - now : 0;
}

/* What the daemon says now, if it is worse than what its events have said so far. Events are not
 * read here: a program that polls for them would never learn of them. */
static void ask_state(struct daxlease_held *lease)
{
	struct dlp_range query = {
		.head.opcode = DLP_QUERY,
		.dev = lease->dev,
		.ino = lease->ino,
		.start = coverage_floor(lease->start),
		.end = coverage_ceil(lease->end),
	};
	struct dlp_query_reply reply;
	enum daxlease_state state = DAXLEASE_HELD;

	if (client_request(&lease->connection->client, &query.head, sizeof(query), -1, &reply,
			   sizeof(reply)) < 0 ||
	    reply.head.error)
		return;
	if (reply.state == DLP_LEASE_BREAKING)
		state = DAXLEASE_BREAKING;
	else if (reply.state != DLP_LEASE_HELD)
		state = DAXLEASE_REVOKED;
	if (state > lease->state) {
		lease->state = state;
		lease->deadline_ns = now_ns() + reply.left_ns;
	}
}

EXPORT int daxlease_query(struct daxlease_held *lease, uint64_t *left_ns)
{
	struct daxlease *connection;
	int state;

	if (!lease)
		return -EINVAL;
	connection = lease->connection;
	if (stale(connection))
		return -ESTALE;
	pthread_mutex_lock(&connection->lock);
	if (lease->state != DAXLEASE_REVOKED)
		ask_state(lease);
	state = (int)lease->state;
	if (left_ns)
		*left_ns = left(lease);
	pthread_mutex_unlock(&connection->lock);
	return state;
}

EXPORT int daxlease_fd(const struct daxlease *connection)
{
	return stale(connection) ? -ESTALE : connection->client.events.fd;
}

EXPORT int daxlease_next_event(struct daxlease *connection, struct daxlease_event *event)
{
	int error, found = 0;

	if (!connection || !event)
		return -EINVAL;
	if (stale(connection))
		return -ESTALE;
	pthread_mutex_lock(&connection->lock);
	error = pump(connection);
	for (struct daxlease_held *lease = connection->leases; lease; lease = lease->next) {
		if (!lease->told)
			continue;
		lease->told = false;
		*event = lease->event;
		event->left_ns = left(lease);
		found = 1;
		break;
	}
	pthread_mutex_unlock(&connection->lock);
	return found ? found : error;
}
