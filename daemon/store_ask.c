// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store_inside.h"

#define ANSWER_NS (10 * UINT64_C(1000000000))

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- sending ------------------------------------------------------------------------------------------ */

static void lost(struct store *store)
{
	if (store->state != STORE_KEPT)
		return;
	store->state = STORE_LOST;
	store_set_reason(store, "the keeper has died: a crash of the daemon now loses all leases");
	log_error("%s; restart it when nothing is leased", store->reason);
}

static void watch_queue(struct store *store)
{
	struct epoll_event event = {.data.fd = store->notify.fd};

	if (store->notify.fd < 0 || notify_waits(&store->notify) == store->wants_writable)
		return;
	store->wants_writable = !store->wants_writable;
	event.events = store->wants_writable ? EPOLLOUT : 0;
	if (epoll_ctl(store->epoll_fd, EPOLL_CTL_MOD, store->notify.fd, &event) < 0)
		log_error("cannot wait for the keeper: %s", strerror(errno));
}

/* 0, also where nobody is there (any more); -ENOMEM, -EMFILE ... */
static int send_text(struct store *store, const char *text, const int *fds, size_t count)
{
	int rc;

	kill_at("notify");
	rc = notify_send(&store->notify, text, fds, count);
	kill_at("notified");

	if (rc == -ENOTCONN) {
		lost(store);
		return 0;
	}
	watch_queue(store);
	return rc;
}

/* Of a message without descriptors nobody waits for; only memory can be missing. */
static void tell(struct store *store, const char *text)
{
	int rc = send_text(store, text, NULL, 0);

	if (rc < 0)
		log_error("a message to the keeper is lost: %s", strerror(-rc));
}

void store_notify(struct store *store, const char *format, ...)
{
	char text[NOTIFY_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	tell(store, text);
}

int store_send_put(struct store *store, const char *name, int fd)
{
	char text[64];

	/* FDPOLL=0: systemd would throw away a socket whose peer has hung up, with what we have not read of it. */
	snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	return send_text(store, text, &fd, 1);
}

void store_send_remove(struct store *store, const char *name)
{
	store_notify(store, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

/* --- asking ------------------------------------------------------------------------------------------- */

static void set_timer(struct store *store)
{
	uint64_t at = store->alive_at_ns;
	struct itimerspec when = {0};

	if (store->barrier >= 0 && (!at || store->answer_at_ns < at))
		at = store->answer_at_ns;
	when.it_value.tv_sec = (time_t)(at / 1000000000u);
	when.it_value.tv_nsec = (long)(at % 1000000000u);
	timerfd_settime(store->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* A pipe whose write end goes to the keeper. Returns the read end, or -errno. */
static int send_pipe(struct store *store, bool barrier)
{
	int ends[2], rc;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	rc = barrier ? send_text(store, "BARRIER=1", &ends[1], 1)
		     : store_send_put(store, STORE_PROBE, ends[1]);
	close(ends[1]);
	if (rc < 0)
		close(ends[0]);
	return rc < 0 ? rc : ends[0];
}

void store_close_own(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_question(struct store *store)
{
	store_close_own(&store->probe);
	store_close_own(&store->barrier); /* leaves the epoll set by that */
	store_send_remove(store, STORE_PROBE);
}

static void send_removals(struct store *store)
{
	struct removal *removal;

	while ((removal = STAILQ_FIRST(&store->removals))) {
		STAILQ_REMOVE_HEAD(&store->removals, entry);
		store_remove(store, removal->kind, removal->slot); /* at once, now */
		free(removal);
	}
}

/* Sends the question of all who wait, unless another is on its way. 0 or -errno. */
static int ask(struct store *store)
{
	struct epoll_event event = {0};

	if (store->barrier >= 0 || STAILQ_EMPTY(&store->waiting) || store->notify.fd < 0)
		return 0; /* or there is nobody: answered() */
	store->dropped_before = store->notify.dropped;
	store->probe = send_pipe(store, false);
	if (store->probe < 0)
		return store->probe;
	store->puts_unprobed = 0;
	send_removals(store);
	store->barrier = send_pipe(store, true);
	event.data.fd = store->barrier;
	if (store->barrier < 0 ||
	    epoll_ctl(store->epoll_fd, EPOLL_CTL_ADD, store->barrier, &event) < 0) {
		int rc = store->barrier < 0 ? store->barrier : -errno;

		close_question(store);
		return rc;
	}
	STAILQ_CONCAT(&store->asking, &store->waiting);
	store->answer_at_ns = now_ns() + ANSWER_NS;
	set_timer(store);
	return 0;
}

/* Those who wait are in the store's own lists at each call, since any of them can end others. */
static void finish(struct store *store, struct waiters *waiters, int error)
{
	struct waiter *w;

	STAILQ_CONCAT(&store->finishing, waiters);
	while ((w = STAILQ_FIRST(&store->finishing))) {
		STAILQ_REMOVE_HEAD(&store->finishing, entry);
		if (w->fd >= 0)
			store->closing(w->fd, w->uid);
		else if (w->done)
			w->done(w->arg, error);
		free(w);
	}
}

static void answered(struct store *store, int error)
{
	int rc;

	close_question(store);
	/* A dead keeper closes everything, too. */
	if (store->notify.gone)
		error = 0;
	if (error)
		log_error("the keeper did not take what was to survive the daemon: %s",
			  strerror(-error));
	finish(store, &store->asking, error);
	rc = store->notify.gone ? 0 : ask(store);
	if (store->notify.gone || rc < 0)
		finish(store, &store->waiting, rc < 0 ? -EIO : 0);
	set_timer(store);
}

static bool hung_up(int fd)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

static void barrier_ended(struct store *store)
{
	int error = 0;

	if (store->notify.dropped != store->dropped_before)
		error = -EIO;
	else if (hung_up(store->probe))
		error = -ENOSPC;
	answered(store, error);
}

int store_add_waiter(struct store *store, struct waiter waiter)
{
	struct waiter *w;
	int rc;

	if (store->state != STORE_KEPT)
		return -ENOTCONN;
	w = malloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = waiter;
	STAILQ_INSERT_TAIL(&store->waiting, w, entry);
	rc = ask(store);
	if (rc == 0)
		return 0;
	/* Nothing was on its way, so this is the only one. */
	STAILQ_REMOVE(&store->waiting, w, waiter, entry);
	free(w);
	return rc;
}

int store_confirm(struct store *store, void (*done)(void *arg, int error), void *arg)
{
	int rc = store_add_waiter(store, (struct waiter){.done = done, .arg = arg, .fd = -1});

	if (rc != -ENOTCONN)
		return rc;
	done(arg, 0);
	return 0;
}

static void cancel(struct waiters *waiters, const void *arg)
{
	struct waiter *w;

	STAILQ_FOREACH (w, waiters, entry) {
		if (w->arg == arg)
			w->done = NULL;
	}
}

void store_confirm_cancel(struct store *store, const void *arg)
{
	cancel(&store->asking, arg);
	cancel(&store->waiting, arg);
	cancel(&store->finishing, arg);
}

/* --- the loop ----------------------------------------------------------------------------------------- */

int store_poll_fd(const struct store *store)
{
	return store->epoll_fd;
}

static void timer_ended(struct store *store)
{
	uint64_t ticks, now = now_ns();

	if (read(store->timer_fd, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
		log_error("the store's timer: %s", strerror(errno));
	if (store->alive_at_ns && now >= store->alive_at_ns) {
		store->alive_at_ns = now + store->alive_ns;
		tell(store, "WATCHDOG=1");
	}
	if (store->barrier >= 0 && now >= store->answer_at_ns)
		answered(store, -ETIMEDOUT);
	set_timer(store);
}

static void flush(struct store *store)
{
	if (notify_flush(&store->notify) < 0)
		lost(store);
	watch_queue(store);
}

void store_dispatch(struct store *store)
{
	struct epoll_event event;

	while (epoll_wait(store->epoll_fd, &event, 1, 0) == 1) {
		if (event.data.fd == store->timer_fd)
			timer_ended(store);
		else if (event.data.fd == store->barrier)
			barrier_ended(store);
		else
			flush(store);
		if (event.data.fd != store->timer_fd)
			break; /* the loop has others, too */
	}
}

void store_watchdog_start(struct store *store)
{
	uint64_t usec = 0;

	if (sd_watchdog_enabled(0, &usec) <= 0)
		return;
	store->alive_ns = usec * 1000 / 3;
	store->alive_at_ns = now_ns();
	set_timer(store);
}

/* 0 or -errno. */
int store_loop_open(struct store *store)
{
	struct epoll_event event = {.events = EPOLLIN};

	store->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	store->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (store->epoll_fd < 0 || store->timer_fd < 0)
		return -errno;
	event.data.fd = store->timer_fd;
	if (epoll_ctl(store->epoll_fd, EPOLL_CTL_ADD, store->timer_fd, &event) < 0)
		return -errno;
	if (store->notify.fd < 0)
		return 0;
	event = (struct epoll_event){.data.fd = store->notify.fd};
	return epoll_ctl(store->epoll_fd, EPOLL_CTL_ADD, store->notify.fd, &event) < 0 ? -errno : 0;
}
