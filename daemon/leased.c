// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Files that kernel leases guard: the description that has the lease is kept as long as the file is leased, here and in
 * the store. A lease that had to be given up while the file is leased (a reader) is taken again as soon as it can be had; until then
 * the file's leases are advisory, which is said.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/guard/kernel_lease.h"
#include "daemon/log.h"
#include "daemon/store.h"

#define KERNEL_BREAK_TIME "/proc/sys/fs/lease-break-time"
#define RESERVE_NS (1 * NS_PER_S) /* until a break is noticed, and its verdict is out */
#define RETAKE_FIRST_NS (10 * NS_PER_MS)
#define RETAKE_LAST_NS (1 * NS_PER_S)
#define RETAKE_LIMIT_NS (1 * NS_PER_S)

/* --- time ------------------------------------------------------------------------------------------------- */

bool leased_time_fits(const struct daemon *d, const struct config_pool *pool, char *why,
		      size_t size)
{
	const uint64_t margin = d->config.margin_ns, fence = d->config.fence_ns,
		       own = pool->break_time_ns;
	const uint64_t needed = (own > margin ? own : margin) + margin + fence + RESERVE_NS;
	unsigned seconds = 0;
	FILE *file = fopen(KERNEL_BREAK_TIME, "re");
	bool known = file && fscanf(file, "%u", &seconds) == 1;

	if (file && fclose(file) != 0)
		known = false;
	if (known && (seconds == 0 || needed <= seconds * NS_PER_S))
		return true;
	if (known)
		snprintf(why, size,
			 "the kernel lets a breaker go on after %u s, but lease-break-time, "
			 "revoke-margin, fence-time and 1 s are "
			 "%.1f s: set lease-break-time to less, or \"sysctl "
			 "fs.lease-break-time=%llu\" (0: never)",
			 seconds, (double)needed / NS_PER_S,
			 (unsigned long long)((needed + NS_PER_S - 1) / NS_PER_S));
	else
		snprintf(why, size, KERNEL_BREAK_TIME " cannot be read");
	return false;
}

/* --- the description -------------------------------------------------------------------------------------- */

static enum guard_lease_state state_of(const struct daemon *d, const struct file *file)
{
	return guard_lease_look(d->leases, file->key.dev, file->key.ino, NULL);
}

bool leased_holds(const struct daemon *d, const struct file *file)
{
	return file->lease_fd >= 0 && state_of(d, file) == GUARD_LEASE_HELD;
}

uint32_t file_label(const struct daemon *d, const struct file *file)
{
	const uint32_t label = pool_label(file->pool);

	if (file->pool->label != DLP_LABEL_KERNEL_LEASE || leased_holds(d, file) ||
	    (file->lease_fd >= 0 && state_of(d, file) == GUARD_LEASE_BROKEN))
		return label;
	return DLP_LABEL_ADVISORY | (label & DLP_LABEL_UNBOUNDED);
}

static void forget_description(struct daemon *d, struct file *file)
{
	store_drop(d->store, STORE_LEASED, file->lease_slot, file->lease_fd, 0);
	user_give(d, file->user, USER_DESCRIPTORS, 1);
	file->lease_fd = -1;
	file->lease_slot = STORE_NO_SLOT;
}

static int keep_description(struct daemon *d, struct file *file, int fd)
{
	int copy, rc;

	if (!user_take(d, file->user, USER_DESCRIPTORS, 1))
		return -ENOLCK;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	file->lease_slot = STORE_NO_SLOT;
	rc = copy < 0 ? -errno : store_put(d->store, STORE_LEASED, copy, &file->lease_slot);
	if (rc == 0) {
		file->lease_fd = copy;
		return 0;
	}
	if (copy >= 0)
		close(copy); /* not the last one: the caller has fd */
	user_give(d, file->user, USER_DESCRIPTORS, 1);
	return rc;
}

/* A kernel without kcmp(2) cannot tell: then they are taken for the same, whose lease is not given up by mistake. */
static bool other_description(int one, int other)
{
	return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, one, other) > 0;
}

void leased_give_back(const struct file *file, int fd)
{
	if (!file || file->lease_fd < 0 || other_description(file->lease_fd, fd))
		fcntl(fd, F_SETLEASE, F_UNLCK); /* EAGAIN: there is none */
}

int leased_adopt(struct daemon *d, struct file *file, int fd)
{
	int rc = 0;

	/* One that is kept already and has a lease now stays. Of read leases there can be another on fd. */
	if (file->lease_fd >= 0 && guard_lease_on(file->lease_fd) == GUARD_LEASE_ON_NONE) {
		guard_lease_disarm(d->leases, file->key.dev, file->key.ino);
		forget_description(d, file);
	}
	if (file->lease_fd < 0)
		rc = keep_description(d, file, fd);
	if (rc == 0)
		rc = guard_lease_arm(d->leases, file->saved, file->lease_fd, file->key.dev,
				     file->key.ino);
	if (rc < 0) {
		leased_release(d, file);
		fcntl(fd, F_SETLEASE, F_UNLCK);
		return rc;
	}
	leased_give_back(file, fd);
	file->armed = true;
	file->lease_shown = GUARD_LEASE_HELD;
	file_save(d, file);
	modified_watch(d, file);
	return 0;
}

void leased_release(struct daemon *d, struct file *file)
{
	if (file->lease_fd < 0)
		return;
	guard_lease_disarm(d->leases, file->key.dev, file->key.ino);
	forget_description(d, file);
	file->armed = false;
}

/* --- taken again ------------------------------------------------------------------------------------------ */

struct retake {
	struct daemon *daemon;
	uint64_t dev, ino;
	int fd;
};

static void retaken(void *arg, const struct worker_result *result)
{
	struct retake *retake = arg;
	struct daemon *d = retake->daemon;
	struct file *file = file_lookup(d, retake->dev, retake->ino);
	char path[DLP_MAX_PATH];

	if (file)
		file->retake = 0;
	/* Nothing is leased there any more, or the file has another one. A worker that was killed has not told of its own. */
	leased_give_back(file, retake->fd);
	if (result->leased && file && file->lease_fd >= 0 && !leased_holds(d, file) &&
	    guard_lease_arm(d->leases, file->saved, file->lease_fd, retake->dev, retake->ino) ==
		    0) {
		file->lease_shown = GUARD_LEASE_HELD;
		log_notice("%s: guarded again (kernel-lease); what is leased there is looked at",
			   file_path(file, path));
		grants_look(d, file);
		guard_drain(d);
	}
	close(retake->fd); /* the file has another one */
	free(retake);
}

static void take_again(struct daemon *d, struct file *file)
{
	struct retake *retake = malloc(sizeof(*retake));
	struct worker_job job = {.kind = WORKER_CHECK, .take_lease = true};
	struct core_lease_view lease;
	uint64_t offset = 0;

	if (!retake || !core_list_file(d->core, file->key.dev, file->key.ino, &offset, &lease)) {
		free(retake);
		return;
	}
	*retake = (struct retake){d, file->key.dev, file->key.ino,
				  fcntl(file->lease_fd, F_DUPFD_CLOEXEC, 0)};
	job.start = lease.start;
	job.end = lease.end;
	if (retake->fd >= 0 &&
	    workers_submit(d->workers, &job, retake->fd, retake->dev ^ (retake->ino << 8),
			   RETAKE_LIMIT_NS, retaken, retake, &file->retake) == 0)
		return;
	if (retake->fd >= 0)
		close(retake->fd);
	free(retake);
}

static bool has_fallen(const struct daemon *d, const struct file *file)
{
	const enum guard_lease_state state = file->lease_fd < 0 ? GUARD_LEASE_HELD
								: state_of(d, file);

	return state != GUARD_LEASE_HELD && state != GUARD_LEASE_BROKEN;
}

static void retake_due(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	bool any = false;

	(void)fd;
	(void)what;
	for (struct file *file = d->files; file; file = file->hh.next) {
		if (!has_fallen(d, file))
			continue;
		any = true;
		if (!file->retake)
			take_again(d, file);
	}
	if (!any)
		return;
	timer_arm(d->retake_timer, d->retake_ns);
	d->retake_ns = d->retake_ns * 2 < RETAKE_LAST_NS ? d->retake_ns * 2 : RETAKE_LAST_NS;
}

static void say_change(struct daemon *d, const struct file *file, enum guard_lease_state state)
{
	struct guard_lease_reader reader;
	char path[DLP_MAX_PATH];

	file_path(file, path);
	switch (state) {
	case GUARD_LEASE_READ:
		guard_lease_look(d->leases, file->key.dev, file->key.ino, &reader);
		if (reader.tgid)
			log_notice("%s: opened for reading by pid %d (%s): its leases are only "
				   "advisory "
				   "until that is closed",
				   path, reader.tgid, reader.comm);
		else
			log_notice("%s: a reader that did not wait has broken the kernel lease: "
				   "its leases are "
				   "only advisory until it can be had again",
				   path);
		return;
	case GUARD_LEASE_DROPPED:
		log_warning("%s: somebody who shares the holder's description has dropped the "
			    "kernel lease: its leases are only "
			    "advisory until it can be had again",
			    path);
		return;
	case GUARD_LEASE_EXPIRED:
		log_error("%s: the kernel has let the breaker go on before the holder's end was "
			  "proven (fs.lease-break-time)",
			  path);
		return;
	case GUARD_LEASE_NONE:
	case GUARD_LEASE_HELD:
	case GUARD_LEASE_BROKEN:
	case GUARD_LEASE_GIVEN:
		return;
	}
}

void leased_notice(struct daemon *d)
{
	struct file *next;
	bool fallen = false;

	if (!d->leases || d->leases_seen == guard_lease_changes(d->leases))
		return;
	for (struct file *file = d->files; file; file = next) {
		const enum guard_lease_state state = file->lease_fd < 0 ? GUARD_LEASE_NONE
									: state_of(d, file);

		next = file->hh.next;
		if (state == file->lease_shown)
			continue;
		file->lease_shown = state;
		say_change(d, file, state);
		fallen |= has_fallen(d, file);
		if (state == GUARD_LEASE_EXPIRED) {
			breaks_expired(d, file->key.dev, file->key.ino);
			next = d->files; /* any can have gone with it */
		}
	}
	d->leases_seen = guard_lease_changes(d->leases);
	if (fallen) {
		d->retake_ns = RETAKE_FIRST_NS;
		timer_arm(d->retake_timer, d->retake_ns);
	}
}

/* --- start and end ---------------------------------------------------------------------------------------- */

static void leases_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	guard_drain(arg);
}

int leased_start(struct daemon *d)
{
	if (!d->leases)
		return 0;
	d->retake_timer = evtimer_new(d->base, retake_due, d);
	d->leases_event = event_new(d->base, d->leases->event_fd, EV_READ | EV_PERSIST,
				    leases_ready, d);
	return d->retake_timer && d->leases_event && event_add(d->leases_event, NULL) == 0
		       ? 0
		       : -ENOMEM;
}

void leased_stop(struct daemon *d)
{
	if (d->leases_event)
		event_free(d->leases_event);
	if (d->retake_timer)
		event_free(d->retake_timer);
}

int leased_restore(struct daemon *d, struct file *file, uint32_t slot, int fd)
{
	user_take_back(d, file->user, USER_DESCRIPTORS, 1);
	file->lease_fd = fd;
	file->lease_slot = slot;
	file->armed = true;
	file->lease_shown = GUARD_LEASE_HELD;
	modified_watch(d, file);
	return guard_lease_arm(d->leases, file->saved, fd, file->key.dev, file->key.ino);
}
