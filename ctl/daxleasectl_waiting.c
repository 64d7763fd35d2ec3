// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ctl/waiting.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

#define LEASE(member) offsetof(struct lease_row, lease.member)
#define ROW(member) offsetof(struct lease_row, member)
#define WAITING(member) offsetof(struct dlp_waiting_reply, member)

/* clang-format off */
const struct column lease_columns[] = {
	{ "LEASE",   "lease",     COLUMN_U64,      LEASE(lease),    NULL, false, "its number, for revoke and show" },
	{ "PID",     "pid",       COLUMN_PID,      LEASE(pid),      NULL, false, "process that holds it" },
	{ "COMMAND", "command",   COLUMN_TEXT,     LEASE(comm),     NULL, false, "that process's name" },
	{ "USER",    "user",      COLUMN_USER,     LEASE(uid),      NULL, false, "that process's user" },
	{ "PATH",    "path",      COLUMN_TEXT,     LEASE(path),     NULL, false, "the file" },
	{ "RANGE",   NULL,        COLUMN_RANGE,    LEASE(start),    NULL, false, "what of it, in bytes; the end is not part of it" },
	{ "MRS",     "mrs",       COLUMN_U32,      LEASE(mrs),      NULL, false, "RDMA memory regions that depend on it" },
	{ "STATE",   "state",     COLUMN_WORD,     LEASE(state),    dlp_lease_state_text, false, "held, breaking, revoking or fencing" },
	{ "LEFT",    "left_ns",   COLUMN_DURATION, LEASE(left_ns),  NULL, false, "time until its state's deadline" },
	{ "WAITERS", "waiters",   COLUMN_U64,      ROW(waiters),    NULL, false, "breakers that wait for its range" },
	{ "WAITED",  "waited_ns", COLUMN_DURATION, ROW(waited_ns),  NULL, false, "for how long the first of them has" },
	{ "LABEL",   "label",     COLUMN_WORD,     LEASE(label),    dlp_label_text, false, "how it is enforced" },
	{ "POOL",    "pool",      COLUMN_TEXT,     LEASE(pool),     NULL, false, "the pool of the file" },
	{ "SINCE",   "since_ns",  COLUMN_TIME,     LEASE(since_ns), NULL, true,  "when it was granted" },
	{ "UID",     "uid",       COLUMN_U32,      LEASE(uid),      NULL, true,  "the user's number" },
	{ "DEVICE",  "device",    COLUMN_DEVICE,   LEASE(dev),      NULL, true,  "device of the file system" },
	{ "INODE",   "inode",     COLUMN_U64,      LEASE(ino),      NULL, true,  "inode number of the file" },
	{ 0 }
};

const struct column waiting_columns[] = {
	{ "PID",     "pid",       COLUMN_PID,      WAITING(pid),       NULL, false, "process that waits" },
	{ "TID",     "tid",       COLUMN_PID,      WAITING(tid),       NULL, false, "its thread; 0: an administrator's break" },
	{ "COMMAND", "command",   COLUMN_TEXT,     WAITING(comm),      NULL, false, "that process's name" },
	{ "USER",    "user",      COLUMN_USER,     WAITING(uid),       NULL, false, "that process's user" },
	{ "CAUSE",   "cause",     COLUMN_WORD_OF_0, WAITING(cause),    dlp_cause_text, false, "what it wants to do" },
	{ "PATH",    "path",      COLUMN_TEXT,     WAITING(path),      NULL, false, "the file" },
	{ "RANGE",   NULL,        COLUMN_RANGE,    WAITING(start),     NULL, false, "what of it that may change" },
	{ "WAITED",  "waited_ns", COLUMN_DURATION, WAITING(waited_ns), NULL, false, "for how long" },
	{ "LEASE",   "lease",     COLUMN_U64,      WAITING(lease),     NULL, false, "a lease it waits for" },
	{ "POOL",    "pool",      COLUMN_TEXT,     WAITING(pool),      NULL, true,  "the pool of the file" },
	{ "UID",     "uid",       COLUMN_U32,      WAITING(uid),       NULL, true,  "the user's number" },
	{ "DEVICE",  "device",    COLUMN_DEVICE,   WAITING(dev),       NULL, true,  "device of the file system" },
	{ "INODE",   "inode",     COLUMN_U64,      WAITING(ino),       NULL, true,  "inode number of the file" },
	{ 0 }
};
/* clang-format on */

int waiting_get(struct connection *connection, struct waiting *waiting)
{
	struct dlp_waiting_reply breaker;
	uint64_t cursor = 0;
	int more = 0;

	if (connection->minor < 1)
		return 0;
	while ((more = connection_next_waiting(connection, &cursor, &breaker)) > 0) {
		void *grown = reallocarray(waiting->breakers, waiting->count + 1, sizeof(breaker));

		if (!grown)
			errx(EXIT_FAILURE, "out of memory");
		waiting->breakers = grown;
		waiting->breakers[waiting->count++] = breaker;
	}
	return more;
}

void waiting_free(struct waiting *waiting)
{
	free(waiting->breakers);
	*waiting = (struct waiting)WAITING_NONE;
}

bool waits_for(const struct dlp_waiting_reply *breaker, const struct dlp_list_reply *lease)
{
	return breaker->dev == lease->dev && breaker->ino == lease->ino &&
	       breaker->start < lease->end && lease->start < breaker->end;
}

void lease_row_fill(struct lease_row *row, const struct dlp_list_reply *lease,
		    const struct waiting *waiting)
{
	row->lease = *lease;
	row->waiters = 0;
	row->waited_ns = UINT64_MAX;
	for (size_t i = 0; i < waiting->count; i++) {
		const struct dlp_waiting_reply *breaker = &waiting->breakers[i];

		if (!waits_for(breaker, lease))
			continue;
		if (row->waiters++ == 0 || breaker->waited_ns > row->waited_ns)
			row->waited_ns = breaker->waited_ns;
	}
}
