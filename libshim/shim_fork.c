// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * fork(2). A lease belongs to the process that took it, and the daemon knows nothing of the child:
 * its inherited mappings would reach blocks nobody protects for it. So a child does not get them:
 * leased mappings are MADV_DONTFORK, which also holds for clone(2) without the C library; and after
 * fork(3) the child finds the empty memfd in their places, so that an access is SIGBUS and the
 * address does not become other memory's. The child is told so once. Its own mappings, made later,
 * are leased on a connection of its own.
 *
 * A child that was made without the C library's handlers (_Fork, clone) has a copy of the tables, in
 * whatever state they were, and the parent's sockets. It has none of the leased mappings, and must
 * not give their leases back when it unmaps where they were: it forgets everything when it notices
 * (inherit.h).
 *
 * vfork and posix_spawn share the parent's memory until exec, which ends everything (descriptors
 * are close-on-exec): nothing to do.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "libshim/inherit.h"
#include "libshim/shim_end.h"
#include "libshim/shim_fork.h"
#include "libshim/shim_mr.h"
#include "libshim/shim_session.h"
#include "libshim/shim_table.h"

static struct hook forking; /* of the thread that forks, under the table's lock */
static bool coverage_locked;
static bool child_tells; /* so that of many children only the first writes a line */

static void prepare(void)
{
	struct hook hook;

	table_lock(&hook);
	coverage_locked = atomic_load(&session.connected);
	if (coverage_locked)
		pthread_mutex_lock(&session.coverage.lock);
	forking = hook;
	child_tells = table_begin() && say_first(SAY_CHILD, 0, 0);
}

static void release(void)
{
	struct hook hook = forking;

	table_unlock(&hook);
}

static void in_parent(void)
{
	if (coverage_locked)
		pthread_mutex_unlock(&session.coverage.lock);
	release();
}

static void in_child(void)
{
	struct mapping *mapping, *next;
	int error;

	table_unwait();
	mr_forget_all();
	for (mapping = table_begin(); mapping; mapping = next) {
		next = table_next(mapping);
		if (mapping->zombie) {
			if (!mapping->dont_fork)
				real_munmap((void *)mapping->node.start,
					    mapping->node.end - mapping->node.start);
			table_remove(mapping, false);
			continue;
		}
		if (mapping->state == MAP_REVOKED)
			continue;
		/* With MADV_DONTFORK nothing is there; unless the program has undone that by a
		 * system call of its own, and then it must go. */
		error = table_blank(mapping->node.start, mapping->node.end, mapping->dont_fork);
		if (error == -EEXIST)
			error = table_blank(mapping->node.start, mapping->node.end, false);
		if (error == 0)
			mapping->state = MAP_REVOKED;
		else
			table_remove(mapping, false);
	}
	session_forget(true);
	end_follow();
	inherit_mark();
	if (child_tells)
		say("a child of fork (pid %d) does not inherit leases: what it inherited of leased "
		    "mappings gives "
		    "SIGBUS there",
		    (int)getpid());
	release();
}

void fork_follow(void)
{
	static atomic_bool followed;

	if (!atomic_exchange(&followed, true))
		pthread_atfork(prepare, in_parent, in_child);
}

void fork_notice(void)
{
	static atomic_bool busy; /* such a child may have threads by now */
	struct hook hook;

	if (__builtin_expect(inherit_now() != 0, 1))
		return;
	hook_enter(&hook);
	while (atomic_exchange(&busy, true))
		sched_yield();
	if (inherit_now() == 0) {
		table_abandon();
		mr_abandon();
		session_forget(false);
		end_follow();
		inherit_mark();
	}
	atomic_store(&busy, false);
	hook_leave(&hook);
}
