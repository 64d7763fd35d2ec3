/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sending datagrams of sd_notify(3)'s protocol to whoever runs us, without ever waiting for it: libsystemd's
 * sd_pid_notify_with_fds() blocks while the receiver's queue is full, and the loop must not.
 * What finds no room waits here, in order, with its descriptors duplicated. May include: libc.
 */
#ifndef DAXLEASE_NOTIFY_H
#define DAXLEASE_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#define NOTIFY_TEXT_MAX 512

struct notify_message;

struct notify {
	int fd;		  /* a connected datagram socket; -1: nobody runs us, or not any more */
	bool gone;	  /* it ran us, and is dead */
	unsigned dropped; /* messages that were queued and then could not be sent at all */
	STAILQ_HEAD(, notify_message) waiting;
};

/* Connects to $NOTIFY_SOCKET. 0, or with nothing to free: -ENOENT there is none; -EPROTONOSUPPORT its address is of
 * another kind than a path or an abstract name; -errno of socket(2) and connect(2). */
int notify_open(struct notify *notify);
void notify_close(struct notify *notify);

/* Sends, or queues, a text with at most 4 descriptors, which stay the caller's. 0, or -ENOMEM, -EMFILE: it had to be
 * queued and could not; -ENOTCONN: there is nobody (any more). */
int notify_send(struct notify *notify, const char *text, const int *fds, size_t count);

/* Whether something waits; then the loop calls notify_flush() when `fd` is writable. */
bool notify_waits(const struct notify *notify);
int notify_flush(struct notify *notify); /* 0; -ENOTCONN */

#endif
