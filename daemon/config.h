/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's configuration file, daxleased.conf(5). Read once at start; what it says is checked
 * here as far as it can be without looking at the pools themselves. May include: libc, inih,
 * proto/protocol.h.
 */
#ifndef DAXLEASE_CONFIG_H
#define DAXLEASE_CONFIG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "proto/protocol.h"

/* How far it goes against a holder that does not give up its lease in time; fence.c. */
enum config_fence {
	CONFIG_FENCE_FULL = 1,
	CONFIG_FENCE_KILL,
	CONFIG_FENCE_REPORT,
};

/* What stops breakers. */
enum config_guard {
	CONFIG_GUARD_PRE_CONTENT = 1,
	CONFIG_GUARD_KERNEL_LEASE,
	CONFIG_GUARD_NONE,
};

struct config_pool {
	char name[DLP_NAME_SIZE];
	enum dlp_pool_type type;
	char *path;		/* canonical, no trailing slash (but "/"); it need not exist yet */
	uint64_t break_time_ns; /* its own, else the daemon's */
	enum config_fence fence; /* its own, else the daemon's */
	enum config_guard guard; /* of a directory: NONE; else PRE_CONTENT where nothing is said */
	int deny_trunc;		/* o-trunc: 0: such opens wait; -EAGAIN, -ETXTBSY: refused with it */
	unsigned line;		/* of its section, for messages */
};

/* Everything is set after config_load(), also what the file leaves out. */
struct config {
	char *socket;
	gid_t admin_gid; /* (gid_t)-1: root only */
	uint64_t break_time_ns;
	uint64_t margin_ns;
	uint64_t fence_ns;
	enum config_fence fence;
	char *fence_hook; /* a command: an absolute path and arguments; NULL: none */
	uint32_t waiting_limit; /* of one user's threads at once; 0: what the descriptors allow */
	struct config_pool *pools; /* in the order of the file */
	size_t pool_count;
};

/*
 * Reads `file` into *config, which the caller frees with config_free(), and writes every mistake to
 * `errors` as "FILE:LINE: reason" (one without a line: "FILE: reason"). Pool paths that exist are
 * resolved. 0, or with *config empty:
 *   -EINVAL  the file says something it must not
 *   -errno   it cannot be read; told in `errors`, too
 */
int config_load(const char *file, struct config *config, FILE *errors);

/* Harmless on an empty one. */
void config_free(struct config *config);

#endif
