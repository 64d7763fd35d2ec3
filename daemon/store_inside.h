/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of the store, shared by its files:
 *
 *   store.c        slots, put and remove, what is told
 *   store_ask.c    messages to the keeper, its answers, the loop
 *   store_start.c  what is handed back, the start and the end
 *   store_kinds.c  names and types
 */
#ifndef DAXLEASE_STORE_INSIDE_H
#define DAXLEASE_STORE_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/notify.h"
#include "daemon/store.h"
#include "daemon/store_kinds.h"
#include "daemon/test_build.h"

struct waiter {
	STAILQ_ENTRY(waiter) entry;
	void (*done)(void *arg, int error);
	void *arg;
	/* store_drop(): instead of done */
	int fd; /* -1: none */
	uint32_t uid;
};
STAILQ_HEAD(waiters, waiter);

struct removal {
	STAILQ_ENTRY(removal) entry;
	enum store_kind kind;
	uint32_t slot;
};

struct handed {
	enum store_kind kind;
	uint32_t slot;
	int fd; /* -1: taken */
};

struct store {
	struct notify notify;
	enum store_state state;
	char reason[128];
	store_close_fn closing;
	unsigned stored, clients, capacity;
	uint32_t next_slot[STORE_KINDS];
	uint8_t used[STORE_KINDS][STORE_SLOTS / 8];

	struct handed *handed;
	unsigned handed_count;
	unsigned handed_at[STORE_KINDS]; /* store_take() looks from here */

	int epoll_fd, timer_fd;
	bool wants_writable;
	uint64_t alive_ns, alive_at_ns; /* WATCHDOG=1 so often; next; 0: not wanted */

	/* A question on its way: the keeper closes its end of `barrier` when it has come so far, and has not closed its
	 * end of `probe`, the last thing that was put, if it had room for it and so for all before it. */
	struct waiters asking, waiting, finishing;
	int barrier, probe; /* -1 */
	uint64_t answer_at_ns;
	unsigned dropped_before; /* notify.dropped then */
	/*
	 * If a put found the store full, the probe behind it must find it full, too: so no removal
	 * goes between them. The slots of these are still taken.
	 */
	unsigned puts_unprobed;
	STAILQ_HEAD(, removal) removals;
};

/* store.c */
bool store_is_used(const struct store *store, enum store_kind kind, uint32_t slot);
void store_set_used(struct store *store, enum store_kind kind, uint32_t slot, bool on);
void store_set_reason(struct store *store, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* store_ask.c */
/* 0, also where nobody is there (any more); -ENOMEM, -EMFILE ... */
int store_send_put(struct store *store, const char *name, int fd);
/* By name, for what has no slot. */
void store_send_remove(struct store *store, const char *name);
/* 0, or -ENOTCONN: there is no keeper, ask nothing; -ENOMEM, -EMFILE. */
int store_add_waiter(struct store *store, struct waiter waiter);
void store_close_own(int *fd);
int store_loop_open(struct store *store); /* 0 or -errno */
void store_watchdog_start(struct store *store);

#endif
