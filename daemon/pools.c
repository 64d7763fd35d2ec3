// SPDX-License-Identifier: LGPL-2.1-or-later
/* Which pools are there, and which file belongs to which. Pools come and go with their mounts. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/pool/pool.h"
#include "daemon/saved.h"

static const char *const enforceable[] = {"ext4", "xfs"};

static void say_reason(struct pool *pool, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say_reason(struct pool *pool, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(pool->reason, sizeof(pool->reason), format, args);
	va_end(args);
}

static bool can_enforce(const char *fstype)
{
	for (size_t i = 0; i < sizeof(enforceable) / sizeof(enforceable[0]); i++) {
		if (strcmp(fstype, enforceable[i]) == 0)
			return true;
	}
	return false;
}

/* The daemon must not wait for itself: what it reads and writes lies outside the pools. */
static bool holds_our_files(const struct daemon *d, uint64_t dev)
{
	char path[DLP_MAX_PATH];
	struct stat st;

	snprintf(path, sizeof(path), "%s", d->config.socket);
	return stat(dirname(path), &st) == 0 && st.st_dev == dev;
}

/* Watches the whole file system under the guard. Done again on every change of the mounts, since a file system that
 * was unmounted and mounted again has lost its mark and may look the same. */
static enum dlp_pool_state watch(struct daemon *d, struct pool *pool, int path_fd)
{
	int rc;

	if (!d->guard) {
		say_reason(pool, "there is no guard (it needs CAP_SYS_ADMIN and Linux 6.14 or later): use guard = kernel-lease "
				 "on older kernels, guard = none for leases that are only advisory");
		return DLP_POOL_REFUSED;
	}
	if (!can_enforce(pool->fstype)) {
		say_reason(pool, "%s cannot be guarded (ext4 and xfs can): use type = directory", pool->fstype);
		return DLP_POOL_REFUSED;
	}
	if (holds_our_files(d, pool->dev)) {
		say_reason(pool, "the daemon's own socket lies in it: set socket to a path outside");
		return DLP_POOL_REFUSED;
	}
	rc = d->guard->ops->watch(d->guard, path_fd, pool->dev);
	if (rc < 0) {
		say_reason(pool, "the kernel refuses to guard it: %s%s", strerror(-rc),
			   rc == -EINVAL || rc == -EOPNOTSUPP ? ": Linux 6.14 or later is needed; use guard = kernel-lease on older "
								"kernels" : "");
		return DLP_POOL_REFUSED;
	}
	pool->watched = true;
	pool->label = d->guard->label;
	return DLP_POOL_READY;
}

/* One guard per file system: reading a fanotify event opens the file, which breaks its kernel lease. */
static bool has_other_guard(struct daemon *d, struct pool *pool)
{
	const bool leases = pool->config->guard == CONFIG_GUARD_KERNEL_LEASE;
	const struct saved_file *file;
	uint32_t cursor = 0;

	for (const struct pool *other = d->pools; other < pool; other++) {
		if (other->state != DLP_POOL_READY || other->dev != pool->dev || other->label == DLP_LABEL_ADVISORY ||
		    (other->label == DLP_LABEL_KERNEL_LEASE) == leases)
			continue;
		say_reason(pool, "pool %s is on the same file system and has another guard", other->config->name);
		return true;
	}
	while ((file = saved_next(d, SAVED_FILE, &cursor))) {
		if (file->dev != pool->dev || !file->armed || (file->lease != 0) == leases)
			continue;
		say_reason(pool, "its files are still leased under the guard that was configured before: end those programs, "
				 "then restart the daemon");
		return true;
	}
	return false;
}

static enum dlp_pool_state guard_by_leases(struct daemon *d, struct pool *pool, int path_fd)
{
	if (!can_enforce(pool->fstype)) {
		say_reason(pool, "%s cannot be guarded by kernel leases, since it moves blocks by itself or tells nobody where "
				 "they are (ext4 and xfs can): use guard = none", pool->fstype);
		return DLP_POOL_REFUSED;
	}
	if (!leased_time_fits(d, pool->config, pool->reason, sizeof(pool->reason)))
		return DLP_POOL_REFUSED;
	if (d->guard)
		d->guard->ops->unwatch(d->guard, path_fd, pool->dev); /* what a predecessor watched */
	pool->label = d->leases->label;
	return DLP_POOL_READY;
}

/* The pool's file system is not (or not safely) there any more. As long as a file on it is leased it is: unmounted
 * lazily, or mounted elsewhere too. Then the guard stands until each of those files is disarmed. */
static void unwatch(struct daemon *d, struct pool *pool)
{
	if (pool->watched && !files_on(d, pool->dev))
		d->guard->ops->unwatch(d->guard, -1, pool->dev);
	pool->watched = false;
}

static enum dlp_pool_state look(struct daemon *d, struct pool *pool)
{
	const struct config_pool *c = pool->config;
	struct pool_mount mount;
	enum dlp_pool_state state;
	struct stat st;
	int fd, rc;

	if (c->type == DLP_POOL_DEVDAX)
		return device_look(pool);
	pool->reason[0] = 0;
	rc = pool_find_mount(d->mountinfo_fd, c->path, c->type != DLP_POOL_DIRECTORY, &mount);
	if (rc < 0 || !mount.found) {
		say_reason(pool, "%s", rc < 0 ? strerror(-rc) : "nothing is mounted there");
		return DLP_POOL_ABSENT;
	}
	fd = open(c->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		say_reason(pool, "%s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return DLP_POOL_ABSENT;
	}
	if (pool->dev != st.st_dev)
		unwatch(d, pool);
	pool->dev = st.st_dev;
	memcpy(pool->fstype, mount.fstype, sizeof(pool->fstype));
	if (c->guard == CONFIG_GUARD_NONE) {
		pool->label = DLP_LABEL_ADVISORY;
		state = DLP_POOL_READY;
	} else if (has_other_guard(d, pool)) {
		state = DLP_POOL_REFUSED;
	} else {
		state = c->guard == CONFIG_GUARD_PRE_CONTENT ? watch(d, pool, fd) : guard_by_leases(d, pool, fd);
	}
	close(fd); /* an O_PATH descriptor would pin the mount */
	return state;
}

static const enum log_event state_events[] = {
	[DLP_POOL_READY] = LOG_EVENT_POOL_READY,
	[DLP_POOL_ABSENT] = LOG_EVENT_POOL_ABSENT,
	[DLP_POOL_REFUSED] = LOG_EVENT_POOL_REFUSED,
};

/* Looks at every pool; true if the list as clients see it has changed. */
static bool look_at_all(struct daemon *d)
{
	bool changed = false;

	for (unsigned i = 0; i < d->pools_count; i++) {
		struct pool *pool = &d->pools[i];
		enum dlp_pool_state before = pool->state;
		uint64_t dev = pool->dev;

		pool->state = look(d, pool);
		if (pool->state != DLP_POOL_READY)
			unwatch(d, pool);
		if (pool->state == DLP_POOL_ABSENT)
			pool->dev = 0;
		if (pool->state == before && pool->dev == dev)
			continue;
		changed = true;
		pool->ready_ns = pool->state == DLP_POOL_READY ? now_ns() : 0;
		happened(d, &(struct happening){.kind = DLP_HAPPENED_POOL,
						.detail = pool->state,
						.pool = pool,
						.dev = pool->dev,
						.path = pool->config->path});
		log_about(pool->state == DLP_POOL_REFUSED ? LOG_ERR : LOG_NOTICE,
			  &(struct log_subject){.event = state_events[pool->state],
						.pool = pool->config->name,
						.path = pool->config->path},
			  "pool %s (%s): %s%s%s%s", pool->config->name, pool->config->path,
			  dlp_pool_state_text(pool->state),
			  pool->state == DLP_POOL_READY ? ", " : pool->reason[0] ? ": " : "",
			  pool->state == DLP_POOL_READY ? dlp_label_text(pool->label) : "", pool->reason);
	}
	return changed;
}

static void mounts_changed(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	struct epoll_event event;

	(void)what;
	while (epoll_wait(fd, &event, 1, 0) > 0)
		continue;
	pools_look(d);
}

void pools_look(struct daemon *d)
{
	if (look_at_all(d))
		sessions_tell_pools(d);
}

int pools_start(struct daemon *d)
{
	/* mountinfo is always readable; only EPOLLPRI says that it has changed, and libevent knows no EPOLLPRI:
	 * so an epoll of its own, which is readable then. */
	struct epoll_event event = {.events = EPOLLPRI | EPOLLET};

	d->pools_count = d->config.pool_count;
	d->pools = calloc(d->pools_count ? d->pools_count : 1, sizeof(*d->pools));
	d->mountinfo_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	d->mounts_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!d->pools || d->mountinfo_fd < 0 || d->mounts_epoll < 0)
		return -errno;
	if (epoll_ctl(d->mounts_epoll, EPOLL_CTL_ADD, d->mountinfo_fd, &event) < 0)
		return -errno;
	d->mounts_event = event_new(d->base, d->mounts_epoll, EV_READ | EV_PERSIST, mounts_changed, d);
	if (!d->mounts_event || event_add(d->mounts_event, NULL) < 0)
		return -ENOMEM;
	for (unsigned i = 0; i < d->pools_count; i++)
		d->pools[i].config = &d->config.pools[i];
	look_at_all(d);
	return devices_start(d);
}

void pools_stop(struct daemon *d)
{
	devices_stop(d);
	if (d->mounts_event)
		event_free(d->mounts_event);
	if (d->mounts_epoll >= 0)
		close(d->mounts_epoll);
	if (d->mountinfo_fd >= 0)
		close(d->mountinfo_fd);
	free(d->pools);
}

uint64_t pool_files_dev(const struct pool *pool)
{
	return pool->config->type == DLP_POOL_DEVDAX ? pool->node.dev : pool->dev;
}

bool pool_has(const struct pool *pool, uint64_t dev, uint64_t ino)
{
	return dev == pool_files_dev(pool) && (pool->config->type != DLP_POOL_DEVDAX || ino == pool->node.ino);
}

struct pool *pool_by_dev(struct daemon *d, uint64_t dev)
{
	for (unsigned i = 0; i < d->pools_count; i++) {
		struct pool *pool = &d->pools[i];

		if (pool->state == DLP_POOL_READY && pool->dev == dev && pool->config->type != DLP_POOL_DIRECTORY &&
		    pool->config->type != DLP_POOL_DEVDAX)
			return pool;
	}
	return NULL;
}

struct pool *pool_by_path(struct daemon *d, uint64_t dev, const char *path)
{
	for (unsigned i = 0; i < d->pools_count; i++) {
		struct pool *pool = &d->pools[i];

		if (pool->state == DLP_POOL_READY && pool->dev == dev &&
		    pool->config->type == DLP_POOL_DIRECTORY && pool_path_under(path, pool->config->path))
			return pool;
	}
	return NULL;
}

bool pool_any_directory(struct daemon *d, uint64_t dev)
{
	for (unsigned i = 0; i < d->pools_count; i++) {
		const struct pool *pool = &d->pools[i];

		if (pool->state == DLP_POOL_READY && pool->dev == dev && pool->config->type == DLP_POOL_DIRECTORY)
			return true;
	}
	return false;
}

uint32_t pool_label(const struct pool *pool)
{
	return pool->label | (pool->config->fence == CONFIG_FENCE_REPORT ? DLP_LABEL_UNBOUNDED : 0u);
}
