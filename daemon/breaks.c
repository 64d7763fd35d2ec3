// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Breaking: attempts go from the guard into the core, and what the core decides goes out: holders are told and
 * revoked, silent ones fenced, threads let go on or refused. Between an attempt and its verdict nothing here
 * touches a file system.
 *
 * A thread that was let go on is remembered until it is known to have finished (the hold-off of C16): by a new
 * event of it, by /proc/TID/syscall, or as a last resort by a worker that stops it for an instant.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/guard/kernel_lease.h"
#include "daemon/log.h"
#include "daemon/saved.h"

#define HOLD_OFF_FIRST_NS (2 * NS_PER_MS)
#define HOLD_OFF_LAST_NS (1 * NS_PER_S)
#define HOLD_OFF_BATCH 64
#define SETTLE_LIMIT_NS (100 * NS_PER_MS)
#define DRAIN_AGAIN_NS (1 * NS_PER_S)
/* An operation that may share extents holds off grants on the whole file system, since its other file could be leased
 * meanwhile. Threads whose end cannot be told (nfsd's) must not do so for good: after this time the second look alone
 * has to do. */
#define ONE_FILE_NS (5 * NS_PER_S)
#define RUNNING_LOOKS 3 /* looks that could not tell, before a worker stops the thread */

enum note_kind { NOTE_THREAD, NOTE_ADMIN, NOTE_INTERNAL };

/* What the shell knows of an operation in the core, by its cookie. */
struct op_note {
	uint64_t cookie;
	uint32_t saved; /* its record */
	enum note_kind kind;
	uint32_t op;   /* the core's */
	int32_t tid;   /* NOTE_THREAD; -1: cannot be named from here */
	uint32_t slot; /* NOTE_THREAD: the guard's, until the verdict */
	uint64_t serial;
	bool open;     /* the slot waits for an answer */
	bool passed;   /* let through: in daemon.passed */
	bool unleased; /* let through on a file that was not leased */
	uint64_t syscall_hash;
	unsigned running_looks;
	uint32_t session; /* NOTE_ADMIN */
	int *refused; /* break_range() wants to know of a verdict that comes at once */
	uint64_t since_ns;
	uint64_t dev, ino; /* for the log */
	uint64_t leases;   /* that were in its way */
	uint64_t passed_ns;
	struct user *user; /* whose waiting threads it is one of, until the verdict; NULL: not counted */
	TAILQ_ENTRY(op_note) entry;
	UT_hash_handle hh;
};

static bool is_lease_slot(uint32_t slot)
{
	return slot & GUARD_LEASE_SLOT;
}

static struct op_note *note_find(struct daemon *d, uint64_t cookie)
{
	struct op_note *note;

	HASH_FIND(hh, d->notes, &cookie, sizeof(cookie), note);
	return note;
}

static struct op_note *note_new(struct daemon *d, enum note_kind kind)
{
	struct op_note *note = calloc(1, sizeof(*note));

	if (note)
		note->saved = saved_take(d, SAVED_NOTE);
	if (!note || !note->saved) {
		free(note);
		return NULL;
	}
	note->cookie = ++d->next_cookie;
	saved_meta(d);
	note->kind = kind;
	note->since_ns = now_ns();
	HASH_ADD(hh, d->notes, cookie, sizeof(note->cookie), note);
	return note;
}

/* It waits no more. */
static void note_answered(struct daemon *d, struct op_note *note)
{
	if (note->user) {
		user_give(d, note->user, USER_WAITING, 1);
		user_put(d, note->user);
	}
	note->user = NULL;
	note->open = false;
}

static void note_free(struct daemon *d, struct op_note *note)
{
	note_answered(d, note);
	if (note->passed)
		TAILQ_REMOVE(&d->passed, note, entry);
	saved_give(d, SAVED_NOTE, note->saved);
	HASH_DEL(d->notes, note);
	free(note);
}

static void note_save(struct daemon *d, const struct op_note *note)
{
	struct saved_note record = {
		.cookie = note->cookie,
		.serial = note->serial,
		.syscall_hash = note->syscall_hash,
		.since_ns = note->since_ns,
		.dev = note->dev,
		.ino = note->ino,
		.kind = note->kind,
		.op = note->op,
		.slot = note->slot,
		.session = note->session,
		.tid = note->tid,
		.open = note->open,
		.passed = note->passed,
		.unleased = note->unleased,
	};

	saved_put(d, SAVED_NOTE, note->saved, &record);
}

/* Its thread goes on: from now on its end is looked for. */
static void note_pass(struct daemon *d, struct op_note *note)
{
	note_answered(d, note);
	note->passed = true;
	note->passed_ns = now_ns();
	note_save(d, note);
	TAILQ_INSERT_TAIL(&d->passed, note, entry);
	if (d->hold_off_ns != HOLD_OFF_FIRST_NS) {
		d->hold_off_ns = HOLD_OFF_FIRST_NS;
		timer_arm(d->hold_off_timer, d->hold_off_ns);
	}
}

static void op_finished(struct daemon *d, uint64_t cookie, uint32_t op)
{
	struct op_note *note = note_find(d, cookie);

	core_op_finished(d->core, now_ns(), op);
	if (note)
		note_free(d, note);
}

/* --- effects ---------------------------------------------------------------------------------------------- */

static const char *verdict_text(int error)
{
	switch (error) {
	case 0:
		return "goes on";
	case -EBUSY:
		return "refused: the end of a lease could not be proven";
	}
	return "refused at once, to be tried again (o-trunc, waiting-limit)";
}

/* After the answer: a path is looked up. */
static void log_verdict(struct daemon *d, const struct core_effect *e, const struct op_note *note)
{
	const struct file *file = file_lookup(d, note->dev, note->ino);
	double waited = (double)(now_ns() - note->since_ns) / NS_PER_S;
	char buffer[DLP_MAX_PATH];
	const char *path;

	if (!file || (!note->leases && !e->error))
		return;
	path = file_path(file, buffer);
	log_about(e->error ? LOG_WARNING : LOG_INFO,
		  &(struct log_subject){.event = e->error ? LOG_EVENT_REFUSED : LOG_EVENT_NONE,
					.path = path,
					.breaker = e->tgid,
					.cause = dlp_cause_text(e->cause),
					.error = -e->error},
		  "%s: %s by pid %d (%s) %s after %.3f s", path, dlp_cause_text(e->cause), e->tgid,
		  e->comm, verdict_text(e->error), waited);
}

/* A break has ended: one that had a lease in its way, or was refused at once since a lease there does not end. */
static void report_verdict(struct daemon *d, const struct core_effect *e, const struct op_note *note)
{
	enum dlp_happening kind = e->error	? DLP_HAPPENED_BREAKER_REFUSED
				  : e->finished ? DLP_HAPPENED_BREAKER_GONE
						: DLP_HAPPENED_WENT_ON;

	if (note->leases || e->error)
		report_effect(d, kind, e, NULL, now_ns() - note->since_ns);
}

static void verdict(struct daemon *d, const struct core_effect *e)
{
	struct op_note *note = note_find(d, e->op_cookie);
	struct dlp_ev_done done = {.head.opcode = DLP_EV_DONE, .id = e->op_cookie};
	struct session *admin;

	if (!note)
		return;
	report_verdict(d, e, note);
	if (note->kind == NOTE_THREAD) {
		if (note->open)
			answer_thread(d, note->slot, e->error);
		log_verdict(d, e, note);
		if (e->error == 0 && is_lease_slot(note->slot)) {
			/* As long as it goes on, no kernel lease can be had: that holds off grants. */
			core_op_finished(d->core, now_ns(), note->op);
		} else if (e->error == 0) {
			note_pass(d, note);
			return;
		}
	} else if (note->kind == NOTE_ADMIN) {
		admin = session_find(d, note->session);
		done.head.error = -e->error;
		if (admin)
			session_event(admin, &done.head, sizeof(done));
	}
	if (note->refused)
		*note->refused = e->error;
	note_free(d, note);
}

static void log_told(const struct session *s, const struct core_effect *e, uint16_t opcode,
		     const struct file *file)
{
	char buffer[DLP_MAX_PATH];
	const char *path = file_path(file, buffer);

	log_about(LOG_NOTICE,
		  &(struct log_subject){.event = opcode == DLP_EV_REVOKE ? LOG_EVENT_REVOKED : LOG_EVENT_NONE,
					.path = path,
					.pid = s->pid,
					.breaker = e->tgid,
					.start = e->start,
					.end = e->end,
					.cause = dlp_cause_text(e->cause)},
		  "%s: [%llu, %llu): lease of pid %d (%s) %s: %s by pid %d (%s, uid %u)", path,
		  (unsigned long long)e->start, (unsigned long long)e->end, s->pid, s->comm,
		  opcode == DLP_EV_BREAK ? "is being broken" : "is being taken away", dlp_cause_text(e->cause),
		  e->tgid, e->comm, e->uid);
}

static void tell(struct daemon *d, const struct core_effect *e, uint16_t opcode)
{
	struct session *s = session_find(d, e->session);
	const struct file *file = file_lookup(d, e->dev, e->ino);
	uint64_t now = now_ns();
	struct dlp_ev_break event = {
		.head.opcode = opcode,
		.dev = e->dev,
		.ino = e->ino,
		.start = e->start,
		.end = e->end,
		.left_ns = e->deadline_ns > now ? e->deadline_ns - now : 0,
		.epoch = e->epoch,
		.cause = e->cause,
		.pid = e->tgid,
		.tid = e->tid,
		.uid = e->uid,
	};
	int rc;

	if (!s)
		return;
	memcpy(event.comm, e->comm, sizeof(event.comm));
	event.comm[sizeof(event.comm) - 1] = 0;
	/* first, since there may be a thousand more to be told */
	rc = session_event(s, &event.head, sizeof(event));
	if (file && opcode != DLP_EV_DROP)
		log_told(s, e, opcode, file);
	report_effect(d,
		      opcode == DLP_EV_BREAK	? DLP_HAPPENED_BREAKING
		      : opcode == DLP_EV_REVOKE ? DLP_HAPPENED_REVOKING
						: DLP_HAPPENED_DROPPING,
		      e, s, event.left_ns);
	/* Its own operation ends this part; with no MR on it there is nothing to wait for, and the thread that would
	 * answer may be the one that waits. */
	if (opcode == DLP_EV_DROP && !mr_any(s) && !s->mrs_unknown && !session_has_unread(s)) {
		core_answered(d->core, now, s->id, e->dev, e->ino, e->start, e->end, e->epoch);
		return;
	}
	if (rc == 0)
		return;
	if (rc == -EPIPE)
		holder_look(s);
	/* It does not read, or hung up: there is nobody who could let go. One that merely hung up keeps its time,
	 * since it may be gone from the file by then; the fence looks. */
	log_warning("pid %d (%s) cannot be told: %s", s->pid, s->comm, strerror(-rc));
	if (opcode != DLP_EV_BREAK && rc != -EPIPE)
		core_session_failed(d->core, now, s->id);
}

static void carry_out(struct daemon *d, const struct core_effect *e)
{
	struct session *s;

	switch (e->kind) {
	case CORE_TELL:
		tell(d, e, DLP_EV_BREAK);
		break;
	case CORE_REVOKE:
		tell(d, e, DLP_EV_REVOKE);
		break;
	case CORE_DROP:
		tell(d, e, DLP_EV_DROP);
		break;
	case CORE_FENCE:
		s = session_find(d, e->session);
		if (s)
			holder_fence(s);
		break;
	case CORE_VERDICT:
		verdict(d, e);
		break;
	case CORE_DISARM:
		file_drop(d, e->dev, e->ino);
		break;
	case CORE_CANCELLED:
		grant_cancelled(d, e->session, e->grant);
		break;
	}
}

static void end_if_drained(struct daemon *d)
{
	struct core_counts counts;

	if (!d->draining)
		return;
	core_counts(d->core, &counts);
	if (counts.leases == 0 && counts.waiting == 0)
		event_base_loopbreak(d->base);
}

void run_effects(struct daemon *d)
{
	struct core_effect e;
	uint64_t deadline, now;

	/* What is carried out can lead back here (a hang-up ends a session): the outer call goes on with it. */
	if (d->running_effects)
		return;
	d->running_effects = true;
	/* Before each: what the one before has led to in the core is committed, and that this one is still to be carried out. */
	for (saved_commit(d); core_next_effect(d->core, &e); saved_commit(d))
		carry_out(d, &e);
	d->running_effects = false;
	end_if_drained(d);
	deadline = core_deadline(d->core);
	now = now_ns();
	if (deadline == UINT64_MAX)
		event_del(d->core_timer);
	else
		timer_arm(d->core_timer, deadline > now ? deadline - now : 0);
}

static void core_due(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	core_tick(d->core, now_ns());
	run_effects(d);
}

/* --- attempts --------------------------------------------------------------------------------------------- */

/* A new event of a thread proves that what it did before has finished; not so for the second event of one call
 * (a clone raises one for each file), unless it is the same range of the same file once more. */
static void earlier_finished(struct daemon *d, const struct guard_attempt *a)
{
	struct core_op_view views[HOLD_OFF_BATCH];
	unsigned count = a->tid ? core_ops_passed(d->core, a->tid, views, HOLD_OFF_BATCH) : 0;

	for (unsigned i = 0; i < count; i++) {
		const struct core_op_in *in = &views[i].in;
		const struct op_note *note = note_find(d, in->cookie);
		bool same_call = note && note->syscall_hash == a->syscall_hash;
		bool same_range = in->dev == a->dev && in->ino == a->ino && in->start == a->start &&
				  in->end == a->end;

		if (!a->opaque && (!same_call || same_range))
			op_finished(d, in->cookie, views[i].op);
	}
}

static enum core_own own_of(const struct guard_attempt *a)
{
	if (a->opaque || a->tgid <= 0)
		return CORE_OWN_LIKE_ANY;
	return a->maps ? CORE_OWN_DROP : CORE_OWN_EXEMPT;
}

/* Whether it may wait: 0, or the errno it is to be refused with if something is in its way. */
static int deny_of(struct daemon *d, const struct guard_attempt *a, const struct pool *pool, struct user **waiter)
{
	struct user *user;

	if (a->answered || is_lease_slot(a->slot)) /* of the latter nobody can be refused */
		return 0;
	/* It would wait with the file system's freeze protection held. */
	if (pool && pool->config->deny_trunc && a->cause == DLP_CAUSE_OPEN_TRUNC)
		return pool->config->deny_trunc;
	user = user_get(d, a->uid);
	if (!user)
		return 0;
	if (user_take(d, user, USER_WAITING, 1)) {
		*waiter = user;
		return 0;
	}
	user_put(d, user);
	return -EAGAIN;
}

/* All but those whose end cannot be proven, for which a break of the whole file is refused. */
static void break_one_by_one(struct daemon *d, uint64_t dev, uint64_t ino, uint32_t cause, uint64_t time_ns)
{
	struct core_lease_view lease;
	uint32_t cursor = 0;
	uint64_t id, leases;

	while (core_list(d->core, &cursor, &lease)) {
		if (lease.dev == dev && lease.ino == ino &&
		    (lease.state == CORE_HELD || (lease.state == CORE_BREAKING && time_ns == 0)))
			break_range(d, dev, ino, lease.start, lease.end, lease.number, cause, time_ns, NULL, &id, &leases);
	}
}

void breaks_expired(struct daemon *d, uint64_t dev, uint64_t ino)
{
	break_one_by_one(d, dev, ino, DLP_CAUSE_RECHECK, 0);
}

/* Of a kernel lease: who is refused waits all the same, and goes on when the kernel's time is over. By then all is to have ended
 * whose end can be proven. */
static void attempt(struct daemon *d, const struct guard_attempt *a)
{
	const struct file *file = file_lookup(d, a->dev, a->ino);
	const struct pool *pool = file ? file->pool : NULL; /* also if it was unmounted lazily meanwhile */
	struct op_note *note = note_new(d, NOTE_THREAD);
	struct core_op_in in = {
		.dev = a->dev,
		.ino = a->ino,
		.start = a->start,
		.end = a->end,
		.break_time_ns = a->late ? 0 : pool ? pool->config->break_time_ns : d->config.break_time_ns,
		.tid = a->tid ? a->tid : -1, /* 0 would be an administrator: an unknown thread is not */
		.tgid = a->tgid,
		.uid = a->uid,
		.cause = a->cause,
		.own = own_of(a),
		.two_file = a->two_file,
		.answered = a->answered,
	};
	uint64_t leases = 0;
	int rc = -ENOMEM, refused = 0;

	log_debug("attempt by thread %d of process %d (%s): %s, system call %ld%s%s", a->tid, a->tgid, a->comm,
		  dlp_cause_text(a->cause), a->syscall, a->opaque ? ", opaque" : "", a->answered ? ", answered" : "");
	earlier_finished(d, a);
	memcpy(in.comm, a->comm, sizeof(in.comm));
	if (note) {
		note->tid = in.tid;
		note->slot = a->slot;
		note->serial = a->serial;
		note->open = !a->answered;
		note->unleased = a->answered;
		note->syscall_hash = a->syscall_hash;
		note->dev = a->dev;
		note->ino = a->ino;
		in.cookie = note->cookie;
		in.deny = deny_of(d, a, pool, &note->user);
		note->refused = &refused;
		rc = core_attempt(d->core, now_ns(), &in, &note->op, &leases);
		note->leases = leases;
		note_save(d, note);
	}
	if (leases)
		report_waiting(d, &in);
	if (rc < 0) {
		log_error("%s by pid %d %s: %s", dlp_cause_text(a->cause), a->tgid,
			  a->answered ? "cannot be held off from grants" : "refused", strerror(-rc));
		answer_thread(d, a->slot, a->answered ? 0 : -EBUSY);
		if (note)
			note_free(d, note);
	} else if (a->answered) {
		note_pass(d, note);
	}
	run_effects(d);
	note = note_find(d, in.cookie);
	if (note)
		note->refused = NULL;
	if (rc == 0 && a->answered)
		answer_thread(d, a->slot, 0);
	if (is_lease_slot(a->slot) && (rc < 0 || refused))
		break_one_by_one(d, a->dev, a->ino, a->cause, in.break_time_ns);
}

void guard_drain(struct daemon *d)
{
	struct guard_attempt a;

	while (d->guard && d->guard->ops->next(d->guard, &a))
		attempt(d, &a);
	while (d->leases && d->leases->ops->next(d->leases, &a))
		attempt(d, &a);
	leased_notice(d);
}

static void guard_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	guard_drain(arg);
}

int break_range(struct daemon *d, uint64_t dev, uint64_t ino, uint64_t start, uint64_t end, uint64_t lease,
		uint32_t cause, uint64_t break_time_ns, struct session *admin, uint64_t *id, uint64_t *leases)
{
	struct op_note *note = note_new(d, admin ? NOTE_ADMIN : NOTE_INTERNAL);
	struct core_op_in in = {
		.dev = dev,
		.ino = ino,
		.start = start,
		.end = end,
		.break_time_ns = break_time_ns,
		.cause = cause,
		.own = CORE_OWN_LIKE_ANY,
		.only_lease = lease,
	};
	int refused = 0;
	int rc;

	*id = 0;
	*leases = 0;
	if (!note)
		return -ENOMEM;
	if (admin) {
		in.tgid = admin->pid;
		in.uid = admin->uid;
		memcpy(in.comm, admin->comm, sizeof(in.comm));
		note->session = admin->id;
	}
	in.cookie = note->cookie;
	note->refused = &refused;
	rc = core_attempt(d->core, now_ns(), &in, &note->op, leases);
	note->leases = *leases;
	if (*leases)
		report_waiting(d, &in);
	note_save(d, note);
	if (rc < 0)
		note_free(d, note);
	else if (*leases)
		*id = in.cookie;
	run_effects(d);
	note = note_find(d, in.cookie);
	if (note)
		note->refused = NULL;
	return rc < 0 ? rc : refused;
}

/* Again and again until all is over, since a table can be full, or a grant have been under way. A whole file's break
 * is refused if the end of one of its leases cannot be proven: then the others one by one. */
static void drain(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	struct core_lease_view lease;
	uint32_t cursor = 0;
	uint64_t id, leases;

	(void)fd;
	(void)what;
	while (core_list(d->core, &cursor, &lease)) {
		const struct file *file = file_lookup(d, lease.dev, lease.ino);
		uint64_t time_ns = file && file->pool ? file->pool->config->break_time_ns : d->config.break_time_ns;

		if (lease.state == CORE_HELD &&
		    break_range(d, lease.dev, lease.ino, 0, UINT64_MAX, 0, DLP_CAUSE_ADMIN_BREAK, time_ns, NULL, &id,
				&leases) == -EBUSY)
			break_range(d, lease.dev, lease.ino, lease.start, lease.end, lease.number,
				    DLP_CAUSE_ADMIN_BREAK, time_ns, NULL, &id, &leases);
	}
	timer_arm(d->drain_timer, DRAIN_AGAIN_NS);
	run_effects(d);
}

void breaks_drain(struct daemon *d)
{
	d->draining = true;
	drain(-1, 0, d);
}

/* --- hold-off --------------------------------------------------------------------------------------------- */

struct settle {
	struct daemon *daemon;
	unsigned items;
	uint64_t cookies[WORKER_MAX_ITEMS];
};

static void settled(void *arg, const struct worker_result *result)
{
	struct settle *settle = arg;
	struct daemon *d = settle->daemon;

	d->settling = false;
	for (unsigned i = 0; i < settle->items; i++) {
		struct op_note *note = note_find(d, settle->cookies[i]);

		if (!note)
			continue;
		note->running_looks = 0;
		if (!result->error && (result->settled & (1ull << i)))
			op_finished(d, note->cookie, note->op);
	}
	free(settle);
	run_effects(d);
}

static void submit_settle(struct daemon *d, const struct settle *wanted, const struct worker_job *job)
{
	struct settle *settle = malloc(sizeof(*settle));
	uint64_t id;

	if (!settle)
		return;
	*settle = *wanted;
	if (workers_submit(d->workers, job, -1, UINT64_MAX, SETTLE_LIMIT_NS * job->items, settled, settle, &id) < 0)
		free(settle);
	else
		d->settling = true;
}

/* Looks at each of these; those that have finished are forgotten, those that cannot be told after some looks go
 * to a worker. */
static void look_at(struct daemon *d, struct op_note *const *notes, unsigned count)
{
	struct settle settle = {.daemon = d};
	struct worker_job job = {.kind = WORKER_SETTLE};

	for (unsigned i = 0; i < count; i++) {
		struct op_note *note = notes[i];
		int rc = guard_op_finished(note->tid, note->syscall_hash);

		/* Of an operation on a leased file at least its own range is held off until its end. */
		if (now_ns() - note->passed_ns > ONE_FILE_NS)
			core_op_one_file(d->core, note->op);
		if (rc == 1 || (note->unleased && now_ns() - note->passed_ns > ONE_FILE_NS)) {
			op_finished(d, note->cookie, note->op);
		} else if (rc == -EAGAIN && ++note->running_looks >= RUNNING_LOOKS && !d->settling) {
			job.op[job.items].tid = note->tid;
			job.op[job.items++].syscall_hash = note->syscall_hash;
			settle.cookies[settle.items++] = note->cookie;
		}
	}
	if (job.items)
		submit_settle(d, &settle, &job);
}

void hold_off_look(struct daemon *d, uint64_t dev, uint64_t ino, uint64_t start, uint64_t end)
{
	struct core_op_view views[HOLD_OFF_BATCH];
	struct op_note *notes[HOLD_OFF_BATCH], *note;
	unsigned found = core_ops_in_the_way(d->core, dev, ino, start, end, views, HOLD_OFF_BATCH), count = 0;

	for (unsigned i = 0; i < found; i++) {
		note = note_find(d, views[i].in.cookie);
		if (note && note->passed)
			notes[count++] = note;
	}
	look_at(d, notes, count);
}

/* The next ones in turn: some whose end cannot be told do not keep the others from theirs. */
static void hold_off_due(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	struct op_note *notes[HOLD_OFF_BATCH], *note;
	unsigned count = 0;

	(void)fd;
	(void)what;
	while (count < HOLD_OFF_BATCH && (note = TAILQ_FIRST(&d->passed)) && (count == 0 || note != notes[0])) {
		TAILQ_REMOVE(&d->passed, note, entry);
		TAILQ_INSERT_TAIL(&d->passed, note, entry);
		notes[count++] = note;
	}
	look_at(d, notes, count);
	run_effects(d);
	d->hold_off_ns = d->hold_off_ns * 2 < HOLD_OFF_LAST_NS ? d->hold_off_ns * 2 : HOLD_OFF_LAST_NS;
	if (!TAILQ_EMPTY(&d->passed))
		timer_arm(d->hold_off_timer, d->hold_off_ns);
	else
		d->hold_off_ns = 0;
}

bool breaks_owed(void *daemon, uint32_t slot, uint64_t serial)
{
	const struct daemon *d = daemon;

	for (const struct op_note *note = d->notes; note; note = note->hh.next) {
		if (note->open && note->slot == slot && note->serial == serial)
			return true;
	}
	return false;
}

static bool guard_owes(struct daemon *d, uint32_t slot, uint64_t serial)
{
	struct guard *guard = is_lease_slot(slot) ? d->leases : d->guard;

	return guard && guard->ops->owes(guard, slot, serial);
}

static int note_restore(struct daemon *d, const struct saved_note *record, uint32_t index)
{
	struct op_note *note = calloc(1, sizeof(*note));

	if (!note)
		return -ENOMEM;
	note->saved = index;
	note->cookie = record->cookie;
	note->serial = record->serial;
	note->syscall_hash = record->syscall_hash;
	note->since_ns = record->since_ns;
	note->dev = record->dev;
	note->ino = record->ino;
	note->kind = record->kind;
	note->op = record->op;
	note->slot = record->slot;
	note->session = record->session;
	note->tid = record->tid;
	note->unleased = record->unleased;
	/* Its verdict may have been given and not committed. */
	note->open = record->open && guard_owes(d, record->slot, record->serial);
	HASH_ADD(hh, d->notes, cookie, sizeof(note->cookie), note);
	if (record->passed)
		note_pass(d, note);
	return 0;
}

int breaks_restore(struct daemon *d)
{
	const struct saved_note *record;
	uint32_t cursor = 0;
	int rc = 0;

	while (rc == 0 && (record = saved_next(d, SAVED_NOTE, &cursor)))
		rc = note_restore(d, record, cursor);
	return rc;
}

int breaks_start(struct daemon *d)
{
	int rc = answers_start(d);

	if (rc < 0)
		return rc;
	TAILQ_INIT(&d->passed);
	d->core_timer = evtimer_new(d->base, core_due, d);
	d->hold_off_timer = evtimer_new(d->base, hold_off_due, d);
	d->drain_timer = evtimer_new(d->base, drain, d);
	if (!d->core_timer || !d->hold_off_timer || !d->drain_timer)
		return -ENOMEM;
	if (!d->guard)
		return 0;
	d->guard_event = event_new(d->base, d->guard->event_fd, EV_READ | EV_PERSIST, guard_ready, d);
	return d->guard_event && event_add(d->guard_event, NULL) == 0 ? 0 : -ENOMEM;
}

void breaks_stop(struct daemon *d)
{
	struct op_note *note, *next;

	HASH_ITER(hh, d->notes, note, next)
		note_free(d, note);
	answers_stop(d);
	if (d->guard_event)
		event_free(d->guard_event);
	if (d->core_timer)
		event_free(d->core_timer);
	if (d->hold_off_timer)
		event_free(d->hold_off_timer);
	if (d->drain_timer)
		event_free(d->drain_timer);
}
