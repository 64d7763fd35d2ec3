// SPDX-License-Identifier: LGPL-2.1-or-later
/* Requests of administrators and viewers. Whoever is not an administrator sees his own leases only. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/store.h"

static void copy(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	memcpy(to, from, n);
	to[n] = 0;
}

/* Counting is linear in all leases: whoever is not an administrator cannot have it done again and again. */
uint64_t admin_leases_of(const struct session *s, struct pool *pool)
{
	struct core_lease_view lease;
	uint64_t now = now_ns();
	uint32_t cursor = 0;

	if (!s->may_admin && pool->counted_ns && now - pool->counted_ns < NS_PER_S)
		return pool->leases;
	pool->counted_ns = now;
	pool->leases = 0;
	while (core_list(s->daemon->core, &cursor, &lease))
		pool->leases += pool_has(pool, lease.dev, lease.ino);
	return pool->leases;
}

void admin_pool(struct session *s, const struct dlp_pool *m)
{
	struct daemon *d = s->daemon;
	struct dlp_pool_reply reply = {.pools = d->pools_count};
	struct pool *pool;

	if (m->index >= d->pools_count) {
		session_reply(s, &m->head, &reply.head, sizeof(reply), -1, ENOENT);
		return;
	}
	pool = &d->pools[m->index];
	reply.type = pool->config->type;
	reply.state = pool->state;
	reply.label = pool->state == DLP_POOL_READY ? pool_label(pool) : 0;
	reply.dev = pool->dev;
	reply.break_time_ns = pool->config->break_time_ns;
	/* Holders ask for pools at their start, and have no use for it. */
	reply.leases = s->role == DLP_ROLE_HOLDER ? 0 : admin_leases_of(s, pool);
	copy(reply.name, sizeof(reply.name), pool->config->name);
	copy(reply.fstype, sizeof(reply.fstype), pool->fstype);
	copy(reply.path, sizeof(reply.path), pool->config->path);
	copy(reply.reason, sizeof(reply.reason), pool->reason);
	if (is_pool_closed(d, pool))
		copy(reply.reason, sizeof(reply.reason), "closed for new leases by an administrator: 'daxleasectl drain "
			"--reopen' opens it");
	session_reply(s, &m->head, &reply.head, sizeof(reply), -1, 0);
}

static uint32_t wire_state(enum core_lease_state state)
{
	switch (state) {
	case CORE_PENDING:
		return DLP_LEASE_NONE;
	case CORE_HELD:
		return DLP_LEASE_HELD;
	case CORE_BREAKING:
		return DLP_LEASE_BREAKING;
	case CORE_REVOKING:
		return DLP_LEASE_REVOKING;
	case CORE_FENCING:
	case CORE_UNPROVEN:
		return DLP_LEASE_FENCING;
	}
	return DLP_LEASE_NONE;
}

static uint64_t left_of(const struct core_lease_view *lease)
{
	uint64_t now = now_ns();

	if (lease->state == CORE_HELD)
		return UINT64_MAX;
	return lease->deadline_ns > now ? lease->deadline_ns - now : 0;
}

static uint64_t since_realtime(uint64_t since_ns)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec - (now_ns() - since_ns);
}

static void fill(struct daemon *d, struct dlp_list_reply *reply, const struct core_lease_view *lease,
		 const struct session *holder)
{
	const struct file *file = file_lookup(d, lease->dev, lease->ino);

	reply->lease = lease->number;
	reply->dev = lease->dev;
	reply->ino = lease->ino;
	reply->start = lease->start;
	reply->end = lease->end;
	reply->since_ns = since_realtime(lease->since_ns);
	reply->left_ns = left_of(lease);
	reply->state = wire_state(lease->state);
	reply->flags = lease->flags | (holder->unproven ? DLP_LIST_UNPROVEN : 0);
	reply->pid = holder->pid;
	reply->uid = holder->uid;
	reply->mrs = mr_count(holder, lease->dev, lease->ino, lease->start, lease->end);
	copy(reply->comm, sizeof(reply->comm), holder->comm);
	if (!file || !file->pool)
		return;
	reply->label = file_label(d, file);
	copy(reply->pool, sizeof(reply->pool), file->pool->config->name);
	file_path(file, reply->path);
}

/* The next one behind the cursor of those that s may see. The leases of others are not even looked at: there may be
 * very many, and anybody may ask. */
static bool next_lease(const struct session *s, uint32_t *cursor, struct core_lease_view *lease)
{
	const struct core *core = s->daemon->core;
	uint32_t best = UINT32_MAX;

	if (s->role == DLP_ROLE_ADMIN)
		return core_list(core, cursor, lease);
	for (const struct session *holder = s->daemon->sessions; holder; holder = holder->hh.next) {
		struct core_lease_view view;
		uint32_t index = 0;

		while (holder->uid == s->uid && core_list_session(core, holder->id, &index, &view)) {
			if (index <= *cursor || index >= best)
				continue;
			best = index;
			*lease = view;
		}
	}
	*cursor = best;
	return best != UINT32_MAX;
}

void admin_list(struct session *s, const struct dlp_list *m)
{
	struct daemon *d = s->daemon;
	struct dlp_list_reply reply = {.cursor = m->cursor};
	struct core_lease_view lease;
	uint32_t cursor = (uint32_t)m->cursor;

	if (m->cursor <= UINT32_MAX) {
		while (next_lease(s, &cursor, &lease)) {
			const struct session *holder = session_find(d, lease.session);

			if (!holder)
				continue;
			reply.cursor = cursor;
			fill(d, &reply, &lease, holder);
			session_reply(s, &m->head, &reply.head, sizeof(reply), -1, 0);
			return;
		}
	}
	session_reply(s, &m->head, &reply.head, sizeof(reply), -1, ENOENT);
}

void admin_waiting(struct session *s, const struct dlp_list *m)
{
	struct daemon *d = s->daemon;
	struct dlp_waiting_reply reply = {.cursor = m->cursor};
	struct core_op_view op;
	uint32_t cursor = (uint32_t)m->cursor;
	const struct file *file;
	bool found = false;

	while (m->cursor <= UINT32_MAX && !found && core_list_waiting(d->core, &cursor, &op, &reply.lease))
		found = s->role == DLP_ROLE_ADMIN || op.in.uid == s->uid;
	if (!found) {
		reply.lease = 0;
		session_reply(s, &m->head, &reply.head, sizeof(reply), -1, ENOENT);
		return;
	}
	reply.cursor = cursor;
	reply.dev = op.in.dev;
	reply.ino = op.in.ino;
	reply.start = op.in.start;
	reply.end = op.in.end;
	reply.waited_ns = now_ns() - op.since_ns;
	reply.cause = op.in.cause;
	reply.pid = op.in.tgid;
	reply.tid = op.in.tid;
	reply.uid = op.in.uid;
	copy(reply.comm, sizeof(reply.comm), op.in.comm);
	file = file_lookup(d, op.in.dev, op.in.ino);
	if (file && file->pool)
		copy(reply.pool, sizeof(reply.pool), file->pool->config->name);
	if (file)
		file_path(file, reply.path);
	session_reply(s, &m->head, &reply.head, sizeof(reply), -1, 0);
}

void admin_status(struct session *s, const struct dlp_head *m)
{
	static const uint32_t kept[] = {
		[STORE_NONE] = DLP_KEPT_NOTHING,
		[STORE_KEPT] = DLP_KEPT_ALL,
		[STORE_LOST] = DLP_KEPT_LOST,
	};
	struct daemon *d = s->daemon;
	struct dlp_status_reply reply = {
		.pid = getpid(),
		.sessions = HASH_COUNT(d->sessions),
		.uptime_ns = now_ns() - d->started_ns,
		.break_time_ns = d->config.break_time_ns,
		.margin_ns = d->config.margin_ns,
		.fence_ns = d->config.fence_ns,
		.pools = d->pools_count,
		.kept = kept[store_state(d->store)],
	};
	struct core_counts counts;
	struct utsname name;

	core_counts(d->core, &counts);
	reply.leases = counts.leases;
	reply.breaks = counts.breaks;
	reply.waiting = counts.waiting;
	reply.revoked = counts.revoked;
	reply.fenced = counts.fenced;
	reply.refused = counts.refused;
	copy(reply.version, sizeof(reply.version), PACKAGE_VERSION);
	if (uname(&name) == 0)
		copy(reply.kernel, sizeof(reply.kernel), name.release);
	session_reply(s, m, &reply.head, sizeof(reply), -1, 0);
}

void admin_break(struct session *s, const struct dlp_break *m, int fd)
{
	struct daemon *d = s->daemon;
	struct dlp_break_reply reply = {0};
	uint64_t start = m->start, end = m->end;
	const struct file *file;
	struct statx stx;
	/* Not fstat: the descriptor may be a FUSE server's, which answers when it likes. */
	int rc = statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &stx);

	if (rc < 0)
		rc = -errno;
	else if (!S_ISREG(stx.stx_mode) && !S_ISCHR(stx.stx_mode))
		rc = -EINVAL;
	file = rc < 0 ? NULL : file_lookup(d, makedev(stx.stx_dev_major, stx.stx_dev_minor), stx.stx_ino);
	if (file && file->pool && file->pool->config->type == DLP_POOL_DEVDAX)
		device_round(file->pool, &start, &end);
	if (file)
		rc = break_range(d, file->key.dev, file->key.ino, start, end, 0, DLP_CAUSE_ADMIN_BREAK,
				 file->pool ? file->pool->config->break_time_ns : d->config.break_time_ns, s,
				 &reply.id, &reply.leases);
	session_reply(s, &m->head, &reply.head, sizeof(reply), -1, rc);
}

void admin_lease_revoke(struct session *s, const struct dlp_lease_revoke *m)
{
	struct daemon *d = s->daemon;
	struct dlp_break_reply reply = {0};
	struct core_lease_view lease;
	int rc = -ENOENT;

	if (core_lease_by_number(d->core, m->lease, &lease))
		rc = break_range(d, lease.dev, lease.ino, lease.start, lease.end, m->lease, DLP_CAUSE_ADMIN_REVOKE, 0,
				 s, &reply.id, &reply.leases);
	session_reply(s, &m->head, &reply.head, sizeof(reply), -1, rc);
}

void admin_lease_forget(struct session *s, const struct dlp_lease_revoke *m)
{
	struct daemon *d = s->daemon;
	struct dlp_break_reply reply = {0};
	struct core_lease_view lease, one;
	struct session *holder = NULL;
	uint32_t cursor = 0;
	int rc = -ENOENT;

	if (core_lease_by_number(d->core, m->lease, &lease))
		holder = session_find(d, lease.session);
	while (holder && core_list_session(d->core, holder->id, &cursor, &one))
		reply.leases++;
	if (holder) {
		log_warning("lease %llu of pid %d (%s): its end is asked for without a proof by pid %d (%s, uid %u)",
			    (unsigned long long)m->lease, holder->pid, holder->comm, s->pid, s->comm, s->uid);
		rc = holder_forget(holder);
	}
	if (rc < 0)
		reply.leases = 0;
	session_reply(s, &m->head, &reply.head, sizeof(reply), -1, rc);
}

void admin_query(struct session *s, const struct dlp_range *m)
{
	struct dlp_query_reply reply = {.state = DLP_LEASE_NONE, .left_ns = UINT64_MAX};
	struct core_lease_view lease;
	uint64_t offset = m->start;
	enum core_lease_state worst = CORE_PENDING;

	while (core_list_session_file(s->daemon->core, s->id, m->dev, m->ino, &offset, &lease) &&
	       lease.start < m->end) {
		if (lease.state < worst || lease.state == CORE_PENDING)
			continue;
		worst = lease.state;
		reply.state = wire_state(lease.state);
		reply.left_ns = left_of(&lease);
	}
	session_reply(s, &m->head, &reply.head, sizeof(reply), -1, 0);
}
