// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store_inside.h"

bool store_succeeds(void)
{
	const char *at = getenv("LISTEN_FDNAMES");
	char journal[STORE_NAME_SIZE], next[STORE_NAME_SIZE];

	store_name(STORE_JOURNAL, 0, journal);
	store_name(STORE_JOURNAL_NEXT, 0, next);
	while (at) {
		size_t length = strcspn(at, ":");

		if ((length == strlen(journal) && strncmp(at, journal, length) == 0) ||
		    (length == strlen(next) && strncmp(at, next, length) == 0))
			return true;
		at = at[length] ? at + length + 1 : NULL;
	}
	return false;
}

static void take_back(struct store *store, int fd, const char *name)
{
	enum store_kind kind;
	uint32_t slot;

	if (strcmp(name, STORE_PROBE) == 0) {
		store_send_remove(store, name);
		close(fd); /* a pipe; at once, since its number may be one that the guard needs */
		return;
	}
	if (!store_name_parse(name, &kind, &slot)) {
		log_warning("handed back: \"%s\", which is unknown; it is closed", name);
		store_send_remove(store, name);
	} else if (!store_kind_check(kind, fd)) {
		log_error("handed back: \"%s\", which is something else; it is closed", name);
		store_send_remove(store, name);
	} else if (store_is_used(store, kind, slot)) {
		log_error("handed back: \"%s\" twice; the second is closed", name);
	} else {
		store_set_used(store, kind, slot, true);
		store->handed[store->handed_count++] = (struct handed){kind, slot, fd};
		return;
	}
	store->closing(fd, 0);
}

static void free_names(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

static int take_all_back(struct store *store)
{
	char **names = NULL;
	int count = sd_listen_fds_with_names(1, &names);

	if (count > 0)
		store->handed = calloc((size_t)count, sizeof(*store->handed));
	for (int i = 0; i < count && store->handed; i++)
		take_back(store, SD_LISTEN_FDS_START + i, names[i]);
	free_names(names);
	return count > 0 && !store->handed ? -ENOMEM : count < 0 ? count : 0;
}

/*
 * What is known before anything is tried; 0: nothing. systemd says what FileDescriptorStoreMax= is since version 254, and
 * our keeper does; for older ones the unit says it a second time.
 */
static unsigned known_capacity(void)
{
	const char *text = getenv("FDSTORE");
	unsigned room = store_names_room();
	unsigned long max;
	char *end;

	if (!text)
		text = getenv("DAXLEASE_FDSTORE");
	max = text ? strtoul(text, &end, 10) : 0;
	return max && *end ? 0 : max > room ? room : (unsigned)max;
}

static void first_answer(void *arg, int error)
{
	*(int *)arg = error;
}

int store_settle(struct store *store)
{
	int error = 1, rc = store_confirm(store, first_answer, &error);

	while (rc == 0 && error == 1) {
		struct pollfd p = {.fd = store->epoll_fd, .events = POLLIN};

		poll(&p, 1, -1); /* the timer ends it */
		store_dispatch(store);
	}
	return rc < 0 ? rc : error;
}

/* Whether there is a keeper that takes anything, and how much. */
static void find_keeper(struct store *store)
{
	int error;

	store->capacity = known_capacity();
	if (!store->capacity) {
		store_set_reason(store,
				 "who started the daemon keeps nothing: FileDescriptorStoreMax= is "
				 "0, or the "
				 "unit does not say it again (Environment=DAXLEASE_FDSTORE=)");
		return;
	}
	store->state = STORE_KEPT;
	store_set_reason(store, "kept by who started the daemon");
	error = store_settle(store); /* does it take anything? */
	if (error == -ETIMEDOUT) /* it is slow; each client's descriptors are asked for again */
		error = 0;
	if (error == -ENOSPC && store->stored > store_is_used(store, STORE_LISTEN, 0)) {
		log_error("the descriptor store is full: no client is taken any more. Raise "
			  "FileDescriptorStoreMax=");
		store->capacity = store->stored;
		error = 0;
	}
	if (!error)
		return;
	store->state = STORE_NONE;
	store_set_reason(store, "who started the daemon keeps nothing: %s",
			 error == -ENOSPC ? "set FileDescriptorStoreMax= in the unit"
					  : strerror(-error));
}

int store_open(struct store **out, store_close_fn closing)
{
	struct store *store = calloc(1, sizeof(*store));
	int rc, reachable;

	if (!store)
		return -ENOMEM;
	store->closing = closing;
	store->barrier = store->probe = store->epoll_fd = store->timer_fd = -1;
	STAILQ_INIT(&store->asking);
	STAILQ_INIT(&store->waiting);
	STAILQ_INIT(&store->finishing);
	STAILQ_INIT(&store->removals);
	reachable = notify_open(&store->notify);
	rc = store_loop_open(store);
	if (rc == 0)
		rc = take_all_back(store);
	if (rc < 0) {
		store_free(store);
		return rc;
	}
	if (reachable == 0) {
		find_keeper(store);
		store_watchdog_start(store);
	} else if (reachable == -ENOENT) {
		store_set_reason(store,
				 "nobody keeps anything: neither systemd nor a keeper has started "
				 "the daemon");
	} else {
		store_set_reason(store, "the keeper cannot be reached: %s", strerror(-reachable));
	}
	*out = store;
	return 0;
}

void store_free(struct store *store)
{
	struct removal *removal;
	struct waiter *w;

	if (!store)
		return;
	STAILQ_CONCAT(&store->waiting, &store->asking);
	while ((w = STAILQ_FIRST(&store->waiting))) {
		STAILQ_REMOVE_HEAD(&store->waiting, entry);
		if (w->fd >= 0)
			store->closing(w->fd, w->uid);
		free(w);
	}
	while ((removal = STAILQ_FIRST(&store->removals))) {
		STAILQ_REMOVE_HEAD(&store->removals, entry);
		free(removal);
	}
	for (unsigned i = 0; i < store->handed_count; i++) {
		if (store->handed[i].fd >= 0)
			store->closing(store->handed[i].fd, 0);
	}
	free(store->handed);
	store_close_own(&store->barrier);
	store_close_own(&store->probe);
	store_close_own(&store->timer_fd);
	store_close_own(&store->epoll_fd);
	notify_close(&store->notify);
	free(store);
}

int store_take(struct store *store, enum store_kind kind, uint32_t *slot)
{
	for (unsigned *i = &store->handed_at[kind]; *i < store->handed_count; (*i)++) {
		struct handed *h = &store->handed[*i];
		int fd = h->fd;

		if (h->kind != kind || fd < 0)
			continue;
		if (slot)
			*slot = h->slot;
		h->fd = -1;
		return fd;
	}
	return -1;
}

int store_move_above(struct store *store, int number)
{
	for (unsigned i = 0; i < store->handed_count; i++) {
		struct handed *h = &store->handed[i];
		int moved;

		if (h->fd < 0 || h->fd > number)
			continue;
		moved = fcntl(h->fd, F_DUPFD_CLOEXEC, number + 1);
		if (moved < 0)
			return -errno;
		close(h->fd); /* not the last: there is the moved one */
		h->fd = moved;
	}
	return 0;
}

void store_discard_rest(struct store *store)
{
	for (unsigned i = 0; i < store->handed_count; i++) {
		struct handed *h = &store->handed[i];
		char name[STORE_NAME_SIZE];

		if (h->fd < 0)
			continue;
		store_name(h->kind, h->slot, name);
		log_notice("handed back: \"%s\", which belongs to nothing; it is closed", name);
		store_drop(store, h->kind, h->slot, h->fd, 0);
	}
	free(store->handed);
	store->handed = NULL;
	store->handed_count = 0;
}
