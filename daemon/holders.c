// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The end of a holder. Its leases end when it is *proven* that it can no longer reach the blocks, never because a
 * socket closed: its process is gone (the pidfd says so) or maps none of the files any more, and its MRs
 * are destroyed (a child that inherited the uverbs descriptor keeps them alive otherwise).
 *
 *   hang-up of a living process (it closed everything, or exec'ed): look at what it still maps
 *   death: destroy its MRs; when nobody shares its memory (vfork, clone with CLONE_VM), its leases end
 *   fence: it did not answer in time: fence.c; where that kills it, as for death
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/uverbs.h"

#define MAPS_LIMIT_NS (1 * NS_PER_S)
#define RETRY_NS (1 * NS_PER_S)
#define RETRY_LAST_NS (60 * NS_PER_S)

void holder_fence_step(const struct session *s, enum dlp_fence_step step, uint64_t since_ns)
{
	happened(s->daemon, &(struct happening){.kind = DLP_HAPPENED_FENCING,
						.detail = step,
						.holder = s,
						.duration_ns = now_ns() - since_ns});
}

/* Nothing of it is left: its leases end, and it is forgotten. */
static void end(struct session *s)
{
	struct daemon *d = s->daemon;

	if (core_session_holds(d->core, s->id))
		happened(d, &(struct happening){.kind = DLP_HAPPENED_ENDED, .holder = s});
	core_session_gone(d->core, now_ns(), s->id);
	session_free(s);
	run_effects(d);
}

static void try_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	holder_settle_end(arg);
}

static void try_later(struct session *s)
{
	uint64_t delay_ns = s->retries < 6 ? RETRY_NS << s->retries : RETRY_LAST_NS;

	s->retries++;
	if (!s->retry_timer)
		s->retry_timer = evtimer_new(s->daemon->base, try_again, s);
	if (s->retry_timer)
		timer_arm(s->retry_timer, delay_ns);
}

/* --- the memory of a dead process ------------------------------------------------------------------------- */

static void look_at_memory(struct session *s);

static void try_memory_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look_at_memory(arg);
}

/* Soon at first: the last user of a memory may just be on its way out, or be somebody's look into /proc. */
static void memory_is_used(struct session *s, const char *why)
{
	uint64_t delay_ns = s->memory_looks < 7 ? (10 * NS_PER_MS) << s->memory_looks : NS_PER_S;

	if (s->memory_looks++ == 7)
		log_about(LOG_WARNING, &(struct log_subject){.pid = s->pid, .session = s->id, .cause = why},
			  "pid %d (%s) is dead, but %s: its leases stand, and breakers are refused in the end, until "
			  "that one ends too or executes another program (fuser -m, or /proc/PID/maps, tell who), or an "
			  "administrator knows better: daxleasectl doctor",
			  s->pid, s->comm, why);
	if (s->memory_looks >= 8)
		s->unproven = why;
	if (s->retry_timer)
		event_free(s->retry_timer);
	s->retry_timer = evtimer_new(s->daemon->base, try_memory_again, s);
	if (s->retry_timer)
		timer_arm(s->retry_timer, delay_ns);
}

static void memory_known(void *arg, const struct worker_result *result)
{
	struct session *s = arg;

	s->maps_job = 0;
	if (result->error)
		memory_is_used(s, "whether another process shares its memory cannot be told");
	else if (result->mapped)
		memory_is_used(s, "another process shares its memory (vfork, or clone with CLONE_VM)");
	else
		end(s);
}

int holder_forget(struct session *s)
{
	if (s->state != SESSION_DEAD || !s->unproven || s->destroying)
		return -EBUSY;
	log_warning("pid %d (%s) is dead, and what it leased has ended, though %s", s->pid, s->comm, s->unproven);
	end(s);
	return 0;
}

/* The process is gone, its MRs too. Whoever shared its memory still has its mappings. */
static void look_at_memory(struct session *s)
{
	struct worker_job job = {.kind = WORKER_MEMORY};

	if (s->maps_job) /* from before its death */
		workers_cancel(s->daemon->workers, s->maps_job);
	s->maps_job = 0;
	if (s->mrs_unknown && (uverbs_any() || sabotaged("uverbs")))
		memory_is_used(s, "it may have had an MR whose report was lost, which a child of it could keep");
	else if (s->memory_lost)
		memory_is_used(s, "whether another process shares its memory cannot be told since a restart");
	else if (s->memory_fd < 0)
		end(s);
	else if (workers_submit(s->daemon->workers, &job, s->memory_fd, (uint64_t)s->pid << 32, MAPS_LIMIT_NS,
				memory_known, s, &s->maps_job) < 0)
		memory_is_used(s, "whether another process shares its memory cannot be looked at now");
}

/* The MRs of a session that is going have been dealt with, as far as that was possible. */
void holder_mrs_destroyed(struct session *s)
{
	switch (s->state) {
	case SESSION_LIVE:
		return;
	case SESSION_DETACHED:
	case SESSION_DEAD:
		if (!mr_any(s) && s->state == SESSION_DEAD) {
			look_at_memory(s);
			return;
		}
		if (!mr_any(s)) {
			end(s);
			return;
		}
		if (s->retries == 0)
			log_error("pid %d (%s) %s, but MRs of it may still live: its leases stand, and breakers are "
				  "refused in the end",
				  s->pid, s->comm, s->state == SESSION_DEAD ? "is dead" : "has hung up");
		else if (s->state == SESSION_DEAD)
			s->unproven = "MRs of it could not be destroyed";
		try_later(s);
		return;
	case SESSION_FENCING:
		if (s->fence) {
			fence_mrs_destroyed(s);
			return;
		}
		if (s->killed_ns) /* holder_died() goes on with it */
			return;
		if (mr_any(s))
			fence_kill(s, "its MRs could not be destroyed"); /* it may be the only one that keeps them */
		else
			end(s);
		return;
	}
}

/* Destroys what is left of its MRs; holder_mrs_destroyed() goes on, at once if there are none. */
void holder_settle_end(struct session *s)
{
	if (s->destroying)
		return;
	mr_destroy_all(s, holder_mrs_destroyed);
	if (!s->destroying)
		holder_mrs_destroyed(s);
}

void holder_died(struct session *s)
{
	if (s->killed_ns)
		log_info("pid %d (%s): gone %.3f s after SIGKILL", s->pid, s->comm,
			 (double)(now_ns() - s->killed_ns) / NS_PER_S);
	if (s->fence)
		log_notice("pid %d (%s): ended while it was being fenced", s->pid, s->comm);
	fence_free(s);
	if (s->retry_timer)
		event_free(s->retry_timer);
	s->retry_timer = NULL;
	s->state = SESSION_DEAD;
	s->retries = 0;
	grant_abandon(s);
	session_drain_reports(s);
	session_close_channels(s);
	holder_settle_end(s);
}

/* --- hang-up of a living process ------------------------------------------------------------------------- */

static void maps_known(void *arg, const struct worker_result *result)
{
	struct session *s = arg;
	/* An MR that was not reported is nowhere to be seen: then only its death will do. */
	bool mapped = result->error || result->mapped || s->mrs_unknown;

	s->maps_job = 0;
	if (s->state == SESSION_FENCING && mapped) {
		fence_kill(s, "fence = kill");
	} else if (s->state == SESSION_DETACHED && mapped) {
		log_warning("pid %d (%s) hung up but still maps leased files: its leases stand; "
			    "they are taken from it from outside, or it is killed, if they are broken",
			    s->pid, s->comm);
	} else if (s->state == SESSION_FENCING || s->state == SESSION_DETACHED) {
		if (s->state == SESSION_FENCING)
			holder_fence_step(s, DLP_FENCE_LET_GO, now_ns());
		holder_settle_end(s);
	}
}

/* Asks a worker whether the process maps any file it has leases on. More files than fit a job: they are taken
 * as mapped, which is the safe side. 0 or -errno. */
int holder_ask_maps(struct session *s)
{
	struct worker_job job = {.kind = WORKER_MAPS, .pid = s->pid};
	struct core_lease_view lease;
	uint32_t cursor = 0;

	if (s->maps_job)
		return 0; /* is being asked */
	while (core_list_session(s->daemon->core, s->id, &cursor, &lease)) {
		unsigned i = 0;

		while (i < job.items && (job.file[i].dev != lease.dev || job.file[i].ino != lease.ino))
			i++;
		if (i == WORKER_MAX_ITEMS)
			return -E2BIG;
		job.file[i].dev = lease.dev;
		job.file[i].ino = lease.ino;
		if (i == job.items)
			job.items++;
	}
	return workers_submit(s->daemon->workers, &job, -1, (uint64_t)s->pid << 32, MAPS_LIMIT_NS, maps_known, s,
			      &s->maps_job);
}

void holder_look(struct session *s)
{
	if (s->state == SESSION_DETACHED && !s->maps_job && !s->destroying)
		holder_ask_maps(s); /* if that cannot be had, the fence is still there */
}

void holder_hung_up(struct session *s)
{
	int rc;

	grant_abandon(s);
	session_drain_reports(s);
	session_close_channels(s);
	if (s->state != SESSION_LIVE)
		return;
	if (!core_session_holds(s->daemon->core, s->id) && !mr_any(s)) { /* nothing that could reach a block */
		end(s);
		return;
	}
	s->state = SESSION_DETACHED;
	rc = holder_ask_maps(s);
	if (rc < 0)
		log_warning("pid %d (%s) hung up, and what it still maps cannot be looked at: %s: its leases stand",
			    s->pid, s->comm, strerror(-rc));
}
