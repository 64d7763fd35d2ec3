// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Fencing (C18): taking from a holder, from outside, what it did not give up in time. The pool says how far it goes:
 *
 *   full    Its pinned MRs of the ranges are destroyed, then the ranges are replaced in its memory (worker_fence.c), then
 *           its on-demand MRs of them are destroyed. When all that is proven the leases end, and the holder goes on.
 *           Whatever defeats a step leads to:
 *   kill    All its MRs are destroyed, and it is killed; holders.c goes on when it is gone.
 *   report  Neither. Whoever waits is refused at once, and so is everybody until it lets go or ends.
 *
 * Half of the fence time is for the first way, the hook (hook.h) included: the other half is for its death. A step
 * that does nothing, or only a part, leaves the leases where they are; what is not proven in the core's time is
 * refused there.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/hook.h"
#include "daemon/log.h"

#define ROUNDS_MAX 16 /* of one fence: more than WORKER_MAX_ITEMS leases, new MRs meanwhile */

enum step { STEP_HOOK, STEP_PINNED, STEP_REPLACE, STEP_ON_DEMAND };

static const char *const step_names[] = {
	[STEP_HOOK] = "the hook",
	[STEP_PINNED] = "destroying pinned MRs",
	[STEP_REPLACE] = "replacing its mappings",
	[STEP_ON_DEMAND] = "destroying on-demand MRs",
};

struct fence {
	enum step step;
	struct worker_job ranges; /* that this round takes away */
	const char *kill_for;	  /* why this will not do, and it has to be killed; or NULL */
	unsigned rounds;
	unsigned replaced; /* mappings */
	bool had_mrs;	   /* before this step */
	bool ended;	   /* leases, in this fence */
	bool left_alone;   /* some were only reported */
	uint64_t since_ns, step_ns, until_ns;
	struct hook *hook;
};

static void destroy_mrs(struct session *s, enum step step);

static double seconds_since(uint64_t then_ns)
{
	return (double)(now_ns() - then_ns) / NS_PER_S;
}

void fence_free(struct session *s)
{
	if (s->fence)
		hook_abandon(s->fence->hook);
	free(s->fence);
	s->fence = NULL;
}

/* --- what it did not give up ------------------------------------------------------------------------------- */

static enum config_fence policy_of(struct daemon *d, const struct core_lease_view *lease)
{
	const struct file *file = file_lookup(d, lease->dev, lease->ino);

	return file && file->pool ? file->pool->config->fence : d->config.fence;
}

static struct log_subject subject_of(struct session *s, const struct core_lease_view *lease,
				     char *path)
{
	const struct file *file = file_lookup(s->daemon, lease->dev, lease->ino);

	strcpy(path, "?");
	return (struct log_subject){.path = file ? file_path(file, path) : path,
				    .pool = file && file->pool ? file->pool->config->name : NULL,
				    .cause = "no answer to a revocation",
				    .pid = s->pid,
				    .session = s->id,
				    .lease = lease->number,
				    .start = lease->start,
				    .end = lease->end};
}

/* The next lease being fenced by one of these policies, from *cursor on. */
static bool next_fenced(struct session *s, uint32_t *cursor, bool report,
			struct core_lease_view *lease)
{
	while (core_list_session(s->daemon->core, s->id, cursor, lease)) {
		bool fenced = lease->state == CORE_FENCING ||
			      (!report && lease->state == CORE_UNPROVEN);

		if (fenced && (policy_of(s->daemon, lease) == CONFIG_FENCE_REPORT) == report)
			return true;
	}
	return false;
}

static bool first_fenced(struct session *s, bool report, struct core_lease_view *lease)
{
	uint32_t cursor = 0;

	return next_fenced(s, &cursor, report, lease);
}

/* Those that are left alone: their breakers are refused now. */
static void report(struct session *s)
{
	struct daemon *d = s->daemon;
	struct core_lease_view lease;
	char path[DLP_MAX_PATH];

	while (first_fenced(s, true, &lease)) {
		struct log_subject subject = subject_of(s, &lease, path);

		s->fence->left_alone = true;
		log_about(LOG_WARNING, &subject,
			  "%s: [%llu, %llu): pid %d (%s) did not give up its lease in time and is "
			  "left alone "
			  "(fence = report): whoever wants to change the file is refused until it "
			  "lets go or ends",
			  subject.path, (unsigned long long)lease.start,
			  (unsigned long long)lease.end, s->pid, s->comm);
		core_fenced(d->core, now_ns(), s->id, lease.dev, lease.ino, lease.start, lease.end,
			    false);
	}
}

/* /proc/PID/maps names the files of these as stat(2) does: on others nothing could be proven. */
static bool maps_name_files(const struct file *file)
{
	static const char *const known[] = {"ext4", "xfs", "tmpfs", "devdax"};

	for (size_t i = 0; file && file->pool && i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(file->pool->fstype, known[i]) == 0)
			return true;
	}
	return false;
}

static const char *why_kill(struct session *s, const struct core_lease_view *lease)
{
	if (policy_of(s->daemon, lease) == CONFIG_FENCE_KILL)
		return "fence = kill";
	if (s->mrs_unknown)
		return "it has MRs whose report was lost";
	if (!maps_name_files(file_lookup(s->daemon, lease->dev, lease->ino)))
		return "what is mapped of a file on this file system cannot be told";
	return NULL;
}

/* The ranges of the next round; false: there are none. */
static bool choose_ranges(struct session *s)
{
	struct fence *f = s->fence;
	struct core_lease_view lease;
	uint32_t cursor = 0;

	f->ranges = (struct worker_job){.kind = WORKER_FENCE,
					.pid = s->pid,
					.pretend = s->daemon->no_replace};
	while (next_fenced(s, &cursor, false, &lease)) {
		unsigned i = f->ranges.items;

		if (!f->kill_for)
			f->kill_for = why_kill(s, &lease);
		if (i == WORKER_MAX_ITEMS)
			break; /* the rest in the next round */
		f->ranges.range[i].dev = lease.dev;
		f->ranges.range[i].ino = lease.ino;
		f->ranges.range[i].start = lease.start;
		f->ranges.range[i].end = lease.end;
		f->ranges.items++;
	}
	return f->ranges.items > 0;
}

/* --- kill -------------------------------------------------------------------------------------------------- */

static void look_whether_gone(struct session *s);

static void gone_known(void *arg, const struct worker_result *result)
{
	struct session *s = arg;
	struct daemon *d = s->daemon;

	s->maps_job = 0;
	if (s->state != SESSION_FENCING || !s->killed_ns)
		return;
	if (result->error || result->mapped) {
		look_whether_gone(s);
		return;
	}
	log_notice("pid %d (%s): its memory is gone, though a tracer keeps its threads", s->pid,
		   s->comm);
	holder_died(s);
	run_effects(d);
}

static void look_now(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	struct worker_job job = {.kind = WORKER_MEMORY};

	(void)fd;
	(void)what;
	if (workers_submit(s->daemon->workers, &job, s->memory_fd, (uint64_t)s->pid << 32, NS_PER_S,
			   gone_known, s, &s->maps_job) < 0)
		look_whether_gone(s);
}

/* Its pidfd tells of its death, but not while a tracer of it, which need not be friendly, does not wait for the threads
 * that it traces. What cannot be hidden is that its memory has no user any more. */
static void look_whether_gone(struct session *s)
{
	uint64_t delay_ns = (50 * NS_PER_MS) << (s->gone_looks < 4 ? s->gone_looks : 4);

	if (s->memory_fd < 0 || s->mrs_unknown)
		return;
	s->gone_looks++;
	if (s->retry_timer)
		event_free(s->retry_timer);
	s->retry_timer = evtimer_new(s->daemon->base, look_now, s);
	if (s->retry_timer)
		timer_arm(s->retry_timer, delay_ns);
}

void fence_kill(struct session *s, const char *why)
{
	struct core_lease_view lease = {0};
	struct log_subject subject;
	char path[DLP_MAX_PATH];

	fence_free(s);
	s->state = SESSION_FENCING;
	s->killed_ns = now_ns();
	session_drain_reports(s);
	holder_fence_step(s, DLP_FENCE_KILLED, s->killed_ns);
	first_fenced(s, false, &lease);
	subject = subject_of(s, &lease, path);
	subject.event = LOG_EVENT_FENCED;
	log_about(LOG_WARNING, &subject,
		  "pid %d (%s) did not give up its lease on %s [%llu, %llu) in time: destroying "
		  "its MRs and killing it "
		  "(%s)",
		  s->pid, s->comm, subject.path, (unsigned long long)lease.start,
		  (unsigned long long)lease.end, why);
	/* Not one after the other: destroying MRs can take its time, and so can dying. The lease ends when both
	 * are done: holder_died() waits for the jobs under way and tries again what failed. */
	if (!s->destroying)
		mr_destroy_all(s, holder_mrs_destroyed);
	if (syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		log_error("pid %d (%s): cannot be killed: %s; breakers will be refused", s->pid,
			  s->comm, strerror(errno));
	if (s->maps_job)
		workers_cancel(s->daemon->workers, s->maps_job);
	s->maps_job = 0;
	look_whether_gone(s);
}

/* --- full -------------------------------------------------------------------------------------------------- */

/* A step did not do it. */
static void defeated(struct session *s, const char *why)
{
	struct fence *f = s->fence;

	log_warning("pid %d (%s): fence: %s failed after %.3f s: %s", s->pid, s->comm,
		    step_names[f->step], seconds_since(f->step_ns), why);
	fence_kill(s, why);
}

/* The next one begins: what is left of the time; 0: it is over, and dealt with. */
static uint64_t next_step(struct session *s, enum step step)
{
	struct fence *f = s->fence;

	f->step = step;
	f->step_ns = now_ns();
	if (f->step_ns < f->until_ns)
		return f->until_ns - f->step_ns;
	defeated(s, "half of the fence time is over");
	return 0;
}

static void step_done(struct session *s)
{
	struct fence *f = s->fence;

	log_info("pid %d (%s): fence: %s: done in %.3f s", s->pid, s->comm, step_names[f->step],
		 seconds_since(f->step_ns));
}

/* It lives on, with what else it has. */
static void over(struct session *s)
{
	struct daemon *d = s->daemon;
	bool hung_up = s->calls_fd < 0;
	struct fence *f = s->fence;

	if (f->left_alone)
		holder_fence_step(s, DLP_FENCE_REPORTED, f->since_ns);
	if (f->replaced)
		holder_fence_step(s, DLP_FENCE_UNMAPPED, f->since_ns);
	else if (f->ended || !f->left_alone)
		holder_fence_step(s, DLP_FENCE_LET_GO, f->since_ns);
	fence_free(s);
	s->state = hung_up ? SESSION_DETACHED : SESSION_LIVE;
	core_fence_over(d->core, s->id);
	if (hung_up && !core_session_holds(d->core, s->id))
		holder_settle_end(s);
}

static void taken(struct session *s)
{
	struct fence *f = s->fence;
	struct daemon *d = s->daemon;
	struct worker_job done = f->ranges;
	uint64_t took_from_ns = f->since_ns;

	f->ended = true;
	for (unsigned i = 0; i < done.items; i++) {
		const struct file *file = file_lookup(d, done.range[i].dev, done.range[i].ino);
		char path[DLP_MAX_PATH] = "?";

		if (file)
			file_path(file, path);
		log_about(LOG_NOTICE,
			  &(struct log_subject){.path = path,
						.pid = s->pid,
						.session = s->id,
						.start = done.range[i].start,
						.end = done.range[i].end},
			  "%s: [%llu, %llu): taken from pid %d (%s) from outside, after %.3f s; it "
			  "goes on living",
			  path, (unsigned long long)done.range[i].start,
			  (unsigned long long)done.range[i].end, s->pid, s->comm,
			  seconds_since(took_from_ns));
		core_fenced(d->core, now_ns(), s->id, done.range[i].dev, done.range[i].ino,
			    done.range[i].start, done.range[i].end, true);
	}
}

static void round_done(struct session *s)
{
	struct fence *f = s->fence;

	/* It may have registered memory meanwhile. */
	session_read_calls(s);
	if (++f->rounds == ROUNDS_MAX) {
		defeated(s, "there is more and more to take away");
		return;
	}
	if (s->mrs_unknown || session_has_unread(s) || mr_any_on(s, &f->ranges, MR_ANY)) {
		destroy_mrs(s, STEP_PINNED);
		return;
	}
	taken(s);
	report(s);
	f->kill_for = NULL;
	if (!choose_ranges(s))
		over(s);
	else if (f->kill_for)
		fence_kill(s, f->kill_for);
	else
		destroy_mrs(s, STEP_PINNED);
}

static const char *why_not_replaced(const struct worker_result *result)
{
	switch (result->fence.step) {
	case WORKER_FENCE_NONE:
		return result->error == -ETIMEDOUT ? "it was not done in time"
						   : "no worker could do it";
	case WORKER_FENCE_LOOK:
		return result->error == -ESRCH ? "the process is gone"
					       : "what it maps cannot be read";
	case WORKER_FENCE_SEIZE:
		return "none of its threads may be traced: a tracer is there already, or Yama "
		       "forbids it";
	case WORKER_FENCE_STOP:
		if (result->error == -ETIMEDOUT)
			return "none of its threads stopped: they wait in the kernel";
		if (result->error == -ENOEXEC)
			return "its threads run 32-bit code, or none that makes system calls";
		return result->error == -EOPNOTSUPP ? "not built for this machine"
						    : "none of its threads can be used now";
	case WORKER_FENCE_CALL:
		return result->error == -ESRCH ? "a system call in it ended it: a seccomp filter"
					       : "a system call in it was refused or did not "
						 "return: a seccomp filter, "
						 "or a limit";
	case WORKER_FENCE_LET_GO:
		return "its thread could not be given back as it was";
	case WORKER_FENCE_PROVEN:
		return "?";
	}
	return "?";
}

static void replaced(void *arg, const struct worker_result *result)
{
	struct session *s = arg;
	struct daemon *d = s->daemon;

	s->maps_job = 0;
	if (s->state != SESSION_FENCING || !s->fence)
		return;
	log_info("pid %d (%s): fence: %u mappings replaced by its thread %d: %s", s->pid, s->comm,
		 result->fence.replaced, result->fence.tid,
		 result->error ? strerror(-result->error) : "all of them");
	s->fence->replaced += result->fence.replaced;
	if (result->error || result->mapped) {
		defeated(s, why_not_replaced(result));
	} else {
		step_done(s);
		destroy_mrs(s, STEP_ON_DEMAND);
	}
	run_effects(d);
}

static void replace(struct session *s)
{
	uint64_t left_ns = next_step(s, STEP_REPLACE);
	int rc;

	if (!left_ns)
		return;
	if (s->maps_job) /* of a hang-up: what it would tell is found out anyway */
		workers_cancel(s->daemon->workers, s->maps_job);
	s->maps_job = 0;
	rc = workers_submit(s->daemon->workers, &s->fence->ranges, s->pidfd, (uint64_t)s->pid << 32,
			    left_ns, replaced, s, &s->maps_job);
	if (rc < 0)
		defeated(s, strerror(-rc));
}

static enum mr_sort mrs_of(enum step step)
{
	return step == STEP_PINNED ? MR_PINNED : MR_ON_DEMAND;
}

void fence_mrs_destroyed(struct session *s)
{
	struct fence *f = s->fence;
	struct daemon *d = s->daemon;

	if (f->step != STEP_PINNED && f->step != STEP_ON_DEMAND)
		return; /* an earlier try, from before the fence */
	if (mr_any_on(s, &f->ranges, mrs_of(f->step))) {
		defeated(s, "one may still live");
		return;
	}
	step_done(s);
	if (f->had_mrs)
		holder_fence_step(s, DLP_FENCE_MRS, f->step_ns);
	if (f->step == STEP_PINNED)
		replace(s);
	else
		round_done(s);
	run_effects(d);
}

static void destroy_mrs(struct session *s, enum step step)
{
	uint64_t left_ns = next_step(s, step);

	if (!left_ns)
		return;
	session_read_calls(s); /* reports of MRs on these ranges may be among them */
	if (s->mrs_unknown) {
		defeated(s, "the report of one was lost");
		return;
	}
	s->fence->had_mrs = mr_any_on(s, &s->fence->ranges, mrs_of(step));
	mr_destroy_on(s, &s->fence->ranges, mrs_of(step), left_ns, holder_mrs_destroyed);
	if (!s->destroying)
		fence_mrs_destroyed(s);
}

/* --- the beginning ----------------------------------------------------------------------------------------- */

static void begin(struct session *s)
{
	struct fence *f = s->fence;

	if (!choose_ranges(s)) {
		over(s);
	} else if (!f->kill_for) {
		destroy_mrs(s, STEP_PINNED);
	} else if (s->calls_fd < 0 && holder_ask_maps(s) == 0) {
		/* One that hung up may have let go of everything since: then there is nothing to kill it for. */
		fence_free(s);
	} else {
		fence_kill(s, f->kill_for);
	}
}

static void hook_ended(void *arg, int status)
{
	struct session *s = arg;
	struct daemon *d = s->daemon;
	double took = seconds_since(s->fence->step_ns);

	s->fence->hook = NULL;
	if (status == -1)
		log_warning("pid %d (%s): fence-hook was killed after %.3f s: its time is over",
			    s->pid, s->comm, took);
	else if (status != 0)
		log_warning("pid %d (%s): fence-hook ended with wait status 0x%x after %.3f s",
			    s->pid, s->comm, (unsigned)status, took);
	else
		log_info("pid %d (%s): fence-hook ended well after %.3f s", s->pid, s->comm, took);
	begin(s);
	run_effects(d);
}

/* True: hook_ended() goes on. */
static bool run_hook(struct session *s)
{
	struct daemon *d = s->daemon;
	struct core_lease_view lease;
	struct log_subject subject;
	char path[DLP_MAX_PATH];
	struct hook_facts facts;
	int rc;

	if (!d->config.fence_hook || !first_fenced(s, false, &lease))
		return false;
	subject = subject_of(s, &lease, path);
	facts = (struct hook_facts){.pid = s->pid,
				    .uid = s->uid,
				    .path = subject.path,
				    .policy = policy_of(d, &lease) == CONFIG_FENCE_KILL ? "kill"
											: "full",
				    .start = lease.start,
				    .end = lease.end,
				    .lease = lease.number};
	rc = hook_start(d, d->config.fence_hook, &facts, d->config.fence_ns / 4, hook_ended, s,
			&s->fence->hook);
	if (rc < 0)
		log_error("pid %d (%s): fence-hook was not run: %s", s->pid, s->comm,
			  strerror(-rc));
	return rc == 0;
}

void holder_fence(struct session *s)
{
	struct core_lease_view lease;
	struct log_subject subject;
	char path[DLP_MAX_PATH];

	if (s->state == SESSION_DEAD || s->state == SESSION_FENCING)
		return;
	if (s->pidfd < 0) { /* it was gone when we took over */
		holder_died(s);
		return;
	}
	s->state = SESSION_FENCING;
	holder_fence_step(s, DLP_FENCE_BEGUN, now_ns());
	if (s->retry_timer)
		event_del(s->retry_timer); /* of the hang-up: the fence has its own pace */
	s->fence = calloc(1, sizeof(*s->fence));
	if (!s->fence) {
		fence_kill(s, "no memory for less");
		return;
	}
	s->fence->since_ns = s->fence->step_ns = now_ns();
	s->fence->until_ns = s->fence->since_ns + s->daemon->config.fence_ns / 2;
	report(s);
	if (!first_fenced(s, false, &lease)) {
		over(s);
		return;
	}
	subject = subject_of(s, &lease, path);
	log_about(LOG_NOTICE, &subject,
		  "pid %d (%s) did not give up its lease on %s [%llu, %llu) in time: fencing it",
		  s->pid, s->comm, subject.path, (unsigned long long)lease.start,
		  (unsigned long long)lease.end);
	if (!run_hook(s))
		begin(s);
}
