/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon, as an administrator's tool sees it. Every function says what went wrong on stderr. */
#ifndef DAXLEASE_CTL_CONNECTION_H
#define DAXLEASE_CTL_CONNECTION_H

#include <stddef.h>
#include <stdint.h>

#include "proto/proto.h"

struct connection {
	const char *socket; /* its path, for messages */
	int calls;
	int events;
	uint32_t role;	/* enum dlp_role, as the daemon admitted us */
	uint32_t seq;	/* of the last request */
	uint16_t minor; /* version of the protocol that the daemon speaks */
};

#define CONNECTION_CLOSED                                                                          \
	{                                                                                          \
		.calls = -1, .events = -1                                                          \
	}

/*
 * Connects with a role. 0, or -errno (told). connection_open_any: as administrator, or where that
 * is not permitted as viewer, who sees less.
 */
int connection_open(struct connection *connection, const char *socket, enum dlp_role role);
int connection_open_any(struct connection *connection, const char *socket);
void connection_close(struct connection *connection); /* for __attribute__((cleanup)) */

/*
 * Sends a request of `size` bytes, with `fd` or -1, and waits for its reply, which must have
 * `reply_size` bytes. 0, a positive errno the daemon answered (not told: the caller knows what it
 * means), or -errno (told).
 */
int connection_call(struct connection *connection, struct dlp_head *request, size_t size, int fd,
		    void *reply, size_t reply_size);

/* Waits until the break `id` has ended: 0 or the positive errno it ended with, -EINTR on SIGINT
 * or SIGTERM (not told), or -errno (told). */
int connection_wait_done(struct connection *connection, uint64_t id);

/* The next lease behind *cursor, which it advances: 1; 0: no more; or -errno (told). */
int connection_next_lease(struct connection *connection, uint64_t *cursor,
			  struct dlp_list_reply *lease);

/* The next breaker that waits, as connection_next_lease(). */
int connection_next_waiting(struct connection *connection, uint64_t *cursor,
			    struct dlp_waiting_reply *waiting);

/* Waits for the next event. 0 or -errno (told). */
int connection_next_event(struct connection *connection, union dlp_buffer *buffer);

#endif
