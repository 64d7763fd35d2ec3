/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Leases together with who waits for them: what list, show and break have as rows. */
#ifndef DAXLEASE_CTL_WAITING_H
#define DAXLEASE_CTL_WAITING_H

#include <stddef.h>

#include "ctl/connection.h"
#include "ctl/table.h"

/* All breakers that wait, as far as the daemon shows them to us. */
struct waiting {
	struct dlp_waiting_reply *breakers;
	size_t count;
};

#define WAITING_NONE                                                                               \
	{                                                                                          \
		.breakers = NULL                                                                   \
	}

/* Fills an empty one. 0 or -errno (told). A daemon of an earlier version shows none. */
int waiting_get(struct connection *connection, struct waiting *waiting);
void waiting_free(struct waiting *waiting); /* for __attribute__((cleanup)) */

struct lease_row {
	struct dlp_list_reply lease;
	uint64_t waiters;   /* breakers whose range overlaps the lease's */
	uint64_t waited_ns; /* the longest of them; UINT64_MAX: nobody waits */
};

void lease_row_fill(struct lease_row *row, const struct dlp_list_reply *lease,
		    const struct waiting *waiting);
bool waits_for(const struct dlp_waiting_reply *breaker, const struct dlp_list_reply *lease);

extern const struct column lease_columns[];   /* of struct lease_row */
extern const struct column waiting_columns[]; /* of struct dlp_waiting_reply */

#endif
