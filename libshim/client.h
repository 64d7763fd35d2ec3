/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection to daxleased as its clients see it: the calls socket and the events socket. Shared
 * by libdaxlease and the shim (compiled into both, hidden). May include: libc, proto/. Never calls
 * malloc.
 *
 * The program may close our descriptors and get their numbers for something else. So each socket is
 * remembered by its inode and looked at (fstat) before every use; once it is not ours any more the
 * connection is dead.
 */
#ifndef DAXLEASE_CLIENT_H
#define DAXLEASE_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/proto.h"

struct client_socket {
	int fd; /* -1: none */
	dev_t dev;
	ino_t ino;
};

struct client {
	pthread_mutex_t lock; /* one request at a time: seq, buffer; held for a whole round trip */
	struct client_socket calls, events;
	uint32_t seq;
	atomic_bool dead; /* daemon gone, descriptors lost, or it does not keep to the protocol */
	pid_t pid;	  /* of the process that connected: it is not inherited */
	uint32_t mark;	  /* and its inherit_now(): a copy of it must not speak here */
	uint64_t session;
	uint64_t features; /* of the daemon: enum dlp_features */
	union dlp_buffer buffer; /* here and not on the stacks of the program's threads, which may
				    be small */
};

/*
 * path: of the daemon's socket. 0, or -errno of socket(2), connect(2); -EPROTONOSUPPORT: another
 * major version; -EPIPE: it hung up; -EPROTO: nonsense. On failure nothing is left open.
 */
int client_connect(struct client *client, const char *path, enum dlp_role role);
void client_close(struct client *client); /* closes only what is still ours */

/*
 * Sends a request (`fd`, or -1, travels with it) and waits for its reply, which is copied to
 * `reply` (reply_size: of the opcode's reply). Signals are blocked while the lock is held. 0: there
 * is a reply; its head.error is the daemon's answer. -EPIPE: the connection is dead.
 */
int client_request(struct client *client, struct dlp_head *request, size_t size, int fd,
		   void *reply, size_t reply_size);

/* Sends a one-way message, or (to_events) an answer on the events socket. Needs no lock: a packet
 * is sent whole. Waits if the socket's buffer is full: none is ever lost. 0 or -EPIPE. */
int client_tell(struct client *client, struct dlp_head *message, size_t size, int fd,
		bool to_events);

/* The next valid event into `buffer`. 1; 0: none now (wait false); -EPIPE. */
int client_event(struct client *client, union dlp_buffer *buffer, bool wait);

/* Whether the descriptors are still our sockets and the daemon is there, as far as is known. */
bool client_usable(struct client *client);

#endif
