// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/store.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/store_inside.h"

#define CLIENTS_SHARE(capacity) ((capacity) / 5 * 4)

/* --- slots -------------------------------------------------------------------------------------------- */

bool store_is_used(const struct store *store, enum store_kind kind, uint32_t slot)
{
	return store->used[kind][slot / 8] >> (slot % 8) & 1;
}

void store_set_used(struct store *store, enum store_kind kind, uint32_t slot, bool on)
{
	const unsigned client = kind == STORE_CALLS || kind == STORE_EVENTS;

	store->used[kind][slot / 8] ^= (uint8_t)(1u << (slot % 8));
	store->stored += on ? 1 : -1u;
	store->clients += on ? client : -client;
}

/* A slot is given again as late as possible, so that nobody who reads two logs takes one client for another. Both
 * channels of a client want the same one. */
static uint32_t free_slot(struct store *store, enum store_kind kind)
{
	for (uint32_t i = 0; i < STORE_SLOTS; i++) {
		uint32_t slot = (store->next_slot[kind] + i) % STORE_SLOTS;

		if (store_is_used(store, kind, slot) ||
		    (kind == STORE_CALLS && store_is_used(store, STORE_EVENTS, slot)))
			continue;
		store->next_slot[kind] = (slot + 1) % STORE_SLOTS;
		return slot;
	}
	return STORE_NO_SLOT;
}

/* --- put and remove ----------------------------------------------------------------------------------- */

static bool is_journal(enum store_kind kind)
{
	return kind == STORE_JOURNAL || kind == STORE_JOURNAL_NEXT;
}

/* 0, or -EUSERS: what can be counted beforehand. */
static int room_for(const struct store *store, enum store_kind kind)
{
	if (store->state != STORE_KEPT)
		return 0;
	/* The probe needs one, too; and a newer daemon one for its journal, or it could not take over. */
	if (store->stored + (is_journal(kind) ? 1 : 2) >= store->capacity)
		return -EUSERS;
	if ((kind == STORE_CALLS || kind == STORE_EVENTS) &&
	    store->clients >= CLIENTS_SHARE(store->capacity))
		return -EUSERS;
	return 0;
}

static void device_confirmed(void *arg, int error)
{
	(void)arg;
	if (error)
		log_error("the keeper has no copy of an RDMA device: %s; if the daemon crashes "
			  "now, MRs on it "
			  "cannot be destroyed",
			  strerror(-error));
}

int store_put(struct store *store, enum store_kind kind, int fd, uint32_t *slot_of_caller)
{
	uint32_t slot = slot_of_caller ? *slot_of_caller : STORE_NO_SLOT;
	char name[STORE_NAME_SIZE];
	int rc;

	if (!store_kind_check(kind, fd))
		return -ENOTTY;
	rc = room_for(store, kind);
	if (rc < 0)
		return rc;
	if (slot == STORE_NO_SLOT)
		slot = store_kind_single(kind) ? 0 : free_slot(store, kind);
	if (slot == STORE_NO_SLOT)
		return -EUSERS;
	if (slot >= STORE_SLOTS || store_is_used(store, kind, slot))
		return -EEXIST;
	store_name(kind, slot, name);
	if (store->state == STORE_KEPT)
		rc = store_send_put(store, name, fd);
	if (rc < 0)
		return rc;
	store->puts_unprobed += store->state == STORE_KEPT;
	store_set_used(store, kind, slot, true);
	if (slot_of_caller)
		*slot_of_caller = slot;
	/* It was reported one-way: its client waits for no answer. */
	if (kind == STORE_UVERBS && (rc = store_confirm(store, device_confirmed, NULL)) < 0)
		device_confirmed(NULL, rc);
	return 0;
}

static void nothing(void *arg, int error)
{
	(void)arg;
	(void)error;
}

void store_remove(struct store *store, enum store_kind kind, uint32_t slot)
{
	struct removal *removal;
	char name[STORE_NAME_SIZE];

	if (slot >= STORE_SLOTS || !store_is_used(store, kind, slot))
		return;
	removal = store->puts_unprobed ? malloc(sizeof(*removal)) : NULL;
	if (removal) {
		*removal = (struct removal){.kind = kind, .slot = slot};
		STAILQ_INSERT_TAIL(&store->removals, removal, entry);
		/* Sent with the next question; if none can be asked, with a later one. */
		if (store_confirm(store, nothing, NULL) < 0)
			log_warning("asking the keeper is put off: no memory");
		return;
	}
	store_set_used(store, kind, slot, false);
	store_name(kind, slot, name);
	store_send_remove(store, name);
}

void store_drop(struct store *store, enum store_kind kind, uint32_t slot, int fd, uint32_t uid)
{
	store_remove(store, kind, slot);
	if (fd >= 0 && store_add_waiter(store, (struct waiter){.fd = fd, .uid = uid}) < 0)
		store->closing(fd, uid);
}

/* --- what is told ---------------------------------------------------------------------------------------- */

void store_set_reason(struct store *store, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(store->reason, sizeof(store->reason), format, args);
	va_end(args);
}

enum store_state store_state(const struct store *store)
{
	return store->state;
}

const char *store_reason(const struct store *store)
{
	return store->reason;
}

void store_counts(const struct store *store, unsigned *stored, unsigned *capacity)
{
	*stored = store->stored;
	*capacity = store->state == STORE_KEPT ? store->capacity : 0;
}
