/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The shim's connection to the daemon, what it was told to do (environment), and which devices are
 * pools. May include: client, coverage, table.
 */
#ifndef DAXLEASE_SHIM_SESSION_H
#define DAXLEASE_SHIM_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "libshim/client.h"
#include "libshim/coverage.h"

enum shim_mode { SHIM_PREFER, SHIM_REQUIRE, SHIM_OFF };

#define SESSION_POOLS 256

struct session_pools {
	unsigned count;
	struct {
		uint64_t dev;
		uint32_t type;	/* enum dlp_pool_type */
		uint32_t label; /* enum dlp_label; 0: it is not ready */
		char name[DLP_NAME_SIZE];
	} pool[SESSION_POOLS];
};

struct session {
	/* from the environment, before the program runs */
	enum shim_mode mode;
	atomic_int signal; /* instead of a line on stderr; 0: none */
	char socket[108];

	struct client client;
	struct coverage coverage;
	atomic_bool connected;	 /* client and coverage are initialised, pools perhaps not yet */
	atomic_bool lost;	 /* they were, and the connection is no more: for good */
	/* Which list is wanted (DLP_EV_POOLS counts up), and which is known: 0, none. */
	atomic_uint pools_wanted, pools_known;
	bool listening;		 /* under the session's lock */
	_Atomic(const struct session_pools *) pools;
};

extern struct session session;

void session_configure(void);
void shim_start(void); /* the constructor; where the shim is linked in, its object comes along by
			  being called */

/*
 * The pools, connecting first if need be (at most once a second) and asking again if they changed.
 * NULL: no daemon. Not under the table's lock. What it returns is never freed.
 */
const struct session_pools *session_pools(void);
/* The type of the pool that a regular file or a device is of, or may be of (directory pools); or 0. */
uint32_t session_pool_type(const struct session_pools *pools, const struct stat *st);

/* Before the first lease: the listener thread and what a revocation needs. 0 or -errno; -EPIPE:
 * lost. */
int session_listen(void);

/* The connection is gone: says so once. Returns -EPIPE. */
int session_lost(void);

/* In a forked child: nothing is connected. `close`: the parent's sockets, as far as they are still
 * here, are closed; not where the descriptors may be shared (clone(2)). */
void session_forget(bool close);

/* The listener's body, shim_revoke.c. */
void *revoke_listen(void *unused);

#endif
