/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The administrator's command that runs before a holder is fenced (fence-hook, daxleased.conf(5)): a process of its own
 * with a time limit, so that neither the loop nor a worker waits for it. From the loop's thread.
 */
#ifndef DAXLEASE_HOOK_H
#define DAXLEASE_HOOK_H

#include <stdint.h>
#include <sys/types.h>

struct daemon;
struct hook;

/* What the command is told, in its environment: DAXLEASE_PID and so on. */
struct hook_facts {
	int32_t pid;
	uint32_t uid;
	const char *path, *policy;
	uint64_t start, end, lease;
};

/*
 * Starts `command`: an absolute path and arguments, split at blanks. done(arg, status) is called from the loop when it has
 * ended, with its wait status, or after `limit_ns` with -1, when it is killed. 0 and *hook; -EAGAIN: too many are
 * running; -errno of fork(2), -ENOMEM.
 */
int hook_start(struct daemon *d, const char *command, const struct hook_facts *facts,
	       uint64_t limit_ns, void (*done)(void *arg, int status), void *arg,
	       struct hook **hook);
/* done() will not be called. It may go on for the rest of its time. */
void hook_abandon(struct hook *hook);
/* Kills all. */
void hooks_stop(struct daemon *d);

#endif
