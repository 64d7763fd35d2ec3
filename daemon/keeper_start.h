/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting the daemon with what is kept for it. Between fork(2) and execve(2) there is no allocation and no lock: the
 * keeper's log has a thread. */
#ifndef DAXLEASE_KEEPER_START_H
#define DAXLEASE_KEEPER_START_H

#include <stdint.h>
#include <sys/types.h>

#include "daemon/keeper_table.h"

struct keeper_start {
	const char *path; /* of the binary */
	char **argv;
	const char *notify_socket; /* its path */
	uint64_t watchdog_us;
};

/* The child's pid, or -errno. In the child everything in the table is 3, 4, ... and told as sd_listen_fds(3) says. */
pid_t keeper_start(const struct keeper_start *start, const struct keeper_table *table);

#endif
