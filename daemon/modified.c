// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Whoever gets past the guard (a descriptor older than it, an overlay's truncate) is told of by inotify afterwards: then
 * the leased ranges are looked at, and what is not as it was granted is revoked at once. Not every escape is told of;
 * doc/breakers.md says which.
 *
 * A watch ends with its first event and is made again right before the look, so a file that is written all the time
 * costs one event and one look a second.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/log.h"

#define SOON_NS (20 * NS_PER_MS)
#define NOT_BEFORE_NS (1 * NS_PER_S) /* since the last look */

void modified_watch(struct daemon *d, struct file *file)
{
	char link[32];

	if (!d->modified_event || file->watch >= 0 || file->opath_fd < 0)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", file->opath_fd);
	file->watch = inotify_add_watch(d->modified_fd, link, IN_MODIFY | IN_ONESHOT);
	if (file->watch < 0)
		log_warning("changes that escape the guard will not be noticed: inotify: %s "
			    "(fs.inotify.max_user_watches)",
			    strerror(errno));
	else
		HASH_ADD(watch_hh, d->watched, watch, sizeof(file->watch), file);
}

static void unwatched(struct daemon *d, struct file *file)
{
	HASH_DELETE(watch_hh, d->watched, file);
	file->watch = -1;
}

void modified_forget(struct daemon *d, struct file *file)
{
	if (file->watch >= 0) {
		inotify_rm_watch(d->modified_fd, file->watch);
		unwatched(d, file);
	}
	if (file->changed)
		TAILQ_REMOVE(&d->changed, file, changed_entry);
	file->changed = false;
}

static void note_change(struct daemon *d, struct file *file)
{
	if (file->changed)
		return;
	file->changed = true;
	if (TAILQ_EMPTY(&d->changed))
		timer_arm(d->modified_timer, SOON_NS);
	TAILQ_INSERT_TAIL(&d->changed, file, changed_entry);
}

static void look(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	struct file *file, *next;
	const uint64_t now = now_ns();

	(void)fd;
	(void)what;
	for (file = TAILQ_FIRST(&d->changed); file; file = next) {
		next = TAILQ_NEXT(file, changed_entry);
		if (file->looked_ns && now - file->looked_ns < NOT_BEFORE_NS)
			continue;
		TAILQ_REMOVE(&d->changed, file, changed_entry);
		file->changed = false;
		file->looked_ns = now;
		modified_watch(d, file);
		grants_look(d, file);
	}
	if (!TAILQ_EMPTY(&d->changed))
		timer_arm(d->modified_timer, NOT_BEFORE_NS / 10);
}

static void one_event(struct daemon *d, const struct inotify_event *event)
{
	struct file *file;

	if (event->mask & IN_Q_OVERFLOW) {
		for (file = d->files; file; file = file->hh.next)
			if (file->armed)
				note_change(d, file);
		return;
	}
	HASH_FIND(watch_hh, d->watched, &event->wd, sizeof(event->wd), file);
	if (!file ||
	    !(event->mask & (IN_MODIFY | IN_IGNORED))) /* IGNORED: its file system is gone */
		return;
	unwatched(d, file);
	if (event->mask & IN_MODIFY)
		note_change(d, file);
}

static void modified_ready(evutil_socket_t fd, short what, void *arg)
{
	_Alignas(struct inotify_event) char buffer[4096];
	ssize_t length;

	(void)what;
	while ((length = read(fd, buffer, sizeof(buffer))) > 0) {
		for (char *at = buffer; at < buffer + length;) {
			const struct inotify_event *event = (const void *)at;

			one_event(arg, event);
			at += sizeof(*event) + event->len;
		}
	}
}

int modified_start(struct daemon *d)
{
	struct event *event = NULL;

	TAILQ_INIT(&d->changed);
	d->modified_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (d->modified_fd < 0)
		return -errno;
	d->modified_timer = evtimer_new(d->base, look, d);
	if (d->modified_timer)
		event = event_new(d->base, d->modified_fd, EV_READ | EV_PERSIST, modified_ready, d);
	if (event && event_add(event, NULL) == 0) {
		d->modified_event = event;
		return 0;
	}
	if (event)
		event_free(event);
	if (d->modified_timer)
		event_free(d->modified_timer);
	close(d->modified_fd);
	return -ENOMEM;
}

void modified_stop(struct daemon *d)
{
	if (!d->modified_event)
		return;
	event_free(d->modified_event);
	event_free(d->modified_timer);
	close(d->modified_fd);
	d->modified_event = NULL;
}
