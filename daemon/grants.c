// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Taking a lease: which file, who, is its block map settled; guard armed; the core grants; reply.
 *
 * The order is what makes it safe. First the lease is pending in the core and the guard is armed: from then on every
 * attempt is seen, and ends the pending lease. Then a worker looks at the extents; that look is also the
 * barrier which waits for operations that were past the guard already and hold the inode's lock. Before it the worker waits
 * for the threads that the guard let go on with the file before it was armed: they run when they are next on a processor. An
 * operation past the guard but not yet at the lock otherwise is what the second look, a little later, is for.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/store.h"

#define LOOK_LIMIT_NS (1 * NS_PER_S)
#define SECOND_LOOK_NS (100 * NS_PER_MS)
#define SECOND_LOOK_TRIES 5
#define SECOND_LOOK_LAST_NS (10 * NS_PER_S)
#define CAP_LEASE_BIT 28 /* include/uapi/linux/capability.h */

/* A request until its reply, then the same range until the second look. Until the reply it is its session's, and
 * ends with it or by CORE_CANCELLED; then it is owned by the worker job or timer that is under way for it. */
struct grant {
	struct daemon *daemon;
	struct grant *next; /* all of them, for the end of the daemon */
	struct grant **link;
	struct session *session; /* NULL once replied */
	struct dlp_head request;
	uint64_t ticket;
	uint64_t dev, ino, start, end;
	bool require_dax, reopen_ok;
	bool path_only; /* fd is O_PATH */
	bool take_lease; /* its job takes a kernel lease */
	bool over;	 /* answered, while that job is under way: it frees this */
	bool noted;	/* a successor would look, too: file_end_look() is owed */
	bool is_device; /* device-dax: no blocks to look at, now or later */
	struct user *user; /* fd is on its account */
	int fd;
	uint64_t job;
	struct event *timer;
	unsigned tries;
	bool busy; /* its callback is on the stack, and frees it */
	uint64_t since_ns;
};

static void grant_free(struct grant *g)
{
	if (g->noted)
		file_end_look(g->daemon, g->dev, g->ino);
	*g->link = g->next;
	if (g->next)
		g->next->link = g->link;
	if (g->job)
		workers_cancel(g->daemon->workers, g->job);
	if (g->timer)
		event_free(g->timer);
	closer_close(g->fd, g->user->uid);
	user_give(g->daemon, g->user, USER_DESCRIPTORS, 1);
	user_put(g->daemon, g->user);
	free(g);
}

/* A job that takes a kernel lease is waited for, so that the lease does not stay behind. */
static void grant_end(struct grant *g)
{
	if (!g->take_lease || !g->job) {
		grant_free(g);
		return;
	}
	g->session = NULL;
	g->over = true;
}

static void refuse(struct session *s, const struct dlp_head *request, uint32_t reason, uint64_t offset,
		   const struct pool *pool)
{
	struct dlp_grant_reply reply = {.reason = reason, .offset = offset};

	if (pool && reason == DLP_REASON_ALIGNMENT)
		reply.alignment = (uint32_t)pool->node.alignment;

	session_reply(s, request, &reply.head, sizeof(reply), -1, dlp_reason_errno(reason));
}

/* Of any descriptor a client may send: fstat(2) waits for a FUSE server or the like, this does not. */
static uint64_t device_of(int fd)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &stx) < 0)
		return 0;
	return makedev(stx.stx_dev_major, stx.stx_dev_minor);
}

/* NULL: none, or only its path tells. */
static struct pool *pool_of(struct daemon *d, int fd)
{
	struct statx stx;
	uint64_t dev;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &stx) < 0)
		return NULL;
	dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	return S_ISCHR(stx.stx_mode) ? device_pool(d, dev, stx.stx_ino) : pool_by_dev(d, dev);
}

static void report(const struct grant *g, uint32_t reason, uint64_t offset)
{
	struct daemon *d = g->daemon;

	happened(d, &(struct happening){.kind = reason ? DLP_HAPPENED_REFUSED : DLP_HAPPENED_GRANTED,
					.detail = reason,
					.holder = g->session,
					.file = file_lookup(d, g->dev, g->ino),
					.dev = g->dev,
					.ino = g->ino,
					.start = g->start,
					.end = g->end,
					.offset = offset,
					.duration_ns = now_ns() - g->since_ns});
}

/* One that did not even begin. */
static void report_unbegun(struct session *s, const struct dlp_grant *m, int fd, uint32_t reason)
{
	struct daemon *d = s->daemon;
	char path[DLP_MAX_PATH];

	happened(d, &(struct happening){.kind = DLP_HAPPENED_REFUSED,
					.detail = reason,
					.holder = s,
					.pool = pool_of(d, fd),
					.path = LIST_EMPTY(&d->watchers) ? NULL : fd_path(fd, path),
					.start = m->start,
					.end = m->end});
}

static uint32_t reason_of(int error, bool two_file)
{
	if (error == -EAGAIN)
		return two_file ? DLP_REASON_TWO_FILE : DLP_REASON_BREAKING;
	return DLP_REASON_LIMIT;
}

/* --- who may (C4) ---------------------------------------------------------------------------------------- */

/* CAP_LEASE in our user namespace. The pidfd is older than the look, and the process lives after it: so
 * what was read was its own. */
static bool has_cap_lease(const struct session *s)
{
	struct stat theirs, ours;
	struct pollfd alive = {.fd = s->pidfd, .events = POLLIN};
	char path[48], line[256];
	unsigned long long caps = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/ns/user", s->pid);
	if (stat(path, &theirs) < 0 || stat("/proc/self/ns/user", &ours) < 0 || theirs.st_ino != ours.st_ino)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/status", s->pid);
	status = fopen(path, "re");
	if (!status)
		return false;
	while (fgets(line, sizeof(line), status)) {
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	}
	if (fclose(status) != 0)
		return false;
	return (caps >> CAP_LEASE_BIT & 1) && poll(&alive, 1, 0) == 0;
}

static uint32_t may_lease(const struct session *s, const struct stat *st, int fd, uint32_t flags)
{
	int open_flags = fcntl(fd, F_GETFL);

	if (open_flags < 0 || (open_flags & O_PATH))
		return DLP_REASON_READ_ONLY;
	if ((flags & DLP_GRANT_WRITE) && (open_flags & O_ACCMODE) == O_RDONLY)
		return DLP_REASON_READ_ONLY;
	if (st->st_uid == s->uid || s->uid == 0 || has_cap_lease(s))
		return DLP_REASON_NONE;
	return DLP_REASON_NOT_OWNER;
}

/* --- second look ------------------------------------------------------------------------------------------ */

static void look_again(evutil_socket_t fd, short what, void *arg);

static int submit_look(struct grant *g, worker_done *done, const struct guard_passed *passed, unsigned count);

/* How many leases are being broken by it. That of a range is refused as a whole if the end of one of its leases cannot be
 * proven: then the others one by one. */
static uint64_t revoke_leased(struct daemon *d, uint64_t dev, uint64_t ino, uint64_t start, uint64_t end)
{
	struct core_lease_view lease;
	uint64_t id, leases, all = 0;
	uint32_t cursor = 0;

	if (break_range(d, dev, ino, start, end, 0, DLP_CAUSE_RECHECK, 0, NULL, &id, &leases) != -EBUSY)
		return leases;
	while (core_list(d->core, &cursor, &lease)) {
		if (lease.dev != dev || lease.ino != ino || lease.end <= start || end <= lease.start)
			continue;
		break_range(d, dev, ino, lease.start, lease.end, lease.number, DLP_CAUSE_RECHECK, 0, NULL, &id, &leases);
		all += leases;
	}
	return all;
}

/* What is leased at the offending place is wrong, and all behind it in doubt. true: nothing is leased there (any
 * more), so look on behind it. */
static bool revoke_wrong(struct grant *g, uint64_t offset, const char *why)
{
	struct daemon *d = g->daemon;
	struct file *file = file_lookup(d, g->dev, g->ino);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), leases;
	char path[DLP_MAX_PATH];

	if (offset < g->start || offset >= g->end)
		offset = g->start;
	leases = revoke_leased(d, g->dev, g->ino, offset, offset + page);
	if (leases == 0 && g->end - offset > page) {
		g->start = (offset + page) & ~(page - 1);
		return true;
	}
	if (leases == 0)
		return false;
	log_about(LOG_ERR,
		  &(struct log_subject){.event = LOG_EVENT_ESCAPED,
					.path = file ? file_path(file, path) : "?",
					.start = offset,
					.end = g->end,
					.cause = why},
		  "%s: at %llu: the block map is not as it was when leased (%s): revoking",
		  file ? file_path(file, path) : "?", (unsigned long long)offset, why);
	revoke_leased(d, g->dev, g->ino, offset, g->end);
	return false;
}

/* Nothing was seen: somebody holds the inode's lock, or there was no worker. Other clients can bring that about, and
 * none may end another's lease: so the lease stands, and it is looked at until there is an answer. */
static bool is_no_answer(const struct worker_result *result)
{
	if (result->refusal.reason)
		return result->refusal.reason == DLP_REASON_BARRIER;
	switch (-result->error) {
	case ETIMEDOUT:
	case EAGAIN:
	case EIO:
	case ENOMEM:
	case EMFILE:
		return true;
	}
	return false;
}

static void look_later(struct grant *g)
{
	timer_arm(g->timer, g->tries < SECOND_LOOK_TRIES ? SECOND_LOOK_NS << g->tries : SECOND_LOOK_LAST_NS);
	g->tries++;
}

static void looked_again(void *arg, const struct worker_result *result)
{
	struct grant *g = arg;
	const struct file *file = file_lookup(g->daemon, g->dev, g->ino);
	uint32_t reason = result->refusal.reason;
	const char *why = reason ? dlp_reason_text(reason) : strerror(-result->error);
	char path[DLP_MAX_PATH];
	bool again = false;

	g->job = 0;
	g->busy = true;
	log_debug("%s look at [%llu, %llu): %s", g->path_only ? "after a change, a" : "second", (unsigned long long)g->start, (unsigned long long)g->end,
		  result->error ? strerror(-result->error) : "as granted");
	if (result->error && file && is_no_answer(result)) {
		again = true;
		if (g->tries == SECOND_LOOK_TRIES)
			log_warning("%s: [%llu, %llu): the second look has no answer yet (%s): the lease stands",
				    file_path(file, path), (unsigned long long)g->start, (unsigned long long)g->end,
				    why);
	} else if (result->error && file) {
		again = revoke_wrong(g, result->refusal.offset, why) && g->tries < SECOND_LOOK_TRIES;
	}
	g->busy = false;
	if (again && file_lookup(g->daemon, g->dev, g->ino))
		look_later(g);
	else
		grant_free(g);
}

/* passed: threads that are to have ended their calls before the look. */
static int submit_look(struct grant *g, worker_done *done, const struct guard_passed *passed, unsigned count)
{
	struct worker_job job = {
		.kind = WORKER_CHECK,
		.start = g->start,
		.end = g->end,
		.require_dax = g->require_dax,
		.reopen_ok = g->reopen_ok,
		.path_only = g->path_only,
		.take_lease = g->take_lease && g->session,
		.is_device = g->is_device,
		.user = g->user->uid,
		.memory_of = g->session && g->session->memory_fd < 0 ? g->session->pid : 0,
	};

	for (; job.items < count; job.items++) {
		job.op[job.items].tid = passed[job.items].tid;
		job.op[job.items].syscall_hash = passed[job.items].syscall_hash;
	}
	return workers_submit(g->daemon->workers, &job, g->fd, g->dev ^ (g->ino << 8), LOOK_LIMIT_NS, done, g,
			      &g->job);
}

static void look_again(evutil_socket_t fd, short what, void *arg)
{
	struct grant *g = arg;
	struct worker_result busy = {.error = -EAGAIN};

	(void)fd;
	(void)what;
	kill_at("second-look");
	if (submit_look(g, looked_again, NULL, 0) < 0)
		looked_again(g, &busy);
}

/* delay_ns 0: now. Is it under way? */
static bool look_at_range(struct daemon *d, struct file *file, uint64_t start, uint64_t end, uint64_t delay_ns)
{
	struct grant *g = calloc(1, sizeof(*g));

	if (!g || !user_take(d, file->user, USER_DESCRIPTORS, 1)) {
		free(g);
		log_warning("a changed file is not looked at: %s", g ? "too many descriptors" : strerror(ENOMEM));
		return false;
	}
	g->timer = evtimer_new(d->base, look_again, g);
	/* Opened for a look, a file would break its own kernel lease. */
	g->path_only = file->lease_fd < 0;
	g->fd = fcntl(g->path_only ? file->opath_fd : file->lease_fd, F_DUPFD_CLOEXEC, 0);
	g->daemon = d;
	g->user = file->user;
	g->dev = file->key.dev;
	g->ino = file->key.ino;
	g->start = start;
	g->end = end;
	g->require_dax = file->pool->config->type == DLP_POOL_FSDAX;
	g->next = d->grants;
	g->link = &d->grants;
	if (g->next)
		g->next->link = &g->next;
	d->grants = g;
	if (g->fd < 0 || !g->timer) {
		grant_free(g);
		return false;
	}
	if (delay_ns) {
		g->noted = true;
		file_begin_look(d, file);
		timer_arm(g->timer, delay_ns);
	} else {
		look_again(-1, 0, g);
	}
	return true;
}

void grants_look(struct daemon *d, struct file *file)
{
	struct core_lease_view lease;
	uint64_t offset = 0;

	while (file->armed && core_list_file(d->core, file->key.dev, file->key.ino, &offset, &lease))
		look_at_range(d, file, lease.start, lease.end, 0);
}

static void resume_looks(struct daemon *d, struct file *file)
{
	struct core_lease_view lease;
	uint64_t offset = 0;
	bool can = file->opath_fd >= 0 && file->pool;

	while (can && core_list_file(d->core, file->key.dev, file->key.ino, &offset, &lease))
		can = look_at_range(d, file, lease.start, lease.end, SECOND_LOOK_NS);
	file->unlookable = !can;
	if (can)
		file_end_look(d, file->key.dev, file->key.ino); /* each of these is counted now */
}

static void revoke_unlookable(struct daemon *d, struct file *file)
{
	log_error("inode %llu of device %llu cannot be looked at a second time after a restart: revoking",
		  (unsigned long long)file->key.ino, (unsigned long long)file->key.dev);
	file->unlookable = false;
	revoke_leased(d, file->key.dev, file->key.ino, 0, UINT64_MAX);
}

void grants_resume(struct daemon *d)
{
	struct file *file;

	for (file = d->files; file; file = file->hh.next) {
		if (file->looks && !sabotaged("no-look"))
			resume_looks(d, file);
	}
	for (file = d->files; file;) {
		const bool revoke = file->unlookable;

		if (revoke)
			revoke_unlookable(d, file);
		file = revoke ? d->files : file->hh.next; /* any can have gone with it */
	}
}

/* --- first look, and the reply ------------------------------------------------------------------------------ */

/* Whether the file is where its pool says it is: for a directory pool only the path tells. */
static uint32_t settle_pool(struct daemon *d, struct file *file, const struct worker_result *result)
{
	if (file->pool && file->pool->config->type == DLP_POOL_DEVDAX) /* it may have changed its driver */
		return device_pool(d, file->key.dev, file->key.ino) ? DLP_REASON_NONE : DLP_REASON_POOL_ABSENT;
	if (file->pool)
		return DLP_REASON_NONE;
	file_set_pool(d, file, pool_by_path(d, file->key.dev, result->path));
	return file->pool ? DLP_REASON_NONE : DLP_REASON_NOT_IN_POOL;
}

static void reply_granted(const struct grant *g, const struct file *file, uint64_t epoch)
{
	struct dlp_grant_reply reply = {
		.dev = g->dev,
		.ino = g->ino,
		.start = g->start,
		.end = g->end,
		.label = file_label(g->daemon, file),
		.pool_type = file->pool->config->type,
		.epoch = epoch,
	};

	log_debug("granted to session %u of pid %d: [%llu, %llu) of inode %llu, epoch %llu", g->session->id, g->session->pid,
		  (unsigned long long)g->start, (unsigned long long)g->end, (unsigned long long)g->ino,
		  (unsigned long long)epoch);
	session_reply(g->session, &g->request, &reply.head, sizeof(reply), -1, 0);
}

/* The request is over, one way or the other: the session reads its next call. */
static void detach_session(struct grant *g)
{
	if (g->session) {
		g->session->grant = NULL;
		session_consume(g->session);
		session_resume(g->session);
	}
	g->session = NULL;
}

static void store_memory(struct session *s, int fd)
{
	int rc = store_put(s->daemon->store, STORE_MEMORY, fd, &s->memory_slot);

	s->memory_fd = fd;
	if (rc < 0)
		log_warning("pid %d (%s): its memory is not watched any more after a restart: %s", s->pid, s->comm,
			    strerror(-rc));
	session_save(s);
}

/* The pidfd is older than the look, and the process lives after it: so what was opened is its own. */
static void keep_memory(struct session *s, const struct worker_result *result)
{
	struct pollfd alive = {.fd = s->pidfd, .events = POLLIN};

	if (result->memory_fd >= 0) {
		if (s->memory_fd < 0 && poll(&alive, 1, 0) == 0)
			store_memory(s, result->memory_fd);
		else
			close(result->memory_fd);
		return;
	}
	switch (-result->memory_error) {
	case EACCES:
	case EPERM:
	case EMFILE:
		break;
	default: /* not asked for; or the process or the worker is gone, and the grant with it */
		return;
	}
	if (!s->memory_unknown)
		log_warning("pid %d (%s): its memory cannot be watched: %s: a process that shares it (vfork, clone "
			    "with CLONE_VM) could outlive it unseen",
			    s->pid, s->comm, strerror(-result->memory_error));
	s->memory_unknown = true;
}

/* The kernel lease that the job has taken, if it has. */
static void adopt_lease(struct grant *g, const struct worker_result *result)
{
	struct file *file = file_lookup(g->daemon, g->dev, g->ino);
	int rc;

	if (!g->take_lease)
		return;
	/* Without one: a worker that was killed has not told. Or another grant was quicker, on the same description or not. */
	if (!result->leased || !file || leased_holds(g->daemon, file)) {
		leased_give_back(file, g->fd);
		return;
	}
	rc = leased_adopt(g->daemon, file, g->fd);
	if (rc < 0)
		log_warning("a kernel lease cannot be kept: %s", strerror(-rc));
}

/* What only a kernel lease protects is not granted without one. */
static uint32_t unguarded(const struct grant *g, const struct file *file)
{
	if (file->pool->label != DLP_LABEL_KERNEL_LEASE || leased_holds(g->daemon, file))
		return DLP_REASON_NONE;
	return DLP_REASON_OPEN_ELSEWHERE;
}

static void looked(void *arg, const struct worker_result *result)
{
	struct grant *g = arg;
	struct daemon *d = g->daemon;
	struct session *s = g->session;
	uint32_t reason = result->refusal.reason;
	struct file *file;
	uint64_t epoch = 0;
	int rc;

	g->job = 0;
	if (g->over) {
		if (result->memory_fd >= 0)
			close(result->memory_fd);
		file = file_lookup(d, g->dev, g->ino);
		if (g->take_lease)
			leased_give_back(file, g->fd);
		grant_free(g);
		return;
	}
	trial_begin(s, &s->calls_trial);
	keep_memory(s, result);
	adopt_lease(g, result);
	/* What the guard stopped or let through before now is in the core before the lease is. The grant can lose
	 * against one of those: then it is answered, and gone. */
	guard_drain(d);
	if (s->grant != g)
		return;
	g->busy = true;
	file = file_lookup(d, g->dev, g->ino);
	if (result->error && !reason)
		reason = DLP_REASON_BARRIER;
	if (!reason && !file)
		reason = DLP_REASON_BREAKING;
	if (!reason)
		reason = settle_pool(d, file, result);
	if (!reason)
		reason = unguarded(g, file);
	if (!reason && is_closed(d, file))
		reason = DLP_REASON_CLOSED;
	rc = core_grant_end(d->core, now_ns(), g->ticket, !reason, &epoch);
	if (!reason && rc < 0)
		reason = reason_of(rc, false);
	report(g, reason, result->refusal.offset);
	if (reason)
		refuse(s, &g->request, reason, result->refusal.offset, NULL);
	if (!reason && !g->is_device) {
		g->noted = true;
		file_begin_look(d, file);
	}
	if (!reason)
		reply_granted(g, file, epoch);
	detach_session(g);
	run_effects(d);
	g->busy = false;
	if (reason || g->is_device || !file_lookup(d, g->dev, g->ino))
		grant_free(g);
	else
		timer_arm(g->timer, SECOND_LOOK_NS);
}

void grants_forget(struct daemon *d, uint64_t dev, uint64_t ino)
{
	struct grant *g, *next;

	for (g = d->grants; g; g = next) {
		next = g->next;
		if (g->dev == dev && g->ino == ino && !g->session && !g->busy && !g->over)
			grant_free(g);
	}
}

void grant_cancelled(struct daemon *d, uint32_t session, uint64_t ticket)
{
	struct session *s = session_find(d, session);
	struct grant *g = s ? s->grant : NULL;

	if (!g || g->ticket != ticket)
		return;
	report(g, DLP_REASON_BREAKING, 0);
	refuse(s, &g->request, DLP_REASON_BREAKING, 0, NULL);
	detach_session(g);
	grant_end(g);
}

void grant_abandon(struct session *s)
{
	struct grant *g = s->grant;

	if (!g)
		return;
	s->grant = NULL;
	g->session = NULL;
	core_grant_end(s->daemon->core, now_ns(), g->ticket, false, NULL);
	grant_end(g);
	run_effects(s->daemon);
}

unsigned grants_on(const struct daemon *d, uint64_t dev)
{
	unsigned count = 0;

	for (const struct grant *g = d->grants; g; g = g->next)
		count += g->dev == dev;
	return count;
}

void grants_stop(struct daemon *d)
{
	while (d->grants) {
		if (d->grants->take_lease && d->grants->job)
			fcntl(d->grants->fd, F_SETLEASE, F_UNLCK);
		grant_free(d->grants);
	}
}

static struct grant *grant_new(struct session *s, const struct dlp_grant *m, int fd, const struct stat *st)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct grant *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->timer = evtimer_new(s->daemon->base, look_again, g);
	if (!g->timer || !user_take(s->daemon, s->user, USER_DESCRIPTORS, 1)) {
		if (g->timer)
			event_free(g->timer);
		free(g);
		return NULL;
	}
	g->daemon = s->daemon;
	g->session = s;
	g->since_ns = now_ns();
	g->request = m->head;
	g->user = s->user;
	g->dev = st->st_dev;
	g->ino = st->st_ino;
	g->start = m->start & ~(page - 1);
	g->end = (m->end + page - 1) & ~(page - 1); /* m->end <= INT64_MAX: no overflow */
	g->fd = fd;
	g->next = g->daemon->grants;
	g->link = &g->daemon->grants;
	if (g->next)
		g->next->link = &g->next;
	g->daemon->grants = g;
	return g;
}

/* Whoever was let through before the file was armed may still be on the way to its lock. */
static bool first_look(struct grant *g)
{
	struct guard *guard = g->daemon->guard;
	struct guard_passed passed[WORKER_MAX_ITEMS];
	unsigned found = guard ? guard->ops->passed(guard, g->dev, g->ino, passed, WORKER_MAX_ITEMS) : 0, count = 0;

	if (found > WORKER_MAX_ITEMS)
		return false;
	for (unsigned i = 0; i < found; i++) {
		if (guard_op_finished(passed[i].tid, passed[i].syscall_hash) != 1)
			passed[count++] = passed[i];
	}
	return submit_look(g, looked, passed, count) == 0;
}

/* Pending in the core, then armed, then the look. The reason it cannot be, or 0. */
static uint32_t begin(struct grant *g, struct file *file, uint32_t flags)
{
	struct daemon *d = g->daemon;
	bool two_file = false;
	char why[256];
	int rc;

	if (file->pool && file->pool->label == DLP_LABEL_KERNEL_LEASE) {
		if (!leased_time_fits(d, file->pool->config, why, sizeof(why))) {
			log_error("pool %s: %s", file->pool->config->name, why);
			return DLP_REASON_GUARD;
		}
		g->take_lease = !leased_holds(d, file);
	}
	hold_off_look(d, g->dev, g->ino, g->start, g->end);
	rc = core_grant_begin(d->core, now_ns(), g->dev, g->ino, g->start, g->end, g->session->id, g->session->pid,
			      flags, &g->ticket, &two_file);
	if (rc < 0)
		return reason_of(rc, two_file);
	if (file->pool && file_arm(d, file, g->fd) < 0) {
		core_grant_end(d->core, now_ns(), g->ticket, false, NULL);
		return DLP_REASON_GUARD;
	}
	if (!first_look(g)) {
		core_grant_end(d->core, now_ns(), g->ticket, false, NULL);
		return DLP_REASON_BARRIER;
	}
	return 0;
}

/* Which pool, who: what can be told without waiting. *file is made when there is none. */
static uint32_t admit(struct session *s, const struct dlp_grant *m, int fd, struct pool *pool, struct stat *st,
		      struct file **file, uint64_t *offset)
{
	bool is_device = pool && pool->config->type == DLP_POOL_DEVDAX;
	struct daemon *d = s->daemon;
	uint32_t reason;

	if (d->draining)
		return DLP_REASON_POOL_ABSENT;
	if (!pool && !pool_any_directory(d, device_of(fd)))
		return DLP_REASON_NOT_IN_POOL;
	/* Before anything is kept that would make a file system busy which is to be unmounted. */
	if (pool && is_pool_closed(d, pool))
		return DLP_REASON_CLOSED;
	if (fstat(fd, st) < 0 || !(is_device ? S_ISCHR(st->st_mode) : S_ISREG(st->st_mode)))
		return DLP_REASON_NOT_REGULAR;
	reason = may_lease(s, st, fd, m->flags);
	if (!reason && is_device)
		reason = device_refuses(pool, m->start, m->end, offset);
	if (reason)
		return reason;
	if (!user_may_lease(d, s->user))
		return DLP_REASON_LIMIT;
	*file = file_get(d, s->user, fd, st->st_dev, st->st_ino);
	if (!*file)
		return DLP_REASON_LIMIT;
	/* Of a directory pool's file only the path tells, later. */
	if (pool)
		file_set_pool(d, *file, pool);
	return 0;
}

void grant_request(struct session *s, const struct dlp_grant *m, int *fd)
{
	struct daemon *d = s->daemon;
	struct file *file = NULL;
	struct grant *g = NULL;
	struct pool *pool;
	uint64_t offset = 0;
	struct stat st;
	uint32_t reason;

	/* First of all: it can end leases, and with its last lease a file's record goes. */
	guard_drain(d);
	pool = pool_of(d, *fd);
	reason = admit(s, m, *fd, pool, &st, &file, &offset);
	if (!reason) {
		g = grant_new(s, m, *fd, &st);
		reason = g ? 0 : DLP_REASON_LIMIT;
	}
	if (!reason) {
		g->is_device = file->pool && file->pool->config->type == DLP_POOL_DEVDAX;
		g->require_dax = file->pool && file->pool->config->type == DLP_POOL_FSDAX;
		g->reopen_ok = !file->pool || file->pool->label == DLP_LABEL_ADVISORY;
		reason = begin(g, file, m->flags);
	}
	if (!reason) {
		s->grant = g;
		*fd = -1;
		session_pause(s);
	} else {
		report_unbegun(s, m, *fd, reason);
		refuse(s, &m->head, reason, offset, pool);
		if (g) {
			g->fd = -1; /* it is closed when the message has been consumed */
			grant_free(g);
		}
		if (file && !core_file_busy(d->core, file->key.dev, file->key.ino))
			file_drop(d, file->key.dev, file->key.ino);
	}
	run_effects(d);
}
