// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Pools and files that an administrator has closed: no lease is granted there any more, so that what he breaks is
 * not taken again before he is done. A closure ends with its session, or stays until it is taken back. A file is named
 * by its number, since a descriptor of it would keep its mount busy: one that gets that number later is closed, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "daemon/closer.h"
#include "daemon/daemon.h"
#include "daemon/log.h"

static bool is_same(const struct closure *a, const struct closure *b)
{
	return a->pool == b->pool && (a->pool || (a->dev == b->dev && a->ino == b->ino));
}

static bool holds(const struct closure *closure, const struct file *file)
{
	if (closure->pool)
		return file->pool == closure->pool;
	return closure->dev == file->key.dev && closure->ino == file->key.ino;
}

bool is_closed(const struct daemon *d, const struct file *file)
{
	for (unsigned i = 0; i < d->closures_count; i++) {
		if (holds(&d->closures[i], file))
			return true;
	}
	return false;
}

bool is_pool_closed(const struct daemon *d, const struct pool *pool)
{
	for (unsigned i = 0; i < d->closures_count; i++) {
		if (d->closures[i].pool == pool)
			return true;
	}
	return false;
}

static void forget(struct daemon *d, unsigned i)
{
	d->closures[i] = d->closures[--d->closures_count];
}

void closures_end(struct session *s)
{
	struct daemon *d = s->daemon;

	for (unsigned i = d->closures_count; i-- > 0;) {
		if (d->closures[i].session == s->id)
			forget(d, i);
	}
}

/* 0, -ENOSPC, -ENOENT. Several sessions may have closed the same. */
static int change(struct daemon *d, const struct closure *wanted, uint32_t flags)
{
	bool found = false;

	for (unsigned i = d->closures_count; i-- > 0;) {
		if (!is_same(&d->closures[i], wanted))
			continue;
		if (flags & DLP_DRAIN_REOPEN) {
			forget(d, i);
			found = true;
		} else if (d->closures[i].session == wanted->session) {
			return 0;
		}
	}
	if (flags & DLP_DRAIN_REOPEN)
		return found ? 0 : -ENOENT;
	if (d->closures_count == CLOSURES_MAX)
		return -ENOSPC;
	d->closures[d->closures_count++] = *wanted;
	return 0;
}

/* A whole file's break is refused if the end of one of its leases cannot be proven: then the others one by one. */
static void break_held(struct session *s, const struct core_lease_view *lease,
		       const struct file *file)
{
	struct daemon *d = s->daemon;
	uint64_t time_ns = file->pool ? file->pool->config->break_time_ns : d->config.break_time_ns;
	uint64_t id, leases;

	if (break_range(d, lease->dev, lease->ino, 0, UINT64_MAX, 0, DLP_CAUSE_ADMIN_BREAK, time_ns,
			s, &id, &leases) == -EBUSY)
		break_range(d, lease->dev, lease->ino, lease->start, lease->end, lease->number,
			    DLP_CAUSE_ADMIN_BREAK, time_ns, s, &id, &leases);
}

static void break_all(struct session *s, const struct closure *closure)
{
	struct daemon *d = s->daemon;
	struct core_lease_view lease;
	uint32_t cursor = 0;

	while (core_list(d->core, &cursor, &lease)) {
		const struct file *file = file_lookup(d, lease.dev, lease.ino);

		if (file && lease.state == CORE_HELD && holds(closure, file))
			break_held(s, &lease, file);
	}
}

static void count_left(struct daemon *d, const struct closure *closure,
		       struct dlp_drain_reply *reply)
{
	struct core_lease_view lease;
	uint64_t now = now_ns();
	uint32_t cursor = 0;

	for (const struct file *file = d->files; file; file = file->hh.next)
		reply->busy += holds(closure, file);
	reply->busy += closer_pending() + grants_on(d, closure->pool ? pool_files_dev(closure->pool) : closure->dev);
	while (core_list(d->core, &cursor, &lease)) {
		const struct file *file = file_lookup(d, lease.dev, lease.ino);

		if (!file || !holds(closure, file))
			continue;
		reply->leases++;
		if (lease.state != CORE_HELD && lease.deadline_ns > now &&
		    lease.deadline_ns - now > reply->left_ns)
			reply->left_ns = lease.deadline_ns - now;
	}
}

/* Which one is meant. 0, -ENOENT, -EINVAL, or -errno of statx(2). */
static int find(struct session *s, const struct dlp_drain *m, int fd, struct closure *closure)
{
	struct daemon *d = s->daemon;
	struct statx stx;

	*closure = (struct closure){.session = m->flags & DLP_DRAIN_KEEP ? 0 : s->id};
	if (m->pool != DLP_DRAIN_FILE) {
		if (m->pool >= d->pools_count)
			return -ENOENT;
		closure->pool = &d->pools[m->pool];
		return 0;
	}
	/* Not fstat: the descriptor may be a FUSE server's, which answers when it likes. */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &stx) < 0)
		return -errno;
	if (!S_ISREG(stx.stx_mode))
		return -EINVAL;
	closure->dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	closure->ino = stx.stx_ino;
	return 0;
}

void closure_drain(struct session *s, const struct dlp_drain *m, int fd)
{
	struct dlp_drain_reply reply = {0};
	struct closure closure;
	char path[DLP_MAX_PATH];
	unsigned before = s->daemon->closures_count;
	int rc = find(s, m, fd, &closure);

	if (rc == 0)
		rc = change(s->daemon, &closure, m->flags);
	if (rc == 0 && s->daemon->closures_count != before)
		log_notice("%s%s: %s by pid %d (%s, uid %u)", closure.pool ? "pool " : "",
			   closure.pool ? closure.pool->config->name : fd_path(fd, path),
			   m->flags & DLP_DRAIN_REOPEN ? "opened" : "closed for new leases", s->pid, s->comm, s->uid);
	if (rc == 0 && !(m->flags & DLP_DRAIN_REOPEN))
		break_all(s, &closure);
	if (rc == 0)
		count_left(s->daemon, &closure, &reply);
	session_reply(s, &m->head, &reply.head, sizeof(reply), -1, rc);
}
