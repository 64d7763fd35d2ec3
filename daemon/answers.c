// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Verdicts to the guard. One that it does not take is not forgotten: its thread would wait for ever, though nothing is in
 * its way any more, and nobody would know. It is tried again until it is taken.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/guard/kernel_lease.h"
#include "daemon/log.h"

#define AGAIN_NS (100 * NS_PER_MS)

struct owed {
	uint32_t slot;
	int error;
	TAILQ_ENTRY(owed) entry;
};

static int answer(struct daemon *d, uint32_t slot, int error)
{
	struct guard *guard = slot & GUARD_LEASE_SLOT ? d->leases : d->guard;

	return guard ? guard->ops->answer(guard, slot, error) : -ENOENT;
}

static void try_again(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	struct owed *owed, *next;

	(void)fd;
	(void)what;
	for (owed = TAILQ_FIRST(&d->owed); owed; owed = next) {
		const int rc = answer(d, owed->slot, owed->error);

		next = TAILQ_NEXT(owed, entry);
		if (rc < 0 && rc != -ENOENT && rc != -EINVAL)
			continue;
		if (rc == 0)
			log_notice("the guard has taken the verdict now");
		TAILQ_REMOVE(&d->owed, owed, entry);
		free(owed);
	}
	if (!TAILQ_EMPTY(&d->owed))
		timer_arm(d->owed_timer, AGAIN_NS);
}

void answer_thread(struct daemon *d, uint32_t slot, int error)
{
	struct owed *owed;
	int rc;

	kill_at("answer");
	rc = answer(d, slot, error);
	kill_at("answered");
	if (rc == 0 || rc == -ENOENT) /* that one was answered before, by a daemon that died */
		return;
	log_error("the guard did not take a verdict: %s%s", strerror(-rc),
		  rc == -EINVAL ? "" : "; trying again");
	if (rc == -EINVAL) /* the slot is owed none: to say it again would change nothing */
		return;
	owed = malloc(sizeof(*owed));
	if (!owed) {
		log_error("a verdict is lost for want of memory: its thread waits until it is "
			  "killed");
		return;
	}
	owed->slot = slot;
	owed->error = error;
	if (TAILQ_EMPTY(&d->owed))
		timer_arm(d->owed_timer, AGAIN_NS);
	TAILQ_INSERT_TAIL(&d->owed, owed, entry);
}

int answers_start(struct daemon *d)
{
	TAILQ_INIT(&d->owed);
	d->owed_timer = evtimer_new(d->base, try_again, d);
	return d->owed_timer ? 0 : -ENOMEM;
}

void answers_stop(struct daemon *d)
{
	struct owed *owed;

	if (!d->owed_timer)
		return;
	while ((owed = TAILQ_FIRST(&d->owed))) {
		TAILQ_REMOVE(&d->owed, owed, entry);
		free(owed);
	}
	event_free(d->owed_timer);
}
