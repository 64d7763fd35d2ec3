/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAXLEASE_SHIM_FORK_H
#define DAXLEASE_SHIM_FORK_H

/*
 * Follows fork(3); what comes after the first call does nothing. The first is made as early as can
 * be: handlers that run before the fork do so in the reverse order of their registration, so that
 * the first one's lock is taken last, behind those of an allocator whose threads come to us with
 * them held.
 */
void fork_follow(void);

/* In a child that fork(3) knows nothing of (inherit.h), at its first need of the table or of the
 * daemon: forgets everything. Not under the table's lock. */
void fork_notice(void);

#endif
