/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libdaxlease: leases on the block map of files, for programs that know about them. daxlease(7) has
 * the contract; C-numbers below refer to it.
 *
 * A lease is a right to rely on the blocks of a byte range of a file. Whoever wants to change them
 * waits while the holder is told (daxlease_next_event) and has the lease-break time to let go
 * (daxlease_release). A holder that has neither released nor answered by the deadline plus the
 * daemon's revoke margin is killed, except for leases taken with DAXLEASE_FREEZE. So a thread that
 * truncates or punches its own process's leased range releases the lease first, or another thread
 * must be reading events: its own operation waits like anybody's until the lease is released (C12).
 *
 * All functions may be called from every thread; none from a signal handler. They return 0 (or a
 * descriptor, or a count) or a negative errno; errno itself is not touched.
 */
#ifndef DAXLEASE_H
#define DAXLEASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct daxlease;      /* a connection to the daemon: one holder */
struct daxlease_held; /* one lease */

enum daxlease_flags {
	/* the holder will write through a mapping: needs a descriptor open for writing */
	DAXLEASE_WRITE = 1 << 0,
	/* no mapping and no MR depends on it (C6): ends by itself at the deadline */
	DAXLEASE_FREEZE = 1 << 1,
};

/*
 * Connects to the daemon. `socket`: its path, or NULL for $DAXLEASE_SOCKET, else the default.
 * -ECONNREFUSED/-ENOENT: no daemon there; -EPROTONOSUPPORT: it speaks another version; -ENOMEM;
 * -EMFILE; -ETIMEDOUT: it does not answer; -ENAMETOOLONG: no socket has such a path. A connection
 * does not survive fork(2): in the child every call on it says -ESTALE, and no lease is inherited.
 */
int daxlease_open(const char *socket, struct daxlease **connection);
void daxlease_close(struct daxlease *connection); /* releases everything held on it */

/*
 * Takes a lease on `length` bytes from `offset` of the open file `fd` (length 0: to the end of the
 * file as it is now). The descriptor may be closed afterwards. Several leases of one connection may
 * overlap. Waits for the daemon, and up to 100 ms for an operation on the range to end.
 *   -EOPNOTSUPP  the file is in no pool, or cannot be guarded
 *   -EACCES      not the owner; or a read-only descriptor (C4)
 *   -ENODATA     not fully allocated and written (C5)
 *   -EPERM       reflinked, or not DAX in a DAX pool (C5)
 *   -EAGAIN      an operation on the range is under way (C16)
 *   -ENOLCK      a limit
 *   -EINVAL      empty or overflowing range, unknown flag
 *   -EPIPE       the daemon is gone
 *   -ENOMEM, -EBADF
 * daxlease_reason() says the last refusal of this thread in words, with the offset.
 */
int daxlease_take(struct daxlease *connection, int fd, uint64_t offset, uint64_t length,
		  unsigned flags, struct daxlease_held **lease);
const char *daxlease_reason(void);

/* Gives it back and frees it. The caller has stopped using the blocks. Never waits. */
void daxlease_release(struct daxlease_held *lease);

enum daxlease_state {
	DAXLEASE_HELD = 1,
	DAXLEASE_BREAKING = 2, /* let go soon */
	DAXLEASE_REVOKED = 3,  /* it is over: nothing may be touched; release it to free it */
};

/* How it stands (enum daxlease_state), and the time left in ns (UINT64_MAX while held). Asks the
 * daemon, unless the lease is known to be over; without a daemon: what it last said. Takes no event
 * away from next_event. */
int daxlease_query(struct daxlease_held *lease, uint64_t *left_ns);

struct daxlease_event {
	struct daxlease_held *lease;
	enum daxlease_state state; /* DAXLEASE_BREAKING: the notice; DAXLEASE_REVOKED: the deadline
				    * has passed: stop all use, daxlease_release() in the margin */
	uint64_t offset, length;   /* the part that is broken */
	uint64_t left_ns;	   /* until the deadline; on REVOKED until the holder is killed */
	int pid;		   /* of the breaker, 0 if not known */
	unsigned uid;
	char comm[16];
	const char *cause; /* in words; static */
};

/* A descriptor that polls readable when the daemon has said something new; owned by the connection.
 * One message may concern several leases: call daxlease_next_event() until it returns 0. */
int daxlease_fd(const struct daxlease *connection);
/* The next event: 1; 0: none now; -EPIPE: the daemon is gone (C24: leases stand until it is back or
 * the descriptors are closed). Never waits. */
int daxlease_next_event(struct daxlease *connection, struct daxlease_event *event);

#ifdef __cplusplus
}
#endif
#endif
